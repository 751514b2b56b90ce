/* checkpoint: everything durable in its place, then a new journal generation.
 *
 *   outside the store lock   publish as a pack; sync the documents changed so far
 *   under it                 sync the journal, the documents changed since, the trace; copy the
 *                            records git does not hold to unpublished/; write the catalog; write
 *                            the header: the commit point
 *   after it                 the new shared state; old catalogs, records and side files go; which
 *                            events are about which path is noted for readers
 *
 * (1) The header names the catalog and what is unpublished; before it is written nothing that the
 *     old header names is touched.
 * (2) A record that waits to be applied keeps the journal as it is.
 * (3) A document that is gone, or has something in its way, is skipped: its bytes are in git or
 *     unpublished/. One whose rights forbid to open it is put in place anew. One whose sync fails
 *     stops the store (`failed`).
 * (4) Refused bytes that cannot be kept now either go with their records: a store whose journal
 *     cannot be emptied would refuse everybody in the end. */
#include "store.h"

#include <stdio.h>

#define CHECKPOINT_PATHS 32768u     /* events whose paths are noted at a time */
#define CHECKPOINT_WHOLE (1u << 19) /* and when nobody waits for it */
#define CHECKPOINT_TIGHT (AGT_JOURNAL_HALF / 2 * 3)

/* ---- syncing documents ---- */

static bool checkpoint_gone(int64_t rc) {
    switch (AGT_SYS_CLASS(rc)) {
    case AGT_SYS_NOENT:
    case AGT_SYS_NOTDIR:
    case AGT_SYS_ISDIR:
    case AGT_SYS_LOOP: return true;
    default: return false;
    }
}

typedef struct checkpoint_sync {
    agt_store *s;
    bool locked;      /* what cannot be opened is put in place anew; else it is left */
    bool left;        /* something was */
    bool sync_failed; /* a sync itself, not the way to it */
} checkpoint_sync;

static int checkpoint_sync_fd(checkpoint_sync *c, agt_fd fd) {
    int rc = c->s->sys->sync(c->s->sys->ctx, fd);
    if (rc < 0) c->sync_failed = true;
    return rc;
}

static int checkpoint_sync_folder(checkpoint_sync *c, const char *path, size_t len) {
    agt_store *s = c->s;
    char folder[AGT_MAX_PATH + 1];
    memcpy(folder, path, len);
    folder[len] = 0;
    agt_fd fd = agt__walk_folder(s->sys, s->root, folder, false);
    if (fd < 0) return checkpoint_gone(fd) ? 0 : (int)fd;
    int rc = checkpoint_sync_fd(c, fd);
    s->sys->close(s->sys->ctx, fd);
    return rc;
}

/* Syncs the folders on the way to `path`, but for those that lead to `before` too: they were done
 * when it was. */
static int checkpoint_sync_folders(checkpoint_sync *c, const char *path, size_t len,
                                   const char *before, size_t before_len) {
    int rc = before ? 0 : checkpoint_sync_folder(c, path, 0);
    for (size_t i = 1; i < len && rc >= 0; i++) {
        if (path[i] != '/') continue;
        bool done = before && before_len > i && before[i] == '/' && memcmp(before, path, i) == 0;
        if (!done) rc = checkpoint_sync_folder(c, path, i);
    }
    return rc;
}

static int checkpoint_sync_document(checkpoint_sync *c, const agt_row *row) {
    const char *leaf;
    agt_store *s = c->s;
    agt_fd folder = agt__open_parent(s, row->path, row->path_len, false, &leaf);
    if (folder < 0) return checkpoint_gone(folder) ? 0 : (int)folder;
    agt_fd fd = s->sys->open(s->sys->ctx, folder, leaf, AGT_O_READ, 0);
    int rc = fd < 0 ? (checkpoint_gone(fd) ? 0 : (int)fd) : checkpoint_sync_fd(c, fd);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    s->sys->close(s->sys->ctx, folder);
    return rc;
}

/* A document whose rights forbid even to open it cannot be synced: it is put in place anew, from
 * the journal, through a file that is synced first. Under the store lock. */
