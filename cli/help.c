/* help: what each command does, with an example. Defaults come from cli.h. */
#include "cli.h"

#include "output.h"

#include <string.h>

typedef struct help_page {
    const char *name, *line, *text;
} help_page;

#define HELP_CALLER                                                                                \
    "  --actor WHO          user, system or agent:NAME; default: AGENT_TRACE_ACTOR, else user\n"   \
    "  --session ID         the session it belongs to\n"

#define HELP_CHANGE                                                                                \
    HELP_CALLER                                                                                    \
    "  --summary TEXT       one line that goes into the history\n"                                 \
    "  --expect VERSION     only if this is the current version; 0: only if there is none\n"       \
    "  -y, --yes            yes to what would be asked\n"                                          \
    "  --durability LEVEL   full (default): survives power loss; process: survives a crash\n"      \
    "  --publish WHEN       close, idle or manual: when git gets to see it; default:\n"            \
    "                       AGENT_TRACE_PUBLISH, else close\n"                                     \
    "  --json               print the result as JSON\n"

#define HELP_FILTERS                                                                               \
    "  --actor WHO          user, system, agent (any of them) or agent:NAME\n"                     \
    "  --type TYPE          plan, context, log, reference or scratch\n"                            \
    "  --action ACTION      create, modify, delete, restore, violation, ...\n"                     \
    "  --session ID         of one session\n"                                                      \
    "  --since TIME         30m, 2h, 3d, 1w, 2026-11-24 or 2026-11-24T01:54:45Z\n"

