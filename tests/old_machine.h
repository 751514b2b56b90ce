/* Stores of the older program in a machine in memory: one that is loaded from its archive, what is
 * found in it by whoever opens it, and an upgrade that must succeed. Included first, for nftw. */
#ifndef AGT_OLD_MACHINE_H
#define AGT_OLD_MACHINE_H

#include "machine.h"
#include "old_facts.h"

#include <ftw.h>
#include <sys/stat.h>

/* ---- a store of the old program in a machine ---- */

static machine *old_machine_into;
static size_t old_machine_prefix;

static int old_machine_copy(const char *path, const struct stat *st, int kind, struct FTW *at) {
    char to[2048];
    (void)st, (void)at;
    snprintf(to, sizeof to, "/home%s", path + old_machine_prefix);
    if (kind == FTW_D) return machine_make_folder(old_machine_into, to);
    size_t n;
    unsigned char *bytes = test_read_file(path, &n);
    int rc = machine_put(old_machine_into, to, bytes, n);
    free(bytes);
    return rc;
}

/* All of it but git's sample files; durable. */
static inline machine *old_machine(const char *name) {
    machine *m = machine_new(NULL);
    const char *root = old_unpack(name);
    free(kit_run("rm -rf %s/.agent-trace/repo/.git/hooks", root));
    old_machine_into = m;
    old_machine_prefix = strlen(root);
    CHECK_INT(nftw(root, old_machine_copy, 16, FTW_PHYS), 0);
    CHECK_INT(machine_set_owner(m, "/home", 1000), 0);
    machine_sync_all(m);
    return m;
}

/* What a process finds: the old store, or ours, with all its facts. */
static inline bool old_machine_look(machine *m, const agt_json *facts) {
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

static inline void old_machine_upgrade(machine *m) {
    agt_error err;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    machine_process *p = machine_process_new(m, "upgrade");
    o.sys = machine_sys(p);
    CHECK_OK(agt_upgrade("/home", &o, NULL, &err), err);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
}

/* The store is ours and can be written to. */
static inline void old_machine_settled(machine *m, const agt_json *facts) {
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

#endif /* AGT_OLD_MACHINE_H */
