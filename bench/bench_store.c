/* The store against the floor of its own system calls, and against git, in one run.
 *
 *     bench_store [--json [PATH]] [--quick] [--dir FOLDER] [--program PATH]
 *
 *   floor           one pwrite of a record into a pre-written file; a temporary file in the
 *                   document's folder, renamed over the document; at full an fdatasync between
 *   process, full   agt_write at AGT_DURABLE_PROCESS and AGT_DURABLE_FULL
 *   libgit2         no index: blob, git_tree_create_updated, commit, ref; document; event line
 *   with an index   repository opened, index read, added to, written, tree and commit, each time
 *                   (both: everything synced, as libgit2 does it with fsync of the git folder on)
 *
 * All of them write the same 2 KB documents in the same nested folders in the same order, operation
 * by operation, in an order drawn anew for each operation: what a file system does in the
 * background (or to itself: ext4 without a journal looks for inodes that were not deleted lately)
 * falls on all. Every figure is a median. Each row has its goal; a goal that is missed is no error.
 * The program's own part of a write is what is left when the calls that look at, make and place the
 * document, and the sync, are taken off; they are timed through a shim of struct agt_sys. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#define BENCH "bench_store"
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define DOC_BYTES 2048
#define MAX_RUNS  4000

static char base[300], program[600], self[600];
static bool quick;
extern char **environ;

static void must_git(int rc) {
    if (rc == 0) return;
    fprintf(stderr, BENCH ": libgit2: %s\n", git_error_last() ? git_error_last()->message : "");
    exit(1);
}

typedef struct sample {
    int n;
    double v[MAX_RUNS];
} sample;
static void sample_add(sample *s, double v) {
    if (s->n < MAX_RUNS) s->v[s->n++] = v;
}
static double sample_at(sample *s, double q) {
    return quantile(s->v, (size_t)s->n, q);
}
static double median(sample *s) {
    return sample_at(s, 0.5);
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- results ---- */

static double started, section_from;

static void section(const char *title) {
    section_from = now_us();
    if (table) printf("\n%s\n", title);
}
/* A part that is slow on this machine ends early, once it has enough to take medians of. */
static bool overdue(int done, int enough, double seconds) {
    return done >= enough && now_us() - section_from > seconds * 1e6;
}

/* ---- documents ---- */

static char text[DOC_BYTES + 1];

/* Words, another text each time: a document that was written anew from end to end. */
static void next_text(void) {
    static const char *const words[] = {
        "agent",   "memory", "plan",    "write",  "trace",  "lock",    "commit", "folder",
        "the",     "decide", "of",      "and",    "state",  "version", "reader", "- [ ]",
        "history", "under",  "journal", "record", "leader", "sync",    "\n",     "\n"};
    size_t n = 0;
    while (n < DOC_BYTES) {
        const char *w = words[random_next() % COUNT(words)];
        size_t len = strlen(w);
        if (n + len + 1 > DOC_BYTES) {
            memset(text + n, '.', DOC_BYTES - n);
            break;
        }
        memcpy(text + n, w, len);
        n += len;
        text[n++] = ' ';
    }
    text[DOC_BYTES - 1] = '\n';
}

static void doc_path(int i, char out[64]) {
    snprintf(out, 64, "area%02d/topic%02d/doc%05d.md", i / 500, i / 20 % 25, i);
}
/* Which document the k-th operation writes: all of them, never neighbours. */
static int order(int k, int docs) {
    return (int)((uint64_t)k * 7919u % (uint64_t)docs);
}

static void make_tree(const char *root, int docs) {
    char path[700], rel[64];
    must(mkdir(root, 0777) == 0, root);
    for (int i = 0; i < docs; i++) {
        doc_path(i, rel);
        snprintf(path, sizeof path, "%s/%s", root, rel);
        for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
            *p = 0;
            must(mkdir(path, 0777) == 0 || errno == EEXIST, path);
        }
        int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0666);
        must(fd >= 0 && write(fd, text, DOC_BYTES) == DOC_BYTES, path);
        close(fd);
    }
}

/* ---- the floor ---- */

typedef struct floor_state {
    int root, journal;
    off_t at;
    sample stage, place; /* its two halves */
} floor_state;

