/* objects: reading what git's folder holds, through sys.
 *
 * Three places, in this order: a loose file objects/ab/cdef..., a pack of version 2 beside its
 * index of version 2, and last libgit2, where there is something only it can read (alternates,
 * other versions). The first two are read here: they are all we write, a machine without a disk has
 * nothing else, and a tree or a version is read without starting libgit2.
 *
 *     loose   zlib stream of "<kind> <size>\0" and the bytes
 *     pack    "PACK" version count, entries, SHA-1; an entry is kind and size (4 bits, then 7 a
 *             byte), for OFS_DELTA the distance back to its base, for REF_DELTA the base's id,
 *             and a zlib stream
 *     index   ff 't' 'O' 'c', version, 256 running counts, ids, crc32s, offsets (31 bits, or the
 *             number of one of 64 bits), 64-bit offsets, SHA-1 of the pack, SHA-1
 *
 * (1) Every object that is handed out was hashed and is what its id says.
 * (2) A damaged loose file does not hide a good copy in a pack: damage is only reported where no
 *     good copy is found.
 * (3) The list of packs is read once, and again when an object is missed: somebody's `git gc` may
 *     have moved everything. An open pack stays readable when its name is gone.
 * (4) Chains of deltas are followed in a loop; offsets only go down, ids at most OBJECTS_CHAIN.
 * (5) Whoever reads everything turns on a cache of what was read last: it has the chain of the next
 *     object in it. Other handles keep nothing. */
#include "parts.h"

#define OBJECTS_HEAD   32u   /* "<kind> <size>\0" fits */
#define OBJECTS_CHAIN  5000u /* git's own limit is 4,095 */
#define OBJECTS_RATIO  1040u /* zlib cannot make more bytes of one */
#define OBJECTS_IDS    (8u + 1024u)
#define OBJECTS_WINDOW 64u
#define OBJECTS_CACHED 1024u                         /* objects that are kept at most */
#define OBJECTS_CACHE  (32u * 1024 * 1024)           /* bytes of them */
#define OBJECTS_SHORT  AGT_SYS_ERR(AGT_SYS_NOSYS, 0) /* the file ends too early */

AGT_PRIVATE agt_status agt__git_objects(agt_git *git, bool make, agt_fd *out, agt_error *err) {
    if (git->objects == AGT_FD_NONE) {
        agt_status status =
            agt__open_folder(git->sys, git->dir, "objects", make, &git->objects, err);
        if (status != AGT_OK) git->objects = AGT_FD_NONE;
        if (status != AGT_OK) return status;
    }
    *out = git->objects;
    return AGT_OK;
}

static agt_status objects_corrupt(agt_error *err, const agt_oid *id) {
    char hex[AGT_GIT_HEX];
    agt__hex(id->id, sizeof id->id, hex);
    return agt__fail(err, AGT_CORRUPT, "git object %.40s is damaged; run 'agent-trace repair'",
                     hex);
}

/* Why an inflation ended early. */
static agt_status objects_unzip_fail(const agt_git_unzip *z, const agt_oid *id, agt_error *err) {
    if (z->nomem) return agt__nomem(err);
    if (z->rc < 0) return agt__fail_io(err, z->rc, "cannot read a git object");
    return objects_corrupt(err, id);
}

/* Inflates the rest of a stream, exactly n bytes and its end, behind what `out` holds. */
static agt_status objects_inflate(agt_git_unzip *z, size_t n, const agt_oid *id, agt_buf *out,
                                  agt_error *err) {
    if (!agt__buf_reserve(out, n)) return agt__nomem(err);
    size_t got = n ? agt__git_unzip(z, out->data + out->len, n) : 0;
    if (got < n || !agt__git_unzip_end(z)) return objects_unzip_fail(z, id, err);
    out->len += n;
    return AGT_OK;
}

/* Could a stream of `from` bytes make n? Asked before memory is. */
static bool objects_plausible(uint64_t n, uint64_t from) {
    return n <= AGT_GIT_MAX_RAW && n / OBJECTS_RATIO <= from;
}

/* ---- loose ---- */

/* Reads "<kind> <size>\0"; the header's length, or 0. */
static size_t objects_loose_head(const unsigned char *p, size_t n, int *kind, uint64_t *size) {
    const unsigned char *end = memchr(p, 0, n);
    size_t at = 0;
    for (*kind = AGT_GIT_TAG; *kind; --*kind) {
        const char *name = agt__git_kind(*kind);
        at = strlen(name);
        if (n > at && memcmp(p, name, at) == 0 && p[at] == ' ') break;
    }
    if (!end || !*kind || p + at + 1 == end || end - p - (ptrdiff_t)at > 20) return 0;
    for (*size = 0, at++; p + at < end; at++) {
        if (p[at] < '0' || p[at] > '9') return 0;
        *size = *size * 10 + (uint64_t)(p[at] - '0');
    }
    return at + 1;
}

