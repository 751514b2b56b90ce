/* Power cuts: at every change of the disk, with any subset and tear of what was not synced. At full
 * durability nothing acknowledged is lost, nothing is invented, and the store goes on. */
#include "oracle.h"
#include "store_kit.h"

static const char *const root = "/home";

typedef struct power_run {
    machine *m;
    machine_process *p;
    oracle o;
    machine_memory mem;
} power_run;

static const char *power_text(int step) {
    static char text[6000];
    /* sizes on both sides of sectors and pages */
    static const size_t sizes[] = {3, 40, 511, 513, 1500, 4095, 4097, 5500};
    size_t n = sizes[(size_t)step % 8];
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + (i * 7 + (size_t)step * 13) % 26);
    snprintf(text, 8, "%d", step);
    text[strlen(text)] = ' ';
    text[n] = 0;
    return text;
}

static void power_write(power_run *r, agt_store *s, int doc, int step) {
    agt_error err;
    agt_caller me = AGT_CALLER("agent:kestrel");
    const char *text = oracle_try(&r->o, doc, power_text(step));
    agt_status st = agt_write(s, &me, r->o.path[doc], text, strlen(text), NULL, NULL, &err);
    CHECK_STATUS(st, AGT_OK, err);
    oracle_ack(&r->o, doc);
}

static void power_remove(power_run *r, agt_store *s, int doc) {
    agt_error err;
    agt_caller me = AGT_CALLER("user");
    oracle_try(&r->o, doc, NULL);
    CHECK_OK(agt_remove(s, &me, r->o.path[doc], NULL, NULL, &err), err);
    oracle_ack(&r->o, doc);
}

static void power_batch(power_run *r, agt_store *s, int a, int b, int step) {
    agt_error err;
    agt_caller me = AGT_CALLER("agent:kestrel");
    agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    c[0].path = r->o.path[a];
    c[0].bytes = oracle_try(&r->o, a, power_text(step));
    c[0].len = strlen(c[0].bytes);
    c[1].path = r->o.path[b];
    c[1].bytes = oracle_try(&r->o, b, power_text(step + 1));
    c[1].len = strlen(c[1].bytes);
    CHECK_OK(agt_batch(s, &me, c, 2, 0, NULL, &err), err);
    oracle_ack(&r->o, a);
    oracle_ack(&r->o, b);
}

/* What is cut: writes, a batch, a removal, a group, publication loose and packed, checkpoints. */
static void power_work(power_run *r) {
    agt_error err;
    agt_store *s = oracle_open(r->p, root, &r->mem, AGT_OK);
    int step = 0;
    for (int i = 0; i < 4; i++)
        power_write(r, s, i, step++);
    agt_status st = agt_publish(s, &err);
    if (st != AGT_UNSUPPORTED) CHECK_STATUS(st, AGT_OK, err);
    power_write(r, s, 0, step++);
    power_batch(r, s, 1, 4, step += 2);
    CHECK_OK(agt_checkpoint(s, &err), err);
    power_write(r, s, 0, step++);
    power_write(r, s, 5, step++);
    power_remove(r, s, 2);
    st = agt_publish(s, &err);
    if (st != AGT_UNSUPPORTED) CHECK_STATUS(st, AGT_OK, err);
    power_write(r, s, 2, step++);
    power_write(r, s, 0, step++);
    CHECK_OK(agt_checkpoint(s, &err), err);
    power_batch(r, s, 0, 3, step += 2);
    power_write(r, s, 1, step++);
    CHECK_OK(agt_close(s, &err), err);
}

/* Dies at the n-th change; false if the work ended before. */
static bool power_until(power_run *r, const machine *start, uint64_t n, machine_when when) {
    memset(r, 0, sizeof *r);
    r->m = machine_clone(start);
    r->p = machine_process_new(r->m, "writer");
    oracle_init(&r->o);
    machine_memory_init(&r->mem);
    machine_crash_at(r->m, n, MACHINE_CHANGES, when);
    bool ended = setjmp(*machine_crash_point(r->m)) == 0;
    if (ended) power_work(r);
    machine_crash_at(r->m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&r->mem);
    return !ended;
}

static void power_free(power_run *r) {
    oracle_free(&r->o);
    machine_free(r->m);
}

