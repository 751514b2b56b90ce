/* The poll lock by a file that exists (sentinel.c), on a machine in memory: deaths at every call,
 * another process' turn at every call, rubbish, other hosts, file systems that lack something. */
#include "test.h"

#include "../src/lock/sentinel.h"
#include "machine.h"

#include <stdlib.h>

#define LOCKS "/home/.agent-trace/locks"
#define OWNER LOCKS "/poll.lock.owner"

typedef struct box {
    machine *m;
    machine_process *p[4];
} box;

static box box_new(const machine_settings *set) {
    box b;
    b.m = machine_new(set);
    machine_make_folder(b.m, "/home");
    for (int i = 0; i < 4; i++)
        b.p[i] = machine_process_new(b.m, "contender");
    return b;
}

static agt_status take_by(machine_process *p, uint32_t backend, int32_t timeout_ms,
                          agt_poll_lock **out, agt_error *err) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = timeout_ms;
    o.backend = backend;
    o.sys = machine_sys(p);
    memset(err, 0, sizeof *err);
    agt_status st = agt_poll_lock_acquire(out, "/home", &o, err);
    CHECK_INT(st == AGT_OK, *out != NULL);
    return st;
}

static agt_status take(machine_process *p, agt_poll_lock **out) {
    agt_error err;
    return take_by(p, AGT_LOCK_SENTINEL, AGT_TRY, out, &err);
}

static agt_status take_once(machine_process *p) {
    agt_poll_lock *lock;
    agt_status st = take(p, &lock);
    agt_poll_lock_release(lock);
    return st;
}

/* Nothing that blocks anybody, and nothing of a take that ended in peace. */
static void check_clean(machine *m) {
    char *tree = machine_tree(m, LOCKS);
    CHECK(tree && !strstr(tree, "owner") && !strstr(tree, "reap") && !strstr(tree, "tmp"));
    free(tree);
}

/* An owner that died while it held the lock. */
static void leave_a_dead_owner(box *b) {
    agt_poll_lock *lock;
    machine_process *dead = machine_process_new(b->m, "dead");
    CHECK_INT(take(dead, &lock), AGT_OK);
    machine_process_kill(dead);
    agt_poll_lock_release(lock);
    agt_stat st;
    CHECK_INT(machine_stat(b->m, OWNER, &st), 0);
}

TEST(sentinel, a_second_try_is_refused_while_the_first_is_held_and_one_after_the_release_succeeds) {
    box b = box_new(NULL);
    agt_poll_lock *first, *second;
    for (int i = 0; i < 3; i++) {
        CHECK_INT(take(b.p[0], &first), AGT_OK);
        CHECK_INT(take(b.p[1], &second), AGT_BUSY);
        CHECK_INT(take(b.p[0], &second), AGT_BUSY); /* another handle of the same process */
        agt_poll_lock_release(first);
        check_clean(b.m);
        CHECK_INT(take_once(b.p[1]), AGT_OK);
    }
    machine_free(b.m);
}

TEST(sentinel, a_dead_owner_is_replaced_and_one_that_lives_never) {
    box b = box_new(NULL);
    leave_a_dead_owner(&b);
    CHECK_INT(take_once(b.p[0]), AGT_OK);
    check_clean(b.m);
    agt_poll_lock *lock;
    CHECK_INT(take(b.p[0], &lock), AGT_OK);
    machine_set_clock(b.m, machine_now_ns(b.m) / 1000000 + 86400000);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY); /* whatever the clock says */
    machine_set_clock(b.m, machine_now_ns(b.m) / 1000000 - 2 * 86400000);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY);
    machine_reboot(b.m);
    machine_process *after = machine_process_new(b.m, "after");
    CHECK_INT(take_once(after), AGT_OK); /* everybody of before is dead */
    agt_poll_lock_release(lock);
    machine_free(b.m);
}

/* ---- deaths ---- */

