/* AGENT-TRACE.md: it says what there is, after each change, whoever made it; nothing that a name
 * has in it is more than a name; and what people wrote into it is not lost. */
#include "../src/work/work.h"
#include "store_kit.h"

#include <unistd.h>

static uint32_t refresh(agt_store *s, int make) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    CHECK_OK(agt_index_refresh(s, make, &r, &err), err);
    return r.unchanged ? 0 : r.version;
}

static char *index_text(const char *root) {
    size_t n;
    return (char *)test_read_file(kit_path(root, AGT_WORK_INDEX), &n);
}

static bool says(const char *root, const char *text) {
    char *index = index_text(root);
    bool found = strstr(index, text) != NULL;
    free(index);
    return found;
}

/* Each document that agt_list has is a row, and there are no others. */
static size_t check_agrees(agt_store *s, const char *root) {
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    char row[AGT_MAX_PATH + 16], total[40];
    char *index = index_text(root);
    size_t rows = 0, documents = 0;
    CHECK_OK(agt_list(s, NULL, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK) {
        if (strcmp(d.path, AGT_WORK_INDEX) == 0) continue;
        documents++;
        snprintf(row, sizeof row, "\n- `%s`\n", d.path);
        if (!strstr(index, row))
            test_fail(__FILE__, __LINE__, "no row for %s in\n%s", d.path, index);
    }
    agt_cursor_close(c);
    for (const char *p = index; (p = strstr(p, "\n- `")) != NULL; p++) /* but of the advice */
        rows += strncmp(p, "\n- `agent-trace", 15) != 0;
    CHECK_INT(rows, documents);
    snprintf(total, sizeof total, "(%zu total)", documents);
    CHECK(strstr(index, total));
    free(index);
    return documents;
}

TEST(index, it_agrees_with_the_list_after_every_change) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_options plan = AGT_WRITE_OPTIONS_INIT;
    plan.type = AGT_TYPE_PLAN;
    CHECK_INT(refresh(s, 0), 0); /* the store has none */
    CHECK_INT(access(kit_path(root, AGT_WORK_INDEX), F_OK), -1);
    CHECK_INT(refresh(s, 1), 1);
    CHECK_INT(check_agrees(s, root), 0);
    kit_write(s, &kit_agent, "a.md", "x\n");
    CHECK_INT(refresh(s, 0), 2);
    CHECK_INT(check_agrees(s, root), 1);
    CHECK_OK(agt_write(s, &kit_user, "docs/p.md", "p", 1, &plan, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 3);
    CHECK(says(root, "### Plans\n\n- `docs/p.md`\n\n### Scratch\n\n- `a.md`\n"));
    CHECK(says(root,
               "- total: 2\n- plan: 1\n- context: 0\n- reference: 0\n- log: 0\n- scratch: 1\n"));
    CHECK_OK(agt_reclassify(s, &kit_user, "a.md", AGT_TYPE_REFERENCE, NULL, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 4);
    CHECK(says(root, "### Reference\n\n- `a.md`\n"));
    CHECK_OK(agt_rename(s, &kit_user, "docs/p.md", "q.md", NULL, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 5);
    CHECK_INT(check_agrees(s, root), 2);
    CHECK_OK(agt_remove(s, &kit_user, "q.md", NULL, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 6);
    CHECK_OK(agt_restore(s, &kit_user, "q.md", 1, NULL, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 7);
    CHECK_OK(agt_untrack(s, &kit_user, "q.md", NULL, NULL, &err), err);
    CHECK_INT(refresh(s, 0), 8);
    CHECK_INT(check_agrees(s, root), 1);
    kit_close(s);
}

TEST(index, a_write_of_a_document_that_is_there_does_not_touch_it) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "1\n");
    CHECK_INT(refresh(s, 1), 1);
    CHECK_INT(refresh(s, 0), 0);
    uint64_t events = kit_events(s);
    kit_write(s, &kit_user, "a.md", "2\n");
    CHECK_INT(refresh(s, 0), 0);
    CHECK_INT(kit_events(s), events + 1);
    CHECK_INT(refresh(s, 1), 0); /* looked at, and the same */
    kit_close(s);
    s = kit_open(root); /* what was before is no change of this handle's */
    CHECK_INT(unlink(kit_path(root, AGT_WORK_INDEX)), 0);
    CHECK_INT(refresh(s, 0), 0);
    CHECK_INT(access(kit_path(root, AGT_WORK_INDEX), F_OK), -1);
    kit_write(s, &kit_user, "b.md", "1\n");
    CHECK_INT(refresh(s, 0), 0); /* who deletes it does not want it */
    CHECK_INT(access(kit_path(root, AGT_WORK_INDEX), F_OK), -1);
    CHECK_INT(refresh(s, 1), 3);
    CHECK_INT(check_agrees(s, root), 2);
    kit_close(s);
}

TEST(index, a_users_own_file_of_that_name_and_later_edits_are_in_its_history) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_document d = AGT_DOCUMENT_INIT;
    test_write_file(kit_path(root, AGT_WORK_INDEX), "mine\n", 5);
    CHECK_INT(refresh(s, 1), 2);
    kit_version_reads(s, AGT_WORK_INDEX, 1, "mine\n");
    CHECK(says(root, "Made by agent-trace"));
    test_write_file(kit_path(root, AGT_WORK_INDEX), "mine again\n", 11);
    kit_write(s, &kit_user, "a.md", "1\n");
    CHECK_INT(refresh(s, 0), 4);
    kit_version_reads(s, AGT_WORK_INDEX, 3, "mine again\n");
    CHECK_INT(check_agrees(s, root), 1);
    CHECK_STATUS(agt_write(s, &kit_agent, AGT_WORK_INDEX, "x", 1, NULL, NULL, &err), AGT_DENIED,
                 err);
    CHECK_OK(agt_remove(s, &(agt_caller)AGT_CALLER("system"), AGT_WORK_INDEX, NULL, NULL, &err),
             err);
    kit_write(s, &kit_user, "b.md", "1\n");
    CHECK_INT(refresh(s, 0), 0); /* a store that has none gets none */
    CHECK(refresh(s, 1) > 4);
    CHECK_OK(agt_document_get(s, AGT_WORK_INDEX, &d, &err), err);
    CHECK(d.exists);
    kit_close(s);
}

static bool differs(agt_store *s) {
    agt_error err;
    bool yes;
    CHECK_OK(agt__index_differs(s, &yes, &err), err);
    return yes;
}

TEST(index, one_that_a_switch_of_branches_took_away_and_brought_back_is_refreshed_again) {
    const char *root = test_folder();
    char *old;
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "1\n");
    CHECK_INT(refresh(s, 1), 1);
    old = index_text(root);
    CHECK_INT(unlink(kit_path(root, AGT_WORK_INDEX)), 0);
    kit_write(s, &kit_user, "b.md", "1\n");
    CHECK_INT(refresh(s, 0), 0); /* its end was found and recorded */
    CHECK(differs(s));
    test_write_file(kit_path(root, AGT_WORK_INDEX), old, strlen(old));
    CHECK(differs(s));
    kit_write(s, &kit_user, "c.md", "1\n");
    CHECK(refresh(s, 0) > 2);
    CHECK_INT(check_agrees(s, root), 3);
    CHECK(!differs(s));
    CHECK_INT(unlink(kit_path(root, AGT_WORK_INDEX)), 0);
    kit_write(s, &kit_user, "d.md", "1\n");
    CHECK_INT(refresh(s, 0), 0);
    test_write_file(kit_path(root, AGT_WORK_INDEX), "mine\n", 5); /* no file of ours */
    kit_write(s, &kit_user, "e.md", "1\n");
    CHECK_INT(refresh(s, 0), 0);
    CHECK(says(root, "mine"));
    free(old);
    kit_close(s);
}

TEST(index, one_that_was_deleted_on_purpose_is_missed_by_nobody) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    CHECK(!differs(s)); /* a store that never had one */
    CHECK_INT(refresh(s, 1), 1);
    CHECK_OK(agt_remove(s, &(agt_caller)AGT_CALLER("system"), AGT_WORK_INDEX, NULL, NULL, &err),
             err);
    CHECK(!differs(s));
    kit_close(s);
}

