/* Two handles of two processes in one machine: what one does between two calls of the other, and
 * what people do while a change waits to be put in place. */
#include "../src/store/store.h"
#include "oracle.h"
#include "store_kit.h"

#include <errno.h>

static const char *const root = "/home";

/* A writer, and a reader whose locks and opens can be watched. */
typedef struct pair {
    machine *m;
    agt_store *w, *r;
    agt_sys sys; /* the reader's */
    const agt_sys *under;
    void (*on_lock)(struct pair *p);
    void (*on_open)(struct pair *p, const char *name);
    agt_error err;
} pair;

static pair *watched; /* machine_sys has a context of its own */

static void pair_lock(void *ctx, void *mutex) {
    void (*each)(pair *) = watched->on_lock;
    watched->on_lock = NULL; /* once, and not for what it does itself */
    if (each) each(watched);
    watched->under->mutex_lock(ctx, mutex);
}

static agt_fd pair_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    void (*each)(pair *, const char *) = watched->on_open;
    watched->on_open = NULL;
    if (each) each(watched, name);
    if (!watched->on_open) watched->on_open = each;
    return watched->under->open(ctx, dir, name, flags, mode);
}

static void pair_reader(pair *p, bool read_only) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    p->under = machine_sys(machine_process_new(p->m, "reader"));
    p->sys = *p->under;
    p->sys.mutex_lock = pair_lock;
    p->sys.open = pair_open;
    o.sys = &p->sys;
    o.read_only = read_only;
    CHECK_OK(agt_open(&p->r, root, &o, &p->err), p->err);
}

static void pair_begin(pair *p, bool read_only) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    memset(p, 0, sizeof *p);
    watched = p;
    p->m = machine_new(&set);
    machine_make_folder(p->m, root);
    p->w = oracle_open(machine_process_new(p->m, "writer"), root, NULL, AGT_OK);
    kit_write(p->w, &kit_agent, "a.md", "one");
    pair_reader(p, read_only);
}

static void pair_end(pair *p) {
    p->on_lock = NULL;
    p->on_open = NULL;
    machine_fail(p->m, NULL);
    agt_close(p->r, NULL);
    agt_close(p->w, NULL);
    machine_free(p->m);
}

/* The machine is started again, and both open the store anew. */
static void pair_restart(pair *p) {
    agt_close(p->r, NULL);
    agt_close(p->w, NULL);
    machine_reboot(p->m);
    p->w = oracle_open(machine_process_new(p->m, "writer"), root, NULL, AGT_OK);
    pair_reader(p, false);
}

static void pair_block(pair *p, uint64_t at, machine_op op, int cls, int code, bool forever) {
    machine_fail(
        p->m, &(machine_fault){
                  .at = at, .ops = MACHINE_BIT(op), .cls = cls, .code = code, .forever = forever});
}

static char *pair_bytes(char first) {
    static char bytes[900 * 1024 + 1];
    memset(bytes, 'x', sizeof bytes - 1);
    bytes[0] = first;
    return bytes;
}

/* ---- the trace ---- */

/* One change is applied, the next one waits. */
static void write_two(pair *p) {
    kit_write(p->w, &kit_agent, "a.md", "three");
    pair_block(p, 1, MACHINE_RENAME, AGT_SYS_ACCESS, EPERM, true);
    kit_write(p->w, &kit_agent, "a.md", "four");
}

TEST(meanwhile, no_event_is_missed_between_the_end_of_the_trace_and_the_journal) {
    for (int read_only = 0; read_only < 2; read_only++) {
        pair p;
        agt_cursor *c;
        agt_event e = AGT_EVENT_INIT;
        pair_begin(&p, read_only);
        kit_write(p.w, &kit_agent, "a.md", "two");
        CHECK_OK(agt_trace(p.r, NULL, &c, &p.err), p.err);
        for (uint64_t seq = 1; seq <= 4; seq++) {
            if (seq == 3) p.on_lock = write_two;
            CHECK_OK(agt_trace_next(c, &e, &p.err), p.err);
            CHECK_INT(e.seq, seq);
        }
        CHECK_STATUS(agt_trace_next(c, &e, &p.err), AGT_END, p.err);
        machine_fail(p.m, NULL);
        kit_write(p.w, &kit_agent, "a.md", "five"); /* finishes what waited, too */
        CHECK_OK(agt_trace_next(c, &e, &p.err), p.err);
        CHECK_INT(e.seq, 5);
        CHECK_STATUS(agt_trace_next(c, &e, &p.err), AGT_END, p.err);
        agt_cursor_close(c);
        pair_end(&p);
    }
}

