/* agt_doctor: each thing that is not as it should be has a finding of its own, and the mend. */
#include "repair_kit.h"

/* The findings' codes, each with a blank before it and "+" behind where it was mended; what needs
 * no look has "-" behind it. To free(). */
static char *doctor_codes_of(machine *m, const char *root, int deep, int fix) {
    agt_error err;
    agt_doctor_options o = AGT_DOCTOR_OPTIONS_INIT;
    agt_finding f = AGT_FINDING_INIT;
    agt_findings *all;
    repair_text t = {NULL, 0, 0};
    machine_process *p = machine_process_new(m, "doctor");
    o.sys = machine_sys(p);
    o.deep = deep != 0;
    o.fix = fix != 0;
    CHECK_STATUS(agt_doctor(root, &o, &all, &err), AGT_OK, err);
    repair_put(&t, "", 0);
    while (agt_findings_next(all, &f, &err) == AGT_OK) {
        CHECK(f.what[0] && f.code[0] && f.severity <= AGT_SEVERITY_ERROR);
        CHECK(f.severity < AGT_SEVERITY_WARNING || f.mended || f.mend[0]);
        CHECK(!f.mended || fix);
        repair_line(&t, " %s%s", f.code,
                    f.severity < AGT_SEVERITY_WARNING ? "-"
                    : f.mended                        ? "+"
                                                      : "");
    }
    agt_findings_close(all);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
    return t.p;
}

static char *doctor_codes(machine *m, int deep, int fix) {
    return doctor_codes_of(m, repair_root, deep, fix);
}

static void doctor_finds(machine *m, int deep, int fix, const char *want) {
    char *was = machine_tree(m, "/");
    char *codes = doctor_codes(m, deep, fix);
    char *is = machine_tree(m, "/");
    CHECK_STR(codes, want);
    if (!fix) CHECK_STR(is, was);
    free(codes);
    free(was);
    free(is);
}

TEST(doctor, a_store_that_is_well_has_no_findings_but_what_is_pending) {
    machine *m = repair_machine();
    doctor_finds(m, 0, 0, " pending-");
    doctor_finds(m, 1, 0, " pending-");
    doctor_finds(m, 1, 1, " pending-");
    machine_free(m);
}

TEST(doctor, rights_that_let_others_in_are_found_and_mended) {
    machine *m = repair_machine();
    agt_stat st;
    CHECK_INT(machine_set_mode(m, "/home/.agent-trace", 0755), 0);
    doctor_finds(m, 0, 0, " rights pending-");
    doctor_finds(m, 0, 1, " rights+ pending-");
    CHECK_INT(machine_stat(m, "/home/.agent-trace", &st), 0);
    CHECK_INT(st.mode & 0777u, 0700);
    CHECK_INT(machine_set_owner(m, "/home/.agent-trace", 77), 0);
    machine_set(m)->privileged = true;
    doctor_finds(m, 0, 0, " owner- owners pending-"); /* what is in it is somebody else's now */
    machine_free(m);
}

TEST(doctor, damage_is_told_and_with_fix_it_is_mended_and_the_old_parts_are_told) {
    machine *m = repair_machine();
    CHECK_INT(machine_remove(m, REPAIR_AT "config.toml"), 0);
    doctor_finds(m, 0, 0, " damaged");
    doctor_finds(m, 1, 0, " config");
    CHECK_INT(machine_put_text(m, REPAIR_AT "config.toml", "junk"), 0);
    char *codes = doctor_codes(m, 0, 1);
    CHECK(strstr(codes, " config+ kept-"));
    free(codes);
    machine_free(m);
}

TEST(doctor, edits_kept_aside_and_a_clock_that_goes_behind_are_told) {
    machine *m = repair_machine();
    CHECK_INT(machine_put_text(m, REPAIR_AT "aside/7-plan.md", "an edit"), 0);
    machine_set_clock(m, 1000000000000);
    doctor_finds(m, 0, 0, " aside pending- clock");
    machine_free(m);
}

/* ---- what lies in .agent-trace ---- */

static uint32_t doctor_mode(const machine *m, const char *path) {
    agt_stat st;
    CHECK_INT(machine_stat(m, path, &st), 0);
    return st.mode & 0777u;
}

/* What lies in git/ counts also where the build has none of it. */
static machine *doctor_machine_with_git(void) {
    machine *m = repair_machine();
#ifdef AGENT_TRACE_NO_GIT
    machine_make_folder(m, REPAIR_AT "git/objects/pack");
    CHECK_INT(machine_put_text(m, REPAIR_AT "git/HEAD", "ref: refs/heads/main\n"), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "git/HEAD", 0600), 0);
