/* The operating system behind agt_sys, and the helpers of sys.h. Every test also holds when the
 * library is compiled with AGENT_TRACE_PLAIN_POSIX; what only Linux can do must then be refused. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "os_kit.h"

#include "../src/sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#endif

#if defined(__linux__) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define LINUX_CALLS 1
#else
#define LINUX_CALLS 0
#endif

static agt_fd open_folder(const char *path) {
    agt_fd fd = os()->open_root(NULL, path);
    CHECK(fd >= 3);
    return fd;
}

static agt_fd make_file(agt_fd dir, const char *name, const char *text) {
    agt_fd fd =
        os()->open(NULL, dir, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_TRUNCATE, 0644);
    CHECK(fd >= 3);
    CHECK_INT(os()->pwrite(NULL, fd, text, strlen(text), 0), strlen(text));
    return fd;
}

static void make_closed_file(agt_fd dir, const char *name, const char *text) {
    os()->close(NULL, make_file(dir, name, text));
}

/* The file's text, or "(none)". */
static const char *text_of(agt_fd dir, const char *name) {
    static char text[4][256];
    static int turn;
    char *out = text[turn++ & 3];
    agt_fd fd = os()->open(NULL, dir, name, AGT_O_READ, 0);
    if (fd < 0) return "(none)";
    int64_t n = os()->pread(NULL, fd, out, sizeof text[0] - 1, 0);
    os()->close(NULL, fd);
    CHECK(n >= 0);
    out[n] = 0;
    return out;
}

/* Runs fn in a forked child: 0 if it returned, else its exit code, or 1000 + the signal. */
static int in_child(void (*fn)(void *), void *arg) {
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    int status;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- opening ---- */

static void without_streams(void *path) {
    close(0);
    close(1);
    close(2);
    int bad = 0;
    agt_fd dir = os()->open_root(NULL, path);
    agt_fd file = os()->open(NULL, dir, "f", AGT_O_WRITE | AGT_O_CREATE, 0600);
    agt_fd sub = os()->walk(NULL, dir, "a/b");
    bad |= dir < 3 ? 1 : 0;
    bad |= file < 3 ? 2 : 0;
    bad |= sub < 3 ? 4 : 0;
    for (int fd = 0; fd < 3; fd++)
        bad |= fcntl(fd, F_GETFD) != -1 ? 8 : 0; /* nothing stays behind down there */
    _exit(bad);
}

TEST(posix, a_descriptor_is_never_0_1_or_2) {
    const char *path = test_folder();
    agt_fd dir = open_folder(path);
    CHECK_INT(os()->make_folder(NULL, dir, "a", 0700), 0);
    agt_fd a = os()->walk(NULL, dir, "a");
    CHECK_INT(os()->make_folder(NULL, a, "b", 0700), 0);
    os()->close(NULL, a);
    os()->close(NULL, dir);
    CHECK_INT(in_child(without_streams, (void *)(intptr_t)path), 0);
}

TEST(posix, every_descriptor_is_closed_on_exec) {
    agt_fd fds[5];
    fds[0] = open_folder(test_folder());
    fds[1] = make_file(fds[0], "f", "x");
    fds[2] = os()->open(NULL, fds[0], "f", AGT_O_READ, 0);
    CHECK_INT(os()->make_folder(NULL, fds[0], "sub", 0700), 0);
    fds[3] = os()->open(NULL, fds[0], "sub", AGT_O_READ | AGT_O_FOLDER, 0);
    fds[4] = os()->walk(NULL, fds[0], "sub");
    for (size_t i = 0; i < AGT_COUNT(fds); i++) {
        CHECK(fds[i] >= 3);
        int flags = fcntl((int)fds[i], F_GETFD);
        CHECK(flags >= 0 && (flags & FD_CLOEXEC));
        os()->close(NULL, fds[i]);
    }
}

static int open_class(agt_fd dir, const char *name, uint32_t flags) {
    agt_fd fd = os()->open(NULL, dir, name, flags, 0600);
    if (fd < 0) return AGT_SYS_CLASS(fd);
    os()->close(NULL, fd);
    return 0;
}

TEST(posix, opening_tells_what_is_in_the_way) {
    const char *path = test_folder();
    char long_name[300], other[600];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    agt_fd dir = open_folder(path);
    make_closed_file(dir, "file", "text");
    CHECK_INT(os()->make_folder(NULL, dir, "folder", 0700), 0);
    CHECK_INT(symlinkat("file", (int)dir, "link"), 0);
    CHECK_INT(symlinkat("folder", (int)dir, "folder-link"), 0);
    CHECK_INT(symlinkat("nowhere", (int)dir, "dangling"), 0);
    const uint32_t rw = AGT_O_READ | AGT_O_WRITE, folder = AGT_O_READ | AGT_O_FOLDER;
    const struct {
        const char *name;
        uint32_t flags;
        int want;
    } cases[] = {
        {"file", AGT_O_READ, 0},
        {"file", rw, 0},
        {"file", rw | AGT_O_CREATE, 0},
        {"new", rw | AGT_O_CREATE | AGT_O_EXCL, 0},
        {"folder", folder, 0},
        {".", folder, 0},
        {"none", AGT_O_READ, AGT_SYS_NOENT},
        {"none", folder, AGT_SYS_NOENT},
        {"file", rw | AGT_O_CREATE | AGT_O_EXCL, AGT_SYS_EXIST},
        {"dangling", rw | AGT_O_CREATE | AGT_O_EXCL, AGT_SYS_EXIST},
        {"file", folder, AGT_SYS_NOTDIR},
        {"folder", rw, AGT_SYS_ISDIR},
        {"folder", rw | AGT_O_CREATE, AGT_SYS_ISDIR},
        {"link", AGT_O_READ, AGT_SYS_LOOP},
        {"link", rw | AGT_O_CREATE, AGT_SYS_LOOP},
        {"link", AGT_O_WRITE | AGT_O_TRUNCATE, AGT_SYS_LOOP},
        {"dangling", rw | AGT_O_CREATE, AGT_SYS_LOOP},
        {"folder-link", folder, AGT_SYS_LOOP},
        {long_name, AGT_O_READ, AGT_SYS_NAME},
    };
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        int got = open_class(dir, cases[i].name, cases[i].flags);
        if (got != cases[i].want)
            test_fail(__FILE__, __LINE__, "case %zu, %.20s: class %d, wanted %d", i, cases[i].name,
                      got, cases[i].want);
    }
    test_saw("ways to open", AGT_COUNT(cases));
    CHECK_STR(text_of(dir, "file"), "text");
    CHECK_STR(text_of(dir, "nowhere"), "(none)");
    snprintf(other, sizeof other, "%s/file", path);
    CHECK_INT(AGT_SYS_CLASS(os()->open_root(NULL, other)), AGT_SYS_NOTDIR);
    snprintf(other, sizeof other, "%s/nowhere", path);
    CHECK_INT(AGT_SYS_CLASS(os()->open_root(NULL, other)), AGT_SYS_NOENT);
    snprintf(other, sizeof other, "%s/folder-link", path);
    agt_fd through = os()->open_root(NULL, other); /* the root alone may be reached by a link */
    CHECK(through >= 3);
    os()->close(NULL, through);
    os()->close(NULL, dir);
}

