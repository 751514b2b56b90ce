/* walk: the files beneath the root that are no documents, and what is left out of that list and
 * why.
 *
 * Only looked at, never read: a file that the patterns leave out may be a secret. No link is
 * followed and at most AGT_MAX_DEPTH folders are gone down, so it ends whatever is there. .git and
 * .agent-trace are passed by without a word at any depth; the rest of a git repository inside of
 * the root is ordinary files. A store inside of the root is somebody else's.
 *
 * Folders wait in a queue, so one is open at a time, however deep they lie. No lock is held: what
 * comes and goes meanwhile may be in the list or not.
 */
#include "store.h"

#include <stdlib.h>

#define WALK_RULES_NAME ".agent-trace-ignore"
#define WALK_RULES_MAX  65536u /* bytes in it */

typedef struct walk {
    agt_store *s;
    const char *under; /* only what is in this folder */
    size_t under_len;
    bool all; /* what is left out, too */
    agt_files *out;
    agt_buf text; /* of the user's patterns */
    agt_ignore_rule *rules;
    size_t rule_count, rule_room;
    agt_buf queue; /* folders, each ended by a NUL */
    size_t queue_at;
    agt_buf names; /* of the open folder, each ended by a NUL */
    agt_buf path;  /* of the folder with a slash behind it, then of what is in it */
} walk;

/* ---- the patterns ---- */

/* The usual ones first, so that the user's decide. */
static agt_status walk_rules(walk *w, agt_error *err) {
    size_t usual_len, count = 0;
    const char *usual = agt__ignore_usual(&usual_len);
    agt_error mine;
    agt_status st =
        agt__read_file(w->s->sys, w->s->root, WALK_RULES_NAME, WALK_RULES_MAX, &w->text, &mine);
    if (st == AGT_LIMIT)
        return agt__fail(err, st, WALK_RULES_NAME " has more than %u bytes; make it shorter",
                         WALK_RULES_MAX);
    if (st != AGT_OK && st != AGT_NOT_FOUND)
        return agt__fail(err, st == AGT_NOMEM ? st : AGT_IO,
                         WALK_RULES_NAME " cannot be read, so nobody knows what it leaves out: %s",
                         mine.message);
    const char *text = (const char *)w->text.data;
    w->rule_room = agt__ignore_lines(usual, usual_len) + agt__ignore_lines(text, w->text.len);
    w->rules = agt__alloc(&w->s->mem, w->rule_room * sizeof *w->rules);
    if (!w->rules) return agt__nomem(err);
    (void)agt__ignore_read(usual, usual_len, w->rules, &w->rule_count, NULL);
    st = agt__ignore_read(text, w->text.len, w->rules + w->rule_count, &count, &mine);
    if (st != AGT_OK)
        return agt__fail_at(err, st, mine.offset, WALK_RULES_NAME ": %s", mine.message);
    w->rule_count += count;
    return AGT_OK;
}

/* ---- what is found ---- */

/* Adds the path in w->path; `slash` says that it is a folder. */
static void walk_add(walk *w, const agt_stat *st, uint32_t left_out, bool slash) {
    agt_files *f = w->out;
    if ((left_out && !w->all) || (!slash && w->path.len <= w->under_len && w->under_len)) return;
    agt_file file = {NULL,
                     f->paths.len,
                     w->path.len + slash,
                     st ? st->size : 0,
                     st ? st->mtime_ns / 1000000 : 0,
                     left_out};
    agt__buf_put(&f->paths, w->path.data, w->path.len);
    if (slash) agt__buf_byte(&f->paths, '/');
    agt__buf_byte(&f->paths, 0);
    agt__buf_put(&f->rows, &file, sizeof file);
}

/* Is the path in the wanted folder, or on the way to it? */
static bool walk_wants(const walk *w) {
    size_t n = w->path.len < w->under_len ? w->path.len : w->under_len;
    const char *longer = w->path.len < w->under_len ? w->under : (const char *)w->path.data;
    if (!w->under_len) return true;
    return memcmp(w->path.data, w->under, n) == 0 &&
           (w->path.len == w->under_len || longer[n] == '/');
}

