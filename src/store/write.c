/* write: from a change to a record, and from a record to the files.
 *
 * plan     who, where, may they (perm), what lies there (look), is it the expected version, is it
 *          new at all; the temporary file is written so that apply can hardly fail
 * append   one pwrite of the whole record
 * sync     at full durability one fdatasync: the commit point
 * apply    the trace's lines, then the documents by rename
 * save     the shared state
 *
 * (1) Nothing is applied that is not appended, and at full nothing that is not synced.
 * (2) A failure before the commit point leaves no trace but memory; the record's magic is zeroed
 *     where the append itself failed.
 * (3) A failure after it is not the caller's: result.apply_pending, and the next lock holder tries
 *     again.
 * (4) An edit that a look finds goes into the record before the change, as the user's. */
#include "write.h"

#include <stdio.h>

/* ---- checks without a lock ---- */

static agt_status write_check_text(const char *what, const char *s, size_t max, agt_error *err) {
    size_t n = s ? strlen(s) : 0;
    if (n > max) return agt__fail(err, AGT_LIMIT, "%s has more than %zu bytes", what, max);
    size_t valid = agt__utf8_valid(s, n);
    if (valid != n)
        return agt__fail_at(err, AGT_INVALID, (int64_t)valid, "%s is not valid UTF-8", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return agt__fail_at(err, AGT_INVALID, (int64_t)i,
                                "%s has a control character; use one line of text", what);
    return AGT_OK;
}

static agt_status write_check_caller(const agt_caller *c, agt_error *err) {
    char shown[100];
    if (!c->actor || !agt__actor_valid(c->actor, strlen(c->actor))) {
        const char *a = c->actor ? c->actor : "(none)";
        return agt__fail(err, AGT_INVALID,
                         "actor '%s' is not valid; use user, system or agent:<name>",
                         agt__show_path(shown, sizeof shown, a, strlen(a)));
    }
    if (c->session && !agt__session_valid(c->session, strlen(c->session)))
        return agt__fail(err, AGT_INVALID,
                         "session '%s' is not valid; use 1 to 64 of A-Z a-z 0-9 . _ : -",
                         agt__show_path(shown, sizeof shown, c->session, strlen(c->session)));
    if (c->source && !agt__word_valid(c->source, strlen(c->source), false))
        return agt__fail(err, AGT_INVALID, "the source is not valid; use 1 to 64 of a-z 0-9 _");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__plan_check(agt_plan *p, agt_error *err) {
    const agt_write_options *o = &p->options;
    agt_status st = write_check_caller(&p->caller, err);
    if (st == AGT_OK && p->given_path)
        st = agt__path_normalise(p->given_path, strlen(p->given_path), p->path, &p->path_len, err);
    if (st == AGT_OK) st = write_check_text("the summary", o->summary, AGT_MAX_SUMMARY, err);
    if (st != AGT_OK) return st;
    if (o->type > AGT_TYPE_SCRATCH || o->check_version > 1 || o->has_time > 1 ||
        o->durability > AGT_DURABLE_PROCESS)
        return agt__fail(err, AGT_INVALID, "a write option has a value that is none");
    if (o->has_time && (o->at_unix_ms < 0 || o->at_unix_ms > AGT_TIME_MAX))
        return agt__fail(err, AGT_INVALID, "the author's time is before 1970 or after 9999");
    if (p->len > AGT_MAX_DOCUMENT)
        return agt__fail(err, AGT_LIMIT, "the document has more than %u bytes",
                         (unsigned)AGT_MAX_DOCUMENT);
    return AGT_OK;
}

/* ---- building records ---- */

AGT_PRIVATE void agt__txn_begin(agt_txn *t, agt_store *s, agt_plan *plans, bool full, bool atomic) {
    memset(t, 0, sizeof *t);
    t->s = s;
    t->full = full;
    t->atomic = atomic;
    t->draft = s->shared;
    t->plans = plans;
    t->now_unix_ms = s->sys->now_unix_ms(s->sys->ctx);
    if (t->now_unix_ms < 0) t->now_unix_ms = 0;
    if (t->now_unix_ms > AGT_TIME_MAX) t->now_unix_ms = AGT_TIME_MAX;
    s->lines.len = 0;
    if (t->draft.trace.offset >= AGT_SEGMENT_MAX) {
        t->draft.trace.segment = t->draft.next_seq;
        t->draft.trace.offset = 0;
    }
    s->record.len = 0;
    s->record.failed = false;
    t->flushed = t->draft;
}

AGT_PRIVATE void agt__txn_record_begin(agt_txn *t) {
    agt_store *s = t->s;
    t->record_start = s->record.len;
    t->record_lines = s->lines.len;
    memset(&t->record, 0, sizeof t->record);
    t->record.generation = s->journal.header.generation;
    t->record.first_seq = t->draft.next_seq;
    t->record.segment = t->draft.trace.segment;
    t->record.trace_offset = t->draft.trace.offset;
    t->record.recorded_unix_ms = t->now_unix_ms;
    (void)agt__record_begin(&s->record);
}

static agt_status write_side_file(agt_txn *t, uint64_t seq, const void *bytes, size_t len,
                                  agt_error *err) {
    char name[40];
    agt__side_name(seq, name);
    t->side_bytes += len;
    /* whatever the level: a later sync of the journal makes the record durable that names it */
    return agt__write_file(t->s->sys, t->s->unpublished, name, bytes, len, true, err);
}

/* Adds one event, with its content, to the record being built. Fills e->seq and e->prev. */
static agt_status write_add(agt_txn *t, agt_event *e, const void *content, size_t len,
                            bool has_content, bool *side, agt_error *err) {
    agt_store *s = t->s;
    char prev[64], replica[16];
    uint32_t flags = has_content ? AGT_ENTRY_CONTENT : 0;
    size_t from = s->lines.len;
    e->seq = t->draft.next_seq + t->record.entries;
    agt__hex(t->draft.trace.prev, 32, prev);
    agt__hex(s->journal.header.replica, 8, replica);
    e->prev = (agt_text){prev, 64};
    e->replica = (agt_text){replica, 16};
    agt_status st = agt__event_format(&s->lines, e, err);
    if (st != AGT_OK) {
        s->lines.len = from;
        return st;
    }
    if (has_content && (len > AGT_INLINE_MAX || t->inline_bytes + len > AGT_BATCH_INLINE)) {
        flags |= AGT_ENTRY_SIDE;
        if (side) *side = true;
        st = write_side_file(t, e->seq, content, len, err);
        if (st != AGT_OK) {
            s->lines.len = from;
            return st;
        }
    } else if (has_content)
        t->inline_bytes += len;
    agt__record_put(&s->record, flags, s->lines.data + from, s->lines.len - from, content, len);
    agt__sha256(s->cpu, s->lines.data + from, s->lines.len - from, t->draft.trace.prev);
    t->record.entries++;
    e->prev = e->replica = (agt_text){NULL, 0};
    return AGT_OK;
}

/* The fields every event of a caller has. */
static void write_base_event(const agt_txn *t, const agt_plan *p, agt_event *e) {
    static const agt_event blank = AGT_EVENT_INIT;
    *e = blank;
    e->recorded_unix_ms = t->now_unix_ms;
    e->at_unix_ms = p->options.has_time ? p->options.at_unix_ms : t->now_unix_ms;
    e->actor = agt__text(p->caller.actor);
    e->agent_name = agt__actor_agent(e->actor);
    e->session_id = agt__text(p->caller.session);
    e->source = e->detected_by = agt__text(p->caller.source ? p->caller.source : "api");
    if (p->path_len) e->path = (agt_text){p->path, p->path_len};
}

AGT_PRIVATE agt_status agt__txn_event(agt_txn *t, const agt_plan *p, const char *action,
                                      agt_error *err) {
    agt_event e;
    write_base_event(t, p, &e);
    e.action = e.change_kind = agt__text(action);
    e.summary = agt__text(p->options.summary ? p->options.summary : "");
    return write_add(t, &e, NULL, 0, false, NULL, err);
}

/* A version of the plan's document: the row's next one. */
typedef struct write_version {
    agt_event e;
    char blob[40], summary[AGT_MAX_PATH + 80];
} write_version;

static agt_status write_doc_id(agt_txn *t, agt_row *row, agt_error *err) {
    char uuid[40];
    if (row->doc[0]) return AGT_OK;
    agt_status st = agt__uuid(t->s->sys, uuid, err);
    if (st == AGT_OK) memcpy(row->doc, uuid, 37);
    return st;
}

static void write_version_event(agt_plan *p, const char *action, uint32_t version,
                                uint64_t doc_prev, const agt_oid *blob, const agt_buf *old,
                                const void *bytes, size_t len, agt_type type, const agt_mem *mem,
                                write_version *v) {
    agt_event *e = &v->e;
    e->action = e->change_kind = agt__text(action);
    e->version = version;
    e->doc_prev = doc_prev;
    e->doc = agt__text(p->row->doc);
    e->doc_type = agt__text(agt_type_name(type));
    if (blob) {
        agt__hex(blob->id, 20, v->blob);
        e->blob = (agt_text){v->blob, 40};
    }
    agt__lines_changed(mem, old->data, old->len, bytes, blob ? len : 0, &e->lines_added,
                       &e->lines_removed);
    if (e->summary.data) return;
    int n = snprintf(v->summary, sizeof v->summary, "%s: +%lld -%lld", p->path,
                     (long long)e->lines_added, (long long)e->lines_removed);
    e->summary = (agt_text){v->summary, n > 0 ? (size_t)n : 0};
}

/* ---- edits made behind the store's back (4) ---- */

static agt_type write_row_type(const agt_plan *p) {
    return p->row->version ? p->row->type : agt__perm_type(AGT_TYPE_SCRATCH, p->path, p->path_len);
}

/* The newest recorded bytes, to count lines against; empty where they cannot be had. */
static void write_recorded_bytes(agt_store *s, const agt_row *row, agt_buf *out) {
    if (!row->exists || agt__journalled_content(s, row->last_seq, out, NULL) == AGT_OK) return;
    out->len = 0;
    if (agt__git_content(s, &row->blob, out, NULL) != AGT_OK) out->len = 0;
}

/* Makes a record for what was found on disk; `now` then counts it. */
static agt_status write_add_edit(agt_txn *t, agt_plan *p, const agt_look *look, agt_row *now,
                                 agt_error *err) {
    agt_store *s = t->s;
    write_version v;
    agt_plan user = *p;
    agt_buf before = agt__buf(&s->mem);
    write_recorded_bytes(s, now, &before);
    memset(&user.options, 0, sizeof user.options);
    user.caller.actor = "user";
    user.caller.session = NULL;
    user.caller.source = "poll";
    write_base_event(t, &user, &v.e);
    const char *action = !look->on_disk ? "delete" : now->exists ? "modify" : "create";
    write_version_event(p, action, now->version + 1, now->last_seq,
                        look->on_disk ? &look->blob : NULL, &before, s->old.data, s->old.len,
                        write_row_type(p), &s->mem, &v);
    agt__buf_free(&before);
    agt__txn_record_begin(t);
    agt_status st = write_add(t, &v.e, s->old.data, s->old.len, look->on_disk, NULL, err);
    agt__unstage(s, v.e.seq); /* as in write_stage */
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st != AGT_OK) return st;
    now->version++;
    now->last_seq = v.e.seq;
    now->exists = look->on_disk;
    now->blob = look->blob;
    p->result.edit_recorded = 1;
    return AGT_OK;
}

/* ---- deciding ---- */

static agt_status write_refuse(agt_txn *t, agt_plan *p, const char *action, agt_type type,
                               const char *why, agt_error *err) {
    agt_store *s = t->s;
    unsigned char sha[32];
    char rejected[64], summary[AGT_MAX_PATH + 400], shown[200];
    agt_event e;
    agt_text kept = {NULL, 0};
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_status denied =
        agt__fail(err, AGT_DENIED, "%s may not %s %s: %s", p->caller.actor, action, shown, why);
    if (!p->remove) {
        agt__sha256(s->cpu, p->bytes, p->len, sha);
        agt__hex(sha, 32, rejected);
        kept = (agt_text){rejected, 64};
    }
    write_base_event(t, p, &e);
    if (t->atomic || agt__catalog_refused(&s->catalog, agt__refusal_hash(e.actor, e.path, kept)))
        return denied; /* folded; or a batch, which records nothing unless all is allowed */
    int n = snprintf(summary, sizeof summary, "violation: %s attempted %s on %s: %s",
                     p->caller.actor, action, p->path, why);
    e.summary = (agt_text){summary, n > 0 ? (size_t)n : 0};
    e.action = agt__text("violation");
    e.change_kind = agt__text(action);
    e.doc_type = agt__text(agt_type_name(type));
    e.rejected = kept;
    if (p->row && p->row->version) {
        e.doc = agt__text(p->row->doc);
        e.doc_prev = p->row->last_seq;
    }
    agt__txn_record_begin(t);
    agt_status st = write_add(t, &e, p->bytes, p->len, !p->remove, NULL, err);
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st != AGT_OK) return st;
    p->result.seq = e.seq;
    return denied;
}

