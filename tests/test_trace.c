/* Writing and reading the trace, against an array that says what must be in it. */
#include "fault.h"
#include "trace_kit.h"

#include <sys/wait.h>
#include <unistd.h>

/* ---- names and lists of segments ---- */

TEST(trace, a_segment_is_named_by_its_first_seq_and_no_other_name_is_one) {
    static const struct {
        uint64_t seq;
        const char *name;
    } good[] = {{1, "000000000001.jsonl"},
                {4711, "000000004711.jsonl"},
                {999999999999, "999999999999.jsonl"},
                {1000000000000, "1000000000000.jsonl"},
                {UINT64_MAX, "18446744073709551615.jsonl"}};
    static const char *const bad[] = {"",
                                      ".jsonl",
                                      "000000000000.jsonl",
                                      "1.jsonl",
                                      "00000000001.jsonl",
                                      "0000000000001.jsonl",
                                      "000000000001",
                                      "000000000001.json",
                                      "000000000001.jsonl.torn",
                                      "000000000001.jsonl ",
                                      "000000000001.JSONL",
                                      "+00000000001.jsonl",
                                      "-00000000001.jsonl",
                                      "00000000001a.jsonl",
                                      "18446744073709551616.jsonl",
                                      "99999999999999999999.jsonl",
                                      "184467440737095516150.jsonl",
                                      "summary_events.jsonl"};
    char name[AGT_SEGMENT_NAME];
    uint64_t seq;
    for (size_t i = 0; i < AGT_COUNT(good); i++) {
        agt__segment_name(good[i].seq, name);
        CHECK_STR(name, good[i].name);
        CHECK(agt__segment_parse(name, &seq));
        CHECK(seq == good[i].seq);
    }
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        if (agt__segment_parse(bad[i], &seq)) test_fail(__FILE__, __LINE__, "%s is one", bad[i]);
}

TEST(trace, segments_are_listed_in_order_without_what_is_foreign) {
    struct log *l = new_log(NULL);
    agt_segments all = {&l->mem, NULL, 0, 0};
    CHECK_OK(agt__segments_list(&all, l->b.sys, l->dir, &l->err), l->err);
    CHECK_INT(all.count, 0);
    for (uint64_t i = 0; i < 100; i++)
        log_put(l, 1 + i * 7919 % 100 * 10, "x", 1);
    machine_put_text(l->b.m, "/trace/notes.txt", "x");
    machine_put_text(l->b.m, "/trace/000000000001.jsonl.torn", "x");
    machine_make_folder(l->b.m, "/trace/sub");
    CHECK_OK(agt__segments_list(&all, l->b.sys, l->dir, &l->err), l->err);
    CHECK_INT(all.count, 100);
    for (uint64_t i = 0; i < 100; i++)
        CHECK_INT(all.v[i], 1 + i * 10);
    CHECK_OK(agt__segments_list(&all, l->b.sys, AGT_FD_NONE, &l->err), l->err);
    CHECK_INT(all.count, 0);
    agt__segments_free(&all);
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_MEMORY) {
        fault_arm(&f, l->b.m, &l->memory);
        agt_status st = agt__segments_list(&all, l->b.sys, l->dir, &l->err);
        bool memory = l->memory.failed > 0;
        fault_disarm(&f);
        CHECK_STATUS(st, !f.injected ? AGT_OK : memory ? AGT_NOMEM : AGT_IO, l->err);
        CHECK_INT(all.count, f.injected ? 0 : 100);
        agt__segments_free(&all);
    }
    free_log(l);
}

/* ---- writing ---- */

TEST(trace, what_is_written_twice_at_its_place_stands_there_once) {
    struct log *l = new_log(NULL);
    agt_trace_writer w;
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    for (int i = 0; i < 20; i++) {
        if (i == 10) log_rotate(l);
        struct log_line *line = log_add(l, (size_t)i * 10);
        CHECK_OK(agt__trace_reserve(&w, line->segment, line->offset, line->len, &l->err), l->err);
        for (int twice = 0; twice < 2; twice++)
            CHECK_OK(
                agt__trace_put(&w, line->segment, line->offset, line->text, line->len, &l->err),
                l->err);
    }
    /* and all of the first segment again, as recovery does */
    log_bytes(l, 1);
    CHECK_OK(agt__trace_put(&w, 1, 0, l->text.data, l->text.len, &l->err), l->err);
    CHECK_OK(agt__trace_put(&w, 77, 0, NULL, 0, &l->err), l->err);
    agt__trace_writer_close(&w);
    for (uint64_t segment = 1; segment <= 11; segment += 10) {
        log_bytes(l, segment);
        log_check_file(l, log_path(segment), l->text.data, l->text.len);
    }
    agt_stat st;
    CHECK_INT(machine_stat(l->b.m, log_path(1), &st), 0);
    CHECK_INT(st.mode, 0600);
    CHECK_CLASS(machine_stat(l->b.m, log_path(77), &st), AGT_SYS_NOENT);
    agt_trace_reader *r = log_reader(l);
    log_expect(l, r, 0, l->count);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, room_is_reserved_in_large_steps_and_the_file_does_not_grow_by_it) {
    struct log *l = new_log(NULL);
    agt_trace_writer w;
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    for (uint64_t at = 0; at < 1000000; at += 500) {
        CHECK_OK(agt__trace_reserve(&w, 1, at, 500, &l->err), l->err);
        if (!at) CHECK_OK(agt__trace_put(&w, 1, 0, "{}\n", 3, &l->err), l->err);
    }
    CHECK_INT(machine_calls(l->b.m, MACHINE_RESERVE), 1);
    CHECK_OK(agt__trace_reserve(&w, 1, 2000000, 500, &l->err), l->err);
    CHECK_INT(machine_calls(l->b.m, MACHINE_RESERVE), 2);
    CHECK_OK(agt__trace_reserve(&w, 4000, 500, 500, &l->err), l->err); /* a new segment has none */
    CHECK_INT(machine_calls(l->b.m, MACHINE_RESERVE), 3);
    agt_stat st;
    CHECK_INT(machine_stat(l->b.m, log_path(1), &st), 0);
    CHECK_INT(st.size, 3);
    agt__trace_writer_close(&w);
    free_log(l);
}

TEST(trace, a_disk_that_has_room_for_the_line_alone_is_enough) {
    struct log *l = new_log(NULL);
    agt_trace_writer w;
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    uint64_t only = MACHINE_BIT(MACHINE_RESERVE);
    machine_fail_at(l->b.m, 1, only, AGT_SYS_NOSPC, ENOSPC, false);
    CHECK_OK(agt__trace_reserve(&w, 1, 0, 500, &l->err), l->err);
    CHECK_INT(machine_fail_count(l->b.m), 1);
    machine_fail_at(l->b.m, 1, only, AGT_SYS_NOSPC, ENOSPC, true);
    CHECK_STATUS(agt__trace_reserve(&w, 1, 500, 500, &l->err), AGT_IO, l->err);
    CHECK_INT(l->err.sys, ENOSPC);
    machine_fail_at(l->b.m, 1, only, AGT_SYS_NOSYS, ENOSYS, true);
    CHECK_OK(agt__trace_reserve(&w, 1, 500, 500, &l->err), l->err);
    machine_fail(l->b.m, NULL);
    agt__trace_writer_close(&w);
    free_log(l);
}

