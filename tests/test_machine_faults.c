/* Every way in which the machine makes calls fail, processes die and others interfere is shown to
 * do so. */
#include "fault.h"
#include "machine_kit.h"

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

TEST(machine, what_is_done_again_after_a_failed_sync_is_on_the_disk) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    for (int again = 0; again < 2; again++) {
        save(&b, b.root, "f.tmp", "new", true);
        CHECK_INT(rename_in(&b, b.root, "f.tmp", b.root, "f"), 0);
        if (!again) machine_fail_sync(b.m, 1, false);
        CHECK_CLASS(b.sys->sync(b.sys->ctx, b.root), again ? 0 : AGT_SYS_IO);
        check_states(b.m, PATHS("/f", "/f.tmp"),
                     STATES(again ? "f=new f.tmp=- " : "f=old f.tmp=- "));
    }
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "NEW", 0);
    machine_fail_sync(b.m, 1, false);
    CHECK_CLASS(b.sys->sync(b.sys->ctx, fd), AGT_SYS_IO);
    CHECK_INT(b.sys->sync(b.sys->ctx, fd), 0);
    check_states(b.m, PATHS("/f"), STATES("f=new "));
    put(&b, fd, "NEW", 0); /* the same bytes */
    CHECK_INT(b.sys->sync(b.sys->ctx, fd), 0);
    check_states(b.m, PATHS("/f"), STATES("f=NEW "));
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
    CHECK_INT(clean, 16);
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
