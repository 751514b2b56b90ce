/* doctor: what is not as it should be with a store, or worth knowing, and what to do about it.
 *
 * (1) It looks as a reader does: without a lock, through a read-only handle. What only a look at
 *     every byte tells is agt_repair's, in a dry run.
 * (2) Each finding has a code that never changes, says what is, and how it is mended. */
#include "findings.h"
#include "store.h"

#define DOCTOR_AHEAD_MS (5LL * 60 * 1000) /* an event so much later than now: a clock is wrong */

typedef struct doctor {
    agt_doctor_options o;
    agt_findings *found;
    agt_store *parts; /* the folders */
    const char *root;
} doctor;

static unsigned long long doctor_n(uint64_t n) {
    return (unsigned long long)n;
}

/* ---- rights ---- */

/* A folder of ours is 0700: who may enter it may read documents' old versions and refused bytes. */
static agt_status doctor_rights(doctor *d, agt_error *err) {
    agt_stat at, root;
    const agt_store *s = d->parts;
    int rc = s->sys->fstat(s->sys->ctx, s->at, &at);
    if (rc == 0) rc = s->sys->fstat(s->sys->ctx, s->root, &root);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace");
    if (at.owner != root.owner)
        (void)agt__findings_add(d->found, AGT_SEVERITY_NOTE, "owner", NULL,
                                ".agent-trace belongs to another user than the folder it is in");
    if (!(at.mode & 077u)) return AGT_OK;
    agt_finding *f = agt__findings_add(
        d->found, AGT_SEVERITY_WARNING, "rights",
        "run 'agent-trace doctor --fix', or 'chmod 700 .agent-trace'",
        ".agent-trace has mode %03o: others can see all versions", (unsigned)(at.mode & 0777u));
    f->mendable = 1;
    if (!d->o.fix) return AGT_OK;
    rc = s->sys->set_mode(s->sys->ctx, s->at, 0700);
    f->mended = rc == 0;
    return rc < 0 ? agt__fail_io(err, rc, "cannot change the mode of .agent-trace") : AGT_OK;
}

/* ---- what lies there ---- */

static int doctor_count(void *ctx, const char *name) {
    (void)name;
    ++*(uint32_t *)ctx;
    return 0;
}

static uint32_t doctor_names(const doctor *d, agt_fd dir) {
    uint32_t n = 0;
    if (dir != AGT_FD_NONE) (void)d->parts->sys->list(d->parts->sys->ctx, dir, doctor_count, &n);
    return n;
}

static void doctor_files(doctor *d) {
    const agt_store *s = d->parts;
    agt_fd damaged = s->sys->open(s->sys->ctx, s->at, "damaged", AGT_O_READ | AGT_O_FOLDER, 0);
    uint32_t n = doctor_names(d, s->aside);
    if (n)
        (void)agt__findings_add(d->found, AGT_SEVERITY_WARNING, "aside",
                                "read them and remove them: no version holds them",
                                "%u edit%s that met a write %s kept in .agent-trace/aside", n,
                                n == 1 ? "" : "s", n == 1 ? "is" : "are");
    if (damaged >= 0 && (n = doctor_names(d, damaged)) > 0)
        (void)agt__findings_add(d->found, AGT_SEVERITY_NOTE, "kept",
                                "remove them when you do not need them any more",
                                "%u part%s that a repair replaced %s kept in .agent-trace/damaged",
                                n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
    if (damaged >= 0) s->sys->close(s->sys->ctx, damaged);
    if ((n = doctor_names(d, s->rejected)) > AGT_MAX_REJECTED / 4 * 3)
        (void)agt__findings_add(d->found, AGT_SEVERITY_NOTE, "refused", NULL,
                                "%u refused writes are kept; behind %u the oldest go", n,
                                (unsigned)AGT_MAX_REJECTED);
}

/* ---- the store as a reader sees it ---- */

static agt_status doctor_clock(doctor *d, agt_store *s, agt_error *err) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *c;
    o.newest_first = 1;
    o.limit = 1;
    agt_status st = agt_trace(s, &o, &c, err);
    if (st != AGT_OK) return st;
    st = agt_trace_next(c, &e, err);
    int64_t ahead = st == AGT_OK ? e.recorded_unix_ms - s->sys->now_unix_ms(s->sys->ctx) : 0;
    if (ahead > DOCTOR_AHEAD_MS)
        (void)agt__findings_add(d->found, AGT_SEVERITY_WARNING, "clock",
                                "set the clock; the order of events is right all the same",
                                "the newest event is %llu minutes later than now",
                                doctor_n((uint64_t)ahead / 60000));
    agt_cursor_close(c);
    return st == AGT_END ? AGT_OK : st;
}

