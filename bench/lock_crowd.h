/* Processes that contend for an empty critical section: how often all of them together get the
 * lock, how evenly, and the longest that one went without. */
#ifndef AGT_BENCH_LOCK_CROWD_H
#define AGT_BENCH_LOCK_CROWD_H

#include "lock_kinds.h"

#define RUNS       5
#define RUN_MS     200
#define PAIRS      11 /* of runs, for a goal */
#define GOAL_CROWD 8

static const int crowd[] = {1, 2, 4, 8, 16, 64};
#define CROWDS  COUNT(crowd)
#define AT_MOST (CROWDS - 1)

typedef struct contention {
    double rates[RUNS], fairs[RUNS], waits[RUNS];
    double rate, fairness, longest_ms; /* their medians */
} contention;
static contention contentions[CROWDS][KINDS];

static void contend(kind k, int slot) {
    handle h;
    handle_open(&h, k);
    atomic_fetch_add(&mem->ready, 1);
    while (!atomic_load(&mem->go))
        usleep(100);
    for (;;) {
        handle_take(&h);
        uint64_t now = ns_now(), without = now - atomic_load(&mem->done[slot].last_ns);
        mem->inside++;
        atomic_fetch_add_explicit(&mem->done[slot].n, 1, memory_order_relaxed);
        if (without > atomic_load(&mem->done[slot].longest_ns))
            atomic_store(&mem->done[slot].longest_ns, without);
        atomic_store(&mem->done[slot].last_ns, now);
        handle_drop(&h);
    }
}

static void read_counts(int n, double seconds, contention *out, int run) {
    uint64_t total = 0, least = UINT64_MAX, most = 0, longest = 0, now = ns_now();
    for (int i = 0; i < n; i++) {
        uint64_t v = atomic_load(&mem->done[i].n), last = atomic_load(&mem->done[i].last_ns);
        uint64_t without = now > last ? now - last : 0; /* it may be waiting still */
        if (atomic_load(&mem->done[i].longest_ns) > without)
            without = atomic_load(&mem->done[i].longest_ns);
        total += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
        longest = without > longest ? without : longest;
    }
    out->rates[run] = (double)total / seconds;
    out->fairs[run] = most ? (double)least / (double)most : 0;
    out->waits[run] = (double)longest / 1e6;
}

/* A lock that let two in has lost some of their counting. */
static void check_counts(int n) {
    uint64_t total = 0;
    for (int i = 0; i < n; i++)
        total += atomic_load(&mem->done[i].n);
    must(total > 0, "nobody had the lock");
    must(mem->inside >= total && mem->inside <= total + (uint64_t)n, "two had the lock at once");
}

static void run_contention(kind k, int n, contention *out, int run) {
    pid_t pids[CROWD_MOST];
    start_afresh();
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        must(pids[i] >= 0, "fork");
        if (pids[i] == 0) contend(k, i);
    }
    await_ready(n);
    double start = now_ns();
    for (int i = 0; i < n; i++)
        atomic_store(&mem->done[i].last_ns, (uint64_t)start);
    atomic_store(&mem->go, 1);
    usleep(RUN_MS * 1000);
    read_counts(n, (now_ns() - start) / 1e9, out, run);
    for (int i = 0; i < n; i++)
        must(kill(pids[i], SIGKILL) == 0, "kill");
    for (int i = 0; i < n; i++)
        must(waitpid(pids[i], NULL, 0) == pids[i], "waitpid");
    check_counts(n);
}

/* One kind's rate against another's at 8 processes: the median of pairs of runs, of which now one,
 * now the other comes first. */
static double rate_ratio(kind a, kind b) {
    double ratio[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        contention x, y;
        if (i & 1) run_contention(b, GOAL_CROWD, &y, 0);
        run_contention(a, GOAL_CROWD, &x, 0);
        if (!(i & 1)) run_contention(b, GOAL_CROWD, &y, 0);
        ratio[i] = x.rates[0] / y.rates[0];
    }
    return quantile(ratio, PAIRS, 0.5);
}

static void print_crowds(void) {
    printf(
        "\n  all acquisitions a second / fairness (least over most) / longest ms without\n  %-22s",
        "processes");
    for (size_t c = 0; c < CROWDS; c++)
        printf("%23d", crowd[c]);
    for (int k = 0; k < KINDS; k++) {
        printf("\n  %-22s", kind_names[k]);
        for (size_t c = 0; c < CROWDS; c++) {
            const contention *x = &contentions[c][k];
            printf("  %8.0f %5.3f %6.1f", x->rate, x->fairness, x->longest_ms);
        }
    }
    printf("\n\n");
}

static void bench_crowd(void) {
    for (int run = 0; run < RUNS; run++)
        for (size_t c = 0; c < CROWDS; c++)
            for (int k = 0; k < KINDS; k++)
                run_contention((kind)k, crowd[c], &contentions[c][k], run);
    for (size_t c = 0; c < CROWDS; c++)
        for (int k = 0; k < KINDS; k++) {
            contention *x = &contentions[c][k];
            x->rate = quantile(x->rates, RUNS, 0.5);
            x->fairness = quantile(x->fairs, RUNS, 0.5);
            x->longest_ms = quantile(x->waits, RUNS, 0.5);
        }
    if (table) print_crowds();
    report("crowd_ratio", "8 processes by flock, against the same calls bare",
           rate_ratio(OURS, BARE), "x", 0.9, true, "");
    report("crowd_file_ratio", "8 processes by a file, against exclusive create",
           rate_ratio(OURS_FILE, CREATE), "x", 0.5, true, "");
}

#endif /* AGT_BENCH_LOCK_CROWD_H */
