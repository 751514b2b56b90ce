/* machine: a whole computer in memory behind struct agt_sys, for tests, fuzzers and simulators.
 *
 * It has a disk (files, folders, hard and symbolic links, modes, times), processes with open
 * descriptors and flock locks, a clock that stands still until somebody moves it, random numbers
 * from a seed, process ids and a boot id. It makes no call to the operating system, has no thread
 * and no global. Its agt_sys answers as src/sys/posix.c does on Linux.
 *
 *     machine *m = machine_new(NULL);
 *     machine_make_folder(m, "/home");
 *     machine_process *p = machine_process_new(m, "editor");
 *     const agt_sys *sys = machine_sys(p);      pass it as opts.sys; the root is "/home"
 *     machine_power_cut(m, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = 7});
 *     machine_free(m);
 *
 * THE DISK AND POWER CUTS
 * What a call changes is seen by everybody at once, but it is only pending: it reaches the disk
 * when it is synced, or perhaps at a power cut.
 *   (1) sync of a file makes its bytes, size, mode and times durable, not its name.
 *   (2) sync of a folder makes the names in it durable, not what they name. A rename is atomic: a
 *       sync of either folder brings both of its names to the disk. So is an exchange.
 *   (3) At a cut each pending change of a name is kept or dropped by itself, except that changes
 *       of one name keep their order, a folder is only removed empty, and a file is only moved
 *       into a folder that is there: no rename loses both names.
 *   (4) At a cut each file has the size, mode and times of one moment since its last sync, and
 *       each 512-byte sector of it the bytes of one moment, chosen by themselves: old, new, or
 *       between; bytes may come before the size and the size before the bytes (then NULs).
 *       What a file was cut back by never comes back if the cut survived.
 *   (5) A sync that is made to fail (machine_fail_at and its kin) drops what was pending: reads
 *       still show it, later syncs succeed, the disk never gets it, unless the same is written
 *       once more, or the same name changed. For a folder likewise.
 *   (6) After a cut all processes are dead, the boot id is new, nothing is pending.
 *
 * Whatever only a mistake in the caller can do (a descriptor used after close, a name with '/',
 * a mutex locked twice) prints the last calls and aborts, unless `lenient` is set. */
#ifndef AGT_MACHINE_H
#define AGT_MACHINE_H

#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#include "../agent_trace.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct machine machine;
typedef struct machine_process machine_process;

/* Zero means the default, everywhere. */
typedef struct machine_settings {
    uint64_t seed;         /* random numbers, order of lists, places of tears */
    int64_t start_unix_ms; /* 0: 2025-01-01T00:00:00Z */
    int64_t tick_ns;       /* file times are multiples of it; 0: 4 ms */
    int64_t call_ns;       /* every call moves the clock so far; 0: only sleep and advance do */
    uint64_t capacity;     /* bytes in all files; 0: no limit. A zero takes room like any byte */
    size_t short_bytes;    /* pread and pwrite move at most so many bytes at once; 0: all */
    uint32_t user;         /* who the processes are; 0: user 1000 */
    bool privileged;       /* modes forbid nothing, as to root */
    bool no_exchange, no_noreplace, no_lock, no_has_writer, no_reserve; /* answer NOSYS */
    bool no_link;          /* links are refused (ACCESS), as by file systems that have none */
    bool no_boot;          /* the boot id and the name spaces are unknown */
    bool unique_inodes;    /* an inode number is never used again; default: at once, as on ext4 */
    bool unsynced_kept;    /* nothing is ever pending: a cut keeps all (for fuzzers: faster) */
    uint32_t volume;       /* an agt_volume_place; 0: AGT_VOLUME_LOCAL */
    bool volume_read_only; /* as the file system says of itself; nothing else changes */
    uint64_t volume_free;  /* bytes that it says are free; 0: no limit */
    bool lenient;          /* mistakes in the caller answer EBADF or EINVAL and do not abort */
} machine_settings;

machine *machine_new(const machine_settings *settings); /* NULL: all defaults */
void machine_free(machine *m);                          /* NULL is allowed */
/* The settings in force; they may be changed at any time, but for seed, start_unix_ms and
 * unsynced_kept. */
machine_settings *machine_set(machine *m);
/* A copy: the disk with what is pending, clock, ids and settings; no process, fault or hook.
 * Pages are shared until written: a copy of a small store takes a few microseconds. */
machine *machine_clone(const machine *m);
/* Makes m what `from` is, as clone would; processes of m are dead then. */
void machine_restore(machine *m, const machine *from);

/* ---- processes ---- */

