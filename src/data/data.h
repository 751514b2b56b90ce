/* data: pure functions over bytes. No clock, no file, no global; every one of them may be handed
 * any bytes at all. These are what the fuzzers attack. */
#ifndef AGT_DATA_H
#define AGT_DATA_H

#include "../base/base.h"

/* ---- utf8 ---- */

/* The number of leading bytes that are valid UTF-8 (no surrogates, no overlong forms, at most
 * U+10FFFF); n if all are. */
AGT_PRIVATE size_t agt__utf8_valid(const char *s, size_t n);
/* The length (1 to 4) of the valid character at the beginning; 0 if there is none. */
AGT_PRIVATE size_t agt__utf8_char(const char *s, size_t n);
/* The code point of a valid character of that length. */
AGT_PRIVATE uint32_t agt__utf8_code(const char *s, size_t len);
/* Writes a code point as 1 to 4 bytes; returns how many. */
AGT_PRIVATE size_t agt__utf8_put(char *out, uint32_t code);

/* ---- hash ---- */

/* What the processor can do; asked once per handle because asking may be slow. */
typedef struct agt_cpu {
    bool sha, crc32c;
} agt_cpu;
AGT_PRIVATE agt_cpu agt__cpu(void);

typedef struct agt_sha1_state {
    uint32_t h[5];
    uint64_t len;
    unsigned char block[64];
} agt_sha1_state;
AGT_PRIVATE void agt__sha1_init(agt_sha1_state *s);
AGT_PRIVATE void agt__sha1_update(agt_sha1_state *s, agt_cpu cpu, const void *data, size_t n);
AGT_PRIVATE void agt__sha1_final(agt_sha1_state *s, agt_cpu cpu, unsigned char out[20]);

typedef struct agt_sha256_state {
    uint32_t h[8];
    uint64_t len;
    unsigned char block[64];
} agt_sha256_state;
AGT_PRIVATE void agt__sha256_init(agt_sha256_state *s);
AGT_PRIVATE void agt__sha256_update(agt_sha256_state *s, agt_cpu cpu, const void *data, size_t n);
AGT_PRIVATE void agt__sha256_final(agt_sha256_state *s, agt_cpu cpu, unsigned char out[32]);
AGT_PRIVATE void agt__sha256(agt_cpu cpu, const void *data, size_t n, unsigned char out[32]);

/* An object's id in git. */
typedef struct agt_oid {
    unsigned char id[20];
} agt_oid;

/* git's id of an object: SHA-1 of "<kind> <len>\0" and the bytes; kind is "blob", "tree", ... */
AGT_PRIVATE void agt__git_id(agt_cpu cpu, const char *kind, const void *data, size_t n,
                             unsigned char out[20]);

/* crc32c (Castagnoli) of the bytes, going on from `seed` (0 to begin with). */
AGT_PRIVATE uint32_t agt__crc32c(agt_cpu cpu, uint32_t seed, const void *data, size_t n);

/* FNV-1a of 64 bits, going on from `seed` (AGT_FNV to begin with). */
#define AGT_FNV 0xcbf29ce484222325u
AGT_PRIVATE uint64_t agt__fnv(uint64_t seed, const void *data, size_t n);

AGT_PRIVATE void agt__hex(const unsigned char *data, size_t n, char *out); /* 2n chars, no NUL */
/* Lower-case hexadecimal only; false unless exactly 2n digits. */
AGT_PRIVATE bool agt__unhex(const char *hex, size_t len, unsigned char *out, size_t n);

/* ---- time ---- */

#define AGT_TIME_TEXT 25                /* "2026-11-24T01:54:45.123Z" and a NUL */
#define AGT_TIME_MAX  253402300799999LL /* 9999-12-31T23:59:59.999Z */

/* RFC 3339 in UTC with milliseconds, from 1970 to 9999. */
AGT_PRIVATE void agt__time_format(int64_t unix_ms, char out[AGT_TIME_TEXT]);
/* RFC 3339 with any offset and 0 to 9 digits of fraction (cut to ms); false if it is none, if the
 * day does not exist, or outside 1970 to 9999. A leap second :60 is taken as :59.999. */
