/* flock: one holder among all processes, held by the kernel.
 *
 *     closed --open, check--> open --flock--> locked --same file at the name?--> held
 *        ^                      ^                |no: close, at most 100 times    |
 *        +----------------------|----------------+                     drop or close, or death
 *                               +-------------------------------------------------+
 *
 * The kernel's lock is the only truth. It dies with the process, however that dies, so there is
 * nothing stale and nothing to take over; no byte in the file decides anything.
 *
 * (1) The file is never unlinked or renamed by us: the lock would split into two.
 * (2) Somebody else may do so. A lock counts only on the file that stands at the name after it was
 *     taken. Device and inode of an open file never change, and the inode is not used again while
 *     we have it open: comparing them with what stands at the name is enough.
 * (3) What is opened must be a regular file with one link that its folder's owner made: a link, a
 *     FIFO, a folder or somebody's other file in its place is refused, not locked or written.
 * (4) Only the kernel's yes is a yes. No lock here, no permission, no memory: an error, never an
 *     unlocked success.
 * (5) Two descriptors of one process exclude each other as two processes do; one handle belongs to
 *     one thread at a time.
 * (6) A shared lock is somebody looking who leads (agt_poll_lock_holder), not a holder. It is gone
 *     in a moment and must not turn a try into BUSY.
 * (7) The lock belongs to the open file, which a fork's child shares: there it "holds" too. Whoever
 *     owns the handle compares process ids before it comes here; the child only closes.
 * (8) Nobody waits inside flock: that has no deadline. Waiters sleep 1 ms, then twice as long each
 *     time up to 100 ms, and wake for a burst of tries, the longer the longer they slept: a busy
 *     store's lock is free only for moments between two writes, and a single try would miss them
 *     for seconds. Whoever waited half a second is among many, on a machine with little time for
 *     each, and tries about every other moment, or one of sixteen would be left behind for more
 * than the default timeout. After 10 s it is somebody who leads, not somebody who writes: single
 *     tries.
 *
 * (9) Where whoever lets go also closes the file, as the poll lock's holders do, and the system can
 *     tell of that, a waiter sleeps until it does. The watch is made before the try, so nothing is
 *     missed between them. It is told a moment before the kernel lets go, and of those too who only
 *     looked: what follows is a burst of tries, then single ones farther and farther apart. Who
 *     unlocks without closing, and another machine's processes, are found by those. Closing a
 *     watch may take the kernel ten milliseconds: that is done when the lock has been let go.
 *
 * Taking and dropping an open, free lock is three system calls: flock, fstatat, flock. */
#include "lock.h"

#include "../base/base.h"
#include "../sys/sys.h"

#define FLOCK_REOPENS 100
#define FLOCK_LOOKS   10

/* Waiting, in ns. */
#define FLOCK_DELAY_MIN 1000000
#define FLOCK_DELAY_MAX 100000000
#define FLOCK_BURST     8         /* tries in a burst, and one more for each ... */
#define FLOCK_BURST_PER 2000000   /* ... of these that were slept before */
#define FLOCK_PAUSE     60000     /* between the tries of a burst */
#define FLOCK_OLD       500000000 /* who waited so long naps shortly */
#define FLOCK_OLD_DELAY 4000000
#define FLOCK_HOPE      10000000000

/* Watching, in ns. */
#define FLOCK_WAKE_TRIES 16         /* when it was told */
#define FLOCK_WATCH_MAX  1000000000 /* longest sleep without a try */
#define FLOCK_WATCH_FAR  100000000  /* the same where other machines may hold it */

AGT_PRIVATE void agt__flock_init(agt_flock *l, const agt_sys *sys, agt_fd dir, const char *name) {
    memset(l, 0, sizeof *l);
    l->sys = sys;
    l->dir = dir;
    l->fd = l->watch = AGT_FD_NONE;
    bool whole = agt__copy_text(l->name, sizeof l->name, name, strlen(name));
    AGENT_TRACE_ASSERT(whole);
    (void)whole;
}

/* May the file's owner be who it is? The folder's owner, root, or anybody where the folder is
 * shared on purpose: writable for others, and not so that each may only touch what is theirs. */
static bool flock_owner_fits(const agt_stat *file, const agt_stat *folder) {
    bool shared = (folder->mode & 022u) != 0 && (folder->mode & 01000u) == 0;
    return file->owner == folder->owner || file->owner == 0 || shared;
}

