/* event: the line of the trace.
 *
 *   {"timestamp":"...","session_id":null,"agent_name":"kestrel","actor":"agent:kestrel",
 *    "action":"modify","change_kind":"modify","path":"a.md","doc_type":"plan","summary":"...",
 *    "source":"cli","detected_by":"cli","lines_added":1,"lines_removed":0,"seq":17,
 *    "replica":"...","version":3,"blob":"...","doc":"...","doc_prev":12,"prev":"..."}
 *
 * then, where they are needed, "recorded_at" and "rejected". No white space, one newline.
 *
 * (1) The same event gives the same bytes: hashes and commit messages depend on it.
 * (2) Reading tries the canonical order first, field by field; the first surprise sends the line
 *     through the general reader. Both give the same event. */
#include "event.h"

typedef enum event_kind { EVENT_TIME, EVENT_TEXT, EVENT_INT, EVENT_SEQ, EVENT_U32 } event_kind;

typedef struct event_field {
    const char *key; /* as it stands in the line, with what separates it from the value before */
    unsigned char key_len, name_at, name_len, kind;
    bool optional;
    size_t at; /* in agt_event */
} event_field;

#define EVENT_KEY(first, name) first "\"" name "\":"
#define EVENT_FIELD(first, name, kind, optional, member)                                           \
    {                                                                                              \
        EVENT_KEY(first, name), (unsigned char)(sizeof EVENT_KEY(first, name) - 1),                \
            (unsigned char)(sizeof first), (unsigned char)(sizeof name - 1), kind, optional,       \
            offsetof(agt_event, member)                                                            \
    }

static const event_field event_fields[] = {
    EVENT_FIELD("{", "timestamp", EVENT_TIME, false, at_unix_ms),
    EVENT_FIELD(",", "session_id", EVENT_TEXT, false, session_id),
    EVENT_FIELD(",", "agent_name", EVENT_TEXT, false, agent_name),
    EVENT_FIELD(",", "actor", EVENT_TEXT, false, actor),
    EVENT_FIELD(",", "action", EVENT_TEXT, false, action),
    EVENT_FIELD(",", "change_kind", EVENT_TEXT, false, change_kind),
    EVENT_FIELD(",", "path", EVENT_TEXT, false, path),
    EVENT_FIELD(",", "doc_type", EVENT_TEXT, false, doc_type),
    EVENT_FIELD(",", "summary", EVENT_TEXT, false, summary),
    EVENT_FIELD(",", "source", EVENT_TEXT, false, source),
    EVENT_FIELD(",", "detected_by", EVENT_TEXT, false, detected_by),
    EVENT_FIELD(",", "lines_added", EVENT_INT, false, lines_added),
    EVENT_FIELD(",", "lines_removed", EVENT_INT, false, lines_removed),
    EVENT_FIELD(",", "seq", EVENT_SEQ, false, seq),
    EVENT_FIELD(",", "replica", EVENT_TEXT, false, replica),
    EVENT_FIELD(",", "version", EVENT_U32, false, version),
    EVENT_FIELD(",", "blob", EVENT_TEXT, false, blob),
    EVENT_FIELD(",", "doc", EVENT_TEXT, false, doc),
    EVENT_FIELD(",", "doc_prev", EVENT_SEQ, false, doc_prev),
    EVENT_FIELD(",", "prev", EVENT_TEXT, false, prev),
    EVENT_FIELD(",", "recorded_at", EVENT_TIME, true, recorded_unix_ms),
    EVENT_FIELD(",", "rejected", EVENT_TEXT, true, rejected),
};
enum { EVENT_SEQ_FIELD = 13 };

static void *event_at(agt_event *e, const event_field *f) {
    return (unsigned char *)e + f->at;
}

/* ---- writing ---- */

