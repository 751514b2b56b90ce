/* mend_write: the parts of a store made anew. Each is made beside and renamed, so a repair that
 * dies is done again by the next one; the journal is last, and its header names all the others.
 *
 * (1) What is replaced is kept in .agent-trace/damaged first.
 * (2) Records that git does not hold soundly go to unpublished/, the journal's own back into the
 *     journal, and the next publication makes the same commits of them as before.
 * (3) A version whose bytes nothing has keeps its event; its entry says that they are lost. */
#include "mend.h"

#define MEND_FILE_MAX (4u * 1024 * 1024) /* a file of records is ended behind so many bytes */

/* ---- keeping (1) ---- */

static agt_status mend_keep_as(agt_mend *m, agt_fd damaged, const char *name, const agt_buf *bytes,
                               bool *done, agt_error *err) {
    agt_buf there = agt__buf(&m->s->mem);
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__read_file(m->s->sys, damaged, name, SIZE_MAX / 2, &there, &mine);
    *done = st == AGT_OK && there.len == bytes->len &&
            (!there.len || memcmp(there.data, bytes->data, there.len) == 0);
    agt__buf_free(&there);
    if (st == AGT_OK || st == AGT_INVALID) return AGT_OK; /* the name is taken */
    if (st != AGT_NOT_FOUND) return agt__answer(st, &mine, err);
    *done = true;
    return agt__write_file(m->s->sys, damaged, name, bytes->data, bytes->len, true, err);
}

static void mend_numbered(const char *name, unsigned n, char out[96]) {
    char digits[40];
    agt__seq_name(n, "", digits);
    (void)agt__copy_text(out, 50, name, strlen(name));
    if (!n) return;
    size_t len = strlen(out);
    out[len] = '.';
    (void)agt__copy_text(out + len + 1, 40, digits, strlen(digits));
}

AGT_PRIVATE agt_status agt__mend_keep(agt_mend *m, agt_fd dir, const char *name, agt_error *err) {
    char as[96];
    agt_fd damaged;
    bool done = false;
    agt_error mine;
    agt_buf bytes = agt__buf(&m->s->mem);
    mine.status = AGT_OK;
    agt_status st = agt__read_file(m->s->sys, dir, name, SIZE_MAX / 2, &bytes, &mine);
    if (st == AGT_NOT_FOUND) return AGT_OK;
    if (st == AGT_OK) st = agt__mend_damaged(m, true, &damaged, &mine);
    if (st != AGT_OK) {
        agt__buf_free(&bytes);
        return agt__answer(st, &mine, err);
    }
    for (unsigned n = 0; st == AGT_OK && !done; n++) {
        mend_numbered(name, n, as);
        st = mend_keep_as(m, damaged, as, &bytes, &done, err);
    }
    m->s->sys->close(m->s->sys->ctx, damaged);
    agt__buf_free(&bytes);
    return st;
}

AGT_PRIVATE agt_status agt__mend_move_away(agt_mend *m, agt_fd dir, const char *name,
                                           agt_error *err) {
    char as[96];
    agt_fd damaged;
    agt_stat there;
    const agt_sys *sys = m->s->sys;
    int looked = sys->stat(sys->ctx, dir, name, &there);
    if (looked < 0 && AGT_SYS_CLASS(looked) == AGT_SYS_NOENT) return AGT_OK;
    if (looked < 0) return agt__fail_io(err, looked, "cannot look at .agent-trace/%s", name);
    agt_status st = agt__mend_damaged(m, true, &damaged, err);
    if (st != AGT_OK) return st;
    unsigned n = 0;
    do
        mend_numbered(name, n, as);
    while (sys->stat(sys->ctx, damaged, as, &there) == 0 && ++n);
    int rc = sys->rename(sys->ctx, dir, name, damaged, as, AGT_RENAME_REPLACE);
    if (rc >= 0) rc = sys->sync(sys->ctx, damaged);
    if (rc >= 0) rc = sys->sync(sys->ctx, dir);
    sys->close(sys->ctx, damaged);
    return rc < 0 ? agt__fail_io(err, rc, "cannot move %s to .agent-trace/damaged", name) : AGT_OK;
}

