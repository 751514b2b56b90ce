/* doctor: what is not as it should be with a store, or worth knowing, and what to do about it. The
 * parts are in doctor.h.
 *
 * (1) It looks as a reader does: without a lock, through a read-only handle. What only a look at
 *     every byte tells is agt_repair's, in a dry run.
 * (2) With --fix the repair goes first, so that all others look at a store that is whole. Mended is
 *     what needs no guess; what may be a person's stays, or is kept.
 * (3) Each finding has a code that never changes, says what is, and how it is mended. */
#include "doctor.h"

#include "work.h"

#define DOCTOR_AHEAD_MS (5LL * 60 * 1000) /* an event so much later than now: a clock is wrong */

static unsigned long long doctor_n(uint64_t n) {
    return (unsigned long long)n;
}

AGT_PRIVATE agt_open_options agt__doctor_options(const agt_visit *v, bool read_only) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.read_only = read_only;
    o.timeout_ms = v->o.timeout_ms;
    o.allocator = v->o.allocator;
    o.sys = v->o.sys;
    return o;
}

/* ---- the store as a reader sees it ---- */

static void doctor_refused(agt_visit *v, agt_store *s) {
    agt_shared now;
    if (!agt__store_peek(s, &now) || !now.refused_waits) return;
    (void)agt__findings_add(v->found, AGT_SEVERITY_WARNING, "refused_waits",
                            "make room on the file system, or see that .agent-trace/rejected may "
                            "be written; the next command keeps them",
                            "refused bytes could not be kept in .agent-trace/rejected; they wait "
                            "in the journal");
}

static agt_status doctor_clock(agt_visit *v, agt_store *s, agt_error *err) {
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
        (void)agt__findings_add(v->found, AGT_SEVERITY_WARNING, "clock",
                                "set the clock; the order of events is right all the same",
                                "the newest event is %llu minutes later than now",
                                doctor_n((uint64_t)ahead / 60000));
    agt_cursor_close(c);
    return st == AGT_END ? AGT_OK : st;
}

static agt_status doctor_info(agt_visit *v, agt_store *s, agt_error *err) {
    agt_store_info i = AGT_STORE_INFO_INIT;
    agt_status st = agt_store_get_info(s, &i, err);
    if (st != AGT_OK) return st;
    if (i.failed)
        (void)agt__findings_add(v->found, AGT_SEVERITY_ERROR, "failed",
                                "look at the disk; the next command that writes recovers",
                                "a sync to disk failed, so the store is read-only");
    if (i.apply_pending)
        (void)agt__findings_add(v->found, AGT_SEVERITY_WARNING, "waits",
                                "move away what stands in its place, and run 'agent-trace status'",
                                "a recorded change is not in its file yet");
    doctor_refused(v, s);
    if (i.head_lost && !v->o.deep)
        agt__findings_add(v->found, AGT_SEVERITY_ERROR, "git", "run 'agent-trace repair'",
                          ".agent-trace/git is damaged or missing: commit %.10s is not there",
                          i.head)
            ->mendable = 1;
    const char *file = v->o.deep || i.head_lost || s->stands_on || s->git_dir == AGT_FD_NONE
                           ? NULL
                           : agt__git_damaged_file(s->sys, s->git_dir, &s->mem);
    if (file)
        agt__findings_add(v->found, AGT_SEVERITY_ERROR, "git_file", "run 'agent-trace repair'",
                          ".agent-trace/git/%s is damaged: no git command can read the repository",
                          file)
            ->mendable = 1;
    if (i.last_seq > i.published_seq)
        (void)agt__findings_add(
            v->found, AGT_SEVERITY_NOTE, "pending", "'agent-trace git log' publishes them",
            "git does not have the newest %llu events yet", doctor_n(i.last_seq - i.published_seq));
    return doctor_clock(v, s, err);
}

/* ---- the readable face ---- */

static agt_status doctor_face_mend(const agt_visit *v, agt_error *err) {
    agt_open_options o = agt__doctor_options(v, false);
    agt_store *s;
    o.publish = AGT_PUBLISH_CLOSE;
    agt_status st = agt_open(&s, v->root, &o, err);
    if (st != AGT_OK) return st;
    st = agt_index_refresh(s, 1, NULL, err);
    (void)agt_close(s, NULL);
    return st;
}

