/* tree: the folders of the commit to come, as git stores them.
 *
 * Each folder that a change touched is kept in memory as the bytes of its tree object
 *
 *     { "100644 " or "40000 "  name  NUL  20 bytes of id }...   sorted, folders as "name/"
 *
 * with the offset of every entry, so that a change among 10,000 files is a binary search and one
 * copy of 20 bytes. Folders are read from the parent commit when a path first leads through them.
 * Sealing hashes the folders that changed, the deepest first, each into the one above.
 *
 * What differs between the bytes now and those of a version the transaction already has is kept
 * as a list of edits: the delta of the next version is written from it without comparing anything.
 *
 *     version   0 whole   1 .. 49 each on the one before   50 on 0   51 .. 98   99 on 50 ...
 *
 * A chain that is full is followed by a delta on the version that began it, and so each chain is
 * one shorter than the last: a whole tree is stored once in 1,225 versions.
 *
 * (1) Entries are sorted and unique; names have no '/' and no NUL; a name is a file or a folder.
 * (2) A folder that became empty disappears when sealed; only the root may be empty.
 * (3) since_last says how to make the bytes from object `last`, since_head from `head`. Both mean
 *     something only while `serial` is the transaction's.
 * (4) Kid nodes stand for folders only, sorted by name. Where a file takes a folder's name, its
 *     node goes. A node whose folder is empty may stay, with an id of zeros. */
#include "parts.h"

#define TREE_ID      20u
#define TREE_MAX_LEN (UINT32_MAX / 2)
#define TREE_FOLDER  "40000 "
#define TREE_FILE    "100644 "

/* old bytes [old_at, old_at + old_len) became new bytes [new_at, new_at + new_len) */
typedef struct tree_edit {
    size_t old_at, old_len, new_at, new_len;
} tree_edit;

typedef struct tree_edits {
    tree_edit *items; /* ordered, never touching one another */
    size_t count, cap;
} tree_edits;

struct agt_git_tree {
    agt_git_tree *parent;
    agt_git_tree **kids;
    size_t kid_count, kid_cap;
    unsigned char *data;
    size_t len, cap;
    uint32_t *at; /* where each entry begins */
    size_t count, at_cap;
    tree_edits since_last, since_head;
    uint64_t serial;
    uint32_t last, head, depth;
    bool loaded, dirty;
    agt_oid id;
    size_t name_len;
    char name[]; /* in its parent; no NUL */
};

static const agt_oid tree_no_id;

/* Makes room for one more of `size` bytes in an array; `array` is where its pointer stands, and
 * pointers to objects all look alike. */
static bool tree_room(const agt_mem *mem, void *array, size_t size, size_t count, size_t *cap) {
    void *old;
    if (count < *cap) return true;
    size_t more = *cap ? *cap * 2 : 8;
    memcpy(&old, array, sizeof old);
    void *grown = agt__realloc(mem, old, *cap * size, more * size);
    if (!grown) return false;
    memcpy(array, &grown, sizeof grown);
    *cap = more;
    return true;
}

/* ---- edits ---- */

/* Notes that bytes [at, at + old_n) of today became new_n bytes. */
static bool tree_edits_add(const agt_mem *mem, tree_edits *e, size_t at, size_t old_n,
                           size_t new_n) {
    size_t first = e->count, last, start = at, end = at + old_n;
    if (!tree_room(mem, &e->items, sizeof *e->items, e->count, &e->cap)) return false;
    tree_edit *v = e->items;
    while (first && v[first - 1].new_at + v[first - 1].new_len >= at)
        first--;
    for (last = first; last < e->count && v[last].new_at <= at + old_n; last++) {
    }
    /* [first, last) touch the new one and become one with it */
    size_t new_end = first ? v[first - 1].new_at + v[first - 1].new_len : 0;
    size_t old_end = first ? v[first - 1].old_at + v[first - 1].old_len : 0;
    if (first < last) {
        if (v[first].new_at < start) start = v[first].new_at;
        if (v[last - 1].new_at + v[last - 1].new_len > end)
            end = v[last - 1].new_at + v[last - 1].new_len;
    }
    tree_edit sum = {old_end + (start - new_end), 0, start, end - start - old_n + new_n};
    if (first < last) {
        new_end = v[last - 1].new_at + v[last - 1].new_len;
        old_end = v[last - 1].old_at + v[last - 1].old_len;
    }
    sum.old_len = old_end + (end - new_end) - sum.old_at;
    memmove(v + first + 1, v + last, (e->count - last) * sizeof *v);
    e->count = e->count - (last - first) + 1;
    v[first] = sum;
    for (size_t i = first + 1; i < e->count; i++)
        v[i].new_at = v[i].new_at - old_n + new_n;
    return true;
}

