/* gc: what a store takes on disk, and how it takes less.
 *
 *   under the publish lock   clear tmp/; publish and checkpoint; repack git; cut journal and trace
 *                            to what they hold; measure
 *
 * (1) Writers are not kept waiting: the publish lock is held, the store lock is not. A journal that
 *     gets full meanwhile is checkpointed from here, because a writer could not.
 * (2) Nothing is removed that anything may still need: of tmp/ what the records tell to be nobody's
 *     edit, of git what the new pack holds, of other temporaries what is a day old.
 * (3) What a person decides about is only counted: aside/, rejected/, torn ends of the trace. */
#include "store.h"

#define GC_BREATHE  4u /* objects between two looks at the journal */
#define GC_STALE_MS (24 * 60 * 60 * 1000LL)
#define GC_PATH     1024u
#define GC_DEPTH    16u

/* ---- measuring ---- */

typedef struct gc_walk {
    agt_store *s;
    agt_disk_parts *parts;
    uint32_t torn;
    agt_buf names; /* of the folder that is read, each with its NUL */
    agt_buf todo;  /* paths of folders still to be read */
} gc_walk;

/* Is `path` this name, or beneath the folder of this name? */
static bool gc_in(const char *path, const char *name) {
    size_t n = strlen(name);
    return strncmp(path, name, n) == 0 && (!path[n] || path[n] == '/');
}

static agt_disk_use *gc_part(agt_disk_parts *p, const char *path) {
    const struct {
        const char *name;
        agt_disk_use *use;
    } all[] = {{"git", &p->git},
               {"journal", &p->journal},
               {"trace", &p->trace},
               {"unpublished", &p->unpublished},
               {"rejected", &p->rejected},
               {"aside", &p->aside},
               {"tmp", &p->tmp}};
    for (size_t i = 0; i < AGT_COUNT(all); i++)
        if (gc_in(path, all[i].name)) return all[i].use;
    return &p->other;
}

/* The names in an open folder into `out`, emptied first. */
static agt_status gc_names(agt_store *s, agt_fd folder, agt_buf *out, agt_error *err) {
    out->len = 0;
    int rc = s->sys->list(s->sys->ctx, folder, agt__take_name, out);
    if (out->failed) return agt__nomem(err);
    return rc < 0 ? agt__fail_io(err, rc, "cannot list a folder of .agent-trace") : AGT_OK;
}

static bool gc_join(char out[GC_PATH], const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    if (n + m + 2 > GC_PATH) return false;
    memcpy(out, folder, n);
    if (n) out[n++] = '/';
    memcpy(out + n, name, m + 1);
    return true;
}

/* One name in an open folder: what goes away meanwhile does not count. */
static void gc_count(gc_walk *w, agt_fd folder, const char *path, const char *name) {
    char whole[GC_PATH];
    agt_stat st;
    size_t depth = 0;
    if (!gc_join(whole, path, name)) return;
    if (w->s->sys->stat(w->s->sys->ctx, folder, name, &st) != 0) return;
    for (const char *p = whole; *p; p++)
        depth += *p == '/';
    if (st.kind == AGT_FILE_FOLDER && depth < GC_DEPTH)
        agt__buf_put(&w->todo, whole, strlen(whole) + 1);
    if (st.kind != AGT_FILE_REGULAR) return;
    agt_disk_use *use = gc_part(w->parts, whole);
    use->files++;
    use->bytes += st.size;
    w->torn += gc_in(whole, "trace") && agt__ends_in(name, ".torn");
}

static agt_status gc_folder(gc_walk *w, const char *path, agt_error *err) {
    agt_store *s = w->s;
    agt_fd folder = agt__walk_folder(s->sys, s->at, path, false);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open .agent-trace/%.100s", path);
    agt_status st = gc_names(s, folder, &w->names, err);
    for (size_t at = 0; st == AGT_OK && at < w->names.len;) {
        const char *name = (const char *)w->names.data + at;
        at += strlen(name) + 1;
        gc_count(w, folder, path, name);
    }
    s->sys->close(s->sys->ctx, folder);
    return st == AGT_OK && w->todo.failed ? agt__nomem(err) : st;
}

static agt_status gc_measure(agt_store *s, agt_disk_parts *out, uint32_t *torn, agt_error *err) {
    gc_walk w = {s, out, 0, agt__buf(&s->mem), agt__buf(&s->mem)};
    memset(out, 0, sizeof *out);
    agt_status st = gc_folder(&w, "", err);
    while (st == AGT_OK && w.todo.len) {
        char path[GC_PATH];
        size_t start = w.todo.len - 1;
        while (start && w.todo.data[start - 1])
            start--;
        memcpy(path, w.todo.data + start, w.todo.len - start);
        w.todo.len = start;
        st = gc_folder(&w, path, err);
    }
    *torn = w.torn;
    agt__buf_free(&w.names);
    agt__buf_free(&w.todo);
    return st;
}

/* ---- temporaries (2) ---- */

/* What dead writers left in tmp/. While nothing waits to be applied, nobody else needs it; an edit
 * among it goes to aside/, as a recovery would do it. */
static agt_status gc_tmp(agt_store *s, agt_error *err) {
    bool pending = false;
    agt_buf names = agt__buf(&s->mem);
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    st = gc_names(s, s->tmp, &names, err);
    if (st == AGT_OK && names.len && s->shared.applied == s->shared.end)
        st = agt__replay_records(s, s->shared.end, AGT_REPLAY_LEFT, &pending, err);
    agt__store_unlock(s);
    agt__buf_free(&names);
    return st;
}

