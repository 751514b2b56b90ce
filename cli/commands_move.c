/* commands_move: mv, of one document or of all that are in a folder.
 *
 * (1) A folder is judged as a whole before its first document is renamed. The library judges each
 *     one again when its turn comes.
 * (2) What a person or git moved already is followed: the documents' files are gone, and lie in the
 *     new folder.
 * (3) A move that was cut short is finished by the same command. The new folder is there by then,
 *     and into a folder that is there one moves; so the events of what had moved are asked whether
 *     it was this very command that made them. */
#include "change.h"
#include "cli.h"
#include "files.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct move {
    char from[AGT_MAX_PATH * 4], to[AGT_MAX_PATH * 4]; /* relative to the root */
    bool folder;                                       /* `from` was typed with a slash behind it */
    bool there;                                        /* `to` is a folder that is there */
    bool slash;                                        /* and was meant to be: it ended with one */
    const char *summary;                               /* of the events, if somebody gave one */
    char *names;                                       /* of the folder's documents, with a NUL */
    size_t count;                                      /* behind each; none: it is no such folder */
    uint64_t oldest;                                   /* the lowest seq of their newest events */
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

/* Shells put a slash behind the name of a folder. */
static int move_source(cli *c, move *m) {
    int code = cli_document_path(c, c->args.words[0], m->from, sizeof m->from);
    size_t n = strlen(m->from);
    m->folder = code == CLI_DONE && m->from[n - 1] == '/';
    if (m->folder) m->from[n - 1] = 0;
    return code;
}

static int move_target(cli *c, move *m) {
    const char *given = c->args.words[1];
    size_t n = strlen(given);
    struct stat st;
    m->slash = n && given[n - 1] == '/';
    m->there = stat(given, &st) == 0 && S_ISDIR(st.st_mode);
    if (!m->there && !m->slash) return cli_document_path(c, given, m->to, sizeof m->to);
    return cli_folder_path(c, given, m->to, sizeof m->to);
}

static agt_status move_list(cli *c, move *m, agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    size_t len = 0, cap = 0;
    o.under = m->from;
    m->oldest = UINT64_MAX;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    while ((st = agt_list_next(cursor, &d, err)) == AGT_OK) {
        size_t n = strlen(d.path) + 1;
        if (cap - len < n) m->names = out_grow(m->names, cap = (len + n) * 2);
        memcpy(m->names + len, d.path, n);
        len += n;
        if (d.last_seq < m->oldest) m->oldest = d.last_seq;
        m->count++;
    }
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

static const char *move_after(const char *name) {
    return name + strlen(name) + 1;
}

/* The place in the folder of one of its documents. */
static const char *move_rest(const move *m, const char *name) {
    return name + strlen(m->from) + 1;
}

/* What the event of one document of a folder says, unless somebody gave a summary: a rename of that
 * document alone says something else. */
static const char *move_summary(const move *m, const char *rest, char *out, size_t size) {
    if (m->summary) return m->summary;
    (void)snprintf(out, size, "%.*s/ -> %.*s/: %.*s", AGT_MAX_PATH, m->from, AGT_MAX_PATH, m->to,
                   AGT_MAX_PATH, rest);
    return out;
}

#define MOVE_SUMMARY (AGT_MAX_PATH * 3 + 16) /* is within AGT_MAX_SUMMARY */

/* The move of one document of the folder, which keeps its place in it. */
static int move_next(cli *c, change *ch, const move *m, const char *name) {
    const agt_write_result fresh = AGT_WRITE_RESULT_INIT;
    ch->result = fresh;
    (void)snprintf(ch->path, sizeof ch->path, "%s", name);
    (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", name);
    (void)snprintf(ch->to, sizeof ch->to, "%s", m->to);
    if (!move_join(ch->to, sizeof ch->to, move_rest(m, name)))
        return out_fail(CLI_USAGE, "the new path of %s is too long", name);
    return CLI_DONE;
}

/* ---- where a folder goes ---- */

/* Does the file there have the newest bytes of the document `name`? */
static bool move_lies_at(const cli *c, const char *name, const char *folder, const char *rest) {
    char path[AGT_MAX_PATH * 8];
    agt_bytes bytes = {0};
    (void)snprintf(path, sizeof path, "%s/%s", folder, rest);
    bool lies = !cli_gone(c, path) && agt_read_version(c->store, name, 0, &bytes, NULL) == AGT_OK &&
                files_same(c, path, &bytes);
    agt_bytes_free(&bytes);
    return lies;
}

/* (2) Where do the files lie that are gone: in `to`, and not in a folder of the old name in it? */
static bool move_was_made(const cli *c, const move *m, const char *into) {
    const char *name = m->names;
    for (size_t i = 0; i < m->count; i++, name = move_after(name)) {
        if (!cli_gone(c, name)) continue;
        if (move_lies_at(c, name, into, move_rest(m, name))) return false;
        if (move_lies_at(c, name, m->to, move_rest(m, name))) return true;
    }
    return false;
}

/* Did this command rename that document, when documents were in the old folder that are there yet?
 */
static bool move_is_ours(cli *c, const move *m, const agt_document *d) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor;
    char text[MOVE_SUMMARY], from[AGT_MAX_PATH * 8];
    const char *rest = d->path + strlen(m->to) + 1;
    const char *summary = move_summary(m, rest, text, sizeof text);
    (void)snprintf(from, sizeof from, "%s/%s", m->from, rest);
    o.path = d->path;
    o.action = "rename";
    o.newest_first = 1;
    o.from_seq = m->oldest;
    o.limit = 1;
    if (agt_trace(c->store, &o, &cursor, NULL) != AGT_OK) return false;
    bool ours = agt_trace_next(cursor, &e, NULL) == AGT_OK && e.from.len == strlen(from) &&
                memcmp(e.from.data, from, e.from.len) == 0 && e.summary.len == strlen(summary) &&
                memcmp(e.summary.data, summary, e.summary.len) == 0;
    agt_cursor_close(cursor);
    return ours;
}

/* (3) */
static bool move_goes_on(cli *c, const move *m) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    bool ours = false;
    o.under = m->to;
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return false;
    while (!ours && agt_list_next(cursor, &d, NULL) == AGT_OK)
        ours = d.last_seq > m->oldest && move_is_ours(c, m, &d);
    agt_cursor_close(cursor);
    return ours;
}

