/* sentinel: one holder among all processes by a file that exists, for systems without flock. */
#ifndef AGT_SENTINEL_H
#define AGT_SENTINEL_H

#include "liveness.h"

typedef struct agt_sentinel {
    const agt_sys *sys;
    agt_fd dir;      /* borrowed: the folder */
    agt_holder self; /* what is published; a new token for each time of holding */
    bool held;
    bool took_over;  /* from a dead one, for the holder of another lock */
    char seen[33];   /* the incarnation that is being waited out, see sentinel.c (6) */
    int64_t seen_ns; /* since when */
} agt_sentinel;

AGT_PRIVATE void agt__sentinel_init(agt_sentinel *s, const agt_sys *sys, agt_fd dir,
                                    const char *program);
/* Takes it; waits up to timeout_ms (0: the default, AGT_TRY, AGT_FOREVER) with growing delays.
 * AGT_OK, AGT_BUSY (the message says why nobody may take it), AGT_INVALID, AGT_IO, AGT_NOMEM,
 * AGT_NOT_FOUND (the folder is gone), AGT_UNSUPPORTED (the system gives no random numbers). */
AGT_PRIVATE agt_status agt__sentinel_take(agt_sentinel *s, int32_t timeout_ms, agt_error *err);
/* Is the file still the one that was published? */
AGT_PRIVATE bool agt__sentinel_still(const agt_sentinel *s);
/* Lets go. Not in a fork's child, whose parent holds it. */
AGT_PRIVATE void agt__sentinel_drop(agt_sentinel *s);
/* Does somebody hold it, for who looks? AGT_NOT_FOUND (there is no such file), AGT_INVALID, AGT_IO;
 * AGT_OK: *held, and who it is or was. */
AGT_PRIVATE agt_status agt__sentinel_look(const agt_sys *sys, agt_fd dir, agt_holder *out,
                                          uint32_t *held, agt_error *err);
/* For the holder of another lock: removes one that a dead process left. AGT_OK: there is none;
 * AGT_BUSY, AGT_INVALID, AGT_IO. */
AGT_PRIVATE agt_status agt__sentinel_none(agt_sentinel *s, agt_error *err);

/* What dead processes left of publishing and claiming, see sentinel.c (10). */
typedef struct agt_leftovers {
    uint32_t found;   /* files whose process is proved dead */
    uint32_t removed; /* of them */
    char first[64];   /* the name of the first one that is still there; empty if none is */
} agt_leftovers;

/* Finds them, up to `most` (0: all), and removes them if `clear`. For anybody, at any time. What
 * cannot be listed, read or removed counts as not found or not removed. */
AGT_PRIVATE void agt__sentinel_sweep(agt_sentinel *s, bool clear, uint32_t most,
                                     agt_leftovers *out);

#endif /* AGT_SENTINEL_H */
