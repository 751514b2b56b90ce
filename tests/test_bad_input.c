/* Bad input to every call of the library that takes any, as tests/bad_input_api.tsv says: the
 * status, the exact message, and a disk that is as it was. The store is in a machine in memory, the
 * one that codes_kit.h makes. A row of the table is STATUS, CALL, ARGUMENTS and MESSAGE, with tabs
 * between them; arguments are NAME=VALUE with blanks between them and stand in the place of good
 * ones. In a value \xHH is a byte and {TEXT*N} is TEXT, N times.
 *
 * AGENT_TRACE_GOLDEN=update writes statuses and messages anew, to be looked at; "?" is a new row's
 * status. */
#include "codes_kit.h"
#include "store_kit.h"

#include <stddef.h>

#define BAD_TABLE "tests/bad_input_api.tsv"

typedef struct bad_args {
    /* texts */
    const char *path, *to, *actor, *session, *source, *summary, *grant, *action, *under, *root, *by;
    const char *wrong; /* which struct has another size: opts, result, caller */
    const char *when, *lost, *spoilt, *put; /* what the store is like */
    /* numbers */
    int64_t confirm, type, version, from, upto, check, expected, durability, timed, at, kind, what,
        deleted, look, untracked, reserved, newest, create, read_only, publish, repair, make, count,
        measure, deep, duration, len, seq, size;
} bad_args;

