/* The leader's epoch (epoch.c, and agt_poll_lock_check): it only grows, whatever becomes of its
 * file, and a leader that is over changes nothing. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "store_kit.h"

#include "../src/lock/lock.h"
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCKS  "/home/.agent-trace/locks"
#define EPOCH  LOCKS "/poll.lock.epoch"
#define DAY_MS INT64_C(86400000)

/* ---- a machine, and leaders in it ---- */

typedef struct box {
    machine *m;
    machine_process *p, *other;
} box;

static box box_new(void) {
    box b;
    b.m = machine_new(NULL);
    machine_make_folder(b.m, "/home");
    b.p = machine_process_new(b.m, "first");
    b.other = machine_process_new(b.m, "second");
    return b;
}

static void box_free(box *b) {
    machine_process_free(b->p);
    machine_process_free(b->other);
    machine_free(b->m);
}

static agt_status try_in(machine_process *p, agt_poll_lock **out) {
    agt_error err;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_TRY;
    o.sys = machine_sys(p);
    return agt_poll_lock_acquire(out, "/home", &o, &err);
}

static agt_poll_lock *lead_in(machine_process *p) {
    agt_poll_lock *lock;
    CHECK_INT(try_in(p, &lock), AGT_OK);
    CHECK(agt_poll_lock_epoch(lock) > 0);
    return lock;
}

/* Leads once and lets go; the epoch it had. */
static uint64_t lead_once(machine_process *p) {
    agt_poll_lock *lock = lead_in(p);
    uint64_t epoch = agt_poll_lock_epoch(lock);
    agt_poll_lock_release(lock);
    return epoch;
}

static uint64_t told(machine_process *p) {
    const agt_sys *sys = machine_sys(p);
    uint64_t epoch;
    agt_fd dir = sys->open_root(sys->ctx, LOCKS);
    CHECK(dir >= 0);
    CHECK_INT(agt__epoch_read(sys, dir, &epoch, NULL), AGT_OK);
    sys->close(sys->ctx, dir);
    return epoch;
}

TEST(epoch, it_is_one_larger_at_each_change_of_leader_and_the_first_is_the_time) {
    box b = box_new();
    int64_t begin = machine_now_ns(b.m) / 1000000;
    uint64_t last = lead_once(b.p);
    CHECK_INT(last, begin);
    for (int i = 0; i < 50; i++) {
        if (i == 20) machine_set_clock(b.m, begin - DAY_MS); /* the clock means nothing any more */
        if (i == 30) machine_set_clock(b.m, begin + DAY_MS);
        if (i == 40) machine_reboot(b.m);
        if (i == 40) b.p = machine_process_new(b.m, "after");
        if (i == 40) b.other = machine_process_new(b.m, "after");
        machine_process *p = i % 2 ? b.p : b.other;
        agt_poll_lock *lock = lead_in(p), *none;
        CHECK_INT(agt_poll_lock_epoch(lock), last + 1);
        last++;
        CHECK_INT(told(p), last);
        CHECK_INT(try_in(i % 2 ? b.other : b.p, &none), AGT_BUSY); /* which begins none */
        CHECK_INT(told(p), last);
        agt_poll_lock_release(lock);
        CHECK_INT(told(p), last);
    }
    machine_free(b.m);
}

TEST(epoch, followers_are_told_it) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *lock;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    CHECK_OK(agt_poll_lock_holder(root, &h, &err), err);
    CHECK(h.epoch > 0 && h.epoch == agt_poll_lock_epoch(lock));
    agt_poll_lock_release(lock);
    agt_lock_holder small =
        AGT_LOCK_HOLDER_INIT; /* a caller that was compiled before there was one */
    small.size = offsetof(agt_lock_holder, epoch);
    CHECK_OK(agt_poll_lock_holder(root, &small, &err), err);
    CHECK_INT(small.pid, getpid());
    CHECK_INT(small.epoch, 0);
}

