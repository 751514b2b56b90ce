/* past: reading a history that somebody else wrote: which commit is the newest, what stands in a
 * commit, and which files differ between two trees.
 *
 * (1) Only objects, HEAD, refs and the reflog are read. The configuration is not: neither a work
 *     tree that it names, nor filters, nor anything else that a program could be made to run.
 * (2) Objects are asked for by their ids and checked against them, so nothing that stands in their
 *     place is believed.
 * (3) Trees are compared in git's own order, which is the byte order of whole paths. */
#include "parts.h"

#define PAST_REF_MAX 4096u
#define PAST_LOG_MAX (256u * 1024 * 1024)
#define PAST_DEPTH   128
#define PAST_MODE    7u /* octal digits and the blank: "100644 " */

/* ---- the newest commit ---- */

static bool past_ref_name(const char *s, size_t n) {
    if (n < 6 || memcmp(s, "refs/", 5) != 0 || s[n - 1] == '/') return false;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f || s[i] == '\\') return false;
        if (s[i] == '.' && (i + 1 == n || s[i + 1] == '.' || s[i - 1] == '/')) return false;
        if (s[i] == '/' && s[i - 1] == '/') return false;
    }
    return true;
}

static size_t past_trim(const agt_buf *b) {
    size_t n = b->len;
    while (n && (b->data[n - 1] == '\n' || b->data[n - 1] == '\r' || b->data[n - 1] == ' '))
        n--;
    return n;
}

/* Reads a file that may lie in folders beneath the repository. */
static agt_status past_file(agt_git *git, const char *path, size_t max, agt_buf *out,
                            agt_error *err) {
    char folder[PAST_REF_MAX];
    const agt_sys *sys = git->sys;
    size_t cut = strlen(path);
    while (cut && path[cut - 1] != '/')
        cut--;
    if (!cut) return agt__read_file(sys, git->dir, path, max, out, err);
    if (!agt__copy_text(folder, sizeof folder, path, cut - 1))
        return agt__fail(err, AGT_LIMIT, "the name of a ref is too long");
    agt_fd fd = sys->walk(sys->ctx, git->dir, folder);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %.200s in the git folder", folder);
    agt_status st = agt__read_file(sys, fd, path + cut, max, out, err);
    sys->close(sys->ctx, fd);
    return st;
}