#define TEXT(name)                                                                                 \
    { #name, true, offsetof(bad_args, name) }
#define NUMBER(name)                                                                               \
    { #name, false, offsetof(bad_args, name) }
static const struct bad_key {
    const char *name;
    bool text;
    size_t at;
} bad_keys[] = {
    TEXT(path),        TEXT(to),         TEXT(actor),      TEXT(session),      TEXT(source),
    TEXT(summary),     TEXT(grant),      TEXT(action),     TEXT(under),        TEXT(root),
    TEXT(by),          TEXT(wrong),      TEXT(when),       TEXT(lost),         TEXT(spoilt),
    TEXT(put),         NUMBER(confirm),  NUMBER(type),     NUMBER(version),    NUMBER(from),
    NUMBER(upto),      NUMBER(check),    NUMBER(expected), NUMBER(durability), NUMBER(timed),
    NUMBER(at),        NUMBER(kind),     NUMBER(what),     NUMBER(deleted),    NUMBER(look),
    NUMBER(untracked), NUMBER(reserved), NUMBER(newest),   NUMBER(create),     NUMBER(read_only),
    NUMBER(publish),   NUMBER(repair),   NUMBER(make),     NUMBER(count),      NUMBER(measure),
    NUMBER(deep),      NUMBER(duration), NUMBER(len),      NUMBER(seq),        NUMBER(size),
};

static const bad_args bad_good = {.path = "a.md",
                                  .to = "to.md",
                                  .actor = "user",
                                  .grant = "agent:heron",
                                  .action = "decision",
                                  .root = CODES_ROOT,
                                  .version = 1,
                                  .from = 1,
                                  .what = AGT_ACTION_DELETE,
                                  .count = 1,
                                  .duration = 1000,
                                  .len = 9,
                                  .seq = 7,
                                  .size = -1};

/* ---- the calls ---- */

typedef struct bad {
    codes c;
    bad_args a;
} bad;

/* A struct for the library: initialised, or of a size that is none, or of a later version with
 * something set that this one does not know. */
#define BAD_STRUCT(b, role, type, name, init)                                                      \
    CODES_STRUCT(type, name, init)                                                                 \
    if ((b)->a.wrong && strcmp((b)->a.wrong, role) == 0) {                                         \
        name.v.size = (b)->a.size >= 0 ? (uint32_t)(b)->a.size : (uint32_t)sizeof(type) + 16;      \
        name.room[sizeof(type) + 4] = 1;                                                           \
    }

#define BAD_CHANGE(b)                                                                              \
    BAD_STRUCT(b, "caller", agt_caller, who, AGT_CALLER((b)->a.actor))                             \
    BAD_STRUCT(b, "opts", agt_write_options, o, AGT_WRITE_OPTIONS_INIT)                            \
    BAD_STRUCT(b, "result", agt_write_result, r, AGT_WRITE_RESULT_INIT)                            \
    who.v.session = (b)->a.session;                                                                \
    who.v.source = (b)->a.source;                                                                  \
    who.v.confirm = (uint32_t)(b)->a.confirm;                                                      \
    o.v.type = (uint32_t)(b)->a.type;                                                              \
    o.v.check_version = (uint32_t)(b)->a.check;                                                    \
    o.v.expected_version = (uint32_t)(b)->a.expected;                                              \
    o.v.durability = (uint32_t)(b)->a.durability;                                                  \
    o.v.has_time = (uint32_t)(b)->a.timed;                                                         \
    o.v.at_unix_ms = (b)->a.at;                                                                    \
    o.v.summary = (b)->a.summary;                                                                  \
    const char *path = (b)->a.path;                                                                \
    agt_store *s = (b)->c.s;                                                                       \
    (void)s, (void)path, (void)r.v.size

static agt_status bad_agt_write(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_write(s, &who.v, path, "new bytes", (size_t)b->a.len, &o.v, &r.v, err);
}
static agt_status bad_agt_remove(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_remove(s, &who.v, path, &o.v, &r.v, err);
}
static agt_status bad_agt_restore(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_restore(s, &who.v, path, (uint32_t)b->a.version, &o.v, &r.v, err);
}
static agt_status bad_agt_add(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    if (path == bad_good.path) path = "file.md";
    o.v.type = 0;
    return agt_add(s, &who.v, path, (agt_type)b->a.type, &o.v, &r.v, err);
}
static agt_status bad_agt_rename(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_rename(s, &who.v, path, b->a.to, &o.v, &r.v, err);
}
static agt_status bad_agt_untrack(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_untrack(s, &who.v, path, &o.v, &r.v, err);
}
static agt_status bad_agt_reclassify(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    o.v.type = 0;
    return agt_reclassify(s, &who.v, path, b->a.type ? (agt_type)b->a.type : AGT_TYPE_PLAN, &o.v,
                          &r.v, err);
}
static agt_status bad_agt_unlock(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_unlock(s, &who.v, path, b->a.grant, b->a.duration, &o.v, &r.v, err);
}
static agt_status bad_agt_revoke(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_revoke(s, &who.v, path, b->a.grant, &o.v, &r.v, err);
}
static agt_status bad_agt_may(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_may(s, &who.v, (agt_action)b->a.what, path, (agt_type)b->a.type, err);
}
static agt_status bad_agt_may_rename(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    return agt_may_rename(s, &who.v, path, b->a.to, &o.v, err);
}
static agt_status bad_agt_event_append(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    const char *summary = b->a.summary ? b->a.summary : "we go on";
    return agt_event_append(s, &who.v, b->a.action, summary, path, (uint32_t)b->a.durability, NULL,
                            err);
}

/* The change that the arguments say, and others that are good. */
static agt_change *bad_changes(const bad *b, const agt_caller *who, const agt_write_options *o) {
    size_t count = (size_t)b->a.count;
    agt_change *list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        BAD_STRUCT(b, "change", agt_change, one, AGT_CHANGE_INIT)
        list[i] = one.v;
        if (i || b->a.size < 0) list[i].size = sizeof *list; /* in an array none is longer */
        list[i].kind = (uint32_t)b->a.kind;
        list[i].caller = who;
        list[i].path = i ? "other.md" : b->a.path;
        list[i].bytes = "new bytes";
        list[i].len = (size_t)b->a.len;
        list[i].options = o;
    }
    return list;
}
static agt_status bad_agt_batch(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    agt_change *list = bad_changes(b, &who.v, &o.v);
    agt_status st =
        agt_batch(s, &who.v, list, (size_t)b->a.count, (uint32_t)b->a.durability, NULL, err);
    free(list);
    return st;
}
/* What a change of its own is answered stands in its result. */
static agt_status bad_agt_group(bad *b, agt_error *err) {
    BAD_CHANGE(b);
    static agt_write_result all[AGT_MAX_BATCH + 2];
    for (size_t i = 0; i < AGT_MAX_BATCH + 2; i++)
        all[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
    agt_change *list = bad_changes(b, &who.v, &o.v);
    agt_status st = agt_group(s, list, (size_t)b->a.count, (uint32_t)b->a.durability, all, err);
    free(list);
    if (st != AGT_OK || !all[0].status) return st;
    if (err) {
        err->status = (agt_status)all[0].status;
        snprintf(err->message, sizeof err->message, "%s", all[0].message);
    }
    return (agt_status)all[0].status;
}

static agt_status bad_bytes(agt_status st, agt_bytes *bytes) {
    CHECK(st == AGT_OK || (!bytes->data && !bytes->len)); /* nothing half-made is handed out */
    agt_bytes_free(bytes);
    return st;
}
static agt_status bad_agt_read(bad *b, agt_error *err) {
    agt_bytes bytes;
    BAD_STRUCT(b, "result", agt_document, d, AGT_DOCUMENT_INIT)
    return bad_bytes(agt_read(b->c.s, b->a.path, &bytes, &d.v, err), &bytes);
}
static agt_status bad_agt_read_version(bad *b, agt_error *err) {
    agt_bytes bytes;
    uint32_t version = (uint32_t)b->a.version;
    return bad_bytes(agt_read_version(b->c.s, b->a.path, version, &bytes, err), &bytes);
}
static agt_status bad_agt_diff(bad *b, agt_error *err) {
    agt_bytes bytes;
    uint32_t from = (uint32_t)b->a.from, to = (uint32_t)b->a.upto;
    return bad_bytes(agt_diff(b->c.s, b->a.path, from, to, &bytes, err), &bytes);
}
static agt_status bad_agt_diff_bytes(bad *b, agt_error *err) {
    agt_bytes bytes;
    agt_status st = agt_diff_bytes(b->c.s, b->a.path, "one\n", 4, "two\n", 4, &bytes, err);
    return bad_bytes(st, &bytes);
}
static agt_status bad_agt_read_refused(bad *b, agt_error *err) {
    agt_bytes bytes;
    return bad_bytes(agt_read_refused(b->c.s, (uint64_t)b->a.seq, &bytes, err), &bytes);
}
static agt_status bad_agt_document_get(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_document, d, AGT_DOCUMENT_INIT)
    return agt_document_get(b->c.s, b->a.path, &d.v, err);
}
static agt_status bad_agt_grants(bad *b, agt_error *err) {
    static agt_grant out[AGT_MAX_GRANTS];
    size_t n;
    BAD_STRUCT(b, "result", agt_grant, g, AGT_GRANT_INIT)
    out[0] = g.v;
    return agt_grants(b->c.s, b->a.path, b->a.wrong ? &g.v : out, &n, err);
}
static agt_status bad_agt_list(bad *b, agt_error *err) {
    agt_cursor *out;
    BAD_STRUCT(b, "opts", agt_list_options, o, AGT_LIST_OPTIONS_INIT)
    o.v.type = (uint32_t)b->a.type;
    o.v.deleted = (uint32_t)b->a.deleted;
    o.v.look = (uint32_t)b->a.look;
    o.v.untracked = (uint32_t)b->a.untracked;
    o.v.reserved = (uint32_t)b->a.reserved;
    o.v.under = b->a.under;
    agt_status st = agt_list(b->c.s, &o.v, &out, err);
    CHECK((st == AGT_OK) == (out != NULL));
    agt_cursor_close(out);
    return st;
}
static agt_status bad_agt_trace(bad *b, agt_error *err) {
    agt_cursor *out;
    BAD_STRUCT(b, "opts", agt_trace_options, o, AGT_TRACE_OPTIONS_INIT)
    o.v.type = (uint32_t)b->a.type;
    o.v.newest_first = (uint32_t)b->a.newest;
    o.v.reserved = (uint32_t)b->a.reserved;
    agt_status st = agt_trace(b->c.s, &o.v, &out, err);
    CHECK((st == AGT_OK) == (out != NULL));
    agt_cursor_close(out);
    return st;
}
static agt_status bad_agt_list_next(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_document, d, AGT_DOCUMENT_INIT)
    return agt_list_next(b->a.kind ? b->c.trace : b->c.list, &d.v, err);
}
static agt_status bad_agt_trace_next(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_event, e, AGT_EVENT_INIT)
    return agt_trace_next(b->a.kind ? b->c.list : b->c.trace, &e.v, err);
}
static agt_status bad_agt_trace_verify(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_trace_verdict, v, AGT_TRACE_VERDICT_INIT)
    return agt_trace_verify(b->c.s, (int)b->a.repair, &v.v, err);
}
static agt_status bad_agt_index_refresh(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_write_result, r, AGT_WRITE_RESULT_INIT)
    return agt_index_refresh(b->c.s, 1, &r.v, err);
}
static agt_status bad_agt_store_get_info(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_store_info, i, AGT_STORE_INFO_INIT)
    return agt_store_get_info(b->c.s, &i.v, err);
}
static agt_status bad_agt_publish(bad *b, agt_error *err) {
    return agt_publish(b->c.s, err);
}
static agt_status bad_agt_checkpoint(bad *b, agt_error *err) {
    return agt_checkpoint(b->c.s, err);
}
static agt_status bad_agt_store_idle(bad *b, agt_error *err) {
    return agt_store_idle(b->c.s, err);
}
static agt_status bad_agt_gc(bad *b, agt_error *err) {
    BAD_STRUCT(b, "opts", agt_gc_options, o, AGT_GC_OPTIONS_INIT)
    BAD_STRUCT(b, "result", agt_gc_result, r, AGT_GC_RESULT_INIT)
    o.v.measure = (uint32_t)b->a.measure;
    return agt_gc(b->c.s, &o.v, &r.v, err);
}

