/* image: commits and lines of agent-trace 0.1.0 become events of ours; see image.h. */
#include "image.h"

#define IMAGE_SUMMARY_MAX AGT_MAX_SUMMARY

/* ---- texts that our events may have ---- */

/* One line of valid text of at most `max` bytes; what is no text becomes a blank or a '?'. */
static agt_text image_line(agt_image *m, agt_text text, size_t max) {
    agt_text none = {NULL, 0};
    if (!text.data) return none;
    agt_buf *b = &m->scratch;
    size_t step;
    b->len = 0;
    for (size_t i = 0; i < text.len; i += step) {
        unsigned char c = (unsigned char)text.data[i];
        step = agt__utf8_char(text.data + i, text.len - i);
        if (b->len + (step ? step : 1) > max) break;
        if (step == 0)
            agt__buf_byte(b, '?'), step = 1;
        else if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text.data[i + 1] < 0xa0))
            agt__buf_byte(b, ' ');
        else
            agt__buf_put(b, text.data + i, step);
    }
    if (b->failed) return none;
    return agt__old_keep(m->old, (agt_text){(const char *)b->data, b->len});
}

/* An agent's name as our rules allow it: 0.1.0 took any. */
static agt_text image_agent(agt_image *m, agt_text name) {
    char actor[AGT_MAX_NAME + 8] = "agent:";
    if (!name.data) return name;
    agt_text line = image_line(m, name, AGT_MAX_NAME);
    if (!line.data) return line;
    if (!line.len) return agt__text("unnamed");
    memcpy(actor + 6, line.data, line.len);
    for (size_t i = 6; i < line.len + 6; i++)
        if (strchr("<>/\\:\"", actor[i])) actor[i] = '_';
    if (!agt__actor_valid(actor, line.len + 6)) actor[6] = actor[line.len + 5] = '_';
    return agt__old_keep(m->old, (agt_text){actor + 6, line.len});
}

static agt_text image_actor(agt_image *m, agt_text actor) {
    char text[AGT_MAX_NAME + 8] = "agent:";
    if (agt__actor_valid(actor.data, actor.len)) return actor;
    if (actor.len < 6 || memcmp(actor.data, "agent:", 6) != 0) return agt__text("user");
    agt_text name = image_agent(m, (agt_text){actor.data + 6, actor.len - 6});
    if (!name.data) return name;
    memcpy(text + 6, name.data, name.len);
    return agt__old_keep(m->old, (agt_text){text, name.len + 6});
}

static agt_text image_word(agt_text word) {
    if (!word.data || agt__word_valid(word.data, word.len, false)) return word;
    return agt__text(AGT_IMAGE_SOURCE);
}

static agt_text image_session(agt_text session) {
    agt_text none = {NULL, 0};
    return session.data && agt__session_valid(session.data, session.len) ? session : none;
}

/* ---- records ---- */

static agt_status image_segment(agt_image *m, agt_error *err) {
    size_t n = m->segments.count;
    const agt_image_segment *last = n ? AGT_OLD_ITEM(&m->segments, agt_image_segment, n - 1) : NULL;
    if (last && m->lines.len - last->at < AGT_SEGMENT_MAX) return AGT_OK;
    agt_image_segment *s = agt__old_add(m->old, &m->segments, sizeof *s);
    if (!s) return agt__nomem(err);
    *s = (agt_image_segment){m->next_seq, m->lines.len};
    return AGT_OK;
}

static agt_image_record *image_begin(agt_image *m, int64_t recorded_ms, agt_error *err) {
    agt_image_record *r = NULL;
    if (image_segment(m, err) == AGT_OK && (r = agt__old_add(m->old, &m->records, sizeof *r)))
        *r = (agt_image_record){m->next_seq, 0, recorded_ms, m->lines.len, 0};
    if (!r) (void)agt__nomem(err);
    return r;
}

