/* git on the real disk, with git itself as the judge: what we write it must read, list and find
 * sound, and what it repacks we must read. */
#include "../src/git/git.h" /* not in a build without git */
#include "git_kit.h"

#include <dirent.h>
#include <sys/stat.h>

/* ---- the repository's files ---- */

TEST(git, a_new_repository_is_one_to_git_and_making_it_again_changes_nothing) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    char *said = kit_run(KIT_GIT "fsck --full --strict 2>&1 | grep -v ^notice; true", k.path);
    CHECK_STR(said, "");
    free(said);
    said = kit_run(KIT_GIT "rev-parse --is-bare-repository && " KIT_GIT "symbolic-ref HEAD", k.path,
                   k.path);
    CHECK_STR(said, "true\nrefs/heads/main\n");
    free(said);
    test_write_file(kit_path(k.path, "config"), "[core]\n\tbare = true\n", 20);
    CHECK_OK(agt__git_init(k.sys, k.dir, &k.mem, &err), err);
    kit_disk_has(k.path, "config", "[core]\n\tbare = true\n");
    kit_git_close(&k);
}

TEST(git, files_that_a_power_cut_emptied_are_made_again_by_init) {
    kit_git k = kit_git_new();
    agt_error err;
    test_write_file(kit_path(k.path, "HEAD"), "", 0);
    test_write_file(kit_path(k.path, "config"), "", 0);
    CHECK_OK(agt__git_init(k.sys, k.dir, &k.mem, &err), err);
    kit_disk_has(k.path, "HEAD", "ref: refs/heads/main\n");
    free(kit_run("grep -q 'bare = true' '%s/config'", k.path));
    kit_git_close(&k);
}

static agt_status head_status(kit_git *k, agt_oid *id, bool *found) {
    agt_error err = {.status = AGT_END};
    agt_status status = agt__git_head(k->git, id, found, &err);
    CHECK_INT(err.status, status == AGT_OK ? AGT_END : status); /* left alone on success */
    return status;
}

TEST(git, the_head_is_absent_loose_or_packed_and_garbage_in_it_is_damage) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid id, got;
    bool found = true;
    CHECK_INT(head_status(&k, &got, &found), AGT_OK);
    CHECK(!found);
    kit_begin(&k, NULL);
    kit_put_text(&k, "a", "a");
    id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_LOOSE);
    kit_set_head(&k, &id);
    CHECK_INT(head_status(&k, &got, &found), AGT_OK);
    CHECK(found && kit_same_id(&id, &got));
    free(kit_run(KIT_GIT "-c user.name=a -c user.email=b tag -a -m t v1 main && " KIT_GIT
                         "pack-refs --all",
                 k.path, k.path));
    CHECK(access(kit_path(k.path, "refs/heads/main"), F_OK) != 0);
    found = false;
    CHECK_INT(head_status(&k, &got, &found), AGT_OK);
    CHECK(found && kit_same_id(&id, &got));
    static const char *const garbage[] = {
        "",
        "\n",
        "ref: refs/heads/other\n",
        "1234\n",
        "0123456789abcdef0123456789abcdef0123456\n",
        "0123456789ABCDEF0123456789abcdef01234567\n",
        "0123456789abcdef0123456789abcdef01234567 x\n",
    };
    for (size_t i = 0; i < AGT_COUNT(garbage); i++) {
        test_write_file(kit_path(k.path, "refs/heads/main"), garbage[i], strlen(garbage[i]));
        CHECK_INT(head_status(&k, &got, &found), AGT_CORRUPT);
        CHECK(!found);
    }
    kit_set_head(&k, &id);
    CHECK_INT(head_status(&k, &got, &found), AGT_OK);
    CHECK(found && kit_same_id(&id, &got));
    kit_git_close(&k);
}

TEST(git, a_damaged_line_for_main_in_packed_refs_is_damage) {
    kit_git k = kit_git_new();
    agt_oid got;
    bool found;
    const char *text = "# pack-refs with: peeled fully-peeled sorted\n"
                       "0123456789abcdef0123456789abcdef01234567 refs/heads/other\n"
                       "0123456789abcdef0123456789abcdef0123456Z refs/heads/main\n";
    test_write_file(kit_path(k.path, "packed-refs"), text, strlen(text));
    CHECK_INT(head_status(&k, &got, &found), AGT_CORRUPT);
    kit_git_close(&k);
}

TEST(git, a_lock_that_a_git_holds_is_waited_for_and_a_dead_ones_is_broken) {
    static const char *const ages[] = {"now", "2 minutes ago", "2 hours"}; /* the last: from now */
    kit_need_git();
    for (size_t old = 0; old < AGT_COUNT(ages); old++) {
        kit_git k = kit_git_new();
        agt_error err;
        const char *lock = kit_path(k.path, "refs/heads/main.lock");
        test_write_file(lock, "junk", 4);
        free(kit_run("touch -d '%s' '%s'", ages[old], lock));
        kit_begin(&k, NULL);
        agt_oid id = kit_commit(&k, 1);
        kit_write_how(&k, AGT_GIT_PACK);
        int64_t before = k.sys->mono_ns(k.sys->ctx);
        if (old) {
            kit_set_head(&k, &id);
            CHECK(access(kit_path(k.path, "refs/heads/main.lock"), F_OK) != 0);
        } else {
            CHECK_STATUS(agt__git_set_head(k.git, &id, NULL, true, &err), AGT_BUSY, err);
            CHECK(k.sys->mono_ns(k.sys->ctx) - before >= 1900000000);
            kit_disk_has(k.path, "refs/heads/main.lock", "junk");
            CHECK_INT(unlink(kit_path(k.path, "refs/heads/main.lock")), 0);
            kit_set_head(&k, &id);
        }
        char *said = kit_run("ls '%s/refs/heads'", k.path);
        CHECK_STR(said, "main\n");
        free(said);
        kit_fsck(&k);
        kit_git_close(&k);
    }
}

