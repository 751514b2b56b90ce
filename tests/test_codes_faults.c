/* Every public call on a store answers AGT_NOMEM and AGT_IO where its comment names them: each of
 * its allocations fails, and each of its calls to the system, one after the other. Whatever
 * failed, the store is as it was, unless the outcome is said to be unknown, and nothing leaks. */
#include "codes_kit.h"

typedef struct codes_seen {
    uint64_t last_seq;
    uint32_t version;
} codes_seen;

static codes_seen codes_look(machine *m) {
    agt_error err;
    agt_store *s;
    codes_seen seen;
    machine_process *p = machine_process_new(m, "looker");
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    o.sys = machine_sys(p);
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    agt_status st = agt_document_get(s, "a.md", &d, &err);
    if (st == AGT_NOT_FOUND) st = agt_document_get(s, "to.md", &d, &err); /* it was renamed */
    CHECK_OK(st, err);
    CHECK_INT(d.modified_outside, 0);
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
    seen.last_seq = info.last_seq;
    seen.version = d.version;
    return seen;
}

static void codes_check_kept(const codes *c, agt_status st, const agt_error *err, codes_seen was,
                             codes_seen is, codes_call *call) {
    if (st == AGT_OK || err->outcome_unknown) return;
    uint64_t safe = 0;
    for (int i = 0; call == call_agt_group && i < 2; i++)
        safe += c->each[i] == AGT_OK;
    CHECK_INT(is.last_seq, was.last_seq + safe);
    if (!safe) CHECK_INT(is.version, was.version);
}

/* Fails the n-th allocation or call for n = 1, 2, 3 ... Each answer must be AGT_OK or `want`, and
 * `want` must have been among them. */
static void codes_sweep(const char *file, int line, const machine *start, const char *name,
                        codes_call *call, agt_status want, unsigned kinds,
                        codes_situation *situation) {
    uint64_t answered = 0;
    codes_seen was = {0, 0};
    FOR_EACH_FAULT(f, kinds) {
        codes c;
        agt_error err = {.status = AGT_OK};
        codes_begin(&c, start);
        if (call != call_agt_open) codes_open(&c);
        if (situation) situation(&c);
        if (!was.last_seq) {
            machine *m = machine_clone(c.m);
            was = codes_look(m);
            machine_free(m);
        }
        f.ops = MACHINE_CAN_FAIL & ~MACHINE_BIT(MACHINE_MUTEX_NEW);
        fault_arm(&f, c.m, &c.memory);
        agt_status st = call(&c, &err);
        fault_disarm(&f);
        if (st != AGT_OK && (st != want || !f.injected))
            test_fail(file, line, "%s answers %s, wanted %s: %s", name, agt_status_name(st),
                      agt_status_name(want), err.message);
        if (st != AGT_OK) codes_message(line, name, st, &err, NULL);
        answered += st == want;
        machine *left = machine_clone(c.m);
        codes kept = c;
        codes_end(&c);
        codes_check_kept(&kept, st, &err, was, codes_look(left), call);
        machine_free(left);
    }
    if (!answered) test_fail(file, line, "%s never answers %s", name, agt_status_name(want));
    test_saw(name, answered);
}

