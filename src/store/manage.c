/* manage: changes that leave a document's bytes as they are: its path, its type, whether it is one,
 * and who may write it for a time. Each is an event of its own, decided like every write.
 *
 * (1) A rename is recorded with the bytes: the new file is made from the record, like any other,
 * and then the old one goes. Where the two names differ in case alone they may be one file to this
 *     file system: then the old one goes first.
 * (2) An untracked file is not ours to mend after a power cut: it is synced before the record says
 *     so.
 * (3) A person may have moved the file already. What has the newest version's bytes, where a
 *     rename wants the document and the document's own file is gone, is that file: the rename is
 *     recorded, and nothing is put in place or taken away. The record has the bytes all the same,
 *     because nobody knows whether the person's rename survives a power cut. */
#include "write.h"

#include <stdio.h>

/* ---- under the lock ---- */

static bool manage_same_file(const agt_look *a, const agt_look *b) {
    return a->on_disk && b->on_disk && agt__same_file(&a->stat, &b->stat);
}

/* Do the two paths differ in case alone? */
static bool manage_folds(const agt_plan *p) {
    return agt__path_fold_compare(p->path, p->path_len, p->to_path, p->to_len) == 0;
}

/* A file lies at the new path, and its bytes in s->old. (3) */
static agt_status manage_found(agt_txn *t, agt_plan *p, const agt_look *there, agt_error *err) {
    agt_store *s = t->s;
    agt_look own;
    char shown[200], from[200];
    agt__show_path(shown, sizeof shown, p->to_path, p->to_len);
    agt__show_path(from, sizeof from, p->path, p->path_len);
    agt_status st = agt__look(s, p->path, p->path_len, &s->scratch, &own, err);
    if (st != AGT_OK) return st;
    if (own.on_disk && manage_folds(p) && manage_same_file(there, &own)) return AGT_OK;
    if (own.on_disk)
        return agt__fail(err, AGT_CONFLICT,
                         "a file %s is there, and is no document; move it away first", shown);
    agt_waiting waiting = agt__waiting(s, true);
    st = agt__look_pending(s, &waiting, &p->now, &own, &p->waits, err);
    p->follows = st == AGT_OK;
    if (st != AGT_OK || p->waits) return st;
    if (!agt__look_is(there, true, &p->now.blob))
        return agt__fail(err, AGT_CONFLICT,
                         "the file of %s is gone, and the one at %s has other bytes; move that one "
                         "away, or back if it was edited, and try again",
                         from, shown);
    return agt__txn_same_file(t, p, p->to_path, p->to_len, there, err);
}

AGT_PRIVATE agt_status agt__manage_target(agt_txn *t, agt_plan *p, agt_error *err) {
    agt_store *s = t->s;
    agt_look look;
    char shown[200];
    agt__show_path(shown, sizeof shown, p->to_path, p->to_len);
    if (p->to_len == p->path_len && memcmp(p->to_path, p->path, p->to_len) == 0)
        return agt__fail(err, AGT_INVALID, "%s is the document's path already", shown);
    p->to_row = agt__catalog_touch(&s->catalog, p->to_path, p->to_len);
    if (!p->to_row) return agt__nomem(err);
    if (p->to_row->exists)
        return agt__fail(err, AGT_CONFLICT, "%s is another document; delete or rename it first",
                         shown);
    agt_status st = agt__plan_clash(&s->catalog, p->to_path, p->to_len, p->row, err);
    if (st == AGT_OK) st = agt__store_below(s, p->to_path, p->to_len, err);
    if (st == AGT_OK) st = agt__look(s, p->to_path, p->to_len, &s->old, &look, err);
    return st == AGT_OK && look.on_disk ? manage_found(t, p, &look, err) : st;
}