static const help_page help_pages[] = {
    {"init", "make a store in a folder",
     "usage: agent-trace init [DIR]\n"
     "\n"
     "Makes a store in DIR (default: the current folder): the folder .agent-trace and nothing\n"
     "else, but the folders that are missing on the way. A git repository that is there is left\n"
     "alone. Where there is a store already, nothing happens.\n"
     "\n"
     "  --json               print the result as JSON\n"
     "\n"
     "example:\n"
     "  agent-trace init ~/project\n"},
    {"status", "how the store is",
     "usage: agent-trace status\n"
     "\n"
     "Says where the store is, how much is in it, what git does not have yet, who leads, and\n"
     "which files were edited outside agent-trace.\n"
     "\n"
     "  --json               the same as JSON\n"
     "\n"
     "example:\n"
     "  agent-trace -C ~/project status\n"},
    {"write", "write a document",
     "usage: agent-trace write PATH [--content TEXT | --file FILE] [options]\n"
     "\n"
     "Writes a document from TEXT, from FILE or from stdin, as a new version. The same bytes\n"
     "again make none. An edit that is found in the file is recorded first and never lost.\n"
     "Whoever may not write is refused, and the refusal is recorded.\n"
     "\n"
     "  --content TEXT       the document is TEXT\n"
     "  --file FILE          the document is what FILE holds; -: stdin (default)\n"
     "  --type TYPE          of a new document: plan, context, log, reference, scratch "
     "(default)\n" HELP_CHANGE "\n"
     "examples:\n"
     "  agent-trace write notes.md --content 'remember the milk'\n"
     "  make report | agent-trace --actor agent:claude write docs/report.md --type plan\n"},
    {"rm", "delete a document",
     "usage: agent-trace rm PATH [options]\n"
     "\n"
     "Deletes a document. Its versions stay: log names them, show prints them, restore brings\n"
     "one back.\n"
     "\n" HELP_CHANGE "\n"
     "example:\n"
     "  agent-trace rm docs/draft.md --summary 'merged into plan.md'\n"},
    {"restore", "bring an earlier version back",
     "usage: agent-trace restore PATH VERSION [options]\n"
     "\n"
     "Writes the bytes of VERSION as a new version, of a deleted document too. Nothing of "
     "what\n"
     "came since is lost.\n"
     "\n" HELP_CHANGE "\n"
     "example:\n"
     "  agent-trace restore docs/plan.md 3\n"},
    {"show", "print a document, or one of its versions",
     "usage: agent-trace show PATH [VERSION] [--disk]\n"
     "\n"
     "Prints the bytes of a version, unchanged; without VERSION those of the newest one.\n"
     "\n"
     "  --disk               the file as it is, with edits that no version has yet\n"
     "  --json               content and what is known about the document, as JSON; content "
     "that\n"
     "                       is no text is in base64\n"
     "\n"
     "example:\n"
     "  agent-trace show docs/plan.md 3 > plan-3.md\n"},
    {"ls", "list documents",
     "usage: agent-trace ls [PATH] [options]\n"
     "\n"
     "Lists the documents, or those in a folder: type, version, time of the last change "
     "(UTC),\n"
     "size and path, and whether somebody edited the file outside agent-trace.\n"
     "\n"
     "  --type TYPE          only plan, context, log, reference or scratch\n"
     "  --deleted            deleted documents too\n"
     "  --json               an array of documents\n"
     "\n"
     "example:\n"
     "  agent-trace ls docs --type plan\n"},
    {"log", "who changed what, newest first",
     "usage: agent-trace log [PATH] [options]\n"
     "\n"
     "Lists the changes of the store, of one document or of what is in a folder, newest first:\n"
     "time (UTC), who, what, version, lines added and removed, path. Refused writes are listed\n"
     "too. On a terminal times are brief and long paths are cut in the middle.\n"
     "\n" HELP_FILTERS "  -n, --limit N        the newest N (default " CLI_QUOTE(
         CLI_LOG_LIMIT) "; 0: all)\n"
                        "  -f, --follow         the newest last, then wait for more; ends with "
                        "Ctrl-C\n"
                        "  --json               an array of events\n"
                        "\n"
                        "example:\n"
                        "  agent-trace log docs/plan.md --actor agent --since 2d\n"},
    {"diff", "compare two versions, or a version and the file",
     "usage: agent-trace diff PATH [FROM] [TO]\n"
     "\n"
     "Prints a patch from version FROM to version TO. Without TO it compares with the file on\n"
     "disk, without FROM from the newest version: what was edited outside. Prints nothing "
     "where\n"
     "both are equal.\n"
     "\n"
     "  --json               path, from, to (null: the file), encoding and patch, as JSON\n"
     "\n"
     "examples:\n"
     "  agent-trace diff docs/plan.md\n"
     "  agent-trace diff docs/plan.md 2 5\n"},
    {"trace", "print the events as JSON Lines",
     "usage: agent-trace trace [options]\n"
     "\n"
     "Prints the lines of the trace as they are, oldest first.\n"
     "\n"
     "  --path PATH          of one document; a filter like the others: where there is no such\n"
     "                       document nothing is printed, and the exit code is 0\n" HELP_FILTERS
     "  --seq N              from this event on\n"
     "  -n, --limit N        the newest N; with --seq the first N from there on\n"
     "  -f, --follow         then wait for new ones; ends with Ctrl-C or when the reader goes\n"
     "\n"
     "examples:\n"
     "  agent-trace trace --action violation\n"
     "  agent-trace trace --follow --since now | jq .path\n"},
    {"git", "run git on the store's repository",
     "usage: agent-trace git ARGS\n"
     "\n"
     "Publishes what is pending, then runs git on the repository in .agent-trace/git. On a store\n"
     "that may only be read nothing is published.\n"
     "\n"
     "example:\n"
     "  agent-trace git log --oneline -- docs/plan.md\n"},
    {"import", "take in a stream of changes",
     "usage: agent-trace import FILE [options]\n"
     "\n"
     "Makes every change of FILE (-: stdin; a name that ends in .gz is unpacked), one JSON\n"
     "object a line, in their order, each with its own permission check, record and commit:\n"
     "\n"
     "  {\"actor\": \"agent:claude\", \"action\": \"modify\", \"path\": \"docs/plan.md\",\n"
     "   \"content\": \"...\", \"type\": \"plan\", \"ts\": 1733179244, \"session\": \"s1\"}\n"
     "\n"
     "action is create, modify or delete; type, ts (unix seconds or RFC 3339) and session may "
     "be\n"
     "missing; other members are ignored. A line that fails stops nothing else. Lines are\n"
     "counted from 1, bytes in them from 0. Ctrl-C ends it behind the changes at hand, with the\n"
     "summary; the exit code is 1 then.\n"
     "\n"
     "  --actor WHO          who acts where a line does not say\n"
     "  --batch N            N changes share one sync (default " CLI_QUOTE(
         CLI_BATCH) ")\n"
                    "  --ack                print each line's number once its change is safe\n"
                    "  --strict             stop at the first line that fails; one change at a "
                    "time\n"
                    "  -y, --yes            yes to what would be asked\n"
                    "  --durability LEVEL   full (default) or process\n"
                    "  --publish WHEN       close, idle or manual; default: "
                    "AGENT_TRACE_PUBLISH, else close\n"
                    "  --json               the summary as JSON\n"
                    "\n"
                    "exit code: 0 everything was made, 3 some changes were denied, 1 some "
                    "failed\n"
                    "\n"
                    "example:\n"
                    "  agent-trace import history.jsonl.gz\n"},
    {"lock", "the poll lock: one leader among all processes",
     "usage: agent-trace lock status\n"
     "       agent-trace lock try\n"
     "       agent-trace lock hold [--timeout SECONDS] [--] COMMAND [ARGS]\n"
     "\n"
     "The lock is that of the store around the current folder; the library's needs no store.\n"
     "status says who holds the lock. try answers whether it can be had: exit code 0 or 5. "
     "hold\n"
     "waits for it, runs COMMAND while holding it and exits as COMMAND does; 5 if somebody "
     "else\n"
     "keeps it. The lock is free again when COMMAND ends, however it ends. If agent-trace is\n"
     "killed before that, the lock stays with COMMAND, and with what COMMAND has started, for\n"
     "as long as they live; status then still names the process of agent-trace.\n"
     "\n"
     "  --timeout SECONDS    how long hold waits (default " CLI_QUOTE(
         CLI_LOCK_WAIT_S) "; 0: one try)\n"
                          "  --json               print who holds it as JSON\n"
                          "\n"
                          "example:\n"
                          "  agent-trace lock hold --timeout 0 -- ./poll-changes\n"},
};
#define HELP_PAGES (sizeof help_pages / sizeof help_pages[0])

