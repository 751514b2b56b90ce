/* history: reading documents, their versions, and the trace.
 *
 * (1) Readers take no lock. Bytes and version belong together: where the bytes on disk are not the
 *     newest version's, they are read once more under the lock, and what still differs is
 *     somebody's edit.
 * (2) Version n of a document is found by following doc_prev from its newest event: the cost is the
 *     document's versions, not the history's length. Where many are to be passed, the index of
 *     paths tells where their lines are.
 * (3) Every version's bytes are checked against the blob its event names.
 * (4) A checkpoint moves records from the journal to git and to unpublished/ while somebody looks
 *     for them. What is not found is lost only if the journal is still of the generation that it
 *     was looked for in.
 * (5) Which event made which version never changes: a handle remembers the one it found last, so
 *     that who reads one version after the other does not pass them all each time. */
#include "store.h"

/* ---- describing ---- */

AGT_PRIVATE void agt__describe(const agt_row *row, bool modified, agt_document *out) {
    agt_document d = AGT_DOCUMENT_INIT;
    d.version = row->version;
    d.exists = row->exists;
    d.type = (uint32_t)row->type;
    d.size_bytes = row->size;
    d.last_seq = row->last_seq;
    d.changed_unix_ms = row->changed_unix_ms;
    d.modified_outside = modified && !row->untracked;
    memcpy(d.id, row->doc, sizeof row->doc);
    if (row->exists) agt__hex(row->blob.id, 20, d.blob);
    (void)agt__copy_text(d.path, sizeof d.path, row->path, row->path_len);
    (void)agt__copy_text(d.agent, sizeof d.agent, row->agent, strlen(row->agent));
    d.size = out->size;
    memcpy(out, &d, out->size < sizeof d ? out->size : sizeof d);
}

static agt_status history_document_check(const agt_document *out, agt_error *err) {
    agt_document known;
    return out ? agt__options(&known, sizeof known, out, "agt_document", err) : AGT_OK;
}

typedef struct history_path {
    char text[AGT_MAX_PATH + 1];
    size_t len;
} history_path;

/* The row, with its path in `at` (the catalog's own may go away). */
static agt_status history_row(agt_store *s, const history_path *at, agt_row *row, agt_error *err) {
    char shown[200];
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    if (st == AGT_OK && !agt__catalog_find(&s->catalog, at->text, at->len, row))
        st = agt__fail(err, AGT_NOT_FOUND, "%s: no such document",
                       agt__show_path(shown, sizeof shown, at->text, at->len));
    agt__store_leave(s);
    row->path = at->text;
    row->path_len = at->len;
    return st;
}

static agt_status history_find(agt_store *s, const char *path, history_path *at, agt_row *row,
                               agt_error *err) {
    AGENT_TRACE_ASSERT(s && path);
    size_t len = strlen(path);
    agt_error refused, mine;
    agt_status st = agt__path_normalise(path, len, at->text, &at->len, &refused);
    if (st == AGT_OK) return history_row(s, at, row, err);
    if (!agt__path_held(path, len)) return agt__answer(st, &refused, err);
    /* nobody could make it now, but an older program may have recorded it */
    memcpy(at->text, path, len + 1);
    at->len = len;
    agt_status held = history_row(s, at, row, &mine);
    return held == AGT_NOT_FOUND ? agt__answer(st, &refused, err) : agt__answer(held, &mine, err);
}

AGT_PRIVATE agt_status agt__document_id(agt_store *s, const char *path, char id[40],
                                        agt_error *err) {
    history_path at;
    agt_row row;
    agt_status st = history_find(s, path, &at, &row, err);
    if (st == AGT_OK) memcpy(id, row.doc, sizeof row.doc);
    return st;
}

#define HISTORY_TRIES 100
#define HISTORY_FEW   2u /* versions that are found without the index */

static agt_status history_lost(const agt_row *row, agt_error *err) {
    return agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are missing",
                     (unsigned long long)row->last_seq);
}

