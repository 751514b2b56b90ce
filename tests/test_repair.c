/* agt_repair: each part of a store is taken away, cut or damaged, and comes back as it was, as far
 * as anything still proves it. */
#include "repair_kit.h"

static void repair_same(const char *got, const char *want, const char *what) {
    size_t i = 0;
    while (got[i] && got[i] == want[i])
        i++;
    if (!got[i] && !want[i]) return;
    size_t from = i > 150 ? i - 150 : 0;
    test_fail(__FILE__, __LINE__, "after %s byte %zu differs:\n--- got\n%.400s\n--- wanted\n%.400s",
              what, i, got + from, want + from);
}

/* Damages a copy, repairs it, compares with the portrait; a second repair must find nothing, and a
 * dry one before must change nothing. Returns the first repair's codes. */
static char *repair_case(const machine *start, const char *want, const char *head,
                         void (*damage)(machine *), const char *what) {
    agt_repair_result r, again, before;
    char got_head[44];
    machine *m = machine_clone(start);
    damage(m);
    char *tree = machine_tree(m, repair_root);
    char *would = repair_run(m, 1, &before);
    char *tree_after = machine_tree(m, repair_root);
    CHECK_STR(tree_after, tree);
    char *codes = repair_run(m, 0, &r);
    char *second = repair_run(m, 0, &again);
    if (strcmp(would, codes) != 0)
        test_fail(__FILE__, __LINE__, "%s: a dry run says%s, the repair%s", what, would, codes);
    if (again.found) test_fail(__FILE__, __LINE__, "%s: the second repair finds%s", what, second);
    char *got = repair_portrait(m, 0, got_head);
    repair_same(got, want, what);
    if (head && kit_has_git) CHECK_STR(got_head, head);
    free(tree);
    free(tree_after);
    free(would);
    free(second);
    free(got);
    machine_free(m);
    return codes;
}

/* The last name in a folder of the store's that has `part` in it. */
static void repair_newest(const machine *m, const char *folder, const char *part, char out[200]) {
    char path[200], *line;
    snprintf(path, sizeof path, REPAIR_AT "%s", folder);
    char *tree = machine_tree(m, path);
    out[0] = 0;
    for (line = tree; *line;) {
        size_t n = strcspn(line, "\n");
        char name[200] = "", *last;
        snprintf(name, sizeof name, "%.*s", (int)(n % sizeof name), line);
        if ((last = strrchr(name, ' ')) && strstr(last, part))
            snprintf(out, 200, "%.90s%s%.100s", path, folder[0] ? "/" : "", last + 1);
        line += n + (line[n] != 0);
    }
    free(tree);
    if (!out[0]) test_fail(__FILE__, __LINE__, "no %s in %s", part, path);
}

static void damage_nothing(machine *m) {
    (void)m;
}
static void damage_config(machine *m) {
    CHECK_INT(machine_put_text(m, REPAIR_AT "config.toml", "[store\nid = nothing"), 0);
}
static void damage_no_config(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "config.toml"), 0);
}
static void damage_no_catalog(machine *m) {
    char path[200];
    repair_newest(m, "", "catalog.", path);
    CHECK_INT(machine_remove(m, path), 0);
}
static void damage_catalog(machine *m) {
    char path[200];
    repair_newest(m, "", "catalog.", path);
    CHECK_INT(machine_truncate(m, path, 700), 0);
}
static void damage_no_trace(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "trace"), 0);
}
static void damage_no_segment(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "trace/000000000001.jsonl"), 0);
}
static void damage_short_trace(machine *m) {
    CHECK_INT(machine_truncate(m, REPAIR_AT "trace/000000000001.jsonl", 3000), 0);
}
static void damage_no_journal_headers(machine *m) {
    char zeros[8192] = {0};
    CHECK_INT(machine_overwrite(m, REPAIR_AT "journal", 0, zeros, sizeof zeros), 0);
}
static void damage_short_journal(machine *m) {
    CHECK_INT(machine_truncate(m, REPAIR_AT "journal", 20000), 0);
}
static void damage_no_state(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "state"), 0);
}
static void damage_no_tmp(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "tmp"), 0);
}
static void damage_no_records(machine *m) {
    char path[200];
    repair_newest(m, "unpublished", ".records", path);
    CHECK_INT(machine_remove(m, path), 0);
}
static void damage_no_side(machine *m) {
    char path[200];
    repair_newest(m, "unpublished", "side-", path);
    CHECK_INT(machine_remove(m, path), 0);
}
static void damage_no_journal(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "journal"), 0);
}
static void damage_no_git(machine *m) {
    CHECK_INT(machine_remove(m, REPAIR_AT "git"), 0);
}
static void damage_git_object(machine *m) {
    char path[200];
    agt_stat st;
    repair_newest(m, "git/objects/pack", ".pack", path);
    CHECK_INT(machine_stat(m, path, &st), 0);
    CHECK_INT(machine_overwrite(m, path, st.size / 2, "damaged!", 8), 0);
}

