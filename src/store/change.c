/* change: the public calls that change documents. Each fills plans and runs one transaction;
 * agt_group runs as many as its changes need. */
#include "write.h"

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
    p->staged = p->side = p->waits = p->follows = false;
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
    st = agt__epoch_fence(s->sys, s->locks, p->caller.epoch, err);
    if (st == AGT_OK) st = agt__txn_event(&t, p, action, err);
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
