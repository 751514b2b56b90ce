/* trace_repair: believing a trace that has no journal (R3 to R6).
 *
 * (1) Only an unterminated tail is a tear. A line that ends in a newline and does not parse or
 *     chain is damage: counted and located, never touched.
 * (2) A tail of NUL bytes is a tear, also behind a newline.
 * (3) A tail that is a whole valid event, in sequence, only lacks its newline and gets it.
 * (4) Repair is idempotent, and what it cuts off it keeps. */
#include "trace.h"

typedef struct repair_walk {
    agt_cpu cpu;
    agt_trace_report *out;
    uint64_t want_seq;
    bool chained; /* `out->end.prev` is the hash of the line before */
    agt_buf scratch;
} repair_walk;

/* Takes one whole line; false if it is damaged. */
static bool repair_line(repair_walk *w, const char *line, size_t n, bool last_resort) {
    agt_event e;
    unsigned char prev[32];
    bool good = agt__event_parse(line, n, &w->scratch, &e, NULL) == AGT_OK &&
                agt__unhex(e.prev.data, e.prev.len, prev, 32);
    if (good && w->want_seq && e.seq != w->want_seq) good = false;
    if (good && w->chained && memcmp(prev, w->out->end.prev, 32) != 0) good = false;
    if (last_resort) return good;
    agt__sha256(w->cpu, line, n, w->out->end.prev);
    /* behind damage the chain goes on from the bytes that are there; seq from the next good line */
    w->chained = true;
    w->want_seq = good ? e.seq + 1 : 0;
    if (good) {
        w->out->lines++;
        w->out->last_seq = e.seq;
    }
    return good;
}

static size_t repair_without_nul(const agt_buf *b, size_t len) {
    while (len && b->data[len - 1] == 0)
        len--;
    return len;
}

/* One segment, wholly in memory. `last`: its tail may be torn. */
static void repair_segment(repair_walk *w, const agt_buf *b, uint64_t segment, bool last) {
    agt_trace_report *out = w->out;
    size_t len = repair_without_nul(b, b->len), at = 0;
    while (at < len) {
        const unsigned char *nl = memchr(b->data + at, '\n', len - at);
        if (!nl) break;
        size_t n = (size_t)(nl - (b->data + at)) + 1;
        if (!repair_line(w, (const char *)b->data + at, n, false) && !out->damaged_lines++) {
            out->first_bad_segment = segment;
            out->first_bad_offset = at;
        }
        at += n;
    }
    out->end.segment = segment;
    out->end.offset = at;
    if (!last) {
        if (at < b->len && !out->damaged_lines++) { /* a closed segment has no tail */
            out->first_bad_segment = segment;
            out->first_bad_offset = at;
        }
        return;
    }
    out->torn_bytes = b->len - at;
    if (at == len) return;
    agt_buf whole = agt__buf(b->mem);
    agt__buf_put(&whole, b->data + at, len - at);
    agt__buf_byte(&whole, '\n');
    out->salvageable =
        !whole.failed && repair_line(w, (const char *)whole.data, whole.len, true); /* (3) */
    agt__buf_free(&whole);
}

typedef struct repair_next {
    uint64_t after, found;
    size_t later;
} repair_next;

static int repair_find_next(void *ctx, const char *name) {
    repair_next *s = ctx;
    uint64_t first;
    if (!agt__segment_parse(name, &first) || first <= s->after) return 0;
    s->later++;
    if (!s->found || first < s->found) s->found = first;
    return 0;
}

AGT_PRIVATE agt_status agt__trace_check(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_buf bytes = agt__buf(mem);
    repair_walk w = {cpu, out, 0, true, agt__buf(mem)};
    agt_status st = AGT_OK;
    memset(out, 0, sizeof *out);
    out->end.segment = 1;
    for (repair_next s = {0, 0, 0}; st == AGT_OK; s.after = s.found) {
        s.found = 0;
        s.later = 0;
        int rc = sys->list(sys->ctx, dir, repair_find_next, &s);
        if (rc < 0) st = agt__fail_io(err, rc, "cannot list .agent-trace/trace");
        if (rc < 0 || !s.found) break;
        agt__segment_name(s.found, name);
        bytes.len = 0;
        st = agt__read_file(sys, dir, name, SIZE_MAX / 2, &bytes, err);
        if (!s.after) w.want_seq = s.found;
        if (st == AGT_OK) repair_segment(&w, &bytes, s.found, s.later == 1);
    }
    agt__buf_free(&bytes);
    agt__buf_free(&w.scratch);
    return st;
}

static agt_status repair_append_newline(agt_trace_writer *w, const agt_trace_report *r,
                                        uint64_t size, agt_error *err) {
    /* NUL bytes behind the event go first; the newline then ends it */
    uint64_t at = r->end.offset + r->torn_bytes;
    unsigned char c = 0;
    agt_status st = agt__trace_reserve(w, r->end.segment, at, 1, err);
    if (st != AGT_OK) return st;
    while (at > r->end.offset) {
        int64_t n = agt__read_all(w->sys, w->fd, &c, 1, at - 1);
        if (n < 0) return agt__fail_io(err, n, "cannot read the trace");
        if (n == 1 && c) break;
        at--;
    }
    int rc = at < size ? w->sys->truncate(w->sys->ctx, w->fd, at) : 0;
    if (rc < 0) return agt__fail_io(err, rc, "cannot cut the trace");
    return agt__trace_put(w, r->end.segment, at, "\n", 1, err);
}

AGT_PRIVATE agt_status agt__trace_repair(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    agt_trace_writer w;
    agt_status st = agt__trace_check(sys, dir, mem, cpu, out, err);
    if (st != AGT_OK || !out->torn_bytes) return st;
    agt__trace_writer_init(&w, sys, dir);
    if (out->salvageable)
        st = repair_append_newline(&w, out, out->end.offset + out->torn_bytes, err);
    else
        st = agt__trace_cut(&w, mem, out->end.segment, out->end.offset, err);
    if (st == AGT_OK && w.fd != AGT_FD_NONE) {
        int rc = sys->sync(sys->ctx, w.fd);
        if (rc == 0) rc = sys->sync(sys->ctx, dir);
        if (rc < 0) st = agt__fail_io(err, rc, "cannot sync the trace");
    }
    agt__trace_writer_close(&w);
    return st;
}
