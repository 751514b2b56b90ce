/* Upgrading stores of agent-trace 0.1.0: every fact before is a fact afterwards, the store is one
 * of ours, the documents are as they were, and whoever is at work is waited for. */
#include "../src/git/parts.h"
#include "old_facts.h"

#include <sys/file.h>
#include <fcntl.h>
#include <time.h>

/* The documents' folder without what is ours: names, modes, times, bytes. */
static char *upgrade_documents(const char *root) {
    return kit_run("cd %s && find . -path ./.agent-trace -prune -o -path ./.git -prune -o -type f "
                   "-printf '%%p %%m %%s %%T@\\n' | LC_ALL=C sort && find . -path ./.agent-trace "
                   "-prune -o -path ./.git -prune -o -type f -print0 | LC_ALL=C sort -z | xargs "
                   "-0r sha256sum",
                   root);
}

static void upgrade_agrees_with_git(const char *root, const agt_store_info *info) {
    char *fsck = kit_run("git --git-dir %s/.agent-trace/git fsck --strict 2>&1", root);
    char *head = kit_run("git --git-dir %s/.agent-trace/git rev-parse main", root);
    CHECK_BYTES(head, 40, info->head, 40);
    free(fsck);
    free(head);
}

/* What was in .agent-trace is in the backup, or stayed where it was. */
static void upgrade_kept_all(const char *root, const char *copy) {
    free(kit_run("cd %s/.agent-trace/backup-0.1.0 && for f in config.toml manifest.toml "
                 "summary_events.jsonl; do cmp $f %s/.agent-trace/$f || exit 1; done && "
                 "diff -r repo %s/.agent-trace/repo",
                 root, copy, copy));
    free(kit_run("cd %s/.agent-trace && cmp context_updates.jsonl "
                 "%s/.agent-trace/context_updates.jsonl && test ! -e repo -a ! -e upgrade -a ! -e "
                 "manifest.toml",
                 root, copy));
}

static void upgrade_one(const char *name, const agt_json *facts, old_saw *saw) {
    agt_error err;
    agt_store *s;
    agt_upgrade_options dry = AGT_UPGRADE_OPTIONS_INIT;
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT, again = AGT_UPGRADE_RESULT_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    const char *root = old_unpack(name), *copy = old_unpack(name);
    char *before = upgrade_documents(root), *after;
    dry.dry_run = 1;
    CHECK_OK(agt_upgrade(root, &dry, &r, &err), err);
    free(kit_run("diff -r %s %s", root, copy)); /* nothing was written */
    CHECK(!r.already);
    agt_bytes_free(&r.report);
    CHECK_OK(agt_upgrade(root, NULL, &again, &err), err);
    CHECK_INT(again.commits, r.commits);
    CHECK_INT(again.events, r.events);
    CHECK_INT(again.versions, r.versions);
    CHECK_INT(again.versions_lost, 0);
    agt_bytes_free(&again.report);
    after = upgrade_documents(root);
    CHECK_STR(after, before);
    free(before);
    free(after);
    upgrade_kept_all(root, copy);
    for (int i = 0; i < 2; i++) { /* once more after it was closed */
        s = kit_open(root);
        old_check_facts(s, facts, saw);
        CHECK_OK(agt_store_get_info(s, &info, &err), err);
        CHECK_INT(info.last_seq, r.events);
        CHECK_INT(info.published_seq, r.events);
        upgrade_agrees_with_git(root, &info);
        kit_close(s);
    }
    CHECK_OK(agt_upgrade(root, NULL, &again, &err), err);
    CHECK_INT(again.already, 1);
    agt_bytes_free(&again.report);
}

TEST(old_upgrade, every_fact_of_five_stores_holds_afterwards) {
    old_facts f = old_read_json("expected.json");
    old_saw saw = {0};
    for (size_t i = 0; i < OLD_STORES; i++) {
        agt_json facts = old_store_facts(&f, old_names[i]);
        upgrade_one(old_names[i], &facts, &saw);
    }
    free(f.bytes);
    test_saw("versions, twice", saw.versions);
    test_saw("commits, twice", saw.commits);
    CHECK_INT(saw.documents, 2 * 56);
    CHECK_INT(saw.commits, 2 * 754);
    CHECK_INT(saw.events, 2 * 551);
}

