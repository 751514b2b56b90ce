/* Making a store, finding one, and what once was one: a store that lost its config.toml keeps what
 * it has, and is never taken for a folder without a store. */
#include "../src/data/data.h"
#include "../src/log/trace.h"
#include "oracle.h"
#include "store_kit.h"

#include <sys/stat.h>
#include <unistd.h>

static agt_status create_open(const char *root, bool create, bool read_only, agt_error *err) {
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = create;
    o.read_only = read_only;
    agt_status st = agt_open(&s, root, &o, err);
    if (st == AGT_OK) kit_close(s);
    return st;
}

/* Every name and byte of it. */
static char *create_tree(const char *root) {
    return kit_run("cd %s && find . | sort && find . -type f | sort | xargs cksum", root);
}

/* It is told as a store without its config.toml, whoever asks, and nothing changes. */
static void create_lost(const char *root) {
    agt_error err;
    char at[4096];
    char *before = create_tree(root);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(create_open(root, i == 0, i == 2, &err), AGT_CORRUPT, err);
        CHECK(strstr(err.message, "has lost its .agent-trace/config.toml"));
        CHECK(strstr(err.message, root));
        CHECK(!strstr(err.message, "init"));
    }
    CHECK_STATUS(agt_store_find(root, at, sizeof at, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, "has lost its .agent-trace/config.toml"));
    char *after = create_tree(root);
    CHECK_STR(after, before);
    free(before);
    free(after);
}

static const char *create_config(const char *root) {
    return kit_path(root, ".agent-trace/config.toml");
}
static void create_lose_config(const char *root) {
    CHECK_INT(unlink(create_config(root)), 0);
}
static void create_only(const char *root, const char *names) {
    free(kit_run("cd %s/.agent-trace && for f in *; do case ' %s ' in *\" $f \"*) ;; *) rm -r $f;; "
                 "esac; done",
                 root, names));
}

TEST(create, a_store_that_lost_its_config_keeps_every_acknowledged_version) {
    size_t n;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "a.md", "1");
    kit_write(s, &kit_agent, "a.md", "2");
    kit_close(s);
    unsigned char *config = test_read_file(create_config(root), &n);
    create_lose_config(root);
    create_lost(root);
    test_write_file(create_config(root), config, n); /* the mend that the message names */
    free(config);
    s = kit_open(root);
    kit_version_reads(s, "a.md", 1, "1");
    kit_reads(s, "a.md", "2");
    CHECK_INT(kit_events(s), 2);
    kit_close(s);
}

TEST(create, a_store_that_was_moved_away_makes_room_for_a_new_one) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "a.md", "1");
    kit_close(s);
    create_lose_config(root);
    create_lost(root);
    CHECK_INT(rename(kit_path(root, ".agent-trace"), kit_path(root, "away")), 0);
    s = kit_open(root);
    CHECK_INT(kit_events(s), 0);
    kit_close(s);
}

/* One by one, with nothing else of the store left. */
TEST(create, each_remains_of_a_store_is_enough) {
    static const char *const kinds[] = {"journal", "trace",           "unpublished",
                                        "git",     "unpublished git", "catalog.1 catalog.2"};
    agt_error err;
    size_t told = 0;
    for (size_t i = 0; i < AGT_COUNT(kinds); i++) {
        const char *root = test_folder();
        agt_store *s = kit_open(root);
        kit_write(s, &kit_agent, "a.md", "1");
        if (i >= 2 && i != 3) CHECK_OK(agt_checkpoint(s, &err), err);
        kit_publish(s);
        kit_close(s);
        create_lose_config(root);
        create_only(root, kinds[i]);
        if (i == 2) test_write_file(kit_path(root, ".agent-trace/unpublished/1.records"), "x", 1);
        if (i == 3 && !kit_has_git) continue;
        if (i == 5) test_write_file(kit_path(root, ".agent-trace/catalog.7"), "x", 1);
        create_lost(root);
        told++;
    }
    CHECK(told >= 5);
}

