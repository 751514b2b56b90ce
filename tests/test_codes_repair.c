/* agt_repair and its findings answer every status that their comments name, and where they answer
 * an error the store is as it was. */
#include "fault.h"
#include "repair_kit.h"

typedef struct fix {
    machine *m;
    machine_process *p;
    machine_memory memory;
    agt_repair_options o;
} fix;

static void fix_begin(fix *f, const machine *start) {
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    memset(f, 0, sizeof *f);
    f->m = start ? machine_clone(start) : machine_new(NULL);
    if (!start) machine_make_folder(f->m, repair_root);
    f->p = machine_process_new(f->m, "repair");
    f->o = o;
    f->o.timeout_ms = AGT_TRY;
    f->o.sys = machine_sys(f->p);
    f->o.allocator = machine_memory_init(&f->memory);
}

static agt_status fix_run(fix *f, agt_error *err) {
    return agt_repair(repair_root, &f->o, NULL, NULL, err);
}

/* The answer, nothing changed on the disk, and nothing leaks. */
#define FIX(f, call, want, words)                                                                  \
    do {                                                                                           \
        agt_error err_ = {.status = AGT_OK};                                                       \
        char *was_ = machine_tree((f)->m, "/home");                                                \
        CHECK_STATUS(call(f, &err_), want, err_);                                                  \
        CHECK_INT(err_.status, want);                                                              \
        if (!strstr(err_.message, words))                                                          \
            test_fail(__FILE__, __LINE__, "no \"%s\" in: %s", words, err_.message);                \
        char *is_ = machine_tree((f)->m, "/home");                                                 \
        CHECK_STR(is_, was_);                                                                      \
        CHECK_INT(machine_process_open_files((f)->p), 0);                                          \
        CHECK_INT((f)->memory.live_blocks, 0);                                                     \
        free(was_);                                                                                \
        free(is_);                                                                                 \
        machine_memory_release(&(f)->memory);                                                      \
        machine_free((f)->m);                                                                      \
    } while (0)

static agt_status fix_agt_repair(fix *f, agt_error *err) {
    return fix_run(f, err);
}

static agt_status fix_later_option(fix *f, agt_error *err) {
    union {
        agt_repair_options v;
        unsigned char room[sizeof(agt_repair_options) + 16];
    } o;
    memset(&o, 0, sizeof o);
    o.v = f->o;
    o.v.size += 16;
    o.room[sizeof o.v + 4] = 1;
    return agt_repair(repair_root, &o.v, NULL, NULL, err);
}

/* A trace of one event that writes where no document may be, and nothing else. */
static void fix_hostile(fix *f) {
    agt_error err;
    agt_event e = AGT_EVENT_INIT;
    agt_mem mem = agt__mem(NULL);
    agt_buf line = agt__buf(&mem);
    char zeros[65];
    memset(zeros, '0', 64);
    e.seq = e.version = 1;
    e.actor = agt__text("user");
    e.action = e.change_kind = agt__text("create");
    e.path = agt__text("../out.md");
    e.doc_type = agt__text("scratch");
    e.prev = (agt_text){zeros, 64};
    CHECK_OK(agt__event_format(&line, &e, &err), err);
    CHECK_INT(machine_remove(f->m, REPAIR_AT "journal"), 0);
    CHECK_INT(machine_remove(f->m, REPAIR_AT "git"), 0);
    CHECK_INT(machine_remove(f->m, REPAIR_AT "unpublished"), 0);
    CHECK_INT(machine_put(f->m, REPAIR_AT "trace/000000000001.jsonl", line.data, line.len), 0);
    CHECK_INT(machine_make_folder(f->m, REPAIR_AT "git"), 0);
    CHECK_INT(machine_make_folder(f->m, REPAIR_AT "unpublished"), 0);
    agt__buf_free(&line);
}

