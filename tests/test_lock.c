/* The lock among processes (flock.c) and the poll lock on it: real processes, real kills, a shim
 * where the kernel's answer has to be a certain one. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "os_kit.h"

#include "../src/data/data.h"
#include "../src/lock/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void make_locks(const char *root) {
    char path[1024];
    snprintf(path, sizeof path, "%s/.agent-trace", root);
    CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
    CHECK(mkdir(lock_path(root, ""), 0700) == 0 || errno == EEXIST);
}

static agt_fd open_locks(const char *root) {
    make_locks(root);
    agt_fd fd = os()->open_root(NULL, lock_path(root, ""));
    CHECK(fd >= 3);
    return fd;
}

static agt_status try_once(const char *root) {
    agt_error err;
    agt_poll_lock *p = NULL;
    agt_status status = agt_poll_lock_try(&p, root, &err);
    CHECK((p != NULL) == (status == AGT_OK));
    agt_poll_lock_release(p);
    return status;
}

static agt_poll_lock *lead(const char *root) {
    agt_error err;
    agt_poll_lock *p = NULL;
    CHECK_OK(agt_poll_lock_try(&p, root, &err), err);
    return p;
}

/* ---- other processes: they say when they are ready, and end when told or killed ---- */

typedef struct other {
    pid_t pid;
    int ready, go;
    int answer; /* the byte it said */
} other;

typedef struct other_side {
    int ready, go;
    const char *root;
} other_side;

static void say(const other_side *o, int answer) {
    char c = (char)answer;
    if (write(o->ready, &c, 1) != 1) _exit(98);
}
static void wait_for_go(const other_side *o) {
    char c;
    while (read(o->go, &c, 1) < 0 && errno == EINTR) {
    }
}

