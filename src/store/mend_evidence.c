/* mend_evidence: everything that is left of a store, wherever it lies: lines in the trace, records
 * in the journal and in unpublished/ (also such as nothing leads to any more), and the lines in
 * git's commits. Nothing is believed here; see mend.h. */
#include "mend.h"

#include <stdlib.h>

#define MEND_RECORD_MAGIC 0x52544741u /* "AGTR" as stored */
#define MEND_RECORD_HEAD  64u
#define MEND_JOURNAL_MOST (64u * 1024 * 1024)

AGT_PRIVATE agt_status agt__mend_damaged(agt_mend *m, bool make, agt_fd *out, agt_error *err) {
    agt_error mine;
    *out = AGT_FD_NONE;
    agt_status st = agt__open_folder(m->s->sys, m->s->at, "damaged", make, out, &mine);
    if (st == AGT_NOT_FOUND && !make) return AGT_OK;
    if (st != AGT_OK && err) *err = mine;
    return st;
}

AGT_PRIVATE void agt__mend_free(agt_mend *m) {
    agt_fd *fds = (agt_fd *)(void *)m->sources.data;
    for (size_t i = 1; i < m->sources.len / sizeof *fds; i++)
        m->s->sys->close(m->s->sys->ctx, fds[i]);
    agt_buf *all[] = {&m->sources, &m->memory,  &m->lines,  &m->contents,
                      &m->groups,  &m->commits, &m->events, &m->line};
    for (size_t i = 0; i < AGT_COUNT(all); i++)
        agt__buf_free(all[i]);
    agt__segments_free(&m->segments);
}

/* ---- lines ---- */

static bool mend_parse_line(agt_mend *m, const char *line, size_t n, agt_event *e,
                            agt_mend_line *out) {
    memset(out, 0, sizeof *out);
    if (n > AGT_MAX_EVENT || agt__event_parse(line, n, &m->s->scratch, e, NULL) != AGT_OK ||
        !e->seq || !agt__unhex(e->prev.data, e->prev.len, out->prev, 32))
        return false;
    out->seq = e->seq;
    out->len = (uint32_t)n;
    out->whole = true;
    out->stands_in = agt__text_is(e->action, AGT_MEND_LOST) && agt__text_is(e->actor, "system");
    agt__sha256(m->s->cpu, line, n, out->hash);
    return true;
}

AGT_PRIVATE uint32_t agt__mend_add_line(agt_mend *m, const char *line, size_t n, uint8_t from) {
    agt_event e;
    agt_mend_line l;
    if (!mend_parse_line(m, line, n, &e, &l)) return AGT_MEND_NONE;
    l.at = m->memory.len;
    l.from = from;
    agt__buf_put(&m->memory, line, n);
    agt__buf_put(&m->lines, &l, sizeof l);
    if (m->memory.failed) m->lines.failed = true;
    return m->lines.failed ? AGT_MEND_NONE : (uint32_t)(m->lines.len / sizeof l - 1);
}

/* One line, or behind an unfinished one a whole one that was written on. */
static void mend_scan_line(agt_mend *m, const char *text, size_t at, size_t n, uint32_t source,
                           uint8_t from) {
    static const char begin[] = "{\"timestamp\":\"";
    agt_event e;
    agt_mend_line l;
    for (size_t skip = 0; n - skip >= sizeof begin; skip++) {
        if (memcmp(text + at + skip, begin, sizeof begin - 1) != 0) continue;
        if (!mend_parse_line(m, text + at + skip, n - skip, &e, &l)) continue;
        l.at = at + skip;
        l.source = source;
        l.from = from;
        agt__buf_put(&m->lines, &l, sizeof l);
        return;
    }
}

static void mend_scan_lines(agt_mend *m, const agt_buf *b, uint32_t source, uint8_t from) {
    const char *text = (const char *)b->data;
    for (size_t at = 0, n; at < b->len; at += n) {
        const char *end = memchr(text + at, '\n', b->len - at);
        if (!end) return;
        n = (size_t)(end - (text + at)) + 1;
        mend_scan_line(m, text, at, n, source, from);
    }
}