/* Appends the event to the record; `size` is that of its version. */
static agt_status image_event(agt_image *m, agt_image_record *r, agt_event *e, uint64_t size,
                              agt_error *err) {
    char prev[64];
    size_t start = m->lines.len;
    agt__hex(m->prev, 32, prev);
    e->seq = m->next_seq;
    e->recorded_unix_ms = r->recorded_ms;
    e->replica = agt__text(m->replica);
    e->prev = (agt_text){prev, 64};
    agt_status st = agt__event_format(&m->lines, e, err);
    if (st != AGT_OK) return st;
    agt__sha256(m->old->cpu, m->lines.data + start, m->lines.len - start, m->prev);
    if (!agt__catalog_touch_event(&m->catalog, e)) return agt__nomem(err);
    agt__catalog_event(&m->catalog, e, size);
    m->next_seq++;
    r->entries++;
    r->len = m->lines.len - r->at;
    m->versions += e->version != 0;
    return AGT_OK;
}

/* ---- one path of a commit ---- */

static const agt_old_document *image_document(const agt_image *m, agt_text path) {
    for (size_t i = 0; i < m->old->documents.count; i++) {
        const agt_old_document *d = AGT_OLD_ITEM(&m->old->documents, agt_old_document, i);
        if (agt__text_eq(d->path, path)) return d;
    }
    return NULL;
}

static bool image_uuid_good(agt_text id) {
    for (size_t i = 0; i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id.data[i] != '-' : !strchr("0123456789abcdef", id.data[i])) return false;
    }
    return id.len == 36;
}

/* The id in the manifest, or one that is made of the store's and the path. */
static bool image_id(agt_image *m, agt_text path, char out[37]) {
    const agt_old_document *d = image_document(m, path);
    const char *store = m->old->config.id;
    if (d && image_uuid_good(d->id)) return agt__copy_text(out, 37, d->id.data, d->id.len);
    m->scratch.len = 0;
    agt__buf_put(&m->scratch, store, strlen(store) + 1);
    agt__buf_put(&m->scratch, path.data, path.len);
    agt__old_uuid(m->old, m->scratch.data, m->scratch.len, out);
    return !m->scratch.failed;
}

/* What stands in the row beside the change: its type, its id, its version before. */
typedef struct image_path {
    agt_text name; /* ours */
    agt_row row;
    bool known;
    char doc[37];
    agt_text type;
} image_path;

static agt_status image_find(agt_image *m, agt_text path, agt_text type, image_path *out,
                             agt_error *err) {
    memset(out, 0, sizeof *out);
    out->name = agt__image_path(m, path);
    if (!out->name.data) return agt__nomem(err);
    out->known = agt__catalog_find(&m->catalog, out->name.data, out->name.len, &out->row);
    if (!image_id(m, path, out->doc)) return agt__nomem(err);
    const agt_old_document *d = type.len ? NULL : image_document(m, path);
    if (type.len)
        out->type = type;
    else if (out->known)
        out->type = agt__text(agt_type_name(out->row.type));
    else
        out->type = d ? d->type : agt__text("scratch");
    return AGT_OK;
}