static other start(void (*fn)(const other_side *), const char *root) {
    int up[2], down[2];
    CHECK(pipe2(up, O_CLOEXEC) == 0 && pipe2(down, O_CLOEXEC) == 0);
    fflush(NULL);
    other o = {.pid = fork(), .ready = up[0], .go = down[1]};
    CHECK(o.pid >= 0);
    if (o.pid == 0) {
        close(up[0]);
        close(down[1]);
        other_side side = {up[1], down[0], root};
        alarm(60);
        fn(&side);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    char c = 0;
    CHECK(read(o.ready, &c, 1) == 1);
    o.answer = c;
    return o;
}

/* Its exit code, or 1000 + the signal that ended it. */
static int finish(other *o, int sig) {
    if (sig) kill(o->pid, sig);
    close(o->go);
    int status;
    while (waitpid(o->pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    close(o->ready);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void lead_until_told(const other_side *o) {
    agt_error err;
    agt_poll_lock *p = NULL;
    say(o, agt_poll_lock_try(&p, o->root, &err) == AGT_OK ? 'y' : 'n');
    wait_for_go(o);
    agt_poll_lock_release(p);
}

/* The other implementation's protocol, call for call: open, flock, empty, write the pid. */
static int foreign_try(const char *root) {
    make_locks(root);
    int fd = open(lock_path(root, "poll.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    CHECK(fd >= 0);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        CHECK(errno == EWOULDBLOCK);
        close(fd);
        return -1;
    }
    char text[24];
    int n = snprintf(text, sizeof text, "%ld", (long)getpid());
    CHECK(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 && write(fd, text, (size_t)n) == n);
    return fd;
}

static void lead_foreign(const other_side *o) {
    say(o, foreign_try(o->root) >= 0 ? 'y' : 'n');
    wait_for_go(o);
}

/* ---- the two promises the lock began with ---- */

TEST(lock, a_second_try_is_refused_while_the_first_is_held) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *first = lead(root), *second = first;
    CHECK_STATUS(agt_poll_lock_try(&second, root, &err), AGT_BUSY, err);
    CHECK(second == NULL);
    CHECK_INT(err.status, AGT_BUSY);
    CHECK(strstr(err.message, "poll.lock") != NULL);
    agt_poll_lock_release(second);
    CHECK_INT(try_once(root), AGT_BUSY); /* releasing nothing released nothing */
    agt_poll_lock_release(first);
}

TEST(lock, a_try_succeeds_after_the_release) {
    const char *root = test_folder();
    agt_poll_lock_release(lead(root));
    CHECK_INT(try_once(root), AGT_OK);
    CHECK_INT(try_once(root), AGT_OK);
}

/* ---- other processes ---- */

TEST(lock, a_leader_in_another_process_is_respected) {
    const char *root = test_folder();
    other o = start(lead_until_told, root);
    CHECK_INT(o.answer, 'y');
    CHECK_INT(try_once(root), AGT_BUSY);
    CHECK_INT(finish(&o, 0), 0);
    agt_poll_lock *p = lead(root);
    o = start(lead_until_told, root);
    CHECK_INT(o.answer, 'n');
    CHECK_INT(finish(&o, 0), 0);
    agt_poll_lock_release(p);
}

TEST(lock, the_other_implementation_is_excluded_in_both_directions) {
    const char *root = test_folder();
    other o = start(lead_foreign, root);
    CHECK_INT(o.answer, 'y');
    CHECK_INT(try_once(root), AGT_BUSY);
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_INT(h.held, 1);
    CHECK_INT(h.pid, o.pid);
    CHECK_INT(finish(&o, 0), 0);

    agt_poll_lock *p = lead(root);
    o = start(lead_foreign, root);
    CHECK_INT(o.answer, 'n');
    CHECK_INT(finish(&o, 0), 0);
    size_t len; /* and it can read who leads: a number, nothing else */
    char want[24];
    unsigned char *text = test_read_file(lock_path(root, "poll.lock"), &len);
    snprintf(want, sizeof want, "%ld", (long)getpid());
    CHECK_BYTES(text, len, want, strlen(want));
    free(text);
    agt_poll_lock_release(p);

    o = start(lead_foreign, root); /* after us, and its info is not mistaken for ours */
    CHECK_INT(o.answer, 'y');
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_INT(h.pid, o.pid);
    CHECK_INT(h.since_unix_ms, 0);
    CHECK_STR(h.program, "");
    CHECK_INT(finish(&o, SIGKILL), 1000 + SIGKILL);
}

TEST(lock, a_killed_leader_leaves_nothing_stale) {
    const char *root = test_folder();
    for (int i = 0; i < 20; i++) {
        other o = start(i % 2 ? lead_until_told : lead_foreign, root);
        CHECK_INT(o.answer, 'y');
        CHECK_INT(try_once(root), AGT_BUSY);
        CHECK_INT(finish(&o, SIGKILL), 1000 + SIGKILL);
        CHECK_INT(try_once(root), AGT_OK);
    }
}

TEST(lock, a_stopped_leader_still_leads) {
    const char *root = test_folder();
    other o = start(lead_until_told, root);
    kill(o.pid, SIGSTOP);
    CHECK_INT(try_once(root), AGT_BUSY);
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK(h.held == 1 && h.pid == o.pid);
    kill(o.pid, SIGCONT);
    CHECK_INT(finish(&o, 0), 0);
    CHECK_INT(try_once(root), AGT_OK);
}

/* ---- fork and exec ---- */

static agt_poll_lock *parents;

static void release_in_the_child(const other_side *o) {
    int before = count_open();
    agt_poll_lock_release(parents); /* closes its two descriptors, nothing more */
    say(o, count_open() == before - 2 && try_once(o->root) == AGT_BUSY ? 'y' : 'n');
    wait_for_go(o);
}
static void sit_in_the_child(const other_side *o) {
    say(o, try_once(o->root) == AGT_BUSY ? 'y' : 'n');
    wait_for_go(o);
}

TEST(lock, a_childs_release_leaves_the_parents_lock_alone) {
    const char *root = test_folder();
    parents = lead(root);
    other o = start(release_in_the_child, root);
    CHECK_INT(o.answer, 'y');
    CHECK_INT(try_once(root), AGT_BUSY);
    other third = start(lead_foreign, root);
    CHECK_INT(third.answer, 'n');
    CHECK_INT(finish(&third, 0), 0);
    CHECK_INT(finish(&o, 0), 0);
    CHECK_INT(try_once(root), AGT_BUSY);
    agt_poll_lock_release(parents);
    CHECK_INT(try_once(root), AGT_OK);
}

TEST(lock, a_child_that_keeps_the_descriptor_does_not_keep_the_lead) {
    const char *root = test_folder();
    parents = lead(root);
    other o = start(sit_in_the_child, root);
    CHECK_INT(o.answer, 'y');
    agt_poll_lock_release(parents);
    CHECK_INT(try_once(root), AGT_OK);
    CHECK_INT(finish(&o, 0), 0);
}

/* A leader that forks a child and dies: the child has the open file until it ends or execs. */
static void die_with_a_child(const other_side *o) {
    parents = lead(o->root);
    pid_t child = fork();
    if (child == 0) {
        wait_for_go(o); /* ends when the test closes its end */
        agt_poll_lock_release(parents);
        say(o, 'r');
        _exit(0);
    }
    say(o, 'y');
    _exit(0);
}

TEST(lock, a_dead_leaders_child_lets_go_by_closing_its_handle) {
    const char *root = test_folder();
    other o = start(die_with_a_child, root);
    int status;
    CHECK(waitpid(o.pid, &status, 0) == o.pid && status == 0);
    CHECK_INT(try_once(root), AGT_BUSY);
    close(o.go);
    char c = 0;
    CHECK(read(o.ready, &c, 1) == 1);
    CHECK_INT(c, 'r');
    close(o.ready);
    CHECK_INT(try_once(root), AGT_OK);
}

#if defined(__linux__)
TEST(lock, exec_inherits_no_descriptor) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *p = lead(root);
    agt_fd dir = open_locks(root);
    agt_flock l;
    agt__flock_init(&l, os(), dir, "store.lock");
    CHECK_OK(agt__flock_take(&l, AGT_TRY, &err), err);
    int out[2];
    CHECK(pipe(out) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        execl("/bin/ls", "ls", "-l", "/proc/self/fd/", (char *)NULL);
        _exit(98);
    }
    close(out[1]);
    static char text[16384];
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = read(out[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)k;
    text[n] = 0;
    close(out[0]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(strstr(text, "pipe:") != NULL); /* it did list descriptors */
    CHECK(strstr(text, "poll.lock") == NULL);
    CHECK(strstr(text, "store.lock") == NULL);
    CHECK(strstr(text, "/locks") == NULL);
    agt__flock_close(&l);
    os()->close(NULL, dir);
    agt_poll_lock_release(p);
}
#endif

/* ---- what may stand in the lock's place ---- */

static void plant_link(const char *path, const char *victim) {
    CHECK(symlink(victim, path) == 0);
}
static void plant_dangling(const char *path, const char *victim) {
    (void)victim;
    CHECK(symlink("nowhere", path) == 0);
}
static void plant_hard_link(const char *path, const char *victim) {
    CHECK(link(victim, path) == 0);
}
static void plant_fifo(const char *path, const char *victim) {
    (void)victim;
    CHECK(mkfifo(path, 0600) == 0);
}
static void plant_folder(const char *path, const char *victim) {
    (void)victim;
    CHECK(mkdir(path, 0700) == 0);
}
static void plant_foreign(const char *path, const char *victim) {
    (void)victim;
    test_write_file(path, "", 0);
    if (geteuid() == 0) CHECK(chown(path, 12345, 12345) == 0 && chmod(path, 0666) == 0);
}

TEST(lock, whatever_is_no_plain_file_of_ours_is_refused) {
    static const struct {
        const char *what;
        void (*plant)(const char *, const char *);
        agt_status holder;
    } cases[] = {
        {"a link", plant_link, AGT_INVALID},      {"a dangling link", plant_dangling, AGT_INVALID},
        {"a hard link", plant_hard_link, AGT_OK}, {"a fifo", plant_fifo, AGT_INVALID},
        {"a folder", plant_folder, AGT_INVALID},  {"a foreign file", plant_foreign, AGT_OK},
    };
    int before = count_open();
    alarm(30); /* opening a fifo must not wait */
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        if (cases[i].plant == plant_foreign && geteuid() != 0) continue;
        const char *root = test_folder();
        char victim[1024];
        agt_error err;
        agt_poll_lock *p = NULL;
        agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
        snprintf(victim, sizeof victim, "%s/victim", root);
        test_write_file(victim, "precious", 8);
        make_locks(root);
        cases[i].plant(lock_path(root, "poll.lock"), victim);
        agt_status got = agt_poll_lock_try(&p, root, &err);
        if (got != AGT_INVALID || p)
            test_fail(__FILE__, __LINE__, "%s: %s", cases[i].what, agt_status_name(got));
        CHECK(strstr(err.message, "poll.lock") != NULL);
        CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), cases[i].holder, err);
        CHECK_INT(h.held, 0);
        size_t len;
        unsigned char *text = test_read_file(victim, &len);
        CHECK_BYTES(text, len, "precious", 8);
        free(text);
        agt_fd dir = open_locks(root); /* not at a second try of the same handle either */
        agt_flock l;
        agt__flock_init(&l, os(), dir, "poll.lock");
        CHECK_STATUS(agt__flock_take(&l, AGT_TRY, &err), AGT_INVALID, err);
        CHECK_STATUS(agt__flock_take(&l, AGT_TRY, &err), AGT_INVALID, err);
        CHECK(!l.held);
        os()->close(NULL, dir);
    }
    alarm(0);
    CHECK_INT(count_open(), before);
    test_saw("things in the lock's place", AGT_COUNT(cases));
}

TEST(lock, a_folder_on_the_way_that_is_a_link_is_refused) {
    agt_error err;
    agt_poll_lock *p = NULL;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    char path[1024], elsewhere[1024];
    for (int deep = 0; deep < 2; deep++) {
        const char *root = test_folder();
        snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", root);
        CHECK(mkdir(elsewhere, 0700) == 0);
        snprintf(path, sizeof path, "%s/.agent-trace", root);
        if (deep) CHECK(mkdir(path, 0700) == 0);
        if (deep) strcat(path, "/locks");
        CHECK(symlink(elsewhere, path) == 0);
        CHECK_STATUS(agt_poll_lock_try(&p, root, &err), AGT_INVALID, err);
        CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_INVALID, err);
        CHECK(rmdir(elsewhere) == 0); /* nothing was made in there */
    }
    CHECK_STATUS(agt_poll_lock_try(&p, "/nowhere/at/all", &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_poll_lock_try(&p, "/dev/null", &err), AGT_INVALID, err);
}

TEST(lock, a_folder_that_others_may_write_may_hold_their_lock_file) {
    if (geteuid() != 0) test_skip("only root can make another user's file");
    const char *root = test_folder();
    make_locks(root);
    plant_foreign(lock_path(root, "poll.lock"), NULL);
    CHECK_INT(try_once(root), AGT_INVALID);
    CHECK(chmod(lock_path(root, ""), 01777) == 0); /* like /tmp: each their own */
    CHECK_INT(try_once(root), AGT_INVALID);
    CHECK(chmod(lock_path(root, ""), 0770) == 0);
    CHECK_INT(try_once(root), AGT_OK);
    CHECK(chmod(lock_path(root, ""), 0700) == 0);
    CHECK(chown(lock_path(root, ""), 12345, 12345) == 0); /* root in a user's store */
    CHECK_INT(try_once(root), AGT_OK);
    CHECK(chown(lock_path(root, "poll.lock"), 0, 0) == 0);
    CHECK_INT(try_once(root), AGT_OK);
}

static void try_as_nobody(const other_side *o) {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        say(o, 's');
        return;
    }
    agt_error err;
    agt_poll_lock *p = NULL;
    agt_status status = agt_poll_lock_try(&p, o->root, &err);
    say(o, status == AGT_IO && !p && err.sys == EACCES ? 'y' : 'n');
}

TEST(lock, without_permission_there_is_an_error_and_no_lock) {
    for (int with = 0; with < 3; with++) { /* the root, the folder, the file cannot be written */
        const char *root = test_folder();
        CHECK(chmod(root, 0755) == 0);
        if (with > 0) {
            char path[1024];
            make_locks(root);
            snprintf(path, sizeof path, "%s/.agent-trace", root);
            CHECK(chmod(path, 0555) == 0);
            if (with == 2) test_write_file(lock_path(root, "poll.lock"), "", 0);
            if (with == 2) CHECK(chmod(lock_path(root, "poll.lock"), 0444) == 0);
            CHECK(chmod(lock_path(root, ""), 0555) == 0);
        } else {
            CHECK(chmod(root, 0555) == 0);
        }
        other o = start(try_as_nobody, root);
        int rc = finish(&o, 0);
        if (o.answer == 's') test_skip("cannot become another user");
        CHECK_INT(o.answer, 'y');
        CHECK_INT(rc, 0);
    }
}

/* ---- the file goes away ---- */

static int deleted_or_replaced(const char *root, const char *name, int how) {
    const char *path = lock_path(root, name);
    if (how == 0) return unlink(path);
    test_write_file(lock_path(root, "new"), "", 0);
    return rename(lock_path(root, "new"), path);
}

TEST(lock, a_lock_file_that_goes_away_while_held_is_noticed_and_healed) {
    for (int how = 0; how < 2; how++) {
        const char *root = test_folder();
        agt_error err;
        agt_fd dir = open_locks(root);
        agt_flock a, b;
        agt__flock_init(&a, os(), dir, "store.lock");
        agt__flock_init(&b, os(), dir, "store.lock");
        CHECK(!agt__flock_still(&a));
        CHECK_OK(agt__flock_take(&a, AGT_TRY, &err), err);
        CHECK(agt__flock_still(&a));
        CHECK_INT(deleted_or_replaced(root, "store.lock", how), 0);
        CHECK(!agt__flock_still(&a));
        CHECK(a.held);
        CHECK_OK(agt__flock_take(&b, AGT_TRY, &err), err); /* the lock that counts now */
        CHECK(agt__flock_still(&b));
        agt__flock_drop(&a);
        CHECK_STATUS(agt__flock_take(&a, AGT_TRY, &err), AGT_BUSY, err);
        agt__flock_drop(&b);
        CHECK_OK(agt__flock_take(&a, AGT_TRY, &err), err);
        CHECK(agt__flock_still(&a));
        CHECK_STATUS(agt__flock_take(&b, AGT_TRY, &err), AGT_BUSY, err);
        agt__flock_close(&a);
        CHECK_OK(agt__flock_take(&b, AGT_TRY, &err), err);
        agt__flock_close(&b);
        agt__flock_close(&b);
        os()->close(NULL, dir);
    }
}

TEST(lock, whoever_holds_a_removed_file_keeps_nobody_out) {
    const char *root = test_folder();
    agt_error err;
    agt_fd dir = open_locks(root);
    agt_flock a, b;
    agt__flock_init(&a, os(), dir, "store.lock");
    agt__flock_init(&b, os(), dir, "store.lock");
    CHECK_OK(agt__flock_take(&b, AGT_TRY, &err), err);
    agt__flock_drop(&b); /* b has the old file open */
    CHECK_OK(agt__flock_take(&a, AGT_TRY, &err), err);
    CHECK_INT(deleted_or_replaced(root, "store.lock", 0), 0);
    CHECK_OK(agt__flock_take(&b, 1000, &err), err);
    CHECK(agt__flock_still(&b) && !agt__flock_still(&a));
    agt__flock_close(&a);
    CHECK(b.held && agt__flock_still(&b));
    agt__flock_close(&b);
    os()->close(NULL, dir);
}

TEST(lock, the_lock_file_itself_is_never_removed_or_replaced) {
    const char *root = test_folder();
    struct stat first, now;
    agt_poll_lock_release(lead(root));
    CHECK(stat(lock_path(root, "poll.lock"), &first) == 0);
    for (int i = 0; i < 5; i++) {
        agt_poll_lock *p = lead(root);
        CHECK(stat(lock_path(root, "poll.lock"), &now) == 0 && now.st_ino == first.st_ino);
        agt_poll_lock_release(p);
        CHECK(stat(lock_path(root, "poll.lock"), &now) == 0 && now.st_ino == first.st_ino);
    }
    CHECK_INT(first.st_mode & 0777, 0600);
    CHECK(stat(lock_path(root, ""), &now) == 0);
    CHECK_INT(now.st_mode & 0777, 0700);
}

/* ---- a shim where the kernel has to answer in a certain way ---- */

typedef struct shim {
    agt_sys sys;
    const char *root;
    int calls, fail_at, fail_rc, injected;
    int lock_rc;          /* every lock answers so, if not 0 */
    int replace;          /* so many times the file is replaced just before it is locked */
    int looks;            /* so many exclusive tries find somebody looking */
    int64_t clock, slept; /* a clock that only sleeping moves, if `fake` */
    int fake, naps;
    int64_t nap[200000];
} shim;

static int shim_fails(shim *s) {
    if (++s->calls != s->fail_at) return 0;
    s->injected++;
    return s->fail_rc;
}
static agt_fd shim_open_root(void *ctx, const char *path) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->open_root(NULL, path);
}
static agt_fd shim_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->open(NULL, dir, name, flags, mode);
}
static int64_t shim_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->pwrite(NULL, fd, buf, n, offset);
}
static int shim_truncate(void *ctx, agt_fd fd, uint64_t size) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->truncate(NULL, fd, size);
}
static int shim_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->stat(NULL, dir, name, out);
}
static int shim_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->fstat(NULL, fd, out);
}
static int shim_rename(void *ctx, agt_fd fd, const char *from, agt_fd td, const char *to,
                       int flag) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->rename(NULL, fd, from, td, to, flag);
}
static int shim_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->make_folder(NULL, dir, name, mode);
}
static int shim_random(void *ctx, void *buf, size_t n) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->random(NULL, buf, n);
}
static int shim_process(void *ctx, agt_process *out) {
    int rc = shim_fails(ctx);
    return rc ? rc : os()->process(NULL, out);
}
static int shim_lock(void *ctx, agt_fd fd, int kind) {
    shim *s = ctx;
    int rc = shim_fails(ctx);
    if (rc) return rc;
    if (kind == AGT_LOCK_EXCLUSIVE) {
        if (s->lock_rc) return s->lock_rc;
        if (s->replace && s->replace--) CHECK(deleted_or_replaced(s->root, "poll.lock", 1) == 0);
        if (s->looks && s->looks--) return AGT_SYS_ERR(AGT_SYS_BUSY, EWOULDBLOCK);
    }
    if (kind == AGT_LOCK_SHARED && s->lock_rc) return s->lock_rc;
    return os()->lock(NULL, fd, kind);
}
static int64_t shim_mono_ns(void *ctx) {
    shim *s = ctx;
    return s->fake ? s->clock : os()->mono_ns(NULL);
}
static void shim_sleep_ns(void *ctx, int64_t ns) {
    shim *s = ctx;
    s->slept += ns;
    if (s->naps < (int)AGT_COUNT(s->nap)) s->nap[s->naps] = ns;
    s->naps++;
    s->clock += ns;
    if (!s->fake) os()->sleep_ns(NULL, ns);
}