/* ---- the calls that need no handle ---- */

static agt_status bad_agt_open(bad *b, agt_error *err) {
    agt_store *s;
    BAD_STRUCT(b, "opts", agt_open_options, o, b->c.o)
    o.v.create = (uint32_t)b->a.create;
    o.v.read_only = (uint32_t)b->a.read_only;
    o.v.durability = (uint32_t)b->a.durability;
    o.v.publish = (uint32_t)b->a.publish;
    agt_status st = agt_open(&s, b->a.root, &o.v, err);
    CHECK((st == AGT_OK) == (s != NULL));
    if (s) agt_close(s, NULL);
    return st;
}
static agt_status bad_agt_upgrade(bad *b, agt_error *err) {
    BAD_STRUCT(b, "opts", agt_upgrade_options, o, AGT_UPGRADE_OPTIONS_INIT)
    BAD_STRUCT(b, "result", agt_upgrade_result, r, AGT_UPGRADE_RESULT_INIT)
    o.v.sys = b->c.o.sys;
    return agt_upgrade(b->a.root, &o.v, &r.v, err);
}
static agt_status bad_agt_repair(bad *b, agt_error *err) {
    agt_findings *f = NULL;
    BAD_STRUCT(b, "opts", agt_repair_options, o, AGT_REPAIR_OPTIONS_INIT)
    BAD_STRUCT(b, "result", agt_repair_result, r, AGT_REPAIR_RESULT_INIT)
    o.v.sys = b->c.o.sys;
    o.v.dry_run = (uint32_t)b->a.measure;
    o.v.reserved = (uint32_t)b->a.reserved;
    o.v.timeout_ms = AGT_TRY;
    agt_status st = agt_repair(b->a.root, &o.v, &r.v, &f, err);
    agt_findings_close(f);
    return st;
}
static agt_status bad_agt_doctor(bad *b, agt_error *err) {
    agt_findings *f = NULL;
    BAD_STRUCT(b, "opts", agt_doctor_options, o, AGT_DOCTOR_OPTIONS_INIT)
    o.v.sys = b->c.o.sys;
    o.v.deep = (uint32_t)b->a.deep;
    o.v.timeout_ms = AGT_TRY;
    agt_status st = agt_doctor(b->a.root, &o.v, &f, err);
    agt_findings_close(f);
    return st;
}
static agt_status bad_agt_poll_lock_acquire(bad *b, agt_error *err) {
    agt_poll_lock *lock;
    BAD_STRUCT(b, "opts", agt_poll_lock_options, o, AGT_POLL_LOCK_OPTIONS_INIT)
    o.v.sys = b->c.o.sys;
    o.v.timeout_ms = AGT_TRY;
    agt_status st = agt_poll_lock_acquire(&lock, b->a.root, &o.v, err);
    CHECK((st == AGT_OK) == (lock != NULL));
    agt_poll_lock_release(lock);
    return st;
}
/* These three know the real system only; their roots are none. */
static agt_status bad_agt_poll_lock_try(bad *b, agt_error *err) {
    agt_poll_lock *lock;
    agt_status st = agt_poll_lock_try(&lock, b->a.root, err);
    agt_poll_lock_release(lock);
    return st;
}
static agt_status bad_agt_poll_lock_holder(bad *b, agt_error *err) {
    BAD_STRUCT(b, "result", agt_lock_holder, h, AGT_LOCK_HOLDER_INIT)
    return agt_poll_lock_holder(b->a.root, &h.v, err);
}
static agt_status bad_agt_store_find(bad *b, agt_error *err) {
    char out[4096];
    return agt_store_find(b->a.root, out, (size_t)(b->a.size < 0 ? 4096 : b->a.size), err);
}

