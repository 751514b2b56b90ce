/* catalog: see catalog.h. The snapshot's bytes, little-endian:
 *
 *   0    "AGTCAT02"      8   crc32c of all bytes from 12 on     12  rows
 *   16   next seq        24  bytes of text                      32  live documents
 *   40   next place in the ring of refusals                     44  grants
 *   64   64 refusal hashes
 *   576  rows of 144 bytes, sorted by folded path, then by path
 *   ...  grants of 128 bytes
 *   ...  the text the rows point into */
#include "catalog.h"

#include "perm.h"

#include <stdlib.h>

#define CATALOG_MAGIC     0x3230544143544741ull /* "AGTCAT02" as stored */
#define CATALOG_HEADER    576u
#define CATALOG_ROW       144u
#define CATALOG_GRANT     128u
#define CATALOG_UNTRACKED 1u /* a row's flag */
#define CATALOG_MAX       (1024u * 1024 * 1024)

AGT_PRIVATE agt_catalog agt__catalog(const agt_mem *mem) {
    agt_catalog c;
    memset(&c, 0, sizeof c);
    c.mem = mem;
    c.base = agt__buf(mem);
    return c;
}

static size_t catalog_row_size(const agt_row *r) {
    return sizeof *r + r->path_len + 1;
}

static void catalog_drop_overlay(agt_catalog *c) {
    for (size_t i = 0; i < c->slot_count; i++)
        if (c->slots[i]) agt__free(c->mem, c->slots[i], catalog_row_size(c->slots[i]));
    agt__free(c->mem, c->slots, c->slot_count * sizeof *c->slots);
    c->slots = NULL;
    c->slot_count = c->used = 0;
}

AGT_PRIVATE void agt__catalog_free(agt_catalog *c) {
    catalog_drop_overlay(c);
    agt__buf_free(&c->base);
    c->base_rows = 0;
}

AGT_PRIVATE void agt__catalog_name(uint64_t number, char out[32]) {
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    memcpy(out, "catalog.", 8);
    for (size_t i = 0; i < n; i++)
        out[8 + i] = digits[n - 1 - i];
    out[8 + n] = 0;
}

/* ---- the snapshot ---- */

/* Where the text begins: behind the rows and the grants that the header counts. */
static const char *catalog_text(const agt_buf *b) {
    return (const char *)b->data + CATALOG_HEADER + (size_t)agt__get32(b->data + 12) * CATALOG_ROW +
           (size_t)agt__get32(b->data + 44) * CATALOG_GRANT;
}

static void catalog_base_row(const agt_catalog *c, uint32_t i, agt_row *r) {
    const unsigned char *p = c->base.data + CATALOG_HEADER + (size_t)i * CATALOG_ROW;
    const char *text = catalog_text(&c->base);
    memset(r, 0, sizeof *r);
    r->path = text + agt__get32(p);
    r->path_len = agt__get32(p + 4);
    (void)agt__copy_text(r->agent, sizeof r->agent, text + agt__get32(p + 8), agt__get32(p + 12));
    r->type = (agt_type)agt__get32(p + 16);
    r->exists = agt__get32(p + 20) != 0;
    r->version = agt__get32(p + 24);
    r->untracked = (agt__get32(p + 28) & CATALOG_UNTRACKED) != 0;
    r->last_seq = agt__get64(p + 32);
    r->changed_unix_ms = (int64_t)agt__get64(p + 40);
    r->size = agt__get64(p + 48);
    r->dev = agt__get64(p + 56);
    r->ino = agt__get64(p + 64);
    r->mtime_ns = (int64_t)agt__get64(p + 72);
    r->ctime_ns = (int64_t)agt__get64(p + 80);
    memcpy(r->blob.id, p + 88, 20);
    memcpy(r->doc, p + 108, 36);
}

