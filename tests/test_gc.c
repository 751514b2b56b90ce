/* agt_gc: each documented answer; deaths and power cuts at any change; writers that go on while it
 * works; what it counts, clears and leaves alone; and how small a store gets. */
#include "codes_kit.h"
#include "oracle.h"
#include "store_kit.h"

#include <sys/stat.h>

static const char *const root = "/home";

/* An empty folder in a machine's memory, whose clock goes on by call_ns at each call. */
static machine *gc_machine(int64_t call_ns) {
    machine_settings set = {.seed = test_random(), .call_ns = call_ns};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    return m;
}

static agt_gc_result gc_now(agt_store *s) {
    agt_error err;
    agt_gc_result r = AGT_GC_RESULT_INIT;
    CHECK_OK(agt_gc(s, NULL, &r, &err), err);
    return r;
}

/* ---- answers ---- */

static inline agt_status call_agt_gc(codes *c, agt_error *err) {
    CODES_ARG(c, agt_gc_options, o, AGT_GC_OPTIONS_INIT);
    CODES_ARG(c, agt_gc_result, r, AGT_GC_RESULT_INIT);
    o.v.measure = c->type;
    return agt_gc(c->s, &o.v, &r.v, err);
}

static void gc_only_measures(codes *c) {
    codes_read_only(c);
    c->type = 1;
}

TEST(gc, each_answer_that_is_documented_is_given) {
    machine *start = codes_machine();
    EXPECT(agt_gc, AGT_OK, NULL, NULL);
    EXPECT(agt_gc, AGT_OK, gc_only_measures, NULL);
    EXPECT(agt_gc, AGT_BUSY, codes_publish_held, "publish.lock");
    EXPECT(agt_gc, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_gc, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_gc, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_gc, AGT_INVALID, codes_unknown, "agt_gc_options");
    EXPECT(agt_gc, AGT_INVALID, codes_type_none, "measure");
    EXPECT(agt_gc, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_gc, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_gc, AGT_CORRUPT, codes_no_header, "agent-trace repair");
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_gc, AGT_CORRUPT, codes_lost_git, "agent-trace repair");
#endif
    machine_free(start);
}

/* Whatever fails, the answer is `want` or the call succeeds; nothing leaks; the next one works. */
static void gc_sweep(const char *name, agt_status want, unsigned kinds) {
    machine *start = codes_machine();
    uint64_t answered = 0;
    FOR_EACH_FAULT(f, kinds) {
        codes c;
        agt_error err = {.status = AGT_OK};
        codes_begin(&c, start);
        codes_open(&c);
        f.ops = MACHINE_CAN_FAIL & ~MACHINE_BIT(MACHINE_MUTEX_NEW);
        fault_arm(&f, c.m, &c.memory);
        agt_status st = call_agt_gc(&c, &err);
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(st, err);
        if (st != AGT_OK) {
            CHECK_STATUS(st, want, err);
            CHECK_INT(err.status, st);
            CHECK(err.message[0]);
            answered++;
        }
        codes_end(&c);
    }
    machine_free(start);
    test_saw(name, answered);
    CHECK(answered > 20);
}

TEST(gc, memory_that_runs_out_is_answered) {
    gc_sweep("agt_gc", AGT_NOMEM, FAULT_ALL_MEMORY);
}

TEST(gc, a_disk_that_fails_is_answered) {
    gc_sweep("agt_gc", AGT_IO, FAULT_IO | FAULT_IO_FOREVER);
}

/* ---- deaths and power cuts ---- */

typedef struct gc_run {
    machine *m;
    machine_process *p;
    oracle o;
    machine_memory mem;
} gc_run;

static void gc_write(gc_run *r, agt_store *s, int doc, int step) {
    agt_error err;
    char text[900];
    memset(text, 'a' + step % 26, sizeof text);
    snprintf(text, sizeof text, "%d", step);
    text[strlen(text)] = ' ';
    text[sizeof text - 1] = 0;
    const char *kept = oracle_try(&r->o, doc, text);
    CHECK_OK(agt_write(s, &kit_agent, r->o.path[doc], kept, strlen(kept), NULL, NULL, &err), err);
    oracle_ack(&r->o, doc);
}

