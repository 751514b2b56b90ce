/* scan: see scan.h.
 *
 * (1) Every *.md is taken, and what a --type GLOB names; nothing in a folder that begins with a
 * dot, nothing that a program makes anew (AGENT-TRACE.md, context.md, logs/), and nothing that the
 *     patterns leave out.
 * (2) As many as fit are one batch: one record, one commit. A file that cannot be taken is left out
 *     and told; where there are many of those, the rest of its batch is taken one by one.
 * (3) A batch that is denied records nothing: the file is tried once more by itself, so that the
 *     refusal is an event.
 * (4) A file with the bytes of a document whose own file is gone was moved: it is left to mv, which
 *     keeps the type that says who may write it. */
#include "scan.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_RETRIES 16

/* ---- which, and of what type ---- */

/* The n-th --type, cut into glob and type; false behind the last. */
static bool scan_rule(const cli *c, size_t n, char *glob, size_t size, agt_type *type) {
    for (size_t i = 0; i < c->args.given_count; i++) {
        if (c->args.given[i].option != OPT_TYPE || n--) continue;
        const char *value = c->args.given[i].value, *equals = strrchr(value, '=');
        size_t len = equals ? (size_t)(equals - value) : 0;
        *type = equals && len && len < size ? agt_type_from_name(equals + 1) : AGT_TYPE_DEFAULT;
        if (len >= size) len = 0;
        memcpy(glob, value, len);
        glob[len] = 0;
        return true;
    }
    return false;
}

int scan_check(cli *c) {
    char glob[AGT_MAX_PATH];
    agt_type type;
    for (size_t i = 0; scan_rule(c, i, glob, sizeof glob, &type); i++)
        if (!type)
            return out_usage(c->command,
                             "each --type is GLOB=TYPE, as in 'plans/*.md=plan'; a TYPE is plan, "
                             "context, log, reference or scratch");
    return CLI_DONE;
}

/* A glob without a slash is about the name alone; with `**` it crosses folders. */
static bool scan_glob(const char *glob, const char *path) {
    const char *slash = strrchr(path, '/');
    bool whole = strchr(glob, '/') != NULL;
    if (glob[0] == '/') glob++;
    return fnmatch(glob, whole || !slash ? path : slash + 1,
                   strstr(glob, "**") ? 0 : FNM_PATHNAME) == 0;
}

/* The type of the first glob that matches; AGT_TYPE_DEFAULT if none does. */
static agt_type scan_type(const cli *c, const char *path) {
    char glob[AGT_MAX_PATH];
    agt_type type;
    for (size_t i = 0; scan_rule(c, i, glob, sizeof glob, &type); i++)
        if (scan_glob(glob, path)) return type;
    return AGT_TYPE_DEFAULT;
}

static bool scan_is_hidden(const char *path) {
    for (; strchr(path, '/'); path = strchr(path, '/') + 1)
        if (path[0] == '.') return true;
    return false;
}

static bool scan_is_markdown(const char *path) {
    size_t n = strlen(path);
    return n > 3 && strcmp(path + n - 3, ".md") == 0;
}

/* Only the paths of what programs make are closed to agents whatever the type is. */
static bool scan_is_generated(const char *path) {
    return agt_permission("agent:a", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, path) == AGT_DENIED;
}

/* (1): keeps what is wanted; each file's type is in `type` then. */
static void scan_choose(const cli *c, scan *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->files.count; i++) {
        agt_document *d = &s->files.file[i];
        agt_type type = scan_type(c, d->path);
        if (scan_is_hidden(d->path))
            s->hidden++;
        else if (scan_is_generated(d->path))
            s->generated++;
        else if (!type && !scan_is_markdown(d->path))
            s->others++;
        else {
            d->type = type ? (uint32_t)type : AGT_TYPE_SCRATCH;
            if (kept != i) s->files.file[kept] = *d;
            kept++;
        }
    }
    s->files.count = kept;
}

/* ---- what was moved: (4) ---- */