TEST(power, a_cut_at_any_change_loses_nothing_acknowledged) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0, deaths = 0, per = test_count("TEST_CUTS", test_all() ? 40 : 8);
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t n = 1;; n += test_step(1)) {
        power_run r;
        machine_when when = (machine_when)(test_random_below(3));
        if (!power_until(&r, start, n, when)) {
            power_free(&r);
            break;
        }
        deaths++;
        for (uint64_t k = 0; k < per; k++) {
            machine *c = machine_clone(r.m);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            if (k == 0) cut.mode = MACHINE_CUT_LOSE;
            if (k == 1) cut.mode = MACHINE_CUT_KEEP;
            machine_power_cut(c, &cut);
            oracle_check(&r.o, c, root);
            machine_free(c);
            states++;
        }
        power_free(&r);
    }
    machine_free(start);
    test_saw("deaths", deaths);
    test_saw("states", states);
    CHECK(deaths > test_some(kit_has_git ? 600 : 250)); /* half of the changes are git's */
    CHECK(states >= test_some(kit_has_git ? 5000 : 2000));
}

TEST(power, a_process_that_dies_at_any_change_loses_nothing_acknowledged) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t deaths = 0;
    machine_make_folder(start, root);
    for (int when = 0; when < 3; when++)
        for (uint64_t n = 1;; n += test_step(1)) {
            power_run r;
            bool died = power_until(&r, start, n, (machine_when)when);
            if (died) {
                deaths++;
                oracle_check(&r.o, r.m, root);
            }
            power_free(&r);
            if (!died) break;
        }
    machine_free(start);
    test_saw("deaths", deaths);
    CHECK(deaths > test_some(600));
}

TEST(power, a_cut_after_another_process_took_over_loses_nothing) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0;
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t n = 1;; n += test_step(1 + test_random_below(2))) {
        power_run r;
        bool died = power_until(&r, start, n, MACHINE_AFTER);
        machine_process *p = machine_process_new(r.m, "next");
        agt_store *s = oracle_open(p, root, NULL, AGT_OK); /* finishes what was left */
        agt_document d = AGT_DOCUMENT_INIT;
        agt_error err;
        for (int i = 0; i < ORACLE_DOCS; i++) { /* what it shows it has acknowledged */
            agt_status st = agt_document_get(s, r.o.path[i], &d, &err);
            if (st == AGT_OK && d.version > r.o.acked[i]) oracle_ack(&r.o, i);
            if (st == AGT_OK) CHECK_INT(d.version, r.o.acked[i]);
            oracle_not(&r.o, i);
        }
        for (int k = 0; k < 4; k++) {
            machine *c = machine_clone(r.m);
            machine_cut cut = {.mode = k ? MACHINE_CUT_RANDOM : MACHINE_CUT_LOSE,
                               .seed = test_random()};
            machine_power_cut(c, &cut);
            oracle_check(&r.o, c, root);
            machine_free(c);
            states++;
        }
        agt_close(s, NULL);
        power_free(&r);
        if (!died) break;
    }
    machine_free(start);
    test_saw("states", states);
    CHECK(states > test_some(1000));
}

/* A writer died between append and sync, and the shared state is gone too: recovery itself must not
 * show what the next cut would take back. */
TEST(power, a_cut_during_recovery_of_an_unsynced_journal_loses_nothing) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0, pwrites = 0;
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t n = 1;; n += test_step(1 + test_random_below(4))) {
        power_run r;
        bool died = power_until(&r, start, n, MACHINE_AFTER);
        if (machine_remove(r.m, "/home/.agent-trace/state") == 0) pwrites++;
        for (uint64_t k = 1;; k += 1 + test_random_below(test_all() ? 3 : 15)) {
            machine *c = machine_clone(r.m);
            bool again = oracle_until(c, root, k, NULL);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            machine_power_cut(c, &cut);
            oracle_check(&r.o, c, root);
            machine_free(c);
            states++;
            if (!again) break;
        }
        power_free(&r);
        if (!died) break;
    }
    machine_free(start);
    test_saw("states", states);
    CHECK(pwrites > test_some(50));
    CHECK(states > test_some(1000));
}

TEST(power, a_cut_during_recovery_loses_nothing_either) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0, rounds = test_count("TEST_RECOVERIES", test_all() ? 400 : test_some(60));
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t round = 0; round < rounds; round++) {
        power_run r;
        bool died = power_until(&r, start, 1 + test_random_below(900), MACHINE_AFTER);
        machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
        machine_power_cut(r.m, &cut);
        (void)died;
        for (uint64_t n = 1;; n += 1 + test_random_below(5)) { /* die in recovery, cut again */
            machine *c = machine_clone(r.m);
            bool again = oracle_until(c, root, n, NULL);
            cut.seed = test_random();
            machine_power_cut(c, &cut);
            oracle_check(&r.o, c, root);
            machine_free(c);
            states++;
            if (!again) break;
        }
        power_free(&r);
    }
    machine_free(start);
    test_saw("states", states);
    CHECK(states > test_some(200));
}
