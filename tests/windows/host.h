/* What the tests use of POSIX, for Windows; included before anything else in each of them
 * (build.d/windows.sh). What Windows has under another name is translated. What it has not, as a
 * fork, ends the test as skipped, and says why; so the same files are compiled everywhere. */
#ifndef AGT_TEST_HOST_H
#define AGT_TEST_HOST_H

#ifndef __USE_MINGW_ANSI_STDIO
#define __USE_MINGW_ANSI_STDIO 1
#endif

#include <direct.h>
#include <fcntl.h>
#include <io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void test_skip(const char *format, ...) __attribute__((noreturn));

/* ---- files ---- */

#define mkdir(path, mode) (mkdir)(path)
#define lstat(path, st)   stat(path, st)
#define O_NOFOLLOW        0
#define O_CLOEXEC         O_NOINHERIT
#define O_DIRECTORY       0

static inline char *host_mkdtemp(char *path) {
    static unsigned turn;
    size_t n = strlen(path);
    for (int i = 0; i < 1000; i++) {
        snprintf(path + n - 6, 7, "%06x",
                 ((unsigned)time(NULL) * 2654435761u + (unsigned)getpid() + turn++) & 0xffffffu);
        if ((mkdir)(path) == 0) return path;
    }
    return NULL;
}
#define mkdtemp(path) host_mkdtemp(path)

static inline int host_setenv(const char *name, const char *value) {
    return _putenv_s(name, value);
}
#define setenv(name, value, always) host_setenv(name, value)
#define unsetenv(name)              host_setenv(name, "")

#define tell host_tell /* io.h's, which no test means */
static inline char *host_realpath(const char *path, char *out) {
    char *full = _fullpath(out, path, out ? 260 : 0);
    for (char *p = full; p && *p; p++)
        if (*p == '\\') *p = '/';
    return full;
}
#define realpath(path, out) host_realpath(path, out)

static inline void *memmem(const void *in, size_t n, const void *what, size_t len) {
    const char *p = in;
    for (size_t i = 0; i + len <= n; i++)
        if (memcmp(p + i, what, len) == 0) return (void *)(uintptr_t)(p + i);
    return NULL;
}

/* ---- what there is not ---- */

/* GetComputerNameExA, without the header that has so many names */
int host_computer_name(int kind, char *out, unsigned long *size) __asm__("GetComputerNameExA");
static inline int host_name(char *out, size_t size) {
    unsigned long n = (unsigned long)size;
    return host_computer_name(1 /* the one DNS knows */, out, &n) ? 0 : -1;
}
#define gethostname(out, size) host_name(out, size)

#define HOST_SKIP(what) test_skip("Windows has no %s", what)

static inline int symlink(const char *to, const char *path) {
    (void)to, (void)path;
    HOST_SKIP("symbolic links for everybody");
}
static inline int link(const char *from, const char *to) {
    (void)from, (void)to;
    HOST_SKIP("link(2)");
}
static inline int mkfifo(const char *path, int mode) {
    (void)path, (void)mode;
    HOST_SKIP("FIFOs in folders");
}
static inline pid_t host_fork(void) {
    HOST_SKIP("fork");
}
#define fork() host_fork()
static inline int fcntl(int fd, int what, ...) {
    (void)fd, (void)what;
    HOST_SKIP("fcntl");
}
#define F_GETFD    1
#define F_SETFD    2
#define FD_CLOEXEC 1
static inline int pipe(int fds[2]) {
    (void)fds;
    HOST_SKIP("fork, and so no use for a pipe");
}
#define pipe2(fds, flags) pipe(fds)
#define SIGKILL           9
#define SIGSTOP           19
#define SIGCONT           18
#define WNOHANG           1
static inline int kill(pid_t pid, int sig) {
    (void)pid, (void)sig;
    HOST_SKIP("signals");
}
struct sigaction {
    void (*sa_handler)(int);
    int sa_flags, sa_mask;
};
static inline int sigaction(int sig, const struct sigaction *to, struct sigaction *was) {
    (void)to, (void)was;
    return kill(0, sig);
}
#define SIGALRM     14
#define ITIMER_REAL 0
struct itimerval {
    struct timeval it_interval, it_value;
};
static inline int setitimer(int which, const struct itimerval *to, struct itimerval *was) {
    (void)to, (void)was;
    return kill(0, which);
}
static inline unsigned alarm(unsigned seconds) {
    (void)seconds;
    return 0; /* only ever a limit for a child */
}
#define setresuid(real, effective, saved) ((int)getuid())
static inline unsigned umask_none(unsigned mode) {
    (void)mode;
    HOST_SKIP("permission bits");
}
#define umask(mode) umask_none(mode)
static inline unsigned getuid(void) {
    HOST_SKIP("user ids");
}
#define geteuid()         getuid()
#define chown(path, u, g) ((int)getuid())
static inline FILE *host_shell(void) {
    HOST_SKIP("shell that the command is for");
}
#undef popen
#define popen(command, how) host_shell()
static inline FILE *open_memstream(char **text, size_t *len) {
    (void)text, (void)len;
    HOST_SKIP("streams into memory");
}

#endif /* AGT_TEST_HOST_H */