static agt_status objects_loose_read(agt_git *git, agt_fd fd, const agt_oid *id, int *kind,
                                     agt_buf *out, agt_error *err) {
    unsigned char head[OBJECTS_HEAD], sum[20];
    agt_stat st;
    agt_git_unzip z;
    uint64_t size = 0;
    size_t start = out->len;
    int rc = git->sys->fstat(git->sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at a git object");
    agt_status status = agt__git_unzip_begin(&z, git, fd, 0, st.size, false, err);
    if (status != AGT_OK) return status;
    size_t got = agt__git_unzip(&z, head, sizeof head);
    if (z.rc < 0 || z.nomem) return objects_unzip_fail(&z, id, err);
    size_t skip = objects_loose_head(head, got, kind, &size), some = got - skip;
    if (!skip || !objects_plausible(size, st.size) || some > size) return objects_corrupt(err, id);
    if (!agt__buf_reserve(out, (size_t)size)) return agt__nomem(err);
    agt__buf_put(out, head + skip, some);
    status = objects_inflate(&z, (size_t)size - some, id, out, err);
    if (status != AGT_OK) return status;
    agt__git_id(git->cpu, agt__git_kind(*kind), out->data ? out->data + start : NULL,
                out->len - start, sum);
    return memcmp(sum, id->id, sizeof sum) == 0 ? AGT_OK : objects_corrupt(err, id);
}

AGT_PRIVATE agt_status agt__git_load_loose(agt_git *git, agt_fd folder, const char *name,
                                           const agt_oid *id, int *kind, agt_buf *out,
                                           agt_error *err) {
    size_t start = out->len;
    agt_fd fd = git->sys->open(git->sys->ctx, folder, name, AGT_O_READ, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open a git object");
    agt_status status = objects_loose_read(git, fd, id, kind, out, err);
    git->sys->close(git->sys->ctx, fd);
    if (status != AGT_OK) out->len = start;
    return status;
}

static agt_status objects_find_loose(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err) {
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0};
    agt_fd objects, fd;
    agt__hex(id->id, sizeof id->id, hex);
    memcpy(folder, hex, 2);
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    fd = git->sys->open(git->sys->ctx, objects, folder, AGT_O_READ | AGT_O_FOLDER, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open objects/%s", folder);
    status = agt__git_load_loose(git, fd, hex + 2, id, kind, out, err);
    git->sys->close(git->sys->ctx, fd);
    return status;
}

/* ---- packs: their files ---- */

static void objects_pack_close(agt_git *git, agt_git_pack *p) {
    if (p->pack == AGT_FD_NONE) return;
    agt__git_forget(git, p->pack);
    git->sys->close(git->sys->ctx, p->pack);
    if (p->idx != AGT_FD_NONE) git->sys->close(git->sys->ctx, p->idx);
    p->pack = p->idx = AGT_FD_NONE;
    git->pack_open--;
}

static agt_fd objects_pack_file(agt_git *git, agt_fd folder, const char *stem, const char *ext,
                                uint64_t *size) {
    char name[96];
    agt_stat st;
    size_t n = strlen(stem);
    memcpy(name, stem, n);
    memcpy(name + n, ext, strlen(ext) + 1);
    agt_fd fd = git->sys->open(git->sys->ctx, folder, name, AGT_O_READ, 0);
    if (fd < 0) return fd;
    int rc = git->sys->fstat(git->sys->ctx, fd, &st);
    *size = st.size;
    if (rc == 0) return fd;
    git->sys->close(git->sys->ctx, fd);
    return rc;
}

/* Closes the pack that was used longest ago where too many are open. */
static void objects_pack_make_room(agt_git *git) {
    agt_git_pack *oldest = NULL;
    if (git->pack_open < AGT_GIT_OPEN) return;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (p->pack != AGT_FD_NONE && (!oldest || p->used < oldest->used)) oldest = p;
    }
    if (oldest) objects_pack_close(git, oldest);
}

/* Opens both files of a pack. AGT_NOT_FOUND: somebody deleted it. */
static agt_status objects_pack_open(agt_git *git, agt_git_pack *p, agt_error *err) {
    agt_fd objects, folder;
    p->used = ++git->pack_clock;
    if (p->pack != AGT_FD_NONE) return AGT_OK;
    objects_pack_make_room(git);
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    folder = git->sys->open(git->sys->ctx, objects, "pack", AGT_O_READ | AGT_O_FOLDER, 0);
    if (folder < 0) return agt__fail_sys(err, folder, "cannot open objects/pack");
    agt_fd pack = objects_pack_file(git, folder, p->name, ".pack", &p->pack_size);
    agt_fd idx = pack < 0 ? pack : objects_pack_file(git, folder, p->name, ".idx", &p->idx_size);
    git->sys->close(git->sys->ctx, folder);
    if (pack >= 0 && idx < 0) git->sys->close(git->sys->ctx, pack);
    if (idx < 0) return agt__fail_sys(err, idx, "cannot open %s", p->name);
    p->pack = pack;
    p->idx = idx;
    git->pack_open++;
    return AGT_OK;
}

static uint32_t objects_be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads exactly n bytes. 0, or negative: an agt_sys result, or OBJECTS_SHORT. */
static int64_t objects_get(agt_git *git, agt_fd fd, void *out, size_t n, uint64_t at) {
    int64_t got = agt__read_all(git->sys, fd, out, n, at);
    if (got < 0) return got;
    return (size_t)got == n ? 0 : OBJECTS_SHORT;
}

/* Opens a pack and reads the counts of its index. AGT_NOT_FOUND: it is gone, or libgit2's. */
static agt_status objects_pack_ready(agt_git *git, agt_git_pack *p, agt_error *err) {
    static const unsigned char magic[8] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    unsigned char head[OBJECTS_IDS], pack[12];
    uint32_t before = 0;
    if (p->foreign) return AGT_NOT_FOUND;
    agt_status status = objects_pack_open(git, p, err);
    if (status != AGT_OK || p->known) return status;
    int64_t rc = objects_get(git, p->idx, head, sizeof head, 0);
    if (rc == 0) rc = objects_get(git, p->pack, pack, sizeof pack, 0);
    if (rc < 0 && rc != OBJECTS_SHORT) return agt__fail_io(err, rc, "cannot read %s", p->name);
    if (rc == 0 && (memcmp(head, magic, sizeof magic) || memcmp(pack, "PACK\0\0\0\2", 8))) {
        p->foreign = true;
        objects_pack_close(git, p);
        return AGT_NOT_FOUND;
    }
    bool good = rc == 0;
    for (size_t i = 0; i < 256 && good; i++) {
        p->fan[i] = objects_be32(head + 8 + 4 * i);
        good = p->fan[i] >= before;
        before = p->fan[i];
    }
    p->count = before;
    if (good) good = p->idx_size >= OBJECTS_IDS + 28 * (uint64_t)p->count + 40;
    if (good) good = objects_be32(pack + 8) == p->count;
    p->known = good;
    if (good) return AGT_OK;
    objects_pack_close(git, p);
    return agt__fail(err, AGT_CORRUPT, "%s in the git folder is damaged", p->name);
}

/* ---- packs: the list ---- */

typedef struct objects_listing {
    agt_git *git;
    bool nomem, news;
} objects_listing;

static int objects_list_one(void *ctx, const char *name) {
    objects_listing *l = ctx;
    agt_git *git = l->git;
    size_t n = strlen(name);
    if (n < 10 || n - 4 >= sizeof git->packs[0]->name || memcmp(name, "pack-", 5) != 0) return 0;
    if (memcmp(name + n - 4, ".idx", 4) != 0) return 0;
    n -= 4;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (strlen(p->name) != n || memcmp(p->name, name, n) != 0) continue;
        p->seen = true;
        return 0;
    }
    if (git->pack_count == git->pack_cap) {
        size_t cap = git->pack_cap ? git->pack_cap * 2 : 8;
        agt_git_pack **more =
            agt__realloc(&git->mem, git->packs, git->pack_cap * sizeof *more, cap * sizeof *more);
        if (!more) return l->nomem = true;
        git->packs = more;
        git->pack_cap = cap;
    }
    agt_git_pack *p = agt__zalloc(&git->mem, sizeof *p);
    if (!p) return l->nomem = true;
    memcpy(p->name, name, n);
    p->pack = p->idx = AGT_FD_NONE;
    p->seen = l->news = true;
    git->packs[git->pack_count++] = p;
    return 0;
}

