/* Statuses that need a real disk: what libgit2 reports, the search for a store, and limits at and
 * one past. */
#include "../src/data/data.h"
#include "store_kit.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void disk_says(const agt_error *err, agt_status st, const char *says) {
    CHECK_INT(err->status, st);
    if (!strstr(err->message, says))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err->message, says);
}

#ifndef AGENT_TRACE_NO_GIT
/* Puts garbage where libgit2 finds the object, and nobody else. */
static void disk_spoil(const char *alternate, const char *hex) {
    char folder[600], file[700];
    snprintf(folder, sizeof folder, "%s/%.2s", alternate, hex);
    mkdir(folder, 0700);
    snprintf(file, sizeof file, "%s/%s", folder, hex + 2);
    test_write_file(file, "no object at all", 16);
}

/* A store whose first blob and newest commit are only in a folder of alternates, damaged there. */
static const char *disk_damaged_alternate(void) {
    agt_error err;
    unsigned char id[20];
    char hex[41] = "";
    const char *root = test_folder(), *alternate = test_folder();
    agt_store *s = kit_open(root);
    agt_store_info info = AGT_STORE_INFO_INIT;
    kit_write(s, &kit_agent, "a.md", "first\n");
    kit_write(s, &kit_agent, "a.md", "second\n");
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    kit_write(s, &kit_agent, "a.md", "third\n");
    kit_close(s);
    free(kit_run("rm %s/.agent-trace/git/objects/pack/*", root));
    agt__git_id(agt__cpu(), "blob", "first\n", 6, id);
    agt__hex(id, 20, hex);
    disk_spoil(alternate, hex);
    disk_spoil(alternate, info.head);
    test_write_file(kit_path(root, ".agent-trace/git/objects/info/alternates"), alternate,
                    strlen(alternate));
    return root;
}

