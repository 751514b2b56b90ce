/* git in a machine: every call to the system and every allocation fails once, processes die and
 * the power goes at every point; and the codec on random and on hostile bytes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* memmem */
#endif

#include "../src/git/git.h" /* not in a build without git */
#include "fault.h"
#include "git_kit.h"

/* ---- work ---- */

#define WORK_COMMITS 5

/* What a publisher does: a few commits on top of `parent`, written and named. `head` is the last
 * commit once it is known. */
static agt_status work(agt_git *git, const agt_oid *parent, agt_git_write how, agt_oid *head,
                       agt_error *err) {
    char path[64], text[600];
    agt_status status = agt__git_begin(git, parent, err);
    for (int i = 0; i < WORK_COMMITS && status == AGT_OK; i++) {
        snprintf(path, sizeof path, i == 2 ? "old/%d" : "new/%d/x.md", i % 3);
        memset(text, 'a' + i, sizeof text);
        if (i == 3) status = agt__git_remove(git, "new/0/x.md", 10, err);
        if (status == AGT_OK) status = kit_try_put(git, path, text, sizeof text, err);
        if (status == AGT_OK) status = kit_try_commit(git, 100 + i, head, err);
    }
    if (status == AGT_OK) status = agt__git_write(git, how, err);
    return status == AGT_OK ? kit_try_set_head(git, head, how != AGT_GIT_LOOSE, err) : status;
}

/* A machine with a repository in /git whose head is *head, all of it on the disk. */
static machine *machine_with_history(agt_oid *head) {
    machine *m = machine_new(&(machine_settings){.seed = test_random()});
    CHECK_INT(machine_make_folder(m, "/git"), 0);
    machine_process *p = machine_process_new(m, "maker");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    char path[32], text[200];
    memset(text, '-', sizeof text);
    kit_begin(&k, NULL);
    for (int i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "old/%d", i % 5);
        snprintf(text + 100, 100, "%d\n", i);
        kit_put_text(&k, path, text);
        *head = kit_commit(&k, i);
    }
    kit_write_how(&k, AGT_GIT_PACK);
    kit_set_head(&k, head);
    kit_git_close(&k);
    machine_process_free(p);
    machine_sync_all(m); /* the folder /git itself is not git's to sync */
    return m;
}

/* Every object of the history is there and right: commits, trees, blobs, back to the first. */
static void check_history(kit_git *k, const agt_oid *head, int commits) {
    agt_oid id = *head, tree;
    agt_buf b = agt__buf(&k->mem);
    int seen = 0;
    for (bool more = true; more; seen++) {
        agt_error err;
        b.len = 0;
        CHECK_OK(agt__git_read(k->git, &id, &b, &err), err);
        CHECK(b.len > 100 && agt__unhex((char *)b.data + 5, 40, tree.id, 20));
        more = memcmp(b.data + 46, "parent ", 7) == 0;
        if (more) CHECK(agt__unhex((char *)b.data + 53, 40, id.id, 20));
        b.len = 0;
        CHECK_OK(agt__git_read(k->git, &tree, &b, &err), err);
        while (b.len) { /* the last entry, until none is left: folders one level deep and more */
            agt_oid entry;
            memcpy(entry.id, b.data + b.len - 20, 20);
            CHECK_INT(kit_read_status(k, &entry), AGT_OK);
            b.len -= 21;
            while (b.len && b.data[b.len - 1] != ' ')
                b.len--;
            b.len -= b.len > 6 && b.data[b.len - 7] == '1' ? 7 : 6;
        }
    }
    CHECK_INT(seen, commits);
    agt__buf_free(&b);
}

static agt_oid read_head(kit_git *k) {
    agt_error err;
    agt_oid id;
    bool found;
    CHECK_OK(agt__git_head(k->git, &id, &found, &err), err);
    CHECK(found);
    return id;
}

static agt_oid head_after_work(const machine *start, const agt_oid *base) {
    machine *m = machine_clone(start);
    machine_process *p = machine_process_new(m, "p");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_oid head;
    agt_error err;
    CHECK_OK(work(k.git, base, AGT_GIT_PACK, &head, &err), err);
    kit_git_close(&k);
    machine_free(m);
    return head;
}

/* ---- determinism ---- */

