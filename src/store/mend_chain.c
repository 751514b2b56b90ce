/* mend_chain: which of the lines that were found are the store's events.
 *
 * (1) The walk goes backward: every event has the hash of the line before it, so one that is sure
 *     proves all before it. The journal's checksums, or its header, tell where to begin.
 * (2) Where a line is lost, the one before it is proved by nothing that comes later; what chains
 *     forward is preferred then.
 * (3) Behind what the journal tells, events count as far as each has the hash of the one before.
 *     Without a journal they also count behind a gap, unless the gap cannot be.
 * (4) For a lost event another stands in: by `system`, with the action "lost". So seq has no gap,
 *     and the trace's chain is broken exactly where something is missing. */
#include "mend.h"

#define MEND_GAP 1024u /* more events are not lost at once, they are a number that was damaged */

static const agt_mend_line *mend_lines(const agt_mend *m) {
    return (const agt_mend_line *)(const void *)m->lines.data;
}

AGT_PRIVATE agt_mend_event *agt__mend_at(const agt_mend *m, uint64_t seq) {
    return (agt_mend_event *)(void *)m->events.data + (seq - 1);
}

static const unsigned char *mend_hash(const agt_mend *m, uint64_t seq) {
    static const unsigned char none[32];
    return seq ? mend_lines(m)[agt__mend_at(m, seq)->line].hash : none;
}

/* The lines with that seq: their first index; *count. */
static size_t mend_of(const agt_mend *m, uint64_t seq, size_t *count) {
    const agt_mend_line *v = mend_lines(m);
    size_t total = m->lines.len / sizeof *v, first = agt__mend_first(&m->lines, sizeof *v, seq);
    for (*count = 0; first + *count < total && v[first + *count].seq == seq;)
        ++*count;
    return first;
}

/* Does the line chain to one that was found before it? */
static bool mend_chains(const agt_mend *m, const agt_mend_line *l) {
    static const unsigned char none[32];
    size_t n;
    if (l->seq == 1) return memcmp(l->prev, none, 32) == 0;
    for (size_t i = mend_of(m, l->seq - 1, &n); n > 0; n--, i++)
        if (memcmp(mend_lines(m)[i].hash, l->prev, 32) == 0) return true;
    return false;
}

/* The line of `seq`; `hash` (may be NULL: unknown) is what it must have. AGT_MEND_NONE: lost. */
static uint32_t mend_pick(const agt_mend *m, uint64_t seq, const unsigned char *hash) {
    size_t n, first = mend_of(m, seq, &n);
    const agt_mend_line *v = mend_lines(m) + first;
    for (size_t i = 0; hash && i < n; i++)
        if (memcmp(v[i].hash, hash, 32) == 0) return (uint32_t)(first + i);
    for (size_t i = 0; i < n; i++)
        if (hash ? v[i].stands_in : v[i].sure) return (uint32_t)(first + i);
    for (size_t i = 0; !hash && i < n; i++) /* (2) */
        if (v[i].from != AGT_MEND_KEPT && mend_chains(m, &v[i])) return (uint32_t)(first + i);
    for (size_t i = 0; !hash && i < n; i++)
        if (v[i].from != AGT_MEND_KEPT) return (uint32_t)(first + i);
    return AGT_MEND_NONE;
}

/* (3): the newest event, where no journal tells it. */
static uint64_t mend_top(const agt_mend *m) {
    const agt_mend_line *v = mend_lines(m);
    size_t n = m->lines.len / sizeof *v;
    uint64_t top = 0;
    const agt_mend_line *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (v[i].from == AGT_MEND_KEPT || v[i].seq <= top) continue;
        bool chains = mend_chains(m, &v[i]);
        bool other = last && memcmp(v[i].prev, last->hash, 32) == 0 && v[i].seq != top + 1;
        bool nearby = v[i].seq - top <= MEND_GAP && v[i].whole && !other;
        if (!chains && !nearby) continue;
        top = v[i].seq;
        last = &v[i];
    }
    return top;
}