TEST(old_upgrade, the_store_goes_on_where_it_was) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    const char *root = old_unpack("agents");
    test_write_file(kit_path(root, "brief.md"), "by hand\n", 8); /* behind everybody's back */
    CHECK_OK(agt_upgrade(root, NULL, NULL, &err), err);
    kit_disk_has(root, "brief.md", "by hand\n");
    agt_store *s = kit_open(root);
    CHECK_INT(kit_write(s, &kit_agent, "roadmap.md", "next\n"), 6);
    CHECK_STATUS(agt_write(s, &kit_agent, "api-contract.md", "x", 1, NULL, &r, &err), AGT_DENIED,
                 err);
    agt_caller sure = kit_user;
    sure.confirm = 1;
    CHECK_OK(agt_write(s, &sure, "brief.md", "after\n", 6, NULL, &r, &err), err);
    CHECK_INT(r.edit_recorded, 1);
    CHECK_INT(r.version, 4); /* two of old, the edit, this one */
    kit_version_reads(s, "brief.md", 3, "by hand\n");
    CHECK_OK(agt_restore(s, &kit_user, "notes/osprey.md", 1, NULL, &r, &err), err);
    CHECK_OK(agt_document_get(s, "notes/osprey.md", &d, &err), err);
    CHECK_INT(d.version, 3);
    kit_publish(s);
    CHECK_OK(agt_checkpoint(s, &err), err);
    kit_close(s);
    free(kit_run("git --git-dir %s/.agent-trace/git fsck --strict 2>&1", root));
}

TEST(old_upgrade, names_that_other_systems_refuse_can_be_given_others) {
    agt_error err;
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    const char *root = old_unpack("scanned");
    CHECK_OK(agt_upgrade(root, NULL, &r, &err), err);
    CHECK(strstr((char *)r.report.data, "\"docs/star*and?mark.md\""));
    CHECK(strstr((char *)r.report.data, "\"docs/quote'and\\\"double.md\""));
    CHECK(strstr((char *)r.report.data, "agent-trace mv"));
    agt_bytes_free(&r.report);
    agt_store *s = kit_open(root);
    CHECK_INT(kit_write(s, &kit_user, "docs/star*and?mark.md", "as it was\n"), 2);
    CHECK_STATUS(agt_write(s, &kit_user, "docs/new*.md", "x", 1, NULL, NULL, &err), AGT_INVALID,
                 err);
    CHECK_STATUS(agt_rename(s, &kit_user, "crlf.md", "crlf?.md", NULL, NULL, &err), AGT_INVALID,
                 err);
    CHECK_OK(agt_rename(s, &kit_user, "docs/star*and?mark.md", "docs/star.md", NULL, NULL, &err),
             err);
    CHECK_OK(agt_remove(s, &kit_user, "docs/quote'and\"double.md", NULL, NULL, &err), err);
    CHECK_INT(kit_write(s, &kit_user, "docs/star.md", "mended\n"), 4);
    CHECK_STATUS(agt_restore(s, &kit_user, "docs/quote'and\"double.md", 1, NULL, NULL, &err),
                 AGT_INVALID, err);
    kit_version_reads(s, "docs/star.md", 1, "glob characters\n");
    kit_close(s);
    free(kit_run("test -e %s/docs/star.md -a ! -e '%s/docs/star*and?mark.md'", root, root));
}

/* ---- grants ---- */

/* A grant in overrides.toml that began a minute ago. */
static void grant_add(const char *root, const char *path, const char *actor, long minutes) {
    char text[400], from[AGT_TIME_TEXT], to[AGT_TIME_TEXT];
    int64_t now = (int64_t)time(NULL) * 1000;
    FILE *f = fopen(kit_path(root, ".agent-trace/overrides.toml"), "a");
    CHECK(f != NULL);
    agt__time_format(now - 60000, from);
    agt__time_format(now + minutes * 60000, to);
    snprintf(text, sizeof text,
             "[[override]]\ndoc_id = \"00000000-0000-4000-8000-000000000000\"\npath = \"%s\"\n"
             "allow_actor = \"%s\"\ngranted_at = \"%s\"\nexpires_at = \"%s\"\n"
             "granted_by = \"user\"\n",
             path, actor, from, to);
    CHECK(fputs(text, f) >= 0);
    CHECK_INT(fclose(f), 0);
}

static agt_status grant_try(agt_store *s, const char *actor, const char *path) {
    agt_error err;
    agt_caller who = AGT_CALLER(actor);
    static int n;
    char text[24];
    snprintf(text, sizeof text, "try %d\n", n++);
    return agt_write(s, &who, path, text, strlen(text), NULL, NULL, &err);
}

