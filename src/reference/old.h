/* old: reading a store of agent-trace 0.1.0, which this program takes the place of.
 *
 * Its truth is spread over files: a git history (.agent-trace/repo/.git) with a message grammar,
 * manifest.toml (which documents there are), overrides.toml (grants), summary_events.jsonl (the
 * newest 500 changes, in milliseconds), rejected/. Here they become one list of commits and
 * changes, from which image.c makes events of ours.
 *
 * (1) Nothing is written, and nothing in the store is believed that could be made to lead out of
 *     it: not core.worktree, not the root's .git, no configuration, no absolute path.
 * (2) What is damaged is left out and counted; the rest is read. Only a history that cannot be
 *     found at all is a failure.
 * (3) A commit's message is believed only as far as its author's signature and its tree agree. */
#ifndef AGT_OLD_H
#define AGT_OLD_H

#include "../git/git.h"
#include "../state/config.h"
#include "../state/perm.h"

#define AGT_OLD_NONE SIZE_MAX

/* ---- a commit's message ---- */

typedef struct agt_old_message {
    bool plain; /* exactly the grammar; else only the summary is taken from it */
    agt_text action, summary, actor, agent, session;
    agt_text rows; /* its "file:" lines */
} agt_old_message;

typedef struct agt_old_row {
    agt_text path, action, type;
} agt_old_row;

AGT_PRIVATE void agt__old_message(agt_text message, agt_old_message *out);
/* The next "file:" row; start with *at = 0. false at the end. Only of a plain message. */
AGT_PRIVATE bool agt__old_row_next(agt_text rows, size_t *at, agt_old_row *out);

/* ---- the store ---- */

typedef struct agt_old_document {
    agt_text id, path, type, description, tags, agent;
} agt_old_document;

typedef struct agt_old_grant {
    agt_text doc, path, actor, by;
    int64_t granted_ms, expires_ms;
} agt_old_grant;

/* A line of summary_events.jsonl. */
typedef struct agt_old_event {
    int64_t at_ms;
    agt_text actor, agent, session, action, kind, path, type, summary, source, detected_by;
    int64_t added, removed;
    bool told; /* a commit tells of it */
} agt_old_event;

/* One path of a commit. */
typedef struct agt_old_change {
    agt_text path, kind, type; /* type is empty where nobody said it */
    bool listed;               /* the message has a row of it */
    bool changed, exists;      /* the tree has other bytes there: a version; false: a deletion */
    bool made;                 /* and had none before */
    agt_oid blob;
    size_t event; /* the line of summary_events.jsonl that tells of it, or AGT_OLD_NONE */
} agt_old_change;

typedef struct agt_old_commit {
    agt_oid id;
    int64_t unix_s;
    agt_text author, email, action, actor, agent, session, summary;
    size_t first, count; /* its changes */
    bool doubtful;       /* (3): the message says what it cannot say */
    bool lost;           /* its tree cannot be read */
} agt_old_commit;

/* What was found damaged, or not as it should be. */
typedef struct agt_old_damage {
    bool config, manifest, overrides, events_missing;
    uint64_t event_lines;   /* of the event log, that are none */
    uint64_t heads_skipped; /* newer commits that cannot be read */
    uint64_t trees;         /* commits whose tree cannot be read */
    uint64_t branches;      /* refs to commits that the history does not have */
    bool cut;               /* the history begins at a commit whose parent cannot be read */
    uint64_t doubtful;      /* messages that were not believed */
} agt_old_damage;

typedef struct agt_old_list {
    void *data;
    size_t count, cap;
} agt_old_list;

typedef struct agt_old_chunk agt_old_chunk;

typedef struct agt_old {
    const agt_sys *sys;
    agt_mem mem;
    agt_cpu cpu;
    agt_fd at; /* borrowed: .agent-trace */
    agt_fd git_dir;
    agt_git *git;
    agt_config config;
    char created[40];
    agt_old_list documents, grants, events, commits, changes;
    agt_old_damage damage;
    agt_old_chunk *chunks;
} agt_old;

/* Reads all of it but the documents' bytes. AGT_CORRUPT: there is no history that can be read;
 * AGT_UNSUPPORTED: a build without git. Free in either case. */
AGT_PRIVATE agt_status agt__old_read(agt_old *o, const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                     agt_error *err);
AGT_PRIVATE void agt__old_free(agt_old *o);

/* ---- among its parts ---- */

/* A copy that lives as long as `o`, with a NUL behind; data NULL: out of memory. */
AGT_PRIVATE agt_text agt__old_keep(agt_old *o, agt_text text);
/* A place for one more item at the end, zeroed; NULL: out of memory. */
AGT_PRIVATE void *agt__old_add(agt_old *o, agt_old_list *list, size_t size);
AGT_PRIVATE void *agt__old_item(const agt_old_list *list, size_t i, size_t size);
#define AGT_OLD_ITEM(list, type, i) ((type *)agt__old_item((list), (i), sizeof(type)))

/* Writes a UUID that is always the same for this name. */
AGT_PRIVATE void agt__old_uuid(const agt_old *o, const void *name, size_t len, char out[37]);
/* config.toml, manifest.toml, overrides.toml, summary_events.jsonl. */
AGT_PRIVATE agt_status agt__old_files(agt_old *o, agt_error *err);
/* The commits, oldest first, and what each changed. */
AGT_PRIVATE agt_status agt__old_history(agt_old *o, agt_error *err);
/* The newest commit that can be read; adds how many newer ones cannot. */
AGT_PRIVATE agt_status agt__old_head(const agt_old *o, agt_oid *head, uint64_t *skipped,
                                     agt_error *err);
/* Finds for each event the commit that tells of it. */
AGT_PRIVATE void agt__old_match(agt_old *o);

#endif /* AGT_OLD_H */