TEST(trace, a_writer_does_not_write_to_a_segment_that_somebodys_recovery_removed) {
    struct log *l = new_log(NULL);
    agt_trace_writer a, b;
    agt__trace_writer_init(&a, l->b.sys, l->dir);
    agt__trace_writer_init(&b, l->b.sys, l->dir);
    struct log_line first = *log_add(l, 0);
    CHECK_OK(agt__trace_reserve(&a, 1, 0, first.len, &l->err), l->err);
    CHECK_OK(agt__trace_put(&a, 1, 0, first.text, first.len, &l->err), l->err);
    log_rotate(l);
    struct log_line second = *log_add(l, 0), third = *log_add(l, 0);
    /* a makes the next segment, but its record is not written; b recovers, and writes there */
    CHECK_OK(agt__trace_reserve(&a, 2, 0, second.len, &l->err), l->err);
    CHECK_OK(agt__trace_cut(&b, &l->mem, 1, first.len, &l->err), l->err);
    CHECK_OK(agt__trace_reserve(&b, 2, 0, second.len, &l->err), l->err);
    CHECK_OK(agt__trace_put(&b, 2, 0, second.text, second.len, &l->err), l->err);
    CHECK_OK(agt__trace_reserve(&a, 2, second.len, third.len, &l->err), l->err);
    CHECK_OK(agt__trace_put(&a, 2, second.len, third.text, third.len, &l->err), l->err);
    log_bytes(l, 2);
    log_check_file(l, log_path(2), l->text.data, l->text.len);
    /* one that recovers itself forgets what it had open */
    CHECK_OK(agt__trace_cut(&a, &l->mem, 1, first.len, &l->err), l->err);
    CHECK_OK(agt__trace_put(&a, 2, 0, second.text, second.len, &l->err), l->err);
    log_check_file(l, log_path(2), second.text, second.len);
    agt__trace_writer_close(&a);
    agt__trace_writer_close(&b);
    free_log(l);
}

TEST(trace, writing_tells_what_failed) {
    struct log *l = new_log(NULL);
    struct log_line *line = log_add(l, 100);
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_SHORT | FAULT_NOSPC_FOREVER) {
        agt_trace_writer w;
        agt__trace_writer_init(&w, l->b.sys, l->dir);
        (void)machine_remove(l->b.m, log_path(1));
        fault_arm(&f, l->b.m, NULL);
        agt_status st = agt__trace_reserve(&w, 1, 0, line->len, &l->err);
        if (st == AGT_OK) st = agt__trace_put(&w, 1, 0, line->text, line->len, &l->err);
        fault_disarm(&f);
        bool hurts = f.injected && fault_table[f.kind].a != 0;
        CHECK_STATUS(st, hurts ? AGT_IO : AGT_OK, l->err);
        CHECK_OK(agt__trace_put(&w, 1, 0, line->text, line->len, &l->err), l->err);
        log_check_file(l, log_path(1), line->text, line->len);
        agt__trace_writer_close(&w);
        CHECK_INT(machine_process_open_files(l->b.p), 2);
    }
    free_log(l);
}

/* ---- cutting ---- */

TEST(trace, what_is_cut_off_is_kept_unless_it_is_nul) {
    struct log *l = new_log(NULL);
    agt_trace_writer w;
    for (int i = 0; i < 3; i++)
        log_add(l, 0);
    log_save(l);
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    uint64_t at = l->line[2].offset;
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, at, &l->err), l->err);
    log_check_file(l, "/trace/000000000001.jsonl.torn", l->line[2].text, l->line[2].len);
    log_bytes(l, 1);
    log_check_file(l, log_path(1), l->text.data, (size_t)at);
    /* again: nothing to do */
    uint64_t calls = machine_calls(l->b.m, MACHINE_TRUNCATE);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, at, &l->err), l->err);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, at + 1000, &l->err), l->err);
    CHECK_INT(machine_calls(l->b.m, MACHINE_TRUNCATE), calls);
    /* NULs */
    machine_remove(l->b.m, "/trace/000000000001.jsonl.torn");
    machine_truncate(l->b.m, log_path(1), at + 100000);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, at, &l->err), l->err);
    log_check_file(l, log_path(1), l->text.data, (size_t)at);
    check_text(l->b.m, "/trace/000000000001.jsonl.torn", NULL);
    /* no such segment */
    CHECK_OK(agt__trace_cut(&w, &l->mem, 500, 0, &l->err), l->err);
    check_text(l->b.m, log_path(500), NULL);
    agt__trace_writer_close(&w);
    free_log(l);
}

TEST(trace, a_cut_removes_the_segments_behind_it_and_keeps_what_they_had) {
    struct log *l = new_log(NULL);
    agt_trace_writer w;
    log_put(l, 1, "one\n", 4);
    log_put(l, 5, "five\n", 5);
    log_put(l, 9, "", 0);
    log_put(l, 12, "\0\0\0", 3);
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, 4, &l->err), l->err);
    char *tree = machine_tree(l->b.m, "/trace");
    CHECK(strstr(tree, "000000000001.jsonl") && strstr(tree, "000000000005.jsonl.torn"));
    CHECK(!strstr(tree, "000000000005.jsonl\n") && !strstr(tree, "000000000009"));
    CHECK(!strstr(tree, "000000000012"));
    free(tree);
    check_text(l->b.m, "/trace/000000000005.jsonl.torn", "five\n");
    check_text(l->b.m, log_path(1), "one\n");
    agt__trace_writer_close(&w);
    free_log(l);
}

/* A tail or a segment may be as long as a segment gets, and text may stand far behind NULs. */
TEST(trace, all_that_is_cut_off_is_kept_however_much_it_is) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    agt_trace_writer w;
    size_t big = 40u * 1024 * 1024, n = 0;
    char *bytes = malloc(big + 4), *kept;
    for (size_t i = 0; i < big + 4; i++)
        bytes[i] = (char)('a' + i / 4096 % 26);
    memset(bytes + 100000, 0, 20u * 1024 * 1024);
    memcpy(bytes, "one\n", 4);
    log_put(l, 1, bytes, big + 4);
    log_put(l, 5, bytes, big);
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, 4, &l->err), l->err);
    CHECK(l->memory.peak_bytes < 1024 * 1024);
    log_check_file(l, "/trace/000000000001.jsonl.torn", bytes + 4, big);
    log_check_file(l, "/trace/000000000005.jsonl.torn", bytes, big);
    check_text(l->b.m, log_path(1), "one\n");
    check_text(l->b.m, log_path(5), NULL);
    /* NULs first */
    CHECK_INT(machine_truncate(l->b.m, log_path(1), 30u * 1024 * 1024), 0);
    log_append(l, 1, "text", 4);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, 4, &l->err), l->err);
    kept = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", &n);
    CHECK_INT(n, 30u * 1024 * 1024);
    CHECK_BYTES(kept + n - 4, 4, "text", 4);
    /* NULs last: they are a part of what was there */
    log_append(l, 1, "text", 4);
    CHECK_INT(machine_truncate(l->b.m, log_path(1), 1024 * 1024 + 4), 0);
    CHECK_OK(agt__trace_cut(&w, &l->mem, 1, 4, &l->err), l->err);
    free(kept);
    kept = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", &n);
    CHECK_INT(n, 1024 * 1024);
    CHECK_BYTES(kept, 5, "text", 5);
    free(kept);
    free(bytes);
    agt__trace_writer_close(&w);
    free_log(l);
}

