/* trace_reader: reading the segments without a lock.
 *
 * (1) A line is handed out once its newline is there; what follows the last newline is not shown.
 * (2) The reader stands between two lines: forward it reads the one behind, backward the one
 *     before. It never keeps more than one window in memory.
 * (3) A run without a newline longer than any event is handed out in pieces: parsing refuses them,
 *     and reading goes on behind. */
#include "trace.h"

#include <stdlib.h>

#define READER_WINDOW (64u * 1024)
#define READER_NEAR   4096u /* closer than that, a search goes on line by line */

struct agt_trace_reader {
    const agt_sys *sys;
    agt_fd dir, fd;
    const agt_mem *mem;
    uint64_t *segments;
    size_t count, cap, index; /* of the segment fd is open on */
    uint64_t at;              /* (2) byte in it */
    unsigned char *window;
    size_t window_cap, window_len;
    uint64_t window_at;
    uint64_t line_segment, line_at;
    bool failed;
};

static int reader_add(void *ctx, const char *name) {
    agt_trace_reader *r = ctx;
    uint64_t first;
    if (!agt__segment_parse(name, &first)) return 0;
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        uint64_t *p = agt__realloc(r->mem, r->segments, r->cap * sizeof *p, cap * sizeof *p);
        if (!p) return 1;
        r->segments = p;
        r->cap = cap;
    }
    r->segments[r->count++] = first;
    return 0;
}