static void shim_init(shim *s, const char *root) {
    memset(s, 0, sizeof *s);
    s->root = root;
    s->sys = *os();
    s->sys.ctx = s;
    s->sys.open_root = shim_open_root;
    s->sys.open = shim_open;
    s->sys.pwrite = shim_pwrite;
    s->sys.truncate = shim_truncate;
    s->sys.stat = shim_stat;
    s->sys.fstat = shim_fstat;
    s->sys.rename = shim_rename;
    s->sys.make_folder = shim_make_folder;
    s->sys.random = shim_random;
    s->sys.process = shim_process;
    s->sys.lock = shim_lock;
    s->sys.mono_ns = shim_mono_ns;
    s->sys.sleep_ns = shim_sleep_ns;
    s->sys.watch = NULL; /* a clock that is moved by hand and real watches do not go together */
}

static agt_status acquire_over(shim *s, int32_t timeout_ms, agt_poll_lock **out, agt_error *err) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = timeout_ms;
    o.sys = &s->sys;
    return agt_poll_lock_acquire(out, s->root, &o, err);
}

TEST(lock, a_file_replaced_between_opening_and_locking_is_opened_anew) {
    shim s;
    shim_init(&s, test_folder());
    make_locks(s.root);
    agt_error err;
    agt_poll_lock *p = NULL;
    int before = count_open();
    s.replace = 7;
    CHECK_OK(acquire_over(&s, AGT_TRY, &p, &err), err);
    CHECK_INT(s.replace, 0);
    CHECK_INT(try_once(s.root), AGT_BUSY); /* it is the lock at the name that was taken */
    other o = start(lead_foreign, s.root);
    CHECK_INT(o.answer, 'n');
    CHECK_INT(finish(&o, 0), 0);
    agt_poll_lock_release(p);
    s.replace = 1000000; /* by somebody who does not stop: an error in the end */
    CHECK_STATUS(acquire_over(&s, AGT_TRY, &p, &err), AGT_IO, err);
    CHECK_INT(1000000 - s.replace, 100);
    CHECK_INT(count_open(), before);
}

