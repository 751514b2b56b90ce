/* shared: .agent-trace/state, what the processes of one boot agree on about the journal's end.
 * Two copies and a flip; only written under the store lock, never synced, and trusted only with
 * the same boot, generation and journal file. Losing it costs a recovery, nothing else. */
#ifndef AGT_SHARED_H
#define AGT_SHARED_H

#include "../log/journal.h"

typedef struct agt_shared {
    uint64_t flip; /* grows with every write; the higher valid copy counts */
    char boot[40];
    uint64_t generation, dev, ino; /* of the journal */
    uint64_t next_seq;             /* of the next event */
    uint64_t end;                  /* byte behind the last record */
    uint64_t synced;               /* records before this byte are durable */
    uint64_t applied;              /* records before this byte are applied */
    uint64_t applied_seq;          /* first seq of the record at `applied` */
    uint32_t applied_chain;        /* checksum seed at `applied` */
    uint32_t chain;                /* checksum that seeds the next record */
    agt_trace_end trace;
    uint64_t published_seq, packed_seq;
    agt_oid head, packed_head;
    uint32_t failed;        /* a sync failed: read-only until a recovery */
    uint32_t git_clean;     /* git was mended since the last recovery */
    uint32_t refused_waits; /* refused bytes of the journal could not be kept yet */
} agt_shared;

/* AGT_END: neither copy is valid. */
AGT_PRIVATE agt_status agt__shared_read(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *out,
                                        agt_error *err);
AGT_PRIVATE agt_status agt__shared_write(const agt_sys *sys, agt_fd fd, agt_cpu cpu, agt_shared *s,
                                         agt_error *err);

#endif /* AGT_SHARED_H */
