/* The machine in memory is itself tested: it answers as the operating system does, its faults
 * inject, its power cuts reach the states they promise and no others. */
#include "fault.h"
#include "machine.h"
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW  (AGT_O_READ | AGT_O_WRITE)
#define RWC (RW | AGT_O_CREATE)

/* ---- against the operating system ---- */

/* One side of the comparison: a folder and what is open. */
struct side {
    const agt_sys *sys;
    agt_fd dir[4], file[4];
    uint32_t file_flags[4];
};

static const char *const some_names[] = {"a", "b", "c", "d", "link"};

static const char *some_name(void) {
    return some_names[test_random_below(5)];
}

static int count_name(void *ctx, const char *name) {
    (void)name;
    return ++*(int *)ctx > 1000 ? -1 : 0;
}

struct step {
    int what, i, j, flag;
    const char *a, *b;
    uint64_t n, at;
};

static int64_t step_file(struct side *s, const struct step *t) {
    unsigned char buf[9000];
    agt_fd fd = s->file[t->i];
    uint64_t sum = 0;
    switch (t->what) {
    case 0: {
        int64_t n = s->sys->pread(s->sys->ctx, fd, buf, (size_t)t->n, t->at);
        for (int64_t i = 0; i < n; i++)
            sum = sum * 31 + buf[i];
        return n < 0 ? n : (int64_t)(sum & 0xffffffff) * 16384 + n;
    }
    case 1:
    case 2:
        memset(buf, (int)(t->at % 3 ? t->at % 251 : 0), sizeof buf);
        return s->sys->pwrite(s->sys->ctx, fd, buf, (size_t)t->n, t->at);
    case 3: return s->sys->truncate(s->sys->ctx, fd, t->at);
    case 4: return s->sys->sync(s->sys->ctx, fd);
    case 5: return s->sys->set_mode(s->sys->ctx, fd, 0600 | (uint32_t)(t->n & 0177));
    case 6: return s->sys->lock(s->sys->ctx, fd, t->flag);
    default: return s->sys->has_writer(s->sys->ctx, fd);
    }
}

static int64_t look(const struct side *s, agt_fd dir, const char *name) {
    agt_stat st;
    int rc = s->sys->stat(s->sys->ctx, dir, name, &st);
    if (rc < 0) return rc;
    uint64_t size = st.kind == AGT_FILE_REGULAR ? st.size : 0;
    uint64_t links = st.kind == AGT_FILE_REGULAR ? st.links : 0;
    uint64_t mode = st.kind == AGT_FILE_LINK ? 0 : st.mode;
    return (int64_t)(size << 24 | links << 16 | mode << 3 | st.kind);
}

static int64_t reopen(struct side *s, const struct step *t) {
    uint32_t flags = (uint32_t)t->flag;
    agt_fd fd = flags & AGT_O_FOLDER ? s->sys->walk(s->sys->ctx, s->dir[t->i], t->a)
                                     : s->sys->open(s->sys->ctx, s->dir[t->i], t->a, flags, 0644);
    if (fd < 0) return fd;
    if (flags & AGT_O_FOLDER) {
        if (t->j == 0)
            s->sys->close(s->sys->ctx, fd); /* the root stays */
        else {
            s->sys->close(s->sys->ctx, s->dir[t->j]);
            s->dir[t->j] = fd;
        }
        return 0;
    }
    s->sys->close(s->sys->ctx, s->file[t->j]);
    s->file[t->j] = fd;
    return 0;
}

static int64_t step_names(struct side *s, const struct step *t) {
    agt_fd d = s->dir[t->i], e = s->dir[t->j];
    int n = 0;
    int64_t rc;
    switch (t->what) {
    case 8: return s->sys->rename(s->sys->ctx, d, t->a, e, t->b, t->flag);
    case 9: return s->sys->link(s->sys->ctx, d, t->a, e, t->b);
    case 10: return s->sys->remove(s->sys->ctx, d, t->a);
    case 11: return s->sys->remove_folder(s->sys->ctx, d, t->a);
    case 12: return s->sys->make_folder(s->sys->ctx, d, t->a, 0755);
    case 13: return look(s, d, t->a);
    case 14: rc = s->sys->list(s->sys->ctx, d, count_name, &n); return rc < 0 ? rc : n;
    case 15: return s->sys->sync(s->sys->ctx, d);
    default: return reopen(s, t);
    }
}

static struct step some_step(void) {
    static const int flags[] = {AGT_O_READ,
                                RW,
                                RWC,
                                RWC | AGT_O_EXCL,
                                RWC | AGT_O_TRUNCATE,
                                AGT_O_WRITE,
                                AGT_O_WRITE | AGT_O_CREATE,
                                AGT_O_READ | AGT_O_FOLDER,
                                AGT_O_READ | AGT_O_FOLDER,
                                AGT_O_READ | AGT_O_FOLDER};
    struct step t = {.what = (int)test_random_below(22),
                     .i = (int)test_random_below(4),
                     .j = (int)test_random_below(4),
                     .flag = (int)test_random_below(3),
                     .a = some_name(),
                     .b = some_name(),
                     .n = test_random_below(9000),
                     .at = test_random_below(20000)};
    if (t.what > 15) t.flag = flags[test_random_below(10)];
    if (t.what == 7 && test_random_below(2)) t.at = 0;
    return t;
}

/* Kind, mode, size, links and bytes of everything, in the order of names. */
static void describe(struct side *s, agt_fd dir, const char *under, char *out, size_t size,
                     int depth) {
    for (int i = 0; i < 5 && depth < 6; i++) {
        char path[256], line[320];
        int64_t got = look(s, dir, some_names[i]);
        if (got < 0) continue;
        snprintf(path, sizeof path, "%.200s/%s", under, some_names[i]);
        uint64_t sum = 0;
        if ((got & 7) == AGT_FILE_REGULAR) {
            unsigned char buf[512];
            int64_t n, at = 0;
            agt_fd fd = s->sys->open(s->sys->ctx, dir, some_names[i], AGT_O_READ, 0);
            CHECK(fd >= 0);
            while ((n = s->sys->pread(s->sys->ctx, fd, buf, sizeof buf, (uint64_t)at)) > 0) {
                for (int64_t j = 0; j < n; j++)
                    sum = sum * 31 + buf[j];
                at += n;
            }
            s->sys->close(s->sys->ctx, fd);
        }
        snprintf(line, sizeof line, "%s %llx %llx\n", path, (unsigned long long)got,
                 (unsigned long long)sum);
        if (strlen(out) + strlen(line) + 1 < size) strcat(out, line);
        if ((got & 7) != AGT_FILE_FOLDER) continue;
        agt_fd sub = s->sys->walk(s->sys->ctx, dir, some_names[i]);
        CHECK(sub >= 0);
        describe(s, sub, path, out, size, depth + 1);
        s->sys->close(s->sys->ctx, sub);
    }
}

static void open_side(struct side *s, const agt_sys *sys, const char *root) {
    s->sys = sys;
    for (int i = 0; i < 4; i++) {
        s->dir[i] = sys->open_root(sys->ctx, root);
        CHECK(s->dir[i] >= 0);
    }
    for (int i = 0; i < 4; i++) {
        s->file[i] = sys->open(sys->ctx, s->dir[0], "a", RWC, 0644);
        CHECK(s->file[i] >= 0);
    }
}

static void close_side(struct side *s) {
    for (int i = 0; i < 4; i++) {
        s->sys->close(s->sys->ctx, s->dir[i]);
        s->sys->close(s->sys->ctx, s->file[i]);
    }
}

/* Results are compared by class: codes differ between kernels. */
static int64_t result_class(int64_t rc) {
    return rc < 0 ? -AGT_SYS_CLASS(rc) : rc;
}