static void floor_open(floor_state *f, const char *root, int docs) {
    memset(f, 0, sizeof *f);
    make_tree(root, docs);
    f->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->journal = openat(f->root, "journal", O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    char *zeros = calloc(1, 8u << 20);
    must(f->journal >= 0 && write(f->journal, zeros, 8u << 20) == 8 << 20, root);
    free(zeros);
    fsync(f->journal);
    f->at = 8192;
}
static void floor_close(floor_state *f) {
    close(f->root), close(f->journal);
}

static void floor_write(floor_state *f, const char *rel, bool sync) {
    static char record[DOC_BYTES + 600]; /* what ours has with its line and heads */
    char folder[64];
    memcpy(record, text, DOC_BYTES);
    if (f->at + (off_t)sizeof record > (4 << 20)) f->at = 8192;
    must(pwrite(f->journal, record, sizeof record, f->at) == (ssize_t)sizeof record, "pwrite");
    f->at += (off_t)sizeof record;
    if (sync) must(fdatasync(f->journal) == 0, "fdatasync");
    double start = now_us();
    snprintf(folder, sizeof folder, "%s", rel);
    *strrchr(folder, '/') = 0;
    int dir = openat(f->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(dir, ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    must(fd >= 0 && write(fd, text, DOC_BYTES) == DOC_BYTES, "a temporary file");
    close(fd);
    double half = now_us();
    must(renameat(dir, ".new", dir, strrchr(rel, '/') + 1) == 0, "rename");
    close(dir);
    sample_add(&f->stage, half - start);
    sample_add(&f->place, now_us() - half);
}

/* ---- git ---- */

typedef struct git_state {
    git_repository *repo;
    int root, events;
    char path[600];
} git_state;

static git_signature *signature(void) {
    git_signature *who;
    must_git(git_signature_new(&who, "Agent: kestrel", "agent@bench", (git_time_t)time(NULL), 0));
    return who;
}

/* All documents begin with the same bytes: one blob, which spares it ten thousand loose ones. */
static void git_open(git_state *g, const char *root, int docs) {
    char rel[64];
    git_index *index;
    git_oid tree_id, id;
    git_tree *tree;
    memset(g, 0, sizeof *g);
    snprintf(g->path, sizeof g->path, "%s", root);
    make_tree(root, docs);
    must_git(git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 0));
    must_git(git_repository_init(&g->repo, root, 0));
    must_git(git_repository_index(&index, g->repo));
    for (int i = 0; i < docs; i++) {
        doc_path(i, rel);
        must_git(git_index_add_bypath(index, rel));
    }
    must_git(git_index_write(index));
    must_git(git_index_write_tree(&tree_id, index));
    must_git(git_tree_lookup(&tree, g->repo, &tree_id));
    git_signature *who = signature();
    must_git(git_commit_create(&id, g->repo, "HEAD", who, who, NULL, "first", tree, 0, NULL));
    git_signature_free(who);
    git_tree_free(tree);
    git_index_free(index);
    must_git(git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1));
    g->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *events = format("%s/.git/events.jsonl", root);
    g->events = open(events, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    must(g->root >= 0 && g->events >= 0, events);
}
static void git_close(git_state *g) {
    git_repository_free(g->repo);
    close(g->root), close(g->events);
}

static void git_document(git_state *g, const char *rel) {
    char folder[64];
    snprintf(folder, sizeof folder, "%s", rel);
    *strrchr(folder, '/') = 0;
    int dir = openat(g->root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(dir, ".new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    must(fd >= 0 && write(fd, text, DOC_BYTES) == DOC_BYTES && fsync(fd) == 0, "a document");
    close(fd);
    must(renameat(dir, ".new", dir, strrchr(rel, '/') + 1) == 0 && fsync(dir) == 0, "rename");
    close(dir);
}
static void git_event(git_state *g) {
    char line[340];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    must(write(g->events, line, sizeof line) == (ssize_t)sizeof line, "an event");
    must(fdatasync(g->events) == 0, "an event");
}
static void git_commit_on(git_repository *repo, git_commit *parent, const git_oid *tree_id) {
    git_oid id;
    git_tree *tree;
    const git_commit *parents[1] = {parent};
    must_git(git_tree_lookup(&tree, repo, tree_id));
    git_signature *who = signature();
    must_git(git_commit_create(&id, repo, "HEAD", who, who, NULL, "write", tree, 1, parents));
    git_signature_free(who);
    git_tree_free(tree);
}
static git_commit *git_head(git_repository *repo) {
    git_oid id;
    git_commit *commit;
    must_git(git_reference_name_to_id(&id, repo, "HEAD"));
    must_git(git_commit_lookup(&commit, repo, &id));
    return commit;
}
static void git_commit_no_index(git_repository *repo, const char *rel) {
    git_oid blob, next;
    git_tree *tree;
    git_commit *parent = git_head(repo);
    must_git(git_blob_create_from_buffer(&blob, repo, text, DOC_BYTES));
    must_git(git_commit_tree(&tree, parent));
    git_tree_update update = {GIT_TREE_UPDATE_UPSERT, blob, GIT_FILEMODE_BLOB, rel};
    must_git(git_tree_create_updated(&next, repo, tree, 1, &update));
    git_commit_on(repo, parent, &next);
    git_tree_free(tree);
    git_commit_free(parent);
}
static void git_write_no_index(git_state *g, const char *rel) {
    git_document(g, rel);
    git_commit_no_index(g->repo, rel);
    git_event(g);
}
static void git_write_index(git_state *g, const char *rel) {
    git_repository *repo;
    git_index *index;
    git_oid tree_id;
    git_document(g, rel);
    must_git(git_repository_open(&repo, g->path));
    must_git(git_repository_index(&index, repo));
    must_git(git_index_read(index, 1));
    must_git(git_index_add_bypath(index, rel));
    must_git(git_index_write(index));
    must_git(git_index_write_tree(&tree_id, index));
    git_commit *parent = git_head(repo);
    git_commit_on(repo, parent, &tree_id);
    git_commit_free(parent);
    git_index_free(index);
    git_repository_free(repo);
    git_event(g);
}

/* ---- our store, and the shim that takes its time apart ---- */

static const agt_caller me = AGT_CALLER("agent:kestrel");

enum { PART_LOOK, PART_STAGE, PART_PLACE, PART_SYNC, PART_READ, PART_WRITE, PART_LOCK, PARTS };
static struct {
    const agt_sys *os;
    agt_sys sys;
    unsigned char document[4096]; /* descriptors of documents and their folders */
    int stage;                    /* LOOK before the record is appended, PLACE after */
    double us[PARTS];
} shim;

#define SHIM(part, call)                                                                           \
    double shim_start = now_us();                                                                  \
    call;                                                                                          \
    shim.us[part] += now_us() - shim_start
static bool shim_is(agt_fd fd) {
    return fd >= 0 && fd < 4096 && shim.document[fd];
}
static agt_fd shim_mark(agt_fd fd) {
    if (fd >= 0 && fd < 4096) shim.document[fd] = 1;
    return fd;
}
static agt_fd shim_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    agt_fd fd;
    if (strcmp(name, "tmp") == 0) return shim_mark(shim.os->open(ctx, dir, name, flags, mode));
    if (!shim_is(dir)) return shim.os->open(ctx, dir, name, flags, mode);
    if (flags & AGT_O_CREATE) shim.stage = PART_STAGE;
    SHIM(shim.stage, fd = shim.os->open(ctx, dir, name, flags, mode));
    return shim_mark(fd);
}
static agt_fd shim_walk(void *ctx, agt_fd dir, const char *path) {
    agt_fd fd;
    SHIM(shim.stage, fd = shim.os->walk(ctx, dir, path));
    return shim_mark(fd);
}
static void shim_close(void *ctx, agt_fd fd) {
    if (!shim_is(fd)) {
        shim.os->close(ctx, fd);
        return;
    }
    shim.document[fd] = 0;
    SHIM(shim.stage, shim.os->close(ctx, fd));
}
static int64_t shim_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t at) {
    int64_t rc;
    SHIM(shim_is(fd) ? shim.stage : PART_READ, rc = shim.os->pread(ctx, fd, buf, n, at));
    return rc;
}
static int64_t shim_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t at) {
    int64_t rc;
    SHIM(shim_is(fd) ? PART_STAGE : PART_WRITE, rc = shim.os->pwrite(ctx, fd, buf, n, at));
    return rc;
}
static int shim_sync(void *ctx, agt_fd fd) {
    int rc;
    SHIM(PART_SYNC, rc = shim.os->sync(ctx, fd));
    return rc;
}
static int shim_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    int rc;
    SHIM(shim_is(dir) ? shim.stage : PART_READ, rc = shim.os->stat(ctx, dir, name, out));
    return rc;
}
static int shim_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    int rc;
    if (!shim_is(fd)) return shim.os->fstat(ctx, fd, out);
    SHIM(shim.stage, rc = shim.os->fstat(ctx, fd, out));
    return rc;
}
static int shim_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                       int flag) {
    int rc;
    if (!shim_is(from_dir)) return shim.os->rename(ctx, from_dir, from, to_dir, to, flag);
    shim.stage = PART_PLACE;
    SHIM(PART_PLACE, rc = shim.os->rename(ctx, from_dir, from, to_dir, to, flag));
    return rc;
}
static int shim_remove(void *ctx, agt_fd dir, const char *name) {
    int rc;
    if (!shim_is(dir)) return shim.os->remove(ctx, dir, name);
    SHIM(PART_PLACE, rc = shim.os->remove(ctx, dir, name));
    return rc;
}
static int shim_has_writer(void *ctx, agt_fd fd) {
    int rc;
    SHIM(PART_PLACE, rc = shim.os->has_writer(ctx, fd));
    return rc;
}
static int shim_lock(void *ctx, agt_fd fd, int kind) {
    int rc;
    SHIM(PART_LOCK, rc = shim.os->lock(ctx, fd, kind));
    return rc;
}
static const agt_sys *shim_sys(void) {
    shim.os = agt_sys_os();
    shim.sys = *shim.os;
    shim.sys.open = shim_open;
    shim.sys.walk = shim_walk;
    shim.sys.close = shim_close;
    shim.sys.pread = shim_pread;
    shim.sys.pwrite = shim_pwrite;
    shim.sys.sync = shim_sync;
    shim.sys.stat = shim_stat;
    shim.sys.fstat = shim_fstat;
    shim.sys.rename = shim_rename;
    shim.sys.remove = shim_remove;
    shim.sys.has_writer = shim_has_writer;
    shim.sys.lock = shim_lock;
    return &shim.sys;
}