TEST(posix, opening_a_fifo_or_a_socket_does_not_wait) {
    const char *path = test_folder();
    agt_fd dir = open_folder(path);
    CHECK_INT(mkfifoat((int)dir, "fifo", 0600), 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/socket", path);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(s >= 0 && bind(s, (struct sockaddr *)&sa, sizeof sa) == 0);
    alarm(10); /* a call that waits dies here instead of hanging the run */
    agt_fd fd = os()->open(NULL, dir, "fifo", AGT_O_READ, 0);
    CHECK(fd >= 3);
    agt_stat st;
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK_INT(st.kind, AGT_FILE_OTHER);
    os()->close(NULL, fd);
    CHECK_INT(open_class(dir, "fifo", AGT_O_WRITE), AGT_SYS_NAME);
    CHECK_INT(open_class(dir, "socket", AGT_O_READ), AGT_SYS_NAME);
    alarm(0);
    close(s);
    os()->close(NULL, dir);
}

static int walk_class(agt_fd dir, const char *path) {
    agt_fd fd = os()->walk(NULL, dir, path);
    if (fd < 0) return AGT_SYS_CLASS(fd);
    os()->close(NULL, fd);
    return 0;
}

static void walk_everywhere(void *root) {
    agt_fd dir = *(agt_fd *)root;
    const struct {
        const char *path;
        int want;
    } cases[] = {
        {"", 0},
        {"a", 0},
        {"a/b", 0},
        {"a/b/c", 0},
        {"a/b/none", AGT_SYS_NOENT},
        {"none/b", AGT_SYS_NOENT},
        {"a/file", AGT_SYS_NOTDIR},
        {"a/file/b", AGT_SYS_NOTDIR},
        {"link", AGT_SYS_LOOP},
        {"link/b", AGT_SYS_LOOP},
        {"a/link-up", AGT_SYS_LOOP},
        {"a/link-up/a", AGT_SYS_LOOP},
        {"a/b/dangling", AGT_SYS_LOOP},
        {"a/b/root", AGT_SYS_LOOP},
        {"/", AGT_SYS_NAME},
        {"/a", AGT_SYS_NAME},
        {"..", AGT_SYS_NAME},
        {"a/..", AGT_SYS_NAME},
        {"a/../a", AGT_SYS_NAME},
        {"../a", AGT_SYS_NAME},
    };
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        int got = walk_class(dir, cases[i].path);
        if (got != cases[i].want)
            test_fail(__FILE__, __LINE__, "walk \"%s\": class %d, wanted %d", cases[i].path, got,
                      cases[i].want);
    }
    agt_stat want, got;
    agt_fd c = os()->walk(NULL, dir, "a/b/c");
    agt_fd b = os()->walk(NULL, dir, "a/b");
    CHECK(b >= 3 && c >= 3);
    CHECK_INT(os()->fstat(NULL, c, &got), 0);
    CHECK_INT(os()->stat(NULL, b, "c", &want), 0);
    CHECK(want.ino == got.ino && want.dev == got.dev);
    os()->close(NULL, b);
    os()->close(NULL, c);
}