static bool write_is_under(const agt_plan *p, const agt_plan *folder) {
    return p->path_len > folder->path_len && p->path[folder->path_len] == '/' &&
           memcmp(p->path, folder->path, folder->path_len) == 0;
}

/* The same among the changes of a batch, whose documents are not in the catalog yet. */
static agt_status write_clash_batch(const agt_txn *t, size_t index, agt_error *err) {
    const agt_plan *p = &t->plans[index];
    char shown[200], theirs[200];
    for (size_t i = 0; i < index; i++) {
        const agt_plan *q = &t->plans[i];
        if (q->remove) continue;
        bool same = agt__path_fold_compare(q->path, q->path_len, p->path, p->path_len) == 0;
        if (!same && !write_is_under(p, q) && !write_is_under(q, p)) continue;
        agt__show_path(shown, sizeof shown, p->path, p->path_len);
        return agt__fail(err, AGT_INVALID,
                         same ? "%s and %s in one batch differ only in upper and lower case"
                              : "%s and %s in one batch: one stands where the other needs a folder",
                         shown, agt__show_path(theirs, sizeof theirs, q->path, q->path_len));
    }
    return AGT_OK;
}

static agt_status write_clash(agt_txn *t, size_t index, agt_error *err) {
    agt_row other;
    agt_store *s = t->s;
    const agt_plan *p = &t->plans[index];
    char shown[200], theirs[200];
    if (t->atomic) {
        agt_status st = write_clash_batch(t, index, err);
        if (st != AGT_OK) return st;
    }
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (agt__catalog_case_clash(&s->catalog, p->path, p->path_len, &other))
        return agt__fail(err, AGT_INVALID,
                         "%s differs only in upper and lower case from the document %s; use that "
                         "name",
                         shown, agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    if (agt__catalog_has_under(&s->catalog, p->path, p->path_len))
        return agt__fail(err, AGT_INVALID, "%s is a folder of documents; use another name", shown);
    for (size_t i = 1; i < p->path_len; i++)
        if (p->path[i] == '/' && agt__catalog_find(&s->catalog, p->path, i, &other) && other.exists)
            return agt__fail(err, AGT_INVALID,
                             "%s: the document %s stands where a folder is needed", shown,
                             agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    return AGT_OK;
}

/* Type and permission. `*type` is what the document is or becomes. */
static agt_status write_permit(agt_txn *t, agt_plan *p, agt_type *type, agt_error *err) {
    const char *why;
    agt_row *row = p->row;
    char shown[200];
    agt_type asked = (agt_type)p->options.type;
    *type = row->version ? row->type : asked ? asked : AGT_TYPE_SCRATCH;
    *type = row->version ? *type : agt__perm_type(*type, p->path, p->path_len);
    if (asked && asked != *type)
        return agt__fail(err, AGT_INVALID, "%s is a %s document, not %s; leave the type out",
                         agt__show_path(shown, sizeof shown, p->path, p->path_len),
                         agt_type_name(*type), agt_type_name(asked));
    agt_actor_kind kind = agt__actor_kind(agt__text(p->caller.actor));
    agt_status st = agt__perm_decide(kind, agt__perm_type(*type, p->path, p->path_len),
                                     p->caller.confirm != 0, &why);
    if (st == AGT_NEEDS_CONFIRMATION)
        return agt__fail(err, st, "%s: %s",
                         agt__show_path(shown, sizeof shown, p->path, p->path_len), why);
    if (st == AGT_DENIED) {
        const char *action = p->remove ? "delete" : row->exists ? "modify" : "create";
        return write_refuse(t, p, action, *type, why, err);
    }
    return st;
}

/* What lies at the path, seen through changes of the same transaction; records an edit. */
static agt_status write_look(agt_txn *t, agt_plan *p, agt_row *now, agt_error *err) {
    agt_store *s = t->s;
    agt_look *look = &p->place.before;
    if (p->row->pending) {
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        *look = earlier->place.before;
        s->old.len = 0;
        if (earlier->kind == AGT_PLAN_WRITE) agt__buf_put(&s->old, earlier->bytes, earlier->len);
        return s->old.failed ? (s->old.failed = false, agt__nomem(err)) : AGT_OK;
    }
    bool pending = false;
    agt_status st = agt__look(s, p->path, p->path_len, &s->old, look, err);
    if (st == AGT_INVALID && p->remove && look->stat.kind == AGT_FILE_FOLDER) {
        memset(look, 0, sizeof *look); /* a person made a folder of it: it is gone */
        s->old.len = 0;
        st = AGT_OK;
    }
    if (st != AGT_OK) return st;
    bool same = look->on_disk == now->exists &&
                (!look->on_disk || memcmp(look->blob.id, now->blob.id, 20) == 0);
    if (same) return AGT_OK;
    agt_waiting waiting = agt__waiting(s, true);
    if ((st = agt__look_pending(s, &waiting, now, look, &pending, err)) != AGT_OK) return st;
    if (!pending) return write_add_edit(t, p, look, now, err);
    s->old.len = 0; /* what is in the journal is what changes */
    return now->exists ? agt__journalled_content(s, now->last_seq, &s->old, err) : AGT_OK;
}

static agt_status write_expected(const agt_plan *p, const agt_row *now, agt_error *err) {
    char shown[200];
    uint32_t current = now->exists ? now->version : 0;
    if (!p->options.check_version || p->options.expected_version == current) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (!current) return agt__fail(err, AGT_CONFLICT, "%s does not exist", shown);
    return agt__fail(err, AGT_CONFLICT, "%s is at version %u, not %u; read it and try again", shown,
                     (unsigned)current, (unsigned)p->options.expected_version);
}

static agt_status write_stage(agt_txn *t, size_t index, uint64_t seq, agt_error *err) {
    agt_plan *p = &t->plans[index];
    p->place.path = p->path;
    p->place.path_len = p->path_len;
    p->place.seq = seq;
    p->place.remove = p->remove;
    agt_status st = agt__target(t->s, p->path, p->path_len, err);
    if (st != AGT_OK) return st;
    if (!p->remove) {
        st = agt__stage(t->s, &p->place, p->bytes, p->len, err);
        if (st != AGT_OK) return st;
        p->staged = true;
    } else
        agt__unstage(t->s, seq); /* of a writer that died before it recorded what it staged */
    p->kind = p->remove ? AGT_PLAN_REMOVE : AGT_PLAN_WRITE;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__txn_look(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    char shown[200];
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (!(p->row = agt__catalog_touch(&s->catalog, p->path, p->path_len))) return agt__nomem(err);
    p->result.version = p->row->exists ? p->row->version : 0;
    if (p->row->pending && t->atomic)
        return agt__fail(err, AGT_INVALID, "%s stands twice in the batch", shown);
    agt_status st = write_permit(t, p, &p->type, err);
    if (st == AGT_OK && !p->row->exists) st = write_clash(t, index, err);
    if (st == AGT_OK) st = write_doc_id(t, p->row, err);
    if (st != AGT_OK) return st;
    p->now = *p->row;
    if ((st = write_look(t, p, &p->now, err)) != AGT_OK) return st;
    p->result.version = p->now.exists ? p->now.version : 0;
    if ((st = write_expected(p, &p->now, err)) != AGT_OK) return st;
    if (p->remove && !p->now.exists)
        return agt__fail(err, AGT_NOT_FOUND, "%s: no such document", shown);
    if (p->remove) return AGT_OK;
    agt__git_id(s->cpu, "blob", p->bytes, p->len, p->blob.id);
    if (p->now.exists && memcmp(p->blob.id, p->now.blob.id, 20) == 0) {
        p->result.unchanged = 1;
        t->wants_sync = true;
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__txn_change(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    write_version v;
    agt_look again;
    agt_status st = AGT_OK;
    const char *action = p->remove       ? "delete"
                         : p->restore    ? "restore"
                         : p->now.exists ? "modify"
                                         : "create";
    if (t->atomic && t->count > 1) /* the old bytes, to count lines: others were looked at since */
        st = agt__look(s, p->path, p->path_len, &s->old, &again, err);
    if (st == AGT_OK) st = write_stage(t, index, t->draft.next_seq + t->record.entries, err);
    if (st != AGT_OK) return st;
    write_base_event(t, p, &v.e);
    v.e.summary = agt__text(p->options.summary);
    write_version_event(p, action, p->now.version + 1, p->now.last_seq, p->remove ? NULL : &p->blob,
                        &s->old, p->bytes, p->len, p->type, &s->mem, &v);
    st = write_add(t, &v.e, p->bytes, p->len, !p->remove, &p->side, err);
    if (st != AGT_OK) return st;
    p->result.version = p->now.version + 1;
    p->result.seq = v.e.seq;
    return AGT_OK;
}

AGT_PRIVATE void agt__plan_nothing(agt_plan *p) {
    p->result.edit_recorded = p->result.unchanged = 0;
    p->result.seq = 0;
    p->result.version = p->row && p->row->exists ? p->row->version : 0;
}

AGT_PRIVATE agt_status agt__txn_single(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_error flush;
    agt_status answer = agt__txn_look(t, index, err), st = AGT_OK;
    if (answer == AGT_OK && !p->result.unchanged) {
        agt__txn_record_begin(t);
        answer = agt__txn_change(t, index, err);
        if (answer == AGT_OK) answer = agt__txn_seal(t, err);
    }
    if (agt_status_is_error(answer))
        agt__txn_rollback(t);
    else
        st = agt__txn_flush(t, &flush);
    if (st != AGT_OK) {
        if (err) *err = flush;
        answer = st;
    }
    if (agt_status_is_error(answer)) {
        agt__txn_discard(t, index, index + 1);
        agt__plan_nothing(p);
    }
    p->result.status = answer;
    return answer;
}

/* ---- append ---- */

/* (2) */
static agt_status write_append(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    static const unsigned char zeros[8] = {0};
    uint64_t at = t->flushed.end, room = s->journal.header.capacity - at;
    t->no_room = s->record.len > room;
    if (t->no_room)
        return agt__fail(err, AGT_LIMIT,
                         "the change needs %zu bytes of journal and %llu are free; something keeps "
                         "the journal from being emptied, see 'agent-trace status'",
                         s->record.len, (unsigned long long)room);
    int rc = agt__write_all(s->sys, s->journal.fd, s->record.data, s->record.len, at);
    if (rc == 0) return AGT_OK;
    agt_status st = agt__fail_io(err, rc, "cannot append to .agent-trace/journal");
    /* synced, or a power cut could keep the record and lose that it was taken back */
    rc = agt__write_all(s->sys, s->journal.fd, zeros, sizeof zeros, at);
    if (rc == 0) rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc < 0) {
        t->unknown = true;
        s->shared.failed = 1; /* nobody may append behind what cannot be taken back */
        agt__store_save(s);
        if (err) err->outcome_unknown = 1;
    }
    return st;
}

AGT_PRIVATE agt_status agt__txn_seal(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    if (!t->record.entries) {
        s->record.len = t->record_start;
        return AGT_OK;
    }
    if (s->lines.failed || s->record.failed) st = agt__nomem(err);
    if (st == AGT_OK)
        st = agt__record_end(&s->record, t->record_start, s->cpu, t->draft.chain, &t->record, err);
    if (st != AGT_OK) return st; /* the caller rolls back */
    t->draft.end += t->record.length;
    t->draft.next_seq += t->record.entries;
    t->draft.chain = t->record.crc;
    t->draft.trace.offset += s->lines.len - t->record_lines;
    t->record.entries = 0;
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_rollback(agt_txn *t) {
    t->draft = t->flushed;
    t->s->lines.len = t->flushed_lines;
    t->s->record.len = 0;
    t->s->lines.failed = t->s->record.failed = false;
    t->record.entries = 0;
    t->inline_bytes = 0;
}

/* From here on the records count: a catalog that cannot follow is loaded anew at the next lock. */
static void write_flushed(agt_txn *t) {
    agt_store *s = t->s;
    agt_record r;
    uint64_t seq = t->flushed.next_seq;
    uint32_t chain = t->flushed.chain;
    for (size_t at = 0; at < s->record.len; at += r.length, seq += r.entries, chain = r.crc) {
        agt_status st = agt__record_parse(s->record.data + at, s->record.len - at, s->cpu,
                                          s->journal.header.generation, seq, chain, &r);
        AGENT_TRACE_ASSERT(st == AGT_OK);
        if (st != AGT_OK || agt__store_record_rows(s, &r, NULL) != AGT_OK) {
            s->reload = true;
            break;
        }
    }
    s->seen.pos = t->draft.end;
    s->seen.next_seq = t->draft.next_seq;
    s->seen.chain = t->draft.chain;
    s->record.len = 0;
    t->flushed = t->draft;
    t->flushed_lines = s->lines.len;
    t->inline_bytes = 0;
    t->appended = true;
}

AGT_PRIVATE agt_status agt__txn_flush(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    if (!s->record.len) return AGT_OK;
    if (!agt__flock_still(&s->lock)) { /* somebody else may hold another file of that name */
        agt__txn_rollback(t);
        return agt__fail(err, AGT_IO,
                         ".agent-trace/locks/store.lock was removed or replaced while it was held; "
                         "try again");
    }
    agt_status st = agt__trace_reserve(&s->trace, t->flushed.trace.segment, t->flushed.trace.offset,
                                       s->lines.len - t->flushed_lines, err);
    if (st == AGT_OK) st = write_append(t, err);
    if (st == AGT_OK)
        write_flushed(t);
    else
        agt__txn_rollback(t);
    return st;
}

AGT_PRIVATE void agt__txn_took(agt_txn *t, size_t index) {
    agt_plan *p = &t->plans[index];
    if (p->kind == AGT_PLAN_NONE) return;
    if (p->row->pending) { /* the earlier change's file would be replaced at once: leave it out */
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        agt__unstage(t->s, earlier->place.seq);
        earlier->staged = false;
        earlier->kind = AGT_PLAN_NONE;
    }
    p->row->pending = (uint32_t)index + 1;
}

/* ---- commit ---- */

static agt_status write_sync(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc == 0) {
        t->draft.synced = t->draft.end;
        return AGT_OK;
    }
    s->shared.failed = 1; /* finding: after a failed sync neither reads nor later syncs tell */
    s->reload = true;
    agt__store_save(s);
    agt_status st = agt__fail_io(err, rc,
                                 "cannot sync .agent-trace/journal; whether the change survives "
                                 "is unknown; close and open the store to find out");
    if (err) err->outcome_unknown = 1;
    return st;
}

static bool write_apply_plan(agt_txn *t, agt_plan *p) {
    agt_store *s = t->s;
    if (p->kind == AGT_PLAN_NONE) return true;
    agt_status st = agt__place(s, &p->place, &s->waits);
    p->result.edit_kept_aside = p->place.kept_aside;
    p->result.apply_pending = st != AGT_OK;
    if (st == AGT_OK && p->kind == AGT_PLAN_WRITE && !s->reload)
        agt__row_stat(p->row, &p->place.after);
    return st == AGT_OK;
}

static bool write_apply(agt_txn *t) {
    agt_store *s = t->s;
    bool all = true;
    uint64_t at = t->draft.trace.offset - s->lines.len;
    if (agt__trace_put(&s->trace, t->draft.trace.segment, at, s->lines.data, s->lines.len, NULL) !=
        AGT_OK)
        all = false;
    for (size_t i = t->first; i < t->count; i++) {
        agt_plan *p = &t->plans[i];
        if (p->result.status == AGT_DENIED && p->result.seq && !p->remove) {
            unsigned char sha[32];
            char name[64];
            agt__sha256(s->cpu, p->bytes, p->len, sha);
            agt__hex(sha, 32, name);
            /* synced at every level: a checkpoint takes the record and knows no such file */
            if (agt__keep_rejected(s, (agt_text){name, 64}, p->bytes, p->len, NULL) != AGT_OK)
                all = false;
        }
        if (!write_apply_plan(t, p)) all = false;
        if (p->row) p->row->pending = 0;
    }
    return all;
}

AGT_PRIVATE agt_status agt__txn_commit(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    uint64_t was_applied = s->shared.applied, was_end = s->shared.end;
    bool unsynced = t->draft.synced < t->draft.end;
    if (t->full && unsynced && (t->appended || t->wants_sync)) {
        if ((st = write_sync(t, err)) != AGT_OK) {
            agt__txn_discard(t, t->first, t->count);
            return st;
        }
        if (!t->appended) {
            s->shared.synced = t->draft.synced;
            agt__store_save(s);
        }
    }
    if (!t->appended) return AGT_OK;
    bool all = write_apply(t);
    if (all && was_applied == was_end) {
        t->draft.applied = t->draft.end;
        t->draft.applied_seq = t->draft.next_seq;
        t->draft.applied_chain = t->draft.chain;
    }
    t->draft.flip = s->shared.flip;
    s->shared = t->draft;
    agt__store_save(s);
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_discard(agt_txn *t, size_t from, size_t to) {
    char name[40];
    for (size_t i = from; i < to; i++) {
        agt_plan *p = &t->plans[i];
        if (p->staged) agt__unstage(t->s, p->place.seq);
        if (p->side && !t->unknown &&
            p->place.seq >= t->flushed.next_seq) { /* no record names it */
            agt__side_name(p->place.seq, name);
            (void)t->s->sys->remove(t->s->sys->ctx, t->s->unpublished, name);
        }
        if (p->row && p->row->pending == i + 1) p->row->pending = 0; /* not an earlier change's */
        p->staged = p->side = false;
        p->kind = AGT_PLAN_NONE;
    }
}
