/* reindex: the index of a pack made anew from the pack alone.
 *
 * An index says nothing that its pack does not say; a store that lost one has lost nothing.
 *
 * (1) An index is believed if its length and both of its checksums are right, and if it is of the
 *     pack beside it.
 * (2) Only a pack whose own checksum is right gets one: each byte is then what was written. */
#include "parts.h"

#define REINDEX_LEAST 10u /* bytes of the shortest entry: its head, and an empty zlib stream */

typedef struct reindex_run {
    agt_git *git;
    agt_fd folder;
    bool look, lone;
    uint32_t *packs;
    char *first;   /* gets the name of the first; 64 bytes */
    agt_buf stems; /* texts with their NUL */
} reindex_run;

/* The SHA-1 of the first `n` bytes; *good = false: the file is shorter. */
static agt_status reindex_sum(agt_git *git, agt_fd fd, uint64_t n, unsigned char sum[20],
                              bool *good, agt_error *err) {
    agt_sha1_state sha;
    agt_buf *b = &git->scratch;
    agt__git_reuse(b);
    if (!agt__buf_reserve(b, AGT_GIT_IO)) return agt__nomem(err);
    agt__sha1_init(&sha);
    *good = true;
    for (uint64_t at = 0; at < n && *good;) {
        size_t want = n - at < AGT_GIT_IO ? (size_t)(n - at) : AGT_GIT_IO;
        int64_t got = agt__read_all(git->sys, fd, b->data, want, at);
        if (got < 0) return agt__fail_io(err, got, "cannot read a pack");
        *good = (size_t)got == want;
        agt__sha1_update(&sha, git->cpu, b->data, (size_t)got);
        at += (uint64_t)got;
    }
    agt__sha1_final(&sha, git->cpu, sum);
    return AGT_OK;
}

/* Reads the last 40 bytes; *good = false: there are none before them. */
static agt_status reindex_tail(agt_git *git, agt_fd fd, uint64_t size, unsigned char tail[40],
                               bool *good, agt_error *err) {
    *good = size > 40;
    int64_t got = *good ? agt__read_all(git->sys, fd, tail, 40, size - 40) : 0;
    if (got < 0) return agt__fail_io(err, got, "cannot read a pack");
    *good = got == 40;
    return AGT_OK;
}

/* Does the file end in the checksum of all before it? `tail` gets its last 40 bytes. */
static agt_status reindex_ends_well(agt_git *git, agt_fd fd, uint64_t size, unsigned char tail[40],
                                    bool *good, agt_error *err) {
    unsigned char sum[20];
    agt_status status = reindex_tail(git, fd, size, tail, good, err);
    if (status != AGT_OK || !*good) return status;
    status = reindex_sum(git, fd, size - 20, sum, good, err);
    if (status == AGT_OK && *good) *good = memcmp(sum, tail + 20, 20) == 0;
    return status;
}

