/* posix: the operating system as an agt_sys, for Linux, macOS and the BSDs.
 *
 * The only file of the library with OS headers and errno. It keeps no state: no table, no cache,
 * no global that can change; it never touches the umask, a signal's disposition or the working
 * directory. AGENT_TRACE_PLAIN_POSIX leaves out everything that only Linux has; what cannot be
 * done then is answered with AGT_SYS_NOSYS, never done by halves.
 *
 * (1) EINTR is retried in every call but close, which has closed the descriptor when it says so.
 * (2) A descriptor handed out is never 0, 1 or 2: a stray printf of the host must not land in a
 *     journal. It is closed on exec from the very call that makes it.
 * (3) A link in the last component is never followed, except by open_root. Opening never waits:
 *     a FIFO or a device in a file's place is opened without blocking and found out by fstat.
 * (4) sync means the disk: fdatasync for a file, fsync for a folder (its names are what counts),
 *     F_FULLFSYNC on macOS, where fsync stops at the drive's cache.
 * (5) A busy lock has three errno values (EWOULDBLOCK, EAGAIN, and EACCES from CIFS). A file system
 *     without locks answers NOSYS: an unlocked success does not exist.
 * (6) A lease (has_writer) is held for the moment between two calls. If a writer arrives in that
 *     moment the kernel signals us, by default with SIGIO, which kills a process that does not
 *     expect it; therefore the signal is set to SIGURG first, which is ignored by default.
 * (7) A process is only said to have ended where nothing of it can act any more.
 *
 * Names here begin with os_: posix_ is POSIX' own. */
#ifndef _WIN32

#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1 /* flock, F_FULLFSYNC, F_GETPATH */
#endif
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define _GNU_SOURCE 1 /* fallocate, syscall */
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#if defined(__linux__) && !defined(_TIME_BITS)
#define _TIME_BITS 64
#endif

#include "sys.h"

#include "../base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define OS_LINUX 1
#include <sys/inotify.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#endif
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__DragonFly__)
#define OS_MOUNT_NAMES 1 /* statfs tells a file system's name, and whether it is local */
#include <sys/param.h>   /* first */

#include <sys/mount.h>
#endif

_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64: files may pass 2 GiB");

#define OS_CHUNK (1024u * 1024 * 1024) /* no call moves more: SSIZE_MAX and macOS' INT_MAX */

#define OS_RETRY(rc, call)                                                                         \
    do {                                                                                           \
        (rc) = (call);                                                                             \
    } while ((rc) < 0 && errno == EINTR)

/* ---- errno ---- */

static int os_class(int e) {
    switch (e) {
    case ENOENT: return AGT_SYS_NOENT;
    case EEXIST: return AGT_SYS_EXIST;
    case ENOTDIR: return AGT_SYS_NOTDIR;
    case EISDIR: return AGT_SYS_ISDIR;
    case ELOOP: return AGT_SYS_LOOP;
    case EACCES:
    case EPERM:
    case EROFS: return AGT_SYS_ACCESS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return AGT_SYS_NOSPC;
    case EAGAIN: /* an open that would have to wait for somebody's lease */
    case EBUSY: return AGT_SYS_BUSY;
    case EXDEV: return AGT_SYS_XDEV;
    case ENOTEMPTY: return AGT_SYS_NOTEMPTY;
    case ENAMETOOLONG:
    case EILSEQ: return AGT_SYS_NAME;
    case ENOSYS:
    case ENOLCK:
    case EOPNOTSUPP: return AGT_SYS_NOSYS;
    case ENOMEM: return AGT_SYS_NOMEM;
    default: break;
    }
#if ENOTSUP != EOPNOTSUPP
    if (e == ENOTSUP) return AGT_SYS_NOSYS;
#endif
    return AGT_SYS_IO;
}

/* The result for errno, or for a call that worked. */
static int os_error(int e) {
    return AGT_SYS_ERR(os_class(e), e);
}
static int os_result(int rc) {
    return rc < 0 ? os_error(errno) : 0;
}