/* ---- whatever becomes of the file ---- */

static const char *const parts[] = {"poll.lock.epoch", "poll.lock.info", "poll.lock"};

static void lose(machine *m, size_t part) {
    char path[128];
    snprintf(path, sizeof path, LOCKS "/%s", parts[part]);
    CHECK_INT(machine_remove(m, path), 0);
}

TEST(epoch, cut_at_every_byte_or_with_any_byte_changed_it_never_goes_back) {
    box b = box_new();
    uint64_t last = lead_once(b.p);
    machine_set_clock(b.m, 1000); /* no help from the time */
    for (size_t round = 0; round < 4; round++) {
        if (round >= 2)
            machine_set_clock(b.m, (int64_t)last + DAY_MS); /* asked only if all is lost */
        last = lead_once(round % 2 ? b.p : b.other);
        for (size_t at = 0; at <= 128; at++) {
            size_t n;
            char *bytes = machine_get(b.m, EPOCH, &n);
            CHECK(bytes != NULL);
            CHECK_INT(n, 128);
            if (round % 2 == 0)
                n = at;
            else if (at < n)
                bytes[at] = (char)(bytes[at] ^ (char)(1 + test_random_below(127)));
            CHECK_INT(machine_put(b.m, EPOCH, bytes, n), 0);
            free(bytes);
            uint64_t next = lead_once(b.p);
            bool lost = round == 2 && at < 64; /* both lines: then the time is asked, too */
            CHECK(lost ? next > last : next == last + 1);
            last = next;
            CHECK_INT(told(b.p), last);
            (void)lead_once(b.other); /* so that both lines are there again */
            last++;
        }
    }
    test_saw("damaged files", 4 * 129);
    box_free(&b);
}

TEST(epoch, rubbish_that_looks_like_one_is_none) {
    static const char *const lines[] = {
        "",
        "epoch=1",
        "epoch=00000000000000000000 again=00000000000000000000          \n",
        "epoch=99999999999999999999 again=99999999999999999999          \n",
        "epoch=00100000000000000001 again=00100000000000000001          \n",
        "epoch=00000000000000000007 again=00000000000000000008          \n",
        "epoch=00000000000000000007 again=00000000000000000007          X",
        "epoch= 0000000000000000007 again= 0000000000000000007          \n",
        "EPOCH=00000000000000000007 again=00000000000000000007          \n",
    };
    box b = box_new();
    (void)lead_once(b.p);
    for (size_t i = 0; i < AGT_COUNT(lines); i++) {
        CHECK_INT(machine_put_text(b.m, EPOCH, lines[i]), 0);
        CHECK_INT(told(b.p), 0);
    }
    CHECK_INT(machine_put_text(b.m, EPOCH,
                               "epoch=00000000000000000007 again=00000000000000000007          \n"),
              0);
    CHECK_INT(told(b.p), 7);
    /* the largest: there is no next one, and that is said */
    agt_poll_lock *lock;
    CHECK_INT(machine_put_text(b.m, EPOCH,
                               "epoch=00100000000000000000 again=00100000000000000000          \n"
                               "epoch=00099999999999999999 again=00099999999999999999          \n"),
              0);
    CHECK_INT(try_in(b.p, &lock), AGT_IO);
    CHECK(!machine_locked(b.m, LOCKS "/poll.lock"));
    for (int i = 0; i < 500; i++) {
        char bytes[200];
        size_t n = (size_t)test_random_below(sizeof bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = (char)test_random();
        CHECK_INT(machine_put(b.m, EPOCH, bytes, n), 0);
        CHECK_INT(told(b.p), 0);
    }
    box_free(&b);
}

TEST(epoch, whatever_is_deleted_the_next_one_is_larger) {
    box b = box_new();
    uint64_t last = lead_once(b.p);
    for (size_t set = 1; set < 8; set++) {
        for (size_t part = 0; part < AGT_COUNT(parts); part++)
            if (set & ((size_t)1 << part)) lose(b.m, part);
        machine_advance(b.m, 1000000000);
        uint64_t next = lead_once(set % 2 ? b.p : b.other);
        CHECK(next > last);
        last = next;
    }
    /* the epoch's file alone, and the clock a day back: poll.lock.info has it */
    machine_set_clock(b.m, machine_now_ns(b.m) / 1000000 - DAY_MS);
    lose(b.m, 0);
    CHECK_INT(lead_once(b.p), last + 1);
    box_free(&b);
}

/* ---- a change that is made as leader ---- */

static agt_store *open_in(machine_process *p) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    o.sys = machine_sys(p);
    CHECK_OK(agt_open(&s, "/home", &o, &err), err);
    return s;
}