TEST(lock, somebody_who_only_looks_is_no_leader) {
    shim s;
    shim_init(&s, test_folder());
    agt_error err;
    agt_poll_lock *p = NULL;
    s.looks = 3;
    CHECK_OK(acquire_over(&s, AGT_TRY, &p, &err), err);
    CHECK_INT(s.looks, 0);
    CHECK(s.slept > 0 && s.slept < 1000000);
    agt_poll_lock_release(p);
    s.looks = 1000000; /* but nobody is waited for without end */
    CHECK_STATUS(acquire_over(&s, AGT_TRY, &p, &err), AGT_BUSY, err);
}

TEST(lock, only_the_kernels_yes_is_a_lock) {
    static const struct {
        int cls;
        agt_status want;
    } cases[] = {
        {AGT_SYS_BUSY, AGT_BUSY}, {AGT_SYS_NOSYS, AGT_UNSUPPORTED}, {AGT_SYS_ACCESS, AGT_IO},
        {AGT_SYS_IO, AGT_IO},     {AGT_SYS_NOMEM, AGT_NOMEM},
    };
    shim s;
    shim_init(&s, test_folder());
    int before = count_open();
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        agt_error err;
        agt_poll_lock *p = NULL;
        s.lock_rc = AGT_SYS_ERR(cases[i].cls, 5);
        CHECK_STATUS(acquire_over(&s, AGT_TRY, &p, &err), cases[i].want, err);
        CHECK(p == NULL);
        CHECK_INT(err.status, cases[i].want);
    }
    CHECK_INT(count_open(), before);
}

TEST(lock, every_failing_call_ends_in_an_error_or_in_a_real_lock) {
    const int classes[] = {AGT_SYS_IO, AGT_SYS_NOSPC, AGT_SYS_ACCESS, AGT_SYS_NOENT};
    int failed = 0, tolerated = 0;
    for (size_t c = 0; c < AGT_COUNT(classes); c++) {
        for (int at = 1;; at++) {
            shim s;
            shim_init(&s, test_folder());
            agt_error err;
            agt_poll_lock *p = NULL;
            int before = count_open();
            s.fail_at = at;
            s.fail_rc = AGT_SYS_ERR(classes[c], 99);
            agt_status status = acquire_over(&s, AGT_TRY, &p, &err);
            CHECK_INT(status == AGT_OK, p != NULL);
            if (status == AGT_OK) CHECK_INT(try_once(s.root), AGT_BUSY);
            if (s.injected && status == AGT_OK) tolerated++;
            if (s.injected && status != AGT_OK) failed++;
            s.fail_at = 0;
            agt_poll_lock_release(p);
            CHECK_INT(try_once(s.root), AGT_OK);
            CHECK_INT(count_open(), before);
            if (!s.injected) break;
        }
    }
    CHECK(failed >= 4 * 7);    /* what the lock needs */
    CHECK(tolerated >= 4 * 4); /* what only tells who leads */
    test_saw("failing calls", (uint64_t)(failed + tolerated));
}

