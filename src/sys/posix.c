/* posix: the operating system as an agt_sys, for Linux, macOS and the BSDs.
 *
 * With posix_process.c the only part of the library with OS headers and errno. It keeps no state:
 * no table, no cache, no global that can change; it never touches the umask, a signal's disposition
 * or the working directory. AGENT_TRACE_PLAIN_POSIX leaves out everything that only Linux has; what
 * cannot be done then is answered with AGT_SYS_NOSYS, never done by halves.
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
 * (7) What root makes in somebody else's folder is that owner's from before it has any content:
 *     otherwise one command by root would lock the owner out. Only what was certainly made just
 *     now is given away, and by its descriptor: whoever may write the folder could put another
 *     file of root's in its place. Where it cannot be given away it stays root's; that fails
 *     nothing.
 *
 * Names here begin with os_: posix_ is POSIX' own. */
#include "posix.h"

#ifndef _WIN32

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
    case EMFILE:
    case ENFILE: return AGT_SYS_FILES;
    default: break;
    }
#if ENOTSUP != EOPNOTSUPP
    if (e == ENOTSUP) return AGT_SYS_NOSYS;
#endif
    return AGT_SYS_IO;
}

/* The result for errno, or for a call that worked. */
AGT_PRIVATE int agt__os_error(int e) {
    return AGT_SYS_ERR(os_class(e), e);
}
AGT_PRIVATE int agt__os_result(int rc) {
    return rc < 0 ? agt__os_error(errno) : 0;
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

AGT_PRIVATE int agt__os_openat(int dir, const char *name, int flags, mode_t mode) {
    int fd;
    OS_RETRY(fd, openat(dir, name, flags | O_CLOEXEC | O_NOCTTY, mode));
    return os_above_streams(fd);
}

/* ---- whose it is: (7) ---- */

#define OS_MAKE_TRIES 16 /* against a name that comes and goes */

/* Does the open folder belong to somebody else than root, who asks? */
static bool os_is_foreign(int dir, struct stat *folder) {
    return geteuid() == 0 && fstat(dir, folder) == 0 && folder->st_uid != 0;
}

static int os_give(int fd, uid_t owner, gid_t group) {
    int rc;
    OS_RETRY(rc, fchown(fd, owner, group));
    return agt__os_result(rc);
}

/* Opens a file with O_CREAT. For root it is always known whether the call made it: a file that was
 * there keeps its owner. */
static int os_open_or_make(int dir, const char *name, int how, mode_t mode) {
    if (geteuid() != 0) return agt__os_openat(dir, name, how, mode);
    int fd = -1;
    for (int i = 0; i < OS_MAKE_TRIES; i++) {
        struct stat folder;
        if (!(how & O_EXCL)) fd = agt__os_openat(dir, name, how & ~O_CREAT, 0);
        if (!(how & O_EXCL) && (fd >= 0 || errno != ENOENT)) return fd;
        fd = agt__os_openat(dir, name, how | O_EXCL, mode);
        if (fd >= 0 && os_is_foreign(dir, &folder)) (void)os_give(fd, folder.st_uid, folder.st_gid);
        if (fd >= 0 || errno != EEXIST || (how & O_EXCL)) return fd;
    }
    return fd;
}

static int os_stop_at_first(void *ctx, const char *name) {
    (void)ctx;
    (void)name;
    return 1;
}

/* The folder `name` was made just now. It is looked at, because there is no call that makes and
 * opens a folder in one: root's, on the same device, and empty, so that nothing of root's is given
 * away with it whatever somebody has moved there. */
static void os_give_folder(int dir, const char *name) {
    struct stat folder, made;
    if (!os_is_foreign(dir, &folder)) return;
    int fd = agt__os_openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0) return;
    if (fstat(fd, &made) == 0 && made.st_uid == 0 && made.st_dev == folder.st_dev &&
        agt__os_list(NULL, fd, os_stop_at_first, NULL) == 0)
        (void)os_give(fd, folder.st_uid, folder.st_gid);
    (void)close(fd);
}

