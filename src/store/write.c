/* write: from a change to an event. Who, where, may they (perm), what lies there (look), is it the
 * expected version, is it new at all; the temporary file is written before anything is recorded, so
 * that applying the record can hardly fail.
 *
 * (1) An edit that a look finds goes into the record before the change, as the user's. */
#include "write.h"

#include <stdio.h>

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

static agt_status write_doc_id(agt_txn *t, agt_row *now, agt_error *err) {
    char uuid[40];
    if (now->doc[0]) return AGT_OK;
    agt_status st = agt__uuid(t->s->sys, uuid, err);
    if (st == AGT_OK) memcpy(now->doc, uuid, 37);
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
    e->doc = agt__text(p->now.doc);
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

/* Makes a record for what was found on disk. */
static agt_status write_record_edit(agt_txn *t, agt_plan *p, const agt_look *look, agt_row *now,
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
    now->last_seq = v.e.seq;
    return st;
}

/* What was found on disk becomes a version; `now` then counts it. */
static agt_status write_add_edit(agt_txn *t, agt_plan *p, const agt_look *look, agt_row *now,
                                 agt_error *err) {
    agt_status st = t->asks ? AGT_OK : write_record_edit(t, p, look, now, err);
    if (st != AGT_OK) return st;
    now->version++;
    now->exists = look->on_disk;
    now->blob = look->blob;
    p->result.edit_recorded = 1;
    return AGT_OK;
}

/* ---- deciding ---- */

/* Why, and what it was to become: refusals that differ in that are two. */
static agt_text write_refusal_summary(const agt_plan *p, const char *action, const char *why,
                                      bool too_long, char *out, size_t size) {
    bool grants = p->action == AGT_ACTION_UNLOCK || p->action == AGT_ACTION_REVOKE;
    bool types = p->action == AGT_ACTION_RECLASSIFY;
    const char *to = p->to_len ? p->to_path : types ? agt_type_name(p->to) : grants ? p->grant : "";
    const char *how = !to[0] ? "" : grants ? "for " : "to ";
    int n = snprintf(out, size, "violation: %s attempted %s on %s: %s%s%s%s%s", p->caller.actor,
                     action, p->path, how, to, to[0] ? ": " : "", why,
                     too_long ? "; more than 32 MiB, which are not kept" : "");
    return (agt_text){out, n > 0 ? (size_t)n : 0};
}

static agt_status write_refuse(agt_txn *t, agt_plan *p, const char *why, agt_error *err) {
    agt_store *s = t->s;
    unsigned char sha[32];
    char rejected[64], summary[2 * AGT_MAX_PATH + 400], shown[200];
    const char *action = agt__action_name(p->action, p->now.exists);
    agt_event e;
    agt_text kept = {NULL, 0};
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_status denied =
        agt__fail(err, AGT_DENIED, "%s may not %s %s: %s", p->caller.actor, action, shown, why);
    if (agt__plan_brings(p)) {
        agt__sha256(s->cpu, p->bytes, p->len, sha);
        agt__hex(sha, 32, rejected);
        kept = (agt_text){rejected, 64};
    }
    write_base_event(t, p, &e);
    e.change_kind = agt__text(action);
    bool too_long = kept.data && p->len > AGT_REJECTED_MAX;
    e.summary = write_refusal_summary(p, action, why, too_long, summary, sizeof summary);
    e.rejected = kept;
    if (t->asks || t->atomic || agt__catalog_refused(&s->catalog, &e))
        return denied; /* folded; or a batch, which records nothing unless all is allowed */
    e.action = agt__text("violation");
    e.doc_type = agt__text(agt_type_name(p->type));
    if (p->now.version) {
        e.doc = agt__text(p->now.doc);
        e.doc_prev = p->now.last_seq;
    }
    agt__txn_record_begin(t);
    bool brings = kept.data && !too_long;
    agt_error add;
    memset(&add, 0, sizeof add);
    agt_status st = agt__txn_add(t, &e, p->bytes, p->len, brings, NULL, &add);
    if (st == AGT_IO && brings) /* no room for a side file: the refusal counts, its bytes do not */
        st = agt__txn_add(t, &e, NULL, 0, false, NULL, &add);
    if (st != AGT_OK && err) *err = add;
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st != AGT_OK) return st;
    p->result.seq = e.seq;
    return denied;
}

