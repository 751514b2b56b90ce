/* Any bytes as a segment of the trace: checked, repaired and read, against a model of a few lines.
 *
 * The first byte is a set of switches:
 *    1  every line that parses, and the tail, gets the seq and prev that are right at its place, so
 *       that what the fuzzer makes of the rest gets past the chain
 *    2  that from the third line on only
 *    4  reads are short
 *    8  half of the lines are in a second segment
 * The rest, at most 2,000, are the bytes.
 *
 * Whole lines stay as they are; at most what follows the last newline goes, and is kept; repair
 * once is repair twice; what is valid is counted and found, what is not is told. */
#include "../src/log/trace.h"
#include "../tests/machine.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_BYTES 2000
#define MOST_LINES MOST_BYTES

#define must(c) ((c) ? (void)0 : fail(__LINE__, #c))
static void fail(int line, const char *what) {
    fprintf(stderr, "line %d: not so: %s\n", line, what);
    abort();
}

/* malloc, but large blocks are kept for the next one of exactly that size: a sanitizer still sees
 * their ends, and the kernel need not make them anew for each input. */
static void *resize(void *ctx, void *p, size_t old_size, size_t size) {
    static struct {
        void *p;
        size_t size;
    } kept[8];
    (void)ctx;
    for (size_t i = 0; i < AGT_COUNT(kept); i++) {
        if (!p && size >= 32768 && kept[i].p && kept[i].size == size) {
            p = kept[i].p;
            kept[i].p = NULL;
            return p;
        }
        if (p && !size && old_size >= 32768 && !kept[i].p) {
            kept[i].p = p;
            kept[i].size = old_size;
            return NULL;
        }
    }
    if (size) return realloc(p, size);
    free(p);
    return NULL;
}

typedef struct model_line {
    size_t at, len;
} model_line;

typedef struct model {
    agt_mem mem;
    agt_buf bytes, scratch;
    model_line line[MOST_LINES]; /* those with a newline */
    size_t lines, valid, tail;   /* how many; how many lead and chain; begin of what follows */
    bool whole_tail;             /* it is an event that chains, and NULs */
    size_t split;                /* lines of the first segment */
    uint64_t second;             /* the other one's name; 0: none */
    machine *m;
    const agt_sys *sys;
    agt_fd dir;
    agt_cpu cpu;
} model;

/* ---- what must be so ---- */

/* Does the line follow? `prev` becomes its hash then. */
static bool follows(model *o, const char *line, size_t n, uint64_t seq, unsigned char prev[32]) {
    agt_event e;
    unsigned char own[32];
    if (agt__event_parse(line, n, &o->scratch, &e, NULL) != AGT_OK || e.seq != seq) return false;
    if (!agt__unhex(e.prev.data, e.prev.len, own, 32) || memcmp(own, prev, 32) != 0) return false;
    agt__sha256(o->cpu, line, n, prev);
    return true;
}

/* Splits the bytes into lines and finds out which of them lead and chain. */
static void model_read(model *o) {
    const char *p = (const char *)o->bytes.data, *end = p + o->bytes.len, *newline;
    unsigned char prev[32] = {0};
    o->lines = o->valid = 0;
    while (p < end && (newline = memchr(p, '\n', (size_t)(end - p)))) {
        must(o->lines < MOST_LINES);
        model_line l = {(size_t)(p - (const char *)o->bytes.data), (size_t)(newline - p) + 1};
        if (o->valid == o->lines && follows(o, p, l.len, o->valid + 1, prev)) o->valid++;
        o->line[o->lines++] = l;
        p = newline + 1;
    }
    o->tail = (size_t)(p - (const char *)o->bytes.data);
    size_t n = o->bytes.len;
    while (n > o->tail && o->bytes.data[n - 1] == 0)
        n--;
    agt_buf whole = agt__buf(&o->mem);
    agt__buf_put(&whole, o->bytes.data + o->tail, n - o->tail);
    agt__buf_byte(&whole, '\n');
    o->whole_tail =
        o->valid == o->lines && follows(o, (const char *)whole.data, whole.len, o->valid + 1, prev);
    agt__buf_free(&whole);
}

/* Writes the line again with the seq and prev that belong there; as it is if it is no event. */
static void mend_line(model *o, agt_buf *out, const char *line, size_t n, uint64_t *seq,
                      unsigned char prev[32]) {
    agt_event e;
    char hex[64];
    size_t from = out->len;
    agt__hex(prev, 32, hex);
    if (agt__event_parse(line, n, &o->scratch, &e, NULL) != AGT_OK) {
        agt__buf_put(out, line, n);
        return;
    }
    e.seq = ++*seq;
    e.prev = (agt_text){hex, 64};
    if (agt__event_format(out, &e, NULL) != AGT_OK) agt__buf_put(out, line, n);
    agt__sha256(o->cpu, out->data + from, out->len - from, prev);
}