/* Reads a version's bytes; what cannot be read counts as empty, and is counted. */
static agt_status image_bytes(agt_image *m, const agt_oid *blob, agt_buf *out, bool count,
                              agt_error *err) {
    agt_error mine;
    out->len = 0;
    agt_status st = agt__git_read(m->old->git, blob, out, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    if (st != AGT_OK) {
        out->len = 0;
        m->blobs_lost += count;
    }
    return AGT_OK;
}

/* The version that the change made: its number, its bytes' id, its lines. */
static agt_status image_version(agt_image *m, const agt_old_change *change, const image_path *p,
                                agt_event *e, char blob[40], uint64_t *size, agt_error *err) {
    m->was.len = m->now.len = 0;
    agt_status st = AGT_OK;
    if (p->known && p->row.exists) st = image_bytes(m, &p->row.blob, &m->was, false, err);
    if (st == AGT_OK && change->exists) st = image_bytes(m, &change->blob, &m->now, true, err);
    if (st != AGT_OK) return st;
    agt__lines_changed(&m->old->mem, m->was.data, m->was.len, m->now.data, m->now.len,
                       &e->lines_added, &e->lines_removed);
    e->version = p->row.version + 1;
    e->doc = agt__text(p->doc);
    *size = m->now.len;
    if (change->exists) {
        agt__hex(change->blob.id, 20, blob);
        e->blob = (agt_text){blob, 40};
    }
    return AGT_OK;
}

/* Is the summary exactly these three? */
static bool image_says(const agt_old_commit *c, const char *before, agt_text path,
                       const char *after) {
    size_t n = strlen(before), k = strlen(after);
    const char *s = c->summary.data;
    return c->summary.len == n + path.len + k && memcmp(s, before, n) == 0 &&
           memcmp(s + n, path.data, path.len) == 0 && memcmp(s + n + path.len, after, k) == 0;
}

static bool image_retypes(const agt_old_commit *c, const agt_old_change *change) {
    char after[24] = " -> ";
    return change->listed &&
           agt__copy_text(after + 4, sizeof after - 4, change->type.data, change->type.len) &&
           image_says(c, "reclassify ", change->path, after);
}

/* What the change is called: by the commit where that says more than the row. */
static void image_action(const agt_old_commit *c, const agt_old_change *change, agt_event *e) {
    agt_text kind = change->kind;
    if (change->changed && change->exists == agt__text_is(kind, "delete"))
        kind = agt__text(!change->exists ? "delete" : change->made ? "create" : "modify");
    bool more = agt__text_is(c->action, "restore") || agt__text_is(c->action, "init");
    e->change_kind = kind;
    e->action = more && change->exists ? c->action : kind;
    if (!change->exists && change->changed && image_says(c, "untrack ", change->path, ""))
        e->action = e->change_kind = agt__text("untrack"); /* the file stayed in the folder */
    if (!change->changed && image_retypes(c, change))
        e->action = e->change_kind = agt__text("reclassify");
}

static void image_from_commit(agt_image *m, const agt_old_commit *c, agt_event *e) {
    e->at_unix_ms = c->unix_s * 1000;
    e->actor = image_actor(m, c->actor);
    e->agent_name = image_agent(m, c->agent);
    e->session_id = image_session(c->session);
    e->summary = image_line(m, c->summary, IMAGE_SUMMARY_MAX);
    e->source = e->detected_by = agt__text(AGT_IMAGE_SOURCE);
}

/* What the event log adds: milliseconds, and how it came to be. */
static void image_from_event(const agt_old *o, size_t event, agt_event *e) {
    if (event == AGT_OLD_NONE) return;
    const agt_old_event *told = AGT_OLD_ITEM(&o->events, agt_old_event, event);
    e->at_unix_ms = told->at_ms;
    if (told->session.data) e->session_id = image_session(told->session);
    e->source = image_word(told->source);
    e->detected_by = image_word(told->detected_by);
}

/* A refusal: who tried is what the summary says if the agent beside it says the same. */
static agt_status image_violation(agt_image *m, const agt_old_commit *c,
                                  const agt_old_change *change, const image_path *p, agt_event *e,
                                  char rejected[65], agt_error *err) {
    char tried[AGT_MAX_NAME + 64];
    static const char first[] = "violation: ";
    size_t n = sizeof first - 1;
    agt_text agent = e->agent_name, s = c->summary;
    memcpy(tried, "agent:", 6);
    if (agent.data) memcpy(tried + 6, agent.data, agent.len);
    memcpy(tried + 6 + agent.len, " attempted ", 11);
    size_t len = 6 + agent.len;
    if (agent.data && s.len > n + len + 11 && memcmp(s.data, first, n) == 0 &&
        memcmp(s.data + n, tried, len + 11) == 0) {
        e->actor = agt__old_keep(m->old, (agt_text){tried, len});
    } else if (s.len > n + 15 && memcmp(s.data + n, "user attempted ", 15) == 0) {
        e->actor = agt__text("user");
    }
    if (!e->actor.data) return agt__nomem(err);
    e->action = agt__text("violation");
    e->change_kind = change->kind;
    e->doc = p->known ? agt__text(p->doc) : (agt_text){NULL, 0};
    agt_status st = agt__image_refused(
        m, change->path, c->unix_s, p->known && p->row.exists ? &p->row.blob : NULL, rejected, err);
    if (rejected[0]) e->rejected = (agt_text){rejected, 64};
    return st;
}

static agt_status image_change(agt_image *m, agt_image_record *r, const agt_old_commit *c,
                               const agt_old_change *change, bool refused, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    char blob[40], rejected[65];
    uint64_t size = 0;
    agt_status st = image_find(m, change->path, change->type, &p, err);
    if (st != AGT_OK) return st;
    image_from_commit(m, c, &e);
    image_from_event(m->old, change->event, &e);
    image_action(c, change, &e);
    e.path = p.name;
    e.doc_type = p.type;
    e.doc_prev = p.known ? p.row.last_seq : 0;
    if (refused)
        st = image_violation(m, c, change, &p, &e, rejected, err);
    else if (change->changed)
        st = image_version(m, change, &p, &e, blob, &size, err);
    else if (p.known)
        e.doc = agt__text(p.doc);
    if (!e.actor.data) st = agt__nomem(err);
    return st == AGT_OK ? image_event(m, r, &e, size, err) : st;
}

/* The other type, where the same commit made a version as well. */
static agt_status image_retype(agt_image *m, agt_image_record *r, const agt_old_commit *c,
                               const agt_old_change *change, agt_error *err) {
    agt_old_change retyped = *change;
    retyped.changed = false;
    retyped.event = AGT_OLD_NONE;
    return image_change(m, r, c, &retyped, false, err);
}

static agt_status image_commit(agt_image *m, const agt_old_commit *c, agt_error *err) {
    agt_image_record *r = image_begin(m, c->unix_s * 1000, err);
    agt_status st = r ? AGT_OK : AGT_NOMEM;
    bool violation = agt__text_is(c->action, "violation");
    for (size_t i = 0; st == AGT_OK && i < c->count; i++) {
        const agt_old_change *change = AGT_OLD_ITEM(&m->old->changes, agt_old_change, c->first + i);
        bool refused = violation && change->listed;
        if (refused) st = image_change(m, r, c, change, true, err);
        if (st == AGT_OK && (change->changed || !refused))
            st = image_change(m, r, c, change, false, err);
        if (st == AGT_OK && change->changed && image_retypes(c, change))
            st = image_retype(m, r, c, change, err); /* it took an edit with it */
    }
    if (st != AGT_OK || c->count) return st;
    agt_event e = AGT_EVENT_INIT; /* it changed nothing, but somebody said something */
    image_from_commit(m, c, &e);
    e.action = e.change_kind = c->action;
    return e.actor.data ? image_event(m, r, &e, 0, err) : agt__nomem(err);
}

/* ---- what no commit tells ---- */

static agt_status image_alone(agt_image *m, const agt_old_event *told, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    agt_status st = AGT_OK;
    agt_image_record *r = image_begin(m, told->at_ms, err);
    if (!r) return AGT_NOMEM;
    e.at_unix_ms = told->at_ms;
    e.actor = image_actor(m, told->actor);
    e.agent_name = image_agent(m, told->agent);
    e.session_id = image_session(told->session);
    e.action = agt__word_valid(told->action.data, told->action.len, true) ? told->action
                                                                          : agt__text("unknown");
    e.change_kind = told->kind.len ? image_word(told->kind) : e.action;
    e.summary = image_line(m, told->summary, IMAGE_SUMMARY_MAX);
    e.source = image_word(told->source);
    e.detected_by = image_word(told->detected_by);
    if (told->path.len) {
        agt_text type = told->type.len ? told->type : agt__text("");
        st = image_find(m, told->path, type, &p, err);
        if (st != AGT_OK) return st;
        e.path = p.name;
        e.doc_type = p.type;
        if (p.known) e.doc = agt__text(p.doc);
        e.doc_prev = p.known ? p.row.last_seq : 0;
    }
    return e.actor.data ? image_event(m, r, &e, 0, err) : agt__nomem(err);
}

/* In agent-trace 0.1.0 grants of the same path and actor stand side by side, here one takes the
 * place of the other: is there an earlier one that lasts longer? */
static bool image_outlasted(const agt_image *m, const agt_old_grant *g) {
    for (size_t i = 0; i < m->old->grants.count; i++) {
        const agt_old_grant *other = AGT_OLD_ITEM(&m->old->grants, agt_old_grant, i);
        if (other == g) break;
        if (other->expires_ms > g->expires_ms && agt__text_eq(other->path, g->path) &&
            agt__text_eq(other->actor, g->actor))
            return true;
    }
    return false;
}

/* "unlock <path> for <actor> until <time>" */
static agt_text image_grant_summary(agt_image *m, const agt_old_grant *g) {
    char until[AGT_TIME_TEXT];
    agt_text none = {NULL, 0};
    agt_buf text = agt__buf(&m->old->mem);
    agt__time_format(g->expires_ms, until);
    agt__buf_text(&text, "unlock ");
    agt__buf_put(&text, g->path.data, g->path.len);
    agt__buf_text(&text, " for ");
    agt__buf_put(&text, g->actor.data, g->actor.len);
    agt__buf_text(&text, " until ");
    agt__buf_text(&text, until);
    agt_text out = text.failed ? none
                               : image_line(m, (agt_text){(const char *)text.data, text.len},
                                            IMAGE_SUMMARY_MAX);
    agt__buf_free(&text);
    return out;
}

/* A grant: what overrides.toml says of it. It is the document's that is at the path, as in 0.1.0,
 * where nobody looked at doc_id. One that gives no right is told under another name. */
static agt_status image_grant(agt_image *m, const agt_old_grant *g, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    agt_image_record *r = image_begin(m, g->granted_ms, err);
    agt_status st = r ? image_find(m, g->path, agt__text(""), &p, err) : AGT_NOMEM;
    if (st != AGT_OK) return st;
    e.at_unix_ms = g->granted_ms;
    e.until_unix_ms = g->expires_ms;
    e.actor = image_actor(m, g->by.data ? g->by : agt__text("user"));
    e.action = e.change_kind = agt__text("unlock");
    e.path = p.name;
    e.doc_type = p.type;
    e.doc = agt__text(p.doc);
    e.doc_prev = p.known ? p.row.last_seq : 0;
    e.summary = image_grant_summary(m, g);
    e.source = e.detected_by = agt__text(AGT_IMAGE_SOURCE);
    if (agt__grantee_valid(g->actor) && !image_outlasted(m, g))
        e.grant = g->actor;
    else
        e.action = e.change_kind = agt__text("unknown");
    if (!e.summary.data || !e.actor.data) return agt__nomem(err);
    return image_event(m, r, &e, 0, err);
}

/* Those that are older than `before_ms`, in the order of their times. */
static agt_status image_until(agt_image *m, size_t at[2], int64_t before_ms, agt_error *err) {
    const agt_old *o = m->old;
    agt_status st = AGT_OK;
    while (st == AGT_OK) {
        const agt_old_event *e = NULL;
        const agt_old_grant *g = NULL;
        while (at[0] < o->events.count && !e) {
            e = AGT_OLD_ITEM(&o->events, agt_old_event, at[0]);
            if (e->told) at[0]++, e = NULL;
        }
        if (at[1] < o->grants.count) g = AGT_OLD_ITEM(&o->grants, agt_old_grant, at[1]);
        if (e && e->at_ms < before_ms && (!g || e->at_ms <= g->granted_ms)) {
            st = image_alone(m, e, err);
            at[0]++;
        } else if (g && g->granted_ms < before_ms) {
            st = image_grant(m, g, err);
            at[1]++;
        } else {
            break;
        }
    }
    return st;
}

/* ---- the manifest has the last word ---- */

static agt_status image_set_type(agt_image *m, const agt_row *row, agt_text path, agt_type type,
                                 const char *why, agt_error *err) {
    const agt_old *o = m->old;
    agt_event e = AGT_EVENT_INIT;
    const agt_old_commit *last = AGT_OLD_ITEM(&o->commits, agt_old_commit, o->commits.count - 1);
    agt_image_record *r = image_begin(m, last->unix_s * 1000, err);
    if (!r) return AGT_NOMEM;
    e.at_unix_ms = r->recorded_ms;
    e.actor = agt__text("system");
    e.action = e.change_kind = agt__text("reclassify");
    e.path = path;
    e.doc_type = agt__text(agt_type_name(type));
    e.doc = agt__text(row->doc);
    e.doc_prev = row->last_seq;
    e.summary = agt__text(why);
    e.source = e.detected_by = agt__text(AGT_IMAGE_SOURCE);
    return image_event(m, r, &e, 0, err);
}

static agt_type image_type(agt_text name) {
    char word[16];
    return agt__copy_text(word, sizeof word, name.data, name.len) ? agt_type_from_name(word)
                                                                  : AGT_TYPE_DEFAULT;
}

/* The manifest is right about a document's type. Who made it is whoever made its first version. */
static agt_status image_listed(agt_image *m, const agt_old_document *d, agt_error *err) {
    agt_text path = agt__image_path(m, d->path);
    agt_row row;
    if (!path.data) return agt__nomem(err);
    if (!agt__catalog_find(&m->catalog, path.data, path.len, &row)) return AGT_OK;
    agt_type type = image_type(d->type);
    if (type == row.type) return AGT_OK;
    return image_set_type(m, &row, path, type, "manifest.toml of agent-trace 0.1.0 has this type",
                          err);
}

/* What the manifest does not list was scratch to the rules of 0.1.0, whatever its commit said. */
static agt_status image_unlisted(agt_image *m, const agt_row *row, agt_error *err) {
    agt_text path = {row->path, row->path_len};
    bool ours = agt__perm_type(AGT_TYPE_SCRATCH, row->path, row->path_len) != AGT_TYPE_SCRATCH ||
                agt__text_is(path, "AGENT-TRACE.md");
    if (!row->exists || row->type == AGT_TYPE_SCRATCH || ours) return AGT_OK;
    return image_set_type(m, row, path, AGT_TYPE_SCRATCH,
                          "manifest.toml of agent-trace 0.1.0 does not list this document", err);
}

static agt_status image_manifest(agt_image *m, agt_error *err) {
    agt_rows rows;
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < m->old->documents.count; i++)
        st = image_listed(m, AGT_OLD_ITEM(&m->old->documents, agt_old_document, i), err);
    /* a damaged one cannot say that it does not list something */
    if (st != AGT_OK || m->old->damage.manifest) return st;
    st = agt__catalog_rows(&m->catalog, AGT_ROWS_ALL, &rows, err);
    for (size_t i = 0; st == AGT_OK && i < rows.count; i++)
        if (!image_document(m,
                            agt__image_was(m, (agt_text){rows.row[i].path, rows.row[i].path_len})))
            st = image_unlisted(m, &rows.row[i], err);
    agt__rows_free(&m->old->mem, &rows);
    return st;
}

