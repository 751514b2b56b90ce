/* The trace of one path: what the index in .agent-trace/index answers is what reading the whole
 * trace answers, whatever happens to the index; and it reads little. */
#include "../src/log/paths.h"
#include "../src/store/store.h"
#include "fault.h"
#include "oracle.h"
#include "store_kit.h"

static const char *const root = "/home";

/* ---- compared with the whole trace ---- */

static bool paths_same(agt_text t, const char *path) {
    return t.data && t.len == strlen(path) && !memcmp(t.data, path, t.len);
}

/* About it: a rename is about the old path, too. */
static bool paths_is(const agt_event *e, const char *path) {
    return paths_same(e->path, path) || paths_same(e->from, path);
}

/* The seqs of the events with this path (NULL: all of them), as agt_trace hands them out. */
static size_t paths_read(agt_store *s, const char *path, bool newest, uint64_t from, uint64_t limit,
                         uint64_t *out, size_t cap) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    size_t n = 0;
    agt_status st;
    o.path = path;
    o.newest_first = newest;
    o.from_seq = from;
    o.limit = limit;
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    while ((st = agt_trace_next(c, &e, &err)) == AGT_OK) {
        CHECK(n < cap);
        CHECK(!path || paths_is(&e, path));
        out[n++] = e.seq;
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
    return n;
}

#define PATHS_MOST 4000

/* Every way to ask for the path, compared with what the whole trace has. */
static uint64_t paths_check(agt_store *s, const char *path) {
    static uint64_t want[PATHS_MOST], got[PATHS_MOST];
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    size_t n = 0;
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    while (agt_trace_next(c, &e, &err) == AGT_OK)
        if (paths_is(&e, path)) want[n++] = e.seq;
    agt_cursor_close(c);
    CHECK_INT(paths_read(s, path, false, 0, 0, got, PATHS_MOST), n);
    CHECK(memcmp(got, want, n * sizeof *got) == 0);
    CHECK_INT(paths_read(s, path, true, 0, 0, got, PATHS_MOST), n);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(got[i], want[n - 1 - i]);
    uint64_t from = n ? want[test_random_below(n)] + test_random_below(2) : 3, later = 0;
    for (size_t i = 0; i < n; i++)
        later += want[i] >= from;
    CHECK_INT(paths_read(s, path, false, from, 0, got, PATHS_MOST), later);
    for (uint64_t i = 0; i < later; i++)
        CHECK_INT(got[i], want[n - later + i]);
    CHECK_INT(paths_read(s, path, true, from, 0, got, PATHS_MOST), later);
    CHECK_INT(paths_read(s, path, true, 0, 2, got, PATHS_MOST), n < 2 ? n : 2);
    for (size_t i = 0; i < n && i < 2; i++)
        CHECK_INT(got[i], want[n - 1 - i]);
    return n;
}

static const char *const paths_names[] = {"a.md", "dir/b.md", "c.md", "never.md", "ref.md", "d.md"};

static uint64_t paths_check_all(agt_store *s) {
    uint64_t n = 0;
    for (size_t i = 0; i < AGT_COUNT(paths_names); i++)
        n += paths_check(s, paths_names[i]);
    return n;
}

/* Changes, refusals, renames and a host's events, now and then a checkpoint. */
static void paths_work(agt_store *s, int events, uint64_t checkpoints) {
    agt_error err;
    char text[40];
    static int number;
    for (int i = 0; i < events; i++) {
        const char *path = paths_names[test_random_below(3)];
        snprintf(text, sizeof text, "number %d", number++);
        switch (test_random_below(8)) {
        case 0: (void)agt_remove(s, &kit_user, path, NULL, NULL, &err); break;
        case 1: (void)agt_rename(s, &kit_user, path, "d.md", NULL, NULL, &err); break;
        case 2: (void)agt_rename(s, &kit_user, "d.md", path, NULL, NULL, &err); break;
        case 3:
            CHECK_OK(agt_event_append(s, &kit_agent, "decision", text,
                                      i % 2 ? paths_names[test_random_below(4)] : NULL, 0, NULL,
                                      &err),
                     err);
            break;
        case 4:
            (void)agt_write(s, &kit_agent, "ref.md", text, strlen(text), NULL, NULL, &err);
            break;
        default: (void)agt_write(s, &kit_user, path, text, strlen(text), NULL, NULL, &err);
        }
        if (checkpoints && test_random_below(checkpoints) == 0)
            CHECK_OK(agt_checkpoint(s, &err), err);
    }
}

