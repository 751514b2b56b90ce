/* codec: zlib streams and git's deltas.
 *
 * A zlib stream of ours is either compressed, at level 1 unless it is to stay for long, or stored
 * as it is. Stored is for bytes that gain nothing: a delta of a few dozen bytes, a loose file that
 * fills one block of the disk anyway, a tree of thousands of entries, which is mostly ids.
 *
 *     stored:  78 01  { final? len ~len bytes }...  adler32, big-endian
 *
 * A delta is: size of the old bytes, size of the new ones (7 bits a byte, low first), then
 * commands. 1xxxxxxx copies from the old bytes: bits 0 to 3 say which bytes of the offset follow,
 * bits 4 to 6 which of the length (none: 65,536). 0nnnnnnn inserts the n bytes behind it.
 *
 * (1) What is written goes through one buffer of the handle: a small file is one pwrite.
 * (2) Nothing that is read is believed: lengths are checked before memory is asked for.
 * (3) Memory of zlib's comes from the handle's allocator. */
#include "parts.h"

#define CODEC_IN       8192u
#define CODEC_BLOCK    65535u /* the longest stored block */
#define CODEC_TINY     64u
#define CODEC_INPUT    (1u << 30)
#define CODEC_SLOTS    4096u
#define CODEC_WINDOW   8u
#define CODEC_MATCH    12u /* a copy shorter than that is not worth its command */
#define CODEC_COPY_MAX 0xffffffu
#define CODEC_HEADER   16u /* before memory of zlib's: its size */

AGT_PRIVATE const char *agt__git_kind(int kind) {
    static const char *const names[] = {NULL, "commit", "tree", "blob", "tag"};
    return kind >= AGT_GIT_COMMIT && kind <= AGT_GIT_TAG ? names[kind] : NULL;
}

AGT_PRIVATE void agt__git_reuse(agt_buf *b) {
    if (b->cap > AGT_GIT_KEEP) agt__buf_free(b);
    b->len = 0;
    b->failed = false;
}

/* ---- zlib's memory ---- */

static voidpf codec_alloc(voidpf ctx, uInt items, uInt size) {
    size_t n;
    if (!agt__mul_size(items, size, &n) || !agt__add_size(n, CODEC_HEADER, &n)) return Z_NULL;
    unsigned char *p = agt__zalloc(ctx, n);
    if (!p) return Z_NULL;
    memcpy(p, &n, sizeof n);
    return p + CODEC_HEADER;
}

static void codec_free(voidpf ctx, voidpf address) {
    if (!address) return;
    unsigned char *p = (unsigned char *)address - CODEC_HEADER;
    size_t n;
    memcpy(&n, p, sizeof n);
    agt__free(ctx, p, n);
}

static bool codec_deflate_ready(agt_git *git) {
    int level = git->zip_level ? git->zip_level : 1;
    if (git->zip_ready && git->zip_made == level) return deflateReset(&git->zip) == Z_OK;
    if (git->zip_ready) (void)deflateEnd(&git->zip);
    git->zip_made = level;
    memset(&git->zip, 0, sizeof git->zip);
    git->zip.zalloc = codec_alloc;
    git->zip.zfree = codec_free;
    git->zip.opaque = &git->mem;
    git->zip_ready = deflateInit(&git->zip, level) == Z_OK;
    return git->zip_ready;
}

static bool codec_inflate_ready(agt_git *git) {
    if (git->unzip_ready) return inflateReset(&git->unzip) == Z_OK;
    memset(&git->unzip, 0, sizeof git->unzip);
    git->unzip.zalloc = codec_alloc;
    git->unzip.zfree = codec_free;
    git->unzip.opaque = &git->mem;
    git->unzip_ready = inflateInit(&git->unzip) == Z_OK;
    return git->unzip_ready;
}

AGT_PRIVATE void agt__git_codec_free(agt_git *git) {
    if (git->zip_ready) (void)deflateEnd(&git->zip);
    if (git->unzip_ready) (void)inflateEnd(&git->unzip);
    git->zip_ready = git->unzip_ready = false;
    agt__buf_free(&git->io);
    agt__buf_free(&git->in);
}

/* ---- writing a file ---- */

