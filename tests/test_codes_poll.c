/* Every call on the poll lock answers each status that its comment names: in a machine where the
 * call takes one, else on the real disk. What each of them does otherwise is in test_lock.c. */
#include "fault.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_AT "/home/.agent-trace/locks/poll.lock"

typedef struct poll_box {
    machine *m;
    machine_process *p, *other;
    machine_memory memory;
    agt_poll_lock_options o;
} poll_box;

static void poll_begin(poll_box *b) {
    memset(b, 0, sizeof *b);
    b->m = machine_new(NULL);
    machine_make_folder(b->m, "/home");
    b->p = machine_process_new(b->m, "poller");
    b->other = machine_process_new(b->m, "other");
    b->o = (agt_poll_lock_options)AGT_POLL_LOCK_OPTIONS_INIT;
    b->o.sys = machine_sys(b->p);
    b->o.allocator = machine_memory_init(&b->memory);
    b->o.timeout_ms = AGT_TRY;
}

static agt_status poll_take(poll_box *b, const char *says) {
    agt_error err = {.status = AGT_OK};
    agt_poll_lock *lock;
    agt_status st = agt_poll_lock_acquire(&lock, "/home", &b->o, &err);
    CHECK((st == AGT_OK) == (lock != NULL));
    CHECK_INT(err.status, st);
    if (says && !strstr(err.message, says))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err.message, says);
    CHECK((st == AGT_OK) == machine_locked(b->m, POLL_AT) || st == AGT_BUSY);
    agt_poll_lock_release(lock);
    CHECK_INT(b->memory.live_blocks, 0);
    CHECK_INT(machine_process_open_files(b->p), 0);
    return st;
}

static void poll_end(poll_box *b) {
    machine_process_free(b->p);
    machine_process_free(b->other);
    machine_free(b->m);
}

#define POLL_EXPECT(call, b, want, says)                                                           \
    do {                                                                                           \
        agt_status got_ = poll_take(b, says);                                                      \
        if (got_ != (want))                                                                        \
            test_fail(__FILE__, __LINE__, "%s answers %s, wanted %s", #call,                       \
                      agt_status_name(got_), agt_status_name(want));                               \
    } while (0)

TEST(codes, the_poll_lock_answers_who_leads_and_what_stands_in_its_place) {
    poll_box b;
    agt_error err;
    agt_poll_lock *theirs;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    poll_begin(&b);
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_OK, NULL);
    o.sys = machine_sys(b.other);
    CHECK_OK(agt_poll_lock_acquire(&theirs, "/home", &o, &err), err);
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_BUSY, "poll.lock");
    int64_t before = machine_now_ns(b.m);
    b.o.timeout_ms = 250; /* the clock moves only while it waits */
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_BUSY, "poll.lock");
    CHECK_INT((machine_now_ns(b.m) - before) / 1000000, 250);
    agt_poll_lock_release(theirs);
    b.o.timeout_ms = -77;
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_INVALID, "timeout");
    b.o.timeout_ms = AGT_TRY;
    machine_remove(b.m, POLL_AT);
    machine_make_folder(b.m, POLL_AT);
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_INVALID, "poll.lock");
    machine_remove(b.m, POLL_AT);
    machine_symlink(b.m, "/elsewhere", POLL_AT);
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_INVALID, "symbolic link");
    machine_remove(b.m, POLL_AT);
    machine_set(b.m)->no_lock = true;
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_UNSUPPORTED, "flock");
    machine_remove(b.m, "/home");
    POLL_EXPECT(agt_poll_lock_acquire, &b, AGT_NOT_FOUND, "/home");
    poll_end(&b);
}

TEST(codes, the_poll_lock_is_never_taken_where_memory_or_the_system_fails) {
    uint64_t nomem = 0, io = 0;
    FOR_EACH_FAULT(f, FAULT_IO | FAULT_IO_FOREVER | FAULT_ALL_MEMORY) {
        poll_box b;
        poll_begin(&b);
        fault_arm(&f, b.m, &b.memory);
        agt_status st = poll_take(&b, NULL);
        bool memory = b.memory.failed > 0;
        fault_disarm(&f);
        if (st != AGT_OK) CHECK_INT(st, memory ? AGT_NOMEM : AGT_IO);
        nomem += st == AGT_NOMEM;
        io += st == AGT_IO;
        poll_end(&b);
    }
    CHECK(nomem && io); /* agt_poll_lock_acquire: AGT_NOMEM, AGT_IO */
}

/* In a child that may open no file. */
TEST(codes, the_poll_lock_without_descriptors_is_answered_io) {
    const char *root = test_folder();
    agt_error err;
    agt_poll_lock *lock;
    CHECK_OK(agt_poll_lock_try(&lock, root, &err), err);
    agt_poll_lock_release(lock);
    agt_lock_holder before = AGT_LOCK_HOLDER_INIT;
    CHECK_STATUS(agt_poll_lock_holder(root, &before, &err), AGT_OK, err);
    CHECK_INT(before.held, 0);
    CHECK_INT(before.pid, getpid());
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {3, 3};
        agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
        if (setrlimit(RLIMIT_NOFILE, &none) != 0) _exit(98);
        CHECK_STATUS(agt_poll_lock_try(&lock, root, &err), AGT_IO, err);
        CHECK(!lock && strstr(err.message, "cannot open the folder"));
        CHECK_STATUS(agt_poll_lock_holder(root, &h, &err), AGT_IO, err);
        CHECK(strstr(err.message, "cannot open the folder"));
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
}