TEST(machine, it_answers_as_the_operating_system_does) {
    static const char *const what[] = {
        "pread", "pwrite", "pwrite", "truncate", "sync", "mode", "lock",        "writer", "rename",
        "link",  "remove", "rmdir",  "mkdir",    "stat", "list", "sync folder", "open"};
    static char ours[65536], theirs[65536];
    uint64_t steps = 0, worked = 0, refused = 0;
    int rounds = test_all() ? 200 : 12;
    for (int round = 0; round < rounds; round++) {
        machine_settings set = {.privileged = geteuid() == 0, .seed = test_random()};
        machine *m = machine_new(&set);
        machine_process *p = machine_process_new(m, "test");
        machine_trace_calls(m, 8);
        const char *root = test_folder();
        char link[300];
        struct side a, b;
        snprintf(link, sizeof link, "%s/link", root);
        CHECK_INT(symlink("a", link), 0);
        CHECK_INT(machine_symlink(m, "a", "/link"), 0);
        open_side(&a, machine_sys(p), "/");
        open_side(&b, agt_sys_os(), root);
        for (int i = 0; i < 500; i++, steps++) {
            struct step t = some_step();
            int64_t x = t.what < 8 ? step_file(&a, &t) : step_names(&a, &t);
            int64_t y = t.what < 8 ? step_file(&b, &t) : step_names(&b, &t);
            /* a lease tells of any process' writers; a real test folder has no others */
            if (result_class(x) != result_class(y)) {
                machine_print_calls(m, stdout);
                test_fail(__FILE__, __LINE__, "%s(%s, %s, %d, %d, %d): machine %lld, system %lld",
                          what[t.what > 16 ? 16 : t.what], t.a, t.b, t.i, t.j, t.flag,
                          (long long)result_class(x), (long long)result_class(y));
            }
            worked += x >= 0;
            refused += x < 0;
            if (i % 100) continue;
            const char *wrong = machine_verify(m);
            if (wrong) test_fail(__FILE__, __LINE__, "the machine's books: %s", wrong);
            ours[0] = theirs[0] = 0;
            describe(&a, a.dir[0], "", ours, sizeof ours, 0);
            describe(&b, b.dir[0], "", theirs, sizeof theirs, 0);
            CHECK_STR(ours, theirs);
        }
        close_side(&a);
        close_side(&b);
        CHECK_INT(machine_process_open_files(p), 0);
        machine_free(m);
    }
    test_saw("steps", steps);
    CHECK(worked > steps / 5 && refused > steps / 5);
}

/* ---- small words for the tests below: one process, folder "/" ---- */

struct box {
    machine *m;
    machine_process *p;
    const agt_sys *sys;
    agt_fd root;
};

static struct box new_box_of(machine *m) {
    struct box b = {.m = m};
    b.p = machine_process_new(m, "test");
    b.sys = machine_sys(b.p);
    b.root = b.sys->open_root(b.sys->ctx, "/");
    CHECK(b.root >= 0);
    return b;
}

static struct box new_box(const machine_settings *set) {
    return new_box_of(machine_new(set));
}

static agt_fd open_in(const struct box *b, agt_fd dir, const char *name, uint32_t flags) {
    return b->sys->open(b->sys->ctx, dir, name, flags, 0644);
}

static void put(const struct box *b, agt_fd fd, const char *text, uint64_t at) {
    CHECK_INT(b->sys->pwrite(b->sys->ctx, fd, text, strlen(text), at), strlen(text));
}

/* Makes or overwrites a file, without sync. */
static void save(const struct box *b, agt_fd dir, const char *name, const char *text, bool sync) {
    agt_fd fd = open_in(b, dir, name, RWC | AGT_O_TRUNCATE);
    CHECK(fd >= 0);
    put(b, fd, text, 0);
    if (sync) CHECK_INT(b->sys->sync(b->sys->ctx, fd), 0);
    b->sys->close(b->sys->ctx, fd);
}

static int rename_in(const struct box *b, agt_fd d, const char *from, agt_fd e, const char *to) {
    return b->sys->rename(b->sys->ctx, d, from, e, to, AGT_RENAME_REPLACE);
}

#define CHECK_CLASS(call, want)                                                                    \
    do {                                                                                           \
        int64_t rc_ = (int64_t)(call);                                                             \
        CHECK_INT(rc_ < 0 ? AGT_SYS_CLASS(rc_) : 0, want);                                         \
    } while (0)

static void check_books(const machine *m) {
    const char *wrong = machine_verify(m);
    if (wrong) test_fail(__FILE__, __LINE__, "the machine's books: %s", wrong);
}

static void check_text(const machine *m, const char *path, const char *want) {
    char *got = machine_get(m, path, NULL);
    if (want)
        CHECK_STR(got, want);
    else
        CHECK(!got);
    free(got);
}

/* ---- files, names, processes ---- */

TEST(machine, every_kind_of_refusal_has_its_class) {
    struct box b = new_box(NULL);
    const agt_sys *s = b.sys;
    char name[300];
    agt_stat st;
    memset(name, 'n', sizeof name);
    name[256] = 0;
    CHECK_INT(machine_make_folder(b.m, "/dir/sub"), 0);
    CHECK_INT(machine_put_text(b.m, "/file", "x"), 0);
    CHECK_INT(machine_symlink(b.m, "/dir", "/link"), 0);
    CHECK_INT(machine_fifo(b.m, "/fifo"), 0);
    CHECK_INT(machine_mount(b.m, "/disk"), 0);
    CHECK_INT(machine_put_text(b.m, "/secret", "x"), 0);
    CHECK_INT(machine_set_mode(b.m, "/secret", 0), 0);
    agt_fd disk = s->walk(s->ctx, b.root, "disk");
    CHECK(disk >= 0);
    CHECK_CLASS(open_in(&b, b.root, "none", AGT_O_READ), AGT_SYS_NOENT);
    CHECK_CLASS(open_in(&b, b.root, "file", RWC | AGT_O_EXCL), AGT_SYS_EXIST);
    CHECK_CLASS(open_in(&b, b.root, "link", AGT_O_READ), AGT_SYS_LOOP);
    CHECK_CLASS(open_in(&b, b.root, "link", RWC), AGT_SYS_LOOP);
    CHECK_CLASS(open_in(&b, b.root, "dir", RW), AGT_SYS_ISDIR);
    CHECK_CLASS(open_in(&b, b.root, "file", AGT_O_READ | AGT_O_FOLDER), AGT_SYS_NOTDIR);
    CHECK_CLASS(open_in(&b, b.root, name, RWC), AGT_SYS_NAME);
    CHECK_CLASS(open_in(&b, b.root, "secret", AGT_O_READ), AGT_SYS_ACCESS);
    CHECK_CLASS(s->walk(s->ctx, b.root, "link/sub"), AGT_SYS_LOOP);
    CHECK_CLASS(s->walk(s->ctx, b.root, "file/sub"), AGT_SYS_NOTDIR);
    CHECK_CLASS(s->walk(s->ctx, b.root, "dir/none"), AGT_SYS_NOENT);
    CHECK_CLASS(s->walk(s->ctx, b.root, "dir/../dir"), AGT_SYS_NAME);
    CHECK_CLASS(s->walk(s->ctx, b.root, "/dir"), AGT_SYS_NAME);
    CHECK_CLASS(s->remove(s->ctx, b.root, "dir"), AGT_SYS_ISDIR);
    CHECK_CLASS(s->remove_folder(s->ctx, b.root, "dir"), AGT_SYS_NOTEMPTY);
    CHECK_CLASS(s->remove_folder(s->ctx, b.root, "file"), AGT_SYS_NOTDIR);
    CHECK_CLASS(s->make_folder(s->ctx, b.root, "dir", 0755), AGT_SYS_EXIST);
    CHECK_CLASS(s->rename(s->ctx, b.root, "file", disk, "file", 0), AGT_SYS_XDEV);
    CHECK_CLASS(s->link(s->ctx, b.root, "file", disk, "file"), AGT_SYS_XDEV);
    CHECK_CLASS(s->link(s->ctx, b.root, "dir", b.root, "dir2"), AGT_SYS_ACCESS);
    CHECK_CLASS(rename_in(&b, b.root, "file", b.root, "dir"), AGT_SYS_ISDIR);
    CHECK_CLASS(rename_in(&b, b.root, "dir", b.root, "file"), AGT_SYS_NOTDIR);
    CHECK_CLASS(s->rename(s->ctx, b.root, "file", b.root, "dir", AGT_RENAME_NOREPLACE),
                AGT_SYS_EXIST);
    CHECK_INT(s->stat(s->ctx, b.root, "fifo", &st), 0);
    CHECK_INT(st.kind, AGT_FILE_OTHER);
    CHECK_CLASS(s->open_root(s->ctx, "/link/sub"), 0); /* the root may be reached through links */
    CHECK_CLASS(s->open_root(s->ctx, "/file"), AGT_SYS_NOTDIR);
    CHECK_CLASS(s->path_of(s->ctx, b.root, name, sizeof name), AGT_SYS_NOSYS);
    CHECK_INT(s->set_mode(s->ctx, disk, 0555), 0);
    CHECK_CLASS(open_in(&b, disk, "new", RWC), AGT_SYS_ACCESS);
    machine_free(b.m);
}

