/* oracle: what a store must show after a crash, whatever happened: a model of a few documents that
 * knows which versions were acknowledged, and a check that opens the store of a machine in memory
 * and compares. Works on tests/machine.h. */
#ifndef AGT_ORACLE_H
#define AGT_ORACLE_H

#include "../src/data/data.h"
#include "machine.h"
#include "test.h"

#define ORACLE_DOCS     6
#define ORACLE_VERSIONS 64

typedef struct oracle_version {
    char *text; /* NULL: deleted */
} oracle_version;

typedef struct oracle {
    char path[ORACLE_DOCS][32];
    oracle_version v[ORACLE_DOCS][ORACLE_VERSIONS]; /* from 1 */
    uint32_t acked[ORACLE_DOCS], tried[ORACLE_DOCS];
    bool loose[ORACLE_DOCS]; /* written at PROCESS: a cut may leave the file without its record */
} oracle;

static inline void oracle_init(oracle *o) {
    memset(o, 0, sizeof *o);
    for (int i = 0; i < ORACLE_DOCS; i++)
        snprintf(o->path[i], sizeof o->path[i], i % 2 ? "dir%d/deep/doc%d.md" : "doc%d.md",
                 i % 2 ? i / 2 : i, i);
}
static inline void oracle_free(oracle *o) {
    for (int i = 0; i < ORACLE_DOCS; i++)
        for (int k = 0; k < ORACLE_VERSIONS; k++)
            free(o->v[i][k].text);
}

/* The next version of document i is about to be tried; NULL deletes. Returns the text. */
static inline const char *oracle_try(oracle *o, int i, const char *text) {
    uint32_t n = o->acked[i] + 1;
    CHECK(n < ORACLE_VERSIONS);
    free(o->v[i][n].text);
    o->v[i][n].text = text ? strdup(text) : NULL;
    o->tried[i] = n;
    return o->v[i][n].text;
}
static inline void oracle_ack(oracle *o, int i) {
    o->acked[i] = o->tried[i];
    o->loose[i] = false;
}
static inline void oracle_not(oracle *o, int i) {
    o->tried[i] = o->acked[i];
}
static inline bool oracle_exists(const oracle *o, int i) {
    return o->acked[i] && o->v[i][o->acked[i]].text;
}

/* Is this text what version n must be? An in-flight change may have survived. */
static inline void oracle_check_document(const oracle *o, machine *m, agt_store *s, int i,
                                         const char *root) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_bytes b;
    char path[128];
    agt_status st = agt_document_get(s, o->path[i], &d, &err);
    if (st == AGT_NOT_FOUND)
        d.version = 0;
    else
        CHECK_STATUS(st, AGT_OK, err);
    if (d.version < o->acked[i] || d.version > o->tried[i])
        test_fail(__FILE__, __LINE__, "%s is at version %u; acknowledged %u, tried %u", o->path[i],
                  d.version, o->acked[i], o->tried[i]);
    for (uint32_t n = 1; n <= d.version; n++) {
        const char *want = o->v[i][n].text;
        st = agt_read_version(s, o->path[i], n, &b, &err);
        CHECK_STATUS(st, want ? AGT_OK : AGT_NOT_FOUND, err);
        if (want) CHECK_STR((const char *)b.data, want);
        agt_bytes_free(&b);
    }
    if (o->loose[i] && d.version < o->tried[i]) return;
    const char *want = d.version ? o->v[i][d.version].text : NULL;
    snprintf(path, sizeof path, "%s/%s", root, o->path[i]);
    char *disk = machine_get(m, path, NULL);
    if (!want != !disk)
        test_fail(__FILE__, __LINE__, "%s is %s on disk at version %u", o->path[i],
                  disk ? "still there" : "missing", d.version);
    if (want) CHECK_STR(disk, want);
    CHECK_INT(d.modified_outside, 0);
    free(disk);
}

/* seq without gaps, every line chained to the one before. Returns the last seq. */
static inline uint64_t oracle_check_trace(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_status st;
    unsigned char want[32] = {0};
    char hex[64];
    uint64_t n = 0;
    agt_cpu cpu = agt__cpu();
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    while ((st = agt_trace_next(c, &e, &err)) == AGT_OK) {
        CHECK_INT(e.seq, ++n);
        agt__hex(want, 32, hex);
        CHECK_BYTES(e.prev.data, e.prev.len, hex, 64);
        agt__sha256(cpu, e.line.data, e.line.len, want);
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
    return n;
}

static inline agt_store *oracle_open(machine_process *p, const char *root, machine_memory *mem,
                                     agt_status want) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(p);
    o.create = 1;
    if (mem) o.allocator = machine_memory_init(mem);
    agt_status st = agt_open(&s, root, &o, &err);
    CHECK_STATUS(st, want, err);
    return s;
}

/* Runs `work` in a new process that dies at change n; false if it came to its end. */
static inline bool oracle_until(machine *m, const char *root, uint64_t n,
                                void (*work)(agt_store *)) {
    machine_memory mem;
    machine_process *p = machine_process_new(m, "mortal");
    machine_memory_init(&mem);
    machine_crash_at(m, n, MACHINE_CHANGES, MACHINE_AFTER);
    bool ended = setjmp(*machine_crash_point(m)) == 0;
    if (ended) {
        agt_store *s = oracle_open(p, root, &mem, AGT_OK);
        if (work) work(s);
        agt_close(s, NULL);
    }
    machine_crash_at(m, 0, 0, MACHINE_AFTER);
    machine_memory_release(&mem);
    return !ended;
}

/* After a mended publication no object of git is a file that a power cut emptied. */
static inline void oracle_check_objects(machine *m, const char *root) {
    char path[128];
    snprintf(path, sizeof path, "%s/.agent-trace/git/objects", root);
    char *tree = machine_tree(m, path);
    for (char *line = tree; line && *line;) {
        char kind[16], mode[16];
        unsigned long long size;
        char *end = strchr(line, '\n');
        if (sscanf(line, "%15s %15s %llu", kind, mode, &size) == 3 && !strcmp(kind, "f"))
            if (!size && !strstr(line, "tmp_"))
                test_fail(__FILE__, __LINE__, "git has an empty object: %.120s", line);
        line = end ? end + 1 : NULL;
    }
    free(tree);
}

/* Opens the store in a new process and compares; then publishes, checkpoints, compares again,
 * and writes once more. */
static inline void oracle_check(const oracle *o, machine *m, const char *root) {
    agt_error err;
    machine_memory mem;
    agt_caller me = AGT_CALLER("agent:next");
    machine_process *p = machine_process_new(m, "checker");
    agt_store *s = oracle_open(p, root, &mem, AGT_OK);
    for (int i = 0; i < ORACLE_DOCS; i++)
        oracle_check_document(o, m, s, i, root);
    uint64_t events = oracle_check_trace(s);
    agt_store_info info = AGT_STORE_INFO_INIT;
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.last_seq, events);
    agt_status st = agt_publish(s, &err);
    if (st != AGT_UNSUPPORTED) CHECK_STATUS(st, AGT_OK, err);
    oracle_check_objects(m, root);
    CHECK_OK(agt_write(s, &me, "next.md", "works", 5, NULL, NULL, &err), err);
    CHECK_OK(agt_checkpoint(s, &err), err);
    for (int i = 0; i < ORACLE_DOCS; i++)
        oracle_check_document(o, m, s, i, root);
    CHECK_INT(oracle_check_trace(s), events + 1);
    CHECK_OK(agt_close(s, &err), err);
    CHECK_INT(mem.live_blocks, 0);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
}

#endif /* AGT_ORACLE_H */