typedef struct budget {
    int left;
} budget;

static void *resize_with_budget(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    budget *b = ctx;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return b->left-- > 0 ? realloc(ptr, new_size) : NULL;
}

TEST(lock, without_memory_there_is_no_lock_and_nothing_left_open) {
    const char *root = test_folder();
    int before = count_open(), refused = 0;
    for (int i = 0;; i++) {
        budget b = {i};
        agt_allocator a = {&b, resize_with_budget};
        agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
        o.timeout_ms = AGT_TRY;
        o.allocator = &a;
        agt_error err;
        agt_poll_lock *p = NULL;
        agt_status status = agt_poll_lock_acquire(&p, root, &o, &err);
        if (status == AGT_NOMEM) refused++;
        if (status != AGT_NOMEM) CHECK_OK(status, err);
        agt_poll_lock_release(p);
        CHECK_INT(count_open(), before);
        if (status == AGT_OK) break;
    }
    CHECK(refused >= 1);
}

/* ---- waiting ---- */

TEST(lock, a_try_never_sleeps) {
    shim s;
    shim_init(&s, test_folder());
    agt_error err;
    agt_poll_lock *first = lead(s.root), *p = NULL;
    CHECK_STATUS(acquire_over(&s, AGT_TRY, &p, &err), AGT_BUSY, err);
    CHECK_INT(s.naps, 0);
    agt_poll_lock_release(first);
}

typedef struct naps {
    int delays, uneven, bursts, single, old;
} naps;

/* The shim's sleeps must be delays that double, each followed by its burst of short pauses; between
 * half a second and ten seconds they are short. */
static naps check_naps(const shim *s) {
    naps n = {0};
    int64_t grown = 1000000, at = 0, before = 0;
    int pauses = 0;
    CHECK(s->naps < (int)AGT_COUNT(s->nap));
    for (int i = 0; i < s->naps - 1; i++) { /* the last one may be cut by the deadline */
        int64_t nap = s->nap[i];
        if (nap <= 60000) {
            CHECK(nap >= 30000);
            pauses++;
            at += nap;
            continue;
        }
        bool hopeful = at < (int64_t)10 * 1000000000, old = hopeful && at > 500000000;
        int64_t delay = old ? 4000000 : grown;
        CHECK(nap >= delay / 2 && nap <= delay);
        n.uneven += nap != delay && nap != delay / 2;
        n.old += old;
        if (n.delays++) {
            n.bursts += pauses == 7 + before / 2000000;
            n.single += pauses == 0;
        }
        if (at > (int64_t)11 * 1000000000) CHECK_INT(pauses, 0);
        before = grown;
        grown = grown * 2 < 100000000 ? grown * 2 : 100000000;
        pauses = 0;
        at += nap;
    }
    CHECK(n.uneven > n.delays / 2); /* jitter keeps waiters apart */
    return n;
}

TEST(lock, waits_double_and_become_short_for_who_waited_long_and_end_at_the_deadline) {
    static shim s;
    shim_init(&s, test_folder());
    agt_error err;
    agt_poll_lock *first = lead(s.root), *p = NULL;
    s.fake = 1;
    CHECK_STATUS(acquire_over(&s, 3000, &p, &err), AGT_BUSY, err);
    CHECK_INT(s.slept, (int64_t)3000 * 1000000);
    naps n = check_naps(&s);
    CHECK(n.delays - n.old > 8 && n.delays - n.old < 20);
    CHECK(n.old > 2500 / 8 && n.old < 2500 / 4);
    CHECK_INT(n.single, 0);
    CHECK(n.bursts >= n.delays - 2);
    s.slept = s.naps = 0;
    CHECK_STATUS(acquire_over(&s, 30000, &p, &err), AGT_BUSY, err);
    CHECK_INT(s.slept, (int64_t)30000 * 1000000);
    n = check_naps(&s);
    CHECK(n.single > 150); /* 20 s of waiting for somebody who leads */
    CHECK(n.bursts + n.single >= n.delays - 2);
    s.slept = s.naps = 0;
    CHECK_STATUS(acquire_over(&s, 0, &p, &err), AGT_BUSY, err);
    CHECK_INT(s.slept, (int64_t)AGT_TIMEOUT_DEFAULT * 1000000);
    s.slept = s.naps = 0;
    CHECK_STATUS(acquire_over(&s, 1, &p, &err), AGT_BUSY, err);
    CHECK_INT(s.slept, 1000000);
    agt_poll_lock_release(first);
    CHECK_OK(acquire_over(&s, 1, &p, &err), err);
    agt_poll_lock_release(p);
}

static volatile sig_atomic_t ticks;
static void on_tick(int sig) {
    (void)sig;
    ticks++;
}

TEST(lock, signals_neither_shorten_nor_break_a_wait) {
    const char *root = test_folder();
    other o = start(lead_until_told, root);
    struct sigaction sa = {.sa_handler = on_tick}, old; /* without SA_RESTART */
    sigaction(SIGALRM, &sa, &old);
    struct itimerval every = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    ticks = 0;
    setitimer(ITIMER_REAL, &every, NULL);
    agt_error err;
    agt_poll_lock *p = NULL;
    agt_poll_lock_options opts = AGT_POLL_LOCK_OPTIONS_INIT;
    opts.timeout_ms = 60;
    int64_t before = os()->mono_ns(NULL);
    agt_status status = agt_poll_lock_acquire(&p, root, &opts, &err);
    int64_t took = os()->mono_ns(NULL) - before;
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
    CHECK_STATUS(status, AGT_BUSY, err);
    CHECK(took >= 60 * 1000000);
    CHECK(ticks > 5);
    CHECK_INT(finish(&o, 0), 0);
}

static void lead_for_a_moment(const other_side *o) {
    agt_poll_lock *p = lead(o->root);
    say(o, 'y');
    os()->sleep_ns(NULL, 30 * 1000000);
    agt_poll_lock_release(p);
}

TEST(lock, a_waiter_gets_the_lock_when_it_is_released) {
    const int32_t timeouts[] = {0, 20000, AGT_FOREVER};
    for (size_t i = 0; i < AGT_COUNT(timeouts); i++) {
        const char *root = test_folder();
        other o = start(lead_for_a_moment, root);
        agt_poll_lock_options opts = AGT_POLL_LOCK_OPTIONS_INIT;
        opts.timeout_ms = timeouts[i];
        agt_error err;
        agt_poll_lock *p = NULL;
        CHECK_OK(agt_poll_lock_acquire(&p, root, &opts, &err), err);
        agt_poll_lock_release(p);
        CHECK_INT(finish(&o, 0), 0);
    }
}

