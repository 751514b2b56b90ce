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

enum { HAMMER_PROCESSES = 8, HAMMER_THREADS = 2 };

typedef struct hammer_board {
    int go;
    uint64_t writes;  /* of each thread */
    crash_ack acks[]; /* in the order of processes, threads and writes */
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
    uint64_t first = (uint64_t)(t->process * HAMMER_THREADS + t->thread) * t->board->writes;
    snprintf(path, sizeof path, t->many ? "many/%d.md" : "one.md", t->process);
    for (uint64_t i = 0; i < t->board->writes; i++) {
        snprintf(token, sizeof token, "h%d.%d.%" PRIu64, t->process, t->thread, i);
        t->board->acks[first + i] = crash_write(t->store, path, token);
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
    uint64_t writes = test_count("TEST_WRITES", 100),
             all = HAMMER_PROCESSES * HAMMER_THREADS * writes;
    size_t size = sizeof(hammer_board) + all * sizeof(crash_ack);
    hammer_board *b = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(b != MAP_FAILED);
    b->writes = writes;
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
    test_saw("writes", all);
    test_saw("milliseconds for them",
             (uint64_t)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000));
    CHECK_INT(crash_check(root, b->acks, all, 0), all + 2);
    munmap(b, size);
}

TEST(hammer, eight_processes_of_two_threads_write_one_document_and_none_fails) {
    hammer(false);
}

TEST(hammer, eight_processes_of_two_threads_write_eight_documents_and_none_fails) {
    hammer(true);
}
