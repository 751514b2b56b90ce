/* pack: a transaction, from begin to the files it leaves.
 *
 * The objects of a transaction stay in memory, whole or as deltas on earlier ones, until it is
 * written all at once in one of two ways:
 *
 *     loose   objects/ab/cdef..., a temporary and a rename each, nothing synced
 *     pack    objects/pack/pack-<SHA-1>.pack and .idx: commits, then trees, then blobs, each in
 *             the order they were made, so that a delta's base always comes first
 *
 * begin ─► put, remove ─► commit ─► ... ─► write (or abort). The trees stay in memory behind it:
 * the next transaction on top of the last commit reads nothing.
 *
 * (1) A failure at any point ends the transaction and forgets the trees; the handle goes on.
 * (2) Every object the transaction made is written, in both ways: whether a file of that name is
 *     there already says nothing, for it may be empty. No object is twice in a pack.
 * (3) A pack is durable before write returns (packfile.c).
 * (4) What no commit has sealed is not written.
 * (5) Ids depend on the calls alone, never on how objects are stored or grouped. */
#include "parts.h"

#define PACK_TMP_LOOSE   "tmp_obj_agt"
#define PACK_CHUNK       (64u * 1024)
#define PACK_BLOCK       4000u          /* a loose file that fits one block of the disk anyway */
#define PACK_STORE_LOOSE (64u * 1024)   /* trees longer than that are stored, not compressed: */
#define PACK_STORE       (1024u * 1024) /* a loose one goes soon, a packed one stays */
#define PACK_DELTA       (1024u * 1024) /* longer blobs are not compared */
#define PACK_MAX_TIME    253402300799LL

/* ---- the transaction's objects ---- */

static uint32_t pack_slot(const agt_git_txn *t, const agt_oid *id) {
    uint32_t at = agt__get32(id->id) & (t->slot_count - 1);
    while (t->slots[at] && memcmp(&t->objects[t->slots[at] - 1].id, id, sizeof *id) != 0)
        at = (at + 1) & (t->slot_count - 1);
    return at;
}

AGT_PRIVATE uint32_t agt__git_txn_find(const agt_git *git, const agt_oid *id) {
    const agt_git_txn *t = &git->txn;
    if (!t->slot_count) return AGT_GIT_NONE;
    uint32_t found = t->slots[pack_slot(t, id)];
    return found ? found - 1 : AGT_GIT_NONE;
}

/* Doubles the table of ids and the objects behind it. */
static bool pack_txn_grow(agt_git *git) {
    agt_git_txn *t = &git->txn;
    uint32_t cap = t->cap ? t->cap * 2 : 64, slot_count = cap * 2;
    size_t slots_size, objects_size;
    if (cap > UINT32_MAX / 8 || !agt__mul_size(slot_count, sizeof *t->slots, &slots_size) ||
        !agt__mul_size(cap, sizeof *t->objects, &objects_size))
        return false;
    uint32_t *slots = agt__zalloc(&git->mem, slots_size);
    if (!slots) return false;
    agt_git_object *objects =
        agt__realloc(&git->mem, t->objects, t->cap * sizeof *objects, objects_size);
    if (!objects) {
        agt__free(&git->mem, slots, slots_size);
        return false;
    }
    agt__free(&git->mem, t->slots, t->slot_count * sizeof *slots);
    t->objects = objects;
    t->cap = cap;
    t->slots = slots;
    t->slot_count = slot_count;
    for (uint32_t i = 0; i < t->count; i++)
        slots[pack_slot(t, &objects[i].id)] = i + 1;
    return true;
}

/* n bytes that live as long as the transaction. */
static unsigned char *pack_txn_room(agt_git *git, size_t n) {
    agt_git_chunk *c = git->txn.chunks;
    if (!c || c->cap - c->len < n) {
        size_t cap = n < PACK_CHUNK / 2 ? PACK_CHUNK : n, size;
        if (!agt__add_size(cap, sizeof *c, &size)) return NULL;
        agt_git_chunk *more = agt__alloc(&git->mem, size);
        if (!more) return NULL;
        *more = (agt_git_chunk){.next = c, .cap = cap};
        if (c && cap != PACK_CHUNK) { /* a chunk of its own goes behind the one being filled */
            more->next = c->next;
            c->next = more;
        } else {
            git->txn.chunks = more;
        }
        c = more;
    }
    unsigned char *p = (unsigned char *)(c + 1) + c->len;
    c->len += n;
    return p;
}