TEST(create, a_packed_branch_is_the_remains_of_a_store) {
    const char *root = test_folder();
    if (!kit_has_git) test_skip("this build has no git");
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "a.md", "1");
    kit_publish(s);
    kit_close(s);
    create_lose_config(root);
    create_only(root, "git");
    free(kit_run("git --git-dir %s/.agent-trace/git pack-refs --all --prune", root));
    create_lost(root);
}

TEST(create, a_journal_that_cannot_be_read_is_not_replaced_where_config_is_missing) {
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "a.md", "1");
    kit_close(s);
    create_lose_config(root);
    create_only(root, "journal");
    free(kit_run("dd if=/dev/zero of=%s/.agent-trace/journal bs=8192 count=1 conv=notrunc 2>&1",
                 root));
    create_lost(root);
}

TEST(create, a_search_does_not_go_past_a_store_that_lost_its_config) {
    agt_error err;
    char at[4096], real[4096], inner[1024];
    const char *outer = test_folder();
    agt_store *s = kit_open(outer);
    kit_write(s, &kit_agent, "in/a.md", "1");
    kit_close(s);
    snprintf(inner, sizeof inner, "%s/in", outer);
    s = kit_open(inner);
    kit_write(s, &kit_agent, "deep/a.md", "1");
    kit_close(s);
    create_lose_config(inner);
    CHECK_STATUS(agt_store_find(kit_path(inner, "deep"), at, sizeof at, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, "/in has lost its .agent-trace/config.toml"));
    /* a folder that never was a store is passed */
    free(kit_run("rm -r %s/.agent-trace && mkdir -p %s/.agent-trace/git/refs/heads", inner, inner));
    CHECK_STATUS(agt_store_find(kit_path(inner, "deep"), at, sizeof at, &err), AGT_OK, err);
    CHECK(realpath(outer, real));
    CHECK_STR(at, real);
}

TEST(create, an_empty_config_is_damage_and_no_older_format) {
    static const char *const texts[] = {"", "\n", " \t\r\n\n", "\0\0\0\0\0\0"};
    static const size_t lengths[] = {0, 1, 5, 6};
    agt_error err;
    char at[4096];
    const char *root = test_folder();
    kit_close(kit_open(root));
    for (size_t i = 0; i < AGT_COUNT(texts); i++) {
        test_write_file(create_config(root), texts[i], lengths[i]);
        char *before = create_tree(root);
        for (int how = 0; how < 3; how++) {
            CHECK_STATUS(create_open(root, how == 0, how == 2, &err), AGT_CORRUPT, err);
            CHECK(strstr(err.message, "is empty; run 'agent-trace repair'"));
        }
        CHECK_OK(agt_store_find(root, at, sizeof at, &err), err);
        char *after = create_tree(root);
        CHECK_STR(after, before);
        free(before);
        free(after);
    }
}

TEST(create, a_store_of_the_reference_is_found_and_told_as_that) {
    static const char text[] = "[store]\nid = \"x\"\nname = \"y\"\n";
    agt_error err;
    char at[4096], real[4096];
    const char *root = test_folder();
    CHECK_INT(mkdir(kit_path(root, ".agent-trace"), 0700), 0);
    test_write_file(create_config(root), text, sizeof text - 1);
    CHECK_STATUS(create_open(root, true, false, &err), AGT_UNSUPPORTED, err);
    CHECK(strstr(err.message, "agent-trace 0.1.0"));
    CHECK_OK(agt_store_find(root, at, sizeof at, &err), err);
    CHECK(realpath(root, real));
    CHECK_STR(at, real);
}

/* A maker that dies at any change leaves what the next one goes on with; and until there is a
 * config.toml, there is no store, and no damage. */
