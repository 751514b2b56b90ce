/* doctor_files: what lies in .agent-trace and is not as FORMAT.md says.
 *
 * (1) Nobody but the owner may read or write what is in it: there are all versions, and refused
 *     bytes. In git/ and in what other programs made (what was damaged, an old store's parts)
 *     reading is theirs to say, because .agent-trace itself lets nobody in; writing is not.
 * (2) What is in it belongs to whom it belongs to itself: the owner cannot open what root made
 *     there, and cannot mend it. Nothing that has a second name is given away, because that name
 *     may lie elsewhere.
 * (3) What --fix changes here can be told without a guess: a mode, an owner, a missing .gitignore,
 *     refused bytes above the limit, and refused bytes that are others than their name says, which
 *     are kept in damaged/. */
#include "doctor.h"

/* ---- walking ---- */

typedef struct files_walk {
    const agt_visit *v;
    agt_buf queue, names, path;
    uint64_t *left;
    agt_visit_fn each;
    void *ctx;
} files_walk;

static int files_collect(void *ctx, const char *name) {
    files_walk *w = ctx;
    if (!*w->left) return 1;
    --*w->left;
    agt__buf_put(&w->names, name, strlen(name) + 1);
    return w->names.failed ? 1 : 0;
}

static void files_folder(files_walk *w, agt_fd folder) {
    const agt_sys *sys = w->v->parts->sys;
    size_t base = w->path.len;
    agt_stat st;
    w->names.len = 0;
    (void)sys->list(sys->ctx, folder, files_collect, w);
    for (size_t at = 0; at < w->names.len && !w->path.failed;) {
        const char *name = (const char *)w->names.data + at;
        at += strlen(name) + 1;
        w->path.len = base;
        agt__buf_put(&w->path, name, strlen(name) + 1);
        if (w->path.failed || sys->stat(sys->ctx, folder, name, &st) < 0) continue;
        bool enter = w->each(w->ctx, folder, (const char *)w->path.data, name, &st);
        if (enter && st.kind == AGT_FILE_FOLDER) agt__buf_put(&w->queue, w->path.data, w->path.len);
    }
}

AGT_PRIVATE agt_status agt__doctor_tree(const agt_visit *v, agt_fd top, uint64_t *names,
                                        agt_visit_fn each, void *ctx, agt_error *err) {
    const agt_sys *sys = v->parts->sys;
    const agt_mem *mem = &v->parts->mem;
    files_walk w = {v, agt__buf(mem), agt__buf(mem), agt__buf(mem), names, each, ctx};
    agt__buf_byte(&w.queue, 0);
    for (size_t at = 0; at < w.queue.len && !w.queue.failed && *names;) {
        size_t n = strlen((const char *)w.queue.data + at);
        w.path.len = 0;
        agt__buf_put(&w.path, w.queue.data + at, n + 1);
        at += n + 1;
        if (w.path.failed) break;
        agt_fd folder = agt__walk_folder(sys, top, (const char *)w.path.data, false);
        if (folder < 0) continue;
        w.path.len = n;
        if (n) agt__buf_byte(&w.path, '/');
        files_folder(&w, folder);
        sys->close(sys->ctx, folder);
    }
    bool failed = w.queue.failed || w.names.failed || w.path.failed;
    agt__buf_free(&w.queue);
    agt__buf_free(&w.names);
    agt__buf_free(&w.path);
    return failed ? agt__nomem(err) : AGT_OK;
}

/* ---- rights: (1) ---- */

typedef struct files_rights {
    agt_visit *v;
    agt_stat at; /* of .agent-trace */
    uint64_t modes, modes_mended, owners, owners_mended;
    char first[200], foreign[200]; /* of the modes, and of the owners */
    unsigned mode;
    uint32_t owner;
} files_rights;

static bool files_theirs(const char *path) {
    static const char *const names[] = {"git", "damaged", "backup-0.1.0", "upgrade"};
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (strncmp(path, names[i], n) == 0 && path[n] == '/') return true;
    }
    return false;
}

