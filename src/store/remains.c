/* remains: is a folder .agent-trace a store, none yet, or one that has lost its config.toml?
 *
 * (1) config.toml is written last and makes the folder a store, so a folder without one is mostly
 *     what a process that died while it made a store left. That one may be made anew: it holds
 *     nothing.
 * (2) A folder that holds what only a store can have was a store. Making it anew would take the
 *     only copy of what is in its journal; going past it would write into another store.
 * (3) What cannot be looked at is an error, never a no.
 * (4) No store is made in a .git: its documents would be git's settings and hooks, so that whoever
 *     may write a document could have a program run. */
#include "store.h"

/* Does this name say that there was a store? The ctx is a remains_folder. */
typedef int (*remains_fn)(void *ctx, const char *name);

typedef struct remains_folder {
    const agt_sys *sys;
    agt_fd fd;
} remains_folder;

static int remains_catalog(void *ctx, const char *name) {
    (void)ctx;
    return strncmp(name, "catalog.", 8) == 0;
}

static int remains_segment(void *ctx, const char *name) {
    const remains_folder *f = ctx;
    uint64_t first;
    agt_stat st;
    if (!agt__segment_parse(name, &first)) return 0;
    return f->sys->stat(f->sys->ctx, f->fd, name, &st) < 0 || st.size > 0;
}

static int remains_packed(void *ctx, const char *name) {
    (void)ctx;
    return strcmp(name, "packed-refs") == 0;
}

static int remains_any(void *ctx, const char *name) {
    (void)ctx, (void)name;
    return 1;
}

/* 1 yes, 0 no, or an AGT_SYS_ERR. */
static int remains_in(const agt_sys *sys, agt_fd at, const char *folder, remains_fn tells) {
    remains_folder f = {sys, agt__walk_folder(sys, at, folder, false)};
    int cls = f.fd < 0 ? AGT_SYS_CLASS(f.fd) : 0;
    if (cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP) return 0;
    if (f.fd < 0) return (int)f.fd;
    int rc = sys->list(sys->ctx, f.fd, tells, &f);
    sys->close(sys->ctx, f.fd);
    return rc;
}

/* Is there a journal that is not as it was made: one header, and zeros behind it? One that cannot
 * be read as a journal may hold anything. */
static agt_status remains_journal(const agt_sys *sys, agt_fd at, bool *found, agt_error *err) {
    agt_journal j;
    unsigned char record[64];
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__journal_open(&j, sys, at, agt__cpu(), false, &mine);
    *found = st != AGT_NOT_FOUND;
    if (st == AGT_IO || st == AGT_NOMEM || st == AGT_BUSY) return agt__answer(st, &mine, err);
    if (st != AGT_OK) return AGT_OK;
    *found = j.header.generation > 1 || j.header.next_seq > 1;
    int64_t n = agt__read_all(sys, j.fd, record, sizeof record, AGT_JOURNAL_START);
    agt__journal_close(&j);
    if (n < 0) return agt__fail_io(err, n, "cannot read a journal record");
    for (int64_t i = 0; i < n; i++)
        if (record[i]) *found = true;
    return AGT_OK;
}

static agt_status remains_look(const agt_sys *sys, agt_fd at, bool *found, agt_error *err) {
    static const struct {
        const char *folder;
        remains_fn tells;
    } places[] = {{"", remains_catalog},
                  {"trace", remains_segment},
                  {"unpublished", remains_any},
                  {"git", remains_packed},
                  {"git/refs/heads", remains_any}};
    agt_status st = remains_journal(sys, at, found, err);
    for (size_t i = 0; st == AGT_OK && !*found && i < AGT_COUNT(places); i++) {
        int rc = remains_in(sys, at, places[i].folder, places[i].tells);
        if (rc < 0)
            st = agt__fail_io(err, rc, "cannot look into .agent-trace/%s", places[i].folder);
        *found = rc > 0;
    }
    return st;
}

static int remains_name(const agt_sys *sys, agt_fd at, const char *name, bool *there) {
    agt_stat st;
    int rc = sys->stat(sys->ctx, at, name, &st);
    *there = rc >= 0;
    return rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
}

/* A store of agent-trace 0.1.0 tells who it is in its manifest, too. */
static agt_status remains_config(const agt_sys *sys, agt_fd at, bool *there, agt_error *err) {
    bool repo = false;
    int rc = remains_name(sys, at, "config.toml", there);
    if (rc == 0 && !*there) rc = remains_name(sys, at, "repo", &repo);
    if (rc == 0 && repo) rc = remains_name(sys, at, "manifest.toml", there);
    return rc < 0 ? agt__fail_io(err, rc, "cannot look at .agent-trace/config.toml") : AGT_OK;
}