/* ---- opening ---- */

/* Moves a descriptor out of the standard streams' places. Keeps errno of a failed open. */
static int os_above_streams(int fd) {
    if (fd < 0 || fd > 2) return fd;
    int moved;
    OS_RETRY(moved, fcntl(fd, F_DUPFD_CLOEXEC, 3));
    int e = errno;
    (void)close(fd);
    errno = e;
    return moved;
}

static int os_openat(int dir, const char *name, int flags, mode_t mode) {
    int fd;
    OS_RETRY(fd, openat(dir, name, flags | O_CLOEXEC | O_NOCTTY, mode));
    return os_above_streams(fd);
}

static agt_fd os_open_root(void *ctx, const char *path) {
    (void)ctx;
    int fd = os_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? os_error(errno) : fd;
}

/* Why an open that follows no link failed: systems differ in what they say of a link. */
static int os_open_error(int dir, const char *name, int e) {
    struct stat st;
    if (e == ENXIO) return AGT_SYS_ERR(AGT_SYS_NAME, e); /* a socket, or a FIFO without a reader */
    int looks_odd = e == ENOTDIR || e == EMLINK;
#ifdef EFTYPE
    looks_odd = looks_odd || e == EFTYPE;
#endif
    if (looks_odd && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return AGT_SYS_ERR(AGT_SYS_LOOP, e);
    return os_error(e);
}

static agt_fd os_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    (void)ctx;
    int how = O_NOFOLLOW;
    if (flags & AGT_O_FOLDER)
        how |= O_RDONLY | O_DIRECTORY;
    else if ((flags & AGT_O_READ) && (flags & AGT_O_WRITE))
        how |= O_RDWR | O_NONBLOCK;
    else
        how |= ((flags & AGT_O_WRITE) ? O_WRONLY : O_RDONLY) | O_NONBLOCK;
    if (flags & AGT_O_CREATE) how |= O_CREAT;
    if (flags & AGT_O_EXCL) how |= O_EXCL;
    if (flags & AGT_O_TRUNCATE) how |= O_TRUNC;
    int fd = os_openat((int)dir, name, how, (mode_t)mode);
    return fd < 0 ? os_open_error((int)dir, name, errno) : fd;
}

/* Whether a walk may begin: relative, and no component that leads upward. */
static bool os_walkable(const char *path) {
    if (path[0] == '/') return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') return false;
        p += n;
        p += *p == '/';
    }
    return true;
}

/* The walk by hand, for systems that have no call for it. */
static agt_fd os_walk_steps(int dir, const char *path) {
    char name[NAME_MAX + 1];
    int at = dir;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        agt_fd next = AGT_SYS_ERR(AGT_SYS_NAME, ENAMETOOLONG);
        if (agt__copy_text(name, sizeof name, p, n))
            next = os_open(NULL, at, n ? name : ".", AGT_O_READ | AGT_O_FOLDER, 0);
        if (at != dir) (void)close(at);
        if (next < 0) return next;
        at = (int)next;
        p += n;
        p += *p == '/';
    }
    return at;
}

#if defined(OS_LINUX) && defined(SYS_openat2)
/* The same in one call (Linux 5.6). False: the kernel or its filter has no such call. */
static bool os_walk_at_once(int dir, const char *path, agt_fd *out) {
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0,
             0x04 /* RESOLVE_NO_SYMLINKS */ | 0x08 /* RESOLVE_BENEATH */};
    int fd;
    OS_RETRY(fd, (int)syscall(SYS_openat2, dir, path, &how, sizeof how));
    fd = os_above_streams(fd);
    *out = fd;
    if (fd >= 0) return true;
    /* what might be the filter, a race (EAGAIN), or a link called "no folder": by hand */
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == E2BIG || errno == EAGAIN ||
        errno == ENOTDIR)
        return false;
    *out = os_error(errno);
    return true;
}
#endif

