/* What git's refs name while git is mended, while loose commits go into a pack, and while a person
 * moves main: whoever dies meanwhile, what was published is published, and a person's commit has a
 * name and all its objects. Looked at before every call that the publisher makes. */
#include "../src/git/git.h" /* not in a build without git */
#include "../src/store/store.h"
#include "fault.h"
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

/* One commit in a pack, three that are loose, each with `len` bytes. */
static machine *mend_start(size_t len) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_sync_all(m);
    agt_store *s = oracle_open(machine_process_new(m, "maker"), root, NULL, AGT_OK);
    kit_write_blanks(s, "a.md", 100, 0);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_write_blanks(s, "b.md", len, 1);
    kit_write_blanks(s, "a.md", len, 2);
    kit_write_blanks(s, "b.md", len, 3);
    CHECK_OK(agt_publish(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    return m;
}

/* What is in a folder of git's, as machine_tree says it. */
static char *mend_tree(const machine *m, const char *folder) {
    char path[128];
    snprintf(path, sizeof path, "%s/.agent-trace/git/%s", root, folder);
    return machine_tree(m, path);
}

static void mend_publishes(agt_store *s) {
    agt_error err;
    CHECK_OK(agt_publish(s, &err), err);
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
    char name[64];
    bool found = false;
    char *tree = mend_tree(m, "refs/heads");
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

/* Is all there that a ref's text names? */
static bool mend_is_whole(machine *m, const char *text) {
    agt_error err;
    agt_oid id;
    bool whole;
    machine_process *p = machine_process_new(m, "looker");
    kit_git k = kit_git_on(machine_sys(p), "/home/.agent-trace/git", NULL);
    CHECK(agt__unhex(text, 40, id.id, 20));
    CHECK_OK(agt__git_whole(k.git, &id, &whole, &err), err);
    kit_git_close(&k);
    machine_process_free(p);
    return whole;
}

TEST(mend, a_persons_commit_on_main_never_loses_its_name) {
    for (int way = 0; way < 4; way++) {
        machine *m = mend_start(200);
        char *before = mend_ref(m, "main");
        mend_watch w = {.commit = mend_persons_commit(m), .kept = true};
        if (way & 1) mend_boot(m);
        mend_watched(m, &w, way & 2);
        char *after = mend_ref(m, "main");
        CHECK_STR(after, before);
        CHECK(mend_is_kept(m, w.commit));
        CHECK(mend_is_whole(m, w.commit));
        CHECK(mend_is_whole(m, after));
        free(after);
        free(before);
        free(w.commit);
        machine_free(m);
    }
}

/* ---- a publisher that dies ---- */

static size_t mend_found(const machine *m) {
    size_t n = 0;
    char *tree = mend_tree(m, "refs/heads");
    for (const char *at = tree; at && (at = strstr(at, "found-")) != NULL; at++)
        n++;
    free(tree);
    return n;
}

/* After the death main names an old or the new commit; from then on it never goes back, and nothing
 * of ours is taken for somebody else's. */
TEST(mend, a_publisher_that_died_is_followed_by_one_that_goes_on) {
    uint64_t deaths = 0, moved = 0;
    machine *start = mend_start(200);
    char *before = mend_ref(start, "main");
    agt_store *s = oracle_open(machine_process_new(start, "writer"), root, NULL, AGT_OK);
    kit_write_blanks(s, "a.md", 300, 4);
    agt_close(s, NULL);
    for (uint64_t n = 1;; n++) {
        machine *m = machine_clone(start);
        bool ended = !oracle_until(m, root, n, mend_publishes);
        char *left = mend_ref(m, "main");
        bool is_new = strcmp(left, before) != 0;
        if (is_new) {
            mend_watch w = {.commit = left};
            mend_watched(m, &w, deaths & 1);
        } else {
            s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
            agt_error err;
            CHECK_OK(agt_publish(s, &err), err);
            agt_close(s, NULL);
        }
        CHECK_INT(mend_found(m), 0);
        oracle_check_objects(m, root);
        free(left);
        machine_free(m);
        if (ended) break;
        deaths++;
        moved += is_new;
    }
    test_saw("deaths", deaths);
    CHECK(deaths > 20 && moved > 2);
    free(before);
    machine_free(start);
}

/* ---- a person who moves main meanwhile ---- */

typedef struct mend_mover {
    uint64_t at, calls;
    const char *commit;
    bool moved;
} mend_mover;

/* As git does it: not while somebody has the lock. */
static void mend_move(void *ctx, machine *m, const machine_call *call) {
    mend_mover *w = ctx;
    char *lock = mend_ref(m, "main.lock");
    (void)call;
    if (++w->calls >= w->at && !w->moved && !lock) {
        w->moved = true;
        CHECK_INT(machine_put_text(m, "/home/.agent-trace/git/refs/heads/main", w->commit), 0);
    }
    free(lock);
}

TEST(mend, a_person_may_move_main_at_any_moment_of_a_publication) {
    uint64_t moves = 0;
    for (int boot = 0; boot < 2; boot++) {
        machine *start = mend_start(200);
        char *before = mend_ref(start, "main"), *commit = mend_persons_commit(start);
        CHECK_INT(machine_put_text(start, "/home/.agent-trace/git/refs/heads/main", before), 0);
        agt_store *s = oracle_open(machine_process_new(start, "writer"), root, NULL, AGT_OK);
        kit_write_blanks(s, "a.md", 300, 4);
        agt_close(s, NULL);
        if (boot) mend_boot(start);
        for (uint64_t at = 1;; at++) {
            agt_error err;
            machine *m = machine_clone(start);
            mend_mover w = {.at = at, .commit = commit};
            s = oracle_open(machine_process_new(m, "publisher"), root, NULL, AGT_OK);
            machine_on_call(m, mend_move, &w);
            CHECK_OK(agt_publish(s, &err), err);
            machine_on_call(m, NULL, NULL);
            if (w.moved) {
                char *now = mend_ref(m, "main");
                CHECK(!strcmp(now, w.commit) || mend_is_kept(m, w.commit));
                CHECK(mend_is_whole(m, w.commit));
                free(now);
                CHECK_OK(agt_checkpoint(s, &err), err);
                now = mend_ref(m, "main");
                CHECK(strcmp(now, w.commit) != 0); /* ours again */
                CHECK(mend_is_kept(m, w.commit) && mend_is_whole(m, w.commit));
                CHECK(mend_is_whole(m, now));
                free(now);
            }
            CHECK_OK(agt_close(s, &err), err);
            machine_free(m);
            if (!w.moved) break;
            moves++;
        }
        free(commit);
        free(before);
        machine_free(start);
    }
    test_saw("moves", moves);
    CHECK(moves > 100);
}

TEST(mend, a_call_that_fails_while_git_is_mended_loses_no_name) {
    uint64_t injected = 0;
    machine *start = mend_start(200);
    char *commit = mend_persons_commit(start);
    mend_boot(start);
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_ALL_MEMORY) {
        agt_error err;
        machine_memory mem;
        machine *m = machine_clone(start);
        agt_store *s = oracle_open(machine_process_new(m, "publisher"), root, &mem, AGT_OK);
        fault_arm(&f, m, &mem);
        agt_status st = agt_publish(s, &err);
        fault_disarm(&f);
        injected += f.injected;
        if (!f.injected) CHECK_OK(st, err);
        char *now = mend_ref(m, "main");
        CHECK(!strcmp(now, commit) || mend_is_kept(m, commit));
        free(now);
        st = agt_close(s, &err);
        s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
        CHECK_OK(agt_publish(s, &err), err);
        CHECK(mend_is_kept(m, commit) && mend_is_whole(m, commit));
        agt_close(s, NULL);
        machine_free(m);
    }
    test_saw("faults injected", injected);
    CHECK(injected > 100);
    free(commit);
    machine_free(start);
}

/* ---- with nothing to publish ---- */

static void mend_publish(machine *m) {
    agt_error err;
    agt_store *s = oracle_open(machine_process_new(m, "publisher"), root, NULL, AGT_OK);
    CHECK_OK(agt_publish(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
}

TEST(mend, a_ref_or_a_fixed_file_that_is_gone_is_made_again) {
    static const char *const gone[] = {"refs/heads/main", "HEAD", "config"};
    static const char *const texts[] = {NULL, "", "no ref at all\n"};
    machine *start = mend_start(200);
    char *main_text = mend_ref(start, "main");
    for (size_t i = 0; i < AGT_COUNT(gone); i++)
        for (size_t k = 0; k < AGT_COUNT(texts); k++) {
            char path[128];
            size_t n;
            if (i && k == 2) continue; /* a person may have written in them */
            machine *m = machine_clone(start);
            snprintf(path, sizeof path, "%s/.agent-trace/git/%s", root, gone[i]);
            if (texts[k])
                CHECK_INT(machine_put_text(m, path, texts[k]), 0);
            else
                CHECK_INT(machine_remove(m, path), 0);
            mend_publish(m);
            char *now = mend_ref(m, "main"), *file = machine_get(m, path, &n);
            CHECK_STR(now, main_text);
            CHECK(file && n > 10);
            CHECK_INT(mend_found(m), 0);
            free(now);
            free(file);
            machine_free(m);
        }
    free(main_text);
    machine_free(start);
}

/* Loose commits that somebody pruned are made again from the journal, within one boot. */
TEST(mend, objects_that_are_gone_are_made_again) {
    machine *m = mend_start(200);
    char *before = mend_ref(m, "main"), path[200];
    snprintf(path, sizeof path, "%s/.agent-trace/git/objects/%.2s", root, before);
    CHECK_INT(machine_remove(m, path), 0);
    CHECK(!mend_is_whole(m, before));
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    kit_write_blanks(s, "a.md", 300, 4);
    agt_close(s, NULL);
    mend_publish(m);
    CHECK(mend_is_whole(m, before));
    char *after = mend_ref(m, "main");
    CHECK(mend_is_whole(m, after));
    free(after);
    free(before);
    machine_free(m);
}

/* A journal that is emptied without a publication keeps what git has only as loose objects. */
TEST(mend, what_is_only_loose_is_made_again_from_what_a_checkpoint_kept) {
    agt_error err;
    machine *m = mend_start(200);
    char *before = mend_ref(m, "main");
    agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    CHECK_OK(agt__empty_journal(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_cut cut = {.mode = MACHINE_CUT_LOSE, .seed = test_random()};
    machine_power_cut(m, &cut);
    mend_publish(m);
    char *after = mend_ref(m, "main");
    CHECK_STR(after, before);
    CHECK(mend_is_whole(m, after));
    free(after);
    free(before);
    machine_free(m);
}

/* ---- a power cut that deletes what was told to go, and keeps nothing else ---- */

#define MEND_WRITES 24u

static uint32_t mend_choose(void *ctx, const machine_choice *c) {
    const uint64_t *kept = ctx;
    bool keep = c->kind == MACHINE_CHOOSE_NAME && (c->inode == kept[0] || c->inode == kept[1]);
    return keep ? c->options - 1 : 0;
}

/* Of all that is pending only the names in .agent-trace and in unpublished/ reach the disk. */
static void mend_hard_cut(machine *m) {
    agt_stat st;
    uint64_t kept[2];
    CHECK_INT(machine_stat(m, "/home/.agent-trace", &st), 0);
    kept[0] = st.ino;
    CHECK_INT(machine_stat(m, "/home/.agent-trace/unpublished", &st), 0);
    kept[1] = st.ino;
    machine_cut cut = {.mode = MACHINE_CUT_CHOOSE, .choose = mend_choose, .ctx = kept};
    machine_power_cut(m, &cut);
}

/* So many versions of a.md that they are packed; some of them long, then. */
static machine *mend_versions(uint32_t longer, size_t len) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_sync_all(m);
    agt_store *s = oracle_open(machine_process_new(m, "maker"), root, NULL, AGT_OK);
    for (uint32_t i = 0; i < longer; i++)
        kit_write_blanks(s, "a.md", len, (int)i);
    for (uint32_t i = 0; i < MEND_WRITES; i++)
        kit_write_blanks(s, "a.md", 100 + i, 1);
    CHECK_OK(agt_close(s, &err), err);
    mend_boot(m);
    return m;
}

/* Every version can be read, before and after a publication. */
static void mend_check_versions(machine *m, uint32_t longer, size_t len) {
    agt_error err;
    agt_bytes b;
    agt_store *s = oracle_open(machine_process_new(m, "checker"), root, NULL, AGT_OK);
    for (int after = 0; after < 2; after++) {
        for (uint32_t v = 1; v <= longer + MEND_WRITES; v++) {
            CHECK_OK(agt_read_version(s, "a.md", v, &b, &err), err);
            CHECK_INT(b.len, v <= longer ? len : 100 + v - longer - 1);
            agt_bytes_free(&b);
        }
        if (!after) CHECK_OK(agt_publish(s, &err), err);
    }
    CHECK_OK(agt_close(s, &err), err);
    char *now = mend_ref(m, "main");
    CHECK(mend_is_whole(m, now));
    CHECK_INT(mend_found(m), 0);
    free(now);
}

/* Contents that fill a pack with few commits, then many small ones. */
TEST(mend, what_the_header_takes_for_packed_is_packed) {
    machine *m = mend_versions(4, MEND_BIG);
    mend_publish(m);
    mend_hard_cut(m);
    mend_check_versions(m, 4, MEND_BIG);
    machine_free(m);
}

TEST(mend, a_sync_that_failed_is_never_taken_for_one_that_did_not) {
    uint64_t failed = 0;
    machine *start = mend_versions(0, 0);
    for (uint64_t n = 1;; n++) {
        agt_error err;
        machine *m = machine_clone(start);
        agt_store *s = oracle_open(machine_process_new(m, "publisher"), root, NULL, AGT_OK);
        machine_fail_sync(m, n, false);
        (void)agt_publish(s, &err);
        bool hit = machine_fail_count(m) > 0;
        machine_fail(m, NULL);
        (void)agt_publish(s, &err);
        agt_close(s, NULL);
        if (hit) mend_publish(m);
        mend_hard_cut(m);
        mend_check_versions(m, 0, 0);
        machine_free(m);
        if (!hit) break;
        failed++;
    }
    machine_free(start);
    test_saw("syncs that failed", failed);
    CHECK(failed >= 4);
}

/* Whatever sync of a checkpoint fails: once a later one answered that it is done, all is on the
 * disk. */
TEST(mend, a_checkpoint_after_one_whose_sync_failed_is_durable) {
    uint64_t failed = 0;
    for (int variant = 0; variant < 8; variant++) {
        bool reopen = variant & 1;
        for (uint64_t at = 1, done = 1; done; at++) {
            machine_settings set = {.seed = test_random(), .call_ns = 1000};
            machine *m = machine_new(&set);
            agt_error err;
            uint32_t n = 2;
            machine_make_folder(m, root);
            machine_sync_all(m);
            agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
            kit_write_blanks(s, "a.md", 101, 1);
            CHECK_OK(agt_checkpoint(s, &err), err);
            kit_write_blanks(s, "a.md", 102, 1);
            machine_fail_sync(m, at, false);
            (void)agt__empty_journal(s, &err);
            done = machine_fail_count(m);
            failed += done;
            machine_fail(m, NULL);
            if (reopen || s->shared.failed) {
                (void)agt_close(s, NULL);
                s = oracle_open(machine_process_new(m, "again"), root, NULL, AGT_OK);
            }
            if (variant & 2) kit_write_blanks(s, "a.md", 100 + ++n, 1);
            CHECK_OK(agt__empty_journal(s, &err), err);
            if (variant & 4) kit_write_blanks(s, "a.md", 100 + ++n, 1);
            CHECK_OK(agt_close(s, &err), err);
            mend_hard_cut(m);
            s = oracle_open(machine_process_new(m, "after"), root, NULL, AGT_OK);
            CHECK_OK(agt_publish(s, &err), err);
            for (uint32_t v = 1; v <= n; v++) {
                agt_bytes b;
                CHECK_OK(agt_read_version(s, "a.md", v, &b, &err), err);
                CHECK_INT(b.len, 100 + v);
                agt_bytes_free(&b);
            }
            CHECK_OK(agt_close(s, &err), err);
            machine_free(m);
        }
    }
    test_saw("syncs that failed", failed);
    CHECK(failed >= 8 * 5);
}

TEST(mend, a_publisher_that_died_leaves_no_pack_that_is_not_durable) {
    uint64_t deaths = 0;
    machine *start = mend_versions(0, 0);
    for (uint64_t n = 1;; n++) {
        machine *m = machine_clone(start);
        bool ended = !oracle_until(m, root, n, mend_publishes);
        mend_publish(m);
        mend_hard_cut(m);
        mend_check_versions(m, 0, 0);
        machine_free(m);
        if (ended) break;
        deaths++;
    }
    machine_free(start);
    test_saw("deaths", deaths);
    CHECK(deaths > 100);
}

/* Packs that were made since the last checkpoint and are taken away: the journal has it all, for
 * the next publication and for a checkpoint that a writer needs. */
TEST(mend, packs_that_are_gone_are_made_again_from_what_the_header_does_not_call_packed) {
    for (int writer = 0; writer < 2; writer++) {
        agt_error err;
        machine *m = mend_versions(0, 0);
        agt_store *s = oracle_open(machine_process_new(m, "first"), root, NULL, AGT_OK);
        CHECK_OK(agt_checkpoint(s, &err), err);
        char *old = mend_tree(m, "objects/pack"), path[200];
        for (uint32_t i = 0; i < MEND_WRITES; i++)
            kit_write_blanks(s, "b.md", 200 + i, 1);
        CHECK_OK(agt_publish(s, &err), err); /* a pack that the header knows nothing of */
        CHECK_OK(agt_close(s, &err), err);
        char *now = mend_tree(m, "objects/pack");
        char *before = mend_ref(m, "main");
        size_t gone = 0;
        for (const char *p = now; (p = strstr(p, "pack-")) != NULL; p += 5) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)strcspn(p, "\n"), p);
            if (strstr(old, name)) continue;
            snprintf(path, sizeof path, "/home/.agent-trace/git/objects/pack/%s", name);
            CHECK_INT(machine_remove(m, path), 0);
            gone++;
        }
        free(now);
        free(old);
        CHECK_INT(gone, 2);
        s = oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK);
        if (writer) CHECK_OK(agt__empty_journal(s, &err), err);
        kit_write_blanks(s, "c.md", 50, 1);
        CHECK_OK(agt_publish(s, &err), err);
        CHECK_OK(agt_close(s, &err), err);
        char *after = mend_ref(m, "main");
        CHECK(strcmp(after, before) != 0);
        CHECK(mend_is_whole(m, after) && mend_is_whole(m, before));
        CHECK_INT(mend_found(m), 0);
        free(before);
        free(after);
        machine_free(m);
    }
}

