/* Whether a process can still act (liveness.c, and `peer` of posix.c): the table of the verdict,
 * and real processes that run, stop, die, wait to be buried, and whose id is used again. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "os_kit.h"

#include "../src/lock/liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the table ---- */

typedef struct facts {
    agt_holder h;
    agt_witness w;
} facts;

static facts usual(void) {
    facts f;
    memset(&f, 0, sizeof f);
    f.h.pid = 4711;
    f.h.start = 5000;
    strcpy(f.h.host, "desk");
    strcpy(f.h.boot, "b1");
    strcpy(f.h.pid_space, "pid:[1]");
    strcpy(f.h.time_space, "time:[2]");
    strcpy(f.w.self.host, "desk");
    strcpy(f.w.self.boot, "b1");
    strcpy(f.w.self.pid_space, "pid:[1]");
    strcpy(f.w.self.time_space, "time:[2]");
    f.w.self.pid = 12;
    f.w.peer.state = AGT_PEER_RUNS;
    f.w.peer.start = 5000;
    f.w.peer.per_second = 100;
    strcpy(f.w.peer.pid_space, "pid:[1]");
    f.w.local = true;
    return f;
}

typedef struct verdict_case {
    const char *name;
    int64_t pid;
    uint64_t start, peer_start;
    const char *host, *boot, *pid_space, *time_space, *peer_space; /* of the record, but the last */
    const char *own_host, *own_boot, *own_pid_space;
    uint32_t peer_state, per_second;
    bool foreign;
    agt_verdict want;
} verdict_case;

#define SAME 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]"
#define HERE "desk", "b1", "pid:[1]"

static const verdict_case verdicts[] = {
    {"runs", SAME, HERE, AGT_PEER_RUNS, 100, false, AGT_ALIVE},
    {"runs, on a disk of others", SAME, HERE, AGT_PEER_RUNS, 100, true, AGT_ALIVE},
    {"gone", SAME, HERE, AGT_PEER_ENDED, 100, false, AGT_DEAD},
    {"gone, same boot, on a disk of others", SAME, HERE, AGT_PEER_ENDED, 100, true, AGT_DEAD},
    {"not told", 4711, 5000, 0, "desk", "b1", "pid:[1]", "time:[2]", "", HERE, AGT_PEER_UNKNOWN, 0,
     false, AGT_UNCERTAIN},
    {"there, and not more is told, but its start", 4711, 5000, 9000, "desk", "b1", "pid:[1]",
     "time:[2]", "", HERE, AGT_PEER_UNKNOWN, 100, false, AGT_DEAD},
    {"pid 0", 0, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE, AGT_PEER_ENDED,
     100, false, AGT_UNCERTAIN},
    {"pid -1", -1, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE, AGT_PEER_ENDED,
     100, false, AGT_UNCERTAIN},
    {"the largest pid", INT32_MAX, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_ENDED, 100, false, AGT_DEAD},
    {"one more", (int64_t)INT32_MAX + 1, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"another host", 4711, 5000, 5000, "cellar", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"another host, another boot", 4711, 5000, 5000, "cellar", "b0", "pid:[1]", "time:[2]",
     "pid:[1]", HERE, AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"no host", 4711, 5000, 5000, "", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE, AGT_PEER_ENDED,
     100, false, AGT_UNCERTAIN},
    {"no host, nor here", 4711, 5000, 5000, "", "b1", "pid:[1]", "time:[2]", "pid:[1]", "", "b1",
     "pid:[1]", AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"another boot", 4711, 5000, 5000, "desk", "b0", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"another boot and spaces, as a restart makes them", 4711, 5000, 5000, "desk", "b0", "pid:[9]",
     "time:[9]", "pid:[1]", HERE, AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"another boot, on a disk of others", 4711, 5000, 5000, "desk", "b0", "pid:[1]", "time:[2]",
     "pid:[1]", HERE, AGT_PEER_ENDED, 100, true, AGT_UNCERTAIN},
    {"no boot in the record, gone", 4711, 5000, 5000, "desk", "", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_ENDED, 100, false, AGT_DEAD},
    {"no boot in the record, runs", 4711, 5000, 5000, "desk", "", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_RUNS, 100, false, AGT_ALIVE},
    {"no boot, on a disk of others", 4711, 5000, 5000, "desk", "", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_ENDED, 100, true, AGT_UNCERTAIN},
    {"no boot here, on a disk of others", 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]",
     "pid:[1]", "desk", "", "pid:[1]", AGT_PEER_ENDED, 100, true, AGT_UNCERTAIN},
    {"another space of ids", 4711, 5000, 5000, "desk", "b1", "pid:[3]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"no space of ids", 4711, 5000, 5000, "desk", "b1", "", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"no space of ids here", 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "", "desk",
     "b1", "", AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"a system without spaces", 4711, 5000, 5000, "desk", "b1", "", "time:[2]", "", "desk", "b1",
     "", AGT_PEER_ENDED, 100, false, AGT_DEAD},
    {"another count of time", 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[4]", "pid:[1]",
     HERE, AGT_PEER_ENDED, 100, false, AGT_UNCERTAIN},
    {"its id is an inner process' now", 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]",
     "pid:[7]", HERE, AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"what it runs in is not told", 4711, 5000, 5000, "desk", "b1", "pid:[1]", "time:[2]", "", HERE,
     AGT_PEER_RUNS, 100, false, AGT_ALIVE},
    {"start a second later", 4711, 5000, 5100, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 100, false, AGT_ALIVE},
    {"start more than that later", 4711, 5000, 5101, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"start a second earlier", 4711, 5000, 4900, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_RUNS, 100, false, AGT_ALIVE},
    {"start more than that earlier", 4711, 5000, 4899, "desk", "b1", "pid:[1]", "time:[2]",
     "pid:[1]", HERE, AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"starts at both ends", 4711, 1, UINT64_MAX, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]",
     HERE, AGT_PEER_RUNS, 100, false, AGT_DEAD},
    {"a finer unit", 4711, 5000, 10005000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 10000000, false, AGT_ALIVE},
    {"no start in the record", 4711, 0, 5000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 100, false, AGT_UNCERTAIN},
    {"no start told", 4711, 5000, 0, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 100, false, AGT_UNCERTAIN},
    {"no unit told", 4711, 5000, 9000, "desk", "b1", "pid:[1]", "time:[2]", "pid:[1]", HERE,
     AGT_PEER_RUNS, 0, false, AGT_UNCERTAIN},
};