/* One look, under the handle's mutex. */
static agt_status history_look_once(agt_store *s, const history_path *at, agt_row *row,
                                    const agt_waiting *waiting, agt_buf *bytes, agt_look *look,
                                    bool *modified, agt_error *err) {
    bool pending = false;
    agt_status st = agt__look(s, at->text, at->len, bytes, look, err);
    *modified = st != AGT_OK || !agt__look_is(look, row->exists, &row->blob);
    if (st == AGT_INVALID) memset(look, 0, sizeof *look);
    if (st == AGT_INVALID) return AGT_OK;
    if (st != AGT_OK || !*modified) return st;
    st = agt__look_pending(s, waiting, row, look, &pending, err);
    if (st != AGT_OK || !pending) return st;
    *modified = false; /* the document is what the journal says */
    bytes->len = 0;
    look->on_disk = row->exists;
    look->blob = row->blob;
    return row->exists ? agt__journalled_content(s, row->last_seq, bytes, err) : AGT_OK;
}

static void history_row_again(agt_store *s, const history_path *at, agt_row *row) {
    if (agt__catalog_find(&s->catalog, at->text, at->len, row)) row->path = at->text;
}

static agt_status history_look_locked(agt_store *s, const history_path *at, agt_row *row,
                                      agt_buf *bytes, agt_look *look, bool *modified,
                                      agt_error *err) {
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    agt_waiting waiting = agt__waiting(s, true);
    history_row_again(s, at, row);
    st = history_look_once(s, at, row, &waiting, bytes, look, modified, err);
    agt__store_unlock(s);
    return st == AGT_NOT_FOUND ? history_lost(row, err) : st;
}

/* A read-only handle cannot keep writers out: what it sees counts if nothing was recorded while it
 * looked. */
static agt_status history_look_unlocked(agt_store *s, const history_path *at, agt_row *row,
                                        agt_buf *bytes, agt_look *look, bool *modified,
                                        agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    bool still = false;
    st = agt__store_look_again(s, err);
    for (int i = 0; i < HISTORY_TRIES && st == AGT_OK && !still; i++) {
        uint64_t generation = s->journal.header.generation, next = s->seen.next_seq;
        agt_waiting waiting = agt__waiting(s, false);
        history_row_again(s, at, row);
        agt_status seen = history_look_once(s, at, row, &waiting, bytes, look, modified, err);
        st = agt__store_look_again(s, err);
        still = generation == s->journal.header.generation && next == s->seen.next_seq;
        if (st == AGT_OK && still) st = seen == AGT_NOT_FOUND ? history_lost(row, err) : seen;
    }
    agt__store_leave(s);
    if (st == AGT_OK && !still)
        return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
    return st;
}

/* (1) */
static agt_status history_look_hard(agt_store *s, const history_path *at, agt_row *row,
                                    agt_buf *bytes, agt_look *look, bool *modified,
                                    agt_error *err) {
    if (s->read_only) return history_look_unlocked(s, at, row, bytes, look, modified, err);
    agt_status st = agt__look(s, at->text, at->len, bytes, look, err);
    *modified = st == AGT_INVALID; /* a link or folder where the document was */
    if (st == AGT_INVALID) memset(look, 0, sizeof *look);
    if (st == AGT_INVALID || (st == AGT_OK && agt__look_is(look, row->exists, &row->blob)))
        return AGT_OK;
    if (st != AGT_OK) return st;
    return history_look_locked(s, at, row, bytes, look, modified, err);
}

static agt_status history_look(agt_store *s, const history_path *at, agt_row *row, agt_buf *bytes,
                               agt_look *look, bool *modified, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(history_look_hard(s, at, row, bytes, look, modified, &mine), &mine, err);
}

AGENT_TRACE_API agt_status agt_read(agt_store *store, const char *path, agt_bytes *out,
                                    agt_document *info, agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool modified;
    char shown[200];
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_document_check(info, err);
    if (st == AGT_OK) st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_look(store, &at, &row, &bytes, &look, &modified, err);
    if (st == AGT_OK && !look.on_disk)
        st = agt__fail(err, AGT_NOT_FOUND,
                       row.exists ? "%s was removed outside the store; its versions can be "
                                    "restored"
                                  : "%s was deleted; its versions can be restored",
                       agt__show_path(shown, sizeof shown, at.text, at.len));
    if (st == AGT_OK) st = agt__buf_give(&bytes, out, err);
    if (st == AGT_OK && info) agt__describe(&row, modified, info);
    agt__buf_free(&bytes);
    return st;
}

AGENT_TRACE_API agt_status agt_document_get(agt_store *store, const char *path, agt_document *out,
                                            agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool modified;
    AGENT_TRACE_ASSERT(store && path && out);
    agt_status st = history_document_check(out, err);
    if (st == AGT_OK) st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_look(store, &at, &row, &bytes, &look, &modified, err);
    agt__buf_free(&bytes);
    if (st == AGT_OK) agt__describe(&row, modified, out);
    return st;
}