TEST(index, what_is_in_its_place_or_a_handle_that_only_reads_is_told) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    CHECK_INT(symlink("a.md", kit_path(root, AGT_WORK_INDEX)), 0);
    CHECK_STATUS(agt_index_refresh(s, 1, NULL, &err), AGT_INVALID, err);
    kit_close(s);
    o.read_only = 1;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    CHECK_STATUS(agt_index_refresh(s, 0, NULL, &err), AGT_INVALID, err);
    CHECK(strstr(err.message, "read-only"));
    kit_close(s);
}

/* ---- names ---- */

static const struct {
    const char *path, *shown;
} named[] = {
    {"a.md", "`a.md`"},
    {"a b/c-d_e.md", "`a b/c-d_e.md`"},
    {"`x`.md", "`` `x`.md ``"},
    {"a``b`.md", "``` a``b`.md ```"},
    {"]](x) **b** # <!-- -->.md", "`]](x) **b** # <!-- -->.md`"},
    {"\xe6\x97\xa5\xe6\x9c\xac.md", "`\xe6\x97\xa5\xe6\x9c\xac.md`"},
    {"a\xe2\x80\xae"
     "b.md",
     "`a<U+202E>b.md`"},
    {"a\xe2\x80\xa8"
     "b.md",
     "`a<U+2028>b.md`"},
    {"a\xe2\x80\x8b"
     "b.md",
     "`a<U+200B>b.md`"},
    {"a\xf3\xa0\x81\x81.md", "`a<U+E0041>.md`"},
    {"a\x01\n.md", "`a<U+0001><U+000A>.md`"},
    {"a\xff.md", "`a<U+FFFD>.md`"},
};