/* The next event of the cursor has a text with escapes in it. */
static void codes_escaped(codes *c) {
    agt_error err;
    agt_store *s;
    agt_caller who = AGT_CALLER("user");
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_trace_options t = AGT_TRACE_OPTIONS_INIT;
    o.sys = machine_sys(c->other);
    t.action = "decision";
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    CHECK_OK(agt_event_append(s, &who, "decision", "say \"go\"", NULL, 0, NULL, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    agt_cursor_close(c->trace);
    CHECK_OK(agt_trace(c->s, &t, &c->trace, &err), err);
}

#define SWEEP(call, want, kinds, situation)                                                        \
    codes_sweep(__FILE__, __LINE__, start, #call, call_##call, want, kinds, situation)

/* Another process wrote meanwhile: the handle has records to read. */
static void codes_elsewhere_written(codes *c) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(c->other);
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    codes_put(s, "user", "elsewhere.md", "bytes\n", 0);
    CHECK_OK(agt_close(s, &err), err);
}

TEST(codes, memory_that_runs_out_is_answered_by_every_call_that_allocates) {
    machine *start = codes_machine();
    const unsigned kinds = FAULT_ALL_MEMORY;
    SWEEP(agt_open, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_store_get_info, AGT_NOMEM, kinds, codes_elsewhere_written);
    SWEEP(agt_checkpoint, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_write, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_remove, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_restore, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_batch, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_group, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_read, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_read_version, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_document_get, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_list, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_list, AGT_NOMEM, kinds, codes_untracked);
    SWEEP(agt_trace, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_trace_next, AGT_NOMEM, kinds, codes_escaped);
    SWEEP(agt_trace_verify, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_event_append, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_add, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_rename, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_may_rename, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_untrack, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_reclassify, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_unlock, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_revoke, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_grants, AGT_NOMEM, kinds, codes_elsewhere_written);
    SWEEP(agt_may, AGT_NOMEM, kinds, codes_elsewhere_written);
    SWEEP(agt_read_refused, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_index_refresh, AGT_NOMEM, kinds, NULL);
#ifndef AGENT_TRACE_NO_GIT
    SWEEP(agt_store_idle, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_close, AGT_NOMEM, kinds, codes_publishing);
    SWEEP(agt_publish, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_diff, AGT_NOMEM, kinds, NULL);
    SWEEP(agt_diff_bytes, AGT_NOMEM, kinds, NULL);
#endif
    machine_free(start);
}

TEST(codes, a_disk_that_fails_is_answered_by_every_call_that_reads_or_writes) {
    machine *start = codes_machine();
    const unsigned kinds = FAULT_IO | FAULT_IO_FOREVER;
    SWEEP(agt_open, AGT_IO, kinds, NULL);
    SWEEP(agt_store_get_info, AGT_IO, kinds, NULL);
    SWEEP(agt_checkpoint, AGT_IO, kinds, NULL);
    SWEEP(agt_store_idle, AGT_IO, kinds, NULL);
    SWEEP(agt_write, AGT_IO, kinds, NULL);
    SWEEP(agt_remove, AGT_IO, kinds, NULL);
    SWEEP(agt_restore, AGT_IO, kinds, NULL);
    SWEEP(agt_batch, AGT_IO, kinds, NULL);
    SWEEP(agt_group, AGT_IO, kinds, NULL);
    SWEEP(agt_read, AGT_IO, kinds, NULL);
    SWEEP(agt_read_version, AGT_IO, kinds, NULL);
    SWEEP(agt_document_get, AGT_IO, kinds, NULL);
    SWEEP(agt_list, AGT_IO, kinds, NULL);
    SWEEP(agt_list, AGT_IO, kinds, codes_untracked);
    SWEEP(agt_trace, AGT_IO, kinds, NULL);
    SWEEP(agt_trace_next, AGT_IO, kinds, NULL);
    SWEEP(agt_trace_verify, AGT_IO, kinds, NULL);
    SWEEP(agt_event_append, AGT_IO, kinds, NULL);
    SWEEP(agt_add, AGT_IO, kinds, NULL);
    SWEEP(agt_rename, AGT_IO, kinds, NULL);
    SWEEP(agt_may_rename, AGT_IO, kinds, NULL);
    SWEEP(agt_untrack, AGT_IO, kinds, NULL);
    SWEEP(agt_reclassify, AGT_IO, kinds, NULL);
    SWEEP(agt_unlock, AGT_IO, kinds, NULL);
    SWEEP(agt_revoke, AGT_IO, kinds, NULL);
    SWEEP(agt_grants, AGT_IO, kinds, NULL);
    SWEEP(agt_may, AGT_IO, kinds, NULL);
    SWEEP(agt_read_refused, AGT_IO, kinds, NULL);
    SWEEP(agt_index_refresh, AGT_IO, kinds, NULL);
#ifndef AGENT_TRACE_NO_GIT
    SWEEP(agt_close, AGT_IO, kinds, codes_publishing);
    SWEEP(agt_publish, AGT_IO, kinds, NULL);
    SWEEP(agt_diff, AGT_IO, kinds, NULL);
#endif
    machine_free(start);
}