TEST(trace, what_is_longer_than_any_segment_is_not_destroyed) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    agt_trace_writer w;
    agt_stat st;
    uint64_t vast = UINT64_C(1) << 40;
    log_put(l, 1, "one\n", 4);
    log_put(l, 5, "five\n", 5);
    CHECK_INT(machine_truncate(l->b.m, log_path(1), vast), 0);
    CHECK_INT(machine_truncate(l->b.m, log_path(5), vast), 0);
    agt__trace_writer_init(&w, l->b.sys, l->dir);
    CHECK_STATUS(agt__trace_cut(&w, &l->mem, 1, 4, &l->err), AGT_CORRUPT, l->err);
    CHECK_INT(l->err.offset, 4);
    CHECK(strstr(l->err.message, "000000000001.jsonl"));
    CHECK_INT(machine_stat(l->b.m, log_path(1), &st), 0);
    CHECK_INT(st.size, vast);
    CHECK_INT(machine_stat(l->b.m, "/trace/000000000005.jsonl.torn", &st), 0);
    CHECK_INT(st.size, vast);
    agt__trace_writer_close(&w);
    free_log(l);
}

/* Whatever fails or dies, no byte is lost and cutting again ends as if nothing had happened. */
TEST(trace, a_cut_that_fails_or_dies_anywhere_loses_nothing_and_can_be_repeated) {
    struct log *start = new_log(NULL);
    log_put(start, 1, "one\ntorn", 8);
    log_put(start, 5, "five\n", 5);
    machine_sync_all(start->b.m);
    FOR_EACH_FAULT(f, FAULT_ALL_CALLS | FAULT_SYNC | FAULT_ALL_MEMORY | FAULT_ALL_CRASHES) {
        struct log *l = new_log_in(machine_clone(start->b.m));
        agt_trace_writer w;
        agt__trace_writer_init(&w, l->b.sys, l->dir);
        volatile agt_status st = AGT_END;
        fault_arm(&f, l->b.m, &l->memory);
        if (FAULT_TRY(&f)) st = agt__trace_cut(&w, &l->mem, 1, 4, &l->err);
        fault_disarm(&f);
        if (st == AGT_OK) CHECK(!f.injected || fault_table[f.kind].a == 0 || !l->memory.failed);
        if (st != AGT_OK && st != AGT_END) CHECK(l->err.message[0]);
        char *whole = machine_get(l->b.m, log_path(1), NULL);
        char *kept = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", NULL);
        char *five = machine_get(l->b.m, log_path(5), NULL);
        char *five_kept = machine_get(l->b.m, "/trace/000000000005.jsonl.torn", NULL);
        CHECK(whole && !strncmp(whole, "one\n", 4));
        CHECK(!strcmp(whole + 4, "torn") || (kept && !strcmp(kept, "torn")));
        CHECK((five && !strcmp(five, "five\n")) || (five_kept && !strcmp(five_kept, "five\n")));
        free(whole);
        free(kept);
        free(five);
        free(five_kept);
        agt__trace_writer_close(&w);
        struct log *again = another_process(l);
        agt__trace_writer_init(&w, again->b.sys, again->dir);
        CHECK_OK(agt__trace_cut(&w, &again->mem, 1, 4, &again->err), again->err);
        agt__trace_writer_close(&w);
        check_text(again->b.m, log_path(1), "one\n");
        check_text(again->b.m, log_path(5), NULL);
        check_text(again->b.m, "/trace/000000000001.jsonl.torn", "torn");
        check_text(again->b.m, "/trace/000000000005.jsonl.torn", "five\n");
        free_log(again);
    }
    free_log(start);
}

/* ---- reading ---- */

/* Several segments of lines of all lengths. */
static struct log *random_log(size_t lines, uint64_t rotate, bool huge) {
    static const uint64_t shorts[] = {0, 0, 1000, 77};
    machine_settings set = {.short_bytes = shorts[test_random_below(4)], .unsynced_kept = true};
    struct log *l = new_log(&set);
    for (size_t i = 0; i < lines; i++) {
        if (i && test_random_below(rotate) == 0) log_rotate(l);
        uint64_t kind = huge ? test_random_below(30) : 5;
        if (kind == 0)
            log_add_long(l, AGT_MAX_EVENT - test_random_below(3));
        else if (kind == 1)
            log_add(l, test_random_below(20000));
        else
            log_add(l, test_random_below(300));
    }
    log_save(l);
    return l;
}

TEST(trace, lines_come_in_order_forward_and_backward) {
    for (int round = 0; round < 6; round++) {
        struct log *l = random_log(400, 60, true);
        agt_trace_reader *r = log_reader(l);
        log_expect(l, r, 0, l->count);
        log_expect_end(l, r);
        log_expect_back(l, r, l->count);
        log_expect(l, r, 0, 5);
        log_expect_back(l, r, 5);
        CHECK_OK(agt__trace_seek_end(r, &l->err), l->err);
        log_expect_end(l, r);
        log_expect_back(l, r, l->count);
        agt__trace_reader_close(r);
        test_saw("lines", l->count);
        free_log(l);
    }
}

TEST(trace, a_walk_in_any_direction_is_that_of_the_array) {
    uint64_t found = 0, missed = 0;
    for (int round = 0; round < 4; round++) {
        struct log *l = random_log(test_random_below(500) + 1, 1 + test_random_below(100), true);
        agt_trace_reader *r = log_reader(l);
        agt_text line;
        size_t at = 0;
        for (int step = 0; step < (test_all() ? 20000 : 3000); step++) {
            uint64_t seq = test_random_below(l->count + 3);
            agt_status st;
            switch (test_random_below(8)) {
            case 0:
            case 1:
            case 2:
                st = agt__trace_line(r, &line, &l->err);
                CHECK_STATUS(st, at < l->count ? AGT_OK : AGT_END, l->err);
                if (st == AGT_OK) log_is(l, r, line, at++);
                break;
            case 3:
            case 4:
            case 5:
                st = agt__trace_line_back(r, &line, &l->err);
                CHECK_STATUS(st, at > 0 ? AGT_OK : AGT_END, l->err);
                if (st == AGT_OK) log_is(l, r, line, --at);
                break;
            case 6:
                CHECK_OK(agt__trace_seek(r, seq, &l->err), l->err);
                at = seq == 0 ? 0 : seq > l->count ? l->count : (size_t)seq - 1;
                if (test_random_below(10)) break;
                CHECK_OK(agt__trace_seek_end(r, &l->err), l->err);
                at = l->count;
                break;
            default:
                st = agt__trace_find(r, seq, &line, &l->err);
                if (seq >= 1 && seq <= l->count) {
                    CHECK_OK(st, l->err);
                    at = (size_t)seq;
                    log_is(l, r, line, at - 1);
                    found++;
                } else {
                    CHECK_STATUS(st, AGT_NOT_FOUND, l->err);
                    CHECK_OK(agt__trace_seek(r, 1, &l->err), l->err);
                    at = 0;
                    missed++;
                }
            }
        }
        agt__trace_reader_close(r);
        free_log(l);
    }
    test_saw("events found", found);
    CHECK(found > 100 && missed > 0);
}

