/* txn: from events to a record, and from a record to the files.
 *
 * append   one pwrite of the whole record
 * sync     at full durability one fdatasync: the commit point
 * apply    the trace's lines, then the documents by rename
 * save     the shared state
 *
 * (1) Nothing is applied that is not appended, and at full nothing that is not synced.
 * (2) A failure before the commit point leaves no trace but memory; the record's magic is zeroed
 *     where the append itself failed.
 * (3) A failure after it is not the caller's: result.apply_pending, and the next lock holder tries
 *     again. */
#include "write.h"

/* ---- building records ---- */

AGT_PRIVATE void agt__txn_begin(agt_txn *t, agt_store *s, agt_plan *plans, bool full, bool atomic) {
    memset(t, 0, sizeof *t);
    t->s = s;
    t->full = full;
    t->atomic = atomic;
    t->draft = s->shared;
    t->plans = plans;
    t->now_unix_ms = s->sys->now_unix_ms(s->sys->ctx);
    if (t->now_unix_ms < 0) t->now_unix_ms = 0;
    if (t->now_unix_ms > AGT_TIME_MAX) t->now_unix_ms = AGT_TIME_MAX;
    s->lines.len = 0;
    if (t->draft.trace.offset >= AGT_SEGMENT_MAX) {
        t->draft.trace.segment = t->draft.next_seq;
        t->draft.trace.offset = 0;
    }
    s->record.len = 0;
    s->record.failed = false;
    t->flushed = t->draft;
}

AGT_PRIVATE void agt__txn_record_begin(agt_txn *t) {
    agt_store *s = t->s;
    t->record_start = s->record.len;
    t->record_lines = s->lines.len;
    memset(&t->record, 0, sizeof t->record);
    t->record.generation = s->journal.header.generation;
    t->record.first_seq = t->draft.next_seq;
    t->record.segment = t->draft.trace.segment;
    t->record.trace_offset = t->draft.trace.offset;
    t->record.recorded_unix_ms = t->now_unix_ms;
    (void)agt__record_begin(&s->record);
}

static agt_status txn_side_file(agt_txn *t, uint64_t seq, const void *bytes, size_t len,
                                agt_error *err) {
    char name[40];
    agt__side_name(seq, name);
    t->side_bytes += len;
    /* whatever the level: a later sync of the journal makes the record durable that names it */
    return agt__write_file(t->s->sys, t->s->unpublished, name, bytes, len, true, err);
}

AGT_PRIVATE agt_status agt__txn_add(agt_txn *t, agt_event *e, const void *content, size_t len,
                                    bool has_content, bool *side, agt_error *err) {
    agt_store *s = t->s;
    char prev[64], replica[16];
    uint32_t flags = has_content ? AGT_ENTRY_CONTENT : 0;
    size_t from = s->lines.len;
    e->seq = t->draft.next_seq + t->record.entries;
    agt__hex(t->draft.trace.prev, 32, prev);
    agt__hex(s->journal.header.replica, 8, replica);
    e->prev = (agt_text){prev, 64};
    e->replica = (agt_text){replica, 16};
    agt_status st = agt__event_format(&s->lines, e, err);
    if (st != AGT_OK) {
        s->lines.len = from;
        return st;
    }
    if (has_content && (len > AGT_INLINE_MAX || t->inline_bytes + len > AGT_BATCH_INLINE)) {
        flags |= AGT_ENTRY_SIDE;
        if (side) *side = true;
        st = txn_side_file(t, e->seq, content, len, err);
        if (st != AGT_OK) {
            s->lines.len = from;
            return st;
        }
    } else if (has_content)
        t->inline_bytes += len;
    agt__record_put(&s->record, flags, s->lines.data + from, s->lines.len - from, content, len);
    agt__sha256(s->cpu, s->lines.data + from, s->lines.len - from, t->draft.trace.prev);
    t->record.entries++;
    e->prev = e->replica = (agt_text){NULL, 0};
    return AGT_OK;
}

/* ---- append ---- */

