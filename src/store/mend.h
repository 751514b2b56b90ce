/* mend: making the parts of a store anew from what is left of it.
 *
 *   evidence   every line, content and record that can be found anywhere, believed or not
 *   chain      which of them are the store's: each event's hash is in the event behind it
 *   contents   a version's bytes, wherever their id is found; the catalog, by replaying events
 *   write      the new parts, each made beside and renamed, the journal last
 *
 * Nothing is decided by where something was found: an event counts because the chain says so, a
 * content because its id does. */
#ifndef AGT_MEND_PART_H
#define AGT_MEND_PART_H

#include "findings.h"
#include "store.h"

#define AGT_MEND_NONE   UINT32_MAX
#define AGT_MEND_MEMORY 0u /* the source that is no file: mend->memory */
#define AGT_MEND_LOST   "lost"

typedef enum agt_mend_from {
    AGT_MEND_GIT,
    AGT_MEND_JOURNAL,
    AGT_MEND_UNPUBLISHED,
    AGT_MEND_TRACE,
    AGT_MEND_KEPT /* what an earlier recovery or repair put aside: fills gaps, adds nothing */
} agt_mend_from;

/* A line that reads as an event. */
typedef struct agt_mend_line {
    uint64_t seq, at; /* byte in its source */
    uint32_t source, len;
    uint8_t from;   /* an agt_mend_from */
    bool sure;      /* the journal's checksums lead to it */
    bool whole;     /* not from a record, or the record's contents are what its lines say */
    bool stands_in; /* made by an earlier repair for an event that is lost */
    unsigned char hash[32], prev[32];
} agt_mend_line;

typedef struct agt_mend_content {
    uint64_t seq, at, len;
    uint32_t source;
} agt_mend_content;

/* Events that were recorded together. */
typedef struct agt_mend_group {
    uint64_t first, count;
    unsigned char last[32]; /* the hash of the last one's line: it proves all of them */
} agt_mend_group;

typedef struct agt_mend_commit {
    uint64_t last; /* its last event */
    agt_oid id;
    unsigned char hash[32]; /* of that event's line */
} agt_mend_commit;

/* An event of the store as it will be. */
typedef struct agt_mend_event {
    uint32_t line; /* in mend->lines */
    bool lost;     /* stands in for one that nothing has; made now or earlier */
    uint64_t segment, offset;
} agt_mend_event;

typedef struct agt_mend {
    agt_store *s;
    agt_findings *found;
    agt_repair_result *out;
    bool dry;
    bool stops; /* a link must be put right by somebody first, or a dry run cannot see more */
    /* what the store says */
    bool has_header, has_journal;
    bool has_state; /* it is of this boot, journal and generation: */
    agt_shared state;
    uint64_t state_generation, state_next; /* as the state of whatever journal has them; behind the
                                            * last event that is known by it */
    uint64_t known_next;                   /* behind the last record that the header leads to */
    uint64_t generation;                   /* the greatest seen anywhere */
    uint64_t raw_generation;               /* of the newest records that lie in the journal, */
    uint64_t raw_first;                    /* and the first seq among them; 0: none */
    /* what there is; agt_buf as arrays */
    agt_buf sources; /* agt_fd; 0 is memory */
    agt_buf memory, lines, contents, groups, commits;
    agt_segments segments;
    /* what is right */
    agt_buf events; /* agt_mend_event, from seq 1 on */
    uint64_t last;
    uint64_t first_journal; /* events from here on belong into the journal */
    uint64_t packed_seq;    /* what git holds soundly */
    agt_oid packed_head;
    agt_trace_end end;   /* of the whole trace */
    agt_trace_end known; /* in front of first_journal */
    bool rebuild;        /* a new journal is needed, and with it all that it names */
    bool git_bad;
    unsigned char replica[8];
    agt_buf line; /* what agt__mend_line read last */
} agt_mend;

/* ---- evidence ---- */