/* A publisher dies with the lock in its hand: the next one need not wait. */
TEST(git, a_lock_that_one_of_ours_left_is_known) {
    kit_need_git();
    kit_git k = kit_git_new();
    kit_begin(&k, NULL);
    agt_oid id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_PACK);
    test_write_file(kit_path(k.path, "refs/heads/main.lock"), "half", 4);
    CHECK_INT(chmod(kit_path(k.path, "refs/heads/main.lock"), 0400), 0);
    int64_t before = k.sys->mono_ns(k.sys->ctx);
    kit_set_head(&k, &id);
    CHECK(k.sys->mono_ns(k.sys->ctx) - before < 1500000000);
    char *said = kit_run("ls '%s/refs/heads'", k.path);
    CHECK_STR(said, "main\n");
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, a_ref_that_somebody_moved_is_not_moved) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid now;
    bool found;
    kit_begin(&k, NULL);
    agt_oid one = kit_commit(&k, 1), two = kit_commit(&k, 2), three = kit_commit(&k, 3);
    kit_write_how(&k, AGT_GIT_PACK);
    CHECK_OK(agt__git_set_head(k.git, &one, NULL, false, &err), err);
    CHECK_STATUS(agt__git_set_head(k.git, &three, NULL, false, &err), AGT_CONFLICT, err);
    free(kit_run(KIT_GIT "update-ref refs/heads/main %s", k.path, kit_hex(&two)));
    CHECK_STATUS(agt__git_set_head(k.git, &three, &one, true, &err), AGT_CONFLICT, err);
    CHECK_OK(agt__git_head(k.git, &now, &found, &err), err);
    CHECK(found && kit_same_id(&now, &two));
    free(kit_run(KIT_GIT "pack-refs --all", k.path));
    CHECK_STATUS(agt__git_set_head(k.git, &three, &one, true, &err), AGT_CONFLICT, err);
    CHECK_OK(agt__git_set_head(k.git, &three, &two, true, &err), err);
    char *said = kit_run("ls '%s/refs/heads'", k.path);
    CHECK_STR(said, "main\n"); /* no lock is left */
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, what_is_kept_never_takes_anothers_name) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    kit_begin(&k, NULL);
    agt_oid id[4];
    for (int i = 0; i < 4; i++)
        id[i] = kit_commit(&k, i);
    kit_write_how(&k, AGT_GIT_PACK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++)
            CHECK_OK(agt__git_keep_ref(k.git, "found-7", &id[i], &err), err);
        free(kit_run(KIT_GIT "pack-refs --all", k.path)); /* the names are known there, too */
    }
    char *said =
        kit_run(KIT_GIT "for-each-ref --format='%%(refname:short) %%(objectname)'", k.path);
    char want[400];
    snprintf(want, sizeof want, "found-7 %s\nfound-7-2 %s\nfound-7-3 %s\nfound-7-4 %s\n",
             kit_hex(&id[0]), kit_hex(&id[1]), kit_hex(&id[2]), kit_hex(&id[3]));
    CHECK_STR(said, want);
    free(said);
    kit_git_close(&k);
}

TEST(git, a_branch_can_be_kept_under_a_plain_name_only) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid id;
    kit_begin(&k, NULL);
    id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_PACK);
    CHECK_OK(agt__git_keep_ref(k.git, "found-17", &id, &err), err);
    char *said = kit_run(KIT_GIT "rev-parse refs/heads/found-17", k.path);
    CHECK(!strncmp(said, kit_hex(&id), 40));
    free(said);
    CHECK_STATUS(agt__git_keep_ref(k.git, "", &id, &err), AGT_INVALID, err);
    CHECK_STATUS(agt__git_keep_ref(k.git, "a/b", &id, &err), AGT_INVALID, err);
    kit_git_close(&k);
}

/* ---- random histories against the model ---- */

typedef struct history {
    kit_git k;
    model now, *versions;
    agt_oid *commits;
    int count;
    bool open; /* a transaction is */
} history;

static void history_commit(history *h, int changes) {
    const char *done[8];
    if (!h->open) kit_begin(&h->k, h->count ? &h->commits[h->count - 1] : NULL);
    h->open = true;
    for (int i = 0; i < changes; i++) {
        const char *path = kit_paths[test_random_below(AGT_COUNT(kit_paths))];
        bool clash = false; /* a path that is put and replaced at once leaves a lonely blob */
        for (int j = 0; j < i; j++)
            clash |= !strcmp(done[j], path) || model_inside(done[j], path) ||
                     model_inside(path, done[j]);
        done[i] = path;
        if (!clash) kit_random_change(&h->k, &h->now, path);
    }
    h->versions = realloc(h->versions, sizeof *h->versions * (size_t)(h->count + 1));
    h->commits = realloc(h->commits, sizeof *h->commits * (size_t)(h->count + 1));
    h->commits[h->count] = kit_commit(&h->k, h->count);
    h->versions[h->count++] = model_copy(&h->now);
}

static void history_write(history *h, agt_git_write how) {
    kit_write_how(&h->k, how);
    kit_set_head(&h->k, &h->commits[h->count - 1]);
    h->open = false;
}