static agt_status write_clash(agt_txn *t, size_t index, agt_error *err) {
    const agt_plan *p = &t->plans[index];
    agt_status st = t->atomic ? agt__plan_clash_batch(t, index, err) : AGT_OK;
    if (st == AGT_OK) st = agt__plan_clash(&t->s->catalog, p->path, p->path_len, NULL, err);
    return st == AGT_OK ? agt__store_below(t->s, p->path, p->path_len, err) : st;
}

static agt_status write_permit(agt_txn *t, agt_plan *p, agt_error *err) {
    const char *why = "";
    char shown[200];
    agt_status st = agt__plan_permit(&t->s->catalog, p, t->now_unix_ms, &why, err);
    if (st == AGT_DENIED) return write_refuse(t, p, why, err);
    if (st != AGT_NEEDS_CONFIRMATION) return st;
    return agt__fail(err, st, "%s: %s", agt__show_path(shown, sizeof shown, p->path, p->path_len),
                     why);
}

/* May the file be another document's under a second spelling or a second name? ASCII case is the
 * plan's (agt__plan_clash); a file with one name and no other letters has no other spelling. */
static bool write_has_spellings(const char *path, size_t len, const agt_look *look) {
    if (look->stat.links > 1) return true;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)path[i] >= 0x80) return true;
    return false;
}

static agt_status write_second_name(const char *path, size_t len, const char *other,
                                    size_t other_len, agt_error *err) {
    char shown[200], theirs[200];
    return agt__fail(err, AGT_INVALID,
                     "%s is the same file as the document %s; use that name, or make it a copy",
                     agt__show_path(shown, sizeof shown, path, len),
                     agt__show_path(theirs, sizeof theirs, other, other_len));
}

static bool write_is_at(agt_store *s, const char *path, size_t len, const agt_stat *file) {
    agt_stat st;
    const char *leaf;
    agt_fd folder = agt__open_parent(s, path, len, false, &leaf);
    if (folder < 0) return false;
    int rc = s->sys->stat(s->sys->ctx, folder, leaf, &st);
    s->sys->close(s->sys->ctx, folder);
    return rc == 0 && agt__same_file(&st, file);
}

AGT_PRIVATE agt_status agt__txn_same_file(const agt_txn *t, const agt_plan *p, const char *path,
                                          size_t len, const agt_look *look, agt_error *err) {
    agt_row other;
    char theirs[AGT_MAX_PATH + 1];
    bool linked = look->stat.links > 1;
    if (!write_has_spellings(path, len, look)) return AGT_OK;
    for (const agt_plan *q = t->plans + t->first; q < p; q++) {
        const agt_look *its = &q->place.before;
        if (its->on_disk && q->result.status == AGT_OK && agt__same_file(&its->stat, &look->stat))
            return write_second_name(path, len, q->path, q->path_len, err);
    }
    for (size_t at = 0;
         agt__catalog_file(&t->s->catalog, look->stat.dev, look->stat.ino, linked, &at, &other);) {
        (void)agt__copy_text(theirs, sizeof theirs, other.path, other.path_len);
        if (write_is_at(t->s, theirs, other.path_len, &look->stat))
            return write_second_name(path, len, theirs, other.path_len, err);
    }
    return AGT_OK;
}

/* What is asked of the document as it is: is it there, or must it not be? */
static agt_status write_exists(agt_plan *p, agt_error *err) {
    char shown[200];
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    bool adds = p->action == AGT_ACTION_ADD;
    bool makes = adds || p->action == AGT_ACTION_WRITE || p->action == AGT_ACTION_RESTORE;
    if (!makes && !p->now.exists)
        return agt__fail(err, AGT_NOT_FOUND, "%s: no such document", shown);
    if (!adds) return AGT_OK;
    if (p->now.exists)
        return agt__fail(err, AGT_CONFLICT, "%s is a document already; write it to change it",
                         shown);
    if (p->waits)
        return agt__fail(err, AGT_BUSY,
                         "%s was deleted, and what is in the way of that must go first", shown);
    if (p->place.before.on_disk) return AGT_OK;
    return agt__fail(err, AGT_NOT_FOUND, "there is no file %s to add", shown);
}

