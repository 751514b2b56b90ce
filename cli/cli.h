/* cli: what the parts of the agent-trace program share. It is a user of agent_trace.h like any
 * other and includes nothing of src/.
 *
 * A command is one function: it gets the parsed arguments, prints results to stdout and one line
 * per problem to stderr, and returns an exit code. Every .c file includes this header first. */
#ifndef AGENT_TRACE_CLI_H
#define AGENT_TRACE_CLI_H

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1 /* struct winsize */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include "../agent_trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- exit codes: the whole contract with scripts ---- */

enum cli_exit {
    CLI_DONE = 0,
    CLI_ERROR = 1,
    CLI_USAGE = 2,
    CLI_DENIED = 3, /* or needs confirmation */
    CLI_NOT_FOUND = 4,
    CLI_BUSY = 5 /* or a conflict */
};

/* The exit code of a status: one table, in context.c. */
int cli_exit_code(agt_status status);

/* ---- defaults that the help repeats ---- */

#define CLI_LOG_LIMIT   50
#define CLI_BATCH       64
#define CLI_LOCK_WAIT_S 5
#define CLI_QUOTE_(x)   #x
#define CLI_QUOTE(x)    CLI_QUOTE_(x)

/* ---- arguments (args.c) ---- */

typedef enum cli_option {
    OPT_DIR = 0,
    OPT_HELP,
    OPT_VERSION,
    OPT_JSON,
    OPT_ACTOR, /* who acts */
    OPT_PUBLISH,
    OPT_BY, /* --actor where it filters */
    OPT_SESSION,
    OPT_SUMMARY,
    OPT_YES,
    OPT_DURABILITY,
    OPT_CONTENT,
    OPT_FILE,
    OPT_TYPE,
    OPT_EXPECT,
    OPT_DISK,
    OPT_DELETED,
    OPT_ACTION,
    OPT_SINCE,
    OPT_LIMIT,
    OPT_SEQ,
    OPT_PATH,
    OPT_FOLLOW,
    OPT_TIMEOUT,
    OPT_BATCH,
    OPT_ACK,
    OPT_STRICT,
    OPT_COUNT
} cli_option;

#define OPT(name)   (UINT32_C(1) << OPT_##name)
#define OPTS_ALWAYS (OPT(DIR) | OPT(HELP))
/* taken in front of the command by every command */
#define OPTS_FRONT (OPTS_ALWAYS | OPT(VERSION) | OPT(JSON) | OPT(ACTOR) | OPT(PUBLISH))

typedef struct cli_args {
    const char *value[OPT_COUNT]; /* NULL: not given; "" for one without a value */
    char **words;                 /* what is no option, in order */
    int count;
} cli_args;

/* Reads options and words from argv[*at] on; -C takes effect at once. With `stop` the first word
 * ends it (it is words[0], with all that follows). Returns an exit code; CLI_USAGE was reported. */
int args_read(cli_args *a, const char *command, int argc, char **argv, int *at, uint32_t allowed,
              bool stop);
/* "3" or "v3", from `min` on. Reports what it is not. */
int args_version(const char *s, const char *what, uint32_t min, uint32_t *out);

/* ---- context (context.c) ---- */

typedef struct cli {
    const char *command;
    cli_args args;
    bool json;
    agt_store *store; /* NULL until cli_open */
    bool read_only;   /* and nothing can be published through it */
    char root[4096];  /* absolute; empty until cli_find */
    char cwd[4096];   /* absolute, without links */
    struct {          /* what a failure is to programs, as far as it is known */
        agt_status status;
        uint64_t seq; /* of the recorded refusal */
        bool has_version, outcome_unknown;
        uint32_t version;            /* that is current */
        char path[AGT_MAX_PATH * 4]; /* of the document; empty: none */
    } failure;
} cli;

/* Reports what the library answered, on stderr and for --json. Returns the exit code. */
int cli_failed(cli *c, agt_status status, const agt_error *err);
/* With --json an unsuccessful answer is a JSON object too, unless something was printed already.
 * Returns code. */
