/* One leader among all processes: the lock alone. Start several of these in one folder; one leads,
 * the others say who does and wait for their turn.
 *
 *     cc -DAGENT_TRACE_NO_GIT examples/leader.c agent_trace.c -I. -o leader
 *     ./leader [FOLDER [CYCLES]]
 *
 * The leader may be killed in any way: the kernel lets go of the lock, there is nothing to clean.
 */
#include "agent_trace.h"

#include <stdio.h>
#include <stdlib.h>

static void tell_who_leads(const char *folder) {
    agt_lock_holder who = AGT_LOCK_HOLDER_INIT;
    if (agt_poll_lock_holder(folder, &who, NULL) != AGT_OK) return;
    printf("process %lld (%s on %s) %s\n", (long long)who.pid, who.program, who.host,
           who.held ? "leads; waiting" : "led last");
}

/* What only one process at a time may do: here, to count. */
static void one_cycle(long cycle) {
    volatile unsigned long sum = 0;
    for (unsigned long i = 0; i < 20000000; i++)
        sum += i;
    printf("cycle %ld done\n", cycle);
    fflush(stdout);
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    long cycles = argc > 2 ? atol(argv[2]) : 3;
    agt_poll_lock *lead = NULL;
    agt_error err;

    agt_status status = agt_poll_lock_try(&lead, folder, &err);
    if (status == AGT_BUSY) { /* an answer, not an error: somebody else leads */
        agt_poll_lock_options options = AGT_POLL_LOCK_OPTIONS_INIT;
        options.timeout_ms = AGT_FOREVER;
        tell_who_leads(folder);
        status = agt_poll_lock_acquire(&lead, folder, &options, &err);
    }
    if (status != AGT_OK) {
        fprintf(stderr, "leader: %s\n", err.message);
        return 1;
    }
    puts("this process leads");
    for (long i = 1; i <= cycles; i++)
        one_cycle(i);
    agt_poll_lock_release(lead);
    tell_who_leads(folder);
    return 0;
}
