/* scan: takes the files of a folder in as documents, for init --scan. */
#ifndef AGENT_TRACE_CLI_SCAN_H
#define AGENT_TRACE_CLI_SCAN_H

#include "files.h"
#include "output.h"

#define SCAN_TYPES 6 /* an agt_type each */

typedef struct scan {
    files files;
    size_t taken, by_type[SCAN_TYPES];
    size_t hidden, generated,
        others;   /* in folders that begin with a dot; made by programs; no .md */
    size_t moved; /* documents whose files were moved outside; the first: */
    char moved_from[AGT_MAX_PATH + 8], moved_to[AGT_MAX_PATH + 8];
    size_t refused, denied; /* all that could not be taken; of these, for want of the right */
    char why[640];          /* of the first one that was refused */
} scan;

/* Are the values of --type GLOB=TYPE what they should be? Before anything is made. */
int scan_check(cli *c);
/* Takes them in, through the open store. An exit code; failures were reported, but for files that
 * could not be taken: those are counted. */
int scan_run(cli *c, scan *s);
/* What came of it, for people and as members of an open JSON object. */
void scan_print(const scan *s);
void scan_print_json(const scan *s, out_json *j);
void scan_free(scan *s);

#endif /* AGENT_TRACE_CLI_SCAN_H */
