/* The locks where something odd stands in their way: systems that lack a call, no random numbers,
 * files that are linked, folders in the place of records, removals that fail. */
#include "test.h"

#include "../src/lock/sentinel.h"
#include "machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

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

/* ---- somebody who comes in between, at one call ---- */

typedef struct meddler {
    machine_op op;
    bool reads;       /* only opens that do not make the file */
    const char *name; /* of the call's file; NULL: any */
    const char *path; /* what is put there, or removed if `text` is NULL */
    const char *text;
    size_t n;
} meddler;

typedef struct meddlers {
    meddler m[2];
    size_t n;
} meddlers;

static void meddle(void *ctx, machine *m, const machine_call *call) {
    const meddlers *all = ctx;
    for (size_t i = 0; i < all->n; i++) {
        const meddler *d = &all->m[i];
        if (call->op != d->op) continue;
        if (d->reads && (call->flags & AGT_O_CREATE)) continue;
        if (d->name && strcmp(call->name, d->name) != 0) continue;
        if (d->text)
            (void)machine_put(m, d->path, d->text, d->n);
        else
            (void)machine_remove(m, d->path);
    }
}

static agt_status take_meddled(odd *o, uint32_t backend, const meddlers *all, agt_error *err) {
    agt_poll_lock_options opts = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_poll_lock *lock;
    opts.sys = o->sys;
    opts.backend = backend;
    opts.timeout_ms = AGT_TRY;
    meddlers copy = *all;
    machine_on_call(o->m, meddle, &copy);
    agt_status st = agt_poll_lock_acquire(&lock, "/home", &opts, err);
    machine_on_call(o->m, NULL, NULL);
    agt_poll_lock_release(lock);
    return st;
}

TEST(lock_odd, who_is_always_too_late_gives_up) {
    odd o = odd_new(NULL);
    agt_holder h;
    agt_error err;
    char text[AGT_HOLDER_TEXT], claim[64], path[200];
    agt__holder_self(&h, machine_sys(o.other), NULL); /* it lives */
    size_t n = agt__holder_format(&h, text);
    meddlers owner = {{{MACHINE_RENAME, false, NULL, OWNER, text, n},
                       {MACHINE_OPEN, true, "poll.lock.owner", OWNER, NULL, 0}},
                      2};
    CHECK_STATUS(take_meddled(&o, AGT_LOCK_SENTINEL, &owner, &err), AGT_BUSY, err);
    CHECK(strstr(err.message, "again and again") != NULL);
    CHECK_INT(machine_remove(o.m, OWNER), 0);
    leave(&o, "owner", &h);
    machine_process_kill(o.dead);
    snprintf(claim, sizeof claim, "poll.lock.reap.%s", h.token);
    snprintf(path, sizeof path, "%s/%s", LOCKS, claim);
    meddlers claims = {
        {{MACHINE_RENAME, false, NULL, path, text, n}, {MACHINE_OPEN, true, claim, path, NULL, 0}},
        2};
    CHECK_STATUS(take_meddled(&o, AGT_LOCK_SENTINEL, &claims, &err), AGT_BUSY, err);
    CHECK(strstr(err.message, "looked at by others") != NULL);
    (void)machine_remove(o.m, path);
    CHECK_INT(machine_make_folder(o.m, path), 0);
    CHECK_INT(take_once(o.sys, AGT_LOCK_SENTINEL, AGT_TRY), AGT_INVALID);
    CHECK_INT(machine_remove(o.m, path), 0);
    meddlers lost = {{{MACHINE_PWRITE, false, NULL, OWNER, NULL, 0}}, 1};
    CHECK_STATUS(take_meddled(&o, AGT_LOCK_SENTINEL, &lost, &err), AGT_IO, err);
    CHECK(strstr(err.message, "replaced again and again") != NULL);
    odd_free(&o);
}

TEST(lock_odd, a_holder_by_flock_looks_at_what_stands_in_the_place_of_the_other_kind) {
    odd o = odd_new(NULL);
    agt_holder h;
    agt_error err;
    leave(&o, "owner", &h);
    meddlers gone = {{{MACHINE_OPEN, true, "poll.lock.owner", OWNER, NULL, 0}}, 1};
    CHECK_STATUS(take_meddled(&o, AGT_LOCK_FLOCK, &gone, &err), AGT_OK, err);
    CHECK_INT(machine_make_folder(o.m, OWNER), 0);
    CHECK_INT(take_once(o.sys, AGT_LOCK_FLOCK, AGT_TRY), AGT_INVALID);
    odd_free(&o);
}

