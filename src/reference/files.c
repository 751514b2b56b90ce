/* files: the small files beside the repository of a store of agent-trace 0.1.0.
 *
 * (1) A file that is missing or damaged says nothing; what stands in front of the damage counts.
 *     The manifest's documents are then found in the history instead.
 * (2) Its writer puts strings with both kinds of quotes in three quotes: they are unwrapped here,
 *     because our own files never have such. */
#include "old.h"

#define FILES_TOML   (64u * 1024 * 1024)
#define FILES_EVENTS (256u * 1024 * 1024)

/* ---- TOML strings in three quotes ---- */

static agt_status files_unwrapped(agt_text table, agt_text key, const agt_toml_value *v,
                                  agt_error *err, void *ctx) {
    agt_buf *out = ctx;
    (void)table, (void)key, (void)err;
    if (v->kind != AGT_TOML_STRING) return AGT_INVALID;
    out->len = 0;
    agt__buf_put(out, v->text.data, v->text.len);
    return AGT_OK;
}

/* Appends the inside of a string in three double quotes as a line that one quote can hold. */
static void files_flatten(agt_buf *b, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' && i + 1 < n && strchr("\r\n \t", s[i + 1])) {
            while (i + 1 < n && strchr("\r\n \t", s[i + 1]))
                i++; /* a backslash at the end of a line takes the white space behind it */
        } else if (s[i] == '\\' && i + 1 < n) {
            agt__buf_put(b, s + i++, 2);
        } else if (s[i] == '"') {
            agt__buf_text(b, "\\\"");
        } else if (s[i] == '\n') {
            agt__buf_text(b, "\\n");
        } else if (s[i] == '\r') {
            agt__buf_text(b, "\\r");
        } else {
            agt__buf_byte(b, (unsigned char)s[i]);
        }
    }
}

/* (2) False: it is no such string, or there is no memory. */
static bool files_unwrap(const agt_mem *mem, agt_text raw, agt_buf *out) {
    const char *s = raw.data;
    size_t n = raw.len;
    if (n < 6 || (s[0] != '"' && s[0] != '\'') || s[1] != s[0] || s[2] != s[0]) return false;
    char quote = s[0];
    s += 3;
    n -= 6;
    if (n && s[0] == '\r') s++, n--;
    if (n && s[0] == '\n') s++, n--;
    out->len = 0;
    if (quote == '\'') {
        agt__buf_put(out, s, n);
        return !out->failed;
    }
    agt_buf line = agt__buf(mem);
    agt__buf_text(&line, "v = \"");
    files_flatten(&line, s, n);
    agt__buf_byte(&line, '"');
    bool good = !line.failed && agt__toml_read((const char *)line.data, line.len, files_unwrapped,
                                               out, NULL) == AGT_OK;
    agt__buf_free(&line);
    return good && !out->failed;
}

typedef struct files_reader {
    agt_old *o;
    agt_buf text;
    bool nomem;
} files_reader;

/* Keeps a value's text; data NULL where it is none. */
static agt_text files_text(files_reader *r, const agt_toml_value *v) {
    agt_text text = v->text, kept = {NULL, 0};
    if (v->kind == AGT_TOML_OTHER) {
        if (!files_unwrap(&r->o->mem, v->text, &r->text)) return kept;
        text = (agt_text){(const char *)r->text.data, r->text.len};
    } else if (v->kind != AGT_TOML_STRING) {
        return kept;
    }
    kept = agt__old_keep(r->o, text);
    if (!kept.data) r->nomem = true;
    return kept;
}

/* Reads one of the files with `each`. *damaged: it is not there, empty, or not TOML to its end. */
static agt_status files_toml(agt_old *o, const char *name, agt_toml_fn each, bool *damaged,
                             agt_error *err) {
    files_reader r = {o, agt__buf(&o->mem), false};
    agt_buf bytes = agt__buf(&o->mem);
    agt_error mine;
    agt_status st = agt__read_file(o->sys, o->at, name, FILES_TOML, &bytes, &mine);
    *damaged = st != AGT_OK || bytes.len == 0;
    if (st == AGT_OK) {
        st = agt__toml_read((const char *)bytes.data, bytes.len, each, &r, &mine);
        if (st != AGT_OK) *damaged = true;
        if (r.nomem) st = agt__nomem(&mine);
    }
    agt__buf_free(&r.text);
    agt__buf_free(&bytes);
    return st == AGT_NOMEM || st == AGT_IO ? agt__answer(st, &mine, err) : AGT_OK;
}

/* ---- config.toml and the manifest ---- */

