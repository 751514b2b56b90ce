/* What changes no bytes: adding, renaming, untracking, another type, grants; and the one decision
 * behind all of it. */
#include "../src/base/base.h"
#include "store_kit.h"

#include <sys/stat.h>
#include <unistd.h>

static const agt_caller kit_system = AGT_CALLER("system");
static const agt_caller kit_other = AGT_CALLER("agent:osprey");

static void manage_put(const char *root, const char *path, const char *text) {
    test_write_file(kit_path(root, path), text, strlen(text));
}

static agt_document manage_document(agt_store *s, const char *path) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    CHECK_OK(agt_document_get(s, path, &d, &err), err);
    return d;
}

static void manage_type(agt_store *s, const char *path, agt_type type) {
    CHECK_INT(manage_document(s, path).type, type);
}

static void manage_new(agt_store *s, const char *path, agt_type type, const char *text) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    o.type = type;
    CHECK_OK(agt_write(s, &yes, path, text, strlen(text), &o, NULL, &err), err);
}

/* The documents there are, by name. */
static void manage_lists(agt_store *s, const char *want) {
    agt_error err;
    agt_cursor *c;
    char got[4000] = "";
    agt_document d = AGT_DOCUMENT_INIT;
    CHECK_OK(agt_list(s, NULL, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK)
        strcat(strcat(got, d.path), " ");
    agt_cursor_close(c);
    CHECK_STR(got, want);
}

/* The newest event, copied. */
typedef struct manage_last {
    uint64_t seq, doc_prev;
    uint32_t version;
    int64_t until;
    char action[80], kind[80], path[80], from[80], grant[80], type[20], summary[200];
} manage_last;

static void manage_text(char *out, size_t size, agt_text t) {
    snprintf(out, size, "%.*s", (int)t.len, t.data ? t.data : "");
}

static manage_last manage_event(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    manage_last last;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    o.newest_first = 1;
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    CHECK_OK(agt_trace_next(c, &e, &err), err);
    last.seq = e.seq;
    last.doc_prev = e.doc_prev;
    last.version = e.version;
    last.until = e.until_unix_ms;
    manage_text(last.action, sizeof last.action, e.action);
    manage_text(last.kind, sizeof last.kind, e.change_kind);
    manage_text(last.path, sizeof last.path, e.path);
    manage_text(last.from, sizeof last.from, e.from);
    manage_text(last.grant, sizeof last.grant, e.grant);
    manage_text(last.type, sizeof last.type, e.doc_type);
    manage_text(last.summary, sizeof last.summary, e.summary);
    agt_cursor_close(c);
    return last;
}

/* Runs `check` on the store as it is, after opening it again, and after a checkpoint: what it says
 * must not hang on how it is known. */
static agt_store *manage_thrice(agt_store *s, const char *root, void (*check)(agt_store *)) {
    agt_error err;
    check(s);
    kit_close(s);
    s = kit_open(root);
    check(s);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_close(s);
    s = kit_open(root);
    check(s);
    return s;
}

/* ---- rename ---- */

static void manage_renamed(agt_store *s) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    CHECK_STATUS(agt_document_get(s, "a.md", &d, &err), AGT_NOT_FOUND, err);
    d = manage_document(s, "b/c.md");
    CHECK_INT(d.version, 3);
    CHECK_INT(d.type, AGT_TYPE_PLAN);
    CHECK_STR(d.agent, "kestrel");
    kit_reads(s, "b/c.md", "two\n");
    manage_lists(s, "b/c.md ");
    if (!kit_has_git) return;
    kit_version_reads(s, "b/c.md", 1, "one\n");
    kit_version_reads(s, "b/c.md", 3, "two\n");
}

TEST(manage, a_rename_keeps_id_type_and_versions) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.type = AGT_TYPE_PLAN;
    CHECK_OK(agt_write(s, &kit_agent, "a.md", "one\n", 4, &o, NULL, &err), err);
    kit_write(s, &kit_agent, "a.md", "two\n");
    CHECK_INT(chmod(kit_path(root, "a.md"), 0640), 0);
    char id[40];
    memcpy(id, manage_document(s, "a.md").id, sizeof id);
    CHECK_OK(agt_rename(s, &kit_agent, "a.md", "./b/c.md", NULL, &r, &err), err);
    CHECK_INT(r.version, 3);
    CHECK_INT(r.seq, 3);
    CHECK_STR(manage_document(s, "b/c.md").id, id);
    manage_last e = manage_event(s);
    CHECK_STR(e.action, "rename");
    CHECK_STR(e.from, "a.md");
    CHECK_STR(e.path, "b/c.md");
    CHECK_STR(e.summary, "a.md -> b/c.md");
    CHECK_INT(e.doc_prev, 2);
    CHECK(access(kit_path(root, "a.md"), F_OK) != 0);
    struct stat st;
    CHECK_INT(stat(kit_path(root, "b/c.md"), &st), 0);
    CHECK_INT(st.st_mode & 0777, 0640);
    s = manage_thrice(s, root, manage_renamed);
    CHECK_STR(manage_document(s, "b/c.md").id, id);
    /* the old path is free: what is written there is another document */
    CHECK_INT(kit_write(s, &kit_other, "a.md", "new\n"), 1);
    CHECK(strcmp(manage_document(s, "a.md").id, id) != 0);
    CHECK_STR(manage_document(s, "a.md").agent, "osprey");
    kit_close(s);
}