AGT_PRIVATE agt_status agt__git_file_open(agt_git_file *f, agt_git *git, agt_fd dir,
                                          const char *name, uint32_t mode, bool hashed,
                                          agt_error *err) {
    const agt_sys *sys = git->sys;
    uint32_t flags = AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    *f = (agt_git_file){.git = git, .dir = dir, .fd = AGT_FD_NONE, .name = name};
    f->hashed = hashed;
    agt__sha1_init(&f->sha);
    git->io.len = 0;
    git->io.failed = false;
    if (!agt__buf_reserve(&git->io, AGT_GIT_IO)) return f->status = agt__nomem(err);
    f->fd = sys->open(sys->ctx, dir, name, flags, mode);
    if (f->fd < 0 && AGT_SYS_CLASS(f->fd) == AGT_SYS_EXIST) {
        (void)sys->remove(sys->ctx, dir, name);
        f->fd = sys->open(sys->ctx, dir, name, flags, mode);
    }
    if (f->fd >= 0) return AGT_OK;
    f->status = agt__fail_io(err, f->fd, "cannot make %s in the git folder", name);
    f->fd = AGT_FD_NONE;
    return f->status;
}

AGT_PRIVATE void agt__git_file_flush(agt_git_file *f, agt_error *err) {
    agt_git *git = f->git;
    if (f->status != AGT_OK || !git->io.len) return;
    if (f->hashed) agt__sha1_update(&f->sha, git->cpu, git->io.data, git->io.len);
    uint64_t start = f->at - git->io.len;
    int rc = agt__write_all(git->sys, f->fd, git->io.data, git->io.len, start);
    if (rc < 0) f->status = agt__fail_io(err, rc, "cannot write %s in the git folder", f->name);
    git->io.len = 0;
}

/* n more bytes stand behind what is gathered. */
static void codec_took(agt_git_file *f, size_t n, agt_error *err) {
    agt_buf *io = &f->git->io;
    f->crc = (uint32_t)crc32(f->crc, io->data + io->len, (uInt)n);
    io->len += n;
    f->at += n;
    if (io->len == AGT_GIT_IO) agt__git_file_flush(f, err);
}

AGT_PRIVATE void agt__git_file_put(agt_git_file *f, const void *data, size_t n, agt_error *err) {
    const unsigned char *p = data;
    agt_buf *io = &f->git->io;
    while (n && f->status == AGT_OK) {
        size_t room = AGT_GIT_IO - io->len, part = n < room ? n : room;
        memcpy(io->data + io->len, p, part);
        codec_took(f, part, err);
        p += part;
        n -= part;
    }
}

static void codec_store(agt_git_file *f, const unsigned char *data, size_t n, bool last,
                        uLong *adler, agt_error *err) {
    do {
        unsigned part = n < CODEC_BLOCK ? (unsigned)n : CODEC_BLOCK;
        unsigned char head[5];
        n -= part;
        head[0] = last && !n;
        head[1] = (unsigned char)part;
        head[2] = (unsigned char)(part >> 8);
        head[3] = (unsigned char)~part;
        head[4] = (unsigned char)(~part >> 8);
        agt__git_file_put(f, head, sizeof head, err);
        if (!part) return;
        agt__git_file_put(f, data, part, err);
        *adler = adler32(*adler, data, part);
        data += part;
    } while (n);
}

/* Runs n bytes through deflate, up to the end of the stream if `flush` is Z_FINISH. */
static void codec_deflate(agt_git_file *f, const unsigned char *data, size_t n, int flush,
                          agt_error *err) {
    z_stream *z = &f->git->zip;
    agt_buf *io = &f->git->io;
    do {
        unsigned part = n < CODEC_INPUT ? (unsigned)n : CODEC_INPUT;
        z->next_in = (Bytef *)(uintptr_t)data;
        z->avail_in = part;
        data += part;
        n -= part;
        int rc, how = n ? Z_NO_FLUSH : flush;
        do {
            unsigned room = (unsigned)(AGT_GIT_IO - io->len);
            z->next_out = io->data + io->len;
            z->avail_out = room;
            rc = deflate(z, how);
            if (rc == Z_STREAM_ERROR)
                f->status = agt__fail(err, AGT_GIT, "zlib cannot compress %s", f->name);
            if (f->status != AGT_OK) return;
            codec_took(f, room - z->avail_out, err);
        } while (how == Z_FINISH ? rc != Z_STREAM_END : z->avail_in != 0);
    } while (n);
}

AGT_PRIVATE void agt__git_file_zip(agt_git_file *f, const void *head, size_t head_len,
                                   const void *data, size_t len, bool stored, agt_error *err) {
    if (f->status != AGT_OK) return;
    if (stored || (head_len + len < CODEC_TINY && !f->git->zip_level)) {
        uLong adler = adler32(0, Z_NULL, 0);
        agt__git_file_put(f, "\x78\x01", 2, err);
        if (head_len) codec_store(f, head, head_len, false, &adler, err);
        codec_store(f, data, len, true, &adler, err);
        unsigned char sum[4] = {(unsigned char)(adler >> 24), (unsigned char)(adler >> 16),
                                (unsigned char)(adler >> 8), (unsigned char)adler};
        agt__git_file_put(f, sum, sizeof sum, err);
        return;
    }
    if (!codec_deflate_ready(f->git)) {
        f->status = agt__nomem(err);
        return;
    }
    if (head_len) codec_deflate(f, head, head_len, Z_NO_FLUSH, err);
    if (f->status == AGT_OK) codec_deflate(f, data, len, Z_FINISH, err);
}

