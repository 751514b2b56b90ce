/* poll_lock: who leads, elected by flock on <root>/.agent-trace/locks/poll.lock.
 *
 * Whoever has the lock leads; trying never waits; releasing is letting go; a leader that dies,
 * however it dies, leaves nothing stale. The lock excludes every program that takes flock(2) on the
 * same file, in both directions.
 *
 *   poll.lock        the last leader's process id, decimal, nothing else
 *   poll.lock.info   what else it says of itself (holder.c)
 *
 * (1) Both files are diagnosis. The kernel's lock decides; bytes never do. Therefore failing to
 *     write them (a full disk) does not fail the lock, and a reader survives any bytes in them.
 * (2) Both are written under the lock only, in place: a reader may see one leader's words, or half
 *     of them, which `end` tells, but never waits for the file system's own journal.
 * (3) In a fork's child a handle only closes: the parent leads on. The leader itself lets go by
 *     unlocking and closing, so that a child that kept the descriptor does not keep the lead.
 * (4) None of the files is ever unlinked.
 * (5) Whoever has the lock begins a new epoch (epoch.c) before it leads: that is what tells the
 *     store, which does not look at the lock, that an earlier leader is over.
 * (6) Where some take it by flock and others by a file (sentinel.c), each first takes its own and
 *     then looks for the other: of two at the same time one sees the other's, or both do. */
#include "sentinel.h"

#include "../base/base.h"
#include "../data/data.h"
#include "../sys/sys.h"

#include <stdio.h>

#define POLL_RETAKES 100 /* of a lock file that is replaced again and again */
#define POLL_SWEEPS  8   /* files of dead processes that one holder removes */

struct agt_poll_lock {
    agt_mem mem;
    const agt_sys *sys;
    int64_t pid; /* of the process that took it */
    agt_fd locks;
    bool by_file; /* the sentinel is the lock, else `lock` is */
    agt_flock lock;
    agt_sentinel owner; /* its record has the epoch of this time of leading */
};

/* ---- the folder ---- */

/* Opens <root>/.agent-trace/locks, making both if `make`. */
static agt_status poll_open_locks(const agt_sys *sys, const char *root, bool make, agt_fd *out,
                                  agt_error *err) {
    *out = AGT_FD_NONE;
    char shown[128];
    agt_fd top = sys->open_root(sys->ctx, root);
    if (top < 0)
        return agt__fail_sys(err, top, "cannot open the folder %s",
                             agt__show_path(shown, sizeof shown, root, strlen(root)));
    agt_fd at;
    agt_status status = agt__open_private(sys, top, make, &at, err);
    sys->close(sys->ctx, top);
    if (status != AGT_OK) return status;
    status = agt__open_folder(sys, at, "locks", make, out, err);
    sys->close(sys->ctx, at);
    return status;
}

/* ---- leading ---- */

/* Makes the text the whole content of an open file. Not emptied first without need: file systems
 * take that for a replacement and hurry to write it out. */
static void poll_rewrite(const agt_sys *sys, agt_fd fd, const char *text, size_t n) {
    agt_stat st;
    if (sys->fstat(sys->ctx, fd, &st) < 0 || st.kind != AGT_FILE_REGULAR || st.links > 1) return;
    if (st.size > n && sys->truncate(sys->ctx, fd, 0) < 0) return;
    (void)agt__write_all(sys, fd, text, n, 0);
}

/* Makes the text the content of a file in locks/. */
static void poll_note(const agt_poll_lock *p, const char *name, const char *text, size_t n) {
    const agt_sys *sys = p->sys;
    uint32_t flags = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    agt_fd fd = sys->open(sys->ctx, p->locks, name, flags, 0600);
    if (fd < 0) return;
    poll_rewrite(sys, fd, text, n);
    sys->close(sys->ctx, fd);
}

/* Writes who leads into both files. Best effort: the lock holds without (1). */
static void poll_announce(const agt_poll_lock *p) {
    const agt_holder *h = &p->owner.self;
    char text[AGT_HOLDER_TEXT];
    int n = snprintf(text, sizeof text, "%lld", (long long)h->pid);
    if (p->by_file)
        poll_note(p, AGT_POLL_LOCK, text, (size_t)n);
    else
        poll_rewrite(p->sys, p->lock.fd, text, (size_t)n);
    poll_note(p, AGT_POLL_INFO, text, agt__holder_format(h, text));
}

static agt_status poll_get(agt_poll_lock *p, int32_t timeout_ms, agt_error *err) {
    if (p->by_file) return agt__sentinel_take(&p->owner, timeout_ms, err);
    return agt__flock_take(&p->lock, timeout_ms, err);
}
static bool poll_still(const agt_poll_lock *p) {
    return p->by_file ? agt__sentinel_still(&p->owner) : agt__flock_still(&p->lock);
}
static void poll_let_go(agt_poll_lock *p) {
    if (p->owner.held) agt__sentinel_drop(&p->owner);
    agt__flock_drop(&p->lock);
    agt__flock_close(&p->lock);
}

