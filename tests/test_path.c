/* The rules for document paths: hostile names, good names, limits, and names of agents. */
#include "../src/data/data.h"
#include "test.h"

static agt_status normalise(const char *s, size_t n, char out[AGT_MAX_PATH + 1], size_t *len,
                            agt_error *err) {
    char *exact = malloc(n ? n : 1); /* so that a read past the end is seen */
    if (n) memcpy(exact, s, n);
    agt_status status = agt__path_normalise(exact, n, out, len, err);
    free(exact);
    return status;
}

#define BYTES(s) s, sizeof(s) - 1

static const struct {
    const char *path;
    size_t len;
    int64_t offset;
    const char *words;
} hostile[] = {
    /* nothing, folders, absolute and upward */
    {BYTES(""), 0, "empty"},
    {BYTES("/"), 0, "absolute"},
    {BYTES("//"), 0, "absolute"},
    {BYTES("/etc/passwd"), 0, "absolute"},
    {BYTES("//server/share/x"), 0, "absolute"},
    {BYTES("."), 0, "folder"},
    {BYTES("./"), 1, "folder"},
    {BYTES("./."), 2, "folder"},
    {BYTES("a/"), 1, "folder"},
    {BYTES("a//"), 2, "folder"},
    {BYTES("a/."), 2, "folder"},
    {BYTES("a/b/./"), 5, "folder"},
    {BYTES(".."), 0, "upward"},
    {BYTES("../x"), 0, "upward"},
    {BYTES("./../x"), 2, "upward"},
    {BYTES("a/../x"), 2, "upward"},
    {BYTES("a/.."), 2, "upward"},
    {BYTES("a/b/../../../x"), 4, "upward"},
    {BYTES("..//x"), 0, "upward"},
    {BYTES("../"), 2, "folder"},
    {BYTES("..\\x"), 2, "backslash"},
    {BYTES("a/..\\..\\x"), 4, "backslash"},
    {BYTES("..."), 0, "dot or a blank"},
    {BYTES(".. "), 0, "dot or a blank"},
    {BYTES(".. /x"), 0, "dot or a blank"},
    {BYTES("... /x"), 0, "dot or a blank"},
    {BYTES("C:\\x"), 1, "one of"},
    {BYTES("C:x"), 1, "one of"},
    {BYTES("\\\\?\\C:\\x"), 0, "backslash"},
    {BYTES("\\x"), 0, "backslash"},
    /* .git and .agent-trace, as they are and in disguise */
    {BYTES(".git"), 0, ".git or .agent-trace"},
    {BYTES(".git/config"), 0, ".git or .agent-trace"},
    {BYTES(".GIT/config"), 0, ".git or .agent-trace"},
    {BYTES(".Git/hooks/pre-commit"), 0, ".git or .agent-trace"},
    {BYTES("./.git/config"), 2, ".git or .agent-trace"},
    {BYTES("a/.git/config"), 2, ".git or .agent-trace"},
    {BYTES("a/b/c/.giT"), 6, ".git or .agent-trace"},
    {BYTES(".git./config"), 0, ".git or .agent-trace"},
    {BYTES(".git /config"), 0, ".git or .agent-trace"},
    {BYTES(".git. . ./config"), 0, ".git or .agent-trace"},
    {BYTES(".git...."), 0, ".git or .agent-trace"},
    {BYTES(".git\xe2\x80\x8c/config"), 0, ".git or .agent-trace"},
    {BYTES(".g\xe2\x80\x8cit/config"), 0, ".git or .agent-trace"},
    {BYTES("\xe2\x80\x8d.git/config"), 0, ".git or .agent-trace"},
    {BYTES(".gi\xe2\x80\x8et"), 0, ".git or .agent-trace"},
    {BYTES(".gi\xe2\x80\x8ft"), 0, ".git or .agent-trace"},
    {BYTES(".\xe2\x80\xaagit"), 0, ".git or .agent-trace"},
    {BYTES(".\xe2\x80\xaegit"), 0, ".git or .agent-trace"},
    {BYTES(".g\xe2\x81\xaait"), 0, ".git or .agent-trace"},
    {BYTES(".g\xe2\x81\xafit"), 0, ".git or .agent-trace"},
    {BYTES(".git\xef\xbb\xbf"), 0, ".git or .agent-trace"},
    {BYTES(".g\xc2\xadit"), 0, ".git or .agent-trace"},
    {BYTES(".g\xe2\x80\x8bit"), 0, ".git or .agent-trace"},
    {BYTES(".g\xe2\x81\xa0it"), 0, ".git or .agent-trace"},
    {BYTES(".git.\xe2\x80\x8c"), 0, ".git or .agent-trace"},
    {BYTES(".g\xc4\xb1t/config"), 0, ".git or .agent-trace"},
    {BYTES(".G\xc4\xb0T/config"), 0, ".git or .agent-trace"},
    {BYTES("git~1"), 0, ".git or .agent-trace"},
    {BYTES("GIT~1/config"), 0, ".git or .agent-trace"},
    {BYTES("Git~2"), 0, ".git or .agent-trace"},
    {BYTES("a/git~10/x"), 2, ".git or .agent-trace"},
    {BYTES("GI7EBA~1"), 0, ".git or .agent-trace"},
    {BYTES("gi0123~9/config"), 0, ".git or .agent-trace"},
    {BYTES(".git::$INDEX_ALLOCATION/config"), 4, "one of"},
    {BYTES(".git:x"), 4, "one of"},
    {BYTES(".git\\config"), 4, "backslash"},
    {BYTES("a\\.git\\config"), 1, "backslash"},
    {BYTES(".agent-trace"), 0, ".git or .agent-trace"},
    {BYTES(".agent-trace/config.toml"), 0, ".git or .agent-trace"},
    {BYTES("./.agent-trace/journal"), 2, ".git or .agent-trace"},
    {BYTES(".//.agent-trace/journal"), 3, ".git or .agent-trace"},
    {BYTES(".Agent-Trace/git/config"), 0, ".git or .agent-trace"},
    {BYTES(".AGENT-TRACE"), 0, ".git or .agent-trace"},
    {BYTES("sub/.agent-trace/locks/poll.lock"), 4, ".git or .agent-trace"},
    {BYTES(".agent-trace./x"), 0, ".git or .agent-trace"},
    {BYTES(".agent-trace /x"), 0, ".git or .agent-trace"},
    {BYTES(".agent\xe2\x80\x8d-trace/x"), 0, ".git or .agent-trace"},
    {BYTES(".agent-trace\xef\xbb\xbf/x"), 0, ".git or .agent-trace"},
    {BYTES("AGENT-~1"), 0, ".git or .agent-trace"},
    {BYTES("agent-~1/journal"), 0, ".git or .agent-trace"},
    {BYTES("Agent~12/journal"), 0, ".git or .agent-trace"},
    {BYTES("agent~1"), 0, ".git or .agent-trace"},
    {BYTES("AG12EF~1/journal"), 0, ".git or .agent-trace"},
    {BYTES("x/agen~100"), 2, ".git or .agent-trace"},
    /* devices */
    {BYTES("con"), 0, "device"},
    {BYTES("CON"), 0, "device"},
    {BYTES("con.txt"), 0, "device"},
    {BYTES("Con.tar.gz"), 0, "device"},
    {BYTES("con .txt"), 0, "device"},
    {BYTES("con        .txt"), 0, "device"},
    {BYTES("a/prn/b"), 2, "device"},
    {BYTES("aux.md"), 0, "device"},
    {BYTES("nul"), 0, "device"},
    {BYTES("notes/NUL.md"), 6, "device"},
    {BYTES("com1"), 0, "device"},
    {BYTES("COM9.log"), 0, "device"},
    {BYTES("com0"), 0, "device"},
    {BYTES("lpt1"), 0, "device"},
    {BYTES("LPT9.x/y"), 0, "device"},
    {BYTES("com\xc2\xb9"), 0, "device"},
    {BYTES("COM\xc2\xb2.txt"), 0, "device"},
    {BYTES("lpt\xc2\xb3.txt"), 0, "device"},
    {BYTES("CONIN$"), 0, "device"},
    {BYTES("conout$.txt"), 0, "device"},
    {BYTES("clock$"), 0, "device"},
    /* characters */
    {BYTES("a\0b"), 1, "control"},
    {BYTES("\0"), 0, "control"},
    {BYTES("a.md\0"), 4, "control"},
    {BYTES("a\nb"), 1, "control"},
    {BYTES("a\rb"), 1, "control"},
    {BYTES("a\tb"), 1, "control"},
    {BYTES("\x1b[31m"), 0, "control"},
    {BYTES("a\x7f"), 1, "control"},
    {BYTES("a\x01"), 1, "control"},
    {BYTES("x/\x1f/y"), 2, "control"},
    {BYTES("a\xc2\x80"), 1, "control"},
    {BYTES("a\xc2\x9b"
           "31m"),
     1, "control"},
    {BYTES("a\xc2\x9f"), 1, "control"},
    {BYTES("a<b"), 1, "one of"},
    {BYTES("a>b"), 1, "one of"},
    {BYTES("say \"x\""), 4, "one of"},
    {BYTES("a|b"), 1, "one of"},
    {BYTES("what?"), 4, "one of"},
    {BYTES("*.md"), 0, "one of"},
    {BYTES("file:stream"), 4, "one of"},
    {BYTES("file::$DATA"), 4, "one of"},
    {BYTES("a."), 0, "dot or a blank"},
    {BYTES("a "), 0, "dot or a blank"},
    {BYTES("a./b"), 0, "dot or a blank"},
    {BYTES("x/a /b"), 2, "dot or a blank"},
    {BYTES(" "), 0, "dot or a blank"},
    {BYTES(". "), 0, "dot or a blank"},
    {BYTES("a/ /b"), 2, "dot or a blank"},
    /* encodings */
    {BYTES("\xff"), 0, "UTF-8"},
    {BYTES("a/\x80"), 2, "UTF-8"},
    {BYTES("caf\xe9.md"), 3, "UTF-8"},
    {BYTES("\xc0\xae\xc0\xae/x"), 0, "UTF-8"},
    {BYTES("a\xc0\xaf"
           "b"),
     1, "UTF-8"},
    {BYTES("\xe0\x80\xaf"), 0, "UTF-8"},
    {BYTES("\xed\xa0\x80"), 0, "UTF-8"},
    {BYTES("\xf4\x90\x80\x80"), 0, "UTF-8"},
    {BYTES("x\xe2\x80"), 1, "UTF-8"},
    {BYTES("x\xc2"), 1, "UTF-8"},
};

