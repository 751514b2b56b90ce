/* rejected: refused bytes, kept under their SHA-256 so that a person can look at them.
 *
 * (1) An agent that is refused again and again must not fill the disk: the oldest go.
 * (2) Nor must it stop the store: a refusal counts with its record. Where the bytes cannot be kept
 *     (the disk is full, something stands in the way) they wait in the journal, from where they
 *     are read until then; who opens the store and who empties the journal try again, and nobody
 *     fails for it. */
#include "store.h"

typedef struct rejected_sum {
    agt_store *s;
    const char *keep; /* the newest is never the one that goes */
    uint64_t bytes;
    size_t files;
    char oldest[72];
    int64_t oldest_ns;
} rejected_sum;

static int rejected_count(void *ctx, const char *name) {
    rejected_sum *sum = ctx;
    agt_stat st;
    if (sum->s->sys->stat(sum->s->sys->ctx, sum->s->rejected, name, &st) < 0) return 0;
    if (st.kind != AGT_FILE_REGULAR) return 0;
    sum->files++;
    sum->bytes += st.size;
    if (strcmp(name, sum->keep) == 0 || strlen(name) >= sizeof sum->oldest) return 0;
    if (sum->oldest[0] && st.mtime_ns >= sum->oldest_ns) return 0;
    sum->oldest_ns = st.mtime_ns;
    memcpy(sum->oldest, name, strlen(name) + 1);
    return 0;
}

/* What cannot be counted or removed stays: the refusal itself is in the trace. */
static void rejected_cap(agt_store *s, const char *keep) {
    for (;;) {
        rejected_sum sum;
        memset(&sum, 0, sizeof sum);
        sum.s = s;
        sum.keep = keep;
        if (s->sys->list(s->sys->ctx, s->rejected, rejected_count, &sum) < 0) return;
        if (sum.files <= AGT_MAX_REJECTED && sum.bytes <= AGT_MAX_REJECTED_BYTES) return;
        if (!sum.oldest[0] || s->sys->remove(s->sys->ctx, s->rejected, sum.oldest) < 0) return;
    }
}

AGT_PRIVATE void agt__trim_rejected(agt_store *s) {
    rejected_cap(s, "");
}

AGT_PRIVATE bool agt__keep_rejected(agt_store *s, agt_text name, const void *bytes, size_t len) {
    char file[72];
    agt_stat st;
    if (!agt__copy_text(file, sizeof file, name.data, name.len)) return true; /* no name of ours */
    if (s->sys->stat(s->sys->ctx, s->rejected, file, &st) == 0 && st.kind == AGT_FILE_REGULAR &&
        st.size == len)
        return true;
    agt_error why;
    why.outcome_unknown = 0;
    if (agt__write_file(s->sys, s->rejected, file, bytes, len, true, &why) != AGT_OK) {
        if (why.outcome_unknown) (void)s->sys->remove(s->sys->ctx, s->rejected, file);
        return false;
    }
    rejected_cap(s, file);
    return true;
}

AGT_PRIVATE bool agt__keep_refusal(agt_store *s, uint64_t seq, const agt_entry *entry,
                                   const agt_event *event) {
    const void *bytes;
    if (!event->rejected.data || !(entry->flags & AGT_ENTRY_CONTENT)) return true;
    agt_buf side = agt__buf(&s->mem);
    agt_status st = agt__entry_bytes(s, seq, entry, &side, &bytes, NULL);
    bool kept = st == AGT_CORRUPT || st == AGT_NOT_FOUND; /* there is nothing to wait for */
    if (st == AGT_OK)
        kept = agt__keep_rejected(s, event->rejected, bytes, (size_t)entry->content_len);
    agt__buf_free(&side);
    return kept;
}

typedef struct rejected_again {
    agt_store *s;
    bool all;
} rejected_again;

static agt_status rejected_record(void *ctx, const agt_record *r, agt_error *err) {
    rejected_again *a = ctx;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &entry); seq++) {
        agt_status st = agt__store_event(&entry, seq, &a->s->scratch, &e, err);
        if (st != AGT_OK) return st;
        if (!agt__keep_refusal(a->s, seq, &entry, &e)) a->all = false;
    }
    return AGT_OK;
}

AGT_PRIVATE void agt__keep_rejected_again(agt_store *s) {
    rejected_again a = {s, true};
    if (!s->shared.refused_waits) return;
    agt_status st =
        agt__each_record(s, &s->journal, s->journal.header.next_seq, rejected_record, &a, NULL);
    if (st == AGT_OK && a.all) s->shared.refused_waits = 0;
}
