/* Checking and repairing a trace that has no journal: what is kept, what is cut, what is told. */
#include "fault.h"
#include "trace_kit.h"

static agt_trace_report check(struct log *l) {
    agt_trace_report r;
    memset(&r, 0x55, sizeof r);
    char *before = machine_tree(l->b.m, "/trace");
    CHECK_OK(agt__trace_check(l->b.sys, l->dir, &l->mem, l->cpu, &r, &l->err), l->err);
    char *after = machine_tree(l->b.m, "/trace");
    CHECK_STR(after, before); /* looking changes nothing */
    free(before);
    free(after);
    return r;
}

/* Repairs; doing it again, or checking, finds the same trace and nothing to do. */
static agt_trace_report repair(struct log *l) {
    agt_trace_report r, again;
    CHECK_OK(agt__trace_repair(l->b.sys, l->dir, &l->mem, l->cpu, &r, &l->err), l->err);
    char *before = machine_tree(l->b.m, "/trace");
    CHECK_OK(agt__trace_repair(l->b.sys, l->dir, &l->mem, l->cpu, &again, &l->err), l->err);
    char *after = machine_tree(l->b.m, "/trace");
    CHECK_STR(after, before);
    CHECK_INT(again.torn_bytes, 0);
    CHECK(!again.salvageable);
    CHECK_INT(again.lines, r.lines);
    CHECK_INT(again.last_seq, r.last_seq);
    CHECK_INT(again.damaged_lines, r.damaged_lines);
    CHECK_INT(again.end.segment, r.end.segment);
    CHECK_INT(again.end.offset, r.end.offset);
    CHECK_BYTES(again.end.prev, 32, r.end.prev, 32);
    free(before);
    free(after);
    return r;
}

static void check_end(struct log *l, const agt_trace_report *r, size_t count) {
    unsigned char prev[32] = {0};
    CHECK_INT(r->lines, count);
    CHECK_INT(r->last_seq, count ? l->line[count - 1].seq : 0);
    if (count) {
        struct log_line *last = &l->line[count - 1];
        agt__sha256(l->cpu, last->text, last->len, prev);
        CHECK_INT(r->end.segment, last->segment);
        CHECK_INT(r->end.offset, last->offset + last->len);
    }
    CHECK_BYTES(r->end.prev, 32, prev, 32);
}

static struct log *three(void) {
    static const machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    for (int i = 0; i < 3; i++)
        log_add(l, 5);
    return l;
}

/* ---- whole traces ---- */

TEST(trace_repair, a_whole_trace_is_whole) {
    struct log *l = new_log(NULL);
    for (int i = 0; i < 300; i++) {
        if (i % 100 == 99) log_rotate(l);
        if (i % 50 == 7)
            log_add_long(l, AGT_MAX_EVENT);
        else
            log_add(l, test_random_below(500));
    }
    log_save(l);
    for (uint64_t small = 0; small < 2; small++) {
        machine_set(l->b.m)->short_bytes = small ? 1000 : 0;
        agt_trace_report r = check(l);
        check_end(l, &r, 300);
        CHECK(!r.torn_bytes && !r.damaged_lines && !r.salvageable);
        r = repair(l);
        check_end(l, &r, 300);
        CHECK(!r.torn_bytes && !r.damaged_lines && !r.salvageable);
    }
    free_log(l);
}

TEST(trace_repair, no_trace_ends_at_its_beginning) {
    struct log *l = new_log(NULL);
    for (int round = 0; round < 3; round++) {
        agt_trace_report r = round == 2 ? repair(l) : check(l);
        check_end(l, &r, 0);
        CHECK_INT(r.end.segment, 1);
        CHECK_INT(r.end.offset, 0);
        CHECK(!r.torn_bytes && !r.damaged_lines);
        if (round == 0) log_put(l, 1, "", 0);
        if (round == 1) machine_put_text(l->b.m, "/trace/foreign", "{\"x\n");
    }
    free_log(l);
}

