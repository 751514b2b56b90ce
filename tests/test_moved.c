/* Renames that were made outside, by a person or by git: what agt_rename follows and what it
 * refuses, and that nothing is lost whenever the process dies or the power fails meanwhile. */
#include "oracle.h"
#include "store_kit.h"

#include <sys/stat.h>
#include <unistd.h>

static agt_document moved_document(agt_store *s, const char *path) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    CHECK_OK(agt_document_get(s, path, &d, &err), err);
    return d;
}

static void moved_write(agt_store *s, const char *path, agt_type type, const char *text) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.type = type;
    CHECK_OK(agt_write(s, &kit_user, path, text, strlen(text), &o, NULL, &err), err);
}

static void moved_by_hand(const char *root, const char *from, const char *to) {
    CHECK_INT(rename(kit_path(root, from), kit_path(root, to)), 0);
}

static void moved_put(const char *root, const char *path, const char *text) {
    test_write_file(kit_path(root, path), text, strlen(text));
}

static uint64_t moved_modified(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    uint64_t n = 0;
    o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK)
        n += d.modified_outside;
    agt_cursor_close(c);
    return n;
}

TEST(moved, a_rename_made_outside_is_followed) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    struct stat before, after;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    moved_write(s, "docs/b.md", AGT_TYPE_REFERENCE, "one");
    moved_write(s, "docs/b.md", AGT_TYPE_REFERENCE, "two");
    agt_document was = moved_document(s, "docs/b.md");
    moved_by_hand(root, "docs", "papers");
    CHECK_INT(chmod(kit_path(root, "papers/b.md"), 0400), 0);
    CHECK_INT(stat(kit_path(root, "papers/b.md"), &before), 0);
    /* whoever may not rename it may not have it followed either */
    CHECK_STATUS(agt_rename(s, &kit_agent, "docs/b.md", "papers/b.md", NULL, NULL, &err),
                 AGT_DENIED, err);
    CHECK_OK(agt_rename(s, &kit_user, "docs/b.md", "papers/b.md", NULL, &r, &err), err);
    CHECK_INT(r.version, 3);
    CHECK_INT(r.edit_recorded + r.edit_kept_aside + r.apply_pending + r.unchanged, 0);
    CHECK_INT(kit_events(s), 4);
    for (int i = 0; i < 2; i++) {
        agt_document d = moved_document(s, "papers/b.md");
        CHECK_STR(d.id, was.id);
        CHECK_INT(d.type, AGT_TYPE_REFERENCE);
        CHECK_INT(moved_modified(s), 0);
        CHECK_STATUS(agt_document_get(s, "docs/b.md", &d, &err), AGT_NOT_FOUND, err);
        if (kit_has_git) kit_version_reads(s, "papers/b.md", 1, "one");
        CHECK_STATUS(agt_write(s, &kit_agent, "papers/b.md", "hack", 4, NULL, NULL, &err),
                     AGT_DENIED, err);
        CHECK_OK(agt_checkpoint(s, &err), err);
        kit_close(s);
        s = kit_open(root);
    }
    /* the very file lies there still, and nothing came back */
    CHECK_INT(stat(kit_path(root, "papers/b.md"), &after), 0);
    CHECK(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
    CHECK(access(kit_path(root, "docs"), F_OK) != 0);
    kit_disk_has(root, "papers/b.md", "two");
    kit_close(s);
}

/* Refused, and nothing is recorded. */
static void moved_not(agt_store *s, const char *from, const char *to, agt_status want,
                      const char *message) {
    agt_error err;
    uint64_t before = kit_events(s);
    CHECK_STATUS(agt_rename(s, &kit_user, from, to, NULL, NULL, &err), want, err);
    CHECK_STR(err.message, message);
    CHECK_INT(kit_events(s), before);
}