static void history_check(history *h) {
    uint64_t files = 0;
    kit_fsck(&h->k);
    char *said = kit_run(KIT_GIT "rev-list --reverse main", h->k.path);
    for (int i = 0; i < h->count; i++)
        CHECK(!strncmp(said + 41 * i, kit_hex(&h->commits[i]), 40));
    CHECK_INT(strlen(said), 41 * h->count);
    free(said);
    kit_git_reopen(&h->k);
    for (int i = 0; i < h->count; i++) {
        model *m = &h->versions[i];
        model_check_git(&h->k, m, &h->commits[i]);
        for (size_t f = 0; f < m->count; f++, files++)
            kit_reads_as(&h->k, &m->files[f].id, m->files[f].bytes, m->files[f].len);
    }
    CHECK(files > 0);
    test_saw("files of versions compared", files);
}

static void history_free(history *h) {
    kit_git_close(&h->k);
    for (int i = 0; i < h->count; i++)
        model_free(&h->versions[i]);
    model_free(&h->now);
    free(h->versions);
    free(h->commits);
}

TEST(git, every_version_of_a_random_history_reads_back) {
    kit_need_git();
    for (int round = 0; round < (test_all() ? 40 : 3); round++) {
        history h = {.k = kit_git_new()};
        for (int i = 0; i < 60; i++) {
            history_commit(&h, (int)test_random_below(5));
            if (test_random_below(6)) continue;
            history_write(&h, test_random_below(2) ? AGT_GIT_LOOSE : AGT_GIT_PACK);
            if (!test_random_below(3)) kit_git_reopen(&h.k);
        }
        if (!h.open) history_commit(&h, 1);
        history_write(&h, AGT_GIT_PACK);
        history_check(&h);
        history_free(&h);
    }
}