TEST(machine, what_is_switched_off_answers_that_it_is_not_there) {
    struct box b = new_box(&(machine_settings){.no_exchange = true,
                                               .no_noreplace = true,
                                               .no_link = true,
                                               .no_lock = true,
                                               .no_has_writer = true,
                                               .no_reserve = true,
                                               .no_boot = true});
    const agt_sys *s = b.sys;
    agt_process me;
    save(&b, b.root, "a", "A", false);
    save(&b, b.root, "b", "B", false);
    agt_fd fd = open_in(&b, b.root, "a", RW);
    CHECK_CLASS(s->rename(s->ctx, b.root, "a", b.root, "b", AGT_RENAME_EXCHANGE), AGT_SYS_NOSYS);
    CHECK_CLASS(s->rename(s->ctx, b.root, "a", b.root, "c", AGT_RENAME_NOREPLACE), AGT_SYS_NOSYS);
    CHECK_CLASS(s->link(s->ctx, b.root, "a", b.root, "c"), AGT_SYS_ACCESS);
    CHECK_CLASS(s->lock(s->ctx, fd, AGT_LOCK_EXCLUSIVE), AGT_SYS_NOSYS);
    CHECK_CLASS(s->has_writer(s->ctx, fd), AGT_SYS_NOSYS);
    CHECK_CLASS(s->reserve(s->ctx, fd, 0, 10), AGT_SYS_NOSYS);
    CHECK_INT(s->process(s->ctx, &me), 0);
    CHECK_STR(me.boot, "");
    machine_set(b.m)->no_exchange = false;
    CHECK_INT(s->rename(s->ctx, b.root, "a", b.root, "b", AGT_RENAME_EXCHANGE), 0);
    check_text(b.m, "/a", "B");
    check_text(b.m, "/b", "A");
    machine_free(b.m);
}

TEST(machine, a_lock_excludes_other_processes_until_its_holder_dies) {
    struct box a = new_box(NULL), b = new_box_of(a.m);
    agt_fd x = open_in(&a, a.root, "lock", RWC), y = open_in(&b, b.root, "lock", RWC);
    agt_fd z = open_in(&b, b.root, "lock", AGT_O_READ);
    CHECK_INT(a.sys->lock(a.sys->ctx, x, AGT_LOCK_EXCLUSIVE), 0);
    CHECK(machine_locked(a.m, "/lock"));
    CHECK_CLASS(b.sys->lock(b.sys->ctx, y, AGT_LOCK_EXCLUSIVE), AGT_SYS_BUSY);
    CHECK_CLASS(b.sys->lock(b.sys->ctx, y, AGT_LOCK_SHARED), AGT_SYS_BUSY);
    machine_process_kill(a.p);
    CHECK(!machine_process_alive(a.p));
    CHECK(!machine_locked(a.m, "/lock"));
    CHECK_CLASS(a.sys->fstat(a.sys->ctx, x, &(agt_stat){0}), AGT_SYS_IO);
    a.sys->close(a.sys->ctx, x); /* a dead process' handle may still be freed */
    CHECK_INT(b.sys->lock(b.sys->ctx, y, AGT_LOCK_SHARED), 0);
    CHECK_INT(b.sys->lock(b.sys->ctx, z, AGT_LOCK_SHARED), 0);
    /* a lock that cannot become stronger is lost on the way, as flock(2) warns */
    CHECK_CLASS(b.sys->lock(b.sys->ctx, y, AGT_LOCK_EXCLUSIVE), AGT_SYS_BUSY);
    CHECK_INT(b.sys->lock(b.sys->ctx, z, AGT_LOCK_EXCLUSIVE), 0);
    b.sys->close(b.sys->ctx, z);
    CHECK_INT(b.sys->lock(b.sys->ctx, y, AGT_LOCK_EXCLUSIVE), 0);
    machine_free(a.m);
}

TEST(machine, a_forked_child_shares_locks_and_lets_go_of_none_by_dying) {
    struct box a = new_box(NULL), b = new_box_of(a.m);
    agt_fd x = open_in(&a, a.root, "lock", RWC), y = open_in(&b, b.root, "lock", RWC);
    int64_t pid = a.sys->pid(a.sys->ctx);
    CHECK_INT(a.sys->lock(a.sys->ctx, x, AGT_LOCK_EXCLUSIVE), 0);
    machine_fork_enter(a.p);
    CHECK(a.sys->pid(a.sys->ctx) != pid);
    a.sys->close(a.sys->ctx, x);
    machine_fork_leave(a.p);
    CHECK_INT(a.sys->pid(a.sys->ctx), pid);
    CHECK_CLASS(b.sys->lock(b.sys->ctx, y, AGT_LOCK_EXCLUSIVE), AGT_SYS_BUSY);
    machine_fork_enter(a.p);
    CHECK_INT(a.sys->lock(a.sys->ctx, x, AGT_LOCK_UNLOCK), 0); /* this frees the parent's too */
    machine_fork_leave(a.p);
    CHECK_INT(b.sys->lock(b.sys->ctx, y, AGT_LOCK_EXCLUSIVE), 0);
    machine_free(a.m);
}

TEST(machine, a_writer_is_seen_while_an_editor_has_the_file_open) {
    struct box b = new_box(NULL);
    save(&b, b.root, "doc", "old", false);
    agt_fd fd = open_in(&b, b.root, "doc", AGT_O_READ);
    CHECK_INT(b.sys->has_writer(b.sys->ctx, fd), 0);
    machine_edit *e = machine_edit_open(b.m, "/doc");
    CHECK_INT(b.sys->has_writer(b.sys->ctx, fd), 1);
    check_text(b.m, "/doc", "");
    machine_edit_write(e, "new", 3);
    machine_edit_write(e, "er", 2);
    check_text(b.m, "/doc", "newer");
    machine_edit_close(e);
    CHECK_INT(b.sys->has_writer(b.sys->ctx, fd), 0);
    machine_free(b.m);
}

TEST(machine, the_clock_stands_still_and_edits_in_one_tick_have_one_time) {
    struct box b = new_box(&(machine_settings){.start_unix_ms = 1000, .tick_ns = 10000000});
    agt_stat one, two, three;
    CHECK_INT(b.sys->now_unix_ms(b.sys->ctx), 1000);
    CHECK_INT(machine_put_text(b.m, "/doc", "one"), 0);
    CHECK_INT(machine_stat(b.m, "/doc", &one), 0);
    machine_advance(b.m, 9000000);
    CHECK_INT(machine_put_text(b.m, "/doc", "two"), 0);
    CHECK_INT(machine_stat(b.m, "/doc", &two), 0);
    CHECK(memcmp(&one, &two, sizeof one) == 0);
    b.sys->sleep_ns(b.sys->ctx, 1000000);
    CHECK_INT(b.sys->now_unix_ms(b.sys->ctx), 1010);
    CHECK_INT(machine_put_text(b.m, "/doc", "two"), 0);
    CHECK_INT(machine_stat(b.m, "/doc", &three), 0);
    CHECK_INT(three.mtime_ns, 1010000000);
    int64_t mono = b.sys->mono_ns(b.sys->ctx);
    machine_set_clock(b.m, 5);
    CHECK_INT(b.sys->now_unix_ms(b.sys->ctx), 5);
    CHECK_INT(b.sys->mono_ns(b.sys->ctx), mono);
    machine_free(b.m);
}

TEST(machine, an_inode_number_is_used_again_at_once_unless_told_otherwise) {
    agt_stat one, two;
    for (int unique = 0; unique < 2; unique++) {
        machine *m =
            machine_new(&(machine_settings){.unique_inodes = unique, .unsynced_kept = true});
        CHECK_INT(machine_put_text(m, "/doc", "one"), 0);
        CHECK_INT(machine_stat(m, "/doc", &one), 0);
        CHECK_INT(machine_remove(m, "/doc"), 0);
        CHECK_INT(machine_put_text(m, "/doc", "two"), 0);
        CHECK_INT(machine_stat(m, "/doc", &two), 0);
        CHECK_INT(one.ino == two.ino, !unique);
        machine_free(m);
    }
}