static machine *paths_machine(void) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    machine_make_folder(m, root);
    agt_store *s = oracle_open(machine_process_new(m, "maker"), root, NULL, AGT_OK);
    o.type = AGT_TYPE_REFERENCE;
    CHECK_OK(agt_write(s, &kit_user, "ref.md", "true", 4, &o, NULL, &err), err);
    agt_close(s, NULL);
    return m;
}

/* The names of the index' files. */
static size_t paths_files(const machine *m, char names[64][64]) {
    char *tree = machine_tree(m, "/home/.agent-trace/index");
    size_t n = 0;
    for (char *line = strtok(tree, "\n"); line; line = strtok(NULL, "\n")) {
        const char *name = strrchr(line, ' ');
        CHECK(n < 64 && name);
        snprintf(names[n++], 64, "%s", name + 1);
    }
    free(tree);
    return n;
}

TEST(paths, the_trace_of_a_path_is_what_the_whole_trace_has_of_it) {
    machine *m = paths_machine();
    char names[64][64];
    uint64_t seen = 0;
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    for (int round = 0; round < 12; round++) {
        paths_work(s, 60, 1 + test_random_below(30));
        seen += paths_check_all(s);
        agt_open_options o = AGT_OPEN_OPTIONS_INIT;
        agt_store *r;
        agt_error err;
        o.sys = machine_sys(machine_process_new(m, "reader"));
        o.read_only = round % 2;
        CHECK_OK(agt_open(&r, root, &o, &err), err);
        paths_check_all(r);
        agt_close(r, NULL);
    }
    size_t files = paths_files(m, names);
    CHECK(files >= 1 && files <= 10); /* as few as the logarithm of the events */
    test_saw("files", files);
    test_saw("events of paths", seen);
    CHECK(seen > 2000);
    agt_close(s, NULL);
    machine_free(m);
}

TEST(paths, damage_of_the_index_costs_time_and_nothing_else) {
    machine *m = paths_machine();
    char names[64][64], path[128];
    agt_error err;
    uint64_t damaged = 0;
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    paths_work(s, 200, 20);
    CHECK_OK(agt_checkpoint(s, &err), err);
    for (int round = 0; round < 120; round++) {
        size_t files = paths_files(m, names), len;
        CHECK(files > 0);
        snprintf(path, sizeof path, "/home/.agent-trace/index/%s", names[test_random_below(files)]);
        char *bytes = machine_get(m, path, &len);
        CHECK(bytes);
        if (len < 8192) { /* an older one stays as it is until gc looks at it */
            free(bytes);
            continue;
        }
        uint64_t at = test_random_below(2) ? test_random_below(len) : test_random_below(100);
        char byte = (char)(bytes[at] ^ (1 << test_random_below(8)));
        if (round % 4 == 0)
            machine_truncate(m, path, test_random_below(len));
        else if (round % 4 == 1)
            machine_remove(m, path);
        else
            machine_overwrite(m, path, at, &byte, 1);
        free(bytes);
        damaged++;
        paths_check(s, paths_names[round % AGT_COUNT(paths_names)]);
        paths_work(s, 3, 0);
        CHECK_OK(agt_event_append(s, &kit_user, "round", "goes on", NULL, 0, NULL, &err), err);
        CHECK_OK(agt_checkpoint(s, &err), err); /* makes what is missing again */
        paths_check(s, paths_names[(round + 1) % AGT_COUNT(paths_names)]);
    }
    test_saw("damages", damaged);
    CHECK(damaged > 30);
    CHECK_OK(agt_gc(s, NULL, NULL, &err), err); /* makes it all again */
    size_t files = paths_files(m, names), len;
    uint64_t next = 1, first, last;
    for (size_t i = 0; i < files; i++) { /* in the order of their names, not of the numbers */
        for (size_t k = 0; k < files; k++)
            if (sscanf(names[k], "%" SCNu64 "-%" SCNu64, &first, &last) == 2 && first == next) {
                snprintf(path, sizeof path, "/home/.agent-trace/index/%s", names[k]);
                char *bytes = machine_get(m, path, &len);
                CHECK(bytes && len >= 8192 && len % 4096 == 0);
                free(bytes);
                next = last + 1;
                break;
            }
    }
    CHECK_INT(next, kit_events(s) + 1);
    paths_check_all(s);
    agt_close(s, NULL);
    machine_free(m);
}

