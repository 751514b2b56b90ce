/* Batches: all or nothing, whatever they hold, and what their results say. */
#include "oracle.h"
#include "store_kit.h"

static const char *const root = "/home";

typedef struct batch {
    machine *m;
    agt_store *s;
    agt_change c[AGT_MAX_BATCH];
    agt_write_result r[AGT_MAX_BATCH];
    agt_error err;
    size_t count;
} batch;

static batch *batch_new(void) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    batch *b = calloc(1, sizeof *b);
    b->m = machine_new(&set);
    machine_make_folder(b->m, root);
    b->s = oracle_open(machine_process_new(b->m, "writer"), root, NULL, AGT_OK);
    return b;
}

static void batch_end(batch *b) {
    CHECK_OK(agt_close(b->s, &b->err), b->err);
    machine_free(b->m);
    free(b);
}

static agt_change *batch_put(batch *b, const char *path, const void *bytes, size_t len) {
    agt_change *c = &b->c[b->count];
    *c = (agt_change)AGT_CHANGE_INIT;
    b->r[b->count] = (agt_write_result)AGT_WRITE_RESULT_INIT;
    b->count++;
    c->path = path;
    c->bytes = bytes;
    c->len = len;
    return c;
}

static agt_status batch_run(batch *b) {
    agt_status st = agt_batch(b->s, &kit_agent, b->c, b->count, 0, b->r, &b->err);
    b->count = 0;
    return st;
}

static uint64_t batch_events(const batch *b) {
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    CHECK_OK(agt_store_get_info(b->s, &info, &err), err);
    return info.last_seq;
}

TEST(batch, documents_that_cannot_stand_together_are_refused) {
    static const char *const pair[][2] = {{"z/y", "z"}, {"x", "x/y"}, {"Case.md", "case.md"}};
    batch *b = batch_new();
    for (size_t i = 0; i < AGT_COUNT(pair); i++) {
        batch_put(b, pair[i][0], "1", 1);
        batch_put(b, pair[i][1], "2", 1);
        CHECK_STATUS(batch_run(b), AGT_INVALID, b->err);
        CHECK_INT(b->err.offset, 1);
        CHECK(strstr(b->err.message, "in one batch"));
    }
    CHECK_INT(batch_events(b), 0);
    batch_put(b, "z/y", "1", 1); /* names that only begin alike may */
    batch_put(b, "z.md", "2", 1);
    batch_put(b, "zz/y", "3", 1);
    CHECK_OK(batch_run(b), b->err);
    batch_end(b);
}

TEST(batch, a_folder_of_a_person_is_never_taken_for_the_document) {
    batch *b = batch_new();
    agt_bytes got;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    kit_write(b->s, &kit_agent, "a", "file");
    CHECK_INT(machine_remove(b->m, "/home/a"), 0);
    machine_make_folder(b->m, "/home/a");
    machine_put_text(b->m, "/home/a/mine.md", "a person's");
    CHECK_STATUS(agt_write(b->s, &kit_agent, "a", "again", 5, NULL, &r, &b->err), AGT_INVALID,
                 b->err);
    CHECK_STATUS(agt_remove(b->s, &kit_user, "a", NULL, &r, &b->err), AGT_NOT_FOUND, b->err);
    CHECK_INT(r.edit_recorded, 1);
    kit_write(b->s, &kit_agent, "a/b.md", "beside it");
    CHECK_OK(agt_read(b->s, "a/b.md", &got, NULL, &b->err), b->err);
    agt_bytes_free(&got);
    machine_remove(b->m, "/home/.agent-trace/state"); /* recovery lives with it, too */
    CHECK_OK(agt_close(b->s, &b->err), b->err);
    b->s = oracle_open(machine_process_new(b->m, "next"), root, NULL, AGT_OK);
    CHECK_OK(agt_checkpoint(b->s, &b->err), b->err);
    char *mine = machine_get(b->m, "/home/a/mine.md", NULL);
    CHECK_STR(mine, "a person's");
    free(mine);
    batch_end(b);
}

/* Whoever reads, finds a conflict and reads again must come to an end. */
TEST(batch, a_conflict_with_a_persons_edit_is_recorded_and_the_next_try_goes_through) {
    batch *b = batch_new();
    agt_document d = AGT_DOCUMENT_INIT;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_bytes got;
    kit_write(b->s, &kit_agent, "a.md", "one");
    machine_put_text(b->m, "/home/a.md", "edited by hand");
    o.check_version = 1;
    o.expected_version = 1;
    batch_put(b, "new.md", "n", 1);
    batch_put(b, "a.md", "mine", 4)->options = &o;
    CHECK_STATUS(batch_run(b), AGT_CONFLICT, b->err);
    CHECK_INT(b->r[1].edit_recorded, 1);
    CHECK_INT(b->r[1].version, 2);
    CHECK_INT(b->r[1].seq, 0);
    CHECK_INT(b->r[0].version, 0);
    CHECK_INT(batch_events(b), 2);
    CHECK_STATUS(agt_document_get(b->s, "new.md", &d, &b->err), AGT_NOT_FOUND, b->err);
    CHECK_OK(agt_read(b->s, "a.md", &got, &d, &b->err), b->err);
    CHECK_STR((const char *)got.data, "edited by hand");
    CHECK_INT(d.version, 2);
    CHECK_INT(d.modified_outside, 0);
    agt_bytes_free(&got);
    o.expected_version = d.version;
    batch_put(b, "a.md", "mine", 4)->options = &o;
    CHECK_OK(batch_run(b), b->err);
    CHECK_INT(b->r[0].version, 3);
    batch_end(b);
}

