/* src/sys/win32.c by itself: what struct agt_sys asks, on the real system. Empty elsewhere. */
#ifdef _WIN32
#include "../src/sys/sys.h"
#include "os_kit.h"

#define WIN32_LEAN_AND_MEAN 1
#include <windows.h>

static agt_fd win32_root(void) {
    agt_fd fd = os()->open_root(NULL, test_folder());
    CHECK(fd >= 3);
    return fd;
}
static agt_fd win32_open(agt_fd dir, const char *name, uint32_t flags) {
    return os()->open(NULL, dir, name, flags, 0600);
}
static void win32_put(agt_fd dir, const char *name, const char *text) {
    agt_fd fd = win32_open(dir, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_TRUNCATE);
    CHECK(fd >= 3);
    CHECK_INT(os()->pwrite(NULL, fd, text, strlen(text), 0), strlen(text));
    os()->close(NULL, fd);
}
static void win32_has(agt_fd dir, const char *name, const char *text) {
    char got[100] = "";
    agt_fd fd = win32_open(dir, name, AGT_O_READ);
    CHECK(fd >= 3);
    int64_t n = os()->pread(NULL, fd, got, sizeof got - 1, 0);
    os()->close(NULL, fd);
    CHECK_BYTES(got, (size_t)n, text, strlen(text));
}
static int win32_class(int64_t rc) { /* 0: it worked */
    return rc < 0 ? AGT_SYS_CLASS(rc) : 0;
}
static int win32_open_class(agt_fd dir, const char *name, uint32_t flags) {
    agt_fd fd = win32_open(dir, name, flags);
    if (fd >= 0) os()->close(NULL, fd);
    return win32_class(fd);
}

TEST(win32, opening_tells_what_is_in_the_way) {
    agt_fd dir = win32_root();
    uint32_t make = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    win32_put(dir, "file", "x");
    CHECK_INT(os()->make_folder(NULL, dir, "folder", 0700), 0);
    CHECK_INT(win32_open_class(dir, "none", AGT_O_READ), AGT_SYS_NOENT);
    CHECK_INT(win32_open_class(dir, "file", make | AGT_O_EXCL), AGT_SYS_EXIST);
    CHECK_INT(win32_open_class(dir, "file", AGT_O_READ | AGT_O_FOLDER), AGT_SYS_NOTDIR);
    CHECK_INT(win32_open_class(dir, "folder", AGT_O_READ | AGT_O_WRITE), AGT_SYS_ISDIR);
    CHECK_INT(win32_open_class(dir, "folder", AGT_O_READ), 0); /* fstat tells */
    CHECK_INT(win32_class(os()->make_folder(NULL, dir, "folder", 0700)), AGT_SYS_EXIST);
    CHECK_INT(win32_class(os()->make_folder(NULL, dir, "file", 0700)), AGT_SYS_EXIST);
    CHECK_INT(win32_class(os()->walk(NULL, dir, "folder/none")), AGT_SYS_NOENT);
    CHECK_INT(win32_class(os()->walk(NULL, dir, "file/x")), AGT_SYS_NOTDIR);
    CHECK_INT(win32_class(os()->open_root(NULL, "")), AGT_SYS_NOENT);
    CHECK_INT(win32_class(os()->open_root(NULL, "/no/such/folder")), AGT_SYS_NOENT);
    os()->close(NULL, dir);
}

TEST(win32, a_name_that_windows_reads_otherwise_is_refused) {
    static const char *const bad[] = {
        "..",  "",     "a/b",  "a\\b",  "C:",       "file:stream",
        "a.",  "a ",   "a*",   "a?",    "a\"b",     "a<b",
        "a|b", "a\tb", "\xff", "a\x80", "\xc0\x80", "\xf8\x80\x80\x80\x80"};
    agt_fd dir = win32_root();
    agt_stat st;
    char longest[800];
    for (size_t i = 0; i < AGT_COUNT(bad); i++) {
        int want = AGT_SYS_NAME;
        CHECK_INT(win32_open_class(dir, bad[i], AGT_O_WRITE | AGT_O_CREATE), want);
        CHECK_INT(win32_class(os()->stat(NULL, dir, bad[i], &st)), want);
        CHECK_INT(win32_class(os()->make_folder(NULL, dir, bad[i], 0700)), want);
        CHECK_INT(win32_class(os()->remove(NULL, dir, bad[i])), want);
        if (bad[i][0] && !strchr(bad[i], '/'))
            CHECK(win32_class(os()->walk(NULL, dir, bad[i])) == want);
    }
    memset(longest, 'n', 256);
    longest[256] = 0;
    CHECK_INT(win32_open_class(dir, longest, AGT_O_WRITE | AGT_O_CREATE), AGT_SYS_NAME);
    longest[255] = 0;
    CHECK_INT(win32_open_class(dir, longest, AGT_O_WRITE | AGT_O_CREATE), 0);
    test_saw("names", AGT_COUNT(bad));
    os()->close(NULL, dir);
}

