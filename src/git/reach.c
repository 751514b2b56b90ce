/* reach: everything that the refs lead to, for a pack that takes the place of all others.
 *
 * Refs are read as they are: main, HEAD where it names a commit, every file beneath refs/, the
 * lines of packed-refs. Commits are walked from the newest back, and each one's trees right after
 * it, so that the numbers of the objects follow their age.
 *
 * (1) Commits, trees and tags are read, and so checked; blobs that main leads to are only named:
 *     whoever packs them reads them.
 * (2) What main leads to must be there. Another ref may be anybody's and name what is not (a part
 *     of somebody's history that was fetched); that is counted, and whoever removes something must
 *     look whether it was found.
 * (3) An object's first path is kept as two hashes: one of its last 16 characters, as git's own, so
 *     that files of like names come together, and one of all, so that each path's versions do. */
#include "parts.h"

#define REACH_REF_MAX  4096u
#define REACH_PACKED   (64u * 1024 * 1024)
#define REACH_DEPTH    16u
#define REACH_REF_PATH 1024u

/* ---- the refs ---- */

typedef struct reach_refs {
    agt_git *git;
    agt_status (*each)(void *ctx, const agt_oid *id, bool is_main, agt_error *err);
    void *ctx;
    agt_buf todo; /* folders still to be visited, each with its NUL */
    agt_buf names;
} reach_refs;

/* A file that names an object: HEAD or a ref. One that names a ref, or nothing, is passed over. */
static agt_status reach_ref_file(reach_refs *w, agt_fd folder, const char *name, agt_error *err) {
    agt_oid id;
    agt_error mine;
    agt_buf b = agt__buf(&w->git->mem);
    agt_status status = agt__read_file(w->git->sys, folder, name, REACH_REF_MAX, &b, &mine);
    size_t n = b.len;
    while (n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r'))
        n--;
    bool found = status == AGT_OK && n == AGT_GIT_HEX &&
                 agt__unhex((const char *)b.data, n, id.id, sizeof id.id);
    agt__buf_free(&b);
    if (found) return w->each(w->ctx, &id, false, err);
    if (status == AGT_IO || status == AGT_NOMEM) {
        if (err) *err = mine;
        return status;
    }
    return AGT_OK;
}

static agt_status reach_packed_refs(reach_refs *w, agt_error *err) {
    agt_oid id;
    agt_error mine;
    agt_buf b = agt__buf(&w->git->mem);
    agt_status status =
        agt__read_file(w->git->sys, w->git->dir, "packed-refs", REACH_PACKED, &b, &mine);
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    if (status != AGT_OK && status != AGT_NOT_FOUND && err) *err = mine;
    if (status == AGT_NOT_FOUND) status = AGT_OK;
    for (; p && status == AGT_OK && p < end; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end - p > (ptrdiff_t)AGT_GIT_HEX && p[AGT_GIT_HEX] == ' ' &&
            agt__unhex(p, AGT_GIT_HEX, id.id, sizeof id.id))
            status = w->each(w->ctx, &id, false, err);
    }
    agt__buf_free(&b);
    return status;
}

/* One folder beneath refs/: its files are refs, its folders come later. */
static agt_status reach_ref_folder(reach_refs *w, const char *path, agt_error *err) {
    const agt_sys *sys = w->git->sys;
    agt_stat st;
    size_t depth = 0;
    agt_status status = AGT_OK;
    for (const char *p = path; *p; p++)
        depth += *p == '/';
    agt_fd folder = sys->walk(sys->ctx, w->git->dir, path);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open %.100s in the git folder", path);
    w->names.len = 0;
    int rc = sys->list(sys->ctx, folder, agt__take_name, &w->names);
    if (w->names.failed) status = agt__nomem(err);
    if (rc < 0) status = agt__fail_io(err, rc, "cannot list %.100s in the git folder", path);
    for (size_t at = 0; status == AGT_OK && at < w->names.len;) {
        const char *name = (const char *)w->names.data + at;
        at += strlen(name) + 1;
        rc = sys->stat(sys->ctx, folder, name, &st);
        if (rc == 0 && st.kind == AGT_FILE_REGULAR) status = reach_ref_file(w, folder, name, err);
        if (rc < 0 || st.kind != AGT_FILE_FOLDER || depth >= REACH_DEPTH) continue;
        agt__buf_text(&w->todo, path);
        agt__buf_byte(&w->todo, '/');
        agt__buf_put(&w->todo, name, strlen(name) + 1);
        if (w->todo.failed) status = agt__nomem(err);
    }
    sys->close(sys->ctx, folder);
    return status;
}