static void files_store(files_reader *r, agt_text key, const agt_toml_value *v) {
    agt_config *c = &r->o->config;
    if (v->kind != AGT_TOML_STRING) return;
    if (agt__text_is(key, "id") && v->text.len == 36 && !c->id[0])
        (void)agt__copy_text(c->id, sizeof c->id, v->text.data, v->text.len);
    if (agt__text_is(key, "name") && !c->name[0])
        (void)agt__copy_text(c->name, sizeof c->name, v->text.data, v->text.len);
    if (agt__text_is(key, "created") && !r->o->created[0])
        (void)agt__copy_text(r->o->created, sizeof r->o->created, v->text.data, v->text.len);
}

static agt_status files_config(agt_text table, agt_text key, const agt_toml_value *v,
                               agt_error *err, void *ctx) {
    files_reader *r = ctx;
    (void)err;
    if (agt__text_is(table, "store")) files_store(r, key, v);
    if (!agt__text_is(table, "polling")) return AGT_OK;
    if (agt__text_is(key, "interval_ms") && v->kind == AGT_TOML_INTEGER && v->integer > 0)
        r->o->config.interval_ms = v->integer;
    if (agt__text_is(key, "enabled") && v->kind == AGT_TOML_BOOLEAN)
        r->o->config.polling = v->boolean;
    return AGT_OK;
}

static agt_status files_manifest(agt_text table, agt_text key, const agt_toml_value *v,
                                 agt_error *err, void *ctx) {
    files_reader *r = ctx;
    agt_old_list *all = &r->o->documents;
    if (agt__text_is(table, "store")) files_store(r, key, v); /* where config.toml has lost it */
    if (!agt__text_is(table, "document")) return AGT_OK;
    if (!key.len) {
        if (!agt__old_add(r->o, all, sizeof(agt_old_document))) return agt__nomem(err);
        return AGT_OK;
    }
    if (!all->count) return AGT_OK;
    agt_old_document *d = AGT_OLD_ITEM(all, agt_old_document, all->count - 1);
    if (agt__text_is(key, "tags")) {
        d->tags = agt__old_keep(r->o, v->text);
        return d->tags.data ? AGT_OK : agt__nomem(err);
    }
    agt_text text = files_text(r, v);
    if (r->nomem) return agt__nomem(err);
    if (agt__text_is(key, "id")) d->id = text;
    if (agt__text_is(key, "path")) d->path = text;
    if (agt__text_is(key, "doc_type")) d->type = text;
    if (agt__text_is(key, "description")) d->description = text;
    if (agt__text_is(key, "agent_name")) d->agent = text;
    return AGT_OK;
}

static bool files_document_good(const agt_old_document *d) {
    char type[16];
    return d->path.len && agt__copy_text(type, sizeof type, d->type.data, d->type.len) &&
           agt_type_from_name(type) != AGT_TYPE_DEFAULT;
}

/* Rows that the damage cut off in the middle say nothing. */
static void files_drop_torn(agt_old *o) {
    size_t kept = 0;
    for (size_t i = 0; i < o->documents.count; i++) {
        agt_old_document *d = AGT_OLD_ITEM(&o->documents, agt_old_document, i);
        if (!files_document_good(d))
            o->damage.manifest = true;
        else
            *AGT_OLD_ITEM(&o->documents, agt_old_document, kept++) = *d;
    }
    o->documents.count = kept;
}

/* ---- overrides.toml ---- */

static agt_status files_grant(agt_text table, agt_text key, const agt_toml_value *v, agt_error *err,
                              void *ctx) {
    files_reader *r = ctx;
    agt_old_list *all = &r->o->grants;
    if (!agt__text_is(table, "override")) return AGT_OK;
    if (!key.len) {
        if (!agt__old_add(r->o, all, sizeof(agt_old_grant))) return agt__nomem(err);
        return AGT_OK;
    }
    if (!all->count) return AGT_OK;
    agt_old_grant *g = AGT_OLD_ITEM(all, agt_old_grant, all->count - 1);
    agt_text text = files_text(r, v);
    if (r->nomem) return agt__nomem(err);
    if (agt__text_is(key, "doc_id")) g->doc = text;
    if (agt__text_is(key, "path")) g->path = text;
    if (agt__text_is(key, "allow_actor")) g->actor = text;
    if (agt__text_is(key, "granted_by")) g->by = text;
    if (text.data && agt__text_is(key, "granted_at"))
        (void)agt__time_parse(text.data, text.len, &g->granted_ms);
    if (text.data && agt__text_is(key, "expires_at"))
        (void)agt__time_parse(text.data, text.len, &g->expires_ms);
    return AGT_OK;
}