/* All lines from the `from`-th on, and the tail. */
static void mend(model *o, const char *p, size_t n, size_t from) {
    agt_buf tail = agt__buf(&o->mem);
    unsigned char prev[32] = {0};
    uint64_t seq = 0;
    agt__buf_reserve(&o->bytes, n + 1);
    if (from == SIZE_MAX) agt__buf_put(&o->bytes, p, n);
    if (from == SIZE_MAX || !n) return;
    const char *end = p + n, *newline;
    for (size_t i = 0; p < end && (newline = memchr(p, '\n', (size_t)(end - p))); i++) {
        size_t len = (size_t)(newline - p) + 1;
        if (i < from) {
            agt__buf_put(&o->bytes, p, len);
            agt__sha256(o->cpu, p, len, prev);
            seq++;
        } else
            mend_line(o, &o->bytes, p, len, &seq, prev);
        p = newline + 1;
    }
    const char *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
    size_t text = nul ? (size_t)(nul - p) : (size_t)(end - p), at = o->bytes.len;
    agt__buf_put(&tail, p, text);
    agt__buf_byte(&tail, '\n');
    mend_line(o, &o->bytes, (const char *)tail.data, tail.len, &seq, prev);
    must(o->bytes.len > at);
    o->bytes.len--; /* the newline it lacks */
    agt__buf_put(&o->bytes, p + text, (size_t)(end - p) - text);
    agt__buf_free(&tail);
}

/* ---- the trace in the machine ---- */

static const char *path_of(uint64_t segment, const char *more) {
    static char path[64];
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    snprintf(path, sizeof path, "/trace/%s%s", name, more);
    return path;
}

static void model_save(model *o) {
    size_t n = o->second ? o->line[o->split].at : o->bytes.len;
    must(machine_put(o->m, path_of(1, ""), n ? (char *)o->bytes.data : "", n) == 0);
    if (o->second)
        must(machine_put(o->m, path_of(o->second, ""), o->bytes.data + n, o->bytes.len - n) == 0);
}

/* The place of a byte of the model. */
static void place(const model *o, size_t at, uint64_t *segment, uint64_t *offset) {
    bool first = !o->second || at < o->line[o->split].at;
    *segment = first ? 1 : o->second;
    *offset = first ? at : at - o->line[o->split].at;
}

static void check_line(model *o, agt_trace_reader *r, agt_text got, size_t i) {
    uint64_t segment, offset, want_segment, want_offset;
    must(i < o->lines);
    size_t len = o->line[i].len > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : o->line[i].len;
    must(got.len == len && memcmp(got.data, o->bytes.data + o->line[i].at, len) == 0);
    agt__trace_where(r, &segment, &offset);
    place(o, o->line[i].at, &want_segment, &want_offset);
    must(segment == want_segment && offset == want_offset);
}

static void check_reading(model *o) {
    agt_trace_reader *r;
    agt_text line;
    uint64_t seq;
    must(agt__trace_reader_open(&r, o->sys, o->dir, &o->mem, NULL) == AGT_OK);
    for (size_t i = 0; i < o->lines; i++) {
        must(agt__trace_line(r, &line, NULL) == AGT_OK);
        check_line(o, r, line, i);
    }
    must(agt__trace_line(r, &line, NULL) == AGT_END);
    for (size_t i = o->lines; i-- > 0;) {
        must(agt__trace_line_back(r, &line, NULL) == AGT_OK);
        check_line(o, r, line, i);
    }
    must(agt__trace_line_back(r, &line, NULL) == AGT_END);
    for (size_t i = 0; i < o->lines + 2; i += 1 + o->lines / 4) {
        agt_status st = agt__trace_find(r, i + 1, &line, NULL);
        must(st == AGT_OK || st == AGT_NOT_FOUND || st == AGT_CORRUPT);
        if (st == AGT_OK) must(agt__event_seq(line.data, line.len, &seq) && seq == i + 1);
        if (o->valid == o->lines) must(st == (i < o->lines ? AGT_OK : AGT_NOT_FOUND));
        if (o->valid == o->lines && st == AGT_OK) check_line(o, r, line, i);
    }
    agt__trace_reader_close(r);
}

static void check_file(model *o, const char *path, const void *want, size_t n) {
    size_t have = 0;
    char *got = machine_get(o->m, path, &have);
    must(got && have == n && (!n || memcmp(got, want, n) == 0));
    free(got);
}

static void check_report(model *o, const agt_trace_report *r) {
    uint64_t segment, offset;
    must(r->lines >= o->valid && r->last_seq >= o->valid);
    must(r->lines <= o->lines && r->damaged_lines <= o->lines);
    must((r->damaged_lines == 0) == (o->valid == o->lines));
    if (o->valid < o->lines) {
        place(o, o->line[o->valid].at, &segment, &offset);
        must(r->first_bad_segment == segment && r->first_bad_offset == offset);
    }
    place(o, o->tail, &segment, &offset);
    must(r->torn_bytes == o->bytes.len - o->tail);
    must(r->end.segment == segment && r->end.offset == offset);
    if (o->whole_tail) must(r->salvageable);
    if (o->valid == o->lines) must(r->salvageable == o->whole_tail);
}

