/* store: the floor that knows how the parts fit. One handle, one store lock, one way in.
 *
 * The order of things, and the only one: lock, refresh, plan, append, sync, apply, save, unlock.
 * Locks are taken publish before store, never the other way. */
#ifndef AGT_STORE_PART_H
#define AGT_STORE_PART_H

#include "../git/git.h"
#include "../lock/lock.h"
#include "../log/journal.h"
#include "../log/paths.h"
#include "../state/catalog.h"
#include "../state/config.h"
#include "../state/perm.h"
#include "../state/shared.h"

#define AGT_INLINE_MAX   (1024u * 1024)     /* longer contents go to a side file */
#define AGT_BATCH_INLINE (2u * 1024 * 1024) /* together, in one record */
#define AGT_INDEX_NAME   "index"            /* paths.h */
#define AGT_REJECTED_MAX                                                                           \
    (32u * 1024 * 1024) /* longer refused bytes are told by their hash alone                       \
                         */

/* How far this handle has read the journal. */
typedef struct agt_seen {
    uint64_t pos, next_seq;
    uint32_t chain;
} agt_seen;

/* The version of a document that was looked for last, its event, and the document's one before. */
typedef struct agt_walked {
    char doc[37];
    uint32_t version;
    uint64_t seq, prev;
} agt_walked;

struct agt_store {
    agt_mem mem;
    const agt_sys *sys;
    agt_cpu cpu;
    agt_process self;
    void *mutex;         /* guards everything below but `git` */
    void *publish_mutex; /* taken before `mutex`; guards `git` and git_dir */
    void *reader_mutex;  /* taken last; guards `reader` and reader_dir */
    bool read_only, opening, trusts_state, reload, recovered;
    uint32_t durability, publish;
    int32_t timeout_ms;
    agt_config config;
    agt_fd root, at; /* the folder, and .agent-trace in it */
    agt_fd locks, tmp, trace_dir, unpublished, aside, rejected;
    agt_fd git_dir, reader_dir; /* .agent-trace/git, as `git` and `reader` know it */
    agt_fd state_fd;
    agt_flock lock, publish_lock;
    agt_journal journal;
    agt_shared shared;
    agt_seen seen;
    agt_catalog catalog;
    uint64_t index_shape; /* the catalog's shape that AGENT-TRACE.md shows */
    agt_trace_writer trace;
    uint64_t synced_docs_seq;            /* documents changed up to this event are durable */
    agt_error waits;                     /* why the last change that waits could not be applied */
    agt_buf old, record, lines, scratch; /* working memory, kept between calls */
    agt_walked walked;
    agt_git *git;    /* the publisher's */
    agt_git *reader; /* for history, so that readers never wait for a publisher */
    char root_path[4096];
    /* a store of agent-trace 0.1.0: what it is read through, freed with the handle; NULL: ours */
    void *stands_on;
    void (*stands_on_free)(void *stands_on);
};

/* ---- store.c: entering and leaving ---- */

/* As agt_open, for a store of our own format. */
AGT_PRIVATE agt_status agt__store_open(agt_store **out, const char *root,
                                       const agt_open_options *opts, agt_error *err);
/* What a read-only handle answers to whoever wants to write. */
AGT_PRIVATE agt_status agt__store_refuse(const agt_store *s, agt_error *err);

/* Takes the handle's mutex; AGT_INVALID in a fork's child. */
AGT_PRIVATE agt_status agt__store_enter(agt_store *s, agt_error *err);
AGT_PRIVATE void agt__store_leave(agt_store *s);
/* Takes mutex and store lock, and brings the handle up to date; recovers or finishes what a dead
 * writer left. A read-only handle only enters and reads. */
AGT_PRIVATE agt_status agt__store_lock(agt_store *s, agt_error *err);
AGT_PRIVATE void agt__store_unlock(agt_store *s);
/* Writes the shared state; a failure is not the caller's: the next holder recovers. */
AGT_PRIVATE void agt__store_save(agt_store *s);
/* Reads the shared state without the store lock. False: there is none for this boot and this
 * generation of the journal, so nobody knows since a restart. Under the handle's mutex. */
