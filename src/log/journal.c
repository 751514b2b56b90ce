/* journal: headers and records. See journal.h for the layout and its invariants. */
#include "journal.h"

#define JOURNAL_NAME         "journal"
#define JOURNAL_MAGIC        0x324c4e524a544741ull /* "AGTJRNL2" as stored */
#define JOURNAL_FORMAT       2u
#define JOURNAL_HEADER_BYTES AGT_JOURNAL_HEADER
#define RECORD_MAGIC         0x52544741u /* "AGTR" as stored */
#define RECORD_HEADER        64u
#define RECORD_ENTRY         16u

static size_t record_pad(size_t n) {
    return (n + 7u) & ~(size_t)7u;
}

/* ---- headers ---- */

AGT_PRIVATE void agt__journal_header_encode(agt_journal_header *h, agt_cpu cpu,
                                            unsigned char slot[256]) {
    memset(slot, 0, 256);
    agt__put64(slot, JOURNAL_MAGIC);
    agt__put32(slot + 8, JOURNAL_FORMAT);
    agt__put32(slot + 12, 0); /* must-understand flags: this version knows none */
    agt__put64(slot + 16, h->generation);
    agt__put64(slot + 32, h->capacity);
    agt__put64(slot + 40, h->next_seq);
    agt__put64(slot + 48, h->trace.segment);
    agt__put64(slot + 56, h->trace.offset);
    memcpy(slot + 64, h->trace.prev, 32);
    agt__put64(slot + 96, h->catalog);
    agt__put64(slot + 104, h->packed_seq);
    memcpy(slot + 112, h->packed_head.id, 20);
    agt__put64(slot + 136, h->unpublished);
    memcpy(slot + 144, h->replica, 8);
    agt__put64(slot + 152, h->dev);
    agt__put64(slot + 160, h->ino);
    h->crc = agt__crc32c(cpu, 0, slot, JOURNAL_HEADER_BYTES - 4);
    agt__put32(slot + JOURNAL_HEADER_BYTES - 4, h->crc);
}

/* AGT_END: no valid header here. */
static agt_status header_decode(agt_journal_header *h, agt_cpu cpu, const unsigned char *slot,
                                agt_error *err) {
    memset(h, 0, sizeof *h);
    h->crc = agt__get32(slot + JOURNAL_HEADER_BYTES - 4);
    if (agt__get64(slot) != JOURNAL_MAGIC ||
        h->crc != agt__crc32c(cpu, 0, slot, JOURNAL_HEADER_BYTES - 4))
        return AGT_END;
    if (agt__get32(slot + 8) != JOURNAL_FORMAT || agt__get32(slot + 12) != 0)
        return agt__fail(err, AGT_UNSUPPORTED,
                         "the store's journal has format %u, this library knows %u; use a newer "
                         "agent_trace",
                         (unsigned)agt__get32(slot + 8), JOURNAL_FORMAT);
    h->generation = agt__get64(slot + 16);
    h->capacity = agt__get64(slot + 32);
    h->next_seq = agt__get64(slot + 40);
    h->trace.segment = agt__get64(slot + 48);
    h->trace.offset = agt__get64(slot + 56);
    memcpy(h->trace.prev, slot + 64, 32);
    h->catalog = agt__get64(slot + 96);
    h->packed_seq = agt__get64(slot + 104);
    memcpy(h->packed_head.id, slot + 112, 20);
    h->unpublished = agt__get64(slot + 136);
    memcpy(h->replica, slot + 144, 8);
    h->dev = agt__get64(slot + 152);
    h->ino = agt__get64(slot + 160);
    /* half of all numbers are left for what is still to come: seq never wraps around */
    return h->next_seq > 0 && h->next_seq <= INT64_MAX && h->trace.offset < AGT_SEGMENT_LONGEST
               ? AGT_OK
               : AGT_END;
}

AGT_PRIVATE agt_status agt__journal_create(const agt_sys *sys, agt_fd dir, agt_cpu cpu,
                                           const agt_mem *mem, agt_journal_header *header,
                                           agt_error *err) {
    return agt__journal_create_with(sys, dir, cpu, mem, header, NULL, NULL, err);
}

