/* Repacking: one pack for all that the refs lead to, compared with git itself; what it must leave
 * alone; and that it may fail, die or lose its power at any call. */
#include "../src/git/git.h" /* not in a build without git */
#include "fault.h"
#include "git_kit.h"

/* ---- on the real disk, with git ---- */

/* A random history in packs of `batch` commits and some loose objects. The last commit's model is
 * returned. */
static model repack_history(kit_git *k, int commits, int batch, agt_oid *ids) {
    model m = {0};
    for (int i = 0; i < commits; i++) {
        if (i % batch == 0) kit_begin(k, i ? &ids[i - 1] : NULL);
        kit_random_change(k, &m, kit_paths[test_random_below(AGT_COUNT(kit_paths))]);
        ids[i] = kit_commit(k, i);
        if (i % batch != batch - 1 && i != commits - 1) continue;
        kit_write_how(k, i / batch % 4 == 3 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
    }
    kit_set_head(k, &ids[commits - 1]);
    return m;
}

static agt_git_repacked repack(kit_git *k) {
    agt_error err;
    agt_git_repacked r;
    CHECK_OK(agt__git_repack(k->git, NULL, NULL, &r, &err), err);
    return r;
}

/* What git counts in the objects folder. */
static void repack_counts(const kit_git *k, int loose, int packs) {
    char want[100], *got = kit_run(KIT_GIT "count-objects -v", k->path);
    snprintf(want, sizeof want, "count: %d\n", loose);
    CHECK(strstr(got, want) == got);
    snprintf(want, sizeof want, "\npacks: %d\n", packs);
    CHECK(strstr(got, want));
    CHECK(strstr(got, "\ngarbage: 0\n"));
    free(got);
}

/* Every id that git reaches, with its bytes' hash checked by git. */
static char *repack_reachable(const kit_git *k) {
    return kit_run(KIT_GIT "rev-list --objects --all | cut -d' ' -f1 | sort", k->path);
}

TEST(repack, one_pack_holds_what_git_reaches_and_git_finds_nothing_wrong) {
    enum { COMMITS = 150 };
    uint64_t objects = 0;
    kit_need_git();
    for (int round = 0; round < 4; round++) {
        kit_git k = kit_git_new();
        agt_oid ids[COMMITS];
        model m = repack_history(&k, COMMITS, 1 + (int)test_random_below(20), ids);
        char *before = repack_reachable(&k);
        agt_git_repacked r = repack(&k);
        char *after = repack_reachable(&k);
        CHECK_STR(after, before);
        CHECK_INT(r.packs, 1);
        CHECK_INT(r.loose, 0);
        CHECK_INT(r.missing, 0);
        CHECK_INT(r.objects * 41, strlen(after)); /* as many as git's */
        repack_counts(&k, 0, 1);
        kit_fsck(&k);
        model_check_git(&k, &m, &ids[COMMITS - 1]);
        char *deep = kit_run("git verify-pack -v '%s'/objects/pack/*.idx | grep -c 'chain length = "
                             "[5-9][0-9]' ; true",
                             k.path);
        CHECK_STR(deep, "0\n");
        for (int i = 0; i < COMMITS; i++)
            CHECK_INT(kit_read_status(&k, &ids[i]), AGT_OK);
        kit_git_reopen(&k);
        for (size_t i = 0; i < m.count; i++)
            kit_reads_as(&k, &m.files[i].id, m.files[i].bytes, m.files[i].len);
        r = repack(&k); /* again: the same */
        CHECK_INT(r.packs, 1);
        repack_counts(&k, 0, 1);
        objects += r.objects;
        free(before);
        free(after);
        free(deep);
        model_free(&m);
        kit_git_close(&k);
    }
    test_saw("objects packed", objects);
    CHECK(objects > 1500);
}

TEST(repack, versions_of_documents_take_no_more_room_than_git_gives_them) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid id = {{0}};
    unsigned char bytes[12000];
    size_t len = kit_text(bytes, 8000);
    for (int i = 0; i < 400; i++) {
        if (i % 40 == 0) kit_begin(&k, i ? &id : NULL);
        len = kit_edit(bytes, len, sizeof bytes);
        kit_put(&k, i % 7 ? "docs/plan.md" : "notes.md", bytes, len);
        id = kit_commit(&k, i);
        if (i % 40 == 39) kit_write_how(&k, AGT_GIT_PACK);
    }
    kit_set_head(&k, &id);
    repack(&k);
    char *ours = kit_run("cat '%s'/objects/pack/*.pack | wc -c", k.path);
    char *theirs =
        kit_run(KIT_GIT "repack -adfq && cat '%s'/objects/pack/*.pack | wc -c", k.path, k.path);
    test_saw("bytes", strtoull(ours, NULL, 10));
    test_saw("bytes of git's", strtoull(theirs, NULL, 10));
    CHECK(strtoull(ours, NULL, 10) > 10000);
    CHECK(strtoull(ours, NULL, 10) <= strtoull(theirs, NULL, 10) * 21 / 20);
    free(ours);
    free(theirs);
    kit_git_close(&k);
}