AGT_PRIVATE size_t agt__git_zip_len(agt_git *git, const unsigned char *data, size_t n) {
    unsigned char thrown[1024];
    z_stream *z = &git->zip;
    if (n > CODEC_INPUT || !codec_deflate_ready(git)) return SIZE_MAX;
    z->next_in = (Bytef *)(uintptr_t)data;
    z->avail_in = (uInt)n;
    do {
        z->next_out = thrown;
        z->avail_out = sizeof thrown;
    } while (deflate(z, Z_FINISH) == Z_OK);
    return (size_t)z->total_out;
}

AGT_PRIVATE void agt__git_file_drop(agt_git_file *f) {
    const agt_sys *sys = f->git->sys;
    if (f->fd == AGT_FD_NONE) return;
    sys->close(sys->ctx, f->fd);
    f->fd = AGT_FD_NONE;
    (void)sys->remove(sys->ctx, f->dir, f->name);
}

AGT_PRIVATE agt_status agt__git_file_end(agt_git_file *f, bool durable, agt_error *err) {
    const agt_sys *sys = f->git->sys;
    agt__git_file_flush(f, err);
    if (f->status == AGT_OK && durable) {
        int rc = sys->sync(sys->ctx, f->fd);
        if (rc < 0) f->status = agt__fail_io(err, rc, "cannot sync %s in the git folder", f->name);
    }
    if (f->status != AGT_OK) {
        agt__git_file_drop(f);
        return f->status;
    }
    sys->close(sys->ctx, f->fd);
    f->fd = AGT_FD_NONE;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_file_name(agt_git_file *f, agt_fd to, const char *name,
                                          agt_error *err) {
    const agt_sys *sys = f->git->sys;
    int rc = sys->rename(sys->ctx, f->dir, f->name, to, name, AGT_RENAME_REPLACE);
    if (rc == 0) return AGT_OK;
    (void)sys->remove(sys->ctx, f->dir, f->name);
    return agt__fail_io(err, rc, "cannot rename %s to %s in the git folder", f->name, name);
}

/* ---- reading a stream ---- */

AGT_PRIVATE void agt__git_forget(agt_git *git, agt_fd fd) {
    if (git->in_file == fd) git->in_file = AGT_FD_NONE;
}

/* How many bytes from `at` on the window has of the pack. */
static size_t codec_have(const agt_git *git, agt_fd fd, uint64_t at) {
    if (git->in_file != fd || at < git->in_at || at - git->in_at >= git->in.len) return 0;
    return git->in.len - (size_t)(at - git->in_at);
}

/* Reads up to n bytes into the window. What it gets, or a negative agt_sys result. */
static int64_t codec_load(agt_git *git, agt_fd fd, uint64_t at, size_t n, bool steady) {
    git->in_file = AGT_FD_NONE;
    git->in.len = 0;
    int64_t got = agt__read_all(git->sys, fd, git->in.data, n, at);
    if (got <= 0) return got;
    git->in.len = (size_t)got;
    git->in_at = at;
    if (steady) git->in_file = fd;
    return got;
}

static bool codec_window(agt_git *git) {
    git->in.failed = false;
    if (git->in.cap < CODEC_IN) git->in.len = 0;
    return git->in.cap >= CODEC_IN || agt__buf_reserve(&git->in, CODEC_IN);
}

AGT_PRIVATE int64_t agt__git_peek(agt_git *git, agt_fd fd, uint64_t at, void *out, size_t n) {
    if (!codec_window(git)) return AGT_SYS_ERR(AGT_SYS_NOMEM, 0);
    if (codec_have(git, fd, at) < n) {
        uint64_t from = at > CODEC_IN / 2 ? at - CODEC_IN / 2 : 0;
        int64_t got = codec_load(git, fd, from, CODEC_IN, true);
        if (got < 0) return got;
    }
    size_t have = codec_have(git, fd, at);
    if (have > n) have = n;
    if (have) memcpy(out, git->in.data + (at - git->in_at), have);
    return (int64_t)have;
}

AGT_PRIVATE agt_status agt__git_unzip_begin(agt_git_unzip *z, agt_git *git, agt_fd fd, uint64_t at,
                                            uint64_t end, bool steady, agt_error *err) {
    *z = (agt_git_unzip){.git = git, .fd = fd, .at = at, .end = end, .steady = steady};
    if (!codec_window(git) || !codec_inflate_ready(git)) return agt__nomem(err);
    git->unzip.avail_in = 0;
    return AGT_OK;
}

static bool codec_fill(agt_git_unzip *z) {
    agt_git *git = z->git;
    uint64_t left = z->at < z->end ? z->end - z->at : 0;
    size_t want = left < CODEC_IN ? (size_t)left : CODEC_IN;
    size_t have = z->steady ? codec_have(git, z->fd, z->at) : 0;
    if (!have && want) {
        int64_t got = codec_load(git, z->fd, z->at, want, z->steady);
        if (got < 0) z->rc = got;
        have = got > 0 ? (size_t)got : 0;
    }
    if (have > want) have = want;
    if (!have) {
        if (z->rc == 0) z->rotten = true;
        return false;
    }
    git->unzip.next_in = git->in.data + (z->at - git->in_at);
    git->unzip.avail_in = (uInt)have;
    z->at += have;
    return true;
}

AGT_PRIVATE size_t agt__git_unzip(agt_git_unzip *z, void *out, size_t n) {
    z_stream *s = &z->git->unzip;
    unsigned char *p = out;
    size_t have = 0;
    while (have < n && !z->done) {
        if (!s->avail_in && !codec_fill(z)) break;
        unsigned part = n - have < CODEC_INPUT ? (unsigned)(n - have) : CODEC_INPUT;
        s->next_out = p + have;
        s->avail_out = part;
        int rc = inflate(s, Z_NO_FLUSH);
        have += part - s->avail_out;
        z->done = rc == Z_STREAM_END;
        z->nomem = rc == Z_MEM_ERROR;
        z->rotten = rc != Z_OK && rc != Z_BUF_ERROR && !z->done && !z->nomem;
        if (z->rotten || z->nomem) break;
    }
    return have;
}

AGT_PRIVATE bool agt__git_unzip_end(agt_git_unzip *z) {
    unsigned char more;
    return agt__git_unzip(z, &more, 1) == 0 && z->done;
}

AGT_PRIVATE uint64_t agt__git_unzip_at(const agt_git_unzip *z) {
    return z->at - z->git->unzip.avail_in;
}

/* ---- making a delta ---- */

AGT_PRIVATE void agt__git_delta_size(agt_buf *out, size_t n) {
    for (; n >= 128; n >>= 7)
        agt__buf_byte(out, (unsigned char)(n | 128));
    agt__buf_byte(out, (unsigned char)n);
}

AGT_PRIVATE void agt__git_delta_copy(agt_buf *out, size_t at, size_t n) {
    while (n) {
        size_t part = n < CODEC_COPY_MAX ? n : CODEC_COPY_MAX, len = 1;
        unsigned char op[8] = {128};
        for (unsigned i = 0; i < 4; i++) {
            unsigned char byte = (unsigned char)(at >> (8 * i));
            if (!byte) continue;
            op[0] |= (unsigned char)(1u << i);
            op[len++] = byte;
        }
        for (unsigned i = 0; i < 3 && part != 65536; i++) {
            unsigned char byte = (unsigned char)(part >> (8 * i));
            if (!byte) continue;
            op[0] |= (unsigned char)(16u << i);
            op[len++] = byte;
        }
        agt__buf_put(out, op, len);
        at += part;
        n -= part;
    }
}

AGT_PRIVATE void agt__git_delta_insert(agt_buf *out, const unsigned char *data, size_t n) {
    while (n) {
        size_t part = n < 127 ? n : 127;
        agt__buf_byte(out, (unsigned char)part);
        agt__buf_put(out, data, part);
        data += part;
        n -= part;
    }
}

static unsigned codec_hash(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return (unsigned)((v * 0x9e3779b97f4a7c15u) >> 52);
}

/* The part of two texts that is neither their common beginning nor their common end. */
typedef struct codec_middle {
    const unsigned char *from, *to;
    size_t from_len, to_len, from_at; /* from_at: where it stands in the whole old text */
} codec_middle;

/* How many bytes from from[f], to[t] on are the same. */
static size_t codec_same(const codec_middle *m, size_t f, size_t t) {
    size_t most = m->from_len - f, n = 0;
    if (m->to_len - t < most) most = m->to_len - t;
    while (n < most && m->from[f + n] == m->to[t + n])
        n++;
    return n;
}

static void codec_delta_middle(const codec_middle *m, size_t limit, agt_buf *out) {
    uint32_t slots[CODEC_SLOTS];
    size_t step = 1 + m->from_len / CODEC_SLOTS, start = out->len, done = 0, t = 0;
    memset(slots, 0xff, sizeof slots);
    for (size_t f = 0; f + CODEC_WINDOW <= m->from_len; f += step)
        slots[codec_hash(m->from + f)] = (uint32_t)f;
    while (t + CODEC_WINDOW <= m->to_len && out->len - start + (t - done) <= limit) {
        size_t f = slots[codec_hash(m->to + t)], back = 0;
        size_t n = f < m->from_len ? codec_same(m, f, t) : 0;
        while (n && back < f && back < t - done && m->from[f - back - 1] == m->to[t - back - 1])
            back++;
        if (n + back < CODEC_MATCH) {
            t++;
            continue;
        }
        agt__git_delta_insert(out, m->to + done, t - back - done);
        agt__git_delta_copy(out, m->from_at + f - back, n + back);
        done = t += n;
    }
    agt__git_delta_insert(out, m->to + done, m->to_len - done);
}

AGT_PRIVATE bool agt__git_delta_make(const unsigned char *from, size_t from_len,
                                     const unsigned char *to, size_t to_len, size_t limit,
                                     agt_buf *out) {
    size_t start = out->len, least = from_len < to_len ? from_len : to_len, head = 0, tail = 0;
    while (head < least && from[head] == to[head])
        head++;
    while (tail < least - head && from[from_len - tail - 1] == to[to_len - tail - 1])
        tail++;
    codec_middle m = {from + head, to + head, from_len - head - tail, to_len - head - tail, head};
    bool search = m.from_len >= CODEC_MATCH && m.to_len >= CODEC_MATCH;
    if (from_len >= UINT32_MAX || (!search && m.to_len > limit)) return false;
    agt__git_delta_size(out, from_len);
    agt__git_delta_size(out, to_len);
    agt__git_delta_copy(out, 0, head);
    if (search)
        codec_delta_middle(&m, limit, out);
    else
        agt__git_delta_insert(out, m.to, m.to_len);
    agt__git_delta_copy(out, from_len - tail, tail);
    if (!out->failed && out->len - start <= limit) return true;
    out->len = start;
    out->failed = false;
    return false;
}

/* ---- applying a delta ---- */

static bool codec_delta_number(const unsigned char **p, const unsigned char *end, size_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 57; shift += 7) {
        unsigned char c = *(*p)++;
        v |= (uint64_t)(c & 127) << shift;
        *out = (size_t)v;
        if (c < 128) return v <= AGT_GIT_MAX_RAW;
    }
    return false;
}