TEST(moved, what_is_no_rename_is_refused) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "a.md", "text");
    kit_write(s, &kit_user, "b.md", "text");
    moved_put(root, "same.md", "text");
    moved_not(s, "a.md", "same.md", AGT_CONFLICT,
              "a file same.md is there, and is no document; move it away first");
    moved_by_hand(root, "a.md", "far.md");
    moved_put(root, "other.md", "text, edited");
    moved_not(s, "a.md", "other.md", AGT_CONFLICT,
              "the file of a.md is gone, and the one at other.md has other bytes; move that one "
              "away, or back if it was edited, and try again");
    moved_not(s, "a.md", "none.md", AGT_NOT_FOUND,
              "the file of a.md is gone; restore it first, or say where it lies now");
    moved_not(s, "a.md", "b.md", AGT_CONFLICT,
              "b.md is another document; delete or rename it first");
    CHECK_INT(link(kit_path(root, "b.md"), kit_path(root, "twin.md")), 0);
    moved_not(s, "a.md", "twin.md", AGT_INVALID,
              "twin.md is the same file as the document b.md; use that name, or make it a copy");
    CHECK_INT(symlink("far.md", kit_path(root, "link.md")), 0);
    moved_not(s, "a.md", "link.md", AGT_INVALID,
              "link.md: a symbolic link stands in the way; documents are never written through "
              "links, use another path");
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.check_version = 1;
    o.expected_version = 7;
    CHECK_STATUS(agt_rename(s, &kit_user, "a.md", "far.md", &o, NULL, &err), AGT_CONFLICT, err);
    /* all that is still to be had, and an edit that was moved goes back and is renamed from there
     */
    CHECK_OK(agt_rename(s, &kit_user, "a.md", "far.md", NULL, NULL, &err), err);
    moved_put(root, "far.md", "edited");
    moved_by_hand(root, "far.md", "edited.md");
    CHECK_STATUS(agt_rename(s, &kit_user, "far.md", "edited.md", NULL, NULL, &err), AGT_CONFLICT,
                 err);
    moved_by_hand(root, "edited.md", "far.md");
    CHECK_OK(agt_rename(s, &kit_user, "far.md", "edited.md", NULL, NULL, &err), err);
    CHECK_INT(moved_document(s, "edited.md").version, 4);
    kit_reads(s, "edited.md", "edited");
    kit_disk_has(root, "other.md", "text, edited");
    kit_close(s);
}

TEST(moved, a_rename_of_case_alone_is_followed) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_user, "Plan.md", "text");
    moved_by_hand(root, "Plan.md", "plan.md");
    CHECK_OK(agt_rename(s, &kit_user, "Plan.md", "plan.md", NULL, NULL, &err), err);
    CHECK_INT(moved_document(s, "plan.md").version, 2);
    CHECK_INT(moved_modified(s), 0);
    kit_disk_has(root, "plan.md", "text");
    kit_close(s);
}

/* ---- deaths ---- */

static const char *const home = "/home";

typedef struct moved_run {
    machine *m;
    machine_memory mem;
    bool acked;
} moved_run;

/* A store with a document that a person moved; durable if `synced`. */
static machine *moved_start(bool synced) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_memory mem;
    machine_make_folder(m, home);
    agt_store *s = oracle_open(machine_process_new(m, "before"), home, &mem, AGT_OK);
    moved_write(s, "a/x.md", AGT_TYPE_PLAN, "the text");
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_sync_all(m);
    machine_make_folder(m, "/home/b");
    CHECK_INT(machine_rename(m, "/home/a/x.md", "/home/b/y.md"), 0);
    if (synced) machine_sync_all(m);
    return m;
}

/* The rename, and what makes the journal forget it; dies at the n-th change. */
static bool moved_until(moved_run *r, const machine *start, uint64_t n, machine_when when) {
    agt_error err;
    memset(r, 0, sizeof *r);
    r->m = machine_clone(start);
    machine_memory_init(&r->mem);
    machine_crash_at(r->m, n, MACHINE_CHANGES, when);
    bool ended = setjmp(*machine_crash_point(r->m)) == 0;
    if (ended) {
        agt_store *s = oracle_open(machine_process_new(r->m, "mv"), home, &r->mem, AGT_OK);
        CHECK_OK(agt_rename(s, &kit_user, "a/x.md", "b/y.md", NULL, NULL, &err), err);
        r->acked = true;
        CHECK_OK(agt_checkpoint(s, &err), err);
        agt_close(s, NULL);
    }
    machine_crash_at(r->m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&r->mem);
    return !ended;
}

static bool moved_has(const machine *m, const char *path) {
    size_t n = 0;
    char *text = machine_get(m, path, &n);
    bool has = text && n == 8 && memcmp(text, "the text", 8) == 0;
    if (text && !has) test_fail(__FILE__, __LINE__, "%s has other bytes: %.*s", path, (int)n, text);
    free(text);
    return has;
}