/* AGENT-TRACE.md, where there is one, says what the store says. */
static agt_status doctor_face(agt_visit *v, agt_store *s, agt_error *err) {
    bool differs;
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__index_differs(s, &differs, &mine);
    if (st == AGT_INVALID || st == AGT_LIMIT) { /* what stands there is no file of ours */
        differs = true;
        st = AGT_OK;
    }
    if (st != AGT_OK || !differs) return agt__answer(st, &mine, err);
    if (v->o.fix) st = doctor_face_mend(v, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    agt_finding *f = agt__findings_add(
        v->found, AGT_SEVERITY_WARNING, "face",
        AGT_DOCTOR_FIX ": it writes it anew, and keeps an edit in its history",
        AGT_WORK_INDEX
        " does not say what the store says: the documents changed, or it did%s%.200s",
        st == AGT_OK ? "" : "; it could not be written: ", st == AGT_OK ? "" : mine.message);
    f->mendable = 1;
    f->mended = v->o.fix && st == AGT_OK;
    return AGT_OK;
}

/* How much of a message says what is, not what to do. */
static int doctor_what(const char *message) {
    static const char mend[] = "; run 'agent-trace repair'";
    size_t n = strlen(message), m = sizeof mend - 1;
    return (int)(n > m && strcmp(message + n - m, mend) == 0 ? n - m : n);
}

/* Damage that opening tells is a finding. */
static agt_status doctor_open(agt_visit *v, agt_error *err) {
    agt_open_options o = agt__doctor_options(v, true);
    agt_store *s;
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt_open(&s, v->root, &o, &mine);
    if (st == AGT_OK) {
        st = doctor_info(v, s, &mine);
        if (st == AGT_OK) st = agt__doctor_nested(v, s, &mine);
        if (st == AGT_OK) st = doctor_face(v, s, &mine);
        (void)agt_close(s, NULL);
    }
    if (st == AGT_CORRUPT && v->o.deep) return AGT_OK; /* that look has told it already */
    if (st == AGT_IO && v->give_back[0]) { /* not the end: why not stands among the findings */
        (void)agt__findings_add(v->found, AGT_SEVERITY_ERROR, "unreadable", v->give_back, "%s",
                                mine.message);
        return AGT_OK;
    }
    if (st != AGT_CORRUPT) return agt__answer(st, &mine, err);
    agt__findings_add(v->found, AGT_SEVERITY_ERROR, "damaged", "run 'agent-trace repair'", "%.*s",
                      doctor_what(mine.message), mine.message)
        ->mendable = 1;
    return AGT_OK;
}

/* ---- all of it ---- */

/* The findings of a repair, dry or not, join ours. */
static agt_status doctor_repair(agt_visit *v, agt_error *err) {
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_findings *all;
    o.dry_run = !v->o.fix;
    o.timeout_ms = v->o.timeout_ms;
    o.allocator = v->o.allocator;
    o.sys = v->o.sys;
    agt_status st = agt_repair(v->root, &o, NULL, &all, err);
    if (st != AGT_OK) return st;
    agt__findings_join(v->found, all);
    agt_findings_close(all);
    return AGT_OK;
}

static agt_status doctor_parts(agt_visit *v, agt_error *err) {
    agt__doctor_volume(v);
    agt__doctor_locks(v);
    agt_status st = agt__doctor_rights(v, err);
    if (st == AGT_OK) st = agt__doctor_left(v, err);
    if (st == AGT_OK) st = agt__doctor_files(v, err);
    if (st == AGT_OK) st = agt__doctor_around(v, err);
    return st;
}

/* Does something else stand in the place of a part? Then nothing more can be looked at. A repair
 * has told what it left. */
static bool doctor_misplaced(agt_visit *v) {
    uint32_t links;
    return agt__store_find_misplaced(v->parts, v->o.deep || v->o.fix ? NULL : v->found, &links);
}

static agt_status doctor_run(agt_visit *v, agt_error *err) {
    agt_open_options o = agt__doctor_options(v, true);
    agt_status st = AGT_OK;
    if (v->o.deep || v->o.fix) st = doctor_repair(v, err);
    if (st == AGT_OK) st = agt__store_open_parts(&v->parts, v->root, &o, err);
    if (st != AGT_OK) return st;
    v->nested = agt__buf(&v->parts->mem);
    st = agt__store_not_old(v->parts, err);
    bool whole = st == AGT_OK && !doctor_misplaced(v);
    if (whole) st = doctor_parts(v, err);
    if (whole && st == AGT_OK) st = doctor_open(v, err);
    agt__buf_free(&v->nested);
    agt__store_close_parts(v->parts);
    return st == AGT_OK && agt__findings_failed(v->found) ? agt__nomem(err) : st;
}

AGENT_TRACE_API agt_status agt_doctor(const char *root, const agt_doctor_options *opts,
                                      agt_findings **findings, agt_error *err) {
    agt_visit v;
    agt_error mine;
    AGENT_TRACE_ASSERT(root && findings);
    *findings = NULL;
    mine.status = AGT_OK;
    memset(&v, 0, sizeof v);
    v.root = root;
    agt_status st = agt__options(&v.o, sizeof v.o, opts, "agt_doctor_options", err);
    if (st != AGT_OK) return st;
    if (v.o.deep > 1 || v.o.fix > 1) return agt__fail(err, AGT_INVALID, "deep and fix are 0 or 1");
    agt_mem mem = agt__mem(v.o.allocator);
    st = agt__findings_new(&v.found, &mem, &mine);
    if (st == AGT_OK) st = doctor_run(&v, &mine);
    if (st == AGT_OK)
        *findings = v.found;
    else
        agt_findings_close(v.found);
    return agt__answer(st, &mine, err);
}