TEST(path, hostile_names_are_refused_with_the_place_and_the_reason) {
    CHECK(AGT_COUNT(hostile) >= 120);
    for (size_t i = 0; i < AGT_COUNT(hostile); i++) {
        char out[AGT_MAX_PATH + 1];
        size_t n = 77;
        agt_error err;
        agt_status status = normalise(hostile[i].path, hostile[i].len, out, &n, &err);
        if (status != AGT_INVALID || err.offset != hostile[i].offset ||
            !strstr(err.message, hostile[i].words))
            test_fail(__FILE__, __LINE__, "\"%s\" (%zu): %s, offset %" PRId64 ": %s",
                      hostile[i].path, i, agt_status_name(status), status ? err.offset : -1,
                      status ? err.message : out);
        CHECK(strstr(err.message, ";") != NULL); /* and how to mend it */
        CHECK(n == 0 && out[0] == 0);
    }
    test_saw("hostile names", AGT_COUNT(hostile));
}

/* All of Unicode: a character that hides a reserved name is one of Default_Ignorable_Code_Point
 * (Unicode 15.1, DerivedCoreProperties.txt), of which there are 4,174. */
TEST(path, no_invisible_character_hides_a_reserved_name) {
    static const uint32_t seen[] = {0xad,    0x34f,   0x61c,   0x115f, 0x17b5,  0x180b,  0x180f,
                                    0x200b,  0x202e,  0x2060,  0x2065, 0x206f,  0x3164,  0xfe00,
                                    0xfe0f,  0xfeff,  0xffa0,  0xfff0, 0x1bca3, 0x1d17a, 0xe0000,
                                    0xe0001, 0xe0020, 0xe01ef, 0xe0fff};
    size_t hidden = 0;
    for (uint32_t code = 0x80; code <= 0x10ffff; code++) {
        char name[16] = ".gi", out[AGT_MAX_PATH + 1];
        size_t n, len = 3 + (code >= 0xd800 && code <= 0xdfff ? 0 : agt__utf8_put(name + 3, code));
        if (len == 3) continue;
        name[len++] = 't';
        agt_error err;
        agt_status st = normalise(name, len, out, &n, &err);
        bool refused = st == AGT_INVALID && strstr(err.message, ".git or .agent-trace") != NULL;
        hidden += refused;
        for (size_t i = 0; i < AGT_COUNT(seen); i++)
            if (seen[i] == code && !refused)
                test_fail(__FILE__, __LINE__, "U+%04X hides .git", (unsigned)code);
    }
    CHECK_INT(hidden, 4174);
}

