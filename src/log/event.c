/* event: the line of the trace.
 *
 *   {"timestamp":"...","session_id":null,"agent_name":"kestrel","actor":"agent:kestrel",
 *    "action":"modify","change_kind":"modify","path":"a.md","doc_type":"plan","summary":"...",
 *    "source":"cli","detected_by":"cli","lines_added":1,"lines_removed":0,"seq":17,
 *    "replica":"...","version":3,"blob":"...","doc":"...","doc_prev":12,"prev":"..."}
 *
 * then, where they are needed, "recorded_at", "rejected", "from", "grant" and "until". No white
 * space, one newline.
 *
 * (1) The same event gives the same bytes: hashes and commit messages depend on it.
 * (2) Reading tries the canonical order first, field by field; the first surprise sends the line
 *     through the general reader. Both take the same texts for the same values, and only the
 *     general reader refuses.
 * (3) A line has one newline, its last byte.
 * (4) Unescaped texts lie in `scratch`, in which room for the whole line is made before the first
 *     one: it never moves under an event. */
#include "event.h"

typedef enum event_kind { EVENT_TIME, EVENT_TEXT, EVENT_INT, EVENT_SEQ, EVENT_U32 } event_kind;

#define EVENT_KEY_ROOM 20 /* copied whole, whatever the key's length: no call for a few bytes */
#define EVENT_NAME_MAX 13
#define EVENT_PREV     64

typedef struct event_field {
    char key[EVENT_KEY_ROOM]; /* as it stands in the line, with what separates it from before */
    unsigned char key_len, name_len, kind;
    bool optional;
    size_t at; /* in agt_event */
} event_field;

#define EVENT_FIELD(first, name, kind, optional, member)                                           \
    {                                                                                              \
        first "\"" name "\":", (unsigned char)(sizeof name + 3), (unsigned char)(sizeof name - 1), \
            kind, optional, offsetof(agt_event, member)                                            \
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
    EVENT_FIELD(",", "from", EVENT_TEXT, true, from),
    EVENT_FIELD(",", "grant", EVENT_TEXT, true, grant),
    EVENT_FIELD(",", "until", EVENT_TIME, true, until_unix_ms),
};
enum { EVENT_SEQ_FIELD = 13, EVENT_RECORDED_FIELD = 20 };

/* The most a field takes without its text: key, number or time, quotes, "null". */
#define EVENT_FIELD_ROOM (EVENT_KEY_ROOM + AGT_TIME_TEXT + 2)
#define EVENT_ROOM       (AGT_COUNT(event_fields) * EVENT_FIELD_ROOM + 2)

