/* lines: how many lines a change adds and removes.
 *
 * A line is its bytes with the line feed; a last line without one differs from the same with one.
 * The number of a shortest edit script is wanted, never the script itself, so that Myers' O(ND)
 * algorithm needs one row of scratch: if D is the length of the shortest script from n lines to m,
 * then (D + m - n) / 2 lines are added and (D + n - m) / 2 removed.
 *
 * In this order, each step exact:
 *  1. Bytes: what is equal at both ends is left out, back to whole lines. A change in one place
 *     ends here.
 *  2. Lines get numbers by their text; a line whose text the other side does not have is added or
 *     removed for certain and is left out.
 *  3. Myers' algorithm over the numbers that remain, up to AGT_LINES_MAX_COST edits and a fixed
 *     amount of work.
 * Where a limit is met or memory is out, what remains counts as removed and added as a whole: an
 * upper bound, in bounded time and with scratch in proportion to the lines (at most
 * LINES_MAX_LINES).
 */
#include "data.h"

#define LINES_MAX_LINES (1u << 18) /* in both middles together; beyond, they count as a whole */
#define LINES_MAX_WORK  (1u << 22) /* steps along diagonals, and probes of the table */
#define LINES_LOCAL     64         /* as many lines need no allocation */

typedef struct lines_side {
    const unsigned char *s;
    size_t len;
} lines_side;

typedef struct lines_slot {
    const unsigned char *s;
    uint32_t len, hash; /* of the first line with this text */
    uint32_t seen;      /* bit 0: the old side has it, bit 1: the new one */
} lines_slot;

typedef struct lines_work {
    size_t slots; /* a power of two */
    lines_slot *table;
    uint32_t *ids; /* the slot of each line: old ones, then new ones */
    uint32_t left; /* of LINES_MAX_WORK */
} lines_work;

/* ---- step 1 ---- */

static size_t lines_common_head(const unsigned char *a, const unsigned char *b, size_t n) {
    size_t at = 0;
    while (n - at >= 64 && memcmp(a + at, b + at, 64) == 0)
        at += 64;
    while (at < n && a[at] == b[at])
        at++;
    while (at && a[at - 1] != '\n')
        at--;
    return at;
}

/* How many bytes are equal at the end of both, at most n, from the beginning of a line in both. */
static size_t lines_common_tail(lines_side a, lines_side b) {
    size_t n = a.len < b.len ? a.len : b.len, same = 0;
    const unsigned char *x = a.s + a.len, *y = b.s + b.len;
    while (n - same >= 64 && memcmp(x - same - 64, y - same - 64, 64) == 0)
        same += 64;
    while (same < n && x[-1 - (ptrdiff_t)same] == y[-1 - (ptrdiff_t)same])
        same++;
    bool begins_a = same == a.len || x[-1 - (ptrdiff_t)same] == '\n';
    bool begins_b = same == b.len || y[-1 - (ptrdiff_t)same] == '\n';
    if (same == 0 || (begins_a && begins_b)) return same;
    const unsigned char *feed = memchr(x - same, '\n', same);
    return feed ? (size_t)(x - feed) - 1 : 0;
}

static size_t lines_count(lines_side a) {
    size_t n = 0;
    for (const unsigned char *s = a.s, *end = s + a.len; s < end; n++) {
        const unsigned char *feed = memchr(s, '\n', (size_t)(end - s));
        s = feed ? feed + 1 : end;
    }
    return n;
}

/* ---- step 2 ---- */

static uint32_t lines_hash(const unsigned char *s, size_t n) {
    uint64_t h = n * 0x9e3779b97f4a7c15u, w;
    for (; n >= 8; n -= 8, s += 8) {
        memcpy(&w, s, 8);
        h = (h ^ w) * 0xbf58476d1ce4e5b9u;
        h ^= h >> 29;
    }
    for (; n; n--)
        h = (h ^ *s++) * 0x94d049bb133111ebu;
    return (uint32_t)(h >> 32);
}

/* Gives each line its number; false if that takes too long. */
static bool lines_number(lines_work *w, lines_side a, uint32_t side, uint32_t *ids) {
    for (const unsigned char *s = a.s, *end = s + a.len; s < end;) {
        const unsigned char *feed = memchr(s, '\n', (size_t)(end - s));
        size_t len = (size_t)((feed ? feed + 1 : end) - s);
        uint32_t hash = lines_hash(s, len);
        size_t at = hash & (w->slots - 1);
        for (; w->table[at].s; at = (at + 1) & (w->slots - 1)) {
            const lines_slot *t = &w->table[at];
            if (w->left == 0) return false;
            w->left--;
            if (t->hash == hash && t->len == len && memcmp(t->s, s, len) == 0) break;
        }
        lines_slot *t = &w->table[at];
        if (!t->s) {
            t->s = s;
            t->len = (uint32_t)len;
            t->hash = hash;
        }
        t->seen |= side;
        *ids++ = (uint32_t)at;
        s += len;
    }
    return true;
}

/* Keeps the numbers that both sides have, in order; how many. */
static size_t lines_keep(const lines_work *w, uint32_t *ids, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (w->table[ids[i]].seen == 3) ids[kept++] = ids[i];
    return kept;
}

