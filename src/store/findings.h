/* findings: the list that a repair or a doctor's look fills and a caller reads. */
#ifndef AGT_FINDINGS_PART_H
#define AGT_FINDINGS_PART_H

#include "../base/base.h"

AGT_PRIVATE agt_status agt__findings_new(agt_findings **out, const agt_mem *mem, agt_error *err);
/* Adds one; `mend` may be NULL. A list without memory says so at its end. The finding can be
 * changed until the next one is added. */
AGT_PRIVATE agt_finding *agt__findings_add(agt_findings *all, agt_severity severity,
                                           const char *code, const char *mend, const char *format,
                                           ...) AGT_PRINTF(5, 6);
/* Adds those of another list that nobody read yet. */
AGT_PRIVATE void agt__findings_join(agt_findings *all, const agt_findings *more);
/* Did memory run out? */
AGT_PRIVATE bool agt__findings_failed(const agt_findings *all);
/* How many are warnings or errors: all, those that can be mended, those that are. */
AGT_PRIVATE void agt__findings_count(const agt_findings *all, uint32_t *bad, uint32_t *mendable,
                                     uint32_t *mended);
/* What can be mended is. */
AGT_PRIVATE void agt__findings_mended(agt_findings *all);

#endif /* AGT_FINDINGS_PART_H */