static const struct {
    const char *path, *want; /* NULL: the same */
} good[] = {
    {"a", NULL},
    {"notes.md", NULL},
    {"notes/plan.md", NULL},
    {"./notes.md", "notes.md"},
    {"././/./notes.md", "notes.md"},
    {"notes//plan.md", "notes/plan.md"},
    {"notes/./plan.md", "notes/plan.md"},
    {"notes/././/plan.md", "notes/plan.md"},
    {".hidden", NULL},
    {".gitignore", NULL},
    {".gitattributes", NULL},
    {".github/workflows/ci.yml", NULL},
    {".git-blame-ignore-revs", NULL},
    {".agent-trace-ignore", NULL},
    {".agent-traces/x", NULL},
    {"agent-trace", NULL},
    {"git", NULL},
    {"git/config", NULL},
    {"x.git/config", NULL},
    {"a.git", NULL},
    {".gitt", NULL},
    {"..git", NULL},
    {"..a", NULL},
    {"...a", NULL},
    {"a..b", NULL},
    {"a...b/c", NULL},
    {" a", NULL},
    {" .git", NULL},
    {"a b.md", NULL},
    {"-rf", NULL},
    {"~", NULL},
    {"~/x", NULL},
    {"git~", NULL},
    {"git~x", NULL},
    {"git~1.md", NULL},
    {"digit~1", NULL},
    {"a~1", NULL},
    {"agents~1", NULL},
    {"gi12x4~1", NULL},
    {"console.md", NULL},
    {"con1", NULL},
    {"acon", NULL},
    {"a.con", NULL},
    {"icon.nul", NULL},
    {"com", NULL},
    {"com10", NULL},
    {"common.md", NULL},
    {"com\xc2\xb4.md", NULL},
    {"lpt.md", NULL},
    {"con  x.txt", NULL},
    {"null", NULL},
    {"AGENT-TRACE.md", NULL},
    {"context.md", NULL},
    {"logs/kestrel-20310203-050607-089.md", NULL},
    {"caf\xc3\xa9.md", NULL},
    {"cafe\xcc\x81.md", NULL},
    {"\xe6\x97\xa5\xe6\x9c\xac/\xe8\xaa\x9e.md", NULL},
    {"\xf0\x9f\x8c\xb2.md", NULL},
    {"\xc2\xa0x", NULL},
    {".g\xc3\xaft", NULL},
    {"family\xe2\x80\x8d.md", NULL},
    {"a+b,c;d=e@f#g$h%i^j&k(l)m[n]o{p}q!r'.md", NULL},
};