/* Documents on their way, and edits that were kept, have the mode of the document. */
static bool files_document(const char *path) {
    return strncmp(path, "tmp/", 4) == 0 || strncmp(path, "aside/", 6) == 0;
}

/* The mode that it should have; the same if that is one it may have. */
static uint32_t files_mode(const char *path, const agt_stat *st) {
    uint32_t least = st->kind == AGT_FILE_FOLDER ? 0700u : files_theirs(path) ? 0400u : 0600u;
    return (st->mode & ~(files_theirs(path) ? 022u : 077u)) | least;
}

/* (2) for an open part: what has its name now may be another one than was looked at. */
static bool files_give(const files_rights *r, agt_fd fd, const agt_stat *st) {
    const agt_sys *sys = r->v->parts->sys;
    agt_stat now;
    return sys->set_owner && sys->fstat(sys->ctx, fd, &now) == 0 && agt__same_file(&now, st) &&
           now.dev == r->at.dev && (now.kind == AGT_FILE_FOLDER || now.links == 1) &&
           sys->set_owner(sys->ctx, fd, r->at.owner, r->at.group) == 0;
}

static bool files_look_rights(void *ctx, agt_fd folder, const char *path, const char *name,
                              const agt_stat *st) {
    files_rights *r = ctx;
    const agt_sys *sys = r->v->parts->sys;
    if (st->kind != AGT_FILE_FOLDER && st->kind != AGT_FILE_REGULAR) return false;
    if (files_document(path)) return false;
    uint32_t want = files_mode(path, st);
    bool foreign = st->owner != r->at.owner;
    if (want == st->mode && !foreign) return true;
    if (want != st->mode && !r->modes++) {
        (void)agt__show_path(r->first, sizeof r->first, path, strlen(path));
        r->mode = (unsigned)(st->mode & 0777u);
    }
    if (foreign && !r->owners++) {
        (void)agt__show_path(r->foreign, sizeof r->foreign, path, strlen(path));
        r->owner = st->owner;
    }
    if (!r->v->o.fix) return true;
    bool is_folder = st->kind == AGT_FILE_FOLDER;
    agt_fd fd = sys->open(sys->ctx, folder, name, AGT_O_READ | (is_folder ? AGT_O_FOLDER : 0u), 0);
    if (fd < 0) fd = is_folder ? fd : sys->open(sys->ctx, folder, name, AGT_O_WRITE, 0);
    if (fd < 0) return true;
    if (foreign && !is_folder) want &= ~06000u; /* they would be another user's */
    r->owners_mended += foreign && files_give(r, fd, st);
    if (want != st->mode) r->modes_mended += sys->set_mode(sys->ctx, fd, want) == 0;
    sys->close(sys->ctx, fd);
    return true;
}

static const char *files_s(uint64_t n) {
    return n == 1 ? "" : "s";
}

static void files_modes_add(agt_visit *v, const files_rights *r) {
    if (!r->modes) return;
    agt_finding *f = agt__findings_add(
        v->found, AGT_SEVERITY_WARNING, "modes",
        AGT_DOCTOR_FIX ", or 'chmod -R go-rwx,u+rw .agent-trace'",
        "%llu file%s or folder%s in .agent-trace let%s others in or the owner out, the first: %s "
        "(%03o)",
        (unsigned long long)r->modes, files_s(r->modes), files_s(r->modes),
        r->modes == 1 ? "s" : "", r->first, r->mode);
    f->mendable = 1;
    f->mended = r->modes_mended == r->modes;
}

static void files_owners_add(agt_visit *v, const files_rights *r) {
    if (!r->owners) return;
    (void)snprintf(v->give_back, sizeof v->give_back,
                   AGT_DOCTOR_FIX " as root, or 'chown -R %lu .agent-trace'",
                   (unsigned long)r->at.owner);
    agt_finding *f = agt__findings_add(
        v->found, AGT_SEVERITY_WARNING, "owners", v->give_back,
        "%llu file%s or folder%s in .agent-trace belong%s to another user than .agent-trace itself "
        "(user %lu), the first: %s (user %lu)",
        (unsigned long long)r->owners, files_s(r->owners), files_s(r->owners),
        r->owners == 1 ? "s" : "", (unsigned long)r->at.owner, r->foreign, (unsigned long)r->owner);
    f->mendable = 1;
    f->mended = r->owners_mended == r->owners;
    if (f->mended) v->give_back[0] = 0;
}

