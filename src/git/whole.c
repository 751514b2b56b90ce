/* whole: is everything there that a commit leads to? A power cut empties loose objects, and a
 * commit that is left may name a tree that is not. What a pack holds is whole with all that it
 * leads to, because packs are synced before they are named, git's own too; so only loose objects
 * are followed, and those are few. */
#include "parts.h"

typedef struct whole_walk {
    agt_git *git;
    agt_buf todo;  /* ids still to be looked at */
    agt_oid *seen; /* hash table; a zero id is a free place */
    size_t seen_cap, seen_count;
    agt_buf bytes;
    bool nomem;
    bool deep; /* follow and read what packs hold, too */
} whole_walk;

static const agt_oid whole_free;

/* The id's place in the table, or the free one where it belongs. */
static agt_oid *whole_place(agt_oid *table, size_t cap, const agt_oid *id) {
    size_t i = agt__get32(id->id) & (cap - 1);
    while (memcmp(&table[i], &whole_free, sizeof *id) != 0 &&
           memcmp(&table[i], id, sizeof *id) != 0)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static bool whole_grow(whole_walk *w) {
    size_t cap = w->seen_cap ? w->seen_cap * 2 : 256;
    agt_oid *table = agt__zalloc(&w->git->mem, cap * sizeof *table);
    if (!table) return false;
    for (size_t i = 0; i < w->seen_cap; i++)
        if (memcmp(&w->seen[i], &whole_free, sizeof whole_free) != 0)
            *whole_place(table, cap, &w->seen[i]) = w->seen[i];
    agt__free(&w->git->mem, w->seen, w->seen_cap * sizeof *w->seen);
    w->seen = table;
    w->seen_cap = cap;
    return true;
}

static void whole_add(whole_walk *w, const unsigned char raw[20]) {
    agt_oid id;
    memcpy(id.id, raw, sizeof id.id);
    if (w->seen_count >= w->seen_cap / 2 && !whole_grow(w)) {
        w->nomem = true;
        return;
    }
    agt_oid *place = whole_place(w->seen, w->seen_cap, &id);
    if (memcmp(place, &id, sizeof id) == 0) return; /* a zero id too: nobody made it */
    *place = id;
    w->seen_count++;
    agt__buf_put(&w->todo, &id, sizeof id);
    if (w->todo.failed) w->nomem = true;
}

/* ---- what an object names ---- */

/* "tree <id>", "parent <id>", "object <id>": the lines in front of the first empty one. */
static void whole_lines(const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    static const struct {
        const char *word;
        int kind;
    } words[] = {{"tree ", AGT_GIT_TREE}, {"parent ", AGT_GIT_COMMIT}, {"object ", 0}};
    const char *p = (const char *)bytes->data, *end = p ? p + bytes->len : p, *line_end;
    agt_oid id;
    for (; p && p < end && *p != '\n'; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) return;
        for (size_t i = 0; i < AGT_COUNT(words); i++) {
            size_t n = strlen(words[i].word);
            if ((size_t)(line_end - p) == n + AGT_GIT_HEX && memcmp(p, words[i].word, n) == 0 &&
                agt__unhex(p + n, AGT_GIT_HEX, id.id, sizeof id.id))
                each(ctx, &id, words[i].kind, (agt_text){NULL, 0});
        }
    }
}

/* "<mode> <name>\0<id>" after another; what is in a submodule is elsewhere. */
static void whole_entries(const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    const unsigned char *p = bytes->data, *end = p ? p + bytes->len : p, *name_end, *name;
    agt_oid id;
    for (; p && p < end; p = name_end + 21) {
        name_end = memchr(p, 0, (size_t)(end - p));
        if (!name_end || end - name_end < 21) return;
        name = memchr(p, ' ', (size_t)(name_end - p));
        if (!name || memcmp(p, "160000", 6) == 0) continue;
        memcpy(id.id, name_end + 1, sizeof id.id);
        bool tree = p[0] == (unsigned char)'4' || (p[0] == (unsigned char)'0' && p[1] == '4');
        each(ctx, &id, tree ? AGT_GIT_TREE : AGT_GIT_BLOB,
             (agt_text){(const char *)name + 1, (size_t)(name_end - name - 1)});
    }
}

AGT_PRIVATE void agt__git_links(int kind, const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    if (kind == AGT_GIT_TREE)
        whole_entries(bytes, each, ctx);
    else if (kind != AGT_GIT_BLOB)
        whole_lines(bytes, each, ctx);
}

/* ---- the walk ---- */

static void whole_link(void *ctx, const agt_oid *id, int kind, agt_text name) {
    (void)kind, (void)name;
    whole_add(ctx, id->id);
}

static agt_status whole_one(whole_walk *w, const agt_oid *id, bool *there, agt_error *err) {
    int kind = 0;
    bool packed = false;
    agt_error mine;
    agt_status status = w->deep ? AGT_OK : agt__git_packed(w->git, id, &packed, err);
    if (status != AGT_OK || packed) return status;
    w->bytes.len = 0;
    status = agt__git_load(w->git, id, &kind, &w->bytes, &mine);
    if (status == AGT_NOT_FOUND || status == AGT_CORRUPT) {
        *there = false;
        return AGT_OK;
    }
    if (status != AGT_OK && err) *err = mine;
    if (status != AGT_OK) return status;
    agt__git_links(kind, &w->bytes, whole_link, w);
    return w->nomem ? agt__nomem(err) : AGT_OK;
}

static agt_status whole_all(agt_git *git, const agt_oid *id, bool deep, bool *whole,
                            agt_error *err) {
    whole_walk w = {
        .git = git, .todo = agt__buf(&git->mem), .bytes = agt__buf(&git->mem), .deep = deep};
    agt_status status = AGT_OK;
    *whole = true;
    whole_add(&w, id->id);
    if (w.nomem) status = agt__nomem(err);
    while (status == AGT_OK && *whole && w.todo.len) {
        agt_oid next;
        w.todo.len -= sizeof next;
        memcpy(&next, w.todo.data + w.todo.len, sizeof next);
        status = whole_one(&w, &next, whole, err);
    }
    agt__buf_free(&w.todo);
    agt__buf_free(&w.bytes);
    agt__free(&git->mem, w.seen, w.seen_cap * sizeof *w.seen);
    return status;
}

AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole,
                                      agt_error *err) {
    return whole_all(git, id, false, whole, err);
}

AGT_PRIVATE agt_status agt__git_sound(agt_git *git, const agt_oid *id, bool *sound,
                                      agt_error *err) {
    return whole_all(git, id, true, sound, err);
}