/* One command: *n bytes from *at of the old bytes, or *n bytes that stand at **p if not *copy. */
static bool codec_delta_command(const unsigned char **p, const unsigned char *end, bool *copy,
                                size_t *at, size_t *n) {
    unsigned char op = *(*p)++;
    *copy = op >= 128;
    *at = 0;
    *n = op;
    if (!*copy) return op && (size_t)(end - *p) >= op;
    *n = 0;
    for (unsigned i = 0; i < 7; i++) {
        if (!(op >> i & 1)) continue;
        if (*p == end) return false;
        if (i < 4)
            *at |= (size_t) * (*p)++ << (8 * i);
        else
            *n |= (size_t) * (*p)++ << (8 * (i - 4));
    }
    if (!*n) *n = 65536;
    return true;
}

AGT_PRIVATE agt_status agt__git_delta_apply(const unsigned char *from, size_t from_len,
                                            const unsigned char *delta, size_t delta_len,
                                            agt_buf *out, agt_error *err) {
    const unsigned char *p = delta, *end = delta + delta_len, *first;
    size_t size_from, size_to, at, n, sum = 0;
    bool copy, good = codec_delta_number(&p, end, &size_from) &&
                      codec_delta_number(&p, end, &size_to) && size_from == from_len;
    first = p;
    while (good && p < end) { /* (2) */
        good = codec_delta_command(&p, end, &copy, &at, &n) && n <= size_to - sum;
        if (good && copy) good = at <= from_len && n <= from_len - at;
        if (!copy) p += good ? n : 0;
        sum += good ? n : 0;
    }
    if (!good || sum != size_to) return agt__fail(err, AGT_CORRUPT, "a delta in a pack is damaged");
    if (!agt__buf_reserve(out, size_to)) return agt__nomem(err);
    for (p = first; p < end;) {
        (void)codec_delta_command(&p, end, &copy, &at, &n);
        agt__buf_put(out, copy ? from + at : p, n);
        if (!copy) p += n;
    }
    return AGT_OK;
}