static agt_fd walk_tree(void) {
    agt_fd dir = open_folder(test_folder());
    CHECK_INT(mkdirat((int)dir, "a", 0700), 0);
    CHECK_INT(mkdirat((int)dir, "a/b", 0700), 0);
    CHECK_INT(mkdirat((int)dir, "a/b/c", 0700), 0);
    CHECK_INT(symlinkat("a", (int)dir, "link"), 0);
    CHECK_INT(symlinkat("..", (int)dir, "a/link-up"), 0);
    CHECK_INT(symlinkat("none", (int)dir, "a/b/dangling"), 0);
    CHECK_INT(symlinkat("/", (int)dir, "a/b/root"), 0);
    CHECK_INT(symlinkat("file", (int)dir, "a/file-link"), 0);
    int fd = openat((int)dir, "a/file", O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
    return dir;
}

TEST(posix, a_walk_follows_no_link_and_never_leaves_the_folder) {
    agt_fd dir = walk_tree();
    int before = count_open();
    walk_everywhere(&dir);
    CHECK_INT(count_open(), before);
    os()->close(NULL, dir);
}

/* ---- bytes ---- */

TEST(posix, bytes_come_back_from_where_they_were_put) {
    agt_fd dir = open_folder(test_folder());
    agt_fd fd = make_file(dir, "f", "hello");
    char buf[64];
    CHECK_INT(os()->pread(NULL, fd, buf, sizeof buf, 0), 5);
    CHECK_INT(os()->pread(NULL, fd, buf, sizeof buf, 5), 0);
    const size_t most = 1u << 30; /* what one call moves; the kernel wants all of it in our range */
    char *huge = mmap(NULL, most, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(huge != MAP_FAILED);
    CHECK_INT(os()->pread(NULL, fd, huge, SIZE_MAX / 2, 1), 4);
    CHECK(memcmp(huge, "ello", 4) == 0);
    munmap(huge, most);
    const uint64_t far_away = 5ull * 1024 * 1024 * 1024; /* past 32 bits */
    CHECK_INT(os()->pwrite(NULL, fd, "far", 3, far_away), 3);
    agt_stat st;
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK(st.size == far_away + 3);
    CHECK_INT(os()->pread(NULL, fd, buf, 3, far_away), 3);
    CHECK(memcmp(buf, "far", 3) == 0);
    CHECK_INT(os()->truncate(NULL, fd, far_away), 0);
    CHECK_INT(os()->pread(NULL, fd, buf, 3, far_away), 0);
    CHECK_INT(os()->truncate(NULL, fd, 2), 0);
    CHECK_STR(text_of(dir, "f"), "he");
    CHECK_INT(AGT_SYS_CLASS(os()->pwrite(NULL, fd, "x", 1, UINT64_MAX)), AGT_SYS_NOSPC);
    CHECK_INT(AGT_SYS_CLASS(os()->pread(NULL, fd, buf, 1, UINT64_MAX)), AGT_SYS_NOSPC);
    CHECK_INT(AGT_SYS_CLASS(os()->truncate(NULL, fd, UINT64_MAX)), AGT_SYS_NOSPC);
    os()->close(NULL, fd);
    CHECK_INT(AGT_SYS_CLASS(os()->pread(NULL, fd, buf, 1, 0)), AGT_SYS_IO);
    CHECK_INT(AGT_SYS_CODE(os()->pwrite(NULL, fd, buf, 1, 0)), EBADF);
    os()->close(NULL, dir);
}

TEST(posix, files_and_folders_can_be_synced) {
    agt_fd dir = open_folder(test_folder());
    agt_fd fd = make_file(dir, "f", "hello");
    CHECK_INT(os()->sync(NULL, fd), 0);
    CHECK_INT(os()->sync(NULL, dir), 0);
    os()->close(NULL, fd);
    CHECK_INT(AGT_SYS_CODE(os()->sync(NULL, fd)), EBADF);
    os()->close(NULL, dir);
}

TEST(posix, reserving_room_keeps_the_size) {
    agt_fd dir = open_folder(test_folder());
    agt_fd fd = make_file(dir, "f", "hello");
    int rc = os()->reserve(NULL, fd, 0, 1024 * 1024);
    if (rc != 0) {
        CHECK_INT(AGT_SYS_CLASS(rc), AGT_SYS_NOSYS);
        os()->close(NULL, fd);
        os()->close(NULL, dir);
        if (LINUX_CALLS) test_skip("this file system cannot reserve");
        return;
    }
    CHECK(LINUX_CALLS);
    struct stat st;
    CHECK_INT(fstat((int)fd, &st), 0);
    CHECK_INT(st.st_size, 5);
    CHECK(st.st_blocks * 512 >= 1024 * 1024);
    CHECK_INT(AGT_SYS_CLASS(os()->reserve(NULL, fd, 0, UINT64_MAX)), AGT_SYS_NOSPC);
    os()->close(NULL, fd);
    os()->close(NULL, dir);
}

/* ---- names ---- */

TEST(posix, stat_describes_what_stands_at_the_name) {
    agt_fd dir = open_folder(test_folder());
    agt_fd fd = make_file(dir, "f", "hello");
    CHECK_INT(os()->set_mode(NULL, fd, 0640), 0);
    const struct timespec times[2] = {{1000, 1}, {1600000000, 123456789}};
    CHECK_INT(futimens((int)fd, times), 0);
    CHECK_INT(os()->link(NULL, dir, "f", dir, "g"), 0);
    CHECK_INT(symlinkat("f", (int)dir, "link"), 0);
    CHECK_INT(mkfifoat((int)dir, "fifo", 0600), 0);
    agt_stat a, b;
    CHECK_INT(os()->stat(NULL, dir, "g", &a), 0);
    CHECK_INT(os()->fstat(NULL, fd, &b), 0);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    CHECK_INT(a.kind, AGT_FILE_REGULAR);
    CHECK_INT(a.mode, 0640);
    CHECK_INT(a.links, 2);
    CHECK_INT(a.size, 5);
    CHECK_INT(a.owner, geteuid());
    CHECK_INT(a.mtime_ns, 1600000000123456789);
    CHECK(a.ctime_ns > 1600000000123456789);
    CHECK_INT(os()->stat(NULL, dir, "link", &a), 0);
    CHECK_INT(a.kind, AGT_FILE_LINK);
    CHECK_INT(os()->stat(NULL, dir, "fifo", &a), 0);
    CHECK_INT(a.kind, AGT_FILE_OTHER);
    CHECK_INT(os()->fstat(NULL, dir, &a), 0);
    CHECK_INT(a.kind, AGT_FILE_FOLDER);
    CHECK_INT(AGT_SYS_CLASS(os()->stat(NULL, dir, "none", &a)), AGT_SYS_NOENT);
    CHECK_INT(AGT_SYS_CLASS(os()->link(NULL, dir, "f", dir, "g")), AGT_SYS_EXIST);
    os()->close(NULL, fd);
    os()->close(NULL, dir);
}

static void rename_everywhere(void *root) {
    agt_fd dir = *(agt_fd *)root;
    const agt_sys *sys = os();
    make_closed_file(dir, "a", "A");
    make_closed_file(dir, "b", "B");
    CHECK_INT(AGT_SYS_CLASS(sys->rename(NULL, dir, "a", dir, "b", AGT_RENAME_NOREPLACE)),
              AGT_SYS_EXIST);
    CHECK_STR(text_of(dir, "a"), "A");
    CHECK_STR(text_of(dir, "b"), "B");
    CHECK_INT(AGT_SYS_CLASS(sys->rename(NULL, dir, "none", dir, "c", AGT_RENAME_NOREPLACE)),
              AGT_SYS_NOENT);
    CHECK_INT(sys->rename(NULL, dir, "a", dir, "c", AGT_RENAME_NOREPLACE), 0);
    CHECK_STR(text_of(dir, "a"), "(none)");
    CHECK_STR(text_of(dir, "c"), "A");
    CHECK_INT(sys->rename(NULL, dir, "c", dir, "b", AGT_RENAME_REPLACE), 0);
    CHECK_STR(text_of(dir, "c"), "(none)");
    CHECK_STR(text_of(dir, "b"), "A");
    make_closed_file(dir, "c", "C");
    int rc = sys->rename(NULL, dir, "b", dir, "c", AGT_RENAME_EXCHANGE);
    CHECK(rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS);
    CHECK_STR(text_of(dir, "b"), rc == 0 ? "C" : "A");
    CHECK_STR(text_of(dir, "c"), rc == 0 ? "A" : "C");
    if (rc == 0) _exit(7); /* it can exchange */
}

TEST(posix, renaming_replaces_exchanges_or_refuses) {
    agt_fd dir = open_folder(test_folder());
    CHECK_INT(in_child(rename_everywhere, &dir), LINUX_CALLS ? 7 : 0);
    os()->close(NULL, dir);
}

TEST(posix, a_folder_is_not_renamed_over_anything_by_halves) {
    agt_fd dir = open_folder(test_folder());
    CHECK_INT(os()->make_folder(NULL, dir, "from", 0700), 0);
    CHECK_INT(mkdirat((int)dir, "full", 0700), 0);
    CHECK_INT(mkdirat((int)dir, "full/x", 0700), 0);
    CHECK_INT(AGT_SYS_CLASS(os()->rename(NULL, dir, "from", dir, "full", AGT_RENAME_REPLACE)),
              AGT_SYS_NOTEMPTY);
    int rc = os()->rename(NULL, dir, "from", dir, "to", AGT_RENAME_NOREPLACE);
    CHECK(LINUX_CALLS ? rc == 0 : AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS);
    agt_stat st;
    CHECK_INT(os()->stat(NULL, dir, "from", &st) == 0, !LINUX_CALLS);
    CHECK_INT(os()->stat(NULL, dir, "to", &st) == 0, LINUX_CALLS);
    os()->close(NULL, dir);
}

TEST(posix, removing_tells_files_from_folders) {
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "f", "x");
    CHECK_INT(mkdirat((int)dir, "d", 0700), 0);
    CHECK_INT(mkdirat((int)dir, "d/x", 0700), 0);
    CHECK_INT(AGT_SYS_CLASS(os()->make_folder(NULL, dir, "d", 0700)), AGT_SYS_EXIST);
    CHECK_INT(AGT_SYS_CLASS(os()->remove(NULL, dir, "d")), AGT_SYS_ISDIR);
    CHECK_INT(AGT_SYS_CLASS(os()->remove_folder(NULL, dir, "d")), AGT_SYS_NOTEMPTY);
    CHECK_INT(AGT_SYS_CLASS(os()->remove_folder(NULL, dir, "f")), AGT_SYS_NOTDIR);
    CHECK_INT(AGT_SYS_CLASS(os()->remove(NULL, dir, "none")), AGT_SYS_NOENT);
    CHECK_INT(os()->remove(NULL, dir, "f"), 0);
    CHECK_INT(unlinkat((int)dir, "d/x", AT_REMOVEDIR), 0);
    CHECK_INT(os()->remove_folder(NULL, dir, "d"), 0);
    os()->close(NULL, dir);
}

typedef struct names {
    int n, stop_at;
    char seen[8][32];
} names;

static int collect(void *ctx, const char *name) {
    names *c = ctx;
    CHECK(c->n < 8);
    snprintf(c->seen[c->n++], sizeof c->seen[0], "%s", name);
    return c->n == c->stop_at ? 42 : 0;
}

TEST(posix, a_list_gives_every_name_as_often_as_it_is_asked) {
    agt_fd dir = open_folder(test_folder());
    const char *want[] = {"a", "b", ".hidden", "-", "...", "c"};
    for (size_t i = 0; i < AGT_COUNT(want); i++)
        make_closed_file(dir, want[i], "x");
    int before = count_open();
    for (int round = 0; round < 2; round++) {
        names c = {0};
        CHECK_INT(os()->list(NULL, dir, collect, &c), 0);
        CHECK_INT(c.n, AGT_COUNT(want));
        for (size_t i = 0; i < AGT_COUNT(want); i++) {
            int found = 0;
            for (int k = 0; k < c.n; k++)
                found += !strcmp(c.seen[k], want[i]);
            CHECK_INT(found, 1);
        }
    }
    names c = {.stop_at = 2};
    CHECK_INT(os()->list(NULL, dir, collect, &c), 42);
    CHECK_INT(c.n, 2);
    CHECK_INT(count_open(), before);
    agt_fd file = os()->open(NULL, dir, "a", AGT_O_READ, 0);
    CHECK_INT(AGT_SYS_CLASS(os()->list(NULL, file, collect, &c)), AGT_SYS_NOTDIR);
    os()->close(NULL, file);
    os()->close(NULL, dir);
}

static void make_with_umask(void *root) {
    agt_fd dir = *(agt_fd *)root;
    umask(027);
    agt_fd fd = os()->open(NULL, dir, "f", AGT_O_WRITE | AGT_O_CREATE, 0666);
    CHECK(fd >= 3);
    CHECK_INT(os()->make_folder(NULL, dir, "d", 0777), 0);
    CHECK_INT(umask(0), 027);
}

TEST(posix, the_umask_counts_and_is_left_alone) {
    agt_fd dir = open_folder(test_folder());
    CHECK_INT(in_child(make_with_umask, &dir), 0);
    agt_stat st;
    CHECK_INT(os()->stat(NULL, dir, "f", &st), 0);
    CHECK_INT(st.mode, 0640);
    CHECK_INT(os()->stat(NULL, dir, "d", &st), 0);
    CHECK_INT(st.mode & 0777, 0750);
    os()->close(NULL, dir);
}

/* ---- leases and locks ---- */

TEST(posix, a_writer_is_seen_while_it_has_the_file_open) {
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "f", "x");
    agt_fd look = os()->open(NULL, dir, "f", AGT_O_READ, 0);
    int rc = os()->has_writer(NULL, look);
    if (!LINUX_CALLS) CHECK_INT(AGT_SYS_CLASS(rc), AGT_SYS_NOSYS);
    if (rc < 0) {
        CHECK_INT(AGT_SYS_CLASS(rc), AGT_SYS_NOSYS);
        os()->close(NULL, look);
        os()->close(NULL, dir);
        if (LINUX_CALLS) test_skip("no leases on this file system");
        return;
    }
    CHECK_INT(rc, 0);
    agt_fd writer = os()->open(NULL, dir, "f", AGT_O_WRITE, 0);
    CHECK(writer >= 3); /* the lease is gone: the open neither waited nor failed */
    CHECK_INT(os()->has_writer(NULL, look), 1);
    os()->close(NULL, writer);
    CHECK_INT(os()->has_writer(NULL, look), 0);
    agt_fd reader = os()->open(NULL, dir, "f", AGT_O_READ, 0);
    CHECK_INT(os()->has_writer(NULL, look), 0);
    os()->close(NULL, reader);
    os()->close(NULL, look);
    os()->close(NULL, dir);
}