/* Writes that did not end: nobody is at one for a day. */
static agt_status gc_stale(agt_store *s, agt_fd folder, agt_error *err) {
    agt_stat found;
    agt_buf names = agt__buf(&s->mem);
    agt_status st = gc_names(s, folder, &names, err);
    for (size_t at = 0; st == AGT_OK && at < names.len;) {
        const char *name = (const char *)names.data + at;
        at += strlen(name) + 1;
        if (!agt__ends_in(name, ".tmp") || s->sys->stat(s->sys->ctx, folder, name, &found) != 0 ||
            found.kind != AGT_FILE_REGULAR ||
            s->sys->now_unix_ms(s->sys->ctx) - found.mtime_ns / 1000000 < GC_STALE_MS)
            continue;
        int rc = s->sys->remove(s->sys->ctx, folder, name);
        if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
            st = agt__fail_io(err, rc, "cannot delete .agent-trace's %.100s", name);
    }
    agt__buf_free(&names);
    return st;
}

/* ---- git ---- */

typedef struct gc_breath {
    agt_store *s;
    uint32_t count;
} gc_breath;

/* (1) */
static agt_status gc_breathe(void *ctx, agt_error *err) {
    gc_breath *b = ctx;
    agt_store *s = b->s;
    agt_shared now;
    if (++b->count % GC_BREATHE) return AGT_OK;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    bool full = agt__store_peek(s, &now) && now.end > AGT_JOURNAL_HALF;
    agt__store_leave(s);
    /* what fails here a writer will be told */
    if (full) (void)agt__checkpoint_run(s, false, AGT_JOURNAL_HALF, NULL);
    return AGT_OK;
}

/* Other handles on the repository let go of what is gone, so that the disk gets its room back. */
static void gc_let_go(agt_store *s) {
    (void)agt__git_list_again(s->git, NULL);
    s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
    if (s->reader_dir != AGT_FD_NONE) (void)agt__git_list_again(s->reader, NULL);
    s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
}

/* A handle of its own: the publisher's keeps the trees that it remembers. */
static agt_status gc_repack(agt_store *s, agt_gc_result *out, agt_error *err) {
    agt_git *git;
    agt_git_repacked did;
    gc_breath breath = {s, 0};
    agt_status st = agt__git_open(&git, s->sys, s->git_dir, &s->mem, s->cpu, err);
    if (st != AGT_OK) return st;
    st = agt__git_repack(git, gc_breathe, &breath, &did, err);
    agt__git_close(git);
    gc_let_go(s);
    out->objects = did.objects;
    out->packs = did.packs;
    out->packs_removed = did.packs_removed;
    out->loose = did.loose;
    out->loose_removed = did.loose_removed;
    out->missing = did.missing;
    return st;
}

/* ---- room that is kept for what is to come ---- */

/* Writers that append meanwhile keep it. */
static agt_status gc_room(agt_store *s, agt_error *err) {
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    const agt_shared *now = &s->shared;
    if (now->end == AGT_JOURNAL_START) {
        st = agt__journal_shrink(&s->journal, err);
        if (st == AGT_OK)
            st = agt__trace_trim(&s->trace, now->trace.segment, now->trace.offset, err);
    }
    agt__store_unlock(s);
    return st;
}

/* ---- the call ---- */

static agt_status gc_run(agt_store *s, agt_gc_result *out, agt_error *err) {
    agt_status st = gc_tmp(s, err);
    if (st == AGT_OK) st = agt__checkpoint_run(s, true, AGT_JOURNAL_START, err);
    if (st != AGT_OK) return st;
    agt__checkpoint_packed(s); /* records that packs hold by now */
    agt__checkpoint_paths(s, true);
    st = gc_stale(s, s->at, err);
    if (st == AGT_OK) st = gc_stale(s, s->rejected, err);
    if (st == AGT_OK && s->git) st = gc_repack(s, out, err);
    return st == AGT_OK ? gc_room(s, err) : st;
}

static agt_status gc_hard(agt_store *s, bool measure, agt_gc_result *out, agt_error *err) {
    agt_status st = agt__store_enter(s, err); /* not in a fork's child */
    if (st != AGT_OK) return st;
    agt__store_leave(s);
    if (!measure && (st = agt__publish_enter(s, s->timeout_ms, err)) != AGT_OK) return st;
    st = gc_measure(s, &out->before, &out->torn, err);
    if (st == AGT_OK && !measure) st = gc_run(s, out, err);
    if (st == AGT_OK) st = gc_measure(s, &out->after, &out->torn, err);
    if (!measure) agt__publish_leave(s);
    return st;
}

AGENT_TRACE_API agt_status agt_gc(agt_store *store, const agt_gc_options *opts, agt_gc_result *out,
                                  agt_error *err) {
    agt_gc_options o;
    agt_gc_result r = AGT_GC_RESULT_INIT, known;
    agt_error mine;
    AGENT_TRACE_ASSERT(store);
    mine.status = AGT_OK;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_gc_options", err);
    if (st == AGT_OK && out) st = agt__options(&known, sizeof known, out, "agt_gc_result", err);
    if (st != AGT_OK) return st;
    if (o.measure > 1) return agt__fail(err, AGT_INVALID, "measure is 0 or 1");
    st = gc_hard(store, o.measure == 1, &r, &mine);
    if (st != AGT_OK || !out) return agt__answer(st, &mine, err);
    r.size = out->size;
    memcpy(out, &r, out->size < sizeof r ? out->size : sizeof r);
    return AGT_OK;
}