TEST(trace, every_event_is_found_by_its_seq) {
    struct log *l = random_log(1500, 400, false);
    agt_trace_reader *r = log_reader(l);
    agt_text line;
    for (size_t i = 0; i < l->count; i++) {
        size_t k = i * 7919 % l->count;
        CHECK_OK(agt__trace_find(r, l->line[k].seq, &line, &l->err), l->err);
        log_is(l, r, line, k);
    }
    CHECK_STATUS(agt__trace_find(r, 0, &line, &l->err), AGT_NOT_FOUND, l->err);
    CHECK_STATUS(agt__trace_find(r, l->count + 1, &line, &l->err), AGT_NOT_FOUND, l->err);
    CHECK_STATUS(agt__trace_find(r, UINT64_MAX, &line, &l->err), AGT_NOT_FOUND, l->err);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, searching_a_whole_segment_reads_little_of_it) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    agt_text line;
    for (int i = 0; i < 8000; i++)
        log_add(l, 100);
    log_save(l);
    CHECK(l->end > 50 * AGT_MAX_EVENT); /* so many windows from end to end */
    agt_trace_reader *r = log_reader(l);
    machine_calls_reset(l->b.m);
    for (int i = 0; i < 200; i++) {
        size_t k = (size_t)test_random_below(l->count);
        CHECK_OK(agt__trace_find(r, l->line[k].seq, &line, &l->err), l->err);
        log_is(l, r, line, k);
    }
    CHECK(machine_calls(l->b.m, MACHINE_PREAD) < 200 * 7);
    agt__trace_reader_close(r);
    free_log(l);
}

/* Where the lengths of lines tell nothing about where a line is, halving finds it. */
TEST(trace, searching_lines_of_very_different_lengths) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    agt_text line;
    for (int i = 0; i < 3000; i++)
        log_add(l, i / 500 % 2 ? 9000 : 30);
    log_save(l);
    agt_trace_reader *r = log_reader(l);
    machine_calls_reset(l->b.m);
    for (size_t i = 0; i < l->count; i += 7) {
        CHECK_OK(agt__trace_find(r, l->line[i].seq, &line, &l->err), l->err);
        log_is(l, r, line, i);
    }
    test_saw("reads a search", machine_calls(l->b.m, MACHINE_PREAD) / (l->count / 7));
    CHECK(machine_calls(l->b.m, MACHINE_PREAD) < l->count / 7 * 40);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, a_search_in_a_vast_line_reads_it_about_twice) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    agt_text line;
    uint64_t vast = 20u * 1024 * 1024;
    for (int i = 0; i < 50; i++)
        log_add(l, 100);
    log_save(l);
    CHECK_INT(machine_truncate(l->b.m, log_path(1), vast), 0);
    log_append(l, 1, "\n", 1);
    agt_trace_reader *r = log_reader(l);
    for (size_t i = 0; i < l->count; i += 7) {
        machine_calls_reset(l->b.m);
        CHECK_OK(agt__trace_find(r, l->line[i].seq, &line, &l->err), l->err);
        log_is(l, r, line, i);
        CHECK(machine_calls(l->b.m, MACHINE_PREAD) < 4 * (vast / AGT_MAX_EVENT));
    }
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, reading_on_reads_each_byte_about_once) {
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    for (int i = 0; i < 3000; i++)
        log_add(l, 100);
    log_save(l);
    agt_trace_reader *r = log_reader(l);
    machine_calls_reset(l->b.m);
    log_expect(l, r, 0, l->count);
    uint64_t windows = l->end / AGT_MAX_EVENT + 1;
    /* two calls a window: the second one shows the end or that nothing more comes */
    CHECK(machine_calls(l->b.m, MACHINE_PREAD) <= 2 * (windows + windows / 50 + 1));
    log_expect_end(l, r);
    machine_calls_reset(l->b.m);
    log_expect_back(l, r, l->count);
    CHECK(machine_calls(l->b.m, MACHINE_PREAD) <= 2 * (windows + windows / 50 + 2));
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, an_empty_folder_or_none_at_all_has_no_lines) {
    struct log *l = new_log(NULL);
    agt_trace_reader *r = log_reader(l);
    agt_text line;
    for (int round = 0; round < 2; round++) {
        log_expect_end(l, r);
        CHECK_STATUS(agt__trace_line_back(r, &line, &l->err), AGT_END, l->err);
        CHECK_OK(agt__trace_seek(r, 5, &l->err), l->err);
        CHECK_OK(agt__trace_seek_end(r, &l->err), l->err);
        CHECK_STATUS(agt__trace_find(r, 5, &line, &l->err), AGT_NOT_FOUND, l->err);
        agt__trace_reader_close(r);
        r = NULL;
        if (round) break;
        CHECK_OK(agt__trace_reader_open(&r, l->b.sys, AGT_FD_NONE, &l->mem, &l->err), l->err);
    }
    agt__trace_reader_close(NULL);
    /* segments that appear are noticed */
    r = log_reader(l);
    log_expect_end(l, r);
    log_add(l, 0);
    log_save(l);
    log_expect(l, r, 0, 1);
    log_expect_end(l, r);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, foreign_files_are_passed_over_and_empty_segments_too) {
    struct log *l = new_log(NULL);
    for (int i = 0; i < 30; i++) {
        if (i % 10 == 0) log_rotate(l);
        log_add(l, 50);
    }
    log_save(l);
    machine_put_text(l->b.m, "/trace/000000000001.jsonl.torn", "{torn}\n");
    machine_put_text(l->b.m, "/trace/000000000011.json", "{foreign}\n");
    machine_put_text(l->b.m, "/trace/5.jsonl", "{foreign}\n");
    machine_make_folder(l->b.m, "/trace/folder");
    log_put(l, 5, "", 0);
    log_put(l, 15, "", 0);
    log_put(l, 31, "", 0);
    log_put(l, 40, "", 0);
    agt_trace_reader *r = log_reader(l);
    agt_text line;
    log_expect(l, r, 0, 30);
    log_expect_end(l, r);
    log_expect_back(l, r, 30);
    CHECK_OK(agt__trace_seek_end(r, &l->err), l->err);
    log_expect_back(l, r, 30);
    for (uint64_t seq = 1; seq <= 30; seq++) {
        CHECK_OK(agt__trace_find(r, seq, &line, &l->err), l->err);
        log_is(l, r, line, (size_t)seq - 1);
    }
    CHECK_STATUS(agt__trace_find(r, 31, &line, &l->err), AGT_NOT_FOUND, l->err);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, a_segment_that_is_no_file_is_named_in_the_error) {
    struct log *l = new_log(NULL);
    agt_text line;
    machine_make_folder(l->b.m, "/trace/000000000001.jsonl");
    machine_put_text(l->b.m, "/trace/000000000001.jsonl/x", "x");
    agt_trace_reader *r = log_reader(l);
    CHECK_STATUS(agt__trace_seek(r, 1, &l->err), AGT_IO, l->err);
    CHECK(strstr(l->err.message, "000000000001.jsonl"));
    machine_remove(l->b.m, "/trace/000000000001.jsonl");
    machine_symlink(l->b.m, "/etc/passwd", "/trace/000000000001.jsonl");
    CHECK_STATUS(agt__trace_line(r, &line, &l->err), AGT_IO, l->err);
    machine_remove(l->b.m, "/trace/000000000001.jsonl");
    machine_fifo(l->b.m, "/trace/000000000001.jsonl");
    CHECK_STATUS(agt__trace_seek_end(r, &l->err), AGT_IO, l->err);
    machine_remove(l->b.m, "/trace/000000000001.jsonl");
    log_add(l, 0);
    log_save(l);
    log_expect(l, r, 0, 1);
    agt__trace_reader_close(r);
    free_log(l);
}

