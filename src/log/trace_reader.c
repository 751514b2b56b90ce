/* trace_reader: reading the segments without a lock.
 *
 * The reader stands between two lines of one segment:
 *
 *        ... line line | line line line  half a li
 *        <- backward   at   forward ->  not shown
 *
 * (1) A line is handed out once its newline is there; what follows the last newline is not shown.
 * (2) `at` is 0 or right behind a newline. Where it no longer is, the segment was cut and has grown
 *     again, and the reader steps back to the begin of the line it finds itself in: nobody ever
 *     gets half a line.
 * (3) Forward it leaves a segment only for a later one that has bytes, and looks once more for
 *     lines before it goes: whoever writes to a later one has finished the one before.
 * (4) Recovery may cut the segment or remove it, and another file may get its name. At the end of
 *     what there is the reader looks at the folder again, and stays where the trace now ends.
 * (5) One window of a line's greatest length is all the memory it needs besides the list of
 *     segments; a search reads a few KiB at each step. Two of three steps go to where the
 *     line would be if all were equally long, the others halve what is left.
 * (6) Searching believes a seq only if the line before or behind agrees: damage may hide the lines
 *     it hit, and no others. */
#include "trace.h"

#define READER_WINDOW                                                                              \
    (AGT_MAX_EVENT + 64u)  /* one line, the newline before it, one byte too many                   \
                            */
#define READER_PROBE 4096u /* read at a step of a search */
#define READER_NEAR  8192u /* closer than that, a search goes on line by line */
#define READER_CLOSE 16u   /* lines: the same */
#define READER_TRIES 16    /* segments that vanish while they are opened */

struct agt_trace_reader {
    const agt_sys *sys;
    const agt_mem *mem;
    agt_fd dir, fd;
    agt_stat file; /* of fd, as it was when it was opened */
    agt_segments all;
    uint64_t segment; /* fd is open on that one; 0: on none */
    uint64_t at;      /* (2) */
    unsigned char *window;
    uint64_t window_at;
    size_t window_len;
    uint64_t line_segment, line_at;
};

/* ---- the window ---- */

static const unsigned char *reader_bytes(const agt_trace_reader *r, uint64_t from) {
    return r->window + (from - r->window_at);
}

/* How many bytes from `from` on are in the window. */
static size_t reader_have(const agt_trace_reader *r, uint64_t from) {
    uint64_t end = r->window_at + r->window_len;
    return from >= r->window_at && from < end ? (size_t)(end - from) : 0;
}

/* Reads the window anew: n bytes from `from` on, fewer at the end of the file. */
static agt_status reader_load(agt_trace_reader *r, uint64_t from, size_t n, agt_error *err) {
    int64_t got = agt__read_all(r->sys, r->fd, r->window, n, from);
    r->window_at = from;
    r->window_len = got < 0 ? 0 : (size_t)got;
    return got < 0 ? agt__fail_io(err, got, "cannot read the trace") : AGT_OK;
}

static agt_text reader_hand_out(agt_trace_reader *r, uint64_t from, size_t len) {
    r->line_segment = r->segment;
    r->line_at = from;
    return (agt_text){(const char *)reader_bytes(r, from), len};
}

/* Right behind the last newline in front of byte `end`; 0 if there is none. */
static agt_status reader_boundary(agt_trace_reader *r, uint64_t end, uint64_t *pos,
                                  agt_error *err) {
    while (end > 0) {
        if (end > r->window_at && end <= r->window_at + r->window_len) {
            size_t i = (size_t)(end - r->window_at);
            while (i && r->window[i - 1] != '\n')
                i--;
            end = r->window_at + i;
            if (i) break;
        } else {
            uint64_t from = end > READER_WINDOW ? end - READER_WINDOW : 0;
            agt_status st = reader_load(r, from, (size_t)(end - from), err);
            if (st != AGT_OK) return st;
            end = from + r->window_len; /* less where the file is shorter by now */
        }
    }
    *pos = end;
    return AGT_OK;
}

/* Steps over a line longer than any event, whose first bytes are in the window: *full is its
 * length, or what was read of it if it goes on behind `stop`; 0 if it has no end yet. The window
 * is as before then. */