TEST(meanwhile, newest_first_gives_every_event_once_and_in_order) {
    for (int read_only = 0; read_only < 2; read_only++) {
        pair p;
        agt_cursor *c;
        agt_event e = AGT_EVENT_INIT;
        agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
        pair_begin(&p, read_only);
        kit_write(p.w, &kit_agent, "a.md", "two");
        o.newest_first = 1;
        CHECK_OK(agt_trace(p.r, &o, &c, &p.err), p.err);
        p.on_lock = write_two;
        for (uint64_t seq = 4; seq; seq--) {
            CHECK_OK(agt_trace_next(c, &e, &p.err), p.err);
            CHECK_INT(e.seq, seq);
        }
        CHECK_STATUS(agt_trace_next(c, &e, &p.err), AGT_END, p.err);
        agt_cursor_close(c);
        pair_end(&p);
    }
}

static uint64_t fail_at;
static void fail_a_read(pair *p) {
    pair_block(p, fail_at, MACHINE_PREAD, AGT_SYS_IO, EIO, false);
}

TEST(meanwhile, a_call_that_failed_may_be_made_again_and_loses_no_event) {
    uint64_t failed = 0;
    for (fail_at = 1; fail_at < 7; fail_at++) {
        pair p;
        agt_cursor *c;
        agt_event e = AGT_EVENT_INIT;
        agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
        pair_begin(&p, false);
        kit_write(p.w, &kit_agent, "a.md", "two");
        o.newest_first = 1;
        CHECK_OK(agt_trace(p.r, &o, &c, &p.err), p.err);
        p.on_lock = fail_a_read;
        agt_status st = agt_trace_next(c, &e, &p.err);
        failed += st != AGT_OK;
        if (st != AGT_OK) CHECK_OK(agt_trace_next(c, &e, &p.err), p.err);
        CHECK_INT(e.seq, 2);
        agt_cursor_close(c);
        pair_end(&p);
    }
    CHECK(failed > 1);
}

/* Lines that a power cut tore are not the trace: a handle that cannot recover reads the journal. */
TEST(meanwhile, a_read_only_handle_reads_a_torn_store_whole) {
    char text[1600], summary[700];
    agt_write_options wide = AGT_WRITE_OPTIONS_INIT;
    memset(summary, 's', sizeof summary);
    summary[sizeof summary - 1] = 0;
    wide.summary = summary;
    for (int round = 0; round < (test_all() ? 400 : 60); round++) {
        pair p;
        agt_bytes b;
        agt_cursor *c;
        agt_event e = AGT_EVENT_INIT;
        agt_trace_options from = AGT_TRACE_OPTIONS_INIT;
        pair_begin(&p, false);
        machine_sync_all(p.m);
        for (int i = 0; i < 8; i++) {
            memset(text, 'a' + i, sizeof text);
            CHECK_OK(agt_write(p.w, &kit_agent, "a.md", text, sizeof text, &wide, NULL, &p.err),
                     p.err);
        }
        machine_power_cut(p.m, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()});
        agt_close(p.r, NULL);
        agt_close(p.w, NULL);
        p.w = NULL;
        pair_reader(&p, true);
        CHECK_INT(oracle_check_trace(p.r), 9);
        from.from_seq = 6;
        CHECK_OK(agt_trace(p.r, &from, &c, &p.err), p.err);
        for (uint64_t seq = 6; seq <= 9; seq++) {
            CHECK_OK(agt_trace_next(c, &e, &p.err), p.err);
            CHECK_INT(e.seq, seq);
        }
        agt_cursor_close(c);
        for (uint32_t v = 2; v <= 9; v++) {
            CHECK_OK(agt_read_version(p.r, "a.md", v, &b, &p.err), p.err);
            CHECK_INT(b.data[7], 'a' + (int)v - 2);
            agt_bytes_free(&b);
        }
        pair_end(&p);
    }
}

/* ---- documents ---- */