#define CALL(name, handle, git)                                                                    \
    { #name, bad_##name, handle, git }
static const struct bad_call {
    const char *name;
    agt_status (*run)(bad *b, agt_error *err);
    bool handle, git; /* it needs a handle; a build with git */
} bad_calls[] = {
    CALL(agt_write, true, false),
    CALL(agt_remove, true, false),
    CALL(agt_restore, true, true),
    CALL(agt_add, true, false),
    CALL(agt_rename, true, false),
    CALL(agt_untrack, true, false),
    CALL(agt_reclassify, true, false),
    CALL(agt_unlock, true, false),
    CALL(agt_revoke, true, false),
    CALL(agt_may, true, false),
    CALL(agt_may_rename, true, false),
    CALL(agt_event_append, true, false),
    CALL(agt_batch, true, false),
    CALL(agt_group, true, false),
    CALL(agt_read, true, false),
    CALL(agt_read_version, true, true),
    CALL(agt_diff, true, true),
    CALL(agt_diff_bytes, true, true),
    CALL(agt_read_refused, true, false),
    CALL(agt_document_get, true, false),
    CALL(agt_grants, true, false),
    CALL(agt_list, true, false),
    CALL(agt_trace, true, false),
    CALL(agt_list_next, true, false),
    CALL(agt_trace_next, true, false),
    CALL(agt_trace_verify, true, false),
    CALL(agt_index_refresh, true, false),
    CALL(agt_store_get_info, true, false),
    CALL(agt_publish, true, true),
    CALL(agt_checkpoint, true, true),
    CALL(agt_store_idle, true, true),
    CALL(agt_gc, true, true),
    CALL(agt_open, false, false),
    CALL(agt_upgrade, false, true),
    CALL(agt_repair, false, true),
    CALL(agt_doctor, false, false),
    CALL(agt_poll_lock_acquire, false, false),
    CALL(agt_poll_lock_try, false, false),
    CALL(agt_poll_lock_holder, false, false),
    CALL(agt_store_find, false, false),
};
enum { BAD_CALLS = sizeof bad_calls / sizeof bad_calls[0] };

/* ---- a row ---- */

typedef struct bad_texts {
    char all[16384];
    size_t used;
} bad_texts;

/* The value as the text it means. */
static const char *bad_value(bad_texts *t, const char *s, size_t n) {
    char *out = t->all + t->used;
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        unsigned byte, times;
        size_t size = 0;
        const char *star = s[i] == '{' ? memchr(s + i, '*', n - i) : NULL;
        CHECK(t->used + len + 1 < sizeof t->all);
        if (s[i] == '\\' && i + 3 < n && sscanf(s + i, "\\x%2x", &byte) == 1) {
            out[len++] = (char)byte;
            i += 4;
        } else if (star && sscanf(star, "*%u}", &times) == 1) {
            for (size = (size_t)(star - s) - i - 1; times; times--, len += size) {
                CHECK(t->used + len + size + 1 < sizeof t->all);
                memcpy(out + len, s + i + 1, size);
            }
            i = (size_t)((const char *)memchr(star, '}', n) - s) + 1;
        } else
            out[len++] = s[i++];
    }
    out[len] = 0;
    t->used += len + 1;
    return out;
}