static agt_status files_rights_inside(agt_visit *v, agt_error *err) {
    files_rights r;
    const agt_store *s = v->parts;
    uint64_t all = UINT64_MAX;
    memset(&r, 0, sizeof r);
    r.v = v;
    int rc = s->sys->fstat(s->sys->ctx, s->at, &r.at);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace");
    agt_status st = agt__doctor_tree(v, s->at, &all, files_look_rights, &r, err);
    if (st != AGT_OK) return st;
    files_owners_add(v, &r);
    files_modes_add(v, &r);
    return AGT_OK;
}

static agt_status files_mode_outside(agt_visit *v, agt_error *err) {
    agt_stat at, root;
    const agt_store *s = v->parts;
    int rc = s->sys->fstat(s->sys->ctx, s->at, &at);
    if (rc == 0) rc = s->sys->fstat(s->sys->ctx, s->root, &root);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace");
    if (at.owner != root.owner)
        (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "owner", NULL,
                                ".agent-trace belongs to another user than the folder it is in");
    if (!(at.mode & 077u)) return AGT_OK;
    agt_finding *f = agt__findings_add(
        v->found, AGT_SEVERITY_WARNING, "rights", AGT_DOCTOR_FIX ", or 'chmod 700 .agent-trace'",
        ".agent-trace has mode %03o: others can see all versions", (unsigned)(at.mode & 0777u));
    f->mendable = 1;
    if (!v->o.fix) return AGT_OK;
    rc = s->sys->set_mode(s->sys->ctx, s->at, 0700);
    f->mended = rc == 0;
    return rc < 0 ? agt__fail_io(err, rc, "cannot change the mode of .agent-trace") : AGT_OK;
}

AGT_PRIVATE agt_status agt__doctor_rights(agt_visit *v, agt_error *err) {
    agt_status st = files_mode_outside(v, err);
    return st == AGT_OK ? files_rights_inside(v, err) : st;
}

/* ---- what was kept ---- */

static int files_count(void *ctx, const char *name) {
    (void)name;
    ++*(uint32_t *)ctx;
    return 0;
}

static uint32_t files_names(const agt_visit *v, agt_fd dir) {
    uint32_t n = 0;
    if (dir != AGT_FD_NONE) (void)v->parts->sys->list(v->parts->sys->ctx, dir, files_count, &n);
    return n;
}

