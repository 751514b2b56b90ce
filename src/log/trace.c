/* trace: segments and writing to them. See trace.h.
 *
 *     trace/000000000001.jsonl        lines of seq 1 to 4710
 *     trace/000000004711.jsonl        and so on: the last one grows
 *     trace/000000004711.jsonl.torn   what recovery cut off it
 *
 * (1) Lines go to the offset their journal record names: writing them again changes nothing.
 * (2) Only recovery cuts, behind what the journal acknowledges, and keeps what it cuts.
 * (3) A segment without an acknowledged line may be removed by anybody's recovery. A writer that
 *     made one and did not get to write to it opens it by its name again. */
#include "trace.h"

#include <stdlib.h>

#define TRACE_RESERVE (1024u * 1024)
#define TRACE_CHUNK   (64u * 1024) /* all the memory that keeping a tail takes */

AGT_PRIVATE void agt__segment_name(uint64_t first_seq, char out[AGT_SEGMENT_NAME]) {
    char digits[20];
    size_t n = 0, at = 0;
    do
        digits[n++] = (char)('0' + first_seq % 10);
    while ((first_seq /= 10) != 0);
    for (size_t i = n; i < 12; i++)
        out[at++] = '0';
    while (n)
        out[at++] = digits[--n];
    memcpy(out + at, ".jsonl", 7);
}

AGT_PRIVATE bool agt__segment_parse(const char *name, uint64_t *first_seq) {
    char again[AGT_SEGMENT_NAME];
    uint64_t v = 0;
    const char *p = name;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    if (!v) return false;
    agt__segment_name(v, again);
    *first_seq = v;
    return strcmp(name, again) == 0;
}

typedef struct trace_listing {
    agt_segments *all;
    bool failed;
} trace_listing;

static int trace_list_one(void *ctx, const char *name) {
    trace_listing *l = ctx;
    agt_segments *all = l->all;
    uint64_t first;
    if (!agt__segment_parse(name, &first)) return 0;
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 16;
        uint64_t *v = agt__realloc(all->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        l->failed = !v;
        if (!v) return 1;
        all->v = v;
        all->cap = cap;
    }
    all->v[all->count++] = first;
    return 0;
}