/* Loose commits, packs, a batch of gc between writes, one that has nothing to do. */
static void gc_work(gc_run *r) {
    agt_error err;
    int step = 0;
    agt_store *s = oracle_open(r->p, root, &r->mem, AGT_OK);
    for (int i = 0; i < 5; i++)
        gc_write(r, s, i % 3, step++);
    kit_publish(s);
    gc_write(r, s, 3, step++);
    CHECK_OK(agt_checkpoint(s, &err), err);
    gc_write(r, s, 0, step++);
    gc_now(s);
    gc_write(r, s, 1, step++);
    gc_write(r, s, 4, step++);
    kit_publish(s);
    gc_now(s);
    gc_now(s);
    gc_write(r, s, 2, step++);
    CHECK_OK(agt_close(s, &err), err);
}

static bool gc_until(gc_run *r, const machine *start, uint64_t n, machine_when when) {
    memset(r, 0, sizeof *r);
    r->m = machine_clone(start);
    r->p = machine_process_new(r->m, "writer");
    oracle_init(&r->o);
    machine_memory_init(&r->mem);
    machine_crash_at(r->m, n, MACHINE_CHANGES, when);
    bool ended = setjmp(*machine_crash_point(r->m)) == 0;
    if (ended) gc_work(r);
    machine_crash_at(r->m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&r->mem);
    return !ended;
}

/* The store shows what it must, and gc works again. */
static void gc_check(gc_run *r, machine *m) {
    oracle_check(&r->o, m, root);
    agt_store *s = oracle_open(machine_process_new(m, "last"), root, NULL, AGT_OK);
    agt_gc_result did = gc_now(s);
    CHECK_INT(did.missing, 0);
    CHECK_INT(did.loose, 0);
    CHECK_INT(did.packs, kit_has_git);
    CHECK_INT(did.after.tmp.files, 0);
    if (kit_has_git) CHECK_INT(did.after.unpublished.files, 0);
    agt_close(s, NULL);
}

TEST(gc, a_death_or_a_power_cut_at_any_change_loses_nothing) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *start = machine_new(&set);
    uint64_t states = 0, deaths = 0, per = test_count("TEST_CUTS", test_all() ? 4 : 2);
    machine_make_folder(start, root);
    machine_sync_all(start);
    for (uint64_t n = 1;; n += test_step(1 + test_random_below(3))) {
        gc_run r;
        machine_when when = (machine_when)(test_random_below(3));
        bool died = gc_until(&r, start, n, when);
        for (uint64_t k = 0; k < per && died; k++) {
            machine *c = machine_clone(r.m);
            machine_cut cut = {.mode = k ? MACHINE_CUT_RANDOM : MACHINE_CUT_LOSE,
                               .seed = test_random()};
            if (k % 3 == 2) cut.mode = MACHINE_CUT_KEEP;
            machine_power_cut(c, &cut);
            gc_check(&r, c);
            machine_free(c);
            states++;
        }
        gc_check(&r, r.m);
        oracle_free(&r.o);
        machine_free(r.m);
        if (!died) break;
        deaths++;
    }
    machine_free(start);
    test_saw("deaths", deaths);
    test_saw("states", states);
    CHECK(deaths > test_some(kit_has_git ? 200 : 60));
}

/* ---- others at work ---- */

typedef struct gc_other {
    agt_store *s;
    uint64_t calls, writes;
    bool begun, over, large;
} gc_other;

/* Another process writes again and again while git is repacked, which begins with the refs. */
static void gc_meanwhile(void *ctx, machine *m, const machine_call *call) {
    gc_other *o = ctx;
    if (call->name && strcmp(call->name, "packed-refs") == 0) o->begun = true;
    if (call->op == MACHINE_REMOVE && strstr(call->name, ".pack"))
        o->over = true; /* a moment is left */
    if (!o->begun || o->over) return;
    if (machine_locked(m, "/home/.agent-trace/locks/store.lock")) return; /* for a moment */
    if (++o->calls % (o->large ? 25 : 8) != 0 || o->writes >= 40) return;
    char text[32];
    snprintf(text, sizeof text, "number %d", (int)++o->writes);
    if (o->large)
        kit_write_blanks(o->s, "large.md", 900 * 1024, (int)(o->writes % 10));
    else
        kit_write(o->s, &kit_agent, "other.md", text);
}

