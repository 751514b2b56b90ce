/* The locks where something odd stands in their way: systems that lack a call, no random numbers,
 * files that are linked, folders in the place of records, removals that fail. */
#include "test.h"

#include "../src/lock/sentinel.h"
#include "machine.h"

#include <stdlib.h>

#define LOCKS "/home/.agent-trace/locks"
#define OWNER LOCKS "/poll.lock.owner"

typedef struct odd {
    machine *m;
    machine_process *p, *other, *dead;
    const agt_sys *sys; /* of p */
    agt_fd locks;       /* p's */
} odd;

static odd odd_new(const machine_settings *set) {
    odd o;
    o.m = machine_new(set);
    CHECK_INT(machine_make_folder(o.m, LOCKS), 0);
    o.dead = machine_process_new(o.m, "dead");
    o.p = machine_process_new(o.m, "first");
    o.other = machine_process_new(o.m, "second");
    o.sys = machine_sys(o.p);
    o.locks = o.sys->open_root(o.sys->ctx, LOCKS);
    CHECK(o.locks >= 0);
    return o;
}

static void odd_free(odd *o) {
    o->sys->close(o->sys->ctx, o->locks);
    machine_free(o->m);
}

static agt_status take(const agt_sys *sys, uint32_t backend, int32_t timeout_ms,
                       agt_poll_lock **out) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.sys = sys;
    o.backend = backend;
    o.timeout_ms = timeout_ms;
    return agt_poll_lock_acquire(out, "/home", &o, NULL);
}

static agt_status take_once(const agt_sys *sys, uint32_t backend, int32_t timeout_ms) {
    agt_poll_lock *lock;
    agt_status st = take(sys, backend, timeout_ms, &lock);
    agt_poll_lock_release(lock);
    return st;
}

/* A record of the process that dies, at locks/poll.lock.NAME or, with a `%s`, with its token. */
static void leave(odd *o, const char *name, agt_holder *h) {
    char path[200] = LOCKS "/poll.lock.", text[AGT_HOLDER_TEXT];
    size_t at = strlen(path);
    agt__holder_self(h, machine_sys(o->dead), NULL);
    snprintf(path + at, sizeof path - at, name, h->token);
    CHECK_INT(machine_put(o->m, path, text, agt__holder_format(h, text)), 0);
}

