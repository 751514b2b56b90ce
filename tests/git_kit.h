/* What the tests of git share: a repository on the real disk or in a machine, calls that must
 * succeed, and a model: a plain list of paths and bytes for every commit. */
#ifndef AGT_GIT_KIT_H
#define AGT_GIT_KIT_H

#include "../src/git/git.h"
#include "../src/git/parts.h"
#include "store_kit.h"
#include "test.h"

#include <unistd.h>

/* ---- a repository ---- */

typedef struct kit_git {
    const char *path;
    const agt_sys *sys;
    agt_fd dir;
    agt_mem mem;
    agt_git *git;
} kit_git;

static inline void kit_git_reopen(kit_git *k) {
    agt_error err;
    agt__git_close(k->git);
    CHECK_OK(agt__git_open(&k->git, k->sys, k->dir, &k->mem, agt__cpu(), &err), err);
}

/* The repository in the folder `path`, made if it is not there. */
static inline kit_git kit_git_on(const agt_sys *sys, const char *path,
                                 const agt_allocator *allocator) {
    agt_error err;
    kit_git k = {path, sys, sys->open_root(sys->ctx, path), agt__mem(allocator), NULL};
    CHECK(k.dir >= 0);
    CHECK_OK(agt__git_init(sys, k.dir, &k.mem, &err), err);
    kit_git_reopen(&k);
    return k;
}
static inline kit_git kit_git_new(void) {
    return kit_git_on(agt_sys_os(), test_folder(), NULL);
}
static inline void kit_git_close(kit_git *k) {
    agt__git_close(k->git);
    k->sys->close(k->sys->ctx, k->dir);
}

static inline agt_oid kit_blob_id(const void *bytes, size_t len) {
    agt_oid id;
    agt__git_id(agt__cpu(), "blob", bytes, len, id.id);
    return id;
}

static inline const char *kit_hex(const agt_oid *id) {
    static char out[4][41];
    static int at;
    char *p = out[at++ & 3];
    agt__hex(id->id, sizeof id->id, p);
    p[40] = 0;
    return p;
}