/* An index of another trace: a backup was laid over the store, or over a part of it. */
TEST(paths, an_index_of_another_trace_is_not_believed) {
    machine *m = paths_machine(), *other = machine_clone(m);
    char names[64][64], path[128];
    agt_error err;
    machine *both[2] = {m, other};
    for (int i = 0; i < 2; i++) {
        agt_store *s = oracle_open(machine_process_new(both[i], "w"), root, NULL, AGT_OK);
        paths_work(s, 100, 0);
        CHECK_OK(agt_checkpoint(s, &err), err);
        agt_close(s, NULL);
    }
    size_t files = paths_files(other, names), len;
    CHECK_INT(machine_remove(m, "/home/.agent-trace/index"), 0);
    CHECK_INT(machine_make_folder(m, "/home/.agent-trace/index"), 0);
    for (size_t i = 0; i < files; i++) {
        snprintf(path, sizeof path, "/home/.agent-trace/index/%s", names[i]);
        char *bytes = machine_get(other, path, &len);
        CHECK_INT(machine_put(m, path, bytes, len), 0);
        free(bytes);
    }
    agt_store *s = oracle_open(machine_process_new(m, "reader"), root, NULL, AGT_OK);
    CHECK(paths_check_all(s) > 50);
    paths_work(s, 10, 0);
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK(paths_check_all(s) > 50);
    agt_close(s, NULL);
    machine_free(m);
    machine_free(other);
}

TEST(paths, a_death_or_a_power_cut_leaves_an_index_that_is_right_or_not_believed) {
    machine *start = paths_machine();
    uint64_t states = 0;
    for (int round = 0; round < (test_all() ? 120 : 60); round++) {
        machine *m = machine_clone(start);
        machine_memory mem;
        machine_process *p = machine_process_new(m, "mortal");
        machine_memory_init(&mem);
        machine_crash_at(m, 1 + test_random_below(1500), MACHINE_CHANGES, MACHINE_MIDDLE);
        if (setjmp(*machine_crash_point(m)) == 0) {
            agt_store *s = oracle_open(p, root, &mem, AGT_OK);
            paths_work(s, 60, 4);
            agt_close(s, NULL);
        }
        machine_crash_at(m, 0, 0, MACHINE_AFTER);
        machine_memory_release(&mem);
        machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
        if (round % 3) machine_power_cut(m, &cut);
        agt_store *s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
        paths_check_all(s);
        paths_work(s, 20, 6);
        paths_check_all(s);
        agt_close(s, NULL);
        machine_free(m);
        states++;
    }
    machine_free(start);
    test_saw("states", states);
}

/* Reads a path and then makes more of the index; how many events were seen, or -1. */
static int64_t paths_try(agt_store *s, agt_error *err) {
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    int64_t n = 0;
    agt_status st;
    o.path = "a.md";
    o.newest_first = 1;
    if (agt_trace(s, &o, &c, err) != AGT_OK) return -1;
    while ((st = agt_trace_next(c, &e, err)) == AGT_OK)
        n++;
    agt_cursor_close(c);
    if (st != AGT_END) return -1;
    return agt_checkpoint(s, err) == AGT_OK ? n : -1;
}

TEST(paths, whatever_fails_the_answer_is_right_or_none_and_nothing_leaks) {
    machine *start = paths_machine();
    agt_store *s = oracle_open(machine_process_new(start, "writer"), root, NULL, AGT_OK);
    paths_work(s, 150, 30);
    kit_write(s, &kit_user, "a.md", "something that is new");
    int64_t want = (int64_t)paths_check(s, "a.md");
    uint64_t refused = 0;
    agt_close(s, NULL);
    CHECK(want > 10);
    FOR_SOME_FAULTS(f, FAULT_IO | FAULT_IO_FOREVER | FAULT_ALL_MEMORY | FAULT_SHORT_FOREVER, 3) {
        machine_memory mem;
        machine *m = machine_clone(start);
        machine_process *p = machine_process_new(m, "p");
        agt_error err = {0};
        s = oracle_open(p, root, &mem, AGT_OK);
        fault_arm(&f, m, &mem);
        int64_t got = paths_try(s, &err);
        fault_disarm(&f);
        CHECK(got == want || (got < 0 && f.injected));
        refused += got < 0;
        agt_close(s, NULL);
        CHECK_INT(mem.live_blocks, 0);
        CHECK_INT(machine_process_open_files(p), 0);
        s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
        CHECK_INT(paths_check(s, "a.md"), want);
        agt_close(s, NULL);
        machine_free(m);
    }
    machine_free(start);
    test_saw("refusals", refused);
    CHECK(refused > test_some(20));
}

