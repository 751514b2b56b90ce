/* repack: one pack for everything that the refs lead to.
 *
 * Objects are put kind by kind, the versions of a path together, the newest first. Each is compared
 * with the ones put before it: the last ten (a commit with the last 24), and the one that began the
 * chain. The shortest delta wins, so that the newest version is whole and quick to read; the longer
 * a chain is, the shorter a delta must be to make it longer, or a chain would end in a crowd that
 * nothing near may follow.
 *
 *     version   0 whole   1 .. 49 each on one before   50 on 0   51 .. 98   99 on 50 ...
 *
 * (1) Every object is read and its hash compared before it is put: a pack that holds damage is
 *     never the only copy of anything.
 * (2) The new pack is durable, and has its name, before anything goes. Then a pack goes if the new
 *     one has every object that its index names; a loose file if the new one has its object. What
 *     nothing leads to is nobody's to delete: a git command may be about to name it.
 * (3) All .pack files go before the first .idx, with a sync between: an index without its pack is
 *     nothing to any reader and known to be nobody's, a pack without an index may be on its way.
 * (4) Memory: an object's record, its slot and its place in the order; the objects that are
 *     compared, of REPACK_DELTA bytes at most; what was read last; the object that is read. */
#include "parts.h"

#define REPACK_WINDOW  24u           /* commits: they are short, and like those of their path */
#define REPACK_NARROW  10u           /* all others */
#define REPACK_ANCHOR  REPACK_WINDOW /* the place of the one that began the chain */
#define REPACK_DELTA   (8u * 1024 * 1024) /* longer objects are not compared */
#define REPACK_LEVEL   6                  /* of zlib: it is written once and read for long */
#define REPACK_ENOUGH  32u                /* a delta that short is not worth a search */
#define REPACK_STALE_S (24 * 60 * 60)

/* An object that others are compared with. */
typedef struct repack_base {
    agt_buf bytes;
    uint32_t object; /* AGT_GIT_NONE: none */
} repack_base;

typedef struct repack_run {
    agt_git *git;
    agt_git_reach reach;
    uint32_t *order; /* the objects' numbers, as they are put */
    repack_base base[REPACK_WINDOW + 1];
    uint32_t put; /* objects that had a place in the window */
    agt_buf bytes, best, trial;
    agt_buf sources; /* the packs that objects were found in: an agt_git_pack * each */
    agt_git_repacked *out;
} repack_run;

/* ---- deltas ---- */

static uint32_t repack_window(const agt_git_object *o) {
    return o->kind == AGT_GIT_COMMIT ? REPACK_WINDOW : REPACK_NARROW;
}

/* A delta longer than that is not worth looking at. */
static size_t repack_limit(size_t size) {
    return size > 64 ? size - size / 8 : 0;
}

/* Is the delta in `best` shorter than the object itself, compressed? A delta has the new parts
 * only, but those in short pieces. */
static bool repack_worth(const repack_run *run) {
    if (run->best.len <= run->bytes.len / 2) return true;
    return agt__git_zip_len(run->git, run->best.data, run->best.len) <
           agt__git_zip_len(run->git, run->bytes.data, run->bytes.len);
}

static void repack_try(repack_run *run, const repack_base *base, const agt_git_object *o,
                       uint32_t *chosen) {
    const agt_git_object *b = &run->reach.objects[base->object];
    if (b->kind != o->kind || b->chain + 1 >= AGT_GIT_CHAIN) return;
    size_t limit = *chosen == AGT_GIT_NONE ? repack_limit(o->size) : run->best.len - 1;
    unsigned chain = *chosen == AGT_GIT_NONE ? 0 : run->reach.objects[*chosen].chain;
    limit = limit * (AGT_GIT_CHAIN - b->chain) / (AGT_GIT_CHAIN - chain);
    if (o->size > b->size && o->size - b->size > limit) return; /* so much is to be inserted */
    run->trial.len = 0;
    if (!agt__git_delta_make(base->bytes.data, base->bytes.len, run->bytes.data, run->bytes.len,
                             limit, &run->trial))
        return;
    agt_buf swap = run->best;
    run->best = run->trial;
    run->trial = swap;
    *chosen = base->object;
}

/* Looks for the best delta; AGT_GIT_NONE if none is worth it, else its base, and it is in `best`.
 */
