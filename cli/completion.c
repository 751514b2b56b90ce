/* completion: scripts for bash, zsh and fish that complete commands, options, what their values can
 * be, and the documents of the store, made from the same descriptions as the help.
 *
 * Names of documents are data: no script evaluates one. They are asked of `agent-trace ls`, which
 * gets the -C that stands on the line. */
#include "cli.h"

#include "output.h"

#include <stdio.h>
#include <string.h>

/* Between single quotes, for any of the three shells. */
static void completion_quote(const char *s, const char *end) {
    (void)putchar('\'');
    for (; *s; s++) {
        if (*s == '\'')
            (void)fputs(end, stdout);
        else
            (void)putchar(*s);
    }
    (void)putchar('\'');
}

/* Calls `each` for every option of the command, the common ones too, once. */
typedef void completion_option(const cli_command *command, const cli_takes *takes);

static void completion_options(const cli_command *command, completion_option *each) {
    const cli_takes *takes = command->takes;
    for (; takes->option != OPT_NONE; takes++)
        each(command, takes);
    for (size_t i = 0; !command->raw && i < help_common_count; i++)
        if (OPTS_ALWAYS >> help_common[i].option & 1) each(command, &help_common[i]);
}

static const char *completion_text(const cli_takes *takes) {
    return takes->text ? takes->text : args_spec(takes->option)->text;
}

/* Special offers begin with '@'; the rest are words. */
static bool completion_is(const char *offer, const char *what) {
    return offer && strcmp(offer, what) == 0;
}
static bool completion_is_words(const char *offer) {
    return offer && offer[0] != '@';
}
static bool completion_is_documents(const char *offer) {
    return completion_is(offer, OFFER_DOCUMENT) || completion_is(offer, OFFER_PLACE);
}

static const char *completion_offer(const cli_command *command, size_t word) {
    size_t most = sizeof command->offers / sizeof command->offers[0];
    if (command->max >= 0 && word >= (size_t)command->max) return NULL;
    while (command->max < 0 && word > 0 && (word >= most || !command->offers[word]))
        word--;
    return word < most ? command->offers[word] : NULL;
}

/* How many words are told apart. */
static size_t completion_words(const cli_command *command) {
    size_t most = sizeof command->offers / sizeof command->offers[0];
    return command->max >= 0 && (size_t)command->max < most ? (size_t)command->max : most;
}

/* Which options take a value, for whoever counts words. */
static void completion_with_values(const char *between) {
    uint64_t all = OPTS_FRONT;
    const char *bar = "";
    const cli_command *command;
    for (size_t i = 0; (command = command_at(i)); i++)
        all |= command_options(command);
    for (int option = OPT_NONE + 1; option < OPT_COUNT; option++) {
        const cli_option_spec *spec = args_spec((cli_option)option);
        bool counts = (all >> option & 1) && spec->value && option != OPT_BY; /* as OPT_ACTOR */
        if (counts && spec->letter) (void)printf("%s-%c", bar, spec->letter);
        if (counts && spec->letter) bar = between;
        if (counts && spec->name) (void)printf("%s--%s", bar, spec->name);
        if (counts) bar = between;
    }
}

/* ---- bash ---- */

static void bash_spelled(const cli_option_spec *spec) {
    if (spec->letter) (void)printf(" -%c", spec->letter);
    if (spec->name) (void)printf(" --%s", spec->name);
}

static void bash_name(const cli_command *command, const cli_takes *takes) {
    (void)command;
    bash_spelled(args_spec(takes->option));
}

/* What to offer: a call of one of the script's own functions. */
static void bash_offer(const char *offer) {
    if (completion_is_words(offer))
        (void)printf("_agent_trace_words '%s'", offer);
    else if (completion_is_documents(offer))
        (void)printf("_agent_trace_documents");
    else if (completion_is(offer, OFFER_FOLDER))
        (void)printf("_agent_trace_files -d");
    else if (completion_is(offer, OFFER_FILE))
        (void)printf("_agent_trace_files -f");
    else if (completion_is(offer, OFFER_COMMAND))
        (void)printf("_agent_trace_words \"$commands\"");
    else
        (void)printf(":");
}

static void bash_value(const cli_command *command, const cli_takes *takes) {
    const cli_option_spec *spec = args_spec(takes->option);
    if (!spec->value) return;
    (void)printf("    %s:", command->name);
    if (spec->letter) (void)printf("-%c", spec->letter);
    if (spec->letter && spec->name) (void)printf(" | %s:", command->name);
    if (spec->name) (void)printf("--%s", spec->name);
    (void)printf(") ");
    bash_offer(spec->offer);
    (void)printf(" ;;\n");
}