static agt_fd os_walk(void *ctx, agt_fd dir, const char *path) {
    (void)ctx;
    if (!os_walkable(path)) return AGT_SYS_ERR(AGT_SYS_NAME, EINVAL);
    if (!path[0]) path = ".";
#if defined(OS_LINUX) && defined(SYS_openat2)
    agt_fd fd;
    if (os_walk_at_once((int)dir, path, &fd)) return fd;
#endif
    return os_walk_steps((int)dir, path);
}

static void os_close(void *ctx, agt_fd fd) {
    (void)ctx;
    (void)close((int)fd);
}

/* ---- bytes ---- */

static int64_t os_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - OS_CHUNK) return os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pread((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? os_error(errno) : rc;
}

static int64_t os_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - OS_CHUNK) return os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pwrite((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? os_error(errno) : rc;
}

static int os_sync(void *ctx, agt_fd fd) {
    (void)ctx;
    struct stat st;
    int rc = fstat((int)fd, &st);
    if (rc < 0) return os_error(errno);
#ifdef F_FULLFSYNC
    OS_RETRY(rc, fcntl((int)fd, F_FULLFSYNC));
    if (rc >= 0) return 0;
    /* only where the file system has no such command does less count as a sync */
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) return os_error(errno);
#endif
    if (S_ISDIR(st.st_mode)) {
        OS_RETRY(rc, fsync((int)fd));
        /* some file systems have no sync for folders: their names are as durable as they get */
        if (rc < 0 && errno == EINVAL) return 0;
        return os_result(rc);
    }
#ifdef __APPLE__
    OS_RETRY(rc, fsync((int)fd));
#else
    OS_RETRY(rc, fdatasync((int)fd));
#endif
    return os_result(rc);
}

static int os_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx;
    if (size > INT64_MAX) return os_error(EFBIG);
    int rc;
    OS_RETRY(rc, ftruncate((int)fd, (off_t)size));
    return os_result(rc);
}

static int os_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx;
    if (offset > INT64_MAX || n > INT64_MAX - offset) return os_error(EFBIG);
#if defined(OS_LINUX) && defined(FALLOC_FL_KEEP_SIZE)
    int rc;
    OS_RETRY(rc, fallocate((int)fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n));
    return os_result(rc);
#else
    (void)fd;
    return os_error(ENOSYS);
#endif
}

/* ---- names ---- */

#if defined(__APPLE__)
#define OS_MTIME(st) (st)->st_mtimespec
#define OS_CTIME(st) (st)->st_ctimespec
#else
#define OS_MTIME(st) (st)->st_mtim
#define OS_CTIME(st) (st)->st_ctim
#endif

static int64_t os_ns(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void os_fill(agt_stat *out, const struct stat *st) {
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->size = st->st_size > 0 ? (uint64_t)st->st_size : 0;
    out->mtime_ns = os_ns(OS_MTIME(st));
    out->ctime_ns = os_ns(OS_CTIME(st));
    out->mode = (uint32_t)st->st_mode & 07777u;
    out->owner = (uint32_t)st->st_uid;
    out->links = (uint32_t)st->st_nlink;
    out->kind = S_ISREG(st->st_mode)   ? AGT_FILE_REGULAR
                : S_ISDIR(st->st_mode) ? AGT_FILE_FOLDER
                : S_ISLNK(st->st_mode) ? AGT_FILE_LINK
                                       : AGT_FILE_OTHER;
}

static int os_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    OS_RETRY(rc, fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW));
    if (rc < 0) return os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    OS_RETRY(rc, fstat((int)fd, &st));
    if (rc < 0) return os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, fchmod((int)fd, (mode_t)mode));
    return os_result(rc);
}

/* Rename that replaces nothing, in two steps: a crash between them leaves both names, which the
 * caller's recovery sees as a file that was not moved yet. */