AGT_PRIVATE agt_status agt__git_txn_add(agt_git *git, const agt_git_object *object, uint32_t *out,
                                        agt_error *err) {
    agt_git_txn *t = &git->txn;
    if (t->count == t->cap && !pack_txn_grow(git)) return agt__nomem(err);
    unsigned char *data = pack_txn_room(git, object->len ? object->len : 1);
    if (!data) return agt__nomem(err);
    if (object->len) memcpy(data, object->data, object->len);
    t->slots[pack_slot(t, &object->id)] = t->count + 1;
    t->objects[t->count] = *object;
    t->objects[t->count].data = data;
    *out = t->count++;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_txn_bytes(agt_git *git, uint32_t object, agt_buf *out,
                                          agt_error *err) {
    uint32_t chain[AGT_GIT_CHAIN];
    const agt_git_object *objects = git->txn.objects;
    size_t n = 0;
    for (; objects[object].is_delta; object = objects[object].base)
        chain[n++] = object;
    const unsigned char *base = objects[object].data;
    size_t base_len = objects[object].len;
    if (!n) {
        if (!agt__buf_reserve(out, base_len)) return agt__nomem(err);
        agt__buf_put(out, base, base_len);
        return AGT_OK;
    }
    for (size_t turn = 0; n; turn ^= 1) {
        const agt_git_object *o = &objects[chain[--n]];
        agt_buf *to = n ? &git->work[turn] : out;
        if (n) agt__git_reuse(to);
        agt_status status = agt__git_delta_apply(base, base_len, o->data, o->len, to, err);
        if (status != AGT_OK) return status;
        base = to->data;
        base_len = o->size;
    }
    return AGT_OK;
}

static void pack_txn_end(agt_git *git) {
    agt_git_txn *t = &git->txn;
    for (agt_git_chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        agt__free(&git->mem, c, sizeof *c + c->cap);
    }
    agt__free(&git->mem, t->objects, t->cap * sizeof *t->objects);
    agt__free(&git->mem, t->slots, t->slot_count * sizeof *t->slots);
    memset(t, 0, sizeof *t);
    agt__git_reuse(&git->scratch);
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        agt__git_reuse(&git->work[i]);
}

AGT_PRIVATE void agt__git_abort(agt_git *git) {
    pack_txn_end(git);
    agt__git_forest_free(git);
    git->has_tip = false;
}

/* Ends the transaction where status is a failure (1). */
static agt_status pack_done(agt_git *git, agt_status status) {
    if (status != AGT_OK) agt__git_abort(git);
    return status;
}

/* ---- begin ---- */

/* The time in a commit's line "committer name <email> time zone", from its '>' on. */
static int64_t pack_line_time(const char *line, const char *end) {
    int64_t time = 0;
    const char *at = end;
    while (at > line && at[-1] != '>')
        at--;
    if (at < end && *at == ' ') at++;
    for (; at < end && *at >= '0' && *at <= '9' && time <= PACK_MAX_TIME; at++)
        time = time * 10 + (*at - '0');
    return time <= PACK_MAX_TIME ? time : 0;
}

/* A commit's committer time; 0 where it is not readable. */
static int64_t pack_committer_time(const char *p, const char *end) {
    while (p < end && *p != '\n') { /* the headers end at an empty line */
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) return 0;
        if (line_end - p > 10 && memcmp(p, "committer ", 10) == 0)
            return pack_line_time(p, line_end);
        p = line_end + 1;
    }
    return 0;
}

