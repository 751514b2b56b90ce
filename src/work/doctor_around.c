/* doctor_around: what a store stands on and in: the file system, the locks, other stores above and
 * below it, and what lies beside its documents.
 *
 * Nothing here is mended: another file system, another store and bytes that may be a person's edit
 * are for people to decide. */
#include "doctor.h"

#define AROUND_NAMES  200000u /* beneath the root, unless all is to be read */
#define AROUND_NESTED 8u      /* stores below that are named */

/* ---- the file system ---- */

/* What the next checkpoint may write: the records of a full journal once as they are and once as a
 * pack, the bytes that wait beside them, and a catalog. */
typedef struct around_room {
    const agt_visit *v;
    agt_fd dir;
    uint64_t bytes;
    const char *only; /* names that begin so */
} around_room;

static int around_add(void *ctx, const char *name) {
    around_room *r = ctx;
    const agt_sys *sys = r->v->parts->sys;
    agt_stat st;
    if (strncmp(name, r->only, strlen(r->only)) == 0 && sys->stat(sys->ctx, r->dir, name, &st) == 0)
        r->bytes += st.size;
    return 0;
}

static uint64_t around_needs(const agt_visit *v) {
    const agt_store *s = v->parts;
    around_room catalog = {v, s->at, 0, "catalog."}, waits = {v, s->unpublished, 0, ""};
    (void)s->sys->list(s->sys->ctx, s->at, around_add, &catalog);
    if (s->unpublished != AGT_FD_NONE)
        (void)s->sys->list(s->sys->ctx, s->unpublished, around_add, &waits);
    return 2ull * AGT_JOURNAL_BYTES + 2 * catalog.bytes + waits.bytes;
}

static void around_place(agt_visit *v, const agt_volume *vol) {
    if (vol->place == AGT_VOLUME_NETWORK)
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_WARNING, "network", "keep the store on a disk of this machine",
            "the store is on a network file system (%s): its locks may not hold between machines",
            vol->kind);
    if (vol->place == AGT_VOLUME_PROGRAM)
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_NOTE, "served", NULL,
            "the store is on a file system that a program serves (%s): what a sync and a lock are "
            "worth is up to it",
            vol->kind);
}

AGT_PRIVATE void agt__doctor_volume(agt_visit *v) {
    agt_volume vol = AGT_VOLUME_INIT;
    const agt_store *s = v->parts;
    bool told = s->sys->volume && s->sys->volume(s->sys->ctx, s->at, &vol) >= 0;
    if (told) around_place(v, &vol);
    int rc = s->sys->may_change(s->sys->ctx, s->at);
    if ((told && vol.read_only) || (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_ACCESS)) {
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_WARNING, "read_only",
            told && vol.read_only ? "mount it for writing, or copy the store to where it can be"
                                  : "give its owner the right to write: 'chmod u+rwx .agent-trace'",
            ".agent-trace %s: the store can be read, and nothing written",
            told && vol.read_only ? "is on a read-only file system" : "cannot be changed by you");
        return;
    }
    uint64_t needs = around_needs(v);
    if (told && vol.free_bytes < needs)
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_WARNING, "space", "make room on it",
            "the file system has %llu KB free; the next checkpoint may need %llu KB",
            (unsigned long long)(vol.free_bytes / 1024), (unsigned long long)(needs / 1024));
}

/* ---- locks ---- */

static void around_leader(agt_visit *v) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    const agt_store *s = v->parts;
    if (agt__lock_holder(s->sys, s->locks, &h, NULL) != AGT_OK || !h.held) return;
    (void)agt__findings_add(
        v->found, AGT_SEVERITY_NOTE, "leader", NULL, "%s, process %lld%s%s, is the poll leader",
        h.program[0] ? h.program : "somebody", (long long)h.pid, h.host[0] ? " on " : "", h.host);
}

/* Can it be locked, whoever has it? Only a look: shared, and gone at once. */
static bool around_lockable(const agt_visit *v, const char *name) {
    const agt_store *s = v->parts;
    agt_fd fd = s->sys->open(s->sys->ctx, s->locks, name, AGT_O_READ, 0);
    if (fd < 0) return true;
    int rc = s->sys->lock(s->sys->ctx, fd, AGT_LOCK_SHARED);
    if (rc == 0) (void)s->sys->lock(s->sys->ctx, fd, AGT_LOCK_UNLOCK);
    s->sys->close(s->sys->ctx, fd);
    return rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS;
}

AGT_PRIVATE void agt__doctor_locks(agt_visit *v) {
    static const char *const names[] = {"store.lock", "publish.lock", "poll.lock"};
    const agt_store *s = v->parts;
    bool lockable = true;
    agt_stat st;
    if (s->locks == AGT_FD_NONE) return;
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        if (s->sys->stat(s->sys->ctx, s->locks, names[i], &st) < 0) continue;
        if (st.links == 1) {
            lockable = lockable && around_lockable(v, names[i]);
            continue;
        }
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_ERROR, "lock",
            "stop all programs that use the store, and remove it: nothing in it counts",
            ".agent-trace/locks/%s is also linked under another name, so nobody can take that lock",
            names[i]);
    }
    if (!lockable)
        (void)agt__findings_add(v->found, AGT_SEVERITY_ERROR, "no_locks",
                                "keep the store on a file system that has locks (flock)",
                                "the file system of .agent-trace has no locks: nothing can be "
                                "written");
    around_leader(v);
}

