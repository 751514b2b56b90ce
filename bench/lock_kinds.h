/* The locks that bench_lock compares: one handle of each kind, opened, taken and dropped in the
 * same way. Whoever waits waits as long as it takes. */
#ifndef AGT_BENCH_LOCK_KINDS_H
#define AGT_BENCH_LOCK_KINDS_H

#include "bench.h"

#include "../src/lock/sentinel.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef enum kind {
    OURS,      /* the lock behind the store and, with a watch, behind the poll lock */
    OURS_FILE, /* the lock by a file that exists */
    BARE,      /* the system calls of OURS, written out, 1 ms between tries */
    FLOCK,     /* blocked in flock(2) */
    OFD,       /* blocked in fcntl F_OFD_SETLKW */
    MUTEX,     /* robust, shared by processes */
    CREATE,    /* a file made with O_EXCL, its pid in it; unlinked; 1 ms between tries */
    KINDS,
    POLL = KINDS, /* agt_poll_lock_acquire: a follower that becomes the leader */
    POLL_FILE     /* the same by a file */
} kind;

static const char *const kind_names[] = {
    "agent_trace by flock", "agent_trace by a file", "the same calls, bare",
    "blocking flock(2)",    "blocking OFD lock",     "robust mutex",
    "exclusive create",     "poll lock by flock",    "poll lock by a file"};

#define CROWD_MOST 64

/* What the processes of one run share. */
typedef struct shared {
    _Atomic int ready, go;
    struct {
        _Atomic uint64_t n;
        _Atomic uint64_t last_ns, longest_ns; /* when it had the lock last; longest without */
        char pad[104];                        /* a line of its own */
    } done[CROWD_MOST];
    uint64_t inside; /* what the lock protects */
    _Atomic uint64_t locked_ns, got_ns, freed_ns;
    pthread_mutex_t mutex;
} shared;
static shared *mem;

static const agt_sys *sys;
static char folder[512];
static agt_fd dir;

UNUSED static uint64_t ns_now(void) {
    return (uint64_t)now_ns();
}

/* ---- the system calls of agt__flock_take on an open file, bare ---- */

static void bare_stat(void) {
    struct stat st;
    must(fstatat((int)dir, "contended", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
}
static bool bare_try(int fd) {
    bool got = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!got && flock(fd, LOCK_SH | LOCK_NB) == 0) {
        must(flock(fd, LOCK_UN) == 0, "flock");
        got = flock(fd, LOCK_EX | LOCK_NB) == 0;
    }
    bare_stat();
    return got;
}

/* ---- a handle ---- */

typedef struct handle {
    kind kind;
    int fd;
    agt_flock flock;
    agt_sentinel file;
    agt_poll_lock *poll;
    agt_sys spy; /* the system, which notes when a lock was got */
} handle;

/* When the kernel gave the lock, which is before the new leader's epoch is written. */
static int spy_lock(void *ctx, agt_fd fd, int what) {
    int rc = sys->lock(ctx, fd, what);
    uint64_t none = 0;
    if (rc == 0 && what == AGT_LOCK_EXCLUSIVE)
        (void)atomic_compare_exchange_strong(&mem->locked_ns, &none, ns_now());
    return rc;
}

static void handle_open(handle *h, kind k) {
    memset(h, 0, sizeof *h);
    h->kind = k;
    h->spy = *sys;
    h->spy.lock = spy_lock;
    agt__flock_init(&h->flock, sys, dir, "contended");
    agt__sentinel_init(&h->file, sys, dir, BENCH);
    h->fd = openat((int)dir, "contended", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(h->fd >= 0, "openat");
}

static void take_create(void) {
    char text[24];
    int fd, n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    while ((fd = openat((int)dir, "created", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) {
        must(errno == EEXIST, "openat");
        usleep(1000);
    }
    must(write(fd, text, (size_t)n) == n, "write");
    close(fd);
}
static void take_poll(handle *h) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_error err;
    o.timeout_ms = AGT_FOREVER;
    o.sys = &h->spy;
    o.backend = h->kind == POLL ? AGT_LOCK_FLOCK : AGT_LOCK_SENTINEL;
    must_agt(agt_poll_lock_acquire(&h->poll, folder, &o, &err), &err);
}
static void take_mutex(void) {
    int rc = pthread_mutex_lock(&mem->mutex);
    if (rc == EOWNERDEAD) rc = pthread_mutex_consistent(&mem->mutex);
    must(rc == 0, "pthread_mutex_lock");
}

static void handle_take(handle *h) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    agt_error err;
    switch ((int)h->kind) {
    case OURS: must_agt(agt__flock_take(&h->flock, AGT_FOREVER, &err), &err); break;
    case OURS_FILE: must_agt(agt__sentinel_take(&h->file, AGT_FOREVER, &err), &err); break;
    case BARE:
        while (!bare_try(h->fd))
            usleep(1000);
        break;
    case FLOCK: must(flock(h->fd, LOCK_EX) == 0, "flock"); break;
    case OFD: must(fcntl(h->fd, F_OFD_SETLKW, &whole) == 0, "fcntl"); break;
    case MUTEX: take_mutex(); break;
    case CREATE: take_create(); break;
    default: take_poll(h);
    }
}

static void handle_drop(handle *h) {
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    switch ((int)h->kind) {
    case OURS: agt__flock_drop(&h->flock); break;
    case OURS_FILE: agt__sentinel_drop(&h->file); break;
    case BARE:
    case FLOCK: must(flock(h->fd, LOCK_UN) == 0, "flock"); break;
    case OFD: must(fcntl(h->fd, F_OFD_SETLK, &whole) == 0, "fcntl"); break;
    case MUTEX: must(pthread_mutex_unlock(&mem->mutex) == 0, "pthread_mutex_unlock"); break;
    case CREATE: must(unlinkat((int)dir, "created", 0) == 0, "unlinkat"); break;
    default: agt_poll_lock_release(h->poll);
    }
}

/* ---- processes ---- */

/* Everything as at the beginning: killed holders leave files. */
static void start_afresh(void) {
    pthread_mutexattr_t how;
    memset(mem, 0, sizeof *mem);
    must(pthread_mutexattr_init(&how) == 0, "pthread_mutexattr_init");
    must(pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED) == 0, "pshared");
    must(pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) == 0, "robust");
    must(pthread_mutex_init(&mem->mutex, &how) == 0, "pthread_mutex_init");
    (void)unlinkat((int)dir, "created", 0);
    (void)unlinkat((int)dir, "poll.lock.owner", 0);
    fflush(NULL);
}

/* Waits until `n` processes are ready; one that died, or a minute, is the end of the bench. */
static void await_ready(int n) {
    double end = now_ns() + 60e9;
    while (atomic_load(&mem->ready) < n) {
        must(waitpid(-1, NULL, WNOHANG) == 0, "a process of the bench died");
        must(now_ns() < end, "a process of the bench does not begin");
        usleep(50);
    }
}

UNUSED static void end_process(pid_t pid) {
    must(kill(pid, SIGKILL) == 0, "kill");
    must(waitpid(pid, NULL, 0) == pid, "waitpid");
}

#endif /* AGT_BENCH_LOCK_KINDS_H */
