/* posix_process: what an agt_sys for POSIX tells that is not about files: time, chance, processes,
 * where a folder is and on what, and mutexes. posix.c has the rest, and the rules.
 *
 * (1) A process is only said to have ended where nothing of it can act any more. */
#include "posix.h"

#ifndef _WIN32

/* ---- time, chance, identity ---- */

AGT_PRIVATE int64_t agt__os_ns(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

AGT_PRIVATE int64_t agt__os_now_unix_ms(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

AGT_PRIVATE int64_t agt__os_mono_ns(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return agt__os_ns(t);
}

AGT_PRIVATE void agt__os_sleep_ns(void *ctx, int64_t ns) {
    (void)ctx;
    if (ns <= 0) return;
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

AGT_PRIVATE int agt__os_random(void *ctx, void *buf, size_t n) {
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
    int fd = agt__os_openat(AT_FDCWD, "/dev/urandom", O_RDONLY, 0);
    if (fd < 0) return agt__os_error(errno);
    int result = 0;
    while (n && result == 0) {
        ssize_t rc;
        OS_RETRY(rc, read(fd, p, n < 256 ? n : 256));
        if (rc <= 0) {
            result = agt__os_error(rc < 0 ? errno : EIO);
            break;
        }
        p += rc;
        n -= (size_t)rc;
    }
    (void)close(fd);
    return result;
}

AGT_PRIVATE int64_t agt__os_pid(void *ctx) {
    (void)ctx;
    return (int64_t)getpid();
}

#ifdef OS_LINUX
/* Reads the beginning of a file; text is terminated and its newline cut. The count, or -1. */
static ssize_t os_slurp(const char *path, char *out, size_t size) {
    out[0] = 0;
    int fd = agt__os_openat(AT_FDCWD, path, O_RDONLY, 0);
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

/* Of this process, as others see it: an emulator answers what is asked of /proc/self and of its own
 * id by itself, and differently, but not of its tasks. False also where /proc shows other ids. */
static bool os_read_own_stat(os_stat_line *out) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/task/%ld/stat", (long)getpid());
    return os_read_stat(path, out) && out->pid == (uint64_t)getpid();
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

AGT_PRIVATE int agt__os_process(void *ctx, agt_process *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    out->pid = (int64_t)getpid();
    if (gethostname(out->host, sizeof out->host) != 0) out->host[0] = 0;
    out->host[sizeof out->host - 1] = 0;
#ifdef OS_LINUX
    os_stat_line line;
    if (os_read_own_stat(&line)) out->start = line.start;
    (void)os_slurp("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    (void)os_slurp("/proc/self/comm", out->program, sizeof out->program);
    (void)os_read_link("/proc/self/ns/pid", out->pid_space, sizeof out->pid_space);
    (void)os_read_link("/proc/self/ns/time", out->time_space, sizeof out->time_space);
#endif
    return 0;
}

#ifdef OS_LINUX
/* A process whose first thread ended is called a zombie though others may work on in it (1). */
static void os_peer_state(const os_stat_line *line, agt_peer *out) {
    bool over = line->state == 'X' || line->state == 'x' || line->state == 'Z';
    bool works = line->state == 'Z' && line->threads > 1;
    out->state = over && !works ? AGT_PEER_ENDED : AGT_PEER_RUNS;
    out->start = line->start;
    long ticks = sysconf(_SC_CLK_TCK);
    out->per_second = ticks > 0 ? (uint32_t)ticks : 100;
}
#endif

AGT_PRIVATE int agt__os_peer(void *ctx, int64_t pid, agt_peer *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    if (pid <= 0 || pid > INT32_MAX) return AGT_SYS_ERR(AGT_SYS_NAME, EINVAL);
#ifdef OS_LINUX
    char path[48];
    os_stat_line line;
    /* /proc may be missing, or show the ids of another name space than ours */
    if (!os_read_own_stat(&line)) return agt__os_error(ENOSYS);
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
    if (fstat(fd, &a) != 0 || stat(path, &b) != 0) return agt__os_error(errno);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : agt__os_error(ENOENT);
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
    if ((size_t)(c->at - c->start) < n + 1) return agt__os_error(ENAMETOOLONG);
    c->at -= n + 1;
    c->at[0] = '/';
    memcpy(c->at + 1, name, n);
    return 1;
}

/* One step: 1 when *fd is the topmost folder, else *fd becomes the one above. */
static int os_climb_step(os_climb *c, int *fd) {
    struct stat above;
    c->above = agt__os_openat(*fd, "..", O_RDONLY | O_DIRECTORY, 0);
    if (c->above < 0) return errno == EACCES ? agt__os_error(ENOSYS) : agt__os_error(errno);
    int rc = fstat(*fd, &c->below) || fstat(c->above, &above) ? agt__os_error(errno) : 0;
    bool topmost = rc == 0 && above.st_dev == c->below.st_dev && above.st_ino == c->below.st_ino;
    if (rc == 0 && !topmost) {
        rc = agt__os_list(NULL, c->above, os_climb_each, c);
        if (rc >= 0) rc = rc == 1 ? 0 : agt__os_error(ENOENT);
    }
    (void)close(*fd);
    *fd = c->above;
    return topmost ? 1 : rc;
}

static int os_climb_up(int dir, char *out, size_t size) {
    os_climb c = {.start = out, .at = out + size - 1};
    int fd = agt__os_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0), rc = 0;
    if (fd < 0) return agt__os_error(errno);
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

AGT_PRIVATE int agt__os_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)ctx;
#if defined(OS_LINUX)
    char link[48];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", (int)dir);
    ssize_t n;
    OS_RETRY(n, readlink(link, out, size));
    if (n < 0) return agt__os_error(ENOSYS); /* no /proc here */
    if ((size_t)n >= size) return agt__os_error(ENAMETOOLONG);
    out[n] = 0;
    return os_check_path((int)dir, out);
#elif defined(F_GETPATH)
    char path[PATH_MAX];
    int rc;
    OS_RETRY(rc, fcntl((int)dir, F_GETPATH, path));
    if (rc < 0) return agt__os_error(errno);
    if (!agt__copy_text(out, size, path, strlen(path))) return agt__os_error(ENAMETOOLONG);
    return os_check_path((int)dir, out);
#else
    return size ? os_climb_up((int)dir, out, size) : agt__os_error(ENAMETOOLONG);
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

AGT_PRIVATE int agt__os_volume(void *ctx, agt_fd dir, agt_volume *out) {
    (void)ctx;
    static const agt_volume unknown = AGT_VOLUME_INIT;
    struct statvfs fs;
    int rc;
    *out = unknown;
    OS_RETRY(rc, fstatvfs((int)dir, &fs));
    if (rc < 0) return agt__os_error(errno);
    uint64_t block = fs.f_frsize ? (uint64_t)fs.f_frsize : (uint64_t)fs.f_bsize;
    uint64_t blocks = (uint64_t)fs.f_bavail;
    if (fs.f_blocks && block && blocks < UINT64_MAX / block) out->free_bytes = blocks * block;
    out->read_only = (fs.f_flag & ST_RDONLY) != 0;
    os_volume_kind((int)dir, out);
    return 0;
}

/* ---- mutexes ---- */

AGT_PRIVATE void *agt__os_mutex_new(void *ctx) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    pthread_mutex_t *m = agt__alloc(&mem, sizeof *m);
    if (m && pthread_mutex_init(m, NULL) != 0) {
        agt__free(&mem, m, sizeof *m);
        m = NULL;
    }
    return m;
}

AGT_PRIVATE void agt__os_mutex_free(void *ctx, void *mutex) {
    (void)ctx;
    if (!mutex) return;
    agt_mem mem = agt__mem(NULL);
    (void)pthread_mutex_destroy(mutex);
    agt__free(&mem, mutex, sizeof(pthread_mutex_t));
}

AGT_PRIVATE void agt__os_mutex_lock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_lock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

AGT_PRIVATE void agt__os_mutex_unlock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_unlock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

#endif /* !_WIN32 */
