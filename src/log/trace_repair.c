/* trace_repair: believing a trace that has no journal (R3 to R6).
 *
 * Line by line the walk knows what the next one must be: its seq and its `prev`.
 *
 *     follows what stands before it             a good line
 *     parses, but does not follow               damaged; the next may follow it, or the last good
 *     does not parse, but ends in an event
 *       that follows                            damaged, and that event is good
 *     does not parse                            damaged; the next is good if its seq is greater
 *
 * and nothing is good whose seq is not greater than all before it.
 *
 * (1) Only an unterminated tail is a tear. A line that ends in a newline and does not parse or
 *     chain is damage: counted and located, never touched.
 * (2) A tail of NUL bytes is a tear, also behind a newline.
 * (3) A tail that is a whole event that follows only lacks its newline and gets it.
 * (4) The trace ends behind the last newline of all segments. Later segments, which then have no
 *     whole line, belong to the tail; but one that was to have the next event is where it goes.
 * (5) Repair is idempotent, and what it cuts off it keeps.
 * (6) Two lines' room is all the memory it needs, however long the trace or its tail. */
#include "trace.h"

#define REPAIR_WINDOW (2u * AGT_MAX_EVENT)

/* What a line must be to follow another. */
typedef struct repair_next {
    uint64_t seq; /* 0: nothing follows it */
    unsigned char prev[32];
} repair_next;

typedef struct repair_walk {
    const agt_sys *sys;
    agt_fd dir;
    agt_cpu cpu;
    agt_trace_report *out;
    repair_next good, other; /* what follows the last good line; a damaged one that parsed */
    bool lost;               /* the line before did not parse: its hash tells nothing */
    bool stray;              /* there are segments behind the end (4) */
    uint64_t salvage;        /* bytes of the event that only lacks its newline */
    agt_buf scratch, window;
    /* the segment being read: */
    agt_fd fd;
    uint64_t segment, size, at; /* begin of the line being read */
    uint64_t dropped;           /* of its bytes, those no longer in the window */
    agt_sha256_state hash;      /* of the dropped ones */
} repair_walk;

/* ---- one line ---- */

static bool repair_follows(const repair_next *n, uint64_t seq, const unsigned char prev[32]) {
    return n->seq && seq == n->seq && memcmp(prev, n->prev, 32) == 0;
}

/* `hash` true: only what chains, not what merely comes behind something unreadable. */
static bool repair_fits(const repair_walk *w, uint64_t seq, const unsigned char prev[32],
                        bool hash) {
    if (repair_follows(&w->good, seq, prev)) return true;
    return seq > w->out->last_seq && (repair_follows(&w->other, seq, prev) || (w->lost && !hash));
}

/* Reads an event; false if it is none. No memory is needed: `scratch` has it. */
static bool repair_parse(repair_walk *w, const char *line, size_t n, uint64_t *seq,
                         unsigned char prev[32]) {
    agt_event e;
    if (agt__event_parse(line, n, &w->scratch, &e, NULL) != AGT_OK) return false;
    *seq = e.seq;
    return agt__unhex(e.prev.data, e.prev.len, prev, 32);
}

static void repair_good(repair_walk *w, const char *line, size_t n, uint64_t seq) {
    w->out->lines++;
    w->out->last_seq = seq;
    w->good.seq = seq + 1;
    agt__sha256(w->cpu, line, n, w->good.prev);
    memcpy(w->out->end.prev, w->good.prev, 32);
    w->other.seq = 0;
    w->lost = false;
}

static void repair_damaged(repair_walk *w, uint64_t at) {
    if (w->out->damaged_lines++) return;
    w->out->first_bad_segment = w->segment;
    w->out->first_bad_offset = at;
}

/* A whole event that follows, at the end of a damaged line: something unfinished stood before it
 * when it was written. */
static bool repair_fused(repair_walk *w, const char *line, size_t n) {
    static const char begin[] = "{\"timestamp\":\"";
    const size_t len = sizeof begin - 1;
    uint64_t seq;
    unsigned char prev[32];
    for (size_t at = n > len ? n - len : 0; at-- > 0;) {
        if (line[at] != '{' || memcmp(line + at, begin, len) != 0) continue;
        if (!repair_parse(w, line + at, n - at, &seq, prev)) continue;
        if (!repair_fits(w, seq, prev, true)) continue;
        repair_good(w, line + at, n - at, seq);
        return true;
    }
    return false;
}