TEST(machine, a_full_disk_writes_what_fits_and_a_reservation_keeps_its_promise) {
    struct box b = new_box(&(machine_settings){.capacity = 16384});
    static char bytes[20000];
    memset(bytes, 'x', sizeof bytes);
    agt_fd f = open_in(&b, b.root, "a", RWC), g = open_in(&b, b.root, "b", RWC);
    CHECK_CLASS(b.sys->reserve(b.sys->ctx, f, 0, 17000), AGT_SYS_NOSPC);
    CHECK_INT(b.sys->reserve(b.sys->ctx, f, 0, 8192), 0);
    CHECK_INT(b.sys->pwrite(b.sys->ctx, g, bytes, sizeof bytes, 0), 8192);
    CHECK_CLASS(b.sys->pwrite(b.sys->ctx, g, bytes, 1, 8192), AGT_SYS_NOSPC);
    CHECK_INT(b.sys->pwrite(b.sys->ctx, f, bytes, 8192, 0), 8192);
    CHECK_CLASS(b.sys->pwrite(b.sys->ctx, f, bytes, 1, 8192), AGT_SYS_NOSPC);
    b.sys->close(b.sys->ctx, g);
    CHECK_INT(b.sys->remove(b.sys->ctx, b.root, "b"), 0);
    machine_sync_all(b.m); /* until the removal is on the disk, so are the bytes */
    CHECK_INT(b.sys->pwrite(b.sys->ctx, f, bytes, 1, 8192), 1);
    machine_free(b.m);
}

TEST(machine, zeros_take_no_memory_and_read_as_zeros) {
    struct box b = new_box(NULL);
    static unsigned char zeros[256 * 1024], got[4096];
    agt_fd fd = open_in(&b, b.root, "journal", RWC);
    for (uint64_t at = 0; at < 8 << 20; at += sizeof zeros)
        CHECK_INT(b.sys->pwrite(b.sys->ctx, fd, zeros, sizeof zeros, at), sizeof zeros);
    CHECK_INT(machine_pages(b.m), 0);
    put(&b, fd, "record", 5000000);
    CHECK_INT(machine_pages(b.m), 1);
    CHECK_INT(b.sys->pread(b.sys->ctx, fd, got, sizeof got, (8 << 20) - 100), 100);
    CHECK(!memcmp(got, zeros, 100));
    CHECK_INT(b.sys->pread(b.sys->ctx, fd, got, 8, 4999999), 8);
    CHECK(!memcmp(got, "\0record\0", 8));
    machine_free(b.m);
}

TEST(machine, the_same_seed_gives_the_same_numbers_names_and_order) {
    unsigned char x[32], y[32];
    agt_process me, you;
    struct box a = new_box(&(machine_settings){.seed = 5});
    struct box b = new_box(&(machine_settings){.seed = 5});
    CHECK_INT(a.sys->random(a.sys->ctx, x, sizeof x), 0);
    CHECK_INT(b.sys->random(b.sys->ctx, y, sizeof y), 0);
    CHECK(!memcmp(x, y, sizeof x));
    CHECK_INT(a.sys->random(a.sys->ctx, y, sizeof y), 0);
    CHECK(memcmp(x, y, sizeof x) != 0);
    CHECK_INT(a.sys->process(a.sys->ctx, &me), 0);
    CHECK_INT(b.sys->process(b.sys->ctx, &you), 0);
    CHECK(!memcmp(&me, &you, sizeof me));
    CHECK_INT(strlen(me.boot), 36);
    machine_reboot(b.m);
    machine_process *p = machine_process_new(b.m, "test");
    CHECK_INT(machine_sys(p)->process(p, &you), 0);
    CHECK(strcmp(me.boot, you.boot) != 0);
    machine_free(a.m);
    machine_free(b.m);
}

static void misuse_close(struct box *b) {
    b->sys->close(b->sys->ctx, 77);
}
static void misuse_name(struct box *b) {
    (void)open_in(b, b->root, "a/b", AGT_O_READ);
}
static void misuse_mutex(struct box *b) {
    void *mutex = b->sys->mutex_new(b->sys->ctx);
    b->sys->mutex_lock(b->sys->ctx, mutex);
    b->sys->mutex_lock(b->sys->ctx, mutex);
}
static void misuse_size(struct box *b) {
    machine_memory mem;
    const agt_allocator *a = machine_memory_init(&mem);
    (void)b;
    a->resize(a->ctx, a->resize(a->ctx, NULL, 0, 10), 11, 0);
}
static void misuse_bytes(struct box *b) {
    machine_memory mem;
    const agt_allocator *a = machine_memory_init(&mem);
    char *p = a->resize(a->ctx, NULL, 0, 10);
    (void)b;
    p[10] = 1;
    a->resize(a->ctx, p, 10, 0);
}

TEST(machine, mistakes_of_the_caller_abort) {
    void (*const misuse[])(struct box *) = {misuse_close, misuse_name, misuse_mutex, misuse_size,
                                            misuse_bytes};
    int aborted = 0;
    for (size_t i = 0; i < sizeof misuse / sizeof misuse[0]; i++) {
        fflush(NULL);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            struct box b = new_box(NULL);
            if (!freopen("/dev/null", "w", stderr)) _exit(1);
            signal(SIGABRT, SIG_DFL);
            misuse[i](&b);
            _exit(0);
        }
        int status = 0;
        CHECK_INT(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        aborted++;
    }
    CHECK_INT(aborted, 5);
}

/* ---- power cuts ---- */

/* Every state that a cut can leave, as texts of the tree with the files' bytes. */
struct states {
    char *text[512];
    int n;
    uint64_t outcomes;
};

static void add_state(struct states *s, const machine *m, const char *const *paths) {
    char text[2048] = "";
    for (; *paths; paths++) {
        size_t n = 0, at = strlen(text);
        char *got = machine_get(m, *paths, &n);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s=", *paths + 1);
        if (!got) text[at++] = '-';
        for (size_t i = 0; got && i < n && at + 2 < sizeof text;) {
            size_t run = 1; /* of one byte: as "512x" */
            while (i + run < n && got[i + run] == got[i])
                run++;
            char c = got[i] ? got[i] : '0';
            if (run > 3)
                at += (size_t)snprintf(text + at, sizeof text - at, "%zu%c", run, c);
            else
                text[at++] = c;
            i += run > 3 ? run : 1;
        }
        text[at++] = ' ';
        text[at] = 0;
        free(got);
    }
    s->outcomes++;
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->text[i], text)) return;
    CHECK(s->n < 512);
    s->text[s->n++] = strdup(text);
}

static struct states all_states(const machine *m, const char *const *paths) {
    struct states s = {.n = 0};
    machine_choices all = {0};
    while (machine_choices_next(&all)) {
        machine *c = machine_clone(m);
        machine_cut cut = machine_choices_cut(&all);
        machine_power_cut(c, &cut);
        CHECK_INT(machine_pending(c), 0);
        check_books(c);
        add_state(&s, c, paths);
        machine_free(c);
    }
    CHECK_INT(all.seen, s.outcomes);
    return s;
}

static void free_states(struct states *s) {
    while (s->n)
        free(s->text[--s->n]);
}

/* The states are these and no others. `want` ends with NULL. */
static void check_states(const machine *m, const char *const *paths, const char *const *want) {
    struct states s = all_states(m, paths);
    int n = 0;
    for (; want[n]; n++) {
        bool found = false;
        for (int i = 0; i < s.n; i++)
            found = found || !strcmp(s.text[i], want[n]);
        if (!found) test_fail(__FILE__, __LINE__, "no cut leaves \"%s\"", want[n]);
    }
    for (int i = 0; i < s.n; i++) {
        bool known = false;
        for (int j = 0; j < n; j++)
            known = known || !strcmp(s.text[i], want[j]);
        if (!known) test_fail(__FILE__, __LINE__, "a cut leaves \"%s\"", s.text[i]);
    }
    free_states(&s);
}

#define PATHS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define STATES(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(machine, a_new_unsynced_file_may_be_absent_empty_zeros_or_whole) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", false);
    check_states(b.m, PATHS("/f"), STATES("f=- ", "f= ", "f=50 ", "f=hello "));
    machine_free(b.m);
}

TEST(machine, a_synced_file_is_whole_or_has_no_name_until_its_folder_is_synced) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", true);
    check_states(b.m, PATHS("/f"), STATES("f=- ", "f=hello "));
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    CHECK_INT(machine_pending(b.m), 0);
    check_states(b.m, PATHS("/f"), STATES("f=hello "));
    machine_free(b.m);
}

