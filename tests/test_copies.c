/* Copies of a store or of its git folder, laid over what is there or put in its place; and a
 * checkpoint or a publication that is at work meanwhile, or fails. All in a machine's memory. */
#include "../src/git/git.h"
#include "../src/store/store.h"
#include "fault.h"
#include "git_kit.h"
#include "oracle.h"

#define GIT  "/home/.agent-trace/git"
#define KEPT "/home/.agent-trace/kept"
#define OLD  "/home/.agent-trace/old"

static const char *const root = "/home";

static machine *copies_new(void) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_sync_all(m);
    return m;
}

static agt_store *copies_open(machine *m) {
    return oracle_open(machine_process_new(m, "handle"), root, NULL, AGT_OK);
}

/* Version v has `len` bytes and the number in their middle. */
static void copies_holds(agt_store *s, uint32_t v, size_t len, char number) {
    agt_bytes b;
    agt_error err;
    CHECK_OK(agt_read_version(s, "a.md", v, &b, &err), err);
    CHECK_INT(b.len, len);
    CHECK_INT(((const char *)b.data)[b.len / 2], number);
    agt_bytes_free(&b);
}

/* cp -a from/. to: what only `to` has stays. `a` and `b` may be one machine. */
static void copies_lay(machine *a, const char *from, machine *b, const char *to) {
    char *tree = machine_tree(a, from);
    size_t files = 0;
    machine_make_folder(b, to);
    for (char *line = tree; line && *line;) {
        char source[300], target[300], *end = strchr(line, '\n');
        agt_stat st;
        size_t n;
        if (end) *end = 0;
        const char *name = strrchr(line, ' ') + 1;
        snprintf(source, sizeof source, "%s/%s", from, name);
        snprintf(target, sizeof target, "%s/%s", to, name);
        CHECK_INT(machine_stat(a, source, &st), 0);
        if (st.kind == AGT_FILE_FOLDER)
            machine_make_folder(b, target);
        else {
            char *bytes = machine_get(a, source, &n);
            CHECK_INT(machine_put(b, target, bytes, n), 0);
            free(bytes);
            files++;
        }
        line = end ? end + 1 : NULL;
    }
    free(tree);
    CHECK(files > 2);
}

/* The copy takes the folder's place. */
static void copies_swap(machine *m, const char *folder) {
    CHECK_INT(machine_rename(m, folder, OLD), 0);
    CHECK_INT(machine_rename(m, KEPT, folder), 0);
}

/* main is whole, and nothing was found there. */
static void copies_published(agt_store *s) {
    agt_git *git;
    agt_error err;
    agt_oid head;
    agt_fd dir;
    bool found = false, whole = false;
    CHECK_OK(agt__open_folder(s->sys, s->at, "git", false, &dir, &err), err);
    CHECK_OK(agt__git_open(&git, s->sys, dir, &s->mem, s->cpu, &err), err);
    CHECK_OK(agt__git_head(git, &head, &found, &err), err);
    CHECK(found);
    CHECK_OK(agt__git_whole(git, &head, &whole, &err), err);
    CHECK(whole);
    agt__git_close(git);
    s->sys->close(s->sys->ctx, dir);
}

static void copies_nothing_found(machine *m) {
    char *tree = machine_tree(m, GIT "/refs/heads");
    CHECK(tree && !strstr(tree, "found-"));
    free(tree);
}

/* ---- laid over a store ---- */

/* Events from..to change a.md, each to a text with `mark`; then a recovery's checkpoint keeps their
 * records, without git. */
static void copies_step(machine *m, uint32_t from, uint32_t to, int mark, size_t len) {
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_store *s = copies_open(m);
    for (uint32_t i = from; i <= to; i++)
        kit_write_blanks(s, "a.md", len + i, mark);
    CHECK_OK(agt__empty_journal(s, &err), err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.last_seq, to);
    machine_process_kill(s->sys->ctx);
    (void)agt_close(s, NULL);
}

