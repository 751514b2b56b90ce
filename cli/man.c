/* man: the manual pages, from the same descriptions as the help: agent-trace(1) and one page for
 * each command. `agent-trace help --man [COMMAND]` prints them; the build keeps them in
 * build/share.
 */
#include "cli.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

#define MAN_COLUMNS 64 /* of a line of prose, escapes not counted */

/* ---- roff ---- */

/* A text with what roff would take for its own escaped; `first`: it begins a line. */
static void man_text(const char *s, size_t n, bool first) {
    for (size_t i = 0; i < n; first = s[i] == '\n', i++) {
        if (first && (s[i] == '.' || s[i] == '\'')) (void)fputs("\\&", stdout);
        switch (s[i]) {
        case '\\': (void)fputs("\\e", stdout); break;
        case '-': (void)fputs("\\-", stdout); break;
        case '\'': (void)fputs("\\(aq", stdout); break;
        case '`': (void)fputs("\\(ga", stdout); break;
        case '^': (void)fputs("\\(ha", stdout); break;
        case '~': (void)fputs("\\(ti", stdout); break;
        default: (void)putchar(s[i]);
        }
    }
}

/* Prose: lines are broken between words, as whoever reads the source likes them. */
static void man_prose(const char *s, size_t n) {
    size_t from = 0, at = 0;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && s[i] != ' ' && s[i] != '\n') continue;
        bool fresh = at == 0 || at + (i - from) > MAN_COLUMNS;
        if (at) (void)putchar(fresh ? '\n' : ' ');
        man_text(s + from, i - from, fresh);
        at = (fresh ? 0 : at) + (i - from) + 1;
        from = i + 1;
    }
    (void)putchar('\n');
}

static void man_line(const char *s) {
    man_prose(s, strlen(s));
}

static void man_in(char font, const char *s) {
    (void)printf("\\f%c", font);
    man_text(s, strlen(s), false);
    (void)fputs("\\fR", stdout);
}

static void man_head(const char *title) {
    (void)printf(".SH %s\n", title);
}

/* Paragraphs as help.c has them; `more`: something stands above in this section. */
static void man_paragraphs(const char *s, bool more) {
    while (*s) {
        const char *end = strstr(s, "\n\n");
        size_t n = end ? (size_t)(end - s) : strlen(s);
        bool as_it_is = s[0] == ' ' && s[1] == ' ';
        if (more) (void)puts(".PP");
        if (as_it_is) (void)puts(".nf");
        if (as_it_is) {
            man_text(s, n, true);
            (void)puts("\n.fi");
        } else {
            man_prose(s, n);
        }
        s += n + (end ? 2 : 0);
        more = true;
    }
}

/* ---- the parts of a page ---- */

static void man_begin(const char *command, const char *what) {
    char name[64];
    (void)snprintf(name, sizeof name, "agent-trace%s%s", command ? "-" : "",
                   command ? command : "");
    (void)fputs(".TH ", stdout);
    for (const char *p = name; *p; p++) {
        if (*p == '-')
            (void)fputs("\\-", stdout);
        else
            (void)putchar(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    }
    (void)printf(" 1 \"\" \"agent\\-trace %s\" \"agent\\-trace\"\n", agt_version());
    man_head("NAME");
    man_text(name, strlen(name), true);
    (void)fputs(" \\- ", stdout); /* all on one line: whatis reads it */
    man_text(what, strlen(what), false);
    (void)putchar('\n');
}

static void man_synopsis(const char *command, const char *usage) {
    const char *s = usage;
    man_head("SYNOPSIS");
    do {
        size_t n = strcspn(s, "\n");
        if (s != usage) (void)puts(".br");
        (void)fputs("\\fBagent\\-trace", stdout);
        if (command) (void)putchar(' ');
        if (command) man_text(command, strlen(command), false);
        (void)printf("\\fR%s", n ? " " : "");
        man_text(s, n, false);
        (void)putchar('\n');
        s += n + (s[n] == '\n');
    } while (*s);
}

static void man_option(const cli_takes *takes) {
    const cli_option_spec *spec = args_spec(takes->option);
    char spelled[64];
    (void)puts(".TP");
    (void)snprintf(spelled, sizeof spelled, "-%c", spec->letter);
    if (spec->letter) man_in('B', spelled);
    if (spec->letter && spec->name) (void)fputs(", ", stdout);
    (void)snprintf(spelled, sizeof spelled, "--%s", spec->name ? spec->name : "");
    if (spec->name) man_in('B', spelled);
    if (spec->value) (void)putchar(' ');
    if (spec->value) man_in('I', spec->value);
    (void)putchar('\n');
    man_line(takes->text ? takes->text : spec->text);
}

static void man_codes(const char *more) {
    static const char *const codes[][2] = {{"0", "done"},
                                           {"1", "an error"},
                                           {"2", "wrong use"},
                                           {"3", "denied, or it needs confirmation"},
                                           {"4", "not found: a store, document or version"},
                                           {"5", "busy, or a conflict"}};
    man_head("EXIT STATUS");
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        (void)printf(".TP\n\\fB%s\\fR\n", codes[i][0]);
        man_line(codes[i][1]);
    }
    if (more) man_paragraphs(more, true);
}