/* Opens a file as a source and reads it all. *source AGT_MEND_NONE: it cannot be read as a file. */
static agt_status mend_source(agt_mend *m, agt_fd dir, const char *name, agt_buf *b,
                              uint32_t *source, agt_error *err) {
    const agt_sys *sys = m->s->sys;
    agt_error mine;
    *source = AGT_MEND_NONE;
    b->len = 0;
    agt_status st = agt__read_file(sys, dir, name, SIZE_MAX / 2, b, &mine);
    if (st == AGT_NOT_FOUND || st == AGT_INVALID || st == AGT_LIMIT) return AGT_OK;
    agt_fd fd = st == AGT_OK ? sys->open(sys->ctx, dir, name, AGT_O_READ, 0) : AGT_FD_NONE;
    if (st == AGT_OK && fd < 0) st = agt__fail_io(&mine, fd, "cannot open .agent-trace/%s", name);
    if (st != AGT_OK) {
        if (err) *err = mine;
        return st;
    }
    agt__buf_put(&m->sources, &fd, sizeof fd);
    if (m->sources.failed) {
        sys->close(sys->ctx, fd);
        return agt__nomem(err);
    }
    *source = (uint32_t)(m->sources.len / sizeof fd - 1);
    return AGT_OK;
}

/* ---- records ---- */

typedef struct mend_scan {
    agt_mend *m;
    const agt_buf *b;
    uint32_t source;
    uint8_t from;
    size_t sure_end; /* the journal's checksums lead up to here */
} mend_scan;

/* The bytes at `at` as a record whose checksum nobody looked at; false if they are none. */
static bool mend_record_at(const agt_buf *b, size_t at, agt_record *r) {
    const unsigned char *p = b->data + at;
    memset(r, 0, sizeof *r);
    if (b->len - at < MEND_RECORD_HEAD || agt__get32(p) != MEND_RECORD_MAGIC) return false;
    r->length = agt__get32(p + 8);
    r->entries = agt__get32(p + 12);
    r->generation = agt__get64(p + 16);
    r->first_seq = agt__get64(p + 24);
    r->data = p;
    if (r->length > b->len - at || r->length < MEND_RECORD_HEAD + 16)
        r->length = (uint32_t)(b->len - at < UINT32_MAX ? b->len - at : UINT32_MAX);
    return r->first_seq > 0 && r->first_seq <= INT64_MAX && r->entries > 0;
}

static bool mend_blob_is(agt_cpu cpu, const agt_event *e, const void *bytes, size_t n) {
    agt_oid id, want;
    if (!agt__unhex(e->blob.data, e->blob.len, want.id, 20)) return false;
    agt__git_id(cpu, "blob", bytes, n, id.id);
    return memcmp(id.id, want.id, 20) == 0;
}

/* Takes what the record has. True if all of it reads as one: *length is its own then. */
static bool mend_take_record(mend_scan *scan, size_t start, const agt_record *r) {
    agt_mend *m = scan->m;
    agt_entry entry;
    agt_event e;
    agt_mend_line l;
    uint64_t count = 0;
    size_t at = 0, first = m->lines.len;
    bool whole = true;
    while (count < r->entries && agt__record_next(r, &at, &entry)) {
        if (!mend_parse_line(m, entry.line, entry.line_len, &e, &l) ||
            l.seq != r->first_seq + count)
            return false;
        l.at = (size_t)((const unsigned char *)entry.line - scan->b->data);
        l.source = scan->source;
        l.from = scan->from;
        l.sure = start < scan->sure_end;
        agt__buf_put(&m->lines, &l, sizeof l);
        if (entry.content) {
            agt_mend_content c = {l.seq, (uint64_t)(entry.content - scan->b->data),
                                  entry.content_len, scan->source};
            agt__buf_put(&m->contents, &c, sizeof c);
            if (e.blob.data)
                whole = whole && mend_blob_is(m->s->cpu, &e, entry.content, (size_t)c.len);
        }
        count++;
    }
    if (count != r->entries || m->lines.failed) return false;
    agt_mend_line *lines = (agt_mend_line *)(void *)(m->lines.data + first);
    for (uint64_t i = 0; i < count; i++)
        lines[i].whole = whole;
    agt_mend_group g = {r->first_seq, count, {0}};
    memcpy(g.last, l.hash, 32);
    agt__buf_put(&m->groups, &g, sizeof g);
    return true;
}