static agt_status checkpoint_replace(checkpoint_sync *c, const agt_row *row, agt_error *err) {
    char name[40];
    agt_place p;
    agt_store *s = c->s;
    agt_buf bytes = agt__buf(&s->mem);
    memset(&p, 0, sizeof p);
    p.path = row->path;
    p.path_len = row->path_len;
    p.seq = row->last_seq;
    p.before.on_disk = true;
    p.before.blob = row->blob;
    p.before.stat.size = row->size;
    p.before.stat.mode = 0600;
    agt_status st = agt__journalled_content(s, row->last_seq, &bytes, err);
    if (st == AGT_NOT_FOUND)
        st = agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are missing",
                       (unsigned long long)row->last_seq);
    if (st == AGT_OK) st = agt__restage(s, &p, bytes.data, bytes.len, err);
    agt__buf_free(&bytes);
    if (st != AGT_OK) return st;
    agt__seq_name(p.seq, ".new", name);
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    int rc = fd < 0 ? (int)fd : checkpoint_sync_fd(c, fd);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    st = rc < 0 ? agt__fail_io(err, rc, "cannot sync .agent-trace/tmp/%s", name)
                : agt__place(s, &p, err);
    if (st != AGT_OK) agt__unstage(s, p.seq);
    return st;
}

static agt_status checkpoint_sync_rows(checkpoint_sync *c, const agt_rows *rows, uint64_t after,
                                       agt_error *err) {
    const agt_row *before = NULL;
    char shown[200];
    for (size_t i = 0; i < rows->count; i++) {
        const agt_row *row = &rows->row[i];
        if (row->last_seq <= after) continue;
        int rc = row->exists ? checkpoint_sync_document(c, row) : 0;
        if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_ACCESS && !c->sync_failed) {
            c->left = true;
            agt_status st = c->locked ? checkpoint_replace(c, row, err) : AGT_OK;
            if (st != AGT_OK) return st;
            rc = 0;
        }
        if (rc >= 0)
            rc = checkpoint_sync_folders(c, row->path, row->path_len, before ? before->path : NULL,
                                         before ? before->path_len : 0);
        if (rc < 0)
            return agt__fail_io(err, rc, "cannot sync %s",
                                agt__show_path(shown, sizeof shown, row->path, row->path_len));
        before = row;
    }
    return AGT_OK;
}

static void checkpoint_failed(agt_store *s) {
    s->shared.failed = 1;
    agt__store_save(s);
}

static agt_status checkpoint_sync_changed(agt_store *s, agt_error *err) {
    agt_rows rows;
    checkpoint_sync c = {s, true, false, false};
    agt_status st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    if (st != AGT_OK) return st;
    st = checkpoint_sync_rows(&c, &rows, s->synced_docs_seq, err);
    if (c.sync_failed) checkpoint_failed(s);
    agt__rows_free(&s->mem, &rows);
    return st;
}

/* The part that needs no store lock. The rows' paths are copied, because the catalog may be loaded
 * anew meanwhile. */
static agt_status checkpoint_presync(agt_store *s, agt_error *err) {
    agt_rows rows = {NULL, 0, 0};
    agt_buf paths = agt__buf(&s->mem);
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    uint64_t upto = s->shared.next_seq - 1, after = s->synced_docs_seq;
    uint64_t generation = s->journal.header.generation;
    if (s->shared.applied < s->shared.end)
        upto = after; /* something waits: leave it all */
    else
        st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    for (size_t i = 0; i < rows.count; i++) {
        agt__buf_put(&paths, rows.row[i].path, rows.row[i].path_len);
        agt__buf_byte(&paths, 0);
    }
    if (paths.failed) st = agt__nomem(err);
    agt__store_unlock(s);
    size_t at = 0;
    for (size_t i = 0; st == AGT_OK && i < rows.count; i++) {
        rows.row[i].path = (const char *)paths.data + at;
        at += rows.row[i].path_len + 1;
    }
    checkpoint_sync c = {s, false, false, false};
    if (st == AGT_OK) st = checkpoint_sync_rows(&c, &rows, after, err);
    agt__rows_free(&s->mem, &rows);
    agt__buf_free(&paths);
    if (st != AGT_OK && !c.sync_failed) return st;
    agt_status locked = agt__store_lock(s, c.sync_failed ? NULL : err);
    if (locked != AGT_OK) return c.sync_failed ? st : locked;
    if (c.sync_failed)
        checkpoint_failed(s);
    else if (!c.left && generation == s->journal.header.generation && upto > s->synced_docs_seq)
        s->synced_docs_seq = upto;
    agt__store_unlock(s);
    return st;
}

/* ---- records git does not hold yet ---- */

/* unpublished/<first seq>.records: "AGTUNPB2", generation, first seq, seed, events, then the
 * records. */