TEST(liveness, the_verdict_by_its_table) {
    int seen[3] = {0};
    for (size_t i = 0; i < AGT_COUNT(verdicts); i++) {
        const verdict_case *c = &verdicts[i];
        facts f = usual();
        f.h.pid = c->pid;
        f.h.start = c->start;
        strcpy(f.h.host, c->host);
        strcpy(f.h.boot, c->boot);
        strcpy(f.h.pid_space, c->pid_space);
        strcpy(f.h.time_space, c->time_space);
        strcpy(f.w.self.host, c->own_host);
        strcpy(f.w.self.boot, c->own_boot);
        strcpy(f.w.self.pid_space, c->own_pid_space);
        f.w.peer.state = c->peer_state;
        f.w.peer.start = c->peer_start;
        f.w.peer.per_second = c->per_second;
        strcpy(f.w.peer.pid_space, c->peer_space);
        f.w.local = !c->foreign;
        const char *why = NULL;
        agt_verdict got = agt__liveness(&f.h, &f.w, &why);
        if (got != c->want) fprintf(stderr, "%s\n", c->name);
        CHECK_INT(got, c->want);
        CHECK(why && strlen(why) > 3);
        CHECK_INT(agt__liveness(&f.h, &f.w, NULL), c->want);
        seen[got]++;
    }
    CHECK(seen[AGT_UNCERTAIN] >= 15 && seen[AGT_ALIVE] >= 7 && seen[AGT_DEAD] >= 9);
    test_saw("verdicts", AGT_COUNT(verdicts));
}

/* ---- the real system ---- */

static agt_verdict judge(const agt_holder *h) {
    agt_fd dir = os()->open_root(NULL, test_folder());
    CHECK(dir >= 3);
    agt_verdict v = agt__liveness_ask(os(), dir, h, NULL);
    os()->close(NULL, dir);
    return v;
}

