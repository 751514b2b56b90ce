/* agt_repair where an event is gone from every place that had it: it is told, another stands in for
 * it, and no document gets a weaker type than it had. What the index of paths says stays right. */
#include "repair_kit.h"

#include <ctype.h>

/* ---- making an event vanish ---- */

static const char *lost_find(const char *in, size_t n, const char *what, size_t len) {
    for (size_t at = 0; at + len <= n; at++) {
        const char *p = memchr(in + at, what[0], n - at - len + 1);
        if (!p) return NULL;
        if (memcmp(p, what, len) == 0) return p;
        at = (size_t)(p - in);
    }
    return NULL;
}

/* Overwrites the line wherever a file of the store has it; how often. */
static unsigned lost_vanish(machine *m, const char *line, size_t len) {
    repair_files all;
    unsigned times = 0;
    char *junk = malloc(len);
    memset(junk, 'x', len);
    repair_list_files(m, &all);
    for (size_t i = 0; i < all.count; i++) {
        size_t n;
        char *bytes = machine_get(m, all.path[i], &n);
        for (const char *p = bytes; (p = lost_find(p, n - (size_t)(p - bytes), line, len)); p++) {
            CHECK_INT(machine_overwrite(m, all.path[i], (uint64_t)(p - bytes), junk, len), 0);
            times++;
        }
        free(bytes);
    }
    free(junk);
    return times;
}

/* The trace as text; the line of `seq` in it, without its newline. */
static const char *lost_line(const char *trace, uint64_t seq, size_t *len) {
    const char *p = trace;
    for (uint64_t i = 1; i < seq; i++)
        p = strchr(p, '\n') + 1;
    *len = strcspn(p, "\n");
    return p;
}

static void lost_catalogs(machine *m) {
    char *tree = machine_tree(m, "/home/.agent-trace");
    unsigned gone = 0;
    for (char *p = tree; (p = strstr(p, " catalog.")); p++) {
        char path[80];
        snprintf(path, sizeof path, REPAIR_AT "%.*s", (int)strcspn(p + 1, "\n"), p + 1);
        CHECK_INT(machine_remove(m, path), 0);
        gone++;
    }
    CHECK(gone > 0);
    free(tree);
}

/* ---- looking ---- */

typedef struct lost_store {
    agt_store *s;
    agt_store_info info;
} lost_store;

static lost_store lost_open(machine *m) {
    agt_error err;
    lost_store l = {oracle_open(machine_process_new(m, "reader"), repair_root, NULL, AGT_OK),
                    AGT_STORE_INFO_INIT};
    CHECK_OK(agt_store_get_info(l.s, &l.info, &err), err);
    return l;
}

static void lost_close(lost_store *l) {
    agt_error err;
    CHECK_OK(agt_close(l->s, &err), err);
}

