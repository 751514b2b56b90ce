/* What journal_recover and hostile_store share: a small store in a machine's memory, and an input
 * that changes its files as a hostile maker or a dying disk would.
 *
 * Byte 0 of the input:  1 the machine was restarted (recovery), else a writer died
 *                       2 mend the checksums of headers, records, catalog and state
 *                       4 set magic, generation, first_seq and length of the records right, too
 *                       8, 16 and above: the target's own
 * Then orders, each with a kind in the low four bits of its first byte:
 *   0 header  1 records  2 state  3 catalog  4 unpublished  5 trace  6 a document  7 config.toml
 *           u16 offset (from the area's beginning), u8 n, n bytes: written over what is there
 *   8       u8 flags, u16 n, n bytes of a line, u8 m, m bytes of content: an entry
 *   9       u8 n, n bytes of a path, u8 action and flags, u8 version, u8 m, m bytes: an entry
 *           whose line is made from that
 *   10      u8 n: all but the first n records are gone; entries follow there
 *   11      u8 n, n bytes of a name, u8 m, m bytes: that file in .agent-trace/tmp
 * Entries with the bit 16 are in one record with the entry before. In a line and a path \1 stands
 * for the seq, \2 for the hash of the line before, \3 for git's id of the content, \4 for a UUID.
 */
#ifndef AGT_FUZZ_HOSTILE_H
#define AGT_FUZZ_HOSTILE_H

#include "../src/log/journal.h"
#include "../tests/machine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOT "/home/store"
#define OWN  ROOT "/.agent-trace/"

static void must_at(int c, int line, const char *what) {
    if (c) return;
    fprintf(stderr, "line %d: not so: %s\n", line, what);
    abort();
}
#define must(c) must_at(!!(c), __LINE__, #c)

/* ---- the store that is damaged ---- */

enum {
    AREA_HEADER,
    AREA_RECORDS,
    AREA_STATE,
    AREA_CATALOG,
    AREA_UNPUBLISHED,
    AREA_TRACE,
    AREA_DOC
};
enum { AREA_CONFIG = 7, AREAS, BIT_RESTART = 1, BIT_MEND = 2, BIT_FRAME = 4 };
enum { ROOM = 32 * 1024, RECORDS_MAX = 32 };

static const char *const area_file[AREAS] = {
    OWN "journal",
    OWN "journal",
    OWN "state",
    OWN "catalog.2",
    OWN "unpublished/1.records",
    OWN "trace/000000000001.jsonl",
    ROOT "/plan.md",
    OWN "config.toml",
};

struct known { /* a version that was acknowledged */
    const char *path;
    uint32_t version;
    uint64_t seq;
    const char *text;
};
static const struct known known[] = {
    {"plan.md", 1, 1, "one\n"},          {"notes/deep.md", 1, 2, "deep\n"},
    {"plan.md", 2, 3, "one\ntwo\n"},     {"gone.md", 1, 4, "gone\n"},
    {"notes/log.md", 1, 6, "a log\n"},   {"plan.md", 3, 7, "one\ntwo\nthree\n"},
    {"notes/deep.md", 2, 8, "deeper\n"}, {"new/a.md", 1, 9, "new\n"},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static agt_cpu cpu;          /* asked once: it is slow on a virtual machine */
static machine *prepared[2]; /* a writer died; the machine was restarted */
static char *outside;
static unsigned char *area[AREAS];
static size_t area_len[AREAS];
static uint64_t generation; /* of the journal */

/* Behind each record of the journal, the first one being none at all. */
static struct place {
    uint64_t end, next_seq, trace;
    uint32_t chain;
    char prev[64];
} place[RECORDS_MAX];
static int places;

static agt_open_options options_of(machine_process *p, const agt_allocator *memory) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(p);
    o.allocator = memory;
    o.publish = AGT_PUBLISH_MANUAL;
    o.timeout_ms = AGT_TRY;
    return o;
}