static uint64_t last_seq(agt_store *s) {
    agt_error err;
    agt_store_info i = AGT_STORE_INFO_INIT;
    CHECK_OK(agt_store_get_info(s, &i, &err), err);
    return i.last_seq;
}

/* Every call that changes the store, as this caller; each must answer `want`, change nothing unless
 * that is AGT_OK, and say so in words. */
static int change_everything(agt_store *s, const agt_caller *who, agt_status want) {
    agt_error err;
    uint64_t seq, before = last_seq(s);
    int calls = 0;
    memset(&err, 0, sizeof err);
#define AS_LEADER(call)                                                                            \
    do {                                                                                           \
        CHECK_STATUS(call, want, err);                                                             \
        CHECK(want == AGT_OK || strstr(err.message, "epoch"));                                     \
        calls++;                                                                                   \
    } while (0)
    AS_LEADER(agt_write(s, who, "a.md", "one\n", 4, NULL, NULL, &err));
    AS_LEADER(agt_write(s, who, "b.md", "two\n", 4, NULL, NULL, &err));
    AS_LEADER(agt_event_append(s, who, "note", "said", "a.md", 0, &seq, &err));
    agt_change c = AGT_CHANGE_INIT;
    c.path = "c.md";
    c.bytes = "three\n";
    c.len = 6;
    AS_LEADER(agt_batch(s, who, &c, 1, 0, NULL, &err));
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    c.path = "d.md";
    c.caller = who;
    CHECK_OK(agt_group(s, &c, 1, 0, &r, &err), err); /* each of a group has its own answer */
    CHECK_INT(r.status, want);
    CHECK(want == AGT_OK || strstr(r.message, "epoch"));
    if (want == AGT_OK) {
        AS_LEADER(agt_reclassify(s, who, "a.md", AGT_TYPE_REFERENCE, NULL, NULL, &err));
        AS_LEADER(agt_rename(s, who, "b.md", "e.md", NULL, NULL, &err));
        AS_LEADER(agt_remove(s, who, "c.md", NULL, NULL, &err));
    } else
        CHECK_INT(last_seq(s), before);
#undef AS_LEADER
    return calls;
}

TEST(epoch, a_leader_that_is_over_changes_nothing) {
    box b = box_new();
    agt_store *first = open_in(b.p), *second = open_in(b.other);
    agt_poll_lock *lock = lead_in(b.p), *newer;
    agt_caller who = AGT_CALLER("user"), next = AGT_CALLER("user");
    who.confirm = next.confirm = 1;
    who.epoch = agt_poll_lock_epoch(lock);
    CHECK_INT(change_everything(first, &who, AGT_OK), 7);
    /* it is stopped, somebody deletes its lock file, and another one leads */
    lose(b.m, 2);
    newer = lead_in(b.other);
    next.epoch = agt_poll_lock_epoch(newer);
    CHECK(next.epoch > who.epoch);
    CHECK_INT(change_everything(first, &who, AGT_BUSY), 4);
    CHECK_INT(change_everything(second, &who, AGT_BUSY), 4); /* through whichever handle */
    agt_error err;
    CHECK_OK(agt_write(second, &next, "f.md", "x", 1, NULL, NULL, &err), err);
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_BUSY, err);
    CHECK_OK(agt_poll_lock_check(newer, &err), err);
    agt_poll_lock_release(newer);
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_BUSY, err); /* also when that is over */
    CHECK_INT(change_everything(first, &who, AGT_BUSY), 4);
    agt_caller plain = AGT_CALLER("user"); /* who does not lead needs no epoch */
    CHECK_OK(agt_write(first, &plain, "g.md", "y", 1, NULL, NULL, &err), err);
    agt_poll_lock_release(lock);
    kit_close(first);
    kit_close(second);
    box_free(&b);
}