static void help_group(FILE *f, const char *title, size_t from, size_t to) {
    (void)fprintf(f, "\n%s\n", title);
    for (size_t i = from; i < to; i++)
        (void)fprintf(f, "  %-9s %s\n", help_pages[i].name, help_pages[i].line);
}

void help_all(bool to_stderr) {
    FILE *f = to_stderr ? stderr : stdout;
    (void)fputs(
        "agent-trace: documents with versions, write permissions and a trace of every change\n"
        "\n"
        "usage: agent-trace [-C DIR] [--actor WHO] [--json] COMMAND [ARGS]\n",
        f);
    help_group(f, "store", 0, 2);
    help_group(f, "documents", 2, 7);
    help_group(f, "history", 7, 11);
    help_group(f, "more", 11, HELP_PAGES);
    (void)fputs(
        "\n"
        "-C DIR runs in DIR; the store is the one around the current folder. Who acts is\n"
        "--actor, else AGENT_TRACE_ACTOR, else the user; in front of log and trace it filters.\n"
        "With --json a failure is an object too: status, message, path, and what else is known.\n"
        "exit codes: 0 done, 1 error, 2 wrong use, 3 denied or needs confirmation,\n"
        "4 not found, 5 busy or conflict\n"
        "'agent-trace help COMMAND' explains a command, with an example\n",
        f);
}

bool help_one(const char *command) {
    for (size_t i = 0; i < HELP_PAGES; i++) {
        if (strcmp(help_pages[i].name, command) != 0) continue;
        (void)fputs(help_pages[i].text, stdout);
        return true;
    }
    return false;
}