static void prepare_write(agt_store *s, int i) {
    agt_caller me = AGT_CALLER(i & 1 ? "agent:kestrel" : "user");
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    must(agt_write(s, &me, known[i].path, known[i].text, strlen(known[i].text), NULL, &r, NULL) ==
         AGT_OK);
    must(r.version == known[i].version && r.seq == known[i].seq);
}

static agt_store *prepare_open(machine *m, machine_process **p, uint32_t create) {
    agt_store *s;
    *p = machine_process_new(m, "editor");
    agt_open_options o = options_of(*p, NULL);
    o.create = create;
    must(agt_open(&s, ROOT, &o, NULL) == AGT_OK);
    return s;
}

static void prepare_close(agt_store *s, machine_process *p) {
    machine_process_kill(p);
    (void)agt_close(s, NULL);
    machine_process_free(p);
}

static void prepare_record(const agt_record *r) {
    struct place *p = &place[places];
    size_t at = 0;
    agt_entry e;
    unsigned char hash[32];
    must(places < RECORDS_MAX);
    *p = place[places++ - 1];
    p->end += r->length;
    p->next_seq += r->entries;
    p->chain = r->crc;
    p->trace = r->trace_offset;
    while (agt__record_next(r, &at, &e)) {
        p->trace += e.line_len;
        agt__sha256(cpu, e.line, e.line_len, hash);
        agt__hex(hash, 32, p->prev);
    }
}

static void prepare_records(void) {
    agt_record r;
    const unsigned char *p = area[AREA_HEADER];
    if (agt__get64(p + AGT_JOURNAL_SLOT + 16) > agt__get64(p + 16)) p += AGT_JOURNAL_SLOT;
    generation = agt__get64(p + 16);
    place[0].next_seq = agt__get64(p + 40);
    place[0].trace = agt__get64(p + 56);
    place[0].chain = agt__get32(p + 228);
    agt__hex(p + 64, 32, place[0].prev);
    places = 1;
    for (;;) {
        const struct place *last = &place[places - 1];
        if (agt__record_parse(area[AREA_RECORDS] + last->end, ROOM - last->end, cpu, generation,
                              last->next_seq, last->chain, &r) != AGT_OK)
            break;
        prepare_record(&r);
    }
    must(places == 6 && place[5].next_seq == 11);
    area_len[AREA_RECORDS] = (size_t)place[5].end;
}

static void prepare_areas(machine *m) {
    for (int i = 0; i < AREAS; i++) {
        size_t n;
        char *bytes = machine_get(m, area_file[i], &n);
        must(bytes && n);
        area[i] = (unsigned char *)bytes;
        area_len[i] = n;
    }
    area_len[AREA_HEADER] = AGT_JOURNAL_START;
    memmove(area[AREA_RECORDS], area[AREA_RECORDS] + AGT_JOURNAL_START, ROOM);
    prepare_records();
}

/* Seven events that a recovery's checkpoint moved to catalog.2 and unpublished/, a part of the
 * eighth behind them, and a journal with five records. */
static void hostile_prepare(void) {
    machine_settings set = {.unsynced_kept = true, .seed = 7};
    machine *m = machine_new(&set);
    machine_process *p;
    agt_caller user = AGT_CALLER("user"), agent = AGT_CALLER("agent:heron");
    machine_make_folder(m, "/home");
    machine_make_folder(m, "/outside/.git");
    machine_put_text(m, "/outside/.git/config", "[core]\n");
    machine_put_text(m, "/outside/letter.md", "not yours\n");
    agt_store *s = prepare_open(m, &p, 1);
    for (int i = 0; i < 4; i++)
        prepare_write(s, i);
    user.confirm = 1;
    must(agt_remove(s, &user, "gone.md", NULL, NULL, NULL) == AGT_OK);
    machine_reboot(m);
    (void)agt_close(s, NULL);
    machine_process_free(p);
    s = prepare_open(m, &p, 0);
    for (int i = 4; i < KNOWN; i++)
        prepare_write(s, i);
    must(agt_event_append(s, &agent, "note.made", "a note", NULL, 0, NULL, NULL) == AGT_OK);
    prepare_close(s, p);
    outside = machine_tree(m, "/outside");
    prepared[0] = m;
    prepared[1] = machine_clone(m);
    machine_reboot(prepared[1]);
    prepare_areas(m);
}

