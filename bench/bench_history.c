/* Reading the history of one document, by the length of the history: against git and libgit2.
 *
 *     bench_history [--json [PATH]] [--quick] [--dir FOLDER] [--program PATH]
 *
 * Stores of 1,000, 10,000 and 100,000 commits (--quick: without the last) are made by the library
 * itself, checkpointed and collected by agt_gc, and their traces verified. One document has the
 * same ten versions in each, spread evenly over the history; the other commits go to 400 others.
 *
 *   library   versions, show 1, log, info: agt_read_version, agt_trace with a path,
 *             agt_document_get, on an open handle
 *   program   `agent-trace log PATH`, from start to end
 *   git       `git log --oneline -- PATH` on the same commits, without and with a commit-graph that
 *             has Bloom filters of changed paths
 *   libgit2   a walk over all commits that compares the path's blob with the parent's
 *
 * Each figure is the median of calls that took turns, on stores of all lengths. Each row has its
 * goal; a goal that is missed is no error. About five minutes, most of it for making the stores. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#define BENCH "bench_history"
#include "bench.h"

#include <fcntl.h>
#include <git2.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define OTHERS    400
#define VERSIONS  10
#define GROUP     64
#define RUNS      31
#define SLOW_RUNS 7
#define THE_PATH  "docs/area07/the-one.md"

static char base[300], program[600];
extern char **environ;

static void must_git(int rc) {
    if (rc >= 0) return;
    fprintf(stderr, BENCH ": libgit2: %s\n", git_error_last() ? git_error_last()->message : "");
    exit(1);
}

typedef struct sample {
    int n;
    double v[RUNS];
} sample;
static double median(sample *s) {
    return quantile(s->v, (size_t)s->n, 0.5);
}

/* ---- a store of n commits ---- */

/* The document's k-th version is at commit k * (n / VERSIONS). */
static bool is_the_one(int i, int n) {
    return i % (n / VERSIONS) == 0;
}

static void make_store(const char *root, int n) {
    static char paths[GROUP][64], texts[GROUP][200];
    agt_error err;
    agt_store *s;
    agt_caller who = AGT_CALLER("agent:kestrel");
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    o.durability = AGT_DURABLE_PROCESS;
    must_agt(agt_open(&s, root, &o, &err), &err);
    for (int i = 0; i < n; i += GROUP) {
        agt_change c[GROUP];
        agt_write_result r[GROUP];
        int count = n - i < GROUP ? n - i : GROUP;
        for (int k = 0; k < count; k++) {
            int doc = (int)((unsigned)(i + k) * 7919u % OTHERS);
            if (is_the_one(i + k, n))
                snprintf(paths[k], sizeof paths[k], "%s", THE_PATH);
            else
                snprintf(paths[k], sizeof paths[k], "docs/area%02d/doc%03d.md", doc % 20, doc);
            snprintf(texts[k], sizeof texts[k],
                     "# A document\n\nIt was changed by step %d.\nThe rest of it stays.\n", i + k);
            c[k] = (agt_change)AGT_CHANGE_INIT;
            c[k].caller = &who;
            c[k].path = paths[k];
            c[k].bytes = texts[k];
            c[k].len = strlen(texts[k]);
            r[k] = (agt_write_result)AGT_WRITE_RESULT_INIT;
        }
        must_agt(agt_group(s, c, (size_t)count, AGT_DURABLE_PROCESS, r, &err), &err);
        for (int k = 0; k < count; k++)
            must(r[k].status == AGT_OK && r[k].seq == (uint64_t)(i + k + 1), r[k].message);
        if (i / GROUP % 32 == 31) must_agt(agt_checkpoint(s, &err), &err);
    }
    must_agt(agt_checkpoint(s, &err), &err);
    must_agt(agt_close(s, &err), &err);
}

static double collect(const char *root, uint64_t *bytes) {
    agt_error err;
    agt_store *s;
    agt_gc_result r = AGT_GC_RESULT_INIT;
    must_agt(agt_open(&s, root, NULL, &err), &err);
    double start = now_us();
    must_agt(agt_gc(s, NULL, &r, &err), &err);
    double took = now_us() - start;
    *bytes = r.after.git.bytes;
    must_agt(agt_close(s, &err), &err);
    return took;
}

static void verify(agt_store *s, int n) {
    agt_error err;
    agt_trace_verdict v = AGT_TRACE_VERDICT_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    must_agt(agt_trace_verify(s, 0, &v, &err), &err);
    must(v.events == (uint64_t)n && !v.damaged_lines && !v.torn_bytes, "the trace is damaged");
    must_agt(agt_store_get_info(s, &info, &err), &err);
    must(info.published_seq == (uint64_t)n, "not all is published");
}

