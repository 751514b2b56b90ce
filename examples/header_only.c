/* The library as a header: one C file defines AGENT_TRACE_IMPLEMENTATION and includes it first,
 * before any header of the system. All others include agent_trace.h as it is. */
#define AGENT_TRACE_IMPLEMENTATION
#include "agent_trace.h"

#include <stdio.h>

int main(void) {
    agt_poll_lock *leader;
    agt_error err;
    agt_status status = agt_poll_lock_try(&leader, ".", &err);
    if (status == AGT_BUSY) {
        puts("another process leads");
        return 0;
    }
    if (status != AGT_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    puts("this process leads");
    agt_poll_lock_release(leader);
    return 0;
}
