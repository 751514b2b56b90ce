/* recover: from what the disk holds back to a store that is whole. There is no second way to apply
 * a record: a writer's leftovers, a crash of the machine and a failed sync all end up here.
 *
 * (1) The journal is synced before it is read: what was applied from it must not be forgotten by
 *     the next power cut.
 * (2) Lines are written at their recorded offsets and the trace is cut behind the last record's:
 *     at full durability nothing acknowledged lies there.
 * (3) A document becomes its newest version if what is on disk is a known version, is missing, or
 *     (after a power cut) is empty or torn. Anything else is somebody's edit and stays: the next
 *     change of that document records it first. Torn bytes are kept aside all the same.
 * (4) Every step may be done again; the shared state becomes valid last.
 * (5) What is untracked was durable before that was recorded, and is a person's since.
 * (6) A crash loses the end of the journal, and nothing that was synced: a header is, before the
 *     shared state names its generation. Where an older header is read than the state knows, or
 *     fewer records, the journal is damaged, or was copied while it was written to: cutting it
 *     there would throw away what trace and git still have. A repair puts it together. In a copy
 *     of a store this holds as well: all of it was copied.
 * (7) Contents that are damaged cost the document or the refusal that has them, not the store:
 *     the file stays as it is, and reading that version says what is damaged. */
#include "store.h"

#include <stdlib.h>

/* Every version the journal holds, to tell known bytes from edits. */
typedef struct recover_version {
    uint64_t path_hash, seq, record_at;
    agt_oid blob;
    bool exists;
} recover_version;

typedef struct recover_versions {
    recover_version *v;
    size_t count, cap;
} recover_versions;

static agt_status recover_add(agt_store *s, recover_versions *all, const agt_event *e,
                              uint64_t record_at, agt_error *err) {
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 256;
        recover_version *v = agt__realloc(&s->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        if (!v) return agt__nomem(err);
        all->v = v;
        all->cap = cap;
    }
    recover_version *v = &all->v[all->count++];
    memset(v, 0, sizeof *v);
    v->path_hash = agt__fnv(AGT_FNV, e->path.data, e->path.len);
    v->seq = e->seq;
    v->record_at = record_at;
    v->exists = e->blob.data != NULL && agt__unhex(e->blob.data, e->blob.len, v->blob.id, 20);
    return AGT_OK;
}

static int recover_order(const void *a, const void *b) {
    const recover_version *x = a, *y = b;
    if (x->path_hash != y->path_hash) return x->path_hash < y->path_hash ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

typedef struct recover_run {
    agt_store *s;
    uint64_t from; /* journal byte */
    agt_replay mode;
    uint64_t from_seq; /* of the first event at `from` */
    recover_versions all;
    bool pending;
} recover_run;

/* Lines and refused bytes of one record. */
static agt_status recover_record(recover_run *run, const agt_record *r, uint64_t at,
                                 agt_error *err) {
    agt_store *s = run->s;
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    agt_status st = AGT_OK;
    s->lines.len = 0;
    uint64_t seq = r->first_seq;
    for (size_t pos = 0; st == AGT_OK && agt__record_next(r, &pos, &e); seq++) {
        st = agt__store_event(&e, seq, &s->scratch, &ev, err);
        if (st == AGT_OK && ev.version) st = recover_add(s, &run->all, &ev, at, err);
        if (at < run->from || st != AGT_OK) continue;
        agt__buf_put(&s->lines, e.line, e.line_len);
        if (!agt__keep_refusal(s, seq, &e, &ev)) s->shared.refused_waits = 1;
    }
    if (st != AGT_OK || at < run->from) return st;
    if (s->lines.failed) {
        s->lines.failed = false;
        return agt__nomem(err);
    }
    return agt__trace_put(&s->trace, r->segment, r->trace_offset, s->lines.data, s->lines.len, err);
}

static agt_status recover_records(recover_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_record r;
    agt_buf bytes = agt__buf(&s->mem);
    uint64_t at = AGT_JOURNAL_START, seq = s->journal.header.next_seq;
    uint32_t chain = s->journal.header.crc;
    agt_status st = AGT_OK;
    run->from_seq = UINT64_MAX;
    while (at < s->seen.pos && st == AGT_OK) {
        st = agt__record_read(s->sys, s->journal.fd, at, s->journal.header.capacity, s->cpu,
                              s->journal.header.generation, seq, chain, &bytes, &r, err);
        if (st == AGT_END)
            st = agt__fail_at(err, AGT_CORRUPT, (int64_t)at,
                              ".agent-trace/journal changed while it was read");
        if (st != AGT_OK) break;
        if (at >= run->from && run->from_seq == UINT64_MAX) run->from_seq = seq;
        st = recover_record(run, &r, at, err);
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    agt__buf_free(&bytes);
    if (st == AGT_OK && run->all.count)
        qsort(run->all.v, run->all.count, sizeof *run->all.v, recover_order);
    return st;
}

/* The journal's versions of one document: first and count. */
static const recover_version *recover_of(const recover_run *run, const char *path, size_t len,
                                         size_t *count) {
    uint64_t h = agt__fnv(AGT_FNV, path, len);
    size_t lo = 0, hi = run->all.count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (run->all.v[mid].path_hash < h)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t n = 0;
    while (lo + n < run->all.count && run->all.v[lo + n].path_hash == h)
        n++;
    *count = n;
    return run->all.v + lo;
}

static bool recover_known(const recover_run *run, const char *path, size_t len,
                          const agt_oid *blob) {
    size_t n;
    agt_row base;
    const recover_version *v = recover_of(run, path, len, &n);
    for (size_t i = 0; i < n; i++)
        if (v[i].exists && memcmp(v[i].blob.id, blob->id, 20) == 0) return true;
    return agt__catalog_base(&run->s->catalog, path, len, &base) && base.exists &&
           memcmp(base.blob.id, blob->id, 20) == 0;
}

static bool recover_all_zero(const agt_buf *b) {
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i]) return false;
    return true;
}