#endif
    return m;
}

TEST(doctor, modes_of_files_and_folders_inside_are_found_and_mended) {
    machine *m = doctor_machine_with_git();
    CHECK_INT(machine_set_mode(m, REPAIR_AT "trace", 0755), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "trace/000000000001.jsonl", 0644), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "config.toml", 0400), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "git/HEAD", 0622), 0);
    doctor_finds(m, 0, 0, " modes pending-");
    doctor_finds(m, 0, 1, " modes+ pending-");
    CHECK_INT(doctor_mode(m, REPAIR_AT "trace"), 0700);
    CHECK_INT(doctor_mode(m, REPAIR_AT "trace/000000000001.jsonl"), 0600);
    CHECK_INT(doctor_mode(m, REPAIR_AT "config.toml"), 0600);
    CHECK_INT(doctor_mode(m, REPAIR_AT "git/HEAD"), 0600);
    /* what git makes may be read by others, who cannot get there */
    CHECK_INT(machine_set_mode(m, REPAIR_AT "git/HEAD", 0644), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "git/objects", 0755), 0);
    doctor_finds(m, 0, 0, " pending-");
    machine_free(m);
}

TEST(doctor, parts_of_another_owner_are_found_and_documents_on_their_way_are_not) {
    machine *m = doctor_machine_with_git();
    uint32_t other = machine_set(m)->user + 1;
    machine_make_folder(m, REPAIR_AT "aside");
    CHECK_INT(machine_put_text(m, REPAIR_AT "aside/7-a.md", "kept"), 0);
    CHECK_INT(machine_set_owner(m, REPAIR_AT "aside/7-a.md", other), 0);
    doctor_finds(m, 0, 0, " aside pending-");
    CHECK_INT(machine_set_mode(m, REPAIR_AT "git/HEAD", 0644), 0);
    CHECK_INT(machine_set_owner(m, REPAIR_AT "git/HEAD", other), 0);
    doctor_finds(m, 0, 0, " owners aside pending-");
    doctor_finds(m, 0, 1, " owners aside pending-"); /* nothing can be given away here */
    CHECK_INT(machine_set_owner(m, REPAIR_AT "trace/000000000001.jsonl", other), 0);
    doctor_finds(m, 0, 0, " owners aside pending- unreadable"); /* and so it is not the end */
    machine_free(m);
}

TEST(doctor, a_gitignore_that_does_not_hide_the_store_is_found_and_a_missing_one_made) {
    machine *m = repair_machine();
    CHECK_INT(machine_remove(m, REPAIR_AT ".gitignore"), 0);
    doctor_finds(m, 0, 0, " ignore- pending-"); /* there is no git around it */
    machine_make_folder(m, "/.git");
    doctor_finds(m, 0, 0, " ignore pending-");
    doctor_finds(m, 0, 1, " ignore+ pending-");
    char *text = machine_get(m, REPAIR_AT ".gitignore", NULL);
    CHECK_STR(text, "*\n");
    free(text);
    doctor_finds(m, 0, 0, " pending-");
    CHECK_INT(machine_put_text(m, REPAIR_AT ".gitignore", "# mine\n*\n!journal\n"), 0);
    doctor_finds(m, 0, 1, " ignore pending-"); /* a person wrote it: it stays */
    CHECK_INT(machine_put_text(m, REPAIR_AT ".gitignore", "# mine\n*"), 0);
    doctor_finds(m, 0, 0, " pending-");
    machine_free(m);
}

static void doctor_refused_name(const char *text, char path[120]) {
    unsigned char sum[32];
    char hex[65] = "";
    agt__sha256(agt__cpu(), text, strlen(text), sum);
    agt__hex(sum, 32, hex);
    snprintf(path, 120, REPAIR_AT "rejected/%s", hex);
}

TEST(doctor, refused_bytes_that_are_damaged_are_put_away) {
    machine *m = repair_machine();
    char path[120];
    doctor_refused_name("touched\n", path);
    CHECK_INT(machine_overwrite(m, path, 0, "T", 1), 0);
    doctor_finds(m, 0, 0, " refused_bytes pending-");
    doctor_finds(m, 0, 1, " refused_bytes+ pending-");
    CHECK(!machine_get(m, path, NULL));
    doctor_finds(m, 0, 0, " kept- pending-");
    char *tree = machine_tree(m, REPAIR_AT "damaged");
    CHECK(strstr(tree, strrchr(path, '/') + 1));
    free(tree);
    machine_free(m);
}