static agt_store *store_open(const char *root, uint32_t durability, const agt_sys *sys) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    o.durability = durability;
    o.publish = AGT_PUBLISH_MANUAL;
    o.sys = sys;
    must_agt(agt_open(&s, root, &o, &err), &err);
    return s;
}
static void store_close(agt_store *s) {
    agt_error err;
    must_agt(agt_close(s, &err), &err);
}
static void store_write(agt_store *s, const char *rel) {
    agt_error err;
    must_agt(agt_write(s, &me, rel, text, DOC_BYTES, NULL, NULL, &err), &err);
}
static void store_checkpoint(agt_store *s) {
    agt_error err;
    must_agt(agt_checkpoint(s, &err), &err);
}
/* Untimed writes of the documents order(from..), or of all in turn. */
static void store_fill(agt_store *s, int from, int count, int docs, bool in_turn) {
    static char texts[256][DOC_BYTES], paths[256][64];
    static agt_change changes[256];
    static agt_write_result results[256];
    agt_error err;
    for (int done = 0; done < count;) {
        int n = count - done < 256 ? count - done : 256;
        for (int i = 0; i < n; i++, done++) {
            next_text();
            memcpy(texts[i], text, DOC_BYTES);
            doc_path(in_turn ? (from + done) % docs : order(from + done, docs), paths[i]);
            changes[i] = (agt_change)AGT_CHANGE_INIT;
            changes[i].caller = &me;
            changes[i].path = paths[i];
            changes[i].bytes = texts[i];
            changes[i].len = DOC_BYTES;
            results[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
        }
        must_agt(agt_group(s, changes, (size_t)n, AGT_DURABLE_PROCESS, results, &err), &err);
        for (int i = 0; i < n; i++)
            must(results[i].status == AGT_OK, results[i].message);
    }
}

static int seed_sync(void *ctx, agt_fd fd) {
    (void)ctx, (void)fd;
    return 0;
}
/* A store that has the documents (they are made if `make`), and `more` writes of them. What is not
 * timed is synced once, at the end, by the system. */
static void store_seed(const char *root, int docs, bool make, int more) {
    agt_sys lazy = *agt_sys_os();
    lazy.sync = seed_sync;
    agt_store *s = store_open(root, AGT_DURABLE_PROCESS, &lazy);
    if (make) store_fill(s, 0, docs, docs, true);
    store_fill(s, 0, more, docs, false);
    store_checkpoint(s);
    store_close(s);
}

static void shuffle(int *v, int n) {
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(random_next() % (uint64_t)(i + 1)), swap = v[i];
        v[i] = v[j];
        v[j] = swap;
    }
}

