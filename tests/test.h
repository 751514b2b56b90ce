/* The test kit: self-registering tests whose names are sentences, checks that print both values,
 * temporary folders, seeds that are printed.
 *
 *     TEST(lock, a_second_try_is_refused_while_the_first_is_held) { CHECK(1 + 1 == 2); }
 *
 * Each tests/test_<topic>.c is compiled into one program, linked once with the parts
 * (src/agent_trace.c) and once with the shipped file (agent_trace.c), AGT_PRIVATE set to extern so
 * that internals can be tested. A failed CHECK ends the test. */
#ifndef AGT_TEST_H
#define AGT_TEST_H

#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#include "../agent_trace.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *topic, *name, *file;
    void (*run)(void);
    struct test_case *next;
} test_case;

void test_register(test_case *t);
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Also counts what a data-driven test saw; printed with -v. */
void test_saw(const char *what, uint64_t n);
/* A fresh folder, removed after the test; the path lives until then. */
const char *test_folder(void);
/* Random numbers from the run's seed, which is printed when a test fails (--seed N repeats it). */
uint64_t test_random(void);
uint64_t test_random_below(uint64_t n);
/* The folder of shared test data (../shared/data or AGENT_TRACE_TEST_DATA), or NULL. */
const char *test_data(void);
/* 1 with --all: longer sweeps. */
int test_all(void);
/* n, or with --quick a quarter of it, at least 1: rounds, and what they must have seen. */
uint64_t test_some(uint64_t n);
/* The step to a sweep's next point: `step`, or with --quick about four times it, by chance. */
uint64_t test_step(uint64_t step);
/* How long a sweep is: `usual`, unless the environment says NAME=N. The names are in main.c's
 * usage. */
uint64_t test_count(const char *name, uint64_t usual);
/* Reads a whole file; fails the test if it cannot. free() it. A NUL follows. */
unsigned char *test_read_file(const char *path, size_t *len);
void test_write_file(const char *path, const void *data, size_t len);

#define TEST(topic_, name_)                                                                        \
    static void test_##topic_##_##name_(void);                                                     \
    __attribute__((constructor)) static void reg_##topic_##_##name_(void) {                        \
        static test_case t = {#topic_, #name_, __FILE__, test_##topic_##_##name_, 0};              \
        test_register(&t);                                                                         \
    }                                                                                              \
    static void test_##topic_##_##name_(void)

#define CHECK(c)                                                                                   \
    do {                                                                                           \
        if (!(c)) test_fail(__FILE__, __LINE__, "%s", #c);                                         \
    } while (0)
#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        int64_t g_ = (int64_t)(got), w_ = (int64_t)(want);                                         \
        if (g_ != w_)                                                                              \
            test_fail(__FILE__, __LINE__, "%s is %" PRId64 ", wanted %s = %" PRId64, #got, g_,     \
                      #want, w_);                                                                  \
    } while (0)
#define CHECK_STR(got, want)                                                                       \
    do {                                                                                           \
        const char *g_ = (got), *w_ = (want);                                                      \
        if (!g_ || strcmp(g_, w_) != 0)                                                            \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", wanted \"%s\"", #got, g_ ? g_ : "(null)", \
                      w_);                                                                         \
    } while (0)
#define CHECK_BYTES(got, got_len, want, want_len)                                                  \
    do {                                                                                           \
        size_t gl_ = (got_len), wl_ = (want_len);                                                  \
        if (gl_ != wl_ || (gl_ && memcmp((got), (want), gl_) != 0))                                \
            test_fail(__FILE__, __LINE__, "%s: %zu bytes differ from the %zu wanted", #got, gl_,   \
                      wl_);                                                                        \
    } while (0)
/* A status of ours, with the error's message when it is another. */
#define CHECK_STATUS(call, want, err)                                                              \
    do {                                                                                           \
        agt_status g_ = (call), w_ = (want);                                                       \
        if (g_ != w_)                                                                              \
            test_fail(__FILE__, __LINE__, "%s is %s, wanted %s: %s", #call, agt_status_name(g_),   \
                      agt_status_name(w_), g_ == AGT_OK ? "" : (err).message);                     \
    } while (0)
/* It succeeds, and says nothing. */
#define CHECK_OK(call, err)                                                                        \
    do {                                                                                           \
        (err).status = AGT_END;                                                                    \
        CHECK_STATUS(call, AGT_OK, err);                                                           \
        CHECK_INT((err).status, AGT_END);                                                          \
    } while (0)

#endif /* AGT_TEST_H */