TEST(lock, options_that_make_no_sense_are_refused) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *p = NULL;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = -3;
    CHECK_STATUS(agt_poll_lock_acquire(&p, root, &o, &err), AGT_INVALID, err);
    o.timeout_ms = 0;
    o.size = 1;
    CHECK_STATUS(agt_poll_lock_acquire(&p, root, &o, &err), AGT_INVALID, err);
    CHECK_OK(agt_poll_lock_acquire(&p, root, NULL, NULL), err);
    agt_poll_lock_release(p);
    agt_poll_lock_release(NULL);
    agt_lock_holder h;
    memset(&h, 0, sizeof h);
    CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_poll_lock_try(&p, "/nowhere", NULL), AGT_NOT_FOUND, err);
}

/* ---- who leads ---- */

TEST(lock, who_leads_is_told_and_remembered) {
    const char *root = test_folder();
    agt_error err;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    CHECK_STATUS(agt_poll_lock_holder("/nowhere", &h, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_NOT_FOUND, err);
    make_locks(root);
    CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_NOT_FOUND, err);
    CHECK(access(lock_path(root, "poll.lock"), F_OK) != 0); /* looking makes nothing */

    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.program = "test\x1b[31m \xc3\xa4 runner";
    agt_poll_lock *p = NULL;
    int64_t before = os()->now_unix_ms(NULL);
    CHECK_OK(agt_poll_lock_acquire(&p, root, &o, &err), err);
    for (int held = 1; held >= 0; held--) {
        memset(&h.held, 0xee, sizeof h - offsetof(agt_lock_holder, held));
        CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
        CHECK_INT(h.size, sizeof h);
        CHECK_INT(h.held, held);
        CHECK_INT(h.pid, getpid());
        CHECK(h.since_unix_ms >= before && h.since_unix_ms <= os()->now_unix_ms(NULL));
        CHECK_STR(h.host, host);
        CHECK_STR(h.program, "test?[31m \xc3\xa4 runner");
        if (held) agt_poll_lock_release(p);
    }
    agt_lock_holder small = AGT_LOCK_HOLDER_INIT; /* a caller that knows fewer fields */
    small.size = offsetof(agt_lock_holder, since_unix_ms);
    small.since_unix_ms = 12345;
    CHECK_OK(agt_poll_lock_holder(root, &small, &err), err);
    CHECK_INT(small.pid, getpid());
    CHECK_INT(small.since_unix_ms, 12345);
    CHECK_INT(small.size, offsetof(agt_lock_holder, since_unix_ms));

#if defined(__linux__) && !defined(AGENT_TRACE_PLAIN_POSIX)
    agt_process self; /* without a name of its own the process' is told */
    CHECK_INT(os()->process(NULL, &self), 0);
    agt_poll_lock_release(lead(root));
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_STR(h.program, self.program);
#endif
}

TEST(lock, the_info_file_tells_one_time_of_leading_from_another) {
    const char *root = test_folder();
    agt_holder h[2];
    for (int i = 0; i < 2; i++) {
        size_t pid_len, info_len;
        agt_poll_lock_release(lead(root));
        unsigned char *pid = test_read_file(lock_path(root, "poll.lock"), &pid_len);
        unsigned char *info = test_read_file(lock_path(root, "poll.lock.info"), &info_len);
        agt__holder_parse(&h[i], pid, pid_len, info, info_len);
        free(pid);
        free(info);
        CHECK_INT(h[i].pid, getpid());
        CHECK_INT(strlen(h[i].token), 32);
    }
    CHECK(strcmp(h[0].token, h[1].token) != 0);
    CHECK(h[0].start == h[1].start);
}

static void check_holder_text(const char *s, size_t size) {
    size_t n = 0;
    while (n < size && s[n])
        n++;
    CHECK(n < size);
    CHECK_INT(agt__utf8_valid(s, n), n);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        CHECK(c >= 0x20 && c != 0x7f);
        if (c == 0xc2) CHECK((unsigned char)s[i + 1] >= 0xa0);
    }
}

static void check_holder(const agt_holder *h) {
    CHECK(h->pid >= 0 && h->pid <= INT32_MAX);
    CHECK(h->since_unix_ms >= 0 && h->since_unix_ms <= AGT_TIME_MAX);
    check_holder_text(h->boot, sizeof h->boot);
    check_holder_text(h->host, sizeof h->host);
    check_holder_text(h->program, sizeof h->program);
    check_holder_text(h->token, sizeof h->token);
}

TEST(lock, a_holders_record_is_read_with_care) {
    static const struct {
        const char *pid, *info;
        int64_t want_pid, want_since;
        const char *want_program;
    } cases[] = {
        {"123", "pid=123\nsince=5\nprogram=x\n", 123, 5, "x"},
        {"123", "program=x\nsince=5\npid=123", 123, 5, "x"},
        {" 123\r\n", "pid=123\nunknown=1\n\n=\nprogram=x y=z\nprogram=w", 123, 0, "x y=z"},
        {"123", "pid=124\nsince=5\nprogram=x\n", 123, 0, ""},
        {"123", "since=5\nprogram=x\n", 123, 0, ""},
        {"123", "", 123, 0, ""},
        {"123", "pid=123\nsince=-5\nprogram=\n", 123, 0, ""},
        {"123", "pid=123\nsince=5x\nprograms=x\nprogra=x", 123, 0, ""},
        {"123", "pid=123\nsince=999999999999999999\n", 123, 0, ""},
        {"123", "pid=123\nsince=99999999999999999999999999\n", 123, 0, ""},
        {"123",
         "pid=123\nprogram=a\x01"
         "b\x7f\xc2\x9b"
         "31m\xff\n",
         123, 0, "a?b???31m?"},
        {"", "pid=123\nprogram=x\n", 0, 0, ""},
        {"0", "pid=0\nprogram=x\n", 0, 0, ""},
        {"-1", "pid=-1\nprogram=x\n", 0, 0, ""},
        {"12 3", "pid=123\nprogram=x\n", 0, 0, ""},
        {"+123", "pid=123\nprogram=x\n", 0, 0, ""},
        {"2147483647", "pid=2147483647\nprogram=x", 2147483647, 0, "x"},
        {"2147483648", "pid=2147483648\nprogram=x", 0, 0, ""},
        {"99999999999999999999", "", 0, 0, ""},
    };
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        agt_holder h;
        char info[256];
        int n = snprintf(info, sizeof info, "%s\ntoken=t\nend=t\n", cases[i].info);
        agt__holder_parse(&h, cases[i].pid, strlen(cases[i].pid), info, (size_t)n);
        check_holder(&h);
        if (h.pid != cases[i].want_pid || h.since_unix_ms != cases[i].want_since ||
            strcmp(h.program, cases[i].want_program) != 0)
            test_fail(__FILE__, __LINE__, "case %zu: pid %lld, since %lld, program \"%s\"", i,
                      (long long)h.pid, (long long)h.since_unix_ms, h.program);
    }
    test_saw("holder records", AGT_COUNT(cases));
}