/* Can a document have this path (or, for a folder, one in it)? */
static bool walk_possible(const walk *w, bool folder) {
    char path[AGT_MAX_PATH + 1], out[AGT_MAX_PATH + 1];
    size_t n = w->path.len;
    if (n + 2 > AGT_MAX_PATH && (folder || n > AGT_MAX_PATH)) return false;
    memcpy(path, w->path.data, n);
    if (folder) {
        memcpy(path + n, "/x", 2);
        n += 2;
    }
    return agt__path_normalise(path, n, out, &n, NULL) == AGT_OK;
}

/* One name of the open folder. */
static void walk_name(walk *w, agt_fd folder, const char *name) {
    agt_stat st;
    if (strcmp(name, ".git") == 0 || strcmp(name, AGT_STORE_NAME) == 0) return;
    agt__buf_text(&w->path, name);
    if (w->path.failed || !walk_wants(w)) return;
    int rc = w->s->sys->stat(w->s->sys->ctx, folder, name, &st);
    if (rc < 0) {
        if (AGT_SYS_CLASS(rc) == AGT_SYS_NOMEM) w->path.failed = true;
        if (AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) walk_add(w, NULL, AGT_LEFT_OUT_UNREADABLE, false);
        return;
    }
    bool is_folder = st.kind == AGT_FILE_FOLDER;
    if (agt__ignore_one(w->rules, w->rule_count, (const char *)w->path.data, w->path.len,
                        is_folder) == AGT_IGNORE_LEFT_OUT)
        walk_add(w, &st, AGT_LEFT_OUT_IGNORED, is_folder);
    else if (st.kind == AGT_FILE_LINK)
        walk_add(w, &st, AGT_LEFT_OUT_LINK, false);
    else if (st.kind == AGT_FILE_OTHER)
        walk_add(w, &st, AGT_LEFT_OUT_OTHER, false);
    else if (!walk_possible(w, is_folder))
        walk_add(w, &st, AGT_LEFT_OUT_NAME, is_folder);
    else if (!is_folder)
        walk_add(w, &st, AGT_LEFT_OUT_NOT, false);
    else {
        agt__buf_put(&w->queue, w->path.data, w->path.len);
        agt__buf_byte(&w->queue, 0);
    }
}

/* ---- folders ---- */

static int walk_collect(void *ctx, const char *name) {
    walk *w = ctx;
    agt__buf_put(&w->names, name, strlen(name) + 1);
    return w->names.failed ? 1 : 0;
}

static void walk_names(walk *w, agt_fd folder) {
    size_t prefix = w->path.len;
    if (prefix) w->path.data[prefix++] = '/'; /* in place of the NUL */
    for (size_t at = 0; at < w->names.len && !w->path.failed;
         at += strlen((const char *)w->names.data + at) + 1) {
        w->path.len = prefix;
        walk_name(w, folder, (const char *)w->names.data + at);
    }
}

/* Everything in the folder whose path is in w->path; the root's is empty. */
static agt_status walk_folder(walk *w, agt_error *err) {
    const agt_sys *sys = w->s->sys;
    bool root = w->path.len == 0;
    w->names.len = 0;
    agt_fd folder = agt__walk_folder(sys, w->s->root, (const char *)w->path.data, false);
    int rc = folder < 0 ? (int)folder : sys->list(sys->ctx, folder, walk_collect, w);
    int cls = rc < 0 ? AGT_SYS_CLASS(rc) : 0;
    if (w->names.failed || cls == AGT_SYS_NOMEM)
        w->path.failed = true;
    else if (rc == 0 && !root && agt__store_in(sys, folder))
        walk_add(w, NULL, AGT_LEFT_OUT_STORE, true);
    else if (rc == 0)
        walk_names(w, folder);
    else if (!root && cls != AGT_SYS_NOENT && cls != AGT_SYS_NOTDIR && cls != AGT_SYS_LOOP)
        walk_add(w, NULL, AGT_LEFT_OUT_UNREADABLE, true); /* else it is gone, or no folder now */
    if (folder >= 0) sys->close(sys->ctx, folder);
    if (rc < 0 && root && !w->path.failed)
        return agt__fail_io(err, rc, "the folder of the store cannot be listed");
    return AGT_OK;
}