static int win32_find(void *ctx, const char *name) {
    const char **want = ctx;
    if (strcmp(name, want[0]) != 0) return 0;
    want[1] = "found";
    return 7;
}

TEST(win32, names_of_all_planes_come_back_as_they_were) {
    static const char *const names[] = {"plain",        "\xc3\xa4\xc3\xb6.md",
                                        "\xe2\x82\xac", "\xf0\x9f\x90\xa6.md",
                                        "with blank",   "con.md"};
    agt_fd dir = win32_root();
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        const char *want[2] = {names[i], NULL};
        win32_put(dir, names[i], names[i]);
        win32_has(dir, names[i], names[i]);
        CHECK_INT(os()->list(NULL, dir, win32_find, want), 7);
        CHECK_STR(want[1], "found");
    }
    test_saw("names", AGT_COUNT(names));
    os()->close(NULL, dir);
}

TEST(win32, a_path_of_a_thousand_letters_is_walked) {
    enum { DEEP = 20 };
    agt_fd root = win32_root(), at = root;
    char path[2000] = "", where[3000];
    for (int i = 0; i < DEEP; i++) {
        char name[64];
        snprintf(name, sizeof name, "%02d-a-folder-with-a-name-of-more-than-fifty-letters-here", i);
        snprintf(path + strlen(path), sizeof path - strlen(path), "%s%s", i ? "/" : "", name);
        CHECK_INT(os()->make_folder(NULL, at, name, 0700), 0);
        agt_fd next = win32_open(at, name, AGT_O_READ | AGT_O_FOLDER);
        CHECK(next >= 3);
        if (at != root) os()->close(NULL, at);
        at = next;
    }
    win32_put(at, "leaf", "deep");
    os()->close(NULL, at);
    at = os()->walk(NULL, root, path);
    CHECK(at >= 3 && strlen(path) > 1000);
    win32_has(at, "leaf", "deep");
    int rc = os()->path_of(NULL, at, where, sizeof where); /* Wine 8 knows no long ones */
    agt_fd again = rc == 0 ? os()->open_root(NULL, where) : os()->walk(NULL, root, path);
    CHECK(again >= 3);
    win32_has(again, "leaf", "deep");
    os()->close(NULL, again);
    CHECK_INT(os()->remove(NULL, at, "leaf"), 0);
    os()->close(NULL, at);
    while (path[0]) { /* the C library's calls could not remove it */
        char *slash = strrchr(path, '/'), *leaf = slash ? slash + 1 : path;
        if (slash) *slash = 0;
        at = slash ? os()->walk(NULL, root, path) : root;
        CHECK_INT(os()->remove_folder(NULL, at, leaf), 0);
        if (at == root) break;
        os()->close(NULL, at);
    }
    os()->close(NULL, root);
}

TEST(win32, the_path_of_a_folder_leads_to_it) {
    char where[500];
    agt_stat a, b;
    agt_fd dir = win32_root();
    CHECK_INT(os()->path_of(NULL, dir, where, sizeof where), 0);
    CHECK(strlen(where) > 3 && where[1] == ':' && where[2] == '/' && !strchr(where, '\\'));
    agt_fd again = os()->open_root(NULL, where);
    CHECK(again >= 3);
    CHECK_INT(os()->fstat(NULL, dir, &a), 0);
    CHECK_INT(os()->fstat(NULL, again, &b), 0);
    CHECK(agt__same_file(&a, &b));
    CHECK_INT(win32_class(os()->path_of(NULL, dir, where, 5)), AGT_SYS_NAME);
    os()->close(NULL, again);
    os()->close(NULL, dir);
}