/* Writes the delta that makes `t`'s bytes from the version that `e` starts at. */
static void tree_edits_delta(const agt_git_tree *t, const tree_edits *e, size_t old_len,
                             agt_buf *out) {
    size_t old_at = 0;
    agt__git_delta_size(out, old_len);
    agt__git_delta_size(out, t->len);
    for (size_t i = 0; i < e->count; i++) {
        const tree_edit *v = &e->items[i];
        agt__git_delta_copy(out, old_at, v->old_at - old_at);
        agt__git_delta_insert(out, t->data + v->new_at, v->new_len);
        old_at = v->old_at + v->old_len;
    }
    agt__git_delta_copy(out, old_at, old_len - old_at);
}

/* ---- nodes ---- */

static void tree_free_one(const agt_mem *mem, agt_git_tree *t) {
    agt__free(mem, t->kids, t->kid_cap * sizeof(agt_git_tree *));
    agt__free(mem, t->data, t->cap);
    agt__free(mem, t->at, t->at_cap * sizeof *t->at);
    agt__free(mem, t->since_last.items, t->since_last.cap * sizeof *t->since_last.items);
    agt__free(mem, t->since_head.items, t->since_head.cap * sizeof *t->since_head.items);
    agt__free(mem, t, sizeof *t + t->name_len);
}

/* Frees a node and all beneath it. */
static void tree_free(const agt_mem *mem, agt_git_tree *top) {
    for (agt_git_tree *t = top; t;) {
        if (t->kid_count) {
            t = t->kids[--t->kid_count];
            continue;
        }
        agt_git_tree *up = t == top ? NULL : t->parent;
        tree_free_one(mem, t);
        t = up;
    }
}

static agt_git_tree *tree_new(const agt_mem *mem, agt_git_tree *parent, const char *name,
                              size_t len, const agt_oid *id) {
    agt_git_tree *t = agt__zalloc(mem, sizeof *t + len);
    if (!t) return NULL;
    t->parent = parent;
    t->depth = parent ? parent->depth + 1 : 0;
    t->name_len = len;
    if (len) memcpy(t->name, name, len);
    if (id) t->id = *id;
    t->loaded = !id;
    t->last = t->head = AGT_GIT_NONE;
    return t;
}

AGT_PRIVATE void agt__git_forest_free(agt_git *git) {
    agt_git_forest *f = &git->forest;
    tree_free(&git->mem, f->root);
    agt__free(&git->mem, f->dirty, f->dirty_cap * sizeof(agt_git_tree *));
    f->root = NULL;
    f->dirty = NULL;
    f->dirty_count = f->dirty_cap = 0;
}

/* This node, and with it all above, will be hashed anew. */
static agt_status tree_touch(agt_git *git, agt_git_tree *t, agt_error *err) {
    agt_git_forest *f = &git->forest;
    for (; t && !t->dirty; t = t->parent) {
        if (!tree_room(&git->mem, &f->dirty, sizeof(agt_git_tree *), f->dirty_count, &f->dirty_cap))
            return agt__nomem(err);
        f->dirty[f->dirty_count++] = t;
        t->dirty = true;
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_forest_plant(agt_git *git, const agt_oid *id, agt_error *err) {
    agt__git_forest_free(git);
    git->forest.root = tree_new(&git->mem, NULL, NULL, 0, id);
    if (!git->forest.root) return agt__nomem(err);
    return id ? AGT_OK : tree_touch(git, git->forest.root, err);
}

/* ---- entries ---- */

static bool tree_entry_is_folder(const agt_git_tree *t, size_t i) {
    return t->data[t->at[i]] == TREE_FOLDER[0];
}

static size_t tree_entry_end(const agt_git_tree *t, size_t i) {
    return i + 1 < t->count ? t->at[i + 1] : t->len;
}

/* An entry's name; a mode has 5 digits for a folder and 6 for all else. */
static agt_text tree_entry_name(const agt_git_tree *t, size_t i) {
    size_t start = t->at[i] + (tree_entry_is_folder(t, i) ? 6u : 7u);
    return (agt_text){(const char *)t->data + start, tree_entry_end(t, i) - TREE_ID - 1 - start};
}

/* git's order: a folder compares as if its name ended in '/'. */
static int tree_compare(agt_text a, bool a_folder, agt_text b, bool b_folder) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order) return order;
    unsigned char x = a.len > n ? (unsigned char)a.data[n] : a_folder ? '/' : 0;
    unsigned char y = b.len > n ? (unsigned char)b.data[n] : b_folder ? '/' : 0;
    return (x > y) - (x < y);
}