/* What git alone reads. A folder in its place is damage, too. */
TEST(doctor, a_head_or_config_that_git_cannot_read_is_found_and_made_anew) {
    static const char *const names[] = {REPAIR_AT "git/HEAD", REPAIR_AT "git/config"};
#ifndef AGENT_TRACE_NO_GIT
    for (size_t i = 0; i < 4; i++) {
        machine *m = repair_machine();
        char *was = machine_get(m, names[i / 2], NULL);
        CHECK_INT(machine_remove(m, names[i / 2]), 0);
        CHECK_INT(i % 2 ? machine_make_folder(m, names[i / 2])
                        : machine_put_text(m, names[i / 2], "[junk"),
                  0);
        doctor_finds(m, 0, 0, " git_file pending-");
        doctor_finds(m, 1, 0, " git_file pending-");
        doctor_finds(m, 0, 1, " git_file+ kept-");
        doctor_finds(m, 1, 0, " kept-");
        char *is = machine_get(m, names[i / 2], NULL);
        CHECK_STR(is, was);
        free(is);
        free(was);
        machine_free(m);
    }
#else
    CHECK(names[0] && names[1]);
#endif
}

TEST(doctor, refused_bytes_beyond_the_limit_are_told_and_the_oldest_go) {
    machine *m = repair_machine();
    char path[120], text[32], want[64];
    for (int i = 0; i < AGT_MAX_REJECTED; i++) {
        snprintf(text, sizeof text, "refused %d", i);
        doctor_refused_name(text, path);
        CHECK_INT(machine_put_text(m, path, text), 0);
        CHECK_INT(machine_set_mode(m, path, 0600), 0);
    }
    doctor_finds(m, 0, 0, " refused_many pending-");
    doctor_finds(m, 0, 1, " refused_many+ pending-");
    snprintf(want, sizeof want, " refused- pending-");
    doctor_finds(m, 0, 0, want);
    machine_free(m);
}

/* ---- temporaries ---- */

static const char *const doctor_litter[] = {
    REPAIR_AT "tmp/990.new", REPAIR_AT "config.toml.tmp", REPAIR_AT "trace/000000000001.jsonl.tmp",
    REPAIR_AT "rejected/0a.tmp", REPAIR_AT "git/objects/pack/tmp_pack_0a0b0c0d_agt"};

static void doctor_put_litter(machine *m, size_t from) {
    for (size_t i = from; i < sizeof doctor_litter / sizeof *doctor_litter; i++) {
        CHECK_INT(machine_put_text(m, doctor_litter[i], "half"), 0);
        CHECK_INT(machine_set_mode(m, doctor_litter[i], 0600), 0);
    }
}