TEST(win32, bytes_come_back_from_where_they_were_put) {
    agt_fd dir = win32_root();
    agt_fd fd = win32_open(dir, "f", AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE);
    char got[16];
    agt_stat st;
    CHECK_INT(os()->pwrite(NULL, fd, "tail", 4, 100), 4);
    CHECK_INT(os()->pread(NULL, fd, got, 6, 98), 6);
    CHECK_BYTES(got, 6, "\0\0tail", 6);
    CHECK_INT(os()->pread(NULL, fd, got, 10, 102), 2);
    CHECK_INT(os()->pread(NULL, fd, got, 10, 104), 0);
    CHECK_INT(os()->pread(NULL, fd, got, 10, 5000), 0);
    CHECK_INT(os()->truncate(NULL, fd, 102), 0);
    CHECK_INT(os()->truncate(NULL, fd, 104), 0);
    CHECK_INT(os()->pread(NULL, fd, got, 10, 100), 4);
    CHECK_BYTES(got, 4, "ta\0\0", 4);
    CHECK_INT(os()->sync(NULL, fd), 0);
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK(st.size == 104 && st.kind == AGT_FILE_REGULAR && st.links == 1 && st.owner == 0);
    CHECK(st.mtime_ns / 1000000 > os()->now_unix_ms(NULL) - 100000);
    CHECK(st.mtime_ns / 1000000 < os()->now_unix_ms(NULL) + 100000);
    agt_fd reader = win32_open(dir, "f", AGT_O_READ);
    CHECK_INT(win32_class(os()->pwrite(NULL, reader, "x", 1, 0)), AGT_SYS_ACCESS);
    CHECK_INT(os()->sync(NULL, reader), 0); /* what may only be read can be synced too */
    CHECK_INT(os()->sync(NULL, dir), 0);
    os()->close(NULL, reader);
    os()->close(NULL, fd);
    os()->close(NULL, dir);
}

TEST(win32, renaming_replaces_or_refuses) {
    agt_fd dir = win32_root();
    agt_stat a, b;
    win32_put(dir, "a", "a");
    win32_put(dir, "b", "b");
    CHECK_INT(os()->make_folder(NULL, dir, "folder", 0700), 0);
    CHECK_INT(os()->make_folder(NULL, dir, "other", 0700), 0);
    CHECK_INT(win32_class(os()->rename(NULL, dir, "a", dir, "b", AGT_RENAME_NOREPLACE)),
              AGT_SYS_EXIST);
    CHECK_INT(win32_class(os()->rename(NULL, dir, "a", dir, "b", AGT_RENAME_EXCHANGE)),
              AGT_SYS_NOSYS);
    CHECK_INT(win32_class(os()->rename(NULL, dir, "none", dir, "b", 0)), AGT_SYS_NOENT);
    CHECK_INT(win32_class(os()->rename(NULL, dir, "a", dir, "folder", 0)), AGT_SYS_ISDIR);
    CHECK_INT(win32_class(os()->rename(NULL, dir, "folder", dir, "a", 0)), AGT_SYS_NOTDIR);
    CHECK_INT(os()->stat(NULL, dir, "a", &a), 0);
    CHECK_INT(os()->rename(NULL, dir, "a", dir, "b", AGT_RENAME_REPLACE), 0);
    CHECK_INT(os()->stat(NULL, dir, "b", &b), 0);
    CHECK(agt__same_file(&a, &b));
    win32_has(dir, "b", "a");
    CHECK_INT(os()->rename(NULL, dir, "b", dir, "c", AGT_RENAME_NOREPLACE), 0);
    CHECK_INT(os()->rename(NULL, dir, "c", dir, "C", AGT_RENAME_REPLACE), 0); /* case alone */
    agt_fd folder = win32_open(dir, "folder", AGT_O_READ | AGT_O_FOLDER);
    CHECK_INT(os()->rename(NULL, dir, "C", folder, "moved", AGT_RENAME_REPLACE), 0);
    win32_has(folder, "moved", "a");
    CHECK_INT(os()->link(NULL, folder, "moved", dir, "second"), 0);
    CHECK_INT(os()->stat(NULL, dir, "second", &a), 0);
    CHECK(a.links == 2 && a.ino == b.ino && a.dev == b.dev);
    CHECK_INT(win32_class(os()->link(NULL, folder, "moved", dir, "second")), AGT_SYS_EXIST);
    CHECK_INT(win32_class(os()->remove(NULL, dir, "other")), AGT_SYS_ISDIR);
    CHECK_INT(win32_class(os()->remove_folder(NULL, dir, "second")), AGT_SYS_NOTDIR);
    CHECK_INT(win32_class(os()->remove_folder(NULL, dir, "folder")), AGT_SYS_NOTEMPTY);
    CHECK_INT(os()->remove_folder(NULL, dir, "other"), 0);
    CHECK_INT(os()->remove(NULL, dir, "second"), 0);
    CHECK_INT(win32_class(os()->remove(NULL, dir, "second")), AGT_SYS_NOENT);
    os()->close(NULL, folder);
    os()->close(NULL, dir);
}

