/* parts: what the parts of git share among themselves. No other folder includes this. */
#ifndef AGT_GIT_PARTS_H
#define AGT_GIT_PARTS_H

#include "git.h"

#include <zlib.h>

#define AGT_GIT_CHAIN   50             /* deltas on top of one another in a pack of ours: fewer */
#define AGT_GIT_IO      (128u * 1024)  /* bytes gathered before a write */
#define AGT_GIT_KEEP    (1024u * 1024) /* a buffer of the handle longer than that is given back */
#define AGT_GIT_NONE    UINT32_MAX     /* no object of the transaction */
#define AGT_GIT_OPEN    24             /* packs whose files are kept open */
#define AGT_GIT_HEX     40
#define AGT_GIT_MAX_RAW (SIZE_MAX / 4)

/* Kinds of objects, as packs number them. */
enum {
    AGT_GIT_COMMIT = 1,
    AGT_GIT_TREE = 2,
    AGT_GIT_BLOB = 3,
    AGT_GIT_TAG = 4,
    AGT_GIT_OFS_DELTA = 6,
    AGT_GIT_REF_DELTA = 7
};

/* ---- codec: zlib streams and deltas; bytes in, bytes out ---- */

/* A file being written: bytes are gathered, counted and, if asked for, hashed. Errors stick. */
typedef struct agt_git_file {
    agt_git *git;
    agt_fd dir, fd;
    const char *name; /* of the temporary, in dir */
    uint64_t at;      /* bytes put so far */
    bool hashed;      /* sha runs over everything put */
    uint32_t crc;     /* zlib's crc32 of what was put since the caller set it to 0 */
    agt_sha1_state sha;
    agt_status status;
} agt_git_file;

/* Empties a buffer of the handle for its next use. */
AGT_PRIVATE void agt__git_reuse(agt_buf *b);

/* "commit", "tree", "blob" or "tag"; NULL for a number that is no kind. */
AGT_PRIVATE const char *agt__git_kind(int kind);

/* Opens `name` in `dir` for writing, in the place of whatever a crash left there. */
AGT_PRIVATE agt_status agt__git_file_open(agt_git_file *f, agt_git *git, agt_fd dir,
                                          const char *name, uint32_t mode, bool hashed,
                                          agt_error *err);
AGT_PRIVATE void agt__git_file_put(agt_git_file *f, const void *data, size_t n, agt_error *err);
/* Puts the zlib stream of head and data together: compressed, or only stored. */
AGT_PRIVATE void agt__git_file_zip(agt_git_file *f, const void *head, size_t head_len,
                                   const void *data, size_t len, bool stored, agt_error *err);
/* Writes what is gathered; sha covers it then. */
AGT_PRIVATE void agt__git_file_flush(agt_git_file *f, agt_error *err);
/* Writes what is gathered and, if durable, syncs; closes. On failure the temporary is deleted. */
AGT_PRIVATE agt_status agt__git_file_end(agt_git_file *f, bool durable, agt_error *err);
/* How long these bytes are when compressed; SIZE_MAX if that cannot be told. */
AGT_PRIVATE size_t agt__git_zip_len(agt_git *git, const unsigned char *data, size_t n);
AGT_PRIVATE void agt__git_file_drop(agt_git_file *f);
/* Renames the finished temporary to `name` in `to`. */
AGT_PRIVATE agt_status agt__git_file_name(agt_git_file *f, agt_fd to, const char *name,
                                          agt_error *err);

/* Appends a delta that makes `to` from `from`; false (and `out` as before) if it would be longer
 * than `limit` bytes or memory is out. */
AGT_PRIVATE bool agt__git_delta_make(const unsigned char *from, size_t from_len,
                                     const unsigned char *to, size_t to_len, size_t limit,
                                     agt_buf *out);
AGT_PRIVATE void agt__git_delta_size(agt_buf *out, size_t n);
AGT_PRIVATE void agt__git_delta_copy(agt_buf *out, size_t at, size_t n);
AGT_PRIVATE void agt__git_delta_insert(agt_buf *out, const unsigned char *data, size_t n);
/* Appends to `out` what the delta makes of `from`. AGT_CORRUPT if it does not fit, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_delta_apply(const unsigned char *from, size_t from_len,
                                            const unsigned char *delta, size_t delta_len,
                                            agt_buf *out, agt_error *err);

/* A zlib stream being read from a file through sys. */
typedef struct agt_git_unzip {
    agt_git *git;
    agt_fd fd;
    uint64_t at, end; /* the file's bytes not read yet */
    bool done;        /* the stream's end was seen, its checksum was right */
    bool rotten;      /* the bytes are no zlib stream */
    int64_t rc;       /* a negative agt_sys result */
    bool nomem;
    bool steady; /* the file never changes, and its window may be used */
} agt_git_unzip;

