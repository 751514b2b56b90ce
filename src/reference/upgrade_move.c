/* upgrade_move: from .agent-trace/upgrade to .agent-trace, and the old parts to
 * .agent-trace/backup-0.1.0. See upgrade.h for the order and why. */
#include "upgrade.h"

#define MOVE_LINK_MAX 8192u

static agt_status move_sync(agt_upgrading *u, agt_fd dir, agt_error *err) {
    int rc = u->sys->sync(u->sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync a folder of the store") : AGT_OK;
}

static int move_missing(int rc) {
    return rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT;
}

/* 1, 0 or an AGT_SYS_ERR. */
static int move_has(const agt_upgrading *u, agt_fd dir, const char *name) {
    agt_stat st;
    int rc = u->sys->stat(u->sys->ctx, dir, name, &st);
    return rc >= 0 ? 1 : move_missing(rc) ? 0 : rc;
}

/* ---- removing ---- */

typedef struct move_names {
    agt_buf names; /* each with its NUL */
} move_names;

static int move_name(void *ctx, const char *name) {
    move_names *n = ctx;
    agt__buf_put(&n->names, name, strlen(name) + 1);
    return n->names.failed;
}

static agt_status move_remove_inside(agt_upgrading *u, agt_fd fd, agt_error *err) {
    move_names n = {agt__buf(&u->mem)};
    int rc = u->sys->list(u->sys->ctx, fd, move_name, &n);
    agt_status st = n.names.failed ? agt__nomem(err)
                    : rc < 0       ? agt__fail_io(err, rc, "cannot list a folder of the store")
                                   : AGT_OK;
    for (size_t at = 0; st == AGT_OK && at < n.names.len;) {
        const char *name = (const char *)n.names.data + at;
        at += strlen(name) + 1;
        st = agt__upgrade_remove(u, fd, name, err);
    }
    agt__buf_free(&n.names);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_remove(agt_upgrading *u, agt_fd dir, const char *name,
                                           agt_error *err) {
    agt_stat st;
    const agt_sys *sys = u->sys;
    int rc = sys->stat(sys->ctx, dir, name, &st);
    if (move_missing(rc)) return AGT_OK;
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %.100s", name);
    if (st.kind == AGT_FILE_FOLDER) {
        agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | AGT_O_FOLDER, 0);
        if (fd < 0) return agt__fail_io(err, fd, "cannot open the folder %.100s", name);
        agt_status status = move_remove_inside(u, fd, err);
        sys->close(sys->ctx, fd);
        if (status != AGT_OK) return status;
        rc = sys->remove_folder(sys->ctx, dir, name);
    } else {
        rc = sys->remove(sys->ctx, dir, name);
    }
    return rc < 0 ? agt__fail_io(err, rc, "cannot remove %.100s", name) : AGT_OK;
}

/* ---- beginning ---- */

/* What moves up, in this order; the catalog's name is that of its generation. */
static const char *const move_parts[] = {"git", "trace", "catalog.2", "journal"};

AGT_PRIVATE agt_status agt__upgrade_begin_anew(agt_upgrading *u, agt_error *err) {
    int moving = 0;
    agt_fd fd = u->sys->open(u->sys->ctx, u->at, AGT_UPGRADE_FOLDER, AGT_O_READ | AGT_O_FOLDER, 0);
    if (fd >= 0) {
        moving = move_has(u, fd, AGT_UPGRADE_MOVING);
        u->sys->close(u->sys->ctx, fd);
    }
    if (moving < 0) return agt__fail_io(err, moving, "cannot look into .agent-trace/upgrade");
    for (size_t i = 0; i < AGT_COUNT(move_parts); i++) {
        int there = move_has(u, u->at, move_parts[i]);
        if (there < 0) return agt__fail_io(err, there, "cannot look into .agent-trace");
        if (there && !moving)
            return agt__fail(err, AGT_CORRUPT,
                             ".agent-trace/%s is no part of a store of agent-trace 0.1.0, but "
                             "config.toml says that this is one; put the right config.toml back, "
                             "or move the other away",
                             move_parts[i]);
    }
    agt_status st = AGT_OK;
    for (size_t i = 0; moving && st == AGT_OK && i < AGT_COUNT(move_parts); i++)
        st = agt__upgrade_remove(u, u->at, move_parts[i], err);
    if (moving && st == AGT_OK) st = move_sync(u, u->at, err); /* before the word of them goes */
    if (st == AGT_OK) st = agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, err);
    return st == AGT_OK ? move_sync(u, u->at, err) : st;
}