TEST(trace_repair, a_new_segment_without_a_line_is_where_the_next_one_goes) {
    struct log *l = three();
    log_save(l);
    log_put(l, 4, "", 0);
    agt_trace_report r = repair(l);
    CHECK_INT(r.lines, 3);
    CHECK_INT(r.end.segment, 4);
    CHECK_INT(r.end.offset, 0);
    CHECK_BYTES(r.end.prev, 32, l->prev, 32);
    CHECK_INT(r.torn_bytes, 0);
    check_text(l->b.m, log_path(4), "");
    /* of another name it would never be read: it goes */
    machine_remove(l->b.m, log_path(4));
    log_put(l, 9, "", 0);
    r = repair(l);
    check_end(l, &r, 3);
    check_text(l->b.m, log_path(9), NULL);
    free_log(l);
}

/* ---- tears ---- */

/* After repair: the first `lines` of the array, and behind them nothing. */
static void check_kept(struct log *l, size_t lines) {
    size_t n = lines ? (size_t)l->line[lines - 1].offset + l->line[lines - 1].len : 0;
    log_bytes(l, 1);
    log_check_file(l, log_path(1), l->text.data, n);
}

TEST(trace_repair, a_log_cut_at_any_byte_keeps_every_whole_event) {
    struct log *l = three();
    log_bytes(l, 1);
    size_t whole = l->text.len;
    unsigned char *all = malloc(whole);
    memcpy(all, l->text.data, whole);
    uint64_t salvaged = 0, torn = 0;
    for (size_t n = 0; n <= whole; n++) {
        size_t lines = 0, rest = n;
        while (lines < 3 && rest >= l->line[lines].len)
            rest -= l->line[lines++].len;
        bool salvage = lines < 3 && rest + 1 == l->line[lines].len;
        log_put(l, 1, all, n);
        agt_trace_report r = check(l);
        check_end(l, &r, lines);
        CHECK_INT(r.torn_bytes, rest);
        CHECK_INT(r.salvageable, salvage);
        CHECK_INT(r.damaged_lines, 0);
        r = repair(l);
        CHECK_INT(r.torn_bytes, rest); /* what was found */
        check_end(l, &r, lines + salvage);
        check_kept(l, lines + salvage);
        if (rest && !salvage)
            log_check_file(l, "/trace/000000000001.jsonl.torn", all + n - rest, rest), torn++;
        else
            check_text(l->b.m, "/trace/000000000001.jsonl.torn", NULL);
        machine_remove(l->b.m, "/trace/000000000001.jsonl.torn");
        salvaged += salvage;
    }
    CHECK_INT(salvaged, 3);
    CHECK_INT(torn, whole - 3 - 3);
    free(all);
    free_log(l);
}

/* Whatever byte changes: lines that are whole stay byte for byte, at most what follows the last
 * newline goes (and is kept aside), no event is made up, and the damage is told unless it hit a
 * place that nothing vouches for: the last line. */
static void check_flip(struct log *l, const unsigned char *all, size_t whole, size_t at,
                       unsigned char flip, uint64_t *told) {
    unsigned char *now = malloc(whole);
    memcpy(now, all, whole);
    now[at] ^= flip;
    log_put(l, 1, now, whole);
    size_t kept = whole;
    while (kept && now[kept - 1] != '\n')
        kept--;
    agt_trace_report was = check(l), r = repair(l);
    size_t hit = 0;
    while (at >= l->line[hit].offset + l->line[hit].len)
        hit++;
    bool last_newline = at == whole - 1;
    if (last_newline) { /* no NUL, no newline: the event and a stray byte */
        CHECK_INT(was.lines, 2);
        CHECK_INT(was.torn_bytes, l->line[2].len);
        CHECK_INT(was.salvageable, now[at] == 0);
    } else {
        CHECK_INT(was.torn_bytes, 0);
    }
    if (was.salvageable) {
        check_kept(l, 3);
    } else {
        log_check_file(l, log_path(1), now, kept);
        if (kept < whole)
            log_check_file(l, "/trace/000000000001.jsonl.torn", now + kept, whole - kept);
    }
    CHECK(r.lines <= 3 && r.last_seq <= 3);
    if (hit < 2) {
        CHECK(r.damaged_lines >= 1 && r.lines >= 1);
        CHECK(r.first_bad_offset <= at || r.first_bad_offset == l->line[hit + 1].offset);
        /* one line that is damaged, or one that follows a line no longer the same */
        CHECK(r.damaged_lines <= 2);
        ++*told;
    }
    machine_remove(l->b.m, "/trace/000000000001.jsonl.torn");
    free(now);
}

