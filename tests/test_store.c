/* The store as its users see it: writes, refusals, versions, history, several handles. */
#include "../src/data/data.h"
#include "store_kit.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(store, a_written_document_is_on_disk_and_can_be_read_back) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    CHECK_INT(kit_write(s, &kit_agent, "notes/today.md", "one\n"), 1);
    CHECK_INT(kit_write(s, &kit_agent, "notes/today.md", "one\ntwo\n"), 2);
    kit_reads(s, "notes/today.md", "one\ntwo\n");
    kit_disk_has(root, "notes/today.md", "one\ntwo\n");
    kit_version_reads(s, "notes/today.md", 1, "one\n");
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
}

TEST(store, everything_is_there_after_closing_and_opening) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "a.md", "1");
    kit_write(s, &kit_user, "b/c.md", "2");
    kit_close(s);
    s = kit_open(root);
    kit_reads(s, "a.md", "1");
    kit_reads(s, "b/c.md", "2");
    CHECK_INT(kit_write(s, &kit_agent, "a.md", "3"), 2);
    kit_version_reads(s, "a.md", 1, "1");
    kit_close(s);
}

TEST(store, opening_without_create_needs_a_store) {
    agt_error err;
    agt_store *s;
    CHECK_STATUS(agt_open(&s, test_folder(), NULL, &err), AGT_NOT_FOUND, err);
    CHECK(!s);
    CHECK(strstr(err.message, "agent-trace init"));
}

TEST(store, the_same_bytes_again_are_unchanged_and_make_no_event) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    kit_write(s, &kit_agent, "a.md", "same");
    CHECK_OK(agt_write(s, &kit_agent, "./a.md", "same", 4, NULL, &r, &err), err);
    CHECK_INT(r.unchanged, 1);
    CHECK_INT(r.version, 1);
    CHECK_INT(r.seq, 0);
    CHECK_INT(kit_events(s), 1);
    kit_close(s);
}

TEST(store, an_agent_may_not_write_a_reference_document_and_the_refusal_is_kept) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *c;
    o.type = AGT_TYPE_REFERENCE;
    CHECK_OK(agt_write(s, &kit_user, "ref.md", "true", 4, &o, NULL, &err), err);
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "false", 5, NULL, &r, &err), AGT_DENIED, err);
    CHECK(strstr(err.message, "ref.md"));
    CHECK_INT(r.seq, 2);
    kit_disk_has(root, "ref.md", "true");
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "false", 5, NULL, &r, &err), AGT_DENIED, err);
    CHECK_INT(r.seq, 0); /* folded */
    CHECK_STATUS(agt_remove(s, &kit_agent, "ref.md", NULL, &r, &err), AGT_DENIED, err);
    CHECK_INT(r.seq, 3);
    agt_trace_options t = AGT_TRACE_OPTIONS_INIT;
    t.action = "violation";
    CHECK_OK(agt_trace(s, &t, &c, &err), err);
    CHECK_OK(agt_trace_next(c, &e, &err), err);
    CHECK_INT(e.rejected.len, 64);
    char name[128];
    snprintf(name, sizeof name, ".agent-trace/rejected/%.64s", e.rejected.data);
    kit_disk_has(root, name, "false");
    CHECK(e.change_kind.len == 6 && !memcmp(e.change_kind.data, "modify", 6));
    agt_cursor_close(c);
    CHECK_INT(kit_write(s, &kit_user, "ref.md", "still true"), 2);
    kit_close(s);
}

TEST(store, context_documents_ask_the_user_and_take_confirmation) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_caller sure = kit_user;
    CHECK_STATUS(agt_write(s, &kit_user, "context.md", "x", 1, NULL, NULL, &err),
                 AGT_NEEDS_CONFIRMATION, err);
    sure.confirm = 1;
    CHECK_OK(agt_write(s, &sure, "context.md", "x", 1, NULL, NULL, &err), err);
    sure = kit_agent;
    sure.confirm = 1;
    CHECK_STATUS(agt_write(s, &sure, "context.md", "y", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_write(s, &sure, "logs/kestrel-1.md", "y", 1, NULL, NULL, &err), AGT_DENIED,
                 err);
    kit_close(s);
}

