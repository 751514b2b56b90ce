/* Patterns in the language of .gitignore: what they mean, compared with git itself, and that no
 * pattern takes long. */
#include "../src/data/data.h"
#include "test.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static agt_status read_rules(const char *text, size_t n, agt_ignore_rule *rules, size_t *count,
                             agt_error *err) {
    CHECK(agt__ignore_lines(text, n) <= 64);
    return agt__ignore_read(text, n, rules, count, err);
}

/* Is the path left out, or a folder on the way to it? */
static bool path_out(const agt_ignore_rule *rules, size_t count, const char *path, size_t len,
                     bool folder) {
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && agt__ignore_one(rules, count, path, i, true) == AGT_IGNORE_LEFT_OUT)
            return true;
    return agt__ignore_one(rules, count, path, len, folder) == AGT_IGNORE_LEFT_OUT;
}

static bool left_out(const char *text, const char *path) {
    agt_ignore_rule rules[64];
    size_t count, len = strlen(path);
    agt_error err;
    bool folder = len && path[len - 1] == '/';
    CHECK_OK(read_rules(text, strlen(text), rules, &count, &err), err);
    return path_out(rules, count, path, len - folder, folder);
}

/* ---- what patterns mean ---- */

static const struct {
    const char *text, *path; /* a path with a slash at its end is a folder */
    bool out;
} meant[] = {
    /* names, anywhere */
    {"a", "a", 1},
    {"a", "x/a", 1},
    {"a", "a/x/y", 1},
    {"a", "ab", 0},
    {"*.pem", "x/k.pem", 1},
    {"*.pem", ".pem", 1},
    {"*.pem", "k.pem.md", 0},
    {"id_rsa*", "id_rsa.pub", 1},
    {"n?te.md", "note.md", 1},
    {"n?te.md", "nte.md", 0},
    {"*~", "x~", 1},
    /* folders */
    {"a/", "a/", 1},
    {"a/", "a", 0},
    {"a/", "x/a/b", 1},
    {"a/b/", "a/b/c", 1},
    {"a/b/", "a/bc/", 0},
    {"a/b/", "a/b", 0},
    /* anchors */
    {"/a", "a", 1},
    {"/a", "x/a", 0},
    {"a/b", "a/b", 1},
    {"a/b", "x/a/b", 0},
    {"/", "a", 0},
    /* stars */
    {"a/*", "a/b", 1},
    {"a/*/c", "a/b/c", 1},
    {"a/*/c", "a/b/b/c", 0},
    {"**/c", "c", 1},
    {"**/c", "a/b/c", 1},
    {"**/c", "a/bc", 0},
    {"a/**/c", "a/c", 1},
    {"a/**/c", "a/x/y/c", 1},
    {"a/**/c", "a/xc", 0},
    {"a/**", "a/x", 1},
    {"a/**", "a", 0},
    {"a**c", "abbc", 1},
    /* sets */
    {"[a-c]x", "bx", 1},
    {"[!a-c]x", "bx", 0},
    {"[^a-c]x", "dx", 1},
    {"[]]x", "]x", 1},
    {"[a-]x", "-x", 1},
    {"[\\]]x", "]x", 1},
    {"[[:digit:]]x", "7x", 1},
    {"[[:digit:]a]x", "ax", 1},
    {"[[:nothing:]a]x", "ax", 0},
    {"[[::]x", "[x", 0},
    {"[[:]x", ":x", 1},
    {"a/[!b]c", "a//c", 0},
    {"[ab", "[ab", 0},
    {"[a", "a", 0},
    /* escapes, comments, blanks, ends of lines */
    {"# a", "# a", 0},
    {"\\# a", "# a", 1},
    {"\\!a", "!a", 1},
    {"\\*", "a", 0},
    {"\\*", "*", 1},
    {"a\\", "a\\", 0},
    {"a  ", "a", 1},
    {"a\\ ", "a ", 1},
    {"a\\  ", "a ", 1},
    {"a\\\\ ", "a\\", 1},
    {"a\r\nb\r\n", "b", 1},
    {"a\r\nb\r\n", "a", 1},
    {"\xef\xbb\xbf"
     "a",
     "a", 1},
    {" ", " ", 0},
    {"", "a", 0},
    {"\n\n", "a", 0},
    /* negation: the last one that matches decides, but not below a folder that is left out */
    {"*.md\n!a.md", "a.md", 0},
    {"!a.md\n*.md", "a.md", 1},
    {"a\n!a/b", "a/b", 1},
    {"a/*\n!a/b", "a/b", 0},
    {"a/*\n!a/b", "a/b/c", 0},
    {"a/*\n!a/b", "a/c", 1},
    {"!", "a", 0},
    {"*\n!!a", "!a", 0},
};

