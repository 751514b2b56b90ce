/* commands_read: show, diff and ls. None of them changes a document. */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opens the store and turns the first word into a path. */
static int read_begin(cli *c, char *path, size_t size) {
    int code = cli_find(c);
    if (code == CLI_DONE) code = cli_document_path(c, c->args.words[0], path, size);
    return code == CLI_DONE ? cli_open(c, false) : code;
}

/* Bytes as text, or as base64 where they are none. */
static void read_put_text(out_json *j, const char *key, const agt_bytes *bytes) {
    const char *text = (const char *)bytes->data;
    bool utf8 = text_is_utf8(text, bytes->len);
    json_put(j, "encoding", utf8 ? "utf-8" : "base64");
    if (utf8)
        json_put_text(j, key, text ? text : "", bytes->len);
    else
        json_put_base64(j, key, bytes->data, bytes->len);
}

/* ---- show ---- */

typedef struct show {
    char path[AGT_MAX_PATH * 4];
    uint32_t version; /* 0: the newest */
    bool disk;
    agt_document document;
    agt_bytes bytes;
} show;

static agt_status show_read(cli *c, show *s, agt_error *err) {
    if (s->disk) return agt_read(c->store, s->path, &s->bytes, &s->document, err);
    agt_status st = agt_read_version(c->store, s->path, s->version, &s->bytes, err);
    if (st == AGT_OK && c->json) st = agt_document_get(c->store, s->path, &s->document, err);
    return st;
}

/* A deleted document is, to the one who asks, not there; its versions are. */
static int show_refused(cli *c, show *s, agt_status st, const agt_error *err) {
    if (s->version == 0 && agt_document_get(c->store, s->path, &s->document, NULL) == AGT_OK &&
        !s->document.exists)
        return out_fail(CLI_NOT_FOUND,
                        "%s was deleted; 'agent-trace log %s' names its versions, and 'agent-trace "
                        "show %s %u' shows the one before",
                        s->path, s->path, s->path, s->document.version - 1);
    return cli_failed(c, st, err);
}

static void show_print_json(const show *s) {
    const agt_document *d = &s->document;
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put(&j, "path", d->path);
    json_put_u64(&j, "version", s->version ? s->version : d->version);
    json_put_u64(&j, "newest_version", d->version);
    json_put(&j, "type", agt_type_name((agt_type)d->type));
    json_put_bool(&j, "exists", d->exists != 0);
    json_put_bool(&j, "modified_outside", d->modified_outside != 0);
    json_put_u64(&j, "size_bytes", s->bytes.len);
    read_put_text(&j, "content", &s->bytes);
    json_close(&j, '}');
}

/* What nobody can read is not printed on a terminal, but how to have it. */
void show_bytes(const cli *c, const agt_bytes *bytes) {
    char size[24];
    bool binary = bytes->len && memchr(bytes->data, 0, bytes->len) != NULL;
    if (!binary || !out_is_terminal(1)) {
        if (bytes->len) out_document((const char *)bytes->data, bytes->len);
        return;
    }
    (void)printf("%s that are no text; 'agent-trace %s", out_bytes(bytes->len, size), c->command);
    for (int i = 0; i < c->args.count; i++) {
        (void)putchar(' ');
        out_text(c->args.words[i], strlen(c->args.words[i]));
    }
    (void)puts(" > FILE' has them");
}

static int command_show(cli *c) {
    const agt_document empty = AGT_DOCUMENT_INIT;
    show s = {.document = empty};
    agt_error err;
    int code = CLI_DONE;
    s.disk = c->args.value[OPT_DISK] != NULL;
    if (c->args.count > 1) code = args_version(c->args.words[1], "the version", 1, &s.version);
    if (code == CLI_DONE && s.disk && s.version)
        code = out_usage(c->command, "--disk shows the file; leave the version out");
    if (code == CLI_DONE) code = read_begin(c, s.path, sizeof s.path);
    if (code != CLI_DONE) return code;
    agt_status st = show_read(c, &s, &err);
    if (st != AGT_OK) return cli_close(c, show_refused(c, &s, st, &err));
    if (c->json)
        show_print_json(&s);
    else
        show_bytes(c, &s.bytes);
    agt_bytes_free(&s.bytes);
    return cli_close(c, CLI_DONE);
}

/* ---- diff ---- */

static out_style diff_style(const char *line, size_t n) {
    if (n >= 4 && (memcmp(line, "--- ", 4) == 0 || memcmp(line, "+++ ", 4) == 0)) return OUT_BOLD;
    if (n == 0) return OUT_PLAIN;
    if (line[0] == '@') return OUT_CYAN;
    if (line[0] == '+') return OUT_GREEN;
    if (line[0] == '-') return OUT_RED;
    if (line[0] == '\\') return OUT_DIM;
    return line[0] == ' ' ? OUT_PLAIN : OUT_BOLD;
}