#if LINUX_CALLS
static volatile sig_atomic_t urgent;
static void on_urgent(int sig) {
    (void)sig;
    urgent++;
}

/* Asks again and again while another process opens the file for writing. */
static void ask_under_fire(void *root) {
    agt_fd dir = *(agt_fd *)root;
    signal(SIGURG, on_urgent); /* only to count: its default is to be ignored */
    agt_fd look = os()->open(NULL, dir, "f", AGT_O_READ, 0);
    if (os()->has_writer(NULL, look) < 0) _exit(8);
    pid_t writer = fork();
    if (writer == 0) {
        alarm(10); /* also if we are the one that dies */
        for (;;) {
            int fd = openat((int)dir, "f", O_WRONLY | O_CLOEXEC);
            if (fd >= 0) close(fd);
        }
    }
    int64_t end = os()->mono_ns(NULL) + 5 * (int64_t)1000000000;
    uint64_t asked = 0;
    while (urgent < 3 && os()->mono_ns(NULL) < end) {
        CHECK(os()->has_writer(NULL, look) >= 0);
        asked++;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    _exit(urgent >= 3 ? 0 : 9);
}

TEST(posix, a_writer_that_arrives_while_we_look_does_not_kill_us) {
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "f", "x");
    int rc = in_child(ask_under_fire, &dir); /* 9: no writer came in that moment */
    os()->close(NULL, dir);
    if (rc == 8) test_skip("no leases on this file system");
    CHECK_INT(rc, 0);
}
#endif

TEST(posix, a_lock_excludes_other_descriptors) {
    agt_fd dir = open_folder(test_folder());
    agt_fd a = make_file(dir, "l", ""), b = make_file(dir, "l", "");
    const agt_sys *sys = os();
    CHECK_INT(sys->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    CHECK_INT(sys->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    CHECK_INT(AGT_SYS_CLASS(sys->lock(NULL, b, AGT_LOCK_EXCLUSIVE)), AGT_SYS_BUSY);
    CHECK_INT(AGT_SYS_CLASS(sys->lock(NULL, b, AGT_LOCK_SHARED)), AGT_SYS_BUSY);
    CHECK_INT(sys->lock(NULL, a, AGT_LOCK_SHARED), 0);
    CHECK_INT(sys->lock(NULL, b, AGT_LOCK_SHARED), 0);
    CHECK_INT(AGT_SYS_CLASS(sys->lock(NULL, b, AGT_LOCK_EXCLUSIVE)), AGT_SYS_BUSY);
    CHECK_INT(sys->lock(NULL, a, AGT_LOCK_UNLOCK), 0);
    CHECK_INT(sys->lock(NULL, b, AGT_LOCK_EXCLUSIVE), 0);
    sys->close(NULL, b);
    CHECK_INT(sys->lock(NULL, a, AGT_LOCK_EXCLUSIVE), 0);
    sys->close(NULL, a);
    CHECK_INT(AGT_SYS_CODE(sys->lock(NULL, a, AGT_LOCK_EXCLUSIVE)), EBADF);
    sys->close(NULL, dir);
}

/* ---- time, chance, identity ---- */

TEST(posix, clocks_run_forward_and_sleep_takes_its_time) {
    CHECK(llabs(os()->now_unix_ms(NULL) / 1000 - (int64_t)time(NULL)) <= 1);
    int64_t before = os()->mono_ns(NULL);
    os()->sleep_ns(NULL, 3000000);
    os()->sleep_ns(NULL, 0);
    os()->sleep_ns(NULL, -5);
    int64_t took = os()->mono_ns(NULL) - before;
    CHECK(took >= 3000000);
}

TEST(posix, random_bytes_are_random) {
    unsigned char a[700], b[700];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    CHECK_INT(os()->random(NULL, a, sizeof a), 0);
    CHECK_INT(os()->random(NULL, b, sizeof b), 0);
    CHECK(memcmp(a, b, sizeof a) != 0);
    for (size_t i = 0; i + 20 <= sizeof a; i += 20) { /* no stretch was forgotten */
        int zeros = 0;
        for (size_t k = i; k < i + 20; k++)
            zeros += a[k] == 0;
        CHECK(zeros < 10);
    }
}

TEST(posix, a_process_knows_who_it_is) {
    agt_process p, q;
    CHECK_INT(os()->process(NULL, &p), 0);
    CHECK_INT(os()->process(NULL, &q), 0);
    CHECK_INT(p.pid, getpid());
    CHECK_INT(os()->pid(NULL), getpid());
    CHECK(memcmp(&p, &q, sizeof p) == 0);
    CHECK(p.host[0] != 0);
    CHECK_INT(strlen(p.boot), LINUX_CALLS ? 36 : 0);
    CHECK_INT(p.start != 0, LINUX_CALLS);
    CHECK_INT(p.program[0] != 0, LINUX_CALLS);
    CHECK_INT(strncmp(p.pid_space, "pid:[", 5) == 0, LINUX_CALLS);
}

#if LINUX_CALLS
/* The kernel's own count of ticks since boot, as `stat` prints it in a plainly named process. */
static void with_an_odd_name(void *start) {
    agt_process before, after;
    CHECK_INT(os()->process(NULL, &before), 0);
    CHECK_INT(prctl(PR_SET_NAME, "a) 1 2 (b) 3 4"), 0);
    CHECK_INT(os()->process(NULL, &after), 0);
    CHECK(before.start == after.start && before.start != 0);
    CHECK_STR(after.program, "a) 1 2 (b) 3 4");
    CHECK(before.start >= *(uint64_t *)start);
    double up = 0;
    FILE *f = fopen("/proc/uptime", "r");
    CHECK(f && fscanf(f, "%lf", &up) == 1);
    fclose(f);
    double began = (double)after.start / (double)sysconf(_SC_CLK_TCK);
    CHECK(began <= up + 1 && began >= up - 3600);
}

TEST(posix, the_start_time_is_found_behind_any_program_name) {
    agt_process p;
    CHECK_INT(os()->process(NULL, &p), 0);
    CHECK_INT(in_child(with_an_odd_name, &p.start), 0);
}
#endif

TEST(posix, the_path_of_a_folder_follows_its_renames) {
    const char *base = test_folder();
    char path[512], got[512], want[512];
    agt_fd dir = open_folder(base);
    CHECK_INT(mkdirat((int)dir, "one", 0700), 0);
    agt_fd sub = os()->walk(NULL, dir, "one");
    int rc = os()->path_of(NULL, sub, got, sizeof got);
    if (rc < 0) {
        CHECK_INT(AGT_SYS_CLASS(rc), AGT_SYS_NOSYS);
        CHECK(!LINUX_CALLS);
    } else {
        snprintf(path, sizeof path, "%s/one", base);
        CHECK(realpath(path, want) != NULL);
        CHECK_STR(got, want);
        CHECK_INT(AGT_SYS_CLASS(os()->path_of(NULL, sub, got, strlen(want))), AGT_SYS_NAME);
        CHECK_INT(os()->path_of(NULL, sub, got, strlen(want) + 1), 0);
        CHECK_INT(renameat((int)dir, "one", (int)dir, "two"), 0);
        CHECK_INT(os()->path_of(NULL, sub, got, sizeof got), 0);
        CHECK_STR(got + strlen(got) - 4, "/two");
        CHECK_INT(unlinkat((int)dir, "two", AT_REMOVEDIR), 0);
        CHECK_INT(AGT_SYS_CLASS(os()->path_of(NULL, sub, got, sizeof got)), AGT_SYS_NOENT);
        CHECK_INT(mkdirat((int)dir, "two (deleted)", 0700), 0); /* as Linux calls the removed one */
        CHECK_INT(AGT_SYS_CLASS(os()->path_of(NULL, sub, got, sizeof got)), AGT_SYS_NOENT);
    }
    os()->close(NULL, sub);
    os()->close(NULL, dir);
}

typedef struct counter {
    void *mutex;
    long n;
} counter;

static void *count_up(void *arg) {
    counter *c = arg;
    for (int i = 0; i < 20000; i++) {
        os()->mutex_lock(NULL, c->mutex);
        long n = c->n;
        if (i % 1000 == 0) sched_yield();
        c->n = n + 1;
        os()->mutex_unlock(NULL, c->mutex);
    }
    return NULL;
}

TEST(posix, a_mutex_excludes_threads) {
    counter c = {os()->mutex_new(NULL), 0};
    CHECK(c.mutex != NULL);
    pthread_t t[4];
    for (size_t i = 0; i < AGT_COUNT(t); i++)
        CHECK_INT(pthread_create(&t[i], NULL, count_up, &c), 0);
    for (size_t i = 0; i < AGT_COUNT(t); i++)
        CHECK_INT(pthread_join(t[i], NULL), 0);
    CHECK_INT(c.n, 4 * 20000);
    os()->mutex_free(NULL, c.mutex);
    os()->mutex_free(NULL, NULL);
}

/* ---- kernels that lack or interrupt a call: a filter stands in for them ---- */

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))

