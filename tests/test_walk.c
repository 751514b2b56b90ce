/* Files that are no documents: which are listed, what is left out and why, and that nothing in a
 * folder makes it go on for ever, go out of the root, or stop. */
#include "store_kit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *root, const char *path, const char *text) {
    char name[1400];
    snprintf(name, sizeof name, "%s/%s", root, path);
    for (char *p = name + strlen(root) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = 0;
        if (mkdir(name, 0755) != 0 && errno != EEXIST) test_fail(__FILE__, __LINE__, "%s", name);
    }
    test_write_file(name, text, strlen(text));
}

static const char *const reasons[] = {"",       "ignored ", "name ",      "link ",
                                      "other ", "store ",   "unreadable "};

/* All rows as one text, each "[reason ]path\n". Free it. */
static char *listed(agt_store *s, uint32_t untracked, const char *under) {
    agt_error err;
    agt_cursor *c;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_status st;
    size_t n = 0, room = 1 << 16;
    char *out = malloc(room);
    out[0] = 0;
    o.untracked = untracked;
    o.under = under;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while ((st = agt_list_next(c, &d, &err)) == AGT_OK) {
        CHECK(d.version == 0 && d.exists == 1 && !d.type && !d.id[0] && !d.blob[0]);
        CHECK(d.left_out < AGT_LEFT_OUT_LAST_ && (untracked == 2 || !d.left_out));
        n += (size_t)snprintf(out + n, room - n, "%s%s\n", reasons[d.left_out], d.path);
        CHECK(n < room);
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
    return out;
}

static void lists(agt_store *s, uint32_t untracked, const char *under, const char *want) {
    char *got = listed(s, untracked, under);
    CHECK_STR(got, want);
    free(got);
}

TEST(walk, files_that_are_no_documents_are_listed_in_byte_order) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    lists(s, 1, NULL, "");
    kit_write(s, &kit_user, "a/doc.md", "x\n");
    kit_write(s, &kit_user, "gone.md", "x\n");
    CHECK_OK(agt_remove(s, &kit_user, "gone.md", NULL, NULL, &err), err);
    put(root, "b.md", "12345");
    put(root, "a/z.md", "");
    put(root, "a.md", "");
    put(root, "a-b/x.json", "");
    put(root, ".github/x.md", "");
    lists(s, 1, NULL, ".github/x.md\na-b/x.json\na.md\na/z.md\nb.md\n");
    lists(s, 2, NULL, ".github/x.md\na-b/x.json\na.md\na/z.md\nb.md\n");
    put(root, "gone.md", "back");
    lists(s, 1, "", ".github/x.md\na-b/x.json\na.md\na/z.md\nb.md\ngone.md\n");
    lists(s, 1, "a", "a/z.md\n");
    lists(s, 1, "a/", "a/z.md\n");
    lists(s, 1, "b.md", "");
    lists(s, 1, "nothing", "");
    lists(s, 2, "a-b/x.json", "");
    kit_close(s);
}

TEST(walk, a_row_has_the_files_own_size_and_time) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    struct stat st;
    put(root, "b.md", "12345");
    CHECK_INT(stat(kit_path(root, "b.md"), &st), 0);
    o.untracked = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    CHECK_OK(agt_list_next(c, &d, &err), err);
    CHECK_STR(d.path, "b.md");
    CHECK_INT(d.size_bytes, 5);
    CHECK_INT(d.changed_unix_ms / 1000, st.st_mtime);
    CHECK_STATUS(agt_list_next(c, &d, &err), AGT_END, err);
    agt_cursor_close(c);
    kit_close(s);
}