/* A record as the process itself writes it. */
static agt_holder record_of_child(pid_t *pid, void (*life)(void)) {
    int up[2];
    agt_holder h;
    CHECK(pipe2(up, O_CLOEXEC) == 0);
    fflush(NULL);
    *pid = fork();
    CHECK(*pid >= 0);
    if (*pid == 0) {
        alarm(60);
        agt__holder_self(&h, os(), "child");
        if (write(up[1], &h, sizeof h) != (ssize_t)sizeof h) _exit(98);
        close(up[1]);
        life();
        _exit(0);
    }
    close(up[1]);
    CHECK(read(up[0], &h, sizeof h) == (ssize_t)sizeof h);
    close(up[0]);
    CHECK_INT(h.pid, *pid);
    CHECK(h.start > 0 && h.boot[0] && h.pid_space[0] && h.host[0]);
    return h;
}

static void live_on(void) {
    for (;;)
        pause();
}
static void end_at_once(void) {
    _exit(0);
}

static void *work_on(void *arg) {
    (void)arg;
    live_on();
    return NULL;
}
static void end_the_first_thread(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, work_on, NULL) != 0) _exit(97);
    syscall(SYS_exit, 0); /* of this thread alone */
}

static char state_of(pid_t pid) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    const char *p = n > 0 ? strrchr(text, ')') : NULL;
    return p ? p[2] : 0;
}

static void wait_for_state(pid_t pid, char state) {
    for (int i = 0; i < 5000 && state_of(pid) != state; i++)
        usleep(1000);
    CHECK_INT(state_of(pid), state);
}

static void bury(pid_t pid) {
    int status;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
}

/* A plain POSIX build does not know when a process began: what it cannot prove it does not say. */
static void needs_starts(void) {
#ifdef AGENT_TRACE_PLAIN_POSIX
    test_skip("POSIX does not tell when a process began");
#endif
}

/* The last threads of a process may end a moment after the first. */
static void check_is_dead(const agt_holder *h) {
    for (int i = 0; i < 2000 && judge(h) != AGT_DEAD; i++)
        usleep(1000);
    CHECK_INT(judge(h), AGT_DEAD);
}

TEST(liveness, a_process_that_runs_or_is_stopped_is_alive_and_one_that_ended_is_dead) {
    needs_starts();
    pid_t pid;
    agt_holder h = record_of_child(&pid, live_on);
    CHECK_INT(judge(&h), AGT_ALIVE);
    kill(pid, SIGSTOP);
    wait_for_state(pid, 'T');
    CHECK_INT(judge(&h), AGT_ALIVE);
    kill(pid, SIGKILL);
    wait_for_state(pid, 'Z'); /* kill(pid, 0) still succeeds */
    CHECK_INT(kill(pid, 0), 0);
    check_is_dead(&h);
    bury(pid);
    check_is_dead(&h);
    h = record_of_child(&pid, end_at_once);
    wait_for_state(pid, 'Z');
    check_is_dead(&h);
    bury(pid);
}

TEST(liveness, a_process_whose_first_thread_ended_is_alive_while_another_works) {
    needs_starts();
    pid_t pid;
    agt_holder h = record_of_child(&pid, end_the_first_thread);
    wait_for_state(pid, 'Z'); /* so the system calls it */
    CHECK_INT(judge(&h), AGT_ALIVE);
    bury(pid);
    CHECK_INT(judge(&h), AGT_DEAD);
}

TEST(liveness, this_process_and_one_before_it_that_had_its_id) {
    needs_starts();
    agt_holder h;
    agt__holder_self(&h, os(), NULL);
    CHECK_INT(judge(&h), AGT_ALIVE);
    h.start -= 150; /* ticks of 10 ms */
    CHECK_INT(judge(&h), AGT_DEAD);
    agt__holder_self(&h, os(), NULL);
    strcpy(h.boot, "00000000-0000-4000-8000-000000000000");
    CHECK_INT(judge(&h), AGT_DEAD);
    strcpy(h.host, "elsewhere");
    CHECK_INT(judge(&h), AGT_UNCERTAIN);
}

/* Makes the next process have this id, where the system lets us. */
static bool next_pid(pid_t pid) {
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    char text[24];
    int n = snprintf(text, sizeof text, "%ld", (long)pid - 1);
    bool done = write(fd, text, (size_t)n) == n;
    close(fd);
    return done;
}

