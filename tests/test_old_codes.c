/* agt_upgrade: each status that its comment names, and each call of the system and each allocation
 * that fails: the store is the old one or ours, and a call more makes it ours. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* nftw */
#endif
#include "../src/git/parts.h"
#include "old_machine.h"

/* A store of ours, or what is none, in a folder. */
static const char *codes_folder(const char *config, size_t len) {
    const char *root = test_folder();
    free(kit_run("mkdir %s/.agent-trace", root));
    if (config) test_write_file(kit_path(root, ".agent-trace/config.toml"), config, len);
    return root;
}

TEST(old_codes, what_cannot_be_upgraded_is_answered_so_and_stays_as_it_is) {
    agt_error err;
    static char huge[65600];
    static const char newer[] = "[store]\nid = \"x\"\nformat = 3\n";
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    const char *root = test_folder();
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_upgrade(kit_path(root, "none"), NULL, NULL, &err), AGT_NOT_FOUND, err);
    o.dry_run = 2;
    CHECK_STATUS(agt_upgrade(root, &o, NULL, &err), AGT_INVALID, err);
    r.size = 8;
    CHECK_STATUS(agt_upgrade(root, NULL, &r, &err), AGT_INVALID, err);
    memset(huge, ' ', sizeof huge);
    root = codes_folder(huge, sizeof huge);
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_LIMIT, err);
    root = codes_folder(newer, sizeof newer - 1);
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_UNSUPPORTED, err);
    CHECK(strstr(err.message, "newer"));
}

TEST(old_codes, a_store_without_a_history_or_with_parts_of_ours_beside_is_damaged) {
    agt_error err;
    const char *root = old_unpack("empty");
    free(kit_run("rm -r %s/.agent-trace/repo/.git/objects", root));
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, "put it back from a copy"));
    root = old_unpack("empty");
    free(kit_run("cd %s/.agent-trace/repo/.git && rm -r logs refs/heads/*", root));
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, "no commit that can be read"));
    root = old_unpack("empty");
    test_write_file(kit_path(root, ".agent-trace/journal"), "somebody's", 10);
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, ".agent-trace/journal"));
    kit_disk_has(root, ".agent-trace/journal", "somebody's");
    root = old_unpack("empty");
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_OK, err);
}

/* ---- failures ---- */

TEST(old_codes, each_failing_call_is_reported_and_a_call_more_upgrades) {
    old_facts f = old_read_json("expected.json");
    agt_json facts = old_store_facts(&f, "empty");
    machine *whole = old_machine("empty"), *m = machine_clone(whole);
    uint64_t failed = 0, done = 0, step = 2;
    for (uint64_t n = 1 + test_random_below(step);; n += step) {
        agt_error err;
        agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
        machine_restore(m, whole);
        machine_process *p = machine_process_new(m, "upgrade");
        o.sys = machine_sys(p);
        machine_fail_at(m, n, MACHINE_CAN_FAIL & ~MACHINE_BIT(MACHINE_MUTEX_NEW), AGT_SYS_IO, 5,
                        false);
        agt_status st = agt_upgrade("/home", &o, NULL, &err);
        bool injected = machine_fail_count(m) > 0;
        machine_fail(m, NULL);
        CHECK_INT(machine_process_open_files(p), 0);
        machine_process_free(p);
        if (!injected) break;
        if (st == AGT_OK)
            done++; /* what need not succeed did not */
        else
            CHECK(agt_status_is_error(st));
        failed += st == AGT_IO;
        old_machine_look(m, &facts);
        old_machine_upgrade(m);
        old_machine_settled(m, &facts);
    }
    machine_free(m);
    machine_free(whole);
    free(f.bytes);
    test_saw("failures reported", failed);
    test_saw("failures that did not matter", done);
    CHECK(failed > 40);
}

TEST(old_codes, an_input_or_output_error_is_told_as_that) {
    agt_error err;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    machine *m = old_machine("empty");
    machine_process *p = machine_process_new(m, "upgrade");
    o.sys = machine_sys(p);
    machine_fail_at(m, 1, MACHINE_BIT(MACHINE_PWRITE), AGT_SYS_NOSPC, 28, true);
    CHECK_STATUS(agt_upgrade("/home", &o, NULL, &err), AGT_IO, err);
    machine_fail(m, NULL);
    machine_process_free(p);
    machine_free(m);
}

TEST(old_codes, each_failing_allocation_is_answered_nomem_and_changes_nothing) {
    old_facts f = old_read_json("expected.json");
    agt_json facts = old_store_facts(&f, "empty");
    machine *whole = old_machine("empty"), *m = machine_clone(whole);
    uint64_t nomem = 0, lived = 0, step = 3;
    for (uint64_t n = 1 + test_random_below(step);; n += step) {
        agt_error err;
        machine_memory memory;
        agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
        machine_restore(m, whole);
        machine_process *p = machine_process_new(m, "upgrade");
        o.sys = machine_sys(p);
        o.allocator = machine_memory_init(&memory);
        machine_memory_fail_at(&memory, n, false);
        agt_status st = agt_upgrade("/home", &o, NULL, &err);
        bool injected = memory.failed > 0;
        CHECK_INT(memory.live_blocks, 0);
        CHECK_INT(machine_process_open_files(p), 0);
        machine_process_free(p);
        if (!injected) break;
        if (st != AGT_OK) CHECK_STATUS(st, AGT_NOMEM, err);
        nomem += st == AGT_NOMEM;
        lived += st == AGT_OK;
        old_machine_look(m, &facts);
        old_machine_upgrade(m);
    }
    machine_free(m);
    machine_free(whole);
    free(f.bytes);
    test_saw("answers of nomem", nomem);
    test_saw("allocations that could be done without", lived);
    CHECK(nomem > 20);
}

TEST(old_codes, out_of_memory_is_told_as_that) {
    agt_error err;
    machine_memory memory;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    machine *m = old_machine("empty");
    machine_process *p = machine_process_new(m, "upgrade");
    o.sys = machine_sys(p);
    o.allocator = machine_memory_init(&memory);
    machine_memory_fail_at(&memory, 1, true);
    CHECK_STATUS(agt_upgrade("/home", &o, NULL, &err), AGT_NOMEM, err);
    CHECK_INT(memory.live_blocks, 0);
    machine_process_free(p);
    machine_free(m);
}