TEST(index, a_name_is_shown_as_code_and_can_be_nothing_else) {
    agt_mem mem = agt__mem(NULL);
    agt_buf b = agt__buf(&mem);
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        b.len = 0;
        agt__index_path(&b, named[i].path, strlen(named[i].path));
        CHECK_BYTES(b.data, b.len, named[i].shown, strlen(named[i].shown));
    }
    agt__buf_free(&b);
    test_saw("names", sizeof named / sizeof named[0]);
}

/* ---- many ---- */

TEST(index, many_documents_are_counted_and_the_text_stays_short) {
    enum { MANY = AGT_WORK_ROWS + 100 };
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    static char paths[MANY][16];
    agt_change *all = calloc(MANY, sizeof *all);
    for (int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof paths[i], "%04d.md", i);
        all[i] = (agt_change)AGT_CHANGE_INIT;
        all[i].path = paths[i];
        all[i].bytes = paths[i];
        all[i].len = 4;
    }
    CHECK_OK(agt_batch(s, &kit_user, all, MANY, 0, NULL, &err), err);
    free(all);
    refresh(s, 1);
    CHECK(says(root, "(600 total)") && says(root, "- scratch: 600\n"));
    CHECK(says(root, "- `0499.md`\n- and 100 more: `agent-trace ls --type scratch`\n"));
    CHECK(!says(root, "0500.md"));
    kit_close(s);
}

/* Of two processes the later view wins, whatever they do between one another's steps. */
TEST(index, two_handles_that_change_and_refresh_in_turns_end_with_what_there_is) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s[2] = {kit_open(root), kit_open(root)};
    char path[16];
    size_t seen = 0;
    refresh(s[0], 1);
    for (int round = 0; round < 60; round++) {
        int who = (int)test_random_below(2);
        snprintf(path, sizeof path, "d%d.md", (int)test_random_below(12));
        if (test_random_below(3))
            kit_write(s[who], &kit_user, path, "x\n");
        else if (agt_remove(s[who], &kit_user, path, NULL, NULL, &err) != AGT_OK)
            CHECK_INT(err.status, AGT_NOT_FOUND);
        refresh(s[who], 0);
        if (round % 4 == 0) seen += check_agrees(s[who], root);
    }
    refresh(s[0], 0);
    refresh(s[1], 0);
    check_agrees(s[0], root);
    check_agrees(s[1], root);
    test_saw("rows", seen);
    CHECK(seen > 15);
    kit_close(s[0]);
    kit_close(s[1]);
}
