/* upgrade: the public call: locks, order, result. See upgrade.h. */
#include "upgrade.h"

#include "../lock/sentinel.h"

#define UPGRADE_PID_MAX 64u

/* ---- opening ---- */

static agt_status upgrade_open(agt_upgrading *u, const char *root, agt_error *err) {
    const agt_sys *sys = u->sys;
    u->root = sys->open_root(sys->ctx, root);
    if (u->root < 0) {
        int rc = (int)u->root;
        u->root = AGT_FD_NONE;
        return agt__fail_sys(err, rc, "cannot open the folder %.200s", root);
    }
    agt_status st = agt__open_folder(sys, u->root, AGT_STORE_NAME, false, &u->at, err);
    if (st != AGT_NOT_FOUND) return st;
    return agt__fail(err, AGT_NOT_FOUND, "no agent-trace store in %.200s", root);
}

static void upgrade_close(agt_upgrading *u) {
    agt_fd fds[] = {u->build, u->locks, u->at, u->root};
    if (u->poll.sys) agt__flock_close(&u->poll);
    if (u->store.sys) agt__flock_close(&u->store);
    agt__image_free(&u->image);
    if (u->old.sys) agt__old_free(&u->old);
    agt__buf_free(&u->report);
    for (size_t i = 0; i < AGT_COUNT(fds); i++)
        if (fds[i] != AGT_FD_NONE) u->sys->close(u->sys->ctx, fds[i]);
}

/* ---- (3): who is at work ---- */

/* instance.lock names the process of an open terminal interface. Where nobody can tell whether it
 * lives, it is taken to. */
static agt_status upgrade_instance(agt_upgrading *u, agt_error *err) {
    char proc[UPGRADE_PID_MAX + 8] = "/proc/";
    const agt_sys *sys = u->sys;
    agt_buf b = agt__buf(&u->mem);
    size_t n = 0;
    if (agt__read_file(sys, u->locks, "instance.lock", UPGRADE_PID_MAX, &b, NULL) == AGT_OK)
        while (n < b.len && b.data[n] >= '0' && b.data[n] <= '9')
            n++;
    if (n) memcpy(proc + 6, b.data, n);
    agt__buf_free(&b);
    if (!n) return AGT_OK;
    proc[6 + n] = 0;
    agt_fd lives = sys->open_root(sys->ctx, proc), tells = sys->open_root(sys->ctx, "/proc/self");
    if (lives >= 0) sys->close(sys->ctx, lives);
    if (tells >= 0) sys->close(sys->ctx, tells);
    if (lives < 0 && tells >= 0) return AGT_OK; /* it is dead */
    return agt__fail(err, AGT_BUSY,
                     "agent-trace 0.1.0 is open in this store (process %s); end it, or, if it is "
                     "dead, remove .agent-trace/locks/instance.lock",
                     proc + 6);
}

/* Does somebody lead by the other kind of poll lock? Under ours: see poll_lock.c (6). */
static agt_status upgrade_sentinel(agt_upgrading *u, agt_error *err) {
    agt_sentinel other;
    agt__sentinel_init(&other, u->sys, u->locks, NULL);
    return agt__sentinel_none(&other, err);
}

static agt_status upgrade_lock(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__open_folder(u->sys, u->at, "locks", true, &u->locks, err);
    if (st != AGT_OK) return st;
    agt__flock_init(&u->poll, u->sys, u->locks, "poll.lock");
    agt__flock_init(&u->store, u->sys, u->locks, "store.lock");
    st = agt__flock_take(&u->store, AGT_TRY, err);
    if (st == AGT_BUSY)
        return agt__fail(err, AGT_BUSY,
                         "somebody else upgrades this store, or writes to it; try "
                         "again");
    if (st == AGT_OK) st = agt__flock_take(&u->poll, AGT_TRY, err);
    if (st == AGT_BUSY)
        return agt__fail(err, AGT_BUSY,
                         "a process of agent-trace leads this store (.agent-trace/locks/poll.lock "
                         "names it); end it and try again");
    if (st == AGT_OK) st = upgrade_sentinel(u, err);
    return st == AGT_OK ? upgrade_instance(u, err) : st;
}

/* ---- what happens ---- */

/* Did somebody commit while we were at it? */
static agt_status upgrade_still(agt_upgrading *u, agt_error *err) {
    agt_oid now = {{0}};
    uint64_t skipped = 0;
    size_t last = u->old.commits.count - 1;
    agt_status st = agt__old_head(&u->old, &now, &skipped, err);
    if (st != AGT_OK) return st;
    if (memcmp(&now, &AGT_OLD_ITEM(&u->old.commits, agt_old_commit, last)->id, sizeof now) == 0)
        return AGT_OK;
    return agt__fail(err, AGT_BUSY,
                     "agent-trace 0.1.0 wrote to the store meanwhile; end it and try again");
}