TEST(trace, what_stands_behind_the_last_newline_is_not_shown) {
    static const struct {
        char fill;
        size_t n;
    } tails[] = {{'x', 1}, {'x', 300}, {'{', 70000}, {'x', 200000}, {0, 1}, {0, 4096}, {0, 300000}};
    for (size_t t = 0; t < AGT_COUNT(tails); t++)
        for (size_t lines = 0; lines <= 3; lines += 3) {
            struct log *l = new_log(NULL);
            for (size_t i = 0; i < lines; i++)
                log_add(l, 0);
            if (lines)
                log_save(l);
            else
                log_put(l, 1, "", 0);
            char *tail = malloc(tails[t].n);
            memset(tail, tails[t].fill, tails[t].n);
            log_append(l, 1, tail, tails[t].n);
            free(tail);
            agt_trace_reader *r = log_reader(l);
            agt_text line;
            log_expect(l, r, 0, lines);
            log_expect_end(l, r);
            log_expect_end(l, r);
            log_expect_back(l, r, lines);
            CHECK_OK(agt__trace_seek_end(r, &l->err), l->err);
            log_expect_end(l, r);
            log_expect_back(l, r, lines);
            CHECK_STATUS(agt__trace_find(r, 4, &line, &l->err), AGT_NOT_FOUND, l->err);
            for (uint64_t seq = 1; seq <= lines; seq++)
                CHECK_OK(agt__trace_find(r, seq, &line, &l->err), l->err);
            agt__trace_reader_close(r);
            free_log(l);
        }
}

TEST(trace, a_line_is_shown_once_its_newline_is_there_however_it_grows) {
    struct log *l = new_log(NULL), *disk = new_log(NULL);
    for (int i = 0; i < 60; i++) {
        if (i % 20 == 19) log_rotate(l);
        if (i % 17 == 5)
            log_add_long(l, AGT_MAX_EVENT);
        else
            log_add(l, test_random_below(600));
    }
    agt_trace_reader *r = log_reader(disk), *back = log_reader(disk);
    agt_text line;
    uint64_t looks = 0;
    for (size_t i = 0; i < l->count; i++) {
        struct log_line *one = &l->line[i];
        for (size_t at = 0; at < one->len;) {
            size_t n = 1 + test_random_below(one->len > 1000 ? 9000 : 100);
            if (n > one->len - at) n = one->len - at;
            log_append(disk, one->segment, one->text + at, n);
            at += n;
            if (at < one->len) log_expect_end(disk, r);
            looks++;
        }
        CHECK_OK(agt__trace_line(r, &line, &l->err), l->err);
        log_is(l, r, line, i);
        CHECK_OK(agt__trace_seek_end(back, &l->err), l->err);
        CHECK_OK(agt__trace_line_back(back, &line, &l->err), l->err);
        log_is(l, back, line, i);
    }
    log_expect_end(disk, r);
    test_saw("looks at a growing segment", looks);
    CHECK(looks > 200);
    agt__trace_reader_close(r);
    agt__trace_reader_close(back);
    free_log(l);
    free_log(disk);
}

TEST(trace, an_empty_segment_ahead_does_not_take_the_reader_from_one_that_still_grows) {
    struct log *l = new_log(NULL);
    log_add(l, 0);
    log_save(l);
    agt_trace_reader *r = log_reader(l);
    log_put(l, 500, "", 0);
    log_expect(l, r, 0, 1);
    log_expect_end(l, r);
    log_add(l, 0);
    log_save(l);
    log_expect(l, r, 1, 2);
    log_expect_end(l, r);
    agt__trace_reader_close(r);
    free_log(l);
}

/* ---- others change the trace meanwhile ---- */

struct meddler {
    struct log *l;
    machine_op op;
    uint64_t countdown;
    void (*act)(struct log *l);
    int acted;
};

static void meddle(void *ctx, machine *m, const machine_call *call) {
    struct meddler *d = ctx;
    (void)m;
    if (call->op != d->op || d->countdown == 0 || --d->countdown) return;
    d->acted++;
    d->act(d->l);
}

static void finish_and_rotate(struct log *l) {
    log_add(l, 10);
    log_rotate(l);
    log_add(l, 20);
    log_save(l);
}

/* The reader has seen the end of a segment; before it looks for the next one, a writer adds one
 * more line to the first and begins the second. */
TEST(trace, a_line_added_just_before_a_new_segment_is_not_skipped) {
    static const machine_op ops[] = {MACHINE_LIST, MACHINE_STAT, MACHINE_PREAD, MACHINE_OPEN};
    int acted = 0;
    for (size_t o = 0; o < AGT_COUNT(ops); o++)
        for (uint64_t n = 1; n <= 4; n++) {
            struct log *l = new_log(NULL);
            struct meddler d = {l, ops[o], 0, finish_and_rotate, 0};
            log_add(l, 0);
            log_save(l);
            agt_trace_reader *r = log_reader(l);
            log_expect(l, r, 0, 1);
            d.countdown = n;
            machine_on_call(l->b.m, meddle, &d);
            agt_text line;
            agt_status st = agt__trace_line(r, &line, &l->err);
            if (st == AGT_END) st = agt__trace_line(r, &line, &l->err);
            d.countdown = 0;
            if (!d.acted) finish_and_rotate(l);
            if (st == AGT_END) st = agt__trace_line(r, &line, &l->err);
            CHECK_OK(st, l->err);
            log_is(l, r, line, 1);
            log_expect(l, r, 2, 3);
            log_expect_end(l, r);
            acted += d.acted;
            machine_on_call(l->b.m, NULL, NULL);
            agt__trace_reader_close(r);
            free_log(l);
        }
    CHECK(acted >= 8);
}

