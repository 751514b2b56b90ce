/* The index of a pack made anew from the pack: as git and we wrote it, whatever is left of the old
 * one, and whatever fails meanwhile. */
#include "../src/git/git.h" /* not in a build without git */
#include "fault.h"
#include "git_kit.h"

static uint32_t reindex(kit_git *k, int how, char first[64]) {
    agt_error err;
    uint32_t packs = 9;
    CHECK_OK(agt__git_reindex(k->git, how, &packs, first, &err), err);
    return packs;
}

/* Puts both sides of a shell test together. */
static void reindex_must(const kit_git *k, const char *test) {
    char *said = kit_run("cd '%s/objects/pack' && { %s && echo yes || echo no; }", k->path, test);
    if (strcmp(said, "yes\n") != 0) test_fail(__FILE__, __LINE__, "not so: %s", test);
    free(said);
}

TEST(reindex, an_index_comes_back_as_it_was_byte_for_byte) {
    enum { COMMITS = 120 };
    kit_need_git();
    for (int by_git = 0; by_git < 2; by_git++) { /* packed by us, by git */
        kit_git k = kit_git_new();
        agt_error err;
        model m = {0};
        agt_oid ids[COMMITS];
        agt_git_repacked r;
        char first[64];
        for (int i = 0; i < COMMITS; i++) {
            if (i % 30 == 0) kit_begin(&k, i ? &ids[i - 1] : NULL);
            kit_random_change(&k, &m, kit_paths[test_random_below(AGT_COUNT(kit_paths))]);
            ids[i] = kit_commit(&k, i);
            if (i % 30 == 29) kit_write_how(&k, AGT_GIT_PACK);
        }
        kit_set_head(&k, &ids[COMMITS - 1]);
        CHECK_INT(reindex(&k, AGT_REINDEX_LOOK | AGT_REINDEX_LONE, first), 0);
        CHECK_STR(first, "");
        if (by_git)
            free(kit_run(KIT_GIT "repack -adq --depth=200 --window=50", k.path));
        else
            CHECK_OK(agt__git_repack(k.git, NULL, NULL, &r, &err), err);
        kit_git_reopen(&k);
        reindex_must(&k, "mkdir was && cp *.idx was && rm -f *.rev && rm -f *.idx");
        CHECK_INT(kit_read_status(&k, &ids[0]), AGT_NOT_FOUND);
        CHECK_INT(reindex(&k, AGT_REINDEX_LOOK, first), 0); /* a lone pack is no damage by itself */
        CHECK_INT(reindex(&k, AGT_REINDEX_LOOK | AGT_REINDEX_LONE, first), 1);
        reindex_must(&k, "! ls *.idx 2>/dev/null");
        CHECK_INT(reindex(&k, AGT_REINDEX_LONE, first), 1);
        CHECK(strncmp(first, "pack-", 5) == 0 && strlen(first) == 49);
        reindex_must(&k, "cmp *.idx was/*.idx");
        for (int i = 0; i < COMMITS; i++) /* by the handle that missed it */
            CHECK_INT(kit_read_status(&k, &ids[i]), AGT_OK);
        static const char *const harm[] = {
            "printf XX | dd of=$(ls *.idx) bs=1 seek=40 conv=notrunc 2>/dev/null",   /* counts */
            "printf XX | dd of=$(ls *.idx) bs=1 seek=2000 conv=notrunc 2>/dev/null", /* ids */
            "truncate -s -30 *.idx", "truncate -s 20 *.idx", ": >$(ls *.idx)"};
        for (size_t i = 0; i < AGT_COUNT(harm); i++) {
            reindex_must(&k, "chmod u+w *.idx");
            reindex_must(&k, harm[i]);
            CHECK_INT(reindex(&k, AGT_REINDEX_LOOK, first), 1);
            CHECK_INT(reindex(&k, 0, first), 1);
            reindex_must(&k, "cmp *.idx was/*.idx");
            CHECK_INT(reindex(&k, 0, first), 0);
        }
        reindex_must(&k, "rm -r was");
        kit_fsck(&k);
        kit_git_close(&k);
        model_free(&m);
    }
}

/* A pack that is damaged gets no index: nobody could trust what it leads to. */
TEST(reindex, a_pack_that_is_not_whole_is_left_as_it_is) {
    kit_need_git();
    kit_git k = kit_git_new();
    agt_oid id;
    char first[64];
    kit_begin(&k, NULL);
    kit_put_text(&k, "a.md", "some text\n");
    id = kit_commit(&k, 0);
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, &id);
    reindex_must(&k, "rm -f *.idx && chmod u+w *.pack && cp *.pack whole");
    static const char *const harm[] = {
        "printf X | dd of=$(ls *.pack) bs=1 seek=20 conv=notrunc 2>/dev/null",
        "truncate -s -1 *.pack", "truncate -s 30 *.pack", ": >$(ls *.pack)"};
    for (size_t i = 0; i < AGT_COUNT(harm); i++) {
        reindex_must(&k, harm[i]);
        CHECK_INT(reindex(&k, AGT_REINDEX_LONE, first), 0);
        reindex_must(&k, "! ls *.idx 2>/dev/null");
        reindex_must(&k, "cp whole $(ls *.pack)");
    }
    CHECK_INT(reindex(&k, AGT_REINDEX_LONE, first), 1);
    reindex_must(&k, "rm whole");
    kit_fsck(&k);
    kit_git_close(&k);
}