TEST(lock, an_info_that_is_not_of_one_piece_is_not_believed) {
    static const struct {
        const char *info;
        int whole;
    } cases[] = {
        {"pid=7\nprogram=x\ntoken=ab\nend=ab\n", 1},
        {"pid=7\nprogram=x\ntoken=ab\nend=ab", 1},
        {"pid=7\nprogram=x\ntoken=\nend=\n", 1},
        {"pid=7\nprogram=x\ntoken=ab\nend=a", 0},
        {"pid=7\nprogram=x\ntoken=ab\nend=abc\n", 0},
        {"pid=7\nprogram=x\ntoken=ab\nend=cd\n", 0},
        {"pid=7\nprogram=x\ntoken=ab\n", 0},
        {"pid=7\nprogram=x\nend=ab\n", 0},
        {"pid=7\nprogram=x\n", 0},
    };
    for (size_t i = 0; i < AGT_COUNT(cases); i++) {
        agt_holder h;
        agt__holder_parse(&h, "7", 1, cases[i].info, strlen(cases[i].info));
        CHECK_INT(h.pid, 7);
        CHECK_STR(h.program, cases[i].whole ? "x" : "");
    }
}

TEST(lock, the_info_file_is_not_written_through_links) {
    agt_error err;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    for (int hard = 0; hard < 2; hard++) {
        const char *root = test_folder();
        char victim[1024];
        snprintf(victim, sizeof victim, "%s/victim", root);
        test_write_file(victim, "precious", 8);
        make_locks(root);
        const char *path = lock_path(root, "poll.lock.info");
        CHECK_INT(hard ? link(victim, path) : symlink(victim, path), 0);
        CHECK_INT(try_once(root), AGT_OK);
        CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
        CHECK_INT(h.pid, getpid());
        CHECK_STR(h.program, "");
        size_t len;
        unsigned char *text = test_read_file(victim, &len);
        CHECK_BYTES(text, len, "precious", 8);
        free(text);
    }
}

TEST(lock, a_shorter_pid_leaves_nothing_of_a_longer_one) {
    const char *root = test_folder();
    make_locks(root);
    test_write_file(lock_path(root, "poll.lock"), "2147483647", 10);
    agt_poll_lock_release(lead(root));
    size_t len;
    char want[24];
    unsigned char *text = test_read_file(lock_path(root, "poll.lock"), &len);
    snprintf(want, sizeof want, "%ld", (long)getpid());
    CHECK_BYTES(text, len, want, strlen(want));
    free(text);
}

TEST(lock, a_long_program_name_is_cut_between_characters) {
    char info[256] = "pid=7\nprogram=";
    for (int lead_in = 0; lead_in < 4; lead_in++) {
        char name[128] = "xxx";
        name[lead_in] = 0;
        while (strlen(name) < 100)
            strcat(name, "\xe2\x82\xac"); /* three bytes a character */
        snprintf(info, sizeof info, "pid=7\nprogram=%s\ntoken=\nend=\n", name);
        agt_holder h;
        agt__holder_parse(&h, "7", 1, info, strlen(info));
        size_t n = strlen(h.program);
        CHECK(n > 60 && n < 64);
        CHECK(memcmp(h.program, name, n) == 0);
        CHECK(strchr(h.program, '?') == NULL);
        check_holder(&h);
    }
}

TEST(lock, what_is_written_of_a_holder_is_read_back) {
    for (int round = 0; round < 2000; round++) {
        agt_holder in, out;
        memset(&in, 0, sizeof in);
        in.pid = 1 + (int64_t)test_random_below(INT32_MAX);
        in.start = test_random() >> 8;
        in.since_unix_ms = (int64_t)test_random_below((uint64_t)AGT_TIME_MAX);
        size_t n = test_random_below(sizeof in.program);
        for (size_t i = 0; i < n; i++)
            in.program[i] = (char)(0x20 + test_random_below(95));
        memset(in.host, 'h', test_random_below(sizeof in.host));
        memset(in.boot, 'b', test_random_below(sizeof in.boot));
        memset(in.token, 'f', test_random_below(sizeof in.token));
        char pid[24], info[AGT_HOLDER_TEXT];
        snprintf(pid, sizeof pid, "%lld", (long long)in.pid);
        size_t len = agt__holder_format(&in, info);
        CHECK(len > 0);
        agt__holder_parse(&out, pid, strlen(pid), info, len);
        CHECK(memcmp(&in, &out, sizeof in) == 0);
        for (int k = 0; k < 4; k++) /* and survives damage */
            info[test_random_below(len)] = (char)test_random();
        agt__holder_parse(&out, pid, strlen(pid), info, test_random_below(len + 1));
        check_holder(&out);
    }
}

TEST(lock, rubbish_in_the_lock_files_disturbs_neither_leading_nor_looking) {
    const char *root = test_folder();
    make_locks(root);
    for (int round = 0; round < 50; round++) {
        unsigned char junk[2000];
        size_t n = test_random_below(sizeof junk);
        for (size_t i = 0; i < n; i++)
            junk[i] = (unsigned char)test_random();
        test_write_file(lock_path(root, "poll.lock"), junk, test_random_below(n + 1));
        test_write_file(lock_path(root, "poll.lock.info"), junk, n);
        agt_error err;
        agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
        CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
        CHECK_INT(h.held, 0);
        CHECK_INT(try_once(root), AGT_OK);
        CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
        CHECK_INT(h.pid, getpid());
    }
}

/* ---- many at once ---- */

typedef struct looker {
    const char *root;
    atomic_int stop;
    uint64_t looked;
} looker;

static void *look_all_the_time(void *arg) {
    looker *l = arg;
    while (!atomic_load(&l->stop)) {
        agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
        agt_status status = agt_poll_lock_holder(l->root, &h, NULL);
        if (status == AGT_OK) l->looked++;
    }
    return NULL;
}

TEST(lock, looking_who_leads_disturbs_nobody) {
    looker l = {.root = test_folder()};
    pthread_t t[2];
    looker m = l;
    CHECK_INT(pthread_create(&t[0], NULL, look_all_the_time, &l), 0);
    CHECK_INT(pthread_create(&t[1], NULL, look_all_the_time, &m), 0);
    int bad = 0;
    for (int i = 0; i < 1000; i++)
        bad += try_once(l.root) != AGT_OK;
    atomic_store(&l.stop, 1);
    atomic_store(&m.stop, 1);
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    /* some 16 without care; a looker that is put aside in the wrong moment may still cost one */
    CHECK(bad <= 3);
    CHECK(l.looked > 0 && m.looked > 0);
}