static void bad_read_args(bad_args *a, bad_texts *t, const char *words) {
    *a = bad_good;
    t->used = 0;
    while (*words) {
        size_t n = strcspn(words, " "), name = strcspn(words, "=");
        const struct bad_key *key = NULL;
        for (size_t i = 0; i < AGT_COUNT(bad_keys); i++)
            if (strlen(bad_keys[i].name) == name && !memcmp(bad_keys[i].name, words, name))
                key = &bad_keys[i];
        if (!key || name >= n) test_fail(__FILE__, __LINE__, "no argument is '%s'", words);
        const char *value = bad_value(t, words + name + 1, n - name - 1);
        char *at = (char *)a + key->at;
        if (key->text)
            memcpy(at, &value, sizeof value);
        else
            *(int64_t *)(void *)at = strtoll(value, NULL, 10);
        words += n + (words[n] == ' ');
    }
}

static void bad_situation(bad *b) {
    codes *c = &b->c;
    const char *when = b->a.when ? b->a.when : "";
    char name[200];
    if (strcmp(when, "read-only") == 0) codes_read_only(c);
    if (strcmp(when, "full") == 0) machine_set(c->m)->capacity = 1;
    if (strcmp(when, "held") == 0) codes_store_held(c);
    if (strcmp(when, "publishing") == 0) codes_publish_held(c);
    if (strcmp(when, "forked") == 0) codes_fork(c);
    if (strcmp(when, "newer") == 0) codes_newer(c);
    if (strcmp(when, "headless") == 0) codes_no_header(c);
    snprintf(name, sizeof name, "%s/%s", CODES_ROOT, b->a.lost ? b->a.lost : "");
    if (b->a.lost) CHECK_INT(machine_remove(c->m, name), 0);
    snprintf(name, sizeof name, "%s/%s", CODES_ROOT, b->a.spoilt ? b->a.spoilt : "");
    if (b->a.spoilt) CHECK_INT(machine_overwrite(c->m, name, 0, "garbage", 7), 0);
    snprintf(name, sizeof name, "%s/%s", CODES_ROOT, b->a.put ? b->a.put : "");
    if (b->a.put) CHECK_INT(machine_put_text(c->m, name, "garbage\n"), 0);
}

