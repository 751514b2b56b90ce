/* crash_tool: does one piece of work on a store and says what was acknowledged, one write(2) each;
 * or checks a store against what was said. For scripts that kill it.
 *
 *     crash_tool prepare ROOT         a store with a little of everything; removes nothing first
 *     crash_tool write ROOT N         N writes, to old and new documents
 *     crash_tool big ROOT             one write that is too long for a record
 *     crash_tool batch ROOT           one batch: three writes and a removal
 *     crash_tool group ROOT           one group of four writes
 *     crash_tool remove ROOT          removes a document
 *     crash_tool publish ROOT         agt_publish
 *     crash_tool checkpoint ROOT      agt_checkpoint
 *     crash_tool gc ROOT              agt_gc
 *     crash_tool recover ROOT         opens and closes
 *     crash_tool check ROOT ACKFILE   tells the first thing that is wrong, or nothing
 *
 * It says "begin", then "ack <token> <path> <seq> <version>" for a change, "published <seq>", and
 * at last "end". */
#define _GNU_SOURCE     1
#define CRASH_FAIL(...) crash_fail(__VA_ARGS__)
static void crash_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#include "crash_check.h"

#include <stdarg.h>
#include <unistd.h>

static void crash_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(1);
}

static void say(const char *line) {
    size_t n = strlen(line);
    if (write(1, line, n) != (ssize_t)n) crash_fail("cannot write what was acknowledged");
}

/* Several changes that were acknowledged together are said together. */
static void say_acks(const crash_ack *a, size_t n) {
    char text[1000];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "ack %s %s %" PRIu64 " %" PRIu32 "\n",
                               a[i].token, a[i].path, a[i].seq, a[i].version);
    say(text);
}

/* A token that this store has not seen: the seq it began with is in it. */
static const char *token_of(agt_store *s, const char *kind) {
    static char out[8][CRASH_NAME];
    static uint64_t first;
    static unsigned n;
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    if (!n && agt_store_get_info(s, &info, &err) != AGT_OK) crash_fail("info: %s", err.message);
    if (!n) first = info.last_seq + 1;
    char *token = out[n & 7];
    snprintf(token, sizeof out[0], "%s.%" PRIu64 ".%u", kind, first, n++);
    return token;
}

static void write_one(agt_store *s, const char *path, const char *kind) {
    crash_ack a = crash_write(s, path, token_of(s, kind));
    say_acks(&a, 1);
}

/* old, new in a new folder, old again, ... */
static void do_write(agt_store *s, int n) {
    char path[CRASH_NAME];
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "new%d/deep/%d.md", i, i);
        write_one(s, i & 1 ? path : i & 2 ? "docs/b.md" : "a.md", "w");
    }
}

static void do_changes(agt_store *s, bool batch) {
    static const char *const paths[4] = {"a.md", "docs/b.md", "brand/new.md", "gone.md"};
    const char *tokens[4];
    crash_ack acks[4];
    for (int i = 0; i < 4; i++)
        tokens[i] = token_of(s, i == 3 ? "rm" : batch ? "b" : "g");
    crash_changes(s, batch, 4, paths, tokens, acks);
    say_acks(acks, 4);
}

static void do_remove(agt_store *s, const char *path) {
    agt_error err;
    agt_caller who = AGT_CALLER("user");
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    crash_ack a;
    char summary[CRASH_NAME + 8];
    const char *token = token_of(s, "rm");
    snprintf(summary, sizeof summary, "token %s", token);
    o.summary = summary;
    if (agt_remove(s, &who, path, &o, &r, &err) != AGT_OK) crash_fail("remove: %s", err.message);
    memset(&a, 0, sizeof a);
    snprintf(a.token, sizeof a.token, "%s", token);
    snprintf(a.path, sizeof a.path, "%s", path);
    a.seq = r.seq;
    a.version = r.version;
    say_acks(&a, 1);
}

/* what: publish, checkpoint or gc */
static void do_publish(agt_store *s, const char *what) {
    agt_error err;
    agt_store_info info = AGT_STORE_INFO_INIT;
    char line[60];
    agt_status st = *what == 'p'   ? agt_publish(s, &err)
                    : *what == 'c' ? agt_checkpoint(s, &err)
                                   : agt_gc(s, NULL, NULL, &err);
    if (st != AGT_OK) crash_fail("%s: %s", what, err.message);
    if (agt_store_get_info(s, &info, &err) != AGT_OK) crash_fail("info: %s", err.message);
    snprintf(line, sizeof line, "published %" PRIu64 "\n", info.last_seq);
    say(line);
}

static void do_prepare(agt_store *s) {
    write_one(s, "a.md", "p");
    write_one(s, "docs/b.md", "p");
    write_one(s, "gone.md", "p");
    write_one(s, "docs/removed.md", "p");
    do_publish(s, "checkpoint");
    write_one(s, "a.md", "p");
    do_publish(s, "publish");
    do_remove(s, "docs/removed.md");
    write_one(s, "docs/b.md", "p");
}

/* ---- check ---- */

static int check(const char *root, const char *file) {
    static crash_ack acks[2000];
    size_t n = 0, cap = 0;
    uint64_t published = 0, seq;
    char *line = NULL;
    FILE *f = fopen(file, "r");
    if (!f) crash_fail("cannot read %s", file);
    for (ssize_t len; (len = getline(&line, &cap, f)) > 0;) {
        crash_ack *a = &acks[n];
        if (line[len - 1] != '\n' || n == 2000) crash_fail("what was acknowledged is torn or long");
        if (sscanf(line, "ack %39s %39s %" SCNu64 " %" SCNu32, a->token, a->path, &a->seq,
                   &a->version) == 4)
            n++;
        else if (sscanf(line, "published %" SCNu64, &seq) == 1)
            published = seq;
        else if (strcmp(line, "begin\n") != 0 && strcmp(line, "end\n") != 0)
            crash_fail("unknown line in %s: %s", file, line);
    }
    free(line);
    fclose(f);
    if (!crash_check(root, acks, n, published)) crash_fail("nothing was checked");
    return 0;
}

int main(int argc, char **argv) {
    agt_error err;
    if (argc < 3) return fprintf(stderr, "usage: crash_tool COMMAND ROOT [N | ACKFILE]\n"), 2;
    const char *what = argv[1], *root = argv[2];
    if (strcmp(what, "check") == 0 && argc == 4) return check(root, argv[3]);
    say("begin\n");
    agt_store *s = crash_open(root);
    if (strcmp(what, "prepare") == 0)
        do_prepare(s);
    else if (strcmp(what, "write") == 0)
        do_write(s, argc > 3 ? atoi(argv[3]) : 1);
    else if (strcmp(what, "big") == 0)
        write_one(s, "docs/b.md", "big");
    else if (strcmp(what, "batch") == 0 || strcmp(what, "group") == 0)
        do_changes(s, what[0] == 'b');
    else if (strcmp(what, "remove") == 0)
        do_remove(s, "docs/b.md");
    else if (strcmp(what, "publish") == 0 || strcmp(what, "checkpoint") == 0 ||
             strcmp(what, "gc") == 0)
        do_publish(s, what);
    else if (strcmp(what, "recover") != 0)
        return fprintf(stderr, "crash_tool: unknown command %s\n", what), 2;
    if (agt_close(s, &err) != AGT_OK) crash_fail("close: %s", err.message);
    say("end\n");
    return 0;
}