/* Takes and releases; dies at its n-th change. 1: it lived. */
static int live_until(box *b, machine_process *p, uint64_t n, machine_when when) {
    machine_memory memory; /* of who dies */
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_TRY;
    o.backend = AGT_LOCK_SENTINEL;
    o.sys = machine_sys(p);
    o.allocator = machine_memory_init(&memory);
    machine_crash_at(b->m, n, MACHINE_CHANGES, when);
    int lived = setjmp(*machine_crash_point(b->m)) == 0;
    if (lived) {
        agt_poll_lock *lock;
        (void)agt_poll_lock_acquire(&lock, "/home", &o, NULL);
        agt_poll_lock_release(lock);
        machine_crash_at(b->m, 0, 0, when);
    }
    machine_memory_release(&memory);
    return lived;
}

TEST(sentinel, whoever_dies_wherever_the_next_one_leads) {
    static const machine_when whens[] = {MACHINE_BEFORE, MACHINE_MIDDLE, MACHINE_AFTER};
    uint64_t deaths = 0;
    for (size_t w = 0; w < AGT_COUNT(whens); w++)
        for (int dead_owner = 0; dead_owner < 2; dead_owner++)
            for (uint64_t n = 1, lived = 0; !lived; n++) {
                for (uint64_t k = 1, second = 0; !second; k += 1 + k / 8) {
                    box b = box_new(NULL);
                    if (dead_owner) leave_a_dead_owner(&b);
                    lived = (uint64_t)live_until(&b, b.p[0], n, whens[w]);
                    second = (uint64_t)live_until(&b, b.p[1], k, whens[(w + n) % 3]);
                    deaths += !lived + !second;
                    if (take_once(b.p[2]) != AGT_OK)
                        test_fail(__FILE__, __LINE__, "deaths at %d and %d block the next one",
                                  (int)n, (int)k);
                    CHECK_INT(take_once(b.p[3]), AGT_OK);
                    agt_stat st;
                    CHECK(machine_stat(b.m, OWNER, &st) < 0);
                    machine_free(b.m);
                }
            }
    CHECK(deaths > 500);
    test_saw("deaths", deaths);
}

/* ---- the sweep ---- */

/* How many files of publishing and claiming there are, and how many of them are records. */
static uint64_t left_files(box *b, uint64_t *records) {
    char *tree = machine_tree(b->m, LOCKS), *line = tree;
    uint64_t count = 0;
    *records = 0;
    if (!tree) return 0; /* no folder was made yet */
    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        char *name = strstr(line, "poll.lock.tmp."), path[200];
        size_t n;
        if (!name) name = strstr(line, "poll.lock.reap.");
        if (!name) continue;
        snprintf(path, sizeof path, "%s/%s", LOCKS, name);
        char *text = machine_get(b->m, path, &n);
        count++;
        *records += n > 5 && strstr(text, "\nend=") && text[n - 1] == '\n';
        free(text);
    }
    free(tree);
    return count;
}

TEST(sentinel, whoever_dies_wherever_the_next_holder_sweeps) {
    static const machine_when whens[] = {MACHINE_BEFORE, MACHINE_MIDDLE, MACHINE_AFTER};
    uint64_t left = 0, swept = 0, torn = 0;
    for (size_t w = 0; w < AGT_COUNT(whens); w++)
        for (int dead_owner = 0; dead_owner < 2; dead_owner++)
            for (uint64_t n = 1, lived = 0; !lived; n++) {
                uint64_t records, after;
                box b = box_new(NULL);
                if (dead_owner) leave_a_dead_owner(&b);
                lived = (uint64_t)live_until(&b, b.p[0], n, whens[w]);
                uint64_t before = left_files(&b, &records);
                left += records;
                CHECK_INT(take_once(b.p[1]), AGT_OK);
                torn += left_files(&b, &after);
                CHECK_INT(after, 0);
                swept += before - left_files(&b, &after);
                machine_free(b.m);
            }
    CHECK(left > 10 && swept >= left);
    test_saw("files left", left);
    test_saw("torn ones that stay", torn);
}