/* Lets `action` happen to each of the calls from now on, in this process. */
static bool filter_calls(const long *calls, size_t n, uint32_t action) {
    const char *preload = getenv("LD_PRELOAD");
    if (preload && strstr(preload, "vgpreload")) return false; /* valgrind has calls of its own */
    struct sock_filter code[64];
    unsigned short len = 0;
    code[len++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < n; i++) {
        code[len++] =
            (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
    }
    code[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {len, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static const long new_calls[] = {SYS_openat2, SYS_renameat2, SYS_getrandom, SYS_fallocate};

static void on_an_old_kernel(void *arg) {
    agt_fd *dirs = arg;
    if (!filter_calls(new_calls, AGT_COUNT(new_calls), SECCOMP_RET_ERRNO | ENOSYS)) _exit(8);
    CHECK_INT(syscall(SYS_openat2, -1, "", NULL, 0), -1);
    CHECK_INT(errno, ENOSYS);
    int before = count_open();
    walk_everywhere(&dirs[0]);
    CHECK_INT(count_open(), before);
    unsigned char r[600] = {0};
    CHECK_INT(os()->random(NULL, r, sizeof r), 0);
    CHECK(memcmp(r, r + 300, 300) != 0);
    agt_fd fd = make_file(dirs[1], "reserve", "");
    CHECK_INT(AGT_SYS_CLASS(os()->reserve(NULL, fd, 0, 4096)), AGT_SYS_NOSYS);
    os()->close(NULL, fd);
    rename_everywhere(&dirs[1]); /* and cannot exchange, or it ends with 7 */
}

TEST(posix, an_old_kernel_gets_by_without_the_newer_calls) {
    agt_fd dirs[2] = {walk_tree(), open_folder(test_folder())};
    int rc = in_child(on_an_old_kernel, dirs);
    os()->close(NULL, dirs[0]);
    os()->close(NULL, dirs[1]);
    if (rc == 8) test_skip("no system call filter here");
    CHECK_INT(rc, 0);
}

static void poll_without_flock(void *root) {
    static const long calls[] = {SYS_flock};
    agt_error err;
    agt_poll_lock *lock;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    if (!filter_calls(calls, 1, SECCOMP_RET_ERRNO | ENOSYS)) _exit(8);
    CHECK_STATUS(agt_poll_lock_try(&lock, root, &err), AGT_UNSUPPORTED, err);
    CHECK(!lock);
    CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_UNSUPPORTED, err);
}

TEST(posix, a_file_system_without_flock_has_no_poll_lock) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *lock;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    agt_poll_lock_release(lock);
    int rc = in_child(poll_without_flock, (void *)(intptr_t)root);
    if (rc == 8) test_skip("no system call filter here");
    CHECK_INT(rc, 0);
}

/* Interrupts: the first three times a call fails with EINTR, then it "works" with 0 or `result`. */
static volatile sig_atomic_t interrupts, interrupt_result;

static void on_filtered(int sig, siginfo_t *info, void *context) {
    ucontext_t *u = context;
    long value = ++interrupts <= 3 ? -EINTR : interrupt_result;
    (void)sig;
    (void)info;
#if defined(__x86_64__)
    u->uc_mcontext.gregs[REG_RAX] = value;
#else
    u->uc_mcontext.regs[0] = (unsigned long long)value;
#endif
}

typedef struct interrupted {
    const char *what;
    long call;
    int64_t (*run)(agt_fd dir, agt_fd file);
    int result;
} interrupted;

static char scrap[64];
static int64_t run_open(agt_fd d, agt_fd f) {
    (void)f;
    return os()->open(NULL, d, "f", AGT_O_READ, 0);
}
static int64_t run_root(agt_fd d, agt_fd f) {
    (void)d, (void)f;
    return os()->open_root(NULL, "/");
}
static int64_t run_pread(agt_fd d, agt_fd f) {
    (void)d;
    return os()->pread(NULL, f, scrap, 5, 0);
}
static int64_t run_pwrite(agt_fd d, agt_fd f) {
    (void)d;
    return os()->pwrite(NULL, f, "12345", 5, 0);
}
static int64_t run_sync(agt_fd d, agt_fd f) {
    (void)d;
    return os()->sync(NULL, f);
}
static int64_t run_sync_folder(agt_fd d, agt_fd f) {
    (void)f;
    return os()->sync(NULL, d);
}
static int64_t run_truncate(agt_fd d, agt_fd f) {
    (void)d;
    return os()->truncate(NULL, f, 1);
}
static int64_t run_set_mode(agt_fd d, agt_fd f) {
    (void)d;
    return os()->set_mode(NULL, f, 0600);
}
static int64_t run_link(agt_fd d, agt_fd f) {
    (void)f;
    return os()->link(NULL, d, "f", d, "g");
}
static int64_t run_remove(agt_fd d, agt_fd f) {
    (void)f;
    return os()->remove(NULL, d, "f");
}
static int64_t run_remove_folder(agt_fd d, agt_fd f) {
    (void)f;
    return os()->remove_folder(NULL, d, "f");
}
static int64_t run_make_folder(agt_fd d, agt_fd f) {
    (void)f;
    return os()->make_folder(NULL, d, "d", 0700);
}
static int64_t run_lock(agt_fd d, agt_fd f) {
    (void)d;
    return os()->lock(NULL, f, AGT_LOCK_EXCLUSIVE);
}
static int64_t run_sleep(agt_fd d, agt_fd f) {
    (void)d, (void)f;
    os()->sleep_ns(NULL, 1000);
    return 0;
}
#if LINUX_CALLS
static int64_t run_reserve(agt_fd d, agt_fd f) {
    (void)d;
    return os()->reserve(NULL, f, 0, 4096);
}
static int64_t run_walk(agt_fd d, agt_fd f) {
    (void)f;
    return os()->walk(NULL, d, "x");
}
static int64_t run_rename(agt_fd d, agt_fd f) {
    (void)f;
    return os()->rename(NULL, d, "f", d, "g", AGT_RENAME_NOREPLACE);
}
static int64_t run_writer(agt_fd d, agt_fd f) {
    (void)d;
    return os()->has_writer(NULL, f);
}
#endif

static const interrupted interrupted_calls[] = {
    {"open", SYS_openat, run_open, 77},
    {"open_root", SYS_openat, run_root, 77},
    {"pread", SYS_pread64, run_pread, 5},
    {"pwrite", SYS_pwrite64, run_pwrite, 5},
    {"sync", SYS_fdatasync, run_sync, 0},
    {"sync of a folder", SYS_fsync, run_sync_folder, 0},
    {"truncate", SYS_ftruncate, run_truncate, 0},
    {"set_mode", SYS_fchmod, run_set_mode, 0},
    {"link", SYS_linkat, run_link, 0},
    {"remove", SYS_unlinkat, run_remove, 0},
    {"remove_folder", SYS_unlinkat, run_remove_folder, 0},
    {"make_folder", SYS_mkdirat, run_make_folder, 0},
    {"lock", SYS_flock, run_lock, 0},
    {"sleep", SYS_clock_nanosleep, run_sleep, 0},
#if LINUX_CALLS
    {"reserve", SYS_fallocate, run_reserve, 0},
    {"walk", SYS_openat2, run_walk, 77},
    {"rename", SYS_renameat2, run_rename, 0},
    {"has_writer", SYS_fcntl, run_writer, 0},
#endif
};

static agt_fd interrupted_dir;

static void run_interrupted(void *arg) {
    const interrupted *c = arg;
    agt_fd file = os()->open(NULL, interrupted_dir, "f", AGT_O_READ | AGT_O_WRITE, 0);
    struct sigaction sa = {.sa_sigaction = on_filtered, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &sa, NULL);
    interrupt_result = c->result;
    if (!filter_calls(&c->call, 1, SECCOMP_RET_TRAP)) _exit(8);
    int64_t rc = c->run(interrupted_dir, file);
    CHECK(interrupts >= 4); /* three interrupts, and the one that counts */
    CHECK_INT(rc, c->result);
}

static void ask_as_nobody(void *folder) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(9);
    agt_fd dir = os()->open_root(NULL, folder);
    if (dir < 0) _exit(9);
    agt_fd sub = os()->walk(NULL, dir, "theirs");
    CHECK_INT(AGT_SYS_CLASS(os()->may_change(NULL, sub)), AGT_SYS_ACCESS);
    sub = os()->walk(NULL, dir, "everybodys");
    CHECK_INT(os()->may_change(NULL, sub), 0);
}

TEST(posix, whether_a_folder_may_be_changed_is_known_before_it_is_tried) {
    const char *path = test_folder();
    agt_fd dir = open_folder(path);
    CHECK_INT(os()->may_change(NULL, dir), 0);
    CHECK_INT(os()->make_folder(NULL, dir, "theirs", 0755), 0);
    CHECK_INT(os()->make_folder(NULL, dir, "everybodys", 0755), 0);
    CHECK_INT(fchmodat((int)dir, "everybodys", 0777, 0), 0);
    CHECK_INT(fchmodat((int)dir, ".", 0755, 0), 0);
    if (geteuid() != 0) test_skip("only root can ask for somebody else");
    int rc = in_child(ask_as_nobody, (void *)(intptr_t)path);
    if (rc == 9) test_skip("nobody cannot come here");
    CHECK_INT(rc, 0);
    os()->close(NULL, dir);
}

/* ---- root in somebody else's folder ---- */

#define THEIR_USER  65534u
#define THEIR_GROUP 65533u

static void owner_is(agt_fd dir, const char *name, uint32_t owner, uint32_t group) {
    agt_stat st;
    CHECK_INT(os()->stat(NULL, dir, name, &st), 0);
    if (st.owner != owner || st.group != group)
        test_fail(__FILE__, __LINE__, "%s belongs to %u:%u", name, st.owner, st.group);
}

static void make_all(agt_fd dir, uint32_t owner, uint32_t group) {
    const uint32_t made[] = {AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL,
                             AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE,
                             AGT_O_WRITE | AGT_O_CREATE | AGT_O_TRUNCATE};
    for (size_t i = 0; i < AGT_COUNT(made); i++) {
        char name[16];
        agt_stat st;
        snprintf(name, sizeof name, "file%zu", i);
        agt_fd fd = os()->open(NULL, dir, name, made[i], 0600);
        CHECK(fd > 2);
        owner_is(dir, name, owner, group);
        CHECK_INT(os()->fstat(NULL, fd, &st), 0);
        CHECK_INT(st.mode, 0600);
        CHECK_INT(st.size, 0);
        os()->close(NULL, fd);
    }
    CHECK_INT(AGT_SYS_CLASS(os()->open(NULL, dir, "file0", made[0], 0600)), AGT_SYS_EXIST);
    CHECK_INT(os()->make_folder(NULL, dir, "folder", 0700), 0);
    owner_is(dir, "folder", owner, group);
    agt_fd folder = os()->walk(NULL, dir, "folder");
    CHECK_INT(os()->make_folder(NULL, folder, "below", 0700), 0);
    owner_is(folder, "below", owner, group);
    os()->close(NULL, folder);
    test_saw("files made", AGT_COUNT(made));
}

TEST(posix, what_root_makes_in_somebody_elses_folder_is_theirs) {
    if (geteuid() != 0) test_skip("only root can make somebody else's folder");
    agt_fd dir = open_folder(test_folder()), own = open_folder(test_folder());
    CHECK_INT(fchown((int)dir, THEIR_USER, THEIR_GROUP), 0);
    int before = count_open();
    make_all(dir, THEIR_USER, THEIR_GROUP);
    make_all(own, 0, getegid());
    CHECK_INT(count_open(), before);
    /* what was there before keeps its owner, also where it would be made if it were not */
    os()->close(NULL, make_file(own, "roots", "secret"));
    CHECK_INT(renameat((int)own, "roots", (int)dir, "roots"), 0);
    CHECK_INT(fchownat((int)dir, "roots", 0, 0, 0), 0);
    agt_fd fd = os()->open(NULL, dir, "roots", AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    CHECK(fd > 2);
    os()->close(NULL, fd);
    owner_is(dir, "roots", 0, 0);
    CHECK_INT(symlinkat("elsewhere", (int)dir, "link"), 0); /* made nothing, there or here */
    fd = os()->open(NULL, dir, "link", AGT_O_WRITE | AGT_O_CREATE, 0600);
    CHECK_INT(AGT_SYS_CLASS(fd), AGT_SYS_LOOP);
    CHECK_INT(AGT_SYS_CLASS(os()->make_folder(NULL, dir, "folder", 0700)), AGT_SYS_EXIST);
    CHECK_INT(os()->set_owner(NULL, own, THEIR_USER, THEIR_GROUP), 0);
    owner_is(own, ".", THEIR_USER, THEIR_GROUP);
    os()->close(NULL, dir);
    os()->close(NULL, own);
}

TEST(posix, every_call_goes_on_after_an_interrupt) {
    interrupted_dir = open_folder(test_folder());
    make_closed_file(interrupted_dir, "f", "hello");
    for (size_t i = 0; i < AGT_COUNT(interrupted_calls); i++) {
        int rc = in_child(run_interrupted, (void *)(intptr_t)&interrupted_calls[i]);
        if (rc == 8) test_skip("no system call filter here");
        if (rc) test_fail(__FILE__, __LINE__, "%s: exit %d", interrupted_calls[i].what, rc);
    }
    test_saw("interrupted calls", AGT_COUNT(interrupted_calls));
    os()->close(NULL, interrupted_dir);
}

static void make_without_chown(void *arg) {
    const long calls[] = {SYS_fchown, SYS_fchownat};
    agt_fd dir = *(agt_fd *)arg;
    if (!filter_calls(calls, AGT_COUNT(calls), SECCOMP_RET_ERRNO | EPERM)) _exit(8);
    make_all(dir, geteuid(), getegid());
    CHECK_INT(AGT_SYS_CLASS(os()->set_owner(NULL, dir, 0, 0)), AGT_SYS_ACCESS);
}

TEST(posix, where_nothing_can_be_given_away_it_stays_roots_and_nothing_fails) {
    if (geteuid() != 0) test_skip("only root can make somebody else's folder");
    agt_fd dir = open_folder(test_folder());
    CHECK_INT(fchown((int)dir, THEIR_USER, THEIR_GROUP), 0);
    int rc = in_child(make_without_chown, &dir);
    os()->close(NULL, dir);
    if (rc == 8) test_skip("no system call filter here");
    CHECK_INT(rc, 0);
}

/* errno of a lock that failed, and what it means. */
typedef struct lock_errno {
    int e, want;
} lock_errno;

static void run_lock_errno(void *arg) {
    const lock_errno *c = arg;
    const long call = SYS_flock;
    agt_fd file = os()->open(NULL, interrupted_dir, "f", AGT_O_READ | AGT_O_WRITE, 0);
    if (!filter_calls(&call, 1, SECCOMP_RET_ERRNO | (uint32_t)c->e)) _exit(8);
    int rc = os()->lock(NULL, file, AGT_LOCK_EXCLUSIVE);
    CHECK(rc < 0);
    CHECK_INT(AGT_SYS_CLASS(rc), c->want);
    CHECK_INT(AGT_SYS_CODE(rc), c->e);
}

TEST(posix, a_busy_lock_and_a_system_without_locks_are_told_apart) {
    const lock_errno cases[] = {
        {EWOULDBLOCK, AGT_SYS_BUSY}, {EACCES, AGT_SYS_BUSY},      {ENOLCK, AGT_SYS_NOSYS},
        {ENOSYS, AGT_SYS_NOSYS},     {EOPNOTSUPP, AGT_SYS_NOSYS}, {EIO, AGT_SYS_IO},
        {EBADF, AGT_SYS_IO},         {EPERM, AGT_SYS_ACCESS},     {ENOMEM, AGT_SYS_NOMEM},
        {EMFILE, AGT_SYS_FILES},     {ENFILE, AGT_SYS_FILES},
    };
    interrupted_dir = open_folder(test_folder());
    make_closed_file(interrupted_dir, "f", "");
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        int rc = in_child(run_lock_errno, (void *)(intptr_t)&cases[i]);
        if (rc == 8) test_skip("no system call filter here");
        if (rc) test_fail(__FILE__, __LINE__, "errno %d: exit %d", cases[i].e, rc);
    }
    test_saw("values of errno", AGT_COUNT(cases));
    os()->close(NULL, interrupted_dir);
}
#endif /* Linux, x86-64 or AArch64 */

/* ---- the helpers of sys.h, over a shim that makes trouble ---- */

typedef struct shim {
    agt_sys sys;
    int fail_at; /* this call of the counted ones fails; 0 none */
    int calls, injected;
    size_t piece; /* most bytes a pread or pwrite moves; 0 any */
    int zero;     /* a pwrite that writes nothing */
} shim;

static bool shim_fails(shim *s) {
    if (++s->calls != s->fail_at) return false;
    s->injected++;
    return true;
}
static size_t shim_piece(const shim *s, size_t n) {
    return s->piece && n > s->piece ? s->piece : n;
}

static agt_fd shim_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    if (shim_fails(ctx)) return AGT_SYS_ERR(AGT_SYS_IO, EIO);
    return os()->open(NULL, dir, name, flags, mode);
}
static int64_t shim_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    if (shim_fails(ctx)) return AGT_SYS_ERR(AGT_SYS_IO, EIO);
    return os()->pread(NULL, fd, buf, shim_piece(ctx, n), offset);
}
static int64_t shim_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    if (shim_fails(ctx)) return AGT_SYS_ERR(AGT_SYS_NOSPC, ENOSPC);
    if (((shim *)ctx)->zero) return 0;
    return os()->pwrite(NULL, fd, buf, shim_piece(ctx, n), offset);
}
static int shim_sync(void *ctx, agt_fd fd) {
    return shim_fails(ctx) ? AGT_SYS_ERR(AGT_SYS_IO, EIO) : os()->sync(NULL, fd);
}
static int shim_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    return shim_fails(ctx) ? AGT_SYS_ERR(AGT_SYS_IO, EIO) : os()->fstat(NULL, fd, out);
}
static int shim_rename(void *ctx, agt_fd fd, const char *from, agt_fd td, const char *to,
                       int flag) {
    return shim_fails(ctx) ? AGT_SYS_ERR(AGT_SYS_IO, EIO)
                           : os()->rename(NULL, fd, from, td, to, flag);
}
static int shim_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    return shim_fails(ctx) ? AGT_SYS_ERR(AGT_SYS_NOSPC, ENOSPC)
                           : os()->make_folder(NULL, dir, name, mode);
}

