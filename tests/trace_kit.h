/* What tests of the trace share: a trace in a machine in memory beside an array that says what must
 * be in it. */
#ifndef AGT_TRACE_KIT_H
#define AGT_TRACE_KIT_H

#include "../src/log/trace.h"

#include "machine_kit.h"

struct log_line {
    uint64_t seq, segment, offset;
    size_t len;
    char *text; /* newline included; a NUL follows */
};

struct log {
    struct box b;
    agt_fd dir;
    machine_memory memory; /* what the parts under test allocate from */
    agt_mem mem, plain;
    agt_cpu cpu;
    agt_error err;
    struct log_line *line;
    size_t count;
    uint64_t segment, end; /* where the next line goes */
    unsigned char prev[32];
    agt_buf text;
};

static inline struct log *new_log_in(machine *m) {
    struct log *l = calloc(1, sizeof *l);
    l->b = new_box_of(m);
    machine_make_folder(m, "/trace");
    l->dir = l->b.sys->open(l->b.sys->ctx, l->b.root, "trace", AGT_O_READ | AGT_O_FOLDER, 0);
    CHECK(l->dir >= 0);
    l->mem = agt__mem(machine_memory_init(&l->memory));
    l->plain = agt__mem(NULL);
    l->cpu = agt__cpu();
    l->segment = 1;
    l->text = agt__buf(&l->plain);
    return l;
}

static inline struct log *new_log(const machine_settings *set) {
    return new_log_in(machine_new(set));
}

static inline void free_log(struct log *l) {
    CHECK_INT(l->memory.live_blocks, 0);
    CHECK_INT(machine_process_open_files(l->b.p), 2);
    for (size_t i = 0; i < l->count; i++)
        free(l->line[i].text);
    free(l->line);
    agt__buf_free(&l->text);
    machine_free(l->b.m);
    free(l);
}

/* The same machine with another process, where one may have died; `l` is freed. */
static inline struct log *another_process(struct log *l) {
    struct log *next = new_log_in(machine_clone(l->b.m));
    machine_memory_release(&l->memory);
    machine_free(l->b.m);
    free(l);
    return next;
}

/* The line of an event with that seq and prev and a summary of n bytes, into l->text. */
static inline void log_format(struct log *l, uint64_t seq, const unsigned char prev[32], size_t n) {
    static char summary[AGT_MAX_EVENT];
    agt_event e = AGT_EVENT_INIT;
    char hex[64];
    for (size_t i = 0; i < n; i++)
        summary[i] = (char)('a' + (seq + i) % 26);
    agt__hex(prev, 32, hex);
    e.seq = seq;
    e.at_unix_ms = e.recorded_unix_ms = 1764000000000 + (int64_t)seq;
    e.actor = agt__text("user");
    e.action = e.change_kind = agt__text("modify");
    e.path = agt__text("a.md");
    e.summary = (agt_text){summary, n};
    e.prev = (agt_text){hex, 64};
    l->text.len = 0;
    CHECK_OK(agt__event_format(&l->text, &e, &l->err), l->err);
    agt__buf_byte(&l->text, 0);
    l->text.len--;
}

/* Adds a line to the array, as the trace's next. */
static inline struct log_line *log_add(struct log *l, size_t summary) {
    uint64_t seq = l->count ? l->line[l->count - 1].seq + 1 : l->segment;
    log_format(l, seq, l->prev, summary);
    agt__sha256(l->cpu, l->text.data, l->text.len, l->prev);
    l->line = realloc(l->line, (l->count + 1) * sizeof *l->line);
    struct log_line *line = &l->line[l->count++];
    *line = (struct log_line){seq, l->segment, l->end, l->text.len, malloc(l->text.len + 1)};
    memcpy(line->text, l->text.data, l->text.len + 1);
    l->end += l->text.len;
    return line;
}

/* Adds a line of exactly n bytes. */
static inline struct log_line *log_add_long(struct log *l, size_t n) {
    log_format(l, l->count ? l->line[l->count - 1].seq + 1 : l->segment, l->prev, 0);
    CHECK(n >= l->text.len);
    struct log_line *line = log_add(l, n - l->text.len);
    CHECK_INT(line->len, n);
    return line;
}

/* The next line begins a segment. */
static inline void log_rotate(struct log *l) {
    l->segment = l->count ? l->line[l->count - 1].seq + 1 : 1;
    l->end = 0;
}

static inline const char *log_path(uint64_t segment) {
    static char path[64];
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    snprintf(path, sizeof path, "/trace/%s", name);
    return path;
}

/* A segment's bytes as the array has them, into l->text. */
static inline void log_bytes(struct log *l, uint64_t segment) {
    l->text.len = 0;
    for (size_t i = 0; i < l->count; i++)
        if (l->line[i].segment == segment) agt__buf_put(&l->text, l->line[i].text, l->line[i].len);
}

static inline void log_put(struct log *l, uint64_t segment, const void *data, size_t n) {
    CHECK_INT(machine_put(l->b.m, log_path(segment), n ? data : "", n), 0);
}

/* Puts all segments on the machine's disk as the array has them. */
static inline void log_save(struct log *l) {
    uint64_t saved = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (l->line[i].segment == saved) continue;
        saved = l->line[i].segment;
        log_bytes(l, saved);
        log_put(l, saved, l->text.data, l->text.len);
    }
}

/* Appends bytes to a segment's file, making it if there is none. */
static inline void log_append(struct log *l, uint64_t segment, const void *data, size_t n) {
    size_t have = 0;
    char *was = machine_get(l->b.m, log_path(segment), &have);
    if (!was) log_put(l, segment, "", 0);
    free(was);
    CHECK_INT(machine_overwrite(l->b.m, log_path(segment), have, data, n), 0);
}

static inline void log_check_file(struct log *l, const char *path, const void *want, size_t n) {
    size_t have = 0;
    char *got = machine_get(l->b.m, path, &have);
    CHECK(got != NULL);
    CHECK_BYTES(got, have, want, n);
    free(got);
}

static inline agt_trace_reader *log_reader(struct log *l) {
    agt_trace_reader *r = NULL;
    CHECK_OK(agt__trace_reader_open(&r, l->b.sys, l->dir, &l->mem, &l->err), l->err);
    return r;
}

/* `line` is the i-th of the array, and the reader says so. */
static inline void log_is(struct log *l, agt_trace_reader *r, agt_text line, size_t i) {
    uint64_t segment, offset;
    CHECK(i < l->count);
    CHECK_BYTES(line.data, line.len, l->line[i].text, l->line[i].len);
    agt__trace_where(r, &segment, &offset);
    CHECK_INT(segment, l->line[i].segment);
    CHECK_INT(offset, l->line[i].offset);
}

/* Expects the lines from `from` up to (not with) `to`, forward. */
static inline void log_expect(struct log *l, agt_trace_reader *r, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        agt_text line;
        CHECK_OK(agt__trace_line(r, &line, &l->err), l->err);
        log_is(l, r, line, i);
    }
}

static inline void log_expect_end(struct log *l, agt_trace_reader *r) {
    agt_text line;
    CHECK_STATUS(agt__trace_line(r, &line, &l->err), AGT_END, l->err);
}

/* Expects the lines in front of the `from`-th, backward, and then the begin. */
static inline void log_expect_back(struct log *l, agt_trace_reader *r, size_t from) {
    agt_text line;
    for (size_t i = from; i-- > 0;) {
        CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
        log_is(l, r, line, i);
    }
    CHECK_STATUS(agt__trace_line_back(r, &line, &l->err), AGT_END, l->err);
}

#endif /* AGT_TRACE_KIT_H */