/* The patch with colours, which only the header's lines before the first "@@" could confuse. */
void diff_print(const char *patch, size_t len) {
    bool header = true;
    if (len) out_page();
    for (size_t n; len > 0; patch += n, len -= n) {
        const char *end = memchr(patch, '\n', len);
        n = end ? (size_t)(end - patch) + 1 : len;
        size_t text = end ? n - 1 : n;
        if (patch[0] == '@') header = false;
        out_style style = diff_style(patch, text);
        if (!header && style == OUT_BOLD) style = patch[0] == '+' ? OUT_GREEN : OUT_RED;
        if (style != OUT_PLAIN) out_set(style);
        out_document(patch, text);
        if (style != OUT_PLAIN) out_set(OUT_PLAIN);
        if (end) (void)putchar('\n');
    }
}

/* `to` 0 is the file on disk, which has no number. */
static void diff_print_json(const char *path, uint32_t from, uint32_t to, const agt_bytes *patch) {
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put(&j, "path", path);
    json_put_u64(&j, "from", from);
    if (to)
        json_put_u64(&j, "to", to);
    else
        json_put(&j, "to", NULL);
    read_put_text(&j, "patch", patch);
    json_close(&j, '}');
}

static int command_diff(cli *c) {
    uint32_t from = 0, to = 0;
    agt_error err;
    agt_bytes patch = {0};
    agt_document d = AGT_DOCUMENT_INIT;
    char path[AGT_MAX_PATH * 4];
    int code = CLI_DONE;
    if (c->args.count > 1) code = args_version(c->args.words[1], "FROM", 1, &from);
    if (code == CLI_DONE && c->args.count > 2) code = args_version(c->args.words[2], "TO", 1, &to);
    if (code == CLI_DONE) code = read_begin(c, path, sizeof path);
    if (code != CLI_DONE) return code;
    agt_status st = AGT_OK;
    if (c->json && !from) { /* the newest version, by its number */
        st = agt_document_get(c->store, path, &d, &err);
        from = d.version;
    }
    if (st == AGT_OK) st = agt_diff(c->store, path, from, to, &patch, &err);
    if (st != AGT_OK) return cli_close(c, cli_failed(c, st, &err));
    if (c->json)
        diff_print_json(d.path[0] ? d.path : path, from, to, &patch);
    else
        diff_print((const char *)patch.data, patch.len);
    agt_bytes_free(&patch);
    return cli_close(c, CLI_DONE);
}

/* ---- ls ---- */

/* What scripts of agent-trace 0.1.0 read, by its names; it had tags and descriptions in its format,
 * and no command that gave a document one. */
static void ls_json_names(out_json *j, const agt_document *d) {
    json_put(j, "doc_type", agt_type_name((agt_type)d->type));
    json_put(j, "agent_name", d->agent);
    json_open(j, "tags", '[');
    json_close(j, ']');
    json_put(j, "description", "");
}

static void ls_json(out_json *j, const agt_document *d) {
    json_open(j, NULL, '{');
    json_put(j, "path", d->path);
    json_put(j, "type", agt_type_name((agt_type)d->type));
    json_put_u64(j, "version", d->version);
    json_put_bool(j, "exists", d->exists != 0);
    json_put_bool(j, "modified_outside", d->modified_outside != 0);
    json_put_u64(j, "size_bytes", d->size_bytes);
    json_put_time(j, "changed", d->changed_unix_ms);
    json_put_u64(j, "last_seq", d->last_seq);
    json_put(j, "agent", d->agent[0] ? d->agent : NULL);
    json_put(j, "id", d->id);
    json_put(j, "blob", d->blob[0] ? d->blob : NULL);
    ls_json_names(j, d);
    json_close(j, '}');
}

/* "scratch  v3  3 min ago  1.2 KB  notes.md" and what is special about it; in a pipe that has a
 * column of its own, and the size is in bytes. */
static void ls_row(const cli *c, out_table *t, const agt_document *d) {
    char shown[AGT_MAX_PATH * 4], time[CLI_TIME_TEXT], size[24], mark[AGT_MAX_PATH * 4 + 32];
    const char *type = agt_type_name((agt_type)d->type);
    const char *state = !d->exists             ? "deleted"
                        : !d->modified_outside ? ""
                        : cli_gone(c, d->path) ? "deleted outside"
                                               : "modified outside";
    out_style style = !d->exists ? OUT_DIM : d->modified_outside ? OUT_YELLOW : OUT_PLAIN;
    cli_shown(c, d->path, strlen(d->path), shown, sizeof shown);
    out_cell(t, out_type_style(type, strlen(type)), type, strlen(type));
    out_cellf(t, OUT_PLAIN, "v%u", d->version);
    out_cellf(t, OUT_DIM, "%s", out_time(d->changed_unix_ms, time));
    if (!out_columns()) {
        out_cellf(t, OUT_PLAIN, "%llu", (unsigned long long)d->size_bytes);
        out_cellf(t, style, "%s", state);
        out_cell(t, style, shown, strlen(shown));
        return;
    }
    int n = snprintf(mark, sizeof mark, "%s%s%s%s", shown, state[0] ? "  (" : "", state,
                     state[0] ? ")" : "");
    out_cellf(t, OUT_PLAIN, "%s", d->exists ? out_bytes(d->size_bytes, size) : "-");
    out_cell_tail(t, style, mark, n < 0 ? 0 : (size_t)n, state[0] ? strlen(state) + 4 : 0);
}

