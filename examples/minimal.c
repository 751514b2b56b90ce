/* Makes a store in the current folder, writes a document as an agent, and reads it back. */
#include "agent_trace.h"
#include <stdio.h>

int main(void) {
    agt_caller planner = AGT_CALLER("agent:planner");
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    agt_store *store;
    agt_bytes plan;
    agt_error err;
    options.create = 1;
    if (agt_open(&store, ".", &options, &err) ||
        agt_write(store, &planner, "plan.md", "# Plan\n", 7, NULL, NULL, &err) ||
        agt_read(store, "plan.md", &plan, NULL, &err))
        return fprintf(stderr, "%s\n", err.message), 1;
    fputs((const char *)plan.data, stdout);
    agt_bytes_free(&plan);
    return agt_close(store, &err) != AGT_OK;
}