static agt_status write_no_file(const agt_plan *p, agt_error *err) {
    char shown[200];
    return agt__fail(err, AGT_NOT_FOUND,
                     "the file of %s is gone; restore it first, or say where it lies now",
                     agt__show_path(shown, sizeof shown, p->path, p->path_len));
}

/* What lies at the path, seen through changes of the same transaction; records an edit. */
static agt_status write_look(agt_txn *t, agt_plan *p, agt_error *err) {
    agt_store *s = t->s;
    agt_row *now = &p->now;
    agt_look *look = &p->place.before;
    if (p->row->pending) {
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        *look = earlier->place.before;
        s->old.len = 0;
        if (earlier->kind == AGT_PLAN_WRITE) agt__buf_put(&s->old, earlier->bytes, earlier->len);
        return s->old.failed ? (s->old.failed = false, agt__nomem(err)) : AGT_OK;
    }
    bool pending = false;
    bool goes = p->action == AGT_ACTION_DELETE || p->action == AGT_ACTION_UNTRACK;
    if (goes && !now->exists) return write_exists(p, err); /* a file there is somebody's own */
    agt_status st = agt__look(s, p->path, p->path_len, &s->old, look, err);
    if (st == AGT_INVALID && goes && look->stat.kind == AGT_FILE_FOLDER) {
        memset(look, 0, sizeof *look); /* a person made a folder of it: it is gone */
        s->old.len = 0;
        st = AGT_OK;
    }
    if (st != AGT_OK) return st;
    if (agt__look_is(look, now->exists, &now->blob)) return AGT_OK;
    agt_waiting waiting = agt__waiting(s, true);
    if ((st = agt__look_pending(s, &waiting, now, look, &pending, err)) != AGT_OK) return st;
    if (!pending && !now->exists &&
        (st = agt__txn_same_file(t, p, p->path, p->path_len, look, err)) != AGT_OK)
        return st;
    if (!pending && p->action == AGT_ACTION_RENAME && !look->on_disk)
        return write_no_file(p, err); /* that it is gone is no news yet: it may lie elsewhere */
    bool adds = p->action == AGT_ACTION_ADD && !now->exists;
    if (!pending && adds) return AGT_OK; /* it is what the caller adds */
    if (!pending) return write_add_edit(t, p, look, now, err);
    p->waits = true;
    s->old.len = 0; /* what is in the journal is what changes */
    return now->exists ? agt__journalled_content(s, now->last_seq, &s->old, err) : AGT_OK;
}

static agt_status write_expected(const agt_plan *p, const agt_row *now, agt_error *err) {
    char shown[200];
    uint32_t current = now->exists ? now->version : 0;
    if (!p->options.check_version || p->options.expected_version == current) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (!current)
        return agt__fail(err, AGT_CONFLICT, "%s does not exist; only version 0 can be expected",
                         shown);
    return agt__fail(err, AGT_CONFLICT, "%s is at version %u, not %u; read it and try again", shown,
                     (unsigned)current, (unsigned)p->options.expected_version);
}

static agt_status write_stage(agt_txn *t, size_t index, uint64_t seq, agt_error *err) {
    agt_plan *p = &t->plans[index];
    p->place.path = p->path;
    p->place.path_len = p->path_len;
    p->place.seq = seq;
    p->place.remove = p->action == AGT_ACTION_DELETE;
    agt_status st = agt__target(t->s, p->path, p->path_len, err);
    if (st != AGT_OK) return st;
    if (!p->place.remove) {
        st = agt__stage(t->s, &p->place, p->bytes, p->len, err);
        if (st != AGT_OK) return st;
        p->staged = true;
    } else
        agt__unstage(t->s, seq); /* of a writer that died before it recorded what it staged */
    p->kind = p->place.remove ? AGT_PLAN_REMOVE : AGT_PLAN_WRITE;
    return AGT_OK;
}

/* Actions that do not look at the document's file. */
static bool write_is_blind(const agt_plan *p) {
    return p->action == AGT_ACTION_RECLASSIFY || p->action == AGT_ACTION_UNLOCK ||
           p->action == AGT_ACTION_REVOKE;
}

static bool write_is_managing(const agt_plan *p) {
    return write_is_blind(p) || p->action == AGT_ACTION_RENAME || p->action == AGT_ACTION_UNTRACK;
}