static agt_status reach_ref_folders(reach_refs *w, agt_error *err) {
    agt_status status = AGT_OK;
    agt__buf_put(&w->todo, "refs", 5);
    if (w->todo.failed) return agt__nomem(err);
    while (status == AGT_OK && w->todo.len) {
        char path[REACH_REF_PATH];
        size_t start = w->todo.len - 1;
        while (start && w->todo.data[start - 1])
            start--;
        const char *last = (const char *)w->todo.data + start;
        if (!agt__copy_text(path, sizeof path, last, strlen(last)))
            return agt__fail(err, AGT_LIMIT, "refs in the git folder has too long a name in it");
        w->todo.len = start;
        status = reach_ref_folder(w, path, err);
    }
    return status;
}

AGT_PRIVATE agt_status agt__git_each_ref(agt_git *git,
                                         agt_status (*each)(void *ctx, const agt_oid *id,
                                                            bool is_main, agt_error *err),
                                         void *ctx, agt_error *err) {
    reach_refs w = {git, each, ctx, agt__buf(&git->mem), agt__buf(&git->mem)};
    agt_oid main_id;
    bool found;
    agt_status status = agt__git_head(git, &main_id, &found, err);
    if (status == AGT_OK && found) status = each(ctx, &main_id, true, err);
    if (status == AGT_OK) status = reach_ref_file(&w, git->dir, "HEAD", err);
    if (status == AGT_OK) status = reach_packed_refs(&w, err);
    if (status == AGT_OK) status = reach_ref_folders(&w, err);
    agt__buf_free(&w.todo);
    agt__buf_free(&w.names);
    return status;
}

/* ---- the table of objects ---- */

static uint32_t reach_slot(const agt_git_reach *r, const agt_oid *id) {
    uint32_t at = agt__get32(id->id) & (r->slot_count - 1);
    while (r->slots[at] && memcmp(&r->objects[r->slots[at] - 1].id, id, sizeof *id) != 0)
        at = (at + 1) & (r->slot_count - 1);
    return at;
}

AGT_PRIVATE uint32_t agt__git_reach_find(const agt_git_reach *r, const agt_oid *id) {
    uint32_t found = r->slot_count ? r->slots[reach_slot(r, id)] : 0;
    return found ? found - 1 : AGT_GIT_NONE;
}

static bool reach_grow(agt_git_reach *r) {
    const agt_mem *mem = &r->git->mem;
    uint32_t cap = r->cap ? r->cap * 2 : 1024, slot_count = cap * 2;
    size_t slots_size, objects_size;
    if (cap > UINT32_MAX / 8 || !agt__mul_size(slot_count, sizeof *r->slots, &slots_size) ||
        !agt__mul_size(cap, sizeof *r->objects, &objects_size))
        return false;
    agt_git_object *objects = agt__realloc(mem, r->objects, r->cap * sizeof *objects, objects_size);
    if (!objects) return false;
    r->objects = objects;
    r->cap = cap;
    uint32_t *slots = agt__zalloc(mem, slots_size);
    if (!slots) return false;
    agt__free(mem, r->slots, r->slot_count * sizeof *slots);
    r->slots = slots;
    r->slot_count = slot_count;
    for (uint32_t i = 0; i < r->count; i++)
        slots[reach_slot(r, &objects[i].id)] = i + 1;
    return true;
}

/* The object's number; *fresh: it was not known. AGT_GIT_NONE: no memory. */
static uint32_t reach_add(agt_git_reach *r, const agt_oid *id, int kind, bool *fresh) {
    *fresh = false;
    if (r->count >= r->slot_count / 2 && !reach_grow(r)) {
        r->nomem = true;
        return AGT_GIT_NONE;
    }
    uint32_t slot = reach_slot(r, id);
    if (r->slots[slot]) return r->slots[slot] - 1;
    r->objects[r->count] = (agt_git_object){.id = *id, .kind = (uint8_t)kind, .base = AGT_GIT_NONE};
    r->slots[slot] = ++r->count;
    *fresh = true;
    return r->count - 1;
}

static void reach_later(agt_git_reach *r, agt_buf *todo, uint32_t object) {
    agt__buf_put(todo, &object, sizeof object);
    if (todo->failed) r->nomem = true;
}

static bool reach_last(agt_buf *todo, uint32_t *object) {
    if (!todo->len) return false;
    todo->len -= sizeof *object;
    memcpy(object, todo->data + todo->len, sizeof *object);
    return true;
}

/* ---- the walk ---- */

/* (3) Git's hash, and FNV-1a, going on behind the folder's. */
static void reach_path(const agt_git_reach *r, agt_text name, agt_git_object *o) {
    uint32_t tail = r->path_base, all = r->path_crc;
    bool root = !tail && !all;
    if (root) all = 0x811c9dc5u;
    for (size_t i = 0; i <= name.len; i++) {
        unsigned char c = i ? (unsigned char)name.data[i - 1] : '/';
        if (!i && root) continue;
        all = (all ^ c) * 0x01000193u;
        if (c != ' ') tail = (tail >> 2) + ((uint32_t)c << 24);
    }
    o->base = tail;
    o->crc = all;
}