/* `steady`: the file is a pack, whose bytes never change: what the handle's window has of it is not
 * read again. */
AGT_PRIVATE agt_status agt__git_unzip_begin(agt_git_unzip *z, agt_git *git, agt_fd fd, uint64_t at,
                                            uint64_t end, bool steady, agt_error *err);
/* Copies up to n bytes of a pack through the window, which then has what is around them, too: the
 * deltas of one file stand close together. Fewer at the end, or a negative agt_sys result. */
AGT_PRIVATE int64_t agt__git_peek(agt_git *git, agt_fd fd, uint64_t at, void *out, size_t n);
/* Forgets the window: before a pack is closed. */
AGT_PRIVATE void agt__git_forget(agt_git *git, agt_fd fd);
/* Inflates up to n bytes; fewer only where the stream ends, or rotten, rc or nomem is set. */
AGT_PRIVATE size_t agt__git_unzip(agt_git_unzip *z, void *out, size_t n);
/* Was exactly everything read? */
AGT_PRIVATE bool agt__git_unzip_end(agt_git_unzip *z);
/* Where the file goes on behind what was inflated. */
AGT_PRIVATE uint64_t agt__git_unzip_at(const agt_git_unzip *z);
AGT_PRIVATE void agt__git_codec_free(agt_git *git);

/* ---- objects: reading ---- */

typedef struct agt_git_pack {
    char name[80]; /* without ".pack" or ".idx" */
    agt_fd pack, idx;
    uint64_t pack_size, idx_size, used;
    uint32_t count, fan[256];
    bool known;   /* fan is filled */
    bool foreign; /* of another version: libgit2's business */
    bool seen;    /* while the folder is listed */
} agt_git_pack;

/* An object of a pack that was read lately. */
typedef struct agt_git_cached {
    const agt_git_pack *pack; /* NULL: none */
    uint64_t offset;
    int kind;
    agt_buf bytes;
} agt_git_cached;

/* Keeps what is read from packs from now on, up to 32 MiB, until the objects are freed. False: no
 * memory; it goes without. */
AGT_PRIVATE bool agt__git_cache(agt_git *git);
/* The objects folder; AGT_NOT_FOUND if there is none and it shall not be made. */
AGT_PRIVATE agt_status agt__git_objects(agt_git *git, bool make, agt_fd *out, agt_error *err);
/* As agt__git_read, and says what kind it is. */
AGT_PRIVATE agt_status agt__git_load(agt_git *git, const agt_oid *id, int *kind, agt_buf *out,
                                     agt_error *err);
/* One loose object. AGT_NOT_FOUND, AGT_CORRUPT, AGT_IO, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_load_loose(agt_git *git, agt_fd folder, const char *name,
                                           const agt_oid *id, int *kind, agt_buf *out,
                                           agt_error *err);
AGT_PRIVATE void agt__git_objects_free(agt_git *git);

/* Calls `each` for every id that a pack's index names, and where it says that the object is.
 * AGT_NOT_FOUND: the pack is gone, or its index is one that only libgit2 reads; AGT_CORRUPT;
 * AGT_IO. */
typedef void (*agt_git_id_fn)(void *ctx, const agt_oid *id, uint64_t offset);
AGT_PRIVATE agt_status agt__git_pack_ids(agt_git *git, agt_git_pack *pack, agt_git_id_fn each,
                                         void *ctx, agt_error *err);
/* As agt__git_load, by looking first at that place of a pack (NULL, or one that was listed once).
 */
AGT_PRIVATE agt_status agt__git_load_at(agt_git *git, agt_git_pack *pack, uint64_t offset,
                                        const agt_oid *id, int *kind, agt_buf *out, agt_error *err);
/* Closes a pack's files: what is deleted next gives its room back. */
AGT_PRIVATE void agt__git_pack_close(agt_git *git, agt_git_pack *pack);
/* Opens a pack that has no index, or none that is believed; it is in no list. End it by
 * agt__git_pack_lone_end. AGT_NOT_FOUND, AGT_IO, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_pack_lone(agt_git *git, agt_fd folder, const char *stem,
                                          agt_git_pack **out, agt_error *err);
AGT_PRIVATE void agt__git_pack_lone_end(agt_git *git, agt_git_pack *pack);
/* What stands at `offset` of such a pack: the object's id, and where its entry ends. AGT_CORRUPT:
 * no entry, or one whose base only an index would find. */
