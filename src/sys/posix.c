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
 *     expect it; therefore the signal is set to SIGURG first, which is ignored by default. */
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

#include "sys.h"

#include "../base/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define POSIX_LINUX 1
#include <sys/syscall.h>
#endif

_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64: files may pass 2 GiB");

#define POSIX_CHUNK (1024u * 1024 * 1024) /* no call moves more: SSIZE_MAX and macOS' INT_MAX */

#define POSIX_RETRY(rc, call)                                                                      \
    do {                                                                                           \
        (rc) = (call);                                                                             \
    } while ((rc) < 0 && errno == EINTR)

/* ---- errno ---- */

static int posix_class(int e) {
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
static int posix_error(int e) {
    return AGT_SYS_ERR(posix_class(e), e);
}
static int posix_result(int rc) {
    return rc < 0 ? posix_error(errno) : 0;
}

/* ---- opening ---- */

/* Moves a descriptor out of the standard streams' places. Keeps errno of a failed open. */
static int posix_above_streams(int fd) {
    if (fd < 0 || fd > 2) return fd;
    int moved;
    POSIX_RETRY(moved, fcntl(fd, F_DUPFD_CLOEXEC, 3));
    int e = errno;
    (void)close(fd);
    errno = e;
    return moved;
}

static int posix_openat(int dir, const char *name, int flags, mode_t mode) {
    int fd;
    POSIX_RETRY(fd, openat(dir, name, flags | O_CLOEXEC | O_NOCTTY, mode));
    return posix_above_streams(fd);
}

static agt_fd posix_open_root(void *ctx, const char *path) {
    (void)ctx;
    int fd = posix_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? posix_error(errno) : fd;
}

/* Why an open that follows no link failed: systems differ in what they say of a link. */
static int posix_open_error(int dir, const char *name, int e) {
    struct stat st;
    if (e == ENXIO) return AGT_SYS_ERR(AGT_SYS_NAME, e); /* a socket, or a FIFO without a reader */
    int looks_odd = e == ENOTDIR || e == EMLINK;
#ifdef EFTYPE
    looks_odd = looks_odd || e == EFTYPE;
#endif
    if (looks_odd && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return AGT_SYS_ERR(AGT_SYS_LOOP, e);
    return posix_error(e);
}

static agt_fd posix_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
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
    int fd = posix_openat((int)dir, name, how, (mode_t)mode);
    return fd < 0 ? posix_open_error((int)dir, name, errno) : fd;
}

/* Whether a walk may begin: relative, and no component that leads upward. */
static bool posix_walkable(const char *path) {
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
static agt_fd posix_walk_steps(int dir, const char *path) {
    char name[NAME_MAX + 1];
    int at = dir;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        agt_fd next = AGT_SYS_ERR(AGT_SYS_NAME, ENAMETOOLONG);
        if (agt__copy_text(name, sizeof name, p, n))
            next = posix_open(NULL, at, n ? name : ".", AGT_O_READ | AGT_O_FOLDER, 0);
        if (at != dir) (void)close(at);
        if (next < 0) return next;
        at = (int)next;
        p += n;
        p += *p == '/';
    }
    return at;
}

#if defined(POSIX_LINUX) && defined(SYS_openat2)
/* The same in one call (Linux 5.6). False: the kernel or its filter has no such call. */
static bool posix_walk_at_once(int dir, const char *path, agt_fd *out) {
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0,
             0x04 /* RESOLVE_NO_SYMLINKS */ | 0x08 /* RESOLVE_BENEATH */};
    int fd;
    POSIX_RETRY(fd, (int)syscall(SYS_openat2, dir, path, &how, sizeof how));
    fd = posix_above_streams(fd);
    *out = fd;
    if (fd >= 0) return true;
    /* what might be the filter, a race (EAGAIN), or a link called "no folder": by hand */
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == E2BIG || errno == EAGAIN ||
        errno == ENOTDIR)
        return false;
    *out = posix_error(errno);
    return true;
}
#endif