/* The ids of a fixed history, made in batches of `batch` and written as `how` says. */
static void fixed_history(agt_oid out[40], int batch, agt_git_write how, bool reopen) {
    machine *m = machine_new(NULL);
    CHECK_INT(machine_make_folder(m, "/git"), 0);
    kit_git k = kit_git_on(machine_sys(machine_process_new(m, "p")), "/git", NULL);
    char path[64], text[64];
    for (int i = 0; i < 40; i++) {
        if (i % batch == 0) kit_begin(&k, i ? &out[i - 1] : NULL);
        snprintf(path, sizeof path, "docs/%d/%d.md", i % 3, i % 7);
        snprintf(text, sizeof text, "version %d\n", i * i);
        if (i % 11 == 10)
            kit_remove(&k, path);
        else
            kit_put_text(&k, path, text);
        out[i] = kit_commit(&k, i);
        if (i % batch != batch - 1 && i != 39) continue;
        kit_write_how(&k, how);
        if (reopen) kit_git_reopen(&k);
    }
    check_history(&k, &out[39], 40);
    kit_git_close(&k);
    machine_free(m);
}

TEST(git_machine, the_same_calls_make_the_same_ids_in_every_batch_and_way) {
    static const int batches[] = {1, 2, 7, 40};
    agt_oid first[40], again[40];
    fixed_history(first, 40, AGT_GIT_PACK, false);
    for (size_t b = 0; b < AGT_COUNT(batches); b++) {
        for (int how = 1; how <= 2; how++) {
            fixed_history(again, batches[b], (agt_git_write)how, b & 1);
            CHECK_BYTES(again, sizeof again, first, sizeof first);
        }
    }
    /* pinned: what one version publishes, every other publishes alike */
    CHECK_STR(kit_hex(&first[0]), "8f94d7e03b30c69deb53624d3313075ee3d61543");
    CHECK_STR(kit_hex(&first[39]), "866a44ed1f9ec6e0748f320121393b1110dec01e");
}

/* ---- damage ---- */

/* Reads `id`, which is `text`, from a repository with one damaged file: right, or not at all. */
static agt_status read_damaged(machine_process *p, const agt_oid *id, const char *text) {
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_error err;
    agt_buf b = agt__buf(&k.mem);
    agt_status status = agt__git_read(k.git, id, &b, &err);
    if (status == AGT_OK) CHECK_BYTES(b.data, b.len, text, strlen(text));
    agt__buf_free(&b);
    kit_git_close(&k);
    return status;
}

TEST(git_machine, a_file_with_any_bit_changed_is_read_right_or_not_at_all) {
    agt_oid base, blob;
    char text[200], *tree, *name;
    uint64_t bad = 0, good = 0, rounds = 0;
    machine *m = machine_with_history(&base);
    machine_process *p = machine_process_new(m, "p");
    memset(text, '-', sizeof text); /* the ninth of twelve: a delta in the pack */
    snprintf(text + 100, 100, "%d\n", 8);
    blob = kit_blob_id(text, strlen(text));
    CHECK_INT(read_damaged(p, &blob, text), AGT_OK);
    tree = machine_tree(m, "/git/objects/pack");
    for (int idx = 0; idx < 2; idx++) {
        name = strstr(tree, idx ? ".idx" : ".pack");
        char path[200];
        CHECK(name);
        snprintf(path, sizeof path, "/git/objects/pack/%.45s%s", name - 45, idx ? ".idx" : ".pack");
        size_t len;
        char *bytes = machine_get(m, path, &len);
        CHECK(bytes);
        for (size_t i = 0; i < len; i++, rounds++) {
            char byte = (char)(bytes[i] ^ (1 << test_random_below(8)));
            machine_overwrite(m, path, i, &byte, 1);
            agt_status status = read_damaged(p, &blob, text);
            good += status == AGT_OK;
            bad += status != AGT_OK;
            CHECK(status == AGT_OK || status == AGT_CORRUPT || status == AGT_NOT_FOUND);
            machine_overwrite(m, path, i, bytes + i, 1);
        }
        for (size_t n = 0; n < len; n += 7, rounds++) { /* cut short */
            machine_truncate(m, path, n);
            CHECK(read_damaged(p, &blob, text) != AGT_OK || !idx || n + 40 > len);
            machine_put(m, path, bytes, len);
        }
        free(bytes);
    }
    CHECK(good > 500 && bad > 100 && rounds > 2000);
    test_saw("damaged files read", rounds);
    CHECK_INT(read_damaged(p, &blob, text), AGT_OK);
    free(tree);
    machine_free(m);
}