machine_process *machine_process_new(machine *m, const char *program);
const agt_sys *machine_sys(machine_process *p);
int64_t machine_process_pid(const machine_process *p);
/* Dies: descriptors close, locks go. Later calls on its agt_sys answer IO; close and mutex calls
 * do nothing, so that a handle's memory can still be freed. */
void machine_process_kill(machine_process *p);
bool machine_process_alive(const machine_process *p);
/* Kills it and frees it. */
void machine_process_free(machine_process *p);
size_t machine_process_open_files(const machine_process *p);
void machine_process_set_umask(machine_process *p, uint32_t mask); /* 022 at first */
/* Between enter and leave the calls of p's agt_sys run in a child made by fork: another pid, its
 * own copies of the descriptors of the same open files. Leaving is the child's death. */
void machine_fork_enter(machine_process *p);
void machine_fork_leave(machine_process *p);

/* ---- the clock and power ---- */

int64_t machine_now_ns(const machine *m); /* since 1970 */
void machine_advance(machine *m, int64_t ns);
void machine_set_clock(machine *m, int64_t unix_ms); /* wall clock only, also backward */

typedef enum machine_choice_kind {
    MACHINE_CHOOSE_NAME = 1, /* a change of names: 0 dropped, 1 kept */
    MACHINE_CHOOSE_SIZE,     /* size, mode and times: 0 the last synced, options-1 the newest */
    MACHINE_CHOOSE_SECTOR    /* 512 bytes: 0 the oldest possible, options-1 the newest */
} machine_choice_kind;

typedef struct machine_choice {
    machine_choice_kind kind;
    uint64_t inode;        /* the file; for a name the folder */
    uint32_t index, total; /* which of the file's sectors to choose; of all pending names */
    uint32_t options;      /* at least 2 */
} machine_choice;

typedef enum machine_cut_mode {
    MACHINE_CUT_LOSE = 0, /* everything pending is lost */
    MACHINE_CUT_KEEP,     /* everything pending is kept */
    MACHINE_CUT_PREFIX,   /* the first `prefix` changes are kept: a disk that keeps order */
    MACHINE_CUT_RANDOM,   /* from `seed`, in styles that tests proved to hurt: all but one, ... */
    MACHINE_CUT_CHOOSE    /* ask `choose` */
} machine_cut_mode;

typedef struct machine_cut {
    machine_cut_mode mode;
    uint64_t prefix, seed;
    uint32_t (*choose)(void *ctx, const machine_choice *c); /* returns less than c->options */
    void *ctx;
} machine_cut;

/* How many changes are pending: of names and of files. */
uint64_t machine_pending(const machine *m);
void machine_power_cut(machine *m, const machine_cut *cut);
void machine_sync_all(machine *m); /* everything pending reaches the disk */
/* An orderly restart: machine_sync_all, all processes dead, new boot id. */
void machine_reboot(machine *m);
/* The page cache forgets: files show what the disk has where nothing is pending. Only after
 * failed syncs does that make a difference. */
void machine_drop_caches(machine *m);
/* Turns one bit on the disk, as old age does. 0 or a negative AGT_SYS_ERR. */
int machine_rot(machine *m, const char *path, uint64_t byte, unsigned bit);

/* Every outcome of a cut, one after the other:
 *
 *     machine_choices all = {0};
 *     while (machine_choices_next(&all)) {
 *         machine *c = machine_clone(m);
 *         machine_cut cut = machine_choices_cut(&all);
 *         machine_power_cut(c, &cut); ... machine_free(c);
 *     }
 */
typedef struct machine_choices {
    uint32_t *digit, *radix;
    size_t n, at, cap;
    uint64_t seen; /* outcomes so far */
} machine_choices;
bool machine_choices_next(machine_choices *c); /* false: all were seen, memory is freed */
machine_cut machine_choices_cut(machine_choices *c);
void machine_choices_free(machine_choices *c); /* to stop before the end */

/* ---- calls: counting, looking, failing, dying ---- */