static agt_status reader_endless(agt_trace_reader *r, uint64_t from, uint64_t stop, uint64_t *full,
                                 agt_error *err) {
    uint64_t was = r->window_at, pos = was + r->window_len;
    agt_status st = AGT_OK;
    for (*full = 0; st == AGT_OK && !*full; pos += r->window_len) {
        if (pos >= stop) {
            *full = pos - from;
            break;
        }
        st = reader_load(r, pos, READER_WINDOW, err);
        if (st != AGT_OK || !r->window_len) break;
        const unsigned char *newline = memchr(r->window, '\n', r->window_len);
        if (newline) *full = pos + (uint64_t)(newline - r->window) + 1 - from;
    }
    return st == AGT_OK ? reader_load(r, was, READER_WINDOW, err) : st;
}

/* The whole line at `from`, found by reading `first` bytes and then a whole window: *len bytes of
 * it are to be handed out, it is *full bytes long; both 0 if there is no whole line. Of a line that
 * is too long, what lies behind `stop` is of no interest. */
static agt_status reader_line_at(agt_trace_reader *r, uint64_t from, uint64_t stop, size_t first,
                                 size_t *len, uint64_t *full, agt_error *err) {
    size_t have = reader_have(r, from), n = first;
    const unsigned char *newline = have ? memchr(reader_bytes(r, from), '\n', have) : NULL;
    agt_status st = AGT_OK;
    *len = 0;
    *full = 0;
    while (!newline) {
        st = reader_load(r, from ? from - 1 : 0, n, err);
        if (st != AGT_OK) return st;
        have = reader_have(r, from);
        newline = have ? memchr(reader_bytes(r, from), '\n', have) : NULL;
        if (r->window_len < n || n == READER_WINDOW) break;
        n = READER_WINDOW;
    }
    if (newline)
        *full = (uint64_t)(newline - reader_bytes(r, from)) + 1;
    else if (have > AGT_MAX_EVENT)
        st = reader_endless(r, from, stop, full, err);
    *len = *full > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : (size_t)*full;
    if (*len > reader_have(r, from)) *len = 0; /* the file was cut meanwhile */
    return st;
}

/* ---- segments ---- */

static void reader_leave(agt_trace_reader *r) {
    if (r->fd != AGT_FD_NONE) r->sys->close(r->sys->ctx, r->fd);
    r->fd = AGT_FD_NONE;
    r->segment = r->at = 0;
    r->window_len = 0;
}

/* Goes to the begin of a segment; *size is its length. AGT_NOT_FOUND: it was removed since it was
 * listed. On failure the reader stays where it is. */
static agt_status reader_open(agt_trace_reader *r, uint64_t segment, uint64_t *size,
                              agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_stat file;
    agt__segment_name(segment, name);
    agt_fd fd = r->sys->open(r->sys->ctx, r->dir, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT)
        return agt__fail(err, AGT_NOT_FOUND, ".agent-trace/trace/%s vanished", name);
    if (fd < 0) {
        agt_status denied = agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
        return agt__say_owner(r->sys, r->dir, name, fd, denied, err);
    }
    int rc = r->sys->fstat(r->sys->ctx, fd, &file);
    if (rc < 0 || file.kind != AGT_FILE_REGULAR) {
        r->sys->close(r->sys->ctx, fd);
        if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
        return agt__fail(err, AGT_IO, ".agent-trace/trace/%s is not a regular file; move it away",
                         name);
    }
    reader_leave(r);
    r->fd = fd;
    r->file = file;
    r->segment = segment;
    *size = file.size;
    return AGT_OK;
}

/* What stands under a segment's name now. */
static agt_status reader_look(agt_trace_reader *r, uint64_t segment, agt_stat *now, bool *there,
                              agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    int rc = r->sys->stat(r->sys->ctx, r->dir, name, now);
    *there = rc == 0;
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    return AGT_OK;
}

/* As reader_open, but stays with the file that is open if it is the right one, window and all. */
static agt_status reader_enter(agt_trace_reader *r, uint64_t segment, uint64_t *size,
                               agt_error *err) {
    agt_stat now;
    bool there = false;
    if (r->fd != AGT_FD_NONE && r->segment == segment) {
        agt_status st = reader_look(r, segment, &now, &there, err);
        if (st != AGT_OK) return st;
    }
    if (!there || !agt__same_file(&now, &r->file)) return reader_open(r, segment, size, err);
    if (now.size < r->window_at + r->window_len) r->window_len = 0;
    *size = now.size;
    return AGT_OK;
}

