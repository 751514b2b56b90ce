/* buf: a byte array that grows.
 *
 * Promises
 *  1. data[0..len) are the bytes; cap is the size of the allocation that data is (0: none yet).
 *  2. A growth that fails sets `failed`, keeps the bytes as they are, and makes every later call do
 *     nothing: writers put without checking and look at `failed` once.
 *  3. Growth is by doubling, so that n bytes cost O(n) however they arrive.
 *  4. Giving the bytes away copies nothing where the allocator can resize in place.
 */
#include "base.h"
#include "inner.h"

#define BUF_FIRST 64 /* the least that is allocated */

AGT_PRIVATE agt_buf agt__buf(const agt_mem *m) {
    agt_buf b = {m, NULL, 0, 0, false};
    return b;
}

AGT_PRIVATE void agt__buf_free(agt_buf *b) {
    agt__free(b->mem, b->data, b->cap);
    b->data = NULL;
    b->len = b->cap = 0;
    b->failed = false;
}

static bool buf_grow(agt_buf *b, size_t more) {
    size_t want, cap = b->cap > SIZE_MAX / 2 ? SIZE_MAX : b->cap * 2;
    if (!agt__add_size(b->len, more, &want)) {
        b->failed = true;
        return false;
    }
    if (cap < BUF_FIRST) cap = BUF_FIRST;
    if (cap < want) cap = want;
    unsigned char *data = agt__realloc(b->mem, b->data, b->cap, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

AGT_PRIVATE bool agt__buf_reserve(agt_buf *b, size_t more) {
    if (b->failed) return false;
    return more <= b->cap - b->len || buf_grow(b, more);
}

AGT_PRIVATE void agt__buf_put(agt_buf *b, const void *data, size_t n) {
    if (n == 0 || !agt__buf_reserve(b, n)) return;
    memcpy(b->data + b->len, data, n);
    b->len += n;
}

AGT_PRIVATE void agt__buf_byte(agt_buf *b, unsigned char c) {
    if (!agt__buf_reserve(b, 1)) return;
    b->data[b->len++] = c;
}

AGT_PRIVATE void agt__buf_text(agt_buf *b, const char *text) {
    agt__buf_put(b, text, strlen(text));
}

AGT_PRIVATE void agt__buf_u64(agt_buf *b, uint64_t v) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    agt__buf_put(b, digits + at, sizeof digits - at);
}

AGT_PRIVATE void agt__buf_zero(agt_buf *b, size_t n) {
    if (n == 0 || !agt__buf_reserve(b, n)) return;
    memset(b->data + b->len, 0, n);
    b->len += n;
}

AGT_PRIVATE agt_status agt__buf_give(agt_buf *b, agt_bytes *out, agt_error *err) {
    size_t offset, whole;
    unsigned char *data = b->data;
    memset(out, 0, sizeof *out);
    bool ok = !b->failed && agt__owner_size(b->len, &offset, &whole);
    if (ok && (b->cap < whole || b->cap - whole > b->cap / 4)) {
        data = agt__realloc(b->mem, data, b->cap, whole);
        if (data) {
            b->data = data;
            b->cap = whole;
        } else {
            ok = false;
        }
    }
    if (!ok) {
        agt__buf_free(b);
        return agt__nomem(err);
    }
    agt__owner_set(b->mem, data, b->len, offset, b->cap, out);
    b->data = NULL;
    b->len = b->cap = 0;
    return AGT_OK;
}