/* ---- what it leaves alone ---- */

static void repack_name(const kit_git *k, const char *ref, const agt_oid *id) {
    char line[100];
    bool packed = strcmp(ref, "packed-refs") == 0;
    snprintf(line, sizeof line, "%s%s\n", kit_hex(id), packed ? " refs/heads/side" : "");
    test_write_file(kit_path(k->path, ref), line, strlen(line));
}

/* Ten commits in two packs, and two more on the fifth that nothing names, in a pack or loose. Their
 * last one is returned. */
static agt_oid repack_branch(kit_git *k, agt_git_write how) {
    agt_oid base, side, head;
    char text[64];
    for (int i = 0; i < 10; i++) {
        if (i % 5 == 0) kit_begin(k, i ? &head : NULL);
        snprintf(text, sizeof text, "text number %d\n", i);
        kit_put_text(k, "a/b.md", text);
        head = kit_commit(k, i);
        if (i == 4) base = head;
        if (i % 5 == 4) kit_write_how(k, AGT_GIT_PACK);
    }
    kit_set_head(k, &head);
    kit_begin(k, &base);
    for (int i = 0; i < 2; i++) {
        kit_put_text(k, "side.md", i ? "side one" : "side zero");
        side = kit_commit(k, 100 + i);
    }
    kit_write_how(k, how);
    return side;
}

TEST(repack, what_any_ref_names_is_packed) {
    static const char *const refs[] = {"refs/heads/found-3", "refs/tags/v1", "packed-refs", "HEAD"};
    kit_need_git();
    for (size_t i = 0; i < AGT_COUNT(refs); i++) {
        kit_git k = kit_git_new();
        agt_oid side = repack_branch(&k, i % 2 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
        repack_name(&k, refs[i], &side);
        agt_git_repacked r = repack(&k);
        CHECK_INT(r.packs, 1);
        CHECK_INT(r.loose, 0);
        repack_counts(&k, 0, 1);
        kit_fsck(&k);
        CHECK_INT(kit_read_status(&k, &side), AGT_OK);
        kit_git_close(&k);
    }
}

TEST(repack, a_tag_that_is_an_object_is_packed_with_what_it_names) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid side = repack_branch(&k, AGT_GIT_LOOSE);
    char *id = kit_run(KIT_GIT "-c user.name=a -c user.email=a@b tag -m 'a tag' v1 %s && " KIT_GIT
                               "rev-parse v1",
                       k.path, kit_hex(&side), k.path);
    agt_git_repacked r = repack(&k);
    CHECK_INT(r.loose, 0);
    repack_counts(&k, 0, 1);
    kit_fsck(&k);
    char *kind = kit_run(KIT_GIT "cat-file -t %s", k.path, id);
    CHECK_STR(kind, "tag\n");
    free(kind);
    free(id);
    kit_git_close(&k);
}