TEST(machine, a_synced_folder_promises_names_not_bytes) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", false);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f"), STATES("f= ", "f=50 ", "f=hello "));
    machine_free(b.m);
}

TEST(machine, replacing_with_sync_leaves_old_or_new) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "t", "new", true);
    CHECK_INT(rename_in(&b, b.root, "t", b.root, "f"), 0);
    check_states(b.m, PATHS("/f", "/t"), STATES("f=old t=- ", "f=old t=new ", "f=new t=- "));
    machine_free(b.m);
}

TEST(machine, replacing_without_sync_may_lose_both) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "t", "new!", false);
    CHECK_INT(rename_in(&b, b.root, "t", b.root, "f"), 0);
    check_states(b.m, PATHS("/f"), STATES("f=old ", "f= ", "f=40 ", "f=new! "));
    machine_free(b.m);
}

TEST(machine, sectors_are_torn_independently) {
    struct box b = new_box(NULL);
    char text[1537];
    memset(text, 'o', 1536);
    text[1536] = 0;
    save(&b, b.root, "f", text, true);
    machine_sync_all(b.m);
    memset(text, 'n', 1536);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, text, 0);
    check_states(b.m, PATHS("/f"),
                 STATES("f=1536o ", "f=1024o512n ", "f=512o512n512o ", "f=512o1024n ",
                        "f=512n1024o ", "f=512n512o512n ", "f=1024n512o ", "f=1536n "));
    machine_free(b.m);
}

TEST(machine, a_sector_may_keep_any_of_its_moments) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "aaa", true);
    machine_sync_all(b.m);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "b", 0);
    put(&b, fd, "c", 1);
    check_states(b.m, PATHS("/f"), STATES("f=aaa ", "f=baa ", "f=bca "));
    machine_free(b.m);
}

TEST(machine, appended_bytes_may_come_before_or_after_the_size) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "NEW!", 3);
    check_states(b.m, PATHS("/f"), STATES("f=old ", "f=old40 ", "f=oldNEW! "));
    machine_free(b.m);
}

TEST(machine, what_was_cut_off_does_not_come_back_into_a_rewritten_file) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "something old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "f", "new!", false);
    check_states(b.m, PATHS("/f"), STATES("f=something old ", "f= ", "f=40 ", "f=new! "));
    machine_free(b.m);
}

TEST(machine, different_renames_are_independent_and_each_is_atomic) {
    struct box b = new_box(NULL);
    CHECK_INT(machine_make_folder(b.m, "/x"), 0);
    CHECK_INT(machine_make_folder(b.m, "/y"), 0);
    save(&b, b.root, "f", "F", false);
    save(&b, b.root, "g", "G", false);
    agt_fd x = b.sys->walk(b.sys->ctx, b.root, "x"), y = b.sys->walk(b.sys->ctx, b.root, "y");
    CHECK_INT(rename_in(&b, b.root, "f", x, "f"), 0);
    machine_sync_all(b.m);
    CHECK_INT(rename_in(&b, x, "f", y, "f"), 0);
    CHECK_INT(rename_in(&b, b.root, "g", b.root, "h"), 0);
    check_states(b.m, PATHS("/x/f", "/y/f", "/g", "/h"),
                 STATES("x/f=F y/f=- g=G h=- ", "x/f=F y/f=- g=- h=G ", "x/f=- y/f=F g=G h=- ",
                        "x/f=- y/f=F g=- h=G "));
    CHECK_INT(b.sys->sync(b.sys->ctx, y), 0); /* brings both ends of the rename to the disk */
    check_states(b.m, PATHS("/x/f", "/y/f"), STATES("x/f=- y/f=F "));
    machine_free(b.m);
}

TEST(machine, changes_of_one_name_keep_their_order) {
    struct box b = new_box(NULL);
    save(&b, b.root, "a", "1", true);
    CHECK_INT(b.sys->remove(b.sys->ctx, b.root, "a"), 0);
    save(&b, b.root, "a", "2", true);
    CHECK_INT(rename_in(&b, b.root, "a", b.root, "b"), 0);
    check_states(b.m, PATHS("/a", "/b"), STATES("a=- b=- ", "a=1 b=- ", "a=2 b=- ", "a=- b=2 "));
    machine_free(b.m);
}

TEST(machine, what_is_in_a_new_folder_needs_the_folder) {
    struct box b = new_box(NULL);
    CHECK_INT(b.sys->make_folder(b.sys->ctx, b.root, "d", 0755), 0);
    agt_fd d = b.sys->walk(b.sys->ctx, b.root, "d");
    save(&b, b.root, "f", "F", true);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f", "/d/f"), STATES("f=F d/f=- "));
    CHECK_INT(b.sys->make_folder(b.sys->ctx, b.root, "e", 0755), 0);
    agt_fd e = b.sys->walk(b.sys->ctx, b.root, "e");
    CHECK_INT(rename_in(&b, b.root, "f", e, "f"), 0);
    save(&b, d, "g", "G", true);
    /* never is f lost in a folder that is not there */
    check_states(
        b.m, PATHS("/f", "/e/f", "/d/g"),
        STATES("f=F e/f=- d/g=- ", "f=F e/f=- d/g=G ", "f=- e/f=F d/g=- ", "f=- e/f=F d/g=G "));
    CHECK_INT(b.sys->sync(b.sys->ctx, e), 0);
    check_states(b.m, PATHS("/f", "/e/f"), STATES("f=- e/f=F "));
    machine_free(b.m);
}

TEST(machine, a_folder_is_only_removed_empty) {
    struct box b = new_box(NULL);
    CHECK_INT(machine_put_text(b.m, "/f", ""), 0);
    CHECK_INT(machine_make_folder(b.m, "/d"), 0);
    CHECK_INT(machine_put_text(b.m, "/d/f", "F"), 0);
    machine_sync_all(b.m);
    agt_fd d = b.sys->walk(b.sys->ctx, b.root, "d");
    CHECK_INT(b.sys->remove(b.sys->ctx, d, "f"), 0);
    CHECK_INT(b.sys->remove_folder(b.sys->ctx, b.root, "d"), 0);
    struct states s = all_states(b.m, PATHS("/d/f"));
    CHECK_INT(s.outcomes, 3); /* nothing; the file; both */
    free_states(&s);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0); /* takes the file's removal along */
    CHECK_INT(machine_pending(b.m), 0);
    CHECK_INT(machine_stat(b.m, "/d", &(agt_stat){0}) < 0, 1);
    check_books(b.m);
    machine_free(b.m);
}

TEST(machine, an_exchange_is_atomic) {
    struct box b = new_box(NULL);
    save(&b, b.root, "a", "A", false);
    save(&b, b.root, "b", "B", false);
    machine_sync_all(b.m);
    CHECK_INT(b.sys->rename(b.sys->ctx, b.root, "a", b.root, "b", AGT_RENAME_EXCHANGE), 0);
    check_states(b.m, PATHS("/a", "/b"), STATES("a=A b=B ", "a=B b=A "));
    machine_free(b.m);
}

TEST(machine, modes_are_pending_too) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "F", false);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    machine_sync_all(b.m);
    machine_advance(b.m, 1000000000);
    CHECK_INT(b.sys->set_mode(b.sys->ctx, fd, 0600), 0);
    int modes[2] = {0, 0};
    machine_choices all = {0};
    while (machine_choices_next(&all)) {
        machine *c = machine_clone(b.m);
        machine_cut cut = machine_choices_cut(&all);
        agt_stat st;
        machine_power_cut(c, &cut);
        CHECK_INT(machine_stat(c, "/f", &st), 0);
        modes[st.mode == 0600]++;
        machine_free(c);
    }
    CHECK_INT(modes[0], 1);
    CHECK_INT(modes[1], 1);
    machine_free(b.m);
}