TEST(git_machine, an_index_that_leads_to_another_object_is_damage) {
    agt_oid base;
    machine *m = machine_with_history(&base);
    machine_process *p = machine_process_new(m, "p");
    char path[200], *tree = machine_tree(m, "/git/objects/pack"), *name = strstr(tree, ".idx");
    size_t len;
    snprintf(path, sizeof path, "/git/objects/pack/%.45s.idx", name - 45);
    char *bytes = machine_get(m, path, &len);
    size_t count = (len - 1032 - 40) / 28, seen = 0;
    CHECK(count > 30);
    for (size_t i = 0; i < count; i++) { /* every id in turn takes its neighbour's place */
        char *table = bytes + 1032 + 24 * count;
        agt_oid id;
        memcpy(id.id, bytes + 1032 + 20 * i, 20);
        machine_overwrite(m, path, (uint64_t)(table - bytes) + 4 * i, table + 4 * ((i + 1) % count),
                          4);
        kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
        seen += kit_read_status(&k, &id) == AGT_CORRUPT;
        kit_git_close(&k);
        machine_overwrite(m, path, 0, bytes, len);
    }
    CHECK_INT(seen, count);
    free(bytes);
    free(tree);
    machine_free(m);
}

/* ---- failures ---- */

TEST(git_machine, whatever_call_or_allocation_fails_the_handle_goes_on_and_nothing_leaks) {
    agt_oid base, want;
    machine *start = machine_with_history(&base);
    want = head_after_work(start, &base);
    for (int how = 1; how <= 2; how++) {
        uint64_t refused = 0;
        unsigned sync = how == AGT_GIT_PACK ? FAULT_SYNC | FAULT_SYNC_FOREVER : 0;
        FOR_SOME_FAULTS(f, FAULT_ALL_CALLS | FAULT_ALL_MEMORY | FAULT_NOMEM_CALL | sync, 1) {
            machine_memory mem;
            machine *m = machine_clone(start);
            machine_process *p = machine_process_new(m, "p");
            kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
            size_t files = machine_process_open_files(p);
            agt_oid head;
            agt_error err = {0};
            fault_arm(&f, m, &mem);
            agt_status status = work(k.git, &base, (agt_git_write)how, &head, &err);
            fault_disarm(&f);
            if (!f.injected) CHECK_OK(status, err);
            if (status != AGT_OK) {
                refused++;
                CHECK_INT(err.status, status);
                CHECK(err.message[0]);
                check_history(&k, &base, 12);
            }
            CHECK_OK(work(k.git, &base, (agt_git_write)how, &head, &err), err);
            CHECK(kit_same_id(&head, &want));
            head = read_head(&k);
            CHECK(kit_same_id(&head, &want));
            check_history(&k, &want, 12 + WORK_COMMITS);
            kit_git_reopen(&k);
            check_history(&k, &want, 12 + WORK_COMMITS);
            agt__git_close(k.git);
            k.git = NULL;
            CHECK(machine_process_open_files(p) <= files);
            CHECK_INT(machine_process_open_files(p), 1);
            CHECK_INT(mem.live_blocks, 0);
            machine_free(m);
        }
        CHECK(refused > test_some(100) / 2);
        test_saw("refusals", refused);
    }
    machine_free(start);
}

TEST(git_machine, a_failure_while_reading_is_never_an_answer) {
    agt_oid base, absent = {{1}};
    machine *start = machine_with_history(&base);
    uint64_t refused = 0;
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_IO_FOREVER | FAULT_SHORT_FOREVER | FAULT_ALL_MEMORY) {
        machine_memory mem;
        machine *m = machine_clone(start);
        machine_process *p = machine_process_new(m, "p");
        kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
        agt_error err;
        agt_oid head;
        bool found = false;
        agt_buf b = agt__buf(&k.mem);
        fault_arm(&f, m, &mem);
        agt_status status = agt__git_head(k.git, &head, &found, &err);
        CHECK(status != AGT_OK || found);
        if (status == AGT_OK) status = agt__git_read(k.git, &base, &b, &err);
        if (status == AGT_OK) {
            agt__buf_free(&b);
            agt_status other = agt__git_read(k.git, &absent, &b, &err);
            CHECK(other == AGT_NOT_FOUND || other == AGT_IO || other == AGT_NOMEM);
            if (other != AGT_NOT_FOUND) status = other;
        }
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(status, err);
        if (status != AGT_OK) refused++;
        CHECK(status == AGT_OK || status == AGT_IO || status == AGT_NOMEM);
        agt__buf_free(&b);
        check_history(&k, &base, 12);
        kit_git_close(&k);
        CHECK_INT(machine_process_open_files(p), 0);
        CHECK_INT(mem.live_blocks, 0);
        machine_free(m);
    }
    CHECK(refused > 30);
    machine_free(start);
}

