/* import_line: one line of an import, from text to a change. */
#ifndef AGENT_TRACE_CLI_IMPORT_LINE_H
#define AGENT_TRACE_CLI_IMPORT_LINE_H

#include "cli.h"

typedef struct import_line {
    uint64_t number;
    char *text; /* owned; what follows points into it, or it is what is wrong with the line */
    bool bad, denied;
    agt_caller caller;
    agt_write_options options;
    agt_change change; /* points to caller and options: a line does not move once it is read */
} import_line;

/* Fills caller, options and change from text (len bytes), which is used up. `fallback` is the
 * caller where the line names no actor (its actor may be NULL: then it must), and gives source and
 * confirmation. false with the reason in `why`. */
bool import_line_read(import_line *line, size_t len, const agt_caller *fallback, char *why,
                      size_t why_size);

#endif /* AGENT_TRACE_CLI_IMPORT_LINE_H */