TEST(store, a_stale_write_answers_conflict_with_the_current_version) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    kit_write(s, &kit_agent, "a.md", "1");
    kit_write(s, &kit_agent, "a.md", "2");
    o.check_version = 1;
    o.expected_version = 1;
    CHECK_STATUS(agt_write(s, &kit_agent, "a.md", "3", 1, &o, &r, &err), AGT_CONFLICT, err);
    CHECK_INT(r.version, 2);
    kit_reads(s, "a.md", "2");
    o.expected_version = 2;
    CHECK_OK(agt_write(s, &kit_agent, "a.md", "3", 1, &o, &r, &err), err);
    CHECK_INT(r.version, 3);
    o.expected_version = 0;
    CHECK_STATUS(agt_write(s, &kit_agent, "a.md", "4", 1, &o, &r, &err), AGT_CONFLICT, err);
    CHECK_OK(agt_write(s, &kit_agent, "new.md", "4", 1, &o, &r, &err), err);
    kit_close(s);
}

TEST(store, removing_and_restoring_count_versions_and_keep_the_document) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_bytes b;
    struct stat st;
    char id[40];
    kit_write(s, &kit_agent, "d/a.md", "first");
    CHECK_OK(agt_document_get(s, "d/a.md", &d, &err), err);
    memcpy(id, d.id, sizeof id);
    CHECK_STR(d.agent, "kestrel");
    CHECK_OK(agt_remove(s, &kit_agent, "d/a.md", NULL, &r, &err), err);
    CHECK_INT(r.version, 2);
    CHECK(stat(kit_path(root, "d/a.md"), &st) != 0);
    CHECK_STATUS(agt_read(s, "d/a.md", &b, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_remove(s, &kit_agent, "d/a.md", NULL, &r, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_read_version(s, "d/a.md", 2, &b, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_read_version(s, "d/a.md", 3, &b, &err), AGT_NOT_FOUND, err);
    CHECK_OK(agt_restore(s, &kit_agent, "d/a.md", 1, NULL, &r, &err), err);
    CHECK_INT(r.version, 3);
    kit_reads(s, "d/a.md", "first");
    CHECK_OK(agt_document_get(s, "d/a.md", &d, &err), err);
    CHECK_STR(d.id, id);
    CHECK_STATUS(agt_restore(s, &kit_agent, "d/a.md", 2, NULL, &r, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_restore(s, &kit_agent, "nope.md", 1, NULL, &r, &err), AGT_NOT_FOUND, err);
    kit_close(s);
}

TEST(store, a_persons_edit_is_recorded_before_the_write_that_finds_it) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    kit_write(s, &kit_agent, "a.md", "agent\n");
    test_write_file(kit_path(root, "a.md"), "person\n", 7);
    CHECK_OK(agt_write(s, &kit_agent, "a.md", "agent again\n", 12, NULL, &r, &err), err);
    CHECK_INT(r.edit_recorded, 1);
    CHECK_INT(r.version, 3);
    kit_version_reads(s, "a.md", 2, "person\n");
    kit_reads(s, "a.md", "agent again\n");
    /* a file nobody registered is the user's version 1 */
    test_write_file(kit_path(root, "own.md"), "mine\n", 5);
    CHECK_INT(kit_write(s, &kit_agent, "own.md", "theirs\n"), 2);
    kit_version_reads(s, "own.md", 1, "mine\n");
    /* of the type that the document gets */
    agt_write_options plan = AGT_WRITE_OPTIONS_INIT;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options plans = AGT_TRACE_OPTIONS_INIT;
    plan.type = AGT_TYPE_PLAN;
    plans.path = "p.md";
    test_write_file(kit_path(root, "p.md"), "mine\n", 5);
    CHECK_OK(agt_write(s, &kit_agent, "p.md", "theirs\n", 7, &plan, &r, &err), err);
    CHECK_INT(r.version, 2);
    CHECK_OK(agt_trace(s, &plans, &c, &err), err);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(agt_trace_next(c, &e, &err), err);
        CHECK(agt__text_is(e.doc_type, "plan") && agt__text_is(e.actor, "user") == (i == 0));
    }
    agt_cursor_close(c);
    plans.reserved = 1;
    CHECK_STATUS(agt_trace(s, &plans, &c, &err), AGT_INVALID, err);
    /* with an expected version the edit is a conflict */
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.check_version = 1;
    o.expected_version = 2;
    test_write_file(kit_path(root, "own.md"), "mine again\n", 11);
    CHECK_STATUS(agt_write(s, &kit_agent, "own.md", "x", 1, &o, &r, &err), AGT_CONFLICT, err);
    CHECK_INT(r.version, 3);
    kit_disk_has(root, "own.md", "mine again\n");
    /* and a removed file is a deletion */
    unlink(kit_path(root, "a.md"));
    CHECK_INT(kit_write(s, &kit_agent, "a.md", "back\n"), 5);
    kit_close(s);
}

TEST(store, a_batch_is_one_record_and_all_or_nothing) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_change c[3] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    agt_write_result r[3] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
    kit_write(s, &kit_agent, "gone.md", "x");
    c[0].path = "a.md", c[0].bytes = "1", c[0].len = 1;
    c[1].path = "b/b.md", c[1].bytes = "22", c[1].len = 2;
    c[2].path = "gone.md", c[2].kind = AGT_CHANGE_REMOVE;
    CHECK_OK(agt_batch(s, &kit_agent, c, 3, 0, r, &err), err);
    CHECK_INT(r[0].seq, 2);
    CHECK_INT(r[2].seq, 4);
    CHECK_INT(r[2].version, 2);
    kit_reads(s, "b/b.md", "22");
    kit_disk_has(root, "a.md", "1");
    c[0].bytes = "9";
    c[2].path = "nowhere.md";
    CHECK_STATUS(agt_batch(s, &kit_agent, c, 3, 0, r, &err), AGT_NOT_FOUND, err);
    CHECK_INT(err.offset, 2);
    kit_disk_has(root, "a.md", "1");
    CHECK_INT(kit_events(s), 4);
    c[1].path = "./a.md";
    CHECK_STATUS(agt_batch(s, &kit_agent, c, 2, 0, r, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_batch(s, &kit_agent, c, 0, 0, r, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_batch(s, &kit_agent, c, AGT_MAX_BATCH + 1, 0, r, &err), AGT_LIMIT, err);
    kit_publish(s);
    kit_commits(root, "2\n");
    kit_close(s);
}

TEST(store, a_group_gives_each_change_its_own_answer) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_change c[5] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT,
                       AGT_CHANGE_INIT};
    agt_write_result r[5] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT,
                             AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
    for (int i = 0; i < 5; i++)
        c[i].caller = &kit_agent, c[i].bytes = "x", c[i].len = 1;
    c[0].path = "a.md";
    c[1].path = "../out.md";
    c[2].path = "a.md", c[2].bytes = "xy", c[2].len = 2;
    c[3].path = "none.md", c[3].kind = AGT_CHANGE_REMOVE;
    c[4].path = "a.md", c[4].bytes = "xy", c[4].len = 2;
    CHECK_OK(agt_group(s, c, 5, 0, r, &err), err);
    CHECK_INT(r[0].status, AGT_OK);
    CHECK_INT(r[1].status, AGT_INVALID);
    CHECK(r[1].message[0]);
    CHECK_INT(r[2].version, 2);
    CHECK_INT(r[3].status, AGT_NOT_FOUND);
    CHECK_INT(r[4].unchanged, 1);
    kit_disk_has(root, "a.md", "xy");
    kit_version_reads(s, "a.md", 1, "x");
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
}

