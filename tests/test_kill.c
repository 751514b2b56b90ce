/* Random deaths: some writers and a publisher, killed at any moment and started again. Nothing
 * acknowledged is lost or doubled, in the documents, in the trace and in git; nobody else fails. */
#include "test.h"

#define CRASH_FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#include "crash_check.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILL_WRITERS = 16, KILL_PROCESSES = KILL_WRITERS + 1, KILL_ACKS = 40000 }; /* at most */

/* What outlives its writer: memory that all share. `count` grows when the acks are complete. */
typedef struct kill_board {
    int stop;
    uint64_t done[KILL_PROCESSES]; /* what each finished, over all its lives */
    uint64_t published, publications, checkpoints, busy;
    uint32_t count[KILL_WRITERS];
    crash_ack acks[KILL_WRITERS][KILL_ACKS];
} kill_board;

typedef struct kill_run {
    const char *root;
    kill_board *board;
    int writers, processes; /* the last process is the publisher */
    pid_t pids[KILL_PROCESSES];
    uint32_t lives[KILL_PROCESSES];
    uint64_t at_birth[KILL_PROCESSES]; /* board->done then */
} kill_run;

static void kill_sleep_us(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static uint64_t kill_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static bool kill_stopped(kill_board *b) {
    return __atomic_load_n(&b->stop, __ATOMIC_ACQUIRE) != 0;
}

static void kill_progress(kill_board *b, int me) {
    __atomic_store_n(&b->done[me], b->done[me] + 1, __ATOMIC_RELEASE);
}

/* ---- a writer ---- */

static void kill_acknowledge(kill_board *b, int me, const crash_ack *a, uint32_t n) {
    uint32_t at = b->count[me];
    memcpy(&b->acks[me][at], a, n * sizeof a[0]);
    __atomic_store_n(&b->count[me], at + n, __ATOMIC_RELEASE);
}

static void kill_write_once(agt_store *s, kill_board *b, int me, uint32_t life, uint32_t n,
                            uint64_t *random) {
    char token[3][CRASH_NAME], path[3][CRASH_NAME];
    const char *tokens[3], *paths[3];
    crash_ack acks[3];
    uint64_t what = kill_random(random) % 10;
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(token[i], sizeof token[i], "w%d.%u.%u.%u", me, life, n, i);
        snprintf(path[i], sizeof path[i], "own%d/%u.md", me, i);
        tokens[i] = token[i];
        paths[i] = path[i];
    }
    if (what < 8) {
        acks[0] = crash_write(s, what < 5 ? "shared.md" : path[what % 3], token[0]);
        kill_acknowledge(b, me, acks, 1);
    } else {
        paths[0] = "shared.md";
        crash_changes(s, what == 8, 3, paths, tokens, acks);
        kill_acknowledge(b, me, acks, 3);
    }
}

static void kill_writer(kill_run *run, int me, uint64_t random) {
    kill_board *b = run->board;
    agt_store *s = crash_open(run->root);
    for (uint32_t n = 0; !kill_stopped(b); n++) {
        if (b->count[me] + 3 <= KILL_ACKS) kill_write_once(s, b, me, run->lives[me], n, &random);
        kill_progress(b, me);
        if (kill_random(&random) % 4 == 0) kill_sleep_us(kill_random(&random) % 2000);
    }
    agt_close(s, NULL);
}

/* ---- the publisher ---- */

static void kill_publisher(kill_run *run, uint64_t random) {
    agt_error err;
    kill_board *b = run->board;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_store *s = crash_open(run->root);
    while (!kill_stopped(b)) {
        uint64_t what = kill_random(&random) % 4;
        agt_status st = agt_store_get_info(s, &info, &err);
        if (st != AGT_OK) CRASH_FAIL("info: %s", err.message);
        uint64_t last = info.last_seq;
        st = what == 0   ? agt_checkpoint(s, &err)
             : what == 1 ? agt_store_idle(s, &err)
                         : agt_publish(s, &err);
        if (st == AGT_BUSY)
            b->busy++;
        else if (st != AGT_OK && st != AGT_UNSUPPORTED)
            CRASH_FAIL("publisher: %s: %s", agt_status_name(st), err.message);
        if (st == AGT_OK && what == 0) b->checkpoints++;
        if (st == AGT_OK && what >= 2) {
            b->publications++;
            __atomic_store_n(&b->published, last, __ATOMIC_RELEASE);
        }
        kill_progress(b, run->writers);
        kill_sleep_us(kill_random(&random) % 5000);
    }
    agt_close(s, NULL);
}