TEST(git, a_history_goes_on_whatever_git_gc_does_in_between) {
    kit_need_git();
    static const char *const commands[] = {
        "gc -q --prune=now",
        "repack -q -adf --depth=200",
        "-c repack.useDeltaBaseOffset=false repack -q -adf",
        "-c pack.indexVersion=1 repack -q -adf",
        "prune-packed -q",
        "pack-refs --all --prune",
        "multi-pack-index write",
    };
    history h = {.k = kit_git_new()};
    for (int i = 0; i < 56; i++) {
        history_commit(&h, 1 + (int)test_random_below(4));
        if (i % 4 != 3) continue;
        history_write(&h, i & 4 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
        free(kit_run(KIT_GIT "%s 2>&1", h.k.path, commands[(size_t)(i / 4) % AGT_COUNT(commands)]));
        if (test_random_below(2))
            kit_git_reopen(&h.k);
        else
            CHECK_INT(kit_read_status(&h.k, &h.commits[0]), AGT_OK); /* an open handle too */
    }
    history_check(&h);
    history_free(&h);
}

TEST(git, the_ids_are_those_git_makes_of_the_same_commits) {
    kit_need_git();
    kit_git ours = kit_git_new(), theirs = kit_git_new();
    const char *stream = kit_path(theirs.path, "stream");
    FILE *f = fopen(stream, "wb");
    agt_oid id = {{0}};
    agt_error err;
    kit_begin(&ours, NULL);
    for (int i = 0; i < 50; i++) {
        char path[64], text[200], message[64];
        snprintf(path, sizeof path, i % 5 ? "d%d/s%d/f.md" : "top-%d-%d", i % 4, i % 6);
        int n = snprintf(text, sizeof text, "%d\n%0*d\n", i, 1 + i * 2, i);
        int len = snprintf(message, sizeof message, "message %d%s", i, i % 2 ? "\n" : "");
        agt_git_signature who = {agt__text("agent:kestrel"), agt__text("a@b"), 1600000000 + i};
        kit_put(&ours, path, text, (size_t)n);
        CHECK_OK(agt__git_commit(ours.git, &who, 1600000100 + i, agt__text(message), &id, &err),
                 err);
        fprintf(f,
                "commit refs/heads/main\nauthor agent:kestrel <a@b> %d +0000\n"
                "committer agent:kestrel <a@b> %d +0000\ndata %d\n%s\n"
                "M 100644 inline %s\ndata %d\n%s\n",
                1600000000 + i, 1600000100 + i, len, message, path, n, text);
    }
    fclose(f);
    free(kit_run(KIT_GIT "fast-import --quiet <'%s'", theirs.path, stream));
    char *said = kit_run(KIT_GIT "rev-parse main", theirs.path);
    CHECK(!strncmp(said, kit_hex(&id), 40));
    free(said);
    agt__git_abort(ours.git);
    kit_git_close(&ours);
    kit_git_close(&theirs);
}

TEST(git, the_committer_time_never_goes_back) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid id = {{0}};
    agt_git_signature who = {agt__text("user"), agt__text(""), 5};
    static const int64_t given[] = {1000, 900, 1001, 0};
    for (size_t i = 0; i < AGT_COUNT(given); i++) {
        kit_begin(&k, i ? &id : NULL);
        CHECK_OK(agt__git_commit(k.git, &who, given[i], agt__text("m"), &id, &err), err);
        kit_write_how(&k, AGT_GIT_LOOSE);
        if (i & 1) kit_git_reopen(&k);
    }
    kit_set_head(&k, &id);
    char *said = kit_run(KIT_GIT "log --reverse --format=%%at,%%ct", k.path);
    CHECK_STR(said, "5,1000\n5,1000\n5,1001\n5,1001\n");
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

/* ---- folders ---- */

TEST(git, a_file_gives_way_to_a_folder_and_the_folder_to_a_file) {
    kit_need_git();
    for (int how = 1; how <= 2; how++) {
        static const char *const steps[] = {"a",   "a/b/c", "a/b/d", "a/b",   "a/b/c/d/e",
                                            "a/b", "a/x",   "a",     "a/b/c", "a.b"};
        history h = {.k = kit_git_new()};
        for (size_t i = 0; i < AGT_COUNT(steps); i++) {
            kit_begin(&h.k, h.count ? &h.commits[h.count - 1] : NULL);
            h.open = true;
            kit_put_text(&h.k, steps[i], "text");
            model_put(&h.now, steps[i], "text", 4);
            history_commit(&h, 0);
            if (i == 4 || i == 8)
                kit_git_reopen((history_write(&h, (agt_git_write)how), &h.k));
            else
                history_write(&h, (agt_git_write)how);
        }
        history_check(&h);
        history_free(&h);
    }
}

TEST(git, files_and_folders_may_change_places_within_one_commit) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid id = {{0}};
    model m = {NULL, 0};
    for (int i = 0; i < 200; i++) {
        if (i % 40 == 0) kit_begin(&k, i ? &id : NULL);
        for (int n = 0; n < 8; n++)
            kit_random_change(&k, &m, kit_paths[test_random_below(AGT_COUNT(kit_paths))]);
        id = kit_commit(&k, i);
        if (i % 40 != 39) continue;
        kit_write_how(&k, i % 80 == 39 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
        kit_set_head(&k, &id);
        model_check_git(&k, &m, &id);
    }
    free(kit_run(KIT_GIT "fsck --full --strict --no-dangling 2>&1", k.path));
    model_free(&m);
    kit_git_close(&k);
}

TEST(git, a_folder_that_became_empty_is_gone_and_can_come_back) {
    kit_need_git();
    history h = {.k = kit_git_new()};
    for (int i = 0; i < 12; i++) {
        kit_begin(&h.k, h.count ? &h.commits[h.count - 1] : NULL);
        h.open = true;
        if (i % 3 == 2) {
            kit_remove(&h.k, "deep/er/file");
            kit_remove(&h.k, "deep/er/not there");
            kit_remove(&h.k, "not/there");
            kit_remove(&h.k, "deep/er/file/beneath");
            model_remove(&h.now, "deep/er/file");
        } else {
            kit_put_text(&h.k, "deep/er/file", "same");
            model_put(&h.now, "deep/er/file", "same", 4);
        }
        history_commit(&h, 0);
        history_write(&h, i & 1 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
    }
    CHECK_INT(h.now.count, 0);
    history_check(&h);
    char *said = kit_run(KIT_GIT "rev-parse main^{tree}", h.k.path);
    CHECK_STR(said, "4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"); /* git's empty tree */
    free(said);
    history_free(&h);
}

TEST(git, paths_as_deep_and_long_as_allowed_work_and_one_more_is_refused) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    char path[AGT_MAX_PATH + 2];
    agt_oid id;
    kit_begin(&k, NULL);
    for (int i = 0; i < AGT_MAX_DEPTH; i++)
        memcpy(path + 2 * i, "d/", 2);
    strcpy(path + 2 * AGT_MAX_DEPTH, "file");
    kit_put_text(&k, path, "deep");
    memset(path, 'n', sizeof path);
    path[AGT_MAX_PATH] = 0;
    kit_put_text(&k, path, "long");
    id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, &id);
    kit_fsck(&k);
    char *said = kit_run(KIT_GIT "ls-tree -r main | wc -l", k.path);
    CHECK_INT(atoi(said), 2);
    free(said);
    kit_begin(&k, &id);
    path[AGT_MAX_PATH] = 'n';
    path[AGT_MAX_PATH + 1] = 0;
    CHECK_STATUS(kit_try_put(k.git, path, "", 0, &err), AGT_LIMIT, err);
    kit_begin(&k, &id);
    for (int i = 0; i <= AGT_MAX_DEPTH; i++)
        memcpy(path + 2 * i, "d/", 2);
    strcpy(path + 2 * AGT_MAX_DEPTH + 2, "file");
    CHECK_STATUS(kit_try_put(k.git, path, "", 0, &err), AGT_LIMIT, err);
    kit_git_close(&k);
}

TEST(git, a_refused_call_ends_the_transaction_and_the_handle_goes_on) {
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid id, other;
    agt_git_signature who = {agt__text("user"), agt__text(""), 1};
    agt_text message = agt__text("m");
    static const char *const bad_paths[] = {"", "/a", "a/", "a//b", ".", "a/../b", "a/."};
    kit_begin(&k, NULL);
    kit_put_text(&k, "a/b", "text");
    id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_LOOSE);
    for (size_t i = 0; i < AGT_COUNT(bad_paths); i++) {
        kit_begin(&k, &id);
        CHECK_STATUS(kit_try_put(k.git, bad_paths[i], "", 0, &err), AGT_INVALID, err);
        CHECK_STATUS(kit_try_commit(k.git, 2, &other, &err), AGT_INVALID, err);
        CHECK_STATUS(agt__git_write(k.git, AGT_GIT_PACK, &err), AGT_INVALID, err);
    }
    static const char *const bad_names[] = {"", "a<b", "a>b", "a\nb"};
    for (size_t i = 0; i < AGT_COUNT(bad_names); i++) {
        who.name = agt__text(bad_names[i]);
        kit_begin(&k, &id);
        CHECK_STATUS(agt__git_commit(k.git, &who, 1, message, &other, &err), AGT_INVALID, err);
    }
    who.name = agt__text("user");
    kit_begin(&k, &id);
    CHECK_STATUS(agt__git_commit(k.git, &who, 1, (agt_text){"a\0b", 3}, &other, &err), AGT_INVALID,
                 err);
    kit_begin(&k, &id);
    CHECK_STATUS(agt__git_commit(k.git, &who, -1, message, &other, &err), AGT_INVALID, err);
    who.unix_s = 253402300800;
    kit_begin(&k, &id);
    CHECK_STATUS(agt__git_commit(k.git, &who, 1, message, &other, &err), AGT_INVALID, err);
    kit_begin(&k, &id);
    kit_put_text(&k, "a/c", "more");
    kit_commit(&k, 2);
    kit_write_how(&k, AGT_GIT_LOOSE);
    kit_git_close(&k);
}