/* ---- versions ---- */

/* Where the line of the event `seq` was, as the index of paths (or NULL) tells; else 0 and 0. */
static agt_event_at history_place(const agt_buf *known, uint64_t seq) {
    agt_event_at at = {seq, 0, 0};
    size_t lo = 0, hi = known ? known->len / sizeof at : 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        memcpy(&at, known->data + mid * sizeof at, sizeof at);
        if (at.seq == seq) return at;
        if (at.seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (agt_event_at){seq, 0, 0};
}

/* The event `seq`, from the trace (below `trusted`), or from the journal where it is not applied
 * yet. `line` keeps the bytes the event points into. */
static agt_status history_event(agt_store *s, agt_trace_reader *reader, const agt_buf *known,
                                uint64_t trusted, uint64_t seq, agt_buf *line, agt_buf *scratch,
                                agt_event *e, agt_error *err) {
    agt_text found;
    agt_error mine;
    agt_status st = AGT_NOT_FOUND;
    line->len = 0;
    mine.status = AGT_OK;
    agt_event_at at = history_place(known, seq);
    if (seq < trusted) st = agt__trace_at(reader, &at, &found, &mine);
    if (st == AGT_OK) agt__buf_put(line, found.data, found.len);
    if (st == AGT_NOT_FOUND) {
        if ((st = agt__store_enter(s, err)) != AGT_OK) return st;
        st = agt__journalled_line(s, seq, line, &mine);
        agt__store_leave(s);
        if (st == AGT_NOT_FOUND)
            return agt__fail(err, AGT_CORRUPT, "event %llu is missing in the trace",
                             (unsigned long long)seq);
    }
    if (st == AGT_OK && line->failed) st = agt__nomem(&mine);
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    return agt__event_parse((const char *)line->data, line->len, scratch, e, err);
}

/* Events below it are taken from the trace: where nobody knows since a restart, what lies behind
 * the header's end may be torn. Under the handle's mutex. */
static uint64_t history_trusted(agt_store *s) {
    return agt__waiting(s, false).known ? UINT64_MAX : s->journal.header.next_seq;
}

typedef struct history_walk {
    agt_store *s;
    const agt_row *row;
    agt_trace_reader *reader;
    uint64_t trusted;
    agt_buf line, scratch, known;
    agt_event e; /* points into line and scratch */
} history_walk;

/* From the event `*seq`, which should make version `from` of the document, back to the version. */
static agt_status history_back(history_walk *w, uint32_t from, uint32_t version, uint64_t *seq,
                               agt_error *err) {
    char shown[200];
    const agt_row *row = w->row;
    for (uint32_t now = from;; now--) {
        agt_status st = history_event(w->s, w->reader, &w->known, w->trusted, *seq, &w->line,
                                      &w->scratch, &w->e, err);
        if (st != AGT_OK) return st;
        if (w->e.version != now || !agt__text_is(w->e.doc, row->doc) ||
            (now > version && (w->e.doc_prev >= *seq || !w->e.doc_prev)))
            return agt__fail(err, AGT_CORRUPT,
                             "the versions of %s do not follow each other at event %llu",
                             agt__show_path(shown, sizeof shown, row->path, row->path_len),
                             (unsigned long long)*seq);
        if (now == version) return AGT_OK;
        *seq = w->e.doc_prev;
    }
}

/* (5): the walk, begun where the last one ended if that leads there. */
static agt_status history_walk_to(history_walk *w, uint32_t version, uint64_t *seq,
                                  agt_error *err) {
    agt_store *s = w->s;
    uint64_t covered;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    w->trusted = history_trusted(s);
    agt_walked last = s->walked;
    agt__store_leave(s);
    if (last.version > version && last.prev) { /* one step nearer */
        last.version--;
        last.seq = last.prev;
    }
    bool shorter = strcmp(last.doc, w->row->doc) == 0 && last.version >= version &&
                   last.version < w->row->version && last.seq < *seq;
    uint32_t from = shorter ? last.version : w->row->version;
    if (from - version > HISTORY_FEW)
        st = agt__known_events(s, w->row->path, w->row->path_len, &w->known, &covered, err);
    if (st != AGT_OK) return st;
    uint64_t newest = *seq;
    if (shorter) *seq = last.seq;
    st = history_back(w, from, version, seq, shorter ? NULL : err);
    if (st != AGT_OK && shorter) { /* the trace is another one, or damaged: from the beginning */
        *seq = newest;
        st = history_back(w, w->row->version, version, seq, err);
    }
    if (st != AGT_OK) return st;
    if ((st = agt__store_enter(s, err)) != AGT_OK) return st;
    memcpy(s->walked.doc, w->row->doc, sizeof s->walked.doc);
    s->walked.version = version;
    s->walked.seq = *seq;
    s->walked.prev = w->e.doc_prev;
    agt__store_leave(s);
    return AGT_OK;
}

/* The seq and blob of version n (2). */
static agt_status history_version(agt_store *s, const agt_row *row, uint32_t version, uint64_t *seq,
                                  agt_oid *blob, bool *exists, agt_error *err) {
    history_walk w = {.s = s,
                      .row = row,
                      .line = agt__buf(&s->mem),
                      .scratch = agt__buf(&s->mem),
                      .known = agt__buf(&s->mem),
                      .e = AGT_EVENT_INIT};
    *seq = row->last_seq;
    *blob = row->blob;
    *exists = row->exists;
    if (version == row->version) return AGT_OK;
    agt_status st = agt__trace_reader_open(&w.reader, s->sys, s->trace_dir, &s->mem, err);
    if (st != AGT_OK) return st;
    st = history_walk_to(&w, version, seq, err);
    if (st == AGT_OK) {
        *exists = w.e.blob.data != NULL;
        if (*exists && !agt__unhex(w.e.blob.data, w.e.blob.len, blob->id, 20))
            st = agt__fail(err, AGT_CORRUPT, "event %llu names no blob", (unsigned long long)*seq);
    }
    agt__buf_free(&w.line);
    agt__buf_free(&w.scratch);
    agt__buf_free(&w.known);
    agt__trace_reader_close(w.reader);
    return st;
}

static agt_status history_content(agt_store *s, uint64_t seq, const agt_oid *blob, agt_buf *out,
                                  agt_error *err) {
    agt_oid id;
    agt_error why, unread;
    memset(&why, 0, sizeof why);
    memset(&unread, 0, sizeof unread);
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, &why);
    bool journalled = seq >= s->journal.header.next_seq;
    if (st == AGT_OK) st = journalled ? agt__journalled_content(s, seq, out, &why) : AGT_NOT_FOUND;
    agt__store_leave(s);
    if (st != AGT_OK && st != AGT_NOT_FOUND) return agt__answer(st, &why, err);
    if (st == AGT_NOT_FOUND) {
        out->len = 0;
        st = agt__git_content(s, blob, out, &why);
        if (st != AGT_OK && agt__store_enter(s, NULL) == AGT_OK) { /* not published yet? */
            out->len = 0;
            agt_status kept = agt__journalled_content(s, seq, out, &unread);
            agt__store_leave(s);
            if (kept == AGT_OK || (kept != AGT_NOT_FOUND && kept != AGT_CORRUPT)) {
                st = kept; /* found, or nobody knows: that it is lost would be a guess */
                why = unread;
            }
        }
        if (st != AGT_OK) {
            if (err) *err = why;
            return st == AGT_NOT_FOUND
                       ? agt__fail(
                             err, AGT_CORRUPT,
                             "git lost the bytes of event %llu; 'agent-trace repair' brings them "
                             "back if anything else has them",
                             (unsigned long long)seq)
                       : st;
        }
    }
    if (st != AGT_OK) return st;
    agt__git_id(s->cpu, "blob", out->data, out->len, id.id);
    if (memcmp(id.id, blob->id, 20) != 0) /* (3) */
        return agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are not what it names",
                         (unsigned long long)seq);
    return AGT_OK;
}

