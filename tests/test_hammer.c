/* Eight processes of two threads each write at full durability, to one document and to eight: every
 * write succeeds, at once and exactly once. */
#include "test.h"

#define CRASH_FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#include "crash_check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    HAMMER_PROCESSES = 8,
    HAMMER_THREADS = 2,
    HAMMER_WRITES = 100, /* each thread */
    HAMMER_ALL = HAMMER_PROCESSES * HAMMER_THREADS * HAMMER_WRITES
};

typedef struct hammer_board {
    int go;
    crash_ack acks[HAMMER_PROCESSES][HAMMER_THREADS][HAMMER_WRITES];
} hammer_board;

typedef struct hammer_thread {
    hammer_board *board;
    agt_store *store;
    int process, thread;
    bool many; /* a document for each process */
} hammer_thread;

static void *hammer_run(void *ctx) {
    hammer_thread *t = ctx;
    char path[CRASH_NAME], token[CRASH_NAME];
    snprintf(path, sizeof path, t->many ? "many/%d.md" : "one.md", t->process);
    for (int i = 0; i < HAMMER_WRITES; i++) {
        snprintf(token, sizeof token, "h%d.%d.%d", t->process, t->thread, i);
        t->board->acks[t->process][t->thread][i] = crash_write(t->store, path, token);
    }
    return NULL;
}

static void hammer_process(hammer_board *b, const char *root, int process, bool many) {
    pthread_t threads[HAMMER_THREADS];
    hammer_thread t[HAMMER_THREADS];
    agt_store *s = crash_open(root);
    while (!__atomic_load_n(&b->go, __ATOMIC_ACQUIRE))
        usleep(500);
    for (int i = 0; i < HAMMER_THREADS; i++) {
        t[i] = (hammer_thread){b, s, process, i, many};
        if (pthread_create(&threads[i], NULL, hammer_run, &t[i]) != 0) CRASH_FAIL("no thread");
    }
    for (int i = 0; i < HAMMER_THREADS; i++)
        pthread_join(threads[i], NULL);
    agt_close(s, NULL);
}

static void hammer(bool many) {
    const char *root = test_folder();
    struct timespec from, to;
    pid_t pids[HAMMER_PROCESSES];
    int bad = 0, status;
    hammer_board *b =
        mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(b != MAP_FAILED);
    fflush(stdout);
    for (int i = 0; i < HAMMER_PROCESSES; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            hammer_process(b, root, i, many);
            _exit(0);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    __atomic_store_n(&b->go, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < HAMMER_PROCESSES; i++) {
        waitpid(pids[i], &status, 0);
        bad += status != 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    CHECK_INT(bad, 0);
    test_saw("writes", HAMMER_ALL);
    test_saw("milliseconds for them",
             (uint64_t)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000));
    CHECK_INT(crash_check(root, &b->acks[0][0][0], HAMMER_ALL, 0), HAMMER_ALL + 2);
    munmap(b, sizeof *b);
}

TEST(hammer, eight_processes_of_two_threads_write_one_document_and_none_fails) {
    hammer(false);
}

TEST(hammer, eight_processes_of_two_threads_write_eight_documents_and_none_fails) {
    hammer(true);
}