/* ---- the commit ---- */

static agt_status move_up(agt_upgrading *u, agt_fd from, agt_fd to, const char *name,
                          agt_error *err) {
    int rc = u->sys->rename(u->sys->ctx, from, name, to, name, AGT_RENAME_REPLACE);
    return rc < 0 ? agt__fail_io(err, rc, "cannot move .agent-trace/upgrade/%s up", name) : AGT_OK;
}

/* Refused bytes go beside the old ones: their names are hashes. */
static agt_status move_rejected(agt_upgrading *u, agt_error *err) {
    agt_fd from, to;
    agt_status st = agt__open_folder(u->sys, u->build, "rejected", true, &from, err);
    if (st != AGT_OK) return st;
    st = agt__open_folder(u->sys, u->at, "rejected", true, &to, err);
    for (size_t i = 0; st == AGT_OK && i < u->image.refused.count; i++)
        st = move_up(u, from, to, AGT_OLD_ITEM(&u->image.refused, agt_image_refused, i)->name, err);
    if (st == AGT_OK) st = move_sync(u, to, err);
    if (to != AGT_FD_NONE) u->sys->close(u->sys->ctx, to);
    u->sys->close(u->sys->ctx, from);
    return st;
}

static agt_status move_backup(agt_upgrading *u, agt_fd *out, agt_error *err) {
    return agt__open_folder(u->sys, u->at, AGT_UPGRADE_BACKUP, true, out, err);
}