/* ---- the input ---- */

typedef struct input {
    const uint8_t *p;
    size_t n;
} input;

static uint32_t take(input *in, int bytes) { /* zeros behind the end */
    uint32_t v = 0;
    for (int i = 0; i < bytes; i++) {
        if (!in->n) continue;
        v |= (uint32_t)*in->p++ << 8 * i;
        in->n--;
    }
    return v;
}

static agt_text take_bytes(input *in, size_t n) {
    agt_text t = {(const char *)in->p, n < in->n ? n : in->n};
    in->p += t.len;
    in->n -= t.len;
    return t;
}

/* The case: copies of the areas, and what was done to them. */
typedef struct hostile {
    unsigned char *bytes[AREAS];
    uint32_t mode;
    bool changed[AREAS];
    uint64_t whole;  /* records before this byte of theirs are as they were */
    struct place to; /* where the next record goes */
    agt_mem mem;
    agt_buf record; /* being built */
    agt_record about;
    bool forged; /* records that check were made */
    bool other;  /* files that belong to none of the areas were made */
} hostile;

static void own_area(hostile *h, int k) {
    if (h->changed[k]) return;
    size_t room = k == AREA_RECORDS ? ROOM : area_len[k];
    h->bytes[k] = malloc(room);
    must(h->bytes[k]);
    memcpy(h->bytes[k], area[k], area_len[k]);
    if (k == AREA_RECORDS) memset(h->bytes[k] + area_len[k], 0, ROOM - area_len[k]);
    h->changed[k] = true;
}

static void patch(hostile *h, int k, input *in) {
    uint64_t at = take(in, 2);
    size_t n = take(in, 1);
    agt_text t = take_bytes(in, n);
    if (k == AREA_HEADER && at >= 512) at = at % 512 + AGT_JOURNAL_SLOT;
    if (at >= area_len[k]) at %= area_len[k];
    if (t.len > area_len[k] - at) t.len = area_len[k] - (size_t)at;
    own_area(h, k);
    memcpy(h->bytes[k] + at, t.data, t.len);
    if (k == AREA_RECORDS && at < h->whole) h->whole = at;
}

static void expand(hostile *h, agt_buf *out, agt_text t, const char *oid) {
    for (size_t i = 0; i < t.len; i++) {
        if (t.data[i] == 1)
            agt__buf_u64(out, h->to.next_seq);
        else if (t.data[i] == 2)
            agt__buf_put(out, h->to.prev, 64);
        else if (t.data[i] == 3)
            agt__buf_put(out, oid, 40);
        else if (t.data[i] == 4)
            agt__buf_text(out, "6f1c2d3e-4a5b-4c6d-8e7f-9a0b1c2d3e4f");
        else
            agt__buf_byte(out, (unsigned char)t.data[i]);
    }
}

static void record_close(hostile *h) {
    if (!h->about.entries) return;
    agt_error err;
    h->about.generation = generation;
    h->about.segment = 1;
    h->about.recorded_unix_ms = 1735689600123;
    if (agt__record_end(&h->record, 0, cpu, h->to.chain, &h->about, &err) == AGT_OK &&
        h->record.len <= ROOM - h->to.end - 4096) {
        memcpy(h->bytes[AREA_RECORDS] + h->to.end, h->record.data, h->record.len);
        h->to.end += h->record.len;
        h->to.chain = h->about.crc;
    }
    h->record.len = 0;
    h->about.entries = 0;
}

static void entry_put(hostile *h, bool join, uint32_t flags, const agt_buf *line, agt_text bytes) {
    unsigned char hash[32];
    if (!line->len || line->len > 8192) return;
    own_area(h, AREA_RECORDS);
    h->forged = true;
    if (!join) record_close(h);
    if (!h->about.entries) {
        agt__record_begin(&h->record);
        h->about.first_seq = h->to.next_seq;
        h->about.trace_offset = h->to.trace;
    }
    agt__record_put(&h->record, flags, line->data, line->len, bytes.data, bytes.len);
    h->about.entries++;
    h->to.next_seq++;
    h->to.trace += line->len;
    agt__sha256(cpu, line->data, line->len, hash);
    agt__hex(hash, 32, h->to.prev);
}