/* The number of leading bytes that stand in a string as they are, ASCII only. */
static size_t event_plain(const char *s, size_t n) {
    const uint64_t ones = UINT64_MAX / 255, high = ones * 0x80;
    size_t at = 0;
    for (uint64_t w, quote, slash; n - at >= 8; at += 8) {
        memcpy(&w, s + at, 8);
        quote = w ^ ones * '"';
        slash = w ^ ones * '\\';
        if ((w | ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            high)
            break;
    }
    for (; at < n; at++) {
        unsigned char c = (unsigned char)s[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
    }
    return at;
}

/* ---- writing ---- */

static unsigned char *event_put_u64(unsigned char *p, uint64_t v) {
    unsigned char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (unsigned char)('0' + v % 10);
        v /= 10;
    } while (v);
    memcpy(p, digits + at, sizeof digits - at);
    return p + (sizeof digits - at);
}

static unsigned char *event_put_int(unsigned char *p, int64_t v) {
    if (v < 0) *p++ = '-';
    return event_put_u64(p, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

static unsigned char *event_put_time(unsigned char *p, int64_t unix_ms) {
    char time[AGT_TIME_TEXT];
    agt__time_format(unix_ms, time);
    *p++ = '"';
    memcpy(p, time, AGT_TIME_TEXT - 1);
    p[AGT_TIME_TEXT - 1] = '"';
    return p + AGT_TIME_TEXT;
}

/* Writes a text at the end of `out`, in which there is room for all its bytes and the fields behind
 * it. Escapes need more room: `room` is what must be left for the others. */
static void event_put_text(agt_buf *out, const agt_text *t, size_t room) {
    unsigned char *p = out->data + out->len;
    if (!t->data) {
        memcpy(p, "null", 4);
        out->len += 4;
        return;
    }
    if (event_plain(t->data, t->len) < t->len) {
        agt__json_put_string(out, t->data, t->len);
        (void)agt__buf_reserve(out, room);
        return;
    }
    p[0] = '"';
    if (t->len) memcpy(p + 1, t->data, t->len);
    p[t->len + 1] = '"';
    out->len += t->len + 2;
}

static void event_put_value(agt_buf *out, const event_field *f, const agt_event *e, size_t room) {
    const void *v = (const unsigned char *)e + f->at;
    unsigned char *p = out->data + out->len, *end = p;
    int64_t i;
    uint64_t u;
    uint32_t u32;
    switch ((event_kind)f->kind) {
    case EVENT_TIME: memcpy(&i, v, sizeof i), end = event_put_time(p, i); break;
    case EVENT_INT: memcpy(&i, v, sizeof i), end = event_put_int(p, i); break;
    case EVENT_SEQ: memcpy(&u, v, sizeof u), end = event_put_u64(p, u); break;
    case EVENT_U32: memcpy(&u32, v, sizeof u32), end = event_put_u64(p, u32); break;
    case EVENT_TEXT: event_put_text(out, v, room); return;
    }
    out->len += (size_t)(end - p);
}

static int64_t event_clamp(int64_t unix_ms) {
    return unix_ms < 0 ? 0 : unix_ms > AGT_TIME_MAX ? AGT_TIME_MAX : unix_ms;
}

static bool event_wants(size_t field, const agt_event *e) {
    const event_field *f = &event_fields[field];
    agt_text t;
    int64_t time;
    if (!f->optional) return true;
    const void *v = (const unsigned char *)e + f->at;
    if (f->kind == EVENT_TEXT) return memcpy(&t, v, sizeof t), t.data != NULL;
    memcpy(&time, v, sizeof time);
    int64_t absent = field == EVENT_RECORDED_FIELD ? e->at_unix_ms : 0;
    return event_clamp(time) != event_clamp(absent);
}

/* The bytes of all texts; more than AGT_MAX_EVENT if one is longer than that. */
static size_t event_texts(const agt_event *e) {
    size_t sum = 0;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const void *v = (const unsigned char *)e + event_fields[i].at;
        const agt_text *t = v;
        if (event_fields[i].kind != EVENT_TEXT || !t->data) continue;
        if (t->len > AGT_MAX_EVENT) return t->len;
        sum += t->len;
    }
    return sum;
}

static agt_status event_too_long(agt_error *err) {
    return agt__fail(err, AGT_LIMIT,
                     "the event's line would have more than the %d bytes that are allowed; "
                     "shorten its texts",
                     AGT_MAX_EVENT);
}

AGT_PRIVATE agt_status agt__event_format(agt_buf *out, const agt_event *e, agt_error *err) {
    size_t start = out->len, texts = event_texts(e), room = texts + EVENT_ROOM;
    if (texts > AGT_MAX_EVENT) return event_too_long(err);
    if (!agt__buf_reserve(out, room)) return agt__nomem(err);
    for (size_t i = 0; i < AGT_COUNT(event_fields) && !out->failed; i++) {
        const event_field *f = &event_fields[i];
        if (!event_wants(i, e)) continue;
        memcpy(out->data + out->len, f->key, EVENT_KEY_ROOM);
        out->len += f->key_len;
        event_put_value(out, f, e, room);
    }
    agt__buf_put(out, "}\n", 2);
    size_t n = out->len - start;
    if (!out->failed && n <= AGT_MAX_EVENT) return AGT_OK;
    out->len = start;
    return out->failed ? agt__nomem(err) : event_too_long(err);
}

/* ---- reading ---- */

static agt_status event_bad(agt_error *err, size_t at, const char *why) {
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)at, "not a valid event: %s", why);
}

/* (4) `whole` is the length of the line. False if the value is no text or there is no memory. */
static bool event_set_text(void *p, const agt_json *v, agt_buf *scratch, size_t whole) {
    agt_text t = {v->raw + 1, v->len - 2};
    if (v->kind == AGT_JSON_NULL) return true;
    if (v->kind != AGT_JSON_STRING) return false;
    if (v->escaped) {
        if (!agt__buf_reserve(scratch, whole - scratch->len)) return false;
        t.data = (const char *)scratch->data + scratch->len;
        t.len = agt__json_unescape(v, (char *)scratch->data + scratch->len);
        scratch->len += t.len;
    }
    memcpy(p, &t, sizeof t);
    return true;
}

