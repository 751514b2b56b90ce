/* What the tests of documented statuses share: a store in a machine in memory, every public call as
 * a function of one shape, and situations that make calls answer what their comments name.
 *
 *     EXPECT(agt_write, AGT_BUSY, codes_store_held, "store.lock")
 *
 * opens the store anew, makes the situation, calls, and checks the status, the message, that
 * nothing changed on disk, and that closing leaves neither memory nor descriptors. Function and
 * status stand in one line: that is what `check codes` counts. */
#ifndef AGT_CODES_KIT_H
#define AGT_CODES_KIT_H

#include "../src/log/journal.h"
#include "fault.h"

#define CODES_ROOT "/home"
#define CODES_AT   CODES_ROOT "/.agent-trace/"
#define CODES_LONG (AGT_MAX_PATH + 1)

typedef struct codes {
    machine *m;
    machine_process *p, *other;
    machine_memory memory;
    agt_open_options o;
    agt_store *s;
    agt_cursor *list, *trace;
    /* what the calls are given */
    const char *path, *actor, *under;
    uint32_t version, type, expected;
    size_t count;
    bool confirm, check, unknown, wrong_cursor, forked, moves, from_git, behind, untracked;
    char text[CODES_LONG + 1];
    agt_status each[2];                        /* of a group */
    unsigned char slot[2][AGT_JOURNAL_HEADER]; /* of the journal, where a situation changes them */
} codes;

typedef void codes_situation(codes *c);
typedef agt_status codes_call(codes *c, agt_error *err);

/* A struct that a caller sets up, with room for the options of a later version; behind its name the
 * _INIT, which has commas in it once another macro hands it on. */
#define CODES_STRUCT(type, name, ...)                                                              \
    union {                                                                                        \
        type v;                                                                                    \
        unsigned char room[sizeof(type) + 16];                                                     \
    } name;                                                                                        \
    memset(&name, 0, sizeof name);                                                                 \
    name.v = (type)__VA_ARGS__;
/* The same; with `unknown` one of a later version, with an option set. */
#define CODES_ARG(c, type, name, init)                                                             \
    CODES_STRUCT(type, name, init)                                                                 \
    if ((c)->unknown) {                                                                            \
        name.v.size += 16;                                                                         \
        name.room[sizeof(type) + 4] = 1;                                                           \
    }

/* ---- the calls ---- */

static inline agt_status call_agt_open(codes *c, agt_error *err) {
    CODES_ARG(c, agt_open_options, o, AGT_OPEN_OPTIONS_INIT);
    c->o.size = o.v.size;
    o.v = c->o;
    agt_status st = agt_open(&c->s, CODES_ROOT, &o.v, err);
    CHECK(!c->s == (st != AGT_OK));
    return st;
}

static inline agt_status call_agt_close(codes *c, agt_error *err) {
    agt_store *s = c->s;
    agt_cursor_close(c->list);
    agt_cursor_close(c->trace);
    c->list = c->trace = NULL;
    c->s = NULL;
    return agt_close(s, err);
}

static inline agt_status call_agt_store_get_info(codes *c, agt_error *err) {
    CODES_ARG(c, agt_store_info, info, AGT_STORE_INFO_INIT);
    return agt_store_get_info(c->s, &info.v, err);
}

static inline agt_status call_agt_publish(codes *c, agt_error *err) {
    return agt_publish(c->s, err);
}
static inline agt_status call_agt_checkpoint(codes *c, agt_error *err) {
    return agt_checkpoint(c->s, err);
}
static inline agt_status call_agt_store_idle(codes *c, agt_error *err) {
    return agt_store_idle(c->s, err);
}

static agt_caller codes_caller(const codes *c) {
    agt_caller who = AGT_CALLER(c->actor);
    who.confirm = c->confirm;
    return who;
}

