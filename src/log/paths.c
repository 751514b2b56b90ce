/* paths: files that tell which events are about a path (paths.h).
 *
 *     index/<first>-<last>    blocks of 4,096 bytes
 *     block 0     "AGTPATH1"  first  last  count, then of the event `last` segment and offset of
 *                 its line and the line's SHA-256; at 1,024 for each first byte of a hash (u32,
 *                 256 of them) the block, counted from 0 without this one, of the first entry
 *                 whose hash does not begin below it
 *     block 1...  entries of 32 bytes, up to 127: hash of a path, seq, segment and offset of the
 *                 event's line; sorted by hash, then by seq
 *
 * All other numbers are u64, but that each block ends with crc32c(0, its first 4,092 bytes), and a
 * block of entries has their number in front of that (u32, at 4,080). Unused bytes are zero.
 *
 * (1) Files cover the events from 1 on without a gap, each as far as the next one begins. A new one
 *     swallows the one before while that is no more than twice as long: there are never more of
 *     them than the logarithm of the events, and each entry is written as often at most. Only
 *     files of a million entries stay apart.
 * (2) Nothing is synced. A block that a power cut tore has a wrong checksum: a reader does without
 *     the file and those behind it, and the next update, which looks at the newest, makes it again.
 * (3) The newest file counts only if the event it ends with is the one it was made from: each line
 *     has the hash of the one before in it, so all before it are the same, too. */
#include "paths.h"

#include <stdio.h>
#include <stdlib.h>

#define PATHS_BLOCK   4096u
#define PATHS_ENTRY   32u
#define PATHS_ENTRIES 127u
#define PATHS_LARGEST (1u << 20) /* entries that are ever sorted together: 32 MiB */
#define PATHS_COUNT   4080u      /* in a block of entries */
#define PATHS_CRC     4092u
#define PATHS_FAN     1024u /* in block 0 */
#define PATHS_MAGIC   "AGTPATH1"
#define PATHS_NAME    48u

typedef struct paths_run {
    uint64_t first, last, count;
    agt_event_at end; /* the event `last` */
    unsigned char sum[32];
    agt_fd fd; /* AGT_FD_NONE: it does not count */
} paths_run;

typedef struct paths_runs {
    const agt_paths *p;
    paths_run *v;
    size_t count, cap;
    size_t listed; /* runs in `v`, of which the first `count` count */
    bool nomem;
} paths_runs;

/* ---- names ---- */

static void paths_name(const paths_run *r, char out[PATHS_NAME]) {
    (void)snprintf(out, PATHS_NAME, "%llu-%llu", (unsigned long long)r->first,
                   (unsigned long long)r->last);
}

static bool paths_number(const char **p, uint64_t *out) {
    const char *start = *p;
    for (*out = 0; **p >= '0' && **p <= '9' && *out < UINT64_MAX / 10 - 9; ++*p)
        *out = *out * 10 + (uint64_t)(**p - '0');
    return *p > start;
}

static bool paths_parse(const char *name, paths_run *r) {
    const char *p = name;
    memset(r, 0, sizeof *r);
    r->fd = AGT_FD_NONE;
    return paths_number(&p, &r->first) && *p++ == '-' && paths_number(&p, &r->last) && !*p &&
           r->first && r->last >= r->first;
}

static int paths_list_one(void *ctx, const char *name) {
    paths_runs *all = ctx;
    paths_run r;
    if (!paths_parse(name, &r)) return 0;
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 32;
        paths_run *v = agt__realloc(all->p->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        if (!v) return all->nomem = true;
        all->v = v;
        all->cap = cap;
    }
    all->v[all->count++] = r;
    return 0;
}

/* The longest of those that begin at the same event first. */
static int paths_order(const void *a, const void *b) {
    const paths_run *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->last < y->last) - (x->last > y->last);
}

static void paths_close(const agt_paths *p, paths_run *r) {
    if (r->fd != AGT_FD_NONE) p->sys->close(p->sys->ctx, r->fd);
    r->fd = AGT_FD_NONE;
}

static void paths_free(paths_runs *all) {
    for (size_t i = 0; i < all->listed; i++)
        paths_close(all->p, &all->v[i]);
    agt__free(all->p->mem, all->v, all->cap * sizeof *all->v);
    all->v = NULL;
    all->count = all->cap = 0;
}

/* ---- blocks ---- */

static bool paths_block(const agt_paths *p, agt_fd fd, uint64_t n, unsigned char *out) {
    return agt__read_all(p->sys, fd, out, PATHS_BLOCK, n * PATHS_BLOCK) == PATHS_BLOCK &&
           agt__get32(out + PATHS_CRC) == agt__crc32c(p->cpu, 0, out, PATHS_CRC);
}

