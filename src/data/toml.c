/* toml: reads as much TOML 1.0 as the library's own small files need, and writes strings.
 *
 * Promises
 *  1. A line is a comment, a [table], an [[array of tables]], or `key = value`; values may be
 *     basic or literal strings, integers in four bases, and booleans. Everything else (floats,
 *     dates, arrays, inline tables, strings in triple quotes) is passed on raw, and may fill
 *     several lines where TOML allows it.
 *  2. A dotted key is the same as its table: `a.b = 1` comes as table "a", key "b". A dot inside
 *     a quoted name is not told from one between names.
 *  3. Valid UTF-8 only; a byte order mark at the beginning and CR LF are allowed. Whoever wants no
 *     duplicate keys must look for them.
 *  4. What agt__toml_put_string writes is read back as the same text.
 *
 * The limits: a table's name with its key has at most TOML_NAME bytes, a string with escapes at
 * most TOML_TEXT, brackets nest at most 64 deep; past them AGT_LIMIT.
 */
#include "data.h"

#define TOML_NAME 512
#define TOML_TEXT 8192

typedef struct toml_reader {
    const char *s;
    size_t n, at;
    agt_toml_fn each;
    void *ctx;
    agt_error *err;
    size_t table_len, name_len; /* name: the table, then the key, parts joined by dots */
    char name[TOML_NAME];
    char text[TOML_TEXT];
} toml_reader;

static agt_status toml_wrong(toml_reader *r, size_t at, const char *what) {
    size_t line = 1;
    for (size_t i = 0; i < at && i < r->n; i++)
        line += r->s[i] == '\n';
    return agt__fail_at(r->err, AGT_INVALID, (int64_t)at, "line %zu: %s", line, what);
}

static agt_status toml_limit(toml_reader *r, size_t at, const char *what) {
    return agt__fail_at(r->err, AGT_LIMIT, (int64_t)at, "%s at byte %zu; shorten it", what, at);
}

/* The byte at `at`; a line feed behind the end, so that every line ends in one. */
static char toml_peek(const toml_reader *r, size_t ahead) {
    return r->at + ahead < r->n ? r->s[r->at + ahead] : '\n';
}

static void toml_blanks(toml_reader *r) {
    while (r->at < r->n && (r->s[r->at] == ' ' || r->s[r->at] == '\t'))
        r->at++;
}

