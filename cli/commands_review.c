/* commands_review: violations and info: what was refused, and all that is known of one document. */
#include "cli.h"
#include "output.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- violations ---- */

typedef struct review {
    out_table table;
    out_json json;
    uint64_t count;
    unsigned asked; /* in a row, of which there were no bytes */
} review;

#define REVIEW_ASKED 256 /* what is not in rejected/ is in the journal or nowhere */

/* Are the refused bytes there to be looked at? A look at their file is enough; what waits in the
 * journal is read. */
static bool review_has(const cli *c, review *r, const agt_event *e) {
    char path[PATH_MAX], name[128];
    struct stat st;
    agt_bytes bytes = {NULL, 0, NULL};
    (void)snprintf(name, sizeof name, ".agent-trace/rejected/%.*s", (int)e->rejected.len,
                   e->rejected.data);
    if (cli_place(c, name, path) && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) return true;
    if (r->asked >= REVIEW_ASKED) return false;
    bool has = agt_read_refused(c->store, e->seq, &bytes, NULL) == AGT_OK;
    agt_bytes_free(&bytes);
    r->asked = has ? 0 : r->asked + 1;
    return has;
}

static void review_row(const cli *c, review *r, const agt_event *e) {
    char time[CLI_TIME_TEXT], shown[AGT_MAX_PATH * 4] = "";
    agt_text reason = event_reason(e);
    out_table *t = &r->table;
    if (e->path.data) cli_shown(c, e->path.data, e->path.len, shown, sizeof shown);
    out_cellf(t, OUT_BOLD, "%llu", (unsigned long long)e->seq);
    out_cellf(t, OUT_DIM, "%s", out_time(e->at_unix_ms, time));
    out_cell(t, out_actor_style(e->actor.data, e->actor.len), e->actor.data, e->actor.len);
    out_cell(t, OUT_RED, e->change_kind.data, e->change_kind.len);
    out_cell(t, out_type_style(e->doc_type.data, e->doc_type.len), e->doc_type.data,
             e->doc_type.len);
    out_cellf(t, OUT_DIM, "%s", !e->rejected.data ? "" : review_has(c, r, e) ? "kept" : "not kept");
    out_cell(t, OUT_BOLD, shown, strlen(shown));
    out_cell(t, OUT_DIM, reason.data, reason.len);
    if (t->count >= 8 * 1000) out_rows(t);
}

static void review_add(const cli *c, review *r, const agt_event *e) {
    if (c->json && !r->count) json_open(&r->json, NULL, '[');
    if (!c->json && !r->count) out_page();
    r->count++;
    if (c->json)
        json_put_raw(&r->json, NULL, e->line.data, e->line.len - 1);
    else
        review_row(c, r, e);
}

static int review_list(cli *c) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor;
    agt_error err;
    review r = {.table = {.columns = 8, .right = 1, .below = true, .shrink = 6}};
    r.json.lines = true;
    o.limit = CLI_LOG_LIMIT;
    o.actor = c->args.value[OPT_BY];
    int code = args_number(c->args.value[OPT_LIMIT], "--limit", &o.limit);
    if (code == CLI_DONE && o.actor) code = cli_filter_actor(o.actor);
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE) code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    o.action = "violation";
    o.newest_first = 1;
    agt_status st = agt_trace(c->store, &o, &cursor, &err);
    if (st != AGT_OK) return cli_close(c, cli_failed(c, st, &err));
    while (!out_is_broken() && (st = agt_trace_next(cursor, &e, &err)) != AGT_END) {
        if (st == AGT_OK) review_add(c, &r, &e);
        if (st == AGT_CORRUPT) code = cli_damaged_line(&err);
        if (st != AGT_OK && st != AGT_CORRUPT) break;
    }
    agt_cursor_close(cursor);
    if (c->json)
        json_end_array(&r.json, !r.count);
    else if (r.count)
        out_rows(&r.table);
    else if (code == CLI_DONE)
        (void)puts("nothing was refused");
    out_table_free(&r.table);
    if (st != AGT_END && st != AGT_OK) code = cli_failed(c, st, &err);
    return cli_close(c, code);
}

