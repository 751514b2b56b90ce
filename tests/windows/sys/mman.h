/* Memory that processes share is for those that fork (host.h). */
#ifndef AGT_TEST_MMAN_H
#define AGT_TEST_MMAN_H
#define PROT_READ     1
#define PROT_WRITE    2
#define MAP_SHARED    1
#define MAP_ANONYMOUS 2
#define MAP_FAILED    ((void *)-1)
static inline void *mmap(void *at, size_t n, int prot, int flags, int fd, long offset) {
    (void)at, (void)n, (void)prot, (void)flags, (void)fd, (void)offset;
    HOST_SKIP("memory shared by a fork");
}
static inline int munmap(void *at, size_t n) {
    (void)at, (void)n;
    return 0;
}
#endif