/* Where a file is made under its name and filled then, each call fails in its turn, or somebody
 * removes the file in between. */
TEST(lock_odd, a_file_that_is_filled_under_its_name_fails_whole_or_is_held) {
    static const int classes[] = {AGT_SYS_IO, AGT_SYS_NOSYS, AGT_SYS_EXIST, AGT_SYS_NOENT};
    machine_settings set = {.no_noreplace = true, .no_link = true};
    uint64_t runs = 0;
    for (size_t c = 0; c < AGT_COUNT(classes); c++)
        for (int lacks = 0; lacks < 2; lacks++)
            for (uint64_t n = 1, hit = 1; hit; n++) {
                odd o = odd_new(lacks ? &set : NULL);
                agt_holder h;
                agt_poll_lock *lock;
                leave(&o, "owner", &h);
                machine_process_kill(o.dead);
                machine_fail_at(o.m, n, 0, classes[c], 5, false);
                agt_status st = take(o.sys, AGT_LOCK_SENTINEL, AGT_TRY, &lock);
                hit = machine_fail_count(o.m);
                machine_fail(o.m, NULL);
                if (st == AGT_OK)
                    CHECK_INT(take_once(machine_sys(o.other), AGT_LOCK_SENTINEL, AGT_TRY),
                              AGT_BUSY);
                agt_poll_lock_release(lock);
                runs++;
                odd_free(&o);
            }
    CHECK(runs > 100);
    test_saw("failing calls", runs);
    odd o = odd_new(&set);
    agt_error err;
    meddlers lost = {{{MACHINE_OPEN, true, "poll.lock.owner", OWNER, NULL, 0}}, 1};
    CHECK_STATUS(take_meddled(&o, AGT_LOCK_SENTINEL, &lost, &err), AGT_BUSY, err);
    odd_free(&o);
    o = odd_new(&set); /* no links, told in other words */
    machine_fault f = {.at = 1, .ops = MACHINE_BIT(MACHINE_LINK), .cls = AGT_SYS_NOSYS, .code = 38};
    machine_fail(o.m, &f);
    CHECK_INT(take_once(o.sys, AGT_LOCK_SENTINEL, AGT_TRY), AGT_OK);
    odd_free(&o);
}

TEST(lock_odd, what_is_said_of_a_leader_may_fail_and_the_lock_holds) {
    static const char junk[600] = {'x'};
    odd o = odd_new(NULL);
    agt_poll_lock *lock;
    CHECK_INT(machine_put(o.m, LOCKS "/poll.lock.info", junk, sizeof junk), 0);
    machine_fail_at(o.m, 1, MACHINE_BIT(MACHINE_TRUNCATE), AGT_SYS_IO, 5, true);
    CHECK_INT(take(o.sys, AGT_LOCK_FLOCK, AGT_TRY, &lock), AGT_OK);
    CHECK(machine_fail_count(o.m) > 0);
    machine_fail(o.m, NULL);
    CHECK_INT(take_once(machine_sys(o.other), AGT_LOCK_FLOCK, AGT_TRY), AGT_BUSY);
    agt_poll_lock_release(lock);
    CHECK_INT(machine_remove(o.m, LOCKS "/poll.lock.info"), 0);
    CHECK_INT(machine_fifo(o.m, LOCKS "/poll.lock.info"), 0);
    CHECK_INT(take_once(o.sys, AGT_LOCK_FLOCK, AGT_TRY), AGT_OK);
    odd_free(&o);
}

TEST(lock_odd, before_1970_the_first_epoch_is_one) {
    odd o = odd_new(NULL);
    agt_poll_lock *lock;
    machine_set_clock(o.m, 0);
    CHECK_INT(take(o.sys, AGT_LOCK_FLOCK, AGT_TRY, &lock), AGT_OK);
    CHECK_INT(agt_poll_lock_epoch(lock), 1);
    agt_poll_lock_release(lock);
    odd_free(&o);
}

TEST(lock_odd, a_lock_that_does_not_watch_waits_by_trying) {
    odd o = odd_new(NULL);
    agt_flock mine, theirs;
    const agt_sys *sys = machine_sys(o.other);
    agt_fd dir = sys->open_root(sys->ctx, LOCKS);
    agt__flock_init(&mine, o.sys, o.locks, "x.lock");
    agt__flock_init(&theirs, sys, dir, "x.lock");
    CHECK_INT(agt__flock_take(&theirs, AGT_TRY, NULL), AGT_OK);
    CHECK_INT(agt__flock_take(&mine, 50, NULL), AGT_BUSY);
    agt__flock_close(&theirs);
    CHECK_INT(agt__flock_take(&mine, 50, NULL), AGT_OK);
    agt__flock_close(&mine);
    sys->close(sys->ctx, dir);
    odd_free(&o);
}