static void damage_no_index(machine *m) {
    char path[200];
    repair_newest(m, "git/objects/pack", ".idx", path);
    CHECK_INT(machine_remove(m, path), 0);
}
static void damage_index(machine *m) {
    char path[200];
    repair_newest(m, "git/objects/pack", ".idx", path);
    CHECK_INT(machine_overwrite(m, path, 600, "damaged!", 8), 0);
}

TEST(repair, a_store_that_is_whole_stays_as_it_is) {
    machine *m = repair_machine();
    agt_repair_result r;
    char head[44];
    char *want = repair_portrait(m, 0, head);
    char *codes = repair_case(m, want, head, damage_nothing, "nothing");
    CHECK_STR(codes, "");
    char *tree = machine_tree(m, repair_root);
    free(repair_run(m, 1, &r));
    CHECK_INT(r.found, 0);
    char *after = machine_tree(m, repair_root);
    CHECK_STR(after, tree);
    CHECK(r.events > 20);
    free(tree);
    free(after);
    free(codes);
    free(want);
    machine_free(m);
}

static const struct repair_damage {
    void (*damage)(machine *);
    const char *what, *codes;
    int same_head;
} repair_damages[] = {
    {damage_config, "a damaged config.toml", " config", 1},
    {damage_no_config, "a missing config.toml", " config", 1},
    {damage_no_catalog, "a missing catalog", " catalog", 1},
    {damage_catalog, "a short catalog", " catalog", 1},
    {damage_no_trace, "a missing trace", " trace", 1},
    {damage_no_segment, "a missing segment", " trace", 1},
    {damage_short_trace, "a short segment", " trace", 1},
    {damage_no_journal_headers, "lost journal headers", " journal", 1},
    {damage_short_journal, "a short journal", NULL, 1},
    {damage_no_state, "a missing state", "", 1},
    {damage_no_tmp, "a missing tmp/", "", 1},
    {damage_git_object, "a damaged pack", " git", 0}, /* whose commits are nowhere else */
    {damage_no_index, "a pack without its index", " git_index", 1},
    {damage_index, "a damaged index of a pack", " git_index", 1},
};

TEST(repair, every_part_that_is_gone_comes_back_as_it_was) {
    machine *m = repair_machine();
    char head[44];
    char *want = repair_portrait(m, 0, head);
    for (size_t i = 0; i < sizeof repair_damages / sizeof repair_damages[0]; i++) {
        const struct repair_damage *d = &repair_damages[i];
        if (!kit_has_git && strstr(d->codes ? d->codes : "", "git")) continue;
        char *codes = repair_case(m, want, d->same_head ? head : NULL, d->damage, d->what);
        if (d->codes && strcmp(codes, d->codes) != 0)
            test_fail(__FILE__, __LINE__, "%s: found%s", d->what, codes);
        free(codes);
    }
    test_saw("damages", sizeof repair_damages / sizeof repair_damages[0]);
    free(want);
    machine_free(m);
}

/* Which versions' bytes are nowhere else: not on the disk as a document, nor in git. */
static const struct repair_loss {
    void (*damage)(machine *);
    const char *what, *first;
    uint64_t versions, without_git;
} repair_losses[] = {
    {damage_no_records, "records that git has not", " unpublished", 2, 3},
    {damage_no_side, "a side file whose bytes are on the disk", " unpublished", 0, 0},
    {damage_no_journal, "a journal whose bytes are on the disk", " journal", 0, 0},
    {damage_no_git, "git", " git", 5, 0},
};