/* ---- one write ---- */

enum { V_FLOOR, V_PROCESS, V_FLOOR_SYNC, V_FULL, V_PARTS, V_GIT, V_INDEX, VARIANTS };
static sample times[VARIANTS], parts[PARTS], own;

static const char *cause(floor_state *f, double ratio, double limit) {
    double look = median(&parts[PART_LOOK]), mine = median(&own);
    double stage = median(&parts[PART_STAGE]) - median(&f->stage);
    double place = median(&parts[PART_PLACE]) - median(&f->place);
    if (ratio <= limit) return "";
    return format("over the floor: look %.0f us, temporary %+.0f, place %+.0f, the rest %.0f", look,
                  stage, place, mine);
}

static void write_parts(agt_store *s, const char *rel) {
    memset(shim.us, 0, sizeof shim.us);
    shim.stage = PART_LOOK;
    double start = now_us();
    store_write(s, rel);
    double left = now_us() - start;
    for (int i = 0; i < PARTS; i++) {
        sample_add(&parts[i], shim.us[i]);
        if (i <= PART_SYNC) left -= shim.us[i];
    }
    sample_add(&own, left);
}

static void report_writes(int docs, floor_state *f, bool indexed) {
    double t[VARIANTS];
    bool judged = docs <= 1000;
    for (int v = 0; v < VARIANTS; v++)
        t[v] = median(&times[v]);
#define ID(name) format("write.%d.%s", docs, name)
    told(ID("floor_us"), "floor", t[V_FLOOR], "us");
    told(ID("process_us"), "process", t[V_PROCESS], "us");
    told(ID("floor_sync_us"), "floor + fdatasync", t[V_FLOOR_SYNC], "us");
    told(ID("full_us"), "full", t[V_FULL], "us");
    told(ID("git_us"), "libgit2, no index, synced", t[V_GIT], "us");
    if (indexed) told(ID("index_us"), "libgit2, index each time, synced", t[V_INDEX], "us");
    double a = t[V_PROCESS] / t[V_FLOOR], b = t[V_FULL] / t[V_FLOOR_SYNC];
    report(ID("process_ratio"), "process / floor", a, "x", 1.35, false, cause(f, a, 1.35));
    report(ID("full_ratio"), "full / (floor + fdatasync)", b, "x", 1.3, false, cause(f, b, 1.3));
    report(ID("git_ratio"), "libgit2, no index, synced / full", t[V_GIT] / t[V_FULL], "x", 8, true,
           judged ? "" : "");
    if (indexed)
        report(ID("index_ratio"), "libgit2, index each time, synced / full", t[V_INDEX] / t[V_FULL],
               "x", docs == 1000 ? 20 : 0, true, "");
    report(ID("own_us"), "process: own part, without document", median(&own), "us", 20, false, "");
    told(ID("own_lock_us"), "  of it flock", median(&parts[PART_LOCK]), "us");
    told(ID("own_read_us"), "  of it pread and fstatat", median(&parts[PART_READ]), "us");
    told(ID("own_write_us"), "  of it pwrite: journal, trace, state", median(&parts[PART_WRITE]),
         "us");
    told(ID("look_us"), "process: looking at the document", median(&parts[PART_LOOK]), "us");
    told(ID("stage_us"), "process: temporary file", median(&parts[PART_STAGE]), "us");
    told(ID("place_us"), "process: exchange, look again, remove", median(&parts[PART_PLACE]), "us");
}