static void entry_raw(hostile *h, bool join, input *in) {
    agt_buf line = agt__buf(&h->mem);
    unsigned char id[20];
    char oid[40];
    uint32_t flags = take(in, 1);
    agt_text text = take_bytes(in, take(in, 2));
    agt_text bytes = take_bytes(in, take(in, 1));
    agt__git_id(cpu, "blob", bytes.data, bytes.len, id);
    agt__hex(id, 20, oid);
    expand(h, &line, text, oid);
    entry_put(h, join, flags, &line, bytes);
    agt__buf_free(&line);
}

static void entry_made(hostile *h, bool join, input *in) {
    static const char *const actions[] = {"create",    "modify", "delete", "restore",
                                          "violation", "note",   "rename", "create"};
    agt_buf line = agt__buf(&h->mem), name = agt__buf(&h->mem);
    unsigned char id[32];
    char oid[40], sha[64];
    agt_text path = take_bytes(in, take(in, 1));
    uint32_t what = take(in, 1), version = take(in, 1);
    agt_text bytes = take_bytes(in, take(in, 1));
    const char *action = actions[what & 7];
    agt__git_id(cpu, "blob", bytes.data, bytes.len, id);
    agt__hex(id, 20, oid);
    agt__sha256(cpu, bytes.data, bytes.len, id);
    agt__hex(id, 32, sha);
    bool gone = (what & 7) == 2, refused = (what & 7) == 4;
    expand(h, &name, path, oid);
    agt__buf_text(&line, "{\"timestamp\":\"2025-01-01T00:00:00.123Z\",\"session_id\":null,"
                         "\"agent_name\":null,\"actor\":\"user\",\"action\":\"");
    agt__buf_text(&line, action);
    agt__buf_text(&line, "\",\"change_kind\":\"");
    agt__buf_text(&line, refused ? "modify" : action);
    agt__buf_text(&line, "\",\"path\":");
    agt__json_put_string(&line, name.len ? (const char *)name.data : "", name.len);
    agt__buf_text(&line, ",\"doc_type\":\"scratch\",\"summary\":\"s\",\"source\":\"api\","
                         "\"detected_by\":\"api\",\"lines_added\":0,\"lines_removed\":0,\"seq\":");
    agt__buf_u64(&line, what & 64 ? version : h->to.next_seq);
    agt__buf_text(&line, ",\"replica\":\"0123456789abcdef\",\"version\":");
    agt__buf_u64(&line, version);
    agt__buf_text(&line, ",\"blob\":");
    if (gone || refused || what & 32)
        agt__buf_text(&line, "null");
    else {
        agt__buf_byte(&line, '"');
        agt__buf_put(&line, oid, 40);
        agt__buf_byte(&line, '"');
    }
    agt__buf_text(&line, ",\"doc\":\"6f1c2d3e-4a5b-4c6d-8e7f-9a0b1c2d3e4f\",\"doc_prev\":");
    agt__buf_u64(&line, version > 1 ? version - 1 : 0);
    agt__buf_text(&line, ",\"prev\":\"");
    agt__buf_put(&line, h->to.prev, 64);
    agt__buf_text(&line, "\"");
    if (refused) {
        agt__buf_text(&line, ",\"rejected\":\"");
        agt__buf_put(&line, sha, 64);
        agt__buf_text(&line, "\"");
    }
    agt__buf_text(&line, "}\n");
    entry_put(h, join, gone ? 0 : what & 128 ? 3 : 1, &line, bytes);
    agt__buf_free(&line);
    agt__buf_free(&name);
}

static void temporary(machine *m, hostile *h, input *in) {
    char path[400] = OWN "tmp/";
    size_t at = strlen(path);
    agt_text name = take_bytes(in, take(in, 1) % 64);
    agt_text bytes = take_bytes(in, take(in, 1));
    for (size_t i = 0; i < name.len; i++)
        path[at++] = name.data[i] && name.data[i] != '/' ? name.data[i] : '_';
    path[at] = 0;
    if (name.len) (void)machine_put(m, path, bytes.data, bytes.len);
    h->other = true;
}