TEST(trace_repair, a_log_with_any_byte_changed_loses_no_line_and_invents_none) {
    static const unsigned char flips[] = {0x01, 0xff};
    struct log *l = three();
    log_bytes(l, 1);
    size_t whole = l->text.len;
    uint64_t told = 0;
    unsigned char *all = malloc(whole);
    memcpy(all, l->text.data, whole);
    for (size_t at = 0; at < whole; at++) {
        for (size_t f = 0; f < AGT_COUNT(flips); f++)
            check_flip(l, all, whole, at, flips[f], &told);
        check_flip(l, all, whole, at, all[at], &told);                             /* a NUL */
        if (all[at] != '\n') check_flip(l, all, whole, at, all[at] ^ '\n', &told); /* a newline */
    }
    test_saw("flips that were told", told);
    CHECK(told > whole);
    free(all);
    free_log(l);
}

TEST(trace_repair, a_tail_of_nul_bytes_is_cut_without_a_copy) {
    static const size_t nuls[] = {1, 100, 4096, 70000, 300000};
    for (size_t k = 0; k < AGT_COUNT(nuls); k++)
        for (int kind = 0; kind < 3; kind++) {
            struct log *l = three();
            log_bytes(l, 1);
            /* behind a whole line, behind half of one, behind one that lacks its newline */
            size_t n = l->text.len - (kind == 0 ? 0 : kind == 1 ? 50 : 1);
            log_put(l, 1, l->text.data, n);
            CHECK_INT(machine_truncate(l->b.m, log_path(1), n + nuls[k]), 0);
            size_t lines = kind == 0 ? 3 : 2;
            agt_trace_report r = check(l);
            check_end(l, &r, lines);
            CHECK_INT(r.torn_bytes, nuls[k] + n - r.end.offset);
            CHECK_INT(r.salvageable, kind == 2);
            r = repair(l);
            check_end(l, &r, kind == 1 ? 2 : 3);
            check_kept(l, kind == 1 ? 2 : 3);
            size_t kept = 0;
            char *torn = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", &kept);
            CHECK(!torn == (kind != 1));
            log_bytes(l, 1);
            if (torn) {
                CHECK(kept >= l->line[2].len - 50);
                CHECK_BYTES(torn, l->line[2].len - 50, l->line[2].text, l->line[2].len - 50);
            }
            free(torn);
            free_log(l);
        }
}

TEST(trace_repair, a_tail_with_anything_else_in_it_is_torn) {
    struct log *l = three();
    log_bytes(l, 1);
    size_t n = l->text.len - 1, stump = l->line[2].len - 1;
    char tail[200000];
    memset(tail, 0, sizeof tail);
    static const size_t places[] = {0, 1, 100, 65536, 131072, 199999};
    for (size_t p = 0; p < AGT_COUNT(places); p++) {
        tail[places[p]] = ' ';
        log_bytes(l, 1);
        log_put(l, 1, l->text.data, n);
        log_append(l, 1, tail, sizeof tail);
        /* a blank right behind the event is still the event */
        bool salvage = places[p] == 0;
        agt_trace_report r = check(l);
        CHECK_INT(r.salvageable, salvage);
        CHECK_INT(r.torn_bytes, stump + sizeof tail);
        r = repair(l);
        CHECK_INT(r.lines, salvage ? 3 : 2);
        size_t kept = 0;
        char *torn = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", &kept);
        CHECK(!torn == salvage);
        if (torn) CHECK_INT(kept, stump + sizeof tail);
        free(torn);
        machine_remove(l->b.m, "/trace/000000000001.jsonl.torn");
        tail[places[p]] = 0;
    }
    free_log(l);
}

TEST(trace_repair, an_event_of_the_greatest_length_gets_its_newline_and_a_longer_tail_does_not) {
    for (int more = 0; more < 2; more++) {
        struct log *l = three();
        log_add_long(l, AGT_MAX_EVENT);
        log_bytes(l, 1);
        log_put(l, 1, l->text.data, l->text.len - 1);
        if (more) log_append(l, 1, " ", 1);
        agt_trace_report r = repair(l);
        check_end(l, &r, more ? 3 : 4);
        check_kept(l, more ? 3 : 4);
        free_log(l);
    }
}