static uint32_t repack_search(repack_run *run, const agt_git_object *o, bool *anchored) {
    uint32_t chosen = AGT_GIT_NONE;
    *anchored = false;
    if (o->size > REPACK_DELTA || !repack_limit(o->size)) return AGT_GIT_NONE;
    uint32_t window = repack_window(o);
    for (uint32_t i = 1; i <= window; i++) {
        const repack_base *b = &run->base[(run->put + window - i) % window];
        if (b->object == AGT_GIT_NONE) break;
        repack_try(run, b, o, &chosen);
        if (chosen != AGT_GIT_NONE && run->best.len <= REPACK_ENOUGH) return chosen;
    }
    uint32_t before = chosen;
    if (run->base[REPACK_ANCHOR].object != AGT_GIT_NONE)
        repack_try(run, &run->base[REPACK_ANCHOR], o, &chosen);
    *anchored = chosen != before;
    return chosen;
}

static bool repack_copy(repack_base *to, const agt_buf *bytes, uint32_t object) {
    to->bytes.len = 0;
    to->object = object;
    agt__buf_put(&to->bytes, bytes->data, bytes->len);
    return !to->bytes.failed;
}

/* The object that was just put can be a base from now on. */
static bool repack_remember(repack_run *run, uint32_t object, bool anchored) {
    const agt_git_object *o = &run->reach.objects[object];
    if (o->size > REPACK_DELTA) return true;
    if ((!o->chain || anchored) && !repack_copy(&run->base[REPACK_ANCHOR], &run->bytes, object))
        return false;
    return repack_copy(&run->base[run->put++ % repack_window(o)], &run->bytes, object);
}

/* ---- the new pack ---- */

static bool repack_before(const agt_git_object *objects, uint32_t a, uint32_t b) {
    const agt_git_object *x = &objects[a], *y = &objects[b];
    if (x->kind != y->kind) return x->kind < y->kind;
    if (x->base != y->base) return x->base < y->base;
    if (x->crc != y->crc) return x->crc < y->crc;
    return a < b;
}

static agt_status repack_order(repack_run *run, agt_error *err) {
    const agt_git_reach *r = &run->reach;
    run->order = agt__alloc(&run->git->mem, r->count * sizeof *run->order);
    if (!run->order) return agt__nomem(err);
    for (uint32_t i = 0; i < r->count; i++)
        run->order[i] = i;
    agt__git_sort(r->objects, run->order, r->count, repack_before);
    return AGT_OK;
}

/* ---- where the objects are ---- */

/* Until an object is put, `len` and `offset` tell where it is: in which of the sources, counted
 * from 1 (0: nobody knows), and where there. Versions of a path are spread over all packs, so that
 * each would be looked for in most of them. */
static void repack_located(void *ctx, const agt_oid *id, uint64_t offset) {
    repack_run *run = ctx;
    uint32_t object = agt__git_reach_find(&run->reach, id);
    if (object == AGT_GIT_NONE) return;
    run->reach.objects[object].len = run->sources.len / sizeof(agt_git_pack *);
    run->reach.objects[object].offset = offset;
}

static agt_status repack_locate(repack_run *run, agt_error *err) {
    agt_git *git = run->git;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_error mine;
        agt__buf_put(&run->sources, &git->packs[i], sizeof git->packs[i]);
        if (run->sources.failed) return agt__nomem(err);
        agt_status status = agt__git_pack_ids(git, git->packs[i], repack_located, run, &mine);
        if (status != AGT_IO && status != AGT_NOMEM) continue; /* damage: found without it */
        if (err) *err = mine;
        return status;
    }
    return AGT_OK;
}

/* Reads one object, which must be what it was found to be. */
static agt_status repack_load(repack_run *run, agt_git_object *o, agt_error *err) {
    int kind = 0;
    agt_git_pack *pack = NULL;
    if (o->len) memcpy(&pack, run->sources.data + (o->len - 1) * sizeof pack, sizeof pack);
    run->bytes.len = 0;
    agt_status status =
        agt__git_load_at(run->git, pack, o->offset, &o->id, &kind, &run->bytes, err);
    if (status == AGT_OK && kind != o->kind)
        status = agt__fail(err, AGT_CORRUPT, "a git object is not of the kind that it is named");
    if (status == AGT_NOT_FOUND)
        status = agt__fail(err, AGT_CORRUPT,
                           "git lost an object while it was repacked; run 'agent-trace repair'");
    o->size = run->bytes.len;
    return status;
}

