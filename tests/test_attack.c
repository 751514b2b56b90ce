/* Names that are made to harm, against every call that takes a path: nothing outside the store's
 * folder is read or written, and nothing in .agent-trace or .git. tests/all_attack.sh runs this
 * under strace and looks at every file that was asked for between the two marks. */
#include "../src/base/base.h"
#include "store_kit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ATTACK_NAMES = 700, ATTACK_NAME = 1400 };

typedef struct attack {
    const char *base; /* has store/ and outside/ */
    char root[1000], outside[1000];
    char name[ATTACK_NAMES][ATTACK_NAME];
    size_t count, linked; /* names from `linked` on are good, but a link is in the way */
} attack;

static void attack_add(attack *a, const char *format, ...) {
    va_list args;
    CHECK(a->count < ATTACK_NAMES);
    va_start(args, format);
    int n = vsnprintf(a->name[a->count], ATTACK_NAME, format, args);
    va_end(args);
    CHECK(n > 0 && n < ATTACK_NAME);
    a->count++;
}

/* ---- the names ---- */

static void attack_traversal(attack *a) {
    static const char *const plain[] = {"..",
                                        "../",
                                        "../x.md",
                                        "../outside/new.md",
                                        "../outside/secret.md",
                                        "a/..",
                                        "a/../..",
                                        "a/../../outside/secret.md",
                                        "a/b/../../../outside/secret.md",
                                        "./../outside/secret.md",
                                        ".//../outside/secret.md",
                                        "dir/../../outside/secret.md",
                                        "dir/./../../outside/secret.md",
                                        "../store/../outside/secret.md",
                                        "..//outside/secret.md",
                                        "a/../../../../../../etc/passwd",
                                        "/",
                                        "//",
                                        "/etc/passwd",
                                        "//etc/passwd",
                                        "/etc/./passwd",
                                        "/proc/self/environ",
                                        "/dev/null",
                                        "\\",
                                        "..\\outside\\secret.md",
                                        "dir\\..\\..\\outside",
                                        "C:\\x",
                                        "C:/x",
                                        "\\\\host\\share",
                                        "~/x:y",
                                        "a/../../store",
                                        ".",
                                        "./",
                                        "a/.",
                                        "dir/",
                                        "dir//",
                                        "a//..//..//outside/x"};
    for (size_t i = 0; i < AGT_COUNT(plain); i++)
        attack_add(a, "%s", plain[i]);
    attack_add(a, "%s/secret.md", a->outside);
    attack_add(a, "%s/new.md", a->outside);
    attack_add(a, "%s/doc.md", a->root);
    char deep[1300] = "";
    for (int i = 1; i <= 12; i++) {
        strcat(deep, "../");
        attack_add(a, "%soutside/secret.md", deep);
        attack_add(a, "dir/%soutside/new.md", deep);
    }
}

/* Whatever some file system takes for the reserved folders. */
static void attack_reserved(attack *a) {
    static const char *const reserved[] = {".agent-trace", ".git"};
    static const char *const shapes[] = {"%s",
                                         "%s/",
                                         "%s/x",
                                         "%s/config",
                                         "%s/config.toml",
                                         "./%s/x",
                                         "dir/%s/x",
                                         "dir/../%s/x",
                                         "%s./x",
                                         "%s../x",
                                         "%s /x",
                                         "%s . ./x",
                                         "%s::$INDEX_ALLOCATION/x",
                                         "%s:x",
                                         "%s\\x"};
    static const char *const ignorable[] = {"\xe2\x80\x8c", "\xe2\x80\x8d", "\xe2\x80\x8e",
                                            "\xe2\x80\x8f", "\xe2\x80\xaa", "\xe2\x80\xae",
                                            "\xe2\x81\xaa", "\xe2\x81\xaf", "\xef\xbb\xbf"};
    char upper[40], mixed[40], name[200];
    for (size_t r = 0; r < 2; r++) {
        const char *plain = reserved[r];
        for (size_t i = 0; i <= strlen(plain); i++) {
            char c = plain[i];
            upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
            mixed[i] = i % 2 ? upper[i] : c;
        }
        const char *const cases[] = {plain, upper, mixed};
        for (size_t k = 0; k < 3; k++)
            for (size_t i = 0; i < AGT_COUNT(shapes); i++) {
                snprintf(name, sizeof name, shapes[i], cases[k]);
                attack_add(a, "%s", name);
            }
        for (size_t i = 0; i < AGT_COUNT(ignorable); i++) {
            attack_add(a, "%.2s%s%s/x", plain, ignorable[i], plain + 2);
            attack_add(a, "%s%s/x", plain, ignorable[i]);
            attack_add(a, "%s%s/x", ignorable[i], upper);
        }
    }
    static const char *const short_names[] = {"git~1",      "GIT~1",    "git~1/config", "GIT~2/x",
                                              "agent-~1/x", "AGENT-~1", "dir/git~1/x"};
    for (size_t i = 0; i < AGT_COUNT(short_names); i++)
        attack_add(a, "%s", short_names[i]);
}

