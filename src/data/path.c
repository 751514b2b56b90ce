/* path: the names that documents, agents and sessions may have.
 *
 * A document's path is normalised once, here, and what comes out is the only spelling that the rest
 * of the library ever sees. It promises
 *  1. One to 65 parts of 1 to 255 bytes, joined by single slashes, at most AGT_MAX_PATH bytes,
 *     valid UTF-8; no part is "." or "..", so joining it to the root never leads out of the root.
 *  2. No part is .git or .agent-trace, nor anything that some file system takes for one of them:
 *     in any ASCII case, behind trailing dots and blanks (Windows), with invisible characters in
 *     it (HFS+), with a dotted or dotless i of another alphabet, or as an 8.3 name (GIT~1,
 *     AGENT-~1, GI7EBA~1).
 *  3. Every part can be made on Linux, macOS and Windows alike: no control characters, none of
 *     \ : < > " | ? *, no dot or blank at the end, no device name (con, nul.txt, com1).
 *  4. Normalising is idempotent.
 * A path that another program recorded may break (3), as long as it has no control character and
 * no backslash: agt__path_held. It can be read and renamed, not made.
 * Nothing here looks at the disk: links and names that clash are for the floors above.
 */
#include "data.h"

#define PATH_MAX_PART 255
#define PATH_FOLDED   32 /* longer than any reserved name in any disguise */

static char path_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool path_digit(char c) {
    return c >= '0' && c <= '9';
}

static agt_status path_refuse(agt_error *err, agt_status status, const char *path, size_t len,
                              size_t offset, const char *words) {
    char shown[160];
    return agt__fail_at(err, status, (int64_t)offset, "the path \"%s\" %s (byte %zu)",
                        agt__show_path(shown, sizeof shown, path, len), words, offset);
}

/* ---- reserved names: (2) ---- */

/* Characters that nobody can see, which file systems leave out when they compare names: Unicode's
 * Default_Ignorable_Code_Point. */