/* Random work without sync on names and bytes; the tree before and after each change. */
static void some_work(struct box *b, agt_fd *dirs) {
    const agt_sys *s = b->sys;
    const char *x = some_name(), *y = some_name();
    agt_fd d = dirs[test_random_below(3)], e = dirs[test_random_below(3)];
    char text[3000];
    switch (test_random_below(9)) {
    case 0: (void)rename_in(b, d, x, e, y); break;
    case 1: (void)s->rename(s->ctx, d, x, e, y, (int)test_random_below(3)); break;
    case 2: (void)s->remove(s->ctx, d, x); break;
    case 3: (void)s->link(s->ctx, d, x, e, y); break;
    case 4: (void)s->make_folder(s->ctx, d, x, 0755); break;
    case 5: (void)s->remove_folder(s->ctx, d, x); break;
    default: {
        agt_fd fd = open_in(b, d, x, test_random_below(3) ? RWC : RWC | AGT_O_TRUNCATE);
        if (fd < 0) return;
        memset(text, (int)('a' + test_random_below(26)), sizeof text);
        (void)s->pwrite(s->ctx, fd, text, 1 + test_random_below(sizeof text),
                        test_random_below(2000));
        if (test_random_below(4) == 0) (void)s->truncate(s->ctx, fd, test_random_below(3000));
        s->close(s->ctx, fd);
    }
    }
}

static void open_dirs(struct box *b, agt_fd *dirs) {
    CHECK_INT(machine_make_folder(b->m, "/p"), 0);
    CHECK_INT(machine_make_folder(b->m, "/q"), 0);
    machine_sync_all(b->m);
    dirs[0] = b->root;
    dirs[1] = b->sys->walk(b->sys->ctx, b->root, "p");
    dirs[2] = b->sys->walk(b->sys->ctx, b->root, "q");
}

static char *tree_after(const machine *m, machine_cut cut) {
    machine *c = machine_clone(m);
    machine_power_cut(c, &cut);
    check_books(c);
    char *tree = machine_tree(c, "/");
    machine_free(c);
    return tree;
}

TEST(machine, a_disk_that_keeps_order_shows_every_moment_of_the_past) {
    uint64_t moments = 0;
    for (int round = 0; round < 20; round++) {
        struct box b = new_box(NULL);
        agt_fd dirs[3];
        char *past[400];
        uint64_t at[400], n = 0;
        open_dirs(&b, dirs);
        for (int i = 0; i < 120; i++) {
            past[n] = machine_tree(b.m, "/");
            at[n++] = machine_pending(b.m);
            some_work(&b, dirs);
        }
        check_books(b.m);
        for (uint64_t i = 0; i < n; i++, moments++) {
            machine_cut cut = {.mode = MACHINE_CUT_PREFIX, .prefix = at[i]};
            char *tree = tree_after(b.m, cut);
            CHECK_STR(tree, past[i]);
            free(tree);
        }
        char *now = machine_tree(b.m, "/");
        char *kept = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_KEEP});
        char *lost = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_LOSE});
        CHECK_STR(kept, now);
        CHECK_STR(lost, past[0]);
        machine_sync_all(b.m);
        CHECK_INT(machine_pending(b.m), 0);
        free(lost);
        lost = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_LOSE});
        CHECK_STR(lost, now);
        while (n)
            free(past[--n]);
        free(now);
        free(kept);
        free(lost);
        machine_free(b.m);
    }
    test_saw("moments", moments);
    CHECK(moments > 2000);
}

/* In a folder of its own each file is written once, synced or not, its folder then synced or not:
 * what was promised must be there after any cut, whatever else goes on. */
TEST(machine, what_was_synced_survives_every_random_cut) {
    uint64_t cuts = 0, whole = 0, torn = 0;
    for (int round = 0; round < 60; round++) {
        struct box b = new_box(NULL);
        agt_fd dirs[3];
        char name[16], text[2000];
        bool synced[30];
        open_dirs(&b, dirs);
        CHECK_INT(machine_make_folder(b.m, "/own"), 0);
        machine_sync_all(b.m);
        agt_fd own = b.sys->walk(b.sys->ctx, b.root, "own");
        int named = 0;
        for (int i = 0; i < 30; i++) {
            some_work(&b, dirs);
            snprintf(name, sizeof name, "%d", i);
            memset(text, 'a' + i % 26, sizeof text);
            text[sizeof text - 1] = 0;
            save(&b, own, name, text, synced[i] = test_random_below(2));
            if (test_random_below(6)) continue;
            CHECK_INT(b.sys->sync(b.sys->ctx, own), 0);
            named = i + 1;
        }
        for (int k = 0; k < 30; k++, cuts++) {
            machine *c = machine_clone(b.m);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            machine_power_cut(c, &cut);
            check_books(c);
            for (int i = 0; i < 30; i++) {
                char path[32];
                snprintf(path, sizeof path, "/own/%d", i);
                memset(text, 'a' + i % 26, sizeof text);
                text[sizeof text - 1] = 0;
                char *got = machine_get(c, path, NULL);
                if (i < named) CHECK(got != NULL);
                if (got && synced[i]) CHECK_STR(got, text);
                whole += got && !strcmp(got, text);
                torn += got && strcmp(got, text);
                free(got);
            }
            machine_free(c);
        }
        machine_free(b.m);
    }
    test_saw("cuts", cuts);
    CHECK(whole > 1000 && torn > 100);
}

TEST(machine, a_copy_and_its_original_do_not_see_each_other) {
    struct box b = new_box(NULL);
    agt_fd dirs[3], other[3];
    open_dirs(&b, dirs);
    for (int i = 0; i < 60; i++)
        some_work(&b, dirs);
    for (int round = 0; round < 30; round++) {
        char *before = machine_tree(b.m, "/");
        struct box c = new_box_of(machine_clone(b.m));
        other[0] = c.root;
        other[1] = c.sys->walk(c.sys->ctx, c.root, "p");
        other[2] = c.sys->walk(c.sys->ctx, c.root, "q");
        if (other[1] < 0) other[1] = c.root; /* the work may have removed it */
        if (other[2] < 0) other[2] = c.root;
        char *there = machine_tree(c.m, "/");
        CHECK_STR(there, before);
        CHECK_INT(machine_pending(c.m), machine_pending(b.m));
        for (int i = 0; i < 30; i++)
            some_work(&c, other);
        check_books(c.m);
        free(there);
        there = machine_tree(b.m, "/");
        CHECK_STR(there, before);
        free(there);
        there = machine_tree(c.m, "/");
        for (int i = 0; i < 10; i++)
            some_work(&b, dirs);
        free(before);
        before = machine_tree(c.m, "/");
        CHECK_STR(there, before);
        check_books(b.m);
        if (round % 2) {
            machine_restore(c.m, b.m);
            free(there);
            free(before);
            there = machine_tree(c.m, "/");
            before = machine_tree(b.m, "/");
            CHECK_STR(there, before);
        }
        free(there);
        free(before);
        machine_free(c.m);
    }
    machine_free(b.m);
}

TEST(machine, a_cut_kills_everybody_and_starts_a_new_boot) {
    struct box b = new_box(NULL);
    agt_process before, after;
    agt_fd fd = open_in(&b, b.root, "f", RWC);
    CHECK_INT(b.sys->process(b.sys->ctx, &before), 0);
    CHECK_INT(b.sys->lock(b.sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    int64_t wall = b.sys->now_unix_ms(b.sys->ctx);
    machine_power_cut(b.m, &(machine_cut){.mode = MACHINE_CUT_KEEP});
    CHECK(!machine_process_alive(b.p));
    CHECK_CLASS(b.sys->sync(b.sys->ctx, fd), AGT_SYS_IO);
    struct box c = new_box_of(b.m);
    CHECK_INT(c.sys->process(c.sys->ctx, &after), 0);
    CHECK(strcmp(before.boot, after.boot) != 0);
    CHECK(c.sys->now_unix_ms(c.sys->ctx) > wall);
    fd = open_in(&c, c.root, "f", RW);
    CHECK_INT(c.sys->lock(c.sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    machine_free(b.m);
}

/* ---- faults ---- */

TEST(machine, a_failed_sync_loses_the_bytes_although_reads_show_them) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "new", 0);
    machine_fail_sync(b.m, 1, false);
    CHECK_CLASS(b.sys->sync(b.sys->ctx, fd), AGT_SYS_IO);
    CHECK_INT(machine_fail_count(b.m), 1);
    check_text(b.m, "/f", "new");
    CHECK_INT(b.sys->sync(b.sys->ctx, fd), 0); /* it lies */
    check_states(b.m, PATHS("/f"), STATES("f=old "));
    machine *c = machine_clone(b.m);
    machine_drop_caches(c);
    check_text(c, "/f", "old");
    machine_free(c);
    put(&b, fd, "!", 3); /* the same sector again: it carries what was lost along */
    CHECK_INT(b.sys->sync(b.sys->ctx, fd), 0);
    check_states(b.m, PATHS("/f"), STATES("f=new! "));
    machine_free(b.m);
}

TEST(machine, a_failed_sync_of_a_folder_loses_its_names) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "F", true);
    machine_fail_sync(b.m, 1, false);
    CHECK_CLASS(b.sys->sync(b.sys->ctx, b.root), AGT_SYS_IO);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    CHECK_INT(rename_in(&b, b.root, "f", b.root, "g"), 0);
    save(&b, b.root, "h", "H", true);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f", "/g", "/h"), STATES("f=- g=- h=H "));
    machine_free(b.m);
}