static void shim_init(shim *s) {
    memset(s, 0, sizeof *s);
    s->sys = *os();
    s->sys.ctx = s;
    s->sys.open = shim_open;
    s->sys.pread = shim_pread;
    s->sys.pwrite = shim_pwrite;
    s->sys.sync = shim_sync;
    s->sys.fstat = shim_fstat;
    s->sys.rename = shim_rename;
    s->sys.make_folder = shim_make_folder;
}

TEST(sys, no_system_means_the_real_one) {
    shim s;
    shim_init(&s);
    CHECK(agt__sys_or_os(NULL) == agt_sys_os());
    CHECK(agt__sys_or_os(&s.sys) == &s.sys);
}

TEST(sys, short_reads_and_writes_are_continued) {
    shim s;
    shim_init(&s);
    s.piece = 3;
    agt_fd dir = open_folder(test_folder());
    agt_fd fd = make_file(dir, "f", "");
    CHECK_INT(agt__write_all(&s.sys, fd, "0123456789", 10, 2), 0);
    char buf[32];
    CHECK_INT(agt__read_all(&s.sys, fd, buf, sizeof buf, 0), 12);
    CHECK(memcmp(buf,
                 "\0\0"
                 "0123456789",
                 12) == 0);
    CHECK_INT(agt__read_all(&s.sys, fd, buf, 4, 3), 4);
    CHECK(memcmp(buf, "1234", 4) == 0);
    CHECK_INT(agt__read_all(&s.sys, fd, buf, 4, 100), 0);
    CHECK_INT(agt__write_all(&s.sys, fd, NULL, 0, 0), 0);
    s.zero = 1; /* nothing written, no reason given: an error, not a loop for ever */
    CHECK_INT(AGT_SYS_CLASS(agt__write_all(&s.sys, fd, "x", 1, 0)), AGT_SYS_IO);
    s.zero = 0;
    s.calls = 0;
    s.fail_at = 3;
    CHECK_INT(AGT_SYS_CLASS(agt__write_all(&s.sys, fd, "0123456789", 10, 0)), AGT_SYS_NOSPC);
    s.calls = 0;
    CHECK_INT(AGT_SYS_CLASS(agt__read_all(&s.sys, fd, buf, sizeof buf, 0)), AGT_SYS_IO);
    CHECK_INT(s.injected, 2);
    os()->close(NULL, fd);
    os()->close(NULL, dir);
}