AGT_PRIVATE agt_status agt__journal_create_with(const agt_sys *sys, agt_fd dir, agt_cpu cpu,
                                                const agt_mem *mem, agt_journal_header *header,
                                                agt_journal_fill fill, void *ctx, agt_error *err) {
    const char *temp = JOURNAL_NAME ".tmp";
    agt_stat st;
    (void)sys->remove(sys->ctx, dir, temp);
    agt_fd fd =
        sys->open(sys->ctx, dir, temp, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL, 0600);
    if (fd < 0) return agt__fail_io(err, fd, "cannot make .agent-trace/%s", temp);
    unsigned char *start = agt__zalloc(mem, AGT_JOURNAL_START);
    int rc = start ? sys->fstat(sys->ctx, fd, &st) : 0;
    if (start && rc == 0) {
        header->capacity = AGT_JOURNAL_BYTES;
        header->dev = st.dev;
        header->ino = st.ino;
        agt__journal_header_encode(header, cpu, start);
        rc = agt__write_all(sys, fd, start, AGT_JOURNAL_START, 0);
    }
    agt_status filled = start && rc == 0 && fill ? fill(ctx, fd, header->crc, err) : AGT_OK;
    bool good = start && filled == AGT_OK;
    if (good && rc == 0) rc = sys->sync(sys->ctx, fd);
    sys->close(sys->ctx, fd);
    agt__free(mem, start, AGT_JOURNAL_START);
    if (good && rc == 0)
        rc = sys->rename(sys->ctx, dir, temp, dir, JOURNAL_NAME, AGT_RENAME_REPLACE);
    if (good && rc == 0) rc = sys->sync(sys->ctx, dir);
    if (good && rc == 0) return AGT_OK;
    (void)sys->remove(sys->ctx, dir, temp);
    if (!start) return agt__nomem(err);
    if (filled != AGT_OK) return filled;
    return agt__fail_io(err, rc, "cannot write .agent-trace/%s", JOURNAL_NAME);
}