/* ---- whatever fails ---- */

static machine *reindex_machine(agt_oid *head, char idx[200]) {
    machine *m = machine_new(&(machine_settings){.seed = test_random()});
    CHECK_INT(machine_make_folder(m, "/git"), 0);
    machine_process *p = machine_process_new(m, "maker");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    char text[3000];
    memset(text, '-', sizeof text);
    for (int i = 0; i < 12; i++) {
        if (i == 0) kit_begin(&k, NULL);
        snprintf(text + 100, 2000, "%d\n", i);
        text[100 + strlen(text + 100)] = '-';
        text[sizeof text - 1] = 0;
        kit_put_text(&k, "a/b.md", text);
        *head = kit_commit(&k, i);
    }
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, head);
    kit_git_close(&k);
    machine_process_free(p);
    char *tree = machine_tree(m, "/git/objects/pack"), *at = strstr(tree, ".idx");
    CHECK(at != NULL);
    snprintf(idx, 200, "/git/objects/pack/%.45s.idx", at - 45);
    free(tree);
    machine_sync_all(m);
    return m;
}

TEST(reindex, whatever_call_or_allocation_fails_it_can_be_done_again) {
    agt_oid head;
    char idx[200], first[64];
    uint64_t refused = 0, cuts = 0;
    size_t len = 0, again_len = 0;
    machine *start = reindex_machine(&head, idx);
    char *want = machine_get(start, idx, &len);
    CHECK_INT(machine_remove(start, idx), 0);
    machine_sync_all(start);
    FOR_EACH_FAULT(f, FAULT_ALL_CALLS | FAULT_ALL_MEMORY | FAULT_SYNC | FAULT_SYNC_FOREVER) {
        machine_memory mem;
        machine *m = machine_clone(start);
        machine_process *p = machine_process_new(m, "p");
        kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
        agt_error err = {0};
        uint32_t packs = 0;
        fault_arm(&f, m, &mem);
        agt_status status = agt__git_reindex(k.git, AGT_REINDEX_LONE, &packs, first, &err);
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(status, err);
        if (status != AGT_OK) {
            refused++;
            CHECK(status == AGT_IO || status == AGT_NOMEM);
            CHECK_INT(err.status, status);
            CHECK(err.message[0]);
        }
        if (status == AGT_OK && packs) { /* durable */
            machine *cut = machine_clone(m);
            machine_cut least = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            machine_power_cut(cut, &least);
            char *got = machine_get(cut, idx, &again_len);
            CHECK(again_len == len && memcmp(got, want, len) == 0);
            free(got);
            machine_free(cut);
            cuts++;
        }
        CHECK_OK(agt__git_reindex(k.git, AGT_REINDEX_LONE, &packs, first, &err), err);
        char *got = machine_get(m, idx, &again_len);
        CHECK(again_len == len && memcmp(got, want, len) == 0);
        CHECK_INT(kit_read_status(&k, &head), AGT_OK);
        free(got);
        kit_git_close(&k);
        CHECK_INT(machine_process_open_files(p), 0);
        CHECK_INT(mem.live_blocks, 0);
        machine_free(m);
    }
    machine_free(start);
    free(want);
    test_saw("refusals", refused);
    test_saw("power cuts", cuts);
    CHECK(refused > 30 && cuts > 0);
}

/* Any bytes as the pack: an answer, and no index that leads astray. */
TEST(reindex, any_bytes_as_a_pack_are_read_within_their_bounds) {
    agt_oid head;
    char idx[200], pack[200], first[64];
    size_t len = 0;
    uint64_t made = 0, cases = test_count("TEST_PACKS", test_all() ? 20000 : 3000);
    machine *m = reindex_machine(&head, idx);
    CHECK_INT(machine_remove(m, idx), 0);
    snprintf(pack, sizeof pack, "%.*s.pack", (int)strlen(idx) - 4, idx);
    unsigned char *whole = (unsigned char *)machine_get(m, pack, &len);
    unsigned char *b = malloc(len);
    machine_process *p = machine_process_new(m, "p");
    for (uint64_t i = 0; i < cases; i++) {
        kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
        size_t n = test_random_below(4) ? len : 33 + test_random_below(len - 32);
        memcpy(b, whole, n);
        for (uint64_t times = 1 + test_random_below(4); times; times--)
            b[8 + test_random_below(n - 28)] = (unsigned char)test_random_below(256);
        agt_sha1_state sha; /* the checksum is right: what is inside must be looked at */
        agt__sha1_init(&sha);
        agt__sha1_update(&sha, agt__cpu(), b, n - 20);
        agt__sha1_final(&sha, agt__cpu(), b + n - 20);
        CHECK_INT(machine_put(m, pack, b, n), 0);
        made += reindex(&k, AGT_REINDEX_LONE, first);
        if (kit_read_status(&k, &head) == AGT_OK) CHECK(first[0]);
        (void)machine_remove(m, idx);
        kit_git_close(&k);
    }
    test_saw("packs", cases);
    test_saw("indexes made", made);
    CHECK(made < cases);
    free(b);
    free(whole);
    machine_free(m);
}