#define MACHINE_OP_MAP(X)                                                                          \
    X(OPEN_ROOT, open_root)                                                                        \
    X(OPEN, open)                                                                                  \
    X(WALK, walk)                                                                                  \
    X(CLOSE, close)                                                                                \
    X(PREAD, pread)                                                                                \
    X(PWRITE, pwrite)                                                                              \
    X(SYNC, sync)                                                                                  \
    X(TRUNCATE, truncate)                                                                          \
    X(RESERVE, reserve)                                                                            \
    X(STAT, stat)                                                                                  \
    X(FSTAT, fstat)                                                                                \
    X(SET_MODE, set_mode)                                                                          \
    X(RENAME, rename)                                                                              \
    X(LINK, link)                                                                                  \
    X(REMOVE, remove)                                                                              \
    X(REMOVE_FOLDER, remove_folder)                                                                \
    X(MAKE_FOLDER, make_folder)                                                                    \
    X(LIST, list)                                                                                  \
    X(HAS_WRITER, has_writer)                                                                      \
    X(MAY_CHANGE, may_change)                                                                      \
    X(LOCK, lock)                                                                                  \
    X(SLEEP, sleep_ns)                                                                             \
    X(RANDOM, random)                                                                              \
    X(PROCESS, process)                                                                            \
    X(PATH_OF, path_of)                                                                            \
    X(MUTEX_NEW, mutex_new)                                                                        \
    X(VOLUME, volume)                                                                              \
    X(PEER, peer)

typedef enum machine_op {
#define MACHINE_OP_ENUM(upper, lower) MACHINE_##upper,
    MACHINE_OP_MAP(MACHINE_OP_ENUM)
#undef MACHINE_OP_ENUM
        MACHINE_OPS
} machine_op;

/* Sets of calls. now, mono, pid and the other mutex calls are not counted and never fail. */
#define MACHINE_BIT(op)  (UINT64_C(1) << (op))
#define MACHINE_ALL      (MACHINE_BIT(MACHINE_OPS) - 1)
#define MACHINE_CAN_FAIL (MACHINE_ALL & ~(MACHINE_BIT(MACHINE_CLOSE) | MACHINE_BIT(MACHINE_SLEEP)))
/* Those that change what a power cut or another process can see. */
#define MACHINE_CHANGES                                                                            \
    (MACHINE_BIT(MACHINE_OPEN) | MACHINE_BIT(MACHINE_CLOSE) | MACHINE_BIT(MACHINE_PWRITE) |        \
     MACHINE_BIT(MACHINE_SYNC) | MACHINE_BIT(MACHINE_TRUNCATE) | MACHINE_BIT(MACHINE_RESERVE) |    \
     MACHINE_BIT(MACHINE_SET_MODE) | MACHINE_BIT(MACHINE_RENAME) | MACHINE_BIT(MACHINE_LINK) |     \
     MACHINE_BIT(MACHINE_REMOVE) | MACHINE_BIT(MACHINE_REMOVE_FOLDER) |                            \
     MACHINE_BIT(MACHINE_MAKE_FOLDER) | MACHINE_BIT(MACHINE_LOCK))

typedef struct machine_call {
    machine_op op;
    machine_process *process;
    uint64_t number; /* of the machine's counted calls, from 1 */
    agt_fd fd, fd2;  /* the folders of a rename or link; 0 where there is none */
    const char *name, *name2;
    uint64_t offset, n; /* n: bytes, the size, the nanoseconds */
    int64_t flags;      /* of open, rename, lock; the mode of set_mode and make_folder */
} machine_call;

/* Called before every counted call. What it does through any agt_sys or machine_ function happens
 * at that point; its own calls are not counted, do not fail and call no hook. NULL: none. */
typedef void machine_hook(void *ctx, machine *m, const machine_call *call);
void machine_on_call(machine *m, machine_hook *hook, void *ctx);

uint64_t machine_calls(const machine *m, machine_op op);
uint64_t machine_calls_all(const machine *m);
void machine_calls_reset(machine *m); /* the numbering too */
/* Keeps the last `count` calls (0: none), for machine_print_calls and for aborts. */
void machine_trace_calls(machine *m, size_t count);
void machine_print_calls(const machine *m, FILE *out);

typedef struct machine_fault {
    uint64_t at;   /* the n-th matching call from now on; 1 is the next */
    uint64_t ops;  /* a set of calls; 0: all that can fail */
    int cls, code; /* as in AGT_SYS_ERR. cls 0: a short pread or pwrite instead of a failure */
    bool forever;  /* that one and every matching one behind it */
    bool after;    /* the call is carried out and then reported as failed */
    const machine_process *only; /* NULL: of any process */
} machine_fault;

void machine_fail(machine *m, const machine_fault *fault); /* replaces an armed one; NULL: none */
void machine_fail_at(machine *m, uint64_t n, uint64_t ops, int cls, int code, bool forever);
/* The n-th sync fails with EIO and its data never reaches the disk (5). */
void machine_fail_sync(machine *m, uint64_t n, bool forever);
uint64_t machine_fail_count(const machine *m); /* injected since it was armed */

