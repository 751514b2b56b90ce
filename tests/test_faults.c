/* Failed calls: every call to the system fails once or for ever, every allocation fails. A change
 * that was not acknowledged did not happen (unless its outcome is unknown), one that was is there,
 * also after a power cut, and nothing leaks. */
#include "fault.h"
#include "oracle.h"

static const char *const root = "/home";
static const agt_caller agent = AGT_CALLER("agent:kestrel");

typedef struct faults_run {
    oracle o;
    agt_open_options opts;
    unsigned refused; /* calls that did not answer AGT_OK */
} faults_run;

/* The model follows the answer. */
static void faults_take(faults_run *r, int doc, agt_status st, const agt_error *err) {
    if (st == AGT_OK) {
        oracle_ack(&r->o, doc);
        return;
    }
    CHECK(err->message[0]);
    CHECK_INT(err->status, st);
    r->refused++;
    if (!err->outcome_unknown) oracle_not(&r->o, doc);
}

static void faults_write(faults_run *r, agt_store *s, int doc, const char *text) {
    agt_error err = {0};
    if (r->o.tried[doc] != r->o.acked[doc]) return; /* unknown: leave that document alone */
    text = oracle_try(&r->o, doc, text);
    agt_status st = agt_write(s, &agent, r->o.path[doc], text, strlen(text), NULL, NULL, &err);
    faults_take(r, doc, st, &err);
}

static void faults_remove(faults_run *r, agt_store *s, int doc) {
    agt_error err = {0};
    if (r->o.tried[doc] != r->o.acked[doc] || !oracle_exists(&r->o, doc)) return;
    oracle_try(&r->o, doc, NULL);
    agt_status st = agt_remove(s, &agent, r->o.path[doc], NULL, NULL, &err);
    faults_take(r, doc, st, &err);
}

static void faults_batch(faults_run *r, agt_store *s, int a, int b) {
    agt_error err = {0};
    agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    if (r->o.tried[a] != r->o.acked[a] || r->o.tried[b] != r->o.acked[b]) return;
    c[0].path = r->o.path[a], c[0].bytes = oracle_try(&r->o, a, "batch one"), c[0].len = 9;
    c[1].path = r->o.path[b], c[1].bytes = oracle_try(&r->o, b, "batch two"), c[1].len = 9;
    agt_status st = agt_batch(s, &agent, c, 2, 0, NULL, &err);
    faults_take(r, a, st, &err);
    faults_take(r, b, st, &err);
}

static void faults_group(faults_run *r, agt_store *s, int a, int b) {
    agt_error err = {0};
    agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    agt_write_result w[2] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
    if (r->o.tried[a] != r->o.acked[a] || r->o.tried[b] != r->o.acked[b]) return;
    c[0].path = r->o.path[a], c[0].bytes = oracle_try(&r->o, a, "group one"), c[0].len = 9;
    c[1].path = r->o.path[b], c[1].bytes = oracle_try(&r->o, b, "group two"), c[1].len = 9;
    c[0].caller = c[1].caller = &agent;
    agt_status st = agt_group(s, c, 2, 0, w, &err);
    const int doc[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        agt_error why = {0};
        why.outcome_unknown = err.outcome_unknown;
        why.status = st != AGT_OK ? st : (agt_status)w[i].status;
        snprintf(why.message, sizeof why.message, "%s%s", err.message, w[i].message);
        faults_take(r, doc[i], why.status, &why);
    }
}

static void faults_work(faults_run *r) {
    agt_error err = {0};
    agt_store *s;
    agt_status st = agt_open(&s, root, &r->opts, &err);
    if (st != AGT_OK) {
        CHECK(!s);
        CHECK(err.message[0]);
        r->refused++;
        return;
    }
    faults_write(r, s, 0, "zero again");
    faults_batch(r, s, 1, 4);
    faults_remove(r, s, 2);
    agt_status pub = agt_publish(s, &err);
    r->refused += pub != AGT_OK && pub != AGT_UNSUPPORTED;
    faults_write(r, s, 2, "two is back");
    agt_bytes b;
    st = agt_read_version(s, r->o.path[0], 1, &b, &err);
    r->refused += st != AGT_OK;
    agt_bytes_free(&b);
    st = agt_checkpoint(s, &err);
    r->refused += st != AGT_OK;
    faults_group(r, s, 3, 0);
    faults_write(r, s, 5, "five");
    agt_close(s, NULL);
}