TEST(codes_repair, every_answer_that_is_documented_is_given) {
    machine *start = repair_machine();
    fix f;
    fix_begin(&f, NULL);
    FIX(&f, fix_agt_repair, AGT_NOT_FOUND, "agent-trace init"); /* agt_repair, AGT_NOT_FOUND */
    fix_begin(&f, start);
    FIX(&f, fix_later_option, AGT_INVALID, "agt_repair_options"); /* agt_repair, AGT_INVALID */
    fix_begin(&f, start);
    CHECK_INT(machine_put_text(f.m, REPAIR_AT "config.toml", "[store]\nid = \"x\"\nformat = 3\n"),
              0);
    CHECK_INT(machine_remove(f.m, REPAIR_AT "journal"), 0);
    FIX(&f, fix_agt_repair, AGT_UNSUPPORTED, "newer"); /* agt_repair, AGT_UNSUPPORTED */
    fix_begin(&f, start);
    fix_hostile(&f);
    FIX(&f, fix_agt_repair, AGT_CORRUPT, "made to harm"); /* agt_repair, AGT_CORRUPT */
    fix_begin(&f, start);
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_error err;
    agt_store *s;
    machine_memory held;
    o.sys = machine_sys(machine_process_new(f.m, "other"));
    o.allocator = machine_memory_init(&held); /* it dies with its process */
    CHECK_OK(agt_open(&s, repair_root, &o, &err), err);
    CHECK_OK(agt__store_lock(s, &err), err);
    FIX(&f, fix_agt_repair, AGT_BUSY, "store.lock"); /* agt_repair, AGT_BUSY */
    machine_memory_release(&held);
    machine_free(start);
}

/* ---- doctor ---- */

static agt_status fix_agt_doctor(fix *f, agt_error *err) {
    agt_doctor_options o = AGT_DOCTOR_OPTIONS_INIT;
    agt_findings *all;
    o.deep = 1;
    o.timeout_ms = f->o.timeout_ms;
    o.allocator = f->o.allocator;
    o.sys = f->o.sys;
    agt_status st = agt_doctor(repair_root, &o, &all, err);
    CHECK(!all == (st != AGT_OK));
    agt_findings_close(all);
    return st;
}

static agt_status fix_doctor_later(fix *f, agt_error *err) {
    union {
        agt_doctor_options v;
        unsigned char room[sizeof(agt_doctor_options) + 16];
    } o;
    agt_findings *all;
    memset(&o, 0, sizeof o);
    o.v.sys = f->o.sys;
    o.v.size = sizeof o;
    o.room[sizeof o.v + 4] = 1;
    return agt_doctor(repair_root, &o.v, &all, err);
}

TEST(codes_repair, the_doctor_answers_what_is_documented) {
    machine *start = repair_machine();
    agt_error err;
    agt_store *s;
    machine_memory held;
    fix f;
    fix_begin(&f, NULL);
    FIX(&f, fix_agt_doctor, AGT_NOT_FOUND, "agent-trace init"); /* agt_doctor, AGT_NOT_FOUND */
    fix_begin(&f, start);
    FIX(&f, fix_doctor_later, AGT_INVALID, "agt_doctor_options"); /* agt_doctor, AGT_INVALID */
    fix_begin(&f, start);
    CHECK_INT(machine_put_text(f.m, REPAIR_AT "config.toml", "[store]\nid = \"x\"\nformat = 3\n"),
              0);
    CHECK_INT(machine_remove(f.m, REPAIR_AT "journal"), 0);
    FIX(&f, fix_agt_doctor, AGT_UNSUPPORTED, "newer"); /* agt_doctor, AGT_UNSUPPORTED */
    fix_begin(&f, start);
    fix_hostile(&f);
    FIX(&f, fix_agt_doctor, AGT_CORRUPT, "made to harm"); /* agt_doctor, AGT_CORRUPT */
    fix_begin(&f, start);
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(machine_process_new(f.m, "other"));
    o.allocator = machine_memory_init(&held); /* it dies with its process */
    CHECK_OK(agt_open(&s, repair_root, &o, &err), err);
    CHECK_OK(agt__store_lock(s, &err), err);
    FIX(&f, fix_agt_doctor, AGT_BUSY, "store.lock"); /* agt_doctor, AGT_BUSY */
    machine_memory_release(&held);
    machine_free(start);
}