TEST(ignore, patterns_mean_what_they_mean_to_git) {
    for (size_t i = 0; i < AGT_COUNT(meant); i++)
        if (left_out(meant[i].text, meant[i].path) != meant[i].out)
            test_fail(__FILE__, __LINE__, "\"%s\" on %s: wanted %d", meant[i].text, meant[i].path,
                      meant[i].out);
    test_saw("patterns", AGT_COUNT(meant));
}

TEST(ignore, one_path_alone_can_be_asked_about) {
    static const char text[] = "a/\n!b\n";
    agt_ignore_rule rules[2];
    size_t count;
    agt_error err;
    CHECK_OK(read_rules(text, sizeof text - 1, rules, &count, &err), err);
    CHECK_INT(count, 2);
    CHECK_INT(agt__ignore_one(rules, count, "a", 1, true), AGT_IGNORE_LEFT_OUT);
    CHECK_INT(agt__ignore_one(rules, count, "a", 1, false), AGT_IGNORE_UNSAID);
    CHECK_INT(agt__ignore_one(rules, count, "a/b", 3, false), AGT_IGNORE_WANTED);
    CHECK_INT(agt__ignore_one(rules, 0, "a", 1, true), AGT_IGNORE_UNSAID);
}

TEST(ignore, a_nul_ends_its_line_as_it_does_for_git) {
    static const char text[] = "a\0b\nc\n";
    agt_ignore_rule rules[2];
    size_t count;
    agt_error err;
    CHECK_OK(read_rules(text, sizeof text - 1, rules, &count, &err), err);
    CHECK_INT(count, 2);
    CHECK(path_out(rules, count, "a", 1, false));
    CHECK(path_out(rules, count, "c", 1, false));
    CHECK(!path_out(rules, count, "a\0b", 3, false));
}

TEST(ignore, a_line_that_is_too_long_is_told_with_its_place) {
    char text[AGT_IGNORE_MAX_LINE + 16], path[AGT_IGNORE_MAX_LINE];
    agt_ignore_rule rules[4];
    size_t count;
    agt_error err;
    memset(text, 'a', sizeof text);
    memset(path, 'a', sizeof path);
    memcpy(text, "b\n", 2);
    CHECK_OK(read_rules(text, 2 + AGT_IGNORE_MAX_LINE, rules, &count, &err), err);
    CHECK_INT(count, 2);
    CHECK(path_out(rules, count, path, sizeof path, false));
    CHECK_STATUS(read_rules(text, 3 + AGT_IGNORE_MAX_LINE, rules, &count, &err), AGT_LIMIT, err);
    CHECK_INT(err.offset, 2);
    CHECK(strstr(err.message, "line 2"));
}

/* ---- the usual patterns ---- */

/* With a `!` in front: what must be seen. */
static const char *const usual[] = {".env",
                                    "x/.env.local",
                                    "prod.env",
                                    ".env/x",
                                    "!.env.example",
                                    "credentials",
                                    "credentials.x",
                                    "!credentials.md",
                                    "x/k.pem",
                                    "server.key",
                                    "id_rsa",
                                    "id_ed25519.pub",
                                    ".netrc",
                                    ".npmrc",
                                    ".pypirc",
                                    ".aws/config",
                                    "x/.ssh/config",
                                    ".gnupg/x",
                                    "pass.kdbx",
                                    "c.p12",
                                    "c.pfx",
                                    "secrets.yaml",
                                    "!secrets.md",
                                    "a.tfstate",
                                    ".git-credentials",
                                    ".hg/x",
                                    ".svn/x",
                                    "node_modules/x",
                                    "x/target/y.md",
                                    "dist/x",
                                    "__pycache__/x",
                                    "a.pyc",
                                    ".venv/x",
                                    "venv/x",
                                    ".DS_Store",
                                    "a.swp",
                                    "a~",
                                    "a.tmp",
                                    ".#a",
                                    "#a#",
                                    "~$a.docx",
                                    "!venv",
                                    "!target",
                                    "!dist.md",
                                    "!build/a.md",
                                    "!vendor/a.md",
                                    "!a.md",
                                    "!# a.md",
                                    "!.github/a.md",
                                    "!.agent-trace-ignore",
                                    "!environment.md",
                                    "!keys.md",
                                    "!.claude/x.md",
                                    "!notes/key.md",
                                    "!a.tmp.md"};