static void objects_cache_clear(agt_git *git);

static void objects_pack_free(agt_git *git, agt_git_pack *p) {
    objects_pack_close(git, p);
    objects_cache_clear(git); /* another pack may get the address */
    agt__free(&git->mem, p, sizeof *p);
}

/* Lists objects/pack anew. *news: there is a pack that was not known, or one came back. */
static agt_status objects_list(agt_git *git, bool *news, agt_error *err) {
    objects_listing l = {git, false, false};
    agt_fd objects, folder;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    folder = git->sys->open(git->sys->ctx, objects, "pack", AGT_O_READ | AGT_O_FOLDER, 0);
    if (folder < 0) return agt__fail_sys(err, folder, "cannot open objects/pack");
    for (size_t i = 0; i < git->pack_count; i++)
        git->packs[i]->seen = false;
    int rc = git->sys->list(git->sys->ctx, folder, objects_list_one, &l);
    git->sys->close(git->sys->ctx, folder);
    if (l.nomem) return agt__nomem(err);
    if (rc < 0) return agt__fail_io(err, rc, "cannot list objects/pack");
    size_t kept = 0;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (p->seen)
            git->packs[kept++] = p;
        else
            objects_pack_free(git, p);
    }
    git->pack_count = kept;
    git->listed = true;
    *news = l.news;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_objects_free(agt_git *git) {
    for (size_t i = 0; i < git->pack_count; i++)
        objects_pack_free(git, git->packs[i]);
    agt__free(&git->mem, git->packs, git->pack_cap * sizeof *git->packs);
    git->packs = NULL;
    git->pack_count = git->pack_cap = 0;
    git->listed = false;
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        agt__buf_free(&git->work[i]);
    objects_cache_clear(git);
    agt__free(&git->mem, git->cache, OBJECTS_CACHED * sizeof *git->cache);
    git->cache = NULL;
    if (git->objects != AGT_FD_NONE) git->sys->close(git->sys->ctx, git->objects);
    git->objects = AGT_FD_NONE;
}