static void event_put_int(agt_buf *out, int64_t v) {
    if (v < 0) agt__buf_byte(out, '-');
    agt__buf_u64(out, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

static void event_put_time(agt_buf *out, int64_t unix_ms) {
    char time[AGT_TIME_TEXT + 2];
    time[0] = '"';
    agt__time_format(unix_ms, time + 1);
    time[AGT_TIME_TEXT] = '"';
    agt__buf_put(out, time, AGT_TIME_TEXT + 1);
}

static void event_put_value(agt_buf *out, const event_field *f, const agt_event *e) {
    const void *p = (const unsigned char *)e + f->at;
    const agt_text *t = p;
    int64_t i;
    uint64_t u;
    uint32_t v;
    switch ((event_kind)f->kind) {
    case EVENT_TIME: memcpy(&i, p, sizeof i), event_put_time(out, i); break;
    case EVENT_INT: memcpy(&i, p, sizeof i), event_put_int(out, i); break;
    case EVENT_SEQ: memcpy(&u, p, sizeof u), agt__buf_u64(out, u); break;
    case EVENT_U32: memcpy(&v, p, sizeof v), agt__buf_u64(out, v); break;
    case EVENT_TEXT:
        if (t->data)
            agt__json_put_string(out, t->data, t->len);
        else
            agt__buf_put(out, "null", 4);
        break;
    }
}

static bool event_wants(const event_field *f, const agt_event *e) {
    if (!f->optional) return true;
    if (f->kind == EVENT_TEXT) return e->rejected.data != NULL;
    return e->recorded_unix_ms != e->at_unix_ms;
}

AGT_PRIVATE agt_status agt__event_format(agt_buf *out, const agt_event *e, agt_error *err) {
    size_t start = out->len;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const event_field *f = &event_fields[i];
        if (!event_wants(f, e)) continue;
        agt__buf_put(out, f->key, f->key_len);
        event_put_value(out, f, e);
    }
    agt__buf_put(out, "}\n", 2);
    if (out->failed) return agt__nomem(err);
    if (out->len - start <= AGT_MAX_EVENT) return AGT_OK;
    size_t n = out->len - start;
    out->len = start;
    return agt__fail(err, AGT_LIMIT,
                     "the event's line would have %zu bytes, at most %d are allowed", n,
                     AGT_MAX_EVENT);
}

/* ---- reading ---- */

static agt_status event_bad(agt_error *err, size_t at, const char *why) {
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)at, "not a valid event: %s", why);
}

static bool event_set(agt_event *e, const event_field *f, const agt_json *v, agt_buf *scratch) {
    void *p = event_at(e, f);
    int64_t i;
    uint64_t u;
    if (f->kind == EVENT_TEXT && v->kind == AGT_JSON_NULL) return true;
    if (f->kind == EVENT_TEXT) {
        agt_text t = {v->raw + 1, v->len - 2};
        if (v->kind != AGT_JSON_STRING) return false;
        if (v->escaped) { /* room was made for the whole line: the bytes do not move */
            t.data = (const char *)scratch->data + scratch->len;
            t.len = agt__json_unescape(v, (char *)scratch->data + scratch->len);
            scratch->len += t.len;
        }
        memcpy(p, &t, sizeof t);
        return true;
    }
    switch ((event_kind)f->kind) {
    case EVENT_TIME:
        if (v->kind != AGT_JSON_STRING || !agt__time_parse(v->raw + 1, v->len - 2, &i))
            return false;
        memcpy(p, &i, sizeof i);
        return true;
    case EVENT_INT:
        if (!agt__json_i64(v, &i)) return false;
        memcpy(p, &i, sizeof i);
        return true;
    default:
        if (!agt__json_u64(v, &u) || (f->kind == EVENT_U32 && u > UINT32_MAX)) return false;
        if (f->kind == EVENT_U32) {
            uint32_t u32 = (uint32_t)u;
            memcpy(p, &u32, sizeof u32);
        } else
            memcpy(p, &u, sizeof u);
        return true;
    }
}

static const event_field *event_field_named(const agt_json *key) {
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const event_field *f = &event_fields[i];
        if (key->len == (size_t)f->name_len + 2 &&
            memcmp(key->raw + 1, f->key + f->name_at, f->name_len) == 0)
            return f;
    }
    return NULL;
}

static agt_status event_complete(agt_event *e, uint32_t seen, agt_error *err) {
    if (!(seen & 1u)) return event_bad(err, 0, "it has no timestamp");
    if (!e->seq) return event_bad(err, 0, "it has no seq");
    if (!e->actor.data || !e->action.data) return event_bad(err, 0, "it has no actor or action");
    if (e->prev.len != 64) return event_bad(err, 0, "it has no prev");
    if (!(seen & (1u << 20))) e->recorded_unix_ms = e->at_unix_ms;
    return AGT_OK;
}