TEST(store, publication_gives_a_commit_a_record_and_git_agrees) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    char text[64];
    if (!kit_has_git) test_skip("needs git");
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof text, "text %d\n", i);
        kit_write(s, i & 1 ? &kit_agent : &kit_user, i % 3 ? "d/one.md" : "two.md", text);
        if (i % 7 == 0) CHECK_OK(agt_publish(s, &err), err);
    }
    CHECK_OK(agt_checkpoint(s, &err), err);
    for (int i = 40; i < 45; i++) {
        snprintf(text, sizeof text, "text %d\n", i);
        kit_write(s, &kit_agent, "d/one.md", text);
    }
    CHECK_OK(agt_publish(s, &err), err);
    char *out = kit_run("git --git-dir %s/.agent-trace/git fsck --strict --full 2>&1", root);
    CHECK_STR(out, "");
    free(out);
    out = kit_run("git --git-dir %s/.agent-trace/git rev-list --count main", root);
    CHECK_STR(out, "45\n");
    free(out);
    out = kit_run("git --git-dir %s/.agent-trace/git show main:d/one.md", root);
    CHECK_STR(out, "text 44\n");
    free(out);
    out = kit_run("git --git-dir %s/.agent-trace/git log -1 --format='%%an <%%ae>' main~1", root);
    CHECK_STR(out, "Agent: kestrel <agent@agent-trace>\n");
    free(out);
    agt_store_info info = AGT_STORE_INFO_INIT;
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.published_seq, 45);
    CHECK_INT(info.last_seq, 45);
    CHECK_INT(info.documents, 2);
    kit_close(s);
    s = kit_open(root);
    for (uint32_t v = 1; v <= 14; v++) {
        snprintf(text, sizeof text, "text %u\n", (v - 1) * 3);
        kit_version_reads(s, "two.md", v, text);
    }
    kit_close(s);
}