/* (3): the index of a line that goes on behind the last one. */
static uint32_t mend_successor(const agt_mend *m) {
    size_t n, first = mend_of(m, m->last + 1, &n);
    if (m->last && agt__mend_at(m, m->last)->line == AGT_MEND_NONE) return AGT_MEND_NONE;
    for (size_t i = first; i < first + n; i++) {
        const agt_mend_line *l = &mend_lines(m)[i];
        if (l->from != AGT_MEND_KEPT && l->whole && memcmp(l->prev, mend_hash(m, m->last), 32) == 0)
            return (uint32_t)i;
    }
    return AGT_MEND_NONE;
}

/* (1), from the last event down to the one behind `until`. */
static void mend_backward(agt_mend *m, uint64_t until) {
    const agt_journal_header *h = &m->s->journal.header;
    const unsigned char *hash = NULL;
    for (uint64_t seq = m->last; seq > until; seq--) {
        if (m->has_header && seq == h->next_seq - 1) hash = h->trace.prev;
        agt_mend_event *e = agt__mend_at(m, seq);
        e->line = mend_pick(m, seq, hash);
        hash = e->line == AGT_MEND_NONE ? NULL : mend_lines(m)[e->line].prev;
    }
}

/* There were events that neither a journal nor a chain leads to: what they did nobody knows, but
 * that they were. */
static void mend_believe_state(agt_mend *m) {
    const uint64_t last = m->last;
    if (m->state_next <= last + 1 || m->state_next - last > MEND_GAP) return;
    for (uint64_t seq = last + 1; seq < m->state_next; seq++) {
        agt_mend_event e = {AGT_MEND_NONE, false, 0, 0};
        agt__buf_put(&m->events, &e, sizeof e);
        if (m->events.failed) return;
        m->last = seq;
    }
    mend_backward(m, last);
}

static agt_status mend_choose(agt_mend *m, agt_error *err) {
    m->last = m->has_header ? m->known_next - 1 : mend_top(m);
    if (m->last > SIZE_MAX / sizeof(agt_mend_event)) return agt__nomem(err);
    agt__buf_zero(&m->events, (size_t)m->last * sizeof(agt_mend_event));
    if (m->events.failed) return agt__nomem(err);
    mend_backward(m, 0);
    uint64_t told = m->last, top = told;
    for (uint32_t next; m->has_header && (next = mend_successor(m)) != AGT_MEND_NONE;) {
        agt_mend_event e = {next, false, 0, 0};
        agt__buf_put(&m->events, &e, sizeof e);
        if (m->events.failed) return agt__nomem(err);
        m->last++;
    }
    mend_believe_state(m);
    if (m->events.failed) return agt__nomem(err);
    if (m->last == told) return AGT_OK;
    m->rebuild = true;
    for (uint64_t seq = told + 1; seq <= m->last; seq++)
        if (agt__mend_at(m, seq)->line != AGT_MEND_NONE) top = seq;
    if (top == told) return AGT_OK; /* all of them are lost, which is told by itself */
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "journal_records",
                      "repair takes them in from where they are",
                      "the journal ends before event %llu, but there are whole events up to %llu",
                      (unsigned long long)told + 1, (unsigned long long)top)
        ->mendable = 1;
    return AGT_OK;
}

/* ---- lost events (4) ---- */

static agt_status mend_stand_in(agt_mend *m, uint64_t seq, int64_t at_unix_ms, agt_error *err) {
    char summary[96], prev[65], replica[17];
    agt_event e = AGT_EVENT_INIT;
    agt_buf line = agt__buf(&m->s->mem);
    (void)agt__copy_text(summary, sizeof summary, "lost before a repair: event ", 28);
    agt__seq_name(seq, "", summary + 28);
    agt__hex(mend_hash(m, seq - 1), 32, prev);
    agt__hex(m->replica, 8, replica);
    e.seq = seq;
    e.at_unix_ms = e.recorded_unix_ms = at_unix_ms;
    e.actor = agt__text("system");
    e.action = e.change_kind = agt__text(AGT_MEND_LOST);
    e.summary = agt__text(summary);
    e.source = e.detected_by = agt__text("repair");
    e.replica = (agt_text){replica, 16};
    e.prev = (agt_text){prev, 64};
    agt_status st = agt__event_format(&line, &e, err);
    uint32_t at = AGT_MEND_NONE;
    if (st == AGT_OK) at = agt__mend_add_line(m, (const char *)line.data, line.len, AGT_MEND_KEPT);
    agt__buf_free(&line);
    if (st == AGT_OK && at == AGT_MEND_NONE) st = agt__nomem(err);
    if (st == AGT_OK) agt__mend_at(m, seq)->line = at;
    return st;
}