#define CODES_OPTIONS(c, name)                                                                     \
    CODES_ARG(c, agt_write_options, name, AGT_WRITE_OPTIONS_INIT);                                 \
    name.v.type = (c)->type;                                                                       \
    name.v.check_version = (c)->check;                                                             \
    name.v.expected_version = (c)->expected

static inline agt_status call_agt_write(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_write(c->s, &who, c->path, "new bytes", 9, &o.v, NULL, err);
}
static inline agt_status call_agt_remove(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_remove(c->s, &who, c->path, &o.v, NULL, err);
}
static inline agt_status call_agt_restore(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_restore(c->s, &who, c->path, c->version ? c->version : 1, &o.v, NULL, err);
}

/* file.md lies there and is no document; what the others are given is a document. */
static inline agt_status call_agt_add(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    o.v.type = 0;
    const char *path = strcmp(c->path, "a.md") == 0 && !c->check ? "file.md" : c->path;
    return agt_add(c->s, &who, path, (agt_type)c->type, &o.v, NULL, err);
}
static inline agt_status call_agt_rename(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_rename(c->s, &who, c->path, c->under ? c->under : "to.md", &o.v, NULL, err);
}
static inline agt_status call_agt_may_rename(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_may_rename(c->s, &who, c->path, c->under ? c->under : "to.md", &o.v, err);
}
static inline agt_status call_agt_untrack(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_untrack(c->s, &who, c->path, &o.v, NULL, err);
}
static inline agt_status call_agt_reclassify(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    o.v.type = 0;
    agt_type type = c->type ? (agt_type)c->type : AGT_TYPE_PLAN;
    return agt_reclassify(c->s, &who, c->path, type, &o.v, NULL, err);
}
static inline agt_status call_agt_unlock(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_unlock(c->s, &who, c->path, "agent", 1000, &o.v, NULL, err);
}
static inline agt_status call_agt_revoke(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    return agt_revoke(c->s, &who, c->path, "agent:heron", &o.v, NULL, err);
}
static inline agt_status call_agt_grants(codes *c, agt_error *err) {
    size_t n;
    agt_grant out[AGT_MAX_GRANTS];
    CODES_ARG(c, agt_grant, g, AGT_GRANT_INIT);
    if (c->unknown) return agt_grants(c->s, c->path, &g.v, &n, err);
    out[0] = g.v;
    return agt_grants(c->s, c->path, out, &n, err);
}
static inline agt_status call_agt_may(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    return agt_may(c->s, &who, AGT_ACTION_DELETE, c->path, (agt_type)c->type, err);
}

static agt_change *codes_changes(const codes *c, const agt_caller *who,
                                 const agt_write_options *o) {
    agt_change *list = calloc(c->count ? c->count : 1, sizeof *list);
    for (size_t i = 0; i < c->count; i++) {
        list[i] = (agt_change)AGT_CHANGE_INIT;
        list[i].caller = who;
        list[i].path = i ? "other.md" : c->path;
        list[i].bytes = "new bytes";
        list[i].len = 9;
        list[i].options = i ? NULL : o;
    }
    return list;
}

static inline agt_status call_agt_batch(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    CODES_OPTIONS(c, o);
    agt_change *list = codes_changes(c, &who, &o.v);
    if (c->behind) list[0].kind = AGT_CHANGE_REMOVE;
    agt_status st = agt_batch(c->s, &who, list, c->count, 0, NULL, err);
    free(list);
    return st;
}

