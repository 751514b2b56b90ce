/* Fuzzes the rules for paths and names: whatever is accepted keeps every promise of
 * src/data/path.c, judged here by other means. */
#include "../src/data/data.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(c)                                                                                    \
    do {                                                                                           \
        if (!(c)) __builtin_trap();                                                                \
    } while (0)

static bool is_folded(const char *s, size_t n, const char *lower) {
    if (n != strlen(lower)) return false;
    for (size_t i = 0; i < n; i++)
        if ((s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]) != lower[i]) return false;
    return true;
}

static bool hides(const char *part, size_t n, const char *reserved) {
    char *seen = malloc(n);
    size_t to = 0;
    for (size_t i = 0; i < n; i++) /* without any byte beyond ASCII */
        if ((unsigned char)part[i] < 0x80) seen[to++] = part[i];
    while (to && (seen[to - 1] == '.' || seen[to - 1] == ' '))
        to--;
    bool same = is_folded(seen, to, reserved);
    free(seen);
    return same;
}

/* A part that hides a reserved name behind bytes beyond ASCII is fine only if one of them is a
 * character that can be seen. */
static bool has_visible(const char *part, size_t n) {
    for (size_t i = 0, len; i < n; i += len) {
        len = agt__utf8_char(part + i, n - i);
        MUST(len > 0);
        uint32_t code = agt__utf8_code(part + i, len);
        if (code < 0x80 || (code >= 0x200b && code <= 0x200f) ||
            (code >= 0x202a && code <= 0x202e) || (code >= 0x206a && code <= 0x206f) ||
            code == 0xfeff)
            continue;
        return true;
    }
    return false;
}

static void check_part(const char *part, size_t n) {
    MUST(n >= 1 && n <= 255);
    MUST(part[n - 1] != '.' && part[n - 1] != ' ');
    MUST(!is_folded(part, n, ".git") && !is_folded(part, n, ".agent-trace"));
    MUST(!is_folded(part, n, "git~1") && !is_folded(part, n, "agent-~1"));
    MUST(!is_folded(part, n, "con") && !is_folded(part, n, "nul") && !is_folded(part, n, "com1"));
    if (hides(part, n, ".git") || hides(part, n, ".agent-trace")) MUST(has_visible(part, n));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)part[i];
        MUST(c >= 0x20 && c != 0x7f && (c >= 0x80 || !strchr("\\:<>\"|?*", c)));
    }
}

static void check_accepted(const char *out, size_t n, const char *in, size_t size) {
    char again[AGT_MAX_PATH + 1];
    size_t m, parts = 0;
    agt_error err;
    MUST(n >= 1 && n <= AGT_MAX_PATH && n <= size && out[n] == 0 && strlen(out) == n);
    MUST(agt__utf8_valid(out, n) == n);
    for (size_t at = 0, end; at <= n; at = end + 1, parts++) {
        for (end = at; end < n && out[end] != '/';)
            end++;
        check_part(out + at, end - at);
    }
    MUST(parts <= AGT_MAX_DEPTH + 1);
    MUST(agt__path_normalise(out, n, again, &m, &err) == AGT_OK);
    MUST(m == n && memcmp(again, out, n) == 0);
    MUST(agt__path_fold_compare(out, n, again, m) == 0);
    MUST(n == size || agt__path_fold_compare(out, n, in, size) != 0);
}

/* Names that only other systems refuse: an older store may hold them, and even they lead nowhere
 * else and hide nothing. */
static void check_held(const char *s, size_t n) {
    size_t parts = 0;
    MUST(n >= 1 && n <= AGT_MAX_PATH && agt__utf8_valid(s, n) == n && !memchr(s, 0, n));
    MUST(s[0] != '/' && s[n - 1] != '/' && !memchr(s, '\\', n) && !memchr(s, '\n', n));
    for (size_t at = 0, end; at <= n; at = end + 1, parts++) {
        for (end = at; end < n && s[end] != '/';)
            end++;
        const char *part = s + at;
        size_t len = end - at;
        MUST(len >= 1 && len <= 255 && !is_folded(part, len, ".") && !is_folded(part, len, ".."));
        MUST(!is_folded(part, len, ".git") && !is_folded(part, len, ".agent-trace"));
        if (hides(part, len, ".git") || hides(part, len, ".agent-trace"))
            MUST(has_visible(part, len));
    }
    MUST(parts <= AGT_MAX_DEPTH + 1);
}

static void check_names(const char *s, size_t n) {
    if (agt__actor_valid(s, n)) {
        MUST(n >= 4 && n <= 6 + AGT_MAX_NAME && agt__utf8_valid(s, n) == n);
        MUST(!memchr(s, 0, n) && !memchr(s, '\n', n) && !memchr(s, '/', n) && !memchr(s, '<', n));
        MUST(is_folded(s, n, "user") || is_folded(s, n, "system") || !memcmp(s, "agent:", 6));
    }
    if (agt__session_valid(s, n)) MUST(n >= 1 && n <= AGT_MAX_NAME && !memchr(s, '/', n));
    if (agt__word_valid(s, n, false)) MUST(agt__word_valid(s, n, true) && agt__session_valid(s, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *s = (const char *)data;
    char out[AGT_MAX_PATH + 1], shown[40];
    size_t n = 1;
    agt_error err;
    agt_status status = agt__path_normalise(s, size, out, &n, &err);
    if (status == AGT_OK) {
        check_accepted(out, n, s, size);
        MUST(agt__path_held(out, n));
    } else {
        MUST(status == AGT_INVALID || status == AGT_LIMIT);
        MUST(n == 0 && out[0] == 0 && err.offset >= 0 && (size_t)err.offset <= size);
        size_t len = strlen(err.message);
        MUST(len > 10 && err.message[len - 1] != '.');
        MUST(agt__utf8_valid(err.message, len) == len || agt__utf8_valid(s, size) < size);
        for (size_t i = 0; i < len; i++)
            MUST((unsigned char)err.message[i] >= 0x20);
    }
    if (agt__path_held(s, size)) check_held(s, size);
    check_names(s, size);
    agt__show_path(shown, 16 + size % 24, s, size);
    MUST(strlen(shown) < 16 + size % 24);
    return 0;
}