static const char bash_begin[] =
    "# bash completion of agent-trace; 'agent-trace completion bash' prints it\n"
    "\n"
    "_agent_trace_words() { # WORDS, which are ours\n"
    "    local word\n"
    "    for word in $1; do\n"
    "        [[ $word == \"$cur\"* ]] && COMPREPLY+=(\"$word\")\n"
    "    done\n"
    "}\n"
    "_agent_trace_documents() { # a name is data: it is compared and never expanded\n"
    "    local path plain=${cur//\\\\/}\n"
    "    while IFS= read -r path; do\n"
    "        [[ $path == \"$plain\"* ]] && COMPREPLY+=(\"$path\")\n"
    "    done < <(command agent-trace ${folder:+-C \"$folder\"} ls 2>/dev/null | cut -f 6)\n"
    "    compopt -o filenames 2>/dev/null\n"
    "}\n"
    "_agent_trace_files() {\n"
    "    local file\n"
    "    while IFS= read -r file; do\n"
    "        COMPREPLY+=(\"$file\")\n"
    "    done < <(compgen \"$1\" -- \"$cur\")\n"
    "    compopt -o filenames 2>/dev/null\n"
    "}\n"
    "_agent_trace() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    local command= folder= options= words=0 i\n"
    "    COMPREPLY=()\n"
    "    if [[ $cur == = ]]; then\n"
    "        cur=\n"
    "    elif [[ $prev == = ]]; then\n"
    "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    fi\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        -C) folder=${COMP_WORDS[++i]} ;;\n"
    "        ";

static void bash_print(void) {
    const cli_command *command;
    (void)fputs(bash_begin, stdout);
    completion_with_values(" | ");
    (void)fputs(
        ")\n"
        "            ((i++))\n"
        "            [[ ${COMP_WORDS[i]} == = ]] && ((i++))\n"
        "            ;;\n"
        "        -*) ;;\n"
        "        *) if [[ $command ]]; then ((words++)); else command=${COMP_WORDS[i]}; fi ;;\n"
        "        esac\n"
        "    done\n"
        "    local commands='help",
        stdout);
    for (size_t i = 0; (command = command_at(i)); i++)
        (void)printf(" %s", command->name);
    (void)fputs("'\n"
                "    case $command in\n"
                "    '') options='",
                stdout);
    for (size_t i = 0; i < help_common_count; i++)
        bash_spelled(args_spec(help_common[i].option));
    (void)fputs("' ;;\n", stdout);
    for (size_t i = 0; (command = command_at(i)); i++) {
        (void)printf("    %s) options='", command->name);
        completion_options(command, bash_name);
        (void)fputs("' ;;\n", stdout);
    }
    (void)fputs("    esac\n"
                "    case $command:$prev in\n",
                stdout);
    for (size_t i = 0; (command = command_at(i)); i++)
        completion_options(command, bash_value);
    (void)fputs("    :-C) _agent_trace_files -d ;;\n"
                "    :--color) _agent_trace_words 'auto always never' ;;\n"
                "    :--actor) _agent_trace_words 'user system agent:' ;;\n"
                "    *) _agent_trace_word ;;\n"
                "    esac\n"
                "}\n"
                "_agent_trace_word() {\n"
                "    if [[ $cur == -* ]]; then\n"
                "        _agent_trace_words \"$options\"\n"
                "        return\n"
                "    fi\n"
                "    case $command:$words in\n"
                "    :*) _agent_trace_words \"$commands\" ;;\n"
                "    help:0) _agent_trace_words \"$commands\" ;;\n",
                stdout);
    for (size_t i = 0; (command = command_at(i)); i++)
        for (size_t word = 0; word < completion_words(command); word++) {
            const char *offer = completion_offer(command, word);
            bool rest = command->max < 0 && word + 1 == completion_words(command);
            if (!offer) continue;
            (void)(rest ? printf("    %s:*) ", command->name)
                        : printf("    %s:%zu) ", command->name, word));
            bash_offer(offer);
            (void)puts(" ;;");
        }
    (void)fputs("    esac\n"
                "}\n"
                "complete -F _agent_trace agent-trace\n",
                stdout);
}

/* ---- zsh ---- */

/* In a specification of _arguments: [ ] and : have a meaning. */
static void zsh_text(const char *s) {
    for (; *s; s++) {
        if (*s == '\'')
            (void)fputs("'\\''", stdout);
        else if (strchr("[]:\\", *s))
            (void)printf("\\%c", *s);
        else
            (void)putchar(*s);
    }
}

static void zsh_offer(const char *offer) {
    if (completion_is_words(offer))
        (void)printf("(%s)", offer);
    else if (completion_is_documents(offer))
        (void)printf("_agent_trace_documents");
    else if (completion_is(offer, OFFER_FOLDER))
        (void)printf("_files -/");
    else if (completion_is(offer, OFFER_FILE))
        (void)printf("_files");
    else if (completion_is(offer, OFFER_COMMAND))
        (void)printf("_agent_trace_commands");
    else
        (void)printf(" ");
}