AGT_PRIVATE agt_status agt__journal_reload(agt_journal *j, agt_error *err) {
    unsigned char slot[2][256];
    agt_journal_header h[2];
    bool valid[2];
    j->bytes = 0;
    for (uint32_t i = 0; i < 2; i++) {
        memset(slot[i], 0, sizeof slot[i]);
        int64_t n = agt__read_all(j->sys, j->fd, slot[i], sizeof slot[i], i * AGT_JOURNAL_SLOT);
        if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/journal");
        agt_status st = header_decode(&h[i], j->cpu, slot[i], err);
        if (st != AGT_OK && st != AGT_END) return st;
        valid[i] = st == AGT_OK;
    }
    if (!valid[0] && !valid[1])
        return agt__fail(err, AGT_CORRUPT,
                         ".agent-trace/journal has no valid header; run 'agent-trace repair'");
    j->slot = valid[1] && (!valid[0] || h[1].generation > h[0].generation);
    j->header = h[j->slot];
    memcpy(j->other, slot[1 - j->slot], sizeof j->other);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__journal_open(agt_journal *j, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, bool writable, agt_error *err) {
    agt_stat st;
    j->sys = sys;
    j->cpu = cpu;
    j->dir = dir;
    j->fd =
        sys->open(sys->ctx, dir, JOURNAL_NAME, writable ? AGT_O_READ | AGT_O_WRITE : AGT_O_READ, 0);
    if (j->fd < 0) {
        int rc = (int)j->fd;
        j->fd = AGT_FD_NONE;
        agt_status denied = agt__fail_sys(err, rc, "cannot open .agent-trace/journal");
        return agt__say_owner(sys, dir, JOURNAL_NAME, rc, denied, err);
    }
    int rc = sys->fstat(sys->ctx, j->fd, &st);
    agt_status status = AGT_OK;
    if (rc < 0)
        status = agt__fail_io(err, rc, "cannot look at .agent-trace/journal");
    else if (st.kind != AGT_FILE_REGULAR)
        status = agt__fail(err, AGT_CORRUPT,
                           ".agent-trace/journal is not a regular file; move it away and run "
                           "'agent-trace repair'");
    else
        status = agt__journal_reload(j, err);
    if (status != AGT_OK) {
        agt__journal_close(j);
        return status;
    }
    j->dev = st.dev;
    j->ino = st.ino;
    return AGT_OK;
}

AGT_PRIVATE void agt__journal_close(agt_journal *j) {
    if (j->fd != AGT_FD_NONE) j->sys->close(j->sys->ctx, j->fd);
    j->fd = AGT_FD_NONE;
}

AGT_PRIVATE bool agt__journal_current(const agt_journal *j) {
    unsigned char other[JOURNAL_HEADER_BYTES];
    memset(other, 0, sizeof other);
    int64_t n = agt__read_all(j->sys, j->fd, other, sizeof other, (1 - j->slot) * AGT_JOURNAL_SLOT);
    return n >= 0 && memcmp(other, j->other, sizeof other) == 0;
}

AGT_PRIVATE agt_status agt__journal_write_header(agt_journal *j, agt_journal_header *header,
                                                 agt_error *err) {
    unsigned char slot[256], old[256];
    memset(old, 0, sizeof old);
    int64_t n = agt__read_all(j->sys, j->fd, old, sizeof old, j->slot * AGT_JOURNAL_SLOT);
    if (n < 0) return agt__fail_io(err, n, "cannot read the header of .agent-trace/journal");
    header->capacity = j->header.capacity;
    header->dev = j->dev;
    header->ino = j->ino;
    agt__journal_header_encode(header, j->cpu, slot);
    int rc = agt__write_all(j->sys, j->fd, slot, sizeof slot, (1 - j->slot) * AGT_JOURNAL_SLOT);
    if (rc == 0) rc = j->sys->sync(j->sys->ctx, j->fd);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write the header of .agent-trace/journal");
    j->slot = 1 - j->slot;
    j->header = *header;
    memcpy(j->other, old, sizeof j->other);
    return AGT_OK;
}

/* ---- length ---- */

AGT_PRIVATE agt_status agt__journal_grow(agt_journal *j, const agt_mem *mem, uint64_t end,
                                         agt_error *err) {
    const agt_sys *sys = j->sys;
    agt_stat st;
    if (end <= j->bytes) return AGT_OK;
    int rc = sys->fstat(sys->ctx, j->fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/journal");
    uint64_t at = st.size;
    uint64_t want = (end + AGT_JOURNAL_STEP - 1) / AGT_JOURNAL_STEP * AGT_JOURNAL_STEP;
    if (want > j->header.capacity) want = j->header.capacity;
    unsigned char *zeros = at < want ? agt__zalloc(mem, AGT_JOURNAL_STEP) : NULL;
    if (at < want && !zeros) return agt__nomem(err);
    while (at < want && rc == 0) {
        size_t n = want - at < AGT_JOURNAL_STEP ? (size_t)(want - at) : AGT_JOURNAL_STEP;
        rc = agt__write_all(sys, j->fd, zeros, n, at);
        at += n;
    }
    agt__free(mem, zeros, AGT_JOURNAL_STEP);
    if (rc == 0) {
        j->bytes = at;
        return AGT_OK;
    }
    (void)sys->truncate(sys->ctx, j->fd, st.size); /* a file that is longer does no harm */
    return agt__fail_io(err, rc, "cannot make .agent-trace/journal longer");
}

AGT_PRIVATE agt_status agt__journal_shrink(agt_journal *j, agt_error *err) {
    int rc = j->sys->truncate(j->sys->ctx, j->fd, AGT_JOURNAL_START);
    if (rc < 0) return agt__fail_io(err, rc, "cannot make .agent-trace/journal shorter");
    j->bytes = 0;
    return AGT_OK;
}

/* ---- records ---- */

AGT_PRIVATE size_t agt__record_begin(agt_buf *b) {
    size_t start = b->len;
    agt__buf_zero(b, RECORD_HEADER);
    return start;
}

AGT_PRIVATE void agt__record_put(agt_buf *b, uint32_t flags, const void *line, size_t line_len,
                                 const void *content, uint64_t content_len) {
    unsigned char head[RECORD_ENTRY];
    bool inside = (flags & AGT_ENTRY_CONTENT) && !(flags & AGT_ENTRY_SIDE);
    size_t n = line_len + (inside ? (size_t)content_len : 0);
    agt__put32(head, (uint32_t)line_len);
    agt__put32(head + 4, flags);
    agt__put64(head + 8, content_len);
    agt__buf_put(b, head, sizeof head);
    agt__buf_put(b, line, line_len);
    if (inside) agt__buf_put(b, content, (size_t)content_len);
    agt__buf_zero(b, record_pad(n) - n);
}

AGT_PRIVATE agt_status agt__record_end(agt_buf *b, size_t start, agt_cpu cpu, uint32_t seed,
                                       agt_record *record, agt_error *err) {
    if (b->failed) return agt__nomem(err);
    unsigned char *p = b->data + start;
    size_t n = b->len - start;
    if (n > UINT32_MAX)
        return agt__fail(err, AGT_LIMIT, "the change needs a journal record of %zu bytes", n);
    record->length = (uint32_t)n;
    agt__put32(p, RECORD_MAGIC);
    agt__put32(p + 8, record->length);
    agt__put32(p + 12, record->entries);
    agt__put64(p + 16, record->generation);
    agt__put64(p + 24, record->first_seq);
    agt__put64(p + 32, record->segment);
    agt__put64(p + 40, record->trace_offset);
    agt__put64(p + 48, (uint64_t)record->recorded_unix_ms);
    record->crc = agt__crc32c(cpu, seed, p + 8, n - 8);
    agt__put32(p + 4, record->crc);
    record->data = p;
    return AGT_OK;
}

static bool record_header(const unsigned char *p, uint64_t generation, uint64_t seq,
                          agt_record *r) {
    if (agt__get32(p) != RECORD_MAGIC) return false;
    r->crc = agt__get32(p + 4);
    r->length = agt__get32(p + 8);
    r->entries = agt__get32(p + 12);
    r->generation = agt__get64(p + 16);
    r->first_seq = agt__get64(p + 24);
    r->segment = agt__get64(p + 32);
    r->trace_offset = agt__get64(p + 40);
    r->recorded_unix_ms = (int64_t)agt__get64(p + 48);
    return r->generation == generation && r->first_seq == seq && r->entries > 0 &&
           r->trace_offset < AGT_SEGMENT_LONGEST && r->length >= RECORD_HEADER + RECORD_ENTRY &&
           (r->length & 7u) == 0 &&
           r->length <= AGT_JOURNAL_BYTES - AGT_JOURNAL_START; /* before memory is taken for it */
}

/* A checksum says the bytes are what a writer wrote; this says that they are a record. */
static bool record_entries_fit(const agt_record *r) {
    agt_entry e;
    size_t at = 0;
    uint32_t n = 0;
    while (agt__record_next(r, &at, &e))
        n++;
    return n == r->entries && at == r->length;
}

AGT_PRIVATE agt_status agt__record_parse(const unsigned char *data, size_t n, agt_cpu cpu,
                                         uint64_t generation, uint64_t seq, uint32_t seed,
                                         agt_record *record) {
    if (n < RECORD_HEADER || !record_header(data, generation, seq, record)) return AGT_END;
    if (record->length > n) return AGT_END;
    if (record->crc != agt__crc32c(cpu, seed, data + 8, record->length - 8)) return AGT_END;
    record->data = data;
    return record_entries_fit(record) ? AGT_OK : AGT_END;
}

AGT_PRIVATE agt_status agt__record_read(const agt_sys *sys, agt_fd fd, uint64_t offset,
                                        uint64_t capacity, agt_cpu cpu, uint64_t generation,
                                        uint64_t seq, uint32_t seed, agt_buf *out,
                                        agt_record *record, agt_error *err) {
    unsigned char head[RECORD_HEADER];
    out->len = 0;
    if (offset > capacity || capacity - offset < RECORD_HEADER) return AGT_END;
    int64_t n = agt__read_all(sys, fd, head, sizeof head, offset);
    if (n < 0) return agt__fail_io(err, n, "cannot read a journal record");
    if (n < (int64_t)sizeof head || !record_header(head, generation, seq, record)) return AGT_END;
    if (record->length > capacity - offset) return AGT_END;
    if (!agt__buf_reserve(out, record->length)) return agt__nomem(err);
    n = agt__read_all(sys, fd, out->data, record->length, offset);
    if (n < 0) return agt__fail_io(err, n, "cannot read a journal record");
    if (n < (int64_t)record->length) return AGT_END;
    out->len = record->length;
    return agt__record_parse(out->data, out->len, cpu, generation, seq, seed, record);
}

AGT_PRIVATE bool agt__record_next(const agt_record *record, size_t *at, agt_entry *entry) {
    size_t pos = *at ? *at : RECORD_HEADER;
    if (pos > record->length || record->length - pos < RECORD_ENTRY) {
        *at = pos;
        return false;
    }
    const unsigned char *p = record->data + pos;
    size_t room = record->length - pos - RECORD_ENTRY;
    entry->line_len = agt__get32(p);
    entry->flags = agt__get32(p + 4);
    entry->content_len = agt__get64(p + 8);
    entry->line = (const char *)p + RECORD_ENTRY;
    entry->content = NULL;
    *at = pos;
    if (entry->line_len > room || entry->line_len == 0) return false;
    size_t n = entry->line_len;
    if ((entry->flags & AGT_ENTRY_CONTENT) && !(entry->flags & AGT_ENTRY_SIDE)) {
        if (entry->content_len > room - n) return false;
        entry->content = p + RECORD_ENTRY + n;
        n += (size_t)entry->content_len;
    }
    if (record_pad(n) > room) return false;
    *at = pos + RECORD_ENTRY + record_pad(n);
    return true;
}