/* (1) */
static agt_status reindex_believed(agt_git *git, agt_fd folder, const char *name,
                                   const unsigned char pack_sum[20], bool *there, bool *good,
                                   agt_error *err) {
    unsigned char tail[40];
    agt_stat st;
    *good = *there = false;
    agt_fd fd = git->sys->open(git->sys->ctx, folder, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    *there = true;
    if (fd < 0) return agt__fail_io(err, fd, "cannot open %s", name);
    int rc = git->sys->fstat(git->sys->ctx, fd, &st);
    agt_status status = rc < 0 ? agt__fail_io(err, rc, "cannot look at %s", name)
                               : reindex_ends_well(git, fd, st.size, tail, good, err);
    git->sys->close(git->sys->ctx, fd);
    if (*good) *good = memcmp(tail, pack_sum, 20) == 0;
    return status;
}

static agt_status reindex_crc(agt_git *git, const agt_git_pack *p, agt_git_object *o, uint64_t end,
                              agt_error *err) {
    unsigned char part[4096];
    uLong crc = crc32(0, NULL, 0);
    for (uint64_t at = o->offset; at < end;) {
        size_t want = end - at < sizeof part ? (size_t)(end - at) : sizeof part;
        int64_t got = agt__git_peek(git, p->pack, at, part, want);
        if (got <= 0) return agt__fail_io(err, got, "cannot read %s.pack", p->name);
        crc = crc32(crc, part, (uInt)got);
        at += (uint64_t)got;
    }
    o->crc = (uint32_t)crc;
    return AGT_OK;
}

/* Reads all entries of the pack, and writes its index. */
static agt_status reindex_make(agt_git *git, agt_fd folder, const agt_git_pack *p,
                               agt_git_object *objects, uint32_t count, const unsigned char sum[20],
                               agt_error *err) {
    uint64_t at = 12;
    agt_status status = AGT_OK;
    for (uint32_t i = 0; status == AGT_OK && i < count; i++) {
        agt_git_object *o = &objects[i];
        uint64_t end = 0;
        o->offset = at;
        if (at >= p->pack_size - 20)
            return agt__fail(err, AGT_CORRUPT, "%s.pack is shorter than it says", p->name);
        status = agt__git_pack_entry(git, p, at, &o->id, &end, err);
        if (status == AGT_OK) status = reindex_crc(git, p, o, end, err);
        at = end;
    }
    if (status == AGT_OK && at != p->pack_size - 20)
        return agt__fail(err, AGT_CORRUPT, "%s.pack is longer than it says", p->name);
    return status == AGT_OK ? agt__git_index_write(git, folder, p->name, objects, count, sum, err)
                            : status;
}

static bool reindex_head(agt_git *git, const agt_git_pack *p, uint32_t *count) {
    unsigned char head[12];
    if (agt__read_all(git->sys, p->pack, head, sizeof head, 0) != (int64_t)sizeof head ||
        memcmp(head, "PACK\0\0\0\2", 8) != 0)
        return false;
    *count = (uint32_t)head[8] << 24 | (uint32_t)head[9] << 16 | (uint32_t)head[10] << 8 | head[11];
    return *count <= p->pack_size / REINDEX_LEAST;
}

/* A pack that is damaged, or of another version, is left as it is. */
static agt_status reindex_pack(reindex_run *r, const agt_git_pack *p, agt_error *err) {
    unsigned char tail[40];
    char name[96];
    agt_git *git = r->git;
    uint32_t count = 0;
    bool good = false, there = false, has = false;
    size_t n = strlen(p->name);
    memcpy(name, p->name, n);
    memcpy(name + n, ".idx", 5);
    /* the index first: it is short, and nearly always as it should be */
    agt_status status = reindex_tail(git, p->pack, p->pack_size, tail, &good, err);
    if (status != AGT_OK || !good) return status;
    status = reindex_believed(git, r->folder, name, tail + 20, &there, &has, err);
    if (status != AGT_OK || has || (!there && !r->lone)) return status;
    status = reindex_ends_well(git, p->pack, p->pack_size, tail, &good, err);
    if (status != AGT_OK || !good || !reindex_head(git, p, &count)) return status; /* (2) */
    agt_git_object *objects = NULL;
    if (!r->look && count) {
        objects = agt__zalloc(&git->mem, count * sizeof *objects);
        if (!objects) return agt__nomem(err);
    }
    agt_error mine;
    if (!r->look) status = reindex_make(git, r->folder, p, objects, count, tail + 20, &mine);
    agt__free(&git->mem, objects, objects ? count * sizeof *objects : 0);
    if (status == AGT_CORRUPT) return AGT_OK; /* somebody's, with bases that only an index finds */
    if (status != AGT_OK) return agt__answer(status, &mine, err);
    if (!(*r->packs)++) memcpy(r->first, name, n + 5 < 64 ? n + 5 : 64);
    return AGT_OK;
}

static int reindex_gather(void *ctx, const char *name) {
    reindex_run *r = ctx;
    size_t n = strlen(name);
    if (n <= 10 || n >= 64 || memcmp(name, "pack-", 5) != 0 || !agt__ends_in(name, ".pack"))
        return 0;
    agt__buf_put(&r->stems, name, n - 5);
    agt__buf_byte(&r->stems, 0);
    return r->stems.failed;
}

static agt_status reindex_all(reindex_run *r, agt_error *err) {
    agt_git *git = r->git;
    agt_status status = AGT_OK;
    int rc = git->sys->list(git->sys->ctx, r->folder, reindex_gather, r);
    if (r->stems.failed) return agt__nomem(err);
    if (rc < 0) return agt__fail_io(err, rc, "cannot list objects/pack");
    for (size_t at = 0; status == AGT_OK && at < r->stems.len;) {
        const char *stem = (const char *)r->stems.data + at;
        agt_git_pack *p;
        at += strlen(stem) + 1;
        status = agt__git_pack_lone(git, r->folder, stem, &p, err);
        if (status == AGT_OK) {
            status = reindex_pack(r, p, err);
            agt__git_pack_lone_end(git, p);
        } else if (status == AGT_NOT_FOUND) {
            status = AGT_OK;
        }
    }
    return status;
}

AGT_PRIVATE agt_status agt__git_reindex(agt_git *git, int how, uint32_t *packs, char first[64],
                                        agt_error *err) {
    agt_fd objects;
    reindex_run r = {.git = git,
                     .look = how & AGT_REINDEX_LOOK,
                     .lone = how & AGT_REINDEX_LONE,
                     .packs = packs,
                     .first = first,
                     .stems = agt__buf(&git->mem)};
    *packs = 0;
    first[0] = 0;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    r.folder = git->sys->open(git->sys->ctx, objects, "pack", AGT_O_READ | AGT_O_FOLDER, 0);
    if (r.folder < 0 && AGT_SYS_CLASS(r.folder) == AGT_SYS_NOENT) return AGT_OK;
    if (r.folder < 0) return agt__fail_io(err, r.folder, "cannot open objects/pack");
    if (!r.look) (void)agt__git_cache(git); /* the chain of the next entry is in it */
    status = reindex_all(&r, err);
    agt__buf_free(&r.stems);
    git->sys->close(git->sys->ctx, r.folder);
    if (!r.look && *packs) agt__git_objects_free(git); /* the old index may be open */
    return status;
}
