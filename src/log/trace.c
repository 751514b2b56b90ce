/* trace: writing. See trace.h.
 *
 * (1) Lines go to the offset their journal record names: writing them again changes nothing.
 * (2) Only recovery cuts, behind what the journal acknowledges, and keeps what it cuts. */
#include "trace.h"

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
        if (v > (UINT64_MAX - 9) / 10) return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (!v) return false;
    agt__segment_name(v, again);
    *first_seq = v;
    return strcmp(name, again) == 0;
}

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
    agt_status st = trace_open_segment(w, segment, err);
    if (st != AGT_OK || offset + n <= w->reserved_end) return st;
    int rc = w->sys->reserve(w->sys->ctx, w->fd, offset, n + TRACE_RESERVE);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS)
        return agt__fail_io(err, rc, "cannot make room in the trace");
    w->reserved_end = offset + n + TRACE_RESERVE;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_put(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                      const void *lines, size_t n, agt_error *err) {
    agt_status st = n ? trace_open_segment(w, segment, err) : AGT_OK;
    if (st != AGT_OK || !n) return st;
    int rc = agt__write_all(w->sys, w->fd, lines, n, offset);
    return rc < 0 ? agt__fail_io(err, rc, "cannot write to the trace") : AGT_OK;
}

/* ---- cutting ---- */

static bool trace_all_zero(const agt_buf *b) {
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i]) return false;
    return true;
}

/* Keeps the bytes of `name` from `offset` on as <name>.torn, unless they are all NUL. */
static agt_status trace_keep_torn(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                  const char *name, uint64_t offset, agt_error *err) {
    char torn[AGT_SEGMENT_NAME + 8];
    agt_buf b = agt__buf(mem);
    size_t n = strlen(name);
    memcpy(torn, name, n);
    memcpy(torn + n, ".torn", 6);
    agt_status st = agt__read_file(sys, dir, name, SIZE_MAX / 2, &b, err);
    if (st == AGT_OK && b.len > offset) {
        b.len -= (size_t)offset;
        memmove(b.data, b.data + offset, b.len);
        if (!trace_all_zero(&b)) st = agt__write_file(sys, dir, torn, b.data, b.len, true, err);
    }
    agt__buf_free(&b);
    return st;
}

typedef struct trace_later {
    uint64_t after, found;
} trace_later;

static int trace_find_later(void *ctx, const char *name) {
    trace_later *l = ctx;
    uint64_t first;
    if (agt__segment_parse(name, &first) && first > l->after && first > l->found) l->found = first;
    return 0;
}

static agt_status trace_drop_later(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                   agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    for (;;) {
        trace_later l = {segment, 0};
        int rc = w->sys->list(w->sys->ctx, w->dir, trace_find_later, &l);
        if (rc < 0) return agt__fail_io(err, rc, "cannot list .agent-trace/trace");
        if (!l.found) return AGT_OK;
        agt__segment_name(l.found, name);
        agt_status st = trace_keep_torn(w->sys, w->dir, mem, name, 0, err);
        if (st != AGT_OK) return st;
        rc = w->sys->remove(w->sys->ctx, w->dir, name);
        if (rc < 0) return agt__fail_io(err, rc, "cannot remove .agent-trace/trace/%s", name);
    }
}

AGT_PRIVATE agt_status agt__trace_cut(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                      uint64_t offset, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_stat now;
    agt_status st = trace_drop_later(w, mem, segment, err);
    agt__segment_name(segment, name);
    if (st != AGT_OK) return st;
    int rc = w->sys->stat(w->sys->ctx, w->dir, name, &now);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    if (now.size <= offset) return AGT_OK;
    st = trace_keep_torn(w->sys, w->dir, mem, name, offset, err);
    if (st == AGT_OK) st = trace_open_segment(w, segment, err);
    if (st != AGT_OK) return st;
    rc = w->sys->truncate(w->sys->ctx, w->fd, offset);
    w->reserved_end = 0;
    return rc < 0 ? agt__fail_io(err, rc, "cannot cut .agent-trace/trace/%s", name) : AGT_OK;
}