/* A record of publishing or claiming, as `h` would have made it. */
static const char *leave_file(box *b, const char *kind, const char *name_token,
                              const agt_holder *h) {
    static char path[200];
    char text[AGT_HOLDER_TEXT];
    size_t n = agt__holder_format(h, text);
    snprintf(path, sizeof path, "%s/poll.lock.%s.%s", LOCKS, kind, name_token);
    CHECK_INT(machine_put(b->m, path, text, n), 0);
    return path;
}

static const char *left_kinds[] = {"tmp", "reap"};
#define LEFT_TOKEN "00112233445566778899aabbccddeeff"

TEST(sentinel, the_sweep_leaves_what_is_or_may_be_somebodys) {
    for (int how = 0; how < 9; how++)
        for (size_t k = 0; k < AGT_COUNT(left_kinds); k++) {
            box b = box_new(NULL);
            bool claim = left_kinds[k][0] == 'r';
            agt_stat st;
            agt_holder h;
            machine_process *dead = machine_process_new(b.m, "dead");
            leave_a_dead_owner(&b);
            agt__holder_self(&h, machine_sys(how == 1 ? b.p[3] : dead), "left");
            machine_process_kill(dead);
            if (how == 2) strcpy(h.host, "cellar");
            if (how == 3) strcpy(h.pid_space, "pid:[7]");
            if (how == 4) h.pid = 0;
            if (how == 5) h.start = 0;
            if (how == 5) h.pid = machine_process_pid(b.p[3]);
            const char *path =
                leave_file(&b, left_kinds[k], claim || how == 6 ? LEFT_TOKEN : h.token, &h);
            if (how == 7) machine_put(b.m, path, NULL, 0);
            if (how == 8) machine_put_text(b.m, path, "pid=1\nnot a record\n");
            /* a claim's name says nothing of who made it: it is the token of who was claimed */
            bool goes = how == 0 || (how == 6 && claim);
            CHECK_INT(take_once(b.p[0]), AGT_OK);
            CHECK_INT(machine_stat(b.m, path, &st) == 0, !goes);
            machine_free(b.m);
        }
}

TEST(sentinel, a_holder_by_flock_sweeps_behind_a_dead_one_by_the_file) {
    for (int dead_owner = 0; dead_owner < 2; dead_owner++) {
        box b = box_new(NULL);
        agt_error err;
        agt_poll_lock *lock;
        agt_holder h;
        agt_stat st;
        machine_process *dead = machine_process_new(b.m, "dead");
        leave_a_dead_owner(&b);
        agt__holder_self(&h, machine_sys(dead), "left");
        machine_process_kill(dead);
        if (!dead_owner) machine_remove(b.m, OWNER);
        const char *path = leave_file(&b, "tmp", h.token, &h);
        CHECK_INT(take_by(b.p[0], AGT_LOCK_FLOCK, AGT_TRY, &lock, &err), AGT_OK);
        CHECK_INT(machine_stat(b.m, path, &st) == 0, !dead_owner);
        agt_poll_lock_release(lock);
        machine_free(b.m);
    }
}