/* Could `disk` be `whole` as a power cut leaves it: no longer, each byte either there or NUL? */
static bool recover_torn(const agt_buf *disk, const void *whole, size_t len) {
    const unsigned char *w = whole;
    if (disk->len > len) return false;
    for (size_t i = 0; i < disk->len; i++)
        if (disk->data[i] != w[i] && disk->data[i] != 0) return false;
    return true;
}

/* The bytes of one of the journal's versions, into `out`. */
static agt_status recover_bytes(agt_store *s, const recover_version *v, agt_buf *out,
                                agt_error *err) {
    return agt__journalled_content(s, v->seq, out, err);
}

static bool recover_is_torn_version(const recover_run *run, const char *path, size_t len,
                                    const agt_buf *disk) {
    size_t n;
    bool torn = false;
    const recover_version *v = recover_of(run, path, len, &n);
    agt_buf whole = agt__buf(&run->s->mem);
    for (size_t i = n; i-- > 0 && !torn;) {
        whole.len = 0;
        if (v[i].exists && recover_bytes(run->s, &v[i], &whole, NULL) == AGT_OK)
            torn = recover_torn(disk, whole.data, whole.len);
    }
    agt__buf_free(&whole);
    return torn;
}

static agt_status recover_copy_aside(agt_store *s, const agt_row *row, const agt_buf *bytes,
                                     agt_error *err) {
    char name[40];
    agt__seq_name(row->last_seq, ".torn", name);
    agt_status st = agt__write_file(s->sys, s->tmp, name, bytes->data, bytes->len, true, err);
    int rc = st == AGT_OK ? agt__keep_aside(s, name, row->last_seq, "torn", 4) : 0;
    return rc < 0 ? agt__fail_io(err, rc, "cannot keep torn bytes in .agent-trace/aside") : st;
}

/* Was it renamed to a name that leads to the same file here, which is in its new place? */
static bool recover_is_other_name(agt_store *s, const agt_row *row, const agt_look *look) {
    agt_row other;
    agt_look at;
    agt_buf bytes = agt__buf(&s->mem);
    if (!row->moved || !look->on_disk ||
        !agt__catalog_case_clash(&s->catalog, row->path, row->path_len, &other))
        return false;
    agt_status st = agt__look(s, other.path, other.path_len, &bytes, &at, NULL);
    agt__buf_free(&bytes);
    return st == AGT_OK && at.on_disk && agt__same_file(&at.stat, &look->stat);
}