TEST(path, good_names_are_taken_and_written_in_one_way) {
    CHECK(AGT_COUNT(good) >= 40);
    for (size_t i = 0; i < AGT_COUNT(good); i++) {
        char out[AGT_MAX_PATH + 1], again[AGT_MAX_PATH + 1];
        const char *want = good[i].want ? good[i].want : good[i].path;
        size_t n, m;
        agt_error err;
        CHECK_OK(normalise(good[i].path, strlen(good[i].path), out, &n, &err), err);
        CHECK_STR(out, want);
        CHECK_INT(n, strlen(want));
        CHECK_OK(normalise(out, n, again, &m, &err), err);
        CHECK_STR(again, want);
    }
    test_saw("good names", AGT_COUNT(good));
}

TEST(path, every_limit_is_kept_to_and_refused_one_past_it) {
    char path[3000], out[AGT_MAX_PATH + 1];
    size_t n, at;
    agt_error err;
    for (size_t part = 254; part <= 256; part++) {
        memset(path, 'x', part);
        CHECK_STATUS(normalise(path, part, out, &n, &err), part > 255 ? AGT_LIMIT : AGT_OK, err);
    }
    for (size_t len = AGT_MAX_PATH - 1; len <= AGT_MAX_PATH + 1; len++) {
        memset(path, 'y', len);
        for (at = 200; at < len; at += 200)
            path[at] = '/';
        agt_status want = len > AGT_MAX_PATH ? AGT_LIMIT : AGT_OK;
        CHECK_STATUS(normalise(path, len, out, &n, &err), want, err);
        CHECK_INT(n, want ? 0 : len);
        memmove(path + 3, path, len); /* what is collapsed does not count */
        memcpy(path, ".//", 3);
        CHECK_STATUS(normalise(path, len + 3, out, &n, &err), want, err);
    }
    for (size_t folders = AGT_MAX_DEPTH - 1; folders <= AGT_MAX_DEPTH + 1; folders++) {
        for (at = 0; at < folders; at++)
            memcpy(path + 2 * at, "d/", 2);
        path[2 * at] = 'f';
        CHECK_STATUS(normalise(path, 2 * at + 1, out, &n, &err),
                     folders > AGT_MAX_DEPTH ? AGT_LIMIT : AGT_OK, err);
    }
}