TEST(git, what_is_not_committed_is_not_written) {
    kit_need_git();
    kit_git k = kit_git_new();
    kit_begin(&k, NULL);
    kit_put_text(&k, "a", "text");
    kit_write_how(&k, AGT_GIT_PACK);
    agt_oid a = kit_blob_id("text", 4), b = kit_blob_id("more", 4), id;
    CHECK_INT(kit_read_status(&k, &a), AGT_NOT_FOUND);
    kit_begin(&k, NULL);
    kit_put_text(&k, "a", "text");
    kit_reads_as(&k, &a, "text", 4); /* before it is written, too */
    id = kit_commit(&k, 1);
    kit_put_text(&k, "b", "more");
    kit_write_how(&k, AGT_GIT_PACK);
    CHECK_INT(kit_read_status(&k, &a), AGT_OK);
    CHECK_INT(kit_read_status(&k, &b), AGT_NOT_FOUND);
    kit_begin(&k, &id); /* and is not in the next commit */
    kit_put_text(&k, "c", "c");
    id = kit_commit(&k, 2);
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, &id);
    char *said = kit_run(KIT_GIT "ls-tree -r --name-only main", k.path);
    CHECK_STR(said, "a\nc\n");
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, a_blob_that_exists_can_be_named_without_its_bytes) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid id, text = kit_blob_id("text", 4), none = kit_blob_id("", 0);
    kit_begin(&k, NULL);
    kit_put_text(&k, "a", "text");
    id = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_LOOSE);
    kit_begin(&k, &id);
    CHECK_OK(agt__git_put(k.git, "b/c", 3, &text, NULL, 4, &err), err);
    CHECK_OK(agt__git_put(k.git, "empty", 5, &none, NULL, 0, &err), err);
    id = kit_commit(&k, 2);
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, &id);
    char *said = kit_run(KIT_GIT "show main:b/c main:empty", k.path);
    CHECK_STR(said, "text");
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, modes_and_trees_that_git_made_are_kept_and_patched) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid head, got;
    bool found;
    const char *stream = "blob\nmark :1\ndata 3\nabc\ncommit refs/heads/main\n"
                         "committer A <a@b> 1700000000 +0200\ndata 1\nx\n"
                         "M 100755 :1 run.sh\nM 120000 :1 link\nM 100644 :1 dir/plain\n"
                         "M 160000 0123456789abcdef0123456789abcdef01234567 module\n";
    test_write_file(kit_path(k.path, "stream"), stream, strlen(stream));
    free(kit_run(KIT_GIT "fast-import --quiet <'%s/stream'", k.path, k.path));
    CHECK_INT(head_status(&k, &head, &found), AGT_OK);
    kit_begin(&k, &head);
    kit_put_text(&k, "run.sh", "new");
    kit_put_text(&k, "module", "file");
    kit_put_text(&k, "link/x", "folder");
    got = kit_commit(&k, 1);
    kit_write_how(&k, AGT_GIT_LOOSE);
    kit_set_head(&k, &got);
    char *said = kit_run(KIT_GIT "ls-tree -r main | cut -d' ' -f1 | tr '\\n' ' '", k.path);
    CHECK_STR(said, "100644 100644 100644 100644 ");
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

/* ---- packs ---- */

/* The longest chain of deltas in all packs, and how many objects stand in them. */
static int longest_chain(const kit_git *k, int *objects, int *distinct) {
    char *said = kit_run("cd '%s/objects/pack' && git verify-pack -v *.idx | "
                         "awk '$2 ~ /^(blob|tree|commit)$/ { n++; if (!seen[$1]++) d++; "
                         "if ($6 > max) max = $6 } END { print max + 0, n, d }'",
                         k->path);
    int max = -1;
    CHECK(sscanf(said, "%d %d %d", &max, objects, distinct) == 3);
    free(said);
    return max;
}

TEST(git, chains_in_a_pack_stay_under_fifty_and_no_object_is_twice) {
    kit_need_git();
    kit_git k = kit_git_new();
    int objects, distinct, n = 1400;
    unsigned char text[4000];
    char path[64];
    size_t len = kit_text(text, 2000);
    agt_oid id = {{0}}, *blobs = malloc((size_t)n * sizeof *blobs);
    kit_begin(&k, NULL);
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "folder/file-%03d", i);
        kit_put(&k, path, path, strlen(path));
    }
    kit_commit(&k, n);
    for (int i = 0; i < n; i++) {
        len = kit_edit(text, len, sizeof text);
        text[0] = (unsigned char)('a' + i % 26);
        snprintf(path, sizeof path, "folder/file-%03d", i % 7);
        if (i % 50 == 30)
            kit_put_text(&k, "folder/file-099", i & 1 ? "a" : "b"); /* trees that come again */
        kit_put(&k, path, text, len);
        blobs[i] = kit_blob_id(text, len);
        id = kit_commit(&k, i);
    }
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, &id);
    kit_fsck(&k);
    CHECK_INT(longest_chain(&k, &objects, &distinct), 49);
    CHECK_INT(objects, distinct);
    CHECK(objects >= 4 * n);
    for (int i = 0; i < n; i += 13)
        CHECK_INT(kit_read_status(&k, &blobs[i]), AGT_OK);
    kit_git_close(&k);
    free(blobs);
}