static inline agt_status call_agt_group(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    agt_write_result r[AGT_MAX_BATCH + 1];
    CODES_OPTIONS(c, o);
    agt_change *list = codes_changes(c, &who, &o.v);
    for (size_t i = 0; i <= AGT_MAX_BATCH; i++)
        r[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
    agt_status st = agt_group(c->s, list, c->count, 0, r, err);
    for (size_t i = 0; i < 2; i++) {
        c->each[i] = i < c->count ? (agt_status)r[i].status : st;
        if (i < c->count) CHECK((c->each[i] == AGT_OK) == !r[i].message[0]);
        if (i < c->count && st != AGT_OK) CHECK(c->each[i] != AGT_OK || r[i].seq);
    }
    free(list);
    return st;
}

static agt_status codes_empty(agt_status st, agt_bytes *b) {
    CHECK((st == AGT_OK) == (b->owner_ != NULL));
    CHECK(st == AGT_OK || (!b->data && !b->len));
    agt_bytes_free(b);
    return st;
}

static inline agt_status call_agt_read(codes *c, agt_error *err) {
    agt_bytes b;
    CODES_ARG(c, agt_document, d, AGT_DOCUMENT_INIT);
    return codes_empty(agt_read(c->s, c->path, &b, &d.v, err), &b);
}
static inline agt_status call_agt_read_version(codes *c, agt_error *err) {
    agt_bytes b;
    return codes_empty(agt_read_version(c->s, c->path, c->version ? c->version : 1, &b, err), &b);
}
static inline agt_status call_agt_document_get(codes *c, agt_error *err) {
    CODES_ARG(c, agt_document, d, AGT_DOCUMENT_INIT);
    return agt_document_get(c->s, c->path, &d.v, err);
}
static inline agt_status call_agt_diff(codes *c, agt_error *err) {
    agt_bytes b;
    return codes_empty(agt_diff(c->s, c->path, c->version ? c->version : 1, 0, &b, err), &b);
}

static inline agt_status call_agt_diff_bytes(codes *c, agt_error *err) {
    agt_bytes b;
    return codes_empty(agt_diff_bytes(c->s, c->path, "one\n", 4, "two\n", 4, &b, err), &b);
}
static inline agt_status call_agt_read_refused(codes *c, agt_error *err) {
    agt_bytes b;
    return codes_empty(agt_read_refused(c->s, c->version ? c->version : 7, &b, err), &b);
}

static inline agt_status call_agt_list(codes *c, agt_error *err) {
    agt_cursor *out;
    CODES_ARG(c, agt_list_options, o, AGT_LIST_OPTIONS_INIT);
    o.v.type = c->type;
    o.v.under = c->under;
    o.v.untracked = c->untracked;
    agt_status st = agt_list(c->s, &o.v, &out, err);
    CHECK((st == AGT_OK) == (out != NULL));
    agt_cursor_close(out);
    return st;
}
static inline agt_status call_agt_index_refresh(codes *c, agt_error *err) {
    CODES_ARG(c, agt_write_result, r, AGT_WRITE_RESULT_INIT);
    return agt_index_refresh(c->s, 1, &r.v, err);
}
static inline agt_status call_agt_list_next(codes *c, agt_error *err) {
    CODES_ARG(c, agt_document, d, AGT_DOCUMENT_INIT);
    return agt_list_next(c->wrong_cursor ? c->trace : c->list, &d.v, err);
}
static inline agt_status call_agt_trace(codes *c, agt_error *err) {
    agt_cursor *out;
    CODES_ARG(c, agt_trace_options, o, AGT_TRACE_OPTIONS_INIT);
    o.v.type = c->type;
    o.v.from_seq = 2;
    agt_status st = agt_trace(c->s, &o.v, &out, err);
    CHECK((st == AGT_OK) == (out != NULL));
    agt_cursor_close(out);
    return st;
}
static inline agt_status call_agt_trace_next(codes *c, agt_error *err) {
    CODES_ARG(c, agt_event, e, AGT_EVENT_INIT);
    return agt_trace_next(c->wrong_cursor ? c->list : c->trace, &e.v, err);
}
static inline agt_status call_agt_trace_verify(codes *c, agt_error *err) {
    CODES_ARG(c, agt_trace_verdict, v, AGT_TRACE_VERDICT_INIT);
    return agt_trace_verify(c->s, 1, &v.v, err);
}
static inline agt_status call_agt_event_append(codes *c, agt_error *err) {
    agt_caller who = codes_caller(c);
    return agt_event_append(c->s, &who, "decision", "we go on", c->path, c->type, NULL, err);
}

/* ---- the store ---- */

static inline void codes_put(agt_store *s, const char *actor, const char *path, const char *text,
                             uint32_t type) {
    agt_error err;
    agt_caller who = AGT_CALLER(actor);
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    who.confirm = 1;
    o.type = type;
    CHECK_OK(agt_write(s, &who, path, text, strlen(text), &o, NULL, &err), err);
}

static inline void codes_unlock(agt_store *s, const char *path) {
    agt_error err;
    agt_caller user = AGT_CALLER("user");
    user.confirm = 1;
    CHECK_OK(agt_unlock(s, &user, path, "agent:heron", 3600000, NULL, NULL, &err), err);
}

/* a.md has versions 1 and 2 behind the last checkpoint (in git, where there is git) and 3 in the
 * journal; gone.md is deleted; ref.md is a reference, context.md the user's context. Event 7
 * refused an agent's bytes; agent:heron may write everything that is there for an hour; file.md is
 * no document. */
static inline machine *codes_machine(void) {
    agt_error err;
    agt_store *s;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, CODES_ROOT);
    machine_process *p = machine_process_new(m, "before");
    agt_caller user = AGT_CALLER("user"), heron = AGT_CALLER("agent:heron");
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(p);
    o.create = 1;
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    codes_put(s, "user", "a.md", "first\n", 0);
    codes_put(s, "user", "a.md", "second\n", 0);
    codes_put(s, "user", "gone.md", "gone\n", 0);
    CHECK_OK(agt_remove(s, &user, "gone.md", NULL, NULL, &err), err);
    codes_put(s, "user", "ref.md", "true\n", AGT_TYPE_REFERENCE);
    codes_put(s, "user", "context.md", "context\n", 0);
    CHECK_STATUS(agt_write(s, &heron, "ref.md", "refused\n", 8, NULL, NULL, &err), AGT_DENIED, err);
    codes_unlock(s, "a.md");
    codes_unlock(s, "ref.md");
    codes_unlock(s, "context.md");
    CHECK_OK(agt_checkpoint(s, &err), err);
    codes_put(s, "user", "a.md", "third\n", 0);
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
    CHECK_INT(machine_put_text(m, CODES_ROOT "/file.md", "somebody's\n"), 0);
    machine_sync_all(m);
    return m;
}