static agt_status checkpoint_unpublished(agt_store *s, uint64_t *first, agt_error *err) {
    agt_record r;
    agt_buf out = agt__buf(&s->mem);
    unsigned char head[AGT_RECORDS_HEAD];
    char name[40];
    uint32_t events = 0;
    uint64_t at = AGT_JOURNAL_START, seq = s->journal.header.next_seq;
    uint32_t chain = s->journal.header.crc;
    agt_status st = AGT_OK;
    *first = 0;
    while (at < s->shared.end && st == AGT_OK) {
        st = agt__record_read(s->sys, s->journal.fd, at, s->journal.header.capacity, s->cpu,
                              s->journal.header.generation, seq, chain, &s->record, &r, err);
        if (st == AGT_END) st = agt__fail(err, AGT_CORRUPT, "the journal lost a record");
        if (st != AGT_OK) break;
        if (r.first_seq + r.entries - 1 > s->shared.packed_seq) {
            if (!*first) {
                *first = r.first_seq;
                memset(head, 0, sizeof head);
                memcpy(head, "AGTUNPB2", 8);
                agt__put64(head + 8, r.generation);
                agt__put64(head + 16, r.first_seq);
                agt__put32(head + 24, chain);
                agt__buf_put(&out, head, sizeof head);
            }
            agt__buf_put(&out, r.data, r.length);
            events += r.entries;
        }
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    if (st == AGT_OK && out.failed) st = agt__nomem(err);
    if (st == AGT_OK && *first) {
        agt__put32(out.data + 28, events);
        agt__seq_name(*first, ".records", name);
        st = agt__write_file(s->sys, s->unpublished, name, out.data, out.len, true, err);
    }
    agt__buf_free(&out);
    return st;
}

/* ---- cleaning ---- */

typedef struct checkpoint_names {
    agt_store *s;
    uint64_t keep_catalog, packed, first_needed, next_records;
} checkpoint_names;

static bool checkpoint_number(const char *text, uint64_t *n, const char **rest) {
    const char *p = text;
    for (*n = 0; *p >= '0' && *p <= '9' && *n < UINT64_MAX / 10 - 9; p++)
        *n = *n * 10 + (uint64_t)(*p - '0');
    *rest = p;
    return p > text;
}

static int checkpoint_old_catalog(void *ctx, const char *name) {
    checkpoint_names *c = ctx;
    uint64_t n;
    const char *rest;
    if (strncmp(name, "catalog.", 8) == 0 && checkpoint_number(name + 8, &n, &rest) &&
        (*rest == 0 ? n != c->keep_catalog : strcmp(rest, ".tmp") == 0))
        (void)c->s->sys->remove(c->s->sys->ctx, c->s->at, name);
    return 0;
}

static int checkpoint_old_unpublished(void *ctx, const char *name) {
    checkpoint_names *c = ctx;
    uint64_t n;
    const char *rest;
    bool old = false;
    if (checkpoint_number(name, &n, &rest) && strcmp(rest, ".records") == 0)
        old = !c->first_needed || n < c->first_needed || n >= c->next_records;
    else if (strncmp(name, "side-", 5) == 0 && checkpoint_number(name + 5, &n, &rest))
        old = n <= c->packed || n >= c->next_records;
    else
        old = strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".tmp") == 0;
    if (old) (void)c->s->sys->remove(c->s->sys->ctx, c->s->unpublished, name);
    return 0;
}

/* What the new header does not name. Failures leave litter for the next time. */
static void checkpoint_clean(agt_store *s) {
    const agt_journal_header *h = &s->journal.header;
    checkpoint_names c = {s, h->catalog, h->packed_seq, h->unpublished, h->next_seq};
    (void)s->sys->list(s->sys->ctx, s->at, checkpoint_old_catalog, &c);
    (void)s->sys->list(s->sys->ctx, s->unpublished, checkpoint_old_unpublished, &c);
}

/* The oldest file that is needed: the chain's first one with an event that no pack holds. */
static uint64_t checkpoint_first_unpublished(agt_store *s, uint64_t copied) {
    uint64_t packed = s->shared.packed_seq, at = s->journal.header.unpublished, end;
    if (packed + 1 >= s->journal.header.next_seq || !at) return copied;
    while (agt__records_end(s, at, &end, NULL) == AGT_OK && end <= packed + 1)
        at = end;
    return at;
}

/* ---- the checkpoint ---- */

static agt_status checkpoint_header(agt_store *s, agt_journal_header *h, bool new_file,
                                    agt_error *err) {
    if (!new_file) return agt__journal_write_header(&s->journal, h, err);
    agt_journal fresh;
    agt_status st = agt__journal_create(s->sys, s->at, s->cpu, &s->mem, h, err);
    if (st == AGT_OK) st = agt__journal_open(&fresh, s->sys, s->at, s->cpu, true, err);
    if (st != AGT_OK) return st;
    agt__journal_close(&s->journal);
    s->journal = fresh;
    return AGT_OK;
}