/* ---- the killer ---- */

static void kill_start(kill_run *run, int i) {
    uint64_t random = test_random();
    run->lives[i]++;
    run->at_birth[i] = run->board->done[i];
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) test_fail(__FILE__, __LINE__, "fork");
    if (pid == 0) {
        if (i < run->writers)
            kill_writer(run, i, random);
        else
            kill_publisher(run, random);
        _exit(0);
    }
    run->pids[i] = pid;
}

static void kill_everybody(kill_run *run) {
    for (int i = 0; i < run->processes; i++) {
        if (run->pids[i] <= 0) continue;
        kill(run->pids[i], SIGKILL);
        waitpid(run->pids[i], NULL, 0);
        run->pids[i] = 0;
    }
}

/* Most die after they did something in this life, some while they open the store. */
static void kill_wait(kill_run *run, int i) {
    uint64_t before = run->at_birth[i];
    if (test_random_below(4) != 0)
        for (int tries = 0; __atomic_load_n(&run->board->done[i], __ATOMIC_ACQUIRE) == before;) {
            if (waitpid(run->pids[i], NULL, WNOHANG) != 0) {
                run->pids[i] = 0;
                kill_everybody(run);
                test_fail(__FILE__, __LINE__, "process %d ended by itself", i);
            }
            if (tries++ == 60000) {
                kill_everybody(run);
                test_fail(__FILE__, __LINE__, "process %d does nothing", i);
            }
            kill_sleep_us(1000);
        }
    kill_sleep_us(test_random_below(20000));
}

static void kill_one(kill_run *run, int i) {
    int status;
    kill(run->pids[i], SIGKILL);
    waitpid(run->pids[i], &status, 0);
    run->pids[i] = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;
    kill_everybody(run);
    test_fail(__FILE__, __LINE__, "process %d ended by itself, status %d", i, status);
}

/* They end by themselves now, without an error, or something holds them for ever. */
static void kill_end(kill_run *run) {
    int status, bad = 0;
    __atomic_store_n(&run->board->stop, 1, __ATOMIC_RELEASE);
    for (int tries = 0, i = 0; i < run->processes; i++) {
        pid_t got;
        while ((got = waitpid(run->pids[i], &status, WNOHANG)) == 0 && tries++ < 6000)
            kill_sleep_us(10000);
        if (got == 0) {
            kill_everybody(run);
            test_fail(__FILE__, __LINE__, "process %d does not end", i);
        }
        run->pids[i] = 0;
        bad += status != 0;
    }
    CHECK_INT(bad, 0);
}

TEST(kill, random_deaths_of_writers_and_a_publisher_lose_and_double_nothing) {
    kill_run run = {.root = test_folder()};
    uint32_t kills = (uint32_t)test_count("TEST_KILLS", test_all() ? 1000 : 60), count = 0;
    run.writers = (int)test_count("TEST_WRITERS", 4);
    run.processes = run.writers + 1;
    CHECK(run.writers > 0 && run.writers <= KILL_WRITERS);
    run.board =
        mmap(NULL, sizeof *run.board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(run.board != MAP_FAILED);
    for (int i = 0; i < run.processes; i++)
        kill_start(&run, i);
    for (uint32_t n = 0; n < kills; n++) {
        int i = (int)test_random_below((uint64_t)run.processes);
        kill_wait(&run, i);
        kill_one(&run, i);
        kill_start(&run, i);
    }
    kill_end(&run);
    crash_ack *acks = malloc((size_t)run.writers * sizeof run.board->acks[0]);
    CHECK(acks);
    for (int i = 0; i < run.writers; i++) {
        CHECK(run.board->count[i] >= kills / 20);
        memcpy(acks + count, run.board->acks[i], run.board->count[i] * sizeof acks[0]);
        count += run.board->count[i];
    }
    size_t events = crash_check(run.root, acks, count, run.board->published);
    test_saw("kills", kills);
    test_saw("acknowledged changes", count);
    test_saw("events", events);
    test_saw("publications", run.board->publications);
    test_saw("checkpoints", run.board->checkpoints);
    test_saw("busy publications", run.board->busy);
    CHECK(events >= count + 2);             /* the two writes of the check */
    CHECK(events <= count + 2 + 3 * kills); /* who was killed may have had one more */
    CHECK(run.board->done[run.writers] >= kills / 20);
    free(acks);
    munmap(run.board, sizeof *run.board);
}