TEST(repack, what_nothing_names_stays_and_its_pack_with_it) {
    kit_need_git();
    for (int how = 1; how <= 2; how++) {
        kit_git k = kit_git_new();
        agt_oid side = repack_branch(&k, (agt_git_write)how);
        agt_git_repacked r = repack(&k);
        CHECK_INT(r.packs_removed, 2);
        CHECK_INT(r.packs, how == AGT_GIT_PACK ? 2 : 1);
        CHECK_INT(r.loose, how == AGT_GIT_PACK ? 0 : 6); /* two commits, trees, blobs */
        repack_counts(&k, how == AGT_GIT_PACK ? 0 : 6, how == AGT_GIT_PACK ? 2 : 1);
        CHECK_INT(kit_read_status(&k, &side), AGT_OK);
        repack_name(&k, "refs/heads/late", &side); /* a git command may have been about to */
        kit_fsck(&k);
        r = repack(&k);
        CHECK_INT(r.packs, 1);
        CHECK_INT(r.loose, 0);
        kit_fsck(&k);
        kit_git_close(&k);
    }
}

TEST(repack, a_pack_that_somebody_keeps_stays) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid side = repack_branch(&k, AGT_GIT_LOOSE);
    repack_name(&k, "refs/heads/side", &side);
    char *stem =
        kit_run("ls '%s'/objects/pack/*.idx | head -n 1 | sed 's/.idx$//' | tr -d '\\n'", k.path);
    free(kit_run("touch '%s.keep'", stem));
    agt_git_repacked r = repack(&k);
    CHECK_INT(r.packs_removed, 1);
    CHECK_INT(r.packs, 2);
    free(kit_run("test -e '%s.pack' -a -e '%s.idx' -a -e '%s.keep'", stem, stem, stem));
    kit_fsck(&k);
    free(stem);
    kit_git_close(&k);
}

TEST(repack, side_files_of_a_pack_go_with_it) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid side = repack_branch(&k, AGT_GIT_LOOSE);
    repack_name(&k, "refs/heads/side", &side);
    free(kit_run(KIT_GIT "-c pack.writeReverseIndex=true repack -dq && " KIT_GIT
                         "multi-pack-index write",
                 k.path, k.path));
    repack(&k);
    char *left = kit_run("ls '%s'/objects/pack | sed 's/.*[.-]//' | sort | tr '\\n' ' '", k.path);
    CHECK_STR(left, "idx pack ");
    free(left);
    kit_fsck(&k);
    kit_git_close(&k);
}

/* ---- damage ---- */

TEST(repack, damage_beneath_main_is_told_and_nothing_is_changed) {
    for (int what = 0; what < 3; what++) { /* the commit, the tree, the blob */
        kit_git k = kit_git_new();
        agt_error err;
        agt_oid id, blob = kit_blob_id("the text", 8);
        agt_git_repacked r;
        agt_buf b = agt__buf(&k.mem);
        kit_begin(&k, NULL);
        kit_put_text(&k, "a.md", "the text");
        id = kit_commit(&k, 1);
        kit_write_how(&k, AGT_GIT_LOOSE);
        kit_set_head(&k, &id);
        CHECK_OK(agt__git_read(k.git, &id, &b, &err), err);
        if (what == 1) CHECK(agt__unhex((char *)b.data + 5, 40, id.id, 20));
        if (what == 2) id = blob;
        agt__buf_free(&b);
        char rest[80];
        snprintf(rest, sizeof rest, "objects/%.2s/%s", kit_hex(&id), kit_hex(&id) + 2);
        CHECK(unlink(kit_path(k.path, rest)) == 0);
        char *before = kit_run("find '%s' -type f | sort", k.path);
        CHECK_STATUS(agt__git_repack(k.git, NULL, NULL, &r, &err), AGT_CORRUPT, err);
        CHECK_INT(err.status, AGT_CORRUPT);
        char *after = kit_run("find '%s' -type f | sort", k.path);
        CHECK_STR(after, before);
        free(before);
        free(after);
        kit_git_close(&k);
    }
}