TEST(git_machine, making_a_repository_can_fail_at_any_call_and_be_done_again) {
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_NOSPC_FOREVER | FAULT_SYNC) {
        machine_memory mem;
        machine *m = machine_new(NULL);
        CHECK_INT(machine_make_folder(m, "/git"), 0);
        machine_process *p = machine_process_new(m, "p");
        const agt_sys *sys = machine_sys(p);
        agt_mem memory = agt__mem(machine_memory_init(&mem));
        agt_fd dir = sys->open_root(sys->ctx, "/git");
        agt_error err = {0};
        fault_arm(&f, m, &mem);
        agt_status status = agt__git_init(sys, dir, &memory, &err);
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(status, err);
        CHECK_OK(agt__git_init(sys, dir, &memory, &err), err);
        CHECK_INT(machine_process_open_files(p), 1);
        sys->close(sys->ctx, dir);
        CHECK_INT(mem.live_blocks, 0);
        char *tree = machine_tree(m, "/git");
        CHECK(strstr(tree, "HEAD") && strstr(tree, "config") && strstr(tree, "refs/heads") &&
              strstr(tree, "objects/pack") && !strstr(tree, ".tmp"));
        free(tree);
        machine_free(m);
    }
}

TEST(git_machine, cleaning_can_fail_at_any_call_and_deletes_nothing_good) {
    agt_oid base, want;
    machine *start = machine_with_history(&base);
    machine_process *p = machine_process_new(start, "p");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_error err;
    CHECK_OK(work(k.git, &base, AGT_GIT_LOOSE, &want, &err), err);
    kit_git_close(&k);
    machine_process_free(p);
    CHECK_INT(machine_make_folder(start, "/git/objects/00"), 0);
    machine_put_text(start, "/git/objects/00/00112233445566778899aabbccddeeff001122", "");
    machine_put_text(start, "/git/objects/tmp_obj_agt", "x");
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_IO_FOREVER | FAULT_ALL_MEMORY) {
        machine_memory mem;
        machine *m = machine_clone(start);
        p = machine_process_new(m, "p");
        k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
        fault_arm(&f, m, &mem);
        agt_status status = agt__git_clean(k.git, &err);
        fault_disarm(&f);
        if (!f.injected) CHECK_OK(status, err);
        check_history(&k, &want, 12 + WORK_COMMITS);
        CHECK_OK(agt__git_clean(k.git, &err), err);
        check_history(&k, &want, 12 + WORK_COMMITS);
        char *tree = machine_tree(m, "/git");
        CHECK(!strstr(tree, "_agt") && !strstr(tree, "00112233445566778899"));
        free(tree);
        kit_git_close(&k);
        CHECK_INT(machine_process_open_files(p), 0);
        CHECK_INT(mem.live_blocks, 0);
        machine_free(m);
    }
    machine_free(start);
}

/* ---- deaths and power cuts ---- */

/* What the next publisher does after a crash. */
static void recover(machine *m, const agt_oid *base, const agt_oid *want) {
    machine_process *p = machine_process_new(m, "next");
    kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
    agt_oid head = read_head(&k), again;
    agt_error err;
    CHECK(kit_same_id(&head, base) || kit_same_id(&head, want));
    check_history(&k, base, 12);
    CHECK_OK(agt__git_clean(k.git, &err), err);
    CHECK_OK(work(k.git, base, AGT_GIT_REPACK, &again, &err), err);
    CHECK(kit_same_id(&again, want));
    kit_git_close(&k);
    char *tree = machine_tree(m, "/git");
    CHECK(!strstr(tree, "_agt") && !strstr(tree, ".lock"));
    free(tree);
    machine_power_cut(m, &(machine_cut){.mode = MACHINE_CUT_LOSE});
    p = machine_process_new(m, "last");
    k = kit_git_on(machine_sys(p), "/git", NULL);
    head = read_head(&k);
    CHECK(kit_same_id(&head, want));
    check_history(&k, want, 12 + WORK_COMMITS);
    kit_git_close(&k);
}