/* ---- packs: finding and reading an object ---- */

/* The number of an id among the sorted ones of a pack's index, or its count. The ids are hashes:
 * a window around the place that one of its value has among others of its first byte nearly always
 * holds it. If not, windows further and further away do. 0 or a negative agt_sys result. */
static int64_t objects_number(agt_git *git, const agt_git_pack *p, const agt_oid *id,
                              uint32_t *out) {
    unsigned char ids[OBJECTS_WINDOW * 20];
    uint32_t lo = id->id[0] ? p->fan[id->id[0] - 1] : 0, hi = p->fan[id->id[0]];
    uint64_t likely = (uint64_t)(hi - lo) * objects_be32(id->id + 1) >> 32, step = OBJECTS_WINDOW;
    uint64_t at = lo + (likely < OBJECTS_WINDOW / 2 ? 0 : likely - OBJECTS_WINDOW / 2);
    while (lo < hi) {
        uint32_t n = hi - lo < OBJECTS_WINDOW ? hi - lo : OBJECTS_WINDOW;
        if (at > hi - n) at = hi - n;
        int64_t rc = objects_get(git, p->idx, ids, n * 20u, OBJECTS_IDS + 20 * at);
        if (rc < 0) return rc;
        if (memcmp(id->id, ids, 20) < 0) {
            hi = (uint32_t)at;
            at = hi - lo > step ? hi - step : lo;
        } else if (memcmp(id->id, ids + 20 * (size_t)(n - 1), 20) > 0) {
            lo = (uint32_t)at + n;
            at = hi - lo > step ? lo + step - OBJECTS_WINDOW : lo;
        } else {
            for (uint32_t i = 0; i < n; i++)
                if (memcmp(ids + 20 * (size_t)i, id->id, 20) == 0) {
                    *out = (uint32_t)at + i;
                    return 0;
                }
            break;
        }
        step *= 2;
    }
    *out = p->count;
    return 0;
}

/* Where an object stands in a pack. AGT_NOT_FOUND, AGT_CORRUPT, AGT_IO. */
static agt_status objects_pack_find(agt_git *git, const agt_git_pack *p, const agt_oid *id,
                                    uint64_t *offset, agt_error *err) {
    unsigned char word[8];
    uint32_t number = 0;
    int64_t rc = objects_number(git, p, id, &number);
    if (rc == 0 && number == p->count) return agt__fail(err, AGT_NOT_FOUND, "no such git object");
    uint64_t table = OBJECTS_IDS + 24 * (uint64_t)p->count;
    if (rc == 0) rc = objects_get(git, p->idx, word, 4, table + 4 * (uint64_t)number);
    if (rc == 0) *offset = objects_be32(word);
    if (rc == 0 && *offset >> 31) {
        table += 4 * (uint64_t)p->count + 8 * (*offset & 0x7fffffffu);
        rc = objects_get(git, p->idx, word, 8, table);
        *offset = (uint64_t)objects_be32(word) << 32 | objects_be32(word + 4);
    }
    if (rc < 0 && rc != OBJECTS_SHORT) return agt__fail_io(err, rc, "cannot read %s.idx", p->name);
    if (rc < 0 || *offset < 12 || *offset + 20 >= p->pack_size)
        return agt__fail(err, AGT_CORRUPT, "%s.idx is damaged", p->name);
    return AGT_OK;
}

AGT_PRIVATE void agt__git_pack_close(agt_git *git, agt_git_pack *pack) {
    objects_pack_close(git, pack);
}

/* Offset number `i` of a pack's index, of which the first word was read. */
static int64_t objects_offset(agt_git *git, const agt_git_pack *p, uint32_t word, uint64_t *out) {
    unsigned char b[8];
    *out = word;
    if (!(word >> 31)) return 0;
    uint64_t table = OBJECTS_IDS + 28 * (uint64_t)p->count + 8 * (uint64_t)(word & 0x7fffffffu);
    int64_t rc = objects_get(git, p->idx, b, 8, table);
    *out = (uint64_t)objects_be32(b) << 32 | objects_be32(b + 4);
    return rc;
}