/* ---- the trace ---- */

/* The segment's lines up to event `upto`; *next is the first one behind the segment. */
static agt_status mend_segment(agt_mend *m, uint64_t first, uint64_t upto, agt_buf *out,
                               uint64_t *next, agt_error *err) {
    agt_text line = {NULL, 0};
    agt_status st = AGT_OK;
    uint64_t segment = agt__mend_at(m, first)->segment;
    out->len = 0;
    for (*next = first; *next <= m->last && agt__mend_at(m, *next)->segment == segment; ++*next) {
        if (*next > upto) continue;
        st = agt__mend_line(m, *next, &line, err);
        if (st != AGT_OK) return st;
        agt__buf_put(out, line.data, line.len);
    }
    return out->failed ? agt__nomem(err) : AGT_OK;
}

static agt_status mend_same(agt_mend *m, const char *name, const agt_buf *want, bool *same,
                            agt_error *err) {
    const agt_sys *sys = m->s->sys;
    agt_buf have = agt__buf(&m->s->mem);
    *same = !want->len;
    if (*same || m->s->trace_dir == AGT_FD_NONE) return AGT_OK;
    agt_fd fd = sys->open(sys->ctx, m->s->trace_dir, name, AGT_O_READ, 0);
    if (fd < 0) return AGT_OK;
    int64_t n =
        agt__buf_reserve(&have, want->len) ? agt__read_all(sys, fd, have.data, want->len, 0) : 0;
    agt_status st = have.failed ? agt__nomem(err) : AGT_OK;
    if (n < 0 && AGT_SYS_CLASS(n) == AGT_SYS_IO)
        st = agt__fail_io(err, n, "cannot read .agent-trace/trace/%s", name);
    *same =
        st == AGT_OK && n == (int64_t)want->len && memcmp(have.data, want->data, want->len) == 0;
    sys->close(sys->ctx, fd);
    agt__buf_free(&have);
    return st;
}

static agt_status mend_write_segment(agt_mend *m, uint64_t first, const char *name, agt_buf *bytes,
                                     agt_error *err) {
    uint64_t next;
    agt_stat there;
    agt_store *s = m->s;
    bool is =
        s->trace_dir != AGT_FD_NONE && s->sys->stat(s->sys->ctx, s->trace_dir, name, &there) == 0;
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "trace", "repair makes it anew",
                      is ? ".agent-trace/trace/%s is damaged" : ".agent-trace/trace/%s is missing",
                      name)
        ->mendable = 1;
    if (m->dry) return AGT_OK;
    agt_status st = mend_segment(m, first, m->last, bytes, &next, err);
    if (st == AGT_OK && is && there.kind != AGT_FILE_REGULAR)
        st = agt__mend_move_away(m, s->trace_dir, name, err);
    else if (st == AGT_OK)
        st = agt__mend_keep(m, s->trace_dir, name, err);
    return st == AGT_OK
               ? agt__write_file(s->sys, s->trace_dir, name, bytes->data, bytes->len, true, err)
               : st;
}

/* Segments in between that are none of the store's. */
static agt_status mend_strays(agt_mend *m, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < m->segments.count; i++) {
        uint64_t first = m->segments.v[i];
        if (first > m->last || first == m->end.segment || agt__mend_at(m, first)->segment == first)
            continue;
        agt__segment_name(first, name);
        agt__findings_add(m->found, AGT_SEVERITY_ERROR, "trace", "repair moves it away",
                          ".agent-trace/trace/%s is no segment of this trace", name)
            ->mendable = 1;
        if (!m->dry) st = agt__mend_move_away(m, m->s->trace_dir, name, err);
    }
    return st;
}

