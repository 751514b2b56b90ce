/* cursor: lists of documents and of files that are none, and the trace. A list is a copy made when
 * it was asked for; a trace cursor reads the segments as they are. Neither holds a lock between
 * calls. */
#include "store.h"

typedef enum cursor_kind { CURSOR_LIST = 1, CURSOR_FILES, CURSOR_TRACE } cursor_kind;

struct agt_cursor {
    cursor_kind kind;
    agt_store *store;
    /* list */
    agt_rows rows;
    agt_buf paths;
    size_t at;
    bool look;
    agt_files files; /* untracked ones */
    /* trace */
    agt_trace_reader *reader;
    agt_trace_options filter;
    char *texts[4]; /* path, actor, action, session */
    size_t sizes[4];
    agt_buf scratch;
    agt_buf ahead; /* lines that the journal has and the trace has not yet */
    size_t ahead_at;
    bool ahead_asked;
    bool stops; /* the trace counts only up to `stop`; what follows is in the journal */
    agt_trace_end stop;
    bool passed;   /* a line behind it was stepped over */
    uint64_t last; /* seq of the line handed out last */
    uint64_t given;
    /* with a path: the events up to `covered` that may be about it, ascending */
    agt_buf known;   /* of agt_event_at */
    size_t known_at; /* bytes of it that are done, or backward: that are left */
    uint64_t covered;
    bool in_known; /* they are being handed out: forward at first, backward at last */
};

AGENT_TRACE_API void agt_cursor_close(agt_cursor *c) {
    if (!c) return;
    const agt_mem *mem = &c->store->mem;
    agt__rows_free(mem, &c->rows);
    agt__buf_free(&c->paths);
    agt__files_free(&c->files);
    agt__buf_free(&c->scratch);
    agt__buf_free(&c->ahead);
    agt__buf_free(&c->known);
    if (c->reader) agt__trace_reader_close(c->reader);
    for (size_t i = 0; i < AGT_COUNT(c->texts); i++)
        if (c->texts[i]) agt__free(mem, c->texts[i], c->sizes[i]);
    agt__free(mem, c, sizeof *c);
}

static agt_cursor *cursor_new(agt_store *s, cursor_kind kind) {
    agt_cursor *c = agt__zalloc(&s->mem, sizeof *c);
    if (!c) return NULL;
    c->kind = kind;
    c->store = s;
    c->paths = c->scratch = c->ahead = c->known = agt__buf(&s->mem);
    c->files.rows = c->files.paths = agt__buf(&s->mem);
    return c;
}

static agt_status cursor_check_process(const agt_cursor *c, agt_error *err) {
    const agt_store *s = c->store;
    if (s->sys->pid(s->sys->ctx) == s->self.pid) return AGT_OK;
    return agt__fail(err, AGT_INVALID,
                     "the cursor was opened before a fork; open the store again in the child");
}

/* ---- documents ---- */

static bool cursor_wants(const agt_list_options *o, const char *under, size_t under_len,
                         const agt_row *r) {
    if (!r->exists && !o->deleted) return false;
    if (o->type && (uint32_t)r->type != o->type) return false;
    if (!under_len) return true;
    return r->path_len > under_len + 1 && r->path[under_len] == '/' &&
           memcmp(r->path, under, under_len) == 0;
}

/* Keeps the wanted rows and copies their paths. */
static agt_status cursor_keep(agt_cursor *c, const agt_list_options *o, const char *under,
                              size_t under_len, agt_error *err) {
    size_t kept = 0, at = 0;
    for (size_t i = 0; i < c->rows.count; i++) {
        if (!cursor_wants(o, under, under_len, &c->rows.row[i])) continue;
        c->rows.row[kept] = c->rows.row[i];
        agt__buf_put(&c->paths, c->rows.row[kept].path, c->rows.row[kept].path_len);
        kept++;
    }
    c->rows.count = kept;
    if (c->paths.failed) return agt__nomem(err);
    for (size_t i = 0; i < kept; i++) {
        c->rows.row[i].path = (const char *)c->paths.data + at;
        at += c->rows.row[i].path_len;
    }
    return AGT_OK;
}