static int os_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    int rc;
    OS_RETRY(rc, linkat(from_dir, from, to_dir, to, 0));
    /* no hard links here, not of folders, or not of files of others */
    if (rc < 0 && (errno == EPERM || errno == EMLINK)) return os_error(ENOSYS);
    if (rc < 0) return os_error(errno);
    OS_RETRY(rc, unlinkat(from_dir, from, 0));
    if (rc == 0) return 0;
    rc = os_error(errno);
    (void)unlinkat(to_dir, to, 0);
    return rc;
}

static int os_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                     int flag) {
    (void)ctx;
    int rc;
    if (flag == AGT_RENAME_REPLACE) {
        OS_RETRY(rc, renameat((int)from_dir, from, (int)to_dir, to));
        if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
        return os_result(rc);
    }
#if defined(OS_LINUX) && defined(SYS_renameat2)
    unsigned how = flag == AGT_RENAME_EXCHANGE ? 2u : 1u;
    OS_RETRY(rc, (int)syscall(SYS_renameat2, (int)from_dir, from, (int)to_dir, to, how));
    /* EINVAL: this file system does not know the flag */
    if (rc == 0 || (errno != ENOSYS && errno != EINVAL)) return os_result(rc);
#endif
    if (flag == AGT_RENAME_EXCHANGE) return os_error(ENOSYS);
    return os_rename_new((int)from_dir, from, (int)to_dir, to);
}

static int os_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, linkat((int)from_dir, from, (int)to_dir, to, 0));
    return os_result(rc);
}

static int os_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, 0));
    if (rc == 0 || errno != EPERM) return os_result(rc);
    /* POSIX calls a folder here EPERM; Linux says EISDIR itself */
    struct stat st;
    int folder = fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    return os_error(folder ? EISDIR : EPERM);
}

static int os_remove_folder(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, AT_REMOVEDIR));
    if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
    return os_result(rc);
}

static int os_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, mkdirat((int)dir, name, (mode_t)mode));
    return os_result(rc);
}

static int os_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                   void *each_ctx) {
    (void)ctx;
    /* a descriptor of its own: the position is shared between duplicates */
    int fd = os_openat((int)dir, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return os_error(errno);
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = os_error(errno);
        (void)close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno == EINTR) continue;
        if (!e) {
            if (errno) rc = os_error(errno);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        rc = each(each_ctx, e->d_name);
    }
    (void)closedir(d);
    return rc;
}

/* ---- leases and locks ---- */

#ifdef OS_LINUX
#define OS_SETSIG   10   /* F_SETSIG and F_SETLEASE, which only _GNU_SOURCE declares: the */
#define OS_SETLEASE 1024 /* host may have included <fcntl.h> before us without it */
#endif

static int os_has_writer(void *ctx, agt_fd fd) {
    (void)ctx;
#ifdef OS_LINUX
    int rc, denied;
    OS_RETRY(rc, fcntl((int)fd, OS_SETSIG, SIGURG));
    if (rc < 0) return os_error(ENOSYS);
    OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_RDLCK));
    denied = rc < 0 ? errno : 0;
    if (rc == 0) OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_UNLCK));
    if (denied == EAGAIN) return 1;
    return denied ? os_error(ENOSYS) : 0;
#else
    (void)fd;
    return os_error(ENOSYS);
#endif
}

static int os_may_change(void *ctx, agt_fd dir) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, faccessat((int)dir, ".", W_OK | X_OK, AT_EACCESS));
    if (rc == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS) return os_error(ENOSYS); /* no such flag here */
    return os_error(errno);
}

static int os_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx;
    int op = kind == AGT_LOCK_UNLOCK   ? LOCK_UN
             : kind == AGT_LOCK_SHARED ? LOCK_SH | LOCK_NB
                                       : LOCK_EX | LOCK_NB;
    int rc;
    OS_RETRY(rc, flock((int)fd, op));
    if (rc == 0) return 0;
    if (errno == EWOULDBLOCK || errno == EAGAIN || errno == EACCES)
        return AGT_SYS_ERR(AGT_SYS_BUSY, errno);
    return os_error(errno);
}