AGT_PRIVATE agt_status agt__mend_trace(agt_mend *m, uint64_t upto, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_buf bytes = agt__buf(&m->s->mem);
    agt_status st = mend_strays(m, err);
    for (uint64_t first = 1, next; st == AGT_OK && first <= upto; first = next) {
        bool same = false;
        st = mend_segment(m, first, upto, &bytes, &next, err);
        agt__segment_name(agt__mend_at(m, first)->segment, name);
        if (st == AGT_OK) st = mend_same(m, name, &bytes, &same, err);
        if (st == AGT_OK && !same) st = mend_write_segment(m, first, name, &bytes, err);
    }
    agt__buf_free(&bytes);
    return st;
}

/* ---- records (2) ---- */

typedef struct mend_records {
    agt_mend *m;
    uint64_t generation;
    uint32_t chain;
    size_t inline_max; /* contents of one record and file that stay in it */
    agt_buf out, content;
} mend_records;

/* The entry's content: into r->content, or where it lies, or lost (3). */
static agt_status mend_entry(mend_records *r, const agt_event *e, size_t inline_bytes,
                             uint32_t *flags, agt_error *err) {
    char name[40];
    bool found;
    agt_mend *m = r->m;
    bool version = e->version && e->blob.data;
    *flags = 0;
    r->content.len = 0;
    if (!version && !e->rejected.data) return AGT_OK;
    agt_status st = agt__mend_side(m, e, &r->content, &found, err);
    *flags = AGT_ENTRY_CONTENT | AGT_ENTRY_SIDE;
    if (st != AGT_OK || found) return st;
    st = agt__mend_content(m, e, &r->content, &found, err);
    if (st != AGT_OK) return st;
    if (!found) {
        r->content.len = 0;
        *flags = version ? AGT_ENTRY_CONTENT | AGT_ENTRY_SIDE | AGT_ENTRY_LOST : 0;
        if (version) agt__mend_tell_lost(m, e, false);
        return AGT_OK;
    }
    if (r->content.len <= AGT_INLINE_MAX && inline_bytes + r->content.len <= AGT_BATCH_INLINE &&
        r->out.len + r->content.len <= r->inline_max) {
        *flags = AGT_ENTRY_CONTENT;
        return AGT_OK;
    }
    agt__side_name(e->seq, name);
    if (m->dry) return AGT_OK;
    return agt__write_file(m->s->sys, m->s->unpublished, name, r->content.data, r->content.len,
                           true, err);
}

static agt_status mend_record(mend_records *r, uint64_t first, uint64_t count, agt_error *err) {
    agt_record record;
    agt_mend *m = r->m;
    size_t start = agt__record_begin(&r->out), inline_bytes = 0;
    memset(&record, 0, sizeof record);
    record.generation = r->generation;
    record.first_seq = first;
    record.entries = (uint32_t)count;
    record.segment = agt__mend_at(m, first)->segment;
    record.trace_offset = agt__mend_at(m, first)->offset;
    for (uint64_t seq = first; seq < first + count; seq++) {
        uint32_t flags;
        agt_event e = AGT_EVENT_INIT;
        agt_status st = agt__mend_event(m, seq, &e, err);
        if (st == AGT_OK) st = mend_entry(r, &e, inline_bytes, &flags, err);
        if (st != AGT_OK) return st;
        if (seq == first) record.recorded_unix_ms = e.recorded_unix_ms;
        if (flags == AGT_ENTRY_CONTENT) inline_bytes += r->content.len;
        agt__record_put(&r->out, flags, e.line.data, e.line.len, r->content.data, r->content.len);
    }
    agt_status st = agt__record_end(&r->out, start, m->s->cpu, r->chain, &record, err);
    if (st == AGT_OK) r->chain = record.crc;
    return st;
}