static agt_fd posix_walk(void *ctx, agt_fd dir, const char *path) {
    (void)ctx;
    if (!posix_walkable(path)) return AGT_SYS_ERR(AGT_SYS_NAME, EINVAL);
    if (!path[0]) path = ".";
#if defined(POSIX_LINUX) && defined(SYS_openat2)
    agt_fd fd;
    if (posix_walk_at_once((int)dir, path, &fd)) return fd;
#endif
    return posix_walk_steps((int)dir, path);
}

static void posix_close(void *ctx, agt_fd fd) {
    (void)ctx;
    (void)close((int)fd);
}

/* ---- bytes ---- */

static int64_t posix_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - POSIX_CHUNK) return posix_error(EFBIG);
    ssize_t rc;
    POSIX_RETRY(rc, pread((int)fd, buf, n < POSIX_CHUNK ? n : POSIX_CHUNK, (off_t)offset));
    return rc < 0 ? posix_error(errno) : rc;
}

static int64_t posix_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - POSIX_CHUNK) return posix_error(EFBIG);
    ssize_t rc;
    POSIX_RETRY(rc, pwrite((int)fd, buf, n < POSIX_CHUNK ? n : POSIX_CHUNK, (off_t)offset));
    return rc < 0 ? posix_error(errno) : rc;
}

static int posix_sync(void *ctx, agt_fd fd) {
    (void)ctx;
    struct stat st;
    int rc = fstat((int)fd, &st);
    if (rc < 0) return posix_error(errno);
#ifdef F_FULLFSYNC
    POSIX_RETRY(rc, fcntl((int)fd, F_FULLFSYNC));
    if (rc >= 0) return 0;
    /* only where the file system has no such command does less count as a sync */
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) return posix_error(errno);
#endif
    if (S_ISDIR(st.st_mode)) {
        POSIX_RETRY(rc, fsync((int)fd));
        /* some file systems have no sync for folders: their names are as durable as they get */
        if (rc < 0 && errno == EINVAL) return 0;
        return posix_result(rc);
    }
#ifdef __APPLE__
    POSIX_RETRY(rc, fsync((int)fd));
#else
    POSIX_RETRY(rc, fdatasync((int)fd));
#endif
    return posix_result(rc);
}

static int posix_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx;
    if (size > INT64_MAX) return posix_error(EFBIG);
    int rc;
    POSIX_RETRY(rc, ftruncate((int)fd, (off_t)size));
    return posix_result(rc);
}

static int posix_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx;
    if (offset > INT64_MAX || n > INT64_MAX - offset) return posix_error(EFBIG);
#if defined(POSIX_LINUX) && defined(FALLOC_FL_KEEP_SIZE)
    int rc;
    POSIX_RETRY(rc, fallocate((int)fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n));
    return posix_result(rc);
#else
    (void)fd;
    return posix_error(ENOSYS);
#endif
}

/* ---- names ---- */

#if defined(__APPLE__)
#define POSIX_MTIME(st) (st)->st_mtimespec
#define POSIX_CTIME(st) (st)->st_ctimespec
#else
#define POSIX_MTIME(st) (st)->st_mtim
#define POSIX_CTIME(st) (st)->st_ctim
#endif

static int64_t posix_ns(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void posix_fill(agt_stat *out, const struct stat *st) {
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->size = st->st_size > 0 ? (uint64_t)st->st_size : 0;
    out->mtime_ns = posix_ns(POSIX_MTIME(st));
    out->ctime_ns = posix_ns(POSIX_CTIME(st));
    out->mode = (uint32_t)st->st_mode & 07777u;
    out->owner = (uint32_t)st->st_uid;
    out->links = (uint32_t)st->st_nlink;
    out->kind = S_ISREG(st->st_mode)   ? AGT_FILE_REGULAR
                : S_ISDIR(st->st_mode) ? AGT_FILE_FOLDER
                : S_ISLNK(st->st_mode) ? AGT_FILE_LINK
                                       : AGT_FILE_OTHER;
}

static int posix_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    POSIX_RETRY(rc, fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW));
    if (rc < 0) return posix_error(errno);
    posix_fill(out, &st);
    return 0;
}