AGT_PRIVATE bool agt__store_peek(const agt_store *s, agt_shared *out);
/* A reader's refresh, without a lock: header, records, header again. Under the handle's mutex. */
AGT_PRIVATE agt_status agt__store_look_again(agt_store *s, agt_error *err);
/* Loads header and catalog anew and forgets what was seen of the journal. */
AGT_PRIVATE agt_status agt__store_reload(agt_store *s, agt_error *err);
/* Reads records from `seen` up to `end` (or as long as they check, for UINT64_MAX) into the
 * catalog. */
AGT_PRIVATE agt_status agt__store_replay(agt_store *s, uint64_t end, agt_error *err);
/* Parses an entry's line and checks that it may be acted on: the seq it must have, a path that the
 * path rules allow, ids that are ids. A store may come from somebody else. AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__store_event(const agt_entry *entry, uint64_t seq, agt_buf *scratch,
                                        agt_event *e, agt_error *err);
/* Touches and changes the catalog for each event of a record. */
AGT_PRIVATE agt_status agt__store_record_rows(agt_store *s, const agt_record *r, agt_error *err);
/* Opens .agent-trace/git as it is now where somebody put another folder in its place, and objects
 * in it; *moved: somebody did. Under the mutex of `git` and `dir`. */
AGT_PRIVATE agt_status agt__store_follow_git(agt_store *s, agt_git *git, agt_fd *dir, bool make,
                                             bool *moved, agt_error *err);

/* The folders of a store that may be damaged, its locks (not taken) and its git (AGT_FD_NONE where
 * there is none); neither config.toml nor journal is read. Read-only: nothing is made, and a
 * folder in whose place something else stands is AGT_FD_NONE. */
AGT_PRIVATE agt_status agt__store_open_parts(agt_store **out, const char *root,
                                             const agt_open_options *o, agt_error *err);
AGT_PRIVATE void agt__store_close_parts(agt_store *s);
/* A new store's settings, all but its id. */
AGT_PRIVATE void agt__store_default_config(agt_store *s);

/* ---- places.c ---- */

/* A store that could not be opened: st, or AGT_CORRUPT with the mend if something is misplaced. */
AGT_PRIVATE agt_status agt__store_blame(const agt_store *s, agt_status st, agt_error *err);
/* Is anything misplaced, and how many links are among it? `found`, unless NULL, gets it all. */
AGT_PRIVATE bool agt__store_find_misplaced(const agt_store *s, agt_findings *found,
                                           uint32_t *links);

/* ---- remains.c ---- */

/* Is the open folder .agent-trace of `root` a store: has it a config.toml? No is the answer for a
 * folder in which a store was begun at most. AGT_CORRUPT: it was a store and has lost that file.
 * AGT_IO. Changes nothing, and takes no lock. */
AGT_PRIVATE agt_status agt__store_there(const agt_sys *sys, agt_fd at, const char *root,
                                        bool *there, agt_error *err);

/* Whatever the store above it may: a document comes to be under the rules of the store it lies in.
 * AGT_INVALID if the folders that lead to the path are, or are in, another store. */
AGT_PRIVATE agt_status agt__store_below(const agt_store *s, const char *path, size_t len,
                                        agt_error *err);
/* May a store be made in the open folder, or in the one named `leaf` in it ("": itself)?
 * AGT_INVALID in a .git, by its real path; `given` is what the caller calls it. AGT_IO. */
AGT_PRIVATE agt_status agt__store_may_be_made(const agt_sys *sys, agt_fd folder, const char *given,
                                              const char *leaf, agt_error *err);

/* Is there a store in the open folder, or what is left of one? */
AGT_PRIVATE bool agt__store_in(const agt_sys *sys, agt_fd folder);

/* Is .agent-trace, open as `at`, a store of agent-trace 0.1.0? One that lost its config.toml, or
 * has a damaged one, is known by its repository, and by having no journal. */
AGT_PRIVATE agt_status agt__store_is_old(const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                         bool *is, agt_error *err);
/* AGT_UNSUPPORTED, with the mend, for one whose parts are open: nothing in it is ours to mend. */
AGT_PRIVATE agt_status agt__store_not_old(const agt_store *s, agt_error *err);

/* ---- apply.c: what a committed record does to the files ---- */

/* A document's file as it was looked at. */
typedef struct agt_look {
    bool on_disk;
    agt_stat stat;
    agt_oid blob;
} agt_look;

