/* How long a waiter goes on waiting when the lock is free: after a release, and after kill -9 of
 * its holder. */
#ifndef AGT_BENCH_LOCK_HANDOVER_H
#define AGT_BENCH_LOCK_HANDOVER_H

#include "lock_kinds.h"

#define GROUPS  5
#define GROUP   20 /* hand-overs that follow one another in a group */
#define TOTAL   (GROUPS * GROUP)
#define WAITERS 4

static const kind waiters[WAITERS] = {FLOCK, POLL, POLL_FILE, OURS};
static const char *const waiter_names[WAITERS] = {"blocking flock(2)", "a follower, by flock",
                                                  "a follower, by a file", "the store's lock"};
static const char *const waiter_ids[WAITERS] = {"flock", "follower", "follower_file", "store"};

typedef struct handover {
    double us[TOTAL];     /* until the waiter's call came back */
    double locked[TOTAL]; /* until the kernel gave it the lock: before the epoch is written */
    double p50, p99;
} handover;
static handover handovers[2][WAITERS]; /* after a release, after kill -9 */

/* The holder: has it until a byte comes, and then lives on without. */
static pid_t start_holder(kind k, int told_by) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0) return pid;
    handle h;
    char byte;
    handle_open(&h, k);
    handle_take(&h);
    atomic_store(&mem->locked_ns, 0);
    atomic_fetch_add(&mem->ready, 1);
    must(read(told_by, &byte, 1) == 1, "read");
    atomic_store(&mem->freed_ns, ns_now());
    handle_drop(&h);
    for (;;)
        pause();
}
static pid_t start_waiter(kind k) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0) return pid;
    handle h;
    handle_open(&h, k);
    atomic_fetch_add(&mem->ready, 1);
    handle_take(&h);
    atomic_store(&mem->got_ns, ns_now());
    handle_drop(&h);
    _exit(0);
}

static void one_handover(kind k, bool by_death, int i, handover *out) {
    int pipe_fd[2], status;
    start_afresh();
    must(pipe(pipe_fd) == 0, "pipe");
    pid_t holder = start_holder(k, pipe_fd[0]);
    await_ready(1);
    pid_t waiter = start_waiter(k);
    await_ready(2);
    usleep(10000 + 3700 * (useconds_t)(i % GROUP)); /* it has slept for 10 to 80 ms */
    must(atomic_load(&mem->got_ns) == 0, "the lock was got while it was held");
    uint64_t freed = ns_now();
    if (by_death)
        must(kill(holder, SIGKILL) == 0, "kill");
    else
        must(write(pipe_fd[1], "", 1) == 1, "write");
    must(waitpid(waiter, &status, 0) == waiter && status == 0, "the waiter failed");
    if (by_death)
        must(waitpid(holder, NULL, 0) == holder, "waitpid");
    else {
        freed = atomic_load(&mem->freed_ns);
        end_process(holder);
    }
    uint64_t got = atomic_load(&mem->got_ns), locked = atomic_load(&mem->locked_ns);
    out->us[i] = ((double)got - (double)freed) / 1e3;
    out->locked[i] = locked ? ((double)locked - (double)freed) / 1e3 : out->us[i];
    close(pipe_fd[0]);
    close(pipe_fd[1]);
}

/* The median over the groups of a follower's median against a blocked waiter's. */
static double handover_ratio(const handover *x, bool locked, const handover *raw) {
    double ratio[GROUPS], a[GROUP], b[GROUP];
    for (int g = 0; g < GROUPS; g++) {
        memcpy(a, (locked ? x->locked : x->us) + g * GROUP, sizeof a);
        memcpy(b, raw->us + g * GROUP, sizeof b);
        ratio[g] = quantile(a, GROUP, 0.5) / quantile(b, GROUP, 0.5);
    }
    return quantile(ratio, GROUPS, 0.5);
}

static void report_handover(int death, int w) {
    handover *h = &handovers[death][w];
    const char *when = death ? "kill -9" : "a release", *id = death ? "kill" : "release";
    h->p50 = quantile(h->us, TOTAL, 0.5);
    h->p99 = quantile(h->us, TOTAL, 0.99);
    told(format("%s_%s_p50_us", id, waiter_ids[w]),
         format("after %s, %s: p50", when, waiter_names[w]), h->p50, "us");
    bool judged = death && waiters[w] == POLL;
    report(format("%s_%s_p99_ms", id, waiter_ids[w]),
           format("after %s, %s: p99", when, waiter_names[w]), h->p99 / 1e3, "ms", judged ? 150 : 0,
           false, "");
}

static void bench_handover(void) {
    for (int i = 0; i < TOTAL; i++)
        for (int death = 0; death < 2; death++)
            for (int w = 0; w < WAITERS; w++)
                one_handover(waiters[w], death, i, &handovers[death][w]);
    double leads = handover_ratio(&handovers[1][1], false, &handovers[1][0]);
    double locked = handover_ratio(&handovers[1][1], true, &handovers[1][0]);
    for (int death = 0; death < 2; death++)
        for (int w = 0; w < WAITERS; w++)
            report_handover(death, w);
    report("kill_ratio", "p50 of a follower after kill -9, against blocking flock(2)", leads, "x",
           1.2, false, "until its call is back, its epoch and record written");
    told("kill_locked_ratio", "the same, until the kernel has given it the lock", locked, "x");
}

#endif /* AGT_BENCH_LOCK_HANDOVER_H */