TEST(ignore, the_usual_patterns_hide_secrets_and_leavings_and_nothing_that_people_write) {
    size_t n, count, lines, hidden = 0;
    const char *text = agt__ignore_usual(&n);
    agt_error err;
    lines = agt__ignore_lines(text, n);
    agt_ignore_rule *rules = calloc(lines, sizeof *rules);
    CHECK_OK(agt__ignore_read(text, n, rules, &count, &err), err);
    CHECK_INT(count, lines); /* none is empty or a comment */
    for (size_t i = 0; i < AGT_COUNT(usual); i++) {
        bool seen = usual[i][0] == '!';
        const char *path = usual[i] + seen;
        if (path_out(rules, count, path, strlen(path), false) == seen)
            test_fail(__FILE__, __LINE__, "%s is %s", path, seen ? "left out" : "not left out");
        hidden += !seen;
    }
    test_saw("hidden", hidden);
    free(rules);
}

/* ---- hostile patterns ---- */

TEST(ignore, no_pattern_takes_long_whatever_is_in_it) {
    static const char *const parts[] = {"*a", "**/a", "a**/", "*?", "[a-b]*", "*[[:alpha:]]"};
    char text[AGT_IGNORE_MAX_LINE + 1], path[AGT_MAX_PATH];
    agt_ignore_rule rule[1];
    size_t count, saw = 0;
    agt_error err;
    clock_t before = clock();
    for (size_t i = 0; i < AGT_COUNT(parts); i++) {
        size_t n = 0, one = strlen(parts[i]);
        for (; n + one < sizeof text; n += one)
            memcpy(text + n, parts[i], one);
        text[n - 1] = 'z'; /* so that it never matches */
        for (size_t k = 0; k < sizeof path; k++)
            path[k] = k % 16 == 15 ? '/' : 'a';
        path[sizeof path - 1] = 'a';
        CHECK_OK(agt__ignore_read(text, n, rule, &count, &err), err);
        CHECK_INT(count, 1);
        for (int round = 0; round < 4; round++, saw++)
            CHECK_INT(agt__ignore_one(rule, 1, path, sizeof path, false), AGT_IGNORE_UNSAID);
    }
    test_saw("matches", saw);
    CHECK_INT(saw, 24);
    CHECK((double)(clock() - before) / CLOCKS_PER_SEC < 20); /* backtracking takes for ever */
}

/* ---- git's own opinion ---- */

#define ROUNDS 400 /* texts */
#define NAMES  12
#define PATHS  (NAMES * 6)

typedef struct sample {
    char path[PATHS][24];
    bool folder[PATHS];
    size_t count;
} sample;

/* A tree of files and folders with short names of few letters, so that much matches. */
static void make_sample(const char *root, sample *s) {
    static const char letters[] = "abAB.-[]*!\\ #1";
    char name[2048], folder[20];
    s->count = 0;
    for (unsigned tries = 0; tries < 4000 && s->count < PATHS; tries++) {
        char leaf[4];
        size_t n = 1 + test_random_below(3);
        for (size_t i = 0; i < n; i++)
            leaf[i] = letters[test_random_below(sizeof letters - 1)];
        leaf[n] = 0;
        if (strcmp(leaf, ".") == 0 || strcmp(leaf, "..") == 0) continue;
        size_t in = test_random_below(s->count + 1);
        char *path = s->path[s->count];
        if (in == s->count || !s->folder[in] || strlen(s->path[in]) > 16)
            (void)snprintf(path, sizeof s->path[0], "%s", leaf);
        else
            (void)snprintf(path, sizeof s->path[0], "%s/%s", strcpy(folder, s->path[in]), leaf);
        (void)snprintf(name, sizeof name, "%s/%s", root, path);
        s->folder[s->count] = test_random_below(2) == 0;
        if (s->folder[s->count]) {
            if (mkdir(name, 0755) != 0) continue;
        } else {
            if (access(name, F_OK) == 0) continue;
            test_write_file(name, "", 0);
        }
        s->count++;
    }
}