static inline bool kit_same_id(const agt_oid *a, const agt_oid *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static inline agt_status kit_try_put(agt_git *git, const char *path, const void *bytes, size_t len,
                                     agt_error *err) {
    agt_oid id = kit_blob_id(bytes, len);
    return agt__git_put(git, path, strlen(path), &id, bytes, len, err);
}

static inline void kit_put(kit_git *k, const char *path, const void *bytes, size_t len) {
    agt_error err;
    CHECK_OK(kit_try_put(k->git, path, bytes, len, &err), err);
}
static inline void kit_put_text(kit_git *k, const char *path, const char *text) {
    kit_put(k, path, text, strlen(text));
}
static inline void kit_remove(kit_git *k, const char *path) {
    agt_error err;
    CHECK_OK(agt__git_remove(k->git, path, strlen(path), &err), err);
}
static inline void kit_begin(kit_git *k, const agt_oid *parent) {
    agt_error err;
    CHECK_OK(agt__git_begin(k->git, parent, &err), err);
}

/* The author, time and message of commit number n. */
static inline agt_status kit_try_commit(agt_git *git, int n, agt_oid *out, agt_error *err) {
    char message[400];
    agt_git_signature who = {agt__text(n % 3 ? "agent:kestrel" : "user"),
                             agt__text(n % 2 ? "" : "user@localhost"), 1700000000 + n};
    snprintf(message, sizeof message,
             "change %d\n\n{\"seq\":%d,\"actor\":\"agent:kestrel\",\"action\":\"modify\",\"path\":"
             "\"docs/plan.md\",\"source\":\"test\",\"prev\":\"%064d\"}\n",
             n, n, n * 7919);
    return agt__git_commit(git, &who, 1700000000 + n, agt__text(message), out, err);
}
static inline agt_oid kit_commit(kit_git *k, int n) {
    agt_error err;
    agt_oid id;
    CHECK_OK(kit_try_commit(k->git, n, &id, &err), err);
    return id;
}
static inline void kit_write_how(kit_git *k, agt_git_write how) {
    agt_error err;
    CHECK_OK(agt__git_write(k->git, how, &err), err);
}
/* Whatever it names now. */
static inline agt_status kit_try_set_head(agt_git *git, const agt_oid *id, bool durable,
                                          agt_error *err) {
    agt_oid was;
    agt_error mine;
    bool found;
    agt_status status = agt__git_head(git, &was, &found, &mine);
    if (status != AGT_OK && status != AGT_CORRUPT) return agt__answer(status, &mine, err);
    return agt__git_set_head(git, id, found ? &was : NULL, durable, err);
}
static inline void kit_set_head(kit_git *k, const agt_oid *id) {
    agt_error err;
    CHECK_OK(kit_try_set_head(k->git, id, true, &err), err);
}

/* Does the object's bytes read as these? */
static inline void kit_reads_as(kit_git *k, const agt_oid *id, const void *bytes, size_t len) {
    agt_error err;
    agt_buf b = agt__buf(&k->mem);
    CHECK_OK(agt__git_read(k->git, id, &b, &err), err);
    CHECK_BYTES(b.data, b.len, bytes, len);
    agt__buf_free(&b);
}
static inline agt_status kit_read_status(kit_git *k, const agt_oid *id) {
    agt_error err = {.status = AGT_END};
    agt_buf b = agt__buf(&k->mem);
    agt_status status = agt__git_read(k->git, id, &b, &err);
    CHECK_INT(err.status, status == AGT_OK ? AGT_END : status); /* left alone on success */
    CHECK(status == AGT_OK || b.len == 0);
    agt__buf_free(&b);
    return status;
}

/* ---- git itself, on the same folder ---- */

/* No configuration but the repository's own. */
#define KIT_GIT                                                                                    \
    "HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null git --git-dir='%s' "

static inline void kit_need_git(void) {
    if (system("git --version >/dev/null 2>&1") != 0) test_skip("git is not installed");
}

/* Not a word from fsck, not about dangling objects either. */
static inline void kit_fsck(const kit_git *k) {
    char *said = kit_run(KIT_GIT "fsck --full --strict 2>&1", k->path);
    CHECK_STR(said, "");
    free(said);
}

/* ---- the model ---- */

typedef struct model_file {
    char *path;
    unsigned char *bytes;
    size_t len;
    agt_oid id;
} model_file;

typedef struct model {
    model_file *files;
    size_t count;
} model;

static inline void model_forget(model *m, size_t i) {
    free(m->files[i].path);
    free(m->files[i].bytes);
    m->files[i] = m->files[--m->count];
}
static inline void model_free(model *m) {
    while (m->count)
        model_forget(m, 0);
    free(m->files);
    m->files = NULL;
}

/* Is `path` in the folder `folder`? */
static inline bool model_inside(const char *path, const char *folder) {
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static inline void model_remove(model *m, const char *path) {
    for (size_t i = m->count; i-- > 0;)
        if (!strcmp(m->files[i].path, path)) model_forget(m, i);
}

static inline void model_put(model *m, const char *path, const void *bytes, size_t len) {
    for (size_t i = m->count; i-- > 0;) {
        const char *other = m->files[i].path;
        if (!strcmp(other, path) || model_inside(other, path) || model_inside(path, other))
            model_forget(m, i);
    }
    m->files = realloc(m->files, (m->count + 1) * sizeof *m->files);
    model_file *f = &m->files[m->count++];
    f->path = strdup(path);
    f->bytes = malloc(len + 1);
    memcpy(f->bytes, bytes, len);
    f->len = len;
    f->id = kit_blob_id(bytes, len);
}

static inline model model_copy(const model *m) {
    model out = {calloc(m->count + 1, sizeof *m->files), m->count};
    for (size_t i = 0; i < m->count; i++) {
        out.files[i] = m->files[i];
        out.files[i].path = strdup(m->files[i].path);
        out.files[i].bytes = malloc(m->files[i].len + 1);
        memcpy(out.files[i].bytes, m->files[i].bytes, m->files[i].len);
    }
    return out;
}

static inline int model_order(const void *a, const void *b) {
    return strcmp(((const model_file *)a)->path, ((const model_file *)b)->path);
}

/* "100644 blob <id>\t<path>\n" for each file, as git ls-tree -r would; free it. */
static inline char *model_listing(model *m) {
    size_t cap = 1, n = 0;
    if (m->count) qsort(m->files, m->count, sizeof *m->files, model_order);
    for (size_t i = 0; i < m->count; i++)
        cap += strlen(m->files[i].path) + 64;
    char *out = calloc(1, cap);
    for (size_t i = 0; i < m->count; i++)
        n += (size_t)snprintf(out + n, cap - n, "100644 blob %s\t%s\n", kit_hex(&m->files[i].id),
                              m->files[i].path);
    return out;
}

static inline int model_line_order(const void *a, const void *b) {
    return strcmp(strchr(*(char *const *)a, '\t'), strchr(*(char *const *)b, '\t'));
}

/* git lists folders in its own order: sort its lines by path alone. */
static inline char *model_sort_lines(char *text) {
    size_t n = 0, cap = strlen(text) + 1, at = 0;
    char **lines = malloc(sizeof *lines * (cap + 1));
    for (char *p = strtok(text, "\n"); p; p = strtok(NULL, "\n"))
        lines[n++] = p;
    if (n) qsort(lines, n, sizeof *lines, model_line_order);
    char *out = calloc(1, cap + 1);
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(out + at, "%s\n", lines[i]);
    free(lines);
    return out;
}

/* git itself sees exactly the model's files in the commit. */
static inline void model_check_git(const kit_git *k, model *m, const agt_oid *commit) {
    char *got = kit_run(KIT_GIT "-c core.quotePath=false ls-tree -r %s", k->path, kit_hex(commit));
    char *sorted = model_sort_lines(got), *want = model_listing(m);
    CHECK_STR(sorted, want);
    free(got);
    free(sorted);
    free(want);
}

/* ---- random changes ---- */

static const char *const kit_paths[] = {
    "docs",
    "docs/plan.md",
    "docs/a/b/c/deep.md",
    "docs/a/b",
    "docs/a.md",
    "docs.0.md",
    "docs-1",
    "docs0",
    "docs/a",
    "docs/a-b/x",
    "docs/a/x.md",
    "docs/a0",
    "README.md",
    "A",
    "a",
    "z/z/z/z",
    "z/z",
    "z",
    "z.z",
    "z/y",
    "\xc3\xa9t\xc3\xa9.md",
    "with space/and more.md",
    "log.jsonl",
    "log/one.md",
    "log",
    "notes/2026/01/01.md",
    "notes/2026/01/02.md",
    "notes/2026",
    "notes/2026/02/01.md",
    "n",
    "ne/x",
    "n/e/x",
    "n/e",
    "n.e",
};

/* Some text, often a small edit of what was there: lines of words. */
static inline size_t kit_text(unsigned char *out, size_t cap) {
    static const char *const words[] = {"agent",   "plan",    "context", "write", "the",  "of",
                                        "journal", "version", "- [ ] ",  "##",    "step", "done"};
    size_t n = 0, want = test_random_below(cap - 16);
    while (n < want) {
        const char *w = words[test_random_below(12)];
        memcpy(out + n, w, strlen(w));
        n += strlen(w);
        out[n++] = test_random_below(9) ? ' ' : '\n';
    }
    return n;
}

/* Changes a file's bytes a little: an insertion, a deletion or an overwriting somewhere. */
static inline size_t kit_edit(unsigned char *bytes, size_t len, size_t cap) {
    unsigned char piece[64];
    size_t n = kit_text(piece, sizeof piece), at = test_random_below(len + 1), cut = len - at;
    if (cut > 40) cut = test_random_below(40);
    if (len - cut + n > cap) return len;
    memmove(bytes + at + n, bytes + at + cut, len - at - cut);
    memcpy(bytes + at, piece, n);
    return len - cut + n;
}

/* One random change, made in both worlds. */
static inline void kit_random_change(kit_git *k, model *m, const char *path) {
    unsigned char bytes[6000];
    size_t len = 0;
    if (test_random_below(4) == 0) {
        kit_remove(k, path);
        model_remove(m, path);
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->files[i].path, path) != 0 || m->files[i].len > 5000) continue;
        memcpy(bytes, m->files[i].bytes, len = m->files[i].len);
    }
    if (len && test_random_below(5))
        len = kit_edit(bytes, len, sizeof bytes);
    else if (test_random_below(12))
        len = kit_text(bytes, 3000);
    else
        len = 0;
    kit_put(k, path, bytes, len);
    model_put(m, path, bytes, len);
}

#endif /* AGT_GIT_KIT_H */