TEST(lock_odd, the_epoch_is_waited_for_and_never_written_through_a_link) {
    odd o = odd_new(NULL);
    agt_poll_lock *lock;
    uint64_t epoch;
    CHECK_INT(take_once(o.sys, AGT_LOCK_FLOCK, AGT_TRY), AGT_OK);
    const agt_sys *sys = machine_sys(o.other);
    agt_fd dir = sys->open_root(sys->ctx, LOCKS);
    agt_fd fd = sys->open(sys->ctx, dir, "poll.lock.epoch", AGT_O_READ | AGT_O_WRITE, 0);
    CHECK_INT(sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
    CHECK_INT(take(o.sys, AGT_LOCK_FLOCK, AGT_TRY, &lock), AGT_BUSY);
    sys->close(sys->ctx, fd);
    machine_fail_at(o.m, 1, MACHINE_BIT(MACHINE_PREAD), AGT_SYS_IO, 5, false);
    CHECK_INT(agt__epoch_read(o.sys, o.locks, &epoch, NULL), AGT_IO);
    machine_fail(o.m, NULL);
    CHECK_INT(machine_link(o.m, LOCKS "/poll.lock.epoch", "/home/kept"), 0);
    CHECK_INT(take(o.sys, AGT_LOCK_FLOCK, AGT_TRY, &lock), AGT_INVALID);
    CHECK_INT(agt__epoch_read(o.sys, o.locks, &epoch, NULL), AGT_INVALID);
    odd_free(&o);
}

TEST(lock_odd, an_epoch_that_no_leader_can_have_had_is_not_believed_of_the_info) {
    odd o = odd_new(NULL);
    agt_poll_lock *lock;
    agt_holder h;
    char text[AGT_HOLDER_TEXT];
    agt__holder_self(&h, o.sys, NULL);
    h.epoch = UINT64_C(100000000000000000);
    CHECK_INT(machine_put(o.m, LOCKS "/poll.lock.info", text, agt__holder_format(&h, text)), 0);
    snprintf(text, sizeof text, "%lld", (long long)h.pid);
    CHECK_INT(machine_put_text(o.m, LOCKS "/poll.lock", text), 0);
    CHECK_INT(take(o.sys, AGT_LOCK_FLOCK, AGT_TRY, &lock), AGT_OK);
    CHECK_INT(agt_poll_lock_epoch(lock), machine_now_ns(o.m) / 1000000);
    agt_poll_lock_release(lock);
    odd_free(&o);
}

TEST(lock_odd, without_random_numbers_waiting_goes_on_and_a_record_is_refused) {
    for (uint32_t backend = AGT_LOCK_FLOCK; backend <= AGT_LOCK_SENTINEL; backend++) {
        odd o = odd_new(NULL);
        agt_poll_lock *lock, *none;
        CHECK_INT(take(machine_sys(o.other), backend, AGT_TRY, &lock), AGT_OK);
        /* the first two are tokens */
        machine_fail_at(o.m, 3, MACHINE_BIT(MACHINE_RANDOM), AGT_SYS_IO, 5, true);
        int64_t start = machine_now_ns(o.m);
        CHECK_INT(take(o.sys, backend, 300, &none), AGT_BUSY);
        CHECK(machine_now_ns(o.m) - start >= 290000000);
        agt_poll_lock_release(lock);
        machine_fail_at(o.m, 1, MACHINE_BIT(MACHINE_RANDOM), AGT_SYS_IO, 5, true);
        agt_status st = take_once(o.sys, backend, AGT_TRY);
        CHECK_INT(st == AGT_OK, backend == AGT_LOCK_FLOCK);
        odd_free(&o);
    }
}

TEST(lock_odd, claims_on_claims_are_taken_over_three_deep_and_then_a_person_is_asked) {
    for (int depth = 1; depth <= 4; depth++) {
        odd o = odd_new(NULL);
        agt_holder h, next;
        agt_poll_lock *lock;
        agt_error err;
        leave(&o, "owner", &h);
        for (int i = 0; i < depth; i++) {
            char name[64];
            snprintf(name, sizeof name, "reap.%s", h.token);
            leave(&o, name, &next);
            h = next;
        }
        machine_process_kill(o.dead);
        agt_poll_lock_options opts = AGT_POLL_LOCK_OPTIONS_INIT;
        opts.sys = o.sys;
        opts.backend = AGT_LOCK_SENTINEL;
        opts.timeout_ms = AGT_TRY;
        CHECK_INT(agt_poll_lock_acquire(&lock, "/home", &opts, &err), depth < 3 ? AGT_OK : AGT_IO);
        if (depth >= 3) CHECK(strstr(err.message, "remove that file") != NULL);
        agt_poll_lock_release(lock);
        odd_free(&o);
    }
}

TEST(lock_odd, the_sentinel_itself_is_taken_once_and_by_a_timeout_that_is_one) {
    odd o = odd_new(NULL);
    agt_sentinel s;
    agt__sentinel_init(&s, o.sys, o.locks, NULL);
    CHECK_INT(agt__sentinel_take(&s, -3, NULL), AGT_INVALID);
    CHECK(!agt__sentinel_still(&s));
    CHECK_INT(agt__sentinel_take(&s, AGT_TRY, NULL), AGT_OK);
    CHECK_INT(agt__sentinel_take(&s, AGT_TRY, NULL), AGT_BUSY);
    CHECK(agt__sentinel_still(&s));
    agt__sentinel_drop(&s);
    CHECK(!agt__sentinel_still(&s));
    CHECK_INT(agt__sentinel_none(&s, NULL), AGT_OK);
    odd_free(&o);
}

TEST(lock_odd, who_looks_is_told_what_stands_there) {
    odd o = odd_new(NULL);
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_holder dead;
    agt_error err;
    leave(&o, "owner", &dead);
    CHECK_OK(agt__lock_holder(o.sys, o.locks, &h, &err), err);
    CHECK_INT(h.held, 1);
    CHECK_INT(h.backend, AGT_LOCK_SENTINEL);
    machine_process_kill(o.dead);
    agt_lock_holder again = AGT_LOCK_HOLDER_INIT;
    CHECK_OK(agt__lock_holder(o.sys, o.locks, &again, &err), err); /* no poll.lock at all */
    CHECK_INT(again.held, 0);
    CHECK_INT(again.backend, AGT_LOCK_DEFAULT);
    CHECK_INT(again.pid, dead.pid);
    CHECK_INT(machine_put_text(o.m, LOCKS "/poll.lock", "1"), 0);
    machine_set(o.m)->no_lock = true; /* nobody can have the other kind */
    CHECK_OK(agt__lock_holder(o.sys, o.locks, &again, &err), err);
    CHECK_INT(again.held, 0);
    agt_poll_lock_options opts = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_poll_lock *lock;
    opts.sys = o.sys;
    opts.backend = AGT_LOCK_SENTINEL;
    CHECK_OK(agt_poll_lock_acquire(&lock, "/home", &opts, &err), err);
    agt_poll_lock_release(lock);
    CHECK_STATUS(agt__lock_holder(o.sys, o.locks, &again, &err), AGT_UNSUPPORTED, err);
    CHECK_INT(machine_put_text(o.m, OWNER, "1234"), 0);
    CHECK_OK(agt__lock_holder(o.sys, o.locks, &again, &err), err);
    CHECK(again.held == 1 && again.pid == 0); /* rubbish: somebody's, as far as anybody knows */
    CHECK_INT(machine_remove(o.m, OWNER), 0);
    CHECK_INT(machine_make_folder(o.m, OWNER), 0);
    CHECK_STATUS(agt__lock_holder(o.sys, o.locks, &again, &err), AGT_INVALID, err);
    CHECK(strstr(err.message, "poll.lock.owner") != NULL);
    odd_free(&o);
}

TEST(lock_odd, a_long_file_of_nuls_is_no_torn_record) {
    static const char nul[2000];
    odd o = odd_new(NULL);
    CHECK_INT(machine_put(o.m, OWNER, nul, sizeof nul), 0);
    CHECK_INT(take_once(o.sys, AGT_LOCK_SENTINEL, 30000), AGT_BUSY);
    CHECK_INT(take_once(o.sys, AGT_LOCK_FLOCK, AGT_TRY), AGT_BUSY);
    odd_free(&o);
}

TEST(lock_odd, a_sweep_leaves_names_that_are_not_its_own_and_tells_what_it_could_not_remove) {
    odd o = odd_new(NULL);
    agt_sentinel s;
    agt_leftovers left;
    agt_holder h;
    leave(&o, "tmp.%sx", &h);
    leave(&o, "tmp.x%s", &h);
    leave(&o, "reap.%.31s", &h);
    machine_make_folder(o.m, LOCKS "/poll.lock.tmp.00112233445566778899aabbccddeeff");
    agt__sentinel_init(&s, o.sys, o.locks, NULL);
    agt__sentinel_sweep(&s, true, 0, &left);
    CHECK_INT(left.found, 0);
    leave(&o, "tmp.%s", &h);
    machine_process_kill(o.dead);
    machine_fail_at(o.m, 1, MACHINE_BIT(MACHINE_REMOVE), AGT_SYS_ACCESS, 13, true);
    agt__sentinel_sweep(&s, true, 0, &left);
    CHECK(left.found == 1 && left.removed == 0 && strstr(left.first, h.token));
    machine_fail_at(o.m, 1, MACHINE_BIT(MACHINE_REMOVE), AGT_SYS_NOENT, 2, true);
    agt__sentinel_sweep(&s, true, 0, &left);
    CHECK(left.found == 1 && left.removed == 1 && !left.first[0]);
    machine_fail(o.m, NULL);
    agt__sentinel_sweep(&s, true, 0, &left);
    CHECK_INT(left.removed, 1);
    agt__sentinel_sweep(&s, true, 0, &left);
    CHECK_INT(left.found, 0);
    odd_free(&o);
}

TEST(lock_odd, a_system_that_cannot_tell_of_others_or_of_its_volume_proves_nothing) {
    odd o = odd_new(NULL);
    agt_holder h;
    const char *why = "";
    leave(&o, "owner", &h);
    machine_process_kill(o.dead);
    agt_sys mute = *o.sys;
    mute.peer = NULL;
    CHECK_INT(agt__liveness_ask(&mute, o.locks, &h, &why), AGT_UNCERTAIN);
    h.pid = 0;
    CHECK_INT(agt__liveness_ask(o.sys, o.locks, &h, &why), AGT_UNCERTAIN);
    h.pid = (int64_t)INT32_MAX + 1;
    CHECK_INT(agt__liveness_ask(o.sys, o.locks, &h, &why), AGT_UNCERTAIN);
    odd_free(&o);
}

/* The real system, less one of its calls. */
TEST(lock_odd, waiting_does_without_what_a_system_lacks) {
    const char *root = test_folder();
    agt_poll_lock *lock, *none;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_error err;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    for (int lacks = 0; lacks < 3; lacks++) {
        agt_sys sys = *agt_sys_os();
        if (lacks == 0) sys.volume = NULL;
        if (lacks == 1) sys.watch = NULL;
        if (lacks == 2) sys.watch_wait = NULL;
        o.sys = &sys;
        o.timeout_ms = 30;
        int64_t start = sys.mono_ns(sys.ctx);
        CHECK_STATUS(agt_poll_lock_acquire(&none, root, &o, &err), AGT_BUSY, err);
        CHECK(sys.mono_ns(sys.ctx) - start >= 30000000);
    }
    agt_poll_lock_release(lock);
}