static void reach_link(void *ctx, const agt_oid *id, int kind, agt_text name) {
    agt_git_reach *r = ctx;
    bool fresh;
    uint32_t object = reach_add(r, id, kind ? kind : AGT_GIT_COMMIT, &fresh);
    if (!fresh) return;
    agt_git_object *o = &r->objects[object];
    o->base = o->crc = 0;
    if (name.data) reach_path(r, name, o);
    if (kind == AGT_GIT_TREE)
        reach_later(r, &r->trees, object);
    else if (kind != AGT_GIT_BLOB)
        reach_later(r, &r->commits, object);
    else if (!r->strict)
        reach_later(r, &r->trees, object); /* (2): is it there? */
}

/* Reads an object and what it names. */
static agt_status reach_one(agt_git_reach *r, uint32_t object, agt_error *err) {
    agt_oid id = r->objects[object].id;
    int kind = 0, want = r->objects[object].kind;
    agt_error mine;
    agt_status status = r->breathe ? r->breathe(r->breathe_ctx, err) : AGT_OK;
    if (status != AGT_OK) return status;
    agt__git_reuse(&r->bytes);
    status = agt__git_load(r->git, &id, &kind, &r->bytes, &mine);
    bool typed = want == AGT_GIT_TREE || want == AGT_GIT_BLOB; /* a ref may name a tag, or any */
    if (status == AGT_OK && typed && kind != want)
        status = agt__fail(&mine, AGT_CORRUPT, "a git object is not of the kind that it is named");
    if (!r->strict && (status == AGT_NOT_FOUND || status == AGT_CORRUPT)) { /* (2) */
        r->objects[object].kind = 0;
        r->missing++;
        return AGT_OK;
    }
    if (status == AGT_NOT_FOUND) status = AGT_CORRUPT;
    if (status != AGT_OK) {
        if (err) *err = mine;
        if (err) err->status = status;
        return status;
    }
    r->objects[object].kind = (uint8_t)kind;
    r->objects[object].size = r->bytes.len;
    r->path_base = kind == AGT_GIT_TREE ? r->objects[object].base : 0;
    r->path_crc = kind == AGT_GIT_TREE ? r->objects[object].crc : 0;
    agt__git_links(kind, &r->bytes, reach_link, r);
    return r->nomem ? agt__nomem(err) : AGT_OK;
}

/* Everything that is left to be read: after each commit its trees. */
static agt_status reach_walk(agt_git_reach *r, agt_error *err) {
    uint32_t object;
    agt_status status = AGT_OK;
    while (status == AGT_OK && (reach_last(&r->trees, &object) || reach_last(&r->commits, &object)))
        status = reach_one(r, object, err);
    return status;
}

static agt_status reach_ref(void *ctx, const agt_oid *id, bool is_main, agt_error *err) {
    agt_git_reach *r = ctx;
    bool fresh;
    uint32_t object = reach_add(r, id, AGT_GIT_COMMIT, &fresh);
    r->strict = is_main;
    if (fresh) r->objects[object].base = r->objects[object].crc = 0;
    if (fresh) reach_later(r, &r->commits, object);
    if (r->nomem) return agt__nomem(err);
    return reach_walk(r, err);
}

/* What could not be read is forgotten. */
static void reach_gather(agt_git_reach *r) {
    uint32_t kept = 0;
    if (!r->missing) return;
    for (uint32_t i = 0; i < r->count; i++)
        if (r->objects[i].kind) r->objects[kept++] = r->objects[i];
    r->count = kept;
    memset(r->slots, 0, r->slot_count * sizeof *r->slots);
    for (uint32_t i = 0; i < kept; i++)
        r->slots[reach_slot(r, &r->objects[i].id)] = i + 1;
}

AGT_PRIVATE agt_status agt__git_reach_all(agt_git_reach *r, agt_error *err) {
    r->commits = r->trees = r->bytes = agt__buf(&r->git->mem);
    agt_status status = agt__git_each_ref(r->git, reach_ref, r, err);
    if (status == AGT_OK) reach_gather(r);
    agt__buf_free(&r->commits);
    agt__buf_free(&r->trees);
    agt__buf_free(&r->bytes);
    return status;
}

AGT_PRIVATE void agt__git_reach_free(agt_git_reach *r) {
    const agt_mem *mem = &r->git->mem;
    agt__free(mem, r->objects, r->cap * sizeof *r->objects);
    agt__free(mem, r->slots, r->slot_count * sizeof *r->slots);
    r->objects = NULL;
    r->slots = NULL;
    r->count = r->cap = r->slot_count = 0;
}