static void bench_writes(int docs) {
    static floor_state f[2];
    agt_store *s[3];
    git_state g[2];
    bool indexed = docs <= 1000;
    int count = quick ? 150 : 500, git_every = quick ? 10 : 8, index_every = quick ? 25 : 20;
    char rel[64];
    char *dir = format("%s/writes-%d", base, docs);
    section(format("one write of 2 KB, %d documents, at most %d operations of each", docs, count));
    memset(times, 0, sizeof times);
    memset(parts, 0, sizeof parts);
    memset(&own, 0, sizeof own);
    next_text();
    must(mkdir(dir, 0777) == 0, dir);
    for (int i = 0; i < 2; i++)
        floor_open(&f[i], format("%s/floor%d", dir, i), docs);
    for (int i = 0; i < 3; i++) {
        char *root = format("%s/store%d", dir, i);
        store_seed(root, docs, true, 0);
        s[i] = store_open(root, i == 1 ? AGT_DURABLE_FULL : AGT_DURABLE_PROCESS,
                          i == 2 ? shim_sys() : NULL);
    }
    git_open(&g[0], format("%s/git0", dir), docs);
    if (indexed) git_open(&g[1], format("%s/git1", dir), docs);
    sync();
    for (int k = -10; k < count && !overdue(k, 120, quick ? 9 : 30); k++) {
        int turn[VARIANTS];
        for (int v = 0; v < VARIANTS; v++)
            turn[v] = v;
        shuffle(turn, VARIANTS);
        next_text();
        doc_path(order(k + 10, docs), rel);
        for (int i = 0; i < VARIANTS; i++) {
            if (turn[i] == V_GIT && k % git_every) continue;
            if (turn[i] == V_INDEX && (!indexed || k % index_every)) continue;
            double start = now_us();
            switch (turn[i]) {
            case V_FLOOR: floor_write(&f[0], rel, false); break;
            case V_FLOOR_SYNC: floor_write(&f[1], rel, true); break;
            case V_PROCESS: store_write(s[0], rel); break;
            case V_FULL: store_write(s[1], rel); break;
            case V_PARTS: write_parts(s[2], rel); break;
            case V_GIT: git_write_no_index(&g[0], rel); break;
            case V_INDEX: git_write_index(&g[1], rel); break;
            }
            if (k >= 0) sample_add(&times[turn[i]], now_us() - start);
        }
    }
    told(format("write.%d.operations", docs), "operations of each", times[V_FULL].n, "");
    report_writes(docs, &f[0], indexed);
    for (int i = 0; i < 2; i++)
        floor_close(&f[i]);
    for (int i = 0; i < 3; i++)
        store_close(s[i]);
    git_close(&g[0]);
    if (indexed) git_close(&g[1]);
    remove_tree(dir);
}

