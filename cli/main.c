/* main: the agent-trace program. Finds the command, checks its words against one table, runs it,
 * and turns what it returns into the exit code. */
#include "cli.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

#define OPTS_CHANGE                                                                                \
    (OPTS_ALWAYS | OPT(JSON) | OPT(ACTOR) | OPT(PUBLISH) | OPT(SESSION) | OPT(SUMMARY) |           \
     OPT(EXPECT) | OPT(YES) | OPT(DURABILITY))
#define OPTS_FILTER                                                                                \
    (OPTS_ALWAYS | OPT(JSON) | OPT(BY) | OPT(TYPE) | OPT(ACTION) | OPT(SESSION) | OPT(SINCE) |     \
     OPT(LIMIT))

static const cli_command commands[] = {
    {"init", command_init, OPTS_ALWAYS | OPT(JSON), 0, 1, false, NULL},
    {"write", command_write, OPTS_CHANGE | OPT(CONTENT) | OPT(FILE) | OPT(TYPE), 1, 1, false,
     "a PATH"},
    {"rm", command_rm, OPTS_CHANGE, 1, 1, false, "a PATH"},
    {"show", command_show, OPTS_ALWAYS | OPT(JSON) | OPT(DISK), 1, 2, false, "a PATH"},
    {"log", command_log, OPTS_FILTER | OPT(FOLLOW), 0, 1, false, NULL},
    {"diff", command_diff, OPTS_ALWAYS | OPT(JSON), 1, 3, false, "a PATH"},
    {"restore", command_restore, OPTS_CHANGE, 2, 2, false, "a PATH and a VERSION"},
    {"ls", command_ls, OPTS_ALWAYS | OPT(JSON) | OPT(TYPE) | OPT(DELETED), 0, 1, false, NULL},
    {"status", command_status, OPTS_ALWAYS | OPT(JSON), 0, 0, false, NULL},
    {"import", command_import,
     OPTS_ALWAYS | OPT(JSON) | OPT(ACTOR) | OPT(PUBLISH) | OPT(YES) | OPT(DURABILITY) | OPT(BATCH) |
         OPT(ACK) | OPT(STRICT),
     1, 1, false, "a FILE, or - for stdin"},
    {"trace", command_trace, OPTS_FILTER | OPT(PATH) | OPT(SEQ) | OPT(FOLLOW), 0, 0, false, NULL},
    {"lock", command_lock, OPTS_ALWAYS | OPT(JSON), 1, -1, true, "status, try or hold"},
    {"git", command_git, 0, 1, -1, true, "something to do"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const cli_command *main_find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

/* How many letters have to be changed, added or taken away; words are short. */
static size_t main_distance(const char *a, const char *b) {
    size_t row[32], n = strlen(b);
    if (strlen(a) > 30 || n > 30) return 30;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

static int main_unknown(const char *name) {
    const char *near = NULL;
    size_t best = 3; /* farther is no slip of the finger */
    for (size_t i = 0; i <= COMMANDS; i++) {
        const char *known = i < COMMANDS ? commands[i].name : "help";
        size_t distance = main_distance(name, known);
        if (distance < best && distance < strlen(known)) {
            best = distance;
            near = known;
        }
    }
    if (near) return out_usage(NULL, "unknown command '%s', perhaps %s", name, near);
    return out_usage(NULL, "unknown command '%s'", name);
}

static int main_help(const cli_args *a) {
    if (a->count == 0)
        help_all(false);
    else if (!help_one(a->words[0]))
        return main_unknown(a->words[0]);
    return CLI_DONE;
}

/* The command's own options and words. */
static int main_words(cli *c, const cli_command *command, int argc, char **argv, int at) {
    bool raw = command->options == 0;
    if (c->args.value[OPT_JSON] && !(command->options & OPT(JSON)))
        return out_usage(command->name, "%s has no --json", command->name);
    if (raw) { /* everything but a plain request for help is the other program's */
        c->args.words = argv + at;
        c->args.count = argc - at;
        bool help = c->args.count == 1 && strcmp(argv[at], "--help") == 0;
        if (help) c->args.value[OPT_HELP] = "";
    } else {
        int code =
            args_read(&c->args, command->name, argc, argv, &at, command->options, command->stop);
        if (code != CLI_DONE) return code;
    }
    if (c->args.value[OPT_HELP]) return CLI_DONE;
    if (c->args.count < command->min)
        return out_usage(command->name, "%s needs %s", command->name, command->wants);
    if (command->max >= 0 && c->args.count > command->max)
        return out_usage(command->name, "'%s' is one word too many", c->args.words[command->max]);
    return CLI_DONE;
}

static int main_run(cli *c, int argc, char **argv) {
    int at = 1;
    int code = args_read(&c->args, NULL, argc, argv, &at, OPTS_FRONT, true);
    if (code != CLI_DONE) return code;
    if (c->args.value[OPT_VERSION]) {
        (void)printf("agent-trace %s\n", agt_version());
        return CLI_DONE;
    }
    if (c->args.count == 0 && c->args.value[OPT_HELP]) return main_help(&c->args);
    if (c->args.count == 0) {
        help_all(true);
        return CLI_USAGE;
    }
    c->command = argv[at++];
    if (strcmp(c->command, "help") == 0) {
        c->args.words = argv + at;
        c->args.count = argc - at;
        return main_help(&c->args);
    }
    const cli_command *command = main_find(c->command);
    if (!command) return main_unknown(c->command);
    code = main_words(c, command, argc, argv, at);
    if (code != CLI_DONE) return code;
    if (c->args.value[OPT_HELP]) return help_one(c->command) ? CLI_DONE : CLI_ERROR;
    /* in front of a command that only looks, --actor cannot say who acts */
    if ((command->options & OPT(BY)) && !c->args.value[OPT_BY])
        c->args.value[OPT_BY] = c->args.value[OPT_ACTOR];
    c->json = c->args.value[OPT_JSON] != NULL;
    return command->run(c);
}

int main(int argc, char **argv) {
    static cli c;
    out_init();
    int code = main_run(&c, argc, argv);
    if (c.args.value[OPT_JSON]) (void)cli_failure_json(&c, code);
    return out_finish(code);
}