/* Goes behind the last line of a segment. */
static agt_status reader_go_end(agt_trace_reader *r, uint64_t segment, agt_error *err) {
    uint64_t size;
    agt_status st = reader_open(r, segment, &size, err);
    if (st != AGT_OK) return st;
    r->at = size; /* should finding the boundary fail, (2) finds it later */
    return reader_boundary(r, size, &r->at, err);
}

static agt_status reader_list(agt_trace_reader *r, agt_error *err) {
    return agt__segments_list(&r->all, r->sys, r->dir, err);
}

/* The greatest segment below `segment`; 0 if there is none. */
static uint64_t reader_before(const agt_trace_reader *r, uint64_t segment) {
    size_t i = r->all.count;
    while (i && r->all.v[i - 1] >= segment)
        i--;
    return i ? r->all.v[i - 1] : 0;
}

/* The first segment behind the reader's that has bytes; 0 if there is none. */
static agt_status reader_behind_this(agt_trace_reader *r, uint64_t *segment, agt_error *err) {
    agt_stat now;
    bool there;
    *segment = 0;
    for (size_t i = 0; i < r->all.count; i++) {
        if (r->all.v[i] <= r->segment) continue;
        agt_status st = reader_look(r, r->all.v[i], &now, &there, err);
        if (st != AGT_OK) return st;
        if (!there || !now.size) continue;
        *segment = r->all.v[i];
        return AGT_OK;
    }
    return AGT_OK;
}

/* A segment that vanished was removed by recovery: list again. Not for ever. */
static agt_status reader_gone(agt_status st, int *tries, bool *again, agt_error *err) {
    *again = st == AGT_NOT_FOUND && ++*tries < READER_TRIES;
    if (st != AGT_NOT_FOUND || *again) return st;
    return agt__fail(err, AGT_IO, "the segments in .agent-trace/trace vanish while they are read");
}

/* ---- opening and closing ---- */

AGT_PRIVATE agt_status agt__trace_reader_open(agt_trace_reader **out, const agt_sys *sys,
                                              agt_fd dir, const agt_mem *mem, agt_error *err) {
    *out = NULL;
    agt_trace_reader *r = agt__zalloc(mem, sizeof *r);
    if (!r) return agt__nomem(err);
    r->sys = sys;
    r->dir = dir;
    r->fd = AGT_FD_NONE;
    r->mem = r->all.mem = mem;
    r->window = agt__alloc(mem, READER_WINDOW);
    agt_status st = r->window ? reader_list(r, err) : agt__nomem(err);
    if (st != AGT_OK) {
        agt__trace_reader_close(r);
        return st;
    }
    *out = r;
    return AGT_OK;
}

AGT_PRIVATE void agt__trace_reader_close(agt_trace_reader *r) {
    if (!r) return;
    reader_leave(r);
    agt__segments_free(&r->all);
    agt__free(r->mem, r->window, READER_WINDOW);
    agt__free(r->mem, r, sizeof *r);
}

AGT_PRIVATE void agt__trace_where(const agt_trace_reader *r, uint64_t *segment, uint64_t *offset) {
    *segment = r->line_segment;
    *offset = r->line_at;
}

/* ---- forward ---- */

/* The whole line ahead, if there is one. (2) */
static agt_status reader_ahead(agt_trace_reader *r, size_t *len, uint64_t *full, agt_error *err) {
    for (;;) {
        agt_status st = reader_line_at(r, r->at, UINT64_MAX, READER_WINDOW, len, full, err);
        if (st != AGT_OK || !*len || !r->at || !reader_have(r, r->at - 1) ||
            *reader_bytes(r, r->at - 1) == '\n')
            return st;
        st = reader_boundary(r, r->at, &r->at, err);
        if (st != AGT_OK) return st;
    }
}