TEST(path, what_comes_out_of_random_bytes_keeps_every_promise) {
    static const char *const pieces[] = {"/",
                                         ".",
                                         "..",
                                         ".git",
                                         "git~",
                                         "1",
                                         " ",
                                         "a",
                                         "./",
                                         "//",
                                         "con",
                                         "x.md",
                                         "AG",
                                         "~2",
                                         "\\",
                                         ":",
                                         "\n",
                                         "\x80",
                                         "\xe2\x80\x8c",
                                         "\xc3\xa9",
                                         "agent-trace",
                                         ".agent-trace",
                                         "longer name",
                                         "t",
                                         "T",
                                         "G"};
    size_t taken = 0, refused = 0;
    for (int round = 0; round < 200000; round++) {
        char path[AGT_MAX_PATH + 8], out[AGT_MAX_PATH + 1], again[AGT_MAX_PATH + 1];
        size_t len = 0, n, m;
        agt_error err;
        for (uint64_t k = test_random_below(9); k; k--) {
            const char *piece = pieces[test_random_below(AGT_COUNT(pieces))];
            memcpy(path + len, piece, strlen(piece));
            len += strlen(piece);
        }
        if (normalise(path, len, out, &n, &err) != AGT_OK) {
            CHECK(err.offset >= 0 && err.offset <= (int64_t)len);
            refused++;
            continue;
        }
        taken++;
        CHECK(n > 0 && n <= len && strlen(out) == n);
        CHECK(out[0] != '/' && out[n - 1] != '/' && !strstr(out, "//"));
        snprintf(path, sizeof path, "/%s/", out);
        CHECK(!strstr(path, "/./") && !strstr(path, "/../") && !strstr(path, "/.git/"));
        CHECK(!strstr(path, "./") && !strstr(path, " /") && !strstr(path, "/.agent-trace/"));
        CHECK_OK(normalise(out, n, again, &m, &err), err);
        CHECK_BYTES(again, m, out, n);
    }
    CHECK(taken > 20000 && refused > 20000);
    test_saw("taken", taken);
}

TEST(path, names_are_ordered_by_their_folded_bytes) {
    static const char *const order[] = {"", "A", "a/b", "AA", "aB", "abc", "b", "B~", "\xc3\x89"};
    for (size_t i = 0; i < AGT_COUNT(order); i++)
        for (size_t j = 0; j < AGT_COUNT(order); j++) {
            int got =
                agt__path_fold_compare(order[i], strlen(order[i]), order[j], strlen(order[j]));
            CHECK_INT((got > 0) - (got < 0), (i > j) - (i < j));
        }
    CHECK_INT(agt__path_fold_compare("NOTES/Plan.MD", 13, "notes/plan.md", 13), 0);
    CHECK(agt__path_fold_compare("[", 1, "a", 1) < 0); /* folded: '[' is below 'a' */
    CHECK(agt__path_fold_compare("[", 1, "A", 1) < 0);
    CHECK(agt__path_fold_compare("\xc3\x89", 2, "\xc3\xa9", 2) != 0); /* ASCII only */
}