TEST(git, ten_thousand_files_in_one_folder_can_be_changed_again_and_again) {
    kit_need_git();
    history h = {.k = kit_git_new()};
    int objects, distinct;
    char path[64];
    kit_begin(&h.k, NULL);
    h.open = true;
    for (int i = 0; i < 10000; i++) {
        snprintf(path, sizeof path, "file-%05d.md", (i * 7919) % 10000);
        kit_put(&h.k, path, path, strlen(path));
    }
    agt_oid id = kit_commit(&h.k, 0);
    for (int i = 1; i <= 300; i++) {
        snprintf(path, sizeof path, i % 3 ? "file-%05d.md" : "file-%05d-new.md",
                 (int)test_random_below(10000));
        if (i % 10 == 9)
            kit_remove(&h.k, path);
        else
            kit_put(&h.k, path, &i, sizeof i);
        id = kit_commit(&h.k, i);
        if (i == 120) kit_write_how(&h.k, AGT_GIT_PACK);
        if (i == 140) kit_write_how(&h.k, AGT_GIT_LOOSE);
        if (i == 140) kit_git_reopen(&h.k);
        if (i == 120 || i == 140) kit_begin(&h.k, &id);
    }
    kit_write_how(&h.k, AGT_GIT_PACK);
    kit_set_head(&h.k, &id);
    kit_fsck(&h.k);
    char *said =
        kit_run(KIT_GIT "rev-list main | wc -l; du -sk '%s/objects/pack'", h.k.path, h.k.path);
    int commits = 0, kib = 0;
    CHECK(sscanf(said, "%d %d", &commits, &kib) == 2);
    CHECK_INT(commits, 301);
    CHECK(kib < 3000); /* 280 trees of 370 KB */
    free(said);
    CHECK(longest_chain(&h.k, &objects, &distinct) < 50);
    history_free(&h);
}

TEST(git, large_documents_survive_both_ways) {
    kit_need_git();
    size_t len = 3 * 1000 * 1000;
    unsigned char *random = malloc(len), *plain = malloc(len);
    for (size_t i = 0; i < len; i++) {
        random[i] = (unsigned char)test_random();
        plain[i] = "all work and no play "[i % 21];
    }
    for (int how = 1; how <= 2; how++) {
        kit_git k = kit_git_new();
        agt_oid a = kit_blob_id(random, len), b = kit_blob_id(plain, len), id;
        kit_begin(&k, NULL);
        kit_put(&k, "random", random, len);
        kit_put(&k, "plain", plain, len);
        id = kit_commit(&k, 1);
        plain[1000] ^= 1;
        agt_oid c = kit_blob_id(plain, len);
        kit_put(&k, "plain", plain, len);
        id = kit_commit(&k, 2);
        kit_write_how(&k, (agt_git_write)how);
        kit_set_head(&k, &id);
        kit_reads_as(&k, &a, random, len);
        kit_reads_as(&k, &c, plain, len);
        plain[1000] ^= 1;
        kit_reads_as(&k, &b, plain, len);
        kit_fsck(&k);
        kit_git_close(&k);
    }
    free(random);
    free(plain);
}

TEST(git, many_packs_are_read_with_few_descriptors) {
    kit_git k = kit_git_new();
    enum { PACKS = 3 * AGT_GIT_OPEN };
    agt_oid id = {{0}}, blobs[PACKS];
    for (int i = 0; i < PACKS; i++) {
        kit_begin(&k, i ? &id : NULL);
        kit_put(&k, "a", &i, sizeof i);
        blobs[i] = kit_blob_id(&i, sizeof i);
        id = kit_commit(&k, i);
        kit_write_how(&k, AGT_GIT_PACK);
    }
    kit_git_reopen(&k);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PACKS; i++) {
            int which = round == 1 ? PACKS - 1 - i : i;
            kit_reads_as(&k, &blobs[which], &which, sizeof which);
            CHECK(k.git->pack_open <= AGT_GIT_OPEN);
        }
    }
    CHECK_INT(k.git->pack_count, PACKS);
    CHECK(!k.git->started); /* libgit2 was not needed for any of it */
    kit_git_close(&k);
}

TEST(git, offsets_beyond_two_gigabytes_stand_in_the_index_as_git_reads_it) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    agt_git_file f;
    agt_git_object objects[300];
    uint32_t order[300];
    unsigned char sum[20] = {1, 2, 3};
    memset(objects, 0, sizeof objects);
    for (uint32_t i = 0; i < 300; i++) {
        for (size_t b = 0; b < 20; b++)
            objects[i].id.id[b] = (unsigned char)test_random();
        objects[i].crc = (uint32_t)test_random();
        objects[i].offset = 12 + ((uint64_t)i << (i % 3 ? 26 : 8));
        order[i] = i;
    }
    CHECK_OK(agt__git_file_open(&f, k.git, k.dir, "test.idx", 0600, true, &err), err);
    agt__git_put_index(&f, objects, order, 300, sum, &err);
    CHECK_OK(agt__git_file_end(&f, false, &err), err);
    char *said = kit_run("git show-index <'%s/test.idx'", k.path), *p = said;
    int large = 0;
    for (int i = 0; i < 300; i++) {
        char want[128];
        const agt_git_object *o = &objects[order[i]];
        int n = snprintf(want, sizeof want, "%" PRIu64 " %s (%08x)\n", o->offset, kit_hex(&o->id),
                         o->crc);
        CHECK_BYTES(p, (size_t)n, want, (size_t)n);
        large += o->offset >= 0x80000000u;
        p += n;
    }
    CHECK(!*p);
    CHECK(large > 100);
    free(said);
    kit_git_close(&k);
}

