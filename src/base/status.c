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
#include "base.h"

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
    {AGT_SYS_EXIST, AGT_INVALID, "the name is taken; move away what is there"},
    {AGT_SYS_NOTDIR, AGT_INVALID,
     "a file stands where a folder is needed; move it away, or use another path"},
    {AGT_SYS_ISDIR, AGT_INVALID, "it is a folder; move it away"},
    {AGT_SYS_LOOP, AGT_INVALID, "it is a symbolic link; move it away"},
    {AGT_SYS_ACCESS, AGT_IO, "permission denied, or a read-only file system"},
    {AGT_SYS_NOSPC, AGT_IO, "no space left; make room and try again"},
    {AGT_SYS_BUSY, AGT_BUSY, "held by another owner"},
    {AGT_SYS_XDEV, AGT_IO, "it is on another file system"},
    {AGT_SYS_NOTEMPTY, AGT_INVALID, "the folder is not empty"},
    {AGT_SYS_NAME, AGT_INVALID, "the name is too long or not possible here; use another"},
    {AGT_SYS_NOSYS, AGT_UNSUPPORTED, "this file system cannot do it"},
    {AGT_SYS_NOMEM, AGT_NOMEM, "out of memory"},
    {AGT_SYS_FILES, AGT_IO,
     "too many files are open; close some, or raise the limit ('ulimit -n' shows it)"},
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
    char tail[120];
    if (code && s->cls == AGT_SYS_IO) /* only there does the number say more than the words */
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
