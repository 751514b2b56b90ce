/* args: options and words. One table says how each option is spelled; a command says which of them
 * it takes. Options may stand anywhere among the words until "--". */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const cli_option_spec args_specs[] = {
    {OPT_DIR, NULL, 'C', "DIR", OFFER_FOLDER, "run in DIR; the store is the one around it"},
    {OPT_HELP, "help", 'h', NULL, NULL, "explain the command"},
    {OPT_VERSION, "version", 'V', NULL, NULL, "print the version"},
    {OPT_COLOR, "color", 0, "WHEN", "auto always never",
     "auto (default): on a terminal, unless NO_COLOR is set or TERM is dumb; always or never"},
    {OPT_UTC, "utc", 0, NULL, NULL, "exact times in UTC on a terminal too, as in a pipe"},
    {OPT_NO_PAGER, "no-pager", 0, NULL, NULL, "print to the terminal without a pager"},
    {OPT_JSON, "json", 0, NULL, NULL, "print the result as JSON"},
    {OPT_ACTOR, "actor", 0, "WHO",
     "user system agent:", "user, system or agent:NAME; default: AGENT_TRACE_ACTOR, else user"},
    {OPT_PUBLISH, "publish", 0, "WHEN", "close idle manual",
     "close, idle or manual: when git gets to see it; default: AGENT_TRACE_PUBLISH, else close"},
    {OPT_BY, "actor", 0, "WHO",
     "user system agent agent:", "user, system, agent (any of them) or agent:NAME"},
    {OPT_SESSION, "session", 0, "ID", NULL, "the session it belongs to"},
    {OPT_SUMMARY, "summary", 0, "TEXT", NULL, "one line that goes into the history"},
    {OPT_YES, "yes", 'y', NULL, NULL, "yes to what would be asked"},
    {OPT_DURABILITY, "durability", 0, "LEVEL", "full process",
     "full (default): survives power loss; process: survives a crash"},
    {OPT_CONTENT, "content", 0, "TEXT", NULL, "the document is TEXT"},
    {OPT_FILE, "file", 0, "FILE", OFFER_FILE,
     "the document is what FILE holds; -: stdin (default)"},
    {OPT_TYPE, "type", 0, "TYPE", OFFER_TYPES, "plan, context, log, reference or scratch"},
    {OPT_EXPECT, "expect", 0, "VERSION", NULL,
     "only if this is the current version; 0: only if there is none"},
    {OPT_DISK, "disk", 0, NULL, NULL, "the file as it is, with edits that no version has yet"},
    {OPT_DELETED, "deleted", 0, NULL, NULL, "deleted documents too"},
    {OPT_ACTION, "action", 0, "ACTION",
     "create modify delete restore rename untrack reclassify unlock revoke violation",
     "create, modify, delete, restore, violation, ..."},
    {OPT_SINCE, "since", 0, "TIME", NULL,
     "30m, 2h, 3d, 1w, 2026-11-24 or 2026-11-24T01:54:45Z; in UTC"},
    {OPT_LIMIT, "limit", 'n', "N", NULL, "the newest N"},
    {OPT_SEQ, "seq", 0, "N", NULL, "from this event on"},
    {OPT_PATH, "path", 0, "PATH", OFFER_PLACE, "of one document, or in a folder"},
    {OPT_FOLLOW, "follow", 'f', NULL, NULL, "then wait for new ones; ends with Ctrl-C"},
    {OPT_TIMEOUT, "timeout", 0, "SECONDS", NULL, "how long to wait"},
    {OPT_BACKEND, "backend", 0, "HOW", "flock sentinel", "flock (default) or sentinel"},
    {OPT_BATCH, "batch", 0, "N", NULL, "N changes share one sync"},
    {OPT_ACK, "ack", 0, NULL, NULL, "print each line's number once its change is safe"},
    {OPT_STRICT, "strict", 0, NULL, NULL,
     "stop at the first line that fails; one change at a time"},
    {OPT_FOR, "for", 0, "ACTOR", "agent system user",
     "whom: agent:<name>, agent (any agent), system or user"},
    {OPT_DURATION, "duration", 0, "TIME", NULL,
     "how long: minutes, or 90s, 2h, 3d (default " CLI_QUOTE(
         CLI_UNLOCK_MIN) " minutes, at most 7d)"},
    {OPT_REVOKE, "revoke", 0, NULL, NULL, "end it now"},
    {OPT_SCAN, "scan", 0, NULL, NULL, "take in the *.md files that are there"},
    {OPT_PLAIN, "plain", 0, NULL, NULL, "without the index AGENT-TRACE.md"},
    {OPT_DIFF, "diff", 0, NULL, NULL, "as a patch against the document"},
    {OPT_FIX, "fix", 0, NULL, NULL, "mend what is safe to mend"},
    {OPT_DEEP, "deep", 0, NULL, NULL, "read all of it"},
    {OPT_DRY_RUN, "dry-run", 0, NULL, NULL, "say what would be done, and do nothing"},
    {OPT_WORD, "word", 0, NULL, NULL, "whole words only"},
    {OPT_REGEX, "regex", 0, NULL, NULL, "FIND is an extended regular expression"},
};
#define ARGS_SPECS (sizeof args_specs / sizeof args_specs[0])