/* The old config.toml is copied: the commit replaces it. */
static agt_status move_config(agt_upgrading *u, agt_error *err) {
    agt_fd backup;
    agt_error mine;
    agt_buf b = agt__buf(&u->mem);
    agt_status st = agt__read_file(u->sys, u->at, "config.toml", MOVE_LINK_MAX * 8, &b, &mine);
    bool lost = st == AGT_NOT_FOUND;
    if (st != AGT_OK && !lost) st = agt__answer(st, &mine, err);
    if (st == AGT_OK || lost) st = move_backup(u, &backup, err);
    if (st == AGT_OK) {
        if (!lost) st = agt__write_file(u->sys, backup, "config.toml", b.data, b.len, true, err);
        u->sys->close(u->sys->ctx, backup);
    }
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_commit(agt_upgrading *u, agt_error *err) {
    agt_status st = move_config(u, err);
    if (st == AGT_OK) st = agt__write_file(u->sys, u->build, AGT_UPGRADE_MOVING, "", 0, true, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    for (size_t i = 0; st == AGT_OK && i < AGT_COUNT(move_parts); i++)
        st = move_up(u, u->build, u->at, move_parts[i], err);
    if (st == AGT_OK) st = move_rejected(u, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    if (st == AGT_OK) st = move_up(u, u->build, u->at, "config.toml", err);
    if (st != AGT_OK) return st;
    st = move_sync(u, u->at, err);
    if (st != AGT_OK && err) err->outcome_unknown = 1;
    return st;
}

/* ---- clearing away ---- */

/* Moves a part of the old store to the backup; what is there already stays, and so does this. */
static agt_status move_away(agt_upgrading *u, agt_fd from, agt_fd backup, const char *name,
                            agt_error *err) {
    int there = move_has(u, from, name), taken = there > 0 ? move_has(u, backup, name) : 0;
    if (there <= 0 || taken > 0)
        return there < 0 ? agt__fail_io(err, there, "cannot look at .agent-trace/%s", name)
                         : AGT_OK;
    int rc = u->sys->rename(u->sys->ctx, from, name, backup, name, AGT_RENAME_REPLACE);
    if (rc >= 0 || move_missing(rc)) return AGT_OK;
    return agt__fail_io(err, rc, "cannot move .agent-trace/%s to the backup", name);
}

static int move_is_rejected(void *ctx, const char *name) {
    size_t n = strlen(name);
    return n > 9 && strcmp(name + n - 9, ".rejected") == 0 ? move_name(ctx, name) : 0;
}

static agt_status move_old_rejected(agt_upgrading *u, agt_fd backup, agt_error *err) {
    agt_fd to, from = u->sys->open(u->sys->ctx, u->at, "rejected", AGT_O_READ | AGT_O_FOLDER, 0);
    move_names n = {agt__buf(&u->mem)};
    if (move_missing((int)from)) return AGT_OK;
    if (from < 0) return agt__fail_io(err, from, "cannot open .agent-trace/rejected");
    int rc = u->sys->list(u->sys->ctx, from, move_is_rejected, &n);
    agt_status st = rc < 0 ? agt__fail_io(err, rc, "cannot list .agent-trace/rejected") : AGT_OK;
    if (n.names.failed) st = agt__nomem(err);
    if (st == AGT_OK && n.names.len) {
        st = agt__open_folder(u->sys, backup, "rejected", true, &to, err);
        for (size_t at = 0; st == AGT_OK && at < n.names.len;) {
            const char *name = (const char *)n.names.data + at;
            at += strlen(name) + 1;
            st = move_away(u, from, to, name, err);
        }
        if (to != AGT_FD_NONE) u->sys->close(u->sys->ctx, to);
    }
    u->sys->close(u->sys->ctx, from);
    agt__buf_free(&n.names);
    return st;
}

/* Reads a small file for a look; what is not there, or is no file, is empty. */
static agt_status move_read(agt_upgrading *u, agt_fd dir, const char *name, agt_buf *out,
                            agt_error *err) {
    agt_error mine;
    agt_status st = agt__read_file(u->sys, dir, name, MOVE_LINK_MAX * 8, out, &mine);
    return st == AGT_IO || st == AGT_NOMEM ? agt__answer(st, &mine, err) : AGT_OK;
}

/* The value of "worktree = " in a configuration of git's, without a slash at its end. */
static void move_worktree_of(const agt_buf *b, char *out, size_t size) {
    const char *p = (const char *)b->data, *end = p ? p + b->len : p, *line_end;
    for (; p && p < end; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        while (p < line_end && (*p == ' ' || *p == '\t'))
            p++;
        if (line_end - p <= 11 || memcmp(p, "worktree = ", 11) != 0) continue;
        size_t n = (size_t)(line_end - p) - 11;
        while (n > 1 && p[10 + n] == '/')
            n--;
        (void)agt__copy_text(out, size, p + 11, n);
    }
}

/* The work tree that the old repository names: where the store was made; "" if none. */
static agt_status move_worktree(agt_upgrading *u, agt_fd backup, char *out, size_t size,
                                agt_error *err) {
    agt_buf b = agt__buf(&u->mem);
    out[0] = 0;
    agt_fd fd = u->sys->walk(u->sys->ctx, backup, "repo/.git");
    if (move_missing((int)fd)) return AGT_OK;
    if (fd < 0) return agt__fail_io(err, fd, "cannot open the old repository");
    agt_status st = move_read(u, fd, "config", &b, err);
    if (st == AGT_OK) move_worktree_of(&b, out, size);
    u->sys->close(u->sys->ctx, fd);
    agt__buf_free(&b);
    return st;
}

/* Is the text "gitdir: <root>/.agent-trace/repo/.git/"? */
static bool move_leads_to(agt_text link, const char *root) {
    static const char first[] = "gitdir: ", last[] = "/.agent-trace/repo/.git";
    size_t n = strlen(root), a = sizeof first - 1, z = sizeof last - 1;
    while (n && root[n - 1] == '/')
        n--;
    return link.len == a + n + z && memcmp(link.data, first, a) == 0 &&
           memcmp(link.data + a, root, n) == 0 && memcmp(link.data + a + n, last, z) == 0;
}

/* Does the root's .git, whose text is `link`, lead to the repository that goes? */
static agt_status move_is_ours(agt_upgrading *u, agt_fd backup, agt_text link, bool *ours,
                               agt_error *err) {
    char here[4096], made[4096];
    int rc = u->sys->path_of(u->sys->ctx, u->root, here, sizeof here);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS)
        return agt__fail_io(err, rc, "cannot tell where the store is");
    agt_status st = move_worktree(u, backup, made, sizeof made, err);
    *ours = (rc >= 0 && move_leads_to(link, here)) || (made[0] && move_leads_to(link, made));
    return st;
}

/* The root's .git goes with the repository that it leads to, here or where the store was made; any
 * other one is somebody's. */
static agt_status move_link(agt_upgrading *u, agt_fd backup, agt_error *err) {
    static const char tail[] = "/.agent-trace/repo/.git";
    bool ours = false;
    agt_buf b = agt__buf(&u->mem);
    agt_status st = move_read(u, u->root, ".git", &b, err);
    size_t n = b.len, z = sizeof tail - 1;
    while (n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r' || b.data[n - 1] == '/'))
        n--;
    agt_text link = {(const char *)b.data, n};
    if (st == AGT_OK && n) st = move_is_ours(u, backup, link, &ours, err);
    u->link_left = !ours && n > z && memcmp(link.data + n - z, tail, z) == 0;
    agt__buf_free(&b);
    if (st != AGT_OK || !ours) return st;
    int rc = u->sys->rename(u->sys->ctx, u->root, ".git", backup, "gitlink", AGT_RENAME_REPLACE);
    if (rc < 0) return agt__fail_io(err, rc, "cannot move the root's .git away");
    u->link_gone = true;
    return move_sync(u, u->root, err);
}

/* ---- closing it to others ---- */

/* agent-trace 0.1.0 left all of it open to others, and to a git around it. Reading what is in git
 * and in the backup is theirs to say, because .agent-trace lets nobody in. */
static uint32_t move_closed(const agt_stat *st, bool theirs) {
    uint32_t least = st->kind == AGT_FILE_FOLDER ? 0700u : theirs ? 0400u : 0600u;
    return (st->mode & ~(theirs ? 022u : 077u)) | least;
}

static agt_status move_close_inside(agt_upgrading *u, agt_fd dir, bool theirs, agt_error *err);

/* What cannot be closed is left to the doctor, who tells. */
static agt_status move_close(agt_upgrading *u, agt_fd dir, const char *name, bool theirs,
                             agt_error *err) {
    agt_stat st;
    const agt_sys *sys = u->sys;
    if (sys->stat(sys->ctx, dir, name, &st) < 0) return AGT_OK;
    bool is_folder = st.kind == AGT_FILE_FOLDER;
    if (!is_folder && (st.kind != AGT_FILE_REGULAR || move_closed(&st, theirs) == st.mode))
        return AGT_OK;
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | (is_folder ? AGT_O_FOLDER : 0u), 0);
    if (fd < 0) return AGT_OK;
    if (move_closed(&st, theirs) != st.mode)
        (void)sys->set_mode(sys->ctx, fd, move_closed(&st, theirs));
    bool inside = theirs || (dir == u->at &&
                             (strcmp(name, AGT_UPGRADE_BACKUP) == 0 || strcmp(name, "git") == 0));
    agt_status status = is_folder ? move_close_inside(u, fd, inside, err) : AGT_OK;
    sys->close(sys->ctx, fd);
    return status;
}

static agt_status move_close_inside(agt_upgrading *u, agt_fd dir, bool theirs, agt_error *err) {
    move_names n = {agt__buf(&u->mem)};
    (void)u->sys->list(u->sys->ctx, dir, move_name, &n);
    agt_status st = n.names.failed ? agt__nomem(err) : AGT_OK;
    for (size_t at = 0; st == AGT_OK && at < n.names.len;) {
        const char *name = (const char *)n.names.data + at;
        at += strlen(name) + 1;
        st = move_close(u, dir, name, theirs, err);
    }
    agt__buf_free(&n.names);
    return st;
}

/* As a new store is: hidden from a git around it, before that sees it because the root's .git goes,
 * and open to its owner alone. */
static agt_status move_private(agt_upgrading *u, agt_error *err) {
    agt_stat st;
    if (u->sys->fstat(u->sys->ctx, u->at, &st) == 0 && (st.mode & 077u))
        (void)u->sys->set_mode(u->sys->ctx, u->at, st.mode & 0700u);
    agt_status status = agt__hide_folder(u->sys, u->at, err);
    return status == AGT_OK ? move_close_inside(u, u->at, false, err) : status;
}

AGT_PRIVATE agt_status agt__upgrade_finish(agt_upgrading *u, agt_error *err) {
    static const char *const parts[] = {"manifest.toml",      ".manifest.toml.tmp",
                                        "overrides.toml",     "summary_events.jsonl",
                                        "summary_state.toml", "repo"};
    agt_fd backup;
    agt_status st = move_private(u, err);
    if (st == AGT_OK) st = move_backup(u, &backup, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; st == AGT_OK && i < AGT_COUNT(parts); i++)
        st = move_away(u, u->at, backup, parts[i], err);
    if (st == AGT_OK) st = move_away(u, u->locks, backup, "agent-lock.toml", err);
    if (st == AGT_OK) st = move_away(u, u->locks, backup, "instance.lock", err);
    if (st == AGT_OK) st = move_old_rejected(u, backup, err);
    if (st == AGT_OK) st = move_link(u, backup, err);
    if (st == AGT_OK) st = move_sync(u, backup, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    u->sys->close(u->sys->ctx, backup);
    if (st == AGT_OK) st = agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, err);
    return st == AGT_OK ? move_sync(u, u->at, err) : st;
}