TEST(repack, what_another_ref_leads_to_and_nobody_has_is_counted) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid side = repack_branch(&k, AGT_GIT_LOOSE), blob = kit_blob_id("side zero", 9);
    char rest[80];
    repack_name(&k, "refs/heads/found-9", &side);
    snprintf(rest, sizeof rest, "objects/%.2s/%s", kit_hex(&blob), kit_hex(&blob) + 2);
    CHECK(unlink(kit_path(k.path, rest)) == 0);
    agt_git_repacked r = repack(&k);
    CHECK_INT(r.missing, 1);
    CHECK_INT(r.packs, 1);
    CHECK_INT(r.loose, 0);
    CHECK_INT(kit_read_status(&k, &side), AGT_OK);
    kit_git_close(&k);
}

TEST(repack, a_damaged_copy_is_replaced_by_a_good_one_and_a_lone_one_stays) {
    kit_git k = kit_git_new();
    agt_oid side = repack_branch(&k, AGT_GIT_LOOSE), blob = kit_blob_id("side zero", 9);
    char rest[80];
    repack_name(&k, "refs/heads/found-9", &side);
    snprintf(rest, sizeof rest, "objects/%.2s/%s", kit_hex(&blob), kit_hex(&blob) + 2);
    CHECK(unlink(kit_path(k.path, rest)) == 0);
    test_write_file(kit_path(k.path, rest), "rotten", 6);
    agt_git_repacked r = repack(&k);
    CHECK_INT(r.missing, 1);
    CHECK_INT(r.loose, 1); /* a person may be able to mend it */
    kit_git_close(&k);
}

/* ---- litter ---- */

TEST(repack, temporaries_go_when_they_are_a_day_old) {
    kit_git k = kit_git_new();
    static const char *const names[] = {
        "objects/tmp_obj_abc123", "objects/pack/tmp_pack_abc123", "objects/pack/tmp_idx_xyz",
        "objects/pack/pack-0123456789012345678901234567890123456789.pack",
        "objects/pack/pack-9876543210012345678901234567890123456789.idx"};
    agt_oid side = repack_branch(&k, AGT_GIT_PACK);
    repack_name(&k, "refs/heads/side", &side);
    for (int old = 0; old < 2; old++) {
        for (size_t i = 0; i < AGT_COUNT(names); i++) {
            test_write_file(kit_path(k.path, names[i]), "x", 1);
            if (old) free(kit_run("touch -d '2 days ago' '%s'", kit_path(k.path, names[i])));
        }
        repack(&k);
        for (size_t i = 0; i < AGT_COUNT(names); i++)
            /* no reader believes an index without its pack, and none is on its way */
            CHECK_INT(access(kit_path(k.path, names[i]), F_OK) == 0,
                      !old && !strstr(names[i], "/pack-9"));
    }
    kit_git_close(&k);
}

/* ---- failures, deaths, power cuts ---- */

/* A machine with a repository in /git: three packs, loose objects, a branch; all of it on the disk.
 * *ids are its commits, the last one main's, the one before the branch's. */
static machine *repack_machine(agt_oid ids[14]) {
    machine *m = machine_new(&(machine_settings){.seed = test_random()});
    CHECK_INT(machine_make_folder(m, "/git"), 0);
    machine_process *p = machine_process_new(m, "maker");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    char path[32], text[300], line[42];
    memset(text, '-', sizeof text);
    for (int i = 0; i < 14; i++) {
        if (i % 4 == 0) kit_begin(&k, i ? &ids[i - 1] : NULL);
        snprintf(path, sizeof path, "old/%d", i % 3);
        snprintf(text + 100, 100, "%d\n", i);
        kit_put_text(&k, path, text);
        ids[i] = kit_commit(&k, i);
        if (i % 4 == 3 || i == 13) kit_write_how(&k, i == 13 ? AGT_GIT_LOOSE : AGT_GIT_PACK);
    }
    kit_set_head(&k, &ids[13]);
    snprintf(line, sizeof line, "%s\n", kit_hex(&ids[12]));
    CHECK_INT(machine_put_text(m, "/git/refs/heads/side", line), 0);
    kit_git_close(&k);
    machine_process_free(p);
    machine_sync_all(m);
    return m;
}

