/* json: RFC 8259, strict. A value is a slice of the input; nothing is allocated.
 *
 * Promises
 *  1. agt__json_parse takes exactly one value with white space around it. Strings are valid UTF-8
 *     with no lone surrogate, numbers follow the grammar, nothing follows the value.
 *  2. It runs in O(n) with a stack of 128 bits (one a level: object or array), never recursing.
 *  3. The walkers (agt__json_next, agt__json_get) trust (1): they skip a value by its strings and
 *     brackets alone. They never leave the slice, but on text that was not parsed they may find
 *     nonsense.
 *  4. What agt__json_put_string writes is always accepted by agt__json_parse, and unescaping it
 *     gives the same bytes back (U+FFFD where they were no UTF-8).
 *
 * The parser is a machine of two states, "a value must stand here" and "a value has ended", with
 * the stack of open containers between them.
 */
#include "data.h"

#define JSON_ONES (~(uint64_t)0 / 255) /* 0x01 in each of eight bytes */
#define JSON_HIGH (JSON_ONES * 0x80)

/* Not zero if one of the eight bytes ends a plain run: a quote, a backslash, a control byte, or
 * none of ASCII. */
static uint64_t json_special(const char *s) {
    uint64_t w, quote, slash;
    memcpy(&w, s, 8);
    quote = w ^ JSON_ONES * '"';
    slash = w ^ JSON_ONES * '\\';
    return (w | ((w - JSON_ONES * 0x20) & ~w) | ((quote - JSON_ONES) & ~quote) |
            ((slash - JSON_ONES) & ~slash)) &
           JSON_HIGH;
}

static bool json_plain(char c) {
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The first position from `at` on that is not plain; n if all are. */
static size_t json_run(const char *s, size_t n, size_t at) {
    while (n - at >= 8 && !json_special(s + at))
        at += 8;
    while (at < n && json_plain(s[at]))
        at++;
    return at;
}

static size_t json_blanks(const char *s, size_t n, size_t at) {
    while (at < n && (s[at] == ' ' || s[at] == '\n' || s[at] == '\r' || s[at] == '\t'))
        at++;
    return at;
}

/* ---- the parser ---- */

typedef struct json_parser {
    const char *s;
    size_t n, at, depth;
    uint64_t objects[AGT_JSON_MAX_DEPTH / 64]; /* bit d: level d is an object */
    const char *wrong;                         /* what is wrong at `at`; NULL while nothing is */
    bool too_deep;
} json_parser;

static bool json_wrong(json_parser *p, size_t at, const char *what) {
    p->at = at;
    p->wrong = at >= p->n ? "the text ends too early" : what;
    return false;
}

static bool json_in_object(const json_parser *p) {
    size_t top = p->depth - 1;
    return p->objects[top / 64] >> top % 64 & 1;
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t json_hex4(const char *s) {
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int c = s[i] | 0x20, d = c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
        bool letter = c >= 'a' && c <= 'f', digit = s[i] >= '0' && s[i] <= '9';
        if (!letter && !digit) return -1;
        v = v << 4 | d;
    }
    return v;
}

/* "\uXXXX" at s[0..n): the code point, and the bytes it takes (6, or 12 for a pair of surrogates).
 * 0 bytes if it is wrong. */
static size_t json_unicode(const char *s, size_t n, uint32_t *code) {
    int32_t high = n >= 6 ? json_hex4(s + 2) : -1;
    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff)) return 0;
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdbff) return 6;
    int32_t low = n >= 12 && s[6] == '\\' && s[7] == 'u' ? json_hex4(s + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff) return 0;
    *code = 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 12;
}

/* The byte that "\c" stands for; 0 if it stands for none. */
static char json_short_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

/* At a backslash: steps over the escape. */
static bool json_parse_escape(json_parser *p) {
    const char *s = p->s + p->at;
    size_t left = p->n - p->at;
    uint32_t code;
    if (left < 2) return json_wrong(p, p->n, NULL);
    if (s[1] != 'u') {
        if (!json_short_escape(s[1])) return json_wrong(p, p->at, "there is no such escape");
        p->at += 2;
        return true;
    }
    size_t len = json_unicode(s, left, &code);
    if (len == 0)
        return json_wrong(p, left < 6 ? p->n : p->at,
                          "\\u needs four hexadecimal digits, and surrogates come in pairs");
    p->at += len;
    return true;
}