AGT_PRIVATE agt_status agt__git_pack_ids(agt_git *git, agt_git_pack *pack, agt_git_id_fn each,
                                         void *ctx, agt_error *err) {
    unsigned char ids[OBJECTS_WINDOW * 20], words[OBJECTS_WINDOW * 4];
    agt_oid id;
    uint64_t offset = 0;
    agt_status status = objects_pack_ready(git, pack, err);
    for (uint32_t at = 0; status == AGT_OK && at < pack->count;) {
        uint32_t n = pack->count - at < OBJECTS_WINDOW ? pack->count - at : OBJECTS_WINDOW;
        uint64_t table = OBJECTS_IDS + 24 * (uint64_t)pack->count + 4 * (uint64_t)at;
        int64_t rc = objects_get(git, pack->idx, ids, n * 20u, OBJECTS_IDS + 20 * (uint64_t)at);
        if (rc == 0) rc = objects_get(git, pack->idx, words, n * 4u, table);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            rc = objects_offset(git, pack, objects_be32(words + 4 * (size_t)i), &offset);
            memcpy(id.id, ids + 20 * (size_t)i, sizeof id.id);
            if (rc == 0) each(ctx, &id, offset);
        }
        if (rc == OBJECTS_SHORT) return agt__fail(err, AGT_CORRUPT, "%s.idx is short", pack->name);
        if (rc < 0) return agt__fail_io(err, rc, "cannot read %s.idx", pack->name);
        at += n;
    }
    return status;
}

typedef struct objects_entry {
    int kind;      /* 1 to 4, or a delta's */
    uint64_t at;   /* offset of the entry */
    uint64_t data; /* offset of the zlib stream */
    uint64_t size, base;
} objects_entry;

/* The distance back to an OFS_DELTA's base, from `p` on; bytes used, or 0. */
static size_t objects_distance(const unsigned char *p, size_t n, uint64_t *out) {
    size_t at = 0;
    *out = n ? p[at++] & 127u : 0;
    while (at && at < n && p[at - 1] & 128) {
        if (*out >> 55) return 0;
        *out = (*out + 1) << 7 | (p[at++] & 127u);
    }
    return at && !(p[at - 1] & 128) ? at : 0;
}

/* Reads the header of the entry at `offset`; finds the base of a delta. */
static agt_status objects_entry_read(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                     objects_entry *e, agt_error *err) {
    unsigned char b[40] = {0};
    agt_oid base;
    uint64_t distance;
    int64_t got = agt__git_peek(git, p->pack, offset, b, sizeof b);
    if (got < 0 && AGT_SYS_CLASS(got) == AGT_SYS_NOMEM) return agt__nomem(err);
    if (got < 0) return agt__fail_io(err, got, "cannot read %s.pack", p->name);
    size_t n = (size_t)got, at = 1, used;
    unsigned shift = 4;
    e->kind = n ? b[0] >> 4 & 7 : 0;
    e->size = b[0] & 15u;
    for (; at < n && b[at - 1] & 128 && shift < 60; shift += 7)
        e->size |= (uint64_t)(b[at++] & 127u) << shift;
    bool good = n && !(b[at - 1] & 128) && (agt__git_kind(e->kind) || e->kind >= AGT_GIT_OFS_DELTA);
    if (good && e->kind == AGT_GIT_OFS_DELTA) {
        used = objects_distance(b + at, n - at, &distance);
        at += used;
        good = used && distance && distance <= offset - 12;
        e->base = offset - (good ? distance : 0);
    } else if (good && e->kind == AGT_GIT_REF_DELTA) {
        good = n - at >= sizeof base.id && p->idx != AGT_FD_NONE;
        memcpy(base.id, b + at, good ? sizeof base.id : 0);
        at += sizeof base.id;
        if (good) good = objects_pack_find(git, p, &base, &e->base, NULL) == AGT_OK;
    }
    e->data = offset + at;
    if (!good || !objects_plausible(e->size, p->pack_size - offset))
        return agt__fail_at(err, AGT_CORRUPT, (int64_t)offset, "%s.pack is damaged", p->name);
    return AGT_OK;
}

static agt_status objects_entry_inflate(agt_git *git, const agt_git_pack *p, const objects_entry *e,
                                        const agt_oid *id, agt_buf *out, agt_error *err) {
    agt_git_unzip z;
    agt_status status =
        agt__git_unzip_begin(&z, git, p->pack, e->data, p->pack_size - 20, true, err);
    return status == AGT_OK ? objects_inflate(&z, (size_t)e->size, id, out, err) : status;
}

/* ---- objects that were read last (5) ---- */

