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

#include <limits.h>
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
#define CLI_UNLOCK_MIN  10
#define CLI_QUOTE_(x)   #x
#define CLI_QUOTE(x)    CLI_QUOTE_(x)

/* ---- arguments (args.c) ---- */

typedef enum cli_option {
    OPT_NONE = 0, /* ends a command's list */
    OPT_DIR,
    OPT_HELP,
    OPT_VERSION,
    OPT_COLOR,
    OPT_UTC,
    OPT_NO_PAGER,
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
    OPT_FOR,
    OPT_DURATION,
    OPT_REVOKE,
    OPT_DIFF,
    OPT_DRY_RUN,
    OPT_FIX,
    OPT_DEEP,
    OPT_WORD,
    OPT_REGEX,
    OPT_SCAN,
    OPT_PLAIN,
    OPT_BACKEND,
    OPT_COUNT
} cli_option;

#define OPT(name)   (UINT64_C(1) << OPT_##name)
#define OPTS_ALWAYS (OPT(DIR) | OPT(HELP) | OPT(COLOR) | OPT(UTC) | OPT(NO_PAGER))
/* taken in front of the command by every command */
#define OPTS_FRONT (OPTS_ALWAYS | OPT(VERSION) | OPT(JSON) | OPT(ACTOR) | OPT(PUBLISH))

/* What a value or a word can be, for the completion of shells: words with a blank between them, one
 * of these, or NULL where nothing can be offered. */
#define OFFER_DOCUMENT "@document"
#define OFFER_PLACE    "@place" /* a document, or a folder that has some */
#define OFFER_FILE     "@file"
#define OFFER_FOLDER   "@folder"
#define OFFER_COMMAND  "@command" /* of agent-trace */
#define OFFER_TYPES    "plan context log reference scratch"

typedef struct cli_option_spec {
    cli_option option;
    const char *name; /* NULL: only the letter */
    char letter;
    const char *value; /* what the value is called; NULL: it has none */
    const char *offer; /* what it can be */
    const char *text;  /* what it does, where a command says nothing else */
} cli_option_spec;

/* The option's entry in the one table of options, in args.c. Never NULL. */
const cli_option_spec *args_spec(cli_option option);

#define CLI_GIVEN 64 /* options with a value in one command */

typedef struct cli_args {
    const char *value[OPT_COUNT]; /* NULL: not given; "" for one without a value */
    char **words;                 /* what is no option, in order */
    int count;
    /* every option with a value, in order, for those that may be given several times */
    struct cli_given {
        cli_option option;
        const char *value;
    } given[CLI_GIVEN];
    size_t given_count;
} cli_args;

/* Reads options and words from argv[*at] on; -C takes effect at once. With `stop` the first word
 * ends it (it is words[0], with all that follows). Returns an exit code; CLI_USAGE was reported. */
int args_read(cli_args *a, const char *command, int argc, char **argv, int *at, uint64_t allowed,
              bool stop);
/* "3" or "v3", from `min` on. Reports what it is not. */
int args_version(const char *s, const char *what, uint32_t min, uint32_t *out);
/* A number; NULL leaves *out alone. Reports what it is not. */
int args_number(const char *s, const char *what, uint64_t *out);

/* ---- context (context.c) ---- */