TEST(repair, what_nothing_has_any_more_is_told_and_the_rest_goes_on) {
    agt_error err;
    machine *m = repair_machine();
    for (size_t i = 0; i < sizeof repair_losses / sizeof repair_losses[0]; i++) {
        const struct repair_loss *l = &repair_losses[i];
        const uint64_t lost = kit_has_git ? l->versions : l->without_git;
        if (!kit_has_git && l->damage == damage_no_git) continue;
        agt_repair_result r, again;
        machine *c = machine_clone(m);
        l->damage(c);
        char *codes = repair_run(c, 0, &r);
        if (strncmp(codes, l->first, strlen(l->first)) != 0 || r.lost_versions != lost)
            test_fail(__FILE__, __LINE__, "%s: found%s, %d versions lost", l->what, codes,
                      (int)r.lost_versions);
        CHECK_INT(r.lost_events, 0);
        CHECK_INT(r.mended, 1);
        CHECK_INT(r.left, lost);
        free(codes);
        codes = repair_run(c, 0, &again);
        CHECK_INT(again.found + again.left, 0); /* told each time, and nothing to be mended */
        CHECK_STR(repair_behind_lost(codes, &again, lost), "");
        free(repair_portrait(c, 0, NULL));
        agt_store *s = oracle_open(machine_process_new(c, "writer"), repair_root, NULL, AGT_OK);
        kit_write(s, &kit_agent, "after.md", "after the repair\n");
        kit_publish(s);
        kit_reads(s, "plan.md", "the plan, again\n");
        CHECK_OK(agt_checkpoint(s, &err), err);
        CHECK_OK(agt_close(s, &err), err);
        free(codes);
        codes = repair_run(c, 0, &again);
        CHECK_INT(again.found + again.left, 0);
        CHECK_STR(repair_behind_lost(codes, &again, lost), "");
        free(codes);
        machine_free(c);
    }
    machine_free(m);
}

/* ---- bytes that rot ---- */

static bool repair_is_newer(const machine *m) {
    char *config = machine_get(m, REPAIR_AT "config.toml", NULL);
    bool newer = strstr(config, "format = 3") || strstr(config, "format = 6");
    free(config);
    return newer;
}

TEST(repair, a_store_of_a_newer_format_is_left_as_it_is) {
    machine *m = repair_machine();
    agt_error err;
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_doctor_options d = AGT_DOCTOR_OPTIONS_INIT;
    agt_findings *found;
    char *config = machine_get(m, REPAIR_AT "config.toml", NULL);
    *(strstr(config, "format = 2") + 9) = '3';
    CHECK_INT(machine_put_text(m, REPAIR_AT "config.toml", config), 0);
    d.sys = o.sys = machine_sys(machine_process_new(m, "older"));
    d.fix = 1;
    CHECK_STATUS(agt_repair(repair_root, &o, NULL, &found, &err), AGT_UNSUPPORTED, err);
    CHECK(strstr(err.message, "format 3") && strstr(err.message, "newer agent_trace"));
    CHECK_STATUS(agt_doctor(repair_root, &d, &found, &err), AGT_UNSUPPORTED, err);
    char *after = machine_get(m, REPAIR_AT "config.toml", NULL);
    CHECK_STR(after, config);
    free(after);
    free(config);
    machine_free(m);
}

TEST(repair, a_byte_that_rots_anywhere_is_put_right_or_told) {
    machine *m = repair_machine();
    char *want = repair_portrait(m, 0, NULL);
    repair_files all;
    uint64_t cases = test_count("TEST_ROTS", test_all() ? 600 : test_some(300)), told = 0,
             right = 0;
    uint64_t newer = 0;
    repair_list_files(m, &all);
    CHECK(all.count > 10);
    for (uint64_t i = 0; i < cases; i++) {
        agt_repair_result r, again;
        machine *c = machine_clone(m);
        size_t f = test_random_below(all.count);
        uint64_t size = all.size[f], at = test_random_below(size);
        if (strstr(all.path[f], "/journal") && i % 2) at = test_random_below(120000);
        unsigned char bits = (unsigned char)(1u << test_random_below(8)), was;
        char *bytes = machine_get(c, all.path[f], NULL);
        was = (unsigned char)bytes[at] ^ bits;
        free(bytes);
        CHECK_INT(machine_overwrite(c, all.path[f], at, &was, 1), 0);
        if (repair_is_newer(c)) { /* nobody can tell it from a newer program's store */
            machine_free(c);
            newer++;
            continue;
        }
        char *codes = repair_run(c, 0, &r);
        char *second = repair_run(c, 0, &again);
        char *got = repair_portrait(c, r.lost_events > 0, NULL);
        if (again.found)
            test_fail(__FILE__, __LINE__, "%s byte %d: found%s, then%s", all.path[f], (int)at,
                      codes, second);
        if (strcmp(got, want) == 0)
            right++;
        else if (r.left)
            told++;
        else
            repair_same(got, want, all.path[f]);
        free(codes);
        free(second);
        free(got);
        machine_free(c);
    }
    test_saw("rotten bytes", cases);
    test_saw("put right", right);
    test_saw("lost and told", told);
    test_saw("a newer format", newer);
    CHECK((right + newer) * 4 >= cases * 3); /* the rest are contents that only one file has */
    free(want);
    machine_free(m);
}