/* One file of unpublished/, from event *seq on; *seq becomes the next one. */
static agt_status mend_records_file(mend_records *r, uint64_t *seq, uint64_t last, agt_error *err) {
    char name[40];
    unsigned char head[AGT_RECORDS_HEAD];
    agt_mend *m = r->m;
    agt_status st = AGT_OK;
    const uint64_t first = *seq;
    memset(head, 0, sizeof head);
    memcpy(head, "AGTUNPB2", 8);
    agt__put64(head + 8, r->generation);
    agt__put64(head + 16, first);
    r->out.len = 0;
    r->chain = 0;
    agt__buf_put(&r->out, head, sizeof head);
    while (st == AGT_OK && *seq <= last && r->out.len < MEND_FILE_MAX) {
        uint64_t count = agt__mend_together(m, *seq, last);
        st = mend_record(r, *seq, count, err);
        *seq += count;
    }
    if (st == AGT_OK && r->out.failed) st = agt__nomem(err);
    if (st != AGT_OK || m->dry) return st;
    agt__put32(r->out.data + 28, (uint32_t)(*seq - first));
    agt__seq_name(first, ".records", name);
    return agt__write_file(m->s->sys, m->s->unpublished, name, r->out.data, r->out.len, true, err);
}

static agt_status mend_unpublished(agt_mend *m, uint64_t generation, agt_error *err) {
    mend_records r = {m, generation, 0, SIZE_MAX, agt__buf(&m->s->mem), agt__buf(&m->s->mem)};
    agt_status st = AGT_OK;
    for (uint64_t seq = m->packed_seq + 1; st == AGT_OK && seq < m->first_journal;)
        st = mend_records_file(&r, &seq, m->first_journal - 1, err);
    agt__buf_free(&r.out);
    agt__buf_free(&r.content);
    return st;
}

/* ---- catalog ---- */

AGT_PRIVATE agt_status agt__mend_write_catalog(agt_mend *m, uint64_t number, uint64_t next_seq,
                                               agt_error *err) {
    char name[32];
    agt_store *s = m->s;
    agt_catalog fresh;
    const agt_journal_header *h = &s->journal.header;
    agt_buf bytes = agt__buf(&s->mem);
    bool good = m->has_header && h->next_seq == next_seq && number != h->catalog;
    agt_status st = AGT_CORRUPT;
    if (good) {
        fresh = agt__catalog(&s->mem);
        st = agt__catalog_load(&fresh, s->sys, s->at, s->cpu, h->catalog, NULL);
    }
    if (st != AGT_OK) st = agt__mend_catalog(m, next_seq - 1, &fresh, err);
    if (st != AGT_OK) return st;
    st = agt__catalog_encode(&fresh, s->cpu, next_seq, &bytes, err);
    agt__catalog_free(&fresh);
    agt__catalog_name(number, name);
    if (st == AGT_OK && !m->dry) st = agt__mend_keep(m, s->at, name, err);
    if (st == AGT_OK && !m->dry)
        st = agt__write_file(s->sys, s->at, name, bytes.data, bytes.len, true, err);
    agt__buf_free(&bytes);
    return st;
}

/* ---- journal ---- */

/* The journal's own records. */
static agt_status mend_journal_records(mend_records *r, agt_error *err) {
    agt_mend *m = r->m;
    agt_status st = AGT_OK;
    for (uint64_t seq = m->first_journal, count; st == AGT_OK && seq <= m->last; seq += count) {
        count = agt__mend_together(m, seq, m->last);
        st = mend_record(r, seq, count, err);
    }
    if (st == AGT_OK && r->out.failed) st = agt__nomem(err);
    if (st != AGT_OK || r->out.len <= AGT_JOURNAL_BYTES - AGT_JOURNAL_START) return st;
    m->first_journal = m->last + 1; /* it is more than a journal ever had: to unpublished/ */
    m->known = m->end;
    m->out->lost_versions = 0;
    r->out.len = 0;
    return AGT_OK;
}

