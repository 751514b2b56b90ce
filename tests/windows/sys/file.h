/* flock is the library's LockFileEx here, and nobody else's (host.h). */
#ifndef AGT_TEST_FILE_H
#define AGT_TEST_FILE_H
#define LOCK_SH 1
#define LOCK_EX 2
#define LOCK_NB 4
#define LOCK_UN 8
static inline int flock(int fd, int how) {
    (void)fd, (void)how;
    HOST_SKIP("flock(2)");
}
#endif