/* Records may begin at every multiple of 8; after a whole one the next is where it ends. */
static void mend_scan_records(mend_scan *scan, size_t start) {
    agt_mend *m = scan->m;
    agt_record r;
    for (size_t at = start; at < scan->b->len;) {
        bool is = mend_record_at(scan->b, at, &r);
        size_t lines = m->lines.len;
        bool whole = is && mend_take_record(scan, at, &r);
        bool some = m->lines.len > lines;
        if (some && r.generation > m->generation) m->generation = r.generation;
        if (some && scan->from == AGT_MEND_JOURNAL && r.generation > m->raw_generation) {
            m->raw_generation = r.generation;
            m->raw_first = r.first_seq;
        } else if (some && scan->from == AGT_MEND_JOURNAL && r.generation == m->raw_generation &&
                   r.first_seq < m->raw_first)
            m->raw_first = r.first_seq;
        uint32_t own = whole ? agt__get32(r.data + 8) : 8;
        at += whole && own >= MEND_RECORD_HEAD && (own & 7u) == 0 && own <= r.length ? own : 8;
    }
}

/* ---- the places ---- */

/* The header's own chain of records. */
static size_t mend_sure_end(agt_mend *m, const agt_buf *b) {
    agt_record r;
    const agt_journal_header *h = &m->s->journal.header;
    size_t at = AGT_JOURNAL_START;
    uint32_t chain = h->crc;
    m->known_next = h->next_seq;
    while (at < b->len && agt__record_parse(b->data + at, b->len - at, m->s->cpu, h->generation,
                                            m->known_next, chain, &r) == AGT_OK) {
        at += r.length;
        m->known_next += r.entries;
        chain = r.crc;
    }
    return at;
}

static agt_status mend_journal(agt_mend *m, agt_buf *b, agt_error *err) {
    mend_scan scan = {m, b, 0, AGT_MEND_JOURNAL, 0};
    agt_error mine;
    mine.message[0] = 0;
    agt_store *s = m->s;
    const char *mend = "repair makes a new one from trace, git and what lies in it";
    agt_status st = agt__journal_open(&s->journal, s->sys, s->at, s->cpu, false, &mine);
    m->has_header = st == AGT_OK;
    if (st != AGT_OK && st != AGT_CORRUPT && st != AGT_NOT_FOUND)
        return agt__answer(st, &mine, err);
    st = mend_source(m, s->at, "journal", b, &scan.source, err);
    if (st != AGT_OK) return st;
    m->has_journal = scan.source != AGT_MEND_NONE;
    if (!m->has_header || b->len < AGT_JOURNAL_START) {
        agt__findings_add(m->found, AGT_SEVERITY_ERROR, "journal", mend,
                          !m->has_journal  ? ".agent-trace/journal is missing"
                          : !m->has_header ? ".agent-trace/journal has no valid header"
                                           : ".agent-trace/journal is shorter than it was made")
            ->mendable = 1;
        m->rebuild = true;
    }
    if (m->has_header) {
        m->generation = s->journal.header.generation;
        scan.sure_end = mend_sure_end(m, b);
    }
    if (!m->has_journal) return AGT_OK;
    if (b->len > MEND_JOURNAL_MOST) b->len = MEND_JOURNAL_MOST;
    mend_scan_records(&scan, AGT_JOURNAL_START);
    return AGT_OK;
}

typedef struct mend_names {
    agt_mend *m;
    agt_fd dir;
    agt_buf *b;
    agt_status st;
    agt_error *err;
} mend_names;

static int mend_one_unpublished(void *ctx, const char *name) {
    mend_names *n = ctx;
    mend_scan scan = {n->m, n->b, 0, AGT_MEND_UNPUBLISHED, 0};
    if (!agt__ends_in(name, ".records")) return 0;
    n->st = mend_source(n->m, n->dir, name, n->b, &scan.source, n->err);
    if (n->st == AGT_OK && scan.source != AGT_MEND_NONE) mend_scan_records(&scan, AGT_RECORDS_HEAD);
    return n->st != AGT_OK;
}

static bool mend_has(const char *name, const char *part) {
    for (size_t n = strlen(part); *name; name++)
        if (strncmp(name, part, n) == 0) return true;
    return false;
}