static void checkpoint_shared(agt_store *s) {
    agt_shared *sh = &s->shared;
    const agt_journal_header *h = &s->journal.header;
    memcpy(sh->boot, s->self.boot, sizeof sh->boot);
    sh->generation = h->generation;
    sh->dev = s->journal.dev;
    sh->ino = s->journal.ino;
    sh->end = sh->synced = sh->applied = AGT_JOURNAL_START;
    sh->applied_seq = sh->next_seq;
    sh->chain = sh->applied_chain = h->crc;
    sh->failed = 0;
    sh->refused_waits = 0;
}

typedef struct checkpoint_segments {
    agt_store *s;
    int rc;
} checkpoint_segments;

static int checkpoint_sync_segment(void *ctx, const char *name) {
    checkpoint_segments *c = ctx;
    const agt_sys *sys = c->s->sys;
    uint64_t first;
    if (!agt__segment_parse(name, &first) || first < c->s->journal.header.trace.segment) return 0;
    agt_fd fd = sys->open(sys->ctx, c->s->trace_dir, name, AGT_O_READ, 0);
    c->rc = fd < 0 ? (int)fd : sys->sync(sys->ctx, fd);
    if (fd >= 0) sys->close(sys->ctx, fd);
    return c->rc < 0;
}

/* Every segment written since the last checkpoint; other processes wrote to them too. */
static agt_status checkpoint_sync_trace(agt_store *s, agt_error *err) {
    checkpoint_segments c = {s, 0};
    int rc = s->sys->list(s->sys->ctx, s->trace_dir, checkpoint_sync_segment, &c);
    if (c.rc < 0) rc = c.rc;
    if (rc >= 0) rc = s->sys->sync(s->sys->ctx, s->trace_dir);
    if (rc >= 0) return AGT_OK;
    checkpoint_failed(s);
    return agt__fail_io(err, rc, "cannot sync the trace");
}

static agt_status checkpoint_sync_all(agt_store *s, bool new_file, agt_error *err) {
    if (s->shared.synced < s->shared.end && !new_file) {
        int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
        if (rc < 0) {
            s->shared.failed = 1;
            agt__store_save(s);
            return agt__fail_io(err, rc, "cannot sync .agent-trace/journal");
        }
    }
    agt_status st = checkpoint_sync_changed(s, err);
    return st == AGT_OK ? checkpoint_sync_trace(s, err) : st;
}

static agt_status checkpoint_waits(const agt_store *s, agt_error *err) {
    return agt__fail(err, AGT_BUSY, "a recorded change waits to be put in place: %s",
                     s->waits.message);
}

/* The last look: records go because packs hold them, in the folder that is git's now. */
static agt_status checkpoint_git_stays(agt_store *s, agt_error *err) {
    bool moved;
    if (s->shared.packed_seq <= s->journal.header.packed_seq) return AGT_OK;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st != AGT_OK || !moved) return st;
    s->shared.git_clean = 0;
    agt__store_save(s);
    return agt__fail(err, AGT_BUSY, ".agent-trace/git was replaced meanwhile; try again");
}

AGT_PRIVATE agt_status agt__checkpoint_locked(agt_store *s, bool new_file, agt_error *err) {
    agt_journal_header h = s->journal.header;
    agt_buf bytes = agt__buf(&s->mem);
    uint64_t copied = 0;
    char name[32];
    if (s->shared.applied < s->shared.end) return checkpoint_waits(s, err); /* (2) */
    agt__keep_rejected_again(s);                                            /* (4) */
    /* records go because packs hold them */
    agt_status st = agt__packed_still(s, &h, &s->shared, err);
    if (st == AGT_OK) st = checkpoint_sync_all(s, new_file, err);
    if (st == AGT_OK) st = checkpoint_unpublished(s, &copied, err);
    h.generation++;
    h.next_seq = s->shared.next_seq;
    h.trace = s->shared.trace;
    h.catalog = h.generation;
    h.packed_seq = s->shared.packed_seq;
    h.packed_head = s->shared.packed_head;
    if (st == AGT_OK) h.unpublished = checkpoint_first_unpublished(s, copied);
    if (st == AGT_OK) st = agt__catalog_encode(&s->catalog, s->cpu, h.next_seq, &bytes, err);
    agt__catalog_name(h.catalog, name);
    if (st == AGT_OK) st = agt__write_file(s->sys, s->at, name, bytes.data, bytes.len, true, err);
    agt__buf_free(&bytes);
    if (st == AGT_OK) st = checkpoint_git_stays(s, err);
    if (st == AGT_OK && (st = checkpoint_header(s, &h, new_file, err)) != AGT_OK) {
        s->shared.failed = 1; /* nobody knows which header the disk has: only a new file helps */
        agt__store_save(s);
    }
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    checkpoint_shared(s);
    agt__store_save(s);
    s->reload = true;
    checkpoint_clean(s);
    return agt__store_reload(s, err);
}

