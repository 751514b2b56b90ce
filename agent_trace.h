/* agent_trace: a memory for AI agents that can be trusted.
 *
 * Documents in a folder, versioned in git, written under typed permissions; a trace of every
 * change that never loses an acknowledged event; one leader lock across processes.
 *
 * Two files: this header and agent_trace.c. Compile agent_trace.c as C11 with your own flags and
 * link libgit2 and zlib, or define AGENT_TRACE_NO_GIT and link nothing.
 *
 *     cc -c agent_trace.c $(pkg-config --cflags libgit2 zlib)
 *
 * CONVENTIONS, said once
 *   Status    every function that can fail returns agt_status. AGT_OK (0) is the only success;
 *             everything else is negative. An ANSWER is something a healthy program expects (busy,
 *             denied, not found); an ERROR is not. On anything but AGT_OK the store is unchanged,
 *             except where `outcome_unknown` of the error says otherwise.
 *   Errors    `agt_error *err` is the caller's, always last, may be NULL. It is filled on every
 *             status but AGT_OK and left alone on AGT_OK.
 *   Options   structs that begin with `size` are set up by their _INIT macro. Zero means default.
 *             A NULL options pointer means all defaults. Non-zero bytes past what this version
 *             knows are refused with AGT_INVALID.
 *   Text      UTF-8. `const char *` is NUL-terminated; agt_text is pointer and length.
 *   Bytes     documents are bytes, never converted. What comes back in an agt_bytes is the
 *             caller's and is freed with agt_bytes_free.
 *   NULL      is a bug unless a comment allows it (AGENT_TRACE_ASSERT).
 *   Threads   one agt_store may be used by several threads. An agt_cursor or an agt_poll_lock
 *             belongs to one thread at a time.
 *   Fork      handles are not inherited: in a fork's child every call on one answers AGT_INVALID;
 *             closing one there only frees memory and descriptors.
 *   Blocking  functions that wait for a lock or for the disk say "Blocks".
 *   Process   the library prints nothing, never exits, starts no thread, and changes no
 *             process-wide setting. libgit2 is initialised (reference counted) only while a store
 *             handle that needed it is open.
 *
 * BUILD SWITCHES (define before agent_trace.c is compiled; the first five also before the header)
 *   AGENT_TRACE_API             linkage of public functions; default extern
 *   AGENT_TRACE_STATIC          every function static, for #include "agent_trace.c"; two copies in
 *                               one program do not clash
 *   AGENT_TRACE_IMPLEMENTATION  before this header, in one C file: includes agent_trace.c as well.
 *                               There, as with AGENT_TRACE_STATIC, no header of the system may come
 *                               before
 *   AGENT_TRACE_DLL             import from (or, with AGENT_TRACE_BUILDING, export to) a DLL
 *   AGENT_TRACE_SYS             declares struct agt_sys, the seam to the operating system. Static
 *                               linking only; no promise of stability
 *   AGENT_TRACE_NO_GIT          no libgit2, no zlib. Locks, journal, trace, documents, permissions
 *                               and recovery work; what reads history answers AGT_UNSUPPORTED
 *   AGENT_TRACE_PLAIN_POSIX     POSIX calls only, no Linux ones
 *   AGENT_TRACE_ASSERT(c)       what checks for bugs in the caller; default assert
 */
#if defined(AGENT_TRACE_IMPLEMENTATION) && !defined(AGENT_TRACE_C)
#include "agent_trace.c" /* first, for its feature macros; it includes this header in its turn */
#endif

#ifndef AGENT_TRACE_H
#define AGENT_TRACE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AGENT_TRACE_VERSION_MAJOR 1
#define AGENT_TRACE_VERSION_MINOR 0
#define AGENT_TRACE_VERSION_PATCH 0
#define AGENT_TRACE_VERSION       "1.0.0"

#ifndef AGENT_TRACE_API
#if defined(AGENT_TRACE_STATIC) && defined(__GNUC__)
#define AGENT_TRACE_API __attribute__((unused)) static
#elif defined(AGENT_TRACE_STATIC)
#define AGENT_TRACE_API static
#elif defined(_WIN32) && defined(AGENT_TRACE_DLL) && defined(AGENT_TRACE_BUILDING)
#define AGENT_TRACE_API __declspec(dllexport)
#elif defined(_WIN32) && defined(AGENT_TRACE_DLL)
#define AGENT_TRACE_API __declspec(dllimport)
#else
#define AGENT_TRACE_API extern
#endif
#endif

/* ---- Status and errors ------------------------------------------------------------------- */

/* Every status, once: name, value, class, text. Values are pinned and never reused. */
#define AGT_STATUS_MAP(X)                                                                          \
    X(OK, 0, ANSWER, "success")                                                                    \
    X(BUSY, -1, ANSWER, "held by another owner; try again")                                        \
    X(DENIED, -2, ANSWER, "the rules refuse this change")                                          \
    X(NEEDS_CONFIRMATION, -3, ANSWER, "repeat the call with confirmation")                         \
    X(NOT_FOUND, -4, ANSWER, "no such store, document, version or lock")                           \
    X(CONFLICT, -5, ANSWER, "the document has another version")                                    \
    X(END, -6, ANSWER, "no more entries")                                                          \
    X(INVALID, -10, ERROR, "the caller passed something invalid")                                  \
    X(NOMEM, -11, ERROR, "out of memory")                                                          \
    X(IO, -12, ERROR, "the operating system reported a failure")                                   \
    X(CORRUPT, -13, ERROR, "stored data is damaged")                                               \
    X(LIMIT, -14, ERROR, "a documented limit was passed")                                          \
    X(UNSUPPORTED, -15, ERROR, "not available in this build or on this system")                    \
    X(GIT, -16, ERROR, "libgit2 reported a failure")

typedef enum agt_status {
#define AGT_STATUS_ENUM(name, value, kind, text) AGT_##name = value,
    AGT_STATUS_MAP(AGT_STATUS_ENUM)
#undef AGT_STATUS_ENUM
        AGT_STATUS_LAST_ = -17 /* not a status: keeps the list's last comma legal in C++11 */
} agt_status;

/* What went wrong. The caller's struct: no allocation, no thread-local, no stale text. */
typedef struct agt_error {
    agt_status status;
    int sys;             /* errno, GetLastError() or libgit2's code; 0 if none */
    int outcome_unknown; /* 1: a sync failed, so the change may or may not appear later */
    int64_t offset;      /* byte position in the input or file; -1 if none */
    char message[512];   /* one line, always terminated; a long path is shortened in the middle */
} agt_error;

/* The status' name without prefix, as "BUSY"; "UNKNOWN" for a value that is none. Never NULL. */
AGENT_TRACE_API const char *agt_status_name(agt_status status);

/* One line of English for the status. Never NULL. */
AGENT_TRACE_API const char *agt_status_text(agt_status status);

/* 1 for a status of class ERROR (and for values that are none), 0 for AGT_OK and answers. */
AGENT_TRACE_API int agt_status_is_error(agt_status status);

/* The version of the compiled library, as "1.0.0"; compare with AGENT_TRACE_VERSION. */
AGENT_TRACE_API const char *agt_version(void);

/* ---- Common types ------------------------------------------------------------------------ */

/* Borrowed text: not NUL-terminated; how long it lives is said where it is handed out. */
typedef struct agt_text {
    const char *data;
    size_t len;
} agt_text;

/* Bytes the library allocated for the caller; free with agt_bytes_free. A NUL that is not counted
 * in `len` follows the bytes, so that text can be printed as it is. */
typedef struct agt_bytes {
    unsigned char *data;
    size_t len;
    void *owner_; /* private */
} agt_bytes;

/* Frees bytes handed out by any call, also after the store was closed. Sets them to empty; empty
 * bytes are allowed. */
AGENT_TRACE_API void agt_bytes_free(agt_bytes *bytes);

/* Memory for one handle. `resize` gets the old size; a new size of 0 frees and returns NULL. It
 * may be called from every thread that uses the handle. It does not reach libgit2's own memory. */
typedef struct agt_allocator {
    void *ctx;
    void *(*resize)(void *ctx, void *ptr, size_t old_size, size_t new_size);
} agt_allocator;

typedef struct agt_sys agt_sys; /* the operating system; see AGENT_TRACE_SYS */

/* Timeouts, in milliseconds. 0 means AGT_TIMEOUT_DEFAULT. */
#define AGT_TIMEOUT_DEFAULT 5000
#define AGT_TRY             (-1) /* one try, never waits */
#define AGT_FOREVER         (-2)

/* Limits. One past each is answered with AGT_LIMIT or AGT_INVALID, never cut silently. */
#define AGT_MAX_PATH           1024                  /* bytes in a document path */
#define AGT_MAX_DEPTH          64                    /* folders above a document */
#define AGT_MAX_DOCUMENT       (1024u * 1024 * 1024) /* bytes in a document */
#define AGT_MAX_EVENT          65536 /* bytes in a line of the trace, newline included */
#define AGT_MAX_BATCH          1024  /* changes in one agt_batch or agt_group */
#define AGT_MAX_BATCH_EVENTS   (4u * 1024 * 1024) /* bytes in all lines of one agt_batch */
#define AGT_MAX_NAME           64   /* bytes in an agent's name, session, source or action */
#define AGT_MAX_SUMMARY        4096 /* bytes in a summary */
#define AGT_MAX_REJECTED       1024 /* files with refused bytes; the oldest go */
#define AGT_MAX_REJECTED_BYTES (256u * 1024 * 1024)        /* and their bytes in all */
#define AGT_MAX_GRANTS         64                          /* temporary grants at one time */
#define AGT_MAX_GRANT_MS       (7LL * 24 * 60 * 60 * 1000) /* the longest of them: seven days */

