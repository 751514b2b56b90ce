/* commands_manage: add, mv, untrack, reclassify and unlock: what changes no document's bytes. */
#include "change.h"
#include "cli.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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

/* ---- mv ---- */

typedef struct move {
    char from[AGT_MAX_PATH * 4], to[AGT_MAX_PATH * 4]; /* relative to the root */
    bool into;                                         /* `to` is a folder that is there */
} move;

static const char *move_leaf(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Appends "/leaf" to what may be the root. False if there is no room. */
static bool move_join(char *folder, size_t size, const char *leaf) {
    size_t n = strlen(folder);
    int m = snprintf(folder + n, size - n, "%s%s", n ? "/" : "", leaf);
    return m >= 0 && (size_t)m < size - n;
}

static int move_target(cli *c, move *m) {
    const char *given = c->args.words[1];
    size_t n = strlen(given);
    struct stat st;
    bool there = stat(given, &st) == 0 && S_ISDIR(st.st_mode);
    m->into = there || (n && given[n - 1] == '/');
    if (!m->into) return cli_document_path(c, given, m->to, sizeof m->to);
    return cli_folder_path(c, given, m->to, sizeof m->to);
}

/* The documents of a folder, as a list of names with a NUL behind each; empty: it is no folder of
 * documents. */
static agt_status move_list(cli *c, const char *folder, char **names, size_t *count,
                            agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    size_t len = 0, cap = 0;
    o.under = folder;
    *names = NULL;
    *count = 0;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    while ((st = agt_list_next(cursor, &d, err)) == AGT_OK) {
        size_t n = strlen(d.path) + 1;
        if (cap - len < n) *names = out_grow(*names, cap = (len + n) * 2);
        memcpy(*names + len, d.path, n);
        len += n;
        ++*count;
    }
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

/* The move of one document of the folder, which keeps its place in it. */
static int move_next(change *ch, const move *m, const char *name) {
    const agt_write_result fresh = AGT_WRITE_RESULT_INIT;
    ch->result = fresh;
    (void)snprintf(ch->path, sizeof ch->path, "%s", name);
    (void)snprintf(ch->to, sizeof ch->to, "%s", m->to);
    if (!move_join(ch->to, sizeof ch->to, name + strlen(m->from) + 1))
        return out_fail(CLI_USAGE, "the new path of %s is too long", name);
    return CLI_DONE;
}

/* May all of them move? Asked before one does, about each and its new path. One that may not is
 * tried, so that the refusal is recorded. Nothing has moved if this is no CLI_DONE. */
static int move_ask(cli *c, change *ch, const move *m, const char *names, size_t count) {
    agt_error err;
    agt_caller plain = ch->caller;
    plain.confirm = 0;
    bool asks = false;
    for (size_t i = 0; i < count; i++, names += strlen(names) + 1) {
        int code = move_next(ch, m, names);
        if (code != CLI_DONE) return code;
        agt_status st = agt_may(c->store, &plain, AGT_ACTION_RENAME, names, AGT_TYPE_DEFAULT, &err);
        agt_status at = agt_permission(plain.actor, AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, ch->to);
        if (st == AGT_DENIED || at == AGT_DENIED) {
            code = change_one(c, ch);
            if (code != CLI_DONE) return code;
            change_report(c, ch);
            return out_fail(CLI_BUSY, "somebody changed who may move %s; try again", names);
        } else if (st == AGT_NEEDS_CONFIRMATION || at == AGT_NEEDS_CONFIRMATION)
            asks = true;
    }
    if (!asks || ch->caller.confirm) return CLI_DONE;
    if (!change_confirmed("context or log documents are in the folder, which the system writes"))
        return out_fail(CLI_DENIED,
                        "context or log documents are in %s, which the system writes; "
                        "nothing was moved, repeat with --yes to do it",
                        m->from);
    ch->caller.confirm = 1;
    return CLI_DONE;
}

/* They are changes of their own: where one fails for want of room or the like, those before it have
 * moved. */
static int move_folder(cli *c, change *ch, const move *m, const char *names, size_t count) {
    int code = move_ask(c, ch, m, names, count);
    for (size_t i = 0; code == CLI_DONE && i < count; i++, names += strlen(names) + 1) {
        code = move_next(ch, m, names);
        if (code == CLI_DONE) code = change_one(c, ch);
        if (code != CLI_DONE) {
            if (i) out_note("%zu of %zu documents had moved before that", i, count);
            return code;
        }
        change_report(c, ch);
    }
    return code;
}

static int move_open(cli *c, change *ch, move *m) {
    agt_error err;
    char *names = NULL;
    size_t count = 0;
    agt_document d = AGT_DOCUMENT_INIT;
    bool document = agt_document_get(c->store, m->from, &d, NULL) == AGT_OK && d.exists;
    if (m->into && !move_join(m->to, sizeof m->to, move_leaf(m->from)))
        return out_fail(CLI_USAGE, "the new path is too long");
    agt_status st = document ? AGT_OK : move_list(c, m->from, &names, &count, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    int code;
    if (document || !count) { /* what is neither is told by the library */
        (void)snprintf(ch->path, sizeof ch->path, "%s", m->from);
        (void)snprintf(ch->to, sizeof ch->to, "%s", m->to);
        code = change_one(c, ch);
        if (code == CLI_DONE) change_report(c, ch);
    } else if (c->json)
        code = out_fail(CLI_USAGE, "%s is a folder; with --json move its documents one by one",
                        m->from);
    else
        code = move_folder(c, ch, m, names, count);
    if (!document) free(names);
    return code;
}

static int command_mv(cli *c) {
    move m = {.into = false};
    change ch = change_new(CHANGE_RENAME);
    int code = change_prepare(c, &ch);
    if (code == CLI_DONE) code = cli_document_path(c, c->args.words[0], m.from, sizeof m.from);
    if (code == CLI_DONE) code = move_target(c, &m);
    (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", m.from);
    if (code == CLI_DONE) code = cli_open(c, true);
    return code == CLI_DONE ? cli_close(c, move_open(c, &ch, &m)) : code;
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

const cli_command cli_mv = {
    .name = "mv",
    .run = command_mv,
    .group = "documents",
    .line = "give a document another path",
    .usage = "PATH NEW [options]",
    .text =
        "Moves a document, or all documents of a folder, if each of them may be moved. A document "
        "keeps its versions, its type and what it was unlocked for. Nothing is overwritten. If NEW "
        "is a folder, or ends with a "
        "slash, the document goes into it.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace mv draft.md docs/plan.md",
    .see = "log restore",
    .min = 2,
    .max = 2,
    .wants = "a PATH and a NEW one",
    .offers = {OFFER_PLACE, OFFER_PLACE},
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
    .usage = "PATH --for ACTOR [--duration TIME | --revoke] [options]",
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