TEST(doctor, temporaries_of_the_dead_are_told_and_cleared_but_never_those_of_the_living) {
    static const char *const locks[] = {"store.lock", "publish.lock"};
    machine *m = doctor_machine_with_git();
    doctor_put_litter(m, 0);
    for (size_t i = 0; i < 2; i++) { /* somebody is at work */
        char path[64];
        snprintf(path, sizeof path, REPAIR_AT "locks");
        machine_process *p = machine_process_new(m, "worker");
        const agt_sys *sys = machine_sys(p);
        agt_fd dir = sys->open_root(sys->ctx, path);
        agt_fd fd =
            sys->open(sys->ctx, dir, locks[i], AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
        CHECK(fd >= 0);
        CHECK_INT(sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
        doctor_finds(m, 0, 0, " pending-");
        machine_process_free(p);
    }
    doctor_finds(m, 0, 0, " temporary pending-");
    doctor_finds(m, 0, 1, " temporary+ pending-");
    for (size_t i = 0; i < sizeof doctor_litter / sizeof *doctor_litter; i++)
        CHECK(!machine_get(m, doctor_litter[i], NULL));
    doctor_finds(m, 0, 0, " pending-");
    machine_free(m);
}

/* A record of publishing (`claim` NULL) or claiming the lock by a file, of a process that died. */
static void doctor_leave(machine *m, const char *host, const char *claim, char path[200]) {
    machine_process *p = machine_process_new(m, "left");
    char text[AGT_HOLDER_TEXT];
    agt_holder h;
    agt__holder_self(&h, machine_sys(p), NULL);
    machine_process_kill(p);
    if (host) snprintf(h.host, sizeof h.host, "%s", host);
    snprintf(path, 200, REPAIR_AT "locks/poll.lock.%s.%s", claim ? "reap" : "tmp",
             claim ? claim : h.token);
    CHECK_INT(machine_put(m, path, text, agt__holder_format(&h, text)), 0);
    CHECK_INT(machine_set_mode(m, path, 0600), 0);
}

TEST(doctor, what_the_dead_left_of_the_lock_by_a_file_is_cleared_and_nothing_of_others) {
    machine *m = repair_machine();
    char path[4][200];
    agt_stat st;
    doctor_leave(m, "elsewhere", NULL, path[0]);
    doctor_leave(m, "elsewhere", "00112233445566778899aabbccddeeff", path[1]);
    doctor_finds(m, 0, 1, " pending-");
    doctor_leave(m, NULL, NULL, path[2]);
    doctor_leave(m, NULL, "ffeeddccbbaa99887766554433221100", path[3]);
    doctor_finds(m, 0, 0, " temporary pending-");
    doctor_finds(m, 0, 1, " temporary+ pending-");
    doctor_finds(m, 0, 0, " pending-");
    for (size_t i = 0; i < 4; i++)
        CHECK_INT(machine_stat(m, path[i], &st) == 0, i < 2);
    machine_free(m);
}

TEST(doctor, a_temporary_that_may_be_an_edit_is_kept_and_behind_a_restart_it_is_the_recoverys) {
    machine *m = repair_machine();
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    char path[64];
    agt_store *s = oracle_open(machine_process_new(m, "reader"), repair_root, NULL, AGT_OK);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    snprintf(path, sizeof path, REPAIR_AT "tmp/%llu.old", (unsigned long long)info.last_seq);
    CHECK_INT(machine_put_text(m, path, "what somebody typed"), 0);
    machine *restarted = machine_clone(m);
    machine_reboot(restarted);
    doctor_finds(restarted, 0, 0, " pending-");
    machine_free(restarted);
    doctor_finds(m, 0, 0, " temporary pending-");
    doctor_finds(m, 0, 1, " temporary+ aside pending-");
    snprintf(path, sizeof path, REPAIR_AT "aside/%llu-left", (unsigned long long)info.last_seq);
    char *kept = machine_get(m, path, NULL);
    CHECK_STR(kept, "what somebody typed");
    free(kept);
    machine_free(m);
}

TEST(doctor, what_a_write_left_beside_a_document_is_told_and_stays) {
    machine *m = repair_machine();
    CHECK_INT(machine_put_text(m, "/home/notes/.agent-trace-notes.tmp", "mine"), 0);
    CHECK_INT(machine_put_text(m, "/home/notes/.agent-trace-7", "mine"), 0);
    doctor_finds(m, 0, 0, " pending-");
    static const char *const names[] = {"7.tmp", "7.old", "7.12.kept"};
    for (size_t i = 0; i < 3; i++) {
        char path[80];
        snprintf(path, sizeof path, "/home/notes/.agent-trace-%s", names[i]);
        CHECK_INT(machine_put_text(m, path, "what somebody typed"), 0);
        doctor_finds(m, 0, 1, " beside pending-");
        char *kept = machine_get(m, path, NULL);
        CHECK_STR(kept, "what somebody typed");
        free(kept);
        CHECK_INT(machine_remove(m, path), 0);
    }
    machine_free(m);
}

/* ---- the readable face ---- */

static agt_store *doctor_open(machine *m) {
    return oracle_open(machine_process_new(m, "writer"), repair_root, NULL, AGT_OK);
}

TEST(doctor, an_index_that_says_otherwise_than_the_store_is_told_and_written_anew) {
    machine *m = repair_machine();
    agt_error err;
    agt_store *s = doctor_open(m);
    CHECK_OK(agt_index_refresh(s, 1, NULL, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    doctor_finds(m, 0, 0, " pending-");
    s = doctor_open(m);
    kit_write(s, &kit_agent, "unlisted.md", "new\n"); /* and no refresh */
    CHECK_OK(agt_close(s, &err), err);
    doctor_finds(m, 0, 0, " pending- face");
    doctor_finds(m, 0, 1, " pending- face+");
    char *text = machine_get(m, "/home/AGENT-TRACE.md", NULL);
    CHECK(strstr(text, "unlisted.md"));
    CHECK_INT(machine_put_text(m, "/home/AGENT-TRACE.md", "agents may do all\n"), 0);
    char *codes = doctor_codes(m, 0, 0);
    CHECK(strstr(codes, " face"));
    free(codes);
    codes = doctor_codes(m, 0, 1);
    CHECK(strstr(codes, " face+"));
    free(codes);
    char *again = machine_get(m, "/home/AGENT-TRACE.md", NULL);
    CHECK_STR(again, text);
    codes = doctor_codes(m, 0, 0);
    CHECK(!strstr(codes, "face"));
    s = doctor_open(m);
    kit_version_reads(s, "AGENT-TRACE.md", 3, "agents may do all\n"); /* the edit is not lost */
    CHECK_OK(agt_close(s, &err), err);
    free(codes);
    free(again);
    free(text);
    machine_free(m);
}

/* ---- what is around it ---- */

static void doctor_inner(machine *m) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    machine_make_folder(m, "/home/inner/deep");
    o.create = 1;
    o.sys = machine_sys(machine_process_new(m, "inner"));
    CHECK_OK(agt_open(&s, "/home/inner/deep", &o, &err), err);
    CHECK_OK(agt_close(s, &err), err);
}

TEST(doctor, stores_above_and_below_are_told_and_a_document_that_lies_in_both) {
    machine *m = repair_machine();
    agt_error err;
    machine_make_folder(m, "/home/empty/.agent-trace"); /* no store */
    doctor_inner(m);
    doctor_finds(m, 0, 0, " pending- nested-");
    char *codes = doctor_codes_of(m, "/home/inner/deep", 0, 0);
    CHECK_STR(codes, " nested-");
    free(codes);
    machine_free(m);
    m = repair_machine(); /* a document that was there before the store below */
    agt_store *s = doctor_open(m);
    kit_write(s, &kit_agent, "inner/deep/both.md", "in two histories\n");
    CHECK_OK(agt_close(s, &err), err);
    doctor_inner(m);
    doctor_finds(m, 0, 0, " pending- nested");
    machine_free(m);
}

TEST(doctor, the_file_system_is_told_where_it_matters) {
    machine *m = repair_machine();
    machine_set(m)->volume = AGT_VOLUME_NETWORK;
    doctor_finds(m, 0, 0, " network pending-");
    machine_set(m)->volume = AGT_VOLUME_PROGRAM;
    doctor_finds(m, 0, 0, " served- pending-");
    machine_set(m)->volume = AGT_VOLUME_LOCAL;
    machine_set(m)->volume_free = 16 * 1024 * 1024;
    doctor_finds(m, 0, 0, " space pending-"); /* a full journal twice is more already */
    machine_set(m)->volume_free = 64 * 1024 * 1024;
    doctor_finds(m, 0, 0, " pending-");
    machine_set(m)->volume_read_only = true;
    doctor_finds(m, 0, 0, " read_only pending-");
    machine_set(m)->volume_read_only = false;
    CHECK_INT(machine_set_mode(m, "/home/.agent-trace", 0500), 0);
    doctor_finds(m, 0, 0, " read_only pending-");
    machine_free(m);
}

/* ---- locks ---- */

TEST(doctor, who_leads_is_told_and_a_lock_that_nobody_can_take) {
    machine *m = repair_machine();
    machine_process *p = machine_process_new(m, "leader");
    const agt_sys *sys = machine_sys(p);
    agt_fd dir = sys->open_root(sys->ctx, REPAIR_AT "locks");
    agt_fd fd =
        sys->open(sys->ctx, dir, "poll.lock", AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    CHECK_INT(sys->pwrite(sys->ctx, fd, "4711\n", 5, 0), 5);
    doctor_finds(m, 0, 0, " pending-"); /* the lock counts, not the file */
    CHECK_INT(sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    doctor_finds(m, 0, 0, " leader- pending-");
    CHECK_INT(machine_process_open_files(p), 2);
    CHECK_INT(sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0); /* it has it still */
    machine_process_free(p);
    doctor_finds(m, 0, 0, " pending-");
    machine_set(m)->no_lock = true;
    doctor_finds(m, 0, 0, " no_locks pending-");
    machine_set(m)->no_lock = false;
    CHECK_INT(machine_remove(m, REPAIR_AT "locks/store.lock"), 0);
    CHECK_INT(machine_symlink(m, "/elsewhere", REPAIR_AT "locks/store.lock"), 0);
    doctor_finds(m, 0, 0, " place");
    CHECK_INT(machine_remove(m, REPAIR_AT "locks/store.lock"), 0);
    CHECK_INT(machine_put_text(m, REPAIR_AT "locks/store.lock", ""), 0);
    CHECK_INT(machine_set_mode(m, REPAIR_AT "locks/store.lock", 0600), 0);
    CHECK_INT(machine_link(m, REPAIR_AT "locks/store.lock", "/second"), 0);
    doctor_finds(m, 0, 0, " lock pending-");
    machine_free(m);
}