static agt_status upgrade_read(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__old_read(&u->old, u->sys, u->at, &u->mem, err);
    return st == AGT_OK ? agt__image_make(&u->image, &u->old, err) : st;
}

static agt_status upgrade_old(agt_upgrading *u, bool dry_run, agt_error *err) {
    agt_status st = AGT_OK;
    if (!dry_run) st = upgrade_lock(u, err);
    if (st == AGT_OK && !dry_run) st = agt__upgrade_begin_anew(u, err);
    if (st == AGT_OK) st = upgrade_read(u, err);
    if (st != AGT_OK || dry_run) return st;
    st = agt__upgrade_build(u, err);
    if (st == AGT_OK) st = upgrade_still(u, err);
    if (st != AGT_OK) {
        if (u->build != AGT_FD_NONE) (void)agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, NULL);
        return st;
    }
    st = agt__upgrade_commit(u, err);
    return st == AGT_OK ? agt__upgrade_finish(u, err) : st;
}

/* A store of ours: an upgrade may have been stopped behind its commit. */
static agt_status upgrade_ours(agt_upgrading *u, bool dry_run, agt_error *err) {
    agt_stat st;
    if (dry_run || u->sys->stat(u->sys->ctx, u->at, AGT_UPGRADE_FOLDER, &st) < 0) return AGT_OK;
    agt_status status = upgrade_lock(u, err);
    return status == AGT_OK ? agt__upgrade_finish(u, err) : status;
}

static void upgrade_result(const agt_upgrading *u, bool ours, agt_upgrade_result *out) {
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    r.already = ours;
    r.commits = u->old.commits.count;
    r.events = ours ? 0 : u->image.next_seq - 1;
    r.versions = u->image.versions;
    r.documents = (uint64_t)u->image.catalog.live;
    r.versions_lost = u->image.blobs_lost;
    r.git_link_moved = u->link_gone;
    r.report = out->report;
    r.size = out->size;
    memcpy(out, &r, out->size < sizeof r ? out->size : sizeof r);
}

static agt_status upgrade_run(agt_upgrading *u, const char *root, bool dry_run,
                              agt_upgrade_result *result, agt_error *err) {
    agt_config config;
    agt_error mine;
    bool old = false;
    mine.status = AGT_OK;
    agt_status st = upgrade_open(u, root, err);
    if (st != AGT_OK) return st;
    st = agt__store_is_old(u->sys, u->at, &u->mem, &old, err);
    if (st != AGT_OK) return st;
    if (!old) {
        st = agt__config_read(u->sys, u->at, &u->mem, &config, &mine);
        if (st == AGT_OK) st = upgrade_ours(u, dry_run, &mine);
        (void)agt__answer(st, &mine, err);
    } else {
        st = upgrade_old(u, dry_run, err);
        if (st == AGT_OK) st = agt__upgrade_report(u, err);
    }
    if (st != AGT_OK || !result) return st;
    memset(&result->report, 0, sizeof result->report);
    st = agt__buf_give(&u->report, &result->report, err);
    if (st == AGT_OK) upgrade_result(u, !old, result);
    return st;
}

AGENT_TRACE_API agt_status agt_upgrade(const char *root, const agt_upgrade_options *opts,
                                       agt_upgrade_result *result, agt_error *err) {
    agt_upgrade_options o;
    agt_upgrade_result known;
    agt_upgrading u;
    AGENT_TRACE_ASSERT(root);
    agt_status st = agt__options(&o, sizeof o, opts, "agt_upgrade_options", err);
    if (st == AGT_OK && result)
        st = agt__options(&known, sizeof known, result, "agt_upgrade_result", err);
    if (st == AGT_OK && result && result->size < sizeof known)
        st = agt__fail(err, AGT_INVALID, "agt_upgrade_result is shorter than it ever was");
    if (st == AGT_OK && o.dry_run > 1)
        st = agt__fail(err, AGT_INVALID, "an upgrade option has a value that is none");
    if (st != AGT_OK) return st;
    memset(&u, 0, sizeof u);
    u.mem = agt__mem(o.allocator);
    u.sys = agt__sys_or_os(o.sys);
    u.root = u.at = u.locks = u.build = AGT_FD_NONE;
    u.report = agt__buf(&u.mem);
    st = upgrade_run(&u, root, o.dry_run != 0, result, err);
    upgrade_close(&u);
    return st;
}