/* As in a copy of the store: the same bytes in another file. */
static void repair_copy_journal(machine *m) {
    size_t n;
    char *bytes = machine_get(m, REPAIR_AT "journal", &n);
    agt_stat was, now;
    CHECK_INT(machine_stat(m, REPAIR_AT "journal", &was), 0);
    CHECK_INT(machine_put(m, REPAIR_AT "copied", bytes, n), 0);
    CHECK_INT(machine_remove(m, REPAIR_AT "journal"), 0);
    CHECK_INT(machine_put_text(m, "/home/takes its number", ""), 0);
    CHECK_INT(machine_put(m, REPAIR_AT "journal", bytes, n), 0);
    CHECK_INT(machine_remove(m, REPAIR_AT "copied"), 0);
    CHECK_INT(machine_stat(m, REPAIR_AT "journal", &now), 0);
    CHECK(now.ino != was.ino);
    free(bytes);
}

/* Whoever opens a store must not take damage for the end of a crash, and throw away what is behind
 * it: it is refused, and a repair brings all of it back. */
TEST(repair, a_journal_that_rots_is_refused_before_anything_is_lost) {
    machine *m = repair_machine();
    char *want = repair_portrait(m, 0, NULL);
    uint64_t cases = test_count("TEST_ROTS", test_all() ? 600 : test_some(100)), refused = 0,
             whole = 0;
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_store *first = oracle_open(machine_process_new(m, "first"), repair_root, NULL, AGT_OK);
    CHECK_OK(agt_store_get_info(first, &info, &err), err);
    CHECK_OK(agt_close(first, &err), err);
    CHECK(info.journal_bytes > 1000);
    char *journal = machine_get(m, REPAIR_AT "journal", NULL);
    for (uint64_t i = 0; i < cases; i++) {
        agt_open_options o = AGT_OPEN_OPTIONS_INIT;
        agt_store *s;
        machine *c = machine_clone(m);
        uint64_t at = 8192 + test_random_below(info.journal_bytes + 100);
        if (i % 3 == 1) at = 4096 * test_random_below(2) + test_random_below(256); /* a header */
        char rotten = (char)(journal[at] ^ (1 << test_random_below(8)));
        CHECK_INT(machine_overwrite(c, REPAIR_AT "journal", at, &rotten, 1), 0);
        if (i % 3 == 2) repair_copy_journal(c);
        machine_process *p = machine_process_new(c, "reader");
        o.sys = machine_sys(p);
        o.read_only = i / 3 & 1;
        agt_status opened = agt_open(&s, repair_root, &o, &err);
        if (opened == AGT_OK) {
            CHECK_OK(agt_close(s, &err), err); /* behind the records */
            whole++;
        } else {
            CHECK_STATUS(opened, AGT_CORRUPT, err);
            CHECK(strstr(err.message, "run 'agent-trace repair'"));
            refused++;
            free(repair_run(c, 0, NULL));
        }
        machine_process_free(p);
        char *got = repair_portrait(c, 0, NULL);
        repair_same(got, want, "journal");
        free(got);
        machine_free(c);
    }
    test_saw("refused", refused);
    test_saw("rotten behind the records", whole);
    CHECK(refused > cases / 2);
    free(journal);
    free(want);
    machine_free(m);
}