static bool path_invisible(uint32_t code) {
    static const uint32_t ranges[][2] = {
        {0xad, 0xad},       {0x34f, 0x34f},   {0x61c, 0x61c},     {0x115f, 0x1160},
        {0x17b4, 0x17b5},   {0x180b, 0x180f}, {0x200b, 0x200f},   {0x202a, 0x202e},
        {0x2060, 0x206f},   {0x3164, 0x3164}, {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
        {0xffa0, 0xffa0},   {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
        {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < AGT_COUNT(ranges) && code >= ranges[i][0]; i++)
        if (code <= ranges[i][1]) return true;
    return false;
}

/* The part in lower case without what does not count; PATH_FOLDED if it is too long to matter. */
static size_t path_fold(const char *part, size_t n, char out[PATH_FOLDED]) {
    size_t to = 0, len;
    for (size_t at = 0; at < n; at += len) {
        len = agt__utf8_char(part + at, n - at);
        uint32_t code = len > 1 ? agt__utf8_code(part + at, len) : 0;
        if (len == 0) len = 1;
        if (path_invisible(code)) continue;
        if (to == PATH_FOLDED && (part[at] == '.' || part[at] == ' ')) continue; /* at the end? */
        if (to == PATH_FOLDED) return to;
        /* any other letter beyond ASCII is in no reserved name */
        out[to++] = len == 1 ? path_lower(part[at]) : code == 0x130 || code == 0x131 ? 'i' : '?';
    }
    while (to && (out[to - 1] == '.' || out[to - 1] == ' '))
        to--;
    return to;
}

static bool path_is(const char *s, size_t n, const char *word) {
    return n == strlen(word) && memcmp(s, word, n) == 0;
}

/* "stem~digits" where the stem is one that Windows makes of .git or .agent-trace: the first letters
 * (up to six), or two letters and four hexadecimal digits of a hash. */
static bool path_short_name(const char *s, size_t n) {
    static const char agent[] = "agent-trace";
    size_t stem = n, hex = 2;
    while (stem && path_digit(s[stem - 1]))
        stem--;
    if (stem == n || stem < 3 || s[--stem] != '~') return false;
    if (path_is(s, stem, "git") || path_is(s, stem, "gi")) return true;
    if (stem < sizeof agent && memcmp(s, agent, stem) == 0) return true;
    if (stem != 6 || (memcmp(s, "gi", 2) != 0 && memcmp(s, "ag", 2) != 0)) return false;
    while (hex < 6 && (path_digit(s[hex]) || (s[hex] >= 'a' && s[hex] <= 'f')))
        hex++;
    return hex == 6;
}

static bool path_reserved(const char *part, size_t n) {
    char s[PATH_FOLDED];
    size_t len = path_fold(part, n, s);
    if (len == PATH_FOLDED) return false;
    return path_is(s, len, ".git") || path_is(s, len, ".agent-trace") || path_short_name(s, len);
}

AGT_PRIVATE bool agt__path_in_git(const char *path, size_t len) {
    char s[PATH_FOLDED];
    for (size_t at = 0, end; at < len; at = end + 1) {
        const char *slash = memchr(path + at, '/', len - at);
        end = slash ? (size_t)(slash - path) : len;
        size_t n = path_fold(path + at, end - at, s);
        if (n == PATH_FOLDED || n < 4) continue;
        if (path_is(s, n, ".git")) return true;
        if (memcmp(s, "gi", 2) == 0 && path_short_name(s, n)) return true;
    }
    return false;
}

/* ---- what another system cannot hold: (3) ---- */

static bool path_device(const char *part, size_t n) {
    static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"};
    const char *dot = memchr(part, '.', n);
    size_t len = dot ? (size_t)(dot - part) : n;
    char s[8];
    while (len && part[len - 1] == ' ')
        len--;
    if (len < 3 || len > sizeof s) return false;
    for (size_t i = 0; i < len; i++)
        s[i] = path_lower(part[i]);
    for (size_t i = 0; i < AGT_COUNT(names); i++)
        if (path_is(s, len, names[i])) return true;
    if (memcmp(s, "com", 3) != 0 && memcmp(s, "lpt", 3) != 0) return false;
    return (len == 4 && path_digit(s[3])) || /* or a raised 1, 2 or 3 of Latin-1 */
           (len == 5 && (path_is(s + 3, 2, "\xc2\xb9") || path_is(s + 3, 2, "\xc2\xb2") ||
                         path_is(s + 3, 2, "\xc2\xb3")));
}

/* Bytes that need a second look: controls, " * : < > ? and \ | in two words of 64 bits, and the
 * byte that begins U+0080 to U+00BF. */
static bool path_suspect(unsigned char c) {
    static const uint64_t bits[2] = {
        0xffffffff | (uint64_t)1 << '"' | (uint64_t)1 << '*' | (uint64_t)1 << ':' |
            (uint64_t)1 << '<' | (uint64_t)1 << '>' | (uint64_t)1 << '?',
        (uint64_t)1 << ('\\' - 64) | (uint64_t)1 << ('|' - 64) | (uint64_t)1 << (0x7f - 64)};
    return c < 0x80 ? bits[c / 64] >> c % 64 & 1 : c == 0xc2;
}

/* The first byte that no path may have; len if there is none. */
static size_t path_bad_byte(const char *path, size_t len, const char **words) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i],
                      next = i + 1 < len ? (unsigned char)path[i + 1] : 0;
        if (!path_suspect(c) || (c == 0xc2 && (next < 0x80 || next > 0x9f))) continue;
        if (c < 0x20 || c == 0x7f || c == 0xc2)
            *words = "has a control character; leave it out";
        else if (c == '\\')
            *words = "has a backslash; part folders with /";
        else
            *words = "has one of : < > \" | ? *, which some systems cannot store; choose another "
                     "character";
        return i;
    }
    return len;
}

/* What is wrong with a part that is neither "" nor "."; NULL if nothing is. */
static const char *path_bad_part(const char *part, size_t n) {
    if (n == 2 && part[0] == '.' && part[1] == '.')
        return "leads upward by \"..\"; write it as seen from the store's folder";
    if (path_reserved(part, n))
        return "has a part that is, or on some system looks like, .git or .agent-trace; these are "
               "out of reach";
    if (part[n - 1] == '.' || part[n - 1] == ' ')
        return "has a part that ends in a dot or a blank, which some systems drop; take it away";
    if (path_device(part, n))
        return "has a part that Windows takes for a device; choose another name";
    return NULL;
}

/* ---- normalising ---- */

typedef struct path_state {
    const char *path;
    size_t len;
    char *out;
    size_t to, parts;
    agt_error *err;
} path_state;

/* Appends one part (path[at..at+n)), which is not "" and not ".". */
static agt_status path_append(path_state *p, size_t at, size_t n) {
    const char *words = path_bad_part(p->path + at, n);
    if (words) return path_refuse(p->err, AGT_INVALID, p->path, p->len, at, words);
    if (n > PATH_MAX_PART)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "has a part of more than 255 bytes; shorten it");
    if (p->parts == AGT_MAX_DEPTH + 1)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "lies in more than 64 folders; use fewer");
    size_t slash = p->parts > 0;
    if (n + slash > AGT_MAX_PATH - p->to)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "has more than 1,024 bytes; shorten it");
    if (slash) p->out[p->to++] = '/';
    memcpy(p->out + p->to, p->path + at, n);
    p->to += n;
    p->parts++;
    return AGT_OK;
}

