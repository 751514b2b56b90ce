/* fault: sweeps. One piece of work is run again and again in a machine, and each time something
 * else goes wrong: the first call to the system fails, then the second, then the third, until a
 * run in which nothing was left to fail; then the same with the next kind of fault.
 *
 *     FOR_EACH_FAULT(f, FAULT_IO | FAULT_NOSPC_FOREVER | FAULT_MEMORY) {
 *         machine_memory mem;
 *         machine *m = machine_clone(start);
 *         machine_process *p = machine_process_new(m, "writer");
 *         opts.sys = machine_sys(p);
 *         opts.allocator = machine_memory_init(&mem);
 *         fault_arm(&f, m, &mem);
 *         if (FAULT_TRY(&f)) work(&opts);        of what crashes, nothing behind FAULT_TRY runs
 *         fault_disarm(&f);
 *         if (!f.injected) CHECK(it worked);     the last run of each kind: nothing failed
 *         ... whatever failed: the invariants hold; nothing leaks: mem.live_blocks ...
 *         machine_memory_release(&mem);
 *         machine_free(m);
 *     }
 *
 * The test fails if a kind that was asked for was never injected, or if a round armed nothing:
 * a sweep that tests nothing is no test. Where a round fails, what it injected is printed when
 * the program ends. */
#ifndef AGT_FAULT_H
#define AGT_FAULT_H

#include "machine.h"
#include "test.h"

#include <errno.h>

/* name, bit, what fails: calls of the class (0: short moves), memory, or the process (a death) */
#define FAULT_MAP(X)                                                                               \
    X(IO, 0, CALL, AGT_SYS_IO, EIO)                                                                \
    X(IO_FOREVER, 1, CALL_FOREVER, AGT_SYS_IO, EIO)                                                \
    X(IO_AFTER, 2, CALL_AFTER, AGT_SYS_IO, EIO)                                                    \
    X(NOSPC, 3, ROOM, AGT_SYS_NOSPC, ENOSPC)                                                       \
    X(NOSPC_FOREVER, 4, ROOM_FOREVER, AGT_SYS_NOSPC, ENOSPC)                                       \
    X(ACCESS, 5, CALL, AGT_SYS_ACCESS, EACCES)                                                     \
    X(NOSYS, 6, CALL, AGT_SYS_NOSYS, ENOSYS)                                                       \
    X(NOMEM_CALL, 7, CALL, AGT_SYS_NOMEM, ENOMEM)                                                  \
    X(SHORT, 8, CALL, 0, 0)                                                                        \
    X(SHORT_FOREVER, 9, CALL_FOREVER, 0, 0)                                                        \
    X(SYNC, 10, SYNC, AGT_SYS_IO, EIO)                                                             \
    X(SYNC_FOREVER, 11, SYNC_FOREVER, AGT_SYS_IO, EIO)                                             \
    X(MEMORY, 12, MEMORY, 0, 0)                                                                    \
    X(MEMORY_FOREVER, 13, MEMORY_FOREVER, 0, 0)                                                    \
    X(CRASH_BEFORE, 14, DEATH, MACHINE_BEFORE, 0)                                                  \
    X(CRASH_MIDDLE, 15, DEATH, MACHINE_MIDDLE, 0)                                                  \
    X(CRASH_AFTER, 16, DEATH, MACHINE_AFTER, 0)                                                    \
    X(ACCESS_FOREVER, 17, CALL_FOREVER, AGT_SYS_ACCESS, EACCES)