static void mend_tell_lost(agt_mend *m, uint64_t first, uint64_t last) {
    m->rebuild = true;
    m->out->lost_events += last - first + 1;
    if (!m->out->first_lost_seq) m->out->first_lost_seq = first;
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "lost_event",
                      "nothing has them any more; put the store back from a copy if there is one",
                      first == last
                          ? "event %llu is lost: neither trace, journal nor git has it"
                          : "events %llu to %llu are lost: neither trace, journal nor git "
                            "has them",
                      (unsigned long long)first, (unsigned long long)last);
}

static agt_status mend_fill_gaps(agt_mend *m, agt_error *err) {
    int64_t at_unix_ms = 0;
    agt_status st = AGT_OK;
    for (uint64_t seq = 1, end; st == AGT_OK && seq <= m->last; seq = end + 1) {
        end = seq;
        agt_mend_event *e = agt__mend_at(m, seq);
        if (e->line != AGT_MEND_NONE) {
            e->lost = mend_lines(m)[e->line].stands_in;
            continue;
        }
        agt_event before = AGT_EVENT_INIT;
        if (seq > 1) st = agt__mend_event(m, seq - 1, &before, err);
        if (seq > 1) at_unix_ms = before.at_unix_ms;
        for (; end < m->last && agt__mend_at(m, end + 1)->line == AGT_MEND_NONE; end++) {
        }
        mend_tell_lost(m, seq, end);
        for (uint64_t i = seq; st == AGT_OK && i <= end; i++) {
            agt__mend_at(m, i)->lost = true;
            st = mend_stand_in(m, i, at_unix_ms, err);
        }
    }
    return st;
}

/* ---- reading ---- */