static void attack_bytes(attack *a) {
    static const char *const bad_utf8[] = {"\x80",
                                           "\xbf",
                                           "\xc0\xaf",
                                           "\xc0\xae\xc0\xae/x",
                                           "\xc1\xbf",
                                           "\xc2",
                                           "\xe0\x80\xaf",
                                           "\xe2\x82",
                                           "\xed\xa0\x80",
                                           "\xed\xbf\xbf",
                                           "\xf0\x80\x80\xaf",
                                           "\xf0\x9f\x98",
                                           "\xf4\x90\x80\x80",
                                           "\xf8\x88\x80\x80\x80",
                                           "\xfe",
                                           "\xff",
                                           "\xe0\x80\xae\xe0\x80\xae/x"};
    for (int c = 1; c < 0x20; c++) {
        attack_add(a, "a%cb.md", c);
        attack_add(a, "dir/%c", c);
    }
    attack_add(a, "a\x7f"
                  "b.md");
    attack_add(a, "x\nactor: user.md");
    attack_add(a, "x\tcreate\tplan.md");
    for (size_t i = 0; i < AGT_COUNT(bad_utf8); i++) {
        attack_add(a, "a%sb.md", bad_utf8[i]);
        attack_add(a, "dir/%s", bad_utf8[i]);
    }
    for (const char *p = ":<>\"|?*"; *p; p++) {
        attack_add(a, "a%cb.md", *p);
        attack_add(a, "dir%c/b.md", *p);
    }
    static const char *const devices[] = {"con",     "CON",      "prn",    "aux.md", "NUL",
                                          "nul.txt", "com1",     "com9.x", "LPT1",   "lpt9.md",
                                          "dir/con", "con/x.md", "a.",     "a ",     "a./b",
                                          "a /b",    "dir/a...", "conin$", "CONOUT$"};
    for (size_t i = 0; i < AGT_COUNT(devices); i++)
        attack_add(a, "%s", devices[i]);
}

static void attack_long(attack *a) {
    char text[ATTACK_NAME];
    for (int n = 256; n <= 260; n++) {
        memset(text, 'n', (size_t)n);
        text[n] = 0;
        attack_add(a, "%s", text);
        attack_add(a, "dir/%s/x", text);
    }
    for (int n = 1025; n <= 1300; n += 55) {
        for (int i = 0; i < n; i++)
            text[i] = i % 50 == 49 ? '/' : 'p';
        text[n] = 0;
        attack_add(a, "%s", text);
    }
    for (int depth = 65; depth <= 70; depth++) {
        text[0] = 0;
        for (int i = 0; i < depth; i++)
            strcat(text, "d/");
        attack_add(a, "%sx", text);
    }
}

/* Good names behind links, at every place. */
static void attack_links(attack *a) {
    static const char *const names[] = {
        "out/secret.md",     "out/new.md",           "out/deep/new.md",   "dir/out/secret.md",
        "dir/out/new.md",    "secretlink.md",        "dir/secretlink.md", "etc/passwd",
        "passwd.md",         "dangling.md",          "dangling/x.md",     "loop",
        "loop/x.md",         "up/outside/secret.md", "up/outside/new.md", "self/doc.md",
        "inner/config.toml", "inner/new.md",         "gitlink/config"};
    a->linked = a->count;
    for (size_t i = 0; i < AGT_COUNT(names); i++)
        attack_add(a, "%s", names[i]);
}

static attack *attack_new(void) {
    agt_error err;
    attack *a = calloc(1, sizeof *a);
    a->base = test_folder();
    snprintf(a->root, sizeof a->root, "%s/store", a->base);
    snprintf(a->outside, sizeof a->outside, "%s/outside", a->base);
    free(kit_run("cd '%s' && mkdir -p store/dir outside/deep store/.git && echo secret "
                 ">outside/secret.md && "
                 "echo config >store/.git/config && cd store && "
                 "ln -s ../outside out && ln -s ../../outside dir/out && ln -s "
                 "../outside/secret.md secretlink.md && "
                 "ln -s ../../outside/secret.md dir/secretlink.md && ln -s /etc etc && ln -s "
                 "/etc/passwd passwd.md && "
                 "ln -s ../outside/none dangling.md && ln -s ../outside/none dangling && ln -s "
                 "loop loop && ln -s .. up && "
                 "ln -s . self && ln -s .agent-trace inner && ln -s .git gitlink",
                 a->base));
    agt_store *s = kit_open(a->root);
    kit_write(s, &kit_user, "doc.md", "one");
    kit_write(s, &kit_user, "doc.md", "two");
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_close(s);
    attack_traversal(a);
    attack_reserved(a);
    attack_bytes(a);
    attack_long(a);
    attack_links(a);
    CHECK(a->count >= 300);
    return a;
}

