/* agt_doctor: each thing that is not as it should be has a finding of its own, and the mend. */
#include "repair_kit.h"

/* The findings' codes, each with a blank before it and "+" behind where it was mended; to free().
 */
static char *doctor_codes(machine *m, int deep, int fix) {
    agt_error err;
    agt_doctor_options o = AGT_DOCTOR_OPTIONS_INIT;
    agt_finding f = AGT_FINDING_INIT;
    agt_findings *all;
    repair_text t = {NULL, 0, 0};
    machine_process *p = machine_process_new(m, "doctor");
    o.sys = machine_sys(p);
    o.deep = deep != 0;
    o.fix = fix != 0;
    CHECK_STATUS(agt_doctor(repair_root, &o, &all, &err), AGT_OK, err);
    repair_put(&t, "", 0);
    while (agt_findings_next(all, &f, &err) == AGT_OK) {
        CHECK(f.what[0] && f.code[0] && f.severity <= AGT_SEVERITY_ERROR);
        CHECK(f.severity < AGT_SEVERITY_WARNING || f.mended || f.mend[0]);
        repair_line(&t, " %s%s", f.code, f.mended ? "+" : "");
    }
    agt_findings_close(all);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
    return t.p;
}

static void doctor_finds(machine *m, int deep, int fix, const char *want) {
    char *was = machine_tree(m, "/home");
    char *codes = doctor_codes(m, deep, fix);
    char *is = machine_tree(m, "/home");
    CHECK_STR(codes, want);
    if (!fix) CHECK_STR(is, was);
    free(codes);
    free(was);
    free(is);
}

TEST(doctor, a_store_that_is_well_has_no_findings_but_what_is_pending) {
    machine *m = repair_machine();
    doctor_finds(m, 0, 0, " pending");
    doctor_finds(m, 1, 0, " pending");
    doctor_finds(m, 1, 1, " pending");
    machine_free(m);
}

TEST(doctor, rights_that_let_others_in_are_found_and_mended) {
    machine *m = repair_machine();
    agt_stat st;
    CHECK_INT(machine_set_mode(m, "/home/.agent-trace", 0755), 0);
    doctor_finds(m, 0, 0, " rights pending");
    doctor_finds(m, 0, 1, " rights+ pending");
    CHECK_INT(machine_stat(m, "/home/.agent-trace", &st), 0);
    CHECK_INT(st.mode & 0777u, 0700);
    CHECK_INT(machine_set_owner(m, "/home/.agent-trace", 77), 0);
    machine_set(m)->privileged = true;
    doctor_finds(m, 0, 0, " owner pending");
    machine_free(m);
}

TEST(doctor, damage_is_told_and_with_fix_it_is_mended_and_the_old_parts_are_told) {
    machine *m = repair_machine();
    CHECK_INT(machine_remove(m, REPAIR_AT "config.toml"), 0);
    doctor_finds(m, 0, 0, " damaged");
    doctor_finds(m, 1, 0, " config");
    CHECK_INT(machine_put_text(m, REPAIR_AT "config.toml", "junk"), 0);
    char *codes = doctor_codes(m, 0, 1);
    CHECK(strstr(codes, " config+ kept"));
    free(codes);
    machine_free(m);
}

TEST(doctor, edits_kept_aside_and_a_clock_that_goes_behind_are_told) {
    machine *m = repair_machine();
    CHECK_INT(machine_put_text(m, REPAIR_AT "aside/7-plan.md", "an edit"), 0);
    machine_set_clock(m, 1000000000000);
    doctor_finds(m, 0, 0, " aside pending clock");
    machine_free(m);
}