TEST(create, a_death_in_the_making_is_never_taken_for_a_lost_config) {
    static const char *const root = "/home";
    uint64_t unmade = 0, made = 0, journals = 0;
    for (uint64_t n = 1;; n++) {
        agt_error err;
        agt_stat st;
        agt_store *s;
        agt_open_options look = AGT_OPEN_OPTIONS_INIT;
        machine_settings set = {.seed = test_random(), .call_ns = 1000};
        machine *m = machine_new(&set);
        machine_make_folder(m, root);
        bool died = oracle_until(m, root, n, NULL);
        look.sys = machine_sys(machine_process_new(m, "looker"));
        look.read_only = 1;
        agt_fd at = look.sys->open_root(look.sys->ctx, "/home/.agent-trace");
        bool config = at >= 0 && look.sys->stat(look.sys->ctx, at, "config.toml", &st) >= 0;
        bool journal = at >= 0 && look.sys->stat(look.sys->ctx, at, "journal", &st) >= 0;
        CHECK_STATUS(agt_open(&s, root, &look, &err), config ? AGT_OK : AGT_NOT_FOUND, err);
        if (config) CHECK_OK(agt_close(s, &err), err);
        unmade += !config;
        made += config;
        journals += journal && !config;
        agt_close(oracle_open(machine_process_new(m, "next"), root, NULL, AGT_OK), NULL);
        machine_free(m);
        if (!died) break;
    }
    test_saw("deaths before config.toml", unmade);
    test_saw("with a journal", journals);
    CHECK(unmade > 10);
    CHECK(journals > 3);
    CHECK(made > 1);
}

/* A git repository around it sees nothing of the folder, whoever makes it. */
TEST(create, the_folder_hides_itself_from_a_repository_around_it) {
    agt_error err;
    agt_poll_lock *lock;
    const char *root = test_folder();
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    kit_disk_has(root, ".agent-trace/.gitignore", "*\n");
    CHECK_INT(unlink(kit_path(root, ".agent-trace/.gitignore")), 0);
    agt_poll_lock_release(lock);
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err); /* somebody wanted it away */
    CHECK_INT(access(kit_path(root, ".agent-trace/.gitignore"), F_OK), -1);
    agt_poll_lock_release(lock);
    agt_store *s = kit_open(root); /* that folder was no store yet */
    kit_disk_has(root, ".agent-trace/.gitignore", "*\n");
    CHECK_INT(unlink(kit_path(root, ".agent-trace/.gitignore")), 0);
    kit_write(s, &kit_user, "a.md", "x\n");
    kit_close(s);
    kit_close(kit_open(root));
    CHECK_INT(access(kit_path(root, ".agent-trace/.gitignore"), F_OK), -1);
}

/* By its real path, whatever it is called, and whether or not the folder is there yet. */
TEST(create, none_is_made_in_a_git_folder) {
    static const char *const in[] = {".git",       ".git/hooks", ".git/new",  "link",
                                     "link/hooks", ".GIT",       ".git/begun"};
    agt_error err;
    const char *root = test_folder();
    free(kit_run("cd %s && mkdir -p .git/hooks .git/begun/.agent-trace .GIT && ln -s .git link && "
                 "mkdir .github work.git",
                 root));
    char *before = create_tree(root);
    for (size_t i = 0; i < AGT_COUNT(in); i++) {
        CHECK_STATUS(create_open(kit_path(root, in[i]), true, false, &err), AGT_INVALID, err);
        CHECK(strstr(err.message, "a .git") && strstr(err.message, "another folder"));
        CHECK(strstr(err.message, in[i]));
    }
    char *after = create_tree(root);
    CHECK_STR(after, before);
    free(before);
    free(after);
    CHECK_OK(create_open(kit_path(root, ".github"), true, false, &err), err);
    CHECK_OK(create_open(kit_path(root, "work.git"), true, false, &err), err);
    CHECK_OK(create_open(root, true, false, &err), err);
}

/* One that is there, made by an older version, say, still opens: it has documents. */
TEST(create, a_store_that_lies_in_a_git_folder_already_opens) {
    agt_error err;
    const char *root = test_folder();
    free(kit_run("mkdir %s/made", root));
    CHECK_OK(create_open(kit_path(root, "made"), true, false, &err), err);
    free(kit_run("mv %s/made %s/.git", root, root));
    CHECK_OK(create_open(kit_path(root, ".git"), true, false, &err), err);
    CHECK_OK(create_open(kit_path(root, ".git"), false, false, &err), err);
}
