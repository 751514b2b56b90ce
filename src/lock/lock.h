/* lock: one holder among all processes, on flock(2) behind agt_sys. */
#ifndef AGT_LOCK_H
#define AGT_LOCK_H

#include "../sys/sys.h"

/* A lock on one file. The descriptor stays open between uses; the kernel lock is what counts. */
typedef struct agt_flock {
    const agt_sys *sys;
    agt_fd dir;       /* borrowed: the folder */
    char name[32];    /* the file in it */
    agt_fd fd;        /* AGT_FD_NONE until first use */
    uint64_t dev, ino; /* of fd */
    bool held;
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

#endif /* AGT_LOCK_H */