TEST(trace_repair, a_tail_that_does_not_follow_is_torn_although_it_is_an_event) {
    unsigned char other[32] = {1};
    for (int kind = 0; kind < 3; kind++) {
        struct log *l = three();
        log_save(l);
        if (kind == 0) log_format(l, 4, other, 5);   /* another line stood before it */
        if (kind == 1) log_format(l, 5, l->prev, 5); /* a gap */
        if (kind == 2) log_format(l, 3, l->line[2].len ? other : l->prev, 5); /* again */
        log_append(l, 1, l->text.data, l->text.len - 1);
        agt_trace_report r = check(l);
        CHECK(r.torn_bytes && !r.salvageable);
        r = repair(l);
        check_end(l, &r, 3);
        check_kept(l, 3);
        free_log(l);
    }
}

/* ---- damage in the middle ---- */

/* The log with the bytes [from, to) replaced. */
static void put_spliced(struct log *l, size_t from, size_t to, const void *data, size_t n) {
    log_bytes(l, 1);
    log_put(l, 1, l->text.data, from);
    log_append(l, 1, data, n);
    log_append(l, 1, l->text.data + to, l->text.len - to);
}

static struct log *ten(void) {
    static const machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    for (int i = 0; i < 10; i++)
        log_add(l, 20);
    return l;
}

TEST(trace_repair, what_stands_between_lines_is_damage_and_is_not_touched) {
#define STRANGE(text)                                                                              \
    { text, sizeof text - 1 }
    static const struct {
        const char *bytes;
        size_t n;
    } strange[] = {
        STRANGE("\n"),
        STRANGE("garbage\n"),
        STRANGE("\0\0\0\n"),
        STRANGE("{\"timestamp\":\"x\"}\n"),
        STRANGE("{\"timestamp\":\"2031-02-03T05:07:00Z\",\"actor\":\"user\",\"path\":\"a\"}\n"),
    };
    for (size_t k = 0; k < AGT_COUNT(strange); k++) {
        struct log *l = ten();
        size_t at = (size_t)l->line[4].offset;
        put_spliced(l, at, at, strange[k].bytes, strange[k].n);
        size_t n = 0;
        char *before = machine_get(l->b.m, log_path(1), &n);
        agt_trace_report r = repair(l);
        CHECK_INT(r.lines, 10);
        CHECK_INT(r.last_seq, 10);
        CHECK_INT(r.damaged_lines, 1);
        CHECK_INT(r.first_bad_segment, 1);
        CHECK_INT(r.first_bad_offset, at);
        CHECK_INT(r.torn_bytes, 0);
        CHECK_INT(r.end.offset, n);
        CHECK_BYTES(r.end.prev, 32, l->prev, 32);
        log_check_file(l, log_path(1), before, n);
        free(before);
        free_log(l);
    }
}

TEST(trace_repair, a_line_sealed_into_another_is_found_and_the_line_is_damage) {
    for (size_t cut = 1; cut < 300; cut += 37)
        for (int nul = 0; nul < 2; nul++) {
            struct log *l = ten();
            /* half a line 5, and then a writer that did not look: its own line 5 */
            char stump[300];
            memcpy(stump, l->line[4].text, cut);
            if (nul) memset(stump, 0, cut);
            size_t at = (size_t)l->line[4].offset;
            put_spliced(l, at, at, stump, cut);
            agt_trace_report r = repair(l);
            CHECK_INT(r.lines, 10);
            CHECK_INT(r.last_seq, 10);
            CHECK_INT(r.damaged_lines, 1);
            CHECK_INT(r.first_bad_offset, at);
            CHECK_BYTES(r.end.prev, 32, l->prev, 32);
            free_log(l);
        }
}

TEST(trace_repair, a_line_sealed_behind_much_garbage_is_found) {
    static const size_t lengths[] = {60000, AGT_MAX_EVENT, 140000, 400000};
    for (size_t k = 0; k < AGT_COUNT(lengths); k++) {
        struct log *l = ten();
        char *garbage = malloc(lengths[k]);
        for (size_t i = 0; i < lengths[k]; i++)
            garbage[i] = "{\"timestamp\":\""[i % 14];
        size_t at = (size_t)l->line[9].offset;
        put_spliced(l, at, at, garbage, lengths[k]);
        agt_trace_report r = repair(l);
        CHECK_INT(r.lines, 10);
        CHECK_INT(r.damaged_lines, 1);
        CHECK_INT(r.first_bad_offset, at);
        CHECK_INT(r.end.offset, l->end + lengths[k]);
        CHECK_BYTES(r.end.prev, 32, l->prev, 32);
        free(garbage);
        free_log(l);
    }
}