/* ---- ours ---- */

static void ours_log(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    int n = 0;
    o.path = THE_PATH;
    o.newest_first = 1;
    must_agt(agt_trace(s, &o, &c, &err), &err);
    while (agt_trace_next(c, &e, &err) == AGT_OK)
        n++;
    must(err.status == AGT_END && n == VERSIONS, "log");
    agt_cursor_close(c);
}

static void ours_version(agt_store *s, uint32_t version) {
    agt_error err;
    agt_bytes b;
    must_agt(agt_read_version(s, THE_PATH, version, &b, &err), &err);
    must(b.len > 40, "version");
    agt_bytes_free(&b);
}

static void ours_show(agt_store *s) {
    ours_version(s, 1);
}

static void ours_versions(agt_store *s) {
    for (uint32_t v = VERSIONS; v > 0; v--)
        ours_version(s, v);
}

static void ours_info(agt_store *s) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    must_agt(agt_document_get(s, THE_PATH, &d, &err), &err);
    must(d.version == VERSIONS, "info");
}

static const struct {
    const char *id, *what;
    void (*call)(agt_store *s);
} calls[] = {{"log", "log of the path", ours_log},
             {"show", "its first version", ours_show},
             {"versions", "its ten versions, the newest first", ours_versions},
             {"info", "what the document is", ours_info}};

/* ---- the others ---- */

/* Runs a program with its output thrown away; microseconds. */
static double run(const char *const *words) {
    pid_t pid;
    int status;
    posix_spawn_file_actions_t to;
    must(posix_spawn_file_actions_init(&to) == 0, "spawn");
    must(posix_spawn_file_actions_addopen(&to, 1, "/dev/null", O_WRONLY, 0) == 0, "spawn");
    double start = now_us();
    must(posix_spawnp(&pid, words[0], &to, NULL, (char *const *)(uintptr_t)words, environ) == 0,
         words[0]);
    must(waitpid(pid, &status, 0) == pid && status == 0, words[0]);
    posix_spawn_file_actions_destroy(&to);
    return now_us() - start;
}

static double git_log(const char *git_dir) {
    return run((const char *const[]){"git", "--git-dir", git_dir, "log", "--oneline", "main", "--",
                                     THE_PATH, NULL});
}

static double program_log(const char *root) {
    return run((const char *const[]){program, "-C", root, "log", THE_PATH, NULL});
}

/* The blob at the path; false where there is none. */
static bool walk_blob(git_repository *repo, const git_commit *commit, git_oid *out) {
    git_tree *tree;
    git_tree_entry *entry = NULL;
    (void)repo;
    must_git(git_commit_tree(&tree, commit));
    bool found = git_tree_entry_bypath(&entry, tree, THE_PATH) == 0;
    if (found) git_oid_cpy(out, git_tree_entry_id(entry));
    git_tree_entry_free(entry);
    git_tree_free(tree);
    return found;
}

static double walk(const char *git_dir) {
    git_repository *repo;
    git_commit *commit;
    git_oid at, now, newer;
    int found = 0;
    bool had = false;
    double start = now_us();
    must_git(git_repository_open_bare(&repo, git_dir));
    must_git(git_reference_name_to_id(&at, repo, "refs/heads/main"));
    must_git(git_commit_lookup(&commit, repo, &at));
    for (;;) {
        bool has = walk_blob(repo, commit, &now);
        if (had && (!has || !git_oid_equal(&now, &newer))) found++;
        had = has;
        git_oid_cpy(&newer, &now);
        if (!git_commit_parentcount(commit)) break;
        git_commit *parent;
        must_git(git_commit_parent(&parent, commit, 0));
        git_commit_free(commit);
        commit = parent;
    }
    found += had;
    git_commit_free(commit);
    git_repository_free(repo);
    must(found == VERSIONS, "walk");
    return now_us() - start;
}

/* ---- all lengths ---- */

static const int sizes[] = {1000, 10000, 100000};
#define SIZES COUNT(sizes)

typedef struct length {
    int n;
    char *root;
    agt_store *s;
    sample calls[COUNT(calls)], program, git, bloom, libgit2;
} length;

static void length_make(length *l, int n) {
    agt_error err;
    uint64_t bytes;
    l->n = n;
    l->root = format("%s/store%d", base, n);
    double start = now_us();
    must(mkdir(l->root, 0777) == 0, l->root);
    make_store(l->root, n);
    double made = now_us() - start, gc = collect(l->root, &bytes);
    told(format("make.%d.s", n), format("a store of %d commits is made", n), made / 1e6, "s");
    told(format("gc.%d.s", n), "  gc", gc / 1e6, "s");
    told(format("gc.%d.bytes", n), "  git's bytes a commit then", (double)bytes / n, "B");
    must_agt(agt_open(&l->s, l->root, NULL, &err), &err);
    verify(l->s, n);
}