/* A grant that is torn gives no right. */
static void files_drop_grants(agt_old *o) {
    size_t kept = 0;
    for (size_t i = 0; i < o->grants.count; i++) {
        agt_old_grant *g = AGT_OLD_ITEM(&o->grants, agt_old_grant, i);
        if (g->path.len && g->actor.len && g->expires_ms && g->granted_ms)
            *AGT_OLD_ITEM(&o->grants, agt_old_grant, kept++) = *g;
        else
            o->damage.overrides = true;
    }
    o->grants.count = kept;
}

static agt_status files_overrides(agt_old *o, agt_error *err) {
    agt_stat st;
    if (o->sys->stat(o->sys->ctx, o->at, "overrides.toml", &st) < 0) return AGT_OK; /* none given */
    agt_status status = files_toml(o, "overrides.toml", files_grant, &o->damage.overrides, err);
    files_drop_grants(o);
    return status;
}

/* ---- summary_events.jsonl ---- */

static bool files_member(agt_old *o, const agt_json *object, const char *name, agt_text *out,
                         bool *nomem) {
    agt_json v;
    char small[512];
    *out = (agt_text){NULL, 0};
    if (!agt__json_get(object, name, &v) || v.kind == AGT_JSON_NULL) return true;
    if (v.kind != AGT_JSON_STRING) return false;
    if (!v.escaped) {
        *out = agt__old_keep(o, (agt_text){v.raw + 1, v.len - 2});
    } else if (v.len <= sizeof small) {
        *out = agt__old_keep(o, (agt_text){small, agt__json_unescape(&v, small)});
    } else {
        char *room = agt__alloc(&o->mem, v.len);
        if (room) *out = agt__old_keep(o, (agt_text){room, agt__json_unescape(&v, room)});
        agt__free(&o->mem, room, v.len);
    }
    if (!out->data) *nomem = true;
    return out->data != NULL;
}

/* False: the line is no event. */
static bool files_event(agt_old *o, const char *line, size_t n, agt_old_event *e, bool *nomem) {
    agt_json root, v;
    agt_text when;
    memset(e, 0, sizeof *e);
    if (agt__json_parse(line, n, &root, NULL) != AGT_OK || root.kind != AGT_JSON_OBJECT)
        return false;
    const struct {
        const char *name;
        agt_text *to;
    } members[] = {
        {"session_id", &e->session},      {"agent_name", &e->agent}, {"actor", &e->actor},
        {"action", &e->action},           {"change_kind", &e->kind}, {"path", &e->path},
        {"doc_type", &e->type},           {"summary", &e->summary},  {"source", &e->source},
        {"detected_by", &e->detected_by}, {"timestamp", &when}};
    for (size_t i = 0; i < AGT_COUNT(members); i++)
        if (!files_member(o, &root, members[i].name, members[i].to, nomem)) return false;
    if (agt__json_get(&root, "lines_added", &v)) (void)agt__json_i64(&v, &e->added);
    if (agt__json_get(&root, "lines_removed", &v)) (void)agt__json_i64(&v, &e->removed);
    return e->actor.len && e->action.len && when.data &&
           agt__time_parse(when.data, when.len, &e->at_ms);
}

static agt_status files_events(agt_old *o, agt_error *err) {
    agt_buf bytes = agt__buf(&o->mem);
    agt_error mine;
    bool nomem = false;
    agt_status st =
        agt__read_file(o->sys, o->at, "summary_events.jsonl", FILES_EVENTS, &bytes, &mine);
    o->damage.events_missing = st == AGT_NOT_FOUND;
    const char *p = (const char *)bytes.data, *end = p ? p + bytes.len : p, *line_end;
    for (; st == AGT_OK && p && p < end && !nomem; p = line_end + 1) {
        agt_old_event e;
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end == p) continue;
        if (!files_event(o, p, (size_t)(line_end - p), &e, &nomem)) {
            o->damage.event_lines++;
            continue;
        }
        agt_old_event *kept = agt__old_add(o, &o->events, sizeof e);
        if (kept)
            *kept = e;
        else
            nomem = true;
    }
    agt__buf_free(&bytes);
    if (nomem) return agt__nomem(err);
    return st == AGT_NOMEM || st == AGT_IO ? agt__answer(st, &mine, err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__old_files(agt_old *o, agt_error *err) {
    o->config.interval_ms = 1000;
    o->config.polling = true;
    agt_status st = files_toml(o, "config.toml", files_config, &o->damage.config, err);
    if (st == AGT_OK) st = files_toml(o, "manifest.toml", files_manifest, &o->damage.manifest, err);
    if (st != AGT_OK) return st;
    files_drop_torn(o);
    st = files_overrides(o, err);
    return st == AGT_OK ? files_events(o, err) : st;
}