TEST(trace_repair, a_sealed_line_that_does_not_follow_is_not_believed) {
    unsigned char other[32] = {7};
    struct log *l = ten();
    log_save(l);
    log_append(l, 1, "stump", 5);
    log_format(l, 11, other, 5);
    log_append(l, 1, l->text.data, l->text.len);
    agt_trace_report r = repair(l);
    CHECK_INT(r.lines, 10);
    CHECK_INT(r.last_seq, 10);
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.first_bad_offset, l->end);
    free_log(l);
}

TEST(trace_repair, lines_repeated_left_out_or_swapped_are_told) {
    for (int kind = 0; kind < 4; kind++) {
        struct log *l = ten();
        struct log_line *a = &l->line[4], *b = &l->line[5];
        size_t at = (size_t)a->offset, behind = (size_t)(b->offset + b->len);
        char two[2000];
        memcpy(two, b->text, b->len);
        memcpy(two + b->len, a->text, a->len);
        if (kind == 0) put_spliced(l, at, at, l->line[3].text, l->line[3].len); /* 4 again */
        if (kind == 1) put_spliced(l, at, at + a->len, "", 0);                  /* no 5 */
        if (kind == 2) put_spliced(l, at, behind, two, a->len + b->len);        /* 6, 5 */
        if (kind == 3) {                                                        /* 1 to 10 again */
            log_save(l);
            log_bytes(l, 1);
            log_append(l, 1, l->text.data, l->text.len);
            at = (size_t)l->end;
        }
        agt_trace_report r = check(l);
        static const uint64_t lines[] = {10, 8, 8, 10}, damaged[] = {1, 1, 2, 10};
        CHECK_INT(r.lines, lines[kind]);
        CHECK_INT(r.damaged_lines, damaged[kind]);
        CHECK_INT(r.first_bad_offset, at);
        CHECK_INT(r.last_seq, 10);
        free_log(l);
    }
}

TEST(trace_repair, behind_unreadable_bytes_only_one_line_is_believed_without_its_hash) {
    struct log *l = ten();
    struct log_line *hit = &l->line[2], *gone = &l->line[6];
    log_bytes(l, 1);
    memset(l->text.data + hit->offset, '?', 10); /* 3 is unreadable, 7 is missing */
    log_put(l, 1, l->text.data, (size_t)gone->offset);
    log_append(l, 1, l->text.data + gone->offset + gone->len,
               l->text.len - (size_t)gone->offset - gone->len);
    agt_trace_report r = check(l);
    CHECK_INT(r.damaged_lines, 2); /* 3, and 8 that does not follow 6 */
    CHECK_INT(r.lines, 7);
    CHECK_INT(r.last_seq, 10);
    CHECK_INT(r.first_bad_offset, hit->offset);
    free_log(l);
}

TEST(trace_repair, events_must_begin_with_1_and_with_32_zero_bytes) {
    unsigned char other[32] = {7};
    struct log *l = new_log(NULL);
    log_format(l, 1, other, 5);
    log_put(l, 1, l->text.data, l->text.len);
    agt_trace_report r = check(l);
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.lines, 0);
    free_log(l);
    l = new_log(NULL);
    l->segment = 5;
    for (int i = 0; i < 4; i++)
        log_add(l, 5);
    log_save(l);
    r = check(l);
    CHECK_INT(r.damaged_lines, 1); /* 1 to 4 are missing; the rest chains */
    CHECK_INT(r.lines, 3);
    CHECK_INT(r.last_seq, 8);
    CHECK_INT(r.first_bad_segment, 5);
    CHECK_INT(r.first_bad_offset, 0);
    free_log(l);
}