static int posix_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    POSIX_RETRY(rc, fstat((int)fd, &st));
    if (rc < 0) return posix_error(errno);
    posix_fill(out, &st);
    return 0;
}

static int posix_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx;
    int rc;
    POSIX_RETRY(rc, fchmod((int)fd, (mode_t)mode));
    return posix_result(rc);
}

/* Rename that replaces nothing, in two steps: a crash between them leaves both names, which the
 * caller's recovery sees as a file that was not moved yet. */
static int posix_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    int rc;
    POSIX_RETRY(rc, linkat(from_dir, from, to_dir, to, 0));
    /* no hard links here, not of folders, or not of files of others */
    if (rc < 0 && (errno == EPERM || errno == EMLINK)) return posix_error(ENOSYS);
    if (rc < 0) return posix_error(errno);
    POSIX_RETRY(rc, unlinkat(from_dir, from, 0));
    if (rc == 0) return 0;
    rc = posix_error(errno);
    (void)unlinkat(to_dir, to, 0);
    return rc;
}

static int posix_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                        int flag) {
    (void)ctx;
    int rc;
    if (flag == AGT_RENAME_REPLACE) {
        POSIX_RETRY(rc, renameat((int)from_dir, from, (int)to_dir, to));
        if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
        return posix_result(rc);
    }
#if defined(POSIX_LINUX) && defined(SYS_renameat2)
    unsigned how = flag == AGT_RENAME_EXCHANGE ? 2u : 1u;
    POSIX_RETRY(rc, (int)syscall(SYS_renameat2, (int)from_dir, from, (int)to_dir, to, how));
    /* EINVAL: this file system does not know the flag */
    if (rc == 0 || (errno != ENOSYS && errno != EINVAL)) return posix_result(rc);
#endif
    if (flag == AGT_RENAME_EXCHANGE) return posix_error(ENOSYS);
    return posix_rename_new((int)from_dir, from, (int)to_dir, to);
}

static int posix_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx;
    int rc;
    POSIX_RETRY(rc, linkat((int)from_dir, from, (int)to_dir, to, 0));
    return posix_result(rc);
}

static int posix_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    POSIX_RETRY(rc, unlinkat((int)dir, name, 0));
    if (rc == 0 || errno != EPERM) return posix_result(rc);
    /* POSIX calls a folder here EPERM; Linux says EISDIR itself */
    struct stat st;
    int folder = fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    return posix_error(folder ? EISDIR : EPERM);
}

static int posix_remove_folder(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    POSIX_RETRY(rc, unlinkat((int)dir, name, AT_REMOVEDIR));
    if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
    return posix_result(rc);
}

static int posix_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx;
    int rc;
    POSIX_RETRY(rc, mkdirat((int)dir, name, (mode_t)mode));
    return posix_result(rc);
}

static int posix_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                      void *each_ctx) {
    (void)ctx;
    /* a descriptor of its own: the position is shared between duplicates */
    int fd = posix_openat((int)dir, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return posix_error(errno);
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = posix_error(errno);
        (void)close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno == EINTR) continue;
        if (!e) {
            if (errno) rc = posix_error(errno);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        rc = each(each_ctx, e->d_name);
    }
    (void)closedir(d);
    return rc;
}

/* ---- leases and locks ---- */

#ifdef POSIX_LINUX
#define POSIX_SETSIG   10   /* F_SETSIG and F_SETLEASE, which only _GNU_SOURCE declares: the */
#define POSIX_SETLEASE 1024 /* host may have included <fcntl.h> before us without it */
#endif