AGT_PRIVATE agt_status agt__git_pack_entry(agt_git *git, const agt_git_pack *pack, uint64_t offset,
                                           agt_oid *id, uint64_t *end, agt_error *err);

/* ---- whole: what an object names ---- */

/* Calls `each` for every object that this one names; kind 0: what a tag names may be any. A name is
 * an entry's of a tree. Bytes that git cannot have written end the list. */
typedef void (*agt_git_link_fn)(void *ctx, const agt_oid *id, int kind, agt_text name);
AGT_PRIVATE void agt__git_links(int kind, const agt_buf *bytes, agt_git_link_fn each, void *ctx);

/* ---- libgit2: what is left to it ---- */

AGT_PRIVATE agt_status agt__git_foreign_load(agt_git *git, const agt_oid *id, int *kind,
                                             agt_buf *out, agt_error *err);
AGT_PRIVATE void agt__git_foreign_free(agt_git *git);

/* ---- pack: the transaction ---- */

/* An object of the transaction. Its bytes live until the transaction ends. */
typedef struct agt_git_object {
    agt_oid id;
    uint8_t kind;
    bool is_delta; /* data is a delta on `base`; else data is the object and base only similar */
    uint8_t chain; /* deltas beneath it; of blobs and commits only known once packed */
    uint32_t base; /* an earlier object of the same kind, or AGT_GIT_NONE */
    uint32_t crc;
    size_t size, len; /* of the object; of data */
    const unsigned char *data;
    uint64_t offset; /* in the pack */
} agt_git_object;

typedef struct agt_git_chunk {
    struct agt_git_chunk *next;
    size_t cap, len; /* of the bytes behind this header */
} agt_git_chunk;

typedef struct agt_git_txn {
    bool open;
    agt_git_object *objects;
    uint32_t count, cap;
    uint32_t kept;   /* objects that a commit has sealed */
    uint32_t *slots; /* hash table over ids: index + 1 */
    uint32_t slot_count;
    agt_git_chunk *chunks;
    uint32_t last_commit; /* object, or AGT_GIT_NONE */
} agt_git_txn;

/* The object of that id in the transaction, or AGT_GIT_NONE. */
AGT_PRIVATE uint32_t agt__git_txn_find(const agt_git *git, const agt_oid *id);
/* Adds an object that is not there yet; `data` is copied. AGT_LIMIT, AGT_NOMEM. */
AGT_PRIVATE agt_status agt__git_txn_add(agt_git *git, const agt_git_object *object, uint32_t *out,
                                        agt_error *err);
/* Appends the whole bytes of an object. */
AGT_PRIVATE agt_status agt__git_txn_bytes(agt_git *git, uint32_t object, agt_buf *out,
                                          agt_error *err);

/* ---- packfile: a pack and its index ---- */

#define AGT_GIT_STEM 46 /* "pack-", 40 digits, NUL */

/* A pack to be written: `count` objects, which `fill` puts one after another, each by
 * agt__git_put_entry. What fill answers, but AGT_OK, is the answer. */
typedef struct agt_git_pack_job {
    agt_git_object *objects;
    uint32_t count;
    agt_status (*fill)(void *ctx, agt_git_file *f, agt_error *err);
    void *ctx;
} agt_git_pack_job;

/* Puts an object's entry: `data` is the object, or a delta on `base`, which was put before. Fills
 * its offset and crc. */
AGT_PRIVATE void agt__git_put_entry(agt_git_file *f, agt_git_object *o, const agt_git_object *base,
                                    const void *data, size_t len, bool stored, agt_error *err);
/* Writes the pack and its index; both are durable on return. `stem` is their name. */
AGT_PRIVATE agt_status agt__git_pack_write(agt_git *git, const agt_git_pack_job *job,
                                           char stem[AGT_GIT_STEM], agt_error *err);
/* Heap sort of object numbers. */
AGT_PRIVATE void agt__git_sort(const agt_git_object *objects, uint32_t *v, size_t n,
                               bool (*before)(const agt_git_object *, uint32_t, uint32_t));
/* Puts the index of a pack: n objects with id, offset and crc, in the order they stand; `order`
 * holds 0 to n - 1 and is sorted here. `sum` is the pack's last 20 bytes. */
AGT_PRIVATE void agt__git_put_index(agt_git_file *f, const agt_git_object *objects, uint32_t *order,
                                    uint32_t n, const unsigned char sum[20], agt_error *err);

