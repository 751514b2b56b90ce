/* Rounds of deaths: eight processes contend for the poll lock, one of them at a time is killed or
 * stopped at any moment. A witness in shared memory, written under the lock and known to nobody
 * else, sees whether two ever lead at once, and that the epoch only grows. After each death
 * somebody leads again. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "test.h"

#include "../agent_trace.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTENDERS 8

/* A life is one process in a place; its number is never used again. */
typedef struct witness {
    _Atomic uint64_t leader; /* the life that leads, 0: nobody */
    _Atomic uint64_t epoch;  /* of the last leader */
    _Atomic uint64_t takes, overlaps, backward, errors, refused;
    _Atomic int stop;
    _Atomic char killed[1 << 16]; /* by life, set before the kill */
} witness;

static void nap(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static uint64_t draw(uint64_t *state, uint64_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 33) % below;
}

/* Under the lock. */
static void lead(witness *w, uint64_t life, uint64_t epoch, uint64_t hold_us) {
    uint64_t before = atomic_exchange(&w->leader, life), mine = life;
    if (before && !w->killed[before]) atomic_fetch_add(&w->overlaps, 1);
    if (atomic_exchange(&w->epoch, epoch) >= epoch) atomic_fetch_add(&w->backward, 1);
    if (hold_us) nap(hold_us);
    atomic_fetch_add(&w->takes, 1);
    if (!atomic_compare_exchange_strong(&w->leader, &mine, 0)) atomic_fetch_add(&w->overlaps, 1);
}

static void contend(witness *w, const char *root, uint32_t backend, uint64_t life, uint64_t seed) {
    while (!w->stop) {
        agt_error err;
        agt_poll_lock *lock;
        agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
        o.backend = backend;
        o.timeout_ms = draw(&seed, 2) ? AGT_TRY : 1 + (int32_t)draw(&seed, 20);
        agt_status st = agt_poll_lock_acquire(&lock, root, &o, &err);
        if (st == AGT_OK) lead(w, life, agt_poll_lock_epoch(lock), draw(&seed, 300));
        agt_poll_lock_release(lock);
        if (st == AGT_BUSY) atomic_fetch_add(&w->refused, 1);
        if (st != AGT_OK && st != AGT_BUSY) {
            if (!atomic_fetch_add(&w->errors, 1)) fprintf(stderr, "%s\n", err.message);
        }
        nap(draw(&seed, 400));
    }
}

static pid_t begin_life(witness *w, const char *root, uint32_t backend, uint64_t life) {
    uint64_t seed = test_random();
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    CHECK(pid >= 0);
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) contend(w, root, backend, life, seed);
    _exit(0);
}

static void bury(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
}

/* Somebody leads once more, from here on. */
static void wait_for_a_leader(witness *w, const char *what, uint64_t round) {
    uint64_t before = w->takes;
    for (int i = 0; w->takes < before + 1 && i < 100000; i++)
        nap(200);
    if (w->takes < before + 1)
        test_fail(__FILE__, __LINE__, "nobody leads after the %s of round %d", what, (int)round);
}

static void check_nothing_blocks(const char *root, uint32_t backend) {
    agt_error err;
    agt_poll_lock *lock;
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_TRY;
    o.backend = backend;
    CHECK_OK(agt_poll_lock_acquire(&lock, root, &o, &err), err);
    agt_poll_lock_release(lock);
}

/* Of publishing and claiming nothing is left that names a process: all of them are dead. A file
 * whose maker was killed before it wrote is empty. */
static void check_nothing_is_left(const char *root) {
    char path[1200];
    struct dirent *e;
    struct stat st;
    uint64_t empty = 0;
    snprintf(path, sizeof path, "%s/.agent-trace/locks", root);
    DIR *d = opendir(path);
    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        if (!strncmp(e->d_name, "poll.lock.owner", 15) ||
            !strncmp(e->d_name, "poll.lock.reap.", 15))
            test_fail(__FILE__, __LINE__, "%s is left", e->d_name);
        if (strncmp(e->d_name, "poll.lock.tmp.", 14) != 0) continue;
        CHECK(fstatat(dirfd(d), e->d_name, &st, 0) == 0);
        if (st.st_size) test_fail(__FILE__, __LINE__, "%s is left", e->d_name);
        empty++;
    }
    closedir(d);
    test_saw("temporaries that name nobody", empty);
}