/* (4) The file under the segment's name is another one, shorter, or gone. */
static agt_status reader_follow_cut(agt_trace_reader *r, bool *moved, agt_error *err) {
    agt_stat now;
    bool there;
    uint64_t was = r->at, size;
    agt_status st = reader_look(r, r->segment, &now, &there, err);
    if (st != AGT_OK) return st;
    if (!there) {
        uint64_t before = reader_before(r, r->segment);
        *moved = before > 0;
        if (before) return reader_go_end(r, before, err);
        reader_leave(r);
        return AGT_OK;
    }
    if (!agt__same_file(&now, &r->file)) {
        st = reader_open(r, r->segment, &size, err);
        if (st != AGT_OK) return st;
        now.size = size;
        *moved = true;
    } else if (now.size >= was)
        return AGT_OK;
    r->window_len = 0;
    return reader_boundary(r, now.size < was ? now.size : was, &r->at, err);
}

/* At the end of what the segment has: is there more elsewhere? */
static agt_status reader_move_on(agt_trace_reader *r, bool *moved, agt_error *err) {
    uint64_t next, full, size;
    size_t len;
    *moved = false;
    agt_status st = reader_list(r, err);
    if (st == AGT_OK && r->fd != AGT_FD_NONE) st = reader_follow_cut(r, moved, err);
    if (st != AGT_OK || *moved) return st;
    st = reader_behind_this(r, &next, err);
    if (st != AGT_OK || !next) return st;
    if (r->fd != AGT_FD_NONE) { /* (3) */
        st = reader_ahead(r, &len, &full, err);
        *moved = len > 0;
        if (st != AGT_OK || *moved) return st;
    }
    *moved = true;
    return reader_open(r, next, &size, err);
}

static agt_status reader_line(agt_trace_reader *r, agt_text *line, agt_error *err) {
    size_t len = 0;
    uint64_t full = 0;
    bool moved, again;
    for (int tries = 0;;) {
        agt_status st = r->fd == AGT_FD_NONE ? AGT_OK : reader_ahead(r, &len, &full, err);
        if (st != AGT_OK) return st;
        if (len) break;
        st = reader_gone(reader_move_on(r, &moved, err), &tries, &again, err);
        if (st != AGT_OK && !again) return st;
        if (st == AGT_OK && !moved) return AGT_END;
    }
    *line = reader_hand_out(r, r->at, len);
    r->at += full;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_line(agt_trace_reader *r, agt_text *line, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_line(r, line, &mine), &mine, err);
}

/* ---- backward ---- */

/* The line in front of the reader, in this segment; *len is 0 if there is none. */
static agt_status reader_back(agt_trace_reader *r, uint64_t *start, size_t *len, agt_error *err) {
    *len = 0;
    agt_status st = reader_boundary(r, r->at, &r->at, err); /* (2) */
    if (st != AGT_OK || !r->at) return st;
    uint64_t end = r->at;
    const unsigned char *p = reader_bytes(r, end - 1);
    while (p > r->window && p[-1] != '\n')
        p--;
    if (p == r->window && r->window_at) { /* it begins in front of the window */
        uint64_t from = end > READER_WINDOW ? end - READER_WINDOW : 0;
        st = reader_load(r, from, (size_t)(end - from), err);
        if (st != AGT_OK) return st;
    }
    st = reader_boundary(r, end - 1, start, err);
    if (st != AGT_OK) return st;
    size_t n = end - *start > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : (size_t)(end - *start);
    if (reader_have(r, *start) < n) st = reader_load(r, *start, READER_WINDOW, err);
    if (st == AGT_OK && reader_have(r, *start) >= n) *len = n;
    return st;
}

static agt_status reader_line_back(agt_trace_reader *r, agt_text *line, agt_error *err) {
    uint64_t start = 0, before;
    size_t len = 0;
    bool again;
    if (r->fd == AGT_FD_NONE) return AGT_END;
    for (int tries = 0;;) {
        agt_status st = reader_back(r, &start, &len, err);
        if (st != AGT_OK) return st;
        if (len) break;
        if (r->at) continue; /* it was cut just now: look again */
        if ((st = reader_list(r, err)) != AGT_OK) return st;
        before = reader_before(r, r->segment);
        if (!before) return AGT_END;
        st = reader_gone(reader_go_end(r, before, err), &tries, &again, err);
        if (st != AGT_OK && !again) return st;
    }
    *line = reader_hand_out(r, start, len);
    r->at = start;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_line_back(agt_trace_reader *r, agt_text *line, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_line_back(r, line, &mine), &mine, err);
}