/* A line ended by a newline. `whole` is false if only its last bytes are there. */
static void repair_line(repair_walk *w, const char *line, size_t n, bool whole) {
    uint64_t seq = 0;
    unsigned char prev[32] = {0};
    bool parses = whole && n <= AGT_MAX_EVENT && repair_parse(w, line, n, &seq, prev);
    if (parses && repair_fits(w, seq, prev, false) && (w->at > 0 || seq == w->segment)) {
        repair_good(w, line, n, seq);
        return;
    }
    repair_damaged(w, w->at);
    size_t most = n < AGT_MAX_EVENT ? n : AGT_MAX_EVENT;
    if (!parses && repair_fused(w, line + (n - most), most)) return;
    if (whole)
        agt__sha256(w->cpu, line, n, w->out->end.prev);
    else {
        agt__sha256_update(&w->hash, w->cpu, line, n);
        agt__sha256_final(&w->hash, w->cpu, w->out->end.prev);
    }
    w->lost = w->lost || !parses;
    w->other.seq = parses ? seq + 1 : 0; /* the greatest seq has no successor: 0 */
    memcpy(w->other.prev, w->out->end.prev, 32);
}

/* ---- one segment ---- */

/* What stood unfinished in front of a whole line was no tail. */
static void repair_settle(repair_walk *w) {
    agt_trace_report *out = w->out;
    if (out->torn_bytes) {
        uint64_t segment = w->segment;
        w->segment = out->end.segment;
        repair_damaged(w, out->end.offset);
        w->segment = segment;
        w->lost = true;
    }
    out->torn_bytes = 0;
    w->stray = false;
}

/* Takes the whole lines in the window, then makes room: of a line without an end the last bytes
 * stay. */
static void repair_window(repair_walk *w) {
    unsigned char *p = w->window.data;
    size_t left = w->window.len;
    for (unsigned char *newline; (newline = memchr(p, '\n', left)) != NULL;) {
        size_t n = (size_t)(newline - p) + 1;
        repair_settle(w);
        repair_line(w, (const char *)p, n, !w->dropped);
        w->at += w->dropped + n;
        w->dropped = 0;
        p += n;
        left -= n;
    }
    if (left > AGT_MAX_EVENT) {
        size_t drop = left - AGT_MAX_EVENT;
        if (!w->dropped) agt__sha256_init(&w->hash);
        agt__sha256_update(&w->hash, w->cpu, p, drop);
        w->dropped += drop;
        p += drop;
        left -= drop;
    }
    if (left) memmove(w->window.data, p, left);
    w->window.len = left;
}

static agt_status repair_read(repair_walk *w, agt_error *err) {
    agt_buf *b = &w->window;
    w->at = w->dropped = 0;
    b->len = 0;
    for (w->size = 0;;) {
        size_t room = REPAIR_WINDOW - b->len;
        int64_t got = agt__read_all(w->sys, w->fd, b->data + b->len, room, w->size);
        if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
        b->len += (size_t)got;
        w->size += (uint64_t)got;
        repair_window(w);
        if ((size_t)got < room) return AGT_OK;
    }
}

/* Is there nothing but NULs from `at` to the end? */
static agt_status repair_only_nul(repair_walk *w, uint64_t at, bool *only, agt_error *err) {
    for (*only = true; *only && at < w->size; at += w->window.len) {
        int64_t got = agt__read_all(w->sys, w->fd, w->window.data, REPAIR_WINDOW, at);
        if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
        w->window.len = (size_t)got;
        if (!got) return AGT_OK;
        for (size_t i = 0; i < w->window.len && *only; i++)
            *only = w->window.data[i] == 0;
    }
    return AGT_OK;
}

/* (3) Is the segment's tail an event that follows, with NULs behind it at most? */
static agt_status repair_tail(repair_walk *w, agt_error *err) {
    agt_buf *b = &w->window;
    uint64_t seq;
    unsigned char prev[32];
    bool only;
    int64_t got = agt__read_all(w->sys, w->fd, b->data, AGT_MAX_EVENT, w->at);
    if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
    const unsigned char *nul = memchr(b->data, 0, (size_t)got);
    size_t n = nul ? (size_t)(nul - b->data) : (size_t)got;
    b->data[n] = '\n'; /* the window has room for two */
    bool good = n < AGT_MAX_EVENT && repair_parse(w, (const char *)b->data, n + 1, &seq, prev) &&
                repair_fits(w, seq, prev, true) && (w->at > 0 || seq == w->segment);
    if (!good) return AGT_OK;
    repair_next follower = {seq + 1, {0}};
    agt__sha256(w->cpu, b->data, n + 1, follower.prev);
    agt_status st = repair_only_nul(w, w->at + n, &only, err);
    if (st != AGT_OK || !only) return st;
    w->out->salvageable = true;
    w->salvage = n;
    w->other = follower;
    return AGT_OK;
}