#ifdef OS_LINUX
/* By the open file's number, so that it is that file that is watched, whatever has its name. */
static agt_fd os_watch(void *ctx, agt_fd fd) {
    (void)ctx;
    char link[48];
    int watch = os_above_streams(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), rc;
    if (watch < 0) return AGT_SYS_ERR(AGT_SYS_NOSYS, errno); /* a user may have so many only */
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", (int)fd);
    OS_RETRY(rc,
             inotify_add_watch(watch, link, IN_CLOSE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF));
    if (rc >= 0) return watch;
    rc = errno;
    (void)close(watch);
    return AGT_SYS_ERR(AGT_SYS_NOSYS, rc);
}

static int64_t os_mono_ns(void *ctx);

static int os_watch_wait(void *ctx, agt_fd watch, int64_t ns) {
    char events[1024];
    int64_t end = os_mono_ns(ctx) + ns;
    struct pollfd p = {(int)watch, POLLIN, 0};
    for (;;) {
        int64_t left = end - os_mono_ns(ctx), ms = left > 0 ? (left + 999999) / 1000000 : 0;
        int rc = poll(&p, 1, ms < INT_MAX ? (int)ms : INT_MAX);
        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0) return os_error(errno);
        if (rc == 0) return 0;
        while (read((int)watch, events, sizeof events) > 0) {
        }
        return 1;
    }
}
#endif

/* ---- time, chance, identity ---- */

static int64_t os_now_unix_ms(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t os_mono_ns(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return os_ns(t);
}

static void os_sleep_ns(void *ctx, int64_t ns) {
    (void)ctx;
    if (ns <= 0) return;
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

static int os_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    unsigned char *p = buf;
#if defined(OS_LINUX) && defined(SYS_getrandom)
    while (n) {
        long rc;
        OS_RETRY(rc, syscall(SYS_getrandom, p, n < 256 ? n : 256, 0));
        if (rc <= 0) break; /* an old kernel or a filter: the device */
        p += rc;
        n -= (size_t)rc;
    }
    if (n == 0) return 0;
#endif
    int fd = os_openat(AT_FDCWD, "/dev/urandom", O_RDONLY, 0);
    if (fd < 0) return os_error(errno);
    int result = 0;
    while (n && result == 0) {
        ssize_t rc;
        OS_RETRY(rc, read(fd, p, n < 256 ? n : 256));
        if (rc <= 0) {
            result = os_error(rc < 0 ? errno : EIO);
            break;
        }
        p += rc;
        n -= (size_t)rc;
    }
    (void)close(fd);
    return result;
}

static int64_t os_pid(void *ctx) {
    (void)ctx;
    return (int64_t)getpid();
}

#ifdef OS_LINUX
/* Reads the beginning of a file; text is terminated and its newline cut. The count, or -1. */
static ssize_t os_slurp(const char *path, char *out, size_t size) {
    out[0] = 0;
    int fd = os_openat(AT_FDCWD, path, O_RDONLY, 0);
    if (fd < 0) return -1;
    ssize_t n;
    OS_RETRY(n, read(fd, out, size - 1));
    (void)close(fd);
    out[n > 0 ? n : 0] = 0;
    if (n > 0 && out[n - 1] == '\n') out[n - 1] = 0;
    return n;
}

/* What /proc/<pid>/stat says. */
typedef struct os_stat_line {
    uint64_t pid, threads, start;
    char state;
} os_stat_line;

/* The program's name in field 2 may hold blanks and brackets, so counting begins behind the last
 * ')'. False: no such process, or no /proc. */
static bool os_read_stat(const char *path, os_stat_line *out) {
    char text[1024];
    memset(out, 0, sizeof *out);
    if (os_slurp(path, text, sizeof text) <= 0) return false;
    const char *p = strrchr(text, ')');
    for (const char *d = text; *d >= '0' && *d <= '9'; d++)
        out->pid = out->pid * 10 + (uint64_t)(*d - '0');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
        if (p && field == 2) out->state = *p;
        uint64_t *number = field == 19 ? &out->threads : field == 21 ? &out->start : NULL;
        for (const char *d = p; number && d && *d >= '0' && *d <= '9'; d++)
            *number = *number * 10 + (uint64_t)(*d - '0');
    }
    return p != NULL;
}