/* Behind the last line of the last segment that has bytes; of the first if none has. */
static agt_status reader_seek_end(agt_trace_reader *r, agt_error *err) {
    agt_stat now;
    bool there;
    uint64_t last = 0;
    agt_status st = reader_list(r, err);
    for (size_t i = r->all.count; i > 0 && !last && st == AGT_OK; i--) {
        st = reader_look(r, r->all.v[i - 1], &now, &there, err);
        if (st == AGT_OK && ((there && now.size) || i == 1)) last = r->all.v[i - 1];
    }
    if (st != AGT_OK) return st;
    if (last) return reader_go_end(r, last, err);
    reader_leave(r);
    return AGT_OK;
}

static agt_status reader_seek_end_tries(agt_trace_reader *r, agt_error *err) {
    bool again = true;
    agt_status st = AGT_OK;
    for (int tries = 0; again;)
        st = reader_gone(reader_seek_end(r, err), &tries, &again, err);
    return st;
}

AGT_PRIVATE agt_status agt__trace_seek_end(agt_trace_reader *r, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_seek_end_tries(r, &mine), &mine, err);
}

/* ---- searching ---- */

static uint64_t reader_seq(const agt_trace_reader *r, uint64_t from, size_t len) {
    uint64_t seq;
    return agt__event_seq((const char *)reader_bytes(r, from), len, &seq) ? seq : 0;
}

/* The first readable line that begins behind `from` and in front of `end`: where, and its seq; 0 if
 * there is none. */
static agt_status reader_probe(agt_trace_reader *r, uint64_t from, uint64_t end, uint64_t *start,
                               uint64_t *seq, agt_error *err) {
    size_t len;
    uint64_t full;
    *seq = 0;
    agt_status st = reader_line_at(r, from, end, READER_PROBE, &len, &full, err);
    for (*start = from + full; st == AGT_OK && len && *start < end; *start += full) {
        st = reader_line_at(r, *start, end, READER_PROBE, &len, &full, err);
        if (st != AGT_OK || !len) return st;
        if ((*seq = reader_seq(r, *start, len)) != 0) return st;
    }
    return st;
}

/* Goes line by line from `from` on, where the seq is smaller or the segment begins, to the first
 * seq that is not. *sure: the lines agree that this is the place. (6) */
static agt_status reader_scan(agt_trace_reader *r, uint64_t from, uint64_t seq, bool *sure,
                              agt_error *err) {
    uint64_t before = 0, found, full;
    size_t len;
    for (r->at = from;; r->at += full) {
        agt_status st = reader_line_at(r, r->at, UINT64_MAX, READER_NEAR, &len, &full, err);
        if (st != AGT_OK) return st;
        if (!len) {
            *sure = !r->at || before; /* all seqs so far were smaller */
            return AGT_OK;
        }
        found = reader_seq(r, r->at, len);
        if (found >= seq && found) {
            *sure = r->at ? found == seq && before + 1 == seq : found == r->segment;
            return AGT_OK;
        }
        before = found;
    }
}

/* Something is damaged: goes through the whole segment for the first seq that is not smaller and
 * that one of the two lines before or the one behind confirms, or none contradicts. (6) */
static agt_status reader_scan_all(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    uint64_t earlier = 0, before = 0, found = r->segment - 1, found_at = UINT64_MAX, at = 0, full;
    size_t len;
    for (;; at += full) {
        agt_status st = reader_line_at(r, at, UINT64_MAX, READER_WINDOW, &len, &full, err);
        if (st != AGT_OK) return st;
        uint64_t behind = len ? reader_seq(r, at, len) : 0;
        bool confirmed = before + 1 == found || earlier + 2 == found || behind == found + 1 ||
                         (!before && !behind);
        if (found_at != UINT64_MAX && found && found >= seq && confirmed) {
            r->at = found_at;
            return AGT_OK;
        }
        if (!len) {
            r->at = at;
            return AGT_OK;
        }
        earlier = before;
        before = found;
        found = behind;
        found_at = at;
    }
}

/* Where a few lines in front of the line of `seq` should begin, if all are as long as those in
 * front of one whose place and seq are known. 0: it does not tell. */