static int posix_has_writer(void *ctx, agt_fd fd) {
    (void)ctx;
#ifdef POSIX_LINUX
    int rc, denied;
    POSIX_RETRY(rc, fcntl((int)fd, POSIX_SETSIG, SIGURG));
    if (rc < 0) return posix_error(ENOSYS);
    POSIX_RETRY(rc, fcntl((int)fd, POSIX_SETLEASE, F_RDLCK));
    denied = rc < 0 ? errno : 0;
    if (rc == 0) POSIX_RETRY(rc, fcntl((int)fd, POSIX_SETLEASE, F_UNLCK));
    if (denied == EAGAIN) return 1;
    return denied ? posix_error(ENOSYS) : 0;
#else
    (void)fd;
    return posix_error(ENOSYS);
#endif
}

static int posix_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx;
    int op = kind == AGT_LOCK_UNLOCK   ? LOCK_UN
             : kind == AGT_LOCK_SHARED ? LOCK_SH | LOCK_NB
                                       : LOCK_EX | LOCK_NB;
    int rc;
    POSIX_RETRY(rc, flock((int)fd, op));
    if (rc == 0) return 0;
    if (errno == EWOULDBLOCK || errno == EAGAIN || errno == EACCES)
        return AGT_SYS_ERR(AGT_SYS_BUSY, errno);
    return posix_error(errno);
}

/* ---- time, chance, identity ---- */

static int64_t posix_now_unix_ms(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t posix_mono_ns(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return posix_ns(t);
}

static void posix_sleep_ns(void *ctx, int64_t ns) {
    (void)ctx;
    if (ns <= 0) return;
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

static int posix_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    unsigned char *p = buf;
#if defined(POSIX_LINUX) && defined(SYS_getrandom)
    while (n) {
        long rc;
        POSIX_RETRY(rc, syscall(SYS_getrandom, p, n < 256 ? n : 256, 0));
        if (rc <= 0) break; /* an old kernel or a filter: the device */
        p += rc;
        n -= (size_t)rc;
    }
    if (n == 0) return 0;
#endif
    int fd = posix_openat(AT_FDCWD, "/dev/urandom", O_RDONLY, 0);
    if (fd < 0) return posix_error(errno);
    int result = 0;
    while (n && result == 0) {
        ssize_t rc;
        POSIX_RETRY(rc, read(fd, p, n < 256 ? n : 256));
        if (rc <= 0) {
            result = posix_error(rc < 0 ? errno : EIO);
            break;
        }
        p += rc;
        n -= (size_t)rc;
    }
    (void)close(fd);
    return result;
}

static int64_t posix_pid(void *ctx) {
    (void)ctx;
    return (int64_t)getpid();
}

#ifdef POSIX_LINUX
/* Reads the beginning of a file; text is terminated and its newline cut. The count, or -1. */
static ssize_t posix_slurp(const char *path, char *out, size_t size) {
    out[0] = 0;
    int fd = posix_openat(AT_FDCWD, path, O_RDONLY, 0);
    if (fd < 0) return -1;
    ssize_t n;
    POSIX_RETRY(n, read(fd, out, size - 1));
    (void)close(fd);
    out[n > 0 ? n : 0] = 0;
    if (n > 0 && out[n - 1] == '\n') out[n - 1] = 0;
    return n;
}

/* Field 22 of /proc/self/stat. The program's name in field 2 may hold blanks and brackets, so
 * counting begins behind the last ')'. */
static uint64_t posix_start_time(void) {
    char text[1024];
    if (posix_slurp("/proc/self/stat", text, sizeof text) <= 0) return 0;
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    uint64_t v = 0;
    for (; p && *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    return v;
}

/* What a link names, whole or empty. */
static bool posix_read_link(const char *path, char *out, size_t size) {
    ssize_t n;
    POSIX_RETRY(n, readlink(path, out, size));
    bool whole = n > 0 && (size_t)n < size;
    out[whole ? n : 0] = 0;
    return whole;
}
#endif

static int posix_process(void *ctx, agt_process *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    out->pid = (int64_t)getpid();
    if (gethostname(out->host, sizeof out->host) != 0) out->host[0] = 0;
    out->host[sizeof out->host - 1] = 0;
#ifdef POSIX_LINUX
    out->start = posix_start_time();
    (void)posix_slurp("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    (void)posix_slurp("/proc/self/comm", out->program, sizeof out->program);
    (void)posix_read_link("/proc/self/ns/pid", out->pid_space, sizeof out->pid_space);
    (void)posix_read_link("/proc/self/ns/time", out->time_space, sizeof out->time_space);
#endif
    return 0;
}

/* ---- the path of an open folder ---- */

#if defined(POSIX_LINUX) || defined(F_GETPATH)
/* The name is only good if it still leads to the folder. */
static int posix_check_path(int fd, const char *path) {
    struct stat a, b;
    if (fstat(fd, &a) != 0 || stat(path, &b) != 0) return posix_error(errno);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : posix_error(ENOENT);
}
#endif

static int posix_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)ctx;
#if defined(POSIX_LINUX)
    char link[48];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", (int)dir);
    ssize_t n;
    POSIX_RETRY(n, readlink(link, out, size));
    if (n < 0) return posix_error(ENOSYS); /* no /proc here */
    if ((size_t)n >= size) return posix_error(ENAMETOOLONG);
    out[n] = 0;
    return posix_check_path((int)dir, out);
#elif defined(F_GETPATH)
    char path[PATH_MAX];
    int rc;
    POSIX_RETRY(rc, fcntl((int)dir, F_GETPATH, path));
    if (rc < 0) return posix_error(errno);
    if (!agt__copy_text(out, size, path, strlen(path))) return posix_error(ENAMETOOLONG);
    return posix_check_path((int)dir, out);
#else
    (void)dir;
    if (size) out[0] = 0;
    return posix_error(ENOSYS);
#endif
}

/* ---- mutexes ---- */

static void *posix_mutex_new(void *ctx) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    pthread_mutex_t *m = agt__alloc(&mem, sizeof *m);
    if (m && pthread_mutex_init(m, NULL) != 0) {
        agt__free(&mem, m, sizeof *m);
        m = NULL;
    }
    return m;
}

