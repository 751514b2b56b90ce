/* The machine in memory is itself tested: it answers as the operating system does, its faults
 * inject, its power cuts reach the states they promise and no others. */
#include "fault.h"
#include "machine.h"
#include "test.h"

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