static agt_fd os_open_root(void *ctx, const char *path) {
    (void)ctx;
    int fd = agt__os_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? agt__os_error(errno) : fd;
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
    return agt__os_error(e);
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
    int fd = (how & O_CREAT) ? os_open_or_make((int)dir, name, how, (mode_t)mode)
                             : agt__os_openat((int)dir, name, how, 0);
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
    *out = agt__os_error(errno);
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
    if (offset > INT64_MAX - OS_CHUNK) return agt__os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pread((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? agt__os_error(errno) : rc;
}

static int64_t os_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - OS_CHUNK) return agt__os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pwrite((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? agt__os_error(errno) : rc;
}

static int os_sync(void *ctx, agt_fd fd) {
    (void)ctx;
    struct stat st;
    int rc = fstat((int)fd, &st);
    if (rc < 0) return agt__os_error(errno);
#ifdef F_FULLFSYNC
    OS_RETRY(rc, fcntl((int)fd, F_FULLFSYNC));
    if (rc >= 0) return 0;
    /* only where the file system has no such command does less count as a sync */
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) return agt__os_error(errno);
#endif
    if (S_ISDIR(st.st_mode)) {
        OS_RETRY(rc, fsync((int)fd));
        /* some file systems have no sync for folders: their names are as durable as they get */
        if (rc < 0 && errno == EINVAL) return 0;
        return agt__os_result(rc);
    }
#ifdef __APPLE__
    OS_RETRY(rc, fsync((int)fd));
#else
    OS_RETRY(rc, fdatasync((int)fd));
#endif
    return agt__os_result(rc);
}

static int os_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx;
    if (size > INT64_MAX) return agt__os_error(EFBIG);
    int rc;
    OS_RETRY(rc, ftruncate((int)fd, (off_t)size));
    return agt__os_result(rc);
}

static int os_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx;
    if (offset > INT64_MAX || n > INT64_MAX - offset) return agt__os_error(EFBIG);
#if defined(OS_LINUX) && defined(FALLOC_FL_KEEP_SIZE)
    int rc;
    OS_RETRY(rc, fallocate((int)fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n));
    return agt__os_result(rc);
#else
    (void)fd;
    return agt__os_error(ENOSYS);
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

static void os_fill(agt_stat *out, const struct stat *st) {
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->size = st->st_size > 0 ? (uint64_t)st->st_size : 0;
    out->mtime_ns = agt__os_ns(OS_MTIME(st));
    out->ctime_ns = agt__os_ns(OS_CTIME(st));
    out->mode = (uint32_t)st->st_mode & 07777u;
    out->owner = (uint32_t)st->st_uid;
    out->group = (uint32_t)st->st_gid;
    out->reserved = 0;
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
    if (rc < 0) return agt__os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    OS_RETRY(rc, fstat((int)fd, &st));
    if (rc < 0) return agt__os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, fchmod((int)fd, (mode_t)mode));
    return agt__os_result(rc);
}

static int os_set_owner(void *ctx, agt_fd fd, uint32_t owner, uint32_t group) {
    (void)ctx;
    return os_give((int)fd, (uid_t)owner, (gid_t)group);
}

/* Rename that replaces nothing, in two steps: a crash between them leaves both names, which the
 * caller's recovery sees as a file that was not moved yet. */
static int os_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    int rc;
    OS_RETRY(rc, linkat(from_dir, from, to_dir, to, 0));
    /* no hard links here, not of folders, or not of files of others */
    if (rc < 0 && (errno == EPERM || errno == EMLINK)) return agt__os_error(ENOSYS);
    if (rc < 0) return agt__os_error(errno);
    OS_RETRY(rc, unlinkat(from_dir, from, 0));
    if (rc == 0) return 0;
    rc = agt__os_error(errno);
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
        return agt__os_result(rc);
    }