enum fault_kind {
#define FAULT_ENUM(name, bit, how, a, b) FAULT_##name = 1 << (bit),
    FAULT_MAP(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_KINDS = 18,
    FAULT_ALL_CALLS = FAULT_IO | FAULT_IO_FOREVER | FAULT_NOSPC | FAULT_NOSPC_FOREVER |
                      FAULT_ACCESS | FAULT_ACCESS_FOREVER | FAULT_SHORT | FAULT_SHORT_FOREVER,
    FAULT_ALL_MEMORY = FAULT_MEMORY | FAULT_MEMORY_FOREVER,
    FAULT_ALL_CRASHES = FAULT_CRASH_BEFORE | FAULT_CRASH_MIDDLE | FAULT_CRASH_AFTER
};

enum fault_how {
    FAULT_HOW_CALL,
    FAULT_HOW_CALL_FOREVER,
    FAULT_HOW_CALL_AFTER,
    FAULT_HOW_ROOM, /* calls that take room on the disk */
    FAULT_HOW_ROOM_FOREVER,
    FAULT_HOW_SYNC,
    FAULT_HOW_SYNC_FOREVER,
    FAULT_HOW_MEMORY,
    FAULT_HOW_MEMORY_FOREVER,
    FAULT_HOW_DEATH
};

typedef struct fault_sweep {
    unsigned kinds, kind; /* asked for; the number of the present one */
    uint64_t ops;         /* calls that may fail or die; 0: all. Set it before fault_arm */
    uint64_t n, step;     /* the n-th fails; n grows by step */
    uint64_t injected;    /* in this round, after fault_disarm */
    uint64_t of_kind, total, rounds;
    bool armed;
    machine *m;
    machine_memory *mem;
    const char *file;
    int line;
} fault_sweep;

static const struct {
    const char *name;
    enum fault_how how;
    int a, b;
} fault_table[FAULT_KINDS] = {
#define FAULT_ROW(name, bit, how, a, b) {#name, FAULT_HOW_##how, a, b},
    FAULT_MAP(FAULT_ROW)
#undef FAULT_ROW
};

static char fault_left[256]; /* where the present sweep is; empty between sweeps */

static inline void fault_say_left(void) {
    if (fault_left[0]) printf("    a sweep stopped at %s\n", fault_left);
    fault_left[0] = 0;
}

static inline fault_sweep fault_begin(unsigned kinds, uint64_t step, const char *file, int line) {
    static bool registered;
    fault_sweep f = {.kinds = kinds, .step = step ? step : 1, .file = file, .line = line};
    if (!registered) atexit(fault_say_left);
    registered = true;
    fault_say_left();
    if (!(kinds & ((1u << FAULT_KINDS) - 1))) test_fail(file, line, "a sweep of no kind of fault");
    while (!(kinds >> f.kind & 1))
        f.kind++;
    return f;
}

/* Decides what fails in the next round. False: the sweep is over. */
static inline bool fault_next(fault_sweep *f) {
    if (f->rounds && !f->armed)
        test_fail(f->file, f->line, "a round of the sweep called no fault_arm");
    if (f->rounds && f->m) test_fail(f->file, f->line, "a round called no fault_disarm");
    if (f->rounds++ == 0 || f->injected) {
        f->n = f->n ? f->n + f->step : 1 + test_random_below(f->step);
    } else if (!f->of_kind && f->n > 1) { /* there are fewer calls of the kind than a step is */
        f->n = 1 + test_random_below(f->n - 1);
    } else {
        if (!f->of_kind)
            test_fail(f->file, f->line, "no fault of kind %s was injected",
                      fault_table[f->kind].name);
        do {
            f->kind++;
        } while (f->kind < FAULT_KINDS && !(f->kinds >> f->kind & 1));
        f->n = 1 + test_random_below(f->step);
        f->of_kind = 0;
    }
    f->armed = false;
    f->injected = 0;
    if (f->kind < FAULT_KINDS && f->n < 1000000) return true;
    fault_left[0] = 0;
    if (f->kind < FAULT_KINDS) test_fail(f->file, f->line, "a sweep that has no end");
    test_saw("faults injected", f->total);
    return false;
}

static inline void fault_arm_call(const fault_sweep *f, machine *m) {
    enum fault_how how = fault_table[f->kind].how;
    machine_fault fault = {.at = f->n,
                           .ops = f->ops,
                           .cls = fault_table[f->kind].a,
                           .code = fault_table[f->kind].b,
                           .forever = how == FAULT_HOW_CALL_FOREVER ||
                                      how == FAULT_HOW_ROOM_FOREVER ||
                                      how == FAULT_HOW_SYNC_FOREVER,
                           .after = how == FAULT_HOW_CALL_AFTER};
    uint64_t room = MACHINE_BIT(MACHINE_OPEN) | MACHINE_BIT(MACHINE_PWRITE) |
                    MACHINE_BIT(MACHINE_RESERVE) | MACHINE_BIT(MACHINE_LINK) |
                    MACHINE_BIT(MACHINE_RENAME) | MACHINE_BIT(MACHINE_MAKE_FOLDER);
    if (!fault.ops) fault.ops = MACHINE_CAN_FAIL;
    if (how == FAULT_HOW_ROOM || how == FAULT_HOW_ROOM_FOREVER) fault.ops &= room;
    if (how == FAULT_HOW_SYNC || how == FAULT_HOW_SYNC_FOREVER)
        fault.ops &= MACHINE_BIT(MACHINE_SYNC);
    machine_fail(m, &fault);
}

/* Sets the fault of this round; from here on calls and allocations count. `mem` may be NULL where
 * no fault of memory is asked for, `m` never. */
static inline void fault_arm(fault_sweep *f, machine *m, machine_memory *mem) {
    enum fault_how how = fault_table[f->kind].how;
    snprintf(fault_left, sizeof fault_left, "%s:%d: %s at number %llu", f->file, f->line,
             fault_table[f->kind].name, (unsigned long long)f->n);
    f->armed = true;
    f->m = m;
    f->mem = mem;
    if (how == FAULT_HOW_DEATH) {
        machine_crash_at(m, f->n, f->ops ? f->ops : MACHINE_CHANGES,
                         (machine_when)fault_table[f->kind].a);
    } else if (how == FAULT_HOW_MEMORY || how == FAULT_HOW_MEMORY_FOREVER) {
        if (!mem) test_fail(f->file, f->line, "a sweep of memory without a machine_memory");
        machine_memory_fail_at(mem, f->n, how == FAULT_HOW_MEMORY_FOREVER);
    } else {
        fault_arm_call(f, m);
    }
}

/* 1 at first; 0 when the process has died and came back here. Variables that the work changes and
 * that are read afterwards must be volatile, as with setjmp. */
#define FAULT_TRY(f) (setjmp(*machine_crash_point((f)->m)) == 0)

/* Ends the fault, so that what follows runs undisturbed, and counts what was injected. */
static inline void fault_disarm(fault_sweep *f) {
    f->injected = machine_fail_count(f->m) + machine_crash_count(f->m);
    if (f->mem) f->injected += f->mem->failed;
    f->of_kind += f->injected;
    f->total += f->injected;
    machine_fail(f->m, NULL);
    machine_crash_at(f->m, 0, 0, MACHINE_BEFORE);
    if (f->mem) machine_memory_fail_at(f->mem, 0, false);
    f->m = NULL;
}

/* Did the process die in this round? */
static inline bool fault_died(const fault_sweep *f) {
    return fault_table[f->kind].how == FAULT_HOW_DEATH && f->injected;
}

#define FOR_EACH_FAULT(f, kinds)                                                                   \
    for (fault_sweep f = fault_begin((kinds), 1, __FILE__, __LINE__); fault_next(&f);)
/* Only every step-th, beginning at a random one: for long work in a short suite. With --quick every
 * fourth of those. */
#define FOR_SOME_FAULTS(f, kinds, step)                                                            \
    for (fault_sweep f = fault_begin((kinds), (step) * (4 / test_some(4)), __FILE__, __LINE__);    \
         fault_next(&f);)

#endif /* AGT_FAULT_H */
