/* memory: one allocator a handle, and the small helpers that every part needs around bytes.
 *
 * Promises
 *  1. All memory of a handle comes from its agt_allocator, which always hears the old size again.
 *     A request for 0 bytes is one for 1 byte, so that NULL means "out of memory" and nothing else.
 *  2. Bytes handed to the caller carry what is needed to free them: a trailer behind the bytes and
 *     their NUL, in the same allocation, with a copy of the allocator and the allocation's size.
 *     They may outlive the handle they came from. See memory_trailer and agt__buf_give.
 *  3. Sizes are added and multiplied with a check for overflow.
 *  4. Stored numbers are little-endian on every machine.
 */
#include "base.h"
#include "inner.h"

#include <stdlib.h>

static void *memory_resize(void *ctx, void *p, size_t old_size, size_t new_size) {
    (void)ctx;
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, new_size);
}

AGT_PRIVATE agt_mem agt__mem(const agt_allocator *allocator) {
    agt_mem m = {{NULL, memory_resize}};
    if (allocator) m.a = *allocator;
    AGENT_TRACE_ASSERT(m.a.resize);
    return m;
}

static size_t memory_size(size_t size) {
    return size ? size : 1;
} /* (1) */

AGT_PRIVATE void *agt__alloc(const agt_mem *m, size_t size) {
    return m->a.resize(m->a.ctx, NULL, 0, memory_size(size));
}

AGT_PRIVATE void *agt__zalloc(const agt_mem *m, size_t size) {
    void *p = agt__alloc(m, size);
    if (p) memset(p, 0, memory_size(size));
    return p;
}

AGT_PRIVATE void *agt__realloc(const agt_mem *m, void *p, size_t old_size, size_t new_size) {
    return m->a.resize(m->a.ctx, p, p ? memory_size(old_size) : 0, memory_size(new_size));
}

AGT_PRIVATE void agt__free(const agt_mem *m, void *p, size_t size) {
    if (p) (void)m->a.resize(m->a.ctx, p, memory_size(size), 0);
}

AGT_PRIVATE bool agt__add_size(size_t a, size_t b, size_t *out) {
    if (b > SIZE_MAX - a) return false;
    *out = a + b;
    return true;
}

AGT_PRIVATE bool agt__mul_size(size_t a, size_t b, size_t *out) {
    if (b && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

/* ---- bytes of the caller ---- */

AGT_PRIVATE bool agt__owner_size(size_t len, size_t *offset, size_t *whole) {
    const size_t align = _Alignof(agt_owner);
    if (!agt__add_size(len, 1 + align - 1, offset)) return false;
    *offset -= *offset % align;
    return agt__add_size(*offset, sizeof(agt_owner), whole);
}

AGT_PRIVATE void agt__owner_set(const agt_mem *m, unsigned char *data, size_t len, size_t offset,
                                size_t allocated, agt_bytes *out) {
    agt_owner owner = {m->a, allocated};
    data[len] = 0;
    memcpy(data + offset, &owner, sizeof owner);
    out->data = data;
    out->len = len;
    out->owner_ = data + offset;
}

void agt_bytes_free(agt_bytes *bytes) {
    AGENT_TRACE_ASSERT(bytes);
    if (bytes->owner_) {
        agt_owner owner;
        memcpy(&owner, bytes->owner_, sizeof owner);
        (void)owner.a.resize(owner.a.ctx, bytes->data, owner.size, 0);
    }
    bytes->data = NULL;
    bytes->len = 0;
    bytes->owner_ = NULL;
}

/* ---- text ---- */

AGT_PRIVATE agt_text agt__text(const char *s) {
    agt_text t = {s, s ? strlen(s) : 0};
    return t;
}

AGT_PRIVATE bool agt__text_is(agt_text t, const char *s) {
    return agt__text_eq(t, agt__text(s));
}

AGT_PRIVATE bool agt__text_eq(agt_text a, agt_text b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

AGT_PRIVATE bool agt__ends_in(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

AGT_PRIVATE bool agt__copy_text(char *out, size_t size, const char *data, size_t len) {
    if (size == 0) return false;
    size_t n = len < size ? len : size - 1;
    if (n) memcpy(out, data, n);
    out[n] = 0;
    return n == len;
}

/* ---- little-endian numbers ---- */

AGT_PRIVATE void agt__put32(unsigned char *p, uint32_t v) {
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

AGT_PRIVATE void agt__put64(unsigned char *p, uint64_t v) {
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

AGT_PRIVATE uint32_t agt__get32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

AGT_PRIVATE uint64_t agt__get64(const unsigned char *p) {
    return (uint64_t)agt__get32(p) | (uint64_t)agt__get32(p + 4) << 32;
}

/* ---- options ---- */

#define MEMORY_OPTIONS_MAX 4096 /* no struct of options is that big: such a size is garbage */

AGT_PRIVATE agt_status agt__options(void *out, size_t known_size, const void *in, const char *what,
                                    agt_error *err) {
    uint32_t size;
    memset(out, 0, known_size);
    if (!in) return AGT_OK;
    memcpy(&size, in, sizeof size);
    if (size < sizeof size || size > MEMORY_OPTIONS_MAX)
        return agt__fail(err, AGT_INVALID,
                         "%s has the size %lu; set the struct up with its _INIT macro", what,
                         (unsigned long)size);
    const unsigned char *bytes = in;
    for (size_t i = known_size; i < size; i++)
        if (bytes[i])
            return agt__fail_at(err, AGT_INVALID, (int64_t)i,
                                "%s sets an option (at byte %zu) that version %s does not know; "
                                "leave it zero or use a newer library",
                                what, i, AGENT_TRACE_VERSION);
    memcpy(out, in, size < known_size ? size : known_size);
    return AGT_OK;
}