/* Memory that all the processes share: who is inside, and what each of them did. */
typedef struct witness {
    _Atomic int inside;      /* pid of who holds the lock, 0 nobody */
    _Atomic int doomed[256]; /* pids that were killed: they may have died inside */
    _Atomic int doomed_count;
    _Atomic int overlaps;
    volatile uint64_t counter; /* read, wait, written: lost updates show an overlap too */
    _Atomic uint64_t done;
    _Atomic uint64_t busy;
    _Atomic int left[8];
} witness;

static bool is_doomed(witness *w, int pid) {
    int n = atomic_load(&w->doomed_count);
    for (int i = 0; i < n; i++)
        if (atomic_load(&w->doomed[i]) == pid) return true;
    return false;
}

/* Under the lock. */
static void be_inside(witness *w, int id, unsigned i) {
    int before = atomic_exchange(&w->inside, id);
    if (before != 0 && !is_doomed(w, before)) atomic_fetch_add(&w->overlaps, 1);
    uint64_t n = w->counter;
    if (i % 16 == 0) sched_yield();
    w->counter = n + 1;
    atomic_fetch_add(&w->done, 1);
    if (atomic_exchange(&w->inside, 0) != id) atomic_fetch_add(&w->overlaps, 1);
}

static void contend(const char *root, witness *w, int slot) {
    agt_error err;
    agt_fd dir = open_locks(root);
    agt_flock l;
    agt__flock_init(&l, os(), dir, "store.lock");
    for (unsigned i = 0; atomic_load(&w->left[slot]) > 0; i++) {
        agt_status status = agt__flock_take(&l, i % 8 ? AGT_FOREVER : AGT_TRY, &err);
        if (status == AGT_BUSY) {
            atomic_fetch_add(&w->busy, 1);
            continue;
        }
        if (status != AGT_OK) _exit(97);
        be_inside(w, (int)getpid(), i);
        atomic_fetch_sub(&w->left[slot], 1);
        if (!agt__flock_still(&l)) _exit(96);
        if (i % 64 == 0)
            agt__flock_close(&l);
        else
            agt__flock_drop(&l);
    }
    _exit(0);
}

static pid_t start_contender(const char *root, witness *w, int slot) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(100);
        contend(root, w, slot);
    }
    return pid;
}

TEST(lock, never_two_of_eight_processes_hold_it_though_some_are_killed) {
    const char *root = test_folder();
    make_locks(root);
    witness *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(w != MAP_FAILED);
    memset(w, 0, sizeof *w);
    pid_t pids[8];
    fflush(NULL);
    for (int i = 0; i < 8; i++) {
        atomic_store(&w->left[i], 2000);
        pids[i] = start_contender(root, w, i);
    }
    int kills = 0, killed_inside = 0;
    while (kills < 40 && atomic_load(&w->done) < 14000) {
        os()->sleep_ns(NULL, (int64_t)(1000000 + test_random_below(4000000)));
        int slot = (int)test_random_below(8);
        if (atomic_load(&w->left[slot]) <= 0) continue;
        /* stopped first, then written down, then killed: whoever takes the lock after its death
         * finds it written down */
        kill(pids[slot], SIGSTOP);
        atomic_store(&w->doomed[kills], (int)pids[slot]);
        atomic_fetch_add(&w->doomed_count, 1);
        kill(pids[slot], SIGKILL);
        killed_inside += atomic_load(&w->inside) == (int)pids[slot];
        int status;
        CHECK(waitpid(pids[slot], &status, 0) == pids[slot]);
        CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
              (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        kills++;
        pids[slot] = start_contender(root, w, slot);
    }
    for (int i = 0; i < 8; i++) {
        int status;
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        CHECK(WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), 0);
    }
    uint64_t done = atomic_load(&w->done), counter = w->counter;
    CHECK_INT(atomic_load(&w->overlaps), 0);
    CHECK(kills > 0);
    /* a killed one may have counted in one place and not in the other */
    CHECK(done >= 16000 && done <= 16000 + (uint64_t)kills);
    CHECK(counter >= done && counter <= done + (uint64_t)kills);
    test_saw("takes", done);
    test_saw("refusals", atomic_load(&w->busy));
    test_saw("kills", (uint64_t)kills);
    test_saw("kills of a holder", (uint64_t)killed_inside);
    CHECK_INT(try_once(root), AGT_OK);
    munmap(w, sizeof *w);
}

typedef struct crew {
    const char *root;
    witness *w;
    int id;
    int wrong;
} crew;

static void *contend_in_a_thread(void *arg) {
    crew *c = arg;
    for (unsigned i = 0; i < 100; i++) {
        agt_poll_lock *p = NULL;
        agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
        o.timeout_ms = AGT_FOREVER;
        if (agt_poll_lock_acquire(&p, c->root, &o, NULL) != AGT_OK) c->wrong++;
        be_inside(c->w, c->id, i);
        agt_poll_lock_release(p);
    }
    return NULL;
}

TEST(lock, never_two_threads_of_a_process_hold_it) {
    witness *w = calloc(1, sizeof *w);
    crew c[6];
    pthread_t t[6];
    const char *root = test_folder();
    for (int i = 0; i < 6; i++) {
        c[i] = (crew){root, w, i + 1, 0};
        CHECK_INT(pthread_create(&t[i], NULL, contend_in_a_thread, &c[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(t[i], NULL);
        CHECK_INT(c[i].wrong, 0);
    }
    CHECK_INT(atomic_load(&w->overlaps), 0);
    CHECK_INT(w->counter, 6 * 100);
    free(w);
}

TEST(lock, a_handle_that_holds_answers_busy_to_itself) {
    agt_error err;
    agt_fd dir = open_locks(test_folder());
    agt_flock l;
    agt__flock_init(&l, os(), dir, "store.lock");
    CHECK_OK(agt__flock_take(&l, 0, &err), err);
    CHECK_STATUS(agt__flock_take(&l, AGT_FOREVER, &err), AGT_BUSY, err);
    CHECK(l.held);
    agt__flock_drop(&l);
    agt__flock_drop(&l);
    CHECK_OK(agt__flock_take(&l, AGT_TRY, &err), err);
    agt__flock_close(&l);
    os()->close(NULL, dir);
}

TEST(lock, taking_and_dropping_an_open_lock_makes_three_calls) {
    shim s;
    shim_init(&s, test_folder());
    agt_error err;
    agt_fd dir = open_locks(s.root);
    agt_flock l;
    agt__flock_init(&l, &s.sys, dir, "store.lock");
    CHECK_OK(agt__flock_take(&l, 0, &err), err);
    agt__flock_drop(&l);
    s.calls = 0;
    CHECK_OK(agt__flock_take(&l, 0, &err), err);
    CHECK_INT(s.calls, 2);
    agt__flock_drop(&l);
    CHECK_INT(s.calls, 3);
    agt__flock_close(&l);
    os()->close(NULL, dir);
}