static uint64_t reader_guess(const agt_trace_reader *r, uint64_t mark, uint64_t mark_seq,
                             uint64_t seq) {
    if (mark_seq <= r->segment || seq < r->segment) return 0;
    uint64_t lines = seq - r->segment, each = mark / (mark_seq - r->segment);
    if (!each || lines > AGT_SEGMENT_LONGEST / each) return 0;
    uint64_t ahead = mark_seq < seq ? (seq - mark_seq) * each : 0;
    uint64_t back = ((mark_seq > seq ? mark_seq - seq : 0) + READER_CLOSE / 2) * each;
    return mark + ahead > back ? mark + ahead - back : 0;
}

static agt_status reader_seek(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    uint64_t lo = 0, hi, start, found, segment, before, mark = 0, mark_seq = 0;
    bool sure, close;
    agt_status st = reader_list(r, err);
    if (st != AGT_OK) return st;
    if (!r->all.count) {
        reader_leave(r);
        return AGT_OK;
    }
    segment = seq < UINT64_MAX ? reader_before(r, seq + 1) : r->all.v[r->all.count - 1];
    if (!segment) segment = r->all.v[0];
    for (;; segment = before) { /* an empty one hides nothing */
        st = reader_enter(r, segment, &hi, err);
        before = reader_before(r, segment);
        if (st != AGT_OK || hi || !before) break;
    }
    close = seq >= segment && seq - segment <= READER_CLOSE;
    for (int step = 0; st == AGT_OK && hi - lo > READER_NEAR && !close; step++) {
        uint64_t mid = step % 3 ? reader_guess(r, mark, mark_seq, seq) : 0;
        if (mid <= lo || mid >= hi) mid = lo + (hi - lo) / 2;
        st = reader_probe(r, mid, hi, &start, &found, err);
        if (!found || start >= hi) {
            hi = mid;
            continue;
        }
        mark = start;
        mark_seq = found;
        close = found < seq && seq - found <= READER_CLOSE;
        if (found < seq)
            lo = start;
        else
            hi = start;
    }
    if (st == AGT_OK) st = reader_scan(r, lo, seq, &sure, err);
    if (st == AGT_OK && !sure) st = reader_scan_all(r, seq, err);
    return st;
}

static agt_status reader_seek_tries(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    bool again = true;
    agt_status st = AGT_OK;
    for (int tries = 0; again;)
        st = reader_gone(reader_seek(r, seq, err), &tries, &again, err);
    return st;
}

AGT_PRIVATE agt_status agt__trace_seek(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_seek_tries(r, seq, &mine), &mine, err);
}

AGT_PRIVATE agt_status agt__trace_find(agt_trace_reader *r, uint64_t seq, agt_text *line,
                                       agt_error *err) {
    uint64_t found = 0, segment, offset;
    char name[AGT_SEGMENT_NAME];
    agt_status st = agt__trace_seek(r, seq, err);
    if (st == AGT_OK) st = agt__trace_line(r, line, err);
    if (st == AGT_END || seq == 0)
        return agt__fail(err, AGT_NOT_FOUND, "the trace has no event %llu",
                         (unsigned long long)seq);
    if (st != AGT_OK) return st;
    if (agt__event_seq(line->data, line->len, &found) && found == seq) return AGT_OK;
    agt__trace_where(r, &segment, &offset);
    agt__segment_name(segment, name);
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)offset,
                        "event %llu is missing or damaged in front of byte %llu of "
                        ".agent-trace/trace/%s",
                        (unsigned long long)seq, (unsigned long long)offset, name);
}

/* The line that was once at that place, if it is there still. */
static bool reader_at(agt_trace_reader *r, const agt_event_at *at, agt_text *line) {
    uint64_t size, full;
    size_t len;
    if (!at->segment || at->offset >= AGT_SEGMENT_LONGEST ||
        reader_enter(r, at->segment, &size, NULL) != AGT_OK || at->offset >= size)
        return false;
    if (reader_line_at(r, at->offset, UINT64_MAX, READER_PROBE, &len, &full, NULL) != AGT_OK ||
        !len || reader_seq(r, at->offset, len) != at->seq)
        return false;
    *line = reader_hand_out(r, at->offset, len);
    r->at = at->offset + full;
    return true;
}

AGT_PRIVATE agt_status agt__trace_at(agt_trace_reader *r, const agt_event_at *at, agt_text *line,
                                     agt_error *err) {
    return reader_at(r, at, line) ? AGT_OK : agt__trace_find(r, at->seq, line, err);
}