/* A header that rots makes the one before it count, which leads to nothing. */
TEST(repair, an_older_header_is_never_taken_for_the_newest) {
    agt_store *s;
    machine *m = repair_new(&s);
    agt_error err;
    repair_write(s, &kit_user, "ref.md", AGT_TYPE_REFERENCE, "do not touch\n");
    repair_write(s, &kit_user, "ref.md", AGT_TYPE_REFERENCE, "do not touch this\n");
    CHECK_OK(agt__empty_journal(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    char *want = repair_portrait(m, 0, NULL);
    for (int copied = 0; copied < 2; copied++) {
        for (int read_only = 0; read_only < 2; read_only++) {
            agt_open_options o = AGT_OPEN_OPTIONS_INIT;
            agt_repair_result r;
            machine *c = machine_clone(m);
            char one = 1;
            CHECK_INT(machine_overwrite(c, REPAIR_AT "journal", 4096 + 23, &one, 1), 0);
            if (copied) repair_copy_journal(c);
            char *before = machine_tree(c, repair_root);
            o.sys = machine_sys(machine_process_new(c, "agent"));
            o.read_only = (uint32_t)read_only;
            CHECK_STATUS(agt_open(&s, repair_root, &o, &err), AGT_CORRUPT, err);
            CHECK(strstr(err.message, "run 'agent-trace repair'"));
            char *after = machine_tree(c, repair_root);
            CHECK_STR(after, before);
            free(repair_run(c, 0, &r));
            CHECK_INT(r.lost_events + r.lost_versions + r.lost_types, 0);
            char *got = repair_portrait(c, 0, NULL);
            repair_same(got, want, "an older header");
            free(got);
            free(before);
            free(after);
            machine_free(c);
        }
    }
    free(want);
    machine_free(m);
}

/* Before the first checkpoint the journal has all lines: a writer writes them again. */
TEST(repair, a_trace_that_is_gone_is_written_again_from_the_journal) {
    agt_store *s;
    machine *m = repair_new(&s);
    agt_error err;
    agt_stat size;
    static const char segment[] = REPAIR_AT "trace/000000000001.jsonl";
    for (int i = 0; i < 5; i++)
        kit_write(s, &kit_agent, "a.md", i & 1 ? "one\n" : "two\n");
    CHECK_OK(agt_close(s, &err), err);
    CHECK_INT(machine_stat(m, segment, &size), 0);
    char *want = repair_portrait(m, 0, NULL);
    for (int how = 0; how < 4; how++) {
        agt_open_options o = AGT_OPEN_OPTIONS_INIT;
        machine *c = machine_clone(m);
        if (how == 0) CHECK_INT(machine_remove(c, REPAIR_AT "trace"), 0);
        if (how == 1) CHECK_INT(machine_remove(c, segment), 0);
        if (how == 2) CHECK_INT(machine_truncate(c, segment, 0), 0);
        if (how == 3) CHECK_INT(machine_truncate(c, segment, test_random_below(size.size)), 0);
        o.sys = machine_sys(machine_process_new(c, "reader"));
        o.read_only = 1;
        if (how) { /* a reader says so; it writes nothing */
            CHECK_STATUS(agt_open(&s, repair_root, &o, &err), AGT_CORRUPT, err);
            CHECK(strstr(err.message, "run 'agent-trace repair'"));
        }
        s = oracle_open(machine_process_new(c, "writer"), repair_root, NULL, AGT_OK);
        CHECK_OK(agt_close(s, &err), err);
        char *got = repair_portrait(c, 0, NULL);
        repair_same(got, want, "a trace that is gone");
        free(got);
        machine_free(c);
    }
    free(want);
    machine_free(m);
}

/* That there was an event is known from the shared state alone. */
TEST(repair, an_event_that_only_the_state_knows_of_is_lost_and_told) {
    agt_store *s;
    machine *m = repair_new(&s);
    agt_error err;
    agt_caller yes = kit_user;
    agt_repair_result r;
    agt_stat size;
    yes.confirm = 1;
    static const char segment[] = REPAIR_AT "trace/000000000001.jsonl";
    kit_write(s, &kit_user, "s.md", "mine\n");
    kit_publish(s);
    CHECK_INT(machine_stat(m, segment, &size), 0);
    CHECK_OK(agt_reclassify(s, &yes, "s.md", AGT_TYPE_REFERENCE, NULL, NULL, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    damage_no_journal(m);
    CHECK_INT(machine_truncate(m, segment, size.size), 0);
    char *codes = repair_run(m, 0, &r);
    CHECK_INT(r.lost_events, 1);
    CHECK_INT(r.first_lost_seq, 2);
    CHECK_INT(r.lost_types, 1);
    s = oracle_open(machine_process_new(m, "agent"), repair_root, NULL, AGT_OK);
    CHECK_STATUS(agt_write(s, &kit_agent, "s.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_OK(agt_close(s, &err), err);
    char *second = repair_run(m, 0, &r);
    CHECK_STR(second, "");
    free(second);
    free(codes);
    machine_free(m);
}

/* A file system gives the number of a file that is gone to the next one: a journal that a repair
 * made is not taken for the lost one with its records gone. */
TEST(repair, a_journal_made_anew_may_have_the_number_of_the_lost_one) {
    agt_store *s;
    machine *m = repair_new(&s);
    agt_error err;
    agt_stat was, now;
    uint64_t same = 0;
    repair_write(s, &kit_user, "ref.md", AGT_TYPE_REFERENCE, "do not touch\n");
    repair_refused(s, "ref.md", "touched\n");
    kit_publish(s);
    CHECK_OK(agt_close(s, &err), err);
    char *want = repair_portrait(m, 0, NULL);
    CHECK_INT(machine_stat(m, REPAIR_AT "journal", &was), 0);
    for (int others = 0; others < 8; others++) { /* that take the lowest numbers */
        machine *c = machine_clone(m);
        damage_no_journal(c);
        for (int i = 0; i < others; i++) {
            char name[] = "/home/other0";
            name[sizeof name - 2] = (char)('0' + i);
            CHECK_INT(machine_put_text(c, name, ""), 0);
        }
        free(repair_run(c, 0, NULL));
        CHECK_INT(machine_stat(c, REPAIR_AT "journal", &now), 0);
        same += now.ino == was.ino;
        char *got = repair_portrait(c, 0, NULL);
        repair_same(got, want, "a new journal");
        free(got);
        machine_free(c);
    }
    test_saw("the same number", same);
    CHECK(same > 0);
    free(want);
    machine_free(m);
}

/* ---- repairs that die ---- */

static void repair_headless(machine *m) {
    damage_no_journal_headers(m);
    damage_no_config(m);
    if (kit_has_git)
        damage_git_object(m);
    else
        damage_short_trace(m);
}

/* Repairs in a process that dies at change n; false if it came to its end. */
static bool repair_until(machine *m, uint64_t n, machine_when when) {
    agt_error err;
    machine_memory memory;
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    o.sys = machine_sys(machine_process_new(m, "mortal"));
    o.allocator = machine_memory_init(&memory);
    machine_crash_at(m, n, MACHINE_CHANGES, when);
    bool ended = setjmp(*machine_crash_point(m)) == 0;
    if (ended) CHECK_STATUS(agt_repair(repair_root, &o, NULL, NULL, &err), AGT_OK, err);
    machine_crash_at(m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&memory);
    return !ended;
}

TEST(repair, one_that_dies_or_loses_its_power_anywhere_is_finished_by_the_next) {
    machine *m = repair_machine();
    repair_headless(m);
    machine_sync_all(m);
    machine *whole = machine_clone(m);
    free(repair_run(whole, 0, NULL));
    char *want = repair_portrait(whole, 0, NULL);
    uint64_t deaths = 0, step = test_all() ? 7 : 19;
    for (uint64_t n = 1 + test_random_below(step);; n += test_step(step)) {
        machine *c = machine_clone(m);
        bool died = repair_until(c, n, (machine_when)test_random_below(3));
        for (int cut = 0; died && cut < 2; cut++) {
            machine *k = machine_clone(c);
            machine_cut random = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            if (cut) machine_power_cut(k, &random);
            free(repair_run(k, 0, NULL));
            char *again = repair_run(k, 0, NULL);
            CHECK_STR(again, "");
            char *got = repair_portrait(k, 0, NULL);
            repair_same(got, want, cut ? "a power cut" : "a death");
            free(again);
            free(got);
            machine_free(k);
        }
        machine_free(c);
        if (!died) break;
        deaths++;
    }
    test_saw("deaths", deaths);
    CHECK(deaths >= test_some(kit_has_git ? 15 : 8));
    free(want);
    machine_free(whole);
    machine_free(m);
}