/* The event `seq` alone; its texts are the cursor's, which the caller closes. */
static agt_status review_event(cli *c, uint64_t seq, agt_cursor **cursor, agt_event *e,
                               agt_error *err) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    o.from_seq = seq;
    o.limit = 1;
    agt_status st = agt_trace(c->store, &o, cursor, err);
    if (st == AGT_OK) st = agt_trace_next(*cursor, e, err);
    return st == AGT_END ? AGT_NOT_FOUND : st;
}

/* Where the document is now that was renamed since: its id stays the same. */
static void review_follow(cli *c, const char *id, char *path, size_t size) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    if (!id[0] || agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return;
    while (agt_list_next(cursor, &d, NULL) == AGT_OK)
        if (strcmp(d.id, id) == 0) (void)snprintf(path, size, "%s", d.path);
    agt_cursor_close(cursor);
}

/* The refused bytes against the document as it is. */
static agt_status review_diff(cli *c, const agt_event *e, const agt_bytes *refused,
                              agt_error *err) {
    agt_bytes now = {NULL, 0, NULL}, patch = {NULL, 0, NULL};
    char path[AGT_MAX_PATH + 8], id[40];
    (void)snprintf(path, sizeof path, "%.*s", (int)e->path.len, e->path.data);
    (void)snprintf(id, sizeof id, "%.*s", (int)e->doc.len, e->doc.data ? e->doc.data : "");
    review_follow(c, id, path, sizeof path);
    agt_status st = agt_read(c->store, path, &now, NULL, err);
    bool there = st == AGT_OK;
    if (st == AGT_NOT_FOUND) st = AGT_OK; /* then all of it would have been new */
    const void *from = there ? (now.data ? (const void *)now.data : "") : NULL;
    const void *to = refused->data ? (const void *)refused->data : "";
    if (st == AGT_OK)
        st = agt_diff_bytes(c->store, path, from, now.len, to, refused->len, &patch, err);
    if (st == AGT_OK) diff_print((const char *)patch.data, patch.len);
    agt_bytes_free(&now);
    agt_bytes_free(&patch);
    return st;
}

/* The bytes that came with a refusal are not there: never, or not any more? */
static int review_lost(cli *c, const agt_event *e) {
    static const char too_long[] = "more than 32 MiB";
    const unsigned long long n = e->seq;
    agt_gc_options o = AGT_GC_OPTIONS_INIT;
    agt_gc_result r = AGT_GC_RESULT_INIT;
    o.measure = 1;
    for (size_t i = 0; i + sizeof too_long - 1 <= e->summary.len; i++)
        if (memcmp(e->summary.data + i, too_long, sizeof too_long - 1) == 0)
            return out_fail(CLI_NOT_FOUND,
                            "the bytes that event %llu refused were never kept: they were more "
                            "than 32 MiB; only who wrote them has them",
                            n);
    bool full = agt_gc(c->store, &o, &r, NULL) == AGT_OK &&
                (r.before.rejected.files >= AGT_MAX_REJECTED ||
                 r.before.rejected.bytes >= AGT_MAX_REJECTED_BYTES / 8 * 7);
    if (full)
        return out_fail(CLI_NOT_FOUND,
                        "the bytes that event %llu refused are not kept any more: "
                        ".agent-trace/rejected has the newest %d, and %u MiB, and the oldest go",
                        n, AGT_MAX_REJECTED, AGT_MAX_REJECTED_BYTES / 1024 / 1024);
    return out_fail(CLI_NOT_FOUND,
                    "the bytes that event %llu refused are not kept: there was no room for them, "
                    "or somebody removed them from .agent-trace/rejected",
                    n);
}

