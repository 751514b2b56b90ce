/* Upgrades that are stopped: the process killed at every change of the disk, and the power cut
 * there. The store is the old one or ours, whole either way, and a rerun makes it ours. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* nftw */
#endif
#include "../src/git/parts.h"
#include "old_machine.h"

typedef struct kill_saw {
    uint64_t deaths, still_old, ours, finished;
} kill_saw;

/* Dies at the n-th change; false if it lived. */
static bool kill_at(machine *m, uint64_t n) {
    machine_memory memory;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "upgrade");
    o.sys = machine_sys(p);
    o.allocator = machine_memory_init(&memory);
    machine_crash_at(m, n, MACHINE_CHANGES & ~MACHINE_BIT(MACHINE_CLOSE), MACHINE_AFTER);
    if (setjmp(*machine_crash_point(m)) == 0) (void)agt_upgrade("/home", &o, NULL, NULL);
    bool died = machine_crash_count(m) > 0;
    machine_crash_at(m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&memory);
    machine_process_free(p);
    return died;
}

static void kill_sweep(const char *name, bool power, kill_saw *saw) {
    old_facts f = old_read_json("expected.json");
    agt_json facts = old_store_facts(&f, name);
    machine *whole = old_machine(name), *m = machine_clone(whole);
    uint64_t step = 3, seed = test_random();
    for (uint64_t n = 1 + test_random_below(step);; n += test_step(step)) {
        machine_restore(m, whole);
        if (!kill_at(m, n)) break;
        saw->deaths++;
        if (power) {
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = seed + n};
            machine_power_cut(m, &cut);
        }
        if (old_machine_look(m, &facts))
            saw->ours++;
        else
            saw->still_old++;
        old_machine_upgrade(m);
        old_machine_settled(m, &facts);
        saw->finished++;
    }
    CHECK(old_machine_look(m, &facts));
    machine_free(m);
    machine_free(whole);
    free(f.bytes);
}

TEST(old_kill, a_process_that_dies_at_any_change_leaves_the_old_store_or_ours) {
    kill_saw saw = {0};
    kill_sweep("scanned", false, &saw);
    test_saw("deaths", saw.deaths);
    test_saw("still the old store", saw.still_old);
    test_saw("ours", saw.ours);
    CHECK(saw.still_old > test_some(20) && saw.ours >= test_some(5));
    CHECK_INT(saw.finished, saw.deaths);
}

TEST(old_kill, a_power_cut_at_any_change_leaves_the_old_store_or_ours) {
    kill_saw saw = {0};
    kill_sweep("scanned", true, &saw);
    test_saw("cuts", saw.deaths);
    test_saw("still the old store", saw.still_old);
    test_saw("ours", saw.ours);
    CHECK(saw.still_old > test_some(20) && saw.ours >= test_some(5));
    CHECK_INT(saw.finished, saw.deaths);
}