TEST(batch, a_failed_batch_says_that_nothing_happened) {
    batch *b = batch_new();
    kit_write(b->s, &kit_agent, "a.md", "one");
    machine_put_text(b->m, "/home/e.md", "found");
    CHECK_INT(machine_symlink(b->m, "elsewhere", "/home/link.md"), 0);
    batch_put(b, "a.md", "two", 3);
    batch_put(b, "e.md", "three", 5);
    batch_put(b, "link.md", "four", 4);
    CHECK_STATUS(batch_run(b), AGT_INVALID, b->err);
    CHECK_INT(b->err.offset, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(b->r[i].seq, 0);
        CHECK_INT(b->r[i].edit_recorded, 0);
        CHECK_INT(b->r[i].version, i == 0);
    }
    CHECK_INT(batch_events(b), 1);
    batch_end(b);
}

static void batch_fill(batch *b, size_t count, char (*path)[48], const agt_write_options *o) {
    for (size_t i = 0; i < count; i++) {
        snprintf(path[i], sizeof path[i], "d%zu/%zu.md", i % 7, i);
        batch_put(b, path[i], path[i], strlen(path[i]))->options = o;
    }
}

TEST(batch, the_largest_one_goes_through_whatever_the_journal_holds) {
    static char path[AGT_MAX_BATCH][48], summary[AGT_MAX_SUMMARY + 1];
    static char big[900 * 1024];
    batch *b = batch_new();
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 4; i++) { /* nearly half full: no reason to empty it yet */
        big[0] = (char)('a' + i);
        CHECK_OK(agt_write(b->s, &kit_agent, "big.md", big, sizeof big, NULL, NULL, &b->err),
                 b->err);
    }
    memset(summary, 's', 3000);
    o.summary = summary;
    batch_fill(b, AGT_MAX_BATCH, path, &o);
    b->c[0].bytes = big, b->c[0].len = sizeof big;
    b->c[1].bytes = big, b->c[1].len = sizeof big - 1;
    CHECK_OK(batch_run(b), b->err);
    CHECK_INT(batch_events(b), 4 + AGT_MAX_BATCH);
    CHECK_INT(b->r[AGT_MAX_BATCH - 1].seq, 4 + AGT_MAX_BATCH);
    memset(summary, '"', AGT_MAX_SUMMARY); /* twice as long in the line */
    batch_fill(b, AGT_MAX_BATCH, path, &o);
    for (size_t i = 0; i < b->count; i++)
        b->c[i].len--;
    CHECK_STATUS(batch_run(b), AGT_LIMIT, b->err);
    CHECK(strstr(b->err.message, "shorter summaries"));
    CHECK_INT(batch_events(b), 4 + AGT_MAX_BATCH);
    batch_end(b);
}

TEST(batch, the_edits_it_finds_may_be_many_and_large) {
    static char path[100][48];
    static char text[100 * 1024];
    batch *b = batch_new();
    batch_fill(b, 100, path, NULL);
    CHECK_OK(batch_run(b), b->err);
    for (int i = 0; i < 100; i++) {
        char full[64];
        snprintf(full, sizeof full, "/home/%s", path[i]);
        memset(text, 'a' + i % 26, sizeof text);
        CHECK_INT(machine_put(b->m, full, text, sizeof text), 0);
    }
    batch_fill(b, 100, path, NULL);
    for (int i = 0; i < 100; i++)
        b->c[i].len--;
    CHECK_OK(batch_run(b), b->err);
    for (int i = 0; i < 100; i++) {
        agt_bytes got;
        CHECK_INT(b->r[i].edit_recorded, 1);
        CHECK_INT(b->r[i].version, 3);
        CHECK_OK(agt_read_version(b->s, path[i], 2, &got, &b->err), b->err);
        CHECK_INT(got.len, sizeof text);
        CHECK_INT(got.data[9], 'a' + i % 26);
        agt_bytes_free(&got);
    }
    batch_end(b);
}

TEST(batch, results_that_no_initialiser_made_are_refused) {
    batch *b = batch_new();
    batch_put(b, "a.md", "1", 1);
    b->r[0].size = 5;
    CHECK_STATUS(batch_run(b), AGT_INVALID, b->err);
    CHECK(strstr(b->err.message, "AGT_WRITE_RESULT_INIT"));
    batch_end(b);
}

/* More than one record's room: it is committed in parts, and each change is applied once. */
TEST(batch, a_group_of_several_parts_applies_every_change_once) {
    static char path[60][48];
    static char text[60][100 * 1024];
    batch *b = batch_new();
    agt_store_info info = AGT_STORE_INFO_INIT;
    for (int round = 0; round < 2; round++) {
        batch_fill(b, 60, path, NULL);
        for (size_t i = 0; i < 60; i++) {
            memset(text[i], 'a' + (int)i % 26 + round, sizeof text[i]);
            b->c[i].bytes = text[i];
            b->c[i].len = sizeof text[i];
            b->c[i].caller = &kit_agent;
        }
        CHECK_OK(agt_group(b->s, b->c, 60, 0, b->r, &b->err), b->err);
        for (uint32_t i = 0; i < 60; i++) {
            CHECK_INT(b->r[i].status, AGT_OK);
            CHECK_INT(b->r[i].apply_pending, 0);
            CHECK_INT(b->r[i].edit_kept_aside, 0);
            CHECK_INT(b->r[i].version, round + 1);
        }
        b->count = 0;
    }
    CHECK_OK(agt_store_get_info(b->s, &info, &b->err), b->err);
    CHECK_INT(info.apply_pending, 0);
    CHECK_INT(info.last_seq, 120);
    batch_end(b);
}
