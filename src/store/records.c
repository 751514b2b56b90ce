/* records: walking what is recorded, wherever it is by now: in unpublished/, then in the journal;
 * and finding a content, which may lie in a side file, or in git.
 *
 * (1) Records are immutable, so they are read without the store lock. A journal that begins a new
 *     generation meanwhile is noticed by the checksum chain, and the walk ends early.
 * (2) The files in unpublished/ are a chain that begins with the one that the header names; where
 *     one ends the next begins. Another one is of another time: a copy was laid over the store. */
#include "store.h"

AGT_PRIVATE void agt__side_name(uint64_t seq, char out[40]) {
    memcpy(out, "side-", 5);
    char digits[40];
    agt__seq_name(seq, "", digits);
    memcpy(out + 5, digits, strlen(digits) + 1);
}

AGT_PRIVATE agt_status agt__entry_bytes(agt_store *s, uint64_t seq, const agt_entry *entry,
                                        agt_buf *out, const void **bytes, agt_error *err) {
    char name[40];
    *bytes = entry->content ? (const void *)entry->content : "";
    if (!(entry->flags & AGT_ENTRY_SIDE)) return AGT_OK;
    if (entry->flags & AGT_ENTRY_LOST)
        return agt__fail(err, AGT_CORRUPT, "the bytes of event %llu were lost before a repair",
                         (unsigned long long)seq);
    agt__side_name(seq, name);
    out->len = 0;
    agt_status st =
        agt__read_file(s->sys, s->unpublished, name, (size_t)AGT_MAX_DOCUMENT, out, err);
    if (st == AGT_OK && out->len != entry->content_len)
        st = agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    *bytes = out->data ? (const void *)out->data : "";
    return st;
}

/* ---- walking records ---- */

/* The seq behind the last one in unpublished/<first>.records, as its head tells it. */
AGT_PRIVATE agt_status agt__records_end(agt_store *s, uint64_t first, uint64_t *end,
                                        agt_error *err) {
    unsigned char head[AGT_RECORDS_HEAD];
    char name[40];
    agt__seq_name(first, ".records", name);
    agt_fd fd = s->unpublished == AGT_FD_NONE
                    ? AGT_SYS_ERR(AGT_SYS_NOENT, 0)
                    : s->sys->open(s->sys->ctx, s->unpublished, name, AGT_O_READ, 0);
    if (fd < 0) {
        agt_status denied = agt__fail_sys(err, fd, "cannot open .agent-trace/unpublished/%s", name);
        return agt__say_owner(s->sys, s->unpublished, name, fd, denied, err);
    }
    int64_t n = agt__read_all(s->sys, fd, head, sizeof head, 0);
    s->sys->close(s->sys->ctx, fd);
    if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/unpublished/%s", name);
    *end = first + agt__get32(head + 28);
    if (n < (int64_t)sizeof head || memcmp(head, "AGTUNPB2", 8) != 0 ||
        agt__get64(head + 16) != first || *end <= first)
        return agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    return AGT_OK;
}

static agt_status records_walk_bytes(agt_store *s, const unsigned char *data, size_t n,
                                     uint64_t *seq, uint64_t end, agt_record_fn each, void *ctx,
                                     agt_error *err) {
    agt_record r;
    uint64_t generation = agt__get64(data + 8), next = agt__get64(data + 16);
    uint32_t chain = agt__get32(data + 24);
    for (size_t at = AGT_RECORDS_HEAD; at < n; at += r.length) {
        if (agt__record_parse(data + at, n - at, s->cpu, generation, next, chain, &r) != AGT_OK)
            return agt__fail_at(err, AGT_CORRUPT, (int64_t)at,
                                "a file in .agent-trace/unpublished is damaged");
        if (r.first_seq + r.entries > *seq) {
            agt_status st = each(ctx, &r, err);
            if (st != AGT_OK) return st;
            *seq = r.first_seq + r.entries;
        }
        next += r.entries;
        chain = r.crc;
    }
    if (next != end)
        return agt__fail(err, AGT_CORRUPT, "a file in .agent-trace/unpublished is damaged");
    return AGT_OK;
}

static agt_status records_walk_file(agt_store *s, uint64_t first, uint64_t end, uint64_t *seq,
                                    agt_record_fn each, void *ctx, agt_error *err) {
    char name[40];
    agt_buf bytes = agt__buf(&s->mem);
    agt__seq_name(first, ".records", name);
    agt_status st = agt__read_file(s->sys, s->unpublished, name, SIZE_MAX / 2, &bytes, err);
    if (st == AGT_OK && bytes.len < AGT_RECORDS_HEAD)
        st = agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    if (st == AGT_OK) st = records_walk_bytes(s, bytes.data, bytes.len, seq, end, each, ctx, err);
    agt__buf_free(&bytes);
    return st;
}

