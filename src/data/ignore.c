/* ignore: which paths a list of patterns leaves out, in the language of .gitignore.
 *
 * A pattern is matched as it stands in the text, without being translated first: the set of places
 * in the pattern that the path read so far may have led to is kept as bits, and moved on by each
 * byte of the path. So a pattern of p bytes and a path of n cost at most p * n steps whatever is in
 * them, no byte is allocated, and nothing calls itself.
 *
 * Where git's own manual and git differ, it is git that is followed: `a**` after letters crosses
 * folders, a set without its end matches nothing, one `\r` before a newline does not count.
 */
#include "data.h"

#define IGNORE_WORDS (AGT_IGNORE_MAX_LINE / 64 + 1)

typedef struct ignore_bits {
    uint64_t word[IGNORE_WORDS];
} ignore_bits;

static void ignore_set(ignore_bits *b, size_t i) {
    b->word[i / 64] |= (uint64_t)1 << i % 64;
}

static bool ignore_has(const ignore_bits *b, size_t i) {
    return b->word[i / 64] >> i % 64 & 1;
}

/* ---- reading ---- */

static bool ignore_special(char c) {
    return c == '*' || c == '?' || c == '[' || c == '\\';
}

/* The line without blanks at its end that no backslash keeps. */
static size_t ignore_trim(const char *line, size_t n) {
    size_t last = n, i = 0;
    for (; i < n; i++) {
        if (line[i] == ' ') {
            if (last == n) last = i;
            continue;
        }
        last = n;
        if (line[i] == '\\' && ++i >= n) return n;
    }
    return last;
}

static void ignore_rule(agt_ignore_rule *r, const char *p, size_t n) {
    memset(r, 0, sizeof *r);
    if (n && *p == '!') {
        r->negative = true;
        p++, n--;
    }
    if (n && p[n - 1] == '/') {
        r->folder_only = true;
        n--;
    }
    r->name_only = !n || !memchr(p, '/', n);
    if (n && *p == '/') p++, n--; /* only a slash at the beginning or in the middle anchors */
    r->pattern = p;
    r->len = (uint16_t)n;
    while (r->plain < n && !ignore_special(p[r->plain]))
        r->plain++;
}