/* Reads the parent commit and makes ready to patch its tree. */
static agt_status pack_parent(agt_git *git, const agt_oid *parent, agt_error *err) {
    int kind = 0;
    agt_oid tree;
    agt_buf b = agt__buf(&git->mem);
    agt_status status = agt__git_load(git, parent, &kind, &b, err);
    bool good = status == AGT_OK && kind == AGT_GIT_COMMIT && b.len > 46 &&
                memcmp(b.data, "tree ", 5) == 0 && b.data[45] == '\n' &&
                agt__unhex((const char *)b.data + 5, AGT_GIT_HEX, tree.id, sizeof tree.id);
    if (status == AGT_OK && !good)
        status = agt__fail(err, AGT_CORRUPT, "the parent is no commit of git's");
    if (good) {
        const char *text = (const char *)b.data;
        git->tip_time = pack_committer_time(text, text + b.len);
        status = agt__git_forest_plant(git, &tree, err);
    }
    agt__buf_free(&b);
    return status;
}

AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err) {
    agt_status status = AGT_OK;
    AGENT_TRACE_ASSERT(!git->txn.open);
    pack_txn_end(git);
    if (!parent) {
        git->has_tip = false;
        git->tip_time = 0;
        status = agt__git_forest_plant(git, NULL, err);
    } else if (!git->has_tip || memcmp(&git->tip, parent, sizeof *parent) != 0) {
        git->has_tip = false;
        status = pack_parent(git, parent, err);
    }
    if (status != AGT_OK) return pack_done(git, status);
    if (parent) git->tip = *parent;
    git->has_tip = parent != NULL;
    git->forest.serial++;
    git->txn.open = true;
    git->txn.last_commit = AGT_GIT_NONE;
    return AGT_OK;
}

static agt_status pack_open_txn(agt_git *git, agt_error *err) {
    if (git->txn.open) return AGT_OK;
    return agt__fail(err, AGT_INVALID, "no transaction is open: an earlier failure ended it");
}

/* ---- put, remove, commit ---- */

/* Adds the blob unless the transaction has it; `was` is what stood at its path before. */
static agt_status pack_add_blob(agt_git *git, const agt_oid *id, const void *bytes, size_t len,
                                const agt_oid *was, agt_error *err) {
    agt_git_object o = {.id = *id, .kind = AGT_GIT_BLOB, .size = len, .len = len, .data = bytes};
    uint32_t object;
    if (agt__git_txn_find(git, id) != AGT_GIT_NONE) return AGT_OK; /* (2) */
    o.base = was ? agt__git_txn_find(git, was) : AGT_GIT_NONE;
    if (o.base != AGT_GIT_NONE && git->txn.objects[o.base].kind != AGT_GIT_BLOB)
        o.base = AGT_GIT_NONE;
    return agt__git_txn_add(git, &o, &object, err);
}

/* An empty document's bytes may be NULL. */
static bool pack_is_empty_blob(const agt_git *git, const agt_oid *id) {
    agt_oid empty;
    agt__git_id(git->cpu, "blob", NULL, 0, empty.id);
    return memcmp(id, &empty, sizeof empty) == 0;
}

AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err) {
    agt_oid was;
    bool had = false;
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    if (len > AGT_GIT_MAX_RAW)
        return pack_done(git, agt__fail(err, AGT_LIMIT, "the document is too long"));
    status = agt__git_forest_put(git, path, path_len, known, &was, &had, err);
    if (status == AGT_OK && (bytes || pack_is_empty_blob(git, known)))
        status = pack_add_blob(git, known, bytes, bytes ? len : 0, had ? &was : NULL, err);
    return pack_done(git, status);
}

AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err) {
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    return pack_done(git, agt__git_forest_remove(git, path, path_len, err));
}

/* Would git take this as a name or an address? */
static bool pack_name_valid(agt_text t, bool may_be_empty) {
    for (size_t i = 0; i < t.len; i++)
        if (!t.data[i] || t.data[i] == '\n' || t.data[i] == '<' || t.data[i] == '>') return false;
    return t.len || may_be_empty;
}

static void pack_put_hex(agt_buf *b, const char *label, const agt_oid *id) {
    char hex[AGT_GIT_HEX + 1];
    agt__hex(id->id, sizeof id->id, hex);
    hex[AGT_GIT_HEX] = '\n';
    agt__buf_text(b, label);
    agt__buf_put(b, hex, sizeof hex);
}