static int reader_by_seq(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Lists the segments anew; the reader stays on the one it is on. */
static agt_status reader_list(agt_trace_reader *r, agt_error *err) {
    uint64_t now = r->fd != AGT_FD_NONE ? r->segments[r->index] : 0;
    r->count = 0;
    int rc = r->sys->list(r->sys->ctx, r->dir, reader_add, r);
    if (rc > 0) return agt__nomem(err);
    if (rc < 0) return agt__fail_io(err, rc, "cannot list .agent-trace/trace");
    if (r->count) qsort(r->segments, r->count, sizeof *r->segments, reader_by_seq);
    for (r->index = 0; r->index < r->count && r->segments[r->index] < now;)
        r->index++;
    if (now && (r->index == r->count || r->segments[r->index] != now)) { /* it was removed */
        r->sys->close(r->sys->ctx, r->fd);
        r->fd = AGT_FD_NONE;
        r->window_len = 0;
        r->at = 0;
        if (r->index == r->count && r->index) r->index--;
    }
    return AGT_OK;
}

static agt_status reader_go(agt_trace_reader *r, size_t index, uint64_t at, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    if (r->fd == AGT_FD_NONE || index != r->index) {
        if (r->fd != AGT_FD_NONE) r->sys->close(r->sys->ctx, r->fd);
        r->fd = AGT_FD_NONE;
        agt__segment_name(r->segments[index], name);
        agt_fd fd = r->sys->open(r->sys->ctx, r->dir, name, AGT_O_READ, 0);
        if (fd < 0) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
        r->fd = fd;
        r->window_len = 0;
    }
    r->index = index;
    r->at = at;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_reader_open(agt_trace_reader **out, const agt_sys *sys,
                                              agt_fd dir, const agt_mem *mem, agt_error *err) {
    *out = NULL;
    agt_trace_reader *r = agt__zalloc(mem, sizeof *r);
    if (!r) return agt__nomem(err);
    r->sys = sys;
    r->dir = dir;
    r->fd = AGT_FD_NONE;
    r->mem = mem;
    r->window_cap = READER_WINDOW + AGT_MAX_EVENT + 1;
    r->window = agt__alloc(mem, r->window_cap);
    agt_status st = r->window ? AGT_OK : agt__nomem(err);
    if (st == AGT_OK && dir != AGT_FD_NONE) st = reader_list(r, err);
    if (st == AGT_OK && r->count) st = reader_go(r, 0, 0, err);
    if (st != AGT_OK) {
        agt__trace_reader_close(r);
        return st;
    }
    *out = r;
    return AGT_OK;
}

AGT_PRIVATE void agt__trace_reader_close(agt_trace_reader *r) {
    if (!r) return;
    if (r->fd != AGT_FD_NONE) r->sys->close(r->sys->ctx, r->fd);
    agt__free(r->mem, r->segments, r->cap * sizeof *r->segments);
    agt__free(r->mem, r->window, r->window_cap);
    agt__free(r->mem, r, sizeof *r);
}

AGT_PRIVATE void agt__trace_where(const agt_trace_reader *r, uint64_t *segment, uint64_t *offset) {
    *segment = r->line_segment;
    *offset = r->line_at;
}

/* Makes [from, from + n) lie in the window as far as the file goes; how many bytes do. */
static agt_status reader_fill(agt_trace_reader *r, uint64_t from, size_t n, size_t *have,
                              agt_error *err) {
    if (from >= r->window_at && from + n <= r->window_at + r->window_len) {
        *have = n;
        return AGT_OK;
    }
    int64_t got = agt__read_all(r->sys, r->fd, r->window, n, from);
    r->window_len = 0;
    if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
    r->window_at = from;
    r->window_len = (size_t)got;
    *have = (size_t)got;
    return AGT_OK;
}

static const unsigned char *reader_bytes(const agt_trace_reader *r, uint64_t from) {
    return r->window + (from - r->window_at);
}

static agt_text reader_hand_out(agt_trace_reader *r, uint64_t from, size_t n) {
    r->line_segment = r->segments[r->index];
    r->line_at = from;
    return (agt_text){(const char *)reader_bytes(r, from), n};
}

/* The line at `from`: its length with newline; 0 if there is no whole one. */
static agt_status reader_line_at(agt_trace_reader *r, uint64_t from, size_t *len, agt_error *err) {
    size_t have = 0;
    *len = 0;
    if (from >= r->window_at && from < r->window_at + r->window_len) {
        have = (size_t)(r->window_at + r->window_len - from);
        const unsigned char *p = reader_bytes(r, from), *nl = memchr(p, '\n', have);
        if (nl) {
            *len = (size_t)(nl - p) + 1;
            return AGT_OK;
        }
    }
    r->window_len = 0; /* the file may have grown: read anew */
    agt_status st = reader_fill(r, from, r->window_cap, &have, err);
    if (st != AGT_OK || !have) return st;
    const unsigned char *p = reader_bytes(r, from), *nl = memchr(p, '\n', have);
    if (nl)
        *len = (size_t)(nl - p) + 1;
    else if (have > AGT_MAX_EVENT)
        *len = AGT_MAX_EVENT + 1; /* (3) */
    return AGT_OK;
}

/* At the end of what the segment has: is there another one? A segment that recovery cut below the
 * reader moves it to the new end. */
static agt_status reader_next_segment(agt_trace_reader *r, bool *moved, agt_error *err) {
    agt_stat now;
    *moved = false;
    agt_status st = r->dir == AGT_FD_NONE ? AGT_OK : reader_list(r, err);
    if (st != AGT_OK || !r->count) return st;
    if (r->fd == AGT_FD_NONE) {
        *moved = true;
        return reader_go(r, r->index, 0, err);
    }
    if (r->index + 1 < r->count) {
        *moved = true;
        return reader_go(r, r->index + 1, 0, err);
    }
    int rc = r->sys->fstat(r->sys->ctx, r->fd, &now);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the trace");
    if (now.size < r->at) r->at = now.size;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_line(agt_trace_reader *r, agt_text *line, agt_error *err) {
    size_t len = 0;
    for (;;) {
        agt_status st = r->fd == AGT_FD_NONE ? AGT_OK : reader_line_at(r, r->at, &len, err);
        if (st != AGT_OK) return st;
        if (r->fd != AGT_FD_NONE && len) break;
        bool moved;
        st = reader_next_segment(r, &moved, err);
        if (st != AGT_OK) return st;
        if (!moved) return AGT_END;
    }
    *line = reader_hand_out(r, r->at, len);
    r->at += len;
    return AGT_OK;
}

/* The last newline before byte `end`, as the byte behind it; 0 if there is none. The bytes from
 * there to `end` are in the window, if they are no more than an event. */
static agt_status reader_line_start(agt_trace_reader *r, uint64_t end, uint64_t *start,
                                    agt_error *err) {
    size_t n = READER_WINDOW, have;
    *start = end;
    for (;;) {
        uint64_t from = end > n ? end - n : 0;
        n = (size_t)(end - from);
        agt_status st = reader_fill(r, from, n, &have, err);
        if (st != AGT_OK) return st;
        if (have < n) return AGT_OK; /* it shrank meanwhile */
        const unsigned char *p = reader_bytes(r, from);
        for (size_t i = n; i-- > 0;)
            if (p[i] == '\n') {
                *start = from + i + 1;
                return AGT_OK;
            }
        if (!from || n >= r->window_cap) {
            *start = from;
            return AGT_OK;
        }
        n = r->window_cap;
    }
}

AGT_PRIVATE agt_status agt__trace_line_back(agt_trace_reader *r, agt_text *line, agt_error *err) {
    uint64_t start;
    if (r->fd == AGT_FD_NONE) return AGT_END;
    while (r->at == 0) {
        if (!r->index) return AGT_END;
        agt_stat st_seg;
        agt_status st = reader_go(r, r->index - 1, 0, err);
        if (st != AGT_OK) return st;
        int rc = r->sys->fstat(r->sys->ctx, r->fd, &st_seg);
        if (rc < 0) return agt__fail_io(err, rc, "cannot look at the trace");
        st = reader_line_start(r, st_seg.size, &r->at, err);
        if (st != AGT_OK) return st;
    }
    agt_status st = reader_line_start(r, r->at - 1, &start, err);
    if (st != AGT_OK) return st;
    size_t n = (size_t)(r->at - start), have;
    if (n > r->window_cap) start = r->at - (n = r->window_cap);
    st = reader_fill(r, start, n, &have, err);
    if (st != AGT_OK) return st;
    if (have < n) return AGT_END;
    *line = reader_hand_out(r, start, n);
    r->at = start;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_seek_end(agt_trace_reader *r, agt_error *err) {
    agt_stat now;
    agt_status st = r->dir == AGT_FD_NONE ? AGT_OK : reader_list(r, err);
    if (st != AGT_OK || !r->count) return st;
    st = reader_go(r, r->count - 1, 0, err);
    if (st != AGT_OK) return st;
    int rc = r->sys->fstat(r->sys->ctx, r->fd, &now);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the trace");
    return reader_line_start(r, now.size, &r->at, err);
}

/* The first line that begins behind `from`: its start and seq; *start == UINT64_MAX if none. */
static agt_status reader_probe(agt_trace_reader *r, uint64_t from, uint64_t *start, uint64_t *seq,
                               agt_error *err) {
    size_t len;
    *start = UINT64_MAX;
    agt_status st = reader_line_at(r, from, &len, err); /* the rest of the line `from` is in */
    if (st != AGT_OK || !len) return st;
    uint64_t at = from + len;
    st = reader_line_at(r, at, &len, err);
    if (st != AGT_OK || !len) return st;
    if (!agt__event_seq((const char *)reader_bytes(r, at), len, seq)) *seq = 0;
    *start = at;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_seek(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    agt_stat now;
    agt_status st = r->dir == AGT_FD_NONE ? AGT_OK : reader_list(r, err);
    if (st != AGT_OK || !r->count) return st;
    size_t i = r->count - 1;
    while (i > 0 && r->segments[i] > seq)
        i--;
    if ((st = reader_go(r, i, 0, err)) != AGT_OK) return st;
    r->window_len = 0;
    int rc = r->sys->fstat(r->sys->ctx, r->fd, &now);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the trace");
    uint64_t lo = 0, hi = now.size;
    while (hi - lo > READER_NEAR) {
        uint64_t mid = lo + (hi - lo) / 2, start, found = 0;
        if ((st = reader_probe(r, mid, &start, &found, err)) != AGT_OK) return st;
        if (start >= hi)
            hi = mid;
        else if (!found)
            break; /* damage: go line by line */
        else if (found < seq)
            lo = start;
        else
            hi = start;
    }
    for (r->at = lo;;) {
        size_t len;
        uint64_t found = 0;
        if ((st = reader_line_at(r, r->at, &len, err)) != AGT_OK) return st;
        if (!len) return AGT_OK;
        bool readable = agt__event_seq((const char *)reader_bytes(r, r->at), len, &found);
        if (readable && found >= seq) return AGT_OK;
        r->at += len;
    }
}

AGT_PRIVATE agt_status agt__trace_find(agt_trace_reader *r, uint64_t seq, agt_text *line,
                                       agt_error *err) {
    uint64_t found = 0;
    agt_status st = agt__trace_seek(r, seq, err);
    if (st == AGT_OK) st = agt__trace_line(r, line, err);
    if (st == AGT_END ||
        (st == AGT_OK && (!agt__event_seq(line->data, line->len, &found) || found != seq)))
        return agt__fail(err, AGT_NOT_FOUND, "the trace has no event %llu",
                         (unsigned long long)seq);
    return st;
}