static bool event_set(agt_event *e, const event_field *f, const agt_json *v, agt_buf *scratch,
                      size_t whole) {
    void *p = (unsigned char *)e + f->at;
    int64_t i;
    uint64_t u;
    uint32_t u32;
    switch ((event_kind)f->kind) {
    case EVENT_TEXT: return event_set_text(p, v, scratch, whole);
    case EVENT_TIME:
        if (v->kind != AGT_JSON_STRING || !agt__time_parse(v->raw + 1, v->len - 2, &i))
            return false;
        memcpy(p, &i, sizeof i);
        return true;
    case EVENT_INT:
        if (!agt__json_i64(v, &i)) return false;
        memcpy(p, &i, sizeof i);
        return true;
    case EVENT_SEQ:
        if (!agt__json_u64(v, &u)) return false;
        memcpy(p, &u, sizeof u);
        return true;
    case EVENT_U32:
        if (!agt__json_u64(v, &u) || u > UINT32_MAX) return false;
        u32 = (uint32_t)u;
        memcpy(p, &u32, sizeof u32);
        return true;
    }
    return false;
}

static const event_field *event_field_named(const agt_json *key) {
    char plain[EVENT_NAME_MAX * 6];
    const char *name = key->raw + 1;
    size_t n = key->len - 2;
    if (n > sizeof plain) return NULL;
    if (key->escaped) {
        n = agt__json_unescape(key, plain);
        name = plain;
    }
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++)
        if (n == event_fields[i].name_len && memcmp(name, event_fields[i].key + 2, n) == 0)
            return &event_fields[i];
    return NULL;
}

static agt_status event_complete(agt_event *e, uint32_t seen, agt_error *err) {
    unsigned char prev[EVENT_PREV / 2];
    if (!(seen & 1u)) return event_bad(err, 0, "it has no timestamp");
    if (!e->seq) return event_bad(err, 0, "it has no seq");
    if (!e->actor.data || !e->action.data) return event_bad(err, 0, "it has no actor or action");
    if (!e->prev.data || !agt__unhex(e->prev.data, e->prev.len, prev, sizeof prev))
        return event_bad(err, 0, "it has no prev of 64 hexadecimal digits");
    if (!(seen & 1u << EVENT_RECORDED_FIELD)) e->recorded_unix_ms = e->at_unix_ms;
    return AGT_OK;
}

static agt_status event_parse_any(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                  agt_error *err) {
    agt_json root, key, value;
    size_t at = 0;
    uint32_t seen = 0;
    agt_error inner;
    memset(&inner, 0, sizeof inner);
    const char *newline = memchr(line, '\n', n);
    if (newline != line + n - 1) /* (3) */
        return event_bad(err, (size_t)(newline - line), "a newline stands inside");
    if (agt__json_parse(line, n, &root, err ? &inner : NULL) != AGT_OK)
        return agt__fail_at(err, AGT_CORRUPT, inner.offset, "not a valid event: %.300s",
                            inner.message);
    if (root.kind != AGT_JSON_OBJECT) return event_bad(err, 0, "it is no object");
    while (agt__json_next(&root, &at, &key, &value)) {
        const event_field *f = event_field_named(&key);
        size_t where = (size_t)(value.raw - line);
        if (!f) continue;
        uint32_t bit = 1u << (uint32_t)(f - event_fields);
        if (seen & bit) return event_bad(err, where, "a field stands twice");
        if (!event_set(e, f, &value, scratch, n))
            return scratch->failed ? agt__nomem(err) : event_bad(err, where, "a field is mistyped");
        seen |= bit;
    }
    return event_complete(e, seen, err);
}

/* The string that begins at `p`; false if it is none. What is escaped is judged by the general
 * reader. */
