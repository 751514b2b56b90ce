/* Renames, untracking, adding, other types and grants over deaths and power cuts: after each the
 * store is what it was before the change that was being made, or what it is after it. */
#include "oracle.h"
#include "store_kit.h"

#include <stdarg.h>

static const char *const root = "/home";

enum { POWER_STEPS = 18, POWER_TEXT = 4000 };

typedef struct power_marks {
    char at[POWER_STEPS + 1][POWER_TEXT]; /* the store after so many steps */
} power_marks;

static void power_say(char *out, const char *format, ...) {
    va_list args;
    size_t n = strlen(out);
    va_start(args, format);
    vsnprintf(out + n, POWER_TEXT - n, format, args);
    va_end(args);
}

/* All that somebody can see of the store, as text; what is random or a time is left out. */
static void power_describe(agt_store *s, machine *m, char *out) {
    static const char *const files[] = {"a.md", "b/c.md", "d.md", "big.md", "Case.md", "case.md"};
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_grant g[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    size_t n;
    char path[1200];
    out[0] = 0;
    o.deleted = o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK) {
        power_say(out, "%s %s v%u %s by %s %.8s size %llu%s", d.path, agt_type_name(d.type),
                  d.version, d.exists ? "there" : "gone", d.agent, d.blob,
                  (unsigned long long)d.size_bytes, d.modified_outside ? " edited" : "");
        CHECK_OK(agt_grants(s, d.path, g, &n, &err), err);
        for (size_t i = 0; i < n; i++)
            power_say(out, " for %s", g[i].actor);
        for (uint32_t v = 1; v <= d.version; v++) {
            agt_bytes b;
            agt_status st = agt_read_version(s, d.path, v, &b, &err);
            if (st != AGT_NOT_FOUND && st != AGT_UNSUPPORTED) CHECK_STATUS(st, AGT_OK, err);
            power_say(out,
                      st == AGT_OK          ? " %u:%.6s"
                      : st == AGT_NOT_FOUND ? " %u:-"
                                            : "",
                      v, st == AGT_OK ? (const char *)b.data : "");
            agt_bytes_free(&b);
        }
        power_say(out, "\n");
    }
    agt_cursor_close(c);
    for (size_t i = 0; i < AGT_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", root, files[i]);
        char *disk = machine_get(m, path, &n);
        if (disk) power_say(out, "disk %s %zu %.6s\n", files[i], n, disk);
        free(disk);
    }
}

static void power_step(agt_store *s, machine *m, int step) {
    static const agt_caller user = AGT_CALLER("user"), agent = AGT_CALLER("agent:kestrel");
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_status st = AGT_OK;
    static char big[1200000];
    o.type = AGT_TYPE_PLAN;
    switch (step) {
    case 0: st = agt_write(s, &agent, "a.md", "first", 5, &o, NULL, &err); break;
    case 1: st = agt_rename(s, &agent, "a.md", "b/c.md", NULL, NULL, &err); break;
    case 2: st = agt_write(s, &user, "a.md", "other", 5, NULL, NULL, &err); break;
    case 3: st = agt_checkpoint(s, &err); break;
    case 4: st = agt_remove(s, &user, "a.md", NULL, NULL, &err); break;
    case 5: st = agt_rename(s, &user, "b/c.md", "a.md", NULL, NULL, &err); break;
    case 6: st = agt_reclassify(s, &user, "a.md", AGT_TYPE_REFERENCE, NULL, NULL, &err); break;
    case 7: st = agt_unlock(s, &user, "a.md", "agent:kestrel", 3600000, NULL, NULL, &err); break;
    case 8: st = agt_write(s, &agent, "a.md", "second", 6, NULL, NULL, &err); break;
    case 9: st = agt_publish(s, &err); break;
    case 10: st = agt_untrack(s, &user, "a.md", NULL, NULL, &err); break;
    case 11: st = agt_add(s, &user, "d.md", AGT_TYPE_SCRATCH, NULL, NULL, &err); break;
    case 12: st = agt_add(s, &user, "a.md", AGT_TYPE_REFERENCE, NULL, NULL, &err); break;
    case 13: /* its bytes go to a side file */
        memset(big, 'b', 1200000);
        st = agt_write(s, &user, "big.md", big, 1200000, NULL, NULL, &err);
        break;
    case 14: st = agt_rename(s, &user, "big.md", "Case.md", NULL, NULL, &err); break;
    case 15: st = agt_rename(s, &user, "Case.md", "case.md", NULL, NULL, &err); break;
    case 16: st = agt_revoke(s, &user, "a.md", "agent:kestrel", NULL, NULL, &err); break;
    case 17: st = agt_checkpoint(s, &err); break;
    default: break;
    }
    (void)m;
    if (st != AGT_UNSUPPORTED) CHECK_STATUS(st, AGT_OK, err);
}