AGT_PRIVATE bool agt__git_cache(agt_git *git) {
    if (!git->cache) git->cache = agt__zalloc(&git->mem, OBJECTS_CACHED * sizeof *git->cache);
    for (size_t i = 0; git->cache && i < OBJECTS_CACHED; i++)
        git->cache[i].bytes.mem = &git->mem;
    return git->cache != NULL;
}

static void objects_cache_clear(agt_git *git) {
    for (size_t i = 0; git->cache && i < OBJECTS_CACHED; i++) {
        git->cache[i].pack = NULL;
        agt__buf_free(&git->cache[i].bytes);
    }
    git->cache_bytes = 0;
}

static agt_git_cached *objects_cache_slot(const agt_git *git, uint64_t offset) {
    return &git->cache[(offset * 0x9e3779b97f4a7c15u) >> 54];
}

static const agt_git_cached *objects_cached(const agt_git *git, const agt_git_pack *p,
                                            uint64_t offset) {
    if (!git->cache) return NULL;
    const agt_git_cached *c = objects_cache_slot(git, offset);
    return c->pack == p && c->offset == offset ? c : NULL;
}

static void objects_cache_put(agt_git *git, const agt_git_pack *p, uint64_t offset, int kind,
                              const unsigned char *data, size_t len) {
    if (!git->cache || len > OBJECTS_CACHE / 16) return;
    if (git->cache_bytes + len > OBJECTS_CACHE) objects_cache_clear(git);
    agt_git_cached *c = objects_cache_slot(git, offset);
    git->cache_bytes -= c->bytes.cap;
    c->pack = NULL;
    c->bytes.len = 0;
    agt__buf_put(&c->bytes, data, len);
    git->cache_bytes += c->bytes.cap;
    if (c->bytes.failed) agt__buf_free(&c->bytes);
    if (!c->bytes.data) return; /* no memory, or nothing to keep: it is read again */
    c->pack = p;
    c->offset = offset;
    c->kind = kind;
}

/* Walks from the entry at `offset` to the whole object beneath it, or to one that is cached (*hit);
 * the deltas passed on the way are gathered in `chain`, the topmost first. */
static agt_status objects_chain(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                agt_buf *chain, objects_entry *whole, const agt_git_cached **hit,
                                agt_error *err) {
    for (;; offset = whole->base) {
        if ((*hit = objects_cached(git, p, offset)) != NULL) return AGT_OK;
        agt_status status = objects_entry_read(git, p, offset, whole, err);
        whole->at = offset;
        if (status != AGT_OK || whole->kind < AGT_GIT_OFS_DELTA) return status;
        agt__buf_put(chain, whole, sizeof *whole);
        if (chain->failed) return agt__nomem(err);
        if (chain->len > OBJECTS_CHAIN * sizeof *whole) /* (4) */
            return agt__fail(err, AGT_CORRUPT, "%s.pack has an endless chain", p->name);
    }
}

/* The object that a chain stands on, into `out`. */
static agt_status objects_chain_base(agt_git *git, const agt_git_pack *p, const objects_entry *e,
                                     const agt_git_cached *hit, const agt_oid *id, int *kind,
                                     agt_buf *out, agt_error *err) {
    size_t start = out->len;
    if (hit) {
        *kind = hit->kind;
        if (!agt__buf_reserve(out, hit->bytes.len)) return agt__nomem(err);
        agt__buf_put(out, hit->bytes.data, hit->bytes.len);
        return AGT_OK;
    }
    *kind = e->kind;
    agt_status status = objects_entry_inflate(git, p, e, id, out, err);
    if (status == AGT_OK && out->len > start)
        objects_cache_put(git, p, e->at, e->kind, out->data + start, out->len - start);
    return status;
}

/* Reads the object at `offset` behind what `out` holds. */
static agt_status objects_pack_read(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                    const agt_oid *id, int *kind, agt_buf *out, agt_error *err) {
    agt_buf *chain = &git->work[0], *delta = &git->work[1];
    agt_buf *base = &git->work[2], *next = &git->work[3];
    const agt_git_cached *hit;
    size_t start = out->len;
    objects_entry e;
    agt__git_reuse(chain);
    agt_status status = objects_chain(git, p, offset, chain, &e, &hit, err);
    if (status != AGT_OK) return status;
    if (!chain->len) return objects_chain_base(git, p, &e, hit, id, kind, out, err);
    agt__git_reuse(base);
    status = objects_chain_base(git, p, &e, hit, id, kind, base, err);
    while (status == AGT_OK && chain->len) {
        chain->len -= sizeof e;
        memcpy(&e, chain->data + chain->len, sizeof e);
        agt__git_reuse(delta);
        agt__git_reuse(next);
        status = objects_entry_inflate(git, p, &e, id, delta, err);
        if (status != AGT_OK) break;
        bool last = !chain->len;
        status = agt__git_delta_apply(base->data, base->len, delta->data, delta->len,
                                      last ? out : next, err);
        agt_buf swap = *base;
        *base = *next;
        *next = swap;
        if (status != AGT_OK) break;
        if (last && out->len > start)
            objects_cache_put(git, p, e.at, *kind, out->data + start, out->len - start);
        else if (!last)
            objects_cache_put(git, p, e.at, *kind, base->data, base->len);
    }
    return status;
}