typedef enum machine_when {
    MACHINE_BEFORE, /* the call is not carried out */
    MACHINE_MIDDLE, /* a pwrite writes a part, often up to a page's edge; others as AFTER */
    MACHINE_AFTER   /* it is, but never returns */
} machine_when;

/* Where a process that dies goes to: machine_crash_at kills the process that makes the call and
 * jumps there. What the caller had allocated is lost, as in life: use a machine_memory.
 *
 *     machine_crash_at(m, n, MACHINE_CHANGES, MACHINE_AFTER);
 *     if (setjmp(*machine_crash_point(m)) == 0) work(sys); else it died;
 */
jmp_buf *machine_crash_point(machine *m);
void machine_crash_at(machine *m, uint64_t n, uint64_t ops, machine_when when); /* n 0: never */
uint64_t machine_crash_count(const machine *m); /* deaths since it was armed */
/* Kills a process and jumps to the crash point; for hooks. */
void machine_die(machine_process *p) __attribute__((noreturn));

/* ---- what others do to the disk: a person at an editor, another program, an attacker ----
 * By path from "/". No call of a process: not counted, no fault, no hook, all rights. They return
 * 0 or a negative AGT_SYS_ERR. */

int machine_put(machine *m, const char *path, const void *data, size_t n); /* truncate, write */
int machine_put_text(machine *m, const char *path, const char *text);
/* The bytes, to free(); a NUL follows them. NULL if there is no such file. */
char *machine_get(const machine *m, const char *path, size_t *n);
int machine_stat(const machine *m, const char *path, agt_stat *out); /* follows no last link */
/* An editor's save in steps: the file is open for writing, and empty, from open to close. After a
 * power cut or machine_restore the rest does nothing. */
typedef struct machine_edit machine_edit;
machine_edit *machine_edit_open(machine *m, const char *path); /* NULL if it cannot */
void machine_edit_write(machine_edit *e, const void *data, size_t n);
void machine_edit_close(machine_edit *e);
/* A careful editor's save: a new file, then rename. */
int machine_replace(machine *m, const char *path, const void *data, size_t n);
int machine_overwrite(machine *m, const char *path, uint64_t offset, const void *data, size_t n);
int machine_rename(machine *m, const char *from, const char *to);
int machine_remove(machine *m, const char *path); /* a folder with all that is in it */
int machine_truncate(machine *m, const char *path, uint64_t size);
int machine_make_folder(machine *m, const char *path); /* and those above; mode 0755 */
int machine_symlink(machine *m, const char *target, const char *path);
int machine_link(machine *m, const char *from, const char *to);
int machine_fifo(machine *m, const char *path);  /* kind AGT_FILE_OTHER */
int machine_mount(machine *m, const char *path); /* a new folder, a device of its own */
int machine_set_mode(machine *m, const char *path, uint32_t mode);
int machine_set_owner(machine *m, const char *path, uint32_t user);
int machine_set_mtime(machine *m, const char *path, int64_t ns); /* ctime too is set: to now */

/* The tree under `path`, one line a file in byte order: kind, mode, size, hash of the bytes or the
 * link's target, path relative to it. To free(). Equal trees have equal texts. NULL: no folder. */
char *machine_tree(const machine *m, const char *path);
/* Is any process holding a flock on it? */
bool machine_locked(const machine *m, const char *path);
/* Pages of 4,096 bytes that files really take in this process' memory; runs of zeros take none. */
uint64_t machine_pages(const machine *m);
/* NULL if the machine's own books are right, else what is wrong. For tests of the machine. */
const char *machine_verify(const machine *m);

/* ---- memory that counts and fails: an agt_allocator ----
 *
 *     machine_memory mem;
 *     opts.allocator = machine_memory_init(&mem);
 *     ... CHECK_INT(mem.live_blocks, 0);
 *
 * Sizes given back are compared with those asked for, and bytes around each block are watched:
 * a mistake prints one line and aborts. */
typedef struct machine_memory {
    agt_allocator allocator;
    size_t live_bytes, live_blocks, peak_bytes;
    uint64_t calls;   /* allocations and growths asked for */
    uint64_t fail_at; /* the n-th of `calls` fails; 0: none */
    bool forever;     /* and every one behind it */
    uint64_t failed;
    void *blocks_;
} machine_memory;
const agt_allocator *machine_memory_init(machine_memory *mem);
/* From now on: the n-th allocation from here. 0: none fails. Sets `failed` to 0. */
void machine_memory_fail_at(machine_memory *mem, uint64_t n, bool forever);
/* Frees all blocks: what a process had when it died. */
void machine_memory_release(machine_memory *mem);

#endif /* AGT_MACHINE_H */
