/* catalog: every document's newest state, in memory, and its snapshot catalog.<number>.
 *
 * A snapshot (`base`) is kept as the bytes of its file, sorted by folded path, and searched where
 * it lies; what changed since is in a hash table (`overlay`). So opening costs one read, and a
 * checkpoint knows what to sync: the overlay.
 *
 * (1) Everything here can be rebuilt: snapshot plus journal give the catalog.
 * (2) agt__catalog_touch may fail for memory; changing a touched row cannot. A writer touches
 *     before the commit point and changes after it.
 * (3) A rename leaves a row at the old path that says so: it is no document's any more, but what
 *     recovers or syncs files must know that none of ours is there. No snapshot has such rows. */
#ifndef AGT_CATALOG_H
#define AGT_CATALOG_H

#include "../data/data.h"
#include "../log/event.h"
#include "../sys/sys.h"

typedef struct agt_row {
    const char *path; /* the catalog's; NUL-terminated in the overlay only */
    size_t path_len;
    agt_type type;
    bool exists;
    bool untracked;   /* it does not exist as a document, and a file may lie there all the same */
    bool moved;       /* (3) */
    uint32_t version; /* 0: no such document ever */
    uint64_t last_seq;
    int64_t changed_unix_ms;
    uint64_t size;
    agt_oid blob;
    char doc[37];
    char agent[AGT_MAX_NAME + 1];
    /* the file as it was when we last wrote or checked it; all 0: must be looked at */
    uint64_t dev, ino;
    int64_t mtime_ns, ctime_ns;
    uint32_t pending; /* a writer's own: 1 + the plan that changes it, while a transaction runs */
} agt_row;

#define AGT_REFUSALS 64 /* identical refusals are folded within the last so many */

typedef struct agt_grant_row {
    char doc[37], actor[AGT_MAX_NAME + 8];
    int64_t from_unix_ms, until_unix_ms;
} agt_grant_row;

typedef struct agt_catalog {
    const agt_mem *mem;
    agt_buf base; /* the snapshot's bytes, or empty */
    uint32_t base_rows;
    agt_row **slots; /* overlay: open addressing by the hash of the folded path */
    size_t slot_count, used;
    int64_t live;   /* documents that exist */
    uint64_t shape; /* grows whenever a document may have come, gone, moved or changed its type */
    uint64_t refusals[AGT_REFUSALS];
    uint32_t refusal_at;
    agt_grant_row grants[AGT_MAX_GRANTS];
    size_t grant_count;
} agt_catalog;

AGT_PRIVATE agt_catalog agt__catalog(const agt_mem *mem);
AGT_PRIVATE void agt__catalog_free(agt_catalog *c);
/* Reads catalog.<number> in place of what the catalog held; 0 makes it empty. AGT_CORRUPT names
 * the file. On failure the catalog is unchanged. */
AGT_PRIVATE agt_status agt__catalog_load(agt_catalog *c, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, uint64_t number, agt_error *err);
/* The snapshot's bytes, appended to `out`. */
AGT_PRIVATE agt_status agt__catalog_encode(const agt_catalog *c, agt_cpu cpu, uint64_t next_seq,
                                           agt_buf *out, agt_error *err);
AGT_PRIVATE void agt__catalog_name(uint64_t number, char out[32]);

/* The row of exactly that path, by value; false if there never was such a document, or it has
 * another path now. */
AGT_PRIVATE bool agt__catalog_find(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out);
/* The row as the snapshot has it, whatever changed since. */
AGT_PRIVATE bool agt__catalog_base(const agt_catalog *c, const char *path, size_t len,
                                   agt_row *out);
/* The overlay's row, made (from the base, or with version 0) if it is not there yet; lives until
 * the catalog is loaded or freed. NULL: out of memory. */
AGT_PRIVATE agt_row *agt__catalog_touch(agt_catalog *c, const char *path, size_t len);
/* Only looks in the overlay. */
AGT_PRIVATE agt_row *agt__catalog_touched(const agt_catalog *c, const char *path, size_t len);
/* An existing document whose path differs from this one in ASCII case only. */
AGT_PRIVATE bool agt__catalog_case_clash(const agt_catalog *c, const char *path, size_t len,
                                         agt_row *out);
/* Is there an existing document in the folder `path`? */
AGT_PRIVATE bool agt__catalog_has_under(const agt_catalog *c, const char *path, size_t len);

/* Calls `each` for each document that is deleted or untracked and whose place one at `path` would
 * take: of the same path in any case, at a folder on the way to it, or in a folder of that name. */
typedef void (*agt_row_fn)(void *ctx, const agt_row *row);
AGT_PRIVATE void agt__catalog_remembered(const agt_catalog *c, const char *path, size_t len,
                                         agt_row_fn each, void *ctx);

/* The next existing document whose file was last seen as this one, or, if `unseen`, must be looked
 * at; `at` is 0 at first. */
AGT_PRIVATE bool agt__catalog_file(const agt_catalog *c, uint64_t dev, uint64_t ino, bool unseen,
                                   size_t *at, agt_row *out);

/* Touches what the event will change. False: out of memory. */
AGT_PRIVATE bool agt__catalog_touch_event(agt_catalog *c, const agt_event *e);
/* Changes the (touched) rows as the event says. `size` is the content's length. Events that make no
 * version change no row; violations are remembered for folding. Cannot fail. */
AGT_PRIVATE void agt__catalog_event(agt_catalog *c, const agt_event *e, uint64_t size);
/* Is the violation the same as one of the last? Counts its actor, change_kind, path, rejected and
 * summary. */
AGT_PRIVATE bool agt__catalog_refused(const agt_catalog *c, const agt_event *e);

/* The grant of this document for exactly this grantee that has not ended; NULL: none. */
AGT_PRIVATE const agt_grant_row *agt__catalog_grant(const agt_catalog *c, const char *doc,
                                                    const char *grantee, int64_t now_unix_ms);
/* Is there a grant in force under which the actor may write this document? */
AGT_PRIVATE bool agt__catalog_granted(const agt_catalog *c, const char *doc, agt_text actor,
                                      int64_t now_unix_ms);
AGT_PRIVATE bool agt__grant_holds(const agt_grant_row *g, int64_t now_unix_ms);

typedef enum agt_catalog_scope { AGT_ROWS_ALL, AGT_ROWS_CHANGED } agt_catalog_scope;
/* Copies of the rows in byte order of their paths: all documents that ever were, or the overlay's
 * with a version, and those (3). Free with agt__rows_free. The paths live as long as the catalog's.
 */
typedef struct agt_rows {
    agt_row *row;
    size_t count, cap;
} agt_rows;
AGT_PRIVATE agt_status agt__catalog_rows(const agt_catalog *c, agt_catalog_scope scope,
                                         agt_rows *out, agt_error *err);
AGT_PRIVATE void agt__rows_free(const agt_mem *mem, agt_rows *rows);

#endif /* AGT_CATALOG_H */