static void catalog_encode_row(const agt_row *r, uint32_t path_off, uint32_t agent_off,
                               unsigned char *p) {
    memset(p, 0, CATALOG_ROW);
    agt__put32(p, path_off);
    agt__put32(p + 4, (uint32_t)r->path_len);
    agt__put32(p + 8, agent_off);
    agt__put32(p + 12, (uint32_t)strlen(r->agent));
    agt__put32(p + 16, (uint32_t)r->type);
    agt__put32(p + 20, r->exists);
    agt__put32(p + 24, r->version);
    agt__put32(p + 28, r->untracked ? CATALOG_UNTRACKED : 0);
    agt__put64(p + 32, r->last_seq);
    agt__put64(p + 40, (uint64_t)r->changed_unix_ms);
    agt__put64(p + 48, r->size);
    agt__put64(p + 56, r->dev);
    agt__put64(p + 64, r->ino);
    agt__put64(p + 72, (uint64_t)r->mtime_ns);
    agt__put64(p + 80, (uint64_t)r->ctime_ns);
    memcpy(p + 88, r->blob.id, 20);
    memcpy(p + 108, r->doc, 36);
}

/* A store may come from somebody else: its paths are held to the rules again. */
static bool catalog_path_allowed(const agt_buf *b, const unsigned char *row) {
    return agt__path_held(catalog_text(b) + agt__get32(row), agt__get32(row + 4));
}

/* Checked once at load, so that lookups can trust every offset. */
static bool catalog_valid(const agt_buf *b, agt_cpu cpu) {
    if (b->len < CATALOG_HEADER || agt__get64(b->data) != CATALOG_MAGIC) return false;
    if (agt__get32(b->data + 8) != agt__crc32c(cpu, 0, b->data + 12, b->len - 12)) return false;
    uint64_t rows = agt__get32(b->data + 12), text = agt__get64(b->data + 24);
    uint64_t room = b->len - CATALOG_HEADER; /* sums of what the file says could wrap */
    uint64_t grants = agt__get32(b->data + 44);
    if (grants > AGT_MAX_GRANTS || rows * CATALOG_ROW + grants * CATALOG_GRANT > room ||
        text != room - rows * CATALOG_ROW - grants * CATALOG_GRANT)
        return false;
    for (uint64_t i = 0; i < rows; i++) {
        const unsigned char *p = b->data + CATALOG_HEADER + i * CATALOG_ROW;
        if ((uint64_t)agt__get32(p) + agt__get32(p + 4) > text || agt__get32(p + 4) > AGT_MAX_PATH)
            return false;
        if ((uint64_t)agt__get32(p + 8) + agt__get32(p + 12) > text) return false;
        if (agt__get32(p + 12) > AGT_MAX_NAME || agt__get32(p + 16) > AGT_TYPE_SCRATCH)
            return false;
        if (!catalog_path_allowed(b, p)) return false;
    }
    for (uint64_t i = 0; i < grants; i++) {
        const unsigned char *p = b->data + CATALOG_HEADER + rows * CATALOG_ROW + i * CATALOG_GRANT;
        agt_text actor = {(const char *)p + 56, agt__get32(p + 36)};
        if (actor.len > CATALOG_GRANT - 56 || !agt__grantee_valid(actor)) return false;
    }
    return true;
}

static void catalog_base_grants(agt_catalog *c) {
    const unsigned char *p = c->base.data + CATALOG_HEADER + (size_t)c->base_rows * CATALOG_ROW;
    c->grant_count = agt__get32(c->base.data + 44);
    for (size_t i = 0; i < c->grant_count; i++, p += CATALOG_GRANT) {
        agt_grant_row *g = &c->grants[i];
        memcpy(g->doc, p, 36);
        (void)agt__copy_text(g->actor, sizeof g->actor, (const char *)p + 56, agt__get32(p + 36));
        g->from_unix_ms = (int64_t)agt__get64(p + 40);
        g->until_unix_ms = (int64_t)agt__get64(p + 48);
    }
}