static bool paths_entries(const agt_paths *p, agt_fd fd, uint64_t n, unsigned char *out) {
    if (!paths_block(p, fd, n, out)) return false;
    uint32_t count = agt__get32(out + PATHS_COUNT);
    return count > 0 && count <= PATHS_ENTRIES;
}

static uint64_t paths_blocks(uint64_t count) {
    return (count + PATHS_ENTRIES - 1) / PATHS_ENTRIES;
}

/* Opens a run's file and reads its head. */
static bool paths_open(const agt_paths *p, paths_run *r) {
    unsigned char block[PATHS_BLOCK];
    char name[PATHS_NAME];
    paths_name(r, name);
    r->fd = p->sys->open(p->sys->ctx, p->dir, name, AGT_O_READ, 0);
    if (r->fd < 0) r->fd = AGT_FD_NONE;
    if (r->fd != AGT_FD_NONE && paths_block(p, r->fd, 0, block) &&
        memcmp(block, PATHS_MAGIC, 8) == 0 && agt__get64(block + 8) == r->first &&
        agt__get64(block + 16) == r->last) {
        r->count = agt__get64(block + 24);
        r->end = (agt_event_at){r->last, agt__get64(block + 32), agt__get64(block + 40)};
        memcpy(r->sum, block + 48, sizeof r->sum);
        if (r->count / 2 <= r->last - r->first + 1) return true; /* two paths an event at most */
    }
    paths_close(p, r);
    return false;
}

/* ---- the files that count ---- */

/* (3) */
static bool paths_same_trace(const agt_paths *p, const paths_run *r) {
    agt_trace_reader *reader;
    agt_text line;
    unsigned char sum[32];
    if (agt__trace_reader_open(&reader, p->sys, p->trace, p->mem, NULL) != AGT_OK) return false;
    bool same = agt__trace_at(reader, &r->end, &line, NULL) == AGT_OK;
    if (same) agt__sha256(p->cpu, line.data, line.len, sum);
    agt__trace_reader_close(reader);
    return same && memcmp(sum, r->sum, sizeof sum) == 0;
}

/* The files from event 1 on, one behind another, that can be read (1). */
static agt_status paths_load(paths_runs *all, agt_error *err) {
    const agt_paths *p = all->p;
    size_t kept = 0;
    uint64_t next = 1;
    if (p->dir == AGT_FD_NONE || p->trace == AGT_FD_NONE) return AGT_OK;
    (void)p->sys->list(p->sys->ctx, p->dir, paths_list_one, all);
    size_t listed = all->count;
    all->count = 0;
    if (all->nomem) return agt__nomem(err);
    if (listed) qsort(all->v, listed, sizeof *all->v, paths_order);
    for (size_t i = 0; i < listed; i++) {
        paths_run r = all->v[i];
        if (r.first != next || !paths_open(p, &r)) continue;
        all->v[kept++] = r;
        next = r.last + 1;
    }
    all->count = all->listed = kept;
    if (kept && !paths_same_trace(p, &all->v[kept - 1])) all->count = 0;
    return AGT_OK;
}

/* ---- looking up ---- */

/* The first block that may have the hash: the last one that begins below it, among those that the
 * fan names. `have` is the number of the one that was read last. */
static bool paths_first_block(const agt_paths *p, const paths_run *r, uint64_t hash,
                              unsigned char *block, uint64_t *out, uint64_t *have) {
    unsigned char fan[8];
    uint64_t byte = hash >> 56, blocks = paths_blocks(r->count);
    if (agt__read_all(p->sys, r->fd, fan, sizeof fan, PATHS_FAN + 4 * byte) != sizeof fan)
        return false;
    uint64_t lo = agt__get32(fan), hi = byte < 255 ? agt__get32(fan + 4) + 1ull : blocks;
    if (hi > blocks) hi = blocks;
    *out = lo;
    while (hi > lo + 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (!paths_entries(p, r->fd, mid + 1, block)) return false;
        *have = mid;
        if (agt__get64(block) < hash)
            *out = lo = mid;
        else
            hi = mid;
    }
    return true;
}

/* Appends what one file has for the hash; false where it cannot be read. */
static bool paths_find_in(const agt_paths *p, const paths_run *r, uint64_t hash, agt_buf *found) {
    unsigned char block[PATHS_BLOCK];
    uint64_t at = 0, have = UINT64_MAX, blocks = paths_blocks(r->count);
    if (!blocks) return true;
    bool good = paths_first_block(p, r, hash, block, &at, &have), more = true;
    for (; good && more && at < blocks; at++) {
        if (at != have) good = paths_entries(p, r->fd, at + 1, block);
        have = UINT64_MAX; /* the next one overwrites it */
        uint32_t count = good ? agt__get32(block + PATHS_COUNT) : 0;
        for (uint32_t i = 0; i < count && more; i++) {
            const unsigned char *e = block + i * PATHS_ENTRY;
            agt_event_at at_event = {agt__get64(e + 8), agt__get64(e + 16), agt__get64(e + 24)};
            more = agt__get64(e) <= hash;
            if (agt__get64(e) == hash) agt__buf_put(found, &at_event, sizeof at_event);
        }
    }
    return good;
}