static void *no_memory(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    (void)ctx, (void)old_size;
    if (new_size == 0) free(ptr);
    return NULL;
}

TEST(sys, a_whole_file_is_read_behind_what_the_buffer_holds) {
    agt_error err;
    agt_mem mem = agt__mem(NULL);
    agt_buf b = agt__buf(&mem);
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "f", "hello");
    make_closed_file(dir, "empty", "");
    CHECK_INT(mkdirat((int)dir, "d", 0700), 0);
    CHECK_INT(mkfifoat((int)dir, "fifo", 0600), 0);
    CHECK_INT(symlinkat("f", (int)dir, "link"), 0);
    agt__buf_text(&b, "say ");
    CHECK_OK(agt__read_file(os(), dir, "f", 5, &b, &err), err);
    CHECK_OK(agt__read_file(os(), dir, "empty", 0, &b, &err), err);
    CHECK_BYTES(b.data, b.len, "say hello", 9);
    CHECK_STATUS(agt__read_file(os(), dir, "f", 4, &b, &err), AGT_LIMIT, err);
    CHECK_STATUS(agt__read_file(os(), dir, "none", 9, &b, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt__read_file(os(), dir, "d", 9, &b, &err), AGT_INVALID, err);
    CHECK_STATUS(agt__read_file(os(), dir, "fifo", 9, &b, &err), AGT_INVALID, err);
    CHECK_STATUS(agt__read_file(os(), dir, "link", 9, &b, &err), AGT_INVALID, err);
    CHECK_BYTES(b.data, b.len, "say hello", 9);
    agt__buf_free(&b);

    shim s;
    shim_init(&s);
    s.piece = 2;
    for (s.fail_at = 1;; s.fail_at++) {
        s.calls = s.injected = 0;
        agt_buf c = agt__buf(&mem);
        agt_status got = agt__read_file(&s.sys, dir, "f", 9, &c, &err);
        CHECK_INT(got, s.injected ? AGT_IO : AGT_OK);
        CHECK_INT(c.len, s.injected ? 0 : 5);
        agt__buf_free(&c);
        if (!s.injected) break;
    }
    CHECK(s.fail_at > 4);

    agt_allocator none = {NULL, no_memory};
    agt_mem nothing = agt__mem(&none);
    agt_buf c = agt__buf(&nothing);
    CHECK_STATUS(agt__read_file(os(), dir, "f", 9, &c, &err), AGT_NOMEM, err);
    agt__buf_free(&c);
    os()->close(NULL, dir);
}