/* At an opening quote: steps behind the closing one. */
static bool json_parse_string(json_parser *p) {
    p->at++;
    for (;;) {
        p->at = json_run(p->s, p->n, p->at);
        if (p->at == p->n) return json_wrong(p, p->n, NULL);
        unsigned char c = (unsigned char)p->s[p->at];
        if (c == '"') {
            p->at++;
            return true;
        }
        if (c == '\\') {
            if (!json_parse_escape(p)) return false;
        } else if (c < 0x20) {
            return json_wrong(p, p->at, "a control byte in a string must be escaped");
        } else {
            size_t len = agt__utf8_char(p->s + p->at, p->n - p->at);
            if (len == 0) return json_wrong(p, p->at, "a string is not valid UTF-8");
            p->at += len;
        }
    }
}

static size_t json_digits(const json_parser *p, size_t at) {
    while (at < p->n && p->s[at] >= '0' && p->s[at] <= '9')
        at++;
    return at;
}

static bool json_parse_number(json_parser *p) {
    size_t at = p->at + (p->s[p->at] == '-'), end = json_digits(p, at);
    if (end == at) return json_wrong(p, at, "a value is expected");
    if (p->s[at] == '0' && end > at + 1)
        return json_wrong(p, at + 1, "a number begins with a needless zero");
    if (end < p->n && p->s[end] == '.') {
        at = end + 1;
        end = json_digits(p, at);
        if (end == at) return json_wrong(p, at, "a fraction needs a digit");
    }
    if (end < p->n && (p->s[end] == 'e' || p->s[end] == 'E')) {
        at = end + 1;
        if (at < p->n && (p->s[at] == '+' || p->s[at] == '-')) at++;
        end = json_digits(p, at);
        if (end == at) return json_wrong(p, at, "an exponent needs a digit");
    }
    p->at = end;
    return true;
}

static bool json_parse_word(json_parser *p, const char *word, size_t len) {
    size_t left = p->n - p->at, i = 0;
    while (i < len && i < left && p->s[p->at + i] == word[i])
        i++;
    if (i < len) return json_wrong(p, p->at + i, "a value is expected");
    p->at += len;
    return true;
}

static bool json_parse_scalar(json_parser *p) {
    switch (p->at < p->n ? p->s[p->at] : 0) {
    case '"': return json_parse_string(p);
    case 't': return json_parse_word(p, "true", 4);
    case 'f': return json_parse_word(p, "false", 5);
    case 'n': return json_parse_word(p, "null", 4);
    default: return p->at < p->n ? json_parse_number(p) : json_wrong(p, p->n, NULL);
    }
}

/* At a member's name: steps to its value. */
static bool json_parse_name(json_parser *p) {
    if (p->at == p->n || p->s[p->at] != '"')
        return json_wrong(p, p->at, "a member's name in quotes is expected");
    if (!json_parse_string(p)) return false;
    p->at = json_blanks(p->s, p->n, p->at);
    if (p->at == p->n || p->s[p->at] != ':') return json_wrong(p, p->at, "a colon is expected");
    p->at = json_blanks(p->s, p->n, p->at + 1);
    return true;
}

