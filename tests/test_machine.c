/* The machine in memory answers as the operating system does: by comparing, and by a table. */
#include "machine_kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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
#ifdef AGENT_TRACE_PLAIN_POSIX
        set.no_exchange = set.no_has_writer = true;
#endif
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
#ifdef AGENT_TRACE_PLAIN_POSIX
            /* made of a link there, which knows no folders */
            if (t.what == 8 && t.flag == AGT_RENAME_NOREPLACE) t.flag = AGT_RENAME_REPLACE;
#endif
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