/* Reads the file into `bytes` (emptied first) without following links. AGT_INVALID: a link, a
 * folder or another non-file is in the way; AGT_LIMIT; AGT_IO. Not there is AGT_OK. */
AGT_PRIVATE agt_status agt__look(agt_store *s, const char *path, size_t len, agt_buf *bytes,
                                 agt_look *out, agt_error *err);
/* Is what was looked at this version: these bytes, or (exists false) no file? */
AGT_PRIVATE bool agt__look_is(const agt_look *look, bool exists, const agt_oid *blob);

typedef struct agt_place {
    const char *path;
    size_t path_len;
    uint64_t seq;    /* names the temporary file tmp/<seq>.new */
    agt_look before; /* what was seen there; anything else is kept aside */
    bool remove;
    agt_stat like;   /* whose rights and owner a new file has; mode 0: as files are made here */
    agt_stat staged; /* of the temporary file */
    agt_stat after;  /* of the document when it is in place; ino 0: look again */
    bool kept_aside;
} agt_place;

/* Writes tmp/<seq>.new with the bytes; fills p->staged. */
AGT_PRIVATE agt_status agt__stage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                  agt_error *err);
/* The same for a change that is recorded already: the name appears with all its bytes, because
 * recovery takes other bytes under it for an edit. */
AGT_PRIVATE agt_status agt__restage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                    agt_error *err);
AGT_PRIVATE void agt__unstage(agt_store *s, uint64_t seq);
/* Puts the staged file in the document's place (or removes the document) and looks at what it
 * replaced once more. Idempotent through agt__replay_documents. */
AGT_PRIVATE agt_status agt__place(agt_store *s, agt_place *p, agt_error *err);
/* Moves tmp/<name> to aside/ under a name made of seq and label, synced. 0 or an AGT_SYS_ERR. */
AGT_PRIVATE int agt__keep_aside(agt_store *s, const char *name, uint64_t seq, const char *label,
                                size_t len);
/* Copies the file's identity into the row, so that a later look is cheap. */
AGT_PRIVATE void agt__row_stat(agt_row *row, const agt_stat *st);
/* Makes a document's file and its name durable. */
AGT_PRIVATE agt_status agt__sync_document(agt_store *s, const char *path, size_t len,
                                          agt_error *err);
/* Splits a path into an open folder and the leaf; makes folders if `make`. The fd or an error. */
AGT_PRIVATE agt_fd agt__open_parent(agt_store *s, const char *path, size_t len, bool make,
                                    const char **leaf);
/* "<seq><suffix>" */
AGT_PRIVATE void agt__seq_name(uint64_t seq, const char *suffix, char out[40]);

/* May names in the document's folder be changed? The folder may not be there yet. Asked before a
 * change is recorded, so that applying it can hardly fail. */
AGT_PRIVATE agt_status agt__target(agt_store *s, const char *path, size_t len, agt_error *err);

/* ---- rejected.c ---- */

/* Writes refused bytes to rejected/<sha256 in hex>, synced, and removes the oldest where there are
 * more than AGT_MAX_REJECTED files or bytes. False: they cannot be kept now, and wait in their
 * record; the shared state's refused_waits is the caller's to set. */
AGT_PRIVATE bool agt__keep_rejected(agt_store *s, agt_text name, const void *bytes, size_t len);
/* The same for an entry of a record and its event; true also where the entry has no such bytes. */
AGT_PRIVATE bool agt__keep_refusal(agt_store *s, uint64_t seq, const agt_entry *entry,
                                   const agt_event *event);
/* Under the store lock: tries again for all of the journal, where refused_waits says so, and
 * clears that where nothing waits any more. The caller saves. */
AGT_PRIVATE void agt__keep_rejected_again(agt_store *s);

/* Under the store lock: removes the oldest where there are too many. */
AGT_PRIVATE void agt__trim_rejected(agt_store *s);

/* ---- pending.c ---- */

/* Events from..to - 1 are recorded and may not be applied. What a live writer is at counts only for
 * a read-only handle, which cannot wait for it. */