/* (2) */
static agt_status records_walk_files(agt_store *s, const agt_journal_header *h, uint64_t *seq,
                                     agt_record_fn each, void *ctx, agt_error *err) {
    agt_error mine;
    uint64_t end;
    mine.status = AGT_OK;
    for (uint64_t at = h->unpublished; at && at < h->next_seq; at = end) {
        agt_status st = agt__records_end(s, at, &end, &mine);
        if (st == AGT_NOT_FOUND) return AGT_OK; /* what is missing there is seen by who misses it */
        if (st == AGT_OK && end > *seq) st = records_walk_file(s, at, end, seq, each, ctx, &mine);
        if (st != AGT_OK) return agt__answer(st, &mine, err);
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__each_record(agt_store *s, const agt_journal *j, uint64_t seq,
                                        agt_record_fn each, void *ctx, agt_error *err) {
    agt_record r;
    const agt_journal_header h = j->header;
    agt_buf bytes = agt__buf(&s->mem);
    agt_status st = seq < h.next_seq ? records_walk_files(s, &h, &seq, each, ctx, err) : AGT_OK;
    uint64_t at = AGT_JOURNAL_START, next = h.next_seq;
    uint32_t chain = h.crc;
    while (st == AGT_OK) {
        st = agt__record_read(s->sys, j->fd, at, h.capacity, s->cpu, h.generation, next, chain,
                              &bytes, &r, err);
        if (st == AGT_OK && r.first_seq + r.entries > seq) st = each(ctx, &r, err);
        at += r.length;
        next += r.entries;
        chain = r.crc;
    }
    agt__buf_free(&bytes);
    return st == AGT_END ? AGT_OK : st;
}

/* One of line and content is asked for. */
typedef struct records_wanted {
    agt_store *s;
    uint64_t seq;
    agt_buf *line, *content;
} records_wanted;

static agt_status records_take_entry(records_wanted *w, const agt_entry *e, agt_error *err) {
    const void *bytes;
    if (w->line) {
        agt__buf_put(w->line, e->line, e->line_len);
        return w->line->failed ? agt__nomem(err) : AGT_OK;
    }
    if (!(e->flags & AGT_ENTRY_CONTENT)) return AGT_NOT_FOUND;
    agt_buf side = agt__buf(&w->s->mem);
    agt_status st = agt__entry_bytes(w->s, w->seq, e, &side, &bytes, err);
    if (st == AGT_OK) agt__buf_put(w->content, bytes, (size_t)e->content_len);
    agt__buf_free(&side);
    return st == AGT_OK && w->content->failed ? agt__nomem(err) : st;
}

/* AGT_CONFLICT stops the walk: found. */
static agt_status records_take(void *ctx, const agt_record *r, agt_error *err) {
    records_wanted *w = ctx;
    agt_entry e;
    uint64_t seq = r->first_seq;
    if (seq > w->seq) return AGT_NOT_FOUND;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++) {
        if (seq != w->seq) continue;
        agt_status st = records_take_entry(w, &e, err);
        return st == AGT_OK ? AGT_CONFLICT : st;
    }
    return AGT_OK;
}

static agt_status records_find(records_wanted *w, agt_error *err) {
    agt_status st = agt__each_record(w->s, &w->s->journal, w->seq, records_take, w, err);
    if (st == AGT_CONFLICT) return AGT_OK;
    return st == AGT_OK ? AGT_NOT_FOUND : st;
}

AGT_PRIVATE agt_status agt__journalled_content(agt_store *s, uint64_t seq, agt_buf *out,
                                               agt_error *err) {
    records_wanted w = {s, seq, NULL, out};
    return records_find(&w, err);
}

AGT_PRIVATE agt_status agt__journalled_line(agt_store *s, uint64_t seq, agt_buf *out,
                                            agt_error *err) {
    records_wanted w = {s, seq, out, NULL};
    return records_find(&w, err);
}

/* What is not found may lie in a folder that was put in the place of the one that is open. */
static agt_status records_read_git(agt_store *s, const agt_oid *blob, agt_buf *out,
                                   agt_error *err) {
    bool moved;
    size_t start = out->len;
    agt_status st = AGT_OK;
    if (s->reader_dir == AGT_FD_NONE)
        st = agt__store_follow_git(s, s->reader, &s->reader_dir, false, &moved, err);
    if (st != AGT_OK) return st;
    st = agt__git_read(s->reader, blob, out, err);
    if (st == AGT_OK ||
        agt__store_follow_git(s, s->reader, &s->reader_dir, false, &moved, NULL) != AGT_OK ||
        !moved)
        return st;
    out->len = start;
    return agt__git_read(s->reader, blob, out, err);
}

AGT_PRIVATE agt_status agt__git_content(agt_store *s, const agt_oid *blob, agt_buf *out,
                                        agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
    agt_status st = records_read_git(s, blob, out, &mine);
    s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
    return agt__answer(st, &mine, err);
}