/* Lines that were put aside: <segment>.torn, and segments in damaged/. */
static int mend_one_kept(void *ctx, const char *name) {
    mend_names *n = ctx;
    uint32_t source;
    if (!mend_has(name, ".jsonl") || agt__ends_in(name, ".tmp")) return 0;
    if (n->dir == n->m->s->trace_dir && !agt__ends_in(name, ".torn")) return 0;
    n->st = mend_source(n->m, n->dir, name, n->b, &source, n->err);
    if (n->st == AGT_OK && source != AGT_MEND_NONE)
        mend_scan_lines(n->m, n->b, source, AGT_MEND_KEPT);
    return n->st != AGT_OK;
}

static int mend_one_catalog(void *ctx, const char *name) {
    agt_mend *m = ctx;
    char again[32];
    uint64_t n = 0;
    if (strncmp(name, "catalog.", 8) != 0) return 0;
    for (const char *p = name + 8; *p >= '0' && *p <= '9' && n < UINT64_MAX / 10 - 9; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    agt__catalog_name(n, again);
    if (strcmp(again, name) == 0 && n > m->generation && n < INT64_MAX) m->generation = n;
    return 0;
}

static agt_status mend_list(mend_names *n, agt_fd dir, int (*each)(void *, const char *),
                            const char *what) {
    const agt_sys *sys = n->m->s->sys;
    if (dir == AGT_FD_NONE) return AGT_OK;
    n->dir = dir;
    int rc = sys->list(sys->ctx, dir, each, n);
    if (n->st == AGT_OK && rc < 0)
        n->st = agt__fail_io(n->err, rc, "cannot list .agent-trace/%s", what);
    return n->st;
}

static agt_status mend_trace_lines(agt_mend *m, agt_buf *b, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    uint32_t source;
    agt_store *s = m->s;
    m->segments.mem = &s->mem;
    agt_status st = agt__segments_list(&m->segments, s->sys, s->trace_dir, err);
    for (size_t i = 0; st == AGT_OK && i < m->segments.count; i++) {
        agt__segment_name(m->segments.v[i], name);
        st = mend_source(m, s->trace_dir, name, b, &source, err);
        if (st == AGT_OK && source != AGT_MEND_NONE) mend_scan_lines(m, b, source, AGT_MEND_TRACE);
    }
    return st;
}

/* ---- git ---- */

/* What is looked at first, where nothing proves one of two lines: a record whose checksum does not
 * lead to it may be what is damaged, the trace's line beside it hardly at the same time. */
static int mend_rank(const agt_mend_line *l) {
    return l->from == AGT_MEND_JOURNAL && !l->sure ? 2 * AGT_MEND_TRACE + 1 : 2 * l->from;
}

static int mend_by_seq(const void *a, const void *b) {
    const agt_mend_line *x = a, *y = b;
    if (x->seq != y->seq) return x->seq < y->seq ? -1 : 1;
    return mend_rank(x) - mend_rank(y);
}

static int mend_by_number(const void *a, const void *b) {
    uint64_t x, y; /* seq or first: what both structs begin with */
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static void mend_sort(agt_buf *b, size_t size, int (*order)(const void *, const void *)) {
    if (b->len) qsort(b->data, b->len / size, size, order);
}

AGT_PRIVATE size_t agt__mend_first(const agt_buf *b, size_t size, uint64_t number) {
    size_t lo = 0, hi = b->len / size;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        uint64_t v;
        memcpy(&v, b->data + mid * size, sizeof v);
        if (v < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Takes the lines of one commit; *parent says whether it has one. False: it is none of ours. */
static bool mend_commit(agt_mend *m, const agt_oid *id, const agt_buf *b, agt_oid *parent,
                        bool *has_parent) {
    static const char word[] = "event: ";
    const size_t skip = sizeof word - 1;
    const char *p = (const char *)b->data, *end = p + b->len, *line_end;
    agt_mend_commit c = {0, *id, {0}};
    agt_mend_group g = {0, 0, {0}};
    *has_parent = false;
    for (; p < end && (line_end = memchr(p, '\n', (size_t)(end - p))) != NULL; p = line_end + 1) {
        size_t n = (size_t)(line_end - p) + 1;
        if (!g.count && n == 48 && memcmp(p, "parent ", 7) == 0 && !*has_parent)
            *has_parent = agt__unhex(p + 7, 40, parent->id, 20);
        if (n <= skip || memcmp(p, word, skip) != 0) continue;
        uint32_t at = agt__mend_add_line(m, p + skip, n - skip, AGT_MEND_GIT);
        if (at == AGT_MEND_NONE) return false;
        const agt_mend_line *l = (const agt_mend_line *)(const void *)m->lines.data + at;
        if (!g.count++) g.first = l->seq;
        if (l->seq != g.first + g.count - 1) return false;
        memcpy(g.last, l->hash, 32);
    }
    c.last = g.first + g.count - 1;
    memcpy(c.hash, g.last, 32);
    if (!g.count) return false;
    agt__buf_put(&m->groups, &g, sizeof g);
    agt__buf_put(&m->commits, &c, sizeof c);
    return true;
}

/* From `id` back to the first commit, or as far as they can be read and are not known. */
static agt_status mend_walk_git(agt_mend *m, agt_oid id, agt_error *err) {
    agt_store *s = m->s;
    agt_buf b = agt__buf(&s->mem);
    agt_error mine;
    const size_t known = m->commits.len / sizeof(agt_mend_commit);
    agt_status st = AGT_OK;
    for (bool more = true; more && st == AGT_OK;) {
        agt_oid parent = id;
        const agt_mend_commit *c = (const agt_mend_commit *)(const void *)m->commits.data;
        for (size_t i = 0; i < known && more; i++)
            more = memcmp(c[i].id.id, id.id, 20) != 0;
        if (!more) break;
        b.len = 0;
        st = agt__git_read(s->git, &id, &b, &mine);
        if (st == AGT_NOMEM || st == AGT_IO) {
            if (err) *err = mine;
            break;
        }
        if (st != AGT_OK) { /* the history ends here, for now */
            st = AGT_OK;
            break;
        }
        if (!mend_commit(m, &id, &b, &parent, &more)) more = false;
        id = parent;
        if (m->lines.failed || m->groups.failed || m->commits.failed) st = agt__nomem(err);
    }
    agt__buf_free(&b);
    return st;
}

static agt_status mend_git(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    agt_oid head;
    bool found = false;
    if (!s->git || s->git_dir == AGT_FD_NONE) return AGT_OK;
    agt_error mine;
    agt_status st = agt__git_head(s->git, &head, &found, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    st = st == AGT_OK && found ? mend_walk_git(m, head, err) : AGT_OK;
    if (st == AGT_OK && m->has_header && s->journal.header.packed_seq)
        st = mend_walk_git(m, s->journal.header.packed_head, err);
    return st;
}

/* ---- all of it ---- */

AGT_PRIVATE agt_status agt__mend_evidence(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    agt_buf b = agt__buf(&s->mem);
    const agt_fd none = AGT_FD_NONE;
    agt_fd damaged = AGT_FD_NONE;
    mend_names names = {m, AGT_FD_NONE, &b, AGT_OK, err};
    m->sources = m->memory = m->lines = m->contents = m->groups = m->commits = m->events = m->line =
        agt__buf(&s->mem);
    agt__buf_put(&m->sources, &none, sizeof none);
    agt_status st = mend_journal(m, &b, err);
    if (st == AGT_OK) st = mend_trace_lines(m, &b, err);
    if (st == AGT_OK) st = mend_list(&names, s->unpublished, mend_one_unpublished, "unpublished");
    if (st == AGT_OK) st = mend_list(&names, s->trace_dir, mend_one_kept, "trace");
    if (st == AGT_OK) st = agt__mend_damaged(m, false, &damaged, err);
    if (st == AGT_OK) st = mend_list(&names, damaged, mend_one_kept, "damaged");
    if (damaged != AGT_FD_NONE) s->sys->close(s->sys->ctx, damaged);
    int rc = st == AGT_OK ? s->sys->list(s->sys->ctx, s->at, mend_one_catalog, m) : 0;
    if (rc < 0) st = agt__fail_io(err, rc, "cannot list .agent-trace");
    if (st == AGT_OK) st = mend_git(m, err);
    agt__buf_free(&b);
    if (st == AGT_OK && (m->sources.failed || m->memory.failed || m->lines.failed ||
                         m->contents.failed || m->groups.failed || m->commits.failed))
        st = agt__nomem(err);
    mend_sort(&m->lines, sizeof(agt_mend_line), mend_by_seq);
    mend_sort(&m->contents, sizeof(agt_mend_content), mend_by_number);
    mend_sort(&m->groups, sizeof(agt_mend_group), mend_by_number);
    return st;
}