/* The entry of that name and sort, or where it would stand. */
static size_t tree_find(const agt_git_tree *t, agt_text name, bool folder, bool *found) {
    size_t lo = 0, hi = t->count;
    *found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order =
            tree_compare(name, folder, tree_entry_name(t, mid), tree_entry_is_folder(t, mid));
        if (order < 0)
            hi = mid;
        else
            lo = mid + (order > 0);
        if (order == 0) {
            *found = true;
            return mid;
        }
    }
    return lo;
}

/* Reads one entry's shape at `at`; its length, or 0 if it is none. */
static size_t tree_entry_check(const unsigned char *p, size_t n) {
    size_t mode = n && p[0] == '4' ? 5 : 6, at = 0;
    while (at < mode && at < n && p[at] >= '0' && p[at] <= '7')
        at++;
    if (at < mode || at == n || p[at] != ' ' || (mode == 5 && memcmp(p, TREE_FOLDER, 6) != 0))
        return 0;
    if (p[0] != '4' && p[0] != '1') return 0;
    const unsigned char *name = p + at + 1, *end = memchr(name, 0, n - at - 1);
    if (!end || end == name || memchr(name, '/', (size_t)(end - name))) return 0;
    size_t len = (size_t)(end - p) + 1 + TREE_ID;
    return len <= n ? len : 0;
}

static agt_status tree_damaged(const agt_git_tree *t, agt_error *err) {
    char hex[AGT_GIT_HEX];
    agt__hex(t->id.id, sizeof t->id.id, hex);
    return agt__fail(err, AGT_CORRUPT, "git tree %.40s is missing or damaged", hex);
}

/* Finds the entries of a node whose bytes are there (1). */
static agt_status tree_index(agt_git *git, agt_git_tree *t, agt_error *err) {
    for (size_t at = 0, n; at < t->len; at += n) {
        n = tree_entry_check(t->data + at, t->len - at);
        if (!n) return tree_damaged(t, err);
        if (!tree_room(&git->mem, &t->at, sizeof *t->at, t->count, &t->at_cap))
            return agt__nomem(err);
        t->at[t->count++] = (uint32_t)at;
    }
    for (size_t i = 1; i < t->count; i++) {
        if (tree_compare(tree_entry_name(t, i - 1), tree_entry_is_folder(t, i - 1),
                         tree_entry_name(t, i), tree_entry_is_folder(t, i)) >= 0)
            return tree_damaged(t, err);
    }
    return AGT_OK;
}

/* Is it the id of the tree without entries? git knows that one by heart: it may be stored nowhere.
 */
static bool tree_is_empty_id(const agt_git *git, const agt_oid *id) {
    agt_oid empty;
    agt__git_id(git->cpu, "tree", NULL, 0, empty.id);
    return memcmp(&empty, id, sizeof empty) == 0;
}

/* Reads a node's bytes from the repository, or from the transaction itself. */
static agt_status tree_load(agt_git *git, agt_git_tree *t, agt_error *err) {
    int kind = AGT_GIT_TREE;
    if (t->loaded) return AGT_OK;
    t->loaded = tree_is_empty_id(git, &t->id);
    if (t->loaded) return AGT_OK;
    agt_buf b = agt__buf(&git->mem);
    uint32_t object = agt__git_txn_find(git, &t->id);
    agt_status status = object == AGT_GIT_NONE ? agt__git_load(git, &t->id, &kind, &b, err)
                                               : agt__git_txn_bytes(git, object, &b, err);
    if (status == AGT_NOT_FOUND || (status == AGT_OK && kind != AGT_GIT_TREE) ||
        b.len > TREE_MAX_LEN)
        status = tree_damaged(t, err);
    t->data = b.data;
    t->len = b.len;
    t->cap = b.cap;
    if (status == AGT_OK) status = tree_index(git, t, err);
    t->loaded = status == AGT_OK;
    return status;
}