/* ---- damage ---- */

/* Calls `each` for every loose object's file. */
static int each_loose(const kit_git *k, void (*each)(const char *path, int n)) {
    char *said =
        kit_run("find '%s/objects' -path '*/objects/[0-9a-f][0-9a-f]/*' -type f | sort", k->path);
    int n = 0;
    for (char *p = strtok(said, "\n"); p; p = strtok(NULL, "\n"), n++)
        if (each) each(p, n);
    free(said);
    return n;
}
static void make_empty(const char *path, int n) {
    (void)n;
    chmod(path, 0600);
    if (truncate(path, 0) != 0) test_fail(__FILE__, __LINE__, "truncate %s", path);
}
static void make_bad(const char *path, int n) {
    size_t len;
    unsigned char *bytes = test_read_file(path, &len);
    chmod(path, 0600);
    if (n % 5 == 0) len = 0;
    if (n % 5 == 1) len /= 2;
    if (n % 5 == 2) bytes[len / 2] ^= 4;
    if (n % 5 == 3) memset(bytes, 0, len); /* a power cut on ext4 or xfs */
    if (n % 5 != 4) test_write_file(path, bytes, len);
    free(bytes);
}
/* The next file's content under this name: sound, but another object. */
static void make_other(const char *path, int n) {
    static unsigned char *first;
    static size_t first_len;
    if (n == 0) first = test_read_file(path, &first_len);
    if (n != 1) return;
    chmod(path, 0600);
    test_write_file(path, first, first_len);
    free(first);
}

/* A few commits as loose objects. */
static agt_oid small_history(kit_git *k, agt_git_write how) {
    agt_oid id = {{0}};
    char text[3000];
    memset(text, 'x', sizeof text);
    kit_begin(k, NULL);
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "text %d", i);
        kit_put(k, i & 1 ? "docs/a.md" : "b.md", text, i & 2 ? 6 : sizeof text);
        id = kit_commit(k, i);
    }
    kit_write_how(k, how);
    return id;
}

TEST(git, empty_objects_are_damage_and_writing_them_again_heals_them) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid id = small_history(&k, AGT_GIT_LOOSE);
    int n = each_loose(&k, make_empty);
    CHECK(n >= 24);
    kit_git_reopen(&k);
    CHECK_INT(kit_read_status(&k, &id), AGT_CORRUPT);
    agt_error err;
    CHECK_STATUS(agt__git_begin(k.git, &id, &err), AGT_CORRUPT, err);
    agt_oid again = small_history(&k, AGT_GIT_LOOSE);
    CHECK(kit_same_id(&id, &again));
    CHECK_INT(each_loose(&k, NULL), n);
    kit_set_head(&k, &id);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, a_commit_is_whole_only_with_all_that_it_leads_to) {
    kit_git k = kit_git_new();
    agt_error err;
    bool whole;
    agt_oid id = small_history(&k, AGT_GIT_LOOSE);
    int n = each_loose(&k, NULL), missing = 0;
    CHECK_OK(agt__git_whole(k.git, &id, &whole, &err), err);
    CHECK(whole);
    char *list = kit_run("cd '%s/objects' && find [0-9a-f][0-9a-f] -type f", k.path);
    for (char *name = strtok(list, "\n"); name; name = strtok(NULL, "\n")) {
        char from[300], to[300];
        snprintf(from, sizeof from, "%s/objects/%s", k.path, name);
        snprintf(to, sizeof to, "%s/away", k.path);
        CHECK_INT(rename(from, to), 0);
        CHECK_OK(agt__git_whole(k.git, &id, &whole, &err), err);
        missing += !whole;
        CHECK_INT(rename(to, from), 0);
    }
    free(list);
    CHECK_INT(missing, n); /* whichever of them is gone */
    small_history(&k, AGT_GIT_REPACK);
    CHECK_INT(each_loose(&k, NULL), 0);
    CHECK_OK(agt__git_whole(k.git, &id, &whole, &err), err);
    CHECK(whole);
    kit_git_close(&k);
}

TEST(git, cleaning_deletes_bad_objects_and_keeps_good_ones) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_error err;
    small_history(&k, AGT_GIT_LOOSE);
    int n = each_loose(&k, make_bad), good = n / 5;
    test_write_file(kit_path(k.path, "objects/tmp_obj_agt"), "x", 1);
    test_write_file(kit_path(k.path, "objects/pack/tmp_pack_agt"), "x", 1);
    test_write_file(kit_path(k.path, "refs/heads/found-3.lock"), "x", 1);
    test_write_file(kit_path(k.path, "refs/heads/main_agt.lock"), "x", 1);
    free(kit_run("mkdir -p '%s/objects/aa' && ln -s /dev/null "
                 "'%s/objects/aa/bbccddeeff00112233445566778899aabbccdd'",
                 k.path, k.path));
    CHECK_OK(agt__git_clean(k.git, &err), err);
    CHECK_INT(each_loose(&k, NULL), good);
    char *said = kit_run("find '%s' -name '*_agt' -o -name '*.lock' -o -type l", k.path);
    CHECK_STR(said, "");
    free(said);
    /* a person's object stays, that of a history which is packed goes */
    said = kit_run("echo theirs | " KIT_GIT "hash-object -w --stdin", k.path);
    agt_oid id = small_history(&k, AGT_GIT_REPACK); /* replayed, as after a power cut */
    kit_set_head(&k, &id);
    CHECK_INT(each_loose(&k, NULL), 1);
    CHECK_INT(kit_read_status(&k, &id), AGT_OK);
    free(kit_run(KIT_GIT "update-ref refs/tags/theirs %s", k.path, said));
    free(said);
    kit_fsck(&k);
    kit_git_close(&k);
}