/* More than a holder removes at once; who looks sees them all and removes none. */
TEST(sentinel, many_left_files_are_swept_a_few_at_a_time) {
    enum { many = 75, dead_ones = (many + 1) / 2 };
    box b = box_new(NULL);
    uint64_t records;
    leave_a_dead_owner(&b);
    CHECK_INT(take_once(b.p[0]), AGT_OK);
    for (int i = 0; i < many; i++) {
        agt_holder h;
        agt__holder_self(&h, machine_sys(b.p[i % 2]), "left");
        (void)leave_file(&b, "tmp", h.token, &h);
    }
    machine_process_kill(b.p[0]);
    const agt_sys *sys = machine_sys(b.p[2]);
    agt_fd top = sys->open_root(sys->ctx, LOCKS);
    agt_sentinel s;
    agt_leftovers all, eight, cleared;
    agt__sentinel_init(&s, sys, top, "sweeper");
    agt__sentinel_sweep(&s, false, 0, &all);
    CHECK_INT(all.found, dead_ones);
    CHECK_INT(all.removed, 0);
    CHECK(strncmp(all.first, "poll.lock.tmp.", 14) == 0);
    CHECK_INT(left_files(&b, &records), many);
    agt__sentinel_sweep(&s, true, 8, &eight);
    CHECK_INT(eight.found, 8);
    CHECK_INT(left_files(&b, &records), many - 8);
    CHECK_INT(take_once(b.p[2]), AGT_OK); /* a holder's is bounded, too */
    CHECK_INT(left_files(&b, &records), many - 16);
    agt__sentinel_sweep(&s, true, 0, &cleared);
    CHECK_INT(cleared.removed, dead_ones - 16);
    CHECK(!cleared.first[0]);
    CHECK_INT(left_files(&b, &records), many - dead_ones); /* a living one's */
    sys->close(sys->ctx, top);
    machine_free(b.m);
}

/* ---- somebody else's turn in between ---- */

typedef struct turn {
    machine_process *p;
    uint64_t at, seen; /* its turn comes before the at-th call of the others */
    agt_poll_lock *lock;
    int went;
} turn;

typedef struct turns {
    turn t[2];
    int n;
} turns;

static void take_turns(void *ctx, machine *m, const machine_call *call) {
    turns *all = ctx;
    (void)m, (void)call;
    for (int i = 0; i < all->n; i++) {
        turn *t = &all->t[i];
        if (t->went || ++t->seen != t->at) continue;
        t->went = 1;
        agt_status st = take(t->p, &t->lock);
        CHECK(st == AGT_OK || st == AGT_BUSY);
    }
}

/* One tries; before its n-th call another one tries as a whole, and a third before the m-th. */
static int leaders(box *b, uint64_t n, uint64_t m, int *went) {
    turns all = {{{b->p[1], n, 0, NULL, 0}, {b->p[2], m, 0, NULL, 0}}, 2};
    agt_poll_lock *lock;
    machine_on_call(b->m, take_turns, &all);
    agt_status st = take(b->p[0], &lock);
    CHECK(st == AGT_OK || st == AGT_BUSY); /* nobody takes away what it needs */
    machine_on_call(b->m, NULL, NULL);
    int count = (lock != NULL) + (all.t[0].lock != NULL) + (all.t[1].lock != NULL);
    *went = all.t[0].went && all.t[1].went;
    /* whoever leads can prove it, and keeps the others out */
    agt_poll_lock *of[] = {lock, all.t[0].lock, all.t[1].lock};
    for (int i = 0; i < 3; i++)
        if (of[i]) CHECK_INT(agt_poll_lock_check(of[i], NULL), AGT_OK);
    CHECK_INT(take_once(b->p[3]), count ? AGT_BUSY : AGT_OK);
    for (int i = 0; i < 3; i++)
        agt_poll_lock_release(of[i]);
    CHECK_INT(take_once(b->p[3]), AGT_OK);
    check_clean(b->m);
    return count;
}

TEST(sentinel, whoever_comes_in_between_there_is_one_leader) {
    uint64_t runs = 0;
    for (int dead_owner = 0; dead_owner < 2; dead_owner++)
        for (uint64_t n = 1, more = 1; more; n++) {
            more = 0;
            for (uint64_t m = n, went = 1; went; m++) {
                box b = box_new(NULL);
                int both;
                if (dead_owner) leave_a_dead_owner(&b);
                int count = leaders(&b, n, m, &both);
                if (count > 1)
                    test_fail(__FILE__, __LINE__, "%d leaders, turns at %d and %d", count, (int)n,
                              (int)m);
                went = (uint64_t)both;
                more |= went;
                runs++;
                machine_free(b.m);
            }
        }
    CHECK(runs > 500);
    test_saw("interleavings", runs);
}

/* ---- failing calls ---- */