static machine *power_start(void) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_put(m, "/home/d.md", "a person's", 10);
    machine_sync_all(m);
    return m;
}

typedef struct power_run {
    machine *m;
    machine_memory mem;
    int acked;
} power_run;

/* Runs the steps; `marks` (may be NULL) learns what the store is after each. */
static void power_work(power_run *r, power_marks *marks) {
    agt_store *s = oracle_open(machine_process_new(r->m, "writer"), root, &r->mem, AGT_OK);
    for (; r->acked < POWER_STEPS; r->acked++) {
        if (marks) power_describe(s, r->m, marks->at[r->acked]);
        power_step(s, r->m, r->acked);
    }
    if (marks) power_describe(s, r->m, marks->at[POWER_STEPS]);
    agt_close(s, NULL);
}

/* Dies at the n-th change; false if the work ended before. */
static bool power_until(power_run *r, const machine *start, uint64_t n, machine_when when) {
    memset(r, 0, sizeof *r);
    r->m = machine_clone(start);
    machine_memory_init(&r->mem);
    machine_crash_at(r->m, n, MACHINE_CHANGES, when);
    bool ended = setjmp(*machine_crash_point(r->m)) == 0;
    if (ended) power_work(r, NULL);
    machine_crash_at(r->m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&r->mem);
    return !ended;
}

/* What a next process finds is what it was before the step that was being made, or after it, and it
 * stays so over a checkpoint. */
static void power_check(machine *m, const power_marks *marks, int acked) {
    agt_error err;
    machine_memory mem;
    char before[POWER_TEXT], after[POWER_TEXT];
    agt_store *s = oracle_open(machine_process_new(m, "checker"), root, &mem, AGT_OK);
    power_describe(s, m, before);
    int next = acked < POWER_STEPS ? acked + 1 : acked;
    if (strcmp(before, marks->at[acked]) != 0 && strcmp(before, marks->at[next]) != 0)
        test_fail(__FILE__, __LINE__, "after step %d it is\n%snot\n%snor\n%s", acked, before,
                  marks->at[acked], marks->at[next]);
    oracle_check_trace(s);
    CHECK_OK(agt_checkpoint(s, &err), err);
    power_describe(s, m, after);
    CHECK_STR(after, before);
    CHECK_OK(agt_close(s, &err), err);
    CHECK_INT(mem.live_blocks, 0);
}

static power_marks *power_learn(const machine *start) {
    power_run r = {.m = machine_clone(start)};
    power_marks *marks = calloc(1, sizeof *marks);
    machine_memory_init(&r.mem);
    power_work(&r, marks);
    CHECK(strstr(marks->at[POWER_STEPS], "case.md scratch v3 there"));
    CHECK(strstr(marks->at[POWER_STEPS], "a.md reference v6 there by kestrel"));
    CHECK(strstr(marks->at[8], "for agent:kestrel"));
    CHECK(strstr(marks->at[11], "a.md reference v5 gone"));
    CHECK(strstr(marks->at[11], "disk a.md 6 second"));
    machine_free(r.m);
    return marks;
}

TEST(manage_power, a_death_at_any_change) {
    machine *start = power_start();
    power_marks *marks = power_learn(start);
    uint64_t deaths = 0;
    power_run r;
    for (uint64_t n = 1; power_until(&r, start, n, (machine_when)(n % 3)); n += test_step(1)) {
        power_check(r.m, marks, r.acked);
        machine_free(r.m);
        deaths++;
    }
    machine_free(r.m);
    machine_free(start);
    free(marks);
    test_saw("deaths", deaths);
    CHECK(deaths > test_some(200));
}

TEST(manage_power, a_cut_at_any_change) {
    machine *start = power_start();
    power_marks *marks = power_learn(start);
    uint64_t states = 0, per = test_count("TEST_CUTS", test_all() ? 4 : 1);
    power_run r;
    for (uint64_t n = 1; power_until(&r, start, n, (machine_when)(test_random_below(3)));
         n += test_step(1)) {
        for (uint64_t k = 0; k < per; k++) {
            machine *c = machine_clone(r.m);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            if ((k + n) % 3 == 0) cut.mode = MACHINE_CUT_LOSE;
            if ((k + n) % 3 == 1) cut.mode = MACHINE_CUT_KEEP;
            machine_power_cut(c, &cut);
            power_check(c, marks, r.acked);
            machine_free(c);
            states++;
        }
        machine_free(r.m);
    }
    machine_free(r.m);
    machine_free(start);
    free(marks);
    test_saw("states", states);
    CHECK(states > test_some(200));
}