static inline void codes_begin(codes *c, const machine *start) {
    memset(c, 0, sizeof *c);
    c->m = machine_clone(start);
    c->p = machine_process_new(c->m, "caller");
    c->other = machine_process_new(c->m, "other");
    c->o = (agt_open_options)AGT_OPEN_OPTIONS_INIT;
    c->o.sys = machine_sys(c->p);
    c->o.allocator = machine_memory_init(&c->memory);
    c->o.timeout_ms = AGT_TRY;
    c->path = "a.md";
    c->actor = "user";
    c->count = 2;
}

/* Opens store and cursors, for every call but agt_open. */
static inline void codes_open(codes *c) {
    agt_error err;
    if (c->s) return;
    CHECK_OK(agt_open(&c->s, CODES_ROOT, &c->o, &err), err);
    CHECK_OK(agt_list(c->s, NULL, &c->list, &err), err);
    CHECK_OK(agt_trace(c->s, NULL, &c->trace, &err), err);
}

static inline void codes_end(codes *c) {
    machine_on_call(c->m, NULL, NULL);
    agt_cursor_close(c->list);
    agt_cursor_close(c->trace);
    if (c->s) (void)agt_close(c->s, NULL);
    if (c->forked) machine_fork_leave(c->p);
    CHECK_INT(c->memory.live_blocks, 0);
    if (!c->forked) CHECK_INT(machine_process_open_files(c->p), 0);
    machine_process_free(c->p);
    machine_process_free(c->other);
    machine_free(c->m);
}