/* Calls on stores of all lengths take turns: what the machine does besides falls on all. */
static void measure_ours(length *all, size_t count) {
    for (int turn = 0; turn < RUNS; turn++)
        for (size_t k = 0; k < count; k++) {
            for (size_t i = 0; i < COUNT(calls); i++) {
                double start = now_us();
                calls[i].call(all[k].s);
                sample *s = &all[k].calls[i];
                s->v[s->n++] = now_us() - start;
            }
            sample *s = &all[k].program;
            s->v[s->n++] = program_log(all[k].root);
        }
}

static void measure_others(length *l) {
    char *git_dir = format("%s/.agent-trace/git", l->root), *copy = format("%s.bloom", l->root);
    run((const char *const[]){"git", "clone", "-q", "--bare", "--no-local", git_dir, copy, NULL});
    run((const char *const[]){"git", "--git-dir", copy, "commit-graph", "write", "--reachable",
                              "--changed-paths", "--no-progress", NULL});
    for (int i = 0; i < SLOW_RUNS; i++) {
        l->git.v[l->git.n++] = git_log(git_dir);
        l->bloom.v[l->bloom.n++] = git_log(copy);
        l->libgit2.v[l->libgit2.n++] = walk(git_dir);
    }
}

static void report_growth(const char *id, const char *what, double value, double at_first, int n) {
    told(format("%s.%d.us", id, n), what, value, "us");
    if (n > sizes[0])
        report(format("%s.%d.growth", id, n), "  against 1,000 commits", value / at_first, "x", 1.2,
               false, "");
}

static void report_length(length *all, length *l) {
    if (table) printf("\n%d commits\n", l->n);
    for (size_t i = 0; i < COUNT(calls); i++)
        report_growth(calls[i].id, calls[i].what, median(&l->calls[i]), median(&all->calls[i]),
                      l->n);
    double ours = median(&l->program), git = median(&l->git), bloom = median(&l->bloom);
    report_growth("program", "agent-trace log PATH", ours, median(&all->program), l->n);
    report(format("git.%d.us", l->n), "git log -- PATH", git, "us", 0, false, "");
    told(format("bloom.%d.us", l->n), "git log -- PATH, --changed-paths", bloom, "us");
    told(format("libgit2.%d.us", l->n), "a walk with libgit2", median(&l->libgit2), "us");
    report(format("bloom.%d.times", l->n), "  git log --changed-paths / agent-trace log",
           bloom / ours, "x", l->n == 100000 ? 20 : 0, true, "");
    report(format("git.%d.times", l->n), "  git log / agent-trace log", git / ours, "x", 0, true,
           "");
}

static void bench(size_t count) {
    static length all[SIZES];
    agt_error err;
    for (size_t i = 0; i < count; i++)
        length_make(&all[i], sizes[i]);
    measure_ours(all, count);
    for (size_t i = 0; i < count; i++) {
        measure_others(&all[i]);
        report_length(all, &all[i]);
        must_agt(agt_close(all[i].s, &err), &err);
    }
}

int main(int argc, char **argv) {
    const char *json = NULL, *folder = getenv("TMPDIR");
    bool to_stdout = false, quick = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc && argv[i + 1][0] != '-';
        if (!strcmp(argv[i], "--json") && more)
            json = argv[++i];
        else if (!strcmp(argv[i], "--json"))
            to_stdout = true;
        else if (!strcmp(argv[i], "--quick"))
            quick = true;
        else if (!strcmp(argv[i], "--dir") && more)
            folder = argv[++i];
        else if (!strcmp(argv[i], "--program") && more)
            snprintf(program, sizeof program, "%s", argv[++i]);
        else
            return fprintf(stderr, "usage: bench_history [--json [PATH]] [--quick] [--dir FOLDER] "
                                   "[--program PATH]\n"),
                   2;
    }
    double started = now_us();
    table = !to_stdout;
    find_program(argv[0], program, sizeof program);
    snprintf(base, sizeof base, "%s/bench_history.XXXXXX", folder && *folder ? folder : "/tmp");
    must(mkdtemp(base) != NULL, base);
    must(git_libgit2_init() > 0, "libgit2");
    bench(SIZES - quick);
    git_libgit2_shutdown();
    remove_tree(base);
    if (to_stdout) rows_json(stdout);
    if (table) printf("\n%.0f s\n", (now_us() - started) / 1e6);
    if (json) write_to(json, rows_json);
    return 0;
}