/* The text is in one of the two places; the rename is recorded or not, and recorded if it was
 * acknowledged; where it is not, the same call makes it. Says whether it was recorded. */
static bool moved_check(machine *m, bool acked) {
    agt_error err;
    machine_memory mem;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_store *s = oracle_open(machine_process_new(m, "after"), home, &mem, AGT_OK);
    agt_status st = agt_document_get(s, "b/y.md", &d, &err);
    bool renamed = st == AGT_OK && d.exists;
    CHECK(renamed || !acked);
    CHECK(moved_has(m, renamed ? "/home/b/y.md" : "/home/a/x.md") || moved_has(m, "/home/b/y.md"));
    if (!renamed) CHECK_INT(moved_document(s, "a/x.md").version, 1);
    if (!renamed) CHECK_OK(agt_rename(s, &kit_user, "a/x.md", "b/y.md", NULL, NULL, &err), err);
    CHECK_INT(moved_document(s, "b/y.md").version, 2);
    CHECK_INT(moved_document(s, "b/y.md").type, AGT_TYPE_PLAN);
    CHECK_INT(moved_modified(s), 0);
    CHECK(moved_has(m, "/home/b/y.md") && !moved_has(m, "/home/a/x.md"));
    kit_reads(s, "b/y.md", "the text");
    CHECK_INT(oracle_check_trace(s), 2);
    CHECK_OK(agt_close(s, &err), err);
    return renamed;
}

/* ---- asking first ---- */

static agt_caller moved_sure(const agt_caller *caller) {
    agt_caller sure = *caller;
    sure.confirm = 1;
    return sure;
}

/* The answer to the question is the rename's own, word for word, and asking records nothing. */
static void moved_asks(agt_store *s, const agt_caller *who, const char *from, const char *to,
                       const agt_write_options *o, agt_status want) {
    agt_error asked, done;
    memset(&asked, 0, sizeof asked);
    memset(&done, 0, sizeof done);
    uint64_t before = kit_events(s), modified = moved_modified(s);
    agt_status st = agt_may_rename(s, who, from, to, o, &asked);
    if (st != want) test_fail(__FILE__, __LINE__, "%s -> %s: %d, %s", from, to, st, asked.message);
    CHECK_INT(kit_events(s), before);
    CHECK_INT(moved_modified(s), modified);
    CHECK_STATUS(agt_rename(s, who, from, to, o, NULL, &done), want, done);
    if (want != AGT_OK) CHECK_STR(asked.message, done.message);
    CHECK_INT(kit_events(s) > before, want == AGT_OK || want == AGT_DENIED);
}

/* What is remembered of a place, and what lies on the way to it, is seen before anything moves. */
TEST(moved, asking_says_what_the_rename_would) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_caller sure = moved_sure(&kit_user);
    agt_write_options first = AGT_WRITE_OPTIONS_INIT;
    first.check_version = first.expected_version = 1;
    kit_write(s, &kit_user, "a.md", "text");
    kit_write(s, &kit_user, "k/b/c.md", "in the way");
    moved_write(s, "ref.md", AGT_TYPE_REFERENCE, "the user's");
    moved_write(s, "was/ref.md", AGT_TYPE_REFERENCE, "the user's, deleted");
    CHECK_OK(agt_remove(s, &kit_user, "was/ref.md", NULL, NULL, &err), err);
    CHECK_OK(agt_write(s, &sure, "was/context.md", "c", 1, NULL, NULL, &err), err);
    moved_write(s, "was/note.md", AGT_TYPE_PLAN, "n");
    CHECK_OK(agt_reclassify(s, &sure, "was/note.md", AGT_TYPE_CONTEXT, NULL, NULL, &err), err);
    CHECK_OK(agt_remove(s, &sure, "was/note.md", NULL, NULL, &err), err);
    moved_put(root, "file", "no document");
    moved_asks(s, &kit_agent, "ref.md", "x.md", NULL, AGT_DENIED);
    moved_asks(s, &kit_agent, "a.md", "was/ref.md", NULL, AGT_DENIED);
    moved_asks(s, &kit_agent, "a.md", "context.md", NULL, AGT_DENIED);
    moved_asks(s, &kit_user, "a.md", "was/note.md", NULL, AGT_NEEDS_CONFIRMATION);
    moved_asks(s, &kit_user, "none.md", "x.md", NULL, AGT_NOT_FOUND);
    moved_asks(s, &kit_user, "a.md", "a.md", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "a.md", "k/b", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "a.md", "ref.md/x.md", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "a.md", "REF.md", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "a.md", "file/x.md", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "a.md", "ref.md", NULL, AGT_CONFLICT);
    moved_asks(s, &kit_user, "a.md", "file", NULL, AGT_CONFLICT);
    moved_by_hand(root, "k/b/c.md",
                  "c.md"); /* its file is gone; the document is one all the same */
    moved_asks(s, &kit_user, "a.md", "k/b", NULL, AGT_INVALID);
    moved_asks(s, &kit_user, "k/b/c.md", "none.md", NULL, AGT_NOT_FOUND);
    moved_put(root, "a.md", "edited behind the store's back");
    CHECK_INT(moved_modified(s) > 0, 1);
    moved_asks(s, &kit_user, "a.md", "b.md", NULL, AGT_OK);
    CHECK_INT(moved_document(s, "b.md").version, 3); /* the edit, and the rename */
    moved_asks(s, &kit_user, "b.md", "a.md", &first, AGT_CONFLICT);
    moved_asks(s, &kit_user, "k/b/c.md", "c.md", NULL, AGT_OK); /* followed */
    moved_asks(s, &sure, "b.md", "was/note.md", NULL, AGT_OK);
    kit_disk_has(root, "was/note.md", "edited behind the store's back");
    kit_close(s);
}