/* What a link names, whole or empty. */
static bool os_read_link(const char *path, char *out, size_t size) {
    ssize_t n;
    OS_RETRY(n, readlink(path, out, size));
    bool whole = n > 0 && (size_t)n < size;
    out[whole ? n : 0] = 0;
    return whole;
}
#endif

static int os_process(void *ctx, agt_process *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    out->pid = (int64_t)getpid();
    if (gethostname(out->host, sizeof out->host) != 0) out->host[0] = 0;
    out->host[sizeof out->host - 1] = 0;
#ifdef OS_LINUX
    os_stat_line line;
    if (os_read_stat("/proc/self/stat", &line)) out->start = line.start;
    (void)os_slurp("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    (void)os_slurp("/proc/self/comm", out->program, sizeof out->program);
    (void)os_read_link("/proc/self/ns/pid", out->pid_space, sizeof out->pid_space);
    (void)os_read_link("/proc/self/ns/time", out->time_space, sizeof out->time_space);
#endif
    return 0;
}

#ifdef OS_LINUX
/* A process whose first thread ended is called a zombie though others may work on in it (7). */
static void os_peer_state(const os_stat_line *line, agt_peer *out) {
    bool over = line->state == 'X' || line->state == 'x' || line->state == 'Z';
    bool works = line->state == 'Z' && line->threads > 1;
    out->state = over && !works ? AGT_PEER_ENDED : AGT_PEER_RUNS;
    out->start = line->start;
    long ticks = sysconf(_SC_CLK_TCK);
    out->per_second = ticks > 0 ? (uint32_t)ticks : 100;
}
#endif

static int os_peer(void *ctx, int64_t pid, agt_peer *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    if (pid <= 0 || pid > INT32_MAX) return AGT_SYS_ERR(AGT_SYS_NAME, EINVAL);
#ifdef OS_LINUX
    char path[48];
    os_stat_line line;
    /* /proc may be missing, or show the ids of another name space than ours */
    if (!os_read_stat("/proc/self/stat", &line) || line.pid != (uint64_t)getpid())
        return os_error(ENOSYS);
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    if (os_read_stat(path, &line)) {
        os_peer_state(&line, out);
        (void)snprintf(path, sizeof path, "/proc/%ld/ns/pid", (long)pid);
        (void)os_read_link(path, out->pid_space, sizeof out->pid_space);
        return 0;
    }
#endif
    if (kill((pid_t)pid, 0) < 0 && errno == ESRCH) out->state = AGT_PEER_ENDED;
    return 0;
}

/* ---- the path of an open folder ---- */

/* The name is only good if it still leads to the folder. */
static int os_check_path(int fd, const char *path) {
    struct stat a, b;
    if (fstat(fd, &a) != 0 || stat(path, &b) != 0) return os_error(errno);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : os_error(ENOENT);
}

#if !defined(OS_LINUX) && !defined(F_GETPATH)
/* Without a call for it: upward by "..", and in each folder the name of the one we come from. */
typedef struct os_climb {
    int above;
    struct stat below;
    char *start, *at; /* the path so far is at the buffer's end */
} os_climb;

static int os_climb_each(void *ctx, const char *name) { /* 1: that is it */
    os_climb *c = ctx;
    struct stat st;
    size_t n = strlen(name);
    if (fstatat(c->above, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return 0;
    if (st.st_dev != c->below.st_dev || st.st_ino != c->below.st_ino) return 0;
    if ((size_t)(c->at - c->start) < n + 1) return os_error(ENAMETOOLONG);
    c->at -= n + 1;
    c->at[0] = '/';
    memcpy(c->at + 1, name, n);
    return 1;
}

/* One step: 1 when *fd is the topmost folder, else *fd becomes the one above. */
static int os_climb_step(os_climb *c, int *fd) {
    struct stat above;
    c->above = os_openat(*fd, "..", O_RDONLY | O_DIRECTORY, 0);
    if (c->above < 0) return errno == EACCES ? os_error(ENOSYS) : os_error(errno);
    int rc = fstat(*fd, &c->below) || fstat(c->above, &above) ? os_error(errno) : 0;
    bool topmost = rc == 0 && above.st_dev == c->below.st_dev && above.st_ino == c->below.st_ino;
    if (rc == 0 && !topmost) {
        rc = os_list(NULL, c->above, os_climb_each, c);
        if (rc >= 0) rc = rc == 1 ? 0 : os_error(ENOENT);
    }
    (void)close(*fd);
    *fd = c->above;
    return topmost ? 1 : rc;
}

static int os_climb_up(int dir, char *out, size_t size) {
    os_climb c = {.start = out, .at = out + size - 1};
    int fd = os_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0), rc = 0;
    if (fd < 0) return os_error(errno);
    *c.at = 0;
    while (rc == 0)
        rc = os_climb_step(&c, &fd);
    (void)close(fd);
    if (rc < 0) return rc;
    if (!*c.at && c.at > out) *--c.at = '/';
    memmove(out, c.at, strlen(c.at) + 1);
    return os_check_path(dir, out);
}
#endif

static int os_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)ctx;
#if defined(OS_LINUX)
    char link[48];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", (int)dir);
    ssize_t n;
    OS_RETRY(n, readlink(link, out, size));
    if (n < 0) return os_error(ENOSYS); /* no /proc here */
    if ((size_t)n >= size) return os_error(ENAMETOOLONG);
    out[n] = 0;
    return os_check_path((int)dir, out);
#elif defined(F_GETPATH)
    char path[PATH_MAX];
    int rc;
    OS_RETRY(rc, fcntl((int)dir, F_GETPATH, path));
    if (rc < 0) return os_error(errno);
    if (!agt__copy_text(out, size, path, strlen(path))) return os_error(ENAMETOOLONG);
    return os_check_path((int)dir, out);
#else
    return size ? os_climb_up((int)dir, out, size) : os_error(ENAMETOOLONG);
#endif
}