/* Looks at what was opened. That it still stands at the name is asked later, under the lock. */
static agt_status flock_check(agt_flock *l, agt_error *err) {
    agt_stat file, folder;
    int rc = l->sys->fstat(l->sys->ctx, l->fd, &file);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/locks/%s", l->name);
    rc = l->sys->fstat(l->sys->ctx, l->dir, &folder);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the folder of the lock %s", l->name);
    if (file.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID,
                         "something that is not a regular file stands in the place of the lock "
                         "%s; remove it",
                         l->name);
    if (file.links > 1)
        return agt__fail(err, AGT_INVALID,
                         "the lock %s is also linked under another name; remove it and try again",
                         l->name);
    if (!flock_owner_fits(&file, &folder))
        return agt__fail(err, AGT_INVALID,
                         "the lock %s belongs to user %lu, its folder to user %lu; remove it and "
                         "try again",
                         l->name, (unsigned long)file.owner, (unsigned long)folder.owner);
    l->dev = file.dev;
    l->ino = file.ino;
    return AGT_OK;
}

static agt_status flock_open(agt_flock *l, agt_error *err) {
    l->fd =
        l->sys->open(l->sys->ctx, l->dir, l->name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (l->fd < 0) {
        agt_fd rc = l->fd;
        l->fd = AGT_FD_NONE;
        agt_status denied = agt__fail_sys(err, rc, "cannot open .agent-trace/locks/%s", l->name);
        return agt__say_owner(l->sys, l->dir, l->name, rc, denied, err);
    }
    agt_status status = flock_check(l, err);
    if (status != AGT_OK) agt__flock_close(l);
    return status;
}

static int64_t flock_jitter(const agt_sys *sys, int64_t ns) {
    uint32_t r;
    if (sys->random(sys->ctx, &r, sizeof r) < 0) return ns;
    return ns / 2 + (int64_t)r % (ns / 2 + 1);
}

/* The exclusive lock, waiting only for those who look (6). */
static int flock_exclusive(const agt_flock *l) {
    const agt_sys *sys = l->sys;
    int rc = sys->lock(sys->ctx, l->fd, AGT_LOCK_EXCLUSIVE);
    for (int i = 0; i < FLOCK_LOOKS && rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY; i++) {
        if (sys->lock(sys->ctx, l->fd, AGT_LOCK_SHARED) < 0) return rc; /* a holder */
        (void)sys->lock(sys->ctx, l->fd, AGT_LOCK_UNLOCK);
        sys->sleep_ns(sys->ctx, flock_jitter(sys, (int64_t)10000 << i));
        rc = sys->lock(sys->ctx, l->fd, AGT_LOCK_EXCLUSIVE);
    }
    return rc;
}

/* One try. On AGT_BUSY *err is left to the caller. */
static agt_status flock_try(agt_flock *l, agt_error *err) {
    for (int i = 0; i < FLOCK_REOPENS; i++) {
        agt_status status = l->fd == AGT_FD_NONE ? flock_open(l, err) : AGT_OK;
        if (status != AGT_OK) return status;
        int rc = flock_exclusive(l);
        bool busy = rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY;
        if (rc < 0 && !busy)
            return agt__fail_sys(err, rc, "cannot lock %s; the file system must support flock",
                                 l->name);
        /* also when busy: whoever holds a file that was removed holds nothing */
        if (agt__flock_still(l)) {
            l->held = !busy;
            return busy ? AGT_BUSY : AGT_OK;
        }
        agt__flock_close(l);
    }
    return agt__fail(err, AGT_IO, "the lock %s is replaced again and again; find out by whom",
                     l->name);
}

static int64_t flock_left(const agt_sys *sys, int64_t deadline) {
    return deadline - sys->mono_ns(sys->ctx);
}

/* Tries in quick succession (8). */
static agt_status flock_burst(agt_flock *l, int64_t tries, int64_t deadline, agt_error *err) {
    for (int64_t i = 1;; i++) {
        agt_status status = flock_try(l, err);
        if (status != AGT_BUSY || i >= tries) return status;
        int64_t pause = flock_jitter(l->sys, FLOCK_PAUSE);
        if (flock_left(l->sys, deadline) <= pause) return status;
        l->sys->sleep_ns(l->sys->ctx, pause);
    }
}

/* Watches the open file, if it is not watched yet: who closes it to open another one closes the
 * watch as well. False: there is no watch to be had. */
static bool flock_watch_follow(agt_flock *l) {
    const agt_sys *sys = l->sys;
    if (l->watch != AGT_FD_NONE) return true;
    agt_fd watch = l->fd == AGT_FD_NONE ? AGT_FD_NONE : sys->watch(sys->ctx, l->fd);
    l->watch = watch < 0 ? AGT_FD_NONE : watch;
    return l->watch != AGT_FD_NONE;
}

static int64_t flock_watch_longest(const agt_flock *l) {
    const agt_sys *sys = l->sys;
    agt_volume v = AGT_VOLUME_INIT;
    bool told = sys->volume && sys->volume(sys->ctx, l->dir, &v) >= 0;
    return told && v.place == AGT_VOLUME_LOCAL ? FLOCK_WATCH_MAX : FLOCK_WATCH_FAR;
}

/* Waits by a watch (9). AGT_BUSY: the deadline passed, or *none: there is no watch. */
static agt_status flock_wait_watching(agt_flock *l, int64_t deadline, bool *none, agt_error *err) {
    const agt_sys *sys = l->sys;
    int64_t longest = flock_watch_longest(l), nap = FLOCK_DELAY_MIN;
    agt_status status = AGT_BUSY;
    int told = 0;
    *none = !sys->watch || !sys->watch_wait;
    while (!*none) {
        if (!flock_watch_follow(l)) {
            *none = true;
            break;
        }
        status = flock_burst(l, told > 0 ? FLOCK_WAKE_TRIES : 1, deadline, err);
        int64_t left = flock_left(sys, deadline);
        if (status != AGT_BUSY || left <= 0) break;
        if (l->watch == AGT_FD_NONE) continue; /* a new file: watch it before trying */
        told = sys->watch_wait(sys->ctx, l->watch, nap < left ? nap : left);
        *none = told < 0;
        nap = told > 0 ? FLOCK_DELAY_MIN : nap < longest / 2 ? nap * 2 : longest;
    }
    return status;
}

/* Tries with growing delays until the deadline; AGT_BUSY when it passed. */
static agt_status flock_wait(agt_flock *l, int32_t timeout_ms, agt_error *err) {
    const agt_sys *sys = l->sys;
    int64_t start = sys->mono_ns(sys->ctx), deadline = INT64_MAX, delay = FLOCK_DELAY_MIN;
    if (timeout_ms == 0) timeout_ms = AGT_TIMEOUT_DEFAULT;
    if (timeout_ms > 0) deadline = start + (int64_t)timeout_ms * 1000000;
    if (l->watches) {
        bool none;
        agt_status status = flock_wait_watching(l, deadline, &none, err);
        if (status != AGT_BUSY || !none) return status;
    }
    for (;;) {
        int64_t left = flock_left(sys, deadline);
        int64_t waited = sys->mono_ns(sys->ctx) - start;
        bool hopeful = waited < FLOCK_HOPE;
        int64_t nap = flock_jitter(sys, hopeful && waited > FLOCK_OLD ? FLOCK_OLD_DELAY : delay);
        if (left <= 0) return AGT_BUSY;
        sys->sleep_ns(sys->ctx, nap < left ? nap : left);
        int64_t tries = hopeful ? FLOCK_BURST + delay / FLOCK_BURST_PER : 1;
        agt_status status = flock_burst(l, tries, deadline, err);
        if (status != AGT_BUSY) return status;
        delay = delay < FLOCK_DELAY_MAX / 2 ? delay * 2 : FLOCK_DELAY_MAX;
    }
}

AGT_PRIVATE agt_status agt__flock_take(agt_flock *l, int32_t timeout_ms, agt_error *err) {
    if (timeout_ms < AGT_FOREVER)
        return agt__fail(err, AGT_INVALID, "a timeout of %ld ms is none", (long)timeout_ms);
    agt_status status = l->held ? AGT_BUSY : flock_try(l, err);
    if (status == AGT_BUSY && timeout_ms != AGT_TRY && !l->held)
        status = flock_wait(l, timeout_ms, err);
    if (status == AGT_BUSY)
        return agt__fail(err, AGT_BUSY, "the lock %s is held by somebody else", l->name);
    return status;
}

AGT_PRIVATE bool agt__flock_still(const agt_flock *l) {
    agt_stat st;
    if (l->fd == AGT_FD_NONE) return false;
    if (l->sys->stat(l->sys->ctx, l->dir, l->name, &st) < 0) return false;
    return st.dev == l->dev && st.ino == l->ino;
}

AGT_PRIVATE void agt__flock_drop(agt_flock *l) {
    if (!l->held) return;
    l->held = false;
    /* should unlocking fail, closing does it */
    if (l->sys->lock(l->sys->ctx, l->fd, AGT_LOCK_UNLOCK) < 0) agt__flock_close(l);
}

AGT_PRIVATE void agt__flock_close(agt_flock *l) {
    if (l->fd != AGT_FD_NONE) l->sys->close(l->sys->ctx, l->fd);
    if (l->watch != AGT_FD_NONE) l->sys->close(l->sys->ctx, l->watch); /* last: see (9) */
    l->fd = l->watch = AGT_FD_NONE;
    l->held = false;
}