static void checkpoint_before_side(pair *p, const char *name) {
    if (strncmp(name, "side-", 5) != 0) return;
    p->on_open = NULL;
    CHECK_OK(agt_checkpoint(p->w, &p->err), p->err);
}

TEST(meanwhile, a_long_content_moves_to_git_while_it_is_read) {
    pair p;
    agt_bytes b;
    if (!kit_has_git) test_skip("needs git");
    pair_begin(&p, false);
    size_t n = 1200 * 1024;
    char *big = calloc(1, n);
    CHECK_OK(agt_write(p.w, &kit_agent, "big.md", big, n, NULL, NULL, &p.err), p.err);
    free(big);
    p.on_open = checkpoint_before_side;
    CHECK_OK(agt_read_version(p.r, "big.md", 1, &b, &p.err), p.err);
    CHECK_INT(b.len, n);
    agt_bytes_free(&b);
    CHECK_OK(agt_checkpoint(p.w, &p.err), p.err);
    pair_end(&p);
}

/* Before call n of the reader another process makes a checkpoint and writes over the journal. */
typedef struct moment {
    uint64_t at, seen;
    pair *p;
    bool publish, done;
} moment;

static void moment_call(void *ctx, machine *m, const machine_call *call) {
    moment *w = ctx;
    agt_error err;
    (void)m;
    if (w->done || call->process != w->p->under->ctx || ++w->seen != w->at) return;
    w->done = true;
    if (w->publish)
        CHECK_OK(agt_checkpoint(w->p->w, &err), err);
    else
        CHECK_OK(agt__empty_journal(w->p->w, &err), err);
    for (int i = 0; i < 6; i++)
        kit_write_blanks(w->p->w, "other.md", 3000, i);
}

TEST(meanwhile, a_version_that_a_checkpoint_moves_is_found_at_every_moment) {
    uint64_t moments = 0;
    for (int way = 0; way < 16; way++) {
        bool kept = way & 1, read_only = way & 2, newest = way & 4, publish = way & 8;
        if (publish && !kit_has_git) break;
        bool done = true;
        for (uint64_t at = 1; done; at++) {
            pair p;
            agt_bytes b;
            pair_begin(&p, read_only);
            kit_write_blanks(p.w, "v.md", 3001, 1);
            kit_write_blanks(p.w, "v.md", 3002, 2);
            if (kept) CHECK_OK(agt__empty_journal(p.w, &p.err), p.err);
            moment w = {.at = at, .p = &p, .publish = publish};
            machine_on_call(p.m, moment_call, &w);
            uint32_t v = newest ? 2 : 1;
            CHECK_OK(agt_read_version(p.r, "v.md", v, &b, &p.err), p.err);
            machine_on_call(p.m, NULL, NULL);
            CHECK_INT(b.len, 3000 + v);
            CHECK_INT(((const char *)b.data)[b.len / 2], '0' + (int)v);
            agt_bytes_free(&b);
            done = w.done;
            moments += done;
            pair_end(&p);
        }
    }
    test_saw("moments", moments);
    CHECK(moments > (kit_has_git ? 200 : 100));
}

static int writes_left;
static void write_before_look(pair *p, const char *name) {
    if (strcmp(name, "a.md") != 0 || !writes_left--) return;
    kit_write(p->w, &kit_agent, "a.md", writes_left ? "two" : "three");
}

TEST(meanwhile, bytes_and_version_of_a_read_only_handle_belong_together) {
    pair p;
    agt_bytes b;
    agt_document d = AGT_DOCUMENT_INIT;
    pair_begin(&p, true);
    writes_left = 2;
    p.on_open = write_before_look;
    CHECK_OK(agt_read(p.r, "a.md", &b, &d, &p.err), p.err);
    CHECK_INT(d.version, 3);
    CHECK_STR((const char *)b.data, "three");
    CHECK_INT(d.modified_outside, 0);
    agt_bytes_free(&b);
    pair_end(&p);
}