/* (2) */
static agt_status txn_append(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    static const unsigned char zeros[8] = {0};
    uint64_t at = t->flushed.end, room = s->journal.header.capacity - at;
    t->no_room = s->record.len > room;
    if (t->no_room)
        return agt__fail(err, AGT_LIMIT,
                         "the change needs %zu bytes of journal and %llu are free; something keeps "
                         "the journal from being emptied, see 'agent-trace status'",
                         s->record.len, (unsigned long long)room);
    agt_status st = agt__journal_grow(&s->journal, &s->mem, at + s->record.len, err);
    if (st != AGT_OK) return st;
    int rc = agt__write_all(s->sys, s->journal.fd, s->record.data, s->record.len, at);
    if (rc == 0) return AGT_OK;
    st = agt__fail_io(err, rc, "cannot append to .agent-trace/journal");
    /* synced, or a power cut could keep the record and lose that it was taken back */
    rc = agt__write_all(s->sys, s->journal.fd, zeros, sizeof zeros, at);
    if (rc == 0) rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc < 0) {
        t->unknown = true;
        s->shared.failed = 1; /* nobody may append behind what cannot be taken back */
        agt__store_save(s);
        if (err) err->outcome_unknown = 1;
    }
    return st;
}

AGT_PRIVATE agt_status agt__txn_seal(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    if (!t->record.entries) {
        s->record.len = t->record_start;
        return AGT_OK;
    }
    if (s->lines.failed || s->record.failed) st = agt__nomem(err);
    if (st == AGT_OK)
        st = agt__record_end(&s->record, t->record_start, s->cpu, t->draft.chain, &t->record, err);
    if (st != AGT_OK) return st; /* the caller rolls back */
    t->draft.end += t->record.length;
    t->draft.next_seq += t->record.entries;
    t->draft.chain = t->record.crc;
    t->draft.trace.offset += s->lines.len - t->record_lines;
    t->record.entries = 0;
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_rollback(agt_txn *t) {
    t->draft = t->flushed;
    t->s->lines.len = t->flushed_lines;
    t->s->record.len = 0;
    t->s->lines.failed = t->s->record.failed = false;
    t->record.entries = 0;
    t->inline_bytes = 0;
}

/* From here on the records count: a catalog that cannot follow is loaded anew at the next lock. */
static void txn_flushed(agt_txn *t) {
    agt_store *s = t->s;
    agt_record r;
    uint64_t seq = t->flushed.next_seq;
    uint32_t chain = t->flushed.chain;
    for (size_t at = 0; at < s->record.len; at += r.length, seq += r.entries, chain = r.crc) {
        agt_status st = agt__record_parse(s->record.data + at, s->record.len - at, s->cpu,
                                          s->journal.header.generation, seq, chain, &r);
        AGENT_TRACE_ASSERT(st == AGT_OK);
        if (st != AGT_OK || agt__store_record_rows(s, &r, NULL) != AGT_OK) {
            s->reload = true;
            break;
        }
    }
    s->seen.pos = t->draft.end;
    s->seen.next_seq = t->draft.next_seq;
    s->seen.chain = t->draft.chain;
    s->record.len = 0;
    t->flushed = t->draft;
    t->flushed_lines = s->lines.len;
    t->inline_bytes = 0;
    t->appended = true;
}

AGT_PRIVATE agt_status agt__txn_flush(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    if (!s->record.len) return AGT_OK;
    if (!agt__flock_still(&s->lock)) { /* somebody else may hold another file of that name */
        agt__txn_rollback(t);
        return agt__fail(err, AGT_IO,
                         ".agent-trace/locks/store.lock was removed or replaced while it was held; "
                         "try again");
    }
    agt_status st = agt__trace_reserve(&s->trace, t->flushed.trace.segment, t->flushed.trace.offset,
                                       s->lines.len - t->flushed_lines, err);
    if (st == AGT_OK) st = txn_append(t, err);
    if (st == AGT_OK)
        txn_flushed(t);
    else
        agt__txn_rollback(t);
    return st;
}

AGT_PRIVATE void agt__txn_took(agt_txn *t, size_t index) {
    agt_plan *p = &t->plans[index];
    if (p->kind == AGT_PLAN_NONE) return;
    if (p->row->pending) { /* the earlier change's file would be replaced at once: leave it out */
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        agt__unstage(t->s, earlier->place.seq);
        earlier->staged = false;
        earlier->kind = AGT_PLAN_NONE;
    }
    p->row->pending = (uint32_t)index + 1;
}

/* ---- commit ---- */

static agt_status txn_sync(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc == 0) {
        t->draft.synced = t->draft.end;
        return AGT_OK;
    }
    s->shared.failed = 1; /* finding: after a failed sync neither reads nor later syncs tell */
    s->reload = true;
    agt__store_save(s);
    agt_status st = agt__fail_io(err, rc,
                                 "cannot sync .agent-trace/journal; whether the change survives "
                                 "is unknown; close and open the store to find out");
    if (err) err->outcome_unknown = 1;
    return st;
}