/* (4) */
static agt_status repair_end(repair_walk *w, agt_error *err) {
    agt_trace_report *out = w->out;
    uint64_t tail = w->size - w->at;
    bool lines = w->at > 0;
    bool next = w->lost || w->other.seq ? w->segment > out->last_seq : w->segment == w->good.seq;
    if (!lines && (out->torn_bytes || w->stray || !next)) {
        out->torn_bytes += tail;
        w->stray = true;
        return AGT_OK;
    }
    out->end.segment = w->segment;
    out->end.offset = w->at;
    out->torn_bytes = tail;
    out->salvageable = false;
    return tail ? repair_tail(w, err) : AGT_OK;
}

static agt_status repair_segment(repair_walk *w, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    w->segment = segment;
    w->fd = w->sys->open(w->sys->ctx, w->dir, name, AGT_O_READ, 0);
    if (w->fd < 0) {
        agt_status denied = agt__fail_io(err, w->fd, "cannot open .agent-trace/trace/%s", name);
        return agt__say_owner(w->sys, w->dir, name, w->fd, denied, err);
    }
    agt_status st = repair_read(w, err);
    if (st == AGT_OK) st = repair_end(w, err);
    w->sys->close(w->sys->ctx, w->fd);
    return st;
}

/* ---- the whole trace ---- */

static agt_status repair_walk_all(repair_walk *w, const agt_mem *mem, agt_error *err) {
    agt_segments all = {mem, NULL, 0, 0};
    w->scratch = w->window = agt__buf(mem);
    bool room =
        agt__buf_reserve(&w->scratch, AGT_MAX_EVENT) && agt__buf_reserve(&w->window, REPAIR_WINDOW);
    memset(w->out, 0, sizeof *w->out);
    w->out->end.segment = 1;
    w->good.seq = 1;
    agt_status st = agt__segments_list(&all, w->sys, w->dir, err);
    if (!room) st = agt__nomem(err);
    for (size_t i = 0; i < all.count && st == AGT_OK; i++)
        st = repair_segment(w, all.v[i], err);
    agt__segments_free(&all);
    agt__buf_free(&w->scratch);
    agt__buf_free(&w->window);
    return st;
}

AGT_PRIVATE agt_status agt__trace_check(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    repair_walk w;
    memset(&w, 0, sizeof w);
    w.sys = sys;
    w.dir = dir;
    w.cpu = cpu;
    w.out = out;
    return repair_walk_all(&w, mem, err);
}

/* The newline goes behind the event first: with NULs behind it that is a tail again, and mended. */
static agt_status repair_salvage(agt_trace_writer *t, repair_walk *w, agt_error *err) {
    agt_trace_report *out = w->out;
    uint64_t at = out->end.offset + w->salvage;
    agt_status st = agt__trace_put(t, out->end.segment, at, "\n", 1, err);
    if (st != AGT_OK) return st;
    out->end.offset = at + 1;
    memcpy(out->end.prev, w->other.prev, 32);
    out->lines++;
    out->last_seq = w->other.seq - 1;
    return AGT_OK;
}

static agt_status repair_sync(const agt_sys *sys, agt_fd dir, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | AGT_O_WRITE, 0);
    bool none = fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT; /* then only names are gone */
    if (fd < 0 && !none) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
    int rc = none ? 0 : sys->sync(sys->ctx, fd);
    if (!none) sys->close(sys->ctx, fd);
    if (rc == 0) rc = sys->sync(sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the trace") : AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_repair(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    agt_trace_writer t;
    repair_walk w;
    memset(&w, 0, sizeof w);
    w.sys = sys;
    w.dir = dir;
    w.cpu = cpu;
    w.out = out;
    agt_status st = repair_walk_all(&w, mem, err);
    if (st != AGT_OK || (!out->torn_bytes && !w.stray)) return st;
    agt__trace_writer_init(&t, sys, dir);
    if (out->salvageable) st = repair_salvage(&t, &w, err);
    if (st == AGT_OK) st = agt__trace_cut(&t, mem, out->end.segment, out->end.offset, err);
    agt__trace_writer_close(&t);
    return st == AGT_OK ? repair_sync(sys, dir, out->end.segment, err) : st;
}