/* ---- history: 100 prior writes against 10,000; and how much they take on disk ---- */

static uint64_t disk_bytes;
static int add_bytes(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)at;
    if (kind == FTW_F && !strstr(path, "/.agent-trace/trace/"))
        disk_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}
static double store_bytes(const char *root) {
    disk_bytes = 0;
    must(nftw(format("%s/.agent-trace", root), add_bytes, 32, FTW_PHYS) == 0, root);
    return (double)disk_bytes;
}

static void bench_history(void) {
    static sample t[2];
    const int docs = 100, many = quick ? 3000 : 10000;
    agt_store *s[2];
    char rel[64];
    char *dir = format("%s/history", base), *roots[2];
    section("after many writes (100 documents)");
    must(mkdir(dir, 0777) == 0, dir);
    double before = 0;
    for (int i = 0; i < 2; i++) {
        roots[i] = format("%s/store%d", dir, i);
        store_seed(roots[i], docs, true, 0);
        if (i == 1) before = store_bytes(roots[i]);
        if (i == 1) store_seed(roots[i], docs, false, many - docs);
        s[i] = store_open(roots[i], AGT_DURABLE_PROCESS, NULL);
    }
    double grown = (store_bytes(roots[1]) - before) / 1e6 / ((many - docs) / 1000.0);
    sync();
    int count = quick ? 300 : 1000;
    for (int k = -20; k < count; k++) {
        int first = (int)(random_next() & 1);
        next_text();
        doc_path(order(k + 20, docs), rel);
        for (int i = 0; i < 2; i++) {
            int v = i ^ first;
            double start = now_us();
            store_write(s[v], rel);
            if (k >= 0) sample_add(&t[v], now_us() - start);
        }
    }
    double few_us = median(&t[0]), many_us = median(&t[1]);
    told("history.100_us", "process, after 100 writes", few_us, "us");
    told("history.many_us", format("process, after %d writes", many), many_us, "us");
    report("history.ratio", format("%d writes before it / 100, process", many), many_us / few_us,
           "x", 1.1, false, "");
    report("disk.mb", "on disk for 1,000 writes, checkpointed, without the trace", grown, "MB", 3,
           false, "");
    store_close(s[0]);
    store_close(s[1]);
    remove_tree(dir);
}

/* ---- one write from a process of its own ---- */

static double spawn_us(char *const argv[]) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int rc;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    double start = now_us();
    must((errno = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ)) == 0, argv[0]);
    must(waitpid(pid, &rc, 0) == pid, "waitpid");
    double us = now_us() - start;
    posix_spawn_file_actions_destroy(&actions);
    if (rc) fprintf(stderr, "bench_store: %s %s failed\n", argv[0], argv[1] ? argv[1] : "");
    if (rc) exit(1);
    return us;
}

/* This very program, as a process that writes one document through libgit2. */
static int git_one_shot(const char *path, const char *rel, const char *content) {
    git_state g;
    memset(&g, 0, sizeof g);
    git_libgit2_init();
    must_git(git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1));
    must_git(git_repository_open(&g.repo, path));
    snprintf(text, sizeof text, "%s", content);
    g.root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *events = format("%s/.git/events.jsonl", path);
    g.events = open(events, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    git_write_no_index(&g, rel);
    git_close(&g);
    git_libgit2_shutdown();
    return 0;
}

