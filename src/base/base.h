/* base: what every part stands on. Statuses and errors, memory, checked arithmetic, options.
 * Touches libc memory and strings only. */
#ifndef AGT_BASE_H
#define AGT_BASE_H

#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#include "../../agent_trace.h"

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

#if defined(__MINGW32__) /* its printf is C's, see the manifest; its attribute is not */
#define AGT_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#elif defined(__GNUC__)
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
/* Is `end` behind something else in the name? */
AGT_PRIVATE bool agt__ends_in(const char *name, const char *end);
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