/* (3) for one document. */
static agt_status recover_document(recover_run *run, agt_row *row, agt_error *err) {
    agt_store *s = run->s;
    agt_place p;
    agt_look look;
    size_t n;
    if (row->untracked) return AGT_OK; /* (5) */
    agt_status st = agt__look(s, row->path, row->path_len, &s->old, &look, err);
    /* a link, a folder, a file in the way of a folder, or one that is too large: a person's */
    if (st == AGT_INVALID || st == AGT_LIMIT) return AGT_OK;
    if (st != AGT_OK) return st;
    if (recover_is_other_name(s, row, &look)) return AGT_OK;
    bool same = agt__look_is(&look, row->exists, &row->blob);
    if (same && run->mode != AGT_REPLAY_REWRITE) {
        if (row->exists) agt__row_stat(row, &look.stat);
        return AGT_OK;
    }
    if (!same && row->ino && run->mode == AGT_REPLAY_LEFT)
        return AGT_OK; /* it was in place: an edit */
    if (!same && look.on_disk && !recover_known(run, row->path, row->path_len, &look.blob)) {
        if (run->mode == AGT_REPLAY_LEFT) return AGT_OK; /* an edit */
        if (!recover_all_zero(&s->old)) {
            if (!recover_is_torn_version(run, row->path, row->path_len, &s->old)) return AGT_OK;
            if ((st = recover_copy_aside(s, row, &s->old, err)) != AGT_OK) return st;
        }
    }
    memset(&p, 0, sizeof p);
    p.path = row->path;
    p.path_len = row->path_len;
    p.seq = row->last_seq;
    p.before = look;
    p.remove = !row->exists;
    if (row->exists) {
        const recover_version *v = recover_of(run, row->path, row->path_len, &n);
        agt_buf bytes = agt__buf(&s->mem);
        st = n ? recover_bytes(s, &v[n - 1], &bytes, err) : AGT_CORRUPT;
        bool damaged = st == AGT_CORRUPT || st == AGT_NOT_FOUND;
        if (st == AGT_OK) st = agt__restage(s, &p, bytes.data, bytes.len, err);
        agt__buf_free(&bytes);
        if (damaged) return AGT_OK; /* (7) */
        if (st != AGT_OK) return st;
    }
    st = agt__place(s, &p, err);
    if (st != AGT_OK)
        agt__unstage(s, p.seq);
    else if (row->exists)
        agt__row_stat(row, &p.after);
    return st;
}

/* ---- temporaries ---- */

typedef struct recover_name {
    recover_run *run;
    agt_status st;
    agt_error *err;
} recover_name;

static bool recover_tmp_seq(const char *name, uint64_t *seq) {
    *seq = 0;
    const char *p = name;
    for (; *p >= '0' && *p <= '9' && *seq < UINT64_MAX / 10 - 9; p++)
        *seq = *seq * 10 + (uint64_t)(*p - '0');
    return p > name && (strcmp(p, ".new") == 0 || strcmp(p, ".old") == 0);
}

/* The path of the journal's event `seq`, into `path`; false if there is none. */
static bool recover_path_of(recover_run *run, uint64_t seq, char *path, size_t *len) {
    agt_record r;
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    agt_store *s = run->s;
    uint64_t at = 0;
    for (size_t i = 0; i < run->all.count && !at; i++)
        if (run->all.v[i].seq == seq) at = run->all.v[i].record_at;
    if (!at) return false;
    unsigned char head[64];
    agt_buf bytes = agt__buf(&s->mem);
    bool found = false;
    if (agt__read_all(s->sys, s->journal.fd, head, sizeof head, at) == (int64_t)sizeof head &&
        agt__buf_reserve(&bytes, agt__get32(head + 8))) {
        int64_t n = agt__read_all(s->sys, s->journal.fd, bytes.data, agt__get32(head + 8), at);
        memset(&r, 0, sizeof r);
        r.data = bytes.data;
        r.length = n > 0 ? (uint32_t)n : 0;
        uint64_t now = agt__get64(head + 24);
        for (size_t pos = 0; !found && agt__record_next(&r, &pos, &e); now++)
            if (now == seq &&
                agt__event_parse(e.line, e.line_len, &s->scratch, &ev, NULL) == AGT_OK)
                found = agt__copy_text(path, AGT_MAX_PATH + 1, ev.path.data, ev.path.len);
    }
    agt__buf_free(&bytes);
    *len = found ? strlen(path) : 0;
    return found;
}

/* Somebody who has the file open may still write to it. */
static bool recover_has_writer(agt_store *s, const char *name) {
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    if (fd < 0) return false;
    bool writer = s->sys->has_writer(s->sys->ctx, fd) == 1;
    s->sys->close(s->sys->ctx, fd);
    return writer;
}

/* A temporary of a recorded change may hold what an exchange took out: an edit, if its bytes are
 * no version we know. One of an unrecorded change is only half a write. */