static void scan_leave_moved(cli *c, scan *s) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    char to[AGT_MAX_PATH + 8];
    if (!s->files.count || agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return;
    while (agt_list_next(cursor, &d, NULL) == AGT_OK) {
        if (!cli_gone(c, d.path) || !files_take_moved(c, &s->files, d.path, d.size_bytes, to))
            continue;
        if (s->moved++) continue;
        (void)snprintf(s->moved_from, sizeof s->moved_from, "%s", d.path);
        (void)snprintf(s->moved_to, sizeof s->moved_to, "%s", to);
    }
    agt_cursor_close(cursor);
}

/* ---- taking them: (2) ---- */

typedef struct scan_batch {
    agt_change change[AGT_MAX_BATCH];
    agt_write_options options[AGT_MAX_BATCH];
    agt_write_result result[AGT_MAX_BATCH];
    size_t count;
} scan_batch;

/* Is it about this one file, so that the others can go on? */
static bool scan_is_one(agt_status st, const agt_error *err) {
    switch (st) {
    case AGT_DENIED:
    case AGT_NEEDS_CONFIRMATION:
    case AGT_NOT_FOUND:
    case AGT_CONFLICT:
    case AGT_INVALID:
    case AGT_LIMIT: return true;
    case AGT_IO: return !err->outcome_unknown;
    default: return false;
    }
}

static void scan_refuse(scan *s, agt_status status, const char *path, const char *message) {
    char shown[128];
    s->denied += status == AGT_DENIED || status == AGT_NEEDS_CONFIRMATION;
    if (s->refused++) return;
    (void)out_shorten(path, strlen(path), 64, shown, sizeof shown);
    if (strncmp(message, path, strlen(path)) == 0) shown[0] = 0; /* it names the file itself */
    (void)snprintf(s->why, sizeof s->why, "%s%s%.400s", shown, shown[0] ? ": " : "", message);
}

static void scan_count(scan *s, const agt_change *change) {
    s->taken++;
    s->by_type[change->options->type]++;
}

static void scan_drop(scan_batch *b, size_t i) {
    memmove(&b->change[i], &b->change[i + 1], (b->count - i - 1) * sizeof b->change[0]);
    b->count--;
}

static void scan_results(scan_batch *b) {
    const agt_write_result fresh = AGT_WRITE_RESULT_INIT;
    for (size_t i = 0; i < b->count; i++)
        b->result[i] = fresh;
}

static agt_status scan_one_by_one(cli *c, scan *s, scan_batch *b, size_t from, size_t count,
                                  agt_error *err) {
    const agt_change *change = b->change + from;
    scan_results(b);
    agt_status st = agt_group(c->store, change, count, 0, b->result, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; i < count; i++)
        if (b->result[i].status == AGT_OK)
            scan_count(s, &change[i]);
        else
            scan_refuse(s, (agt_status)b->result[i].status, change[i].path, b->result[i].message);
    return AGT_OK;
}

static agt_status scan_take(cli *c, scan *s, scan_batch *b, agt_error *err) {
    for (int tries = 0; b->count; tries++) {
        if (tries == SCAN_RETRIES) return scan_one_by_one(c, s, b, 0, b->count, err);
        scan_results(b);
        agt_status st =
            agt_batch(c->store, b->change[0].caller, b->change, b->count, 0, b->result, err);
        if (st == AGT_OK) break;
        if (!scan_is_one(st, err)) return st;
        if (err->offset < 0 || (uint64_t)err->offset >= b->count) /* too much for one batch */
            return scan_one_by_one(c, s, b, 0, b->count, err);
        size_t at = (size_t)err->offset;
        if (st != AGT_DENIED)
            scan_refuse(s, st, b->change[at].path, err->message);
        else if ((st = scan_one_by_one(c, s, b, at, 1, err)) != AGT_OK) /* (3) */
            return st;
        scan_drop(b, at);
    }
    for (size_t i = 0; i < b->count; i++)
        scan_count(s, &b->change[i]);
    return AGT_OK;
}