#if defined(OS_LINUX) && defined(SYS_renameat2)
    unsigned how = flag == AGT_RENAME_EXCHANGE ? 2u : 1u;
    OS_RETRY(rc, (int)syscall(SYS_renameat2, (int)from_dir, from, (int)to_dir, to, how));
    /* EINVAL: this file system does not know the flag */
    if (rc == 0 || (errno != ENOSYS && errno != EINVAL)) return agt__os_result(rc);
#endif
    if (flag == AGT_RENAME_EXCHANGE) return agt__os_error(ENOSYS);
    return os_rename_new((int)from_dir, from, (int)to_dir, to);
}

static int os_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, linkat((int)from_dir, from, (int)to_dir, to, 0));
    return agt__os_result(rc);
}

static int os_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, 0));
    if (rc == 0 || errno != EPERM) return agt__os_result(rc);
    /* POSIX calls a folder here EPERM; Linux says EISDIR itself */
    struct stat st;
    int folder = fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    return agt__os_error(folder ? EISDIR : EPERM);
}

static int os_remove_folder(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, AT_REMOVEDIR));
    if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
    return agt__os_result(rc);
}

static int os_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, mkdirat((int)dir, name, (mode_t)mode));
    if (rc == 0) os_give_folder((int)dir, name);
    return agt__os_result(rc);
}

AGT_PRIVATE int agt__os_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                             void *each_ctx) {
    (void)ctx;
    /* a descriptor of its own: the position is shared between duplicates */
    int fd = agt__os_openat((int)dir, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return agt__os_error(errno);
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = agt__os_error(errno);
        (void)close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno == EINTR) continue;
        if (!e) {
            if (errno) rc = agt__os_error(errno);
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
    if (rc < 0) return agt__os_error(ENOSYS);
    OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_RDLCK));
    denied = rc < 0 ? errno : 0;
    if (rc == 0) OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_UNLCK));
    if (denied == EAGAIN) return 1;
    return denied ? agt__os_error(ENOSYS) : 0;
#else
    (void)fd;
    return agt__os_error(ENOSYS);
#endif
}

static int os_may_change(void *ctx, agt_fd dir) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, faccessat((int)dir, ".", W_OK | X_OK, AT_EACCESS));
    if (rc == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS) return agt__os_error(ENOSYS); /* no such flag here */
    return agt__os_error(errno);
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
    return agt__os_error(errno);
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

static int os_watch_wait(void *ctx, agt_fd watch, int64_t ns) {
    char events[1024];
    int64_t end = agt__os_mono_ns(ctx) + ns;
    struct pollfd p = {(int)watch, POLLIN, 0};
    for (;;) {
        int64_t left = end - agt__os_mono_ns(ctx), ms = left > 0 ? (left + 999999) / 1000000 : 0;
        int rc = poll(&p, 1, ms < INT_MAX ? (int)ms : INT_MAX);
        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0) return agt__os_error(errno);
        if (rc == 0) return 0;
        while (read((int)watch, events, sizeof events) > 0) {
        }
        return 1;
    }
}
#endif

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
    .list = agt__os_list,
    .has_writer = os_has_writer,
    .may_change = os_may_change,
    .lock = os_lock,
    .now_unix_ms = agt__os_now_unix_ms,
    .mono_ns = agt__os_mono_ns,
    .sleep_ns = agt__os_sleep_ns,
    .random = agt__os_random,
    .pid = agt__os_pid,
    .process = agt__os_process,
    .path_of = agt__os_path_of,
    .mutex_new = agt__os_mutex_new,
    .mutex_free = agt__os_mutex_free,
    .mutex_lock = agt__os_mutex_lock,
    .mutex_unlock = agt__os_mutex_unlock,
    .volume = agt__os_volume,
    .peer = agt__os_peer,
#ifdef OS_LINUX
    .watch = os_watch,
    .watch_wait = os_watch_wait,
#endif
    .set_owner = os_set_owner,
};

AGENT_TRACE_API const agt_sys *agt_sys_os(void) {
    return &os_sys;
}

#endif /* !_WIN32 */