TEST(trace_repair, the_greatest_seq_has_no_successor) {
    struct log *l = new_log(NULL);
    unsigned char prev[32] = {0};
    log_format(l, UINT64_MAX, prev, 5);
    log_put(l, UINT64_MAX, l->text.data, l->text.len);
    agt__sha256(l->cpu, l->text.data, l->text.len, prev);
    log_format(l, UINT64_MAX, prev, 5);
    log_append(l, UINT64_MAX, l->text.data, l->text.len);
    log_append(l, UINT64_MAX, l->text.data, l->text.len - 1);
    agt_trace_report r = repair(l);
    CHECK_INT(r.damaged_lines, 2);
    CHECK_INT(r.lines, 0);
    free_log(l);
}

/* ---- segments ---- */

static struct log *segments(void) {
    static const machine_settings set = {.unsynced_kept = true};
    struct log *l = new_log(&set);
    for (int i = 0; i < 9; i++) {
        if (i % 3 == 0) log_rotate(l);
        log_add(l, 20);
    }
    log_save(l);
    return l;
}

TEST(trace_repair, the_tail_of_a_segment_that_others_follow_is_damage) {
    struct log *l = segments();
    log_append(l, 4, "tail", 4);
    size_t at = (size_t)(l->line[5].offset + l->line[5].len);
    agt_trace_report r = repair(l);
    CHECK_INT(r.lines, 9);
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.first_bad_segment, 4);
    CHECK_INT(r.first_bad_offset, at);
    CHECK_INT(r.torn_bytes, 0);
    size_t n = 0;
    free(machine_get(l->b.m, log_path(4), &n));
    CHECK_INT(n, at + 4); /* not touched */
    free_log(l);
    /* also where it is the last event but for its newline */
    l = segments();
    machine_truncate(l->b.m, log_path(4), at - 1);
    r = repair(l);
    CHECK_INT(r.lines, 8);
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.last_seq, 9);
    check_text(l->b.m, "/trace/000000000004.jsonl.torn", NULL);
    free_log(l);
}

TEST(trace_repair, a_segment_that_is_missing_or_has_another_name_is_told) {
    struct log *l = segments();
    machine_remove(l->b.m, log_path(4));
    agt_trace_report r = check(l);
    CHECK_INT(r.lines, 5); /* 7 does not chain; 8 and 9 follow it */
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.first_bad_segment, 7);
    CHECK_INT(r.last_seq, 9);
    free_log(l);
    l = segments();
    machine_rename(l->b.m, "/trace/000000000004.jsonl", "/trace/000000000005.jsonl");
    r = check(l);
    CHECK_INT(r.lines, 8);
    CHECK_INT(r.damaged_lines, 1);
    CHECK_INT(r.first_bad_segment, 5);
    CHECK_INT(r.first_bad_offset, 0);
    free_log(l);
}

/* A power cut may keep the name of a segment and lose the end of the one before. */
TEST(trace_repair, segments_without_a_whole_line_belong_to_the_tail) {
    static const struct {
        int cut; /* bytes off the end of segment 4 */
        const char *seven;
        size_t n;
        uint64_t lines, segment;
        bool stays, kept4, kept7;
    } cases[] = {
        {0, "", 0, 6, 7, true, false, false},       /* begun, nothing in it */
        {0, "{\"time", 6, 6, 7, true, false, true}, /* its first line is torn */
        {0, "\0\0\0\0", 4, 6, 7, true, false, false},
        {1, "", 0, 6, 4, false, false, false}, /* the event before only lacks its newline */
        {1, "{\"time", 6, 6, 4, false, false, true},
        {9, "", 0, 5, 4, false, true, false}, /* the one before is torn, too */
        {9, "\0\0", 2, 5, 4, false, true, false},
        {9, "{\"time", 6, 5, 4, false, true, true},
    };
    for (size_t k = 0; k < AGT_COUNT(cases); k++) {
        struct log *l = segments();
        l->count = 6;
        for (int i = 6; i < 9; i++)
            free(l->line[i].text);
        uint64_t end = l->line[5].offset + l->line[5].len;
        machine_truncate(l->b.m, log_path(4), end - (uint64_t)cases[k].cut);
        log_put(l, 7, cases[k].seven, cases[k].n);
        agt_trace_report r = repair(l);
        CHECK_INT(r.lines, cases[k].lines);
        CHECK_INT(r.last_seq, cases[k].lines);
        CHECK_INT(r.damaged_lines, 0);
        CHECK_INT(r.end.segment, cases[k].segment);
        CHECK_INT(r.end.offset, cases[k].segment == 7 ? 0
                                : cases[k].lines == 6 ? end
                                                      : l->line[5].offset);
        check_text(l->b.m, log_path(7), cases[k].stays ? "" : NULL);
        agt_stat st;
        CHECK_INT(machine_stat(l->b.m, "/trace/000000000004.jsonl.torn", &st) == 0, cases[k].kept4);
        CHECK_INT(machine_stat(l->b.m, "/trace/000000000007.jsonl.torn", &st) == 0, cases[k].kept7);
        free_log(l);
    }
}