TEST(machine, the_nth_matching_call_fails_once_or_from_then_on) {
    struct box b = new_box(NULL);
    agt_stat st;
    machine_fail_at(b.m, 2, MACHINE_BIT(MACHINE_STAT), AGT_SYS_ACCESS, 13, false);
    CHECK_CLASS(b.sys->stat(b.sys->ctx, b.root, ".", &st), 0);
    CHECK_CLASS(b.sys->fstat(b.sys->ctx, b.root, &st), 0);
    CHECK_CLASS(b.sys->stat(b.sys->ctx, b.root, ".", &st), AGT_SYS_ACCESS);
    CHECK_CLASS(b.sys->stat(b.sys->ctx, b.root, ".", &st), 0);
    CHECK_INT(machine_fail_count(b.m), 1);
    machine_fail_at(b.m, 1, 0, AGT_SYS_IO, 5, true);
    CHECK_CLASS(b.sys->stat(b.sys->ctx, b.root, ".", &st), AGT_SYS_IO);
    CHECK_CLASS(b.sys->random(b.sys->ctx, &st, sizeof st), AGT_SYS_IO);
    CHECK_INT(machine_fail_count(b.m), 2);
    machine_fail(b.m, NULL);
    CHECK_CLASS(b.sys->stat(b.sys->ctx, b.root, ".", &st), 0);
    CHECK_INT(machine_fail_count(b.m), 0);
    machine_free(b.m);
}

TEST(machine, a_failure_may_come_before_or_after_the_deed) {
    for (int after = 0; after < 2; after++) {
        struct box b = new_box(NULL);
        save(&b, b.root, "f", "F", false);
        size_t open = machine_process_open_files(b.p);
        machine_fail(b.m, &(machine_fault){.at = 1, .cls = AGT_SYS_IO, .code = 5, .after = after});
        CHECK_CLASS(rename_in(&b, b.root, "f", b.root, "g"), AGT_SYS_IO);
        check_text(b.m, after ? "/g" : "/f", "F");
        check_text(b.m, after ? "/f" : "/g", NULL);
        machine_fail(b.m, &(machine_fault){.at = 1, .cls = AGT_SYS_IO, .code = 5, .after = after});
        CHECK_CLASS(open_in(&b, b.root, "new", RWC), AGT_SYS_IO);
        check_text(b.m, "/new", after ? "" : NULL);
        CHECK_INT(machine_process_open_files(b.p), open);
        machine_free(b.m);
    }
}

TEST(machine, short_moves_are_faults_or_a_habit) {
    struct box b = new_box(NULL);
    char got[16];
    agt_fd fd = open_in(&b, b.root, "f", RWC);
    machine_fail_at(b.m, 1, 0, 0, 0, false);
    CHECK_INT(b.sys->pwrite(b.sys->ctx, fd, "0123456789", 10, 0), 5);
    CHECK_INT(machine_fail_count(b.m), 1);
    CHECK_INT(b.sys->pwrite(b.sys->ctx, fd, "0123456789", 10, 0), 10);
    machine_set(b.m)->short_bytes = 3;
    CHECK_INT(b.sys->pread(b.sys->ctx, fd, got, 10, 0), 3);
    CHECK_INT(b.sys->pwrite(b.sys->ctx, fd, got, 10, 0), 3);
    machine_free(b.m);
}

/* What the deaths and the faults below work on: replace a document, sync all. */
static int replace_doc(const struct box *b, agt_allocator const *mem) {
    const agt_sys *s = b->sys;
    char *copy = mem->resize(mem->ctx, NULL, 0, 5000);
    if (!copy) return AGT_SYS_ERR(AGT_SYS_NOMEM, ENOMEM);
    memset(copy, 'n', 5000);
    agt_fd fd = open_in(b, b->root, "t", RWC | AGT_O_TRUNCATE);
    int64_t rc = fd;
    for (uint64_t at = 0; rc >= 0 && at < 5000; at += (uint64_t)rc)
        rc = s->pwrite(s->ctx, fd, copy + at, 5000 - at, at);
    if (rc >= 0) rc = s->sync(s->ctx, fd);
    if (fd >= 0) s->close(s->ctx, fd);
    mem->resize(mem->ctx, copy, 5000, 0);
    if (rc >= 0) rc = rename_in(b, b->root, "t", b->root, "f");
    if (rc >= 0) rc = s->sync(s->ctx, b->root);
    return rc < 0 ? (int)rc : 0;
}

static machine *machine_with_doc(void) {
    machine *m = machine_new(NULL);
    CHECK_INT(machine_put_text(m, "/f", "old"), 0);
    machine_sync_all(m);
    return m;
}

/* "old", or 5,000 times n. */
static bool doc_is_new(const machine *m) {
    size_t n = 0;
    char *got = machine_get(m, "/f", &n);
    CHECK(got);
    bool is_new = n == 5000;
    if (is_new)
        for (size_t i = 0; i < n; i++)
            CHECK_INT(got[i], 'n');
    else
        CHECK_STR(got, "old");
    free(got);
    return is_new;
}

TEST(machine, a_sweep_meets_every_fault_and_every_death) {
    machine *start = machine_with_doc();
    uint64_t deaths = 0, failures = 0, clean = 0;
    FOR_EACH_FAULT(f, FAULT_ALL_CALLS | FAULT_ALL_MEMORY | FAULT_ALL_CRASHES | FAULT_SYNC |
                          FAULT_SYNC_FOREVER | FAULT_IO_AFTER) {
        machine_memory mem;
        struct box b = new_box_of(machine_clone(start));
        const agt_allocator *a = machine_memory_init(&mem);
        volatile int rc = 1;
        fault_arm(&f, b.m, &mem);
        if (FAULT_TRY(&f)) rc = replace_doc(&b, a);
        fault_disarm(&f);
        CHECK_INT(rc == 1, fault_died(&f));
        if (!f.injected) CHECK_INT(rc, 0);
        deaths += fault_died(&f);
        failures += rc < 0;
        clean += !f.injected;
        bool is_new = doc_is_new(b.m);
        if (rc == 0) CHECK(is_new);
        machine_power_cut(b.m, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()});
        is_new = doc_is_new(b.m);
        if (rc == 0) CHECK(is_new);
        if (!fault_died(&f)) CHECK_INT(mem.live_blocks, 0);
        machine_memory_release(&mem);
        CHECK_INT(mem.live_bytes, 0);
        check_books(b.m);
        machine_free(b.m);
    }
    machine_free(start);
    CHECK_INT(clean, 15);
    CHECK(deaths >= 3 * 6 && failures >= 20);
}

TEST(machine, a_death_in_the_middle_of_a_write_leaves_a_part_often_to_the_edge_of_a_page) {
    volatile uint64_t edges = 0, parts = 0;
    for (volatile int i = 0; i < 100; i++) {
        struct box b = new_box(&(machine_settings){.seed = test_random()});
        static char bytes[10000];
        memset(bytes, 'x', sizeof bytes);
        agt_fd fd = open_in(&b, b.root, "f", RWC);
        machine_crash_at(b.m, 1, MACHINE_BIT(MACHINE_PWRITE), MACHINE_MIDDLE);
        if (setjmp(*machine_crash_point(b.m)) == 0) {
            (void)b.sys->pwrite(b.sys->ctx, fd, bytes, sizeof bytes, 100);
            test_fail(__FILE__, __LINE__, "the process lives on");
        }
        CHECK(!machine_process_alive(b.p));
        CHECK_INT(machine_crash_count(b.m), 1);
        size_t n = 0;
        char *got = machine_get(b.m, "/f", &n);
        CHECK(n < 10100);
        edges += n == 8192;
        parts += n != 8192;
        free(got);
        machine_free(b.m);
    }
    CHECK(edges > 20 && parts > 20);
}

struct seen {
    int calls, swaps;
    machine_op last;
};

