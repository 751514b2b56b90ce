/* Contents that are too long for the journal lie in files of their own beside it: they must be as
 * durable as the record that names them, at every level. */
#include "fault.h"
#include "oracle.h"
#include "store_kit.h"

static const char *const root = "/home";
static const agt_caller agent = AGT_CALLER("agent:kestrel");

#define SIDE_BYTES (1100u * 1024) /* more than a record holds */

/* Sparse in the machine, so that thousands of copies fit: a text of blanks with a number. */
static char *side_text(int number) {
    static char *text;
    if (!text) text = malloc(SIDE_BYTES + 1);
    memset(text, ' ', SIDE_BYTES);
    text[SIDE_BYTES] = 0;
    snprintf(text + SIDE_BYTES / 2, 16, "%d", number);
    text[strlen(text)] = '.';
    return text;
}

typedef struct side_run {
    machine *m;
    machine_process *p;
    oracle o;
    machine_memory mem;
} side_run;

static void side_write(side_run *r, agt_store *s, int doc, const char *text, uint32_t durability) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.durability = durability;
    text = oracle_try(&r->o, doc, text);
    r->o.loose[doc] = durability != AGT_DURABLE_FULL;
    CHECK_OK(agt_write(s, &agent, r->o.path[doc], text, strlen(text), &o, NULL, &err), err);
    if (durability == AGT_DURABLE_FULL) oracle_ack(&r->o, doc);
}

/* A change at PROCESS is acknowledged for good by the next one at FULL. */
static void side_work(side_run *r) {
    agt_error err;
    agt_store *s = oracle_open(r->p, root, &r->mem, AGT_OK);
    side_write(r, s, 0, side_text(1), AGT_DURABLE_FULL);
    side_write(r, s, 1, side_text(2), AGT_DURABLE_PROCESS);
    side_write(r, s, 2, "small", AGT_DURABLE_FULL);
    oracle_ack(&r->o, 1);
    side_write(r, s, 3, side_text(3), AGT_DURABLE_PROCESS);
    CHECK_OK(agt_checkpoint(s, &err), err);
    oracle_ack(&r->o, 3);
    side_write(r, s, 0, side_text(4), AGT_DURABLE_FULL);
    side_write(r, s, 0, "short again", AGT_DURABLE_FULL);
    CHECK_OK(agt_close(s, &err), err);
}

TEST(side, a_cut_at_any_change_loses_no_long_content) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0;
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t n = 1 + test_random_below(2);; n += test_step(test_all() ? 1 : 3)) {
        side_run r = {0};
        r.m = machine_clone(start);
        r.p = machine_process_new(r.m, "writer");
        oracle_init(&r.o);
        machine_memory_init(&r.mem);
        machine_crash_at(r.m, n, MACHINE_CHANGES, (machine_when)test_random_below(3));
        bool ended = setjmp(*machine_crash_point(r.m)) == 0;
        if (ended) side_work(&r);
        machine_crash_at(r.m, 0, 0, MACHINE_AFTER);
        machine_memory_release(&r.mem);
        for (int k = 0; k < 2; k++) {
            machine *c = machine_clone(r.m);
            machine_cut cut = {.mode = k ? MACHINE_CUT_RANDOM : MACHINE_CUT_LOSE,
                               .seed = test_random()};
            machine_power_cut(c, &cut);
            oracle_check(&r.o, c, root);
            machine_free(c);
            states++;
        }
        oracle_free(&r.o);
        machine_free(r.m);
        if (ended) break;
    }
    machine_free(start);
    test_saw("states", states);
    CHECK(states > test_some(60));
}

TEST(side, a_failing_call_leaves_a_store_that_opens) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    machine_make_folder(start, root);
    machine_process *p = machine_process_new(start, "before");
    agt_close(oracle_open(p, root, NULL, AGT_OK), NULL);
    machine_process_free(p);
    machine_sync_all(start);
    FOR_SOME_FAULTS(f,
                    FAULT_IO | FAULT_IO_FOREVER | FAULT_IO_AFTER | FAULT_SYNC | FAULT_SYNC_FOREVER,
                    test_all() ? 1 : 2) {
        machine_memory mem;
        oracle o;
        agt_store *s;
        agt_error err = {0};
        machine *m = machine_clone(start);
        agt_open_options opts = AGT_OPEN_OPTIONS_INIT;
        opts.sys = machine_sys(machine_process_new(m, "writer"));
        opts.allocator = machine_memory_init(&mem);
        oracle_init(&o);
        fault_arm(&f, m, &mem);
        if (agt_open(&s, root, &opts, &err) == AGT_OK) {
            for (int i = 0; i < 2; i++) {
                const char *text = oracle_try(&o, i, side_text(i));
                agt_status st = agt_write(s, &agent, o.path[i], text, SIDE_BYTES, NULL, NULL, &err);
                if (st == AGT_OK)
                    oracle_ack(&o, i);
                else if (!err.outcome_unknown)
                    oracle_not(&o, i);
            }
            agt_close(s, NULL);
        }
        fault_disarm(&f);
        if (!f.injected) CHECK(o.acked[0] && o.acked[1]);
        CHECK_INT(mem.live_blocks, 0);
        oracle_check(&o, m, root);
        oracle_free(&o);
        machine_free(m);
    }
    machine_free(start);
}

/* Damage costs the document that has it. */
TEST(side, a_lost_content_costs_its_document_and_not_the_store) {
    agt_error err;
    agt_bytes b;
    agt_document d = AGT_DOCUMENT_INIT;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_process *p = machine_process_new(m, "writer");
    agt_store *s = oracle_open(p, root, NULL, AGT_OK);
    CHECK_OK(agt_write(s, &agent, "long.md", side_text(1), SIDE_BYTES, NULL, NULL, &err), err);
    CHECK_OK(agt_write(s, &agent, "short.md", "here", 4, NULL, NULL, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    CHECK_INT(machine_remove(m, "/home/.agent-trace/unpublished/side-1"), 0);
    CHECK_INT(machine_remove(m, "/home/long.md"), 0);
    CHECK_INT(machine_remove(m, "/home/.agent-trace/state"), 0);
    s = oracle_open(p, root, NULL, AGT_OK);
    CHECK_OK(agt_read(s, "short.md", &b, NULL, &err), err);
    agt_bytes_free(&b);
    CHECK_STATUS(agt_read_version(s, "long.md", 1, &b, &err),
                 kit_has_git ? AGT_CORRUPT : AGT_UNSUPPORTED, err);
    CHECK_OK(agt_document_get(s, "long.md", &d, &err), err);
    CHECK_INT(d.modified_outside, 1);
    CHECK_OK(agt_write(s, &agent, "long.md", "new", 3, NULL, NULL, &err), err);
    CHECK_OK(agt_read(s, "long.md", &b, NULL, &err), err);
    CHECK_STR((const char *)b.data, "new");
    agt_bytes_free(&b);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}