static agt_status cursor_list_options(const agt_list_options *opts, agt_list_options *o,
                                      char under[AGT_MAX_PATH + 1], size_t *under_len,
                                      agt_error *err) {
    *under_len = 0;
    agt_status st = agt__options(o, sizeof *o, opts, "agt_list_options", err);
    if (st != AGT_OK) return st;
    if (o->type > AGT_TYPE_SCRATCH) return agt__fail(err, AGT_INVALID, "unknown document type");
    if (o->untracked > 2 || o->deleted > 1 || o->look > 1 || o->reserved)
        return agt__fail(err, AGT_INVALID, "a list option has a value that is none");
    if (o->untracked && (o->type || o->deleted || o->look))
        return agt__fail(err, AGT_INVALID,
                         "untracked files have no type and no versions; leave type, deleted and "
                         "look out");
    if (!o->under || !o->under[0]) return AGT_OK;
    size_t n = strlen(o->under);
    while (n > 1 && o->under[n - 1] == '/')
        n--;
    return agt__path_normalise(o->under, n, under, under_len, err);
}

static agt_status cursor_documents(agt_cursor *c, const agt_list_options *o, const char *under,
                                   size_t under_len, agt_error *err) {
    agt_store *s = c->store;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    if (st == AGT_OK) st = agt__catalog_rows(&s->catalog, AGT_ROWS_ALL, &c->rows, err);
    if (st == AGT_OK) st = cursor_keep(c, o, under, under_len, err);
    agt__store_leave(s);
    return st;
}

AGENT_TRACE_API agt_status agt_list(agt_store *store, const agt_list_options *opts,
                                    agt_cursor **out, agt_error *err) {
    agt_list_options o;
    char under[AGT_MAX_PATH + 1];
    size_t under_len;
    AGENT_TRACE_ASSERT(store && out);
    *out = NULL;
    agt_status st = cursor_list_options(opts, &o, under, &under_len, err);
    if (st != AGT_OK) return st;
    agt_cursor *c = cursor_new(store, o.untracked ? CURSOR_FILES : CURSOR_LIST);
    if (!c) return agt__nomem(err);
    st = o.untracked ? agt__walk(store, under, under_len, o.untracked > 1, &c->files, err)
                     : cursor_documents(c, &o, under, under_len, err);
    if (st != AGT_OK) {
        agt_cursor_close(c);
        return st;
    }
    c->look = o.look != 0;
    *out = c;
    return AGT_OK;
}

/* Is the file still as it was when it was last written or checked? A change within the clock's
 * tick hides from this; writes look at the bytes. */
static bool cursor_differs(agt_store *s, const agt_row *row) {
    agt_stat now;
    const char *leaf;
    agt_fd folder = agt__open_parent(s, row->path, row->path_len, false, &leaf);
    if (folder < 0) return row->exists;
    char name[AGT_MAX_PATH + 1];
    (void)agt__copy_text(name, sizeof name, leaf, (size_t)(row->path + row->path_len - leaf));
    int rc = s->sys->stat(s->sys->ctx, folder, name, &now);
    s->sys->close(s->sys->ctx, folder);
    if (rc < 0) return row->exists;
    if (!row->exists) return !row->untracked;
    if (row->ino && now.ino == row->ino && now.dev == row->dev && now.size == row->size &&
        now.mtime_ns == row->mtime_ns && now.ctime_ns == row->ctime_ns)
        return false;
    agt_look look;
    agt_buf bytes = agt__buf(&s->mem);
    agt_status st = agt__look(s, row->path, row->path_len, &bytes, &look, NULL);
    agt__buf_free(&bytes);
    return st != AGT_OK || !agt__look_is(&look, true, &row->blob);
}