static agt_status manage_look_grant(const agt_txn *t, const agt_plan *p, agt_error *err) {
    const agt_catalog *c = &t->s->catalog;
    char shown[200];
    size_t others = 0;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    const agt_grant_row *same = agt__catalog_grant(c, p->now.doc, p->grant, t->now_unix_ms);
    if (p->action == AGT_ACTION_REVOKE)
        return same ? AGT_OK
                    : agt__fail(err, AGT_NOT_FOUND, "%s has no grant of %s that could be ended",
                                p->grant, shown);
    for (size_t i = 0; i < c->grant_count; i++)
        if (&c->grants[i] != same && t->now_unix_ms < c->grants[i].until_unix_ms) others++;
    if (others < AGT_MAX_GRANTS) return AGT_OK;
    return agt__fail(err, AGT_LIMIT, "%d grants are in force, which is the most; end one of them",
                     AGT_MAX_GRANTS);
}

AGT_PRIVATE agt_status agt__manage_look(agt_txn *t, agt_plan *p, agt_error *err) {
    char shown[200];
    if (p->grant) return manage_look_grant(t, p, err);
    if (p->action == AGT_ACTION_RECLASSIFY) {
        p->result.unchanged = p->type == p->now.type;
        return AGT_OK;
    }
    if (p->waits)
        return agt__fail(err, AGT_BUSY,
                         "the newest version of %s is not in its place yet; see what is in the way",
                         agt__show_path(shown, sizeof shown, p->path, p->path_len));
    if (p->action == AGT_ACTION_UNTRACK) /* (2) */
        return agt__sync_document(t->s, p->path, p->path_len, err);
    return AGT_OK;
}

static agt_status manage_stage(agt_txn *t, agt_plan *p, uint64_t seq, agt_error *err) {
    agt_store *s = t->s;
    agt_place *to = &p->to_place, *from = &p->place;
    from->path = p->path;
    from->path_len = p->path_len;
    from->seq = to->seq = seq;
    if (p->follows) {         /* (3) */
        agt__unstage(s, seq); /* of a writer that died before it recorded what it staged */
        return AGT_OK;
    }
    from->remove = true;
    to->path = p->to_path;
    to->path_len = p->to_len;
    to->like = from->before.stat;
    agt_status st = agt__target(s, p->path, p->path_len, err);
    if (st == AGT_OK) st = agt__target(s, p->to_path, p->to_len, err);
    if (st == AGT_OK) st = agt__stage(s, to, s->old.data, s->old.len, err);
    if (st != AGT_OK) return st;
    p->staged = true;
    p->kind = AGT_PLAN_RENAME;
    return AGT_OK;
}

/* What the event says in words, unless the caller did. */
static void manage_summary(const agt_plan *p, const agt_event *e, char *out, size_t size) {
    char until[AGT_TIME_TEXT];
    switch (p->action) {
    case AGT_ACTION_RENAME: (void)snprintf(out, size, "%s -> %s", p->path, p->to_path); break;
    case AGT_ACTION_RECLASSIFY:
        (void)snprintf(out, size, "%s: %s -> %s", p->path, agt_type_name(p->now.type),
                       agt_type_name(p->type));
        break;
    case AGT_ACTION_UNLOCK:
        agt__time_format(e->until_unix_ms, until);
        (void)snprintf(out, size, "%s: %s may write it until %s", p->path, p->grant, until);
        break;
    case AGT_ACTION_REVOKE:
        (void)snprintf(out, size, "%s: %s may no more write it", p->path, p->grant);
        break;
    default: (void)snprintf(out, size, "%s: untracked, the file stays", p->path); break;
    }
}

AGT_PRIVATE agt_status agt__manage_change(agt_txn *t, agt_plan *p, agt_event *e, agt_error *err) {
    char summary[2 * AGT_MAX_PATH + 80], blob[40];
    agt_store *s = t->s;
    bool renames = p->action == AGT_ACTION_RENAME;
    agt_status st = AGT_OK;
    e->action = e->change_kind = agt__text(agt__action_name(p->action, true));
    e->doc = agt__text(p->now.doc);
    e->doc_type = agt__text(agt_type_name(p->type));
    e->doc_prev = p->now.last_seq;
    if (renames || p->action == AGT_ACTION_UNTRACK) e->version = p->now.version + 1;
    if (p->grant) e->grant = agt__text(p->grant);
    if (p->action == AGT_ACTION_UNLOCK) {
        e->until_unix_ms = t->now_unix_ms + p->duration_ms;
        if (e->until_unix_ms > AGT_TIME_MAX) e->until_unix_ms = AGT_TIME_MAX;
    }
    if (renames) {
        agt__hex(p->now.blob.id, 20, blob);
        e->blob = (agt_text){blob, 40};
        e->from = e->path;
        e->path = (agt_text){p->to_path, p->to_len};
        st = manage_stage(t, p, t->draft.next_seq + t->record.entries, err);
    } else {
        agt__unstage(s, t->draft.next_seq + t->record.entries); /* as in manage_stage */
    }
    if (!e->summary.data) {
        manage_summary(p, e, summary, sizeof summary);
        e->summary = agt__text(summary);
    }
    if (st == AGT_OK)
        st = agt__txn_add(t, e, s->old.data, s->old.len, renames, renames ? &p->side : NULL, err);
    e->summary = e->blob = (agt_text){NULL, 0};
    return st;
}