/* Reads the object at `offset`, and checks it. */
static agt_status objects_pack_checked(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                       const agt_oid *id, int *kind, agt_buf *out, agt_error *err) {
    unsigned char sum[20];
    size_t start = out->len;
    agt_status status = objects_pack_read(git, p, offset, id, kind, out, err);
    if (status == AGT_OK) {
        agt__git_id(git->cpu, agt__git_kind(*kind), out->data ? out->data + start : NULL,
                    out->len - start, sum);
        if (memcmp(sum, id->id, sizeof sum) != 0) status = objects_corrupt(err, id);
    }
    if (status != AGT_OK) out->len = start;
    return status;
}

/* Reads an object from one pack, and checks it. */
static agt_status objects_pack_load(agt_git *git, agt_git_pack *p, const agt_oid *id, int *kind,
                                    agt_buf *out, agt_error *err) {
    uint64_t offset = 0;
    agt_status status = objects_pack_ready(git, p, err);
    if (status == AGT_OK) status = objects_pack_find(git, p, id, &offset, err);
    return status == AGT_OK ? objects_pack_checked(git, p, offset, id, kind, out, err) : status;
}

AGT_PRIVATE agt_status agt__git_load_at(agt_git *git, agt_git_pack *pack, uint64_t offset,
                                        const agt_oid *id, int *kind, agt_buf *out,
                                        agt_error *err) {
    bool there = false;
    for (size_t i = 0; i < git->pack_count && !there; i++)
        there = git->packs[i] == pack;
    if (there && offset >= 12 && objects_pack_ready(git, pack, NULL) == AGT_OK &&
        offset + 20 < pack->pack_size &&
        objects_pack_checked(git, pack, offset, id, kind, out, NULL) == AGT_OK)
        return AGT_OK;
    return agt__git_load(git, id, kind, out, err);
}

/* ---- a pack without its index ---- */

AGT_PRIVATE agt_status agt__git_pack_lone(agt_git *git, agt_fd folder, const char *stem,
                                          agt_git_pack **out, agt_error *err) {
    size_t n = strlen(stem);
    agt_git_pack *p = agt__zalloc(&git->mem, sizeof *p);
    *out = NULL;
    if (!p) return agt__nomem(err);
    memcpy(p->name, stem, n < sizeof p->name ? n : sizeof p->name - 1);
    p->pack = p->idx = AGT_FD_NONE;
    agt_fd fd = objects_pack_file(git, folder, stem, ".pack", &p->pack_size);
    if (fd < 0) {
        agt__free(&git->mem, p, sizeof *p);
        return agt__fail_sys(err, fd, "cannot open %s.pack", stem);
    }
    p->pack = fd;
    git->pack_open++;
    *out = p;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_pack_lone_end(agt_git *git, agt_git_pack *pack) {
    objects_pack_free(git, pack);
}

AGT_PRIVATE agt_status agt__git_pack_entry(agt_git *git, const agt_git_pack *pack, uint64_t offset,
                                           agt_oid *id, uint64_t *end, agt_error *err) {
    unsigned char part[4096];
    objects_entry e;
    agt_git_unzip z;
    agt_buf b = agt__buf(&git->mem);
    uint64_t sum = 0;
    int kind = 0;
    memset(id, 0, sizeof *id);
    agt_status status = objects_entry_read(git, pack, offset, &e, err);
    if (status == AGT_OK)
        status = agt__git_unzip_begin(&z, git, pack->pack, e.data, pack->pack_size - 20, true, err);
    if (status != AGT_OK) return status;
    for (size_t got; (got = agt__git_unzip(&z, part, sizeof part)) > 0;)
        sum += got;
    if (!z.done || sum != e.size) return objects_unzip_fail(&z, id, err);
    *end = agt__git_unzip_at(&z);
    status = objects_pack_read(git, pack, offset, id, &kind, &b, err);
    if (status == AGT_OK) agt__git_id(git->cpu, agt__git_kind(kind), b.data, b.len, id->id);
    agt__buf_free(&b);
    return status;
}

/* Looks through all known packs, the one used last first. AGT_NOT_FOUND: none has it; another
 * failure: none has it that could be read. */
static agt_status objects_find_packed(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                      agt_error *err) {
    agt_status worst = AGT_NOT_FOUND;
    for (size_t i = git->pack_count; i-- > 0;) {
        agt_git_pack *p = git->packs[i];
        agt_error mine;
        agt_status status = objects_pack_load(git, p, id, kind, out, &mine);
        if (status == AGT_NOT_FOUND) continue;
        if (status == AGT_OK) {
            size_t behind = git->pack_count - i - 1;
            memmove(git->packs + i, git->packs + i + 1, behind * sizeof(agt_git_pack *));
            git->packs[git->pack_count - 1] = p;
            return AGT_OK;
        }
        if (worst == AGT_NOT_FOUND || status != AGT_CORRUPT) {
            worst = status;
            *err = mine;
        }
        if (status == AGT_NOMEM) break;
    }
    return worst;
}

/* ---- all places ---- */

/* Is there anything that only libgit2 can read? It is asked for nothing else: it trusts an index
 * that is damaged and may crash. */
static bool objects_for_libgit2(agt_git *git) {
    agt_stat st;
    for (size_t i = 0; i < git->pack_count; i++)
        if (git->packs[i]->foreign) return true;
    agt_fd info = git->sys->walk(git->sys->ctx, git->dir, "objects/info");
    if (info < 0) return false;
    int rc = git->sys->stat(git->sys->ctx, info, "alternates", &st);
    git->sys->close(git->sys->ctx, info);
    return rc == 0;
}

static bool objects_try_on(agt_status status) {
    return status == AGT_NOT_FOUND || status == AGT_CORRUPT;
}

/* err is not NULL here, and may be filled though the answer is AGT_OK. */
static agt_status objects_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                               agt_error *err) {
    bool news = false;
    agt_error damage;
    agt_status packed = AGT_NOT_FOUND, loose = objects_find_loose(git, id, kind, out, err);
    if (!objects_try_on(loose)) return loose;
    damage = *err;
    if (git->listed) packed = objects_find_packed(git, id, kind, out, err);
    if (objects_try_on(packed)) { /* (3) */
        agt_status list = objects_list(git, &news, err);
        if (list != AGT_OK && list != AGT_NOT_FOUND) return list;
        if (news) packed = objects_find_packed(git, id, kind, out, err);
    }
    if (packed != AGT_NOT_FOUND) return packed;
    if (loose == AGT_CORRUPT) { /* (2) */
        *err = damage;
        return loose;
    }
    if (objects_for_libgit2(git)) {
        agt_status foreign = agt__git_foreign_load(git, id, kind, out, err);
        if (foreign != AGT_NOT_FOUND) return foreign;
    }
    return objects_find_loose(git, id, kind, out, err); /* unpacked while we looked? */
}

