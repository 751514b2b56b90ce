/* commands_manage: add, untrack, reclassify and unlock: what changes no document's bytes. */
#include "change.h"
#include "cli.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

static int command_add(cli *c) {
    change ch = change_new(CHANGE_ADD);
    int code = CLI_DONE;
    if (c->args.count > 1) code = cli_type_word(c, c->args.words[0], &ch.type);
    ch.given = c->args.words[c->args.count - 1];
    return code == CLI_DONE ? change_run(c, &ch) : code;
}

static int command_untrack(cli *c) {
    change ch = change_new(CHANGE_UNTRACK);
    return change_run(c, &ch);
}

static int command_reclassify(cli *c) {
    change ch = change_new(CHANGE_RECLASSIFY);
    int code = cli_type_word(c, c->args.words[1], &ch.type);
    if (code == CLI_DONE) code = change_run(c, &ch);
    if (code == CLI_DONE && !ch.result.unchanged &&
        (ch.type == AGT_TYPE_CONTEXT || ch.type == AGT_TYPE_LOG))
        out_note("%s documents are the system's: you are asked at each write of it, agents are "
                 "refused",
                 agt_type_name(ch.type));
    return code;
}

/* ---- unlock ---- */

/* Minutes, or a number with s, m, h or d behind it. */
static int unlock_duration(const cli *c, int64_t *out_ms) {
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{0, 60000}, {'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    const char *s = c->args.value[OPT_DURATION];
    *out_ms = CLI_UNLOCK_MIN * 60000;
    if (!s) return CLI_DONE;
    int64_t n = 0;
    size_t at = 0;
    for (; s[at] >= '0' && s[at] <= '9' && n < 1000000; at++)
        n = n * 10 + (s[at] - '0');
    for (size_t i = 0; at && n && s[at + (s[at] != 0)] == 0 && i < sizeof units / sizeof *units;
         i++)
        if (units[i].unit == s[at] && n <= AGT_MAX_GRANT_MS / units[i].ms) {
            *out_ms = n * units[i].ms;
            return CLI_DONE;
        }
    return out_fail(CLI_USAGE,
                    "--duration '%s' is no time up to seven days; use minutes, or 90s, "
                    "2h, 3d",
                    s);
}

static int command_unlock(cli *c) {
    bool revoke = c->args.value[OPT_REVOKE] != NULL;
    change ch = change_new(revoke ? CHANGE_REVOKE : CHANGE_UNLOCK);
    ch.grant = c->args.value[OPT_FOR];
    if (!ch.grant) return out_usage(c->command, "say for whom, as in --for agent:claude");
    if (revoke && c->args.value[OPT_DURATION])
        return out_usage(c->command, "--revoke ends a grant now; leave --duration out");
    int code = unlock_duration(c, &ch.duration_ms);
    return code == CLI_DONE ? change_run(c, &ch) : code;
}

/* ---- what they are ---- */

const cli_command cli_add = {
    .name = "add",
    .run = command_add,
    .group = "documents",
    .line = "take a file that is there among the documents",
    .usage = "[TYPE] PATH [options]",
    .text =
        "Takes a file that lies in the folder among the documents, as it is, with the type plan, "
        "context, log, reference or scratch; without a TYPE scratch, or what it was before it was "
        "deleted or untracked. Whoever may not write documents of that type may not add one.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace add reference docs/api.md",
    .see = "write untrack reclassify",
    .min = 1,
    .max = 2,
    .wants = "a PATH",
    .offers = {OFFER_TYPES, OFFER_FILE},
};

const cli_command cli_untrack = {
    .name = "untrack",
    .run = command_untrack,
    .group = "permissions",
    .line = "end that a file is a document; the file stays",
    .usage = "PATH [options]",
    .text =
        "The file stays where it is and is watched no more. Its versions stay too: log names them, "
        "restore brings one back. Its type stays known: whoever might not write it may not do so "
        "through the store afterwards.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace untrack docs/api.md",
    .see = "add rm",
    .min = 1,
    .max = 1,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT},
};

const cli_command cli_reclassify = {
    .name = "reclassify",
    .run = command_reclassify,
    .group = "permissions",
    .line = "give a document another type",
    .usage = "PATH TYPE [options]",
    .text =
        "The type says who may write a document: plan (user and agents), context and log (the "
        "system; the user is asked), reference (the user), scratch (everybody). Whoever may not "
        "write documents of both types may not do it.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace reclassify docs/api.md reference",
    .see = "unlock info",
    .min = 2,
    .max = 2,
    .wants = "a PATH and a TYPE",
    .offers = {OFFER_DOCUMENT, OFFER_TYPES},
};

const cli_command cli_unlock = {
    .name = "unlock",
    .run = command_unlock,
    .group = "permissions",
    .line = "let somebody write a document for a time",
    .usage = "PATH --for ACTOR [--duration TIME|--revoke] [options]",
    .text =
        "For a time, ACTOR may write one document, whatever its type; not rename or untrack it, "
        "nor "
        "give it another type. It follows the document to another path. Only the user may do this.",
    .takes = {{OPT_FOR, NULL}, {OPT_DURATION, NULL}, {OPT_REVOKE, NULL}, TAKES_CHANGE},
    .examples = "agent-trace unlock docs/api.md --for agent:claude --duration 30\n"
                "agent-trace unlock docs/api.md --for agent:claude --revoke",
    .see = "reclassify info violations",
    .min = 1,
    .max = 1,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT},
};