static agt_status repack_fill(void *ctx, agt_git_file *f, agt_error *err) {
    repack_run *run = ctx;
    agt_git_reach *r = &run->reach;
    agt_status status = AGT_OK;
    for (uint32_t i = 0; i < r->count && f->status == AGT_OK; i++) {
        uint32_t object = run->order[i];
        agt_git_object *o = &r->objects[object];
        bool anchored;
        if (r->breathe) status = r->breathe(r->breathe_ctx, err);
        if (status == AGT_OK) status = repack_load(run, o, err);
        if (status != AGT_OK) return status;
        uint32_t base = repack_search(run, o, &anchored);
        if (base != AGT_GIT_NONE && !repack_worth(run)) base = AGT_GIT_NONE;
        const agt_git_object *b = base == AGT_GIT_NONE ? NULL : &r->objects[base];
        const agt_buf *data = b ? &run->best : &run->bytes;
        o->chain = b ? (uint8_t)(b->chain + 1) : 0;
        agt__git_put_entry(f, o, b, data->data, data->len, false, err);
        if (!repack_remember(run, object, anchored)) return agt__nomem(err);
    }
    return f->status;
}

/* ---- what the new pack makes superfluous ---- */

typedef struct repack_folder {
    repack_run *run;
    agt_fd fd;
    agt_buf names; /* one after another, each with its NUL */
} repack_folder;

/* AGT_NOT_FOUND: there is no such folder. */
static agt_status repack_folder_open(repack_folder *d, repack_run *run, agt_fd parent,
                                     const char *name, agt_error *err) {
    const agt_sys *sys = run->git->sys;
    d->run = run;
    d->names = agt__buf(&run->git->mem);
    d->fd = sys->open(sys->ctx, parent, name, AGT_O_READ | AGT_O_FOLDER, 0);
    if (d->fd < 0 && AGT_SYS_CLASS(d->fd) == AGT_SYS_NOENT) return AGT_NOT_FOUND;
    if (d->fd < 0) return agt__fail_io(err, d->fd, "cannot open %s in the git folder", name);
    int rc = sys->list(sys->ctx, d->fd, agt__take_name, &d->names);
    if (rc >= 0 && !d->names.failed) return AGT_OK;
    sys->close(sys->ctx, d->fd);
    bool failed = d->names.failed;
    agt__buf_free(&d->names);
    return failed ? agt__nomem(err) : agt__fail_io(err, rc, "cannot list %s", name);
}

static void repack_folder_close(repack_folder *d) {
    d->run->git->sys->close(d->run->git->sys->ctx, d->fd);
    agt__buf_free(&d->names);
}

/* The next name in the folder; NULL behind the last. */
static const char *repack_folder_next(const repack_folder *d, size_t *at) {
    if (*at >= d->names.len) return NULL;
    const char *name = (const char *)d->names.data + *at;
    *at += strlen(name) + 1;
    return name;
}

static agt_status repack_remove(const repack_folder *d, const char *name, agt_error *err) {
    const agt_sys *sys = d->run->git->sys;
    int rc = sys->remove(sys->ctx, d->fd, name);
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot delete %.100s in the git folder", name);
}

static agt_status repack_sync(const repack_folder *d, agt_error *err) {
    int rc = d->run->git->sys->sync(d->run->git->sys->ctx, d->fd);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync objects/pack") : AGT_OK;
}

/* Does a file `stem`.`ext` stand in the folder? Where that cannot be known, yes: then nothing goes.
 */
static bool repack_has(const repack_folder *d, const char *stem, const char *ext) {
    char name[96];
    agt_stat st;
    size_t n = strlen(stem);
    if (n + strlen(ext) >= sizeof name) return true; /* none of ours */
    memcpy(name, stem, n);
    memcpy(name + n, ext, strlen(ext) + 1);
    int rc = d->run->git->sys->stat(d->run->git->sys->ctx, d->fd, name, &st);
    return rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_NOENT;
}

typedef struct repack_judge {
    const agt_git_reach *reach;
    bool all;
} repack_judge;

static void repack_judge_id(void *ctx, const agt_oid *id, uint64_t offset) {
    repack_judge *j = ctx;
    (void)offset;
    if (agt__git_reach_find(j->reach, id) == AGT_GIT_NONE) j->all = false;
}