static agt_status walk_run(walk *w, agt_error *err) {
    agt__buf_byte(&w->queue, 0); /* the root */
    while (w->queue_at < w->queue.len && !w->queue.failed) {
        const char *path = (const char *)w->queue.data + w->queue_at;
        size_t n = strlen(path);
        w->path.len = 0;
        agt__buf_put(&w->path, path, n + 1);
        if (w->path.failed) break;
        w->path.len = n;
        w->queue_at += n + 1;
        agt_status st = walk_folder(w, err);
        if (st != AGT_OK) return st;
    }
    agt_files *f = w->out;
    bool failed =
        w->queue.failed || w->names.failed || w->path.failed || f->paths.failed || f->rows.failed;
    return failed ? agt__nomem(err) : AGT_OK;
}

/* ---- the list ---- */

static int walk_by_path(const void *a, const void *b) {
    const agt_file *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int d = memcmp(x->path, y->path, n);
    return d ? d : (x->len > y->len) - (x->len < y->len);
}

/* One by that name, whether a new one could have it or not: some are of agent-trace 0.1.0. */
static bool walk_is_document(const agt_store *s, const agt_file *file) {
    agt_row row;
    if (file->left_out && file->left_out != AGT_LEFT_OUT_NAME) return false;
    return agt__catalog_find(&s->catalog, file->path, file->len, &row) && row.exists;
}

/* Takes out what is a document by now; tells names that would clash with one's. Under the mutex. */
static void walk_without_documents(agt_store *s, agt_files *f, bool all) {
    agt_file *file = (agt_file *)(void *)f->rows.data;
    size_t count = f->rows.len / sizeof *file, kept = 0;
    agt_row row;
    for (size_t i = 0; i < count; i++) {
        file[i].path = (const char *)f->paths.data + file[i].at;
        if (walk_is_document(s, &file[i])) continue;
        if (!file[i].left_out) {
            if (agt__catalog_case_clash(&s->catalog, file[i].path, file[i].len, &row))
                file[i].left_out = AGT_LEFT_OUT_NAME;
            if (file[i].left_out && !all) continue;
        }
        file[kept++] = file[i];
    }
    f->rows.len = kept * sizeof *file;
    if (kept) qsort(file, kept, sizeof *file, walk_by_path);
}

AGT_PRIVATE void agt__files_free(agt_files *f) {
    agt__buf_free(&f->rows);
    agt__buf_free(&f->paths);
}

AGT_PRIVATE agt_status agt__walk(agt_store *s, const char *under, size_t under_len, bool all,
                                 agt_files *out, agt_error *err) {
    walk w;
    memset(&w, 0, sizeof w);
    w.s = s;
    w.under = under;
    w.under_len = under_len;
    w.all = all;
    w.out = out;
    out->rows = out->paths = w.text = w.queue = w.names = w.path = agt__buf(&s->mem);
    agt_status st = walk_rules(&w, err);
    if (st == AGT_OK) st = walk_run(&w, err);
    if (st == AGT_OK) st = agt__store_enter(s, err);
    if (st == AGT_OK) {
        st = agt__store_look_again(s, err);
        if (st == AGT_OK) walk_without_documents(s, out, all);
        agt__store_leave(s);
    }
    agt__buf_free(&w.text);
    agt__buf_free(&w.queue);
    agt__buf_free(&w.names);
    agt__buf_free(&w.path);
    agt__free(&s->mem, w.rules, w.rule_room * sizeof *w.rules);
    return st;
}