static agt_status event_parse_any(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                  agt_error *err) {
    agt_json root, key, value;
    size_t at = 0;
    uint32_t seen = 0;
    agt_error inner;
    memset(&inner, 0, sizeof inner);
    agt_status st = agt__json_parse(line, n, &root, &inner);
    if (st != AGT_OK)
        return agt__fail_at(err, AGT_CORRUPT, inner.offset, "not a valid event: %.300s",
                            inner.message);
    if (root.kind != AGT_JSON_OBJECT) return event_bad(err, 0, "it is no object");
    while (agt__json_next(&root, &at, &key, &value)) {
        const event_field *f = event_field_named(&key);
        size_t where = (size_t)(value.raw - line);
        if (!f) continue;
        uint32_t bit = 1u << (uint32_t)(f - event_fields);
        if (seen & bit) return event_bad(err, where, "a field stands twice");
        if (!event_set(e, f, &value, scratch)) return event_bad(err, where, "a field is mistyped");
        seen |= bit;
    }
    return event_complete(e, seen, err);
}

/* The value at `p` in a canonical line, if it is a plain one; its length, or 0. Strings with
 * escapes or bytes above 0x7f go through the general reader. */
static size_t event_plain_value(const char *p, const char *end, agt_json *v) {
    const char *q = p;
    v->raw = p;
    v->escaped = false;
    if (q < end && *q == '"') {
        for (q++; q < end && *q != '"'; q++)
            if (*q == '\\' || (unsigned char)*q < 0x20 || (unsigned char)*q >= 0x80) return 0;
        if (q == end) return 0;
        v->kind = AGT_JSON_STRING;
        q++;
    } else if (end - q >= 4 && memcmp(q, "null", 4) == 0) {
        v->kind = AGT_JSON_NULL;
        q += 4;
    } else {
        while (q < end && ((*q >= '0' && *q <= '9') || *q == '-'))
            q++;
        if (q == p || (q - p > 1 && (p[0] == '0' || (p[0] == '-' && p[1] == '0')))) return 0;
        if (memchr(p + 1, '-', (size_t)(q - p - 1)) || (q - p == 1 && *p == '-')) return 0;
        v->kind = AGT_JSON_NUMBER;
    }
    v->len = (size_t)(q - p);
    return v->len;
}

/* (2) false: not canonical, or not plain. */
static bool event_parse_canonical(const char *line, size_t n, agt_event *e) {
    const char *p = line, *end = line + n;
    uint32_t seen = 0;
    agt_json v;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const event_field *f = &event_fields[i];
        bool here = (size_t)(end - p) > f->key_len && memcmp(p, f->key, f->key_len) == 0;
        if (!here && f->optional) continue;
        if (!here) return false;
        p += f->key_len;
        size_t len = event_plain_value(p, end, &v);
        if (!len || !event_set(e, f, &v, NULL)) return false;
        p += len;
        seen |= 1u << i;
    }
    if (end - p != 2 || memcmp(p, "}\n", 2) != 0) return false;
    return event_complete(e, seen, NULL) == AGT_OK;
}

AGT_PRIVATE agt_status agt__event_parse(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                        agt_error *err) {
    static const agt_event blank = AGT_EVENT_INIT;
    *e = blank;
    scratch->len = 0;
    if (n > AGT_MAX_EVENT) return event_bad(err, AGT_MAX_EVENT, "it is too long");
    if (!n || line[n - 1] != '\n') return event_bad(err, n, "it has no newline");
    if (!event_parse_canonical(line, n, e)) {
        *e = blank;
        if (!agt__buf_reserve(scratch, n)) {
            scratch->failed = false;
            return agt__nomem(err);
        }
        agt_status st = event_parse_any(line, n, scratch, e, err);
        if (st != AGT_OK) return st;
    }
    e->line = (agt_text){line, n};
    return AGT_OK;
}

AGT_PRIVATE bool agt__event_seq(const char *line, size_t n, uint64_t *seq) {
    const event_field *f = &event_fields[EVENT_SEQ_FIELD];
    const char *end = line + n;
    for (const char *p = line; (size_t)(end - p) > f->key_len; p++) {
        p = memchr(p, ',', (size_t)(end - p));
        if (!p || (size_t)(end - p) <= f->key_len) return false;
        if (memcmp(p, f->key, f->key_len) != 0) continue;
        uint64_t v = 0;
        const char *q = p + f->key_len;
        for (; q < end && *q >= '0' && *q <= '9' && v < UINT64_MAX / 10 - 9; q++)
            v = v * 10 + (uint64_t)(*q - '0');
        *seq = v;
        return q > p + f->key_len && q < end && (*q == ',' || *q == '}') && v > 0;
    }
    return false;
}