/* A trace without damage goes on where the report says. */
static void check_going_on(model *o, const agt_trace_report *r) {
    agt_trace_writer w;
    agt_trace_report now;
    agt_event e = AGT_EVENT_INIT;
    agt_buf line = agt__buf(&o->mem);
    char hex[64];
    agt__hex(r->end.prev, 32, hex);
    e.seq = r->last_seq + 1;
    e.actor = e.action = agt__text("x");
    e.prev = (agt_text){hex, 64};
    must(agt__event_format(&line, &e, NULL) == AGT_OK);
    agt__trace_writer_init(&w, o->sys, o->dir);
    must(agt__trace_put(&w, r->end.segment, r->end.offset, line.data, line.len, NULL) == AGT_OK);
    agt__trace_writer_close(&w);
    must(agt__trace_check(o->sys, o->dir, &o->mem, o->cpu, &now, NULL) == AGT_OK);
    must(now.torn_bytes == 0 && now.damaged_lines == 0);
    must(now.lines == r->lines + 1 && now.last_seq == e.seq);
    agt__buf_free(&line);
}

static void check_repair(model *o, const agt_trace_report *was) {
    agt_trace_report r, again;
    uint64_t segment, offset;
    must(agt__trace_repair(o->sys, o->dir, &o->mem, o->cpu, &r, NULL) == AGT_OK);
    must(r.torn_bytes == was->torn_bytes && r.salvageable == was->salvageable);
    must(r.lines == was->lines + was->salvageable && r.damaged_lines == was->damaged_lines);
    size_t tail = o->bytes.len - o->tail, text = tail;
    unsigned char *p = o->bytes.data + o->tail;
    while (text && p[text - 1] == 0)
        text--;
    place(o, o->tail, &segment, &offset);
    if (text && !r.salvageable) check_file(o, path_of(segment, ".torn"), p, tail);
    if (!text || r.salvageable) must(!machine_get(o->m, path_of(segment, ".torn"), NULL));
    if (r.salvageable) p[text++] = '\n'; /* there is room for it */
    o->bytes.len = o->tail + (r.salvageable ? text : 0);
    must(r.end.segment == segment && r.end.offset == offset + (o->bytes.len - o->tail));
    size_t first = o->second ? o->line[o->split].at : o->bytes.len;
    check_file(o, path_of(1, ""), o->bytes.data, first);
    if (o->second)
        check_file(o, path_of(o->second, ""), o->bytes.data + first, o->bytes.len - first);
    uint64_t changes = machine_calls(o->m, MACHINE_PWRITE) + machine_calls(o->m, MACHINE_TRUNCATE);
    must(agt__trace_repair(o->sys, o->dir, &o->mem, o->cpu, &again, NULL) == AGT_OK);
    must(changes == machine_calls(o->m, MACHINE_PWRITE) + machine_calls(o->m, MACHINE_TRUNCATE));
    must(again.torn_bytes == 0 && again.lines == r.lines && again.last_seq == r.last_seq);
    must(again.damaged_lines == r.damaged_lines && !again.salvageable);
    must(memcmp(&again.end, &r.end, sizeof r.end) == 0);
    if (!r.damaged_lines) check_going_on(o, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static model one;
    model *o = &one;
    agt_trace_report was;
    if (size == 0 || size > MOST_BYTES) return 0;
    unsigned switches = data[0];
    machine_settings set = {.unsynced_kept = true, .short_bytes = switches & 4 ? 311 : 0};
    if (!o->m) o->cpu = agt__cpu();
    o->mem = agt__mem(&(agt_allocator){NULL, resize});
    o->bytes = o->scratch = agt__buf(&o->mem);
    mend(o, (const char *)data + 1, size - 1, switches & 1 ? 0 : switches & 2 ? 2 : SIZE_MAX);
    must(agt__buf_reserve(&o->bytes, 1)); /* for the newline of a tail */
    model_read(o);
    o->split = o->lines / 2;
    o->second = switches & 8 && o->split && o->valid > o->split ? o->split + 1 : 0;
    o->m = machine_new(&set);
    machine_make_folder(o->m, "/trace");
    o->sys = machine_sys(machine_process_new(o->m, "fuzz"));
    o->dir = o->sys->open_root(o->sys->ctx, "/trace");
    must(o->dir >= 0);
    model_save(o);
    must(agt__trace_check(o->sys, o->dir, &o->mem, o->cpu, &was, NULL) == AGT_OK);
    check_report(o, &was);
    check_reading(o);
    check_repair(o, &was);
    machine_free(o->m);
    agt__buf_free(&o->bytes);
    agt__buf_free(&o->scratch);
    return 0;
}