static const char *const bad_documents[] = {"a.md", "ref.md", "context.md", "file.md"};

/* A refusal is recorded: only the documents are as they were. */
static char *bad_tree(const bad *b, bool refused) {
    if (!refused) return machine_tree(b->c.m, CODES_ROOT);
    char *all = calloc(1, 4096);
    for (size_t i = 0; i < AGT_COUNT(bad_documents); i++) {
        size_t n;
        char name[60];
        snprintf(name, sizeof name, CODES_ROOT "/%s", bad_documents[i]);
        char *text = machine_get(b->c.m, name, &n);
        CHECK(text && n < 1000);
        strncat(all, text, n);
        free(text);
    }
    return all;
}

/* What is wrong with a row beside its answer; none of it ends the test, so that all are seen. */
typedef struct bad_seen {
    agt_status status, quiet; /* with and without somebody to hear why */
    bool changed;             /* the disk */
    agt_error err;
} bad_seen;

/* Makes the call in a machine of its own. */
static agt_status bad_once(const machine *start, const struct bad_call *call, const char *words,
                           bool refused, agt_error *err, bool *changed) {
    bad b;
    bad_texts texts;
    bad_read_args(&b.a, &texts, words);
    codes_begin(&b.c, start);
    if (call->handle) codes_open(&b.c);
    bad_situation(&b);
    char *before = bad_tree(&b, refused);
    agt_status st = call->run(&b, err);
    char *after = bad_tree(&b, refused);
    if (strcmp(before, after) != 0) *changed = true;
    free(before);
    free(after);
    codes_end(&b.c);
    return st;
}

static bad_seen bad_run(const machine *start, const struct bad_call *call, const char *words,
                        bool refused) {
    bad_seen seen;
    memset(&seen.err, 0x5a, sizeof seen.err);
    seen.changed = false;
    seen.status = bad_once(start, call, words, refused, &seen.err, &seen.changed);
    seen.quiet = bad_once(start, call, words, refused, NULL, &seen.changed);
    return seen;
}

