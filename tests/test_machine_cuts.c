/* Power cuts in the machine reach the states they promise and no others. */
#include "machine_kit.h"

TEST(machine, a_new_unsynced_file_may_be_absent_empty_zeros_or_whole) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", false);
    check_states(b.m, PATHS("/f"), STATES("f=- ", "f= ", "f=50 ", "f=hello "));
    machine_free(b.m);
}

TEST(machine, a_synced_file_is_whole_or_has_no_name_until_its_folder_is_synced) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", true);
    check_states(b.m, PATHS("/f"), STATES("f=- ", "f=hello "));
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    CHECK_INT(machine_pending(b.m), 0);
    check_states(b.m, PATHS("/f"), STATES("f=hello "));
    machine_free(b.m);
}

TEST(machine, a_synced_folder_promises_names_not_bytes) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "hello", false);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f"), STATES("f= ", "f=50 ", "f=hello "));
    machine_free(b.m);
}

TEST(machine, replacing_with_sync_leaves_old_or_new) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "t", "new", true);
    CHECK_INT(rename_in(&b, b.root, "t", b.root, "f"), 0);
    check_states(b.m, PATHS("/f", "/t"), STATES("f=old t=- ", "f=old t=new ", "f=new t=- "));
    machine_free(b.m);
}

TEST(machine, replacing_without_sync_may_lose_both) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "t", "new!", false);
    CHECK_INT(rename_in(&b, b.root, "t", b.root, "f"), 0);
    check_states(b.m, PATHS("/f"), STATES("f=old ", "f= ", "f=40 ", "f=new! "));
    machine_free(b.m);
}

TEST(machine, sectors_are_torn_independently) {
    struct box b = new_box(NULL);
    char text[1537];
    memset(text, 'o', 1536);
    text[1536] = 0;
    save(&b, b.root, "f", text, true);
    machine_sync_all(b.m);
    memset(text, 'n', 1536);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, text, 0);
    check_states(b.m, PATHS("/f"),
                 STATES("f=1536o ", "f=1024o512n ", "f=512o512n512o ", "f=512o1024n ",
                        "f=512n1024o ", "f=512n512o512n ", "f=1024n512o ", "f=1536n "));
    machine_free(b.m);
}

TEST(machine, a_sector_may_keep_any_of_its_moments) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "aaa", true);
    machine_sync_all(b.m);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "b", 0);
    put(&b, fd, "c", 1);
    check_states(b.m, PATHS("/f"), STATES("f=aaa ", "f=baa ", "f=bca "));
    machine_free(b.m);
}

TEST(machine, appended_bytes_may_come_before_or_after_the_size) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "old", true);
    machine_sync_all(b.m);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    put(&b, fd, "NEW!", 3);
    check_states(b.m, PATHS("/f"), STATES("f=old ", "f=old40 ", "f=oldNEW! "));
    machine_free(b.m);
}

TEST(machine, what_was_cut_off_does_not_come_back_into_a_rewritten_file) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "something old", true);
    machine_sync_all(b.m);
    save(&b, b.root, "f", "new!", false);
    check_states(b.m, PATHS("/f"), STATES("f=something old ", "f= ", "f=40 ", "f=new! "));
    machine_free(b.m);
}

TEST(machine, different_renames_are_independent_and_each_is_atomic) {
    struct box b = new_box(NULL);
    CHECK_INT(machine_make_folder(b.m, "/x"), 0);
    CHECK_INT(machine_make_folder(b.m, "/y"), 0);
    save(&b, b.root, "f", "F", false);
    save(&b, b.root, "g", "G", false);
    agt_fd x = b.sys->walk(b.sys->ctx, b.root, "x"), y = b.sys->walk(b.sys->ctx, b.root, "y");
    CHECK_INT(rename_in(&b, b.root, "f", x, "f"), 0);
    machine_sync_all(b.m);
    CHECK_INT(rename_in(&b, x, "f", y, "f"), 0);
    CHECK_INT(rename_in(&b, b.root, "g", b.root, "h"), 0);
    check_states(b.m, PATHS("/x/f", "/y/f", "/g", "/h"),
                 STATES("x/f=F y/f=- g=G h=- ", "x/f=F y/f=- g=- h=G ", "x/f=- y/f=F g=G h=- ",
                        "x/f=- y/f=F g=- h=G "));
    CHECK_INT(b.sys->sync(b.sys->ctx, y), 0); /* brings both ends of the rename to the disk */
    check_states(b.m, PATHS("/x/f", "/y/f"), STATES("x/f=- y/f=F "));
    machine_free(b.m);
}