/* Their checksums begin at the header, which is known only when its file is there. */
static agt_status mend_fill_journal(void *ctx, agt_fd fd, uint32_t seed, agt_error *err) {
    mend_records *r = ctx;
    agt_store *s = r->m->s;
    for (size_t at = 0; at < r->out.len;) {
        unsigned char *p = r->out.data + at;
        uint32_t length = agt__get32(p + 8);
        seed = agt__crc32c(s->cpu, seed, p + 8, length - 8);
        agt__put32(p + 4, seed);
        at += length;
    }
    int rc = agt__write_all(s->sys, fd, r->out.data, r->out.len, AGT_JOURNAL_START);
    return rc < 0 ? agt__fail_io(err, rc, "cannot write .agent-trace/journal") : AGT_OK;
}

static agt_status mend_journal_anew(mend_records *r, agt_error *err) {
    agt_journal_header h;
    agt_mend *m = r->m;
    agt_store *s = m->s;
    memset(&h, 0, sizeof h);
    h.generation = r->generation;
    h.next_seq = m->first_journal;
    h.trace = m->known;
    h.catalog = m->first_journal > 1 ? r->generation : 0;
    h.packed_seq = m->packed_seq;
    h.packed_head = m->packed_head;
    h.unpublished = m->packed_seq + 1 < m->first_journal ? m->packed_seq + 1 : 0;
    memcpy(h.replica, m->replica, sizeof h.replica);
    agt_status st = agt__mend_keep(m, s->at, "journal", err);
    return st == AGT_OK ? agt__journal_create_with(s->sys, s->at, s->cpu, &s->mem, &h,
                                                   mend_fill_journal, r, err)
                        : st;
}

/* Documents whose change is in no journal any more must be on the disk. */
static agt_status mend_sync_documents(agt_mend *m, agt_error *err) {
    agt_status st = AGT_OK;
    uint64_t seq = m->raw_first && !m->dry ? m->raw_first : m->first_journal;
    for (; st == AGT_OK && seq < m->first_journal; seq++) {
        char path[AGT_MAX_PATH + 1];
        agt_event e = AGT_EVENT_INIT;
        st = agt__mend_event(m, seq, &e, err);
        if (st != AGT_OK || !e.version || !e.blob.data) continue;
        (void)agt__copy_text(path, sizeof path, e.path.data, e.path.len);
        agt_status synced = agt__sync_document(m->s, path, e.path.len, NULL);
        if (synced == AGT_NOMEM) st = agt__nomem(err);
    }
    return st;
}

/* ---- git ---- */

/* Without a sound history in git, all of it is made again from the records. */
static agt_status mend_git_anew(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    if (!m->git_bad) return AGT_OK;
    agt_status st = agt__mend_move_away(m, s->at, "git", err);
    if (st != AGT_OK) return st;
    if (s->git_dir != AGT_FD_NONE) s->sys->close(s->sys->ctx, s->git_dir);
    s->git_dir = AGT_FD_NONE;
    st = agt__open_folder(s->sys, s->at, "git", true, &s->git_dir, err);
    return st == AGT_OK ? agt__git_init(s->sys, s->git_dir, &s->mem, err) : st;
}

AGT_PRIVATE agt_status agt__mend_rebuild(agt_mend *m, agt_error *err) {
    agt_mem *mem = &m->s->mem;
    mend_records r = {m, m->generation + 1, 0, AGT_JOURNAL_HALF, agt__buf(mem), agt__buf(mem)};
    agt_status st = AGT_OK;
    if (m->rebuild) {
        st = agt__mend_trace(m, m->last, err);
        if (st == AGT_OK) st = mend_journal_records(&r, err);
        if (st == AGT_OK) st = mend_sync_documents(m, err);
        if (st == AGT_OK) st = mend_unpublished(m, r.generation, err);
        if (st == AGT_OK && m->first_journal > 1)
            st = agt__mend_write_catalog(m, r.generation, m->first_journal, err);
    }
    /* only now: until here git was read */
    if (st == AGT_OK && !m->dry) st = mend_git_anew(m, err);
    if (st == AGT_OK && !m->dry && m->rebuild) st = mend_journal_anew(&r, err);
    agt__buf_free(&r.out);
    agt__buf_free(&r.content);
    return st;
}
