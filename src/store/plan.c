/* plan: what can be said of a change without its files: whether caller, options and paths are good,
 * who may do it, and whether its path goes with those of the other documents. */
#include "write.h"

/* ---- checks without a lock ---- */

static agt_status plan_check_text(const char *what, const char *s, size_t max, agt_error *err) {
    size_t n = s ? strlen(s) : 0;
    if (n > max)
        return agt__fail(err, AGT_LIMIT, "%s has more than %zu bytes; shorten it", what, max);
    size_t valid = agt__utf8_valid(s, n);
    if (valid != n)
        return agt__fail_at(err, AGT_INVALID, (int64_t)valid,
                            "%s is not valid UTF-8; use one line of text", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return agt__fail_at(err, AGT_INVALID, (int64_t)i,
                                "%s has a control character; use one line of text", what);
    return AGT_OK;
}

static agt_status plan_check_caller(const agt_caller *c, agt_error *err) {
    char shown[100];
    if (!c->actor || !agt__actor_valid(c->actor, strlen(c->actor))) {
        const char *a = c->actor ? c->actor : "(none)";
        bool agent = strncmp(a, "agent:", 6) == 0;
        return agt__fail(err, AGT_INVALID,
                         "actor '%s' is not valid; use user, system or agent:<name>%s",
                         agt__show_path(shown, sizeof shown, a, strlen(a)),
                         agent ? ", a name having 1 to 64 bytes, none of < > / \\ : \"" : "");
    }
    if (c->session && !agt__session_valid(c->session, strlen(c->session)))
        return agt__fail(err, AGT_INVALID,
                         "session '%s' is not valid; use 1 to 64 of A-Z a-z 0-9 . _ : -",
                         agt__show_path(shown, sizeof shown, c->session, strlen(c->session)));
    if (c->source && !agt__word_valid(c->source, strlen(c->source), false))
        return agt__fail(err, AGT_INVALID, "the source is not valid; use 1 to 64 of a-z 0-9 _");
    return AGT_OK;
}

static agt_status plan_check_options(const agt_write_options *o, agt_error *err) {
    agt_status st = plan_check_text("the summary", o->summary, AGT_MAX_SUMMARY, err);
    if (st != AGT_OK) return st;
    if (o->type > AGT_TYPE_SCRATCH || o->check_version > 1 || o->has_time > 1 ||
        o->durability > AGT_DURABLE_PROCESS)
        return agt__fail(err, AGT_INVALID, "a write option has a value that is none");
    if (o->has_time && (o->at_unix_ms < 0 || o->at_unix_ms > AGT_TIME_MAX))
        return agt__fail(err, AGT_INVALID, "the author's time is before 1970 or after 9999");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__plan_check_grant(const agt_plan *p, agt_error *err) {
    char shown[100];
    if (!agt__grantee_valid(agt__text(p->grant)))
        return agt__fail(err, AGT_INVALID,
                         "'%s' is nobody a grant can name; use agent:<name>, agent (any), system "
                         "or user",
                         agt__show_path(shown, sizeof shown, p->grant, strlen(p->grant)));
    if (p->action == AGT_ACTION_UNLOCK && (p->duration_ms < 1 || p->duration_ms > AGT_MAX_GRANT_MS))
        return agt__fail(err, AGT_INVALID, "a grant lasts from a millisecond to seven days");
    return AGT_OK;
}

/* A document that an older program recorded may have a name that nobody could give now: whether it
 * is one is seen when its row is (plan_held). */
static agt_status plan_check_path(agt_plan *p, agt_error *err) {
    agt_error mine;
    size_t len = strlen(p->given_path);
    agt_status st = agt__path_normalise(p->given_path, len, p->path, &p->path_len, &mine);
    p->held = st != AGT_OK && agt__path_held(p->given_path, len);
    if (!p->held) return agt__answer(st, &mine, err);
    memcpy(p->path, p->given_path, len + 1);
    p->path_len = len;
    return AGT_OK;
}

/* No such name is made anew. */
static agt_status plan_held(const agt_plan *p, agt_error *err) {
    char clean[AGT_MAX_PATH + 1];
    size_t len;
    if (!p->held || p->now.exists) return AGT_OK;
    return agt__path_normalise(p->path, p->path_len, clean, &len, err);
}

AGT_PRIVATE agt_status agt__plan_check(agt_plan *p, agt_error *err) {
    agt_status st = plan_check_caller(&p->caller, err);
    if (st == AGT_OK && p->given_path) st = plan_check_path(p, err);
    if (st == AGT_OK) st = plan_check_options(&p->options, err);
    if (st == AGT_OK && p->len > AGT_MAX_DOCUMENT)
        st = agt__fail(err, AGT_LIMIT, "the document has more than %u bytes",
                       (unsigned)AGT_MAX_DOCUMENT);
    return st;
}

AGT_PRIVATE bool agt__plan_brings(const agt_plan *p) {
    return p->action == AGT_ACTION_WRITE || p->action == AGT_ACTION_RESTORE;
}

AGT_PRIVATE void agt__plan_now(agt_plan *p, const agt_row *row) {
    memset(&p->now, 0, sizeof p->now);
    if (row && row->version && !row->moved) p->now = *row;
    p->now.path = p->path;
    p->now.path_len = p->path_len;
}

/* ---- types and rights ---- */

/* The type the document is to have, if it is another one than it has. */
static agt_status plan_new_type(const agt_plan *p, agt_type own, agt_type *to, agt_error *err) {
    agt_type asked = p->action == AGT_ACTION_RECLASSIFY ? p->to : (agt_type)p->options.type;
    bool may_change = p->action == AGT_ACTION_RECLASSIFY || (p->now.version && !p->now.exists);
    char shown[200];
    *to = AGT_TYPE_DEFAULT;
    if (!asked || asked == own) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_type by_path = agt__perm_type(asked, p->path, p->path_len);
    if (by_path != asked)
        return agt__fail(err, AGT_INVALID, "%s is a %s document by its path, not %s; %s", shown,
                         agt_type_name(by_path), agt_type_name(asked),
                         p->action == AGT_ACTION_RECLASSIFY ? "rename it first"
                                                            : "leave the type out");
    *to = asked;
    if (may_change) return AGT_OK;
    return agt__fail(err, AGT_INVALID,
                     "%s is a %s document, not %s; leave the type out, or reclassify it", shown,
                     agt_type_name(own), agt_type_name(asked));
}

typedef struct plan_place {
    agt_actor_kind kind;
    const agt_plan *p;
    agt_type strictest;
} plan_place;

static void plan_place_of(void *ctx, const agt_row *r) {
    plan_place *place = ctx;
    const agt_plan *p = place->p;
    if (p->now.doc[0] && strcmp(r->doc, p->now.doc) == 0) return; /* the document's own */
    agt_type type = agt__perm_type(r->type, r->path, r->path_len);
    place->strictest = agt__perm_stricter(place->kind, place->strictest, type);
}

/* The type of what is remembered where the document is to come to be. */
static agt_type plan_place_type(const agt_catalog *c, const agt_plan *p, agt_actor_kind kind) {
    plan_place place = {kind, p, AGT_TYPE_DEFAULT};
    bool comes = agt__plan_brings(p) || p->action == AGT_ACTION_ADD;
    if (p->to_len)
        agt__catalog_remembered(c, p->to_path, p->to_len, plan_place_of, &place);
    else if (comes && !p->now.exists)
        agt__catalog_remembered(c, p->path, p->path_len, plan_place_of, &place);
    return place.strictest;
}

AGT_PRIVATE agt_status agt__plan_permit(const agt_catalog *c, agt_plan *p, int64_t now_unix_ms,
                                        const char **why, agt_error *err) {
    agt_type to, asked = (agt_type)p->options.type, own = p->now.type;
    if (!p->now.version)
        own = agt__perm_type(asked ? asked : AGT_TYPE_SCRATCH, p->path, p->path_len);
    p->type = own;
    agt_status st = plan_held(p, err);
    if (st != AGT_OK) return st;
    st = plan_new_type(p, own, &to, err);
    if (st != AGT_OK) return st;
    if (to) p->type = to;
    agt_text actor = agt__text(p->caller.actor);
    agt_ask ask = {agt__actor_kind(actor),
                   p->action,
                   agt__perm_type(own, p->path, p->path_len),
                   to,
                   plan_place_type(c, p, agt__actor_kind(actor)),
                   p->now.exists && agt__catalog_granted(c, p->now.doc, actor, now_unix_ms),
                   p->caller.confirm != 0};
    if (p->to_len) ask.to = agt__perm_type(own, p->to_path, p->to_len);
    return agt__perm_decide(&ask, why);
}

/* ---- paths beside one another ---- */

static bool plan_is_under(const agt_plan *p, const agt_plan *folder) {
    return p->path_len > folder->path_len && p->path[folder->path_len] == '/' &&
           memcmp(p->path, folder->path, folder->path_len) == 0;
}

AGT_PRIVATE agt_status agt__plan_clash_batch(const agt_txn *t, size_t index, agt_error *err) {
    const agt_plan *p = &t->plans[index];
    char shown[200], theirs[200];
    for (size_t i = 0; i < index; i++) {
        const agt_plan *q = &t->plans[i];
        if (q->action == AGT_ACTION_DELETE) continue;
        bool same = agt__path_fold_compare(q->path, q->path_len, p->path, p->path_len) == 0;
        if (!same && !plan_is_under(p, q) && !plan_is_under(q, p)) continue;
        agt__show_path(shown, sizeof shown, p->path, p->path_len);
        return agt__fail(err, AGT_INVALID,
                         same ? "%s and %s in one batch differ only in upper and lower case"
                              : "%s and %s in one batch: one stands where the other needs a folder",
                         shown, agt__show_path(theirs, sizeof theirs, q->path, q->path_len));
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__plan_clash(const agt_catalog *c, const char *path, size_t len,
                                       const agt_row *except, agt_error *err) {
    agt_row other;
    char shown[200], theirs[200];
    agt__show_path(shown, sizeof shown, path, len);
    if (agt__catalog_case_clash(c, path, len, &other) &&
        !(except && other.path_len == except->path_len &&
          memcmp(other.path, except->path, other.path_len) == 0))
        return agt__fail(err, AGT_INVALID,
                         "%s differs only in upper and lower case from the document %s; use that "
                         "name, or rename that document first",
                         shown, agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    if (agt__catalog_has_under(c, path, len))
        return agt__fail(err, AGT_INVALID, "%s is a folder of documents; use another name", shown);
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && agt__catalog_find(c, path, i, &other) && other.exists)
            return agt__fail(
                err, AGT_INVALID,
                "%s: the document %s stands where a folder is needed; use another path", shown,
                agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    return AGT_OK;
}
