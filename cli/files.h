/* files: what lies in the store's folder and is no document. */
#ifndef AGENT_TRACE_CLI_FILES_H
#define AGENT_TRACE_CLI_FILES_H

#include "cli.h"

typedef struct files {
    agt_document *file; /* the ones that could be documents, in order */
    uint64_t *sum;      /* of each one's bytes, once it was asked for, odd; NULL, 0: it was not */
    size_t count, room;
    /* of each agt_left_out: how many, and the first one */
    size_t left_out[AGT_LEFT_OUT_LAST_];
    char first[AGT_LEFT_OUT_LAST_][AGT_MAX_PATH + 8];
} files;

/* Fills an empty struct. Free it with files_free, whatever this returns. */
agt_status files_read(cli *c, files *f, agt_error *err);
void files_free(files *f);
/* Has the file at the document's path exactly these bytes? */
bool files_same(const cli *c, const char *path, const agt_bytes *bytes);
/* Takes the first of the files out that has the newest bytes of the document, whose own file is
 * gone: it was moved outside. Its path goes to `path`. Empty ones are all alike and tell nothing.
 */
bool files_take_moved(cli *c, files *f, const char *document, uint64_t size_bytes,
                      char path[AGT_MAX_PATH + 8]);
/* The word for a reason in JSON, as "ignored"; NULL for AGT_LEFT_OUT_NOT. */
const char *files_reason(uint32_t left_out);
/* "3 names that no document can have (a:b.md, ...)" for people; false if there are none. */
bool files_left_out(const files *f, uint32_t left_out, char *text, size_t size);

#endif /* AGENT_TRACE_CLI_FILES_H */