static agt_status doctor_info(doctor *d, agt_store *s, agt_error *err) {
    agt_store_info i = AGT_STORE_INFO_INIT;
    agt_status st = agt_store_get_info(s, &i, err);
    if (st != AGT_OK) return st;
    if (i.failed)
        (void)agt__findings_add(d->found, AGT_SEVERITY_ERROR, "failed",
                                "look at the disk; the next command that writes recovers",
                                "a sync to disk failed, so the store is read-only");
    if (i.apply_pending)
        (void)agt__findings_add(d->found, AGT_SEVERITY_WARNING, "waits",
                                "move away what stands in its place, and run 'agent-trace status'",
                                "a recorded change is not in its file yet");
    if (i.last_seq > i.published_seq)
        (void)agt__findings_add(
            d->found, AGT_SEVERITY_NOTE, "pending", "'agent-trace git log' publishes them",
            "git does not have the newest %llu events yet", doctor_n(i.last_seq - i.published_seq));
    return doctor_clock(d, s, err);
}

static void doctor_leader(doctor *d) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    if (d->o.sys || agt_poll_lock_holder(d->root, &h, NULL) != AGT_OK || !h.held) return;
    (void)agt__findings_add(d->found, AGT_SEVERITY_NOTE, "leader", NULL,
                            "%s, process %lld, is the poll leader", h.program, (long long)h.pid);
}

/* Damage that opening tells is a finding. */
static agt_status doctor_open(doctor *d, agt_error *err) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_store *s;
    agt_error mine;
    mine.status = AGT_OK;
    o.read_only = 1;
    o.timeout_ms = d->o.timeout_ms;
    o.allocator = d->o.allocator;
    o.sys = d->o.sys;
    agt_status st = agt_open(&s, d->root, &o, &mine);
    if (st == AGT_OK) {
        st = doctor_info(d, s, &mine);
        (void)agt_close(s, NULL);
    }
    if (st == AGT_CORRUPT && d->o.deep) return AGT_OK; /* that look has told it already */
    if (st != AGT_CORRUPT) return agt__answer(st, &mine, err);
    agt__findings_add(d->found, AGT_SEVERITY_ERROR, "damaged", "run 'agent-trace repair'", "%.400s",
                      mine.message)
        ->mendable = 1;
    return AGT_OK;
}

/* ---- all of it ---- */

/* The findings of a repair, dry or not, join ours. */
static agt_status doctor_repair(doctor *d, agt_error *err) {
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_findings *all;
    o.dry_run = !d->o.fix;
    o.timeout_ms = d->o.timeout_ms;
    o.allocator = d->o.allocator;
    o.sys = d->o.sys;
    agt_status st = agt_repair(d->root, &o, NULL, &all, err);
    if (st != AGT_OK) return st;
    agt__findings_join(d->found, all);
    agt_findings_close(all);
    return AGT_OK;
}

static agt_status doctor_run(doctor *d, agt_error *err) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.read_only = 1;
    o.timeout_ms = d->o.timeout_ms;
    o.allocator = d->o.allocator;
    o.sys = d->o.sys;
    agt_status st = AGT_OK;
    if (d->o.deep || d->o.fix) st = doctor_repair(d, err);
    if (st == AGT_OK) st = agt__store_open_parts(&d->parts, d->root, &o, err);
    if (st != AGT_OK) return st;
    st = doctor_rights(d, err);
    if (st == AGT_OK) doctor_files(d);
    agt__store_close_parts(d->parts);
    if (st == AGT_OK) st = doctor_open(d, err);
    if (st == AGT_OK) doctor_leader(d);
    return st == AGT_OK && agt__findings_failed(d->found) ? agt__nomem(err) : st;
}

AGENT_TRACE_API agt_status agt_doctor(const char *root, const agt_doctor_options *opts,
                                      agt_findings **findings, agt_error *err) {
    doctor d;
    agt_error mine;
    AGENT_TRACE_ASSERT(root && findings);
    *findings = NULL;
    mine.status = AGT_OK;
    memset(&d, 0, sizeof d);
    d.root = root;
    agt_status st = agt__options(&d.o, sizeof d.o, opts, "agt_doctor_options", err);
    if (st != AGT_OK) return st;
    agt_mem mem = agt__mem(d.o.allocator);
    st = agt__findings_new(&d.found, &mem, &mine);
    if (st == AGT_OK) st = doctor_run(&d, &mine);
    if (st == AGT_OK)
        *findings = d.found;
    else
        agt_findings_close(d.found);
    return agt__answer(st, &mine, err);
}