/* Which events are about which path, for those that no crash takes back any more. Without it
 * readers read the trace, so failures wait for the next time. */
AGT_PRIVATE void agt__checkpoint_paths(agt_store *s, bool whole) {
    agt_fd dir;
    if (agt__store_enter(s, NULL) != AGT_OK) return;
    uint64_t next = s->journal.header.next_seq;
    agt__store_leave(s);
    if (next < 2 || agt__open_folder(s->sys, s->at, AGT_INDEX_NAME, true, &dir, NULL) != AGT_OK)
        return;
    const agt_paths paths = {s->sys, &s->mem, s->cpu, dir, s->trace_dir};
    (void)agt__paths_update(&paths, next - 1, whole ? CHECKPOINT_WHOLE : CHECKPOINT_PATHS, whole,
                            NULL);
    s->sys->close(s->sys->ctx, dir);
}

/* Refused bytes that can be kept nowhere else stay in the journal, unless that is nearly full: then
 * they go, for they must not stop anybody (rejected.c). */
static bool checkpoint_refused_stay(agt_store *s) {
    if (s->shared.end > CHECKPOINT_TIGHT) return false;
    agt__keep_rejected_again(s);
    return s->shared.refused_waits != 0;
}

static agt_status checkpoint_run(agt_store *s, bool publish, bool must, uint64_t above,
                                 agt_error *err) {
    agt_status st = publish && s->git ? agt__publish_locked(s, true, err) : AGT_OK;
    if (st == AGT_OK) st = checkpoint_presync(s, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (s->shared.end > above && (must || !checkpoint_refused_stay(s)))
        st = agt__checkpoint_locked(s, false, err);
    agt__store_unlock(s);
    if (st == AGT_OK) agt__checkpoint_paths(s, false);
    return st;
}

AGT_PRIVATE agt_status agt__checkpoint_run(agt_store *s, bool publish, uint64_t above,
                                           agt_error *err) {
    return checkpoint_run(s, publish, false, above, err);
}

AGT_PRIVATE void agt__checkpoint_packed(agt_store *s) {
    if (agt__store_enter(s, NULL) != AGT_OK) return;
    bool news = s->shared.packed_seq > s->journal.header.packed_seq;
    agt__store_leave(s);
    if (news) (void)agt__checkpoint_run(s, false, 0, NULL);
}

AGENT_TRACE_API agt_status agt_checkpoint(agt_store *store, agt_error *err) {
    AGENT_TRACE_ASSERT(store);
    agt_status st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__checkpoint_run(store, true, AGT_JOURNAL_START, err);
    agt__publish_leave(store);
    return st;
}

AGT_PRIVATE agt_status agt__empty_journal(agt_store *s, agt_error *err) {
    agt_status st = agt__publish_enter(s, s->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = checkpoint_run(s, false, true, AGT_JOURNAL_START, err);
    agt__publish_leave(s);
    return st;
}

AGT_PRIVATE agt_status agt__make_room(agt_store *s, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    uint64_t end = s->seen.pos;
    agt__store_leave(s);
    if (end < AGT_JOURNAL_HALF) return AGT_OK;
    agt_error mine;
    mine.status = AGT_OK;
    bool tight = end > CHECKPOINT_TIGHT;
    st = agt__publish_enter(s, tight ? s->timeout_ms : AGT_TRY, &mine);
    if (st == AGT_OK) {
        st = agt__checkpoint_run(s, false, AGT_JOURNAL_HALF - 1, &mine);
        agt__publish_leave(s);
    }
    /* somebody is at it, or something waits: there may still be room */
    return agt__answer(st == AGT_BUSY ? AGT_OK : st, &mine, err);
}

AGENT_TRACE_API agt_status agt_store_idle(agt_store *store, agt_error *err) {
    agt_status st = agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    uint64_t used = store->seen.pos - AGT_JOURNAL_START;
    agt__store_leave(store);
    if (used > AGT_JOURNAL_HALF / 8) return agt_checkpoint(store, err);
    st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    if (store->git) st = agt__publish_locked(store, false, err); /* else nothing to do */
    agt__publish_leave(store);
    return st;
}