/* What is wrong with an answer that must not be, whatever the table says. */
static const char *bad_fault(const bad_seen *seen) {
    static const char *const never[] = {"(null)", "errno", "libgit2", "system code", "\n"};
    const char *s = seen->err.message;
    if (seen->changed) return "the disk was changed";
    if (seen->status != seen->quiet) return "another status without an error to fill";
    if (seen->status == AGT_OK) return "it succeeded";
    if (seen->err.status != seen->status) return "the error has another status";
    for (size_t i = 0; i < AGT_COUNT(never); i++)
        if (strstr(s, never[i])) return never[i];
    return strlen(s) < 10 ? "too few words" : NULL;
}

/* What differs from one system or run to another becomes a #: sizes of structs, names of temporary
 * files. */
static void bad_plain(char *s) {
    static const char *const before[] = {"(at byte ", "tmp_pack_"};
    for (size_t i = 0; i < AGT_COUNT(before); i++) {
        char *at = strstr(s, before[i]);
        if (!at) continue;
        at += strlen(before[i]);
        size_t n = strspn(at, "0123456789abcdef");
        CHECK(n > 0);
        *at = '#';
        memmove(at + 1, at + n, strlen(at + n) + 1);
    }
}

typedef struct bad_table {
    const machine *start;
    char *out; /* the table as it was seen */
    size_t len, rows, wrong, of[BAD_CALLS];
    bool update;
} bad_table;

static void bad_row(bad_table *t, char *line) {
    char *cell[4] = {line, "", "", ""}, row[1600];
    size_t k = 0;
    for (int i = 1; i < 4; i++) {
        char *tab = strchr(cell[i - 1], '\t');
        if (!tab) break;
        *tab = 0;
        cell[i] = tab + 1;
    }
    while (k < BAD_CALLS && strcmp(bad_calls[k].name, cell[1]) != 0)
        k++;
    if (k == BAD_CALLS) test_fail(__FILE__, __LINE__, "no call is '%s'", cell[1]);
    if (bad_calls[k].git && !kit_has_git) return;
    bad_seen seen = bad_run(t->start, &bad_calls[k], cell[2], strcmp(cell[0], "DENIED") == 0);
    const char *fault = bad_fault(&seen), *status = agt_status_name(seen.status);
    if (seen.status == AGT_OK) seen.err.message[0] = 0;
    bad_plain(seen.err.message);
    const char *message = seen.err.message;
    snprintf(row, sizeof row, "%s\t%s\t%s\t%s", status, cell[1], cell[2], message);
    bool differs = strcmp(cell[0], status) != 0 || strcmp(cell[3], message) != 0;
    if (fault) printf("%s: %s\n", row, fault);
    if (differs && !t->update)
        printf("- %s\t%s\t%s\t%s\n+ %s\n", cell[0], cell[1], cell[2], cell[3], row);
    if (fault || (differs && !t->update)) t->wrong++;
    t->len += (size_t)sprintf(t->out + t->len, "%s\n", row);
    t->of[k]++;
    t->rows++;
}

TEST(bad_input, every_call_answers_as_the_table_says_and_changes_nothing) {
    const char *golden = getenv("AGENT_TRACE_GOLDEN");
    size_t size;
    char *table = (char *)test_read_file(BAD_TABLE, &size), *save = NULL;
    machine *start = codes_machine();
    bad_table t = {.start = start, .update = golden && strcmp(golden, "update") == 0};
    t.out = malloc(size * 2 + 1024 * 1024);
    for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (line[0] == '#')
            t.len += (size_t)sprintf(t.out + t.len, "%s\n", line);
        else
            bad_row(&t, line);
    }
    if (t.update && kit_has_git) test_write_file(BAD_TABLE, t.out, t.len);
    machine_free(start);
    free(table);
    free(t.out);
    test_saw("rows", t.rows);
    CHECK_INT(t.wrong, 0);
    for (size_t k = 0; k < BAD_CALLS; k++)
        if (!t.of[k] && (kit_has_git || !bad_calls[k].git))
            test_fail(__FILE__, __LINE__, "%s has no row", bad_calls[k].name);
    CHECK(t.rows >= (kit_has_git ? 800 : 600));
}