/* Every commit and all that it leads to can be read in a new process. */
static void repack_whole(machine *m, const agt_oid ids[14]) {
    machine_process *p = machine_process_new(m, "checker");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_error err;
    bool found;
    agt_oid head;
    CHECK_OK(agt__git_head(k.git, &head, &found, &err), err);
    CHECK(found && kit_same_id(&head, &ids[13]));
    agt_git_reach r = {.git = k.git};
    CHECK_OK(agt__git_reach_all(&r, &err), err);
    CHECK_INT(r.missing, 0);
    CHECK_INT(r.count, 14 * 4);
    for (uint32_t i = 0; i < r.count; i++)
        CHECK_INT(kit_read_status(&k, &r.objects[i].id), AGT_OK);
    agt__git_reach_free(&r);
    kit_git_close(&k);
    machine_process_free(p);
}

/* Once more, undisturbed: one pack, nothing loose, and no half of anything. */
static void repack_again(machine *m, const agt_oid ids[14]) {
    machine_process *p = machine_process_new(m, "next");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_git_repacked r = repack(&k);
    CHECK_INT(r.packs, 1);
    CHECK_INT(r.loose, 0);
    CHECK_INT(r.objects, 14 * 4);
    kit_git_close(&k);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
    repack_whole(m, ids);
    char *tree = machine_tree(m, "/git");
    CHECK(!strstr(tree, "_agt"));
    free(tree);
}

TEST(repack, whatever_call_or_allocation_fails_nothing_is_lost_and_nothing_leaks) {
    agt_oid ids[14];
    machine *start = repack_machine(ids);
    uint64_t refused = 0;
    FOR_SOME_FAULTS(f, FAULT_ALL_CALLS | FAULT_ALL_MEMORY | FAULT_SYNC | FAULT_SYNC_FOREVER,
                    test_all() ? 1 : 3) {
        machine_memory mem;
        machine *m = machine_clone(start);
        machine_process *p = machine_process_new(m, "p");
        kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
        agt_git_repacked r;
        agt_error err = {0};
        fault_arm(&f, m, &mem);
        agt_status status = agt__git_repack(k.git, NULL, NULL, &r, &err);
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(status, err);
        if (status != AGT_OK) {
            refused++;
            CHECK_INT(err.status, status);
            CHECK(err.message[0]);
        }
        repack_whole(m, ids);
        CHECK_OK(agt__git_repack(k.git, NULL, NULL, &r, &err), err); /* the handle goes on */
        kit_git_close(&k);
        CHECK_INT(machine_process_open_files(p), 0);
        CHECK_INT(mem.live_blocks, 0);
        repack_again(m, ids);
        machine_free(m);
    }
    machine_free(start);
    test_saw("refusals", refused);
    CHECK(refused > test_some(100));
}

TEST(repack, a_death_or_a_power_cut_at_any_change_loses_nothing) {
    agt_oid ids[14];
    machine *start = repack_machine(ids);
    uint64_t deaths = 0, states = 0, per = test_count("TEST_CUTS", test_all() ? 12 : 6);
    for (uint64_t n = 1;; n += test_step(1)) {
        machine *m = machine_clone(start);
        machine_memory mem;
        machine_process *p = machine_process_new(m, "mortal");
        kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
        machine_crash_at(m, n, MACHINE_CHANGES, (machine_when)test_random_below(3));
        bool ended = setjmp(*machine_crash_point(m)) == 0;
        if (ended) repack(&k);
        machine_crash_at(m, 0, 0, MACHINE_AFTER);
        if (ended) kit_git_close(&k);
        machine_memory_release(&mem);
        for (uint64_t i = 0; i < per; i++) {
            machine *c = machine_clone(m);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            if (i == 0) cut.mode = MACHINE_CUT_LOSE;
            machine_power_cut(c, &cut);
            repack_whole(c, ids);
            repack_again(c, ids);
            machine_free(c);
            states++;
        }
        repack_whole(m, ids);
        repack_again(m, ids);
        machine_free(m);
        if (ended) break;
        deaths++;
    }
    machine_free(start);
    test_saw("deaths", deaths);
    test_saw("states", states);
    CHECK(deaths > test_some(30));
}
