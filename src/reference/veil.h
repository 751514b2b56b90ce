/* veil: the system as a store of agent-trace 0.1.0 is read through. Below .agent-trace it shows the
 * files that an upgrade would make (image.h), from memory; everything else is the real one, so
 * documents are where they are. The bytes of versions come from the old repository, which stands in
 * the place of ours.
 *
 * (1) Nothing can be written through it.
 * (2) It shows the store as it was when it was opened; what agent-trace 0.1.0 writes afterwards is
 *     seen by the next one who opens it. */
#ifndef AGT_VEIL_H
#define AGT_VEIL_H

#include "image.h"

typedef struct agt_veil agt_veil;

/* Reads the old store whose .agent-trace is open as `at` (the veil's from then on, also where this
 * fails). */
AGT_PRIVATE agt_status agt__veil_make(agt_veil **out, const agt_sys *sys, agt_fd at,
                                      const agt_mem *mem, agt_error *err);
AGT_PRIVATE const agt_sys *agt__veil_sys(const agt_veil *v);
AGT_PRIVATE void agt__veil_free(void *veil);

/* The text of config.toml as ours has it: the old identity and settings, and our format. */
AGT_PRIVATE void agt__veil_config(const agt_old *o, agt_buf *out);
/* The header of a journal that is empty: all of the image is behind it, and in git. */
AGT_PRIVATE void agt__veil_header(const agt_image *m, const agt_oid *head, agt_journal_header *out);

#endif /* AGT_VEIL_H */
