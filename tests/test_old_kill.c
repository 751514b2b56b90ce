/* Upgrades that are stopped: the process killed at every change of the disk, and the power cut
 * there. The store is the old one or ours, whole either way, and a rerun makes it ours. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* nftw */
#endif
#include "../src/git/parts.h"
#include "machine.h"
#include "old_facts.h"

#include <ftw.h>
#include <sys/stat.h>

/* ---- a store of the old program in a machine ---- */

static machine *kill_into;
static size_t kill_prefix;

static int kill_copy(const char *path, const struct stat *st, int kind, struct FTW *at) {
    char to[2048];
    (void)st, (void)at;
    snprintf(to, sizeof to, "/home%s", path + kill_prefix);
    if (kind == FTW_D) return machine_make_folder(kill_into, to);
    size_t n;
    unsigned char *bytes = test_read_file(path, &n);
    int rc = machine_put(kill_into, to, bytes, n);
    free(bytes);
    return rc;
}

/* All of it but git's sample files; durable. */
static machine *kill_machine(const char *name) {
    machine *m = machine_new(NULL);
    const char *root = old_unpack(name);
    free(kit_run("rm -rf %s/.agent-trace/repo/.git/hooks", root));
    kill_into = m;
    kill_prefix = strlen(root);
    CHECK_INT(nftw(root, kill_copy, 16, FTW_PHYS), 0);
    CHECK_INT(machine_set_owner(m, "/home", 1000), 0);
    machine_sync_all(m);
    return m;
}

typedef struct kill_saw {
    uint64_t deaths, still_old, ours, finished;
} kill_saw;

/* What a process finds: the old store, or ours, with all its facts. */
static bool kill_look(machine *m, const agt_json *facts) {
    agt_error err;
    agt_store *s;
    agt_bytes b;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "looks");
    old_saw saw = {0};
    o.sys = machine_sys(p);
    o.read_only = 1;
    CHECK_OK(agt_open(&s, "/home", &o, &err), err);
    old_facts_versions(s, facts, &saw);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_OK(agt_read(s, "AGENT-TRACE.md", &b, NULL, &err), err);
    agt_bytes_free(&b);
    bool ours = agt_publish(s, &err) != AGT_UNSUPPORTED;
    kit_close(s);
    machine_process_free(p);
    return ours;
}

static void kill_upgrade(machine *m) {
    agt_error err;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "upgrade");
    o.sys = machine_sys(p);
    CHECK_OK(agt_upgrade("/home", &o, NULL, &err), err);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
}

/* The store is ours and can be written to. */
static void kill_settled(machine *m, const agt_json *facts) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "writes");
    old_saw saw = {0};
    o.sys = machine_sys(p);
    CHECK_OK(agt_open(&s, "/home", &o, &err), err);
    old_check_facts(s, facts, &saw);
    kit_write(s, &kit_user, "new.md", "written after the upgrade\n");
    CHECK_OK(agt_publish(s, &err), err);
    kit_close(s);
    machine_process_free(p);
    agt_stat st;
    CHECK(machine_stat(m, "/home/.agent-trace/upgrade", &st) < 0);
    CHECK(machine_stat(m, "/home/.agent-trace/repo", &st) < 0);
    CHECK(machine_stat(m, "/home/.git", &st) < 0);
    CHECK(machine_stat(m, "/home/.agent-trace/backup-0.1.0/repo", &st) == 0);
}

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
    machine *whole = kill_machine(name), *m = machine_clone(whole);
    uint64_t step = test_all() ? 1 : 3, seed = test_random();
    for (uint64_t n = 1 + test_random_below(step);; n += step) {
        machine_restore(m, whole);
        if (!kill_at(m, n)) break;
        saw->deaths++;
        if (power) {
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = seed + n};
            machine_power_cut(m, &cut);
        }
        if (kill_look(m, &facts))
            saw->ours++;
        else
            saw->still_old++;
        kill_upgrade(m);
        kill_settled(m, &facts);
        saw->finished++;
    }
    CHECK(kill_look(m, &facts));
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
    CHECK(saw.still_old > 20 && saw.ours > 4);
    CHECK_INT(saw.finished, saw.deaths);
}

TEST(old_kill, a_power_cut_at_any_change_leaves_the_old_store_or_ours) {
    kill_saw saw = {0};
    kill_sweep("scanned", true, &saw);
    test_saw("cuts", saw.deaths);
    test_saw("still the old store", saw.still_old);
    test_saw("ours", saw.ours);
    CHECK(saw.still_old > 20 && saw.ours > 4);
    CHECK_INT(saw.finished, saw.deaths);
}
