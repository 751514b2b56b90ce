/* A disk without room, and a rejected/ that cannot be written: a refused write must not lock
 * anybody out. The refusal is recorded; its bytes wait in the journal until they can be kept. */
#include "fault.h"
#include "oracle.h"
#include "store_kit.h"

static const char *const root = "/home";
/* the SHA-256 of "evil" */
#define FULL_EVIL "b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73"
static const char *const full_kept = "/home/.agent-trace/rejected/" FULL_EVIL;

static machine *full_machine(machine_process **p, agt_store **s) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    o.type = AGT_TYPE_REFERENCE;
    machine_make_folder(m, root);
    *p = machine_process_new(m, "writer");
    *s = oracle_open(*p, root, NULL, AGT_OK);
    CHECK_OK(agt_write(*s, &kit_user, "style.md", "tabs", 4, &o, NULL, &err), err);
    kit_write(*s, &kit_user, "plan.md", "one");
    kit_write(*s, &kit_user, "notes.md", "note");
    return m;
}

/* Nothing more fits: what is there may still be written over. */
static void full_fill(machine *m) {
    machine_set(m)->capacity = 1;
}

static void full_refused(agt_store *s, const void *bytes, size_t len, uint64_t want) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_status st = agt_write(s, &kit_agent, "style.md", bytes, len, NULL, &r, &err);
    CHECK_STATUS(st, AGT_DENIED, err);
    CHECK_INT(r.seq, want);
    CHECK_INT(r.apply_pending, 0);
}

static void full_bytes_read(agt_store *s, uint64_t seq, const char *want) {
    agt_error err;
    agt_bytes b;
    CHECK_OK(agt_read_refused(s, seq, &b, &err), err);
    CHECK_BYTES(b.data, b.len, want, strlen(want));
    agt_bytes_free(&b);
}

static bool full_is_kept(machine *m, const char *want) {
    char *is = machine_get(m, full_kept, NULL);
    bool same = is && strcmp(is, want) == 0;
    free(is);
    return same;
}

/* Documents, trace and the refusal can be read through a handle of any kind. */
static void full_all_reads(machine *m, bool read_only, uint64_t events) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "reader");
    o.sys = machine_sys(p);
    o.read_only = read_only;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    kit_reads(s, "style.md", "tabs");
    kit_reads(s, "plan.md", "one");
    CHECK_INT(kit_events(s), events);
    full_bytes_read(s, 4, "evil");
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
}

TEST(full, a_refused_write_on_a_full_disk_is_recorded_and_stops_neither_reads_nor_writes) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    machine *m = full_machine(&p, &s);
    agt_store_info info = AGT_STORE_INFO_INIT;
    full_fill(m);
    full_refused(s, "evil", 4, 4);
    CHECK(!machine_get(m, full_kept, NULL));
    kit_reads(s, "plan.md", "one");
    full_bytes_read(s, 4, "evil");
    full_all_reads(m, false, 4);
    full_all_reads(m, true, 4);
    CHECK(!machine_get(m, full_kept, NULL));
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.apply_pending, 0);
    /* what needs no room is done */
    CHECK_OK(agt_remove(s, &kit_user, "notes.md", NULL, NULL, &err), err);
    CHECK_OK(agt_unlock(s, &kit_user, "style.md", "agent:kestrel", 1000, NULL, NULL, &err), err);
    CHECK_STATUS(agt_write(s, &kit_user, "plan.md", "two", 3, NULL, NULL, &err), AGT_IO, err);
    CHECK(strstr(err.message, "plan.md"));
    full_all_reads(m, false, 6);
    /* and with room everything is, the bytes are kept by who comes next */
    machine_set(m)->capacity = 0;
    full_all_reads(m, false, 6);
    CHECK(full_is_kept(m, "evil"));
    CHECK_INT(kit_write(s, &kit_user, "plan.md", "two"), 2);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