static void cut_back(hostile *h, int records) {
    record_close(h);
    own_area(h, AREA_RECORDS);
    h->to = place[records];
    if (h->to.end < h->whole) h->whole = h->to.end;
    memset(h->bytes[AREA_RECORDS] + h->to.end, 0, ROOM - h->to.end);
}

static void orders(machine *m, hostile *h, input *in) {
    while (in->n) {
        uint32_t order = take(in, 1), kind = order & 15;
        bool join = order & 16;
        if (kind < AREAS)
            patch(h, (int)kind, in);
        else if (kind == 8)
            entry_raw(h, join, in);
        else if (kind == 9)
            entry_made(h, join, in);
        else if (kind == 10)
            cut_back(h, (int)take(in, 1) % places);
        else if (kind == 11)
            temporary(m, h, in);
    }
    record_close(h);
}

/* ---- checksums ---- */

/* Records from `p` on are made to check: their sums and, if `frame`, what else must be expected. */
static void mend_records(unsigned char *p, size_t n, uint64_t number, uint64_t seq, uint32_t chain,
                         bool frame) {
    for (size_t at = 0; n - at >= 64;) {
        uint32_t len = agt__get32(p + at + 8);
        if (len < 80 || len & 7 || len > n - at) return;
        if (frame) {
            agt__put32(p + at, 0x52544741u);
            agt__put64(p + at + 16, number);
            agt__put64(p + at + 24, seq);
        }
        chain = agt__crc32c(cpu, chain, p + at + 8, len - 8);
        agt__put32(p + at + 4, chain);
        seq += agt__get32(p + at + 12);
        at += len;
    }
}

static uint32_t mend_headers(hostile *h, uint64_t *number, uint64_t *seq) {
    const unsigned char *p = h->changed[AREA_HEADER] ? h->bytes[AREA_HEADER] : area[AREA_HEADER];
    for (size_t at = 0; h->changed[AREA_HEADER] && at <= AGT_JOURNAL_SLOT; at += AGT_JOURNAL_SLOT) {
        unsigned char *slot = h->bytes[AREA_HEADER] + at;
        if (agt__get64(slot)) agt__put32(slot + 228, agt__crc32c(cpu, 0, slot, 228));
    }
    if (agt__get64(p + AGT_JOURNAL_SLOT + 16) > agt__get64(p + 16)) p += AGT_JOURNAL_SLOT;
    *number = agt__get64(p + 16);
    *seq = agt__get64(p + 40);
    return agt__get32(p + 228);
}

static void mend(hostile *h) {
    uint64_t number, seq;
    uint32_t crc = mend_headers(h, &number, &seq);
    bool frame = h->mode & BIT_FRAME;
    if (h->changed[AREA_HEADER]) own_area(h, AREA_RECORDS);
    if (h->changed[AREA_RECORDS])
        mend_records(h->bytes[AREA_RECORDS], ROOM, number, seq, crc, frame);
    unsigned char *u = h->bytes[AREA_UNPUBLISHED];
    if (u)
        mend_records(u + 32, area_len[AREA_UNPUBLISHED] - 32, agt__get64(u + 8), agt__get64(u + 16),
                     agt__get32(u + 24), frame);
    unsigned char *c = h->bytes[AREA_CATALOG];
    if (c) agt__put32(c + 8, agt__crc32c(cpu, 0, c + 12, area_len[AREA_CATALOG] - 12));
    unsigned char *t = h->bytes[AREA_STATE];
    for (size_t at = 0; t && at + 320 <= area_len[AREA_STATE]; at += 512)
        agt__put32(t + at + 316, agt__crc32c(cpu, 0, t + at, 316));
}

static void apply(machine *m, hostile *h) {
    for (int k = 0; k < AREAS; k++) {
        if (!h->changed[k]) continue;
        uint64_t at = k == AREA_RECORDS ? AGT_JOURNAL_START : 0;
        size_t n = k == AREA_RECORDS ? h->to.end + 64 : area_len[k];
        if (n < area_len[k]) n = area_len[k];
        must(machine_overwrite(m, area_file[k], at, h->bytes[k], n) == 0);
    }
}