TEST(manage, a_rename_overwrites_nothing) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "a");
    kit_write(s, &kit_user, "b.md", "b");
    kit_write(s, &kit_user, "dir/c.md", "c");
    manage_put(root, "file.md", "a person's");
    static const struct {
        const char *from, *to;
        agt_status st;
    } no[] = {
        {"a.md", "b.md", AGT_CONFLICT},     {"a.md", "file.md", AGT_CONFLICT},
        {"a.md", "a.md", AGT_INVALID},      {"a.md", "./a.md", AGT_INVALID},
        {"a.md", "B.md", AGT_INVALID},      {"a.md", "dir", AGT_INVALID},
        {"a.md", "b.md/x", AGT_INVALID},    {"a.md", "a.md/x", AGT_INVALID},
        {"a.md", "../x.md", AGT_INVALID},   {"a.md", ".agent-trace/x", AGT_INVALID},
        {"none.md", "x.md", AGT_NOT_FOUND}, {"file.md", "x.md", AGT_NOT_FOUND},
        {"a.md", "x/.git/y", AGT_INVALID},  {"dir", "x.md", AGT_NOT_FOUND},
    };
    for (size_t i = 0; i < AGT_COUNT(no); i++) {
        agt_status st = agt_rename(s, &kit_user, no[i].from, no[i].to, NULL, NULL, &err);
        if (st != no[i].st)
            test_fail(__FILE__, __LINE__, "%s to %s is %s: %s", no[i].from, no[i].to,
                      agt_status_name(st), err.message);
    }
    kit_disk_has(root, "file.md", "a person's");
    kit_reads(s, "a.md", "a");
    CHECK_INT(kit_events(s), 3);
    kit_close(s);
}

TEST(manage, a_rename_that_changes_case_alone) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "Notes/Plan.md", "text");
    CHECK_OK(agt_rename(s, &kit_user, "Notes/Plan.md", "notes/plan.md", NULL, NULL, &err), err);
    kit_disk_has(root, "notes/plan.md", "text");
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_INT(kit_write(s, &kit_user, "notes/plan.md", "more"), 3);
    kit_close(s);
}

TEST(manage, an_edit_is_recorded_before_a_rename) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "one");
    manage_put(root, "a.md", "edited");
    CHECK_OK(agt_rename(s, &kit_agent, "a.md", "b.md", NULL, &r, &err), err);
    CHECK_INT(r.edit_recorded, 1);
    CHECK_INT(r.version, 3);
    kit_disk_has(root, "b.md", "edited");
    CHECK_INT(kit_events(s), 3);
    kit_close(s);
}

TEST(manage, a_rename_over_a_deleted_document) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    kit_write(s, &kit_user, "a.md", "a");
    kit_write(s, &kit_user, "b.md", "b");
    CHECK_OK(agt_remove(s, &kit_user, "b.md", NULL, NULL, &err), err);
    CHECK_OK(agt_rename(s, &kit_user, "a.md", "b.md", NULL, NULL, &err), err);
    CHECK_INT(manage_document(s, "b.md").version, 2);
    kit_reads(s, "b.md", "a");
    CHECK_OK(agt_rename(s, &kit_user, "b.md", "a.md", NULL, NULL, &err), err);
    CHECK_INT(manage_document(s, "a.md").version, 3);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_reads(s, "a.md", "a");
    if (kit_has_git) kit_version_reads(s, "a.md", 2, "a");
    kit_close(s);
}

/* Neither in its place, nor beside it in another case, nor where it needs a folder or was one, may
 * somebody put a document who could not write the one that was deleted or untracked there. */
TEST(manage, a_deleted_or_untracked_document_keeps_its_place) {
    static const char *const squats[] = {"Ref.md", "REF.md/x.md", "ref.md/x.md", "r",          "R",
                                         "R/S.md", "gone/T.MD",   "GONE",        "gone/t.md/y"};
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    int denied = 0;
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "rules");
    manage_new(s, "R/s.md", AGT_TYPE_REFERENCE, "rules");
    manage_new(s, "gone/t.md", AGT_TYPE_REFERENCE, "rules");
    manage_new(s, "note.md", AGT_TYPE_SCRATCH, "note");
    manage_new(s, "old.md", AGT_TYPE_SCRATCH, "old");
    CHECK_OK(agt_remove(s, &kit_user, "ref.md", NULL, NULL, &err), err);
    CHECK_OK(agt_remove(s, &kit_user, "R/s.md", NULL, NULL, &err), err);
    CHECK_OK(agt_untrack(s, &kit_user, "gone/t.md", NULL, NULL, &err), err);
    CHECK_OK(agt_remove(s, &kit_user, "old.md", NULL, NULL, &err), err);
    CHECK_INT(remove(kit_path(root, "gone/t.md")), 0);
    for (int round = 0; round < 2; round++) { /* from the journal, and from the snapshot */
        CHECK_STATUS(agt_rename(s, &kit_agent, "note.md", "ref.md", NULL, NULL, &err), AGT_DENIED,
                     err);
        CHECK(strstr(err.message, "the place of a deleted or untracked document"));
        for (size_t i = 0; i < AGT_COUNT(squats); i++) {
            const char *to = squats[i];
            CHECK_STATUS(agt_rename(s, &kit_agent, "note.md", to, NULL, NULL, &err), AGT_DENIED,
                         err);
            CHECK_STATUS(agt_write(s, &kit_agent, to, "x", 1, NULL, NULL, &err), AGT_DENIED, err);
            CHECK_STATUS(agt_may(s, &kit_agent, AGT_ACTION_WRITE, to, AGT_TYPE_SCRATCH, &err),
                         AGT_DENIED, err);
            agt_change c = AGT_CHANGE_INIT;
            c.path = to;
            c.bytes = "x";
            c.len = 1;
            CHECK_STATUS(agt_batch(s, &kit_agent, &c, 1, AGT_DURABLE_PROCESS, NULL, &err),
                         AGT_DENIED, err);
            denied++;
        }
        CHECK_OK(agt_checkpoint(s, &err), err);
    }
    CHECK_INT(denied, 2 * AGT_COUNT(squats));
    kit_write(s, &kit_agent, "R/other.md", "beside it"); /* what takes nobody's place */
    kit_write(s, &kit_agent, "ref.md.txt", "beside it");
    CHECK_OK(agt_rename(s, &kit_agent, "note.md", "old.md", NULL, NULL, &err), err);
    kit_write(s, &kit_user, "Ref.md", "the user may");
    CHECK_OK(agt_rename(s, &kit_user, "old.md", "gone/t.md", NULL, NULL, &err), err);
    kit_close(s);
}