TEST(gc, writers_go_on_while_it_works_and_a_full_journal_is_emptied_for_them) {
    for (int large = 0; large < 2 && kit_has_git; large++) {
        machine *m = gc_machine(1000);
        agt_open_options o = AGT_OPEN_OPTIONS_INIT;
        agt_error err;
        gc_other other = {.large = large};
        agt_store *s = oracle_open(machine_process_new(m, "cleaner"), root, NULL, AGT_OK);
        o.sys = machine_sys(machine_process_new(m, "writer"));
        o.timeout_ms = AGT_TRY; /* nothing that it does may need to wait */
        char text[2000];
        for (int i = 0; i < 120; i++) {
            memset(text, 'a' + i % 26, sizeof text);
            snprintf(text + 1000, 20, "%d", i);
            CHECK_OK(agt_write(s, &kit_agent, "a.md", text, sizeof text, NULL, NULL, &err), err);
            if (i % 10 == 9) CHECK_OK(agt_checkpoint(s, &err), err);
        }
        CHECK_OK(agt_open(&other.s, root, &o, &err), err);
        machine_on_call(m, gc_meanwhile, &other);
        agt_gc_result r = gc_now(s);
        machine_on_call(m, NULL, NULL);
        CHECK(other.writes >= (large ? 12 : 20)); /* large: more than a journal holds */
        test_saw("writes meanwhile", other.writes);
        CHECK_INT(r.packs, 1);
        snprintf(text, sizeof text, "number %d", (int)other.writes);
        if (!large) kit_reads(other.s, "other.md", text);
        CHECK_INT(kit_events(s), 120 + other.writes);
        agt_close(other.s, NULL);
        agt_close(s, NULL);
        machine_free(m);
    }
}

/* A handle that has old packs open, and a cursor, reads on; and so does one that knew nothing. */
TEST(gc, readers_of_other_handles_find_every_version) {
    machine *m = gc_machine(1000);
    agt_error err;
    char text[32];
    agt_store *s = oracle_open(machine_process_new(m, "cleaner"), root, NULL, AGT_OK);
    agt_store *r = oracle_open(machine_process_new(m, "reader"), root, NULL, AGT_OK);
    for (int round = 0; round < 4 && kit_has_git; round++) {
        for (int i = 1; i <= 5; i++) {
            snprintf(text, sizeof text, "text %d", round * 5 + i);
            kit_write(s, &kit_agent, "a.md", text);
            if (i % 2) CHECK_OK(agt_checkpoint(s, &err), err);
        }
        if (round < 3) kit_version_reads(r, "a.md", 1, "text 1"); /* opens a pack */
        gc_now(s);
        agt_store *fresh = oracle_open(machine_process_new(m, "fresh"), root, NULL, AGT_OK);
        for (int i = 1; i <= round * 5 + 5; i++) {
            snprintf(text, sizeof text, "text %d", i);
            kit_version_reads(r, "a.md", (uint32_t)i, text);
            kit_version_reads(fresh, "a.md", (uint32_t)i, text);
            kit_version_reads(s, "a.md", (uint32_t)i, text);
        }
        agt_close(fresh, NULL);
    }
    agt_close(r, NULL);
    agt_close(s, NULL);
    machine_free(m);
}

/* ---- what it clears, counts and leaves ---- */

