/* doctor_left: temporary files of processes that died.
 *
 * (1) A temporary of a living process is no finding: only while both locks are free, which are held
 *     for the look, shared, nobody writes here.
 * (2) What lies in tmp/ while a record waits to be applied, or since a restart, is the recovery's,
 *     which the next command that writes carries out.
 * (3) With --fix they are cleared under both locks: tmp/ by the recovery's own hand, which keeps
 *     what may be an edit in aside/; others hold nothing that counts (FORMAT.md 2).
 * (4) Those of the lock by a file need no lock: each names its process (sentinel.c). */
#include "doctor.h"

#include "../lock/sentinel.h"

typedef enum left_kind {
    LEFT_TMP, /* NAME.tmp */
    LEFT_GIT, /* tmp_..._agt */
    LEFT_ALL
} left_kind;

static const struct {
    const char *folder;
    left_kind kind;
} left_places[] = {{"", LEFT_TMP},
                   {"trace", LEFT_TMP},
                   {"unpublished", LEFT_TMP},
                   {"rejected", LEFT_TMP},
                   {"index", LEFT_TMP},
                   {"git", LEFT_TMP},
                   {"git/objects", LEFT_GIT},
                   {"git/objects/pack", LEFT_GIT},
                   {"tmp", LEFT_ALL}};

typedef struct left_names {
    left_kind kind;
    agt_buf names;
} left_names;

static int left_collect(void *ctx, const char *name) {
    left_names *l = ctx;
    bool is = l->kind == LEFT_ALL || (l->kind == LEFT_TMP && agt__ends_in(name, ".tmp")) ||
              (l->kind == LEFT_GIT && strncmp(name, "tmp_", 4) == 0 && agt__ends_in(name, "_agt"));
    if (is) agt__buf_put(&l->names, name, strlen(name) + 1);
    return l->names.failed ? 1 : 0;
}

typedef struct left_all {
    uint64_t count;
    char first[300];
} left_all;

static agt_status left_in(const agt_store *s, size_t place, bool clear, left_all *all,
                          agt_error *err) {
    const agt_sys *sys = s->sys;
    const char *folder = left_places[place].folder;
    left_names l = {left_places[place].kind, agt__buf(&s->mem)};
    agt_fd dir = agt__walk_folder(sys, s->at, folder, false);
    if (dir < 0) return AGT_OK;
    (void)sys->list(sys->ctx, dir, left_collect, &l);
    for (size_t at = 0; at < l.names.len && !l.names.failed;) {
        const char *name = (const char *)l.names.data + at;
        at += strlen(name) + 1;
        if (clear && sys->remove(sys->ctx, dir, name) == 0) continue;
        if (!all->count++)
            (void)snprintf(all->first, sizeof all->first, "%s%s%.250s", folder,
                           folder[0] ? "/" : "", name);
    }
    sys->close(sys->ctx, dir);
    bool failed = l.names.failed;
    agt__buf_free(&l.names);
    return failed ? agt__nomem(err) : AGT_OK;
}

/* (4) */
static void left_in_locks(const agt_store *s, bool clear, left_all *all) {
    agt_sentinel lock;
    agt_leftovers left;
    if (s->locks == AGT_FD_NONE) return;
    agt__sentinel_init(&lock, s->sys, s->locks, NULL);
    agt__sentinel_sweep(&lock, clear, 0, &left);
    if (!all->count && left.first[0])
        (void)snprintf(all->first, sizeof all->first, "locks/%s", left.first);
    all->count += left.found - left.removed;
}

/* `tmp` says that what lies in tmp/ counts, too. */
static agt_status left_look(const agt_store *s, bool tmp, bool clear, left_all *all,
                            agt_error *err) {
    agt_status st = AGT_OK;
    memset(all, 0, sizeof *all);
    for (size_t i = 0; st == AGT_OK && i < AGT_COUNT(left_places); i++) {
        bool whole = left_places[i].kind == LEFT_ALL;
        if (!whole || tmp) st = left_in(s, i, clear && !whole, all, err);
    }
    if (st == AGT_OK) left_in_locks(s, clear, all);
    return st;
}

/* ---- is anybody at work? ---- */

/* Takes the lock shared, if nobody has it. AGT_FD_NONE where there is no such file. */
static bool left_take(const agt_store *s, const char *name, agt_fd *fd) {
    *fd = AGT_FD_NONE;
    if (s->locks == AGT_FD_NONE) return true;
    agt_fd lock = s->sys->open(s->sys->ctx, s->locks, name, AGT_O_READ, 0);
    if (lock < 0) return AGT_SYS_CLASS(lock) == AGT_SYS_NOENT;
    if (s->sys->lock(s->sys->ctx, lock, AGT_LOCK_SHARED) == 0)
        *fd = lock;
    else
        s->sys->close(s->sys->ctx, lock);
    return *fd != AGT_FD_NONE;
}

/* (2). Nobody writes meanwhile. */
static bool left_settled(const agt_visit *v) {
    agt_open_options o = agt__doctor_options(v, true);
    agt_store *s;
    agt_shared now;
    if (agt_open(&s, v->root, &o, NULL) != AGT_OK) return false;
    bool settled = agt__store_peek(s, &now) && now.applied >= now.end && s->seen.pos <= now.end;
    (void)agt_close(s, NULL);
    return settled;
}

static agt_status left_alone(const agt_visit *v, left_all *all, agt_error *err) {
    const agt_store *s = v->parts;
    agt_fd publish, store;
    agt_status st = AGT_OK;
    memset(all, 0, sizeof *all);
    bool alone = left_take(s, "publish.lock", &publish);
    bool both = alone && left_take(s, "store.lock", &store);
    if (both) {
        st = left_look(s, left_settled(v), false, all, err);
        if (store != AGT_FD_NONE) s->sys->close(s->sys->ctx, store);
    }
    if (publish != AGT_FD_NONE) s->sys->close(s->sys->ctx, publish);
    return st;
}

/* ---- mending: (3) ---- */

static agt_status left_clear(const agt_visit *v, left_all *all, agt_error *err) {
    agt_store *s;
    bool pending = false;
    agt_status st = agt__doctor_lock(v, &s, err);
    if (st != AGT_OK) return st;
    bool settled = s->shared.applied >= s->shared.end;
    if (settled) st = agt__replay_records(s, UINT64_MAX, AGT_REPLAY_LEFT, &pending, err);
    if (st == AGT_OK) st = left_look(s, settled, true, all, err);
    agt__doctor_unlock(s);
    return st;
}

AGT_PRIVATE agt_status agt__doctor_left(agt_visit *v, agt_error *err) {
    left_all all, left;
    agt_status st = left_look(v->parts, true, false, &all, err);
    if (st == AGT_OK && all.count) st = left_alone(v, &all, err);
    if (st != AGT_OK || !all.count) return st;
    memset(&left, 0, sizeof left);
    if (v->o.fix) st = left_clear(v, &left, err);
    if (st != AGT_OK) return st;
    agt_finding *f = agt__findings_add(
        v->found, AGT_SEVERITY_WARNING, "temporary",
        AGT_DOCTOR_FIX ": it clears them, and keeps what may be an edit in .agent-trace/aside",
        "%llu temporary file%s of a process that died lie%s in .agent-trace, the first is %s",
        (unsigned long long)all.count, all.count == 1 ? "" : "s", all.count == 1 ? "s" : "",
        all.first);
    f->mendable = 1;
    f->mended = v->o.fix && !left.count;
    return AGT_OK;
}