/* ---- the calls ---- */

typedef agt_status attack_call(agt_store *s, const char *name, agt_error *err);
static const agt_caller attack_user = {sizeof(agt_caller), 1, "user", NULL, NULL, 0};

static agt_status attack_write(agt_store *s, const char *name, agt_error *err) {
    return agt_write(s, &attack_user, name, "harm", 4, NULL, NULL, err);
}
static agt_status attack_remove(agt_store *s, const char *name, agt_error *err) {
    return agt_remove(s, &attack_user, name, NULL, NULL, err);
}
static agt_status attack_restore(agt_store *s, const char *name, agt_error *err) {
    return agt_restore(s, &attack_user, name, 1, NULL, NULL, err);
}
static agt_status attack_take(agt_store *s, const char *name, agt_error *err) {
    return agt_add(s, &attack_user, name, AGT_TYPE_SCRATCH, NULL, NULL, err);
}
static agt_status attack_rename(agt_store *s, const char *name, agt_error *err) {
    return agt_rename(s, &attack_user, name, "moved.md", NULL, NULL, err);
}
static agt_status attack_rename_to(agt_store *s, const char *name, agt_error *err) {
    return agt_rename(s, &attack_user, "doc.md", name, NULL, NULL, err);
}
static agt_status attack_may_rename(agt_store *s, const char *name, agt_error *err) {
    return agt_may_rename(s, &attack_user, "doc.md", name, NULL, err);
}
static agt_status attack_untrack(agt_store *s, const char *name, agt_error *err) {
    return agt_untrack(s, &attack_user, name, NULL, NULL, err);
}
static agt_status attack_reclassify(agt_store *s, const char *name, agt_error *err) {
    return agt_reclassify(s, &attack_user, name, AGT_TYPE_PLAN, NULL, NULL, err);
}
static agt_status attack_unlock(agt_store *s, const char *name, agt_error *err) {
    return agt_unlock(s, &attack_user, name, "agent", 1000, NULL, NULL, err);
}
static agt_status attack_revoke(agt_store *s, const char *name, agt_error *err) {
    return agt_revoke(s, &attack_user, name, "agent", NULL, NULL, err);
}
static agt_status attack_read(agt_store *s, const char *name, agt_error *err) {
    agt_bytes b;
    agt_status st = agt_read(s, name, &b, NULL, err);
    agt_bytes_free(&b);
    return st;
}
static agt_status attack_version(agt_store *s, const char *name, agt_error *err) {
    agt_bytes b;
    agt_status st = agt_read_version(s, name, 1, &b, err);
    agt_bytes_free(&b);
    return st;
}
static agt_status attack_get(agt_store *s, const char *name, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    return agt_document_get(s, name, &d, err);
}
static agt_status attack_diff(agt_store *s, const char *name, agt_error *err) {
    agt_bytes b;
    agt_status st = agt_diff(s, name, 1, 0, &b, err);
    agt_bytes_free(&b);
    return st;
}
static agt_status attack_batch(agt_store *s, const char *name, agt_error *err) {
    agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    c[0].path = "beside.md";
    c[0].bytes = c[1].bytes = "harm";
    c[0].len = c[1].len = 4;
    c[1].path = name;
    return agt_batch(s, &attack_user, c, 2, 0, NULL, err);
}
static agt_status attack_group(agt_store *s, const char *name, agt_error *err) {
    agt_change c = AGT_CHANGE_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    c.caller = &attack_user;
    c.kind = AGT_CHANGE_REMOVE;
    c.path = name;
    agt_status st = agt_group(s, &c, 1, 0, &r, err);
    return st == AGT_OK ? (agt_status)r.status : st;
}
static agt_status attack_grants(agt_store *s, const char *name, agt_error *err) {
    size_t n;
    agt_grant g[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    return agt_grants(s, name, g, &n, err);
}

static const struct attack_entry {
    const char *name;
    attack_call *call;
    bool makes; /* else a name that only other systems refuse may be looked for: 0.1.0 made such */
} attack_entries[] = {
    {"agt_write", attack_write, true},
    {"agt_remove", attack_remove, false},
    {"agt_restore", attack_restore, false},
    {"agt_add", attack_take, true},
    {"agt_rename", attack_rename, false},
    {"agt_rename to", attack_rename_to, true},
    {"agt_may_rename to", attack_may_rename, true},
    {"agt_untrack", attack_untrack, false},
    {"agt_reclassify", attack_reclassify, false},
    {"agt_unlock", attack_unlock, false},
    {"agt_revoke", attack_revoke, false},
    {"agt_read", attack_read, false},
    {"agt_read_version", attack_version, false},
    {"agt_document_get", attack_get, false},
    {"agt_diff", attack_diff, false},
    {"agt_batch", attack_batch, true},
    {"agt_group", attack_group, false},
    {"agt_grants", attack_grants, false},
};

/* For whoever listens to the system's calls. */
static void attack_mark(const char *what) {
    char path[80];
    snprintf(path, sizeof path, "/attack-%s", what);
    (void)access(path, F_OK);
}

/* All files but the store's own, with their bytes. */
static char *attack_tree(const attack *a) {
    return kit_run("cd '%s' && find . -path ./store/.agent-trace -prune -o -print | sort && "
                   "find . -path ./store/.agent-trace -prune -o -type f -print | sort | xargs cat",
                   a->base);
}

TEST(attack, no_name_reaches_anything_outside_by_any_call) {
    agt_error err;
    uint64_t refused = 0;
    attack *a = attack_new();
    char *before = attack_tree(a);
    agt_store *s = kit_open(a->root);
    attack_mark("begins");
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < AGT_COUNT(attack_entries); k++) {
            agt_status st = attack_entries[k].call(s, a->name[i], &err);
            bool good = st == AGT_INVALID || st == AGT_LIMIT || st == AGT_NOT_FOUND;
            if (!good || !err.message[0] || strchr(err.message, '\n'))
                test_fail(__FILE__, __LINE__, "%s of \"%s\" is %s: %s", attack_entries[k].name,
                          a->name[i], agt_status_name(st), err.message);
            if (i < a->linked && attack_entries[k].makes && st == AGT_NOT_FOUND)
                test_fail(__FILE__, __LINE__, "%s takes \"%s\" for a name", attack_entries[k].name,
                          a->name[i]);
            refused++;
        }
    attack_mark("ends");
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
    char *after = attack_tree(a);
    CHECK_STR(after, before);
    test_saw("names", a->count);
    test_saw("refused", refused);
    CHECK(refused >= 300 * 17);
    free(before);
    free(after);
    free(a);
}