static void posix_mutex_free(void *ctx, void *mutex) {
    (void)ctx;
    if (!mutex) return;
    agt_mem mem = agt__mem(NULL);
    (void)pthread_mutex_destroy(mutex);
    agt__free(&mem, mutex, sizeof(pthread_mutex_t));
}

static void posix_mutex_lock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_lock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static void posix_mutex_unlock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_unlock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static const agt_sys posix_sys = {
    .size = sizeof(agt_sys),
    .open_root = posix_open_root,
    .open = posix_open,
    .walk = posix_walk,
    .close = posix_close,
    .pread = posix_pread,
    .pwrite = posix_pwrite,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .reserve = posix_reserve,
    .stat = posix_stat,
    .fstat = posix_fstat,
    .set_mode = posix_set_mode,
    .rename = posix_rename,
    .link = posix_link,
    .remove = posix_remove,
    .remove_folder = posix_remove_folder,
    .make_folder = posix_make_folder,
    .list = posix_list,
    .has_writer = posix_has_writer,
    .lock = posix_lock,
    .now_unix_ms = posix_now_unix_ms,
    .mono_ns = posix_mono_ns,
    .sleep_ns = posix_sleep_ns,
    .random = posix_random,
    .pid = posix_pid,
    .process = posix_process,
    .path_of = posix_path_of,
    .mutex_new = posix_mutex_new,
    .mutex_free = posix_mutex_free,
    .mutex_lock = posix_mutex_lock,
    .mutex_unlock = posix_mutex_unlock,
};

AGENT_TRACE_API const agt_sys *agt_sys_os(void) {
    return &posix_sys;
}

#endif /* !_WIN32 */
