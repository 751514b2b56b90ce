/* crash_check: what a store must show after processes of it died. Every change carries a token that
 * no other change has: it is the event's summary ("token <token>"), and the bytes are made from it.
 * So the trace alone tells what every document, and every commit in git, must be.
 *
 * Stands on the public API and on git alone. The includer defines CRASH_FAIL(format, ...), which
 * does not return, before it includes this. */
#ifndef AGT_CRASH_CHECK_H
#define AGT_CRASH_CHECK_H

#include "../agent_trace.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CRASH_NAME = 40, CRASH_BIG = 1200000 };

/* A change that was tried. A removal's token begins with "rm". */
typedef struct crash_ack {
    char token[CRASH_NAME], path[CRASH_NAME];
    uint64_t seq;
    uint32_t version;
} crash_ack;

typedef struct crash_event {
    char token[CRASH_NAME], path[CRASH_NAME], blob[44];
    uint64_t seq;
    uint32_t version;
    bool newest; /* of its document */
    char *line;
    size_t len;
} crash_event;

typedef struct crash_trace {
    crash_event *events;    /* events[seq - 1] */
    crash_event **by_token; /* sorted */
    size_t count, cap;
} crash_trace;

/* ---- bytes ---- */

/* The bytes of a token: a line with the token, then filler; mostly short, some over several pages,
 * and for a token that begins with "big" more than fits into a record. free() them. */
static inline unsigned char *crash_bytes(const char *token, size_t *len) {
    static const size_t sizes[16] = {40,  100,  300,  511,  513,  700,  1000,  1500,
                                     400, 2000, 3000, 4095, 4097, 6000, 12000, 20000};
    uint64_t h = 14695981039346656037u;
    for (const char *p = token; *p; p++)
        h = (h ^ (unsigned char)*p) * 1099511628211u;
    *len = strncmp(token, "big", 3) == 0 ? CRASH_BIG : sizes[(h >> 32) % 16];
    unsigned char *b = malloc(*len + 1);
    if (!b) CRASH_FAIL("out of memory");
    size_t n = (size_t)snprintf((char *)b, *len + 1, "token %s\n", token);
    for (; n < *len; n++) {
        h = h * 6364136223846793005u + 1442695040888963407u;
        b[n] = n % 64 ? (unsigned char)('!' + (h >> 33) % 90) : '\n';
    }
    return b;
}

/* SHA-256 (FIPS 180), written again here: the library's own must not judge itself. */
static inline void crash_sha256_block(uint32_t state[8], const unsigned char *p) {
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
        0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
        0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
        0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
        0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
        0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
        0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
        0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
        0xc67178f2};
    uint32_t w[64], v[8];