/* A pread that lengthens the file while it is read. */
static int64_t growing_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    shim *s = ctx;
    int64_t got = os()->pread(NULL, fd, buf, n, offset);
    if (s->calls++ < 20) {
        agt_fd w = os()->open(NULL, (agt_fd)s->fail_at, "f", AGT_O_WRITE, 0);
        agt_stat st;
        CHECK_INT(os()->fstat(NULL, w, &st), 0);
        char more[1000];
        memset(more, 'm', sizeof more);
        CHECK_INT(os()->pwrite(NULL, w, more, sizeof more, st.size), sizeof more);
        os()->close(NULL, w);
    }
    return got;
}

TEST(sys, a_file_that_grows_while_it_is_read_is_read_to_its_end_or_refused) {
    agt_error err;
    agt_mem mem = agt__mem(NULL);
    agt_buf b = agt__buf(&mem);
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "f", "hello");
    shim s;
    shim_init(&s);
    s.fail_at = (int)dir;
    s.sys.pread = growing_pread;
    s.sys.open = os()->open;
    s.sys.fstat = os()->fstat;
    CHECK_OK(agt__read_file(&s.sys, dir, "f", 1000000, &b, &err), err);
    CHECK(b.len > 5 && b.len <= 20005);
    b.len = 0;
    s.calls = 0;
    CHECK_STATUS(agt__read_file(&s.sys, dir, "f", b.len + 21000, &b, &err), AGT_LIMIT, err);
    CHECK_INT(b.len, 0);
    agt__buf_free(&b);
    os()->close(NULL, dir);
}

TEST(sys, a_file_of_ours_is_replaced_whole_or_not_at_all) {
    agt_error err;
    agt_fd dir = open_folder(test_folder());
    CHECK_OK(agt__write_file(os(), dir, "f", "old", 3, true, &err), err);
    CHECK_STR(text_of(dir, "f"), "old");
    agt_stat st;
    CHECK_INT(os()->stat(NULL, dir, "f", &st), 0);
    CHECK_INT(st.mode, 0600);
    shim s;
    shim_init(&s);
    s.piece = 2;
    int unknown = 0, failed = 0;
    for (s.fail_at = 1;; s.fail_at++) {
        s.calls = s.injected = 0;
        memset(&err, 0, sizeof err);
        int before = count_open();
        agt_status got = agt__write_file(&s.sys, dir, "f", "newer", 5, true, &err);
        CHECK_INT(count_open(), before);
        if (!s.injected) {
            CHECK_OK(got, err);
            break;
        }
        CHECK_INT(got, AGT_IO);
        failed++;
        unknown += err.outcome_unknown;
        /* after the rename only the folder's sync can fail: then the new one may stand there */
        CHECK_STR(text_of(dir, "f"), err.outcome_unknown ? "newer" : "old");
        CHECK_STR(text_of(dir, "f.tmp"), "(none)");
    }
    CHECK_INT(unknown, 1);
    CHECK_INT(failed, 7); /* open, three writes, sync, rename, sync */
    CHECK_STR(text_of(dir, "f"), "newer");
    os()->close(NULL, dir);
}

TEST(sys, what_lies_at_the_temporary_name_is_never_written_through) {
    agt_error err;
    agt_fd dir = open_folder(test_folder());
    make_closed_file(dir, "precious", "keep");
    CHECK_INT(os()->link(NULL, dir, "precious", dir, "f.tmp"), 0);
    CHECK_OK(agt__write_file(os(), dir, "f", "one", 3, false, &err), err);
    CHECK_STR(text_of(dir, "f"), "one");
    CHECK_INT(symlinkat("precious", (int)dir, "f.tmp"), 0);
    CHECK_OK(agt__write_file(os(), dir, "f", "two", 3, true, &err), err);
    CHECK_STR(text_of(dir, "f"), "two");
    CHECK_STR(text_of(dir, "precious"), "keep");
    CHECK_INT(mkdirat((int)dir, "f.tmp", 0700), 0);
    CHECK_STATUS(agt__write_file(os(), dir, "f", "three", 5, true, &err), AGT_INVALID, err);
    CHECK_STR(text_of(dir, "f"), "two");
    char long_name[256];
    memset(long_name, 'n', 255);
    long_name[255] = 0;
    CHECK_STATUS(agt__write_file(os(), dir, long_name, "x", 1, true, &err), AGT_INVALID, err);
    os()->close(NULL, dir);
}

TEST(sys, folders_are_made_when_asked_for) {
    agt_error err;
    agt_fd dir = open_folder(test_folder()), fd;
    agt_stat st;
    CHECK_STATUS(agt__open_folder(os(), dir, "ours", false, &fd, &err), AGT_NOT_FOUND, err);
    CHECK(fd == AGT_FD_NONE);
    CHECK_OK(agt__open_folder(os(), dir, "ours", true, &fd, &err), err);
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK_INT(st.mode & 0777, 0700);
    os()->close(NULL, fd);
    CHECK_OK(agt__open_folder(os(), dir, "ours", true, &fd, &err), err);
    os()->close(NULL, fd);
    CHECK_INT(symlinkat("ours", (int)dir, "link"), 0);
    CHECK_STATUS(agt__open_folder(os(), dir, "link", true, &fd, &err), AGT_INVALID, err);
    make_closed_file(dir, "file", "");
    CHECK_STATUS(agt__open_folder(os(), dir, "file", true, &fd, &err), AGT_INVALID, err);

    CHECK_INT(AGT_SYS_CLASS(agt__walk_folder(os(), dir, "a/b/c", false)), AGT_SYS_NOENT);
    fd = agt__walk_folder(os(), dir, "a/b/c", true);
    CHECK(fd >= 3);
    os()->close(NULL, fd);
    CHECK_INT(walk_class(dir, "a/b/c"), 0);
    fd = agt__walk_folder(os(), dir, "", false);
    agt_stat self;
    CHECK(fd >= 3 && fd != dir);
    CHECK_INT(os()->fstat(NULL, fd, &st), 0);
    CHECK_INT(os()->fstat(NULL, dir, &self), 0);
    CHECK(st.ino == self.ino);
    os()->close(NULL, fd);
    int before = count_open();
    CHECK_INT(AGT_SYS_CLASS(agt__walk_folder(os(), dir, "link/x", true)), AGT_SYS_LOOP);
    CHECK_INT(AGT_SYS_CLASS(agt__walk_folder(os(), dir, "a/../x", true)), AGT_SYS_NAME);
    char deep[400] = "a/b/";
    memset(deep + 4, 'n', 300);
    CHECK_INT(AGT_SYS_CLASS(agt__walk_folder(os(), dir, deep, true)), AGT_SYS_NAME);
    shim s;
    shim_init(&s);
    for (s.fail_at = 1; s.fail_at <= 3; s.fail_at++) {
        s.calls = 0;
        CHECK(agt__walk_folder(&s.sys, dir, "a/new/newer", true) < 0);
    }
    CHECK_INT(s.injected, 3);
    CHECK_INT(count_open(), before);
    os()->close(NULL, dir);
}