TEST(walk, what_is_left_out_is_told_with_the_reason) {
    const char *root = test_folder();
    agt_store *s = kit_open(root), *inner;
    char deep[600] = "", long_name[256];
    kit_write(s, &kit_user, "Doc.md", "x\n");
    put(root, ".env", "SECRET=1\n");
    put(root, "node_modules/x/y.md", "");
    put(root, "sub/.git/config", "");
    put(root, "sub/.git/HEAD.md", "");
    put(root, "sub/file.md", "");
    put(root, "module/.git", "gitdir: ../.git/modules/module\n");
    put(root, "module/m.md", "");
    put(root, "doc.md", "");
    put(root, "what?.md", "");
    put(root, "two\nlines.md", "");
    put(root, "con/x.md", "");
    put(root, ".GIT/x.md", "");
    put(root, "inner/x.md", "");
    inner = kit_open(kit_path(root, "inner"));
    kit_close(inner);
    CHECK_INT(mkfifo(kit_path(root, "pipe"), 0600), 0);
    CHECK_INT(symlink("/etc", kit_path(root, "etc")), 0);
    CHECK_INT(symlink("Doc.md", kit_path(root, "link.md")), 0);
    for (int i = 0; i < AGT_MAX_DEPTH + 1; i++)
        strcat(deep, "d/");
    strcat(deep, "x.md");
    put(root, deep, "");
    memset(long_name, 'n', 255);
    long_name[255] = 0;
    put(root, long_name, "");
    lists(s, 1, NULL,
          "module/m.md\n"
          "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
          "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
          "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
          "nnnnnnnnn\nsub/file.md\n");
    char *got = listed(s, 2, NULL);
    static const char *const wanted[] = {
        "ignored .env\n",  "ignored node_modules/\n", "name doc.md\n",
        "name what?.md\n", "name two?lines.md\n",     "name con/\n",
        "name .GIT/\n",    "store inner/\n",          "other pipe\n",
        "link etc\n",      "link link.md\n",          "name d/d/"};
    size_t rows = 0;
    for (const char *p = got; *p; p++)
        rows += *p == '\n';
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (!strstr(got, wanted[i]))
            test_fail(__FILE__, __LINE__, "%s is not in:\n%s", wanted[i], got);
    CHECK_INT(rows, sizeof wanted / sizeof wanted[0] + 3);
    CHECK(!strstr(got, ".git/") && !strstr(got, "agent-trace"));
    free(got);
    lists(s, 2, "node_modules/x", "ignored node_modules/\n");
    lists(s, 2, "inner", "store inner/\n");
    kit_close(s);
}

TEST(walk, a_store_that_lost_its_config_is_not_ours_either) {
    const char *root = test_folder();
    agt_store *s = kit_open(root), *inner;
    put(root, "inner/x.md", "");
    inner = kit_open(kit_path(root, "inner"));
    kit_write(inner, &kit_user, "doc.md", "x\n");
    kit_close(inner);
    CHECK_INT(unlink(kit_path(root, "inner/.agent-trace/config.toml")), 0);
    put(root, "begun/.agent-trace/locks/poll.lock", ""); /* a lock needs no store */
    put(root, "begun/x.md", "");
    lists(s, 2, NULL, "begun/x.md\nstore inner/\n");
    kit_close(s);
}

TEST(walk, the_users_patterns_decide_over_the_usual_ones) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    put(root, ".env", "");
    put(root, "a/.env", "");
    put(root, "x.log", "");
    put(root, "a/y.log", "");
    put(root, "target/x.md", "");
    put(root, "tmp/x.md", "");
    lists(s, 1, NULL, "a/y.log\ntmp/x.md\nx.log\n");
    put(root, ".agent-trace-ignore", "# ours\n*.log\n!a/y.log\n!/.env\n!target/\n/tmp/\n");
    lists(s, 1, NULL, ".agent-trace-ignore\n.env\na/y.log\ntarget/x.md\n");
    put(root, ".agent-trace-ignore", "*\n!.git\n!.agent-trace\n");
    put(root, ".git/config", "");
    lists(s, 1, NULL, "");
    kit_close(s);
}