/* ---- step 3 ---- */

/* The length of the shortest script from a to b, or SIZE_MAX past a limit. `reach` has room for
 * 2 * max + 3 numbers. On diagonal k (old lines taken less new lines taken), reach[max + 1 + k] is
 * how many old lines d edits can get through at most. */
static size_t lines_shortest(const uint32_t *a, size_t n, const uint32_t *b, size_t m,
                             int32_t *reach, int32_t max, uint32_t work) {
    int32_t *row = reach + max + 1, old_n = (int32_t)n, new_n = (int32_t)m;
    row[1] = 0;
    for (int32_t d = 0; d <= max; d++) {
        int32_t low = d > new_n ? d - 2 * (d - new_n) : d;  /* diagonals that leave the square */
        int32_t high = d > old_n ? d - 2 * (d - old_n) : d; /* are of no use */
        for (int32_t k = -low; k <= high; k += 2) {
            bool down = k == -d || (k != d && row[k - 1] < row[k + 1]);
            int32_t x = down ? row[k + 1] : row[k - 1] + 1, from = x;
            while (x < old_n && x - k < new_n && a[x] == b[x - k])
                x++;
            row[k] = x;
            if (x >= old_n && x - k >= new_n) return (size_t)d;
            uint32_t cost = (uint32_t)(x - from) + 1;
            if (cost > work) return SIZE_MAX;
            work -= cost;
        }
    }
    return SIZE_MAX;
}

/* Of n old and m new numbers: the length of the shortest script, or n + m. */
static size_t lines_edits(const agt_mem *mem, const lines_work *w, const uint32_t *a, size_t n,
                          const uint32_t *b, size_t m) {
    int32_t local[2 * LINES_LOCAL + 3];
    while (n && m && a[0] == b[0]) {
        a++;
        b++;
        n--;
        m--;
    }
    while (n && m && a[n - 1] == b[m - 1]) {
        n--;
        m--;
    }
    if (n == 0 || m == 0) return n + m;
    size_t max = n + m < AGT_LINES_MAX_COST ? n + m : AGT_LINES_MAX_COST;
    size_t size = (2 * max + 3) * sizeof local[0];
    int32_t *reach = max <= LINES_LOCAL ? local : agt__alloc(mem, size);
    if (!reach) return n + m;
    size_t d = lines_shortest(a, n, b, m, reach, (int32_t)max, w->left);
    if (reach != local) agt__free(mem, reach, size);
    return d == SIZE_MAX ? n + m : d;
}

/* The middles have n and m lines: the length of the shortest script, or n + m. */
static size_t lines_middle(const agt_mem *mem, lines_side a, size_t n, lines_side b, size_t m) {
    union {
        lines_slot table[2 * LINES_LOCAL];
        unsigned char bytes[2 * LINES_LOCAL * sizeof(lines_slot) + LINES_LOCAL * sizeof(uint32_t)];
    } local;
    lines_work w = {2, NULL, NULL, LINES_MAX_WORK};
    if (n == 0 || m == 0 || n + m == 2) return n + m; /* two single lines differ after step 1 */
    if (n + m > LINES_MAX_LINES || a.len > UINT32_MAX || b.len > UINT32_MAX) return n + m;
    while (w.slots < 2 * (n + m))
        w.slots *= 2;
    size_t size = w.slots * sizeof(lines_slot) + (n + m) * sizeof(uint32_t);
    bool fits = n + m <= LINES_LOCAL;
    unsigned char *scratch = fits ? local.bytes : agt__alloc(mem, size);
    if (!scratch) return n + m;
    w.table = (lines_slot *)(void *)scratch;
    w.ids = (uint32_t *)(void *)(scratch + w.slots * sizeof(lines_slot));
    memset(w.table, 0, w.slots * sizeof(lines_slot));
    size_t edits = n + m;
    if (lines_number(&w, a, 1, w.ids) && lines_number(&w, b, 2, w.ids + n)) {
        size_t kept_n = lines_keep(&w, w.ids, n), kept_m = lines_keep(&w, w.ids + n, m);
        edits = n - kept_n + (m - kept_m) + lines_edits(mem, &w, w.ids, kept_n, w.ids + n, kept_m);
    }
    if (!fits) agt__free(mem, scratch, size);
    return edits;
}

AGT_PRIVATE void agt__lines_changed(const agt_mem *mem, const void *old, size_t old_len,
                                    const void *now, size_t now_len, int64_t *added,
                                    int64_t *removed) {
    lines_side a = {old_len ? old : (const void *)"", old_len};
    lines_side b = {now_len ? now : (const void *)"", now_len};
    *added = *removed = 0;
    if (memchr(a.s, 0, a.len) || memchr(b.s, 0, b.len)) return;
    size_t head = lines_common_head(a.s, b.s, a.len < b.len ? a.len : b.len);
    a.s += head;
    b.s += head;
    a.len -= head;
    b.len -= head;
    size_t tail = lines_common_tail(a, b);
    a.len -= tail;
    b.len -= tail;
    size_t n = lines_count(a), m = lines_count(b), edits = lines_middle(mem, a, n, b, m);
    *added = (int64_t)((edits + m - n) / 2);
    *removed = (int64_t)((edits + n - m) / 2);
}