TEST(full, refused_bytes_that_wait_are_kept_by_the_next_checkpoint_of_the_same_handle) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    machine *m = full_machine(&p, &s);
    full_fill(m);
    full_refused(s, "evil", 4, 4);
    /* there is no room for a commit; without git the journal stays as it is, and nobody fails */
    CHECK_STATUS(agt_checkpoint(s, &err), kit_has_git ? AGT_IO : AGT_OK, err);
    full_bytes_read(s, 4, "evil");
    machine_set(m)->capacity = 0;
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK(full_is_kept(m, "evil"));
    full_bytes_read(s, 4, "evil");
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* A damaged file of that name, a folder, a folder that nobody may write in. */
TEST(full, a_rejected_that_cannot_be_written_costs_the_copy_and_nothing_else) {
    agt_error err;
    for (int how = 0; how < 2; how++) {
        machine_process *p;
        agt_store *s;
        machine *m = full_machine(&p, &s);
        if (how == 0)
            CHECK_INT(machine_set_mode(m, "/home/.agent-trace/rejected", 0500), 0);
        else
            CHECK_INT(machine_make_folder(m, full_kept), 0);
        full_refused(s, "evil", 4, 4);
        CHECK_INT(kit_write(s, &kit_user, "plan.md", "one"), 1); /* unchanged */
        CHECK_INT(kit_write(s, &kit_user, "notes.md", "noted"), 2);
        full_all_reads(m, false, 5);
        CHECK_OK(agt_checkpoint(s, &err), err); /* the journal keeps what nothing else does */
        CHECK_INT(kit_write(s, &kit_user, "notes.md", "noted again"), 3);
        CHECK_OK(agt_close(s, &err), err);
        machine_reboot(m);
        p = machine_process_new(m, "later");
        s = oracle_open(p, root, NULL, AGT_OK);
        kit_reads(s, "notes.md", "noted again");
        full_bytes_read(s, 4, "evil");
        CHECK_OK(agt_gc(s, NULL, NULL, &err), err);
        full_bytes_read(s, 4, "evil");
        CHECK_OK(agt_close(s, &err), err);
        machine_free(m);
    }
}

TEST(full, a_restart_on_a_full_disk_leaves_the_store_readable) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine *m = full_machine(&p, &s);
    full_fill(m);
    full_refused(s, "evil", 4, 4);
    CHECK_OK(agt_close(s, &err), err);
    machine_reboot(m);
    p = machine_process_new(m, "later");
    o.sys = machine_sys(p);
    CHECK_OK(agt_open(&s, root, &o, &err), err); /* the records stay: nothing needs room */
    CHECK_OK(agt_close(s, &err), err);
    full_all_reads(m, true, 4);
    full_all_reads(m, false, 4);
    machine_set(m)->capacity = 0;
    full_all_reads(m, false, 4);
    CHECK(full_is_kept(m, "evil"));
    machine_free(m);
}

/* Refused bytes that are too long for the journal need a side file: without room for one the
 * refusal is recorded all the same. */
TEST(full, a_long_refused_write_on_a_full_disk_is_a_refusal_too) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    agt_bytes b;
    machine *m = full_machine(&p, &s);
    size_t len = 3u << 20;
    char *text = calloc(1, len);
    memset(text, 'x', len);
    full_fill(m);
    full_refused(s, text, len, 4);
    CHECK_STATUS(agt_read_refused(s, 4, &b, &err), AGT_NOT_FOUND, err);
    kit_reads(s, "plan.md", "one");
    machine_set(m)->capacity = 0;
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_reboot(m);
    p = machine_process_new(m, "later");
    s = oracle_open(p, root, NULL, AGT_OK);
    CHECK_INT(kit_events(s), 4);
    CHECK_OK(agt_close(s, &err), err);
    free(text);
    machine_free(m);
}

TEST(full, a_store_that_cannot_be_made_leaves_nothing_and_can_be_made_later) {
    agt_error err;
    agt_stat st;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_process *p = machine_process_new(m, "maker");
    o.sys = machine_sys(p);
    o.create = 1;
    machine_make_folder(m, root);
    CHECK_INT(machine_put_text(m, "/home/filler", "full"), 0);
    machine_set(m)->capacity = 1;
    CHECK_STATUS(agt_open(&s, root, &o, &err), AGT_IO, err);
    CHECK(strstr(err.message, ".agent-trace/.gitignore: no space left") != NULL);
    CHECK(machine_stat(m, "/home/.agent-trace", &st) < 0);
    machine_set(m)->capacity = 0;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    kit_write(s, &kit_user, "a.md", "a");
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
    machine_free(m);
}