TEST(machine, changes_of_one_name_keep_their_order) {
    struct box b = new_box(NULL);
    save(&b, b.root, "a", "1", true);
    CHECK_INT(b.sys->remove(b.sys->ctx, b.root, "a"), 0);
    save(&b, b.root, "a", "2", true);
    CHECK_INT(rename_in(&b, b.root, "a", b.root, "b"), 0);
    check_states(b.m, PATHS("/a", "/b"), STATES("a=- b=- ", "a=1 b=- ", "a=2 b=- ", "a=- b=2 "));
    machine_free(b.m);
}

TEST(machine, what_is_in_a_new_folder_needs_the_folder) {
    struct box b = new_box(NULL);
    CHECK_INT(b.sys->make_folder(b.sys->ctx, b.root, "d", 0755), 0);
    agt_fd d = b.sys->walk(b.sys->ctx, b.root, "d");
    save(&b, b.root, "f", "F", true);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f", "/d/f"), STATES("f=F d/f=- "));
    CHECK_INT(b.sys->make_folder(b.sys->ctx, b.root, "e", 0755), 0);
    agt_fd e = b.sys->walk(b.sys->ctx, b.root, "e");
    CHECK_INT(rename_in(&b, b.root, "f", e, "f"), 0);
    save(&b, d, "g", "G", true);
    /* never is f lost in a folder that is not there */
    check_states(
        b.m, PATHS("/f", "/e/f", "/d/g"),
        STATES("f=F e/f=- d/g=- ", "f=F e/f=- d/g=G ", "f=- e/f=F d/g=- ", "f=- e/f=F d/g=G "));
    CHECK_INT(b.sys->sync(b.sys->ctx, e), 0);
    check_states(b.m, PATHS("/f", "/e/f"), STATES("f=- e/f=F "));
    machine_free(b.m);
}

TEST(machine, a_new_folder_is_lost_with_all_its_syncs_until_the_one_above_is_synced) {
    struct box b = new_box(NULL);
    CHECK_INT(b.sys->make_folder(b.sys->ctx, b.root, "d", 0755), 0);
    agt_fd d = b.sys->walk(b.sys->ctx, b.root, "d");
    save(&b, d, "t", "T", true);
    CHECK_INT(rename_in(&b, d, "t", d, "f"), 0);
    CHECK_INT(b.sys->sync(b.sys->ctx, d), 0);
    check_states(b.m, PATHS("/d/f"), STATES("d/f=- ", "d/f=T "));
    save(&b, d, "u", "U", true);
    CHECK_INT(rename_in(&b, d, "f", b.root, "f"), 0); /* out of it: needs it not */
    check_states(b.m, PATHS("/f", "/d/f", "/d/u"),
                 STATES("f=- d/f=- d/u=- ", "f=- d/f=T d/u=- ", "f=- d/f=T d/u=U ",
                        "f=T d/f=- d/u=- ", "f=T d/f=- d/u=U "));
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0);
    check_states(b.m, PATHS("/f", "/d/f"), STATES("f=T d/f=- "));
    machine_free(b.m);
}

TEST(machine, a_folder_is_only_removed_empty) {
    struct box b = new_box(NULL);
    CHECK_INT(machine_put_text(b.m, "/f", ""), 0);
    CHECK_INT(machine_make_folder(b.m, "/d"), 0);
    CHECK_INT(machine_put_text(b.m, "/d/f", "F"), 0);
    machine_sync_all(b.m);
    agt_fd d = b.sys->walk(b.sys->ctx, b.root, "d");
    CHECK_INT(b.sys->remove(b.sys->ctx, d, "f"), 0);
    CHECK_INT(b.sys->remove_folder(b.sys->ctx, b.root, "d"), 0);
    struct states s = all_states(b.m, PATHS("/d/f"));
    CHECK_INT(s.outcomes, 3); /* nothing; the file; both */
    free_states(&s);
    CHECK_INT(b.sys->sync(b.sys->ctx, b.root), 0); /* takes the file's removal along */
    CHECK_INT(machine_pending(b.m), 0);
    CHECK_INT(machine_stat(b.m, "/d", &(agt_stat){0}) < 0, 1);
    check_books(b.m);
    machine_free(b.m);
}

TEST(machine, an_exchange_is_atomic) {
    struct box b = new_box(NULL);
    save(&b, b.root, "a", "A", false);
    save(&b, b.root, "b", "B", false);
    machine_sync_all(b.m);
    CHECK_INT(b.sys->rename(b.sys->ctx, b.root, "a", b.root, "b", AGT_RENAME_EXCHANGE), 0);
    check_states(b.m, PATHS("/a", "/b"), STATES("a=A b=B ", "a=B b=A "));
    machine_free(b.m);
}