AGT_PRIVATE agt_status agt__image_make(agt_image *m, agt_old *old, agt_error *err) {
    unsigned char sum[32];
    size_t at[2] = {0, 0}; /* of events, of grants */
    agt_status st = AGT_OK;
    memset(m, 0, sizeof *m);
    m->old = old;
    m->next_seq = 1;
    m->catalog = agt__catalog(&old->mem);
    m->lines = m->scratch = m->was = m->now = agt__buf(&old->mem);
    agt__sha256(old->cpu, old->config.id, strlen(old->config.id), sum);
    agt__hex(sum, 8, m->replica);
    for (size_t i = 0; st == AGT_OK && i < old->commits.count; i++) {
        const agt_old_commit *c = AGT_OLD_ITEM(&old->commits, agt_old_commit, i);
        st = image_until(m, at, c->unix_s * 1000, err);
        if (st == AGT_OK) st = image_commit(m, c, err);
    }
    if (st == AGT_OK) st = image_until(m, at, INT64_MAX, err);
    return st == AGT_OK ? image_manifest(m, err) : st;
}

static void image_list_free(agt_image *m, agt_old_list *list, size_t size) {
    agt__free(&m->old->mem, list->data, list->cap * size);
}

AGT_PRIVATE void agt__image_free(agt_image *m) {
    if (!m->old) return;
    for (size_t i = 0; i < m->refused.count; i++)
        agt__buf_free(&AGT_OLD_ITEM(&m->refused, agt_image_refused, i)->bytes);
    image_list_free(m, &m->records, sizeof(agt_image_record));
    image_list_free(m, &m->segments, sizeof(agt_image_segment));
    image_list_free(m, &m->names, sizeof(agt_image_name));
    image_list_free(m, &m->refused, sizeof(agt_image_refused));
    agt__catalog_free(&m->catalog);
    agt__buf_free(&m->lines);
    agt__buf_free(&m->scratch);
    agt__buf_free(&m->was);
    agt__buf_free(&m->now);
}
