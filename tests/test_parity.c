/* What agent-trace 0.1.0 was measured at and got wrong, and that nothing else here shows as it was
 * shown there: a write that costs more with each write before it, readers that meet half a file,
 * handles that drop one another's paths. tests/parity.tsv names these tests by number. */
#include "oracle.h"
#include "store_kit.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const root = "/home";

/* ---- what a change costs ---- */

typedef struct parity_cost {
    uint64_t calls, read, written, syncs;
} parity_cost;

static void parity_count(void *ctx, machine *m, const machine_call *call) {
    parity_cost *c = ctx;
    (void)m;
    c->calls++;
    if (call->op == MACHINE_PREAD) c->read += call->n;
    if (call->op == MACHINE_PWRITE) c->written += call->n;
    c->syncs += call->op == MACHINE_SYNC;
}

static parity_cost parity_less(parity_cost a, parity_cost b) {
    return a.calls < b.calls ? a : b;
}

/* A write of one line to a document that is there (NULL: that makes a new one); the least of three,
 * as one of them may find the journal half full. */
static parity_cost parity_write(machine *m, agt_store *s, const char *path, uint32_t durability) {
    static int number;
    parity_cost least = {.calls = UINT64_MAX};
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_error err;
    char text[32], fresh[32];
    o.durability = durability;
    if (path) kit_write(s, &kit_agent, path, "text before\n");
    for (int i = 0; i < 3; i++) {
        parity_cost cost = {0};
        snprintf(text, sizeof text, "text %08d\n", number);
        snprintf(fresh, sizeof fresh, "new/%08d.md", number++);
        machine_on_call(m, parity_count, &cost);
        CHECK_OK(agt_write(s, &kit_agent, path ? path : fresh, text, strlen(text), &o, NULL, &err),
                 err);
        machine_on_call(m, NULL, NULL);
        least = parity_less(least, cost);
    }
    return least;
}

static void parity_fill(agt_store *s, int count, int documents) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    char path[32], text[32];
    static int number;
    o.durability = AGT_DURABLE_PROCESS;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "many/%d.md", i % documents);
        snprintf(text, sizeof text, "fill %d\n", number++);
        CHECK_OK(agt_write(s, &kit_user, path, text, strlen(text), &o, NULL, &err), err);
    }
}

static machine *parity_machine(agt_store **s) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    *s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    return m;
}

static void parity_no_dearer(const char *what, parity_cost few, parity_cost many) {
    if (many.calls > few.calls || many.read > few.read + 64 || many.written > few.written + 64)
        test_fail(__FILE__, __LINE__,
                  "%s: %" PRIu64 " calls, %" PRIu64 " read, %" PRIu64 " written; then %" PRIu64
                  ", %" PRIu64 ", %" PRIu64,
                  what, few.calls, few.read, few.written, many.calls, many.read, many.written);
    test_saw(what, many.calls);
}