static void pack_put_person(agt_buf *b, const char *label, const agt_git_signature *s,
                            int64_t unix_s) {
    agt__buf_text(b, label);
    agt__buf_put(b, s->name.data, s->name.len);
    agt__buf_text(b, " <");
    if (s->email.len) agt__buf_put(b, s->email.data, s->email.len);
    agt__buf_text(b, "> ");
    agt__buf_u64(b, (uint64_t)unix_s);
    agt__buf_text(b, " +0000\n");
}

/* Adds the commit of `tree`; git->tip_time is its committer's time already. */
static agt_status pack_add_commit(agt_git *git, const agt_git_signature *author,
                                  const agt_oid *tree, agt_text message, agt_error *err) {
    agt_buf *b = &git->scratch;
    agt_git_txn *t = &git->txn;
    uint32_t object;
    agt__git_reuse(b);
    pack_put_hex(b, "tree ", tree);
    if (git->has_tip) pack_put_hex(b, "parent ", &git->tip);
    pack_put_person(b, "author ", author, author->unix_s);
    pack_put_person(b, "committer ", author, git->tip_time);
    agt__buf_byte(b, '\n');
    if (message.len) agt__buf_put(b, message.data, message.len);
    if (b->failed) return agt__nomem(err);
    agt_git_object o = {.kind = AGT_GIT_COMMIT, .size = b->len, .len = b->len, .data = b->data};
    agt__git_id(git->cpu, "commit", b->data, b->len, o.id.id);
    o.base = t->last_commit;
    object = agt__git_txn_find(git, &o.id);
    if (object == AGT_GIT_NONE) {
        agt_status status = agt__git_txn_add(git, &o, &object, err);
        if (status != AGT_OK) return status;
    }
    t->last_commit = object;
    t->kept = t->count;
    git->tip = o.id;
    git->has_tip = true;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err) {
    agt_oid tree;
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    if (!pack_name_valid(author->name, false) || !pack_name_valid(author->email, true) ||
        (message.len && memchr(message.data, 0, message.len)))
        status = agt__fail(err, AGT_INVALID, "git cannot hold this author or message");
    else if (author->unix_s < 0 || author->unix_s > PACK_MAX_TIME || committed_unix_s < 0 ||
             committed_unix_s > PACK_MAX_TIME)
        status = agt__fail(err, AGT_INVALID, "git cannot hold this time");
    if (status == AGT_OK) status = agt__git_forest_seal(git, &tree, err);
    if (status == AGT_OK && committed_unix_s > git->tip_time) git->tip_time = committed_unix_s;
    if (status == AGT_OK) status = pack_add_commit(git, author, &tree, message, err);
    if (status == AGT_OK) *out = git->tip;
    return pack_done(git, status);
}

/* ---- writing loose objects ---- */

/* "<kind> <size>\0"; its length. */
static size_t pack_loose_head(const agt_git_object *o, char out[32]) {
    const char *kind = agt__git_kind(o->kind);
    char digits[20];
    size_t n = strlen(kind), d = 0;
    memcpy(out, kind, n);
    out[n++] = ' ';
    for (size_t v = o->size; v || !d; v /= 10)
        digits[d++] = (char)('0' + v % 10);
    while (d)
        out[n++] = digits[--d];
    out[n++] = 0;
    return n;
}

static agt_status pack_loose_one(agt_git *git, agt_fd objects, uint32_t object, agt_error *err) {
    const agt_git_object *o = &git->txn.objects[object];
    const unsigned char *data = o->data;
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0}, head[32];
    agt_git_file f;
    agt_fd to;
    size_t n = pack_loose_head(o, head);
    agt__hex(o->id.id, sizeof o->id.id, hex);
    memcpy(folder, hex, 2);
    agt_status status = AGT_OK;
    if (o->is_delta) {
        agt__git_reuse(&git->scratch);
        status = agt__git_txn_bytes(git, object, &git->scratch, err);
        data = git->scratch.data;
    }
    if (status == AGT_OK) status = agt__open_folder(git->sys, objects, folder, true, &to, err);
    if (status != AGT_OK) return status;
    status = agt__git_file_open(&f, git, objects, PACK_TMP_LOOSE, 0444, false, err);
    bool stored =
        o->size + n <= PACK_BLOCK || (o->kind == AGT_GIT_TREE && o->size > PACK_STORE_LOOSE);
    if (status == AGT_OK) agt__git_file_zip(&f, head, n, data, o->size, stored, err);
    if (status == AGT_OK) status = agt__git_file_end(&f, false, err);
    if (status == AGT_OK) status = agt__git_file_name(&f, to, hex + 2, err);
    git->sys->close(git->sys->ctx, to);
    return status;
}