/* What the store had and the copy did not is of another time: it must never be read again. */
TEST(copies, a_copy_laid_over_a_store_does_not_mix_two_times) {
    for (int died = 0; died < 2; died++) {
        machine *m = copies_new();
        agt_error err;
        copies_step(m, 1, 5, 1, 100);
        machine_reboot(m);
        machine *copy = machine_clone(m);
        copies_step(m, 6, 8, 1, 100);
        copies_step(m, 9, 12, 1, 100);
        machine_reboot(m);
        copies_lay(copy, root, m, root);
        machine_reboot(m);
        copies_step(m, 6, 10, 3, 100);
        if (died) machine_reboot(m);
        copies_step(m, 11, 15, 3, 100);
        for (int turn = 0; turn < 3; turn++) {
            agt_store *s = copies_open(m);
            for (uint32_t v = 1; v <= 15; v++)
                copies_holds(s, v, 100 + v, v <= 5 ? '1' : '3');
            if (turn == 0) CHECK_OK(agt_publish(s, &err), err);
            if (turn == 1) CHECK_OK(agt_checkpoint(s, &err), err);
            CHECK_OK(agt_close(s, &err), err);
        }
        agt_store *s = copies_open(m);
        copies_published(s);
        CHECK_OK(agt_close(s, &err), err);
        copies_nothing_found(m);
        machine_free(copy);
        machine_free(m);
    }
}

/* A store with events 1 to 15 over one whose event 9 begins a file in unpublished/: events 6 to 12
 * are in one file, and have `len` bytes. */
static machine *copies_with_stray(size_t len) {
    machine *m = copies_new();
    copies_step(m, 1, 5, 1, 100);
    machine_reboot(m);
    machine *copy = machine_clone(m);
    copies_step(m, 6, 8, 2, 100);
    copies_step(m, 9, 10, 2, 100);
    machine_reboot(m);
    copies_step(copy, 6, 12, 3, len);
    copies_step(copy, 13, 15, 3, 100);
    machine_reboot(copy);
    copies_lay(copy, root, m, root);
    machine_free(copy);
    machine_reboot(m);
    agt_stat st;
    CHECK_INT(machine_stat(m, "/home/.agent-trace/unpublished/9.records", &st), 0);
    return m;
}

static void copies_without_stray(agt_store *s, size_t len) {
    for (uint32_t v = 1; v <= 15; v++)
        copies_holds(s, v, (v >= 6 && v <= 12 ? len : 100) + v, v <= 5 ? '1' : '3');
}