TEST(codes, what_libgit2_reports_is_answered_git_and_the_store_goes_on) {
    agt_error err;
    agt_bytes b;
    agt_store *s;
    const char *root = disk_damaged_alternate();
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.publish = AGT_PUBLISH_CLOSE;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    CHECK_STATUS(agt_read_version(s, "a.md", 1, &b, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    CHECK(err.sys < 0 && !b.data);
    CHECK_STATUS(agt_restore(s, &kit_agent, "a.md", 1, NULL, NULL, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    CHECK_STATUS(agt_diff(s, "a.md", 1, 0, &b, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    CHECK_STATUS(agt_publish(s, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    CHECK_STATUS(agt_checkpoint(s, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    CHECK_STATUS(agt_store_idle(s, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    kit_reads(s, "a.md", "third\n");
    CHECK_INT(kit_write(s, &kit_agent, "a.md", "fourth\n"), 4);
    CHECK_INT(kit_events(s), 4);
    CHECK_STATUS(agt_close(s, &err), AGT_GIT, err);
    disk_says(&err, AGT_GIT, "cannot read a git object: ");
    o.publish = 0;
    CHECK_OK(agt_open(&s, root, &o, &err), err); /* what was acknowledged is safe */
    kit_reads(s, "a.md", "fourth\n");
    kit_close(s);
}
#endif

/* ---- finding ---- */

TEST(codes, a_store_is_found_from_its_folders_and_nowhere_else) {
    agt_error err;
    char at[4096], real[4096];
    const char *root = test_folder(), *other = test_folder();
    agt_store *s = kit_open(root);
    kit_write(s, &kit_agent, "deep/er/a.md", "1");
    kit_close(s);
    CHECK(realpath(root, real));
    CHECK_STATUS(agt_store_find(kit_path(root, "deep/er"), at, sizeof at, &err), AGT_OK, err);
    CHECK_STR(at, real);
    CHECK_STATUS(agt_store_find(root, at, strlen(real) + 1, &err), AGT_OK, err);
    CHECK_STATUS(agt_store_find(root, at, strlen(real), &err), AGT_LIMIT, err);
    disk_says(&err, AGT_LIMIT, "needs more than");
    CHECK_STATUS(agt_store_find(other, at, sizeof at, &err), AGT_NOT_FOUND, err);
    disk_says(&err, AGT_NOT_FOUND, "agent-trace init");
    CHECK_STATUS(agt_store_find(kit_path(root, "none"), at, sizeof at, &err), AGT_NOT_FOUND, err);
    disk_says(&err, AGT_NOT_FOUND, "none");
    CHECK_STATUS(agt_store_find(kit_path(root, "deep/er/a.md"), at, sizeof at, &err), AGT_INVALID,
                 err);
    disk_says(&err, AGT_INVALID, "a.md");
}

TEST(codes, a_search_without_descriptors_is_answered_io) {
    const char *root = test_folder();
    kit_close(kit_open(root));
    pid_t child = fork();
    if (child == 0) {
        agt_error err;
        char at[4096];
        struct rlimit none = {3, 3};
        if (setrlimit(RLIMIT_NOFILE, &none) != 0) _exit(98);
        CHECK_STATUS(agt_store_find(root, at, sizeof at, &err), AGT_IO, err);
        disk_says(&err, AGT_IO, "cannot open the folder");
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
}

/* ---- limits ---- */

static agt_status disk_write(agt_store *s, const char *path, const char *actor, const char *session,
                             const char *summary, agt_error *err) {
    agt_caller who = AGT_CALLER(actor);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    who.session = session;
    o.summary = summary;
    return agt_write(s, &who, path, "x", 1, &o, NULL, err);
}

static char *disk_text(const char *begin, char c, size_t n) {
    size_t len = strlen(begin);
    char *out = malloc(len + n + 1);
    memcpy(out, begin, len);
    memset(out + len, c, n);
    out[len + n] = 0;
    return out;
}

TEST(codes, names_and_texts_are_taken_at_their_limit_and_refused_one_past) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    uint64_t events = 0;
    for (size_t past = 0; past < 2; past++) {
        agt_status invalid = past ? AGT_INVALID : AGT_OK, limit = past ? AGT_LIMIT : AGT_OK;
        char *actor = disk_text("agent:", 'k', AGT_MAX_NAME + past);
        char *word = disk_text("", 'w', AGT_MAX_NAME + past);
        char *summary = disk_text("", '"', AGT_MAX_SUMMARY + past);
        CHECK_STATUS(disk_write(s, "actor.md", actor, NULL, NULL, &err), invalid, err);
        if (past) disk_says(&err, AGT_INVALID, "use user, system or agent:<name>");
        CHECK_STATUS(disk_write(s, "session.md", "user", word, NULL, &err), invalid, err);
        if (past) disk_says(&err, AGT_INVALID, "1 to 64 of");
        CHECK_STATUS(disk_write(s, "summary.md", "user", NULL, summary, &err), limit, err);
        if (past) disk_says(&err, AGT_LIMIT, "4096");
        CHECK_STATUS(agt_event_append(s, &kit_user, word, "x", NULL, 0, NULL, &err), invalid, err);
        if (past) disk_says(&err, AGT_INVALID, "1 to 64 of");
        CHECK_STATUS(agt_event_append(s, &kit_user, "step", summary, NULL, 0, NULL, &err), limit,
                     err);
        if (past) disk_says(&err, AGT_LIMIT, "4096");
        free(actor);
        free(word);
        free(summary);
        if (!past) events = kit_events(s);
    }
    CHECK_INT(events, 5);
    CHECK_INT(kit_events(s), events);
    kit_close(s);
}

/* `folders` folders named "d", then a name that makes the path n bytes long. */
static char *disk_path(size_t folders, size_t n) {
    char *out = malloc(n + 1);
    size_t at = 0;
    for (size_t i = 0; i < folders; i++, at += 2)
        memcpy(out + at, "d/", 2);
    memset(out + at, 'a', n - at);
    out[n] = 0;
    return out;
}

TEST(codes, paths_are_taken_at_their_limit_and_refused_one_past) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    char *deep = disk_path(AGT_MAX_DEPTH, 2 * AGT_MAX_DEPTH + 4);
    char *deeper = disk_path(AGT_MAX_DEPTH + 1, 2 * AGT_MAX_DEPTH + 4);
    CHECK_OK(disk_write(s, deep, "user", NULL, NULL, &err), err);
    CHECK_STATUS(disk_write(s, deeper, "user", NULL, NULL, &err), AGT_LIMIT, err);
    disk_says(&err, AGT_LIMIT, "64");
    char path[AGT_MAX_PATH + 2];
    memset(path, 'a', sizeof path);
    for (size_t i = 200; i < AGT_MAX_PATH; i += 200)
        path[i] = '/';
    path[AGT_MAX_PATH] = 0;
    CHECK_OK(disk_write(s, path, "user", NULL, NULL, &err), err);
    kit_reads(s, path, "x");
    path[AGT_MAX_PATH] = 'a';
    path[AGT_MAX_PATH + 1] = 0;
    CHECK_STATUS(disk_write(s, path, "user", NULL, NULL, &err), AGT_LIMIT, err);
    disk_says(&err, AGT_LIMIT, "shorten it");
    CHECK_INT(kit_events(s), 2);
    free(deep);
    free(deeper);
    kit_close(s);
}

TEST(codes, a_batch_is_taken_at_its_limit) {
    agt_error err;
    agt_store *s = kit_open(test_folder());
    agt_change *c = calloc(AGT_MAX_BATCH, sizeof *c);
    char(*names)[16] = calloc(AGT_MAX_BATCH, sizeof *names);
    for (int i = 0; i < AGT_MAX_BATCH; i++) {
        snprintf(names[i], sizeof names[i], "n%d.md", i);
        c[i] = (agt_change)AGT_CHANGE_INIT;
        c[i].path = names[i];
    }
    CHECK_OK(agt_batch(s, &kit_user, c, AGT_MAX_BATCH, AGT_DURABLE_PROCESS, NULL, &err), err);
    CHECK_INT(kit_events(s), AGT_MAX_BATCH);
    free(names);
    free(c);
    kit_close(s);
}