AGT_PRIVATE agt_status agt__store_there(const agt_sys *sys, agt_fd at, const char *root,
                                        bool *there, agt_error *err) {
    bool found = false;
    agt_status st = remains_config(sys, at, there, err);
    if (st == AGT_OK && !*there) st = remains_look(sys, at, &found, err);
    if (st != AGT_OK || !found) return st;
    /* somebody may have made it meanwhile; then config.toml was there before all that was found */
    st = remains_config(sys, at, there, err);
    if (st != AGT_OK || *there) return st;
    return agt__fail(err, AGT_CORRUPT,
                     "the store in %.200s has lost its .agent-trace/config.toml; run "
                     "'agent-trace repair', or move .agent-trace away to begin anew",
                     root);
}

AGT_PRIVATE bool agt__store_in(const agt_sys *sys, agt_fd folder) {
    bool there = false;
    agt_fd at = sys->open(sys->ctx, folder, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    if (at < 0) return false;
    agt_status st = agt__store_there(sys, at, AGT_STORE_NAME, &there, NULL);
    sys->close(sys->ctx, at);
    return there || st == AGT_CORRUPT;
}

AGT_PRIVATE agt_status agt__store_below(const agt_store *s, const char *path, size_t len,
                                        agt_error *err) {
    char folder[AGT_MAX_PATH + 1], shown[200], theirs[200];
    for (size_t i = 1; i < len; i++) {
        if (path[i] != '/') continue;
        memcpy(folder, path, i);
        folder[i] = 0;
        agt_fd fd = s->sys->walk(s->sys->ctx, s->root, folder);
        if (fd < 0) return AGT_OK; /* what is not there yet, or cannot be reached, has none */
        bool found = agt__store_in(s->sys, fd);
        s->sys->close(s->sys->ctx, fd);
        if (!found) continue;
        return agt__fail(err, AGT_INVALID,
                         "%s belongs to the store in %s, which has rules of its own; use that one",
                         agt__show_path(shown, sizeof shown, path, len),
                         agt__show_path(theirs, sizeof theirs, path, i));
    }
    return AGT_OK;
}

/* ---- where none may be made: (4) ---- */

AGT_PRIVATE agt_status agt__store_may_be_made(const agt_sys *sys, agt_fd folder, const char *given,
                                              const char *leaf, agt_error *err) {
    char path[4096 + 256];
    size_t n = 0;
    int rc = sys->path_of(sys->ctx, folder, path, 4096);
    if (rc == 0) n = strlen(path);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS)
        return agt__fail_io(err, rc, "cannot tell where the folder %.200s lies", given);
    path[n] = '/';
    (void)agt__copy_text(path + n + 1, sizeof path - n - 1, leaf, strlen(leaf));
    bool in_git = agt__path_in_git(path, strlen(path));
    if (rc < 0) in_git = in_git || agt__path_in_git(given, strlen(given));
    if (!in_git) return AGT_OK;
    return agt__fail(err, AGT_INVALID,
                     "no store is made in %.200s: it is, or lies in, a .git, or what some system "
                     "takes for one, and git runs programs that files in there name; make it in "
                     "another folder",
                     given);
}

/* ---- stores of agent-trace 0.1.0 ---- */

/* 1, 0 or an AGT_SYS_ERR. */
static int remains_has(const agt_sys *sys, agt_fd dir, const char *name, uint32_t kind) {
    agt_stat st;
    int rc = sys->stat(sys->ctx, dir, name, &st);
    if (rc >= 0) return st.kind == kind;
    int cls = AGT_SYS_CLASS(rc);
    return cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP ? 0 : rc;
}

AGT_PRIVATE agt_status agt__store_is_old(const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                         bool *is, agt_error *err) {
    agt_config config;
    agt_error mine;
    *is = false;
    agt_status st = agt__config_read(sys, at, mem, &config, &mine);
    if (st == AGT_IO || st == AGT_NOMEM) return agt__answer(st, &mine, err);
    if (st == AGT_OK || (st == AGT_UNSUPPORTED && config.format != 0)) return AGT_OK;
    int repo = remains_has(sys, at, "repo", AGT_FILE_FOLDER);
    int journal = repo > 0 ? remains_has(sys, at, "journal", AGT_FILE_REGULAR) : 0;
    if (repo < 0 || journal < 0)
        return agt__fail_io(err, repo < 0 ? repo : journal, "cannot look into .agent-trace");
    /* an upgrade that was stopped before its commit may have put a journal there */
    int upgrade = journal > 0 ? remains_has(sys, at, "upgrade", AGT_FILE_FOLDER) : 0;
    *is = repo && (st == AGT_UNSUPPORTED || !journal || upgrade > 0);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_not_old(const agt_store *s, agt_error *err) {
    bool old;
    agt_status st = agt__store_is_old(s->sys, s->at, &s->mem, &old, err);
    if (st != AGT_OK || !old) return st;
    return agt__fail(err, AGT_UNSUPPORTED,
                     "this store was made by agent-trace 0.1.0; run 'agent-trace upgrade' first");
}
