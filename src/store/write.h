/* write: the transaction that every change goes through; its parts are change.c and manage.c (the
 * public calls), write.c and plan.c (changes to events) and txn.c (events to records, records to
 * files). */
#ifndef AGT_WRITE_H
#define AGT_WRITE_H

#include "store.h"

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
    agt_type to;       /* of a reclassify */
    const char *grant; /* of an unlock or revoke */
    int64_t duration_ms;
    /* filled on the way */
    bool held; /* the path is an older program's: it is good only if such a document exists */
    char path[AGT_MAX_PATH + 1];
    size_t path_len;
    char to_path[AGT_MAX_PATH + 1]; /* of a rename, filled by its caller */
    size_t to_len;
    agt_plan_kind kind;
    agt_row *row;    /* the catalog's */
    agt_row *to_row; /* of a rename, at the new path */
    agt_row now;     /* the row as it is once an edit that was found is counted */
    agt_type type;   /* what the document is or becomes */
    agt_oid blob;
    agt_place place, to_place;
    bool staged, side;
    bool follows; /* a rename that was made outside: the file lies at the new path already */
    bool waits;   /* what is on disk is an older version: the newest is not in its place yet */
    agt_write_result result;
} agt_plan;

/* Several records under one lock and one sync. A record is built, sealed, and with others that
 * belong to it flushed: one pwrite. */
typedef struct agt_txn {
    agt_store *s;
    bool full, atomic, appended, wants_sync;
    bool asks;            /* what is looked at is not done: nothing is recorded */
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

/* Checks what needs no lock: caller, options, path; and the grant of an unlock or revoke. */
AGT_PRIVATE agt_status agt__plan_check(agt_plan *p, agt_error *err);
AGT_PRIVATE agt_status agt__plan_check_grant(const agt_plan *p, agt_error *err);
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
/* AGT_INVALID if what was looked at, where the plan's document is to be, is another document's own
 * file under a second spelling or name, or one's of the same transaction. */
AGT_PRIVATE agt_status agt__txn_same_file(const agt_txn *t, const agt_plan *p, const char *path,
                                          size_t len, const agt_look *look, agt_error *err);
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