/* A list of patterns that cannot be understood would show secrets: nothing is listed then. */
TEST(walk, patterns_that_cannot_be_read_are_an_error_and_say_so) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_cursor *c;
    char *text = calloc(1, 65600);
    o.untracked = 1;
    memset(text, 'a', 65599);
    put(root, ".agent-trace-ignore", text);
    CHECK_STATUS(agt_list(s, &o, &c, &err), AGT_LIMIT, err);
    CHECK(!c && strstr(err.message, ".agent-trace-ignore has more than 65536 bytes"));
    text[1030] = 0;
    memcpy(text, "x\n", 2);
    put(root, ".agent-trace-ignore", text);
    CHECK_STATUS(agt_list(s, &o, &c, &err), AGT_LIMIT, err);
    CHECK(strstr(err.message, ".agent-trace-ignore: line 2"));
    CHECK_INT(err.offset, 2);
    CHECK_INT(unlink(kit_path(root, ".agent-trace-ignore")), 0);
    CHECK_INT(symlink("other", kit_path(root, ".agent-trace-ignore")), 0);
    CHECK_STATUS(agt_list(s, &o, &c, &err), AGT_IO, err);
    CHECK(strstr(err.message, ".agent-trace-ignore cannot be read"));
    o.untracked = 0;
    CHECK_OK(agt_list(s, &o, &c, &err), err); /* documents do not need it */
    agt_cursor_close(c);
    free(text);
    kit_close(s);
}

TEST(walk, options_that_do_not_go_together_are_refused) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_cursor *c;
    for (int i = 0; i < 5; i++) {
        agt_list_options o = AGT_LIST_OPTIONS_INIT;
        o.untracked = i == 3 ? 3 : 1;
        if (i == 0) o.type = AGT_TYPE_PLAN;
        if (i == 1) o.deleted = 1;
        if (i == 2) o.look = 1;
        if (i == 4) o.reserved = 1;
        CHECK_STATUS(agt_list(s, &o, &c, &err), AGT_INVALID, err);
    }
    kit_close(s);
}

/* ---- folders that cannot be read ---- */

static struct {
    agt_sys sys;
    uint64_t ino;
    int rc;
} denying;

static int denying_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                        void *each_ctx) {
    agt_stat st;
    const agt_sys *os = agt_sys_os();
    if (os->fstat(ctx, dir, &st) == 0 && st.ino == denying.ino) return denying.rc;
    return os->list(ctx, dir, each, each_ctx);
}

TEST(walk, a_folder_that_cannot_be_listed_stops_nothing_and_is_told) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_list_options list = AGT_LIST_OPTIONS_INIT;
    agt_cursor *c;
    struct stat st;
    kit_close(s);
    put(root, "a/x.md", "");
    put(root, "b/x.md", "");
    CHECK_INT(stat(kit_path(root, "a"), &st), 0);
    denying.sys = *agt_sys_os();
    denying.sys.list = denying_list;
    denying.ino = st.st_ino;
    denying.rc = AGT_SYS_ERR(AGT_SYS_ACCESS, EACCES);
    o.sys = &denying.sys;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    lists(s, 2, NULL, "unreadable a/\nb/x.md\n");
    lists(s, 1, NULL, "b/x.md\n");
    denying.rc = AGT_SYS_ERR(AGT_SYS_NOENT, ENOENT); /* somebody removed it meanwhile */
    lists(s, 2, NULL, "b/x.md\n");
    list.untracked = 1;
    denying.rc = AGT_SYS_ERR(AGT_SYS_NOMEM, ENOMEM);
    CHECK_STATUS(agt_list(s, &list, &c, &err), AGT_NOMEM, err);
    CHECK_INT(stat(root, &st), 0);
    denying.ino = st.st_ino;
    denying.rc = AGT_SYS_ERR(AGT_SYS_ACCESS, EACCES);
    CHECK_STATUS(agt_list(s, &list, &c, &err), AGT_IO, err);
    kit_close(s);
}

/* ---- much ---- */

TEST(walk, ten_thousand_files_in_folders_and_links_that_go_round) {
    enum { FILES = 10000 };
    const char *root = test_folder();
    char name[80];
    agt_store *s = kit_open(root);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "f%d/g%d/%d.md", i % 7, i % 70, i);
        put(root, name, "");
    }
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "%s/f%d/up", root, i);
        CHECK_INT(symlink("..", name), 0);
    }
    agt_error err;
    agt_cursor *c;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT, last = AGT_DOCUMENT_INIT;
    int files = 0, links = 0;
    o.untracked = 2;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK) {
        CHECK(strcmp(last.path, d.path) < 0);
        last = d;
        files += !d.left_out;
        links += d.left_out == AGT_LEFT_OUT_LINK;
    }
    agt_cursor_close(c);
    CHECK_INT(files, FILES);
    CHECK_INT(links, 7);
    test_saw("files", (uint64_t)files);
    kit_close(s);
}