static int recover_temporary(void *ctx, const char *name) {
    recover_name *rn = ctx;
    recover_run *run = rn->run;
    agt_store *s = run->s;
    uint64_t seq;
    char path[AGT_MAX_PATH + 1];
    size_t len;
    bool edit = false;
    if (recover_tmp_seq(name, &seq) && seq < s->seen.next_seq &&
        recover_path_of(run, seq, path, &len)) {
        agt_oid blob;
        s->old.len = 0;
        if (agt__read_file(s->sys, s->tmp, name, AGT_MAX_DOCUMENT, &s->old, NULL) == AGT_OK) {
            agt__git_id(s->cpu, "blob", s->old.data, s->old.len, blob.id);
            edit = !recover_known(run, path, len, &blob);
            if (edit && run->mode != AGT_REPLAY_LEFT)
                edit =
                    !recover_all_zero(&s->old) && !recover_is_torn_version(run, path, len, &s->old);
        } else
            edit = true;
        edit = edit || recover_has_writer(s, name);
    }
    int rc;
    if (edit) {
        rc = agt__keep_aside(s, name, seq, "left", 4);
    } else
        rc = s->sys->remove(s->sys->ctx, s->tmp, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        rn->st = agt__fail_io(rn->err, rc, "cannot clear .agent-trace/tmp/%s", name);
    return rn->st == AGT_OK ? 0 : 1;
}

static agt_status recover_temporaries(recover_run *run, agt_error *err) {
    recover_name rn = {run, AGT_OK, err};
    int rc = run->s->sys->list(run->s->sys->ctx, run->s->tmp, recover_temporary, &rn);
    if (rn.st != AGT_OK) return rn.st;
    if (rc < 0) return agt__fail_io(err, rc, "cannot list .agent-trace/tmp");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__replay_records(agt_store *s, uint64_t from, agt_replay mode,
                                           bool *pending, agt_error *err) {
    recover_run run;
    agt_rows rows = {NULL, 0, 0};
    memset(&run, 0, sizeof run);
    run.s = s;
    run.from = from;
    run.mode = mode;
    agt_status st = recover_records(&run, err);
    if (st == AGT_OK) st = recover_temporaries(&run, err);
    if (st == AGT_OK) st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    for (size_t i = 0; i < rows.count && st == AGT_OK; i++) {
        agt_row *row = agt__catalog_touched(&s->catalog, rows.row[i].path, rows.row[i].path_len);
        if (!row || row->last_seq < run.from_seq) continue;
        st = recover_document(&run, row, &s->waits);
        if (st == AGT_INVALID || st == AGT_IO || st == AGT_LIMIT) {
            *pending = true; /* something is in the way of this one; the others go on */
            st = AGT_OK;
        } else if (st != AGT_OK && err)
            *err = s->waits;
    }
    agt__rows_free(&s->mem, &rows);
    agt__free(&s->mem, run.all.v, run.all.cap * sizeof *run.all.v);
    return st;
}

/* ---- the whole recovery ---- */

AGT_PRIVATE agt_status agt__trace_reaches(agt_store *s, const agt_trace_end *end, agt_error *err) {
    agt_stat st_seg;
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(end->segment, name);
    int rc = s->sys->stat(s->sys->ctx, s->trace_dir, name, &st_seg);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    uint64_t size = rc == 0 ? st_seg.size : 0;
    if (size >= end->offset) return AGT_OK;
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)size,
                        ".agent-trace/trace/%s ends at byte %llu, the journal says %llu; run "
                        "'agent-trace repair'",
                        name, (unsigned long long)size, (unsigned long long)end->offset);
}