/* Puts new_n bytes in the place of [at, at + old_n). */
static agt_status tree_splice(agt_git *git, agt_git_tree *t, size_t at, size_t old_n,
                              const void *bytes, size_t new_n, agt_error *err) {
    size_t len = t->len - old_n + new_n;
    if (len > TREE_MAX_LEN) return agt__fail(err, AGT_LIMIT, "a folder has too many files");
    if (len > t->cap) {
        size_t cap = len + len / 2 + 256;
        unsigned char *grown = agt__realloc(&git->mem, t->data, t->cap, cap);
        if (!grown) return agt__nomem(err);
        t->data = grown;
        t->cap = cap;
    }
    if (t->serial == git->forest.serial && /* (3) */
        (!tree_edits_add(&git->mem, &t->since_last, at, old_n, new_n) ||
         !tree_edits_add(&git->mem, &t->since_head, at, old_n, new_n)))
        return agt__nomem(err);
    memmove(t->data + at + new_n, t->data + at + old_n, t->len - at - old_n);
    if (new_n) memcpy(t->data + at, bytes, new_n);
    t->len = len;
    return tree_touch(git, t, err);
}

static agt_status tree_entry_remove(agt_git *git, agt_git_tree *t, size_t i, agt_error *err) {
    size_t at = t->at[i], n = tree_entry_end(t, i) - at;
    agt_status status = tree_splice(git, t, at, n, NULL, 0, err);
    if (status != AGT_OK) return status;
    t->count--;
    memmove(t->at + i, t->at + i + 1, (t->count - i) * sizeof *t->at);
    for (; i < t->count; i++)
        t->at[i] -= (uint32_t)n;
    return AGT_OK;
}

static agt_status tree_entry_insert(agt_git *git, agt_git_tree *t, size_t i, agt_text name,
                                    bool folder, const agt_oid *id, agt_error *err) {
    unsigned char entry[8 + AGT_MAX_PATH + 1 + TREE_ID];
    size_t at = i < t->count ? t->at[i] : t->len, n = folder ? 6 : 7;
    if (!tree_room(&git->mem, &t->at, sizeof *t->at, t->count, &t->at_cap)) return agt__nomem(err);
    memcpy(entry, folder ? TREE_FOLDER : TREE_FILE, n);
    memcpy(entry + n, name.data, name.len);
    n += name.len;
    entry[n++] = 0;
    memcpy(entry + n, id->id, TREE_ID);
    n += TREE_ID;
    agt_status status = tree_splice(git, t, at, 0, entry, n, err);
    if (status != AGT_OK) return status;
    memmove(t->at + i + 1, t->at + i, (t->count - i) * sizeof *t->at);
    t->at[i] = (uint32_t)at;
    t->count++;
    for (i++; i < t->count; i++)
        t->at[i] += (uint32_t)n;
    return AGT_OK;
}

/* Gives entry `i` another id, and the plain mode where it is a file. */
static agt_status tree_entry_set(agt_git *git, agt_git_tree *t, size_t i, const agt_oid *id,
                                 agt_error *err) {
    size_t at = t->at[i], end = tree_entry_end(t, i);
    if (!tree_entry_is_folder(t, i) && memcmp(t->data + at, TREE_FILE, 7) != 0) {
        agt_status status = tree_splice(git, t, at, 7, TREE_FILE, 7, err);
        if (status != AGT_OK) return status;
    }
    if (memcmp(t->data + end - TREE_ID, id->id, TREE_ID) == 0) return AGT_OK;
    return tree_splice(git, t, end - TREE_ID, TREE_ID, id->id, TREE_ID, err);
}

/* ---- kids ---- */