static void bench_one_shot(void) {
    static sample t[4];
    const int docs = 1000, count = quick ? 30 : 150;
    char rel[64];
    git_state g;
    char *dir = format("%s/one-shot", base), *root = format("%s/store", dir);
    section("one write from a process of its own (1,000 documents)");
    if (access(program, X_OK) != 0) {
        printf("  left out: no program at %s\n", program);
        return;
    }
    must(mkdir(dir, 0777) == 0, dir);
    next_text();
    store_seed(root, docs, true, 0);
    git_open(&g, format("%s/git", dir), docs);
    git_close(&g);
    for (int k = -3; k < count && !overdue(k, 20, quick ? 4 : 20); k++) {
        int turn[4] = {0, 1, 2, 3};
        next_text();
        doc_path(order(k + 3, docs), rel);
        shuffle(turn, 4);
        for (int i = 0; i < 4; i++) {
            char *empty[] = {"/bin/true", NULL};
            char *ours[] = {program,
                            "-C",
                            root,
                            "--actor",
                            "agent:kestrel",
                            "write",
                            rel,
                            "--content",
                            text,
                            "--publish",
                            "idle",
                            "--durability",
                            turn[i] == 1 ? "full" : "process",
                            NULL};
            char *git[] = {self, "--git-one-shot", g.path, rel, text, NULL};
            double us = spawn_us(turn[i] == 0 ? empty : turn[i] == 3 ? git : ours);
            if (k >= 0) sample_add(&t[turn[i]], us);
        }
    }
    double empty = median(&t[0]) / 1e3, full = median(&t[1]) / 1e3, process = median(&t[2]) / 1e3,
           git = median(&t[3]) / 1e3;
    told("one_shot.empty_ms", "an empty process", empty, "ms");
    told("one_shot.full_ms", "agent-trace write, full", full, "ms");
    told("one_shot.process_ms", "agent-trace write, process", process, "ms");
    told("one_shot.git_ms", "libgit2, no index, synced", git, "ms");
    told("one_shot.full_over_ms", "agent-trace write, full, over an empty process", full - empty,
         "ms");
    report("one_shot.process_over_ms", "agent-trace write, process, over an empty process",
           process - empty, "ms", 1, false, "");
    told("one_shot.git_over_ms", "libgit2 over an empty process", git - empty, "ms");
    report("one_shot.ratio", "libgit2, synced / agent-trace write, full", git / full, "x", 8, true,
           "");
    told("one_shot.over_ratio", "the same, both over an empty process",
         (git - empty) / (full - empty), "x");
    remove_tree(dir);
}

/* ---- publishing ---- */

static void shell(const char *command) {
    int rc = system(command);
    if (rc) fprintf(stderr, "bench_store: failed: %s\n", command);
    if (rc) exit(1);
}

static void bench_publish(int docs) {
    static sample ours, git;
    const int count = 1000, runs = quick ? 2 : docs > 1000 ? 3 : 5;
    agt_error err;
    char *dir = format("%s/publish-%d", base, docs), *root = format("%s/store", dir);
    char *repo = format("%s/.agent-trace/git", root);
    memset(&ours, 0, sizeof ours);
    memset(&git, 0, sizeof git);
    must(mkdir(dir, 0777) == 0, dir);
    store_seed(root, docs, true, 0);
    sync();
    agt_store *s = store_open(root, AGT_DURABLE_PROCESS, NULL);
    section_from = now_us();
    for (int run = 0; run < runs && !overdue(run, 2, quick ? 4 : 18); run++) {
        shell(
            format("cd '%s' && rm -rf before && cp -r '%s' before && git --git-dir='%s' rev-parse "
                   "refs/heads/main >head",
                   dir, repo, repo));
        store_fill(s, run * count, count, docs, false);
        double start = now_us();
        must_agt(agt_publish(s, &err), &err);
        sample_add(&ours, now_us() - start);
        shell(format(
            "cd '%s' && git --git-dir='%s' fast-export --reference-excluded-parents "
            "^$(cat head) refs/heads/main >stream && test $(grep -ac ^committer stream) = %d",
            dir, repo, count));
        char *command = format("cd '%s' && git --git-dir=before fast-import --quiet <stream", dir);
        start = now_us();
        shell(command);
        sample_add(&git, now_us() - start);
        shell(format("test $(git --git-dir='%s' rev-parse refs/heads/main) = "
                     "$(git --git-dir='%s/before' rev-parse refs/heads/main)",
                     repo, dir));
        store_checkpoint(s);
    }
    double a = median(&ours) / 1e3, b = median(&git) / 1e3;
#undef ID
#define ID(name) format("publish.%d.%s", docs, name)
    told(ID("ours_ms"), format("%d documents: agt_publish of 1,000 records", docs), a, "ms");
    told(ID("fast_import_ms"), format("%d documents: git fast-import of the same", docs), b, "ms");
    report(ID("ratio"), format("%d documents: fast-import / agt_publish", docs), b / a, "x", 2,
           true, "");
    store_close(s);
    remove_tree(dir);
}

/* ---- a writer beside a checkpoint ---- */

typedef struct neighbour {
    volatile int ask, done, stop; /* rounds */
    double begin, end;            /* of the newest checkpoint */
} neighbour;

static void neighbour_run(const char *root, neighbour *n) {
    agt_store *s = store_open(root, AGT_DURABLE_FULL, NULL);
    __sync_synchronize();
    n->done = 1;
    while (!n->stop) {
        if (n->ask < n->done) {
            usleep(200);
            continue;
        }
        n->begin = now_us();
        store_checkpoint(s);
        n->end = now_us();
        __sync_synchronize();
        n->done = n->done + 1;
    }
    store_close(s);
    _exit(0);
}