TEST(win32, what_is_read_only_can_be_removed_and_made_writable) {
    agt_fd dir = win32_root();
    agt_stat st;
    win32_put(dir, "f", "x");
    agt_fd fd = win32_open(dir, "f", AGT_O_READ);
    CHECK_INT(os()->set_mode(NULL, fd, 0400), 0);
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK_INT(st.mode, 0400);
    CHECK_INT(os()->set_mode(NULL, fd, 0644), 0);
    CHECK_INT(win32_open_class(dir, "f", AGT_O_WRITE), 0);
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK_INT(st.mode, 0600);
    CHECK_INT(os()->set_mode(NULL, fd, 0400), 0);
    os()->close(NULL, fd);
    CHECK_INT(os()->remove(NULL, dir, "f"), 0);
    CHECK_INT(os()->fstat(NULL, dir, &st), 0);
    CHECK(st.kind == AGT_FILE_FOLDER && st.mode == 0700);
    CHECK_INT(os()->may_change(NULL, dir), 0);
    os()->close(NULL, dir);
}

static int win32_count(void *ctx, const char *name) {
    char *seen = ctx;
    seen[atoi(name + 1)]++;
    return 0;
}

TEST(win32, a_list_gives_every_name_as_often_as_it_is_asked) {
    enum { MANY = 500 };
    char seen[MANY] = {0}, name[80];
    agt_fd dir = win32_root();
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "n%d-with-a-tail-that-fills-the-buffer-sooner", i);
        win32_put(dir, name, "");
    }
    for (int turn = 1; turn <= 2; turn++) {
        CHECK_INT(os()->list(NULL, dir, win32_count, seen), 0);
        for (int i = 0; i < MANY; i++)
            CHECK_INT(seen[i], turn);
    }
    os()->close(NULL, dir);
}

