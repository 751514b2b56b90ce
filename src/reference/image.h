/* image: a store of agent-trace 0.1.0 as a store of ours: the trace, the catalog, the journal's
 * header and config.toml, made in memory from what old.h read. Reading in place looks at it through
 * a veil (veil.c); upgrading writes it to the disk.
 *
 * (1) The same store makes the same image: nothing in it is random or from the clock, so events
 *     have the same seq and bytes each time.
 * (2) A commit becomes one record, with an event for each path: a version where the tree changed,
 *     else a version of 0. Lines of the event log that no commit tells, and grants, are records of
 *     their own, at their time.
 * (3) Nothing is invented: where the old store does not say it, a member is null or 0, and where
 *     only the history says it, `source` is AGT_IMAGE_SOURCE. */
#ifndef AGT_IMAGE_H
#define AGT_IMAGE_H

#include "../store/store.h"
#include "old.h"

#define AGT_IMAGE_SOURCE AGT_EVENT_OLD

typedef struct agt_image_record {
    uint64_t first_seq;
    uint32_t entries;
    int64_t recorded_ms;
    size_t at, len; /* its lines */
} agt_image_record;

typedef struct agt_image_segment {
    uint64_t first_seq;
    size_t at; /* in the lines */
} agt_image_segment;

/* A path that a store of ours cannot hold, and what it is called instead. */
typedef struct agt_image_name {
    agt_text old, now;
} agt_image_name;

/* Bytes of a refused write, by their name in rejected/. */
typedef struct agt_image_refused {
    char name[65];
    agt_buf bytes;
} agt_image_refused;

typedef struct agt_image {
    agt_old *old;
    agt_buf lines, scratch, was, now; /* the last two: a version before and after a change */
    agt_old_list records, segments, names, refused; /* of the types above */
    agt_catalog catalog;
    uint64_t next_seq;
    unsigned char prev[32];
    char replica[17];
    uint64_t blobs_lost; /* versions whose bytes cannot be read */
    uint64_t versions;
} agt_image;

/* Makes it; free in either case. `old` must live as long. */
AGT_PRIVATE agt_status agt__image_make(agt_image *m, agt_old *old, agt_error *err);
AGT_PRIVATE void agt__image_free(agt_image *m);

/* ---- among its parts ---- */

/* The path as a store of ours may hold it: itself, or a name made of it. data NULL: no memory. */
AGT_PRIVATE agt_text agt__image_path(agt_image *m, agt_text path);
/* What the path was in the old store. */
AGT_PRIVATE agt_text agt__image_was(const agt_image *m, agt_text path);
/* The refused bytes of a violation, as far as they can be found: a file in rejected/ of that name
 * and time, unless it holds what the document held (agent-trace 0.1.0 put the document back before
 * it kept what it had refused). An empty name: none. */
AGT_PRIVATE agt_status agt__image_refused(agt_image *m, agt_text path, int64_t unix_s,
                                          const agt_oid *held, char name[65], agt_error *err);
#endif /* AGT_IMAGE_H */
