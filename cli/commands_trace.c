/* commands_trace: log for people, trace for programs. Both read the same events with the same
 * filters. */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TRACE_POLL_MS 200

/* ---- filters ---- */

int cli_filter_actor(const char *actor) {
    if (strcmp(actor, "agent") == 0) return CLI_DONE;
    if (agt_permission(actor, AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, NULL) != AGT_INVALID)
        return CLI_DONE;
    return out_fail(CLI_USAGE, "--actor '%s' is no actor; use user, system, agent or agent:NAME",
                    actor);
}

static int trace_action(const char *action) {
    size_t n = strspn(action, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    if (n >= 1 && n <= AGT_MAX_NAME && !action[n]) return CLI_DONE;
    return out_fail(CLI_USAGE,
                    "--action '%s' is no action; use create, modify, delete, restore, violation or "
                    "another word of a-z 0-9 _ .",
                    action);
}

/* Everything but the path. */
static int trace_filters(const cli *c, agt_trace_options *o) {
    const char *const *value = c->args.value;
    int code = cli_type(c, &o->type);
    o->actor = value[OPT_BY];
    o->action = value[OPT_ACTION];
    if (code == CLI_DONE) code = cli_session(c, &o->session);
    if (code == CLI_DONE && o->actor) code = cli_filter_actor(o->actor);
    if (code == CLI_DONE && o->action) code = trace_action(o->action);
    if (code == CLI_DONE) code = args_number(value[OPT_LIMIT], "--limit", &o->limit);
    if (code == CLI_DONE) code = args_number(value[OPT_SEQ], "--seq", &o->from_seq);
    if (code != CLI_DONE || !value[OPT_SINCE]) return code;
    if (time_parse_since(value[OPT_SINCE], time_now(), &o->since_unix_ms)) return CLI_DONE;
    return out_fail(CLI_USAGE,
                    "--since '%s' is no time; use 2h, 3d, 2026-11-24 or 2026-11-24T01:54:45Z",
                    value[OPT_SINCE]);
}

/* The next event; a damaged line is reported and passed. */
static agt_status trace_step(agt_cursor *cursor, agt_event *e, agt_error *err, bool *damaged) {
    for (;;) {
        agt_status st = agt_trace_next(cursor, e, err);
        if (st != AGT_CORRUPT) return st;
        *damaged = true;
        (void)cli_damaged_line(err);
        if (out_is_broken()) return AGT_END;
    }
}

/* ---- following ---- */

static volatile sig_atomic_t trace_stop;

static void trace_on_signal(int signal) {
    (void)signal;
    trace_stop = 1;
}

static void trace_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = trace_on_signal;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* Waits a moment; false if it is time to end: a signal came or the reader of stdout is gone. */
static bool trace_wait(void) {
    return fflush(stdout) == 0 && !out_reader_gone(TRACE_POLL_MS) && !trace_stop;
}

/* Does the event count? NULL: every one does. */
typedef bool (*trace_counts)(const void *ctx, const agt_event *e);

/* Makes the options begin at the newest `limit` events; 0 leaves them alone. Damage is passed: who
 * reads on from there reports it. */
static agt_status trace_newest(cli *c, agt_trace_options *o, uint64_t limit, trace_counts counts,
                               const void *ctx, agt_error *err) {
    agt_trace_options back = *o;
    agt_cursor *cursor;
    agt_event e = AGT_EVENT_INIT;
    if (!limit) return AGT_OK;
    back.newest_first = 1;
    agt_status st = agt_trace(c->store, &back, &cursor, err);
    if (st != AGT_OK) return st;
    for (uint64_t n = 0; n < limit;) {
        st = agt_trace_next(cursor, &e, err);
        if (st == AGT_CORRUPT) continue;
        if (st != AGT_OK) break;
        if (counts && !counts(ctx, &e)) continue;
        o->from_seq = e.seq;
        n++;
    }
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

/* ---- what events say ---- */

bool event_text_is(agt_text text, const char *word) {
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

bool event_is_index(const agt_event *e) {
    return event_text_is(e->source, "index") && event_text_is(e->path, "AGENT-TRACE.md");
}

bool event_is_outside(const agt_event *e) {
    return event_text_is(e->source, "poll");
}

agt_text event_reason(const agt_event *e) {
    agt_text s = e->summary;
    for (size_t i = 0; e->path.data && i + e->path.len + 2 < s.len; i++)
        if (memcmp(s.data + i, e->path.data, e->path.len) == 0 &&
            memcmp(s.data + i + e->path.len, ": ", 2) == 0)
            return (agt_text){s.data + i + e->path.len + 2, s.len - i - e->path.len - 2};
    return s;
}

/* ---- log ---- */

static out_style log_style(agt_text action) {
    if (event_text_is(action, "violation")) return OUT_RED;
    if (event_text_is(action, "create") || event_text_is(action, "restore")) return OUT_GREEN;
    if (event_text_is(action, "delete")) return OUT_YELLOW;
    return OUT_PLAIN;
}

/* The summary, unless it is the one that is made from the path and the counts. A refusal's is cut
 * to its reason: who, what and where stand in the row already. Of an edit that was found it is not
 * known who made it, whatever stands in the row. */
static agt_text log_summary(const agt_event *e) {
    static const char outside[] = EVENT_OUTSIDE;
    agt_text s = e->summary, none = {NULL, 0};
    if (event_is_outside(e)) return (agt_text){outside, sizeof outside - 1};
    if (!s.data || !e->path.data) return s;
    bool made = s.len > e->path.len + 3 && memcmp(s.data, e->path.data, e->path.len) == 0 &&
                memcmp(s.data + e->path.len, ": +", 3) == 0;
    if (made) return none;
    if (event_text_is(e->action, "violation")) return event_reason(e);
    size_t n = e->path.len + 2; /* the path is in the row */
    bool begins = s.len > n && memcmp(s.data, e->path.data, e->path.len) == 0 &&
                  memcmp(s.data + e->path.len, ": ", 2) == 0;
    return begins ? (agt_text){s.data + n, s.len - n} : s;
}

/* "3 min ago  agent:claude  modify  v3  +12 -1  docs/plan.md  summary" */
static void log_row(const cli *c, out_table *t, const agt_event *e) {
    char time[CLI_TIME_TEXT], shown[AGT_MAX_PATH * 4];
    agt_text summary = log_summary(e);
    out_cellf(t, OUT_DIM, "%s", out_time(e->at_unix_ms, time));
    out_cell(t, out_actor_style(e->actor.data, e->actor.len), e->actor.data, e->actor.len);
    out_cell(t, log_style(e->action), e->action.data, e->action.len);
    if (e->version) {
        out_cellf(t, OUT_PLAIN, "v%u", e->version);
        out_cellf(t, OUT_GREEN, "+%lld", (long long)e->lines_added);
        out_cellf(t, OUT_RED, "-%lld", (long long)e->lines_removed);
    } else { /* a refusal, or an event of a host's own: it made no version */
        for (int i = 0; i < 3; i++)
            out_cell(t, OUT_PLAIN, "", 0);
    }
    if (e->path.data) cli_shown(c, e->path.data, e->path.len, shown, sizeof shown);
    out_cell(t, OUT_BOLD, e->path.data ? shown : "", e->path.data ? strlen(shown) : 0);
    if (event_text_is(e->action, "violation") && e->change_kind.data)
        out_cellf(t, OUT_DIM, "%.*s: %.*s", (int)e->change_kind.len, e->change_kind.data,
                  (int)summary.len, summary.data ? summary.data : "");
    else
        out_cell(t, OUT_DIM, summary.data, summary.data ? summary.len : 0);
}

/* Whose events are shown: all, a document's, or those of a folder, which the library cannot ask
 * for. */
typedef struct log_state {
    out_table table;
    out_json json;
    char path[AGT_MAX_PATH * 4]; /* empty: all */
    bool folder;                 /* the path and what lies in it */
    bool damaged;
    uint64_t count;
} log_state;

static bool log_wanted(const void *ctx, const agt_event *e) {
    const log_state *l = ctx;
    size_t n = strlen(l->path);
    if (!n && event_is_index(e)) return false;
    if (!l->folder || !n) return true;
    return e->path.len >= n && memcmp(e->path.data, l->path, n) == 0 &&
           (e->path.len == n || e->path.data[n] == '/');
}

static void log_add(cli *c, log_state *l, const agt_event *e) {
    if (c->json && !l->count) json_open(&l->json, NULL, '[');
    if (!c->json && !l->count && !c->args.value[OPT_FOLLOW]) out_page();
    l->count++;
    if (c->json)
        json_put_raw(&l->json, NULL, e->line.data, e->line.len - 1);
    else
        log_row(c, &l->table, e);
    if (l->table.count >= 8 * 1000) out_rows(&l->table);
}

/* Did the document come here from another path? Then what is older happened there. */
static bool log_came_from(const agt_trace_options *o, const agt_event *e, char *from, size_t size) {
    if (!o->path || !o->newest_first || !e->version || !e->from.data ||
        !event_text_is(e->path, o->path))
        return false;
    (void)snprintf(from, size, "%.*s", (int)e->from.len, e->from.data);
    return true;
}

/* `limit` counts here: the library counts what is not in the folder, too. A document is followed to
 * the paths it had before. */
static agt_status log_walk(cli *c, agt_trace_options o, uint64_t limit, log_state *l,
                           agt_error *err) {
    char path[2][AGT_MAX_PATH + 1];
    agt_event e = AGT_EVENT_INIT;
    agt_status st = AGT_OK;
    for (int which = 0;; which = !which) {
        agt_cursor *cursor;
        bool moved = false;
        if ((st = agt_trace(c->store, &o, &cursor, err)) != AGT_OK) return st;
        while (!moved && !out_is_broken() && (!limit || l->count < limit) &&
               (st = trace_step(cursor, &e, err, &l->damaged)) == AGT_OK) {
            if (log_wanted(l, &e)) log_add(c, l, &e);
            moved = log_came_from(&o, &e, path[which], sizeof path[which]);
            if (moved) o.to_seq = e.seq - 1;
        }
        agt_cursor_close(cursor);
        if (!moved || !o.to_seq) return st == AGT_END ? AGT_OK : st;
        o.path = path[which];
    }
}

static agt_status log_any_document(cli *c, const char *under, bool *any, agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    o.under = under;
    o.deleted = 1;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    *any = agt_list_next(cursor, &d, err) == AGT_OK;
    agt_cursor_close(cursor);
    return AGT_OK;
}

/* A word names a document that is there, or else a folder: of a document that is gone, a folder may
 * have taken the name, and a refused one never was. */
static agt_status log_place(cli *c, log_state *l, agt_trace_options *o, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    if (!l->path[0]) return AGT_OK;
    agt_status st = agt_document_get(c->store, l->path, &d, err);
    if (st != AGT_OK && st != AGT_NOT_FOUND) return st;
    l->folder = st == AGT_NOT_FOUND;
    st = AGT_OK;
    if (!l->folder && !d.exists) st = log_any_document(c, l->path, &l->folder, err);
    if (!l->folder) o->path = l->path;
    return st;
}

/* Nothing was found: is it because there is no such document and no such folder? */
static agt_status log_nothing(cli *c, const log_state *l, agt_error *err) {
    bool any = false;
    if (!l->folder || !l->path[0]) return AGT_OK;
    agt_status st = log_any_document(c, l->path, &any, err);
    if (st != AGT_OK || any) return st;
    (void)snprintf(err->message, sizeof err->message, "no document is, or is in, %.400s", l->path);
    return AGT_NOT_FOUND;
}

static agt_status log_follow(cli *c, agt_trace_options *o, uint64_t limit, log_state *l,
                             agt_error *err) {
    agt_cursor *cursor;
    agt_event e = AGT_EVENT_INIT;
    agt_status st = trace_newest(c, o, limit, log_wanted, l, err);
    if (st == AGT_OK) st = agt_trace(c->store, o, &cursor, err);
    if (st != AGT_OK) return st;
    trace_catch();
    while (!out_is_broken() && !trace_stop) {
        st = trace_step(cursor, &e, err, &l->damaged);
        if (st == AGT_OK && log_wanted(l, &e)) log_add(c, l, &e);
        if (st == AGT_OK) continue;
        if (st != AGT_END) break;
        st = AGT_OK;
        out_rows(&l->table);
        if (!trace_wait()) break;
    }
    agt_cursor_close(cursor);
    return st;
}

/* A host has words of its own, which no list knows; but then an event has it. */
static agt_status log_action(cli *c, const char *action, bool *known, agt_error *err) {
    static const char *const own[] = {"create",  "modify",     "delete", "restore", "rename",
                                      "untrack", "reclassify", "unlock", "revoke",  "violation"};
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor;
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (strcmp(action, own[i]) == 0) return AGT_OK;
    o.action = action;
    o.newest_first = 1;
    o.limit = 1;
    agt_status st = agt_trace(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    while ((st = agt_trace_next(cursor, &e, err)) == AGT_CORRUPT) {
    }
    agt_cursor_close(cursor);
    *known = st == AGT_OK;
    return st == AGT_END ? AGT_OK : st;
}

static int log_unknown_action(const char *action) {
    return out_fail(CLI_USAGE,
                    "--action '%s': no event has it; use create, modify, delete, restore, rename, "
                    "untrack, reclassify, unlock, revoke, violation or a word of a host's own",
                    action);
}

static int log_show(cli *c, agt_trace_options *o, log_state *l) {
    agt_error err;
    bool follow = c->args.value[OPT_FOLLOW] != NULL;
    uint64_t limit = c->args.value[OPT_LIMIT] ? o->limit : CLI_LOG_LIMIT;
    o->limit = 0;
    bool known = true;
    agt_status st = o->action && !follow ? log_action(c, o->action, &known, &err) : AGT_OK;
    if (st == AGT_OK && !known) return log_unknown_action(o->action);
    if (st == AGT_OK) st = log_place(c, l, o, &err);
    if (st == AGT_OK && follow) {
        st = log_follow(c, o, limit, l, &err);
    } else if (st == AGT_OK) {
        o->newest_first = 1;
        st = log_walk(c, *o, limit, l, &err);
        if (st == AGT_OK && !l->count) st = log_nothing(c, l, &err);
    }
    if (c->json) json_end_array(&l->json, l->count == 0 && st == AGT_OK);
    out_rows(&l->table);
    out_table_free(&l->table);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    if (!l->count && !c->json && !follow && out_is_terminal(1)) out_note("no event to show");
    return l->damaged ? CLI_ERROR : CLI_DONE;
}

static int command_log(cli *c) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    log_state l = {.table = {.columns = 8, .right = 7u << 3, .below = true, .shrink = 6},
                   .json = {.lines = true}};
    int code = trace_filters(c, &o);
    if (code == CLI_DONE && c->json && c->args.value[OPT_FOLLOW])
        code =
            out_usage(c->command, "an array has an end; 'agent-trace trace --follow' prints JSON "
                                  "Lines");
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE && c->args.count)
        code = cli_folder_path(c, c->args.words[0], l.path, sizeof l.path);
    if (code == CLI_DONE) code = cli_open(c, false);
    return code == CLI_DONE ? cli_close(c, log_show(c, &o, &l)) : code;
}

/* ---- trace ---- */

/* Is it the document's, or in the folder, that --path names? The library finds a document's events
 * itself. */
static bool trace_wanted(const void *ctx, const agt_event *e) {
    const log_state *l = ctx;
    return !l->folder || log_wanted(l, e);
}

/* `limit` counts here: a cursor that ends because of it could not be told from one that waits. */
static agt_status trace_print(agt_cursor *cursor, bool follow, uint64_t limit, log_state *l,
                              agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    for (uint64_t n = 0; !out_is_broken() && !trace_stop && (!limit || n < limit);) {
        agt_status st = trace_step(cursor, &e, err, &l->damaged);
        if (st == AGT_END && !(follow && trace_wait())) return AGT_OK;
        if (st == AGT_END || (st == AGT_OK && !trace_wanted(l, &e))) continue;
        if (st != AGT_OK) return st;
        if (!follow && !n) out_page();
        json_raw(e.line.data, e.line.len);
        n++;
    }
    return AGT_OK;
}

static int command_trace(cli *c) {
    agt_error err;
    agt_cursor *cursor = NULL;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    log_state l = {.count = 0};
    bool follow = c->args.value[OPT_FOLLOW] != NULL;
    int code = trace_filters(c, &o);
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE && c->args.value[OPT_PATH])
        code = cli_folder_path(c, c->args.value[OPT_PATH], l.path, sizeof l.path);
    if (code == CLI_DONE) code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    uint64_t limit = o.limit;
    o.limit = 0;
    if (follow) trace_catch();
    agt_status st = log_place(c, &l, &o, &err);
    if (st == AGT_OK && limit && !o.from_seq) { /* else the first ones from there on */
        st = trace_newest(c, &o, limit, trace_wanted, &l, &err);
        if (follow) limit = 0;
    }
    if (st == AGT_OK) st = agt_trace(c->store, &o, &cursor, &err);
    if (st == AGT_OK) st = trace_print(cursor, follow, limit, &l, &err);
    agt_cursor_close(cursor);
    if (st != AGT_OK)
        code = cli_failed(c, st, &err);
    else if (l.damaged)
        code = CLI_ERROR;
    return cli_close(c, code);
}

/* ---- what they are ---- */

const cli_command cli_log = {
    .name = "log",
    .run = command_log,
    .pages = true,
    .group = "history",
    .line = "who changed what, newest first",
    .usage = "[PATH] [options]",
    .text =
        "Lists the changes of the store, of one document or of what is in a folder, newest first: "
        "time, who, what, version, lines added and removed, path. Refused writes are listed too. "
        "An "
        "edit that was found in the file is the user's, and marked '" EVENT_OUTSIDE
        "': who made it is not known. "
        "On a terminal times are local and as people say them, and long paths are cut in the "
        "middle. In a pipe there is one event a line, with tabs between the columns: time, actor, "
        "action, version, lines added, lines removed, path, summary.",
    .takes = {TAKES_FILTERS,
              {OPT_LIMIT, "the newest N (default " CLI_QUOTE(CLI_LOG_LIMIT) "; 0: all)"},
              {OPT_FOLLOW, "the newest last, then wait for more; ends with Ctrl-C"},
              {OPT_JSON, "an array of events"}},
    .examples = "agent-trace log docs/plan.md --actor agent --since 2d",
    .see = "diff show trace",
    .max = 1,
    .offers = {OFFER_PLACE},
};

const cli_command cli_trace = {
    .name = "trace",
    .run = command_trace,
    .pages = true,
    .group = "history",
    .line = "print the events as JSON Lines",
    .usage = "[options]",
    .text = "Prints the lines of the trace as they are, oldest first.",
    .takes = {{OPT_PATH,
               "of one document, or of what is in a folder; a filter like the others: where "
               "there is neither nothing is printed, and the exit code is 0"},
              TAKES_FILTERS,
              {OPT_SEQ, NULL},
              {OPT_LIMIT, "the newest N; with --seq the first N from there on"},
              {OPT_FOLLOW, "then wait for new ones; ends with Ctrl-C or when the reader goes"},
              {OPT_JSON, "changes nothing: the lines are JSON already"}},
    .examples = "agent-trace trace --action violation\n"
                "agent-trace trace --follow --since now | jq .path",
    .see = "log",
};