TEST(git_machine, a_pack_and_its_ref_survive_the_power_cut_right_after_them) {
    agt_oid base, want, head;
    machine *start = machine_with_history(&base);
    agt_error err;
    want = head_after_work(start, &base);
    for (int i = 0; i < 40; i++) {
        machine *m = machine_clone(start);
        machine_process *p = machine_process_new(m, "p");
        kit_git k = kit_git_on(machine_sys(p), "/git", NULL);
        CHECK_OK(work(k.git, &base, AGT_GIT_PACK, &head, &err), err);
        kit_git_close(&k);
        machine_power_cut(m, i ? &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()}
                               : &(machine_cut){.mode = MACHINE_CUT_LOSE});
        p = machine_process_new(m, "next");
        k = kit_git_on(machine_sys(p), "/git", NULL);
        head = read_head(&k);
        CHECK(kit_same_id(&head, &want));
        check_history(&k, &want, 12 + WORK_COMMITS);
        kit_git_close(&k);
        machine_free(m);
    }
    machine_free(start);
}

TEST(git_machine, a_process_may_die_and_the_power_may_go_at_every_call) {
    agt_oid base, want;
    volatile uint64_t cuts = 0;
    machine *start = machine_with_history(&base);
    want = head_after_work(start, &base);
    for (volatile int how = 1; how <= 2; how++) {
        FOR_EACH_FAULT(f, FAULT_ALL_CRASHES) {
            machine_memory mem;
            machine *m = machine_clone(start);
            machine_process *p = machine_process_new(m, "p");
            kit_git k = kit_git_on(machine_sys(p), "/git", machine_memory_init(&mem));
            agt_oid head;
            fault_arm(&f, m, &mem);
            if (FAULT_TRY(&f)) (void)work(k.git, &base, (agt_git_write)how, &head, NULL);
            fault_disarm(&f);
            machine_memory_release(&mem);
            int most =
                how == 2 ? 3 : 1; /* loose objects may be lost with the power: not the head */
            for (int i = 0; i < most; i++) {
                machine *c = machine_clone(m);
                if (i == 1) machine_power_cut(c, &(machine_cut){.mode = MACHINE_CUT_LOSE});
                if (i == 2)
                    machine_power_cut(
                        c, &(machine_cut){.mode = MACHINE_CUT_RANDOM, .seed = test_random()});
                recover(c, &base, &want);
                machine_free(c);
                cuts++;
            }
            machine_free(m);
        }
    }
    CHECK(cuts > 300);
    test_saw("crashes recovered from", cuts);
    machine_free(start);
}

/* ---- diffs ---- */

static void diff_is(kit_git *k, const char *from, const char *to, const char *want) {
    agt_error err;
    agt_buf b = agt__buf(&k->mem);
    CHECK_OK(agt__git_diff(k->git, "docs/a b.md", from, from ? strlen(from) : 0, to,
                           to ? strlen(to) : 0, &b, &err),
             err);
    agt__buf_byte(&b, 0);
    CHECK_STR((const char *)b.data, want);
    agt__buf_free(&b);
}

