/* rejected: refused bytes, kept under their SHA-256 so that a person can look at them. An agent
 * that is refused again and again must not fill the disk: the oldest go. */
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

AGT_PRIVATE agt_status agt__keep_rejected(agt_store *s, agt_text name, const void *bytes,
                                          size_t len, agt_error *err) {
    char file[72];
    agt_stat st;
    if (!agt__copy_text(file, sizeof file, name.data, name.len))
        return agt__fail(err, AGT_CORRUPT, "an event names refused bytes that no file can hold");
    if (s->sys->stat(s->sys->ctx, s->rejected, file, &st) == 0 && st.size == len) return AGT_OK;
    agt_status kept = agt__write_file(s->sys, s->rejected, file, bytes, len, true, err);
    if (kept == AGT_OK) rejected_cap(s, file);
    return kept;
}