AGT_PRIVATE agt_status agt__mend_line(agt_mend *m, uint64_t seq, agt_text *out, agt_error *err) {
    const agt_mend_line *l = &mend_lines(m)[agt__mend_at(m, seq)->line];
    agt_buf *b = &m->line;
    b->len = 0;
    if (!agt__buf_reserve(b, l->len)) return agt__nomem(err);
    if (l->source == AGT_MEND_MEMORY)
        memcpy(b->data, m->memory.data + l->at, l->len);
    else {
        agt_fd fd = ((const agt_fd *)(const void *)m->sources.data)[l->source];
        int64_t n = agt__read_all(m->s->sys, fd, b->data, l->len, l->at);
        if (n < 0) return agt__fail_io(err, n, "cannot read event %llu", (unsigned long long)seq);
        if (n != (int64_t)l->len)
            return agt__fail(err, AGT_BUSY, "the store changes while it is repaired; try again");
    }
    *out = (agt_text){(const char *)b->data, l->len};
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__mend_event(agt_mend *m, uint64_t seq, agt_event *e, agt_error *err) {
    agt_entry entry;
    agt_text line = {NULL, 0};
    agt_status st = agt__mend_line(m, seq, &line, err);
    if (st != AGT_OK) return st;
    memset(&entry, 0, sizeof entry);
    entry.flags = AGT_ENTRY_CONTENT;
    entry.line = line.data;
    entry.line_len = (uint32_t)line.len;
    return agt__store_event(&entry, seq, &m->s->scratch, e, err);
}

AGT_PRIVATE uint64_t agt__mend_together(const agt_mend *m, uint64_t seq, uint64_t last) {
    const agt_mend_group *g = (const agt_mend_group *)(const void *)m->groups.data;
    size_t count = m->groups.len / sizeof *g;
    for (size_t i = agt__mend_first(&m->groups, sizeof *g, seq); i < count && g[i].first == seq;
         i++)
        if (g[i].count > 1 && g[i].count <= last - seq + 1 &&
            memcmp(g[i].last, mend_hash(m, seq + g[i].count - 1), 32) == 0)
            return g[i].count;
    return 1;
}

/* ---- where the lines stand ---- */

static bool mend_segment_named(const agt_mend *m, uint64_t from, uint64_t to) {
    for (size_t i = 0; i < m->segments.count; i++)
        if (m->segments.v[i] >= from && m->segments.v[i] <= to) return true;
    return m->has_header && m->s->journal.header.trace.segment >= from &&
           m->s->journal.header.trace.segment <= to;
}

/* A record that finds the segment long enough begins a new one; where records are not known the
 * segments' names tell. */
static void mend_lay_out(agt_mend *m) {
    agt_trace_end at = {1, 0, {0}};
    m->known = at;
    for (uint64_t seq = 1; seq <= m->last; seq++) {
        agt_mend_event *e = agt__mend_at(m, seq);
        if (at.offset >= AGT_SEGMENT_MAX &&
            (mend_segment_named(m, seq, seq) || !mend_segment_named(m, seq, seq + AGT_MAX_BATCH))) {
            at.segment = seq;
            at.offset = 0;
        }
        e->segment = at.segment;
        e->offset = at.offset;
        at.offset += mend_lines(m)[e->line].len;
        memcpy(at.prev, mend_hash(m, seq), 32);
        if (seq + 1 == m->first_journal) m->known = at;
    }
    m->end = at;
}

/* Is the event's line in the trace, so that it was being applied, if not more? */
static bool mend_in_trace(const agt_mend *m, uint64_t seq) {
    size_t n;
    for (size_t i = mend_of(m, seq, &n); n > 0; n--, i++)
        if (mend_lines(m)[i].from == AGT_MEND_TRACE &&
            memcmp(mend_lines(m)[i].hash, mend_hash(m, seq), 32) == 0)
            return true;
    return false;
}

/* What the journal has is put in place again by the recovery to come. Where the header that says
 * what that is is gone, it is what the trace has not, because a change's line is written first; but
 * nothing as old as a lost event: only a catalog can say that a type is in doubt. */
static void mend_first_journal(agt_mend *m) {
    const agt_journal_header *h = &m->s->journal.header;
    const agt_mend_group *g = (const agt_mend_group *)(const void *)m->groups.data;
    m->first_journal = m->last + 1;
    if (m->has_header && m->raw_generation <= h->generation) {
        m->first_journal = h->next_seq;
        return;
    }
    while (m->first_journal > m->raw_first && m->raw_first &&
           !agt__mend_at(m, m->first_journal - 1)->lost && !mend_in_trace(m, m->first_journal - 1))
        m->first_journal--;
    for (size_t i = 0; i < m->groups.len / sizeof *g; i++)
        if (g[i].first < m->first_journal && m->first_journal <= m->last &&
            g[i].first + g[i].count > m->first_journal &&
            agt__mend_together(m, g[i].first, m->last) == g[i].count)
            m->first_journal = g[i].first;
}

AGT_PRIVATE agt_status agt__mend_chain(agt_mend *m, agt_error *err) {
    const agt_journal_header *h = &m->s->journal.header;
    memcpy(m->replica, h->replica, sizeof m->replica);
    if (!m->has_header) {
        int rc = m->s->sys->random(m->s->sys->ctx, m->replica, sizeof m->replica);
        if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    }
    agt_status st = mend_choose(m, err);
    if (st == AGT_OK) st = mend_fill_gaps(m, err);
    if (st != AGT_OK) return st;
    m->out->events = m->last;
    mend_first_journal(m);
    mend_lay_out(m);
    if (!m->has_header || m->rebuild) return AGT_OK;
    if (m->state_generation <= h->generation && m->first_journal == h->next_seq &&
        m->known.segment == h->trace.segment && m->known.offset == h->trace.offset &&
        memcmp(m->known.prev, h->trace.prev, 32) == 0)
        return AGT_OK;
    m->rebuild = true;
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "journal",
                      "repair makes a new one from trace, git and what lies in it",
                      "the header of .agent-trace/journal is not the newest, or not of this trace")
        ->mendable = 1;
    return AGT_OK;
}