AGT_PRIVATE agt_status agt__place_rename(agt_store *s, agt_plan *p, agt_error *err) {
    bool old_first = manage_folds(p); /* (1) */
    agt_status st = agt__place(s, old_first ? &p->place : &p->to_place, err);
    return st == AGT_OK ? agt__place(s, old_first ? &p->to_place : &p->place, err) : st;
}

/* ---- the public calls ---- */

AGENT_TRACE_API agt_status agt_add(agt_store *store, const agt_caller *caller, const char *path,
                                   agt_type type, const agt_write_options *opts,
                                   agt_write_result *result, agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    if (st != AGT_OK) return st;
    if ((unsigned)type > AGT_TYPE_SCRATCH || (p.options.type && p.options.type != (uint32_t)type))
        return agt__fail(err, AGT_INVALID,
                         "the type is none of the five, or the options say another");
    p.action = AGT_ACTION_ADD;
    p.options.type = (uint32_t)type;
    return agt__change_run(store, &p, result, err);
}

static agt_status manage_fill_rename(agt_plan *p, const agt_caller *caller, const char *path,
                                     const char *to, const agt_write_options *opts,
                                     agt_write_result *result, agt_error *err) {
    AGENT_TRACE_ASSERT(to);
    agt_status st = agt__change_fill(p, caller, path, opts, result, err);
    p->action = AGT_ACTION_RENAME;
    return st == AGT_OK ? agt__path_normalise(to, strlen(to), p->to_path, &p->to_len, err) : st;
}