static void run_rounds(const char *root, uint32_t backend, uint64_t rounds) {
    witness *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid[CONTENDERS];
    uint64_t life[CONTENDERS], lives = 0, kills = 0;
    CHECK(w != MAP_FAILED);
    for (int i = 0; i < CONTENDERS; i++)
        pid[i] = begin_life(w, root, backend, life[i] = ++lives);
    for (uint64_t round = 0; round < rounds; round++) {
        size_t who = (size_t)test_random_below(CONTENDERS);
        nap(test_random_below(2000));
        bool kill_it = test_random_below(3) > 0 && lives + 1 < sizeof w->killed;
        if (kill_it) {
            w->killed[life[who]] = 1;
            kill(pid[who], SIGKILL);
            bury(pid[who]);
            kills++;
            wait_for_a_leader(w, "death", round);
            pid[who] = begin_life(w, root, backend, life[who] = ++lives);
        } else {
            kill(pid[who], SIGSTOP);
            nap(test_random_below(3000));
            kill(pid[who], SIGCONT);
            wait_for_a_leader(w, "stop", round);
        }
    }
    w->stop = 1;
    for (int i = 0; i < CONTENDERS; i++)
        bury(pid[i]);
    test_saw("deaths", kills);
    test_saw("takes", w->takes);
    CHECK_INT(w->overlaps, 0);
    CHECK_INT(w->backward, 0);
    CHECK_INT(w->errors, 0);
    CHECK(w->takes >= rounds && w->refused > 0 && kills > rounds / 3);
    munmap(w, sizeof *w);
    check_nothing_blocks(root, backend);
    if (backend == AGT_LOCK_SENTINEL) check_nothing_is_left(root);
}

static uint64_t rounds(void) {
    return test_count("TEST_ROUNDS", test_all() ? 2000 : 500);
}

TEST(rounds, deaths_and_stops_by_flock) {
    run_rounds(test_folder(), AGT_LOCK_FLOCK, rounds());
}

/* A plain POSIX build cannot tell when a process began, so it proves no death. */
#ifdef AGENT_TRACE_PLAIN_POSIX
enum { proves_deaths = 0 };
#else
enum { proves_deaths = 1 };
#endif

TEST(rounds, deaths_and_stops_by_sentinel) {
    if (!proves_deaths) test_skip("POSIX does not tell when a process began");
    run_rounds(test_folder(), AGT_LOCK_SENTINEL, rounds());
}

static void both(const char *root, uint64_t n) {
    char path[1100];
    uint32_t last = proves_deaths ? AGT_LOCK_SENTINEL : AGT_LOCK_FLOCK;
    for (uint32_t backend = AGT_LOCK_FLOCK; backend <= last; backend++) {
        snprintf(path, sizeof path, "%s/%d", root, (int)backend);
        CHECK(mkdir(path, 0700) == 0);
        run_rounds(path, backend, n);
    }
}

/* In a child with mounts of its own. */
static void on_a_mount(const char *kind, const char *options, const char *at) {
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            _exit(77);
        if (mount(kind, at, kind, 0, options) != 0) _exit(77);
        both(at, rounds() / 10);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) test_skip("%s cannot be mounted here", kind);
    CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(rounds, deaths_and_stops_on_tmpfs) {
    on_a_mount("tmpfs", "size=16m", test_folder());
}

TEST(rounds, deaths_and_stops_on_overlay) {
    const char *root = test_folder();
    static const char *const names[] = {"lower", "upper", "work", "at"};
    char path[1100], options[3300];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", root, names[i]);
        CHECK(mkdir(path, 0700) == 0);
    }
    snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", root,
             root, root);
    on_a_mount("overlay", options, path);
}