/* The rules that look at the path as a whole. */
static agt_status path_check_whole(const char *path, size_t len, agt_error *err) {
    const char *words = NULL;
    if (len == 0)
        return agt__fail_at(err, AGT_INVALID, 0,
                            "the path is empty; name a file below the store's folder");
    if (path[0] == '/')
        return path_refuse(err, AGT_INVALID, path, len, 0,
                           "is absolute; write it as seen from the store's folder");
    size_t at = path_bad_byte(path, len, &words);
    if (at < len) return path_refuse(err, AGT_INVALID, path, len, at, words);
    at = agt__utf8_valid(path, len);
    if (at < len)
        return path_refuse(err, AGT_INVALID, path, len, at,
                           "is not valid UTF-8; give names in UTF-8");
    if (path[len - 1] == '/' || (path[len - 1] == '.' && (len == 1 || path[len - 2] == '/')))
        return path_refuse(err, AGT_INVALID, path, len, len - 1,
                           "names a folder; name a file in it");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__path_normalise(const char *path, size_t len, char *out, size_t *out_len,
                                           agt_error *err) {
    path_state p = {path, len, out, 0, 0, err};
    agt_status status = path_check_whole(path, len, err);
    for (size_t at = 0, end; at < len && status == AGT_OK; at = end + 1) {
        const char *slash = memchr(path + at, '/', len - at);
        end = slash ? (size_t)(slash - path) : len;
        bool dot = end - at == 1 && path[at] == '.';
        if (end > at && !dot) status = path_append(&p, at, end - at);
    }
    if (status != AGT_OK) p.to = 0;
    out[p.to] = 0;
    *out_len = p.to;
    return status;
}

AGT_PRIVATE bool agt__path_held(const char *path, size_t len) {
    size_t parts = 0, end;
    if (len == 0 || len > AGT_MAX_PATH || agt__utf8_valid(path, len) != len) return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c < 0x20 || c == 0x7f || c == '\\') return false;
        if (c == 0xc2 && (unsigned char)path[i + 1] < 0xa0) return false; /* C1 controls */
    }
    for (size_t at = 0; at <= len; at = end + 1) {
        const char *slash = at < len ? memchr(path + at, '/', len - at) : NULL;
        end = slash ? (size_t)(slash - path) : len;
        size_t n = end - at;
        if (n == 0 || n > PATH_MAX_PART || ++parts > AGT_MAX_DEPTH + 1) return false;
        if (path_is(path + at, n, ".") || path_is(path + at, n, "..")) return false;
        if (path_reserved(path + at, n)) return false;
    }
    return true;
}

AGT_PRIVATE int agt__path_fold_compare(const char *a, size_t alen, const char *b, size_t blen) {
    size_t n = alen < blen ? alen : blen;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        unsigned char x = (unsigned char)path_lower(a[i]), y = (unsigned char)path_lower(b[i]);
        if (x != y) return x < y ? -1 : 1;
    }
    return (alen > blen) - (alen < blen);
}

/* ---- names ---- */

static bool path_agent_valid(const char *s, size_t n) {
    if (n == 0 || n > AGT_MAX_NAME || s[0] == ' ' || s[n - 1] == ' ') return false;
    if (path_is(s, n, ".") || path_is(s, n, "..") || agt__utf8_valid(s, n) != n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f || (c < 0x80 && strchr("<>/\\:\"", c))) return false;
        if (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) return false; /* C1 controls */
    }
    return true;
}

AGT_PRIVATE bool agt__actor_valid(const char *actor, size_t len) {
    if (path_is(actor, len, "user") || path_is(actor, len, "system")) return true;
    return len > 6 && memcmp(actor, "agent:", 6) == 0 && path_agent_valid(actor + 6, len - 6);
}

static bool path_word_char(char c, const char *also) {
    return (c >= 'a' && c <= 'z') || path_digit(c) || (c && strchr(also, c));
}

AGT_PRIVATE bool agt__session_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!path_word_char(path_lower(s[i]), "._:-")) return false;
    return len >= 1 && len <= AGT_MAX_NAME;
}

AGT_PRIVATE bool agt__word_valid(const char *s, size_t len, bool dots) {
    for (size_t i = 0; i < len; i++)
        if (!path_word_char(s[i], dots ? "_." : "_")) return false;
    return len >= 1 && len <= AGT_MAX_NAME;
}