TEST(liveness, an_id_that_is_used_again_is_another_process) {
    needs_starts();
    pid_t pid, again = 0;
    agt_holder h = record_of_child(&pid, live_on), second;
    bury(pid);
    usleep(1100000); /* what a reuse within the tolerated second is: see liveness.c (1) */
    for (int i = 0; i < 50 && again != pid; i++) {
        if (!next_pid(pid)) {
            test_saw("process ids used again (not permitted here)", 0);
            return;
        }
        second = record_of_child(&again, live_on);
        if (again != pid) bury(again);
    }
    CHECK_INT(again, pid);
    CHECK_INT(judge(&h), AGT_DEAD);
    CHECK_INT(judge(&second), AGT_ALIVE);
    bury(again);
    test_saw("process ids used again", 1);
}

TEST(liveness, ids_that_are_none_are_refused_by_the_system) {
    agt_peer p;
    const int64_t bad[] = {0, -1, INT64_MIN, (int64_t)INT32_MAX + 1, INT64_MAX};
    for (size_t i = 0; i < AGT_COUNT(bad); i++)
        CHECK_INT(AGT_SYS_CLASS(os()->peer(NULL, bad[i], &p)), AGT_SYS_NAME);
    CHECK_INT(os()->peer(NULL, 1, &p), 0);
    CHECK(p.state != AGT_PEER_ENDED);
}

/* ---- containers ---- */

TEST(liveness, a_process_in_another_space_of_ids_is_never_called_dead) {
    int up[2], status;
    agt_holder h;
    CHECK(pipe2(up, O_CLOEXEC) == 0);
    fflush(NULL);
    pid_t outer = fork();
    CHECK(outer >= 0);
    if (outer == 0) {
        alarm(60);
        if (unshare(CLONE_NEWPID) != 0) _exit(77);
        pid_t inner = fork();
        if (inner == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            agt__holder_self(&h, os(), NULL);
            if (write(up[1], &h, sizeof h) != (ssize_t)sizeof h) _exit(98);
            live_on();
        }
        live_on();
    }
    close(up[1]);
    ssize_t n = read(up[0], &h, sizeof h);
    close(up[0]);
    if (n != (ssize_t)sizeof h) {
        CHECK(waitpid(outer, &status, 0) == outer && WEXITSTATUS(status) == 77);
        test_saw("spaces of ids (not permitted here)", 0);
        return;
    }
    CHECK_INT(h.pid, 1); /* which, here, is somebody else who lives for ever */
    CHECK_INT(judge(&h), AGT_UNCERTAIN);
    bury(outer); /* and with it the inner one */
    CHECK_INT(judge(&h), AGT_UNCERTAIN);
    test_saw("spaces of ids", 1);
}

/* ---- through a system that fails or does not tell ---- */

static int no_answer(void *ctx, int64_t pid, agt_peer *out) {
    (void)ctx, (void)pid;
    out->state = AGT_PEER_ENDED; /* must not be looked at */
    return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
}
static int no_process(void *ctx, agt_process *out) {
    (void)ctx, (void)out;
    return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
}

TEST(liveness, a_system_that_does_not_tell_makes_nobody_dead) {
    needs_starts();
    agt_fd dir = os()->open_root(NULL, test_folder());
    pid_t pid;
    agt_holder h = record_of_child(&pid, live_on);
    bury(pid);
    agt_sys sys = *os();
    CHECK_INT(agt__liveness_ask(&sys, dir, &h, NULL), AGT_DEAD);
    sys.peer = no_answer;
    CHECK_INT(agt__liveness_ask(&sys, dir, &h, NULL), AGT_UNCERTAIN);
    sys.peer = NULL;
    CHECK_INT(agt__liveness_ask(&sys, dir, &h, NULL), AGT_UNCERTAIN);
    sys = *os();
    sys.process = no_process;
    CHECK_INT(agt__liveness_ask(&sys, dir, &h, NULL), AGT_UNCERTAIN);
    sys = *os();
    sys.volume = NULL; /* then the disk may be anybody's */
    strcpy(h.boot, "00000000-0000-4000-8000-000000000000");
    CHECK_INT(agt__liveness_ask(&sys, dir, &h, NULL), AGT_UNCERTAIN);
    CHECK_INT(agt__liveness_ask(os(), dir, &h, NULL), AGT_DEAD);
    os()->close(NULL, dir);
}
