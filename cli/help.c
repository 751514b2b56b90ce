/* help: the first page, and one of each command, made from what commands.c and args.c know. Lines
 * are broken here, for 80 columns or for a terminal that has fewer. */
#include "cli.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

#define HELP_COLUMNS 80
#define HELP_LEAST   30 /* narrower nothing is broken */
#define HELP_NARROW  60 /* narrower an option's text does not stand beside it */
#define HELP_AT      23 /* where the texts of options begin */

const cli_takes help_common[] = {
    {OPT_DIR, NULL},
    {OPT_ACTOR, "who acts: user, system or agent:NAME; default: AGENT_TRACE_ACTOR, else user; in "
                "front of log, trace and violations it filters"},
    {OPT_JSON,
     "the result as JSON; a failure is an object too: status, message, path, and what else "
     "is known"},
    {OPT_COLOR, NULL},
    {OPT_UTC, NULL},
    {OPT_NO_PAGER, NULL},
    {OPT_HELP, "explain"},
    {OPT_VERSION, NULL},
};
const size_t help_common_count = sizeof help_common / sizeof help_common[0];

static int help_width(void) {
    int columns = out_columns();
    if (!columns || columns > HELP_COLUMNS) return HELP_COLUMNS - 1;
    return columns > HELP_LEAST ? columns - 1 : HELP_LEAST;
}

/* Prints a paragraph word by word; the first line begins at column `at`, the others at `indent`. */
static void help_paragraph(FILE *f, const char *s, size_t n, int at, int indent) {
    int width = help_width();
    bool first = true;
    for (size_t i = 0, len; i < n; i += len) {
        len = s[i] == ' ' || s[i] == '\n' ? 1 : 0;
        if (len) continue;
        while (i + len < n && s[i + len] != ' ' && s[i + len] != '\n')
            len++;
        if (!first && at + 1 + (int)len > width) {
            (void)fprintf(f, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        (void)fprintf(f, "%s%.*s", first ? "" : " ", (int)len, s + i);
        at += (int)len + !first;
        first = false;
    }
    (void)fputc('\n', f);
}

/* Paragraphs with an empty line between them; those that begin with two blanks stay as they are. */
static void help_text(FILE *f, const char *s) {
    while (*s) {
        const char *end = strstr(s, "\n\n");
        size_t n = end ? (size_t)(end - s) : strlen(s);
        if (s[0] == ' ' && s[1] == ' ')
            (void)fprintf(f, "%.*s\n", (int)n, s);
        else
            help_paragraph(f, s, n, 0, 0);
        s += n + (end ? 2 : 0);
        if (*s) (void)fputc('\n', f);
    }
}

/* "-n, --limit N" */
static int help_spelled(const cli_option_spec *spec, char *text, size_t size) {
    char letter[8] = "";
    const char *name = spec->name ? spec->name : "";
    if (spec->letter)
        (void)snprintf(letter, sizeof letter, "-%c%s", spec->letter, spec->name ? ", " : "");
    return snprintf(text, size, "%s%s%s%s%s", letter, spec->name ? "--" : "", name,
                    spec->value ? " " : "", spec->value ? spec->value : "");
}

/* "  -n, --limit N        the newest N"; on a narrow terminal the text has lines of its own. */
static void help_option(FILE *f, cli_option option, const char *text) {
    const cli_option_spec *spec = args_spec(option);
    char left[80];
    int at = 2 + help_spelled(spec, left, sizeof left);
    int indent = help_width() < HELP_NARROW ? 6 : HELP_AT;
    (void)fprintf(f, "  %s", left);
    if (at >= indent) {
        (void)fputc('\n', f);
        at = 0;
    }
    (void)fprintf(f, "%*s", indent - at, "");
    if (!text) text = spec->text;
    help_paragraph(f, text, strlen(text), indent, indent);
}

/* Each line of `lines` behind `before`, with `first` in front of the first and `rest` of others. */
static void help_lines(FILE *f, const char *first, const char *rest, const char *before,
                       const char *lines) {
    const char *s = lines;
    do {
        size_t n = strcspn(s, "\n");
        (void)fprintf(f, "%s%s%s%.*s\n", s == lines ? first : rest, before,
                      before[0] && n ? " " : "", (int)n, s);
        s += n + (s[n] == '\n');
    } while (*s);
}

static void help_options(FILE *f, const cli_command *command) {
    if (command->takes[0].option != OPT_NONE) (void)fputc('\n', f);
    for (const cli_takes *takes = command->takes; takes->option != OPT_NONE; takes++)
        help_option(f, takes->option, takes->text);
}

void help_one(const cli_command *command) {
    FILE *f = stdout;
    char before[64];
    (void)snprintf(before, sizeof before, "agent-trace %s", command->name);
    help_lines(f, "usage: ", "       ", before, command->usage);
    (void)fputc('\n', f);
    help_text(f, command->text);
    help_options(f, command);
    if (command->exits) {
        (void)fputs("\nexit codes: ", f);
        help_paragraph(f, command->exits, strlen(command->exits), 12, 2);
    }
    (void)fprintf(f, "\nexample%s:\n", strchr(command->examples, '\n') ? "s" : "");
    help_lines(f, "  ", "  ", "", command->examples);
    if (command->raw) return;
    (void)fputc('\n', f);
    help_text(f, "-C, --color, --no-pager and --utc go with every command: 'agent-trace help'");
}

static void help_first(FILE *f) {
    help_text(f, "agent-trace: " HELP_WHAT);
    (void)fputs("\nusage: agent-trace [options] COMMAND [ARGS]\n", f);
    const char *group = "";
    const cli_command *command;
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (strcmp(group, command->group) != 0) (void)fprintf(f, "\n%s\n", command->group);
        group = command->group;
        (void)fprintf(f, "  %-11s ", command->name);
        help_paragraph(f, command->line, strlen(command->line), 14, 14);
    }
}

void help_all(bool to_stderr) {
    FILE *f = to_stderr ? stderr : stdout;
    help_first(f);
    (void)fputs("\noptions, before COMMAND or behind it\n", f);
    for (size_t i = 0; i < help_common_count; i++)
        help_option(f, help_common[i].option, help_common[i].text);
    (void)fputc('\n', f);
    help_text(f, "exit codes: 0 done, 1 error, 2 wrong use, 3 denied or needs confirmation, 4 not "
                 "found, 5 busy or conflict\n"
                 "\n"
                 "'agent-trace help COMMAND' explains a command, with an example");
}

void help_names(void) {
    const cli_command *command;
    for (size_t i = 0; (command = command_at(i)); i++)
        (void)puts(command->name);
}