/* ---- swapped between the check and the use ---- */

typedef struct attack_swap {
    int dir;
    int stop;
    uint64_t swaps;
} attack_swap;

static void *attack_swapper(void *ctx) {
    attack_swap *w = ctx;
    while (!__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
        if (syscall(SYS_renameat2, w->dir, "d", w->dir, "e", 2 /* RENAME_EXCHANGE */) == 0)
            w->swaps++;
        for (volatile int i = 0; i < 2000; i++)
            ;
    }
    return NULL;
}

/* d is a folder and a link to the outside in turn, as fast as another thread can. */
TEST(attack, a_folder_that_is_swapped_for_a_link_leads_nowhere) {
    agt_error err;
    pthread_t thread;
    char text[40];
    uint64_t done = 0;
    const char *base = test_folder();
    free(kit_run("cd '%s' && mkdir -p store/d outside && echo secret >outside/secret.md && ln -s "
                 "../outside store/e",
                 base));
    char root[1000];
    snprintf(root, sizeof root, "%s/store", base);
    agt_store *s = kit_open(root);
    attack_swap w = {open(root, O_RDONLY | O_DIRECTORY), 0, 0};
    CHECK_INT(pthread_create(&thread, NULL, attack_swapper, &w), 0);
    for (int i = 0; i < 600 || done < 20; i++) {
        agt_write_options o = AGT_WRITE_OPTIONS_INIT;
        o.durability = AGT_DURABLE_PROCESS;
        snprintf(text, sizeof text, "%d", i);
        agt_status st = agt_write(s, &attack_user, i % 2 ? "d/secret.md" : "d/new.md", text,
                                  strlen(text), &o, NULL, &err);
        done += st == AGT_OK;
        if (i % 5 == 0) (void)attack_read(s, "d/secret.md", &err);
        if (i % 7 == 0) (void)attack_remove(s, "d/new.md", &err);
        if (i > 20000) break;
    }
    __atomic_store_n(&w.stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    close(w.dir);
    (void)agt_close(s, NULL);
    char *out = kit_run("cd '%s/outside' && ls -A && cat secret.md", base);
    CHECK_STR(out, "secret.md\nsecret\n");
    free(out);
    test_saw("swaps", w.swaps);
    test_saw("writes", done);
    CHECK(w.swaps > 100);
    CHECK(done > 0);
}