AGT_PRIVATE agt_status agt__txn_look(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    char shown[200];
    bool managing = write_is_managing(p);
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_status st = agt__epoch_fence(s->sys, s->locks, p->caller.epoch, err);
    if (st != AGT_OK) return st;
    if (!(p->row = agt__catalog_touch(&s->catalog, p->path, p->path_len))) return agt__nomem(err);
    agt__plan_now(p, p->row);
    p->result.version = p->now.exists ? p->now.version : 0;
    if (p->row->pending && t->atomic)
        return agt__fail(err, AGT_INVALID, "%s stands twice in the batch", shown);
    if (managing && !p->now.exists) return write_exists(p, err);
    st = write_permit(t, p, err);
    if (st == AGT_OK && !p->now.exists && !managing) st = write_clash(t, index, err);
    if (st == AGT_OK) st = write_doc_id(t, &p->now, err);
    if (st == AGT_OK && p->to_len) st = agt__manage_target(t, p, err);
    if (st == AGT_OK && !write_is_blind(p) && !p->follows) st = write_look(t, p, err);
    if (st != AGT_OK) return st;
    p->result.version = p->now.exists ? p->now.version : 0;
    if ((st = write_expected(p, &p->now, err)) != AGT_OK) return st;
    if ((st = write_exists(p, err)) != AGT_OK) return st;
    if (managing) return agt__manage_look(t, p, err);
    if (!agt__plan_brings(p)) return AGT_OK;
    agt__git_id(s->cpu, "blob", p->bytes, p->len, p->blob.id);
    if (p->now.exists && memcmp(p->blob.id, p->now.blob.id, 20) == 0) {
        p->result.unchanged = 1;
        t->wants_sync = true;
    }
    return AGT_OK;
}

/* The file as it is now becomes the document's version; nothing is put in place. */
static agt_status write_add_file(agt_txn *t, agt_plan *p, write_version *v, agt_error *err) {
    agt_store *s = t->s;
    agt_look look;
    char shown[200];
    agt_buf nothing = agt__buf(&s->mem);
    agt_status st = agt__look(s, p->path, p->path_len, &s->old, &look, err);
    if (st == AGT_OK && !look.on_disk)
        st = agt__fail(err, AGT_NOT_FOUND, "there is no file %s to add",
                       agt__show_path(shown, sizeof shown, p->path, p->path_len));
    if (st != AGT_OK) return st;
    p->blob = look.blob;
    write_version_event(p, "create", p->now.version + 1, p->now.last_seq, &p->blob, &nothing,
                        s->old.data, s->old.len, p->type, &s->mem, v);
    st = agt__txn_add(t, &v->e, s->old.data, s->old.len, true, &p->side, err);
    p->place.seq = v->e.seq;
    agt__unstage(s, v->e.seq); /* as in write_stage */
    return st;
}

static agt_status write_change_file(agt_txn *t, size_t index, write_version *v, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    agt_look again;
    bool brings = agt__plan_brings(p);
    const char *action = agt__action_name(p->action, p->now.exists);
    agt_status st = AGT_OK;
    if (t->atomic && t->count > 1) /* the old bytes, to count lines: others were looked at since */
        st = agt__look(s, p->path, p->path_len, &s->old, &again, err);
    if (st == AGT_OK) st = write_stage(t, index, t->draft.next_seq + t->record.entries, err);
    if (st != AGT_OK) return st;
    write_version_event(p, action, p->now.version + 1, p->now.last_seq, brings ? &p->blob : NULL,
                        &s->old, p->bytes, p->len, p->type, &s->mem, v);
    return agt__txn_add(t, &v->e, p->bytes, p->len, brings, &p->side, err);
}

AGT_PRIVATE agt_status agt__txn_change(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    write_version v;
    write_base_event(t, p, &v.e);
    v.e.summary = agt__text(p->options.summary);
    agt_status st = write_is_managing(p)          ? agt__manage_change(t, p, &v.e, err)
                    : p->action == AGT_ACTION_ADD ? write_add_file(t, p, &v, err)
                                                  : write_change_file(t, index, &v, err);
    if (st != AGT_OK) return st;
    if (v.e.version) p->result.version = v.e.version;
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