typedef struct listing {
    const cli *c;
    out_table table;
    out_json json;
    uint64_t count;
} listing;

static void ls_add(listing *l, const agt_document *d) {
    if (l->c->json && !l->count) json_open(&l->json, NULL, '[');
    l->count++;
    if (l->c->json)
        ls_json(&l->json, d);
    else
        ls_row(l->c, &l->table, d);
    if (l->table.count >= 5 * 1000) out_rows(&l->table);
}

static agt_status ls_walk(cli *c, const agt_list_options *o, listing *l, agt_error *err) {
    agt_cursor *cursor;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_status st = agt_list(c->store, o, &cursor, err);
    if (st != AGT_OK) return st;
    while (!out_is_broken() && (st = agt_list_next(cursor, &d, err)) == AGT_OK)
        if (!cli_is_index(d.path)) ls_add(l, &d);
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

/* The word may also name a document. */
static agt_status ls_one(cli *c, const agt_list_options *o, listing *l, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    agt_status st = agt_document_get(c->store, o->under, &d, err);
    if (st == AGT_OK && (d.exists || o->deleted) && (!o->type || d.type == o->type))
        ls_add(l, &d);
    else if (st == AGT_OK || st == AGT_NOT_FOUND)
        (void)snprintf(err->message, sizeof err->message, "no document is, or is in, %.400s",
                       o->under);
    return l->count || (st != AGT_OK && st != AGT_NOT_FOUND) ? st : AGT_NOT_FOUND;
}

static int command_ls(cli *c) {
    agt_error err;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    char under[AGT_MAX_PATH * 4] = "";
    listing l = {
        .c = c,
        .table = {.columns = out_columns() ? 5 : 6, .right = 1u << 1 | 1u << 3, .shrink = 4},
        .json = {.lines = true}};
    o.deleted = c->args.value[OPT_DELETED] != NULL;
    o.look = 1;
    int code = cli_type(c, &o.type);
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE && c->args.count)
        code = cli_folder_path(c, c->args.words[0], under, sizeof under);
    if (code == CLI_DONE) code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    if (under[0]) o.under = under;
    agt_status st = ls_walk(c, &o, &l, &err);
    if (st == AGT_OK && under[0] && !l.count) st = ls_one(c, &o, &l, &err);
    if (c->json) json_end_array(&l.json, l.count == 0 && st == AGT_OK);
    out_rows(&l.table);
    out_table_free(&l.table);
    if (st != AGT_OK)
        code = cli_failed(c, st, &err);
    else if (!l.count && !c->json && out_is_terminal(1))
        out_note("there is no document to list");
    return cli_close(c, code);
}

/* ---- what they are ---- */

const cli_command cli_show = {
    .name = "show",
    .run = command_show,
    .group = "documents",
    .line = "print a document, or one of its versions",
    .usage = "PATH [VERSION] [--disk]",
    .text = "Prints the bytes of a version, unchanged; without VERSION those of the newest one. On "
            "a terminal control characters are made visible, and what is no text is not printed.",
    .takes = {{OPT_DISK, NULL},
              {OPT_JSON,
               "content and what is known about the document, as JSON; content that is no "
               "text is in base64"}},
    .examples = "agent-trace show docs/plan.md 3 > plan-3.md",
    .see = "log diff restore",
    .min = 1,
    .max = 2,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT, NULL},
};

const cli_command cli_diff = {
    .name = "diff",
    .run = command_diff,
    .pages = true,
    .group = "history",
    .line = "compare two versions, or a version and the file",
    .usage = "PATH [FROM] [TO]",
    .text =
        "Prints a patch from version FROM to version TO. Without TO it compares with the file on "
        "disk, without FROM from the newest version: what was edited outside. Prints nothing "
        "where both are equal.",
    .takes = {{OPT_JSON, "path, from, to (null: the file), encoding and patch, as JSON"}},
    .examples = "agent-trace diff docs/plan.md\n"
                "agent-trace diff docs/plan.md 2 5",
    .see = "log show",
    .min = 1,
    .max = 3,
    .wants = "a PATH",
    .offers = {OFFER_DOCUMENT, NULL},
};

const cli_command cli_ls = {
    .name = "ls",
    .run = command_ls,
    .group = "documents",
    .line = "list documents",
    .usage = "[PATH] [options]",
    .text =
        "Lists the documents, or those in a folder: type, version, time of the last change, size "
        "and path, and whether somebody edited the file outside agent-trace.",
    .takes = {{OPT_TYPE, "only plan, context, log, reference or scratch"},
              {OPT_DELETED, NULL},
              {OPT_JSON, "an array of documents"}},
    .examples = "agent-trace ls docs --type plan",
    .see = "status log",
    .max = 1,
    .offers = {OFFER_PLACE},
};