/* Writes the index of a pack that lies in `folder` (objects/pack) in the place of whatever has its
 * name; durable on return. */
AGT_PRIVATE agt_status agt__git_index_write(agt_git *git, agt_fd folder, const char *stem,
                                            const agt_git_object *objects, uint32_t count,
                                            const unsigned char sum[20], agt_error *err);

/* ---- reach: all that the refs lead to ---- */

typedef struct agt_git_reach {
    agt_git *git;
    agt_git_object *objects; /* base and crc are hashes of its first path */
    uint32_t count, cap;
    uint32_t *slots; /* hash table over ids: index + 1 */
    uint32_t slot_count;
    uint64_t missing; /* objects that could not be read; they are not among the others */
    agt_status (*breathe)(void *ctx, agt_error *err); /* called between objects; NULL: not */
    void *breathe_ctx;
    /* while it walks */
    agt_buf commits, trees; /* numbers of objects to be read */
    agt_buf bytes;
    bool strict; /* what is missing is damage: main leads there */
    bool nomem;
    uint32_t path_base, path_crc; /* hashes of the tree that is read */
} agt_git_reach;

/* Finds every object that a ref leads to, main's first, the newest first. What another ref than
 * main leads to and cannot be read is counted, not an error. Set git (and breathe) before; free
 * afterwards, on failure too. */
AGT_PRIVATE agt_status agt__git_reach_all(agt_git_reach *r, agt_error *err);
AGT_PRIVATE void agt__git_reach_free(agt_git_reach *r);
/* The object's number, or AGT_GIT_NONE. */
AGT_PRIVATE uint32_t agt__git_reach_find(const agt_git_reach *r, const agt_oid *id);
/* Calls `each` with every id that HEAD, refs/ and packed-refs name, main's first. */
AGT_PRIVATE agt_status agt__git_each_ref(agt_git *git,
                                         agt_status (*each)(void *ctx, const agt_oid *id,
                                                            bool is_main, agt_error *err),
                                         void *ctx, agt_error *err);

/* ---- tree: the folders of the commit to come ---- */

typedef struct agt_git_tree agt_git_tree;

typedef struct agt_git_forest {
    agt_git_tree *root; /* NULL: nothing is remembered */
    agt_git_tree **dirty;
    size_t dirty_count, dirty_cap;
    uint64_t serial; /* of the transaction: versions of another one are no base for deltas */
} agt_git_forest;

/* Forgets everything; what comes next is patched on top of the tree `id`, NULL for none. */
AGT_PRIVATE agt_status agt__git_forest_plant(agt_git *git, const agt_oid *id, agt_error *err);
AGT_PRIVATE void agt__git_forest_free(agt_git *git);
/* Names the blob at a path; `was` gets the id it replaces and `had` whether there was one. */
AGT_PRIVATE agt_status agt__git_forest_put(agt_git *git, const char *path, size_t len,
                                           const agt_oid *id, agt_oid *was, bool *had,
                                           agt_error *err);
AGT_PRIVATE agt_status agt__git_forest_remove(agt_git *git, const char *path, size_t len,
                                              agt_error *err);
/* Hashes what changed, adds it to the transaction, and gives the root's id. */
AGT_PRIVATE agt_status agt__git_forest_seal(agt_git *git, agt_oid *out, agt_error *err);

/* ---- the handle ---- */

struct agt_git {
    const agt_sys *sys;
    agt_fd dir, objects;
    agt_mem mem;
    agt_cpu cpu;
    /* codec */
    z_stream zip, unzip;
    bool zip_ready, unzip_ready;
    int zip_level, zip_made; /* wanted (0: 1), and of `zip` */
    agt_buf io, in;
    agt_fd in_file; /* a pack, of which `in` has the bytes from in_at on; or AGT_FD_NONE */
    uint64_t in_at;
    /* objects */
    agt_git_pack **packs;
    size_t pack_count, pack_cap, pack_open;
    uint64_t pack_clock;
    bool listed;
    agt_buf work[4];
    agt_git_cached *cache; /* NULL: nothing is kept */
    size_t cache_bytes;
    /* libgit2 */
    void *odb;
    bool started;
    /* the transaction, and the trees as of `tip` */
    agt_git_txn txn;
    agt_git_forest forest;
    bool has_tip;
    agt_oid tip;
    int64_t tip_time;
    agt_buf scratch;
};

#endif /* AGT_GIT_PARTS_H */