TEST(store, the_journal_is_renewed_when_it_is_half_full) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    size_t len = 300000;
    char *big = malloc(len + 1), path[32];
    (void)o;
    memset(big, 'a', len);
    big[len] = 0;
    for (int i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "big%d.md", i % 4);
        big[i] = 'b';
        kit_write(s, &kit_agent, path, big);
    }
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK(info.generation > 2);
    CHECK(info.journal_bytes < 6u << 20);
    CHECK_INT(kit_events(s), 40);
    for (int i = 40; i-- > 0;) {
        snprintf(path, sizeof path, "big%d.md", i % 4);
        kit_version_reads(s, path, (uint32_t)i / 4 + 1, big);
        big[i] = 'a';
    }
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_commits(root, "40\n");
    free(big);
    kit_close(s);
}

TEST(store, large_documents_go_through_side_files) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    size_t len = 5u << 20;
    char *big = malloc(len);
    agt_bytes b;
    for (size_t i = 0; i < len; i++)
        big[i] = (char)(i * 2654435761u >> 24);
    CHECK_OK(agt_write(s, &kit_agent, "big.bin", big, len, NULL, NULL, &err), err);
    CHECK_OK(agt_read_version(s, "big.bin", 1, &b, &err), err);
    CHECK_BYTES(b.data, b.len, big, len);
    agt_bytes_free(&b);
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_read_version(s, "big.bin", 1, &b, &err), err);
    CHECK_BYTES(b.data, b.len, big, len);
    agt_bytes_free(&b);
    if (kit_has_git) {
        char *out = kit_run("ls %s/.agent-trace/unpublished | wc -l", root);
        CHECK_STR(out, "0\n");
        free(out);
    }
    free(big);
    kit_close(s);
}

TEST(store, two_handles_see_each_others_changes) {
    agt_error err;
    const char *root = test_folder();
    agt_store *a = kit_open(root), *b = kit_open(root);
    CHECK_INT(kit_write(a, &kit_agent, "x.md", "1"), 1);
    kit_reads(b, "x.md", "1");
    CHECK_INT(kit_write(b, &kit_user, "x.md", "2"), 2);
    CHECK_INT(kit_write(a, &kit_agent, "x.md", "3"), 3);
    CHECK_OK(agt_checkpoint(b, &err), err);
    kit_reads(a, "x.md", "3");
    CHECK_INT(kit_write(a, &kit_agent, "x.md", "4"), 4);
    kit_version_reads(b, "x.md", 4, "4");
    CHECK_INT(kit_events(b), 4);
    kit_close(a);
    kit_close(b);
}

static void *hammer(void *arg) {
    agt_store *s = arg;
    agt_error err;
    for (int i = 0; i < 50; i++) {
        char text[40];
        snprintf(text, sizeof text, "%p %d", (void *)&err, i);
        if (agt_write(s, &kit_agent, "shared.md", text, strlen(text), NULL, NULL, &err) != AGT_OK)
            return (void *)"failed";
    }
    return NULL;
}

