/* What store tests share: a store in a temporary folder, writes that must succeed, and the facts
 * every store must show. */
#ifndef AGT_STORE_KIT_H
#define AGT_STORE_KIT_H

#include "test.h"

#include <stdarg.h>

static const agt_caller kit_user = AGT_CALLER("user");
static const agt_caller kit_agent = AGT_CALLER("agent:kestrel");

#ifdef AGENT_TRACE_NO_GIT
enum { kit_has_git = 0 };
#else
enum { kit_has_git = 1 };
#endif

static inline agt_store *kit_open(const char *root) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    CHECK_OK(agt_open(&s, root, &o, &err), err);
    return s;
}

static inline void kit_close(agt_store *s) {
    agt_error err;
    CHECK_OK(agt_close(s, &err), err);
}

static inline uint32_t kit_write(agt_store *s, const agt_caller *who, const char *path,
                                 const char *text) {
    agt_error err;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    CHECK_OK(agt_write(s, who, path, text, strlen(text), NULL, &r, &err), err);
    return r.version;
}

/* Writes `len` blanks with a number in their middle: sparse in a machine. */
static inline void kit_write_blanks(agt_store *s, const char *path, size_t len, int number) {
    agt_error err;
    char *text = malloc(len);
    memset(text, ' ', len);
    text[len / 2] = (char)('0' + number);
    CHECK_OK(agt_write(s, &kit_agent, path, text, len, NULL, NULL, &err), err);
    free(text);
}

/* The newest bytes are `text`. */
static inline void kit_reads(agt_store *s, const char *path, const char *text) {
    agt_error err;
    agt_bytes b;
    CHECK_OK(agt_read(s, path, &b, NULL, &err), err);
    CHECK_STR((const char *)b.data, text);
    agt_bytes_free(&b);
}

static inline void kit_version_reads(agt_store *s, const char *path, uint32_t version,
                                     const char *text) {
    agt_error err;
    agt_bytes b;
    CHECK_OK(agt_read_version(s, path, version, &b, &err), err);
    CHECK_STR((const char *)b.data, text);
    agt_bytes_free(&b);
}

static inline const char *kit_path(const char *root, const char *rest) {
    static char out[4][1200];
    static int at;
    char *p = out[at++ & 3];
    snprintf(p, sizeof out[0], "%s/%s", root, rest);
    return p;
}

static inline void kit_disk_has(const char *root, const char *path, const char *text) {
    size_t n;
    unsigned char *b = test_read_file(kit_path(root, path), &n);
    CHECK_BYTES(b, n, text, strlen(text));
    free(b);
}

/* Runs a command, fails the test unless it exits 0; returns what it prints (free it). */
static inline char *kit_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline char *kit_run(const char *format, ...) {
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    FILE *p = popen(command, "r");
    if (!p) test_fail(__FILE__, __LINE__, "cannot run %s", command);
    size_t n = 0, cap = 1 << 16, got;
    char *out = malloc(cap + 1);
    while ((got = fread(out + n, 1, cap - n, p)) > 0)
        if ((n += got) == cap) out = realloc(out, (cap *= 2) + 1);
    out[n] = 0;
    int code = pclose(p);
    if (code) test_fail(__FILE__, __LINE__, "%s: exit %d: %.400s", command, code, out);
    return out;
}

/* Publishes; in a build without git that is answered so. */
static inline void kit_publish(agt_store *s) {
    agt_error err;
    CHECK_STATUS(agt_publish(s, &err), kit_has_git ? AGT_OK : AGT_UNSUPPORTED, err);
}

static inline void kit_commits(const char *root, const char *want) {
    if (!kit_has_git) return;
    char *n = kit_run("git --git-dir %s/.agent-trace/git rev-list --count main", root);
    CHECK_STR(n, want);
    free(n);
}

static inline uint64_t kit_events(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    uint64_t n = 0;
    agt_status st;
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    while ((st = agt_trace_next(c, &e, &err)) == AGT_OK) {
        n++;
        CHECK_INT(e.seq, n);
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
    return n;
}

#endif /* AGT_STORE_KIT_H */
