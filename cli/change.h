/* change: what every command that changes one document does, from its words to its report. */
#ifndef AGENT_TRACE_CLI_CHANGE_H
#define AGENT_TRACE_CLI_CHANGE_H

#include "cli.h"

typedef enum change_kind {
    CHANGE_WRITE = 0,
    CHANGE_DELETE,
    CHANGE_RESTORE,
    CHANGE_ADD,
    CHANGE_RENAME,
    CHANGE_UNTRACK,
    CHANGE_RECLASSIFY,
    CHANGE_UNLOCK,
    CHANGE_REVOKE
} change_kind;

typedef struct change_bytes {
    unsigned char *data;
    size_t len, cap;
    bool piped; /* they came from stdin */
} change_bytes;

typedef struct change {
    change_kind kind;
    const char *given; /* the document's path as it was typed; NULL: the command's first word */
    char path[AGT_MAX_PATH * 4];
    int (*read_bytes)(const cli *c, change_bytes *b); /* NULL: it brings none */
    change_bytes bytes;
    uint32_t version;          /* to restore; 0: the last one of a document that is gone */
    char to[AGT_MAX_PATH * 4]; /* the new path of a rename */
    agt_type type;             /* of an addition or reclassification */
    bool gone;                 /* there was no file before the change */
    const char *grant;         /* of an unlock or revoke */
    int64_t duration_ms;       /* of an unlock */
    agt_caller caller;
    agt_write_options options;
    agt_write_result result;
} change;

/* Asks on the terminal, if there is one; says why. */
bool change_confirmed(const char *why);
change change_new(change_kind kind);
/* Reads what is to be written, finds the store, decides who acts, asks the library, asks the person
 * where the library says so, reports. Nothing is opened before the arguments and the bytes are
 * known to be good. */
int change_run(cli *c, change *ch);
/* The same in steps, for commands that make several: who and how (no store is opened), one change
 * in the open store, what is said of it. change_one returns an exit code, and failures are
 * reported. */
int change_prepare(cli *c, change *ch);
int change_one(cli *c, change *ch);
void change_report(cli *c, const change *ch);

#endif /* AGENT_TRACE_CLI_CHANGE_H */