TEST(git, an_object_under_another_ones_name_is_damage_and_goes) {
    kit_git k = kit_git_new();
    agt_error err;
    agt_oid id;
    small_history(&k, AGT_GIT_LOOSE);
    int n = each_loose(&k, make_other);
    char *said =
        kit_run("cd '%s/objects' && find [0-9a-f][0-9a-f] -type f | sort | tr -d '/'", k.path);
    CHECK(agt__unhex(said + 41, 40, id.id, 20));
    free(said);
    CHECK_INT(kit_read_status(&k, &id), AGT_CORRUPT);
    CHECK_OK(agt__git_clean(k.git, &err), err);
    CHECK_INT(each_loose(&k, NULL), n - 1);
    CHECK_INT(kit_read_status(&k, &id), AGT_NOT_FOUND);
    kit_git_close(&k);
}

TEST(git, cleaning_leaves_what_is_not_ours) {
    kit_git k = kit_git_new();
    agt_error err;
    static const char *const theirs[] = {"index.lock",
                                         "HEAD.lock",
                                         "refs/tags/v1.lock",
                                         "refs/heads/main.lock",
                                         "objects/pack/tmp_pack_Xy12",
                                         "packed-refs.lock"};
    for (size_t i = 0; i < AGT_COUNT(theirs); i++) {
        test_write_file(kit_path(k.path, theirs[i]), "x", 1);
        free(kit_run("touch -d '1 minute ago' '%s/%s'", k.path, theirs[i]));
    }
    CHECK_OK(agt__git_clean(k.git, &err), err);
    for (size_t i = 0; i < AGT_COUNT(theirs); i++)
        CHECK_INT(access(kit_path(k.path, theirs[i]), F_OK), 0);
    kit_disk_has(k.path, "HEAD", "ref: refs/heads/main\n");
    kit_git_close(&k);
}

TEST(git, a_damaged_loose_object_does_not_hide_the_good_one_in_a_pack) {
    kit_git k = kit_git_new();
    agt_oid id = small_history(&k, AGT_GIT_LOOSE);
    small_history(&k, AGT_GIT_PACK);
    CHECK(each_loose(&k, make_empty) > 0);
    kit_git_reopen(&k);
    CHECK_INT(kit_read_status(&k, &id), AGT_OK);
    CHECK(!k.git->started);
    kit_git_close(&k);
}

TEST(git, what_only_libgit2_can_find_is_found) {
    kit_need_git();
    kit_git k = kit_git_new(), other = kit_git_new();
    agt_oid id = small_history(&other, AGT_GIT_PACK), none = {{1, 2, 3}};
    CHECK_INT(kit_read_status(&k, &id), AGT_NOT_FOUND);
    kit_git_close(&k);
    k = kit_git_on(agt_sys_os(), k.path, NULL);
    char line[600];
    int n = snprintf(line, sizeof line, "%s/objects\n", other.path);
    test_write_file(kit_path(k.path, "objects/info/alternates"), line, (size_t)n);
    CHECK_INT(kit_read_status(&k, &id), AGT_OK);
    CHECK(k.git->started);
    CHECK_INT(kit_read_status(&k, &none), AGT_NOT_FOUND);
    kit_git_reopen(&other);
    kit_set_head(&other, &id);
    free(kit_run(KIT_GIT "-c pack.indexVersion=1 repack -q -adf 2>&1", other.path));
    CHECK_INT(kit_read_status(&other, &id), AGT_OK);
    CHECK(other.git->started);
    kit_git_close(&k);
    kit_git_close(&other);
}

TEST(git, libgit2_reads_what_we_write) {
    for (int how = 1; how <= 2; how++) {
        kit_git k = kit_git_new();
        agt_oid id = small_history(&k, (agt_git_write)how), blob = kit_blob_id("text 7", 6);
        agt_error err;
        int kind = 0;
        agt_buf b = agt__buf(&k.mem);
        CHECK_OK(agt__git_foreign_load(k.git, &id, &kind, &b, &err), err);
        CHECK_INT(kind, AGT_GIT_COMMIT);
        b.len = 0;
        CHECK_OK(agt__git_foreign_load(k.git, &blob, &kind, &b, &err), err);
        CHECK_INT(kind, AGT_GIT_BLOB);
        CHECK_BYTES(b.data, b.len, "text 7", 6);
        agt__buf_free(&b);
        kit_git_close(&k);
    }
}

TEST(git, an_open_handle_sees_what_another_one_published) {
    kit_git a = kit_git_new(), b = kit_git_on(a.sys, a.path, NULL);
    for (int how = 1; how <= 2; how++) {
        agt_oid id = small_history(&a, (agt_git_write)how);
        CHECK_INT(kit_read_status(&b, &id), AGT_OK);
        kit_begin(&b, &id);
        kit_put_text(&b, "new", how == 1 ? "one" : "two");
        id = kit_commit(&b, 100);
        kit_write_how(&b, (agt_git_write)how);
        kit_begin(&a, &id); /* not the last commit of this handle: read from the disk */
        kit_put_text(&a, "docs/a.md", "newer");
        kit_commit(&a, 101);
        kit_write_how(&a, (agt_git_write)how);
    }
    kit_git_close(&a);
    kit_git_close(&b);
}