TEST(store, threads_share_a_handle) {
    agt_store *s = kit_open(test_folder());
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, hammer, s) == 0);
    for (int i = 0; i < 4; i++) {
        void *bad;
        pthread_join(t[i], &bad);
        CHECK(!bad);
    }
    CHECK_INT(kit_events(s), 200);
    kit_close(s);
}

TEST(store, a_childs_use_of_the_parents_handle_is_refused) {
    agt_store *s = kit_open(test_folder());
    kit_write(s, &kit_agent, "a.md", "1");
    pid_t child = fork();
    if (child == 0) {
        agt_error err;
        agt_status st = agt_write(s, &kit_agent, "a.md", "2", 1, NULL, NULL, &err);
        agt_close(s, NULL);
        _exit(st == AGT_INVALID ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    kit_write(s, &kit_agent, "a.md", "3");
    kit_close(s);
}

TEST(store, what_stands_in_the_way_is_refused_with_a_reason) {
    agt_error err;
    const char *root = test_folder(), *outside = test_folder();
    agt_store *s = kit_open(root);
    CHECK(symlink(outside, kit_path(root, "link")) == 0);
    CHECK(symlink(kit_path(outside, "f"), kit_path(root, "file.md")) == 0);
    CHECK(mkdir(kit_path(root, "folder"), 0777) == 0);
    CHECK(mkfifo(kit_path(root, "fifo"), 0666) == 0);
    const char *bad[] = {"link/a.md",     "file.md", "folder",   "fifo",
                         "file.md/x",     "/abs.md", "../up.md", ".agent-trace/config.toml",
                         "a/.git/config", "bad\n.md"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_STATUS(agt_write(s, &kit_agent, bad[i], "x", 1, NULL, NULL, &err), AGT_INVALID, err);
        CHECK(err.message[0]);
    }
    kit_write(s, &kit_agent, "Name.md", "x");
    CHECK_STATUS(agt_write(s, &kit_agent, "name.md", "x", 1, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_write(s, &kit_agent, "Name.md/x", "x", 1, NULL, NULL, &err), AGT_INVALID, err);
    kit_write(s, &kit_agent, "dir/x.md", "x");
    CHECK_STATUS(agt_write(s, &kit_agent, "dir", "x", 1, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
}

TEST(store, callers_and_options_that_are_none_are_refused) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    const char *bad[] = {"", "root", "agent:", "agent:a/b", "agent:a\nb", "agent:<x>", "User"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        agt_caller c = AGT_CALLER(bad[i]);
        CHECK_STATUS(agt_write(s, &c, "a.md", "x", 1, NULL, NULL, &err), AGT_INVALID, err);
    }
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.type = 9;
    CHECK_STATUS(agt_write(s, &kit_user, "a.md", "x", 1, &o, NULL, &err), AGT_INVALID, err);
    o.type = 0;
    o.summary = "two\nlines";
    CHECK_STATUS(agt_write(s, &kit_user, "a.md", "x", 1, &o, NULL, &err), AGT_INVALID, err);
    CHECK_INT(kit_events(s), 0);
    kit_close(s);
}

TEST(store, the_authors_time_is_kept_and_order_is_the_calls) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *c;
    o.has_time = 1;
    o.at_unix_ms = 1000000000123;
    CHECK_OK(agt_write(s, &kit_user, "a.md", "x", 1, &o, NULL, &err), err);
    o.at_unix_ms = -1;
    CHECK_STATUS(agt_write(s, &kit_user, "a.md", "y", 1, &o, NULL, &err), AGT_INVALID, err);
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    CHECK_OK(agt_trace_next(c, &e, &err), err);
    CHECK_INT(e.at_unix_ms, 1000000000123);
    CHECK(e.recorded_unix_ms > e.at_unix_ms);
    agt_cursor_close(c);
    kit_close(s);
}

TEST(store, a_hosts_own_events_are_in_the_trace) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    uint64_t seq;
    CHECK_OK(agt_event_append(s, &kit_agent, "plan.step", "did it", NULL, 0, &seq, &err), err);
    CHECK_INT(seq, 1);
    kit_write(s, &kit_agent, "a.md", "x");
    CHECK_STATUS(agt_event_append(s, &kit_agent, "create", "no", NULL, 0, &seq, &err), AGT_INVALID,
                 err);
    kit_publish(s);
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
}

TEST(store, lists_are_in_byte_order_and_tell_what_was_edited) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    const char *paths[] = {"b.md", "a/z.md", "a.md", "a/b/c.md"};
    const char *sorted[] = {"a.md", "a/b/c.md", "a/z.md", "b.md"};
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    for (int i = 0; i < 4; i++)
        kit_write(s, &kit_agent, paths[i], paths[i]);
    test_write_file(kit_path(root, "a/z.md"), "edit", 4);
    CHECK_OK(agt_checkpoint(s, &err), err);
    o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(agt_list_next(c, &d, &err), err);
        CHECK_STR(d.path, sorted[i]);
        CHECK_INT(d.modified_outside, i == 2);
    }
    CHECK_STATUS(agt_list_next(c, &d, &err), AGT_END, err);
    agt_cursor_close(c);
    o.under = "a";
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    CHECK_OK(agt_list_next(c, &d, &err), err);
    CHECK_STR(d.path, "a/b/c.md");
    agt_event e = AGT_EVENT_INIT;
    CHECK_STATUS(agt_trace_next(c, &e, &err), AGT_INVALID, err);
    agt_cursor_close(c);
    kit_close(s);
}