/* At '{' or '[': steps to the first value inside; *empty if there is none and it is closed. */
static bool json_open(json_parser *p, bool *empty) {
    bool object = p->s[p->at] == '{';
    if (p->depth == AGT_JSON_MAX_DEPTH) {
        p->too_deep = true;
        return json_wrong(p, p->at, "arrays and objects are nested too deep");
    }
    uint64_t bit = (uint64_t)1 << p->depth % 64, *word = &p->objects[p->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    p->depth++;
    p->at = json_blanks(p->s, p->n, p->at + 1);
    *empty = p->at < p->n && p->s[p->at] == (object ? '}' : ']');
    return *empty || !object || json_parse_name(p);
}

/* Behind a value, inside a container: steps to the next value, or closes containers until there is
 * one or the outermost is closed. */
static bool json_close(json_parser *p) {
    while (p->depth) {
        p->at = json_blanks(p->s, p->n, p->at);
        char c = p->at < p->n ? p->s[p->at] : 0;
        bool object = json_in_object(p);
        if (c == ',') {
            p->at = json_blanks(p->s, p->n, p->at + 1);
            return !object || json_parse_name(p);
        }
        if (c != (object ? '}' : ']'))
            return json_wrong(p, p->at,
                              object ? "a comma or } is expected" : "a comma or ] is expected");
        p->at++;
        p->depth--;
    }
    return true;
}

static bool json_parse_value(json_parser *p) {
    for (bool empty = false;;) {
        char c = p->at < p->n ? p->s[p->at] : 0;
        if (c == '{' || c == '[') {
            if (!json_open(p, &empty)) return false;
            if (!empty) continue;
        } else if (!json_parse_scalar(p)) {
            return false;
        }
        if (!json_close(p)) return false;
        if (p->depth == 0) return true;
    }
}

static agt_json_kind json_kind(char c) {
    switch (c) {
    case 'n': return AGT_JSON_NULL;
    case 'f': return AGT_JSON_FALSE;
    case 't': return AGT_JSON_TRUE;
    case '"': return AGT_JSON_STRING;
    case '[': return AGT_JSON_ARRAY;
    case '{': return AGT_JSON_OBJECT;
    default: return AGT_JSON_NUMBER;
    }
}

static void json_value(agt_json *v, const char *s, size_t len) {
    v->kind = json_kind(s[0]);
    v->raw = s;
    v->len = len;
    v->escaped = v->kind == AGT_JSON_STRING && memchr(s, '\\', len) != NULL;
}

AGT_PRIVATE agt_status agt__json_parse(const char *s, size_t n, agt_json *root, agt_error *err) {
    json_parser p = {s, n, 0, 0, {0}, NULL, false};
    p.at = json_blanks(s, n, 0);
    size_t begin = p.at;
    if (json_parse_value(&p)) {
        size_t end = p.at;
        p.at = json_blanks(s, n, end);
        if (p.at == n) {
            json_value(root, s + begin, end - begin);
            return AGT_OK;
        }
        p.wrong = "something follows the value";
    }
    memset(root, 0, sizeof *root);
    return agt__fail_at(err, p.too_deep ? AGT_LIMIT : AGT_INVALID, (int64_t)p.at,
                        "no valid JSON: %s (byte %zu)", p.wrong, p.at);
}

/* ---- walking what was parsed ---- */

/* From a string's opening quote to behind its closing one. */
static size_t json_skip_string(const char *s, size_t n, size_t at) {
    for (at++; at < n; at++) {
        while (n - at >= 8 && !json_special(s + at))
            at += 8;
        if (at == n) break;
        if (s[at] == '"') return at + 1;
        if (s[at] == '\\') at++;
    }
    return n;
}

static size_t json_skip_value(const char *s, size_t n, size_t at) {
    size_t depth = 0;
    if (s[at] == '"') return json_skip_string(s, n, at);
    if (s[at] != '{' && s[at] != '[') {
        while (at < n && (json_plain(s[at]) && s[at] != ',' && s[at] != ']' && s[at] != '}') &&
               s[at] != ' ')
            at++;
        return at;
    }
    while (at < n) {
        char c = s[at];
        if (c == '"') {
            at = json_skip_string(s, n, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return at;
    }
    return n;
}

AGT_PRIVATE bool agt__json_next(const agt_json *container, size_t *at, agt_json *key,
                                agt_json *value) {
    const char *s = container->raw;
    size_t n = container->len, i = *at ? *at : 1, end;
    bool object = container->kind == AGT_JSON_OBJECT;
    if (!object && container->kind != AGT_JSON_ARRAY) return false;
    i = json_blanks(s, n, i);
    if (i < n && s[i] == ',') i = json_blanks(s, n, i + 1);
    if (i >= n || s[i] == '}' || s[i] == ']') {
        *at = n;
        return false;
    }
    if (object) {
        end = json_skip_string(s, n, i);
        if (key) json_value(key, s + i, end - i);
        i = json_blanks(s, n, end);
        if (i < n) i = json_blanks(s, n, i + 1); /* the colon */
        if (i >= n) {
            *at = n;
            return false;
        }
    }
    end = json_skip_value(s, n, i);
    json_value(value, s + i, end - i);
    *at = end;
    return true;
}

/* The next character of a string's inside at s[0..n) as UTF-8 in `out`; *len its length. Returns
 * the bytes it takes in the input. */
static size_t json_next_char(const char *s, size_t n, char out[4], size_t *len) {
    uint32_t code;
    *len = 1;
    out[0] = s[0];
    if (s[0] != '\\' || n < 2) return 1;
    if (s[1] != 'u') {
        out[0] = json_short_escape(s[1]);
        return 2;
    }
    size_t took = json_unicode(s, n, &code);
    if (took == 0) return 1;
    *len = agt__utf8_put(out, code);
    return took;
}

static bool json_string_is(const agt_json *v, const char *name, size_t name_len) {
    const char *s = v->raw + 1;
    size_t n = v->len - 2, at = 0, done = 0, len;
    char c[4];
    if (!v->escaped) return n == name_len && memcmp(s, name, n) == 0;
    while (at < n) {
        at += json_next_char(s + at, n - at, c, &len);
        if (len > name_len - done || memcmp(name + done, c, len) != 0) return false;
        done += len;
    }
    return done == name_len;
}

AGT_PRIVATE bool agt__json_get(const agt_json *object, const char *name, agt_json *value) {
    size_t at = 0, len = strlen(name);
    agt_json key, v;
    if (object->kind != AGT_JSON_OBJECT) return false;
    while (agt__json_next(object, &at, &key, &v)) {
        if (!json_string_is(&key, name, len)) continue;
        *value = v;
        return true;
    }
    return false;
}

AGT_PRIVATE size_t agt__json_unescape(const agt_json *v, char *out) {
    if (v->kind != AGT_JSON_STRING || v->len < 2) return 0;
    const char *s = v->raw + 1;
    size_t n = v->len - 2, at = 0, to = 0, len;
    while (at < n) {
        const char *slash = v->escaped ? memchr(s + at, '\\', n - at) : NULL;
        size_t run = slash ? (size_t)(slash - (s + at)) : n - at;
        memcpy(out + to, s + at, run);
        at += run;
        to += run;
        if (at == n) break;
        at += json_next_char(s + at, n - at, out + to, &len);
        to += len;
    }
    return to;
}

static bool json_integer(const char *s, size_t n, uint64_t max, uint64_t *out) {
    uint64_t v = 0;
    if (n == 0) return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        uint64_t digit = (uint64_t)(s[i] - '0');
        if (v > (max - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

AGT_PRIVATE bool agt__json_u64(const agt_json *v, uint64_t *out) {
    return v->kind == AGT_JSON_NUMBER && json_integer(v->raw, v->len, UINT64_MAX, out);
}

AGT_PRIVATE bool agt__json_i64(const agt_json *v, int64_t *out) {
    uint64_t u;
    if (v->kind != AGT_JSON_NUMBER || v->len == 0) return false;
    bool minus = v->raw[0] == '-';
    if (!json_integer(v->raw + minus, v->len - minus, (uint64_t)INT64_MAX + minus, &u))
        return false;
    *out = minus && u ? -(int64_t)(u - 1) - 1 : (int64_t)u;
    return true;
}

/* ---- writing ---- */

static void json_put_special(agt_buf *b, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    char out[6] = {'\\', 0, '0', '0', 0, 0};
    switch (c) {
    case '"':
    case '\\': out[1] = (char)c; break;
    case '\b': out[1] = 'b'; break;
    case '\t': out[1] = 't'; break;
    case '\n': out[1] = 'n'; break;
    case '\f': out[1] = 'f'; break;
    case '\r': out[1] = 'r'; break;
    default:
        out[1] = 'u';
        out[4] = digits[c >> 4];
        out[5] = digits[c & 15];
    }
    agt__buf_put(b, out, out[1] == 'u' ? 6 : 2);
}

AGT_PRIVATE void agt__json_put_string(agt_buf *b, const char *s, size_t n) {
    size_t begin = 0, at = 0, len;
    if (n > SIZE_MAX - 2 || !agt__buf_reserve(b, n + 2)) return;
    agt__buf_byte(b, '"');
    for (;;) {
        at = json_run(s, n, at);
        if (at < n && (len = agt__utf8_char(s + at, n - at)) > 1) {
            at += len;
            continue;
        }
        agt__buf_put(b, s + begin, at - begin);
        if (at == n) break;
        if ((unsigned char)s[at] < 0x80)
            json_put_special(b, (unsigned char)s[at]);
        else
            agt__buf_put(b, "\xef\xbf\xbd", 3);
        begin = ++at;
    }
    agt__buf_byte(b, '"');
}