TEST(machine, modes_are_pending_too) {
    struct box b = new_box(NULL);
    save(&b, b.root, "f", "F", false);
    agt_fd fd = open_in(&b, b.root, "f", RW);
    machine_sync_all(b.m);
    machine_advance(b.m, 1000000000);
    CHECK_INT(b.sys->set_mode(b.sys->ctx, fd, 0600), 0);
    int modes[2] = {0, 0};
    machine_choices all = {0};
    while (machine_choices_next(&all)) {
        machine *c = machine_clone(b.m);
        machine_cut cut = machine_choices_cut(&all);
        agt_stat st;
        machine_power_cut(c, &cut);
        CHECK_INT(machine_stat(c, "/f", &st), 0);
        modes[st.mode == 0600]++;
        machine_free(c);
    }
    CHECK_INT(modes[0], 1);
    CHECK_INT(modes[1], 1);
    machine_free(b.m);
}

static const char *some_name(void) {
    static const char *const names[] = {"a", "b", "c", "d"};
    return names[test_random_below(4)];
}

/* Random work without sync on names and bytes; the tree before and after each change. */
static void some_work(struct box *b, agt_fd *dirs) {
    const agt_sys *s = b->sys;
    const char *x = some_name(), *y = some_name();
    agt_fd d = dirs[test_random_below(3)], e = dirs[test_random_below(3)];
    char text[3000];
    switch (test_random_below(9)) {
    case 0: (void)rename_in(b, d, x, e, y); break;
    case 1: (void)s->rename(s->ctx, d, x, e, y, (int)test_random_below(3)); break;
    case 2: (void)s->remove(s->ctx, d, x); break;
    case 3: (void)s->link(s->ctx, d, x, e, y); break;
    case 4: (void)s->make_folder(s->ctx, d, x, 0755); break;
    case 5: (void)s->remove_folder(s->ctx, d, x); break;
    default: {
        agt_fd fd = open_in(b, d, x, test_random_below(3) ? RWC : RWC | AGT_O_TRUNCATE);
        if (fd < 0) return;
        memset(text, (int)('a' + test_random_below(26)), sizeof text);
        (void)s->pwrite(s->ctx, fd, text, 1 + test_random_below(sizeof text),
                        test_random_below(2000));
        if (test_random_below(4) == 0) (void)s->truncate(s->ctx, fd, test_random_below(3000));
        s->close(s->ctx, fd);
    }
    }
}

static void open_dirs(struct box *b, agt_fd *dirs) {
    CHECK_INT(machine_make_folder(b->m, "/p"), 0);
    CHECK_INT(machine_make_folder(b->m, "/q"), 0);
    machine_sync_all(b->m);
    dirs[0] = b->root;
    dirs[1] = b->sys->walk(b->sys->ctx, b->root, "p");
    dirs[2] = b->sys->walk(b->sys->ctx, b->root, "q");
}

static char *tree_after(const machine *m, machine_cut cut) {
    machine *c = machine_clone(m);
    machine_power_cut(c, &cut);
    check_books(c);
    char *tree = machine_tree(c, "/");
    machine_free(c);
    return tree;
}

TEST(machine, a_disk_that_keeps_order_shows_every_moment_of_the_past) {
    uint64_t moments = 0;
    for (int round = 0; round < 20; round++) {
        struct box b = new_box(NULL);
        agt_fd dirs[3];
        char *past[400];
        uint64_t at[400], n = 0;
        open_dirs(&b, dirs);
        for (int i = 0; i < 120; i++) {
            past[n] = machine_tree(b.m, "/");
            at[n++] = machine_pending(b.m);
            some_work(&b, dirs);
        }
        check_books(b.m);
        for (uint64_t i = 0; i < n; i++, moments++) {
            machine_cut cut = {.mode = MACHINE_CUT_PREFIX, .prefix = at[i]};
            char *tree = tree_after(b.m, cut);
            CHECK_STR(tree, past[i]);
            free(tree);
        }
        char *now = machine_tree(b.m, "/");
        char *kept = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_KEEP});
        char *lost = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_LOSE});
        CHECK_STR(kept, now);
        CHECK_STR(lost, past[0]);
        machine_sync_all(b.m);
        CHECK_INT(machine_pending(b.m), 0);
        free(lost);
        lost = tree_after(b.m, (machine_cut){.mode = MACHINE_CUT_LOSE});
        CHECK_STR(lost, now);
        while (n)
            free(past[--n]);
        free(now);
        free(kept);
        free(lost);
        machine_free(b.m);
    }
    test_saw("moments", moments);
    CHECK(moments > 2000);
}

/* In a folder of its own each file is written once, synced or not, its folder then synced or not:
 * what was promised must be there after any cut, whatever else goes on. */