TEST(store, diff_shows_what_changed) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_bytes b;
    kit_write(s, &kit_agent, "a.md", "one\ntwo\n");
    kit_write(s, &kit_agent, "a.md", "one\n2\n");
    if (!kit_has_git) {
        CHECK_STATUS(agt_diff(s, "a.md", 1, 2, &b, &err), AGT_UNSUPPORTED, err);
        kit_close(s);
        return;
    }
    CHECK_OK(agt_diff(s, "a.md", 1, 2, &b, &err), err);
    CHECK(strstr((char *)b.data, "-two\n+2\n"));
    agt_bytes_free(&b);
    CHECK_OK(agt_diff(s, "a.md", 0, 0, &b, &err), err);
    CHECK_INT(b.len, 0);
    agt_bytes_free(&b);
    test_write_file(kit_path(root, "a.md"), "one\n2\n3\n", 8);
    CHECK_OK(agt_diff(s, "a.md", 0, 0, &b, &err), err);
    CHECK(strstr((char *)b.data, "+3\n"));
    agt_bytes_free(&b);
    CHECK_STATUS(agt_diff(s, "none.md", 0, 0, &b, &err), AGT_NOT_FOUND, err);
    kit_close(s);
}

TEST(store, a_read_only_handle_reads_and_refuses_to_write) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root), *r;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    kit_write(s, &kit_agent, "a.md", "1");
    o.read_only = 1;
    CHECK_OK(agt_open(&r, root, &o, &err), err);
    kit_reads(r, "a.md", "1");
    CHECK_STATUS(agt_write(r, &kit_user, "a.md", "2", 1, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_publish(r, &err), AGT_INVALID, err);
    kit_write(s, &kit_agent, "a.md", "3");
    kit_reads(r, "a.md", "3");
    kit_version_reads(r, "a.md", 1, "1");
    kit_close(r);
    kit_close(s);
}

TEST(store, a_trace_that_was_cut_short_is_damage_and_gets_no_hole) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    const char *segment = ".agent-trace/trace/000000000001.jsonl";
    kit_write(s, &kit_agent, "a.md", "1");
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_write(s, &kit_agent, "a.md", "2");
    kit_close(s);
    CHECK(truncate(kit_path(root, segment), 100) == 0);
    CHECK(unlink(kit_path(root, ".agent-trace/state")) == 0);
    CHECK_STATUS(agt_open(&s, root, NULL, &err), AGT_CORRUPT, err);
    CHECK_INT(err.offset, 100);
    CHECK(strstr(err.message, "000000000001.jsonl"));
    size_t n;
    free(test_read_file(kit_path(root, segment), &n));
    CHECK_INT(n, 100);
}