/* (2) The stems of packs that the new one makes superfluous, each with its NUL. */
static agt_status repack_superseded(repack_run *run, const repack_folder *d, const char *fresh,
                                    agt_buf *out, agt_error *err) {
    agt_git *git = run->git;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        repack_judge j = {&run->reach, true};
        agt_error mine;
        if (strcmp(p->name, fresh) == 0 || repack_has(d, p->name, ".keep") ||
            repack_has(d, p->name, ".promisor"))
            continue;
        agt_status status = agt__git_pack_ids(git, p, repack_judge_id, &j, &mine);
        if (status == AGT_IO || status == AGT_NOMEM) {
            if (err) *err = mine;
            return status;
        }
        if (status != AGT_OK || !j.all) continue; /* damaged, or only libgit2 can read it */
        agt__git_pack_close(git, p);
        agt__buf_put(out, p->name, strlen(p->name) + 1);
        run->out->packs_removed++;
    }
    return out->failed ? agt__nomem(err) : AGT_OK;
}

/* Removes the files of every stem in `stems`: its .pack, or all others. */
static agt_status repack_remove_files(const repack_folder *d, const agt_buf *stems, bool packs,
                                      agt_error *err) {
    static const char *const others[] = {".idx", ".rev", ".bitmap", ".mtimes"};
    agt_status status = AGT_OK;
    for (size_t at = 0; status == AGT_OK && at < stems->len;) {
        char name[96];
        const char *stem = (const char *)stems->data + at;
        size_t n = strlen(stem);
        at += n + 1;
        memcpy(name, stem, n);
        memcpy(name + n, ".pack", 6);
        if (packs) status = repack_remove(d, name, err);
        for (size_t i = 0; !packs && status == AGT_OK && i < AGT_COUNT(others); i++) {
            memcpy(name + n, others[i], strlen(others[i]) + 1);
            status = repack_remove(d, name, err);
        }
    }
    return status;
}

static bool repack_stale(const repack_folder *d, const char *name) {
    agt_stat st;
    const agt_sys *sys = d->run->git->sys;
    if (sys->stat(sys->ctx, d->fd, name, &st) != 0 || st.kind != AGT_FILE_REGULAR) return false;
    return sys->now_unix_ms(sys->ctx) / 1000 - st.mtime_ns / 1000000000 > REPACK_STALE_S;
}

/* Is it an index without its pack (3), or a pack that has waited for its index for a day? */
static bool repack_half(const repack_folder *d, const char *name) {
    char stem[96];
    size_t n = strlen(name);
    if (n <= 9 || n >= sizeof stem || memcmp(name, "pack-", 5) != 0) return false;
    bool index = memcmp(name + n - 4, ".idx", 4) == 0;
    if (!index && memcmp(name + n - 5, ".pack", 5) != 0) return false;
    memcpy(stem, name, n);
    stem[n - (index ? 4 : 5)] = 0;
    if (repack_has(d, stem, ".keep")) return false;
    return index ? !repack_has(d, stem, ".pack")
                 : !repack_has(d, stem, ".idx") && repack_stale(d, name);
}

/* What a crash left, of ours or of git's. */
static agt_status repack_litter(const repack_folder *d, agt_error *err) {
    const char *name;
    agt_status status = AGT_OK;
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(d, &at));)
        if (repack_half(d, name) || (strncmp(name, "tmp_", 4) == 0 && repack_stale(d, name)))
            status = repack_remove(d, name, err);
    return status;
}