/* How far an acknowledged change is safe. */
typedef enum agt_durability {
    AGT_DURABLE_DEFAULT = 0, /* the store's: AGT_DURABLE_FULL unless agt_open said otherwise */
    AGT_DURABLE_FULL = 1,    /* survives power loss: one sync a change, a batch or a group */
    AGT_DURABLE_PROCESS = 2  /* survives the death of every process, not of the machine */
} agt_durability;

/* ---- The poll lock: one leader among all processes ---------------------------------------- */

/* The holder of <root>/.agent-trace/locks/poll.lock. The kernel releases it when the process dies,
 * however it dies: there is no stale lock. It needs no store: the folders are made as needed. It
 * excludes, in both directions, every program that takes flock(2) on that file. Not for network
 * file systems whose flock is local to a host. */
typedef struct agt_poll_lock agt_poll_lock;

/* What makes it one process' alone. All who want the lock of a folder should use the same; two that
 * do not exclude each other all the same, but do not wait for each other. */
typedef enum agt_lock_backend {
    AGT_LOCK_DEFAULT = 0, /* AGT_LOCK_FLOCK */
    AGT_LOCK_FLOCK = 1,   /* flock(2), let go by the kernel */
    AGT_LOCK_SENTINEL = 2 /* a file that exists while the lock is held, for file systems without
                           * flock: taken over where its process is proved dead. exec keeps it;
                           * release it before */
} agt_lock_backend;

typedef struct agt_poll_lock_options {
    uint32_t size;
    int32_t timeout_ms;  /* 0: 5,000; AGT_TRY; AGT_FOREVER */
    const char *program; /* shown to others as the holder's name; NULL: the process' own name */
    const agt_allocator *allocator; /* NULL: malloc; copied */
    const agt_sys *sys;             /* NULL: the operating system; borrowed until the release */
    uint32_t backend;               /* an agt_lock_backend */
    uint32_t reserved;              /* 0 */
} agt_poll_lock_options;
#define AGT_POLL_LOCK_OPTIONS_INIT                                                                 \
    { sizeof(agt_poll_lock_options), 0, 0, 0, 0, 0, 0 }

/* Becomes the poll leader if nobody is. Never blocks on a local file system.
 *
 *   out   the lock, or NULL on every status but AGT_OK. Release with agt_poll_lock_release.
 *   root  the folder that has, or will have, .agent-trace in it. It must exist.
 *
 * Returns  AGT_OK, AGT_BUSY (somebody leads, in this process too), AGT_NOT_FOUND (no such folder),
 *          AGT_INVALID (a link, folder or other non-file stands in its place), AGT_NOMEM, AGT_IO,
 *          AGT_UNSUPPORTED (the file system has no flock; never an unlocked success).
 * Disk     makes .agent-trace (hidden from git by a .gitignore in it), locks/poll.lock in it (the
 *          leader's pid, decimal), poll.lock.epoch and poll.lock.info.
 */
AGENT_TRACE_API agt_status agt_poll_lock_try(agt_poll_lock **out, const char *root, agt_error *err);

/* As agt_poll_lock_try, but waits up to opts->timeout_ms, by a monotonic clock. Blocks. Where the
 * system can tell (Linux), it sleeps until somebody closes the lock file, as every death does, and
 * has the lock within a millisecond; elsewhere it tries again with growing delays (1 ms to 100 ms,
 * with jitter). It never sleeps inside flock(2), and starts no thread.
 *
 * With AGT_LOCK_SENTINEL an owner on another host, in another container, or whose record nobody
 * understands is never taken for dead: AGT_BUSY, and the message names the file to remove.
 *
 * Returns  as agt_poll_lock_try; AGT_BUSY when the deadline passed.
 * Disk     as agt_poll_lock_try; with AGT_LOCK_SENTINEL locks/poll.lock.owner, and for a moment
 *          poll.lock.tmp.* and poll.lock.reap.*; those that a dead process left are removed by
 *          the next holder, and by agt_doctor with fix.
 */
AGENT_TRACE_API agt_status agt_poll_lock_acquire(agt_poll_lock **out, const char *root,
                                                 const agt_poll_lock_options *opts, agt_error *err);

/* Gives up leadership and frees the lock; the file stays. NULL is allowed. In a fork's child it
 * frees without touching the parent's lock. */
AGENT_TRACE_API void agt_poll_lock_release(agt_poll_lock *lock);

/* The lock's epoch: a number that no other time of leading this folder has, larger than those of
 * all leaders before. Put it into agt_caller.epoch, and a change is refused once a newer leader
 * exists, whatever this process missed meanwhile. 0 in a fork's child, which does not lead. */
AGENT_TRACE_API uint64_t agt_poll_lock_epoch(const agt_poll_lock *lock);

/* Does it still lead? A lock file that somebody deleted or replaced is taken anew if nobody else
 * has taken it since; a lost epoch file is written again. For a leader to ask now and then, and
 * before it does what cannot carry its epoch.
 *
 * Returns  AGT_OK, AGT_BUSY (it leads no longer; release it), AGT_INVALID (in a fork's child; no
 *          plain file stands in the place of one), AGT_NOT_FOUND (locks/ is gone), AGT_IO.
 * Disk     as agt_poll_lock_try, where something was lost.
 */
AGENT_TRACE_API agt_status agt_poll_lock_check(agt_poll_lock *lock, agt_error *err);

/* Who leads. A diagnosis: it may be out of date when it returns. */
typedef struct agt_lock_holder {
    uint32_t size;
    uint32_t held;         /* 1 if somebody holds the lock now */
    int64_t pid;           /* the last leader's process id; 0 if unknown */
    int64_t since_unix_ms; /* when it took the lock; 0 if unknown */
    char host[64];         /* its host; empty if unknown */
    char program[64];      /* its program; empty if unknown */
    uint64_t epoch;        /* the newest of all; 0 if unknown */
    uint32_t backend;  /* an agt_lock_backend: by what it is held; AGT_LOCK_DEFAULT if it is not */
    uint32_t reserved; /* 0 */
} agt_lock_holder;
#define AGT_LOCK_HOLDER_INIT                                                                       \
    { sizeof(agt_lock_holder), 0, 0, 0, {0}, {0}, 0, 0, 0 }

/* Asks who leads, by whichever backend, without disturbing anybody: it reads the owner's file, if
 * there is one, and tries the lock shared and lets go at once. Writes nothing.
 *
 * Returns  AGT_OK (see out->held), AGT_NOT_FOUND (there never was a leader), AGT_INVALID, AGT_IO,
 *          AGT_UNSUPPORTED.
 */
AGENT_TRACE_API agt_status agt_poll_lock_holder(const char *root, agt_lock_holder *out,
                                                agt_error *err);

/* ---- The store ---------------------------------------------------------------------------- */

typedef struct agt_store agt_store;

/* When git gets to see acknowledged changes. */
typedef enum agt_publish_mode {
    AGT_PUBLISH_DEFAULT = 0, /* AGT_PUBLISH_IDLE */
    AGT_PUBLISH_IDLE = 1,    /* in agt_store_idle, at a checkpoint, and before history is read */
    AGT_PUBLISH_CLOSE = 2,   /* the same, and in agt_close unless a poll leader lives */
    AGT_PUBLISH_MANUAL = 3   /* only in agt_publish and at a checkpoint */
} agt_publish_mode;

typedef struct agt_open_options {
    uint32_t size;
    uint32_t create;                /* 1: make the store if there is none (and the folder) */
    uint32_t read_only;             /* 1: no lock, no write, no publication, no recovery on disk;
                                     * shows what is recorded, also before its writer synced it */
    uint32_t durability;            /* an agt_durability; 0: AGT_DURABLE_FULL */
    uint32_t publish;               /* an agt_publish_mode */
    int32_t timeout_ms;             /* longest wait for another process; 0: 5,000 */
    const agt_allocator *allocator; /* NULL: malloc; copied */
    const agt_sys *sys;             /* NULL: the operating system; borrowed until agt_close */
} agt_open_options;
#define AGT_OPEN_OPTIONS_INIT                                                                      \
    { sizeof(agt_open_options), 0, 0, 0, 0, 0, 0, 0 }

/* Opens the store in a folder; recovers first what a crash left behind. Blocks.
 *
 * A store of agent-trace 0.1.0 is opened for reading, wherever it lies and whatever opts say, and
 * nothing is written to it: its history is shown as a store of ours would have it. Whatever would
 * write answers AGT_UNSUPPORTED; agt_upgrade makes it a store of ours.
 *
 *   out   the handle, or NULL on every status but AGT_OK. Close with agt_close.
 *   root  the folder with .agent-trace in it; the folder itself may be reached through links.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND (no store there), AGT_BUSY, AGT_INVALID (also with create in a
 *          folder that is, or lies in, a .git: nothing is made), AGT_CORRUPT (the message
 *          names the part and the mend; a store without its config.toml is one, with create, too,
 *          and stays as it is), AGT_UNSUPPORTED (a newer format, or a store of
 *          agent-trace 0.1.0 in a build without git), AGT_NOMEM, AGT_IO, AGT_LIMIT.
 * Disk     with create: .agent-trace (mode 0700) and nothing else; the folder's .git is never
 *          made, changed or read. A .gitignore in .agent-trace hides it from a git around it.
 */