TEST(epoch, without_its_file_nobody_leads_until_the_leader_has_written_it_again) {
    box b = box_new();
    agt_error err;
    agt_store *s = open_in(b.p);
    agt_poll_lock *lock = lead_in(b.p);
    agt_caller who = AGT_CALLER("user");
    who.epoch = agt_poll_lock_epoch(lock);
    for (int how = 0; how < 3; how++) {
        if (how == 0) lose(b.m, 0);
        if (how == 1) CHECK_INT(machine_put_text(b.m, EPOCH, "rubbish"), 0);
        if (how == 2) /* one that is older */
            CHECK_INT(machine_put_text(b.m, EPOCH,
                                       "epoch=00000000000000000007 again=00000000000000000007     "
                                       "     \n"),
                      0);
        CHECK_STATUS(agt_write(s, &who, "a.md", "x", 1, NULL, NULL, &err), AGT_BUSY, err);
        CHECK(strstr(err.message, "agt_poll_lock_check") != NULL);
        CHECK_INT(agt_poll_lock_check(lock, &err), AGT_OK);
        CHECK_OK(agt_write(s, &who, "a.md", how % 2 ? "x" : "y", 1, NULL, NULL, &err), err);
        CHECK_INT(agt_poll_lock_epoch(lock), who.epoch);
    }
    machine_remove(b.m, EPOCH);
    machine_make_folder(b.m, EPOCH); /* what is no file is an error, not a yes */
    CHECK(agt_write(s, &who, "b.md", "x", 1, NULL, NULL, &err) < 0);
    CHECK(agt_poll_lock_check(lock, &err) < 0);
    agt_poll_lock_release(lock);
    CHECK(try_in(b.p, &lock) == AGT_INVALID && !lock);
    machine_remove(b.m, EPOCH);
    machine_fifo(b.m, EPOCH);
    CHECK(try_in(b.p, &lock) == AGT_INVALID && !lock);
    kit_close(s);
    box_free(&b);
}

/* ---- is it still ours? ---- */

TEST(epoch, a_lock_file_that_was_deleted_or_replaced_is_taken_anew_by_who_led) {
    box b = box_new();
    agt_error err;
    agt_poll_lock *lock = lead_in(b.p), *none;
    uint64_t epoch = agt_poll_lock_epoch(lock);
    for (int how = 0; how < 2; how++) {
        if (how == 0) lose(b.m, 2);
        if (how == 1) CHECK_INT(machine_replace(b.m, LOCKS "/poll.lock", "1", 1), 0);
        CHECK_INT(agt_poll_lock_check(lock, &err), AGT_OK);
        CHECK_INT(try_in(b.other, &none), AGT_BUSY);
        CHECK_INT(agt_poll_lock_epoch(lock), epoch);
        CHECK_INT(told(b.other), epoch);
    }
    lose(b.m, 2);
    CHECK_INT(lead_once(b.other), epoch + 1); /* somebody was quicker, and has gone again */
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_BUSY, err);
    CHECK(strstr(err.message, "is over") != NULL);
    agt_poll_lock_release(lock);
    CHECK_INT(machine_process_open_files(b.p), 0);
    box_free(&b);
}