/* The shared state as the journal alone tells it. */
static agt_status recover_shared(agt_store *s, agt_error *err) {
    agt_record r;
    agt_entry e;
    agt_shared *sh = &s->shared;
    const agt_journal_header *h = &s->journal.header;
    uint64_t at = AGT_JOURNAL_START, seq = h->next_seq;
    uint32_t chain = h->crc;
    uint64_t flip = sh->flip;
    memset(sh, 0, sizeof *sh);
    sh->flip = flip;
    memcpy(sh->boot, s->self.boot, sizeof sh->boot);
    sh->generation = h->generation;
    sh->dev = s->journal.dev;
    sh->ino = s->journal.ino;
    sh->trace = h->trace;
    sh->published_seq = sh->packed_seq = h->packed_seq;
    sh->head = sh->packed_head = h->packed_head;
    while (at < s->seen.pos) {
        agt_status st = agt__record_read(s->sys, s->journal.fd, at, h->capacity, s->cpu,
                                         h->generation, seq, chain, &s->record, &r, err);
        if (st == AGT_END) st = agt__fail(err, AGT_CORRUPT, "the journal changed under recovery");
        if (st != AGT_OK) return st;
        sh->trace.segment = r.segment;
        sh->trace.offset = r.trace_offset;
        for (size_t pos = 0; agt__record_next(&r, &pos, &e);) {
            sh->trace.offset += e.line_len;
            agt__sha256(s->cpu, e.line, e.line_len, sh->trace.prev);
        }
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    sh->end = sh->synced = s->seen.pos;
    sh->next_seq = s->seen.next_seq;
    sh->chain = s->seen.chain;
    sh->applied = AGT_JOURNAL_START;
    sh->applied_seq = h->next_seq;
    sh->applied_chain = h->crc;
    return AGT_OK;
}

/* (6) */
AGT_PRIVATE agt_status agt__journal_whole(const agt_store *s, const agt_shared *was,
                                          agt_error *err) {
    uint64_t generation = s->journal.header.generation;
    bool ran = !was->failed && s->self.boot[0] && strcmp(was->boot, s->self.boot) == 0;
    if (was->generation > generation)
        return agt__fail_at(err, AGT_CORRUPT, 0,
                            ".agent-trace/journal is damaged, or older than the rest of the store: "
                            "it is of generation %llu, and there was %llu; run 'agent-trace "
                            "repair'",
                            (unsigned long long)generation, (unsigned long long)was->generation);
    if (was->generation < generation || s->seen.pos >= (ran ? was->end : was->synced))
        return AGT_OK;
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)s->seen.pos,
                        ".agent-trace/journal is damaged at byte %llu, and there were records "
                        "behind it; run 'agent-trace repair'",
                        (unsigned long long)s->seen.pos);
}

AGT_PRIVATE agt_status agt__recover(agt_store *s, agt_error *err) {
    agt_shared was;
    bool pending = false;
    agt_status st = agt__shared_read(s->sys, s->state_fd, s->cpu, &was, err);
    if (st != AGT_OK && st != AGT_END) return st;
    bool known = st == AGT_OK;
    bool failed = known && was.failed && strcmp(was.boot, s->self.boot) == 0;
    s->shared.flip = known ? was.flip : 0;
    s->reload = true;
    int rc = s->sys->sync(s->sys->ctx, s->journal.fd); /* (1) */
    if (rc < 0) failed = true;                         /* then what it holds goes into a new file */
    if ((st = agt__store_reload(s, err)) != AGT_OK) return st;
    st = agt__store_replay(s, UINT64_MAX, err);
    if (st != AGT_END) return st == AGT_OK ? agt__fail(err, AGT_CORRUPT, "endless journal") : st;
    if (known && (st = agt__journal_whole(s, &was, err)) != AGT_OK) return st;
    if ((st = recover_shared(s, err)) != AGT_OK) return st;
    if ((st = agt__trace_reaches(s, &s->journal.header.trace, err)) != AGT_OK) return st;
    bool copy = s->journal.header.dev != s->journal.dev || s->journal.header.ino != s->journal.ino;
    if (copy) { /* another replica from now on */
        rc = s->sys->random(s->sys->ctx, s->journal.header.replica, 8);
        if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    }
    st = agt__replay_records(s, AGT_JOURNAL_START, failed ? AGT_REPLAY_REWRITE : AGT_REPLAY_CUT,
                             &pending, err);
    if (st == AGT_OK)
        st = agt__trace_cut(&s->trace, &s->mem, s->shared.trace.segment, s->shared.trace.offset,
                            err);
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    bool empty = s->seen.pos == AGT_JOURNAL_START;
    s->trusts_state = true;
    s->recovered = !empty;
    s->shared.failed = failed;
    if (!pending) {
        s->shared.applied = s->shared.end;
        s->shared.applied_seq = s->shared.next_seq;
        s->shared.applied_chain = s->shared.chain;
        bool stays = s->shared.refused_waits != 0; /* as in checkpoint.c */
        if ((!empty && !stays) || copy || failed) return agt__checkpoint_locked(s, failed, err);
    } /* what is in the way is tried again by the next lock holder */
    agt__store_save(s);
    return AGT_OK;
}
