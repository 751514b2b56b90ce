/* Limits of a process are set in a fork's child (host.h). */
#ifndef AGT_TEST_RESOURCE_H
#define AGT_TEST_RESOURCE_H
struct rlimit {
    unsigned long long rlim_cur, rlim_max;
};
#define RLIMIT_NOFILE 0
#define RLIMIT_FSIZE  1
static inline int setrlimit(int what, const struct rlimit *limit) {
    (void)what, (void)limit;
    HOST_SKIP("limits of a process");
}
static inline int getrlimit(int what, struct rlimit *limit) {
    (void)limit;
    return setrlimit(what, limit);
}
#endif