TEST(epoch, the_check_answers_what_stands_in_its_way) {
    box b = box_new();
    agt_error err;
    agt_poll_lock *lock = lead_in(b.p);
    machine_fork_enter(b.p);
    CHECK_INT(agt_poll_lock_epoch(lock), 0);
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_INVALID, err);
    machine_fork_leave(b.p);
    CHECK_OK(agt_poll_lock_check(lock, &err), err);
    lose(b.m, 2);
    machine_make_folder(b.m, LOCKS "/poll.lock");
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_INVALID, err);
    machine_remove(b.m, LOCKS "/poll.lock");
    CHECK_OK(agt_poll_lock_check(lock, &err), err);
    machine_fail_at(b.m, 1, MACHINE_BIT(MACHINE_OPEN), AGT_SYS_IO, 5, false);
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_IO, err);
    machine_fail(b.m, NULL);
    machine_remove(b.m, LOCKS);
    CHECK_STATUS(agt_poll_lock_check(lock, &err), AGT_NOT_FOUND, err);
    agt_poll_lock_release(lock);
    box_free(&b);
}

TEST(epoch, a_disk_that_is_full_or_fails_gives_no_lead_without_an_epoch) {
    for (uint64_t at = 1;; at++) {
        box b = box_new();
        uint64_t last = lead_once(b.other);
        machine_fail_at(b.m, at, MACHINE_BIT(MACHINE_PWRITE), AGT_SYS_NOSPC, 28, true);
        agt_poll_lock *lock;
        agt_status status = try_in(b.p, &lock);
        bool hit = machine_fail_count(b.m) > 0;
        machine_fail(b.m, NULL);
        if (status == AGT_OK) {
            CHECK_INT(agt_poll_lock_epoch(lock), last + 1);
            CHECK_INT(told(b.other), last + 1);
        } else
            CHECK_INT(status, AGT_IO);
        CHECK(at > 1 || status == AGT_IO); /* the first byte that is written is the epoch's */
        agt_poll_lock_release(lock);
        CHECK(lead_once(b.other) > last);
        box_free(&b);
        if (!hit) break;
    }
}

/* A process that is stopped while it leads, for real. */
TEST(epoch, a_stopped_leader_whose_lock_file_was_deleted_finds_itself_over) {
    const char *root = test_folder();
    agt_error err;
    kit_close(kit_open(root));
    int up[2], down[2];
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char c;
        agt_poll_lock *lock;
        alarm(60);
        agt_store *s = kit_open(root);
        agt_caller me = AGT_CALLER("user");
        if (agt_poll_lock_try(&lock, root, &err) != AGT_OK) _exit(1);
        me.epoch = agt_poll_lock_epoch(lock);
        if (agt_write(s, &me, "a.md", "1", 1, NULL, NULL, &err) != AGT_OK) _exit(2);
        if (write(up[1], "y", 1) != 1 || read(down[0], &c, 1) != 1) _exit(3);
        if (agt_write(s, &me, "a.md", "2", 1, NULL, NULL, &err) != AGT_BUSY) _exit(4);
        if (agt_poll_lock_check(lock, &err) != AGT_BUSY) _exit(5);
        _exit(0);
    }
    char c;
    int status;
    CHECK(read(up[0], &c, 1) == 1);
    CHECK_INT(kill(child, SIGSTOP), 0);
    CHECK_INT(unlink(kit_path(root, ".agent-trace/locks/poll.lock")), 0);
    agt_poll_lock *lock;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    CHECK(write(down[1], "g", 1) == 1);
    CHECK_INT(kill(child, SIGCONT), 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    agt_poll_lock_release(lock);
    agt_store *s = kit_open(root);
    kit_reads(s, "a.md", "1");
    kit_close(s);
    for (int i = 0; i < 2; i++)
        close(up[i]), close(down[i]);
}