TEST(parity, a_write_costs_the_same_after_few_writes_and_after_many) {
    agt_error err;
    agt_store *s;
    machine *m = parity_machine(&s);
    parity_fill(s, 50, 10);
    CHECK_OK(agt_checkpoint(s, &err), err);
    parity_cost few = parity_write(m, s, "a.md", AGT_DURABLE_PROCESS);
    parity_fill(s, 3000, 10);
    CHECK_OK(agt_checkpoint(s, &err), err);
    parity_no_dearer("calls of a write", few, parity_write(m, s, "a.md", AGT_DURABLE_PROCESS));
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

TEST(parity, a_write_costs_the_same_beside_few_documents_and_beside_many) {
    agt_error err;
    agt_store *s;
    machine *m = parity_machine(&s);
    parity_fill(s, 20, 20);
    CHECK_OK(agt_checkpoint(s, &err), err);
    parity_cost few = parity_write(m, s, "a.md", AGT_DURABLE_PROCESS);
    parity_cost new_few = parity_write(m, s, NULL, AGT_DURABLE_PROCESS);
    parity_fill(s, 3000, 3000);
    CHECK_OK(agt_checkpoint(s, &err), err);
    parity_no_dearer("calls of a write", few, parity_write(m, s, "a.md", AGT_DURABLE_PROCESS));
    parity_no_dearer("calls of a registration", new_few,
                     parity_write(m, s, NULL, AGT_DURABLE_PROCESS));
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* An agent's write with a session is one record: one event, one commit, one sync. */
TEST(parity, a_write_is_one_event_one_commit_and_one_sync) {
    agt_error err;
    const char *folder = test_folder();
    agt_caller who = kit_agent;
    agt_store *s;
    machine *m = parity_machine(&s);
    kit_write(s, &kit_agent, "a.md", "one\n");
    parity_cost cost = parity_write(m, s, "a.md", AGT_DURABLE_FULL);
    CHECK_INT(cost.syncs, 1);
    CHECK(cost.written < 8192);
    test_saw("calls", cost.calls);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
    s = kit_open(folder);
    who.session = "20310203-050607-089";
    for (int i = 1; i <= 5; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d\n", i);
        CHECK_INT(kit_write(s, &who, "a.md", text), i);
    }
    kit_publish(s);
    CHECK_INT(kit_events(s), 5);
    kit_commits(folder, "5\n");
    kit_close(s);
}

/* The newest refusals are at the trace's end: what stands before them is not read. */
static uint64_t parity_refusals(machine *m, agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    parity_cost cost = {0};
    o.newest_first = 1;
    o.action = "violation";
    o.limit = 3;
    machine_on_call(m, parity_count, &cost);
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    for (int i = 0; i < 3; i++)
        CHECK_OK(agt_trace_next(c, &e, &err), err);
    CHECK_STATUS(agt_trace_next(c, &e, &err), AGT_END, err);
    machine_on_call(m, NULL, NULL);
    agt_cursor_close(c);
    return cost.read;
}

TEST(parity, the_newest_refusals_are_found_without_the_history_before_them) {
    agt_error err;
    agt_store *s;
    uint64_t read[2];
    machine *m = parity_machine(&s);
    for (int round = 0; round < 2; round++) {
        parity_fill(s, round ? 3000 : 100, 10);
        for (int i = 0; i < 3; i++) {
            char text[16];
            snprintf(text, sizeof text, "no %d %d", round, i);
            CHECK_STATUS(
                agt_write(s, &kit_agent, "context.md", text, strlen(text), NULL, NULL, &err),
                AGT_DENIED, err);
        }
        CHECK_OK(agt_checkpoint(s, &err), err);
        read[round] = parity_refusals(m, s);
    }
    test_saw("bytes read behind 3,000 events", read[1]);
    CHECK(read[1] < 2 * read[0] + 65536);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* ---- two handles ---- */

/* 0.1.0 committed what its handle had in mind: paths that another handle had committed meanwhile
 * were dropped from the tree or set back. */
TEST(parity, handles_that_publish_in_turns_drop_no_path_of_each_other) {
    if (!kit_has_git) test_skip("built without git");
    const char *folder = test_folder();
    agt_store *s[2] = {kit_open(folder), kit_open(folder)};
    char path[32], text[32];
    for (int i = 0; i < 24; i++) {
        agt_store *mine = s[i & 1];
        snprintf(path, sizeof path, "d%d/f%d.md", i % 3, i / 2);
        kit_write(mine, &kit_agent, path, i & 1 ? "odd" : "even");
        snprintf(text, sizeof text, "shared %d", i);
        kit_write(mine, &kit_agent, "shared.md", text);
        kit_publish(mine);
        char *shared = kit_run("git --git-dir='%s/.agent-trace/git' show main:shared.md", folder);
        CHECK_STR(shared, text);
        free(shared);
    }
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    size_t documents = 0;
    char *tree = kit_run("git --git-dir='%s/.agent-trace/git' ls-tree -r main", folder);
    CHECK_OK(agt_list(s[0], NULL, &c, &err), err);
    while (agt_list_next(c, &d, &err) == AGT_OK) {
        char row[AGT_MAX_PATH + 80];
        snprintf(row, sizeof row, "100644 blob %s\t%s\n", d.blob, d.path);
        if (!strstr(tree, row)) test_fail(__FILE__, __LINE__, "git has not %s", row);
        documents++;
    }
    agt_cursor_close(c);
    CHECK(documents > 12);
    test_saw("documents", documents);
    free(tree);
    kit_close(s[0]);
    kit_close(s[1]);
}

/* ---- readers of the files ---- */

enum { PARITY_BYTES = 300000 };

/* Writes the document in turns full of a's and full of b's, and makes the index longer and shorter,
 * until it is killed. */
static void parity_writer(const char *folder) {
    agt_error err;
    agt_store *s = kit_open(folder);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    char *bytes = malloc(PARITY_BYTES), path[80];
    o.durability = AGT_DURABLE_PROCESS;
    for (int i = 0;; i++) {
        memset(bytes, 'a' + i % 2, PARITY_BYTES);
        (void)agt_write(s, &kit_agent, "big.md", bytes, i % 2 ? PARITY_BYTES : PARITY_BYTES / 2, &o,
                        NULL, &err);
        snprintf(path, sizeof path, "a-folder-with-a-long-name/a-document-with-a-long-name-%d.md",
                 i % 40);
        if (i / 40 % 2)
            (void)agt_remove(s, &kit_agent, path, &o, NULL, &err);
        else
            (void)agt_write(s, &kit_agent, path, "x", 1, &o, NULL, &err);
        (void)agt_index_refresh(s, 0, NULL, &err);
    }
}

/* As any program reads a file. The number of bytes; they are in `out`. */
static size_t parity_read(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "rb");
    if (!f) test_fail(__FILE__, __LINE__, "%s is not there", path);
    size_t n = fread(out, 1, size, f);
    fclose(f);
    return n;
}

static bool parity_is_index(const char *text, size_t n) {
    static const char begin[] = "# Agent Trace\n", end[] = "write down what you finish.\n";
    return n > 500 && !memcmp(text, begin, sizeof begin - 1) &&
           !memcmp(text + n - (sizeof end - 1), end, sizeof end - 1);
}

TEST(parity, a_reader_of_the_files_never_meets_half_a_document_or_half_an_index) {
    agt_error err;
    const char *folder = test_folder();
    agt_store *s = kit_open(folder);
    char *bytes = malloc(PARITY_BYTES + 1);
    size_t kinds[2] = {0, 0}, lengths = 0, last = 0;
    int status;
    memset(bytes, 'b', PARITY_BYTES);
    CHECK_OK(agt_write(s, &kit_agent, "big.md", bytes, PARITY_BYTES, NULL, NULL, &err), err);
    CHECK_OK(agt_index_refresh(s, 1, NULL, &err), err);
    kit_close(s);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) parity_writer(folder);
    for (int i = 0; i < 20000 && (i < 300 || !kinds[0] || !kinds[1] || lengths < 5); i++) {
        size_t n = parity_read(kit_path(folder, "big.md"), bytes, PARITY_BYTES + 1);
        int kind = n && bytes[0] == 'b';
        bool whole = n == (size_t)(kind ? PARITY_BYTES : PARITY_BYTES / 2);
        for (size_t k = 0; whole && k < n; k += 997)
            whole = bytes[k] == bytes[0];
        kinds[kind] += whole;
        size_t m = whole ? parity_read(kit_path(folder, "AGENT-TRACE.md"), bytes, PARITY_BYTES) : 0;
        if (!whole || !parity_is_index(bytes, m)) {
            kill(child, SIGKILL);
            test_fail(__FILE__, __LINE__, "a document of %zu bytes, an index of %zu", n, m);
        }
        lengths += m != last;
        last = m;
    }
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(kinds[0] && kinds[1] && lengths >= 5);
    test_saw("documents of both kinds", kinds[0] + kinds[1]);
    test_saw("indexes of another length", lengths);
    free(bytes);
}

/* ---- a folder that was there ---- */

TEST(parity, a_folder_that_is_older_than_the_store_is_closed_to_others) {
    struct stat st;
    const char *folder = test_folder();
    CHECK_INT(mkdir(kit_path(folder, ".agent-trace"), 0755), 0);
    CHECK_INT(chmod(kit_path(folder, ".agent-trace"), 0755), 0);
    kit_close(kit_open(folder));
    CHECK_INT(stat(kit_path(folder, ".agent-trace"), &st), 0);
    CHECK_INT(st.st_mode & 0777, 0700);
    CHECK_INT(chmod(kit_path(folder, ".agent-trace"), 0750), 0); /* somebody decided so */
    kit_close(kit_open(folder));
    CHECK_INT(stat(kit_path(folder, ".agent-trace"), &st), 0);
    CHECK_INT(st.st_mode & 0777, 0750);
}
