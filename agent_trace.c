/* agent_trace 1.0.0, in one file. Made from src/ by ./amalgamate: edit the parts, not this. */
/* agent_trace: the manifest. It is C and compiles as it stands; ./amalgamate makes the shipped
 * agent_trace.c from it by inlining each part once. The order is the architecture, ground up. */
#ifndef AGENT_TRACE_C
#define AGENT_TRACE_C
#endif
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define _GNU_SOURCE 1 /* renameat2, fallocate, openat2's syscall() */
#endif
#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1 /* flock, F_FULLFSYNC; the BSDs show all unless told otherwise */
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#if defined(__linux__) && !defined(_TIME_BITS)
#define _TIME_BITS 64
#endif
#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#include "agent_trace.h"

/* floor 1 */
/* begin src/base/status.c */
/* status: the closed list of statuses, and how a failure gets its one line of text.
 *
 * Promises
 *  1. Names, values, classes and texts come from AGT_STATUS_MAP and from nowhere else.
 *  2. A failing function fills the caller's agt_error as a whole: nothing of an older failure stays
 *     in it. A NULL error is allowed everywhere.
 *  3. A message is one line of text: control bytes become '?', it is always terminated, and when it
 *     is too long it is cut between characters, never inside one.
 *  4. The arguments of a message may point into the error that is being filled, so that a caller
 *     can put its own words before the message of the callee.
 */
/* begin src/base/base.h */
/* base: what every part stands on. Statuses and errors, memory, checked arithmetic, options.
 * Touches libc memory and strings only. */
#ifndef AGT_BASE_H
#define AGT_BASE_H

#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef AGENT_TRACE_ASSERT
#include <assert.h>
#define AGENT_TRACE_ASSERT(c) assert(c)
#endif

/* Private linkage: static in the shipped file, extern when tests look inside. Some build switches
 * leave private functions unused; then the compiler is told not to mind. */
#ifndef AGT_PRIVATE
#if defined(__GNUC__) && defined(AGENT_TRACE_NO_GIT)
#define AGT_PRIVATE __attribute__((unused)) static
#else
#define AGT_PRIVATE static
#endif
#endif

#if defined(__GNUC__)
#define AGT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define AGT_PRINTF(f, a)
#endif

#define AGT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- errors: fill the caller's struct and return the status, in one expression ---- */

/* Returns `status`; fills *err if err is not NULL (offset -1, sys 0). */
AGT_PRIVATE agt_status agt__fail(agt_error *err, agt_status status, const char *format, ...)
    AGT_PRINTF(3, 4);
/* The same with the byte offset of the damage or mistake. */
AGT_PRIVATE agt_status agt__fail_at(agt_error *err, agt_status status, int64_t offset,
                                    const char *format, ...) AGT_PRINTF(4, 5);
/* From a negative agt_sys result: maps its class to a status (NOENT: NOT_FOUND, NOMEM: NOMEM,
 * BUSY: BUSY, LOOP NOTDIR ISDIR NAME EXIST NOTEMPTY: INVALID, NOSYS: UNSUPPORTED, else IO) and
 * appends the system's code to the message. */
AGT_PRIVATE agt_status agt__fail_sys(agt_error *err, int64_t rc, const char *format, ...)
    AGT_PRINTF(3, 4);
/* As agt__fail_sys, but always AGT_IO: for files of ours that must be there. */
AGT_PRIVATE agt_status agt__fail_io(agt_error *err, int64_t rc, const char *format, ...)
    AGT_PRINTF(3, 4);
AGT_PRIVATE agt_status agt__nomem(agt_error *err);
/* For what fails on the way and is tried again or done without: the caller's error is written at
 * the end, and only if that is a failure. mine->status begins as AGT_OK: some
 * answers say no more than their status. Returns st. */
AGT_PRIVATE agt_status agt__answer(agt_status st, const agt_error *mine, agt_error *err);
/* Shortens a long path in the middle into `out` (at least 16 bytes) for a message; control bytes
 * become '?'. Returns out. */
AGT_PRIVATE const char *agt__show_path(char *out, size_t size, const char *path, size_t len);

/* ---- memory ---- */

typedef struct agt_mem {
    agt_allocator a;
} agt_mem;

/* NULL gives malloc's. */
AGT_PRIVATE agt_mem agt__mem(const agt_allocator *allocator);
AGT_PRIVATE void *agt__alloc(const agt_mem *m, size_t size); /* NULL when out of memory */
AGT_PRIVATE void *agt__zalloc(const agt_mem *m, size_t size);
AGT_PRIVATE void *agt__realloc(const agt_mem *m, void *p, size_t old_size, size_t new_size);
AGT_PRIVATE void agt__free(const agt_mem *m, void *p, size_t size); /* p may be NULL */

AGT_PRIVATE bool agt__add_size(size_t a, size_t b, size_t *out); /* false on overflow */
AGT_PRIVATE bool agt__mul_size(size_t a, size_t b, size_t *out);

/* ---- buf: a growing byte array. Zero-initialise, set mem. A failed growth sets `failed` and
 * makes every later call do nothing, so that one check at the end is enough. ---- */

typedef struct agt_buf {
    const agt_mem *mem;
    unsigned char *data; /* NULL until the first byte */
    size_t len, cap;
    bool failed;
} agt_buf;

AGT_PRIVATE agt_buf agt__buf(const agt_mem *m);
AGT_PRIVATE void agt__buf_free(agt_buf *b);
AGT_PRIVATE bool agt__buf_reserve(agt_buf *b, size_t more); /* room for `more` bytes behind len */
AGT_PRIVATE void agt__buf_put(agt_buf *b, const void *data, size_t n);
AGT_PRIVATE void agt__buf_byte(agt_buf *b, unsigned char c);
AGT_PRIVATE void agt__buf_text(agt_buf *b, const char *text);
AGT_PRIVATE void agt__buf_u64(agt_buf *b, uint64_t v); /* decimal */
AGT_PRIVATE void agt__buf_zero(agt_buf *b, size_t n);
/* Moves the contents into caller-owned bytes with a NUL behind; empties the buffer. */
AGT_PRIVATE agt_status agt__buf_give(agt_buf *b, agt_bytes *out, agt_error *err);

/* ---- text ---- */

AGT_PRIVATE agt_text agt__text(const char *s); /* of a NUL-terminated string; NULL gives NULL, 0 */
AGT_PRIVATE bool agt__text_is(agt_text t, const char *s);
AGT_PRIVATE bool agt__text_eq(agt_text a, agt_text b);
/* Copies at most size-1 bytes and terminates; false if it was cut. */
AGT_PRIVATE bool agt__copy_text(char *out, size_t size, const char *data, size_t len);

/* ---- little-endian numbers in stored bytes ---- */

AGT_PRIVATE void agt__put32(unsigned char *p, uint32_t v);
AGT_PRIVATE void agt__put64(unsigned char *p, uint64_t v);
AGT_PRIVATE uint32_t agt__get32(const unsigned char *p);
AGT_PRIVATE uint64_t agt__get64(const unsigned char *p);

/* ---- options: `out` (known_size bytes, first field uint32_t size) becomes what the caller
 * passed, zero where it knows less. NULL gives zeros. AGT_INVALID for a size that is none, or
 * non-zero bytes past what is known. ---- */
AGT_PRIVATE agt_status agt__options(void *out, size_t known_size, const void *in, const char *what,
                                    agt_error *err);

#endif /* AGT_BASE_H */
/* end src/base/base.h */

#include <stdio.h>

typedef enum status_class { STATUS_ANSWER, STATUS_ERROR } status_class;

const char *agt_status_name(agt_status status) {
    switch ((int)status) {
#define STATUS_NAME(name, value, kind, text)                                                       \
    case value: return #name;
        AGT_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    default: return "UNKNOWN";
    }
}

const char *agt_status_text(agt_status status) {
    switch ((int)status) {
#define STATUS_TEXT(name, value, kind, text)                                                       \
    case value: return text;
        AGT_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    default: return "not a status of this library";
    }
}

int agt_status_is_error(agt_status status) {
    status_class kind = STATUS_ERROR;
    switch ((int)status) {
#define STATUS_KIND(name, value, class_, text)                                                     \
    case value: kind = STATUS_##class_; break;
        AGT_STATUS_MAP(STATUS_KIND)
#undef STATUS_KIND
    default: break;
    }
    return kind == STATUS_ERROR;
}

const char *agt_version(void) {
    return AGENT_TRACE_VERSION;
}

/* The length of the character at s[0..n), judged by its form alone; 0 if it is no UTF-8 or would
 * steer a terminal (C0, DEL and C1 controls). */
static size_t status_char(const char *s, size_t n) {
    unsigned char c = (unsigned char)s[0];
    if (c < 0x80) return c >= 0x20 && c != 0x7f;
    size_t len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80) return 0;
    return c == 0xc2 && (unsigned char)s[1] < 0xa0 ? 0 : len;
}

/* Copies as many whole characters as fit into size-1 bytes, cleaned as (3) asks. Returns the
 * length written. */
static size_t status_clean(char *out, size_t size, const char *s, size_t n) {
    size_t at = 0, to = 0;
    while (at < n) {
        size_t len = status_char(s + at, n - at);
        size_t step = len ? len : 1;
        if (step > size - 1 - to) break;
        if (len)
            memcpy(out + to, s + at, len);
        else
            out[to] = '?';
        at += step;
        to += step;
    }
    out[to] = 0;
    return to;
}

/* A byte that begins a character, or any byte of what is no UTF-8 at all. */
static bool status_boundary(const char *s, size_t at) {
    return ((unsigned char)s[at] & 0xc0) != 0x80;
}

AGT_PRIVATE const char *agt__show_path(char *out, size_t size, const char *path, size_t len) {
    AGENT_TRACE_ASSERT(size >= 16);
    if (len < size) {
        status_clean(out, size, path, len);
        return out;
    }
    size_t room = size - 1 - 3, head = room / 2, tail = len - (room - room / 2);
    for (size_t i = 0; i < 3 && head > 0 && !status_boundary(path, head); i++)
        head--;
    for (size_t i = 0; i < 3 && tail < len && !status_boundary(path, tail); i++)
        tail++;
    size_t n = status_clean(out, head + 1, path, head);
    memcpy(out + n, "...", 3);
    status_clean(out + n + 3, size - n - 3, path + tail, len - tail);
    return out;
}

/* ---- failing ---- */

static agt_status status_fill(agt_error *err, agt_status status, int sys, int64_t offset,
                              const char *tail, const char *format, va_list args) AGT_PRINTF(6, 0);
static agt_status status_fill(agt_error *err, agt_status status, int sys, int64_t offset,
                              const char *tail, const char *format, va_list args) {
    if (!err) return status;
    char text[sizeof err->message + 4]; /* apart from err: (4); longer, to see the cut character */
    size_t room = sizeof err->message - strlen(tail);
    int n = vsnprintf(text, room + 4, format, args);
    size_t len = n < 0 ? 0 : (size_t)n < room + 4 ? (size_t)n : room + 3;
    err->status = status;
    err->sys = sys;
    err->outcome_unknown = 0;
    err->offset = offset;
    len = status_clean(err->message, room, text, len);
    (void)agt__copy_text(err->message + len, sizeof err->message - len, tail, strlen(tail));
    return status;
}

AGT_PRIVATE agt_status agt__fail(agt_error *err, agt_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    status_fill(err, status, 0, -1, "", format, args);
    va_end(args);
    return status;
}

AGT_PRIVATE agt_status agt__fail_at(agt_error *err, agt_status status, int64_t offset,
                                    const char *format, ...) {
    va_list args;
    va_start(args, format);
    status_fill(err, status, 0, offset, "", format, args);
    va_end(args);
    return status;
}

/* What an AGT_SYS class means for the caller: the status, and words for the message. */
static const struct status_sys {
    int cls;
    agt_status status;
    const char *words;
} status_sys_map[] = {
    {AGT_SYS_NOENT, AGT_NOT_FOUND, "no such file or folder"},
    {AGT_SYS_EXIST, AGT_INVALID, "the name is taken"},
    {AGT_SYS_NOTDIR, AGT_INVALID, "a part of the path is no folder"},
    {AGT_SYS_ISDIR, AGT_INVALID, "it is a folder"},
    {AGT_SYS_LOOP, AGT_INVALID, "it is a symbolic link"},
    {AGT_SYS_ACCESS, AGT_IO, "permission denied"},
    {AGT_SYS_NOSPC, AGT_IO, "no space left"},
    {AGT_SYS_BUSY, AGT_BUSY, "held by another owner"},
    {AGT_SYS_XDEV, AGT_IO, "it is on another file system"},
    {AGT_SYS_NOTEMPTY, AGT_INVALID, "the folder is not empty"},
    {AGT_SYS_NAME, AGT_INVALID, "the name is too long or not possible here"},
    {AGT_SYS_NOSYS, AGT_UNSUPPORTED, "this file system cannot do it"},
    {AGT_SYS_NOMEM, AGT_NOMEM, "out of memory"},
    {AGT_SYS_IO, AGT_IO, "input or output failed"},
};

static agt_status status_fill_sys(agt_error *err, int64_t rc, bool always_io, const char *format,
                                  va_list args) AGT_PRINTF(4, 0);
static agt_status status_fill_sys(agt_error *err, int64_t rc, bool always_io, const char *format,
                                  va_list args) {
    const struct status_sys *s = &status_sys_map[AGT_COUNT(status_sys_map) - 1];
    for (size_t i = 0; i < AGT_COUNT(status_sys_map); i++)
        if (status_sys_map[i].cls == AGT_SYS_CLASS(rc)) s = &status_sys_map[i];
    int code = AGT_SYS_CODE(rc);
    char tail[96];
    if (code)
        (void)snprintf(tail, sizeof tail, ": %s (system code %d)", s->words, code);
    else
        (void)snprintf(tail, sizeof tail, ": %s", s->words);
    return status_fill(err, always_io ? AGT_IO : s->status, code, -1, tail, format, args);
}

AGT_PRIVATE agt_status agt__fail_sys(agt_error *err, int64_t rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    agt_status status = status_fill_sys(err, rc, false, format, args);
    va_end(args);
    return status;
}

AGT_PRIVATE agt_status agt__fail_io(agt_error *err, int64_t rc, const char *format, ...) {
    va_list args;
    va_start(args, format);
    agt_status status = status_fill_sys(err, rc, true, format, args);
    va_end(args);
    return status;
}

AGT_PRIVATE agt_status agt__answer(agt_status st, const agt_error *mine, agt_error *err) {
    if (st != AGT_OK && err && mine->status == st) *err = *mine;
    return st;
}

AGT_PRIVATE agt_status agt__nomem(agt_error *err) {
    return agt__fail(err, AGT_NOMEM, "out of memory");
}
/* end src/base/status.c */
/* begin src/base/memory.c */
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
/* begin src/base/inner.h */
/* What the parts of base share among themselves: the trailer behind the caller's bytes. */
#ifndef AGT_BASE_INNER_H
#define AGT_BASE_INNER_H


typedef struct agt_owner {
    agt_allocator a;
    size_t size; /* of the whole allocation, trailer included */
} agt_owner;

/* Where the trailer of `len` bytes and their NUL begins, and the size of it all; false on
 * overflow. */
AGT_PRIVATE bool agt__owner_size(size_t len, size_t *offset, size_t *whole);
/* Writes the NUL and the trailer into an allocation of `allocated` bytes, and makes it *out. */
AGT_PRIVATE void agt__owner_set(const agt_mem *m, unsigned char *data, size_t len, size_t offset,
                                size_t allocated, agt_bytes *out);

#endif /* AGT_BASE_INNER_H */
/* end src/base/inner.h */

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
/* end src/base/memory.c */
/* begin src/base/buf.c */
/* buf: a byte array that grows.
 *
 * Promises
 *  1. data[0..len) are the bytes; cap is the size of the allocation that data is (0: none yet).
 *  2. A growth that fails sets `failed`, keeps the bytes as they are, and makes every later call do
 *     nothing: writers put without checking and look at `failed` once.
 *  3. Growth is by doubling, so that n bytes cost O(n) however they arrive.
 *  4. Giving the bytes away copies nothing where the allocator can resize in place.
 */

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
/* end src/base/buf.c */
/* floor 2 */
/* begin src/data/utf8.c */
/* utf8: what is valid UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing past U+10FFFF.
 *
 * The second byte decides everything that the first leaves open:
 *
 *     C2..DF  80..BF                 F0      90..BF 80..BF 80..BF
 *     E0      A0..BF 80..BF          F1..F3  80..BF 80..BF 80..BF
 *     E1..EC  80..BF 80..BF          F4      80..8F 80..BF 80..BF
 *     ED      80..9F 80..BF
 *     EE..EF  80..BF 80..BF          everything else begins no character
 */
/* begin src/data/data.h */
/* data: pure functions over bytes. No clock, no file, no global; every one of them may be handed
 * any bytes at all. These are what the fuzzers attack. */
#ifndef AGT_DATA_H
#define AGT_DATA_H


/* ---- utf8 ---- */

/* The number of leading bytes that are valid UTF-8 (no surrogates, no overlong forms, at most
 * U+10FFFF); n if all are. */
AGT_PRIVATE size_t agt__utf8_valid(const char *s, size_t n);
/* The length (1 to 4) of the valid character at the beginning; 0 if there is none. */
AGT_PRIVATE size_t agt__utf8_char(const char *s, size_t n);
/* The code point of a valid character of that length. */
AGT_PRIVATE uint32_t agt__utf8_code(const char *s, size_t len);
/* Writes a code point as 1 to 4 bytes; returns how many. */
AGT_PRIVATE size_t agt__utf8_put(char *out, uint32_t code);

/* ---- hash ---- */

/* What the processor can do; asked once per handle because asking may be slow. */
typedef struct agt_cpu {
    bool sha, crc32c;
} agt_cpu;
AGT_PRIVATE agt_cpu agt__cpu(void);

typedef struct agt_sha1_state {
    uint32_t h[5];
    uint64_t len;
    unsigned char block[64];
} agt_sha1_state;
AGT_PRIVATE void agt__sha1_init(agt_sha1_state *s);
AGT_PRIVATE void agt__sha1_update(agt_sha1_state *s, agt_cpu cpu, const void *data, size_t n);
AGT_PRIVATE void agt__sha1_final(agt_sha1_state *s, agt_cpu cpu, unsigned char out[20]);

typedef struct agt_sha256_state {
    uint32_t h[8];
    uint64_t len;
    unsigned char block[64];
} agt_sha256_state;
AGT_PRIVATE void agt__sha256_init(agt_sha256_state *s);
AGT_PRIVATE void agt__sha256_update(agt_sha256_state *s, agt_cpu cpu, const void *data, size_t n);
AGT_PRIVATE void agt__sha256_final(agt_sha256_state *s, agt_cpu cpu, unsigned char out[32]);
AGT_PRIVATE void agt__sha256(agt_cpu cpu, const void *data, size_t n, unsigned char out[32]);

/* An object's id in git. */
typedef struct agt_oid {
    unsigned char id[20];
} agt_oid;

/* git's id of an object: SHA-1 of "<kind> <len>\0" and the bytes; kind is "blob", "tree", ... */
AGT_PRIVATE void agt__git_id(agt_cpu cpu, const char *kind, const void *data, size_t n,
                             unsigned char out[20]);

/* crc32c (Castagnoli) of the bytes, going on from `seed` (0 to begin with). */
AGT_PRIVATE uint32_t agt__crc32c(agt_cpu cpu, uint32_t seed, const void *data, size_t n);

AGT_PRIVATE void agt__hex(const unsigned char *data, size_t n, char *out); /* 2n chars, no NUL */
/* Lower-case hexadecimal only; false unless exactly 2n digits. */
AGT_PRIVATE bool agt__unhex(const char *hex, size_t len, unsigned char *out, size_t n);

/* ---- time ---- */

#define AGT_TIME_TEXT 25                /* "2026-11-24T01:54:45.123Z" and a NUL */
#define AGT_TIME_MAX  253402300799999LL /* 9999-12-31T23:59:59.999Z */

/* RFC 3339 in UTC with milliseconds, from 1970 to 9999. */
AGT_PRIVATE void agt__time_format(int64_t unix_ms, char out[AGT_TIME_TEXT]);
/* RFC 3339 with any offset and 0 to 9 digits of fraction (cut to ms); false if it is none, if the
 * day does not exist, or outside 1970 to 9999. A leap second :60 is taken as :59.999. */
AGT_PRIVATE bool agt__time_parse(const char *s, size_t n, int64_t *unix_ms);

/* ---- json: RFC 8259. A value is a slice of the input; nothing is allocated ---- */

typedef enum agt_json_kind {
    AGT_JSON_NONE = 0, /* end of container */
    AGT_JSON_NULL,
    AGT_JSON_FALSE,
    AGT_JSON_TRUE,
    AGT_JSON_NUMBER,
    AGT_JSON_STRING,
    AGT_JSON_ARRAY,
    AGT_JSON_OBJECT
} agt_json_kind;

#define AGT_JSON_MAX_DEPTH 128

typedef struct agt_json {
    agt_json_kind kind;
    const char *raw; /* the value's own bytes in the input, quotes and brackets included */
    size_t len;
    bool escaped; /* a string with backslashes in it */
} agt_json;

/* Checks that the n bytes are exactly one valid JSON text (white space around it allowed): valid
 * UTF-8, no lone surrogates, no duplicate check, depth at most AGT_JSON_MAX_DEPTH. AGT_INVALID with
 * err->offset at the offending byte, AGT_LIMIT for the depth. */
AGT_PRIVATE agt_status agt__json_parse(const char *s, size_t n, agt_json *root, agt_error *err);

/* Walks the members of a valid object or the items of a valid array. Start with *at = 0; false at
 * the end. For arrays key may be NULL. Only for values that agt__json_parse accepted. */
AGT_PRIVATE bool agt__json_next(const agt_json *container, size_t *at, agt_json *key,
                                agt_json *value);
/* The member of that name (unescaped comparison), the first if there are several. */
AGT_PRIVATE bool agt__json_get(const agt_json *object, const char *name, agt_json *value);
/* The string's text without quotes, unescaped into `out` (which must have room for v->len bytes).
 * Returns the length. */
AGT_PRIVATE size_t agt__json_unescape(const agt_json *v, char *out);
/* Exact integers only: no fraction, no exponent, in range. */
AGT_PRIVATE bool agt__json_u64(const agt_json *v, uint64_t *out);
AGT_PRIVATE bool agt__json_i64(const agt_json *v, int64_t *out);

/* Writes a JSON string with quotes. Escapes '"', '\\' and control bytes only: \b \t \n \f \r, else
 * \u00xx in lower case (RFC 8785). Bytes that are not valid UTF-8 become U+FFFD. */
AGT_PRIVATE void agt__json_put_string(agt_buf *b, const char *s, size_t n);

/* ---- path: the rules for document paths, applied once ---- */

/* Normalises `path` into `out` (size AGT_MAX_PATH + 1): collapses "./" and "//", refuses what
 * SECURITY.md's path rules refuse (absolute, "..", .agent-trace and .git at any depth in any ASCII
 * case and their 8.3 forms, control bytes, '\\' ':' '<' '>' '"' '|' '?' '*', trailing dot or space
 * in a component, device names, invalid UTF-8, too long or deep, empty, a trailing slash).
 * AGT_INVALID or AGT_LIMIT with a message that says what, where and how to mend it; err->offset is
 * the byte. */
AGT_PRIVATE agt_status agt__path_normalise(const char *path, size_t len, char *out, size_t *out_len,
                                           agt_error *err);
/* May a store hold this path? A normalised one, and one that an older program recorded although
 * another system cannot store it (it has one of : < > " | ? *, say): history tells of it. Such a
 * path never leads out of the root either. */
AGT_PRIVATE bool agt__path_held(const char *path, size_t len);
/* ASCII case folded comparison, for names that clash on some systems; order by folded bytes. */
AGT_PRIVATE int agt__path_fold_compare(const char *a, size_t alen, const char *b, size_t blen);

/* ---- ignore: patterns in the language of .gitignore ---- */

#define AGT_IGNORE_MAX_LINE 1024 /* bytes in one pattern */

typedef struct agt_ignore_rule {
    const char *pattern; /* inside the text that was read */
    uint16_t len;
    uint16_t plain; /* bytes in front of the first wildcard */
    bool negative, folder_only, name_only;
} agt_ignore_rule;

typedef enum agt_ignore_answer {
    AGT_IGNORE_UNSAID = 0, /* no pattern matches */
    AGT_IGNORE_WANTED,     /* one that begins with ! */
    AGT_IGNORE_LEFT_OUT
} agt_ignore_answer;

/* How many rules the text may hold at most: its lines. */
AGT_PRIVATE size_t agt__ignore_lines(const char *text, size_t n);
/* Reads the text into `rules`, which has room for agt__ignore_lines; they point into it. AGT_LIMIT
 * with the byte of a line that is too long. */
AGT_PRIVATE agt_status agt__ignore_read(const char *text, size_t n, agt_ignore_rule *rules,
                                        size_t *count, agt_error *err);
/* What the rules say about this path alone (relative, no slash at its end); the last one that
 * matches decides. Who goes down the folders does not enter one that is left out: so all in it is
 * left out, too. */
AGT_PRIVATE agt_ignore_answer agt__ignore_one(const agt_ignore_rule *rules, size_t count,
                                              const char *path, size_t len, bool folder);
/* The patterns that come before the user's own: secrets, and what tools leave behind. */
AGT_PRIVATE const char *agt__ignore_usual(size_t *len);

/* ---- names ---- */

/* "user", "system" or "agent:<name>" where name is 1 to 64 bytes of UTF-8 without control bytes,
 * '<' '>' '/' '\\' ':' '"' or leading or trailing space, and not "." or "..". */
AGT_PRIVATE bool agt__actor_valid(const char *actor, size_t len);
AGT_PRIVATE bool agt__session_valid(const char *s, size_t len); /* 1..64 of [A-Za-z0-9._:-] */
AGT_PRIVATE bool agt__word_valid(const char *s, size_t len, bool dots); /* 1..64 of [a-z0-9_] (.) */

/* ---- toml: as much as config.toml needs ---- */

/* Calls `each` for every `key = value` with its table's name ("" at the top). Values are basic or
 * literal strings, integers, booleans, and (passed raw, kind AGT_TOML_OTHER) anything else. Each
 * `[[name]]` is told as well: its table, an empty key, kind AGT_TOML_OTHER. AGT_INVALID with the
 * byte offset. A non-AGT_OK answer of `each` stops and is returned. */
typedef enum agt_toml_kind {
    AGT_TOML_STRING = 1,
    AGT_TOML_INTEGER,
    AGT_TOML_BOOLEAN,
    AGT_TOML_OTHER
} agt_toml_kind;
typedef struct agt_toml_value {
    agt_toml_kind kind;
    agt_text text; /* a string's unescaped text (lives during the call), else the raw value */
    int64_t integer;
    bool boolean;
} agt_toml_value;
typedef agt_status (*agt_toml_fn)(agt_text table, agt_text key, const agt_toml_value *value,
                                  agt_error *err, void *ctx);
AGT_PRIVATE agt_status agt__toml_read(const char *s, size_t n, agt_toml_fn each, void *ctx,
                                      agt_error *err);
/* Writes a basic string with quotes, escaped. */
AGT_PRIVATE void agt__toml_put_string(agt_buf *b, const char *s, size_t n);

/* ---- lines: how many lines a change adds and removes ---- */

#define AGT_LINES_MAX_COST 1000

/* Exact for ordinary changes (shortest edit script), an upper bound for huge ones: common lines at
 * both ends are matched, then lines that only one side has, the rest by an edit script of at most
 * AGT_LINES_MAX_COST steps and within fixed time, else all of it counts. A NUL byte in either makes
 * it binary: 0 and 0. mem is for scratch; when it is out of memory the middle counts as a whole. */
AGT_PRIVATE void agt__lines_changed(const agt_mem *mem, const void *old, size_t old_len,
                                    const void *now, size_t now_len, int64_t *added,
                                    int64_t *removed);

#endif /* AGT_DATA_H */
/* end src/data/data.h */

static bool utf8_tail(unsigned char c) {
    return (c & 0xc0) == 0x80;
}

AGT_PRIVATE size_t agt__utf8_char(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0) return 0;
    if (s[0] < 0x80) return 1;
    if (n < 2 || s[0] < 0xc2 || !utf8_tail(s[1])) return 0;
    if (s[0] < 0xe0) return 2;
    if (n < 3 || !utf8_tail(s[2])) return 0;
    if (s[0] < 0xf0) {
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0;
        return 3;
    }
    if (n < 4 || s[0] > 0xf4 || !utf8_tail(s[3])) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0;
    return 4;
}

AGT_PRIVATE uint32_t agt__utf8_code(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    if (len == 1) return s[0];
    uint32_t code = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (s[i] & 0x3fu);
    return code;
}

AGT_PRIVATE size_t agt__utf8_put(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)((0xf00u >> len & 0xf0) | code);
    return len;
}

AGT_PRIVATE size_t agt__utf8_valid(const char *s, size_t n) {
    const uint64_t high = 0x8080808080808080u;
    size_t at = 0, len;
    while (at < n) {
        for (uint64_t a, b; n - at >= 16; at += 16) {
            memcpy(&a, s + at, 8);
            memcpy(&b, s + at + 8, 8);
            if ((a | b) & high) break;
        }
        while (at < n && (unsigned char)s[at] < 0x80)
            at++;
        while (at < n && (unsigned char)s[at] >= 0x80) {
            len = agt__utf8_char(s + at, n - at);
            if (len == 0) return at;
            at += len;
        }
    }
    return n;
}
/* end src/data/utf8.c */
/* begin src/data/hash.c */
/* hash: SHA-1 (git's ids), SHA-256 (the chain of the trace), crc32c (records), hexadecimal.
 *
 * Promises
 *  1. One result on every machine. The processor's own instructions are used where agt_cpu says
 *     they are there and the compiler knows them; both ways are tested against each other.
 *  2. Updates may come in pieces of any size; a whole block is hashed where it lies, without a
 * copy.
 *  3. SHA-1 names objects as git does and protects nothing. Where a forged text matters, SHA-256 is
 *     used.
 */
/* begin src/data/crc_table.h */
/* The tables of crc32c by eight bytes a step (reflected polynomial 0x82f63b78).
 * [0] is the table of one byte; [k][i] is [k-1][i] after one more zero byte. A test computes them
 * anew and compares. */
#ifndef AGT_DATA_CRC_TABLE_H
#define AGT_DATA_CRC_TABLE_H

#include <stdint.h>

// clang-format off
static const uint32_t hash_crc_table[8][256] = {
    {
    0x00000000, 0xf26b8303, 0xe13b70f7, 0x1350f3f4, 0xc79a971f, 0x35f1141c, 0x26a1e7e8, 0xd4ca64eb,
    0x8ad958cf, 0x78b2dbcc, 0x6be22838, 0x9989ab3b, 0x4d43cfd0, 0xbf284cd3, 0xac78bf27, 0x5e133c24,
    0x105ec76f, 0xe235446c, 0xf165b798, 0x030e349b, 0xd7c45070, 0x25afd373, 0x36ff2087, 0xc494a384,
    0x9a879fa0, 0x68ec1ca3, 0x7bbcef57, 0x89d76c54, 0x5d1d08bf, 0xaf768bbc, 0xbc267848, 0x4e4dfb4b,
    0x20bd8ede, 0xd2d60ddd, 0xc186fe29, 0x33ed7d2a, 0xe72719c1, 0x154c9ac2, 0x061c6936, 0xf477ea35,
    0xaa64d611, 0x580f5512, 0x4b5fa6e6, 0xb93425e5, 0x6dfe410e, 0x9f95c20d, 0x8cc531f9, 0x7eaeb2fa,
    0x30e349b1, 0xc288cab2, 0xd1d83946, 0x23b3ba45, 0xf779deae, 0x05125dad, 0x1642ae59, 0xe4292d5a,
    0xba3a117e, 0x4851927d, 0x5b016189, 0xa96ae28a, 0x7da08661, 0x8fcb0562, 0x9c9bf696, 0x6ef07595,
    0x417b1dbc, 0xb3109ebf, 0xa0406d4b, 0x522bee48, 0x86e18aa3, 0x748a09a0, 0x67dafa54, 0x95b17957,
    0xcba24573, 0x39c9c670, 0x2a993584, 0xd8f2b687, 0x0c38d26c, 0xfe53516f, 0xed03a29b, 0x1f682198,
    0x5125dad3, 0xa34e59d0, 0xb01eaa24, 0x42752927, 0x96bf4dcc, 0x64d4cecf, 0x77843d3b, 0x85efbe38,
    0xdbfc821c, 0x2997011f, 0x3ac7f2eb, 0xc8ac71e8, 0x1c661503, 0xee0d9600, 0xfd5d65f4, 0x0f36e6f7,
    0x61c69362, 0x93ad1061, 0x80fde395, 0x72966096, 0xa65c047d, 0x5437877e, 0x4767748a, 0xb50cf789,
    0xeb1fcbad, 0x197448ae, 0x0a24bb5a, 0xf84f3859, 0x2c855cb2, 0xdeeedfb1, 0xcdbe2c45, 0x3fd5af46,
    0x7198540d, 0x83f3d70e, 0x90a324fa, 0x62c8a7f9, 0xb602c312, 0x44694011, 0x5739b3e5, 0xa55230e6,
    0xfb410cc2, 0x092a8fc1, 0x1a7a7c35, 0xe811ff36, 0x3cdb9bdd, 0xceb018de, 0xdde0eb2a, 0x2f8b6829,
    0x82f63b78, 0x709db87b, 0x63cd4b8f, 0x91a6c88c, 0x456cac67, 0xb7072f64, 0xa457dc90, 0x563c5f93,
    0x082f63b7, 0xfa44e0b4, 0xe9141340, 0x1b7f9043, 0xcfb5f4a8, 0x3dde77ab, 0x2e8e845f, 0xdce5075c,
    0x92a8fc17, 0x60c37f14, 0x73938ce0, 0x81f80fe3, 0x55326b08, 0xa759e80b, 0xb4091bff, 0x466298fc,
    0x1871a4d8, 0xea1a27db, 0xf94ad42f, 0x0b21572c, 0xdfeb33c7, 0x2d80b0c4, 0x3ed04330, 0xccbbc033,
    0xa24bb5a6, 0x502036a5, 0x4370c551, 0xb11b4652, 0x65d122b9, 0x97baa1ba, 0x84ea524e, 0x7681d14d,
    0x2892ed69, 0xdaf96e6a, 0xc9a99d9e, 0x3bc21e9d, 0xef087a76, 0x1d63f975, 0x0e330a81, 0xfc588982,
    0xb21572c9, 0x407ef1ca, 0x532e023e, 0xa145813d, 0x758fe5d6, 0x87e466d5, 0x94b49521, 0x66df1622,
    0x38cc2a06, 0xcaa7a905, 0xd9f75af1, 0x2b9cd9f2, 0xff56bd19, 0x0d3d3e1a, 0x1e6dcdee, 0xec064eed,
    0xc38d26c4, 0x31e6a5c7, 0x22b65633, 0xd0ddd530, 0x0417b1db, 0xf67c32d8, 0xe52cc12c, 0x1747422f,
    0x49547e0b, 0xbb3ffd08, 0xa86f0efc, 0x5a048dff, 0x8ecee914, 0x7ca56a17, 0x6ff599e3, 0x9d9e1ae0,
    0xd3d3e1ab, 0x21b862a8, 0x32e8915c, 0xc083125f, 0x144976b4, 0xe622f5b7, 0xf5720643, 0x07198540,
    0x590ab964, 0xab613a67, 0xb831c993, 0x4a5a4a90, 0x9e902e7b, 0x6cfbad78, 0x7fab5e8c, 0x8dc0dd8f,
    0xe330a81a, 0x115b2b19, 0x020bd8ed, 0xf0605bee, 0x24aa3f05, 0xd6c1bc06, 0xc5914ff2, 0x37faccf1,
    0x69e9f0d5, 0x9b8273d6, 0x88d28022, 0x7ab90321, 0xae7367ca, 0x5c18e4c9, 0x4f48173d, 0xbd23943e,
    0xf36e6f75, 0x0105ec76, 0x12551f82, 0xe03e9c81, 0x34f4f86a, 0xc69f7b69, 0xd5cf889d, 0x27a40b9e,
    0x79b737ba, 0x8bdcb4b9, 0x988c474d, 0x6ae7c44e, 0xbe2da0a5, 0x4c4623a6, 0x5f16d052, 0xad7d5351,
    },
    {
    0x00000000, 0x13a29877, 0x274530ee, 0x34e7a899, 0x4e8a61dc, 0x5d28f9ab, 0x69cf5132, 0x7a6dc945,
    0x9d14c3b8, 0x8eb65bcf, 0xba51f356, 0xa9f36b21, 0xd39ea264, 0xc03c3a13, 0xf4db928a, 0xe7790afd,
    0x3fc5f181, 0x2c6769f6, 0x1880c16f, 0x0b225918, 0x714f905d, 0x62ed082a, 0x560aa0b3, 0x45a838c4,
    0xa2d13239, 0xb173aa4e, 0x859402d7, 0x96369aa0, 0xec5b53e5, 0xfff9cb92, 0xcb1e630b, 0xd8bcfb7c,
    0x7f8be302, 0x6c297b75, 0x58ced3ec, 0x4b6c4b9b, 0x310182de, 0x22a31aa9, 0x1644b230, 0x05e62a47,
    0xe29f20ba, 0xf13db8cd, 0xc5da1054, 0xd6788823, 0xac154166, 0xbfb7d911, 0x8b507188, 0x98f2e9ff,
    0x404e1283, 0x53ec8af4, 0x670b226d, 0x74a9ba1a, 0x0ec4735f, 0x1d66eb28, 0x298143b1, 0x3a23dbc6,
    0xdd5ad13b, 0xcef8494c, 0xfa1fe1d5, 0xe9bd79a2, 0x93d0b0e7, 0x80722890, 0xb4958009, 0xa737187e,
    0xff17c604, 0xecb55e73, 0xd852f6ea, 0xcbf06e9d, 0xb19da7d8, 0xa23f3faf, 0x96d89736, 0x857a0f41,
    0x620305bc, 0x71a19dcb, 0x45463552, 0x56e4ad25, 0x2c896460, 0x3f2bfc17, 0x0bcc548e, 0x186eccf9,
    0xc0d23785, 0xd370aff2, 0xe797076b, 0xf4359f1c, 0x8e585659, 0x9dface2e, 0xa91d66b7, 0xbabffec0,
    0x5dc6f43d, 0x4e646c4a, 0x7a83c4d3, 0x69215ca4, 0x134c95e1, 0x00ee0d96, 0x3409a50f, 0x27ab3d78,
    0x809c2506, 0x933ebd71, 0xa7d915e8, 0xb47b8d9f, 0xce1644da, 0xddb4dcad, 0xe9537434, 0xfaf1ec43,
    0x1d88e6be, 0x0e2a7ec9, 0x3acdd650, 0x296f4e27, 0x53028762, 0x40a01f15, 0x7447b78c, 0x67e52ffb,
    0xbf59d487, 0xacfb4cf0, 0x981ce469, 0x8bbe7c1e, 0xf1d3b55b, 0xe2712d2c, 0xd69685b5, 0xc5341dc2,
    0x224d173f, 0x31ef8f48, 0x050827d1, 0x16aabfa6, 0x6cc776e3, 0x7f65ee94, 0x4b82460d, 0x5820de7a,
    0xfbc3faf9, 0xe861628e, 0xdc86ca17, 0xcf245260, 0xb5499b25, 0xa6eb0352, 0x920cabcb, 0x81ae33bc,
    0x66d73941, 0x7575a136, 0x419209af, 0x523091d8, 0x285d589d, 0x3bffc0ea, 0x0f186873, 0x1cbaf004,
    0xc4060b78, 0xd7a4930f, 0xe3433b96, 0xf0e1a3e1, 0x8a8c6aa4, 0x992ef2d3, 0xadc95a4a, 0xbe6bc23d,
    0x5912c8c0, 0x4ab050b7, 0x7e57f82e, 0x6df56059, 0x1798a91c, 0x043a316b, 0x30dd99f2, 0x237f0185,
    0x844819fb, 0x97ea818c, 0xa30d2915, 0xb0afb162, 0xcac27827, 0xd960e050, 0xed8748c9, 0xfe25d0be,
    0x195cda43, 0x0afe4234, 0x3e19eaad, 0x2dbb72da, 0x57d6bb9f, 0x447423e8, 0x70938b71, 0x63311306,
    0xbb8de87a, 0xa82f700d, 0x9cc8d894, 0x8f6a40e3, 0xf50789a6, 0xe6a511d1, 0xd242b948, 0xc1e0213f,
    0x26992bc2, 0x353bb3b5, 0x01dc1b2c, 0x127e835b, 0x68134a1e, 0x7bb1d269, 0x4f567af0, 0x5cf4e287,
    0x04d43cfd, 0x1776a48a, 0x23910c13, 0x30339464, 0x4a5e5d21, 0x59fcc556, 0x6d1b6dcf, 0x7eb9f5b8,
    0x99c0ff45, 0x8a626732, 0xbe85cfab, 0xad2757dc, 0xd74a9e99, 0xc4e806ee, 0xf00fae77, 0xe3ad3600,
    0x3b11cd7c, 0x28b3550b, 0x1c54fd92, 0x0ff665e5, 0x759baca0, 0x663934d7, 0x52de9c4e, 0x417c0439,
    0xa6050ec4, 0xb5a796b3, 0x81403e2a, 0x92e2a65d, 0xe88f6f18, 0xfb2df76f, 0xcfca5ff6, 0xdc68c781,
    0x7b5fdfff, 0x68fd4788, 0x5c1aef11, 0x4fb87766, 0x35d5be23, 0x26772654, 0x12908ecd, 0x013216ba,
    0xe64b1c47, 0xf5e98430, 0xc10e2ca9, 0xd2acb4de, 0xa8c17d9b, 0xbb63e5ec, 0x8f844d75, 0x9c26d502,
    0x449a2e7e, 0x5738b609, 0x63df1e90, 0x707d86e7, 0x0a104fa2, 0x19b2d7d5, 0x2d557f4c, 0x3ef7e73b,
    0xd98eedc6, 0xca2c75b1, 0xfecbdd28, 0xed69455f, 0x97048c1a, 0x84a6146d, 0xb041bcf4, 0xa3e32483,
    },
    {
    0x00000000, 0xa541927e, 0x4f6f520d, 0xea2ec073, 0x9edea41a, 0x3b9f3664, 0xd1b1f617, 0x74f06469,
    0x38513ec5, 0x9d10acbb, 0x773e6cc8, 0xd27ffeb6, 0xa68f9adf, 0x03ce08a1, 0xe9e0c8d2, 0x4ca15aac,
    0x70a27d8a, 0xd5e3eff4, 0x3fcd2f87, 0x9a8cbdf9, 0xee7cd990, 0x4b3d4bee, 0xa1138b9d, 0x045219e3,
    0x48f3434f, 0xedb2d131, 0x079c1142, 0xa2dd833c, 0xd62de755, 0x736c752b, 0x9942b558, 0x3c032726,
    0xe144fb14, 0x4405696a, 0xae2ba919, 0x0b6a3b67, 0x7f9a5f0e, 0xdadbcd70, 0x30f50d03, 0x95b49f7d,
    0xd915c5d1, 0x7c5457af, 0x967a97dc, 0x333b05a2, 0x47cb61cb, 0xe28af3b5, 0x08a433c6, 0xade5a1b8,
    0x91e6869e, 0x34a714e0, 0xde89d493, 0x7bc846ed, 0x0f382284, 0xaa79b0fa, 0x40577089, 0xe516e2f7,
    0xa9b7b85b, 0x0cf62a25, 0xe6d8ea56, 0x43997828, 0x37691c41, 0x92288e3f, 0x78064e4c, 0xdd47dc32,
    0xc76580d9, 0x622412a7, 0x880ad2d4, 0x2d4b40aa, 0x59bb24c3, 0xfcfab6bd, 0x16d476ce, 0xb395e4b0,
    0xff34be1c, 0x5a752c62, 0xb05bec11, 0x151a7e6f, 0x61ea1a06, 0xc4ab8878, 0x2e85480b, 0x8bc4da75,
    0xb7c7fd53, 0x12866f2d, 0xf8a8af5e, 0x5de93d20, 0x29195949, 0x8c58cb37, 0x66760b44, 0xc337993a,
    0x8f96c396, 0x2ad751e8, 0xc0f9919b, 0x65b803e5, 0x1148678c, 0xb409f5f2, 0x5e273581, 0xfb66a7ff,
    0x26217bcd, 0x8360e9b3, 0x694e29c0, 0xcc0fbbbe, 0xb8ffdfd7, 0x1dbe4da9, 0xf7908dda, 0x52d11fa4,
    0x1e704508, 0xbb31d776, 0x511f1705, 0xf45e857b, 0x80aee112, 0x25ef736c, 0xcfc1b31f, 0x6a802161,
    0x56830647, 0xf3c29439, 0x19ec544a, 0xbcadc634, 0xc85da25d, 0x6d1c3023, 0x8732f050, 0x2273622e,
    0x6ed23882, 0xcb93aafc, 0x21bd6a8f, 0x84fcf8f1, 0xf00c9c98, 0x554d0ee6, 0xbf63ce95, 0x1a225ceb,
    0x8b277743, 0x2e66e53d, 0xc448254e, 0x6109b730, 0x15f9d359, 0xb0b84127, 0x5a968154, 0xffd7132a,
    0xb3764986, 0x1637dbf8, 0xfc191b8b, 0x595889f5, 0x2da8ed9c, 0x88e97fe2, 0x62c7bf91, 0xc7862def,
    0xfb850ac9, 0x5ec498b7, 0xb4ea58c4, 0x11abcaba, 0x655baed3, 0xc01a3cad, 0x2a34fcde, 0x8f756ea0,
    0xc3d4340c, 0x6695a672, 0x8cbb6601, 0x29faf47f, 0x5d0a9016, 0xf84b0268, 0x1265c21b, 0xb7245065,
    0x6a638c57, 0xcf221e29, 0x250cde5a, 0x804d4c24, 0xf4bd284d, 0x51fcba33, 0xbbd27a40, 0x1e93e83e,
    0x5232b292, 0xf77320ec, 0x1d5de09f, 0xb81c72e1, 0xccec1688, 0x69ad84f6, 0x83834485, 0x26c2d6fb,
    0x1ac1f1dd, 0xbf8063a3, 0x55aea3d0, 0xf0ef31ae, 0x841f55c7, 0x215ec7b9, 0xcb7007ca, 0x6e3195b4,
    0x2290cf18, 0x87d15d66, 0x6dff9d15, 0xc8be0f6b, 0xbc4e6b02, 0x190ff97c, 0xf321390f, 0x5660ab71,
    0x4c42f79a, 0xe90365e4, 0x032da597, 0xa66c37e9, 0xd29c5380, 0x77ddc1fe, 0x9df3018d, 0x38b293f3,
    0x7413c95f, 0xd1525b21, 0x3b7c9b52, 0x9e3d092c, 0xeacd6d45, 0x4f8cff3b, 0xa5a23f48, 0x00e3ad36,
    0x3ce08a10, 0x99a1186e, 0x738fd81d, 0xd6ce4a63, 0xa23e2e0a, 0x077fbc74, 0xed517c07, 0x4810ee79,
    0x04b1b4d5, 0xa1f026ab, 0x4bdee6d8, 0xee9f74a6, 0x9a6f10cf, 0x3f2e82b1, 0xd50042c2, 0x7041d0bc,
    0xad060c8e, 0x08479ef0, 0xe2695e83, 0x4728ccfd, 0x33d8a894, 0x96993aea, 0x7cb7fa99, 0xd9f668e7,
    0x9557324b, 0x3016a035, 0xda386046, 0x7f79f238, 0x0b899651, 0xaec8042f, 0x44e6c45c, 0xe1a75622,
    0xdda47104, 0x78e5e37a, 0x92cb2309, 0x378ab177, 0x437ad51e, 0xe63b4760, 0x0c158713, 0xa954156d,
    0xe5f54fc1, 0x40b4ddbf, 0xaa9a1dcc, 0x0fdb8fb2, 0x7b2bebdb, 0xde6a79a5, 0x3444b9d6, 0x91052ba8,
    },
    {
    0x00000000, 0xdd45aab8, 0xbf672381, 0x62228939, 0x7b2231f3, 0xa6679b4b, 0xc4451272, 0x1900b8ca,
    0xf64463e6, 0x2b01c95e, 0x49234067, 0x9466eadf, 0x8d665215, 0x5023f8ad, 0x32017194, 0xef44db2c,
    0xe964b13d, 0x34211b85, 0x560392bc, 0x8b463804, 0x924680ce, 0x4f032a76, 0x2d21a34f, 0xf06409f7,
    0x1f20d2db, 0xc2657863, 0xa047f15a, 0x7d025be2, 0x6402e328, 0xb9474990, 0xdb65c0a9, 0x06206a11,
    0xd725148b, 0x0a60be33, 0x6842370a, 0xb5079db2, 0xac072578, 0x71428fc0, 0x136006f9, 0xce25ac41,
    0x2161776d, 0xfc24ddd5, 0x9e0654ec, 0x4343fe54, 0x5a43469e, 0x8706ec26, 0xe524651f, 0x3861cfa7,
    0x3e41a5b6, 0xe3040f0e, 0x81268637, 0x5c632c8f, 0x45639445, 0x98263efd, 0xfa04b7c4, 0x27411d7c,
    0xc805c650, 0x15406ce8, 0x7762e5d1, 0xaa274f69, 0xb327f7a3, 0x6e625d1b, 0x0c40d422, 0xd1057e9a,
    0xaba65fe7, 0x76e3f55f, 0x14c17c66, 0xc984d6de, 0xd0846e14, 0x0dc1c4ac, 0x6fe34d95, 0xb2a6e72d,
    0x5de23c01, 0x80a796b9, 0xe2851f80, 0x3fc0b538, 0x26c00df2, 0xfb85a74a, 0x99a72e73, 0x44e284cb,
    0x42c2eeda, 0x9f874462, 0xfda5cd5b, 0x20e067e3, 0x39e0df29, 0xe4a57591, 0x8687fca8, 0x5bc25610,
    0xb4868d3c, 0x69c32784, 0x0be1aebd, 0xd6a40405, 0xcfa4bccf, 0x12e11677, 0x70c39f4e, 0xad8635f6,
    0x7c834b6c, 0xa1c6e1d4, 0xc3e468ed, 0x1ea1c255, 0x07a17a9f, 0xdae4d027, 0xb8c6591e, 0x6583f3a6,
    0x8ac7288a, 0x57828232, 0x35a00b0b, 0xe8e5a1b3, 0xf1e51979, 0x2ca0b3c1, 0x4e823af8, 0x93c79040,
    0x95e7fa51, 0x48a250e9, 0x2a80d9d0, 0xf7c57368, 0xeec5cba2, 0x3380611a, 0x51a2e823, 0x8ce7429b,
    0x63a399b7, 0xbee6330f, 0xdcc4ba36, 0x0181108e, 0x1881a844, 0xc5c402fc, 0xa7e68bc5, 0x7aa3217d,
    0x52a0c93f, 0x8fe56387, 0xedc7eabe, 0x30824006, 0x2982f8cc, 0xf4c75274, 0x96e5db4d, 0x4ba071f5,
    0xa4e4aad9, 0x79a10061, 0x1b838958, 0xc6c623e0, 0xdfc69b2a, 0x02833192, 0x60a1b8ab, 0xbde41213,
    0xbbc47802, 0x6681d2ba, 0x04a35b83, 0xd9e6f13b, 0xc0e649f1, 0x1da3e349, 0x7f816a70, 0xa2c4c0c8,
    0x4d801be4, 0x90c5b15c, 0xf2e73865, 0x2fa292dd, 0x36a22a17, 0xebe780af, 0x89c50996, 0x5480a32e,
    0x8585ddb4, 0x58c0770c, 0x3ae2fe35, 0xe7a7548d, 0xfea7ec47, 0x23e246ff, 0x41c0cfc6, 0x9c85657e,
    0x73c1be52, 0xae8414ea, 0xcca69dd3, 0x11e3376b, 0x08e38fa1, 0xd5a62519, 0xb784ac20, 0x6ac10698,
    0x6ce16c89, 0xb1a4c631, 0xd3864f08, 0x0ec3e5b0, 0x17c35d7a, 0xca86f7c2, 0xa8a47efb, 0x75e1d443,
    0x9aa50f6f, 0x47e0a5d7, 0x25c22cee, 0xf8878656, 0xe1873e9c, 0x3cc29424, 0x5ee01d1d, 0x83a5b7a5,
    0xf90696d8, 0x24433c60, 0x4661b559, 0x9b241fe1, 0x8224a72b, 0x5f610d93, 0x3d4384aa, 0xe0062e12,
    0x0f42f53e, 0xd2075f86, 0xb025d6bf, 0x6d607c07, 0x7460c4cd, 0xa9256e75, 0xcb07e74c, 0x16424df4,
    0x106227e5, 0xcd278d5d, 0xaf050464, 0x7240aedc, 0x6b401616, 0xb605bcae, 0xd4273597, 0x09629f2f,
    0xe6264403, 0x3b63eebb, 0x59416782, 0x8404cd3a, 0x9d0475f0, 0x4041df48, 0x22635671, 0xff26fcc9,
    0x2e238253, 0xf36628eb, 0x9144a1d2, 0x4c010b6a, 0x5501b3a0, 0x88441918, 0xea669021, 0x37233a99,
    0xd867e1b5, 0x05224b0d, 0x6700c234, 0xba45688c, 0xa345d046, 0x7e007afe, 0x1c22f3c7, 0xc167597f,
    0xc747336e, 0x1a0299d6, 0x782010ef, 0xa565ba57, 0xbc65029d, 0x6120a825, 0x0302211c, 0xde478ba4,
    0x31035088, 0xec46fa30, 0x8e647309, 0x5321d9b1, 0x4a21617b, 0x9764cbc3, 0xf54642fa, 0x2803e842,
    },
    {
    0x00000000, 0x38116fac, 0x7022df58, 0x4833b0f4, 0xe045beb0, 0xd854d11c, 0x906761e8, 0xa8760e44,
    0xc5670b91, 0xfd76643d, 0xb545d4c9, 0x8d54bb65, 0x2522b521, 0x1d33da8d, 0x55006a79, 0x6d1105d5,
    0x8f2261d3, 0xb7330e7f, 0xff00be8b, 0xc711d127, 0x6f67df63, 0x5776b0cf, 0x1f45003b, 0x27546f97,
    0x4a456a42, 0x725405ee, 0x3a67b51a, 0x0276dab6, 0xaa00d4f2, 0x9211bb5e, 0xda220baa, 0xe2336406,
    0x1ba8b557, 0x23b9dafb, 0x6b8a6a0f, 0x539b05a3, 0xfbed0be7, 0xc3fc644b, 0x8bcfd4bf, 0xb3debb13,
    0xdecfbec6, 0xe6ded16a, 0xaeed619e, 0x96fc0e32, 0x3e8a0076, 0x069b6fda, 0x4ea8df2e, 0x76b9b082,
    0x948ad484, 0xac9bbb28, 0xe4a80bdc, 0xdcb96470, 0x74cf6a34, 0x4cde0598, 0x04edb56c, 0x3cfcdac0,
    0x51eddf15, 0x69fcb0b9, 0x21cf004d, 0x19de6fe1, 0xb1a861a5, 0x89b90e09, 0xc18abefd, 0xf99bd151,
    0x37516aae, 0x0f400502, 0x4773b5f6, 0x7f62da5a, 0xd714d41e, 0xef05bbb2, 0xa7360b46, 0x9f2764ea,
    0xf236613f, 0xca270e93, 0x8214be67, 0xba05d1cb, 0x1273df8f, 0x2a62b023, 0x625100d7, 0x5a406f7b,
    0xb8730b7d, 0x806264d1, 0xc851d425, 0xf040bb89, 0x5836b5cd, 0x6027da61, 0x28146a95, 0x10050539,
    0x7d1400ec, 0x45056f40, 0x0d36dfb4, 0x3527b018, 0x9d51be5c, 0xa540d1f0, 0xed736104, 0xd5620ea8,
    0x2cf9dff9, 0x14e8b055, 0x5cdb00a1, 0x64ca6f0d, 0xccbc6149, 0xf4ad0ee5, 0xbc9ebe11, 0x848fd1bd,
    0xe99ed468, 0xd18fbbc4, 0x99bc0b30, 0xa1ad649c, 0x09db6ad8, 0x31ca0574, 0x79f9b580, 0x41e8da2c,
    0xa3dbbe2a, 0x9bcad186, 0xd3f96172, 0xebe80ede, 0x439e009a, 0x7b8f6f36, 0x33bcdfc2, 0x0badb06e,
    0x66bcb5bb, 0x5eadda17, 0x169e6ae3, 0x2e8f054f, 0x86f90b0b, 0xbee864a7, 0xf6dbd453, 0xcecabbff,
    0x6ea2d55c, 0x56b3baf0, 0x1e800a04, 0x269165a8, 0x8ee76bec, 0xb6f60440, 0xfec5b4b4, 0xc6d4db18,
    0xabc5decd, 0x93d4b161, 0xdbe70195, 0xe3f66e39, 0x4b80607d, 0x73910fd1, 0x3ba2bf25, 0x03b3d089,
    0xe180b48f, 0xd991db23, 0x91a26bd7, 0xa9b3047b, 0x01c50a3f, 0x39d46593, 0x71e7d567, 0x49f6bacb,
    0x24e7bf1e, 0x1cf6d0b2, 0x54c56046, 0x6cd40fea, 0xc4a201ae, 0xfcb36e02, 0xb480def6, 0x8c91b15a,
    0x750a600b, 0x4d1b0fa7, 0x0528bf53, 0x3d39d0ff, 0x954fdebb, 0xad5eb117, 0xe56d01e3, 0xdd7c6e4f,
    0xb06d6b9a, 0x887c0436, 0xc04fb4c2, 0xf85edb6e, 0x5028d52a, 0x6839ba86, 0x200a0a72, 0x181b65de,
    0xfa2801d8, 0xc2396e74, 0x8a0ade80, 0xb21bb12c, 0x1a6dbf68, 0x227cd0c4, 0x6a4f6030, 0x525e0f9c,
    0x3f4f0a49, 0x075e65e5, 0x4f6dd511, 0x777cbabd, 0xdf0ab4f9, 0xe71bdb55, 0xaf286ba1, 0x9739040d,
    0x59f3bff2, 0x61e2d05e, 0x29d160aa, 0x11c00f06, 0xb9b60142, 0x81a76eee, 0xc994de1a, 0xf185b1b6,
    0x9c94b463, 0xa485dbcf, 0xecb66b3b, 0xd4a70497, 0x7cd10ad3, 0x44c0657f, 0x0cf3d58b, 0x34e2ba27,
    0xd6d1de21, 0xeec0b18d, 0xa6f30179, 0x9ee26ed5, 0x36946091, 0x0e850f3d, 0x46b6bfc9, 0x7ea7d065,
    0x13b6d5b0, 0x2ba7ba1c, 0x63940ae8, 0x5b856544, 0xf3f36b00, 0xcbe204ac, 0x83d1b458, 0xbbc0dbf4,
    0x425b0aa5, 0x7a4a6509, 0x3279d5fd, 0x0a68ba51, 0xa21eb415, 0x9a0fdbb9, 0xd23c6b4d, 0xea2d04e1,
    0x873c0134, 0xbf2d6e98, 0xf71ede6c, 0xcf0fb1c0, 0x6779bf84, 0x5f68d028, 0x175b60dc, 0x2f4a0f70,
    0xcd796b76, 0xf56804da, 0xbd5bb42e, 0x854adb82, 0x2d3cd5c6, 0x152dba6a, 0x5d1e0a9e, 0x650f6532,
    0x081e60e7, 0x300f0f4b, 0x783cbfbf, 0x402dd013, 0xe85bde57, 0xd04ab1fb, 0x9879010f, 0xa0686ea3,
    },
    {
    0x00000000, 0xef306b19, 0xdb8ca0c3, 0x34bccbda, 0xb2f53777, 0x5dc55c6e, 0x697997b4, 0x8649fcad,
    0x6006181f, 0x8f367306, 0xbb8ab8dc, 0x54bad3c5, 0xd2f32f68, 0x3dc34471, 0x097f8fab, 0xe64fe4b2,
    0xc00c303e, 0x2f3c5b27, 0x1b8090fd, 0xf4b0fbe4, 0x72f90749, 0x9dc96c50, 0xa975a78a, 0x4645cc93,
    0xa00a2821, 0x4f3a4338, 0x7b8688e2, 0x94b6e3fb, 0x12ff1f56, 0xfdcf744f, 0xc973bf95, 0x2643d48c,
    0x85f4168d, 0x6ac47d94, 0x5e78b64e, 0xb148dd57, 0x370121fa, 0xd8314ae3, 0xec8d8139, 0x03bdea20,
    0xe5f20e92, 0x0ac2658b, 0x3e7eae51, 0xd14ec548, 0x570739e5, 0xb83752fc, 0x8c8b9926, 0x63bbf23f,
    0x45f826b3, 0xaac84daa, 0x9e748670, 0x7144ed69, 0xf70d11c4, 0x183d7add, 0x2c81b107, 0xc3b1da1e,
    0x25fe3eac, 0xcace55b5, 0xfe729e6f, 0x1142f576, 0x970b09db, 0x783b62c2, 0x4c87a918, 0xa3b7c201,
    0x0e045beb, 0xe13430f2, 0xd588fb28, 0x3ab89031, 0xbcf16c9c, 0x53c10785, 0x677dcc5f, 0x884da746,
    0x6e0243f4, 0x813228ed, 0xb58ee337, 0x5abe882e, 0xdcf77483, 0x33c71f9a, 0x077bd440, 0xe84bbf59,
    0xce086bd5, 0x213800cc, 0x1584cb16, 0xfab4a00f, 0x7cfd5ca2, 0x93cd37bb, 0xa771fc61, 0x48419778,
    0xae0e73ca, 0x413e18d3, 0x7582d309, 0x9ab2b810, 0x1cfb44bd, 0xf3cb2fa4, 0xc777e47e, 0x28478f67,
    0x8bf04d66, 0x64c0267f, 0x507ceda5, 0xbf4c86bc, 0x39057a11, 0xd6351108, 0xe289dad2, 0x0db9b1cb,
    0xebf65579, 0x04c63e60, 0x307af5ba, 0xdf4a9ea3, 0x5903620e, 0xb6330917, 0x828fc2cd, 0x6dbfa9d4,
    0x4bfc7d58, 0xa4cc1641, 0x9070dd9b, 0x7f40b682, 0xf9094a2f, 0x16392136, 0x2285eaec, 0xcdb581f5,
    0x2bfa6547, 0xc4ca0e5e, 0xf076c584, 0x1f46ae9d, 0x990f5230, 0x763f3929, 0x4283f2f3, 0xadb399ea,
    0x1c08b7d6, 0xf338dccf, 0xc7841715, 0x28b47c0c, 0xaefd80a1, 0x41cdebb8, 0x75712062, 0x9a414b7b,
    0x7c0eafc9, 0x933ec4d0, 0xa7820f0a, 0x48b26413, 0xcefb98be, 0x21cbf3a7, 0x1577387d, 0xfa475364,
    0xdc0487e8, 0x3334ecf1, 0x0788272b, 0xe8b84c32, 0x6ef1b09f, 0x81c1db86, 0xb57d105c, 0x5a4d7b45,
    0xbc029ff7, 0x5332f4ee, 0x678e3f34, 0x88be542d, 0x0ef7a880, 0xe1c7c399, 0xd57b0843, 0x3a4b635a,
    0x99fca15b, 0x76ccca42, 0x42700198, 0xad406a81, 0x2b09962c, 0xc439fd35, 0xf08536ef, 0x1fb55df6,
    0xf9fab944, 0x16cad25d, 0x22761987, 0xcd46729e, 0x4b0f8e33, 0xa43fe52a, 0x90832ef0, 0x7fb345e9,
    0x59f09165, 0xb6c0fa7c, 0x827c31a6, 0x6d4c5abf, 0xeb05a612, 0x0435cd0b, 0x308906d1, 0xdfb96dc8,
    0x39f6897a, 0xd6c6e263, 0xe27a29b9, 0x0d4a42a0, 0x8b03be0d, 0x6433d514, 0x508f1ece, 0xbfbf75d7,
    0x120cec3d, 0xfd3c8724, 0xc9804cfe, 0x26b027e7, 0xa0f9db4a, 0x4fc9b053, 0x7b757b89, 0x94451090,
    0x720af422, 0x9d3a9f3b, 0xa98654e1, 0x46b63ff8, 0xc0ffc355, 0x2fcfa84c, 0x1b736396, 0xf443088f,
    0xd200dc03, 0x3d30b71a, 0x098c7cc0, 0xe6bc17d9, 0x60f5eb74, 0x8fc5806d, 0xbb794bb7, 0x544920ae,
    0xb206c41c, 0x5d36af05, 0x698a64df, 0x86ba0fc6, 0x00f3f36b, 0xefc39872, 0xdb7f53a8, 0x344f38b1,
    0x97f8fab0, 0x78c891a9, 0x4c745a73, 0xa344316a, 0x250dcdc7, 0xca3da6de, 0xfe816d04, 0x11b1061d,
    0xf7fee2af, 0x18ce89b6, 0x2c72426c, 0xc3422975, 0x450bd5d8, 0xaa3bbec1, 0x9e87751b, 0x71b71e02,
    0x57f4ca8e, 0xb8c4a197, 0x8c786a4d, 0x63480154, 0xe501fdf9, 0x0a3196e0, 0x3e8d5d3a, 0xd1bd3623,
    0x37f2d291, 0xd8c2b988, 0xec7e7252, 0x034e194b, 0x8507e5e6, 0x6a378eff, 0x5e8b4525, 0xb1bb2e3c,
    },
    {
    0x00000000, 0x68032cc8, 0xd0065990, 0xb8057558, 0xa5e0c5d1, 0xcde3e919, 0x75e69c41, 0x1de5b089,
    0x4e2dfd53, 0x262ed19b, 0x9e2ba4c3, 0xf628880b, 0xebcd3882, 0x83ce144a, 0x3bcb6112, 0x53c84dda,
    0x9c5bfaa6, 0xf458d66e, 0x4c5da336, 0x245e8ffe, 0x39bb3f77, 0x51b813bf, 0xe9bd66e7, 0x81be4a2f,
    0xd27607f5, 0xba752b3d, 0x02705e65, 0x6a7372ad, 0x7796c224, 0x1f95eeec, 0xa7909bb4, 0xcf93b77c,
    0x3d5b83bd, 0x5558af75, 0xed5dda2d, 0x855ef6e5, 0x98bb466c, 0xf0b86aa4, 0x48bd1ffc, 0x20be3334,
    0x73767eee, 0x1b755226, 0xa370277e, 0xcb730bb6, 0xd696bb3f, 0xbe9597f7, 0x0690e2af, 0x6e93ce67,
    0xa100791b, 0xc90355d3, 0x7106208b, 0x19050c43, 0x04e0bcca, 0x6ce39002, 0xd4e6e55a, 0xbce5c992,
    0xef2d8448, 0x872ea880, 0x3f2bddd8, 0x5728f110, 0x4acd4199, 0x22ce6d51, 0x9acb1809, 0xf2c834c1,
    0x7ab7077a, 0x12b42bb2, 0xaab15eea, 0xc2b27222, 0xdf57c2ab, 0xb754ee63, 0x0f519b3b, 0x6752b7f3,
    0x349afa29, 0x5c99d6e1, 0xe49ca3b9, 0x8c9f8f71, 0x917a3ff8, 0xf9791330, 0x417c6668, 0x297f4aa0,
    0xe6ecfddc, 0x8eefd114, 0x36eaa44c, 0x5ee98884, 0x430c380d, 0x2b0f14c5, 0x930a619d, 0xfb094d55,
    0xa8c1008f, 0xc0c22c47, 0x78c7591f, 0x10c475d7, 0x0d21c55e, 0x6522e996, 0xdd279cce, 0xb524b006,
    0x47ec84c7, 0x2fefa80f, 0x97eadd57, 0xffe9f19f, 0xe20c4116, 0x8a0f6dde, 0x320a1886, 0x5a09344e,
    0x09c17994, 0x61c2555c, 0xd9c72004, 0xb1c40ccc, 0xac21bc45, 0xc422908d, 0x7c27e5d5, 0x1424c91d,
    0xdbb77e61, 0xb3b452a9, 0x0bb127f1, 0x63b20b39, 0x7e57bbb0, 0x16549778, 0xae51e220, 0xc652cee8,
    0x959a8332, 0xfd99affa, 0x459cdaa2, 0x2d9ff66a, 0x307a46e3, 0x58796a2b, 0xe07c1f73, 0x887f33bb,
    0xf56e0ef4, 0x9d6d223c, 0x25685764, 0x4d6b7bac, 0x508ecb25, 0x388de7ed, 0x808892b5, 0xe88bbe7d,
    0xbb43f3a7, 0xd340df6f, 0x6b45aa37, 0x034686ff, 0x1ea33676, 0x76a01abe, 0xcea56fe6, 0xa6a6432e,
    0x6935f452, 0x0136d89a, 0xb933adc2, 0xd130810a, 0xccd53183, 0xa4d61d4b, 0x1cd36813, 0x74d044db,
    0x27180901, 0x4f1b25c9, 0xf71e5091, 0x9f1d7c59, 0x82f8ccd0, 0xeafbe018, 0x52fe9540, 0x3afdb988,
    0xc8358d49, 0xa036a181, 0x1833d4d9, 0x7030f811, 0x6dd54898, 0x05d66450, 0xbdd31108, 0xd5d03dc0,
    0x8618701a, 0xee1b5cd2, 0x561e298a, 0x3e1d0542, 0x23f8b5cb, 0x4bfb9903, 0xf3feec5b, 0x9bfdc093,
    0x546e77ef, 0x3c6d5b27, 0x84682e7f, 0xec6b02b7, 0xf18eb23e, 0x998d9ef6, 0x2188ebae, 0x498bc766,
    0x1a438abc, 0x7240a674, 0xca45d32c, 0xa246ffe4, 0xbfa34f6d, 0xd7a063a5, 0x6fa516fd, 0x07a63a35,
    0x8fd9098e, 0xe7da2546, 0x5fdf501e, 0x37dc7cd6, 0x2a39cc5f, 0x423ae097, 0xfa3f95cf, 0x923cb907,
    0xc1f4f4dd, 0xa9f7d815, 0x11f2ad4d, 0x79f18185, 0x6414310c, 0x0c171dc4, 0xb412689c, 0xdc114454,
    0x1382f328, 0x7b81dfe0, 0xc384aab8, 0xab878670, 0xb66236f9, 0xde611a31, 0x66646f69, 0x0e6743a1,
    0x5daf0e7b, 0x35ac22b3, 0x8da957eb, 0xe5aa7b23, 0xf84fcbaa, 0x904ce762, 0x2849923a, 0x404abef2,
    0xb2828a33, 0xda81a6fb, 0x6284d3a3, 0x0a87ff6b, 0x17624fe2, 0x7f61632a, 0xc7641672, 0xaf673aba,
    0xfcaf7760, 0x94ac5ba8, 0x2ca92ef0, 0x44aa0238, 0x594fb2b1, 0x314c9e79, 0x8949eb21, 0xe14ac7e9,
    0x2ed97095, 0x46da5c5d, 0xfedf2905, 0x96dc05cd, 0x8b39b544, 0xe33a998c, 0x5b3fecd4, 0x333cc01c,
    0x60f48dc6, 0x08f7a10e, 0xb0f2d456, 0xd8f1f89e, 0xc5144817, 0xad1764df, 0x15121187, 0x7d113d4f,
    },
    {
    0x00000000, 0x493c7d27, 0x9278fa4e, 0xdb448769, 0x211d826d, 0x6821ff4a, 0xb3657823, 0xfa590504,
    0x423b04da, 0x0b0779fd, 0xd043fe94, 0x997f83b3, 0x632686b7, 0x2a1afb90, 0xf15e7cf9, 0xb86201de,
    0x847609b4, 0xcd4a7493, 0x160ef3fa, 0x5f328edd, 0xa56b8bd9, 0xec57f6fe, 0x37137197, 0x7e2f0cb0,
    0xc64d0d6e, 0x8f717049, 0x5435f720, 0x1d098a07, 0xe7508f03, 0xae6cf224, 0x7528754d, 0x3c14086a,
    0x0d006599, 0x443c18be, 0x9f789fd7, 0xd644e2f0, 0x2c1de7f4, 0x65219ad3, 0xbe651dba, 0xf759609d,
    0x4f3b6143, 0x06071c64, 0xdd439b0d, 0x947fe62a, 0x6e26e32e, 0x271a9e09, 0xfc5e1960, 0xb5626447,
    0x89766c2d, 0xc04a110a, 0x1b0e9663, 0x5232eb44, 0xa86bee40, 0xe1579367, 0x3a13140e, 0x732f6929,
    0xcb4d68f7, 0x827115d0, 0x593592b9, 0x1009ef9e, 0xea50ea9a, 0xa36c97bd, 0x782810d4, 0x31146df3,
    0x1a00cb32, 0x533cb615, 0x8878317c, 0xc1444c5b, 0x3b1d495f, 0x72213478, 0xa965b311, 0xe059ce36,
    0x583bcfe8, 0x1107b2cf, 0xca4335a6, 0x837f4881, 0x79264d85, 0x301a30a2, 0xeb5eb7cb, 0xa262caec,
    0x9e76c286, 0xd74abfa1, 0x0c0e38c8, 0x453245ef, 0xbf6b40eb, 0xf6573dcc, 0x2d13baa5, 0x642fc782,
    0xdc4dc65c, 0x9571bb7b, 0x4e353c12, 0x07094135, 0xfd504431, 0xb46c3916, 0x6f28be7f, 0x2614c358,
    0x1700aeab, 0x5e3cd38c, 0x857854e5, 0xcc4429c2, 0x361d2cc6, 0x7f2151e1, 0xa465d688, 0xed59abaf,
    0x553baa71, 0x1c07d756, 0xc743503f, 0x8e7f2d18, 0x7426281c, 0x3d1a553b, 0xe65ed252, 0xaf62af75,
    0x9376a71f, 0xda4ada38, 0x010e5d51, 0x48322076, 0xb26b2572, 0xfb575855, 0x2013df3c, 0x692fa21b,
    0xd14da3c5, 0x9871dee2, 0x4335598b, 0x0a0924ac, 0xf05021a8, 0xb96c5c8f, 0x6228dbe6, 0x2b14a6c1,
    0x34019664, 0x7d3deb43, 0xa6796c2a, 0xef45110d, 0x151c1409, 0x5c20692e, 0x8764ee47, 0xce589360,
    0x763a92be, 0x3f06ef99, 0xe44268f0, 0xad7e15d7, 0x572710d3, 0x1e1b6df4, 0xc55fea9d, 0x8c6397ba,
    0xb0779fd0, 0xf94be2f7, 0x220f659e, 0x6b3318b9, 0x916a1dbd, 0xd856609a, 0x0312e7f3, 0x4a2e9ad4,
    0xf24c9b0a, 0xbb70e62d, 0x60346144, 0x29081c63, 0xd3511967, 0x9a6d6440, 0x4129e329, 0x08159e0e,
    0x3901f3fd, 0x703d8eda, 0xab7909b3, 0xe2457494, 0x181c7190, 0x51200cb7, 0x8a648bde, 0xc358f6f9,
    0x7b3af727, 0x32068a00, 0xe9420d69, 0xa07e704e, 0x5a27754a, 0x131b086d, 0xc85f8f04, 0x8163f223,
    0xbd77fa49, 0xf44b876e, 0x2f0f0007, 0x66337d20, 0x9c6a7824, 0xd5560503, 0x0e12826a, 0x472eff4d,
    0xff4cfe93, 0xb67083b4, 0x6d3404dd, 0x240879fa, 0xde517cfe, 0x976d01d9, 0x4c2986b0, 0x0515fb97,
    0x2e015d56, 0x673d2071, 0xbc79a718, 0xf545da3f, 0x0f1cdf3b, 0x4620a21c, 0x9d642575, 0xd4585852,
    0x6c3a598c, 0x250624ab, 0xfe42a3c2, 0xb77edee5, 0x4d27dbe1, 0x041ba6c6, 0xdf5f21af, 0x96635c88,
    0xaa7754e2, 0xe34b29c5, 0x380faeac, 0x7133d38b, 0x8b6ad68f, 0xc256aba8, 0x19122cc1, 0x502e51e6,
    0xe84c5038, 0xa1702d1f, 0x7a34aa76, 0x3308d751, 0xc951d255, 0x806daf72, 0x5b29281b, 0x1215553c,
    0x230138cf, 0x6a3d45e8, 0xb179c281, 0xf845bfa6, 0x021cbaa2, 0x4b20c785, 0x906440ec, 0xd9583dcb,
    0x613a3c15, 0x28064132, 0xf342c65b, 0xba7ebb7c, 0x4027be78, 0x091bc35f, 0xd25f4436, 0x9b633911,
    0xa777317b, 0xee4b4c5c, 0x350fcb35, 0x7c33b612, 0x866ab316, 0xcf56ce31, 0x14124958, 0x5d2e347f,
    0xe54c35a1, 0xac704886, 0x7734cfef, 0x3e08b2c8, 0xc451b7cc, 0x8d6dcaeb, 0x56294d82, 0x1f1530a5,
    },
};
// clang-format on

#endif /* AGT_DATA_CRC_TABLE_H */
/* end src/data/crc_table.h */

#include <stdio.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HASH_X86 1
#include <cpuid.h>
#include <immintrin.h>
#else
#define HASH_X86 0
#endif

AGT_PRIVATE agt_cpu agt__cpu(void) {
    agt_cpu cpu = {false, false};
#if HASH_X86
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return cpu;
    bool shuffles = (c >> 9 & 1) && (c >> 19 & 1); /* SSSE3, SSE4.1 */
    cpu.crc32c = c >> 20 & 1;                      /* SSE4.2 */
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) cpu.sha = shuffles && (b >> 29 & 1);
#endif
    return cpu;
}

static uint32_t hash_rotl(uint32_t v, int n) {
    return v << n | v >> (32 - n);
}
static uint32_t hash_rotr(uint32_t v, int n) {
    return v >> n | v << (32 - n);
}

static uint32_t hash_get_be(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void hash_put_be(unsigned char *p, uint32_t v) {
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

/* ---- SHA-1 ---- */

#define HASH_SHA1_ROUND(a, b, c, d, e, f, t)                                                       \
    do {                                                                                           \
        e += hash_rotl(a, 5) + (f) + hash_sha1_k[(t) / 20] + w[t];                                 \
        b = hash_rotl(b, 30);                                                                      \
    } while (0)
/* Five rounds, after which each variable has its old place again; F mixes three of them. */
#define HASH_SHA1_FIVE(F, t)                                                                       \
    do {                                                                                           \
        HASH_SHA1_ROUND(a, b, c, d, e, F(b, c, d), t);                                             \
        HASH_SHA1_ROUND(e, a, b, c, d, F(a, b, c), (t) + 1);                                       \
        HASH_SHA1_ROUND(d, e, a, b, c, F(e, a, b), (t) + 2);                                       \
        HASH_SHA1_ROUND(c, d, e, a, b, F(d, e, a), (t) + 3);                                       \
        HASH_SHA1_ROUND(b, c, d, e, a, F(c, d, e), (t) + 4);                                       \
    } while (0)
#define HASH_CHOOSE(x, y, z)   ((z) ^ ((x) & ((y) ^ (z))))
#define HASH_PARITY(x, y, z)   ((x) ^ (y) ^ (z))
#define HASH_MAJORITY(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))

static const uint32_t hash_sha1_k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};

static void hash_sha1_plain(uint32_t h[5], const unsigned char *p, size_t blocks) {
    for (; blocks; blocks--, p += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int t = 0; t < 16; t++)
            w[t] = hash_get_be(p + 4 * t);
        for (int t = 16; t < 80; t++)
            w[t] = hash_rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
        for (int t = 0; t < 20; t += 5)
            HASH_SHA1_FIVE(HASH_CHOOSE, t);
        for (int t = 20; t < 40; t += 5)
            HASH_SHA1_FIVE(HASH_PARITY, t);
        for (int t = 40; t < 60; t += 5)
            HASH_SHA1_FIVE(HASH_MAJORITY, t);
        for (int t = 60; t < 80; t += 5)
            HASH_SHA1_FIVE(HASH_PARITY, t);
        h[0] += a;
        h[1] += b;
        h[2] += c;
        h[3] += d;
        h[4] += e;
    }
}

#if HASH_X86
/* The next four words of the schedule take the place of the oldest four. */
#define HASH_SHA1_NEXT(w0, w1, w2, w3)                                                             \
    w0 = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(w0, w1), w2), w3)
/* Four rounds with the words w; `last` is what abcd was four rounds before. */
#define HASH_SHA1_FOUR(w, f)                                                                       \
    do {                                                                                           \
        __m128i e_ = _mm_sha1nexte_epu32(last, w);                                                 \
        last = abcd;                                                                               \
        abcd = _mm_sha1rnds4_epu32(abcd, e_, f);                                                   \
    } while (0)
/* Sixteen rounds, each four behind a step of the schedule. */
#define HASH_SHA1_16(f0, f1, f2, f3)                                                               \
    do {                                                                                           \
        HASH_SHA1_NEXT(w0, w1, w2, w3);                                                            \
        HASH_SHA1_FOUR(w0, f0);                                                                    \
        HASH_SHA1_NEXT(w1, w2, w3, w0);                                                            \
        HASH_SHA1_FOUR(w1, f1);                                                                    \
        HASH_SHA1_NEXT(w2, w3, w0, w1);                                                            \
        HASH_SHA1_FOUR(w2, f2);                                                                    \
        HASH_SHA1_NEXT(w3, w0, w1, w2);                                                            \
        HASH_SHA1_FOUR(w3, f3);                                                                    \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static __m128i hash_load_swapped(const void *p,
                                                                             __m128i order) {
    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), order);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
hash_sha1_x86(uint32_t h[5], const unsigned char *p, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0x1b);
    __m128i e = _mm_set_epi32((int)h[4], 0, 0, 0);
    for (; blocks; blocks--, p += 64) {
        __m128i abcd_before = abcd, e_before = e, last = abcd;
        __m128i w0 = hash_load_swapped(p, order), w1 = hash_load_swapped(p + 16, order);
        __m128i w2 = hash_load_swapped(p + 32, order), w3 = hash_load_swapped(p + 48, order);
        abcd = _mm_sha1rnds4_epu32(abcd, _mm_add_epi32(e, w0), 0);
        HASH_SHA1_FOUR(w1, 0);
        HASH_SHA1_FOUR(w2, 0);
        HASH_SHA1_FOUR(w3, 0);
        HASH_SHA1_16(0, 1, 1, 1);
        HASH_SHA1_16(1, 1, 2, 2);
        HASH_SHA1_16(2, 2, 2, 3);
        HASH_SHA1_16(3, 3, 3, 3);
        e = _mm_sha1nexte_epu32(last, e_before);
        abcd = _mm_add_epi32(abcd, abcd_before);
    }
    _mm_storeu_si128((__m128i *)h, _mm_shuffle_epi32(abcd, 0x1b));
    h[4] = (uint32_t)_mm_extract_epi32(e, 3);
}
#endif

static void hash_sha1_blocks(uint32_t h[5], agt_cpu cpu, const unsigned char *p, size_t blocks) {
#if HASH_X86
    if (cpu.sha) {
        hash_sha1_x86(h, p, blocks);
        return;
    }
#endif
    (void)cpu;
    hash_sha1_plain(h, p, blocks);
}

AGT_PRIVATE void agt__sha1_init(agt_sha1_state *s) {
    static const uint32_t first[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    memcpy(s->h, first, sizeof first);
    s->len = 0;
}

/* How many of the n bytes complete the block that is begun (with `have` bytes in it); copies
 * them. */
static size_t hash_fill(unsigned char block[64], size_t have, const unsigned char *p, size_t n) {
    size_t take = 64 - have < n ? 64 - have : n;
    memcpy(block + have, p, take);
    return take;
}

AGT_PRIVATE void agt__sha1_update(agt_sha1_state *s, agt_cpu cpu, const void *data, size_t n) {
    const unsigned char *p = data;
    size_t have = (size_t)(s->len % 64);
    if (n == 0) return;
    s->len += n;
    if (have) {
        size_t take = hash_fill(s->block, have, p, n);
        p += take;
        n -= take;
        if (have + take < 64) return;
        hash_sha1_blocks(s->h, cpu, s->block, 1);
    }
    if (n >= 64) hash_sha1_blocks(s->h, cpu, p, n / 64);
    if (n % 64) memcpy(s->block, p + n / 64 * 64, n % 64);
}

/* The padding behind `len` bytes: a one bit, zeros, and the length in bits. Returns its length. */
static size_t hash_padding(uint64_t len, unsigned char pad[72]) {
    size_t have = (size_t)(len % 64), n = (have < 56 ? 56 : 120) - have;
    memset(pad, 0, n);
    pad[0] = 0x80;
    hash_put_be(pad + n, (uint32_t)(len >> 29));
    hash_put_be(pad + n + 4, (uint32_t)(len << 3));
    return n + 8;
}

AGT_PRIVATE void agt__sha1_final(agt_sha1_state *s, agt_cpu cpu, unsigned char out[20]) {
    unsigned char pad[72];
    agt__sha1_update(s, cpu, pad, hash_padding(s->len, pad));
    for (int i = 0; i < 5; i++)
        hash_put_be(out + 4 * i, s->h[i]);
}

AGT_PRIVATE void agt__git_id(agt_cpu cpu, const char *kind, const void *data, size_t n,
                             unsigned char out[20]) {
    agt_sha1_state s;
    char head[64];
    int len = snprintf(head, sizeof head, "%.32s %zu", kind, n);
    agt__sha1_init(&s);
    agt__sha1_update(&s, cpu, head, (size_t)len + 1); /* with its NUL */
    agt__sha1_update(&s, cpu, data, n);
    agt__sha1_final(&s, cpu, out);
}

/* ---- SHA-256 ---- */

static const uint32_t hash_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* Round t, with the eight variables turned by i places instead of moved. */
#define HASH_SHA256_ROUND(i)                                                                       \
    do {                                                                                           \
        uint32_t a_ = v[-(i)&7], e_ = v[(4 - (i)) & 7], *d_ = &v[(3 - (i)) & 7];                   \
        uint32_t *h_ = &v[(7 - (i)) & 7];                                                          \
        *h_ += (hash_rotr(e_, 6) ^ hash_rotr(e_, 11) ^ hash_rotr(e_, 25)) +                        \
               HASH_CHOOSE(e_, v[(5 - (i)) & 7], v[(6 - (i)) & 7]) + hash_sha256_k[t + (i)] +      \
               w[t + (i)];                                                                         \
        *d_ += *h_;                                                                                \
        *h_ += (hash_rotr(a_, 2) ^ hash_rotr(a_, 13) ^ hash_rotr(a_, 22)) +                        \
               HASH_MAJORITY(a_, v[(1 - (i)) & 7], v[(2 - (i)) & 7]);                              \
    } while (0)

static void hash_sha256_plain(uint32_t h[8], const unsigned char *p, size_t blocks) {
    for (; blocks; blocks--, p += 64) {
        uint32_t w[64], v[8];
        for (int t = 0; t < 16; t++)
            w[t] = hash_get_be(p + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (hash_rotr(x, 7) ^ hash_rotr(x, 18) ^ x >> 3) +
                   (hash_rotr(y, 17) ^ hash_rotr(y, 19) ^ y >> 10);
        }
        memcpy(v, h, sizeof v);
        for (int t = 0; t < 64; t += 8) {
            HASH_SHA256_ROUND(0);
            HASH_SHA256_ROUND(1);
            HASH_SHA256_ROUND(2);
            HASH_SHA256_ROUND(3);
            HASH_SHA256_ROUND(4);
            HASH_SHA256_ROUND(5);
            HASH_SHA256_ROUND(6);
            HASH_SHA256_ROUND(7);
        }
        for (int i = 0; i < 8; i++)
            h[i] += v[i];
    }
}

#if HASH_X86
#define HASH_SHA256_NEXT(w0, w1, w2, w3)                                                           \
    w0 = _mm_sha256msg2_epu32(                                                                     \
        _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3)
#define HASH_SHA256_FOUR(w, t)                                                                     \
    do {                                                                                           \
        __m128i m_ = _mm_add_epi32(w, _mm_loadu_si128((const __m128i *)(hash_sha256_k + (t))));    \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, m_);                                              \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(m_, 0x0e));                     \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static void
hash_sha256_x86(uint32_t h[8], const unsigned char *p, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(badc, efgh, 8), cdgh = _mm_blend_epi16(efgh, badc, 0xf0);
    for (; blocks; blocks--, p += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w0 = hash_load_swapped(p, order), w1 = hash_load_swapped(p + 16, order);
        __m128i w2 = hash_load_swapped(p + 32, order), w3 = hash_load_swapped(p + 48, order);
        HASH_SHA256_FOUR(w0, 0);
        HASH_SHA256_FOUR(w1, 4);
        HASH_SHA256_FOUR(w2, 8);
        HASH_SHA256_FOUR(w3, 12);
        for (int t = 16; t < 64; t += 16) {
            HASH_SHA256_NEXT(w0, w1, w2, w3);
            HASH_SHA256_FOUR(w0, t);
            HASH_SHA256_NEXT(w1, w2, w3, w0);
            HASH_SHA256_FOUR(w1, t + 4);
            HASH_SHA256_NEXT(w2, w3, w0, w1);
            HASH_SHA256_FOUR(w2, t + 8);
            HASH_SHA256_NEXT(w3, w0, w1, w2);
            HASH_SHA256_FOUR(w3, t + 12);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#endif

static void hash_sha256_blocks(uint32_t h[8], agt_cpu cpu, const unsigned char *p, size_t blocks) {
#if HASH_X86
    if (cpu.sha) {
        hash_sha256_x86(h, p, blocks);
        return;
    }
#endif
    (void)cpu;
    hash_sha256_plain(h, p, blocks);
}

AGT_PRIVATE void agt__sha256_init(agt_sha256_state *s) {
    static const uint32_t first[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, first, sizeof first);
    s->len = 0;
}

AGT_PRIVATE void agt__sha256_update(agt_sha256_state *s, agt_cpu cpu, const void *data, size_t n) {
    const unsigned char *p = data;
    size_t have = (size_t)(s->len % 64);
    if (n == 0) return;
    s->len += n;
    if (have) {
        size_t take = hash_fill(s->block, have, p, n);
        p += take;
        n -= take;
        if (have + take < 64) return;
        hash_sha256_blocks(s->h, cpu, s->block, 1);
    }
    if (n >= 64) hash_sha256_blocks(s->h, cpu, p, n / 64);
    if (n % 64) memcpy(s->block, p + n / 64 * 64, n % 64);
}

AGT_PRIVATE void agt__sha256_final(agt_sha256_state *s, agt_cpu cpu, unsigned char out[32]) {
    unsigned char pad[72];
    agt__sha256_update(s, cpu, pad, hash_padding(s->len, pad));
    for (int i = 0; i < 8; i++)
        hash_put_be(out + 4 * i, s->h[i]);
}

AGT_PRIVATE void agt__sha256(agt_cpu cpu, const void *data, size_t n, unsigned char out[32]) {
    agt_sha256_state s;
    agt__sha256_init(&s);
    agt__sha256_update(&s, cpu, data, n);
    agt__sha256_final(&s, cpu, out);
}

/* ---- crc32c ---- */

static uint32_t hash_crc_plain(uint32_t crc, const unsigned char *p, size_t n) {
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = crc ^ agt__get32(p), b = agt__get32(p + 4);
        crc = hash_crc_table[7][a & 0xff] ^ hash_crc_table[6][a >> 8 & 0xff] ^
              hash_crc_table[5][a >> 16 & 0xff] ^ hash_crc_table[4][a >> 24] ^
              hash_crc_table[3][b & 0xff] ^ hash_crc_table[2][b >> 8 & 0xff] ^
              hash_crc_table[1][b >> 16 & 0xff] ^ hash_crc_table[0][b >> 24];
    }
    for (; n; n--)
        crc = crc >> 8 ^ hash_crc_table[0][(crc ^ *p++) & 0xff];
    return crc;
}

#if HASH_X86
__attribute__((target("sse4.2"))) static uint32_t hash_crc_x86(uint32_t crc, const unsigned char *p,
                                                               size_t n) {
    uint64_t word, wide = crc;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; n; n--)
        crc = _mm_crc32_u8(crc, *p++);
    return crc;
}
#endif

AGT_PRIVATE uint32_t agt__crc32c(agt_cpu cpu, uint32_t seed, const void *data, size_t n) {
#if HASH_X86
    if (cpu.crc32c) return ~hash_crc_x86(~seed, data, n);
#endif
    (void)cpu;
    return ~hash_crc_plain(~seed, data, n);
}

/* ---- hexadecimal ---- */

AGT_PRIVATE void agt__hex(const unsigned char *data, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
}

/* Each digit's value and one: what is not listed is 0, and no digit. */
static const unsigned char hash_digits[256] = {
    ['0'] = 1, ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9, ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

AGT_PRIVATE bool agt__unhex(const char *hex, size_t len, unsigned char *out, size_t n) {
    if (len % 2 || len / 2 != n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned high = hash_digits[(unsigned char)hex[2 * i]];
        unsigned low = hash_digits[(unsigned char)hex[2 * i + 1]];
        if (!high || !low) return false;
        out[i] = (unsigned char)((high - 1) << 4 | (low - 1));
    }
    return true;
}
/* end src/data/hash.c */
/* begin src/data/time.c */
/* time: RFC 3339 texts and milliseconds since 1970, without the system's calendar.
 *
 * Promises
 *  1. Years 1970 to 9999 in UTC, the proleptic Gregorian calendar, days of 86,400 seconds.
 *  2. Every time that is formatted parses to the same number; the texts sort as the numbers do.
 *  3. A text is taken whole or not at all: no blanks around it, no day that does not exist.
 *
 * Days are counted in a calendar whose year begins in March, so that the leap day comes last:
 * 400 years are 146,097 days, and the month lengths from March on follow (153 m + 2) / 5.
 */

#define TIME_DAY_MS 86400000

static int64_t time_days(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, in_era = year - era * 400;
    int64_t in_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static void time_put(char *out, int64_t v, int digits) {
    while (digits) {
        out[--digits] = (char)('0' + v % 10);
        v /= 10;
    }
}

AGT_PRIVATE void agt__time_format(int64_t unix_ms, char out[AGT_TIME_TEXT]) {
    if (unix_ms < 0) unix_ms = 0;
    if (unix_ms > AGT_TIME_MAX) unix_ms = AGT_TIME_MAX;
    int64_t days = unix_ms / TIME_DAY_MS + 719468, ms = unix_ms % TIME_DAY_MS;
    int64_t era = days / 146097, day = days % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    month += month < 10 ? 3 : -9;
    memcpy(out, "0000-00-00T00:00:00.000Z", AGT_TIME_TEXT);
    time_put(out, era * 400 + year + (month <= 2), 4);
    time_put(out + 5, month, 2);
    time_put(out + 8, day + 1, 2);
    time_put(out + 11, ms / 3600000, 2);
    time_put(out + 14, ms / 60000 % 60, 2);
    time_put(out + 17, ms / 1000 % 60, 2);
    time_put(out + 20, ms % 1000, 3);
}

/* Reads exactly `digits` decimal digits; -1 if they are not. */
static int64_t time_number(const char *s, int digits) {
    int64_t v = 0;
    for (int i = 0; i < digits; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

static int64_t time_month_days(int64_t year, int64_t month) {
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* "YYYY-MM-DDTHH:MM:SS" to milliseconds; `s` has 19 bytes. */
static bool time_parse_seconds(const char *s, int64_t *ms, bool *leap) {
    int64_t year = time_number(s, 4), month = time_number(s + 5, 2), day = time_number(s + 8, 2);
    int64_t h = time_number(s + 11, 2), m = time_number(s + 14, 2), sec = time_number(s + 17, 2);
    if (s[4] != '-' || s[7] != '-' || (s[10] | 0x20) != 't' || s[13] != ':' || s[16] != ':')
        return false;
    if (year < 0 || month < 1 || month > 12 || day < 1 || day > time_month_days(year, month))
        return false;
    if (h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60) return false;
    *leap = sec == 60;
    *ms = time_days(year, month, day) * TIME_DAY_MS + h * 3600000 + m * 60000 +
          (*leap ? 59999 : sec * 1000);
    return true;
}

/* "Z" or "+HH:MM" to milliseconds east of UTC. */
static bool time_parse_offset(const char *s, size_t n, int64_t *ms) {
    *ms = 0;
    if (n == 1) return (s[0] | 0x20) == 'z';
    if (n != 6 || (s[0] != '+' && s[0] != '-') || s[3] != ':') return false;
    int64_t h = time_number(s + 1, 2), m = time_number(s + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59) return false;
    *ms = (h * 60 + m) * (s[0] == '-' ? -60000 : 60000);
    return true;
}

AGT_PRIVATE bool agt__time_parse(const char *s, size_t n, int64_t *unix_ms) {
    int64_t ms, offset, unit = 100, fraction = 0;
    size_t at = 19;
    bool leap;
    if (n < 20 || !time_parse_seconds(s, &ms, &leap)) return false;
    if (s[at] == '.') {
        for (at = 20; at < n && s[at] >= '0' && s[at] <= '9'; at++) {
            fraction += (s[at] - '0') * unit;
            unit /= 10;
        }
        if (at == 20 || at > 29) return false;
    }
    if (!time_parse_offset(s + at, n - at, &offset)) return false;
    ms += (leap ? 0 : fraction) - offset;
    if (ms < 0 || ms > AGT_TIME_MAX) return false;
    *unix_ms = ms;
    return true;
}
/* end src/data/time.c */
/* begin src/data/json.c */
/* json: RFC 8259, strict. A value is a slice of the input; nothing is allocated.
 *
 * Promises
 *  1. agt__json_parse takes exactly one value with white space around it. Strings are valid UTF-8
 *     with no lone surrogate, numbers follow the grammar, nothing follows the value.
 *  2. It runs in O(n) with a stack of 128 bits (one a level: object or array), never recursing.
 *  3. The walkers (agt__json_next, agt__json_get) trust (1): they skip a value by its strings and
 *     brackets alone. They never leave the slice, but on text that was not parsed they may find
 *     nonsense.
 *  4. What agt__json_put_string writes is always accepted by agt__json_parse, and unescaping it
 *     gives the same bytes back (U+FFFD where they were no UTF-8).
 *
 * The parser is a machine of two states, "a value must stand here" and "a value has ended", with
 * the stack of open containers between them.
 */

#define JSON_ONES (~(uint64_t)0 / 255) /* 0x01 in each of eight bytes */
#define JSON_HIGH (JSON_ONES * 0x80)

/* Not zero if one of the eight bytes ends a plain run: a quote, a backslash, a control byte, or
 * none of ASCII. */
static uint64_t json_special(const char *s) {
    uint64_t w, quote, slash;
    memcpy(&w, s, 8);
    quote = w ^ JSON_ONES * '"';
    slash = w ^ JSON_ONES * '\\';
    return (w | ((w - JSON_ONES * 0x20) & ~w) | ((quote - JSON_ONES) & ~quote) |
            ((slash - JSON_ONES) & ~slash)) &
           JSON_HIGH;
}

static bool json_plain(char c) {
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The first position from `at` on that is not plain; n if all are. */
static size_t json_run(const char *s, size_t n, size_t at) {
    while (n - at >= 8 && !json_special(s + at))
        at += 8;
    while (at < n && json_plain(s[at]))
        at++;
    return at;
}

static size_t json_blanks(const char *s, size_t n, size_t at) {
    while (at < n && (s[at] == ' ' || s[at] == '\n' || s[at] == '\r' || s[at] == '\t'))
        at++;
    return at;
}

/* ---- the parser ---- */

typedef struct json_parser {
    const char *s;
    size_t n, at, depth;
    uint64_t objects[AGT_JSON_MAX_DEPTH / 64]; /* bit d: level d is an object */
    const char *wrong;                         /* what is wrong at `at`; NULL while nothing is */
    bool too_deep;
} json_parser;

static bool json_wrong(json_parser *p, size_t at, const char *what) {
    p->at = at;
    p->wrong = at >= p->n ? "the text ends too early" : what;
    return false;
}

static bool json_in_object(const json_parser *p) {
    size_t top = p->depth - 1;
    return p->objects[top / 64] >> top % 64 & 1;
}

/* Four hexadecimal digits; -1 if they are not. */
static int32_t json_hex4(const char *s) {
    int32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int c = s[i] | 0x20, d = c >= '0' && c <= '9' ? c - '0' : c - 'a' + 10;
        bool letter = c >= 'a' && c <= 'f', digit = s[i] >= '0' && s[i] <= '9';
        if (!letter && !digit) return -1;
        v = v << 4 | d;
    }
    return v;
}

/* "\uXXXX" at s[0..n): the code point, and the bytes it takes (6, or 12 for a pair of surrogates).
 * 0 bytes if it is wrong. */
static size_t json_unicode(const char *s, size_t n, uint32_t *code) {
    int32_t high = n >= 6 ? json_hex4(s + 2) : -1;
    if (high < 0 || (high >= 0xdc00 && high <= 0xdfff)) return 0;
    *code = (uint32_t)high;
    if (high < 0xd800 || high > 0xdbff) return 6;
    int32_t low = n >= 12 && s[6] == '\\' && s[7] == 'u' ? json_hex4(s + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff) return 0;
    *code = 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return 12;
}

/* The byte that "\c" stands for; 0 if it stands for none. */
static char json_short_escape(char c) {
    switch (c) {
    case '"':
    case '\\':
    case '/': return c;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
    }
}

/* At a backslash: steps over the escape. */
static bool json_parse_escape(json_parser *p) {
    const char *s = p->s + p->at;
    size_t left = p->n - p->at;
    uint32_t code;
    if (left < 2) return json_wrong(p, p->n, NULL);
    if (s[1] != 'u') {
        if (!json_short_escape(s[1])) return json_wrong(p, p->at, "there is no such escape");
        p->at += 2;
        return true;
    }
    size_t len = json_unicode(s, left, &code);
    if (len == 0)
        return json_wrong(p, left < 6 ? p->n : p->at,
                          "\\u needs four hexadecimal digits, and surrogates come in pairs");
    p->at += len;
    return true;
}

/* At an opening quote: steps behind the closing one. */
static bool json_parse_string(json_parser *p) {
    p->at++;
    for (;;) {
        p->at = json_run(p->s, p->n, p->at);
        if (p->at == p->n) return json_wrong(p, p->n, NULL);
        unsigned char c = (unsigned char)p->s[p->at];
        if (c == '"') {
            p->at++;
            return true;
        }
        if (c == '\\') {
            if (!json_parse_escape(p)) return false;
        } else if (c < 0x20) {
            return json_wrong(p, p->at, "a control byte in a string must be escaped");
        } else {
            size_t len = agt__utf8_char(p->s + p->at, p->n - p->at);
            if (len == 0) return json_wrong(p, p->at, "a string is not valid UTF-8");
            p->at += len;
        }
    }
}

static size_t json_digits(const json_parser *p, size_t at) {
    while (at < p->n && p->s[at] >= '0' && p->s[at] <= '9')
        at++;
    return at;
}

static bool json_parse_number(json_parser *p) {
    size_t at = p->at + (p->s[p->at] == '-'), end = json_digits(p, at);
    if (end == at) return json_wrong(p, at, "a value is expected");
    if (p->s[at] == '0' && end > at + 1)
        return json_wrong(p, at + 1, "a number begins with a needless zero");
    if (end < p->n && p->s[end] == '.') {
        at = end + 1;
        end = json_digits(p, at);
        if (end == at) return json_wrong(p, at, "a fraction needs a digit");
    }
    if (end < p->n && (p->s[end] == 'e' || p->s[end] == 'E')) {
        at = end + 1;
        if (at < p->n && (p->s[at] == '+' || p->s[at] == '-')) at++;
        end = json_digits(p, at);
        if (end == at) return json_wrong(p, at, "an exponent needs a digit");
    }
    p->at = end;
    return true;
}

static bool json_parse_word(json_parser *p, const char *word, size_t len) {
    size_t left = p->n - p->at, i = 0;
    while (i < len && i < left && p->s[p->at + i] == word[i])
        i++;
    if (i < len) return json_wrong(p, p->at + i, "a value is expected");
    p->at += len;
    return true;
}

static bool json_parse_scalar(json_parser *p) {
    switch (p->at < p->n ? p->s[p->at] : 0) {
    case '"': return json_parse_string(p);
    case 't': return json_parse_word(p, "true", 4);
    case 'f': return json_parse_word(p, "false", 5);
    case 'n': return json_parse_word(p, "null", 4);
    default: return p->at < p->n ? json_parse_number(p) : json_wrong(p, p->n, NULL);
    }
}

/* At a member's name: steps to its value. */
static bool json_parse_name(json_parser *p) {
    if (p->at == p->n || p->s[p->at] != '"')
        return json_wrong(p, p->at, "a member's name in quotes is expected");
    if (!json_parse_string(p)) return false;
    p->at = json_blanks(p->s, p->n, p->at);
    if (p->at == p->n || p->s[p->at] != ':') return json_wrong(p, p->at, "a colon is expected");
    p->at = json_blanks(p->s, p->n, p->at + 1);
    return true;
}

/* At '{' or '[': steps to the first value inside; *empty if there is none and it is closed. */
static bool json_open(json_parser *p, bool *empty) {
    bool object = p->s[p->at] == '{';
    if (p->depth == AGT_JSON_MAX_DEPTH) {
        p->too_deep = true;
        return json_wrong(p, p->at, "arrays and objects are nested too deep");
    }
    uint64_t bit = (uint64_t)1 << p->depth % 64, *word = &p->objects[p->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    p->depth++;
    p->at = json_blanks(p->s, p->n, p->at + 1);
    *empty = p->at < p->n && p->s[p->at] == (object ? '}' : ']');
    return *empty || !object || json_parse_name(p);
}

/* Behind a value, inside a container: steps to the next value, or closes containers until there is
 * one or the outermost is closed. */
static bool json_close(json_parser *p) {
    while (p->depth) {
        p->at = json_blanks(p->s, p->n, p->at);
        char c = p->at < p->n ? p->s[p->at] : 0;
        bool object = json_in_object(p);
        if (c == ',') {
            p->at = json_blanks(p->s, p->n, p->at + 1);
            return !object || json_parse_name(p);
        }
        if (c != (object ? '}' : ']'))
            return json_wrong(p, p->at,
                              object ? "a comma or } is expected" : "a comma or ] is expected");
        p->at++;
        p->depth--;
    }
    return true;
}

static bool json_parse_value(json_parser *p) {
    for (bool empty = false;;) {
        char c = p->at < p->n ? p->s[p->at] : 0;
        if (c == '{' || c == '[') {
            if (!json_open(p, &empty)) return false;
            if (!empty) continue;
        } else if (!json_parse_scalar(p)) {
            return false;
        }
        if (!json_close(p)) return false;
        if (p->depth == 0) return true;
    }
}

static agt_json_kind json_kind(char c) {
    switch (c) {
    case 'n': return AGT_JSON_NULL;
    case 'f': return AGT_JSON_FALSE;
    case 't': return AGT_JSON_TRUE;
    case '"': return AGT_JSON_STRING;
    case '[': return AGT_JSON_ARRAY;
    case '{': return AGT_JSON_OBJECT;
    default: return AGT_JSON_NUMBER;
    }
}

static void json_value(agt_json *v, const char *s, size_t len) {
    v->kind = json_kind(s[0]);
    v->raw = s;
    v->len = len;
    v->escaped = v->kind == AGT_JSON_STRING && memchr(s, '\\', len) != NULL;
}

AGT_PRIVATE agt_status agt__json_parse(const char *s, size_t n, agt_json *root, agt_error *err) {
    json_parser p = {s, n, 0, 0, {0}, NULL, false};
    p.at = json_blanks(s, n, 0);
    size_t begin = p.at;
    if (json_parse_value(&p)) {
        size_t end = p.at;
        p.at = json_blanks(s, n, end);
        if (p.at == n) {
            json_value(root, s + begin, end - begin);
            return AGT_OK;
        }
        p.wrong = "something follows the value";
    }
    memset(root, 0, sizeof *root);
    return agt__fail_at(err, p.too_deep ? AGT_LIMIT : AGT_INVALID, (int64_t)p.at,
                        "no valid JSON: %s (byte %zu)", p.wrong, p.at);
}

/* ---- walking what was parsed ---- */

/* From a string's opening quote to behind its closing one. */
static size_t json_skip_string(const char *s, size_t n, size_t at) {
    for (at++; at < n; at++) {
        while (n - at >= 8 && !json_special(s + at))
            at += 8;
        if (at == n) break;
        if (s[at] == '"') return at + 1;
        if (s[at] == '\\') at++;
    }
    return n;
}

static size_t json_skip_value(const char *s, size_t n, size_t at) {
    size_t depth = 0;
    if (s[at] == '"') return json_skip_string(s, n, at);
    if (s[at] != '{' && s[at] != '[') {
        while (at < n && (json_plain(s[at]) && s[at] != ',' && s[at] != ']' && s[at] != '}') &&
               s[at] != ' ')
            at++;
        return at;
    }
    while (at < n) {
        char c = s[at];
        if (c == '"') {
            at = json_skip_string(s, n, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[') depth++;
        if ((c == '}' || c == ']') && --depth == 0) return at;
    }
    return n;
}

AGT_PRIVATE bool agt__json_next(const agt_json *container, size_t *at, agt_json *key,
                                agt_json *value) {
    const char *s = container->raw;
    size_t n = container->len, i = *at ? *at : 1, end;
    bool object = container->kind == AGT_JSON_OBJECT;
    if (!object && container->kind != AGT_JSON_ARRAY) return false;
    i = json_blanks(s, n, i);
    if (i < n && s[i] == ',') i = json_blanks(s, n, i + 1);
    if (i >= n || s[i] == '}' || s[i] == ']') {
        *at = n;
        return false;
    }
    if (object) {
        end = json_skip_string(s, n, i);
        if (key) json_value(key, s + i, end - i);
        i = json_blanks(s, n, end);
        if (i < n) i = json_blanks(s, n, i + 1); /* the colon */
        if (i >= n) {
            *at = n;
            return false;
        }
    }
    end = json_skip_value(s, n, i);
    json_value(value, s + i, end - i);
    *at = end;
    return true;
}

/* The next character of a string's inside at s[0..n) as UTF-8 in `out`; *len its length. Returns
 * the bytes it takes in the input. */
static size_t json_next_char(const char *s, size_t n, char out[4], size_t *len) {
    uint32_t code;
    *len = 1;
    out[0] = s[0];
    if (s[0] != '\\' || n < 2) return 1;
    if (s[1] != 'u') {
        out[0] = json_short_escape(s[1]);
        return 2;
    }
    size_t took = json_unicode(s, n, &code);
    if (took == 0) return 1;
    *len = agt__utf8_put(out, code);
    return took;
}

static bool json_string_is(const agt_json *v, const char *name, size_t name_len) {
    const char *s = v->raw + 1;
    size_t n = v->len - 2, at = 0, done = 0, len;
    char c[4];
    if (!v->escaped) return n == name_len && memcmp(s, name, n) == 0;
    while (at < n) {
        at += json_next_char(s + at, n - at, c, &len);
        if (len > name_len - done || memcmp(name + done, c, len) != 0) return false;
        done += len;
    }
    return done == name_len;
}

AGT_PRIVATE bool agt__json_get(const agt_json *object, const char *name, agt_json *value) {
    size_t at = 0, len = strlen(name);
    agt_json key, v;
    if (object->kind != AGT_JSON_OBJECT) return false;
    while (agt__json_next(object, &at, &key, &v)) {
        if (!json_string_is(&key, name, len)) continue;
        *value = v;
        return true;
    }
    return false;
}

AGT_PRIVATE size_t agt__json_unescape(const agt_json *v, char *out) {
    if (v->kind != AGT_JSON_STRING || v->len < 2) return 0;
    const char *s = v->raw + 1;
    size_t n = v->len - 2, at = 0, to = 0, len;
    while (at < n) {
        const char *slash = v->escaped ? memchr(s + at, '\\', n - at) : NULL;
        size_t run = slash ? (size_t)(slash - (s + at)) : n - at;
        memcpy(out + to, s + at, run);
        at += run;
        to += run;
        if (at == n) break;
        at += json_next_char(s + at, n - at, out + to, &len);
        to += len;
    }
    return to;
}

static bool json_integer(const char *s, size_t n, uint64_t max, uint64_t *out) {
    uint64_t v = 0;
    if (n == 0) return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        uint64_t digit = (uint64_t)(s[i] - '0');
        if (v > (max - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

AGT_PRIVATE bool agt__json_u64(const agt_json *v, uint64_t *out) {
    return v->kind == AGT_JSON_NUMBER && json_integer(v->raw, v->len, UINT64_MAX, out);
}

AGT_PRIVATE bool agt__json_i64(const agt_json *v, int64_t *out) {
    uint64_t u;
    if (v->kind != AGT_JSON_NUMBER || v->len == 0) return false;
    bool minus = v->raw[0] == '-';
    if (!json_integer(v->raw + minus, v->len - minus, (uint64_t)INT64_MAX + minus, &u))
        return false;
    *out = minus && u ? -(int64_t)(u - 1) - 1 : (int64_t)u;
    return true;
}

/* ---- writing ---- */

static void json_put_special(agt_buf *b, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    char out[6] = {'\\', 0, '0', '0', 0, 0};
    switch (c) {
    case '"':
    case '\\': out[1] = (char)c; break;
    case '\b': out[1] = 'b'; break;
    case '\t': out[1] = 't'; break;
    case '\n': out[1] = 'n'; break;
    case '\f': out[1] = 'f'; break;
    case '\r': out[1] = 'r'; break;
    default:
        out[1] = 'u';
        out[4] = digits[c >> 4];
        out[5] = digits[c & 15];
    }
    agt__buf_put(b, out, out[1] == 'u' ? 6 : 2);
}

AGT_PRIVATE void agt__json_put_string(agt_buf *b, const char *s, size_t n) {
    size_t begin = 0, at = 0, len;
    if (n > SIZE_MAX - 2 || !agt__buf_reserve(b, n + 2)) return;
    agt__buf_byte(b, '"');
    for (;;) {
        at = json_run(s, n, at);
        if (at < n && (len = agt__utf8_char(s + at, n - at)) > 1) {
            at += len;
            continue;
        }
        agt__buf_put(b, s + begin, at - begin);
        if (at == n) break;
        if ((unsigned char)s[at] < 0x80)
            json_put_special(b, (unsigned char)s[at]);
        else
            agt__buf_put(b, "\xef\xbf\xbd", 3);
        begin = ++at;
    }
    agt__buf_byte(b, '"');
}
/* end src/data/json.c */
/* begin src/data/path.c */
/* path: the names that documents, agents and sessions may have.
 *
 * A document's path is normalised once, here, and what comes out is the only spelling that the rest
 * of the library ever sees. It promises
 *  1. One to 65 parts of 1 to 255 bytes, joined by single slashes, at most AGT_MAX_PATH bytes,
 *     valid UTF-8; no part is "." or "..", so joining it to the root never leads out of the root.
 *  2. No part is .git or .agent-trace, nor anything that some file system takes for one of them:
 *     in any ASCII case, behind trailing dots and blanks (Windows), with invisible characters in
 *     it (HFS+), with a dotted or dotless i of another alphabet, or as an 8.3 name (GIT~1,
 *     AGENT-~1, GI7EBA~1).
 *  3. Every part can be made on Linux, macOS and Windows alike: no control characters, none of
 *     \ : < > " | ? *, no dot or blank at the end, no device name (con, nul.txt, com1).
 *  4. Normalising is idempotent.
 * A path that another program recorded may break (3), as long as it has no control character and
 * no backslash: agt__path_held. It can be read and renamed, not made.
 * Nothing here looks at the disk: links and names that clash are for the floors above.
 */

#define PATH_MAX_PART 255
#define PATH_FOLDED   32 /* longer than any reserved name in any disguise */

static char path_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool path_digit(char c) {
    return c >= '0' && c <= '9';
}

static agt_status path_refuse(agt_error *err, agt_status status, const char *path, size_t len,
                              size_t offset, const char *words) {
    char shown[160];
    return agt__fail_at(err, status, (int64_t)offset, "the path \"%s\" %s (byte %zu)",
                        agt__show_path(shown, sizeof shown, path, len), words, offset);
}

/* ---- reserved names: (2) ---- */

/* Characters that HFS+ leaves out when it compares names, and others that nobody can see. */
static bool path_invisible(uint32_t code) {
    return code == 0xad || code == 0x34f || code == 0x180e || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff;
}

/* The part in lower case without what does not count; PATH_FOLDED if it is too long to matter. */
static size_t path_fold(const char *part, size_t n, char out[PATH_FOLDED]) {
    size_t to = 0, len;
    for (size_t at = 0; at < n; at += len) {
        len = agt__utf8_char(part + at, n - at);
        uint32_t code = len > 1 ? agt__utf8_code(part + at, len) : 0;
        if (len == 0) len = 1;
        if (path_invisible(code)) continue;
        if (to == PATH_FOLDED && (part[at] == '.' || part[at] == ' ')) continue; /* at the end? */
        if (to == PATH_FOLDED) return to;
        /* any other letter beyond ASCII is in no reserved name */
        out[to++] = len == 1 ? path_lower(part[at]) : code == 0x130 || code == 0x131 ? 'i' : '?';
    }
    while (to && (out[to - 1] == '.' || out[to - 1] == ' '))
        to--;
    return to;
}

static bool path_is(const char *s, size_t n, const char *word) {
    return n == strlen(word) && memcmp(s, word, n) == 0;
}

/* "stem~digits" where the stem is one that Windows makes of .git or .agent-trace: the first letters
 * (up to six), or two letters and four hexadecimal digits of a hash. */
static bool path_short_name(const char *s, size_t n) {
    static const char agent[] = "agent-trace";
    size_t stem = n, hex = 2;
    while (stem && path_digit(s[stem - 1]))
        stem--;
    if (stem == n || stem < 3 || s[--stem] != '~') return false;
    if (path_is(s, stem, "git") || path_is(s, stem, "gi")) return true;
    if (stem < sizeof agent && memcmp(s, agent, stem) == 0) return true;
    if (stem != 6 || (memcmp(s, "gi", 2) != 0 && memcmp(s, "ag", 2) != 0)) return false;
    while (hex < 6 && (path_digit(s[hex]) || (s[hex] >= 'a' && s[hex] <= 'f')))
        hex++;
    return hex == 6;
}

static bool path_reserved(const char *part, size_t n) {
    char s[PATH_FOLDED];
    size_t len = path_fold(part, n, s);
    if (len == PATH_FOLDED) return false;
    return path_is(s, len, ".git") || path_is(s, len, ".agent-trace") || path_short_name(s, len);
}

/* ---- what another system cannot hold: (3) ---- */

static bool path_device(const char *part, size_t n) {
    static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"};
    const char *dot = memchr(part, '.', n);
    size_t len = dot ? (size_t)(dot - part) : n;
    char s[8];
    while (len && part[len - 1] == ' ')
        len--;
    if (len < 3 || len > sizeof s) return false;
    for (size_t i = 0; i < len; i++)
        s[i] = path_lower(part[i]);
    for (size_t i = 0; i < AGT_COUNT(names); i++)
        if (path_is(s, len, names[i])) return true;
    if (memcmp(s, "com", 3) != 0 && memcmp(s, "lpt", 3) != 0) return false;
    return (len == 4 && path_digit(s[3])) || /* or a raised 1, 2 or 3 of Latin-1 */
           (len == 5 && (path_is(s + 3, 2, "\xc2\xb9") || path_is(s + 3, 2, "\xc2\xb2") ||
                         path_is(s + 3, 2, "\xc2\xb3")));
}

/* Bytes that need a second look: controls, " * : < > ? and \ | in two words of 64 bits, and the
 * byte that begins U+0080 to U+00BF. */
static bool path_suspect(unsigned char c) {
    static const uint64_t bits[2] = {
        0xffffffff | (uint64_t)1 << '"' | (uint64_t)1 << '*' | (uint64_t)1 << ':' |
            (uint64_t)1 << '<' | (uint64_t)1 << '>' | (uint64_t)1 << '?',
        (uint64_t)1 << ('\\' - 64) | (uint64_t)1 << ('|' - 64) | (uint64_t)1 << (0x7f - 64)};
    return c < 0x80 ? bits[c / 64] >> c % 64 & 1 : c == 0xc2;
}

/* The first byte that no path may have; len if there is none. */
static size_t path_bad_byte(const char *path, size_t len, const char **words) {
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i],
                      next = i + 1 < len ? (unsigned char)path[i + 1] : 0;
        if (!path_suspect(c) || (c == 0xc2 && (next < 0x80 || next > 0x9f))) continue;
        if (c < 0x20 || c == 0x7f || c == 0xc2)
            *words = "has a control character; leave it out";
        else if (c == '\\')
            *words = "has a backslash; part folders with /";
        else
            *words = "has one of : < > \" | ? *, which some systems cannot store; choose another "
                     "character";
        return i;
    }
    return len;
}

/* What is wrong with a part that is neither "" nor "."; NULL if nothing is. */
static const char *path_bad_part(const char *part, size_t n) {
    if (n == 2 && part[0] == '.' && part[1] == '.')
        return "leads upward by \"..\"; write it as seen from the store's folder";
    if (path_reserved(part, n))
        return "has a part that is, or on some system looks like, .git or .agent-trace; these are "
               "out of reach";
    if (part[n - 1] == '.' || part[n - 1] == ' ')
        return "has a part that ends in a dot or a blank, which some systems drop; take it away";
    if (path_device(part, n))
        return "has a part that Windows takes for a device; choose another name";
    return NULL;
}

/* ---- normalising ---- */

typedef struct path_state {
    const char *path;
    size_t len;
    char *out;
    size_t to, parts;
    agt_error *err;
} path_state;

/* Appends one part (path[at..at+n)), which is not "" and not ".". */
static agt_status path_append(path_state *p, size_t at, size_t n) {
    const char *words = path_bad_part(p->path + at, n);
    if (words) return path_refuse(p->err, AGT_INVALID, p->path, p->len, at, words);
    if (n > PATH_MAX_PART)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "has a part of more than 255 bytes; shorten it");
    if (p->parts == AGT_MAX_DEPTH + 1)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "lies in more than 64 folders; use fewer");
    size_t slash = p->parts > 0;
    if (n + slash > AGT_MAX_PATH - p->to)
        return path_refuse(p->err, AGT_LIMIT, p->path, p->len, at,
                           "has more than 1,024 bytes; shorten it");
    if (slash) p->out[p->to++] = '/';
    memcpy(p->out + p->to, p->path + at, n);
    p->to += n;
    p->parts++;
    return AGT_OK;
}

/* The rules that look at the path as a whole. */
static agt_status path_check_whole(const char *path, size_t len, agt_error *err) {
    const char *words = NULL;
    if (len == 0)
        return agt__fail_at(err, AGT_INVALID, 0,
                            "the path is empty; name a file below the store's folder");
    if (path[0] == '/')
        return path_refuse(err, AGT_INVALID, path, len, 0,
                           "is absolute; write it as seen from the store's folder");
    size_t at = path_bad_byte(path, len, &words);
    if (at < len) return path_refuse(err, AGT_INVALID, path, len, at, words);
    at = agt__utf8_valid(path, len);
    if (at < len)
        return path_refuse(err, AGT_INVALID, path, len, at,
                           "is not valid UTF-8; give names in UTF-8");
    if (path[len - 1] == '/' || (path[len - 1] == '.' && (len == 1 || path[len - 2] == '/')))
        return path_refuse(err, AGT_INVALID, path, len, len - 1,
                           "names a folder; name a file in it");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__path_normalise(const char *path, size_t len, char *out, size_t *out_len,
                                           agt_error *err) {
    path_state p = {path, len, out, 0, 0, err};
    agt_status status = path_check_whole(path, len, err);
    for (size_t at = 0, end; at < len && status == AGT_OK; at = end + 1) {
        const char *slash = memchr(path + at, '/', len - at);
        end = slash ? (size_t)(slash - path) : len;
        bool dot = end - at == 1 && path[at] == '.';
        if (end > at && !dot) status = path_append(&p, at, end - at);
    }
    if (status != AGT_OK) p.to = 0;
    out[p.to] = 0;
    *out_len = p.to;
    return status;
}

AGT_PRIVATE bool agt__path_held(const char *path, size_t len) {
    size_t parts = 0, end;
    if (len == 0 || len > AGT_MAX_PATH || agt__utf8_valid(path, len) != len) return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c < 0x20 || c == 0x7f || c == '\\') return false;
        if (c == 0xc2 && (unsigned char)path[i + 1] < 0xa0) return false; /* C1 controls */
    }
    for (size_t at = 0; at <= len; at = end + 1) {
        const char *slash = at < len ? memchr(path + at, '/', len - at) : NULL;
        end = slash ? (size_t)(slash - path) : len;
        size_t n = end - at;
        if (n == 0 || n > PATH_MAX_PART || ++parts > AGT_MAX_DEPTH + 1) return false;
        if (path_is(path + at, n, ".") || path_is(path + at, n, "..")) return false;
        if (path_reserved(path + at, n)) return false;
    }
    return true;
}

AGT_PRIVATE int agt__path_fold_compare(const char *a, size_t alen, const char *b, size_t blen) {
    size_t n = alen < blen ? alen : blen;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        unsigned char x = (unsigned char)path_lower(a[i]), y = (unsigned char)path_lower(b[i]);
        if (x != y) return x < y ? -1 : 1;
    }
    return (alen > blen) - (alen < blen);
}

/* ---- names ---- */

static bool path_agent_valid(const char *s, size_t n) {
    if (n == 0 || n > AGT_MAX_NAME || s[0] == ' ' || s[n - 1] == ' ') return false;
    if (path_is(s, n, ".") || path_is(s, n, "..") || agt__utf8_valid(s, n) != n) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f || (c < 0x80 && strchr("<>/\\:\"", c))) return false;
        if (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) return false; /* C1 controls */
    }
    return true;
}

AGT_PRIVATE bool agt__actor_valid(const char *actor, size_t len) {
    if (path_is(actor, len, "user") || path_is(actor, len, "system")) return true;
    return len > 6 && memcmp(actor, "agent:", 6) == 0 && path_agent_valid(actor + 6, len - 6);
}

static bool path_word_char(char c, const char *also) {
    return (c >= 'a' && c <= 'z') || path_digit(c) || (c && strchr(also, c));
}

AGT_PRIVATE bool agt__session_valid(const char *s, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!path_word_char(path_lower(s[i]), "._:-")) return false;
    return len >= 1 && len <= AGT_MAX_NAME;
}

AGT_PRIVATE bool agt__word_valid(const char *s, size_t len, bool dots) {
    for (size_t i = 0; i < len; i++)
        if (!path_word_char(s[i], dots ? "_." : "_")) return false;
    return len >= 1 && len <= AGT_MAX_NAME;
}
/* end src/data/path.c */
/* begin src/data/toml.c */
/* toml: reads as much TOML 1.0 as the library's own small files need, and writes strings.
 *
 * Promises
 *  1. A line is a comment, a [table], an [[array of tables]], or `key = value`; values may be
 *     basic or literal strings, integers in four bases, and booleans. Everything else (floats,
 *     dates, arrays, inline tables, strings in triple quotes) is passed on raw, and may fill
 *     several lines where TOML allows it.
 *  2. A dotted key is the same as its table: `a.b = 1` comes as table "a", key "b". A dot inside
 *     a quoted name is not told from one between names.
 *  3. Valid UTF-8 only; a byte order mark at the beginning and CR LF are allowed. Whoever wants no
 *     duplicate keys must look for them.
 *  4. What agt__toml_put_string writes is read back as the same text.
 *
 * The limits: a table's name with its key has at most TOML_NAME bytes, a string with escapes at
 * most TOML_TEXT, brackets nest at most 64 deep; past them AGT_LIMIT.
 */

#define TOML_NAME 512
#define TOML_TEXT 8192

typedef struct toml_reader {
    const char *s;
    size_t n, at;
    agt_toml_fn each;
    void *ctx;
    agt_error *err;
    size_t table_len, name_len; /* name: the table, then the key, parts joined by dots */
    char name[TOML_NAME];
    char text[TOML_TEXT];
} toml_reader;

static agt_status toml_wrong(toml_reader *r, size_t at, const char *what) {
    size_t line = 1;
    for (size_t i = 0; i < at && i < r->n; i++)
        line += r->s[i] == '\n';
    return agt__fail_at(r->err, AGT_INVALID, (int64_t)at, "line %zu: %s", line, what);
}

static agt_status toml_limit(toml_reader *r, size_t at, const char *what) {
    return agt__fail_at(r->err, AGT_LIMIT, (int64_t)at, "%s at byte %zu; shorten it", what, at);
}

/* The byte at `at`; a line feed behind the end, so that every line ends in one. */
static char toml_peek(const toml_reader *r, size_t ahead) {
    return r->at + ahead < r->n ? r->s[r->at + ahead] : '\n';
}

static void toml_blanks(toml_reader *r) {
    while (r->at < r->n && (r->s[r->at] == ' ' || r->s[r->at] == '\t'))
        r->at++;
}

static bool toml_control(char c) {
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static bool toml_line_end(const toml_reader *r) {
    char c = toml_peek(r, 0);
    return c == '\n' || (c == '\r' && toml_peek(r, 1) == '\n' && r->at + 1 < r->n);
}

/* Blanks, a comment, and the end of the line. */
static agt_status toml_end_line(toml_reader *r) {
    toml_blanks(r);
    if (toml_peek(r, 0) == '#') {
        while (!toml_line_end(r)) {
            if (toml_control(r->s[r->at])) return toml_wrong(r, r->at, "a control byte");
            r->at++;
        }
    }
    if (!toml_line_end(r)) return toml_wrong(r, r->at, "the end of the line is expected");
    if (r->at < r->n) r->at += r->s[r->at] == '\r' ? 2 : 1;
    return AGT_OK;
}

/* ---- strings ---- */

static int toml_digit(char c, int base) {
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : 99;
    return d < base ? d : -1;
}

/* Behind the backslash: writes the character to `out` (4 bytes); its length, 0 if it is wrong. */
static size_t toml_escape(toml_reader *r, char *out) {
    static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
    char c = toml_peek(r, 0);
    const char *found = c ? strchr(from, c) : NULL;
    r->at++;
    if (found) {
        out[0] = to[found - from];
        return 1;
    }
    uint32_t code = 0;
    int digits = c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) return 0;
    for (int i = 0; i < digits; i++, r->at++) {
        int d = toml_digit(toml_peek(r, 0), 16);
        if (d < 0) return 0;
        code = code << 4 | (uint32_t)d;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    return agt__utf8_put(out, code);
}

/* At a quote: the text between it and the next one, in the input or, if it has escapes, in
 * r->text. */
static agt_status toml_string(toml_reader *r, agt_text *out) {
    char quote = r->s[r->at++];
    size_t begin = r->at, len = 0, run = r->at;
    bool copied = false;
    for (; toml_peek(r, 0) != quote; r->at++) {
        char c = toml_peek(r, 0);
        if (c == '\n' || c == '\r') return toml_wrong(r, begin - 1, "a string is not closed");
        if (toml_control(c)) return toml_wrong(r, r->at, "a control byte in a string");
        if (c != '\\' || quote != '"') continue;
        if (len + (r->at - run) + 4 > TOML_TEXT) return toml_limit(r, begin, "a string too long");
        memcpy(r->text + len, r->s + run, r->at - run);
        size_t slash = r->at++;
        len += slash - run;
        size_t one = toml_escape(r, r->text + len);
        if (one == 0) return toml_wrong(r, slash, "no such escape in a string");
        len += one;
        copied = true;
        run = r->at--;
    }
    size_t tail = r->at++ - run;
    out->data = copied ? r->text : r->s + begin;
    out->len = copied ? len + tail : tail;
    if (copied && tail > TOML_TEXT - len) return toml_limit(r, begin, "a string too long");
    if (copied) memcpy(r->text + len, r->s + run, tail);
    return AGT_OK;
}

/* ---- names ---- */

static bool toml_bare(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static agt_status toml_name_part(toml_reader *r) {
    size_t begin = r->at;
    char c = toml_peek(r, 0);
    agt_text part;
    if (c == '"' || c == '\'') {
        agt_status status = toml_string(r, &part);
        if (status != AGT_OK) return status;
    } else {
        while (r->at < r->n && toml_bare(r->s[r->at]))
            r->at++;
        if (r->at == begin) return toml_wrong(r, begin, "a name is expected");
        part.data = r->s + begin;
        part.len = r->at - begin;
    }
    if (part.len == 0) return toml_wrong(r, begin, "a name is empty");
    if (part.len + 1 > TOML_NAME - r->name_len) return toml_limit(r, begin, "a name too long");
    memcpy(r->name + r->name_len, part.data, part.len);
    r->name_len += part.len;
    return AGT_OK;
}

/* A key or a table's name, appended to r->name. *last is where its last part begins. */
static agt_status toml_name(toml_reader *r, size_t *last) {
    for (;;) {
        *last = r->name_len;
        agt_status status = toml_name_part(r);
        if (status != AGT_OK) return status;
        toml_blanks(r);
        if (toml_peek(r, 0) != '.') return AGT_OK;
        r->at++;
        r->name[r->name_len++] = '.';
        toml_blanks(r);
    }
}

/* ---- values ---- */

/* A whole number in r->s[begin..end): sign, base, digits with single underscores between them. */
static bool toml_integer(const char *s, size_t n, int64_t *out, bool *too_big) {
    static const char bases[] = "xob";
    static const int base_of[] = {16, 8, 2};
    bool minus = n && s[0] == '-', sign = minus || (n && s[0] == '+');
    uint64_t v = 0, max = (uint64_t)INT64_MAX + minus;
    size_t i = sign;
    int base = 10;
    const char *b = !sign && n > 2 && s[0] == '0' && s[1] ? strchr(bases, s[1]) : NULL;
    if (b) {
        base = base_of[b - bases];
        i = 2;
    }
    if (i >= n || (base == 10 && s[i] == '0' && n > i + 1)) return false;
    for (bool digit = false; i < n; i++) {
        int d = toml_digit(s[i], base);
        if (d < 0 && (s[i] != '_' || !digit || i + 1 == n)) return false;
        digit = d >= 0;
        if (!digit) continue;
        if (v > (max - (uint64_t)d) / (uint64_t)base) *too_big = true;
        v = *too_big ? 0 : v * (uint64_t)base + (uint64_t)d;
    }
    *out = minus && v ? -(int64_t)(v - 1) - 1 : (int64_t)v;
    return true;
}

/* Digits with single underscores between them; how many bytes, 0 if there are none. */
static size_t toml_digits(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && (toml_digit(s[i], 10) >= 0 ||
                     (i && s[i] == '_' && s[i - 1] != '_' && i + 1 < n && s[i + 1] != '_')))
        i++;
    return i && s[i - 1] == '_' ? 0 : i;
}

static bool toml_float(const char *s, size_t n) {
    size_t i = n && (s[0] == '-' || s[0] == '+'), some;
    if (n - i == 3 && (memcmp(s + i, "inf", 3) == 0 || memcmp(s + i, "nan", 3) == 0)) return true;
    some = toml_digits(s + i, n - i);
    if (some == 0 || (s[i] == '0' && some > 1)) return false;
    i += some;
    if (i < n && s[i] == '.') {
        some = toml_digits(s + i + 1, n - i - 1);
        if (some == 0) return false;
        i += 1 + some;
    }
    if (i < n && (s[i] | 0x20) == 'e') {
        i++;
        if (i < n && (s[i] == '-' || s[i] == '+')) i++;
        some = toml_digits(s + i, n - i);
        if (some == 0) return false;
        i += some;
    }
    return i == n;
}

/* The shape of a date, a time, or both; that the day exists is for whoever wants it. */
static bool toml_date(const char *s, size_t n) {
    size_t i = 0;
    while (i < n && toml_digit(s[i], 10) >= 0)
        i++;
    if (!(i == 4 && n >= 10 && s[4] == '-' && s[7] == '-') &&
        !(i == 2 && n >= 8 && s[2] == ':' && s[5] == ':'))
        return false;
    for (; i < n; i++)
        if (toml_digit(s[i], 10) < 0 && !strchr("-+:.TtZz ", s[i])) return false;
    return true;
}

/* At three quotes: steps behind the closing three (and up to two more quotes before them). */
static agt_status toml_skip_long_string(toml_reader *r) {
    size_t begin = r->at;
    char quote = r->s[r->at];
    for (r->at += 3; r->at < r->n; r->at++) {
        char c = r->s[r->at];
        if (toml_control(c) && c != '\n' && (c != '\r' || toml_peek(r, 1) != '\n'))
            return toml_wrong(r, r->at, "a control byte in a string");
        if (c == '\\' && quote == '"') {
            r->at++;
        } else if (c == quote && toml_peek(r, 1) == quote && toml_peek(r, 2) == quote) {
            r->at += 3;
            for (int more = 0; more < 2 && toml_peek(r, 0) == quote; more++)
                r->at++;
            return AGT_OK;
        }
    }
    return toml_wrong(r, begin, "a string is not closed");
}

static bool toml_three_quotes(const toml_reader *r) {
    char c = toml_peek(r, 0);
    return (c == '"' || c == '\'') && toml_peek(r, 1) == c && toml_peek(r, 2) == c;
}

/* At a bracket: steps behind the one that closes it. Only an array may fill several lines. */
static agt_status toml_skip_brackets(toml_reader *r) {
    uint64_t braces = 0; /* bit d: level d is an inline table */
    size_t begin = r->at, depth = 0;
    agt_text ignored;
    while (r->at < r->n) {
        agt_status status = AGT_OK;
        char c = toml_peek(r, 0);
        if (toml_three_quotes(r)) {
            status = toml_skip_long_string(r);
        } else if (c == '"' || c == '\'') {
            status = toml_string(r, &ignored);
        } else if (c == '#' || toml_line_end(r)) {
            if (braces >> (depth - 1) & 1)
                return toml_wrong(r, begin, "an inline table is not closed on its line");
            status = toml_end_line(r);
        } else if (toml_control(c)) {
            status = toml_wrong(r, r->at, "a control byte");
        } else if (c == '[' || c == '{') {
            if (depth == 64) return toml_limit(r, r->at, "brackets nested too deep");
            braces |= (uint64_t)(c == '{') << depth++;
            r->at++;
        } else if (c == ']' || c == '}') {
            if ((braces >> (depth - 1) & 1) != (c == '}'))
                return toml_wrong(r, r->at, "the wrong bracket");
            braces &= ~((uint64_t)1 << --depth);
            r->at++;
            if (depth == 0) return AGT_OK;
        } else {
            r->at++;
        }
        if (status != AGT_OK) return status;
    }
    return toml_wrong(r, begin, "a bracket is not closed");
}

/* A value without quotes and brackets: up to a comment or the end of the line. */
static agt_status toml_plain(toml_reader *r, agt_toml_value *v) {
    static const char also[] = "+-._: ";
    size_t begin = r->at;
    bool too_big = false;
    while (!toml_line_end(r) &&
           (toml_bare(r->s[r->at]) || (r->s[r->at] && strchr(also, r->s[r->at]))))
        r->at++;
    size_t n = r->at - begin;
    while (n && r->s[begin + n - 1] == ' ')
        n--;
    if (n == 0) return toml_wrong(r, begin, "a value is expected");
    v->text.data = r->s + begin;
    v->text.len = n;
    if (agt__text_is(v->text, "true") || agt__text_is(v->text, "false")) {
        v->kind = AGT_TOML_BOOLEAN;
        v->boolean = n == 4;
    } else if (toml_integer(r->s + begin, n, &v->integer, &too_big)) {
        v->kind = AGT_TOML_INTEGER;
        if (too_big) return toml_wrong(r, begin, "an integer has more than 64 bits");
    } else if (!toml_float(v->text.data, n) && !toml_date(v->text.data, n)) {
        return toml_wrong(r, begin, "no value of TOML; text needs quotes");
    }
    return AGT_OK;
}

static agt_status toml_value(toml_reader *r, agt_toml_value *v) {
    size_t begin = r->at;
    char c = toml_peek(r, 0);
    agt_status status;
    memset(v, 0, sizeof *v);
    v->kind = AGT_TOML_OTHER;
    if (toml_three_quotes(r)) {
        status = toml_skip_long_string(r);
    } else if (c == '"' || c == '\'') {
        v->kind = AGT_TOML_STRING;
        return toml_string(r, &v->text);
    } else if (c == '[' || c == '{') {
        status = toml_skip_brackets(r);
    } else {
        return toml_plain(r, v);
    }
    v->text.data = r->s + begin;
    v->text.len = r->at - begin;
    return status;
}

/* ---- lines ---- */

/* Tells `each`; its error gets the line's offset if it has none of its own. */
static agt_status toml_tell(toml_reader *r, size_t at, agt_text key, size_t table_len,
                            const agt_toml_value *v) {
    agt_text table = {r->name, table_len};
    agt_status status = r->each(table, key, v, r->err, r->ctx);
    if (status != AGT_OK && r->err && r->err->offset < 0) r->err->offset = (int64_t)at;
    return status;
}

static agt_status toml_table(toml_reader *r) {
    size_t begin = r->at, last;
    bool array = toml_peek(r, 1) == '[';
    r->at += array ? 2 : 1;
    r->name_len = 0;
    toml_blanks(r);
    agt_status status = toml_name(r, &last);
    if (status != AGT_OK) return status;
    if (toml_peek(r, 0) != ']' || (array && toml_peek(r, 1) != ']'))
        return toml_wrong(r, r->at, "a table's name must end in ]");
    r->at += array ? 2 : 1;
    r->table_len = r->name_len;
    if (!array) return AGT_OK;
    agt_toml_value v = {AGT_TOML_OTHER, {r->s + begin, r->at - begin}, 0, false};
    return toml_tell(r, begin, agt__text(""), r->table_len, &v);
}

static agt_status toml_pair(toml_reader *r) {
    size_t begin = r->at, last, dot = r->table_len;
    agt_toml_value v;
    r->name_len = dot;
    if (dot) r->name[r->name_len++] = '.';
    agt_status status = toml_name(r, &last);
    if (status != AGT_OK) return status;
    if (toml_peek(r, 0) != '=') return toml_wrong(r, r->at, "name = value is expected");
    r->at++;
    toml_blanks(r);
    status = toml_value(r, &v);
    if (status != AGT_OK) return status;
    agt_text key = {r->name + last, r->name_len - last};
    return toml_tell(r, begin, key, last ? last - 1 : 0, &v);
}

AGT_PRIVATE agt_status agt__toml_read(const char *s, size_t n, agt_toml_fn each, void *ctx,
                                      agt_error *err) {
    toml_reader r;
    agt_status status = AGT_OK;
    r.s = s;
    r.n = n;
    r.at = n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    r.each = each;
    r.ctx = ctx;
    r.err = err;
    r.table_len = r.name_len = 0;
    size_t valid = agt__utf8_valid(s, n);
    if (valid < n) return toml_wrong(&r, valid, "not valid UTF-8");
    while (r.at < n && status == AGT_OK) {
        toml_blanks(&r);
        if (!toml_line_end(&r) && r.s[r.at] != '#')
            status = r.s[r.at] == '[' ? toml_table(&r) : toml_pair(&r);
        if (status == AGT_OK) status = toml_end_line(&r);
    }
    return status;
}

AGT_PRIVATE void agt__toml_put_string(agt_buf *b, const char *s, size_t n) {
    static const char from[] = "\b\t\n\f\r\"\\", to[] = "btnfr\"\\", digits[] = "0123456789abcdef";
    agt__buf_byte(b, '"');
    for (size_t at = 0, len; at < n; at += len) {
        len = agt__utf8_char(s + at, n - at);
        const char *found = s[at] ? strchr(from, s[at]) : NULL;
        char escape[6] = {'\\', 'u', '0', '0', 0, 0};
        if (len == 0) {
            agt__buf_put(b, "\xef\xbf\xbd", 3);
            len = 1;
        } else if (found) {
            escape[1] = to[found - from];
            agt__buf_put(b, escape, 2);
        } else if (toml_control(s[at])) {
            escape[4] = digits[(unsigned char)s[at] >> 4];
            escape[5] = digits[s[at] & 15];
            agt__buf_put(b, escape, 6);
        } else {
            agt__buf_put(b, s + at, len);
        }
    }
    agt__buf_byte(b, '"');
}
/* end src/data/toml.c */
/* begin src/data/lines.c */
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
/* end src/data/lines.c */
/* begin src/data/ignore.c */
/* ignore: which paths a list of patterns leaves out, in the language of .gitignore.
 *
 * A pattern is matched as it stands in the text, without being translated first: the set of places
 * in the pattern that the path read so far may have led to is kept as bits, and moved on by each
 * byte of the path. So a pattern of p bytes and a path of n cost at most p * n steps whatever is in
 * them, no byte is allocated, and nothing calls itself.
 *
 * Where git's own manual and git differ, it is git that is followed: `a**` after letters crosses
 * folders, a set without its end matches nothing, one `\r` before a newline does not count.
 */

#define IGNORE_WORDS (AGT_IGNORE_MAX_LINE / 64 + 1)

typedef struct ignore_bits {
    uint64_t word[IGNORE_WORDS];
} ignore_bits;

static void ignore_set(ignore_bits *b, size_t i) {
    b->word[i / 64] |= (uint64_t)1 << i % 64;
}

static bool ignore_has(const ignore_bits *b, size_t i) {
    return b->word[i / 64] >> i % 64 & 1;
}

/* ---- reading ---- */

static bool ignore_special(char c) {
    return c == '*' || c == '?' || c == '[' || c == '\\';
}

/* The line without blanks at its end that no backslash keeps. */
static size_t ignore_trim(const char *line, size_t n) {
    size_t last = n, i = 0;
    for (; i < n; i++) {
        if (line[i] == ' ') {
            if (last == n) last = i;
            continue;
        }
        last = n;
        if (line[i] == '\\' && ++i >= n) return n;
    }
    return last;
}

static void ignore_rule(agt_ignore_rule *r, const char *p, size_t n) {
    memset(r, 0, sizeof *r);
    if (n && *p == '!') {
        r->negative = true;
        p++, n--;
    }
    if (n && p[n - 1] == '/') {
        r->folder_only = true;
        n--;
    }
    r->name_only = !n || !memchr(p, '/', n);
    if (n && *p == '/') p++, n--; /* only a slash at the beginning or in the middle anchors */
    r->pattern = p;
    r->len = (uint16_t)n;
    while (r->plain < n && !ignore_special(p[r->plain]))
        r->plain++;
}

AGT_PRIVATE size_t agt__ignore_lines(const char *text, size_t n) {
    size_t lines = n && text[n - 1] != '\n';
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    return lines;
}

AGT_PRIVATE agt_status agt__ignore_read(const char *text, size_t n, agt_ignore_rule *rules,
                                        size_t *count, agt_error *err) {
    size_t line = 1, end;
    *count = 0;
    for (size_t at = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0; at < n;
         at = end + 1, line++) {
        const char *newline = memchr(text + at, '\n', n - at);
        end = newline ? (size_t)(newline - text) : n;
        size_t len = end - at;
        const char *nul = memchr(text + at, 0, len);
        if (len && text[end - 1] == '\r') len--;
        if (nul && (size_t)(nul - text) < at + len) len = (size_t)(nul - text) - at;
        if (!len || text[at] == '#') continue;
        len = ignore_trim(text + at, len);
        if (len > AGT_IGNORE_MAX_LINE)
            return agt__fail_at(err, AGT_LIMIT, (int64_t)at,
                                "line %zu has more than %d bytes; make it shorter", line,
                                AGT_IGNORE_MAX_LINE);
        ignore_rule(&rules[(*count)++], text + at, len);
    }
    return AGT_OK;
}

/* ---- one element of a pattern ---- */

typedef enum ignore_kind {
    IGNORE_BYTE, /* just that byte */
    IGNORE_ANY,  /* ?: any but a slash */
    IGNORE_SET,  /* [...] */
    IGNORE_STAR, /* any number of bytes that are no slash */
    IGNORE_DEEP, /* any number of any bytes */
    IGNORE_DIRS, /* nothing, or any bytes and a slash behind them */
    IGNORE_NEVER /* malformed: no path gets past it */
} ignore_kind;

typedef struct ignore_item {
    ignore_kind kind;
    size_t len; /* in the pattern */
} ignore_item;

static bool ignore_in_class(const char *name, size_t n, unsigned char c) {
    bool lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
    bool graph = c > ' ' && c < 0x7f, is = false;
    const struct {
        const char *name;
        bool is;
    } classes[] = {{"alnum", lower || upper || digit},
                   {"alpha", lower || upper},
                   {"blank", c == ' ' || c == '\t'},
                   {"cntrl", c < ' ' || c == 0x7f},
                   {"digit", digit},
                   {"graph", graph},
                   {"lower", lower},
                   {"print", graph || c == ' '},
                   {"punct", graph && !lower && !upper && !digit},
                   {"space", c == ' ' || (c >= '\t' && c <= '\r')},
                   {"upper", upper},
                   {"xdigit", digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')}};
    for (size_t i = 0; i < AGT_COUNT(classes); i++)
        if (strlen(classes[i].name) == n && !memcmp(name, classes[i].name, n)) is = classes[i].is;
    return is;
}

static bool ignore_known_class(const char *name, size_t n) {
    for (unsigned c = 0; c < 128; c++)
        if (ignore_in_class(name, n, (unsigned char)c)) return true;
    return false;
}

/* Is the '[' at p[0] that of a class `[:name:]`? Its name's length and its own. If not, it is a
 * byte like any other. */
static bool ignore_class(const char *p, size_t n, size_t *name, size_t *past) {
    const char *close = n < 2 || p[1] != ':' ? NULL : memchr(p + 2, ']', n - 2);
    size_t len = close ? (size_t)(close - p) : 0;
    if (len < 3 || p[len - 1] != ':') return false;
    *past = len + 1;
    *name = len - 3;
    return true;
}

/* The set at p[0] == '[': its length, 0 if it is malformed. Sets *in if c is in it. */
static size_t ignore_in_set(const char *p, size_t n, unsigned char c, bool *in) {
    size_t at = 1, past = 0, name = 0;
    bool negated = n > 1 && (p[1] == '!' || p[1] == '^'), found = false;
    int before = -1; /* the byte that a range may begin with */
    if (negated) at++;
    for (bool first = true; at < n && (first || p[at] != ']'); first = false) {
        unsigned char b = (unsigned char)p[at];
        if (b == '-' && before >= 0 && at + 1 < n && p[at + 1] != ']') {
            if (p[++at] == '\\') at++;
            if (at >= n) return 0;
            found |= c >= before && c <= (unsigned char)p[at];
            before = -1;
            at++;
        } else if (b == '[' && at + 1 < n && p[at + 1] == ':' && !memchr(p + at, ']', n - at)) {
            return 0;
        } else if (b == '[' && ignore_class(p + at, n - at, &name, &past)) {
            if (!ignore_known_class(p + at + 2, name)) return 0;
            found |= ignore_in_class(p + at + 2, name, c);
            before = -1;
            at += past;
        } else {
            if (b == '\\' && ++at >= n) return 0;
            before = (unsigned char)p[at++];
            found |= c == before;
        }
    }
    *in = found != negated;
    return at < n ? at + 1 : 0;
}

/* A run of stars at r->pattern[at]. Two or more between slashes cross folders. */
static ignore_item ignore_stars(const agt_ignore_rule *r, size_t at) {
    const char *p = r->pattern;
    size_t end = at;
    while (end < r->len && p[end] == '*')
        end++;
    ignore_item item = {IGNORE_STAR, end - at};
    /* git compares the plain beginning apart, and what follows begins anew */
    bool begins = at == 0 || at == r->plain || p[at - 1] == '/';
    bool slash = end < r->len && p[end] == '/';
    bool escaped = end + 1 < r->len && p[end] == '\\' && p[end + 1] == '/';
    if (r->name_only || item.len < 2 || !begins || (end < r->len && !slash && !escaped))
        return item;
    item.kind = slash ? IGNORE_DIRS : IGNORE_DEEP;
    item.len += slash;
    return item;
}

/* The element at `at`; *byte is what IGNORE_BYTE wants, *in whether c is in the set. */
static ignore_item ignore_next(const agt_ignore_rule *r, size_t at, unsigned char c, char *byte,
                               bool *in) {
    const char *p = r->pattern + at;
    size_t left = r->len - at;
    ignore_item item = {IGNORE_BYTE, 1};
    *byte = *p;
    if (*p == '*') return ignore_stars(r, at);
    if (*p == '?') item.kind = IGNORE_ANY;
    if (*p == '\\') {
        if (left < 2) return (ignore_item){IGNORE_NEVER, 1};
        *byte = p[1];
        item.len = 2;
    }
    if (*p == '[') {
        item.len = ignore_in_set(p, left, c, in);
        item.kind = item.len ? IGNORE_SET : IGNORE_NEVER;
    }
    return item;
}

/* ---- matching ---- */

/* Moves the set on by one byte c, or (c < 0) only over what may match nothing. `inside` has the
 * places of DIRS that have begun to match something. */
static void ignore_step(const agt_ignore_rule *r, int c, ignore_bits *here, ignore_bits *inside,
                        ignore_bits *next, ignore_bits *next_inside) {
    for (size_t at = 0; at < r->len; at++) {
        char byte = 0;
        bool in = false;
        if (!ignore_has(here, at) && !ignore_has(inside, at)) {
            if (!here->word[at / 64] && !inside->word[at / 64]) at |= 63; /* none in this word */
            continue;
        }
        ignore_item item = ignore_next(r, at, (unsigned char)c, &byte, &in);
        size_t past = at + item.len;
        if (item.kind >= IGNORE_STAR && item.kind <= IGNORE_DIRS && ignore_has(here, at))
            ignore_set(here, past);
        if (c < 0) continue;
        if (item.kind == IGNORE_DIRS) ignore_set(next_inside, at);
        if ((item.kind == IGNORE_STAR && c != '/') || item.kind == IGNORE_DEEP)
            ignore_set(next, at);
        if ((item.kind == IGNORE_BYTE && c == (unsigned char)byte) ||
            (item.kind == IGNORE_ANY && c != '/') || (item.kind == IGNORE_SET && in && c != '/') ||
            (item.kind == IGNORE_DIRS && c == '/'))
            ignore_set(next, past);
    }
}

static bool ignore_glob(const agt_ignore_rule *r, const char *s, size_t n) {
    ignore_bits sets[4];
    size_t words = (size_t)r->len / 64 + 1, now = 0;
    memset(sets, 0, sizeof sets);
    ignore_set(&sets[0], r->plain);
    for (size_t i = 0; i < n; i++, now ^= 2) {
        ignore_bits *next = &sets[now ^ 2];
        memset(next[0].word, 0, words * sizeof(uint64_t));
        memset(next[1].word, 0, words * sizeof(uint64_t));
        ignore_step(r, (unsigned char)s[i], &sets[now], &sets[now + 1], next, next + 1);
        uint64_t any = 0;
        for (size_t w = 0; w < words; w++)
            any |= next[0].word[w] | next[1].word[w];
        if (!any) return false;
    }
    ignore_step(r, -1, &sets[now], &sets[now + 1], NULL, NULL);
    return ignore_has(&sets[now], r->len);
}

static bool ignore_matches(const agt_ignore_rule *r, const char *path, size_t len, size_t name) {
    if (r->name_only) path += name, len -= name;
    if (r->plain > len || memcmp(r->pattern, path, r->plain) != 0) return false;
    if (r->plain == r->len) return len == r->len;
    if (r->pattern[r->plain] == '*' && r->name_only) { /* most are *.ending */
        size_t tail = r->len - r->plain - 1u, i = r->plain + 1u;
        while (i < r->len && !ignore_special(r->pattern[i]))
            i++;
        if (i == r->len)
            return len - r->plain >= tail &&
                   memcmp(r->pattern + r->plain + 1, path + len - tail, tail) == 0;
    }
    return ignore_glob(r, path + r->plain, len - r->plain);
}

AGT_PRIVATE agt_ignore_answer agt__ignore_one(const agt_ignore_rule *rules, size_t count,
                                              const char *path, size_t len, bool folder) {
    size_t name = len;
    while (name && path[name - 1] != '/')
        name--;
    while (count--) { /* the last that matches decides */
        const agt_ignore_rule *r = &rules[count];
        if ((folder || !r->folder_only) && ignore_matches(r, path, len, name))
            return r->negative ? AGT_IGNORE_WANTED : AGT_IGNORE_LEFT_OUT;
    }
    return AGT_IGNORE_UNSAID;
}

/* ---- what is kept out of sight unless a pattern of the user's wants it ---- */

/* Nothing in here may hide what people write: `credentials.md` is about credentials, `build/` and
 * `vendor/` often hold sources. */
static const char ignore_usual[] =
    /* secrets: settings with passwords in them */
    ".env\n.env.*\n*.env\n.envrc\n!.env.example\n!.env.sample\n!.env.template\n"
    "credentials*\n!credentials*.md\nsecrets.json\nsecrets.toml\nsecrets.yml\nsecrets.yaml\n"
    ".secrets\nservice-account*.json\n*.tfstate\n*.tfstate.*\n"
    /* secrets: keys, certificates with keys, and their stores */
    "*.pem\n*.key\n*.p12\n*.pfx\n*.jks\n*.keystore\n*.kdbx\n*.kdb\n*.ppk\n"
    "id_rsa*\nid_dsa*\nid_ecdsa*\nid_ed25519*\n"
    /* secrets: what programs log in with */
    ".netrc\n_netrc\n.npmrc\n.pypirc\n.pgpass\n.my.cnf\n.htpasswd\n.git-credentials\n.dockercfg\n"
    ".aws/\n.azure/\n.docker/\n.gcloud/\n.gnupg/\n.kube/\n.password-store/\n.ssh/\n"
    /* other systems' version control; .git and .agent-trace are never looked into at all */
    ".hg/\n.svn/\n.bzr/\n.jj/\nCVS/\n"
    /* what tools make and can make again */
    "node_modules/\n__pycache__/\n*.pyc\n*.pyo\n.venv/\nvenv/\n.tox/\n.nox/\n.mypy_cache/\n"
    ".pytest_cache/\n.ruff_cache/\n*.egg-info/\n.gradle/\n.terraform/\n.cache/\ntarget/\ndist/\n"
    /* what editors and systems leave behind */
    "*~\n*.swp\n*.swo\n.#*\n\\#*#\n~$*\n*.tmp\n.DS_Store\nThumbs.db\ndesktop.ini\n";

AGT_PRIVATE const char *agt__ignore_usual(size_t *len) {
    *len = sizeof ignore_usual - 1;
    return ignore_usual;
}
/* end src/data/ignore.c */
/* begin src/sys/sys.c */
/* sys: what every floor above needs from an agt_sys and would otherwise write again.
 *
 * Nothing here knows which system stands behind the struct: no OS header, no errno. A call that
 * fails leaves the caller's buffers as they were and no descriptor open.
 *
 * (1) A file of ours is replaced, never rewritten: the new bytes stand complete in `name.tmp`
 *     before the name moves, so a reader sees the old file or the new one.
 * (2) `name.tmp` is always made new (O_EXCL): what somebody planted there, a hard link for
 *     example, is unlinked and never written through.
 * (3) A folder is entered one component at a time and never through a link. */
/* begin src/sys/sys.h */
/* sys: the operating system behind one struct (declared in agent_trace.h under AGENT_TRACE_SYS).
 * posix.c is the only file of the library with OS headers. What stands here are the helpers every
 * floor above uses with any agt_sys. */
#ifndef AGT_SYS_PART_H
#define AGT_SYS_PART_H


/* The given one, or the operating system for NULL. */
AGT_PRIVATE const agt_sys *agt__sys_or_os(const agt_sys *sys);

/* Writes all n bytes; goes on after short writes. 0 or a negative AGT_SYS_ERR. */
AGT_PRIVATE int agt__write_all(const agt_sys *sys, agt_fd fd, const void *data, size_t n,
                               uint64_t offset);
/* Reads up to n bytes, fewer only at the end of the file. The count or a negative AGT_SYS_ERR. */
AGT_PRIVATE int64_t agt__read_all(const agt_sys *sys, agt_fd fd, void *data, size_t n,
                                  uint64_t offset);
/* Reads a whole regular file of at most `max` bytes behind what `out` holds. AGT_NOT_FOUND,
 * AGT_LIMIT, AGT_INVALID (no regular file), AGT_NOMEM, AGT_IO. */
AGT_PRIVATE agt_status agt__read_file(const agt_sys *sys, agt_fd dir, const char *name, size_t max,
                                      agt_buf *out, agt_error *err);
/* Writes a file of ours atomically: `name.tmp` beside it, synced if `durable`, renamed, folder
 * synced if `durable`. Mode 0600. */
AGT_PRIVATE agt_status agt__write_file(const agt_sys *sys, agt_fd dir, const char *name,
                                       const void *data, size_t n, bool durable, agt_error *err);
/* Opens a sub-folder of ours, making it (mode 0700) if `make`. */
AGT_PRIVATE agt_status agt__open_folder(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                                        agt_fd *out, agt_error *err);
#define AGT_STORE_NAME ".agent-trace"

/* Writes a .gitignore into the open folder .agent-trace that hides it, if there is none: a git
 * repository around it sees nothing of it, `git clean` leaves it alone, and nothing in that
 * repository is touched for it. */
AGT_PRIVATE agt_status agt__hide_folder(const agt_sys *sys, agt_fd at, agt_error *err);
/* As agt__open_folder for .agent-trace, hidden if it is made. */
AGT_PRIVATE agt_status agt__open_private(const agt_sys *sys, agt_fd root, bool make, agt_fd *out,
                                         agt_error *err);
/* Opens the folder `path` ("" is dir itself: a new descriptor), making what is missing (0777 less
 * umask) if `make`. Follows no link. Returns the fd or a negative AGT_SYS_ERR. */
AGT_PRIVATE agt_fd agt__walk_folder(const agt_sys *sys, agt_fd dir, const char *path, bool make);

#endif /* AGT_SYS_PART_H */
/* end src/sys/sys.h */


#define SYS_NAME_MAX 255u

AGT_PRIVATE const agt_sys *agt__sys_or_os(const agt_sys *sys) {
    return sys ? sys : agt_sys_os();
}

AGT_PRIVATE int agt__write_all(const agt_sys *sys, agt_fd fd, const void *data, size_t n,
                               uint64_t offset) {
    const unsigned char *p = data;
    while (n) {
        int64_t put = sys->pwrite(sys->ctx, fd, p, n, offset);
        if (put < 0) return (int)put;
        /* a system that writes nothing and does not say why would keep us here for ever */
        if (put == 0 || (uint64_t)put > n) return AGT_SYS_ERR(AGT_SYS_IO, 0);
        p += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

AGT_PRIVATE int64_t agt__read_all(const agt_sys *sys, agt_fd fd, void *data, size_t n,
                                  uint64_t offset) {
    unsigned char *p = data;
    size_t have = 0;
    while (have < n) {
        int64_t got = sys->pread(sys->ctx, fd, p + have, n - have, offset + have);
        if (got < 0) return got;
        if (got == 0) break;
        if ((uint64_t)got > n - have) return AGT_SYS_ERR(AGT_SYS_IO, 0);
        have += (size_t)got;
    }
    return (int64_t)have;
}

/* The bytes of an open file up to its end, which may move while we read. */
static agt_status sys_read_open(const agt_sys *sys, agt_fd fd, const char *name, size_t max,
                                agt_buf *out, agt_error *err) {
    agt_stat st;
    int rc = sys->fstat(sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %s", name);
    if (st.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file; move it away", name);
    if (st.size > max)
        return agt__fail(err, AGT_LIMIT, "%s has %llu bytes, more than %llu", name,
                         (unsigned long long)st.size, (unsigned long long)max);
    size_t start = out->len, want = (size_t)st.size + 1; /* one more byte shows the end */
    for (;;) {
        if (!agt__buf_reserve(out, want)) return agt__nomem(err);
        int64_t got = agt__read_all(sys, fd, out->data + out->len, want, out->len - start);
        if (got < 0) return agt__fail_io(err, got, "cannot read %s", name);
        out->len += (size_t)got;
        if (out->len - start > max)
            return agt__fail(err, AGT_LIMIT, "%s grew past %llu bytes", name,
                             (unsigned long long)max);
        if ((size_t)got < want) return AGT_OK;
        want = 4096;
    }
}

AGT_PRIVATE agt_status agt__read_file(const agt_sys *sys, agt_fd dir, const char *name, size_t max,
                                      agt_buf *out, agt_error *err) {
    size_t start = out->len;
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %s", name);
    agt_status status = sys_read_open(sys, fd, name, max, out, err);
    sys->close(sys->ctx, fd);
    if (status != AGT_OK) out->len = start;
    return status;
}

/* A new empty file, mode 0600; what a crash or somebody else left at its name is unlinked. */
static agt_fd sys_open_new(const agt_sys *sys, agt_fd dir, const char *name) {
    uint32_t flags = AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0600);
    if (fd >= 0 || AGT_SYS_CLASS(fd) != AGT_SYS_EXIST) return fd;
    int rc = sys->remove(sys->ctx, dir, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return rc;
    return sys->open(sys->ctx, dir, name, flags, 0600);
}

AGT_PRIVATE agt_status agt__write_file(const agt_sys *sys, agt_fd dir, const char *name,
                                       const void *data, size_t n, bool durable, agt_error *err) {
    char tmp[SYS_NAME_MAX + 1];
    size_t len = strlen(name);
    if (len + sizeof ".tmp" > sizeof tmp)
        return agt__fail(err, AGT_INVALID, "the file name %.40s... is too long", name);
    memcpy(tmp, name, len);
    memcpy(tmp + len, ".tmp", sizeof ".tmp");

    agt_fd fd = sys_open_new(sys, dir, tmp);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot make %s", tmp);
    int rc = agt__write_all(sys, fd, data, n, 0);
    if (rc == 0 && durable) rc = sys->sync(sys->ctx, fd);
    sys->close(sys->ctx, fd);
    if (rc == 0) rc = sys->rename(sys->ctx, dir, tmp, dir, name, AGT_RENAME_REPLACE);
    if (rc < 0) {
        (void)sys->remove(sys->ctx, dir, tmp);
        return agt__fail_io(err, rc, "cannot write %s", name);
    }
    if (!durable) return AGT_OK;
    rc = sys->sync(sys->ctx, dir);
    if (rc == 0) return AGT_OK;
    agt_status status = agt__fail_io(err, rc, "cannot sync the folder of %s", name);
    if (err) err->outcome_unknown = 1;
    return status;
}

/* Opens the folder `name`, making it first if it is missing and `make` is set. */
static agt_fd sys_enter(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                        uint32_t mode) {
    uint32_t flags = AGT_O_READ | AGT_O_FOLDER;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0);
    if (fd >= 0 || !make || AGT_SYS_CLASS(fd) != AGT_SYS_NOENT) return fd;
    int rc = sys->make_folder(sys->ctx, dir, name, mode);
    /* somebody else may have made it in between: opening it decides */
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_EXIST) return rc;
    return sys->open(sys->ctx, dir, name, flags, 0);
}

AGT_PRIVATE agt_status agt__open_folder(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                                        agt_fd *out, agt_error *err) {
    *out = AGT_FD_NONE;
    agt_fd fd = sys_enter(sys, dir, name, make, 0700);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open the folder %s", name);
    *out = fd;
    return AGT_OK;
}

/* Copies the component of `path` at *at and moves *at to the next one. False if it is too long. */
static bool sys_component(const char *path, size_t *at, char *name, size_t size) {
    size_t start = *at, end = start;
    while (path[end] && path[end] != '/')
        end++;
    *at = path[end] ? end + 1 : end;
    return agt__copy_text(name, size, path + start, end - start);
}

AGT_PRIVATE agt_status agt__hide_folder(const agt_sys *sys, agt_fd at, agt_error *err) {
    static const char name[] = ".gitignore", all[] = "*\n";
    agt_error mine;
    agt_stat st;
    int rc = sys->stat(sys->ctx, at, name, &st);
    if (rc >= 0) return AGT_OK;
    if (AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return agt__fail_io(err, rc, "cannot look at %s", name);
    mine.status = AGT_OK;
    agt_status status = agt__write_file(sys, at, name, all, sizeof all - 1, true, &mine);
    /* another process may do the same at the same time */
    if (status != AGT_OK && sys->stat(sys->ctx, at, name, &st) >= 0) status = AGT_OK;
    return agt__answer(status, &mine, err);
}

AGT_PRIVATE agt_status agt__open_private(const agt_sys *sys, agt_fd root, bool make, agt_fd *out,
                                         agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    agt_status status = agt__open_folder(sys, root, AGT_STORE_NAME, false, out, &mine);
    if (status != AGT_NOT_FOUND || !make) return agt__answer(status, &mine, err);
    status = agt__open_folder(sys, root, AGT_STORE_NAME, true, out, err);
    if (status == AGT_OK) status = agt__hide_folder(sys, *out, err);
    if (status == AGT_OK || *out == AGT_FD_NONE) return status;
    sys->close(sys->ctx, *out);
    *out = AGT_FD_NONE;
    return status;
}

AGT_PRIVATE agt_fd agt__walk_folder(const agt_sys *sys, agt_fd dir, const char *path, bool make) {
    if (!path[0]) return sys->open(sys->ctx, dir, ".", AGT_O_READ | AGT_O_FOLDER, 0);
    agt_fd at = sys->walk(sys->ctx, dir, path);
    if (at >= 0 || !make || AGT_SYS_CLASS(at) != AGT_SYS_NOENT) return at;

    char name[SYS_NAME_MAX + 1];
    size_t pos = 0;
    at = dir;
    while (path[pos]) {
        agt_fd next = AGT_SYS_ERR(AGT_SYS_NAME, 0);
        if (sys_component(path, &pos, name, sizeof name))
            next = sys_enter(sys, at, name, true, 0777);
        if (at != dir) sys->close(sys->ctx, at);
        if (next < 0) return next;
        at = next;
    }
    return at;
}
/* end src/sys/sys.c */
/* begin src/sys/posix.c */
/* posix: the operating system as an agt_sys, for Linux, macOS and the BSDs.
 *
 * The only file of the library with OS headers and errno. It keeps no state: no table, no cache,
 * no global that can change; it never touches the umask, a signal's disposition or the working
 * directory. AGENT_TRACE_PLAIN_POSIX leaves out everything that only Linux has; what cannot be
 * done then is answered with AGT_SYS_NOSYS, never done by halves.
 *
 * (1) EINTR is retried in every call but close, which has closed the descriptor when it says so.
 * (2) A descriptor handed out is never 0, 1 or 2: a stray printf of the host must not land in a
 *     journal. It is closed on exec from the very call that makes it.
 * (3) A link in the last component is never followed, except by open_root. Opening never waits:
 *     a FIFO or a device in a file's place is opened without blocking and found out by fstat.
 * (4) sync means the disk: fdatasync for a file, fsync for a folder (its names are what counts),
 *     F_FULLFSYNC on macOS, where fsync stops at the drive's cache.
 * (5) A busy lock has three errno values (EWOULDBLOCK, EAGAIN, and EACCES from CIFS). A file system
 *     without locks answers NOSYS: an unlocked success does not exist.
 * (6) A lease (has_writer) is held for the moment between two calls. If a writer arrives in that
 *     moment the kernel signals us, by default with SIGIO, which kills a process that does not
 *     expect it; therefore the signal is set to SIGURG first, which is ignored by default.
 *
 * Names here begin with os_: posix_ is POSIX' own. */
#ifndef _WIN32

#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1 /* flock, F_FULLFSYNC, F_GETPATH */
#endif
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define _GNU_SOURCE 1 /* fallocate, syscall */
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#if defined(__linux__) && !defined(_TIME_BITS)
#define _TIME_BITS 64
#endif



#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define OS_LINUX 1
#include <sys/syscall.h>
#endif

_Static_assert(sizeof(off_t) == 8, "compile with -D_FILE_OFFSET_BITS=64: files may pass 2 GiB");

#define OS_CHUNK (1024u * 1024 * 1024) /* no call moves more: SSIZE_MAX and macOS' INT_MAX */

#define OS_RETRY(rc, call)                                                                         \
    do {                                                                                           \
        (rc) = (call);                                                                             \
    } while ((rc) < 0 && errno == EINTR)

/* ---- errno ---- */

static int os_class(int e) {
    switch (e) {
    case ENOENT: return AGT_SYS_NOENT;
    case EEXIST: return AGT_SYS_EXIST;
    case ENOTDIR: return AGT_SYS_NOTDIR;
    case EISDIR: return AGT_SYS_ISDIR;
    case ELOOP: return AGT_SYS_LOOP;
    case EACCES:
    case EPERM:
    case EROFS: return AGT_SYS_ACCESS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return AGT_SYS_NOSPC;
    case EAGAIN: /* an open that would have to wait for somebody's lease */
    case EBUSY: return AGT_SYS_BUSY;
    case EXDEV: return AGT_SYS_XDEV;
    case ENOTEMPTY: return AGT_SYS_NOTEMPTY;
    case ENAMETOOLONG:
    case EILSEQ: return AGT_SYS_NAME;
    case ENOSYS:
    case ENOLCK:
    case EOPNOTSUPP: return AGT_SYS_NOSYS;
    case ENOMEM: return AGT_SYS_NOMEM;
    default: break;
    }
#if ENOTSUP != EOPNOTSUPP
    if (e == ENOTSUP) return AGT_SYS_NOSYS;
#endif
    return AGT_SYS_IO;
}

/* The result for errno, or for a call that worked. */
static int os_error(int e) {
    return AGT_SYS_ERR(os_class(e), e);
}
static int os_result(int rc) {
    return rc < 0 ? os_error(errno) : 0;
}

/* ---- opening ---- */

/* Moves a descriptor out of the standard streams' places. Keeps errno of a failed open. */
static int os_above_streams(int fd) {
    if (fd < 0 || fd > 2) return fd;
    int moved;
    OS_RETRY(moved, fcntl(fd, F_DUPFD_CLOEXEC, 3));
    int e = errno;
    (void)close(fd);
    errno = e;
    return moved;
}

static int os_openat(int dir, const char *name, int flags, mode_t mode) {
    int fd;
    OS_RETRY(fd, openat(dir, name, flags | O_CLOEXEC | O_NOCTTY, mode));
    return os_above_streams(fd);
}

static agt_fd os_open_root(void *ctx, const char *path) {
    (void)ctx;
    int fd = os_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? os_error(errno) : fd;
}

/* Why an open that follows no link failed: systems differ in what they say of a link. */
static int os_open_error(int dir, const char *name, int e) {
    struct stat st;
    if (e == ENXIO) return AGT_SYS_ERR(AGT_SYS_NAME, e); /* a socket, or a FIFO without a reader */
    int looks_odd = e == ENOTDIR || e == EMLINK;
#ifdef EFTYPE
    looks_odd = looks_odd || e == EFTYPE;
#endif
    if (looks_odd && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return AGT_SYS_ERR(AGT_SYS_LOOP, e);
    return os_error(e);
}

static agt_fd os_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    (void)ctx;
    int how = O_NOFOLLOW;
    if (flags & AGT_O_FOLDER)
        how |= O_RDONLY | O_DIRECTORY;
    else if ((flags & AGT_O_READ) && (flags & AGT_O_WRITE))
        how |= O_RDWR | O_NONBLOCK;
    else
        how |= ((flags & AGT_O_WRITE) ? O_WRONLY : O_RDONLY) | O_NONBLOCK;
    if (flags & AGT_O_CREATE) how |= O_CREAT;
    if (flags & AGT_O_EXCL) how |= O_EXCL;
    if (flags & AGT_O_TRUNCATE) how |= O_TRUNC;
    int fd = os_openat((int)dir, name, how, (mode_t)mode);
    return fd < 0 ? os_open_error((int)dir, name, errno) : fd;
}

/* Whether a walk may begin: relative, and no component that leads upward. */
static bool os_walkable(const char *path) {
    if (path[0] == '/') return false;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') return false;
        p += n;
        p += *p == '/';
    }
    return true;
}

/* The walk by hand, for systems that have no call for it. */
static agt_fd os_walk_steps(int dir, const char *path) {
    char name[NAME_MAX + 1];
    int at = dir;
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        agt_fd next = AGT_SYS_ERR(AGT_SYS_NAME, ENAMETOOLONG);
        if (agt__copy_text(name, sizeof name, p, n))
            next = os_open(NULL, at, n ? name : ".", AGT_O_READ | AGT_O_FOLDER, 0);
        if (at != dir) (void)close(at);
        if (next < 0) return next;
        at = (int)next;
        p += n;
        p += *p == '/';
    }
    return at;
}

#if defined(OS_LINUX) && defined(SYS_openat2)
/* The same in one call (Linux 5.6). False: the kernel or its filter has no such call. */
static bool os_walk_at_once(int dir, const char *path, agt_fd *out) {
    struct {
        uint64_t flags, mode, resolve;
    } how = {O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0,
             0x04 /* RESOLVE_NO_SYMLINKS */ | 0x08 /* RESOLVE_BENEATH */};
    int fd;
    OS_RETRY(fd, (int)syscall(SYS_openat2, dir, path, &how, sizeof how));
    fd = os_above_streams(fd);
    *out = fd;
    if (fd >= 0) return true;
    /* what might be the filter, a race (EAGAIN), or a link called "no folder": by hand */
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == E2BIG || errno == EAGAIN ||
        errno == ENOTDIR)
        return false;
    *out = os_error(errno);
    return true;
}
#endif

static agt_fd os_walk(void *ctx, agt_fd dir, const char *path) {
    (void)ctx;
    if (!os_walkable(path)) return AGT_SYS_ERR(AGT_SYS_NAME, EINVAL);
    if (!path[0]) path = ".";
#if defined(OS_LINUX) && defined(SYS_openat2)
    agt_fd fd;
    if (os_walk_at_once((int)dir, path, &fd)) return fd;
#endif
    return os_walk_steps((int)dir, path);
}

static void os_close(void *ctx, agt_fd fd) {
    (void)ctx;
    (void)close((int)fd);
}

/* ---- bytes ---- */

static int64_t os_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - OS_CHUNK) return os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pread((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? os_error(errno) : rc;
}

static int64_t os_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx;
    if (offset > INT64_MAX - OS_CHUNK) return os_error(EFBIG);
    ssize_t rc;
    OS_RETRY(rc, pwrite((int)fd, buf, n < OS_CHUNK ? n : OS_CHUNK, (off_t)offset));
    return rc < 0 ? os_error(errno) : rc;
}

static int os_sync(void *ctx, agt_fd fd) {
    (void)ctx;
    struct stat st;
    int rc = fstat((int)fd, &st);
    if (rc < 0) return os_error(errno);
#ifdef F_FULLFSYNC
    OS_RETRY(rc, fcntl((int)fd, F_FULLFSYNC));
    if (rc >= 0) return 0;
    /* only where the file system has no such command does less count as a sync */
    if (errno != ENOTSUP && errno != EINVAL && errno != ENOTTY) return os_error(errno);
#endif
    if (S_ISDIR(st.st_mode)) {
        OS_RETRY(rc, fsync((int)fd));
        /* some file systems have no sync for folders: their names are as durable as they get */
        if (rc < 0 && errno == EINVAL) return 0;
        return os_result(rc);
    }
#ifdef __APPLE__
    OS_RETRY(rc, fsync((int)fd));
#else
    OS_RETRY(rc, fdatasync((int)fd));
#endif
    return os_result(rc);
}

static int os_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx;
    if (size > INT64_MAX) return os_error(EFBIG);
    int rc;
    OS_RETRY(rc, ftruncate((int)fd, (off_t)size));
    return os_result(rc);
}

static int os_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx;
    if (offset > INT64_MAX || n > INT64_MAX - offset) return os_error(EFBIG);
#if defined(OS_LINUX) && defined(FALLOC_FL_KEEP_SIZE)
    int rc;
    OS_RETRY(rc, fallocate((int)fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n));
    return os_result(rc);
#else
    (void)fd;
    return os_error(ENOSYS);
#endif
}

/* ---- names ---- */

#if defined(__APPLE__)
#define OS_MTIME(st) (st)->st_mtimespec
#define OS_CTIME(st) (st)->st_ctimespec
#else
#define OS_MTIME(st) (st)->st_mtim
#define OS_CTIME(st) (st)->st_ctim
#endif

static int64_t os_ns(struct timespec t) {
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void os_fill(agt_stat *out, const struct stat *st) {
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->size = st->st_size > 0 ? (uint64_t)st->st_size : 0;
    out->mtime_ns = os_ns(OS_MTIME(st));
    out->ctime_ns = os_ns(OS_CTIME(st));
    out->mode = (uint32_t)st->st_mode & 07777u;
    out->owner = (uint32_t)st->st_uid;
    out->links = (uint32_t)st->st_nlink;
    out->kind = S_ISREG(st->st_mode)   ? AGT_FILE_REGULAR
                : S_ISDIR(st->st_mode) ? AGT_FILE_FOLDER
                : S_ISLNK(st->st_mode) ? AGT_FILE_LINK
                                       : AGT_FILE_OTHER;
}

static int os_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    OS_RETRY(rc, fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW));
    if (rc < 0) return os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    (void)ctx;
    struct stat st;
    int rc;
    OS_RETRY(rc, fstat((int)fd, &st));
    if (rc < 0) return os_error(errno);
    os_fill(out, &st);
    return 0;
}

static int os_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, fchmod((int)fd, (mode_t)mode));
    return os_result(rc);
}

/* Rename that replaces nothing, in two steps: a crash between them leaves both names, which the
 * caller's recovery sees as a file that was not moved yet. */
static int os_rename_new(int from_dir, const char *from, int to_dir, const char *to) {
    int rc;
    OS_RETRY(rc, linkat(from_dir, from, to_dir, to, 0));
    /* no hard links here, not of folders, or not of files of others */
    if (rc < 0 && (errno == EPERM || errno == EMLINK)) return os_error(ENOSYS);
    if (rc < 0) return os_error(errno);
    OS_RETRY(rc, unlinkat(from_dir, from, 0));
    if (rc == 0) return 0;
    rc = os_error(errno);
    (void)unlinkat(to_dir, to, 0);
    return rc;
}

static int os_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                     int flag) {
    (void)ctx;
    int rc;
    if (flag == AGT_RENAME_REPLACE) {
        OS_RETRY(rc, renameat((int)from_dir, from, (int)to_dir, to));
        if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
        return os_result(rc);
    }
#if defined(OS_LINUX) && defined(SYS_renameat2)
    unsigned how = flag == AGT_RENAME_EXCHANGE ? 2u : 1u;
    OS_RETRY(rc, (int)syscall(SYS_renameat2, (int)from_dir, from, (int)to_dir, to, how));
    /* EINVAL: this file system does not know the flag */
    if (rc == 0 || (errno != ENOSYS && errno != EINVAL)) return os_result(rc);
#endif
    if (flag == AGT_RENAME_EXCHANGE) return os_error(ENOSYS);
    return os_rename_new((int)from_dir, from, (int)to_dir, to);
}

static int os_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, linkat((int)from_dir, from, (int)to_dir, to, 0));
    return os_result(rc);
}

static int os_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, 0));
    if (rc == 0 || errno != EPERM) return os_result(rc);
    /* POSIX calls a folder here EPERM; Linux says EISDIR itself */
    struct stat st;
    int folder = fstatat((int)dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    return os_error(folder ? EISDIR : EPERM);
}

static int os_remove_folder(void *ctx, agt_fd dir, const char *name) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, unlinkat((int)dir, name, AT_REMOVEDIR));
    if (rc < 0 && errno == EEXIST) return AGT_SYS_ERR(AGT_SYS_NOTEMPTY, EEXIST);
    return os_result(rc);
}

static int os_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, mkdirat((int)dir, name, (mode_t)mode));
    return os_result(rc);
}

static int os_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                   void *each_ctx) {
    (void)ctx;
    /* a descriptor of its own: the position is shared between duplicates */
    int fd = os_openat((int)dir, ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return os_error(errno);
    DIR *d = fdopendir(fd);
    if (!d) {
        int rc = os_error(errno);
        (void)close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno == EINTR) continue;
        if (!e) {
            if (errno) rc = os_error(errno);
            break;
        }
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        rc = each(each_ctx, e->d_name);
    }
    (void)closedir(d);
    return rc;
}

/* ---- leases and locks ---- */

#ifdef OS_LINUX
#define OS_SETSIG   10   /* F_SETSIG and F_SETLEASE, which only _GNU_SOURCE declares: the */
#define OS_SETLEASE 1024 /* host may have included <fcntl.h> before us without it */
#endif

static int os_has_writer(void *ctx, agt_fd fd) {
    (void)ctx;
#ifdef OS_LINUX
    int rc, denied;
    OS_RETRY(rc, fcntl((int)fd, OS_SETSIG, SIGURG));
    if (rc < 0) return os_error(ENOSYS);
    OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_RDLCK));
    denied = rc < 0 ? errno : 0;
    if (rc == 0) OS_RETRY(rc, fcntl((int)fd, OS_SETLEASE, F_UNLCK));
    if (denied == EAGAIN) return 1;
    return denied ? os_error(ENOSYS) : 0;
#else
    (void)fd;
    return os_error(ENOSYS);
#endif
}

static int os_may_change(void *ctx, agt_fd dir) {
    (void)ctx;
    int rc;
    OS_RETRY(rc, faccessat((int)dir, ".", W_OK | X_OK, AT_EACCESS));
    if (rc == 0) return 0;
    if (errno == EINVAL || errno == ENOSYS) return os_error(ENOSYS); /* no such flag here */
    return os_error(errno);
}

static int os_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx;
    int op = kind == AGT_LOCK_UNLOCK   ? LOCK_UN
             : kind == AGT_LOCK_SHARED ? LOCK_SH | LOCK_NB
                                       : LOCK_EX | LOCK_NB;
    int rc;
    OS_RETRY(rc, flock((int)fd, op));
    if (rc == 0) return 0;
    if (errno == EWOULDBLOCK || errno == EAGAIN || errno == EACCES)
        return AGT_SYS_ERR(AGT_SYS_BUSY, errno);
    return os_error(errno);
}

/* ---- time, chance, identity ---- */

static int64_t os_now_unix_ms(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t os_mono_ns(void *ctx) {
    (void)ctx;
    struct timespec t = {0, 0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return os_ns(t);
}

static void os_sleep_ns(void *ctx, int64_t ns) {
    (void)ctx;
    if (ns <= 0) return;
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    while (nanosleep(&t, &t) < 0 && errno == EINTR) {
    }
}

static int os_random(void *ctx, void *buf, size_t n) {
    (void)ctx;
    unsigned char *p = buf;
#if defined(OS_LINUX) && defined(SYS_getrandom)
    while (n) {
        long rc;
        OS_RETRY(rc, syscall(SYS_getrandom, p, n < 256 ? n : 256, 0));
        if (rc <= 0) break; /* an old kernel or a filter: the device */
        p += rc;
        n -= (size_t)rc;
    }
    if (n == 0) return 0;
#endif
    int fd = os_openat(AT_FDCWD, "/dev/urandom", O_RDONLY, 0);
    if (fd < 0) return os_error(errno);
    int result = 0;
    while (n && result == 0) {
        ssize_t rc;
        OS_RETRY(rc, read(fd, p, n < 256 ? n : 256));
        if (rc <= 0) {
            result = os_error(rc < 0 ? errno : EIO);
            break;
        }
        p += rc;
        n -= (size_t)rc;
    }
    (void)close(fd);
    return result;
}

static int64_t os_pid(void *ctx) {
    (void)ctx;
    return (int64_t)getpid();
}

#ifdef OS_LINUX
/* Reads the beginning of a file; text is terminated and its newline cut. The count, or -1. */
static ssize_t os_slurp(const char *path, char *out, size_t size) {
    out[0] = 0;
    int fd = os_openat(AT_FDCWD, path, O_RDONLY, 0);
    if (fd < 0) return -1;
    ssize_t n;
    OS_RETRY(n, read(fd, out, size - 1));
    (void)close(fd);
    out[n > 0 ? n : 0] = 0;
    if (n > 0 && out[n - 1] == '\n') out[n - 1] = 0;
    return n;
}

/* Field 22 of /proc/self/stat. The program's name in field 2 may hold blanks and brackets, so
 * counting begins behind the last ')'. */
static uint64_t os_start_time(void) {
    char text[1024];
    if (os_slurp("/proc/self/stat", text, sizeof text) <= 0) return 0;
    const char *p = strrchr(text, ')');
    for (int field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    uint64_t v = 0;
    for (; p && *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    return v;
}

/* What a link names, whole or empty. */
static bool os_read_link(const char *path, char *out, size_t size) {
    ssize_t n;
    OS_RETRY(n, readlink(path, out, size));
    bool whole = n > 0 && (size_t)n < size;
    out[whole ? n : 0] = 0;
    return whole;
}
#endif

static int os_process(void *ctx, agt_process *out) {
    (void)ctx;
    memset(out, 0, sizeof *out);
    out->pid = (int64_t)getpid();
    if (gethostname(out->host, sizeof out->host) != 0) out->host[0] = 0;
    out->host[sizeof out->host - 1] = 0;
#ifdef OS_LINUX
    out->start = os_start_time();
    (void)os_slurp("/proc/sys/kernel/random/boot_id", out->boot, sizeof out->boot);
    (void)os_slurp("/proc/self/comm", out->program, sizeof out->program);
    (void)os_read_link("/proc/self/ns/pid", out->pid_space, sizeof out->pid_space);
    (void)os_read_link("/proc/self/ns/time", out->time_space, sizeof out->time_space);
#endif
    return 0;
}

/* ---- the path of an open folder ---- */

/* The name is only good if it still leads to the folder. */
static int os_check_path(int fd, const char *path) {
    struct stat a, b;
    if (fstat(fd, &a) != 0 || stat(path, &b) != 0) return os_error(errno);
    return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? 0 : os_error(ENOENT);
}

#if !defined(OS_LINUX) && !defined(F_GETPATH)
/* Without a call for it: upward by "..", and in each folder the name of the one we come from. */
typedef struct os_climb {
    int above;
    struct stat below;
    char *start, *at; /* the path so far is at the buffer's end */
} os_climb;

static int os_climb_each(void *ctx, const char *name) { /* 1: that is it */
    os_climb *c = ctx;
    struct stat st;
    size_t n = strlen(name);
    if (fstatat(c->above, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return 0;
    if (st.st_dev != c->below.st_dev || st.st_ino != c->below.st_ino) return 0;
    if ((size_t)(c->at - c->start) < n + 1) return os_error(ENAMETOOLONG);
    c->at -= n + 1;
    c->at[0] = '/';
    memcpy(c->at + 1, name, n);
    return 1;
}

/* One step: 1 when *fd is the topmost folder, else *fd becomes the one above. */
static int os_climb_step(os_climb *c, int *fd) {
    struct stat above;
    c->above = os_openat(*fd, "..", O_RDONLY | O_DIRECTORY, 0);
    if (c->above < 0) return errno == EACCES ? os_error(ENOSYS) : os_error(errno);
    int rc = fstat(*fd, &c->below) || fstat(c->above, &above) ? os_error(errno) : 0;
    bool topmost = rc == 0 && above.st_dev == c->below.st_dev && above.st_ino == c->below.st_ino;
    if (rc == 0 && !topmost) {
        rc = os_list(NULL, c->above, os_climb_each, c);
        if (rc >= 0) rc = rc == 1 ? 0 : os_error(ENOENT);
    }
    (void)close(*fd);
    *fd = c->above;
    return topmost ? 1 : rc;
}

static int os_climb_up(int dir, char *out, size_t size) {
    os_climb c = {.start = out, .at = out + size - 1};
    int fd = os_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0), rc = 0;
    if (fd < 0) return os_error(errno);
    *c.at = 0;
    while (rc == 0)
        rc = os_climb_step(&c, &fd);
    (void)close(fd);
    if (rc < 0) return rc;
    if (!*c.at && c.at > out) *--c.at = '/';
    memmove(out, c.at, strlen(c.at) + 1);
    return os_check_path(dir, out);
}
#endif

static int os_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)ctx;
#if defined(OS_LINUX)
    char link[48];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", (int)dir);
    ssize_t n;
    OS_RETRY(n, readlink(link, out, size));
    if (n < 0) return os_error(ENOSYS); /* no /proc here */
    if ((size_t)n >= size) return os_error(ENAMETOOLONG);
    out[n] = 0;
    return os_check_path((int)dir, out);
#elif defined(F_GETPATH)
    char path[PATH_MAX];
    int rc;
    OS_RETRY(rc, fcntl((int)dir, F_GETPATH, path));
    if (rc < 0) return os_error(errno);
    if (!agt__copy_text(out, size, path, strlen(path))) return os_error(ENAMETOOLONG);
    return os_check_path((int)dir, out);
#else
    return size ? os_climb_up((int)dir, out, size) : os_error(ENAMETOOLONG);
#endif
}

/* ---- mutexes ---- */

static void *os_mutex_new(void *ctx) {
    (void)ctx;
    agt_mem mem = agt__mem(NULL);
    pthread_mutex_t *m = agt__alloc(&mem, sizeof *m);
    if (m && pthread_mutex_init(m, NULL) != 0) {
        agt__free(&mem, m, sizeof *m);
        m = NULL;
    }
    return m;
}

static void os_mutex_free(void *ctx, void *mutex) {
    (void)ctx;
    if (!mutex) return;
    agt_mem mem = agt__mem(NULL);
    (void)pthread_mutex_destroy(mutex);
    agt__free(&mem, mutex, sizeof(pthread_mutex_t));
}

static void os_mutex_lock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_lock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static void os_mutex_unlock(void *ctx, void *mutex) {
    (void)ctx;
    int rc = pthread_mutex_unlock(mutex);
    AGENT_TRACE_ASSERT(rc == 0);
    (void)rc;
}

static const agt_sys os_sys = {
    .size = sizeof(agt_sys),
    .open_root = os_open_root,
    .open = os_open,
    .walk = os_walk,
    .close = os_close,
    .pread = os_pread,
    .pwrite = os_pwrite,
    .sync = os_sync,
    .truncate = os_truncate,
    .reserve = os_reserve,
    .stat = os_stat,
    .fstat = os_fstat,
    .set_mode = os_set_mode,
    .rename = os_rename,
    .link = os_link,
    .remove = os_remove,
    .remove_folder = os_remove_folder,
    .make_folder = os_make_folder,
    .list = os_list,
    .has_writer = os_has_writer,
    .may_change = os_may_change,
    .lock = os_lock,
    .now_unix_ms = os_now_unix_ms,
    .mono_ns = os_mono_ns,
    .sleep_ns = os_sleep_ns,
    .random = os_random,
    .pid = os_pid,
    .process = os_process,
    .path_of = os_path_of,
    .mutex_new = os_mutex_new,
    .mutex_free = os_mutex_free,
    .mutex_lock = os_mutex_lock,
    .mutex_unlock = os_mutex_unlock,
};

AGENT_TRACE_API const agt_sys *agt_sys_os(void) {
    return &os_sys;
}

#endif /* !_WIN32 */
/* end src/sys/posix.c */
/* begin src/git/git.h */
/* git: the seam to git, as a transaction. Objects, packs and the ref are written by our own code
 * through agt_sys; libgit2 (libgit2.c) only reads. none.c answers AGT_UNSUPPORTED to all of it.
 * No git type leaks upward. */
#ifndef AGT_GIT_H
#define AGT_GIT_H


typedef struct agt_git agt_git;

/* Makes the bare repository's files in `dir` (an open, maybe empty folder): HEAD naming
 * refs/heads/main, config, objects/, refs/heads/; synced. Idempotent. In none.c: AGT_OK, nothing
 * is made. */
AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err);

/* A handle on the repository in `dir` (borrowed until close; AGT_FD_NONE: follow comes before any
 * call that reads or writes). Cheap: libgit2 is initialised by the
 * first call that reads an object, and shut down in close. */
AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err);
AGT_PRIVATE void agt__git_close(agt_git *git);
/* The repository is in `dir` from now on (borrowed). *moved: that is another folder than before, or
 * its objects are: what was known and open is forgotten, and an open transaction ended. */
AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err);

/* Reads an object's bytes behind what `out` holds: hash checked. AGT_NOT_FOUND if it is not there
 * (an empty or damaged loose file is AGT_CORRUPT). */
AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out, agt_error *err);

/* What refs/heads/main names; found = false if it does not exist. Reads the ref's file through
 * sys (loose refs only: we write no packed-refs; one made by somebody's git is read too). */
AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err);

/* A unified diff of two byte strings; a NULL side is a file that does not exist. */
AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err);

/* ---- a transaction: commits on top of a parent, then written all at once ---- */

typedef struct agt_git_signature {
    agt_text name, email;
    int64_t unix_s; /* +0000 */
} agt_git_signature;

/* Begins on top of `parent` (NULL: a root commit comes first). One transaction at a time. Trees of
 * the parent are read as they are needed; trees the handle wrote last are remembered, so that a
 * long-lived publisher reads nothing. */
AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err);
/* Puts a file in the tree of the commit to come. The bytes are copied before the call returns.
 * `known` is the blob's id, already computed. A blob whose bytes are NULL exists already and is
 * only named (the empty one is made). A folder at that path makes way, with all that is in it, as
 * does a file where a folder of the path is needed. Removing what is not there is AGT_OK. A call
 * of put, remove, commit or write that fails ends the transaction: the next one answers
 * AGT_INVALID, and agt__git_begin begins anew. */
AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err);
AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err);
/* Makes the commit of what was put since the last one (an unchanged tree is fine). The committer
 * is the author's name; its time is max(parent's committer time, committed_unix_s). Whole seconds,
 * +0000. Deterministic: the same calls on the same parent give the same id. */
AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err);
typedef enum agt_git_write {
    AGT_GIT_LOOSE = 1, /* loose objects, unsynced: a later pack makes them durable */
    AGT_GIT_PACK = 2,  /* one pack and its index, synced, the folder synced: durable on return */
    AGT_GIT_REPACK = 3 /* the same; then the loose files of the pack's objects go */
} agt_git_write;
/* Writes every object of the transaction and ends it. Where the handle's sys fails, nothing is
 * named and the transaction is over. Zero commits: AGT_OK, nothing is written. */
AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err);
/* Ends the transaction without writing. */
AGT_PRIVATE void agt__git_abort(agt_git *git);

/* Makes refs/heads/main name `id` if it still names `was` (NULL: nothing that could be read), with
 * git's own lock held from the look to the rename. durable: the file and the folders are synced.
 * AGT_CONFLICT: it names something else, and goes on to. AGT_BUSY: a git command held the lock for
 * two seconds; a lock that is a minute away from now is a dead one's. */
AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err);
/* Keeps `id` as refs/heads/<name>, or <name>-2, -3 ... where that names something else. Synced. */
AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err);
/* Is the object in a pack, and can it be read there? */
AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err);
/* Is everything there that a commit leads to? */
AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole, agt_error *err);
/* Deletes loose objects whose content does not hash to their name, and temporaries that a process
 * of ours left. Forgets remembered trees and ends an open transaction. */
AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err);

/* ---- one pack for all ---- */

/* What a repacking did. */
typedef struct agt_git_repacked {
    uint64_t objects;       /* in the new pack: all that a ref leads to */
    uint64_t missing;       /* objects that another ref than main leads to and nobody has */
    uint64_t packs_removed; /* whose objects are all in the new one */
    uint64_t packs;         /* that are there now */
    uint64_t loose_removed;
    uint64_t loose; /* loose objects that are left: nothing leads to them */
} agt_git_repacked;

/* Packs everything that a ref leads to into one pack with the best deltas, durably; then deletes
 * the packs and the loose files that hold nothing else. What no ref leads to stays, and with it the
 * pack it is in; so does a pack that has a .keep. Temporaries that are a day old go. On failure
 * nothing is lost. Needs 90 bytes of memory for each object, and up to 100 MB for comparing.
 *
 *   breathe  NULL, or called between objects; its failure is the answer.
 *
 * AGT_CORRUPT: an object that main leads to is damaged or gone; nothing was changed. */
AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err);
/* Looks which packs there are, and lets go of those that are there no more. */
AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err);

/* ---- a history that somebody else wrote: past.c ---- */

/* A commit. The texts point into the buffer it was read to. */
typedef struct agt_git_past {
    agt_oid tree, parent; /* the first parent */
    bool has_parent;
    agt_text author, email, message;
    int64_t unix_s; /* the author's time, at most the last second of 9999 */
} agt_git_past;

/* Appends the ids (20 bytes each) that may be the newest commit, the best first: what HEAD leads
 * to, then what the reflog says it was, from the newest line back. Whether the commits are there is
 * not looked at. None is AGT_OK. */
AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err);
/* Reads a commit into `bytes` (emptied first). AGT_NOT_FOUND, AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err);
/* Tells each file that differs between two trees (NULL: an empty one), in byte order of their
 * paths; a NULL side has it not. What a path may be, git does not say: it may be anything but a
 * NUL. Links count as files, other repositories not at all. */
typedef agt_status (*agt_git_change_fn)(void *ctx, agt_text path, const agt_oid *from,
                                        const agt_oid *to, agt_error *err);
AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err);

#endif /* AGT_GIT_H */
/* end src/git/git.h */
#ifdef AGENT_TRACE_NO_GIT
/* begin src/git/none.c */
/* none: what stands in git's place in a build without it. Making and opening the repository succeed
 * and do nothing, so that a store is made and opened the same way; everything else answers
 * AGT_UNSUPPORTED. */

static agt_status none_answer(agt_error *err) {
    return agt__fail(err, AGT_UNSUPPORTED,
                     "this build has no git; build without AGENT_TRACE_NO_GIT to read history");
}

AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err) {
    (void)sys, (void)dir, (void)mem, (void)err;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err) {
    (void)sys, (void)dir, (void)mem, (void)cpu, (void)err;
    *out = NULL;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_close(agt_git *git) {
    (void)git;
}

AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err) {
    (void)git, (void)dir, (void)err;
    *moved = false;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out,
                                     agt_error *err) {
    (void)git, (void)id, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    (void)git, (void)out;
    *found = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err) {
    (void)git, (void)path, (void)from, (void)from_len, (void)to, (void)to_len, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err) {
    (void)git, (void)parent;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err) {
    (void)git, (void)path, (void)path_len, (void)known, (void)bytes, (void)len;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err) {
    (void)git, (void)path, (void)path_len;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err) {
    (void)git, (void)author, (void)committed_unix_s, (void)message, (void)out;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err) {
    (void)git, (void)how;
    return none_answer(err);
}

AGT_PRIVATE void agt__git_abort(agt_git *git) {
    (void)git;
}

AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err) {
    (void)git, (void)id, (void)was, (void)durable;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err) {
    (void)git, (void)name, (void)id;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err) {
    (void)git, (void)id;
    *packed = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole,
                                      agt_error *err) {
    (void)git, (void)id;
    *whole = false;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err) {
    (void)git;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err) {
    (void)git, (void)breathe, (void)ctx;
    memset(out, 0, sizeof *out);
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err) {
    (void)git;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err) {
    (void)git, (void)ids;
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err) {
    (void)git, (void)id, (void)bytes;
    memset(out, 0, sizeof *out);
    return none_answer(err);
}

AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err) {
    (void)git, (void)from, (void)to, (void)each, (void)ctx;
    return none_answer(err);
}
/* end src/git/none.c */
#else
/* begin src/git/codec.c */
/* codec: zlib streams and git's deltas.
 *
 * A zlib stream of ours is either compressed, at level 1 unless it is to stay for long, or stored
 * as it is. Stored is for bytes that gain nothing: a delta of a few dozen bytes, a loose file that
 * fills one block of the disk anyway, a tree of thousands of entries, which is mostly ids.
 *
 *     stored:  78 01  { final? len ~len bytes }...  adler32, big-endian
 *
 * A delta is: size of the old bytes, size of the new ones (7 bits a byte, low first), then
 * commands. 1xxxxxxx copies from the old bytes: bits 0 to 3 say which bytes of the offset follow,
 * bits 4 to 6 which of the length (none: 65,536). 0nnnnnnn inserts the n bytes behind it.
 *
 * (1) What is written goes through one buffer of the handle: a small file is one pwrite.
 * (2) Nothing that is read is believed: lengths are checked before memory is asked for.
 * (3) Memory of zlib's comes from the handle's allocator. */
/* begin src/git/parts.h */
/* parts: what the parts of git share among themselves. No other folder includes this. */
#ifndef AGT_GIT_PARTS_H
#define AGT_GIT_PARTS_H


#include <zlib.h>

#define AGT_GIT_CHAIN   50             /* deltas on top of one another in a pack of ours: fewer */
#define AGT_GIT_IO      (128u * 1024)  /* bytes gathered before a write */
#define AGT_GIT_KEEP    (1024u * 1024) /* a buffer of the handle longer than that is given back */
#define AGT_GIT_NONE    UINT32_MAX     /* no object of the transaction */
#define AGT_GIT_OPEN    24             /* packs whose files are kept open */
#define AGT_GIT_HEX     40
#define AGT_GIT_MAX_RAW (SIZE_MAX / 4)

/* Kinds of objects, as packs number them. */
enum {
    AGT_GIT_COMMIT = 1,
    AGT_GIT_TREE = 2,
    AGT_GIT_BLOB = 3,
    AGT_GIT_TAG = 4,
    AGT_GIT_OFS_DELTA = 6,
    AGT_GIT_REF_DELTA = 7
};

/* ---- codec: zlib streams and deltas; bytes in, bytes out ---- */

/* A file being written: bytes are gathered, counted and, if asked for, hashed. Errors stick. */
typedef struct agt_git_file {
    agt_git *git;
    agt_fd dir, fd;
    const char *name; /* of the temporary, in dir */
    uint64_t at;      /* bytes put so far */
    bool hashed;      /* sha runs over everything put */
    uint32_t crc;     /* zlib's crc32 of what was put since the caller set it to 0 */
    agt_sha1_state sha;
    agt_status status;
} agt_git_file;

/* Empties a buffer of the handle for its next use. */
AGT_PRIVATE void agt__git_reuse(agt_buf *b);

/* "commit", "tree", "blob" or "tag"; NULL for a number that is no kind. */
AGT_PRIVATE const char *agt__git_kind(int kind);

/* Opens `name` in `dir` for writing, in the place of whatever a crash left there. */
AGT_PRIVATE agt_status agt__git_file_open(agt_git_file *f, agt_git *git, agt_fd dir,
                                          const char *name, uint32_t mode, bool hashed,
                                          agt_error *err);
AGT_PRIVATE void agt__git_file_put(agt_git_file *f, const void *data, size_t n, agt_error *err);
/* Puts the zlib stream of head and data together: compressed, or only stored. */
AGT_PRIVATE void agt__git_file_zip(agt_git_file *f, const void *head, size_t head_len,
                                   const void *data, size_t len, bool stored, agt_error *err);
/* Writes what is gathered; sha covers it then. */
AGT_PRIVATE void agt__git_file_flush(agt_git_file *f, agt_error *err);
/* Writes what is gathered and, if durable, syncs; closes. On failure the temporary is deleted. */
AGT_PRIVATE agt_status agt__git_file_end(agt_git_file *f, bool durable, agt_error *err);
AGT_PRIVATE void agt__git_file_drop(agt_git_file *f);
/* Renames the finished temporary to `name` in `to`. */
AGT_PRIVATE agt_status agt__git_file_name(agt_git_file *f, agt_fd to, const char *name,
                                          agt_error *err);

/* Appends a delta that makes `to` from `from`; false (and `out` as before) if it would be longer
 * than `limit` bytes or memory is out. */
AGT_PRIVATE bool agt__git_delta_make(const unsigned char *from, size_t from_len,
                                     const unsigned char *to, size_t to_len, size_t limit,
                                     agt_buf *out);
AGT_PRIVATE void agt__git_delta_size(agt_buf *out, size_t n);
AGT_PRIVATE void agt__git_delta_copy(agt_buf *out, size_t at, size_t n);
AGT_PRIVATE void agt__git_delta_insert(agt_buf *out, const unsigned char *data, size_t n);
/* Appends to `out` what the delta makes of `from`. AGT_CORRUPT if it does not fit, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_delta_apply(const unsigned char *from, size_t from_len,
                                            const unsigned char *delta, size_t delta_len,
                                            agt_buf *out, agt_error *err);

/* A zlib stream being read from a file through sys. */
typedef struct agt_git_unzip {
    agt_git *git;
    agt_fd fd;
    uint64_t at, end; /* the file's bytes not read yet */
    bool done;        /* the stream's end was seen, its checksum was right */
    bool rotten;      /* the bytes are no zlib stream */
    int64_t rc;       /* a negative agt_sys result */
    bool nomem;
    unsigned char *in; /* the handle's input buffer */
} agt_git_unzip;

AGT_PRIVATE agt_status agt__git_unzip_begin(agt_git_unzip *z, agt_git *git, agt_fd fd, uint64_t at,
                                            uint64_t end, agt_error *err);
/* Inflates up to n bytes; fewer only where the stream ends, or rotten, rc or nomem is set. */
AGT_PRIVATE size_t agt__git_unzip(agt_git_unzip *z, void *out, size_t n);
/* Was exactly everything read? */
AGT_PRIVATE bool agt__git_unzip_end(agt_git_unzip *z);
AGT_PRIVATE void agt__git_codec_free(agt_git *git);

/* ---- objects: reading ---- */

typedef struct agt_git_pack {
    char name[80]; /* without ".pack" or ".idx" */
    agt_fd pack, idx;
    uint64_t pack_size, idx_size, used;
    uint32_t count, fan[256];
    bool known;   /* fan is filled */
    bool foreign; /* of another version: libgit2's business */
    bool seen;    /* while the folder is listed */
} agt_git_pack;

/* The objects folder; AGT_NOT_FOUND if there is none and it shall not be made. */
AGT_PRIVATE agt_status agt__git_objects(agt_git *git, bool make, agt_fd *out, agt_error *err);
/* As agt__git_read, and says what kind it is. */
AGT_PRIVATE agt_status agt__git_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err);
/* One loose object. AGT_NOT_FOUND, AGT_CORRUPT, AGT_IO, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_load_loose(agt_git *git, agt_fd folder, const char *name,
                                           const agt_oid *id, int *kind, agt_buf *out,
                                           agt_error *err);
AGT_PRIVATE void agt__git_objects_free(agt_git *git);

/* Calls `each` for every id that a pack's index names. AGT_NOT_FOUND: the pack is gone, or its
 * index is one that only libgit2 reads; AGT_CORRUPT; AGT_IO. */
typedef void (*agt_git_id_fn)(void *ctx, const agt_oid *id);
AGT_PRIVATE agt_status agt__git_pack_ids(agt_git *git, agt_git_pack *pack, agt_git_id_fn each,
                                         void *ctx, agt_error *err);
/* Closes a pack's files: what is deleted next gives its room back. */
AGT_PRIVATE void agt__git_pack_close(agt_git *git, agt_git_pack *pack);

/* ---- whole: what an object names ---- */

/* Calls `each` for every object that this one names; kind 0: what a tag names may be any. A name is
 * an entry's of a tree. Bytes that git cannot have written end the list. */
typedef void (*agt_git_link_fn)(void *ctx, const agt_oid *id, int kind, agt_text name);
AGT_PRIVATE void agt__git_links(int kind, const agt_buf *bytes, agt_git_link_fn each, void *ctx);

/* ---- libgit2: what is left to it ---- */

AGT_PRIVATE agt_status agt__git_foreign_load(agt_git *git, const agt_oid *id, int *kind,
                                             agt_buf *out, agt_error *err);
AGT_PRIVATE void agt__git_foreign_free(agt_git *git);

/* ---- pack: the transaction ---- */

/* An object of the transaction. Its bytes live until the transaction ends. */
typedef struct agt_git_object {
    agt_oid id;
    uint8_t kind;
    bool is_delta; /* data is a delta on `base`; else data is the object and base only similar */
    uint8_t chain; /* deltas beneath it; of blobs and commits only known once packed */
    uint32_t base; /* an earlier object of the same kind, or AGT_GIT_NONE */
    uint32_t crc;
    size_t size, len; /* of the object; of data */
    const unsigned char *data;
    uint64_t offset; /* in the pack */
} agt_git_object;

typedef struct agt_git_chunk {
    struct agt_git_chunk *next;
    size_t cap, len; /* of the bytes behind this header */
} agt_git_chunk;

typedef struct agt_git_txn {
    bool open;
    agt_git_object *objects;
    uint32_t count, cap;
    uint32_t kept;   /* objects that a commit has sealed */
    uint32_t *slots; /* hash table over ids: index + 1 */
    uint32_t slot_count;
    agt_git_chunk *chunks;
    uint32_t last_commit; /* object, or AGT_GIT_NONE */
} agt_git_txn;

/* The object of that id in the transaction, or AGT_GIT_NONE. */
AGT_PRIVATE uint32_t agt__git_txn_find(const agt_git *git, const agt_oid *id);
/* Adds an object that is not there yet; `data` is copied. AGT_LIMIT, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_txn_add(agt_git *git, const agt_git_object *object, uint32_t *out,
                                        agt_error *err);
/* Appends the whole bytes of an object. */
AGT_PRIVATE agt_status agt__git_txn_bytes(agt_git *git, uint32_t object, agt_buf *out,
                                          agt_error *err);

/* ---- packfile: a pack and its index ---- */

#define AGT_GIT_STEM 46 /* "pack-", 40 digits, NUL */

/* A pack to be written: `count` objects, which `fill` puts one after another, each by
 * agt__git_put_entry. What fill answers, but AGT_OK, is the answer. */
typedef struct agt_git_pack_job {
    agt_git_object *objects;
    uint32_t count;
    agt_status (*fill)(void *ctx, agt_git_file *f, agt_error *err);
    void *ctx;
} agt_git_pack_job;

/* Puts an object's entry: `data` is the object, or a delta on `base`, which was put before. Fills
 * its offset and crc. */
AGT_PRIVATE void agt__git_put_entry(agt_git_file *f, agt_git_object *o, const agt_git_object *base,
                                    const void *data, size_t len, bool stored, agt_error *err);
/* Writes the pack and its index; both are durable on return. `stem` is their name. */
AGT_PRIVATE agt_status agt__git_pack_write(agt_git *git, const agt_git_pack_job *job,
                                           char stem[AGT_GIT_STEM], agt_error *err);
/* Heap sort of object numbers. */
AGT_PRIVATE void agt__git_sort(const agt_git_object *objects, uint32_t *v, size_t n,
                               bool (*before)(const agt_git_object *, uint32_t, uint32_t));
/* Puts the index of a pack: n objects with id, offset and crc, in the order they stand; `order`
 * holds 0 to n - 1 and is sorted here. `sum` is the pack's last 20 bytes. */
AGT_PRIVATE void agt__git_put_index(agt_git_file *f, const agt_git_object *objects, uint32_t *order,
                                    uint32_t n, const unsigned char sum[20], agt_error *err);

/* ---- reach: all that the refs lead to ---- */

typedef struct agt_git_reach {
    agt_git *git;
    agt_git_object *objects; /* base and crc are hashes of its first path */
    uint32_t count, cap;
    uint32_t *slots; /* hash table over ids: index + 1 */
    uint32_t slot_count;
    uint64_t missing; /* objects that could not be read; they are not among the others */
    agt_status (*breathe)(void *ctx, agt_error *err); /* called between objects; NULL: not */
    void *breathe_ctx;
    /* while it walks */
    agt_buf commits, trees; /* numbers of objects to be read */
    agt_buf bytes;
    bool strict; /* what is missing is damage: main leads there */
    bool nomem;
    uint32_t path_base, path_crc; /* hashes of the tree that is read */
} agt_git_reach;

/* Finds every object that a ref leads to, main's first, the newest first. What another ref than
 * main leads to and cannot be read is counted, not an error. Set git (and breathe) before; free
 * afterwards, on failure too. */
AGT_PRIVATE agt_status agt__git_reach_all(agt_git_reach *r, agt_error *err);
AGT_PRIVATE void agt__git_reach_free(agt_git_reach *r);
/* The object's number, or AGT_GIT_NONE. */
AGT_PRIVATE uint32_t agt__git_reach_find(const agt_git_reach *r, const agt_oid *id);
/* Calls `each` with every id that HEAD, refs/ and packed-refs name, main's first. */
AGT_PRIVATE agt_status agt__git_each_ref(agt_git *git,
                                         agt_status (*each)(void *ctx, const agt_oid *id,
                                                            bool is_main, agt_error *err),
                                         void *ctx, agt_error *err);

/* ---- tree: the folders of the commit to come ---- */

typedef struct agt_git_tree agt_git_tree;

typedef struct agt_git_forest {
    agt_git_tree *root; /* NULL: nothing is remembered */
    agt_git_tree **dirty;
    size_t dirty_count, dirty_cap;
    uint64_t serial; /* of the transaction: versions of another one are no base for deltas */
} agt_git_forest;

/* Forgets everything; what comes next is patched on top of the tree `id`, NULL for none. */
AGT_PRIVATE agt_status agt__git_forest_plant(agt_git *git, const agt_oid *id, agt_error *err);
AGT_PRIVATE void agt__git_forest_free(agt_git *git);
/* Names the blob at a path; `was` gets the id it replaces and `had` whether there was one. */
AGT_PRIVATE agt_status agt__git_forest_put(agt_git *git, const char *path, size_t len,
                                           const agt_oid *id, agt_oid *was, bool *had,
                                           agt_error *err);
AGT_PRIVATE agt_status agt__git_forest_remove(agt_git *git, const char *path, size_t len,
                                              agt_error *err);
/* Hashes what changed, adds it to the transaction, and gives the root's id. */
AGT_PRIVATE agt_status agt__git_forest_seal(agt_git *git, agt_oid *out, agt_error *err);

/* ---- the handle ---- */

struct agt_git {
    const agt_sys *sys;
    agt_fd dir, objects;
    agt_mem mem;
    agt_cpu cpu;
    /* codec */
    z_stream zip, unzip;
    bool zip_ready, unzip_ready;
    int zip_level, zip_made; /* wanted (0: 1), and of `zip` */
    agt_buf io, in;
    /* objects */
    agt_git_pack **packs;
    size_t pack_count, pack_cap, pack_open;
    uint64_t pack_clock;
    bool listed;
    agt_buf work[4];
    /* libgit2 */
    void *odb;
    bool started;
    /* the transaction, and the trees as of `tip` */
    agt_git_txn txn;
    agt_git_forest forest;
    bool has_tip;
    agt_oid tip;
    int64_t tip_time;
    agt_buf scratch;
};

#endif /* AGT_GIT_PARTS_H */
/* end src/git/parts.h */

#define CODEC_IN       8192u
#define CODEC_BLOCK    65535u /* the longest stored block */
#define CODEC_TINY     64u
#define CODEC_INPUT    (1u << 30)
#define CODEC_SLOTS    4096u
#define CODEC_WINDOW   8u
#define CODEC_MATCH    12u /* a copy shorter than that is not worth its command */
#define CODEC_COPY_MAX 0xffffffu
#define CODEC_HEADER   16u /* before memory of zlib's: its size */

AGT_PRIVATE const char *agt__git_kind(int kind) {
    static const char *const names[] = {NULL, "commit", "tree", "blob", "tag"};
    return kind >= AGT_GIT_COMMIT && kind <= AGT_GIT_TAG ? names[kind] : NULL;
}

AGT_PRIVATE void agt__git_reuse(agt_buf *b) {
    if (b->cap > AGT_GIT_KEEP) agt__buf_free(b);
    b->len = 0;
    b->failed = false;
}

/* ---- zlib's memory ---- */

static voidpf codec_alloc(voidpf ctx, uInt items, uInt size) {
    size_t n;
    if (!agt__mul_size(items, size, &n) || !agt__add_size(n, CODEC_HEADER, &n)) return Z_NULL;
    unsigned char *p = agt__zalloc(ctx, n);
    if (!p) return Z_NULL;
    memcpy(p, &n, sizeof n);
    return p + CODEC_HEADER;
}

static void codec_free(voidpf ctx, voidpf address) {
    if (!address) return;
    unsigned char *p = (unsigned char *)address - CODEC_HEADER;
    size_t n;
    memcpy(&n, p, sizeof n);
    agt__free(ctx, p, n);
}

static bool codec_deflate_ready(agt_git *git) {
    int level = git->zip_level ? git->zip_level : 1;
    if (git->zip_ready && git->zip_made == level) return deflateReset(&git->zip) == Z_OK;
    if (git->zip_ready) (void)deflateEnd(&git->zip);
    git->zip_made = level;
    memset(&git->zip, 0, sizeof git->zip);
    git->zip.zalloc = codec_alloc;
    git->zip.zfree = codec_free;
    git->zip.opaque = &git->mem;
    git->zip_ready = deflateInit(&git->zip, level) == Z_OK;
    return git->zip_ready;
}

static bool codec_inflate_ready(agt_git *git) {
    if (git->unzip_ready) return inflateReset(&git->unzip) == Z_OK;
    memset(&git->unzip, 0, sizeof git->unzip);
    git->unzip.zalloc = codec_alloc;
    git->unzip.zfree = codec_free;
    git->unzip.opaque = &git->mem;
    git->unzip_ready = inflateInit(&git->unzip) == Z_OK;
    return git->unzip_ready;
}

AGT_PRIVATE void agt__git_codec_free(agt_git *git) {
    if (git->zip_ready) (void)deflateEnd(&git->zip);
    if (git->unzip_ready) (void)inflateEnd(&git->unzip);
    git->zip_ready = git->unzip_ready = false;
    agt__buf_free(&git->io);
    agt__buf_free(&git->in);
}

/* ---- writing a file ---- */

AGT_PRIVATE agt_status agt__git_file_open(agt_git_file *f, agt_git *git, agt_fd dir,
                                          const char *name, uint32_t mode, bool hashed,
                                          agt_error *err) {
    const agt_sys *sys = git->sys;
    uint32_t flags = AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    *f = (agt_git_file){.git = git, .dir = dir, .fd = AGT_FD_NONE, .name = name};
    f->hashed = hashed;
    agt__sha1_init(&f->sha);
    git->io.len = 0;
    git->io.failed = false;
    if (!agt__buf_reserve(&git->io, AGT_GIT_IO)) return f->status = agt__nomem(err);
    f->fd = sys->open(sys->ctx, dir, name, flags, mode);
    if (f->fd < 0 && AGT_SYS_CLASS(f->fd) == AGT_SYS_EXIST) {
        (void)sys->remove(sys->ctx, dir, name);
        f->fd = sys->open(sys->ctx, dir, name, flags, mode);
    }
    if (f->fd >= 0) return AGT_OK;
    f->status = agt__fail_io(err, f->fd, "cannot make %s in the git folder", name);
    f->fd = AGT_FD_NONE;
    return f->status;
}

AGT_PRIVATE void agt__git_file_flush(agt_git_file *f, agt_error *err) {
    agt_git *git = f->git;
    if (f->status != AGT_OK || !git->io.len) return;
    if (f->hashed) agt__sha1_update(&f->sha, git->cpu, git->io.data, git->io.len);
    uint64_t start = f->at - git->io.len;
    int rc = agt__write_all(git->sys, f->fd, git->io.data, git->io.len, start);
    if (rc < 0) f->status = agt__fail_io(err, rc, "cannot write %s in the git folder", f->name);
    git->io.len = 0;
}

/* n more bytes stand behind what is gathered. */
static void codec_took(agt_git_file *f, size_t n, agt_error *err) {
    agt_buf *io = &f->git->io;
    f->crc = (uint32_t)crc32(f->crc, io->data + io->len, (uInt)n);
    io->len += n;
    f->at += n;
    if (io->len == AGT_GIT_IO) agt__git_file_flush(f, err);
}

AGT_PRIVATE void agt__git_file_put(agt_git_file *f, const void *data, size_t n, agt_error *err) {
    const unsigned char *p = data;
    agt_buf *io = &f->git->io;
    while (n && f->status == AGT_OK) {
        size_t room = AGT_GIT_IO - io->len, part = n < room ? n : room;
        memcpy(io->data + io->len, p, part);
        codec_took(f, part, err);
        p += part;
        n -= part;
    }
}

static void codec_store(agt_git_file *f, const unsigned char *data, size_t n, bool last,
                        uLong *adler, agt_error *err) {
    do {
        unsigned part = n < CODEC_BLOCK ? (unsigned)n : CODEC_BLOCK;
        unsigned char head[5];
        n -= part;
        head[0] = last && !n;
        head[1] = (unsigned char)part;
        head[2] = (unsigned char)(part >> 8);
        head[3] = (unsigned char)~part;
        head[4] = (unsigned char)(~part >> 8);
        agt__git_file_put(f, head, sizeof head, err);
        if (!part) return;
        agt__git_file_put(f, data, part, err);
        *adler = adler32(*adler, data, part);
        data += part;
    } while (n);
}

/* Runs n bytes through deflate, up to the end of the stream if `flush` is Z_FINISH. */
static void codec_deflate(agt_git_file *f, const unsigned char *data, size_t n, int flush,
                          agt_error *err) {
    z_stream *z = &f->git->zip;
    agt_buf *io = &f->git->io;
    do {
        unsigned part = n < CODEC_INPUT ? (unsigned)n : CODEC_INPUT;
        z->next_in = (Bytef *)(uintptr_t)data;
        z->avail_in = part;
        data += part;
        n -= part;
        int rc, how = n ? Z_NO_FLUSH : flush;
        do {
            unsigned room = (unsigned)(AGT_GIT_IO - io->len);
            z->next_out = io->data + io->len;
            z->avail_out = room;
            rc = deflate(z, how);
            if (rc == Z_STREAM_ERROR)
                f->status = agt__fail(err, AGT_GIT, "zlib cannot compress %s", f->name);
            if (f->status != AGT_OK) return;
            codec_took(f, room - z->avail_out, err);
        } while (how == Z_FINISH ? rc != Z_STREAM_END : z->avail_in != 0);
    } while (n);
}

AGT_PRIVATE void agt__git_file_zip(agt_git_file *f, const void *head, size_t head_len,
                                   const void *data, size_t len, bool stored, agt_error *err) {
    if (f->status != AGT_OK) return;
    if (stored || head_len + len < CODEC_TINY) {
        uLong adler = adler32(0, Z_NULL, 0);
        agt__git_file_put(f, "\x78\x01", 2, err);
        if (head_len) codec_store(f, head, head_len, false, &adler, err);
        codec_store(f, data, len, true, &adler, err);
        unsigned char sum[4] = {(unsigned char)(adler >> 24), (unsigned char)(adler >> 16),
                                (unsigned char)(adler >> 8), (unsigned char)adler};
        agt__git_file_put(f, sum, sizeof sum, err);
        return;
    }
    if (!codec_deflate_ready(f->git)) {
        f->status = agt__nomem(err);
        return;
    }
    if (head_len) codec_deflate(f, head, head_len, Z_NO_FLUSH, err);
    if (f->status == AGT_OK) codec_deflate(f, data, len, Z_FINISH, err);
}

AGT_PRIVATE void agt__git_file_drop(agt_git_file *f) {
    const agt_sys *sys = f->git->sys;
    if (f->fd == AGT_FD_NONE) return;
    sys->close(sys->ctx, f->fd);
    f->fd = AGT_FD_NONE;
    (void)sys->remove(sys->ctx, f->dir, f->name);
}

AGT_PRIVATE agt_status agt__git_file_end(agt_git_file *f, bool durable, agt_error *err) {
    const agt_sys *sys = f->git->sys;
    agt__git_file_flush(f, err);
    if (f->status == AGT_OK && durable) {
        int rc = sys->sync(sys->ctx, f->fd);
        if (rc < 0) f->status = agt__fail_io(err, rc, "cannot sync %s in the git folder", f->name);
    }
    if (f->status != AGT_OK) {
        agt__git_file_drop(f);
        return f->status;
    }
    sys->close(sys->ctx, f->fd);
    f->fd = AGT_FD_NONE;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_file_name(agt_git_file *f, agt_fd to, const char *name,
                                          agt_error *err) {
    const agt_sys *sys = f->git->sys;
    int rc = sys->rename(sys->ctx, f->dir, f->name, to, name, AGT_RENAME_REPLACE);
    if (rc == 0) return AGT_OK;
    (void)sys->remove(sys->ctx, f->dir, f->name);
    return agt__fail_io(err, rc, "cannot rename %s to %s in the git folder", f->name, name);
}

/* ---- reading a stream ---- */

AGT_PRIVATE agt_status agt__git_unzip_begin(agt_git_unzip *z, agt_git *git, agt_fd fd, uint64_t at,
                                            uint64_t end, agt_error *err) {
    *z = (agt_git_unzip){.git = git, .fd = fd, .at = at, .end = end};
    git->in.failed = false;
    git->in.len = 0;
    if (!agt__buf_reserve(&git->in, CODEC_IN)) return agt__nomem(err);
    if (!codec_inflate_ready(git)) return agt__nomem(err);
    git->unzip.avail_in = 0;
    return AGT_OK;
}

static bool codec_fill(agt_git_unzip *z) {
    agt_git *git = z->git;
    size_t want = z->at < z->end && z->end - z->at < CODEC_IN ? (size_t)(z->end - z->at) : CODEC_IN;
    int64_t got = 0;
    if (z->at < z->end) got = agt__read_all(git->sys, z->fd, git->in.data, want, z->at);
    if (got < 0)
        z->rc = got;
    else if (got == 0)
        z->rotten = true;
    if (got <= 0) return false;
    z->at += (uint64_t)got;
    git->unzip.next_in = git->in.data;
    git->unzip.avail_in = (uInt)got;
    return true;
}

AGT_PRIVATE size_t agt__git_unzip(agt_git_unzip *z, void *out, size_t n) {
    z_stream *s = &z->git->unzip;
    unsigned char *p = out;
    size_t have = 0;
    while (have < n && !z->done) {
        if (!s->avail_in && !codec_fill(z)) break;
        unsigned part = n - have < CODEC_INPUT ? (unsigned)(n - have) : CODEC_INPUT;
        s->next_out = p + have;
        s->avail_out = part;
        int rc = inflate(s, Z_NO_FLUSH);
        have += part - s->avail_out;
        z->done = rc == Z_STREAM_END;
        z->nomem = rc == Z_MEM_ERROR;
        z->rotten = rc != Z_OK && rc != Z_BUF_ERROR && !z->done && !z->nomem;
        if (z->rotten || z->nomem) break;
    }
    return have;
}

AGT_PRIVATE bool agt__git_unzip_end(agt_git_unzip *z) {
    unsigned char more;
    return agt__git_unzip(z, &more, 1) == 0 && z->done;
}

/* ---- making a delta ---- */

AGT_PRIVATE void agt__git_delta_size(agt_buf *out, size_t n) {
    for (; n >= 128; n >>= 7)
        agt__buf_byte(out, (unsigned char)(n | 128));
    agt__buf_byte(out, (unsigned char)n);
}

AGT_PRIVATE void agt__git_delta_copy(agt_buf *out, size_t at, size_t n) {
    while (n) {
        size_t part = n < CODEC_COPY_MAX ? n : CODEC_COPY_MAX, len = 1;
        unsigned char op[8] = {128};
        for (unsigned i = 0; i < 4; i++) {
            unsigned char byte = (unsigned char)(at >> (8 * i));
            if (!byte) continue;
            op[0] |= (unsigned char)(1u << i);
            op[len++] = byte;
        }
        for (unsigned i = 0; i < 3 && part != 65536; i++) {
            unsigned char byte = (unsigned char)(part >> (8 * i));
            if (!byte) continue;
            op[0] |= (unsigned char)(16u << i);
            op[len++] = byte;
        }
        agt__buf_put(out, op, len);
        at += part;
        n -= part;
    }
}

AGT_PRIVATE void agt__git_delta_insert(agt_buf *out, const unsigned char *data, size_t n) {
    while (n) {
        size_t part = n < 127 ? n : 127;
        agt__buf_byte(out, (unsigned char)part);
        agt__buf_put(out, data, part);
        data += part;
        n -= part;
    }
}

static unsigned codec_hash(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return (unsigned)((v * 0x9e3779b97f4a7c15u) >> 52);
}

/* The part of two texts that is neither their common beginning nor their common end. */
typedef struct codec_middle {
    const unsigned char *from, *to;
    size_t from_len, to_len, from_at; /* from_at: where it stands in the whole old text */
} codec_middle;

/* How many bytes from from[f], to[t] on are the same. */
static size_t codec_same(const codec_middle *m, size_t f, size_t t) {
    size_t most = m->from_len - f, n = 0;
    if (m->to_len - t < most) most = m->to_len - t;
    while (n < most && m->from[f + n] == m->to[t + n])
        n++;
    return n;
}

static void codec_delta_middle(const codec_middle *m, size_t limit, agt_buf *out) {
    uint32_t slots[CODEC_SLOTS];
    size_t step = 1 + m->from_len / CODEC_SLOTS, start = out->len, done = 0, t = 0;
    memset(slots, 0xff, sizeof slots);
    for (size_t f = 0; f + CODEC_WINDOW <= m->from_len; f += step)
        slots[codec_hash(m->from + f)] = (uint32_t)f;
    while (t + CODEC_WINDOW <= m->to_len && out->len - start + (t - done) <= limit) {
        size_t f = slots[codec_hash(m->to + t)], back = 0;
        size_t n = f < m->from_len ? codec_same(m, f, t) : 0;
        while (n && back < f && back < t - done && m->from[f - back - 1] == m->to[t - back - 1])
            back++;
        if (n + back < CODEC_MATCH) {
            t++;
            continue;
        }
        agt__git_delta_insert(out, m->to + done, t - back - done);
        agt__git_delta_copy(out, m->from_at + f - back, n + back);
        done = t += n;
    }
    agt__git_delta_insert(out, m->to + done, m->to_len - done);
}

AGT_PRIVATE bool agt__git_delta_make(const unsigned char *from, size_t from_len,
                                     const unsigned char *to, size_t to_len, size_t limit,
                                     agt_buf *out) {
    size_t start = out->len, least = from_len < to_len ? from_len : to_len, head = 0, tail = 0;
    while (head < least && from[head] == to[head])
        head++;
    while (tail < least - head && from[from_len - tail - 1] == to[to_len - tail - 1])
        tail++;
    codec_middle m = {from + head, to + head, from_len - head - tail, to_len - head - tail, head};
    bool search = m.from_len >= CODEC_MATCH && m.to_len >= CODEC_MATCH;
    if (from_len >= UINT32_MAX || (!search && m.to_len > limit)) return false;
    agt__git_delta_size(out, from_len);
    agt__git_delta_size(out, to_len);
    agt__git_delta_copy(out, 0, head);
    if (search)
        codec_delta_middle(&m, limit, out);
    else
        agt__git_delta_insert(out, m.to, m.to_len);
    agt__git_delta_copy(out, from_len - tail, tail);
    if (!out->failed && out->len - start <= limit) return true;
    out->len = start;
    out->failed = false;
    return false;
}

/* ---- applying a delta ---- */

static bool codec_delta_number(const unsigned char **p, const unsigned char *end, size_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 57; shift += 7) {
        unsigned char c = *(*p)++;
        v |= (uint64_t)(c & 127) << shift;
        *out = (size_t)v;
        if (c < 128) return v <= AGT_GIT_MAX_RAW;
    }
    return false;
}

/* One command: *n bytes from *at of the old bytes, or *n bytes that stand at **p if not *copy. */
static bool codec_delta_command(const unsigned char **p, const unsigned char *end, bool *copy,
                                size_t *at, size_t *n) {
    unsigned char op = *(*p)++;
    *copy = op >= 128;
    *at = 0;
    *n = op;
    if (!*copy) return op && (size_t)(end - *p) >= op;
    *n = 0;
    for (unsigned i = 0; i < 7; i++) {
        if (!(op >> i & 1)) continue;
        if (*p == end) return false;
        if (i < 4)
            *at |= (size_t) * (*p)++ << (8 * i);
        else
            *n |= (size_t) * (*p)++ << (8 * (i - 4));
    }
    if (!*n) *n = 65536;
    return true;
}

AGT_PRIVATE agt_status agt__git_delta_apply(const unsigned char *from, size_t from_len,
                                            const unsigned char *delta, size_t delta_len,
                                            agt_buf *out, agt_error *err) {
    const unsigned char *p = delta, *end = delta + delta_len, *first;
    size_t size_from, size_to, at, n, sum = 0;
    bool copy, good = codec_delta_number(&p, end, &size_from) &&
                      codec_delta_number(&p, end, &size_to) && size_from == from_len;
    first = p;
    while (good && p < end) { /* (2) */
        good = codec_delta_command(&p, end, &copy, &at, &n) && n <= size_to - sum;
        if (good && copy) good = at <= from_len && n <= from_len - at;
        if (!copy) p += good ? n : 0;
        sum += good ? n : 0;
    }
    if (!good || sum != size_to) return agt__fail(err, AGT_CORRUPT, "a delta in a pack is damaged");
    if (!agt__buf_reserve(out, size_to)) return agt__nomem(err);
    for (p = first; p < end;) {
        (void)codec_delta_command(&p, end, &copy, &at, &n);
        agt__buf_put(out, copy ? from + at : p, n);
        if (!copy) p += n;
    }
    return AGT_OK;
}
/* end src/git/codec.c */
/* begin src/git/objects.c */
/* objects: reading what git's folder holds, through sys.
 *
 * Three places, in this order: a loose file objects/ab/cdef..., a pack of version 2 beside its
 * index of version 2, and last libgit2, where there is something only it can read (alternates,
 * other versions). The first two are read here: they are all we write, a machine without a disk has
 * nothing else, and a tree or a version is read without starting libgit2.
 *
 *     loose   zlib stream of "<kind> <size>\0" and the bytes
 *     pack    "PACK" version count, entries, SHA-1; an entry is kind and size (4 bits, then 7 a
 *             byte), for OFS_DELTA the distance back to its base, for REF_DELTA the base's id,
 *             and a zlib stream
 *     index   ff 't' 'O' 'c', version, 256 running counts, ids, crc32s, offsets (31 bits, or the
 *             number of one of 64 bits), 64-bit offsets, SHA-1 of the pack, SHA-1
 *
 * (1) Every object that is handed out was hashed and is what its id says.
 * (2) A damaged loose file does not hide a good copy in a pack: damage is only reported where no
 *     good copy is found.
 * (3) The list of packs is read once, and again when an object is missed: somebody's `git gc` may
 *     have moved everything. An open pack stays readable when its name is gone.
 * (4) Chains of deltas are followed in a loop; offsets only go down, ids at most OBJECTS_CHAIN. */

#define OBJECTS_HEAD   32u   /* "<kind> <size>\0" fits */
#define OBJECTS_CHAIN  5000u /* git's own limit is 4,095 */
#define OBJECTS_RATIO  1040u /* zlib cannot make more bytes of one */
#define OBJECTS_IDS    (8u + 1024u)
#define OBJECTS_WINDOW 64u
#define OBJECTS_SHORT  AGT_SYS_ERR(AGT_SYS_NOSYS, 0) /* the file ends too early */

AGT_PRIVATE agt_status agt__git_objects(agt_git *git, bool make, agt_fd *out, agt_error *err) {
    if (git->objects == AGT_FD_NONE) {
        agt_status status =
            agt__open_folder(git->sys, git->dir, "objects", make, &git->objects, err);
        if (status != AGT_OK) git->objects = AGT_FD_NONE;
        if (status != AGT_OK) return status;
    }
    *out = git->objects;
    return AGT_OK;
}

static agt_status objects_corrupt(agt_error *err, const agt_oid *id) {
    char hex[AGT_GIT_HEX];
    agt__hex(id->id, sizeof id->id, hex);
    return agt__fail(err, AGT_CORRUPT,
                     "git object %.40s is damaged; publish again from the journal, or restore "
                     "the git folder from a copy",
                     hex);
}

/* Why an inflation ended early. */
static agt_status objects_unzip_fail(const agt_git_unzip *z, const agt_oid *id, agt_error *err) {
    if (z->nomem) return agt__nomem(err);
    if (z->rc < 0) return agt__fail_io(err, z->rc, "cannot read a git object");
    return objects_corrupt(err, id);
}

/* Inflates the rest of a stream, exactly n bytes and its end, behind what `out` holds. */
static agt_status objects_inflate(agt_git_unzip *z, size_t n, const agt_oid *id, agt_buf *out,
                                  agt_error *err) {
    if (!agt__buf_reserve(out, n)) return agt__nomem(err);
    size_t got = n ? agt__git_unzip(z, out->data + out->len, n) : 0;
    if (got < n || !agt__git_unzip_end(z)) return objects_unzip_fail(z, id, err);
    out->len += n;
    return AGT_OK;
}

/* Could a stream of `from` bytes make n? Asked before memory is. */
static bool objects_plausible(uint64_t n, uint64_t from) {
    return n <= AGT_GIT_MAX_RAW && n / OBJECTS_RATIO <= from;
}

/* ---- loose ---- */

/* Reads "<kind> <size>\0"; the header's length, or 0. */
static size_t objects_loose_head(const unsigned char *p, size_t n, int *kind, uint64_t *size) {
    const unsigned char *end = memchr(p, 0, n);
    size_t at = 0;
    for (*kind = AGT_GIT_TAG; *kind; --*kind) {
        const char *name = agt__git_kind(*kind);
        at = strlen(name);
        if (n > at && memcmp(p, name, at) == 0 && p[at] == ' ') break;
    }
    if (!end || !*kind || p + at + 1 == end || end - p - (ptrdiff_t)at > 20) return 0;
    for (*size = 0, at++; p + at < end; at++) {
        if (p[at] < '0' || p[at] > '9') return 0;
        *size = *size * 10 + (uint64_t)(p[at] - '0');
    }
    return at + 1;
}

static agt_status objects_loose_read(agt_git *git, agt_fd fd, const agt_oid *id, int *kind,
                                     agt_buf *out, agt_error *err) {
    unsigned char head[OBJECTS_HEAD], sum[20];
    agt_stat st;
    agt_git_unzip z;
    uint64_t size = 0;
    size_t start = out->len;
    int rc = git->sys->fstat(git->sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at a git object");
    agt_status status = agt__git_unzip_begin(&z, git, fd, 0, st.size, err);
    if (status != AGT_OK) return status;
    size_t got = agt__git_unzip(&z, head, sizeof head);
    if (z.rc < 0 || z.nomem) return objects_unzip_fail(&z, id, err);
    size_t skip = objects_loose_head(head, got, kind, &size), some = got - skip;
    if (!skip || !objects_plausible(size, st.size) || some > size) return objects_corrupt(err, id);
    if (!agt__buf_reserve(out, (size_t)size)) return agt__nomem(err);
    agt__buf_put(out, head + skip, some);
    status = objects_inflate(&z, (size_t)size - some, id, out, err);
    if (status != AGT_OK) return status;
    agt__git_id(git->cpu, agt__git_kind(*kind), out->data ? out->data + start : NULL,
                out->len - start, sum);
    return memcmp(sum, id->id, sizeof sum) == 0 ? AGT_OK : objects_corrupt(err, id);
}

AGT_PRIVATE agt_status agt__git_load_loose(agt_git *git, agt_fd folder, const char *name,
                                           const agt_oid *id, int *kind, agt_buf *out,
                                           agt_error *err) {
    size_t start = out->len;
    agt_fd fd = git->sys->open(git->sys->ctx, folder, name, AGT_O_READ, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open a git object");
    agt_status status = objects_loose_read(git, fd, id, kind, out, err);
    git->sys->close(git->sys->ctx, fd);
    if (status != AGT_OK) out->len = start;
    return status;
}

static agt_status objects_find_loose(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err) {
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0};
    agt_fd objects, fd;
    agt__hex(id->id, sizeof id->id, hex);
    memcpy(folder, hex, 2);
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    fd = git->sys->open(git->sys->ctx, objects, folder, AGT_O_READ | AGT_O_FOLDER, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open objects/%s", folder);
    status = agt__git_load_loose(git, fd, hex + 2, id, kind, out, err);
    git->sys->close(git->sys->ctx, fd);
    return status;
}

/* ---- packs: their files ---- */

static void objects_pack_close(agt_git *git, agt_git_pack *p) {
    if (p->pack == AGT_FD_NONE) return;
    git->sys->close(git->sys->ctx, p->pack);
    git->sys->close(git->sys->ctx, p->idx);
    p->pack = p->idx = AGT_FD_NONE;
    git->pack_open--;
}

static agt_fd objects_pack_file(agt_git *git, agt_fd folder, const char *stem, const char *ext,
                                uint64_t *size) {
    char name[96];
    agt_stat st;
    size_t n = strlen(stem);
    memcpy(name, stem, n);
    memcpy(name + n, ext, strlen(ext) + 1);
    agt_fd fd = git->sys->open(git->sys->ctx, folder, name, AGT_O_READ, 0);
    if (fd < 0) return fd;
    int rc = git->sys->fstat(git->sys->ctx, fd, &st);
    *size = st.size;
    if (rc == 0) return fd;
    git->sys->close(git->sys->ctx, fd);
    return rc;
}

/* Closes the pack that was used longest ago where too many are open. */
static void objects_pack_make_room(agt_git *git) {
    agt_git_pack *oldest = NULL;
    if (git->pack_open < AGT_GIT_OPEN) return;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (p->pack != AGT_FD_NONE && (!oldest || p->used < oldest->used)) oldest = p;
    }
    if (oldest) objects_pack_close(git, oldest);
}

/* Opens both files of a pack. AGT_NOT_FOUND: somebody deleted it. */
static agt_status objects_pack_open(agt_git *git, agt_git_pack *p, agt_error *err) {
    agt_fd objects, folder;
    p->used = ++git->pack_clock;
    if (p->pack != AGT_FD_NONE) return AGT_OK;
    objects_pack_make_room(git);
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    folder = git->sys->open(git->sys->ctx, objects, "pack", AGT_O_READ | AGT_O_FOLDER, 0);
    if (folder < 0) return agt__fail_sys(err, folder, "cannot open objects/pack");
    agt_fd pack = objects_pack_file(git, folder, p->name, ".pack", &p->pack_size);
    agt_fd idx = pack < 0 ? pack : objects_pack_file(git, folder, p->name, ".idx", &p->idx_size);
    git->sys->close(git->sys->ctx, folder);
    if (pack >= 0 && idx < 0) git->sys->close(git->sys->ctx, pack);
    if (idx < 0) return agt__fail_sys(err, idx, "cannot open %s", p->name);
    p->pack = pack;
    p->idx = idx;
    git->pack_open++;
    return AGT_OK;
}

static uint32_t objects_be32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Reads exactly n bytes. 0, or negative: an agt_sys result, or OBJECTS_SHORT. */
static int64_t objects_get(agt_git *git, agt_fd fd, void *out, size_t n, uint64_t at) {
    int64_t got = agt__read_all(git->sys, fd, out, n, at);
    if (got < 0) return got;
    return (size_t)got == n ? 0 : OBJECTS_SHORT;
}

/* Opens a pack and reads the counts of its index. AGT_NOT_FOUND: it is gone, or libgit2's. */
static agt_status objects_pack_ready(agt_git *git, agt_git_pack *p, agt_error *err) {
    static const unsigned char magic[8] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    unsigned char head[OBJECTS_IDS], pack[12];
    uint32_t before = 0;
    if (p->foreign) return AGT_NOT_FOUND;
    agt_status status = objects_pack_open(git, p, err);
    if (status != AGT_OK || p->known) return status;
    int64_t rc = objects_get(git, p->idx, head, sizeof head, 0);
    if (rc == 0) rc = objects_get(git, p->pack, pack, sizeof pack, 0);
    if (rc < 0 && rc != OBJECTS_SHORT) return agt__fail_io(err, rc, "cannot read %s", p->name);
    if (rc == 0 && (memcmp(head, magic, sizeof magic) || memcmp(pack, "PACK\0\0\0\2", 8))) {
        p->foreign = true;
        objects_pack_close(git, p);
        return AGT_NOT_FOUND;
    }
    bool good = rc == 0;
    for (size_t i = 0; i < 256 && good; i++) {
        p->fan[i] = objects_be32(head + 8 + 4 * i);
        good = p->fan[i] >= before;
        before = p->fan[i];
    }
    p->count = before;
    if (good) good = p->idx_size >= OBJECTS_IDS + 28 * (uint64_t)p->count + 40;
    if (good) good = objects_be32(pack + 8) == p->count;
    p->known = good;
    if (good) return AGT_OK;
    objects_pack_close(git, p);
    return agt__fail(err, AGT_CORRUPT, "%s in the git folder is damaged", p->name);
}

/* ---- packs: the list ---- */

typedef struct objects_listing {
    agt_git *git;
    bool nomem, news;
} objects_listing;

static int objects_list_one(void *ctx, const char *name) {
    objects_listing *l = ctx;
    agt_git *git = l->git;
    size_t n = strlen(name);
    if (n < 10 || n - 4 >= sizeof git->packs[0]->name || memcmp(name, "pack-", 5) != 0) return 0;
    if (memcmp(name + n - 4, ".idx", 4) != 0) return 0;
    n -= 4;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (strlen(p->name) != n || memcmp(p->name, name, n) != 0) continue;
        p->seen = true;
        return 0;
    }
    if (git->pack_count == git->pack_cap) {
        size_t cap = git->pack_cap ? git->pack_cap * 2 : 8;
        agt_git_pack **more =
            agt__realloc(&git->mem, git->packs, git->pack_cap * sizeof *more, cap * sizeof *more);
        if (!more) return l->nomem = true;
        git->packs = more;
        git->pack_cap = cap;
    }
    agt_git_pack *p = agt__zalloc(&git->mem, sizeof *p);
    if (!p) return l->nomem = true;
    memcpy(p->name, name, n);
    p->pack = p->idx = AGT_FD_NONE;
    p->seen = l->news = true;
    git->packs[git->pack_count++] = p;
    return 0;
}

static void objects_pack_free(agt_git *git, agt_git_pack *p) {
    objects_pack_close(git, p);
    agt__free(&git->mem, p, sizeof *p);
}

/* Lists objects/pack anew. *news: there is a pack that was not known, or one came back. */
static agt_status objects_list(agt_git *git, bool *news, agt_error *err) {
    objects_listing l = {git, false, false};
    agt_fd objects, folder;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    folder = git->sys->open(git->sys->ctx, objects, "pack", AGT_O_READ | AGT_O_FOLDER, 0);
    if (folder < 0) return agt__fail_sys(err, folder, "cannot open objects/pack");
    for (size_t i = 0; i < git->pack_count; i++)
        git->packs[i]->seen = false;
    int rc = git->sys->list(git->sys->ctx, folder, objects_list_one, &l);
    git->sys->close(git->sys->ctx, folder);
    if (l.nomem) return agt__nomem(err);
    if (rc < 0) return agt__fail_io(err, rc, "cannot list objects/pack");
    size_t kept = 0;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        if (p->seen)
            git->packs[kept++] = p;
        else
            objects_pack_free(git, p);
    }
    git->pack_count = kept;
    git->listed = true;
    *news = l.news;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_objects_free(agt_git *git) {
    for (size_t i = 0; i < git->pack_count; i++)
        objects_pack_free(git, git->packs[i]);
    agt__free(&git->mem, git->packs, git->pack_cap * sizeof *git->packs);
    git->packs = NULL;
    git->pack_count = git->pack_cap = 0;
    git->listed = false;
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        agt__buf_free(&git->work[i]);
    if (git->objects != AGT_FD_NONE) git->sys->close(git->sys->ctx, git->objects);
    git->objects = AGT_FD_NONE;
}

/* ---- packs: finding and reading an object ---- */

/* Narrows [lo, hi) of the sorted ids until one read covers it. 0 or a negative agt_sys result. */
static int64_t objects_narrow(agt_git *git, const agt_git_pack *p, const agt_oid *id, uint32_t *lo,
                              uint32_t *hi) {
    while (*hi - *lo > OBJECTS_WINDOW) {
        unsigned char found[20];
        uint32_t mid = *lo + (*hi - *lo) / 2;
        int64_t rc = objects_get(git, p->idx, found, 20, OBJECTS_IDS + 20 * (uint64_t)mid);
        if (rc < 0) return rc;
        if (memcmp(id->id, found, 20) < 0)
            *hi = mid;
        else
            *lo = mid;
    }
    return 0;
}

/* Where an object stands in a pack. AGT_NOT_FOUND, AGT_CORRUPT, AGT_IO. */
static agt_status objects_pack_find(agt_git *git, const agt_git_pack *p, const agt_oid *id,
                                    uint64_t *offset, agt_error *err) {
    unsigned char ids[OBJECTS_WINDOW * 20], word[8];
    uint32_t hi = p->fan[id->id[0]], lo = id->id[0] ? p->fan[id->id[0] - 1] : 0, i = 0;
    int64_t rc = objects_narrow(git, p, id, &lo, &hi);
    uint32_t n = rc < 0 ? 0 : hi - lo;
    if (rc == 0) rc = objects_get(git, p->idx, ids, n * 20u, OBJECTS_IDS + 20 * (uint64_t)lo);
    while (rc == 0 && i < n && memcmp(ids + 20 * (size_t)i, id->id, 20) != 0)
        i++;
    if (rc == 0 && i == n) return agt__fail(err, AGT_NOT_FOUND, "no such git object");
    uint64_t table = OBJECTS_IDS + 24 * (uint64_t)p->count;
    if (rc == 0) rc = objects_get(git, p->idx, word, 4, table + 4 * (uint64_t)(lo + i));
    if (rc == 0) *offset = objects_be32(word);
    if (rc == 0 && *offset >> 31) {
        table += 4 * (uint64_t)p->count + 8 * (*offset & 0x7fffffffu);
        rc = objects_get(git, p->idx, word, 8, table);
        *offset = (uint64_t)objects_be32(word) << 32 | objects_be32(word + 4);
    }
    if (rc < 0 && rc != OBJECTS_SHORT) return agt__fail_io(err, rc, "cannot read %s.idx", p->name);
    if (rc < 0 || *offset < 12 || *offset + 20 >= p->pack_size)
        return agt__fail(err, AGT_CORRUPT, "%s.idx is damaged", p->name);
    return AGT_OK;
}

AGT_PRIVATE void agt__git_pack_close(agt_git *git, agt_git_pack *pack) {
    objects_pack_close(git, pack);
}

AGT_PRIVATE agt_status agt__git_pack_ids(agt_git *git, agt_git_pack *pack, agt_git_id_fn each,
                                         void *ctx, agt_error *err) {
    unsigned char ids[OBJECTS_WINDOW * 20];
    agt_oid id;
    agt_status status = objects_pack_ready(git, pack, err);
    for (uint32_t at = 0; status == AGT_OK && at < pack->count;) {
        uint32_t n = pack->count - at < OBJECTS_WINDOW ? pack->count - at : OBJECTS_WINDOW;
        int64_t rc = objects_get(git, pack->idx, ids, n * 20u, OBJECTS_IDS + 20 * (uint64_t)at);
        if (rc == OBJECTS_SHORT) return agt__fail(err, AGT_CORRUPT, "%s.idx is short", pack->name);
        if (rc < 0) return agt__fail_io(err, rc, "cannot read %s.idx", pack->name);
        for (uint32_t i = 0; i < n; i++) {
            memcpy(id.id, ids + 20 * (size_t)i, sizeof id.id);
            each(ctx, &id);
        }
        at += n;
    }
    return status;
}

typedef struct objects_entry {
    int kind;      /* 1 to 4, or a delta's */
    uint64_t data; /* offset of the zlib stream */
    uint64_t size, base;
} objects_entry;

/* The distance back to an OFS_DELTA's base, from `p` on; bytes used, or 0. */
static size_t objects_distance(const unsigned char *p, size_t n, uint64_t *out) {
    size_t at = 0;
    *out = n ? p[at++] & 127u : 0;
    while (at && at < n && p[at - 1] & 128) {
        if (*out >> 55) return 0;
        *out = (*out + 1) << 7 | (p[at++] & 127u);
    }
    return at && !(p[at - 1] & 128) ? at : 0;
}

/* Reads the header of the entry at `offset`; finds the base of a delta. */
static agt_status objects_entry_read(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                     objects_entry *e, agt_error *err) {
    unsigned char b[40];
    agt_oid base;
    uint64_t distance;
    int64_t got = agt__read_all(git->sys, p->pack, b, sizeof b, offset);
    if (got < 0) return agt__fail_io(err, got, "cannot read %s.pack", p->name);
    size_t n = (size_t)got, at = 1, used;
    unsigned shift = 4;
    e->kind = n ? b[0] >> 4 & 7 : 0;
    e->size = b[0] & 15u;
    for (; at < n && b[at - 1] & 128 && shift < 60; shift += 7)
        e->size |= (uint64_t)(b[at++] & 127u) << shift;
    bool good = n && !(b[at - 1] & 128) && (agt__git_kind(e->kind) || e->kind >= AGT_GIT_OFS_DELTA);
    if (good && e->kind == AGT_GIT_OFS_DELTA) {
        used = objects_distance(b + at, n - at, &distance);
        at += used;
        good = used && distance && distance <= offset - 12;
        e->base = offset - (good ? distance : 0);
    } else if (good && e->kind == AGT_GIT_REF_DELTA) {
        good = n - at >= sizeof base.id;
        memcpy(base.id, b + at, good ? sizeof base.id : 0);
        at += sizeof base.id;
        if (good) good = objects_pack_find(git, p, &base, &e->base, NULL) == AGT_OK;
    }
    e->data = offset + at;
    if (!good || !objects_plausible(e->size, p->pack_size - offset))
        return agt__fail_at(err, AGT_CORRUPT, (int64_t)offset, "%s.pack is damaged", p->name);
    return AGT_OK;
}

static agt_status objects_entry_inflate(agt_git *git, const agt_git_pack *p, const objects_entry *e,
                                        const agt_oid *id, agt_buf *out, agt_error *err) {
    agt_git_unzip z;
    agt_status status = agt__git_unzip_begin(&z, git, p->pack, e->data, p->pack_size - 20, err);
    return status == AGT_OK ? objects_inflate(&z, (size_t)e->size, id, out, err) : status;
}

/* Walks from the entry at `offset` to the whole object beneath it; the deltas passed on the way
 * are gathered in `chain`, the topmost first. */
static agt_status objects_chain(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                agt_buf *chain, objects_entry *whole, agt_error *err) {
    agt_status status = objects_entry_read(git, p, offset, whole, err);
    while (status == AGT_OK && whole->kind >= AGT_GIT_OFS_DELTA) {
        agt__buf_put(chain, whole, sizeof *whole);
        if (chain->failed) return agt__nomem(err);
        if (chain->len > OBJECTS_CHAIN * sizeof *whole) /* (4) */
            return agt__fail(err, AGT_CORRUPT, "%s.pack has an endless chain", p->name);
        status = objects_entry_read(git, p, whole->base, whole, err);
    }
    return status;
}

/* Reads the object at `offset` behind what `out` holds. */
static agt_status objects_pack_read(agt_git *git, const agt_git_pack *p, uint64_t offset,
                                    const agt_oid *id, int *kind, agt_buf *out, agt_error *err) {
    agt_buf *chain = &git->work[0], *delta = &git->work[1];
    agt_buf *base = &git->work[2], *next = &git->work[3];
    objects_entry e;
    agt__git_reuse(chain);
    agt_status status = objects_chain(git, p, offset, chain, &e, err);
    if (status != AGT_OK) return status;
    *kind = e.kind;
    if (!chain->len) return objects_entry_inflate(git, p, &e, id, out, err);
    agt__git_reuse(base);
    status = objects_entry_inflate(git, p, &e, id, base, err);
    while (status == AGT_OK && chain->len) {
        chain->len -= sizeof e;
        memcpy(&e, chain->data + chain->len, sizeof e);
        agt__git_reuse(delta);
        agt__git_reuse(next);
        status = objects_entry_inflate(git, p, &e, id, delta, err);
        if (status != AGT_OK) break;
        status = agt__git_delta_apply(base->data, base->len, delta->data, delta->len,
                                      chain->len ? next : out, err);
        agt_buf swap = *base;
        *base = *next;
        *next = swap;
    }
    return status;
}

/* Reads an object from one pack, and checks it. */
static agt_status objects_pack_load(agt_git *git, agt_git_pack *p, const agt_oid *id, int *kind,
                                    agt_buf *out, agt_error *err) {
    uint64_t offset = 0;
    unsigned char sum[20];
    size_t start = out->len;
    agt_status status = objects_pack_ready(git, p, err);
    if (status == AGT_OK) status = objects_pack_find(git, p, id, &offset, err);
    if (status == AGT_OK) status = objects_pack_read(git, p, offset, id, kind, out, err);
    if (status == AGT_OK) {
        agt__git_id(git->cpu, agt__git_kind(*kind), out->data ? out->data + start : NULL,
                    out->len - start, sum);
        if (memcmp(sum, id->id, sizeof sum) != 0) status = objects_corrupt(err, id);
    }
    if (status != AGT_OK) out->len = start;
    return status;
}

/* Looks through all known packs, the one used last first. AGT_NOT_FOUND: none has it; another
 * failure: none has it that could be read. */
static agt_status objects_find_packed(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                      agt_error *err) {
    agt_status worst = AGT_NOT_FOUND;
    for (size_t i = git->pack_count; i-- > 0;) {
        agt_git_pack *p = git->packs[i];
        agt_error mine;
        agt_status status = objects_pack_load(git, p, id, kind, out, &mine);
        if (status == AGT_NOT_FOUND) continue;
        if (status == AGT_OK) {
            size_t behind = git->pack_count - i - 1;
            memmove(git->packs + i, git->packs + i + 1, behind * sizeof(agt_git_pack *));
            git->packs[git->pack_count - 1] = p;
            return AGT_OK;
        }
        if (worst == AGT_NOT_FOUND || status != AGT_CORRUPT) {
            worst = status;
            *err = mine;
        }
        if (status == AGT_NOMEM) break;
    }
    return worst;
}

/* ---- all places ---- */

/* Is there anything that only libgit2 can read? It is asked for nothing else: it trusts an index
 * that is damaged and may crash. */
static bool objects_for_libgit2(agt_git *git) {
    agt_stat st;
    for (size_t i = 0; i < git->pack_count; i++)
        if (git->packs[i]->foreign) return true;
    agt_fd info = git->sys->walk(git->sys->ctx, git->dir, "objects/info");
    if (info < 0) return false;
    int rc = git->sys->stat(git->sys->ctx, info, "alternates", &st);
    git->sys->close(git->sys->ctx, info);
    return rc == 0;
}

static bool objects_try_on(agt_status status) {
    return status == AGT_NOT_FOUND || status == AGT_CORRUPT;
}

/* err is not NULL here, and may be filled though the answer is AGT_OK. */
static agt_status objects_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                               agt_error *err) {
    bool news = false;
    agt_error damage;
    agt_status packed = AGT_NOT_FOUND, loose = objects_find_loose(git, id, kind, out, err);
    if (!objects_try_on(loose)) return loose;
    damage = *err;
    if (git->listed) packed = objects_find_packed(git, id, kind, out, err);
    if (objects_try_on(packed)) { /* (3) */
        agt_status list = objects_list(git, &news, err);
        if (list != AGT_OK && list != AGT_NOT_FOUND) return list;
        if (news) packed = objects_find_packed(git, id, kind, out, err);
    }
    if (packed != AGT_NOT_FOUND) return packed;
    if (loose == AGT_CORRUPT) { /* (2) */
        *err = damage;
        return loose;
    }
    if (objects_for_libgit2(git)) {
        agt_status foreign = agt__git_foreign_load(git, id, kind, out, err);
        if (foreign != AGT_NOT_FOUND) return foreign;
    }
    return objects_find_loose(git, id, kind, out, err); /* unpacked while we looked? */
}

AGT_PRIVATE agt_status agt__git_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err) {
    agt_error mine;
    char hex[AGT_GIT_HEX];
    agt_status status = objects_load(git, id, kind, out, &mine);
    if (status == AGT_OK) return AGT_OK;
    agt__hex(id->id, sizeof id->id, hex);
    if (status == AGT_NOT_FOUND) return agt__fail(err, status, "there is no git object %.40s", hex);
    if (err) *err = mine;
    return status;
}

AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out,
                                     agt_error *err) {
    int kind = 0;
    uint32_t object = agt__git_txn_find(git, id);
    if (object != AGT_GIT_NONE) return agt__git_txn_bytes(git, object, out, err);
    return agt__git_load(git, id, &kind, out, err);
}

AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err) {
    bool news;
    agt_status status = objects_list(git, &news, err);
    return status == AGT_NOT_FOUND ? AGT_OK : status;
}

AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err) {
    agt_error mine;
    bool news;
    int kind;
    agt_buf b = agt__buf(&git->mem);
    *packed = false;
    /* listed anew: a pack that is open may have no name any more */
    agt_status status = objects_list(git, &news, &mine);
    if (status == AGT_OK) status = objects_find_packed(git, id, &kind, &b, &mine);
    agt__buf_free(&b);
    *packed = status == AGT_OK;
    if (status == AGT_OK || objects_try_on(status)) return AGT_OK;
    if (err) *err = mine;
    return status;
}
/* end src/git/objects.c */
/* begin src/git/libgit2.c */
/* libgit2: what is left to it. It reads objects that our own reader does not find, and it makes
 * diffs for people.
 *
 * (1) It is started by the first call that needs it and stopped when the handle is closed; starts
 *     are counted, so a host that uses libgit2 itself is not disturbed. No global option is set.
 * (2) It never opens a repository: no configuration, no environment, no owner check. It is given
 *     the objects folder, or two byte strings.
 * (3) It never writes.
 * (4) Its own memory does not come from the handle's allocator. */

#include <git2.h>

#define LIBGIT2_PATH 4096u

static agt_status libgit2_fail(int code, const char *what, agt_error *err) {
    const git_error *last = git_error_last();
    agt_status status = AGT_GIT;
    if (code == GIT_ENOTFOUND)
        status = AGT_NOT_FOUND;
    else if (last && last->klass == GIT_ERROR_NOMEMORY)
        status = AGT_NOMEM;
    status = agt__fail(err, status, "%s: %.300s", what, last ? last->message : "no reason given");
    if (err) err->sys = code;
    return status;
}

static agt_status libgit2_start(agt_git *git, agt_error *err) {
    if (git->started) return AGT_OK;
    int code = git_libgit2_init();
    if (code < 0) return agt__fail(err, AGT_GIT, "libgit2 does not start (%d)", code);
    git->started = true;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_foreign_free(agt_git *git) {
    if (git->odb) git_odb_free(git->odb);
    git->odb = NULL;
    if (git->started) (void)git_libgit2_shutdown();
    git->started = false;
}

/* ---- objects ---- */

/* Opens the objects folder. AGT_NOT_FOUND in a machine that has no disk. */
static agt_status libgit2_open(agt_git *git, agt_error *err) {
    char path[LIBGIT2_PATH];
    git_odb *odb = NULL;
    agt_fd objects;
    if (git->odb) return AGT_OK;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    int rc = git->sys->path_of(git->sys->ctx, objects, path, sizeof path);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS)
        return agt__fail(err, AGT_NOT_FOUND, "the git folder has no path");
    if (rc < 0) return agt__fail_io(err, rc, "cannot tell the path of the git folder");
    status = libgit2_start(git, err);
    if (status != AGT_OK) return status;
    int code = git_odb_open(&odb, path);
    if (code < 0) return libgit2_fail(code, "cannot open the git objects", err);
    git->odb = odb;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_foreign_load(agt_git *git, const agt_oid *id, int *kind,
                                             agt_buf *out, agt_error *err) {
    git_odb_object *object = NULL;
    git_oid oid;
    unsigned char sum[20];
    agt_status status = libgit2_open(git, err);
    if (status != AGT_OK) return status;
    memcpy(oid.id, id->id, sizeof id->id);
    int code = git_odb_read(&object, git->odb, &oid);
    if (code == GIT_EMISMATCH) return agt__fail(err, AGT_CORRUPT, "a git object is damaged");
    if (code < 0) return libgit2_fail(code, "cannot read a git object", err);
    const void *data = git_odb_object_data(object);
    size_t len = git_odb_object_size(object);
    *kind = (int)git_odb_object_type(object);
    if (!agt__git_kind(*kind))
        status = agt__fail(err, AGT_CORRUPT, "a git object has no kind");
    else
        agt__git_id(git->cpu, agt__git_kind(*kind), data, len, sum);
    if (status == AGT_OK && memcmp(sum, id->id, sizeof sum) != 0)
        status = agt__fail(err, AGT_CORRUPT, "a git object is damaged");
    if (status == AGT_OK && !agt__buf_reserve(out, len)) status = agt__nomem(err);
    if (status == AGT_OK) agt__buf_put(out, data, len);
    git_odb_object_free(object);
    return status;
}

/* ---- diffs ---- */

AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err) {
    git_diff_options opts;
    git_patch *patch = NULL;
    git_buf text = GIT_BUF_INIT;
    bool same = from && to && from_len == to_len && memcmp(from, to, to_len) == 0;
    if (same || (!from && !to)) return AGT_OK;
    agt_status status = libgit2_start(git, err);
    if (status != AGT_OK) return status;
    int code = git_diff_options_init(&opts, GIT_DIFF_OPTIONS_VERSION);
    if (code == 0)
        code = git_patch_from_buffers(&patch, from, from_len, path, to, to_len, path, &opts);
    if (code == 0) code = git_patch_to_buf(&text, patch);
    if (code < 0)
        status = libgit2_fail(code, "cannot make a diff", err);
    else if (!agt__buf_reserve(out, text.size))
        status = agt__nomem(err);
    else
        agt__buf_put(out, text.ptr, text.size);
    git_buf_dispose(&text);
    git_patch_free(patch);
    return status;
}
/* end src/git/libgit2.c */
/* begin src/git/tree.c */
/* tree: the folders of the commit to come, as git stores them.
 *
 * Each folder that a change touched is kept in memory as the bytes of its tree object
 *
 *     { "100644 " or "40000 "  name  NUL  20 bytes of id }...   sorted, folders as "name/"
 *
 * with the offset of every entry, so that a change among 10,000 files is a binary search and one
 * copy of 20 bytes. Folders are read from the parent commit when a path first leads through them.
 * Sealing hashes the folders that changed, the deepest first, each into the one above.
 *
 * What differs between the bytes now and those of a version the transaction already has is kept
 * as a list of edits: the delta of the next version is written from it without comparing anything.
 *
 *     version   0 whole   1 .. 49 each on the one before   50 on 0   51 .. 98   99 on 50 ...
 *
 * A chain that is full is followed by a delta on the version that began it, and so each chain is
 * one shorter than the last: a whole tree is stored once in 1,225 versions.
 *
 * (1) Entries are sorted and unique; names have no '/' and no NUL; a name is a file or a folder.
 * (2) A folder that became empty disappears when sealed; only the root may be empty.
 * (3) since_last says how to make the bytes from object `last`, since_head from `head`. Both mean
 *     something only while `serial` is the transaction's.
 * (4) Kid nodes stand for folders only, sorted by name. Where a file takes a folder's name, its
 *     node goes. A node whose folder is empty may stay, with an id of zeros. */

#define TREE_ID      20u
#define TREE_MAX_LEN (UINT32_MAX / 2)
#define TREE_FOLDER  "40000 "
#define TREE_FILE    "100644 "

/* old bytes [old_at, old_at + old_len) became new bytes [new_at, new_at + new_len) */
typedef struct tree_edit {
    size_t old_at, old_len, new_at, new_len;
} tree_edit;

typedef struct tree_edits {
    tree_edit *items; /* ordered, never touching one another */
    size_t count, cap;
} tree_edits;

struct agt_git_tree {
    agt_git_tree *parent;
    agt_git_tree **kids;
    size_t kid_count, kid_cap;
    unsigned char *data;
    size_t len, cap;
    uint32_t *at; /* where each entry begins */
    size_t count, at_cap;
    tree_edits since_last, since_head;
    uint64_t serial;
    uint32_t last, head, depth;
    bool loaded, dirty;
    agt_oid id;
    size_t name_len;
    char name[]; /* in its parent; no NUL */
};

static const agt_oid tree_no_id;

/* Makes room for one more of `size` bytes in an array; `array` is where its pointer stands, and
 * pointers to objects all look alike. */
static bool tree_room(const agt_mem *mem, void *array, size_t size, size_t count, size_t *cap) {
    void *old;
    if (count < *cap) return true;
    size_t more = *cap ? *cap * 2 : 8;
    memcpy(&old, array, sizeof old);
    void *grown = agt__realloc(mem, old, *cap * size, more * size);
    if (!grown) return false;
    memcpy(array, &grown, sizeof grown);
    *cap = more;
    return true;
}

/* ---- edits ---- */

/* Notes that bytes [at, at + old_n) of today became new_n bytes. */
static bool tree_edits_add(const agt_mem *mem, tree_edits *e, size_t at, size_t old_n,
                           size_t new_n) {
    size_t first = e->count, last, start = at, end = at + old_n;
    if (!tree_room(mem, &e->items, sizeof *e->items, e->count, &e->cap)) return false;
    tree_edit *v = e->items;
    while (first && v[first - 1].new_at + v[first - 1].new_len >= at)
        first--;
    for (last = first; last < e->count && v[last].new_at <= at + old_n; last++) {
    }
    /* [first, last) touch the new one and become one with it */
    size_t new_end = first ? v[first - 1].new_at + v[first - 1].new_len : 0;
    size_t old_end = first ? v[first - 1].old_at + v[first - 1].old_len : 0;
    if (first < last) {
        if (v[first].new_at < start) start = v[first].new_at;
        if (v[last - 1].new_at + v[last - 1].new_len > end)
            end = v[last - 1].new_at + v[last - 1].new_len;
    }
    tree_edit sum = {old_end + (start - new_end), 0, start, end - start - old_n + new_n};
    if (first < last) {
        new_end = v[last - 1].new_at + v[last - 1].new_len;
        old_end = v[last - 1].old_at + v[last - 1].old_len;
    }
    sum.old_len = old_end + (end - new_end) - sum.old_at;
    memmove(v + first + 1, v + last, (e->count - last) * sizeof *v);
    e->count = e->count - (last - first) + 1;
    v[first] = sum;
    for (size_t i = first + 1; i < e->count; i++)
        v[i].new_at = v[i].new_at - old_n + new_n;
    return true;
}

/* Writes the delta that makes `t`'s bytes from the version that `e` starts at. */
static void tree_edits_delta(const agt_git_tree *t, const tree_edits *e, size_t old_len,
                             agt_buf *out) {
    size_t old_at = 0;
    agt__git_delta_size(out, old_len);
    agt__git_delta_size(out, t->len);
    for (size_t i = 0; i < e->count; i++) {
        const tree_edit *v = &e->items[i];
        agt__git_delta_copy(out, old_at, v->old_at - old_at);
        agt__git_delta_insert(out, t->data + v->new_at, v->new_len);
        old_at = v->old_at + v->old_len;
    }
    agt__git_delta_copy(out, old_at, old_len - old_at);
}

/* ---- nodes ---- */

static void tree_free_one(const agt_mem *mem, agt_git_tree *t) {
    agt__free(mem, t->kids, t->kid_cap * sizeof(agt_git_tree *));
    agt__free(mem, t->data, t->cap);
    agt__free(mem, t->at, t->at_cap * sizeof *t->at);
    agt__free(mem, t->since_last.items, t->since_last.cap * sizeof *t->since_last.items);
    agt__free(mem, t->since_head.items, t->since_head.cap * sizeof *t->since_head.items);
    agt__free(mem, t, sizeof *t + t->name_len);
}

/* Frees a node and all beneath it. */
static void tree_free(const agt_mem *mem, agt_git_tree *top) {
    for (agt_git_tree *t = top; t;) {
        if (t->kid_count) {
            t = t->kids[--t->kid_count];
            continue;
        }
        agt_git_tree *up = t == top ? NULL : t->parent;
        tree_free_one(mem, t);
        t = up;
    }
}

static agt_git_tree *tree_new(const agt_mem *mem, agt_git_tree *parent, const char *name,
                              size_t len, const agt_oid *id) {
    agt_git_tree *t = agt__zalloc(mem, sizeof *t + len);
    if (!t) return NULL;
    t->parent = parent;
    t->depth = parent ? parent->depth + 1 : 0;
    t->name_len = len;
    if (len) memcpy(t->name, name, len);
    if (id) t->id = *id;
    t->loaded = !id;
    t->last = t->head = AGT_GIT_NONE;
    return t;
}

AGT_PRIVATE void agt__git_forest_free(agt_git *git) {
    agt_git_forest *f = &git->forest;
    tree_free(&git->mem, f->root);
    agt__free(&git->mem, f->dirty, f->dirty_cap * sizeof(agt_git_tree *));
    f->root = NULL;
    f->dirty = NULL;
    f->dirty_count = f->dirty_cap = 0;
}

/* This node, and with it all above, will be hashed anew. */
static agt_status tree_touch(agt_git *git, agt_git_tree *t, agt_error *err) {
    agt_git_forest *f = &git->forest;
    for (; t && !t->dirty; t = t->parent) {
        if (!tree_room(&git->mem, &f->dirty, sizeof(agt_git_tree *), f->dirty_count, &f->dirty_cap))
            return agt__nomem(err);
        f->dirty[f->dirty_count++] = t;
        t->dirty = true;
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_forest_plant(agt_git *git, const agt_oid *id, agt_error *err) {
    agt__git_forest_free(git);
    git->forest.root = tree_new(&git->mem, NULL, NULL, 0, id);
    if (!git->forest.root) return agt__nomem(err);
    return id ? AGT_OK : tree_touch(git, git->forest.root, err);
}

/* ---- entries ---- */

static bool tree_entry_is_folder(const agt_git_tree *t, size_t i) {
    return t->data[t->at[i]] == TREE_FOLDER[0];
}

static size_t tree_entry_end(const agt_git_tree *t, size_t i) {
    return i + 1 < t->count ? t->at[i + 1] : t->len;
}

/* An entry's name; a mode has 5 digits for a folder and 6 for all else. */
static agt_text tree_entry_name(const agt_git_tree *t, size_t i) {
    size_t start = t->at[i] + (tree_entry_is_folder(t, i) ? 6u : 7u);
    return (agt_text){(const char *)t->data + start, tree_entry_end(t, i) - TREE_ID - 1 - start};
}

/* git's order: a folder compares as if its name ended in '/'. */
static int tree_compare(agt_text a, bool a_folder, agt_text b, bool b_folder) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    if (order) return order;
    unsigned char x = a.len > n ? (unsigned char)a.data[n] : a_folder ? '/' : 0;
    unsigned char y = b.len > n ? (unsigned char)b.data[n] : b_folder ? '/' : 0;
    return (x > y) - (x < y);
}

/* The entry of that name and sort, or where it would stand. */
static size_t tree_find(const agt_git_tree *t, agt_text name, bool folder, bool *found) {
    size_t lo = 0, hi = t->count;
    *found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order =
            tree_compare(name, folder, tree_entry_name(t, mid), tree_entry_is_folder(t, mid));
        if (order < 0)
            hi = mid;
        else
            lo = mid + (order > 0);
        if (order == 0) {
            *found = true;
            return mid;
        }
    }
    return lo;
}

/* Reads one entry's shape at `at`; its length, or 0 if it is none. */
static size_t tree_entry_check(const unsigned char *p, size_t n) {
    size_t mode = n && p[0] == '4' ? 5 : 6, at = 0;
    while (at < mode && at < n && p[at] >= '0' && p[at] <= '7')
        at++;
    if (at < mode || at == n || p[at] != ' ' || (mode == 5 && memcmp(p, TREE_FOLDER, 6) != 0))
        return 0;
    if (p[0] != '4' && p[0] != '1') return 0;
    const unsigned char *name = p + at + 1, *end = memchr(name, 0, n - at - 1);
    if (!end || end == name || memchr(name, '/', (size_t)(end - name))) return 0;
    size_t len = (size_t)(end - p) + 1 + TREE_ID;
    return len <= n ? len : 0;
}

static agt_status tree_damaged(const agt_git_tree *t, agt_error *err) {
    char hex[AGT_GIT_HEX];
    agt__hex(t->id.id, sizeof t->id.id, hex);
    return agt__fail(err, AGT_CORRUPT, "git tree %.40s is missing or damaged", hex);
}

/* Finds the entries of a node whose bytes are there (1). */
static agt_status tree_index(agt_git *git, agt_git_tree *t, agt_error *err) {
    for (size_t at = 0, n; at < t->len; at += n) {
        n = tree_entry_check(t->data + at, t->len - at);
        if (!n) return tree_damaged(t, err);
        if (!tree_room(&git->mem, &t->at, sizeof *t->at, t->count, &t->at_cap))
            return agt__nomem(err);
        t->at[t->count++] = (uint32_t)at;
    }
    for (size_t i = 1; i < t->count; i++) {
        if (tree_compare(tree_entry_name(t, i - 1), tree_entry_is_folder(t, i - 1),
                         tree_entry_name(t, i), tree_entry_is_folder(t, i)) >= 0)
            return tree_damaged(t, err);
    }
    return AGT_OK;
}

/* Is it the id of the tree without entries? git knows that one by heart: it may be stored nowhere.
 */
static bool tree_is_empty_id(const agt_git *git, const agt_oid *id) {
    agt_oid empty;
    agt__git_id(git->cpu, "tree", NULL, 0, empty.id);
    return memcmp(&empty, id, sizeof empty) == 0;
}

/* Reads a node's bytes from the repository, or from the transaction itself. */
static agt_status tree_load(agt_git *git, agt_git_tree *t, agt_error *err) {
    int kind = AGT_GIT_TREE;
    if (t->loaded) return AGT_OK;
    t->loaded = tree_is_empty_id(git, &t->id);
    if (t->loaded) return AGT_OK;
    agt_buf b = agt__buf(&git->mem);
    uint32_t object = agt__git_txn_find(git, &t->id);
    agt_status status = object == AGT_GIT_NONE ? agt__git_load(git, &t->id, &kind, &b, err)
                                               : agt__git_txn_bytes(git, object, &b, err);
    if (status == AGT_NOT_FOUND || (status == AGT_OK && kind != AGT_GIT_TREE) ||
        b.len > TREE_MAX_LEN)
        status = tree_damaged(t, err);
    t->data = b.data;
    t->len = b.len;
    t->cap = b.cap;
    if (status == AGT_OK) status = tree_index(git, t, err);
    t->loaded = status == AGT_OK;
    return status;
}

/* Puts new_n bytes in the place of [at, at + old_n). */
static agt_status tree_splice(agt_git *git, agt_git_tree *t, size_t at, size_t old_n,
                              const void *bytes, size_t new_n, agt_error *err) {
    size_t len = t->len - old_n + new_n;
    if (len > TREE_MAX_LEN) return agt__fail(err, AGT_LIMIT, "a folder has too many files");
    if (len > t->cap) {
        size_t cap = len + len / 2 + 256;
        unsigned char *grown = agt__realloc(&git->mem, t->data, t->cap, cap);
        if (!grown) return agt__nomem(err);
        t->data = grown;
        t->cap = cap;
    }
    if (t->serial == git->forest.serial && /* (3) */
        (!tree_edits_add(&git->mem, &t->since_last, at, old_n, new_n) ||
         !tree_edits_add(&git->mem, &t->since_head, at, old_n, new_n)))
        return agt__nomem(err);
    memmove(t->data + at + new_n, t->data + at + old_n, t->len - at - old_n);
    if (new_n) memcpy(t->data + at, bytes, new_n);
    t->len = len;
    return tree_touch(git, t, err);
}

static agt_status tree_entry_remove(agt_git *git, agt_git_tree *t, size_t i, agt_error *err) {
    size_t at = t->at[i], n = tree_entry_end(t, i) - at;
    agt_status status = tree_splice(git, t, at, n, NULL, 0, err);
    if (status != AGT_OK) return status;
    t->count--;
    memmove(t->at + i, t->at + i + 1, (t->count - i) * sizeof *t->at);
    for (; i < t->count; i++)
        t->at[i] -= (uint32_t)n;
    return AGT_OK;
}

static agt_status tree_entry_insert(agt_git *git, agt_git_tree *t, size_t i, agt_text name,
                                    bool folder, const agt_oid *id, agt_error *err) {
    unsigned char entry[8 + AGT_MAX_PATH + 1 + TREE_ID];
    size_t at = i < t->count ? t->at[i] : t->len, n = folder ? 6 : 7;
    if (!tree_room(&git->mem, &t->at, sizeof *t->at, t->count, &t->at_cap)) return agt__nomem(err);
    memcpy(entry, folder ? TREE_FOLDER : TREE_FILE, n);
    memcpy(entry + n, name.data, name.len);
    n += name.len;
    entry[n++] = 0;
    memcpy(entry + n, id->id, TREE_ID);
    n += TREE_ID;
    agt_status status = tree_splice(git, t, at, 0, entry, n, err);
    if (status != AGT_OK) return status;
    memmove(t->at + i + 1, t->at + i, (t->count - i) * sizeof *t->at);
    t->at[i] = (uint32_t)at;
    t->count++;
    for (i++; i < t->count; i++)
        t->at[i] += (uint32_t)n;
    return AGT_OK;
}

/* Gives entry `i` another id, and the plain mode where it is a file. */
static agt_status tree_entry_set(agt_git *git, agt_git_tree *t, size_t i, const agt_oid *id,
                                 agt_error *err) {
    size_t at = t->at[i], end = tree_entry_end(t, i);
    if (!tree_entry_is_folder(t, i) && memcmp(t->data + at, TREE_FILE, 7) != 0) {
        agt_status status = tree_splice(git, t, at, 7, TREE_FILE, 7, err);
        if (status != AGT_OK) return status;
    }
    if (memcmp(t->data + end - TREE_ID, id->id, TREE_ID) == 0) return AGT_OK;
    return tree_splice(git, t, end - TREE_ID, TREE_ID, id->id, TREE_ID, err);
}

/* ---- kids ---- */

static size_t tree_kid_find(const agt_git_tree *t, agt_text name, bool *found) {
    size_t lo = 0, hi = t->kid_count;
    *found = false;
    while (lo < hi && !*found) {
        size_t mid = lo + (hi - lo) / 2;
        const agt_git_tree *kid = t->kids[mid];
        int order = tree_compare(name, false, (agt_text){kid->name, kid->name_len}, false);
        *found = order == 0;
        if (order <= 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return *found ? hi : lo;
}

/* Forgets a kid and all beneath it, among the dirty ones too. */
static void tree_kid_drop(agt_git *git, agt_git_tree *t, size_t i) {
    agt_git_forest *f = &git->forest;
    agt_git_tree *kid = t->kids[i];
    size_t kept = 0;
    for (size_t d = 0; d < f->dirty_count; d++) {
        const agt_git_tree *up = f->dirty[d];
        while (up && up != kid)
            up = up->parent;
        if (!up) f->dirty[kept++] = f->dirty[d];
    }
    f->dirty_count = kept;
    t->kid_count--;
    memmove(t->kids + i, t->kids + i + 1, (t->kid_count - i) * sizeof(agt_git_tree *));
    tree_free(&git->mem, kid);
}

/* The node of the sub-folder `name`; *out is NULL if there is none and it shall not be made. A
 * file of that name makes way. */
static agt_status tree_kid(agt_git *git, agt_git_tree *t, agt_text name, bool make,
                           agt_git_tree **out, agt_error *err) {
    bool found, known, is_file;
    size_t k = tree_kid_find(t, name, &known);
    *out = known ? t->kids[k] : NULL;
    if (known) return tree_load(git, *out, err);
    size_t i = tree_find(t, name, true, &found);
    if (!found && !make) return AGT_OK;
    if (!found) {
        size_t file = tree_find(t, name, false, &is_file);
        agt_status status = is_file ? tree_entry_remove(git, t, file, err) : AGT_OK;
        if (status != AGT_OK) return status;
    }
    if (!tree_room(&git->mem, &t->kids, sizeof(agt_git_tree *), t->kid_count, &t->kid_cap))
        return agt__nomem(err);
    agt_oid id = tree_no_id;
    if (found) memcpy(id.id, t->data + tree_entry_end(t, i) - TREE_ID, TREE_ID);
    *out = tree_new(&git->mem, t, name.data, name.len, found ? &id : NULL);
    if (!*out) return agt__nomem(err);
    memmove(t->kids + k + 1, t->kids + k, (t->kid_count - k) * sizeof(agt_git_tree *));
    t->kids[k] = *out;
    t->kid_count++;
    return tree_load(git, *out, err);
}

/* Walks to the folder of a path; *leaf is the file's name in it. *out as in tree_kid. */
static agt_status tree_walk(agt_git *git, const char *path, size_t len, bool make,
                            agt_git_tree **out, agt_text *leaf, agt_error *err) {
    size_t start = 0, depth = 0;
    *out = git->forest.root;
    if (len > AGT_MAX_PATH) return agt__fail(err, AGT_LIMIT, "the path is too long");
    agt_status status = tree_load(git, *out, err);
    for (size_t i = 0; i <= len && status == AGT_OK && *out; i++) {
        if (i < len && path[i] != '/') {
            if (path[i]) continue;
            return agt__fail_at(err, AGT_INVALID, (int64_t)i, "the path has a NUL in it");
        }
        *leaf = (agt_text){path + start, i - start};
        start = i + 1;
        if (!leaf->len || agt__text_is(*leaf, ".") || agt__text_is(*leaf, ".."))
            return agt__fail_at(err, AGT_INVALID, (int64_t)i, "the path is not normalised");
        if (i == len) break;
        if (++depth > AGT_MAX_DEPTH) return agt__fail(err, AGT_LIMIT, "the path is too deep");
        status = tree_kid(git, *out, *leaf, make, out, err);
    }
    return status;
}

AGT_PRIVATE agt_status agt__git_forest_put(agt_git *git, const char *path, size_t len,
                                           const agt_oid *id, agt_oid *was, bool *had,
                                           agt_error *err) {
    agt_git_tree *t;
    agt_text name = {NULL, 0};
    bool folder;
    *had = false;
    agt_status status = tree_walk(git, path, len, true, &t, &name, err);
    if (status != AGT_OK) return status;
    size_t i = tree_find(t, name, false, had);
    if (*had) {
        memcpy(was->id, t->data + tree_entry_end(t, i) - TREE_ID, TREE_ID);
        return tree_entry_set(git, t, i, id, err);
    }
    size_t k = tree_kid_find(t, name, &folder); /* (4) */
    if (folder) tree_kid_drop(git, t, k);
    i = tree_find(t, name, true, &folder);
    if (folder) status = tree_entry_remove(git, t, i, err);
    if (status != AGT_OK) return status;
    i = tree_find(t, name, false, &folder);
    return tree_entry_insert(git, t, i, name, false, id, err);
}

AGT_PRIVATE agt_status agt__git_forest_remove(agt_git *git, const char *path, size_t len,
                                              agt_error *err) {
    agt_git_tree *t;
    agt_text name = {NULL, 0};
    bool found;
    agt_status status = tree_walk(git, path, len, false, &t, &name, err);
    if (status != AGT_OK || !t) return status;
    size_t i = tree_find(t, name, false, &found);
    return found ? tree_entry_remove(git, t, i, err) : AGT_OK;
}

/* ---- sealing ---- */

/* Tries to write the node's bytes as a delta on object `base`. */
static bool tree_as_delta(agt_git *git, const agt_git_tree *t, uint32_t base, const tree_edits *e,
                          agt_git_object *o) {
    if (base == AGT_GIT_NONE || git->txn.objects[base].chain + 1 >= AGT_GIT_CHAIN) return false;
    agt__git_reuse(&git->scratch);
    tree_edits_delta(t, e, git->txn.objects[base].size, &git->scratch);
    if (git->scratch.failed || git->scratch.len >= t->len) return false;
    o->is_delta = true;
    o->base = base;
    o->chain = (uint8_t)(git->txn.objects[base].chain + 1);
    o->data = git->scratch.data;
    o->len = git->scratch.len;
    return true;
}

/* Adds the node's bytes to the transaction as object t->id. */
static agt_status tree_emit(agt_git *git, agt_git_tree *t, agt_error *err) {
    bool fresh = t->serial != git->forest.serial;
    uint32_t object = agt__git_txn_find(git, &t->id);
    agt_git_object o = {.id = t->id, .kind = AGT_GIT_TREE, .size = t->len, .base = AGT_GIT_NONE};
    bool new_head = fresh;
    if (object == AGT_GIT_NONE) {
        if (fresh || !tree_as_delta(git, t, t->last, &t->since_last, &o)) {
            new_head = true;
            if (fresh || !tree_as_delta(git, t, t->head, &t->since_head, &o)) {
                o.data = t->data;
                o.len = t->len;
            }
        }
        agt_status status = agt__git_txn_add(git, &o, &object, err);
        if (status != AGT_OK) return status;
    }
    t->serial = git->forest.serial;
    t->last = object;
    t->since_last.count = 0;
    if (new_head) t->head = object;
    if (new_head) t->since_head.count = 0;
    return AGT_OK;
}

/* Hashes one folder whose kids are sealed, and tells its parent. */
static agt_status tree_seal(agt_git *git, agt_git_tree *t, agt_error *err) {
    bool found = false;
    agt_oid id = tree_no_id;
    agt_git_tree *up = t->parent;
    agt_text name = {t->name, t->name_len};
    if (t->count || !up) agt__git_id(git->cpu, "tree", t->data, t->len, id.id);
    if (memcmp(&id, &t->id, sizeof id) == 0) return AGT_OK;
    t->id = id;
    size_t i = up ? tree_find(up, name, true, &found) : 0;
    if (up && !t->count) return found ? tree_entry_remove(git, up, i, err) : AGT_OK; /* (2) */
    agt_status status = tree_emit(git, t, err);
    if (status != AGT_OK || !up) return status;
    return found ? tree_entry_set(git, up, i, &id, err)
                 : tree_entry_insert(git, up, i, name, true, &id, err);
}

AGT_PRIVATE agt_status agt__git_forest_seal(agt_git *git, agt_oid *out, agt_error *err) {
    agt_git_forest *f = &git->forest;
    uint32_t depth = 0;
    for (size_t i = 0; i < f->dirty_count; i++)
        if (f->dirty[i]->depth > depth) depth = f->dirty[i]->depth;
    for (;; depth--) {
        for (size_t i = 0; i < f->dirty_count; i++) {
            if (f->dirty[i]->depth != depth) continue;
            agt_status status = tree_seal(git, f->dirty[i], err);
            if (status != AGT_OK) return status;
        }
        if (!depth) break;
    }
    for (size_t i = 0; i < f->dirty_count; i++)
        f->dirty[i]->dirty = false;
    f->dirty_count = 0;
    *out = f->root->id;
    return AGT_OK;
}
/* end src/git/tree.c */
/* begin src/git/packfile.c */
/* packfile: a pack and its index, from the first byte to their names.
 *
 *     pack    "PACK" version count, entries, SHA-1; an entry is kind and size (4 bits, then 7 a
 *             byte), for a delta the distance back to its base, and a zlib stream
 *     index   ids sorted, with crc32 and offset, so that a reader need not read the pack
 *
 * (1) Both are written under names that only we give, and synced; then the pack gets its name, and
 *     its index after it; then the folder is synced. A named pack is whole.
 * (2) A name that is taken is never written over: a run that failed or died left it, and after a
 *     sync that failed no later one tells whether the disk has it. */

#define PACKFILE_LARGE ((uint64_t)1 << 31)
#define PACKFILE_TRIES 64

/* ---- entries ---- */

static void packfile_be32(unsigned char *p, uint32_t v) {
    p[0] = (unsigned char)(v >> 24);
    p[1] = (unsigned char)(v >> 16);
    p[2] = (unsigned char)(v >> 8);
    p[3] = (unsigned char)v;
}

/* An entry's kind and size. */
static size_t packfile_entry_head(int kind, size_t size, unsigned char out[16]) {
    size_t n = 0;
    unsigned char c = (unsigned char)(kind << 4 | (int)(size & 15));
    for (size >>= 4; size; size >>= 7) {
        out[n++] = (unsigned char)(c | 128);
        c = (unsigned char)(size & 127);
    }
    out[n++] = c;
    return n;
}

/* The distance to a delta's base: 7 bits a byte, high first, one less in each but the last. */
static size_t packfile_entry_distance(uint64_t distance, unsigned char out[16]) {
    unsigned char b[16];
    size_t at = sizeof b;
    b[--at] = distance & 127;
    while (distance >>= 7)
        b[--at] = (unsigned char)(128 | (--distance & 127));
    memcpy(out, b + at, sizeof b - at);
    return sizeof b - at;
}

AGT_PRIVATE void agt__git_put_entry(agt_git_file *f, agt_git_object *o, const agt_git_object *base,
                                    const void *data, size_t len, bool stored, agt_error *err) {
    unsigned char head[32];
    o->offset = f->at;
    f->crc = 0;
    size_t n = packfile_entry_head(base ? AGT_GIT_OFS_DELTA : o->kind, len, head);
    if (base) n += packfile_entry_distance(o->offset - base->offset, head + n);
    agt__git_file_put(f, head, n, err);
    agt__git_file_zip(f, NULL, 0, data, len, stored, err);
    o->crc = f->crc;
}

/* Ends a file with the SHA-1 of all before it. */
static void packfile_put_sum(agt_git_file *f, unsigned char sum[20], agt_error *err) {
    agt__git_file_flush(f, err);
    f->hashed = false;
    agt__sha1_final(&f->sha, f->git->cpu, sum);
    agt__git_file_put(f, sum, 20, err);
}

/* Writes the pack under its temporary name, synced. */
static agt_status packfile_write_pack(agt_git *git, const agt_git_pack_job *job, agt_git_file *f,
                                      agt_fd folder, const char *tmp, unsigned char sum[20],
                                      agt_error *err) {
    unsigned char head[12] = {'P', 'A', 'C', 'K', 0, 0, 0, 2};
    agt_status status = agt__git_file_open(f, git, folder, tmp, 0444, true, err);
    if (status != AGT_OK) return status;
    packfile_be32(head + 8, job->count);
    agt__git_file_put(f, head, sizeof head, err);
    status = job->fill(job->ctx, f, err);
    if (status != AGT_OK) {
        agt__git_file_drop(f);
        return status;
    }
    packfile_put_sum(f, sum, err);
    return agt__git_file_end(f, true, err);
}

/* ---- the index of a pack ---- */

static bool packfile_before(const agt_git_object *objects, uint32_t a, uint32_t b) {
    return memcmp(&objects[a].id, &objects[b].id, sizeof(agt_oid)) < 0;
}

AGT_PRIVATE void agt__git_sort(const agt_git_object *objects, uint32_t *v, size_t n,
                               bool (*before)(const agt_git_object *, uint32_t, uint32_t)) {
    for (size_t start = n / 2, end = n; end > 1;) {
        uint32_t one;
        if (start) {
            one = v[--start];
        } else {
            one = v[--end];
            v[end] = v[0];
        }
        size_t hole = start, kid;
        while ((kid = 2 * hole + 1) < end) {
            if (kid + 1 < end && before(objects, v[kid], v[kid + 1])) kid++;
            if (!before(objects, one, v[kid])) break;
            v[hole] = v[kid];
            hole = kid;
        }
        v[hole] = one;
    }
}

static void packfile_put_fan(agt_git_file *f, const agt_git_object *objects, const uint32_t *order,
                             uint32_t n, agt_error *err) {
    static const unsigned char magic[8] = {0xff, 't', 'O', 'c', 0, 0, 0, 2};
    unsigned char fan[1024];
    agt__git_file_put(f, magic, sizeof magic, err);
    for (uint32_t byte = 0, i = 0; byte < 256; byte++) {
        while (i < n && objects[order[i]].id.id[0] <= byte)
            i++;
        packfile_be32(fan + 4 * (size_t)byte, i);
    }
    agt__git_file_put(f, fan, sizeof fan, err);
}

AGT_PRIVATE void agt__git_put_index(agt_git_file *f, const agt_git_object *objects, uint32_t *order,
                                    uint32_t n, const unsigned char sum[20], agt_error *err) {
    unsigned char word[8], own[20];
    uint32_t large = 0;
    agt__git_sort(objects, order, n, packfile_before);
    packfile_put_fan(f, objects, order, n, err);
    for (uint32_t i = 0; i < n; i++)
        agt__git_file_put(f, objects[order[i]].id.id, 20, err);
    for (uint32_t i = 0; i < n; i++) {
        packfile_be32(word, objects[order[i]].crc);
        agt__git_file_put(f, word, 4, err);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t offset = objects[order[i]].offset;
        packfile_be32(word, offset < PACKFILE_LARGE ? (uint32_t)offset : 0x80000000u | large++);
        agt__git_file_put(f, word, 4, err);
    }
    for (uint32_t i = 0; i < n && large; i++) {
        uint64_t offset = objects[order[i]].offset;
        if (offset < PACKFILE_LARGE) continue;
        packfile_be32(word, (uint32_t)(offset >> 32));
        packfile_be32(word + 4, (uint32_t)offset);
        agt__git_file_put(f, word, 8, err);
    }
    agt__git_file_put(f, sum, 20, err);
    packfile_put_sum(f, own, err);
}

static agt_status packfile_write_index(agt_git *git, const agt_git_pack_job *job, agt_git_file *f,
                                       agt_fd folder, const char *tmp, const unsigned char sum[20],
                                       agt_error *err) {
    agt__git_reuse(&git->scratch);
    if (!agt__buf_reserve(&git->scratch, job->count * sizeof(uint32_t))) return agt__nomem(err);
    uint32_t *order = (uint32_t *)(void *)git->scratch.data;
    for (uint32_t i = 0; i < job->count; i++)
        order[i] = i;
    agt_status status = agt__git_file_open(f, git, folder, tmp, 0444, true, err);
    if (status != AGT_OK) return status;
    agt__git_put_index(f, job->objects, order, job->count, sum, err);
    return agt__git_file_end(f, true, err);
}

/* ---- names ---- */

/* The next one in the chain of a pack's names. */
static void packfile_next(agt_git *git, unsigned char sum[20]) {
    agt_sha1_state sha;
    agt__sha1_init(&sha);
    agt__sha1_update(&sha, git->cpu, sum, 20);
    agt__sha1_final(&sha, git->cpu, sum);
}

static bool packfile_is_taken(agt_git *git, agt_fd folder, char *name, char *ext) {
    agt_stat st;
    memcpy(ext, ".pack", 6);
    return git->sys->stat(git->sys->ctx, folder, name, &st) == 0;
}

/* The name of a pack, of its checksum; where that is taken, of the checksum of that, and so on: a
 * run that failed or died left it, and after a sync that failed no later one tells whether the disk
 * has it. */
static void packfile_name(agt_git *git, agt_fd folder, const unsigned char sum[20], char *name) {
    unsigned char next[20];
    memcpy(next, sum, sizeof next);
    memcpy(name, "pack-", 5);
    agt__hex(next, sizeof next, name + 5);
    for (int i = 0;
         i < PACKFILE_TRIES && packfile_is_taken(git, folder, name, name + 5 + AGT_GIT_HEX); i++) {
        packfile_next(git, next);
        agt__hex(next, sizeof next, name + 5);
    }
}

/* What such runs left goes, once the same is there under `name`. */
static void packfile_drop_twins(agt_git *git, agt_fd folder, const unsigned char sum[20],
                                const char *name) {
    unsigned char next[20];
    char twin[5 + AGT_GIT_HEX + 6] = "pack-", *ext = twin + 5 + AGT_GIT_HEX;
    memcpy(next, sum, sizeof next);
    for (int i = 0; i < PACKFILE_TRIES; i++) {
        agt__hex(next, sizeof next, twin + 5);
        if (memcmp(twin + 5, name + 5, AGT_GIT_HEX) == 0) return;
        memcpy(ext, ".idx", 5);
        (void)git->sys->remove(git->sys->ctx, folder, twin);
        memcpy(ext, ".pack", 6);
        (void)git->sys->remove(git->sys->ctx, folder, twin);
        packfile_next(git, next);
    }
}

typedef struct packfile_litter {
    char name[64];
} packfile_litter;

static int packfile_find_litter(void *ctx, const char *name) {
    packfile_litter *l = ctx;
    size_t n = strlen(name);
    bool ours = n < sizeof l->name && n > 12 && memcmp(name + n - 4, "_agt", 4) == 0 &&
                (memcmp(name, "tmp_pack_", 9) == 0 || memcmp(name, "tmp_idx_", 8) == 0);
    if (ours) memcpy(l->name, name, n + 1);
    return ours;
}

/* Publishers exclude one another: what lies there was left by one that died. */
static void packfile_drop_litter(agt_git *git, agt_fd folder) {
    packfile_litter l;
    for (int i = 0; i < PACKFILE_TRIES; i++) {
        if (git->sys->list(git->sys->ctx, folder, packfile_find_litter, &l) != 1) return;
        if (git->sys->remove(git->sys->ctx, folder, l.name) < 0) return;
    }
}

/* Temporaries have names that were never there, for the reason that packs have. */
static agt_status packfile_temporary(agt_git *git, char pack[32], char idx[32], agt_error *err) {
    unsigned char word[4];
    int rc = git->sys->random(git->sys->ctx, word, sizeof word);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    memcpy(pack, "tmp_pack_", 9);
    agt__hex(word, sizeof word, pack + 9);
    memcpy(pack + 17, "_agt", 5);
    memcpy(idx, "tmp_idx_", 8);
    agt__hex(word, sizeof word, idx + 8);
    memcpy(idx + 16, "_agt", 5);
    return AGT_OK;
}

/* Both files get their names; what does not get one is deleted. */
static agt_status packfile_name_both(agt_git_file *pack, agt_git_file *idx, agt_fd folder,
                                     const char *stem, agt_error *err) {
    char name[AGT_GIT_STEM + 5];
    size_t n = strlen(stem);
    memcpy(name, stem, n);
    memcpy(name + n, ".pack", 6);
    agt_status status = agt__git_file_name(pack, folder, name, err);
    if (status != AGT_OK) {
        (void)idx->git->sys->remove(idx->git->sys->ctx, folder, idx->name);
        return status;
    }
    memcpy(name + n, ".idx", 5);
    return agt__git_file_name(idx, folder, name, err);
}

/* (1) */
static agt_status packfile_write_both(agt_git *git, const agt_git_pack_job *job, agt_fd folder,
                                      char stem[AGT_GIT_STEM], agt_error *err) {
    agt_git_file f, g;
    unsigned char sum[20];
    char name[AGT_GIT_STEM + 5], pack[32], idx[32];
    packfile_drop_litter(git, folder);
    agt_status status = packfile_temporary(git, pack, idx, err);
    if (status == AGT_OK) status = packfile_write_pack(git, job, &f, folder, pack, sum, err);
    if (status != AGT_OK) return status;
    status = packfile_write_index(git, job, &g, folder, idx, sum, err);
    if (status != AGT_OK) {
        (void)git->sys->remove(git->sys->ctx, folder, pack);
        return status;
    }
    packfile_name(git, folder, sum, name);
    memcpy(stem, name, AGT_GIT_STEM - 1);
    stem[AGT_GIT_STEM - 1] = 0;
    status = packfile_name_both(&f, &g, folder, stem, err);
    if (status != AGT_OK) return status;
    int rc = git->sys->sync(git->sys->ctx, folder);
    if (rc < 0) return agt__fail_io(err, rc, "cannot sync objects/pack");
    packfile_drop_twins(git, folder, sum, stem);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_pack_write(agt_git *git, const agt_git_pack_job *job,
                                           char stem[AGT_GIT_STEM], agt_error *err) {
    agt_fd objects, folder;
    agt_status status = agt__git_objects(git, true, &objects, err);
    if (status != AGT_OK) return status;
    status = agt__open_folder(git->sys, objects, "pack", true, &folder, err);
    if (status != AGT_OK) return status;
    status = packfile_write_both(git, job, folder, stem, err);
    git->sys->close(git->sys->ctx, folder);
    if (status != AGT_OK) return status;
    /* the folders on the way may be new, too */
    int rc = git->sys->sync(git->sys->ctx, objects);
    if (rc == 0) rc = git->sys->sync(git->sys->ctx, git->dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the git folder") : AGT_OK;
}
/* end src/git/packfile.c */
/* begin src/git/pack.c */
/* pack: a transaction, from begin to the files it leaves.
 *
 * The objects of a transaction stay in memory, whole or as deltas on earlier ones, until it is
 * written all at once in one of two ways:
 *
 *     loose   objects/ab/cdef..., a temporary and a rename each, nothing synced
 *     pack    objects/pack/pack-<SHA-1>.pack and .idx: commits, then trees, then blobs, each in
 *             the order they were made, so that a delta's base always comes first
 *
 * begin ─► put, remove ─► commit ─► ... ─► write (or abort). The trees stay in memory behind it:
 * the next transaction on top of the last commit reads nothing.
 *
 * (1) A failure at any point ends the transaction and forgets the trees; the handle goes on.
 * (2) Every object the transaction made is written, in both ways: whether a file of that name is
 *     there already says nothing, for it may be empty. No object is twice in a pack.
 * (3) A pack is durable before write returns (packfile.c).
 * (4) What no commit has sealed is not written.
 * (5) Ids depend on the calls alone, never on how objects are stored or grouped. */

#define PACK_TMP_LOOSE   "tmp_obj_agt"
#define PACK_CHUNK       (64u * 1024)
#define PACK_BLOCK       4000u          /* a loose file that fits one block of the disk anyway */
#define PACK_STORE_LOOSE (64u * 1024)   /* trees longer than that are stored, not compressed: */
#define PACK_STORE       (1024u * 1024) /* a loose one goes soon, a packed one stays */
#define PACK_DELTA       (1024u * 1024) /* longer blobs are not compared */
#define PACK_MAX_TIME    253402300799LL

/* ---- the transaction's objects ---- */

static uint32_t pack_slot(const agt_git_txn *t, const agt_oid *id) {
    uint32_t at = agt__get32(id->id) & (t->slot_count - 1);
    while (t->slots[at] && memcmp(&t->objects[t->slots[at] - 1].id, id, sizeof *id) != 0)
        at = (at + 1) & (t->slot_count - 1);
    return at;
}

AGT_PRIVATE uint32_t agt__git_txn_find(const agt_git *git, const agt_oid *id) {
    const agt_git_txn *t = &git->txn;
    if (!t->slot_count) return AGT_GIT_NONE;
    uint32_t found = t->slots[pack_slot(t, id)];
    return found ? found - 1 : AGT_GIT_NONE;
}

/* Doubles the table of ids and the objects behind it. */
static bool pack_txn_grow(agt_git *git) {
    agt_git_txn *t = &git->txn;
    uint32_t cap = t->cap ? t->cap * 2 : 64, slot_count = cap * 2;
    size_t slots_size, objects_size;
    if (cap > UINT32_MAX / 8 || !agt__mul_size(slot_count, sizeof *t->slots, &slots_size) ||
        !agt__mul_size(cap, sizeof *t->objects, &objects_size))
        return false;
    uint32_t *slots = agt__zalloc(&git->mem, slots_size);
    if (!slots) return false;
    agt_git_object *objects =
        agt__realloc(&git->mem, t->objects, t->cap * sizeof *objects, objects_size);
    if (!objects) {
        agt__free(&git->mem, slots, slots_size);
        return false;
    }
    agt__free(&git->mem, t->slots, t->slot_count * sizeof *slots);
    t->objects = objects;
    t->cap = cap;
    t->slots = slots;
    t->slot_count = slot_count;
    for (uint32_t i = 0; i < t->count; i++)
        slots[pack_slot(t, &objects[i].id)] = i + 1;
    return true;
}

/* n bytes that live as long as the transaction. */
static unsigned char *pack_txn_room(agt_git *git, size_t n) {
    agt_git_chunk *c = git->txn.chunks;
    if (!c || c->cap - c->len < n) {
        size_t cap = n < PACK_CHUNK / 2 ? PACK_CHUNK : n, size;
        if (!agt__add_size(cap, sizeof *c, &size)) return NULL;
        agt_git_chunk *more = agt__alloc(&git->mem, size);
        if (!more) return NULL;
        *more = (agt_git_chunk){.next = c, .cap = cap};
        if (c && cap != PACK_CHUNK) { /* a chunk of its own goes behind the one being filled */
            more->next = c->next;
            c->next = more;
        } else {
            git->txn.chunks = more;
        }
        c = more;
    }
    unsigned char *p = (unsigned char *)(c + 1) + c->len;
    c->len += n;
    return p;
}

AGT_PRIVATE agt_status agt__git_txn_add(agt_git *git, const agt_git_object *object, uint32_t *out,
                                        agt_error *err) {
    agt_git_txn *t = &git->txn;
    if (t->count == t->cap && !pack_txn_grow(git)) return agt__nomem(err);
    unsigned char *data = pack_txn_room(git, object->len ? object->len : 1);
    if (!data) return agt__nomem(err);
    if (object->len) memcpy(data, object->data, object->len);
    t->slots[pack_slot(t, &object->id)] = t->count + 1;
    t->objects[t->count] = *object;
    t->objects[t->count].data = data;
    *out = t->count++;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_txn_bytes(agt_git *git, uint32_t object, agt_buf *out,
                                          agt_error *err) {
    uint32_t chain[AGT_GIT_CHAIN];
    const agt_git_object *objects = git->txn.objects;
    size_t n = 0;
    for (; objects[object].is_delta; object = objects[object].base)
        chain[n++] = object;
    const unsigned char *base = objects[object].data;
    size_t base_len = objects[object].len;
    if (!n) {
        if (!agt__buf_reserve(out, base_len)) return agt__nomem(err);
        agt__buf_put(out, base, base_len);
        return AGT_OK;
    }
    for (size_t turn = 0; n; turn ^= 1) {
        const agt_git_object *o = &objects[chain[--n]];
        agt_buf *to = n ? &git->work[turn] : out;
        if (n) agt__git_reuse(to);
        agt_status status = agt__git_delta_apply(base, base_len, o->data, o->len, to, err);
        if (status != AGT_OK) return status;
        base = to->data;
        base_len = o->size;
    }
    return AGT_OK;
}

static void pack_txn_end(agt_git *git) {
    agt_git_txn *t = &git->txn;
    for (agt_git_chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        agt__free(&git->mem, c, sizeof *c + c->cap);
    }
    agt__free(&git->mem, t->objects, t->cap * sizeof *t->objects);
    agt__free(&git->mem, t->slots, t->slot_count * sizeof *t->slots);
    memset(t, 0, sizeof *t);
    agt__git_reuse(&git->scratch);
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        agt__git_reuse(&git->work[i]);
}

AGT_PRIVATE void agt__git_abort(agt_git *git) {
    pack_txn_end(git);
    agt__git_forest_free(git);
    git->has_tip = false;
}

/* Ends the transaction where status is a failure (1). */
static agt_status pack_done(agt_git *git, agt_status status) {
    if (status != AGT_OK) agt__git_abort(git);
    return status;
}

/* ---- begin ---- */

/* The time in a commit's line "committer name <email> time zone", from its '>' on. */
static int64_t pack_line_time(const char *line, const char *end) {
    int64_t time = 0;
    const char *at = end;
    while (at > line && at[-1] != '>')
        at--;
    if (at < end && *at == ' ') at++;
    for (; at < end && *at >= '0' && *at <= '9' && time <= PACK_MAX_TIME; at++)
        time = time * 10 + (*at - '0');
    return time <= PACK_MAX_TIME ? time : 0;
}

/* A commit's committer time; 0 where it is not readable. */
static int64_t pack_committer_time(const char *p, const char *end) {
    while (p < end && *p != '\n') { /* the headers end at an empty line */
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) return 0;
        if (line_end - p > 10 && memcmp(p, "committer ", 10) == 0)
            return pack_line_time(p, line_end);
        p = line_end + 1;
    }
    return 0;
}

/* Reads the parent commit and makes ready to patch its tree. */
static agt_status pack_parent(agt_git *git, const agt_oid *parent, agt_error *err) {
    int kind = 0;
    agt_oid tree;
    agt_buf b = agt__buf(&git->mem);
    agt_status status = agt__git_load(git, parent, &kind, &b, err);
    bool good = status == AGT_OK && kind == AGT_GIT_COMMIT && b.len > 46 &&
                memcmp(b.data, "tree ", 5) == 0 && b.data[45] == '\n' &&
                agt__unhex((const char *)b.data + 5, AGT_GIT_HEX, tree.id, sizeof tree.id);
    if (status == AGT_OK && !good)
        status = agt__fail(err, AGT_CORRUPT, "the parent is no commit of git's");
    if (good) {
        const char *text = (const char *)b.data;
        git->tip_time = pack_committer_time(text, text + b.len);
        status = agt__git_forest_plant(git, &tree, err);
    }
    agt__buf_free(&b);
    return status;
}

AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err) {
    agt_status status = AGT_OK;
    AGENT_TRACE_ASSERT(!git->txn.open);
    pack_txn_end(git);
    if (!parent) {
        git->has_tip = false;
        git->tip_time = 0;
        status = agt__git_forest_plant(git, NULL, err);
    } else if (!git->has_tip || memcmp(&git->tip, parent, sizeof *parent) != 0) {
        git->has_tip = false;
        status = pack_parent(git, parent, err);
    }
    if (status != AGT_OK) return pack_done(git, status);
    if (parent) git->tip = *parent;
    git->has_tip = parent != NULL;
    git->forest.serial++;
    git->txn.open = true;
    git->txn.last_commit = AGT_GIT_NONE;
    return AGT_OK;
}

static agt_status pack_open_txn(agt_git *git, agt_error *err) {
    if (git->txn.open) return AGT_OK;
    return agt__fail(err, AGT_INVALID, "no transaction is open: an earlier failure ended it");
}

/* ---- put, remove, commit ---- */

/* Adds the blob unless the transaction has it; `was` is what stood at its path before. */
static agt_status pack_add_blob(agt_git *git, const agt_oid *id, const void *bytes, size_t len,
                                const agt_oid *was, agt_error *err) {
    agt_git_object o = {.id = *id, .kind = AGT_GIT_BLOB, .size = len, .len = len, .data = bytes};
    uint32_t object;
    if (agt__git_txn_find(git, id) != AGT_GIT_NONE) return AGT_OK; /* (2) */
    o.base = was ? agt__git_txn_find(git, was) : AGT_GIT_NONE;
    if (o.base != AGT_GIT_NONE && git->txn.objects[o.base].kind != AGT_GIT_BLOB)
        o.base = AGT_GIT_NONE;
    return agt__git_txn_add(git, &o, &object, err);
}

/* An empty document's bytes may be NULL. */
static bool pack_is_empty_blob(const agt_git *git, const agt_oid *id) {
    agt_oid empty;
    agt__git_id(git->cpu, "blob", NULL, 0, empty.id);
    return memcmp(id, &empty, sizeof empty) == 0;
}

AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err) {
    agt_oid was;
    bool had = false;
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    if (len > AGT_GIT_MAX_RAW)
        return pack_done(git, agt__fail(err, AGT_LIMIT, "the document is too long"));
    status = agt__git_forest_put(git, path, path_len, known, &was, &had, err);
    if (status == AGT_OK && (bytes || pack_is_empty_blob(git, known)))
        status = pack_add_blob(git, known, bytes, bytes ? len : 0, had ? &was : NULL, err);
    return pack_done(git, status);
}

AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err) {
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    return pack_done(git, agt__git_forest_remove(git, path, path_len, err));
}

/* Would git take this as a name or an address? */
static bool pack_name_valid(agt_text t, bool may_be_empty) {
    for (size_t i = 0; i < t.len; i++)
        if (!t.data[i] || t.data[i] == '\n' || t.data[i] == '<' || t.data[i] == '>') return false;
    return t.len || may_be_empty;
}

static void pack_put_hex(agt_buf *b, const char *label, const agt_oid *id) {
    char hex[AGT_GIT_HEX + 1];
    agt__hex(id->id, sizeof id->id, hex);
    hex[AGT_GIT_HEX] = '\n';
    agt__buf_text(b, label);
    agt__buf_put(b, hex, sizeof hex);
}

static void pack_put_person(agt_buf *b, const char *label, const agt_git_signature *s,
                            int64_t unix_s) {
    agt__buf_text(b, label);
    agt__buf_put(b, s->name.data, s->name.len);
    agt__buf_text(b, " <");
    if (s->email.len) agt__buf_put(b, s->email.data, s->email.len);
    agt__buf_text(b, "> ");
    agt__buf_u64(b, (uint64_t)unix_s);
    agt__buf_text(b, " +0000\n");
}

/* Adds the commit of `tree`; git->tip_time is its committer's time already. */
static agt_status pack_add_commit(agt_git *git, const agt_git_signature *author,
                                  const agt_oid *tree, agt_text message, agt_error *err) {
    agt_buf *b = &git->scratch;
    agt_git_txn *t = &git->txn;
    uint32_t object;
    agt__git_reuse(b);
    pack_put_hex(b, "tree ", tree);
    if (git->has_tip) pack_put_hex(b, "parent ", &git->tip);
    pack_put_person(b, "author ", author, author->unix_s);
    pack_put_person(b, "committer ", author, git->tip_time);
    agt__buf_byte(b, '\n');
    if (message.len) agt__buf_put(b, message.data, message.len);
    if (b->failed) return agt__nomem(err);
    agt_git_object o = {.kind = AGT_GIT_COMMIT, .size = b->len, .len = b->len, .data = b->data};
    agt__git_id(git->cpu, "commit", b->data, b->len, o.id.id);
    o.base = t->last_commit;
    object = agt__git_txn_find(git, &o.id);
    if (object == AGT_GIT_NONE) {
        agt_status status = agt__git_txn_add(git, &o, &object, err);
        if (status != AGT_OK) return status;
    }
    t->last_commit = object;
    t->kept = t->count;
    git->tip = o.id;
    git->has_tip = true;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err) {
    agt_oid tree;
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    if (!pack_name_valid(author->name, false) || !pack_name_valid(author->email, true) ||
        (message.len && memchr(message.data, 0, message.len)))
        status = agt__fail(err, AGT_INVALID, "git cannot hold this author or message");
    else if (author->unix_s < 0 || author->unix_s > PACK_MAX_TIME || committed_unix_s < 0 ||
             committed_unix_s > PACK_MAX_TIME)
        status = agt__fail(err, AGT_INVALID, "git cannot hold this time");
    if (status == AGT_OK) status = agt__git_forest_seal(git, &tree, err);
    if (status == AGT_OK && committed_unix_s > git->tip_time) git->tip_time = committed_unix_s;
    if (status == AGT_OK) status = pack_add_commit(git, author, &tree, message, err);
    if (status == AGT_OK) *out = git->tip;
    return pack_done(git, status);
}

/* ---- writing loose objects ---- */

/* "<kind> <size>\0"; its length. */
static size_t pack_loose_head(const agt_git_object *o, char out[32]) {
    const char *kind = agt__git_kind(o->kind);
    char digits[20];
    size_t n = strlen(kind), d = 0;
    memcpy(out, kind, n);
    out[n++] = ' ';
    for (size_t v = o->size; v || !d; v /= 10)
        digits[d++] = (char)('0' + v % 10);
    while (d)
        out[n++] = digits[--d];
    out[n++] = 0;
    return n;
}

static agt_status pack_loose_one(agt_git *git, agt_fd objects, uint32_t object, agt_error *err) {
    const agt_git_object *o = &git->txn.objects[object];
    const unsigned char *data = o->data;
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0}, head[32];
    agt_git_file f;
    agt_fd to;
    size_t n = pack_loose_head(o, head);
    agt__hex(o->id.id, sizeof o->id.id, hex);
    memcpy(folder, hex, 2);
    agt_status status = AGT_OK;
    if (o->is_delta) {
        agt__git_reuse(&git->scratch);
        status = agt__git_txn_bytes(git, object, &git->scratch, err);
        data = git->scratch.data;
    }
    if (status == AGT_OK) status = agt__open_folder(git->sys, objects, folder, true, &to, err);
    if (status != AGT_OK) return status;
    status = agt__git_file_open(&f, git, objects, PACK_TMP_LOOSE, 0444, false, err);
    bool stored =
        o->size + n <= PACK_BLOCK || (o->kind == AGT_GIT_TREE && o->size > PACK_STORE_LOOSE);
    if (status == AGT_OK) agt__git_file_zip(&f, head, n, data, o->size, stored, err);
    if (status == AGT_OK) status = agt__git_file_end(&f, false, err);
    if (status == AGT_OK) status = agt__git_file_name(&f, to, hex + 2, err);
    git->sys->close(git->sys->ctx, to);
    return status;
}

static agt_status pack_write_loose(agt_git *git, agt_error *err) {
    agt_fd objects;
    agt_status status = agt__git_objects(git, true, &objects, err);
    for (uint32_t i = 0; i < git->txn.kept && status == AGT_OK; i++)
        status = pack_loose_one(git, objects, i, err);
    return status;
}

/* ---- writing a pack ---- */

/* Tries to make a delta of an object that only has a similar one (5: never changes an id). */
static void pack_try_delta(agt_git *git, agt_git_object *o) {
    const agt_git_object *base = o->base == AGT_GIT_NONE ? NULL : &git->txn.objects[o->base];
    o->chain = 0;
    if (!base || base->chain + 1 >= AGT_GIT_CHAIN) return;
    if (o->size > PACK_DELTA || base->size > PACK_DELTA) return;
    agt__git_reuse(&git->scratch);
    if (!agt__git_delta_make(base->data, base->size, o->data, o->size, o->size / 4 * 3,
                             &git->scratch))
        return;
    o->chain = (uint8_t)(base->chain + 1);
}

static void pack_put_entry(agt_git *git, agt_git_file *f, agt_git_object *o, agt_error *err) {
    const unsigned char *data = o->data;
    size_t len = o->len;
    bool delta = o->is_delta;
    if (!delta) {
        pack_try_delta(git, o);
        delta = o->chain > 0;
        if (delta) data = git->scratch.data;
        if (delta) len = git->scratch.len;
    }
    bool stored = o->kind == AGT_GIT_TREE && len > PACK_STORE;
    agt__git_put_entry(f, o, delta ? &git->txn.objects[o->base] : NULL, data, len, stored, err);
}

static agt_status pack_put_entries(void *ctx, agt_git_file *f, agt_error *err) {
    agt_git *git = ctx;
    agt_git_txn *t = &git->txn;
    for (int kind = AGT_GIT_COMMIT; kind <= AGT_GIT_BLOB; kind++) {
        for (uint32_t i = 0; i < t->kept && f->status == AGT_OK; i++)
            if (t->objects[i].kind == kind) pack_put_entry(git, f, &t->objects[i], err);
    }
    return f->status;
}

static agt_status pack_write_packed(agt_git *git, agt_error *err) {
    char stem[AGT_GIT_STEM];
    agt_git_pack_job job = {git->txn.objects, git->txn.kept, pack_put_entries, git};
    return agt__git_pack_write(git, &job, stem, err);
}

/* Removes the loose files of what a pack holds now, and no others: there may be a person's. */
static void pack_drop_loose(agt_git *git) {
    char hex[AGT_GIT_HEX + 1] = {0}, folder[3] = {0};
    agt_fd objects, fd;
    if (agt__git_objects(git, false, &objects, NULL) != AGT_OK) return;
    for (uint32_t i = 0; i < git->txn.kept; i++) {
        agt__hex(git->txn.objects[i].id.id, 20, hex);
        memcpy(folder, hex, 2);
        fd = git->sys->open(git->sys->ctx, objects, folder, AGT_O_READ | AGT_O_FOLDER, 0);
        if (fd < 0) continue;
        int rc = git->sys->remove(git->sys->ctx, fd, hex + 2);
        git->sys->close(git->sys->ctx, fd);
        if (rc == 0) (void)git->sys->remove_folder(git->sys->ctx, objects, folder); /* if empty */
    }
}

AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err) {
    agt_status status = pack_open_txn(git, err);
    if (status != AGT_OK) return status;
    bool rest = git->forest.dirty_count > 0;
    if (git->txn.kept && how == AGT_GIT_LOOSE)
        status = pack_write_loose(git, err);
    else if (git->txn.kept)
        status = pack_write_packed(git, err);
    if (status == AGT_OK && how == AGT_GIT_REPACK) pack_drop_loose(git);
    if (status != AGT_OK || rest || !git->has_tip)
        agt__git_abort(git); /* (1), (4) */
    else
        pack_txn_end(git);
    return status;
}
/* end src/git/pack.c */
/* begin src/git/whole.c */
/* whole: is everything there that a commit leads to? A power cut empties loose objects, and a
 * commit that is left may name a tree that is not. What a pack holds is whole with all that it
 * leads to, because packs are synced before they are named, git's own too; so only loose objects
 * are followed, and those are few. */

typedef struct whole_walk {
    agt_git *git;
    agt_buf todo;  /* ids still to be looked at */
    agt_oid *seen; /* hash table; a zero id is a free place */
    size_t seen_cap, seen_count;
    agt_buf bytes;
    bool nomem;
} whole_walk;

static const agt_oid whole_free;

/* The id's place in the table, or the free one where it belongs. */
static agt_oid *whole_place(agt_oid *table, size_t cap, const agt_oid *id) {
    size_t i = agt__get32(id->id) & (cap - 1);
    while (memcmp(&table[i], &whole_free, sizeof *id) != 0 &&
           memcmp(&table[i], id, sizeof *id) != 0)
        i = (i + 1) & (cap - 1);
    return &table[i];
}

static bool whole_grow(whole_walk *w) {
    size_t cap = w->seen_cap ? w->seen_cap * 2 : 256;
    agt_oid *table = agt__zalloc(&w->git->mem, cap * sizeof *table);
    if (!table) return false;
    for (size_t i = 0; i < w->seen_cap; i++)
        if (memcmp(&w->seen[i], &whole_free, sizeof whole_free) != 0)
            *whole_place(table, cap, &w->seen[i]) = w->seen[i];
    agt__free(&w->git->mem, w->seen, w->seen_cap * sizeof *w->seen);
    w->seen = table;
    w->seen_cap = cap;
    return true;
}

static void whole_add(whole_walk *w, const unsigned char raw[20]) {
    agt_oid id;
    memcpy(id.id, raw, sizeof id.id);
    if (w->seen_count >= w->seen_cap / 2 && !whole_grow(w)) {
        w->nomem = true;
        return;
    }
    agt_oid *place = whole_place(w->seen, w->seen_cap, &id);
    if (memcmp(place, &id, sizeof id) == 0) return; /* a zero id too: nobody made it */
    *place = id;
    w->seen_count++;
    agt__buf_put(&w->todo, &id, sizeof id);
    if (w->todo.failed) w->nomem = true;
}

/* ---- what an object names ---- */

/* "tree <id>", "parent <id>", "object <id>": the lines in front of the first empty one. */
static void whole_lines(const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    static const struct {
        const char *word;
        int kind;
    } words[] = {{"tree ", AGT_GIT_TREE}, {"parent ", AGT_GIT_COMMIT}, {"object ", 0}};
    const char *p = (const char *)bytes->data, *end = p ? p + bytes->len : p, *line_end;
    agt_oid id;
    for (; p && p < end && *p != '\n'; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) return;
        for (size_t i = 0; i < AGT_COUNT(words); i++) {
            size_t n = strlen(words[i].word);
            if ((size_t)(line_end - p) == n + AGT_GIT_HEX && memcmp(p, words[i].word, n) == 0 &&
                agt__unhex(p + n, AGT_GIT_HEX, id.id, sizeof id.id))
                each(ctx, &id, words[i].kind, (agt_text){NULL, 0});
        }
    }
}

/* "<mode> <name>\0<id>" after another; what is in a submodule is elsewhere. */
static void whole_entries(const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    const unsigned char *p = bytes->data, *end = p ? p + bytes->len : p, *name_end, *name;
    agt_oid id;
    for (; p && p < end; p = name_end + 21) {
        name_end = memchr(p, 0, (size_t)(end - p));
        if (!name_end || end - name_end < 21) return;
        name = memchr(p, ' ', (size_t)(name_end - p));
        if (!name || memcmp(p, "160000", 6) == 0) continue;
        memcpy(id.id, name_end + 1, sizeof id.id);
        bool tree = p[0] == (unsigned char)'4' || (p[0] == (unsigned char)'0' && p[1] == '4');
        each(ctx, &id, tree ? AGT_GIT_TREE : AGT_GIT_BLOB,
             (agt_text){(const char *)name + 1, (size_t)(name_end - name - 1)});
    }
}

AGT_PRIVATE void agt__git_links(int kind, const agt_buf *bytes, agt_git_link_fn each, void *ctx) {
    if (kind == AGT_GIT_TREE)
        whole_entries(bytes, each, ctx);
    else if (kind != AGT_GIT_BLOB)
        whole_lines(bytes, each, ctx);
}

/* ---- the walk ---- */

static void whole_link(void *ctx, const agt_oid *id, int kind, agt_text name) {
    (void)kind, (void)name;
    whole_add(ctx, id->id);
}

static agt_status whole_one(whole_walk *w, const agt_oid *id, bool *there, agt_error *err) {
    int kind = 0;
    bool packed;
    agt_error mine;
    agt_status status = agt__git_packed(w->git, id, &packed, err);
    if (status != AGT_OK || packed) return status;
    w->bytes.len = 0;
    status = agt__git_load(w->git, id, &kind, &w->bytes, &mine);
    if (status == AGT_NOT_FOUND || status == AGT_CORRUPT) {
        *there = false;
        return AGT_OK;
    }
    if (status != AGT_OK && err) *err = mine;
    if (status != AGT_OK) return status;
    agt__git_links(kind, &w->bytes, whole_link, w);
    return w->nomem ? agt__nomem(err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole,
                                      agt_error *err) {
    whole_walk w = {.git = git, .todo = agt__buf(&git->mem), .bytes = agt__buf(&git->mem)};
    agt_status status = AGT_OK;
    *whole = true;
    whole_add(&w, id->id);
    if (w.nomem) status = agt__nomem(err);
    while (status == AGT_OK && *whole && w.todo.len) {
        agt_oid next;
        w.todo.len -= sizeof next;
        memcpy(&next, w.todo.data + w.todo.len, sizeof next);
        status = whole_one(&w, &next, whole, err);
    }
    agt__buf_free(&w.todo);
    agt__buf_free(&w.bytes);
    agt__free(&git->mem, w.seen, w.seen_cap * sizeof *w.seen);
    return status;
}
/* end src/git/whole.c */
/* begin src/git/reach.c */
/* reach: everything that the refs lead to, for a pack that takes the place of all others.
 *
 * Refs are read as they are: main, HEAD where it names a commit, every file beneath refs/, the
 * lines of packed-refs. Commits are walked from the newest back, and each one's trees right after
 * it, so that the numbers of the objects follow their age.
 *
 * (1) Commits, trees and tags are read, and so checked; blobs that main leads to are only named:
 *     whoever packs them reads them.
 * (2) What main leads to must be there. Another ref may be anybody's and name what is not (a part
 *     of somebody's history that was fetched); that is counted, and whoever removes something must
 *     look whether it was found.
 * (3) An object's first path is kept as two hashes: one of its last 16 characters, as git's own, so
 *     that files of like names come together, and one of all, so that each path's versions do. */

#define REACH_REF_MAX  4096u
#define REACH_PACKED   (64u * 1024 * 1024)
#define REACH_DEPTH    16u
#define REACH_REF_PATH 1024u

/* ---- the refs ---- */

typedef struct reach_refs {
    agt_git *git;
    agt_status (*each)(void *ctx, const agt_oid *id, bool is_main, agt_error *err);
    void *ctx;
    agt_buf todo; /* folders still to be visited, each with its NUL */
    agt_buf names;
} reach_refs;

/* A file that names an object: HEAD or a ref. One that names a ref, or nothing, is passed over. */
static agt_status reach_ref_file(reach_refs *w, agt_fd folder, const char *name, agt_error *err) {
    agt_oid id;
    agt_error mine;
    agt_buf b = agt__buf(&w->git->mem);
    agt_status status = agt__read_file(w->git->sys, folder, name, REACH_REF_MAX, &b, &mine);
    size_t n = b.len;
    while (n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r'))
        n--;
    bool found = status == AGT_OK && n == AGT_GIT_HEX &&
                 agt__unhex((const char *)b.data, n, id.id, sizeof id.id);
    agt__buf_free(&b);
    if (found) return w->each(w->ctx, &id, false, err);
    if (status == AGT_IO || status == AGT_NOMEM) {
        if (err) *err = mine;
        return status;
    }
    return AGT_OK;
}

static agt_status reach_packed_refs(reach_refs *w, agt_error *err) {
    agt_oid id;
    agt_error mine;
    agt_buf b = agt__buf(&w->git->mem);
    agt_status status =
        agt__read_file(w->git->sys, w->git->dir, "packed-refs", REACH_PACKED, &b, &mine);
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    if (status != AGT_OK && status != AGT_NOT_FOUND && err) *err = mine;
    if (status == AGT_NOT_FOUND) status = AGT_OK;
    for (; p && status == AGT_OK && p < end; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end - p > (ptrdiff_t)AGT_GIT_HEX && p[AGT_GIT_HEX] == ' ' &&
            agt__unhex(p, AGT_GIT_HEX, id.id, sizeof id.id))
            status = w->each(w->ctx, &id, false, err);
    }
    agt__buf_free(&b);
    return status;
}

static int reach_name(void *ctx, const char *name) {
    agt__buf_put(ctx, name, strlen(name) + 1);
    return ((agt_buf *)ctx)->failed;
}

/* One folder beneath refs/: its files are refs, its folders come later. */
static agt_status reach_ref_folder(reach_refs *w, const char *path, agt_error *err) {
    const agt_sys *sys = w->git->sys;
    agt_stat st;
    size_t depth = 0;
    agt_status status = AGT_OK;
    for (const char *p = path; *p; p++)
        depth += *p == '/';
    agt_fd folder = sys->walk(sys->ctx, w->git->dir, path);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open %.100s in the git folder", path);
    w->names.len = 0;
    int rc = sys->list(sys->ctx, folder, reach_name, &w->names);
    if (w->names.failed) status = agt__nomem(err);
    if (rc < 0) status = agt__fail_io(err, rc, "cannot list %.100s in the git folder", path);
    for (size_t at = 0; status == AGT_OK && at < w->names.len;) {
        const char *name = (const char *)w->names.data + at;
        at += strlen(name) + 1;
        rc = sys->stat(sys->ctx, folder, name, &st);
        if (rc == 0 && st.kind == AGT_FILE_REGULAR) status = reach_ref_file(w, folder, name, err);
        if (rc < 0 || st.kind != AGT_FILE_FOLDER || depth >= REACH_DEPTH) continue;
        agt__buf_text(&w->todo, path);
        agt__buf_byte(&w->todo, '/');
        agt__buf_put(&w->todo, name, strlen(name) + 1);
        if (w->todo.failed) status = agt__nomem(err);
    }
    sys->close(sys->ctx, folder);
    return status;
}

static agt_status reach_ref_folders(reach_refs *w, agt_error *err) {
    agt_status status = AGT_OK;
    agt__buf_put(&w->todo, "refs", 5);
    if (w->todo.failed) return agt__nomem(err);
    while (status == AGT_OK && w->todo.len) {
        char path[REACH_REF_PATH];
        size_t start = w->todo.len - 1;
        while (start && w->todo.data[start - 1])
            start--;
        const char *last = (const char *)w->todo.data + start;
        if (!agt__copy_text(path, sizeof path, last, strlen(last)))
            return agt__fail(err, AGT_LIMIT, "refs in the git folder has too long a name in it");
        w->todo.len = start;
        status = reach_ref_folder(w, path, err);
    }
    return status;
}

AGT_PRIVATE agt_status agt__git_each_ref(agt_git *git,
                                         agt_status (*each)(void *ctx, const agt_oid *id,
                                                            bool is_main, agt_error *err),
                                         void *ctx, agt_error *err) {
    reach_refs w = {git, each, ctx, agt__buf(&git->mem), agt__buf(&git->mem)};
    agt_oid main_id;
    bool found;
    agt_status status = agt__git_head(git, &main_id, &found, err);
    if (status == AGT_OK && found) status = each(ctx, &main_id, true, err);
    if (status == AGT_OK) status = reach_ref_file(&w, git->dir, "HEAD", err);
    if (status == AGT_OK) status = reach_packed_refs(&w, err);
    if (status == AGT_OK) status = reach_ref_folders(&w, err);
    agt__buf_free(&w.todo);
    agt__buf_free(&w.names);
    return status;
}

/* ---- the table of objects ---- */

static uint32_t reach_slot(const agt_git_reach *r, const agt_oid *id) {
    uint32_t at = agt__get32(id->id) & (r->slot_count - 1);
    while (r->slots[at] && memcmp(&r->objects[r->slots[at] - 1].id, id, sizeof *id) != 0)
        at = (at + 1) & (r->slot_count - 1);
    return at;
}

AGT_PRIVATE uint32_t agt__git_reach_find(const agt_git_reach *r, const agt_oid *id) {
    uint32_t found = r->slot_count ? r->slots[reach_slot(r, id)] : 0;
    return found ? found - 1 : AGT_GIT_NONE;
}

static bool reach_grow(agt_git_reach *r) {
    const agt_mem *mem = &r->git->mem;
    uint32_t cap = r->cap ? r->cap * 2 : 1024, slot_count = cap * 2;
    size_t slots_size, objects_size;
    if (cap > UINT32_MAX / 8 || !agt__mul_size(slot_count, sizeof *r->slots, &slots_size) ||
        !agt__mul_size(cap, sizeof *r->objects, &objects_size))
        return false;
    agt_git_object *objects = agt__realloc(mem, r->objects, r->cap * sizeof *objects, objects_size);
    if (!objects) return false;
    r->objects = objects;
    r->cap = cap;
    uint32_t *slots = agt__zalloc(mem, slots_size);
    if (!slots) return false;
    agt__free(mem, r->slots, r->slot_count * sizeof *slots);
    r->slots = slots;
    r->slot_count = slot_count;
    for (uint32_t i = 0; i < r->count; i++)
        slots[reach_slot(r, &objects[i].id)] = i + 1;
    return true;
}

/* The object's number; *fresh: it was not known. AGT_GIT_NONE: no memory. */
static uint32_t reach_add(agt_git_reach *r, const agt_oid *id, int kind, bool *fresh) {
    *fresh = false;
    if (r->count >= r->slot_count / 2 && !reach_grow(r)) {
        r->nomem = true;
        return AGT_GIT_NONE;
    }
    uint32_t slot = reach_slot(r, id);
    if (r->slots[slot]) return r->slots[slot] - 1;
    r->objects[r->count] = (agt_git_object){.id = *id, .kind = (uint8_t)kind, .base = AGT_GIT_NONE};
    r->slots[slot] = ++r->count;
    *fresh = true;
    return r->count - 1;
}

static void reach_later(agt_git_reach *r, agt_buf *todo, uint32_t object) {
    agt__buf_put(todo, &object, sizeof object);
    if (todo->failed) r->nomem = true;
}

static bool reach_last(agt_buf *todo, uint32_t *object) {
    if (!todo->len) return false;
    todo->len -= sizeof *object;
    memcpy(object, todo->data + todo->len, sizeof *object);
    return true;
}

/* ---- the walk ---- */

/* (3) Git's hash, and FNV-1a, going on behind the folder's. */
static void reach_path(const agt_git_reach *r, agt_text name, agt_git_object *o) {
    uint32_t tail = r->path_base, all = r->path_crc;
    bool root = !tail && !all;
    if (root) all = 0x811c9dc5u;
    for (size_t i = 0; i <= name.len; i++) {
        unsigned char c = i ? (unsigned char)name.data[i - 1] : '/';
        if (!i && root) continue;
        all = (all ^ c) * 0x01000193u;
        if (c != ' ') tail = (tail >> 2) + ((uint32_t)c << 24);
    }
    o->base = tail;
    o->crc = all;
}

static void reach_link(void *ctx, const agt_oid *id, int kind, agt_text name) {
    agt_git_reach *r = ctx;
    bool fresh;
    uint32_t object = reach_add(r, id, kind ? kind : AGT_GIT_COMMIT, &fresh);
    if (!fresh) return;
    agt_git_object *o = &r->objects[object];
    o->base = o->crc = 0;
    if (name.data) reach_path(r, name, o);
    if (kind == AGT_GIT_TREE)
        reach_later(r, &r->trees, object);
    else if (kind != AGT_GIT_BLOB)
        reach_later(r, &r->commits, object);
    else if (!r->strict)
        reach_later(r, &r->trees, object); /* (2): is it there? */
}

/* Reads an object and what it names. */
static agt_status reach_one(agt_git_reach *r, uint32_t object, agt_error *err) {
    agt_oid id = r->objects[object].id;
    int kind = 0, want = r->objects[object].kind;
    agt_error mine;
    agt_status status = r->breathe ? r->breathe(r->breathe_ctx, err) : AGT_OK;
    if (status != AGT_OK) return status;
    agt__git_reuse(&r->bytes);
    status = agt__git_load(r->git, &id, &kind, &r->bytes, &mine);
    bool typed = want == AGT_GIT_TREE || want == AGT_GIT_BLOB; /* a ref may name a tag, or any */
    if (status == AGT_OK && typed && kind != want)
        status = agt__fail(&mine, AGT_CORRUPT, "a git object is not of the kind that it is named");
    if (!r->strict && (status == AGT_NOT_FOUND || status == AGT_CORRUPT)) { /* (2) */
        r->objects[object].kind = 0;
        r->missing++;
        return AGT_OK;
    }
    if (status == AGT_NOT_FOUND) status = AGT_CORRUPT;
    if (status != AGT_OK) {
        if (err) *err = mine;
        if (err) err->status = status;
        return status;
    }
    r->objects[object].kind = (uint8_t)kind;
    r->objects[object].size = r->bytes.len;
    r->path_base = kind == AGT_GIT_TREE ? r->objects[object].base : 0;
    r->path_crc = kind == AGT_GIT_TREE ? r->objects[object].crc : 0;
    agt__git_links(kind, &r->bytes, reach_link, r);
    return r->nomem ? agt__nomem(err) : AGT_OK;
}

/* Everything that is left to be read: after each commit its trees. */
static agt_status reach_walk(agt_git_reach *r, agt_error *err) {
    uint32_t object;
    agt_status status = AGT_OK;
    while (status == AGT_OK && (reach_last(&r->trees, &object) || reach_last(&r->commits, &object)))
        status = reach_one(r, object, err);
    return status;
}

static agt_status reach_ref(void *ctx, const agt_oid *id, bool is_main, agt_error *err) {
    agt_git_reach *r = ctx;
    bool fresh;
    uint32_t object = reach_add(r, id, AGT_GIT_COMMIT, &fresh);
    r->strict = is_main;
    if (fresh) r->objects[object].base = r->objects[object].crc = 0;
    if (fresh) reach_later(r, &r->commits, object);
    if (r->nomem) return agt__nomem(err);
    return reach_walk(r, err);
}

/* What could not be read is forgotten. */
static void reach_gather(agt_git_reach *r) {
    uint32_t kept = 0;
    if (!r->missing) return;
    for (uint32_t i = 0; i < r->count; i++)
        if (r->objects[i].kind) r->objects[kept++] = r->objects[i];
    r->count = kept;
    memset(r->slots, 0, r->slot_count * sizeof *r->slots);
    for (uint32_t i = 0; i < kept; i++)
        r->slots[reach_slot(r, &r->objects[i].id)] = i + 1;
}

AGT_PRIVATE agt_status agt__git_reach_all(agt_git_reach *r, agt_error *err) {
    r->commits = r->trees = r->bytes = agt__buf(&r->git->mem);
    agt_status status = agt__git_each_ref(r->git, reach_ref, r, err);
    if (status == AGT_OK) reach_gather(r);
    agt__buf_free(&r->commits);
    agt__buf_free(&r->trees);
    agt__buf_free(&r->bytes);
    return status;
}

AGT_PRIVATE void agt__git_reach_free(agt_git_reach *r) {
    const agt_mem *mem = &r->git->mem;
    agt__free(mem, r->objects, r->cap * sizeof *r->objects);
    agt__free(mem, r->slots, r->slot_count * sizeof *r->slots);
    r->objects = NULL;
    r->slots = NULL;
    r->count = r->cap = r->slot_count = 0;
}
/* end src/git/reach.c */
/* begin src/git/repack.c */
/* repack: one pack for everything that the refs lead to.
 *
 * Objects are put kind by kind, the versions of a path together, the newest first. Each is compared
 * with the ones put before it: the last ten, and the one that began the chain. The shortest delta
 * wins, so that the newest version is whole and quick to read.
 *
 *     version   0 whole   1 .. 49 each on one before   50 on 0   51 .. 98   99 on 50 ...
 *
 * (1) Every object is read and its hash compared before it is put: a pack that holds damage is
 *     never the only copy of anything.
 * (2) The new pack is durable, and has its name, before anything goes. Then a pack goes if the new
 *     one has every object that its index names; a loose file if the new one has its object. What
 *     nothing leads to is nobody's to delete: a git command may be about to name it.
 * (3) All .pack files go before the first .idx, with a sync between: an index without its pack is
 *     nothing to any reader and known to be nobody's, a pack without an index may be on its way.
 * (4) Memory: an object's record, its slot and its place in the order; eleven objects that are
 *     compared, of REPACK_DELTA bytes at most; the object that is read. */

#define REPACK_WINDOW  10u
#define REPACK_ANCHOR  REPACK_WINDOW      /* the place of the one that began the chain */
#define REPACK_DELTA   (8u * 1024 * 1024) /* longer objects are not compared */
#define REPACK_LEVEL   6                  /* of zlib: it is written once and read for long */
#define REPACK_ENOUGH  32u                /* a delta that short is not worth a search */
#define REPACK_STALE_S (24 * 60 * 60)

/* An object that others are compared with. */
typedef struct repack_base {
    agt_buf bytes;
    uint32_t object; /* AGT_GIT_NONE: none */
} repack_base;

typedef struct repack_run {
    agt_git *git;
    agt_git_reach reach;
    uint32_t *order; /* the objects' numbers, as they are put */
    repack_base base[REPACK_WINDOW + 1];
    uint32_t next; /* the place in the window that is filled next */
    agt_buf bytes, best, trial;
    agt_git_repacked *out;
} repack_run;

/* ---- deltas ---- */

/* A delta longer than that is worth less than the object, compressed. */
static size_t repack_limit(size_t size) {
    return size > 64 ? size / 2 : 0;
}

static void repack_try(repack_run *run, const repack_base *base, const agt_git_object *o,
                       uint32_t *chosen) {
    size_t limit = *chosen == AGT_GIT_NONE ? repack_limit(o->size) : run->best.len - 1;
    const agt_git_object *b = &run->reach.objects[base->object];
    if (b->kind != o->kind || b->chain + 1 >= AGT_GIT_CHAIN) return;
    if (o->size > b->size && o->size - b->size > limit) return; /* so much is to be inserted */
    run->trial.len = 0;
    if (!agt__git_delta_make(base->bytes.data, base->bytes.len, run->bytes.data, run->bytes.len,
                             limit, &run->trial))
        return;
    agt_buf swap = run->best;
    run->best = run->trial;
    run->trial = swap;
    *chosen = base->object;
}

/* Looks for the best delta; AGT_GIT_NONE if none is worth it, else its base, and it is in `best`.
 */
static uint32_t repack_search(repack_run *run, const agt_git_object *o, bool *anchored) {
    uint32_t chosen = AGT_GIT_NONE;
    *anchored = false;
    if (o->size > REPACK_DELTA || !repack_limit(o->size)) return AGT_GIT_NONE;
    for (uint32_t i = 1; i <= REPACK_WINDOW; i++) {
        const repack_base *b = &run->base[(run->next + REPACK_WINDOW - i) % REPACK_WINDOW];
        if (b->object == AGT_GIT_NONE) break;
        repack_try(run, b, o, &chosen);
        if (chosen != AGT_GIT_NONE && run->best.len <= REPACK_ENOUGH) return chosen;
    }
    uint32_t before = chosen;
    if (run->base[REPACK_ANCHOR].object != AGT_GIT_NONE)
        repack_try(run, &run->base[REPACK_ANCHOR], o, &chosen);
    *anchored = chosen != before;
    return chosen;
}

static bool repack_copy(repack_base *to, const agt_buf *bytes, uint32_t object) {
    to->bytes.len = 0;
    to->object = object;
    agt__buf_put(&to->bytes, bytes->data, bytes->len);
    return !to->bytes.failed;
}

/* The object that was just put can be a base from now on. */
static bool repack_remember(repack_run *run, uint32_t object, bool anchored) {
    const agt_git_object *o = &run->reach.objects[object];
    if (o->size > REPACK_DELTA) return true;
    if ((!o->chain || anchored) && !repack_copy(&run->base[REPACK_ANCHOR], &run->bytes, object))
        return false;
    if (!repack_copy(&run->base[run->next], &run->bytes, object)) return false;
    run->next = (run->next + 1) % REPACK_WINDOW;
    return true;
}

/* ---- the new pack ---- */

static bool repack_before(const agt_git_object *objects, uint32_t a, uint32_t b) {
    const agt_git_object *x = &objects[a], *y = &objects[b];
    if (x->kind != y->kind) return x->kind < y->kind;
    if (x->base != y->base) return x->base < y->base;
    if (x->crc != y->crc) return x->crc < y->crc;
    return a < b;
}

static agt_status repack_order(repack_run *run, agt_error *err) {
    const agt_git_reach *r = &run->reach;
    run->order = agt__alloc(&run->git->mem, r->count * sizeof *run->order);
    if (!run->order) return agt__nomem(err);
    for (uint32_t i = 0; i < r->count; i++)
        run->order[i] = i;
    agt__git_sort(r->objects, run->order, r->count, repack_before);
    return AGT_OK;
}

/* Reads one object, which must be what it was found to be. */
static agt_status repack_load(repack_run *run, agt_git_object *o, agt_error *err) {
    int kind = 0;
    run->bytes.len = 0;
    agt_status status = agt__git_load(run->git, &o->id, &kind, &run->bytes, err);
    if (status == AGT_OK && kind != o->kind)
        status = agt__fail(err, AGT_CORRUPT, "a git object is not of the kind that it is named");
    if (status == AGT_NOT_FOUND)
        status = agt__fail(err, AGT_CORRUPT,
                           "git lost an object while it was repacked; restore the git folder "
                           "from a copy");
    o->size = run->bytes.len;
    return status;
}

static agt_status repack_fill(void *ctx, agt_git_file *f, agt_error *err) {
    repack_run *run = ctx;
    agt_git_reach *r = &run->reach;
    agt_status status = AGT_OK;
    for (uint32_t i = 0; i < r->count && f->status == AGT_OK; i++) {
        uint32_t object = run->order[i];
        agt_git_object *o = &r->objects[object];
        bool anchored;
        if (r->breathe) status = r->breathe(r->breathe_ctx, err);
        if (status == AGT_OK) status = repack_load(run, o, err);
        if (status != AGT_OK) return status;
        uint32_t base = repack_search(run, o, &anchored);
        const agt_git_object *b = base == AGT_GIT_NONE ? NULL : &r->objects[base];
        const agt_buf *data = b ? &run->best : &run->bytes;
        o->chain = b ? (uint8_t)(b->chain + 1) : 0;
        agt__git_put_entry(f, o, b, data->data, data->len, false, err);
        if (!repack_remember(run, object, anchored)) return agt__nomem(err);
    }
    return f->status;
}

/* ---- what the new pack makes superfluous ---- */

typedef struct repack_folder {
    repack_run *run;
    agt_fd fd;
    agt_buf names; /* one after another, each with its NUL */
} repack_folder;

static int repack_name(void *ctx, const char *name) {
    agt__buf_put(ctx, name, strlen(name) + 1);
    return ((agt_buf *)ctx)->failed;
}

/* AGT_NOT_FOUND: there is no such folder. */
static agt_status repack_folder_open(repack_folder *d, repack_run *run, agt_fd parent,
                                     const char *name, agt_error *err) {
    const agt_sys *sys = run->git->sys;
    d->run = run;
    d->names = agt__buf(&run->git->mem);
    d->fd = sys->open(sys->ctx, parent, name, AGT_O_READ | AGT_O_FOLDER, 0);
    if (d->fd < 0 && AGT_SYS_CLASS(d->fd) == AGT_SYS_NOENT) return AGT_NOT_FOUND;
    if (d->fd < 0) return agt__fail_io(err, d->fd, "cannot open %s in the git folder", name);
    int rc = sys->list(sys->ctx, d->fd, repack_name, &d->names);
    if (rc >= 0 && !d->names.failed) return AGT_OK;
    sys->close(sys->ctx, d->fd);
    bool failed = d->names.failed;
    agt__buf_free(&d->names);
    return failed ? agt__nomem(err) : agt__fail_io(err, rc, "cannot list %s", name);
}

static void repack_folder_close(repack_folder *d) {
    d->run->git->sys->close(d->run->git->sys->ctx, d->fd);
    agt__buf_free(&d->names);
}

/* The next name in the folder; NULL behind the last. */
static const char *repack_folder_next(const repack_folder *d, size_t *at) {
    if (*at >= d->names.len) return NULL;
    const char *name = (const char *)d->names.data + *at;
    *at += strlen(name) + 1;
    return name;
}

static agt_status repack_remove(const repack_folder *d, const char *name, agt_error *err) {
    const agt_sys *sys = d->run->git->sys;
    int rc = sys->remove(sys->ctx, d->fd, name);
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot delete %.100s in the git folder", name);
}

static agt_status repack_sync(const repack_folder *d, agt_error *err) {
    int rc = d->run->git->sys->sync(d->run->git->sys->ctx, d->fd);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync objects/pack") : AGT_OK;
}

/* Does a file `stem`.`ext` stand in the folder? Where that cannot be known, yes: then nothing goes.
 */
static bool repack_has(const repack_folder *d, const char *stem, const char *ext) {
    char name[96];
    agt_stat st;
    size_t n = strlen(stem);
    if (n + strlen(ext) >= sizeof name) return true; /* none of ours */
    memcpy(name, stem, n);
    memcpy(name + n, ext, strlen(ext) + 1);
    int rc = d->run->git->sys->stat(d->run->git->sys->ctx, d->fd, name, &st);
    return rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_NOENT;
}

typedef struct repack_judge {
    const agt_git_reach *reach;
    bool all;
} repack_judge;

static void repack_judge_id(void *ctx, const agt_oid *id) {
    repack_judge *j = ctx;
    if (agt__git_reach_find(j->reach, id) == AGT_GIT_NONE) j->all = false;
}

/* (2) The stems of packs that the new one makes superfluous, each with its NUL. */
static agt_status repack_superseded(repack_run *run, const repack_folder *d, const char *fresh,
                                    agt_buf *out, agt_error *err) {
    agt_git *git = run->git;
    for (size_t i = 0; i < git->pack_count; i++) {
        agt_git_pack *p = git->packs[i];
        repack_judge j = {&run->reach, true};
        agt_error mine;
        if (strcmp(p->name, fresh) == 0 || repack_has(d, p->name, ".keep") ||
            repack_has(d, p->name, ".promisor"))
            continue;
        agt_status status = agt__git_pack_ids(git, p, repack_judge_id, &j, &mine);
        if (status == AGT_IO || status == AGT_NOMEM) {
            if (err) *err = mine;
            return status;
        }
        if (status != AGT_OK || !j.all) continue; /* damaged, or only libgit2 can read it */
        agt__git_pack_close(git, p);
        agt__buf_put(out, p->name, strlen(p->name) + 1);
        run->out->packs_removed++;
    }
    return out->failed ? agt__nomem(err) : AGT_OK;
}

/* Removes the files of every stem in `stems`: its .pack, or all others. */
static agt_status repack_remove_files(const repack_folder *d, const agt_buf *stems, bool packs,
                                      agt_error *err) {
    static const char *const others[] = {".idx", ".rev", ".bitmap", ".mtimes"};
    agt_status status = AGT_OK;
    for (size_t at = 0; status == AGT_OK && at < stems->len;) {
        char name[96];
        const char *stem = (const char *)stems->data + at;
        size_t n = strlen(stem);
        at += n + 1;
        memcpy(name, stem, n);
        memcpy(name + n, ".pack", 6);
        if (packs) status = repack_remove(d, name, err);
        for (size_t i = 0; !packs && status == AGT_OK && i < AGT_COUNT(others); i++) {
            memcpy(name + n, others[i], strlen(others[i]) + 1);
            status = repack_remove(d, name, err);
        }
    }
    return status;
}

static bool repack_stale(const repack_folder *d, const char *name) {
    agt_stat st;
    const agt_sys *sys = d->run->git->sys;
    if (sys->stat(sys->ctx, d->fd, name, &st) != 0 || st.kind != AGT_FILE_REGULAR) return false;
    return sys->now_unix_ms(sys->ctx) / 1000 - st.mtime_ns / 1000000000 > REPACK_STALE_S;
}

/* Is it an index without its pack (3), or a pack that has waited for its index for a day? */
static bool repack_half(const repack_folder *d, const char *name) {
    char stem[96];
    size_t n = strlen(name);
    if (n <= 9 || n >= sizeof stem || memcmp(name, "pack-", 5) != 0) return false;
    bool index = memcmp(name + n - 4, ".idx", 4) == 0;
    if (!index && memcmp(name + n - 5, ".pack", 5) != 0) return false;
    memcpy(stem, name, n);
    stem[n - (index ? 4 : 5)] = 0;
    if (repack_has(d, stem, ".keep")) return false;
    return index ? !repack_has(d, stem, ".pack")
                 : !repack_has(d, stem, ".idx") && repack_stale(d, name);
}

/* What a crash left, of ours or of git's. */
static agt_status repack_litter(const repack_folder *d, agt_error *err) {
    const char *name;
    agt_status status = AGT_OK;
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(d, &at));)
        if (repack_half(d, name) || (strncmp(name, "tmp_", 4) == 0 && repack_stale(d, name)))
            status = repack_remove(d, name, err);
    return status;
}

static agt_status repack_packs(repack_run *run, agt_fd objects, const char *fresh, agt_error *err) {
    repack_folder d;
    agt_buf stems = agt__buf(&run->git->mem);
    agt_status status = repack_folder_open(&d, run, objects, "pack", err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    status = repack_superseded(run, &d, fresh, &stems, err);
    if (status == AGT_OK && stems.len) {
        /* an index over all packs, which git makes again: it would name what is gone */
        status = repack_remove(&d, "multi-pack-index", err);
        if (status == AGT_OK) status = repack_remove_files(&d, &stems, true, err);
        if (status == AGT_OK) status = repack_sync(&d, err);
        if (status == AGT_OK) status = repack_remove_files(&d, &stems, false, err);
    }
    if (status == AGT_OK) status = repack_litter(&d, err);
    if (status == AGT_OK) status = repack_sync(&d, err);
    agt__buf_free(&stems);
    repack_folder_close(&d);
    return status;
}

/* One of the 256 folders of loose objects. */
static agt_status repack_fan_out(repack_run *run, agt_fd objects, const char *prefix,
                                 agt_error *err) {
    repack_folder d;
    const char *name;
    char hex[AGT_GIT_HEX];
    agt_oid id;
    uint64_t left = 0;
    agt_status status = repack_folder_open(&d, run, objects, prefix, err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    memcpy(hex, prefix, 2);
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(&d, &at));) {
        bool object = strlen(name) == AGT_GIT_HEX - 2;
        if (object) memcpy(hex + 2, name, AGT_GIT_HEX - 2);
        object = object && agt__unhex(hex, sizeof hex, id.id, sizeof id.id);
        if (object && agt__git_reach_find(&run->reach, &id) != AGT_GIT_NONE) {
            status = repack_remove(&d, name, err);
            run->out->loose_removed++;
        } else if (strncmp(name, "tmp_obj_", 8) == 0 && repack_stale(&d, name)) {
            status = repack_remove(&d, name, err);
        } else {
            run->out->loose += object;
            left++;
        }
    }
    repack_folder_close(&d);
    if (status == AGT_OK && !left) /* git makes it again */
        (void)run->git->sys->remove_folder(run->git->sys->ctx, objects, prefix);
    return status;
}

static agt_status repack_loose(repack_run *run, agt_fd objects, agt_error *err) {
    repack_folder d;
    const char *name;
    unsigned char byte;
    agt_status status = repack_folder_open(&d, run, run->git->dir, "objects", err);
    if (status != AGT_OK) return status == AGT_NOT_FOUND ? AGT_OK : status;
    for (size_t at = 0; status == AGT_OK && (name = repack_folder_next(&d, &at));) {
        if (strlen(name) == 2 && agt__unhex(name, 2, &byte, 1))
            status = repack_fan_out(run, objects, name, err);
        else if (strncmp(name, "tmp_", 4) == 0 && repack_stale(&d, name))
            status = repack_remove(&d, name, err);
    }
    repack_folder_close(&d);
    return status;
}

/* ---- all of it ---- */

static agt_status repack_write(repack_run *run, char stem[AGT_GIT_STEM], agt_error *err) {
    agt_git *git = run->git;
    agt_status status = repack_order(run, err);
    if (status != AGT_OK) return status;
    git->zip_level = REPACK_LEVEL;
    agt_git_pack_job job = {run->reach.objects, run->reach.count, repack_fill, run};
    status = agt__git_pack_write(git, &job, stem, err);
    git->zip_level = 0;
    if (status == AGT_OK) run->out->objects = run->reach.count;
    return status;
}

/* (2) */
static agt_status repack_clean(repack_run *run, const char *stem, agt_error *err) {
    agt_fd objects;
    agt_git *git = run->git;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status == AGT_NOT_FOUND) return AGT_OK;
    if (status == AGT_OK) status = agt__git_list_again(git, err);
    if (status == AGT_OK) status = repack_packs(run, objects, stem, err);
    if (status == AGT_OK) status = repack_loose(run, objects, err);
    if (status == AGT_OK) status = agt__git_list_again(git, err);
    run->out->packs = git->pack_count;
    return status;
}

static void repack_free(repack_run *run) {
    agt__free(&run->git->mem, run->order, run->reach.count * sizeof *run->order);
    agt__git_reach_free(&run->reach);
    for (size_t i = 0; i < AGT_COUNT(run->base); i++)
        agt__buf_free(&run->base[i].bytes);
    agt__buf_free(&run->bytes);
    agt__buf_free(&run->best);
    agt__buf_free(&run->trial);
}

AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err) {
    char stem[AGT_GIT_STEM] = "";
    repack_run run = {.git = git, .reach = {.git = git, .breathe = breathe, .breathe_ctx = ctx}};
    memset(out, 0, sizeof *out);
    run.out = out;
    run.bytes = run.best = run.trial = agt__buf(&git->mem);
    for (size_t i = 0; i < AGT_COUNT(run.base); i++)
        run.base[i] = (repack_base){agt__buf(&git->mem), AGT_GIT_NONE};
    agt__git_abort(git);
    agt_status status = agt__git_reach_all(&run.reach, err);
    out->missing = run.reach.missing;
    if (status == AGT_OK && run.reach.count) status = repack_write(&run, stem, err);
    if (status == AGT_OK) status = repack_clean(&run, stem, err);
    repack_free(&run);
    return status;
}
/* end src/git/repack.c */
/* begin src/git/repo.c */
/* repo: the repository's few fixed files, the handle, the ref, and the broom.
 *
 *     HEAD                 ref: refs/heads/main
 *     config               repositoryformatversion 0, bare, no reflogs
 *     refs/heads/main      40 hexadecimal digits and a newline
 *     refs/heads/found-*   what main named when somebody else had moved it
 *     packed-refs          never written by us; read where somebody's git made one
 *     objects/ objects/pack/ objects/info/ refs/heads/ refs/tags/
 *
 * (1) The ref moves by git's own lock file and a rename, and only if it names what was seen before:
 *     a git command may move it, too. What we make has a mode that git never gives, so that a lock
 *     which a dead publisher left is known and removed at once; publishers exclude one another.
 *     Somebody else's is waited for; one that is a minute old, or from the future, is dead.
 * (2) A loose ref beats a packed one. A ref that is no 40 digits is damage, not an absence.
 * (3) The broom removes temporaries of our own names and bad objects, nothing else: the rest may be
 *     a person's. */

#include <stdio.h>

#define REPO_LOCK    "main.lock"     /* git's */
#define REPO_OWN     "main_agt.lock" /* before it has that name; git sees no ref in it */
#define REPO_MODE    0400
#define REPO_WAIT_MS 2000
#define REPO_DEAD_MS 60000
#define REPO_STEP_MS 10
#define REPO_KEPT    1000u
#define REPO_REF_MAX 4096u
#define REPO_PACKED  (64u * 1024 * 1024)
#define REPO_NAME    256u
#define REPO_DEPTH   16u
#define REPO_HEAD    "ref: refs/heads/main\n"
#define REPO_CONFIG                                                                                \
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = false\n\tbare = true\n"                   \
    "\tlogallrefupdates = false\n"

/* ---- init, open, close ---- */

/* Writes a file unless it is there and begins as it should. */
static agt_status repo_make_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                 const char *name, const char *text, size_t same, agt_error *err) {
    agt_buf b = agt__buf(mem);
    agt_error mine;
    agt_status status = agt__read_file(sys, dir, name, REPO_PACKED, &b, &mine);
    bool good = status == AGT_OK && b.len >= same && memcmp(b.data, text, same) == 0;
    agt__buf_free(&b);
    if (good) return AGT_OK;
    if (status != AGT_OK && status != AGT_NOT_FOUND) {
        if (err) *err = mine;
        return status;
    }
    return agt__write_file(sys, dir, name, text, strlen(text), true, err);
}

/* Makes `parent` and two folders in it, and syncs their names. */
static agt_status repo_make_folders(const agt_sys *sys, agt_fd dir, const char *parent,
                                    const char *one, const char *two, agt_error *err) {
    agt_fd fd, sub;
    agt_status status = agt__open_folder(sys, dir, parent, true, &fd, err);
    if (status != AGT_OK) return status;
    const char *names[2] = {one, two};
    for (size_t i = 0; i < 2 && status == AGT_OK; i++) {
        status = agt__open_folder(sys, fd, names[i], true, &sub, err);
        if (status != AGT_OK) break;
        int rc = sys->sync(sys->ctx, sub);
        sys->close(sys->ctx, sub);
        if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    }
    int rc = status == AGT_OK ? sys->sync(sys->ctx, fd) : 0;
    if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    sys->close(sys->ctx, fd);
    return status;
}

AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err) {
    agt_status status = repo_make_folders(sys, dir, "objects", "pack", "info", err);
    if (status == AGT_OK) status = repo_make_folders(sys, dir, "refs", "heads", "tags", err);
    /* what a person added to the configuration stays; an empty file is a power cut's */
    if (status == AGT_OK) status = repo_make_file(sys, dir, mem, "config", REPO_CONFIG, 1, err);
    if (status == AGT_OK)
        status = repo_make_file(sys, dir, mem, "HEAD", REPO_HEAD, strlen(REPO_HEAD), err);
    if (status != AGT_OK) return status;
    int rc = sys->sync(sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the git folder") : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err) {
    agt_git *git = agt__zalloc(mem, sizeof *git);
    *out = git;
    if (!git) return agt__nomem(err);
    git->sys = sys;
    git->dir = dir;
    git->objects = AGT_FD_NONE;
    git->mem = *mem;
    git->cpu = cpu;
    git->io = agt__buf(&git->mem);
    git->in = agt__buf(&git->mem);
    git->scratch = agt__buf(&git->mem);
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        git->work[i] = agt__buf(&git->mem);
    return AGT_OK;
}

AGT_PRIVATE void agt__git_close(agt_git *git) {
    if (!git) return;
    agt__git_abort(git);
    agt__git_foreign_free(git);
    agt__git_objects_free(git);
    agt__git_codec_free(git);
    agt__buf_free(&git->scratch);
    agt_mem mem = git->mem;
    agt__free(&mem, git, sizeof *git);
}

/* Is objects in `dir` the folder that is open? If none is open, nothing is known of it. */
static agt_status repo_objects_still(const agt_git *git, agt_fd dir, bool *still, agt_error *err) {
    agt_stat now, ours;
    *still = true;
    if (git->objects == AGT_FD_NONE) return AGT_OK;
    int rc = git->sys->fstat(git->sys->ctx, git->objects, &ours);
    if (rc == 0) rc = git->sys->stat(git->sys->ctx, dir, "objects", &now);
    *still = rc == 0 && now.dev == ours.dev && now.ino == ours.ino;
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot look at objects in the git folder");
}

AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err) {
    bool still;
    agt_status status = repo_objects_still(git, dir, &still, err);
    *moved = status == AGT_OK && (dir != git->dir || !still);
    if (!*moved) return status;
    agt__git_abort(git);
    agt__git_foreign_free(git);
    agt__git_objects_free(git);
    git->dir = dir;
    return AGT_OK;
}

/* ---- the refs ---- */

static agt_status repo_bad_ref(const char *name, agt_error *err) {
    return agt__fail(err, AGT_CORRUPT,
                     "%s in the git folder is damaged; remove it and publish again", name);
}

/* Looks for refs/heads/<name> among the lines "<id> <ref>" of packed-refs. */
static agt_status repo_packed_ref(agt_git *git, const char *name, agt_oid *out, bool *found,
                                  agt_error *err) {
    char ref[REPO_NAME] = " refs/heads/";
    size_t prefix = strlen(ref), len = strlen(name), want = AGT_GIT_HEX + prefix + len;
    if (prefix + len >= sizeof ref) return AGT_OK;
    memcpy(ref + prefix, name, len);
    agt_buf b = agt__buf(&git->mem);
    agt_error mine;
    agt_status status = agt__read_file(git->sys, git->dir, "packed-refs", REPO_PACKED, &b, &mine);
    if (status == AGT_NOT_FOUND) return AGT_OK;
    if (status != AGT_OK) {
        agt__buf_free(&b);
        if (err) *err = mine;
        return status;
    }
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    for (; p && status == AGT_OK && p < end && !*found; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        size_t n = (size_t)(line_end - p);
        if (n && p[n - 1] == '\r') n--;
        if (n != want || memcmp(p + AGT_GIT_HEX, ref, prefix + len) != 0) continue;
        *found = agt__unhex(p, AGT_GIT_HEX, out->id, sizeof out->id);
        if (!*found) status = repo_bad_ref("packed-refs", err);
    }
    agt__buf_free(&b);
    return status;
}

/* What refs/heads/<name> names; `heads` is that folder. */
static agt_status repo_read_ref(agt_git *git, agt_fd heads, const char *name, agt_oid *out,
                                bool *found, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    agt_error mine;
    *found = false;
    agt_status status = agt__read_file(git->sys, heads, name, REPO_REF_MAX, &b, &mine);
    size_t n = b.len;
    while (status == AGT_OK && n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r'))
        n--;
    if (status == AGT_OK) *found = agt__unhex((const char *)b.data, n, out->id, sizeof out->id);
    agt__buf_free(&b);
    if (status == AGT_NOT_FOUND) return repo_packed_ref(git, name, out, found, err);
    if (*found) return AGT_OK;
    if (status == AGT_OK || status == AGT_LIMIT || status == AGT_INVALID) { /* (2) */
        char whole[REPO_NAME + 16] = "refs/heads/";
        (void)agt__copy_text(whole + 11, sizeof whole - 11, name, strlen(name));
        return repo_bad_ref(whole, err);
    }
    if (err) *err = mine;
    return status;
}

AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    const agt_sys *sys = git->sys;
    *found = false;
    agt_fd heads = sys->walk(sys->ctx, git->dir, "refs/heads");
    if (heads < 0 && AGT_SYS_CLASS(heads) == AGT_SYS_NOENT)
        return repo_packed_ref(git, "main", out, found, err);
    if (heads < 0) return agt__fail_io(err, heads, "cannot open refs/heads in the git folder");
    agt_status status = repo_read_ref(git, heads, "main", out, found, err);
    sys->close(sys->ctx, heads);
    return status;
}

/* refs/heads, made if it is not there. */
static agt_status repo_heads(agt_git *git, agt_fd *heads, agt_error *err) {
    agt_fd refs;
    agt_status status = agt__open_folder(git->sys, git->dir, "refs", true, &refs, err);
    if (status != AGT_OK) return status;
    status = agt__open_folder(git->sys, refs, "heads", true, heads, err);
    git->sys->close(git->sys->ctx, refs);
    return status;
}

/* Writes a file that a ref will be. */
static agt_status repo_write_ref(agt_git *git, agt_git_file *f, agt_fd heads, const char *name,
                                 const agt_oid *id, bool durable, agt_error *err) {
    char hex[AGT_GIT_HEX + 1];
    agt__hex(id->id, sizeof id->id, hex);
    hex[AGT_GIT_HEX] = '\n';
    agt_status status = agt__git_file_open(f, git, heads, name, REPO_MODE, false, err);
    if (status == AGT_OK) agt__git_file_put(f, hex, sizeof hex, err);
    return status == AGT_OK ? agt__git_file_end(f, durable, err) : status;
}

static agt_status repo_sync_heads(agt_git *git, agt_fd heads, agt_error *err) {
    int rc = git->sys->sync(git->sys->ctx, heads);
    if (rc == 0) return AGT_OK;
    agt_status status = agt__fail_io(err, rc, "cannot sync refs/heads in the git folder");
    if (err) err->outcome_unknown = 1;
    return status;
}

/* Is the lock what a publisher of ours left that died? */
static bool repo_lock_is_ours(agt_git *git, agt_fd heads) {
    agt_stat st;
    return git->sys->stat(git->sys->ctx, heads, REPO_LOCK, &st) == 0 &&
           st.kind == AGT_FILE_REGULAR && (st.mode & 0777) == REPO_MODE;
}

static bool repo_lock_is_old(agt_git *git, agt_fd heads) {
    agt_stat st;
    if (git->sys->stat(git->sys->ctx, heads, REPO_LOCK, &st) != 0) return false;
    int64_t age = git->sys->now_unix_ms(git->sys->ctx) - st.mtime_ns / 1000000;
    return age > REPO_DEAD_MS || age < -REPO_DEAD_MS; /* the clock was set back */
}

/* Gives the file REPO_OWN the name of git's lock if nobody has it. */
static int repo_take_lock(agt_git *git, agt_fd heads) {
    const agt_sys *sys = git->sys;
    int rc = sys->link(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK);
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_EXIST) return rc;
    /* no such links here */
    rc = sys->rename(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK, AGT_RENAME_NOREPLACE);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) {
        agt_stat st;
        if (sys->stat(sys->ctx, heads, REPO_LOCK, &st) == 0) return AGT_SYS_ERR(AGT_SYS_EXIST, 0);
        rc = sys->rename(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK, AGT_RENAME_REPLACE);
    }
    return rc;
}

static agt_status repo_lock(agt_git *git, agt_fd heads, agt_error *err) {
    for (int64_t waited = 0;; waited += REPO_STEP_MS) {
        int rc = repo_take_lock(git, heads);
        if (rc == 0) return AGT_OK;
        if (AGT_SYS_CLASS(rc) != AGT_SYS_EXIST)
            return agt__fail_io(err, rc, "cannot lock refs/heads/main in the git folder");
        if (waited >= REPO_WAIT_MS)
            return agt__fail(err, AGT_BUSY,
                             "a git command holds refs/heads/" REPO_LOCK " in the git folder; "
                             "if none is at work, remove that file");
        if (repo_lock_is_old(git, heads))
            (void)git->sys->remove(git->sys->ctx, heads, REPO_LOCK);
        else
            git->sys->sleep_ns(git->sys->ctx, REPO_STEP_MS * 1000000);
    }
}

/* Under the lock: the ref moves if it still names `was`. */
static agt_status repo_move_head(agt_git *git, agt_fd heads, const agt_oid *was, agt_error *err) {
    agt_oid now;
    agt_error mine;
    bool found;
    agt_status status = repo_read_ref(git, heads, "main", &now, &found, &mine);
    if (status != AGT_OK && status != AGT_CORRUPT) { /* damage is what `was` NULL says */
        if (err) *err = mine;
        return status;
    }
    if (found != (was != NULL) || (found && memcmp(now.id, was->id, sizeof now.id) != 0))
        return agt__fail(err, AGT_CONFLICT, "somebody moved refs/heads/main meanwhile; try again");
    int rc = git->sys->rename(git->sys->ctx, heads, REPO_LOCK, heads, "main", AGT_RENAME_REPLACE);
    return rc < 0 ? agt__fail_io(err, rc, "cannot write refs/heads/main in the git folder")
                  : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err) {
    const agt_sys *sys = git->sys;
    agt_git_file f;
    agt_fd heads;
    agt_status status = repo_heads(git, &heads, err);
    if (status != AGT_OK) return status;
    if (repo_lock_is_ours(git, heads)) (void)sys->remove(sys->ctx, heads, REPO_LOCK);
    status = repo_write_ref(git, &f, heads, REPO_OWN, id, durable, err);
    if (status == AGT_OK) {
        status = repo_lock(git, heads, err);
        if (status == AGT_OK) {
            status = repo_move_head(git, heads, was, err);
            if (status != AGT_OK) (void)sys->remove(sys->ctx, heads, REPO_LOCK);
        }
        (void)sys->remove(sys->ctx, heads, REPO_OWN);
    }
    if (status == AGT_OK && durable) status = repo_sync_heads(git, heads, err);
    sys->close(sys->ctx, heads);
    return status;
}

/* Only we make names like these, and publishers exclude one another: no lock is needed. */
static agt_status repo_keep(agt_git *git, agt_fd heads, const char *name, const agt_oid *id,
                            agt_error *err) {
    agt_oid other;
    agt_git_file f;
    agt_error mine;
    bool found;
    char own[REPO_NAME];
    size_t n = strlen(name);
    agt_status status = repo_read_ref(git, heads, name, &other, &found, &mine);
    if (status != AGT_OK && status != AGT_CORRUPT) {
        if (err) *err = mine;
        return status;
    }
    if (found && memcmp(&other, id, sizeof other) == 0) return AGT_OK;
    if (found) return AGT_CONFLICT;
    memcpy(own, name, n);
    memcpy(own + n, ".lock", sizeof ".lock");
    status = repo_write_ref(git, &f, heads, own, id, true, err);
    if (status == AGT_OK) status = agt__git_file_name(&f, heads, name, err);
    return status == AGT_OK ? repo_sync_heads(git, heads, err) : status;
}

AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err) {
    agt_fd heads;
    char numbered[REPO_NAME];
    size_t n = strlen(name);
    if (!n || n > 64 || memchr(name, '/', n))
        return agt__fail(err, AGT_INVALID, "\"%.40s\" cannot be the name of a branch", name);
    agt_status status = repo_heads(git, &heads, err);
    if (status != AGT_OK) return status;
    status = repo_keep(git, heads, name, id, err);
    for (uint32_t k = 2; status == AGT_CONFLICT && k < REPO_KEPT; k++) {
        memcpy(numbered, name, n);
        (void)snprintf(numbered + n, sizeof numbered - n, "-%u", (unsigned)k);
        status = repo_keep(git, heads, numbered, id, err);
    }
    git->sys->close(git->sys->ctx, heads);
    if (status != AGT_CONFLICT) return status;
    return agt__fail(err, AGT_LIMIT, "there are %u branches %.40s already; delete some",
                     (unsigned)REPO_KEPT, name);
}

/* ---- the broom ---- */

static int repo_name(void *ctx, const char *name) {
    agt__buf_put(ctx, name, strlen(name) + 1);
    return ((agt_buf *)ctx)->failed;
}

/* The names in a folder, one after another, each with its NUL. */
static agt_status repo_names(agt_git *git, agt_fd folder, agt_buf *out, agt_error *err) {
    int rc = git->sys->list(git->sys->ctx, folder, repo_name, out);
    if (out->failed) return agt__nomem(err);
    return rc < 0 ? agt__fail_io(err, rc, "cannot list the git folder") : AGT_OK;
}

static bool repo_ends(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

/* Is it a temporary that a process of ours left (3)? */
static bool repo_litter(const char *folder, const char *name) {
    if (strncmp(folder, "objects", 7) == 0)
        return !strncmp(name, "tmp_", 4) && repo_ends(name, "_agt");
    if (strcmp(folder, "refs/heads") == 0)
        return !strcmp(name, REPO_OWN) || (!strncmp(name, "found-", 6) && repo_ends(name, ".lock"));
    return !*folder && (!strcmp(name, "HEAD.tmp") || !strcmp(name, "config.tmp"));
}

/* One file of objects/ab: away with it if it is bad. */
static agt_status repo_clean_object(agt_git *git, agt_fd folder, const char *prefix,
                                    const char *name, bool regular, agt_error *err) {
    char hex[AGT_GIT_HEX];
    agt_oid id;
    int kind;
    if (strlen(name) != AGT_GIT_HEX - 2) return AGT_OK;
    memcpy(hex, prefix, 2);
    memcpy(hex + 2, name, AGT_GIT_HEX - 2);
    if (!agt__unhex(hex, sizeof hex, id.id, sizeof id.id)) return AGT_OK;
    if (regular) {
        agt__git_reuse(&git->scratch);
        agt_error mine;
        agt_status status =
            agt__git_load_loose(git, folder, name, &id, &kind, &git->scratch, &mine);
        if (status != AGT_CORRUPT && err && status != AGT_OK) *err = mine;
        if (status != AGT_CORRUPT) return status == AGT_NOT_FOUND ? AGT_OK : status;
    }
    int rc = git->sys->remove(git->sys->ctx, folder, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot delete a git object");
    return AGT_OK;
}

/* What a walk over the git folder carries along. */
typedef struct repo_broom {
    agt_git *git;
    agt_buf todo;  /* paths of folders still to be visited, each with its NUL */
    agt_buf names; /* of the folder being visited */
} repo_broom;

static bool repo_is_fan_out(const char *folder) {
    unsigned char byte;
    return strlen(folder) == 10 && !memcmp(folder, "objects/", 8) &&
           agt__unhex(folder + 8, 2, &byte, 1);
}

static agt_status repo_sweep_one(repo_broom *b, const char *path, agt_fd folder, const char *name,
                                 agt_error *err) {
    agt_git *git = b->git;
    agt_stat st;
    size_t depth = 0;
    int rc = git->sys->stat(git->sys->ctx, folder, name, &st);
    if (rc < 0) return AGT_OK; /* gone meanwhile, or not ours to judge */
    if (st.kind == AGT_FILE_FOLDER) {
        for (const char *p = path; *p; p++)
            depth += *p == '/';
        if (depth >= REPO_DEPTH) return AGT_OK;
        agt__buf_text(&b->todo, path);
        if (*path) agt__buf_byte(&b->todo, '/');
        agt__buf_put(&b->todo, name, strlen(name) + 1);
        return b->todo.failed ? agt__nomem(err) : AGT_OK;
    }
    if (st.kind == AGT_FILE_REGULAR && repo_litter(path, name)) {
        rc = git->sys->remove(git->sys->ctx, folder, name);
        if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
        return agt__fail_io(err, rc, "cannot delete %.100s in the git folder", name);
    }
    if (!repo_is_fan_out(path)) return AGT_OK;
    bool regular = st.kind == AGT_FILE_REGULAR;
    return repo_clean_object(git, folder, path + 8, name, regular, err);
}

/* Visits one folder; `path` is a copy that does not move. */
static agt_status repo_sweep(repo_broom *b, const char *path, agt_error *err) {
    agt_git *git = b->git;
    agt_fd folder = agt__walk_folder(git->sys, git->dir, path, false);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open %.100s in the git folder", path);
    b->names.len = 0;
    agt_status status = repo_names(git, folder, &b->names, err);
    for (size_t at = 0; status == AGT_OK && at < b->names.len;) {
        const char *name = (const char *)b->names.data + at;
        at += strlen(name) + 1;
        status = repo_sweep_one(b, path, folder, name, err);
    }
    git->sys->close(git->sys->ctx, folder);
    return status;
}

/* An empty objects/ab goes too; git makes it again. */
static void repo_drop_fan_out(agt_git *git, const char *path) {
    agt_fd objects;
    if (!repo_is_fan_out(path) || agt__git_objects(git, false, &objects, NULL) != AGT_OK) return;
    (void)git->sys->remove_folder(git->sys->ctx, objects, path + 8);
}

AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err) {
    repo_broom b = {git, agt__buf(&git->mem), agt__buf(&git->mem)};
    agt_status status = AGT_OK;
    agt__git_abort(git);
    agt__buf_byte(&b.todo, 0); /* "": the git folder itself */
    while (status == AGT_OK && b.todo.len) {
        char path[REPO_DEPTH * REPO_NAME];
        size_t start = b.todo.len - 1;
        while (start && b.todo.data[start - 1])
            start--;
        const char *last = (const char *)b.todo.data + start;
        bool fits = agt__copy_text(path, sizeof path, last, strlen(last));
        b.todo.len = start;
        if (!fits) continue;
        status = repo_sweep(&b, path, err);
        if (status == AGT_OK) repo_drop_fan_out(git, path);
    }
    if (status == AGT_OK && b.todo.failed) status = agt__nomem(err);
    agt__buf_free(&b.todo);
    agt__buf_free(&b.names);
    agt__git_reuse(&git->scratch);
    return status;
}
/* end src/git/repo.c */
/* begin src/git/past.c */
/* past: reading a history that somebody else wrote: which commit is the newest, what stands in a
 * commit, and which files differ between two trees.
 *
 * (1) Only objects, HEAD, refs and the reflog are read. The configuration is not: neither a work
 *     tree that it names, nor filters, nor anything else that a program could be made to run.
 * (2) Objects are asked for by their ids and checked against them, so nothing that stands in their
 *     place is believed.
 * (3) Trees are compared in git's own order, which is the byte order of whole paths. */

#define PAST_REF_MAX 4096u
#define PAST_LOG_MAX (256u * 1024 * 1024)
#define PAST_DEPTH   128
#define PAST_MODE    7u /* octal digits and the blank: "100644 " */

/* ---- the newest commit ---- */

static bool past_ref_name(const char *s, size_t n) {
    if (n < 6 || memcmp(s, "refs/", 5) != 0 || s[n - 1] == '/') return false;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f || s[i] == '\\') return false;
        if (s[i] == '.' && (i + 1 == n || s[i + 1] == '.' || s[i - 1] == '/')) return false;
        if (s[i] == '/' && s[i - 1] == '/') return false;
    }
    return true;
}

static size_t past_trim(const agt_buf *b) {
    size_t n = b->len;
    while (n && (b->data[n - 1] == '\n' || b->data[n - 1] == '\r' || b->data[n - 1] == ' '))
        n--;
    return n;
}

/* Reads a file that may lie in folders beneath the repository. */
static agt_status past_file(agt_git *git, const char *path, size_t max, agt_buf *out,
                            agt_error *err) {
    char folder[PAST_REF_MAX];
    const agt_sys *sys = git->sys;
    size_t cut = strlen(path);
    while (cut && path[cut - 1] != '/')
        cut--;
    if (!cut) return agt__read_file(sys, git->dir, path, max, out, err);
    if (!agt__copy_text(folder, sizeof folder, path, cut - 1))
        return agt__fail(err, AGT_LIMIT, "the name of a ref is too long");
    agt_fd fd = sys->walk(sys->ctx, git->dir, folder);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %.200s in the git folder", folder);
    agt_status st = agt__read_file(sys, fd, path + cut, max, out, err);
    sys->close(sys->ctx, fd);
    return st;
}

/* Appends the id that packed-refs has for the ref, if it has one. */
static agt_status past_packed(agt_git *git, const char *ref, agt_buf *ids, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    unsigned char id[20];
    size_t len = strlen(ref);
    agt_status st = agt__read_file(git->sys, git->dir, "packed-refs", PAST_LOG_MAX, &b, err);
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    for (; st == AGT_OK && p && p < end; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if ((size_t)(line_end - p) != AGT_GIT_HEX + 1 + len || p[AGT_GIT_HEX] != ' ') continue;
        if (memcmp(p + AGT_GIT_HEX + 1, ref, len) == 0 && agt__unhex(p, AGT_GIT_HEX, id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
    }
    agt__buf_free(&b);
    return st;
}

/* Appends what the last lines of the reflog name, the newest first: "<old> <new> <who> ...". */
static agt_status past_reflog(agt_git *git, agt_buf *ids, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    unsigned char id[20];
    agt_status st = past_file(git, "logs/HEAD", PAST_LOG_MAX, &b, err);
    size_t end = st == AGT_OK ? past_trim(&b) : 0;
    while (end) {
        size_t begin = end;
        while (begin && b.data[begin - 1] != '\n')
            begin--;
        const char *line = (const char *)b.data + begin;
        if (end - begin > 2 * AGT_GIT_HEX + 1 && line[AGT_GIT_HEX] == ' ' &&
            agt__unhex(line + AGT_GIT_HEX + 1, AGT_GIT_HEX, id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
        end = begin ? begin - 1 : 0;
    }
    agt__buf_free(&b);
    return st;
}

/* What is not there, or is damaged, is another candidate's turn. */
static agt_status past_skip(agt_status st, const agt_error *mine, agt_error *err) {
    if (st != AGT_NOMEM && st != AGT_IO) return AGT_OK;
    return agt__answer(st, mine, err);
}

AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err) {
    char ref[PAST_REF_MAX];
    unsigned char id[20];
    agt_error mine;
    agt_buf b = agt__buf(&git->mem);
    agt_status st = agt__read_file(git->sys, git->dir, "HEAD", PAST_REF_MAX, &b, &mine);
    size_t n = st == AGT_OK ? past_trim(&b) : 0;
    const char *text = (const char *)b.data;
    ref[0] = 0;
    if (n > 5 && memcmp(text, "ref: ", 5) == 0 && past_ref_name(text + 5, n - 5))
        (void)agt__copy_text(ref, sizeof ref, text + 5, n - 5);
    else if (agt__unhex(text, n, id, sizeof id))
        agt__buf_put(ids, id, sizeof id);
    st = past_skip(st, &mine, err);
    if (st == AGT_OK && ref[0]) {
        b.len = 0;
        st = past_file(git, ref, PAST_REF_MAX, &b, &mine);
        if (st == AGT_OK && agt__unhex((const char *)b.data, past_trim(&b), id, sizeof id))
            agt__buf_put(ids, id, sizeof id);
        st = past_skip(st, &mine, err);
        if (st == AGT_OK) st = past_skip(past_packed(git, ref, ids, &mine), &mine, err);
    }
    agt__buf_free(&b);
    if (st == AGT_OK) st = past_skip(past_reflog(git, ids, &mine), &mine, err);
    return st == AGT_OK && ids->failed ? agt__nomem(err) : st;
}

/* ---- commits ---- */

/* "<label> <id>\n" at *at. */
static bool past_id_line(const agt_buf *b, size_t *at, const char *label, agt_oid *id) {
    const char *p = (const char *)b->data + *at;
    size_t n = strlen(label);
    if (b->len - *at < n + AGT_GIT_HEX + 1 || memcmp(p, label, n) != 0) return false;
    if (p[n + AGT_GIT_HEX] != '\n' || !agt__unhex(p + n, AGT_GIT_HEX, id->id, 20)) return false;
    *at += n + AGT_GIT_HEX + 1;
    return true;
}

/* "<name> <<email>> <seconds> <zone>" */
static void past_person(const char *s, size_t n, agt_git_past *out) {
    size_t open = 0, close = n, at;
    while (open < n && s[open] != '<')
        open++;
    while (close > open && s[close - 1] != '>')
        close--;
    out->author = (agt_text){s, open && s[open - 1] == ' ' ? open - 1 : open};
    out->email = open < close ? (agt_text){s + open + 1, close - open - 2} : agt__text("");
    out->unix_s = 0;
    for (at = close + (close < n); at < n && s[at] >= '0' && s[at] <= '9'; at++)
        if (out->unix_s < AGT_TIME_MAX / 1000) out->unix_s = out->unix_s * 10 + (s[at] - '0');
    if (out->unix_s > AGT_TIME_MAX / 1000) out->unix_s = AGT_TIME_MAX / 1000;
}

AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err) {
    int kind = 0;
    agt_oid other;
    size_t at = 0;
    memset(out, 0, sizeof *out);
    bytes->len = 0;
    agt_status st = agt__git_load(git, id, &kind, bytes, err);
    if (st != AGT_OK) return st;
    if (kind != AGT_GIT_COMMIT || !past_id_line(bytes, &at, "tree ", &out->tree))
        return agt__fail(err, AGT_CORRUPT, "a git object is no commit");
    out->has_parent = past_id_line(bytes, &at, "parent ", &out->parent);
    while (past_id_line(bytes, &at, "parent ", &other)) { /* only the first counts */
    }
    const char *p = (const char *)bytes->data, *end = p + bytes->len, *line_end;
    for (p += at; p < end && *p != '\n'; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end - p > 7 && memcmp(p, "author ", 7) == 0)
            past_person(p + 7, (size_t)(line_end - p) - 7, out);
    }
    if (p < end) p++;
    out->message = (agt_text){p < end ? p : "", p < end ? (size_t)(end - p) : 0};
    return AGT_OK;
}

/* ---- what differs between two trees ---- */

typedef struct past_entry {
    agt_text name;
    bool folder, link; /* link: another repository, whose commits are elsewhere */
    agt_oid id;
} past_entry;

typedef struct past_walk {
    agt_git *git;
    agt_git_change_fn each;
    void *ctx;
    agt_buf path;
} past_walk;

/* The entry at *at of a tree; false at its end, and where it is none. */
static bool past_next(const agt_buf *b, size_t *at, past_entry *e) {
    const unsigned char *p = b->data ? b->data + *at : NULL, *end = p ? b->data + b->len : p;
    if (p == end) return false;
    const unsigned char *blank = memchr(p, ' ', (size_t)(end - p));
    if (!blank || blank - p >= (ptrdiff_t)PAST_MODE) return false;
    const unsigned char *nul = memchr(blank, 0, (size_t)(end - blank));
    if (!nul || end - nul < 21 || nul == blank + 1) return false;
    e->name = (agt_text){(const char *)blank + 1, (size_t)(nul - blank) - 1};
    e->folder = p[0] == '4' || (blank - p == 6 && memcmp(p, "040000", 6) == 0);
    e->link = blank - p == 6 && memcmp(p, "160000", 6) == 0;
    memcpy(e->id.id, nul + 1, 20);
    *at = (size_t)(nul + 21 - b->data);
    return true;
}

/* (3): as if a folder's name ended in a slash. */
static int past_order(const past_entry *a, const past_entry *b) {
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int d = memcmp(a->name.data, b->name.data, n);
    if (d) return d;
    unsigned char x = a->name.len > n ? (unsigned char)a->name.data[n] : a->folder ? '/' : 0;
    unsigned char y = b->name.len > n ? (unsigned char)b->name.data[n] : b->folder ? '/' : 0;
    if (x != y) return x < y ? -1 : 1;
    return (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static agt_status past_load_tree(agt_git *git, const agt_oid *id, agt_buf *out, agt_error *err) {
    int kind = AGT_GIT_TREE;
    past_entry e;
    size_t at = 0;
    static const unsigned char empty[20] = {0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e,
                                            0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6,
                                            0x92, 0x88, 0xfb, 0xee, 0x49, 0x04};
    if (!id || memcmp(id->id, empty, 20) == 0) return AGT_OK; /* known to git without an object */
    agt_status st = agt__git_load(git, id, &kind, out, err);
    if (st != AGT_OK) return st;
    while (past_next(out, &at, &e)) {
    }
    return kind == AGT_GIT_TREE && at == out->len
               ? AGT_OK
               : agt__fail(err, AGT_CORRUPT, "a git object is no tree");
}

static agt_status past_trees(past_walk *w, const agt_oid *from, const agt_oid *to, int depth,
                             agt_error *err);

/* One name: a NULL side has it not. */
static agt_status past_one(past_walk *w, const past_entry *a, const past_entry *b, int depth,
                           agt_error *err) {
    const past_entry *e = a ? a : b;
    size_t start = w->path.len;
    agt_status st = AGT_OK;
    if (a && b && memcmp(&a->id, &b->id, sizeof a->id) == 0) return AGT_OK;
    agt__buf_put(&w->path, e->name.data, e->name.len);
    if (w->path.failed) return agt__nomem(err);
    if (e->folder) {
        agt__buf_byte(&w->path, '/');
        st = w->path.failed ? agt__nomem(err)
                            : past_trees(w, a ? &a->id : NULL, b ? &b->id : NULL, depth + 1, err);
    } else {
        const agt_oid *was = a && !a->link ? &a->id : NULL, *now = b && !b->link ? &b->id : NULL;
        agt_text path = {(const char *)w->path.data, w->path.len};
        if (was || now) st = w->each(w->ctx, path, was, now, err);
    }
    w->path.len = start;
    return st;
}

static agt_status past_merge(past_walk *w, const agt_buf *from, const agt_buf *to, int depth,
                             agt_error *err) {
    size_t i = 0, j = 0;
    past_entry a, b;
    agt_status st = AGT_OK;
    bool has_a = past_next(from, &i, &a), has_b = past_next(to, &j, &b);
    while (st == AGT_OK && (has_a || has_b)) {
        int d = !has_a ? 1 : !has_b ? -1 : past_order(&a, &b);
        st = past_one(w, d <= 0 ? &a : NULL, d >= 0 ? &b : NULL, depth, err);
        if (d <= 0) has_a = past_next(from, &i, &a);
        if (d >= 0) has_b = past_next(to, &j, &b);
    }
    return st;
}

static agt_status past_trees(past_walk *w, const agt_oid *from, const agt_oid *to, int depth,
                             agt_error *err) {
    agt_git *git = w->git;
    if (depth > PAST_DEPTH) return agt__fail(err, AGT_LIMIT, "a tree has too many folders");
    agt_buf a = agt__buf(&git->mem), b = agt__buf(&git->mem);
    agt_status st = past_load_tree(git, from, &a, err);
    if (st == AGT_OK) st = past_load_tree(git, to, &b, err);
    if (st == AGT_OK) st = past_merge(w, &a, &b, depth, err);
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err) {
    past_walk w = {git, each, ctx, agt__buf(&git->mem)};
    if (from && to && memcmp(from, to, sizeof *from) == 0) return AGT_OK;
    agt_status st = past_trees(&w, from, to, 0, err);
    agt__buf_free(&w.path);
    return st;
}
/* end src/git/past.c */
#endif
/* floor 3 */
/* begin src/lock/flock.c */
/* flock: one holder among all processes, held by the kernel.
 *
 *     closed --open, check--> open --flock--> locked --same file at the name?--> held
 *        ^                      ^                |no: close, at most 100 times    |
 *        +----------------------|----------------+                     drop or close, or death
 *                               +-------------------------------------------------+
 *
 * The kernel's lock is the only truth. It dies with the process, however that dies, so there is
 * nothing stale and nothing to take over; no byte in the file decides anything.
 *
 * (1) The file is never unlinked or renamed by us: the lock would split into two.
 * (2) Somebody else may do so. A lock counts only on the file that stands at the name after it was
 *     taken. Device and inode of an open file never change, and the inode is not used again while
 *     we have it open: comparing them with what stands at the name is enough.
 * (3) What is opened must be a regular file with one link that its folder's owner made: a link, a
 *     FIFO, a folder or somebody's other file in its place is refused, not locked or written.
 * (4) Only the kernel's yes is a yes. No lock here, no permission, no memory: an error, never an
 *     unlocked success.
 * (5) Two descriptors of one process exclude each other as two processes do; one handle belongs to
 *     one thread at a time.
 * (6) A shared lock is somebody looking who leads (agt_poll_lock_holder), not a holder. It is gone
 *     in a moment and must not turn a try into BUSY.
 * (7) The lock belongs to the open file, which a fork's child shares: there it "holds" too. Whoever
 *     owns the handle compares process ids before it comes here; the child only closes.
 * (8) Nobody waits inside flock: that has no deadline. Waiters sleep 1 ms, then twice as long each
 *     time up to 100 ms, and wake for a burst of tries, the longer the longer they slept: a busy
 *     store's lock is free only for moments between two writes, and a single try would miss them
 *     for seconds. Whoever waited half a second is among many, on a machine with little time for
 *     each, and tries about every other moment, or one of sixteen would be left behind for more
 * than the default timeout. After 10 s it is somebody who leads, not somebody who writes: single
 *     tries.
 *
 * Taking and dropping an open, free lock is three system calls: flock, fstatat, flock. */
/* begin src/lock/lock.h */
/* lock: one holder among all processes, on flock(2) behind agt_sys. */
#ifndef AGT_LOCK_H
#define AGT_LOCK_H


/* A lock on one file. The descriptor stays open between uses; the kernel lock is what counts. */
typedef struct agt_flock {
    const agt_sys *sys;
    agt_fd dir;        /* borrowed: the folder */
    char name[32];     /* the file in it */
    agt_fd fd;         /* AGT_FD_NONE until first use */
    uint64_t dev, ino; /* of fd */
    bool held;
} agt_flock;

AGT_PRIVATE void agt__flock_init(agt_flock *l, const agt_sys *sys, agt_fd dir, const char *name);
/* Takes the lock: opens or reopens the file as needed (U3 to U6), waits up to timeout_ms (0: the
 * default, AGT_TRY, AGT_FOREVER) with growing delays. AGT_OK, AGT_BUSY, AGT_INVALID, AGT_IO,
 * AGT_UNSUPPORTED, AGT_NOT_FOUND (the folder is gone). */
AGT_PRIVATE agt_status agt__flock_take(agt_flock *l, int32_t timeout_ms, agt_error *err);
/* Is the file still the one at its name (U9)? true if so. */
AGT_PRIVATE bool agt__flock_still(const agt_flock *l);
/* Lets go, keeps the descriptor. Must not be called in a fork's child (use agt__flock_close). */
AGT_PRIVATE void agt__flock_drop(agt_flock *l);
/* Closes the descriptor, which lets go unless a fork's other side holds it. */
AGT_PRIVATE void agt__flock_close(agt_flock *l);

/* What a leader says of itself in poll.lock and poll.lock.info: a diagnosis, never a decision. */
typedef struct agt_holder {
    int64_t pid;    /* 0: unknown */
    uint64_t start; /* of the process, in the system's own unit; 0: unknown */
    int64_t since_unix_ms;
    char boot[40];
    char host[64];
    char program[64];
    char token[33]; /* 128 random bits in hexadecimal: this one time of leading */
} agt_holder;

#define AGT_HOLDER_TEXT 512 /* bytes that always hold agt__holder_format's text */

/* Writes the lines of poll.lock.info; returns their length. */
AGT_PRIVATE size_t agt__holder_format(const agt_holder *h, char out[AGT_HOLDER_TEXT]);
/* Reads both files' bytes, whatever they are. The info is believed only if it is of one piece and
 * names the pid of poll.lock. Every text in `out` is UTF-8 without control characters. */
AGT_PRIVATE void agt__holder_parse(agt_holder *out, const void *pid, size_t pid_len,
                                   const void *info, size_t info_len);

#endif /* AGT_LOCK_H */
/* end src/lock/lock.h */


#define FLOCK_REOPENS 100
#define FLOCK_LOOKS   10

/* Waiting, in ns. */
#define FLOCK_DELAY_MIN 1000000
#define FLOCK_DELAY_MAX 100000000
#define FLOCK_BURST     8         /* tries in a burst, and one more for each ... */
#define FLOCK_BURST_PER 2000000   /* ... of these that were slept before */
#define FLOCK_PAUSE     60000     /* between the tries of a burst */
#define FLOCK_OLD       500000000 /* who waited so long naps shortly */
#define FLOCK_OLD_DELAY 4000000
#define FLOCK_HOPE      10000000000

AGT_PRIVATE void agt__flock_init(agt_flock *l, const agt_sys *sys, agt_fd dir, const char *name) {
    memset(l, 0, sizeof *l);
    l->sys = sys;
    l->dir = dir;
    l->fd = AGT_FD_NONE;
    bool whole = agt__copy_text(l->name, sizeof l->name, name, strlen(name));
    AGENT_TRACE_ASSERT(whole);
    (void)whole;
}

/* May the file's owner be who it is? The folder's owner, root, or anybody where the folder is
 * shared on purpose: writable for others, and not so that each may only touch what is theirs. */
static bool flock_owner_fits(const agt_stat *file, const agt_stat *folder) {
    bool shared = (folder->mode & 022u) != 0 && (folder->mode & 01000u) == 0;
    return file->owner == folder->owner || file->owner == 0 || shared;
}

/* Looks at what was opened. That it still stands at the name is asked later, under the lock. */
static agt_status flock_check(agt_flock *l, agt_error *err) {
    agt_stat file, folder;
    int rc = l->sys->fstat(l->sys->ctx, l->fd, &file);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the lock %s", l->name);
    rc = l->sys->fstat(l->sys->ctx, l->dir, &folder);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at the folder of the lock %s", l->name);
    if (file.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID,
                         "something that is not a regular file stands in the place of the lock "
                         "%s; remove it",
                         l->name);
    if (file.links > 1)
        return agt__fail(err, AGT_INVALID,
                         "the lock %s is also linked under another name; remove it and try again",
                         l->name);
    if (!flock_owner_fits(&file, &folder))
        return agt__fail(err, AGT_INVALID,
                         "the lock %s belongs to user %lu, its folder to user %lu; remove it and "
                         "try again",
                         l->name, (unsigned long)file.owner, (unsigned long)folder.owner);
    l->dev = file.dev;
    l->ino = file.ino;
    return AGT_OK;
}

static agt_status flock_open(agt_flock *l, agt_error *err) {
    l->fd =
        l->sys->open(l->sys->ctx, l->dir, l->name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (l->fd < 0) {
        agt_fd rc = l->fd;
        l->fd = AGT_FD_NONE;
        return agt__fail_sys(err, rc, "cannot open the lock %s", l->name);
    }
    agt_status status = flock_check(l, err);
    if (status != AGT_OK) agt__flock_close(l);
    return status;
}

static int64_t flock_jitter(const agt_sys *sys, int64_t ns) {
    uint32_t r;
    if (sys->random(sys->ctx, &r, sizeof r) < 0) return ns;
    return ns / 2 + (int64_t)r % (ns / 2 + 1);
}

/* The exclusive lock, waiting only for those who look (6). */
static int flock_exclusive(const agt_flock *l) {
    const agt_sys *sys = l->sys;
    int rc = sys->lock(sys->ctx, l->fd, AGT_LOCK_EXCLUSIVE);
    for (int i = 0; i < FLOCK_LOOKS && rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY; i++) {
        if (sys->lock(sys->ctx, l->fd, AGT_LOCK_SHARED) < 0) return rc; /* a holder */
        (void)sys->lock(sys->ctx, l->fd, AGT_LOCK_UNLOCK);
        sys->sleep_ns(sys->ctx, flock_jitter(sys, (int64_t)10000 << i));
        rc = sys->lock(sys->ctx, l->fd, AGT_LOCK_EXCLUSIVE);
    }
    return rc;
}

/* One try. On AGT_BUSY *err is left to the caller. */
static agt_status flock_try(agt_flock *l, agt_error *err) {
    for (int i = 0; i < FLOCK_REOPENS; i++) {
        agt_status status = l->fd == AGT_FD_NONE ? flock_open(l, err) : AGT_OK;
        if (status != AGT_OK) return status;
        int rc = flock_exclusive(l);
        bool busy = rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY;
        if (rc < 0 && !busy)
            return agt__fail_sys(err, rc, "cannot lock %s; the file system must support flock",
                                 l->name);
        /* also when busy: whoever holds a file that was removed holds nothing */
        if (agt__flock_still(l)) {
            l->held = !busy;
            return busy ? AGT_BUSY : AGT_OK;
        }
        agt__flock_close(l);
    }
    return agt__fail(err, AGT_IO, "the lock %s is replaced again and again; find out by whom",
                     l->name);
}

static int64_t flock_left(const agt_sys *sys, int64_t deadline) {
    return deadline - sys->mono_ns(sys->ctx);
}

/* Tries in quick succession (8). */
static agt_status flock_burst(agt_flock *l, int64_t tries, int64_t deadline, agt_error *err) {
    for (int64_t i = 1;; i++) {
        agt_status status = flock_try(l, err);
        if (status != AGT_BUSY || i >= tries) return status;
        int64_t pause = flock_jitter(l->sys, FLOCK_PAUSE);
        if (flock_left(l->sys, deadline) <= pause) return status;
        l->sys->sleep_ns(l->sys->ctx, pause);
    }
}

/* Tries with growing delays until the deadline; AGT_BUSY when it passed. */
static agt_status flock_wait(agt_flock *l, int32_t timeout_ms, agt_error *err) {
    const agt_sys *sys = l->sys;
    int64_t start = sys->mono_ns(sys->ctx), deadline = INT64_MAX, delay = FLOCK_DELAY_MIN;
    if (timeout_ms == 0) timeout_ms = AGT_TIMEOUT_DEFAULT;
    if (timeout_ms > 0) deadline = start + (int64_t)timeout_ms * 1000000;
    for (;;) {
        int64_t left = flock_left(sys, deadline);
        int64_t waited = sys->mono_ns(sys->ctx) - start;
        bool hopeful = waited < FLOCK_HOPE;
        int64_t nap = flock_jitter(sys, hopeful && waited > FLOCK_OLD ? FLOCK_OLD_DELAY : delay);
        if (left <= 0) return AGT_BUSY;
        sys->sleep_ns(sys->ctx, nap < left ? nap : left);
        int64_t tries = hopeful ? FLOCK_BURST + delay / FLOCK_BURST_PER : 1;
        agt_status status = flock_burst(l, tries, deadline, err);
        if (status != AGT_BUSY) return status;
        delay = delay < FLOCK_DELAY_MAX / 2 ? delay * 2 : FLOCK_DELAY_MAX;
    }
}

AGT_PRIVATE agt_status agt__flock_take(agt_flock *l, int32_t timeout_ms, agt_error *err) {
    if (timeout_ms < AGT_FOREVER)
        return agt__fail(err, AGT_INVALID, "a timeout of %ld ms is none", (long)timeout_ms);
    agt_status status = l->held ? AGT_BUSY : flock_try(l, err);
    if (status == AGT_BUSY && timeout_ms != AGT_TRY && !l->held)
        status = flock_wait(l, timeout_ms, err);
    if (status == AGT_BUSY)
        return agt__fail(err, AGT_BUSY, "the lock %s is held by somebody else", l->name);
    return status;
}

AGT_PRIVATE bool agt__flock_still(const agt_flock *l) {
    agt_stat st;
    if (l->fd == AGT_FD_NONE) return false;
    if (l->sys->stat(l->sys->ctx, l->dir, l->name, &st) < 0) return false;
    return st.dev == l->dev && st.ino == l->ino;
}

AGT_PRIVATE void agt__flock_drop(agt_flock *l) {
    if (!l->held) return;
    l->held = false;
    /* should unlocking fail, closing does it */
    if (l->sys->lock(l->sys->ctx, l->fd, AGT_LOCK_UNLOCK) < 0) agt__flock_close(l);
}

AGT_PRIVATE void agt__flock_close(agt_flock *l) {
    if (l->fd != AGT_FD_NONE) l->sys->close(l->sys->ctx, l->fd);
    l->fd = AGT_FD_NONE;
    l->held = false;
}
/* end src/lock/flock.c */
/* begin src/lock/poll_lock.c */
/* poll_lock: who leads, elected by flock on <root>/.agent-trace/locks/poll.lock.
 *
 * Whoever has the lock leads; trying never waits; releasing is letting go; a leader that dies,
 * however it dies, leaves nothing stale. The lock excludes every program that takes flock(2) on the
 * same file, in both directions.
 *
 *   poll.lock        the last leader's process id, decimal, nothing else
 *   poll.lock.info   what else it says of itself, one `key=value` a line, at most 512 bytes:
 *                      pid=4711                 again
 *                      start=123456             the process' start, in the system's own unit
 *                      boot=6f1c...             id of the boot, where the system has one
 *                      host=workbench
 *                      since=1795485285123      Unix time in ms
 *                      program=agent-trace
 *                      token=9f86d081884c7d65…  128 random bits, new for each time of leading
 *                      end=9f86d081884c7d65…    the same: what lies between is of one piece
 *                    It counts only if its pid is that of poll.lock, and end is token. Unknown
 *                    keys are skipped, of a repeated one the first counts.
 *
 * (1) Both files are diagnosis. The kernel's lock decides; bytes never do. Therefore failing to
 *     write them (a full disk) does not fail the lock, and a reader survives any bytes in them.
 * (2) Both are written under the lock only, in place: a reader may see one leader's words, or half
 *     of them, which `end` tells, but never waits for the file system's own journal.
 * (3) In a fork's child a handle only closes: the parent leads on. The leader itself lets go by
 *     unlocking and closing, so that a child that kept the descriptor does not keep the lead.
 * (4) Neither file is ever unlinked. */


#include <stdio.h>

#define POLL_LOCK_NAME "poll.lock"
#define POLL_LOCK_INFO "poll.lock.info"
#define POLL_PID_MAX   64 /* bytes of poll.lock that are looked at */

struct agt_poll_lock {
    agt_mem mem;
    const agt_sys *sys;
    int64_t pid; /* of the process that took it */
    agt_fd locks;
    agt_flock lock;
};

/* ---- what a leader says of itself ---- */

/* Decimal digits only, no more than int64 holds; -1 for everything else. */
static int64_t poll_number(const char *s, size_t n) {
    int64_t v = 0;
    if (n == 0 || n > 18) return -1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v;
}

/* A process id, or 0. Blanks around it are allowed: others read it so. */
static int64_t poll_pid(const char *s, size_t n) {
    while (n && (s[n - 1] == '\n' || s[n - 1] == '\r' || s[n - 1] == ' '))
        n--;
    while (n && *s == ' ')
        s++, n--;
    int64_t v = poll_number(s, n);
    return v > 0 && v <= INT32_MAX ? v : 0;
}

/* Text for people: cut between characters, and what is no UTF-8 or a control becomes '?'. */
static void poll_text(char *out, size_t size, const char *s, size_t n) {
    if (n > size - 1) {
        n = size - 1;
        for (int i = 0; i < 3 && n && ((unsigned char)s[n] & 0xc0u) == 0x80u; i++)
            n--;
    }
    (void)agt__copy_text(out, size, s, n);
    for (size_t i = 0; (i += agt__utf8_valid(out + i, n - i)) < n;)
        out[i++] = '?';
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)out[i];
        bool c1 = c == 0xc2u && (unsigned char)out[i + 1] < 0xa0u; /* U+0080 to U+009F */
        if (c < 0x20u || c == 0x7fu) out[i] = '?';
        if (c1) out[i] = out[i + 1] = '?';
    }
}

AGT_PRIVATE size_t agt__holder_format(const agt_holder *h, char out[AGT_HOLDER_TEXT]) {
    int n = snprintf(out, AGT_HOLDER_TEXT,
                     "pid=%lld\nstart=%llu\nboot=%s\nhost=%s\nsince=%lld\nprogram=%s\ntoken=%s\n"
                     "end=%s\n",
                     (long long)h->pid, (unsigned long long)h->start, h->boot, h->host,
                     (long long)h->since_unix_ms, h->program, h->token, h->token);
    return n > 0 && n < AGT_HOLDER_TEXT ? (size_t)n : 0;
}

/* The value of `key` in the lines, the first one; false if there is none. */
static bool poll_value(const char *s, size_t n, const char *key, agt_text *out) {
    size_t key_len = strlen(key);
    while (n) {
        const char *end = memchr(s, '\n', n);
        size_t len = end ? (size_t)(end - s) : n;
        if (len > key_len && s[key_len] == '=' && memcmp(s, key, key_len) == 0) {
            out->data = s + key_len + 1;
            out->len = len - key_len - 1;
            return true;
        }
        s += len;
        n -= len;
        if (n) s++, n--;
    }
    return false;
}

static void poll_value_text(const char *s, size_t n, const char *key, char *out, size_t size) {
    agt_text v;
    if (poll_value(s, n, key, &v)) poll_text(out, size, v.data, v.len);
}

static int64_t poll_value_number(const char *s, size_t n, const char *key) {
    agt_text v;
    int64_t number = poll_value(s, n, key, &v) ? poll_number(v.data, v.len) : -1;
    return number < 0 ? 0 : number;
}

/* Is the info all of one piece, and about this leader? */
static bool poll_info_fits(const char *s, size_t n, int64_t pid) {
    agt_text token, end;
    return pid > 0 && poll_value_number(s, n, "pid") == pid && poll_value(s, n, "token", &token) &&
           poll_value(s, n, "end", &end) && agt__text_eq(token, end);
}

AGT_PRIVATE void agt__holder_parse(agt_holder *out, const void *pid, size_t pid_len,
                                   const void *info, size_t info_len) {
    memset(out, 0, sizeof *out);
    out->pid = poll_pid(pid, pid_len);
    if (!poll_info_fits(info, info_len, out->pid)) return;
    out->start = (uint64_t)poll_value_number(info, info_len, "start");
    out->since_unix_ms = poll_value_number(info, info_len, "since");
    if (out->since_unix_ms > AGT_TIME_MAX) out->since_unix_ms = 0;
    poll_value_text(info, info_len, "boot", out->boot, sizeof out->boot);
    poll_value_text(info, info_len, "host", out->host, sizeof out->host);
    poll_value_text(info, info_len, "program", out->program, sizeof out->program);
    poll_value_text(info, info_len, "token", out->token, sizeof out->token);
}

/* ---- the folder ---- */

/* Opens <root>/.agent-trace/locks, making both if `make`. */
static agt_status poll_open_locks(const agt_sys *sys, const char *root, bool make, agt_fd *out,
                                  agt_error *err) {
    *out = AGT_FD_NONE;
    char shown[128];
    agt_fd top = sys->open_root(sys->ctx, root);
    if (top < 0)
        return agt__fail_sys(err, top, "cannot open the folder %s",
                             agt__show_path(shown, sizeof shown, root, strlen(root)));
    agt_fd at;
    agt_status status = agt__open_private(sys, top, make, &at, err);
    sys->close(sys->ctx, top);
    if (status != AGT_OK) return status;
    status = agt__open_folder(sys, at, "locks", make, out, err);
    sys->close(sys->ctx, at);
    return status;
}

/* ---- leading ---- */

/* Makes the text the whole content of an open file. Not emptied first without need: file systems
 * take that for a replacement and hurry to write it out. */
static void poll_rewrite(const agt_sys *sys, agt_fd fd, const char *text, size_t n) {
    agt_stat st;
    if (sys->fstat(sys->ctx, fd, &st) < 0 || st.kind != AGT_FILE_REGULAR || st.links > 1) return;
    if (st.size > n && sys->truncate(sys->ctx, fd, 0) < 0) return;
    (void)agt__write_all(sys, fd, text, n, 0);
}

/* Writes who leads into both files. Best effort: the lock holds without (1). */
static void poll_announce(agt_poll_lock *p, const char *program) {
    const agt_sys *sys = p->sys;
    agt_process self;
    agt_holder h;
    unsigned char token[16];
    char text[AGT_HOLDER_TEXT];
    memset(&h, 0, sizeof h);
    h.pid = p->pid;
    h.since_unix_ms = sys->now_unix_ms(sys->ctx);
    if (sys->process(sys->ctx, &self) == 0) {
        h.start = self.start;
        poll_text(h.boot, sizeof h.boot, self.boot, strlen(self.boot));
        poll_text(h.host, sizeof h.host, self.host, strlen(self.host));
        if (!program) program = self.program;
    }
    if (program) poll_text(h.program, sizeof h.program, program, strlen(program));
    if (sys->random(sys->ctx, token, sizeof token) == 0) agt__hex(token, sizeof token, h.token);

    int n = snprintf(text, sizeof text, "%lld", (long long)h.pid);
    poll_rewrite(sys, p->lock.fd, text, (size_t)n);
    uint32_t flags = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    agt_fd info = sys->open(sys->ctx, p->locks, POLL_LOCK_INFO, flags, 0600);
    if (info < 0) return;
    poll_rewrite(sys, info, text, agt__holder_format(&h, text));
    sys->close(sys->ctx, info);
}

AGENT_TRACE_API agt_status agt_poll_lock_acquire(agt_poll_lock **out, const char *root,
                                                 const agt_poll_lock_options *opts,
                                                 agt_error *err) {
    AGENT_TRACE_ASSERT(out && root);
    *out = NULL;
    agt_poll_lock_options o;
    agt_status status = agt__options(&o, sizeof o, opts, "agt_poll_lock_options", err);
    if (status != AGT_OK) return status;
    agt_mem mem = agt__mem(o.allocator);
    agt_poll_lock *p = agt__zalloc(&mem, sizeof *p);
    if (!p) return agt__nomem(err);
    p->mem = mem;
    p->sys = agt__sys_or_os(o.sys);
    p->pid = p->sys->pid(p->sys->ctx);
    status = poll_open_locks(p->sys, root, true, &p->locks, err);
    if (status != AGT_OK) {
        agt__free(&mem, p, sizeof *p);
        return status;
    }
    agt__flock_init(&p->lock, p->sys, p->locks, POLL_LOCK_NAME);
    status = agt__flock_take(&p->lock, o.timeout_ms, err);
    if (status != AGT_OK) {
        agt_poll_lock_release(p);
        return status;
    }
    poll_announce(p, o.program);
    *out = p;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_poll_lock_try(agt_poll_lock **out, const char *root,
                                             agt_error *err) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    o.timeout_ms = AGT_TRY;
    return agt_poll_lock_acquire(out, root, &o, err);
}

AGENT_TRACE_API void agt_poll_lock_release(agt_poll_lock *lock) {
    if (!lock) return;
    const agt_sys *sys = lock->sys;
    if (sys->pid(sys->ctx) == lock->pid) agt__flock_drop(&lock->lock);
    agt__flock_close(&lock->lock);
    sys->close(sys->ctx, lock->locks);
    agt_mem mem = lock->mem;
    agt__free(&mem, lock, sizeof *lock);
}

/* ---- looking ---- */

/* Up to `size` bytes of an open file; what cannot be read counts as empty. */
static size_t poll_look(const agt_sys *sys, agt_fd fd, char *out, size_t size) {
    int64_t n = agt__read_all(sys, fd, out, size, 0);
    return n > 0 ? (size_t)n : 0;
}

/* Is the open lock file held? Tries it shared and lets go at once. */
static agt_status poll_held(const agt_sys *sys, agt_fd fd, uint32_t *held, agt_error *err) {
    agt_stat st;
    int rc = sys->fstat(sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %s", POLL_LOCK_NAME);
    if (st.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file; remove it", POLL_LOCK_NAME);
    rc = sys->lock(sys->ctx, fd, AGT_LOCK_SHARED);
    *held = rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY;
    if (rc < 0 && !*held) return agt__fail_sys(err, rc, "cannot lock %s", POLL_LOCK_NAME);
    if (rc == 0) (void)sys->lock(sys->ctx, fd, AGT_LOCK_UNLOCK);
    return AGT_OK;
}

static agt_status poll_read_holder(const agt_sys *sys, agt_fd locks, agt_lock_holder *out,
                                   agt_error *err) {
    agt_fd fd = sys->open(sys->ctx, locks, POLL_LOCK_NAME, AGT_O_READ, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open %s", POLL_LOCK_NAME);
    char pid[POLL_PID_MAX], info[AGT_HOLDER_TEXT];
    size_t pid_len = 0, info_len = 0;
    agt_status status = poll_held(sys, fd, &out->held, err);
    if (status == AGT_OK) pid_len = poll_look(sys, fd, pid, sizeof pid);
    sys->close(sys->ctx, fd);
    if (status != AGT_OK) return status;

    fd = sys->open(sys->ctx, locks, POLL_LOCK_INFO, AGT_O_READ, 0);
    if (fd >= 0) {
        info_len = poll_look(sys, fd, info, sizeof info);
        sys->close(sys->ctx, fd);
    }
    agt_holder h;
    agt__holder_parse(&h, pid, pid_len, info, info_len);
    out->pid = h.pid;
    out->since_unix_ms = h.since_unix_ms;
    memcpy(out->host, h.host, sizeof out->host);
    memcpy(out->program, h.program, sizeof out->program);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_poll_lock_holder(const char *root, agt_lock_holder *out,
                                                agt_error *err) {
    AGENT_TRACE_ASSERT(root && out);
    const agt_sys *sys = agt_sys_os();
    agt_lock_holder found = AGT_LOCK_HOLDER_INIT;
    if (out->size < offsetof(agt_lock_holder, pid))
        return agt__fail(err, AGT_INVALID, "set up agt_lock_holder with AGT_LOCK_HOLDER_INIT");
    agt_fd locks;
    agt_status status = poll_open_locks(sys, root, false, &locks, err);
    if (status != AGT_OK) return status;
    status = poll_read_holder(sys, locks, &found, err);
    sys->close(sys->ctx, locks);
    if (status != AGT_OK) return status;
    found.size = out->size;
    memcpy(out, &found, found.size < sizeof found ? found.size : sizeof found);
    return AGT_OK;
}
/* end src/lock/poll_lock.c */
/* begin src/log/event.c */
/* event: the line of the trace.
 *
 *   {"timestamp":"...","session_id":null,"agent_name":"kestrel","actor":"agent:kestrel",
 *    "action":"modify","change_kind":"modify","path":"a.md","doc_type":"plan","summary":"...",
 *    "source":"cli","detected_by":"cli","lines_added":1,"lines_removed":0,"seq":17,
 *    "replica":"...","version":3,"blob":"...","doc":"...","doc_prev":12,"prev":"..."}
 *
 * then, where they are needed, "recorded_at", "rejected", "from", "grant" and "until". No white
 * space, one newline.
 *
 * (1) The same event gives the same bytes: hashes and commit messages depend on it.
 * (2) Reading tries the canonical order first, field by field; the first surprise sends the line
 *     through the general reader. Both take the same texts for the same values, and only the
 *     general reader refuses.
 * (3) A line has one newline, its last byte.
 * (4) Unescaped texts lie in `scratch`, in which room for the whole line is made before the first
 *     one: it never moves under an event. */
/* begin src/log/event.h */
/* event: one event <-> one line of the trace. The line's bytes are canonical: FORMAT.md gives the
 * order of the fields. */
#ifndef AGT_EVENT_PART_H
#define AGT_EVENT_PART_H


/* Appends the line for `e`, newline included, to `out`. Field order: timestamp session_id
 * agent_name actor action change_kind path doc_type summary source detected_by lines_added
 * lines_removed seq replica version blob doc doc_prev prev, then recorded_at only where it differs
 * from the timestamp, then rejected, from, grant and until only where there is one. Absent texts
 * are null (data NULL); version and doc_prev 0 are 0. e->line is ignored. AGT_LIMIT if the line is
 * longer than AGT_MAX_EVENT, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__event_format(agt_buf *out, const agt_event *e, agt_error *err);

/* Reads a line (n bytes, newline included). Known fields in any order; unknown ones are skipped.
 * Texts point into the line where they have no escapes, else into `scratch`, which is emptied
 * first. e->line is the line. AGT_CORRUPT with the byte offset if it is no valid event: seq,
 * timestamp, actor, action and prev are required. Expects the canonical order first (fast), and
 * falls back. */
AGT_PRIVATE agt_status agt__event_parse(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                        agt_error *err);

/* Only the seq, without checking the rest: for searching. false if there is none. */
AGT_PRIVATE bool agt__event_seq(const char *line, size_t n, uint64_t *seq);

#endif /* AGT_EVENT_PART_H */
/* end src/log/event.h */

typedef enum event_kind { EVENT_TIME, EVENT_TEXT, EVENT_INT, EVENT_SEQ, EVENT_U32 } event_kind;

#define EVENT_KEY_ROOM 20 /* copied whole, whatever the key's length: no call for a few bytes */
#define EVENT_NAME_MAX 13
#define EVENT_PREV     64

typedef struct event_field {
    char key[EVENT_KEY_ROOM]; /* as it stands in the line, with what separates it from before */
    unsigned char key_len, name_len, kind;
    bool optional;
    size_t at; /* in agt_event */
} event_field;

#define EVENT_FIELD(first, name, kind, optional, member)                                           \
    {                                                                                              \
        first "\"" name "\":", (unsigned char)(sizeof name + 3), (unsigned char)(sizeof name - 1), \
            kind, optional, offsetof(agt_event, member)                                            \
    }

static const event_field event_fields[] = {
    EVENT_FIELD("{", "timestamp", EVENT_TIME, false, at_unix_ms),
    EVENT_FIELD(",", "session_id", EVENT_TEXT, false, session_id),
    EVENT_FIELD(",", "agent_name", EVENT_TEXT, false, agent_name),
    EVENT_FIELD(",", "actor", EVENT_TEXT, false, actor),
    EVENT_FIELD(",", "action", EVENT_TEXT, false, action),
    EVENT_FIELD(",", "change_kind", EVENT_TEXT, false, change_kind),
    EVENT_FIELD(",", "path", EVENT_TEXT, false, path),
    EVENT_FIELD(",", "doc_type", EVENT_TEXT, false, doc_type),
    EVENT_FIELD(",", "summary", EVENT_TEXT, false, summary),
    EVENT_FIELD(",", "source", EVENT_TEXT, false, source),
    EVENT_FIELD(",", "detected_by", EVENT_TEXT, false, detected_by),
    EVENT_FIELD(",", "lines_added", EVENT_INT, false, lines_added),
    EVENT_FIELD(",", "lines_removed", EVENT_INT, false, lines_removed),
    EVENT_FIELD(",", "seq", EVENT_SEQ, false, seq),
    EVENT_FIELD(",", "replica", EVENT_TEXT, false, replica),
    EVENT_FIELD(",", "version", EVENT_U32, false, version),
    EVENT_FIELD(",", "blob", EVENT_TEXT, false, blob),
    EVENT_FIELD(",", "doc", EVENT_TEXT, false, doc),
    EVENT_FIELD(",", "doc_prev", EVENT_SEQ, false, doc_prev),
    EVENT_FIELD(",", "prev", EVENT_TEXT, false, prev),
    EVENT_FIELD(",", "recorded_at", EVENT_TIME, true, recorded_unix_ms),
    EVENT_FIELD(",", "rejected", EVENT_TEXT, true, rejected),
    EVENT_FIELD(",", "from", EVENT_TEXT, true, from),
    EVENT_FIELD(",", "grant", EVENT_TEXT, true, grant),
    EVENT_FIELD(",", "until", EVENT_TIME, true, until_unix_ms),
};
enum { EVENT_SEQ_FIELD = 13, EVENT_RECORDED_FIELD = 20 };

/* The most a field takes without its text: key, number or time, quotes, "null". */
#define EVENT_FIELD_ROOM (EVENT_KEY_ROOM + AGT_TIME_TEXT + 2)
#define EVENT_ROOM       (AGT_COUNT(event_fields) * EVENT_FIELD_ROOM + 2)

/* The number of leading bytes that stand in a string as they are, ASCII only. */
static size_t event_plain(const char *s, size_t n) {
    const uint64_t ones = UINT64_MAX / 255, high = ones * 0x80;
    size_t at = 0;
    for (uint64_t w, quote, slash; n - at >= 8; at += 8) {
        memcpy(&w, s + at, 8);
        quote = w ^ ones * '"';
        slash = w ^ ones * '\\';
        if ((w | ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) &
            high)
            break;
    }
    for (; at < n; at++) {
        unsigned char c = (unsigned char)s[at];
        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
    }
    return at;
}

/* ---- writing ---- */

static unsigned char *event_put_u64(unsigned char *p, uint64_t v) {
    unsigned char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (unsigned char)('0' + v % 10);
        v /= 10;
    } while (v);
    memcpy(p, digits + at, sizeof digits - at);
    return p + (sizeof digits - at);
}

static unsigned char *event_put_int(unsigned char *p, int64_t v) {
    if (v < 0) *p++ = '-';
    return event_put_u64(p, v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v);
}

static unsigned char *event_put_time(unsigned char *p, int64_t unix_ms) {
    char time[AGT_TIME_TEXT];
    agt__time_format(unix_ms, time);
    *p++ = '"';
    memcpy(p, time, AGT_TIME_TEXT - 1);
    p[AGT_TIME_TEXT - 1] = '"';
    return p + AGT_TIME_TEXT;
}

/* Writes a text at the end of `out`, in which there is room for all its bytes and the fields behind
 * it. Escapes need more room: `room` is what must be left for the others. */
static void event_put_text(agt_buf *out, const agt_text *t, size_t room) {
    unsigned char *p = out->data + out->len;
    if (!t->data) {
        memcpy(p, "null", 4);
        out->len += 4;
        return;
    }
    if (event_plain(t->data, t->len) < t->len) {
        agt__json_put_string(out, t->data, t->len);
        (void)agt__buf_reserve(out, room);
        return;
    }
    p[0] = '"';
    if (t->len) memcpy(p + 1, t->data, t->len);
    p[t->len + 1] = '"';
    out->len += t->len + 2;
}

static void event_put_value(agt_buf *out, const event_field *f, const agt_event *e, size_t room) {
    const void *v = (const unsigned char *)e + f->at;
    unsigned char *p = out->data + out->len, *end = p;
    int64_t i;
    uint64_t u;
    uint32_t u32;
    switch ((event_kind)f->kind) {
    case EVENT_TIME: memcpy(&i, v, sizeof i), end = event_put_time(p, i); break;
    case EVENT_INT: memcpy(&i, v, sizeof i), end = event_put_int(p, i); break;
    case EVENT_SEQ: memcpy(&u, v, sizeof u), end = event_put_u64(p, u); break;
    case EVENT_U32: memcpy(&u32, v, sizeof u32), end = event_put_u64(p, u32); break;
    case EVENT_TEXT: event_put_text(out, v, room); return;
    }
    out->len += (size_t)(end - p);
}

static int64_t event_clamp(int64_t unix_ms) {
    return unix_ms < 0 ? 0 : unix_ms > AGT_TIME_MAX ? AGT_TIME_MAX : unix_ms;
}

static bool event_wants(size_t field, const agt_event *e) {
    const event_field *f = &event_fields[field];
    agt_text t;
    int64_t time;
    if (!f->optional) return true;
    const void *v = (const unsigned char *)e + f->at;
    if (f->kind == EVENT_TEXT) return memcpy(&t, v, sizeof t), t.data != NULL;
    memcpy(&time, v, sizeof time);
    int64_t absent = field == EVENT_RECORDED_FIELD ? e->at_unix_ms : 0;
    return event_clamp(time) != event_clamp(absent);
}

/* The bytes of all texts; more than AGT_MAX_EVENT if one is longer than that. */
static size_t event_texts(const agt_event *e) {
    size_t sum = 0;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const void *v = (const unsigned char *)e + event_fields[i].at;
        const agt_text *t = v;
        if (event_fields[i].kind != EVENT_TEXT || !t->data) continue;
        if (t->len > AGT_MAX_EVENT) return t->len;
        sum += t->len;
    }
    return sum;
}

static agt_status event_too_long(agt_error *err) {
    return agt__fail(err, AGT_LIMIT,
                     "the event's line would have more than the %d bytes that are allowed; "
                     "shorten its texts",
                     AGT_MAX_EVENT);
}

AGT_PRIVATE agt_status agt__event_format(agt_buf *out, const agt_event *e, agt_error *err) {
    size_t start = out->len, texts = event_texts(e), room = texts + EVENT_ROOM;
    if (texts > AGT_MAX_EVENT) return event_too_long(err);
    if (!agt__buf_reserve(out, room)) return agt__nomem(err);
    for (size_t i = 0; i < AGT_COUNT(event_fields) && !out->failed; i++) {
        const event_field *f = &event_fields[i];
        if (!event_wants(i, e)) continue;
        memcpy(out->data + out->len, f->key, EVENT_KEY_ROOM);
        out->len += f->key_len;
        event_put_value(out, f, e, room);
    }
    agt__buf_put(out, "}\n", 2);
    size_t n = out->len - start;
    if (!out->failed && n <= AGT_MAX_EVENT) return AGT_OK;
    out->len = start;
    return out->failed ? agt__nomem(err) : event_too_long(err);
}

/* ---- reading ---- */

static agt_status event_bad(agt_error *err, size_t at, const char *why) {
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)at, "not a valid event: %s", why);
}

/* (4) `whole` is the length of the line. False if the value is no text or there is no memory. */
static bool event_set_text(void *p, const agt_json *v, agt_buf *scratch, size_t whole) {
    agt_text t = {v->raw + 1, v->len - 2};
    if (v->kind == AGT_JSON_NULL) return true;
    if (v->kind != AGT_JSON_STRING) return false;
    if (v->escaped) {
        if (!agt__buf_reserve(scratch, whole - scratch->len)) return false;
        t.data = (const char *)scratch->data + scratch->len;
        t.len = agt__json_unescape(v, (char *)scratch->data + scratch->len);
        scratch->len += t.len;
    }
    memcpy(p, &t, sizeof t);
    return true;
}

static bool event_set(agt_event *e, const event_field *f, const agt_json *v, agt_buf *scratch,
                      size_t whole) {
    void *p = (unsigned char *)e + f->at;
    int64_t i;
    uint64_t u;
    uint32_t u32;
    switch ((event_kind)f->kind) {
    case EVENT_TEXT: return event_set_text(p, v, scratch, whole);
    case EVENT_TIME:
        if (v->kind != AGT_JSON_STRING || !agt__time_parse(v->raw + 1, v->len - 2, &i))
            return false;
        memcpy(p, &i, sizeof i);
        return true;
    case EVENT_INT:
        if (!agt__json_i64(v, &i)) return false;
        memcpy(p, &i, sizeof i);
        return true;
    case EVENT_SEQ:
        if (!agt__json_u64(v, &u)) return false;
        memcpy(p, &u, sizeof u);
        return true;
    case EVENT_U32:
        if (!agt__json_u64(v, &u) || u > UINT32_MAX) return false;
        u32 = (uint32_t)u;
        memcpy(p, &u32, sizeof u32);
        return true;
    }
    return false;
}

static const event_field *event_field_named(const agt_json *key) {
    char plain[EVENT_NAME_MAX * 6];
    const char *name = key->raw + 1;
    size_t n = key->len - 2;
    if (n > sizeof plain) return NULL;
    if (key->escaped) {
        n = agt__json_unescape(key, plain);
        name = plain;
    }
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++)
        if (n == event_fields[i].name_len && memcmp(name, event_fields[i].key + 2, n) == 0)
            return &event_fields[i];
    return NULL;
}

static agt_status event_complete(agt_event *e, uint32_t seen, agt_error *err) {
    unsigned char prev[EVENT_PREV / 2];
    if (!(seen & 1u)) return event_bad(err, 0, "it has no timestamp");
    if (!e->seq) return event_bad(err, 0, "it has no seq");
    if (!e->actor.data || !e->action.data) return event_bad(err, 0, "it has no actor or action");
    if (!e->prev.data || !agt__unhex(e->prev.data, e->prev.len, prev, sizeof prev))
        return event_bad(err, 0, "it has no prev of 64 hexadecimal digits");
    if (!(seen & 1u << EVENT_RECORDED_FIELD)) e->recorded_unix_ms = e->at_unix_ms;
    return AGT_OK;
}

static agt_status event_parse_any(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                  agt_error *err) {
    agt_json root, key, value;
    size_t at = 0;
    uint32_t seen = 0;
    agt_error inner;
    memset(&inner, 0, sizeof inner);
    const char *newline = memchr(line, '\n', n);
    if (newline != line + n - 1) /* (3) */
        return event_bad(err, (size_t)(newline - line), "a newline stands inside");
    if (agt__json_parse(line, n, &root, err ? &inner : NULL) != AGT_OK)
        return agt__fail_at(err, AGT_CORRUPT, inner.offset, "not a valid event: %.300s",
                            inner.message);
    if (root.kind != AGT_JSON_OBJECT) return event_bad(err, 0, "it is no object");
    while (agt__json_next(&root, &at, &key, &value)) {
        const event_field *f = event_field_named(&key);
        size_t where = (size_t)(value.raw - line);
        if (!f) continue;
        uint32_t bit = 1u << (uint32_t)(f - event_fields);
        if (seen & bit) return event_bad(err, where, "a field stands twice");
        if (!event_set(e, f, &value, scratch, n))
            return scratch->failed ? agt__nomem(err) : event_bad(err, where, "a field is mistyped");
        seen |= bit;
    }
    return event_complete(e, seen, err);
}

/* The string that begins at `p`; false if it is none. What is escaped is judged by the general
 * reader. */
static bool event_string(const char *p, const char *end, agt_json *v) {
    agt_json again;
    const char *q = p + 1;
    v->escaped = false;
    for (;;) {
        q += event_plain(q, (size_t)(end - q));
        if (q == end) return false;
        if (*q == '"') break;
        size_t step = *q == '\\' ? 2 : agt__utf8_char(q, (size_t)(end - q));
        v->escaped |= *q == '\\';
        if ((unsigned char)*q < 0x20 || !step || step > (size_t)(end - q)) return false;
        q += step;
    }
    v->kind = AGT_JSON_STRING;
    v->len = (size_t)(q - p) + 1;
    return !v->escaped || agt__json_parse(p, v->len, &again, NULL) == AGT_OK;
}

/* The value at `p` of a canonical line: a string, null, or an integer. */
static bool event_value(const char *p, const char *end, agt_json *v) {
    const char *q = p;
    v->raw = p;
    v->escaped = false;
    if (p == end) return false;
    if (*p == '"') return event_string(p, end, v);
    if (*p == 'n') {
        v->kind = AGT_JSON_NULL;
        v->len = 4;
        return end - p >= 4 && memcmp(p, "null", 4) == 0;
    }
    q += *p == '-';
    const char *digits = q;
    while (q < end && *q >= '0' && *q <= '9')
        q++;
    v->kind = AGT_JSON_NUMBER;
    v->len = (size_t)(q - p);
    return q > digits && (*digits != '0' || q == digits + 1);
}

/* (2) False: not canonical, or the general reader has something to say about it. */
static bool event_parse_canonical(const char *line, size_t n, agt_buf *scratch, agt_event *e) {
    const char *p = line, *end = line + n;
    uint32_t seen = 0;
    agt_json v;
    for (size_t i = 0; i < AGT_COUNT(event_fields); i++) {
        const event_field *f = &event_fields[i];
        bool here = (size_t)(end - p) > f->key_len && memcmp(p, f->key, f->key_len) == 0;
        if (!here && f->optional) continue;
        if (!here) return false;
        p += f->key_len;
        if (!event_value(p, end, &v) || !event_set(e, f, &v, scratch, n)) return false;
        p += v.len;
        seen |= 1u << i;
    }
    if (end - p != 2 || memcmp(p, "}\n", 2) != 0) return false;
    return event_complete(e, seen, NULL) == AGT_OK;
}

AGT_PRIVATE agt_status agt__event_parse(const char *line, size_t n, agt_buf *scratch, agt_event *e,
                                        agt_error *err) {
    static const agt_event blank = AGT_EVENT_INIT;
    agt_status st = AGT_OK;
    *e = blank;
    scratch->len = 0;
    if (n > AGT_MAX_EVENT) return event_bad(err, AGT_MAX_EVENT, "it is too long");
    if (!n || line[n - 1] != '\n') return event_bad(err, n, "it has no newline");
    if (!event_parse_canonical(line, n, scratch, e)) {
        *e = blank;
        scratch->len = 0;
        st = event_parse_any(line, n, scratch, e, err);
    }
    scratch->failed = false;
    if (st == AGT_OK)
        e->line = (agt_text){line, n};
    else
        *e = blank;
    return st;
}

/* ---- the seq alone ---- */

static bool event_seq_any(const char *line, size_t n, uint64_t *seq) {
    agt_json root, value;
    return agt__json_parse(line, n, &root, NULL) == AGT_OK && root.kind == AGT_JSON_OBJECT &&
           agt__json_get(&root, "seq", &value) && agt__json_u64(&value, seq) && *seq > 0;
}

/* In JSON `,"seq":` is always a key, never a part of a string; and a key of the event itself if no
 * other object was opened before it. A brace in a text is taken for one: that only costs time. */
AGT_PRIVATE bool agt__event_seq(const char *line, size_t n, uint64_t *seq) {
    const event_field *f = &event_fields[EVENT_SEQ_FIELD];
    const char *end = line + n, *p = line;
    agt_json v;
    if (!n || *line != '{') return event_seq_any(line, n, seq);
    while ((p = memchr(p, ',', (size_t)(end - p))) && (size_t)(end - p) > f->key_len) {
        if (memcmp(p, f->key, f->key_len) != 0) {
            p++;
            continue;
        }
        if (memchr(line + 1, '{', (size_t)(p - line - 1)) || !event_value(p + f->key_len, end, &v))
            break;
        p += f->key_len + v.len;
        if (p == end || (*p != ',' && *p != '}')) break;
        return agt__json_u64(&v, seq) && *seq > 0;
    }
    return event_seq_any(line, n, seq);
}
/* end src/log/event.c */
/* begin src/log/trace.c */
/* trace: segments and writing to them. See trace.h.
 *
 *     trace/000000000001.jsonl        lines of seq 1 to 4710
 *     trace/000000004711.jsonl        and so on: the last one grows
 *     trace/000000004711.jsonl.torn   what recovery cut off it
 *
 * (1) Lines go to the offset their journal record names: writing them again changes nothing.
 * (2) Only recovery cuts, behind what the journal acknowledges, and keeps what it cuts.
 * (3) A segment without an acknowledged line may be removed by anybody's recovery. A writer that
 *     made one and did not get to write to it opens it by its name again. */
/* begin src/log/trace.h */
/* trace: the event log, append-only JSON Lines in segments trace/<first seq, 12 digits>.jsonl.
 *
 * Writers hold the store lock and write each line at the offset its journal record names; a redo
 * writes the same bytes. Readers take no lock: they read to the last newline. Segments are never
 * rewritten, and never cut below an acknowledged event. */
#ifndef AGT_TRACE_PART_H
#define AGT_TRACE_PART_H


#define AGT_SEGMENT_NAME 32
#define AGT_SEGMENT_MAX  (64u * 1024 * 1024) /* a segment is closed once it is that long */

/* No segment of ours gets that long: it grows by less than a journal behind AGT_SEGMENT_MAX. What
 * tells of a later byte is no record of ours; believed, it would make a hole of any size. */
#define AGT_SEGMENT_LONGEST (2u * AGT_SEGMENT_MAX)

/* Where the trace ends: the next line goes to byte `offset` of the segment that begins with seq
 * `segment`, and its `prev` is `prev` (32 zero bytes at the very beginning). */
typedef struct agt_trace_end {
    uint64_t segment, offset;
    unsigned char prev[32];
} agt_trace_end;

AGT_PRIVATE void agt__segment_name(uint64_t first_seq, char out[AGT_SEGMENT_NAME]);
AGT_PRIVATE bool agt__segment_parse(const char *name, uint64_t *first_seq);

/* The first seqs of all segments, ascending. Zero-initialise, set mem. */
typedef struct agt_segments {
    const agt_mem *mem;
    uint64_t *v;
    size_t count, cap;
} agt_segments;

/* Lists the folder anew, foreign names left out; AGT_FD_NONE is a folder without segments. On
 * failure the list is empty. */
AGT_PRIVATE agt_status agt__segments_list(agt_segments *all, const agt_sys *sys, agt_fd dir,
                                          agt_error *err);
AGT_PRIVATE void agt__segments_free(agt_segments *all);

/* ---- writing ---- */

typedef struct agt_trace_writer {
    const agt_sys *sys;
    agt_fd dir; /* borrowed: the trace folder */
    agt_fd fd;  /* of the open segment, or AGT_FD_NONE */
    uint64_t segment, reserved_end;
    bool sure; /* fd is the file others see: bytes lie in it that recovery never cuts */
} agt_trace_writer;

AGT_PRIVATE void agt__trace_writer_init(agt_trace_writer *w, const agt_sys *sys, agt_fd dir);
AGT_PRIVATE void agt__trace_writer_close(agt_trace_writer *w);
/* Makes sure n more bytes at `offset` of the segment will fit (reserve; NOSYS is fine), making the
 * segment's file if there is none. */
AGT_PRIVATE agt_status agt__trace_reserve(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                          size_t n, agt_error *err);
/* Writes n bytes (whole lines) at their place. */
AGT_PRIVATE agt_status agt__trace_put(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                      const void *lines, size_t n, agt_error *err);
/* Cuts the segment behind `offset` (recovery only: nothing acknowledged lies there) and deletes
 * later segments; cut bytes that are not all NUL are kept, all of them, as <segment>.torn.
 * AGT_CORRUPT if far more than a segment's length would have to go: then nothing does. */
AGT_PRIVATE agt_status agt__trace_cut(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                      uint64_t offset, agt_error *err);

/* ---- reading ---- */

/* A reader over all segments. Zero-copy within its window. */
typedef struct agt_trace_reader agt_trace_reader;

AGT_PRIVATE agt_status agt__trace_reader_open(agt_trace_reader **out, const agt_sys *sys,
                                              agt_fd dir, const agt_mem *mem, agt_error *err);
AGT_PRIVATE void agt__trace_reader_close(agt_trace_reader *r);
/* Places the reader so that the next line forward is the first with seq >= `seq` (binary search in
 * the right segment). */
AGT_PRIVATE agt_status agt__trace_seek(agt_trace_reader *r, uint64_t seq, agt_error *err);
AGT_PRIVATE agt_status agt__trace_seek_end(agt_trace_reader *r, agt_error *err);
/* The next whole line forward (or backward), newline included; it lives until the next call.
 * AGT_END at the end; forward, later lines are seen by calling again. Notices new segments. A line
 * is handed out whether it parses or not; of one longer than AGT_MAX_EVENT only the first
 * AGT_MAX_EVENT + 1 bytes are, which no parser takes. */
AGT_PRIVATE agt_status agt__trace_line(agt_trace_reader *r, agt_text *line, agt_error *err);
AGT_PRIVATE agt_status agt__trace_line_back(agt_trace_reader *r, agt_text *line, agt_error *err);
/* The line of exactly that seq. AGT_NOT_FOUND if the trace ends before it; AGT_CORRUPT if it is
 * missing although later ones are there. */
AGT_PRIVATE agt_status agt__trace_find(agt_trace_reader *r, uint64_t seq, agt_text *line,
                                       agt_error *err);
/* Where the line handed out last stands: its segment's first seq and its byte offset there. */
AGT_PRIVATE void agt__trace_where(const agt_trace_reader *r, uint64_t *segment, uint64_t *offset);

/* ---- checking and repairing a trace without its journal (R3 to R6) ---- */

typedef struct agt_trace_report {
    uint64_t lines, last_seq; /* valid events; the greatest seq among them */
    agt_trace_end end;        /* where the next line goes */
    uint64_t torn_bytes;      /* an unterminated, NUL or incomplete tail */
    uint64_t damaged_lines;   /* newline-terminated lines that do not parse or chain, and tails of
                               * segments that others follow */
    uint64_t first_bad_segment, first_bad_offset; /* of the first damaged line */
    bool salvageable; /* the tail is a whole valid event that only lacks its newline */
} agt_trace_report;

/* Reads everything, checks parse, seq without gaps from 1 on, and the prev chain. Damage is
 * counted, not an error; AGT_IO and AGT_NOMEM are. Where a whole event that chains stands behind a
 * stump on one damaged line, it counts among `lines` too. */
AGT_PRIVATE agt_status agt__trace_check(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_cpu cpu, agt_trace_report *out, agt_error *err);
/* Mends the tail: a whole valid event gets its newline; anything else there is copied to
 * <segment>.torn (synced) and cut off, and so are segments behind it without a whole line.
 * Idempotent; lines ended by a newline are never touched. In `out` torn_bytes and salvageable say
 * what was found, the rest how the trace is now. */
AGT_PRIVATE agt_status agt__trace_repair(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         agt_cpu cpu, agt_trace_report *out, agt_error *err);

#endif /* AGT_TRACE_PART_H */
/* end src/log/trace.h */

#include <stdlib.h>

#define TRACE_RESERVE (1024u * 1024)
#define TRACE_CHUNK   (64u * 1024) /* all the memory that keeping a tail takes */

AGT_PRIVATE void agt__segment_name(uint64_t first_seq, char out[AGT_SEGMENT_NAME]) {
    char digits[20];
    size_t n = 0, at = 0;
    do
        digits[n++] = (char)('0' + first_seq % 10);
    while ((first_seq /= 10) != 0);
    for (size_t i = n; i < 12; i++)
        out[at++] = '0';
    while (n)
        out[at++] = digits[--n];
    memcpy(out + at, ".jsonl", 7);
}

AGT_PRIVATE bool agt__segment_parse(const char *name, uint64_t *first_seq) {
    char again[AGT_SEGMENT_NAME];
    uint64_t v = 0;
    const char *p = name;
    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    if (!v) return false;
    agt__segment_name(v, again);
    *first_seq = v;
    return strcmp(name, again) == 0;
}

typedef struct trace_listing {
    agt_segments *all;
    bool failed;
} trace_listing;

static int trace_list_one(void *ctx, const char *name) {
    trace_listing *l = ctx;
    agt_segments *all = l->all;
    uint64_t first;
    if (!agt__segment_parse(name, &first)) return 0;
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 16;
        uint64_t *v = agt__realloc(all->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        l->failed = !v;
        if (!v) return 1;
        all->v = v;
        all->cap = cap;
    }
    all->v[all->count++] = first;
    return 0;
}

static int trace_by_seq(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

AGT_PRIVATE agt_status agt__segments_list(agt_segments *all, const agt_sys *sys, agt_fd dir,
                                          agt_error *err) {
    trace_listing l = {all, false};
    all->count = 0;
    if (dir == AGT_FD_NONE) return AGT_OK;
    int rc = sys->list(sys->ctx, dir, trace_list_one, &l);
    if (rc != 0) all->count = 0;
    if (l.failed) return agt__nomem(err);
    if (rc != 0) return agt__fail_io(err, rc, "cannot list .agent-trace/trace");
    if (all->count) qsort(all->v, all->count, sizeof *all->v, trace_by_seq);
    return AGT_OK;
}

AGT_PRIVATE void agt__segments_free(agt_segments *all) {
    agt__free(all->mem, all->v, all->cap * sizeof *all->v);
    all->v = NULL;
    all->count = all->cap = 0;
}

/* ---- writing ---- */

AGT_PRIVATE void agt__trace_writer_init(agt_trace_writer *w, const agt_sys *sys, agt_fd dir) {
    memset(w, 0, sizeof *w);
    w->sys = sys;
    w->dir = dir;
    w->fd = AGT_FD_NONE;
}

AGT_PRIVATE void agt__trace_writer_close(agt_trace_writer *w) {
    if (w->fd != AGT_FD_NONE) w->sys->close(w->sys->ctx, w->fd);
    w->fd = AGT_FD_NONE;
    w->segment = w->reserved_end = 0;
    w->sure = false;
}

static agt_status trace_open_segment(agt_trace_writer *w, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    if (w->fd != AGT_FD_NONE && w->segment == segment) return AGT_OK;
    agt__trace_writer_close(w);
    agt__segment_name(segment, name);
    agt_fd fd =
        w->sys->open(w->sys->ctx, w->dir, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (fd < 0) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
    w->fd = fd;
    w->segment = segment;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_reserve(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                          size_t n, agt_error *err) {
    if (!w->sure) agt__trace_writer_close(w); /* (3) */
    agt_status st = trace_open_segment(w, segment, err);
    if (st != AGT_OK) return st;
    w->sure = offset > 0;
    if (offset + n <= w->reserved_end) return AGT_OK;
    uint64_t more = TRACE_RESERVE;
    int rc = w->sys->reserve(w->sys->ctx, w->fd, offset, n + more);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSPC) { /* then just what is needed */
        more = 0;
        rc = w->sys->reserve(w->sys->ctx, w->fd, offset, n);
    }
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS)
        return agt__fail_io(err, rc, "cannot make room in the trace");
    w->reserved_end = offset + n + more;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_put(agt_trace_writer *w, uint64_t segment, uint64_t offset,
                                      const void *lines, size_t n, agt_error *err) {
    agt_status st = n ? trace_open_segment(w, segment, err) : AGT_OK;
    if (st != AGT_OK || !n) return st;
    int rc = agt__write_all(w->sys, w->fd, lines, n, offset);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write to the trace");
    w->sure = true;
    return AGT_OK;
}

/* ---- cutting ---- */

/* The bytes of a segment that are to go, and where they are kept. */
typedef struct trace_tail {
    const agt_sys *sys;
    agt_fd dir, fd;
    uint64_t offset, n;
    unsigned char *chunk;
    char name[AGT_SEGMENT_NAME], torn[AGT_SEGMENT_NAME + 8], tmp[AGT_SEGMENT_NAME + 12];
} trace_tail;

static agt_status trace_tail_failed(const trace_tail *t, int64_t rc, agt_error *err) {
    return agt__fail_io(err, rc, "cannot keep what is cut off .agent-trace/trace/%s", t->name);
}

/* Reads the chunk that begins `at` bytes into the tail; *zero: it has nothing but NULs. */
static int64_t trace_tail_read(trace_tail *t, uint64_t at, bool *zero) {
    size_t n = t->n - at < TRACE_CHUNK ? (size_t)(t->n - at) : TRACE_CHUNK;
    int64_t got = agt__read_all(t->sys, t->fd, t->chunk, n, t->offset + at);
    *zero = got <= 0 || (t->chunk[0] == 0 && memcmp(t->chunk, t->chunk + 1, (size_t)got - 1) == 0);
    return got;
}

static agt_status trace_tail_zero(trace_tail *t, bool *zero, agt_error *err) {
    *zero = true;
    for (uint64_t at = 0; at < t->n && *zero;) {
        int64_t got = trace_tail_read(t, at, zero);
        if (got < 0) return trace_tail_failed(t, got, err);
        if (got == 0) break;
        at += (uint64_t)got;
    }
    return AGT_OK;
}

/* Writes the tail to the open file; where it has only NULs a hole will do. */
static int trace_tail_write(trace_tail *t, agt_fd to) {
    bool zero;
    int rc = t->sys->truncate(t->sys->ctx, to, t->n);
    for (uint64_t at = 0; at < t->n && rc == 0;) {
        int64_t got = trace_tail_read(t, at, &zero);
        if (got < 0) return (int)got;
        if (got == 0) break;
        if (!zero) rc = agt__write_all(t->sys, to, t->chunk, (size_t)got, at);
        at += (uint64_t)got;
    }
    return rc == 0 ? t->sys->sync(t->sys->ctx, to) : rc;
}

/* Copies the tail to <name>.torn: whole or not at all, also when the power goes off. */
static agt_status trace_tail_copy(trace_tail *t, agt_error *err) {
    const agt_sys *sys = t->sys;
    int rc = sys->remove(sys->ctx, t->dir, t->tmp); /* of a copy that did not end */
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return trace_tail_failed(t, rc, err);
    agt_fd to = sys->open(sys->ctx, t->dir, t->tmp, AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL, 0600);
    if (to < 0) return trace_tail_failed(t, to, err);
    rc = trace_tail_write(t, to);
    sys->close(sys->ctx, to);
    if (rc == 0) rc = sys->rename(sys->ctx, t->dir, t->tmp, t->dir, t->torn, AGT_RENAME_REPLACE);
    if (rc < 0) (void)sys->remove(sys->ctx, t->dir, t->tmp);
    if (rc == 0) rc = sys->sync(sys->ctx, t->dir);
    return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
}

/* Takes the whole segment away: to <name>.torn as it is, or for good if it has only NULs. */
static agt_status trace_tail_move(trace_tail *t, bool zero, agt_error *err) {
    const agt_sys *sys = t->sys;
    if (zero) {
        int rc = sys->remove(sys->ctx, t->dir, t->name);
        return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
    }
    int rc = sys->sync(sys->ctx, t->fd);
    if (rc == 0) rc = sys->rename(sys->ctx, t->dir, t->name, t->dir, t->torn, AGT_RENAME_REPLACE);
    if (rc == 0) rc = sys->sync(sys->ctx, t->dir);
    return rc < 0 ? trace_tail_failed(t, rc, err) : AGT_OK;
}

static agt_status trace_tail_cut(trace_tail *t, bool zero, agt_error *err) {
    agt_status st = zero ? AGT_OK : trace_tail_copy(t, err);
    if (st != AGT_OK) return st;
    int rc = t->sys->truncate(t->sys->ctx, t->fd, t->offset);
    return rc < 0 ? agt__fail_io(err, rc, "cannot cut .agent-trace/trace/%s", t->name) : AGT_OK;
}

/* The open segment loses what it has from t->offset on, or as a whole (`remove`). One far longer
 * than any of ours is moved unread, and nothing is cut off it: copying might never end. */
static agt_status trace_tail_go(trace_tail *t, const agt_mem *mem, bool remove, agt_error *err) {
    bool zero = false, vast;
    agt_stat now;
    int rc = t->sys->fstat(t->sys->ctx, t->fd, &now);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", t->name);
    if (!remove && now.size <= t->offset) return AGT_OK;
    t->n = now.size - t->offset;
    vast = t->n > AGT_SEGMENT_LONGEST;
    if (vast && !remove)
        return agt__fail_at(err, AGT_CORRUPT, (int64_t)t->offset,
                            ".agent-trace/trace/%s has %llu bytes behind the last event, which "
                            "nothing of ours ever left there; move them away",
                            t->name, (unsigned long long)t->n);
    t->chunk = agt__alloc(mem, TRACE_CHUNK);
    if (!t->chunk) return agt__nomem(err);
    agt_status st = vast ? AGT_OK : trace_tail_zero(t, &zero, err);
    if (st == AGT_OK) st = remove ? trace_tail_move(t, zero, err) : trace_tail_cut(t, zero, err);
    agt__free(mem, t->chunk, TRACE_CHUNK);
    return st;
}

/* Keeps what stands in the segment from `offset` on, then cuts it there, or removes it. No such
 * segment: nothing to do. */
static agt_status trace_cut_one(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                uint64_t offset, bool remove, agt_error *err) {
    trace_tail t;
    memset(&t, 0, sizeof t);
    t.sys = w->sys;
    t.dir = w->dir;
    t.offset = offset;
    agt__segment_name(segment, t.name);
    size_t len = strlen(t.name);
    memcpy(t.torn, t.name, len);
    memcpy(t.torn + len, ".torn", 6);
    memcpy(t.tmp, t.torn, len + 5);
    memcpy(t.tmp + len + 5, ".tmp", 5);
    t.fd = t.sys->open(t.sys->ctx, t.dir, t.name, AGT_O_READ | AGT_O_WRITE, 0);
    if (t.fd < 0 && AGT_SYS_CLASS(t.fd) == AGT_SYS_NOENT) return AGT_OK;
    if (t.fd < 0) return agt__fail_io(err, t.fd, "cannot open .agent-trace/trace/%s", t.name);
    agt_status st = trace_tail_go(&t, mem, remove, err);
    t.sys->close(t.sys->ctx, t.fd);
    return st;
}

AGT_PRIVATE agt_status agt__trace_cut(agt_trace_writer *w, const agt_mem *mem, uint64_t segment,
                                      uint64_t offset, agt_error *err) {
    agt_segments all = {mem, NULL, 0, 0};
    agt_status st = agt__segments_list(&all, w->sys, w->dir, err);
    agt__trace_writer_close(w); /* what it has open may be removed, what it reserved be cut */
    for (size_t i = all.count; i > 0 && st == AGT_OK && all.v[i - 1] > segment; i--)
        st = trace_cut_one(w, mem, all.v[i - 1], 0, true, err);
    if (st == AGT_OK) st = trace_cut_one(w, mem, segment, offset, false, err);
    agt__segments_free(&all);
    return st;
}
/* end src/log/trace.c */
/* begin src/log/trace_reader.c */
/* trace_reader: reading the segments without a lock.
 *
 * The reader stands between two lines of one segment:
 *
 *        ... line line | line line line  half a li
 *        <- backward   at   forward ->  not shown
 *
 * (1) A line is handed out once its newline is there; what follows the last newline is not shown.
 * (2) `at` is 0 or right behind a newline. Where it no longer is, the segment was cut and has grown
 *     again, and the reader steps back to the begin of the line it finds itself in: nobody ever
 *     gets half a line.
 * (3) Forward it leaves a segment only for a later one that has bytes, and looks once more for
 *     lines before it goes: whoever writes to a later one has finished the one before.
 * (4) Recovery may cut the segment or remove it, and another file may get its name. At the end of
 *     what there is the reader looks at the folder again, and stays where the trace now ends.
 * (5) One window of a line's greatest length is all the memory it needs besides the list of
 *     segments; a search reads a few KiB at each step.
 * (6) Searching believes a seq only if the line before or behind agrees: damage may hide the lines
 *     it hit, and no others. */

#define READER_WINDOW                                                                              \
    (AGT_MAX_EVENT + 64u)  /* one line, the newline before it, one byte too many                   \
                            */
#define READER_PROBE 4096u /* read at a step of a search */
#define READER_NEAR  8192u /* closer than that, a search goes on line by line */
#define READER_TRIES 16    /* segments that vanish while they are opened */

struct agt_trace_reader {
    const agt_sys *sys;
    const agt_mem *mem;
    agt_fd dir, fd;
    agt_stat file; /* of fd, as it was when it was opened */
    agt_segments all;
    uint64_t segment; /* fd is open on that one; 0: on none */
    uint64_t at;      /* (2) */
    unsigned char *window;
    uint64_t window_at;
    size_t window_len;
    uint64_t line_segment, line_at;
};

/* ---- the window ---- */

static const unsigned char *reader_bytes(const agt_trace_reader *r, uint64_t from) {
    return r->window + (from - r->window_at);
}

/* How many bytes from `from` on are in the window. */
static size_t reader_have(const agt_trace_reader *r, uint64_t from) {
    uint64_t end = r->window_at + r->window_len;
    return from >= r->window_at && from < end ? (size_t)(end - from) : 0;
}

/* Reads the window anew: n bytes from `from` on, fewer at the end of the file. */
static agt_status reader_load(agt_trace_reader *r, uint64_t from, size_t n, agt_error *err) {
    int64_t got = agt__read_all(r->sys, r->fd, r->window, n, from);
    r->window_at = from;
    r->window_len = got < 0 ? 0 : (size_t)got;
    return got < 0 ? agt__fail_io(err, got, "cannot read the trace") : AGT_OK;
}

static agt_text reader_hand_out(agt_trace_reader *r, uint64_t from, size_t len) {
    r->line_segment = r->segment;
    r->line_at = from;
    return (agt_text){(const char *)reader_bytes(r, from), len};
}

/* Right behind the last newline in front of byte `end`; 0 if there is none. */
static agt_status reader_boundary(agt_trace_reader *r, uint64_t end, uint64_t *pos,
                                  agt_error *err) {
    while (end > 0) {
        if (end > r->window_at && end <= r->window_at + r->window_len) {
            size_t i = (size_t)(end - r->window_at);
            while (i && r->window[i - 1] != '\n')
                i--;
            end = r->window_at + i;
            if (i) break;
        } else {
            uint64_t from = end > READER_WINDOW ? end - READER_WINDOW : 0;
            agt_status st = reader_load(r, from, (size_t)(end - from), err);
            if (st != AGT_OK) return st;
            end = from + r->window_len; /* less where the file is shorter by now */
        }
    }
    *pos = end;
    return AGT_OK;
}

/* Steps over a line longer than any event, whose first bytes are in the window: *full is its
 * length, or what was read of it if it goes on behind `stop`; 0 if it has no end yet. The window
 * is as before then. */
static agt_status reader_endless(agt_trace_reader *r, uint64_t from, uint64_t stop, uint64_t *full,
                                 agt_error *err) {
    uint64_t was = r->window_at, pos = was + r->window_len;
    agt_status st = AGT_OK;
    for (*full = 0; st == AGT_OK && !*full; pos += r->window_len) {
        if (pos >= stop) {
            *full = pos - from;
            break;
        }
        st = reader_load(r, pos, READER_WINDOW, err);
        if (st != AGT_OK || !r->window_len) break;
        const unsigned char *newline = memchr(r->window, '\n', r->window_len);
        if (newline) *full = pos + (uint64_t)(newline - r->window) + 1 - from;
    }
    return st == AGT_OK ? reader_load(r, was, READER_WINDOW, err) : st;
}

/* The whole line at `from`, found by reading `first` bytes and then a whole window: *len bytes of
 * it are to be handed out, it is *full bytes long; both 0 if there is no whole line. Of a line that
 * is too long, what lies behind `stop` is of no interest. */
static agt_status reader_line_at(agt_trace_reader *r, uint64_t from, uint64_t stop, size_t first,
                                 size_t *len, uint64_t *full, agt_error *err) {
    size_t have = reader_have(r, from), n = first;
    const unsigned char *newline = have ? memchr(reader_bytes(r, from), '\n', have) : NULL;
    agt_status st = AGT_OK;
    *len = 0;
    *full = 0;
    while (!newline) {
        st = reader_load(r, from ? from - 1 : 0, n, err);
        if (st != AGT_OK) return st;
        have = reader_have(r, from);
        newline = have ? memchr(reader_bytes(r, from), '\n', have) : NULL;
        if (r->window_len < n || n == READER_WINDOW) break;
        n = READER_WINDOW;
    }
    if (newline)
        *full = (uint64_t)(newline - reader_bytes(r, from)) + 1;
    else if (have > AGT_MAX_EVENT)
        st = reader_endless(r, from, stop, full, err);
    *len = *full > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : (size_t)*full;
    if (*len > reader_have(r, from)) *len = 0; /* the file was cut meanwhile */
    return st;
}

/* ---- segments ---- */

static void reader_leave(agt_trace_reader *r) {
    if (r->fd != AGT_FD_NONE) r->sys->close(r->sys->ctx, r->fd);
    r->fd = AGT_FD_NONE;
    r->segment = r->at = 0;
    r->window_len = 0;
}

static bool reader_same(const agt_stat *a, const agt_stat *b) {
    return a->dev == b->dev && a->ino == b->ino;
}

/* Goes to the begin of a segment; *size is its length. AGT_NOT_FOUND: it was removed since it was
 * listed. On failure the reader stays where it is. */
static agt_status reader_open(agt_trace_reader *r, uint64_t segment, uint64_t *size,
                              agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt_stat file;
    agt__segment_name(segment, name);
    agt_fd fd = r->sys->open(r->sys->ctx, r->dir, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT)
        return agt__fail(err, AGT_NOT_FOUND, ".agent-trace/trace/%s vanished", name);
    if (fd < 0) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
    int rc = r->sys->fstat(r->sys->ctx, fd, &file);
    if (rc < 0 || file.kind != AGT_FILE_REGULAR) {
        r->sys->close(r->sys->ctx, fd);
        if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
        return agt__fail(err, AGT_IO, ".agent-trace/trace/%s is not a regular file; move it away",
                         name);
    }
    reader_leave(r);
    r->fd = fd;
    r->file = file;
    r->segment = segment;
    *size = file.size;
    return AGT_OK;
}

/* What stands under a segment's name now. */
static agt_status reader_look(agt_trace_reader *r, uint64_t segment, agt_stat *now, bool *there,
                              agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    int rc = r->sys->stat(r->sys->ctx, r->dir, name, now);
    *there = rc == 0;
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    return AGT_OK;
}

/* As reader_open, but stays with the file that is open if it is the right one, window and all. */
static agt_status reader_enter(agt_trace_reader *r, uint64_t segment, uint64_t *size,
                               agt_error *err) {
    agt_stat now;
    bool there = false;
    if (r->fd != AGT_FD_NONE && r->segment == segment) {
        agt_status st = reader_look(r, segment, &now, &there, err);
        if (st != AGT_OK) return st;
    }
    if (!there || !reader_same(&now, &r->file)) return reader_open(r, segment, size, err);
    if (now.size < r->window_at + r->window_len) r->window_len = 0;
    *size = now.size;
    return AGT_OK;
}

/* Goes behind the last line of a segment. */
static agt_status reader_go_end(agt_trace_reader *r, uint64_t segment, agt_error *err) {
    uint64_t size;
    agt_status st = reader_open(r, segment, &size, err);
    if (st != AGT_OK) return st;
    r->at = size; /* should finding the boundary fail, (2) finds it later */
    return reader_boundary(r, size, &r->at, err);
}

static agt_status reader_list(agt_trace_reader *r, agt_error *err) {
    return agt__segments_list(&r->all, r->sys, r->dir, err);
}

/* The greatest segment below `segment`; 0 if there is none. */
static uint64_t reader_before(const agt_trace_reader *r, uint64_t segment) {
    size_t i = r->all.count;
    while (i && r->all.v[i - 1] >= segment)
        i--;
    return i ? r->all.v[i - 1] : 0;
}

/* The first segment behind the reader's that has bytes; 0 if there is none. */
static agt_status reader_behind_this(agt_trace_reader *r, uint64_t *segment, agt_error *err) {
    agt_stat now;
    bool there;
    *segment = 0;
    for (size_t i = 0; i < r->all.count; i++) {
        if (r->all.v[i] <= r->segment) continue;
        agt_status st = reader_look(r, r->all.v[i], &now, &there, err);
        if (st != AGT_OK) return st;
        if (!there || !now.size) continue;
        *segment = r->all.v[i];
        return AGT_OK;
    }
    return AGT_OK;
}

/* A segment that vanished was removed by recovery: list again. Not for ever. */
static agt_status reader_gone(agt_status st, int *tries, bool *again, agt_error *err) {
    *again = st == AGT_NOT_FOUND && ++*tries < READER_TRIES;
    if (st != AGT_NOT_FOUND || *again) return st;
    return agt__fail(err, AGT_IO, "the segments in .agent-trace/trace vanish while they are read");
}

/* ---- opening and closing ---- */

AGT_PRIVATE agt_status agt__trace_reader_open(agt_trace_reader **out, const agt_sys *sys,
                                              agt_fd dir, const agt_mem *mem, agt_error *err) {
    *out = NULL;
    agt_trace_reader *r = agt__zalloc(mem, sizeof *r);
    if (!r) return agt__nomem(err);
    r->sys = sys;
    r->dir = dir;
    r->fd = AGT_FD_NONE;
    r->mem = r->all.mem = mem;
    r->window = agt__alloc(mem, READER_WINDOW);
    agt_status st = r->window ? reader_list(r, err) : agt__nomem(err);
    if (st != AGT_OK) {
        agt__trace_reader_close(r);
        return st;
    }
    *out = r;
    return AGT_OK;
}

AGT_PRIVATE void agt__trace_reader_close(agt_trace_reader *r) {
    if (!r) return;
    reader_leave(r);
    agt__segments_free(&r->all);
    agt__free(r->mem, r->window, READER_WINDOW);
    agt__free(r->mem, r, sizeof *r);
}

AGT_PRIVATE void agt__trace_where(const agt_trace_reader *r, uint64_t *segment, uint64_t *offset) {
    *segment = r->line_segment;
    *offset = r->line_at;
}

/* ---- forward ---- */

/* The whole line ahead, if there is one. (2) */
static agt_status reader_ahead(agt_trace_reader *r, size_t *len, uint64_t *full, agt_error *err) {
    for (;;) {
        agt_status st = reader_line_at(r, r->at, UINT64_MAX, READER_WINDOW, len, full, err);
        if (st != AGT_OK || !*len || !r->at || !reader_have(r, r->at - 1) ||
            *reader_bytes(r, r->at - 1) == '\n')
            return st;
        st = reader_boundary(r, r->at, &r->at, err);
        if (st != AGT_OK) return st;
    }
}

/* (4) The file under the segment's name is another one, shorter, or gone. */
static agt_status reader_follow_cut(agt_trace_reader *r, bool *moved, agt_error *err) {
    agt_stat now;
    bool there;
    uint64_t was = r->at, size;
    agt_status st = reader_look(r, r->segment, &now, &there, err);
    if (st != AGT_OK) return st;
    if (!there) {
        uint64_t before = reader_before(r, r->segment);
        *moved = before > 0;
        if (before) return reader_go_end(r, before, err);
        reader_leave(r);
        return AGT_OK;
    }
    if (!reader_same(&now, &r->file)) {
        st = reader_open(r, r->segment, &size, err);
        if (st != AGT_OK) return st;
        now.size = size;
        *moved = true;
    } else if (now.size >= was)
        return AGT_OK;
    r->window_len = 0;
    return reader_boundary(r, now.size < was ? now.size : was, &r->at, err);
}

/* At the end of what the segment has: is there more elsewhere? */
static agt_status reader_move_on(agt_trace_reader *r, bool *moved, agt_error *err) {
    uint64_t next, full, size;
    size_t len;
    *moved = false;
    agt_status st = reader_list(r, err);
    if (st == AGT_OK && r->fd != AGT_FD_NONE) st = reader_follow_cut(r, moved, err);
    if (st != AGT_OK || *moved) return st;
    st = reader_behind_this(r, &next, err);
    if (st != AGT_OK || !next) return st;
    if (r->fd != AGT_FD_NONE) { /* (3) */
        st = reader_ahead(r, &len, &full, err);
        *moved = len > 0;
        if (st != AGT_OK || *moved) return st;
    }
    *moved = true;
    return reader_open(r, next, &size, err);
}

static agt_status reader_line(agt_trace_reader *r, agt_text *line, agt_error *err) {
    size_t len = 0;
    uint64_t full = 0;
    bool moved, again;
    for (int tries = 0;;) {
        agt_status st = r->fd == AGT_FD_NONE ? AGT_OK : reader_ahead(r, &len, &full, err);
        if (st != AGT_OK) return st;
        if (len) break;
        st = reader_gone(reader_move_on(r, &moved, err), &tries, &again, err);
        if (st != AGT_OK && !again) return st;
        if (st == AGT_OK && !moved) return AGT_END;
    }
    *line = reader_hand_out(r, r->at, len);
    r->at += full;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_line(agt_trace_reader *r, agt_text *line, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_line(r, line, &mine), &mine, err);
}

/* ---- backward ---- */

/* The line in front of the reader, in this segment; *len is 0 if there is none. */
static agt_status reader_back(agt_trace_reader *r, uint64_t *start, size_t *len, agt_error *err) {
    *len = 0;
    agt_status st = reader_boundary(r, r->at, &r->at, err); /* (2) */
    if (st != AGT_OK || !r->at) return st;
    uint64_t end = r->at;
    const unsigned char *p = reader_bytes(r, end - 1);
    while (p > r->window && p[-1] != '\n')
        p--;
    if (p == r->window && r->window_at) { /* it begins in front of the window */
        uint64_t from = end > READER_WINDOW ? end - READER_WINDOW : 0;
        st = reader_load(r, from, (size_t)(end - from), err);
        if (st != AGT_OK) return st;
    }
    st = reader_boundary(r, end - 1, start, err);
    if (st != AGT_OK) return st;
    size_t n = end - *start > AGT_MAX_EVENT ? AGT_MAX_EVENT + 1 : (size_t)(end - *start);
    if (reader_have(r, *start) < n) st = reader_load(r, *start, READER_WINDOW, err);
    if (st == AGT_OK && reader_have(r, *start) >= n) *len = n;
    return st;
}

static agt_status reader_line_back(agt_trace_reader *r, agt_text *line, agt_error *err) {
    uint64_t start = 0, before;
    size_t len = 0;
    bool again;
    if (r->fd == AGT_FD_NONE) return AGT_END;
    for (int tries = 0;;) {
        agt_status st = reader_back(r, &start, &len, err);
        if (st != AGT_OK) return st;
        if (len) break;
        if (r->at) continue; /* it was cut just now: look again */
        if ((st = reader_list(r, err)) != AGT_OK) return st;
        before = reader_before(r, r->segment);
        if (!before) return AGT_END;
        st = reader_gone(reader_go_end(r, before, err), &tries, &again, err);
        if (st != AGT_OK && !again) return st;
    }
    *line = reader_hand_out(r, start, len);
    r->at = start;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_line_back(agt_trace_reader *r, agt_text *line, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_line_back(r, line, &mine), &mine, err);
}

/* Behind the last line of the last segment that has bytes; of the first if none has. */
static agt_status reader_seek_end(agt_trace_reader *r, agt_error *err) {
    agt_stat now;
    bool there;
    uint64_t last = 0;
    agt_status st = reader_list(r, err);
    for (size_t i = r->all.count; i > 0 && !last && st == AGT_OK; i--) {
        st = reader_look(r, r->all.v[i - 1], &now, &there, err);
        if (st == AGT_OK && ((there && now.size) || i == 1)) last = r->all.v[i - 1];
    }
    if (st != AGT_OK) return st;
    if (last) return reader_go_end(r, last, err);
    reader_leave(r);
    return AGT_OK;
}

static agt_status reader_seek_end_tries(agt_trace_reader *r, agt_error *err) {
    bool again = true;
    agt_status st = AGT_OK;
    for (int tries = 0; again;)
        st = reader_gone(reader_seek_end(r, err), &tries, &again, err);
    return st;
}

AGT_PRIVATE agt_status agt__trace_seek_end(agt_trace_reader *r, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_seek_end_tries(r, &mine), &mine, err);
}

/* ---- searching ---- */

static uint64_t reader_seq(const agt_trace_reader *r, uint64_t from, size_t len) {
    uint64_t seq;
    return agt__event_seq((const char *)reader_bytes(r, from), len, &seq) ? seq : 0;
}

/* The first readable line that begins behind `from` and in front of `end`: where, and its seq; 0 if
 * there is none. */
static agt_status reader_probe(agt_trace_reader *r, uint64_t from, uint64_t end, uint64_t *start,
                               uint64_t *seq, agt_error *err) {
    size_t len;
    uint64_t full;
    *seq = 0;
    agt_status st = reader_line_at(r, from, end, READER_PROBE, &len, &full, err);
    for (*start = from + full; st == AGT_OK && len && *start < end; *start += full) {
        st = reader_line_at(r, *start, end, READER_PROBE, &len, &full, err);
        if (st != AGT_OK || !len) return st;
        if ((*seq = reader_seq(r, *start, len)) != 0) return st;
    }
    return st;
}

/* Goes line by line from `from` on, where the seq is smaller or the segment begins, to the first
 * seq that is not. *sure: the lines agree that this is the place. (6) */
static agt_status reader_scan(agt_trace_reader *r, uint64_t from, uint64_t seq, bool *sure,
                              agt_error *err) {
    uint64_t before = 0, found, full;
    size_t len;
    for (r->at = from;; r->at += full) {
        agt_status st = reader_line_at(r, r->at, UINT64_MAX, READER_NEAR, &len, &full, err);
        if (st != AGT_OK) return st;
        if (!len) {
            *sure = !r->at || before; /* all seqs so far were smaller */
            return AGT_OK;
        }
        found = reader_seq(r, r->at, len);
        if (found >= seq && found) {
            *sure = r->at ? found == seq && before + 1 == seq : found == r->segment;
            return AGT_OK;
        }
        before = found;
    }
}

/* Something is damaged: goes through the whole segment for the first seq that is not smaller and
 * that one of the two lines before or the one behind confirms, or none contradicts. (6) */
static agt_status reader_scan_all(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    uint64_t earlier = 0, before = 0, found = r->segment - 1, found_at = UINT64_MAX, at = 0, full;
    size_t len;
    for (;; at += full) {
        agt_status st = reader_line_at(r, at, UINT64_MAX, READER_WINDOW, &len, &full, err);
        if (st != AGT_OK) return st;
        uint64_t behind = len ? reader_seq(r, at, len) : 0;
        bool confirmed = before + 1 == found || earlier + 2 == found || behind == found + 1 ||
                         (!before && !behind);
        if (found_at != UINT64_MAX && found && found >= seq && confirmed) {
            r->at = found_at;
            return AGT_OK;
        }
        if (!len) {
            r->at = at;
            return AGT_OK;
        }
        earlier = before;
        before = found;
        found = behind;
        found_at = at;
    }
}

static agt_status reader_seek(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    uint64_t lo = 0, hi, start, found, segment, before;
    bool sure;
    agt_status st = reader_list(r, err);
    if (st != AGT_OK) return st;
    if (!r->all.count) {
        reader_leave(r);
        return AGT_OK;
    }
    segment = seq < UINT64_MAX ? reader_before(r, seq + 1) : r->all.v[r->all.count - 1];
    if (!segment) segment = r->all.v[0];
    for (;; segment = before) { /* an empty one hides nothing */
        st = reader_enter(r, segment, &hi, err);
        before = reader_before(r, segment);
        if (st != AGT_OK || hi || !before) break;
    }
    while (st == AGT_OK && hi - lo > READER_NEAR) {
        uint64_t mid = lo + (hi - lo) / 2;
        st = reader_probe(r, mid, hi, &start, &found, err);
        if (!found || start >= hi)
            hi = mid;
        else if (found < seq)
            lo = start;
        else
            hi = start;
    }
    if (st == AGT_OK) st = reader_scan(r, lo, seq, &sure, err);
    if (st == AGT_OK && !sure) st = reader_scan_all(r, seq, err);
    return st;
}

static agt_status reader_seek_tries(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    bool again = true;
    agt_status st = AGT_OK;
    for (int tries = 0; again;)
        st = reader_gone(reader_seek(r, seq, err), &tries, &again, err);
    return st;
}

AGT_PRIVATE agt_status agt__trace_seek(agt_trace_reader *r, uint64_t seq, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(reader_seek_tries(r, seq, &mine), &mine, err);
}

AGT_PRIVATE agt_status agt__trace_find(agt_trace_reader *r, uint64_t seq, agt_text *line,
                                       agt_error *err) {
    uint64_t found = 0, segment, offset;
    char name[AGT_SEGMENT_NAME];
    agt_status st = agt__trace_seek(r, seq, err);
    if (st == AGT_OK) st = agt__trace_line(r, line, err);
    if (st == AGT_END || seq == 0)
        return agt__fail(err, AGT_NOT_FOUND, "the trace has no event %llu",
                         (unsigned long long)seq);
    if (st != AGT_OK) return st;
    if (agt__event_seq(line->data, line->len, &found) && found == seq) return AGT_OK;
    agt__trace_where(r, &segment, &offset);
    agt__segment_name(segment, name);
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)offset,
                        "event %llu is missing or damaged in front of byte %llu of "
                        ".agent-trace/trace/%s",
                        (unsigned long long)seq, (unsigned long long)offset, name);
}
/* end src/log/trace_reader.c */
/* begin src/log/trace_repair.c */
/* trace_repair: believing a trace that has no journal (R3 to R6).
 *
 * Line by line the walk knows what the next one must be: its seq and its `prev`.
 *
 *     follows what stands before it             a good line
 *     parses, but does not follow               damaged; the next may follow it, or the last good
 *     does not parse, but ends in an event
 *       that follows                            damaged, and that event is good
 *     does not parse                            damaged; the next is good if its seq is greater
 *
 * and nothing is good whose seq is not greater than all before it.
 *
 * (1) Only an unterminated tail is a tear. A line that ends in a newline and does not parse or
 *     chain is damage: counted and located, never touched.
 * (2) A tail of NUL bytes is a tear, also behind a newline.
 * (3) A tail that is a whole event that follows only lacks its newline and gets it.
 * (4) The trace ends behind the last newline of all segments. Later segments, which then have no
 *     whole line, belong to the tail; but one that was to have the next event is where it goes.
 * (5) Repair is idempotent, and what it cuts off it keeps.
 * (6) Two lines' room is all the memory it needs, however long the trace or its tail. */

#define REPAIR_WINDOW (2u * AGT_MAX_EVENT)

/* What a line must be to follow another. */
typedef struct repair_next {
    uint64_t seq; /* 0: nothing follows it */
    unsigned char prev[32];
} repair_next;

typedef struct repair_walk {
    const agt_sys *sys;
    agt_fd dir;
    agt_cpu cpu;
    agt_trace_report *out;
    repair_next good, other; /* what follows the last good line; a damaged one that parsed */
    bool lost;               /* the line before did not parse: its hash tells nothing */
    bool stray;              /* there are segments behind the end (4) */
    uint64_t salvage;        /* bytes of the event that only lacks its newline */
    agt_buf scratch, window;
    /* the segment being read: */
    agt_fd fd;
    uint64_t segment, size, at; /* begin of the line being read */
    uint64_t dropped;           /* of its bytes, those no longer in the window */
    agt_sha256_state hash;      /* of the dropped ones */
} repair_walk;

/* ---- one line ---- */

static bool repair_follows(const repair_next *n, uint64_t seq, const unsigned char prev[32]) {
    return n->seq && seq == n->seq && memcmp(prev, n->prev, 32) == 0;
}

/* `hash` true: only what chains, not what merely comes behind something unreadable. */
static bool repair_fits(const repair_walk *w, uint64_t seq, const unsigned char prev[32],
                        bool hash) {
    if (repair_follows(&w->good, seq, prev)) return true;
    return seq > w->out->last_seq && (repair_follows(&w->other, seq, prev) || (w->lost && !hash));
}

/* Reads an event; false if it is none. No memory is needed: `scratch` has it. */
static bool repair_parse(repair_walk *w, const char *line, size_t n, uint64_t *seq,
                         unsigned char prev[32]) {
    agt_event e;
    if (agt__event_parse(line, n, &w->scratch, &e, NULL) != AGT_OK) return false;
    *seq = e.seq;
    return agt__unhex(e.prev.data, e.prev.len, prev, 32);
}

static void repair_good(repair_walk *w, const char *line, size_t n, uint64_t seq) {
    w->out->lines++;
    w->out->last_seq = seq;
    w->good.seq = seq + 1;
    agt__sha256(w->cpu, line, n, w->good.prev);
    memcpy(w->out->end.prev, w->good.prev, 32);
    w->other.seq = 0;
    w->lost = false;
}

static void repair_damaged(repair_walk *w, uint64_t at) {
    if (w->out->damaged_lines++) return;
    w->out->first_bad_segment = w->segment;
    w->out->first_bad_offset = at;
}

/* A whole event that follows, at the end of a damaged line: something unfinished stood before it
 * when it was written. */
static bool repair_fused(repair_walk *w, const char *line, size_t n) {
    static const char begin[] = "{\"timestamp\":\"";
    const size_t len = sizeof begin - 1;
    uint64_t seq;
    unsigned char prev[32];
    for (size_t at = n > len ? n - len : 0; at-- > 0;) {
        if (line[at] != '{' || memcmp(line + at, begin, len) != 0) continue;
        if (!repair_parse(w, line + at, n - at, &seq, prev)) continue;
        if (!repair_fits(w, seq, prev, true)) continue;
        repair_good(w, line + at, n - at, seq);
        return true;
    }
    return false;
}

/* A line ended by a newline. `whole` is false if only its last bytes are there. */
static void repair_line(repair_walk *w, const char *line, size_t n, bool whole) {
    uint64_t seq = 0;
    unsigned char prev[32] = {0};
    bool parses = whole && n <= AGT_MAX_EVENT && repair_parse(w, line, n, &seq, prev);
    if (parses && repair_fits(w, seq, prev, false) && (w->at > 0 || seq == w->segment)) {
        repair_good(w, line, n, seq);
        return;
    }
    repair_damaged(w, w->at);
    size_t most = n < AGT_MAX_EVENT ? n : AGT_MAX_EVENT;
    if (!parses && repair_fused(w, line + (n - most), most)) return;
    if (whole)
        agt__sha256(w->cpu, line, n, w->out->end.prev);
    else {
        agt__sha256_update(&w->hash, w->cpu, line, n);
        agt__sha256_final(&w->hash, w->cpu, w->out->end.prev);
    }
    w->lost = w->lost || !parses;
    w->other.seq = parses ? seq + 1 : 0; /* the greatest seq has no successor: 0 */
    memcpy(w->other.prev, w->out->end.prev, 32);
}

/* ---- one segment ---- */

/* What stood unfinished in front of a whole line was no tail. */
static void repair_settle(repair_walk *w) {
    agt_trace_report *out = w->out;
    if (out->torn_bytes) {
        uint64_t segment = w->segment;
        w->segment = out->end.segment;
        repair_damaged(w, out->end.offset);
        w->segment = segment;
        w->lost = true;
    }
    out->torn_bytes = 0;
    w->stray = false;
}

/* Takes the whole lines in the window, then makes room: of a line without an end the last bytes
 * stay. */
static void repair_window(repair_walk *w) {
    unsigned char *p = w->window.data;
    size_t left = w->window.len;
    for (unsigned char *newline; (newline = memchr(p, '\n', left)) != NULL;) {
        size_t n = (size_t)(newline - p) + 1;
        repair_settle(w);
        repair_line(w, (const char *)p, n, !w->dropped);
        w->at += w->dropped + n;
        w->dropped = 0;
        p += n;
        left -= n;
    }
    if (left > AGT_MAX_EVENT) {
        size_t drop = left - AGT_MAX_EVENT;
        if (!w->dropped) agt__sha256_init(&w->hash);
        agt__sha256_update(&w->hash, w->cpu, p, drop);
        w->dropped += drop;
        p += drop;
        left -= drop;
    }
    if (left) memmove(w->window.data, p, left);
    w->window.len = left;
}

static agt_status repair_read(repair_walk *w, agt_error *err) {
    agt_buf *b = &w->window;
    w->at = w->dropped = 0;
    b->len = 0;
    for (w->size = 0;;) {
        size_t room = REPAIR_WINDOW - b->len;
        int64_t got = agt__read_all(w->sys, w->fd, b->data + b->len, room, w->size);
        if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
        b->len += (size_t)got;
        w->size += (uint64_t)got;
        repair_window(w);
        if ((size_t)got < room) return AGT_OK;
    }
}

/* Is there nothing but NULs from `at` to the end? */
static agt_status repair_only_nul(repair_walk *w, uint64_t at, bool *only, agt_error *err) {
    for (*only = true; *only && at < w->size; at += w->window.len) {
        int64_t got = agt__read_all(w->sys, w->fd, w->window.data, REPAIR_WINDOW, at);
        if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
        w->window.len = (size_t)got;
        if (!got) return AGT_OK;
        for (size_t i = 0; i < w->window.len && *only; i++)
            *only = w->window.data[i] == 0;
    }
    return AGT_OK;
}

/* (3) Is the segment's tail an event that follows, with NULs behind it at most? */
static agt_status repair_tail(repair_walk *w, agt_error *err) {
    agt_buf *b = &w->window;
    uint64_t seq;
    unsigned char prev[32];
    bool only;
    int64_t got = agt__read_all(w->sys, w->fd, b->data, AGT_MAX_EVENT, w->at);
    if (got < 0) return agt__fail_io(err, got, "cannot read the trace");
    const unsigned char *nul = memchr(b->data, 0, (size_t)got);
    size_t n = nul ? (size_t)(nul - b->data) : (size_t)got;
    b->data[n] = '\n'; /* the window has room for two */
    bool good = n < AGT_MAX_EVENT && repair_parse(w, (const char *)b->data, n + 1, &seq, prev) &&
                repair_fits(w, seq, prev, true) && (w->at > 0 || seq == w->segment);
    if (!good) return AGT_OK;
    repair_next follower = {seq + 1, {0}};
    agt__sha256(w->cpu, b->data, n + 1, follower.prev);
    agt_status st = repair_only_nul(w, w->at + n, &only, err);
    if (st != AGT_OK || !only) return st;
    w->out->salvageable = true;
    w->salvage = n;
    w->other = follower;
    return AGT_OK;
}

/* (4) */
static agt_status repair_end(repair_walk *w, agt_error *err) {
    agt_trace_report *out = w->out;
    uint64_t tail = w->size - w->at;
    bool lines = w->at > 0;
    bool next = w->lost || w->other.seq ? w->segment > out->last_seq : w->segment == w->good.seq;
    if (!lines && (out->torn_bytes || w->stray || !next)) {
        out->torn_bytes += tail;
        w->stray = true;
        return AGT_OK;
    }
    out->end.segment = w->segment;
    out->end.offset = w->at;
    out->torn_bytes = tail;
    out->salvageable = false;
    return tail ? repair_tail(w, err) : AGT_OK;
}

static agt_status repair_segment(repair_walk *w, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    w->segment = segment;
    w->fd = w->sys->open(w->sys->ctx, w->dir, name, AGT_O_READ, 0);
    if (w->fd < 0) return agt__fail_io(err, w->fd, "cannot open .agent-trace/trace/%s", name);
    agt_status st = repair_read(w, err);
    if (st == AGT_OK) st = repair_end(w, err);
    w->sys->close(w->sys->ctx, w->fd);
    return st;
}

/* ---- the whole trace ---- */

static agt_status repair_walk_all(repair_walk *w, const agt_mem *mem, agt_error *err) {
    agt_segments all = {mem, NULL, 0, 0};
    w->scratch = w->window = agt__buf(mem);
    bool room =
        agt__buf_reserve(&w->scratch, AGT_MAX_EVENT) && agt__buf_reserve(&w->window, REPAIR_WINDOW);
    memset(w->out, 0, sizeof *w->out);
    w->out->end.segment = 1;
    w->good.seq = 1;
    agt_status st = agt__segments_list(&all, w->sys, w->dir, err);
    if (!room) st = agt__nomem(err);
    for (size_t i = 0; i < all.count && st == AGT_OK; i++)
        st = repair_segment(w, all.v[i], err);
    agt__segments_free(&all);
    agt__buf_free(&w->scratch);
    agt__buf_free(&w->window);
    return st;
}

AGT_PRIVATE agt_status agt__trace_check(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    repair_walk w;
    memset(&w, 0, sizeof w);
    w.sys = sys;
    w.dir = dir;
    w.cpu = cpu;
    w.out = out;
    return repair_walk_all(&w, mem, err);
}

/* The newline goes behind the event first: with NULs behind it that is a tail again, and mended. */
static agt_status repair_salvage(agt_trace_writer *t, repair_walk *w, agt_error *err) {
    agt_trace_report *out = w->out;
    uint64_t at = out->end.offset + w->salvage;
    agt_status st = agt__trace_put(t, out->end.segment, at, "\n", 1, err);
    if (st != AGT_OK) return st;
    out->end.offset = at + 1;
    memcpy(out->end.prev, w->other.prev, 32);
    out->lines++;
    out->last_seq = w->other.seq - 1;
    return AGT_OK;
}

static agt_status repair_sync(const agt_sys *sys, agt_fd dir, uint64_t segment, agt_error *err) {
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(segment, name);
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | AGT_O_WRITE, 0);
    bool none = fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT; /* then only names are gone */
    if (fd < 0 && !none) return agt__fail_io(err, fd, "cannot open .agent-trace/trace/%s", name);
    int rc = none ? 0 : sys->sync(sys->ctx, fd);
    if (!none) sys->close(sys->ctx, fd);
    if (rc == 0) rc = sys->sync(sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the trace") : AGT_OK;
}

AGT_PRIVATE agt_status agt__trace_repair(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         agt_cpu cpu, agt_trace_report *out, agt_error *err) {
    agt_trace_writer t;
    repair_walk w;
    memset(&w, 0, sizeof w);
    w.sys = sys;
    w.dir = dir;
    w.cpu = cpu;
    w.out = out;
    agt_status st = repair_walk_all(&w, mem, err);
    if (st != AGT_OK || (!out->torn_bytes && !w.stray)) return st;
    agt__trace_writer_init(&t, sys, dir);
    if (out->salvageable) st = repair_salvage(&t, &w, err);
    if (st == AGT_OK) st = agt__trace_cut(&t, mem, out->end.segment, out->end.offset, err);
    agt__trace_writer_close(&t);
    return st == AGT_OK ? repair_sync(sys, dir, out->end.segment, err) : st;
}
/* end src/log/trace_repair.c */
/* begin src/log/journal.c */
/* journal: headers and records. See journal.h for the layout and its invariants. */
/* begin src/log/journal.h */
/* journal: the commit point. One file, pre-written, append-only within a generation.
 *
 *   0      header slot A   } the valid one with the higher generation counts; a checkpoint writes
 *   4096   header slot B   } the other one, so that a torn header leaves the old one standing
 *   8192   records, back to back, each a multiple of 8 bytes
 *
 * (1) A record's checksum is seeded by the checksum of the record before it, the first one's by
 *     the header's: a stale record of an older generation never comes alive behind a torn one.
 * (2) A record is immutable once its successor or the shared state names it.
 * (3) Only a holder of the store lock writes here; anybody may read.
 * Numbers are little-endian. FORMAT.md has the bytes. */
#ifndef AGT_JOURNAL_H
#define AGT_JOURNAL_H


#define AGT_JOURNAL_SLOT   4096u
#define AGT_JOURNAL_HEADER 232u
#define AGT_JOURNAL_START  8192u
#define AGT_JOURNAL_BYTES  (8u * 1024 * 1024)
#define AGT_JOURNAL_HALF   (AGT_JOURNAL_BYTES / 2)

typedef struct agt_journal_header {
    uint64_t generation;
    uint64_t capacity;    /* bytes of the file */
    uint64_t next_seq;    /* of the generation's first event */
    agt_trace_end trace;  /* where the trace ended */
    uint64_t catalog;     /* number in the catalog's name; 0: no document yet */
    uint64_t packed_seq;  /* newest event that git holds durably */
    agt_oid packed_head;  /* and its commit; zero if packed_seq is 0 */
    uint64_t unpublished; /* seq of the first record in unpublished/; 0: none there is needed */
    unsigned char replica[8];
    uint64_t dev, ino; /* of this file when it was written: another one is a copy */
    uint32_t crc;      /* of the slot: seeds the first record */
} agt_journal_header;

typedef struct agt_journal {
    const agt_sys *sys;
    agt_cpu cpu;
    agt_fd dir; /* borrowed: .agent-trace */
    agt_fd fd;
    uint32_t slot; /* of `header` */
    agt_journal_header header;
    uint64_t dev, ino;
    unsigned char other[AGT_JOURNAL_HEADER]; /* the other slot as it was then */
} agt_journal;

/* The first bytes of a slot, with the header's crc, which it sets; zeros follow. */
AGT_PRIVATE void agt__journal_header_encode(agt_journal_header *h, agt_cpu cpu,
                                            unsigned char slot[256]);
/* Makes a new journal: pre-written, synced, renamed into place, folder synced. */
AGT_PRIVATE agt_status agt__journal_create(const agt_sys *sys, agt_fd dir, agt_cpu cpu,
                                           const agt_mem *mem, agt_journal_header *header,
                                           agt_error *err);
/* Opens the file and reads its headers. AGT_NOT_FOUND, AGT_CORRUPT (no valid header),
 * AGT_UNSUPPORTED (written by a newer version). */
AGT_PRIVATE agt_status agt__journal_open(agt_journal *j, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, bool writable, agt_error *err);
AGT_PRIVATE void agt__journal_close(agt_journal *j);
/* Reads the headers again. */
AGT_PRIVATE agt_status agt__journal_reload(agt_journal *j, agt_error *err);
/* One small read: is the header that was read last still the newest? */
AGT_PRIVATE bool agt__journal_current(const agt_journal *j);
/* Writes the header to the other slot and syncs: a new generation begins. */
AGT_PRIVATE agt_status agt__journal_write_header(agt_journal *j, agt_journal_header *header,
                                                 agt_error *err);

/* ---- records ---- */

enum { AGT_ENTRY_CONTENT = 1, AGT_ENTRY_SIDE = 2 /* the bytes are in unpublished/side-<seq> */ };

typedef struct agt_record {
    uint64_t generation, first_seq, segment, trace_offset;
    int64_t recorded_unix_ms;
    uint32_t entries, length, crc;
    const unsigned char *data; /* the whole record */
} agt_record;

typedef struct agt_entry {
    uint32_t flags;
    const char *line;
    uint32_t line_len;
    const unsigned char *content; /* NULL if there is none or it is in a side file */
    uint64_t content_len;
} agt_entry;

/* Building: begin, put entries, end; the buffer then holds the record from `start` on. */
AGT_PRIVATE size_t agt__record_begin(agt_buf *b);
AGT_PRIVATE void agt__record_put(agt_buf *b, uint32_t flags, const void *line, size_t line_len,
                                 const void *content, uint64_t content_len);
AGT_PRIVATE agt_status agt__record_end(agt_buf *b, size_t start, agt_cpu cpu, uint32_t seed,
                                       agt_record *record, agt_error *err);
/* Reads the record at `offset` into `out` (emptied first) and checks it against generation, seq
 * and seed. AGT_END if there is no valid one. */
AGT_PRIVATE agt_status agt__record_read(const agt_sys *sys, agt_fd fd, uint64_t offset,
                                        uint64_t capacity, agt_cpu cpu, uint64_t generation,
                                        uint64_t seq, uint32_t seed, agt_buf *out,
                                        agt_record *record, agt_error *err);
/* Parses and checks bytes in memory; AGT_END as above. */
AGT_PRIVATE agt_status agt__record_parse(const unsigned char *data, size_t n, agt_cpu cpu,
                                         uint64_t generation, uint64_t seq, uint32_t seed,
                                         agt_record *record);
/* Walks the entries; start with *at = 0. false at the end. */
AGT_PRIVATE bool agt__record_next(const agt_record *record, size_t *at, agt_entry *entry);

#endif /* AGT_JOURNAL_H */
/* end src/log/journal.h */

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
    const char *temp = JOURNAL_NAME ".tmp";
    const size_t chunk = 256 * 1024;
    unsigned char slot[256];
    agt_stat st;
    (void)sys->remove(sys->ctx, dir, temp);
    agt_fd fd =
        sys->open(sys->ctx, dir, temp, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL, 0600);
    if (fd < 0) return agt__fail_io(err, fd, "cannot make .agent-trace/%s", temp);
    /* Written zeros, not a hole: an append must not have to allocate, and its sync must not have
     * to write metadata. */
    unsigned char *zeros = agt__zalloc(mem, chunk);
    int rc = zeros ? sys->fstat(sys->ctx, fd, &st) : 0;
    header->capacity = AGT_JOURNAL_BYTES;
    for (uint64_t at = 0; zeros && rc == 0 && at < AGT_JOURNAL_BYTES; at += chunk)
        rc = agt__write_all(sys, fd, zeros, chunk, at);
    agt__free(mem, zeros, chunk);
    if (zeros && rc == 0) {
        header->dev = st.dev;
        header->ino = st.ino;
        agt__journal_header_encode(header, cpu, slot);
        rc = agt__write_all(sys, fd, slot, sizeof slot, 0);
    }
    if (zeros && rc == 0) rc = sys->sync(sys->ctx, fd);
    sys->close(sys->ctx, fd);
    if (zeros && rc == 0)
        rc = sys->rename(sys->ctx, dir, temp, dir, JOURNAL_NAME, AGT_RENAME_REPLACE);
    if (zeros && rc == 0) rc = sys->sync(sys->ctx, dir);
    if (zeros && rc == 0) return AGT_OK;
    (void)sys->remove(sys->ctx, dir, temp);
    if (!zeros) return agt__nomem(err);
    return agt__fail_io(err, rc, "cannot write .agent-trace/%s", JOURNAL_NAME);
}

AGT_PRIVATE agt_status agt__journal_reload(agt_journal *j, agt_error *err) {
    unsigned char slot[2][256];
    agt_journal_header h[2];
    bool valid[2];
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
                         ".agent-trace/journal has no valid header; restore the store from a "
                         "backup or from its git history");
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
        return agt__fail_sys(err, rc, "cannot open .agent-trace/journal");
    }
    int rc = sys->fstat(sys->ctx, j->fd, &st);
    agt_status status = AGT_OK;
    if (rc < 0)
        status = agt__fail_io(err, rc, "cannot look at .agent-trace/journal");
    else if (st.kind != AGT_FILE_REGULAR)
        status = agt__fail(err, AGT_CORRUPT, ".agent-trace/journal is not a regular file");
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
/* end src/log/journal.c */
/* begin src/state/perm.c */
/* perm: who may write what.
 *
 *     type        user      agent     system
 *     plan        allow     allow     deny
 *     context     confirm   deny      allow
 *     log         confirm   deny      allow
 *     reference   allow     deny      deny
 *     scratch     allow     allow     allow
 *
 * (1) Creating, changing, deleting, restoring, adding, renaming and untracking are all writes, and
 *     the table is the whole rule for them; unknown types, actors and actions are denied.
 * (2) Giving a document another type needs the right to write both types: nobody gets rid of a
 *     protection that he could not pass, or protects what he could not write.
 * (3) Grants are the user's alone to give and to take back; they need what a write of his needs.
 * (4) A grant allows what changes the document's bytes, not what would outlast it: no rename (its
 *     old path would be free for anybody), no untracking, no other type, no further grant.
 * (5) "confirm" with confirmation is allowed; confirmation never turns a denial into anything. */
/* begin src/state/perm.h */
/* perm: the permission rules, pure. Every call and every command asks here and nowhere else. */
#ifndef AGT_PERM_H
#define AGT_PERM_H


typedef enum agt_actor_kind {
    AGT_ACTOR_NONE = 0,
    AGT_ACTOR_USER,
    AGT_ACTOR_AGENT,
    AGT_ACTOR_SYSTEM
} agt_actor_kind;

AGT_PRIVATE agt_actor_kind agt__actor_kind(agt_text actor);
/* The name behind "agent:", or NULL text. */
AGT_PRIVATE agt_text agt__actor_agent(agt_text actor);
/* The type the rules see: generated documents are context or log by their exact path. */
AGT_PRIVATE agt_type agt__perm_type(agt_type type, const char *path, size_t path_len);
/* What is asked: everything a decision is made from. */
typedef struct agt_ask {
    agt_actor_kind kind;
    agt_action action;
    agt_type type;  /* the document's, as agt__perm_type sees it */
    agt_type to;    /* the type it gets, likewise; AGT_TYPE_DEFAULT: it keeps its own */
    bool granted;   /* a grant of this document for this actor is in force */
    bool confirmed; /* the caller said yes beforehand */
} agt_ask;
/* AGT_OK, AGT_NEEDS_CONFIRMATION or AGT_DENIED; `why` gets the reason in words, never NULL. */
AGT_PRIVATE agt_status agt__perm_decide(const agt_ask *ask, const char **why);
/* What an action is called in an event: "delete", "rename"; writes are "modify" or "create". */
AGT_PRIVATE const char *agt__action_name(agt_action action, bool exists);
/* May the actor be granted something: "agent", or any that is valid? */
AGT_PRIVATE bool agt__grantee_valid(agt_text grantee);
/* Is the actor the one a grant names? */
AGT_PRIVATE bool agt__grantee_is(const char *grantee, agt_text actor);

#endif /* AGT_PERM_H */
/* end src/state/perm.h */

enum { PERM_DENY = 0, PERM_ALLOW, PERM_CONFIRM };

static const unsigned char perm_table[6][4] = {
    /* none, user, agent, system */
    {0, 0, 0, 0},
    {0, PERM_ALLOW, PERM_ALLOW, PERM_DENY},   /* plan */
    {0, PERM_CONFIRM, PERM_DENY, PERM_ALLOW}, /* context */
    {0, PERM_CONFIRM, PERM_DENY, PERM_ALLOW}, /* log */
    {0, PERM_ALLOW, PERM_DENY, PERM_DENY},    /* reference */
    {0, PERM_ALLOW, PERM_ALLOW, PERM_ALLOW},  /* scratch */
};

static const char *const perm_why[6] = {
    "a document of no known type cannot be written",
    "plan documents belong to the user and the agents, not to the system",
    "context documents are written by the system; the user must confirm, agents may not",
    "log documents are written by the system; the user must confirm, agents may not",
    "reference documents are the user's; nobody else may write them",
    "scratch documents are everybody's",
};

static const char *const perm_type_names[6] = {"default", "plan",      "context",
                                               "log",     "reference", "scratch"};

AGENT_TRACE_API const char *agt_type_name(agt_type type) {
    return (unsigned)type < AGT_COUNT(perm_type_names) ? perm_type_names[type] : "unknown";
}

AGENT_TRACE_API agt_type agt_type_from_name(const char *name) {
    for (int i = 1; i < (int)AGT_COUNT(perm_type_names); i++)
        if (strcmp(name, perm_type_names[i]) == 0) return (agt_type)i;
    return AGT_TYPE_DEFAULT;
}

AGT_PRIVATE agt_text agt__actor_agent(agt_text actor) {
    agt_text none = {NULL, 0};
    if (actor.len <= 6 || memcmp(actor.data, "agent:", 6) != 0) return none;
    return (agt_text){actor.data + 6, actor.len - 6};
}

AGT_PRIVATE agt_actor_kind agt__actor_kind(agt_text actor) {
    if (!actor.data || !agt__actor_valid(actor.data, actor.len)) return AGT_ACTOR_NONE;
    if (agt__text_is(actor, "user")) return AGT_ACTOR_USER;
    if (agt__text_is(actor, "system")) return AGT_ACTOR_SYSTEM;
    return AGT_ACTOR_AGENT;
}

AGT_PRIVATE agt_type agt__perm_type(agt_type type, const char *path, size_t len) {
    static const char *const context[] = {"AGENT-TRACE.md", "context.md", "running_summary.md"};
    if (!path) return type;
    /* in any case: on some file systems it is the same file */
    for (size_t i = 0; i < AGT_COUNT(context); i++)
        if (agt__path_fold_compare(path, len, context[i], strlen(context[i])) == 0)
            return AGT_TYPE_CONTEXT;
    /* logs/<agent>-<session>.md: one folder deep, a '-' inside, and the ending */
    if (len > 10 && agt__path_fold_compare(path, 5, "logs/", 5) == 0 &&
        agt__path_fold_compare(path + len - 3, 3, ".md", 3) == 0 &&
        !memchr(path + 5, '/', len - 5) && memchr(path + 6, '-', len - 10))
        return AGT_TYPE_LOG;
    return type;
}

AGT_PRIVATE const char *agt__action_name(agt_action action, bool exists) {
    static const char *const names[] = {"",        "delete",     "restore", "create", "rename",
                                        "untrack", "reclassify", "unlock",  "revoke"};
    if (action == AGT_ACTION_WRITE) return exists ? "modify" : "create";
    return (unsigned)action < AGT_COUNT(names) ? names[action] : "unknown";
}

AGT_PRIVATE bool agt__grantee_valid(agt_text grantee) {
    return grantee.data &&
           (agt__text_is(grantee, "agent") || agt__actor_valid(grantee.data, grantee.len));
}

AGT_PRIVATE bool agt__grantee_is(const char *grantee, agt_text actor) {
    if (strcmp(grantee, "agent") == 0) return agt__actor_kind(actor) == AGT_ACTOR_AGENT;
    return agt__text_is(actor, grantee);
}

static int perm_rule(agt_actor_kind kind, agt_type type) {
    bool known = (unsigned)type < AGT_COUNT(perm_table) && (unsigned)kind < 4;
    return known ? perm_table[type][kind] : PERM_DENY;
}

static bool perm_is_grantable(agt_action action) {
    return action == AGT_ACTION_WRITE || action == AGT_ACTION_DELETE ||
           action == AGT_ACTION_RESTORE || action == AGT_ACTION_ADD;
}

AGT_PRIVATE agt_status agt__perm_decide(const agt_ask *ask, const char **why) {
    int rule = perm_rule(ask->kind, ask->type);
    bool grants = ask->action == AGT_ACTION_UNLOCK || ask->action == AGT_ACTION_REVOKE;
    *why = perm_why[(unsigned)ask->type < AGT_COUNT(perm_why) ? ask->type : 0];
    if ((unsigned)ask->action > AGT_ACTION_REVOKE) {
        *why = "nobody may do what is no known action";
        return AGT_DENIED;
    }
    if (grants && ask->kind != AGT_ACTOR_USER) { /* (3) */
        *why = "only the user may give or end a grant";
        return AGT_DENIED;
    }
    if (ask->to && ask->to != ask->type) { /* (2) */
        int other = perm_rule(ask->kind, ask->to);
        if (rule != PERM_DENY && other != PERM_ALLOW) {
            rule = other;
            *why = perm_why[(unsigned)ask->to < AGT_COUNT(perm_why) ? ask->to : 0];
        }
    } else if (ask->granted && perm_is_grantable(ask->action)) /* (4) */
        return AGT_OK;
    if (rule == PERM_ALLOW) return AGT_OK;
    if (rule == PERM_CONFIRM) return ask->confirmed ? AGT_OK : AGT_NEEDS_CONFIRMATION;
    return AGT_DENIED;
}

AGENT_TRACE_API agt_status agt_permission(const char *actor, agt_action action, agt_type type,
                                          const char *path) {
    const char *why;
    agt_ask ask = {agt__actor_kind(agt__text(actor)), action, type, AGT_TYPE_DEFAULT, false, false};
    if (ask.kind == AGT_ACTOR_NONE) return AGT_INVALID;
    if (type == AGT_TYPE_DEFAULT) ask.type = AGT_TYPE_SCRATCH;
    ask.type = agt__perm_type(ask.type, path, path ? strlen(path) : 0);
    return agt__perm_decide(&ask, &why);
}
/* end src/state/perm.c */
/* begin src/state/catalog.c */
/* catalog: see catalog.h. The snapshot's bytes, little-endian:
 *
 *   0    "AGTCAT02"      8   crc32c of all bytes from 12 on     12  rows
 *   16   next seq        24  bytes of text                      32  live documents
 *   40   next place in the ring of refusals                     44  grants
 *   64   64 refusal hashes
 *   576  rows of 144 bytes, sorted by folded path, then by path
 *   ...  grants of 128 bytes
 *   ...  the text the rows point into */
/* begin src/state/catalog.h */
/* catalog: every document's newest state, in memory, and its snapshot catalog.<number>.
 *
 * A snapshot (`base`) is kept as the bytes of its file, sorted by folded path, and searched where
 * it lies; what changed since is in a hash table (`overlay`). So opening costs one read, and a
 * checkpoint knows what to sync: the overlay.
 *
 * (1) Everything here can be rebuilt: snapshot plus journal give the catalog.
 * (2) agt__catalog_touch may fail for memory; changing a touched row cannot. A writer touches
 *     before the commit point and changes after it.
 * (3) A rename leaves a row at the old path that says so: it is no document's any more, but what
 *     recovers or syncs files must know that none of ours is there. No snapshot has such rows. */
#ifndef AGT_CATALOG_H
#define AGT_CATALOG_H


typedef struct agt_row {
    const char *path; /* the catalog's; NUL-terminated in the overlay only */
    size_t path_len;
    agt_type type;
    bool exists;
    bool untracked;   /* it does not exist as a document, and a file may lie there all the same */
    bool moved;       /* (3) */
    uint32_t version; /* 0: no such document ever */
    uint64_t last_seq;
    int64_t changed_unix_ms;
    uint64_t size;
    agt_oid blob;
    char doc[37];
    char agent[AGT_MAX_NAME + 1];
    /* the file as it was when we last wrote or checked it; all 0: must be looked at */
    uint64_t dev, ino;
    int64_t mtime_ns, ctime_ns;
    uint32_t pending; /* a writer's own: 1 + the plan that changes it, while a transaction runs */
} agt_row;

#define AGT_REFUSALS 64 /* identical refusals are folded within the last so many */

typedef struct agt_grant_row {
    char doc[37], actor[AGT_MAX_NAME + 8];
    int64_t from_unix_ms, until_unix_ms;
} agt_grant_row;

typedef struct agt_catalog {
    const agt_mem *mem;
    agt_buf base; /* the snapshot's bytes, or empty */
    uint32_t base_rows;
    agt_row **slots; /* overlay: open addressing by the hash of the folded path */
    size_t slot_count, used;
    int64_t live; /* documents that exist */
    uint64_t refusals[AGT_REFUSALS];
    uint32_t refusal_at;
    agt_grant_row grants[AGT_MAX_GRANTS];
    size_t grant_count;
} agt_catalog;

AGT_PRIVATE agt_catalog agt__catalog(const agt_mem *mem);
AGT_PRIVATE void agt__catalog_free(agt_catalog *c);
/* Reads catalog.<number> in place of what the catalog held; 0 makes it empty. AGT_CORRUPT names
 * the file. On failure the catalog is unchanged. */
AGT_PRIVATE agt_status agt__catalog_load(agt_catalog *c, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, uint64_t number, agt_error *err);
/* The snapshot's bytes, appended to `out`. */
AGT_PRIVATE agt_status agt__catalog_encode(const agt_catalog *c, agt_cpu cpu, uint64_t next_seq,
                                           agt_buf *out, agt_error *err);
AGT_PRIVATE void agt__catalog_name(uint64_t number, char out[32]);

/* The row of exactly that path, by value; false if there never was such a document, or it has
 * another path now. */
AGT_PRIVATE bool agt__catalog_find(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out);
/* The row as the snapshot has it, whatever changed since. */
AGT_PRIVATE bool agt__catalog_base(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out);
/* The overlay's row, made (from the base, or with version 0) if it is not there yet; lives until
 * the catalog is loaded or freed. NULL: out of memory. */
AGT_PRIVATE agt_row *agt__catalog_touch(agt_catalog *c, const char *path, size_t len);
/* Only looks in the overlay. */
AGT_PRIVATE agt_row *agt__catalog_touched(const agt_catalog *c, const char *path, size_t len);
/* An existing document whose path differs from this one in ASCII case only. */
AGT_PRIVATE bool agt__catalog_case_clash(const agt_catalog *c, const char *path, size_t len,
                                         agt_row *out);
/* Is there an existing document in the folder `path`? */
AGT_PRIVATE bool agt__catalog_has_under(const agt_catalog *c, const char *path, size_t len);

/* Touches what the event will change. False: out of memory. */
AGT_PRIVATE bool agt__catalog_touch_event(agt_catalog *c, const agt_event *e);
/* Changes the (touched) rows as the event says. `size` is the content's length. Events that make no
 * version change no row; violations are remembered for folding. Cannot fail. */
AGT_PRIVATE void agt__catalog_event(agt_catalog *c, const agt_event *e, uint64_t size);
AGT_PRIVATE uint64_t agt__refusal_hash(agt_text actor, agt_text attempted, agt_text path,
                                       agt_text rejected);
AGT_PRIVATE bool agt__catalog_refused(const agt_catalog *c, uint64_t hash);

/* The grant of this document for exactly this grantee that has not ended; NULL: none. */
AGT_PRIVATE const agt_grant_row *agt__catalog_grant(const agt_catalog *c, const char *doc,
                                                    const char *grantee, int64_t now_unix_ms);
/* Is there a grant in force under which the actor may write this document? */
AGT_PRIVATE bool agt__catalog_granted(const agt_catalog *c, const char *doc, agt_text actor,
                                      int64_t now_unix_ms);
AGT_PRIVATE bool agt__grant_holds(const agt_grant_row *g, int64_t now_unix_ms);

typedef enum agt_catalog_scope { AGT_ROWS_ALL, AGT_ROWS_CHANGED } agt_catalog_scope;
/* Copies of the rows in byte order of their paths: all documents that ever were, or the overlay's
 * with a version, and those (3). Free with agt__rows_free. The paths live as long as the catalog's.
 */
typedef struct agt_rows {
    agt_row *row;
    size_t count, cap;
} agt_rows;
AGT_PRIVATE agt_status agt__catalog_rows(const agt_catalog *c, agt_catalog_scope scope,
                                         agt_rows *out, agt_error *err);
AGT_PRIVATE void agt__rows_free(const agt_mem *mem, agt_rows *rows);

#endif /* AGT_CATALOG_H */
/* end src/state/catalog.h */


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
                             ".agent-trace/%s is missing or damaged; restore it from a backup",
                             name);
        }
        fresh.base_rows = agt__get32(fresh.base.data + 12);
        fresh.live = (int64_t)agt__get64(fresh.base.data + 32);
        fresh.refusal_at = agt__get32(fresh.base.data + 40) % AGT_REFUSALS;
        for (int i = 0; i < AGT_REFUSALS; i++)
            fresh.refusals[i] = agt__get64(fresh.base.data + 64 + i * 8);
        catalog_base_grants(&fresh);
    }
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
    uint64_t h = 0xcbf29ce484222325u;
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

/* ---- events ---- */

AGT_PRIVATE uint64_t agt__refusal_hash(agt_text actor, agt_text attempted, agt_text path,
                                       agt_text rejected) {
    uint64_t h = 0xcbf29ce484222325u;
    const agt_text parts[4] = {actor, attempted, path, rejected};
    for (int p = 0; p < 4; p++) {
        for (size_t i = 0; i < parts[p].len; i++)
            h = (h ^ (unsigned char)parts[p].data[i]) * 0x100000001b3u;
        h = (h ^ 0xff) * 0x100000001b3u;
    }
    return h ? h : 1;
}

AGT_PRIVATE bool agt__catalog_refused(const agt_catalog *c, uint64_t hash) {
    for (int i = 0; i < AGT_REFUSALS; i++)
        if (c->refusals[i] == hash) return true;
    return false;
}

static void catalog_refusal(agt_catalog *c, const agt_event *e) {
    uint64_t hash = agt__refusal_hash(e->actor, e->change_kind, e->path, e->rejected);
    if (agt__catalog_refused(c, hash)) return;
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
    if (g.until_unix_ms - g.from_unix_ms <= AGT_MAX_GRANT_MS) c->grants[c->grant_count++] = g;
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
/* end src/state/catalog.c */
/* begin src/state/shared.c */
/* shared: encoding of .agent-trace/state; see shared.h. Each copy is 320 bytes at 0 and at 512. */
/* begin src/state/shared.h */
/* shared: .agent-trace/state, what the processes of one boot agree on about the journal's end.
 * Two copies and a flip; only written under the store lock, never synced, and trusted only with
 * the same boot, generation and journal file. Losing it costs a recovery, nothing else. */
#ifndef AGT_SHARED_H
#define AGT_SHARED_H


typedef struct agt_shared {
    uint64_t flip; /* grows with every write; the higher valid copy counts */
    char boot[40];
    uint64_t generation, dev, ino; /* of the journal */
    uint64_t next_seq;             /* of the next event */
    uint64_t end;                  /* byte behind the last record */
    uint64_t synced;               /* records before this byte are durable */
    uint64_t applied;              /* records before this byte are applied */
    uint64_t applied_seq;          /* first seq of the record at `applied` */
    uint32_t applied_chain;        /* checksum seed at `applied` */
    uint32_t chain;                /* checksum that seeds the next record */
    agt_trace_end trace;
    uint64_t published_seq, packed_seq;
    agt_oid head, packed_head;
    uint32_t failed;    /* a sync failed: read-only until a recovery */
    uint32_t git_clean; /* git was mended since the last recovery */
} agt_shared;

/* AGT_END: neither copy is valid. */
AGT_PRIVATE agt_status agt__shared_read(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *out,
                                        agt_error *err);
AGT_PRIVATE agt_status agt__shared_write(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *s,
                                         agt_error *err);

#endif /* AGT_SHARED_H */
/* end src/state/shared.h */

#define SHARED_MAGIC 0x32545354u /* "TST2" as stored */
#define SHARED_BYTES 320u
#define SHARED_STEP  512u

static void shared_encode(const agt_shared *s, agt_cpu cpu, unsigned char *p) {
    memset(p, 0, SHARED_BYTES);
    agt__put32(p, SHARED_MAGIC);
    agt__put64(p + 8, s->flip);
    memcpy(p + 16, s->boot, 40);
    agt__put64(p + 56, s->generation);
    agt__put64(p + 64, s->dev);
    agt__put64(p + 72, s->ino);
    agt__put64(p + 80, s->next_seq);
    agt__put64(p + 88, s->end);
    agt__put64(p + 96, s->synced);
    agt__put64(p + 104, s->applied);
    agt__put64(p + 112, s->applied_seq);
    agt__put32(p + 120, s->applied_chain);
    agt__put32(p + 124, s->chain);
    agt__put64(p + 128, s->trace.segment);
    agt__put64(p + 136, s->trace.offset);
    memcpy(p + 144, s->trace.prev, 32);
    agt__put64(p + 176, s->published_seq);
    agt__put64(p + 184, s->packed_seq);
    memcpy(p + 192, s->head.id, 20);
    memcpy(p + 212, s->packed_head.id, 20);
    agt__put32(p + 232, s->failed);
    agt__put32(p + 236, s->git_clean);
    agt__put32(p + SHARED_BYTES - 4, agt__crc32c(cpu, 0, p, SHARED_BYTES - 4));
}

static bool shared_decode(agt_shared *s, agt_cpu cpu, const unsigned char *p) {
    if (agt__get32(p) != SHARED_MAGIC) return false;
    if (agt__get32(p + SHARED_BYTES - 4) != agt__crc32c(cpu, 0, p, SHARED_BYTES - 4)) return false;
    memset(s, 0, sizeof *s);
    s->flip = agt__get64(p + 8);
    memcpy(s->boot, p + 16, 39);
    s->generation = agt__get64(p + 56);
    s->dev = agt__get64(p + 64);
    s->ino = agt__get64(p + 72);
    s->next_seq = agt__get64(p + 80);
    s->end = agt__get64(p + 88);
    s->synced = agt__get64(p + 96);
    s->applied = agt__get64(p + 104);
    s->applied_seq = agt__get64(p + 112);
    s->applied_chain = agt__get32(p + 120);
    s->chain = agt__get32(p + 124);
    s->trace.segment = agt__get64(p + 128);
    s->trace.offset = agt__get64(p + 136);
    memcpy(s->trace.prev, p + 144, 32);
    s->published_seq = agt__get64(p + 176);
    s->packed_seq = agt__get64(p + 184);
    memcpy(s->head.id, p + 192, 20);
    memcpy(s->packed_head.id, p + 212, 20);
    s->failed = agt__get32(p + 232);
    s->git_clean = agt__get32(p + 236);
    return s->trace.offset < AGT_SEGMENT_LONGEST;
}

AGT_PRIVATE agt_status agt__shared_read(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *out,
                                        agt_error *err) {
    unsigned char bytes[SHARED_STEP + SHARED_BYTES];
    agt_shared copy[2];
    memset(bytes, 0, sizeof bytes);
    int64_t n = agt__read_all(sys, fd, bytes, sizeof bytes, 0);
    if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/state");
    bool a = shared_decode(&copy[0], cpu, bytes);
    bool b = shared_decode(&copy[1], cpu, bytes + SHARED_STEP);
    if (!a && !b) return AGT_END;
    *out = b && (!a || copy[1].flip > copy[0].flip) ? copy[1] : copy[0];
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__shared_write(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *s,
                                         agt_error *err) {
    unsigned char p[SHARED_BYTES];
    s->flip++;
    shared_encode(s, cpu, p);
    int rc = agt__write_all(sys, fd, p, sizeof p, (s->flip & 1) * SHARED_STEP);
    if (rc < 0) return agt__fail_io(err, rc, "cannot write .agent-trace/state");
    return AGT_OK;
}
/* end src/state/shared.c */
/* begin src/state/config.c */
/* config: reads and writes .agent-trace/config.toml. Unknown tables and keys are left alone and
 * mean nothing, so that a later version's file opens here as long as its format is ours. */
/* begin src/state/config.h */
/* config: .agent-trace/config.toml, the store's identity and settings, meant for people. */
#ifndef AGT_CONFIG_H
#define AGT_CONFIG_H


typedef struct agt_config {
    char id[40]; /* UUID */
    char name[128];
    int64_t format; /* 2; 0 where there is none: a store of agent-trace 0.1.0 */
    int64_t interval_ms;
    bool polling;
} agt_config;

/* A random UUID (version 4) as 36 characters and a NUL. */
AGT_PRIVATE agt_status agt__uuid(const agt_sys *sys, char out[40], agt_error *err);
/* Reads the file. AGT_NOT_FOUND, AGT_UNSUPPORTED (an older or newer format), AGT_CORRUPT (with the
 * byte), AGT_IO, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__config_read(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_config *out, agt_error *err);
AGT_PRIVATE agt_status agt__config_write(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         const agt_config *config, agt_error *err);

#endif /* AGT_CONFIG_H */
/* end src/state/config.h */

#define CONFIG_NAME   "config.toml"
#define CONFIG_FORMAT 2
#define CONFIG_MAX    65536u

AGT_PRIVATE agt_status agt__uuid(const agt_sys *sys, char out[40], agt_error *err) {
    unsigned char r[16];
    char hex[32];
    int rc = sys->random(sys->ctx, r, sizeof r);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    agt__hex(r, 16, hex);
    static const unsigned char cut[5] = {8, 4, 4, 4, 12};
    size_t at = 0, to = 0;
    for (int i = 0; i < 5; i++) {
        memcpy(out + to, hex + at, cut[i]);
        at += cut[i];
        to += cut[i];
        out[to++] = i < 4 ? '-' : 0;
    }
    return AGT_OK;
}

static agt_status config_value(agt_text table, agt_text key, const agt_toml_value *v,
                               agt_error *err, void *ctx) {
    agt_config *c = ctx;
    if (agt__text_is(table, "store") && agt__text_is(key, "id") && v->kind == AGT_TOML_STRING) {
        if (!agt__copy_text(c->id, sizeof c->id, v->text.data, v->text.len))
            return agt__fail(err, AGT_CORRUPT, "store.id is no UUID");
    } else if (agt__text_is(table, "store") && agt__text_is(key, "name")) {
        (void)agt__copy_text(c->name, sizeof c->name, v->text.data, v->text.len);
    } else if (agt__text_is(table, "store") && agt__text_is(key, "format")) {
        if (v->kind != AGT_TOML_INTEGER)
            return agt__fail(err, AGT_CORRUPT, "store.format is no integer");
        c->format = v->integer;
    } else if (agt__text_is(table, "polling") && agt__text_is(key, "interval_ms")) {
        if (v->kind == AGT_TOML_INTEGER && v->integer > 0) c->interval_ms = v->integer;
    } else if (agt__text_is(table, "polling") && agt__text_is(key, "enabled")) {
        if (v->kind == AGT_TOML_BOOLEAN) c->polling = v->boolean;
    }
    return AGT_OK;
}

/* Nothing but blanks, or the zeros that some file systems leave after a power cut. */
static bool config_blank(const agt_buf *text) {
    for (size_t i = 0; i < text->len; i++)
        if (text->data[i] && !strchr(" \t\r\n", text->data[i])) return false;
    return true;
}

AGT_PRIVATE agt_status agt__config_read(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                        agt_config *out, agt_error *err) {
    agt_error inner;
    agt_buf text = agt__buf(mem);
    memset(out, 0, sizeof *out);
    memset(&inner, 0, sizeof inner);
    out->interval_ms = 1000;
    out->polling = true;
    agt_status st = agt__read_file(sys, dir, CONFIG_NAME, CONFIG_MAX, &text, err);
    if (st == AGT_OK && config_blank(&text))
        st = agt__fail(err, AGT_CORRUPT,
                       ".agent-trace/config.toml is empty; put it back from a copy");
    if (st == AGT_OK) {
        st = agt__toml_read((const char *)text.data, text.len, config_value, out, &inner);
        if (st != AGT_OK && st != AGT_NOMEM)
            st = agt__fail_at(err, AGT_CORRUPT, inner.offset,
                              ".agent-trace/config.toml: %.200s; mend the file by hand",
                              inner.message);
        else if (st != AGT_OK)
            st = agt__nomem(err);
    }
    agt__buf_free(&text);
    if (st != AGT_OK) return st;
    if (out->format == 0)
        return agt__fail(err, AGT_UNSUPPORTED,
                         "this store was made by agent-trace 0.1.0 and has another format");
    if (out->format != CONFIG_FORMAT)
        return agt__fail(err, AGT_UNSUPPORTED,
                         "the store has format %lld, this library knows %d; use a newer "
                         "agent_trace",
                         (long long)out->format, CONFIG_FORMAT);
    if (!out->id[0]) return agt__fail(err, AGT_CORRUPT, ".agent-trace/config.toml has no store.id");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__config_write(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                         const agt_config *config, agt_error *err) {
    char now[AGT_TIME_TEXT];
    agt_buf b = agt__buf(mem);
    agt__time_format(sys->now_unix_ms(sys->ctx), now);
    agt__buf_text(&b, "[store]\nid = ");
    agt__toml_put_string(&b, config->id, strlen(config->id));
    agt__buf_text(&b, "\nname = ");
    agt__toml_put_string(&b, config->name, strlen(config->name));
    agt__buf_text(&b, "\ncreated = ");
    agt__toml_put_string(&b, now, strlen(now));
    agt__buf_text(&b, "\nagent_trace_version = \"" AGENT_TRACE_VERSION "\"\nformat = ");
    agt__buf_u64(&b, CONFIG_FORMAT);
    agt__buf_text(&b, "\n\n[polling]\ninterval_ms = ");
    agt__buf_u64(&b, (uint64_t)config->interval_ms);
    agt__buf_text(&b, config->polling ? "\nenabled = true\n" : "\nenabled = false\n");
    agt_status st = b.failed ? agt__nomem(err)
                             : agt__write_file(sys, dir, CONFIG_NAME, b.data, b.len, true, err);
    agt__buf_free(&b);
    return st;
}
/* end src/state/config.c */
/* floor 4 */
/* begin src/store/remains.c */
/* remains: is a folder .agent-trace a store, none yet, or one that has lost its config.toml?
 *
 * (1) config.toml is written last and makes the folder a store, so a folder without one is mostly
 *     what a process that died while it made a store left. That one may be made anew: it holds
 *     nothing.
 * (2) A folder that holds what only a store can have was a store. Making it anew would take the
 *     only copy of what is in its journal; going past it would write into another store.
 * (3) What cannot be looked at is an error, never a no. */
/* begin src/store/store.h */
/* store: the floor that knows how the parts fit. One handle, one store lock, one way in.
 *
 * The order of things, and the only one: lock, refresh, plan, append, sync, apply, save, unlock.
 * Locks are taken publish before store, never the other way. */
#ifndef AGT_STORE_PART_H
#define AGT_STORE_PART_H


#define AGT_INLINE_MAX   (1024u * 1024)     /* longer contents go to a side file */
#define AGT_BATCH_INLINE (2u * 1024 * 1024) /* together, in one record */
#define AGT_REJECTED_MAX                                                                           \
    (32u * 1024 * 1024) /* longer refused bytes are told by their hash alone                       \
                         */

/* How far this handle has read the journal. */
typedef struct agt_seen {
    uint64_t pos, next_seq;
    uint32_t chain;
} agt_seen;

struct agt_store {
    agt_mem mem;
    const agt_sys *sys;
    agt_cpu cpu;
    agt_process self;
    void *mutex;         /* guards everything below but `git` */
    void *publish_mutex; /* taken before `mutex`; guards `git` and git_dir */
    void *reader_mutex;  /* taken last; guards `reader` and reader_dir */
    bool read_only, opening, trusts_state, reload, recovered;
    uint32_t durability, publish;
    int32_t timeout_ms;
    agt_config config;
    agt_fd root, at; /* the folder, and .agent-trace in it */
    agt_fd locks, tmp, trace_dir, unpublished, aside, rejected;
    agt_fd git_dir, reader_dir; /* .agent-trace/git, as `git` and `reader` know it */
    agt_fd state_fd;
    agt_flock lock, publish_lock;
    agt_journal journal;
    agt_shared shared;
    agt_seen seen;
    agt_catalog catalog;
    agt_trace_writer trace;
    uint64_t synced_docs_seq;            /* documents changed up to this event are durable */
    agt_error waits;                     /* why the last change that waits could not be applied */
    agt_buf old, record, lines, scratch; /* working memory, kept between calls */
    agt_git *git;                        /* the publisher's */
    agt_git *reader; /* for history, so that readers never wait for a publisher */
    char root_path[4096];
    /* a store of agent-trace 0.1.0: what it is read through, freed with the handle; NULL: ours */
    void *stands_on;
    void (*stands_on_free)(void *stands_on);
};

/* ---- store.c: entering and leaving ---- */

/* As agt_open, for a store of our own format. */
AGT_PRIVATE agt_status agt__store_open(agt_store **out, const char *root,
                                       const agt_open_options *opts, agt_error *err);
/* What a read-only handle answers to whoever wants to write. */
AGT_PRIVATE agt_status agt__store_refuse(const agt_store *s, agt_error *err);

/* Takes the handle's mutex; AGT_INVALID in a fork's child. */
AGT_PRIVATE agt_status agt__store_enter(agt_store *s, agt_error *err);
AGT_PRIVATE void agt__store_leave(agt_store *s);
/* Takes mutex and store lock, and brings the handle up to date; recovers or finishes what a dead
 * writer left. A read-only handle only enters and reads. */
AGT_PRIVATE agt_status agt__store_lock(agt_store *s, agt_error *err);
AGT_PRIVATE void agt__store_unlock(agt_store *s);
/* Writes the shared state; a failure is not the caller's: the next holder recovers. */
AGT_PRIVATE void agt__store_save(agt_store *s);
/* Reads the shared state without the store lock. False: there is none for this boot and this
 * generation of the journal, so nobody knows since a restart. Under the handle's mutex. */
AGT_PRIVATE bool agt__store_peek(const agt_store *s, agt_shared *out);
/* A reader's refresh, without a lock: header, records, header again. Under the handle's mutex. */
AGT_PRIVATE agt_status agt__store_look_again(agt_store *s, agt_error *err);
/* Loads header and catalog anew and forgets what was seen of the journal. */
AGT_PRIVATE agt_status agt__store_reload(agt_store *s, agt_error *err);
/* Reads records from `seen` up to `end` (or as long as they check, for UINT64_MAX) into the
 * catalog. */
AGT_PRIVATE agt_status agt__store_replay(agt_store *s, uint64_t end, agt_error *err);
/* Parses an entry's line and checks that it may be acted on: the seq it must have, a path that the
 * path rules allow, ids that are ids. A store may come from somebody else. AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__store_event(const agt_entry *entry, uint64_t seq, agt_buf *scratch,
                                        agt_event *e, agt_error *err);
/* Touches and changes the catalog for each event of a record. */
AGT_PRIVATE agt_status agt__store_record_rows(agt_store *s, const agt_record *r, agt_error *err);
/* Opens .agent-trace/git as it is now where somebody put another folder in its place, and objects
 * in it; *moved: somebody did. Under the mutex of `git` and `dir`. */
AGT_PRIVATE agt_status agt__store_follow_git(agt_store *s, agt_git *git, agt_fd *dir, bool make,
                                             bool *moved, agt_error *err);

/* ---- remains.c ---- */

/* Is the open folder .agent-trace of `root` a store: has it a config.toml? No is the answer for a
 * folder in which a store was begun at most. AGT_CORRUPT: it was a store and has lost that file.
 * AGT_IO. Changes nothing, and takes no lock. */
AGT_PRIVATE agt_status agt__store_there(const agt_sys *sys, agt_fd at, const char *root,
                                        bool *there, agt_error *err);

/* ---- apply.c: what a committed record does to the files ---- */

/* A document's file as it was looked at. */
typedef struct agt_look {
    bool on_disk;
    agt_stat stat;
    agt_oid blob;
} agt_look;

/* Reads the file into `bytes` (emptied first) without following links. AGT_INVALID: a link, a
 * folder or another non-file is in the way; AGT_LIMIT; AGT_IO. Not there is AGT_OK. */
AGT_PRIVATE agt_status agt__look(agt_store *s, const char *path, size_t len, agt_buf *bytes,
                                 agt_look *out, agt_error *err);
/* Is what was looked at this version: these bytes, or (exists false) no file? */
AGT_PRIVATE bool agt__look_is(const agt_look *look, bool exists, const agt_oid *blob);

typedef struct agt_place {
    const char *path;
    size_t path_len;
    uint64_t seq;    /* names the temporary file tmp/<seq>.new */
    agt_look before; /* what was seen there; anything else is kept aside */
    bool remove;
    uint32_t mode;   /* of a new file; 0: as files are made here */
    agt_stat staged; /* of the temporary file */
    agt_stat after;  /* of the document when it is in place; ino 0: look again */
    bool kept_aside;
} agt_place;

/* Writes tmp/<seq>.new with the bytes; fills p->staged. */
AGT_PRIVATE agt_status agt__stage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                  agt_error *err);
/* The same for a change that is recorded already: the name appears with all its bytes, because
 * recovery takes other bytes under it for an edit. */
AGT_PRIVATE agt_status agt__restage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                    agt_error *err);
AGT_PRIVATE void agt__unstage(agt_store *s, uint64_t seq);
/* Puts the staged file in the document's place (or removes the document) and looks at what it
 * replaced once more. Idempotent through agt__replay_documents. */
AGT_PRIVATE agt_status agt__place(agt_store *s, agt_place *p, agt_error *err);
/* Moves tmp/<name> to aside/ under a name made of seq and label, synced. 0 or an AGT_SYS_ERR. */
AGT_PRIVATE int agt__keep_aside(agt_store *s, const char *name, uint64_t seq, const char *label,
                                size_t len);
/* Copies the file's identity into the row, so that a later look is cheap. */
AGT_PRIVATE void agt__row_stat(agt_row *row, const agt_stat *st);
/* Makes a document's file and its name durable. */
AGT_PRIVATE agt_status agt__sync_document(agt_store *s, const char *path, size_t len,
                                          agt_error *err);
/* Splits a path into an open folder and the leaf; makes folders if `make`. The fd or an error. */
AGT_PRIVATE agt_fd agt__open_parent(agt_store *s, const char *path, size_t len, bool make,
                                    const char **leaf);
/* "<seq><suffix>" */
AGT_PRIVATE void agt__seq_name(uint64_t seq, const char *suffix, char out[40]);

/* May names in the document's folder be changed? The folder may not be there yet. Asked before a
 * change is recorded, so that applying it can hardly fail. */
AGT_PRIVATE agt_status agt__target(agt_store *s, const char *path, size_t len, agt_error *err);

/* ---- rejected.c ---- */

/* Writes refused bytes to rejected/<sha256 in hex>, synced, and removes the oldest where there are
 * more than AGT_MAX_REJECTED files or bytes. */
AGT_PRIVATE agt_status agt__keep_rejected(agt_store *s, agt_text name, const void *bytes,
                                          size_t len, agt_error *err);

/* ---- pending.c ---- */

/* Events from..to - 1 are recorded and may not be applied. What a live writer is at counts only for
 * a read-only handle, which cannot wait for it. */
typedef struct agt_waiting {
    uint64_t from, to;
    bool known; /* else nobody knows since a restart, and the trace behind the header's end may be
                 * torn (a read-only handle cannot recover) */
} agt_waiting;
/* Under the handle's mutex; `locked` says that the store lock is held, too. */
AGT_PRIVATE agt_waiting agt__waiting(agt_store *s, bool locked);

/* Is what was looked at an older version of a document whose newest change is recorded and not in
 * place yet? Under the handle's mutex; `waiting` was asked for before the look. */
AGT_PRIVATE agt_status agt__look_pending(agt_store *s, const agt_waiting *waiting,
                                         const agt_row *row, const agt_look *look, bool *pending,
                                         agt_error *err);

/* ---- recover.c ---- */

typedef enum agt_replay {
    AGT_REPLAY_LEFT,   /* a writer died: files are whole */
    AGT_REPLAY_CUT,    /* the power may have failed: files may be empty or torn */
    AGT_REPLAY_REWRITE /* a sync failed: what is read may not be on the disk; write all anew */
} agt_replay;
/* Applies the records from journal byte `from` to the end again. Sets *pending if something is in
 * the way of a document. */
AGT_PRIVATE agt_status agt__replay_records(agt_store *s, uint64_t from, agt_replay mode,
                                           bool *pending, agt_error *err);
/* The whole recovery, under the store lock; ends with a checkpoint. */
AGT_PRIVATE agt_status agt__recover(agt_store *s, agt_error *err);

/* ---- checkpoint.c ---- */

/* Under the store lock: makes everything durable in its place and begins a new generation, in a
 * new journal file if `new_file` (after a failed sync). AGT_BUSY while a record waits to be
 * applied. */
AGT_PRIVATE agt_status agt__checkpoint_locked(agt_store *s, bool new_file, agt_error *err);
/* Under the publish lock: publishes if asked to, then checkpoints if the journal reaches beyond the
 * byte `above` by then. */
AGT_PRIVATE agt_status agt__checkpoint_run(agt_store *s, bool publish, uint64_t above,
                                           agt_error *err);
/* Before a write: checkpoints if the journal is half full, without waiting for other publishers
 * unless it is nearly full. */
AGT_PRIVATE agt_status agt__make_room(agt_store *s, agt_error *err);
/* Checkpoints whatever the journal holds, waiting for other publishers but not for git. */
AGT_PRIVATE agt_status agt__empty_journal(agt_store *s, agt_error *err);

/* Under the publish lock: the header learns how far git is durable, if it does not know. What fails
 * here is tried again. */
AGT_PRIVATE void agt__checkpoint_packed(agt_store *s);

/* ---- commit.c ---- */

/* A commit of ours in the making. */
typedef struct agt_commit_text {
    agt_buf message, files, events, name;
    agt_git_signature who;
} agt_commit_text;

AGT_PRIVATE agt_commit_text agt__commit_text(const agt_mem *mem);
AGT_PRIVATE void agt__commit_free(agt_commit_text *c);
/* Takes in an event of a record, with its line; the first one begins the commit. */
AGT_PRIVATE void agt__commit_event(agt_commit_text *c, bool first, const agt_event *e,
                                   const void *line, size_t len);
/* Makes the commit of the transaction's tree and the events that were taken in. */
AGT_PRIVATE agt_status agt__commit_make(agt_commit_text *c, agt_git *git, int64_t recorded_ms,
                                        agt_oid *out, agt_error *err);

/* ---- publish.c ---- */

/* Under the publish lock: commits every record git does not have. `pack`: durably, and nothing
 * stays loose. */
AGT_PRIVATE agt_status agt__publish_locked(agt_store *s, bool pack, agt_error *err);
/* Are the packs still there that were made since the header `h`? Somebody may have taken them away:
 * then *sh says what the header says, what that does not call packed is recorded still, and the
 * next publisher mends. Under the publish lock, or where *sh says no more than `h`. */
AGT_PRIVATE agt_status agt__packed_still(agt_store *s, const agt_journal_header *h, agt_shared *sh,
                                         agt_error *err);
/* Takes and drops publish mutex and lock. */
AGT_PRIVATE agt_status agt__publish_enter(agt_store *s, int32_t timeout_ms, agt_error *err);
AGT_PRIVATE void agt__publish_leave(agt_store *s);
/* ---- records.c ---- */

#define AGT_RECORDS_HEAD 32u /* bytes in front of the records in a file of unpublished/ */

/* The seq behind the last event in unpublished/<first>.records, as its head tells it. AGT_NOT_FOUND
 * if there is no such file, AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__records_end(agt_store *s, uint64_t first, uint64_t *end,
                                        agt_error *err);

/* The content of the event `seq`, which made a blob, or its line, from the journal or unpublished/.
 * AGT_NOT_FOUND if neither has it. Under the handle's mutex. */
AGT_PRIVATE agt_status agt__journalled_content(agt_store *s, uint64_t seq, agt_buf *out,
                                               agt_error *err);
AGT_PRIVATE agt_status agt__journalled_line(agt_store *s, uint64_t seq, agt_buf *out,
                                            agt_error *err);
/* Reads a blob from git through the reader's handle. */
AGT_PRIVATE agt_status agt__git_content(agt_store *s, const agt_oid *blob, agt_buf *out,
                                        agt_error *err);
/* Walks unpublished/<first seq> files and the journal, from the record with first seq `seq` on. */
typedef agt_status (*agt_record_fn)(void *ctx, const agt_record *record, agt_error *err);
AGT_PRIVATE agt_status agt__each_record(agt_store *s, const agt_journal *j, uint64_t seq,
                                        agt_record_fn each, void *ctx, agt_error *err);
/* An entry's bytes: inside the record, or read from its side file into `out` (emptied first).
 * AGT_NOT_FOUND: the side file is gone; to a reader without a lock that may mean that git has the
 * bytes by now. */
AGT_PRIVATE agt_status agt__entry_bytes(agt_store *s, uint64_t seq, const agt_entry *entry,
                                        agt_buf *out, const void **bytes, agt_error *err);
AGT_PRIVATE void agt__side_name(uint64_t seq, char out[40]);

/* ---- walk.c ---- */

typedef struct agt_file {
    const char *path; /* with a slash behind it if it is a folder */
    size_t at, len;   /* where it lies in the paths, and its bytes */
    uint64_t size;
    int64_t changed_unix_ms;
    uint32_t left_out; /* an agt_left_out */
} agt_file;

typedef struct agt_files {
    agt_buf rows;  /* of agt_file, in byte order of their paths */
    agt_buf paths; /* each ended by a NUL */
} agt_files;

/* The files that are no documents, in the folder `under` (empty: everywhere); with `all` what is
 * left out of them, too. Free with agt__files_free, whatever it returns. Takes the handle's mutex.
 */
AGT_PRIVATE agt_status agt__walk(agt_store *s, const char *under, size_t under_len, bool all,
                                 agt_files *out, agt_error *err);
AGT_PRIVATE void agt__files_free(agt_files *f);

/* ---- history.c ---- */

/* Fills the caller's (initialised) struct from a row. */
AGT_PRIVATE void agt__describe(const agt_row *row, bool modified, agt_document *out);

#endif /* AGT_STORE_PART_H */
/* end src/store/store.h */

/* Does this name say that there was a store? The ctx is a remains_folder. */
typedef int (*remains_fn)(void *ctx, const char *name);

typedef struct remains_folder {
    const agt_sys *sys;
    agt_fd fd;
} remains_folder;

static int remains_catalog(void *ctx, const char *name) {
    (void)ctx;
    return strncmp(name, "catalog.", 8) == 0;
}

static int remains_segment(void *ctx, const char *name) {
    const remains_folder *f = ctx;
    uint64_t first;
    agt_stat st;
    if (!agt__segment_parse(name, &first)) return 0;
    return f->sys->stat(f->sys->ctx, f->fd, name, &st) < 0 || st.size > 0;
}

static int remains_packed(void *ctx, const char *name) {
    (void)ctx;
    return strcmp(name, "packed-refs") == 0;
}

static int remains_any(void *ctx, const char *name) {
    (void)ctx, (void)name;
    return 1;
}

/* 1 yes, 0 no, or an AGT_SYS_ERR. */
static int remains_in(const agt_sys *sys, agt_fd at, const char *folder, remains_fn tells) {
    remains_folder f = {sys, agt__walk_folder(sys, at, folder, false)};
    int cls = f.fd < 0 ? AGT_SYS_CLASS(f.fd) : 0;
    if (cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP) return 0;
    if (f.fd < 0) return (int)f.fd;
    int rc = sys->list(sys->ctx, f.fd, tells, &f);
    sys->close(sys->ctx, f.fd);
    return rc;
}

/* Is there a journal that is not as it was made: one header, and zeros behind it? One that cannot
 * be read as a journal may hold anything. */
static agt_status remains_journal(const agt_sys *sys, agt_fd at, bool *found, agt_error *err) {
    agt_journal j;
    unsigned char record[64];
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__journal_open(&j, sys, at, agt__cpu(), false, &mine);
    *found = st != AGT_NOT_FOUND;
    if (st == AGT_IO || st == AGT_NOMEM || st == AGT_BUSY) return agt__answer(st, &mine, err);
    if (st != AGT_OK) return AGT_OK;
    *found = j.header.generation > 1 || j.header.next_seq > 1;
    int64_t n = agt__read_all(sys, j.fd, record, sizeof record, AGT_JOURNAL_START);
    agt__journal_close(&j);
    if (n < 0) return agt__fail_io(err, n, "cannot read a journal record");
    for (int64_t i = 0; i < n; i++)
        if (record[i]) *found = true;
    return AGT_OK;
}

static agt_status remains_look(const agt_sys *sys, agt_fd at, bool *found, agt_error *err) {
    static const struct {
        const char *folder;
        remains_fn tells;
    } places[] = {{"", remains_catalog},
                  {"trace", remains_segment},
                  {"unpublished", remains_any},
                  {"git", remains_packed},
                  {"git/refs/heads", remains_any}};
    agt_status st = remains_journal(sys, at, found, err);
    for (size_t i = 0; st == AGT_OK && !*found && i < AGT_COUNT(places); i++) {
        int rc = remains_in(sys, at, places[i].folder, places[i].tells);
        if (rc < 0)
            st = agt__fail_io(err, rc, "cannot look into .agent-trace/%s", places[i].folder);
        *found = rc > 0;
    }
    return st;
}

static int remains_name(const agt_sys *sys, agt_fd at, const char *name, bool *there) {
    agt_stat st;
    int rc = sys->stat(sys->ctx, at, name, &st);
    *there = rc >= 0;
    return rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
}

/* A store of agent-trace 0.1.0 tells who it is in its manifest, too. */
static agt_status remains_config(const agt_sys *sys, agt_fd at, bool *there, agt_error *err) {
    bool repo = false;
    int rc = remains_name(sys, at, "config.toml", there);
    if (rc == 0 && !*there) rc = remains_name(sys, at, "repo", &repo);
    if (rc == 0 && repo) rc = remains_name(sys, at, "manifest.toml", there);
    return rc < 0 ? agt__fail_io(err, rc, "cannot look at .agent-trace/config.toml") : AGT_OK;
}

AGT_PRIVATE agt_status agt__store_there(const agt_sys *sys, agt_fd at, const char *root,
                                        bool *there, agt_error *err) {
    bool found = false;
    agt_status st = remains_config(sys, at, there, err);
    if (st == AGT_OK && !*there) st = remains_look(sys, at, &found, err);
    if (st != AGT_OK || !found) return st;
    /* somebody may have made it meanwhile; then config.toml was there before all that was found */
    st = remains_config(sys, at, there, err);
    if (st != AGT_OK || *there) return st;
    return agt__fail(err, AGT_CORRUPT,
                     "the store in %.200s has lost its .agent-trace/config.toml; put the file back "
                     "from a copy, or move .agent-trace away to begin anew",
                     root);
}
/* end src/store/remains.c */
/* begin src/store/store.c */
/* store: opening, closing, and the way in and out of the store lock.
 *
 * (1) Nothing is decided on an old view: every lock compares the journal's header and the shared
 *     state with what the handle has seen, and reads what is new.
 * (2) The shared state is a shortcut. It counts only within one boot and for one journal file;
 *     where it does not count, recovery reads everything from the journal.
 * (3) A valid record behind the known end was written by somebody who died: it is synced, then
 *     applied, before anything else happens. */

#define STORE_RETRIES 100
#define STORE_READ    (64u * 1024) /* of journal, at once */

/* ---- the way in ---- */

AGT_PRIVATE agt_status agt__store_enter(agt_store *s, agt_error *err) {
    AGENT_TRACE_ASSERT(s != NULL);
    if (s->sys->pid(s->sys->ctx) != s->self.pid)
        return agt__fail(err, AGT_INVALID,
                         "the store handle was opened before a fork; open the store again in the "
                         "child");
    s->sys->mutex_lock(s->sys->ctx, s->mutex);
    return AGT_OK;
}

AGT_PRIVATE void agt__store_leave(agt_store *s) {
    s->sys->mutex_unlock(s->sys->ctx, s->mutex);
}

AGT_PRIVATE void agt__store_save(agt_store *s) {
    (void)agt__shared_write(s->sys, s->state_fd, s->cpu, &s->shared, NULL);
}

AGT_PRIVATE agt_status agt__store_reload(agt_store *s, agt_error *err) {
    agt_status st = agt__journal_reload(&s->journal, err);
    if (st == AGT_OK)
        st = agt__catalog_load(&s->catalog, s->sys, s->at, s->cpu, s->journal.header.catalog, err);
    if (st != AGT_OK) return st;
    s->seen.pos = AGT_JOURNAL_START;
    s->seen.next_seq = s->journal.header.next_seq;
    s->seen.chain = s->journal.header.crc;
    s->synced_docs_seq = s->seen.next_seq - 1;
    s->reload = false;
    return AGT_OK;
}

static bool store_hex(agt_text t, size_t len) {
    bool good = t.len == len;
    for (size_t i = 0; good && i < len; i++)
        good = (t.data[i] >= '0' && t.data[i] <= '9') || (t.data[i] >= 'a' && t.data[i] <= 'f');
    return good;
}

static bool store_rename(const agt_event *e) {
    return e->version && e->blob.data && agt__path_held(e->from.data, e->from.len) &&
           !agt__text_eq(e->from, e->path);
}

AGT_PRIVATE agt_status agt__store_event(const agt_entry *entry, uint64_t seq, agt_buf *scratch,
                                        agt_event *e, agt_error *err) {
    agt_status st = agt__event_parse(entry->line, entry->line_len, scratch, e, err);
    if (st != AGT_OK) return st;
    bool good = e->seq == seq && (!e->path.data || agt__path_held(e->path.data, e->path.len)) &&
                (!e->blob.data || store_hex(e->blob, 40)) &&
                (!e->rejected.data || store_hex(e->rejected, 64)) &&
                (!e->from.data || store_rename(e)) && agt__actor_valid(e->actor.data, e->actor.len);
    if (e->version) good = good && e->path.data && e->doc.len == 36;
    if (e->version && e->blob.data) good = good && (entry->flags & AGT_ENTRY_CONTENT);
    if (good) return AGT_OK;
    return agt__fail(err, AGT_CORRUPT,
                     "the record of event %llu says what no agent_trace writes; the store is "
                     "damaged, or was made to harm",
                     (unsigned long long)seq);
}

AGT_PRIVATE agt_status agt__store_record_rows(agt_store *s, const agt_record *r, agt_error *err) {
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++) {
        agt_status st = agt__store_event(&e, seq, &s->scratch, &ev, err);
        if (st != AGT_OK) return st;
        if (!agt__catalog_touch_event(&s->catalog, &ev)) return agt__nomem(err);
        agt__catalog_event(&s->catalog, &ev, e.content_len);
    }
    return AGT_OK;
}

static void store_saw(agt_store *s, const agt_record *r) {
    s->seen.pos += r->length;
    s->seen.next_seq += r->entries;
    s->seen.chain = r->crc;
}

/* Many records with one read. What is left, a record that is longer or does not check, is the
 * caller's. */
static agt_status store_replay_many(agt_store *s, uint64_t end, agt_error *err) {
    agt_record r;
    uint64_t capacity = s->journal.header.capacity;
    if (end > capacity) end = capacity;
    if (s->seen.pos >= end) return AGT_OK;
    uint64_t left = end - s->seen.pos;
    size_t n = left < STORE_READ ? (size_t)left : STORE_READ, at = 0;
    s->record.len = 0;
    if (!agt__buf_reserve(&s->record, n)) return agt__nomem(err);
    int64_t got = agt__read_all(s->sys, s->journal.fd, s->record.data, n, s->seen.pos);
    if (got < 0) return agt__fail_io(err, got, "cannot read a journal record");
    for (; agt__record_parse(s->record.data + at, (size_t)got - at, s->cpu,
                             s->journal.header.generation, s->seen.next_seq, s->seen.chain,
                             &r) == AGT_OK;
         at += r.length) {
        agt_status st = agt__store_record_rows(s, &r, err);
        if (st != AGT_OK) return st;
        store_saw(s, &r);
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_replay(agt_store *s, uint64_t end, agt_error *err) {
    agt_record r;
    while (s->seen.pos < end) {
        /* a reader who does not know the end mostly finds nothing: a small read says so */
        agt_status st = end == UINT64_MAX ? AGT_OK : store_replay_many(s, end, err);
        if (st != AGT_OK || s->seen.pos >= end) return st;
        st = agt__record_read(s->sys, s->journal.fd, s->seen.pos, s->journal.header.capacity,
                              s->cpu, s->journal.header.generation, s->seen.next_seq, s->seen.chain,
                              &s->record, &r, err);
        if (st == AGT_OK) st = agt__store_record_rows(s, &r, err);
        if (st != AGT_OK) return st;
        store_saw(s, &r);
        if (end == UINT64_MAX && (st = store_replay_many(s, end, err)) != AGT_OK) return st;
    }
    return AGT_OK;
}

static void store_trace_end(agt_store *s, const agt_record *r, agt_trace_end *end) {
    agt_entry e;
    end->segment = r->segment;
    end->offset = r->trace_offset;
    for (size_t at = 0; agt__record_next(r, &at, &e);) {
        end->offset += e.line_len;
        agt__sha256(s->cpu, e.line, e.line_len, end->prev);
    }
}

/* (3): takes in valid records behind the known end. `more` says that there were any. */
static agt_status store_adopt(agt_store *s, bool *more, agt_error *err) {
    agt_record r;
    agt_shared *sh = &s->shared;
    *more = false;
    for (;;) {
        agt_status st = agt__record_read(s->sys, s->journal.fd, sh->end, s->journal.header.capacity,
                                         s->cpu, s->journal.header.generation, sh->next_seq,
                                         sh->chain, &s->record, &r, err);
        if (st == AGT_END) break;
        if (st != AGT_OK) return st;
        if (!*more) {
            int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
            if (rc < 0) {
                sh->failed = 1;
                agt__store_save(s);
                return agt__fail_io(err, rc, "cannot sync .agent-trace/journal");
            }
            *more = true;
        }
        sh->end += r.length;
        sh->next_seq += r.entries;
        sh->chain = r.crc;
        store_trace_end(s, &r, &sh->trace);
    }
    if (*more) sh->synced = sh->end;
    return agt__store_replay(s, sh->end, err);
}

static agt_status store_finish_others(agt_store *s, agt_error *err) {
    bool more, pending = false;
    agt_shared *sh = &s->shared;
    agt_status st = store_adopt(s, &more, err);
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    if (sh->applied >= sh->end) return AGT_OK;
    st = agt__replay_records(s, sh->applied, AGT_REPLAY_LEFT, &pending, err);
    if (st == AGT_OK && !pending) {
        sh->applied = sh->end;
        sh->applied_seq = sh->next_seq;
        sh->applied_chain = sh->chain;
    }
    if (st == AGT_OK) agt__store_save(s);
    return st;
}

static bool store_state_counts(const agt_store *s, const agt_shared *now) {
    if (!s->self.boot[0] && !s->trusts_state) return false;
    return strcmp(now->boot, s->self.boot) == 0;
}

AGT_PRIVATE bool agt__store_peek(const agt_store *s, agt_shared *out) {
    return s->state_fd != AGT_FD_NONE &&
           agt__shared_read(s->sys, s->state_fd, s->cpu, out, NULL) == AGT_OK &&
           out->generation == s->journal.header.generation && store_state_counts(s, out);
}

static agt_status store_reopen_journal(agt_store *s, agt_error *err) {
    agt_journal fresh;
    agt_status st = agt__journal_open(&fresh, s->sys, s->at, s->cpu, !s->read_only, err);
    if (st == AGT_NOT_FOUND)
        return agt__fail(err, AGT_CORRUPT,
                         ".agent-trace/journal is missing; restore the store from a backup");
    if (st != AGT_OK) return st;
    agt__journal_close(&s->journal);
    s->journal = fresh;
    s->reload = true;
    return AGT_OK;
}

/* (1) */
static agt_status store_refresh(agt_store *s, agt_error *err) {
    agt_shared now;
    agt_stat st_at;
    agt_status st = agt__shared_read(s->sys, s->state_fd, s->cpu, &now, err);
    if (st == AGT_END || (st == AGT_OK && !store_state_counts(s, &now)))
        return agt__recover(s, err);
    if (st != AGT_OK) return st;
    int rc = s->sys->stat(s->sys->ctx, s->at, "journal", &st_at);
    if (rc < 0 || st_at.ino != s->journal.ino || st_at.dev != s->journal.dev) {
        if ((st = store_reopen_journal(s, err)) != AGT_OK) return st;
    }
    if (now.dev != s->journal.dev || now.ino != s->journal.ino) return agt__recover(s, err);
    if (now.failed && s->opening) return agt__recover(s, err);
    if (now.failed)
        return agt__fail(err, AGT_IO,
                         "an earlier sync to disk failed, so the store is read-only; close and "
                         "open it again to recover");
    if (!agt__journal_current(&s->journal) || now.generation != s->journal.header.generation) {
        if ((st = agt__journal_reload(&s->journal, err)) != AGT_OK) return st;
        if (now.generation != s->journal.header.generation) return agt__recover(s, err);
        s->reload = true;
    }
    if (s->reload || s->seen.pos > now.end)
        if ((st = agt__store_reload(s, err)) != AGT_OK) return st;
    st = agt__store_replay(s, now.end, err);
    if (st == AGT_OK && (s->seen.pos != now.end || s->seen.chain != now.chain)) st = AGT_END;
    if (st == AGT_END) return agt__recover(s, err); /* the state lies */
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    s->shared = now;
    return store_finish_others(s, err);
}

AGT_PRIVATE agt_status agt__store_refuse(const agt_store *s, agt_error *err) {
    if (!s->stands_on) return agt__fail(err, AGT_INVALID, "the store was opened read-only");
    return agt__fail(err, AGT_UNSUPPORTED,
                     "this store was made by agent-trace 0.1.0 and can only be read; run "
                     "'agent-trace upgrade' to write to it");
}

AGT_PRIVATE agt_status agt__store_lock(agt_store *s, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    if (s->read_only) {
        agt__store_leave(s);
        return agt__store_refuse(s, err);
    }
    agt_error mine;
    mine.status = AGT_OK;
    st = agt__flock_take(&s->lock, s->timeout_ms, &mine);
    if (st == AGT_OK) {
        st = store_refresh(s, &mine);
        if (st != AGT_OK) agt__flock_drop(&s->lock);
    }
    if (st != AGT_OK) agt__store_leave(s);
    return agt__answer(st, &mine, err);
}

AGT_PRIVATE void agt__store_unlock(agt_store *s) {
    agt__flock_drop(&s->lock);
    agt__store_leave(s);
}

/* A reader's refresh: no lock. Header, records, header again. */
static agt_status store_look_again(agt_store *s, agt_error *err) {
    agt_status st = AGT_OK;
    for (int i = 0; i < STORE_RETRIES; i++) {
        if (s->reload || !agt__journal_current(&s->journal)) {
            st = store_reopen_journal(s, err);
            if (st == AGT_OK) st = agt__store_reload(s, err);
            if (st == AGT_CORRUPT && !agt__journal_current(&s->journal)) continue; /* torn? */
            if (st != AGT_OK) return st;
        }
        st = agt__store_replay(s, UINT64_MAX, err);
        if (st == AGT_NOMEM || st == AGT_IO) {
            s->reload = true;
            return st;
        }
        if (agt__journal_current(&s->journal)) {
            if (st == AGT_END) return AGT_OK;
            s->reload = true;
            return st;
        }
        s->reload = true;
    }
    if (st == AGT_CORRUPT) return st; /* every time: damage, not haste */
    return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
}

AGT_PRIVATE agt_status agt__store_look_again(agt_store *s, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(store_look_again(s, &mine), &mine, err);
}

/* Is `dir` what stands at .agent-trace/git? */
static agt_status store_git_still(const agt_store *s, agt_fd dir, bool *still, agt_error *err) {
    agt_stat now, ours;
    *still = false;
    if (dir == AGT_FD_NONE) return AGT_OK;
    int rc = s->sys->stat(s->sys->ctx, s->at, "git", &now);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    if (rc == 0) rc = s->sys->fstat(s->sys->ctx, dir, &ours);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/git");
    *still = now.dev == ours.dev && now.ino == ours.ino;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_follow_git(agt_store *s, agt_git *git, agt_fd *dir, bool make,
                                             bool *moved, agt_error *err) {
    agt_fd fd = *dir;
    bool still;
    *moved = false;
    agt_status st = store_git_still(s, fd, &still, err);
    if (st == AGT_OK && !still) st = agt__open_folder(s->sys, s->at, "git", make, &fd, err);
    if (st != AGT_OK) return st;
    st = agt__git_follow(git, fd, moved, err);
    agt_fd old = st == AGT_OK ? *dir : fd;
    if (st == AGT_OK) *dir = fd;
    if (!still && old != AGT_FD_NONE) s->sys->close(s->sys->ctx, old);
    return st;
}

/* ---- opening ---- */

static agt_status store_folders(agt_store *s, bool make, agt_error *err) {
    static const char *const names[] = {"locks", "tmp",      "trace", "unpublished",
                                        "aside", "rejected", "git"};
    agt_fd *const fds[] = {&s->locks, &s->tmp,      &s->trace_dir, &s->unpublished,
                           &s->aside, &s->rejected, &s->git_dir};
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        if (*fds[i] != AGT_FD_NONE) continue;
        agt_error mine;
        mine.status = AGT_OK;
        agt_status st = agt__open_folder(s->sys, s->at, names[i], make, fds[i], &mine);
        if (st == AGT_NOT_FOUND && s->read_only) continue;
        if (st != AGT_OK) return agt__answer(st, &mine, err);
    }
    return AGT_OK;
}

static agt_status store_journal_make(agt_store *s, agt_error *err) {
    agt_journal_header h;
    memset(&h, 0, sizeof h);
    h.generation = 1;
    h.next_seq = 1;
    h.trace.segment = 1;
    int rc = s->sys->random(s->sys->ctx, h.replica, sizeof h.replica);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    return agt__journal_create(s->sys, s->at, s->cpu, &s->mem, &h, err);
}

/* Makes what is missing; config.toml comes last and makes it a store. Under the store lock, so
 * that two processes may do it at once. What was a store is left as it is. */
static agt_status store_create(agt_store *s, agt_error *err) {
    bool there;
    const char *base = s->root_path, *p;
    agt_status st = agt__flock_take(&s->lock, s->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__store_there(s->sys, s->at, s->root_path, &there, err);
    if (st != AGT_OK || there) {
        agt__flock_drop(&s->lock);
        return st;
    }
    (void)s->sys->remove(s->sys->ctx, s->at, "state");
    st = agt__hide_folder(s->sys, s->at, err);
    if (st == AGT_OK) st = store_journal_make(s, err);
    if (st == AGT_OK) st = agt__git_init(s->sys, s->git_dir, &s->mem, err);
    if (st == AGT_OK) st = agt__uuid(s->sys, s->config.id, err);
    if (st == AGT_OK) {
        for (p = base; *p; p++)
            if (p[0] == '/' && p[1] && p[1] != '/') base = p + 1;
        (void)agt__copy_text(s->config.name, sizeof s->config.name, base, strlen(base));
        size_t n = agt__utf8_valid(s->config.name, strlen(s->config.name));
        s->config.name[n] = 0;
        if (!s->config.name[0] || s->config.name[0] == '.')
            memcpy(s->config.name, "agent-trace-store", 18);
        s->config.interval_ms = 1000;
        s->config.polling = true;
        st = agt__config_write(s->sys, s->at, &s->mem, &s->config, err);
    }
    if (st == AGT_OK) {
        int rc = s->sys->sync(s->sys->ctx, s->root);
        if (rc < 0) st = agt__fail_io(err, rc, "cannot sync the store's folder");
    }
    agt__flock_drop(&s->lock);
    return st;
}

static agt_status store_open_root(agt_store *s, const char *root, bool create, agt_error *err) {
    char parent[4096];
    const agt_sys *sys = s->sys;
    if (!agt__copy_text(s->root_path, sizeof s->root_path, root, strlen(root)) || !root[0])
        return agt__fail(err, AGT_INVALID, "the store's folder has an empty or overlong path");
    s->root = sys->open_root(sys->ctx, root);
    if (s->root < 0 && create && AGT_SYS_CLASS(s->root) == AGT_SYS_NOENT) {
        size_t n = strlen(root);
        while (n > 1 && root[n - 1] == '/')
            n--;
        size_t cut = n;
        while (cut > 0 && root[cut - 1] != '/')
            cut--;
        (void)agt__copy_text(parent, sizeof parent, root, cut ? cut : 1);
        if (!cut) memcpy(parent, ".", 2);
        char leaf[256];
        if (!agt__copy_text(leaf, sizeof leaf, root + cut, n - cut))
            return agt__fail(err, AGT_INVALID, "the store's folder has an overlong name");
        agt_fd up = sys->open_root(sys->ctx, parent);
        if (up >= 0) {
            (void)sys->make_folder(sys->ctx, up, leaf, 0777);
            sys->close(sys->ctx, up);
            s->root = sys->open_root(sys->ctx, root);
        }
    }
    if (s->root >= 0) return AGT_OK;
    int rc = (int)s->root;
    s->root = AGT_FD_NONE;
    return agt__fail_sys(err, rc, "cannot open the folder %.200s", root);
}

static agt_status store_no_store(agt_store *s, agt_error *err) {
    return agt__fail(err, AGT_NOT_FOUND,
                     "no agent-trace store in %.200s; make one with 'agent-trace init'",
                     s->root_path);
}

static agt_status store_open_at(agt_store *s, bool create, agt_error *err) {
    bool there;
    agt_status st = agt__open_private(s->sys, s->root, create, &s->at, err);
    if (st == AGT_NOT_FOUND) return store_no_store(s, err);
    if (st != AGT_OK) return st;
    /* an old format, or a store without its config.toml, must be refused before anything is made
     * in its folder */
    st = agt__store_there(s->sys, s->at, s->root_path, &there, err);
    if (st != AGT_OK) return st;
    if (!there && !create) return store_no_store(s, err);
    if (there) {
        st = agt__config_read(s->sys, s->at, &s->mem, &s->config, err);
        if (st != AGT_OK) return st;
    }
    st = store_folders(s, !s->read_only, err);
    if (st != AGT_OK) return st;
    agt__flock_init(&s->lock, s->sys, s->locks, "store.lock");
    agt__flock_init(&s->publish_lock, s->sys, s->locks, "publish.lock");
    if (!there) {
        st = store_create(s, err);
        if (st == AGT_OK) st = agt__config_read(s->sys, s->at, &s->mem, &s->config, err);
    }
    return st;
}

static agt_status store_open_files(agt_store *s, agt_error *err) {
    uint32_t flags = s->read_only ? AGT_O_READ : AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    agt_status st = store_reopen_journal(s, err);
    if (st != AGT_OK) return st;
    agt__trace_writer_init(&s->trace, s->sys, s->trace_dir);
    s->state_fd = s->sys->open(s->sys->ctx, s->at, "state", flags, 0600);
    if (s->state_fd < 0 && !s->read_only) {
        int rc = (int)s->state_fd;
        s->state_fd = AGT_FD_NONE;
        return agt__fail_io(err, rc, "cannot open .agent-trace/state");
    }
    if (s->state_fd < 0) s->state_fd = AGT_FD_NONE;
    st = agt__git_open(&s->git, s->sys, s->git_dir, &s->mem, s->cpu, err);
    if (st == AGT_OK) st = agt__git_open(&s->reader, s->sys, AGT_FD_NONE, &s->mem, s->cpu, err);
    if (st != AGT_OK) return st;
    if (s->read_only) return agt__store_look_again(s, err);
    s->opening = true;
    st = agt__store_lock(s, err);
    s->opening = false;
    if (st == AGT_OK) agt__store_unlock(s);
    return st;
}

static void store_free(agt_store *s) {
    agt_mem mem = s->mem;
    void *stands_on = s->stands_on;
    void (*stands_on_free)(void *) = s->stands_on_free;
    agt_fd fds[] = {s->root,  s->at,       s->locks,   s->tmp,        s->trace_dir, s->unpublished,
                    s->aside, s->rejected, s->git_dir, s->reader_dir, s->state_fd};
    if (s->git) agt__git_close(s->git);
    if (s->reader) agt__git_close(s->reader);
    if (s->trace.sys) agt__trace_writer_close(&s->trace);
    agt__journal_close(&s->journal);
    if (s->lock.sys) agt__flock_close(&s->lock);
    if (s->publish_lock.sys) agt__flock_close(&s->publish_lock);
    for (size_t i = 0; i < AGT_COUNT(fds); i++)
        if (fds[i] != AGT_FD_NONE) s->sys->close(s->sys->ctx, fds[i]);
    agt__catalog_free(&s->catalog);
    agt__buf_free(&s->old);
    agt__buf_free(&s->record);
    agt__buf_free(&s->lines);
    agt__buf_free(&s->scratch);
    if (s->mutex) s->sys->mutex_free(s->sys->ctx, s->mutex);
    if (s->publish_mutex) s->sys->mutex_free(s->sys->ctx, s->publish_mutex);
    if (s->reader_mutex) s->sys->mutex_free(s->sys->ctx, s->reader_mutex);
    agt__free(&mem, s, sizeof *s);
    if (stands_on) stands_on_free(stands_on);
}

static agt_store *store_new(const agt_open_options *o) {
    agt_mem mem = agt__mem(o->allocator);
    agt_store *s = agt__zalloc(&mem, sizeof *s);
    if (!s) return NULL;
    s->mem = mem;
    s->sys = agt__sys_or_os(o->sys);
    s->cpu = agt__cpu();
    s->read_only = o->read_only != 0;
    s->durability = o->durability ? o->durability : AGT_DURABLE_FULL;
    s->publish = o->publish ? o->publish : AGT_PUBLISH_IDLE;
    s->timeout_ms = o->timeout_ms;
    s->root = s->at = s->locks = s->tmp = s->trace_dir = s->unpublished = s->aside = s->rejected =
        s->git_dir = s->reader_dir = s->state_fd = AGT_FD_NONE;
    s->journal.fd = AGT_FD_NONE;
    s->journal.sys = s->sys;
    s->catalog = agt__catalog(&s->mem);
    s->old = s->record = s->lines = s->scratch = agt__buf(&s->mem);
    s->reload = true;
    s->mutex = s->sys->mutex_new(s->sys->ctx);
    s->publish_mutex = s->sys->mutex_new(s->sys->ctx);
    s->reader_mutex = s->sys->mutex_new(s->sys->ctx);
    if (s->mutex && s->publish_mutex && s->reader_mutex) return s;
    store_free(s);
    return NULL;
}

AGT_PRIVATE agt_status agt__store_open(agt_store **out, const char *root,
                                       const agt_open_options *opts, agt_error *err) {
    agt_open_options o;
    AGENT_TRACE_ASSERT(out && root);
    *out = NULL;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_open_options", err);
    if (st != AGT_OK) return st;
    if (o.durability > AGT_DURABLE_PROCESS || o.publish > AGT_PUBLISH_MANUAL)
        return agt__fail(err, AGT_INVALID, "unknown durability or publish mode");
    if (o.create && o.read_only)
        return agt__fail(err, AGT_INVALID, "a store cannot be made through a read-only handle");
    agt_store *s = store_new(&o);
    if (!s) return agt__nomem(err);
    int rc = s->sys->process(s->sys->ctx, &s->self);
    st = rc < 0 ? agt__fail_io(err, rc, "cannot tell who this process is") : AGT_OK;
    if (st == AGT_OK) st = store_open_root(s, root, o.create != 0, err);
    if (st == AGT_OK) st = store_open_at(s, o.create != 0, err);
    if (st == AGT_OK) st = store_open_files(s, err);
    if (st != AGT_OK) {
        store_free(s);
        return st;
    }
    *out = s;
    return AGT_OK;
}

/* ---- closing ---- */

static bool store_leader_lives(agt_store *s) {
    agt_fd fd = s->sys->open(s->sys->ctx, s->locks, "poll.lock", AGT_O_READ, 0);
    if (fd < 0) return false;
    int rc = s->sys->lock(s->sys->ctx, fd, AGT_LOCK_SHARED);
    s->sys->close(s->sys->ctx, fd);
    return rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_BUSY;
}

AGENT_TRACE_API agt_status agt_close(agt_store *store, agt_error *err) {
    agt_status st = AGT_OK;
    if (!store) return AGT_OK;
    bool ours = store->sys->pid(store->sys->ctx) == store->self.pid;
    if (ours && store->publish == AGT_PUBLISH_CLOSE && !store->read_only && store->git &&
        !store_leader_lives(store))
        st = agt_publish(store, err);
    store_free(store);
    return st;
}

/* ---- describing ---- */

static int store_count_name(void *ctx, const char *name) {
    (void)name;
    ++*(uint32_t *)ctx;
    return 0;
}

typedef struct store_bytes {
    agt_store *s;
    uint64_t bytes;
} store_bytes;

static int store_add_bytes(void *ctx, const char *name) {
    store_bytes *b = ctx;
    uint64_t first;
    agt_stat st;
    if (agt__segment_parse(name, &first) &&
        b->s->sys->stat(b->s->sys->ctx, b->s->trace_dir, name, &st) >= 0)
        b->bytes += st.size;
    return 0;
}

AGENT_TRACE_API agt_status agt_store_get_info(agt_store *s, agt_store_info *out, agt_error *err) {
    agt_shared now;
    char hex[40];
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_status st = agt__options(&info, sizeof info, out, "agt_store_info", err);
    if (st == AGT_OK) st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    memset(&info, 0, sizeof info);
    st = agt__store_look_again(s, err);
    bool counted = st == AGT_OK && agt__store_peek(s, &now);
    if (st == AGT_OK) {
        info.size = out->size;
        info.documents = (uint32_t)s->catalog.live;
        info.last_seq = s->seen.next_seq - 1;
        info.generation = s->journal.header.generation;
        info.journal_bytes = s->seen.pos - AGT_JOURNAL_START;
        info.published_seq = counted ? now.published_seq : s->journal.header.packed_seq;
        info.failed = counted && now.failed;
        info.apply_pending = counted && now.applied < now.end;
        info.recovered = s->recovered;
        store_bytes bytes = {s, 0};
        if (s->trace_dir != AGT_FD_NONE)
            (void)s->sys->list(s->sys->ctx, s->trace_dir, store_add_bytes, &bytes);
        info.trace_bytes = bytes.bytes;
        if (s->aside != AGT_FD_NONE)
            (void)s->sys->list(s->sys->ctx, s->aside, store_count_name, &info.edits_kept_aside);
        memcpy(info.id, s->config.id, sizeof info.id);
        agt__hex(s->journal.header.replica, 8, info.replica);
        const agt_oid *head = counted ? &now.head : &s->journal.header.packed_head;
        agt__hex(head->id, 20, hex);
        if (info.published_seq) memcpy(info.head, hex, 40);
        memcpy((char *)out + sizeof out->size, (char *)&info + sizeof info.size,
               (out->size < sizeof info ? out->size : sizeof info) - sizeof info.size);
    }
    agt__store_leave(s);
    return st;
}

/* Is there a store in this folder? Only a clear no lets the search go on: what is there for
 * somebody else, or is damaged, must not make it find the store of a folder above. */
static agt_status store_find_in(const agt_sys *sys, const char *folder, bool *found,
                                agt_error *err) {
    *found = false;
    agt_fd dir = sys->open_root(sys->ctx, folder);
    if (dir < 0) return AGT_OK;
    agt_fd at = sys->open(sys->ctx, dir, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    sys->close(sys->ctx, dir);
    if (at < 0 && AGT_SYS_CLASS(at) == AGT_SYS_ACCESS)
        return agt__fail_sys(err, at, "cannot open the store in %.200s", folder);
    if (at < 0) return AGT_OK;
    agt_status st = agt__store_there(sys, at, folder, found, err);
    sys->close(sys->ctx, at);
    return st;
}

AGENT_TRACE_API agt_status agt_store_find(const char *start, char *out, size_t size,
                                          agt_error *err) {
    const agt_sys *sys = agt_sys_os();
    char where[4096];
    agt_fd fd = sys->open_root(sys->ctx, start && start[0] ? start : ".");
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open the folder %.200s", start ? start : ".");
    int rc = sys->path_of(sys->ctx, fd, where, sizeof where);
    sys->close(sys->ctx, fd);
    if (rc < 0) return agt__fail_io(err, rc, "cannot tell the absolute path of the folder");
    for (size_t n = strlen(where);;) {
        bool found;
        agt_status st = store_find_in(sys, n ? where : "/", &found, err);
        if (st != AGT_OK) return st;
        if (found && !agt__copy_text(out, size, n ? where : "/", n ? n : 1))
            return agt__fail(err, AGT_LIMIT, "the store's path needs more than %zu bytes", size);
        if (found) return AGT_OK;
        if (n <= 1) break;
        while (n > 0 && where[n - 1] != '/')
            n--;
        if (n > 0) n--;
        where[n] = 0;
    }
    return agt__fail(err, AGT_NOT_FOUND,
                     "no agent-trace store here or in any folder above; make one with "
                     "'agent-trace init'");
}
/* end src/store/store.c */
/* begin src/store/recover.c */
/* recover: from what the disk holds back to a store that is whole. There is no second way to apply
 * a record: a writer's leftovers, a crash of the machine and a failed sync all end up here.
 *
 * (1) The journal is synced before it is read: what was applied from it must not be forgotten by
 *     the next power cut.
 * (2) Lines are written at their recorded offsets and the trace is cut behind the last record's:
 *     at full durability nothing acknowledged lies there.
 * (3) A document becomes its newest version if what is on disk is a known version, is missing, or
 *     (after a power cut) is empty or torn. Anything else is somebody's edit and stays: the next
 *     change of that document records it first. Torn bytes are kept aside all the same.
 * (4) Every step may be done again; the shared state becomes valid last.
 * (5) What is untracked was durable before that was recorded, and is a person's since.
 * (6) Contents that are damaged cost the document or the refusal that has them, not the store:
 *     the file stays as it is, and reading that version says what is damaged. */

#include <stdlib.h>

/* Every version the journal holds, to tell known bytes from edits. */
typedef struct recover_version {
    uint64_t path_hash, seq, record_at;
    agt_oid blob;
    bool exists;
} recover_version;

typedef struct recover_versions {
    recover_version *v;
    size_t count, cap;
} recover_versions;

static uint64_t recover_hash(const char *path, size_t len) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)path[i]) * 0x100000001b3u;
    return h;
}

static agt_status recover_add(agt_store *s, recover_versions *all, const agt_event *e,
                              uint64_t record_at, agt_error *err) {
    if (all->count == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 256;
        recover_version *v = agt__realloc(&s->mem, all->v, all->cap * sizeof *v, cap * sizeof *v);
        if (!v) return agt__nomem(err);
        all->v = v;
        all->cap = cap;
    }
    recover_version *v = &all->v[all->count++];
    memset(v, 0, sizeof *v);
    v->path_hash = recover_hash(e->path.data, e->path.len);
    v->seq = e->seq;
    v->record_at = record_at;
    v->exists = e->blob.data != NULL && agt__unhex(e->blob.data, e->blob.len, v->blob.id, 20);
    return AGT_OK;
}

static int recover_order(const void *a, const void *b) {
    const recover_version *x = a, *y = b;
    if (x->path_hash != y->path_hash) return x->path_hash < y->path_hash ? -1 : 1;
    return (x->seq > y->seq) - (x->seq < y->seq);
}

typedef struct recover_run {
    agt_store *s;
    uint64_t from; /* journal byte */
    agt_replay mode;
    uint64_t from_seq; /* of the first event at `from` */
    recover_versions all;
    bool pending;
} recover_run;

/* Lines and refused bytes of one record. */
static agt_status recover_record(recover_run *run, const agt_record *r, uint64_t at,
                                 agt_error *err) {
    agt_store *s = run->s;
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    const void *bytes;
    agt_status st = AGT_OK;
    s->lines.len = 0;
    uint64_t seq = r->first_seq;
    for (size_t pos = 0; st == AGT_OK && agt__record_next(r, &pos, &e); seq++) {
        st = agt__store_event(&e, seq, &s->scratch, &ev, err);
        if (st == AGT_OK && ev.version) st = recover_add(s, &run->all, &ev, at, err);
        if (at < run->from || st != AGT_OK) continue;
        agt__buf_put(&s->lines, e.line, e.line_len);
        if (!ev.rejected.data || !(e.flags & AGT_ENTRY_CONTENT)) continue;
        agt_buf side = agt__buf(&s->mem);
        st = agt__entry_bytes(s, seq, &e, &side, &bytes, err);
        if (st == AGT_OK)
            st = agt__keep_rejected(s, ev.rejected, bytes, (size_t)e.content_len, err);
        else if (st == AGT_CORRUPT || st == AGT_NOT_FOUND)
            st = AGT_OK; /* (6) */
        agt__buf_free(&side);
    }
    if (st != AGT_OK || at < run->from) return st;
    if (s->lines.failed) {
        s->lines.failed = false;
        return agt__nomem(err);
    }
    return agt__trace_put(&s->trace, r->segment, r->trace_offset, s->lines.data, s->lines.len, err);
}

static agt_status recover_records(recover_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_record r;
    agt_buf bytes = agt__buf(&s->mem);
    uint64_t at = AGT_JOURNAL_START, seq = s->journal.header.next_seq;
    uint32_t chain = s->journal.header.crc;
    agt_status st = AGT_OK;
    run->from_seq = UINT64_MAX;
    while (at < s->seen.pos && st == AGT_OK) {
        st = agt__record_read(s->sys, s->journal.fd, at, s->journal.header.capacity, s->cpu,
                              s->journal.header.generation, seq, chain, &bytes, &r, err);
        if (st == AGT_END)
            st = agt__fail_at(err, AGT_CORRUPT, (int64_t)at,
                              ".agent-trace/journal changed while it was read");
        if (st != AGT_OK) break;
        if (at >= run->from && run->from_seq == UINT64_MAX) run->from_seq = seq;
        st = recover_record(run, &r, at, err);
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    agt__buf_free(&bytes);
    if (st == AGT_OK && run->all.count)
        qsort(run->all.v, run->all.count, sizeof *run->all.v, recover_order);
    return st;
}

/* The journal's versions of one document: first and count. */
static const recover_version *recover_of(const recover_run *run, const char *path, size_t len,
                                         size_t *count) {
    uint64_t h = recover_hash(path, len);
    size_t lo = 0, hi = run->all.count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (run->all.v[mid].path_hash < h)
            lo = mid + 1;
        else
            hi = mid;
    }
    size_t n = 0;
    while (lo + n < run->all.count && run->all.v[lo + n].path_hash == h)
        n++;
    *count = n;
    return run->all.v + lo;
}

static bool recover_known(const recover_run *run, const char *path, size_t len,
                          const agt_oid *blob) {
    size_t n;
    agt_row base;
    const recover_version *v = recover_of(run, path, len, &n);
    for (size_t i = 0; i < n; i++)
        if (v[i].exists && memcmp(v[i].blob.id, blob->id, 20) == 0) return true;
    return agt__catalog_base(&run->s->catalog, path, len, &base) && base.exists &&
           memcmp(base.blob.id, blob->id, 20) == 0;
}

static bool recover_all_zero(const agt_buf *b) {
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i]) return false;
    return true;
}

/* Could `disk` be `whole` as a power cut leaves it: no longer, each byte either there or NUL? */
static bool recover_torn(const agt_buf *disk, const void *whole, size_t len) {
    const unsigned char *w = whole;
    if (disk->len > len) return false;
    for (size_t i = 0; i < disk->len; i++)
        if (disk->data[i] != w[i] && disk->data[i] != 0) return false;
    return true;
}

/* The bytes of one of the journal's versions, into `out`. */
static agt_status recover_bytes(agt_store *s, const recover_version *v, agt_buf *out,
                                agt_error *err) {
    return agt__journalled_content(s, v->seq, out, err);
}

static bool recover_is_torn_version(const recover_run *run, const char *path, size_t len,
                                    const agt_buf *disk) {
    size_t n;
    bool torn = false;
    const recover_version *v = recover_of(run, path, len, &n);
    agt_buf whole = agt__buf(&run->s->mem);
    for (size_t i = n; i-- > 0 && !torn;) {
        whole.len = 0;
        if (v[i].exists && recover_bytes(run->s, &v[i], &whole, NULL) == AGT_OK)
            torn = recover_torn(disk, whole.data, whole.len);
    }
    agt__buf_free(&whole);
    return torn;
}

static agt_status recover_copy_aside(agt_store *s, const agt_row *row, const agt_buf *bytes,
                                     agt_error *err) {
    char name[40];
    agt__seq_name(row->last_seq, ".torn", name);
    agt_status st = agt__write_file(s->sys, s->tmp, name, bytes->data, bytes->len, true, err);
    int rc = st == AGT_OK ? agt__keep_aside(s, name, row->last_seq, "torn", 4) : 0;
    return rc < 0 ? agt__fail_io(err, rc, "cannot keep torn bytes in .agent-trace/aside") : st;
}

/* Was it renamed to a name that leads to the same file here, which is in its new place? */
static bool recover_is_other_name(agt_store *s, const agt_row *row, const agt_look *look) {
    agt_row other;
    agt_look at;
    agt_buf bytes = agt__buf(&s->mem);
    if (!row->moved || !look->on_disk ||
        !agt__catalog_case_clash(&s->catalog, row->path, row->path_len, &other))
        return false;
    agt_status st = agt__look(s, other.path, other.path_len, &bytes, &at, NULL);
    agt__buf_free(&bytes);
    return st == AGT_OK && at.on_disk && at.stat.dev == look->stat.dev &&
           at.stat.ino == look->stat.ino;
}

/* (3) for one document. */
static agt_status recover_document(recover_run *run, agt_row *row, agt_error *err) {
    agt_store *s = run->s;
    agt_place p;
    agt_look look;
    size_t n;
    if (row->untracked) return AGT_OK; /* (5) */
    agt_status st = agt__look(s, row->path, row->path_len, &s->old, &look, err);
    /* a link, a folder, a file in the way of a folder, or one that is too large: a person's */
    if (st == AGT_INVALID || st == AGT_LIMIT) return AGT_OK;
    if (st != AGT_OK) return st;
    if (recover_is_other_name(s, row, &look)) return AGT_OK;
    bool same = agt__look_is(&look, row->exists, &row->blob);
    if (same && run->mode != AGT_REPLAY_REWRITE) {
        if (row->exists) agt__row_stat(row, &look.stat);
        return AGT_OK;
    }
    if (!same && row->ino && run->mode == AGT_REPLAY_LEFT)
        return AGT_OK; /* it was in place: an edit */
    if (!same && look.on_disk && !recover_known(run, row->path, row->path_len, &look.blob)) {
        if (run->mode == AGT_REPLAY_LEFT) return AGT_OK; /* an edit */
        if (!recover_all_zero(&s->old)) {
            if (!recover_is_torn_version(run, row->path, row->path_len, &s->old)) return AGT_OK;
            if ((st = recover_copy_aside(s, row, &s->old, err)) != AGT_OK) return st;
        }
    }
    memset(&p, 0, sizeof p);
    p.path = row->path;
    p.path_len = row->path_len;
    p.seq = row->last_seq;
    p.before = look;
    p.remove = !row->exists;
    if (row->exists) {
        const recover_version *v = recover_of(run, row->path, row->path_len, &n);
        agt_buf bytes = agt__buf(&s->mem);
        st = n ? recover_bytes(s, &v[n - 1], &bytes, err) : AGT_CORRUPT;
        bool damaged = st == AGT_CORRUPT || st == AGT_NOT_FOUND;
        if (st == AGT_OK) st = agt__restage(s, &p, bytes.data, bytes.len, err);
        agt__buf_free(&bytes);
        if (damaged) return AGT_OK; /* (6) */
        if (st != AGT_OK) return st;
    }
    st = agt__place(s, &p, err);
    if (st != AGT_OK)
        agt__unstage(s, p.seq);
    else if (row->exists)
        agt__row_stat(row, &p.after);
    return st;
}

/* ---- temporaries ---- */

typedef struct recover_name {
    recover_run *run;
    agt_status st;
    agt_error *err;
} recover_name;

static bool recover_tmp_seq(const char *name, uint64_t *seq) {
    *seq = 0;
    const char *p = name;
    for (; *p >= '0' && *p <= '9' && *seq < UINT64_MAX / 10 - 9; p++)
        *seq = *seq * 10 + (uint64_t)(*p - '0');
    return p > name && (strcmp(p, ".new") == 0 || strcmp(p, ".old") == 0);
}

/* The path of the journal's event `seq`, into `path`; false if there is none. */
static bool recover_path_of(recover_run *run, uint64_t seq, char *path, size_t *len) {
    agt_record r;
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    agt_store *s = run->s;
    uint64_t at = 0;
    for (size_t i = 0; i < run->all.count && !at; i++)
        if (run->all.v[i].seq == seq) at = run->all.v[i].record_at;
    if (!at) return false;
    unsigned char head[64];
    agt_buf bytes = agt__buf(&s->mem);
    bool found = false;
    if (agt__read_all(s->sys, s->journal.fd, head, sizeof head, at) == (int64_t)sizeof head &&
        agt__buf_reserve(&bytes, agt__get32(head + 8))) {
        int64_t n = agt__read_all(s->sys, s->journal.fd, bytes.data, agt__get32(head + 8), at);
        memset(&r, 0, sizeof r);
        r.data = bytes.data;
        r.length = n > 0 ? (uint32_t)n : 0;
        uint64_t now = agt__get64(head + 24);
        for (size_t pos = 0; !found && agt__record_next(&r, &pos, &e); now++)
            if (now == seq &&
                agt__event_parse(e.line, e.line_len, &s->scratch, &ev, NULL) == AGT_OK)
                found = agt__copy_text(path, AGT_MAX_PATH + 1, ev.path.data, ev.path.len);
    }
    agt__buf_free(&bytes);
    *len = found ? strlen(path) : 0;
    return found;
}

/* Somebody who has the file open may still write to it. */
static bool recover_has_writer(agt_store *s, const char *name) {
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    if (fd < 0) return false;
    bool writer = s->sys->has_writer(s->sys->ctx, fd) == 1;
    s->sys->close(s->sys->ctx, fd);
    return writer;
}

/* A temporary of a recorded change may hold what an exchange took out: an edit, if its bytes are
 * no version we know. One of an unrecorded change is only half a write. */
static int recover_temporary(void *ctx, const char *name) {
    recover_name *rn = ctx;
    recover_run *run = rn->run;
    agt_store *s = run->s;
    uint64_t seq;
    char path[AGT_MAX_PATH + 1];
    size_t len;
    bool edit = false;
    if (recover_tmp_seq(name, &seq) && seq < s->seen.next_seq &&
        recover_path_of(run, seq, path, &len)) {
        agt_oid blob;
        s->old.len = 0;
        if (agt__read_file(s->sys, s->tmp, name, AGT_MAX_DOCUMENT, &s->old, NULL) == AGT_OK) {
            agt__git_id(s->cpu, "blob", s->old.data, s->old.len, blob.id);
            edit = !recover_known(run, path, len, &blob);
            if (edit && run->mode != AGT_REPLAY_LEFT)
                edit =
                    !recover_all_zero(&s->old) && !recover_is_torn_version(run, path, len, &s->old);
        } else
            edit = true;
        edit = edit || recover_has_writer(s, name);
    }
    int rc;
    if (edit) {
        rc = agt__keep_aside(s, name, seq, "left", 4);
    } else
        rc = s->sys->remove(s->sys->ctx, s->tmp, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        rn->st = agt__fail_io(rn->err, rc, "cannot clear .agent-trace/tmp/%s", name);
    return rn->st == AGT_OK ? 0 : 1;
}

static agt_status recover_temporaries(recover_run *run, agt_error *err) {
    recover_name rn = {run, AGT_OK, err};
    int rc = run->s->sys->list(run->s->sys->ctx, run->s->tmp, recover_temporary, &rn);
    if (rn.st != AGT_OK) return rn.st;
    if (rc < 0) return agt__fail_io(err, rc, "cannot list .agent-trace/tmp");
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__replay_records(agt_store *s, uint64_t from, agt_replay mode,
                                           bool *pending, agt_error *err) {
    recover_run run;
    agt_rows rows = {NULL, 0, 0};
    memset(&run, 0, sizeof run);
    run.s = s;
    run.from = from;
    run.mode = mode;
    agt_status st = recover_records(&run, err);
    if (st == AGT_OK) st = recover_temporaries(&run, err);
    if (st == AGT_OK) st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    for (size_t i = 0; i < rows.count && st == AGT_OK; i++) {
        agt_row *row = agt__catalog_touched(&s->catalog, rows.row[i].path, rows.row[i].path_len);
        if (!row || row->last_seq < run.from_seq) continue;
        st = recover_document(&run, row, &s->waits);
        if (st == AGT_INVALID || st == AGT_IO || st == AGT_LIMIT) {
            *pending = true; /* something is in the way of this one; the others go on */
            st = AGT_OK;
        } else if (st != AGT_OK && err)
            *err = s->waits;
    }
    agt__rows_free(&s->mem, &rows);
    agt__free(&s->mem, run.all.v, run.all.cap * sizeof *run.all.v);
    return st;
}

/* ---- the whole recovery ---- */

/* Before anything is written: what the last checkpoint made durable must be there. Lines of later
 * records are written again; a hole before them would be filled with NULs. */
static agt_status recover_trace_whole(agt_store *s, agt_error *err) {
    const agt_trace_end *end = &s->journal.header.trace;
    agt_stat st_seg;
    char name[AGT_SEGMENT_NAME];
    agt__segment_name(end->segment, name);
    int rc = s->sys->stat(s->sys->ctx, s->trace_dir, name, &st_seg);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot look at .agent-trace/trace/%s", name);
    uint64_t size = rc == 0 ? st_seg.size : 0;
    if (size >= end->offset) return AGT_OK;
    return agt__fail_at(err, AGT_CORRUPT, (int64_t)size,
                        ".agent-trace/trace/%s ends at byte %llu, the journal says %llu; restore "
                        "the store from a backup",
                        name, (unsigned long long)size, (unsigned long long)end->offset);
}

/* The shared state as the journal alone tells it. */
static agt_status recover_shared(agt_store *s, agt_error *err) {
    agt_record r;
    agt_entry e;
    agt_shared *sh = &s->shared;
    const agt_journal_header *h = &s->journal.header;
    uint64_t at = AGT_JOURNAL_START, seq = h->next_seq;
    uint32_t chain = h->crc;
    uint64_t flip = sh->flip;
    memset(sh, 0, sizeof *sh);
    sh->flip = flip;
    memcpy(sh->boot, s->self.boot, sizeof sh->boot);
    sh->generation = h->generation;
    sh->dev = s->journal.dev;
    sh->ino = s->journal.ino;
    sh->trace = h->trace;
    sh->published_seq = sh->packed_seq = h->packed_seq;
    sh->head = sh->packed_head = h->packed_head;
    while (at < s->seen.pos) {
        agt_status st = agt__record_read(s->sys, s->journal.fd, at, h->capacity, s->cpu,
                                         h->generation, seq, chain, &s->record, &r, err);
        if (st == AGT_END) st = agt__fail(err, AGT_CORRUPT, "the journal changed under recovery");
        if (st != AGT_OK) return st;
        sh->trace.segment = r.segment;
        sh->trace.offset = r.trace_offset;
        for (size_t pos = 0; agt__record_next(&r, &pos, &e);) {
            sh->trace.offset += e.line_len;
            agt__sha256(s->cpu, e.line, e.line_len, sh->trace.prev);
        }
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    sh->end = sh->synced = s->seen.pos;
    sh->next_seq = s->seen.next_seq;
    sh->chain = s->seen.chain;
    sh->applied = AGT_JOURNAL_START;
    sh->applied_seq = h->next_seq;
    sh->applied_chain = h->crc;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__recover(agt_store *s, agt_error *err) {
    agt_shared was;
    bool pending = false;
    agt_status st = agt__shared_read(s->sys, s->state_fd, s->cpu, &was, err);
    if (st != AGT_OK && st != AGT_END) return st;
    bool failed = st == AGT_OK && was.failed && strcmp(was.boot, s->self.boot) == 0;
    s->shared.flip = st == AGT_OK ? was.flip : 0;
    s->reload = true;
    int rc = s->sys->sync(s->sys->ctx, s->journal.fd); /* (1) */
    if (rc < 0) failed = true;                         /* then what it holds goes into a new file */
    if ((st = agt__store_reload(s, err)) != AGT_OK) return st;
    st = agt__store_replay(s, UINT64_MAX, err);
    if (st != AGT_END) return st == AGT_OK ? agt__fail(err, AGT_CORRUPT, "endless journal") : st;
    if ((st = recover_shared(s, err)) != AGT_OK) return st;
    if ((st = recover_trace_whole(s, err)) != AGT_OK) return st;
    bool copy = s->journal.header.dev != s->journal.dev || s->journal.header.ino != s->journal.ino;
    if (copy) { /* another replica from now on */
        rc = s->sys->random(s->sys->ctx, s->journal.header.replica, 8);
        if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    }
    st = agt__replay_records(s, AGT_JOURNAL_START, failed ? AGT_REPLAY_REWRITE : AGT_REPLAY_CUT,
                             &pending, err);
    if (st == AGT_OK)
        st = agt__trace_cut(&s->trace, &s->mem, s->shared.trace.segment, s->shared.trace.offset,
                            err);
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    bool empty = s->seen.pos == AGT_JOURNAL_START;
    s->trusts_state = true;
    s->recovered = !empty;
    s->shared.failed = failed;
    if (!pending) {
        s->shared.applied = s->shared.end;
        s->shared.applied_seq = s->shared.next_seq;
        s->shared.applied_chain = s->shared.chain;
        if (!empty || copy || failed) return agt__checkpoint_locked(s, failed, err);
    } /* what is in the way is tried again by the next lock holder */
    agt__store_save(s);
    return AGT_OK;
}
/* end src/store/recover.c */
/* begin src/store/apply.c */
/* apply: what a committed record does to the files, and the look before and after it.
 *
 * (1) A document arrives by rename, never in place: readers see the old file or the new one.
 * (2) A person's edit is never silently overwritten. The file is looked at before the record is
 *     made, and what the rename replaced is looked at once more: where it is not what was seen, or
 *     somebody still has it open for writing, it is kept in .agent-trace/aside/.
 * (3) Where the system can exchange two names, nothing is ever lost between look and rename. Where
 *     it cannot, the old file gets a second name first; an editor that replaces the file by rename
 *     between that and ours (two system calls) is not seen.
 * (4) No link is followed anywhere on the way. */

#define APPLY_RACY_NS     100000000LL /* a change within the clock's tick of a look may hide in it */
#define APPLY_TRIES       16
#define APPLY_ASIDE_TRIES 1000u
#define APPLY_BESIDE      ".agent-trace-" /* temporaries in a folder on another device */

AGT_PRIVATE void agt__seq_name(uint64_t seq, const char *suffix, char out[40]) {
    char digits[24];
    size_t n = 0, len = strlen(suffix);
    do
        digits[n++] = (char)('0' + seq % 10);
    while ((seq /= 10) != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    memcpy(out + n, suffix, len + 1);
}

AGT_PRIVATE agt_fd agt__open_parent(agt_store *s, const char *path, size_t len, bool make,
                                    const char **leaf) {
    char folder[AGT_MAX_PATH + 1];
    size_t cut = len;
    while (cut > 0 && path[cut - 1] != '/')
        cut--;
    *leaf = path + cut;
    memcpy(folder, path, cut);
    folder[cut ? cut - 1 : 0] = 0;
    return agt__walk_folder(s->sys, s->root, folder, make);
}

static agt_status apply_in_the_way(agt_error *err, int64_t rc, const char *path, size_t len) {
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    switch (AGT_SYS_CLASS(rc)) {
    case AGT_SYS_LOOP:
        return agt__fail(err, AGT_INVALID,
                         "%s: a symbolic link stands in the way; documents are never written "
                         "through links",
                         shown);
    case AGT_SYS_NOTDIR:
        return agt__fail(err, AGT_INVALID, "%s: a file stands where a folder is needed", shown);
    case AGT_SYS_ISDIR: return agt__fail(err, AGT_INVALID, "%s is a folder", shown);
    default: return agt__fail_io(err, rc, "cannot reach %s", shown);
    }
}

AGT_PRIVATE agt_status agt__target(agt_store *s, const char *path, size_t len, agt_error *err) {
    char folder[AGT_MAX_PATH + 1];
    agt_fd fd = AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    memcpy(folder, path, len);
    for (size_t n = len; AGT_SYS_CLASS(fd) == AGT_SYS_NOENT && n > 0;) {
        while (n > 0 && folder[n - 1] != '/')
            n--;
        folder[n ? --n : 0] = 0; /* the folder, or the deepest one there is */
        fd = agt__walk_folder(s->sys, s->root, folder, false);
        if (fd >= 0) break;
    }
    if (fd < 0) return apply_in_the_way(err, fd, path, len);
    int rc = s->sys->may_change(s->sys->ctx, fd);
    s->sys->close(s->sys->ctx, fd);
    if (rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) return AGT_OK;
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    return agt__fail_io(err, rc, "cannot change %s: its folder may not be written", shown);
}

/* ---- looking ---- */

static agt_status apply_read_fd(agt_store *s, agt_fd fd, const agt_stat *st, const char *path,
                                size_t len, agt_buf *bytes, agt_error *err) {
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    if (st->kind == AGT_FILE_FOLDER) return agt__fail(err, AGT_INVALID, "%s is a folder", shown);
    if (st->kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file", shown);
    if (st->size > AGT_MAX_DOCUMENT)
        return agt__fail(err, AGT_LIMIT, "%s has more than %u bytes", shown,
                         (unsigned)AGT_MAX_DOCUMENT);
    size_t want = (size_t)st->size;
    for (;;) { /* it may grow while it is read: one byte more is asked for */
        size_t room = want - bytes->len + 1;
        if (!agt__buf_reserve(bytes, room)) return agt__nomem(err);
        int64_t n = s->sys->pread(s->sys->ctx, fd, bytes->data + bytes->len, room, bytes->len);
        if (n < 0 || (uint64_t)n > room)
            return agt__fail_io(err, n < 0 ? n : AGT_SYS_ERR(AGT_SYS_IO, 0), "cannot read %s",
                                shown);
        bytes->len += (size_t)n;
        if (n == 0 || bytes->len == st->size) return AGT_OK;
        if (bytes->len > AGT_MAX_DOCUMENT)
            return agt__fail(err, AGT_LIMIT, "%s grows while it is read", shown);
        if (bytes->len > want) want = bytes->len * 2;
    }
}

AGT_PRIVATE agt_status agt__look(agt_store *s, const char *path, size_t len, agt_buf *bytes,
                                 agt_look *out, agt_error *err) {
    const char *leaf;
    memset(out, 0, sizeof *out);
    bytes->len = 0;
    agt_fd folder = agt__open_parent(s, path, len, false, &leaf);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return apply_in_the_way(err, folder, path, len);
    agt_fd fd = s->sys->open(s->sys->ctx, folder, leaf, AGT_O_READ, 0);
    s->sys->close(s->sys->ctx, folder);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    if (fd < 0) return apply_in_the_way(err, fd, path, len);
    int rc = s->sys->fstat(s->sys->ctx, fd, &out->stat);
    agt_status st = rc < 0 ? apply_in_the_way(err, rc, path, len)
                           : apply_read_fd(s, fd, &out->stat, path, len, bytes, err);
    s->sys->close(s->sys->ctx, fd);
    if (st != AGT_OK) return st;
    out->on_disk = true;
    agt__git_id(s->cpu, "blob", bytes->data, bytes->len, out->blob.id);
    return AGT_OK;
}

AGT_PRIVATE bool agt__look_is(const agt_look *look, bool exists, const agt_oid *blob) {
    return look->on_disk == exists && (!exists || memcmp(look->blob.id, blob->id, 20) == 0);
}

AGT_PRIVATE void agt__row_stat(agt_row *row, const agt_stat *st) {
    row->dev = st->dev;
    row->ino = st->ino;
    row->mtime_ns = st->mtime_ns;
    row->ctime_ns = st->ctime_ns;
}

/* ---- staging ---- */

AGT_PRIVATE void agt__unstage(agt_store *s, uint64_t seq) {
    char name[40];
    agt__seq_name(seq, ".new", name);
    (void)s->sys->remove(s->sys->ctx, s->tmp, name);
}

/* The document's folder is on another device, so what is kept stays in it. */
static int apply_keep_beside(agt_store *s, agt_fd folder, const char *name, uint64_t seq) {
    char kept[96], suffix[64];
    agt_stat taken;
    int rc = 0;
    for (uint64_t k = 1; k < APPLY_ASIDE_TRIES; k++) {
        suffix[0] = '.';
        agt__seq_name(k, ".kept", suffix + 1);
        memcpy(kept, APPLY_BESIDE, sizeof APPLY_BESIDE - 1);
        agt__seq_name(seq, suffix, kept + sizeof APPLY_BESIDE - 1);
        if (s->sys->stat(s->sys->ctx, folder, kept, &taken) == 0) continue;
        rc = s->sys->rename(s->sys->ctx, folder, name, folder, kept, AGT_RENAME_REPLACE);
        return rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
    }
    return AGT_SYS_ERR(AGT_SYS_EXIST, 0);
}

/* A temporary of that name is left from a process that died. In tmp/ recovery has looked at it;
 * beside a document nobody has, and it may be an edit that an exchange took out. */
static int apply_clear_name(agt_store *s, agt_fd dir, const char *name, uint64_t seq) {
    return dir == s->tmp ? s->sys->remove(s->sys->ctx, dir, name)
                         : apply_keep_beside(s, dir, name, seq);
}

static int apply_write_new(agt_store *s, agt_fd dir, const char *name, agt_place *p,
                           const void *bytes, size_t len) {
    const agt_sys *sys = s->sys;
    uint32_t flags = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0666);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_EXIST) { /* left by a writer that died staging */
        int rc = apply_clear_name(s, dir, name, p->seq);
        if (rc < 0) return rc;
        fd = sys->open(sys->ctx, dir, name, flags, 0666);
    }
    if (fd < 0) return (int)fd;
    int rc = agt__write_all(sys, fd, bytes, len, 0);
    if (rc == 0) rc = sys->fstat(sys->ctx, fd, &p->staged);
    uint32_t mode = p->before.on_disk ? p->before.stat.mode : p->mode;
    if (rc == 0 && mode && mode != p->staged.mode) rc = sys->set_mode(sys->ctx, fd, mode);
    sys->close(sys->ctx, fd);
    if (rc < 0) (void)sys->remove(sys->ctx, dir, name);
    return rc;
}

AGT_PRIVATE agt_status agt__stage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                  agt_error *err) {
    char name[40], shown[200];
    agt__seq_name(p->seq, ".new", name);
    int rc = apply_write_new(s, s->tmp, name, p, bytes, len);
    if (rc == 0) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    return agt__fail_io(err, rc, "cannot write a temporary file for %s", shown);
}

AGT_PRIVATE agt_status agt__restage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                    agt_error *err) {
    char part[40], name[40], shown[200];
    agt__seq_name(p->seq, ".part", part);
    agt__seq_name(p->seq, ".new", name);
    int rc = apply_write_new(s, s->tmp, part, p, bytes, len);
    if (rc == 0) rc = s->sys->rename(s->sys->ctx, s->tmp, part, s->tmp, name, AGT_RENAME_REPLACE);
    if (rc == 0) return AGT_OK;
    (void)s->sys->remove(s->sys->ctx, s->tmp, part);
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    return agt__fail_io(err, rc, "cannot write a temporary file for %s", shown);
}

/* ---- placing ---- */

static bool apply_is_seen(agt_store *s, agt_fd fd, const agt_place *p) {
    agt_stat now;
    const agt_stat *seen = &p->before.stat;
    if (s->sys->fstat(s->sys->ctx, fd, &now) < 0 || !p->before.on_disk) return false;
    if (s->sys->has_writer(s->sys->ctx, fd) == 1) return false; /* may still be written */
    if (now.size != seen->size) return false;
    int64_t age = s->sys->now_unix_ms(s->sys->ctx) * 1000000 - now.mtime_ns;
    if (now.ino == seen->ino && now.dev == seen->dev && now.mtime_ns == seen->mtime_ns &&
        age > APPLY_RACY_NS)
        return true;
    agt_oid id;
    s->scratch.len = 0;
    if (now.kind != AGT_FILE_REGULAR ||
        apply_read_fd(s, fd, &now, p->path, p->path_len, &s->scratch, NULL) != AGT_OK)
        return false;
    agt__git_id(s->cpu, "blob", s->scratch.data, s->scratch.len, id.id);
    return memcmp(id.id, p->before.blob.id, 20) == 0;
}

/* aside/<seq>-<label>, or <seq>.<n>-<label> where that is taken: nothing kept is ever replaced. */
AGT_PRIVATE int agt__keep_aside(agt_store *s, const char *name, uint64_t seq, const char *label,
                                size_t len) {
    char to[40 + 40 + 64], suffix[48];
    const agt_sys *sys = s->sys;
    agt_stat taken;
    int rc = 0;
    for (uint64_t k = 0; k < APPLY_ASIDE_TRIES; k++) {
        suffix[0] = '.';
        agt__seq_name(k, "-", suffix + 1);
        agt__seq_name(seq, k ? suffix : "-", to);
        size_t at = strlen(to), n = len, room = sizeof to - at - 1;
        const char *from = label;
        if (n > room) { /* the end of a name says more; never begin inside a character */
            from += n - room;
            n = room;
            while (n && ((unsigned char)*from & 0xc0) == 0x80)
                from++, n--;
        }
        memcpy(to + at, from, n);
        to[at + n] = 0;
        rc = sys->rename(sys->ctx, s->tmp, name, s->aside, to, AGT_RENAME_NOREPLACE);
        if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS &&
            sys->stat(sys->ctx, s->aside, to, &taken) < 0)
            rc = sys->rename(sys->ctx, s->tmp, name, s->aside, to, AGT_RENAME_REPLACE);
        if (rc == 0) return sys->sync(sys->ctx, s->aside);
        if (AGT_SYS_CLASS(rc) != AGT_SYS_EXIST && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS) break;
    }
    return rc;
}

static int apply_keep_aside(agt_store *s, const char *name, agt_place *p) {
    const char *leaf = p->path + p->path_len;
    while (leaf > p->path && leaf[-1] != '/')
        leaf--;
    int rc = agt__keep_aside(s, name, p->seq, leaf, (size_t)(p->path + p->path_len - leaf));
    if (rc == 0) p->kept_aside = true;
    return rc;
}

/* (2): `name` in `dir` is what was replaced. */
static int apply_check_replaced(agt_store *s, agt_fd dir, const char *name, agt_place *p) {
    agt_fd fd = s->sys->open(s->sys->ctx, dir, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return 0;
    bool seen = fd >= 0 && apply_is_seen(s, fd, p);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    if (seen) return s->sys->remove(s->sys->ctx, dir, name);
    if (dir == s->tmp) return apply_keep_aside(s, name, p);
    p->kept_aside = true;
    return apply_keep_beside(s, dir, name, p->seq);
}

/* The name of a temporary in tmp/, or beside the document. */
static void apply_name(const agt_store *s, agt_fd dir, uint64_t seq, const char *suffix,
                       char out[64]) {
    size_t n = dir == s->tmp ? 0 : sizeof APPLY_BESIDE - 1;
    memcpy(out, APPLY_BESIDE, n);
    agt__seq_name(seq, suffix, out + n);
}

/* (3), where names cannot be exchanged. */
static int apply_replace_plain(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir,
                               const char *name, agt_place *p) {
    char old[64];
    const agt_sys *sys = s->sys;
    apply_name(s, dir, p->seq, ".old", old);
    (void)apply_clear_name(s, dir, old, p->seq);
    int rc = sys->link(sys->ctx, folder, leaf, dir, old);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return rc;
    bool linked = rc == 0;
    rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_REPLACE);
    if (rc < 0) {
        if (linked) (void)sys->remove(sys->ctx, dir, old);
        return rc;
    }
    return linked ? apply_check_replaced(s, dir, old, p) : 0;
}

static bool apply_is_folder(agt_store *s, agt_fd dir, const char *name) {
    agt_stat st;
    return s->sys->stat(s->sys->ctx, dir, name, &st) == 0 && st.kind == AGT_FILE_FOLDER;
}

/* `name` in `dir` becomes the document. */
static int apply_put(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir, const char *name,
                     agt_place *p) {
    const agt_sys *sys = s->sys;
    bool there = p->before.on_disk;
    int rc = 0;
    for (int i = 0; i < APPLY_TRIES; i++) {
        if (there) {
            rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_EXCHANGE);
            if (rc == 0 && apply_is_folder(s, dir, name)) { /* somebody's, and what is in it */
                rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_EXCHANGE);
                return rc < 0 ? rc : AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
            }
            if (rc == 0) return apply_check_replaced(s, dir, name, p);
            if (AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS || AGT_SYS_CLASS(rc) == AGT_SYS_NAME)
                rc = apply_replace_plain(s, folder, leaf, dir, name, p);
            if (rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return rc;
            there = false; /* somebody deleted it meanwhile */
        } else {
            rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_NOREPLACE);
            if (rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_EXIST) return rc;
            there = true; /* somebody made it meanwhile */
        }
    }
    return rc;
}

static int apply_take_away(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir,
                           agt_place *p) {
    char old[64];
    agt_stat st;
    apply_name(s, dir, p->seq, ".old", old);
    int rc = s->sys->stat(s->sys->ctx, folder, leaf, &st);
    if (rc < 0) return AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
    if (st.kind == AGT_FILE_FOLDER) return AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
    if (dir != s->tmp && (rc = apply_clear_name(s, dir, old, p->seq)) < 0) return rc;
    rc = s->sys->rename(s->sys->ctx, folder, leaf, dir, old, AGT_RENAME_REPLACE);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return 0;
    return rc < 0 ? rc : apply_check_replaced(s, dir, old, p);
}

/* The folder is on another device: the bytes are copied beside the document first, and everything
 * else happens there. */
static int apply_across(agt_store *s, agt_fd folder, const char *leaf, const char *name,
                        agt_place *p) {
    char beside[64];
    if (p->remove) return apply_take_away(s, folder, leaf, folder, p);
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    if (fd < 0) return (int)fd;
    s->scratch.len = 0;
    agt_status st = apply_read_fd(s, fd, &p->staged, p->path, p->path_len, &s->scratch, NULL);
    s->sys->close(s->sys->ctx, fd);
    if (st != AGT_OK) return AGT_SYS_ERR(st == AGT_NOMEM ? AGT_SYS_NOMEM : AGT_SYS_IO, 0);
    apply_name(s, folder, p->seq, ".tmp", beside);
    int rc = apply_write_new(s, folder, beside, p, s->scratch.data, s->scratch.len);
    if (rc < 0) return rc;
    rc = apply_put(s, folder, leaf, folder, beside, p);
    if (rc < 0)
        (void)s->sys->remove(s->sys->ctx, folder, beside);
    else
        agt__unstage(s, p->seq);
    return rc;
}

AGT_PRIVATE agt_status agt__place(agt_store *s, agt_place *p, agt_error *err) {
    char name[40];
    const char *leaf;
    memset(&p->after, 0, sizeof p->after);
    agt_fd folder = agt__open_parent(s, p->path, p->path_len, !p->remove, &leaf);
    if (folder < 0 && p->remove && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return apply_in_the_way(err, folder, p->path, p->path_len);
    agt__seq_name(p->seq, ".new", name);
    int rc = p->remove ? apply_take_away(s, folder, leaf, s->tmp, p)
                       : apply_put(s, folder, leaf, s->tmp, name, p);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_XDEV) rc = apply_across(s, folder, leaf, name, p);
    if (rc == 0 && !p->remove && s->sys->stat(s->sys->ctx, folder, leaf, &p->after) == 0 &&
        (p->after.ino != p->staged.ino || p->after.mtime_ns != p->staged.mtime_ns ||
         p->after.size != p->staged.size))
        memset(&p->after, 0, sizeof p->after); /* already somebody else's: look again later */
    s->sys->close(s->sys->ctx, folder);
    return rc < 0 ? apply_in_the_way(err, rc, p->path, p->path_len) : AGT_OK;
}

AGT_PRIVATE agt_status agt__sync_document(agt_store *s, const char *path, size_t len,
                                          agt_error *err) {
    const agt_sys *sys = s->sys;
    const char *leaf;
    char shown[200];
    agt_fd folder = agt__open_parent(s, path, len, false, &leaf);
    agt_fd fd = folder < 0 ? folder : sys->open(sys->ctx, folder, leaf, AGT_O_READ, 0);
    int rc = fd < 0 ? (int)fd : sys->sync(sys->ctx, fd);
    if (rc == 0) rc = sys->sync(sys->ctx, folder);
    if (fd >= 0 && folder >= 0) sys->close(sys->ctx, fd);
    if (folder >= 0) sys->close(sys->ctx, folder);
    if (rc >= 0) return AGT_OK;
    return agt__fail_io(err, rc, "cannot sync %s", agt__show_path(shown, sizeof shown, path, len));
}
/* end src/store/apply.c */
/* begin src/store/rejected.c */
/* rejected: refused bytes, kept under their SHA-256 so that a person can look at them. An agent
 * that is refused again and again must not fill the disk: the oldest go. */

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
/* end src/store/rejected.c */
/* begin src/store/pending.c */
/* pending: changes that are recorded and not in place yet. Their writer is at it or died, something
 * stands in the way, or the handle may not write. The file then holds an older version, which is
 * nobody's edit: reads answer with the journal's bytes, and a change goes on from the newest
 * version. */

AGT_PRIVATE agt_waiting agt__waiting(agt_store *s, bool locked) {
    agt_shared now;
    const agt_shared *sh = &s->shared;
    agt_waiting w = {s->journal.header.next_seq, UINT64_MAX, false};
    if (!locked) {
        if (!agt__store_peek(s, &now)) return w;
        sh = &now;
    }
    w.known = true;
    w.from = sh->applied < sh->end ? sh->applied_seq : sh->next_seq;
    if (!s->read_only) w.to = sh->next_seq;
    return w;
}

typedef struct pending_look {
    agt_store *s;
    const agt_row *row;
    const agt_look *look;
    bool known;
} pending_look;

static agt_status pending_version(void *ctx, const agt_record *r, agt_error *err) {
    pending_look *p = ctx;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    agt_oid blob;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &entry) && seq < p->row->last_seq; seq++) {
        agt_status st = agt__store_event(&entry, seq, &p->s->scratch, &e, err);
        if (st != AGT_OK) return st;
        if (!e.version || e.path.len != p->row->path_len ||
            memcmp(e.path.data, p->row->path, e.path.len) != 0)
            continue;
        bool exists = e.blob.data && agt__unhex(e.blob.data, e.blob.len, blob.id, 20);
        if (agt__look_is(p->look, exists, &blob)) p->known = true;
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__look_pending(agt_store *s, const agt_waiting *waiting,
                                         const agt_row *row, const agt_look *look, bool *pending,
                                         agt_error *err) {
    agt_row base;
    pending_look p = {s, row, look, false};
    *pending = false;
    if (row->last_seq < s->journal.header.next_seq || row->last_seq < waiting->from) return AGT_OK;
    if (row->ino) return AGT_OK;       /* this handle saw it in place */
    if (row->untracked) return AGT_OK; /* nothing is to be put there */
    bool had = agt__catalog_base(&s->catalog, row->path, row->path_len, &base) && base.exists;
    p.known = agt__look_is(look, had, &base.blob);
    agt_status st = AGT_OK;
    if (!p.known)
        st = agt__each_record(s, &s->journal, s->journal.header.next_seq, pending_version, &p, err);
    *pending = p.known;
    return st;
}
/* end src/store/pending.c */
/* begin src/store/txn.c */
/* txn: from events to a record, and from a record to the files.
 *
 * append   one pwrite of the whole record
 * sync     at full durability one fdatasync: the commit point
 * apply    the trace's lines, then the documents by rename
 * save     the shared state
 *
 * (1) Nothing is applied that is not appended, and at full nothing that is not synced.
 * (2) A failure before the commit point leaves no trace but memory; the record's magic is zeroed
 *     where the append itself failed.
 * (3) A failure after it is not the caller's: result.apply_pending, and the next lock holder tries
 *     again. */
/* begin src/store/write.h */
/* write: the transaction that every change goes through; its parts are change.c and manage.c (the
 * public calls), write.c and plan.c (changes to events) and txn.c (events to records, records to
 * files). */
#ifndef AGT_WRITE_H
#define AGT_WRITE_H


typedef enum agt_plan_kind {
    AGT_PLAN_NONE = 0, /* refused, unchanged or failed: nothing to put in place */
    AGT_PLAN_WRITE,
    AGT_PLAN_REMOVE,
    AGT_PLAN_RENAME
} agt_plan_kind;

/* One change, from what the caller passed to what became of it. */
typedef struct agt_plan {
    /* set by the caller of agt__plan_* */
    agt_caller caller;
    agt_write_options options;
    const char *given_path;
    const void *bytes;
    size_t len;
    agt_action action;
    agt_type to;          /* of a reclassify */
    const char *given_to; /* of a rename */
    const char *grant;    /* of an unlock or revoke */
    int64_t duration_ms;
    /* filled on the way */
    char path[AGT_MAX_PATH + 1];
    size_t path_len;
    char to_path[AGT_MAX_PATH + 1];
    size_t to_len;
    agt_plan_kind kind;
    agt_row *row;    /* the catalog's */
    agt_row *to_row; /* of a rename, at the new path */
    agt_row now;     /* the row as it is once an edit that was found is counted */
    agt_type type;   /* what the document is or becomes */
    agt_oid blob;
    agt_place place, to_place;
    bool staged, side;
    bool waits; /* what is on disk is an older version: the newest is not in its place yet */
    agt_write_result result;
} agt_plan;

/* Several records under one lock and one sync. A record is built, sealed, and with others that
 * belong to it flushed: one pwrite. */
typedef struct agt_txn {
    agt_store *s;
    bool full, atomic, appended, wants_sync;
    bool unknown;         /* an append failed and could not be taken back */
    bool no_room;         /* an append failed because the journal is too full */
    agt_shared draft;     /* the shared state as it will be, sealed records included */
    agt_shared flushed;   /* the same without what is not in the journal yet */
    size_t flushed_lines; /* of s->lines */
    agt_record record;    /* being built in s->record */
    size_t record_start, record_lines;
    uint64_t inline_bytes, side_bytes;
    int64_t now_unix_ms;
    agt_plan *plans;
    size_t first, count; /* plans first..count - 1 are this transaction's */
} agt_txn;

/* ---- plan.c ---- */

/* Checks what needs no lock: caller, options, paths, grants. */
AGT_PRIVATE agt_status agt__plan_check(agt_plan *p, agt_error *err);
/* Does the change bring bytes of its own? */
AGT_PRIVATE bool agt__plan_brings(const agt_plan *p);
/* Can a document be at this path beside the others: not in another one's folder's place, nor
 * differing from one in case alone? `except` (may be NULL) is no other. */
AGT_PRIVATE agt_status agt__plan_clash(const agt_catalog *c, const char *path, size_t len,
                                       const agt_row *except, agt_error *err);
/* The same among the changes of a batch, whose documents are not in the catalog yet. */
AGT_PRIVATE agt_status agt__plan_clash_batch(const agt_txn *t, size_t index, agt_error *err);
/* The decision (perm.h) for a plan whose row is known; sets p->type. `why` gets the rule's words.
 * AGT_INVALID: the type that is asked for cannot be. */
AGT_PRIVATE agt_status agt__plan_permit(const agt_catalog *c, agt_plan *p, int64_t now_unix_ms,
                                        const char **why, agt_error *err);
/* The row of the plan's path as a document: blank where there is none. */
AGT_PRIVATE void agt__plan_now(agt_plan *p, const agt_row *row);

/* ---- manage.c: what changes no bytes ---- */

/* Checks a rename's new path; before the old one is looked at. Under the store lock. */
AGT_PRIVATE agt_status agt__manage_target(agt_txn *t, agt_plan *p, agt_error *err);
/* Checks the rest, and says what would be unchanged. */
AGT_PRIVATE agt_status agt__manage_look(agt_txn *t, agt_plan *p, agt_error *err);
/* Adds the event to the open record, and stages a rename's file. */
AGT_PRIVATE agt_status agt__manage_change(agt_txn *t, agt_plan *p, agt_event *e, agt_error *err);

/* Puts the new file in place and removes the old one. */
AGT_PRIVATE agt_status agt__place_rename(agt_store *s, agt_plan *p, agt_error *err);

/* ---- change.c ---- */

/* Begins a plan for one document and checks it; `result` (may be NULL) is only checked. */
AGT_PRIVATE agt_status agt__change_fill(agt_plan *p, const agt_caller *caller, const char *path,
                                        const agt_write_options *opts,
                                        const agt_write_result *result, agt_error *err);
/* Runs one plan as a transaction of its own and reports. The status is the plan's. */
AGT_PRIVATE agt_status agt__change_run(agt_store *s, agt_plan *p, agt_write_result *result,
                                       agt_error *err);

/* ---- txn.c and write.c ---- */

/* Begins under the store lock. */
AGT_PRIVATE void agt__txn_begin(agt_txn *t, agt_store *s, agt_plan *plans, bool full, bool atomic);
AGT_PRIVATE void agt__txn_record_begin(agt_txn *t);
/* Adds one event, with its content, to the open record. Fills e->seq; sets *side (may be NULL) if
 * the content went to a side file. */
AGT_PRIVATE agt_status agt__txn_add(agt_txn *t, agt_event *e, const void *content, size_t len,
                                    bool has_content, bool *side, agt_error *err);
/* Ends the record; an empty one is nothing. On failure it is taken back. */
AGT_PRIVATE agt_status agt__txn_seal(agt_txn *t, agt_error *err);
/* Appends the sealed records with one pwrite. On failure nothing was appended, and they are taken
 * back. */
AGT_PRIVATE agt_status agt__txn_flush(agt_txn *t, agt_error *err);
/* Takes back what was not flushed. */
AGT_PRIVATE void agt__txn_rollback(agt_txn *t);
/* Decides one change: AGT_OK and result.unchanged 0 means that agt__txn_change follows. An edit
 * that was found, or a violation, is sealed as a record of its own. */
AGT_PRIVATE agt_status agt__txn_look(agt_txn *t, size_t index, agt_error *err);
/* Stages the file and adds the change's event to the open record. */
AGT_PRIVATE agt_status agt__txn_change(agt_txn *t, size_t index, agt_error *err);
/* Adds an event that is no document's to the open record. */
AGT_PRIVATE agt_status agt__txn_event(agt_txn *t, const agt_plan *p, const char *action,
                                      agt_error *err);
/* The result of a change that failed: nothing happened. Under the store lock. */
AGT_PRIVATE void agt__plan_nothing(agt_plan *p);
/* Look, record, change, seal, flush, for a change with a record of its own. */
AGT_PRIVATE agt_status agt__txn_single(agt_txn *t, size_t index, agt_error *err);
/* The plan's record is in the journal: later plans of the transaction build on it. */
AGT_PRIVATE void agt__txn_took(agt_txn *t, size_t index);
/* Syncs (the commit point at full), applies, saves. */
AGT_PRIVATE agt_status agt__txn_commit(agt_txn *t, agt_error *err);
/* Removes what was prepared for plans from..to that were not appended. */
AGT_PRIVATE void agt__txn_discard(agt_txn *t, size_t from, size_t to);

#endif /* AGT_WRITE_H */
/* end src/store/write.h */

/* ---- building records ---- */

AGT_PRIVATE void agt__txn_begin(agt_txn *t, agt_store *s, agt_plan *plans, bool full, bool atomic) {
    memset(t, 0, sizeof *t);
    t->s = s;
    t->full = full;
    t->atomic = atomic;
    t->draft = s->shared;
    t->plans = plans;
    t->now_unix_ms = s->sys->now_unix_ms(s->sys->ctx);
    if (t->now_unix_ms < 0) t->now_unix_ms = 0;
    if (t->now_unix_ms > AGT_TIME_MAX) t->now_unix_ms = AGT_TIME_MAX;
    s->lines.len = 0;
    if (t->draft.trace.offset >= AGT_SEGMENT_MAX) {
        t->draft.trace.segment = t->draft.next_seq;
        t->draft.trace.offset = 0;
    }
    s->record.len = 0;
    s->record.failed = false;
    t->flushed = t->draft;
}

AGT_PRIVATE void agt__txn_record_begin(agt_txn *t) {
    agt_store *s = t->s;
    t->record_start = s->record.len;
    t->record_lines = s->lines.len;
    memset(&t->record, 0, sizeof t->record);
    t->record.generation = s->journal.header.generation;
    t->record.first_seq = t->draft.next_seq;
    t->record.segment = t->draft.trace.segment;
    t->record.trace_offset = t->draft.trace.offset;
    t->record.recorded_unix_ms = t->now_unix_ms;
    (void)agt__record_begin(&s->record);
}

static agt_status txn_side_file(agt_txn *t, uint64_t seq, const void *bytes, size_t len,
                                agt_error *err) {
    char name[40];
    agt__side_name(seq, name);
    t->side_bytes += len;
    /* whatever the level: a later sync of the journal makes the record durable that names it */
    return agt__write_file(t->s->sys, t->s->unpublished, name, bytes, len, true, err);
}

AGT_PRIVATE agt_status agt__txn_add(agt_txn *t, agt_event *e, const void *content, size_t len,
                                    bool has_content, bool *side, agt_error *err) {
    agt_store *s = t->s;
    char prev[64], replica[16];
    uint32_t flags = has_content ? AGT_ENTRY_CONTENT : 0;
    size_t from = s->lines.len;
    e->seq = t->draft.next_seq + t->record.entries;
    agt__hex(t->draft.trace.prev, 32, prev);
    agt__hex(s->journal.header.replica, 8, replica);
    e->prev = (agt_text){prev, 64};
    e->replica = (agt_text){replica, 16};
    agt_status st = agt__event_format(&s->lines, e, err);
    if (st != AGT_OK) {
        s->lines.len = from;
        return st;
    }
    if (has_content && (len > AGT_INLINE_MAX || t->inline_bytes + len > AGT_BATCH_INLINE)) {
        flags |= AGT_ENTRY_SIDE;
        if (side) *side = true;
        st = txn_side_file(t, e->seq, content, len, err);
        if (st != AGT_OK) {
            s->lines.len = from;
            return st;
        }
    } else if (has_content)
        t->inline_bytes += len;
    agt__record_put(&s->record, flags, s->lines.data + from, s->lines.len - from, content, len);
    agt__sha256(s->cpu, s->lines.data + from, s->lines.len - from, t->draft.trace.prev);
    t->record.entries++;
    e->prev = e->replica = (agt_text){NULL, 0};
    return AGT_OK;
}

/* ---- append ---- */

/* (2) */
static agt_status txn_append(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    static const unsigned char zeros[8] = {0};
    uint64_t at = t->flushed.end, room = s->journal.header.capacity - at;
    t->no_room = s->record.len > room;
    if (t->no_room)
        return agt__fail(err, AGT_LIMIT,
                         "the change needs %zu bytes of journal and %llu are free; something keeps "
                         "the journal from being emptied, see 'agent-trace status'",
                         s->record.len, (unsigned long long)room);
    int rc = agt__write_all(s->sys, s->journal.fd, s->record.data, s->record.len, at);
    if (rc == 0) return AGT_OK;
    agt_status st = agt__fail_io(err, rc, "cannot append to .agent-trace/journal");
    /* synced, or a power cut could keep the record and lose that it was taken back */
    rc = agt__write_all(s->sys, s->journal.fd, zeros, sizeof zeros, at);
    if (rc == 0) rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc < 0) {
        t->unknown = true;
        s->shared.failed = 1; /* nobody may append behind what cannot be taken back */
        agt__store_save(s);
        if (err) err->outcome_unknown = 1;
    }
    return st;
}

AGT_PRIVATE agt_status agt__txn_seal(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    if (!t->record.entries) {
        s->record.len = t->record_start;
        return AGT_OK;
    }
    if (s->lines.failed || s->record.failed) st = agt__nomem(err);
    if (st == AGT_OK)
        st = agt__record_end(&s->record, t->record_start, s->cpu, t->draft.chain, &t->record, err);
    if (st != AGT_OK) return st; /* the caller rolls back */
    t->draft.end += t->record.length;
    t->draft.next_seq += t->record.entries;
    t->draft.chain = t->record.crc;
    t->draft.trace.offset += s->lines.len - t->record_lines;
    t->record.entries = 0;
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_rollback(agt_txn *t) {
    t->draft = t->flushed;
    t->s->lines.len = t->flushed_lines;
    t->s->record.len = 0;
    t->s->lines.failed = t->s->record.failed = false;
    t->record.entries = 0;
    t->inline_bytes = 0;
}

/* From here on the records count: a catalog that cannot follow is loaded anew at the next lock. */
static void txn_flushed(agt_txn *t) {
    agt_store *s = t->s;
    agt_record r;
    uint64_t seq = t->flushed.next_seq;
    uint32_t chain = t->flushed.chain;
    for (size_t at = 0; at < s->record.len; at += r.length, seq += r.entries, chain = r.crc) {
        agt_status st = agt__record_parse(s->record.data + at, s->record.len - at, s->cpu,
                                          s->journal.header.generation, seq, chain, &r);
        AGENT_TRACE_ASSERT(st == AGT_OK);
        if (st != AGT_OK || agt__store_record_rows(s, &r, NULL) != AGT_OK) {
            s->reload = true;
            break;
        }
    }
    s->seen.pos = t->draft.end;
    s->seen.next_seq = t->draft.next_seq;
    s->seen.chain = t->draft.chain;
    s->record.len = 0;
    t->flushed = t->draft;
    t->flushed_lines = s->lines.len;
    t->inline_bytes = 0;
    t->appended = true;
}

AGT_PRIVATE agt_status agt__txn_flush(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    if (!s->record.len) return AGT_OK;
    if (!agt__flock_still(&s->lock)) { /* somebody else may hold another file of that name */
        agt__txn_rollback(t);
        return agt__fail(err, AGT_IO,
                         ".agent-trace/locks/store.lock was removed or replaced while it was held; "
                         "try again");
    }
    agt_status st = agt__trace_reserve(&s->trace, t->flushed.trace.segment, t->flushed.trace.offset,
                                       s->lines.len - t->flushed_lines, err);
    if (st == AGT_OK) st = txn_append(t, err);
    if (st == AGT_OK)
        txn_flushed(t);
    else
        agt__txn_rollback(t);
    return st;
}

AGT_PRIVATE void agt__txn_took(agt_txn *t, size_t index) {
    agt_plan *p = &t->plans[index];
    if (p->kind == AGT_PLAN_NONE) return;
    if (p->row->pending) { /* the earlier change's file would be replaced at once: leave it out */
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        agt__unstage(t->s, earlier->place.seq);
        earlier->staged = false;
        earlier->kind = AGT_PLAN_NONE;
    }
    p->row->pending = (uint32_t)index + 1;
}

/* ---- commit ---- */

static agt_status txn_sync(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
    if (rc == 0) {
        t->draft.synced = t->draft.end;
        return AGT_OK;
    }
    s->shared.failed = 1; /* finding: after a failed sync neither reads nor later syncs tell */
    s->reload = true;
    agt__store_save(s);
    agt_status st = agt__fail_io(err, rc,
                                 "cannot sync .agent-trace/journal; whether the change survives "
                                 "is unknown; close and open the store to find out");
    if (err) err->outcome_unknown = 1;
    return st;
}

static bool txn_apply_plan(agt_txn *t, agt_plan *p) {
    agt_store *s = t->s;
    if (p->kind == AGT_PLAN_NONE) return true;
    bool renames = p->kind == AGT_PLAN_RENAME;
    agt_status st =
        renames ? agt__place_rename(s, p, &s->waits) : agt__place(s, &p->place, &s->waits);
    p->result.edit_kept_aside = p->place.kept_aside || p->to_place.kept_aside;
    p->result.apply_pending = st != AGT_OK;
    if (st != AGT_OK) return false;
    if (renames && !s->reload) agt__row_stat(p->to_row, &p->to_place.after);
    if (p->kind == AGT_PLAN_WRITE && !s->reload) agt__row_stat(p->row, &p->place.after);
    return true;
}

static bool txn_apply(agt_txn *t) {
    agt_store *s = t->s;
    bool all = true;
    uint64_t at = t->draft.trace.offset - s->lines.len;
    if (agt__trace_put(&s->trace, t->draft.trace.segment, at, s->lines.data, s->lines.len, NULL) !=
        AGT_OK)
        all = false;
    for (size_t i = t->first; i < t->count; i++) {
        agt_plan *p = &t->plans[i];
        if (p->result.status == AGT_DENIED && p->result.seq && agt__plan_brings(p) &&
            p->len <= AGT_REJECTED_MAX) {
            unsigned char sha[32];
            char name[64];
            agt__sha256(s->cpu, p->bytes, p->len, sha);
            agt__hex(sha, 32, name);
            /* synced at every level: a checkpoint takes the record and knows no such file */
            if (agt__keep_rejected(s, (agt_text){name, 64}, p->bytes, p->len, NULL) != AGT_OK)
                all = false;
        }
        if (!txn_apply_plan(t, p)) all = false;
        if (p->row) p->row->pending = 0;
    }
    return all;
}

AGT_PRIVATE agt_status agt__txn_commit(agt_txn *t, agt_error *err) {
    agt_store *s = t->s;
    agt_status st = AGT_OK;
    uint64_t was_applied = s->shared.applied, was_end = s->shared.end;
    bool unsynced = t->draft.synced < t->draft.end;
    if (t->full && unsynced && (t->appended || t->wants_sync)) {
        if ((st = txn_sync(t, err)) != AGT_OK) {
            agt__txn_discard(t, t->first, t->count);
            return st;
        }
        if (!t->appended) {
            s->shared.synced = t->draft.synced;
            agt__store_save(s);
        }
    }
    if (!t->appended) return AGT_OK;
    bool all = txn_apply(t);
    if (all && was_applied == was_end) {
        t->draft.applied = t->draft.end;
        t->draft.applied_seq = t->draft.next_seq;
        t->draft.applied_chain = t->draft.chain;
    }
    t->draft.flip = s->shared.flip;
    s->shared = t->draft;
    agt__store_save(s);
    return AGT_OK;
}

AGT_PRIVATE void agt__txn_discard(agt_txn *t, size_t from, size_t to) {
    char name[40];
    for (size_t i = from; i < to; i++) {
        agt_plan *p = &t->plans[i];
        if (p->staged) agt__unstage(t->s, p->place.seq);
        if (p->side && !t->unknown &&
            p->place.seq >= t->flushed.next_seq) { /* no record names it */
            agt__side_name(p->place.seq, name);
            (void)t->s->sys->remove(t->s->sys->ctx, t->s->unpublished, name);
        }
        if (p->row && p->row->pending == i + 1) p->row->pending = 0; /* not an earlier change's */
        p->staged = p->side = false;
        p->kind = AGT_PLAN_NONE;
    }
}
/* end src/store/txn.c */
/* begin src/store/plan.c */
/* plan: what can be said of a change without its files: whether caller, options and paths are good,
 * who may do it, and whether its path goes with those of the other documents. */

/* ---- checks without a lock ---- */

static agt_status plan_check_text(const char *what, const char *s, size_t max, agt_error *err) {
    size_t n = s ? strlen(s) : 0;
    if (n > max) return agt__fail(err, AGT_LIMIT, "%s has more than %zu bytes", what, max);
    size_t valid = agt__utf8_valid(s, n);
    if (valid != n)
        return agt__fail_at(err, AGT_INVALID, (int64_t)valid, "%s is not valid UTF-8", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return agt__fail_at(err, AGT_INVALID, (int64_t)i,
                                "%s has a control character; use one line of text", what);
    return AGT_OK;
}

static agt_status plan_check_caller(const agt_caller *c, agt_error *err) {
    char shown[100];
    if (!c->actor || !agt__actor_valid(c->actor, strlen(c->actor))) {
        const char *a = c->actor ? c->actor : "(none)";
        return agt__fail(err, AGT_INVALID,
                         "actor '%s' is not valid; use user, system or agent:<name>",
                         agt__show_path(shown, sizeof shown, a, strlen(a)));
    }
    if (c->session && !agt__session_valid(c->session, strlen(c->session)))
        return agt__fail(err, AGT_INVALID,
                         "session '%s' is not valid; use 1 to 64 of A-Z a-z 0-9 . _ : -",
                         agt__show_path(shown, sizeof shown, c->session, strlen(c->session)));
    if (c->source && !agt__word_valid(c->source, strlen(c->source), false))
        return agt__fail(err, AGT_INVALID, "the source is not valid; use 1 to 64 of a-z 0-9 _");
    return AGT_OK;
}

static agt_status plan_check_options(const agt_write_options *o, agt_error *err) {
    agt_status st = plan_check_text("the summary", o->summary, AGT_MAX_SUMMARY, err);
    if (st != AGT_OK) return st;
    if (o->type > AGT_TYPE_SCRATCH || o->check_version > 1 || o->has_time > 1 ||
        o->durability > AGT_DURABLE_PROCESS)
        return agt__fail(err, AGT_INVALID, "a write option has a value that is none");
    if (o->has_time && (o->at_unix_ms < 0 || o->at_unix_ms > AGT_TIME_MAX))
        return agt__fail(err, AGT_INVALID, "the author's time is before 1970 or after 9999");
    return AGT_OK;
}

static agt_status plan_check_grant(const agt_plan *p, agt_error *err) {
    char shown[100];
    if (!agt__grantee_valid(agt__text(p->grant)))
        return agt__fail(err, AGT_INVALID,
                         "'%s' is nobody a grant can name; use agent:<name>, agent (any), system "
                         "or user",
                         agt__show_path(shown, sizeof shown, p->grant, strlen(p->grant)));
    if (p->action == AGT_ACTION_UNLOCK && (p->duration_ms < 1 || p->duration_ms > AGT_MAX_GRANT_MS))
        return agt__fail(err, AGT_INVALID, "a grant lasts from a millisecond to seven days");
    return AGT_OK;
}

/* A document that an older program recorded may have a name that nobody could give now: it can be
 * given another one, and go. */
static bool plan_may_be_held(const agt_plan *p) {
    return p->action == AGT_ACTION_RENAME || p->action == AGT_ACTION_DELETE ||
           p->action == AGT_ACTION_UNTRACK;
}

static agt_status plan_check_path(agt_plan *p, agt_error *err) {
    agt_error mine;
    size_t len = strlen(p->given_path);
    agt_status st = agt__path_normalise(p->given_path, len, p->path, &p->path_len, &mine);
    if (st == AGT_OK || !plan_may_be_held(p) || !agt__path_held(p->given_path, len))
        return agt__answer(st, &mine, err);
    memcpy(p->path, p->given_path, len + 1);
    p->path_len = len;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__plan_check(agt_plan *p, agt_error *err) {
    agt_status st = plan_check_caller(&p->caller, err);
    if (st == AGT_OK && p->given_path) st = plan_check_path(p, err);
    if (st == AGT_OK && p->given_to)
        st = agt__path_normalise(p->given_to, strlen(p->given_to), p->to_path, &p->to_len, err);
    if (st == AGT_OK) st = plan_check_options(&p->options, err);
    if (st == AGT_OK && p->grant) st = plan_check_grant(p, err);
    if (st == AGT_OK && p->len > AGT_MAX_DOCUMENT)
        st = agt__fail(err, AGT_LIMIT, "the document has more than %u bytes",
                       (unsigned)AGT_MAX_DOCUMENT);
    return st;
}

AGT_PRIVATE bool agt__plan_brings(const agt_plan *p) {
    return p->action == AGT_ACTION_WRITE || p->action == AGT_ACTION_RESTORE;
}

AGT_PRIVATE void agt__plan_now(agt_plan *p, const agt_row *row) {
    memset(&p->now, 0, sizeof p->now);
    if (row && row->version && !row->moved) p->now = *row;
    p->now.path = p->path;
    p->now.path_len = p->path_len;
}

/* ---- types and rights ---- */

/* The type the document is to have, if it is another one than it has. */
static agt_status plan_new_type(const agt_plan *p, agt_type own, agt_type *to, agt_error *err) {
    agt_type asked = p->action == AGT_ACTION_RECLASSIFY ? p->to : (agt_type)p->options.type;
    bool may_change = p->action == AGT_ACTION_RECLASSIFY || (p->now.version && !p->now.exists);
    char shown[200];
    *to = AGT_TYPE_DEFAULT;
    if (!asked || asked == own) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_type by_path = agt__perm_type(asked, p->path, p->path_len);
    if (by_path != asked)
        return agt__fail(err, AGT_INVALID, "%s is a %s document by its path, not %s", shown,
                         agt_type_name(by_path), agt_type_name(asked));
    *to = asked;
    if (may_change) return AGT_OK;
    return agt__fail(err, AGT_INVALID,
                     "%s is a %s document, not %s; leave the type out, or reclassify it", shown,
                     agt_type_name(own), agt_type_name(asked));
}

AGT_PRIVATE agt_status agt__plan_permit(const agt_catalog *c, agt_plan *p, int64_t now_unix_ms,
                                        const char **why, agt_error *err) {
    agt_type to, asked = (agt_type)p->options.type, own = p->now.type;
    if (!p->now.version)
        own = agt__perm_type(asked ? asked : AGT_TYPE_SCRATCH, p->path, p->path_len);
    p->type = own;
    agt_status st = plan_new_type(p, own, &to, err);
    if (st != AGT_OK) return st;
    if (to) p->type = to;
    agt_text actor = agt__text(p->caller.actor);
    agt_ask ask = {agt__actor_kind(actor),
                   p->action,
                   agt__perm_type(own, p->path, p->path_len),
                   to,
                   agt__catalog_granted(c, p->now.doc, actor, now_unix_ms),
                   p->caller.confirm != 0};
    if (p->given_to) ask.to = agt__perm_type(own, p->to_path, p->to_len);
    return agt__perm_decide(&ask, why);
}

/* ---- paths beside one another ---- */

static bool plan_is_under(const agt_plan *p, const agt_plan *folder) {
    return p->path_len > folder->path_len && p->path[folder->path_len] == '/' &&
           memcmp(p->path, folder->path, folder->path_len) == 0;
}

AGT_PRIVATE agt_status agt__plan_clash_batch(const agt_txn *t, size_t index, agt_error *err) {
    const agt_plan *p = &t->plans[index];
    char shown[200], theirs[200];
    for (size_t i = 0; i < index; i++) {
        const agt_plan *q = &t->plans[i];
        if (q->action == AGT_ACTION_DELETE) continue;
        bool same = agt__path_fold_compare(q->path, q->path_len, p->path, p->path_len) == 0;
        if (!same && !plan_is_under(p, q) && !plan_is_under(q, p)) continue;
        agt__show_path(shown, sizeof shown, p->path, p->path_len);
        return agt__fail(err, AGT_INVALID,
                         same ? "%s and %s in one batch differ only in upper and lower case"
                              : "%s and %s in one batch: one stands where the other needs a folder",
                         shown, agt__show_path(theirs, sizeof theirs, q->path, q->path_len));
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__plan_clash(const agt_catalog *c, const char *path, size_t len,
                                       const agt_row *except, agt_error *err) {
    agt_row other;
    char shown[200], theirs[200];
    agt__show_path(shown, sizeof shown, path, len);
    if (agt__catalog_case_clash(c, path, len, &other) &&
        !(except && other.path_len == except->path_len &&
          memcmp(other.path, except->path, other.path_len) == 0))
        return agt__fail(err, AGT_INVALID,
                         "%s differs only in upper and lower case from the document %s; use that "
                         "name",
                         shown, agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    if (agt__catalog_has_under(c, path, len))
        return agt__fail(err, AGT_INVALID, "%s is a folder of documents; use another name", shown);
    for (size_t i = 1; i < len; i++)
        if (path[i] == '/' && agt__catalog_find(c, path, i, &other) && other.exists)
            return agt__fail(err, AGT_INVALID,
                             "%s: the document %s stands where a folder is needed", shown,
                             agt__show_path(theirs, sizeof theirs, other.path, other.path_len));
    return AGT_OK;
}
/* end src/store/plan.c */
/* begin src/store/write.c */
/* write: from a change to an event. Who, where, may they (perm), what lies there (look), is it the
 * expected version, is it new at all; the temporary file is written before anything is recorded, so
 * that applying the record can hardly fail.
 *
 * (1) An edit that a look finds goes into the record before the change, as the user's. */

#include <stdio.h>

/* ---- events ---- */
/* The fields every event of a caller has. */
static void write_base_event(const agt_txn *t, const agt_plan *p, agt_event *e) {
    static const agt_event blank = AGT_EVENT_INIT;
    *e = blank;
    e->recorded_unix_ms = t->now_unix_ms;
    e->at_unix_ms = p->options.has_time ? p->options.at_unix_ms : t->now_unix_ms;
    e->actor = agt__text(p->caller.actor);
    e->agent_name = agt__actor_agent(e->actor);
    e->session_id = agt__text(p->caller.session);
    e->source = e->detected_by = agt__text(p->caller.source ? p->caller.source : "api");
    if (p->path_len) e->path = (agt_text){p->path, p->path_len};
}

AGT_PRIVATE agt_status agt__txn_event(agt_txn *t, const agt_plan *p, const char *action,
                                      agt_error *err) {
    agt_event e;
    write_base_event(t, p, &e);
    e.action = e.change_kind = agt__text(action);
    e.summary = agt__text(p->options.summary ? p->options.summary : "");
    return agt__txn_add(t, &e, NULL, 0, false, NULL, err);
}

/* A version of the plan's document: the row's next one. */
typedef struct write_version {
    agt_event e;
    char blob[40], summary[AGT_MAX_PATH + 80];
} write_version;

static agt_status write_doc_id(agt_txn *t, agt_row *now, agt_error *err) {
    char uuid[40];
    if (now->doc[0]) return AGT_OK;
    agt_status st = agt__uuid(t->s->sys, uuid, err);
    if (st == AGT_OK) memcpy(now->doc, uuid, 37);
    return st;
}

static void write_version_event(agt_plan *p, const char *action, uint32_t version,
                                uint64_t doc_prev, const agt_oid *blob, const agt_buf *old,
                                const void *bytes, size_t len, agt_type type, const agt_mem *mem,
                                write_version *v) {
    agt_event *e = &v->e;
    e->action = e->change_kind = agt__text(action);
    e->version = version;
    e->doc_prev = doc_prev;
    e->doc = agt__text(p->now.doc);
    e->doc_type = agt__text(agt_type_name(type));
    if (blob) {
        agt__hex(blob->id, 20, v->blob);
        e->blob = (agt_text){v->blob, 40};
    }
    agt__lines_changed(mem, old->data, old->len, bytes, blob ? len : 0, &e->lines_added,
                       &e->lines_removed);
    if (e->summary.data) return;
    int n = snprintf(v->summary, sizeof v->summary, "%s: +%lld -%lld", p->path,
                     (long long)e->lines_added, (long long)e->lines_removed);
    e->summary = (agt_text){v->summary, n > 0 ? (size_t)n : 0};
}

/* ---- edits made behind the store's back (1) ---- */

/* The newest recorded bytes, to count lines against; empty where they cannot be had. */
static void write_recorded_bytes(agt_store *s, const agt_row *row, agt_buf *out) {
    if (!row->exists || agt__journalled_content(s, row->last_seq, out, NULL) == AGT_OK) return;
    out->len = 0;
    if (agt__git_content(s, &row->blob, out, NULL) != AGT_OK) out->len = 0;
}

/* Makes a record for what was found on disk; `now` then counts it. */
static agt_status write_add_edit(agt_txn *t, agt_plan *p, const agt_look *look, agt_row *now,
                                 agt_error *err) {
    agt_store *s = t->s;
    write_version v;
    agt_plan user = *p;
    agt_buf before = agt__buf(&s->mem);
    write_recorded_bytes(s, now, &before);
    memset(&user.options, 0, sizeof user.options);
    user.caller.actor = "user";
    user.caller.session = NULL;
    user.caller.source = "poll";
    write_base_event(t, &user, &v.e);
    const char *action = !look->on_disk ? "delete" : now->exists ? "modify" : "create";
    write_version_event(p, action, now->version + 1, now->last_seq,
                        look->on_disk ? &look->blob : NULL, &before, s->old.data, s->old.len,
                        p->type, &s->mem, &v);
    agt__buf_free(&before);
    agt__txn_record_begin(t);
    agt_status st = agt__txn_add(t, &v.e, s->old.data, s->old.len, look->on_disk, NULL, err);
    agt__unstage(s, v.e.seq); /* as in write_stage */
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st != AGT_OK) return st;
    now->version++;
    now->last_seq = v.e.seq;
    now->exists = look->on_disk;
    now->blob = look->blob;
    p->result.edit_recorded = 1;
    return AGT_OK;
}

/* ---- deciding ---- */

static agt_status write_refuse(agt_txn *t, agt_plan *p, const char *why, agt_error *err) {
    agt_store *s = t->s;
    unsigned char sha[32];
    char rejected[64], summary[AGT_MAX_PATH + 400], shown[200];
    const char *action = agt__action_name(p->action, p->now.exists);
    agt_event e;
    agt_text kept = {NULL, 0};
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    agt_status denied =
        agt__fail(err, AGT_DENIED, "%s may not %s %s: %s", p->caller.actor, action, shown, why);
    if (agt__plan_brings(p)) {
        agt__sha256(s->cpu, p->bytes, p->len, sha);
        agt__hex(sha, 32, rejected);
        kept = (agt_text){rejected, 64};
    }
    write_base_event(t, p, &e);
    e.change_kind = agt__text(action);
    if (t->atomic ||
        agt__catalog_refused(&s->catalog, agt__refusal_hash(e.actor, e.change_kind, e.path, kept)))
        return denied; /* folded; or a batch, which records nothing unless all is allowed */
    int n = snprintf(summary, sizeof summary, "violation: %s attempted %s on %s: %s",
                     p->caller.actor, action, p->path, why);
    e.summary = (agt_text){summary, n > 0 ? (size_t)n : 0};
    e.action = agt__text("violation");
    e.doc_type = agt__text(agt_type_name(p->type));
    e.rejected = kept;
    if (p->now.version) {
        e.doc = agt__text(p->now.doc);
        e.doc_prev = p->now.last_seq;
    }
    agt__txn_record_begin(t);
    agt_status st =
        agt__txn_add(t, &e, p->bytes, p->len, kept.data && p->len <= AGT_REJECTED_MAX, NULL, err);
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st != AGT_OK) return st;
    p->result.seq = e.seq;
    return denied;
}

static agt_status write_clash(agt_txn *t, size_t index, agt_error *err) {
    const agt_plan *p = &t->plans[index];
    agt_status st = t->atomic ? agt__plan_clash_batch(t, index, err) : AGT_OK;
    return st == AGT_OK ? agt__plan_clash(&t->s->catalog, p->path, p->path_len, NULL, err) : st;
}

static agt_status write_permit(agt_txn *t, agt_plan *p, agt_error *err) {
    const char *why;
    char shown[200];
    agt_status st = agt__plan_permit(&t->s->catalog, p, t->now_unix_ms, &why, err);
    if (st == AGT_DENIED) return write_refuse(t, p, why, err);
    if (st != AGT_NEEDS_CONFIRMATION) return st;
    return agt__fail(err, st, "%s: %s", agt__show_path(shown, sizeof shown, p->path, p->path_len),
                     why);
}

/* What lies at the path, seen through changes of the same transaction; records an edit. */
static agt_status write_look(agt_txn *t, agt_plan *p, agt_error *err) {
    agt_store *s = t->s;
    agt_row *now = &p->now;
    agt_look *look = &p->place.before;
    if (p->row->pending) {
        agt_plan *earlier = &t->plans[p->row->pending - 1];
        *look = earlier->place.before;
        s->old.len = 0;
        if (earlier->kind == AGT_PLAN_WRITE) agt__buf_put(&s->old, earlier->bytes, earlier->len);
        return s->old.failed ? (s->old.failed = false, agt__nomem(err)) : AGT_OK;
    }
    bool pending = false;
    agt_status st = agt__look(s, p->path, p->path_len, &s->old, look, err);
    bool goes = p->action == AGT_ACTION_DELETE || p->action == AGT_ACTION_UNTRACK;
    if (st == AGT_INVALID && goes && look->stat.kind == AGT_FILE_FOLDER) {
        memset(look, 0, sizeof *look); /* a person made a folder of it: it is gone */
        s->old.len = 0;
        st = AGT_OK;
    }
    if (st != AGT_OK) return st;
    if (agt__look_is(look, now->exists, &now->blob)) return AGT_OK;
    agt_waiting waiting = agt__waiting(s, true);
    if ((st = agt__look_pending(s, &waiting, now, look, &pending, err)) != AGT_OK) return st;
    bool adds = p->action == AGT_ACTION_ADD && !now->exists;
    if (!pending && adds) return AGT_OK; /* it is what the caller adds */
    if (!pending) return write_add_edit(t, p, look, now, err);
    p->waits = true;
    s->old.len = 0; /* what is in the journal is what changes */
    return now->exists ? agt__journalled_content(s, now->last_seq, &s->old, err) : AGT_OK;
}

static agt_status write_expected(const agt_plan *p, const agt_row *now, agt_error *err) {
    char shown[200];
    uint32_t current = now->exists ? now->version : 0;
    if (!p->options.check_version || p->options.expected_version == current) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (!current) return agt__fail(err, AGT_CONFLICT, "%s does not exist", shown);
    return agt__fail(err, AGT_CONFLICT, "%s is at version %u, not %u; read it and try again", shown,
                     (unsigned)current, (unsigned)p->options.expected_version);
}

static agt_status write_stage(agt_txn *t, size_t index, uint64_t seq, agt_error *err) {
    agt_plan *p = &t->plans[index];
    p->place.path = p->path;
    p->place.path_len = p->path_len;
    p->place.seq = seq;
    p->place.remove = p->action == AGT_ACTION_DELETE;
    agt_status st = agt__target(t->s, p->path, p->path_len, err);
    if (st != AGT_OK) return st;
    if (!p->place.remove) {
        st = agt__stage(t->s, &p->place, p->bytes, p->len, err);
        if (st != AGT_OK) return st;
        p->staged = true;
    } else
        agt__unstage(t->s, seq); /* of a writer that died before it recorded what it staged */
    p->kind = p->place.remove ? AGT_PLAN_REMOVE : AGT_PLAN_WRITE;
    return AGT_OK;
}

/* What is asked of the document as it is: is it there, or must it not be? */
static agt_status write_exists(agt_plan *p, agt_error *err) {
    char shown[200];
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    bool adds = p->action == AGT_ACTION_ADD;
    bool makes = adds || p->action == AGT_ACTION_WRITE || p->action == AGT_ACTION_RESTORE;
    if (!makes && !p->now.exists)
        return agt__fail(err, AGT_NOT_FOUND, "%s: no such document", shown);
    if (!adds) return AGT_OK;
    if (p->now.exists) return agt__fail(err, AGT_CONFLICT, "%s is a document already", shown);
    if (p->waits)
        return agt__fail(err, AGT_BUSY,
                         "%s was deleted, and what is in the way of that must go first", shown);
    if (p->place.before.on_disk) return AGT_OK;
    return agt__fail(err, AGT_NOT_FOUND, "there is no file %s to add", shown);
}

/* Actions that do not look at the document's file. */
static bool write_is_blind(const agt_plan *p) {
    return p->action == AGT_ACTION_RECLASSIFY || p->action == AGT_ACTION_UNLOCK ||
           p->action == AGT_ACTION_REVOKE;
}

static bool write_is_managing(const agt_plan *p) {
    return write_is_blind(p) || p->action == AGT_ACTION_RENAME || p->action == AGT_ACTION_UNTRACK;
}

AGT_PRIVATE agt_status agt__txn_look(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    char shown[200];
    bool managing = write_is_managing(p);
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    if (!(p->row = agt__catalog_touch(&s->catalog, p->path, p->path_len))) return agt__nomem(err);
    agt__plan_now(p, p->row);
    p->result.version = p->now.exists ? p->now.version : 0;
    if (p->row->pending && t->atomic)
        return agt__fail(err, AGT_INVALID, "%s stands twice in the batch", shown);
    if (managing && !p->now.exists) return write_exists(p, err);
    agt_status st = write_permit(t, p, err);
    if (st == AGT_OK && !p->now.exists && !managing) st = write_clash(t, index, err);
    if (st == AGT_OK) st = write_doc_id(t, &p->now, err);
    if (st == AGT_OK && p->given_to) st = agt__manage_target(t, p, err);
    if (st == AGT_OK && !write_is_blind(p)) st = write_look(t, p, err);
    if (st != AGT_OK) return st;
    p->result.version = p->now.exists ? p->now.version : 0;
    if ((st = write_expected(p, &p->now, err)) != AGT_OK) return st;
    if ((st = write_exists(p, err)) != AGT_OK) return st;
    if (managing) return agt__manage_look(t, p, err);
    if (!agt__plan_brings(p)) return AGT_OK;
    agt__git_id(s->cpu, "blob", p->bytes, p->len, p->blob.id);
    if (p->now.exists && memcmp(p->blob.id, p->now.blob.id, 20) == 0) {
        p->result.unchanged = 1;
        t->wants_sync = true;
    }
    return AGT_OK;
}

/* The file as it is now becomes the document's version; nothing is put in place. */
static agt_status write_add_file(agt_txn *t, agt_plan *p, write_version *v, agt_error *err) {
    agt_store *s = t->s;
    agt_look look;
    char shown[200];
    agt_buf nothing = agt__buf(&s->mem);
    agt_status st = agt__look(s, p->path, p->path_len, &s->old, &look, err);
    if (st == AGT_OK && !look.on_disk)
        st = agt__fail(err, AGT_NOT_FOUND, "there is no file %s to add",
                       agt__show_path(shown, sizeof shown, p->path, p->path_len));
    if (st != AGT_OK) return st;
    p->blob = look.blob;
    write_version_event(p, "create", p->now.version + 1, p->now.last_seq, &p->blob, &nothing,
                        s->old.data, s->old.len, p->type, &s->mem, v);
    st = agt__txn_add(t, &v->e, s->old.data, s->old.len, true, &p->side, err);
    p->place.seq = v->e.seq;
    return st;
}

static agt_status write_change_file(agt_txn *t, size_t index, write_version *v, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_store *s = t->s;
    agt_look again;
    bool brings = agt__plan_brings(p);
    const char *action =
        p->action == AGT_ACTION_RESTORE ? "restore" : agt__action_name(p->action, p->now.exists);
    agt_status st = AGT_OK;
    if (t->atomic && t->count > 1) /* the old bytes, to count lines: others were looked at since */
        st = agt__look(s, p->path, p->path_len, &s->old, &again, err);
    if (st == AGT_OK) st = write_stage(t, index, t->draft.next_seq + t->record.entries, err);
    if (st != AGT_OK) return st;
    write_version_event(p, action, p->now.version + 1, p->now.last_seq, brings ? &p->blob : NULL,
                        &s->old, p->bytes, p->len, p->type, &s->mem, v);
    return agt__txn_add(t, &v->e, p->bytes, p->len, brings, &p->side, err);
}

AGT_PRIVATE agt_status agt__txn_change(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    write_version v;
    write_base_event(t, p, &v.e);
    v.e.summary = agt__text(p->options.summary);
    agt_status st = write_is_managing(p)          ? agt__manage_change(t, p, &v.e, err)
                    : p->action == AGT_ACTION_ADD ? write_add_file(t, p, &v, err)
                                                  : write_change_file(t, index, &v, err);
    if (st != AGT_OK) return st;
    if (v.e.version) p->result.version = v.e.version;
    p->result.seq = v.e.seq;
    return AGT_OK;
}

AGT_PRIVATE void agt__plan_nothing(agt_plan *p) {
    p->result.edit_recorded = p->result.unchanged = 0;
    p->result.seq = 0;
    p->result.version = p->row && p->row->exists ? p->row->version : 0;
}

AGT_PRIVATE agt_status agt__txn_single(agt_txn *t, size_t index, agt_error *err) {
    agt_plan *p = &t->plans[index];
    agt_error flush;
    agt_status answer = agt__txn_look(t, index, err), st = AGT_OK;
    if (answer == AGT_OK && !p->result.unchanged) {
        agt__txn_record_begin(t);
        answer = agt__txn_change(t, index, err);
        if (answer == AGT_OK) answer = agt__txn_seal(t, err);
    }
    if (agt_status_is_error(answer))
        agt__txn_rollback(t);
    else
        st = agt__txn_flush(t, &flush);
    if (st != AGT_OK) {
        if (err) *err = flush;
        answer = st;
    }
    if (agt_status_is_error(answer)) {
        agt__txn_discard(t, index, index + 1);
        agt__plan_nothing(p);
    }
    p->result.status = answer;
    return answer;
}
/* end src/store/write.c */
/* begin src/store/change.c */
/* change: the public calls that change documents. Each fills plans and runs one transaction;
 * agt_group runs as many as its changes need. */

#define CHANGE_GROUP_JOURNAL (2u * 1024 * 1024) /* a group commits when it has filled so much */
#define CHANGE_GROUP_SIDE    (64u * 1024 * 1024)

static agt_status change_fill(agt_plan *p, const agt_caller *caller, const char *path,
                              const void *bytes, size_t len, const agt_write_options *opts,
                              agt_error *err) {
    memset(p, 0, sizeof *p);
    AGENT_TRACE_ASSERT(caller && path && (bytes || !len));
    agt_status st = agt__options(&p->caller, sizeof p->caller, caller, "agt_caller", err);
    if (st == AGT_OK)
        st = agt__options(&p->options, sizeof p->options, opts, "agt_write_options", err);
    if (st != AGT_OK) return st;
    p->given_path = path;
    p->bytes = bytes ? bytes : "";
    p->len = len;
    return agt__plan_check(p, err);
}

static agt_status change_result_check(const agt_write_result *out, agt_error *err) {
    agt_write_result known;
    return out ? agt__options(&known, sizeof known, out, "agt_write_result", err) : AGT_OK;
}

static void change_report(const agt_plan *p, agt_write_result *out) {
    if (!out) return;
    uint32_t size = out->size;
    memcpy(out, &p->result, size < sizeof p->result ? size : sizeof p->result);
    out->size = size;
}

static bool change_full(const agt_store *s, uint32_t durability) {
    return (durability ? durability : s->durability) == AGT_DURABLE_FULL;
}

/* What a try left in a plan. */
static void change_again(agt_plan *p) {
    memset(&p->result, 0, sizeof p->result);
    memset(&p->now, 0, sizeof p->now);
    memset(&p->place, 0, sizeof p->place);
    memset(&p->to_place, 0, sizeof p->to_place);
    p->row = p->to_row = NULL;
    p->kind = AGT_PLAN_NONE;
    p->staged = p->side = p->waits = false;
}

static agt_status change_once(agt_store *s, agt_plan *p, bool *no_room, agt_error *err) {
    agt_txn t;
    agt_error why;
    memset(&why, 0, sizeof why);
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    agt__txn_begin(&t, s, p, change_full(s, p->options.durability), false);
    t.count = 1;
    agt_status answer = agt__txn_single(&t, 0, &why);
    st = agt__txn_commit(&t, err);
    if (st != AGT_OK) agt__plan_nothing(p);
    agt__store_unlock(s);
    p->result.status = 0;
    *no_room = st == AGT_OK && answer == AGT_LIMIT && t.no_room;
    if (st == AGT_OK && answer != AGT_OK && err) *err = why;
    return st != AGT_OK ? st : answer;
}

/* Runs one plan as a transaction of its own. The status is the plan's. Others may have filled the
 * journal since this handle looked: then it is emptied, once. */
static agt_status change_one(agt_store *s, agt_plan *p, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    bool no_room = false;
    agt_status st = agt__make_room(s, &mine);
    if (st == AGT_OK) st = change_once(s, p, &no_room, &mine);
    if (!no_room) return agt__answer(st, &mine, err);
    if ((st = agt__empty_journal(s, err)) != AGT_OK) return st;
    change_again(p);
    return change_once(s, p, &no_room, err);
}

AGT_PRIVATE agt_status agt__change_fill(agt_plan *p, const agt_caller *caller, const char *path,
                                        const agt_write_options *opts,
                                        const agt_write_result *result, agt_error *err) {
    agt_status st = change_fill(p, caller, path, NULL, 0, opts, err);
    return st == AGT_OK ? change_result_check(result, err) : st;
}

AGT_PRIVATE agt_status agt__change_run(agt_store *s, agt_plan *p, agt_write_result *result,
                                       agt_error *err) {
    AGENT_TRACE_ASSERT(s);
    agt_status st = change_one(s, p, err);
    change_report(p, result);
    return st;
}

AGENT_TRACE_API agt_status agt_write(agt_store *store, const agt_caller *caller, const char *path,
                                     const void *bytes, size_t len, const agt_write_options *opts,
                                     agt_write_result *result, agt_error *err) {
    agt_plan p;
    AGENT_TRACE_ASSERT(store);
    agt_status st = change_result_check(result, err);
    if (st == AGT_OK) st = change_fill(&p, caller, path, bytes, len, opts, err);
    if (st != AGT_OK) return st;
    st = change_one(store, &p, err);
    change_report(&p, result);
    return st;
}

AGENT_TRACE_API agt_status agt_remove(agt_store *store, const agt_caller *caller, const char *path,
                                      const agt_write_options *opts, agt_write_result *result,
                                      agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = AGT_ACTION_DELETE;
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_restore(agt_store *store, const agt_caller *caller, const char *path,
                                       uint32_t version, const agt_write_options *opts,
                                       agt_write_result *result, agt_error *err) {
    agt_plan p;
    agt_bytes old = {NULL, 0, NULL};
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    if (st == AGT_OK && !version)
        st = agt__fail(err, AGT_INVALID, "versions begin at 1; say which one to restore");
    if (st == AGT_OK) st = agt_read_version(store, path, version, &old, err);
    if (st != AGT_OK) return st;
    p.action = AGT_ACTION_RESTORE;
    p.bytes = old.data;
    p.len = old.len;
    st = agt__change_run(store, &p, result, err);
    agt_bytes_free(&old);
    return st;
}

static agt_status change_event(agt_store *s, agt_plan *p, const char *action, uint64_t *seq,
                               bool *no_room, agt_error *err) {
    agt_txn t;
    *no_room = false;
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    agt__txn_begin(&t, s, p, change_full(s, p->options.durability), false);
    agt__txn_record_begin(&t);
    *seq = t.draft.next_seq;
    st = agt__txn_event(&t, p, action, err);
    if (st == AGT_OK) st = agt__txn_seal(&t, err);
    if (st == AGT_OK) st = agt__txn_flush(&t, err);
    if (st == AGT_OK) st = agt__txn_commit(&t, err);
    agt__store_unlock(s);
    *no_room = st == AGT_LIMIT && t.no_room;
    return st;
}

AGENT_TRACE_API agt_status agt_event_append(agt_store *store, const agt_caller *caller,
                                            const char *action, const char *summary,
                                            const char *path, uint32_t durability, uint64_t *seq,
                                            agt_error *err) {
    static const char *const ours[] = {"create", "modify",  "delete",    "restore",
                                       "rename", "untrack", "violation", "reclassify",
                                       "unlock", "revoke",  "init",      "unknown"};
    agt_plan p;
    bool no_room = false;
    AGENT_TRACE_ASSERT(action && summary);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    o.durability = durability;
    o.summary = summary;
    agt_status st = change_fill(&p, caller, path ? path : "event", NULL, 0, &o, err);
    if (st != AGT_OK) return st;
    if (!path) p.path_len = 0;
    bool good = agt__word_valid(action, strlen(action), true);
    for (size_t i = 0; i < AGT_COUNT(ours); i++)
        if (strcmp(action, ours[i]) == 0) good = false;
    if (!good)
        return agt__fail(err, AGT_INVALID,
                         "the action must be 1 to 64 of a-z 0-9 _ . and none of the library's own "
                         "words");
    agt_error mine;
    mine.status = AGT_OK;
    st = agt__make_room(store, &mine);
    uint64_t next = 0;
    if (st == AGT_OK) st = change_event(store, &p, action, &next, &no_room, &mine);
    if (no_room && (st = agt__empty_journal(store, &mine)) == AGT_OK)
        st = change_event(store, &p, action, &next, &no_room, &mine);
    if (st == AGT_OK && seq) *seq = next;
    return agt__answer(st, &mine, err);
}

/* ---- several changes ---- */

static const agt_change *change_at(const agt_change *changes, size_t i) {
    return (const agt_change *)(const void *)((const char *)changes + i * changes[0].size);
}
static agt_write_result *change_result_at(agt_write_result *results, size_t i) {
    return (agt_write_result *)(void *)((char *)results + i * results[0].size);
}

static agt_status change_fill_many(agt_plan *p, const agt_change *from, const agt_caller *caller,
                                   agt_error *err) {
    agt_change c;
    agt_status st = agt__options(&c, sizeof c, from, "agt_change", err);
    if (st != AGT_OK) return st;
    if (!caller) caller = c.caller;
    if (!caller) return agt__fail(err, AGT_INVALID, "a change of the group has no caller");
    if (c.kind > AGT_CHANGE_ADD) return agt__fail(err, AGT_INVALID, "a change is of no known kind");
    bool brings = c.kind == AGT_CHANGE_WRITE;
    st =
        change_fill(p, caller, c.path, brings ? c.bytes : NULL, brings ? c.len : 0, c.options, err);
    p->action = c.kind == AGT_CHANGE_REMOVE ? AGT_ACTION_DELETE
                : c.kind == AGT_CHANGE_ADD  ? AGT_ACTION_ADD
                                            : AGT_ACTION_WRITE;
    return st;
}

static agt_status change_many_check(const agt_change *changes, size_t count, uint32_t durability,
                                    agt_write_result *results, agt_error *err) {
    AGENT_TRACE_ASSERT(changes || !count);
    if (!count || count > AGT_MAX_BATCH)
        return agt__fail(err, count ? AGT_LIMIT : AGT_INVALID,
                         "a batch has 1 to %d changes, this one has %zu", AGT_MAX_BATCH, count);
    if (durability > AGT_DURABLE_PROCESS) return agt__fail(err, AGT_INVALID, "unknown durability");
    if (changes[0].size < sizeof(uint32_t) || changes[0].size % sizeof(void *))
        return agt__fail(err, AGT_INVALID, "agt_change.size is not set; use AGT_CHANGE_INIT");
    if (results && results[0].size % sizeof(void *))
        return agt__fail(err, AGT_INVALID,
                         "agt_write_result.size is not set; use AGT_WRITE_RESULT_INIT");
    return change_result_check(results, err);
}

/* Nothing of the batch happened. Where that is an answer the edits it speaks of are recorded all
 * the same; where it is a failure nothing is. */
static agt_status change_batch_none(agt_txn *t, agt_status answer, agt_error *err) {
    agt_error why;
    agt_status st = AGT_OK;
    bool failed = agt_status_is_error(answer);
    agt__txn_discard(t, 0, t->count);
    memset(&why, 0, sizeof why);
    if (failed)
        agt__txn_rollback(t);
    else if ((st = agt__txn_flush(t, &why)) == AGT_OK)
        st = agt__txn_commit(t, &why);
    for (size_t i = 0; i < t->count; i++) {
        agt_plan *p = &t->plans[i];
        uint32_t edit_recorded = p->result.edit_recorded;
        agt__plan_nothing(p);
        if (failed || st != AGT_OK) continue;
        p->result.edit_recorded = edit_recorded;
        p->result.version = p->row && p->now.exists ? p->now.version : 0;
    }
    if (st != AGT_OK && err) *err = why;
    return st != AGT_OK ? st : answer;
}

static agt_status change_batch_record(agt_txn *t, size_t count, agt_error *err) {
    agt_status st = AGT_OK;
    agt__txn_record_begin(t);
    for (size_t i = 0; i < count && st == AGT_OK; i++) {
        if (!t->plans[i].result.unchanged) st = agt__txn_change(t, i, err);
        if (st != AGT_OK && err) err->offset = (int64_t)i;
    }
    if (st == AGT_OK && t->s->lines.len > AGT_MAX_BATCH_EVENTS)
        st = agt__fail(err, AGT_LIMIT,
                       "the events of the batch have more than %u bytes; use shorter summaries or "
                       "fewer changes",
                       (unsigned)AGT_MAX_BATCH_EVENTS);
    if (st == AGT_OK) st = agt__txn_seal(t, err);
    if (st == AGT_OK) st = agt__txn_flush(t, err);
    return st == AGT_OK ? agt__txn_commit(t, err) : st;
}

static agt_status change_batch_locked(agt_txn *t, size_t count, agt_error *err) {
    agt_status st = AGT_OK;
    for (size_t i = 0; i < count && st == AGT_OK; i++) {
        t->count = i + 1;
        st = agt__txn_look(t, i, err);
        if (st == AGT_OK) t->plans[i].row->pending = (uint32_t)i + 1;
        if (st != AGT_OK && err) err->offset = (int64_t)i;
    }
    if (st == AGT_OK) st = change_batch_record(t, count, err);
    return st == AGT_OK ? st : change_batch_none(t, st, err);
}

/* A batch is one record: where the journal has no room for it, it is emptied first. */
static agt_status change_batch_run(agt_store *s, agt_plan *plans, size_t count, bool full,
                                   agt_error *err) {
    agt_txn t;
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__make_room(s, &mine);
    for (int again = 0; st == AGT_OK; again++) {
        if ((st = agt__store_lock(s, &mine)) != AGT_OK) break;
        agt__txn_begin(&t, s, plans, full, true);
        st = change_batch_locked(&t, count, &mine);
        agt__store_unlock(s);
        if (again || st != AGT_LIMIT || !t.no_room) break;
        if ((st = agt__empty_journal(s, &mine)) != AGT_OK) break;
        for (size_t i = 0; i < count; i++)
            change_again(&plans[i]);
    }
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_batch(agt_store *store, const agt_caller *caller,
                                     const agt_change *changes, size_t count, uint32_t durability,
                                     agt_write_result *results, agt_error *err) {
    AGENT_TRACE_ASSERT(store && caller);
    agt_status st = change_many_check(changes, count, durability, results, err);
    if (st != AGT_OK) return st;
    agt_plan *plans = agt__zalloc(&store->mem, count * sizeof *plans);
    if (!plans) return agt__nomem(err);
    for (size_t i = 0; i < count && st == AGT_OK; i++) {
        st = change_fill_many(&plans[i], change_at(changes, i), caller, err);
        if (st != AGT_OK && err) err->offset = (int64_t)i;
    }
    if (st == AGT_OK)
        st = change_batch_run(store, plans, count, change_full(store, durability), err);
    for (size_t i = 0; results && i < count; i++)
        change_report(&plans[i], change_result_at(results, i));
    agt__free(&store->mem, plans, count * sizeof *plans);
    return st;
}

static void change_note(agt_plan *p, agt_status st, const agt_error *why) {
    p->result.status = st;
    p->result.message[0] = 0;
    if (st != AGT_OK)
        (void)agt__copy_text(p->result.message, sizeof p->result.message, why->message,
                             strlen(why->message));
}

/* Appends changes from `from` on until enough is journalled, or there is no room for the next one
 * in a journal that can be emptied; returns where it stopped. */
static size_t change_group_some(agt_txn *t, agt_plan *plans, size_t from, size_t count,
                                bool emptied) {
    uint64_t begin = t->draft.end;
    size_t i = t->first = t->count = from;
    for (; i < count; i++) {
        agt_plan *p = &plans[i];
        agt_error why;
        memset(&why, 0, sizeof why);
        if (p->result.status != AGT_OK) continue; /* refused before the lock */
        if (i > from &&
            (t->draft.end - begin > CHANGE_GROUP_JOURNAL || t->side_bytes > CHANGE_GROUP_SIDE))
            break;
        t->count = i + 1;
        t->no_room = false;
        agt_status answer = agt__txn_single(t, i, &why);
        if (answer == AGT_LIMIT && t->no_room && !(emptied && i == from)) {
            change_again(p);
            break;
        }
        change_note(p, answer, &why);
        if (answer == AGT_OK) agt__txn_took(t, i);
    }
    return i;
}

/* What was committed counts; the rest says why it was not. */
static void change_note_rest(agt_plan *plans, size_t from, size_t count, agt_status st,
                             const agt_error *err) {
    agt_error why;
    memset(&why, 0, sizeof why);
    (void)agt__fail(&why, st, "%s", err ? err->message : agt_status_text(st));
    for (; from < count; from++)
        if (plans[from].result.status == AGT_OK) change_note(&plans[from], st, &why);
}

static agt_status change_group_run(agt_store *s, agt_plan *plans, size_t count, bool full,
                                   agt_error *err) {
    bool emptied = false;
    for (size_t from = 0; from < count;) {
        agt_txn t;
        agt_status st = emptied ? agt__empty_journal(s, err) : agt__make_room(s, err);
        if (st == AGT_OK) st = agt__store_lock(s, err);
        if (st != AGT_OK) {
            change_note_rest(plans, from, count, st, err);
            return st;
        }
        agt__txn_begin(&t, s, plans, full, false);
        size_t to = change_group_some(&t, plans, from, count, emptied);
        emptied = t.no_room;
        st = agt__txn_commit(&t, err);
        agt__store_unlock(s);
        if (st != AGT_OK) {
            change_note_rest(plans, from, count, st, err);
            return st;
        }
        from = to;
    }
    return AGT_OK;
}

/* Nothing was tried: every result says so, because one that says AGT_OK is safe. */
static agt_status change_none(agt_write_result *results, size_t count, agt_status st,
                              const agt_error *err) {
    agt_plan p;
    agt_error why;
    memset(&p, 0, sizeof p);
    memset(&why, 0, sizeof why);
    (void)agt__fail(&why, st, "%s", err ? err->message : agt_status_text(st));
    change_note(&p, st, &why);
    if (change_result_check(count ? results : NULL, NULL) != AGT_OK) return st;
    for (size_t i = 0; i < count; i++)
        change_report(&p, change_result_at(results, i));
    return st;
}

AGENT_TRACE_API agt_status agt_group(agt_store *store, const agt_change *changes, size_t count,
                                     uint32_t durability, agt_write_result *results,
                                     agt_error *err) {
    AGENT_TRACE_ASSERT(store && results);
    agt_status st = change_many_check(changes, count, durability, results, err);
    if (st != AGT_OK) return change_none(results, count, st, err);
    agt_plan *plans = agt__zalloc(&store->mem, count * sizeof *plans);
    if (!plans) return change_none(results, count, agt__nomem(err), err);
    for (size_t i = 0; i < count; i++) {
        agt_error why;
        memset(&why, 0, sizeof why);
        agt_status bad = change_fill_many(&plans[i], change_at(changes, i), NULL, &why);
        change_note(&plans[i], bad, &why);
    }
    st = change_group_run(store, plans, count, change_full(store, durability), err);
    for (size_t i = 0; i < count; i++)
        change_report(&plans[i], change_result_at(results, i));
    agt__free(&store->mem, plans, count * sizeof *plans);
    return st;
}
/* end src/store/change.c */
/* begin src/store/manage.c */
/* manage: changes that leave a document's bytes as they are: its path, its type, whether it is one,
 * and who may write it for a time. Each is an event of its own, decided like every write.
 *
 * (1) A rename is recorded with the bytes: the new file is made from the record, like any other,
 * and then the old one goes. Where the two names differ in case alone they may be one file to this
 *     file system: then the old one goes first.
 * (2) An untracked file is not ours to mend after a power cut: it is synced before the record says
 *     so. */

#include <stdio.h>

/* ---- under the lock ---- */

static bool manage_same_file(const agt_look *a, const agt_look *b) {
    return a->on_disk && b->on_disk && a->stat.dev == b->stat.dev && a->stat.ino == b->stat.ino;
}

/* Do the two paths differ in case alone? */
static bool manage_folds(const agt_plan *p) {
    return agt__path_fold_compare(p->path, p->path_len, p->to_path, p->to_len) == 0;
}

AGT_PRIVATE agt_status agt__manage_target(agt_txn *t, agt_plan *p, agt_error *err) {
    agt_store *s = t->s;
    agt_look look;
    char shown[200];
    agt__show_path(shown, sizeof shown, p->to_path, p->to_len);
    if (p->to_len == p->path_len && memcmp(p->to_path, p->path, p->to_len) == 0)
        return agt__fail(err, AGT_INVALID, "%s is the document's path already", shown);
    p->to_row = agt__catalog_touch(&s->catalog, p->to_path, p->to_len);
    if (!p->to_row) return agt__nomem(err);
    if (p->to_row->exists)
        return agt__fail(err, AGT_CONFLICT, "%s is another document; delete or rename it first",
                         shown);
    agt_status st = agt__plan_clash(&s->catalog, p->to_path, p->to_len, p->row, err);
    if (st == AGT_OK) st = agt__look(s, p->to_path, p->to_len, &s->old, &look, err);
    if (st != AGT_OK || !look.on_disk) return st;
    if (manage_folds(p)) {
        agt_look own;
        st = agt__look(s, p->path, p->path_len, &s->old, &own, err);
        if (st != AGT_OK || manage_same_file(&look, &own)) return st;
    }
    return agt__fail(err, AGT_CONFLICT,
                     "a file %s is there, and is no document; move it away first", shown);
}

static agt_status manage_look_grant(const agt_txn *t, const agt_plan *p, agt_error *err) {
    const agt_catalog *c = &t->s->catalog;
    char shown[200];
    size_t others = 0;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    const agt_grant_row *same = agt__catalog_grant(c, p->now.doc, p->grant, t->now_unix_ms);
    if (p->action == AGT_ACTION_REVOKE)
        return same ? AGT_OK
                    : agt__fail(err, AGT_NOT_FOUND, "%s has no grant of %s that could be ended",
                                p->grant, shown);
    for (size_t i = 0; i < c->grant_count; i++)
        if (&c->grants[i] != same && t->now_unix_ms < c->grants[i].until_unix_ms) others++;
    if (others < AGT_MAX_GRANTS) return AGT_OK;
    return agt__fail(err, AGT_LIMIT, "%d grants are in force, which is the most; end one of them",
                     AGT_MAX_GRANTS);
}

AGT_PRIVATE agt_status agt__manage_look(agt_txn *t, agt_plan *p, agt_error *err) {
    char shown[200];
    if (p->grant) return manage_look_grant(t, p, err);
    if (p->action == AGT_ACTION_RECLASSIFY) {
        p->result.unchanged = p->type == p->now.type;
        return AGT_OK;
    }
    if (p->waits)
        return agt__fail(err, AGT_BUSY,
                         "the newest version of %s is not in its place yet; see what is in the way",
                         agt__show_path(shown, sizeof shown, p->path, p->path_len));
    if (p->action == AGT_ACTION_UNTRACK) /* (2) */
        return agt__sync_document(t->s, p->path, p->path_len, err);
    return AGT_OK;
}

static agt_status manage_stage(agt_txn *t, agt_plan *p, uint64_t seq, agt_error *err) {
    agt_store *s = t->s;
    agt_place *to = &p->to_place, *from = &p->place;
    from->path = p->path;
    from->path_len = p->path_len;
    from->seq = to->seq = seq;
    from->remove = true;
    to->path = p->to_path;
    to->path_len = p->to_len;
    to->mode = from->before.stat.mode;
    agt_status st = agt__target(s, p->path, p->path_len, err);
    if (st == AGT_OK) st = agt__target(s, p->to_path, p->to_len, err);
    if (st == AGT_OK) st = agt__stage(s, to, s->old.data, s->old.len, err);
    if (st != AGT_OK) return st;
    p->staged = true;
    p->kind = AGT_PLAN_RENAME;
    return AGT_OK;
}

/* What the event says in words, unless the caller did. */
static void manage_summary(const agt_plan *p, const agt_event *e, char *out, size_t size) {
    char until[AGT_TIME_TEXT];
    switch (p->action) {
    case AGT_ACTION_RENAME: (void)snprintf(out, size, "%s -> %s", p->path, p->to_path); break;
    case AGT_ACTION_RECLASSIFY:
        (void)snprintf(out, size, "%s: %s -> %s", p->path, agt_type_name(p->now.type),
                       agt_type_name(p->type));
        break;
    case AGT_ACTION_UNLOCK:
        agt__time_format(e->until_unix_ms, until);
        (void)snprintf(out, size, "%s: %s may write it until %s", p->path, p->grant, until);
        break;
    case AGT_ACTION_REVOKE:
        (void)snprintf(out, size, "%s: %s may no more write it", p->path, p->grant);
        break;
    default: (void)snprintf(out, size, "%s: untracked, the file stays", p->path); break;
    }
}

AGT_PRIVATE agt_status agt__manage_change(agt_txn *t, agt_plan *p, agt_event *e, agt_error *err) {
    char summary[2 * AGT_MAX_PATH + 80], blob[40];
    agt_store *s = t->s;
    bool renames = p->action == AGT_ACTION_RENAME;
    agt_status st = AGT_OK;
    e->action = e->change_kind = agt__text(agt__action_name(p->action, true));
    e->doc = agt__text(p->now.doc);
    e->doc_type = agt__text(agt_type_name(p->type));
    e->doc_prev = p->now.last_seq;
    if (renames || p->action == AGT_ACTION_UNTRACK) e->version = p->now.version + 1;
    if (p->grant) e->grant = agt__text(p->grant);
    if (p->action == AGT_ACTION_UNLOCK) {
        e->until_unix_ms = t->now_unix_ms + p->duration_ms;
        if (e->until_unix_ms > AGT_TIME_MAX) e->until_unix_ms = AGT_TIME_MAX;
    }
    if (renames) {
        agt__hex(p->now.blob.id, 20, blob);
        e->blob = (agt_text){blob, 40};
        e->from = e->path;
        e->path = (agt_text){p->to_path, p->to_len};
        st = manage_stage(t, p, t->draft.next_seq + t->record.entries, err);
    }
    if (!e->summary.data) {
        manage_summary(p, e, summary, sizeof summary);
        e->summary = agt__text(summary);
    }
    if (st == AGT_OK)
        st = agt__txn_add(t, e, s->old.data, s->old.len, renames, renames ? &p->side : NULL, err);
    e->summary = e->blob = (agt_text){NULL, 0};
    return st;
}

AGT_PRIVATE agt_status agt__place_rename(agt_store *s, agt_plan *p, agt_error *err) {
    bool old_first = manage_folds(p); /* (1) */
    agt_status st = agt__place(s, old_first ? &p->place : &p->to_place, err);
    return st == AGT_OK ? agt__place(s, old_first ? &p->to_place : &p->place, err) : st;
}

/* ---- the public calls ---- */

AGENT_TRACE_API agt_status agt_add(agt_store *store, const agt_caller *caller, const char *path,
                                   agt_type type, const agt_write_options *opts,
                                   agt_write_result *result, agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    if (st != AGT_OK) return st;
    if ((unsigned)type > AGT_TYPE_SCRATCH || (p.options.type && p.options.type != (uint32_t)type))
        return agt__fail(err, AGT_INVALID,
                         "the type is none of the five, or the options say another");
    p.action = AGT_ACTION_ADD;
    p.options.type = (uint32_t)type;
    return agt__change_run(store, &p, result, err);
}

AGENT_TRACE_API agt_status agt_rename(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *to, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err) {
    agt_plan p;
    AGENT_TRACE_ASSERT(to);
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = AGT_ACTION_RENAME;
    p.given_to = to;
    if (st == AGT_OK) st = agt__plan_check(&p, err);
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_untrack(agt_store *store, const agt_caller *caller, const char *path,
                                       const agt_write_options *opts, agt_write_result *result,
                                       agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = AGT_ACTION_UNTRACK;
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_reclassify(agt_store *store, const agt_caller *caller,
                                          const char *path, agt_type type,
                                          const agt_write_options *opts, agt_write_result *result,
                                          agt_error *err) {
    agt_plan p;
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    if (st != AGT_OK) return st;
    if (type == AGT_TYPE_DEFAULT || (unsigned)type > AGT_TYPE_SCRATCH || p.options.type)
        return agt__fail(err, AGT_INVALID, "the new type is none of the five");
    p.action = AGT_ACTION_RECLASSIFY;
    p.to = type;
    return agt__change_run(store, &p, result, err);
}

static agt_status manage_grant(agt_store *store, const agt_caller *caller, const char *path,
                               agt_action action, const char *grant, int64_t duration_ms,
                               const agt_write_options *opts, agt_write_result *result,
                               agt_error *err) {
    agt_plan p;
    AGENT_TRACE_ASSERT(grant);
    agt_status st = agt__change_fill(&p, caller, path, opts, result, err);
    p.action = action;
    p.grant = grant;
    p.duration_ms = duration_ms;
    if (st == AGT_OK) st = agt__plan_check(&p, err);
    return st == AGT_OK ? agt__change_run(store, &p, result, err) : st;
}

AGENT_TRACE_API agt_status agt_unlock(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, int64_t duration_ms,
                                      const agt_write_options *opts, agt_write_result *result,
                                      agt_error *err) {
    return manage_grant(store, caller, path, AGT_ACTION_UNLOCK, grant, duration_ms, opts, result,
                        err);
}

AGENT_TRACE_API agt_status agt_revoke(agt_store *store, const agt_caller *caller, const char *path,
                                      const char *grant, const agt_write_options *opts,
                                      agt_write_result *result, agt_error *err) {
    return manage_grant(store, caller, path, AGT_ACTION_REVOKE, grant, 1, opts, result, err);
}

/* ---- asking ---- */

AGENT_TRACE_API agt_status agt_grants(agt_store *store, const char *path, agt_grant *out,
                                      size_t *count, agt_error *err) {
    static const agt_grant blank = AGT_GRANT_INIT;
    agt_grant known;
    agt_row row;
    char clean[AGT_MAX_PATH + 1], shown[200];
    size_t len = 0;
    AGENT_TRACE_ASSERT(store && out && count);
    *count = 0;
    agt_status st = agt__options(&known, sizeof known, out, "agt_grant", err);
    if (st == AGT_OK && path) st = agt__path_normalise(path, strlen(path), clean, &len, err);
    if (st == AGT_OK) st = agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(store, err);
    const agt_catalog *c = &store->catalog;
    int64_t now = store->sys->now_unix_ms(store->sys->ctx);
    if (st == AGT_OK && path && !agt__catalog_find(c, clean, len, &row))
        st = agt__fail(err, AGT_NOT_FOUND, "%s: no such document",
                       agt__show_path(shown, sizeof shown, clean, len));
    for (size_t i = 0; st == AGT_OK && i < c->grant_count; i++) {
        const agt_grant_row *g = &c->grants[i];
        if (!agt__grant_holds(g, now) || (path && strcmp(g->doc, row.doc) != 0)) continue;
        agt_grant *to = &out[(*count)++];
        *to = blank;
        to->from_unix_ms = g->from_unix_ms;
        to->until_unix_ms = g->until_unix_ms;
        memcpy(to->id, g->doc, sizeof g->doc);
        memcpy(to->actor, g->actor, sizeof g->actor);
    }
    agt__store_leave(store);
    return st;
}

AGENT_TRACE_API agt_status agt_may(agt_store *store, const agt_caller *caller, agt_action action,
                                   const char *path, agt_type type, agt_error *err) {
    agt_plan p;
    agt_row row;
    const char *why;
    char shown[200];
    AGENT_TRACE_ASSERT(store);
    agt_status st = agt__change_fill(&p, caller, path, NULL, NULL, err);
    if (st != AGT_OK) return st;
    if ((unsigned)action > AGT_ACTION_REVOKE || (unsigned)type > AGT_TYPE_SCRATCH)
        return agt__fail(err, AGT_INVALID, "no such action or type");
    p.action = action;
    p.to = type;
    p.options.type = action == AGT_ACTION_RECLASSIFY ? AGT_TYPE_DEFAULT : (uint32_t)type;
    if ((st = agt__store_enter(store, err)) != AGT_OK) return st;
    st = agt__store_look_again(store, err);
    bool known = st == AGT_OK && agt__catalog_find(&store->catalog, p.path, p.path_len, &row);
    agt__plan_now(&p, known ? &row : NULL);
    if (p.now.exists) p.options.type = AGT_TYPE_DEFAULT;
    if (st == AGT_OK)
        st = agt__plan_permit(&store->catalog, &p, store->sys->now_unix_ms(store->sys->ctx), &why,
                              err);
    agt__store_leave(store);
    if (st != AGT_DENIED && st != AGT_NEEDS_CONFIRMATION) return st;
    return agt__fail(err, st, "%s: %s", agt__show_path(shown, sizeof shown, p.path, p.path_len),
                     why);
}
/* end src/store/manage.c */
/* begin src/store/records.c */
/* records: walking what is recorded, wherever it is by now: in unpublished/, then in the journal;
 * and finding a content, which may lie in a side file, or in git.
 *
 * (1) Records are immutable, so they are read without the store lock. A journal that begins a new
 *     generation meanwhile is noticed by the checksum chain, and the walk ends early.
 * (2) The files in unpublished/ are a chain that begins with the one that the header names; where
 *     one ends the next begins. Another one is of another time: a copy was laid over the store. */

AGT_PRIVATE void agt__side_name(uint64_t seq, char out[40]) {
    memcpy(out, "side-", 5);
    char digits[40];
    agt__seq_name(seq, "", digits);
    memcpy(out + 5, digits, strlen(digits) + 1);
}

AGT_PRIVATE agt_status agt__entry_bytes(agt_store *s, uint64_t seq, const agt_entry *entry,
                                        agt_buf *out, const void **bytes, agt_error *err) {
    char name[40];
    *bytes = entry->content ? (const void *)entry->content : "";
    if (!(entry->flags & AGT_ENTRY_SIDE)) return AGT_OK;
    agt__side_name(seq, name);
    out->len = 0;
    agt_status st =
        agt__read_file(s->sys, s->unpublished, name, (size_t)AGT_MAX_DOCUMENT, out, err);
    if (st == AGT_OK && out->len != entry->content_len)
        st = agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    *bytes = out->data ? (const void *)out->data : "";
    return st;
}

/* ---- walking records ---- */

/* The seq behind the last one in unpublished/<first>.records, as its head tells it. */
AGT_PRIVATE agt_status agt__records_end(agt_store *s, uint64_t first, uint64_t *end,
                                        agt_error *err) {
    unsigned char head[AGT_RECORDS_HEAD];
    char name[40];
    agt__seq_name(first, ".records", name);
    agt_fd fd = s->unpublished == AGT_FD_NONE
                    ? AGT_SYS_ERR(AGT_SYS_NOENT, 0)
                    : s->sys->open(s->sys->ctx, s->unpublished, name, AGT_O_READ, 0);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open .agent-trace/unpublished/%s", name);
    int64_t n = agt__read_all(s->sys, fd, head, sizeof head, 0);
    s->sys->close(s->sys->ctx, fd);
    if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/unpublished/%s", name);
    *end = first + agt__get32(head + 28);
    if (n < (int64_t)sizeof head || memcmp(head, "AGTUNPB2", 8) != 0 ||
        agt__get64(head + 16) != first || *end <= first)
        return agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    return AGT_OK;
}

static agt_status records_walk_bytes(agt_store *s, const unsigned char *data, size_t n,
                                     uint64_t *seq, uint64_t end, agt_record_fn each, void *ctx,
                                     agt_error *err) {
    agt_record r;
    uint64_t generation = agt__get64(data + 8), next = agt__get64(data + 16);
    uint32_t chain = agt__get32(data + 24);
    for (size_t at = AGT_RECORDS_HEAD; at < n; at += r.length) {
        if (agt__record_parse(data + at, n - at, s->cpu, generation, next, chain, &r) != AGT_OK)
            return agt__fail_at(err, AGT_CORRUPT, (int64_t)at,
                                "a file in .agent-trace/unpublished is damaged");
        if (r.first_seq + r.entries > *seq) {
            agt_status st = each(ctx, &r, err);
            if (st != AGT_OK) return st;
            *seq = r.first_seq + r.entries;
        }
        next += r.entries;
        chain = r.crc;
    }
    if (next != end)
        return agt__fail(err, AGT_CORRUPT, "a file in .agent-trace/unpublished is damaged");
    return AGT_OK;
}

static agt_status records_walk_file(agt_store *s, uint64_t first, uint64_t end, uint64_t *seq,
                                    agt_record_fn each, void *ctx, agt_error *err) {
    char name[40];
    agt_buf bytes = agt__buf(&s->mem);
    agt__seq_name(first, ".records", name);
    agt_status st = agt__read_file(s->sys, s->unpublished, name, SIZE_MAX / 2, &bytes, err);
    if (st == AGT_OK && bytes.len < AGT_RECORDS_HEAD)
        st = agt__fail(err, AGT_CORRUPT, ".agent-trace/unpublished/%s is damaged", name);
    if (st == AGT_OK) st = records_walk_bytes(s, bytes.data, bytes.len, seq, end, each, ctx, err);
    agt__buf_free(&bytes);
    return st;
}

/* (2) */
static agt_status records_walk_files(agt_store *s, const agt_journal_header *h, uint64_t *seq,
                                     agt_record_fn each, void *ctx, agt_error *err) {
    agt_error mine;
    uint64_t end;
    mine.status = AGT_OK;
    for (uint64_t at = h->unpublished; at && at < h->next_seq; at = end) {
        agt_status st = agt__records_end(s, at, &end, &mine);
        if (st == AGT_NOT_FOUND) return AGT_OK; /* what is missing there is seen by who misses it */
        if (st == AGT_OK && end > *seq) st = records_walk_file(s, at, end, seq, each, ctx, &mine);
        if (st != AGT_OK) return agt__answer(st, &mine, err);
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__each_record(agt_store *s, const agt_journal *j, uint64_t seq,
                                        agt_record_fn each, void *ctx, agt_error *err) {
    agt_record r;
    const agt_journal_header h = j->header;
    agt_buf bytes = agt__buf(&s->mem);
    agt_status st = seq < h.next_seq ? records_walk_files(s, &h, &seq, each, ctx, err) : AGT_OK;
    uint64_t at = AGT_JOURNAL_START, next = h.next_seq;
    uint32_t chain = h.crc;
    while (st == AGT_OK) {
        st = agt__record_read(s->sys, j->fd, at, h.capacity, s->cpu, h.generation, next, chain,
                              &bytes, &r, err);
        if (st == AGT_OK && r.first_seq + r.entries > seq) st = each(ctx, &r, err);
        at += r.length;
        next += r.entries;
        chain = r.crc;
    }
    agt__buf_free(&bytes);
    return st == AGT_END ? AGT_OK : st;
}

/* One of line and content is asked for. */
typedef struct records_wanted {
    agt_store *s;
    uint64_t seq;
    agt_buf *line, *content;
} records_wanted;

static agt_status records_take_entry(records_wanted *w, const agt_entry *e, agt_error *err) {
    const void *bytes;
    if (w->line) {
        agt__buf_put(w->line, e->line, e->line_len);
        return w->line->failed ? agt__nomem(err) : AGT_OK;
    }
    if (!(e->flags & AGT_ENTRY_CONTENT)) return AGT_NOT_FOUND;
    agt_buf side = agt__buf(&w->s->mem);
    agt_status st = agt__entry_bytes(w->s, w->seq, e, &side, &bytes, err);
    if (st == AGT_OK) agt__buf_put(w->content, bytes, (size_t)e->content_len);
    agt__buf_free(&side);
    return st == AGT_OK && w->content->failed ? agt__nomem(err) : st;
}

/* AGT_CONFLICT stops the walk: found. */
static agt_status records_take(void *ctx, const agt_record *r, agt_error *err) {
    records_wanted *w = ctx;
    agt_entry e;
    uint64_t seq = r->first_seq;
    if (seq > w->seq) return AGT_NOT_FOUND;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++) {
        if (seq != w->seq) continue;
        agt_status st = records_take_entry(w, &e, err);
        return st == AGT_OK ? AGT_CONFLICT : st;
    }
    return AGT_OK;
}

static agt_status records_find(records_wanted *w, agt_error *err) {
    agt_status st = agt__each_record(w->s, &w->s->journal, w->seq, records_take, w, err);
    if (st == AGT_CONFLICT) return AGT_OK;
    return st == AGT_OK ? AGT_NOT_FOUND : st;
}

AGT_PRIVATE agt_status agt__journalled_content(agt_store *s, uint64_t seq, agt_buf *out,
                                               agt_error *err) {
    records_wanted w = {s, seq, NULL, out};
    return records_find(&w, err);
}

AGT_PRIVATE agt_status agt__journalled_line(agt_store *s, uint64_t seq, agt_buf *out,
                                            agt_error *err) {
    records_wanted w = {s, seq, out, NULL};
    return records_find(&w, err);
}

/* What is not found may lie in a folder that was put in the place of the one that is open. */
static agt_status records_read_git(agt_store *s, const agt_oid *blob, agt_buf *out,
                                   agt_error *err) {
    bool moved;
    size_t start = out->len;
    agt_status st = AGT_OK;
    if (s->reader_dir == AGT_FD_NONE)
        st = agt__store_follow_git(s, s->reader, &s->reader_dir, false, &moved, err);
    if (st != AGT_OK) return st;
    st = agt__git_read(s->reader, blob, out, err);
    if (st == AGT_OK ||
        agt__store_follow_git(s, s->reader, &s->reader_dir, false, &moved, NULL) != AGT_OK ||
        !moved)
        return st;
    out->len = start;
    return agt__git_read(s->reader, blob, out, err);
}

AGT_PRIVATE agt_status agt__git_content(agt_store *s, const agt_oid *blob, agt_buf *out,
                                        agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
    agt_status st = records_read_git(s, blob, out, &mine);
    s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
    return agt__answer(st, &mine, err);
}
/* end src/store/records.c */
/* begin src/store/commit.c */
/* commit: what a commit of ours says: its author, and its message, made of the events' lines.
 *
 *     [agent-trace] <action> <type>: <path>
 *
 *     summary: <text>
 *     actor: <actor>
 *     agent: <name>                      an agent's only
 *     session: <session>                 where there is one
 *     file:<TAB><path><TAB><action><TAB><type>       one a document
 *
 *     event: <the line of the trace>     one an event */

AGT_PRIVATE agt_commit_text agt__commit_text(const agt_mem *mem) {
    agt_commit_text c;
    memset(&c, 0, sizeof c);
    c.message = c.files = c.events = c.name = agt__buf(mem);
    return c;
}

AGT_PRIVATE void agt__commit_free(agt_commit_text *c) {
    agt__buf_free(&c->message);
    agt__buf_free(&c->files);
    agt__buf_free(&c->events);
    agt__buf_free(&c->name);
}

static void commit_author(agt_commit_text *c, const agt_event *e) {
    agt_buf *name = &c->name;
    name->len = 0;
    if (e->agent_name.data) {
        agt__buf_text(name, "Agent: ");
        agt__buf_put(name, e->agent_name.data, e->agent_name.len);
        c->who.email = agt__text("agent@agent-trace");
    } else if (agt__text_is(e->actor, "system")) {
        agt__buf_text(name, "agent-trace");
        c->who.email = agt__text("system@agent-trace");
    } else {
        agt__buf_text(name, "User");
        c->who.email = agt__text("user@agent-trace");
    }
    c->who.name = (agt_text){(const char *)name->data, name->len};
    c->who.unix_s = e->at_unix_ms / 1000;
}

static void commit_put(agt_buf *b, agt_text t) {
    agt__buf_put(b, t.data, t.len);
}

static void commit_line(agt_buf *b, const char *label, agt_text text) {
    if (!text.data) return;
    agt__buf_text(b, label);
    commit_put(b, text);
    agt__buf_byte(b, '\n');
}

/* The header lines come from the record's first event. */
static void commit_head(agt_buf *m, const agt_event *e) {
    agt__buf_text(m, "[agent-trace] ");
    commit_put(m, e->action);
    if (e->path.data) {
        agt__buf_byte(m, ' ');
        commit_put(m, e->doc_type.data ? e->doc_type : agt__text("scratch"));
        agt__buf_text(m, ": ");
        commit_put(m, e->path);
    }
    agt__buf_text(m, "\n\n");
    commit_line(m, "summary: ", e->summary);
    commit_line(m, "actor: ", e->actor);
    commit_line(m, "agent: ", e->agent_name);
    commit_line(m, "session: ", e->session_id);
}

AGT_PRIVATE void agt__commit_event(agt_commit_text *c, bool first, const agt_event *e,
                                   const void *line, size_t len) {
    if (first) {
        c->message.len = c->files.len = c->events.len = 0;
        commit_head(&c->message, e);
        commit_author(c, e);
    }
    if (e->path.data) {
        agt__buf_text(&c->files, "file:\t");
        commit_put(&c->files, e->path);
        agt__buf_byte(&c->files, '\t');
        commit_put(&c->files, e->change_kind.data ? e->change_kind : e->action);
        agt__buf_byte(&c->files, '\t');
        commit_put(&c->files, e->doc_type.data ? e->doc_type : agt__text("scratch"));
        agt__buf_byte(&c->files, '\n');
    }
    agt__buf_text(&c->events, "event: ");
    agt__buf_put(&c->events, line, len);
}

AGT_PRIVATE agt_status agt__commit_make(agt_commit_text *c, agt_git *git, int64_t recorded_ms,
                                        agt_oid *out, agt_error *err) {
    agt__buf_put(&c->message, c->files.data, c->files.len);
    agt__buf_byte(&c->message, '\n');
    agt__buf_put(&c->message, c->events.data, c->events.len);
    if (c->message.failed || c->files.failed || c->events.failed || c->name.failed)
        return agt__nomem(err);
    agt_text message = {(const char *)c->message.data, c->message.len};
    return agt__git_commit(git, &c->who, recorded_ms / 1000, message, out, err);
}
/* end src/store/commit.c */
/* begin src/store/publish.c */
/* publish: from records to commits.
 *
 * One commit a record, made only from the record and its parent, so that doing it again makes the
 * same ids. Few commits go out as loose objects, unsynced; many, and all at a checkpoint, as one
 * synced pack that begins at the last packed commit. Then the ref; then the shared state.
 *
 * (1) Records are immutable, so they are read without the store lock. A journal that begins a new
 *     generation meanwhile (only a recovery does that without the publish lock) is noticed by the
 *     checksum chain, and the answer is AGT_BUSY.
 * (2) After a recovery, or where git lies in another folder than before, it is mended: a power cut
 *     may have emptied loose objects, so bad ones go and what the header does not know to be
 *     packed is made again. That a pack can be read says nothing: it may be a copy's, or its sync
 *     may have failed. At the end the header is told, so that the next recovery does not make the
 *     same again.
 * (3) Only refs/heads/main is ours. It never goes back behind what was published: while commits are
 *     made again it keeps naming what it named, until that is made, too. What is not made is
 *     somebody else's and is kept as refs/heads/found-<seq> before main moves on; so is what main
 *     is found to name at the moment when it moves.
 * The message of a commit is commit.c's. */

#define PUBLISH_LOOSE_MAX 16u                 /* more commits than that go into a pack */
#define PUBLISH_BEHIND    512u                /* so many loose commits are packed */
#define PUBLISH_CHUNK     (32u * 1024 * 1024) /* bytes of content in one pack */
#define PUBLISH_COMMITS   2000u
#define PUBLISH_TRIES     10

AGT_PRIVATE agt_status agt__publish_enter(agt_store *s, int32_t timeout_ms, agt_error *err) {
    if (s->sys->pid(s->sys->ctx) != s->self.pid)
        return agt__fail(err, AGT_INVALID, "the store handle was opened before a fork");
    if (s->read_only) return agt__store_refuse(s, err);
    s->sys->mutex_lock(s->sys->ctx, s->publish_mutex);
    agt_status st = agt__flock_take(&s->publish_lock, timeout_ms, err);
    if (st != AGT_OK) s->sys->mutex_unlock(s->sys->ctx, s->publish_mutex);
    return st;
}

AGT_PRIVATE void agt__publish_leave(agt_store *s) {
    agt__flock_drop(&s->publish_lock);
    s->sys->mutex_unlock(s->sys->ctx, s->publish_mutex);
}

/* ---- commits ---- */

typedef struct publish_run {
    agt_store *s;
    uint64_t last_seq;             /* publish up to this event */
    uint64_t done_seq;             /* committed in git */
    agt_oid head;                  /* of done_seq */
    uint64_t packed_seq, open_seq; /* durably so; committed in the transaction */
    agt_oid packed_head, open_head;
    size_t commits;
    uint64_t bytes;
    bool pack;  /* all of it, durably */
    bool mend;  /* (2) */
    bool loose; /* what is packed may lie there as loose objects, too */
    bool begun;
    bool is_named; /* main names something that can be read: */
    agt_oid named;
    bool ahead; /* (3): and it is not `head`, nor was it made yet */
    agt_commit_text text;
    agt_buf side;
} publish_run;

static agt_status publish_tree(publish_run *run, const agt_event *e, const agt_entry *entry,
                               agt_error *err) {
    agt_store *s = run->s;
    agt_oid blob;
    const void *bytes;
    if (!e->version || !e->path.data) return AGT_OK;
    if (!e->blob.data) return agt__git_remove(s->git, e->path.data, e->path.len, err);
    if (e->from.data) {
        agt_status st = agt__git_remove(s->git, e->from.data, e->from.len, err);
        if (st != AGT_OK) return st;
    }
    if (!agt__unhex(e->blob.data, e->blob.len, blob.id, 20))
        return agt__fail(err, AGT_CORRUPT, "event %llu names no blob", (unsigned long long)e->seq);
    agt_status st = agt__entry_bytes(s, e->seq, entry, &run->side, &bytes, err);
    if (st == AGT_NOT_FOUND)
        st = agt__fail(err, AGT_CORRUPT,
                       "the bytes of event %llu are missing in .agent-trace/unpublished; restore "
                       "the store from a backup",
                       (unsigned long long)e->seq);
    if (st != AGT_OK) return st;
    run->bytes += entry->content_len;
    return agt__git_put(s->git, e->path.data, e->path.len, &blob, bytes, (size_t)entry->content_len,
                        err);
}

static agt_status publish_commit(publish_run *run, const agt_record *r, agt_error *err) {
    agt_store *s = run->s;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    agt_buf texts = agt__buf(&s->mem);
    agt_status st = AGT_OK;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; st == AGT_OK && agt__record_next(r, &at, &entry); seq++) {
        st = agt__store_event(&entry, seq, &texts, &e, err);
        if (st != AGT_OK) break;
        agt__commit_event(&run->text, seq == r->first_seq, &e, entry.line, entry.line_len);
        st = publish_tree(run, &e, &entry, err);
    }
    if (st == AGT_OK)
        st = agt__commit_make(&run->text, s->git, r->recorded_unix_ms, &run->open_head, err);
    if (st == AGT_OK) run->open_seq = r->first_seq + r->entries - 1;
    if (st == AGT_OK && memcmp(run->open_head.id, run->named.id, 20) == 0) run->ahead = false;
    agt__buf_free(&texts);
    return st;
}

/* ---- the ref (3) ---- */

/* Does main name `head`? */
static bool publish_is_there(const publish_run *run) {
    return run->is_named && memcmp(run->named.id, run->head.id, 20) == 0;
}

static agt_status publish_look(publish_run *run, agt_error *err) {
    agt_error mine;
    agt_status st = agt__git_head(run->s->git, &run->named, &run->is_named, &mine);
    run->ahead = run->is_named && !publish_is_there(run);
    if (st == AGT_OK || st == AGT_CORRUPT) return AGT_OK; /* damaged: a power cut emptied it */
    if (err) *err = mine;
    return st;
}

/* One of ours has the event that made it in its message. */
static bool publish_is_ours(const agt_buf *commit) {
    static const char first[] = "\n\n[agent-trace] ";
    const size_t n = sizeof first - 1;
    for (size_t i = 0; i + n <= commit->len; i++) { /* the header ends at the first empty line */
        if (commit->data[i] != '\n' || commit->data[i + 1] != '\n') continue;
        return memcmp(commit->data + i, first, n) == 0;
    }
    return false;
}

/* Somebody else's commit gets a name, whatever it leads to; one of ours only if it is whole: else a
 * power cut took its record with its objects, and it is nobody's. */
static agt_status publish_keep(publish_run *run, agt_error *err) {
    agt_git *git = run->s->git;
    agt_error mine;
    char name[48];
    bool whole = true;
    agt_buf commit = agt__buf(&run->s->mem);
    agt_status st = agt__git_read(git, &run->named, &commit, &mine);
    bool ours = st == AGT_OK && publish_is_ours(&commit);
    agt__buf_free(&commit);
    if (st == AGT_NOT_FOUND || st == AGT_CORRUPT) return AGT_OK; /* it names nothing */
    if (st != AGT_OK && err) *err = mine;
    if (st == AGT_OK && ours) st = agt__git_whole(git, &run->named, &whole, err);
    if (st != AGT_OK || !whole) return st;
    memcpy(name, "found-", 6);
    agt__seq_name(run->done_seq, "", name + 6);
    return agt__git_keep_ref(git, name, &run->named, err);
}

/* Makes main name `head`. */
static agt_status publish_name(publish_run *run, bool durable, agt_error *err) {
    agt_error mine;
    agt_status st = AGT_CONFLICT;
    for (int i = 0; i < PUBLISH_TRIES && st == AGT_CONFLICT; i++) {
        st = agt__git_set_head(run->s->git, &run->head, run->is_named ? &run->named : NULL, durable,
                               &mine);
        if (st != AGT_CONFLICT) break;
        agt_status looked = publish_look(run, err);
        if (looked == AGT_OK && run->ahead) looked = publish_keep(run, err);
        if (looked != AGT_OK) return looked;
    }
    if (st != AGT_OK) {
        if (err) *err = mine;
        if (st == AGT_CONFLICT) st = agt__fail(err, AGT_BUSY, "%s", mine.message);
        return st;
    }
    run->named = run->head;
    run->is_named = true;
    run->ahead = false;
    return AGT_OK;
}

/* AGT_NOT_FOUND or AGT_CORRUPT: the commit is gone that git is said to have. */
static agt_status publish_head_still(publish_run *run, agt_error *err) {
    agt_buf commit = agt__buf(&run->s->mem);
    agt_status st = run->done_seq ? agt__git_read(run->s->git, &run->head, &commit, err) : AGT_OK;
    agt__buf_free(&commit);
    return st;
}

/* All is made. What is not there gets no name, nor does somebody lose one for it. */
static agt_status publish_settle(publish_run *run, agt_error *err) {
    agt_status st = publish_head_still(run, err);
    if (st == AGT_OK && run->ahead) st = publish_keep(run, err);
    if (st == AGT_OK && run->done_seq && !publish_is_there(run)) st = publish_name(run, true, err);
    return st;
}

/* ---- records to commits ---- */

/* Only the last commits of a run may be loose: a pack stands on packs. */
static agt_status publish_write(publish_run *run, bool last, agt_error *err) {
    agt_store *s = run->s;
    bool pack = run->pack || (run->mend && (!last || run->commits > PUBLISH_LOOSE_MAX));
    if (!run->begun) return AGT_OK;
    run->begun = false;
    agt_status st = agt__git_write(s->git,
                                   !pack        ? AGT_GIT_LOOSE
                                   : run->loose ? AGT_GIT_REPACK
                                                : AGT_GIT_PACK,
                                   err);
    if (st != AGT_OK) return st;
    run->head = run->open_head;
    run->done_seq = run->open_seq;
    run->commits = 0;
    run->bytes = 0;
    if (pack) {
        run->packed_head = run->head;
        run->packed_seq = run->done_seq;
    }
    return run->ahead ? AGT_OK : publish_name(run, pack, err);
}

/* AGT_END: enough. */
static agt_status publish_record(void *ctx, const agt_record *r, agt_error *err) {
    publish_run *run = ctx;
    agt_status st = AGT_OK;
    if (r->first_seq > run->last_seq) return AGT_END;
    if (r->first_seq != run->open_seq + 1)
        return agt__fail(err, AGT_CORRUPT,
                         "the record of event %llu is missing in .agent-trace/unpublished",
                         (unsigned long long)(run->open_seq + 1));
    if (run->begun && (run->commits >= PUBLISH_COMMITS || run->bytes > PUBLISH_CHUNK))
        st = publish_write(run, false, err);
    if (st == AGT_OK && !run->begun) {
        st = agt__git_begin(run->s->git, run->done_seq ? &run->head : NULL, err);
        run->begun = st == AGT_OK;
    }
    if (st == AGT_OK) st = publish_commit(run, r, err);
    run->commits++;
    return st;
}

static agt_status publish_all(publish_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_journal j; /* our own: another thread may renew the handle's */
    agt_status st = agt__journal_open(&j, s->sys, s->at, s->cpu, false, err);
    if (st != AGT_OK) return st;
    run->text = agt__commit_text(&s->mem);
    run->side = agt__buf(&s->mem);
    st = agt__each_record(s, &j, run->done_seq + 1, publish_record, run, err);
    agt__journal_close(&j);
    if (st == AGT_END) st = AGT_OK;
    if (st == AGT_OK && run->open_seq < run->last_seq)
        st = agt__fail(err, AGT_BUSY, "the journal was renewed while it was published; try again");
    if (st == AGT_OK) st = publish_write(run, true, err);
    if (run->begun) agt__git_abort(s->git);
    agt__commit_free(&run->text);
    agt__buf_free(&run->side);
    return st;
}

/* ---- a run ---- */

/* Before anything is made: the repository's fixed files, bad objects, a look at main. */
static agt_status publish_prepare(publish_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_stat head, config;
    bool fixed = s->sys->stat(s->sys->ctx, s->git_dir, "HEAD", &head) == 0 && head.size &&
                 s->sys->stat(s->sys->ctx, s->git_dir, "config", &config) == 0 && config.size;
    agt_status st = fixed ? AGT_OK : agt__git_init(s->sys, s->git_dir, &s->mem, err);
    if (st == AGT_OK && run->mend) st = agt__git_clean(s->git, err);
    return st == AGT_OK ? publish_look(run, err) : st;
}

static agt_status publish_done(agt_store *s, const publish_run *run, uint64_t generation,
                               agt_error *err) {
    bool moved;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (moved) { /* it was written to a folder that is not git's any more */
        s->shared.git_clean = 0;
        agt__store_save(s);
    } else if (s->journal.header.generation == generation) {
        s->shared.published_seq = run->done_seq;
        s->shared.head = run->head;
        s->shared.packed_seq = run->packed_seq;
        s->shared.packed_head = run->packed_head;
        s->shared.git_clean = 1;
        agt__store_save(s);
    } /* else a recovery came between: it counts from what is durable, and so does the next */
    agt__store_unlock(s);
    return AGT_OK;
}

/* From where to where, and how. */
static void publish_plan(publish_run *run, const agt_shared *sh, bool pack) {
    run->last_seq = sh->next_seq - 1;
    run->pack = pack;
    if (!run->mend && (run->last_seq - sh->published_seq > PUBLISH_LOOSE_MAX ||
                       run->last_seq - sh->packed_seq > PUBLISH_BEHIND))
        run->pack = true;
    bool again = run->pack || run->mend;
    run->loose = run->mend || sh->published_seq > sh->packed_seq;
    run->packed_seq = sh->packed_seq;
    run->packed_head = sh->packed_head;
    run->done_seq = run->open_seq = again ? sh->packed_seq : sh->published_seq;
    run->head = again ? sh->packed_head : sh->head;
}

AGT_PRIVATE agt_status agt__packed_still(agt_store *s, const agt_journal_header *h, agt_shared *sh,
                                         agt_error *err) {
    bool packed = true, moved = false;
    agt_error mine;
    agt_status st = AGT_OK;
    mine.status = AGT_OK;
    if (sh->packed_seq <= h->packed_seq) return AGT_OK;
    st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, &mine);
    if (st == AGT_OK) st = agt__git_packed(s->git, &sh->packed_head, &packed, &mine);
    if (st != AGT_OK && st != AGT_UNSUPPORTED) return agt__answer(st, &mine, err);
    if (moved) sh->git_clean = 0;
    if (packed) return AGT_OK;
    sh->packed_seq = h->packed_seq;
    sh->packed_head = h->packed_head;
    sh->git_clean = 0;
    return AGT_OK;
}

/* `*mend`: from what is durable on; set where a recovery asks for it, or another folder. */
static agt_status publish_run_once(agt_store *s, bool pack, bool *mend, agt_error *err) {
    publish_run run;
    bool moved;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (moved && s->shared.git_clean) { /* also for whoever comes next, should this run fail */
        s->shared.git_clean = 0;
        agt__store_save(s);
    }
    agt_shared sh = s->shared;
    agt_journal_header h = s->journal.header;
    agt__store_unlock(s);
    memset(&run, 0, sizeof run);
    run.s = s;
    run.mend = *mend = *mend || !sh.git_clean;
    if (run.mend && (st = agt__packed_still(s, &h, &sh, err)) != AGT_OK) return st;
    publish_plan(&run, &sh, pack);
    if ((st = publish_prepare(&run, err)) != AGT_OK) return st;
    uint64_t from = run.done_seq;
    bool nothing = from == run.last_seq;
    if (nothing && !run.mend && !run.ahead && (run.is_named || !from))
        return publish_head_still(&run, err);
    if (!nothing) st = publish_all(&run, err);
    if (st == AGT_OK) st = publish_settle(&run, err);
    if (st == AGT_OK || (run.done_seq > from && publish_is_there(&run))) { /* also a part of it */
        agt_status saved = publish_done(s, &run, h.generation, st == AGT_OK ? err : NULL);
        if (st == AGT_OK) st = saved;
    }
    return st;
}

/* What publication needs and does not find is damage: a commit, a side file, a folder. */
static agt_status publish_lost(agt_status st, agt_error *err) {
    char what[300];
    if (st != AGT_NOT_FOUND) return st;
    (void)agt__copy_text(what, sizeof what, err ? err->message : "",
                         err ? strlen(err->message) : 0);
    return agt__fail(err, AGT_CORRUPT,
                     "a part of .agent-trace is missing (%s); restore the store from a backup",
                     what);
}

AGT_PRIVATE agt_status agt__publish_locked(agt_store *s, bool pack, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    mine.message[0] = 0;
    bool mend = false;
    agt_status st = publish_run_once(s, pack, &mend, &mine);
    if (!mend && (st == AGT_NOT_FOUND || st == AGT_CORRUPT)) { /* git lost something loose? */
        mend = true;
        st = publish_run_once(s, pack, &mend, &mine);
    }
    st = publish_lost(st, &mine);
    /* recovery counts from the header: without this it would keep records that packs hold */
    if (st == AGT_OK && mend && !pack) agt__checkpoint_packed(s);
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_publish(agt_store *store, agt_error *err) {
    agt_status st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__publish_locked(store, false, err);
    agt__publish_leave(store);
    return st;
}
/* end src/store/publish.c */
/* begin src/store/checkpoint.c */
/* checkpoint: everything durable in its place, then a new journal generation.
 *
 *   outside the store lock   publish as a pack; sync the documents changed so far
 *   under it                 sync the journal, the documents changed since, the trace; copy the
 *                            records git does not hold to unpublished/; write the catalog; write
 *                            the header: the commit point
 *   after it                 the new shared state; old catalogs, records and side files go
 *
 * (1) The header names the catalog and what is unpublished; before it is written nothing that the
 *     old header names is touched.
 * (2) A record that waits to be applied keeps the journal as it is.
 * (3) A document that is gone, or has something in its way, is skipped: its bytes are in git or
 *     unpublished/. One whose rights forbid to open it is put in place anew. One whose sync fails
 *     stops the store (`failed`). */

#include <stdio.h>

/* ---- syncing documents ---- */

static bool checkpoint_gone(int64_t rc) {
    switch (AGT_SYS_CLASS(rc)) {
    case AGT_SYS_NOENT:
    case AGT_SYS_NOTDIR:
    case AGT_SYS_ISDIR:
    case AGT_SYS_LOOP: return true;
    default: return false;
    }
}

typedef struct checkpoint_sync {
    agt_store *s;
    bool locked;      /* what cannot be opened is put in place anew; else it is left */
    bool left;        /* something was */
    bool sync_failed; /* a sync itself, not the way to it */
} checkpoint_sync;

static int checkpoint_sync_fd(checkpoint_sync *c, agt_fd fd) {
    int rc = c->s->sys->sync(c->s->sys->ctx, fd);
    if (rc < 0) c->sync_failed = true;
    return rc;
}

static int checkpoint_sync_folder(checkpoint_sync *c, const char *path, size_t len) {
    agt_store *s = c->s;
    char folder[AGT_MAX_PATH + 1];
    memcpy(folder, path, len);
    folder[len] = 0;
    agt_fd fd = agt__walk_folder(s->sys, s->root, folder, false);
    if (fd < 0) return checkpoint_gone(fd) ? 0 : (int)fd;
    int rc = checkpoint_sync_fd(c, fd);
    s->sys->close(s->sys->ctx, fd);
    return rc;
}

/* Syncs the folders on the way to `path`, but for those that lead to `before` too: they were done
 * when it was. */
static int checkpoint_sync_folders(checkpoint_sync *c, const char *path, size_t len,
                                   const char *before, size_t before_len) {
    int rc = before ? 0 : checkpoint_sync_folder(c, path, 0);
    for (size_t i = 1; i < len && rc >= 0; i++) {
        if (path[i] != '/') continue;
        bool done = before && before_len > i && before[i] == '/' && memcmp(before, path, i) == 0;
        if (!done) rc = checkpoint_sync_folder(c, path, i);
    }
    return rc;
}

static int checkpoint_sync_document(checkpoint_sync *c, const agt_row *row) {
    const char *leaf;
    agt_store *s = c->s;
    agt_fd folder = agt__open_parent(s, row->path, row->path_len, false, &leaf);
    if (folder < 0) return checkpoint_gone(folder) ? 0 : (int)folder;
    agt_fd fd = s->sys->open(s->sys->ctx, folder, leaf, AGT_O_READ, 0);
    int rc = fd < 0 ? (checkpoint_gone(fd) ? 0 : (int)fd) : checkpoint_sync_fd(c, fd);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    s->sys->close(s->sys->ctx, folder);
    return rc;
}

/* A document whose rights forbid even to open it cannot be synced: it is put in place anew, from
 * the journal, through a file that is synced first. Under the store lock. */
static agt_status checkpoint_replace(checkpoint_sync *c, const agt_row *row, agt_error *err) {
    char name[40];
    agt_place p;
    agt_store *s = c->s;
    agt_buf bytes = agt__buf(&s->mem);
    memset(&p, 0, sizeof p);
    p.path = row->path;
    p.path_len = row->path_len;
    p.seq = row->last_seq;
    p.before.on_disk = true;
    p.before.blob = row->blob;
    p.before.stat.size = row->size;
    p.before.stat.mode = 0600;
    agt_status st = agt__journalled_content(s, row->last_seq, &bytes, err);
    if (st == AGT_NOT_FOUND)
        st = agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are missing",
                       (unsigned long long)row->last_seq);
    if (st == AGT_OK) st = agt__restage(s, &p, bytes.data, bytes.len, err);
    agt__buf_free(&bytes);
    if (st != AGT_OK) return st;
    agt__seq_name(p.seq, ".new", name);
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    int rc = fd < 0 ? (int)fd : checkpoint_sync_fd(c, fd);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    st = rc < 0 ? agt__fail_io(err, rc, "cannot sync .agent-trace/tmp/%s", name)
                : agt__place(s, &p, err);
    if (st != AGT_OK) agt__unstage(s, p.seq);
    return st;
}

static agt_status checkpoint_sync_rows(checkpoint_sync *c, const agt_rows *rows, uint64_t after,
                                       agt_error *err) {
    const agt_row *before = NULL;
    char shown[200];
    for (size_t i = 0; i < rows->count; i++) {
        const agt_row *row = &rows->row[i];
        if (row->last_seq <= after) continue;
        int rc = row->exists ? checkpoint_sync_document(c, row) : 0;
        if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_ACCESS && !c->sync_failed) {
            c->left = true;
            agt_status st = c->locked ? checkpoint_replace(c, row, err) : AGT_OK;
            if (st != AGT_OK) return st;
            rc = 0;
        }
        if (rc >= 0)
            rc = checkpoint_sync_folders(c, row->path, row->path_len, before ? before->path : NULL,
                                         before ? before->path_len : 0);
        if (rc < 0)
            return agt__fail_io(err, rc, "cannot sync %s",
                                agt__show_path(shown, sizeof shown, row->path, row->path_len));
        before = row;
    }
    return AGT_OK;
}

static void checkpoint_failed(agt_store *s) {
    s->shared.failed = 1;
    agt__store_save(s);
}

static agt_status checkpoint_sync_changed(agt_store *s, agt_error *err) {
    agt_rows rows;
    checkpoint_sync c = {s, true, false, false};
    agt_status st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    if (st != AGT_OK) return st;
    st = checkpoint_sync_rows(&c, &rows, s->synced_docs_seq, err);
    if (c.sync_failed) checkpoint_failed(s);
    agt__rows_free(&s->mem, &rows);
    return st;
}

/* The part that needs no store lock. The rows' paths are copied, because the catalog may be loaded
 * anew meanwhile. */
static agt_status checkpoint_presync(agt_store *s, agt_error *err) {
    agt_rows rows = {NULL, 0, 0};
    agt_buf paths = agt__buf(&s->mem);
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    uint64_t upto = s->shared.next_seq - 1, after = s->synced_docs_seq;
    uint64_t generation = s->journal.header.generation;
    if (s->shared.applied < s->shared.end)
        upto = after; /* something waits: leave it all */
    else
        st = agt__catalog_rows(&s->catalog, AGT_ROWS_CHANGED, &rows, err);
    for (size_t i = 0; i < rows.count; i++) {
        agt__buf_put(&paths, rows.row[i].path, rows.row[i].path_len);
        agt__buf_byte(&paths, 0);
    }
    if (paths.failed) st = agt__nomem(err);
    agt__store_unlock(s);
    size_t at = 0;
    for (size_t i = 0; st == AGT_OK && i < rows.count; i++) {
        rows.row[i].path = (const char *)paths.data + at;
        at += rows.row[i].path_len + 1;
    }
    checkpoint_sync c = {s, false, false, false};
    if (st == AGT_OK) st = checkpoint_sync_rows(&c, &rows, after, err);
    agt__rows_free(&s->mem, &rows);
    agt__buf_free(&paths);
    if (st != AGT_OK && !c.sync_failed) return st;
    agt_status locked = agt__store_lock(s, c.sync_failed ? NULL : err);
    if (locked != AGT_OK) return c.sync_failed ? st : locked;
    if (c.sync_failed)
        checkpoint_failed(s);
    else if (!c.left && generation == s->journal.header.generation && upto > s->synced_docs_seq)
        s->synced_docs_seq = upto;
    agt__store_unlock(s);
    return st;
}

/* ---- records git does not hold yet ---- */

/* unpublished/<first seq>.records: "AGTUNPB2", generation, first seq, seed, events, then the
 * records. */
static agt_status checkpoint_unpublished(agt_store *s, uint64_t *first, agt_error *err) {
    agt_record r;
    agt_buf out = agt__buf(&s->mem);
    unsigned char head[AGT_RECORDS_HEAD];
    char name[40];
    uint32_t events = 0;
    uint64_t at = AGT_JOURNAL_START, seq = s->journal.header.next_seq;
    uint32_t chain = s->journal.header.crc;
    agt_status st = AGT_OK;
    *first = 0;
    while (at < s->shared.end && st == AGT_OK) {
        st = agt__record_read(s->sys, s->journal.fd, at, s->journal.header.capacity, s->cpu,
                              s->journal.header.generation, seq, chain, &s->record, &r, err);
        if (st == AGT_END) st = agt__fail(err, AGT_CORRUPT, "the journal lost a record");
        if (st != AGT_OK) break;
        if (r.first_seq + r.entries - 1 > s->shared.packed_seq) {
            if (!*first) {
                *first = r.first_seq;
                memset(head, 0, sizeof head);
                memcpy(head, "AGTUNPB2", 8);
                agt__put64(head + 8, r.generation);
                agt__put64(head + 16, r.first_seq);
                agt__put32(head + 24, chain);
                agt__buf_put(&out, head, sizeof head);
            }
            agt__buf_put(&out, r.data, r.length);
            events += r.entries;
        }
        at += r.length;
        seq += r.entries;
        chain = r.crc;
    }
    if (st == AGT_OK && out.failed) st = agt__nomem(err);
    if (st == AGT_OK && *first) {
        agt__put32(out.data + 28, events);
        agt__seq_name(*first, ".records", name);
        st = agt__write_file(s->sys, s->unpublished, name, out.data, out.len, true, err);
    }
    agt__buf_free(&out);
    return st;
}

/* ---- cleaning ---- */

typedef struct checkpoint_names {
    agt_store *s;
    uint64_t keep_catalog, packed, first_needed, next_records;
} checkpoint_names;

static bool checkpoint_number(const char *text, uint64_t *n, const char **rest) {
    const char *p = text;
    for (*n = 0; *p >= '0' && *p <= '9' && *n < UINT64_MAX / 10 - 9; p++)
        *n = *n * 10 + (uint64_t)(*p - '0');
    *rest = p;
    return p > text;
}

static int checkpoint_old_catalog(void *ctx, const char *name) {
    checkpoint_names *c = ctx;
    uint64_t n;
    const char *rest;
    if (strncmp(name, "catalog.", 8) == 0 && checkpoint_number(name + 8, &n, &rest) &&
        (*rest == 0 ? n != c->keep_catalog : strcmp(rest, ".tmp") == 0))
        (void)c->s->sys->remove(c->s->sys->ctx, c->s->at, name);
    return 0;
}

static int checkpoint_old_unpublished(void *ctx, const char *name) {
    checkpoint_names *c = ctx;
    uint64_t n;
    const char *rest;
    bool old = false;
    if (checkpoint_number(name, &n, &rest) && strcmp(rest, ".records") == 0)
        old = !c->first_needed || n < c->first_needed || n >= c->next_records;
    else if (strncmp(name, "side-", 5) == 0 && checkpoint_number(name + 5, &n, &rest))
        old = n <= c->packed || n >= c->next_records;
    else
        old = strlen(name) > 4 && strcmp(name + strlen(name) - 4, ".tmp") == 0;
    if (old) (void)c->s->sys->remove(c->s->sys->ctx, c->s->unpublished, name);
    return 0;
}

/* What the new header does not name. Failures leave litter for the next time. */
static void checkpoint_clean(agt_store *s) {
    const agt_journal_header *h = &s->journal.header;
    checkpoint_names c = {s, h->catalog, h->packed_seq, h->unpublished, h->next_seq};
    (void)s->sys->list(s->sys->ctx, s->at, checkpoint_old_catalog, &c);
    (void)s->sys->list(s->sys->ctx, s->unpublished, checkpoint_old_unpublished, &c);
}

/* The oldest file that is needed: the chain's first one with an event that no pack holds. */
static uint64_t checkpoint_first_unpublished(agt_store *s, uint64_t copied) {
    uint64_t packed = s->shared.packed_seq, at = s->journal.header.unpublished, end;
    if (packed + 1 >= s->journal.header.next_seq || !at) return copied;
    while (agt__records_end(s, at, &end, NULL) == AGT_OK && end <= packed + 1)
        at = end;
    return at;
}

/* ---- the checkpoint ---- */

static agt_status checkpoint_header(agt_store *s, agt_journal_header *h, bool new_file,
                                    agt_error *err) {
    if (!new_file) return agt__journal_write_header(&s->journal, h, err);
    agt_journal fresh;
    agt_status st = agt__journal_create(s->sys, s->at, s->cpu, &s->mem, h, err);
    if (st == AGT_OK) st = agt__journal_open(&fresh, s->sys, s->at, s->cpu, true, err);
    if (st != AGT_OK) return st;
    agt__journal_close(&s->journal);
    s->journal = fresh;
    return AGT_OK;
}

static void checkpoint_shared(agt_store *s) {
    agt_shared *sh = &s->shared;
    const agt_journal_header *h = &s->journal.header;
    memcpy(sh->boot, s->self.boot, sizeof sh->boot);
    sh->generation = h->generation;
    sh->dev = s->journal.dev;
    sh->ino = s->journal.ino;
    sh->end = sh->synced = sh->applied = AGT_JOURNAL_START;
    sh->applied_seq = sh->next_seq;
    sh->chain = sh->applied_chain = h->crc;
    sh->failed = 0;
}

typedef struct checkpoint_segments {
    agt_store *s;
    int rc;
} checkpoint_segments;

static int checkpoint_sync_segment(void *ctx, const char *name) {
    checkpoint_segments *c = ctx;
    const agt_sys *sys = c->s->sys;
    uint64_t first;
    if (!agt__segment_parse(name, &first) || first < c->s->journal.header.trace.segment) return 0;
    agt_fd fd = sys->open(sys->ctx, c->s->trace_dir, name, AGT_O_READ, 0);
    c->rc = fd < 0 ? (int)fd : sys->sync(sys->ctx, fd);
    if (fd >= 0) sys->close(sys->ctx, fd);
    return c->rc < 0;
}

/* Every segment written since the last checkpoint; other processes wrote to them too. */
static agt_status checkpoint_sync_trace(agt_store *s, agt_error *err) {
    checkpoint_segments c = {s, 0};
    int rc = s->sys->list(s->sys->ctx, s->trace_dir, checkpoint_sync_segment, &c);
    if (c.rc < 0) rc = c.rc;
    if (rc >= 0) rc = s->sys->sync(s->sys->ctx, s->trace_dir);
    if (rc >= 0) return AGT_OK;
    checkpoint_failed(s);
    return agt__fail_io(err, rc, "cannot sync the trace");
}

static agt_status checkpoint_sync_all(agt_store *s, bool new_file, agt_error *err) {
    if (s->shared.synced < s->shared.end && !new_file) {
        int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
        if (rc < 0) {
            s->shared.failed = 1;
            agt__store_save(s);
            return agt__fail_io(err, rc, "cannot sync .agent-trace/journal");
        }
    }
    agt_status st = checkpoint_sync_changed(s, err);
    return st == AGT_OK ? checkpoint_sync_trace(s, err) : st;
}

static agt_status checkpoint_waits(const agt_store *s, agt_error *err) {
    return agt__fail(err, AGT_BUSY, "a recorded change waits to be put in place: %s",
                     s->waits.message);
}

/* The last look: records go because packs hold them, in the folder that is git's now. */
static agt_status checkpoint_git_stays(agt_store *s, agt_error *err) {
    bool moved;
    if (s->shared.packed_seq <= s->journal.header.packed_seq) return AGT_OK;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st != AGT_OK || !moved) return st;
    s->shared.git_clean = 0;
    agt__store_save(s);
    return agt__fail(err, AGT_BUSY, ".agent-trace/git was replaced meanwhile; try again");
}

AGT_PRIVATE agt_status agt__checkpoint_locked(agt_store *s, bool new_file, agt_error *err) {
    agt_journal_header h = s->journal.header;
    agt_buf bytes = agt__buf(&s->mem);
    uint64_t copied = 0;
    char name[32];
    if (s->shared.applied < s->shared.end) return checkpoint_waits(s, err); /* (2) */
    /* records go because packs hold them */
    agt_status st = agt__packed_still(s, &h, &s->shared, err);
    if (st == AGT_OK) st = checkpoint_sync_all(s, new_file, err);
    if (st == AGT_OK) st = checkpoint_unpublished(s, &copied, err);
    h.generation++;
    h.next_seq = s->shared.next_seq;
    h.trace = s->shared.trace;
    h.catalog = h.generation;
    h.packed_seq = s->shared.packed_seq;
    h.packed_head = s->shared.packed_head;
    if (st == AGT_OK) h.unpublished = checkpoint_first_unpublished(s, copied);
    if (st == AGT_OK) st = agt__catalog_encode(&s->catalog, s->cpu, h.next_seq, &bytes, err);
    agt__catalog_name(h.catalog, name);
    if (st == AGT_OK) st = agt__write_file(s->sys, s->at, name, bytes.data, bytes.len, true, err);
    agt__buf_free(&bytes);
    if (st == AGT_OK) st = checkpoint_git_stays(s, err);
    if (st == AGT_OK && (st = checkpoint_header(s, &h, new_file, err)) != AGT_OK) {
        s->shared.failed = 1; /* nobody knows which header the disk has: only a new file helps */
        agt__store_save(s);
    }
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    checkpoint_shared(s);
    agt__store_save(s);
    s->reload = true;
    checkpoint_clean(s);
    return agt__store_reload(s, err);
}

AGT_PRIVATE agt_status agt__checkpoint_run(agt_store *s, bool publish, uint64_t above,
                                           agt_error *err) {
    agt_status st = publish && s->git ? agt__publish_locked(s, true, err) : AGT_OK;
    if (st == AGT_OK) st = checkpoint_presync(s, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (s->shared.end > above) st = agt__checkpoint_locked(s, false, err);
    agt__store_unlock(s);
    return st;
}

AGT_PRIVATE void agt__checkpoint_packed(agt_store *s) {
    if (agt__store_enter(s, NULL) != AGT_OK) return;
    bool news = s->shared.packed_seq > s->journal.header.packed_seq;
    agt__store_leave(s);
    if (news) (void)agt__checkpoint_run(s, false, 0, NULL);
}

AGENT_TRACE_API agt_status agt_checkpoint(agt_store *store, agt_error *err) {
    AGENT_TRACE_ASSERT(store);
    agt_status st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__checkpoint_run(store, true, AGT_JOURNAL_START, err);
    agt__publish_leave(store);
    return st;
}

AGT_PRIVATE agt_status agt__empty_journal(agt_store *s, agt_error *err) {
    agt_status st = agt__publish_enter(s, s->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__checkpoint_run(s, false, AGT_JOURNAL_START, err);
    agt__publish_leave(s);
    return st;
}

AGT_PRIVATE agt_status agt__make_room(agt_store *s, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    uint64_t end = s->seen.pos;
    agt__store_leave(s);
    if (end < AGT_JOURNAL_HALF) return AGT_OK;
    agt_error mine;
    mine.status = AGT_OK;
    bool tight = end > AGT_JOURNAL_HALF / 2 * 3;
    st = agt__publish_enter(s, tight ? s->timeout_ms : AGT_TRY, &mine);
    if (st == AGT_OK) {
        st = agt__checkpoint_run(s, false, AGT_JOURNAL_HALF - 1, &mine);
        agt__publish_leave(s);
    }
    /* somebody is at it, or something waits: there may still be room */
    return agt__answer(st == AGT_BUSY ? AGT_OK : st, &mine, err);
}

AGENT_TRACE_API agt_status agt_store_idle(agt_store *store, agt_error *err) {
    agt_status st = agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    uint64_t used = store->seen.pos - AGT_JOURNAL_START;
    agt__store_leave(store);
    if (used > AGT_JOURNAL_HALF / 8) return agt_checkpoint(store, err);
    st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    if (store->git) st = agt__publish_locked(store, false, err); /* else nothing to do */
    agt__publish_leave(store);
    return st;
}
/* end src/store/checkpoint.c */
/* begin src/store/gc.c */
/* gc: what a store takes on disk, and how it takes less.
 *
 *   under the publish lock   clear tmp/; publish and checkpoint; repack git; measure
 *
 * (1) Writers are not kept waiting: the publish lock is held, the store lock is not. A journal that
 *     gets full meanwhile is checkpointed from here, because a writer could not.
 * (2) Nothing is removed that anything may still need: of tmp/ what the records tell to be nobody's
 *     edit, of git what the new pack holds, of other temporaries what is a day old.
 * (3) What a person decides about is only counted: aside/, rejected/, torn ends of the trace. */

#define GC_BREATHE  16u /* objects between two looks at the journal */
#define GC_STALE_MS (24 * 60 * 60 * 1000LL)
#define GC_PATH     1024u
#define GC_DEPTH    16u

/* ---- measuring ---- */

typedef struct gc_walk {
    agt_store *s;
    agt_disk_parts *parts;
    uint32_t torn;
    agt_buf names; /* of the folder that is read, each with its NUL */
    agt_buf todo;  /* paths of folders still to be read */
} gc_walk;

static bool gc_ends(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && memcmp(name + n - m, end, m) == 0;
}

/* Is `path` this name, or beneath the folder of this name? */
static bool gc_in(const char *path, const char *name) {
    size_t n = strlen(name);
    return strncmp(path, name, n) == 0 && (!path[n] || path[n] == '/');
}

static agt_disk_use *gc_part(agt_disk_parts *p, const char *path) {
    const struct {
        const char *name;
        agt_disk_use *use;
    } all[] = {{"git", &p->git},
               {"journal", &p->journal},
               {"trace", &p->trace},
               {"unpublished", &p->unpublished},
               {"rejected", &p->rejected},
               {"aside", &p->aside},
               {"tmp", &p->tmp}};
    for (size_t i = 0; i < AGT_COUNT(all); i++)
        if (gc_in(path, all[i].name)) return all[i].use;
    return &p->other;
}

static int gc_name(void *ctx, const char *name) {
    agt__buf_put(ctx, name, strlen(name) + 1);
    return ((agt_buf *)ctx)->failed;
}

/* The names in an open folder into `out`, emptied first. */
static agt_status gc_names(agt_store *s, agt_fd folder, agt_buf *out, agt_error *err) {
    out->len = 0;
    int rc = s->sys->list(s->sys->ctx, folder, gc_name, out);
    if (out->failed) return agt__nomem(err);
    return rc < 0 ? agt__fail_io(err, rc, "cannot list a folder of .agent-trace") : AGT_OK;
}

static bool gc_join(char out[GC_PATH], const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    if (n + m + 2 > GC_PATH) return false;
    memcpy(out, folder, n);
    if (n) out[n++] = '/';
    memcpy(out + n, name, m + 1);
    return true;
}

/* One name in an open folder: what goes away meanwhile does not count. */
static void gc_count(gc_walk *w, agt_fd folder, const char *path, const char *name) {
    char whole[GC_PATH];
    agt_stat st;
    size_t depth = 0;
    if (!gc_join(whole, path, name)) return;
    if (w->s->sys->stat(w->s->sys->ctx, folder, name, &st) != 0) return;
    for (const char *p = whole; *p; p++)
        depth += *p == '/';
    if (st.kind == AGT_FILE_FOLDER && depth < GC_DEPTH)
        agt__buf_put(&w->todo, whole, strlen(whole) + 1);
    if (st.kind != AGT_FILE_REGULAR) return;
    agt_disk_use *use = gc_part(w->parts, whole);
    use->files++;
    use->bytes += st.size;
    w->torn += gc_in(whole, "trace") && gc_ends(name, ".torn");
}

static agt_status gc_folder(gc_walk *w, const char *path, agt_error *err) {
    agt_store *s = w->s;
    agt_fd folder = agt__walk_folder(s->sys, s->at, path, false);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open .agent-trace/%.100s", path);
    agt_status st = gc_names(s, folder, &w->names, err);
    for (size_t at = 0; st == AGT_OK && at < w->names.len;) {
        const char *name = (const char *)w->names.data + at;
        at += strlen(name) + 1;
        gc_count(w, folder, path, name);
    }
    s->sys->close(s->sys->ctx, folder);
    return st == AGT_OK && w->todo.failed ? agt__nomem(err) : st;
}

static agt_status gc_measure(agt_store *s, agt_disk_parts *out, uint32_t *torn, agt_error *err) {
    gc_walk w = {s, out, 0, agt__buf(&s->mem), agt__buf(&s->mem)};
    memset(out, 0, sizeof *out);
    agt_status st = gc_folder(&w, "", err);
    while (st == AGT_OK && w.todo.len) {
        char path[GC_PATH];
        size_t start = w.todo.len - 1;
        while (start && w.todo.data[start - 1])
            start--;
        memcpy(path, w.todo.data + start, w.todo.len - start);
        w.todo.len = start;
        st = gc_folder(&w, path, err);
    }
    *torn = w.torn;
    agt__buf_free(&w.names);
    agt__buf_free(&w.todo);
    return st;
}

/* ---- temporaries (2) ---- */

/* What dead writers left in tmp/. While nothing waits to be applied, nobody else needs it; an edit
 * among it goes to aside/, as a recovery would do it. */
static agt_status gc_tmp(agt_store *s, agt_error *err) {
    bool pending = false;
    agt_buf names = agt__buf(&s->mem);
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    st = gc_names(s, s->tmp, &names, err);
    if (st == AGT_OK && names.len && s->shared.applied == s->shared.end)
        st = agt__replay_records(s, s->shared.end, AGT_REPLAY_LEFT, &pending, err);
    agt__store_unlock(s);
    agt__buf_free(&names);
    return st;
}

/* Writes that did not end: nobody is at one for a day. */
static agt_status gc_stale(agt_store *s, agt_fd folder, agt_error *err) {
    agt_stat found;
    agt_buf names = agt__buf(&s->mem);
    agt_status st = gc_names(s, folder, &names, err);
    for (size_t at = 0; st == AGT_OK && at < names.len;) {
        const char *name = (const char *)names.data + at;
        at += strlen(name) + 1;
        if (!gc_ends(name, ".tmp") || s->sys->stat(s->sys->ctx, folder, name, &found) != 0 ||
            found.kind != AGT_FILE_REGULAR ||
            s->sys->now_unix_ms(s->sys->ctx) - found.mtime_ns / 1000000 < GC_STALE_MS)
            continue;
        int rc = s->sys->remove(s->sys->ctx, folder, name);
        if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
            st = agt__fail_io(err, rc, "cannot delete .agent-trace's %.100s", name);
    }
    agt__buf_free(&names);
    return st;
}

/* ---- git ---- */

typedef struct gc_breath {
    agt_store *s;
    uint32_t count;
} gc_breath;

/* (1) */
static agt_status gc_breathe(void *ctx, agt_error *err) {
    gc_breath *b = ctx;
    agt_store *s = b->s;
    agt_shared now;
    if (++b->count % GC_BREATHE) return AGT_OK;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    bool full = agt__store_peek(s, &now) && now.end > AGT_JOURNAL_HALF;
    agt__store_leave(s);
    /* what fails here a writer will be told */
    if (full) (void)agt__checkpoint_run(s, false, AGT_JOURNAL_HALF, NULL);
    return AGT_OK;
}

/* Other handles on the repository let go of what is gone, so that the disk gets its room back. */
static void gc_let_go(agt_store *s) {
    (void)agt__git_list_again(s->git, NULL);
    s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
    if (s->reader_dir != AGT_FD_NONE) (void)agt__git_list_again(s->reader, NULL);
    s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
}

/* A handle of its own: the publisher's keeps the trees that it remembers. */
static agt_status gc_repack(agt_store *s, agt_gc_result *out, agt_error *err) {
    agt_git *git;
    agt_git_repacked did;
    gc_breath breath = {s, 0};
    agt_status st = agt__git_open(&git, s->sys, s->git_dir, &s->mem, s->cpu, err);
    if (st != AGT_OK) return st;
    st = agt__git_repack(git, gc_breathe, &breath, &did, err);
    agt__git_close(git);
    gc_let_go(s);
    out->objects = did.objects;
    out->packs = did.packs;
    out->packs_removed = did.packs_removed;
    out->loose = did.loose;
    out->loose_removed = did.loose_removed;
    out->missing = did.missing;
    return st;
}

/* ---- the call ---- */

static agt_status gc_run(agt_store *s, agt_gc_result *out, agt_error *err) {
    agt_status st = gc_tmp(s, err);
    if (st == AGT_OK) st = agt__checkpoint_run(s, true, AGT_JOURNAL_START, err);
    if (st != AGT_OK) return st;
    agt__checkpoint_packed(s); /* records that packs hold by now */
    st = gc_stale(s, s->at, err);
    if (st == AGT_OK) st = gc_stale(s, s->rejected, err);
    return st == AGT_OK && s->git ? gc_repack(s, out, err) : st;
}

static agt_status gc_hard(agt_store *s, bool measure, agt_gc_result *out, agt_error *err) {
    agt_status st = agt__store_enter(s, err); /* not in a fork's child */
    if (st != AGT_OK) return st;
    agt__store_leave(s);
    if (!measure && (st = agt__publish_enter(s, s->timeout_ms, err)) != AGT_OK) return st;
    st = gc_measure(s, &out->before, &out->torn, err);
    if (st == AGT_OK && !measure) st = gc_run(s, out, err);
    if (st == AGT_OK) st = gc_measure(s, &out->after, &out->torn, err);
    if (!measure) agt__publish_leave(s);
    return st;
}

AGENT_TRACE_API agt_status agt_gc(agt_store *store, const agt_gc_options *opts, agt_gc_result *out,
                                  agt_error *err) {
    agt_gc_options o;
    agt_gc_result r = AGT_GC_RESULT_INIT, known;
    agt_error mine;
    AGENT_TRACE_ASSERT(store);
    mine.status = AGT_OK;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_gc_options", err);
    if (st == AGT_OK && out) st = agt__options(&known, sizeof known, out, "agt_gc_result", err);
    if (st != AGT_OK) return st;
    if (o.measure > 1) return agt__fail(err, AGT_INVALID, "measure is 0 or 1");
    st = gc_hard(store, o.measure == 1, &r, &mine);
    if (st != AGT_OK || !out) return agt__answer(st, &mine, err);
    r.size = out->size;
    memcpy(out, &r, out->size < sizeof r ? out->size : sizeof r);
    return AGT_OK;
}
/* end src/store/gc.c */
/* begin src/store/history.c */
/* history: reading documents, their versions, and the trace.
 *
 * (1) Readers take no lock. Bytes and version belong together: where the bytes on disk are not the
 *     newest version's, they are read once more under the lock, and what still differs is
 *     somebody's edit.
 * (2) Version n of a document is found by following doc_prev from its newest event: the cost is the
 *     document's versions, not the history's length.
 * (3) Every version's bytes are checked against the blob its event names.
 * (4) A checkpoint moves records from the journal to git and to unpublished/ while somebody looks
 *     for them. What is not found is lost only if the journal is still of the generation that it
 *     was looked for in. */

/* ---- describing ---- */

AGT_PRIVATE void agt__describe(const agt_row *row, bool modified, agt_document *out) {
    agt_document d = AGT_DOCUMENT_INIT;
    d.version = row->version;
    d.exists = row->exists;
    d.type = (uint32_t)row->type;
    d.size_bytes = row->size;
    d.last_seq = row->last_seq;
    d.changed_unix_ms = row->changed_unix_ms;
    d.modified_outside = modified && !row->untracked;
    memcpy(d.id, row->doc, sizeof row->doc);
    if (row->exists) agt__hex(row->blob.id, 20, d.blob);
    (void)agt__copy_text(d.path, sizeof d.path, row->path, row->path_len);
    (void)agt__copy_text(d.agent, sizeof d.agent, row->agent, strlen(row->agent));
    d.size = out->size;
    memcpy(out, &d, out->size < sizeof d ? out->size : sizeof d);
}

static agt_status history_document_check(const agt_document *out, agt_error *err) {
    agt_document known;
    return out ? agt__options(&known, sizeof known, out, "agt_document", err) : AGT_OK;
}

typedef struct history_path {
    char text[AGT_MAX_PATH + 1];
    size_t len;
} history_path;

/* The row, with its path in `at` (the catalog's own may go away). */
static agt_status history_row(agt_store *s, const history_path *at, agt_row *row, agt_error *err) {
    char shown[200];
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    if (st == AGT_OK && !agt__catalog_find(&s->catalog, at->text, at->len, row))
        st = agt__fail(err, AGT_NOT_FOUND, "%s: no such document",
                       agt__show_path(shown, sizeof shown, at->text, at->len));
    agt__store_leave(s);
    row->path = at->text;
    row->path_len = at->len;
    return st;
}

static agt_status history_find(agt_store *s, const char *path, history_path *at, agt_row *row,
                               agt_error *err) {
    AGENT_TRACE_ASSERT(s && path);
    size_t len = strlen(path);
    agt_error refused, mine;
    agt_status st = agt__path_normalise(path, len, at->text, &at->len, &refused);
    if (st == AGT_OK) return history_row(s, at, row, err);
    if (!agt__path_held(path, len)) return agt__answer(st, &refused, err);
    /* nobody could make it now, but an older program may have recorded it */
    memcpy(at->text, path, len + 1);
    at->len = len;
    agt_status held = history_row(s, at, row, &mine);
    return held == AGT_NOT_FOUND ? agt__answer(st, &refused, err) : agt__answer(held, &mine, err);
}

#define HISTORY_TRIES 100

static agt_status history_lost(const agt_row *row, agt_error *err) {
    return agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are missing",
                     (unsigned long long)row->last_seq);
}

/* One look, under the handle's mutex. */
static agt_status history_look_once(agt_store *s, const history_path *at, agt_row *row,
                                    const agt_waiting *waiting, agt_buf *bytes, agt_look *look,
                                    bool *modified, agt_error *err) {
    bool pending = false;
    agt_status st = agt__look(s, at->text, at->len, bytes, look, err);
    *modified = st != AGT_OK || !agt__look_is(look, row->exists, &row->blob);
    if (st == AGT_INVALID) memset(look, 0, sizeof *look);
    if (st == AGT_INVALID) return AGT_OK;
    if (st != AGT_OK || !*modified) return st;
    st = agt__look_pending(s, waiting, row, look, &pending, err);
    if (st != AGT_OK || !pending) return st;
    *modified = false; /* the document is what the journal says */
    bytes->len = 0;
    look->on_disk = row->exists;
    look->blob = row->blob;
    return row->exists ? agt__journalled_content(s, row->last_seq, bytes, err) : AGT_OK;
}

static void history_row_again(agt_store *s, const history_path *at, agt_row *row) {
    if (agt__catalog_find(&s->catalog, at->text, at->len, row)) row->path = at->text;
}

static agt_status history_look_locked(agt_store *s, const history_path *at, agt_row *row,
                                      agt_buf *bytes, agt_look *look, bool *modified,
                                      agt_error *err) {
    agt_status st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    agt_waiting waiting = agt__waiting(s, true);
    history_row_again(s, at, row);
    st = history_look_once(s, at, row, &waiting, bytes, look, modified, err);
    agt__store_unlock(s);
    return st == AGT_NOT_FOUND ? history_lost(row, err) : st;
}

/* A read-only handle cannot keep writers out: what it sees counts if nothing was recorded while it
 * looked. */
static agt_status history_look_unlocked(agt_store *s, const history_path *at, agt_row *row,
                                        agt_buf *bytes, agt_look *look, bool *modified,
                                        agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    bool still = false;
    st = agt__store_look_again(s, err);
    for (int i = 0; i < HISTORY_TRIES && st == AGT_OK && !still; i++) {
        uint64_t generation = s->journal.header.generation, next = s->seen.next_seq;
        agt_waiting waiting = agt__waiting(s, false);
        history_row_again(s, at, row);
        agt_status seen = history_look_once(s, at, row, &waiting, bytes, look, modified, err);
        st = agt__store_look_again(s, err);
        still = generation == s->journal.header.generation && next == s->seen.next_seq;
        if (st == AGT_OK && still) st = seen == AGT_NOT_FOUND ? history_lost(row, err) : seen;
    }
    agt__store_leave(s);
    if (st == AGT_OK && !still)
        return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
    return st;
}

/* (1) */
static agt_status history_look_hard(agt_store *s, const history_path *at, agt_row *row,
                                    agt_buf *bytes, agt_look *look, bool *modified,
                                    agt_error *err) {
    if (s->read_only) return history_look_unlocked(s, at, row, bytes, look, modified, err);
    agt_status st = agt__look(s, at->text, at->len, bytes, look, err);
    *modified = st == AGT_INVALID; /* a link or folder where the document was */
    if (st == AGT_INVALID) memset(look, 0, sizeof *look);
    if (st == AGT_INVALID || (st == AGT_OK && agt__look_is(look, row->exists, &row->blob)))
        return AGT_OK;
    if (st != AGT_OK) return st;
    return history_look_locked(s, at, row, bytes, look, modified, err);
}

static agt_status history_look(agt_store *s, const history_path *at, agt_row *row, agt_buf *bytes,
                               agt_look *look, bool *modified, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(history_look_hard(s, at, row, bytes, look, modified, &mine), &mine, err);
}

AGENT_TRACE_API agt_status agt_read(agt_store *store, const char *path, agt_bytes *out,
                                    agt_document *info, agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool modified;
    char shown[200];
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_document_check(info, err);
    if (st == AGT_OK) st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_look(store, &at, &row, &bytes, &look, &modified, err);
    if (st == AGT_OK && !look.on_disk)
        st = agt__fail(err, AGT_NOT_FOUND,
                       row.exists ? "%s was removed outside the store; its versions can be "
                                    "restored"
                                  : "%s was deleted; its versions can be restored",
                       agt__show_path(shown, sizeof shown, at.text, at.len));
    if (st == AGT_OK) st = agt__buf_give(&bytes, out, err);
    if (st == AGT_OK && info) agt__describe(&row, modified, info);
    agt__buf_free(&bytes);
    return st;
}

AGENT_TRACE_API agt_status agt_document_get(agt_store *store, const char *path, agt_document *out,
                                            agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool modified;
    AGENT_TRACE_ASSERT(store && path && out);
    agt_status st = history_document_check(out, err);
    if (st == AGT_OK) st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_look(store, &at, &row, &bytes, &look, &modified, err);
    agt__buf_free(&bytes);
    if (st == AGT_OK) agt__describe(&row, modified, out);
    return st;
}

/* ---- versions ---- */

/* The event `seq`, from the trace (below `trusted`), or from the journal where it is not applied
 * yet. `line` keeps the bytes the event points into. */
static agt_status history_event(agt_store *s, agt_trace_reader *reader, uint64_t trusted,
                                uint64_t seq, agt_buf *line, agt_buf *scratch, agt_event *e,
                                agt_error *err) {
    agt_text found;
    agt_error mine;
    agt_status st = AGT_NOT_FOUND;
    line->len = 0;
    mine.status = AGT_OK;
    if (seq < trusted) st = agt__trace_find(reader, seq, &found, &mine);
    if (st == AGT_OK) agt__buf_put(line, found.data, found.len);
    if (st == AGT_NOT_FOUND) {
        if ((st = agt__store_enter(s, err)) != AGT_OK) return st;
        st = agt__journalled_line(s, seq, line, &mine);
        agt__store_leave(s);
        if (st == AGT_NOT_FOUND)
            return agt__fail(err, AGT_CORRUPT, "event %llu is missing in the trace",
                             (unsigned long long)seq);
    }
    if (st == AGT_OK && line->failed) st = agt__nomem(&mine);
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    return agt__event_parse((const char *)line->data, line->len, scratch, e, err);
}

/* The seq and blob of version n (2). */
static agt_status history_version(agt_store *s, const agt_row *row, uint32_t version, uint64_t *seq,
                                  agt_oid *blob, bool *exists, agt_error *err) {
    agt_trace_reader *reader;
    agt_event e = AGT_EVENT_INIT;
    char shown[200];
    *seq = row->last_seq;
    *blob = row->blob;
    *exists = row->exists;
    if (version == row->version) return AGT_OK;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    uint64_t trusted = agt__waiting(s, false).known ? UINT64_MAX : s->journal.header.next_seq;
    agt__store_leave(s);
    st = agt__trace_reader_open(&reader, s->sys, s->trace_dir, &s->mem, err);
    if (st != AGT_OK) return st;
    agt_buf line = agt__buf(&s->mem), scratch = agt__buf(&s->mem);
    for (uint32_t now = row->version; st == AGT_OK;) {
        st = history_event(s, reader, trusted, *seq, &line, &scratch, &e, err);
        if (st != AGT_OK || now == version) break;
        if (e.version != now || e.doc_prev >= *seq || !e.doc_prev)
            st = agt__fail(err, AGT_CORRUPT,
                           "the versions of %s do not follow each other at event "
                           "%llu",
                           agt__show_path(shown, sizeof shown, row->path, row->path_len),
                           (unsigned long long)*seq);
        *seq = e.doc_prev;
        now--;
    }
    if (st == AGT_OK) {
        *exists = e.blob.data != NULL;
        if (*exists && !agt__unhex(e.blob.data, e.blob.len, blob->id, 20))
            st = agt__fail(err, AGT_CORRUPT, "event %llu names no blob", (unsigned long long)*seq);
    }
    agt__buf_free(&line);
    agt__buf_free(&scratch);
    agt__trace_reader_close(reader);
    return st;
}

static agt_status history_content(agt_store *s, uint64_t seq, const agt_oid *blob, agt_buf *out,
                                  agt_error *err) {
    agt_oid id;
    agt_error why, unread;
    memset(&why, 0, sizeof why);
    memset(&unread, 0, sizeof unread);
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, &why);
    bool journalled = seq >= s->journal.header.next_seq;
    if (st == AGT_OK) st = journalled ? agt__journalled_content(s, seq, out, &why) : AGT_NOT_FOUND;
    agt__store_leave(s);
    if (st != AGT_OK && st != AGT_NOT_FOUND) return agt__answer(st, &why, err);
    if (st == AGT_NOT_FOUND) {
        out->len = 0;
        st = agt__git_content(s, blob, out, &why);
        if (st != AGT_OK && agt__store_enter(s, NULL) == AGT_OK) { /* not published yet? */
            out->len = 0;
            agt_status kept = agt__journalled_content(s, seq, out, &unread);
            agt__store_leave(s);
            if (kept == AGT_OK || (kept != AGT_NOT_FOUND && kept != AGT_CORRUPT)) {
                st = kept; /* found, or nobody knows: that it is lost would be a guess */
                why = unread;
            }
        }
        if (st != AGT_OK) {
            if (err) *err = why;
            return st == AGT_NOT_FOUND
                       ? agt__fail(err, AGT_CORRUPT, "git lost the bytes of event %llu",
                                   (unsigned long long)seq)
                       : st;
        }
    }
    if (st != AGT_OK) return st;
    agt__git_id(s->cpu, "blob", out->data, out->len, id.id);
    if (memcmp(id.id, blob->id, 20) != 0) /* (3) */
        return agt__fail(err, AGT_CORRUPT, "the bytes of event %llu are not what it names",
                         (unsigned long long)seq);
    return AGT_OK;
}

/* One version's bytes; *exists false for a deletion. version 0: the newest. */
static agt_status history_bytes_hard(agt_store *s, const agt_row *row, uint32_t version,
                                     agt_buf *out, bool *exists, agt_error *err) {
    char shown[200];
    uint64_t seq;
    agt_oid blob;
    out->len = 0;
    if (!version) version = row->version;
    if (version > row->version)
        return agt__fail(err, AGT_NOT_FOUND, "%s has no version %u; the newest is %u",
                         agt__show_path(shown, sizeof shown, row->path, row->path_len),
                         (unsigned)version, (unsigned)row->version);
    agt_status st = history_version(s, row, version, &seq, &blob, exists, err);
    if (st != AGT_OK || !*exists) return st;
    return history_content(s, seq, &blob, out, err);
}

/* The journal's generation, as the handle knows it or as the file says now. */
static agt_status history_generation(agt_store *s, bool look, uint64_t *out, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    if (look) st = agt__store_look_again(s, err);
    *out = s->journal.header.generation;
    agt__store_leave(s);
    return st;
}

/* (4) */
static agt_status history_bytes(agt_store *s, const agt_row *row, uint32_t version, agt_buf *out,
                                bool *exists, agt_error *err) {
    agt_error mine;
    uint64_t generation = 0, now = 0;
    mine.status = AGT_OK;
    agt_status st = history_generation(s, false, &generation, &mine);
    for (int i = 0; i < HISTORY_TRIES && st == AGT_OK; i++, generation = now) {
        agt_status got = history_bytes_hard(s, row, version, out, exists, &mine);
        /* without git AGT_UNSUPPORTED says so */
        bool missed = got == AGT_NOT_FOUND || got == AGT_CORRUPT || got == AGT_UNSUPPORTED;
        if (!missed) return agt__answer(got, &mine, err);
        agt_error first = mine;
        st = history_generation(s, true, &now, &mine);
        if (st == AGT_OK && now == generation) return agt__answer(got, &first, err);
    }
    if (st == AGT_OK)
        return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_read_version(agt_store *store, const char *path, uint32_t version,
                                            agt_bytes *out, agt_error *err) {
    history_path at;
    agt_row row;
    bool exists;
    char shown[200];
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf bytes = agt__buf(&store->mem);
    st = history_bytes(store, &row, version, &bytes, &exists, err);
    if (st == AGT_OK && !exists)
        st = agt__fail(err, AGT_NOT_FOUND, "version %u of %s is a deletion; choose another",
                       (unsigned)(version ? version : row.version),
                       agt__show_path(shown, sizeof shown, at.text, at.len));
    if (st == AGT_OK) st = agt__buf_give(&bytes, out, err);
    agt__buf_free(&bytes);
    return st;
}

static agt_status history_diff(agt_store *s, const char *path, const agt_buf *a, bool a_exists,
                               const agt_buf *b, bool b_exists, agt_bytes *out, agt_error *err) {
    agt_buf patch = agt__buf(&s->mem);
    agt_status st = AGT_OK;
    const void *from = a->data ? (const void *)a->data : "";
    const void *to = b->data ? (const void *)b->data : "";
    bool same = a_exists == b_exists && a->len == b->len && memcmp(from, to, a->len) == 0;
    if (!same) {
        s->sys->mutex_lock(s->sys->ctx, s->reader_mutex);
        st = agt__git_diff(s->reader, path, a_exists ? from : NULL, a->len, b_exists ? to : NULL,
                           b->len, &patch, err);
        s->sys->mutex_unlock(s->sys->ctx, s->reader_mutex);
    }
    if (st == AGT_OK) st = agt__buf_give(&patch, out, err);
    agt__buf_free(&patch);
    return st;
}

AGENT_TRACE_API agt_status agt_diff_bytes(agt_store *store, const char *path, const void *from,
                                          size_t from_len, const void *to, size_t to_len,
                                          agt_bytes *out, agt_error *err) {
    AGENT_TRACE_ASSERT(store && path && out && (from || !from_len) && (to || !to_len));
    memset(out, 0, sizeof *out);
    agt_buf a = agt__buf(&store->mem), b = agt__buf(&store->mem);
    agt__buf_put(&a, from, from_len);
    agt__buf_put(&b, to, to_len);
    agt_status st = a.failed || b.failed ? agt__nomem(err) : AGT_OK;
    if (st == AGT_OK) st = agt__store_enter(store, err);
    if (st == AGT_OK) {
        agt__store_leave(store);
        st = history_diff(store, path, &a, from != NULL, &b, to != NULL, out, err);
    }
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

AGENT_TRACE_API agt_status agt_diff(agt_store *store, const char *path, uint32_t from, uint32_t to,
                                    agt_bytes *out, agt_error *err) {
    history_path at;
    agt_row row;
    agt_look look;
    bool a_exists = false, b_exists = false, modified;
    AGENT_TRACE_ASSERT(store && path && out);
    memset(out, 0, sizeof *out);
    agt_status st = history_find(store, path, &at, &row, err);
    if (st != AGT_OK) return st;
    agt_buf a = agt__buf(&store->mem), b = agt__buf(&store->mem);
    st = history_bytes(store, &row, from, &a, &a_exists, err);
    if (st == AGT_OK && to) st = history_bytes(store, &row, to, &b, &b_exists, err);
    if (st == AGT_OK && !to) {
        st = history_look(store, &at, &row, &b, &look, &modified, err);
        b_exists = look.on_disk;
    }
    if (st == AGT_OK) st = history_diff(store, at.text, &a, a_exists, &b, b_exists, out, err);
    agt__buf_free(&a);
    agt__buf_free(&b);
    return st;
}

/* ---- refused bytes ---- */

/* The event, if it is a violation with bytes. */
static agt_status history_violation(agt_store *s, uint64_t seq, agt_buf *line, agt_buf *scratch,
                                    agt_event *e, agt_error *err) {
    agt_trace_reader *reader;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    uint64_t trusted = agt__waiting(s, false).known ? UINT64_MAX : s->journal.header.next_seq;
    bool there = seq && seq < s->seen.next_seq;
    agt__store_leave(s);
    if (st == AGT_OK && !there)
        st = agt__fail(err, AGT_NOT_FOUND, "there is no event %llu", (unsigned long long)seq);
    if (st == AGT_OK) st = agt__trace_reader_open(&reader, s->sys, s->trace_dir, &s->mem, err);
    if (st != AGT_OK) return st;
    st = history_event(s, reader, trusted, seq, line, scratch, e, err);
    agt__trace_reader_close(reader);
    if (st != AGT_OK || e->rejected.data) return st;
    return agt__fail(err, AGT_NOT_FOUND, "event %llu refused no bytes", (unsigned long long)seq);
}

AGENT_TRACE_API agt_status agt_read_refused(agt_store *store, uint64_t seq, agt_bytes *out,
                                            agt_error *err) {
    unsigned char sha[32], want[32];
    char name[72];
    agt_event e = AGT_EVENT_INIT;
    AGENT_TRACE_ASSERT(store && out);
    memset(out, 0, sizeof *out);
    agt_buf line = agt__buf(&store->mem), scratch = agt__buf(&store->mem);
    agt_buf bytes = agt__buf(&store->mem);
    agt_status st = history_violation(store, seq, &line, &scratch, &e, err);
    bool named = st == AGT_OK && agt__unhex(e.rejected.data, e.rejected.len, want, sizeof want) &&
                 agt__copy_text(name, sizeof name, e.rejected.data, e.rejected.len);
    if (st == AGT_OK && !named)
        st = agt__fail(err, AGT_CORRUPT, "event %llu names no bytes", (unsigned long long)seq);
    if (st == AGT_OK)
        st = agt__read_file(store->sys, store->rejected, name, AGT_REJECTED_MAX, &bytes, err);
    if (st == AGT_NOT_FOUND && named)
        st = agt__fail(err, AGT_NOT_FOUND, "the bytes that event %llu refused are not kept",
                       (unsigned long long)seq);
    if (st == AGT_OK) {
        agt__sha256(store->cpu, bytes.data, bytes.len, sha);
        st = memcmp(sha, want, sizeof sha) == 0
                 ? agt__buf_give(&bytes, out, err)
                 : agt__fail(err, AGT_CORRUPT, ".agent-trace/rejected/%s is not what its name says",
                             name);
    }
    agt__buf_free(&line);
    agt__buf_free(&scratch);
    agt__buf_free(&bytes);
    return st;
}
/* end src/store/history.c */
/* begin src/store/walk.c */
/* walk: the files beneath the root that are no documents, and what is left out of that list and
 * why.
 *
 * Only looked at, never read: a file that the patterns leave out may be a secret. No link is
 * followed and at most AGT_MAX_DEPTH folders are gone down, so it ends whatever is there. .git and
 * .agent-trace are passed by without a word at any depth; the rest of a git repository inside of
 * the root is ordinary files. A store inside of the root is somebody else's.
 *
 * Folders wait in a queue, so one is open at a time, however deep they lie. No lock is held: what
 * comes and goes meanwhile may be in the list or not.
 */

#include <stdlib.h>

#define WALK_RULES_NAME ".agent-trace-ignore"
#define WALK_RULES_MAX  65536u /* bytes in it */

typedef struct walk {
    agt_store *s;
    const char *under; /* only what is in this folder */
    size_t under_len;
    bool all; /* what is left out, too */
    agt_files *out;
    agt_buf text; /* of the user's patterns */
    agt_ignore_rule *rules;
    size_t rule_count, rule_room;
    agt_buf queue; /* folders, each ended by a NUL */
    size_t queue_at;
    agt_buf names; /* of the open folder, each ended by a NUL */
    agt_buf path;  /* of the folder with a slash behind it, then of what is in it */
} walk;

/* ---- the patterns ---- */

/* The usual ones first, so that the user's decide. */
static agt_status walk_rules(walk *w, agt_error *err) {
    size_t usual_len, count = 0;
    const char *usual = agt__ignore_usual(&usual_len);
    agt_error mine;
    agt_status st =
        agt__read_file(w->s->sys, w->s->root, WALK_RULES_NAME, WALK_RULES_MAX, &w->text, &mine);
    if (st == AGT_LIMIT)
        return agt__fail(err, st, WALK_RULES_NAME " has more than %u bytes; make it shorter",
                         WALK_RULES_MAX);
    if (st != AGT_OK && st != AGT_NOT_FOUND)
        return agt__fail(err, st == AGT_NOMEM ? st : AGT_IO,
                         WALK_RULES_NAME " cannot be read, so nobody knows what it leaves out: %s",
                         mine.message);
    const char *text = (const char *)w->text.data;
    w->rule_room = agt__ignore_lines(usual, usual_len) + agt__ignore_lines(text, w->text.len);
    w->rules = agt__alloc(&w->s->mem, w->rule_room * sizeof *w->rules);
    if (!w->rules) return agt__nomem(err);
    (void)agt__ignore_read(usual, usual_len, w->rules, &w->rule_count, NULL);
    st = agt__ignore_read(text, w->text.len, w->rules + w->rule_count, &count, &mine);
    if (st != AGT_OK)
        return agt__fail_at(err, st, mine.offset, WALK_RULES_NAME ": %s", mine.message);
    w->rule_count += count;
    return AGT_OK;
}

/* ---- what is found ---- */

/* Adds the path in w->path; `slash` says that it is a folder. */
static void walk_add(walk *w, const agt_stat *st, uint32_t left_out, bool slash) {
    agt_files *f = w->out;
    if ((left_out && !w->all) || (!slash && w->path.len <= w->under_len && w->under_len)) return;
    agt_file file = {NULL,
                     f->paths.len,
                     w->path.len + slash,
                     st ? st->size : 0,
                     st ? st->mtime_ns / 1000000 : 0,
                     left_out};
    agt__buf_put(&f->paths, w->path.data, w->path.len);
    if (slash) agt__buf_byte(&f->paths, '/');
    agt__buf_byte(&f->paths, 0);
    agt__buf_put(&f->rows, &file, sizeof file);
}

/* Is the path in the wanted folder, or on the way to it? */
static bool walk_wants(const walk *w) {
    size_t n = w->path.len < w->under_len ? w->path.len : w->under_len;
    const char *longer = w->path.len < w->under_len ? w->under : (const char *)w->path.data;
    if (!w->under_len) return true;
    return memcmp(w->path.data, w->under, n) == 0 &&
           (w->path.len == w->under_len || longer[n] == '/');
}

/* Can a document have this path (or, for a folder, one in it)? */
static bool walk_possible(const walk *w, bool folder) {
    char path[AGT_MAX_PATH + 1], out[AGT_MAX_PATH + 1];
    size_t n = w->path.len;
    if (n + 2 > AGT_MAX_PATH && (folder || n > AGT_MAX_PATH)) return false;
    memcpy(path, w->path.data, n);
    if (folder) {
        memcpy(path + n, "/x", 2);
        n += 2;
    }
    return agt__path_normalise(path, n, out, &n, NULL) == AGT_OK;
}

/* One name of the open folder. */
static void walk_name(walk *w, agt_fd folder, const char *name) {
    agt_stat st;
    if (strcmp(name, ".git") == 0 || strcmp(name, AGT_STORE_NAME) == 0) return;
    agt__buf_text(&w->path, name);
    if (w->path.failed || !walk_wants(w)) return;
    int rc = w->s->sys->stat(w->s->sys->ctx, folder, name, &st);
    if (rc < 0) {
        if (AGT_SYS_CLASS(rc) == AGT_SYS_NOMEM) w->path.failed = true;
        if (AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) walk_add(w, NULL, AGT_LEFT_OUT_UNREADABLE, false);
        return;
    }
    bool is_folder = st.kind == AGT_FILE_FOLDER;
    if (agt__ignore_one(w->rules, w->rule_count, (const char *)w->path.data, w->path.len,
                        is_folder) == AGT_IGNORE_LEFT_OUT)
        walk_add(w, &st, AGT_LEFT_OUT_IGNORED, is_folder);
    else if (st.kind == AGT_FILE_LINK)
        walk_add(w, &st, AGT_LEFT_OUT_LINK, false);
    else if (st.kind == AGT_FILE_OTHER)
        walk_add(w, &st, AGT_LEFT_OUT_OTHER, false);
    else if (!walk_possible(w, is_folder))
        walk_add(w, &st, AGT_LEFT_OUT_NAME, is_folder);
    else if (!is_folder)
        walk_add(w, &st, AGT_LEFT_OUT_NOT, false);
    else {
        agt__buf_put(&w->queue, w->path.data, w->path.len);
        agt__buf_byte(&w->queue, 0);
    }
}

/* ---- folders ---- */

static int walk_collect(void *ctx, const char *name) {
    walk *w = ctx;
    agt__buf_put(&w->names, name, strlen(name) + 1);
    return w->names.failed ? 1 : 0;
}

/* Is the open folder a store, or what is left of one? */
static bool walk_is_store(const walk *w, agt_fd folder) {
    const agt_sys *sys = w->s->sys;
    bool there = false;
    agt_fd at = sys->open(sys->ctx, folder, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    if (at < 0) return false;
    agt_status st = agt__store_there(sys, at, AGT_STORE_NAME, &there, NULL);
    sys->close(sys->ctx, at);
    return there || st == AGT_CORRUPT;
}

static void walk_names(walk *w, agt_fd folder) {
    size_t prefix = w->path.len;
    if (prefix) w->path.data[prefix++] = '/'; /* in place of the NUL */
    for (size_t at = 0; at < w->names.len && !w->path.failed;
         at += strlen((const char *)w->names.data + at) + 1) {
        w->path.len = prefix;
        walk_name(w, folder, (const char *)w->names.data + at);
    }
}

/* Everything in the folder whose path is in w->path; the root's is empty. */
static agt_status walk_folder(walk *w, agt_error *err) {
    const agt_sys *sys = w->s->sys;
    bool root = w->path.len == 0;
    w->names.len = 0;
    agt_fd folder = agt__walk_folder(sys, w->s->root, (const char *)w->path.data, false);
    int rc = folder < 0 ? (int)folder : sys->list(sys->ctx, folder, walk_collect, w);
    int cls = rc < 0 ? AGT_SYS_CLASS(rc) : 0;
    if (w->names.failed || cls == AGT_SYS_NOMEM)
        w->path.failed = true;
    else if (rc == 0 && !root && walk_is_store(w, folder))
        walk_add(w, NULL, AGT_LEFT_OUT_STORE, true);
    else if (rc == 0)
        walk_names(w, folder);
    else if (!root && cls != AGT_SYS_NOENT && cls != AGT_SYS_NOTDIR && cls != AGT_SYS_LOOP)
        walk_add(w, NULL, AGT_LEFT_OUT_UNREADABLE, true); /* else it is gone, or no folder now */
    if (folder >= 0) sys->close(sys->ctx, folder);
    if (rc < 0 && root && !w->path.failed)
        return agt__fail_io(err, rc, "the folder of the store cannot be listed");
    return AGT_OK;
}

static agt_status walk_run(walk *w, agt_error *err) {
    agt__buf_byte(&w->queue, 0); /* the root */
    while (w->queue_at < w->queue.len && !w->queue.failed) {
        const char *path = (const char *)w->queue.data + w->queue_at;
        size_t n = strlen(path);
        w->path.len = 0;
        agt__buf_put(&w->path, path, n + 1);
        if (w->path.failed) break;
        w->path.len = n;
        w->queue_at += n + 1;
        agt_status st = walk_folder(w, err);
        if (st != AGT_OK) return st;
    }
    agt_files *f = w->out;
    bool failed =
        w->queue.failed || w->names.failed || w->path.failed || f->paths.failed || f->rows.failed;
    return failed ? agt__nomem(err) : AGT_OK;
}

/* ---- the list ---- */

static int walk_by_path(const void *a, const void *b) {
    const agt_file *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int d = memcmp(x->path, y->path, n);
    return d ? d : (x->len > y->len) - (x->len < y->len);
}

/* Takes out what is a document by now; tells names that would clash with one's. Under the mutex. */
static void walk_without_documents(agt_store *s, agt_files *f, bool all) {
    agt_file *file = (agt_file *)(void *)f->rows.data;
    size_t count = f->rows.len / sizeof *file, kept = 0;
    agt_row row;
    for (size_t i = 0; i < count; i++) {
        file[i].path = (const char *)f->paths.data + file[i].at;
        if (!file[i].left_out) {
            if (agt__catalog_find(&s->catalog, file[i].path, file[i].len, &row) && row.exists)
                continue;
            if (agt__catalog_case_clash(&s->catalog, file[i].path, file[i].len, &row))
                file[i].left_out = AGT_LEFT_OUT_NAME;
            if (file[i].left_out && !all) continue;
        }
        file[kept++] = file[i];
    }
    f->rows.len = kept * sizeof *file;
    if (kept) qsort(file, kept, sizeof *file, walk_by_path);
}

AGT_PRIVATE void agt__files_free(agt_files *f) {
    agt__buf_free(&f->rows);
    agt__buf_free(&f->paths);
}

AGT_PRIVATE agt_status agt__walk(agt_store *s, const char *under, size_t under_len, bool all,
                                 agt_files *out, agt_error *err) {
    walk w;
    memset(&w, 0, sizeof w);
    w.s = s;
    w.under = under;
    w.under_len = under_len;
    w.all = all;
    w.out = out;
    out->rows = out->paths = w.text = w.queue = w.names = w.path = agt__buf(&s->mem);
    agt_status st = walk_rules(&w, err);
    if (st == AGT_OK) st = walk_run(&w, err);
    if (st == AGT_OK) st = agt__store_enter(s, err);
    if (st == AGT_OK) {
        st = agt__store_look_again(s, err);
        if (st == AGT_OK) walk_without_documents(s, out, all);
        agt__store_leave(s);
    }
    agt__buf_free(&w.text);
    agt__buf_free(&w.queue);
    agt__buf_free(&w.names);
    agt__buf_free(&w.path);
    agt__free(&s->mem, w.rules, w.rule_room * sizeof *w.rules);
    return st;
}
/* end src/store/walk.c */
/* begin src/store/cursor.c */
/* cursor: lists of documents and of files that are none, and the trace. A list is a copy made when
 * it was asked for; a trace cursor reads the segments as they are. Neither holds a lock between
 * calls. */

typedef enum cursor_kind { CURSOR_LIST = 1, CURSOR_FILES, CURSOR_TRACE } cursor_kind;

struct agt_cursor {
    cursor_kind kind;
    agt_store *store;
    /* list */
    agt_rows rows;
    agt_buf paths;
    size_t at;
    bool look;
    agt_files files; /* untracked ones */
    /* trace */
    agt_trace_reader *reader;
    agt_trace_options filter;
    char *texts[4]; /* path, actor, action, session */
    size_t sizes[4];
    agt_buf scratch;
    agt_buf ahead; /* lines that the journal has and the trace has not yet */
    size_t ahead_at;
    bool ahead_asked;
    bool stops; /* the trace counts only up to `stop`; what follows is in the journal */
    agt_trace_end stop;
    bool passed;   /* a line behind it was stepped over */
    uint64_t last; /* seq of the line handed out last */
    uint64_t given;
};

AGENT_TRACE_API void agt_cursor_close(agt_cursor *c) {
    if (!c) return;
    const agt_mem *mem = &c->store->mem;
    agt__rows_free(mem, &c->rows);
    agt__buf_free(&c->paths);
    agt__files_free(&c->files);
    agt__buf_free(&c->scratch);
    agt__buf_free(&c->ahead);
    if (c->reader) agt__trace_reader_close(c->reader);
    for (size_t i = 0; i < AGT_COUNT(c->texts); i++)
        if (c->texts[i]) agt__free(mem, c->texts[i], c->sizes[i]);
    agt__free(mem, c, sizeof *c);
}

static agt_cursor *cursor_new(agt_store *s, cursor_kind kind) {
    agt_cursor *c = agt__zalloc(&s->mem, sizeof *c);
    if (!c) return NULL;
    c->kind = kind;
    c->store = s;
    c->paths = c->scratch = c->ahead = c->files.rows = c->files.paths = agt__buf(&s->mem);
    return c;
}

static agt_status cursor_check_process(const agt_cursor *c, agt_error *err) {
    const agt_store *s = c->store;
    if (s->sys->pid(s->sys->ctx) == s->self.pid) return AGT_OK;
    return agt__fail(err, AGT_INVALID,
                     "the cursor was opened before a fork; open the store again in the child");
}

/* ---- documents ---- */

static bool cursor_wants(const agt_list_options *o, const char *under, size_t under_len,
                         const agt_row *r) {
    if (!r->exists && !o->deleted) return false;
    if (o->type && (uint32_t)r->type != o->type) return false;
    if (!under_len) return true;
    return r->path_len > under_len + 1 && r->path[under_len] == '/' &&
           memcmp(r->path, under, under_len) == 0;
}

/* Keeps the wanted rows and copies their paths. */
static agt_status cursor_keep(agt_cursor *c, const agt_list_options *o, const char *under,
                              size_t under_len, agt_error *err) {
    size_t kept = 0, at = 0;
    for (size_t i = 0; i < c->rows.count; i++) {
        if (!cursor_wants(o, under, under_len, &c->rows.row[i])) continue;
        c->rows.row[kept] = c->rows.row[i];
        agt__buf_put(&c->paths, c->rows.row[kept].path, c->rows.row[kept].path_len);
        kept++;
    }
    c->rows.count = kept;
    if (c->paths.failed) return agt__nomem(err);
    for (size_t i = 0; i < kept; i++) {
        c->rows.row[i].path = (const char *)c->paths.data + at;
        at += c->rows.row[i].path_len;
    }
    return AGT_OK;
}

static agt_status cursor_list_options(const agt_list_options *opts, agt_list_options *o,
                                      char under[AGT_MAX_PATH + 1], size_t *under_len,
                                      agt_error *err) {
    *under_len = 0;
    agt_status st = agt__options(o, sizeof *o, opts, "agt_list_options", err);
    if (st != AGT_OK) return st;
    if (o->type > AGT_TYPE_SCRATCH) return agt__fail(err, AGT_INVALID, "unknown document type");
    if (o->untracked > 2 || o->reserved)
        return agt__fail(err, AGT_INVALID, "a list option has a value that is none");
    if (o->untracked && (o->type || o->deleted || o->look))
        return agt__fail(err, AGT_INVALID,
                         "untracked files have no type and no versions; leave type, deleted and "
                         "look out");
    if (!o->under || !o->under[0]) return AGT_OK;
    size_t n = strlen(o->under);
    while (n > 1 && o->under[n - 1] == '/')
        n--;
    return agt__path_normalise(o->under, n, under, under_len, err);
}

static agt_status cursor_documents(agt_cursor *c, const agt_list_options *o, const char *under,
                                   size_t under_len, agt_error *err) {
    agt_store *s = c->store;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    if (st == AGT_OK) st = agt__catalog_rows(&s->catalog, AGT_ROWS_ALL, &c->rows, err);
    if (st == AGT_OK) st = cursor_keep(c, o, under, under_len, err);
    agt__store_leave(s);
    return st;
}

AGENT_TRACE_API agt_status agt_list(agt_store *store, const agt_list_options *opts,
                                    agt_cursor **out, agt_error *err) {
    agt_list_options o;
    char under[AGT_MAX_PATH + 1];
    size_t under_len;
    AGENT_TRACE_ASSERT(store && out);
    *out = NULL;
    agt_status st = cursor_list_options(opts, &o, under, &under_len, err);
    if (st != AGT_OK) return st;
    agt_cursor *c = cursor_new(store, o.untracked ? CURSOR_FILES : CURSOR_LIST);
    if (!c) return agt__nomem(err);
    st = o.untracked ? agt__walk(store, under, under_len, o.untracked > 1, &c->files, err)
                     : cursor_documents(c, &o, under, under_len, err);
    if (st != AGT_OK) {
        agt_cursor_close(c);
        return st;
    }
    c->look = o.look != 0;
    *out = c;
    return AGT_OK;
}

/* Is the file still as it was when it was last written or checked? A change within the clock's
 * tick hides from this; writes look at the bytes. */
static bool cursor_differs(agt_store *s, const agt_row *row) {
    agt_stat now;
    const char *leaf;
    agt_fd folder = agt__open_parent(s, row->path, row->path_len, false, &leaf);
    if (folder < 0) return row->exists;
    char name[AGT_MAX_PATH + 1];
    (void)agt__copy_text(name, sizeof name, leaf, (size_t)(row->path + row->path_len - leaf));
    int rc = s->sys->stat(s->sys->ctx, folder, name, &now);
    s->sys->close(s->sys->ctx, folder);
    if (rc < 0) return row->exists;
    if (!row->exists) return !row->untracked;
    if (row->ino && now.ino == row->ino && now.dev == row->dev && now.size == row->size &&
        now.mtime_ns == row->mtime_ns && now.ctime_ns == row->ctime_ns)
        return false;
    agt_look look;
    agt_buf bytes = agt__buf(&s->mem);
    agt_status st = agt__look(s, row->path, row->path_len, &bytes, &look, NULL);
    agt__buf_free(&bytes);
    return st != AGT_OK || !agt__look_is(&look, true, &row->blob);
}

/* The list is older than the file: where they differ, the row is asked for once more. */
static bool cursor_modified(agt_store *s, agt_row *row, const char *path) {
    agt_document d = AGT_DOCUMENT_INIT;
    if (!cursor_differs(s, row)) return false;
    if (agt_document_get(s, path, &d, NULL) != AGT_OK) return true;
    if (d.last_seq == row->last_seq) return d.modified_outside;
    if (agt__store_enter(s, NULL) != AGT_OK) return true;
    if (agt__catalog_find(&s->catalog, path, row->path_len, row)) row->path = path;
    agt__store_leave(s);
    return d.modified_outside;
}

static agt_status cursor_next_file(agt_cursor *c, agt_document *out, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    if (c->at == c->files.rows.len / sizeof(agt_file))
        return agt__fail(err, AGT_END, "no more files");
    const agt_file *f = (const agt_file *)(const void *)c->files.rows.data + c->at++;
    d.size = out->size;
    d.exists = 1;
    d.size_bytes = f->size;
    d.changed_unix_ms = f->changed_unix_ms;
    d.left_out = f->left_out;
    (void)agt__show_path(d.path, sizeof d.path, f->path, f->len);
    memcpy(out, &d, out->size < sizeof d ? out->size : sizeof d);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_list_next(agt_cursor *c, agt_document *out, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    AGENT_TRACE_ASSERT(c && out);
    agt_status st = agt__options(&d, sizeof d, out, "agt_document", err);
    if (st != AGT_OK) return st;
    if (c->kind == CURSOR_TRACE)
        return agt__fail(err, AGT_INVALID, "this cursor reads the trace; use agt_trace_next");
    if ((st = cursor_check_process(c, err)) != AGT_OK) return st;
    if (c->kind == CURSOR_FILES) return cursor_next_file(c, out, err);
    if (c->at == c->rows.count) return agt__fail(err, AGT_END, "no more documents");
    char path[AGT_MAX_PATH + 1];
    agt_row row = c->rows.row[c->at++];
    (void)agt__copy_text(path, sizeof path, row.path, row.path_len);
    row.path = path;
    bool modified = c->look && cursor_modified(c->store, &row, path);
    agt__describe(&row, modified, out);
    return AGT_OK;
}

/* ---- the trace ---- */

static agt_status cursor_copy_texts(agt_cursor *c, agt_trace_options *o, agt_error *err) {
    const char **from[4] = {&o->path, &o->actor, &o->action, &o->session};
    for (size_t i = 0; i < AGT_COUNT(from); i++) {
        if (!*from[i]) continue;
        c->sizes[i] = strlen(*from[i]) + 1;
        c->texts[i] = agt__alloc(&c->store->mem, c->sizes[i]);
        if (!c->texts[i]) return agt__nomem(err);
        memcpy(c->texts[i], *from[i], c->sizes[i]);
        *from[i] = c->texts[i];
    }
    c->filter = *o;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_trace(agt_store *store, const agt_trace_options *opts,
                                     agt_cursor **out, agt_error *err) {
    agt_trace_options o;
    AGENT_TRACE_ASSERT(store && out);
    *out = NULL;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_trace_options", err);
    if (st != AGT_OK) return st;
    if (o.type > AGT_TYPE_SCRATCH || o.newest_first > 1 || o.reserved)
        return agt__fail(err, AGT_INVALID, "a trace option has a value that is none");
    if ((st = agt__store_enter(store, err)) != AGT_OK) return st;
    agt_waiting waiting = agt__waiting(store, false);
    agt_trace_end stop = store->journal.header.trace;
    bool behind = !waiting.known && o.from_seq >= store->journal.header.next_seq;
    agt__store_leave(store);
    agt_cursor *c = cursor_new(store, CURSOR_TRACE);
    st = c ? cursor_copy_texts(c, &o, err) : agt__nomem(err);
    if (st == AGT_OK)
        st = agt__trace_reader_open(&c->reader, store->sys, store->trace_dir, &store->mem, err);
    if (st == AGT_OK && !o.newest_first && o.from_seq && !behind)
        st = agt__trace_seek(c->reader, o.from_seq, err);
    if (st != AGT_OK) {
        agt_cursor_close(c);
        return st;
    }
    c->stops = !waiting.known;
    c->stop = stop;
    c->passed = behind;
    *out = c;
    return AGT_OK;
}

static bool cursor_passes(const agt_cursor *c, const agt_event *e) {
    const agt_trace_options *f = &c->filter;
    if (f->from_seq && e->seq < f->from_seq) return false;
    if (f->since_unix_ms && e->at_unix_ms < f->since_unix_ms) return false;
    if (f->path && !agt__text_is(e->path, f->path)) return false;
    if (f->action && !agt__text_is(e->action, f->action)) return false;
    if (f->session && !agt__text_is(e->session_id, f->session)) return false;
    if (f->type && !agt__text_is(e->doc_type, agt_type_name((agt_type)f->type))) return false;
    if (!f->actor || agt__text_is(e->actor, f->actor)) return true;
    return strcmp(f->actor, "agent") == 0 && e->agent_name.data != NULL;
}

/* ---- what the trace does not hold yet ---- */

typedef struct cursor_gather {
    agt_cursor *c;
    uint64_t from, to;
} cursor_gather;

static agt_status cursor_take(void *ctx, const agt_record *r, agt_error *err) {
    cursor_gather *g = ctx;
    agt_entry e;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++)
        if (seq >= g->from && seq < g->to) agt__buf_put(&g->c->ahead, e.line, e.line_len);
    return g->c->ahead.failed ? agt__nomem(err) : AGT_OK;
}

/* Events behind `after` that are recorded and not in the trace: a read-only handle has nobody to
 * apply them, and something may keep others from it. */
static agt_status cursor_look_ahead(agt_cursor *c, uint64_t after, agt_error *err) {
    agt_store *s = c->store;
    c->ahead.len = c->ahead_at = 0;
    c->ahead.failed = false;
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    st = agt__store_look_again(s, err);
    agt_waiting w = agt__waiting(s, false);
    c->stops = !w.known;
    c->stop = s->journal.header.trace;
    cursor_gather g = {c, w.from > after ? w.from : after + 1, w.to};
    if (g.to > s->seen.next_seq) g.to = s->seen.next_seq;
    if (st == AGT_OK && g.from < g.to)
        st = agt__each_record(s, &s->journal, g.from, cursor_take, &g, err);
    agt__store_leave(s);
    return st;
}

static bool cursor_ahead(agt_cursor *c, agt_text *line) {
    const char *p = (const char *)c->ahead.data;
    if (c->ahead_at == c->ahead.len) return false;
    const char *end = memchr(p + c->ahead_at, '\n', c->ahead.len - c->ahead_at);
    size_t n = end ? (size_t)(end - p) + 1 - c->ahead_at : c->ahead.len - c->ahead_at;
    *line = (agt_text){p + c->ahead_at, n};
    c->ahead_at += n;
    return true;
}

static bool cursor_ahead_back(agt_cursor *c, agt_text *line) {
    const char *p = (const char *)c->ahead.data;
    if (!c->ahead.len) return false;
    size_t from = c->ahead.len - 1;
    while (from > 0 && p[from - 1] != '\n')
        from--;
    *line = (agt_text){p + from, c->ahead.len - from};
    c->ahead.len = from;
    return true;
}

static bool cursor_behind_stop(agt_cursor *c) {
    uint64_t segment, offset;
    if (!c->stops) return false;
    agt__trace_where(c->reader, &segment, &offset);
    return segment > c->stop.segment || (segment == c->stop.segment && offset >= c->stop.offset);
}

static agt_status cursor_line(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st = AGT_OK;
    if (c->passed && !c->stops) { /* somebody recovered the store meanwhile */
        c->passed = false;
        st = agt__trace_seek(c->reader, c->last + 1, err);
    }
    if (st == AGT_OK) st = c->passed ? AGT_END : agt__trace_line(c->reader, line, err);
    if (st != AGT_OK || !cursor_behind_stop(c)) return st;
    c->passed = true;
    return AGT_END;
}

static agt_status cursor_line_back(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st;
    do
        st = agt__trace_line_back(c->reader, line, err);
    while (st == AGT_OK && cursor_behind_stop(c));
    return st;
}

static agt_status cursor_forward(agt_cursor *c, agt_text *line, agt_error *err) {
    agt_status st = cursor_line(c, line, err);
    if (st != AGT_END || cursor_ahead(c, line)) return st == AGT_END ? AGT_OK : st;
    uint64_t after = c->filter.from_seq ? c->filter.from_seq - 1 : 0;
    st = cursor_look_ahead(c, c->last > after ? c->last : after, err);
    if (st != AGT_OK) {
        c->ahead.len = c->ahead_at = 0;
        return st;
    }
    st = cursor_line(c, line, err); /* what was applied before that look */
    if (st != AGT_END) return st;
    return cursor_ahead(c, line) ? AGT_OK : AGT_END;
}

static agt_status cursor_back(agt_cursor *c, agt_text *line, agt_error *err) {
    if (!c->ahead_asked) {
        agt_status st = cursor_look_ahead(c, 0, err);
        if (st == AGT_OK) st = agt__trace_seek_end(c->reader, err);
        c->ahead_asked = st == AGT_OK;
        if (st != AGT_OK) return st;
    }
    return cursor_ahead_back(c, line) ? AGT_OK : cursor_line_back(c, line, err);
}

AGENT_TRACE_API agt_status agt_trace_next(agt_cursor *c, agt_event *out, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    agt_text line;
    AGENT_TRACE_ASSERT(c && out);
    agt_status st = agt__options(&e, sizeof e, out, "agt_event", err);
    if (st != AGT_OK) return st;
    if (c->kind != CURSOR_TRACE)
        return agt__fail(err, AGT_INVALID, "this cursor lists documents; use agt_list_next");
    if ((st = cursor_check_process(c, err)) != AGT_OK) return st;
    for (;;) {
        if (c->filter.limit && c->given == c->filter.limit)
            return agt__fail(err, AGT_END, "no more events");
        st = c->filter.newest_first ? cursor_back(c, &line, err) : cursor_forward(c, &line, err);
        if (st == AGT_END) return agt__fail(err, AGT_END, "no more events");
        if (st != AGT_OK) return st;
        st = agt__event_parse(line.data, line.len, &c->scratch, &e, err);
        if (st != AGT_OK) {
            uint64_t segment, offset;
            agt__trace_where(c->reader, &segment, &offset);
            if (st == AGT_CORRUPT && err) err->offset = (int64_t)offset;
            return st;
        }
        if (c->last && (c->filter.newest_first ? e.seq >= c->last : e.seq <= c->last))
            continue; /* the journal had it already */
        c->last = e.seq;
        if (c->filter.newest_first && e.seq < c->filter.from_seq) {
            c->given = c->filter.limit = 1; /* nothing older is wanted */
            continue;
        }
        if (cursor_passes(c, &e)) break;
    }
    c->given++;
    e.size = out->size;
    memcpy(out, &e, out->size < sizeof e ? out->size : sizeof e);
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_trace_verify(agt_store *store, int repair, agt_trace_verdict *out,
                                            agt_error *err) {
    agt_trace_verdict v = AGT_TRACE_VERDICT_INIT;
    agt_trace_report r;
    AGENT_TRACE_ASSERT(store && out);
    memset(&r, 0, sizeof r);
    agt_status st = agt__options(&v, sizeof v, out, "agt_trace_verdict", err);
    if (st == AGT_OK) st = repair ? agt__store_lock(store, err) : agt__store_enter(store, err);
    if (st != AGT_OK) return st;
    if (!repair) agt__store_leave(store);
    if (store->trace_dir != AGT_FD_NONE)
        st = (repair ? agt__trace_repair : agt__trace_check)(store->sys, store->trace_dir,
                                                             &store->mem, store->cpu, &r, err);
    if (repair) agt__store_unlock(store);
    if (st != AGT_OK) return st;
    v.size = out->size;
    v.repaired = repair && r.torn_bytes;
    v.events = r.lines;
    v.last_seq = r.last_seq;
    v.damaged_lines = r.damaged_lines;
    v.torn_bytes = r.torn_bytes;
    v.first_bad_segment = r.first_bad_segment;
    v.first_bad_offset = r.first_bad_offset;
    memcpy(out, &v, out->size < sizeof v ? out->size : sizeof v);
    return AGT_OK;
}
/* end src/store/cursor.c */
/* floor 5: what stands on the whole store */
/* begin src/reference/old.c */
/* old: opening a store of agent-trace 0.1.0, and its memory. */
/* begin src/reference/old.h */
/* old: reading a store of agent-trace 0.1.0, which this program takes the place of.
 *
 * Its truth is spread over files: a git history (.agent-trace/repo/.git) with a message grammar,
 * manifest.toml (which documents there are), overrides.toml (grants), summary_events.jsonl (the
 * newest 500 changes, in milliseconds), rejected/. Here they become one list of commits and
 * changes, from which image.c makes events of ours.
 *
 * (1) Nothing is written, and nothing in the store is believed that could be made to lead out of
 *     it: not core.worktree, not the root's .git, no configuration, no absolute path.
 * (2) What is damaged is left out and counted; the rest is read. Only a history that cannot be
 *     found at all is a failure.
 * (3) A commit's message is believed only as far as its author's signature and its tree agree. */
#ifndef AGT_OLD_H
#define AGT_OLD_H


#define AGT_OLD_NONE SIZE_MAX

/* ---- a commit's message ---- */

typedef struct agt_old_message {
    bool plain; /* exactly the grammar; else only the summary is taken from it */
    agt_text action, summary, actor, agent, session;
    agt_text rows; /* its "file:" lines */
} agt_old_message;

typedef struct agt_old_row {
    agt_text path, action, type;
} agt_old_row;

AGT_PRIVATE void agt__old_message(agt_text message, agt_old_message *out);
/* The next "file:" row; start with *at = 0. false at the end. Only of a plain message. */
AGT_PRIVATE bool agt__old_row_next(agt_text rows, size_t *at, agt_old_row *out);

/* ---- the store ---- */

typedef struct agt_old_document {
    agt_text id, path, type, description, tags, agent;
} agt_old_document;

typedef struct agt_old_grant {
    agt_text doc, path, actor, by;
    int64_t granted_ms, expires_ms;
} agt_old_grant;

/* A line of summary_events.jsonl. */
typedef struct agt_old_event {
    int64_t at_ms;
    agt_text actor, agent, session, action, kind, path, type, summary, source, detected_by;
    int64_t added, removed;
    bool told; /* a commit tells of it */
} agt_old_event;

/* One path of a commit. */
typedef struct agt_old_change {
    agt_text path, kind, type; /* type is empty where nobody said it */
    bool listed;               /* the message has a row of it */
    bool changed, exists;      /* the tree has other bytes there: a version; false: a deletion */
    bool made;                 /* and had none before */
    agt_oid blob;
    size_t event; /* the line of summary_events.jsonl that tells of it, or AGT_OLD_NONE */
} agt_old_change;

typedef struct agt_old_commit {
    agt_oid id;
    int64_t unix_s;
    agt_text author, email, action, actor, agent, session, summary;
    size_t first, count; /* its changes */
    bool doubtful;       /* (3): the message says what it cannot say */
    bool lost;           /* its tree cannot be read */
} agt_old_commit;

/* What was found damaged, or not as it should be. */
typedef struct agt_old_damage {
    bool config, manifest, overrides, events_missing;
    uint64_t event_lines;   /* of the event log, that are none */
    uint64_t heads_skipped; /* newer commits that cannot be read */
    uint64_t trees;         /* commits whose tree cannot be read */
    bool cut;               /* the history begins at a commit whose parent cannot be read */
    uint64_t doubtful;      /* messages that were not believed */
} agt_old_damage;

typedef struct agt_old_list {
    void *data;
    size_t count, cap;
} agt_old_list;

typedef struct agt_old_chunk agt_old_chunk;

typedef struct agt_old {
    const agt_sys *sys;
    agt_mem mem;
    agt_cpu cpu;
    agt_fd at; /* borrowed: .agent-trace */
    agt_fd git_dir;
    agt_git *git;
    agt_config config;
    char created[40];
    agt_old_list documents, grants, events, commits, changes;
    agt_old_damage damage;
    agt_old_chunk *chunks;
} agt_old;

/* Is .agent-trace, open as `at`, a store of agent-trace 0.1.0? One that lost its config.toml, or
 * has a damaged one, is known by its repository, and by having no journal. */
AGT_PRIVATE agt_status agt__old_is(const agt_sys *sys, agt_fd at, const agt_mem *mem, bool *is,
                                   agt_error *err);
/* Reads all of it but the documents' bytes. AGT_CORRUPT: there is no history that can be read;
 * AGT_UNSUPPORTED: a build without git. Free in either case. */
AGT_PRIVATE agt_status agt__old_read(agt_old *o, const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                     agt_error *err);
AGT_PRIVATE void agt__old_free(agt_old *o);

/* ---- among its parts ---- */

/* A copy that lives as long as `o`, with a NUL behind; data NULL: out of memory. */
AGT_PRIVATE agt_text agt__old_keep(agt_old *o, agt_text text);
/* A place for one more item at the end, zeroed; NULL: out of memory. */
AGT_PRIVATE void *agt__old_add(agt_old *o, agt_old_list *list, size_t size);
AGT_PRIVATE void *agt__old_item(const agt_old_list *list, size_t i, size_t size);
#define AGT_OLD_ITEM(list, type, i) ((type *)agt__old_item((list), (i), sizeof(type)))

/* Writes a UUID that is always the same for this name. */
AGT_PRIVATE void agt__old_uuid(const agt_old *o, const void *name, size_t len, char out[37]);
/* config.toml, manifest.toml, overrides.toml, summary_events.jsonl. */
AGT_PRIVATE agt_status agt__old_files(agt_old *o, agt_error *err);
/* The commits, oldest first, and what each changed. */
AGT_PRIVATE agt_status agt__old_history(agt_old *o, agt_error *err);
/* Finds for each event the commit that tells of it. */
AGT_PRIVATE void agt__old_match(agt_old *o);

#endif /* AGT_OLD_H */
/* end src/reference/old.h */

#define OLD_CHUNK (64u * 1024)

/* ---- memory: everything lives as long as the store ---- */

struct agt_old_chunk {
    agt_old_chunk *next;
    size_t cap, len; /* of the bytes behind this header */
};

static agt_old_chunk *old_chunk(agt_old *o, size_t len) {
    size_t cap = len > OLD_CHUNK ? len : OLD_CHUNK;
    agt_old_chunk *c = agt__alloc(&o->mem, sizeof *c + cap);
    if (!c) return NULL;
    *c = (agt_old_chunk){o->chunks, cap, 0};
    o->chunks = c;
    return c;
}

AGT_PRIVATE agt_text agt__old_keep(agt_old *o, agt_text text) {
    agt_old_chunk *c = o->chunks;
    if (text.len >= SIZE_MAX / 2) return (agt_text){NULL, 0};
    if (!c || c->cap - c->len < text.len + 1) c = old_chunk(o, text.len + 1);
    if (!c) return (agt_text){NULL, 0};
    char *copy = (char *)(c + 1) + c->len;
    if (text.len) memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    c->len += text.len + 1;
    return (agt_text){copy, text.len};
}

AGT_PRIVATE void *agt__old_add(agt_old *o, agt_old_list *list, size_t size) {
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64, bytes;
        if (!agt__mul_size(cap, size, &bytes)) return NULL;
        void *data = agt__realloc(&o->mem, list->data, list->cap * size, bytes);
        if (!data) return NULL;
        list->data = data;
        list->cap = cap;
    }
    void *item = (char *)list->data + list->count++ * size;
    memset(item, 0, size);
    return item;
}

AGT_PRIVATE void *agt__old_item(const agt_old_list *list, size_t i, size_t size) {
    return (char *)list->data + i * size;
}

static void old_list_free(agt_old *o, agt_old_list *list, size_t size) {
    agt__free(&o->mem, list->data, list->cap * size);
    memset(list, 0, sizeof *list);
}

AGT_PRIVATE void agt__old_free(agt_old *o) {
    if (o->git) agt__git_close(o->git);
    if (o->git_dir != AGT_FD_NONE) o->sys->close(o->sys->ctx, o->git_dir);
    o->git = NULL;
    o->git_dir = AGT_FD_NONE;
    old_list_free(o, &o->documents, sizeof(agt_old_document));
    old_list_free(o, &o->grants, sizeof(agt_old_grant));
    old_list_free(o, &o->events, sizeof(agt_old_event));
    old_list_free(o, &o->commits, sizeof(agt_old_commit));
    old_list_free(o, &o->changes, sizeof(agt_old_change));
    while (o->chunks) {
        agt_old_chunk *next = o->chunks->next;
        agt__free(&o->mem, o->chunks, sizeof *o->chunks + o->chunks->cap);
        o->chunks = next;
    }
}

/* ---- is it one? ---- */

/* 1, 0 or an AGT_SYS_ERR. */
static int old_has(const agt_sys *sys, agt_fd dir, const char *name, uint32_t kind) {
    agt_stat st;
    int rc = sys->stat(sys->ctx, dir, name, &st);
    if (rc >= 0) return st.kind == kind;
    int cls = AGT_SYS_CLASS(rc);
    return cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP ? 0 : rc;
}

AGT_PRIVATE agt_status agt__old_is(const agt_sys *sys, agt_fd at, const agt_mem *mem, bool *is,
                                   agt_error *err) {
    agt_config config;
    agt_error mine;
    *is = false;
    agt_status st = agt__config_read(sys, at, mem, &config, &mine);
    if (st == AGT_IO || st == AGT_NOMEM) return agt__answer(st, &mine, err);
    if (st == AGT_OK || (st == AGT_UNSUPPORTED && config.format != 0)) return AGT_OK;
    int repo = old_has(sys, at, "repo", AGT_FILE_FOLDER);
    int journal = repo > 0 ? old_has(sys, at, "journal", AGT_FILE_REGULAR) : 0;
    if (repo < 0 || journal < 0)
        return agt__fail_io(err, repo < 0 ? repo : journal, "cannot look into .agent-trace");
    /* an upgrade that was stopped before its commit may have put a journal there */
    int upgrade = journal > 0 ? old_has(sys, at, "upgrade", AGT_FILE_FOLDER) : 0;
    *is = repo && (st == AGT_UNSUPPORTED || !journal || upgrade > 0);
    return AGT_OK;
}

/* ---- reading ---- */

/* The git folder: .agent-trace/repo/.git, or, where somebody made it so, .agent-trace/repo. */
static agt_status old_git_dir(agt_old *o, agt_error *err) {
    static const char *const places[] = {"repo/.git", "repo"};
    agt_stat st;
    for (size_t i = 0; i < AGT_COUNT(places); i++) {
        agt_fd fd = o->sys->walk(o->sys->ctx, o->at, places[i]);
        if (fd < 0) {
            int cls = AGT_SYS_CLASS(fd);
            if (cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP) continue;
            return agt__fail_io(err, fd, "cannot open .agent-trace/%s", places[i]);
        }
        if (o->sys->stat(o->sys->ctx, fd, "objects", &st) == 0 && st.kind == AGT_FILE_FOLDER) {
            o->git_dir = fd;
            return AGT_OK;
        }
        o->sys->close(o->sys->ctx, fd);
    }
    return agt__fail(err, AGT_CORRUPT,
                     "the store of agent-trace 0.1.0 has no git repository in .agent-trace/repo; "
                     "put it back from a copy, or move .agent-trace away to begin anew");
}

/* A store that has lost who it is is known by its first commit. */
static void old_identity(agt_old *o) {
    const agt_old_commit *first = AGT_OLD_ITEM(&o->commits, agt_old_commit, 0);
    if (!o->config.id[0]) agt__old_uuid(o, first->id.id, sizeof first->id.id, o->config.id);
    if (!o->config.name[0]) memcpy(o->config.name, "agent-trace-store", 18);
    if (!o->created[0]) agt__time_format(first->unix_s * 1000, o->created);
}

AGT_PRIVATE void agt__old_uuid(const agt_old *o, const void *name, size_t len, char out[37]) {
    static const unsigned char cut[5] = {8, 4, 4, 4, 12};
    unsigned char sum[32];
    char hex[32];
    size_t at = 0, to = 0;
    agt__sha256(o->cpu, name, len, sum);
    sum[6] = (unsigned char)((sum[6] & 0x0f) | 0x80); /* version 8: made of a name */
    sum[8] = (unsigned char)((sum[8] & 0x3f) | 0x80);
    agt__hex(sum, 16, hex);
    for (int i = 0; i < 5; i++) {
        memcpy(out + to, hex + at, cut[i]);
        at += cut[i];
        to += cut[i];
        out[to++] = i < 4 ? '-' : 0;
    }
}

AGT_PRIVATE agt_status agt__old_read(agt_old *o, const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                     agt_error *err) {
    memset(o, 0, sizeof *o);
    o->sys = sys;
    o->at = at;
    o->mem = *mem;
    o->cpu = agt__cpu();
    o->git_dir = AGT_FD_NONE;
    agt_status st = old_git_dir(o, err);
    if (st == AGT_OK) st = agt__git_open(&o->git, sys, o->git_dir, &o->mem, o->cpu, err);
    if (st == AGT_OK) st = agt__old_files(o, err);
    if (st == AGT_OK) st = agt__old_history(o, err);
    if (st != AGT_OK) return st;
    old_identity(o);
    agt__old_match(o);
    return st;
}
/* end src/reference/old.c */
/* begin src/reference/message.c */
/* message: the commit messages of agent-trace 0.1.0.
 *
 *     [agent-trace] <action> <type of the first file>: <its path>
 *                                                 an empty line
 *     summary: <one line>
 *     actor: user, system or agent:<name>
 *     agent: <name>                               maybe
 *     session: <id>                               maybe
 *     file:<TAB><path><TAB><action><TAB><type>    one a file
 *
 * Its writer escaped nothing, so a file name or a replaced text with line breaks in it could add
 * lines that say somebody else did it. What such a text adds breaks the order of the lines or makes
 * one stand twice: a message that is not exactly this is not plain, and nothing but the beginning
 * of its summary is taken from it. */

#define MESSAGE_TAG "[agent-trace] "

/* The next line without its end; false at the end of the text. */
static bool message_line(agt_text text, size_t *at, agt_text *line) {
    if (*at >= text.len) return false;
    const char *p = text.data + *at, *end = memchr(p, '\n', text.len - *at);
    line->data = p;
    line->len = end ? (size_t)(end - p) : text.len - *at;
    *at += line->len + (end != NULL);
    return true;
}

/* Is the line "<label><rest>"? */
static bool message_label(agt_text line, const char *label, agt_text *rest) {
    size_t n = strlen(label);
    if (line.len < n || memcmp(line.data, label, n) != 0) return false;
    *rest = (agt_text){line.data + n, line.len - n};
    return true;
}

static agt_text message_word(agt_text word, const char *const *known, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (agt__text_is(word, known[i])) return word;
    return agt__text("");
}

static agt_text message_action(agt_text word) {
    static const char *const known[] = {"create",  "modify",    "delete", "rename",
                                        "restore", "violation", "init",   "unknown"};
    return message_word(word, known, AGT_COUNT(known));
}

static bool message_row(agt_text line, agt_old_row *out) {
    static const char *const types[] = {"plan", "context", "log", "reference", "scratch"};
    agt_text rest;
    if (!message_label(line, "file:\t", &rest)) return false;
    const char *end = rest.data + rest.len, *one = memchr(rest.data, '\t', rest.len);
    const char *two = one ? memchr(one + 1, '\t', (size_t)(end - one - 1)) : NULL;
    if (!two || one == rest.data || memchr(two + 1, '\t', (size_t)(end - two - 1))) return false;
    out->path = (agt_text){rest.data, (size_t)(one - rest.data)};
    out->action = message_action((agt_text){one + 1, (size_t)(two - one - 1)});
    out->type = message_word((agt_text){two + 1, (size_t)(end - two - 1)}, types, AGT_COUNT(types));
    return out->action.len && out->type.len;
}

AGT_PRIVATE bool agt__old_row_next(agt_text rows, size_t *at, agt_old_row *out) {
    agt_text line;
    return message_line(rows, at, &line) && message_row(line, out);
}

/* The lines behind the empty one, in their order; true if there is nothing else. */
static bool message_body(agt_text text, size_t at, agt_old_message *out) {
    agt_text line;
    agt_old_row row;
    bool more = message_line(text, &at, &line);
    if (!more || !message_label(line, "summary: ", &out->summary)) return false;
    more = message_line(text, &at, &line);
    if (!more || !message_label(line, "actor: ", &out->actor)) return false;
    size_t begin = at;
    more = message_line(text, &at, &line);
    if (more && message_label(line, "agent: ", &out->agent)) {
        begin = at;
        more = message_line(text, &at, &line);
    }
    if (more && message_label(line, "session: ", &out->session)) {
        begin = at;
        more = message_line(text, &at, &line);
    }
    out->rows = (agt_text){text.data + begin, text.len - begin};
    for (; more; more = message_line(text, &at, &line))
        if (!message_row(line, &row)) return false;
    return true;
}

/* The subject names the first row. */
static bool message_subject(agt_text rest, const agt_old_message *m) {
    agt_old_row row;
    size_t at = 0, n = m->action.len;
    if (!agt__old_row_next(m->rows, &at, &row)) return rest.len == n;
    size_t want = n + 1 + row.type.len + 2 + row.path.len;
    const char *p = rest.data + n;
    return rest.len == want && p[0] == ' ' && memcmp(p + 1, row.type.data, row.type.len) == 0 &&
           memcmp(p + 1 + row.type.len, ": ", 2) == 0 &&
           memcmp(p + 3 + row.type.len, row.path.data, row.path.len) == 0;
}

/* The first line that begins with "summary: ", or nothing. */
static agt_text message_summary(agt_text text) {
    agt_text line, rest;
    for (size_t at = 0; message_line(text, &at, &line);)
        if (message_label(line, "summary: ", &rest)) return rest;
    return agt__text("");
}

AGT_PRIVATE void agt__old_message(agt_text message, agt_old_message *out) {
    agt_text line, rest, empty;
    size_t at = 0, n = 0;
    memset(out, 0, sizeof *out);
    while (message.len && message.data[message.len - 1] == '\n')
        message.len--;
    if (!message_line(message, &at, &line) || !message_label(line, MESSAGE_TAG, &rest)) {
        out->action = agt__text("unknown");
        out->summary = message;
        return;
    }
    while (n < rest.len && rest.data[n] != ' ')
        n++;
    out->action = message_action((agt_text){rest.data, n});
    bool known = out->action.len > 0;
    out->plain = known && message_line(message, &at, &empty) && !empty.len &&
                 message_body(message, at, out) && message_subject(rest, out);
    if (!known) out->action = agt__text("unknown");
    if (out->plain) return;
    out->actor = out->agent = out->session = out->rows = (agt_text){NULL, 0};
    out->summary = message_summary(message);
}
/* end src/reference/message.c */
/* begin src/reference/files.c */
/* files: the small files beside the repository of a store of agent-trace 0.1.0.
 *
 * (1) A file that is missing or damaged says nothing; what stands in front of the damage counts.
 *     The manifest's documents are then found in the history instead.
 * (2) Its writer puts strings with both kinds of quotes in three quotes: they are unwrapped here,
 *     because our own files never have such. */

#define FILES_TOML   (64u * 1024 * 1024)
#define FILES_EVENTS (256u * 1024 * 1024)

/* ---- TOML strings in three quotes ---- */

static agt_status files_unwrapped(agt_text table, agt_text key, const agt_toml_value *v,
                                  agt_error *err, void *ctx) {
    agt_buf *out = ctx;
    (void)table, (void)key, (void)err;
    if (v->kind != AGT_TOML_STRING) return AGT_INVALID;
    out->len = 0;
    agt__buf_put(out, v->text.data, v->text.len);
    return AGT_OK;
}

/* Appends the inside of a string in three double quotes as a line that one quote can hold. */
static void files_flatten(agt_buf *b, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\' && i + 1 < n && strchr("\r\n \t", s[i + 1])) {
            while (i + 1 < n && strchr("\r\n \t", s[i + 1]))
                i++; /* a backslash at the end of a line takes the white space behind it */
        } else if (s[i] == '\\' && i + 1 < n) {
            agt__buf_put(b, s + i++, 2);
        } else if (s[i] == '"') {
            agt__buf_text(b, "\\\"");
        } else if (s[i] == '\n') {
            agt__buf_text(b, "\\n");
        } else if (s[i] == '\r') {
            agt__buf_text(b, "\\r");
        } else {
            agt__buf_byte(b, (unsigned char)s[i]);
        }
    }
}

/* (2) False: it is no such string, or there is no memory. */
static bool files_unwrap(const agt_mem *mem, agt_text raw, agt_buf *out) {
    const char *s = raw.data;
    size_t n = raw.len;
    if (n < 6 || (s[0] != '"' && s[0] != '\'') || s[1] != s[0] || s[2] != s[0]) return false;
    char quote = s[0];
    s += 3;
    n -= 6;
    if (n && s[0] == '\r') s++, n--;
    if (n && s[0] == '\n') s++, n--;
    out->len = 0;
    if (quote == '\'') {
        agt__buf_put(out, s, n);
        return !out->failed;
    }
    agt_buf line = agt__buf(mem);
    agt__buf_text(&line, "v = \"");
    files_flatten(&line, s, n);
    agt__buf_byte(&line, '"');
    bool good = !line.failed && agt__toml_read((const char *)line.data, line.len, files_unwrapped,
                                               out, NULL) == AGT_OK;
    agt__buf_free(&line);
    return good && !out->failed;
}

typedef struct files_reader {
    agt_old *o;
    agt_buf text;
    bool nomem;
} files_reader;

/* Keeps a value's text; data NULL where it is none. */
static agt_text files_text(files_reader *r, const agt_toml_value *v) {
    agt_text text = v->text, kept = {NULL, 0};
    if (v->kind == AGT_TOML_OTHER) {
        if (!files_unwrap(&r->o->mem, v->text, &r->text)) return kept;
        text = (agt_text){(const char *)r->text.data, r->text.len};
    } else if (v->kind != AGT_TOML_STRING) {
        return kept;
    }
    kept = agt__old_keep(r->o, text);
    if (!kept.data) r->nomem = true;
    return kept;
}

/* Reads one of the files with `each`. *damaged: it is not there, empty, or not TOML to its end. */
static agt_status files_toml(agt_old *o, const char *name, agt_toml_fn each, bool *damaged,
                             agt_error *err) {
    files_reader r = {o, agt__buf(&o->mem), false};
    agt_buf bytes = agt__buf(&o->mem);
    agt_error mine;
    agt_status st = agt__read_file(o->sys, o->at, name, FILES_TOML, &bytes, &mine);
    *damaged = st != AGT_OK || bytes.len == 0;
    if (st == AGT_OK) {
        st = agt__toml_read((const char *)bytes.data, bytes.len, each, &r, &mine);
        if (st != AGT_OK) *damaged = true;
        if (r.nomem) st = agt__nomem(&mine);
    }
    agt__buf_free(&r.text);
    agt__buf_free(&bytes);
    return st == AGT_NOMEM || st == AGT_IO ? agt__answer(st, &mine, err) : AGT_OK;
}

/* ---- config.toml and the manifest ---- */

static void files_store(files_reader *r, agt_text key, const agt_toml_value *v) {
    agt_config *c = &r->o->config;
    if (v->kind != AGT_TOML_STRING) return;
    if (agt__text_is(key, "id") && v->text.len == 36 && !c->id[0])
        (void)agt__copy_text(c->id, sizeof c->id, v->text.data, v->text.len);
    if (agt__text_is(key, "name") && !c->name[0])
        (void)agt__copy_text(c->name, sizeof c->name, v->text.data, v->text.len);
    if (agt__text_is(key, "created") && !r->o->created[0])
        (void)agt__copy_text(r->o->created, sizeof r->o->created, v->text.data, v->text.len);
}

static agt_status files_config(agt_text table, agt_text key, const agt_toml_value *v,
                               agt_error *err, void *ctx) {
    files_reader *r = ctx;
    (void)err;
    if (agt__text_is(table, "store")) files_store(r, key, v);
    if (!agt__text_is(table, "polling")) return AGT_OK;
    if (agt__text_is(key, "interval_ms") && v->kind == AGT_TOML_INTEGER && v->integer > 0)
        r->o->config.interval_ms = v->integer;
    if (agt__text_is(key, "enabled") && v->kind == AGT_TOML_BOOLEAN)
        r->o->config.polling = v->boolean;
    return AGT_OK;
}

static agt_status files_manifest(agt_text table, agt_text key, const agt_toml_value *v,
                                 agt_error *err, void *ctx) {
    files_reader *r = ctx;
    agt_old_list *all = &r->o->documents;
    if (agt__text_is(table, "store")) files_store(r, key, v); /* where config.toml has lost it */
    if (!agt__text_is(table, "document")) return AGT_OK;
    if (!key.len) {
        if (!agt__old_add(r->o, all, sizeof(agt_old_document))) return agt__nomem(err);
        return AGT_OK;
    }
    if (!all->count) return AGT_OK;
    agt_old_document *d = AGT_OLD_ITEM(all, agt_old_document, all->count - 1);
    if (agt__text_is(key, "tags")) {
        d->tags = agt__old_keep(r->o, v->text);
        return d->tags.data ? AGT_OK : agt__nomem(err);
    }
    agt_text text = files_text(r, v);
    if (r->nomem) return agt__nomem(err);
    if (agt__text_is(key, "id")) d->id = text;
    if (agt__text_is(key, "path")) d->path = text;
    if (agt__text_is(key, "doc_type")) d->type = text;
    if (agt__text_is(key, "description")) d->description = text;
    if (agt__text_is(key, "agent_name")) d->agent = text;
    return AGT_OK;
}

static bool files_document_good(const agt_old_document *d) {
    char type[16];
    return d->path.len && agt__copy_text(type, sizeof type, d->type.data, d->type.len) &&
           agt_type_from_name(type) != AGT_TYPE_DEFAULT;
}

/* Rows that the damage cut off in the middle say nothing. */
static void files_drop_torn(agt_old *o) {
    size_t kept = 0;
    for (size_t i = 0; i < o->documents.count; i++) {
        agt_old_document *d = AGT_OLD_ITEM(&o->documents, agt_old_document, i);
        if (!files_document_good(d))
            o->damage.manifest = true;
        else
            *AGT_OLD_ITEM(&o->documents, agt_old_document, kept++) = *d;
    }
    o->documents.count = kept;
}

/* ---- overrides.toml ---- */

static agt_status files_grant(agt_text table, agt_text key, const agt_toml_value *v, agt_error *err,
                              void *ctx) {
    files_reader *r = ctx;
    agt_old_list *all = &r->o->grants;
    if (!agt__text_is(table, "override")) return AGT_OK;
    if (!key.len) {
        if (!agt__old_add(r->o, all, sizeof(agt_old_grant))) return agt__nomem(err);
        return AGT_OK;
    }
    if (!all->count) return AGT_OK;
    agt_old_grant *g = AGT_OLD_ITEM(all, agt_old_grant, all->count - 1);
    agt_text text = files_text(r, v);
    if (r->nomem) return agt__nomem(err);
    if (agt__text_is(key, "doc_id")) g->doc = text;
    if (agt__text_is(key, "path")) g->path = text;
    if (agt__text_is(key, "allow_actor")) g->actor = text;
    if (agt__text_is(key, "granted_by")) g->by = text;
    if (text.data && agt__text_is(key, "granted_at"))
        (void)agt__time_parse(text.data, text.len, &g->granted_ms);
    if (text.data && agt__text_is(key, "expires_at"))
        (void)agt__time_parse(text.data, text.len, &g->expires_ms);
    return AGT_OK;
}

/* A grant that is torn gives no right. */
static void files_drop_grants(agt_old *o) {
    size_t kept = 0;
    for (size_t i = 0; i < o->grants.count; i++) {
        agt_old_grant *g = AGT_OLD_ITEM(&o->grants, agt_old_grant, i);
        if (g->path.len && g->actor.len && g->expires_ms && g->granted_ms)
            *AGT_OLD_ITEM(&o->grants, agt_old_grant, kept++) = *g;
        else
            o->damage.overrides = true;
    }
    o->grants.count = kept;
}

static agt_status files_overrides(agt_old *o, agt_error *err) {
    agt_stat st;
    if (o->sys->stat(o->sys->ctx, o->at, "overrides.toml", &st) < 0) return AGT_OK; /* none given */
    agt_status status = files_toml(o, "overrides.toml", files_grant, &o->damage.overrides, err);
    files_drop_grants(o);
    return status;
}

/* ---- summary_events.jsonl ---- */

static bool files_member(agt_old *o, const agt_json *object, const char *name, agt_text *out,
                         bool *nomem) {
    agt_json v;
    char small[512];
    *out = (agt_text){NULL, 0};
    if (!agt__json_get(object, name, &v) || v.kind == AGT_JSON_NULL) return true;
    if (v.kind != AGT_JSON_STRING) return false;
    if (!v.escaped) {
        *out = agt__old_keep(o, (agt_text){v.raw + 1, v.len - 2});
    } else if (v.len <= sizeof small) {
        *out = agt__old_keep(o, (agt_text){small, agt__json_unescape(&v, small)});
    } else {
        char *room = agt__alloc(&o->mem, v.len);
        if (room) *out = agt__old_keep(o, (agt_text){room, agt__json_unescape(&v, room)});
        agt__free(&o->mem, room, v.len);
    }
    if (!out->data) *nomem = true;
    return out->data != NULL;
}

/* False: the line is no event. */
static bool files_event(agt_old *o, const char *line, size_t n, agt_old_event *e, bool *nomem) {
    agt_json root, v;
    agt_text when;
    memset(e, 0, sizeof *e);
    if (agt__json_parse(line, n, &root, NULL) != AGT_OK || root.kind != AGT_JSON_OBJECT)
        return false;
    const struct {
        const char *name;
        agt_text *to;
    } members[] = {
        {"session_id", &e->session},      {"agent_name", &e->agent}, {"actor", &e->actor},
        {"action", &e->action},           {"change_kind", &e->kind}, {"path", &e->path},
        {"doc_type", &e->type},           {"summary", &e->summary},  {"source", &e->source},
        {"detected_by", &e->detected_by}, {"timestamp", &when}};
    for (size_t i = 0; i < AGT_COUNT(members); i++)
        if (!files_member(o, &root, members[i].name, members[i].to, nomem)) return false;
    if (agt__json_get(&root, "lines_added", &v)) (void)agt__json_i64(&v, &e->added);
    if (agt__json_get(&root, "lines_removed", &v)) (void)agt__json_i64(&v, &e->removed);
    return e->actor.len && e->action.len && when.data &&
           agt__time_parse(when.data, when.len, &e->at_ms);
}

static agt_status files_events(agt_old *o, agt_error *err) {
    agt_buf bytes = agt__buf(&o->mem);
    agt_error mine;
    bool nomem = false;
    agt_status st =
        agt__read_file(o->sys, o->at, "summary_events.jsonl", FILES_EVENTS, &bytes, &mine);
    o->damage.events_missing = st == AGT_NOT_FOUND;
    const char *p = (const char *)bytes.data, *end = p ? p + bytes.len : p, *line_end;
    for (; st == AGT_OK && p && p < end && !nomem; p = line_end + 1) {
        agt_old_event e;
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        if (line_end == p) continue;
        if (!files_event(o, p, (size_t)(line_end - p), &e, &nomem)) {
            o->damage.event_lines++;
            continue;
        }
        agt_old_event *kept = agt__old_add(o, &o->events, sizeof e);
        if (kept)
            *kept = e;
        else
            nomem = true;
    }
    agt__buf_free(&bytes);
    if (nomem) return agt__nomem(err);
    return st == AGT_NOMEM || st == AGT_IO ? agt__answer(st, &mine, err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__old_files(agt_old *o, agt_error *err) {
    o->config.interval_ms = 1000;
    o->config.polling = true;
    agt_status st = files_toml(o, "config.toml", files_config, &o->damage.config, err);
    if (st == AGT_OK) st = files_toml(o, "manifest.toml", files_manifest, &o->damage.manifest, err);
    if (st != AGT_OK) return st;
    files_drop_torn(o);
    st = files_overrides(o, err);
    return st == AGT_OK ? files_events(o, err) : st;
}
/* end src/reference/files.c */
/* begin src/reference/chain.c */
/* chain: the commits of a store of agent-trace 0.1.0, and what each changed.
 *
 * (1) The history is the chain of first parents behind HEAD. Where HEAD or its commit cannot be
 *     read (a power cut empties files that were not synced), the reflog names the one before.
 * (2) A version is a commit whose tree has other bytes at a path than its parent's. The message's
 *     rows say what was meant by it, and in which order.
 * (3) Who did it is what the author's signature says: it is made of the actor, and no text that
 *     stands in the message can reach it. */

#define HISTORY_NEAR_MS (10 * 60 * 1000)

/* ---- the chain of commits ---- */

static agt_status chain_commit_add(agt_old *o, const agt_oid *id, agt_error *err) {
    agt_old_commit *c = agt__old_add(o, &o->commits, sizeof *c);
    if (!c) return agt__nomem(err);
    c->id = *id;
    return AGT_OK;
}

static void chain_turn(agt_old *o) {
    for (size_t i = 0, j = o->commits.count; i + 1 < j; i++) {
        agt_old_commit *a = AGT_OLD_ITEM(&o->commits, agt_old_commit, i);
        agt_old_commit *b = AGT_OLD_ITEM(&o->commits, agt_old_commit, --j), swap = *a;
        *a = *b;
        *b = swap;
    }
}

/* The newest commit that can be read (1). */
static agt_status chain_head(agt_old *o, agt_buf *bytes, agt_oid *head, agt_error *err) {
    agt_buf ids = agt__buf(&o->mem);
    agt_git_past past;
    agt_oid tried;
    agt_error mine;
    bool found = false;
    memset(&tried, 0, sizeof tried);
    agt_status st = agt__git_past_heads(o->git, &ids, err);
    for (size_t at = 0; st == AGT_OK && !found && at < ids.len; at += 20) {
        memcpy(head->id, ids.data + at, 20);
        if (memcmp(head, &tried, sizeof tried) == 0) continue; /* HEAD and its log name the same */
        tried = *head;
        agt_status got = agt__git_past_commit(o->git, head, bytes, &past, &mine);
        found = got == AGT_OK;
        if (!found) o->damage.heads_skipped++;
        if (got == AGT_NOMEM || got == AGT_IO) st = agt__answer(got, &mine, err);
    }
    agt__buf_free(&ids);
    if (st == AGT_OK && !found)
        st = agt__fail(err, AGT_CORRUPT,
                       "the store of agent-trace 0.1.0 has no commit that can be read in "
                       ".agent-trace/repo; put the folder back from a copy");
    return st;
}

/* All ids, the newest first. */
static agt_status chain_chain(agt_old *o, agt_buf *bytes, agt_error *err) {
    agt_oid id = {{0}};
    agt_git_past past;
    agt_error mine;
    agt_status st = chain_head(o, bytes, &id, err);
    while (st == AGT_OK) {
        agt_status got = agt__git_past_commit(o->git, &id, bytes, &past, &mine);
        if (got == AGT_NOMEM || got == AGT_IO) return agt__answer(got, &mine, err);
        if (got != AGT_OK) {
            o->damage.cut = true;
            return AGT_OK;
        }
        st = chain_commit_add(o, &id, err);
        if (!past.has_parent) return st;
        id = past.parent;
    }
    return st;
}

/* ---- who, and why ---- */

/* (3) The actor that the signature is made of; data NULL: somebody else's commit. */
static agt_text chain_signer(agt_old *o, const agt_git_past *past) {
    char actor[512] = "agent:";
    if (agt__text_is(past->email, "user@agent-trace")) return agt__text("user");
    if (agt__text_is(past->email, "system@agent-trace")) return agt__text("system");
    if (!agt__text_is(past->email, "agent@agent-trace") || past->author.len < 7 ||
        memcmp(past->author.data, "Agent: ", 7) != 0)
        return (agt_text){NULL, 0};
    if (!agt__copy_text(actor + 6, sizeof actor - 6, past->author.data + 7, past->author.len - 7))
        return (agt_text){NULL, 0};
    return agt__old_keep(o, agt__text(actor));
}

static agt_text chain_keep(agt_old *o, agt_text text, bool *nomem) {
    if (!text.data) return text;
    agt_text kept = agt__old_keep(o, text);
    if (!kept.data) *nomem = true;
    return kept;
}

/* Fills what the message says, as far as it is believed; *rows is what is left to be looked at. */
static bool chain_told(agt_old *o, agt_old_commit *c, const agt_git_past *past, agt_text *rows) {
    agt_old_message m;
    bool nomem = false;
    agt__old_message(past->message, &m);
    agt_text signer = chain_signer(o, past);
    bool agrees = m.plain && (!signer.data || agt__text_eq(signer, m.actor));
    bool tagged = past->message.len > 13 && memcmp(past->message.data, "[agent-trace]", 13) == 0;
    *rows = agrees ? m.rows : agt__text("");
    c->doubtful = tagged && !agrees;
    o->damage.doubtful += c->doubtful;
    c->unix_s = past->unix_s;
    c->author = chain_keep(o, past->author, &nomem);
    c->email = chain_keep(o, past->email, &nomem);
    c->action = chain_keep(o, m.action, &nomem);
    c->summary = chain_keep(o, m.summary, &nomem);
    c->actor = signer.data ? signer : chain_keep(o, agrees ? m.actor : agt__text("user"), &nomem);
    if (agrees) c->agent = chain_keep(o, m.agent, &nomem);
    if (agrees) c->session = chain_keep(o, m.session, &nomem);
    bool named = c->actor.len > 6 && memcmp(c->actor.data, "agent:", 6) == 0;
    if (!agrees && named) c->agent = (agt_text){c->actor.data + 6, c->actor.len - 6};
    return !nomem;
}

/* ---- what it changed ---- */

static agt_old_change *chain_change(agt_old *o, agt_old_commit *c, agt_text path) {
    agt_old_change *change = agt__old_add(o, &o->changes, sizeof *change);
    if (!change) return NULL;
    c->count++;
    change->path = agt__old_keep(o, path);
    change->event = AGT_OLD_NONE;
    return change->path.data ? change : NULL;
}

typedef struct chain_tree {
    agt_old *o;
    agt_old_commit *c;
    size_t listed; /* changes that the rows gave */
    bool hostile;  /* a path has a line break or a tab in it */
} chain_tree;

static bool chain_breaks(agt_text path) {
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.data[i] < 0x20) return true;
    return false;
}

/* A file that differs (2): the row that names it, or one more. */
static agt_status chain_differs(void *ctx, agt_text path, const agt_oid *from, const agt_oid *to,
                                agt_error *err) {
    chain_tree *t = ctx;
    agt_old_change *change = NULL;
    if (chain_breaks(path)) t->hostile = true;
    for (size_t i = 0; i < t->listed && !change; i++) {
        agt_old_change *row = AGT_OLD_ITEM(&t->o->changes, agt_old_change, t->c->first + i);
        if (agt__text_eq(row->path, path)) change = row;
    }
    if (!change && !(change = chain_change(t->o, t->c, path))) return agt__nomem(err);
    if (!change->listed) change->kind = agt__text(!from ? "create" : to ? "modify" : "delete");
    change->changed = true;
    change->exists = to != NULL;
    change->made = !from;
    if (to) change->blob = *to;
    return AGT_OK;
}

static agt_status chain_rows(agt_old *o, agt_old_commit *c, agt_text rows, agt_error *err) {
    agt_old_row row;
    bool nomem = false;
    c->first = o->changes.count;
    for (size_t at = 0; agt__old_row_next(rows, &at, &row);) {
        bool twice = false;
        for (size_t i = 0; i < c->count && !twice; i++)
            twice = agt__text_eq(AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i)->path,
                                 row.path);
        if (twice) continue;
        agt_old_change *change = chain_change(o, c, row.path);
        if (!change) return agt__nomem(err);
        change->listed = true;
        change->kind = chain_keep(o, row.action, &nomem);
        change->type = chain_keep(o, row.type, &nomem);
        if (nomem) return agt__nomem(err);
    }
    return AGT_OK;
}

/* Beside a name that can forge rows only those count that the tree bears out. */
static void chain_drop_forged(agt_old *o, agt_old_commit *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        agt_old_change *change = AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i);
        if (!change->changed) continue;
        if (change->listed) change->type = agt__text("");
        change->kind = agt__text(change->made ? "create" : change->exists ? "modify" : "delete");
        *AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + kept++) = *change;
    }
    o->changes.count = c->first + kept;
    c->count = kept;
    if (!c->doubtful) o->damage.doubtful++;
    c->doubtful = true;
}

/* A tree that cannot be read makes no version; the next one is compared with the last that can. */
static agt_status chain_one(agt_old *o, agt_old_commit *c, agt_buf *bytes, agt_oid *tree,
                            bool *has_tree, agt_error *err) {
    agt_git_past past;
    agt_text rows;
    agt_error mine;
    agt_status st = agt__git_past_commit(o->git, &c->id, bytes, &past, err);
    if (st != AGT_OK) return st;
    if (!chain_told(o, c, &past, &rows)) return agt__nomem(err);
    if ((st = chain_rows(o, c, rows, err)) != AGT_OK) return st;
    chain_tree t = {o, c, c->count, false};
    size_t before = o->changes.count;
    st = agt__git_past_changes(o->git, *has_tree ? tree : NULL, &past.tree, chain_differs, &t,
                               &mine);
    if (st == AGT_NOT_FOUND || st == AGT_CORRUPT || st == AGT_LIMIT) {
        o->changes.count = before;
        c->count = t.listed;
        for (size_t i = 0; i < c->count; i++)
            AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i)->changed = false;
        c->lost = true;
        o->damage.trees++;
        return AGT_OK;
    }
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    if (t.hostile && c->count) chain_drop_forged(o, c);
    *tree = past.tree;
    *has_tree = true;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__old_history(agt_old *o, agt_error *err) {
    agt_buf bytes = agt__buf(&o->mem);
    agt_oid tree;
    bool has_tree = false;
    agt_status st = chain_chain(o, &bytes, err);
    chain_turn(o);
    for (size_t i = 0; st == AGT_OK && i < o->commits.count; i++)
        st = chain_one(o, AGT_OLD_ITEM(&o->commits, agt_old_commit, i), &bytes, &tree, &has_tree,
                       err);
    agt__buf_free(&bytes);
    return st;
}

/* ---- events to commits ---- */

/* How a commit came to be, by the words of its summary; an event says the same as detected_by. */
static const char *chain_source(agt_text summary) {
    static const char poll[] = " file(s)", cli[] = "agent write: ", mcp[] = "mcp write: ";
    if (summary.len > sizeof cli && memcmp(summary.data, cli, sizeof cli - 1) == 0) return "cli";
    if (summary.len > sizeof mcp && memcmp(summary.data, mcp, sizeof mcp - 1) == 0) return "mcp";
    size_t n = sizeof poll - 1;
    if (summary.len > n && memcmp(summary.data + summary.len - n, poll, n) == 0) return "poll";
    return NULL;
}

static bool chain_tells(const agt_old_commit *c, const agt_old_change *change,
                        const agt_old_event *e) {
    const char *source = chain_source(c->summary);
    return change->event == AGT_OLD_NONE && agt__text_eq(change->path, e->path) &&
           agt__text_eq(change->kind, e->kind.len ? e->kind : e->action) &&
           agt__text_eq(c->actor, e->actor) && source && agt__text_is(e->detected_by, source);
}

/* The newest commit before the event that tells of it. Events are asked for from the newest back,
 * so that of two writes within one second each finds its own. */
AGT_PRIVATE void agt__old_match(agt_old *o) {
    for (size_t n = o->events.count; n-- > 0;) {
        agt_old_event *e = AGT_OLD_ITEM(&o->events, agt_old_event, n);
        for (size_t i = o->commits.count; i-- > 0 && !e->told;) {
            agt_old_commit *c = AGT_OLD_ITEM(&o->commits, agt_old_commit, i);
            if (c->unix_s * 1000 > e->at_ms) continue;
            if (e->at_ms - c->unix_s * 1000 > HISTORY_NEAR_MS) break;
            for (size_t k = 0; k < c->count && !e->told; k++) {
                agt_old_change *change = AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + k);
                if (!chain_tells(c, change, e)) continue;
                change->event = n;
                e->told = true;
            }
        }
    }
}
/* end src/reference/chain.c */
/* begin src/reference/image.c */
/* image: commits and lines of agent-trace 0.1.0 become events of ours; see image.h. */
/* begin src/reference/image.h */
/* image: a store of agent-trace 0.1.0 as a store of ours: the trace, the catalog, the journal's
 * header and config.toml, made in memory from what old.h read. Reading in place looks at it through
 * a veil (veil.c); upgrading writes it to the disk.
 *
 * (1) The same store makes the same image: nothing in it is random or from the clock, so events
 *     have the same seq and bytes each time.
 * (2) A commit becomes one record, with an event for each path: a version where the tree changed,
 *     else a version of 0. Lines of the event log that no commit tells, and grants, are records of
 *     their own, at their time.
 * (3) Nothing is invented: where the old store does not say it, a member is null or 0, and where
 *     only the history says it, `source` is AGT_IMAGE_SOURCE. */
#ifndef AGT_IMAGE_H
#define AGT_IMAGE_H


#define AGT_IMAGE_SOURCE "v0_1_0"

typedef struct agt_image_record {
    uint64_t first_seq;
    uint32_t entries;
    int64_t recorded_ms;
    size_t at, len; /* its lines */
} agt_image_record;

typedef struct agt_image_segment {
    uint64_t first_seq;
    size_t at; /* in the lines */
} agt_image_segment;

/* A path that a store of ours cannot hold, and what it is called instead. */
typedef struct agt_image_name {
    agt_text old, now;
} agt_image_name;

/* Bytes of a refused write, by their name in rejected/. */
typedef struct agt_image_refused {
    char name[65];
    agt_buf bytes;
} agt_image_refused;

typedef struct agt_image {
    agt_old *old;
    agt_buf lines, scratch, was, now; /* the last two: a version before and after a change */
    agt_old_list records, segments, names, refused; /* of the types above */
    agt_catalog catalog;
    uint64_t next_seq;
    unsigned char prev[32];
    char replica[17];
    uint64_t blobs_lost; /* versions whose bytes cannot be read */
    uint64_t versions;
    uint64_t grants_dropped; /* longer than a grant may be, or for nobody */
} agt_image;

/* Makes it; free in either case. `old` must live as long. */
AGT_PRIVATE agt_status agt__image_make(agt_image *m, agt_old *old, agt_error *err);
AGT_PRIVATE void agt__image_free(agt_image *m);

/* ---- among its parts ---- */

/* The path as a store of ours may hold it: itself, or a name made of it. data NULL: no memory. */
AGT_PRIVATE agt_text agt__image_path(agt_image *m, agt_text path);
/* What the path was in the old store. */
AGT_PRIVATE agt_text agt__image_was(const agt_image *m, agt_text path);
/* The refused bytes of a violation, as far as they can be found: a file in rejected/ of that name
 * and time, unless it holds what the document held (agent-trace 0.1.0 put the document back before
 * it kept what it had refused). An empty name: none. */
AGT_PRIVATE agt_status agt__image_refused(agt_image *m, agt_text path, int64_t unix_s,
                                          const agt_oid *held, char name[65], agt_error *err);
#endif /* AGT_IMAGE_H */
/* end src/reference/image.h */

#define IMAGE_SUMMARY_MAX AGT_MAX_SUMMARY

/* ---- texts that our events may have ---- */

/* One line of valid text of at most `max` bytes; what is no text becomes a blank or a '?'. */
static agt_text image_line(agt_image *m, agt_text text, size_t max) {
    agt_text none = {NULL, 0};
    if (!text.data) return none;
    agt_buf *b = &m->scratch;
    size_t step;
    b->len = 0;
    for (size_t i = 0; i < text.len; i += step) {
        unsigned char c = (unsigned char)text.data[i];
        step = agt__utf8_char(text.data + i, text.len - i);
        if (b->len + (step ? step : 1) > max) break;
        if (step == 0)
            agt__buf_byte(b, '?'), step = 1;
        else if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text.data[i + 1] < 0xa0))
            agt__buf_byte(b, ' ');
        else
            agt__buf_put(b, text.data + i, step);
    }
    if (b->failed) return none;
    return agt__old_keep(m->old, (agt_text){(const char *)b->data, b->len});
}

/* An agent's name as our rules allow it: 0.1.0 took any. */
static agt_text image_agent(agt_image *m, agt_text name) {
    char actor[AGT_MAX_NAME + 8] = "agent:";
    if (!name.data) return name;
    agt_text line = image_line(m, name, AGT_MAX_NAME);
    if (!line.data) return line;
    if (!line.len) return agt__text("unnamed");
    memcpy(actor + 6, line.data, line.len);
    for (size_t i = 6; i < line.len + 6; i++)
        if (strchr("<>/\\:\"", actor[i])) actor[i] = '_';
    if (!agt__actor_valid(actor, line.len + 6)) actor[6] = actor[line.len + 5] = '_';
    return agt__old_keep(m->old, (agt_text){actor + 6, line.len});
}

static agt_text image_actor(agt_image *m, agt_text actor) {
    char text[AGT_MAX_NAME + 8] = "agent:";
    if (agt__actor_valid(actor.data, actor.len)) return actor;
    if (actor.len < 6 || memcmp(actor.data, "agent:", 6) != 0) return agt__text("user");
    agt_text name = image_agent(m, (agt_text){actor.data + 6, actor.len - 6});
    if (!name.data) return name;
    memcpy(text + 6, name.data, name.len);
    return agt__old_keep(m->old, (agt_text){text, name.len + 6});
}

static agt_text image_word(agt_text word) {
    if (!word.data || agt__word_valid(word.data, word.len, false)) return word;
    return agt__text(AGT_IMAGE_SOURCE);
}

static agt_text image_session(agt_text session) {
    agt_text none = {NULL, 0};
    return session.data && agt__session_valid(session.data, session.len) ? session : none;
}

/* ---- records ---- */

static agt_status image_segment(agt_image *m, agt_error *err) {
    size_t n = m->segments.count;
    const agt_image_segment *last = n ? AGT_OLD_ITEM(&m->segments, agt_image_segment, n - 1) : NULL;
    if (last && m->lines.len - last->at < AGT_SEGMENT_MAX) return AGT_OK;
    agt_image_segment *s = agt__old_add(m->old, &m->segments, sizeof *s);
    if (!s) return agt__nomem(err);
    *s = (agt_image_segment){m->next_seq, m->lines.len};
    return AGT_OK;
}

static agt_image_record *image_begin(agt_image *m, int64_t recorded_ms, agt_error *err) {
    agt_image_record *r = NULL;
    if (image_segment(m, err) == AGT_OK && (r = agt__old_add(m->old, &m->records, sizeof *r)))
        *r = (agt_image_record){m->next_seq, 0, recorded_ms, m->lines.len, 0};
    if (!r) (void)agt__nomem(err);
    return r;
}

/* Appends the event to the record; `size` is that of its version. */
static agt_status image_event(agt_image *m, agt_image_record *r, agt_event *e, uint64_t size,
                              agt_error *err) {
    char prev[64];
    size_t start = m->lines.len;
    agt__hex(m->prev, 32, prev);
    e->seq = m->next_seq;
    e->recorded_unix_ms = r->recorded_ms;
    e->replica = agt__text(m->replica);
    e->prev = (agt_text){prev, 64};
    agt_status st = agt__event_format(&m->lines, e, err);
    if (st != AGT_OK) return st;
    agt__sha256(m->old->cpu, m->lines.data + start, m->lines.len - start, m->prev);
    if (!agt__catalog_touch_event(&m->catalog, e)) return agt__nomem(err);
    agt__catalog_event(&m->catalog, e, size);
    m->next_seq++;
    r->entries++;
    r->len = m->lines.len - r->at;
    m->versions += e->version != 0;
    return AGT_OK;
}

/* ---- one path of a commit ---- */

static const agt_old_document *image_document(const agt_image *m, agt_text path) {
    for (size_t i = 0; i < m->old->documents.count; i++) {
        const agt_old_document *d = AGT_OLD_ITEM(&m->old->documents, agt_old_document, i);
        if (agt__text_eq(d->path, path)) return d;
    }
    return NULL;
}

static bool image_uuid_good(agt_text id) {
    for (size_t i = 0; i < id.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? id.data[i] != '-' : !strchr("0123456789abcdef", id.data[i])) return false;
    }
    return id.len == 36;
}

/* The id in the manifest, or one that is made of the store's and the path. */
static bool image_id(agt_image *m, agt_text path, char out[37]) {
    const agt_old_document *d = image_document(m, path);
    const char *store = m->old->config.id;
    if (d && image_uuid_good(d->id)) return agt__copy_text(out, 37, d->id.data, d->id.len);
    m->scratch.len = 0;
    agt__buf_put(&m->scratch, store, strlen(store) + 1);
    agt__buf_put(&m->scratch, path.data, path.len);
    agt__old_uuid(m->old, m->scratch.data, m->scratch.len, out);
    return !m->scratch.failed;
}

/* What stands in the row beside the change: its type, its id, its version before. */
typedef struct image_path {
    agt_text name; /* ours */
    agt_row row;
    bool known;
    char doc[37];
    agt_text type;
} image_path;

static agt_status image_find(agt_image *m, agt_text path, agt_text type, image_path *out,
                             agt_error *err) {
    memset(out, 0, sizeof *out);
    out->name = agt__image_path(m, path);
    if (!out->name.data) return agt__nomem(err);
    out->known = agt__catalog_find(&m->catalog, out->name.data, out->name.len, &out->row);
    if (!image_id(m, path, out->doc)) return agt__nomem(err);
    const agt_old_document *d = type.len ? NULL : image_document(m, path);
    if (type.len)
        out->type = type;
    else if (out->known)
        out->type = agt__text(agt_type_name(out->row.type));
    else
        out->type = d ? d->type : agt__text("scratch");
    return AGT_OK;
}

/* Reads a version's bytes; what cannot be read counts as empty, and is counted. */
static agt_status image_bytes(agt_image *m, const agt_oid *blob, agt_buf *out, bool count,
                              agt_error *err) {
    agt_error mine;
    out->len = 0;
    agt_status st = agt__git_read(m->old->git, blob, out, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    if (st != AGT_OK) {
        out->len = 0;
        m->blobs_lost += count;
    }
    return AGT_OK;
}

/* The version that the change made: its number, its bytes' id, its lines. */
static agt_status image_version(agt_image *m, const agt_old_change *change, const image_path *p,
                                agt_event *e, char blob[40], uint64_t *size, agt_error *err) {
    m->was.len = m->now.len = 0;
    agt_status st = AGT_OK;
    if (p->known && p->row.exists) st = image_bytes(m, &p->row.blob, &m->was, false, err);
    if (st == AGT_OK && change->exists) st = image_bytes(m, &change->blob, &m->now, true, err);
    if (st != AGT_OK) return st;
    agt__lines_changed(&m->old->mem, m->was.data, m->was.len, m->now.data, m->now.len,
                       &e->lines_added, &e->lines_removed);
    e->version = p->row.version + 1;
    e->doc = agt__text(p->doc);
    *size = m->now.len;
    if (change->exists) {
        agt__hex(change->blob.id, 20, blob);
        e->blob = (agt_text){blob, 40};
    }
    return AGT_OK;
}

/* Is the summary exactly these three? */
static bool image_says(const agt_old_commit *c, const char *before, agt_text path,
                       const char *after) {
    size_t n = strlen(before), k = strlen(after);
    const char *s = c->summary.data;
    return c->summary.len == n + path.len + k && memcmp(s, before, n) == 0 &&
           memcmp(s + n, path.data, path.len) == 0 && memcmp(s + n + path.len, after, k) == 0;
}

static bool image_retypes(const agt_old_commit *c, const agt_old_change *change) {
    char after[24] = " -> ";
    return change->listed &&
           agt__copy_text(after + 4, sizeof after - 4, change->type.data, change->type.len) &&
           image_says(c, "reclassify ", change->path, after);
}

/* What the change is called: by the commit where that says more than the row. */
static void image_action(const agt_old_commit *c, const agt_old_change *change, agt_event *e) {
    agt_text kind = change->kind;
    if (change->changed && change->exists == agt__text_is(kind, "delete"))
        kind = agt__text(!change->exists ? "delete" : change->made ? "create" : "modify");
    bool more = agt__text_is(c->action, "restore") || agt__text_is(c->action, "init");
    e->change_kind = kind;
    e->action = more && change->exists ? c->action : kind;
    if (!change->exists && change->changed && image_says(c, "untrack ", change->path, ""))
        e->action = e->change_kind = agt__text("untrack"); /* the file stayed in the folder */
    if (!change->changed && image_retypes(c, change))
        e->action = e->change_kind = agt__text("reclassify");
}

static void image_from_commit(agt_image *m, const agt_old_commit *c, agt_event *e) {
    e->at_unix_ms = c->unix_s * 1000;
    e->actor = image_actor(m, c->actor);
    e->agent_name = image_agent(m, c->agent);
    e->session_id = image_session(c->session);
    e->summary = image_line(m, c->summary, IMAGE_SUMMARY_MAX);
    e->source = e->detected_by = agt__text(AGT_IMAGE_SOURCE);
}

/* What the event log adds: milliseconds, and how it came to be. */
static void image_from_event(const agt_old *o, size_t event, agt_event *e) {
    if (event == AGT_OLD_NONE) return;
    const agt_old_event *told = AGT_OLD_ITEM(&o->events, agt_old_event, event);
    e->at_unix_ms = told->at_ms;
    if (told->session.data) e->session_id = image_session(told->session);
    e->source = image_word(told->source);
    e->detected_by = image_word(told->detected_by);
}

/* A refusal: who tried is what the summary says if the agent beside it says the same. */
static agt_status image_violation(agt_image *m, const agt_old_commit *c,
                                  const agt_old_change *change, const image_path *p, agt_event *e,
                                  char rejected[65], agt_error *err) {
    char tried[AGT_MAX_NAME + 64];
    static const char first[] = "violation: ";
    size_t n = sizeof first - 1;
    agt_text agent = e->agent_name, s = c->summary;
    memcpy(tried, "agent:", 6);
    if (agent.data) memcpy(tried + 6, agent.data, agent.len);
    memcpy(tried + 6 + agent.len, " attempted ", 11);
    size_t len = 6 + agent.len;
    if (agent.data && s.len > n + len + 11 && memcmp(s.data, first, n) == 0 &&
        memcmp(s.data + n, tried, len + 11) == 0) {
        e->actor = agt__old_keep(m->old, (agt_text){tried, len});
    } else if (s.len > n + 15 && memcmp(s.data + n, "user attempted ", 15) == 0) {
        e->actor = agt__text("user");
    }
    if (!e->actor.data) return agt__nomem(err);
    e->action = agt__text("violation");
    e->change_kind = change->kind;
    e->doc = p->known ? agt__text(p->doc) : (agt_text){NULL, 0};
    agt_status st = agt__image_refused(
        m, change->path, c->unix_s, p->known && p->row.exists ? &p->row.blob : NULL, rejected, err);
    if (rejected[0]) e->rejected = (agt_text){rejected, 64};
    return st;
}

static agt_status image_change(agt_image *m, agt_image_record *r, const agt_old_commit *c,
                               const agt_old_change *change, bool refused, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    char blob[40], rejected[65];
    uint64_t size = 0;
    agt_status st = image_find(m, change->path, change->type, &p, err);
    if (st != AGT_OK) return st;
    image_from_commit(m, c, &e);
    image_from_event(m->old, change->event, &e);
    image_action(c, change, &e);
    e.path = p.name;
    e.doc_type = p.type;
    e.doc_prev = p.known ? p.row.last_seq : 0;
    if (refused)
        st = image_violation(m, c, change, &p, &e, rejected, err);
    else if (change->changed)
        st = image_version(m, change, &p, &e, blob, &size, err);
    else if (p.known)
        e.doc = agt__text(p.doc);
    if (!e.actor.data) st = agt__nomem(err);
    return st == AGT_OK ? image_event(m, r, &e, size, err) : st;
}

/* The other type, where the same commit made a version as well. */
static agt_status image_retype(agt_image *m, agt_image_record *r, const agt_old_commit *c,
                               const agt_old_change *change, agt_error *err) {
    agt_old_change retyped = *change;
    retyped.changed = false;
    retyped.event = AGT_OLD_NONE;
    return image_change(m, r, c, &retyped, false, err);
}

static agt_status image_commit(agt_image *m, const agt_old_commit *c, agt_error *err) {
    agt_image_record *r = image_begin(m, c->unix_s * 1000, err);
    agt_status st = r ? AGT_OK : AGT_NOMEM;
    bool violation = agt__text_is(c->action, "violation");
    for (size_t i = 0; st == AGT_OK && i < c->count; i++) {
        const agt_old_change *change = AGT_OLD_ITEM(&m->old->changes, agt_old_change, c->first + i);
        bool refused = violation && change->listed;
        if (refused) st = image_change(m, r, c, change, true, err);
        if (st == AGT_OK && (change->changed || !refused))
            st = image_change(m, r, c, change, false, err);
        if (st == AGT_OK && change->changed && image_retypes(c, change))
            st = image_retype(m, r, c, change, err); /* it took an edit with it */
    }
    if (st != AGT_OK || c->count) return st;
    agt_event e = AGT_EVENT_INIT; /* it changed nothing, but somebody said something */
    image_from_commit(m, c, &e);
    e.action = e.change_kind = c->action;
    return e.actor.data ? image_event(m, r, &e, 0, err) : agt__nomem(err);
}

/* ---- what no commit tells ---- */

static agt_status image_alone(agt_image *m, const agt_old_event *told, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    agt_status st = AGT_OK;
    agt_image_record *r = image_begin(m, told->at_ms, err);
    if (!r) return AGT_NOMEM;
    e.at_unix_ms = told->at_ms;
    e.actor = image_actor(m, told->actor);
    e.agent_name = image_agent(m, told->agent);
    e.session_id = image_session(told->session);
    e.action = agt__word_valid(told->action.data, told->action.len, true) ? told->action
                                                                          : agt__text("unknown");
    e.change_kind = told->kind.len ? image_word(told->kind) : e.action;
    e.summary = image_line(m, told->summary, IMAGE_SUMMARY_MAX);
    e.source = image_word(told->source);
    e.detected_by = image_word(told->detected_by);
    if (told->path.len) {
        agt_text type = told->type.len ? told->type : agt__text("");
        st = image_find(m, told->path, type, &p, err);
        if (st != AGT_OK) return st;
        e.path = p.name;
        e.doc_type = p.type;
        if (p.known) e.doc = agt__text(p.doc);
        e.doc_prev = p.known ? p.row.last_seq : 0;
    }
    return e.actor.data ? image_event(m, r, &e, 0, err) : agt__nomem(err);
}

/* A grant: what overrides.toml says of it. One that is longer than a grant may be is told, and
 * gives nothing. */
static agt_status image_grant(agt_image *m, const agt_old_grant *g, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    image_path p;
    char until[AGT_TIME_TEXT];
    agt_buf text = agt__buf(&m->old->mem);
    agt_image_record *r = image_begin(m, g->granted_ms, err);
    agt_status st = r ? image_find(m, g->path, agt__text(""), &p, err) : AGT_NOMEM;
    if (st != AGT_OK) return st;
    agt__time_format(g->expires_ms, until);
    agt__buf_text(&text, "unlock ");
    agt__buf_put(&text, g->path.data, g->path.len);
    agt__buf_text(&text, " for ");
    agt__buf_put(&text, g->actor.data, g->actor.len);
    agt__buf_text(&text, " until ");
    agt__buf_text(&text, until);
    e.at_unix_ms = g->granted_ms;
    e.until_unix_ms = g->expires_ms;
    e.actor = image_actor(m, g->by.data ? g->by : agt__text("user"));
    e.action = e.change_kind = agt__text("unlock");
    e.path = p.name;
    e.doc_type = p.type;
    e.doc = image_uuid_good(g->doc) ? g->doc : agt__text(p.doc);
    e.doc_prev = p.known ? p.row.last_seq : 0;
    e.summary = image_line(m, (agt_text){(const char *)text.data, text.len}, IMAGE_SUMMARY_MAX);
    e.source = e.detected_by = agt__text(AGT_IMAGE_SOURCE);
    e.grant = agt__grantee_valid(g->actor) ? g->actor : image_actor(m, g->actor);
    bool nomem = text.failed || !e.summary.data || !e.actor.data || !e.grant.data;
    agt__buf_free(&text);
    m->grants_dropped +=
        g->expires_ms - g->granted_ms > AGT_MAX_GRANT_MS || !agt__grantee_valid(g->actor);
    return nomem ? agt__nomem(err) : image_event(m, r, &e, 0, err);
}

/* Those that are older than `before_ms`, in the order of their times. */
static agt_status image_until(agt_image *m, size_t at[2], int64_t before_ms, agt_error *err) {
    const agt_old *o = m->old;
    agt_status st = AGT_OK;
    while (st == AGT_OK) {
        const agt_old_event *e = NULL;
        const agt_old_grant *g = NULL;
        while (at[0] < o->events.count && !e) {
            e = AGT_OLD_ITEM(&o->events, agt_old_event, at[0]);
            if (e->told) at[0]++, e = NULL;
        }
        if (at[1] < o->grants.count) g = AGT_OLD_ITEM(&o->grants, agt_old_grant, at[1]);
        if (e && e->at_ms < before_ms && (!g || e->at_ms <= g->granted_ms)) {
            st = image_alone(m, e, err);
            at[0]++;
        } else if (g && g->granted_ms < before_ms) {
            st = image_grant(m, g, err);
            at[1]++;
        } else {
            break;
        }
    }
    return st;
}

/* ---- the manifest has the last word ---- */

static agt_status image_set_type(agt_image *m, const agt_row *row, agt_text path, agt_type type,
                                 const char *why, agt_error *err) {
    const agt_old *o = m->old;
    agt_event e = AGT_EVENT_INIT;
    const agt_old_commit *last = AGT_OLD_ITEM(&o->commits, agt_old_commit, o->commits.count - 1);
    agt_image_record *r = image_begin(m, last->unix_s * 1000, err);
    if (!r) return AGT_NOMEM;
    e.at_unix_ms = r->recorded_ms;
    e.actor = agt__text("system");
    e.action = e.change_kind = agt__text("reclassify");
    e.path = path;
    e.doc_type = agt__text(agt_type_name(type));
    e.doc = agt__text(row->doc);
    e.doc_prev = row->last_seq;
    e.summary = agt__text(why);
    e.source = e.detected_by = agt__text(AGT_IMAGE_SOURCE);
    return image_event(m, r, &e, 0, err);
}

static agt_type image_type(agt_text name) {
    char word[16];
    return agt__copy_text(word, sizeof word, name.data, name.len) ? agt_type_from_name(word)
                                                                  : AGT_TYPE_DEFAULT;
}

/* The manifest is right about a document's type, and about who made it. */
static agt_status image_listed(agt_image *m, const agt_old_document *d, agt_error *err) {
    agt_text path = agt__image_path(m, d->path), agent = image_agent(m, d->agent);
    agt_row *row;
    agt_row found;
    if (!path.data) return agt__nomem(err);
    if (!agt__catalog_find(&m->catalog, path.data, path.len, &found)) return AGT_OK;
    if (!(row = agt__catalog_touch(&m->catalog, path.data, path.len))) return agt__nomem(err);
    row->agent[0] = 0;
    if (d->agent.len) (void)agt__copy_text(row->agent, sizeof row->agent, agent.data, agent.len);
    agt_type type = image_type(d->type);
    if (type == row->type) return AGT_OK;
    return image_set_type(m, row, path, type, "manifest.toml of agent-trace 0.1.0 has this type",
                          err);
}

/* What the manifest does not list was scratch to the rules of 0.1.0, whatever its commit said. */
static agt_status image_unlisted(agt_image *m, const agt_row *row, agt_error *err) {
    agt_text path = {row->path, row->path_len};
    bool ours = agt__perm_type(AGT_TYPE_SCRATCH, row->path, row->path_len) != AGT_TYPE_SCRATCH ||
                agt__text_is(path, "AGENT-TRACE.md");
    if (!row->exists || row->type == AGT_TYPE_SCRATCH || ours) return AGT_OK;
    return image_set_type(m, row, path, AGT_TYPE_SCRATCH,
                          "manifest.toml of agent-trace 0.1.0 does not list this document", err);
}

static agt_status image_manifest(agt_image *m, agt_error *err) {
    agt_rows rows;
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < m->old->documents.count; i++)
        st = image_listed(m, AGT_OLD_ITEM(&m->old->documents, agt_old_document, i), err);
    /* a damaged one cannot say that it does not list something */
    if (st != AGT_OK || m->old->damage.manifest) return st;
    st = agt__catalog_rows(&m->catalog, AGT_ROWS_ALL, &rows, err);
    for (size_t i = 0; st == AGT_OK && i < rows.count; i++)
        if (!image_document(m,
                            agt__image_was(m, (agt_text){rows.row[i].path, rows.row[i].path_len})))
            st = image_unlisted(m, &rows.row[i], err);
    agt__rows_free(&m->old->mem, &rows);
    return st;
}

AGT_PRIVATE agt_status agt__image_make(agt_image *m, agt_old *old, agt_error *err) {
    unsigned char sum[32];
    size_t at[2] = {0, 0}; /* of events, of grants */
    agt_status st = AGT_OK;
    memset(m, 0, sizeof *m);
    m->old = old;
    m->next_seq = 1;
    m->catalog = agt__catalog(&old->mem);
    m->lines = m->scratch = m->was = m->now = agt__buf(&old->mem);
    agt__sha256(old->cpu, old->config.id, strlen(old->config.id), sum);
    agt__hex(sum, 8, m->replica);
    for (size_t i = 0; st == AGT_OK && i < old->commits.count; i++) {
        const agt_old_commit *c = AGT_OLD_ITEM(&old->commits, agt_old_commit, i);
        st = image_until(m, at, c->unix_s * 1000, err);
        if (st == AGT_OK) st = image_commit(m, c, err);
    }
    if (st == AGT_OK) st = image_until(m, at, INT64_MAX, err);
    return st == AGT_OK ? image_manifest(m, err) : st;
}

static void image_list_free(agt_image *m, agt_old_list *list, size_t size) {
    agt__free(&m->old->mem, list->data, list->cap * size);
}

AGT_PRIVATE void agt__image_free(agt_image *m) {
    if (!m->old) return;
    for (size_t i = 0; i < m->refused.count; i++)
        agt__buf_free(&AGT_OLD_ITEM(&m->refused, agt_image_refused, i)->bytes);
    image_list_free(m, &m->records, sizeof(agt_image_record));
    image_list_free(m, &m->segments, sizeof(agt_image_segment));
    image_list_free(m, &m->names, sizeof(agt_image_name));
    image_list_free(m, &m->refused, sizeof(agt_image_refused));
    agt__catalog_free(&m->catalog);
    agt__buf_free(&m->lines);
    agt__buf_free(&m->scratch);
    agt__buf_free(&m->was);
    agt__buf_free(&m->now);
}
/* end src/reference/image.c */
/* begin src/reference/image_names.c */
/* image_names: names that a store of ours cannot hold as they are, ids for what had none, and the
 * refused bytes of agent-trace 0.1.0. */

#define NAMES_REFUSED   (64u * 1024 * 1024)
#define NAMES_SECONDS   2 /* between a refusal and the name of its file */
#define NAMES_EXTENSION ".rejected"

/* ---- paths ---- */

static void names_escape(agt_buf *b, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    agt__buf_byte(b, '%');
    agt__buf_byte(b, (unsigned char)digits[c >> 4]);
    agt__buf_byte(b, (unsigned char)digits[c & 15]);
}

/* A part of a path, each byte that no store holds as %xx; `first`: its first character, too. */
static void names_part(agt_buf *b, const char *s, size_t n, bool first) {
    size_t step, lead = first ? agt__utf8_char(s, n) : 0;
    if (n == 0) names_escape(b, '/');
    for (size_t i = 0; i < n; i += step) {
        unsigned char c = (unsigned char)s[i];
        step = agt__utf8_char(s + i, n - i);
        if (step && i >= lead && c >= 0x20 && c != 0x7f && c != '\\' &&
            !(c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)) {
            agt__buf_put(b, s + i, step);
        } else {
            step = 1;
            names_escape(b, c);
        }
    }
}

/* Parts like .., .git and .agent-trace get their first character escaped, too. */
static void names_escaped(agt_buf *b, agt_text path) {
    for (size_t at = 0, end; at <= path.len; at = end + 1) {
        for (end = at; end < path.len && path.data[end] != '/'; end++) {
        }
        if (at) agt__buf_byte(b, '/');
        size_t start = b->len;
        names_part(b, path.data + at, end - at, false);
        if (b->failed || agt__path_held((const char *)b->data + start, b->len - start)) continue;
        b->len = start;
        names_part(b, path.data + at, end - at, true);
    }
}

static bool names_taken(const agt_image *m, agt_text path) {
    const agt_old *o = m->old;
    for (size_t i = 0; i < o->changes.count; i++)
        if (agt__text_eq(AGT_OLD_ITEM(&o->changes, agt_old_change, i)->path, path)) return true;
    for (size_t i = 0; i < m->names.count; i++)
        if (agt__text_eq(AGT_OLD_ITEM(&m->names, agt_image_name, i)->now, path)) return true;
    return false;
}

/* A name for what cannot even be escaped: too long, too deep. */
static void names_hashed(const agt_image *m, agt_text path, agt_buf *b) {
    unsigned char sum[32];
    char hex[16];
    agt__sha256(m->old->cpu, path.data, path.len, sum);
    agt__hex(sum, 8, hex);
    b->len = 0;
    agt__buf_text(b, "unnamed-");
    agt__buf_put(b, hex, sizeof hex);
}

AGT_PRIVATE agt_text agt__image_path(agt_image *m, agt_text path) {
    agt_text none = {NULL, 0};
    if (agt__path_held(path.data, path.len)) return path;
    for (size_t i = 0; i < m->names.count; i++) {
        const agt_image_name *known = AGT_OLD_ITEM(&m->names, agt_image_name, i);
        if (agt__text_eq(known->old, path)) return known->now;
    }
    agt_buf b = agt__buf(&m->old->mem);
    names_escaped(&b, path);
    if (!b.failed && !agt__path_held((const char *)b.data, b.len)) names_hashed(m, path, &b);
    while (!b.failed && names_taken(m, (agt_text){(const char *)b.data, b.len}))
        agt__buf_byte(&b, '~');
    agt_image_name *name = b.failed ? NULL : agt__old_add(m->old, &m->names, sizeof *name);
    if (name) {
        name->old = path;
        name->now = agt__old_keep(m->old, (agt_text){(const char *)b.data, b.len});
        none = name->now;
    }
    agt__buf_free(&b);
    return none;
}

AGT_PRIVATE agt_text agt__image_was(const agt_image *m, agt_text path) {
    for (size_t i = 0; i < m->names.count; i++) {
        const agt_image_name *known = AGT_OLD_ITEM(&m->names, agt_image_name, i);
        if (agt__text_eq(known->now, path)) return known->old;
    }
    return path;
}

/* ---- refused bytes ---- */

typedef struct names_search {
    agt_text stem;
    int64_t unix_s;
    char found[256];
} names_search;

/* "<stem>-<unix seconds>.rejected" */
static int names_candidate(void *ctx, const char *name) {
    names_search *s = ctx;
    size_t n = strlen(name), tail = sizeof NAMES_EXTENSION - 1;
    int64_t when = 0;
    if (n <= s->stem.len + 1 + tail || memcmp(name, s->stem.data, s->stem.len) != 0) return 0;
    if (name[s->stem.len] != '-' || strcmp(name + n - tail, NAMES_EXTENSION) != 0) return 0;
    for (size_t i = s->stem.len + 1; i < n - tail; i++) {
        if (name[i] < '0' || name[i] > '9' || when > AGT_TIME_MAX) return 0;
        when = when * 10 + (name[i] - '0');
    }
    int64_t apart = when > s->unix_s ? when - s->unix_s : s->unix_s - when;
    if (apart > NAMES_SECONDS || !agt__copy_text(s->found, sizeof s->found, name, n)) return 0;
    return apart == 0;
}

/* The file name without folders and its last extension. */
static agt_text names_stem(agt_text path) {
    size_t from = path.len, to = path.len;
    while (from && path.data[from - 1] != '/')
        from--;
    for (size_t i = path.len; i-- > from + 1;)
        if (path.data[i] == '.') {
            to = i;
            break;
        }
    return (agt_text){path.data + from, to - from};
}

static agt_status names_keep(agt_image *m, const agt_buf *bytes, char name[65], agt_error *err) {
    unsigned char sum[32];
    agt__sha256(m->old->cpu, bytes->data, bytes->len, sum);
    agt__hex(sum, 32, name);
    name[64] = 0;
    for (size_t i = 0; i < m->refused.count; i++)
        if (strcmp(AGT_OLD_ITEM(&m->refused, agt_image_refused, i)->name, name) == 0) return AGT_OK;
    agt_image_refused *kept = agt__old_add(m->old, &m->refused, sizeof *kept);
    if (!kept) return agt__nomem(err);
    memcpy(kept->name, name, 65);
    kept->bytes = agt__buf(&m->old->mem);
    agt__buf_put(&kept->bytes, bytes->data, bytes->len);
    return kept->bytes.failed ? agt__nomem(err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__image_refused(agt_image *m, agt_text path, int64_t unix_s,
                                          const agt_oid *held, char name[65], agt_error *err) {
    const agt_old *o = m->old;
    names_search s = {names_stem(path), unix_s, {0}};
    agt_oid id;
    agt_error mine;
    name[0] = 0;
    agt_fd fd = o->sys->walk(o->sys->ctx, o->at, "rejected");
    if (fd < 0) return AGT_OK; /* no folder: nothing is left of it */
    (void)o->sys->list(o->sys->ctx, fd, names_candidate, &s);
    agt_buf bytes = agt__buf(&o->mem);
    agt_status st = AGT_NOT_FOUND;
    if (s.found[0]) st = agt__read_file(o->sys, fd, s.found, NAMES_REFUSED, &bytes, &mine);
    o->sys->close(o->sys->ctx, fd);
    if (st == AGT_OK) {
        agt__git_id(o->cpu, "blob", bytes.data, bytes.len, id.id);
        if (!held || memcmp(&id, held, sizeof id) != 0) st = names_keep(m, &bytes, name, err);
    } else if (st == AGT_NOMEM) {
        st = agt__nomem(err);
    } else {
        st = AGT_OK;
    }
    agt__buf_free(&bytes);
    return st;
}
/* end src/reference/image_names.c */
/* begin src/reference/veil.c */
/* veil: files from memory below .agent-trace, and the real system everywhere else. See veil.h. */
/* begin src/reference/veil.h */
/* veil: the system as a store of agent-trace 0.1.0 is read through. Below .agent-trace it shows the
 * files that an upgrade would make (image.h), from memory; everything else is the real one, so
 * documents are where they are. The bytes of versions come from the old repository, which stands in
 * the place of ours.
 *
 * (1) Nothing can be written through it.
 * (2) It shows the store as it was when it was opened; what agent-trace 0.1.0 writes afterwards is
 *     seen by the next one who opens it. */
#ifndef AGT_VEIL_H
#define AGT_VEIL_H


typedef struct agt_veil agt_veil;

/* Reads the old store whose .agent-trace is open as `at` (the veil's from then on, also where this
 * fails). */
AGT_PRIVATE agt_status agt__veil_make(agt_veil **out, const agt_sys *sys, agt_fd at,
                                      const agt_mem *mem, agt_error *err);
AGT_PRIVATE const agt_sys *agt__veil_sys(const agt_veil *v);
AGT_PRIVATE void agt__veil_free(void *veil);

/* The text of config.toml as ours has it: the old identity and settings, and our format. */
AGT_PRIVATE void agt__veil_config(const agt_old *o, agt_buf *out);
/* The header of a journal that is empty: all of the image is behind it, and in git. */
AGT_PRIVATE void agt__veil_header(const agt_image *m, const agt_oid *head, agt_journal_header *out);

#endif /* AGT_VEIL_H */
/* end src/reference/veil.h */

#define VEIL_FILES      ((agt_fd)(INTPTR_MAX - 0xffffff)) /* open files and folders of ours */
#define VEIL_GENERATION 2
#define VEIL_NAME       72

enum { VEIL_AT = 0 }; /* the node that is .agent-trace */

typedef struct veil_node {
    char name[VEIL_NAME];
    uint32_t folder; /* the node it lies in */
    bool is_folder;
    const unsigned char *bytes; /* the first `len` of `size`; zeros behind them */
    uint64_t len, size;
} veil_node;

struct agt_veil {
    agt_sys sys;
    const agt_sys *under;
    agt_mem mem;
    agt_fd at; /* the real one */
    agt_old old;
    agt_image image;
    veil_node *nodes;
    uint32_t count, cap;
    agt_buf config, catalog;
    unsigned char slot[256];
};

/* ---- what it shows ---- */

static uint32_t veil_add(agt_veil *v, uint32_t folder, const char *name, const void *bytes,
                         uint64_t len, uint64_t size) {
    if (v->count == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 16;
        void *more =
            agt__realloc(&v->mem, v->nodes, v->cap * sizeof *v->nodes, cap * sizeof *v->nodes);
        if (!more) return 0;
        v->nodes = more;
        v->cap = cap;
    }
    veil_node *n = &v->nodes[v->count];
    memset(n, 0, sizeof *n);
    (void)agt__copy_text(n->name, sizeof n->name, name, strlen(name));
    n->folder = folder;
    n->is_folder = !bytes;
    n->bytes = bytes;
    n->len = len;
    n->size = size;
    return v->count++;
}

static bool veil_is(agt_fd fd) {
    return fd >= VEIL_FILES;
}

static agt_fd veil_fd(uint32_t node) {
    return VEIL_FILES + (agt_fd)node;
}

static const veil_node *veil_node_of(const agt_veil *v, agt_fd fd) {
    return &v->nodes[fd - VEIL_FILES];
}

static bool veil_find(const agt_veil *v, agt_fd dir, const char *name, uint32_t *out) {
    for (uint32_t i = 1; i < v->count; i++) {
        if (veil_fd(v->nodes[i].folder) != dir || strcmp(v->nodes[i].name, name) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

static bool veil_is_git(agt_fd dir, const char *name) {
    return dir == veil_fd(VEIL_AT) && strcmp(name, "git") == 0;
}

/* ---- the calls that differ ---- */

static agt_fd veil_open_root(void *ctx, const char *path) {
    const agt_veil *v = ctx;
    return v->under->open_root(v->under->ctx, path);
}

static agt_fd veil_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    const agt_veil *v = ctx;
    const agt_sys *u = v->under;
    uint32_t node;
    if (flags & ~(uint32_t)(AGT_O_READ | AGT_O_FOLDER)) return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
    if (!veil_is(dir) && strcmp(name, AGT_STORE_NAME) == 0) return veil_fd(VEIL_AT);
    if (!veil_is(dir)) return u->open(u->ctx, dir, name, flags, mode);
    if (strcmp(name, ".") == 0) return dir;
    if (veil_is_git(dir, name)) return u->open(u->ctx, v->old.git_dir, ".", flags, mode);
    if (!veil_find(v, dir, name, &node)) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    if (v->nodes[node].is_folder != ((flags & AGT_O_FOLDER) != 0))
        return v->nodes[node].is_folder ? AGT_SYS_ERR(AGT_SYS_ISDIR, 0)
                                        : AGT_SYS_ERR(AGT_SYS_NOTDIR, 0);
    return veil_fd(node);
}

static agt_fd veil_walk(void *ctx, agt_fd dir, const char *path) {
    const agt_veil *v = ctx;
    if (!veil_is(dir)) return v->under->walk(v->under->ctx, dir, path);
    if (strchr(path, '/')) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    return veil_open(ctx, dir, path, AGT_O_READ | AGT_O_FOLDER, 0);
}

static void veil_close(void *ctx, agt_fd fd) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) v->under->close(v->under->ctx, fd);
}

static int64_t veil_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) return v->under->pread(v->under->ctx, fd, buf, n, offset);
    const veil_node *f = veil_node_of(v, fd);
    if (f->is_folder) return AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
    if (offset >= f->size) return 0;
    if (n > f->size - offset) n = (size_t)(f->size - offset);
    size_t have = offset < f->len ? (size_t)(f->len - offset) : 0;
    if (have > n) have = n;
    if (have) memcpy(buf, f->bytes + offset, have);
    memset((char *)buf + have, 0, n - have);
    return (int64_t)n;
}

static void veil_fill(agt_fd fd, const veil_node *n, agt_stat *out) {
    memset(out, 0, sizeof *out);
    out->dev = 1;
    out->ino = (uint64_t)(fd - VEIL_FILES) + 1;
    out->size = n->size;
    out->mode = n->is_folder ? 0500 : 0400;
    out->links = 1;
    out->kind = n->is_folder ? AGT_FILE_FOLDER : AGT_FILE_REGULAR;
}

static int veil_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) return v->under->fstat(v->under->ctx, fd, out);
    veil_fill(fd, veil_node_of(v, fd), out);
    return 0;
}

static int veil_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    const agt_veil *v = ctx;
    const agt_sys *u = v->under;
    uint32_t node;
    if (!veil_is(dir)) return u->stat(u->ctx, dir, name, out);
    if (veil_is_git(dir, name)) return u->fstat(u->ctx, v->old.git_dir, out);
    if (!veil_find(v, dir, name, &node)) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    veil_fill(veil_fd(node), &v->nodes[node], out);
    return 0;
}

static int veil_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                     void *each_ctx) {
    const agt_veil *v = ctx;
    int rc = 0;
    if (!veil_is(dir)) return v->under->list(v->under->ctx, dir, each, each_ctx);
    for (uint32_t i = 1; i < v->count && rc == 0; i++)
        if (veil_fd(v->nodes[i].folder) == dir) rc = each(each_ctx, v->nodes[i].name);
    return rc;
}

/* ---- the calls that write: (1) ---- */

static int64_t veil_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx, (void)fd, (void)buf, (void)n, (void)offset;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_sync(void *ctx, agt_fd fd) {
    (void)ctx, (void)fd;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx, (void)fd, (void)size;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx, (void)fd, (void)offset, (void)n;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx, (void)fd, (void)mode;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                       int flag) {
    (void)ctx, (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flag;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx, (void)from_dir, (void)from, (void)to_dir, (void)to;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx, (void)dir, (void)name;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx, (void)dir, (void)name, (void)mode;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_may_change(void *ctx, agt_fd dir) {
    (void)ctx, (void)dir;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx, (void)fd, (void)kind;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}

/* ---- the rest is the real system's ---- */

static int veil_has_writer(void *ctx, agt_fd fd) {
    const agt_veil *v = ctx;
    return veil_is(fd) ? AGT_SYS_ERR(AGT_SYS_NOSYS, 0) : v->under->has_writer(v->under->ctx, fd);
}
static int64_t veil_now(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->now_unix_ms(v->under->ctx);
}
static int64_t veil_mono(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->mono_ns(v->under->ctx);
}
static void veil_sleep(void *ctx, int64_t ns) {
    const agt_veil *v = ctx;
    v->under->sleep_ns(v->under->ctx, ns);
}
static int veil_random(void *ctx, void *buf, size_t n) {
    const agt_veil *v = ctx;
    return v->under->random(v->under->ctx, buf, n);
}
static int64_t veil_pid(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->pid(v->under->ctx);
}
static int veil_process(void *ctx, agt_process *out) {
    const agt_veil *v = ctx;
    return v->under->process(v->under->ctx, out);
}
static int veil_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    const agt_veil *v = ctx;
    if (veil_is(dir)) return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
    return v->under->path_of(v->under->ctx, dir, out, size);
}
static void *veil_mutex_new(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->mutex_new(v->under->ctx);
}
static void veil_mutex_free(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_free(v->under->ctx, mutex);
}
static void veil_mutex_lock(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_lock(v->under->ctx, mutex);
}
static void veil_mutex_unlock(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_unlock(v->under->ctx, mutex);
}

static const agt_sys veil_calls = {sizeof(agt_sys),  NULL,
                                   veil_open_root,   veil_open,
                                   veil_walk,        veil_close,
                                   veil_pread,       veil_pwrite,
                                   veil_sync,        veil_truncate,
                                   veil_reserve,     veil_stat,
                                   veil_fstat,       veil_set_mode,
                                   veil_rename,      veil_link,
                                   veil_remove,      veil_remove,
                                   veil_make_folder, veil_list,
                                   veil_has_writer,  veil_may_change,
                                   veil_lock,        veil_now,
                                   veil_mono,        veil_sleep,
                                   veil_random,      veil_pid,
                                   veil_process,     veil_path_of,
                                   veil_mutex_new,   veil_mutex_free,
                                   veil_mutex_lock,  veil_mutex_unlock};

/* ---- making it ---- */

AGT_PRIVATE void agt__veil_config(const agt_old *o, agt_buf *out) {
    const agt_config *c = &o->config;
    agt__buf_text(out, "[store]\nid = ");
    agt__toml_put_string(out, c->id, strlen(c->id));
    agt__buf_text(out, "\nname = ");
    agt__toml_put_string(out, c->name, strlen(c->name));
    agt__buf_text(out, "\ncreated = ");
    agt__toml_put_string(out, o->created, strlen(o->created));
    agt__buf_text(out, "\nagent_trace_version = \"" AGENT_TRACE_VERSION "\"\nformat = 2\n\n"
                       "[polling]\ninterval_ms = ");
    agt__buf_u64(out, (uint64_t)c->interval_ms);
    agt__buf_text(out, c->polling ? "\nenabled = true\n" : "\nenabled = false\n");
}

AGT_PRIVATE void agt__veil_header(const agt_image *m, const agt_oid *head,
                                  agt_journal_header *out) {
    const agt_image_segment *last =
        m->segments.count ? AGT_OLD_ITEM(&m->segments, agt_image_segment, m->segments.count - 1)
                          : NULL;
    memset(out, 0, sizeof *out);
    out->generation = VEIL_GENERATION;
    out->capacity = AGT_JOURNAL_BYTES;
    out->next_seq = m->next_seq;
    out->trace.segment = last ? last->first_seq : 1;
    out->trace.offset = last ? m->lines.len - last->at : 0;
    memcpy(out->trace.prev, m->prev, 32);
    out->catalog = VEIL_GENERATION;
    out->packed_seq = m->next_seq - 1;
    out->packed_head = *head;
    (void)agt__unhex(m->replica, 16, out->replica, 8);
}

static void veil_segments(agt_veil *v, uint32_t folder, bool *good) {
    const agt_image *m = &v->image;
    for (size_t i = 0; i < m->segments.count; i++) {
        const agt_image_segment *s = AGT_OLD_ITEM(&m->segments, agt_image_segment, i);
        size_t end = i + 1 < m->segments.count ? s[1].at : m->lines.len;
        char name[AGT_SEGMENT_NAME];
        agt__segment_name(s->first_seq, name);
        *good = *good && veil_add(v, folder, name, m->lines.data + s->at, end - s->at, end - s->at);
    }
}

static agt_status veil_nodes(agt_veil *v, agt_error *err) {
    const agt_image *m = &v->image;
    agt_journal_header h;
    char name[32];
    size_t last = v->old.commits.count - 1;
    agt__veil_header(m, &AGT_OLD_ITEM(&v->old.commits, agt_old_commit, last)->id, &h);
    agt__catalog_name(h.catalog, name);
    agt__veil_config(&v->old, &v->config);
    agt_status st = agt__catalog_encode(&m->catalog, v->old.cpu, m->next_seq, &v->catalog, err);
    if (st != AGT_OK) return st;
    (void)veil_add(v, 0, AGT_STORE_NAME, NULL, 0, 0);
    uint32_t journal = veil_add(v, VEIL_AT, "journal", v->slot, sizeof v->slot, AGT_JOURNAL_BYTES);
    h.dev = 1;
    h.ino = journal + 1u;
    agt__journal_header_encode(&h, v->old.cpu, v->slot);
    uint32_t trace = veil_add(v, VEIL_AT, "trace", NULL, 0, 0);
    uint32_t rejected = veil_add(v, VEIL_AT, "rejected", NULL, 0, 0);
    bool good = journal && trace && rejected && !v->config.failed;
    good =
        good && veil_add(v, VEIL_AT, "config.toml", v->config.data, v->config.len, v->config.len);
    good = good && veil_add(v, VEIL_AT, name, v->catalog.data, v->catalog.len, v->catalog.len);
    veil_segments(v, trace, &good);
    for (size_t i = 0; i < m->refused.count; i++) {
        const agt_image_refused *r = AGT_OLD_ITEM(&m->refused, agt_image_refused, i);
        const void *bytes = r->bytes.data ? (const void *)r->bytes.data : "";
        good = good && veil_add(v, rejected, r->name, bytes, r->bytes.len, r->bytes.len);
    }
    return good ? AGT_OK : agt__nomem(err);
}

AGT_PRIVATE agt_status agt__veil_make(agt_veil **out, const agt_sys *sys, agt_fd at,
                                      const agt_mem *mem, agt_error *err) {
    agt_veil *v = agt__zalloc(mem, sizeof *v);
    *out = NULL;
    if (!v) {
        sys->close(sys->ctx, at);
        return agt__nomem(err);
    }
    v->mem = *mem;
    v->under = sys;
    v->at = at;
    v->sys = veil_calls;
    v->sys.ctx = v;
    v->config = v->catalog = agt__buf(&v->mem);
    agt_status st = agt__old_read(&v->old, sys, at, &v->mem, err);
    if (st == AGT_OK) st = agt__image_make(&v->image, &v->old, err);
    if (st == AGT_OK) st = veil_nodes(v, err);
    if (st != AGT_OK)
        agt__veil_free(v);
    else
        *out = v;
    return st;
}

AGT_PRIVATE const agt_sys *agt__veil_sys(const agt_veil *v) {
    return &v->sys;
}

AGT_PRIVATE void agt__veil_free(void *veil) {
    agt_veil *v = veil;
    agt_mem mem = v->mem;
    agt__image_free(&v->image);
    agt__old_free(&v->old);
    agt__buf_free(&v->config);
    agt__buf_free(&v->catalog);
    agt__free(&mem, v->nodes, v->cap * sizeof *v->nodes);
    v->under->close(v->under->ctx, v->at);
    agt__free(&mem, v, sizeof *v);
}
/* end src/reference/veil.c */
/* begin src/reference/open.c */
/* open: agt_open, and what it does with a store of agent-trace 0.1.0: it can be read where it is,
 * wherever it is, and is not changed. */

/* Opens .agent-trace of `root` if it is an old store; *at is AGT_FD_NONE if it is none. */
static agt_status open_old_at(const agt_sys *sys, const char *root, const agt_mem *mem, agt_fd *at,
                              agt_error *err) {
    bool is = false;
    *at = AGT_FD_NONE;
    agt_fd fd = sys->open_root(sys->ctx, root);
    if (fd < 0) return AGT_OK; /* the real open has said why */
    agt_fd found = sys->open(sys->ctx, fd, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    sys->close(sys->ctx, fd);
    if (found < 0) return AGT_OK;
    agt_status st = agt__old_is(sys, found, mem, &is, err);
    if (st == AGT_OK && is)
        *at = found;
    else
        sys->close(sys->ctx, found);
    return st;
}

static agt_status open_old(agt_store **out, const char *root, const agt_open_options *opts,
                           const agt_sys *sys, agt_fd at, const agt_mem *mem, agt_error *err) {
    agt_open_options o = *opts;
    agt_veil *veil;
    agt_status st = agt__veil_make(&veil, sys, at, mem, err);
    if (st != AGT_OK) return st;
    o.create = 0;
    o.read_only = 1;
    o.sys = agt__veil_sys(veil);
    st = agt__store_open(out, root, &o, err);
    if (st != AGT_OK) {
        agt__veil_free(veil);
        return st;
    }
    (*out)->stands_on = veil;
    (*out)->stands_on_free = agt__veil_free;
    return AGT_OK;
}

AGENT_TRACE_API agt_status agt_open(agt_store **out, const char *root, const agt_open_options *opts,
                                    agt_error *err) {
    agt_open_options o;
    agt_error first;
    agt_fd at = AGT_FD_NONE;
    first.status = AGT_OK;
    agt_status st = agt__store_open(out, root, opts, &first);
    /* what makes an old store is what makes it none of ours: no format, or no config.toml */
    bool perhaps = st == AGT_UNSUPPORTED || st == AGT_NOT_FOUND || st == AGT_CORRUPT;
    if (!perhaps || agt__options(&o, sizeof o, opts, "agt_open_options", NULL) != AGT_OK)
        return agt__answer(st, &first, err);
    agt_mem mem = agt__mem(o.allocator);
    const agt_sys *sys = agt__sys_or_os(o.sys);
    agt_status is = open_old_at(sys, root, &mem, &at, err);
    if (is != AGT_OK) return is;
    if (at == AGT_FD_NONE) return agt__answer(st, &first, err);
    return open_old(out, root, &o, sys, at, &mem, err);
}
/* end src/reference/open.c */
/* begin src/reference/upgrade_move.c */
/* upgrade_move: from .agent-trace/upgrade to .agent-trace, and the old parts to
 * .agent-trace/backup-0.1.0. See upgrade.h for the order and why. */
/* begin src/reference/upgrade.h */
/* upgrade: a store of agent-trace 0.1.0 becomes one of ours.
 *
 * Everything is made beside, in .agent-trace/upgrade, and synced. Then what stands in nobody's way
 * moves up (git, trace, catalog, journal), and one rename puts our config.toml in the place of the
 * old one: THE commit point. Before it the store is the old one, untouched; after it, ours. Last,
 * the old parts move to .agent-trace/backup-0.1.0.
 *
 * (1) A rerun finishes what was committed, and else begins again. upgrade/moving says that parts
 *     moved up, so that only what we put there is taken away again.
 * (2) Nothing of the old store is deleted, and no document is touched. What is on disk and differs
 *     from the newest version is somebody's edit, as always.
 * (3) While a process of agent-trace 0.1.0 leads, nothing is done: its locks are asked. */
#ifndef AGT_UPGRADE_H
#define AGT_UPGRADE_H


#define AGT_UPGRADE_FOLDER "upgrade"
#define AGT_UPGRADE_BACKUP "backup-0.1.0"
#define AGT_UPGRADE_MOVING "moving"

typedef struct agt_upgrading {
    const agt_sys *sys;
    agt_mem mem;
    agt_fd root, at, locks, build; /* the folder, .agent-trace, its locks/ and upgrade/ */
    agt_flock poll, store;
    agt_old old;
    agt_image image;
    agt_oid head;   /* the newest commit of ours */
    bool link_left; /* the root's .git leads to some other repository of this kind */
    bool link_gone;
    agt_buf report;
} agt_upgrading;

/* upgrade_build.c: makes all parts in upgrade/, durably. */
AGT_PRIVATE agt_status agt__upgrade_build(agt_upgrading *u, agt_error *err);
/* upgrade_move.c: takes away what an earlier try left; moves up; commits; clears away. */
AGT_PRIVATE agt_status agt__upgrade_begin_anew(agt_upgrading *u, agt_error *err);
AGT_PRIVATE agt_status agt__upgrade_commit(agt_upgrading *u, agt_error *err);
AGT_PRIVATE agt_status agt__upgrade_finish(agt_upgrading *u, agt_error *err);
/* Removes a file or a folder with all that is in it; not there is AGT_OK. */
AGT_PRIVATE agt_status agt__upgrade_remove(agt_upgrading *u, agt_fd dir, const char *name,
                                           agt_error *err);
/* upgrade_report.c: what a person should know, a finding a line, each with its mend. */
AGT_PRIVATE agt_status agt__upgrade_report(agt_upgrading *u, agt_error *err);

#endif /* AGT_UPGRADE_H */
/* end src/reference/upgrade.h */

#define MOVE_LINK_MAX 8192u

static agt_status move_sync(agt_upgrading *u, agt_fd dir, agt_error *err) {
    int rc = u->sys->sync(u->sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync a folder of the store") : AGT_OK;
}

static int move_missing(int rc) {
    return rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT;
}

/* 1, 0 or an AGT_SYS_ERR. */
static int move_has(const agt_upgrading *u, agt_fd dir, const char *name) {
    agt_stat st;
    int rc = u->sys->stat(u->sys->ctx, dir, name, &st);
    return rc >= 0 ? 1 : move_missing(rc) ? 0 : rc;
}

/* ---- removing ---- */

typedef struct move_names {
    agt_buf names; /* each with its NUL */
} move_names;

static int move_name(void *ctx, const char *name) {
    move_names *n = ctx;
    agt__buf_put(&n->names, name, strlen(name) + 1);
    return n->names.failed;
}

static agt_status move_remove_inside(agt_upgrading *u, agt_fd fd, agt_error *err) {
    move_names n = {agt__buf(&u->mem)};
    int rc = u->sys->list(u->sys->ctx, fd, move_name, &n);
    agt_status st = n.names.failed ? agt__nomem(err)
                    : rc < 0       ? agt__fail_io(err, rc, "cannot list a folder of the store")
                                   : AGT_OK;
    for (size_t at = 0; st == AGT_OK && at < n.names.len;) {
        const char *name = (const char *)n.names.data + at;
        at += strlen(name) + 1;
        st = agt__upgrade_remove(u, fd, name, err);
    }
    agt__buf_free(&n.names);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_remove(agt_upgrading *u, agt_fd dir, const char *name,
                                           agt_error *err) {
    agt_stat st;
    const agt_sys *sys = u->sys;
    int rc = sys->stat(sys->ctx, dir, name, &st);
    if (move_missing(rc)) return AGT_OK;
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %.100s", name);
    if (st.kind == AGT_FILE_FOLDER) {
        agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | AGT_O_FOLDER, 0);
        if (fd < 0) return agt__fail_io(err, fd, "cannot open the folder %.100s", name);
        agt_status status = move_remove_inside(u, fd, err);
        sys->close(sys->ctx, fd);
        if (status != AGT_OK) return status;
        rc = sys->remove_folder(sys->ctx, dir, name);
    } else {
        rc = sys->remove(sys->ctx, dir, name);
    }
    return rc < 0 ? agt__fail_io(err, rc, "cannot remove %.100s", name) : AGT_OK;
}

/* ---- beginning ---- */

/* What moves up, in this order; the catalog's name is that of its generation. */
static const char *const move_parts[] = {"git", "trace", "catalog.2", "journal"};

AGT_PRIVATE agt_status agt__upgrade_begin_anew(agt_upgrading *u, agt_error *err) {
    int moving = 0;
    agt_fd fd = u->sys->open(u->sys->ctx, u->at, AGT_UPGRADE_FOLDER, AGT_O_READ | AGT_O_FOLDER, 0);
    if (fd >= 0) {
        moving = move_has(u, fd, AGT_UPGRADE_MOVING);
        u->sys->close(u->sys->ctx, fd);
    }
    if (moving < 0) return agt__fail_io(err, moving, "cannot look into .agent-trace/upgrade");
    for (size_t i = 0; i < AGT_COUNT(move_parts); i++) {
        int there = move_has(u, u->at, move_parts[i]);
        if (there < 0) return agt__fail_io(err, there, "cannot look into .agent-trace");
        if (there && !moving)
            return agt__fail(err, AGT_CORRUPT,
                             ".agent-trace/%s is no part of a store of agent-trace 0.1.0, but "
                             "config.toml says that this is one; put the right config.toml back, "
                             "or move the other away",
                             move_parts[i]);
    }
    agt_status st = AGT_OK;
    for (size_t i = 0; moving && st == AGT_OK && i < AGT_COUNT(move_parts); i++)
        st = agt__upgrade_remove(u, u->at, move_parts[i], err);
    if (moving && st == AGT_OK) st = move_sync(u, u->at, err); /* before the word of them goes */
    if (st == AGT_OK) st = agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, err);
    return st == AGT_OK ? move_sync(u, u->at, err) : st;
}

/* ---- the commit ---- */

static agt_status move_up(agt_upgrading *u, agt_fd from, agt_fd to, const char *name,
                          agt_error *err) {
    int rc = u->sys->rename(u->sys->ctx, from, name, to, name, AGT_RENAME_REPLACE);
    return rc < 0 ? agt__fail_io(err, rc, "cannot move .agent-trace/upgrade/%s up", name) : AGT_OK;
}

/* Refused bytes go beside the old ones: their names are hashes. */
static agt_status move_rejected(agt_upgrading *u, agt_error *err) {
    agt_fd from, to;
    agt_status st = agt__open_folder(u->sys, u->build, "rejected", true, &from, err);
    if (st != AGT_OK) return st;
    st = agt__open_folder(u->sys, u->at, "rejected", true, &to, err);
    for (size_t i = 0; st == AGT_OK && i < u->image.refused.count; i++)
        st = move_up(u, from, to, AGT_OLD_ITEM(&u->image.refused, agt_image_refused, i)->name, err);
    if (st == AGT_OK) st = move_sync(u, to, err);
    if (to != AGT_FD_NONE) u->sys->close(u->sys->ctx, to);
    u->sys->close(u->sys->ctx, from);
    return st;
}

static agt_status move_backup(agt_upgrading *u, agt_fd *out, agt_error *err) {
    return agt__open_folder(u->sys, u->at, AGT_UPGRADE_BACKUP, true, out, err);
}

/* The old config.toml is copied: the commit replaces it. */
static agt_status move_config(agt_upgrading *u, agt_error *err) {
    agt_fd backup;
    agt_error mine;
    agt_buf b = agt__buf(&u->mem);
    agt_status st = agt__read_file(u->sys, u->at, "config.toml", MOVE_LINK_MAX * 8, &b, &mine);
    bool lost = st == AGT_NOT_FOUND;
    if (st != AGT_OK && !lost) st = agt__answer(st, &mine, err);
    if (st == AGT_OK || lost) st = move_backup(u, &backup, err);
    if (st == AGT_OK) {
        if (!lost) st = agt__write_file(u->sys, backup, "config.toml", b.data, b.len, true, err);
        u->sys->close(u->sys->ctx, backup);
    }
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_commit(agt_upgrading *u, agt_error *err) {
    agt_status st = move_config(u, err);
    if (st == AGT_OK) st = agt__write_file(u->sys, u->build, AGT_UPGRADE_MOVING, "", 0, true, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    for (size_t i = 0; st == AGT_OK && i < AGT_COUNT(move_parts); i++)
        st = move_up(u, u->build, u->at, move_parts[i], err);
    if (st == AGT_OK) st = move_rejected(u, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    if (st == AGT_OK) st = move_up(u, u->build, u->at, "config.toml", err);
    if (st != AGT_OK) return st;
    st = move_sync(u, u->at, err);
    if (st != AGT_OK && err) err->outcome_unknown = 1;
    return st;
}

/* ---- clearing away ---- */

/* Moves a part of the old store to the backup; what is there already stays, and so does this. */
static agt_status move_away(agt_upgrading *u, agt_fd from, agt_fd backup, const char *name,
                            agt_error *err) {
    int there = move_has(u, from, name), taken = there > 0 ? move_has(u, backup, name) : 0;
    if (there <= 0 || taken > 0)
        return there < 0 ? agt__fail_io(err, there, "cannot look at .agent-trace/%s", name)
                         : AGT_OK;
    int rc = u->sys->rename(u->sys->ctx, from, name, backup, name, AGT_RENAME_REPLACE);
    if (rc >= 0 || move_missing(rc)) return AGT_OK;
    return agt__fail_io(err, rc, "cannot move .agent-trace/%s to the backup", name);
}

static int move_is_rejected(void *ctx, const char *name) {
    size_t n = strlen(name);
    return n > 9 && strcmp(name + n - 9, ".rejected") == 0 ? move_name(ctx, name) : 0;
}

static agt_status move_old_rejected(agt_upgrading *u, agt_fd backup, agt_error *err) {
    agt_fd to, from = u->sys->open(u->sys->ctx, u->at, "rejected", AGT_O_READ | AGT_O_FOLDER, 0);
    move_names n = {agt__buf(&u->mem)};
    if (from < 0) return AGT_OK;
    int rc = u->sys->list(u->sys->ctx, from, move_is_rejected, &n);
    agt_status st = rc < 0 ? agt__fail_io(err, rc, "cannot list .agent-trace/rejected") : AGT_OK;
    if (n.names.failed) st = agt__nomem(err);
    if (st == AGT_OK && n.names.len) {
        st = agt__open_folder(u->sys, backup, "rejected", true, &to, err);
        for (size_t at = 0; st == AGT_OK && at < n.names.len;) {
            const char *name = (const char *)n.names.data + at;
            at += strlen(name) + 1;
            st = move_away(u, from, to, name, err);
        }
        if (to != AGT_FD_NONE) u->sys->close(u->sys->ctx, to);
    }
    u->sys->close(u->sys->ctx, from);
    agt__buf_free(&n.names);
    return st;
}

/* The work tree that the old repository names, without a slash at its end; "" if none. */
static void move_worktree(agt_upgrading *u, agt_fd backup, char *out, size_t size) {
    agt_buf b = agt__buf(&u->mem);
    out[0] = 0;
    agt_fd fd = u->sys->walk(u->sys->ctx, backup, "repo/.git");
    if (fd < 0) fd = u->sys->walk(u->sys->ctx, u->at, "repo/.git");
    if (fd < 0) return;
    if (agt__read_file(u->sys, fd, "config", MOVE_LINK_MAX * 8, &b, NULL) == AGT_OK) {
        const char *p = (const char *)b.data, *end = p + b.len, *line_end;
        for (; p < end; p = line_end + 1) {
            line_end = memchr(p, '\n', (size_t)(end - p));
            if (!line_end) line_end = end;
            while (p < line_end && (*p == ' ' || *p == '\t'))
                p++;
            if (line_end - p <= 11 || memcmp(p, "worktree = ", 11) != 0) continue;
            size_t n = (size_t)(line_end - p) - 11;
            while (n > 1 && p[10 + n] == '/')
                n--;
            (void)agt__copy_text(out, size, p + 11, n);
        }
    }
    u->sys->close(u->sys->ctx, fd);
    agt__buf_free(&b);
}

/* Is the text "gitdir: <root>/.agent-trace/repo/.git/"? */
static bool move_leads_to(agt_text link, const char *root) {
    static const char first[] = "gitdir: ", last[] = "/.agent-trace/repo/.git";
    size_t n = strlen(root), a = sizeof first - 1, z = sizeof last - 1;
    while (n && root[n - 1] == '/')
        n--;
    return link.len == a + n + z && memcmp(link.data, first, a) == 0 &&
           memcmp(link.data + a, root, n) == 0 && memcmp(link.data + a + n, last, z) == 0;
}

/* The root's .git goes with the repository that it leads to, here or where the store was made; any
 * other one is somebody's. */
static agt_status move_link(agt_upgrading *u, agt_fd backup, agt_error *err) {
    char here[4096], made[4096];
    agt_buf b = agt__buf(&u->mem);
    if (agt__read_file(u->sys, u->root, ".git", MOVE_LINK_MAX, &b, NULL) != AGT_OK) return AGT_OK;
    size_t n = b.len;
    while (n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r' || b.data[n - 1] == '/'))
        n--;
    agt_text link = {(const char *)b.data, n};
    if (u->sys->path_of(u->sys->ctx, u->root, here, sizeof here) < 0) here[0] = 0;
    move_worktree(u, backup, made, sizeof made);
    bool ours = (here[0] && move_leads_to(link, here)) || (made[0] && move_leads_to(link, made));
    static const char tail[] = "/.agent-trace/repo/.git";
    size_t z = sizeof tail - 1;
    u->link_left = !ours && n > z && memcmp(link.data + n - z, tail, z) == 0;
    agt__buf_free(&b);
    if (!ours) return AGT_OK;
    int rc = u->sys->rename(u->sys->ctx, u->root, ".git", backup, "gitlink", AGT_RENAME_REPLACE);
    u->link_gone = rc >= 0;
    if (rc < 0 && !move_missing(rc))
        return agt__fail_io(err, rc, "cannot move the root's .git away");
    return move_sync(u, u->root, err);
}

AGT_PRIVATE agt_status agt__upgrade_finish(agt_upgrading *u, agt_error *err) {
    static const char *const parts[] = {"manifest.toml",      ".manifest.toml.tmp",
                                        "overrides.toml",     "summary_events.jsonl",
                                        "summary_state.toml", "repo"};
    agt_fd backup;
    agt_status st = move_backup(u, &backup, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; st == AGT_OK && i < AGT_COUNT(parts); i++)
        st = move_away(u, u->at, backup, parts[i], err);
    if (st == AGT_OK) st = move_away(u, u->locks, backup, "agent-lock.toml", err);
    if (st == AGT_OK) st = move_away(u, u->locks, backup, "instance.lock", err);
    if (st == AGT_OK) st = move_old_rejected(u, backup, err);
    if (st == AGT_OK) st = move_link(u, backup, err);
    if (st == AGT_OK) st = move_sync(u, backup, err);
    if (st == AGT_OK) st = move_sync(u, u->at, err);
    u->sys->close(u->sys->ctx, backup);
    if (st == AGT_OK) st = agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, err);
    return st == AGT_OK ? move_sync(u, u->at, err) : st;
}
/* end src/reference/upgrade_move.c */
/* begin src/reference/upgrade_build.c */
/* upgrade_build: the parts of the new store, in .agent-trace/upgrade, each synced. */

#define BUILD_CHUNK   (32u * 1024 * 1024) /* bytes of content in one pack */
#define BUILD_COMMITS 2000u

/* ---- git ---- */

typedef struct build_run {
    agt_upgrading *u;
    agt_git *git;
    agt_commit_text text;
    agt_buf bytes, scratch;
    agt_oid head;
    bool has_head, begun;
    size_t commits;
    uint64_t put; /* bytes since the transaction began */
} build_run;

/* A version's bytes: from the old repository or, where that lost them, from the document, if it
 * still has them. */
static agt_status build_bytes(build_run *b, const agt_event *e, const agt_oid *blob, bool *found,
                              agt_error *err) {
    agt_upgrading *u = b->u;
    agt_error mine;
    agt_oid id;
    b->bytes.len = 0;
    *found = true;
    agt_status st = agt__git_read(u->old.git, blob, &b->bytes, &mine);
    if (st == AGT_OK) return st;
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    char folder[AGT_MAX_PATH + 1];
    agt_text was = agt__image_was(&u->image, e->path);
    size_t cut = was.len;
    while (cut && was.data[cut - 1] != '/')
        cut--;
    *found = false;
    b->bytes.len = 0;
    if (!agt__copy_text(folder, sizeof folder, was.data, cut ? cut - 1 : 0)) return AGT_OK;
    agt_fd fd = agt__walk_folder(u->sys, u->root, folder, false);
    if (fd < 0) return AGT_OK;
    char leaf[AGT_MAX_PATH + 1];
    (void)agt__copy_text(leaf, sizeof leaf, was.data + cut, was.len - cut);
    st = agt__read_file(u->sys, fd, leaf, AGT_MAX_DOCUMENT, &b->bytes, &mine);
    u->sys->close(u->sys->ctx, fd);
    if (st == AGT_NOMEM) return agt__answer(st, &mine, err);
    if (st != AGT_OK) return AGT_OK;
    agt__git_id(u->old.cpu, "blob", b->bytes.data, b->bytes.len, id.id);
    *found = memcmp(&id, blob, sizeof id) == 0;
    return AGT_OK;
}

static agt_status build_version(build_run *b, const agt_event *e, agt_error *err) {
    agt_oid blob;
    bool found;
    if (!e->blob.data) return agt__git_remove(b->git, e->path.data, e->path.len, err);
    (void)agt__unhex(e->blob.data, e->blob.len, blob.id, 20);
    agt_status st = build_bytes(b, e, &blob, &found, err);
    if (st != AGT_OK) return st;
    b->put += b->bytes.len;
    const void *bytes = b->bytes.data ? (const void *)b->bytes.data : "";
    return agt__git_put(b->git, e->path.data, e->path.len, &blob, found ? bytes : NULL,
                        found ? b->bytes.len : 0, err);
}

static agt_status build_write(build_run *b, agt_error *err) {
    if (!b->begun) return AGT_OK;
    b->begun = false;
    b->commits = 0;
    b->put = 0;
    return agt__git_write(b->git, AGT_GIT_PACK, err);
}

/* One record, one commit. */
static agt_status build_commit(build_run *b, const agt_image_record *r, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    const char *line = (const char *)b->u->image.lines.data + r->at, *end = line + r->len;
    agt_status st = AGT_OK;
    if (b->begun && (b->commits >= BUILD_COMMITS || b->put > BUILD_CHUNK)) st = build_write(b, err);
    if (st == AGT_OK && !b->begun) {
        st = agt__git_begin(b->git, b->has_head ? &b->head : NULL, err);
        b->begun = st == AGT_OK;
    }
    for (bool first = true; st == AGT_OK && line < end; first = false) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = newline ? (size_t)(newline - line) + 1 : (size_t)(end - line);
        st = agt__event_parse(line, n, &b->scratch, &e, err);
        if (st == AGT_OK) agt__commit_event(&b->text, first, &e, line, n);
        if (st == AGT_OK && e.version) st = build_version(b, &e, err);
        line += n;
    }
    if (st == AGT_OK) st = agt__commit_make(&b->text, b->git, r->recorded_ms, &b->head, err);
    b->has_head = b->has_head || st == AGT_OK;
    b->commits++;
    return st;
}

static agt_status build_git(agt_upgrading *u, agt_fd dir, agt_error *err) {
    build_run b = {.u = u, .text = agt__commit_text(&u->mem)};
    const agt_old_list *records = &u->image.records;
    b.bytes = b.scratch = agt__buf(&u->mem);
    agt_status st = agt__git_init(u->sys, dir, &u->mem, err);
    if (st == AGT_OK) st = agt__git_open(&b.git, u->sys, dir, &u->mem, u->old.cpu, err);
    for (size_t i = 0; st == AGT_OK && i < records->count; i++)
        st = build_commit(&b, AGT_OLD_ITEM(records, agt_image_record, i), err);
    if (st == AGT_OK) st = build_write(&b, err);
    if (st == AGT_OK && b.has_head) st = agt__git_set_head(b.git, &b.head, NULL, true, err);
    if (b.git) agt__git_close(b.git);
    agt__commit_free(&b.text);
    agt__buf_free(&b.bytes);
    agt__buf_free(&b.scratch);
    u->head = b.head;
    return st;
}

/* ---- the other parts ---- */

/* Makes a folder in upgrade/ and calls what fills it. */
static agt_status build_folder(agt_upgrading *u, const char *name,
                               agt_status (*fill)(agt_upgrading *u, agt_fd dir, agt_error *err),
                               agt_error *err) {
    agt_fd fd;
    agt_status st = agt__open_folder(u->sys, u->build, name, true, &fd, err);
    if (st != AGT_OK) return st;
    st = fill(u, fd, err);
    int rc = st == AGT_OK ? u->sys->sync(u->sys->ctx, fd) : 0;
    if (rc < 0) st = agt__fail_io(err, rc, "cannot sync .agent-trace/upgrade/%s", name);
    u->sys->close(u->sys->ctx, fd);
    return st;
}

static agt_status build_trace(agt_upgrading *u, agt_fd dir, agt_error *err) {
    const agt_image *m = &u->image;
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < m->segments.count; i++) {
        const agt_image_segment *s = AGT_OLD_ITEM(&m->segments, agt_image_segment, i);
        size_t end = i + 1 < m->segments.count ? s[1].at : m->lines.len;
        char name[AGT_SEGMENT_NAME];
        agt__segment_name(s->first_seq, name);
        st = agt__write_file(u->sys, dir, name, m->lines.data + s->at, end - s->at, true, err);
    }
    return st;
}

static agt_status build_rejected(agt_upgrading *u, agt_fd dir, agt_error *err) {
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < u->image.refused.count; i++) {
        const agt_image_refused *r = AGT_OLD_ITEM(&u->image.refused, agt_image_refused, i);
        const void *bytes = r->bytes.data ? (const void *)r->bytes.data : "";
        st = agt__write_file(u->sys, dir, r->name, bytes, r->bytes.len, true, err);
    }
    return st;
}

static agt_status build_files(agt_upgrading *u, agt_error *err) {
    char name[32];
    agt_journal_header h;
    agt_buf b = agt__buf(&u->mem);
    agt__veil_header(&u->image, &u->head, &h);
    agt__catalog_name(h.catalog, name);
    int rc = u->sys->random(u->sys->ctx, h.replica, sizeof h.replica);
    agt_status st = rc < 0 ? agt__fail_io(err, rc, "cannot get random bytes") : AGT_OK;
    if (st == AGT_OK) st = agt__catalog_encode(&u->image.catalog, u->old.cpu, h.next_seq, &b, err);
    if (st == AGT_OK) st = agt__write_file(u->sys, u->build, name, b.data, b.len, true, err);
    if (st == AGT_OK) st = agt__journal_create(u->sys, u->build, u->old.cpu, &u->mem, &h, err);
    b.len = 0;
    agt__veil_config(&u->old, &b);
    if (st == AGT_OK && b.failed) st = agt__nomem(err);
    if (st == AGT_OK)
        st = agt__write_file(u->sys, u->build, "config.toml", b.data, b.len, true, err);
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_build(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__open_folder(u->sys, u->at, AGT_UPGRADE_FOLDER, true, &u->build, err);
    if (st == AGT_OK) st = build_folder(u, "git", build_git, err);
    if (st == AGT_OK) st = build_folder(u, "trace", build_trace, err);
    if (st == AGT_OK) st = build_folder(u, "rejected", build_rejected, err);
    return st == AGT_OK ? build_files(u, err) : st;
}
/* end src/reference/upgrade_build.c */
/* begin src/reference/upgrade_report.c */
/* upgrade_report: what a person should know about an upgrade: a finding a line, each with its
 * mend. */

static void report_count(agt_buf *b, uint64_t n, const char *one, const char *many) {
    agt__buf_u64(b, n);
    agt__buf_byte(b, ' ');
    agt__buf_text(b, n == 1 ? one : many);
}

/* A path in quotes, as JSON has it: no control character gets through. */
static void report_path(agt_buf *b, agt_text path) {
    agt__json_put_string(b, path.data, path.len);
}

static void report_files(agt_buf *b, const agt_old_damage *d) {
    if (d->config)
        agt__buf_text(b, "config.toml is missing or damaged: the store's id was taken from "
                         "manifest.toml or made anew\n");
    if (d->manifest)
        agt__buf_text(b, "manifest.toml is missing or damaged: documents that it does not list "
                         "and their types come from the history; look at them with 'agent-trace "
                         "ls' and mend types with 'agent-trace reclassify'\n");
    if (d->overrides)
        agt__buf_text(b, "overrides.toml is damaged: grants behind the damage are gone; give them "
                         "again with 'agent-trace unlock'\n");
    if (d->event_lines) {
        report_count(b, d->event_lines, "line", "lines");
        agt__buf_text(b, " of summary_events.jsonl cannot be read; the file is kept as it is\n");
    }
    if (d->events_missing)
        agt__buf_text(b, "summary_events.jsonl is missing: times are known to the second only\n");
}

static void report_history(agt_buf *b, const agt_upgrading *u) {
    const agt_old_damage *d = &u->old.damage;
    if (d->heads_skipped)
        agt__buf_text(b, "the newest commits in .agent-trace/repo cannot be read: the history ends "
                         "with the last that can; files that are newer count as edits\n");
    if (d->cut)
        agt__buf_text(b, "the oldest commits in .agent-trace/repo cannot be read: the history "
                         "begins with the first that can\n");
    if (d->trees) {
        report_count(b, d->trees, "commit has", "commits have");
        agt__buf_text(b, " lost what it changed; what it says is kept\n");
    }
    if (u->image.blobs_lost) {
        report_count(b, u->image.blobs_lost, "version has", "versions have");
        agt__buf_text(b, " lost its bytes in .agent-trace/repo; a copy of the store may have "
                         "them\n");
    }
    if (d->doubtful) {
        report_count(b, d->doubtful, "commit says", "commits say");
        agt__buf_text(b, " something else than its author and its files; only those are "
                         "believed\n");
    }
    if (u->image.grants_dropped) {
        report_count(b, u->image.grants_dropped, "grant is", "grants are");
        agt__buf_text(b, " longer than seven days, or for nobody, and end here; give them again "
                         "with 'agent-trace unlock'\n");
    }
}

/* Names that had to be changed, and those that only other systems refuse. */
static agt_status report_names(agt_buf *b, const agt_upgrading *u, agt_error *err) {
    agt_rows rows;
    char clean[AGT_MAX_PATH + 1];
    size_t len;
    for (size_t i = 0; i < u->image.names.count; i++) {
        const agt_image_name *n = AGT_OLD_ITEM(&u->image.names, agt_image_name, i);
        report_path(b, n->old);
        agt__buf_text(b, " is no name that a store can hold; its versions are those of ");
        report_path(b, n->now);
        agt__buf_text(b, "; rename the file and add it with 'agent-trace add'\n");
    }
    agt_status st = agt__catalog_rows(&u->image.catalog, AGT_ROWS_ALL, &rows, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; i < rows.count; i++) {
        const agt_row *r = &rows.row[i];
        if (!r->exists || agt__path_normalise(r->path, r->path_len, clean, &len, NULL) == AGT_OK)
            continue;
        report_path(b, (agt_text){r->path, r->path_len});
        agt__buf_text(b, " has a name that some systems cannot store, so it can be read and not "
                         "written; give it another one with 'agent-trace mv'\n");
    }
    agt__rows_free(&u->mem, &rows);
    return AGT_OK;
}

/* Documents of the manifest that no commit ever had. */
static void report_unrecorded(agt_buf *b, const agt_upgrading *u) {
    agt_row row;
    for (size_t i = 0; i < u->old.documents.count; i++) {
        const agt_old_document *d = AGT_OLD_ITEM(&u->old.documents, agt_old_document, i);
        if (agt__catalog_find(&u->image.catalog, d->path.data, d->path.len, &row)) continue;
        bool renamed = false;
        for (size_t k = 0; k < u->image.names.count && !renamed; k++)
            renamed = agt__text_eq(AGT_OLD_ITEM(&u->image.names, agt_image_name, k)->old, d->path);
        if (renamed) continue;
        report_path(b, d->path);
        agt__buf_text(b, " is listed in manifest.toml, but was never recorded; add it with "
                         "'agent-trace add'\n");
    }
}

AGT_PRIVATE agt_status agt__upgrade_report(agt_upgrading *u, agt_error *err) {
    agt_buf *b = &u->report;
    report_files(b, &u->old.damage);
    report_history(b, u);
    report_unrecorded(b, u);
    agt_status st = report_names(b, u, err);
    if (u->link_left)
        agt__buf_text(b, "the file .git leads to another store's repository and was left as it "
                         "is\n");
    return st == AGT_OK && b->failed ? agt__nomem(err) : st;
}
/* end src/reference/upgrade_report.c */
/* begin src/reference/upgrade.c */
/* upgrade: the public call: locks, order, result. See upgrade.h. */

#define UPGRADE_PID_MAX 64u

/* ---- opening ---- */

static agt_status upgrade_open(agt_upgrading *u, const char *root, agt_error *err) {
    const agt_sys *sys = u->sys;
    u->root = sys->open_root(sys->ctx, root);
    if (u->root < 0) {
        int rc = (int)u->root;
        u->root = AGT_FD_NONE;
        return agt__fail_sys(err, rc, "cannot open the folder %.200s", root);
    }
    agt_status st = agt__open_folder(sys, u->root, AGT_STORE_NAME, false, &u->at, err);
    if (st != AGT_NOT_FOUND) return st;
    return agt__fail(err, AGT_NOT_FOUND, "no agent-trace store in %.200s", root);
}

static void upgrade_close(agt_upgrading *u) {
    agt_fd fds[] = {u->build, u->locks, u->at, u->root};
    if (u->poll.sys) agt__flock_close(&u->poll);
    if (u->store.sys) agt__flock_close(&u->store);
    agt__image_free(&u->image);
    if (u->old.sys) agt__old_free(&u->old);
    agt__buf_free(&u->report);
    for (size_t i = 0; i < AGT_COUNT(fds); i++)
        if (fds[i] != AGT_FD_NONE) u->sys->close(u->sys->ctx, fds[i]);
}

/* ---- (3): who is at work ---- */

/* instance.lock names the process of an open terminal interface. Where nobody can tell whether it
 * lives, it is taken to. */
static agt_status upgrade_instance(agt_upgrading *u, agt_error *err) {
    char proc[UPGRADE_PID_MAX + 8] = "/proc/";
    const agt_sys *sys = u->sys;
    agt_buf b = agt__buf(&u->mem);
    size_t n = 0;
    if (agt__read_file(sys, u->locks, "instance.lock", UPGRADE_PID_MAX, &b, NULL) == AGT_OK)
        while (n < b.len && b.data[n] >= '0' && b.data[n] <= '9')
            n++;
    if (n) memcpy(proc + 6, b.data, n);
    agt__buf_free(&b);
    if (!n) return AGT_OK;
    proc[6 + n] = 0;
    agt_fd lives = sys->open_root(sys->ctx, proc), tells = sys->open_root(sys->ctx, "/proc/self");
    if (lives >= 0) sys->close(sys->ctx, lives);
    if (tells >= 0) sys->close(sys->ctx, tells);
    if (lives < 0 && tells >= 0) return AGT_OK; /* it is dead */
    return agt__fail(err, AGT_BUSY,
                     "agent-trace 0.1.0 is open in this store (process %s); end it, or, if it is "
                     "dead, remove .agent-trace/locks/instance.lock",
                     proc + 6);
}

static agt_status upgrade_lock(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__open_folder(u->sys, u->at, "locks", true, &u->locks, err);
    if (st != AGT_OK) return st;
    agt__flock_init(&u->poll, u->sys, u->locks, "poll.lock");
    agt__flock_init(&u->store, u->sys, u->locks, "store.lock");
    st = agt__flock_take(&u->store, AGT_TRY, err);
    if (st == AGT_BUSY)
        return agt__fail(err, AGT_BUSY,
                         "somebody else upgrades this store, or writes to it; try "
                         "again");
    if (st == AGT_OK) st = agt__flock_take(&u->poll, AGT_TRY, err);
    if (st == AGT_BUSY)
        return agt__fail(err, AGT_BUSY,
                         "a process of agent-trace leads this store (.agent-trace/locks/poll.lock "
                         "names it); end it and try again");
    return st == AGT_OK ? upgrade_instance(u, err) : st;
}

/* ---- what happens ---- */

/* Did somebody commit while we were at it? */
static agt_status upgrade_still(agt_upgrading *u, agt_error *err) {
    agt_buf ids = agt__buf(&u->mem);
    size_t last = u->old.commits.count - 1;
    const agt_oid *head = &AGT_OLD_ITEM(&u->old.commits, agt_old_commit, last)->id;
    bool still = false;
    agt_status st = agt__git_past_heads(u->old.git, &ids, err);
    for (size_t i = 0; i <= u->old.damage.heads_skipped && (i + 1) * 20 <= ids.len; i++)
        still = still || memcmp(ids.data + i * 20, head->id, 20) == 0;
    agt__buf_free(&ids);
    if (st != AGT_OK || still) return st;
    return agt__fail(err, AGT_BUSY,
                     "agent-trace 0.1.0 wrote to the store meanwhile; end it and try again");
}

static agt_status upgrade_read(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__old_read(&u->old, u->sys, u->at, &u->mem, err);
    return st == AGT_OK ? agt__image_make(&u->image, &u->old, err) : st;
}

static agt_status upgrade_old(agt_upgrading *u, bool dry_run, agt_error *err) {
    agt_status st = AGT_OK;
    if (!dry_run) st = upgrade_lock(u, err);
    if (st == AGT_OK && !dry_run) st = agt__upgrade_begin_anew(u, err);
    if (st == AGT_OK) st = upgrade_read(u, err);
    if (st != AGT_OK || dry_run) return st;
    st = agt__upgrade_build(u, err);
    if (st == AGT_OK) st = upgrade_still(u, err);
    if (st != AGT_OK) {
        if (u->build != AGT_FD_NONE) (void)agt__upgrade_remove(u, u->at, AGT_UPGRADE_FOLDER, NULL);
        return st;
    }
    st = agt__upgrade_commit(u, err);
    return st == AGT_OK ? agt__upgrade_finish(u, err) : st;
}

/* A store of ours: an upgrade may have been stopped behind its commit. */
static agt_status upgrade_ours(agt_upgrading *u, bool dry_run, agt_error *err) {
    agt_stat st;
    if (dry_run || u->sys->stat(u->sys->ctx, u->at, AGT_UPGRADE_FOLDER, &st) < 0) return AGT_OK;
    agt_status status = upgrade_lock(u, err);
    return status == AGT_OK ? agt__upgrade_finish(u, err) : status;
}

static void upgrade_result(const agt_upgrading *u, bool ours, agt_upgrade_result *out) {
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    r.already = ours;
    r.commits = u->old.commits.count;
    r.events = ours ? 0 : u->image.next_seq - 1;
    r.versions = u->image.versions;
    r.documents = (uint64_t)u->image.catalog.live;
    r.versions_lost = u->image.blobs_lost;
    r.git_link_moved = u->link_gone;
    r.report = out->report;
    r.size = out->size;
    memcpy(out, &r, out->size < sizeof r ? out->size : sizeof r);
}

static agt_status upgrade_run(agt_upgrading *u, const char *root, bool dry_run,
                              agt_upgrade_result *result, agt_error *err) {
    agt_config config;
    agt_error mine;
    bool old = false;
    mine.status = AGT_OK;
    agt_status st = upgrade_open(u, root, err);
    if (st != AGT_OK) return st;
    st = agt__old_is(u->sys, u->at, &u->mem, &old, err);
    if (st != AGT_OK) return st;
    if (!old) {
        st = agt__config_read(u->sys, u->at, &u->mem, &config, &mine);
        if (st == AGT_OK) st = upgrade_ours(u, dry_run, &mine);
        (void)agt__answer(st, &mine, err);
    } else {
        st = upgrade_old(u, dry_run, err);
        if (st == AGT_OK) st = agt__upgrade_report(u, err);
    }
    if (st != AGT_OK || !result) return st;
    memset(&result->report, 0, sizeof result->report);
    st = agt__buf_give(&u->report, &result->report, err);
    if (st == AGT_OK) upgrade_result(u, !old, result);
    return st;
}

AGENT_TRACE_API agt_status agt_upgrade(const char *root, const agt_upgrade_options *opts,
                                       agt_upgrade_result *result, agt_error *err) {
    agt_upgrade_options o;
    agt_upgrade_result known;
    agt_upgrading u;
    AGENT_TRACE_ASSERT(root);
    agt_status st = agt__options(&o, sizeof o, opts, "agt_upgrade_options", err);
    if (st == AGT_OK && result)
        st = agt__options(&known, sizeof known, result, "agt_upgrade_result", err);
    if (st == AGT_OK && result && result->size < sizeof known)
        st = agt__fail(err, AGT_INVALID, "agt_upgrade_result is shorter than it ever was");
    if (st == AGT_OK && o.dry_run > 1)
        st = agt__fail(err, AGT_INVALID, "an upgrade option has a value that is none");
    if (st != AGT_OK) return st;
    memset(&u, 0, sizeof u);
    u.mem = agt__mem(o.allocator);
    u.sys = agt__sys_or_os(o.sys);
    u.root = u.at = u.locks = u.build = AGT_FD_NONE;
    u.report = agt__buf(&u.mem);
    st = upgrade_run(&u, root, o.dry_run != 0, result, err);
    upgrade_close(&u);
    return st;
}
/* end src/reference/upgrade.c */
