/* What main names while git is mended, and while loose commits go into a pack: whoever dies
 * meanwhile, what was published is published, and a person's commit has a name. Looked at before
 * every call that the publisher makes. */
#include "../src/git/git.h" /* not in a build without git */
#include "git_kit.h"
#include "oracle.h"

#define MEND_BIG (20u * 1024 * 1024) /* two of them fill a pack */

static const char *const root = "/home";
static const agt_caller agent = AGT_CALLER("agent:kestrel");

static char *mend_ref(const machine *m, const char *name) {
    char path[128];
    size_t n;
    snprintf(path, sizeof path, "%s/.agent-trace/git/refs/heads/%s", root, name);
    return machine_get(m, path, &n);
}

/* Sparse in the machine: blanks with a number. */
static void mend_write(agt_store *s, const char *path, size_t len, int number) {
    agt_error err;
    char *text = malloc(len);
    memset(text, ' ', len);
    text[len / 2] = (char)('0' + number);
    CHECK_OK(agt_write(s, &agent, path, text, len, NULL, NULL, &err), err);
    free(text);
}

/* One commit in a pack, three that are loose, each with `len` bytes. */
static machine *mend_start(size_t len) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_sync_all(m);
    agt_store *s = oracle_open(machine_process_new(m, "maker"), root, NULL, AGT_OK);
    mend_write(s, "a.md", 100, 0);
    CHECK_OK(agt_checkpoint(s, &err), err);
    mend_write(s, "b.md", len, 1);
    mend_write(s, "a.md", len, 2);
    mend_write(s, "b.md", len, 3);
    CHECK_OK(agt_publish(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    return m;
}

static void mend_boot(machine *m) {
    machine_cut cut = {.mode = MACHINE_CUT_KEEP, .seed = test_random()};
    machine_power_cut(m, &cut);
}

typedef struct mend_watch {
    char *commit; /* must have a name, as a ref's file says it */
    bool kept;    /* may be named by a found-... instead of main */
    uint64_t looks;
} mend_watch;

static bool mend_is_kept(const machine *m, const char *commit) {
    char path[128], name[64];
    bool found = false;
    snprintf(path, sizeof path, "%s/.agent-trace/git/refs/heads", root);
    char *tree = machine_tree(m, path);
    for (char *line = tree, *at; line && (at = strstr(line, "found-")) != NULL && !found;) {
        size_t n = strcspn(at, "\n");
        CHECK(n < sizeof name);
        memcpy(name, at, n);
        name[n] = 0;
        char *text = mend_ref(m, name);
        found = text && !strcmp(text, commit);
        free(text);
        line = at + n;
    }
    free(tree);
    return found;
}

static void mend_look(void *ctx, machine *m, const machine_call *call) {
    mend_watch *w = ctx;
    char *text = mend_ref(m, "main");
    bool named = text && !strcmp(text, w->commit);
    if (!named && !(w->kept && mend_is_kept(m, w->commit)))
        test_fail(__FILE__, __LINE__, "before call %llu main names %s",
                  (unsigned long long)call->number, text ? text : "nothing");
    w->looks++;
    free(text);
}

/* Watches a process that opens the store and publishes, packed if asked for. */
static void mend_watched(machine *m, mend_watch *w, bool pack) {
    agt_error err;
    machine_on_call(m, mend_look, w);
    agt_store *s = oracle_open(machine_process_new(m, "publisher"), root, NULL, AGT_OK);
    if (pack)
        CHECK_OK(agt_checkpoint(s, &err), err);
    else
        CHECK_OK(agt_publish(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_on_call(m, NULL, NULL);
    CHECK(w->looks > 50);
    test_saw("looks", w->looks);
}

/* With nothing new main names the same commit at the end, and all objects are whole. */
static void mend_unmoved(size_t len, bool boot, bool pack) {
    machine *m = mend_start(len);
    mend_watch w = {.commit = mend_ref(m, "main")};
    CHECK(w.commit && strlen(w.commit) == 41);
    if (boot) mend_boot(m);
    mend_watched(m, &w, pack);
    char *after = mend_ref(m, "main");
    CHECK_STR(after, w.commit);
    oracle_check_objects(m, root);
    free(after);
    free(w.commit);
    machine_free(m);
}

TEST(mend, what_was_published_stays_so_while_git_is_mended) {
    mend_unmoved(200, true, false);
    mend_unmoved(200, true, true);
}

TEST(mend, what_was_published_stays_so_while_several_packs_are_made) {
    mend_unmoved(MEND_BIG, false, true);
    mend_unmoved(MEND_BIG, true, true);
}

/* A power cut may leave main naming a commit whose objects are gone: it is mended at the end. */
TEST(mend, a_head_whose_objects_a_power_cut_took_is_made_again) {
    agt_error err;
    machine *m = mend_start(200);
    char *before = mend_ref(m, "main");
    machine_cut cut = {.mode = MACHINE_CUT_LOSE, .seed = test_random()};
    machine_power_cut(m, &cut);
    CHECK_INT(machine_put_text(m, "/home/.agent-trace/git/refs/heads/main", before), 0);
    agt_store *s = oracle_open(machine_process_new(m, "publisher"), root, NULL, AGT_OK);
    CHECK_OK(agt_publish(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    char *after = mend_ref(m, "main");
    CHECK_STR(after, before);
    CHECK(!mend_is_kept(m, before));
    oracle_check_objects(m, root);
    free(before);
    free(after);
    machine_free(m);
}

/* A commit on top of main that somebody made with git. */
static char *mend_persons_commit(machine *m) {
    agt_oid main_id, theirs;
    agt_error err;
    bool found;
    kit_git k =
        kit_git_on(machine_sys(machine_process_new(m, "person")), "/home/.agent-trace/git", NULL);
    CHECK_OK(agt__git_head(k.git, &main_id, &found, &err), err);
    CHECK(found);
    kit_begin(&k, &main_id);
    kit_put_text(&k, "mine.md", "made with git commit\n");
    theirs = kit_commit(&k, 7);
    kit_write_how(&k, AGT_GIT_LOOSE);
    kit_set_head(&k, &theirs);
    kit_git_close(&k);
    char *text = mend_ref(m, "main");
    CHECK(text && !strncmp(text, kit_hex(&theirs), 40));
    return text;
}

TEST(mend, a_persons_commit_on_main_never_loses_its_name) {
    for (int way = 1; way < 4; way++) { /* in way 0 there is nothing to publish */
        machine *m = mend_start(200);
        char *before = mend_ref(m, "main");
        mend_watch w = {.commit = mend_persons_commit(m), .kept = true};
        if (way & 1) mend_boot(m);
        mend_watched(m, &w, way & 2);
        char *after = mend_ref(m, "main");
        CHECK_STR(after, before);
        CHECK(mend_is_kept(m, w.commit));
        free(after);
        free(before);
        free(w.commit);
        machine_free(m);
    }
}