AGENT_TRACE_API agt_status agt_rename(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *to, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err) {
    agt_plan p;
    agt_status st = manage_fill_rename(&p, caller, path, to, opts, result, err);
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

/* What a rename may still be refused for once it was looked at, short of writing anything. */
static agt_status manage_may_place(agt_store *s, const agt_plan *p, agt_error *err) {
    if (p->follows) return AGT_OK; /* (3) */
    agt_status st = agt__target(s, p->path, p->path_len, err);
    return st == AGT_OK ? agt__target(s, p->to_path, p->to_len, err) : st;
}

AGENT_TRACE_API agt_status agt_may_rename(agt_store *store, const agt_caller *caller,
                                          const char *path, const char *to,
                                          const agt_write_options *opts, agt_error *err) {
    agt_plan p;
    agt_txn t;
    agt_error mine;
    AGENT_TRACE_ASSERT(store);
    agt_status st = manage_fill_rename(&p, caller, path, to, opts, NULL, err);
    if (st == AGT_OK) st = agt__store_lock(store, err);
    if (st != AGT_OK) return st;
    memset(&mine, 0, sizeof mine);
    agt__txn_begin(&t, store, &p, false, false);
    t.asks = true;
    t.count = 1;
    st = agt__txn_look(&t, 0, &mine);
    if (st == AGT_OK) st = manage_may_place(store, &p, &mine);
    agt__txn_rollback(&t);
    agt__store_unlock(store);
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_untrack(agt_store *store, const agt_caller *caller, const char *path,
                                       const agt_write_options *opts, agt_write_result *result,
                                       agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = AGT_ACTION_UNTRACK;
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_reclassify(agt_store *store, const agt_caller *caller,
                                          const char *path, agt_type type,
                                          const agt_write_options *opts, agt_write_result *result,
                                          agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    if (st != AGT_OK) return st;
    if (type == AGT_TYPE_DEFAULT || (unsigned)type > AGT_TYPE_SCRATCH || p.options.type)
        return agt__fail(err, AGT_INVALID, "the new type is none of the five");
    p.action = AGT_ACTION_RECLASSIFY;
    p.to = type;
    return agt__change_run(store, &p, result, err);
}

static agt_status manage_grant(agt_store *store, const agt_caller *caller, const char *path,
                               agt_action action, const char *grant, int64_t duration_ms,
                               const agt_write_options *opts, agt_write_result *result,
                               agt_error *err) {
    agt_plan p;
    AGENT_TRACE_ASSERT(grant);
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = action;
    p.grant = grant;
    p.duration_ms = duration_ms;
    if (st == AGT_OK) st = agt__plan_check_grant(&p, err);
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_unlock(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, int64_t duration_ms,
                                      const agt_write_options *opts, agt_write_result *result,
                                      agt_error *err) {
    return manage_grant(store, caller, path, AGT_ACTION_UNLOCK, grant, duration_ms, opts, result,
                        err);
}

AGENT_TRACE_API agt_status agt_revoke(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err) {
    return manage_grant(store, caller, path, AGT_ACTION_REVOKE, grant, 1, opts, result, err);
}

/* ---- asking ---- */

AGENT_TRACE_API agt_status agt_grants(agt_store *store, const char *path, agt_grant *out,
                                      size_t *count, agt_error *err) {
    static const agt_grant blank = AGT_GRANT_INIT;
    agt_grant known;
    char id[40];
    AGENT_TRACE_ASSERT(store && out && count);
    *count = 0;
    agt_status st = agt__options(&known, sizeof known, out, "agt_grant", err);
    if (st == AGT_OK && path) st = agt__document_id(store, path, id, err);
    if (st == AGT_OK) st = agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(store, err);
    const agt_catalog *c = &store->catalog;
    int64_t now = store->sys->now_unix_ms(store->sys->ctx);
    for (size_t i = 0; st == AGT_OK && i < c->grant_count; i++) {
        const agt_grant_row *g = &c->grants[i];
        if (!agt__grant_holds(g, now) || (path && strcmp(g->doc, id) != 0)) continue;
        agt_grant *to = &out[(*count)++];
        *to = blank;
        to->from_unix_ms = g->from_unix_ms;
        to->until_unix_ms = g->until_unix_ms;
        memcpy(to->id, g->doc, sizeof g->doc);
        memcpy(to->actor, g->actor, sizeof g->actor);
    }
    agt__store_leave(store);
    return st;
}

AGENT_TRACE_API agt_status agt_may(agt_store *store, const agt_caller *caller, agt_action action,
                                   const char *path, agt_type type, agt_error *err) {
    agt_plan p;
    agt_row row;
    const char *why = "";
    char shown[200];
    AGENT_TRACE_ASSERT(store);
    agt_status st = agt__change_fill(&p, caller, path, NULL, NULL, err);
    if (st != AGT_OK) return st;
    if ((unsigned)action > AGT_ACTION_REVOKE || (unsigned)type > AGT_TYPE_SCRATCH)
        return agt__fail(err, AGT_INVALID, "no such action or type");
    p.action = action;
    p.to = type;
    p.options.type = action == AGT_ACTION_RECLASSIFY ? AGT_TYPE_DEFAULT : (uint32_t)type;
    if ((st = agt__store_enter(store, err)) != AGT_OK) return st;
    st = agt__store_look_again(store, err);
    bool known = st == AGT_OK && agt__catalog_find(&store->catalog, p.path, p.path_len, &row);
    agt__plan_now(&p, known ? &row : NULL);
    if (p.now.exists) p.options.type = AGT_TYPE_DEFAULT;
    if (st == AGT_OK)
        st = agt__plan_permit(&store->catalog, &p, store->sys->now_unix_ms(store->sys->ctx), &why,
                              err);
    agt__store_leave(store);
    if (st != AGT_DENIED && st != AGT_NEEDS_CONFIRMATION) return st;
    return agt__fail(err, st, "%s: %s", agt__show_path(shown, sizeof shown, p.path, p.path_len),
                     why);
}