static machine *faults_start(faults_run *r) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_sync_all(m);
    machine_process *p = machine_process_new(m, "before");
    agt_store *s = oracle_open(p, root, NULL, AGT_OK);
    memset(r, 0, sizeof *r);
    oracle_init(&r->o);
    for (int i = 0; i < 5; i++)
        faults_write(r, s, i, "first bytes of a document");
    CHECK_OK(agt_checkpoint(s, &err), err);
    faults_write(r, s, 1, "second bytes");
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
    return m;
}

static void faults_copy(oracle *to, const oracle *from) {
    *to = *from;
    for (int i = 0; i < ORACLE_DOCS; i++)
        for (int k = 0; k < ORACLE_VERSIONS; k++)
            if (from->v[i][k].text) to->v[i][k].text = strdup(from->v[i][k].text);
}

static void faults_round(fault_sweep *f, const machine *start, const faults_run *before) {
    machine_memory mem;
    faults_run r = *before;
    machine *m = machine_clone(start);
    machine_process *p = machine_process_new(m, "writer");
    faults_copy(&r.o, &before->o);
    r.opts = (agt_open_options)AGT_OPEN_OPTIONS_INIT;
    r.opts.sys = machine_sys(p);
    r.opts.allocator = machine_memory_init(&mem);
    fault_arm(f, m, &mem);
    faults_work(&r);
    fault_disarm(f);
    if (!f->injected) CHECK_INT(r.refused, 0);
    CHECK_INT(mem.live_blocks, 0);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
    machine *cut = machine_clone(m);
    machine_cut how = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
    oracle_check(&r.o, m, root);
    machine_power_cut(cut, &how);
    oracle_check(&r.o, cut, root);
    machine_free(cut);
    machine_free(m);
    oracle_free(&r.o);
}

static void faults_sweep(unsigned kinds, unsigned step) {
    faults_run before;
    machine *start = faults_start(&before);
    FOR_SOME_FAULTS(f, kinds, step) faults_round(&f, start, &before);
    machine_free(start);
    oracle_free(&before.o);
}

TEST(faults, a_failing_call_is_reported_and_nothing_acknowledged_is_lost) {
    faults_sweep(FAULT_IO | FAULT_ACCESS | FAULT_NOSPC | FAULT_SHORT, test_all() ? 1 : 3);
}

TEST(faults, calls_that_fail_for_ever_are_reported_and_nothing_acknowledged_is_lost) {
    faults_sweep(FAULT_IO_FOREVER | FAULT_NOSPC_FOREVER | FAULT_SHORT_FOREVER, test_all() ? 1 : 3);
}

TEST(faults, a_call_that_is_done_but_reported_as_failed_does_no_harm) {
    faults_sweep(FAULT_IO_AFTER, test_all() ? 1 : 3);
}

TEST(faults, a_failed_sync_is_never_acknowledged) {
    faults_sweep(FAULT_SYNC | FAULT_SYNC_FOREVER, 1);
}

TEST(faults, every_allocation_may_fail) {
    faults_sweep(FAULT_MEMORY | FAULT_MEMORY_FOREVER, test_all() ? 1 : 2);
}

/* A record that was written whole and reported as failed is taken back; the power may go right
 * after it. */
TEST(faults, what_was_taken_back_does_not_return_after_a_power_cut) {
    uint64_t refused = 0, states = 0;
    for (uint64_t at = 1; at < 8; at++) {
        agt_error err = {0};
        machine_settings set = {.seed = test_random(), .call_ns = 1000};
        machine *m = machine_new(&set);
        machine_make_folder(m, root);
        agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
        CHECK_OK(agt_write(s, &agent, "a.md", "one", 3, NULL, NULL, &err), err);
        machine_sync_all(m);
        machine_fail(m, &(machine_fault){.at = at,
                                         .ops = MACHINE_BIT(MACHINE_PWRITE),
                                         .cls = AGT_SYS_IO,
                                         .code = EIO,
                                         .after = true});
        agt_status st = agt_write(s, &agent, "a.md", "two", 3, NULL, NULL, &err);
        machine_fail(m, NULL);
        refused += st != AGT_OK && !err.outcome_unknown;
        for (int k = 0; st != AGT_OK && !err.outcome_unknown && k < 40; k++) {
            agt_store_info info = AGT_STORE_INFO_INIT;
            machine *c = machine_clone(m);
            machine_power_cut(c, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()});
            agt_store *t = oracle_open(machine_process_new(c, "next"), root, NULL, AGT_OK);
            CHECK_OK(agt_store_get_info(t, &info, &err), err);
            CHECK_INT(info.last_seq, 1);
            agt_close(t, NULL);
            machine_free(c);
            states++;
        }
        agt_close(s, NULL);
        machine_free(m);
    }
    test_saw("states", states);
    CHECK(refused > 1);
}