/* "'(-n --limit)'{-n+,--limit=}'[text]:N: '" */
static void zsh_option(const cli_command *command, const cli_takes *takes) {
    const cli_option_spec *spec = args_spec(takes->option);
    (void)command;
    (void)printf(" \\\n            ");
    if (spec->letter && spec->name)
        (void)printf("'(-%c --%s)'{-%c%s,--%s%s}'", spec->letter, spec->name, spec->letter,
                     spec->value ? "+" : "", spec->name, spec->value ? "=" : "");
    else if (spec->letter)
        (void)printf("'-%c%s", spec->letter, spec->value ? "+" : "");
    else
        (void)printf("'--%s%s", spec->name, spec->value ? "=" : "");
    (void)putchar('[');
    zsh_text(completion_text(takes));
    (void)putchar(']');
    if (spec->value) {
        (void)printf(":%s:", spec->value);
        zsh_offer(spec->offer);
    }
    (void)putchar('\'');
}

static void zsh_command(const cli_command *command) {
    (void)printf("        %s)\n", command->name);
    if (command->raw) {
        (void)printf("            _normal\n            ;;\n");
        return;
    }
    (void)printf("            _arguments -s -S");
    completion_options(command, zsh_option);
    for (size_t word = 0; word < completion_words(command); word++) {
        const char *offer = completion_offer(command, word);
        bool rest = command->max < 0 && word + 1 == completion_words(command);
        if (command->max < 0 && word > 0 && !rest) continue;
        (void)printf(" \\\n            '%s%s:%s:", rest ? "*" : "", rest ? "" : ":", "word");
        zsh_offer(offer);
        (void)putchar('\'');
    }
    (void)printf("\n            ;;\n");
}

static void zsh_print(void) {
    const cli_command *command;
    (void)fputs("#compdef agent-trace\n"
                "# zsh completion of agent-trace; 'agent-trace completion zsh' prints it\n"
                "\n"
                "_agent_trace_documents() {\n"
                "    local -a found in\n"
                "    [[ -n $opt_args[-C] ]] && in=(-C ${(Q)opt_args[-C]})\n"
                "    [[ -n $agent_trace_folder ]] && in=(-C $agent_trace_folder)\n"
                "    found=(${(f)\"$(command agent-trace $in ls 2>/dev/null | cut -f 6)\"})\n"
                "    compadd -f -a found\n"
                "}\n"
                "_agent_trace_commands() {\n"
                "    local -a commands\n"
                "    commands=(\n"
                "        'help:explain a command'\n",
                stdout);
    for (size_t i = 0; (command = command_at(i)); i++) {
        (void)printf("        '%s:", command->name);
        zsh_text(command->line);
        (void)puts("'");
    }
    (void)fputs("    )\n"
                "    _describe command commands\n"
                "}\n"
                "_agent_trace() {\n"
                "    local agent_trace_folder curcontext=$curcontext state line\n"
                "    typeset -A opt_args\n"
                "    _arguments -C -S",
                stdout);
    for (size_t i = 0; i < help_common_count; i++)
        zsh_option(NULL, &help_common[i]);
    (void)fputs(" \\\n            ':command:_agent_trace_commands' '*::word:->word'\n"
                "    [[ $state == word ]] || return\n"
                "    agent_trace_folder=${(Q)opt_args[-C]}\n"
                "    case $words[1] in\n"
                "        help) _agent_trace_commands ;;\n",
                stdout);
    for (size_t i = 0; (command = command_at(i)); i++)
        zsh_command(command);
    (void)fputs("    esac\n"
                "}\n"
                "# in a folder of $fpath it is the body of a function; else it was sourced\n"
                "if [[ $funcstack[1] == _agent-trace ]]; then\n"
                "    _agent_trace \"$@\"\n"
                "else\n"
                "    compdef _agent_trace agent-trace\n"
                "fi\n",
                stdout);
}

/* ---- fish ---- */

static void fish_offer(const char *offer) {
    if (completion_is_words(offer))
        (void)printf(" -a '%s'", offer);
    else if (completion_is_documents(offer))
        (void)printf(" -a '(__agent_trace_documents)'");
    else if (completion_is(offer, OFFER_COMMAND))
        (void)printf(" -a '(__agent_trace_commands)'");
    else if (completion_is(offer, OFFER_FOLDER))
        (void)printf(" -a '(__fish_complete_directories)'");
    else if (completion_is(offer, OFFER_FILE))
        (void)printf(" -F");
}