/* ---- the file system of a folder ---- */

#ifdef OS_LINUX
/* From <linux/magic.h>, and of file systems that live outside of the kernel's tree. */
static const struct {
    uint32_t magic, place;
    char kind[16];
} os_volumes[] = {
    {0x00006969, AGT_VOLUME_NETWORK, "nfs"},    {0xff534d42, AGT_VOLUME_NETWORK, "cifs"},
    {0xfe534d42, AGT_VOLUME_NETWORK, "smb"},    {0x0000517b, AGT_VOLUME_NETWORK, "smb"},
    {0x00c36400, AGT_VOLUME_NETWORK, "ceph"},   {0x5346414f, AGT_VOLUME_NETWORK, "afs"},
    {0x6b414653, AGT_VOLUME_NETWORK, "afs"},    {0x73757245, AGT_VOLUME_NETWORK, "coda"},
    {0x0bd00bd0, AGT_VOLUME_NETWORK, "lustre"}, {0x47504653, AGT_VOLUME_NETWORK, "gpfs"},
    {0x01161970, AGT_VOLUME_NETWORK, "gfs2"},   {0x7461636f, AGT_VOLUME_NETWORK, "ocfs2"},
    {0x19830326, AGT_VOLUME_NETWORK, "beegfs"}, {0x01021997, AGT_VOLUME_PROGRAM, "9p"},
    {0x65735546, AGT_VOLUME_PROGRAM, "fuse"},   {0x786f4256, AGT_VOLUME_PROGRAM, "vboxsf"}};
#endif