static agt_status pack_write_loose(agt_git *git, agt_error *err) {
    agt_fd objects;
    agt_status status = agt__git_objects(git, true, &objects, err);
    for (uint32_t i = 0; i < git->txn.kept && status == AGT_OK; i++)
        status = pack_loose_one(git, objects, i, err);
    return status;
}

/* ---- writing a pack ---- */

/* Tries to make a delta of an object that only has a similar one (5: never changes an id). */
static void pack_try_delta(agt_git *git, agt_git_object *o) {
    const agt_git_object *base = o->base == AGT_GIT_NONE ? NULL : &git->txn.objects[o->base];
    o->chain = 0;
    if (!base || base->chain + 1 >= AGT_GIT_CHAIN) return;
    if (o->size > PACK_DELTA || base->size > PACK_DELTA) return;
    agt__git_reuse(&git->scratch);
    if (!agt__git_delta_make(base->data, base->size, o->data, o->size, o->size / 4 * 3,
                             &git->scratch))
        return;
    o->chain = (uint8_t)(base->chain + 1);
}

static void pack_put_entry(agt_git *git, agt_git_file *f, agt_git_object *o, agt_error *err) {
    const unsigned char *data = o->data;
    size_t len = o->len;
    bool delta = o->is_delta;
    if (!delta) {
        pack_try_delta(git, o);
        delta = o->chain > 0;
        if (delta) data = git->scratch.data;
        if (delta) len = git->scratch.len;
    }
    bool stored = o->kind == AGT_GIT_TREE && len > PACK_STORE;
    agt__git_put_entry(f, o, delta ? &git->txn.objects[o->base] : NULL, data, len, stored, err);
}

static agt_status pack_put_entries(void *ctx, agt_git_file *f, agt_error *err) {
    agt_git *git = ctx;
    agt_git_txn *t = &git->txn;
    for (int kind = AGT_GIT_COMMIT; kind <= AGT_GIT_BLOB; kind++) {
        for (uint32_t i = 0; i < t->kept && f->status == AGT_OK; i++)
            if (t->objects[i].kind == kind) pack_put_entry(git, f, &t->objects[i], err);
    }
    return f->status;
}

static agt_status pack_write_packed(agt_git *git, agt_error *err) {
    char stem[AGT_GIT_STEM];
    agt_git_pack_job job = {git->txn.objects, git->txn.kept, pack_put_entries, git};
    return agt__git_pack_write(git, &job, stem, err);
}

/* Removes the loose files of what a pack holds now, and no others: there may be a person's. */
static void pack_drop_loose(agt_git *git) {
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0};
    agt_fd objects, fd;
    if (agt__git_objects(git, false, &objects, NULL) != AGT_OK) return;
    for (uint32_t i = 0; i < git->txn.kept; i++) {
        agt__hex(git->txn.objects[i].id.id, 20, hex);
        memcpy(folder, hex, 2);
        fd = git->sys->open(git->sys->ctx, objects, folder, AGT_O_READ | AGT_O_FOLDER, 0);
        if (fd < 0) continue;
        int rc = git->sys->remove(git->sys->ctx, fd, hex + 2);
        git->sys->close(git->sys->ctx, fd);
        if (rc == 0) (void)git->sys->remove_folder(git->sys->ctx, objects, folder); /* if empty */
    }
}

AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err) {
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    bool rest = git->forest.dirty_count > 0;
    if (git->txn.kept && how == AGT_GIT_LOOSE)
        status = pack_write_loose(git, err);
    else if (git->txn.kept)
        status = pack_write_packed(git, err);
    if (status == AGT_OK && how == AGT_GIT_REPACK) pack_drop_loose(git);
    if (status != AGT_OK || rest || !git->has_tip)
        agt__git_abort(git); /* (1), (4) */
    else
        pack_txn_end(git);
    return status;
}
