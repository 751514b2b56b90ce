/* lock: one holder among all processes, on flock(2) behind agt_sys. */
#ifndef AGT_LOCK_H
#define AGT_LOCK_H

#include "../sys/sys.h"

/* A lock on one file. The descriptor stays open between uses; the kernel lock is what counts. */
typedef struct agt_flock {
    const agt_sys *sys;
    agt_fd dir;        /* borrowed: the folder */
    char name[32];     /* the file in it */
    agt_fd fd;         /* AGT_FD_NONE until first use */
    uint64_t dev, ino; /* of fd */
    bool held;
    bool watches; /* set by its owner: whoever lets go closes the file, so waiters watch it */
    agt_fd watch; /* on the open file, AGT_FD_NONE if there is none */
} agt_flock;

AGT_PRIVATE void agt__flock_init(agt_flock *l, const agt_sys *sys, agt_fd dir, const char *name);
/* Takes the lock: opens or reopens the file as needed (U3 to U6), waits up to timeout_ms (0: the
 * default, AGT_TRY, AGT_FOREVER) with growing delays. AGT_OK, AGT_BUSY, AGT_INVALID, AGT_IO,
 * AGT_UNSUPPORTED, AGT_NOT_FOUND (the folder is gone). */
AGT_PRIVATE agt_status agt__flock_take(agt_flock *l, int32_t timeout_ms, agt_error *err);
/* Is the file still the one at its name (U9)? true if so. */
AGT_PRIVATE bool agt__flock_still(const agt_flock *l);
/* Lets go, keeps the descriptor. Must not be called in a fork's child (use agt__flock_close). */
AGT_PRIVATE void agt__flock_drop(agt_flock *l);
/* Closes the descriptor, which lets go unless a fork's other side holds it. */
AGT_PRIVATE void agt__flock_close(agt_flock *l);

/* ---- the files in locks/ ---- */

#define AGT_POLL_LOCK  "poll.lock"
#define AGT_POLL_INFO  "poll.lock.info"
#define AGT_POLL_EPOCH "poll.lock.epoch"

/* ---- holder.c ---- */

/* What a process says of itself while it has the poll lock. */
typedef struct agt_holder {
    int64_t pid;    /* 0: unknown */
    uint64_t start; /* of the process, in the system's own unit; 0: unknown */
    int64_t since_unix_ms;
    uint64_t epoch; /* 0: unknown */
    char boot[40];
    char pid_space[32], time_space[32];
    char host[64];
    char program[64];
    char token[33]; /* 128 random bits in hexadecimal: this one time of leading */
} agt_holder;

#define AGT_HOLDER_TEXT 512 /* bytes that always hold agt__holder_format's text */

/* This process, with a new token; `program` may be NULL. What the system does not tell is left
 * empty; so is the token where there is no chance to be had. */
AGT_PRIVATE void agt__holder_self(agt_holder *h, const agt_sys *sys, const char *program);
/* Writes the lines; returns their length. */
AGT_PRIVATE size_t agt__holder_format(const agt_holder *h, char out[AGT_HOLDER_TEXT]);
/* Reads both files' bytes, whatever they are. The info is believed only if it is of one piece and
 * names the pid of poll.lock. Every text in `out` is UTF-8 without control characters. */
AGT_PRIVATE void agt__holder_parse(agt_holder *out, const void *pid, size_t pid_len,
                                   const void *info, size_t info_len);
/* Text for people: cut between characters, and what is no UTF-8 or a control becomes '?'. */
AGT_PRIVATE void agt__holder_text(char *out, size_t size, const char *s, size_t n);

/* What the two files of an open folder locks/ say; empty where they say nothing. */
AGT_PRIVATE void agt__holder_read(const agt_sys *sys, agt_fd locks, agt_holder *out);

/* ---- epoch.c ---- */

/* The newest epoch, 0 if none is known. AGT_INVALID, AGT_IO. */
AGT_PRIVATE agt_status agt__epoch_read(const agt_sys *sys, agt_fd locks, uint64_t *out,
                                       agt_error *err);
/* Under the poll lock. `*mine` 0: begins the next epoch. Else: makes sure that the file says it.
 * AGT_BUSY (a newer one exists), AGT_INVALID, AGT_NOT_FOUND, AGT_NOMEM, AGT_IO. */
AGT_PRIVATE agt_status agt__epoch_lead(const agt_sys *sys, agt_fd locks, uint64_t *mine,
                                       agt_error *err);
/* May a change that carries this epoch (0: none) be made? AGT_OK, AGT_BUSY, AGT_INVALID, AGT_IO. */
AGT_PRIVATE agt_status agt__epoch_fence(const agt_sys *sys, agt_fd locks, uint64_t epoch,
                                        agt_error *err);

/* ---- poll_lock.c ---- */

/* As agt_poll_lock_holder, of an open folder locks/. */
AGT_PRIVATE agt_status agt__lock_holder(const agt_sys *sys, agt_fd locks, agt_lock_holder *out,
                                        agt_error *err);

#endif /* AGT_LOCK_H */