static void catalog_encode_grant(const agt_grant_row *g, unsigned char *p) {
    size_t n = strlen(g->actor);
    memset(p, 0, CATALOG_GRANT);
    memcpy(p, g->doc, 36);
    agt__put32(p + 36, (uint32_t)n);
    agt__put64(p + 40, (uint64_t)g->from_unix_ms);
    agt__put64(p + 48, (uint64_t)g->until_unix_ms);
    memcpy(p + 56, g->actor, n);
}

AGT_PRIVATE agt_status agt__catalog_load(agt_catalog *c, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, uint64_t number, agt_error *err) {
    char name[32];
    agt_catalog fresh = agt__catalog(c->mem);
    agt__catalog_name(number, name);
    if (number) {
        agt_status st = agt__read_file(sys, dir, name, CATALOG_MAX, &fresh.base, err);
        if (st == AGT_OK && !catalog_valid(&fresh.base, cpu)) st = AGT_CORRUPT;
        if (st == AGT_NOT_FOUND) st = AGT_CORRUPT;
        if (st != AGT_OK) {
            agt__catalog_free(&fresh);
            if (st != AGT_CORRUPT) return st;
            return agt__fail(err, AGT_CORRUPT,
                             ".agent-trace/%s is missing or damaged; run 'agent-trace repair'",
                             name);
        }
        fresh.base_rows = agt__get32(fresh.base.data + 12);
        fresh.live = (int64_t)agt__get64(fresh.base.data + 32);
        fresh.refusal_at = agt__get32(fresh.base.data + 40) % AGT_REFUSALS;
        for (int i = 0; i < AGT_REFUSALS; i++)
            fresh.refusals[i] = agt__get64(fresh.base.data + 64 + i * 8);
        catalog_base_grants(&fresh);
    }
    fresh.shape = c->shape + 1;
    agt__catalog_free(c);
    *c = fresh;
    return AGT_OK;
}

static int catalog_by_fold(const void *a, const void *b) {
    const agt_row *x = a, *y = b;
    int d = agt__path_fold_compare(x->path, x->path_len, y->path, y->path_len);
    if (d) return d;
    size_t n = x->path_len < y->path_len ? x->path_len : y->path_len;
    d = memcmp(x->path, y->path, n);
    return d ? d : (x->path_len > y->path_len) - (x->path_len < y->path_len);
}

AGT_PRIVATE agt_status agt__catalog_encode(const agt_catalog *c, agt_cpu cpu, uint64_t next_seq,
                                           agt_buf *out, agt_error *err) {
    agt_rows rows;
    size_t start = out->len;
    agt_status st = agt__catalog_rows(c, AGT_ROWS_ALL, &rows, err);
    if (st != AGT_OK) return st;
    if (rows.count) qsort(rows.row, rows.count, sizeof *rows.row, catalog_by_fold);
    agt__buf_zero(out, CATALOG_HEADER + rows.count * CATALOG_ROW + c->grant_count * CATALOG_GRANT);
    size_t text = out->len;
    for (size_t i = 0; i < c->grant_count && !out->failed; i++)
        catalog_encode_grant(&c->grants[i], out->data + start + CATALOG_HEADER +
                                                rows.count * CATALOG_ROW + i * CATALOG_GRANT);
    for (size_t i = 0; i < rows.count && !out->failed; i++) {
        agt_row *r = &rows.row[i];
        size_t path_off = out->len - text, agent_off = path_off + r->path_len;
        agt__buf_put(out, r->path, r->path_len);
        agt__buf_put(out, r->agent, strlen(r->agent));
        if (out->failed) break;
        catalog_encode_row(r, (uint32_t)path_off, (uint32_t)agent_off,
                           out->data + start + CATALOG_HEADER + i * CATALOG_ROW);
    }
    size_t count = rows.count;
    agt__rows_free(c->mem, &rows);
    if (out->failed) return agt__nomem(err);
    if (out->len - text > UINT32_MAX || count > UINT32_MAX)
        return agt__fail(err, AGT_LIMIT, "the catalog would be larger than 4 GiB");
    unsigned char *p = out->data + start;
    agt__put64(p, CATALOG_MAGIC);
    agt__put32(p + 12, (uint32_t)count);
    agt__put64(p + 16, next_seq);
    agt__put64(p + 24, out->len - text);
    agt__put64(p + 32, (uint64_t)c->live);
    agt__put32(p + 40, c->refusal_at);
    agt__put32(p + 44, (uint32_t)c->grant_count);
    for (int i = 0; i < AGT_REFUSALS; i++)
        agt__put64(p + 64 + i * 8, c->refusals[i]);
    agt__put32(p + 8, agt__crc32c(cpu, 0, p + 12, out->len - start - 12));
    return AGT_OK;
}

