#include "agent_trace.h"
#include <stdio.h>
int main(void) {
    agt_store *store;
    agt_bytes plan;
    agt_error err;
    if (agt_open(&store, ".", &(agt_open_options){sizeof(agt_open_options), .create = 1}, &err) ||
        agt_write(store, &(agt_caller)AGT_CALLER("agent:me"), "plan.md", "Hi\n", 3, 0, 0, &err) ||
        agt_read(store, "plan.md", &plan, NULL, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    return printf("%s", plan.data), agt_bytes_free(&plan), agt_close(store, &err) != AGT_OK;
}