TEST(machine, what_was_synced_survives_every_random_cut) {
    uint64_t cuts = 0, whole = 0, torn = 0;
    for (int round = 0; round < 60; round++) {
        struct box b = new_box(NULL);
        agt_fd dirs[3];
        char name[16], text[2000];
        bool synced[30];
        open_dirs(&b, dirs);
        CHECK_INT(machine_make_folder(b.m, "/own"), 0);
        machine_sync_all(b.m);
        agt_fd own = b.sys->walk(b.sys->ctx, b.root, "own");
        int named = 0;
        for (int i = 0; i < 30; i++) {
            some_work(&b, dirs);
            snprintf(name, sizeof name, "%d", i);
            memset(text, 'a' + i % 26, sizeof text);
            text[sizeof text - 1] = 0;
            save(&b, own, name, text, synced[i] = test_random_below(2));
            if (test_random_below(6)) continue;
            CHECK_INT(b.sys->sync(b.sys->ctx, own), 0);
            named = i + 1;
        }
        for (int k = 0; k < 30; k++, cuts++) {
            machine *c = machine_clone(b.m);
            machine_cut cut = {.mode = MACHINE_CUT_RANDOM, .seed = test_random()};
            machine_power_cut(c, &cut);
            check_books(c);
            for (int i = 0; i < 30; i++) {
                char path[32];
                snprintf(path, sizeof path, "/own/%d", i);
                memset(text, 'a' + i % 26, sizeof text);
                text[sizeof text - 1] = 0;
                char *got = machine_get(c, path, NULL);
                if (i < named) CHECK(got != NULL);
                if (got && synced[i]) CHECK_STR(got, text);
                whole += got && !strcmp(got, text);
                torn += got && strcmp(got, text);
                free(got);
            }
            machine_free(c);
        }
        machine_free(b.m);
    }
    test_saw("cuts", cuts);
    CHECK(whole > 1000 && torn > 100);
}

TEST(machine, a_copy_and_its_original_do_not_see_each_other) {
    struct box b = new_box(NULL);
    agt_fd dirs[3], other[3];
    open_dirs(&b, dirs);
    for (int i = 0; i < 60; i++)
        some_work(&b, dirs);
    for (int round = 0; round < 30; round++) {
        char *before = machine_tree(b.m, "/");
        struct box c = new_box_of(machine_clone(b.m));
        other[0] = c.root;
        other[1] = c.sys->walk(c.sys->ctx, c.root, "p");
        other[2] = c.sys->walk(c.sys->ctx, c.root, "q");
        if (other[1] < 0) other[1] = c.root; /* the work may have removed it */
        if (other[2] < 0) other[2] = c.root;
        char *there = machine_tree(c.m, "/");
        CHECK_STR(there, before);
        CHECK_INT(machine_pending(c.m), machine_pending(b.m));
        for (int i = 0; i < 30; i++)
            some_work(&c, other);
        check_books(c.m);
        free(there);
        there = machine_tree(b.m, "/");
        CHECK_STR(there, before);
        free(there);
        there = machine_tree(c.m, "/");
        for (int i = 0; i < 10; i++)
            some_work(&b, dirs);
        free(before);
        before = machine_tree(c.m, "/");
        CHECK_STR(there, before);
        check_books(b.m);
        if (round % 2) {
            machine_restore(c.m, b.m);
            free(there);
            free(before);
            there = machine_tree(c.m, "/");
            before = machine_tree(b.m, "/");
            CHECK_STR(there, before);
        }
        free(there);
        free(before);
        machine_free(c.m);
    }
    machine_free(b.m);
}

TEST(machine, a_cut_kills_everybody_and_starts_a_new_boot) {
    struct box b = new_box(NULL);
    agt_process before, after;
    agt_fd fd = open_in(&b, b.root, "f", RWC);
    CHECK_INT(b.sys->process(b.sys->ctx, &before), 0);
    CHECK_INT(b.sys->lock(b.sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    int64_t wall = b.sys->now_unix_ms(b.sys->ctx);
    machine_power_cut(b.m, &(machine_cut){.mode = MACHINE_CUT_KEEP});
    CHECK(!machine_process_alive(b.p));
    CHECK_CLASS(b.sys->sync(b.sys->ctx, fd), AGT_SYS_IO);
    struct box c = new_box_of(b.m);
    CHECK_INT(c.sys->process(c.sys->ctx, &after), 0);
    CHECK(strcmp(before.boot, after.boot) != 0);
    CHECK(c.sys->now_unix_ms(c.sys->ctx) > wall);
    fd = open_in(&c, c.root, "f", RW);
    CHECK_INT(c.sys->lock(c.sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    machine_free(b.m);
}
