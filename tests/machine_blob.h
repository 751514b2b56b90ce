/* machine_blob: sparse bytes that copies share; included by machine_disk.h. */
#ifndef AGT_MACHINE_BLOB_H
#define AGT_MACHINE_BLOB_H

#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISK_PAGE   4096u
#define DISK_SECTOR 512u
#define DISK_CHUNK  64u /* pages */

#if defined(__clang__) || defined(__GNUC__)
#define DISK_FAST __attribute__((no_sanitize("address", "undefined")))
#else
#define DISK_FAST
#endif

static void *disk_alloc(size_t n) {
    void *p = calloc(1, n ? n : 1);
    if (!p) abort();
    return p;
}

static void *disk_raw(size_t n) {
    void *p = malloc(n ? n : 1);
    if (!p) abort();
    return p;
}

static void *disk_grow(void *p, size_t n) {
    p = realloc(p, n ? n : 1);
    if (!p) abort();
    return p;
}

static uint64_t disk_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- blobs: sparse bytes. NULL is a blob of zeros without end ---- */

struct page {
    uint32_t refs;
    unsigned char b[DISK_PAGE];
};

struct chunk {
    uint32_t refs;
    struct page *p[DISK_CHUNK];
};

struct blob {
    uint32_t refs, n;
    struct chunk **c;
};

typedef uint64_t disk_words __attribute__((vector_size(32), aligned(1), may_alias));

/* A store pre-writes 8 MiB of zeros: finding them must be fast. How many bytes from the beginning
 * are zero, in whole steps of 256. */
DISK_FAST __attribute__((always_inline)) static inline size_t
disk_count_zeros(const unsigned char *p, size_t n) {
    size_t at = 0;
    for (; n - at >= 256; at += 256) {
        const disk_words *w = (const disk_words *)(p + at);
        disk_words x = (w[0] | w[1] | w[2] | w[3]) | (w[4] | w[5] | w[6] | w[7]);
        if (x[0] | x[1] | x[2] | x[3]) break;
    }
    return at;
}

#if defined(__x86_64__)
DISK_FAST __attribute__((target("avx2"))) static size_t disk_zeros_avx2(const unsigned char *p,
                                                                        size_t n) {
    return disk_count_zeros(p, n);
}
#endif

DISK_FAST static size_t disk_zeros(const unsigned char *p, size_t n) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return disk_zeros_avx2(p, n);
#endif
    return disk_count_zeros(p, n);
}

DISK_FAST static bool disk_all_zero(const unsigned char *p, size_t n) {
    if (n && p[0]) return false;
    size_t at = disk_zeros(p, n);
    if (n - at >= 256) return false;
    while (at < n && !p[at])
        at++;
    return at == n;
}

static void disk_page_unref(struct page *p) {
    if (p && --p->refs == 0) free(p);
}

static void disk_chunk_unref(struct chunk *c) {
    if (!c || --c->refs) return;
    for (unsigned i = 0; i < DISK_CHUNK; i++)
        disk_page_unref(c->p[i]);
    free(c);
}

static struct blob *disk_blob_ref(struct blob *b) {
    if (b) b->refs++;
    return b;
}

static void disk_blob_unref(struct blob *b) {
    if (!b || --b->refs) return;
    for (uint32_t i = 0; i < b->n; i++)
        disk_chunk_unref(b->c[i]);
    free(b->c);
    free(b);
}

static struct page *disk_page(const struct blob *b, uint64_t index) {
    uint64_t c = index / DISK_CHUNK;
    if (!b || c >= b->n || !b->c[c]) return NULL;
    return b->c[c]->p[index % DISK_CHUNK];
}

/* The blob as one's own, with room for chunk c. */
static struct blob *disk_own_blob(struct blob **pb, uint64_t c) {
    struct blob *b = *pb;
    if (!b || b->refs > 1) {
        struct blob *mine = disk_alloc(sizeof *mine);
        mine->refs = 1;
        mine->n = b ? b->n : 0;
        mine->c = disk_raw(mine->n * sizeof *mine->c);
        for (uint32_t i = 0; i < mine->n; i++) {
            mine->c[i] = b->c[i];
            if (mine->c[i]) mine->c[i]->refs++;
        }
        disk_blob_unref(b);
        *pb = b = mine;
    }
    if (c >= b->n) {
        b->c = disk_grow(b->c, (size_t)(c + 1) * sizeof *b->c);
        memset(b->c + b->n, 0, (size_t)(c + 1 - b->n) * sizeof *b->c);
        b->n = (uint32_t)c + 1;
    }
    return b;
}