typedef struct cli {
    const char *command;
    cli_args args;
    bool json;
    bool runs;        /* the words were read, and the command has begun */
    agt_store *store; /* NULL until cli_open */
    bool read_only;   /* and nothing can be published through it */
    bool writes;      /* it may change the list of documents */
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
/* Reports a line of the trace that cannot be read, as AGT_CORRUPT says of it. Returns CLI_ERROR. */
int cli_damaged_line(const agt_error *err);
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
/* Refreshes the index if the list of documents changed, and closes the store; the change is safe by
 * now, so a failed publication is a note and no error. Returns `code`, for chaining. */
int cli_close(cli *c, int code);

/* The document that `given`, relative to the current folder, names: relative to the root. */
int cli_document_path(cli *c, const char *given, char *out, size_t size);
/* A document's place on the disk. False if that is too long for this system. */
bool cli_place(const cli *c, const char *path, char out[PATH_MAX]);
/* Is there nothing at that place? */
bool cli_gone(const cli *c, const char *path);
/* As that, for a folder, which may be the root itself (then out is empty). */
int cli_folder_path(cli *c, const char *given, char *out, size_t size);
/* Is it the index of the documents, which stands in no list of them? */
bool cli_is_index(const char *path);
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

/* --session, or NULL if it is not given. */
int cli_session(const cli *c, const char **out);
/* --type as an agt_type; 0 if it is not given. */
int cli_type(const cli *c, uint32_t *out);
int cli_durability(const cli *c, uint32_t *out);
/* The type that a word names; CLI_USAGE (reported) if it is none. */
int cli_type_word(const cli *c, const char *word, agt_type *out);

/* ---- hints (hints.c) ---- */

/* How many letters have to be changed, added or taken away; SIZE_MAX for what is long. */
size_t hint_distance(const char *a, const char *b);
/* The document whose file is gone and whose newest bytes this file has: it was moved outside. Empty
 * ones are all alike and tell nothing. */
bool hint_moved(cli *c, const char *path, char *from, size_t size);
/* Where no document is called c->failure.path: "; " and which one may have been meant, or how to
 * make it one; else nothing. Returns out. */
const char *hint_missing(cli *c, char *out, size_t size);

/* ---- times (times.c) ---- */

#define CLI_TIME_TEXT 28
/* "2026-11-24T01:54:45Z". Returns out. */
const char *time_exact(int64_t unix_ms, char out[CLI_TIME_TEXT]);
/* As people say it, in local time: "now", "40 s ago", "3 min ago", "today 14:02",
 * "yesterday 14:02", "tomorrow 14:02", "2026-03-01". Returns out. */
const char *time_relative(int64_t unix_ms, int64_t now_unix_ms, char out[CLI_TIME_TEXT]);
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

/* ---- commands ----
 *
 * A command is described once, beside its code, by a cli_command; commands.c lists them. From it
 * come what the parser takes, the help, the manual pages and the completion of shells. */

typedef struct cli_takes {
    cli_option option;
    const char *text; /* NULL: as the option's own entry says */
} cli_takes;

/* Texts are plain: an empty line is between paragraphs, a paragraph that begins with two blanks is
 * shown as it is, and lines are broken where they are shown. */
typedef struct cli_command {
    const char *name;
    int (*run)(cli *c);
    const char *group; /* its heading on the first page */
    const char *line;  /* what it does, in a few words */
    const char *usage; /* what stands behind its name; a line each */
    const char *text;  /* what it does */
    cli_takes
        takes[24]; /* its options in the order of the help; -C and the like come by themselves */
    const char *exits;     /* NULL, or what its exit codes mean beyond the common ones */
    const char *examples;  /* command lines, a line each */
    const char *see;       /* NULL, or the commands that go with it, with a blank between them */
    int min, max;          /* how many words it takes; max -1: any number */
    const char *wants;     /* what it needs, when there are too few words */
    const char *offers[3]; /* what each word can be; the last one counts for all that follow */
    bool pages;            /* it goes through a pager on a terminal */
    bool stop;             /* options end at the first word */
    bool raw;              /* all words are another program's; only a plain --help is ours */
} cli_command;

/* What several commands take. */
#define TAKES_CALLER                                                                               \
    {OPT_ACTOR, NULL}, {                                                                           \
        OPT_SESSION, NULL                                                                          \
    }
#define TAKES_CHANGE                                                                               \
    TAKES_CALLER, {OPT_SUMMARY, NULL}, {OPT_EXPECT, NULL}, {OPT_YES, NULL},                        \
        {OPT_DURABILITY, NULL}, {OPT_PUBLISH, NULL}, {                                             \
        OPT_JSON, NULL                                                                             \
    }
#define TAKES_FILTERS                                                                              \
    {OPT_BY, NULL}, {OPT_TYPE, "only plan, context, log, reference or scratch"},                   \
        {OPT_ACTION, NULL}, {OPT_SESSION, "of one session"}, {                                     \
        OPT_SINCE, NULL                                                                            \
    }

extern const cli_command cli_init, cli_status, cli_gc, cli_repair, cli_doctor;
extern const cli_command cli_write, cli_rm, cli_restore, cli_show, cli_ls;
extern const cli_command cli_add, cli_mv, cli_untrack, cli_reclassify, cli_unlock;
extern const cli_command cli_violations, cli_info, cli_replace;
extern const cli_command cli_log, cli_diff, cli_trace, cli_git;
extern const cli_command cli_import, cli_lock, cli_completion, cli_upgrade;

/* "flock" or "sentinel". */
const char *lock_backend_name(uint32_t backend);

/* The n-th command, in the order of the help; NULL behind the last. */
const cli_command *command_at(size_t n);
/* NULL if there is none of that name. */
const cli_command *command_find(const char *name);
/* Every option it takes, as a set. */
uint64_t command_options(const cli_command *command);

/* ---- events (commands_trace.c) ---- */

bool event_text_is(agt_text text, const char *word);
/* May --actor filter by it? An exit code; what is no actor was reported. */
int cli_filter_actor(const char *actor);
/* What AGENT-TRACE.md says of itself: that it was made anew. */
bool event_is_index(const agt_event *e);
/* An edit that was found in the file: the library records it as the user's, and nobody knows. */
bool event_is_outside(const agt_event *e);
#define EVENT_OUTSIDE "outside agent-trace"
/* A refusal's reason: "violation: WHO attempted WHAT on PATH: REASON" without what a row says
 * already.
 */
agt_text event_reason(const agt_event *e);

/* A patch in unified format, with colours on a terminal (commands_read.c). */
void diff_print(const char *patch, size_t len);
/* Bytes of a document; on a terminal made safe, and where they are no text only how to have them.
 */
void show_bytes(const cli *c, const agt_bytes *bytes);

/* ---- help (help.c), manual pages (man.c), completion (completion.c) ---- */

#define HELP_WHAT "documents with versions, permissions and a trace of every change"
#define HELP_ABOUT                                                                                 \
    "A folder with .agent-trace in it is a store; the store is the one around the current "        \
    "folder. "                                                                                     \
    "Its documents are ordinary files. Every change has an author, who may be a person or an "     \
    "agent, needs the right to be made, becomes a version that can be read and brought back, and " \
    "is an event in a trace that loses nothing. Git has one commit for each."

/* What the first page tells of; every command takes those of OPTS_ALWAYS. */
extern const cli_takes help_common[];
extern const size_t help_common_count;

void help_all(bool to_stderr);
void help_one(const cli_command *command);
/* The names of all commands, a line each. */
void help_names(void);
void man_all(void);
void man_command(const cli_command *command);

#endif /* AGENT_TRACE_CLI_H */
