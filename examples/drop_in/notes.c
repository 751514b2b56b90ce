/* A program that has a git repository of its own and libgit2 settings of its own, and keeps its
 * agents' notes with agent_trace in the same folder. Neither notices the other: the library makes
 * its commits in .agent-trace/git, leaves the repository's .git alone, changes no setting of
 * libgit2, and does not shut libgit2 down under the program. */
#include "agent_trace.h"

#include <git2.h>
#include <stdio.h>
#include <string.h>

#define PLAN "# Plan\n\n1. Read the code.\n"

static int fail(const char *what, const char *why) {
    fprintf(stderr, "notes: %s: %s\n", what, why);
    return 1;
}

static int git_fail(const char *what) {
    const git_error *error = git_error_last();
    return fail(what, error ? error->message : "libgit2 does not say why");
}

/* Commits the file as the program does it, with its own repository's index and its own author. */
static int commit(git_repository *repo, const char *path, git_oid *out) {
    git_index *index = NULL;
    git_tree *tree = NULL;
    git_signature *author = NULL;
    git_oid id;
    int rc = git_repository_index(&index, repo);
    if (!rc) rc = git_index_add_bypath(index, path);
    if (!rc) rc = git_index_write(index);
    if (!rc) rc = git_index_write_tree(&id, index);
    if (!rc) rc = git_tree_lookup(&tree, repo, &id);
    if (!rc) rc = git_signature_now(&author, "Notes", "notes@example.org");
    if (!rc) rc = git_commit_create_v(out, repo, "HEAD", author, author, NULL, "Plan", tree, 0);
    git_signature_free(author);
    git_tree_free(tree);
    git_index_free(index);
    return rc;
}

/* What an agent does: a plan it may write, a reference it may not. */
static int keep_notes(const char *folder) {
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    agt_caller user = AGT_CALLER("user"), agent = AGT_CALLER("agent:reader");
    agt_write_options reference = AGT_WRITE_OPTIONS_INIT;
    agt_store *store;
    agt_error err;
    agt_status status;
    options.create = 1;
    options.publish = AGT_PUBLISH_CLOSE;
    reference.type = AGT_TYPE_REFERENCE;
    if (agt_open(&store, folder, &options, &err)) return fail("open", err.message);
    if (agt_write(store, &user, "STYLE.md", "Two spaces.\n", 12, &reference, NULL, &err) ||
        agt_write(store, &agent, "plan.md", PLAN, strlen(PLAN), NULL, NULL, &err)) {
        agt_close(store, NULL);
        return fail("write", err.message);
    }
    status = agt_write(store, &agent, "STYLE.md", "Tabs.\n", 6, NULL, NULL, &err);
    if (agt_close(store, &err)) return fail("close", err.message);
    if (status != AGT_DENIED) return fail("an agent's reference", agt_status_name(status));
    return 0;
}

int main(int argc, char **argv) {
    git_repository *repo;
    git_oid made, head;
    size_t window = 0;
    int rc;
    if (argc != 2) return fail("usage", "notes FOLDER");
    git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)(8u << 20));
    if (git_repository_init(&repo, argv[1], 0)) return git_fail("init");

    rc = keep_notes(argv[1]);
    if (!rc && commit(repo, "plan.md", &made)) rc = git_fail("commit");
    if (!rc) rc = keep_notes(argv[1]); /* once more, over a repository that has a commit */
    if (!rc && git_reference_name_to_id(&head, repo, "HEAD")) rc = git_fail("HEAD");
    if (!rc && git_oid_cmp(&head, &made)) rc = fail("HEAD", "the program's own repository moved");
    git_libgit2_opts(GIT_OPT_GET_MWINDOW_SIZE, &window);
    if (!rc && window != 8u << 20) rc = fail("libgit2", "a setting of the program's was changed");

    git_repository_free(repo);
    if (git_libgit2_shutdown() != 0 && !rc) rc = fail("libgit2", "is held by somebody");
    if (!rc) puts("the notes are kept, and the repository is the program's own");
    return rc;
}