/* Is the open lock file held? Tries it shared and lets go at once. */
static agt_status poll_held(const agt_sys *sys, agt_fd fd, uint32_t *held, agt_error *err) {
    agt_stat st;
    int rc = sys->fstat(sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %s", AGT_POLL_LOCK);
    if (st.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file; remove it", AGT_POLL_LOCK);
    rc = sys->lock(sys->ctx, fd, AGT_LOCK_SHARED);
    *held = rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY;
    if (rc < 0 && !*held) return agt__fail_sys(err, rc, "cannot lock %s", AGT_POLL_LOCK);
    if (rc == 0) (void)sys->lock(sys->ctx, fd, AGT_LOCK_UNLOCK);
    return AGT_OK;
}

/* Whoever has one kind of lock looks for the other kind (6). */
static agt_status poll_alone(agt_poll_lock *p, agt_error *err) {
    const agt_sys *sys = p->sys;
    uint32_t held = 0;
    if (!p->by_file) return agt__sentinel_none(&p->owner, err);
    agt_fd fd = sys->open(sys->ctx, p->locks, AGT_POLL_LOCK, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %s", AGT_POLL_LOCK);
    agt_error mine;
    mine.status = AGT_OK;
    agt_status status = poll_held(sys, fd, &held, &mine);
    sys->close(sys->ctx, fd);
    if (status == AGT_UNSUPPORTED) return AGT_OK; /* nobody can have it */
    if (status == AGT_OK && held)
        return agt__fail(err, AGT_BUSY, "the lock %s is held by somebody else, by flock",
                         AGT_POLL_LOCK);
    return agt__answer(status, &mine, err);
}

/* Under the lock: begins the next epoch. It counts only if the lock is still at its name behind
 * that (5). */
static agt_status poll_begin(agt_poll_lock *p, bool *again, agt_error *err) {
    p->owner.self.epoch = 0;
    *again = false;
    agt_status status = poll_alone(p, err);
    if (status == AGT_OK) status = agt__epoch_lead(p->sys, p->locks, &p->owner.self.epoch, err);
    if (status != AGT_OK) return status;
    *again = !poll_still(p);
    return AGT_OK;
}

static agt_status poll_take(agt_poll_lock *p, int32_t timeout_ms, agt_error *err) {
    for (int i = 0; i < POLL_RETAKES; i++) {
        bool again;
        agt_status status = poll_get(p, timeout_ms, err);
        if (status == AGT_OK) status = poll_begin(p, &again, err);
        if (status != AGT_OK || !again) return status;
        poll_let_go(p);
    }
    return agt__fail(err, AGT_IO, "the lock %s is replaced again and again; find out by whom",
                     AGT_POLL_LOCK);
}

/* Removes what dead processes left of taking the lock by the file; no more at once than a moment
 * is enough for. */
static void poll_sweep(agt_poll_lock *p) {
    agt_leftovers left;
    if (p->by_file || p->owner.took_over) agt__sentinel_sweep(&p->owner, true, POLL_SWEEPS, &left);
}

AGENT_TRACE_API agt_status agt_poll_lock_acquire(agt_poll_lock **out, const char *root,
                                                 const agt_poll_lock_options *opts,
                                                 agt_error *err) {
    AGENT_TRACE_ASSERT(out && root);
    *out = NULL;
    agt_poll_lock_options o;
    agt_status status = agt__options(&o, sizeof o, opts, "agt_poll_lock_options", err);
    if (status == AGT_OK && o.backend > AGT_LOCK_SENTINEL)
        status = agt__fail(err, AGT_INVALID, "there is no backend %lu of the poll lock",
                           (unsigned long)o.backend);
    if (status != AGT_OK) return status;
    agt_mem mem = agt__mem(o.allocator);
    agt_poll_lock *p = agt__zalloc(&mem, sizeof *p);
    if (!p) return agt__nomem(err);
    p->mem = mem;
    p->sys = agt__sys_or_os(o.sys);
    p->pid = p->sys->pid(p->sys->ctx);
    status = poll_open_locks(p->sys, root, true, &p->locks, err);
    if (status != AGT_OK) {
        agt__free(&mem, p, sizeof *p);
        return status;
    }
    agt__flock_init(&p->lock, p->sys, p->locks, AGT_POLL_LOCK);
    p->lock.watches = true; /* letting go closes: see agt_poll_lock_release */
    agt__sentinel_init(&p->owner, p->sys, p->locks, o.program);
    p->by_file = o.backend == AGT_LOCK_SENTINEL;
    status = poll_take(p, o.timeout_ms, err);
    if (status != AGT_OK) {
        agt_poll_lock_release(p);
        return status;
    }
    p->owner.self.since_unix_ms = p->sys->now_unix_ms(p->sys->ctx);
    poll_announce(p);
    poll_sweep(p);
    *out = p;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_poll_lock_try(agt_poll_lock **out, const char *root,
                                             agt_error *err) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_TRY;
    return agt_poll_lock_acquire(out, root, &o, err);
}

AGENT_TRACE_API void agt_poll_lock_release(agt_poll_lock *lock) {
    if (!lock) return;
    const agt_sys *sys = lock->sys;
    if (sys->pid(sys->ctx) == lock->pid) poll_let_go(lock);
    agt__flock_close(&lock->lock);
    sys->close(sys->ctx, lock->locks);
    agt_mem mem = lock->mem;
    agt__free(&mem, lock, sizeof *lock);
}

/* ---- while leading ---- */

AGENT_TRACE_API uint64_t agt_poll_lock_epoch(const agt_poll_lock *lock) {
    AGENT_TRACE_ASSERT(lock);
    return lock->sys->pid(lock->sys->ctx) == lock->pid ? lock->owner.self.epoch : 0;
}

/* The lock file is not the one that was locked: takes the one at the name. Nobody led meanwhile if
 * the epoch is still ours. */
static agt_status poll_retake(agt_poll_lock *p, agt_error *err) {
    agt_poll_lock fresh = *p;
    agt__flock_init(&fresh.lock, p->sys, p->locks, AGT_POLL_LOCK);
    fresh.lock.watches = true;
    fresh.owner.held = false;
    agt_status status = poll_get(&fresh, AGT_TRY, err);
    if (status == AGT_OK) status = poll_alone(&fresh, err);
    if (status == AGT_OK) status = agt__epoch_lead(p->sys, p->locks, &fresh.owner.self.epoch, err);
    if (status != AGT_OK) {
        poll_let_go(&fresh);
        return status;
    }
    agt__flock_close(&p->lock);
    *p = fresh;
    poll_announce(p);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_poll_lock_check(agt_poll_lock *lock, agt_error *err) {
    AGENT_TRACE_ASSERT(lock);
    uint64_t newest;
    if (lock->sys->pid(lock->sys->ctx) != lock->pid)
        return agt__fail(err, AGT_INVALID,
                         "the poll lock was taken before a fork; only the parent leads");
    if (!poll_still(lock)) return poll_retake(lock, err);
    agt_status status = agt__epoch_read(lock->sys, lock->locks, &newest, err);
    if (status != AGT_OK || newest == lock->owner.self.epoch) return status;
    return agt__epoch_lead(lock->sys, lock->locks, &lock->owner.self.epoch, err);
}

/* ---- looking ---- */

static void poll_tell(const agt_holder *h, agt_lock_holder *out) {
    out->pid = h->pid;
    out->since_unix_ms = h->since_unix_ms;
    memcpy(out->host, h->host, sizeof out->host);
    memcpy(out->program, h->program, sizeof out->program);
}

AGT_PRIVATE agt_status agt__lock_holder(const agt_sys *sys, agt_fd locks, agt_lock_holder *out,
                                        agt_error *err) {
    agt_holder h;
    agt_error mine;
    mine.status = AGT_OK;
    (void)agt__epoch_read(sys, locks, &out->epoch, NULL);
    agt_status owner = agt__sentinel_look(sys, locks, &h, &out->held, &mine);
    if (owner != AGT_OK && owner != AGT_NOT_FOUND) return agt__answer(owner, &mine, err);
    if (owner == AGT_OK) poll_tell(&h, out);
    if (owner == AGT_OK && out->held) {
        out->backend = AGT_LOCK_SENTINEL;
        return AGT_OK;
    }
    agt_fd fd = sys->open(sys->ctx, locks, AGT_POLL_LOCK, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT && owner == AGT_OK) return AGT_OK;
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %s", AGT_POLL_LOCK);
    agt_status status = poll_held(sys, fd, &out->held, &mine);
    sys->close(sys->ctx, fd);
    if (status == AGT_UNSUPPORTED && owner == AGT_OK) return AGT_OK;
    if (status != AGT_OK) return agt__answer(status, &mine, err);
    if (out->held) out->backend = AGT_LOCK_FLOCK;
    agt__holder_read(sys, locks, &h);
    poll_tell(&h, out);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_poll_lock_holder(const char *root, agt_lock_holder *out,
                                                agt_error *err) {
    AGENT_TRACE_ASSERT(root && out);
    const agt_sys *sys = agt_sys_os();
    agt_lock_holder found = AGT_LOCK_HOLDER_INIT;
    if (out->size < offsetof(agt_lock_holder, pid))
        return agt__fail(err, AGT_INVALID, "set up agt_lock_holder with AGT_LOCK_HOLDER_INIT");
    agt_fd locks;
    agt_status status = poll_open_locks(sys, root, false, &locks, err);
    if (status != AGT_OK) return status;
    status = agt__lock_holder(sys, locks, &found, err);
    sys->close(sys->ctx, locks);
    if (status != AGT_OK) return status;
    found.size = out->size;
    memcpy(out, &found, found.size < sizeof found ? found.size : sizeof found);
    return AGT_OK;
}
