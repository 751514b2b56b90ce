/* main: the agent-trace program. Finds the command, checks its words against one table, runs it,
 * and turns what it returns into the exit code. */
#include "cli.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

/* What other programs call it. */
static const char *const main_other_names[][2] = {
    {"list", "ls"},          {"cat", "show"},          {"undo", "restore"}, {"revert", "restore"},
    {"checkout", "restore"}, {"rollback", "restore"},  {"delete", "rm"},    {"remove", "rm"},
    {"move", "mv"},          {"rename", "mv"},         {"history", "log"},  {"blame", "log"},
    {"events", "trace"},     {"denied", "violations"}, {"grant", "unlock"}, {"check", "doctor"},
    {"fsck", "doctor"},      {"verify", "doctor"},     {"fix", "repair"},   {"edit", "write"},
    {"save", "write"},       {"commit", "write"},      {"track", "add"},
};

static int main_unknown(const char *name) {
    const char *near = NULL;
    for (size_t i = 0; i < sizeof main_other_names / sizeof main_other_names[0]; i++)
        if (strcmp(name, main_other_names[i][0]) == 0)
            return out_usage(NULL, "unknown command '%s'; it is called %s here", name,
                             main_other_names[i][1]);
    size_t best = 3; /* farther is no slip of the finger */
    for (size_t i = 0;; i++) {
        const cli_command *command = command_at(i);
        const char *known = command ? command->name : "help";
        size_t distance = hint_distance(name, known);
        if (distance < best && distance < strlen(known)) {
            best = distance;
            near = known;
        }
        if (!command) break;
    }
    if (near) return out_usage(NULL, "unknown command '%s', perhaps %s", name, near);
    return out_usage(NULL, "unknown command '%s'", name);
}

/* "help [COMMAND]". For the build: "help --man [COMMAND]" is its manual page, "help --names" all
 * commands. */
static int main_help(cli_args *a) {
    bool man = a->count && strcmp(a->words[0], "--man") == 0;
    bool names = a->count == 1 && strcmp(a->words[0], "--names") == 0;
    const char *name = a->count > man ? a->words[man] : NULL;
    const cli_command *command = name && !names ? command_find(name) : NULL;
    if (names)
        help_names();
    else if (name && !command)
        return main_unknown(name);
    else if (command)
        (man ? man_command : help_one)(command);
    else if (man)
        man_all();
    else
        help_all(false);
    return CLI_DONE;
}

/* The command's own options and words. */
static int main_words(cli *c, const cli_command *command, int argc, char **argv, int at) {
    uint64_t options = command_options(command);
    if (c->args.value[OPT_JSON] && !(options & OPT(JSON)))
        return out_usage(command->name, "%s has no --json", command->name);
    if (command->raw) { /* everything but a plain request for help is the other program's */
        c->args.words = argv + at;
        c->args.count = argc - at;
        bool help = c->args.count == 1 && strcmp(argv[at], "--help") == 0;
        if (help) c->args.value[OPT_HELP] = "";
    } else {
        int code = args_read(&c->args, command->name, argc, argv, &at, options, command->stop);
        if (code != CLI_DONE) return code;
    }
    if (c->args.value[OPT_HELP]) return CLI_DONE;
    if (c->args.count < command->min)
        return out_usage(command->name, "%s needs %s", command->name, command->wants);
    if (command->max >= 0 && c->args.count > command->max)
        return out_usage(command->name, "'%s' is one word too many", c->args.words[command->max]);
    return CLI_DONE;
}

static int main_output(const cli_args *a) {
    return out_options(a->value[OPT_COLOR], a->value[OPT_UTC] != NULL,
                       a->value[OPT_NO_PAGER] != NULL);
}

static int main_run(cli *c, int argc, char **argv) {
    int at = 1;
    int code = args_read(&c->args, NULL, argc, argv, &at, OPTS_FRONT, true);
    if (code != CLI_DONE) return code;
    if (c->args.value[OPT_VERSION]) {
        (void)printf("agent-trace %s\n", agt_version());
        return CLI_DONE;
    }
    code = main_output(&c->args);
    if (code != CLI_DONE) return code;
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
    const cli_command *command = command_find(c->command);
    if (!command) return main_unknown(c->command);
    code = main_words(c, command, argc, argv, at);
    if (code == CLI_DONE) code = main_output(&c->args);
    if (code != CLI_DONE) return code;
    if (c->args.value[OPT_HELP]) {
        help_one(command);
        return CLI_DONE;
    }
    /* in front of a command that only looks, --actor cannot say who acts */
    if ((command_options(command) & OPT(BY)) && !c->args.value[OPT_BY])
        c->args.value[OPT_BY] = c->args.value[OPT_ACTOR];
    c->json = c->args.value[OPT_JSON] != NULL;
    c->runs = true;
    return command->run(c);
}

/* Is --json among words that were not read to their end? Behind "--" they are another program's. */
static bool main_asks_json(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

int main(int argc, char **argv) {
    static cli c;
    bool asks = main_asks_json(argc, argv); /* before words move to the front */
    out_init();
    int code = main_run(&c, argc, argv);
    if (c.args.value[OPT_JSON] || (asks && !c.runs)) (void)cli_failure_json(&c, code);
    return out_finish(code);
}