/* One line, filled, no full stop at its end, and it says `says`. */
static inline void codes_message(int line, const char *call, agt_status st, const agt_error *err,
                                 const char *says) {
    size_t n = strlen(err->message);
    if (err->status != st || n < 10 || strchr(err->message, '\n') || err->message[n - 1] == '.')
        test_fail(__FILE__, line, "%s: error %s with the message \"%s\"", call,
                  agt_status_name(err->status), err->message);
    if (says && !strstr(err->message, says))
        test_fail(__FILE__, line, "%s: \"%s\" does not say \"%s\"", call, err->message, says);
}

static inline void codes_expect(const char *file, int line, const machine *start, const char *name,
                                codes_call *call, agt_status want, codes_situation *situation,
                                const char *says) {
    codes c;
    agt_error err;
    memset(&err, 0x5a, sizeof err);
    codes_begin(&c, start);
    bool late = call != call_agt_open;
    if (late && !c.behind) codes_open(&c);
    if (situation) situation(&c);
    char *before = machine_tree(c.m, CODES_ROOT);
    agt_status st = call(&c, &err);
    if (st != want)
        test_fail(file, line, "%s answers %s, wanted %s: %s", name, agt_status_name(st),
                  agt_status_name(want), st == AGT_OK ? "" : err.message);
    if (st != AGT_OK) {
        codes_message(line, name, st, &err, says);
        char *after = machine_tree(c.m, CODES_ROOT);
        if (!c.moves && st != AGT_DENIED && strcmp(before, after) != 0)
            test_fail(file, line, "%s answers %s and changed the disk:\n%s\n%s", name,
                      agt_status_name(st), before, after);
        free(after);
    } else {
        agt_error untouched;
        memset(&untouched, 0x5a, sizeof untouched);
        CHECK_BYTES(&err, sizeof err, &untouched, sizeof untouched);
    }
    free(before);
    codes_end(&c);
}

