/* Runs the registered tests; the usage is below. Ends with "N passed, N failed, N skipped" on a
 * line of its own; exit 1 if any failed or none ran. */
#include "test.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: tests [--list] [--filter TEXT] [--skip TOPIC|TOPIC_NAME]... [--seed N] [--jobs N] "
    "[--all]\n"
    "             [--quick] [--first] [-v]\n"
    "\n"
    "--filter takes tests with TEXT in their names, or at the beginning of it with ^TEXT. "
    "--jobs runs so many tests at a time, each in one of so many processes. --first ends with the "
    "first failure. --all makes the sweeps longer, --quick looks at a quarter of their points, "
    "another one each time; -v tells what they saw. "
    "Their lengths, from the environment:\n"
    "  TEST_KILLS       processes that are killed (60, with --all 1000)\n"
    "  TEST_WRITERS     that are written by so many at once (4; at most 16)\n"
    "  TEST_ROTS        bytes that rot before a repair (300, with --all 3000)\n"
    "  TEST_CUTS        power cuts at each change of the disk (8, with --all 40)\n"
    "  TEST_RECOVERIES  recoveries that are cut at every few changes (60, with --all 400)\n"
    "  TEST_DEATHS      processes that die in a row, at every change of each (2)\n"
    "  TEST_PERSONS     interleavings of a person and agents (1000, with --all 5000)\n"
    "  TEST_ROUNDS      deaths and stops of contenders for the poll lock (500, with --all 2000)\n"
    "  TEST_WRITES      writes of each hammering thread (100)\n"
    "  TEST_TAKES       of the lock by four processes, where there is no fork (5000)\n"
    "  TEST_IGNORES     lists of patterns that are compared with git (400)\n";

static test_case *all_tests, **tail = &all_tests;
static jmp_buf escape;
static char fail_text[2048], skip_text[512], folder[256];
static char *folders[256];
static int folder_count, verbose, run_all, run_quick;
static uint64_t seed, state;
static pid_t owner;

/* What the processes of --jobs share. */
typedef struct test_board {
    unsigned next; /* the next test to run */
    int passed, failed, skipped;
} test_board;
static test_board *board;

void test_register(test_case *t) {
    *tail = t;
    tail = &t->next;
}

void test_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    int n = snprintf(fail_text, sizeof fail_text, "%s:%d: ", file, line);
    va_start(args, format);
    vsnprintf(fail_text + n, sizeof fail_text - (size_t)n, format, args);
    va_end(args);
    if (getpid() != owner) { /* a forked child reports by its exit code */
        fprintf(stderr, "    child: %s\n", fail_text);
        _exit(99);
    }
    longjmp(escape, 1);
}

void test_skip(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(skip_text, sizeof skip_text, format, args);
    va_end(args);
    longjmp(escape, 2);
}

void test_saw(const char *what, uint64_t n) {
    if (verbose) printf("    saw %" PRIu64 " %s\n", n, what);
}

uint64_t test_random(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
uint64_t test_random_below(uint64_t n) {
    return n ? test_random() % n : 0;
}
int test_all(void) {
    return run_all;
}
uint64_t test_some(uint64_t n) {
    return !run_quick ? n : n < 8 ? 1 : n / 4;
}
uint64_t test_step(uint64_t step) {
    return run_quick ? 1 + test_random_below(8 * step - 1) : step;
}
uint64_t test_count(const char *name, uint64_t usual) {
    const char *env = getenv(name);
    return env && *env ? strtoull(env, NULL, 10) : usual;
}

static void remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) {
        chmod(path, 0700);
        DIR *d = opendir(path);
        for (struct dirent *e; d && (e = readdir(d));) {
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
            size_t n = strlen(path) + strlen(e->d_name) + 2;
            char *sub = malloc(n);
            snprintf(sub, n, "%s/%s", path, e->d_name);
            remove_tree(sub);
            free(sub);
        }
        if (d) closedir(d);
        rmdir(path);
    } else {
#ifdef _WIN32
        chmod(path, 0600); /* what is read-only cannot be deleted there */
#endif
        unlink(path);
    }
}

const char *test_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/agt-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) test_fail(__FILE__, __LINE__, "mkdtemp %s", folder);
    if (folder_count == 256) test_fail(__FILE__, __LINE__, "too many folders in one test");
    return folders[folder_count++] = strdup(folder);
}

const char *test_data(void) {
    static const char *places[] = {"../shared/data", "../../shared/data"};
    const char *env = getenv("AGENT_TRACE_TEST_DATA");
    struct stat st;
    if (env) return stat(env, &st) == 0 ? env : NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (stat(places[i], &st) == 0) return places[i];
    return NULL;
}

unsigned char *test_read_file(const char *path, size_t *len) {
    FILE *f = fopen(path, "rb");
    if (!f) test_fail(__FILE__, __LINE__, "cannot open %s", path);
    size_t cap = 65536, n = 0, got;
    unsigned char *data = malloc(cap + 1);
    while ((got = fread(data + n, 1, cap - n, f)) > 0)
        if ((n += got) == cap) data = realloc(data, (cap *= 2) + 1);
    fclose(f);
    data[n] = 0;
    if (len) *len = n;
    return data;
}