/* Completes `to`: what one moves to a folder goes into it. A slash says no more than that a folder
 * is meant, and a folder can get the name of one that is not there yet. */
static int move_resolve(cli *c, move *m) {
    char into[sizeof m->to];
    (void)snprintf(into, sizeof into, "%s", m->to);
    if (!m->there && (!m->slash || m->count)) return CLI_DONE;
    if (!move_join(into, sizeof into, move_leaf(m->from)))
        return out_fail(CLI_USAGE, "the new path is too long");
    bool as_it_is = m->count && m->to[0] && strcmp(m->from, m->to) != 0 &&
                    ((!m->slash && move_was_made(c, m, into)) || move_goes_on(c, m));
    if (!as_it_is) memcpy(m->to, into, sizeof into);
    return CLI_DONE;
}

/* ---- all documents of a folder ---- */

/* Why a folder's documents cannot move, of the first that cannot. */
typedef struct move_answer {
    agt_status status; /* AGT_OK: they can */
    agt_error why;
    char from[AGT_MAX_PATH * 4], to[AGT_MAX_PATH * 4];
} move_answer;

static void move_keep(move_answer *a, agt_status st, const change *ch, const agt_error *err) {
    if (st == AGT_OK || a->status != AGT_OK) return;
    a->status = st;
    a->why = *err;
    (void)snprintf(a->from, sizeof a->from, "%s", ch->path);
    (void)snprintf(a->to, sizeof a->to, "%s", ch->to);
}