AGT_PRIVATE bool agt__time_parse(const char *s, size_t n, int64_t *unix_ms);

/* ---- json: RFC 8259. A value is a slice of the input; nothing is allocated ---- */

typedef enum agt_json_kind {
    AGT_JSON_NONE = 0, /* end of container */
    AGT_JSON_NULL,
    AGT_JSON_FALSE,
    AGT_JSON_TRUE,
    AGT_JSON_NUMBER,
    AGT_JSON_STRING,
    AGT_JSON_ARRAY,
    AGT_JSON_OBJECT
} agt_json_kind;

#define AGT_JSON_MAX_DEPTH 128

typedef struct agt_json {
    agt_json_kind kind;
    const char *raw; /* the value's own bytes in the input, quotes and brackets included */
    size_t len;
    bool escaped; /* a string with backslashes in it */
} agt_json;

/* Checks that the n bytes are exactly one valid JSON text (white space around it allowed): valid
 * UTF-8, no lone surrogates, no duplicate check, depth at most AGT_JSON_MAX_DEPTH. AGT_INVALID with
 * err->offset at the offending byte, AGT_LIMIT for the depth. */
AGT_PRIVATE agt_status agt__json_parse(const char *s, size_t n, agt_json *root, agt_error *err);

/* Walks the members of a valid object or the items of a valid array. Start with *at = 0; false at
 * the end. For arrays key may be NULL. Only for values that agt__json_parse accepted. */
AGT_PRIVATE bool agt__json_next(const agt_json *container, size_t *at, agt_json *key,
                                agt_json *value);
/* The member of that name (unescaped comparison), the first if there are several. */
AGT_PRIVATE bool agt__json_get(const agt_json *object, const char *name, agt_json *value);
/* The string's text without quotes, unescaped into `out` (which must have room for v->len bytes).
 * Returns the length. */
AGT_PRIVATE size_t agt__json_unescape(const agt_json *v, char *out);
/* Exact integers only: no fraction, no exponent, in range. */
AGT_PRIVATE bool agt__json_u64(const agt_json *v, uint64_t *out);
AGT_PRIVATE bool agt__json_i64(const agt_json *v, int64_t *out);

/* Writes a JSON string with quotes. Escapes '"', '\\' and control bytes only: \b \t \n \f \r, else
 * \u00xx in lower case (RFC 8785). Bytes that are not valid UTF-8 become U+FFFD. */
AGT_PRIVATE void agt__json_put_string(agt_buf *b, const char *s, size_t n);

/* ---- path: the rules for document paths, applied once ---- */

/* Normalises `path` into `out` (size AGT_MAX_PATH + 1): collapses "./" and "//", refuses what
 * SECURITY.md's path rules refuse (absolute, "..", .agent-trace and .git at any depth in any ASCII
 * case and their 8.3 forms, control bytes, '\\' ':' '<' '>' '"' '|' '?' '*', trailing dot or space
 * in a component, device names, invalid UTF-8, too long or deep, empty, a trailing slash).
 * AGT_INVALID or AGT_LIMIT with a message that says what, where and how to mend it; err->offset is
 * the byte. */
AGT_PRIVATE agt_status agt__path_normalise(const char *path, size_t len, char *out, size_t *out_len,
                                           agt_error *err);
/* May a store hold this path? A normalised one, and one that an older program recorded although
 * another system cannot store it (it has one of : < > " | ? *, say): history tells of it. Such a
 * path never leads out of the root either. */
AGT_PRIVATE bool agt__path_held(const char *path, size_t len);
/* Does a part of this path, which may be absolute and of any bytes, name a .git, in whatever
 * disguise? */
AGT_PRIVATE bool agt__path_in_git(const char *path, size_t len);
/* ASCII case folded comparison, for names that clash on some systems; order by folded bytes. */
AGT_PRIVATE int agt__path_fold_compare(const char *a, size_t alen, const char *b, size_t blen);

/* ---- ignore: patterns in the language of .gitignore ---- */

#define AGT_IGNORE_MAX_LINE 1024 /* bytes in one pattern */