/* An edit of a size that is kept beside the journal, where it is recorded. */
TEST(moved, asking_keeps_nothing_of_a_large_edit) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    size_t size = 3u << 20;
    char *big = malloc(size);
    CHECK(big != NULL);
    memset(big, 'x', size);
    kit_write(s, &kit_user, "a.md", "text");
    test_write_file(kit_path(root, "a.md"), big, size);
    o.check_version = 1;
    o.expected_version = 1;
    CHECK_STATUS(agt_may_rename(s, &kit_user, "a.md", "b.md", &o, &err), AGT_CONFLICT, err);
    CHECK_STR(err.message, "a.md is at version 2, not 1; read it and try again");
    o.expected_version = 2;
    CHECK_OK(agt_may_rename(s, &kit_user, "a.md", "b.md", &o, &err), err);
    CHECK_INT(kit_events(s), 1);
    CHECK_INT(rmdir(kit_path(root, ".agent-trace/tmp")), 0); /* nothing is in them */
    CHECK_INT(rmdir(kit_path(root, ".agent-trace/unpublished")), 0);
    free(big);
    (void)agt_close(s, NULL);
}

TEST(moved, a_death_at_any_change) {
    machine *start = moved_start(false);
    uint64_t deaths = 0, recorded = 0;
    moved_run r;
    for (uint64_t n = 1; moved_until(&r, start, n, (machine_when)(n % 3)); n++) {
        recorded += moved_check(r.m, r.acked);
        machine_free(r.m);
        deaths++;
    }
    CHECK(moved_check(r.m, r.acked));
    machine_free(r.m);
    machine_free(start);
    test_saw("deaths", deaths);
    CHECK(deaths > 15 && recorded > 5 && recorded < deaths);
}

/* Whether the person's rename was on the disk or not. A cut may keep either name of it, or both;
 * where it kept none, the record or, before that, the newest version has the text. */
TEST(moved, a_cut_at_any_change) {
    uint64_t states = 0;
    for (int synced = 0; synced < 2; synced++) {
        machine *start = moved_start(synced);
        moved_run r;
        for (uint64_t n = 1; moved_until(&r, start, n, (machine_when)(test_random_below(3))); n++) {
            for (int k = 0; k < 3; k++) {
                machine *c = machine_clone(r.m);
                machine_cut cut = {.mode = k == 0   ? MACHINE_CUT_LOSE
                                           : k == 1 ? MACHINE_CUT_KEEP
                                                    : MACHINE_CUT_RANDOM,
                                   .seed = test_random()};
                machine_power_cut(c, &cut);
                (void)moved_check(c, r.acked);
                machine_free(c);
                states++;
            }
            machine_free(r.m);
        }
        machine_free(r.m);
        machine_free(start);
    }
    test_saw("states", states);
    CHECK(states > 100);
}