/* ---- what must be true ---- */

typedef struct names {
    machine *m;
    const agt_sys *sys;
    agt_fd dir;
    char path[1400];
    size_t len;
    int depth;
} names;

static int check_tree(void *ctx, const char *name);

static void check_folder(names *up, const char *name, agt_fd fd) {
    names sub = {.m = up->m, .sys = up->sys, .dir = fd, .depth = up->depth + 1};
    must(sub.depth <= 70);
    sub.len = (size_t)snprintf(sub.path, sizeof sub.path, "%s%s/", up->path, name);
    must(sub.sys->list(sub.sys->ctx, fd, check_tree, &sub) == 0);
}

/* Beneath the root: folders, and files with names that a document may have. */
static int check_tree(void *ctx, const char *name) {
    names *in = ctx;
    char path[1500];
    agt_stat st;
    if (!in->depth && strcmp(name, ".agent-trace") == 0) return 0;
    int n = snprintf(path, sizeof path, "%s%s", in->path, name);
    must(n > 0 && (size_t)n < sizeof path);
    must(agt__path_held(path, (size_t)n));
    must(in->sys->stat(in->sys->ctx, in->dir, name, &st) == 0);
    if (st.kind != AGT_FILE_FOLDER) return 0;
    agt_fd fd = in->sys->open(in->sys->ctx, in->dir, name, AGT_O_READ | AGT_O_FOLDER, 0);
    must(fd >= 0);
    check_folder(in, name, fd);
    in->sys->close(in->sys->ctx, fd);
    return 0;
}

static bool digits(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9') return false;
    return n > 0;
}

static int check_own(void *ctx, const char *name) {
    static const char *const all[] = {".gitignore",  "config.toml", "journal", "state", "trace",
                                      "unpublished", "rejected",    "aside",   "tmp",   "locks",
                                      "index",       "git",         "damaged", NULL};
    (void)ctx;
    if (!strncmp(name, "catalog.", 8)) return 0;
    if (!strcmp(name, "state.tmp") || !strcmp(name, "journal.tmp")) return 0;
    for (int i = 0; all[i]; i++)
        if (!strcmp(name, all[i])) return 0;
    must(!"a file of its own");
    return 1;
}

static int check_rejected(void *ctx, const char *name) {
    (void)ctx;
    must(strspn(name, "0123456789abcdef") == 64 && (!name[64] || !strcmp(name + 64, ".tmp")));
    return 0;
}

static int check_index(void *ctx, const char *name) {
    (void)ctx;
    size_t first = strspn(name, "0123456789"), last = 0;
    must(first && name[first] == '-');
    last = strspn(name + first + 1, "0123456789");
    name += first + 1 + last;
    must(last && (!*name || !strcmp(name, ".tmp")));
    return 0;
}

static int check_seq_first(void *ctx, const char *name) {
    (void)ctx;
    must(digits(name, strspn(name, "0123456789")));
    return 0;
}

static int check_top(void *ctx, const char *name) {
    (void)ctx;
    must(!strcmp(name, "home") || !strcmp(name, "outside"));
    return 0;
}

static int check_home(void *ctx, const char *name) {
    (void)ctx;
    must(!strcmp(name, "store"));
    return 0;
}

static void check_list(const agt_sys *sys, const char *path, int (*each)(void *, const char *)) {
    agt_fd fd = sys->open_root(sys->ctx, path);
    if (fd < 0) return;
    names top = {.sys = sys, .dir = fd};
    must(sys->list(sys->ctx, fd, each, &top) == 0);
    sys->close(sys->ctx, fd);
}