/* Why there are no refused bytes. */
static int review_nothing(cli *c, uint64_t seq, const agt_error *why) {
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor = NULL;
    agt_error err;
    int code;
    agt_status st = review_event(c, seq, &cursor, &e, &err);
    if (st == AGT_NOT_FOUND || (st == AGT_OK && e.seq != seq))
        code = out_fail(CLI_NOT_FOUND,
                        "there is no event %llu; the first column of 'agent-trace violations' has "
                        "the numbers",
                        (unsigned long long)seq);
    else if (st != AGT_OK)
        code = cli_failed(c, st, &err);
    else if (!event_text_is(e.action, "violation"))
        code = out_fail(CLI_NOT_FOUND,
                        "event %llu is no refusal: %.*s of %.*s; the first column of 'agent-trace "
                        "violations' has the numbers of those",
                        (unsigned long long)seq, (int)e.action.len, e.action.data,
                        e.path.data ? (int)e.path.len : 9, e.path.data ? e.path.data : "the store");
    else if (strstr(why->message, "agent-trace 0.1.0")) /* it says where to look */
        code = out_fail(CLI_NOT_FOUND, "%s", why->message);
    else if (!e.rejected.data)
        code = out_fail(CLI_NOT_FOUND,
                        "event %llu refused no bytes, but to %.*s %.*s; 'agent-trace violations' "
                        "says 'kept' where there are some",
                        (unsigned long long)seq, (int)e.change_kind.len, e.change_kind.data,
                        (int)e.path.len, e.path.data);
    else
        code = review_lost(c, &e);
    agt_cursor_close(cursor);
    return code;
}

static int review_show(cli *c) {
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor = NULL;
    agt_bytes bytes = {NULL, 0, NULL};
    agt_error err;
    uint64_t seq = 0;
    int code = args_number(c->args.words[1], "the violation's number", &seq);
    if (code == CLI_DONE && c->json)
        code = out_usage(c->command, "'violations show' prints bytes; leave --json out");
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE) code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    agt_status st = agt_read_refused(c->store, seq, &bytes, &err);
    if (st == AGT_NOT_FOUND) return cli_close(c, review_nothing(c, seq, &err));
    if (st == AGT_OK && !c->args.value[OPT_DIFF])
        show_bytes(c, &bytes);
    else if (st == AGT_OK) {
        st = review_event(c, seq, &cursor, &e, &err);
        if (st == AGT_OK) st = review_diff(c, &e, &bytes, &err);
        agt_cursor_close(cursor);
    }
    agt_bytes_free(&bytes);
    return cli_close(c, st == AGT_OK ? CLI_DONE : cli_failed(c, st, &err));
}

static int command_violations(cli *c) {
    if (c->args.count == 0) {
        if (c->args.value[OPT_DIFF])
            return out_usage(c->command, "--diff goes with 'violations show N'");
        return review_list(c);
    }
    if (strcmp(c->args.words[0], "show") != 0)
        return out_usage(c->command, "unknown word '%s', perhaps show", c->args.words[0]);
    if (c->args.count < 2) return out_usage(c->command, "'violations show' needs a number");
    return review_show(c);
}

/* ---- info ---- */

typedef struct info {
    char path[AGT_MAX_PATH * 4];
    agt_document document;
    int64_t created_unix_ms; /* 0: its first event cannot be read */
    char creator[AGT_MAX_NAME + 8], changer[AGT_MAX_NAME + 8];
    bool created_outside, changed_outside;
    agt_grant grants[AGT_MAX_GRANTS];
    size_t grant_count;
} info;

static void info_actor(char out[AGT_MAX_NAME + 8], agt_text actor) {
    (void)snprintf(out, AGT_MAX_NAME + 8, "%.*s", (int)actor.len, actor.data);
}

/* A version of the document: who made it and who changed it last. */
static void info_version(info *i, const agt_event *e) {
    if (e->version == i->document.version) {
        info_actor(i->changer, e->actor);
        i->changed_outside = event_is_outside(e);
    }
    if (e->version != 1) return;
    info_actor(i->creator, e->actor);
    i->created_outside = event_is_outside(e);
    i->created_unix_ms = e->at_unix_ms;
}