TEST(old_upgrade, grants_last_as_long_as_they_said_and_are_honoured) {
    agt_error err;
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    const char *root = old_unpack("agents"); /* api-contract.md, docs/limits.md: reference */
    grant_add(root, "api-contract.md", "agent:kestrel", 60L * 24 * 3650);
    grant_add(root, "api-contract.md", "agent:kestrel", 5); /* outlasted by the one before */
    grant_add(root, "api-contract.md", "agent:wren", 60);
    grant_add(root, "docs/limits.md", "agent:osprey", -1); /* over */
    grant_add(root, "docs/limits.md", "kestrel", 60);      /* nobody */
    CHECK_OK(agt_upgrade(root, NULL, &r, &err), err);
    const char *report = (const char *)r.report.data;
    CHECK(strstr(report, "agent:kestrel may write \"api-contract.md\" until "));
    CHECK(strstr(report, "the grant of \"docs/limits.md\" for \"kestrel\" is for nobody"));
    CHECK(!strstr(report, "wren") && !strstr(report, "osprey"));
    agt_bytes_free(&r.report);
    for (int i = 0; i < 2; i++) { /* once more from the catalog of a checkpoint */
        agt_store *s = kit_open(root);
        CHECK_INT(grant_try(s, "agent:kestrel", "api-contract.md"), AGT_OK);
        CHECK_INT(grant_try(s, "agent:wren", "api-contract.md"), AGT_OK);
        CHECK_INT(grant_try(s, "agent:osprey", "api-contract.md"), AGT_DENIED);
        CHECK_INT(grant_try(s, "agent:osprey", "docs/limits.md"), AGT_DENIED);
        CHECK_INT(grant_try(s, "agent:kestrel", "docs/limits.md"), AGT_DENIED);
        CHECK_OK(agt_checkpoint(s, &err), err);
        kit_close(s);
    }
    agt_store *s = kit_open(root);
    CHECK_OK(agt_revoke(s, &kit_user, "api-contract.md", "agent:kestrel", NULL, NULL, &err), err);
    CHECK_INT(grant_try(s, "agent:kestrel", "api-contract.md"), AGT_DENIED);
    CHECK_STATUS(agt_unlock(s, &kit_user, "api-contract.md", "agent:kestrel", AGT_MAX_GRANT_MS + 1,
                            NULL, NULL, &err),
                 AGT_INVALID, err);
    kit_close(s);
}

/* ---- who is at work ---- */

TEST(old_upgrade, nothing_is_done_while_a_process_of_the_old_program_leads) {
    agt_error err;
    char line[40];
    const char *root = old_unpack("agents"), *copy = old_unpack("agents");
    int fd = open(kit_path(root, ".agent-trace/locks/poll.lock"), O_RDWR);
    CHECK(fd >= 0);
    CHECK_INT(flock(fd, LOCK_EX | LOCK_NB), 0);
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_BUSY, err);
    close(fd);
    snprintf(line, sizeof line, "%ld\n", (long)getpid());
    test_write_file(kit_path(root, ".agent-trace/locks/instance.lock"), line, strlen(line));
    CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_BUSY, err);
    CHECK(strstr(err.message, "instance.lock"));
    unlink(kit_path(root, ".agent-trace/locks/instance.lock"));
    unlink(kit_path(root, ".agent-trace/locks/store.lock")); /* all that the tries left */
    free(kit_run("diff -r %s %s", root, copy));
    /* a dead one is no hindrance */
    test_write_file(kit_path(root, ".agent-trace/locks/instance.lock"), "4194999", 7);
    CHECK_OK(agt_upgrade(root, NULL, NULL, &err), err);
}

TEST(old_upgrade, nothing_is_done_while_one_of_ours_leads_by_whichever_lock) {
    agt_error err;
    for (uint32_t backend = AGT_LOCK_FLOCK; backend <= AGT_LOCK_SENTINEL; backend++) {
        const char *root = old_unpack("agents");
        agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
        agt_poll_lock *lock;
        o.backend = backend;
        o.timeout_ms = AGT_TRY;
        CHECK_OK(agt_poll_lock_acquire(&lock, root, &o, &err), err);
        CHECK_STATUS(agt_upgrade(root, NULL, NULL, &err), AGT_BUSY, err);
        CHECK(strstr(err.message, backend == AGT_LOCK_FLOCK ? "poll.lock" : "poll.lock.owner"));
        CHECK_OK(agt_poll_lock_check(lock, &err), err);
        agt_poll_lock_release(lock);
        CHECK_OK(agt_upgrade(root, NULL, NULL, &err), err);
    }
}

/* ---- the folder's .git ---- */

TEST(old_upgrade, the_git_file_goes_only_if_it_led_to_the_old_repository) {
    static const struct {
        const char *text; /* %s: the root */
        bool goes;
    } links[] = {
        {"gitdir: /srv/stores/typed/.agent-trace/repo/.git/", true}, /* where it was made */
        {"gitdir: %s/.agent-trace/repo/.git/", true},
        {"gitdir: %s/.agent-trace/repo/.git\n", true},
        {"gitdir: /elsewhere/.agent-trace/repo/.git/", false},
        {"gitdir: ../.git/worktrees/typed\n", false},
        {"", false}};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        agt_error err;
        char text[2000];
        agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
        const char *root = old_unpack("typed");
        char *real = realpath(root, NULL);
        if (strstr(links[i].text, "%s"))
            snprintf(text, sizeof text, "gitdir: %s%s", real, strstr(links[i].text, "%s") + 2);
        else
            snprintf(text, sizeof text, "%s", links[i].text);
        test_write_file(kit_path(root, ".git"), text, strlen(text));
        CHECK_OK(agt_upgrade(root, NULL, &r, &err), err);
        agt_bytes_free(&r.report);
        CHECK_INT(access(kit_path(root, ".git"), F_OK), links[i].goes ? -1 : 0);
        CHECK_INT(r.git_link_moved, links[i].goes);
        if (links[i].goes)
            kit_disk_has(root, ".agent-trace/backup-0.1.0/gitlink", text);
        else
            kit_disk_has(root, ".git", text);
        free(real);
    }
}