static void check_disk(machine *m, const hostile *h) {
    machine_process *p = machine_process_new(m, "judge");
    const agt_sys *sys = machine_sys(p);
    char *now = machine_tree(m, "/outside");
    must(now && !strcmp(now, outside));
    free(now);
    check_list(sys, "/", check_top);
    check_list(sys, "/home", check_home);
    check_list(sys, ROOT, check_tree);
    check_list(sys, ROOT "/.agent-trace", check_own);
    check_list(sys, OWN "rejected", check_rejected);
    check_list(sys, OWN "aside", check_seq_first);
    check_list(sys, OWN "index", check_index);
    if (!h->other) check_list(sys, OWN "tmp", check_seq_first);
    size_t n;
    char *config = machine_get(m, OWN "config.toml", &n);
    const unsigned char *was = h->changed[AREA_CONFIG] ? h->bytes[AREA_CONFIG] : area[AREA_CONFIG];
    must(config && n == area_len[AREA_CONFIG] && !memcmp(config, was, n));
    free(config);
    machine_process_free(p);
}

/* Only bytes of records, and no sums were mended: as a disk does it. */
static bool harmless(const hostile *h) {
    if (h->mode & BIT_MEND || !(h->mode & BIT_RESTART) || h->other || h->forged) return false;
    for (int k = 0; k < AREAS; k++)
        if (h->changed[k] && k != AREA_RECORDS && k != AREA_STATE && k != AREA_DOC) return false;
    return true;
}

static uint64_t check_trace(agt_store *s, uint32_t newest_first) {
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    uint64_t last = 0, n = 0;
    o.newest_first = newest_first;
    if (agt_trace(s, &o, &c, NULL) != AGT_OK) return 0;
    while (agt_trace_next(c, &e, NULL) == AGT_OK) {
        must(e.line.len && e.line.data[e.line.len - 1] == '\n' && e.seq);
        must(!n || (newest_first ? e.seq < last : e.seq > last));
        last = e.seq;
        n++;
    }
    agt_cursor_close(c);
    return n;
}

/* How many events the whole records hold. */
static uint64_t events_kept(const hostile *h) {
    uint64_t last = 0;
    for (int i = 0; i < places && place[i].end <= h->whole; i++)
        last = place[i].next_seq - 1;
    return last;
}

/* ---- one input ---- */

/* A machine whose store is as the input says; `h` is what was done to it. */
static machine *hostile_begin(hostile *h, const uint8_t *data, size_t size) {
    input in = {data, size};
    *h = (hostile){.mode = take(&in, 1), .mem = agt__mem(NULL)};
    if (!prepared[0]) {
        cpu = agt__cpu();
        hostile_prepare();
    }
    machine *m = machine_clone(prepared[h->mode & BIT_RESTART]);
    h->record = agt__buf(&h->mem);
    h->to = place[places - 1];
    h->whole = h->to.end;
    orders(m, h, &in);
    if (h->mode & BIT_MEND) mend(h);
    apply(m, h);
    return m;
}

static void hostile_end(machine *m, hostile *h) {
    check_disk(m, h);
    for (int k = 0; k < AREAS; k++)
        free(h->bytes[k]);
    agt__buf_free(&h->record);
    machine_free(m);
}

/* Opens the store, lets `each` use it if it opens, closes it; nothing may be left behind. */
static agt_status hostile_use(machine *m, const hostile *h, bool read_only,
                              void (*each)(agt_store *s, machine *m, const hostile *h)) {
    machine_memory mem;
    machine_process *p = machine_process_new(m, "editor");
    agt_open_options o = options_of(p, machine_memory_init(&mem));
    agt_store *s = NULL;
    agt_error err = {.status = AGT_OK};
    o.read_only = read_only;
    agt_status st = agt_open(&s, ROOT, &o, &err);
    must(st == AGT_OK || (!s && err.status == st && memchr(err.message, 0, sizeof err.message)));
    if (harmless(h)) must(st == AGT_OK || st == AGT_CORRUPT);
    if (st == AGT_OK) {
        each(s, m, h);
        (void)agt_close(s, NULL);
    }
    must(mem.peak_bytes < 64u << 20); /* lengths are believed only as far as a file goes */
    must(mem.live_blocks == 0 && machine_process_open_files(p) == 0);
    machine_process_free(p);
    return st;
}

#endif /* AGT_FUZZ_HOSTILE_H */