static void files_kept(agt_visit *v) {
    const agt_store *s = v->parts;
    agt_fd damaged = s->sys->open(s->sys->ctx, s->at, "damaged", AGT_O_READ | AGT_O_FOLDER, 0);
    uint32_t n = files_names(v, s->aside);
    if (n)
        (void)agt__findings_add(v->found, AGT_SEVERITY_WARNING, "aside",
                                "read them and remove them: no version holds them",
                                "%u edit%s that met a write %s kept in .agent-trace/aside", n,
                                n == 1 ? "" : "s", n == 1 ? "is" : "are");
    if (damaged >= 0 && (n = files_names(v, damaged)) > 0)
        (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "kept",
                                "remove them when you do not need them any more",
                                "%u part%s that a repair replaced %s kept in .agent-trace/damaged",
                                n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
    if (damaged >= 0) s->sys->close(s->sys->ctx, damaged);
}

/* ---- what a git around it sees ---- */

/* Does a line hide everything, and none bring something back? */
static bool files_hides(const char *text, size_t n) {
    bool hides = false;
    for (size_t at = 0; at < n; at++) {
        size_t end = at;
        while (end < n && text[end] != '\n')
            end++;
        if (text[at] == '!') return false;
        hides = hides || (end - at == 1 && text[at] == '*');
        at = end;
    }
    return hides;
}

/* Only the name is asked for. */
static bool files_is_git(void *ctx, agt_fd folder, const char *path) {
    agt_stat st;
    const agt_visit *v = ctx;
    (void)path;
    return v->parts->sys->stat(v->parts->sys->ctx, folder, ".git", &st) == 0;
}

/* Is the root in the work tree of a git? */
static bool files_in_git(agt_visit *v) {
    return files_is_git(v, v->parts->root, "") || agt__doctor_above(v, files_is_git, v);
}

static agt_status files_ignore(agt_visit *v, agt_error *err) {
    const agt_store *s = v->parts;
    agt_buf text = agt__buf(&s->mem);
    agt_error mine;
    agt_status st = agt__read_file(s->sys, s->at, ".gitignore", 65536, &text, &mine);
    bool hides = st == AGT_OK && files_hides((const char *)text.data, text.len);
    bool empty = st == AGT_NOT_FOUND || (st == AGT_OK && !text.len);
    agt__buf_free(&text);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    if (hides) return AGT_OK;
    bool around = files_in_git(v);
    agt_finding *f = agt__findings_add(
        v->found, around ? AGT_SEVERITY_WARNING : AGT_SEVERITY_NOTE, "ignore",
        empty ? AGT_DOCTOR_FIX ", or write a line with a single '*' into it"
              : "write a line with a single '*' into it, and none that begins with '!'",
        ".agent-trace/.gitignore %s: %s git %s the store, and 'git clean' removes it",
        st == AGT_NOT_FOUND ? "is missing"
        : empty             ? "is empty"
                            : "does not hide the store",
        around ? "the" : "a", around ? "around it sees" : "around it would see");
    f->mendable = empty;
    if (!empty || !v->o.fix) return AGT_OK;
    st = agt__hide_folder(s->sys, s->at, err);
    f->mended = st == AGT_OK;
    return st;
}

/* ---- refused bytes ---- */

typedef struct files_refused {
    const agt_visit *v;
    uint64_t bytes;
    uint32_t files, bad;
    char first[72];
    agt_buf text;
    agt_status st;
    agt_store *mend; /* NULL: only count */
} files_refused;

/* Refused bytes that are not what their name says move to damaged/, under a name that is free. */
static void files_put_away(files_refused *r, const char *name) {
    const agt_store *s = r->mend;
    const agt_sys *sys = s->sys;
    agt_fd damaged;
    agt_stat taken;
    char as[96];
    if (agt__open_folder(sys, s->at, "damaged", true, &damaged, NULL) != AGT_OK) return;
    (void)snprintf(as, sizeof as, "%s", name);
    for (unsigned n = 1; sys->stat(sys->ctx, damaged, as, &taken) == 0; n++)
        (void)snprintf(as, sizeof as, "%s.%u", name, n);
    if (sys->rename(sys->ctx, s->rejected, name, damaged, as, AGT_RENAME_REPLACE) == 0) r->bad--;
    sys->close(sys->ctx, damaged);
}

static int files_look_refused(void *ctx, const char *name) {
    files_refused *r = ctx;
    const agt_store *s = r->v->parts;
    unsigned char want[32], is[32];
    agt_stat st;
    if (!agt__unhex(name, strlen(name), want, sizeof want)) return 0;
    if (s->sys->stat(s->sys->ctx, s->rejected, name, &st) < 0) return 0;
    r->text.len = 0;
    agt_status read =
        agt__read_file(s->sys, s->rejected, name, AGT_MAX_REJECTED_BYTES, &r->text, NULL);
    if (read == AGT_NOMEM) r->st = read;
    if (read == AGT_NOMEM || read == AGT_NOT_FOUND) return r->st != AGT_OK;
    r->files++;
    r->bytes += st.size;
    if (read == AGT_OK) agt__sha256(s->cpu, r->text.data, r->text.len, is);
    if (read == AGT_OK && memcmp(is, want, sizeof is) == 0) return 0;
    if (!r->bad++) (void)agt__copy_text(r->first, sizeof r->first, name, strlen(name));
    if (r->mend) files_put_away(r, name);
    return 0;
}

static agt_status files_refused_look(files_refused *r, agt_store *mend, agt_error *err) {
    const agt_store *s = r->v->parts;
    r->mend = mend;
    r->files = r->bad = 0;
    r->bytes = 0;
    r->text = agt__buf(&s->mem);
    (void)s->sys->list(s->sys->ctx, s->rejected, files_look_refused, r);
    agt__buf_free(&r->text);
    return r->st == AGT_OK ? AGT_OK : agt__nomem(err);
}

static bool files_many(const files_refused *r) {
    return r->files > AGT_MAX_REJECTED || r->bytes > AGT_MAX_REJECTED_BYTES;
}

static void files_refused_add(agt_visit *v, const files_refused *was, const files_refused *is) {
    if (was->bad) {
        agt_finding *f = agt__findings_add(v->found, AGT_SEVERITY_WARNING, "refused_bytes",
                                           AGT_DOCTOR_FIX ": it moves them to .agent-trace/damaged",
                                           "the bytes of %u refused write%s are damaged, the "
                                           "first: .agent-trace/rejected/%.12s...",
                                           was->bad, was->bad == 1 ? "" : "s", was->first);
        f->mendable = 1;
        f->mended = v->o.fix && !is->bad;
    }
    if (files_many(was)) {
        agt_finding *f = agt__findings_add(
            v->found, AGT_SEVERITY_WARNING, "refused_many",
            AGT_DOCTOR_FIX ": it removes the oldest",
            ".agent-trace/rejected has %u files with %llu bytes, more than %u or %u", was->files,
            (unsigned long long)was->bytes, (unsigned)AGT_MAX_REJECTED,
            (unsigned)AGT_MAX_REJECTED_BYTES);
        f->mendable = 1;
        f->mended = v->o.fix && !files_many(is);
    } else if (was->files > AGT_MAX_REJECTED / 4 * 3)
        (void)agt__findings_add(v->found, AGT_SEVERITY_NOTE, "refused", NULL,
                                "%u refused writes are kept; behind %u the oldest go", was->files,
                                (unsigned)AGT_MAX_REJECTED);
}

static agt_status files_refused_all(agt_visit *v, agt_error *err) {
    files_refused was, is;
    agt_store *s;
    if (v->parts->rejected == AGT_FD_NONE) return AGT_OK;
    memset(&was, 0, sizeof was);
    was.v = v;
    agt_status st = files_refused_look(&was, NULL, err);
    is = was;
    if (st == AGT_OK && v->o.fix && (was.bad || files_many(&was))) {
        st = agt__doctor_lock(v, &s, err);
        if (st != AGT_OK) return st;
        st = files_refused_look(&is, s, err);
        agt__trim_rejected(s);
        if (st == AGT_OK) st = files_refused_look(&is, NULL, err);
        agt__doctor_unlock(s);
    }
    if (st == AGT_OK) files_refused_add(v, &was, &is);
    return st;
}

/* ---- all of it ---- */

AGT_PRIVATE agt_status agt__doctor_lock(const agt_visit *v, agt_store **out, agt_error *err) {
    agt_open_options o = agt__doctor_options(v, false);
    agt_store *s;
    *out = NULL;
    agt_status st = agt_open(&s, v->root, &o, err);
    if (st != AGT_OK) return st;
    st = agt__publish_enter(s, v->o.timeout_ms, err);
    if (st == AGT_OK) {
        st = agt__store_lock(s, err);
        if (st != AGT_OK) agt__publish_leave(s);
    }
    if (st == AGT_OK)
        *out = s;
    else
        (void)agt_close(s, NULL);
    return st;
}

AGT_PRIVATE void agt__doctor_unlock(agt_store *s) {
    agt__store_unlock(s);
    agt__publish_leave(s);
    (void)agt_close(s, NULL);
}

AGT_PRIVATE agt_status agt__doctor_files(agt_visit *v, agt_error *err) {
    files_kept(v);
    agt_status st = files_ignore(v, err);
    return st == AGT_OK ? files_refused_all(v, err) : st;
}