static agt_status repack_packs(repack_run *run, agt_fd objects, const char *fresh, agt_error *err) {
    repack_folder d;
    agt_buf stems = agt__buf(&run->git->mem);
    agt_status status = repack_folder_open(&d, run, objects, "pack", err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    status = repack_superseded(run, &d, fresh, &stems, err);
    if (status == AGT_OK && stems.len) {
        /* an index over all packs, which git makes again: it would name what is gone */
        status = repack_remove(&d, "multi-pack-index", err);
        if (status == AGT_OK) status = repack_remove_files(&d, &stems, true, err);
        if (status == AGT_OK) status = repack_sync(&d, err);
        if (status == AGT_OK) status = repack_remove_files(&d, &stems, false, err);
    }
    if (status == AGT_OK) status = repack_litter(&d, err);
    if (status == AGT_OK) status = repack_sync(&d, err);
    agt__buf_free(&stems);
    repack_folder_close(&d);
    return status;
}

/* One of the 256 folders of loose objects. */
static agt_status repack_fan_out(repack_run *run, agt_fd objects, const char *prefix,
                                 agt_error *err) {
    repack_folder d;
    const char *name;
    char hex[AGT_GIT_HEX];
    agt_oid id;
    uint64_t left = 0;
    agt_status status = repack_folder_open(&d, run, objects, prefix, err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    memcpy(hex, prefix, 2);
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(&d, &at));) {
        bool object = strlen(name) == AGT_GIT_HEX - 2;
        if (object) memcpy(hex + 2, name, AGT_GIT_HEX - 2);
        object = object && agt__unhex(hex, sizeof hex, id.id, sizeof id.id);
        if (object && agt__git_reach_find(&run->reach, &id) != AGT_GIT_NONE) {
            status = repack_remove(&d, name, err);
            run->out->loose_removed++;
        } else if (strncmp(name, "tmp_obj_", 8) == 0 && repack_stale(&d, name)) {
            status = repack_remove(&d, name, err);
        } else {
            run->out->loose += object;
            left++;
        }
    }
    repack_folder_close(&d);
    if (status == AGT_OK && !left) /* git makes it again */
        (void)run->git->sys->remove_folder(run->git->sys->ctx, objects, prefix);
    return status;
}

static agt_status repack_loose(repack_run *run, agt_fd objects, agt_error *err) {
    repack_folder d;
    const char *name;
    unsigned char byte;
    agt_status status = repack_folder_open(&d, run, run->git->dir, "objects", err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(&d, &at));) {
        if (strlen(name) == 2 && agt__unhex(name, 2, &byte, 1))
            status = repack_fan_out(run, objects, name, err);
        else if (strncmp(name, "tmp_", 4) == 0 && repack_stale(&d, name))
            status = repack_remove(&d, name, err);
    }
    repack_folder_close(&d);
    return status;
}

/* ---- all of it ---- */

static agt_status repack_write(repack_run *run, char stem[AGT_GIT_STEM], agt_error *err) {
    agt_git *git = run->git;
    agt_status status = repack_order(run, err);
    if (status == AGT_OK) status = repack_locate(run, err);
    if (status != AGT_OK) return status;
    git->zip_level = REPACK_LEVEL;
    agt_git_pack_job job = {run->reach.objects, run->reach.count, repack_fill, run};
    status = agt__git_pack_write(git, &job, stem, err);
    git->zip_level = 0;
    if (status == AGT_OK) run->out->objects = run->reach.count;
    return status;
}

/* (2) */
static agt_status repack_clean(repack_run *run, const char *stem, agt_error *err) {
    agt_fd objects;
    agt_git *git = run->git;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status == AGT_NOT_FOUND) return AGT_OK;
    if (status == AGT_OK) status = agt__git_list_again(git, err);
    if (status == AGT_OK) status = repack_packs(run, objects, stem, err);
    if (status == AGT_OK) status = repack_loose(run, objects, err);
    if (status == AGT_OK) status = agt__git_list_again(git, err);
    run->out->packs = git->pack_count;
    return status;
}

static void repack_free(repack_run *run) {
    agt__free(&run->git->mem, run->order, run->reach.count * sizeof *run->order);
    agt__git_reach_free(&run->reach);
    for (size_t i = 0; i < AGT_COUNT(run->base); i++)
        agt__buf_free(&run->base[i].bytes);
    agt__buf_free(&run->bytes);
    agt__buf_free(&run->best);
    agt__buf_free(&run->trial);
    agt__buf_free(&run->sources);
}

AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err) {
    char stem[AGT_GIT_STEM] = "";
    repack_run run = {.git = git, .reach = {.git = git, .breathe = breathe, .breathe_ctx = ctx}};
    memset(out, 0, sizeof *out);
    run.out = out;
    run.bytes = run.best = run.trial = run.sources = agt__buf(&git->mem);
    for (size_t i = 0; i < AGT_COUNT(run.base); i++)
        run.base[i] = (repack_base){agt__buf(&git->mem), AGT_GIT_NONE};
    agt__git_abort(git);
    (void)agt__git_cache(git);
    agt_status status = agt__git_reach_all(&run.reach, err);
    out->missing = run.reach.missing;
    if (status == AGT_OK && run.reach.count) status = repack_write(&run, stem, err);
    if (status == AGT_OK) status = repack_clean(&run, stem, err);
    repack_free(&run);
    return status;
}