static int trace_by_seq(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

AGT_PRIVATE agt_status agt__segments_list(agt_segments *all, const agt_sys *sys, agt_fd dir,
                                          agt_error *err) {
    trace_listing l = {all, false};
    all->count = 0;
    if (dir == AGT_FD_NONE) return AGT_OK;
    int rc = sys->list(sys->ctx, dir, trace_list_one, &l);
    if (rc != 0) all->count = 0;
    if (l.failed) return agt__nomem(err);
    if (rc != 0) return agt__fail_io(err, rc, "cannot list .agent-trace/trace");
    if (all->count) qsort(all->v, all->count, sizeof *all->v, trace_by_seq);
    return AGT_OK;
}

AGT_PRIVATE void agt__segments_free(agt_segments *all) {
    agt__free(all->mem, all->v, all->cap * sizeof *all->v);
    all->v = NULL;
    all->count = all->cap = 0;
}

/* ---- writing ---- */

AGT_PRIVATE void agt__trace_writer_init(agt_trace_writer *w, const agt_sys *sys, agt_fd dir) {
    memset(w, 0, sizeof *w);
    w->sys = sys;
    w->dir = dir;
    w->fd = AGT_FD_NONE;
}

AGT_PRIVATE void agt__trace_writer_close(agt_trace_writer *w) {
    if (w->fd != AGT_FD_NONE) w->sys->close(w->sys->ctx, w->fd);
    w->fd = AGT_FD_NONE;
    w->segment = w->reserved_end = 0;
    w->sure = false;
}

static agt_status trace_open_segment(agt_trace_writer *w, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    if (w->fd != AGT_FD_NONE && w->segment == segment) return AGT_OK;
    agt__trace_writer_close(w);
    agt__segment_name(segment, name);
    agt_fd fd =
        w->sys->open(w->sys->ctx, w->dir, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (fd < 0) {
        agt_status status = agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
        return agt__say_owner(w->sys, w->dir, name, fd, status, err);
    }
    w->fd = fd;
    w->segment = segment;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_reserve(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                          size_t n, agt_error *err) {
    if (!w->sure) agt__trace_writer_close(w); /* (3) */
    agt_status st = trace_open_segment(w, segment, err);
    if (st != AGT_OK) return st;
    w->sure = offset > 0;
    if (offset + n <= w->reserved_end) return AGT_OK;
    uint64_t more = TRACE_RESERVE;
    int rc = w->sys->reserve(w->sys->ctx, w->fd, offset, n + more);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSPC) { /* then just what is needed */
        more = 0;
        rc = w->sys->reserve(w->sys->ctx, w->fd, offset, n);
    }
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS)
        return agt__fail_io(err, rc, "cannot make room in the trace");
    w->reserved_end = offset + n + more;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_trim(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                       agt_error *err) {
    agt_stat now;
    if (!offset) return AGT_OK;
    agt_status st = trace_open_segment(w, segment, err);
    if (st != AGT_OK) return st;
    int rc = w->sys->fstat(w->sys->ctx, w->fd, &now);
    if (rc == 0 && now.size == offset) {
        rc = w->sys->truncate(w->sys->ctx, w->fd, offset);
        w->reserved_end = 0;
    }
    return rc < 0 ? agt__fail_io(err, rc, "cannot give back what the trace has reserved") : AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_put(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                      const void *lines, size_t n, agt_error *err) {
    agt_status st = n ? trace_open_segment(w, segment, err) : AGT_OK;
    if (st != AGT_OK || !n) return st;
    int rc = agt__write_all(w->sys, w->fd, lines, n, offset);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write to the trace");
    w->sure = true;
    return AGT_OK;
}

/* ---- cutting ---- */

/* The bytes of a segment that are to go, and where they are kept. */
typedef struct trace_tail {
    const agt_sys *sys;
    agt_fd dir, fd;
    uint64_t offset, n;
    unsigned char *chunk;
    char name[AGT_SEGMENT_NAME], torn[AGT_SEGMENT_NAME + 8], tmp[AGT_SEGMENT_NAME + 12];
} trace_tail;

static agt_status trace_tail_failed(const trace_tail *t, int64_t rc, agt_error *err) {
    return agt__fail_io(err, rc, "cannot keep what is cut off .agent-trace/trace/%s", t->name);
}

/* Reads the chunk that begins `at` bytes into the tail; *zero: it has nothing but NULs. */
static int64_t trace_tail_read(trace_tail *t, uint64_t at, bool *zero) {
    size_t n = t->n - at < TRACE_CHUNK ? (size_t)(t->n - at) : TRACE_CHUNK;
    int64_t got = agt__read_all(t->sys, t->fd, t->chunk, n, t->offset + at);
    *zero = got <= 0 || (t->chunk[0] == 0 && memcmp(t->chunk, t->chunk + 1, (size_t)got - 1) == 0);
    return got;
}

static agt_status trace_tail_zero(trace_tail *t, bool *zero, agt_error *err) {
    *zero = true;
    for (uint64_t at = 0; at < t->n && *zero;) {
        int64_t got = trace_tail_read(t, at, zero);
        if (got < 0) return trace_tail_failed(t, got, err);
        if (got == 0) break;
        at += (uint64_t)got;
    }
    return AGT_OK;
}

/* Writes the tail to the open file; where it has only NULs a hole will do. */
static int trace_tail_write(trace_tail *t, agt_fd to) {
    bool zero;
    int rc = t->sys->truncate(t->sys->ctx, to, t->n);
    for (uint64_t at = 0; at < t->n && rc == 0;) {
        int64_t got = trace_tail_read(t, at, &zero);
        if (got < 0) return (int)got;
        if (got == 0) break;
        if (!zero) rc = agt__write_all(t->sys, to, t->chunk, (size_t)got, at);
        at += (uint64_t)got;
    }
    return rc == 0 ? t->sys->sync(t->sys->ctx, to) : rc;
}

/* Copies the tail to <name>.torn: whole or not at all, also when the power goes off. */
static agt_status trace_tail_copy(trace_tail *t, agt_error *err) {
    const agt_sys *sys = t->sys;
    int rc = sys->remove(sys->ctx, t->dir, t->tmp); /* of a copy that did not end */
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return trace_tail_failed(t, rc, err);
    agt_fd to = sys->open(sys->ctx, t->dir, t->tmp, AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL, 0600);
    if (to < 0) return trace_tail_failed(t, to, err);
    rc = trace_tail_write(t, to);
    sys->close(sys->ctx, to);
    if (rc == 0) rc = sys->rename(sys->ctx, t->dir, t->tmp, t->dir, t->torn, AGT_RENAME_REPLACE);
    if (rc < 0) (void)sys->remove(sys->ctx, t->dir, t->tmp);
    if (rc == 0) rc = sys->sync(sys->ctx, t->dir);
    return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
}

/* Takes the whole segment away: to <name>.torn as it is, or for good if it has only NULs. */
static agt_status trace_tail_move(trace_tail *t, bool zero, agt_error *err) {
    const agt_sys *sys = t->sys;
    if (zero) {
        int rc = sys->remove(sys->ctx, t->dir, t->name);
        return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
    }
    int rc = sys->sync(sys->ctx, t->fd);
    if (rc == 0) rc = sys->rename(sys->ctx, t->dir, t->name, t->dir, t->torn, AGT_RENAME_REPLACE);
    if (rc == 0) rc = sys->sync(sys->ctx, t->dir);
    return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
}

static agt_status trace_tail_cut(trace_tail *t, bool zero, agt_error *err) {
    agt_status st = zero ? AGT_OK : trace_tail_copy(t, err);
    if (st != AGT_OK) return st;
    int rc = t->sys->truncate(t->sys->ctx, t->fd, t->offset);
    return rc < 0 ? agt__fail_io(err, rc, "cannot cut .agent-trace/trace/%s", t->name) : AGT_OK;
}

/* The open segment loses what it has from t->offset on, or as a whole (`remove`). One far longer
 * than any of ours is moved unread, and nothing is cut off it: copying might never end. */
static agt_status trace_tail_go(trace_tail *t, const agt_mem *mem, bool remove, agt_error *err) {
    bool zero = false, vast;
    agt_stat now;
    int rc = t->sys->fstat(t->sys->ctx, t->fd, &now);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", t->name);
    if (!remove && now.size <= t->offset) return AGT_OK;
    t->n = now.size - t->offset;
    vast = t->n > AGT_SEGMENT_LONGEST;
    if (vast && !remove)
        return agt__fail_at(err, AGT_CORRUPT, (int64_t)t->offset,
                            ".agent-trace/trace/%s has %llu bytes behind the last event, which "
                            "nothing of ours ever left there; move them away",
                            t->name, (unsigned long long)t->n);
    t->chunk = agt__alloc(mem, TRACE_CHUNK);
    if (!t->chunk) return agt__nomem(err);
    agt_status st = vast ? AGT_OK : trace_tail_zero(t, &zero, err);
    if (st == AGT_OK) st = remove ? trace_tail_move(t, zero, err) : trace_tail_cut(t, zero, err);
    agt__free(mem, t->chunk, TRACE_CHUNK);
    return st;
}

/* Keeps what stands in the segment from `offset` on, then cuts it there, or removes it. No such
 * segment: nothing to do. */
static agt_status trace_cut_one(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                uint64_t offset, bool remove, agt_error *err) {
    trace_tail t;
    memset(&t, 0, sizeof t);
    t.sys = w->sys;
    t.dir = w->dir;
    t.offset = offset;
    agt__segment_name(segment, t.name);
    size_t len = strlen(t.name);
    memcpy(t.torn, t.name, len);
    memcpy(t.torn + len, ".torn", 6);
    memcpy(t.tmp, t.torn, len + 5);
    memcpy(t.tmp + len + 5, ".tmp", 5);
    t.fd = t.sys->open(t.sys->ctx, t.dir, t.name, AGT_O_READ | AGT_O_WRITE, 0);
    if (t.fd < 0 && AGT_SYS_CLASS(t.fd) == AGT_SYS_NOENT) return AGT_OK;
    if (t.fd < 0) {
        agt_status denied = agt__fail_io(err, t.fd, "cannot open .agent-trace/trace/%s", t.name);
        return agt__say_owner(t.sys, t.dir, t.name, t.fd, denied, err);
    }
    agt_status st = trace_tail_go(&t, mem, remove, err);
    t.sys->close(t.sys->ctx, t.fd);
    return st;
}

AGT_PRIVATE agt_status agt__trace_cut(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                      uint64_t offset, agt_error *err) {
    agt_segments all = {mem, NULL, 0, 0};
    agt_status st = agt__segments_list(&all, w->sys, w->dir, err);
    agt__trace_writer_close(w); /* what it has open may be removed, what it reserved be cut */
    for (size_t i = all.count; i > 0 && st == AGT_OK && all.v[i - 1] > segment; i--)
        st = trace_cut_one(w, mem, all.v[i - 1], 0, true, err);
    if (st == AGT_OK) st = trace_cut_one(w, mem, segment, offset, false, err);
    agt__segments_free(&all);
    return st;
}