static int move_cannot(cli *c, const move_answer *a) {
    char from[AGT_MAX_PATH * 4], to[AGT_MAX_PATH * 4];
    c->failure.status = a->status;
    (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", a->from);
    if (a->status != AGT_NOT_FOUND || !cli_gone(c, a->from))
        return out_fail(cli_exit_code(a->status), "%s; nothing was moved", a->why.message);
    cli_shown(c, a->from, strlen(a->from), from, sizeof from);
    cli_shown(c, a->to, strlen(a->to), to, sizeof to);
    return out_fail(CLI_NOT_FOUND,
                    "the file of %s is gone, and not at %s; restore or delete it first; nothing "
                    "was moved",
                    from, to);
}

/* (1) Can all of them move, as the store and the disk are? One that is denied is tried, so that the
 * refusal is recorded. Nothing has moved if this is no CLI_DONE. */
static int move_judge(cli *c, change *ch, const move *m) {
    agt_error err;
    agt_caller plain = ch->caller, sure = ch->caller;
    move_answer asks = {.status = AGT_OK}, cannot = {.status = AGT_OK};
    const char *name = m->names;
    plain.confirm = 0;
    sure.confirm = 1;
    for (size_t i = 0; i < m->count; i++, name = move_after(name)) {
        int code = move_next(c, ch, m, name);
        if (code != CLI_DONE) return code;
        agt_status st = agt_may_rename(c->store, &plain, name, ch->to, &ch->options, &err);
        if (st == AGT_NEEDS_CONFIRMATION) {
            move_keep(&asks, st, ch, &err);
            st = agt_may_rename(c->store, &sure, name, ch->to, &ch->options, &err);
        }
        if (st != AGT_DENIED) {
            move_keep(&cannot, st, ch, &err);
            continue;
        }
        code = change_one(c, ch);
        if (code != CLI_DONE) return code;
        change_report(c, ch);
        return out_fail(CLI_BUSY, "somebody changed who may move %s; try again", name);
    }
    if (cannot.status != AGT_OK) return move_cannot(c, &cannot);
    if (asks.status == AGT_OK || ch->caller.confirm) return CLI_DONE;
    (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", asks.from);
    c->failure.status = asks.status;
    if (!change_confirmed(asks.why.message))
        return out_fail(CLI_DENIED, "%s; nothing was moved, repeat with --yes to do it",
                        asks.why.message);
    c->failure.status = AGT_OK;
    ch->caller.confirm = 1;
    return CLI_DONE;
}

/* What is no document stays, and a person who looks there should not wonder. */
static void move_left(cli *c, const move *m) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    size_t n = 0;
    char shown[AGT_MAX_PATH * 4];
    o.under = m->from;
    o.untracked = 2;
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return;
    while (agt_list_next(cursor, &d, NULL) == AGT_OK)
        n++;
    agt_cursor_close(cursor);
    if (!n) return;
    cli_shown(c, m->from, strlen(m->from), shown, sizeof shown);
    if (n == 1)
        out_note("1 file that is no document stays in %s", shown);
    else
        out_note("%zu files that are no documents stay in %s", n, shown);
}

/* They are changes of their own, because a folder may have more documents than a batch takes: where
 * one fails for want of room or the like, those before it have moved, and the same command goes on
 * with the rest. */
static int move_folder(cli *c, change *ch, const move *m) {
    char text[MOVE_SUMMARY];
    const char *name = m->names;
    size_t n = strlen(m->from);
    if (strncmp(m->to, m->from, n) == 0 && (m->to[n] == '/' || !m->to[n]))
        return out_fail(CLI_USAGE, "%s cannot be moved into itself; name another folder", m->from);
    int code = move_judge(c, ch, m);
    if (code != CLI_DONE) return code;
    for (size_t i = 0; i < m->count; i++, name = move_after(name)) {
        code = move_next(c, ch, m, name);
        ch->options.summary = move_summary(m, move_rest(m, name), text, sizeof text);
        if (code == CLI_DONE) code = change_one(c, ch);
        if (code != CLI_DONE) {
            if (i)
                out_note("%zu of %zu documents had moved before that; once they can be moved the "
                         "same command moves the rest",
                         i, m->count);
            return code;
        }
        change_report(c, ch);
    }
    move_left(c, m);
    return code;
}

static int move_open(cli *c, change *ch, move *m) {
    agt_error err;
    agt_document d = AGT_DOCUMENT_INIT;
    bool document = agt_document_get(c->store, m->from, &d, NULL) == AGT_OK && d.exists;
    agt_status st = document ? AGT_OK : move_list(c, m, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    if (document && m->folder)
        return out_fail(CLI_USAGE, "%s is a document and no folder; leave out the slash", m->from);
    if (m->count && ch->options.check_version)
        return out_fail(CLI_USAGE,
                        "%s is a folder, and --expect is about one document; leave it out, or move "
                        "the documents one by one",
                        m->from);
    int code = move_resolve(c, m);
    if (code != CLI_DONE) return code;
    if (!m->count) { /* what is neither is told by the library */
        (void)snprintf(ch->path, sizeof ch->path, "%s", m->from);
        (void)snprintf(ch->to, sizeof ch->to, "%s", m->to);
        code = change_one(c, ch);
        if (code == CLI_DONE) change_report(c, ch);
        return code;
    }
    if (!c->json) return move_folder(c, ch, m);
    return out_fail(CLI_USAGE, "%s is a folder; with --json move its documents one by one",
                    m->from);
}

static int command_mv(cli *c) {
    move m = {.names = NULL};
    change ch = change_new(CHANGE_RENAME);
    int code = change_prepare(c, &ch);
    m.summary = ch.options.summary;
    if (code == CLI_DONE) code = move_source(c, &m);
    if (code == CLI_DONE) code = move_target(c, &m);
    (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", m.from);
    if (code == CLI_DONE) code = cli_open(c, true);
    if (code == CLI_DONE) code = cli_close(c, move_open(c, &ch, &m));
    free(m.names);
    return code;
}

const cli_command cli_mv = {
    .name = "mv",
    .run = command_mv,
    .group = "documents",
    .line = "give a document another path, or follow it to one",
    .usage = "PATH NEW [options]",
    .text =
        "Moves a document, or all documents of a folder, if each of them may be moved and its file "
        "is there. A document keeps its versions, its type and what it was unlocked for. Nothing "
        "is overwritten. If NEW is a folder, or ends with a slash, the document goes into it; a "
        "folder goes into one that is there, and else gets its name. What was moved already, by "
        "hand or by git, is followed: where the file is gone and lies at NEW as it was, the move "
        "is recorded. Of a folder, files that are no documents stay where they are, and so does "
        "the folder itself. If its move was cut short, the same command finishes it.",
    .takes = {TAKES_CHANGE},
    .examples = "agent-trace mv draft.md docs/plan.md\n"
                "agent-trace mv docs papers",
    .see = "log restore",
    .min = 2,
    .max = 2,
    .wants = "a PATH and a NEW one",
    .offers = {OFFER_PLACE, OFFER_PLACE},
};