static bool toml_control(char c) {
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool toml_line_end(const toml_reader *r) {
    char c = toml_peek(r, 0);
    return c == '\n' || (c == '\r' && toml_peek(r, 1) == '\n' && r->at + 1 < r->n);
}

/* Blanks, a comment, and the end of the line. */
static agt_status toml_end_line(toml_reader *r) {
    toml_blanks(r);
    if (toml_peek(r, 0) == '#') {
        while (!toml_line_end(r)) {
            if (toml_control(r->s[r->at])) return toml_wrong(r, r->at, "a control byte");
            r->at++;
        }
    }
    if (!toml_line_end(r)) return toml_wrong(r, r->at, "the end of the line is expected");
    if (r->at < r->n) r->at += r->s[r->at] == '\r' ? 2 : 1;
    return AGT_OK;
}

/* ---- strings ---- */

static int toml_digit(char c, int base) {
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

/* Behind the backslash: writes the character to `out` (4 bytes); its length, 0 if it is wrong. */
static size_t toml_escape(toml_reader *r, char *out) {
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    char c = toml_peek(r, 0);
    const char *found = c ? strchr(from, c) : NULL;
    r->at++;
    if (found) {
        out[0] = to[found - from];
        return 1;
    }
    uint32_t code = 0;
    int digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) return 0;
    for (int i = 0; i < digits; i++, r->at++) {
        int d = toml_digit(toml_peek(r, 0), 16);
        if (d < 0) return 0;
        code = code << 4 | (uint32_t)d;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    return agt__utf8_put(out, code);
}

/* At a quote: the text between it and the next one, in the input or, if it has escapes, in
 * r->text. */
static agt_status toml_string(toml_reader *r, agt_text *out) {
    char quote = r->s[r->at++];
    size_t begin = r->at, len = 0, run = r->at;
    bool copied = false;
    for (; toml_peek(r, 0) != quote; r->at++) {
        char c = toml_peek(r, 0);
        if (c == '\n' || c == '\r') return toml_wrong(r, begin - 1, "a string is not closed");
        if (toml_control(c)) return toml_wrong(r, r->at, "a control byte in a string");
        if (c != '\\' || quote != '"') continue;
        if (len + (r->at - run) + 4 > TOML_TEXT) return toml_limit(r, begin, "a string too long");
        memcpy(r->text + len, r->s + run, r->at - run);
        size_t slash = r->at++;
        len += slash - run;
        size_t one = toml_escape(r, r->text + len);
        if (one == 0) return toml_wrong(r, slash, "no such escape in a string");
        len += one;
        copied = true;
        run = r->at--;
    }
    size_t tail = r->at++ - run;
    out->data = copied ? r->text : r->s + begin;
    out->len = copied ? len + tail : tail;
    if (copied && tail > TOML_TEXT - len) return toml_limit(r, begin, "a string too long");
    if (copied) memcpy(r->text + len, r->s + run, tail);
    return AGT_OK;
}

/* ---- names ---- */

static bool toml_bare(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static agt_status toml_name_part(toml_reader *r) {
    size_t begin = r->at;
    char c = toml_peek(r, 0);
    agt_text part;
    if (c == '"' || c == '\'') {
        agt_status status = toml_string(r, &part);
        if (status != AGT_OK) return status;
    } else {
        while (r->at < r->n && toml_bare(r->s[r->at]))
            r->at++;
        if (r->at == begin) return toml_wrong(r, begin, "a name is expected");
        part.data = r->s + begin;
        part.len = r->at - begin;
    }
    if (part.len == 0) return toml_wrong(r, begin, "a name is empty");
    if (part.len + 1 > TOML_NAME - r->name_len) return toml_limit(r, begin, "a name too long");
    memcpy(r->name + r->name_len, part.data, part.len);
    r->name_len += part.len;
    return AGT_OK;
}

/* A key or a table's name, appended to r->name. *last is where its last part begins. */
static agt_status toml_name(toml_reader *r, size_t *last) {
    for (;;) {
        *last = r->name_len;
        agt_status status = toml_name_part(r);
        if (status != AGT_OK) return status;
        toml_blanks(r);
        if (toml_peek(r, 0) != '.') return AGT_OK;
        r->at++;
        r->name[r->name_len++] = '.';
        toml_blanks(r);
    }
}

/* ---- values ---- */

/* A whole number in r->s[begin..end): sign, base, digits with single underscores between them. */
static bool toml_integer(const char *s, size_t n, int64_t *out, bool *too_big) {
    static const char bases[] = "xob";
    static const int base_of[] = {16, 8, 2};
    bool minus = n && s[0] == '-', sign = minus || (n && s[0] == '+');
    uint64_t v = 0, max = (uint64_t)INT64_MAX + minus;
    size_t i = sign;
    int base = 10;
    const char *b = !sign && n > 2 && s[0] == '0' && s[1] ? strchr(bases, s[1]) : NULL;
    if (b) {
        base = base_of[b - bases];
        i = 2;
    }
    if (i >= n || (base == 10 && s[i] == '0' && n > i + 1)) return false;
    for (bool digit = false; i < n; i++) {
        int d = toml_digit(s[i], base);
        if (d < 0 && (s[i] != '_' || !digit || i + 1 == n)) return false;
        digit = d >= 0;
        if (!digit) continue;
        if (v > (max - (uint64_t)d) / (uint64_t)base) *too_big = true;
        v = *too_big ? 0 : v * (uint64_t)base + (uint64_t)d;
    }
    *out = minus && v ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return true;
}

/* Digits with single underscores between them; how many bytes, 0 if there are none. */
static size_t toml_digits(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && (toml_digit(s[i], 10) >= 0 ||
                     (i && s[i] == '_' && s[i - 1] != '_' && i + 1 < n && s[i + 1] != '_')))
        i++;
    return i && s[i - 1] == '_' ? 0 : i;
}

static bool toml_float(const char *s, size_t n) {
    size_t i = n && (s[0] == '-' || s[0] == '+'), some;
    if (n - i == 3 && (memcmp(s + i, "inf", 3) == 0 || memcmp(s + i, "nan", 3) == 0)) return true;
    some = toml_digits(s + i, n - i);
    if (some == 0 || (s[i] == '0' && some > 1)) return false;
    i += some;
    if (i < n && s[i] == '.') {
        some = toml_digits(s + i + 1, n - i - 1);
        if (some == 0) return false;
        i += 1 + some;
    }
    if (i < n && (s[i] | 0x20) == 'e') {
        i++;
        if (i < n && (s[i] == '-' || s[i] == '+')) i++;
        some = toml_digits(s + i, n - i);
        if (some == 0) return false;
        i += some;
    }
    return i == n;
}

/* The shape of a date, a time, or both; that the day exists is for whoever wants it. */
static bool toml_date(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && toml_digit(s[i], 10) >= 0)
        i++;
    if (!(i == 4 && n >= 10 && s[4] == '-' && s[7] == '-') &&
        !(i == 2 && n >= 8 && s[2] == ':' && s[5] == ':'))
        return false;
    for (; i < n; i++)
        if (toml_digit(s[i], 10) < 0 && !strchr("-+:.TtZz ", s[i])) return false;
    return true;
}

/* At three quotes: steps behind the closing three (and up to two more quotes before them). */
static agt_status toml_skip_long_string(toml_reader *r) {
    size_t begin = r->at;
    char quote = r->s[r->at];
    for (r->at += 3; r->at < r->n; r->at++) {
        char c = r->s[r->at];
        if (toml_control(c) && c != '\n' && (c != '\r' || toml_peek(r, 1) != '\n'))
            return toml_wrong(r, r->at, "a control byte in a string");
        if (c == '\\' && quote == '"') {
            r->at++;
        } else if (c == quote && toml_peek(r, 1) == quote && toml_peek(r, 2) == quote) {
            r->at += 3;
            for (int more = 0; more < 2 && toml_peek(r, 0) == quote; more++)
                r->at++;
            return AGT_OK;
        }
    }
    return toml_wrong(r, begin, "a string is not closed");
}

static bool toml_three_quotes(const toml_reader *r) {
    char c = toml_peek(r, 0);
    return (c == '"' || c == '\'') && toml_peek(r, 1) == c && toml_peek(r, 2) == c;
}

/* At a bracket: steps behind the one that closes it. Only an array may fill several lines. */
static agt_status toml_skip_brackets(toml_reader *r) {
    uint64_t braces = 0; /* bit d: level d is an inline table */
    size_t begin = r->at, depth = 0;
    agt_text ignored;
    while (r->at < r->n) {
        agt_status status = AGT_OK;
        char c = toml_peek(r, 0);
        if (toml_three_quotes(r)) {
            status = toml_skip_long_string(r);
        } else if (c == '"' || c == '\'') {
            status = toml_string(r, &ignored);
        } else if (c == '#' || toml_line_end(r)) {
            if (braces >> (depth - 1) & 1)
                return toml_wrong(r, begin, "an inline table is not closed on its line");
            status = toml_end_line(r);
        } else if (toml_control(c)) {
            status = toml_wrong(r, r->at, "a control byte");
        } else if (c == '[' || c == '{') {
            if (depth == 64) return toml_limit(r, r->at, "brackets nested too deep");
            braces |= (uint64_t)(c == '{') << depth++;
            r->at++;
        } else if (c == ']' || c == '}') {
            if ((braces >> (depth - 1) & 1) != (c == '}'))
                return toml_wrong(r, r->at, "the wrong bracket");
            braces &= ~((uint64_t)1 << --depth);
            r->at++;
            if (depth == 0) return AGT_OK;
        } else {
            r->at++;
        }
        if (status != AGT_OK) return status;
    }
    return toml_wrong(r, begin, "a bracket is not closed");
}

/* A value without quotes and brackets: up to a comment or the end of the line. */
static agt_status toml_plain(toml_reader *r, agt_toml_value *v) {
    static const char also[] = "+-._: ";
    size_t begin = r->at;
    bool too_big = false;
    while (!toml_line_end(r) &&
           (toml_bare(r->s[r->at]) || (r->s[r->at] && strchr(also, r->s[r->at]))))
        r->at++;
    size_t n = r->at - begin;
    while (n && r->s[begin + n - 1] == ' ')
        n--;
    if (n == 0) return toml_wrong(r, begin, "a value is expected");
    v->text.data = r->s + begin;
    v->text.len = n;
    if (agt__text_is(v->text, "true") || agt__text_is(v->text, "false")) {
        v->kind = AGT_TOML_BOOLEAN;
        v->boolean = n == 4;
    } else if (toml_integer(r->s + begin, n, &v->integer, &too_big)) {
        v->kind = AGT_TOML_INTEGER;
        if (too_big) return toml_wrong(r, begin, "an integer has more than 64 bits");
    } else if (!toml_float(v->text.data, n) && !toml_date(v->text.data, n)) {
        return toml_wrong(r, begin, "no value of TOML; text needs quotes");
    }
    return AGT_OK;
}

static agt_status toml_value(toml_reader *r, agt_toml_value *v) {
    size_t begin = r->at;
    char c = toml_peek(r, 0);
    agt_status status;
    memset(v, 0, sizeof *v);
    v->kind = AGT_TOML_OTHER;
    if (toml_three_quotes(r)) {
        status = toml_skip_long_string(r);
    } else if (c == '"' || c == '\'') {
        v->kind = AGT_TOML_STRING;
        return toml_string(r, &v->text);
    } else if (c == '[' || c == '{') {
        status = toml_skip_brackets(r);
    } else {
        return toml_plain(r, v);
    }
    v->text.data = r->s + begin;
    v->text.len = r->at - begin;
    return status;
}

/* ---- lines ---- */

/* Tells `each`; its error gets the line's offset if it has none of its own. */
static agt_status toml_tell(toml_reader *r, size_t at, agt_text key, size_t table_len,
                            const agt_toml_value *v) {
    agt_text table = {r->name, table_len};
    agt_status status = r->each(table, key, v, r->err, r->ctx);
    if (status != AGT_OK && r->err && r->err->offset < 0) r->err->offset = (int64_t)at;
    return status;
}

static agt_status toml_table(toml_reader *r) {
    size_t begin = r->at, last;
    bool array = toml_peek(r, 1) == '[';
    r->at += array ? 2 : 1;
    r->name_len = 0;
    toml_blanks(r);
    agt_status status = toml_name(r, &last);
    if (status != AGT_OK) return status;
    if (toml_peek(r, 0) != ']' || (array && toml_peek(r, 1) != ']'))
        return toml_wrong(r, r->at, "a table's name must end in ]");
    r->at += array ? 2 : 1;
    r->table_len = r->name_len;
    if (!array) return AGT_OK;
    agt_toml_value v = {AGT_TOML_OTHER, {r->s + begin, r->at - begin}, 0, false};
    return toml_tell(r, begin, agt__text(""), r->table_len, &v);
}

static agt_status toml_pair(toml_reader *r) {
    size_t begin = r->at, last, dot = r->table_len;
    agt_toml_value v;
    r->name_len = dot;
    if (dot) r->name[r->name_len++] = '.';
    agt_status status = toml_name(r, &last);
    if (status != AGT_OK) return status;
    if (toml_peek(r, 0) != '=') return toml_wrong(r, r->at, "name = value is expected");
    r->at++;
    toml_blanks(r);
    status = toml_value(r, &v);
    if (status != AGT_OK) return status;
    agt_text key = {r->name + last, r->name_len - last};
    return toml_tell(r, begin, key, last ? last - 1 : 0, &v);
}

AGT_PRIVATE agt_status agt__toml_read(const char *s, size_t n, agt_toml_fn each, void *ctx,
                                      agt_error *err) {
    toml_reader r;
    agt_status status = AGT_OK;
    r.s = s;
    r.n = n;
    r.at = n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    r.each = each;
    r.ctx = ctx;
    r.err = err;
    r.table_len = r.name_len = 0;
    size_t valid = agt__utf8_valid(s, n);
    if (valid < n) return toml_wrong(&r, valid, "not valid UTF-8");
    while (r.at < n && status == AGT_OK) {
        toml_blanks(&r);
        if (!toml_line_end(&r) && r.s[r.at] != '#')
            status = r.s[r.at] == '[' ? toml_table(&r) : toml_pair(&r);
        if (status == AGT_OK) status = toml_end_line(&r);
    }
    return status;
}

AGT_PRIVATE void agt__toml_put_string(agt_buf *b, const char *s, size_t n) {
    static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\", digits[] = "0123456789abcdef";
    agt__buf_byte(b, '"');
    for (size_t at = 0, len; at < n; at += len) {
        len = agt__utf8_char(s + at, n - at);
        const char *found = s[at] ? strchr(from, s[at]) : NULL;
        char escape[6] = {'\\', 'u', '0', '0', 0, 0};
        if (len == 0) {
            agt__buf_put(b, "\xef\xbf\xbd", 3);
            len = 1;
        } else if (found) {
            escape[1] = to[found - from];
            agt__buf_put(b, escape, 2);
        } else if (toml_control(s[at])) {
            escape[4] = digits[(unsigned char)s[at] >> 4];
            escape[5] = digits[s[at] & 15];
            agt__buf_put(b, escape, 6);
        } else {
            agt__buf_put(b, s + at, len);
        }
    }
    agt__buf_byte(b, '"');
}