/* ---- above ---- */

AGT_PRIVATE bool agt__doctor_above(const agt_visit *v, agt_above_fn each, void *ctx) {
    const agt_sys *sys = v->parts->sys;
    char path[4096];
    bool done = false;
    if (sys->path_of(sys->ctx, v->parts->root, path, sizeof path) < 0 &&
        (v->root[0] != '/' || !agt__copy_text(path, sizeof path, v->root, strlen(v->root))))
        return false;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = 0;
    while (!done && n > 1) {
        while (n > 0 && path[n - 1] != '/')
            n--;
        if (n > 1) n--;
        path[n] = 0;
        agt_fd folder = sys->open_root(sys->ctx, path);
        if (folder < 0) break;
        done = each(ctx, folder, path);
        sys->close(sys->ctx, folder);
    }
    return done;
}

static bool around_store_above(void *ctx, agt_fd folder, const char *path) {
    agt_visit *v = ctx;
    if (!agt__store_in(v->parts->sys, folder)) return false;
    (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "nested", NULL,
                            "%.300s is a store, too: what is run in this folder uses this one, "
                            "what is run above it that one",
                            path);
    return true;
}

/* ---- below ---- */

typedef struct around_tree {
    agt_visit *v;
    uint64_t beside;
    char first[200];
} around_tree;

static const char *around_digits(const char *p) {
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* .agent-trace-<seq>.tmp, .old, or .<n>.kept */
static bool around_is_beside(const char *name) {
    static const char begin[] = AGT_STORE_NAME "-";
    if (strncmp(name, begin, sizeof begin - 1) != 0) return false;
    const char *number = name + sizeof begin - 1, *p = around_digits(number);
    if (p == number) return false;
    if (strcmp(p, ".tmp") == 0 || strcmp(p, ".old") == 0) return true;
    return *p == '.' && strcmp(around_digits(p + 1), ".kept") == 0;
}

static bool around_look(void *ctx, agt_fd folder, const char *path, const char *name,
                        const agt_stat *st) {
    around_tree *t = ctx;
    if (strcmp(name, ".git") == 0) return false;
    if (strcmp(name, AGT_STORE_NAME) == 0) {
        size_t n = strlen(path) - strlen(name);
        if (n && st->kind == AGT_FILE_FOLDER && agt__store_in(t->v->parts->sys, folder)) {
            agt__buf_put(&t->v->nested, path, n - 1);
            agt__buf_byte(&t->v->nested, 0);
        }
        return false;
    }
    if (st->kind == AGT_FILE_REGULAR && around_is_beside(name) && !t->beside++)
        (void)agt__show_path(t->first, sizeof t->first, path, strlen(path));
    return true;
}

static agt_status around_below(agt_visit *v, agt_error *err) {
    around_tree t = {v, 0, ""};
    uint64_t names = v->o.deep ? UINT64_MAX : AROUND_NAMES;
    agt_status st = agt__doctor_tree(v, v->parts->root, &names, around_look, &t, err);
    if (st != AGT_OK) return st;
    if (v->nested.failed) return agt__nomem(err);
    if (t.beside)
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_WARNING, "beside",
            "read them and remove them while no program uses the store: one may hold an edit",
            "%llu file%s that a write left or kept beside a document, the first is %s",
            (unsigned long long)t.beside, t.beside == 1 ? "" : "s", t.first);
    if (!names)
        (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "many",
                                "'agent-trace doctor --deep' looks at all",
                                "only the first %u files and folders beneath the root were looked "
                                "at",
                                (unsigned)AROUND_NAMES);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__doctor_around(agt_visit *v, agt_error *err) {
    (void)agt__doctor_above(v, around_store_above, v);
    return around_below(v, err);
}

static agt_status around_documents(agt_store *s, const char *folder, uint64_t *count,
                                   agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    agt_error mine;
    o.under = folder;
    *count = 0;
    agt_status st = agt_list(s, &o, &c, &mine);
    if (st == AGT_INVALID) return AGT_OK; /* no document can be there */
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    while ((st = agt_list_next(c, &d, &mine)) == AGT_OK)
        ++*count;
    agt_cursor_close(c);
    return st == AGT_END ? AGT_OK : agt__answer(st, &mine, err);
}

AGT_PRIVATE agt_status agt__doctor_nested(agt_visit *v, agt_store *s, agt_error *err) {
    uint64_t both, found = 0;
    char shown[200];
    for (size_t at = 0; at < v->nested.len;) {
        const char *path = (const char *)v->nested.data + at;
        size_t n = strlen(path);
        agt_status st = around_documents(s, path, &both, err);
        if (st != AGT_OK) return st;
        at += n + 1;
        if (++found > AROUND_NESTED && !both) continue;
        (void)agt__show_path(shown, sizeof shown, path, n);
        if (both)
            (void)agt__findings_add(
                v->found, AGT_SEVERITY_WARNING, "nested",
                "'agent-trace untrack' them here, or move that .agent-trace away",
                "%s is a store of its own, and %llu document%s of this one lie%s in it: what is "
                "written there is not in this history",
                shown, (unsigned long long)both, both == 1 ? "" : "s", both == 1 ? "s" : "");
        else
            (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "nested", NULL,
                                    "%s is a store of its own; this one leaves it out", shown);
    }
    if (found > AROUND_NESTED)
        (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "nested", NULL,
                                "there are %llu stores below this one", (unsigned long long)found);
    return AGT_OK;
}