AGT_PRIVATE agt_status agt__paths_find(const agt_paths *p, const char *path, size_t len,
                                       agt_buf *found, uint64_t *upto, agt_error *err) {
    paths_runs all = {.p = p};
    uint64_t hash = agt__fnv(AGT_FNV, path, len);
    *upto = 0;
    agt_status st = paths_load(&all, err);
    for (size_t i = 0; st == AGT_OK && i < all.count; i++) {
        size_t before = found->len;
        if (!paths_find_in(p, &all.v[i], hash, found)) {
            found->len = before; /* from here on the trace is read */
            break;
        }
        *upto = all.v[i].last;
    }
    if (st == AGT_OK && found->failed) st = agt__nomem(err);
    paths_free(&all);
    return st;
}

/* ---- making ---- */

static int paths_entry_order(const void *a, const void *b) {
    uint64_t x = agt__get64(a), y = agt__get64(b);
    if (x != y) return x < y ? -1 : 1;
    x = agt__get64((const unsigned char *)a + 8), y = agt__get64((const unsigned char *)b + 8);
    return (x > y) - (x < y);
}

static void paths_add(agt_buf *entries, agt_text path, const agt_event_at *at) {
    unsigned char e[PATHS_ENTRY];
    if (!path.data) return;
    agt__put64(e, agt__fnv(AGT_FNV, path.data, path.len));
    agt__put64(e + 8, at->seq);
    agt__put64(e + 16, at->segment);
    agt__put64(e + 24, at->offset);
    agt__buf_put(entries, e, sizeof e);
}

/* Reads events from r->first on, up to `upto`, as long as they follow each other. Damage ends it:
 * who reads the trace shall meet it. */
static agt_status paths_gather(const agt_paths *p, paths_run *r, uint64_t upto, agt_buf *entries,
                               agt_error *err) {
    agt_trace_reader *reader;
    agt_text line;
    agt_event e = AGT_EVENT_INIT;
    agt_buf scratch = agt__buf(p->mem), last = agt__buf(p->mem);
    agt_status st = agt__trace_reader_open(&reader, p->sys, p->trace, p->mem, err);
    if (st != AGT_OK) return st;
    r->last = r->first - 1;
    st = agt__trace_seek(reader, r->first, err);
    while (st == AGT_OK && r->last < upto) {
        st = agt__trace_line(reader, &line, err);
        if (st == AGT_OK) st = agt__event_parse(line.data, line.len, &scratch, &e, err);
        if (st == AGT_OK && e.seq != r->last + 1) st = AGT_CORRUPT;
        if (st != AGT_OK) break;
        r->end.seq = e.seq;
        agt__trace_where(reader, &r->end.segment, &r->end.offset);
        paths_add(entries, e.path, &r->end);
        paths_add(entries, e.from, &r->end);
        last.len = 0;
        agt__buf_put(&last, line.data, line.len);
        r->last++;
    }
    agt__trace_reader_close(reader);
    bool nomem = entries->failed || last.failed;
    if (last.len && !nomem) agt__sha256(p->cpu, last.data, last.len, r->sum);
    agt__buf_free(&scratch);
    agt__buf_free(&last);
    if (nomem) return agt__nomem(err);
    return st == AGT_END || st == AGT_CORRUPT ? AGT_OK : st;
}

/* Puts a file's entries behind others (NULL: only reads it); false where it cannot be read. */
static bool paths_swallow(const agt_paths *p, const paths_run *r, agt_buf *entries) {
    unsigned char block[PATHS_BLOCK];
    bool good = true;
    for (uint64_t at = 0; good && at < paths_blocks(r->count); at++) {
        good = paths_entries(p, r->fd, at + 1, block);
        if (good && entries)
            agt__buf_put(entries, block, agt__get32(block + PATHS_COUNT) * PATHS_ENTRY);
    }
    return good;
}

/* For each first byte of a hash the block of the first entry whose hash does not begin below it. */
static void paths_put_fan(agt_buf *out, const agt_buf *entries) {
    unsigned char number[4];
    size_t n = entries->len / PATHS_ENTRY, i = 0;
    agt__buf_zero(out, PATHS_FAN - out->len);
    for (uint64_t byte = 0; byte < 256; byte++) {
        while (i < n && agt__get64(entries->data + i * PATHS_ENTRY) >> 56 < byte)
            i++;
        agt__put32(number, (uint32_t)(i / PATHS_ENTRIES));
        agt__buf_put(out, number, sizeof number);
    }
}