/* A follower that began in the index goes on behind it, and misses nothing. */
TEST(paths, a_cursor_that_follows_sees_what_comes_later) {
    machine *m = paths_machine();
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    kit_write(s, &kit_user, "a.md", "1");
    kit_write(s, &kit_user, "b.md", "1");
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_write(s, &kit_user, "b.md", "2");
    o.path = "a.md";
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    for (uint32_t version = 1; version <= 6; version++) {
        char text[8];
        CHECK_OK(agt_trace_next(c, &e, &err), err);
        CHECK_INT(e.version, version);
        CHECK_STATUS(agt_trace_next(c, &e, &err), AGT_END, err);
        if (version % 2) CHECK_OK(agt_checkpoint(s, &err), err);
        snprintf(text, sizeof text, "%u", version + 1);
        kit_write(s, &kit_user, "b.md", text);
        kit_write(s, &kit_user, "a.md", text);
    }
    agt_cursor_close(c);
    agt_close(s, NULL);
    machine_free(m);
}

/* The cost is the path's events, not the trace: counted in bytes that are read. */
static uint64_t paths_bytes;
static void paths_count(void *ctx, machine *m, const machine_call *call) {
    (void)ctx, (void)m;
    if (call->op == MACHINE_PREAD) paths_bytes += call->n;
}

TEST(paths, little_is_read_for_one_path_however_long_the_trace_is) {
    machine *m = paths_machine();
    agt_error err;
    uint64_t got[PATHS_MOST], first = 0;
    char path[32];
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < (round == 2 ? 2500 : 250); i++) {
            agt_write_options o = AGT_WRITE_OPTIONS_INIT;
            o.durability = AGT_DURABLE_PROCESS;
            snprintf(path, sizeof path, "many/%d.md", i);
            CHECK_OK(agt_write(s, &kit_user, path, &i, sizeof i, &o, NULL, &err), err);
        }
        if (round == 0)
            for (int i = 0; i < 5; i++)
                kit_write(s, &kit_user, "a.md", i % 2 ? "odd" : "even");
        CHECK_OK(agt_checkpoint(s, &err), err);
        paths_bytes = 0;
        machine_on_call(m, paths_count, NULL);
        CHECK_INT(paths_read(s, "a.md", true, 0, 0, got, PATHS_MOST), 5);
        kit_version_reads(s, "a.md", 5, "even");
        machine_on_call(m, NULL, NULL);
        if (round == 0) first = paths_bytes;
    }
    test_saw("bytes read at 250 events", first);
    test_saw("bytes read at 3,000 events", paths_bytes);
    CHECK(paths_bytes < 2 * first);
    agt_close(s, NULL);
    machine_free(m);
}

/* ---- versions ---- */

/* In any order, of two documents, one of which moves; also where what the handle remembers of the
 * last walk is of another trace. */
TEST(paths, versions_are_found_in_any_order) {
    enum { MOST = 60 };
    machine_settings set = {.seed = test_random()};
    machine *m = machine_new(&set);
    machine_make_folder(m, "/home");
    agt_error err;
    agt_store *w = oracle_open(machine_process_new(m, "writer"), "/home", NULL, AGT_OK);
    agt_store *r = oracle_open(machine_process_new(m, "reader"), "/home", NULL, AGT_OK);
    const char *path[2] = {"a.md", "b.md"};
    uint32_t count[2] = {0, 0};
    char text[40], wanted[2][MOST + 2][40];
    for (int i = 0; i < 400; i++) {
        int d = (int)test_random_below(2);
        if (i == 200) {
            CHECK_OK(agt_rename(w, &kit_user, "b.md", "c.md", NULL, NULL, &err), err);
            path[1] = "c.md";
            memcpy(wanted[1][count[1] + 1], wanted[1][count[1]], sizeof wanted[1][0]);
            count[1]++;
        }
        if (i % 97 == 50) CHECK_OK(agt_checkpoint(w, &err), err);
        if (count[d] < MOST && test_random_below(3) == 0) {
            snprintf(text, sizeof text, "%s %u", d ? "b" : "a", (unsigned)++count[d]);
            memcpy(wanted[d][count[d]], text, sizeof text);
            kit_write(w, &kit_agent, path[d], text);
        }
        if (!count[d]) continue;
        uint32_t v = 1 + (uint32_t)test_random_below(count[d]);
        if (test_random_below(4) == 0) r->walked.seq = test_random_below(200);
        if (test_random_below(4) == 0) r->walked.prev = test_random_below(200);
        if (test_random_below(4) == 0) r->walked.version = (uint32_t)test_random_below(MOST);
        kit_version_reads(r, path[d], v, wanted[d][v]);
    }
    CHECK(count[0] > 20 && count[1] > 20);
    agt_close(r, NULL);
    agt_close(w, NULL);
    machine_free(m);
}