/* Finds everything. Reports a journal, or records in it, that cannot be read. */
AGT_PRIVATE agt_status agt__mend_evidence(agt_mend *m, agt_error *err);
AGT_PRIVATE void agt__mend_free(agt_mend *m);
/* Adds a line to mend->memory; `from` tells where it was. Its index in mend->lines, or
 * AGT_MEND_NONE: no event, or no memory (mend->lines.failed). */
AGT_PRIVATE uint32_t agt__mend_add_line(agt_mend *m, const char *line, size_t n, uint8_t from);
/* The first of the structs in `b`, `size` bytes each and sorted by the u64 they begin with, whose
 * number is not below `number`. */
AGT_PRIVATE size_t agt__mend_first(const agt_buf *b, size_t size, uint64_t number);
/* Opens the folder .agent-trace/damaged; AGT_FD_NONE if there is none and it is not made. */
AGT_PRIVATE agt_status agt__mend_damaged(agt_mend *m, bool make, agt_fd *out, agt_error *err);

/* ---- chain ---- */

/* Decides which lines are the store's events, makes lines for those that are lost, lays the trace
 * out, and reports. */
AGT_PRIVATE agt_status agt__mend_chain(agt_mend *m, agt_error *err);
AGT_PRIVATE agt_mend_event *agt__mend_at(const agt_mend *m, uint64_t seq);
/* The event's line, until the next call. */
AGT_PRIVATE agt_status agt__mend_line(agt_mend *m, uint64_t seq, agt_text *out, agt_error *err);
/* The same, parsed and held to the rules. The texts live in mend->line and s->scratch. */
AGT_PRIVATE agt_status agt__mend_event(agt_mend *m, uint64_t seq, agt_event *e, agt_error *err);
/* How many events, from `seq` on and at most up to `last`, are one record. */
AGT_PRIVATE uint64_t agt__mend_together(const agt_mend *m, uint64_t seq, uint64_t last);

/* ---- contents ---- */

/* The bytes of the event's version, or of its refused ones, into `out` (emptied first). *found
 * false: nothing has them. */
AGT_PRIVATE agt_status agt__mend_content(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                                         agt_error *err);
/* Is the content in its side file? */
AGT_PRIVATE agt_status agt__mend_side(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                                      agt_error *err);
/* Tells a version whose bytes nothing has; `known`: an earlier repair found that out. */
AGT_PRIVATE void agt__mend_tell_lost(agt_mend *m, const agt_event *e, bool known);
/* Tells how many there are that were not told one by one. */
AGT_PRIVATE void agt__mend_tell_more_lost(agt_mend *m);
/* Tells the versions of a sound store whose bytes an earlier repair found nowhere. */
AGT_PRIVATE agt_status agt__mend_losses(agt_mend *m, agt_error *err);
/* What documents were behind event `seq`, by replaying all events. */
AGT_PRIVATE agt_status agt__mend_catalog(agt_mend *m, uint64_t seq, agt_catalog *out,
                                         agt_error *err);

/* ---- write ---- */

/* Copies .agent-trace/<folder>/<name> to damaged/; what is there already is not copied again. */
AGT_PRIVATE agt_status agt__mend_keep(agt_mend *m, agt_fd dir, const char *name, agt_error *err);
/* Moves what stands at the name, a folder too, to damaged/ under a name that is free. */
AGT_PRIVATE agt_status agt__mend_move_away(agt_mend *m, agt_fd dir, const char *name,
                                           agt_error *err);

/* ---- places ---- */

/* Moves what agt__store_find_misplaced finds to damaged/, but for links. */
AGT_PRIVATE agt_status agt__mend_places(agt_mend *m, agt_error *err);
/* Compares the trace on disk with the events up to `upto`, and writes what differs. */
AGT_PRIVATE agt_status agt__mend_trace(agt_mend *m, uint64_t upto, agt_error *err);
AGT_PRIVATE agt_status agt__mend_write_catalog(agt_mend *m, uint64_t number, uint64_t next_seq,
                                               agt_error *err);
/* A new journal, and all that it names. */
AGT_PRIVATE agt_status agt__mend_rebuild(agt_mend *m, agt_error *err);

#endif /* AGT_MEND_PART_H */
