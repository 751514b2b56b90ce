/* json: reading JSON.
 *
 * One scanner (json_scan) checks a whole text without recursion: it keeps a bit a level that says
 * whether the level is an object, and one state that says what may come next. Everything after
 * that, walking and unescaping, works on bytes that were checked and cannot fail.
 *
 * Unescaping shortens, so it is done in place; a string's closing quote makes room for a NUL. */
#include "json.h"
#include "text.h"

#include <string.h>

typedef struct json_scan {
    const char *s;
    size_t n, at;
    json_error *error;
} json_scan;

static bool json_fail(json_scan *j, size_t offset, const char *why) {
    j->error->why = why;
    j->error->offset = offset;
    return false;
}

static void json_space(json_scan *j) {
    while (j->at < j->n && (j->s[j->at] == ' ' || j->s[j->at] == '\t' || j->s[j->at] == '\n' ||
                            j->s[j->at] == '\r'))
        j->at++;
}

static int json_hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The four digits behind "\u"; -1 if they are none. */
static int json_unit(const char *s, size_t n) {
    int unit = 0;
    if (n < 4) return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = json_hex(s[i]);
        if (digit < 0) return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* At a backslash. */
static bool json_scan_escape(json_scan *j) {
    size_t from = j->at++;
    if (j->at >= j->n) return json_fail(j, from, "the text ends inside a string");
    char c = j->s[j->at++];
    if (c && strchr("\"\\/bfnrt", c)) return true;
    if (c != 'u') return json_fail(j, from, "a backslash is followed by what is no escape");
    int unit = json_unit(j->s + j->at, j->n - j->at);
    if (unit < 0) return json_fail(j, from, "\\u needs four hexadecimal digits");
    j->at += 4;
    if (unit >= 0xdc00 && unit <= 0xdfff) return json_fail(j, from, "half a surrogate pair");
    if (unit < 0xd800 || unit > 0xdbff) return true;
    bool pair = j->n - j->at >= 6 && j->s[j->at] == '\\' && j->s[j->at + 1] == 'u';
    int low = pair ? json_unit(j->s + j->at + 2, 4) : -1;
    if (low < 0xdc00 || low > 0xdfff) return json_fail(j, from, "half a surrogate pair");
    j->at += 6;
    return true;
}

/* At the opening quote. */
static bool json_scan_string(json_scan *j) {
    size_t from = j->at++;
    while (j->at < j->n) {
        unsigned char c = (unsigned char)j->s[j->at];
        uint32_t code;
        size_t len = 1;
        if (c == '"') {
            j->at++;
            return true;
        }
        if (c == '\\') {
            if (!json_scan_escape(j)) return false;
            continue;
        }
        if (c < 0x20) return json_fail(j, j->at, "a control byte in a string must be escaped");
        if (c >= 0x80) len = text_next(j->s + j->at, j->n - j->at, &code);
        if (len == 0) return json_fail(j, j->at, "not valid UTF-8");
        j->at += len;
    }
    return json_fail(j, from, "the text ends inside a string");
}

static size_t json_digits(json_scan *j) {
    size_t from = j->at;
    while (j->at < j->n && j->s[j->at] >= '0' && j->s[j->at] <= '9')
        j->at++;
    return j->at - from;
}

static bool json_at(const json_scan *j, char c) {
    return j->at < j->n && j->s[j->at] == c;
}

static bool json_scan_number(json_scan *j) {
    size_t from = j->at;
    bool good;
    if (json_at(j, '-')) j->at++;
    bool zero = json_at(j, '0');
    size_t digits = json_digits(j);
    good = digits > 0 && !(zero && digits > 1);
    if (json_at(j, '.')) {
        j->at++;
        good = json_digits(j) > 0 && good;
    }
    if (json_at(j, 'e') || json_at(j, 'E')) {
        j->at++;
        if (json_at(j, '+') || json_at(j, '-')) j->at++;
        good = json_digits(j) > 0 && good;
    }
    return good || json_fail(j, from, "not a number");
}

static bool json_scan_word(json_scan *j, const char *word, json_kind kind, json_kind *out) {
    size_t len = strlen(word);
    *out = kind;
    if (j->n - j->at < len || memcmp(j->s + j->at, word, len) != 0)
        return json_fail(j, j->at, "not a JSON value");
    j->at += len;
    return true;
}

/* A value that is no container. */
static bool json_scan_plain(json_scan *j, json_kind *kind) {
    switch (j->s[j->at]) {
    case '"': *kind = JSON_STRING; return json_scan_string(j);
    case 't': return json_scan_word(j, "true", JSON_TRUE, kind);
    case 'f': return json_scan_word(j, "false", JSON_FALSE, kind);
    case 'n': return json_scan_word(j, "null", JSON_NULL, kind);
    default:
        *kind = JSON_NUMBER;
        if (j->s[j->at] == '-' || (j->s[j->at] >= '0' && j->s[j->at] <= '9'))
            return json_scan_number(j);
        return json_fail(j, j->at, "not a JSON value");
    }
}

/* At an object's member: the name and the colon. */
static bool json_scan_name(json_scan *j) {
    if (!json_at(j, '"')) return json_fail(j, j->at, "a member's name in quotes is missing");
    if (!json_scan_string(j)) return false;
    json_space(j);
    if (!json_at(j, ':')) return json_fail(j, j->at, "a ':' is missing");
    j->at++;
    json_space(j);
    return true;
}

typedef struct json_levels {
    bool object[JSON_MAX_DEPTH];
    size_t depth;
} json_levels;

/* Behind a value: closes what ends here. *more: another value follows. */
static bool json_scan_after(json_scan *j, json_levels *l, bool *more) {
    *more = false;
    while (l->depth > 0) {
        bool object = l->object[l->depth - 1];
        json_space(j);
        if (json_at(j, ',')) {
            j->at++;
            json_space(j);
            *more = true;
            return !object || json_scan_name(j);
        }
        if (!json_at(j, object ? '}' : ']'))
            return json_fail(j, j->at,
                             object ? "a ',' or '}' is missing" : "a ',' or ']' is missing");
        j->at++;
        l->depth--;
    }
    return true;
}

/* One value, however deep. */
static bool json_scan_value(json_scan *j, json_kind *first) {
    json_levels l = {{false}, 0};
    json_kind kind = JSON_NULL;
    *first = (json_kind)0;
    for (bool more = true; more;) {
        if (j->at >= j->n) return json_fail(j, j->at, "a value is missing");
        bool object = j->s[j->at] == '{';
        if (object || j->s[j->at] == '[') {
            if (l.depth == JSON_MAX_DEPTH) return json_fail(j, j->at, "nested too deeply");
            l.object[l.depth++] = object;
            kind = object ? JSON_OBJECT : JSON_ARRAY;
            if (*first == 0) *first = kind;
            j->at++;
            json_space(j);
            if (!json_at(j, object ? '}' : ']')) {
                if (object && !json_scan_name(j)) return false;
                continue;
            }
        } else if (!json_scan_plain(j, &kind)) {
            return false;
        }
        if (*first == 0) *first = kind;
        if (!json_scan_after(j, &l, &more)) return false;
    }
    return true;
}

bool json_read(char *s, size_t n, json_value *out, json_error *error) {
    json_scan j = {s, n, 0, error};
    json_space(&j);
    out->raw = s + j.at;
    if (!json_scan_value(&j, &out->kind)) return false;
    out->len = (size_t)(s + j.at - out->raw);
    json_space(&j);
    return j.at == n || json_fail(&j, j.at, "something follows the value");
}

bool json_next(const json_value *container, size_t *at, json_value *key, json_value *value) {
    json_error unused;
    json_scan j = {container->raw, container->len, *at ? *at : 1, &unused};
    json_space(&j);
    if (json_at(&j, ',')) j.at++;
    json_space(&j);
    if (j.at + 1 >= j.n) return false; /* at the closing bracket */
    if (container->kind == JSON_OBJECT) {
        size_t from = j.at;
        (void)json_scan_string(&j);
        if (key) *key = (json_value){JSON_STRING, container->raw + from, j.at - from};
        json_space(&j);
        j.at++;
        json_space(&j);
    }
    value->raw = container->raw + j.at;
    (void)json_scan_value(&j, &value->kind);
    value->len = (size_t)(container->raw + j.at - value->raw);
    *at = j.at;
    return true;
}

static size_t json_encode(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80u | (code & 0x3f));
    out[0] = (char)((0xf00u >> len & 0xf0) | code);
    return len;
}

/* The escape at s, behind its backslash. Returns how many bytes of it were read. */
static size_t json_unescape(const char *s, char *out, size_t *put) {
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known = strchr(from, s[0]);
    if (s[0] != 'u') {
        out[0] = known ? to[known - from] : s[0];
        *put = 1;
        return 1;
    }
    uint32_t code = (uint32_t)json_unit(s + 1, 4);
    bool pair = code >= 0xd800 && code <= 0xdbff;
    if (pair) code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)json_unit(s + 7, 4) - 0xdc00);
    *put = json_encode(out, code);
    return pair ? 11 : 5;
}

char *json_text(json_value *string, size_t *len) {
    char *s = string->raw + 1, *out = s, *end = string->raw + string->len - 1;
    while (s < end) {
        char *slash = memchr(s, '\\', (size_t)(end - s));
        size_t plain = (size_t)((slash ? slash : end) - s), put;
        if (out != s) memmove(out, s, plain);
        out += plain;
        s += plain;
        if (!slash) break;
        char bytes[4];
        s += 1 + json_unescape(s + 1, bytes, &put);
        memcpy(out, bytes, put);
        out += put;
    }
    *out = 0;
    *len = (size_t)(out - (string->raw + 1));
    return string->raw + 1;
}