static void remove_second(struct log *l) {
    (void)machine_remove(l->b.m, log_path(2));
}

static void bring_back_second(struct log *l) {
    log_save(l);
}

TEST(trace, a_segment_that_vanishes_while_it_is_opened_is_looked_for_again) {
    struct log *l = new_log(NULL);
    log_add(l, 0);
    log_rotate(l);
    log_add(l, 0);
    log_save(l);
    agt_trace_reader *r = log_reader(l);
    agt_text line;
    log_expect(l, r, 0, 1);
    struct meddler d = {l, MACHINE_OPEN, 1, remove_second, 0};
    machine_on_call(l->b.m, meddle, &d);
    log_expect_end(l, r);
    CHECK_INT(d.acted, 1);
    bring_back_second(l);
    log_expect(l, r, 1, 2);
    d.countdown = 1;
    CHECK_OK(agt__trace_seek(r, 1, &l->err), l->err); /* opens the first again */
    CHECK_INT(d.acted, 2);
    log_save(l);
    d.countdown = 1;
    CHECK_OK(agt__trace_seek(r, 2, &l->err), l->err); /* the second vanishes: the first's end */
    CHECK_INT(d.acted, 3);
    CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
    log_is(l, r, line, 0);
    machine_on_call(l->b.m, NULL, NULL);
    /* a name that is listed and never there is an error, not a loop */
    machine_fail_at(l->b.m, 1, MACHINE_BIT(MACHINE_OPEN), AGT_SYS_NOENT, ENOENT, true);
    agt_trace_reader *other = log_reader(l);
    CHECK_STATUS(agt__trace_line(other, &line, &l->err), AGT_IO, l->err);
    CHECK_STATUS(agt__trace_seek(other, 1, &l->err), AGT_IO, l->err);
    CHECK_STATUS(agt__trace_seek_end(other, &l->err), AGT_IO, l->err);
    machine_fail(l->b.m, NULL);
    agt__trace_reader_close(other);
    agt__trace_reader_close(r);
    free_log(l);
}

/* Lines that are in the window are those of a moment ago; behind them the reader notices. */
TEST(trace, a_segment_cut_below_the_reader_takes_it_to_the_new_end) {
    for (size_t len = 100; len < 50000; len += 40000) {
        struct log *l = new_log(NULL);
        for (int i = 0; i < 10; i++)
            log_add(l, len);
        log_save(l);
        agt_trace_reader *r = log_reader(l), *back = log_reader(l);
        agt_text line;
        log_expect(l, r, 0, 10);
        CHECK_OK(agt__trace_seek_end(back, &l->err), l->err);
        machine_truncate(l->b.m, log_path(1), l->line[6].offset + 50);
        log_expect_end(l, r);
        if (len == 100) {
            log_expect_back(l, back, 10);
        } else {
            CHECK_OK(agt__trace_line_back(back, &line, &l->err), l->err);
            log_is(l, back, line, 9);
            log_expect_back(l, back, 6);
        }
        CHECK_INT(machine_truncate(l->b.m, log_path(1), l->line[6].offset), 0);
        for (int i = 6; i < 10; i++)
            free(l->line[i].text);
        l->count = 6; /* other lines from here on */
        l->end = l->line[6].offset;
        log_add(l, 33);
        log_append(l, 1, l->line[6].text, l->line[6].len);
        log_expect(l, r, 6, 7);
        log_expect_end(l, r);
        agt__trace_reader_close(r);
        agt__trace_reader_close(back);
        free_log(l);
    }
}

TEST(trace, a_segment_cut_and_grown_again_gives_whole_lines_only) {
    static const size_t lengths[] = {2, 7, 100, 399, 400, 401, 5000};
    for (size_t k = 0; k < AGT_COUNT(lengths); k++) {
        struct log *l = new_log(NULL);
        for (int i = 0; i < 10; i++)
            log_add(l, 100);
        log_save(l);
        agt_trace_reader *r = log_reader(l), *back = log_reader(l);
        agt_text line;
        char other[5000];
        size_t n = lengths[k], saw = 0;
        memset(other, 'y', sizeof other);
        other[n - 1] = '\n';
        log_expect(l, r, 0, 10);
        CHECK_OK(agt__trace_seek_end(back, &l->err), l->err);
        machine_truncate(l->b.m, log_path(1), l->line[6].offset);
        for (uint64_t end = l->line[6].offset; end < l->end + 20000; end += n)
            log_append(l, 1, other, n);
        while (agt__trace_line(r, &line, &l->err) == AGT_OK) {
            CHECK_BYTES(line.data, line.len, other, n);
            saw++;
        }
        CHECK(saw >= 20000 / n - 1);
        saw = 0;
        while (agt__trace_line_back(r, &line, &l->err) == AGT_OK) {
            if (line.data[0] == 'y') CHECK_BYTES(line.data, line.len, other, n);
            if (line.data[0] == '{') break;
            saw++;
        }
        CHECK(saw >= 20000 / n - 1);
        log_is(l, r, line, 5);
        while (agt__trace_line_back(back, &line, &l->err) == AGT_OK)
            CHECK(line.data[line.len - 1] == '\n' && (line.data[0] == '{' || line.len == n));
        agt__trace_reader_close(r);
        agt__trace_reader_close(back);
        free_log(l);
    }
}

TEST(trace, a_segment_that_was_removed_takes_the_reader_to_the_end_of_the_one_before) {
    struct log *l = new_log(NULL);
    for (int i = 0; i < 5; i++)
        log_add(l, 10);
    log_rotate(l);
    log_save(l);
    log_put(l, 6, "{\"unfinished\":1}\n{", 18);
    agt_trace_reader *r = log_reader(l), *end = log_reader(l);
    agt_text line;
    log_expect(l, r, 0, 5);
    CHECK_OK(agt__trace_line(r, &line, &l->err), l->err);
    CHECK_STATUS(agt__trace_seek_end(end, &l->err), AGT_OK, l->err);
    machine_remove(l->b.m, log_path(6));
    log_expect_end(l, r); /* and not the first five again */
    log_expect_end(l, end);
    l->segment = 1;
    l->end = l->line[4].offset + l->line[4].len;
    log_add(l, 10);
    log_rotate(l);
    log_add(l, 10);
    log_save(l);
    log_expect(l, r, 5, 7);
    log_expect(l, end, 5, 7);
    /* all of them */
    machine_remove(l->b.m, log_path(1));
    machine_remove(l->b.m, log_path(7));
    log_expect_end(l, r);
    CHECK_STATUS(agt__trace_line_back(r, &line, &l->err), AGT_END, l->err);
    log_save(l);
    log_expect(l, r, 0, 7);
    agt__trace_reader_close(r);
    agt__trace_reader_close(end);
    free_log(l);
}