TEST(path, actors_sessions_and_words_have_narrow_alphabets) {
    static const char *const actors[] = {
        "user",      "system",    "agent:a", "agent:Claude Code", "agent:caf\xc3\xa9",
        "agent:a.b", "agent:...", "agent:-", "agent:user"};
    static const char *const none[] = {
        "",           "User",       "users",      "agent",           "agent:",
        "agent: a",   "agent:a ",   "agent:.",    "agent:..",        "agent:a/b",
        "agent:a\\b", "agent:a:b",  "agent:<a",   "agent:a>",        "agent:\"",
        "agent:a\n",  "agent:\x7f", "agent:\xff", "agent:a\xc2\x85", "Agent:a",
        " user",      "user ",      "root"};
    char text[80];
    for (size_t i = 0; i < AGT_COUNT(actors); i++)
        CHECK(agt__actor_valid(actors[i], strlen(actors[i])));
    for (size_t i = 0; i < AGT_COUNT(none); i++)
        if (agt__actor_valid(none[i], strlen(none[i])))
            test_fail(__FILE__, __LINE__, "taken: \"%s\"", none[i]);
    CHECK(!agt__actor_valid("agent:a\0", 8));
    memset(text, 'n', sizeof text);
    memcpy(text, "agent:", 6);
    CHECK(agt__actor_valid(text, 6 + 64) && !agt__actor_valid(text, 6 + 65));
    memset(text, 's', sizeof text);
    CHECK(agt__session_valid(text, 64) && !agt__session_valid(text, 65));
    CHECK(agt__word_valid(text, 64, false) && !agt__word_valid(text, 65, false));
    CHECK(!agt__session_valid("", 0) && !agt__word_valid("", 0, true));
    size_t session = 0, word = 0, dotted = 0;
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        session += agt__session_valid(&one, 1);
        word += agt__word_valid(&one, 1, false);
        dotted += agt__word_valid(&one, 1, true);
    }
    CHECK_INT(session, 26 + 26 + 10 + 4);
    CHECK_INT(word, 26 + 10 + 1);
    CHECK_INT(dotted, 26 + 10 + 2);
    CHECK(agt__session_valid("20310203-050607-089", 19) && !agt__session_valid("a b", 3));
    CHECK(agt__word_valid("mcp.tool_2", 10, true) && !agt__word_valid("mcp.tool", 8, false));
}

/* Of a whole path, from the root of the system on: only what names a .git. */
TEST(path, a_git_folder_is_known_anywhere_on_the_way) {
    static const char *const in[] = {".git",
                                     "/w/.git",
                                     "/w/.git/hooks",
                                     "/w/.GIT/x",
                                     "/w/.git./x",
                                     "/w/.git ",
                                     "/w/GIT~1/hooks",
                                     "/w/gi7eba~1",
                                     "/.git",
                                     "//w//.git//",
                                     "/w/.g\u200cit/x",
                                     "/w/.g\xc4\xb1t",
                                     "/w/.git/modules/m"};
    static const char *const out[] = {
        "",         "/",          "/w",      "/w/.github/x", "/w/git",          "/w/a.git/x",
        "/w/.gitx", "/w/agent~1", "/w/gi~t", "/w/g~1",       "/w/.agent-trace", "/w/digit~1"};
    for (size_t i = 0; i < AGT_COUNT(in); i++)
        if (!agt__path_in_git(in[i], strlen(in[i]))) test_fail(__FILE__, __LINE__, "%s", in[i]);
    for (size_t i = 0; i < AGT_COUNT(out); i++)
        if (agt__path_in_git(out[i], strlen(out[i]))) test_fail(__FILE__, __LINE__, "%s", out[i]);
    test_saw("paths", AGT_COUNT(in) + AGT_COUNT(out));
}