/* ---- boots ---- */

static uint64_t mend_pack_bytes(const machine *m) {
    uint64_t sum = 0;
    char *tree = mend_tree(m, "objects/pack");
    for (char *line = tree; line && *line;) {
        unsigned long long size;
        char *end = strchr(line, '\n');
        if (sscanf(line, "f %*s %llu", &size) == 1) sum += size;
        line = end ? end + 1 : NULL;
    }
    free(tree);
    return sum;
}

/* A boot makes again what the one before packed since its checkpoint, and no more. */
TEST(mend, many_boots_pack_no_commit_more_than_twice) {
    uint64_t bytes[2];
    for (int boots = 0; boots < 2; boots++) {
        machine_settings set = {.seed = test_random(), .call_ns = 1000};
        machine *m = machine_new(&set);
        machine_make_folder(m, root);
        machine_sync_all(m);
        for (int boot = 0; boot < 12; boot++) {
            agt_error err;
            agt_store *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
            for (int i = 0; i < 40; i++) {
                char text[400], name[16];
                for (size_t k = 0; k < sizeof text; k++)
                    text[k] = (char)('!' + test_random_below(90)); /* does not compress */
                snprintf(name, sizeof name, "d%d.md", i % 7);
                CHECK_OK(agt_write(s, &agent, name, text, sizeof text, NULL, NULL, &err), err);
                if (i % 20 == 19) CHECK_OK(agt_publish(s, &err), err);
            }
            CHECK_OK(agt_close(s, &err), err);
            if (boots) mend_boot(m);
        }
        agt_error err;
        agt_store *s = oracle_open(machine_process_new(m, "last"), root, NULL, AGT_OK);
        CHECK_OK(agt_checkpoint(s, &err), err);
        agt_store_info info = AGT_STORE_INFO_INIT;
        CHECK_OK(agt_store_get_info(s, &info, &err), err);
        CHECK_INT(info.last_seq, 480);
        CHECK_OK(agt_close(s, &err), err);
        bytes[boots] = mend_pack_bytes(m);
        machine_free(m);
    }
    test_saw("bytes in packs", bytes[1]);
    CHECK(bytes[1] < bytes[0] * 2);
}