TEST(codes_repair, the_doctor_says_when_it_cannot_read_or_has_no_memory) {
    machine *start = repair_machine();
    uint64_t io = 0, nomem = 0;
    FOR_EACH_FAULT(fault, FAULT_IO | FAULT_MEMORY) {
        fix f;
        agt_error err = {.status = AGT_OK};
        fix_begin(&f, start);
        fault.ops = MACHINE_CAN_FAIL & ~MACHINE_BIT(MACHINE_MUTEX_NEW);
        fault_arm(&fault, f.m, &f.memory);
        agt_status st = fix_agt_doctor(&f, &err);
        fault_disarm(&fault);
        fault.step = 1 + test_random_below(test_all() ? 12 : 20);
        if (st != AGT_OK && st != AGT_IO && st != AGT_NOMEM)
            test_fail(__FILE__, __LINE__, "it answers %s: %s", agt_status_name(st), err.message);
        io += st == AGT_IO;       /* agt_doctor answers AGT_IO */
        nomem += st == AGT_NOMEM; /* agt_doctor answers AGT_NOMEM */
        CHECK_INT(machine_process_open_files(f.p), 0);
        CHECK_INT(f.memory.live_blocks, 0);
        machine_memory_release(&f.memory);
        machine_free(f.m);
    }
    CHECK(io > 3 && nomem > 1);
    machine_free(start);
}

TEST(codes_repair, findings_are_read_to_their_end) {
    agt_error err;
    agt_findings *all;
    machine *m = repair_machine();
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_finding f = AGT_FINDING_INIT;
    CHECK_INT(machine_remove(m, REPAIR_AT "config.toml"), 0);
    o.sys = machine_sys(machine_process_new(m, "repair"));
    CHECK_STATUS(agt_repair(repair_root, &o, NULL, &all, &err), AGT_OK, err);
    f.size = 1;
    CHECK_STATUS(agt_findings_next(all, &f, &err), AGT_INVALID, err);
    f.size = sizeof f;
    CHECK_STATUS(agt_findings_next(all, &f, &err), AGT_OK, err);
    CHECK_STR(f.code, "config");
    CHECK(f.mended && f.mendable && f.severity == AGT_SEVERITY_ERROR && strstr(f.mend, "id"));
    CHECK_STATUS(agt_findings_next(all, &f, &err), AGT_END, err);
    agt_findings_close(all);
    agt_findings_close(NULL);
    machine_free(m);
}

/* Each failing call, each failing allocation: the answer is AGT_OK or says so, and the next repair
 * makes the store what it was. */
static void fix_sweep(const machine *start, const char *want, unsigned kinds, uint64_t step,
                      uint64_t answers[2]) {
    uint64_t rounds = 0;
    FOR_EACH_FAULT(fault, kinds) {
        fix f;
        agt_error err = {.status = AGT_OK};
        fix_begin(&f, start);
        fault.ops = MACHINE_CAN_FAIL & ~MACHINE_BIT(MACHINE_MUTEX_NEW);
        fault_arm(&fault, f.m, &f.memory);
        agt_status st = fix_run(&f, &err);
        fault_disarm(&fault);
        fault.step = test_step(1 + test_random_below(test_all() ? (step + 1) / 2 : step));
        if (st != AGT_OK && st != AGT_IO && st != AGT_NOMEM)
            test_fail(__FILE__, __LINE__, "it answers %s: %s", agt_status_name(st), err.message);
        answers[0] += st == AGT_IO;    /* agt_repair answers AGT_IO */
        answers[1] += st == AGT_NOMEM; /* agt_repair answers AGT_NOMEM */
        CHECK_INT(machine_process_open_files(f.p), 0);
        CHECK_INT(f.memory.live_blocks, 0);
        machine_process_free(f.p);
        free(repair_run(f.m, 0, NULL));
        char *got = repair_portrait(f.m, 0, NULL);
        CHECK_STR(got, want);
        free(got);
        machine_memory_release(&f.memory);
        machine_free(f.m);
        rounds++;
    }
    test_saw("rounds", rounds);
}

TEST(codes_repair, whatever_fails_the_next_repair_mends) {
    machine *start = repair_machine();
    char *want = repair_portrait(start, 0, NULL);
    char zeros[8192] = {0};
    uint64_t answers[2] = {0, 0};
    CHECK_INT(machine_truncate(start, REPAIR_AT "trace/000000000001.jsonl", 900), 0);
    CHECK_INT(machine_overwrite(start, REPAIR_AT "journal", 0, zeros, sizeof zeros), 0);
    fix_sweep(start, want, FAULT_IO, 50, answers);
    fix_sweep(start, want, FAULT_MEMORY, 50, answers);
    fix_sweep(start, want, FAULT_SYNC, 8, answers);
    fix_sweep(start, want, FAULT_NOSPC_FOREVER, 30, answers);
    CHECK(answers[0] > test_some(5) && answers[1] >= test_some(2));
    free(want);
    machine_free(start);
}