typedef struct agt_waiting {
    uint64_t from, to;
    bool known; /* else nobody knows since a restart, and the trace behind the header's end may be
                 * torn (a read-only handle cannot recover) */
} agt_waiting;
/* Under the handle's mutex; `locked` says that the store lock is held, too. */
AGT_PRIVATE agt_waiting agt__waiting(agt_store *s, bool locked);

/* Is what was looked at an older version of a document whose newest change is recorded and not in
 * place yet? Under the handle's mutex; `waiting` was asked for before the look. */
AGT_PRIVATE agt_status agt__look_pending(agt_store *s, const agt_waiting *waiting,
                                         const agt_row *row, const agt_look *look, bool *pending,
                                         agt_error *err);

/* ---- recover.c ---- */

typedef enum agt_replay {
    AGT_REPLAY_LEFT,   /* a writer died: files are whole */
    AGT_REPLAY_CUT,    /* the power may have failed: files may be empty or torn */
    AGT_REPLAY_REWRITE /* a sync failed: what is read may not be on the disk; write all anew */
} agt_replay;
/* Applies the records from journal byte `from` to the end again. Sets *pending if something is in
 * the way of a document. */
AGT_PRIVATE agt_status agt__replay_records(agt_store *s, uint64_t from, agt_replay mode,
                                           bool *pending, agt_error *err);
/* The whole recovery, under the store lock; ends with a checkpoint. */
AGT_PRIVATE agt_status agt__recover(agt_store *s, agt_error *err);
/* AGT_CORRUPT where records that the state knows of could not be read: `seen` is behind what could.
 */
AGT_PRIVATE agt_status agt__journal_whole(const agt_store *s, const agt_shared *was,
                                          agt_error *err);
/* Is the trace there as far as `end`? AGT_CORRUPT if not: of what the last checkpoint made durable
 * that is damage, for a hole would be filled with NULs, and who reads the trace would be told that
 * nothing happened; lines of later records can be written again. */
AGT_PRIVATE agt_status agt__trace_reaches(agt_store *s, const agt_trace_end *end, agt_error *err);

/* ---- checkpoint.c ---- */

/* Under the store lock: makes everything durable in its place and begins a new generation, in a
 * new journal file if `new_file` (after a failed sync). AGT_BUSY while a record waits to be
 * applied. */
AGT_PRIVATE agt_status agt__checkpoint_locked(agt_store *s, bool new_file, agt_error *err);
/* Under the publish lock: brings the index of paths up to the last checkpoint, some events at a
 * time; `whole`: many, and looks for damage in all of it. */
AGT_PRIVATE void agt__checkpoint_paths(agt_store *s, bool whole);
/* Under the publish lock: publishes if asked to, then checkpoints if the journal reaches beyond the
 * byte `above` by then; not while refused bytes can be kept nowhere else and there is room. */
AGT_PRIVATE agt_status agt__checkpoint_run(agt_store *s, bool publish, uint64_t above,
                                           agt_error *err);
/* Before a write: checkpoints if the journal is half full, without waiting for other publishers
 * unless it is nearly full. */
AGT_PRIVATE agt_status agt__make_room(agt_store *s, agt_error *err);
/* Checkpoints whatever the journal holds, waiting for other publishers but not for git. */
AGT_PRIVATE agt_status agt__empty_journal(agt_store *s, agt_error *err);

/* Under the publish lock: the header learns how far git is durable, if it does not know. What fails
 * here is tried again. */
AGT_PRIVATE void agt__checkpoint_packed(agt_store *s);

/* ---- commit.c ---- */

/* A commit of ours in the making. */
typedef struct agt_commit_text {
    agt_buf message, files, events, name;
    agt_git_signature who;
} agt_commit_text;

AGT_PRIVATE agt_commit_text agt__commit_text(const agt_mem *mem);
AGT_PRIVATE void agt__commit_free(agt_commit_text *c);
/* Takes in an event of a record, with its line; the first one begins the commit. */
AGT_PRIVATE void agt__commit_event(agt_commit_text *c, bool first, const agt_event *e,
                                   const void *line, size_t len);
/* Makes the commit of the transaction's tree and the events that were taken in. */
AGT_PRIVATE agt_status agt__commit_make(agt_commit_text *c, agt_git *git, int64_t recorded_ms,
                                        agt_oid *out, agt_error *err);

/* ---- publish.c ---- */

/* Under the publish lock: commits every record git does not have. `pack`: durably, and nothing
 * stays loose. */