#define CRASH_ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (CRASH_ROR(a, 7) ^ CRASH_ROR(a, 18) ^ a >> 3) +
               (CRASH_ROR(b, 17) ^ CRASH_ROR(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t1 = v[7] + (CRASH_ROR(e, 6) ^ CRASH_ROR(e, 11) ^ CRASH_ROR(e, 25)) +
                      ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
        uint32_t t2 = (CRASH_ROR(a, 2) ^ CRASH_ROR(a, 13) ^ CRASH_ROR(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
#undef CRASH_ROR
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

static inline void crash_sha256(const void *data, size_t len, char hex[65]) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const unsigned char *p = data;
    unsigned char last[128] = {0};
    size_t left = len % 64, tail = left < 56 ? 64 : 128;
    for (size_t i = 0; i + 64 <= len; i += 64)
        crash_sha256_block(state, p + i);
    if (left) memcpy(last, p + len - left, left);
    last[left] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[tail - 1 - i] = (unsigned char)((uint64_t)len * 8 >> 8 * i);
    for (size_t i = 0; i < tail; i += 64)
        crash_sha256_block(state, last + i);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08" PRIx32, state[i]);
}

/* ---- the trace ---- */

static inline int crash_compare(const void *a, const void *b) {
    return strcmp((*(crash_event *const *)a)->token, (*(crash_event *const *)b)->token);
}

static const crash_event *crash_find(const crash_trace *t, const char *token) {
    crash_event key, *k = &key;
    snprintf(key.token, sizeof key.token, "%s", token);
    if (!t->count) return NULL;
    crash_event *const *found =
        bsearch(&k, t->by_token, t->count, sizeof t->by_token[0], crash_compare);
    return found ? *found : NULL;
}

static inline void crash_text(char *out, size_t size, agt_text text, const char *what,
                              uint64_t seq) {
    if (text.len >= size) CRASH_FAIL("event %" PRIu64 ": %s is too long", seq, what);
    if (text.len) memcpy(out, text.data, text.len);
    out[text.len] = 0;
}

static inline void crash_take_event(crash_trace *t, const agt_event *e) {
    if (t->count == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 256;
        t->events = realloc(t->events, t->cap * sizeof t->events[0]);
        if (!t->events) CRASH_FAIL("out of memory");
    }
    crash_event *out = &t->events[t->count];
    memset(out, 0, sizeof *out);
    out->seq = e->seq;
    out->version = e->version;
    out->newest = true;
    if (e->summary.len < 7 || memcmp(e->summary.data, "token ", 6) != 0)
        CRASH_FAIL("event %" PRIu64 " is nobody's: %.*s", e->seq, (int)e->line.len, e->line.data);
    agt_text token = {e->summary.data + 6, e->summary.len - 6};
    crash_text(out->token, sizeof out->token, token, "token", e->seq);
    crash_text(out->path, sizeof out->path, e->path, "path", e->seq);
    crash_text(out->blob, sizeof out->blob, e->blob, "blob", e->seq);
    if (!!out->blob[0] != (out->version && strncmp(out->token, "rm", 2) != 0))
        CRASH_FAIL("event %" PRIu64 " (%s) has the blob \"%s\"", e->seq, out->token, out->blob);
    if (out->version) { /* the versions of a document are a chain without a fork */
        crash_event *before = e->doc_prev ? &t->events[e->doc_prev - 1] : NULL;
        if (e->doc_prev >= e->seq ||
            (before && (strcmp(before->path, out->path) != 0 ||
                        before->version + 1 != out->version || !before->newest)))
            CRASH_FAIL("event %" PRIu64 " (%s version %" PRIu32 ") does not follow event %" PRIu64,
                       e->seq, out->path, out->version, e->doc_prev);
        if (!before && out->version != 1)
            CRASH_FAIL("event %" PRIu64 " makes version %" PRIu32 " out of nothing", e->seq,
                       out->version);
        if (before) before->newest = false;
    }
    out->len = e->line.len;
    out->line = malloc(out->len + 1);
    if (!out->line) CRASH_FAIL("out of memory");
    memcpy(out->line, e->line.data, out->len);
    out->line[out->len] = 0;
    t->count++;
}

/* Reads the whole trace: seqs without gaps, every line chained to the one before, every token
 * once. */
static inline void crash_trace_load(crash_trace *t, agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_status st;
    char prev[65];
    memset(t, 0, sizeof *t);
    memset(prev, '0', 64);
    prev[64] = 0;
    if (agt_trace(s, NULL, &c, &err) != AGT_OK) CRASH_FAIL("trace: %s", err.message);
    while ((st = agt_trace_next(c, &e, &err)) == AGT_OK) {
        if (e.seq != t->count + 1)
            CRASH_FAIL("event %" PRIu64 " follows event %zu", e.seq, t->count);
        if (e.prev.len != 64 || memcmp(e.prev.data, prev, 64) != 0)
            CRASH_FAIL("event %" PRIu64 " is not chained to the line before", e.seq);
        crash_sha256(e.line.data, e.line.len, prev);
        crash_take_event(t, &e);
    }
    if (st != AGT_END) CRASH_FAIL("trace after event %zu: %s", t->count, err.message);
    agt_cursor_close(c);
    t->by_token = malloc((t->count + 1) * sizeof t->by_token[0]);
    if (!t->by_token) CRASH_FAIL("out of memory");
    for (size_t i = 0; i < t->count; i++)
        t->by_token[i] = &t->events[i];
    qsort(t->by_token, t->count, sizeof t->by_token[0], crash_compare);
    for (size_t i = 1; i < t->count; i++)
        if (strcmp(t->by_token[i - 1]->token, t->by_token[i]->token) == 0)
            CRASH_FAIL("%s is doubled: events %" PRIu64 " and %" PRIu64, t->by_token[i]->token,
                       t->by_token[i - 1]->seq, t->by_token[i]->seq);
}

static inline void crash_trace_free(crash_trace *t) {
    for (size_t i = 0; i < t->count; i++)
        free(t->events[i].line);
    free(t->events);
    free(t->by_token);
    memset(t, 0, sizeof *t);
}

static inline void crash_check_ack(const crash_trace *t, const crash_ack *a) {
    const crash_event *e = crash_find(t, a->token);
    if (!e) CRASH_FAIL("%s was acknowledged as event %" PRIu64 " and is lost", a->token, a->seq);
    if (e->seq != a->seq || e->version != a->version || strcmp(e->path, a->path) != 0)
        CRASH_FAIL("%s was acknowledged as event %" PRIu64 ", %s version %" PRIu32
                   ", and is event %" PRIu64 ", %s version %" PRIu32,
                   a->token, a->seq, a->path, a->version, e->seq, e->path, e->version);
}

/* ---- the documents ---- */

static inline void crash_check_file(const char *root, const crash_event *e) {
    char name[4200];
    size_t len = 0;
    unsigned char *want = e->blob[0] ? crash_bytes(e->token, &len) : NULL;
    snprintf(name, sizeof name, "%s/%s", root, e->path);
    FILE *f = fopen(name, "rb");
    if (!f != !want)
        CRASH_FAIL("%s, %s, is %sthere", e->path, want ? "which is written" : "which is removed",
                   want ? "not " : "");
    if (f) {
        unsigned char *got = malloc(len + 2);
        if (!got) CRASH_FAIL("out of memory");
        size_t n = fread(got, 1, len + 1, f);
        if (n != len || memcmp(got, want, len) != 0)
            CRASH_FAIL("%s has %zu bytes that are not version %" PRIu32 " (%s, %zu bytes)", e->path,
                       n, e->version, e->token, len);
        free(got);
        fclose(f);
    }
    free(want);
}

/* Every document is its newest event's version, on disk and for readers; there are no others. */
static inline void crash_check_documents(const crash_trace *t, agt_store *s, const char *root) {
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    size_t live = 0, listed = 0;
    for (size_t i = 0; i < t->count; i++) {
        const crash_event *e = &t->events[i];
        if (!e->version || !e->newest) continue;
        live += e->blob[0] != 0;
        if (agt_document_get(s, e->path, &d, &err) != AGT_OK)
            CRASH_FAIL("%s: %s", e->path, err.message);
        if (d.version != e->version || d.last_seq != e->seq || strcmp(d.blob, e->blob) != 0 ||
            d.modified_outside || d.exists != (e->blob[0] != 0))
            CRASH_FAIL("%s is version %" PRIu32 " of event %" PRIu64 "%s, not version %" PRIu32
                       " of event %" PRIu64,
                       e->path, d.version, d.last_seq, d.modified_outside ? ", modified" : "",
                       e->version, e->seq);
        crash_check_file(root, e);
    }
    if (agt_list(s, NULL, &c, &err) != AGT_OK) CRASH_FAIL("list: %s", err.message);
    while (agt_list_next(c, &d, &err) == AGT_OK)
        listed++;
    agt_cursor_close(c);
    if (listed != live) CRASH_FAIL("%zu documents are listed, %zu were written", listed, live);
}

/* Any version's bytes, from the journal or from git, whichever has them. */
static inline void crash_check_version(agt_store *s, const crash_event *e) {
    agt_error err;
    agt_bytes got;
    size_t len;
    if (!e->blob[0]) return;
    unsigned char *want = crash_bytes(e->token, &len);
    if (agt_read_version(s, e->path, e->version, &got, &err) != AGT_OK)
        CRASH_FAIL("%s version %" PRIu32 ": %s", e->path, e->version, err.message);
    if (got.len != len || memcmp(got.data, want, len) != 0)
        CRASH_FAIL("%s version %" PRIu32 " does not read as it was written", e->path, e->version);
    agt_bytes_free(&got);
    free(want);
}

/* ---- git ---- */

static inline FILE *crash_git(const char *root, const char *command) {
    char line[5000];
    snprintf(line, sizeof line, "git -c safe.directory='*' --git-dir='%s/.agent-trace/git' %s",
             root, command);
    FILE *p = popen(line, "r");
    if (!p) CRASH_FAIL("cannot run %s", line);
    return p;
}

static inline void crash_git_end(FILE *p, const char *what) {
    int code = pclose(p);
    if (code) CRASH_FAIL("git %s: exit %d", what, code);
}

/* ":<mode> <mode> <old> <new> <status>\t<path>": what a commit changed must be one of its events.
 */
static inline void crash_git_change(const crash_trace *t, size_t from, size_t to,
                                    const char *line) {
    char blob[44], path[200];
    if (sscanf(line, ":%*6s %*6s %*40s %40s %*1s\t%199[^\n]", blob, path) != 2)
        CRASH_FAIL("git log says: %s", line);
    if (strspn(blob, "0") == 40) blob[0] = 0;
    for (size_t i = from; i < to; i++)
        if (strcmp(t->events[i].path, path) == 0 && strcmp(t->events[i].blob, blob) == 0) return;
    CRASH_FAIL("a commit changes %s to %s, which none of its events (%zu to %zu) says", path, blob,
               from + 1, to);
}

/* The history is the trace from its first event on, every event once, in order, byte for byte;
 * every commit changes what its events say and nothing else. Returns how many events git has. */
static inline size_t crash_check_history(const crash_trace *t, const char *root) {
    char *line = NULL;
    size_t cap = 0, n = 0, from = 0, changes = 0, want = 0;
    FILE *p = crash_git(root, "log --reverse --raw --root --no-renames --no-abbrev --format=%B "
                              "refs/heads/main --");
    for (ssize_t len; (len = getline(&line, &cap, p)) > 0;) {
        if (strncmp(line, "[agent-trace] ", 14) == 0) {
            if (changes != want)
                CRASH_FAIL("the commit of event %zu changes %zu documents, not %zu", n, changes,
                           want);
            from = n;
            changes = want = 0;
        } else if (strncmp(line, "event: ", 7) == 0) {
            if (n >= t->count || (size_t)len - 7 != t->events[n].len ||
                memcmp(line + 7, t->events[n].line, (size_t)len - 7) != 0)
                CRASH_FAIL("event %zu in git is not the trace's: %s", n + 1, line + 7);
            want += t->events[n++].version != 0;
        } else if (line[0] == ':') {
            crash_git_change(t, from, n, line);
            changes++;
        }
    }
    free(line);
    crash_git_end(p, "log");
    if (changes != want)
        CRASH_FAIL("the last commit changes %zu documents, not %zu", changes, want);
    return n;
}

/* Every version's bytes are in git, under the name that the trace gives them. */
static inline void crash_check_blobs(const crash_trace *t, const char *root) {
    char list[4200], command[4400], *line = NULL;
    size_t cap = 0;
    snprintf(list, sizeof list, "%s/.agent-trace/tmp/blobs.list", root);
    FILE *f = fopen(list, "w");
    if (!f) CRASH_FAIL("cannot write %s", list);
    for (size_t i = 0; i < t->count; i++)
        if (t->events[i].blob[0]) fprintf(f, "%s\n", t->events[i].blob);
    fclose(f);
    snprintf(command, sizeof command, "cat-file --batch <'%s'", list);
    FILE *p = crash_git(root, command);
    for (size_t i = 0; i < t->count; i++) {
        const crash_event *e = &t->events[i];
        char kind[16] = "";
        size_t size = 0, len;
        if (!e->blob[0]) continue;
        unsigned char *want = crash_bytes(e->token, &len), *got = malloc(len + 1);
        if (getline(&line, &cap, p) <= 0 || sscanf(line, "%*40s %15s %zu", kind, &size) != 2 ||
            strcmp(kind, "blob") != 0 || size != len || !got ||
            fread(got, 1, len + 1, p) != len + 1 || memcmp(got, want, len) != 0)
            CRASH_FAIL("git does not have the bytes of %s (event %" PRIu64 "): %.80s", e->token,
                       e->seq, line ? line : "");
        free(want);
        free(got);
    }
    free(line);
    crash_git_end(p, "cat-file");
    remove(list);
}

/* git's newest tree is the documents. */
static inline void crash_check_tree(const crash_trace *t, const char *root) {
    char *line = NULL, blob[44], path[200];
    size_t cap = 0, live = 0, found = 0;
    FILE *p = crash_git(root, "ls-tree -r refs/heads/main");
    while (getline(&line, &cap, p) > 0) {
        bool known = false;
        if (sscanf(line, "100644 blob %40s\t%199[^\n]", blob, path) != 2)
            CRASH_FAIL("git's tree has: %s", line);
        for (size_t i = t->count; i-- > 0 && !known;)
            known = t->events[i].version && t->events[i].newest &&
                    strcmp(t->events[i].path, path) == 0 && strcmp(t->events[i].blob, blob) == 0;
        if (!known) CRASH_FAIL("git's tree has %s as %s, which is no document", path, blob);
        found++;
    }
    free(line);
    crash_git_end(p, "ls-tree");
    for (size_t i = 0; i < t->count; i++)
        live += t->events[i].version && t->events[i].newest && t->events[i].blob[0];
    if (found != live) CRASH_FAIL("git's tree has %zu documents, there are %zu", found, live);
}

/* ---- all of it ---- */

static inline agt_store *crash_open(const char *root) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.create = 1;
    if (agt_open(&s, root, &o, &err) != AGT_OK) CRASH_FAIL("open: %s", err.message);
    return s;
}

static inline crash_ack crash_write(agt_store *s, const char *path, const char *token) {
    agt_error err;
    agt_caller who = AGT_CALLER("agent:kestrel");
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    char summary[CRASH_NAME + 8];
    crash_ack a;
    size_t len;
    unsigned char *bytes = crash_bytes(token, &len);
    snprintf(summary, sizeof summary, "token %s", token);
    o.summary = summary;
    memset(&a, 0, sizeof a);
    if (agt_write(s, &who, path, bytes, len, &o, &r, &err) != AGT_OK)
        CRASH_FAIL("writing %s (%s): %s", path, token, err.message);
    free(bytes);
    if (r.unchanged || r.edit_recorded || r.edit_kept_aside || r.apply_pending)
        CRASH_FAIL("writing %s (%s): unchanged %u, edit recorded %u, kept aside %u, pending %u",
                   path, token, r.unchanged, r.edit_recorded, r.edit_kept_aside, r.apply_pending);
    snprintf(a.path, sizeof a.path, "%s", path);
    snprintf(a.token, sizeof a.token, "%s", token);
    a.seq = r.seq;
    a.version = r.version;
    return a;
}

/* Several changes at once: a batch, or a group. At most 8. */
static inline void crash_changes(agt_store *s, bool batch, size_t n, const char *const *paths,
                                 const char *const *tokens, crash_ack *acks) {
    agt_error err;
    agt_caller who = AGT_CALLER("user");
    agt_change c[8];
    agt_write_options o[8];
    agt_write_result r[8];
    unsigned char *bytes[8];
    char summary[8][CRASH_NAME + 8];
    memset(acks, 0, n * sizeof acks[0]);
    for (size_t i = 0; i < n; i++) {
        c[i] = (agt_change)AGT_CHANGE_INIT;
        o[i] = (agt_write_options)AGT_WRITE_OPTIONS_INIT;
        r[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
        bytes[i] = crash_bytes(tokens[i], &c[i].len);
        snprintf(summary[i], sizeof summary[i], "token %s", tokens[i]);
        o[i].summary = summary[i];
        c[i].kind = strncmp(tokens[i], "rm", 2) == 0;
        c[i].caller = batch ? NULL : &who;
        c[i].path = paths[i];
        c[i].bytes = bytes[i];
        c[i].options = &o[i];
    }
    agt_status st = batch ? agt_batch(s, &who, c, n, 0, r, &err) : agt_group(s, c, n, 0, r, &err);
    if (st != AGT_OK) CRASH_FAIL("%s: %s", batch ? "batch" : "group", err.message);
    for (size_t i = 0; i < n; i++) {
        if (!batch && r[i].status != AGT_OK) CRASH_FAIL("group: %s", r[i].message);
        if (r[i].unchanged || r[i].edit_recorded || r[i].edit_kept_aside || r[i].apply_pending)
            CRASH_FAIL("%s (%s) met an edit that nobody made", paths[i], tokens[i]);
        snprintf(acks[i].token, sizeof acks[i].token, "%s", tokens[i]);
        snprintf(acks[i].path, sizeof acks[i].path, "%s", paths[i]);
        acks[i].seq = r[i].seq;
        acks[i].version = r[i].version;
        free(bytes[i]);
    }
}

/* `git fsck` must have nothing to say. */
static inline void crash_check_fsck(const char *root) {
    char out[400];
    FILE *p = crash_git(root, "fsck --full --strict --no-progress 2>&1");
    size_t n = fread(out, 1, sizeof out - 1, p);
    out[n] = 0;
    int code = pclose(p);
    if (n || code) CRASH_FAIL("git fsck, exit %d: %s", code, out);
}

/* Opens the store, which recovers it, and looks at everything; then writes, publishes, checkpoints,
 * and looks again. `published` events were acknowledged as being in git. Returns the events. */
static inline size_t crash_check(const char *root, const crash_ack *acks, size_t count,
                                 uint64_t published) {
    agt_error err;
    crash_trace t;
    char token[CRASH_NAME];
    agt_store *s = crash_open(root);
    crash_trace_load(&t, s);
    for (size_t i = 0; i < count; i++)
        crash_check_ack(&t, &acks[i]);
    crash_check_documents(&t, s, root);
    if (published) {
        size_t n = crash_check_history(&t, root);
        if (n < published)
            CRASH_FAIL("git was said to have %" PRIu64 " events and has %zu", published, n);
    }
    for (size_t i = t.count > 40 ? t.count - 40 : 0; i < t.count; i++)
        crash_check_version(s, &t.events[i]);
    size_t before = t.count;
    crash_trace_free(&t);
    snprintf(token, sizeof token, "next.%zu", before + 1);
    crash_ack next[2] = {crash_write(s, "next.md", token)};
    agt_status st = agt_publish(s, &err);
    if (st != AGT_OK && st != AGT_UNSUPPORTED) CRASH_FAIL("publish: %s", err.message);
    bool git = st == AGT_OK;
    snprintf(token, sizeof token, "next.%zu", before + 2);
    next[1] = crash_write(s, "next.md", token);
    if (agt_checkpoint(s, &err) != AGT_OK) CRASH_FAIL("checkpoint: %s", err.message);
    crash_trace_load(&t, s);
    if (t.count != before + 2)
        CRASH_FAIL("%zu events and 2 writes make %zu events", before, t.count);
    for (size_t i = 0; i < count; i++)
        crash_check_ack(&t, &acks[i]);
    crash_check_ack(&t, &next[0]);
    crash_check_ack(&t, &next[1]);
    crash_check_documents(&t, s, root);
    if (git) {
        size_t n = crash_check_history(&t, root);
        if (n != t.count) CRASH_FAIL("git has %zu events of %zu", n, t.count);
        crash_check_blobs(&t, root);
        crash_check_tree(&t, root);
    }
    for (size_t i = t.count > 40 ? t.count - 40 : 0; i < t.count; i++)
        crash_check_version(s, &t.events[i]);
    if (agt_close(s, &err) != AGT_OK) CRASH_FAIL("close: %s", err.message);
    if (git) crash_check_fsck(root);
    size_t events = t.count;
    crash_trace_free(&t);
    return events;
}

#endif /* AGT_CRASH_CHECK_H */
