/* work: documents that the library makes itself out of what a store holds. */
#ifndef AGT_WORK_H
#define AGT_WORK_H

#include "../store/store.h"

#define AGT_WORK_INDEX "AGENT-TRACE.md"
#define AGT_WORK_ROWS  500u /* documents of one type that are named; the rest is counted */

/* Appends a path as code in Markdown, so that it can be nothing else: fenced by more backticks than
 * it has, with characters that nobody sees written out. */
AGT_PRIVATE void agt__index_path(agt_buf *out, const char *path, size_t len);
/* Is there an index that is not what it would be if it were written now, on the disk or as its
 * newest version? */
AGT_PRIVATE agt_status agt__index_differs(agt_store *s, bool *differs, agt_error *err);

#endif /* AGT_WORK_H */