TEST(sentinel, every_failing_call_ends_in_an_error_or_in_a_real_lock) {
    static const int classes[] = {AGT_SYS_IO, AGT_SYS_NOSPC, AGT_SYS_ACCESS, AGT_SYS_NOSYS};
    uint64_t failed = 0, tolerated = 0;
    for (size_t c = 0; c < AGT_COUNT(classes); c++)
        for (int after = 0; after < 2; after++)
            for (uint64_t n = 1, hit = 1; hit; n++) {
                box b = box_new(NULL);
                leave_a_dead_owner(&b);
                machine_fault f = {.at = n, .cls = classes[c], .code = 5, .after = after};
                agt_poll_lock *lock;
                machine_fail(b.m, &f);
                agt_status st = take(b.p[0], &lock);
                hit = machine_fail_count(b.m);
                machine_fail(b.m, NULL);
                if (st == AGT_OK) CHECK_INT(take_once(b.p[1]), AGT_BUSY);
                if (hit) failed += st != AGT_OK, tolerated += st == AGT_OK;
                agt_poll_lock_release(lock);
                machine_process_kill(b.p[0]); /* what could not be removed is a dead one's now */
                CHECK_INT(take_once(b.p[1]), AGT_OK);
                machine_free(b.m);
            }
    CHECK(failed > 40 && tolerated > 20);
    test_saw("failing calls", failed + tolerated);
}

TEST(sentinel, a_move_that_was_done_though_it_is_told_to_have_failed_counts) {
    box b = box_new(NULL);
    agt_poll_lock *lock;
    machine_fault f = {
        .at = 1, .ops = MACHINE_BIT(MACHINE_RENAME), .cls = AGT_SYS_IO, .code = 5, .after = true};
    machine_fail(b.m, &f);
    CHECK_INT(take(b.p[0], &lock), AGT_OK);
    CHECK_INT(machine_fail_count(b.m), 1);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY);
    agt_poll_lock_release(lock);
    check_clean(b.m);
    machine_free(b.m);
}

TEST(sentinel, file_systems_that_lack_a_move_or_a_link_will_do) {
    for (int lacks = 0; lacks < 3; lacks++) {
        machine_settings set = {.no_noreplace = lacks > 0, .no_link = lacks > 1, .no_lock = true};
        box b = box_new(&set);
        agt_poll_lock *lock;
        agt_error err;
        CHECK_INT(take_by(b.p[0], AGT_LOCK_FLOCK, AGT_TRY, &lock, &err), AGT_UNSUPPORTED);
        leave_a_dead_owner(&b);
        CHECK_INT(take(b.p[0], &lock), AGT_OK);
        CHECK_INT(take_once(b.p[1]), AGT_BUSY);
        agt_poll_lock_release(lock);
        check_clean(b.m);
        machine_free(b.m);
    }
}

/* ---- what cannot be proved ---- */

static void put_record(box *b, const agt_holder *h) {
    char text[AGT_HOLDER_TEXT];
    size_t n = agt__holder_format(h, text);
    machine_remove(b->m, OWNER);
    CHECK_INT(machine_put(b->m, OWNER, text, n), 0);
}

TEST(sentinel, owners_elsewhere_are_never_taken_for_dead_and_the_mend_is_told) {
    box b = box_new(NULL);
    agt_error err;
    agt_poll_lock *lock;
    for (int how = 0; how < 5; how++) {
        leave_a_dead_owner(&b);
        agt_holder h;
        agt__holder_self(&h, machine_sys(b.p[3]), "far");
        h.pid = 99999; /* nobody here */
        if (how == 0) strcpy(h.host, "cellar");
        if (how == 1) strcpy(h.pid_space, "pid:[7]");
        if (how == 2) strcpy(h.time_space, "time:[7]");
        if (how == 3) h.host[0] = 0;
        if (how == 4) strcpy(h.boot, "another");
        if (how == 4) machine_set(b.m)->volume = AGT_VOLUME_NETWORK;
        put_record(&b, &h);
        CHECK_INT(take_by(b.p[0], AGT_LOCK_SENTINEL, 60000, &lock, &err), AGT_BUSY);
        CHECK(strstr(err.message, "99999") && strstr(err.message, "poll.lock.owner") &&
              strstr(err.message, "remove"));
        machine_remove(b.m, OWNER);
        CHECK_INT(take_once(b.p[0]), AGT_OK);
        machine_set(b.m)->volume = AGT_VOLUME_LOCAL;
    }
    machine_free(b.m);
}