/* Every document has the type that it had, or `reference`; how many became that. */
static unsigned lost_types(machine *before, machine *after) {
    agt_error err;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT, was = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    unsigned strict = 0, seen = 0;
    lost_store old = lost_open(before), now = lost_open(after);
    o.deleted = 1;
    CHECK_OK(agt_list(now.s, &o, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK) {
        if (agt_document_get(old.s, d.path, &was, &err) != AGT_OK) continue; /* a lost rename's */
        seen++;
        if (d.type != was.type && d.type != AGT_TYPE_REFERENCE)
            test_fail(__FILE__, __LINE__, "%s was %s and is %s", d.path,
                      agt_type_name((agt_type)was.type), agt_type_name((agt_type)d.type));
        strict += d.type != was.type;
    }
    CHECK(seen > 5);
    agt_cursor_close(c);
    lost_close(&old);
    lost_close(&now);
    return strict;
}

static char *lost_trace_of(machine *m) {
    repair_text t = {NULL, 0, 0};
    lost_store l = lost_open(m);
    repair_events(&t, l.s);
    lost_close(&l);
    return t.p;
}

/* What stands in place of the event, and where the chain breaks. */
static void lost_stands_in(machine *m, uint64_t seq, uint64_t last) {
    agt_error err;
    agt_trace_verdict v = AGT_TRACE_VERDICT_INIT;
    char want[40];
    size_t n;
    char *trace = lost_trace_of(m);
    const char *line = lost_line(trace, seq, &n);
    snprintf(want, sizeof want, "\"seq\":%llu,", (unsigned long long)seq);
    CHECK(lost_find(line, n, want, strlen(want)));
    CHECK(lost_find(line, n, "\"actor\":\"system\"", 16) && lost_find(line, n, "\"lost\"", 6));
    lost_store l = lost_open(m);
    CHECK_INT(l.info.last_seq, last);
    CHECK_OK(agt_trace_verify(l.s, 0, &v, &err), err);
    CHECK_INT(v.damaged_lines, seq < last ? 1 : 0); /* the line behind it */
    lost_close(&l);
    free(trace);
}

/* ---- the cases ---- */

static void lost_repair(machine *m, uint64_t seq, agt_repair_result *r) {
    agt_repair_result again;
    char *codes = repair_run(m, 0, r);
    if (r->lost_events != 1 || r->first_lost_seq != seq || !strstr(codes, " lost_event"))
        test_fail(__FILE__, __LINE__, "event %llu: found%s, %d lost, the first %llu",
                  (unsigned long long)seq, codes, (int)r->lost_events,
                  (unsigned long long)r->first_lost_seq);
    char *second = repair_run(m, 0, &again);
    CHECK_INT(again.found, 0);
    const char *rest = repair_behind_lost(second, &again, r->lost_versions);
    CHECK(!rest[0] || strcmp(rest, " document") == 0); /* whose newest version is lost */
    free(second);
    free(codes);
}

/* Goes on as a store does. */
static void lost_goes_on(machine *m) {
    agt_error err;
    lost_store l = lost_open(m);
    kit_write(l.s, &kit_agent, "after.md", "after the repair\n");
    kit_publish(l.s);
    CHECK_OK(agt_checkpoint(l.s, &err), err);
    kit_reads(l.s, "after.md", "after the repair\n");
    lost_close(&l);
}

/* Those that no commit has: the second part's. */
TEST(repair_lost, an_event_that_nothing_has_is_told_and_no_type_gets_weaker) {
    machine *m = repair_machine();
    char *trace = lost_trace_of(m);
    lost_store l = lost_open(m);
    uint64_t first = l.s->journal.header.packed_seq + 1, behind = l.s->journal.header.next_seq;
    uint64_t last = l.info.last_seq;
    unsigned strict = 0, cases = 0;
    lost_close(&l);
    CHECK(behind > first + 5);
    for (uint64_t seq = first; seq < behind; seq++)
        for (int catalog = 0; catalog < 2; catalog++, cases++) {
            agt_repair_result r;
            size_t n;
            machine *c = machine_clone(m);
            const char *line = lost_line(trace, seq, &n);
            CHECK(lost_vanish(c, line, n) >= 2); /* trace and record */
            if (!catalog) lost_catalogs(c);
            lost_repair(c, seq, &r);
            lost_stands_in(c, seq, last);
            unsigned more = lost_types(m, c);
            /* a catalog that is sound knows the types */
            if (catalog) CHECK_INT(more + r.lost_types, 0);
            if (!catalog) CHECK(r.lost_types >= more);
            strict += more;
            lost_goes_on(c);
            machine_free(c);
        }
    test_saw("lost events", cases);
    test_saw("documents that became reference", strict);
    CHECK(strict > 0);
    free(trace);
    machine_free(m);
}

/* The seq of the event whose line has the text. */
static uint64_t lost_seq_of(const char *trace, const char *text) {
    uint64_t seq = 1;
    const char *at = strstr(trace, text);
    CHECK(at);
    for (const char *p = trace; (p = memchr(p, '\n', (size_t)(at - p))); p++)
        seq++;
    return seq;
}

TEST(repair_lost, a_document_whose_reclassify_is_lost_is_closed_to_agents) {
    machine *m = repair_machine();
    agt_error err;
    agt_repair_result r;
    agt_document d = AGT_DOCUMENT_INIT;
    char *trace = lost_trace_of(m);
    uint64_t seq = lost_seq_of(trace, "\"reclassify\"");
    size_t n;
    const char *line = lost_line(trace, seq, &n);
    CHECK(lost_vanish(m, line, n) >= 2);
    lost_catalogs(m);
    lost_repair(m, seq, &r);
    CHECK(r.lost_types > 0);
    lost_store l = lost_open(m);
    CHECK_OK(agt_document_get(l.s, "notes/b.md", &d, &err), err);
    CHECK_INT(d.type, AGT_TYPE_REFERENCE);
    CHECK_STATUS(agt_write(l.s, &kit_agent, "notes/b.md", "x", 1, NULL, NULL, &err), AGT_DENIED,
                 err);
    CHECK_INT(l.s->catalog.grant_count, 0); /* it may have been a revoke */
    lost_close(&l);
    free(trace);
    machine_free(m);
}

/* Without header and trace the journal's own lines are all there is of the newest events. */
TEST(repair_lost, an_event_that_is_lost_from_a_headless_journal_puts_types_in_doubt) {
    machine *m = repair_machine();
    agt_error err;
    agt_repair_result r;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_caller yes = kit_user;
    char zeros[8192] = {0};
    size_t n;
    yes.confirm = 1;
    lost_store l = lost_open(m);
    CHECK_OK(agt_reclassify(l.s, &yes, "both/one.md", AGT_TYPE_PLAN, NULL, NULL, &err), err);
    kit_write(l.s, &kit_agent, "both/two.md", "behind it\n");
    kit_write(l.s, &kit_agent, "both/two.md", "and behind that\n");
    lost_close(&l);
    char *trace = lost_trace_of(m);
    uint64_t seq =
        lost_seq_of(trace, "reclassify\",\"change_kind\":\"reclassify\",\"path\":\"both");
    const char *line = lost_line(trace, seq, &n);
    CHECK(lost_vanish(m, line, n) >= 2);
    uint64_t keep = (uint64_t)(line - trace);
    CHECK_INT(machine_truncate(m, REPAIR_AT "trace/000000000001.jsonl", keep), 0);
    CHECK_INT(machine_overwrite(m, REPAIR_AT "journal", 0, zeros, sizeof zeros), 0);
    lost_repair(m, seq, &r);
    l = lost_open(m);
    CHECK_OK(agt_document_get(l.s, "both/one.md", &d, &err), err);
    CHECK_INT(d.type, AGT_TYPE_REFERENCE);
    kit_reads(l.s, "both/two.md", "and behind that\n");
    lost_close(&l);
    free(trace);
    machine_free(m);
}

/* ---- the index of paths ---- */

/* What the trace says of a path, with the index and by reading all of it. */
static unsigned lost_path_agrees(agt_store *s, const char *path) {
    agt_error err;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT, f = AGT_EVENT_INIT;
    agt_cursor *by_path, *all;
    agt_status st = AGT_OK;
    unsigned seen = 0;
    o.path = path;
    CHECK_OK(agt_trace(s, &o, &by_path, &err), err);
    CHECK_OK(agt_trace(s, NULL, &all, &err), err);
    while ((st = agt_trace_next(all, &e, &err)) == AGT_OK) {
        if (!agt__text_is(e.path, path) && !agt__text_is(e.from, path)) continue;
        CHECK_STATUS(agt_trace_next(by_path, &f, &err), AGT_OK, err);
        if (f.seq != e.seq)
            test_fail(__FILE__, __LINE__, "%s: event %llu by the index, wanted %llu", path,
                      (unsigned long long)f.seq, (unsigned long long)e.seq);
        seen++;
    }
    CHECK_STATUS(st, AGT_END, err);
    CHECK_STATUS(agt_trace_next(by_path, &f, &err), AGT_END, err);
    agt_cursor_close(by_path);
    agt_cursor_close(all);
    return seen;
}

TEST(repair_lost, the_index_of_paths_from_before_a_repair_says_nothing_wrong_behind_it) {
    static const char *const paths[] = {"plan.md",       "ref.md",    "notes/a.md", "notes/b.md",
                                        "both/one.md",   "ctx.md",    "long.txt",   "last.md",
                                        "notes/gone.md", "nothing.md"};
    machine *m = repair_machine();
    char *trace = lost_trace_of(m);
    char *tree = machine_tree(m, REPAIR_AT "index");
    lost_store l = lost_open(m);
    uint64_t packed = l.s->journal.header.packed_seq;
    lost_close(&l);
    if (!packed) packed = 12;                                     /* a build without git */
    CHECK(tree && isdigit((unsigned char)strrchr(tree, ' ')[1])); /* there is one */
    unsigned seen = 0;
    for (uint64_t seq = 1; seq <= packed; seq += packed / 3) {
        agt_repair_result r;
        size_t n;
        machine *c = machine_clone(m);
        const char *line = lost_line(trace, seq, &n);
        if (kit_has_git) CHECK_INT(machine_remove(c, REPAIR_AT "git"), 0);
        CHECK(lost_vanish(c, line, n) >= 1);
        lost_repair(c, seq, &r);
        for (int later = 0; later < 2; later++) {
            l = lost_open(c);
            for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
                seen += lost_path_agrees(l.s, paths[i]);
            lost_close(&l);
            if (!later) lost_goes_on(c); /* a checkpoint brings the index up to date */
        }
        machine_free(c);
    }
    CHECK(seen > 60);
    test_saw("events of paths", seen);
    free(tree);
    free(trace);
    machine_free(m);
}