static size_t make_text(const sample *s, char *text, size_t size) {
    static const char *const parts[] = {"*", "**", "/", "?",  "[ab]",         "[!a]", "\\",
                                        "a", "b",  "!", ".",  "[[:upper:]]",  " ",    "/**/",
                                        "#", "-",  "1", "[]", "[[:digit:]-]", "]",    "[A-b"};
    size_t n = 0, lines = 1 + test_random_below(6);
    for (size_t line = 0; line < lines; line++) {
        const char *path = s->path[test_random_below(s->count)], *slash;
        if (test_random_below(8) == 0) text[n++] = '!';
        if (test_random_below(3) == 0) { /* a path that is there, with a part of it replaced */
            size_t len = strlen(path), at = test_random_below(len), k = 0;
            slash = test_random_below(2) ? "" : "/";
            n += (size_t)snprintf(text + n, size - n, "%s", slash);
            for (; k < len; k++)
                n += k == at ? (size_t)snprintf(text + n, size - n, "%s",
                                                parts[test_random_below(AGT_COUNT(parts))])
                             : (text[n] = path[k], (size_t)1);
        } else {
            for (size_t k = 1 + test_random_below(5); k; k--)
                n += (size_t)snprintf(text + n, size - n, "%s",
                                      parts[test_random_below(AGT_COUNT(parts))]);
        }
        if (test_random_below(4) == 0) text[n++] = '/';
        if (test_random_below(8) == 0) text[n++] = ' ';
        if (test_random_below(8) == 0) text[n++] = '\r';
        text[n++] = '\n';
    }
    return n;
}

static int git(const char *root, const char *words) {
    char command[2048];
    (void)snprintf(command, sizeof command,
                   "cd '%s' && env -i PATH=\"$PATH\" HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 "
                   "GIT_CONFIG_GLOBAL=/dev/null git %s",
                   root, words);
    return system(command);
}

/* The fields of check-ignore -v -z: source, line, pattern, path. */
static size_t compare(const char *root, const sample *s, const char *text, size_t n) {
    char name[2048];
    agt_ignore_rule rules[64];
    agt_error err;
    size_t count, len, at = 0, out = 0;
    CHECK_OK(read_rules(text, n, rules, &count, &err), err);
    (void)snprintf(name, sizeof name, "%s/.git/answer", root);
    char *answer = (char *)test_read_file(name, &len);
    for (size_t i = 0; i < s->count; i++) {
        const char *field[4];
        for (size_t k = 0; k < 4; k++) {
            CHECK(at < len);
            field[k] = answer + at;
            at += strlen(answer + at) + 1;
        }
        CHECK_STR(field[3], s->path[i]);
        bool theirs = field[2][0] && field[2][0] != '!';
        bool ours = path_out(rules, count, s->path[i], strlen(s->path[i]), s->folder[i]);
        if (ours != theirs)
            test_fail(__FILE__, __LINE__, "%s%s: git says %d by \"%s\", we %d; the text:\n%.*s",
                      s->path[i], s->folder[i] ? "/" : "", theirs, field[2], ours, (int)n, text);
        out += ours;
    }
    CHECK(at == len);
    free(answer);
    return out;
}

TEST(ignore, git_agrees_about_generated_patterns) {
    const char *root = test_folder();
    char name[2048], text[1024];
    sample *s = calloc(1, sizeof *s);
    size_t pairs = 0, out = 0;
    if (git(root, "init -q . 2>/dev/null") != 0) test_skip("there is no git");
    make_sample(root, s);
    CHECK(s->count > PATHS / 2);
    (void)snprintf(name, sizeof name, "%s/.git/paths", root);
    FILE *f = fopen(name, "wb");
    CHECK(f);
    for (size_t i = 0; i < s->count; i++)
        (void)fwrite(s->path[i], 1, strlen(s->path[i]) + 1, f);
    (void)fclose(f);
    uint64_t rounds = test_count("TEST_IGNORES", ROUNDS);
    for (uint64_t round = 0; round < rounds; round++) {
        size_t n = make_text(s, text, sizeof text);
        (void)snprintf(name, sizeof name, "%s/.git/info/exclude", root);
        test_write_file(name, text, n);
        (void)git(root, "check-ignore --no-index -v -n -z --stdin <.git/paths >.git/answer");
        out += compare(root, s, text, n);
        pairs += s->count;
    }
    test_saw("pairs of text and path", pairs);
    test_saw("left out", out);
    CHECK(pairs >= 20 * rounds && out > pairs / 20 && out < pairs - pairs / 20);
    free(s);
}