#define EXPECT(call, want, situation, says)                                                        \
    codes_expect(__FILE__, __LINE__, start, #call, call_##call, want, situation, says)

/* ---- situations ---- */

/* Another process holds a file of locks/. */
static inline void codes_hold(codes *c, const char *name) {
    const agt_sys *sys = machine_sys(c->other);
    agt_fd dir = sys->open_root(sys->ctx, CODES_AT "locks");
    CHECK(dir >= 0);
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    CHECK(fd >= 0);
    CHECK_INT(sys->lock(sys->ctx, fd, AGT_LOCK_EXCLUSIVE), 0);
}
static inline void codes_store_held(codes *c) {
    codes_hold(c, "store.lock");
}
static inline void codes_publish_held(codes *c) {
    codes_hold(c, "publish.lock");
}
/* ... and somebody edited the document, so that a reader must look under the lock. */
static inline void codes_edited_and_held(codes *c) {
    machine_put_text(c->m, CODES_ROOT "/a.md", "edited\n");
    codes_hold(c, "store.lock");
}

static inline void codes_no_flock(codes *c) {
    machine_set(c->m)->no_lock = true;
}
static inline void codes_fork(codes *c) {
    machine_fork_enter(c->p);
    c->forked = true;
}
static inline void codes_unknown(codes *c) {
    c->unknown = true;
}

static inline void codes_slots(codes *c, unsigned char slot[2][AGT_JOURNAL_HEADER]) {
    size_t n;
    char *all = machine_get(c->m, CODES_AT "journal", &n);
    CHECK(all && n >= 2 * AGT_JOURNAL_SLOT);
    memcpy(slot[0], all, AGT_JOURNAL_HEADER);
    memcpy(slot[1], all + AGT_JOURNAL_SLOT, AGT_JOURNAL_HEADER);
    free(all);
}
static inline void codes_set_slots(codes *c, unsigned char slot[2][AGT_JOURNAL_HEADER]) {
    for (uint64_t i = 0; i < 2; i++)
        CHECK_INT(machine_overwrite(c->m, CODES_AT "journal", i * AGT_JOURNAL_SLOT, slot[i],
                                    AGT_JOURNAL_HEADER),
                  0);
}
/* Both headers of the journal are damaged. */
static inline void codes_no_header(codes *c) {
    unsigned char slot[2][AGT_JOURNAL_HEADER];
    codes_slots(c, slot);
    slot[0][40] ^= 1;
    slot[1][40] ^= 1;
    codes_set_slots(c, slot);
}
/* A newer version made the journal its own. */
static inline void codes_newer(codes *c) {
    unsigned char slot[2][AGT_JOURNAL_HEADER];
    codes_slots(c, slot);
    for (int i = 0; i < 2; i++) {
        agt__put32(slot[i] + 8, 3);
        agt__put32(slot[i] + AGT_JOURNAL_HEADER - 4,
                   agt__crc32c(agt__cpu(), 0, slot[i], AGT_JOURNAL_HEADER - 4));
    }
    codes_set_slots(c, slot);
}
static inline void codes_change_header(void *ctx, machine *m, const machine_call *call) {
    codes *c = ctx;
    if (call->op != MACHINE_PREAD) return;
    bool second = agt__get64(c->slot[1] + 16) > agt__get64(c->slot[0] + 16);
    c->slot[!second][200]++;
    CHECK_INT(machine_overwrite(m, CODES_AT "journal", second ? 0 : AGT_JOURNAL_SLOT,
                                c->slot[!second], AGT_JOURNAL_HEADER),
              0);
}
/* Checkpoints come faster than the journal can be read. */
static inline void codes_restless(codes *c) {
    c->moves = true;
    codes_slots(c, c->slot);
    machine_on_call(c->m, codes_change_header, c);
}

static inline void codes_lost_git(codes *c) {
    CHECK_INT(machine_remove(c->m, CODES_AT "git/objects"), 0);
}
static inline void codes_path_long(codes *c) {
    memset(c->text, 'a', CODES_LONG);
    for (size_t i = 100; i < CODES_LONG; i += 100)
        c->text[i] = '/';
    c->path = c->under = c->text;
}
static inline void codes_path_out(codes *c) {
    c->path = c->under = "../out.md";
}
static inline void codes_untracked(codes *c) {
    c->untracked = true;
}
static inline void codes_path_none(codes *c) {
    c->path = "none.md";
}
static inline void codes_denied(codes *c) {
    c->path = "ref.md";
    c->actor = "agent:kestrel";
}
static inline void codes_unconfirmed(codes *c) {
    c->path = "context.md";
}
static inline void codes_stale(codes *c) {
    c->check = true;
    c->expected = 2;
}
static inline void codes_deletion(codes *c) {
    c->path = "gone.md";
    c->version = 2;
}
static inline void codes_version_none(codes *c) {
    c->version = 99;
}
static inline void codes_type_none(codes *c) {
    c->type = 77;
}
static inline void codes_wrong_cursor(codes *c) {
    c->wrong_cursor = true;
}
static inline void codes_count_none(codes *c) {
    c->count = 0;
}
static inline void codes_count_past(codes *c) {
    c->count = AGT_MAX_BATCH + 1;
}
static inline void codes_remove_none(codes *c) {
    c->path = "none.md";
    c->behind = true;
}
/* The handle is opened again, read-only. */
static inline void codes_read_only(codes *c) {
    CHECK_INT(call_agt_close(c, NULL), AGT_OK);
    c->o.read_only = 1;
    codes_open(c);
}
/* The handle is opened again, to publish when it is closed. */
static inline void codes_publishing(codes *c) {
    CHECK_INT(call_agt_close(c, NULL), AGT_OK);
    c->o.publish = AGT_PUBLISH_CLOSE;
    codes_open(c);
}

#endif /* AGT_CODES_KIT_H */