TEST(trace, another_file_under_the_segments_name_is_noticed) {
    struct log *l = new_log(NULL);
    log_add(l, 10);
    log_rotate(l);
    log_add(l, 10);
    log_save(l);
    log_put(l, 3, "", 0);
    agt_trace_reader *r = log_reader(l), *seeker = log_reader(l);
    agt_text line;
    log_expect(l, r, 0, 2);
    log_expect_end(l, r);
    CHECK_OK(agt__trace_find(seeker, 2, &line, &l->err), l->err);
    /* the second is removed by recovery, made again, and gets two lines */
    machine_remove(l->b.m, log_path(2));
    log_add(l, 40);
    log_save(l);
    log_expect(l, r, 2, 3);
    log_expect_end(l, r);
    CHECK_OK(agt__trace_find(seeker, 3, &line, &l->err), l->err);
    log_is(l, seeker, line, 2);
    agt__trace_reader_close(r);
    agt__trace_reader_close(seeker);
    free_log(l);
}

/* ---- damage ---- */

TEST(trace, damaged_lines_are_handed_out_as_they_are) {
    static const char *const damaged[] = {"\n", "garbage\n", "{\"seq\":\n"};
    for (size_t d = 0; d < AGT_COUNT(damaged); d++) {
        struct log *l = new_log(NULL);
        agt_text line;
        size_t n = strlen(damaged[d]);
        log_add(l, 10);
        l->end += n;
        log_add(l, 10);
        log_put(l, 1, l->line[0].text, l->line[0].len);
        log_append(l, 1, damaged[d], n);
        log_append(l, 1, l->line[1].text, l->line[1].len);
        agt_trace_reader *r = log_reader(l);
        log_expect(l, r, 0, 1);
        CHECK_OK(agt__trace_line(r, &line, &l->err), l->err);
        CHECK_BYTES(line.data, line.len, damaged[d], n);
        log_expect(l, r, 1, 2);
        CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
        log_is(l, r, line, 1);
        CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
        CHECK_BYTES(line.data, line.len, damaged[d], n);
        CHECK_OK(agt__trace_find(r, 2, &line, &l->err), l->err);
        log_is(l, r, line, 1);
        agt__trace_reader_close(r);
        free_log(l);
    }
}

TEST(trace, a_line_longer_than_any_event_is_handed_out_once_as_one_byte_too_many) {
    static const size_t lengths[] = {
        AGT_MAX_EVENT,      AGT_MAX_EVENT + 1,  AGT_MAX_EVENT + 2, AGT_MAX_EVENT + 63,
        AGT_MAX_EVENT + 64, AGT_MAX_EVENT + 65, 2 * AGT_MAX_EVENT, 300000};
    for (size_t k = 0; k < AGT_COUNT(lengths); k++) {
        size_t n = lengths[k], want = n > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : n;
        struct log *l = new_log(NULL);
        agt_text line;
        char *big = malloc(n);
        memset(big, 'g', n);
        big[n - 1] = '\n';
        log_add(l, 10);
        l->end += n;
        for (int i = 0; i < 50; i++)
            log_add(l, 100);
        log_bytes(l, 1);
        log_put(l, 1, l->line[0].text, l->line[0].len);
        log_append(l, 1, big, n);
        log_append(l, 1, l->text.data + l->line[0].len, l->text.len - l->line[0].len);
        agt_trace_reader *r = log_reader(l);
        uint64_t segment, offset;
        for (int round = 0; round < 2; round++) {
            log_expect(l, r, 0, 1);
            CHECK_OK(agt__trace_line(r, &line, &l->err), l->err);
            CHECK_BYTES(line.data, line.len, big, want);
            agt__trace_where(r, &segment, &offset);
            CHECK_INT(offset, l->line[0].len);
            log_expect(l, r, 1, l->count);
            log_expect_end(l, r);
            for (size_t i = l->count; i-- > 1;) {
                CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
                log_is(l, r, line, i);
            }
            CHECK_OK(agt__trace_line_back(r, &line, &l->err), l->err);
            CHECK_BYTES(line.data, line.len, big, want);
            agt__trace_where(r, &segment, &offset);
            CHECK_INT(offset, l->line[0].len);
            log_expect_back(l, r, 1);
        }
        for (size_t i = 0; i < l->count; i++) {
            CHECK_OK(agt__trace_find(r, l->line[i].seq, &line, &l->err), l->err);
            log_is(l, r, line, i);
        }
        free(big);
        agt__trace_reader_close(r);
        free_log(l);
    }
}

/* What happens to the seq of one line hides no other line from a search. */
static void damage_one(struct log *l, size_t at, const char *seq, uint64_t *searches) {
    static const char key[] = ",\"seq\":";
    struct log_line *hit = &l->line[at];
    const char *digits = strstr(hit->text, key) + sizeof key - 1;
    size_t n = strspn(digits, "0123456789"), step = test_all() ? 1 : 7;
    char padded[16];
    snprintf(padded, sizeof padded, "%-*.*s", (int)n, (int)n, seq);
    CHECK_INT(machine_overwrite(l->b.m, log_path(hit->segment),
                                hit->offset + (uint64_t)(digits - hit->text), padded, n),
              0);
    agt_trace_reader *r = log_reader(l);
    agt_text line;
    for (size_t i = 0; i < l->count; i++) {
        if ((i + 3 < at || i > at + 3) && test_random_below(step)) continue;
        agt_status st = agt__trace_find(r, l->line[i].seq, &line, &l->err);
        (*searches)++;
        if (i == at) {
            CHECK(st == AGT_CORRUPT || st == AGT_NOT_FOUND);
            CHECK(i < l->count - 2 ? st == AGT_CORRUPT : true);
            continue;
        }
        if (st != AGT_OK)
            test_fail(__FILE__, __LINE__, "with line %zu as \"%s\", %zu is %s: %s", at, padded, i,
                      agt_status_name(st), l->err.message);
        log_is(l, r, line, i);
    }
    agt__trace_reader_close(r);
    CHECK_INT(machine_overwrite(l->b.m, log_path(hit->segment), hit->offset, hit->text, hit->len),
              0);
}

TEST(trace, damage_to_one_line_hides_no_other_from_a_search) {
    static const char *const damage[] = {"999", "101", "150", "x", "100", "120", "000", "199"};
    machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    uint64_t searches = 0;
    l->segment = 100; /* all seqs have three digits */
    for (int i = 0; i < 100; i++)
        log_add(l, 150);
    log_save(l);
    CHECK(l->end > 30000); /* far enough for bisection */
    for (size_t at = 0; at < l->count; at++)
        for (size_t d = 0; d < AGT_COUNT(damage); d++) {
            char same[16];
            snprintf(same, sizeof same, "%" PRIu64, l->line[at].seq);
            if (strcmp(same, damage[d]) != 0) damage_one(l, at, damage[d], &searches);
        }
    test_saw("searches", searches);
    CHECK(searches > 8000);
    free_log(l);
}