typedef struct agt_ignore_rule {
    const char *pattern; /* inside the text that was read */
    uint16_t len;
    uint16_t plain; /* bytes in front of the first wildcard */
    bool negative, folder_only, name_only;
} agt_ignore_rule;

typedef enum agt_ignore_answer {
    AGT_IGNORE_UNSAID = 0, /* no pattern matches */
    AGT_IGNORE_WANTED,     /* one that begins with ! */
    AGT_IGNORE_LEFT_OUT
} agt_ignore_answer;

/* How many rules the text may hold at most: its lines. */
AGT_PRIVATE size_t agt__ignore_lines(const char *text, size_t n);
/* Reads the text into `rules`, which has room for agt__ignore_lines; they point into it. AGT_LIMIT
 * with the byte of a line that is too long. */
AGT_PRIVATE agt_status agt__ignore_read(const char *text, size_t n, agt_ignore_rule *rules,
                                        size_t *count, agt_error *err);
/* What the rules say about this path alone (relative, no slash at its end); the last one that
 * matches decides. Who goes down the folders does not enter one that is left out: so all in it is
 * left out, too. */
AGT_PRIVATE agt_ignore_answer agt__ignore_one(const agt_ignore_rule *rules, size_t count,
                                              const char *path, size_t len, bool folder);
/* The patterns that come before the user's own: secrets, and what tools leave behind. */
AGT_PRIVATE const char *agt__ignore_usual(size_t *len);

/* ---- names ---- */

/* "user", "system" or "agent:<name>" where name is 1 to 64 bytes of UTF-8 without control bytes,
 * '<' '>' '/' '\\' ':' '"' or leading or trailing space, and not "." or "..". */
AGT_PRIVATE bool agt__actor_valid(const char *actor, size_t len);
AGT_PRIVATE bool agt__session_valid(const char *s, size_t len); /* 1..64 of [A-Za-z0-9._:-] */
AGT_PRIVATE bool agt__word_valid(const char *s, size_t len, bool dots); /* 1..64 of [a-z0-9_] (.) */

/* ---- toml: as much as config.toml needs ---- */

/* Calls `each` for every `key = value` with its table's name ("" at the top). Values are basic or
 * literal strings, integers, booleans, and (passed raw, kind AGT_TOML_OTHER) anything else. Each
 * `[[name]]` is told as well: its table, an empty key, kind AGT_TOML_OTHER. AGT_INVALID with the
 * byte offset. A non-AGT_OK answer of `each` stops and is returned. */
typedef enum agt_toml_kind {
    AGT_TOML_STRING = 1,
    AGT_TOML_INTEGER,
    AGT_TOML_BOOLEAN,
    AGT_TOML_OTHER
} agt_toml_kind;
typedef struct agt_toml_value {
    agt_toml_kind kind;
    agt_text text; /* a string's unescaped text (lives during the call), else the raw value */
    int64_t integer;
    bool boolean;
} agt_toml_value;
typedef agt_status (*agt_toml_fn)(agt_text table, agt_text key, const agt_toml_value *value,
                                  agt_error *err, void *ctx);
AGT_PRIVATE agt_status agt__toml_read(const char *s, size_t n, agt_toml_fn each, void *ctx,
                                      agt_error *err);
/* Writes a basic string with quotes, escaped. */
AGT_PRIVATE void agt__toml_put_string(agt_buf *b, const char *s, size_t n);

/* ---- lines: how many lines a change adds and removes ---- */

#define AGT_LINES_MAX_COST 1000

/* Exact for ordinary changes (shortest edit script), an upper bound for huge ones: common lines at
 * both ends are matched, then lines that only one side has, the rest by an edit script of at most
 * AGT_LINES_MAX_COST steps and within fixed time, else all of it counts. A NUL byte in either makes
 * it binary: 0 and 0. mem is for scratch; when it is out of memory the middle counts as a whole. */
AGT_PRIVATE void agt__lines_changed(const agt_mem *mem, const void *old, size_t old_len,
                                    const void *now, size_t now_len, int64_t *added,
                                    int64_t *removed);

#endif /* AGT_DATA_H */