TEST(gc, what_dead_processes_left_goes_and_what_a_person_decides_about_stays) {
    static const struct {
        const char *name;
        bool stays;
    } left[] = {{"tmp/7.new", false},        {"tmp/99.old", false},
                {"tmp/3.part", false},       {"journal.tmp", false},
                {"config.toml.tmp", false},  {"rejected/abc.tmp", false},
                {"aside/3-a.md", true},      {"trace/000000000001.torn", true},
                {"rejected/cafe", true},     {"a person's file", true},
                {"sessions/one.toml", true}, {"unpublished/none.tmp", false}};
    agt_error err;
    const char *at = test_folder();
    agt_store *s = kit_open(at);
    for (int i = 0; i < 6; i++)
        kit_write(s, &kit_agent, "a.md", i % 2 ? "one" : "other");
    CHECK_INT(mkdir(kit_path(at, ".agent-trace/sessions"), 0700), 0);
    char path[80];
    for (size_t i = 0; i < AGT_COUNT(left); i++) {
        snprintf(path, sizeof path, ".agent-trace/%s", left[i].name);
        test_write_file(kit_path(at, path), "left", 4);
        free(kit_run("touch -d '2 days ago' \"%s\"", kit_path(at, path)));
    }
    test_write_file(kit_path(at, ".agent-trace/young.tmp"), "left", 4);
    agt_gc_options o = {sizeof o, 1};
    agt_gc_result r = AGT_GC_RESULT_INIT;
    CHECK_OK(agt_gc(s, &o, &r, &err), err); /* measures */
    CHECK_INT(r.before.tmp.files, 3);
    CHECK_INT(r.before.tmp.bytes, 12);
    CHECK_INT(r.after.tmp.files, 3);
    CHECK_INT(r.before.aside.files, 1);
    CHECK_INT(r.before.rejected.files, 2);
    CHECK_INT(r.before.journal.bytes, 262144);
    CHECK_INT(r.torn, 1);
    CHECK(r.before.trace.files == 2 && r.before.trace.bytes > 1000);
    r = gc_now(s);
    for (size_t i = 0; i < AGT_COUNT(left); i++) {
        struct stat st;
        snprintf(path, sizeof path, ".agent-trace/%s", left[i].name);
        if ((stat(kit_path(at, path), &st) == 0) != left[i].stays)
            test_fail(__FILE__, __LINE__, "%s: %s", left[i].name,
                      left[i].stays ? "is gone" : "is still there");
    }
    free(kit_run("test -e '%s'", kit_path(at, ".agent-trace/young.tmp")));
    CHECK_INT(r.after.tmp.files, 0);
    CHECK_INT(r.after.aside.files, 1);
    CHECK_INT(r.after.rejected.files, 1);
    CHECK_INT(r.torn, 1);
    CHECK_INT(r.after.journal.bytes, 8192);
    CHECK_INT(r.after.journal.files, 1);
    kit_close(s);
}

/* A writer died while it took out a document that a person had edited meanwhile: the edit that lies
 * in tmp/ is not litter. */
TEST(gc, an_edit_in_tmp_of_a_recorded_change_is_kept_aside) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_error err;
    machine_make_folder(m, root);
    agt_store *s = oracle_open(machine_process_new(m, "cleaner"), root, NULL, AGT_OK);
    kit_write(s, &kit_agent, "a.md", "one");
    kit_write(s, &kit_agent, "a.md", "two");
    CHECK_INT(machine_put_text(m, "/home/.agent-trace/tmp/2.new", "a person's words"), 0);
    gc_now(s);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.edits_kept_aside, 1);
    agt_close(s, NULL);
    machine_free(m);
}

/* ---- how small ---- */

#ifndef AGENT_TRACE_NO_GIT
static uint64_t gc_together(const agt_disk_parts *p) {
    return p->git.bytes + p->trace.bytes + p->journal.bytes + p->unpublished.bytes +
           p->rejected.bytes + p->aside.bytes + p->tmp.bytes + p->other.bytes;
}

/* What 1,000 writes to 20 documents add to a store that is packed before and after: all of it, the
 * trace and its index too. `where` is what paths begin with. */
static uint64_t gc_growth(const char *where) {
    agt_error err;
    agt_write_options w = AGT_WRITE_OPTIONS_INIT;
    agt_store *s = kit_open(test_folder());
    char path[40], text[600];
    w.durability = AGT_DURABLE_PROCESS;
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "%s%d.md", where, i);
        kit_write(s, &kit_agent, path, "a beginning\n");
    }
    agt_gc_result before = gc_now(s);
    for (int i = 0; i < 1000; i++) {
        size_t n = 0;
        snprintf(path, sizeof path, "%s%d.md", where, i % 20);
        for (int line = 0; line < 12; line++)
            n += (size_t)snprintf(text + n, sizeof text - n, "line %d, of round %d\n", line,
                                  line == i % 12 ? i : i / 240);
        CHECK_OK(agt_write(s, &kit_agent, path, text, n, &w, NULL, &err), err);
        if (i % 50 == 9) CHECK_OK(agt_publish(s, &err), err);
    }
    agt_gc_result after = gc_now(s);
    kit_close(s);
    return gc_together(&after.after) - gc_together(&before.after);
}