static void os_volume_kind(int dir, agt_volume *out) {
#if defined(OS_LINUX)
    struct statfs fs;
    int rc;
    OS_RETRY(rc, fstatfs(dir, &fs));
    if (rc < 0) return;
    out->place = AGT_VOLUME_LOCAL;
    for (size_t i = 0; i < AGT_COUNT(os_volumes); i++) {
        if (os_volumes[i].magic != (uint32_t)fs.f_type) continue;
        out->place = os_volumes[i].place;
        memcpy(out->kind, os_volumes[i].kind, sizeof out->kind);
    }
#elif defined(OS_MOUNT_NAMES)
    struct statfs fs;
    int rc;
    OS_RETRY(rc, fstatfs(dir, &fs));
    if (rc < 0) return;
    out->place = (fs.f_flags & MNT_LOCAL) ? AGT_VOLUME_LOCAL : AGT_VOLUME_NETWORK;
    (void)snprintf(out->kind, sizeof out->kind, "%s", fs.f_fstypename);
#else
    (void)dir, (void)out;
#endif
}

static int os_volume(void *ctx, agt_fd dir, agt_volume *out) {
    (void)ctx;
    static const agt_volume unknown = AGT_VOLUME_INIT;
    struct statvfs fs;
    int rc;
    *out = unknown;
    OS_RETRY(rc, fstatvfs((int)dir, &fs));
    if (rc < 0) return os_error(errno);
    uint64_t block = fs.f_frsize ? (uint64_t)fs.f_frsize : (uint64_t)fs.f_bsize;
    uint64_t blocks = (uint64_t)fs.f_bavail;
    if (fs.f_blocks && block && blocks < UINT64_MAX / block) out->free_bytes = blocks * block;
    out->read_only = (fs.f_flag & ST_RDONLY) != 0;
    os_volume_kind((int)dir, out);
    return 0;
}

/* ---- mutexes ---- */

static void *os_mutex_new(void *ctx) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    pthread_mutex_t *m = agt__alloc(&mem, sizeof *m);
    if (m && pthread_mutex_init(m, NULL) != 0) {
        agt__free(&mem, m, sizeof *m);
        m = NULL;
    }
    return m;
}

static void os_mutex_free(void *ctx, void *mutex) {
    (void)ctx;
    if (!mutex) return;
    agt_mem mem = agt__mem(NULL);
    (void)pthread_mutex_destroy(mutex);
    agt__free(&mem, mutex, sizeof(pthread_mutex_t));
}

static void os_mutex_lock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_lock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static void os_mutex_unlock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_unlock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static const agt_sys os_sys = {
    .size = sizeof(agt_sys),
    .open_root = os_open_root,
    .open = os_open,
    .walk = os_walk,
    .close = os_close,
    .pread = os_pread,
    .pwrite = os_pwrite,
    .sync = os_sync,
    .truncate = os_truncate,
    .reserve = os_reserve,
    .stat = os_stat,
    .fstat = os_fstat,
    .set_mode = os_set_mode,
    .rename = os_rename,
    .link = os_link,
    .remove = os_remove,
    .remove_folder = os_remove_folder,
    .make_folder = os_make_folder,
    .list = os_list,
    .has_writer = os_has_writer,
    .may_change = os_may_change,
    .lock = os_lock,
    .now_unix_ms = os_now_unix_ms,
    .mono_ns = os_mono_ns,
    .sleep_ns = os_sleep_ns,
    .random = os_random,
    .pid = os_pid,
    .process = os_process,
    .path_of = os_path_of,
    .mutex_new = os_mutex_new,
    .mutex_free = os_mutex_free,
    .mutex_lock = os_mutex_lock,
    .mutex_unlock = os_mutex_unlock,
    .volume = os_volume,
    .peer = os_peer,
#ifdef OS_LINUX
    .watch = os_watch,
    .watch_wait = os_watch_wait,
#endif
};

AGENT_TRACE_API const agt_sys *agt_sys_os(void) {
    return &os_sys;
}

#endif /* !_WIN32 */