/* Appends the id that packed-refs has for the ref, if it has one. */
static agt_status past_packed(agt_git *git, const char *ref, agt_buf *ids, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    unsigned char id[20];
    size_t len = strlen(ref);
    agt_status st = agt__read_file(git->sys, git->dir, "packed-refs", PAST_LOG_MAX, &b, err);
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    for (; st == AGT_OK && p && p < end; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if ((size_t)(line_end - p) != AGT_GIT_HEX + 1 + len || p[AGT_GIT_HEX] != ' ') continue;
        if (memcmp(p + AGT_GIT_HEX + 1, ref, len) == 0 && agt__unhex(p, AGT_GIT_HEX, id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
    }
    agt__buf_free(&b);
    return st;
}

/* Appends what the last lines of the reflog name, the newest first: "<old> <new> <who> ...". */
static agt_status past_reflog(agt_git *git, agt_buf *ids, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    unsigned char id[20];
    agt_status st = past_file(git, "logs/HEAD", PAST_LOG_MAX, &b, err);
    size_t end = st == AGT_OK ? past_trim(&b) : 0;
    while (end) {
        size_t begin = end;
        while (begin && b.data[begin - 1] != '\n')
            begin--;
        const char *line = (const char *)b.data + begin;
        if (end - begin > 2 * AGT_GIT_HEX + 1 && line[AGT_GIT_HEX] == ' ' &&
            agt__unhex(line + AGT_GIT_HEX + 1, AGT_GIT_HEX, id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
        end = begin ? begin - 1 : 0;
    }
    agt__buf_free(&b);
    return st;
}

/* What is not there, or is damaged, is another candidate's turn. */
static agt_status past_skip(agt_status st, const agt_error *mine, agt_error *err) {
    if (st != AGT_NOMEM && st != AGT_IO) return AGT_OK;
    return agt__answer(st, mine, err);
}

AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err) {
    char ref[PAST_REF_MAX];
    unsigned char id[20];
    agt_error mine;
    agt_buf b = agt__buf(&git->mem);
    agt_status st = agt__read_file(git->sys, git->dir, "HEAD", PAST_REF_MAX, &b, &mine);
    size_t n = st == AGT_OK ? past_trim(&b) : 0;
    const char *text = (const char *)b.data;
    ref[0] = 0;
    if (n > 5 && memcmp(text, "ref: ", 5) == 0 && past_ref_name(text + 5, n - 5))
        (void)agt__copy_text(ref, sizeof ref, text + 5, n - 5);
    else if (agt__unhex(text, n, id, sizeof id))
        agt__buf_put(ids, id, sizeof id);
    st = past_skip(st, &mine, err);
    if (st == AGT_OK && ref[0]) {
        b.len = 0;
        st = past_file(git, ref, PAST_REF_MAX, &b, &mine);
        if (st == AGT_OK && agt__unhex((const char *)b.data, past_trim(&b), id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
        st = past_skip(st, &mine, err);
        if (st == AGT_OK) st = past_skip(past_packed(git, ref, ids, &mine), &mine, err);
    }
    agt__buf_free(&b);
    if (st == AGT_OK) st = past_skip(past_reflog(git, ids, &mine), &mine, err);
    return st == AGT_OK && ids->failed ? agt__nomem(err) : st;
}

static agt_status past_tip(void *ctx, const agt_oid *id, bool is_main, agt_error *err) {
    (void)is_main;
    agt__buf_put(ctx, id->id, sizeof id->id);
    return ((agt_buf *)ctx)->failed ? agt__nomem(err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_past_tips(agt_git *git, agt_buf *ids, agt_error *err) {
    agt_error mine;
    return past_skip(agt__git_each_ref(git, past_tip, ids, &mine), &mine, err);
}

/* ---- commits ---- */

/* "<label> <id>\n" at *at. */
static bool past_id_line(const agt_buf *b, size_t *at, const char *label, agt_oid *id) {
    const char *p = (const char *)b->data + *at;
    size_t n = strlen(label);
    if (b->len - *at < n + AGT_GIT_HEX + 1 || memcmp(p, label, n) != 0) return false;
    if (p[n + AGT_GIT_HEX] != '\n' || !agt__unhex(p + n, AGT_GIT_HEX, id->id, 20)) return false;
    *at += n + AGT_GIT_HEX + 1;
    return true;
}

/* "<name> <<email>> <seconds> <zone>" */
static void past_person(const char *s, size_t n, agt_git_past *out) {
    size_t open = 0, close = n, at;
    while (open < n && s[open] != '<')
        open++;
    while (close > open && s[close - 1] != '>')
        close--;
    out->author = (agt_text){s, open && s[open - 1] == ' ' ? open - 1 : open};
    out->email = open < close ? (agt_text){s + open + 1, close - open - 2} : agt__text("");
    out->unix_s = 0;
    for (at = close + (close < n); at < n && s[at] >= '0' && s[at] <= '9'; at++)
        if (out->unix_s < AGT_TIME_MAX / 1000) out->unix_s = out->unix_s * 10 + (s[at] - '0');
    if (out->unix_s > AGT_TIME_MAX / 1000) out->unix_s = AGT_TIME_MAX / 1000;
}

AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err) {
    int kind = 0;
    agt_oid other;
    size_t at = 0;
    memset(out, 0, sizeof *out);
    bytes->len = 0;
    agt_status st = agt__git_load(git, id, &kind, bytes, err);
    if (st != AGT_OK) return st;
    if (kind != AGT_GIT_COMMIT || !past_id_line(bytes, &at, "tree ", &out->tree))
        return agt__fail(err, AGT_CORRUPT, "a git object is no commit");
    out->has_parent = past_id_line(bytes, &at, "parent ", &out->parent);
    while (past_id_line(bytes, &at, "parent ", &other)) { /* only the first counts */
    }
    const char *p = (const char *)bytes->data, *end = p + bytes->len, *line_end;
    for (p += at; p < end && *p != '\n'; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end - p > 7 && memcmp(p, "author ", 7) == 0)
            past_person(p + 7, (size_t)(line_end - p) - 7, out);
    }
    if (p < end) p++;
    out->message = (agt_text){p < end ? p : "", p < end ? (size_t)(end - p) : 0};
    return AGT_OK;
}

/* ---- what differs between two trees ---- */

typedef struct past_entry {
    agt_text name;
    bool folder, link; /* link: another repository, whose commits are elsewhere */
    agt_oid id;
} past_entry;

typedef struct past_walk {
    agt_git *git;
    agt_git_change_fn each;
    void *ctx;
    agt_buf path;
} past_walk;

/* The entry at *at of a tree; false at its end, and where it is none. */
static bool past_next(const agt_buf *b, size_t *at, past_entry *e) {
    const unsigned char *p = b->data ? b->data + *at : NULL, *end = p ? b->data + b->len : p;
    if (p == end) return false;
    const unsigned char *blank = memchr(p, ' ', (size_t)(end - p));
    if (!blank || blank - p >= (ptrdiff_t)PAST_MODE) return false;
    const unsigned char *nul = memchr(blank, 0, (size_t)(end - blank));
    if (!nul || end - nul < 21 || nul == blank + 1) return false;
    e->name = (agt_text){(const char *)blank + 1, (size_t)(nul - blank) - 1};
    e->folder = p[0] == '4' || (blank - p == 6 && memcmp(p, "040000", 6) == 0);
    e->link = blank - p == 6 && memcmp(p, "160000", 6) == 0;
    memcpy(e->id.id, nul + 1, 20);
    *at = (size_t)(nul + 21 - b->data);
    return true;
}

/* (3): as if a folder's name ended in a slash. */
static int past_order(const past_entry *a, const past_entry *b) {
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int d = memcmp(a->name.data, b->name.data, n);
    if (d) return d;
    unsigned char x = a->name.len > n ? (unsigned char)a->name.data[n] : a->folder ? '/' : 0;
    unsigned char y = b->name.len > n ? (unsigned char)b->name.data[n] : b->folder ? '/' : 0;
    if (x != y) return x < y ? -1 : 1;
    return (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static agt_status past_load_tree(agt_git *git, const agt_oid *id, agt_buf *out, agt_error *err) {
    int kind = AGT_GIT_TREE;
    past_entry e;
    size_t at = 0;
    static const unsigned char empty[20] = {0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e,
                                            0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6,
                                            0x92, 0x88, 0xfb, 0xee, 0x49, 0x04};
    if (!id || memcmp(id->id, empty, 20) == 0) return AGT_OK; /* known to git without an object */
    agt_status st = agt__git_load(git, id, &kind, out, err);
    if (st != AGT_OK) return st;
    while (past_next(out, &at, &e)) {
    }
    return kind == AGT_GIT_TREE && at == out->len
               ? AGT_OK
               : agt__fail(err, AGT_CORRUPT, "a git object is no tree");
}

static agt_status past_trees(past_walk *w, const agt_oid *from, const agt_oid *to, int depth,
                             agt_error *err);

/* One name: a NULL side has it not. */
static agt_status past_one(past_walk *w, const past_entry *a, const past_entry *b, int depth,
                           agt_error *err) {
    const past_entry *e = a ? a : b;
    size_t start = w->path.len;
    agt_status st = AGT_OK;
    if (a && b && memcmp(&a->id, &b->id, sizeof a->id) == 0) return AGT_OK;
    agt__buf_put(&w->path, e->name.data, e->name.len);
    if (w->path.failed) return agt__nomem(err);
    if (e->folder) {
        agt__buf_byte(&w->path, '/');
        st = w->path.failed ? agt__nomem(err)
                            : past_trees(w, a ? &a->id : NULL, b ? &b->id : NULL, depth + 1, err);
    } else {
        const agt_oid *was = a && !a->link ? &a->id : NULL, *now = b && !b->link ? &b->id : NULL;
        agt_text path = {(const char *)w->path.data, w->path.len};
        if (was || now) st = w->each(w->ctx, path, was, now, err);
    }
    w->path.len = start;
    return st;
}

static agt_status past_merge(past_walk *w, const agt_buf *from, const agt_buf *to, int depth,
                             agt_error *err) {
    size_t i = 0, j = 0;
    past_entry a, b;
    agt_status st = AGT_OK;
    bool has_a = past_next(from, &i, &a), has_b = past_next(to, &j, &b);
    while (st == AGT_OK && (has_a || has_b)) {
        int d = !has_a ? 1 : !has_b ? -1 : past_order(&a, &b);
        st = past_one(w, d <= 0 ? &a : NULL, d >= 0 ? &b : NULL, depth, err);
        if (d <= 0) has_a = past_next(from, &i, &a);
        if (d >= 0) has_b = past_next(to, &j, &b);
    }
    return st;
}

static agt_status past_trees(past_walk *w, const agt_oid *from, const agt_oid *to, int depth,
                             agt_error *err) {
    agt_git *git = w->git;
    if (depth > PAST_DEPTH) return agt__fail(err, AGT_LIMIT, "a tree has too many folders");
    agt_buf a = agt__buf(&git->mem), b = agt__buf(&git->mem);
    agt_status st = past_load_tree(git, from, &a, err);
    if (st == AGT_OK) st = past_load_tree(git, to, &b, err);
    if (st == AGT_OK) st = past_merge(w, &a, &b, depth, err);
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err) {
    past_walk w = {git, each, ctx, agt__buf(&git->mem)};
    if (from && to && memcmp(from, to, sizeof *from) == 0) return AGT_OK;
    agt_status st = past_trees(&w, from, to, 0, err);
    agt__buf_free(&w.path);
    return st;
}
