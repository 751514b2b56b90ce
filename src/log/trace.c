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

#define TRACE_TORN_MAX (16u * 1024 * 1024)

#include <stdlib.h>

#define TRACE_RESERVE (1024u * 1024)

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
    if (fd < 0) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
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

static bool trace_all_zero(const agt_buf *b) {
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i]) return false;
    return true;
}

/* Keeps the n bytes of the open file from `offset` on as <name>.torn, unless all are NUL. A journal
 * acknowledges at most its own size, so no tail of ours is longer than TRACE_TORN_MAX; of what
 * somebody else made longer, that much is kept. */
static agt_status trace_keep_torn(const agt_sys *sys, agt_fd dir, agt_fd fd, const agt_mem *mem,
                                  const char *name, uint64_t offset, uint64_t n, agt_error *err) {
    char torn[AGT_SEGMENT_NAME + 8];
    agt_buf b = agt__buf(mem);
    size_t len = strlen(name);
    memcpy(torn, name, len);
    memcpy(torn + len, ".torn", 6);
    if (n > TRACE_TORN_MAX) n = TRACE_TORN_MAX;
    if (!agt__buf_reserve(&b, (size_t)n)) {
        agt__buf_free(&b);
        return agt__nomem(err);
    }
    agt_status st = AGT_OK;
    int64_t got = agt__read_all(sys, fd, b.data, (size_t)n, offset);
    if (got < 0)
        st = agt__fail_io(err, got, "cannot read .agent-trace/trace/%s", name);
    else
        b.len = (size_t)got;
    if (st == AGT_OK && !trace_all_zero(&b))
        st = agt__write_file(sys, dir, torn, b.data, b.len, true, err);
    agt__buf_free(&b);
    return st;
}

/* Keeps what stands in the segment from `offset` on, then cuts it there, or removes it. No such
 * segment: nothing to do. */
static agt_status trace_cut_one(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                uint64_t offset, bool remove, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    const agt_sys *sys = w->sys;
    agt_stat now;
    agt__segment_name(segment, name);
    agt_fd fd = sys->open(sys->ctx, w->dir, name, AGT_O_READ | AGT_O_WRITE, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    if (fd < 0) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
    agt_status st = AGT_OK;
    int rc = sys->fstat(sys->ctx, fd, &now);
    if (rc < 0) st = agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    if (rc == 0 && now.size > offset)
        st = trace_keep_torn(sys, w->dir, fd, mem, name, offset, now.size - offset, err);
    if (st == AGT_OK && remove)
        rc = sys->remove(sys->ctx, w->dir, name);
    else if (st == AGT_OK && now.size > offset)
        rc = sys->truncate(sys->ctx, fd, offset);
    if (st == AGT_OK && rc < 0)
        st = agt__fail_io(err, rc, "cannot cut .agent-trace/trace/%s", name);
    sys->close(sys->ctx, fd);
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