TEST(lock_odd, texts_are_cut_between_characters) {
    char out[8];
    agt_holder h;
    agt__holder_text(out, sizeof out, "abcd\xf0\x9f\x94\x92", 8); /* a byte short */
    CHECK_STR(out, "abcd");
    agt__holder_text(out, 3, "\x80\x80\x80\x80", 4);
    CHECK_STR(out, "");
    agt__holder_text(out, sizeof out, "\xc2\xa9\xc2\x9b", 4); /* a sign, a control */
    CHECK_STR(out, "\xc2\xa9??");
    agt__holder_parse(&h, " 12 \r\n", 6, "", 0);
    CHECK_INT(h.pid, 12);
}

TEST(lock_odd, a_record_without_spaces_is_not_judged_by_them) {
    agt_witness w;
    agt_holder h;
    const char *why;
    memset(&w, 0, sizeof w);
    memset(&h, 0, sizeof h);
    h.pid = 7;
    h.start = 5;
    strcpy(h.host, "box");
    strcpy(w.self.host, "box");
    w.local = true;
    w.peer.state = AGT_PEER_RUNS;
    w.peer.start = 5;
    w.peer.per_second = 100;
    strcpy(w.peer.pid_space, "pid:[7]");
    CHECK_INT(agt__liveness(&h, &w, &why), AGT_ALIVE);
}

TEST(lock_odd, a_bounded_sweep_goes_on_behind_many_that_live) {
    odd o = odd_new(NULL);
    agt_sentinel s;
    agt_leftovers left;
    agt_holder h;
    for (int i = 0; i < 70; i++)
        leave(&o, "tmp.%s", &h);
    agt__sentinel_init(&s, o.sys, o.locks, NULL);
    agt__sentinel_sweep(&s, true, 8, &left);
    CHECK_INT(left.found, 0);
    machine_process_kill(o.dead);
    agt__sentinel_sweep(&s, true, 8, &left);
    CHECK_INT(left.removed, 8);
    odd_free(&o);
}

/* ---- the real system, otherwise than it is ---- */

static int volume_fails(void *ctx, agt_fd dir, agt_volume *out) {
    (void)ctx, (void)dir, (void)out;
    return AGT_SYS_ERR(AGT_SYS_NOSYS, 38);
}
static int volume_is_far(void *ctx, agt_fd dir, agt_volume *out) {
    int rc = agt_sys_os()->volume(ctx, dir, out);
    out->place = AGT_VOLUME_NETWORK;
    return rc;
}

/* Puts another lock file, held by `swap_fd`, in the place of the one that is waited for. */
static char swap_path[1200];
static int swap_fd = -1, swap_at;
static int lock_swaps(void *ctx, agt_fd fd, int kind) {
    if (kind == AGT_LOCK_EXCLUSIVE && --swap_at == 0) {
        CHECK(unlink(swap_path) == 0);
        swap_fd = open(swap_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK(swap_fd >= 0 && flock(swap_fd, LOCK_EX | LOCK_NB) == 0);
    }
    return agt_sys_os()->lock(ctx, fd, kind);
}

TEST(lock_odd, waiting_looks_at_the_volume_and_follows_a_lock_that_is_replaced) {
    const char *root = test_folder();
    agt_poll_lock *lock, *none;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_error err;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    snprintf(swap_path, sizeof swap_path, "%s/.agent-trace/locks/poll.lock", root);
#ifdef _WIN32
    enum { kinds = 2 }; /* an open file keeps its name there */
#else
    enum { kinds = 3 };
#endif
    for (int i = 0; i < kinds; i++) {
        agt_sys sys = *agt_sys_os();
        if (i == 0) sys.volume = volume_fails;
        if (i == 1) sys.volume = volume_is_far;
        if (i == 2) sys.lock = lock_swaps;
        swap_at = 2; /* the second try: the first one that is watched */
        o.sys = &sys;
        o.timeout_ms = 60;
        CHECK_STATUS(agt_poll_lock_acquire(&none, root, &o, &err), AGT_BUSY, err);
    }
    if (swap_fd >= 0) close(swap_fd);
    agt_poll_lock_release(lock);
}
