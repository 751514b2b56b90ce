/* write: from a change to an event. Who, where, may they (perm), what lies there (look), is it the
 * expected version, is it new at all; the temporary file is written before anything is recorded, so
 * that applying the record can hardly fail.
 *
 * (1) An edit that a look finds goes into the record before the change, as the user's. */
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
/* ---- events ---- */
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
    return agt__txn_add(t, &e, NULL, 0, false, NULL, err);
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

/* ---- edits made behind the store's back (1) ---- */

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
                        p->type, &s->mem, &v);
    agt__buf_free(&before);
    agt__txn_record_begin(t);
    agt_status st = agt__txn_add(t, &v.e, s->old.data, s->old.len, look->on_disk, NULL, err);
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
    agt_status st = agt__txn_add(t, &e, p->bytes, p->len, !p->remove, NULL, err);
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
    if (agt__look_is(look, now->exists, &now->blob)) return AGT_OK;
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
    st = agt__txn_add(t, &v.e, p->bytes, p->len, !p->remove, &p->side, err);
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