static void bench_checkpoint(void) {
    static sample alone, beside, sync_us, whole;
    const int docs = 1000, wanted = quick ? 100 : 300, most = quick ? 8 : 40;
    char rel[64];
    char *dir = format("%s/checkpoint", base), *root = format("%s/store", dir);
    section("a writer (full) while another process checkpoints 1,000 records");
    must(mkdir(dir, 0777) == 0, dir);
    store_seed(root, docs, true, 0);
    sync();
    agt_store *s = store_open(root, AGT_DURABLE_FULL, NULL);
    neighbour *n = mmap(NULL, sizeof *n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(n != MAP_FAILED, "mmap");
    fflush(NULL);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) neighbour_run(root, n);
    while (!n->done)
        usleep(1000);
    floor_state f;
    floor_open(&f, format("%s/floor", dir), 1);
    int k = 0, rounds = 0;
    for (; rounds < most && (beside.n < wanted || alone.n < wanted); rounds++) {
        for (int i = 0; i < (quick ? 60 : 80); i++) {
            next_text();
            doc_path(order(k++, docs), rel);
            double start = now_us();
            store_write(s, rel);
            sample_add(&alone, now_us() - start);
            must(pwrite(f.journal, text, DOC_BYTES, 8192 + i * DOC_BYTES) == DOC_BYTES, "pwrite");
            start = now_us();
            must(fdatasync(f.journal) == 0, "fdatasync");
            sample_add(&sync_us, now_us() - start);
        }
        store_fill(s, k, 1000, docs, false);
        k += 1000;
        int round = n->done;
        n->ask = round;
        while (n->done == round) {
            next_text();
            doc_path(order(k++, docs), rel);
            double start = now_us();
            store_write(s, rel);
            double end = now_us();
            __sync_synchronize();
            bool inside = n->begin > 0 && end > n->begin && (n->done == round || start < n->end);
            if (inside && n->done == round) sample_add(&beside, end - start);
            if (inside && n->done != round && start < n->end) sample_add(&beside, end - start);
        }
        sample_add(&whole, n->end - n->begin);
        n->begin = 0;
    }
    n->stop = 1;
    waitpid(pid, NULL, 0);
    double a = sample_at(&alone, 0.99), b = sample_at(&beside, 0.99), d = median(&sync_us);
    told("checkpoint.ms", format("a checkpoint beside a writer (%d of them)", rounds),
         median(&whole) / 1e3, "ms");
    told("checkpoint.alone_p50_us", "writer alone, median", median(&alone), "us");
    told("checkpoint.alone_p99_us", format("writer alone, p99 of %d", alone.n), a, "us");
    told("checkpoint.beside_p50_us", "writer beside it, median", median(&beside), "us");
    told("checkpoint.fdatasync_us", "one fdatasync", d, "us");
    report("checkpoint.beside_p99_us", format("writer beside it, p99 of %d", beside.n), b, "us",
           (double)(long)(3 * a + d), false, "(3 p99 alone + one fdatasync)");
    floor_close(&f);
    store_close(s);
    remove_tree(dir);
}

/* ---- */

int main(int argc, char **argv) {
    const char *json = NULL, *folder = getenv("TMPDIR"), *only = "";
    bool to_stdout = false;
    if (argc == 5 && strcmp(argv[1], "--git-one-shot") == 0)
        return git_one_shot(argv[2], argv[3], argv[4]);
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
        else if (!strcmp(argv[i], "--only") && more)
            only = argv[++i];
        else if (!strcmp(argv[i], "--program") && more)
            snprintf(program, sizeof program, "%s", argv[++i]);
        else
            return fprintf(stderr, "usage: bench_store [--json [PATH]] [--quick] [--dir FOLDER] "
                                   "[--only PART] [--program PATH]\n"),
                   2;
    }
    table = !to_stdout;
    started = now_us();
    find_self(argv[0], self, sizeof self);
    find_program(argv[0], program, sizeof program);
    snprintf(base, sizeof base, "%s/bench_store.XXXXXX", folder && *folder ? folder : "/tmp");
    must(mkdtemp(base) != NULL, base);
    must(git_libgit2_init() > 0, "libgit2");
    static const int sizes[] = {10, 1000, 10000};
    for (size_t i = 0; i < COUNT(sizes) - quick; i++)
        if (strstr("writes", only)) bench_writes(sizes[i]);
    if (strstr("history", only)) bench_history();
    if (strstr("one-shot", only)) bench_one_shot();
    if (strstr("publish", only)) section("publishing 1,000 records, no documents written");
    for (size_t i = 0; i < COUNT(sizes) - quick; i++)
        if (strstr("publish", only)) bench_publish(sizes[i]);
    if (strstr("checkpoint", only)) bench_checkpoint();
    git_libgit2_shutdown();
    remove_tree(base);
    if (to_stdout) rows_json(stdout);
    if (table) printf("\n%.0f s\n", (now_us() - started) / 1e6);
    if (json) write_to(json, rows_json);
    return 0;
}