static bool event_string(const char *p, const char *end, agt_json *v) {
    agt_json again;
    const char *q = p + 1;
    v->escaped = false;
    for (;;) {
        q += event_plain(q, (size_t)(end - q));
        if (q == end) return false;
        if (*q == '"') break;
        size_t step = *q == '\\' ? 2 : agt__utf8_char(q, (size_t)(end - q));
        v->escaped |= *q == '\\';
        if ((unsigned char)*q < 0x20 || !step || step > (size_t)(end - q)) return false;
        q += step;
    }
    v->kind = AGT_JSON_STRING;
    v->len = (size_t)(q - p) + 1;
    return !v->escaped || agt__json_parse(p, v->len, &again, NULL) == AGT_OK;
}

/* The value at `p` of a canonical line: a string, null, or an integer. */
static bool event_value(const char *p, const char *end, agt_json *v) {
    const char *q = p;
    v->raw = p;
    v->escaped = false;
    if (p == end) return false;
    if (*p == '"') return event_string(p, end, v);
    if (*p == 'n') {
        v->kind = AGT_JSON_NULL;
        v->len = 4;
        return end - p >= 4 && memcmp(p, "null", 4) == 0;
    }
    q += *p == '-';
    const char *digits = q;
    while (q < end && *q >= '0' && *q <= '9')
        q++;
    v->kind = AGT_JSON_NUMBER;
    v->len = (size_t)(q - p);
    return q > digits && (*digits != '0' || q == digits + 1);
}

/* (2) False: not canonical, or the general reader has something to say about it. */
static bool event_parse_canonical(const char *line, size_t n, agt_buf *scratch, agt_event *e) {
    const char *p = line, *end = line + n;
    uint32_t seen = 0;
    agt_json v;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const event_field *f = &event_fields[i];
        bool here = (size_t)(end - p) > f->key_len && memcmp(p, f->key, f->key_len) == 0;
        if (!here && f->optional) continue;
        if (!here) return false;
        p += f->key_len;
        if (!event_value(p, end, &v) || !event_set(e, f, &v, scratch, n)) return false;
        p += v.len;
        seen |= 1u << i;
    }
    if (end - p != 2 || memcmp(p, "}\n", 2) != 0) return false;
    return event_complete(e, seen, NULL) == AGT_OK;
}

AGT_PRIVATE agt_status agt__event_parse(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                        agt_error *err) {
    static const agt_event blank = AGT_EVENT_INIT;
    agt_status st = AGT_OK;
    *e = blank;
    scratch->len = 0;
    if (n > AGT_MAX_EVENT) return event_bad(err, AGT_MAX_EVENT, "it is too long");
    if (!n || line[n - 1] != '\n') return event_bad(err, n, "it has no newline");
    if (!event_parse_canonical(line, n, scratch, e)) {
        *e = blank;
        scratch->len = 0;
        st = event_parse_any(line, n, scratch, e, err);
    }
    scratch->failed = false;
    if (st == AGT_OK)
        e->line = (agt_text){line, n};
    else
        *e = blank;
    return st;
}

/* ---- the seq alone ---- */

static bool event_seq_any(const char *line, size_t n, uint64_t *seq) {
    agt_json root, value;
    return agt__json_parse(line, n, &root, NULL) == AGT_OK && root.kind == AGT_JSON_OBJECT &&
           agt__json_get(&root, "seq", &value) && agt__json_u64(&value, seq) && *seq > 0;
}

/* In JSON `,"seq":` is always a key, never a part of a string; and a key of the event itself if no
 * other object was opened before it. A brace in a text is taken for one: that only costs time. */
AGT_PRIVATE bool agt__event_seq(const char *line, size_t n, uint64_t *seq) {
    const event_field *f = &event_fields[EVENT_SEQ_FIELD];
    const char *end = line + n, *p = line;
    agt_json v;
    if (!n || *line != '{') return event_seq_any(line, n, seq);
    while ((p = memchr(p, ',', (size_t)(end - p))) && (size_t)(end - p) > f->key_len) {
        if (memcmp(p, f->key, f->key_len) != 0) {
            p++;
            continue;
        }
        if (memchr(line + 1, '{', (size_t)(p - line - 1)) || !event_value(p + f->key_len, end, &v))
            break;
        p += f->key_len + v.len;
        if (p == end || (*p != ',' && *p != '}')) break;
        return agt__json_u64(&v, seq) && *seq > 0;
    }
    return event_seq_any(line, n, seq);
}