void test_write_file(const char *path, const void *data, size_t len) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        test_fail(__FILE__, __LINE__, "cannot write %s", path);
}

static void run_one(test_case *t) {
    struct timespec a, b;
    state = seed;
    clock_gettime(CLOCK_MONOTONIC, &a);
    int jumped = setjmp(escape);
    if (!jumped) t->run();
    clock_gettime(CLOCK_MONOTONIC, &b);
    while (folder_count) {
        remove_tree(folders[--folder_count]);
        free(folders[folder_count]);
    }
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    if (jumped == 1) {
        __atomic_add_fetch(&board->failed, 1, __ATOMIC_RELAXED);
        printf("FAILED  %s: %s (--seed %" PRIu64 ")\n    %s\n", t->topic, t->name, seed, fail_text);
    } else if (jumped == 2) {
        __atomic_add_fetch(&board->skipped, 1, __ATOMIC_RELAXED);
        printf("SKIPPED %s: %s: %s\n", t->topic, t->name, skip_text);
    } else {
        __atomic_add_fetch(&board->passed, 1, __ATOMIC_RELAXED);
        if (verbose) printf("ok      %s: %s (%.0f ms)\n", t->topic, t->name, ms);
    }
    fflush(stdout);
}

/* Runs tests as long as nobody else took them. */
static void run_some(test_case **tests, unsigned count, int first) {
    owner = getpid();
    for (;;) {
        unsigned i = __atomic_fetch_add(&board->next, 1, __ATOMIC_RELAXED);
        if (i >= count || (first && __atomic_load_n(&board->failed, __ATOMIC_RELAXED))) return;
        run_one(tests[count - 1 - i]); /* what waits longest has its name late in the alphabet */
    }
}

#ifdef _WIN32
static test_board *new_board(void) {
    return calloc(1, sizeof(test_board));
}

/* Without a fork: one after the other. */
static void run_apart(test_case **tests, unsigned count, int first, int jobs) {
    (void)jobs;
    run_some(tests, count, first);
}
#else
static test_board *new_board(void) {
    void *shared =
        mmap(NULL, sizeof(test_board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? NULL : shared;
}

static void run_apart(test_case **tests, unsigned count, int first, int jobs) {
    int status;
    for (int i = 0; i < jobs; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            run_some(tests, count, first);
            exit(0);
        }
        if (pid < 0) board->failed++, perror("fork");
    }
    while (wait(&status) > 0) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
        board->failed++;
        if (WIFSIGNALED(status))
            printf("FAILED  a process of the tests died of signal %d\n", WTERMSIG(status));
        else
            printf("FAILED  a process of the tests ended with %d\n", WEXITSTATUS(status));
    }
}
#endif

int main(int argc, char **argv) {
    const char *filter = NULL, *skip[128];
    int first = 0, list = 0, skips = 0, jobs = 1;
    unsigned count = 0, cap = 0;
    test_case **tests = NULL;
#ifdef _WIN32
    _fmode = _O_BINARY;
    _setmode(1, _O_BINARY);
#endif
    owner = getpid();
    seed = (uint64_t)time(NULL) ^ (uint64_t)owner << 20;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list"))
            list = 1;
        else if (!strcmp(argv[i], "--all"))
            run_all = 1;
        else if (!strcmp(argv[i], "--quick"))
            run_quick = 1;
        else if (!strcmp(argv[i], "--first"))
            first = 1;
        else if (!strcmp(argv[i], "-v"))
            verbose = 1;
        else if (!strcmp(argv[i], "--filter") && i + 1 < argc)
            filter = argv[++i];
        else if (!strcmp(argv[i], "--skip") && i + 1 < argc && skips < 128)
            skip[skips++] = argv[++i];
        else if (!strcmp(argv[i], "--jobs") && i + 1 < argc)
            jobs = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            return fputs(usage, stderr), 2;
    }
    for (test_case *t = all_tests; t; t = t->next) {
        char whole[512];
        snprintf(whole, sizeof whole, "%s_%s", t->topic, t->name);
        const char *found = !filter ? whole : strstr(whole, filter + (filter[0] == '^'));
        bool left_out = !found || (filter && filter[0] == '^' && found != whole);
        for (int i = 0; i < skips; i++)
            left_out = left_out || !strcmp(skip[i], t->topic) || !strcmp(skip[i], whole);
        if (left_out) continue;
        if (list) printf("%s: %s\n", t->topic, t->name);
        if (count == cap) tests = realloc(tests, (cap = cap ? cap * 2 : 256) * sizeof *tests);
        tests[count++] = t;
    }
    if (list) return 0;
    board = new_board();
    if (!board) return perror("mmap"), 1;
    if (jobs > 1)
        run_apart(tests, count, first, jobs);
    else
        run_some(tests, count, first);
    free(tests);
    printf("%d passed, %d failed, %d skipped\n", board->passed, board->failed, board->skipped);
    return board->failed || !board->passed;
}