static struct chunk *disk_own_chunk(struct blob **pb, uint64_t c) {
    struct blob *b = disk_own_blob(pb, c);
    struct chunk *old = b->c[c];
    if (old && old->refs == 1) return old;
    struct chunk *mine = disk_alloc(sizeof *mine);
    if (old) {
        memcpy(mine, old, sizeof *mine);
        for (unsigned i = 0; i < DISK_CHUNK; i++)
            if (mine->p[i]) mine->p[i]->refs++;
        disk_chunk_unref(old);
    }
    mine->refs = 1;
    return b->c[c] = mine;
}

static struct page *disk_own_page(struct blob **pb, uint64_t index) {
    struct chunk *c = disk_own_chunk(pb, index / DISK_CHUNK);
    struct page **slot = &c->p[index % DISK_CHUNK];
    if (*slot && (*slot)->refs == 1) return *slot;
    struct page *mine = disk_raw(sizeof *mine);
    if (*slot)
        memcpy(mine->b, (*slot)->b, DISK_PAGE);
    else
        memset(mine->b, 0, DISK_PAGE);
    disk_page_unref(*slot);
    mine->refs = 1;
    return *slot = mine;
}

static size_t disk_step(uint64_t off, size_t n) { /* bytes up to the page's end */
    size_t room = DISK_PAGE - (size_t)(off % DISK_PAGE);
    return n < room ? n : room;
}

static void disk_blob_read(const struct blob *b, uint64_t off, void *out, size_t n) {
    unsigned char *to = out;
    for (size_t step; n; n -= step, to += step, off += step) {
        const struct page *p = disk_page(b, off / DISK_PAGE);
        step = disk_step(off, n);
        if (p)
            memcpy(to, p->b + off % DISK_PAGE, step);
        else
            memset(to, 0, step);
    }
}

static bool disk_blob_same(const struct blob *b, uint64_t off, const void *data, size_t n) {
    const unsigned char *from = data;
    for (size_t step; n; n -= step, from += step, off += step) {
        const struct page *p = disk_page(b, off / DISK_PAGE);
        step = disk_step(off, n);
        if (p ? memcmp(from, p->b + off % DISK_PAGE, step) != 0 : !disk_all_zero(from, step))
            return false;
    }
    return true;
}

static void disk_blob_write(struct blob **pb, uint64_t off, const void *data, size_t n) {
    const unsigned char *from = data;
    for (size_t step; n; n -= step, from += step, off += step) {
        step = disk_step(off, n);
        if (!disk_page(*pb, off / DISK_PAGE) && disk_all_zero(from, step)) continue;
        memcpy(disk_own_page(pb, off / DISK_PAGE)->b + off % DISK_PAGE, from, step);
    }
}

static void disk_blob_zero(struct blob **pb, uint64_t off, uint64_t n) {
    uint64_t end = *pb ? (uint64_t)(*pb)->n * DISK_CHUNK * DISK_PAGE : 0;
    if (n > UINT64_MAX - off || off + n > end) n = end > off ? end - off : 0;
    for (uint64_t step; n; n -= step, off += step) {
        step = disk_step(off, n < DISK_PAGE ? (size_t)n : DISK_PAGE);
        uint64_t index = off / DISK_PAGE;
        if (!disk_page(*pb, index)) continue;
        if (step == DISK_PAGE) {
            struct page **slot = &disk_own_chunk(pb, index / DISK_CHUNK)->p[index % DISK_CHUNK];
            disk_page_unref(*slot);
            *slot = NULL;
        } else {
            memset(disk_own_page(pb, index)->b + off % DISK_PAGE, 0, (size_t)step);
        }
    }
}

#endif /* AGT_MACHINE_BLOB_H */