static void fish_option(const cli_command *command, const cli_takes *takes) {
    const cli_option_spec *spec = args_spec(takes->option);
    (void)printf("complete -c agent-trace -n '%s %s'",
                 command ? "__fish_seen_subcommand_from" : "__agent_trace_needs_command",
                 command ? command->name : "");
    if (spec->letter) (void)printf(" -s %c", spec->letter);
    if (spec->name) (void)printf(" -l %s", spec->name);
    (void)printf(" -d ");
    completion_quote(completion_text(takes), "\\'");
    if (spec->value) (void)printf(" -x");
    if (spec->value) fish_offer(completion_is(spec->offer, OFFER_FILE) ? NULL : spec->offer);
    if (spec->value && completion_is(spec->offer, OFFER_FILE))
        (void)printf(" -a '(__fish_complete_path)'");
    (void)putchar('\n');
}

static void fish_command(const cli_command *command) {
    (void)printf("complete -c agent-trace -n __agent_trace_needs_command -a %s -d ", command->name);
    completion_quote(command->line, "\\'");
    (void)putchar('\n');
    completion_options(command, fish_option);
    for (size_t word = 0; word < completion_words(command); word++) {
        const char *offer = completion_offer(command, word);
        bool rest = command->max < 0 && word + 1 == completion_words(command);
        if (!offer || (command->max < 0 && word > 0 && !rest)) continue;
        (void)printf("complete -c agent-trace -n '__agent_trace_word %s %zu%s'", command->name,
                     command->max < 0 && rest ? (size_t)(word > 1) : word, rest ? " more" : "");
        fish_offer(offer);
        (void)putchar('\n');
    }
}

static void fish_print(void) {
    const cli_command *command;
    (void)fputs("# fish completion of agent-trace; 'agent-trace completion fish' prints it\n"
                "\n"
                "function __agent_trace_words # the command and what stands behind it\n"
                "    set -l words (commandline -opc)\n"
                "    set -e words[1]\n"
                "    set -l skip 0\n"
                "    for word in $words\n"
                "        if test $skip = 1\n"
                "            set skip 0\n"
                "        else if contains -- $word ",
                stdout);
    completion_with_values(" ");
    (void)fputs("\n"
                "            set skip 1\n"
                "        else if not string match -q -- '-*' $word\n"
                "            echo $word\n"
                "        end\n"
                "    end\n"
                "end\n"
                "function __agent_trace_needs_command\n"
                "    test (count (__agent_trace_words)) = 0\n"
                "end\n"
                "function __agent_trace_word # COMMAND N [more]: is it the N-th word behind it?\n"
                "    set -l words (__agent_trace_words)\n"
                "    test \"$words[1]\" = $argv[1]; or return 1\n"
                "    set -l n (math (count $words) - 1)\n"
                "    test $n = $argv[2]; or test \"$argv[3]\" = more -a $n -ge $argv[2]\n"
                "end\n"
                "function __agent_trace_documents\n"
                "    set -l words (commandline -opc)\n"
                "    set -l in\n"
                "    if set -l at (contains -i -- -C $words)\n"
                "        set in -C $words[(math $at + 1)]\n"
                "    end\n"
                "    command agent-trace $in ls 2>/dev/null | cut -f 6\n"
                "end\n"
                "function __agent_trace_commands\n"
                "    command agent-trace help --names\n"
                "end\n"
                "\n"
                "complete -c agent-trace -f\n"
                "complete -c agent-trace -n __agent_trace_needs_command -a help -d 'explain a "
                "command'\n"
                "complete -c agent-trace -n '__agent_trace_word help 0' -a "
                "'(__agent_trace_commands)'\n",
                stdout);
    for (size_t i = 0; i < help_common_count; i++)
        fish_option(NULL, &help_common[i]);
    for (size_t i = 0; (command = command_at(i)); i++)
        fish_command(command);
}

/* ---- the command ---- */

static int command_completion(cli *c) {
    const char *shell = c->args.words[0];
    if (strcmp(shell, "bash") == 0)
        bash_print();
    else if (strcmp(shell, "zsh") == 0)
        zsh_print();
    else if (strcmp(shell, "fish") == 0)
        fish_print();
    else
        return out_usage(c->command, "there is no completion for '%s'; say bash, zsh or fish",
                         shell);
    return CLI_DONE;
}

const cli_command cli_completion = {
    .name = "completion",
    .run = command_completion,
    .group = "more",
    .line = "complete commands and documents in a shell",
    .usage = "bash\nzsh\nfish",
    .text =
        "Prints a script that makes bash, zsh or fish complete commands, options, their values "
        "and the documents of the store. ./build.sh install puts all three where the shells look "
        "for them; elsewhere, source it.",
    .examples = "source <(agent-trace completion bash)\n"
                "agent-trace completion zsh > ~/.zfunc/_agent-trace\n"
                "agent-trace completion fish > ~/.config/fish/completions/agent-trace.fish",
    .min = 1,
    .max = 1,
    .wants = "bash, zsh or fish",
    .offers = {"bash zsh fish"},
};