TEST(copies, records_of_another_time_between_two_files_are_not_read) {
    machine *m = copies_with_stray(100);
    agt_error err;
    agt_store *s = copies_open(m);
    copies_without_stray(s, 100);
    CHECK_OK(agt_publish(s, &err), err);
    copies_published(s);
    copies_without_stray(s, 100);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* A publication that packed up to the middle of a file: it stays, whatever begins there. */
TEST(copies, records_of_another_time_do_not_take_the_place_of_a_file) {
    size_t len = 20u * 1024 * 1024;
    bool met = false;
    for (uint64_t i = 0; i < 40 && !met; i++) {
        uint64_t at = 1 + (8 + i) % 40; /* it was the ninth once, and each try takes seconds */
        machine *m = copies_with_stray(len);
        agt_error err;
        agt_store *s = copies_open(m);
        machine_fail_at(m, at, MACHINE_BIT(MACHINE_RENAME) | MACHINE_BIT(MACHINE_LINK), AGT_SYS_IO,
                        5, false);
        agt_status st = agt_publish(s, &err);
        machine_fail(m, NULL);
        met = st != AGT_OK && s->shared.packed_seq >= 8 && s->shared.packed_seq < 12;
        if (met) {
            kit_write_blanks(s, "b.md", 10, 1);
            CHECK_OK(agt__empty_journal(s, &err), err);
            CHECK_OK(agt_publish(s, &err), err);
            copies_without_stray(s, len);
            copies_published(s);
        }
        (void)agt_close(s, NULL);
        machine_free(m);
    }
    CHECK(met);
}

/* ---- in the place of git ---- */

TEST(copies, another_process_finds_an_older_git_and_makes_the_rest_again) {
    static const char *const folders[] = {GIT, GIT "/objects"};
    for (int i = 0; i < 4; i++) {
        const char *folder = folders[i & 1];
        machine *m = copies_new();
        agt_error err;
        agt_store *s = copies_open(m);
        kit_write_blanks(s, "a.md", 101, 1);
        CHECK_OK(agt_publish(s, &err), err);
        copies_lay(m, folder, m, KEPT);
        kit_write_blanks(s, "a.md", 102, 1);
        CHECK_OK(agt_publish(s, &err), err);
        CHECK_OK(agt_close(s, &err), err);
        copies_swap(m, folder);
        s = copies_open(m);
        if (i & 2) kit_write_blanks(s, "a.md", 103, 1);
        CHECK_OK(agt_publish(s, &err), err);
        copies_published(s);
        copies_nothing_found(m);
        CHECK_OK(agt_close(s, &err), err);
        machine_free(m);
    }
}

TEST(copies, a_publication_that_fails_after_a_swap_does_not_forget_it) {
    uint64_t failed = 0;
    for (int way = 0; way < 3; way++) {
        const char *folder = way ? GIT "/objects" : GIT;
        for (uint64_t at = 1, done = 1; done; at += 3) {
            machine *m = copies_new();
            agt_error err;
            agt_store *s = copies_open(m);
            kit_write_blanks(s, "a.md", 101, 1);
            if (way == 2) CHECK_OK(agt_checkpoint(s, &err), err);
            kit_write_blanks(s, "a.md", 102, 1);
            CHECK_OK(agt_publish(s, &err), err);
            copies_lay(m, folder, m, KEPT);
            kit_write_blanks(s, "a.md", 103, 1);
            CHECK_OK(agt_publish(s, &err), err);
            copies_swap(m, folder);
            machine_fail_at(m, at, MACHINE_CAN_FAIL, AGT_SYS_IO, 5, false);
            (void)agt_publish(s, &err);
            done = machine_fail_count(m);
            failed += done;
            machine_fail(m, NULL);
            if (s->shared.failed) {
                (void)agt_close(s, NULL);
                s = copies_open(m);
            }
            CHECK_OK(agt_publish(s, &err), err);
            copies_published(s);
            copies_nothing_found(m);
            CHECK_OK(agt_close(s, &err), err);
            machine_free(m);
        }
    }
    test_saw("calls that failed", failed);
    CHECK(failed > 100);
}

/* A person swaps before call n of a checkpoint. */
typedef struct copies_moment {
    uint64_t at, seen;
    bool done;
} copies_moment;

static void copies_at(void *ctx, machine *m, const machine_call *call) {
    copies_moment *w = ctx;
    (void)call;
    if (w->done || ++w->seen != w->at) return;
    w->done = true;
    copies_swap(m, GIT);
}

TEST(copies, git_may_be_swapped_while_a_checkpoint_is_at_work) {
    uint64_t moments = 0, busy = 0;
    for (uint64_t at = 1;; at += 5) {
        machine *m = copies_new();
        agt_error err;
        agt_store *s = copies_open(m);
        kit_write_blanks(s, "a.md", 101, 1);
        CHECK_OK(agt_checkpoint(s, &err), err);
        for (uint32_t i = 2; i <= 5; i++)
            kit_write_blanks(s, "a.md", 100 + i, 1);
        CHECK_OK(agt_publish(s, &err), err);
        copies_lay(m, GIT, m, KEPT);
        for (uint32_t i = 6; i <= 30; i++)
            kit_write_blanks(s, "a.md", 100 + i, 1);
        uint64_t packed = s->journal.header.packed_seq;
        copies_moment w = {.at = at};
        machine_on_call(m, copies_at, &w);
        agt_status st = agt_checkpoint(s, &err);
        machine_on_call(m, NULL, NULL);
        /* once the header says so, they are packed, and the copy is one that lacks them */
        bool told = s->journal.header.packed_seq > packed;
        moments += w.done;
        busy += st == AGT_BUSY;
        if (w.done && !told) {
            CHECK_OK(agt_publish(s, &err), err);
            for (uint32_t v = 1; v <= 30; v++)
                copies_holds(s, v, 100 + v, '1');
            copies_published(s);
        }
        (void)agt_close(s, NULL);
        machine_free(m);
        if (!w.done) break;
    }
    test_saw("moments", moments);
    test_saw("checkpoints that were told to try again", busy);
    CHECK(moments > 50);
}
