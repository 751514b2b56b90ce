/* A person puts another folder in the place of .agent-trace/git, or of a part of it, while a handle
 * is open: a copy that was kept, nothing at all, the same once more. The handle goes on with what
 * lies there, and says what is lost. */
#include "../src/store/store.h"
#include "git_kit.h"

typedef struct swapped {
    const char *root;
    agt_store *s;
} swapped;

/* Version n of a.md is the text "n\n"; so it is in git, as the last of n commits. */
static void swapped_write(swapped *w, uint32_t n) {
    char text[16], count[16];
    snprintf(text, sizeof text, "%u\n", n);
    snprintf(count, sizeof count, "%u\n", n);
    CHECK_INT(kit_write(w->s, &kit_user, "a.md", text), n);
    kit_publish(w->s);
    kit_commits(w->root, count);
}

static void swapped_whole(swapped *w, uint32_t n) {
    for (uint32_t v = 1; v <= n; v++) {
        char text[16];
        snprintf(text, sizeof text, "%u\n", v);
        kit_version_reads(w->s, "a.md", v, text);
    }
    free(kit_run("git --git-dir %s/.agent-trace/git fsck --strict --no-dangling 2>&1", w->root));
    char *found = kit_run("ls %s/.agent-trace/git/refs/heads", w->root);
    CHECK_STR(found, "main\n");
    free(found);
}

static swapped swapped_new(bool packed) {
    agt_error err;
    swapped w = {test_folder(), NULL};
    w.s = kit_open(w.root);
    swapped_write(&w, 1);
    if (packed) CHECK_OK(agt_checkpoint(w.s, &err), err);
    return w;
}

/* Runs a command in .agent-trace. */
static void swapped_do(const swapped *w, const char *command) {
    free(kit_run("cd '%s/.agent-trace' && %s", w->root, command));
}

static void swapped_end(swapped *w, uint32_t n) {
    agt_error err;
    swapped_write(w, n);
    swapped_whole(w, n);
    CHECK_OK(agt_checkpoint(w->s, &err), err);
    swapped_whole(w, n);
    kit_close(w->s);
    w->s = kit_open(w->root);
    swapped_whole(w, n);
    kit_close(w->s);
}

TEST(swapped, an_older_copy_of_git_gets_what_it_lacks) {
    for (int packed = 0; packed < 2; packed++) {
        swapped w = swapped_new(packed);
        swapped_do(&w, "cp -a git kept");
        swapped_write(&w, 2);
        swapped_whole(&w, 2);
        swapped_do(&w, "rm -rf git && mv kept git");
        swapped_end(&w, 3);
    }
}

/* Records are only let go for packs that are there. */
TEST(swapped, an_older_copy_takes_no_record_with_it) {
    agt_error err;
    swapped w = swapped_new(false);
    swapped_do(&w, "cp -a git kept");
    for (uint32_t n = 2; n <= 40; n++) {
        char text[16];
        snprintf(text, sizeof text, "%u\n", n);
        CHECK_INT(kit_write(w.s, &kit_user, "a.md", text), n);
    }
    kit_publish(w.s);
    CHECK(w.s->shared.packed_seq > w.s->journal.header.packed_seq);
    swapped_do(&w, "mv git away && mv kept git");
    CHECK_OK(agt__empty_journal(w.s, &err), err);
    swapped_end(&w, 41);
}

TEST(swapped, git_that_is_removed_is_made_again) {
    swapped w = swapped_new(false);
    swapped_write(&w, 2);
    swapped_do(&w, "rm -rf git");
    swapped_end(&w, 3);
}

TEST(swapped, the_same_folder_under_another_inode_is_no_loss) {
    static const char *const moves[] = {
        "cp -a git new && rm -rf git && mv new git",
        "cp -a git/objects git/new && rm -rf git/objects && mv git/new git/objects",
        "cd git/objects && cp -a pack new && rm -rf pack && mv new pack",
        "cp -a git/refs git/new && rm -rf git/refs && mv git/new git/refs",
    };
    for (size_t i = 0; i < AGT_COUNT(moves); i++) {
        swapped w = swapped_new(true);
        swapped_write(&w, 2);
        swapped_whole(&w, 2);
        swapped_do(&w, moves[i]);
        swapped_whole(&w, 2);
        swapped_do(&w, moves[i]);
        swapped_end(&w, 3);
    }
}

TEST(swapped, what_no_record_holds_is_said_to_be_lost_until_it_is_back) {
    agt_error err;
    agt_bytes b;
    swapped w = swapped_new(true);
    swapped_do(&w, "mv git kept");
    CHECK_INT(kit_write(w.s, &kit_user, "a.md", "2\n"), 2);
    CHECK_STATUS(agt_publish(w.s, &err), AGT_CORRUPT, err);
    CHECK(strstr(err.message, "agent-trace repair"));
    CHECK_STATUS(agt_read_version(w.s, "a.md", 1, &b, &err), AGT_CORRUPT, err);
    kit_version_reads(w.s, "a.md", 2, "2\n");
    swapped_do(&w, "rm -rf git && mv kept git");
    kit_version_reads(w.s, "a.md", 1, "1\n");
    kit_publish(w.s);
    kit_commits(w.root, "2\n");
    swapped_end(&w, 3);
}

TEST(swapped, a_reader_that_may_not_write_follows_too) {
    agt_error err;
    agt_store *reader;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    swapped w = swapped_new(true);
    o.read_only = 1;
    CHECK_OK(agt_open(&reader, w.root, &o, &err), err);
    kit_version_reads(reader, "a.md", 1, "1\n");
    swapped_write(&w, 2);
    CHECK_OK(agt_checkpoint(w.s, &err), err);
    swapped_do(&w, "cp -a git new && rm -rf git && mv new git");
    kit_version_reads(reader, "a.md", 1, "1\n");
    kit_version_reads(reader, "a.md", 2, "2\n");
    kit_close(reader);
    swapped_end(&w, 3);
}