TEST(gc, a_thousand_small_writes_take_less_than_a_megabyte) {
    uint64_t flat = gc_growth(""), deep = gc_growth("notes/");
    test_saw("bytes that 1,000 writes take", flat);
    test_saw("bytes that they take in a folder", deep);
    CHECK(flat > 500 * 1000 && deep > 500 * 1000);
    CHECK(flat <= 1000 * 1000);
    CHECK(deep <= 1024 * 1024); /* each version has a tree more */
}

/* ---- the journal's length ---- */

static uint64_t gc_journal(const machine *m) {
    agt_stat st;
    CHECK_INT(machine_stat(m, "/home/.agent-trace/journal", &st), 0);
    return st.size;
}

TEST(gc, a_journal_is_as_long_as_it_must_be_and_gc_gives_its_room_back) {
    machine *m = gc_machine(0);
    agt_error err;
    char text[2000];
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    agt_store *other = oracle_open(machine_process_new(m, "other"), root, NULL, AGT_OK);
    CHECK_INT(gc_journal(m), 8192);
    memset(text, ' ', sizeof text);
    uint64_t longest = 8192;
    uint32_t version = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            snprintf(text, sizeof text, "%u ", (unsigned)++version);
            CHECK_OK(agt_write(i % 3 ? s : other, &kit_agent, "a.md", text, 1900, NULL, NULL, &err),
                     err);
            uint64_t now = gc_journal(m);
            CHECK(now == longest || now == (longest / 262144 + 1) * 262144);
            longest = now;
        }
        CHECK_INT(longest, 3 * 262144); /* 300 records of about 2.5 KB */
        if (round == 1) {               /* a checkpoint alone leaves it as it is */
            CHECK_OK(agt_checkpoint(s, &err), err);
            continue;
        }
        agt_gc_result r = gc_now(s);
        CHECK_INT(r.before.journal.bytes, longest);
        CHECK_INT(r.after.journal.bytes, 8192);
        CHECK_INT(gc_journal(m), 8192);
        longest = 8192;
    }
    for (uint32_t v = 1; v <= version; v += 89) {
        agt_bytes b;
        CHECK_OK(agt_read_version(other, "a.md", v, &b, &err), err);
        CHECK_INT(strtoul((const char *)b.data, NULL, 10), v);
        agt_bytes_free(&b);
    }
    agt_close(s, NULL);
    agt_close(other, NULL);
    machine_free(m);
}

/* Nothing is recorded, the journal is as long as before, and once there is room all goes on. */
TEST(gc, a_journal_that_cannot_grow_refuses_the_write) {
    machine *m = gc_machine(0);
    agt_error err;
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    kit_write(s, &kit_agent, "a.md", "one");
    gc_now(s);
    int refused = 0;
    for (uint64_t room = 16 * 1024; room < 4096 * 1024; room += 16 * 1024) {
        machine_set(m)->capacity = room;
        agt_status st = agt_write(s, &kit_agent, "a.md", "other", 5, NULL, NULL, &err);
        machine_set(m)->capacity = 0;
        if (st == AGT_OK) break;
        CHECK_STATUS(st, AGT_IO, err);
        CHECK(!err.outcome_unknown);
        CHECK_INT(gc_journal(m), 8192);
        CHECK_INT(kit_events(s), 1);
        kit_reads(s, "a.md", "one");
        refused += strstr(err.message, "journal longer") != NULL;
    }
    test_saw("writes without room", refused);
    CHECK(refused > 10);
    CHECK_INT(gc_journal(m), 262144);
    kit_reads(s, "a.md", "other");
    agt_close(s, NULL);
    machine_free(m);
}

TEST(gc, what_libgit2_reports_is_answered_git) {
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    const char *at = test_folder(), *alternate = test_folder();
    agt_store *s = kit_open(at);
    kit_write(s, &kit_agent, "a.md", "first\n");
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    kit_close(s);
    free(kit_run("rm %s/.agent-trace/git/objects/pack/*", at));
    free(kit_run("mkdir %s/%.2s && echo none > %s/%.2s/%s", alternate, info.head, alternate,
                 info.head, info.head + 2));
    test_write_file(kit_path(at, ".agent-trace/git/objects/info/alternates"), alternate,
                    strlen(alternate));
    s = kit_open(at);
    CHECK_STATUS(agt_gc(s, NULL, NULL, &err), AGT_GIT, err);
    kit_reads(s, "a.md", "first\n");
    kit_close(s);
}
#endif