TEST(git_machine, diffs_are_unified_and_say_what_was_made_and_deleted) {
    machine *m = machine_new(NULL);
    CHECK_INT(machine_make_folder(m, "/git"), 0);
    kit_git k = kit_git_on(machine_sys(machine_process_new(m, "p")), "/git", NULL);
    diff_is(&k, "same\n", "same\n", "");
    diff_is(&k, NULL, NULL, "");
    CHECK(!k.git->started);
    diff_is(&k, "one\ntwo\n", "one\n2\n",
            "diff --git a/docs/a b.md b/docs/a b.md\nindex 814f4a4..99b356d 100644\n"
            "--- a/docs/a b.md\n+++ b/docs/a b.md\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
    diff_is(&k, NULL, "x",
            "diff --git a/docs/a b.md b/docs/a b.md\nnew file mode 100644\nindex 0000000..c1b0730\n"
            "--- /dev/null\n+++ b/docs/a b.md\n@@ -0,0 +1 @@\n+x\n\\ No newline at end of file\n");
    diff_is(&k, "x\n", NULL,
            "diff --git a/docs/a b.md b/docs/a b.md\ndeleted file mode 100644\n"
            "index 587be6b..0000000\n--- a/docs/a b.md\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n");
    diff_is(&k, NULL, "",
            "diff --git a/docs/a b.md b/docs/a b.md\nnew file mode 100644\n"
            "index 0000000..e69de29\n--- /dev/null\n+++ b/docs/a b.md\n");
    agt_error err;
    agt_buf b = agt__buf(&k.mem);
    CHECK_OK(agt__git_diff(k.git, "bin", "a\0b", 3, "a\0c", 3, &b, &err), err);
    CHECK(memmem(b.data, b.len, "Binary files a/bin and b/bin differ", 35) != NULL);
    agt__buf_free(&b);
    kit_git_close(&k);
    machine_free(m);
}

/* ---- the codec ---- */

TEST(git_codec, a_delta_makes_the_new_bytes_from_the_old) {
    agt_mem mem = agt__mem(NULL);
    agt_buf delta = agt__buf(&mem), back = agt__buf(&mem);
    unsigned char *from = malloc(300000), *to = malloc(300000);
    uint64_t made = 0, small = 0;
    agt_error err;
    for (int round = 0; round < 3000; round++) {
        size_t cap = round % 100 == 0 ? 200000 : 4000, n = kit_text(from, cap), m = n;
        memcpy(to, from, n);
        for (uint64_t e = test_random_below(6); e > 0; e--)
            m = kit_edit(to, m, cap + 1000);
        if (round % 7 == 0) m = kit_text(to, cap);
        if (round % 11 == 0) n = test_random_below(3);
        delta.len = back.len = 0;
        agt__buf_text(&delta, "before");
        if (!agt__git_delta_make(from, n, to, m, m + 40, &delta)) {
            CHECK_BYTES(delta.data, delta.len, "before", 6);
            continue;
        }
        CHECK(delta.len <= 6 + m + 40);
        CHECK_OK(agt__git_delta_apply(from, n, delta.data + 6, delta.len - 6, &back, &err), err);
        CHECK_BYTES(back.data, back.len, to, m);
        made++;
        small += delta.len < m / 2;
    }
    CHECK(made > 2500 && small > 1000);
    agt__buf_free(&delta);
    agt__buf_free(&back);
    free(from);
    free(to);
}

TEST(git_codec, a_hostile_delta_is_refused_or_stays_within_its_bounds) {
    agt_mem mem = agt__mem(NULL);
    agt_buf delta = agt__buf(&mem), out = agt__buf(&mem);
    unsigned char from[500] = {0}, to[600];
    uint64_t refused = 0, taken = 0;
    agt_error err;
    for (int round = 0; round < 20000; round++) {
        size_t n = 1 + kit_text(from, 400), m = n;
        memcpy(to, from, n);
        m = kit_edit(to, m, sizeof to);
        delta.len = out.len = 0;
        if (!agt__git_delta_make(from, n, to, m, 1000, &delta)) continue;
        for (uint64_t e = 1 + test_random_below(3); e > 0; e--)
            delta.data[test_random_below(delta.len)] = (unsigned char)test_random();
        if (test_random_below(4) == 0) delta.len = test_random_below(delta.len + 1);
        agt_status status = agt__git_delta_apply(from, n, delta.data, delta.len, &out, &err);
        CHECK(status == AGT_OK || status == AGT_CORRUPT);
        refused += status != AGT_OK;
        taken += status == AGT_OK;
        if (status != AGT_OK) CHECK_INT(out.len, 0);
    }
    CHECK(refused > 5000 && taken > 100);
    agt__buf_free(&delta);
    agt__buf_free(&out);
}

TEST(git_codec, a_copy_of_64_kib_and_more_is_encoded_as_git_wants_it) {
    agt_mem mem = agt__mem(NULL);
    static const size_t sizes[] = {1,     255,      256,       65535,    65536,
                                   65537, 0xffffff, 0x1000000, 0x1234567};
    unsigned char *from = malloc(0x2000000);
    for (size_t i = 0; i < 0x2000000; i++)
        from[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t i = 0; i < AGT_COUNT(sizes); i++) {
        agt_buf delta = agt__buf(&mem), out = agt__buf(&mem);
        agt_error err;
        agt__git_delta_size(&delta, 0x2000000);
        agt__git_delta_size(&delta, sizes[i]);
        agt__git_delta_copy(&delta, 0x10203, sizes[i] < 0x1fefdfd ? sizes[i] : 0);
        CHECK_OK(agt__git_delta_apply(from, 0x2000000, delta.data, delta.len, &out, &err), err);
        CHECK_BYTES(out.data, out.len, from + 0x10203, sizes[i]);
        agt__buf_free(&delta);
        agt__buf_free(&out);
    }
    free(from);
}