TEST(manage, git_has_a_renamed_document_at_its_new_path_only) {
    if (!kit_has_git) test_skip("built without git");
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "old/a.md", "a");
    CHECK_OK(agt_rename(s, &kit_user, "old/a.md", "new/b.md", NULL, NULL, &err), err);
    CHECK_OK(agt_publish(s, &err), err);
    char *out = kit_run("git --git-dir='%s/.agent-trace/git' ls-tree -r --name-only main", root);
    CHECK_STR(out, "new/b.md\n");
    free(out);
    kit_close(s);
}

/* ---- untrack and add ---- */

static void manage_untracked(agt_store *s) {
    agt_error err;
    agt_document d = manage_document(s, "a.md");
    CHECK_INT(d.exists, 0);
    CHECK_INT(d.version, 2);
    CHECK_INT(d.modified_outside, 0);
    CHECK_INT(d.type, AGT_TYPE_REFERENCE);
    manage_lists(s, "");
    CHECK_STATUS(agt_write(s, &kit_agent, "a.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
}

TEST(manage, an_untracked_file_stays_and_so_does_its_type) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "a.md", AGT_TYPE_REFERENCE, "theirs");
    CHECK_STATUS(agt_untrack(s, &kit_agent, "a.md", NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STR(manage_event(s).kind, "untrack");
    CHECK_OK(agt_untrack(s, &kit_user, "a.md", NULL, &r, &err), err);
    CHECK_INT(r.version, 2);
    CHECK_STR(manage_event(s).action, "untrack");
    CHECK_STATUS(agt_untrack(s, &kit_user, "a.md", NULL, NULL, &err), AGT_NOT_FOUND, err);
    s = manage_thrice(s, root, manage_untracked);
    kit_disk_has(root, "a.md", "theirs");
    if (kit_has_git) kit_version_reads(s, "a.md", 1, "theirs");
    /* added again it goes on where it was, with the type it had or another */
    CHECK_STATUS(agt_add(s, &kit_agent, "a.md", AGT_TYPE_SCRATCH, NULL, NULL, &err), AGT_DENIED,
                 err);
    CHECK_OK(agt_add(s, &kit_user, "a.md", AGT_TYPE_PLAN, NULL, &r, &err), err);
    CHECK_INT(r.version, 3);
    manage_type(s, "a.md", AGT_TYPE_PLAN);
    kit_reads(s, "a.md", "theirs");
    kit_close(s);
}

TEST(manage, an_added_file_is_the_callers_and_is_not_touched) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    struct stat before, after;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_put(root, "notes.md", "lines\nof text\n");
    CHECK_INT(stat(kit_path(root, "notes.md"), &before), 0);
    CHECK_OK(agt_add(s, &kit_agent, "notes.md", AGT_TYPE_PLAN, NULL, &r, &err), err);
    CHECK_INT(r.version, 1);
    CHECK_INT(r.edit_recorded, 0);
    CHECK_INT(stat(kit_path(root, "notes.md"), &after), 0);
    CHECK_INT(after.st_ino, before.st_ino);
    CHECK_STR(manage_event(s).action, "create");
    CHECK_STR(manage_event(s).summary, "notes.md: +2 -0");
    CHECK_STR(manage_document(s, "notes.md").agent, "kestrel");
    CHECK_STATUS(agt_add(s, &kit_user, "notes.md", AGT_TYPE_PLAN, NULL, NULL, &err), AGT_CONFLICT,
                 err);
    CHECK_STATUS(agt_add(s, &kit_user, "none.md", AGT_TYPE_PLAN, NULL, NULL, &err), AGT_NOT_FOUND,
                 err);
    CHECK_STATUS(agt_add(s, &kit_user, ".", AGT_TYPE_PLAN, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_add(s, &kit_user, "x", (agt_type)6, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_INT(kit_events(s), 1);
    kit_close(s);
}

TEST(manage, nobody_adds_what_he_may_not_write) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_put(root, "api.md", "theirs");
    manage_put(root, "context.md", "generated");
    CHECK_STATUS(agt_add(s, &kit_agent, "api.md", AGT_TYPE_REFERENCE, NULL, NULL, &err), AGT_DENIED,
                 err);
    CHECK_STATUS(agt_add(s, &kit_agent, "context.md", AGT_TYPE_DEFAULT, NULL, NULL, &err),
                 AGT_DENIED, err);
    CHECK_STATUS(agt_add(s, &kit_user, "context.md", AGT_TYPE_SCRATCH, NULL, NULL, &err),
                 AGT_INVALID, err);
    CHECK_OK(agt_add(s, &kit_system, "context.md", AGT_TYPE_CONTEXT, NULL, NULL, &err), err);
    CHECK_INT(kit_events(s), 3);
    kit_close(s);
}

TEST(manage, files_are_added_in_one_batch) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_options plan = AGT_WRITE_OPTIONS_INIT;
    plan.type = AGT_TYPE_PLAN;
    agt_change c[3] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    agt_write_result r[3] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
    static const char *const names[] = {"a.md", "b.md", "c.md"};
    for (size_t i = 0; i < 3; i++) {
        manage_put(root, names[i], names[i]);
        c[i].kind = AGT_CHANGE_ADD;
        c[i].path = names[i];
    }
    c[1].options = &plan;
    CHECK_OK(agt_batch(s, &kit_user, c, 3, 0, r, &err), err);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(r[i].version, 1);
        kit_reads(s, names[i], names[i]);
    }
    manage_type(s, "b.md", AGT_TYPE_PLAN);
    CHECK_OK(agt_checkpoint(s, &err), err);
    for (size_t i = 0; kit_has_git && i < 3; i++)
        kit_version_reads(s, names[i], 1, names[i]);
    c[0].kind = 3;
    CHECK_STATUS(agt_batch(s, &kit_user, c, 3, 0, r, &err), AGT_INVALID, err);
    kit_close(s);
}

/* ---- reclassify ---- */

static void manage_is_reference(agt_store *s) {
    agt_error err;
    manage_type(s, "a.md", AGT_TYPE_REFERENCE);
    CHECK_INT(manage_document(s, "a.md").version, 1);
    CHECK_STATUS(agt_write(s, &kit_agent, "a.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
}

TEST(manage, another_type_is_another_protection) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "a.md", AGT_TYPE_PLAN, "text");
    CHECK_STATUS(agt_reclassify(s, &kit_agent, "a.md", AGT_TYPE_REFERENCE, NULL, NULL, &err),
                 AGT_DENIED, err);
    CHECK_OK(agt_reclassify(s, &kit_agent, "a.md", AGT_TYPE_SCRATCH, NULL, NULL, &err), err);
    CHECK_OK(agt_reclassify(s, &kit_user, "a.md", AGT_TYPE_REFERENCE, NULL, &r, &err), err);
    CHECK_INT(r.version, 1);
    CHECK_STR(manage_event(s).summary, "a.md: scratch -> reference");
    CHECK_STR(manage_event(s).type, "reference");
    CHECK_INT(manage_event(s).version, 0);
    CHECK_OK(agt_reclassify(s, &kit_user, "a.md", AGT_TYPE_REFERENCE, NULL, &r, &err), err);
    CHECK_INT(r.unchanged, 1);
    CHECK_STATUS(agt_reclassify(s, &kit_agent, "a.md", AGT_TYPE_SCRATCH, NULL, NULL, &err),
                 AGT_DENIED, err);
    CHECK_STATUS(agt_reclassify(s, &kit_user, "a.md", AGT_TYPE_LOG, NULL, NULL, &err),
                 AGT_NEEDS_CONFIRMATION, err);
    s = manage_thrice(s, root, manage_is_reference);
    CHECK_STATUS(agt_reclassify(s, &kit_user, "none.md", AGT_TYPE_PLAN, NULL, NULL, &err),
                 AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_reclassify(s, &kit_user, "a.md", AGT_TYPE_DEFAULT, NULL, NULL, &err),
                 AGT_INVALID, err);
    kit_close(s);
}

TEST(manage, a_generated_document_has_the_type_of_its_path) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    manage_new(s, "context.md", AGT_TYPE_DEFAULT, "text");
    agt_caller yes = kit_user;
    yes.confirm = 1;
    CHECK_STATUS(agt_reclassify(s, &yes, "context.md", AGT_TYPE_SCRATCH, NULL, NULL, &err),
                 AGT_INVALID, err);
    CHECK(strstr(err.message, "by its path"));
    kit_write(s, &kit_agent, "mine.md", "x");
    CHECK_STATUS(agt_rename(s, &kit_agent, "mine.md", "running_summary.md", NULL, NULL, &err),
                 AGT_DENIED, err);
    kit_close(s);
}