/* One version's bytes; *exists false for a deletion. version 0: the newest. */
static agt_status history_bytes_hard(agt_store *s, const agt_row *row, uint32_t version,
                                     agt_buf *out, bool *exists, agt_error *err) {
    char shown[200];
    uint64_t seq;
    agt_oid blob;
    out->len = 0;
    if (!version) version = row->version;
    if (version > row->version)
        return agt__fail(err, AGT_NOT_FOUND, "%s has no version %u; the newest is %u",
                         agt__show_path(shown, sizeof shown, row->path, row->path_len),
                         (unsigned)version, (unsigned)row->version);
    agt_status st = history_version(s, row, version, &seq, &blob, exists, err);
    if (st != AGT_OK || !*exists) return st;
    return history_content(s, seq, &blob, out, err);
}

/* The journal's generation, as the handle knows it or as the file says now. */
static agt_status history_generation(agt_store *s, bool look, uint64_t *out, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    if (look) st = agt__store_look_again(s, err);
    *out = s->journal.header.generation;
    agt__store_leave(s);
    return st;
}

/* (4) */
static agt_status history_bytes(agt_store *s, const agt_row *row, uint32_t version, agt_buf *out,
                                bool *exists, agt_error *err) {
    agt_error mine;
    uint64_t generation = 0, now = 0;
    mine.status = AGT_OK;
    agt_status st = history_generation(s, false, &generation, &mine);
    for (int i = 0; i < HISTORY_TRIES && st == AGT_OK; i++, generation = now) {
        agt_status got = history_bytes_hard(s, row, version, out, exists, &mine);
        /* without git AGT_UNSUPPORTED says so */
        bool missed = got == AGT_NOT_FOUND || got == AGT_CORRUPT || got == AGT_UNSUPPORTED;
        if (!missed) return agt__answer(got, &mine, err);
        agt_error first = mine;
        st = history_generation(s, true, &now, &mine);
        if (st == AGT_OK && now == generation) return agt__answer(got, &first, err);
    }
    if (st == AGT_OK)
        return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_read_version(agt_store *store, const char *path, uint32_t version,
                                            agt_bytes *out, agt_error *err) {
    history_path at;
    agt_row row;
    bool exists;
    char shown[200];
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_bytes(store, &row, version, &bytes, &exists, err);
    if (st == AGT_OK && !exists)
        st = agt__fail(err, AGT_NOT_FOUND, "version %u of %s is a deletion; choose another",
                       (unsigned)(version ? version : row.version),
                       agt__show_path(shown, sizeof shown, at.text, at.len));
    if (st == AGT_OK) st = agt__buf_give(&bytes, out, err);
    agt__buf_free(&bytes);
    return st;
}

static agt_status history_diff(agt_store *s, const char *path, const agt_buf *a, bool a_exists,
                               const agt_buf *b, bool b_exists, agt_bytes *out, agt_error *err) {
    agt_buf patch = agt__buf(&s->mem);
    agt_status st = AGT_OK;
    const void *from = a->data ? (const void *)a->data : "";
    const void *to = b->data ? (const void *)b->data : "";
    bool same = a_exists == b_exists && a->len == b->len && memcmp(from, to, a->len) == 0;
    if (!same) {
        s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
        st = agt__git_diff(s->reader, path, a_exists ? from : NULL, a->len, b_exists ? to : NULL,
                           b->len, &patch, err);
        s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
    }
    if (st == AGT_OK) st = agt__buf_give(&patch, out, err);
    agt__buf_free(&patch);
    return st;
}

AGENT_TRACE_API agt_status agt_diff_bytes(agt_store *store, const char *path, const void *from,
                                          size_t from_len, const void *to, size_t to_len,
                                          agt_bytes *out, agt_error *err) {
    AGENT_TRACE_ASSERT(store && path && out && (from || !from_len) && (to || !to_len));
    memset(out, 0, sizeof *out);
    agt_buf a = agt__buf(&store->mem), b = agt__buf(&store->mem);
    agt__buf_put(&a, from, from_len);
    agt__buf_put(&b, to, to_len);
    agt_status st = a.failed || b.failed ? agt__nomem(err) : AGT_OK;
    if (st == AGT_OK) st = agt__store_enter(store, err);
    if (st == AGT_OK) {
        agt__store_leave(store);
        st = history_diff(store, path, &a, from != NULL, &b, to != NULL, out, err);
    }
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

AGENT_TRACE_API agt_status agt_diff(agt_store *store, const char *path, uint32_t from, uint32_t to,
                                    agt_bytes *out, agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool a_exists = false, b_exists = false, modified;
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf a = agt__buf(&store->mem), b = agt__buf(&store->mem);
    st = history_bytes(store, &row, from, &a, &a_exists, err);
    if (st == AGT_OK && to) st = history_bytes(store, &row, to, &b, &b_exists, err);
    if (st == AGT_OK && !to) {
        st = history_look(store, &at, &row, &b, &look, &modified, err);
        b_exists = look.on_disk;
    }
    if (st == AGT_OK) st = history_diff(store, at.text, &a, a_exists, &b, b_exists, out, err);
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

/* ---- refused bytes ---- */

/* The event, if it is a violation with bytes. */
static agt_status history_violation(agt_store *s, uint64_t seq, agt_buf *line, agt_buf *scratch,
                                    agt_event *e, agt_error *err) {
    agt_trace_reader *reader;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    uint64_t trusted = history_trusted(s);
    bool there = seq && seq < s->seen.next_seq;
    agt__store_leave(s);
    if (st == AGT_OK && !there)
        st = agt__fail(err, AGT_NOT_FOUND, "there is no event %llu", (unsigned long long)seq);
    if (st == AGT_OK) st = agt__trace_reader_open(&reader, s->sys, s->trace_dir, &s->mem, err);
    if (st != AGT_OK) return st;
    st = history_event(s, reader, NULL, trusted, seq, line, scratch, e, err);
    agt__trace_reader_close(reader);
    if (st != AGT_OK || e->rejected.data) return st;
    if (agt__text_is(e->action, "violation") &&
        (s->stands_on || agt__text_is(e->source, AGT_EVENT_OLD)))
        return agt__fail(err, AGT_NOT_FOUND,
                         "event %llu is of agent-trace 0.1.0, which kept what the document held, "
                         "not what it refused: see .agent-trace/%srejected",
                         (unsigned long long)seq, s->stands_on ? "" : "backup-0.1.0/");
    return agt__fail(err, AGT_NOT_FOUND, "event %llu refused no bytes", (unsigned long long)seq);
}

static bool history_is_refused(const agt_store *s, const agt_buf *bytes, const void *want) {
    unsigned char sha[32];
    agt__sha256(s->cpu, bytes->data, bytes->len, sha);
    return memcmp(sha, want, sizeof sha) == 0;
}

/* The bytes that the name stands for, from rejected/ or, where they wait, from their record. */
static agt_status history_refused(agt_store *s, uint64_t seq, const char *name, const void *want,
                                  agt_buf *bytes, agt_error *err) {
    agt_error why;
    why.status = AGT_OK;
    agt_status st = agt__read_file(s->sys, s->rejected, name, AGT_REJECTED_MAX, bytes, &why);
    if (st == AGT_OK && history_is_refused(s, bytes, want)) return AGT_OK;
    if (st == AGT_NOMEM) return agt__answer(st, &why, err);
    bytes->len = 0;
    agt_status waits = agt__store_enter(s, err);
    if (waits != AGT_OK) return waits;
    waits = agt__journalled_content(s, seq, bytes, NULL);
    agt__store_leave(s);
    if (waits == AGT_NOMEM) return agt__nomem(err);
    if (waits == AGT_OK && history_is_refused(s, bytes, want)) return AGT_OK;
    if (st == AGT_NOT_FOUND)
        return agt__fail(err, st, "the bytes that event %llu refused are not kept",
                         (unsigned long long)seq);
    if (st != AGT_OK) return agt__answer(st, &why, err);
    return agt__fail(err, AGT_CORRUPT, ".agent-trace/rejected/%s is not what its name says", name);
}

AGENT_TRACE_API agt_status agt_read_refused(agt_store *store, uint64_t seq, agt_bytes *out,
                                            agt_error *err) {
    unsigned char want[32];
    char name[72];
    agt_event e = AGT_EVENT_INIT;
    AGENT_TRACE_ASSERT(store && out);
    memset(out, 0, sizeof *out);
    agt_buf line = agt__buf(&store->mem), scratch = agt__buf(&store->mem);
    agt_buf bytes = agt__buf(&store->mem);
    agt_status st = history_violation(store, seq, &line, &scratch, &e, err);
    bool named = st == AGT_OK && agt__unhex(e.rejected.data, e.rejected.len, want, sizeof want) &&
                 agt__copy_text(name, sizeof name, e.rejected.data, e.rejected.len);
    if (st == AGT_OK && !named)
        st = agt__fail(err, AGT_CORRUPT, "event %llu names no bytes", (unsigned long long)seq);
    if (st == AGT_OK) st = history_refused(store, seq, name, want, &bytes, err);
    if (st == AGT_OK) st = agt__buf_give(&bytes, out, err);
    agt__buf_free(&line);
    agt__buf_free(&scratch);
    agt__buf_free(&bytes);
    return st;
}
