/* paths: which events are about a path, so that nobody reads a whole trace for one document.
 *
 * Files in index/, named <first>-<last>: the events they cover. They are made from the trace, and
 * only from what no crash takes back; one that is missing, damaged or of another trace is no harm:
 * the trace is read where none covers it, and the next checkpoint makes it again. */
#ifndef AGT_PATHS_PART_H
#define AGT_PATHS_PART_H

#include "trace.h"

/* What both need: `dir` is the index folder, `trace` that of the segments. */
typedef struct agt_paths {
    const agt_sys *sys;
    const agt_mem *mem;
    agt_cpu cpu;
    agt_fd dir, trace;
} agt_paths;

/* Appends to `found` an agt_event_at for every event with this path, or renamed from it, ascending.
 * *upto: the events up to that one are covered; the rest must be read. Some may have another path:
 * hashes are compared. AGT_NOMEM is the only failure. */
AGT_PRIVATE agt_status agt__paths_find(const agt_paths *p, const char *path, size_t len,
                                       agt_buf *found, uint64_t *upto, agt_error *err);
/* Covers up to `most` more events, none behind `upto`, which must all be durable. One caller at a
 * time. Failures leave what was there. `whole`: every file is read before, not only the newest, and
 * what is damaged is made again. */
AGT_PRIVATE agt_status agt__paths_update(const agt_paths *p, uint64_t upto, uint32_t most,
                                         bool whole, agt_error *err);

#endif /* AGT_PATHS_PART_H */