/* A person's link where a document was is an edit: nothing waits for it. */
TEST(meanwhile, a_link_in_the_place_of_a_document_stops_nothing) {
    pair p;
    pair_begin(&p, false);
    kit_write(p.w, &kit_agent, "b.md", "b one");
    kit_write(p.w, &kit_agent, "b.md", "b two");
    machine_remove(p.m, "/home/a.md");
    machine_symlink(p.m, "b.md", "/home/a.md");
    pair_restart(&p);
    CHECK_OK(agt_checkpoint(p.w, &p.err), p.err);
    machine_put_text(p.m, "/home/b.md", "b one"); /* an older version, by hand */
    kit_reads(p.w, "b.md", "b one");
    char *disk = machine_get(p.m, "/home/b.md", NULL);
    CHECK_STR(disk, "b one");
    free(disk);
    machine_remove(p.m, "/home/b.md");
    kit_write(p.w, &kit_agent, "c.md", "c");
    CHECK(!machine_get(p.m, "/home/b.md", NULL));
    for (int i = 0; i < 12; i++)
        CHECK_OK(agt_write(p.w, &kit_agent, "big.md", pair_bytes((char)('a' + i)), 900 * 1024, NULL,
                           NULL, &p.err),
                 p.err);
    pair_end(&p);
}

TEST(meanwhile, a_link_keeps_no_failed_store_from_being_opened_again) {
    pair p;
    pair_begin(&p, false);
    machine_remove(p.m, "/home/a.md");
    machine_symlink(p.m, "b.md", "/home/a.md");
    machine_fail_sync(p.m, 1, false);
    CHECK_STATUS(agt_write(p.w, &kit_agent, "b.md", "b", 1, NULL, NULL, &p.err), AGT_IO, p.err);
    machine_fail(p.m, NULL);
    agt_close(p.w, NULL);
    p.w = oracle_open(machine_process_new(p.m, "again"), root, NULL, AGT_OK);
    kit_write(p.w, &kit_agent, "c.md", "c");
    pair_end(&p);
}

/* While one document waits, another one is edited back to an older version. */
TEST(meanwhile, an_edit_is_an_edit_also_while_another_document_waits) {
    pair p;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    pair_begin(&p, false);
    machine_make_folder(p.m, "/home/d");
    pair_block(&p, 1, MACHINE_RENAME, AGT_SYS_ACCESS, EPERM, true);
    CHECK_OK(agt_write(p.w, &kit_agent, "d/x.md", "x", 1, NULL, &r, &p.err), p.err);
    CHECK_INT(r.apply_pending, 1);
    machine_fail(p.m, NULL);
    CHECK_INT(machine_set_mode(p.m, "/home/d", 0555), 0);
    kit_write(p.w, &kit_agent, "y.md", "y1");
    kit_write(p.w, &kit_agent, "y.md", "y2");
    machine_put_text(p.m, "/home/y.md", "y1");
    o.check_version = 1;
    o.expected_version = 2;
    r = (agt_write_result)AGT_WRITE_RESULT_INIT;
    CHECK_STATUS(agt_write(p.w, &kit_agent, "y.md", "y3", 2, &o, &r, &p.err), AGT_CONFLICT, p.err);
    CHECK_INT(r.edit_recorded, 1);
    CHECK_INT(r.version, 3);
    pair_end(&p);
}

/* ---- groups, room, results ---- */