static void swap_at_open(void *ctx, machine *m, const machine_call *call) {
    struct seen *s = ctx;
    s->calls++;
    s->last = call->op;
    if (call->op != MACHINE_FSTAT) return;
    s->swaps++;
    CHECK_INT(machine_replace(m, "/f", "another", 7), 0);
    machine_process *p = machine_process_new(m, "other");
    const agt_sys *sys = machine_sys(p);
    agt_fd root = sys->open_root(sys->ctx, "/"); /* not counted, calls no hook */
    CHECK_INT(sys->make_folder(sys->ctx, root, "d", 0755), 0);
    machine_process_free(p);
}

TEST(machine, a_hook_lets_somebody_act_between_two_calls) {
    struct box b = new_box(NULL);
    struct seen seen = {0};
    agt_stat one, two;
    save(&b, b.root, "f", "F", false);
    machine_calls_reset(b.m);
    machine_on_call(b.m, swap_at_open, &seen);
    agt_fd fd = open_in(&b, b.root, "f", AGT_O_READ);
    CHECK_INT(b.sys->fstat(b.sys->ctx, fd, &one), 0);
    CHECK_INT(b.sys->stat(b.sys->ctx, b.root, "f", &two), 0);
    CHECK(one.ino != two.ino && one.links == 0);
    CHECK_INT(seen.calls, 3);
    CHECK_INT(seen.swaps, 1);
    CHECK_INT(machine_calls_all(b.m), 3);
    CHECK_INT(machine_calls(b.m, MACHINE_OPEN), 1);
    CHECK_INT(machine_calls(b.m, MACHINE_MAKE_FOLDER), 0);
    CHECK_INT(machine_stat(b.m, "/d", &two), 0);
    machine_on_call(b.m, NULL, NULL);
    machine_free(b.m);
}

struct cutting {
    uint64_t states, seen_new;
};

static void cut_here(void *ctx, machine *m, const machine_call *call) {
    struct cutting *c = ctx;
    (void)call;
    for (int i = 0; i < 5; i++) {
        machine *copy = machine_clone(m);
        machine_power_cut(copy, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()});
        c->seen_new += doc_is_new(copy);
        c->states++;
        machine_free(copy);
    }
}

TEST(machine, one_run_can_be_cut_before_every_call) {
    struct cutting c = {0};
    for (int i = 0; i < 20; i++) {
        machine_memory mem;
        struct box b = new_box_of(machine_with_doc());
        machine_on_call(b.m, cut_here, &c);
        CHECK_INT(replace_doc(&b, machine_memory_init(&mem)), 0);
        machine_on_call(b.m, NULL, NULL);
        machine_power_cut(b.m, NULL);
        CHECK(doc_is_new(b.m));
        machine_free(b.m);
    }
    test_saw("states", c.states);
    CHECK(c.states >= 500 && c.seen_new > 0);
}

static void cut_power(void *ctx, machine *m, const machine_call *call) {
    (void)call;
    if (--*(int *)ctx == 0) machine_power_cut(m, NULL);
}

TEST(machine, a_cut_from_a_hook_fails_all_that_the_dead_process_still_tries) {
    for (int n = 1; n < 7; n++) {
        machine_memory mem;
        int left = n;
        struct box b = new_box_of(machine_with_doc());
        machine_on_call(b.m, cut_power, &left);
        CHECK(replace_doc(&b, machine_memory_init(&mem)) < 0);
        CHECK_INT(mem.live_blocks, 0);
        CHECK(!doc_is_new(b.m));
        check_books(b.m);
        machine_free(b.m);
    }
}

TEST(machine, calls_can_be_printed) {
    struct box b = new_box(NULL);
    char *text = NULL;
    size_t n = 0;
    machine_trace_calls(b.m, 2);
    CHECK_CLASS(open_in(&b, b.root, "none", AGT_O_READ), AGT_SYS_NOENT);
    save(&b, b.root, "f", "F", false);
    CHECK_INT(rename_in(&b, b.root, "f", b.root, "g"), 0);
    FILE *out = open_memstream(&text, &n);
    machine_print_calls(b.m, out);
    fclose(out);
    CHECK(strstr(text, "close 4 = 0"));
    CHECK(strstr(text, "rename 3 \"f\" -> 3 \"g\" = 0"));
    CHECK(!strstr(text, "none")); /* only the last two */
    free(text);
    machine_free(b.m);
}

TEST(machine, memory_fails_at_the_nth_allocation_once_or_for_ever) {
    machine_memory mem;
    const agt_allocator *a = machine_memory_init(&mem);
    char *p = a->resize(a->ctx, NULL, 0, 10);
    memcpy(p, "012345678", 10);
    machine_memory_fail_at(&mem, 2, false);
    CHECK((p = a->resize(a->ctx, p, 10, 20)) != NULL);
    CHECK_STR(p, "012345678");
    CHECK(a->resize(a->ctx, p, 20, 30) == NULL);
    CHECK_INT(mem.live_bytes, 20);
    CHECK((p = a->resize(a->ctx, p, 20, 5)) != NULL);
    CHECK_INT(mem.failed, 1);
    machine_memory_fail_at(&mem, 1, true);
    CHECK(a->resize(a->ctx, NULL, 0, 1) == NULL && a->resize(a->ctx, NULL, 0, 1) == NULL);
    CHECK_INT(mem.failed, 2);
    CHECK(a->resize(a->ctx, p, 5, 0) == NULL);
    CHECK_INT(mem.live_blocks, 0);
    CHECK_INT(mem.peak_bytes, 30); /* while a block moves, there are two */
}

TEST(machine, a_person_can_do_to_the_disk_what_persons_do) {
    machine *m = machine_new(NULL);
    agt_stat one, two;
    CHECK_INT(machine_make_folder(m, "/home/work/deep"), 0);
    CHECK_INT(machine_put_text(m, "/home/work/doc", "first"), 0);
    CHECK_INT(machine_stat(m, "/home/work/doc", &one), 0);
    CHECK_INT(machine_replace(m, "/home/work/doc", "second", 6), 0);
    CHECK_INT(machine_stat(m, "/home/work/doc", &two), 0);
    CHECK(one.ino != two.ino);
    CHECK_INT(machine_overwrite(m, "/home/work/doc", 2, "XX", 2), 0);
    check_text(m, "/home/work/doc", "seXXnd");
    CHECK_INT(machine_truncate(m, "/home/work/doc", 3), 0);
    CHECK_INT(machine_rot(m, "/home/work/doc", 0, 0), 0);
    check_text(m, "/home/work/doc", "reX");
    CHECK_INT(machine_link(m, "/home/work/doc", "/home/hard"), 0);
    CHECK_INT(machine_symlink(m, "work/doc", "/home/soft"), 0);
    CHECK_INT(machine_set_mtime(m, "/home/hard", 77), 0);
    CHECK_INT(machine_set_mode(m, "/home/hard", 0400), 0);
    CHECK_INT(machine_set_owner(m, "/home/hard", 0), 0);
    CHECK_INT(machine_stat(m, "/home/work/doc", &one), 0);
    CHECK(one.mtime_ns == 77 && one.mode == 0400 && one.owner == 0 && one.links == 2);
    check_text(m, "/home/soft", "reX");
    CHECK_INT(machine_rename(m, "/home/work", "/home/moved"), 0);
    char *tree = machine_tree(m, "/home");
    CHECK(strstr(tree, " hard\n") && strstr(tree, "d 0755 moved/deep\n"));
    CHECK(strstr(tree, "l 0777 soft -> work/doc\n"));
    free(tree);
    CHECK_INT(machine_remove(m, "/home"), 0);
    tree = machine_tree(m, "/");
    CHECK_STR(tree, "");
    free(tree);
    check_books(m);
    CHECK_CLASS(machine_remove(m, "/home"), AGT_SYS_NOENT);
    CHECK_CLASS(machine_put_text(m, "/no/where", ""), AGT_SYS_NOENT);
    machine_free(m);
}

TEST(machine, an_editor_that_is_open_at_a_cut_is_dead_afterwards) {
    machine *m = machine_new(NULL);
    CHECK_INT(machine_put_text(m, "/doc", "old"), 0);
    machine_sync_all(m);
    machine_edit *e = machine_edit_open(m, "/doc");
    machine_power_cut(m, NULL);
    machine_edit_write(e, "new", 3);
    machine_edit_close(e);
    check_text(m, "/doc", "old");
    check_books(m);
    machine_free(m);
}