/* What is heard from the environment, and by whom: by all that take the option, or that page. */
static const struct {
    const char *name, *text;
    uint64_t options; /* 0: everybody */
    bool pages;
} man_variables[] = {
    {"AGENT_TRACE_ACTOR",
     "who acts where --actor does not say: user, system or agent:NAME. Where it names an agent, "
     "acting "
     "as the user or the system needs a terminal on stdin",
     OPT(ACTOR), false},
    {"AGENT_TRACE_PUBLISH", "as --publish", OPT(PUBLISH), false},
    {"AGENT_TRACE_PAGER",
     "the pager on a terminal, a command line for sh; else PAGER, else less. Empty or cat: none", 0,
     true},
    {"PAGER", "see AGENT_TRACE_PAGER", 0, true},
    {"LESS", "for less; FRX where it is not set", 0, true},
    {"NO_COLOR", "where it is not empty there is no colour", 0, false},
    {"TERM", "where it is not set or dumb there is no colour and no less", 0, false},
    {"COLUMNS", "the width of a terminal that does not tell it", 0, false},
    {"TZ", "the time zone of what a terminal is shown", 0, false},
};

static void man_environment(uint64_t options, bool pages) {
    man_head("ENVIRONMENT");
    for (size_t i = 0; i < sizeof man_variables / sizeof man_variables[0]; i++) {
        if (man_variables[i].options && !(man_variables[i].options & options)) continue;
        if (man_variables[i].pages && !pages) continue;
        (void)puts(".TP");
        man_in('B', man_variables[i].name);
        (void)putchar('\n');
        man_line(man_variables[i].text);
    }
}

static void man_examples(const char *s) {
    man_head("EXAMPLES");
    (void)puts(".nf");
    man_text(s, strlen(s), true);
    (void)puts("\n.fi");
}

static void man_see_one(const char *name, size_t n, bool last) {
    (void)fputs("\\fBagent\\-trace", stdout);
    if (n) (void)fputs("\\-", stdout);
    man_text(name, n, false);
    (void)printf("\\fR(1)%s\n", last ? "" : ",");
}

/* ---- the pages ---- */

void man_command(const cli_command *command) {
    man_begin(command->name, command->line);
    man_synopsis(command->name, command->usage);
    man_head("DESCRIPTION");
    man_paragraphs(command->text, false);
    man_head("OPTIONS");
    for (const cli_takes *takes = command->takes; takes->option != OPT_NONE; takes++)
        man_option(takes);
    for (size_t i = 0; i < help_common_count; i++)
        if (OPTS_ALWAYS >> help_common[i].option & 1) man_option(&help_common[i]);
    if (command->raw)
        man_paragraphs("These stand in front of the command: what is behind it goes to "
                       "the other program.",
                       true);
    man_codes(command->exits);
    man_environment(command_options(command), command->pages);
    man_examples(command->examples);
    man_head("SEE ALSO");
    man_see_one("", 0, !command->see);
    for (const char *s = command->see ? command->see : ""; *s;) {
        size_t n = strcspn(s, " ");
        man_see_one(s, n, !s[n]);
        s += n + (s[n] == ' ');
    }
}

static void man_commands(void) {
    const cli_command *command;
    const char *group = "";
    for (size_t i = 0; (command = command_at(i)); i++) {
        if (strcmp(group, command->group) != 0) (void)printf(".SS %s\n", command->group);
        group = command->group;
        (void)puts(".TP");
        man_see_one(command->name, strlen(command->name), true);
        man_line(command->line);
    }
}

void man_all(void) {
    const cli_command *command;
    man_begin(NULL, HELP_WHAT);
    man_synopsis(NULL, "[options] COMMAND [ARGS]\nhelp [COMMAND]");
    man_head("DESCRIPTION");
    man_paragraphs(HELP_ABOUT, false);
    man_commands();
    man_head("OPTIONS");
    for (size_t i = 0; i < help_common_count; i++)
        man_option(&help_common[i]);
    man_codes(NULL);
    man_environment(~UINT64_C(0), true);
    man_examples("agent-trace init\n"
                 "agent-trace write notes.md --content 'remember the milk'\n"
                 "agent-trace log");
    man_head("SEE ALSO");
    for (size_t i = 0; (command = command_at(i)); i++)
        man_see_one(command->name, strlen(command->name), false);
    (void)puts("\\fBgit\\fR(1), \\fBless\\fR(1)");
}
