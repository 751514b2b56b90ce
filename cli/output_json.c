/* output_json: writing one JSON value to stdout. The caller opens and closes what it needs; commas
 * are put where they belong. */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <string.h>

static bool json_begun;

bool json_was_printed(void) {
    return json_begun;
}

static void json_string(const char *s, size_t n) {
    static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\";
    size_t plain = 0, i = 0;
    bool terminal = out_is_terminal(1);
    (void)fputc('"', stdout);
    while (i < n) {
        unsigned char c = (unsigned char)s[i];
        const char *known = c ? strchr(from, c) : NULL;
        uint32_t code = c;
        size_t len = c < 0x80 ? 1 : text_next(s + i, n - i, &code);
        if (len && !known && c >= 0x20 && !(terminal && text_unsafe(code))) {
            i += len;
            continue;
        }
        (void)fwrite(s + plain, 1, i - plain, stdout);
        if (!len)
            (void)fputs("\xef\xbf\xbd", stdout);
        else if (known)
            (void)printf("\\%c", to[known - from]);
        else
            (void)printf("\\u%04x", (unsigned)code);
        plain = i += len ? len : 1;
    }
    (void)fwrite(s + plain, 1, n - plain, stdout);
    (void)fputc('"', stdout);
}

void json_raw(const char *s, size_t n) {
    size_t plain = 0;
    uint32_t code;
    for (size_t i = 0, len; i < n && out_is_terminal(1); i += len) {
        len = text_next(s + i, n - i, &code);
        bool safe = len == 0 || (unsigned char)s[i] < 0x7f || !text_unsafe(code);
        if (len == 0) len = 1;
        if (safe) continue;
        (void)fwrite(s + plain, 1, i - plain, stdout);
        (void)printf("\\u%04x", (unsigned)code);
        plain = i + len;
    }
    (void)fwrite(s + plain, 1, n - plain, stdout);
}

/* The comma before a value, and its key. */
static void json_lead(out_json *j, const char *key) {
    bool *more = &j->more[j->depth];
    if (*more) (void)fputc(',', stdout);
    if (j->depth == 1 && j->lines) (void)fputc('\n', stdout);
    *more = true;
    if (!key) return;
    json_string(key, strlen(key));
    (void)fputc(':', stdout);
}

void json_open(out_json *j, const char *key, char bracket) {
    json_lead(j, key);
    json_begun = true;
    (void)fputc(bracket, stdout);
    j->more[++j->depth] = false;
}

void json_close(out_json *j, char bracket) {
    if (j->depth == 1 && j->lines && j->more[1]) (void)fputc('\n', stdout);
    (void)fputc(bracket, stdout);
    if (--j->depth == 0) (void)fputc('\n', stdout);
}

void json_end_array(out_json *j, bool empty) {
    if (empty) json_open(j, NULL, '[');
    if (j->depth > 0) json_close(j, ']');
}

void json_put_text(out_json *j, const char *key, const char *s, size_t n) {
    json_lead(j, key);
    if (s)
        json_string(s, n);
    else
        (void)fputs("null", stdout);
}

void json_put(out_json *j, const char *key, const char *s) {
    json_put_text(j, key, s, s ? strlen(s) : 0);
}

void json_put_u64(out_json *j, const char *key, uint64_t value) {
    json_lead(j, key);
    (void)printf("%llu", (unsigned long long)value);
}

void json_put_i64(out_json *j, const char *key, int64_t value) {
    json_lead(j, key);
    (void)printf("%lld", (long long)value);
}

void json_put_bool(out_json *j, const char *key, bool value) {
    json_lead(j, key);
    (void)fputs(value ? "true" : "false", stdout);
}

void json_put_time(out_json *j, const char *key, int64_t unix_ms) {
    char text[CLI_TIME_TEXT];
    json_put(j, key, unix_ms ? time_rfc3339(unix_ms, text) : NULL);
}

void json_put_raw(out_json *j, const char *key, const char *s, size_t n) {
    json_lead(j, key);
    json_raw(s, n);
}

void json_put_base64(out_json *j, const char *key, const unsigned char *s, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    json_lead(j, key);
    (void)fputc('"', stdout);
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)s[i] << 16;
        if (i + 1 < n) v |= (uint32_t)s[i + 1] << 8;
        if (i + 2 < n) v |= s[i + 2];
        (void)fputc(digits[v >> 18], stdout);
        (void)fputc(digits[v >> 12 & 63], stdout);
        (void)fputc(i + 1 < n ? digits[v >> 6 & 63] : '=', stdout);
        (void)fputc(i + 2 < n ? digits[v & 63] : '=', stdout);
    }
    (void)fputc('"', stdout);
}