static size_t tree_kid_find(const agt_git_tree *t, agt_text name, bool *found) {
    size_t lo = 0, hi = t->kid_count;
    *found = false;
    while (lo < hi && !*found) {
        size_t mid = lo + (hi - lo) / 2;
        const agt_git_tree *kid = t->kids[mid];
        int order = tree_compare(name, false, (agt_text){kid->name, kid->name_len}, false);
        *found = order == 0;
        if (order <= 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return *found ? hi : lo;
}

/* Forgets a kid and all beneath it, among the dirty ones too. */
static void tree_kid_drop(agt_git *git, agt_git_tree *t, size_t i) {
    agt_git_forest *f = &git->forest;
    agt_git_tree *kid = t->kids[i];
    size_t kept = 0;
    for (size_t d = 0; d < f->dirty_count; d++) {
        const agt_git_tree *up = f->dirty[d];
        while (up && up != kid)
            up = up->parent;
        if (!up) f->dirty[kept++] = f->dirty[d];
    }
    f->dirty_count = kept;
    t->kid_count--;
    memmove(t->kids + i, t->kids + i + 1, (t->kid_count - i) * sizeof(agt_git_tree *));
    tree_free(&git->mem, kid);
}

/* The node of the sub-folder `name`; *out is NULL if there is none and it shall not be made. A
 * file of that name makes way. */
static agt_status tree_kid(agt_git *git, agt_git_tree *t, agt_text name, bool make,
                           agt_git_tree **out, agt_error *err) {
    bool found, known, is_file;
    size_t k = tree_kid_find(t, name, &known);
    *out = known ? t->kids[k] : NULL;
    if (known) return tree_load(git, *out, err);
    size_t i = tree_find(t, name, true, &found);
    if (!found && !make) return AGT_OK;
    if (!found) {
        size_t file = tree_find(t, name, false, &is_file);
        agt_status status = is_file ? tree_entry_remove(git, t, file, err) : AGT_OK;
        if (status != AGT_OK) return status;
    }
    if (!tree_room(&git->mem, &t->kids, sizeof(agt_git_tree *), t->kid_count, &t->kid_cap))
        return agt__nomem(err);
    agt_oid id = tree_no_id;
    if (found) memcpy(id.id, t->data + tree_entry_end(t, i) - TREE_ID, TREE_ID);
    *out = tree_new(&git->mem, t, name.data, name.len, found ? &id : NULL);
    if (!*out) return agt__nomem(err);
    memmove(t->kids + k + 1, t->kids + k, (t->kid_count - k) * sizeof(agt_git_tree *));
    t->kids[k] = *out;
    t->kid_count++;
    return tree_load(git, *out, err);
}

/* Walks to the folder of a path; *leaf is the file's name in it. *out as in tree_kid. */
static agt_status tree_walk(agt_git *git, const char *path, size_t len, bool make,
                            agt_git_tree **out, agt_text *leaf, agt_error *err) {
    size_t start = 0, depth = 0;
    *out = git->forest.root;
    if (len > AGT_MAX_PATH) return agt__fail(err, AGT_LIMIT, "the path is too long");
    agt_status status = tree_load(git, *out, err);
    for (size_t i = 0; i <= len && status == AGT_OK && *out; i++) {
        if (i < len && path[i] != '/') {
            if (path[i]) continue;
            return agt__fail_at(err, AGT_INVALID, (int64_t)i, "the path has a NUL in it");
        }
        *leaf = (agt_text){path + start, i - start};
        start = i + 1;
        if (!leaf->len || agt__text_is(*leaf, ".") || agt__text_is(*leaf, ".."))
            return agt__fail_at(err, AGT_INVALID, (int64_t)i, "the path is not normalised");
        if (i == len) break;
        if (++depth > AGT_MAX_DEPTH) return agt__fail(err, AGT_LIMIT, "the path is too deep");
        status = tree_kid(git, *out, *leaf, make, out, err);
    }
    return status;
}

AGT_PRIVATE agt_status agt__git_forest_put(agt_git *git, const char *path, size_t len,
                                           const agt_oid *id, agt_oid *was, bool *had,
                                           agt_error *err) {
    agt_git_tree *t;
    agt_text name = {NULL, 0};
    bool folder;
    *had = false;
    agt_status status = tree_walk(git, path, len, true, &t, &name, err);
    if (status != AGT_OK) return status;
    size_t i = tree_find(t, name, false, had);
    if (*had) {
        memcpy(was->id, t->data + tree_entry_end(t, i) - TREE_ID, TREE_ID);
        return tree_entry_set(git, t, i, id, err);
    }
    size_t k = tree_kid_find(t, name, &folder); /* (4) */
    if (folder) tree_kid_drop(git, t, k);
    i = tree_find(t, name, true, &folder);
    if (folder) status = tree_entry_remove(git, t, i, err);
    if (status != AGT_OK) return status;
    i = tree_find(t, name, false, &folder);
    return tree_entry_insert(git, t, i, name, false, id, err);
}

AGT_PRIVATE agt_status agt__git_forest_remove(agt_git *git, const char *path, size_t len,
                                              agt_error *err) {
    agt_git_tree *t;
    agt_text name = {NULL, 0};
    bool found;
    agt_status status = tree_walk(git, path, len, false, &t, &name, err);
    if (status != AGT_OK || !t) return status;
    size_t i = tree_find(t, name, false, &found);
    return found ? tree_entry_remove(git, t, i, err) : AGT_OK;
}

/* ---- sealing ---- */

/* Tries to write the node's bytes as a delta on object `base`. */
static bool tree_as_delta(agt_git *git, const agt_git_tree *t, uint32_t base, const tree_edits *e,
                          agt_git_object *o) {
    if (base == AGT_GIT_NONE || git->txn.objects[base].chain + 1 >= AGT_GIT_CHAIN) return false;
    agt__git_reuse(&git->scratch);
    tree_edits_delta(t, e, git->txn.objects[base].size, &git->scratch);
    if (git->scratch.failed || git->scratch.len >= t->len) return false;
    o->is_delta = true;
    o->base = base;
    o->chain = (uint8_t)(git->txn.objects[base].chain + 1);
    o->data = git->scratch.data;
    o->len = git->scratch.len;
    return true;
}

/* Adds the node's bytes to the transaction as object t->id. */
static agt_status tree_emit(agt_git *git, agt_git_tree *t, agt_error *err) {
    bool fresh = t->serial != git->forest.serial;
    uint32_t object = agt__git_txn_find(git, &t->id);
    agt_git_object o = {.id = t->id, .kind = AGT_GIT_TREE, .size = t->len, .base = AGT_GIT_NONE};
    bool new_head = fresh;
    if (object == AGT_GIT_NONE) {
        if (fresh || !tree_as_delta(git, t, t->last, &t->since_last, &o)) {
            new_head = true;
            if (fresh || !tree_as_delta(git, t, t->head, &t->since_head, &o)) {
                o.data = t->data;
                o.len = t->len;
            }
        }
        agt_status status = agt__git_txn_add(git, &o, &object, err);
        if (status != AGT_OK) return status;
    }
    t->serial = git->forest.serial;
    t->last = object;
    t->since_last.count = 0;
    if (new_head) t->head = object;
    if (new_head) t->since_head.count = 0;
    return AGT_OK;
}

/* Hashes one folder whose kids are sealed, and tells its parent. */
static agt_status tree_seal(agt_git *git, agt_git_tree *t, agt_error *err) {
    bool found = false;
    agt_oid id = tree_no_id;
    agt_git_tree *up = t->parent;
    agt_text name = {t->name, t->name_len};
    if (t->count || !up) agt__git_id(git->cpu, "tree", t->data, t->len, id.id);
    if (memcmp(&id, &t->id, sizeof id) == 0) return AGT_OK;
    t->id = id;
    size_t i = up ? tree_find(up, name, true, &found) : 0;
    if (up && !t->count) return found ? tree_entry_remove(git, up, i, err) : AGT_OK; /* (2) */
    agt_status status = tree_emit(git, t, err);
    if (status != AGT_OK || !up) return status;
    return found ? tree_entry_set(git, up, i, &id, err)
                 : tree_entry_insert(git, up, i, name, true, &id, err);
}

AGT_PRIVATE agt_status agt__git_forest_seal(agt_git *git, agt_oid *out, agt_error *err) {
    agt_git_forest *f = &git->forest;
    uint32_t depth = 0;
    for (size_t i = 0; i < f->dirty_count; i++)
        if (f->dirty[i]->depth > depth) depth = f->dirty[i]->depth;
    for (;; depth--) {
        for (size_t i = 0; i < f->dirty_count; i++) {
            if (f->dirty[i]->depth != depth) continue;
            agt_status status = tree_seal(git, f->dirty[i], err);
            if (status != AGT_OK) return status;
        }
        if (!depth) break;
    }
    for (size_t i = 0; i < f->dirty_count; i++)
        f->dirty[i]->dirty = false;
    f->dirty_count = 0;
    *out = f->root->id;
    return AGT_OK;
}
