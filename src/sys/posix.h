/* What the parts of sys for POSIX share: the system's headers, which nothing else of the library
 * includes, and its calls' answers in our words. posix.c says how they are used. */
#ifndef AGT_POSIX_H
#define AGT_POSIX_H
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

/* An errno as a result. */
AGT_PRIVATE int agt__os_error(int e);
/* The result of a call that answers -1 and sets errno, or 0 or more. */
AGT_PRIVATE int agt__os_result(int rc);
AGT_PRIVATE int64_t agt__os_ns(struct timespec t);
/* openat that is closed on exec, retried, and never 0, 1 or 2. */
AGT_PRIVATE int agt__os_openat(int dir, const char *name, int flags, mode_t mode);
AGT_PRIVATE int agt__os_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                             void *each_ctx);

/* ---- posix_process.c: members of agt_sys ---- */

AGT_PRIVATE int64_t agt__os_now_unix_ms(void *ctx);
AGT_PRIVATE int64_t agt__os_mono_ns(void *ctx);
AGT_PRIVATE void agt__os_sleep_ns(void *ctx, int64_t ns);
AGT_PRIVATE int agt__os_random(void *ctx, void *buf, size_t n);
AGT_PRIVATE int64_t agt__os_pid(void *ctx);
AGT_PRIVATE int agt__os_process(void *ctx, agt_process *out);
AGT_PRIVATE int agt__os_peer(void *ctx, int64_t pid, agt_peer *out);
AGT_PRIVATE int agt__os_path_of(void *ctx, agt_fd dir, char *out, size_t size);
AGT_PRIVATE int agt__os_volume(void *ctx, agt_fd dir, agt_volume *out);
AGT_PRIVATE void *agt__os_mutex_new(void *ctx);
AGT_PRIVATE void agt__os_mutex_free(void *ctx, void *mutex);
AGT_PRIVATE void agt__os_mutex_lock(void *ctx, void *mutex);
AGT_PRIVATE void agt__os_mutex_unlock(void *ctx, void *mutex);

#endif /* !_WIN32 */
#endif /* AGT_POSIX_H */
