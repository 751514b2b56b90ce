/* git: the seam to git, as a transaction. Objects, packs and the ref are written by our own code
 * through agt_sys; libgit2 (libgit2.c) only reads. none.c answers AGT_UNSUPPORTED to all of it.
 * No git type leaks upward. */
#ifndef AGT_GIT_H
#define AGT_GIT_H

#include "../data/data.h"
#include "../sys/sys.h"

typedef struct agt_git agt_git;

/* Makes the bare repository's files in `dir` (an open, maybe empty folder): HEAD naming
 * refs/heads/main, config, objects/, refs/heads/; synced. Idempotent. In none.c: AGT_OK, nothing
 * is made. */
AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err);

/* The name of the file of agt__git_init, HEAD or config, that is there and that no git can read;
 * NULL: none. What is missing is none: the next publication makes it. In none.c: NULL. */
AGT_PRIVATE const char *agt__git_damaged_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem);

/* A handle on the repository in `dir` (borrowed until close; AGT_FD_NONE: follow comes before any
 * call that reads or writes). Cheap: libgit2 is initialised by the
 * first call that reads an object, and shut down in close. */
AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err);
AGT_PRIVATE void agt__git_close(agt_git *git);
/* The repository is in `dir` from now on (borrowed). *moved: that is another folder than before, or
 * its objects are: what was known and open is forgotten, and an open transaction ended. */
AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err);

/* Reads an object's bytes behind what `out` holds: hash checked. AGT_NOT_FOUND if it is not there
 * (an empty or damaged loose file is AGT_CORRUPT). */
AGT_PRIVATE agt_status agt__git_read(agt_git *git, const agt_oid *id, agt_buf *out, agt_error *err);

/* What refs/heads/main names; found = false if it does not exist. Reads the ref's file through
 * sys (loose refs only: we write no packed-refs; one made by somebody's git is read too). */
AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err);

/* A unified diff of two byte strings; a NULL side is a file that does not exist. */
AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err);

/* ---- a transaction: commits on top of a parent, then written all at once ---- */

typedef struct agt_git_signature {
    agt_text name, email;
    int64_t unix_s; /* +0000 */
} agt_git_signature;

/* Begins on top of `parent` (NULL: a root commit comes first). One transaction at a time. Trees of
 * the parent are read as they are needed; trees the handle wrote last are remembered, so that a
 * long-lived publisher reads nothing. */
AGT_PRIVATE agt_status agt__git_begin(agt_git *git, const agt_oid *parent, agt_error *err);
/* Puts a file in the tree of the commit to come. The bytes are copied before the call returns.
 * `known` is the blob's id, already computed. A blob whose bytes are NULL exists already and is
 * only named (the empty one is made). A folder at that path makes way, with all that is in it, as
 * does a file where a folder of the path is needed. Removing what is not there is AGT_OK. A call
 * of put, remove, commit or write that fails ends the transaction: the next one answers
 * AGT_INVALID, and agt__git_begin begins anew. */
AGT_PRIVATE agt_status agt__git_put(agt_git *git, const char *path, size_t path_len,
                                    const agt_oid *known, const void *bytes, size_t len,
                                    agt_error *err);
AGT_PRIVATE agt_status agt__git_remove(agt_git *git, const char *path, size_t path_len,
                                       agt_error *err);
/* Makes the commit of what was put since the last one (an unchanged tree is fine). The committer
 * is the author's name; its time is max(parent's committer time, committed_unix_s). Whole seconds,
 * +0000. Deterministic: the same calls on the same parent give the same id. */
AGT_PRIVATE agt_status agt__git_commit(agt_git *git, const agt_git_signature *author,
                                       int64_t committed_unix_s, agt_text message, agt_oid *out,
                                       agt_error *err);
typedef enum agt_git_write {
    AGT_GIT_LOOSE = 1, /* loose objects, unsynced: a later pack makes them durable */
    AGT_GIT_PACK = 2,  /* one pack and its index, synced, the folder synced: durable on return */
    AGT_GIT_REPACK = 3 /* the same; then the loose files of the pack's objects go */
} agt_git_write;
/* Writes every object of the transaction and ends it. Where the handle's sys fails, nothing is
 * named and the transaction is over. Zero commits: AGT_OK, nothing is written. */
AGT_PRIVATE agt_status agt__git_write(agt_git *git, agt_git_write how, agt_error *err);
/* Ends the transaction without writing. */
AGT_PRIVATE void agt__git_abort(agt_git *git);

/* Makes refs/heads/main name `id` if it still names `was` (NULL: nothing that could be read), with
 * git's own lock held from the look to the rename. durable: the file and the folders are synced.
 * AGT_CONFLICT: it names something else, and goes on to. AGT_BUSY: a git command held the lock for
 * two seconds; a lock that is a minute away from now is a dead one's. */
AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err);
/* Keeps `id` as refs/heads/<name>, or <name>-2, -3 ... where that names something else. Synced. */
AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err);
/* Is the object there? One that a pack's index names is not read. */
AGT_PRIVATE agt_status agt__git_has(agt_git *git, const agt_oid *id, bool *has, agt_error *err);
/* Is the object in a pack, and can it be read there? */
AGT_PRIVATE agt_status agt__git_packed(agt_git *git, const agt_oid *id, bool *packed,
                                       agt_error *err);
/* Is everything there that a commit leads to? */
AGT_PRIVATE agt_status agt__git_whole(agt_git *git, const agt_oid *id, bool *whole, agt_error *err);
/* The same, and packs are not believed: every object is read and hashed. */
AGT_PRIVATE agt_status agt__git_sound(agt_git *git, const agt_oid *id, bool *sound, agt_error *err);
/* Makes anew the index of each pack whose index is damaged, if the pack itself is whole; with LONE,
 * of each that has none, too; LOOK: only looks. *packs: how many, and `first` gets the name of the
 * first index. AGT_IO, AGT_NOMEM. In none.c: none. */
enum { AGT_REINDEX_LOOK = 1, AGT_REINDEX_LONE = 2 };
AGT_PRIVATE agt_status agt__git_reindex(agt_git *git, int how, uint32_t *packs, char first[64],
                                        agt_error *err);
/* Deletes loose objects whose content does not hash to their name, and temporaries that a process
 * of ours left. Forgets remembered trees and ends an open transaction. */
AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err);

/* ---- one pack for all ---- */

/* What a repacking did. */
typedef struct agt_git_repacked {
    uint64_t objects;       /* in the new pack: all that a ref leads to */
    uint64_t missing;       /* objects that another ref than main leads to and nobody has */
    uint64_t packs_removed; /* whose objects are all in the new one */
    uint64_t packs;         /* that are there now */
    uint64_t loose_removed;
    uint64_t loose; /* loose objects that are left: nothing leads to them */
} agt_git_repacked;

/* Packs everything that a ref leads to into one pack with the best deltas, durably; then deletes
 * the packs and the loose files that hold nothing else. What no ref leads to stays, and with it the
 * pack it is in; so does a pack that has a .keep. Temporaries that are a day old go. On failure
 * nothing is lost. Needs 90 bytes of memory for each object, and up to 130 MB for comparing.
 *
 *   breathe  NULL, or called between objects; its failure is the answer.
 *
 * AGT_CORRUPT: an object that main leads to is damaged or gone; nothing was changed. */
AGT_PRIVATE agt_status agt__git_repack(agt_git *git,
                                       agt_status (*breathe)(void *ctx, agt_error *err), void *ctx,
                                       agt_git_repacked *out, agt_error *err);
/* Looks which packs there are, and lets go of those that are there no more. */
AGT_PRIVATE agt_status agt__git_list_again(agt_git *git, agt_error *err);

/* ---- a history that somebody else wrote: past.c ---- */

/* A commit. The texts point into the buffer it was read to. */
typedef struct agt_git_past {
    agt_oid tree, parent; /* the first parent */
    bool has_parent;
    agt_text author, email, message;
    int64_t unix_s; /* the author's time, at most the last second of 9999 */
} agt_git_past;

/* Appends the ids (20 bytes each) that may be the newest commit, the best first: what HEAD leads
 * to, then what the reflog says it was, from the newest line back. Whether the commits are there is
 * not looked at. None is AGT_OK. */
AGT_PRIVATE agt_status agt__git_past_heads(agt_git *git, agt_buf *ids, agt_error *err);
/* Appends the ids (20 bytes each) that refs name. AGT_IO, AGT_NOMEM; what is damaged is passed. */
AGT_PRIVATE agt_status agt__git_past_tips(agt_git *git, agt_buf *ids, agt_error *err);
/* Reads a commit into `bytes` (emptied first). AGT_NOT_FOUND, AGT_CORRUPT. */
AGT_PRIVATE agt_status agt__git_past_commit(agt_git *git, const agt_oid *id, agt_buf *bytes,
                                            agt_git_past *out, agt_error *err);
/* Tells each file that differs between two trees (NULL: an empty one), in byte order of their
 * paths; a NULL side has it not. What a path may be, git does not say: it may be anything but a
 * NUL. Links count as files, other repositories not at all. */
typedef agt_status (*agt_git_change_fn)(void *ctx, agt_text path, const agt_oid *from,
                                        const agt_oid *to, agt_error *err);
AGT_PRIVATE agt_status agt__git_past_changes(agt_git *git, const agt_oid *from, const agt_oid *to,
                                             agt_git_change_fn each, void *ctx, agt_error *err);

#endif /* AGT_GIT_H */