/* The first base row that is not before `path` in folded order. */
static uint32_t catalog_lower_bound(const agt_catalog *c, const char *path, size_t len) {
    uint32_t lo = 0, hi = c->base_rows;
    const unsigned char *rows = c->base.data + CATALOG_HEADER;
    const char *text = catalog_text(&c->base);
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const unsigned char *p = rows + (size_t)mid * CATALOG_ROW;
        if (agt__path_fold_compare(text + agt__get32(p), agt__get32(p + 4), path, len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool catalog_base_find(const agt_catalog *c, const char *path, size_t len, agt_row *out) {
    if (!c->base_rows) return false;
    for (uint32_t i = catalog_lower_bound(c, path, len); i < c->base_rows; i++) {
        catalog_base_row(c, i, out);
        if (agt__path_fold_compare(out->path, out->path_len, path, len) != 0) return false;
        if (out->path_len == len && memcmp(out->path, path, len) == 0) return true;
    }
    return false;
}

/* ---- the overlay ---- */

static unsigned char catalog_fold(char ch) {
    return (unsigned char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
}

static size_t catalog_hash(const char *path, size_t len) {
    uint64_t h = AGT_FNV;
    for (size_t i = 0; i < len; i++)
        h = (h ^ catalog_fold(path[i])) * 0x100000001b3u;
    return (size_t)(h ^ (h >> 29));
}

static bool catalog_same(const agt_row *r, const char *path, size_t len) {
    return r->path_len == len && memcmp(r->path, path, len) == 0;
}

AGT_PRIVATE agt_row *agt__catalog_touched(const agt_catalog *c, const char *path, size_t len) {
    if (!c->slot_count) return NULL;
    size_t mask = c->slot_count - 1;
    for (size_t i = catalog_hash(path, len) & mask; c->slots[i]; i = (i + 1) & mask)
        if (catalog_same(c->slots[i], path, len)) return c->slots[i];
    return NULL;
}

static void catalog_insert(agt_row **slots, size_t count, agt_row *row) {
    size_t i = catalog_hash(row->path, row->path_len) & (count - 1);
    while (slots[i])
        i = (i + 1) & (count - 1);
    slots[i] = row;
}

static bool catalog_grow(agt_catalog *c) {
    if (c->used * 2 < c->slot_count) return true;
    size_t count = c->slot_count ? c->slot_count * 2 : 64;
    agt_row **slots = agt__zalloc(c->mem, count * sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < c->slot_count; i++)
        if (c->slots[i]) catalog_insert(slots, count, c->slots[i]);
    agt__free(c->mem, c->slots, c->slot_count * sizeof *c->slots);
    c->slots = slots;
    c->slot_count = count;
    return true;
}

AGT_PRIVATE agt_row *agt__catalog_touch(agt_catalog *c, const char *path, size_t len) {
    agt_row base, *r = agt__catalog_touched(c, path, len);
    if (r) return r;
    if (!catalog_grow(c)) return NULL;
    if (!(r = agt__alloc(c->mem, sizeof *r + len + 1))) return NULL;
    if (!catalog_base_find(c, path, len, &base)) memset(&base, 0, sizeof base);
    *r = base;
    char *copy = (char *)r + sizeof *r;
    memcpy(copy, path, len);
    copy[len] = 0;
    r->path = copy;
    r->path_len = len;
    catalog_insert(c->slots, c->slot_count, r);
    c->used++;
    return r;
}

AGT_PRIVATE bool agt__catalog_find(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out) {
    const agt_row *r = agt__catalog_touched(c, path, len);
    if (r)
        *out = *r;
    else if (!catalog_base_find(c, path, len, out))
        return false;
    return out->version != 0 && !out->moved;
}

AGT_PRIVATE bool agt__catalog_base(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out) {
    return catalog_base_find(c, path, len, out) && out->version != 0;
}

AGT_PRIVATE bool agt__catalog_case_clash(const agt_catalog *c, const char *path, size_t len,
                                         agt_row *out) {
    if (c->slot_count) { /* the hash folds case, so a clash is in the same chain */
        size_t mask = c->slot_count - 1;
        for (size_t i = catalog_hash(path, len) & mask; c->slots[i]; i = (i + 1) & mask) {
            const agt_row *r = c->slots[i];
            if (!r->exists || catalog_same(r, path, len)) continue;
            if (agt__path_fold_compare(r->path, r->path_len, path, len) != 0) continue;
            *out = *r;
            return true;
        }
    }
    if (!c->base_rows) return false;
    for (uint32_t i = catalog_lower_bound(c, path, len); i < c->base_rows; i++) {
        catalog_base_row(c, i, out);
        if (agt__path_fold_compare(out->path, out->path_len, path, len) != 0) return false;
        if (catalog_same(out, path, len) || !out->exists) continue;
        if (!agt__catalog_touched(c, out->path, out->path_len)) return true;
    }
    return false;
}

static bool catalog_is_under(const agt_row *r, const char *folder, size_t len) {
    return r->path_len > len + 1 && r->path[len] == '/' && memcmp(r->path, folder, len) == 0;
}

AGT_PRIVATE bool agt__catalog_has_under(const agt_catalog *c, const char *path, size_t len) {
    char with_slash[AGT_MAX_PATH + 2];
    agt_row r;
    for (size_t i = 0; i < c->slot_count; i++)
        if (c->slots[i] && c->slots[i]->exists && catalog_is_under(c->slots[i], path, len))
            return true;
    if (!c->base_rows || len > AGT_MAX_PATH) return false;
    memcpy(with_slash, path, len);
    with_slash[len] = '/';
    for (uint32_t i = catalog_lower_bound(c, with_slash, len + 1); i < c->base_rows; i++) {
        catalog_base_row(c, i, &r);
        if (r.path_len <= len || agt__path_fold_compare(r.path, len + 1, with_slash, len + 1) != 0)
            return false;
        if (r.exists && catalog_is_under(&r, path, len) &&
            !agt__catalog_touched(c, r.path, r.path_len))
            return true;
    }
    return false;
}

/* Could not both be files? One is the other's path in another case, or a folder of it. */
static bool catalog_excludes(const agt_row *r, const char *path, size_t len) {
    size_t n = r->path_len < len ? r->path_len : len;
    if (agt__path_fold_compare(r->path, n, path, n) != 0) return false;
    return r->path_len == len || (r->path_len > len ? r->path : path)[n] == '/';
}

static bool catalog_is_remembered(const agt_row *r) {
    return r->version && !r->exists && !r->moved;
}

/* The base rows that begin with these bytes, in any case; `whole`: that are them. */
static void catalog_remembered_base(const agt_catalog *c, const char *path, size_t len, bool whole,
                                    agt_row_fn each, void *ctx) {
    agt_row r;
    for (uint32_t i = catalog_lower_bound(c, path, len); i < c->base_rows; i++) {
        catalog_base_row(c, i, &r);
        if (r.path_len < len || agt__path_fold_compare(r.path, len, path, len) != 0) return;
        if (whole && r.path_len != len) return;
        if (catalog_is_remembered(&r) && !agt__catalog_touched(c, r.path, r.path_len))
            each(ctx, &r);
    }
}

AGT_PRIVATE void agt__catalog_remembered(const agt_catalog *c, const char *path, size_t len,
                                         agt_row_fn each, void *ctx) {
    char with_slash[AGT_MAX_PATH + 2];
    for (size_t i = 0; i < c->slot_count; i++)
        if (c->slots[i] && catalog_is_remembered(c->slots[i]) &&
            catalog_excludes(c->slots[i], path, len))
            each(ctx, c->slots[i]);
    if (!c->base_rows || len > AGT_MAX_PATH) return;
    for (size_t i = 1; i <= len; i++)
        if (i == len || path[i] == '/') catalog_remembered_base(c, path, i, true, each, ctx);
    memcpy(with_slash, path, len);
    with_slash[len] = '/';
    catalog_remembered_base(c, with_slash, len + 1, false, each, ctx);
}

AGT_PRIVATE bool agt__catalog_file(const agt_catalog *c, uint64_t dev, uint64_t ino, bool unseen,
                                   size_t *at, agt_row *out) {
    while (*at < c->slot_count + c->base_rows) {
        size_t i = (*at)++;
        bool base = i >= c->slot_count;
        if (base) i -= c->slot_count;
        if (!base && !c->slots[i]) continue;
        uint64_t of = base ? agt__get64(c->base.data + CATALOG_HEADER + i * CATALOG_ROW + 64)
                           : c->slots[i]->ino;
        if (of != ino && !(unseen && !of)) continue;
        if (base)
            catalog_base_row(c, (uint32_t)i, out);
        else
            *out = *c->slots[i];
        if (!out->exists || (of && out->dev != dev)) continue;
        if (!base || !agt__catalog_touched(c, out->path, out->path_len)) return true;
    }
    return false;
}

/* ---- events ---- */

static uint64_t catalog_refusal_hash(const agt_event *e) {
    uint64_t h = AGT_FNV;
    const agt_text parts[] = {e->actor, e->change_kind, e->path, e->rejected, e->summary};
    for (size_t p = 0; p < AGT_COUNT(parts); p++) {
        h = agt__fnv(h, parts[p].data, parts[p].len);
        h = agt__fnv(h, "\xff", 1);
    }
    return h ? h : 1;
}

static bool catalog_has_refusal(const agt_catalog *c, uint64_t hash) {
    for (int i = 0; i < AGT_REFUSALS; i++)
        if (c->refusals[i] == hash) return true;
    return false;
}

AGT_PRIVATE bool agt__catalog_refused(const agt_catalog *c, const agt_event *e) {
    return catalog_has_refusal(c, catalog_refusal_hash(e));
}

static void catalog_refusal(agt_catalog *c, const agt_event *e) {
    uint64_t hash = catalog_refusal_hash(e);
    if (catalog_has_refusal(c, hash)) return;
    c->refusals[c->refusal_at] = hash;
    c->refusal_at = (c->refusal_at + 1) % AGT_REFUSALS;
}

/* ---- grants ---- */

AGT_PRIVATE bool agt__grant_holds(const agt_grant_row *g, int64_t now_unix_ms) {
    return g->from_unix_ms <= now_unix_ms && now_unix_ms < g->until_unix_ms;
}

AGT_PRIVATE const agt_grant_row *agt__catalog_grant(const agt_catalog *c, const char *doc,
                                                    const char *grantee, int64_t now_unix_ms) {
    for (size_t i = 0; i < c->grant_count; i++)
        if (strcmp(c->grants[i].doc, doc) == 0 && strcmp(c->grants[i].actor, grantee) == 0 &&
            now_unix_ms < c->grants[i].until_unix_ms)
            return &c->grants[i];
    return NULL;
}

AGT_PRIVATE bool agt__catalog_granted(const agt_catalog *c, const char *doc, agt_text actor,
                                      int64_t now_unix_ms) {
    for (size_t i = 0; doc[0] && i < c->grant_count; i++)
        if (strcmp(c->grants[i].doc, doc) == 0 && agt__grantee_is(c->grants[i].actor, actor) &&
            agt__grant_holds(&c->grants[i], now_unix_ms))
            return true;
    return false;
}

/* As long as a grant may be, or of agent-trace 0.1.0, which knew no such limit: agt_unlock never
 * makes a longer one, whatever its source. */
static bool catalog_lasts(const agt_grant_row *g, const agt_event *e) {
    if (g->from_unix_ms >= g->until_unix_ms) return false;
    return g->until_unix_ms - g->from_unix_ms <= AGT_MAX_GRANT_MS ||
           agt__text_is(e->source, AGT_EVENT_OLD);
}

/* What has ended by the event's time, and what the event replaces or revokes, goes. */
static void catalog_grant_event(agt_catalog *c, const agt_event *e, bool gives) {
    agt_grant_row g;
    size_t kept = 0;
    memset(&g, 0, sizeof g);
    if (!agt__grantee_valid(e->grant) ||
        !agt__copy_text(g.actor, sizeof g.actor, e->grant.data, e->grant.len) || e->doc.len != 36 ||
        !agt__copy_text(g.doc, sizeof g.doc, e->doc.data, e->doc.len))
        return; /* no agent_trace writes that; it grants nothing */
    for (size_t i = 0; i < c->grant_count; i++) {
        const agt_grant_row *old = &c->grants[i];
        bool same = strcmp(old->doc, g.doc) == 0 && strcmp(old->actor, g.actor) == 0;
        if (!same && e->recorded_unix_ms < old->until_unix_ms) c->grants[kept++] = *old;
    }
    c->grant_count = kept;
    if (!gives || kept == AGT_MAX_GRANTS) return;
    g.from_unix_ms = e->recorded_unix_ms;
    g.until_unix_ms = e->until_unix_ms;
    if (catalog_lasts(&g, e)) c->grants[c->grant_count++] = g;
}

/* ---- rows ---- */

static void catalog_set_type(agt_row *r, const agt_event *e) {
    char name[AGT_MAX_NAME + 1];
    if (!agt__copy_text(name, sizeof name, e->doc_type.data, e->doc_type.len)) return;
    agt_type type = agt_type_from_name(name);
    if (type != AGT_TYPE_DEFAULT) r->type = type;
}

static void catalog_forget_file(agt_row *r) {
    r->dev = r->ino = 0;
    r->mtime_ns = r->ctime_ns = 0;
}

/* The old path's row (3); the agent that made the document goes with it. */
static void catalog_move_away(agt_catalog *c, const agt_event *e, agt_row *to) {
    agt_row *from = agt__catalog_touched(c, e->from.data, e->from.len);
    AGENT_TRACE_ASSERT(from != NULL && from != to);
    c->live -= from->exists;
    memcpy(to->agent, from->agent, sizeof to->agent);
    from->exists = from->untracked = false;
    from->moved = true;
    from->version += from->version == 0; /* a hostile rename of nothing */
    from->last_seq = e->seq;
    memset(&from->blob, 0, sizeof from->blob);
    catalog_forget_file(from);
}

static void catalog_version(agt_catalog *c, const agt_event *e, uint64_t size) {
    agt_row *r = agt__catalog_touched(c, e->path.data, e->path.len);
    AGENT_TRACE_ASSERT(r != NULL);
    bool exists = e->blob.data != NULL;
    c->live += (int64_t)exists - (int64_t)r->exists;
    if (r->version == 0 || r->moved) { /* another document than the one that was here */
        memset(r->agent, 0, sizeof r->agent);
        if (e->agent_name.data)
            (void)agt__copy_text(r->agent, sizeof r->agent, e->agent_name.data, e->agent_name.len);
    }
    if (e->from.data) catalog_move_away(c, e, r);
    r->exists = exists;
    r->untracked = agt__text_is(e->action, "untrack");
    r->moved = false;
    r->version = e->version;
    r->last_seq = e->seq;
    r->changed_unix_ms = e->at_unix_ms;
    r->size = exists ? size : 0;
    memset(&r->blob, 0, sizeof r->blob);
    if (exists) (void)agt__unhex(e->blob.data, e->blob.len, r->blob.id, 20);
    (void)agt__copy_text(r->doc, sizeof r->doc, e->doc.data, e->doc.len);
    catalog_set_type(r, e);
    catalog_forget_file(r);
}

static bool catalog_retypes(const agt_event *e) {
    return !e->version && e->path.data && agt__text_is(e->action, "reclassify");
}

AGT_PRIVATE bool agt__catalog_touch_event(agt_catalog *c, const agt_event *e) {
    if ((e->version || catalog_retypes(e)) && !agt__catalog_touch(c, e->path.data, e->path.len))
        return false;
    return !e->version || !e->from.data || agt__catalog_touch(c, e->from.data, e->from.len);
}

AGT_PRIVATE void agt__catalog_event(agt_catalog *c, const agt_event *e, uint64_t size) {
    c->shape += catalog_retypes(e) || (e->version && !agt__text_is(e->action, "modify"));
    if (e->version && e->path.data)
        catalog_version(c, e, size);
    else if (agt__text_is(e->action, "violation"))
        catalog_refusal(c, e);
    else if (agt__text_is(e->action, "unlock") || agt__text_is(e->action, "revoke"))
        catalog_grant_event(c, e, e->action.data[0] == 'u');
    else if (catalog_retypes(e)) {
        agt_row *r = agt__catalog_touched(c, e->path.data, e->path.len);
        AGENT_TRACE_ASSERT(r != NULL);
        catalog_set_type(r, e);
    }
}

/* ---- lists ---- */

static int catalog_by_path(const void *a, const void *b) {
    const agt_row *x = a, *y = b;
    size_t n = x->path_len < y->path_len ? x->path_len : y->path_len;
    int d = memcmp(x->path, y->path, n);
    return d ? d : (x->path_len > y->path_len) - (x->path_len < y->path_len);
}

AGT_PRIVATE agt_status agt__catalog_rows(const agt_catalog *c, agt_catalog_scope scope,
                                         agt_rows *out, agt_error *err) {
    size_t max = c->used + (scope == AGT_ROWS_ALL ? c->base_rows : 0);
    memset(out, 0, sizeof *out);
    if (!max) return AGT_OK;
    if (!(out->row = agt__alloc(c->mem, max * sizeof *out->row))) return agt__nomem(err);
    out->cap = max;
    for (uint32_t i = 0; scope == AGT_ROWS_ALL && i < c->base_rows; i++) {
        agt_row *r = &out->row[out->count];
        catalog_base_row(c, i, r);
        if (!agt__catalog_touched(c, r->path, r->path_len)) out->count++;
    }
    for (size_t i = 0; i < c->slot_count; i++) {
        const agt_row *r = c->slots[i];
        bool wanted = r && r->version && !(r->moved && scope == AGT_ROWS_ALL);
        if (wanted) out->row[out->count++] = *r;
    }
    qsort(out->row, out->count, sizeof *out->row, catalog_by_path);
    return AGT_OK;
}

AGT_PRIVATE void agt__rows_free(const agt_mem *mem, agt_rows *rows) {
    agt__free(mem, rows->row, rows->cap * sizeof *rows->row);
    memset(rows, 0, sizeof *rows);
}