TEST(trace, an_event_that_is_missing_although_later_ones_are_there_is_damage) {
    struct log *l = new_log(NULL);
    agt_text line;
    for (int i = 0; i < 10; i++)
        log_add(l, 10);
    log_bytes(l, 1);
    log_put(l, 1, l->text.data, (size_t)l->line[3].offset);
    log_append(l, 1, l->text.data + l->line[5].offset, l->text.len - l->line[5].offset);
    agt_trace_reader *r = log_reader(l);
    CHECK_STATUS(agt__trace_find(r, 4, &line, &l->err), AGT_CORRUPT, l->err);
    CHECK_INT(l->err.offset, l->line[3].offset);
    CHECK_STATUS(agt__trace_find(r, 5, &line, &l->err), AGT_CORRUPT, l->err);
    for (uint64_t seq = 1; seq <= 10; seq++)
        if (seq < 4 || seq > 5) CHECK_OK(agt__trace_find(r, seq, &line, &l->err), l->err);
    agt__trace_reader_close(r);
    free_log(l);
}

/* ---- failures ---- */

TEST(trace, a_reader_that_met_a_failure_goes_on_where_it_was) {
    struct log *l = new_log(NULL);
    for (int i = 0; i < 12; i++) {
        if (i % 4 == 0) log_rotate(l);
        log_add_long(l, i % 3 ? 400 : 60000);
    }
    log_save(l);
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_ACCESS | FAULT_SHORT | FAULT_ALL_MEMORY) {
        agt_trace_reader *r = NULL;
        agt_text line;
        fault_arm(&f, l->b.m, &l->memory);
        agt_status st = agt__trace_reader_open(&r, l->b.sys, l->dir, &l->mem, &l->err);
        if (st != AGT_OK) {
            CHECK(!r && (st == AGT_IO || st == AGT_NOMEM));
            CHECK_INT(l->memory.live_blocks, 0);
            fault_disarm(&f);
            continue;
        }
        for (size_t i = 0; i <= l->count; i++) {
            while ((st = agt__trace_line(r, &line, &l->err)) == AGT_IO || st == AGT_NOMEM)
                CHECK_INT(st, l->err.status);
            CHECK_STATUS(st, i < l->count ? AGT_OK : AGT_END, l->err);
            if (st == AGT_OK) log_is(l, r, line, i);
        }
        for (size_t i = l->count; i-- > 0;) {
            while ((st = agt__trace_line_back(r, &line, &l->err)) == AGT_IO || st == AGT_NOMEM)
                CHECK_INT(st, l->err.status);
            CHECK_OK(st, l->err);
            log_is(l, r, line, i);
        }
        while ((st = agt__trace_find(r, 7, &line, &l->err)) == AGT_IO || st == AGT_NOMEM)
            CHECK_INT(st, l->err.status);
        CHECK_OK(st, l->err);
        log_is(l, r, line, 6);
        while ((st = agt__trace_seek_end(r, &l->err)) == AGT_IO || st == AGT_NOMEM)
            CHECK_INT(st, l->err.status);
        CHECK_OK(st, l->err);
        fault_disarm(&f);
        log_expect_end(l, r);
        agt__trace_reader_close(r);
    }
    free_log(l);
}

/* ---- processes ---- */

/* Appends lines in small segments until `lines` are there; each line by one call. */
static void append_for_a_while(const agt_sys *sys, agt_fd dir, size_t lines) {
    struct log *l = new_log(NULL); /* only its array is used */
    agt_trace_writer w;
    agt__trace_writer_init(&w, sys, dir);
    for (size_t i = 0; i < lines; i++) {
        if (i && i % 500 == 0) log_rotate(l);
        struct log_line *line = log_add(l, i % 97 == 0 ? 30000 : i * 7 % 400);
        CHECK_OK(agt__trace_reserve(&w, line->segment, line->offset, line->len, &l->err), l->err);
        CHECK_OK(agt__trace_put(&w, line->segment, line->offset, line->text, line->len, &l->err),
                 l->err);
        if (i % 64 == 0) usleep(200);
    }
    agt__trace_writer_close(&w);
}

TEST(trace, a_reader_never_sees_half_a_line_of_a_process_that_appends) {
    const size_t lines = test_all() ? 20000 : 6000;
    const agt_sys *sys = agt_sys_os();
    const char *folder = test_folder();
    agt_fd dir = sys->open_root(sys->ctx, folder);
    CHECK(dir >= 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        append_for_a_while(sys, dir, lines);
        _exit(0);
    }
    agt_mem mem = agt__mem(NULL);
    agt_buf scratch = agt__buf(&mem);
    agt_trace_reader *r, *back;
    agt_error err;
    agt_text line;
    agt_event e;
    unsigned char hash[32] = {0}, prev[32];
    CHECK_OK(agt__trace_reader_open(&r, sys, dir, &mem, &err), err);
    CHECK_OK(agt__trace_reader_open(&back, sys, dir, &mem, &err), err);
    uint64_t seen = 0, waits = 0, glances = 0;
    int status = 0;
    bool gone = false;
    while (seen < lines) {
        agt_status st = agt__trace_line(r, &line, &err);
        if (st == AGT_END) {
            CHECK(!gone); /* a writer that is through has left no line unseen */
            pid_t done = waitpid(pid, &status, WNOHANG);
            CHECK(done == 0 || done == pid);
            gone = done == pid;
            waits++;
            usleep(50);
            CHECK_OK(agt__trace_seek_end(back, &err), err);
            st = agt__trace_line_back(back, &line, &err);
            if (st == AGT_END) continue;
            CHECK_OK(st, err);
            CHECK_OK(agt__event_parse(line.data, line.len, &scratch, &e, &err), err);
            CHECK(e.seq >= seen);
            CHECK_OK(agt__trace_find(back, 1 + test_random_below(e.seq), &line, &err), err);
            CHECK_OK(agt__event_parse(line.data, line.len, &scratch, &e, &err), err);
            glances++;
            continue;
        }
        CHECK_OK(st, err);
        CHECK_OK(agt__event_parse(line.data, line.len, &scratch, &e, &err), err);
        CHECK_INT(e.seq, ++seen);
        CHECK(agt__unhex(e.prev.data, e.prev.len, prev, 32));
        CHECK_BYTES(prev, 32, hash, 32);
        agt__sha256(agt__cpu(), line.data, line.len, hash);
    }
    if (!gone) CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_STATUS(agt__trace_line(r, &line, &err), AGT_END, err);
    test_saw("waits for the writer", waits);
    test_saw("glances from the end", glances);
    CHECK(waits > 0);
    agt__trace_reader_close(r);
    agt__trace_reader_close(back);
    agt__buf_free(&scratch);
    sys->close(sys->ctx, dir);
}