TEST(win32, a_lock_excludes_other_handles_and_is_converted_as_with_flock) {
    agt_fd dir = win32_root();
    agt_fd a = win32_open(dir, "l", AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE);
    agt_fd b = win32_open(dir, "l", AGT_O_READ | AGT_O_WRITE);
    char got[4];
    CHECK_INT(os()->pwrite(NULL, a, "12", 2, 0), 2);
    CHECK_INT(os()->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    CHECK_INT(win32_class(os()->lock(NULL, b, AGT_LOCK_EXCLUSIVE)), AGT_SYS_BUSY);
    CHECK_INT(win32_class(os()->lock(NULL, b, AGT_LOCK_SHARED)), AGT_SYS_BUSY);
    CHECK_INT(os()->pread(NULL, b, got, 2, 0), 2); /* it keeps nobody from reading */
    CHECK_INT(os()->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    CHECK_INT(os()->lock(NULL, a, AGT_LOCK_SHARED), 0);
    CHECK_INT(os()->lock(NULL, b, AGT_LOCK_SHARED), 0);
    CHECK_INT(os()->lock(NULL, b, AGT_LOCK_SHARED), 0);
    CHECK_INT(win32_class(os()->lock(NULL, a, AGT_LOCK_EXCLUSIVE)), AGT_SYS_BUSY);
    CHECK_INT(os()->lock(NULL, b, AGT_LOCK_UNLOCK), 0);
    CHECK_INT(os()->lock(NULL, b, AGT_LOCK_UNLOCK), 0);
    CHECK_INT(os()->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    os()->close(NULL, a); /* lets go */
    CHECK_INT(os()->lock(NULL, b, AGT_LOCK_EXCLUSIVE), 0);
    os()->close(NULL, b);
    os()->close(NULL, dir);
}

TEST(win32, a_writer_is_seen_while_it_has_the_file_open) {
    agt_fd dir = win32_root();
    win32_put(dir, "f", "x");
    agt_fd reader = win32_open(dir, "f", AGT_O_READ);
    CHECK_INT(os()->has_writer(NULL, reader), 0);
    agt_fd writer = win32_open(dir, "f", AGT_O_WRITE);
    CHECK(writer >= 3);
    CHECK_INT(os()->has_writer(NULL, reader), 1);
    os()->close(NULL, writer);
    CHECK_INT(os()->has_writer(NULL, reader), 0);
    os()->close(NULL, reader);
    os()->close(NULL, dir);
}

TEST(win32, what_somebody_keeps_for_himself_is_busy) {
    char path[400];
    const char *root = test_folder();
    agt_fd dir = os()->open_root(NULL, root);
    agt_stat st;
    win32_put(dir, "f", "x");
    snprintf(path, sizeof path, "%s/f", root);
    HANDLE h = CreateFileA(path, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    CHECK(h != INVALID_HANDLE_VALUE);
    CHECK_INT(win32_open_class(dir, "f", AGT_O_READ), AGT_SYS_BUSY);
    CHECK_INT(os()->stat(NULL, dir, "f", &st), 0); /* to look disturbs nobody */
    int64_t start = os()->mono_ns(NULL);
    CHECK_INT(win32_class(os()->remove(NULL, dir, "f")), AGT_SYS_BUSY);
    CHECK(os()->mono_ns(NULL) - start > 500000000); /* it was tried again for a while */
    CloseHandle(h);
    CHECK_INT(os()->remove(NULL, dir, "f"), 0);
    os()->close(NULL, dir);
}

TEST(win32, no_handle_is_inherited) {
    DWORD flags;
    agt_fd fds[3];
    fds[0] = win32_root();
    fds[1] = win32_open(fds[0], "f", AGT_O_WRITE | AGT_O_CREATE);
    fds[2] = os()->walk(NULL, fds[0], "");
    for (size_t i = 0; i < AGT_COUNT(fds); i++) {
        CHECK(GetHandleInformation((HANDLE)fds[i], &flags));
        CHECK_INT(flags & HANDLE_FLAG_INHERIT, 0);
        os()->close(NULL, fds[i]);
    }
}

TEST(win32, clocks_run_forward_and_sleep_takes_its_time) {
    int64_t mono = os()->mono_ns(NULL), unix_ms = os()->now_unix_ms(NULL);
    CHECK(unix_ms > INT64_C(1700000000000) && unix_ms < INT64_C(4102444800000));
    os()->sleep_ns(NULL, 30000000);
    int64_t took = os()->mono_ns(NULL) - mono;
    CHECK(took >= 29000000 && took < INT64_C(10000000000));
    mono = os()->mono_ns(NULL);
    os()->sleep_ns(NULL, 0);
    os()->sleep_ns(NULL, -5);
    CHECK(os()->mono_ns(NULL) - mono < 1000000000);
}

TEST(win32, a_process_knows_who_it_is) {
    agt_process a, b;
    unsigned char x[64] = {0}, y[64] = {0};
    CHECK_INT(os()->process(NULL, &a), 0);
    CHECK_INT(os()->process(NULL, &b), 0);
    CHECK_INT(a.pid, GetCurrentProcessId());
    CHECK_INT(os()->pid(NULL), a.pid);
    CHECK(a.start != 0 && a.start == b.start);
    CHECK(strlen(a.boot) == 16);
    CHECK_STR(a.boot, b.boot);
    CHECK_STR(a.program, "tests");
    CHECK(a.host[0] != 0);
    CHECK_INT(os()->random(NULL, x, sizeof x), 0);
    CHECK_INT(os()->random(NULL, y, sizeof y), 0);
    CHECK(memcmp(x, y, sizeof x) != 0);
}

TEST(win32, the_volume_of_a_folder_is_told) {
    agt_volume v;
    agt_fd dir = win32_root();
    CHECK_INT(os()->volume(NULL, dir, &v), 0);
    CHECK(v.free_bytes > 0 && v.free_bytes != UINT64_MAX);
    CHECK(v.place == AGT_VOLUME_LOCAL && v.read_only == 0 && v.kind[0] != 0);
    os()->close(NULL, dir);
}

static DWORD WINAPI win32_adds(void *arg) {
    void **at = arg;
    for (int i = 0; i < 20000; i++) {
        os()->mutex_lock(NULL, at[0]);
        ++*(int *)at[1];
        os()->mutex_unlock(NULL, at[0]);
    }
    return 0;
}

TEST(win32, a_mutex_excludes_threads) {
    int sum = 0;
    void *at[2] = {os()->mutex_new(NULL), &sum};
    HANDLE t[4];
    CHECK(at[0]);
    for (int i = 0; i < 4; i++)
        CHECK((t[i] = CreateThread(NULL, 0, win32_adds, at, 0, NULL)) != NULL);
    CHECK(WaitForMultipleObjects(4, t, TRUE, 60000) == WAIT_OBJECT_0);
    for (int i = 0; i < 4; i++)
        CloseHandle(t[i]);
    CHECK_INT(sum, 80000);
    os()->mutex_free(NULL, at[0]);
}
#endif