/* Its versions, the newest first, at all the paths it ever had. */
static agt_status info_events(cli *c, info *i, agt_error *err) {
    char path[2][AGT_MAX_PATH + 1];
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_status st = AGT_OK;
    o.path = i->path;
    o.newest_first = 1;
    for (int which = 0; o.path; which = !which) {
        agt_cursor *cursor;
        if ((st = agt_trace(c->store, &o, &cursor, err)) != AGT_OK) return st;
        o.path = NULL;
        while (!o.path && !i->created_unix_ms &&
               ((st = agt_trace_next(cursor, &e, err)) == AGT_OK || st == AGT_CORRUPT)) {
            if (st != AGT_OK || !e.version || !event_text_is(e.doc, i->document.id)) continue;
            info_version(i, &e);
            if (!e.from.data) continue;
            (void)snprintf(path[which], sizeof path[which], "%.*s", (int)e.from.len, e.from.data);
            o.path = path[which];
            o.to_seq = e.seq - 1;
        }
        agt_cursor_close(cursor);
    }
    return st == AGT_END || st == AGT_CORRUPT ? AGT_OK : st;
}

static void info_print_json(const info *i) {
    const agt_document *d = &i->document;
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put(&j, "path", d->path);
    json_put(&j, "type", agt_type_name((agt_type)d->type));
    json_put(&j, "id", d->id);
    json_put_bool(&j, "exists", d->exists != 0);
    json_put_u64(&j, "version", d->version);
    json_put_u64(&j, "size_bytes", d->size_bytes);
    json_put(&j, "blob", d->exists ? d->blob : NULL);
    json_put_u64(&j, "last_seq", d->last_seq);
    json_put(&j, "agent", d->agent[0] ? d->agent : NULL);
    json_put_time(&j, "created", i->created_unix_ms);
    json_put(&j, "created_by", i->creator[0] ? i->creator : NULL);
    json_put_bool(&j, "created_outside", i->created_outside);
    json_put_time(&j, "changed", d->changed_unix_ms);
    json_put(&j, "changed_by", i->changer[0] ? i->changer : NULL);
    json_put_bool(&j, "changed_outside", i->changed_outside);
    json_put_bool(&j, "modified_outside", d->modified_outside != 0);
    json_open(&j, "unlocked", '[');
    for (size_t k = 0; k < i->grant_count; k++) {
        json_open(&j, NULL, '{');
        json_put(&j, "actor", i->grants[k].actor);
        json_put_time(&j, "until", i->grants[k].until_unix_ms);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

static void info_line(out_table *t, const char *label, out_style style, const char *text) {
    out_cellf(t, OUT_DIM, "%s", label);
    out_cell(t, style, text, strlen(text));
}

/* "user may, agents may not, the system may not" */
static void info_who(cli *c, const info *i, char *out, size_t size) {
    static const struct {
        const char *actor, *name;
    } who[] = {{"user", "user"}, {"agent:anybody", "agents"}, {"system", "system"}};
    out[0] = 0;
    for (size_t k = 0; k < 3; k++) {
        agt_caller caller = AGT_CALLER(who[k].actor);
        agt_status st =
            agt_may(c->store, &caller, AGT_ACTION_WRITE, i->path, AGT_TYPE_DEFAULT, NULL);
        const char *may = st == AGT_OK ? "yes" : st == AGT_DENIED ? "no" : "asked";
        size_t n = strlen(out);
        (void)snprintf(out + n, size - n, "%s%s %s", k ? ", " : "", who[k].name, may);
    }
}

static void info_grants(out_table *t, const info *i) {
    char time[CLI_TIME_TEXT], text[AGT_MAX_NAME + 80];
    for (size_t k = 0; k < i->grant_count; k++) {
        (void)snprintf(text, sizeof text, "%s until %s", i->grants[k].actor,
                       out_time(i->grants[k].until_unix_ms, time));
        info_line(t, k ? "" : "unlocked for", OUT_YELLOW, text);
    }
}

static void info_print(cli *c, const info *i) {
    char time[CLI_TIME_TEXT], bytes[24], text[200];
    const agt_document *d = &i->document;
    const char *type = agt_type_name((agt_type)d->type);
    out_table t = {.columns = 2, .wrap = true};
    info_line(&t, "path", OUT_BOLD, d->path);
    info_line(&t, "type", out_type_style(type, strlen(type)), type);
    info_who(c, i, text, sizeof text);
    info_line(&t, "may write", OUT_PLAIN, text);
    info_grants(&t, i);
    (void)snprintf(text, sizeof text, "%u%s", d->version, d->exists ? "" : " (deleted)");
    info_line(&t, "version", OUT_PLAIN, text);
    info_line(&t, "size", OUT_PLAIN, out_bytes(d->size_bytes, bytes));
    if (i->created_unix_ms) {
        (void)snprintf(text, sizeof text, "%s by %s%s", out_time(i->created_unix_ms, time),
                       i->creator, i->created_outside ? ", " EVENT_OUTSIDE : "");
        info_line(&t, "created", OUT_PLAIN, text);
    }
    (void)snprintf(text, sizeof text, "%s%s%s%s", out_time(d->changed_unix_ms, time),
                   i->changer[0] ? " by " : "", i->changer,
                   i->changed_outside ? ", " EVENT_OUTSIDE : "");
    info_line(&t, "changed", OUT_PLAIN, text);
    if (d->agent[0]) info_line(&t, "made by agent", OUT_PLAIN, d->agent);
    if (d->modified_outside)
        info_line(&t, "file", OUT_YELLOW,
                  cli_gone(c, d->path) ? "deleted outside; 'agent-trace restore' brings it back"
                                       : "edited outside; the next change records that first");
    info_line(&t, "id", OUT_DIM, d->id);
    if (d->exists) info_line(&t, "blob", OUT_DIM, d->blob);
    out_rows(&t);
    out_table_free(&t);
}

static int command_info(cli *c) {
    const agt_document empty = AGT_DOCUMENT_INIT;
    const agt_grant blank = AGT_GRANT_INIT;
    info i = {.document = empty};
    agt_error err;
    i.grants[0] = blank;
    int code = cli_find(c);
    if (code == CLI_DONE) code = cli_document_path(c, c->args.words[0], i.path, sizeof i.path);
    if (code == CLI_DONE) code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    agt_status st = agt_document_get(c->store, i.path, &i.document, &err);
    if (st == AGT_OK) st = agt_grants(c->store, i.path, i.grants, &i.grant_count, &err);
    if (st == AGT_OK) st = info_events(c, &i, &err);
    if (st != AGT_OK) return cli_close(c, cli_failed(c, st, &err));
    if (c->json)
        info_print_json(&i);
    else
        info_print(c, &i);
    return cli_close(c, CLI_DONE);
}

/* ---- what they are ---- */

const cli_command cli_violations = {
    .name = "violations",
    .run = command_violations,
    .pages = true,
    .group = "permissions",
    .line = "what was refused, by whom and why",
    .usage = "[options]\nshow NUMBER [--diff]",
    .text = "Lists refused changes, the newest first; \"kept\" says that the refused bytes are "
            "there to be looked at, \"not kept\" that there were some. 'show NUMBER' prints them, "
            "with --diff as a patch against the document as it is. The number is the first column.",
    .takes = {{OPT_BY, NULL},
              {OPT_LIMIT, "the newest N (default " CLI_QUOTE(CLI_LOG_LIMIT) "; 0: all)"},
              {OPT_DIFF, NULL},
              {OPT_JSON, "an array of events"}},
    .examples = "agent-trace violations --actor agent\n"
                "agent-trace violations show 12 --diff",
    .see = "log unlock info",
    .max = 2,
    .offers = {"show", NULL},
};

const cli_command cli_info = {
    .name = "info",
    .run = command_info,
    .group = "documents",
    .line = "all that is known of a document",
    .usage = "PATH [--json]",
    .text =
        "Shows a document's type, who may write it, for whom it is unlocked, how many versions it "
        "has, who made it and when, who changed it last, and its id, which it keeps when it is "
        "moved. Of an edit that was made outside agent-trace nobody knows by whom.",
    .takes = {{OPT_JSON, NULL}},
    .examples = "agent-trace info docs/plan.md",
    .see = "log ls unlock",
    .min = 1,
    .max = 1,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT},
};