TEST(meanwhile, a_refused_change_in_a_group_leaves_its_neighbours_alone) {
    pair p;
    agt_change c[3];
    agt_write_result r[3];
    agt_write_options bad = AGT_WRITE_OPTIONS_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    static const char *const text[] = {"two", "x", "three"};
    pair_begin(&p, false);
    bad.type = AGT_TYPE_PLAN;
    for (int i = 0; i < 3; i++) {
        c[i] = (agt_change)AGT_CHANGE_INIT;
        r[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
        c[i].path = "a.md";
        c[i].bytes = text[i];
        c[i].len = strlen(text[i]);
        c[i].caller = &kit_agent;
        c[i].options = i == 1 ? &bad : NULL;
    }
    CHECK_OK(agt_group(p.w, c, 3, 0, r, &p.err), p.err);
    CHECK_INT(r[0].status, AGT_OK);
    CHECK_INT(r[1].status, AGT_INVALID);
    CHECK_INT(r[2].status, AGT_OK);
    CHECK_INT(r[2].version, 3);
    CHECK_INT(r[2].edit_kept_aside, 0);
    CHECK_INT(r[2].edit_recorded, 0);
    CHECK_OK(agt_store_get_info(p.w, &info, &p.err), p.err);
    CHECK_INT(info.edits_kept_aside, 0);
    CHECK_INT(info.last_seq, 3);
    kit_reads(p.w, "a.md", "three");
    pair_end(&p);
}

/* A handle that slept while others filled the journal. */
TEST(meanwhile, a_journal_that_others_filled_is_emptied_and_the_change_goes_through) {
    pair p;
    agt_change c[3];
    agt_write_result r[3];
    uint64_t seq;
    for (int what = 0; what < 3; what++) {
        pair_begin(&p, false);
        for (int i = 0; i < 7; i++) /* groups do not look for room within themselves */
            CHECK_OK(agt_write(p.w, &kit_agent, i ? "x.md" : "w.md", pair_bytes((char)('A' + i)),
                               i < 4 ? 900 * 1024 : 100, NULL, NULL, &p.err),
                     p.err);
        for (int i = 0; i < 3; i++) {
            static const char *const name[] = {"g.md", "h.md", "i.md"};
            c[i] = (agt_change)AGT_CHANGE_INIT;
            r[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
            c[i].path = name[i];
            c[i].bytes = pair_bytes('g');
            c[i].len = 900 * 1024;
            c[i].caller = &kit_agent;
        }
        CHECK_OK(agt_group(p.w, c, 3, 0, r, &p.err), p.err);
        for (int i = 0; i < 3; i++)
            CHECK_INT(r[i].status, AGT_OK);
        for (int i = 0; i < 3; i++) {
            c[i].bytes = pair_bytes('h');
            c[i].len = 899 * 1024;
        }
        if (what == 0) {
            CHECK_OK(agt_group(p.r, c, 3, 0, r, &p.err), p.err);
            for (int i = 0; i < 3; i++)
                CHECK_INT(r[i].status, AGT_OK);
        } else if (what == 1) {
            for (int i = 0; i < 3; i++)
                CHECK_OK(
                    agt_write(p.r, &kit_agent, c[i].path, c[i].bytes, c[i].len, NULL, NULL, &p.err),
                    p.err);
        } else {
            CHECK_OK(agt_event_append(p.r, &kit_user, "note", "n", NULL, 0, &seq, &p.err), p.err);
            CHECK_INT(seq, 12);
        }
        pair_end(&p);
    }
}

/* Somebody publishes for a long time: writes do not wait for it, and say nothing of it. */
TEST(meanwhile, a_writer_that_finds_no_room_to_make_goes_on_in_what_there_is) {
    pair p;
    pair_begin(&p, false);
    CHECK_OK(agt__publish_enter(p.r, AGT_TRY, &p.err), p.err);
    for (int i = 0; i < 6; i++) /* over half of the journal from the fifth on */
        CHECK_OK(agt_write(p.w, &kit_agent, "w.md", pair_bytes((char)('a' + i)), 900 * 1024, NULL,
                           NULL, &p.err),
                 p.err);
    agt__publish_leave(p.r);
    CHECK_OK(agt_checkpoint(p.w, &p.err), p.err);
    pair_end(&p);
}

TEST(meanwhile, results_of_what_failed_say_that_nothing_happened) {
    for (int sync = 0; sync < 2; sync++)
        for (int batch = 0; batch < 2; batch++) {
            pair p;
            agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
            agt_write_result r[2] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
            agt_write_options o = AGT_WRITE_OPTIONS_INIT;
            pair_begin(&p, false);
            machine_put_text(p.m, "/home/a.md", "by hand");
            o.check_version = !sync; /* a conflict, whose edit cannot be recorded */
            o.expected_version = 1;
            c[0].path = "n.md", c[0].bytes = "n", c[0].len = 1;
            c[1].path = "a.md", c[1].bytes = "m", c[1].len = 1, c[1].options = &o;
            if (sync)
                machine_fail_sync(p.m, 1, false);
            else
                pair_block(&p, 1, MACHINE_PWRITE, AGT_SYS_IO, EIO, false);
            agt_status st = batch ? agt_batch(p.w, &kit_agent, c, 2, 0, r, &p.err)
                                  : agt_write(p.w, &kit_agent, "a.md", "m", 1, &o, &r[1], &p.err);
            CHECK_STATUS(st, AGT_IO, p.err);
            CHECK_INT(p.err.outcome_unknown, sync);
            CHECK_INT(r[1].seq, 0);
            CHECK_INT(r[1].edit_recorded, 0);
            if (!sync) CHECK_INT(r[1].version, 1);
            pair_end(&p);
        }
}