TEST(sentinel, a_file_that_is_no_record_is_left_to_a_person) {
    box b = box_new(NULL);
    agt_error err;
    agt_poll_lock *lock;
    size_t n;
    leave_a_dead_owner(&b);
    char *text = machine_get(b.m, OWNER, &n);
    CHECK(text && n > 100);
    for (size_t cut = 1; cut < n; cut++) {
        machine_put(b.m, OWNER, text, cut);
        CHECK_INT(take_by(b.p[0], AGT_LOCK_SENTINEL, cut % 50 ? AGT_TRY : 30000, &lock, &err),
                  AGT_BUSY);
        CHECK(strstr(err.message, "remove that file") != NULL);
    }
    for (int i = 0; i < 300; i++) { /* one byte changed: not a record, or one of somebody else */
        char *other = malloc(n + 1);
        memcpy(other, text, n);
        size_t at = (size_t)test_random_below(n);
        other[at] = (char)(other[at] ^ (char)(1 + test_random_below(127)));
        machine_put(b.m, OWNER, other, n);
        agt_status st = take_once(b.p[0]);
        CHECK(st == AGT_BUSY || st == AGT_OK);
        free(other);
        machine_remove(b.m, OWNER);
        CHECK_INT(take_once(b.p[0]), AGT_OK);
    }
    machine_put(b.m, OWNER, text, n);
    CHECK_INT(take_once(b.p[0]), AGT_OK);
    free(text);
    machine_make_folder(b.m, OWNER);
    CHECK_INT(take_once(b.p[0]), AGT_INVALID);
    machine_remove(b.m, OWNER);
    machine_symlink(b.m, "/home/elsewhere", OWNER);
    CHECK_INT(take_once(b.p[0]), AGT_INVALID);
    machine_remove(b.m, OWNER);
    machine_fifo(b.m, OWNER);
    CHECK_INT(take_once(b.p[0]), AGT_INVALID);
    machine_free(b.m);
}

TEST(sentinel, an_empty_file_is_taken_over_by_who_saw_it_for_ten_seconds) {
    static const char nul[64];
    for (size_t len = 0; len <= sizeof nul; len += sizeof nul) {
        box b = box_new(NULL);
        agt_error err;
        agt_poll_lock *lock;
        CHECK_INT(take_once(b.p[0]), AGT_OK);
        machine_put(b.m, OWNER, nul, len);
        machine_advance(b.m, INT64_C(3600000000000)); /* its age says nothing */
        CHECK_INT(take_by(b.p[0], AGT_LOCK_SENTINEL, 9500, &lock, &err), AGT_BUSY);
        int64_t start = machine_now_ns(b.m);
        CHECK_INT(take_by(b.p[0], AGT_LOCK_SENTINEL, 12000, &lock, &err), AGT_OK);
        CHECK(machine_now_ns(b.m) - start >= INT64_C(10000000000));
        agt_poll_lock_release(lock);
        check_clean(b.m);
        machine_free(b.m);
    }
}

/* ---- with the other kind, forks, lost files ---- */