AGT_PRIVATE size_t agt__ignore_lines(const char *text, size_t n) {
    size_t lines = n && text[n - 1] != '\n';
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

AGT_PRIVATE agt_status agt__ignore_read(const char *text, size_t n, agt_ignore_rule *rules,
                                        size_t *count, agt_error *err) {
    size_t line = 1, end;
    *count = 0;
    for (size_t at = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0; at < n;
         at = end + 1, line++) {
        const char *newline = memchr(text + at, '\n', n - at);
        end = newline ? (size_t)(newline - text) : n;
        size_t len = end - at;
        const char *nul = memchr(text + at, 0, len);
        if (len && text[end - 1] == '\r') len--;
        if (nul && (size_t)(nul - text) < at + len) len = (size_t)(nul - text) - at;
        if (!len || text[at] == '#') continue;
        len = ignore_trim(text + at, len);
        if (len > AGT_IGNORE_MAX_LINE)
            return agt__fail_at(err, AGT_LIMIT, (int64_t)at,
                                "line %zu has more than %d bytes; make it shorter", line,
                                AGT_IGNORE_MAX_LINE);
        ignore_rule(&rules[(*count)++], text + at, len);
    }
    return AGT_OK;
}

/* ---- one element of a pattern ---- */

typedef enum ignore_kind {
    IGNORE_BYTE, /* just that byte */
    IGNORE_ANY,  /* ?: any but a slash */
    IGNORE_SET,  /* [...] */
    IGNORE_STAR, /* any number of bytes that are no slash */
    IGNORE_DEEP, /* any number of any bytes */
    IGNORE_DIRS, /* nothing, or any bytes and a slash behind them */
    IGNORE_NEVER /* malformed: no path gets past it */
} ignore_kind;

typedef struct ignore_item {
    ignore_kind kind;
    size_t len; /* in the pattern */
} ignore_item;

static bool ignore_in_class(const char *name, size_t n, unsigned char c) {
    bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
    bool graph = c > ' ' && c < 0x7f, is = false;
    const struct {
        const char *name;
        bool is;
    } classes[] = {{"alnum", lower || upper || digit},
                   {"alpha", lower || upper},
                   {"blank", c == ' ' || c == '\t'},
                   {"cntrl", c < ' ' || c == 0x7f},
                   {"digit", digit},
                   {"graph", graph},
                   {"lower", lower},
                   {"print", graph || c == ' '},
                   {"punct", graph && !lower && !upper && !digit},
                   {"space", c == ' ' || (c >= '\t' && c <= '\r')},
                   {"upper", upper},
                   {"xdigit", digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')}};
    for (size_t i = 0; i < AGT_COUNT(classes); i++)
        if (strlen(classes[i].name) == n && !memcmp(name, classes[i].name, n)) is = classes[i].is;
    return is;
}

static bool ignore_known_class(const char *name, size_t n) {
    for (unsigned c = 0; c < 128; c++)
        if (ignore_in_class(name, n, (unsigned char)c)) return true;
    return false;
}

/* Is the '[' at p[0] that of a class `[:name:]`? Its name's length and its own. If not, it is a
 * byte like any other. */
static bool ignore_class(const char *p, size_t n, size_t *name, size_t *past) {
    const char *close = n < 2 || p[1] != ':' ? NULL : memchr(p + 2, ']', n - 2);
    size_t len = close ? (size_t)(close - p) : 0;
    if (len < 3 || p[len - 1] != ':') return false;
    *past = len + 1;
    *name = len - 3;
    return true;
}

/* The set at p[0] == '[': its length, 0 if it is malformed. Sets *in if c is in it. */
static size_t ignore_in_set(const char *p, size_t n, unsigned char c, bool *in) {
    size_t at = 1, past = 0, name = 0;
    bool negated = n > 1 && (p[1] == '!' || p[1] == '^'), found = false;
    int before = -1; /* the byte that a range may begin with */
    if (negated) at++;
    for (bool first = true; at < n && (first || p[at] != ']'); first = false) {
        unsigned char b = (unsigned char)p[at];
        if (b == '-' && before >= 0 && at + 1 < n && p[at + 1] != ']') {
            if (p[++at] == '\\') at++;
            if (at >= n) return 0;
            found |= c >= before && c <= (unsigned char)p[at];
            before = -1;
            at++;
        } else if (b == '[' && at + 1 < n && p[at + 1] == ':' && !memchr(p + at, ']', n - at)) {
            return 0;
        } else if (b == '[' && ignore_class(p + at, n - at, &name, &past)) {
            if (!ignore_known_class(p + at + 2, name)) return 0;
            found |= ignore_in_class(p + at + 2, name, c);
            before = -1;
            at += past;
        } else {
            if (b == '\\' && ++at >= n) return 0;
            before = (unsigned char)p[at++];
            found |= c == before;
        }
    }
    *in = found != negated;
    return at < n ? at + 1 : 0;
}

/* A run of stars at r->pattern[at]. Two or more between slashes cross folders. */
static ignore_item ignore_stars(const agt_ignore_rule *r, size_t at) {
    const char *p = r->pattern;
    size_t end = at;
    while (end < r->len && p[end] == '*')
        end++;
    ignore_item item = {IGNORE_STAR, end - at};
    /* git compares the plain beginning apart, and what follows begins anew */
    bool begins = at == 0 || at == r->plain || p[at - 1] == '/';
    bool slash = end < r->len && p[end] == '/';
    bool escaped = end + 1 < r->len && p[end] == '\\' && p[end + 1] == '/';
    if (r->name_only || item.len < 2 || !begins || (end < r->len && !slash && !escaped))
        return item;
    item.kind = slash ? IGNORE_DIRS : IGNORE_DEEP;
    item.len += slash;
    return item;
}

/* The element at `at`; *byte is what IGNORE_BYTE wants, *in whether c is in the set. */
static ignore_item ignore_next(const agt_ignore_rule *r, size_t at, unsigned char c, char *byte,
                               bool *in) {
    const char *p = r->pattern + at;
    size_t left = r->len - at;
    ignore_item item = {IGNORE_BYTE, 1};
    *byte = *p;
    if (*p == '*') return ignore_stars(r, at);
    if (*p == '?') item.kind = IGNORE_ANY;
    if (*p == '\\') {
        if (left < 2) return (ignore_item){IGNORE_NEVER, 1};
        *byte = p[1];
        item.len = 2;
    }
    if (*p == '[') {
        item.len = ignore_in_set(p, left, c, in);
        item.kind = item.len ? IGNORE_SET : IGNORE_NEVER;
    }
    return item;
}

/* ---- matching ---- */

/* Moves the set on by one byte c, or (c < 0) only over what may match nothing. `inside` has the
 * places of DIRS that have begun to match something. */
static void ignore_step(const agt_ignore_rule *r, int c, ignore_bits *here, ignore_bits *inside,
                        ignore_bits *next, ignore_bits *next_inside) {
    for (size_t at = 0; at < r->len; at++) {
        char byte = 0;
        bool in = false;
        if (!ignore_has(here, at) && !ignore_has(inside, at)) {
            if (!here->word[at / 64] && !inside->word[at / 64]) at |= 63; /* none in this word */
            continue;
        }
        ignore_item item = ignore_next(r, at, (unsigned char)c, &byte, &in);
        size_t past = at + item.len;
        if (item.kind >= IGNORE_STAR && item.kind <= IGNORE_DIRS && ignore_has(here, at))
            ignore_set(here, past);
        if (c < 0) continue;
        if (item.kind == IGNORE_DIRS) ignore_set(next_inside, at);
        if ((item.kind == IGNORE_STAR && c != '/') || item.kind == IGNORE_DEEP)
            ignore_set(next, at);
        if ((item.kind == IGNORE_BYTE && c == (unsigned char)byte) ||
            (item.kind == IGNORE_ANY && c != '/') || (item.kind == IGNORE_SET && in && c != '/') ||
            (item.kind == IGNORE_DIRS && c == '/'))
            ignore_set(next, past);
    }
}

static bool ignore_glob(const agt_ignore_rule *r, const char *s, size_t n) {
    ignore_bits sets[4];
    size_t words = (size_t)r->len / 64 + 1, now = 0;
    memset(sets, 0, sizeof sets);
    ignore_set(&sets[0], r->plain);
    for (size_t i = 0; i < n; i++, now ^= 2) {
        ignore_bits *next = &sets[now ^ 2];
        memset(next[0].word, 0, words * sizeof(uint64_t));
        memset(next[1].word, 0, words * sizeof(uint64_t));
        ignore_step(r, (unsigned char)s[i], &sets[now], &sets[now + 1], next, next + 1);
        uint64_t any = 0;
        for (size_t w = 0; w < words; w++)
            any |= next[0].word[w] | next[1].word[w];
        if (!any) return false;
    }
    ignore_step(r, -1, &sets[now], &sets[now + 1], NULL, NULL);
    return ignore_has(&sets[now], r->len);
}

static bool ignore_matches(const agt_ignore_rule *r, const char *path, size_t len, size_t name) {
    if (r->name_only) path += name, len -= name;
    if (r->plain > len || memcmp(r->pattern, path, r->plain) != 0) return false;
    if (r->plain == r->len) return len == r->len;
    if (r->pattern[r->plain] == '*' && r->name_only) { /* most are *.ending */
        size_t tail = r->len - r->plain - 1u, i = r->plain + 1u;
        while (i < r->len && !ignore_special(r->pattern[i]))
            i++;
        if (i == r->len)
            return len - r->plain >= tail &&
                   memcmp(r->pattern + r->plain + 1, path + len - tail, tail) == 0;
    }
    return ignore_glob(r, path + r->plain, len - r->plain);
}

AGT_PRIVATE agt_ignore_answer agt__ignore_one(const agt_ignore_rule *rules, size_t count,
                                              const char *path, size_t len, bool folder) {
    size_t name = len;
    while (name && path[name - 1] != '/')
        name--;
    while (count--) { /* the last that matches decides */
        const agt_ignore_rule *r = &rules[count];
        if ((folder || !r->folder_only) && ignore_matches(r, path, len, name))
            return r->negative ? AGT_IGNORE_WANTED : AGT_IGNORE_LEFT_OUT;
    }
    return AGT_IGNORE_UNSAID;
}

/* ---- what is kept out of sight unless a pattern of the user's wants it ---- */

/* Nothing in here may hide what people write: `credentials.md` is about credentials, `build/` and
 * `vendor/` often hold sources. */
static const char ignore_usual[] =
    /* secrets: settings with passwords in them */
    ".env\n.env.*\n*.env\n.envrc\n!.env.example\n!.env.sample\n!.env.template\n"
    "credentials*\n!credentials*.md\nsecrets.json\nsecrets.toml\nsecrets.yml\nsecrets.yaml\n"
    ".secrets\nservice-account*.json\n*.tfstate\n*.tfstate.*\n"
    /* secrets: keys, certificates with keys, and their stores */
    "*.pem\n*.key\n*.p12\n*.pfx\n*.jks\n*.keystore\n*.kdbx\n*.kdb\n*.ppk\n"
    "id_rsa*\nid_dsa*\nid_ecdsa*\nid_ed25519*\n"
    /* secrets: what programs log in with */
    ".netrc\n_netrc\n.npmrc\n.pypirc\n.pgpass\n.my.cnf\n.htpasswd\n.git-credentials\n.dockercfg\n"
    ".aws/\n.azure/\n.docker/\n.gcloud/\n.gnupg/\n.kube/\n.password-store/\n.ssh/\n"
    /* other systems' version control; .git and .agent-trace are never looked into at all */
    ".hg/\n.svn/\n.bzr/\n.jj/\nCVS/\n"
    /* what tools make and can make again */
    "node_modules/\n__pycache__/\n*.pyc\n*.pyo\n.venv/\nvenv/\n.tox/\n.nox/\n.mypy_cache/\n"
    ".pytest_cache/\n.ruff_cache/\n*.egg-info/\n.gradle/\n.terraform/\n.cache/\ntarget/\ndist/\n"
    /* what editors and systems leave behind */
    "*~\n*.swp\n*.swo\n.#*\n\\#*#\n~$*\n*.tmp\n.DS_Store\nThumbs.db\ndesktop.ini\n";

AGT_PRIVATE const char *agt__ignore_usual(size_t *len) {
    *len = sizeof ignore_usual - 1;
    return ignore_usual;
}
