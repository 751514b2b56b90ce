/* journal: the commit point. One file, append-only within a generation.
 *
 *   0      header slot A   } the valid one with the higher generation counts; a checkpoint writes
 *   4096   header slot B   } the other one, so that a torn header leaves the old one standing
 *   8192   records, back to back, each a multiple of 8 bytes
 *
 * The file grows in steps of written zeros up to its capacity, and stays as long as it got: an
 * append in between must not have to allocate, and its sync must not have to write metadata.
 *
 * (1) A record's checksum is seeded by the checksum of the record before it, the first one's by
 *     the header's: a stale record of an older generation never comes alive behind a torn one.
 * (2) A record is immutable once its successor or the shared state names it.
 * (3) Only a holder of the store lock writes here; anybody may read.
 * Numbers are little-endian. FORMAT.md has the bytes. */
#ifndef AGT_JOURNAL_H
#define AGT_JOURNAL_H

#include "trace.h"

#define AGT_JOURNAL_SLOT   4096u
#define AGT_JOURNAL_HEADER 232u
#define AGT_JOURNAL_START  8192u
#define AGT_JOURNAL_STEP   (256u * 1024)
#define AGT_JOURNAL_BYTES  (8u * 1024 * 1024)
#define AGT_JOURNAL_HALF   (AGT_JOURNAL_BYTES / 2)

typedef struct agt_journal_header {
    uint64_t generation;
    uint64_t capacity;    /* bytes that the file may have */
    uint64_t next_seq;    /* of the generation's first event */
    agt_trace_end trace;  /* where the trace ended */
    uint64_t catalog;     /* number in the catalog's name; 0: no document yet */
    uint64_t packed_seq;  /* newest event that git holds durably */
    agt_oid packed_head;  /* and its commit; zero if packed_seq is 0 */
    uint64_t unpublished; /* seq of the first record in unpublished/; 0: none there is needed */
    unsigned char replica[8];
    uint64_t dev, ino; /* of this file when it was written: another one is a copy */
    uint32_t crc;      /* of the slot: seeds the first record */
} agt_journal_header;

typedef struct agt_journal {
    const agt_sys *sys;
    agt_cpu cpu;
    agt_fd dir; /* borrowed: .agent-trace */
    agt_fd fd;
    uint32_t slot; /* of `header` */
    agt_journal_header header;
    uint64_t dev, ino;
    uint64_t bytes;                          /* that the file has at least; 0: not known */
    unsigned char other[AGT_JOURNAL_HEADER]; /* the other slot as it was then */
} agt_journal;

/* The first bytes of a slot, with the header's crc, which it sets; zeros follow. */
AGT_PRIVATE void agt__journal_header_encode(agt_journal_header *h, agt_cpu cpu,
                                            unsigned char slot[256]);
/* Makes a new journal without records: synced, renamed into place, folder synced. */
AGT_PRIVATE agt_status agt__journal_create(const agt_sys *sys, agt_fd dir, agt_cpu cpu,
                                           const agt_mem *mem, agt_journal_header *header,
                                           agt_error *err);
/* The same with records in it from the start: `fill` writes them to `fd` from AGT_JOURNAL_START on,
 * the first one seeded by `seed`. */
typedef agt_status (*agt_journal_fill)(void *ctx, agt_fd fd, uint32_t seed, agt_error *err);
AGT_PRIVATE agt_status agt__journal_create_with(const agt_sys *sys, agt_fd dir, agt_cpu cpu,
                                                const agt_mem *mem, agt_journal_header *header,
                                                agt_journal_fill fill, void *ctx, agt_error *err);
/* Opens the file and reads its headers. AGT_NOT_FOUND, AGT_CORRUPT (no valid header),
 * AGT_UNSUPPORTED (written by a newer version). */
AGT_PRIVATE agt_status agt__journal_open(agt_journal *j, const agt_sys *sys, agt_fd dir,
                                         agt_cpu cpu, bool writable, agt_error *err);
AGT_PRIVATE void agt__journal_close(agt_journal *j);
/* Reads the headers again. */
AGT_PRIVATE agt_status agt__journal_reload(agt_journal *j, agt_error *err);
/* One small read: is the header that was read last still the newest? */
AGT_PRIVATE bool agt__journal_current(const agt_journal *j);
/* Writes the header to the other slot and syncs: a new generation begins. */
AGT_PRIVATE agt_status agt__journal_write_header(agt_journal *j, agt_journal_header *header,
                                                 agt_error *err);
/* Makes the file long enough for records up to `end`, which is at most the capacity. On failure it
 * is as long as before. */
AGT_PRIVATE agt_status agt__journal_grow(agt_journal *j, const agt_mem *mem, uint64_t end,
                                         agt_error *err);
/* Gives its room back, while it has no record. */
AGT_PRIVATE agt_status agt__journal_shrink(agt_journal *j, agt_error *err);

/* ---- records ---- */

enum {
    AGT_ENTRY_CONTENT = 1,
    AGT_ENTRY_SIDE = 2, /* the bytes are in unpublished/side-<seq> */
    AGT_ENTRY_LOST = 4  /* with both: a repair found the bytes nowhere */
};

typedef struct agt_record {
    uint64_t generation, first_seq, segment, trace_offset;
    int64_t recorded_unix_ms;
    uint32_t entries, length, crc;
    const unsigned char *data; /* the whole record */
} agt_record;

typedef struct agt_entry {
    uint32_t flags;
    const char *line;
    uint32_t line_len;
    const unsigned char *content; /* NULL if there is none or it is in a side file */
    uint64_t content_len;
} agt_entry;

/* Building: begin, put entries, end; the buffer then holds the record from `start` on. */
AGT_PRIVATE size_t agt__record_begin(agt_buf *b);
AGT_PRIVATE void agt__record_put(agt_buf *b, uint32_t flags, const void *line, size_t line_len,
                                 const void *content, uint64_t content_len);
AGT_PRIVATE agt_status agt__record_end(agt_buf *b, size_t start, agt_cpu cpu, uint32_t seed,
                                       agt_record *record, agt_error *err);
/* Reads the record at `offset` into `out` (emptied first) and checks it against generation, seq
 * and seed. AGT_END if there is no valid one. */
AGT_PRIVATE agt_status agt__record_read(const agt_sys *sys, agt_fd fd, uint64_t offset,
                                        uint64_t capacity, agt_cpu cpu, uint64_t generation,
                                        uint64_t seq, uint32_t seed, agt_buf *out,
                                        agt_record *record, agt_error *err);
/* Parses and checks bytes in memory; AGT_END as above. */
AGT_PRIVATE agt_status agt__record_parse(const unsigned char *data, size_t n, agt_cpu cpu,
                                         uint64_t generation, uint64_t seq, uint32_t seed,
                                         agt_record *record);
/* Walks the entries; start with *at = 0. false at the end. */
AGT_PRIVATE bool agt__record_next(const agt_record *record, size_t *at, agt_entry *entry);

#endif /* AGT_JOURNAL_H */