static void paths_put_block(agt_buf *out, agt_cpu cpu, size_t start) {
    agt__buf_zero(out, PATHS_CRC - (out->len - start));
    unsigned char crc[4];
    if (out->failed) return;
    agt__put32(crc, agt__crc32c(cpu, 0, out->data + start, PATHS_CRC));
    agt__buf_put(out, crc, sizeof crc);
}

static agt_status paths_write(const agt_paths *p, const paths_run *r, const agt_buf *entries,
                              agt_error *err) {
    unsigned char number[8];
    char name[PATHS_NAME];
    agt_buf out = agt__buf(p->mem);
    const uint64_t head[] = {r->first, r->last, entries->len / PATHS_ENTRY, r->end.segment,
                             r->end.offset};
    agt__buf_put(&out, PATHS_MAGIC, 8);
    for (size_t i = 0; i < AGT_COUNT(head); i++) {
        agt__put64(number, head[i]);
        agt__buf_put(&out, number, sizeof number);
    }
    agt__buf_put(&out, r->sum, sizeof r->sum);
    paths_put_fan(&out, entries);
    paths_put_block(&out, p->cpu, 0);
    for (size_t at = 0; at < entries->len && !out.failed;) {
        size_t left = entries->len - at, start = out.len;
        size_t n = left < PATHS_ENTRIES * PATHS_ENTRY ? left : PATHS_ENTRIES * PATHS_ENTRY;
        agt__buf_put(&out, entries->data + at, n);
        agt__buf_zero(&out, PATHS_COUNT - n);
        agt__put32(number, (uint32_t)(n / PATHS_ENTRY));
        agt__buf_put(&out, number, 4);
        paths_put_block(&out, p->cpu, start);
        at += n;
    }
    paths_name(r, name);
    agt_status st = out.failed
                        ? agt__nomem(err)
                        : agt__write_file(p->sys, p->dir, name, out.data, out.len, false, err);
    agt__buf_free(&out);
    return st;
}

typedef struct paths_broom {
    const agt_paths *p;
    const paths_runs *good; /* before the new one */
    paths_run fresh;
} paths_broom;

/* Deletes what is not one of the files that count now. */
static int paths_clean_one(void *ctx, const char *name) {
    paths_broom *b = ctx;
    paths_run r;
    bool counts = paths_parse(name, &r) && r.first == b->fresh.first && r.last == b->fresh.last;
    for (size_t i = 0; i < b->good->count && !counts; i++)
        counts = r.first == b->good->v[i].first && r.last == b->good->v[i].last;
    if (!counts) (void)b->p->sys->remove(b->p->sys->ctx, b->p->dir, name);
    return 0;
}

/* Swallows files before the new one (1). One that turns out to be damaged ends it. */
static void paths_merge(paths_runs *all, bool whole, paths_run *r, agt_buf *entries) {
    while (all->count) {
        const paths_run *old = &all->v[all->count - 1];
        size_t before = entries->len;
        if (!whole && old->last + 1 - old->first > 2 * (r->last + 1 - r->first)) return;
        if (old->count + entries->len / PATHS_ENTRY > PATHS_LARGEST) return;
        if (!paths_swallow(all->p, old, entries)) {
            entries->len = before;
            return;
        }
        r->first = old->first;
        all->count--;
    }
}

AGT_PRIVATE agt_status agt__paths_update(const agt_paths *p, uint64_t upto, uint32_t most,
                                         bool whole, agt_error *err) {
    paths_runs all = {.p = p};
    agt_buf entries = agt__buf(p->mem);
    agt_status st = paths_load(&all, err);
    for (size_t i = whole || !all.count ? 0 : all.count - 1; i < all.count; i++)
        if (!paths_swallow(p, &all.v[i], NULL)) all.count = i; /* (2) */
    paths_run r = {.first = all.count ? all.v[all.count - 1].last + 1 : 1};
    if (st == AGT_OK && r.first <= upto) {
        if (upto - r.first >= most) upto = r.first + most - 1;
        st = paths_gather(p, &r, upto, &entries, err);
    } else if (st == AGT_OK && whole && all.count > 1 &&
               paths_swallow(p, &all.v[all.count - 1], &entries)) {
        r = all.v[--all.count]; /* nothing is new, but one file will do */
    }
    if (st == AGT_OK && r.last >= r.first) {
        paths_merge(&all, whole, &r, &entries);
        if (entries.len)
            qsort(entries.data, entries.len / PATHS_ENTRY, PATHS_ENTRY, paths_entry_order);
        st = entries.failed ? agt__nomem(err) : paths_write(p, &r, &entries, err);
        paths_broom b = {p, &all, r};
        if (st == AGT_OK) (void)p->sys->list(p->sys->ctx, p->dir, paths_clean_one, &b);
    }
    agt__buf_free(&entries);
    paths_free(&all);
    return st;
}