AGENT_TRACE_API agt_status agt_open(agt_store **out, const char *root, const agt_open_options *opts,
                                    agt_error *err);

typedef struct agt_upgrade_options {
    uint32_t size;
    uint32_t dry_run;               /* 1: only says what would be done; nothing is written */
    const agt_allocator *allocator; /* NULL: malloc; copied */
    const agt_sys *sys;             /* NULL: the operating system; borrowed during the call */
} agt_upgrade_options;
#define AGT_UPGRADE_OPTIONS_INIT                                                                   \
    { sizeof(agt_upgrade_options), 0, 0, 0 }

typedef struct agt_upgrade_result {
    uint32_t size;
    uint32_t already;        /* 1: it is a store of ours; at most what was left was cleared away */
    uint64_t commits;        /* of the old history */
    uint64_t events;         /* of the trace that was made of them */
    uint64_t versions;       /* of all documents */
    uint64_t documents;      /* that exist */
    uint64_t versions_lost;  /* whose bytes the old repository has lost */
    uint32_t git_link_moved; /* 1: the folder's .git led to the old repository and went with it */
    uint32_t reserved;       /* 0 */
    agt_bytes report;        /* what a person should know, a finding a line, each with its mend;
                              * the caller's, freed with agt_bytes_free */
} agt_upgrade_result;
#define AGT_UPGRADE_RESULT_INIT                                                                    \
    {                                                                                              \
        sizeof(agt_upgrade_result), 0, 0, 0, 0, 0, 0, 0, 0, {                                      \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

/* Makes a store of agent-trace 0.1.0 one of ours: every commit, version, event, grant and refusal,
 * with the same version numbers. The documents on disk are not touched. It happens as a whole:
 * where it is stopped, whenever that is, the store is still the old one or already ours, and a call
 * more finishes it or begins again. Blocks as long as reading the whole history takes.
 *
 *   root    the folder with .agent-trace in it.
 *   opts    may be NULL.
 *   result  NULL, or an initialised struct; filled on AGT_OK.
 *
 * Returns  AGT_OK (also for a store of ours), AGT_NOT_FOUND (no store there), AGT_BUSY (a process
 *          of agent-trace leads it, by either backend of the poll lock, or is open in it, or wrote
 *          meanwhile), AGT_CORRUPT (it has no history that can be read; parts of a store of ours
 *          are beside it), AGT_INVALID, AGT_NOMEM, AGT_IO, AGT_LIMIT, AGT_UNSUPPORTED (built
 *          without git; a newer format).
 * Disk     the store's parts in .agent-trace, a .gitignore that hides it, and modes that let nobody
 *          else in; the old parts move to .agent-trace/backup-0.1.0, and so does the folder's .git
 *          if it is the file that led to the old repository. AGENT-TRACE.md stays as it is until
 *          agt_index_refresh.
 */
AGENT_TRACE_API agt_status agt_upgrade(const char *root, const agt_upgrade_options *opts,
                                       agt_upgrade_result *result, agt_error *err);

/* Closes the handle; publishes first if it was opened with AGT_PUBLISH_CLOSE. Blocks. What was
 * acknowledged is safe whatever this returns: a failed publication stays pending. NULL is allowed.
 * No other call on the handle, its cursors included, may run or follow.
 *
 * Returns  AGT_OK, AGT_BUSY, AGT_NOMEM, AGT_IO, AGT_CORRUPT, AGT_GIT, AGT_UNSUPPORTED (of the
 *          publication; the handle is gone all the same).
 */
AGENT_TRACE_API agt_status agt_close(agt_store *store, agt_error *err);

/* Finds the store that `start` (a folder; NULL or "" means the current one) lies in, searching
 * upward.
 *
 *   out   gets the absolute path of the root, NUL-terminated.
 *   size  bytes in out; 4,096 always suffices.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND, AGT_INVALID (start is no folder), AGT_LIMIT (out is too small),
 *          AGT_CORRUPT (the nearest store has lost its config.toml), AGT_IO.
 */
AGENT_TRACE_API agt_status agt_store_find(const char *start, char *out, size_t size,
                                          agt_error *err);

typedef struct agt_store_info {
    uint32_t size;
    uint32_t documents;        /* documents that exist now */
    uint64_t last_seq;         /* seq of the newest event; 0 if there is none */
    uint64_t published_seq;    /* seq of the newest event that git has */
    uint64_t generation;       /* of the journal */
    uint64_t journal_bytes;    /* used by records since the last checkpoint */
    uint64_t trace_bytes;      /* of all segments */
    uint32_t edits_kept_aside; /* files in .agent-trace/aside: edits that met a write */
    uint32_t failed;           /* 1: a sync failed; read-only until the next open recovers */
    uint32_t apply_pending;    /* 1: a record waits to be applied (its document is in the way) */
    uint32_t recovered;        /* 1: this handle's open repaired something */
    char id[40];               /* the store's UUID */
    char replica[20];          /* this copy's random id, 16 hex digits */
    char head[44];             /* the commit of published_seq, 40 hex; empty if none */
    uint32_t head_lost;        /* 1: git does not have that commit any more; agt_repair mends it */
} agt_store_info;
#define AGT_STORE_INFO_INIT                                                                        \
    { sizeof(agt_store_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0}, 0 }

/* Describes the store as it is now. Reads a few hundred bytes, and git's newest commit.
 *
 * Returns  AGT_OK, AGT_BUSY, AGT_INVALID, AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_UNSUPPORTED (a newer
 *          version changed the store's format meanwhile).
 */
AGENT_TRACE_API agt_status agt_store_get_info(agt_store *store, agt_store_info *out,
                                              agt_error *err);

/* Makes git see every acknowledged change: one commit a record. Blocks on other publishers, and up
 * to two seconds on a git command that holds refs/heads/main; never blocks writers. Nothing pending
 * is AGT_OK; main is looked at then, too. What somebody made it name is kept as
 * refs/heads/found-<seq>.
 *
 * Returns  AGT_OK, AGT_BUSY, AGT_INVALID (read-only handle), AGT_CORRUPT, AGT_NOMEM, AGT_IO,
 *          AGT_GIT, AGT_UNSUPPORTED (built without git; no flock; a newer format).
 * Disk     objects, packs and refs in .agent-trace/git; after a restart what agt_checkpoint writes.
 */
AGENT_TRACE_API agt_status agt_publish(agt_store *store, agt_error *err);

/* Publishes, makes everything durable in its place and starts a new journal generation. Blocks.
 * Called by the library itself when the journal is half full.
 *
 * Returns  as agt_publish, but a build without git answers AGT_OK. AGT_BUSY also where a recorded
 *          change waits to be put in place, and why: the journal is kept until it is.
 */
AGENT_TRACE_API agt_status agt_checkpoint(agt_store *store, agt_error *err);

/* For a host that has time: publishes what is pending and, when much is journalled, checkpoints.
 * Cheap when there is nothing to do. Blocks.
 *
 * Returns  as agt_checkpoint.
 */
AGENT_TRACE_API agt_status agt_store_idle(agt_store *store, agt_error *err);

/* ---- What a store takes on disk ------------------------------------------------------------- */

/* How much of something there is: regular files and the bytes in them. */
typedef struct agt_disk_use {
    uint64_t files, bytes;
} agt_disk_use;

/* The parts of .agent-trace. */
typedef struct agt_disk_parts {
    agt_disk_use git;         /* the repository */
    agt_disk_use journal;     /* as long as when it was made, whatever is in it */
    agt_disk_use trace;       /* never gets smaller */
    agt_disk_use unpublished; /* what git has not yet */
    agt_disk_use rejected;    /* bytes of refused writes */
    agt_disk_use aside;       /* edits that met a write: a person decides */
    agt_disk_use tmp;
    agt_disk_use other; /* catalog, state, locks, config.toml, and what is not ours */
} agt_disk_parts;

typedef struct agt_gc_options {
    uint32_t size;
    uint32_t measure; /* 1: change nothing, only fill before and after; a read-only handle may */
} agt_gc_options;
#define AGT_GC_OPTIONS_INIT                                                                        \
    { sizeof(agt_gc_options), 0 }

/* What agt_gc found and did. */
typedef struct agt_gc_result {
    uint32_t size;
    uint32_t torn;          /* trace/<segment>.torn that are there: a person decides */
    uint64_t objects;       /* in git's one pack */
    uint64_t packs;         /* that are there now; more than one: see agt_gc */
    uint64_t packs_removed; /* whose objects are all in the new one */
    uint64_t loose;         /* loose objects that nothing leads to, left alone */
    uint64_t loose_removed;
    uint64_t missing; /* objects that somebody's ref leads to and the repository has not */
    agt_disk_parts before, after;
} agt_gc_result;
#define AGT_GC_RESULT_INIT                                                                         \
    {                                                                                              \
        sizeof(agt_gc_result), 0, 0, 0, 0, 0, 0, 0,                                                \
            {{0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}}, {                    \
            {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {                              \
                0, 0                                                                               \
            }                                                                                      \
        }                                                                                          \
    }

/* Makes the store small: checkpoints, packs everything that a ref of the repository leads to into
 * one pack, and removes what it makes superfluous and what dead processes left. Blocks, for as long
 * as reading the whole history takes; writers go on meanwhile, other publishers wait. It may be
 * interrupted or fail at any point, and nothing is lost.
 *
 * What no ref leads to stays, and with it the pack it is in, and a pack that has a .keep: it may be
 * somebody's. Temporary files of other programs go once they are a day old. It needs 90 bytes of
 * memory for each object of the history and up to 130 MB for comparing.
 *
 *   opts  may be NULL.       out  an initialised result, or NULL.
 *
 * Returns  as agt_checkpoint; AGT_CORRUPT also where main leads to an object that is damaged or
 *          gone: the repository is as it was then. A build without git checkpoints and removes.
 * Disk     as agt_checkpoint; one pack in .agent-trace/git/objects/pack in the place of others.
 */
AGENT_TRACE_API agt_status agt_gc(agt_store *store, const agt_gc_options *opts, agt_gc_result *out,
                                  agt_error *err);

/* ---- Permissions -------------------------------------------------------------------------- */

typedef enum agt_type {
    AGT_TYPE_DEFAULT = 0, /* the document's own; scratch for a new one */
    AGT_TYPE_PLAN = 1,
    AGT_TYPE_CONTEXT = 2,
    AGT_TYPE_LOG = 3,
    AGT_TYPE_REFERENCE = 4,
    AGT_TYPE_SCRATCH = 5
} agt_type;

/* "plan", "context", "log", "reference", "scratch"; "default" for 0; "unknown" for others. */
AGENT_TRACE_API const char *agt_type_name(agt_type type);

/* The type of that exact name; AGT_TYPE_DEFAULT if it is none of the five. */
AGENT_TRACE_API agt_type agt_type_from_name(const char *name);

/* Who makes a change. Passed to every mutating call and kept nowhere: one process may serve many
 * agents. */
typedef struct agt_caller {
    uint32_t size;
    uint32_t confirm;    /* 1: yes to what would be answered AGT_NEEDS_CONFIRMATION */
    const char *actor;   /* "user", "system" or "agent:<name>" */
    const char *session; /* NULL: none; 1 to 64 of [A-Za-z0-9._:-] */
    const char *source;  /* where the call came from, 1 to 64 of [a-z0-9_]; NULL: "api" */
    uint64_t epoch;      /* 0, or agt_poll_lock_epoch: the change is made as leader, and answered
                          * AGT_BUSY, with nothing changed, once that epoch is not the newest */
} agt_caller;
#define AGT_CALLER_INIT                                                                            \
    { sizeof(agt_caller), 0, 0, 0, 0, 0 }
#define AGT_CALLER(actor)                                                                          \
    { sizeof(agt_caller), 0, (actor), 0, 0, 0 }

/* What somebody wants to do with a document. */
typedef enum agt_action {
    AGT_ACTION_WRITE = 0,      /* create or modify it */
    AGT_ACTION_DELETE = 1,     /* agt_remove */
    AGT_ACTION_RESTORE = 2,    /* agt_restore */
    AGT_ACTION_ADD = 3,        /* agt_add */
    AGT_ACTION_RENAME = 4,     /* agt_rename */
    AGT_ACTION_UNTRACK = 5,    /* agt_untrack */
    AGT_ACTION_RECLASSIFY = 6, /* agt_reclassify */
    AGT_ACTION_UNLOCK = 7,     /* agt_unlock */
    AGT_ACTION_REVOKE = 8      /* agt_revoke */
} agt_action;

/* What the rules say about an actor doing something with a document of a type: AGT_OK,
 * AGT_NEEDS_CONFIRMATION, AGT_DENIED, or AGT_INVALID for an actor that is none. Pure: it knows no
 * store and no grant, see agt_may. The table is in the README.
 *
 *   path  may be NULL; the paths of generated documents are system-owned whatever their type.
 */
AGENT_TRACE_API agt_status agt_permission(const char *actor, agt_action action, agt_type type,
                                          const char *path);

/* ---- Documents ---------------------------------------------------------------------------- */

typedef struct agt_document {
    uint32_t size;
    uint32_t version; /* its n-th change; 1 is the first */
    uint32_t exists;  /* 0: deleted; its versions can still be read */
    uint32_t type;    /* an agt_type */
    uint64_t size_bytes;
    uint64_t last_seq;         /* of its newest event */
    int64_t changed_unix_ms;   /* time of its newest event */
    uint32_t modified_outside; /* 1: the file on disk is not the newest version */
    char id[40];               /* UUID, the same through renames */
    char blob[44];             /* git's id of the bytes, 40 hex; empty when deleted */
    char path[AGT_MAX_PATH + 8];
    char agent[AGT_MAX_NAME + 8]; /* the agent that made it; empty for people */
    uint32_t left_out;            /* an agt_left_out; only in a list of untracked files */
} agt_document;
#define AGT_DOCUMENT_INIT                                                                          \
    { sizeof(agt_document), 0, 0, 0, 0, 0, 0, 0, {0}, {0}, {0}, {0}, 0 }

typedef struct agt_write_options {
    uint32_t size;
    uint32_t type;             /* for a new document; AGT_INVALID if an existing one has another */
    uint32_t check_version;    /* 1: answer AGT_CONFLICT unless expected_version is current */
    uint32_t expected_version; /* 0: the document must not exist */
    uint32_t durability;       /* an agt_durability; 0: the store's */
    uint32_t has_time;         /* 1: at_unix_ms is the author's time; 0: now */
    int64_t at_unix_ms;        /* from 1970 to 9999; the order of events is the order of calls */
    const char *summary;       /* one line; NULL: made from the change */
} agt_write_options;
#define AGT_WRITE_OPTIONS_INIT                                                                     \
    { sizeof(agt_write_options), 0, 0, 0, 0, 0, 0, 0 }

typedef struct agt_write_result {
    uint32_t size;
    uint32_t version;         /* current after the call; on AGT_CONFLICT the one that is current */
    uint64_t seq;             /* of this change's event; of the refusal's on AGT_DENIED; 0: none */
    uint32_t unchanged;       /* 1: the same bytes were there; nothing was recorded */
    uint32_t edit_recorded;   /* 1: somebody's edit was found and recorded first */
    uint32_t edit_kept_aside; /* 1: an edit met this write and is kept in .agent-trace/aside */
    uint32_t apply_pending;   /* 1: recorded; the file follows when what is in the way is gone */
    int32_t status;           /* agt_group only: this change's own agt_status */
    char message[256];        /* agt_group only: why, if status is not AGT_OK */
} agt_write_result;
#define AGT_WRITE_RESULT_INIT                                                                      \
    {                                                                                              \
        sizeof(agt_write_result), 0, 0, 0, 0, 0, 0, 0, {                                           \
            0                                                                                      \
        }                                                                                          \
    }

/* Writes a document: checks permission, records, applies, acknowledges. Blocks.
 *
 * The same bytes again are answered with `unchanged`. A person's edit that is found in the file is
 * recorded first, as the user's (by whom, nobody knows; its event's source is "poll"), and never
 * lost.
 *
 *   path    relative to the root, '/' between folders; see the path rules in the README.
 *   bytes   len bytes; may be NULL if len is 0.
 *   opts    may be NULL.       result  may be NULL.
 *
 * Returns  AGT_OK, AGT_DENIED (recorded as a violation, the bytes kept in rejected/ if that can be
 *          written), AGT_NEEDS_CONFIRMATION, AGT_CONFLICT, AGT_BUSY, AGT_INVALID, AGT_LIMIT,
 *          AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_UNSUPPORTED.
 */
AGENT_TRACE_API agt_status agt_write(agt_store *store, const agt_caller *caller, const char *path,
                                     const void *bytes, size_t len, const agt_write_options *opts,
                                     agt_write_result *result, agt_error *err);

/* Deletes a document; its versions stay readable. Blocks.
 *
 * Returns  as agt_write, and AGT_NOT_FOUND (no such document).
 */
AGENT_TRACE_API agt_status agt_remove(agt_store *store, const agt_caller *caller, const char *path,
                                      const agt_write_options *opts, agt_write_result *result,
                                      agt_error *err);

/* Writes the bytes of an earlier version as a new one, also of a deleted document. Blocks.
 *
 * Returns  as agt_write, and AGT_NOT_FOUND (no such document or version, or it is a deletion),
 *          AGT_GIT.
 */
AGENT_TRACE_API agt_status agt_restore(agt_store *store, const agt_caller *caller, const char *path,
                                       uint32_t version, const agt_write_options *opts,
                                       agt_write_result *result, agt_error *err);

/* Takes a file that lies in the folder among the documents, as it is: the caller's create. The
 * file is not touched. Blocks.
 *
 *   type  of the document; AGT_TYPE_DEFAULT: scratch, or what it was before it was deleted or
 *         untracked. Whoever may not write documents of that type may not add one.
 *
 * Returns  as agt_write, AGT_NOT_FOUND (no such file), and AGT_CONFLICT (it is a document already).
 */
AGENT_TRACE_API agt_status agt_add(agt_store *store, const agt_caller *caller, const char *path,
                                   agt_type type, const agt_write_options *opts,
                                   agt_write_result *result, agt_error *err);

/* Gives a document another path. It keeps its id, its type, its versions and its grants; the
 * rename is one version more. The old path is free afterwards. Blocks.
 *
 *   path  the document.
 *   to    its new path; nothing may be there: no document, and no file that is none. The versions
 *         of a deleted document of that path are in the trace and in git only, afterwards.
 *
 * A rename that was made outside is followed: where the document's own file is gone, and the file
 * at the new path has exactly the bytes of its newest version, the rename is recorded and that file
 * stays as it lies.
 *
 * Returns  as agt_remove, AGT_NOT_FOUND also if the document's file is gone and nothing is at the
 *          new path (that it is gone is not recorded), and AGT_CONFLICT (something else is at the
 *          new path, or opts expect another version). A grant does not reach to a rename.
 */
AGENT_TRACE_API agt_status agt_rename(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *to, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err);

/* Ends that a file is a document. The file stays where it is, and is synced; the versions stay
 * readable; the type stays known and is the type of whatever is written there through the store.
 * Whoever may not delete the document may not untrack it, and a grant does not reach so far.
 * Blocks.
 *
 * Returns  as agt_remove, and AGT_BUSY where its newest version is not in its place yet.
 */
AGENT_TRACE_API agt_status agt_untrack(agt_store *store, const agt_caller *caller, const char *path,
                                       const agt_write_options *opts, agt_write_result *result,
                                       agt_error *err);

/* Gives a document another type. Makes no version. Whoever may not write documents of both types
 * may not do it, and a grant does not reach so far. Blocks.
 *
 * Returns  as agt_remove, and AGT_INVALID (the document's type is a matter of its path).
 */
AGENT_TRACE_API agt_status agt_reclassify(agt_store *store, const agt_caller *caller,
                                          const char *path, agt_type type,
                                          const agt_write_options *opts, agt_write_result *result,
                                          agt_error *err);

/* Lets somebody change one document's bytes for a time, whatever its type, also by restoring an
 * older version; not delete, rename, untrack, reclassify or unlock it, nor bring it back once
 * somebody else has deleted or untracked it. The grant is the document's, by its id: it follows a
 * rename. A second one for the same actor takes the place of the first.
 * Only the user may grant. Blocks.
 *
 *   grant        "agent:<name>", "agent" (any), "system" or "user".
 *   duration_ms  1 to AGT_MAX_GRANT_MS.
 *   opts         may be NULL; durability, summary and has_time.
 *
 * Returns  as agt_remove, AGT_INVALID (no such actor or duration), and AGT_LIMIT (AGT_MAX_GRANTS
 * are in force).
 */
AGENT_TRACE_API agt_status agt_unlock(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, int64_t duration_ms,
                                      const agt_write_options *opts, agt_write_result *result,
                                      agt_error *err);

/* Ends a grant before its time. Blocks.
 *
 * Returns  as agt_unlock, and AGT_NOT_FOUND (there is no such grant in force).
 */
AGENT_TRACE_API agt_status agt_revoke(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err);

/* A temporary grant. */
typedef struct agt_grant {
    uint32_t size;
    uint32_t reserved; /* 0 */
    int64_t from_unix_ms;
    int64_t until_unix_ms;
    char id[40];                  /* the document's UUID */
    char actor[AGT_MAX_NAME + 8]; /* who may write it; "agent" means any agent */
} agt_grant;
#define AGT_GRANT_INIT                                                                             \
    {                                                                                              \
        sizeof(agt_grant), 0, 0, 0, {0}, {                                                         \
            0                                                                                      \
        }                                                                                          \
    }

/* The grants that are in force now.
 *
 *   path   NULL: of all documents; else of one, which may be deleted.
 *   out    an array of AGT_MAX_GRANTS, the first one initialised.
 *   count  gets how many there are.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND (no such document), AGT_INVALID, AGT_BUSY, AGT_CORRUPT, AGT_NOMEM,
 *          AGT_IO, AGT_LIMIT, AGT_UNSUPPORTED (as agt_store_get_info).
 */
AGENT_TRACE_API agt_status agt_grants(agt_store *store, const char *path, agt_grant *out,
                                      size_t *count, agt_error *err);

/* Would the caller be allowed to do this now? Counts grants and the caller's confirmation; records
 * nothing. Of AGT_ACTION_RENAME it knows half, because a new path has rules of its own: ask
 * agt_may_rename.
 *
 *   path  the document, which need not exist.
 *   type  AGT_ACTION_RECLASSIFY: the new type; else the type of a document that does not exist yet.
 *
 * Returns  AGT_OK, AGT_DENIED or AGT_NEEDS_CONFIRMATION (err says why), AGT_INVALID, AGT_BUSY,
 *          AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_LIMIT, AGT_UNSUPPORTED (as agt_store_get_info).
 */
AGENT_TRACE_API agt_status agt_may(agt_store *store, const agt_caller *caller, agt_action action,
                                   const char *path, agt_type type, agt_error *err);

/* Would agt_rename succeed now? Decided by the same code, with both paths, the rights, the expected
 * version and the files as they are; but nothing is recorded, not even a refusal or somebody's
 * edit, and no document is touched. Somebody may change that before the rename is asked for. Room
 * on the disk is not looked at. Takes the store's lock, and reads the files. Blocks.
 *
 *   path  the document.
 *   to    its new path.
 *   opts  NULL, or those of the rename.
 *
 * Returns  as agt_rename; err says why.
 */
AGENT_TRACE_API agt_status agt_may_rename(agt_store *store, const agt_caller *caller,
                                          const char *path, const char *to,
                                          const agt_write_options *opts, agt_error *err);

/* What a change of a batch or group does. */
typedef enum agt_change_kind {
    AGT_CHANGE_WRITE = 0,  /* as agt_write */
    AGT_CHANGE_REMOVE = 1, /* as agt_remove; bytes and len are ignored */
    AGT_CHANGE_ADD = 2     /* as agt_add, with the type of options; bytes and len are ignored */
} agt_change_kind;

/* One change of a batch or group. */
typedef struct agt_change {
    uint32_t size;
    uint32_t kind;            /* an agt_change_kind */
    const agt_caller *caller; /* agt_group only; agt_batch has one for all */
    const char *path;
    const void *bytes;
    size_t len;
    const agt_write_options *options; /* NULL: defaults; durability in it is ignored */
} agt_change;
#define AGT_CHANGE_INIT                                                                            \
    { sizeof(agt_change), 0, 0, 0, 0, 0, 0 }

/* Makes several changes atomically: one record, one commit, one event a change. Either all survive
 * a crash or none; a reader of the files may see them arrive one by one. If one is refused, none
 * is made. A path may stand in it once, and no document where another one needs a folder. A
 * person's edit that is found is recorded even if the batch is then refused. Blocks.
 *
 *   count    1 to AGT_MAX_BATCH.
 *   results  NULL, or an array of `count` initialised results. Unchanged ones have no event.
 *
 * Returns  as agt_write and agt_remove, for the first change that fails; err->offset is its index.
 */
AGENT_TRACE_API agt_status agt_batch(agt_store *store, const agt_caller *caller,
                                     const agt_change *changes, size_t count, uint32_t durability,
                                     agt_write_result *results, agt_error *err);

/* Makes several independent changes with one sync: a record and a commit each, in order. One that
 * fails stops nothing else. Blocks.
 *
 *   results  an array of `count` initialised results; each gets its own status and message.
 *
 * Returns  AGT_OK (look at each result), AGT_BUSY, AGT_INVALID, AGT_LIMIT, AGT_CORRUPT, AGT_NOMEM,
 *          AGT_IO (see err->outcome_unknown), AGT_UNSUPPORTED. Whatever it is, a result whose
 * status is AGT_OK is safe; large groups are committed in several parts.
 */
AGENT_TRACE_API agt_status agt_group(agt_store *store, const agt_change *changes, size_t count,
                                     uint32_t durability, agt_write_result *results,
                                     agt_error *err);

/* Reads a document's newest bytes. Takes no lock unless bytes and version do not fit together.
 *
 *   out   the bytes; where somebody edited the file behind the store's back, what is on disk.
 *   info  NULL, or an initialised struct; see modified_outside.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND, AGT_INVALID, AGT_BUSY, AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_LIMIT,
 *          AGT_UNSUPPORTED (as agt_store_get_info).
 */
AGENT_TRACE_API agt_status agt_read(agt_store *store, const char *path, agt_bytes *out,
                                    agt_document *info, agt_error *err);

/* Reads one version's bytes, from the journal or from git; its cost grows with the document's
 * versions, never with the history.
 *
 *   version  1 is the first; 0 the newest recorded one.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND (no such document or version, or it is a deletion), AGT_INVALID,
 *          AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_BUSY, AGT_GIT, AGT_LIMIT, AGT_UNSUPPORTED (it is
 *          only in git, and this build has none).
 */
AGENT_TRACE_API agt_status agt_read_version(agt_store *store, const char *path, uint32_t version,
                                            agt_bytes *out, agt_error *err);

/* Describes one document, a deleted one too. Looks at the file for modified_outside.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND, AGT_INVALID, AGT_BUSY, AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_LIMIT,
 *          AGT_UNSUPPORTED (as agt_store_get_info).
 */
AGENT_TRACE_API agt_status agt_document_get(agt_store *store, const char *path, agt_document *out,
                                            agt_error *err);

/* A patch in unified format between two versions; empty if they are equal.
 *
 *   from  a version, or 0 for the newest recorded one.
 *   to    a version, or 0 for the file on disk.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND, AGT_INVALID, AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_BUSY, AGT_GIT,
 *          AGT_LIMIT, AGT_UNSUPPORTED (built without git).
 */
AGENT_TRACE_API agt_status agt_diff(agt_store *store, const char *path, uint32_t from, uint32_t to,
                                    agt_bytes *out, agt_error *err);

/* A patch in unified format between two texts, as agt_diff makes it for versions; empty if they are
 * equal.
 *
 *   path  what the patch calls them.
 *   from  from_len bytes; NULL: there is none, which is not the same as an empty one.
 *   to    likewise.
 *
 * Returns  AGT_OK, AGT_NOMEM, AGT_INVALID, AGT_GIT, AGT_UNSUPPORTED (built without git).
 */
AGENT_TRACE_API agt_status agt_diff_bytes(agt_store *store, const char *path, const void *from,
                                          size_t from_len, const void *to, size_t to_len,
                                          agt_bytes *out, agt_error *err);

/* Reads the bytes that were refused.
 *
 *   seq  of the violation's event.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND (no such event, it is no violation, no bytes came with it, or they
 *          are not kept: the oldest go, more than 32 MiB stay out, and so may what came while
 *          the disk was full), AGT_INVALID, AGT_CORRUPT, AGT_NOMEM, AGT_IO, AGT_BUSY, AGT_LIMIT,
 *          AGT_UNSUPPORTED (a newer format).
 */
AGENT_TRACE_API agt_status agt_read_refused(agt_store *store, uint64_t seq, agt_bytes *out,
                                            agt_error *err);

/* ---- Cursors: lists of documents, and the trace --------------------------------------------- */

typedef struct agt_cursor agt_cursor;

/* Frees a cursor. NULL is allowed. Close all before agt_close. */
AGENT_TRACE_API void agt_cursor_close(agt_cursor *cursor);

typedef struct agt_list_options {
    uint32_t size;
    uint32_t type;      /* an agt_type; 0: all */
    uint32_t deleted;   /* 1: deleted documents too */
    uint32_t look;      /* 1: look at each file for modified_outside */
    const char *under;  /* NULL, or a folder: only documents in it */
    uint32_t untracked; /* 1: files that are no documents instead; 2: what is left out, too */
    uint32_t reserved;  /* 0 */
} agt_list_options;
#define AGT_LIST_OPTIONS_INIT                                                                      \
    { sizeof(agt_list_options), 0, 0, 0, 0, 0, 0 }

/* Why something in the folder is not listed among the untracked files. */
typedef enum agt_left_out {
    AGT_LEFT_OUT_NOT = 0,    /* it is listed */
    AGT_LEFT_OUT_IGNORED,    /* by .agent-trace-ignore or by the usual patterns (see the README) */
    AGT_LEFT_OUT_NAME,       /* no document can have this name: it is refused, or clashes */
    AGT_LEFT_OUT_LINK,       /* a symbolic link */
    AGT_LEFT_OUT_OTHER,      /* a device, a socket or a pipe */
    AGT_LEFT_OUT_STORE,      /* a folder that is a store of its own */
    AGT_LEFT_OUT_UNREADABLE, /* a folder that cannot be listed */
    AGT_LEFT_OUT_LAST_       /* none: keeps the list's last comma legal in C++11 */
} agt_left_out;

/* Lists documents in byte order of their paths, as they were at this call.
 *
 *   untracked  lists files instead. They have version 0, no type, id and blob, and the file's own
 *           size and time; opts->type, deleted and look must be 0. No link is followed; .git and
 *           .agent-trace are passed by at any depth. With 2 the rows also say what is left out
 *           and why (left_out); a folder's path ends in a slash and stands for all in it. A name
 *           that no document can have is shown printable and perhaps shortened.
 *
 * Returns  AGT_OK, AGT_INVALID, AGT_BUSY, AGT_CORRUPT, AGT_NOMEM, AGT_IO (for untracked files also:
 *          the folder or .agent-trace-ignore cannot be read), AGT_LIMIT (.agent-trace-ignore is
 *          larger than 64 KiB or has a line of more than 1,024 bytes),
 *          AGT_UNSUPPORTED (as agt_store_get_info).
 */
AGENT_TRACE_API agt_status agt_list(agt_store *store, const agt_list_options *opts,
                                    agt_cursor **out, agt_error *err);

/* The next document or file of an agt_list cursor, into an initialised struct.
 *
 * Returns  AGT_OK, AGT_END, AGT_INVALID (a cursor of another kind, or from before a fork).
 */
AGENT_TRACE_API agt_status agt_list_next(agt_cursor *cursor, agt_document *out, agt_error *err);

/* Writes AGENT-TRACE.md, the index of the documents, anew if a document came, went, moved or
 * changed its type since this handle was opened or last refreshed it. Otherwise, and where the
 * store has no index, it does nothing, at the cost of a comparison. One that was deleted and that,
 * perhaps by a switch of branches, lies there again is the store's index again. Call it behind
 * changes. Blocks.
 *
 * The index is a document of the system's: its paths and permissions, all with their types, and
 * nothing that changes by itself; of more than 500 documents of a type the rest is counted. A file
 * of that name that somebody made is taken into history first.
 *
 *   make    1: makes the index if the store has none, and looks whatever is known.
 *   result  NULL, or an initialised result: version, seq and unchanged are those of the index.
 *
 * Returns  AGT_OK, AGT_BUSY (also: others change it all the time), AGT_INVALID (read-only handle;
 *          something that is no file is in its place), AGT_CORRUPT, AGT_NOMEM, AGT_IO,
 *          AGT_UNSUPPORTED (a store of agent-trace 0.1.0).
 */
AGENT_TRACE_API agt_status agt_index_refresh(agt_store *store, int make, agt_write_result *result,
                                             agt_error *err);

/* One event of the trace: one line. Texts are unescaped, belong to the cursor and live until its
 * next call; an absent or null one has data NULL. */
typedef struct agt_event {
    uint32_t size;
    uint32_t version; /* the document's version this event made; 0 if it made none */
    uint64_t seq;
    uint64_t doc_prev;        /* seq of the same document's event before; 0 if none */
    int64_t at_unix_ms;       /* the author's time */
    int64_t recorded_unix_ms; /* when it was recorded; the same unless the caller gave a time */
    int64_t lines_added;
    int64_t lines_removed;
    int64_t until_unix_ms; /* of an unlock: when the grant ends; else 0 */
    agt_text line;         /* the line itself, byte for byte, newline included */
    agt_text actor, agent_name, session_id;
    agt_text action;      /* create modify delete restore rename untrack, reclassify unlock revoke,
                           * violation, or a host's own */
    agt_text change_kind; /* for a violation what was attempted; else as action */
    agt_text path, doc_type, summary, source, detected_by;
    agt_text replica, blob, doc, prev; /* hexadecimal; doc is a UUID */
    agt_text rejected; /* a violation's refused bytes: their name in .agent-trace/rejected */
    agt_text from;     /* of a rename: the path before */
    agt_text grant;    /* of an unlock or revoke: who may write, or may no more */
} agt_event;
#define AGT_EVENT_INIT                                                                             \
    {                                                                                              \
        sizeof(agt_event), 0, 0, 0, 0, 0, 0, 0, 0, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, \
            {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0},        \
            {0, 0}, {                                                                              \
            0, 0                                                                                   \
        }                                                                                          \
    }

typedef struct agt_trace_options {
    uint32_t size;
    uint32_t newest_first; /* 1: from the end backward */
    uint64_t from_seq;     /* 0: no bound; else events with seq >= from_seq */
    uint64_t to_seq;       /* 0: no bound; else events with seq <= to_seq */
    int64_t since_unix_ms; /* 0: no bound; else events not older than that */
    const char *path;      /* NULL: all; exact; a rename is about its old path, too */
    const char *actor;     /* NULL: all; "agent" means any agent */
    const char *action;    /* NULL: all */
    const char *session;   /* NULL: all */
    uint32_t type;         /* an agt_type; 0: all */
    uint32_t reserved;     /* 0 */
    uint64_t limit;        /* 0: all; else at most so many after filtering */
} agt_trace_options;
#define AGT_TRACE_OPTIONS_INIT                                                                     \
    { sizeof(agt_trace_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Reads the trace. Takes no lock and never sees half an event. With a path its cost is that of the
 * path's events and of the events since the last checkpoint, not the length of the trace.
 *
 * Returns  AGT_OK, AGT_INVALID, AGT_NOMEM, AGT_IO.
 */
AGENT_TRACE_API agt_status agt_trace(agt_store *store, const agt_trace_options *opts,
                                     agt_cursor **out, agt_error *err);

/* The next event. After AGT_END a forward cursor may be asked again: it answers events that were
 * appended meanwhile.
 *
 * Returns  AGT_OK, AGT_END, AGT_INVALID (a cursor of another kind), AGT_CORRUPT (err->offset is the
 *          byte in the segment; the next call goes on behind the damage), AGT_NOMEM, AGT_IO.
 */
AGENT_TRACE_API agt_status agt_trace_next(agt_cursor *cursor, agt_event *out, agt_error *err);

/* What a check of the whole trace found. */
typedef struct agt_trace_verdict {
    uint32_t size;
    uint32_t repaired;          /* 1: the tail was mended */
    uint64_t events;            /* whole events that follow each other */
    uint64_t last_seq;          /* the greatest seq among them */
    uint64_t damaged_lines;     /* lines that do not parse, or do not follow the one before */
    uint64_t torn_bytes;        /* behind the last newline, or NUL */
    uint64_t first_bad_segment; /* where the first damaged line stands: its segment's first seq */
    uint64_t first_bad_offset;  /* and its byte in it */
} agt_trace_verdict;
#define AGT_TRACE_VERDICT_INIT                                                                     \
    { sizeof(agt_trace_verdict), 0, 0, 0, 0, 0, 0, 0 }

/* Reads the whole trace and checks that every line parses, that seq has no gap and that each `prev`
 * is the SHA-256 of the line before. Damage is a finding, not a failure. Its cost is the trace's
 * length. Blocks while it repairs.
 *
 *   repair  1: what an editor or another program left behind the last event is cut off and kept
 *           beside the segment as <segment>.torn; an event that only lost its newline gets it.
 * Lines that end in a newline are never touched. Without it, an event that somebody is just writing
 * may count as torn bytes. out     an initialised verdict.
 *
 * Returns  AGT_OK, AGT_INVALID (repair on a read-only handle), AGT_BUSY, AGT_CORRUPT, AGT_NOMEM,
 *          AGT_IO, AGT_UNSUPPORTED.
 */
AGENT_TRACE_API agt_status agt_trace_verify(agt_store *store, int repair, agt_trace_verdict *out,
                                            agt_error *err);

/* Appends an event of the host's own that changes no document: a decision, a plan step, a tool
 * call. Blocks. It is journalled, chained and published like every other.
 *
 *   action   1 to 64 of [a-z0-9_.]; not one of the library's own words.
 *   summary  one line of text.
 *   path     NULL, or the document it is about; it need not exist.
 *   seq      NULL, or gets the event's seq.
 *
 * Returns  AGT_OK, AGT_BUSY, AGT_INVALID, AGT_LIMIT, AGT_CORRUPT, AGT_NOMEM, AGT_IO,
 *          AGT_UNSUPPORTED.
 */
AGENT_TRACE_API agt_status agt_event_append(agt_store *store, const agt_caller *caller,
                                            const char *action, const char *summary,
                                            const char *path, uint32_t durability, uint64_t *seq,
                                            agt_error *err);

/* ---- Repair ------------------------------------------------------------------------------- */

typedef enum agt_severity {
    AGT_SEVERITY_OK = 0,      /* looked at, and as it should be */
    AGT_SEVERITY_NOTE = 1,    /* worth knowing; nothing to do */
    AGT_SEVERITY_WARNING = 2, /* should be looked at */
    AGT_SEVERITY_ERROR = 3    /* damage, or something is lost */
} agt_severity;

/* One thing that a look at a store found. */
typedef struct agt_finding {
    uint32_t size;
    uint32_t severity; /* an agt_severity */
    uint32_t mendable; /* 1: the library can mend it */
    uint32_t mended;   /* 1: and has */
    char code[32];     /* what kind it is: a word that never changes, for scripts */
    char what[512];    /* one line: what was found, and where */
    char mend[256];    /* one line: what to do about it; empty where nothing is to be done */
} agt_finding;
#define AGT_FINDING_INIT                                                                           \
    {                                                                                              \
        sizeof(agt_finding), 0, 0, 0, {0}, {0}, {                                                  \
            0                                                                                      \
        }                                                                                          \
    }

/* A list of findings; it belongs to one thread at a time, and to no store. */
typedef struct agt_findings agt_findings;

/* The next finding, into an initialised struct, in the order in which they were made.
 *
 * Returns  AGT_OK, AGT_END, AGT_INVALID (a struct that was not initialised).
 */
AGENT_TRACE_API agt_status agt_findings_next(agt_findings *findings, agt_finding *out,
                                             agt_error *err);

/* Frees the list. NULL is allowed. */
AGENT_TRACE_API void agt_findings_close(agt_findings *findings);

typedef struct agt_repair_options {
    uint32_t size;
    uint32_t dry_run;               /* 1: only say what would be done; nothing changes */
    int32_t timeout_ms;             /* longest wait for another process; 0: 5,000 */
    uint32_t reserved;              /* 0 */
    const agt_allocator *allocator; /* NULL: malloc; copied */
    const agt_sys *sys;             /* NULL: the operating system; borrowed until the return */
} agt_repair_options;
#define AGT_REPAIR_OPTIONS_INIT                                                                    \
    { sizeof(agt_repair_options), 0, 0, 0, 0, 0 }

typedef struct agt_repair_result {
    uint32_t size;
    uint32_t found;          /* findings that are damage or should be looked at */
    uint32_t mended;         /* of them mended; in a dry run: that could be */
    uint32_t left;           /* of them still there: what nothing has any more */
    uint64_t events;         /* of the store, after the repair */
    uint64_t lost_events;    /* whose lines nothing has */
    uint64_t first_lost_seq; /* of the first of them; 0: none */
    uint64_t lost_versions;  /* whose bytes nothing has, those of earlier repairs too */
    uint32_t lost_types;     /* documents that became `reference` because their type was lost */
    uint32_t reserved;       /* 0 */
} agt_repair_result;
#define AGT_REPAIR_RESULT_INIT                                                                     \
    { sizeof(agt_repair_result), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Makes whatever of a store is damaged or missing anew from whatever is left: config.toml, journal,
 * catalog, trace, the files in unpublished/, and git. Reads all of the store, git's history too.
 * Blocks.
 *
 * What counts is proved: an event by the hash that the next one has of it, a version's bytes by
 * the id that its event has of them. An event that nothing has any more is told, and an event
 * "lost" stands in its place; bytes that nothing has are told. A document whose type was lost
 * becomes `reference`, which agents cannot change; never anything weaker. Documents themselves are
 * not touched: a file that is not its newest version is an edit, as far as anybody can tell.
 *
 * Its memory is in proportion to the number of events. Whatever is replaced is kept in
 * .agent-trace/damaged; so is a folder, or anything else that is no part, that stands in the place
 * of one. A symbolic link there is told and stays, and nothing is mended before somebody has put
 * what it leads to in its place, or removed it. A repair that was interrupted is finished
 * by the next one, and one of a store that is whole changes nothing.
 *
 *   root      the folder with .agent-trace in it.
 *   out       NULL, or an initialised result; written on AGT_OK.
 *   findings  NULL, or gets what was found, on AGT_OK; close with agt_findings_close.
 *
 * Returns  AGT_OK (also where something is left: out->left), AGT_NOT_FOUND (no store there),
 *          AGT_BUSY, AGT_INVALID, AGT_UNSUPPORTED (a newer format, or a store of agent-trace
 *          0.1.0; versions in git that a build without git cannot read), AGT_CORRUPT (events that
 *          no agent_trace writes), AGT_NOMEM, AGT_IO.
 * Disk     the parts named above; .agent-trace/damaged (mode 0700).
 */
AGENT_TRACE_API agt_status agt_repair(const char *root, const agt_repair_options *opts,
                                      agt_repair_result *out, agt_findings **findings,
                                      agt_error *err);

typedef struct agt_doctor_options {
    uint32_t size;
    uint32_t deep;      /* 1: read all of it, as agt_repair does; else seconds at most */
    uint32_t fix;       /* 1: mend what can be mended without a guess */
    int32_t timeout_ms; /* longest wait for another process; 0: 5,000 */
    const agt_allocator *allocator; /* NULL: malloc; copied */
    const agt_sys *sys;             /* NULL: the operating system; borrowed until the return */
} agt_doctor_options;
#define AGT_DOCTOR_OPTIONS_INIT                                                                    \
    { sizeof(agt_doctor_options), 0, 0, 0, 0, 0 }

/* Looks at a store and says what is not as it should be, or worth knowing: damaged parts; modes
 * that let others in; temporaries of processes that died; edits that were kept aside; refused bytes
 * that are damaged or too many; an AGENT-TRACE.md that does not say what the store says; a git
 * around it that sees it; changes that git does not have yet, or that wait; a clock that goes
 * behind; a file system that is on a network, read-only, nearly full or without locks; stores above
 * and below. Without `fix` it changes nothing, and takes no lock but for `deep`, which waits for
 * both, and where temporaries lie: then it looks, shared and for a moment, whether anybody is at
 * work. Blocks.
 *
 *   root      the folder with .agent-trace in it.
 *   findings  gets what was found; close with agt_findings_close.
 *
 * Returns  AGT_OK, AGT_NOT_FOUND (no store there), AGT_BUSY, AGT_INVALID, AGT_UNSUPPORTED (a newer
 *          format, or a store of agent-trace 0.1.0), AGT_CORRUPT (events that no agent_trace
 *          writes), AGT_NOMEM, AGT_IO.
 * Disk     with fix: what agt_repair writes; modes in .agent-trace and its .gitignore; an index
 *          that is there, as agt_index_refresh does. Temporaries and refused bytes above the limit
 *          are removed, damaged refused bytes are kept in .agent-trace/damaged.
 */
AGENT_TRACE_API agt_status agt_doctor(const char *root, const agt_doctor_options *opts,
                                      agt_findings **findings, agt_error *err);

#ifdef __cplusplus
}
#endif

#endif /* AGENT_TRACE_H */

/* ---- The seam to the operating system ------------------------------------------------------
 * For tests, simulators and exotic systems. Static linking only; no promise of stability. */
#if defined(AGENT_TRACE_SYS) && !defined(AGENT_TRACE_SYS_H)
#define AGENT_TRACE_SYS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef intptr_t agt_fd; /* an open file or folder */
#define AGT_FD_NONE ((agt_fd)-1)

/* What a call that failed returns: negative, a class and the system's own code in one int. */
enum agt_sys_class {
    AGT_SYS_NOENT = 1, /* no such name */
    AGT_SYS_EXIST,     /* the name is taken */
    AGT_SYS_NOTDIR,    /* a component is no folder */
    AGT_SYS_ISDIR,     /* a folder stands where a file is wanted */
    AGT_SYS_LOOP,      /* a symbolic link stands in the way */
    AGT_SYS_ACCESS,    /* not permitted, or a read-only file system */
    AGT_SYS_NOSPC,     /* disk full, quota, file size limit */
    AGT_SYS_BUSY,      /* a lock is held by somebody else */
    AGT_SYS_XDEV,      /* across devices */
    AGT_SYS_NOTEMPTY,  /* the folder is not empty */
    AGT_SYS_NAME,      /* the name is too long or not possible here */
    AGT_SYS_NOSYS,     /* this system or file system cannot do it */
    AGT_SYS_NOMEM,     /* out of memory */
    AGT_SYS_FILES,     /* too many files are open, in this process or on this machine */
    AGT_SYS_IO         /* everything else */
};
#define AGT_SYS_ERR(cls, code) (-(((int)(cls) << 16) | ((int)(code)&0xffff)))
#define AGT_SYS_CLASS(rc)      ((int)(-(rc) >> 16))
#define AGT_SYS_CODE(rc)       ((int)(-(rc)&0xffff))

enum agt_file_kind { AGT_FILE_REGULAR = 1, AGT_FILE_FOLDER, AGT_FILE_LINK, AGT_FILE_OTHER };

typedef struct agt_stat {
    uint64_t dev, ino, size;
    int64_t mtime_ns, ctime_ns;
    uint32_t mode;  /* permission bits */
    uint32_t owner; /* user id */
    uint32_t links;
    uint32_t kind;     /* an agt_file_kind */
    uint32_t group;    /* group id; 0 where there is none */
    uint32_t reserved; /* 0 */
} agt_stat;

/* Flags of open. Never follows a link in the last component; closed on exec; never below 3. */
enum agt_open_flag {
    AGT_O_READ = 1,
    AGT_O_WRITE = 2,
    AGT_O_CREATE = 4,
    AGT_O_EXCL = 8,
    AGT_O_FOLDER = 16,
    AGT_O_TRUNCATE = 32
};
enum agt_rename_flag { AGT_RENAME_REPLACE = 0, AGT_RENAME_NOREPLACE = 1, AGT_RENAME_EXCHANGE = 2 };
enum agt_lock_kind { AGT_LOCK_UNLOCK = 0, AGT_LOCK_SHARED = 1, AGT_LOCK_EXCLUSIVE = 2 };

/* Who this process is, as far as the system tells; empty texts where it does not. */
typedef struct agt_process {
    int64_t pid;
    uint64_t start; /* start time in the system's own unit; 0 unknown */
    char boot[40];  /* id of this boot; empty: unknown, then nothing is trusted across opens */
    char pid_space[32];
    char time_space[32];
    char host[64];
    char program[64];
} agt_process;

/* What the system tells of a process, whichever it is. */
enum agt_peer_state {
    AGT_PEER_UNKNOWN = 0, /* something has that id, and no more is known */
    AGT_PEER_RUNS,        /* also one that is stopped */
    AGT_PEER_ENDED        /* nothing has that id, or what has it only waits for its parent */
};
typedef struct agt_peer {
    uint32_t state;      /* an agt_peer_state */
    uint32_t per_second; /* units of `start` in a second */
    uint64_t start;      /* as agt_process has it; 0 unknown */
    char pid_space[32];  /* it runs in; empty unknown */
} agt_peer;

/* What serves a folder's files. A lock, and an order of writes, may mean less where it is not this
 * machine alone. */
enum agt_volume_place {
    AGT_VOLUME_UNKNOWN = 0,
    AGT_VOLUME_LOCAL,
    AGT_VOLUME_PROGRAM, /* a program or the machine's host, as with FUSE and 9p */
    AGT_VOLUME_NETWORK  /* other machines, or several at once */
};
#define AGT_VOLUME_INIT                                                                            \
    {                                                                                              \
        UINT64_MAX, 0, 0, {                                                                        \
            0                                                                                      \
        }                                                                                          \
    }

typedef struct agt_volume {
    uint64_t free_bytes; /* for this user; UINT64_MAX: unknown */
    uint32_t place;      /* an agt_volume_place */
    uint32_t read_only;  /* 1: mounted so */
    char kind[16];       /* as "nfs"; empty: unknown */
} agt_volume;

/* Every call to the operating system the library makes. Calls return 0 or a count, or a negative
 * AGT_SYS_ERR. Names are NUL-terminated and relative to an open folder; they may have '/' in
 * them only where that is said. No call retries anything but EINTR; on Windows renames and
 * removals are tried for a second where somebody has the file open. */
struct agt_sys {
    uint32_t size;
    void *ctx;
    /* the folder at an absolute or process-relative path; follows links (the root only) */
    agt_fd (*open_root)(void *ctx, const char *path);
    /* `name` in `dir`, one component; mode is used with AGT_O_CREATE. Returns the fd or an error */
    agt_fd (*open)(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode);
    /* the folder `path` beneath `dir`, '/' between components, following no link */
    agt_fd (*walk)(void *ctx, agt_fd dir, const char *path);
    void (*close)(void *ctx, agt_fd fd);
    int64_t (*pread)(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset);
    int64_t (*pwrite)(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset);
    int (*sync)(void *ctx, agt_fd fd); /* data and size of a file; for a folder its names */
    int (*truncate)(void *ctx, agt_fd fd, uint64_t size);
    int (*reserve)(void *ctx, agt_fd fd, uint64_t offset, uint64_t n);   /* may answer NOSYS */
    int (*stat)(void *ctx, agt_fd dir, const char *name, agt_stat *out); /* follows no link */
    int (*fstat)(void *ctx, agt_fd fd, agt_stat *out);
    int (*set_mode)(void *ctx, agt_fd fd, uint32_t mode);
    int (*rename)(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                  int flag); /* EXCHANGE and NOREPLACE may answer NOSYS */
    int (*link)(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to);
    int (*remove)(void *ctx, agt_fd dir, const char *name);
    int (*remove_folder)(void *ctx, agt_fd dir, const char *name);
    int (*make_folder)(void *ctx, agt_fd dir, const char *name, uint32_t mode);
    /* calls `each` for every name but "." and ".."; a non-zero answer stops and is returned */
    int (*list)(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                void *each_ctx);
    /* is the open file open for writing anywhere? 1 yes, 0 no, NOSYS unknown */
    int (*has_writer)(void *ctx, agt_fd fd);
    /* may names in the open folder be made, replaced and removed? 0 or ACCESS; NOSYS unknown */
    int (*may_change)(void *ctx, agt_fd dir);
    /* never waits: BUSY if another open file description has it */
    int (*lock)(void *ctx, agt_fd fd, int kind);
    int64_t (*now_unix_ms)(void *ctx);
    int64_t (*mono_ns)(void *ctx);
    void (*sleep_ns)(void *ctx, int64_t ns);
    int (*random)(void *ctx, void *buf, size_t n);
    int64_t (*pid)(void *ctx); /* cheap: asked at every entry to notice a fork */
    int (*process)(void *ctx, agt_process *out);
    /* the absolute path of an open folder, for libgit2; NOSYS in a machine that has no disk */
    int (*path_of)(void *ctx, agt_fd dir, char *out, size_t size);
    /* mutexes for threads that share a handle */
    void *(*mutex_new)(void *ctx);
    void (*mutex_free)(void *ctx, void *mutex);
    void (*mutex_lock)(void *ctx, void *mutex);
    void (*mutex_unlock)(void *ctx, void *mutex);
    /* the file system an open folder is on, for a diagnosis alone; NULL and NOSYS: unknown */
    int (*volume)(void *ctx, agt_fd dir, agt_volume *out);
    /* the process `pid` as this one sees it, also one of somebody else; 0, or NOSYS where the
     * system does not tell; NULL: it never does */
    int (*peer)(void *ctx, int64_t pid, agt_peer *out);
    /* a descriptor that tells when somebody closes the open file, by dying too, or when a name of
     * the file goes; NOSYS: none on this file system; NULL: none on this system */
    agt_fd (*watch)(void *ctx, agt_fd fd);
    /* sleeps until it tells or ns have passed: 1 or 0. What it told is forgotten; more may have
     * happened than it tells, and it may tell of nothing */
    int (*watch_wait)(void *ctx, agt_fd watch, int64_t ns);
    /* gives the open file or folder to a user and a group; on many systems that takes the set-id
     * bits of its mode away; NULL: nothing has an owner here. What root makes in a folder of
     * somebody else belongs to the folder's owner and group without this */
    int (*set_owner)(void *ctx, agt_fd fd, uint32_t owner, uint32_t group);
};

/* The operating system itself, so that a shim can wrap it. Never NULL. */
AGENT_TRACE_API const agt_sys *agt_sys_os(void);

#ifdef __cplusplus
}
#endif
#endif /* AGENT_TRACE_SYS_H */