AGT_PRIVATE agt_status agt__git_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err) {
    agt_error mine;
    char hex[AGT_GIT_HEX];
    agt_status status = objects_load(git, id, kind, out, &mine);
    if (status == AGT_OK) return AGT_OK;
    agt__hex(id->id, sizeof id->id, hex);
    if (status == AGT_NOT_FOUND) return agt__fail(err, status, "there is no git object %.40s", hex);
    if (err) *err = mine;
    return status;
}

AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out,
                                     agt_error *err) {
    int kind = 0;
    uint32_t object = agt__git_txn_find(git, id);
    if (object != AGT_GIT_NONE) return agt__git_txn_bytes(git, object, out, err);
    return agt__git_load(git, id, &kind, out, err);
}

AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err) {
    bool news;
    agt_status status = objects_list(git, &news, err);
    return status == AGT_NOT_FOUND ? AGT_OK : status;
}

AGT_PRIVATE agt_status agt__git_has(agt_git *git, const agt_oid *id, bool *has, agt_error *err) {
    agt_error mine;
    int kind;
    agt_status status = AGT_NOT_FOUND;
    for (size_t i = git->pack_count; status == AGT_NOT_FOUND && i-- > 0;) {
        uint64_t offset;
        status = objects_pack_ready(git, git->packs[i], &mine);
        if (status == AGT_OK) status = objects_pack_find(git, git->packs[i], id, &offset, &mine);
    }
    if (objects_try_on(status)) { /* loose, libgit2's, or in a pack that came meanwhile */
        agt_buf b = agt__buf(&git->mem);
        status = objects_load(git, id, &kind, &b, &mine);
        agt__buf_free(&b);
    }
    *has = status == AGT_OK;
    return objects_try_on(status) ? AGT_OK : agt__answer(status, &mine, err);
}

AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err) {
    agt_error mine;
    bool news;
    int kind;
    agt_buf b = agt__buf(&git->mem);
    *packed = false;
    /* listed anew: a pack that is open may have no name any more */
    agt_status status = objects_list(git, &news, &mine);
    if (status == AGT_OK) status = objects_find_packed(git, id, &kind, &b, &mine);
    agt__buf_free(&b);
    *packed = status == AGT_OK;
    if (status == AGT_OK || objects_try_on(status)) return AGT_OK;
    if (err) *err = mine;
    return status;
}