int scan_run(cli *c, scan *s) {
    const agt_change fresh = AGT_CHANGE_INIT;
    const agt_write_options plain = AGT_WRITE_OPTIONS_INIT;
    agt_error err;
    agt_caller caller;
    int code = cli_caller(c, "init", &caller);
    if (code != CLI_DONE) return code;
    scan_batch *b = out_alloc(sizeof *b);
    agt_status st = files_read(c, &s->files, &err);
    if (st == AGT_OK) scan_choose(c, s);
    if (st == AGT_OK) scan_leave_moved(c, s);
    for (size_t at = 0; st == AGT_OK && at < s->files.count; at += AGT_MAX_BATCH) {
        size_t left = s->files.count - at;
        b->count = left < AGT_MAX_BATCH ? left : AGT_MAX_BATCH;
        for (size_t i = 0; i < b->count; i++) {
            b->options[i] = plain;
            b->options[i].type = s->files.file[at + i].type;
            b->change[i] = fresh;
            b->change[i].kind = AGT_CHANGE_ADD;
            b->change[i].caller = &caller;
            b->change[i].path = s->files.file[at + i].path;
            b->change[i].options = &b->options[i];
        }
        st = scan_take(c, s, b, &err);
    }
    free(b);
    return st == AGT_OK ? CLI_DONE : cli_failed(c, st, &err);
}

/* ---- what came of it ---- */

static void scan_line(size_t n, const char *one, const char *many) {
    if (n) (void)printf("  %zu %s\n", n, n == 1 ? one : many);
}

void scan_print(const scan *s) {
    char text[AGT_MAX_PATH + 80];
    const char *between = ": ";
    (void)printf("took in %zu document%s", s->taken, s->taken == 1 ? "" : "s");
    for (int type = 1; type < SCAN_TYPES; type++) {
        if (!s->by_type[type]) continue;
        (void)printf("%s%zu %s", between, s->by_type[type], agt_type_name((agt_type)type));
        between = ", ";
    }
    (void)putchar('\n');
    size_t left = s->hidden + s->generated + s->others + s->moved + s->refused;
    for (int i = 0; i < AGT_LEFT_OUT_LAST_; i++)
        left += s->files.left_out[i];
    if (!left) return;
    (void)puts("left out:");
    scan_line(s->others, "file that is no *.md", "files that are no *.md");
    scan_line(s->hidden, "file in a hidden folder", "files in hidden folders");
    scan_line(s->generated, "file whose name agent-trace uses itself",
              "files whose names agent-trace uses itself");
    for (uint32_t i = 1; i < AGT_LEFT_OUT_LAST_; i++)
        if (files_left_out(&s->files, i, text, sizeof text)) {
            (void)fputs("  ", stdout);
            out_text(text, strlen(text));
            (void)putchar('\n');
        }
    scan_line(s->moved, "file that is a document, moved outside",
              "files that are documents, moved outside");
    if (s->moved)
        out_note("%s is %s; 'agent-trace mv' with both paths keeps its type and versions",
                 s->moved_to, s->moved_from);
    scan_line(s->refused, "file that was refused", "files that were refused");
    if (s->refused) out_note("%s", s->why);
}

void scan_print_json(const scan *s, out_json *j) {
    json_put_u64(j, "taken", s->taken);
    json_open(j, "left_out", '{');
    json_put_u64(j, "no_markdown", s->others);
    json_put_u64(j, "hidden", s->hidden);
    json_put_u64(j, "generated", s->generated);
    for (uint32_t i = 1; i < AGT_LEFT_OUT_LAST_; i++)
        json_put_u64(j, files_reason(i), s->files.left_out[i]);
    json_put_u64(j, "moved", s->moved);
    json_put_u64(j, "refused", s->refused);
    json_close(j, '}');
}

void scan_free(scan *s) {
    files_free(&s->files);
}