int cli_failure_json(const cli *c, int code);

/* Finds the store around the current folder. An exit code; failures were reported. */
int cli_find(cli *c);
/* Finds and opens it. A writer publishes as --publish and AGENT_TRACE_PUBLISH say; a reader takes
 * what it can get: without a lock where the store is busy or cannot be written (c->read_only). */
int cli_open(cli *c, bool writes);
/* As a reader that waits as long as a writer, because it publishes first if it can. */
int cli_open_to_publish(cli *c);
/* Closes it; the change is safe by now, so a failed publication is a note and no error. Returns
 * `code`, for chaining. */
int cli_close(cli *c, int code);

/* The document that `given`, relative to the current folder, names: relative to the root. */
int cli_document_path(cli *c, const char *given, char *out, size_t size);
/* As that, for a folder, which may be the root itself (then out is empty). */
int cli_folder_path(cli *c, const char *given, char *out, size_t size);
/* A document's path as one would type it in the current folder; for people. Returns out. */
const char *cli_shown(const cli *c, const char *path, size_t len, char *out, size_t size);

/* Who acts: --actor, else AGENT_TRACE_ACTOR, else the user; refuses an agent's environment that
 * acts as the user or the system without a terminal, not one that acts as another agent. Fills
 * actor, session, confirm, source. */
int cli_caller(cli *c, const char *source, agt_caller *out);
/* May this process act as `actor`? false where AGENT_TRACE_ACTOR names an agent, `actor` is none
 * and no terminal is on stdin. */
bool cli_may_act_as(const char *actor);
/* Who acts when nothing is said: AGENT_TRACE_ACTOR or NULL. */
const char *cli_env_actor(void);

/* --type as an agt_type; 0 if it is not given. */
int cli_type(const cli *c, uint32_t *out);
int cli_durability(const cli *c, uint32_t *out);

/* ---- times (times.c) ---- */

#define CLI_TIME_TEXT 28
/* "2026-11-24 01:54:45", UTC. Returns out. */
const char *time_shown(int64_t unix_ms, char out[CLI_TIME_TEXT]);
/* For a narrow place: "11-24 01:54", or "2024-11-24" where the year is not plain. Returns out. */
const char *time_brief(int64_t unix_ms, int64_t now_unix_ms, char out[CLI_TIME_TEXT]);
/* "2026-11-24T01:54:45.123Z". Returns out. */
const char *time_rfc3339(int64_t unix_ms, char out[CLI_TIME_TEXT]);
/* RFC 3339, 1970 to 9999, any offset; the fraction is cut to milliseconds. */
bool time_parse(const char *s, size_t n, int64_t *unix_ms);
/* Unix seconds, a JSON number; the fraction is cut to milliseconds. */
bool time_parse_seconds(const char *s, size_t n, int64_t *unix_ms);
/* What people type: RFC 3339, "2026-11-24", "2026-11-24 01:54", "90s", "30m", "2h", "3d", "1w",
 * "now", "@1733179244". */
bool time_parse_since(const char *s, int64_t now_unix_ms, int64_t *unix_ms);
int64_t time_now(void);

/* ---- commands ---- */

typedef struct cli_command {
    const char *name;
    int (*run)(cli *c);
    uint32_t options;
    int min, max;      /* how many words it takes; max -1: any number */
    bool stop;         /* options end at the first word */
    const char *wants; /* what it needs, when there are too few words */
} cli_command;

int command_init(cli *c);
int command_write(cli *c);
int command_rm(cli *c);
int command_restore(cli *c);
int command_show(cli *c);
int command_diff(cli *c);
int command_ls(cli *c);
int command_status(cli *c);
int command_log(cli *c);
int command_trace(cli *c);
int command_import(cli *c);
int command_lock(cli *c);
int command_git(cli *c);

/* ---- help (help.c) ---- */

void help_all(bool to_stderr);
/* false if there is no such command. */
bool help_one(const char *command);

#endif /* AGENT_TRACE_CLI_H */