/* ---- grants ---- */

typedef struct manage_clock {
    agt_sys sys;
    int64_t ahead_ms;
} manage_clock;

static int64_t manage_now(void *ctx) {
    manage_clock *c = ctx;
    return agt_sys_os()->now_unix_ms(NULL) + c->ahead_ms;
}

static agt_store *manage_open_clock(const char *root, manage_clock *c) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    c->sys = *agt_sys_os();
    c->sys.ctx = c;
    c->sys.now_unix_ms = manage_now;
    o.create = 1;
    o.sys = &c->sys;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    return s;
}

static void manage_granted(agt_store *s) {
    agt_error err;
    size_t n;
    agt_grant g[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    CHECK_OK(agt_grants(s, "api.md", g, &n, &err), err);
    CHECK_INT(n, 1);
    CHECK_STR(g[0].actor, "agent:kestrel");
    CHECK_INT(g[0].until_unix_ms - g[0].from_unix_ms, 600000);
    CHECK_OK(agt_grants(s, NULL, g, &n, &err), err);
    CHECK_INT(n, 1);
    CHECK_OK(agt_may(s, &kit_agent, AGT_ACTION_WRITE, "api.md", 0, &err), err);
    CHECK_STATUS(agt_may(s, &kit_other, AGT_ACTION_WRITE, "api.md", 0, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_may(s, &kit_agent, AGT_ACTION_WRITE, "ref.md", 0, &err), AGT_DENIED, err);
}

TEST(manage, a_grant_is_one_actors_for_one_document_and_a_time) {
    agt_error err;
    manage_clock clock = {.ahead_ms = 0};
    const char *root = test_folder();
    agt_store *s = manage_open_clock(root, &clock);
    manage_new(s, "api.md", AGT_TYPE_REFERENCE, "one");
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    CHECK_OK(agt_unlock(s, &kit_user, "api.md", "agent:kestrel", 600000, NULL, NULL, &err), err);
    manage_last e = manage_event(s);
    CHECK_STR(e.action, "unlock");
    CHECK_STR(e.grant, "agent:kestrel");
    CHECK(e.until > 0);
    s = manage_thrice(s, root, manage_granted);
    kit_close(s);
    s = manage_open_clock(root, &clock);
    kit_write(s, &kit_agent, "api.md", "two");
    CHECK_STATUS(agt_write(s, &kit_other, "api.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    /* what would outlast it is not in it */
    CHECK_STATUS(agt_rename(s, &kit_agent, "api.md", "x.md", NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_untrack(s, &kit_agent, "api.md", NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_reclassify(s, &kit_agent, "api.md", AGT_TYPE_SCRATCH, NULL, NULL, &err),
                 AGT_DENIED, err);
    CHECK_STATUS(agt_unlock(s, &kit_agent, "ref.md", "agent", 1000, NULL, NULL, &err), AGT_DENIED,
                 err);
    CHECK(strstr(err.message, "only the user"));
    /* it is the document's: it follows a rename, and is not the path's */
    CHECK_OK(agt_rename(s, &kit_user, "api.md", "v2.md", NULL, NULL, &err), err);
    kit_write(s, &kit_agent, "v2.md", "three");
    manage_new(s, "api.md", AGT_TYPE_REFERENCE, "another");
    CHECK_STATUS(agt_write(s, &kit_agent, "api.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_remove(s, &kit_agent, "v2.md", NULL, NULL, &err), AGT_DENIED, err);
    /* what the user deletes or untracks meanwhile it does not bring back */
    CHECK_OK(agt_remove(s, &kit_user, "v2.md", NULL, NULL, &err), err);
    CHECK_STATUS(agt_write(s, &kit_agent, "v2.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_restore(s, &kit_agent, "v2.md", 1, NULL, NULL, &err), AGT_DENIED, err);
    kit_write(s, &kit_user, "v2.md", "four");
    CHECK_OK(agt_untrack(s, &kit_user, "v2.md", NULL, NULL, &err), err);
    CHECK_STATUS(agt_write(s, &kit_agent, "v2.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_add(s, &kit_agent, "v2.md", 0, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_OK(agt_add(s, &kit_user, "v2.md", 0, NULL, NULL, &err), err);
    kit_write(s, &kit_agent, "v2.md", "five");
    clock.ahead_ms = 601000; /* it has ended */
    CHECK_STATUS(agt_write(s, &kit_agent, "v2.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    clock.ahead_ms = -3600000; /* a clock that was set back makes it no longer */
    CHECK_STATUS(agt_write(s, &kit_agent, "v2.md", "y", 1, NULL, NULL, &err), AGT_DENIED, err);
    kit_close(s);
}

/* Refusals of one action on one path are one event only if they were to have the same effect. */
TEST(manage, refusals_that_aim_at_something_else_are_told_apart) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_store *s = kit_open(test_folder());
    uint64_t seen[4] = {0};
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    for (int i = 0; i < 8; i++) {
        agt_status st = i % 4 == 0   ? agt_rename(s, &kit_agent, "ref.md", "a.md", NULL, &r, &err)
                        : i % 4 == 1 ? agt_rename(s, &kit_agent, "ref.md", "b.md", NULL, &r, &err)
                        : i % 4 == 2
                            ? agt_unlock(s, &kit_agent, "ref.md", "agent:a", 1000, NULL, &r, &err)
                            : agt_unlock(s, &kit_agent, "ref.md", "agent:b", 1000, NULL, &r, &err);
        CHECK_STATUS(st, AGT_DENIED, err);
        if (i < 4) seen[i] = r.seq;
        CHECK_INT(r.seq, i < 4 ? i + 2 : 0);
    }
    CHECK(seen[3] == 5);
    manage_last e = manage_event(s);
    CHECK(strstr(e.summary, "attempted unlock on ref.md: for agent:b: only the user"));
    kit_close(s);
}

/* Nobody's file goes because it was named: a file that is no document is not deleted. */
TEST(manage, a_file_that_is_no_document_is_not_deleted) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "was.md", "old");
    CHECK_OK(agt_remove(s, &kit_user, "was.md", NULL, NULL, &err), err);
    test_write_file(kit_path(root, ".env"), "KEY=secret", sizeof "KEY=secret" - 1);
    test_write_file(kit_path(root, "was.md"), "new", sizeof "new" - 1);
    CHECK_STATUS(agt_remove(s, &kit_user, ".env", NULL, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_remove(s, &kit_agent, "was.md", NULL, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_untrack(s, &kit_user, ".env", NULL, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_INT(kit_events(s), 2);
    kit_disk_has(root, ".env", "KEY=secret");
    kit_disk_has(root, "was.md", "new");
    kit_close(s);
}

TEST(manage, a_grant_can_be_ended_and_is_for_those_it_names) {
    agt_error err;
    size_t n;
    agt_grant g[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    agt_store *s = kit_open(test_folder());
    manage_new(s, "plan.md", AGT_TYPE_PLAN, "one");
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    CHECK_OK(agt_unlock(s, &kit_user, "plan.md", "system", 60000, NULL, NULL, &err), err);
    CHECK_OK(agt_unlock(s, &kit_user, "ref.md", "agent", 60000, NULL, NULL, &err), err);
    kit_write(s, &kit_system, "plan.md", "two");
    kit_write(s, &kit_agent, "ref.md", "two");
    kit_write(s, &kit_other, "ref.md", "three");
    CHECK_STATUS(agt_write(s, &kit_system, "ref.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_OK(agt_revoke(s, &kit_user, "ref.md", "agent", NULL, NULL, &err), err);
    CHECK_STR(manage_event(s).action, "revoke");
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    CHECK_STATUS(agt_revoke(s, &kit_user, "ref.md", "agent", NULL, NULL, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_revoke(s, &kit_agent, "plan.md", "system", NULL, NULL, &err), AGT_DENIED, err);
    CHECK_OK(agt_grants(s, NULL, g, &n, &err), err);
    CHECK_INT(n, 1);
    static const char *const nobody[] = {"", "kestrel", "agent:", "agent:a/b", "root", "agent: x"};
    for (size_t i = 0; i < AGT_COUNT(nobody); i++)
        CHECK_STATUS(agt_unlock(s, &kit_user, "ref.md", nobody[i], 1000, NULL, NULL, &err),
                     AGT_INVALID, err);
    CHECK_STATUS(agt_unlock(s, &kit_user, "ref.md", "agent", 0, NULL, NULL, &err), AGT_INVALID,
                 err);
    CHECK_STATUS(
        agt_unlock(s, &kit_user, "ref.md", "agent", AGT_MAX_GRANT_MS + 1, NULL, NULL, &err),
        AGT_INVALID, err);
    CHECK_STATUS(agt_unlock(s, &kit_user, "none.md", "agent", 1000, NULL, NULL, &err),
                 AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_grants(s, "none.md", g, &n, &err), AGT_NOT_FOUND, err);
    kit_close(s);
}

TEST(manage, there_is_a_limit_to_grants) {
    agt_error err;
    size_t n;
    agt_grant g[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    char name[40];
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    for (int i = 0; i <= AGT_MAX_GRANTS; i++) {
        snprintf(name, sizeof name, "agent:a%d", i);
        agt_status st = agt_unlock(s, &kit_user, "ref.md", name, 3600000, NULL, NULL, &err);
        CHECK_INT(st, i < AGT_MAX_GRANTS ? AGT_OK : AGT_LIMIT);
    }
    CHECK_OK(agt_unlock(s, &kit_user, "ref.md", "agent:a7", 7200000, NULL, NULL, &err), err);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_close(s);
    s = kit_open(root);
    CHECK_OK(agt_grants(s, "ref.md", g, &n, &err), err);
    CHECK_INT(n, AGT_MAX_GRANTS);
    CHECK_OK(agt_revoke(s, &kit_user, "ref.md", "agent:a9", NULL, NULL, &err), err);
    CHECK_OK(agt_unlock(s, &kit_user, "ref.md", "agent:new", 1000, NULL, NULL, &err), err);
    kit_close(s);
}

/* ---- the decision ---- */

TEST(manage, every_actor_type_and_action_has_one_answer) {
    enum { Y = AGT_OK, N = AGT_DENIED, C = AGT_NEEDS_CONFIRMATION };
    static const char *const actor[] = {"user", "agent:kestrel", "system"};
    /* writes: by type; grants are the user's, as his writes are */
    static const int writes[5][3] = {{Y, Y, N}, {C, N, Y}, {C, N, Y}, {Y, N, N}, {Y, Y, Y}};
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    char path[40];
    unsigned seen = 0;
    for (int type = 1; type <= 5; type++) {
        snprintf(path, sizeof path, "t%d.md", type);
        manage_new(s, path, (agt_type)type, "text");
        for (int who = 0; who < 3; who++)
            for (int action = 0; action <= AGT_ACTION_REVOKE; action++, seen++) {
                bool grants = action >= AGT_ACTION_UNLOCK;
                int want = grants && who != 0 ? N : writes[type - 1][who];
                agt_caller caller = AGT_CALLER(actor[who]);
                CHECK_INT(agt_permission(actor[who], (agt_action)action, (agt_type)type, path),
                          want);
                if (action == AGT_ACTION_RECLASSIFY) continue; /* below */
                CHECK_INT(agt_may(s, &caller, (agt_action)action, path, 0, &err), want);
                caller.confirm = 1;
                CHECK_INT(agt_may(s, &caller, (agt_action)action, path, 0, &err),
                          want == C ? Y : want);
            }
    }
    for (int from = 1; from <= 5; from++)
        for (int to = 1; to <= 5; to++)
            for (int who = 0; who < 3; who++, seen++) {
                int a = writes[from - 1][who], b = writes[to - 1][who];
                int want = a == N || b == N ? N : a == C || b == C ? C : Y;
                agt_caller caller = AGT_CALLER(actor[who]);
                snprintf(path, sizeof path, "t%d.md", from);
                CHECK_INT(agt_may(s, &caller, AGT_ACTION_RECLASSIFY, path, (agt_type)to, &err),
                          want);
            }
    CHECK_INT(seen, 5 * 3 * 9 + 5 * 5 * 3);
    CHECK_INT(agt_permission("user", (agt_action)9, AGT_TYPE_PLAN, NULL), AGT_DENIED);
    CHECK_STATUS(agt_may(s, &kit_user, (agt_action)9, "t1.md", 0, &err), AGT_INVALID, err);
    kit_close(s);
}

TEST(manage, every_refusal_is_an_event_once) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    static const char *const kinds[] = {"modify",  "delete",     "restore", "rename",
                                        "untrack", "reclassify", "unlock",  "revoke"};
    for (int again = 0; again < 2; again++)
        for (size_t i = 0; i < AGT_COUNT(kinds); i++) {
            agt_status st = AGT_OK;
            switch (i) {
            case 0: st = agt_write(s, &kit_agent, "ref.md", "x", 1, NULL, &r, &err); break;
            case 1: st = agt_remove(s, &kit_agent, "ref.md", NULL, &r, &err); break;
            case 2:
                st = kit_has_git ? agt_restore(s, &kit_agent, "ref.md", 1, NULL, &r, &err)
                                 : agt_write(s, &kit_agent, "ref.md", "y", 1, NULL, &r, &err);
                break;
            case 3: st = agt_rename(s, &kit_agent, "ref.md", "x.md", NULL, &r, &err); break;
            case 4: st = agt_untrack(s, &kit_agent, "ref.md", NULL, &r, &err); break;
            case 5:
                st = agt_reclassify(s, &kit_agent, "ref.md", AGT_TYPE_PLAN, NULL, &r, &err);
                break;
            case 6: st = agt_unlock(s, &kit_agent, "ref.md", "agent", 1000, NULL, &r, &err); break;
            default: st = agt_revoke(s, &kit_agent, "ref.md", "agent", NULL, &r, &err); break;
            }
            CHECK_STATUS(st, AGT_DENIED, err);
            CHECK_INT(r.seq, again ? 0 : i + 2);
            if (again) continue;
            CHECK_STR(manage_event(s).action, "violation");
            if (kit_has_git || i != 2) CHECK_STR(manage_event(s).kind, kinds[i]);
        }
    CHECK_INT(kit_events(s), 1 + AGT_COUNT(kinds));
    kit_reads(s, "ref.md", "one");
    kit_close(s);
}

/* ---- refused bytes ---- */

TEST(manage, refused_bytes_can_be_read) {
    agt_error err;
    agt_bytes b;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "refused\n", 8, NULL, &r, &err), AGT_DENIED,
                 err);
    CHECK_OK(agt_read_refused(s, r.seq, &b, &err), err);
    CHECK_STR((const char *)b.data, "refused\n");
    agt_bytes_free(&b);
    CHECK_STATUS(agt_read_refused(s, 1, &b, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_read_refused(s, 99, &b, &err), AGT_NOT_FOUND, err);
    if (kit_has_git) {
        CHECK_OK(agt_diff_bytes(s, "ref.md", "one\n", 4, "two\n", 4, &b, &err), err);
        CHECK(strstr((const char *)b.data, "-one\n+two\n"));
        agt_bytes_free(&b);
        CHECK_OK(agt_diff_bytes(s, "ref.md", "one\n", 4, "one\n", 4, &b, &err), err);
        CHECK_INT(b.len, 0);
        agt_bytes_free(&b);
    } else
        CHECK_STATUS(agt_diff_bytes(s, "ref.md", "1", 1, "2", 1, &b, &err), AGT_UNSUPPORTED, err);
    free(kit_run("rm '%s'/.agent-trace/rejected/*", root));
    CHECK_OK(agt_read_refused(s, r.seq, &b, &err), err); /* the record has them still */
    CHECK_STR((const char *)b.data, "refused\n");
    agt_bytes_free(&b);
    CHECK_OK(agt_gc(s, NULL, NULL, &err), err);
    if (kit_has_git) {
        CHECK_STATUS(agt_read_refused(s, r.seq, &b, &err), AGT_NOT_FOUND, err);
        CHECK(strstr(err.message, "not kept"));
    }
    kit_close(s);
}

TEST(manage, refused_bytes_have_a_cap_and_the_oldest_go) {
    agt_error err;
    agt_bytes b;
    char text[40];
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "ref.md", AGT_TYPE_REFERENCE, "one");
    char *made = kit_run("cd '%s/.agent-trace/rejected' && for i in $(seq 1 %d); do : >$i; done; "
                         "touch -d '2020-01-01' [0-9]*; touch -d '2019-01-01' 77; ls | wc -l",
                         root, AGT_MAX_REJECTED);
    CHECK_INT(atoi(made), AGT_MAX_REJECTED);
    free(made);
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", "new", 3, NULL, &r, &err), AGT_DENIED, err);
    CHECK_OK(agt_read_refused(s, r.seq, &b, &err), err);
    agt_bytes_free(&b);
    CHECK(access(kit_path(root, ".agent-trace/rejected/77"), F_OK) != 0);
    made = kit_run("ls '%s/.agent-trace/rejected' | wc -l", root);
    CHECK_INT(atoi(made), AGT_MAX_REJECTED);
    free(made);
    /* and more bytes than are kept of one are told by their hash alone */
    size_t len = 32u * 1024 * 1024 + 1;
    char *big = calloc(1, len);
    CHECK_STATUS(agt_write(s, &kit_agent, "ref.md", big, len, NULL, &r, &err), AGT_DENIED, err);
    free(big);
    CHECK_STATUS(agt_read_refused(s, r.seq, &b, &err), AGT_NOT_FOUND, err);
    snprintf(text, sizeof text, "%d", AGT_MAX_REJECTED);
    made = kit_run("ls '%s/.agent-trace/rejected' | wc -l", root);
    CHECK_INT(atoi(made), AGT_MAX_REJECTED);
    free(made);
    kit_close(s);
}

/* ---- one file under two names ---- */

static void manage_two_names(agt_store *s, const char *root, const char *second) {
    agt_error err;
    uint64_t events = kit_events(s);
    CHECK_INT(link(kit_path(root, "plan.md"), kit_path(root, second)), 0);
    CHECK_INT(agt_add(s, &kit_user, second, AGT_TYPE_SCRATCH, NULL, NULL, &err), AGT_INVALID);
    CHECK(strstr(err.message, "is the same file as the document plan.md; use that name"));
    CHECK_INT(agt_write(s, &kit_user, second, "other", 5, NULL, NULL, &err), AGT_INVALID);
    CHECK(strstr(err.message, "is the same file as the document plan.md; use that name"));
    CHECK_INT(kit_events(s), events);
    kit_reads(s, "plan.md", "one");
    CHECK_INT(unlink(kit_path(root, second)), 0);
}

TEST(manage, two_names_of_one_file_are_one_document) {
    agt_error err;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    manage_new(s, "first.md", AGT_TYPE_PLAN, "zero");
    manage_new(s, "plan.md", AGT_TYPE_PLAN, "one");
    manage_new(s, "third.md", AGT_TYPE_PLAN, "three");
    manage_two_names(s, root, "again.md"); /* found among what changed since the checkpoint */
    agt_store *other = kit_open(root);
    manage_two_names(other, root, "again.md"); /* by who has not seen the file yet, too */
    kit_close(other);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_close(s);
    s = kit_open(root);
    manage_two_names(s, root, "d\xc3\xa9j\xc3\xa0.md"); /* and in the catalog */
    /* after a write the second name has the old file, which is nobody's */
    CHECK_INT(link(kit_path(root, "plan.md"), kit_path(root, "old.md")), 0);
    manage_new(s, "plan.md", AGT_TYPE_DEFAULT, "two");
    CHECK_OK(agt_add(s, &kit_user, "old.md", AGT_TYPE_SCRATCH, NULL, NULL, &err), err);
    kit_reads(s, "old.md", "one");
    /* a file that a person moved to another name is the other document's no more */
    CHECK_INT(rename(kit_path(root, "third.md"), kit_path(root, "m\xc3\xb6ved.md")), 0);
    CHECK_OK(agt_add(s, &kit_user, "m\xc3\xb6ved.md", AGT_TYPE_SCRATCH, NULL, NULL, &err), err);
    /* two names in one batch, and in one group */
    manage_put(root, "x.md", "x");
    CHECK_INT(link(kit_path(root, "x.md"), kit_path(root, "y.md")), 0);
    agt_change change[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    agt_write_result result[2] = {AGT_WRITE_RESULT_INIT, AGT_WRITE_RESULT_INIT};
    for (int i = 0; i < 2; i++) {
        change[i].caller = &kit_user;
        change[i].kind = AGT_CHANGE_ADD;
        change[i].path = i ? "y.md" : "x.md";
    }
    CHECK_INT(agt_batch(s, &kit_user, change, 2, 0, NULL, &err), AGT_INVALID);
    CHECK_STR(err.message,
              "y.md is the same file as the document x.md; use that name, or make it a copy");
    CHECK_INT(err.offset, 1);
    CHECK_OK(agt_group(s, change, 2, 0, result, &err), err);
    CHECK_INT(result[0].status, AGT_OK);
    CHECK_INT(result[1].status, AGT_INVALID);
    CHECK_INT(unlink(kit_path(root, "y.md")), 0);
    CHECK_OK(agt_remove(s, &yes, "x.md", NULL, NULL, &err), err);
    manage_lists(s, "first.md m\xc3\xb6ved.md old.md plan.md third.md ");
    kit_close(s);
}

/* ---- stores in stores ---- */

/* The store above cannot be used to go around the rules of the one below. */
TEST(manage, nothing_comes_to_be_in_the_folder_of_a_store_below) {
    static const char *const paths[] = {"in/style.md", "in/deep/new.md", "in/AGENT-TRACE.md"};
    agt_error err;
    agt_store *s;
    const char *root = test_folder();
    char inside[1200];
    snprintf(inside, sizeof inside, "%s/in", root);
    agt_store *in = kit_open(inside);
    manage_new(in, "style.md", AGT_TYPE_REFERENCE, "tabs");
    kit_close(in);
    s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "one");
    test_write_file(kit_path(root, "in/file.md"), "mine", 4);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int user = 0; user < 2; user++) {
            const agt_caller *who = user ? &kit_user : &kit_agent;
            CHECK_STATUS(agt_write(s, who, paths[i], "x", 1, NULL, NULL, &err), AGT_INVALID, err);
            CHECK(strstr(err.message, "belongs to the store in in,"));
            CHECK_STATUS(agt_rename(s, who, "a.md", paths[i], NULL, NULL, &err), AGT_INVALID, err);
        }
    CHECK_STATUS(agt_add(s, &kit_agent, "in/file.md", 0, NULL, NULL, &err), AGT_INVALID, err);
    CHECK_STATUS(agt_remove(s, &kit_agent, "in/style.md", NULL, NULL, &err), AGT_INVALID, err);
    CHECK_INT(kit_events(s), 1);
    kit_disk_has(root, "in/style.md", "tabs");
    kit_disk_has(root, "in/file.md", "mine");
    CHECK_INT(kit_write(s, &kit_agent, "beside/b.md", "x"), 1);
    kit_close(s);
}

/* A writer that died left what it had staged under the number that the next event gets: whatever
 * that event is, nobody's edit is made of it. */
TEST(manage, what_a_dead_writer_staged_goes_with_the_next_event_whatever_it_is) {
    const char *root = test_folder();
    agt_error err;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    agt_store *s = kit_open(root);
    manage_new(s, "a.md", AGT_TYPE_SCRATCH, "one\n");
    manage_put(root, "b.md", "bee\n");
    for (int how = 0; how < 7; how++) {
        agt_store_info info = AGT_STORE_INFO_INIT;
        char name[60];
        CHECK_OK(agt_store_get_info(s, &info, &err), err);
        snprintf(name, sizeof name, ".agent-trace/tmp/%llu.new",
                 (unsigned long long)info.last_seq + 1);
        manage_put(root, name, "half a wri");
        agt_status st = AGT_OK;
        switch (how) {
        case 0: st = agt_add(s, &yes, "b.md", AGT_TYPE_PLAN, NULL, NULL, &err); break;
        case 1: st = agt_reclassify(s, &yes, "a.md", AGT_TYPE_PLAN, NULL, NULL, &err); break;
        case 2: st = agt_unlock(s, &yes, "a.md", "agent:osprey", 60000, NULL, NULL, &err); break;
        case 3: st = agt_rename(s, &yes, "a.md", "c.md", NULL, NULL, &err); break;
        case 4: st = agt_untrack(s, &yes, "c.md", NULL, NULL, &err); break;
        case 5: st = agt_remove(s, &yes, "b.md", NULL, NULL, &err); break;
        case 6: st = agt_write(s, &yes, "d.md", "dee\n", 4, NULL, NULL, &err); break;
        }
        CHECK_OK(st, err);
        agt_store_info now = AGT_STORE_INFO_INIT;
        CHECK_OK(agt_store_get_info(s, &now, &err), err);
        CHECK_INT(now.last_seq, info.last_seq + 1);
        if (access(kit_path(root, name), F_OK) == 0)
            test_fail(__FILE__, __LINE__, "%d: %s is still there", how, name);
    }
    CHECK_OK(agt_close(s, &err), err);
}
