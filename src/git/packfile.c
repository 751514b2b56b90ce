/* packfile: a pack and its index, from the first byte to their names.
 *
 *     pack    "PACK" version count, entries, SHA-1; an entry is kind and size (4 bits, then 7 a
 *             byte), for a delta the distance back to its base, and a zlib stream
 *     index   ids sorted, with crc32 and offset, so that a reader need not read the pack
 *
 * (1) Both are written under names that only we give, and synced; then the pack gets its name, and
 *     its index after it; then the folder is synced. A named pack is whole.
 * (2) A name that is taken is never written over: a run that failed or died left it, and after a
 *     sync that failed no later one tells whether the disk has it. */
#include "parts.h"

#define PACKFILE_LARGE ((uint64_t)1 << 31)
#define PACKFILE_TRIES 64

/* ---- entries ---- */

static void packfile_be32(unsigned char *p, uint32_t v) {
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

/* An entry's kind and size. */
static size_t packfile_entry_head(int kind, size_t size, unsigned char out[16]) {
    size_t n = 0;
    unsigned char c = (unsigned char)(kind << 4 | (int)(size & 15));
    for (size >>= 4; size; size >>= 7) {
        out[n++] = (unsigned char)(c | 128);
        c = (unsigned char)(size & 127);
    }
    out[n++] = c;
    return n;
}

/* The distance to a delta's base: 7 bits a byte, high first, one less in each but the last. */
static size_t packfile_entry_distance(uint64_t distance, unsigned char out[16]) {
    unsigned char b[16];
    size_t at = sizeof b;
    b[--at] = distance & 127;
    while (distance >>= 7)
        b[--at] = (unsigned char)(128 | (--distance & 127));
    memcpy(out, b + at, sizeof b - at);
    return sizeof b - at;
}

AGT_PRIVATE void agt__git_put_entry(agt_git_file *f, agt_git_object *o, const agt_git_object *base,
                                    const void *data, size_t len, bool stored, agt_error *err) {
    unsigned char head[32];
    o->offset = f->at;
    f->crc = 0;
    size_t n = packfile_entry_head(base ? AGT_GIT_OFS_DELTA : o->kind, len, head);
    if (base) n += packfile_entry_distance(o->offset - base->offset, head + n);
    agt__git_file_put(f, head, n, err);
    agt__git_file_zip(f, NULL, 0, data, len, stored, err);
    o->crc = f->crc;
}

/* Ends a file with the SHA-1 of all before it. */
static void packfile_put_sum(agt_git_file *f, unsigned char sum[20], agt_error *err) {
    agt__git_file_flush(f, err);
    f->hashed = false;
    agt__sha1_final(&f->sha, f->git->cpu, sum);
    agt__git_file_put(f, sum, 20, err);
}

/* Writes the pack under its temporary name, synced. */
static agt_status packfile_write_pack(agt_git *git, const agt_git_pack_job *job, agt_git_file *f,
                                      agt_fd folder, const char *tmp, unsigned char sum[20],
                                      agt_error *err) {
    unsigned char head[12] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
    agt_status status = agt__git_file_open(f, git, folder, tmp, 0444, true, err);
    if (status != AGT_OK) return status;
    packfile_be32(head + 8, job->count);
    agt__git_file_put(f, head, sizeof head, err);
    status = job->fill(job->ctx, f, err);
    if (status != AGT_OK) {
        agt__git_file_drop(f);
        return status;
    }
    packfile_put_sum(f, sum, err);
    return agt__git_file_end(f, true, err);
}

/* ---- the index of a pack ---- */

static bool packfile_before(const agt_git_object *objects, uint32_t a, uint32_t b) {
    return memcmp(&objects[a].id, &objects[b].id, sizeof(agt_oid)) < 0;
}

AGT_PRIVATE void agt__git_sort(const agt_git_object *objects, uint32_t *v, size_t n,
                               bool (*before)(const agt_git_object *, uint32_t, uint32_t)) {
    for (size_t start = n / 2, end = n; end > 1;) {
        uint32_t one;
        if (start) {
            one = v[--start];
        } else {
            one = v[--end];
            v[end] = v[0];
        }
        size_t hole = start, kid;
        while ((kid = 2 * hole + 1) < end) {
            if (kid + 1 < end && before(objects, v[kid], v[kid + 1])) kid++;
            if (!before(objects, one, v[kid])) break;
            v[hole] = v[kid];
            hole = kid;
        }
        v[hole] = one;
    }
}

static void packfile_put_fan(agt_git_file *f, const agt_git_object *objects, const uint32_t *order,
                             uint32_t n, agt_error *err) {
    static const unsigned char magic[8] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    unsigned char fan[1024];
    agt__git_file_put(f, magic, sizeof magic, err);
    for (uint32_t byte = 0, i = 0; byte < 256; byte++) {
        while (i < n && objects[order[i]].id.id[0] <= byte)
            i++;
        packfile_be32(fan + 4 * (size_t)byte, i);
    }
    agt__git_file_put(f, fan, sizeof fan, err);
}

AGT_PRIVATE void agt__git_put_index(agt_git_file *f, const agt_git_object *objects, uint32_t *order,
                                    uint32_t n, const unsigned char sum[20], agt_error *err) {
    unsigned char word[8], own[20];
    uint32_t large = 0;
    agt__git_sort(objects, order, n, packfile_before);
    packfile_put_fan(f, objects, order, n, err);
    for (uint32_t i = 0; i < n; i++)
        agt__git_file_put(f, objects[order[i]].id.id, 20, err);
    for (uint32_t i = 0; i < n; i++) {
        packfile_be32(word, objects[order[i]].crc);
        agt__git_file_put(f, word, 4, err);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t offset = objects[order[i]].offset;
        packfile_be32(word, offset < PACKFILE_LARGE ? (uint32_t)offset : 0x80000000u | large++);
        agt__git_file_put(f, word, 4, err);
    }
    for (uint32_t i = 0; i < n && large; i++) {
        uint64_t offset = objects[order[i]].offset;
        if (offset < PACKFILE_LARGE) continue;
        packfile_be32(word, (uint32_t)(offset >> 32));
        packfile_be32(word + 4, (uint32_t)offset);
        agt__git_file_put(f, word, 8, err);
    }
    agt__git_file_put(f, sum, 20, err);
    packfile_put_sum(f, own, err);
}

static agt_status packfile_write_index(agt_git *git, const agt_git_object *objects, uint32_t count,
                                       agt_git_file *f, agt_fd folder, const char *tmp,
                                       const unsigned char sum[20], agt_error *err) {
    agt__git_reuse(&git->scratch);
    if (!agt__buf_reserve(&git->scratch, count * sizeof(uint32_t))) return agt__nomem(err);
    uint32_t *order = (uint32_t *)(void *)git->scratch.data;
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    agt_status status = agt__git_file_open(f, git, folder, tmp, 0444, true, err);
    if (status != AGT_OK) return status;
    agt__git_put_index(f, objects, order, count, sum, err);
    return agt__git_file_end(f, true, err);
}

/* ---- names ---- */

/* The next one in the chain of a pack's names. */
static void packfile_next(agt_git *git, unsigned char sum[20]) {
    agt_sha1_state sha;
    agt__sha1_init(&sha);
    agt__sha1_update(&sha, git->cpu, sum, 20);
    agt__sha1_final(&sha, git->cpu, sum);
}

static bool packfile_is_taken(agt_git *git, agt_fd folder, char *name, char *ext) {
    agt_stat st;
    memcpy(ext, ".pack", 6);
    return git->sys->stat(git->sys->ctx, folder, name, &st) == 0;
}

/* The name of a pack, of its checksum; where that is taken, of the checksum of that, and so on: a
 * run that failed or died left it, and after a sync that failed no later one tells whether the disk
 * has it. */
static void packfile_name(agt_git *git, agt_fd folder, const unsigned char sum[20], char *name) {
    unsigned char next[20];
    memcpy(next, sum, sizeof next);
    memcpy(name, "pack-", 5);
    agt__hex(next, sizeof next, name + 5);
    for (int i = 0;
         i < PACKFILE_TRIES && packfile_is_taken(git, folder, name, name + 5 + AGT_GIT_HEX); i++) {
        packfile_next(git, next);
        agt__hex(next, sizeof next, name + 5);
    }
}

/* What such runs left goes, once the same is there under `name`. */
static void packfile_drop_twins(agt_git *git, agt_fd folder, const unsigned char sum[20],
                                const char *name) {
    unsigned char next[20];
    char twin[5 + AGT_GIT_HEX + 6] = "pack-", *ext = twin + 5 + AGT_GIT_HEX;
    memcpy(next, sum, sizeof next);
    for (int i = 0; i < PACKFILE_TRIES; i++) {
        agt__hex(next, sizeof next, twin + 5);
        if (memcmp(twin + 5, name + 5, AGT_GIT_HEX) == 0) return;
        memcpy(ext, ".idx", 5);
        (void)git->sys->remove(git->sys->ctx, folder, twin);
        memcpy(ext, ".pack", 6);
        (void)git->sys->remove(git->sys->ctx, folder, twin);
        packfile_next(git, next);
    }
}

typedef struct packfile_litter {
    char name[64];
} packfile_litter;

static int packfile_find_litter(void *ctx, const char *name) {
    packfile_litter *l = ctx;
    size_t n = strlen(name);
    bool ours = n < sizeof l->name && n > 12 && memcmp(name + n - 4, "_agt", 4) == 0 &&
                (memcmp(name, "tmp_pack_", 9) == 0 || memcmp(name, "tmp_idx_", 8) == 0);
    if (ours) memcpy(l->name, name, n + 1);
    return ours;
}

/* Publishers exclude one another: what lies there was left by one that died. */
static void packfile_drop_litter(agt_git *git, agt_fd folder) {
    packfile_litter l;
    for (int i = 0; i < PACKFILE_TRIES; i++) {
        if (git->sys->list(git->sys->ctx, folder, packfile_find_litter, &l) != 1) return;
        if (git->sys->remove(git->sys->ctx, folder, l.name) < 0) return;
    }
}

/* Temporaries have names that were never there, for the reason that packs have. */
static agt_status packfile_temporary(agt_git *git, char pack[32], char idx[32], agt_error *err) {
    unsigned char word[4];
    int rc = git->sys->random(git->sys->ctx, word, sizeof word);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    memcpy(pack, "tmp_pack_", 9);
    agt__hex(word, sizeof word, pack + 9);
    memcpy(pack + 17, "_agt", 5);
    memcpy(idx, "tmp_idx_", 8);
    agt__hex(word, sizeof word, idx + 8);
    memcpy(idx + 16, "_agt", 5);
    return AGT_OK;
}

/* Both files get their names; what does not get one is deleted. */
static agt_status packfile_name_both(agt_git_file *pack, agt_git_file *idx, agt_fd folder,
                                     const char *stem, agt_error *err) {
    char name[AGT_GIT_STEM + 5];
    size_t n = strlen(stem);
    memcpy(name, stem, n);
    memcpy(name + n, ".pack", 6);
    agt_status status = agt__git_file_name(pack, folder, name, err);
    if (status != AGT_OK) {
        (void)idx->git->sys->remove(idx->git->sys->ctx, folder, idx->name);
        return status;
    }
    memcpy(name + n, ".idx", 5);
    return agt__git_file_name(idx, folder, name, err);
}

/* (1) */
static agt_status packfile_write_both(agt_git *git, const agt_git_pack_job *job, agt_fd folder,
                                      char stem[AGT_GIT_STEM], agt_error *err) {
    agt_git_file f, g;
    unsigned char sum[20];
    char name[AGT_GIT_STEM + 5], pack[32], idx[32];
    packfile_drop_litter(git, folder);
    agt_status status = packfile_temporary(git, pack, idx, err);
    if (status == AGT_OK) status = packfile_write_pack(git, job, &f, folder, pack, sum, err);
    if (status != AGT_OK) return status;
    status = packfile_write_index(git, job->objects, job->count, &g, folder, idx, sum, err);
    if (status != AGT_OK) {
        (void)git->sys->remove(git->sys->ctx, folder, pack);
        return status;
    }
    packfile_name(git, folder, sum, name);
    memcpy(stem, name, AGT_GIT_STEM - 1);
    stem[AGT_GIT_STEM - 1] = 0;
    status = packfile_name_both(&f, &g, folder, stem, err);
    if (status != AGT_OK) return status;
    int rc = git->sys->sync(git->sys->ctx, folder);
    if (rc < 0) return agt__fail_io(err, rc, "cannot sync objects/pack");
    packfile_drop_twins(git, folder, sum, stem);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_pack_write(agt_git *git, const agt_git_pack_job *job,
                                           char stem[AGT_GIT_STEM], agt_error *err) {
    agt_fd objects, folder;
    agt_status status = agt__git_objects(git, true, &objects, err);
    if (status != AGT_OK) return status;
    status = agt__open_folder(git->sys, objects, "pack", true, &folder, err);
    if (status != AGT_OK) return status;
    status = packfile_write_both(git, job, folder, stem, err);
    git->sys->close(git->sys->ctx, folder);
    if (status != AGT_OK) return status;
    /* the folders on the way may be new, too */
    int rc = git->sys->sync(git->sys->ctx, objects);
    if (rc == 0) rc = git->sys->sync(git->sys->ctx, git->dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the git folder") : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_index_write(agt_git *git, agt_fd folder, const char *stem,
                                            const agt_git_object *objects, uint32_t count,
                                            const unsigned char sum[20], agt_error *err) {
    char name[96], pack[32], idx[32];
    agt_git_file f;
    size_t n = strlen(stem);
    packfile_drop_litter(git, folder);
    agt_status status = packfile_temporary(git, pack, idx, err);
    if (status == AGT_OK)
        status = packfile_write_index(git, objects, count, &f, folder, idx, sum, err);
    if (status != AGT_OK) return status;
    memcpy(name, stem, n);
    memcpy(name + n, ".idx", 5);
    status = agt__git_file_name(&f, folder, name, err);
    if (status != AGT_OK) return status;
    int rc = git->sys->sync(git->sys->ctx, folder);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync objects/pack") : AGT_OK;
}