static bool txn_apply_plan(agt_txn *t, agt_plan *p) {
    agt_store *s = t->s;
    if (p->kind == AGT_PLAN_NONE) return true;
    bool renames = p->kind == AGT_PLAN_RENAME;
    agt_status st =
        renames ? agt__place_rename(s, p, &s->waits) : agt__place(s, &p->place, &s->waits);
    p->result.edit_kept_aside = p->place.kept_aside || p->to_place.kept_aside;
    p->result.apply_pending = st != AGT_OK;
    if (st != AGT_OK) return false;
    if (renames && !s->reload) agt__row_stat(p->to_row, &p->to_place.after);
    if (p->kind == AGT_PLAN_WRITE && !s->reload) agt__row_stat(p->row, &p->place.after);
    return true;
}

static bool txn_apply(agt_txn *t) {
    agt_store *s = t->s;
    bool all = true;
    uint64_t at = t->draft.trace.offset - s->lines.len;
    if (agt__trace_put(&s->trace, t->draft.trace.segment, at, s->lines.data, s->lines.len, NULL) !=
        AGT_OK)
        all = false;
    for (size_t i = t->first; i < t->count; i++) {
        agt_plan *p = &t->plans[i];
        if (p->result.status == AGT_DENIED && p->result.seq && agt__plan_brings(p) &&
            p->len <= AGT_REJECTED_MAX) {
            unsigned char sha[32];
            char name[64];
            agt__sha256(s->cpu, p->bytes, p->len, sha);
            agt__hex(sha, 32, name);
            /* synced at every level: a checkpoint takes the record and knows no such file */
            if (!agt__keep_rejected(s, (agt_text){name, 64}, p->bytes, p->len))
                t->draft.refused_waits = 1;
        }
        if (!txn_apply_plan(t, p)) all = false;
        if (p->row) p->row->pending = 0;
    }
    return all;
}

AGT_PRIVATE agt_status agt__txn_commit(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    uint64_t was_applied = s->shared.applied, was_end = s->shared.end;
    bool unsynced = t->draft.synced < t->draft.end;
    if (t->full && unsynced && (t->appended || t->wants_sync)) {
        if ((st = txn_sync(t, err)) != AGT_OK) {
            agt__txn_discard(t, t->first, t->count);
            return st;
        }
        if (!t->appended) {
            s->shared.synced = t->draft.synced;
            agt__store_save(s);
        }
    }
    if (!t->appended) return AGT_OK;
    bool all = txn_apply(t);
    if (all && was_applied == was_end) {
        t->draft.applied = t->draft.end;
        t->draft.applied_seq = t->draft.next_seq;
        t->draft.applied_chain = t->draft.chain;
    }
    t->draft.flip = s->shared.flip;
    s->shared = t->draft;
    agt__store_save(s);
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_discard(agt_txn *t, size_t from, size_t to) {
    char name[40];
    for (size_t i = from; i < to; i++) {
        agt_plan *p = &t->plans[i];
        if (p->staged) agt__unstage(t->s, p->place.seq);
        if (p->side && !t->unknown &&
            p->place.seq >= t->flushed.next_seq) { /* no record names it */
            agt__side_name(p->place.seq, name);
            (void)t->s->sys->remove(t->s->sys->ctx, t->s->unpublished, name);
        }
        if (p->row && p->row->pending == i + 1) p->row->pending = 0; /* not an earlier change's */
        p->staged = p->side = false;
        p->kind = AGT_PLAN_NONE;
    }
}