/* The list is older than the file: where they differ, the row is asked for once more. */
static bool cursor_modified(agt_store *s, agt_row *row, const char *path) {
    agt_document d = AGT_DOCUMENT_INIT;
    if (!cursor_differs(s, row)) return false;
    if (agt_document_get(s, path, &d, NULL) != AGT_OK) return true;
    if (d.last_seq == row->last_seq) return d.modified_outside;
    if (agt__store_enter(s, NULL) != AGT_OK) return true;
    if (agt__catalog_find(&s->catalog, path, row->path_len, row)) row->path = path;
    agt__store_leave(s);
    return d.modified_outside;
}

static agt_status cursor_next_file(agt_cursor *c, agt_document *out, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    if (c->at == c->files.rows.len / sizeof(agt_file))
        return agt__fail(err, AGT_END, "no more files");
    const agt_file *f = (const agt_file *)(const void *)c->files.rows.data + c->at++;
    d.size = out->size;
    d.exists = 1;
    d.size_bytes = f->size;
    d.changed_unix_ms = f->changed_unix_ms;
    d.left_out = f->left_out;
    (void)agt__show_path(d.path, sizeof d.path, f->path, f->len);
    memcpy(out, &d, out->size < sizeof d ? out->size : sizeof d);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_list_next(agt_cursor *c, agt_document *out, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    AGENT_TRACE_ASSERT(c && out);
    agt_status st = agt__options(&d, sizeof d, out, "agt_document", err);
    if (st != AGT_OK) return st;
    if (c->kind == CURSOR_TRACE)
        return agt__fail(err, AGT_INVALID, "this cursor reads the trace; use agt_trace_next");
    if ((st = cursor_check_process(c, err)) != AGT_OK) return st;
    if (c->kind == CURSOR_FILES) return cursor_next_file(c, out, err);
    if (c->at == c->rows.count) return agt__fail(err, AGT_END, "no more documents");
    char path[AGT_MAX_PATH + 1];
    agt_row row = c->rows.row[c->at++];
    (void)agt__copy_text(path, sizeof path, row.path, row.path_len);
    row.path = path;
    bool modified = c->look && cursor_modified(c->store, &row, path);
    agt__describe(&row, modified, out);
    return AGT_OK;
}

/* ---- the trace ---- */

static agt_status cursor_copy_texts(agt_cursor *c, agt_trace_options *o, agt_error *err) {
    const char **from[4] = {&o->path, &o->actor, &o->action, &o->session};
    for (size_t i = 0; i < AGT_COUNT(from); i++) {
        if (!*from[i]) continue;
        c->sizes[i] = strlen(*from[i]) + 1;
        c->texts[i] = agt__alloc(&c->store->mem, c->sizes[i]);
        if (!c->texts[i]) return agt__nomem(err);
        memcpy(c->texts[i], *from[i], c->sizes[i]);
        *from[i] = c->texts[i];
    }
    c->filter = *o;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__known_events(agt_store *s, const char *path, size_t len, agt_buf *out,
                                         uint64_t *covered, agt_error *err) {
    agt_fd dir;
    *covered = 0;
    if (agt__open_folder(s->sys, s->at, AGT_INDEX_NAME, false, &dir, NULL) != AGT_OK) return AGT_OK;
    const agt_paths paths = {s->sys, &s->mem, s->cpu, dir, s->trace_dir};
    agt_status st = agt__paths_find(&paths, path, len, out, covered, err);
    s->sys->close(s->sys->ctx, dir);
    return st;
}

/* Of a path only the events that may be about it are read, as far as that was noted. */
static agt_status cursor_know(agt_cursor *c, agt_error *err) {
    const char *path = c->filter.path;
    if (!path) return AGT_OK;
    agt_status st = agt__known_events(c->store, path, strlen(path), &c->known, &c->covered, err);
    if (st != AGT_OK || !c->covered) return st;
    c->in_known = !c->filter.newest_first;
    c->known_at = c->filter.newest_first ? c->known.len : 0;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_trace(agt_store *store, const agt_trace_options *opts,
                                     agt_cursor **out, agt_error *err) {
    agt_trace_options o;
    AGENT_TRACE_ASSERT(store && out);
    *out = NULL;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_trace_options", err);
    if (st != AGT_OK) return st;
    if (o.type > AGT_TYPE_SCRATCH || o.newest_first > 1 || o.reserved)
        return agt__fail(err, AGT_INVALID, "a trace option has a value that is none");
    if ((st = agt__store_enter(store, err)) != AGT_OK) return st;
    agt_waiting waiting = agt__waiting(store, false);
    agt_trace_end stop = store->journal.header.trace;
    bool behind = !waiting.known && o.from_seq >= store->journal.header.next_seq;
    agt__store_leave(store);
    agt_cursor *c = cursor_new(store, CURSOR_TRACE);
    st = c ? cursor_copy_texts(c, &o, err) : agt__nomem(err);
    if (st == AGT_OK)
        st = agt__trace_reader_open(&c->reader, store->sys, store->trace_dir, &store->mem, err);
    if (st == AGT_OK) st = cursor_know(c, err);
    if (st == AGT_OK && !o.newest_first && o.from_seq && !behind && !c->in_known)
        st = agt__trace_seek(c->reader, o.from_seq, err);
    if (st != AGT_OK) {
        agt_cursor_close(c);
        return st;
    }
    c->stops = !waiting.known;
    c->stop = stop;
    c->passed = behind;
    *out = c;
    return AGT_OK;
}

static bool cursor_passes(const agt_cursor *c, const agt_event *e) {
    const agt_trace_options *f = &c->filter;
    if (f->from_seq && e->seq < f->from_seq) return false;
    if (f->since_unix_ms && e->at_unix_ms < f->since_unix_ms) return false;
    if (f->to_seq && e->seq > f->to_seq) return false;
    if (f->path && !agt__text_is(e->path, f->path) && !agt__text_is(e->from, f->path)) return false;
    if (f->action && !agt__text_is(e->action, f->action)) return false;
    if (f->session && !agt__text_is(e->session_id, f->session)) return false;
    if (f->type && !agt__text_is(e->doc_type, agt_type_name((agt_type)f->type))) return false;
    if (!f->actor || agt__text_is(e->actor, f->actor)) return true;
    return strcmp(f->actor, "agent") == 0 && e->agent_name.data != NULL;
}

/* ---- what the trace does not hold yet ---- */

typedef struct cursor_gather {
    agt_cursor *c;
    uint64_t from, to;
} cursor_gather;

static agt_status cursor_take(void *ctx, const agt_record *r, agt_error *err) {
    cursor_gather *g = ctx;
    agt_entry e;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++)
        if (seq >= g->from && seq < g->to) agt__buf_put(&g->c->ahead, e.line, e.line_len);
    return g->c->ahead.failed ? agt__nomem(err) : AGT_OK;
}

/* Events behind `after` that are recorded and not in the trace: a read-only handle has nobody to
 * apply them, and something may keep others from it. */
static agt_status cursor_look_ahead(agt_cursor *c, uint64_t after, agt_error *err) {
    agt_store *s = c->store;
    c->ahead.len = c->ahead_at = 0;
    c->ahead.failed = false;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    agt_waiting w = agt__waiting(s, false);
    c->stops = !w.known;
    c->stop = s->journal.header.trace;
    cursor_gather g = {c, w.from > after ? w.from : after + 1, w.to};
    if (g.to > s->seen.next_seq) g.to = s->seen.next_seq;
    if (st == AGT_OK && g.from < g.to)
        st = agt__each_record(s, &s->journal, g.from, cursor_take, &g, err);
    agt__store_leave(s);
    return st;
}

static bool cursor_ahead(agt_cursor *c, agt_text *line) {
    const char *p = (const char *)c->ahead.data;
    if (c->ahead_at == c->ahead.len) return false;
    const char *end = memchr(p + c->ahead_at, '\n', c->ahead.len - c->ahead_at);
    size_t n = end ? (size_t)(end - p) + 1 - c->ahead_at : c->ahead.len - c->ahead_at;
    *line = (agt_text){p + c->ahead_at, n};
    c->ahead_at += n;
    return true;
}

static bool cursor_ahead_back(agt_cursor *c, agt_text *line) {
    const char *p = (const char *)c->ahead.data;
    if (!c->ahead.len) return false;
    size_t from = c->ahead.len - 1;
    while (from > 0 && p[from - 1] != '\n')
        from--;
    *line = (agt_text){p + from, c->ahead.len - from};
    c->ahead.len = from;
    return true;
}

static bool cursor_behind_stop(agt_cursor *c) {
    uint64_t segment, offset;
    if (!c->stops) return false;
    agt__trace_where(c->reader, &segment, &offset);
    return segment > c->stop.segment || (segment == c->stop.segment && offset >= c->stop.offset);
}

static agt_status cursor_line(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st = AGT_OK;
    if (c->passed && !c->stops) { /* somebody recovered the store meanwhile */
        c->passed = false;
        st = agt__trace_seek(c->reader, c->last + 1, err);
    }
    if (st == AGT_OK) st = c->passed ? AGT_END : agt__trace_line(c->reader, line, err);
    if (st != AGT_OK || !cursor_behind_stop(c)) return st;
    c->passed = true;
    return AGT_END;
}

static agt_status cursor_line_back(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st;
    do
        st = agt__trace_line_back(c->reader, line, err);
    while (st == AGT_OK && cursor_behind_stop(c));
    return st;
}

static agt_status cursor_forward(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st = cursor_line(c, line, err);
    if (st != AGT_END || cursor_ahead(c, line)) return st == AGT_END ? AGT_OK : st;
    uint64_t after = c->filter.from_seq ? c->filter.from_seq - 1 : 0;
    st = cursor_look_ahead(c, c->last > after ? c->last : after, err);
    if (st != AGT_OK) {
        c->ahead.len = c->ahead_at = 0;
        return st;
    }
    st = cursor_line(c, line, err); /* what was applied before that look */
    if (st != AGT_END) return st;
    return cursor_ahead(c, line) ? AGT_OK : AGT_END;
}

static agt_status cursor_back(agt_cursor *c, agt_text *line, agt_error *err) {
    if (!c->ahead_asked) {
        agt_status st = cursor_look_ahead(c, 0, err);
        if (st == AGT_OK) st = agt__trace_seek_end(c->reader, err);
        c->ahead_asked = st == AGT_OK;
        if (st != AGT_OK) return st;
    }
    return cursor_ahead_back(c, line) ? AGT_OK : cursor_line_back(c, line, err);
}

/* The next one of the known events, forward or backward; false behind the last. */
static bool cursor_known_next(agt_cursor *c, agt_event_at *at) {
    uint64_t from = c->filter.from_seq;
    if (c->filter.newest_first) {
        if (!c->known_at) return false;
        c->known_at -= sizeof *at;
        memcpy(at, c->known.data + c->known_at, sizeof *at);
        return at->seq >= from;
    }
    while (c->known_at < c->known.len) {
        memcpy(at, c->known.data + c->known_at, sizeof *at);
        c->known_at += sizeof *at;
        if (at->seq >= from) return true;
    }
    return false;
}

static agt_status cursor_known(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_event_at at;
    if (!cursor_known_next(c, &at)) return AGT_END;
    agt_status st = agt__trace_at(c->reader, &at, line, err);
    if (st != AGT_NOT_FOUND) return st;
    return agt__fail(err, AGT_CORRUPT, "event %llu is missing in the trace",
                     (unsigned long long)at.seq);
}

static agt_status cursor_next_line(agt_cursor *c, agt_text *line, agt_error *err) {
    bool back = c->filter.newest_first;
    agt_status st = c->in_known ? cursor_known(c, line, err)
                    : back      ? cursor_back(c, line, err)
                                : cursor_forward(c, line, err);
    if (st != AGT_END || !c->covered || c->in_known == back) return st;
    /* forward the rest of the trace comes after them; backward it is at an end */
    c->in_known = back;
    if (back) return cursor_known(c, line, err);
    uint64_t from = c->filter.from_seq > c->covered ? c->filter.from_seq : c->covered + 1;
    if (!c->passed) st = agt__trace_seek(c->reader, from, err);
    return st == AGT_OK || c->passed ? cursor_forward(c, line, err) : st;
}

/* A line that has no escapes and not the path in it is about something else. */
static bool cursor_elsewhere(const agt_cursor *c, agt_text line) {
    const char *path = c->filter.path, *p = line.data, *end = line.data + line.len;
    size_t n = path ? strlen(path) : 0;
    if (!n || c->in_known || memchr(line.data, '\\', line.len)) return false;
    while ((p = memchr(p, path[0], (size_t)(end - p))) != NULL && (size_t)(end - p) >= n) {
        if (memcmp(p, path, n) == 0) return false;
        p++;
    }
    return true;
}

AGENT_TRACE_API agt_status agt_trace_next(agt_cursor *c, agt_event *out, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    agt_text line;
    AGENT_TRACE_ASSERT(c && out);
    agt_status st = agt__options(&e, sizeof e, out, "agt_event", err);
    if (st != AGT_OK) return st;
    if (c->kind != CURSOR_TRACE)
        return agt__fail(err, AGT_INVALID, "this cursor lists documents; use agt_list_next");
    if ((st = cursor_check_process(c, err)) != AGT_OK) return st;
    for (;;) {
        if (c->filter.limit && c->given == c->filter.limit)
            return agt__fail(err, AGT_END, "no more events");
        st = cursor_next_line(c, &line, err);
        if (st == AGT_END) return agt__fail(err, AGT_END, "no more events");
        if (st != AGT_OK) return st;
        bool other = cursor_elsewhere(c, line) && agt__event_seq(line.data, line.len, &e.seq);
        if (!other) st = agt__event_parse(line.data, line.len, &c->scratch, &e, err);
        if (st != AGT_OK) {
            uint64_t segment, offset;
            agt__trace_where(c->reader, &segment, &offset);
            if (st == AGT_CORRUPT && err) err->offset = (int64_t)offset;
            return st;
        }
        if (c->filter.newest_first && !c->in_known && e.seq <= c->covered) {
            c->in_known = true;
            continue;
        }
        if (c->last && (c->filter.newest_first ? e.seq >= c->last : e.seq <= c->last))
            continue; /* the journal had it already */
        c->last = e.seq;
        if (c->filter.newest_first ? e.seq < c->filter.from_seq
                                   : c->filter.to_seq && e.seq > c->filter.to_seq) {
            c->given = c->filter.limit = 1; /* nothing behind it is wanted */
            continue;
        }
        if (!other && cursor_passes(c, &e)) break;
    }
    c->given++;
    e.size = out->size;
    memcpy(out, &e, out->size < sizeof e ? out->size : sizeof e);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_trace_verify(agt_store *store, int repair, agt_trace_verdict *out,
                                            agt_error *err) {
    agt_trace_verdict v = AGT_TRACE_VERDICT_INIT;
    agt_trace_report r;
    AGENT_TRACE_ASSERT(store && out);
    memset(&r, 0, sizeof r);
    agt_status st = agt__options(&v, sizeof v, out, "agt_trace_verdict", err);
    if (st == AGT_OK) st = repair ? agt__store_lock(store, err) : agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    if (!repair) agt__store_leave(store);
    if (store->trace_dir != AGT_FD_NONE)
        st = (repair ? agt__trace_repair : agt__trace_check)(store->sys, store->trace_dir,
                                                             &store->mem, store->cpu, &r, err);
    if (repair) agt__store_unlock(store);
    if (st != AGT_OK) return st;
    v.size = out->size;
    v.repaired = repair && r.torn_bytes;
    v.events = r.lines;
    v.last_seq = r.last_seq;
    v.damaged_lines = r.damaged_lines;
    v.torn_bytes = r.torn_bytes;
    v.first_bad_segment = r.first_bad_segment;
    v.first_bad_offset = r.first_bad_offset;
    memcpy(out, &v, out->size < sizeof v ? out->size : sizeof v);
    return AGT_OK;
}