TEST(sentinel, the_two_kinds_exclude_each_other) {
    box b = box_new(NULL);
    agt_error err;
    agt_poll_lock *lock, *none;
    CHECK_INT(take(b.p[0], &lock), AGT_OK);
    CHECK_INT(take_by(b.p[1], AGT_LOCK_FLOCK, AGT_TRY, &none, &err), AGT_BUSY);
    CHECK(strstr(err.message, "poll.lock.owner") != NULL);
    agt_poll_lock_release(lock);
    CHECK_INT(take_by(b.p[1], AGT_LOCK_FLOCK, AGT_TRY, &lock, &err), AGT_OK);
    CHECK_INT(take(b.p[0], &none), AGT_BUSY);
    agt_poll_lock_release(lock);
    leave_a_dead_owner(&b);
    CHECK_INT(take_by(b.p[1], AGT_LOCK_FLOCK, AGT_TRY, &lock, &err), AGT_OK);
    check_clean(b.m);
    agt_poll_lock_release(lock);
    CHECK_INT(take_by(b.p[1], 3, AGT_TRY, &lock, &err), AGT_INVALID);
    machine_free(b.m);
}

TEST(sentinel, a_forks_child_neither_holds_nor_releases_it) {
    box b = box_new(NULL);
    agt_poll_lock *lock, *inner;
    CHECK_INT(take(b.p[0], &lock), AGT_OK);
    machine_fork_enter(b.p[0]);
    CHECK_INT(take(b.p[0], &inner), AGT_BUSY);
    CHECK_INT(agt_poll_lock_check(lock, NULL), AGT_INVALID);
    machine_fork_leave(b.p[0]);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY);
    CHECK_INT(agt_poll_lock_check(lock, NULL), AGT_OK);
    machine_fork_enter(b.p[0]);
    agt_poll_lock_release(lock);
    machine_fork_leave(b.p[0]);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY); /* the parent holds it on */
    machine_free(b.m);
}

TEST(sentinel, a_lost_file_is_published_again_unless_somebody_led_meanwhile) {
    box b = box_new(NULL);
    agt_poll_lock *lock;
    CHECK_INT(take(b.p[0], &lock), AGT_OK);
    uint64_t epoch = agt_poll_lock_epoch(lock);
    machine_remove(b.m, OWNER);
    CHECK_INT(agt_poll_lock_check(lock, NULL), AGT_OK);
    CHECK_INT(take_once(b.p[1]), AGT_BUSY);
    CHECK_INT(agt_poll_lock_epoch(lock), epoch);
    machine_remove(b.m, OWNER);
    CHECK_INT(take_once(b.p[1]), AGT_OK);
    CHECK_INT(agt_poll_lock_check(lock, NULL), AGT_BUSY);
    agt_poll_lock *other;
    CHECK_INT(take(b.p[1], &other), AGT_OK);
    agt_poll_lock_release(lock); /* has another one's token: left alone */
    CHECK_INT(take_once(b.p[2]), AGT_BUSY);
    agt_poll_lock_release(other);
    check_clean(b.m);
    machine_free(b.m);
}

TEST(sentinel, who_leads_is_told) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *lock;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.backend = AGT_LOCK_SENTINEL;
    o.program = "teller";
    CHECK_OK(agt_poll_lock_acquire(&lock, root, &o, &err), err);
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_INT(h.held, 1);
    CHECK_STR(h.program, "teller");
    CHECK_INT(h.epoch, agt_poll_lock_epoch(lock));
    CHECK_INT(h.backend, AGT_LOCK_SENTINEL);
    agt_lock_holder older =
        AGT_LOCK_HOLDER_INIT; /* a caller that was compiled before there was one */
    older.size = offsetof(agt_lock_holder, backend);
    older.backend = 77;
    CHECK_OK(agt_poll_lock_holder(root, &older, &err), err);
    CHECK_INT(older.epoch, h.epoch);
    CHECK_INT(older.backend, 77);
    agt_poll_lock_release(lock);
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_INT(h.held, 0);
    CHECK_INT(h.backend, AGT_LOCK_DEFAULT);
    CHECK_STR(h.program, "teller");
    o.backend = AGT_LOCK_FLOCK;
    CHECK_OK(agt_poll_lock_acquire(&lock, root, &o, &err), err);
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK_INT(h.backend, AGT_LOCK_FLOCK);
    CHECK_INT(h.epoch, agt_poll_lock_epoch(lock));
    agt_poll_lock_release(lock);
}