const cli_option_spec *args_spec(cli_option option) {
    size_t at = 0;
    for (size_t i = 0; i < ARGS_SPECS; i++)
        if (args_specs[i].option == option) at = i;
    return &args_specs[at];
}

/* The option that `s` (n bytes) or `letter` spells among the allowed ones. */
static const cli_option_spec *args_find(const char *s, size_t n, char letter, uint64_t allowed) {
    for (size_t i = 0; i < ARGS_SPECS; i++) {
        const cli_option_spec *spec = &args_specs[i];
        if (!(allowed >> spec->option & 1)) continue;
        if (letter && spec->letter == letter) return spec;
        if (s && spec->name && strlen(spec->name) == n && memcmp(spec->name, s, n) == 0)
            return spec;
    }
    return NULL;
}

static int args_take(cli_args *a, const cli_option_spec *spec, const char *value) {
    a->value[spec->option] = value;
    if (value[0] && a->given_count == CLI_GIVEN)
        return out_fail(CLI_USAGE, "more than %d options with a value are given", CLI_GIVEN);
    if (value[0]) a->given[a->given_count++] = (struct cli_given){spec->option, value};
    if (spec->option != OPT_DIR || !value[0] || chdir(value) == 0) return CLI_DONE;
    return out_fail(errno == ENOENT ? CLI_NOT_FOUND : CLI_ERROR, "cannot go to the folder %s: %s",
                    value, strerror(errno));
}

typedef struct args_walk {
    const char *command;
    int argc, *at;
    char **argv;
    uint64_t allowed;
} args_walk;

static int args_unknown(const args_walk *w, const char *shown, int n) {
    if (!w->command) return out_usage(NULL, "unknown option %.*s", n, shown);
    return out_usage(w->command, "%s takes no option %.*s", w->command, n, shown);
}

/* "--name", "--name=value" or "--name value". */
static int args_long(cli_args *a, const args_walk *w) {
    char *arg = w->argv[*w->at], *name = arg + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const cli_option_spec *spec = args_find(name, n, 0, w->allowed);
    if (!spec) return args_unknown(w, arg, (int)n + 2);
    ++*w->at;
    if (!spec->value) {
        if (equals) return out_usage(w->command, "--%s takes no value", spec->name);
        return args_take(a, spec, "");
    }
    if (equals) return args_take(a, spec, equals + 1);
    if (*w->at >= w->argc) return out_usage(w->command, "--%s needs a value", spec->name);
    return args_take(a, spec, w->argv[(*w->at)++]);
}

/* "-x", "-xy", "-xVALUE" or "-x VALUE". */
static int args_short(cli_args *a, const args_walk *w) {
    const char *s = w->argv[(*w->at)++] + 1;
    for (; *s; s++) {
        const cli_option_spec *spec = args_find(NULL, 0, *s, w->allowed);
        char shown[3] = {'-', *s, 0};
        if (!spec) return args_unknown(w, shown, 2);
        if (!spec->value) {
            (void)args_take(a, spec, "");
            continue;
        }
        if (s[1]) return args_take(a, spec, s + 1);
        if (*w->at >= w->argc) return out_usage(w->command, "-%c needs a value", *s);
        return args_take(a, spec, w->argv[(*w->at)++]);
    }
    return CLI_DONE;
}

int args_read(cli_args *a, const char *command, int argc, char **argv, int *at, uint64_t allowed,
              bool stop) {
    args_walk w = {command, argc, at, argv, allowed};
    a->words = argv + *at; /* words move to the front of what was read */
    a->count = 0;
    while (*at < argc) {
        char *arg = argv[*at];
        bool option = arg[0] == '-' && arg[1];
        if (option && strcmp(arg, "--") == 0) {
            ++*at;
            while (!stop && *at < argc)
                a->words[a->count++] = argv[(*at)++];
            break;
        }
        if (!option && stop) break;
        if (!option) {
            a->words[a->count++] = argv[(*at)++];
            continue;
        }
        int code = arg[1] == '-' ? args_long(a, &w) : args_short(a, &w);
        if (code != CLI_DONE) return code;
    }
    if (stop) { /* the rest stays where it is: argv's NULL must end it for who runs it */
        a->words = argv + *at;
        a->count = argc - *at;
    }
    return CLI_DONE;
}

int args_version(const char *s, const char *what, uint32_t min, uint32_t *out) {
    uint64_t value;
    if (!text_number(s[0] == 'v' ? s + 1 : s, UINT32_MAX, &value) || value < min)
        return out_fail(CLI_USAGE, "%s '%s' is no version; versions are numbers from %u on", what,
                        s, min);
    *out = (uint32_t)value;
    return CLI_DONE;
}

int args_number(const char *s, const char *what, uint64_t *out) {
    if (!s || text_number(s, INT64_MAX, out)) return CLI_DONE;
    return out_fail(CLI_USAGE, "%s '%s' is no number; use digits alone", what, s);
}
