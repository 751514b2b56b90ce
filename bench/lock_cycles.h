/* One handle: what the library does against the same system calls in the same order, bare. Blocks
 * are short and take turns, so that whatever else the machine does hits both of a pair. */
#ifndef AGT_BENCH_LOCK_CYCLES_H
#define AGT_BENCH_LOCK_CYCLES_H

#include "lock_kinds.h"

#define BLOCKS 201
#define GOAL   1.15 /* most a cycle may cost over its bare calls */

static agt_flock ours, held_by_other;
static int bare_fd;

static void ours_take_drop(void) {
    must(agt__flock_take(&ours, AGT_TRY, NULL) == AGT_OK, "take");
    agt__flock_drop(&ours);
}
static void bare_take_drop(void) {
    struct stat st;
    must(flock(bare_fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
    must(flock(bare_fd, LOCK_UN) == 0, "flock");
}
static void only_flock(void) {
    must(flock(bare_fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(flock(bare_fd, LOCK_UN) == 0, "flock");
}
static void ours_open_take_close(void) {
    agt_flock l;
    agt__flock_init(&l, sys, dir, "ours");
    must(agt__flock_take(&l, AGT_TRY, NULL) == AGT_OK, "take");
    agt__flock_close(&l);
}
static void bare_open_take_close(void) {
    struct stat st;
    int fd = openat((int)dir, "bare",
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    must(fd >= 0, "openat");
    must(fstat(fd, &st) == 0 && fstat((int)dir, &st) == 0, "fstat");
    must(flock(fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
    close(fd);
}
static void ours_refused(void) {
    must(agt__flock_take(&ours, AGT_TRY, NULL) == AGT_BUSY, "take");
}
static void bare_refused(void) {
    struct stat st;
    must(flock(bare_fd, LOCK_EX | LOCK_NB) != 0, "flock");
    must(flock(bare_fd, LOCK_SH | LOCK_NB) != 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
}
static void ours_lead(void) {
    agt_poll_lock *p;
    must(agt_poll_lock_try(&p, folder, NULL) == AGT_OK, "agt_poll_lock_try");
    agt_poll_lock_release(p);
}
static void ours_lead_by_file(void) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_poll_lock *p;
    o.timeout_ms = AGT_TRY;
    o.backend = AGT_LOCK_SENTINEL;
    must(agt_poll_lock_acquire(&p, folder, &o, NULL) == AGT_OK, "agt_poll_lock_acquire");
    agt_poll_lock_release(p);
}

enum { TAKE, TAKE_BARE, PAIR, OPEN, OPEN_BARE, REFUSED, REFUSED_BARE, LEAD, LEAD_FILE, CYCLES };
typedef struct cycle {
    const char *name, *calls;
    void (*run)(void);
    int times;
    bool held; /* somebody else holds the lock meanwhile */
    double ns[BLOCKS], median;
} cycle;
static cycle cycles[CYCLES] = {
    [TAKE] = {.name = "try and release",
              .calls = "flock fstatat flock",
              .run = ours_take_drop,
              .times = 500},
    [TAKE_BARE] = {.run = bare_take_drop, .times = 500},
    [PAIR] = {.run = only_flock, .times = 500},
    [OPEN] = {.name = "open, try, close",
              .calls = "openat fstat fstat flock fstatat close",
              .run = ours_open_take_close,
              .times = 150},
    [OPEN_BARE] = {.run = bare_open_take_close, .times = 150},
    [REFUSED] = {.name = "a try that is refused",
                 .calls = "flock flock fstatat",
                 .run = ours_refused,
                 .times = 500,
                 .held = true},
    [REFUSED_BARE] = {.run = bare_refused, .times = 500, .held = true},
    [LEAD] = {.run = ours_lead, .times = 5},
    [LEAD_FILE] = {.run = ours_lead_by_file, .times = 5},
};

static double time_block(const cycle *c) {
    int other = -1;
    if (c->held) {
        must(agt__flock_take(&held_by_other, AGT_TRY, NULL) == AGT_OK, "take");
        other = openat((int)dir, "bare", O_RDWR | O_CLOEXEC);
        must(other >= 0 && flock(other, LOCK_EX | LOCK_NB) == 0, "flock");
    }
    double start = now_ns();
    for (int i = 0; i < c->times; i++)
        c->run();
    double ns = (now_ns() - start) / c->times;
    if (c->held) {
        agt__flock_drop(&held_by_other);
        close(other);
    }
    return ns;
}

/* The median over the blocks of how much longer one took than the other did at the same time. */
static double cycle_ratio(int a, int b) {
    double ratio[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        ratio[i] = cycles[a].ns[i] / cycles[b].ns[i];
    return quantile(ratio, BLOCKS, 0.5);
}

static void measure_cycles(void) {
    agt__flock_init(&ours, sys, dir, "ours");
    agt__flock_init(&held_by_other, sys, dir, "ours");
    bare_fd = openat((int)dir, "bare", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(bare_fd >= 0, "openat");
    for (int block = -1; block < BLOCKS; block++) /* the first one warms up */
        for (int i = 0; i < CYCLES; i++) {
            /* forth and back, so that neither of a pair always comes first */
            cycle *c = &cycles[block & 1 ? CYCLES - 1 - i : i];
            double ns = time_block(c);
            if (block >= 0) c->ns[block] = ns;
        }
    agt__flock_close(&ours);
    agt__flock_close(&held_by_other);
    close(bare_fd);
}

/* Each against its bare calls, and beside it against a bare pair of flock. */
static void report_pair(const char *id, int ours_at, int bare_at) {
    const cycle *c = &cycles[ours_at];
    report(format("%s_ratio", id), format("%s, against the same calls bare", c->name),
           cycle_ratio(ours_at, bare_at), "x", GOAL, false,
           format("%.1f x a bare flock pair", cycle_ratio(ours_at, PAIR)));
}
static void bench_cycles(void) {
    measure_cycles();
    report_pair("take", TAKE, TAKE_BARE);
    report_pair("open", OPEN, OPEN_BARE);
    report_pair("refused", REFUSED, REFUSED_BARE);
    for (int i = 0; i < CYCLES; i++) {
        double sorted[BLOCKS];
        memcpy(sorted, cycles[i].ns, sizeof sorted);
        cycles[i].median = quantile(sorted, BLOCKS, 0.5);
    }
    told("take_ns", "try and release on an open handle", cycles[TAKE].median, "ns");
    told("pair_ns", "a bare flock pair", cycles[PAIR].median, "ns");
    told("open_ns", "open, try, close", cycles[OPEN].median, "ns");
    told("refused_ns", "a try that is refused", cycles[REFUSED].median, "ns");
    told("lead_us", "lead and release, with folders, epoch and record", cycles[LEAD].median / 1e3,
         "us");
    told("lead_file_us", "the same by a file", cycles[LEAD_FILE].median / 1e3, "us");
}

#endif /* AGT_BENCH_LOCK_CYCLES_H */