AGT_PRIVATE agt_status agt__publish_locked(agt_store *s, bool pack, agt_error *err);
/* Are the packs still there that were made since the header `h`? Somebody may have taken them away:
 * then *sh says what the header says, what that does not call packed is recorded still, and the
 * next publisher mends. Under the publish lock, or where *sh says no more than `h`. */
AGT_PRIVATE agt_status agt__packed_still(agt_store *s, const agt_journal_header *h, agt_shared *sh,
                                         agt_error *err);
/* Takes and drops publish mutex and lock. */
AGT_PRIVATE agt_status agt__publish_enter(agt_store *s, int32_t timeout_ms, agt_error *err);
AGT_PRIVATE void agt__publish_leave(agt_store *s);
/* ---- records.c ---- */

#define AGT_RECORDS_HEAD 32u /* bytes in front of the records in a file of unpublished/ */

/* The seq behind the last event in unpublished/<first>.records, as its head tells it. AGT_NOT_FOUND
 * if there is no such file, AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__records_end(agt_store *s, uint64_t first, uint64_t *end,
                                        agt_error *err);

/* The content of the event `seq`, which made a blob, or its line, from the journal or unpublished/.
 * AGT_NOT_FOUND if neither has it. Under the handle's mutex. */
AGT_PRIVATE agt_status agt__journalled_content(agt_store *s, uint64_t seq, agt_buf *out,
                                               agt_error *err);
AGT_PRIVATE agt_status agt__journalled_line(agt_store *s, uint64_t seq, agt_buf *out,
                                            agt_error *err);
/* Reads an object from git through the reader's handle. */
AGT_PRIVATE agt_status agt__git_content(agt_store *s, const agt_oid *blob, agt_buf *out,
                                        agt_error *err);
/* Walks unpublished/<first seq> files and the journal, from the record with first seq `seq` on. */
typedef agt_status (*agt_record_fn)(void *ctx, const agt_record *record, agt_error *err);
AGT_PRIVATE agt_status agt__each_record(agt_store *s, const agt_journal *j, uint64_t seq,
                                        agt_record_fn each, void *ctx, agt_error *err);
/* An entry's bytes: inside the record, or read from its side file into `out` (emptied first).
 * AGT_NOT_FOUND: the side file is gone; to a reader without a lock that may mean that git has the
 * bytes by now. */
AGT_PRIVATE agt_status agt__entry_bytes(agt_store *s, uint64_t seq, const agt_entry *entry,
                                        agt_buf *out, const void **bytes, agt_error *err);
AGT_PRIVATE void agt__side_name(uint64_t seq, char out[40]);

/* ---- walk.c ---- */

typedef struct agt_file {
    const char *path; /* with a slash behind it if it is a folder */
    size_t at, len;   /* where it lies in the paths, and its bytes */
    uint64_t size;
    int64_t changed_unix_ms;
    uint32_t left_out; /* an agt_left_out */
} agt_file;

typedef struct agt_files {
    agt_buf rows;  /* of agt_file, in byte order of their paths */
    agt_buf paths; /* each ended by a NUL */
} agt_files;

/* The files that are no documents, in the folder `under` (empty: everywhere); with `all` what is
 * left out of them, too. Free with agt__files_free, whatever it returns. Takes the handle's mutex.
 */
AGT_PRIVATE agt_status agt__walk(agt_store *s, const char *under, size_t under_len, bool all,
                                 agt_files *out, agt_error *err);
AGT_PRIVATE void agt__files_free(agt_files *f);

/* ---- cursor.c ---- */

/* Appends an agt_event_at for every event up to *covered that may be about the path, ascending. */
AGT_PRIVATE agt_status agt__known_events(agt_store *s, const char *path, size_t len, agt_buf *out,
                                         uint64_t *covered, agt_error *err);

/* ---- history.c ---- */

/* Fills the caller's (initialised) struct from a row. */
AGT_PRIVATE void agt__describe(const agt_row *row, bool modified, agt_document *out);
/* A document's id, by its path, which may be one that only an older program gave. */
AGT_PRIVATE agt_status agt__document_id(agt_store *s, const char *path, char id[40],
                                        agt_error *err);

#endif /* AGT_STORE_PART_H */