/* ---- failures ---- */

/* What a trace repaired without trouble is like. */
static char *repaired_tree(struct log *start) {
    struct log *l = new_log_in(machine_clone(start->b.m));
    repair(l);
    char *tree = machine_get(l->b.m, log_path(1), NULL);
    free_log(l);
    return tree;
}

static void sweep(struct log *start, bool torn) {
    char *want = repaired_tree(start);
    size_t had = 0;
    char *before = machine_get(start->b.m, log_path(1), &had);
    FOR_EACH_FAULT(f, FAULT_ALL_CALLS | FAULT_SYNC | FAULT_ALL_MEMORY | FAULT_ALL_CRASHES) {
        struct log *l = new_log_in(machine_clone(start->b.m));
        agt_trace_report r;
        volatile agt_status st = AGT_END;
        fault_arm(&f, l->b.m, &l->memory);
        if (FAULT_TRY(&f)) st = agt__trace_repair(l->b.sys, l->dir, &l->mem, l->cpu, &r, &l->err);
        bool memory = l->memory.failed > 0;
        fault_disarm(&f);
        bool hurts = f.injected && fault_table[f.kind].a != 0 && !fault_died(&f);
        if (memory) CHECK_STATUS(st, AGT_NOMEM, l->err);
        if (st == AGT_IO) CHECK(hurts);
        if (st == AGT_OK) CHECK(!fault_died(&f));
        /* the stump is in its place or kept; the power may go off now */
        if (test_random_below(2)) {
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            machine_power_cut(l->b.m, &cut);
        }
        size_t n = 0, kept = 0;
        char *now = machine_get(l->b.m, log_path(1), &n);
        char *aside = machine_get(l->b.m, "/trace/000000000001.jsonl.torn", &kept);
        CHECK(now && (n >= strlen(want) || n == had));
        if (torn && n < had) CHECK(aside && kept == had - n);
        if (torn && aside && kept) CHECK_BYTES(aside, kept, before + had - kept, kept);
        free(now);
        free(aside);
        struct log *again = another_process(l);
        repair(again);
        check_text(again->b.m, log_path(1), want);
        free_log(again);
    }
    free(before);
    free(want);
}

TEST(trace_repair, a_repair_that_fails_or_dies_anywhere_can_be_repeated) {
    for (int torn = 0; torn < 2; torn++) {
        struct log *l = new_log(NULL);
        for (int i = 0; i < 3; i++)
            log_add(l, 5);
        log_bytes(l, 1);
        log_put(l, 1, l->text.data, l->text.len - (torn ? 40 : 1));
        if (!torn) machine_truncate(l->b.m, log_path(1), l->text.len + 5000);
        machine_sync_all(l->b.m);
        sweep(l, torn);
        free_log(l);
    }
}

TEST(trace_repair, a_check_that_fails_says_so_and_damage_is_no_failure) {
    struct log *l = segments();
    log_append(l, 4, "garbage\n", 8);
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_SHORT | FAULT_ALL_MEMORY) {
        agt_trace_report r;
        fault_arm(&f, l->b.m, &l->memory);
        agt_status st = agt__trace_check(l->b.sys, l->dir, &l->mem, l->cpu, &r, &l->err);
        bool memory = l->memory.failed > 0;
        fault_disarm(&f);
        bool hurts = f.injected && (memory || fault_table[f.kind].a != 0);
        CHECK_STATUS(st, !hurts ? AGT_OK : memory ? AGT_NOMEM : AGT_IO, l->err);
        if (st == AGT_OK) CHECK_INT(r.damaged_lines, 1);
        if (st == AGT_OK) CHECK_INT(r.lines, 9);
        CHECK_INT(l->memory.live_blocks, 0);
    }
    free_log(l);
}
