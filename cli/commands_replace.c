/* commands_replace: one text for another in all documents, as one change.
 *
 * (1) Every document is read, and what it would become is made, before anything is asked or
 * changed. (2) All of it is one batch: every document changes or none, and each only from the
 * version that was read. (3) AGENT-TRACE.md is passed by, which
 * is made from the others. What is no text (a NUL, or no UTF-8) is left alone, and so is what the
 * caller may not write: that is a refusal for each such document with a match, recorded and told.
 * (4) A pattern sees one line at a time, from its first byte on and without what ends it, so that
 * `^`, `$` and `\b` mean what they do elsewhere; and it sees characters, not bytes.
 */
#include "change.h"
#include "cli.h"
#include "output.h"
#include "text.h"

#include <locale.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#define REPLACE_GROUPS 10

typedef struct replace_file {
    char *path;
    change_bytes old, new;
    size_t matches;
    uint32_t version;
} replace_file;

typedef struct replace {
    const char *find, *with;
    size_t find_len, with_len;
    bool word, regex;
    regex_t pattern;
    agt_caller caller;
    uint32_t durability;
    replace_file *files, *denied; /* to be changed; which the caller may not write */
    size_t count, cap, denied_count, denied_cap, matches;
    size_t binary, asked;
    char summary[256];
} replace;

/* ---- the bytes ---- */

static void replace_put(change_bytes *b, const char *s, size_t n) {
    if (b->cap - b->len < n + 1) {
        b->cap = (b->len + n + 1) * 2;
        b->data = out_grow(b->data, b->cap);
    }
    if (n) memcpy(b->data + b->len, s, n);
    b->len += n;
    b->data[b->len] = 0;
}

static bool replace_in_word(char c) {
    unsigned char u = (unsigned char)c;
    return u >= 0x80 || u == '_' || (u >= '0' && u <= '9') || ((u | 32) >= 'a' && (u | 32) <= 'z');
}

/* Neither end of text[from..to) is inside a word. */
static bool replace_is_word(const char *text, size_t len, size_t from, size_t to) {
    bool before = from > 0 && replace_in_word(text[from - 1]) && replace_in_word(text[from]);
    bool after = to < len && replace_in_word(text[to - 1]) && replace_in_word(text[to]);
    return !before && !after;
}

/* The end of the line that begins at `from`, without what ends it; *next is behind that, or behind
 * the text's end. */
static size_t replace_line(const char *text, size_t len, size_t from, size_t *next) {
    const char *feed = memchr(text + from, '\n', len - from);
    size_t end = feed ? (size_t)(feed - text) : len;
    *next = end + 1;
    return feed && end > from && text[end - 1] == '\r' ? end - 1 : end;
}

/* The next match in one line (4); false: there is none in it. */
static bool replace_in_line(const replace *r, const char *text, size_t from, size_t at, size_t to,
                            regmatch_t m[REPLACE_GROUPS]) {
#ifdef REG_STARTEND
    m[0].rm_so = (regoff_t)(at - from);
    m[0].rm_eo = (regoff_t)(to - from);
    if (regexec(&r->pattern, text + from, REPLACE_GROUPS, m, REG_STARTEND) != 0) return false;
#else
    char *line = out_alloc(to - at + 1);
    memcpy(line, text + at, to - at);
    line[to - at] = 0;
    int rc = regexec(&r->pattern, line, REPLACE_GROUPS, m, at > from ? REG_NOTBOL : 0);
    free(line);
    if (rc != 0) return false;
    from = at;
#endif
    for (size_t i = 0; i < REPLACE_GROUPS; i++)
        if (m[i].rm_so >= 0) m[i].rm_so += (regoff_t)from, m[i].rm_eo += (regoff_t)from;
    return true;
}

/* The next match at or behind `at`, in the line from..to or, without a pattern, in the text. */
static bool replace_next(const replace *r, const char *text, size_t from, size_t at, size_t to,
                         regmatch_t m[REPLACE_GROUPS]) {
    if (r->regex) return replace_in_line(r, text, from, at, to, m);
    const char *found = at < to ? strstr(text + at, r->find) : NULL;
    if (!found) return false;
    m[0].rm_so = (regoff_t)(found - text);
    m[0].rm_eo = m[0].rm_so + (regoff_t)r->find_len;
    return true;
}

/* The replacement, in which \0 to \9 stand for what a pattern matched, and \\ for itself. */
static void replace_put_with(const replace *r, const char *text, const regmatch_t *m,
                             change_bytes *out) {
    if (!r->regex) {
        replace_put(out, r->with, r->with_len);
        return;
    }
    for (size_t i = 0; i < r->with_len; i++) {
        char c = r->with[i], next = i + 1 < r->with_len ? r->with[i + 1] : 0;
        if (c == '\\' && next >= '0' && next <= '9') {
            const regmatch_t *g = &m[next - '0'];
            if (g->rm_so >= 0) replace_put(out, text + g->rm_so, (size_t)(g->rm_eo - g->rm_so));
            i++;
        } else {
            if (c == '\\' && next == '\\') i++;
            replace_put(out, &c, 1);
        }
    }
}

/* Behind the character at `at`. */
static size_t replace_behind(const char *text, size_t len, size_t at) {
    do
        at++;
    while (at < len && ((unsigned char)text[at] & 0xc0) == 0x80);
    return at;
}

/* How many were replaced. What gets longer than a document can be is not made to its end. */
static size_t replace_all(const replace *r, const char *text, size_t len, change_bytes *out) {
    regmatch_t m[REPLACE_GROUPS];
    size_t done = 0, n = 0;
    for (size_t from = 0, next = len + 1; from <= len; from = next) {
        size_t to = r->regex ? replace_line(text, len, from, &next) : len, at = from;
        while (at <= to && out->len <= AGT_MAX_DOCUMENT && replace_next(r, text, from, at, to, m)) {
            size_t begin = (size_t)m[0].rm_so, end = (size_t)m[0].rm_eo;
            if (begin == end || (r->word && !replace_is_word(text, len, begin, end))) {
                at = replace_behind(text, len, begin);
                continue;
            }
            replace_put(out, text + done, begin - done);
            replace_put_with(r, text, m, out);
            at = done = end;
            n++;
        }
    }
    replace_put(out, text + done, len - done);
    return n;
}

/* ---- the documents ---- */

static void replace_free_files(replace_file *files, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(files[i].path);
        free(files[i].old.data);
        free(files[i].new.data);
    }
    free(files);
}

static void replace_free(replace *r) {
    replace_free_files(r->files, r->count);
    replace_free_files(r->denied, r->denied_count);
    if (r->regex) regfree(&r->pattern);
}

static replace_file *replace_file_new(replace *r) {
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->files = out_grow(r->files, r->cap * sizeof *r->files);
    }
    memset(&r->files[r->count], 0, sizeof r->files[0]);
    return &r->files[r->count];
}

static void replace_deny(replace *r, const replace_file *f) {
    if (r->denied_count == r->denied_cap) {
        r->denied_cap = r->denied_cap ? r->denied_cap * 2 : 16;
        r->denied = out_grow(r->denied, r->denied_cap * sizeof *r->denied);
    }
    r->denied[r->denied_count++] = *f;
}

static bool replace_is_text(const agt_bytes *b) {
    return !memchr(b->data, 0, b->len) && text_is_utf8((const char *)b->data, b->len);
}

/* Can what it would become be written? */
static agt_status replace_is_document(const char *path, const replace_file *f, agt_error *err) {
    const char *why = NULL;
    if (f->new.len > AGT_MAX_DOCUMENT)
        why = "longer than a document can be";
    else if (f->new.len && !text_is_utf8((const char *)f->new.data, f->new.len))
        why = "no UTF-8: FIND matches a part of a character";
    if (!why) return AGT_OK;
    (void)snprintf(err->message, sizeof err->message, "%.400s would become %s; nothing was changed",
                   path, why);
    return err->status = f->new.len > AGT_MAX_DOCUMENT ? AGT_LIMIT : AGT_INVALID;
}

/* Reads one document; it is kept if it has matches and may be changed. */
static agt_status replace_look(cli *c, replace *r, const char *path, agt_error *err) {
    agt_bytes b = {NULL, 0, NULL};
    agt_document d = AGT_DOCUMENT_INIT;
    agt_status st = agt_read(c->store, path, &b, &d, err);
    if (st == AGT_NOT_FOUND) return AGT_OK; /* it was deleted meanwhile */
    if (st != AGT_OK) return st;
    if (b.len && !replace_is_text(&b)) {
        r->binary++;
        agt_bytes_free(&b);
        return AGT_OK;
    }
    replace_file *f = replace_file_new(r);
    f->matches = b.len ? replace_all(r, (const char *)b.data, b.len, &f->new) : 0;
    if (f->matches && (st = replace_is_document(path, f, err)) != AGT_OK) {
        free(f->new.data);
        agt_bytes_free(&b);
        return st;
    }
    agt_caller plain = r->caller;
    plain.confirm = 0;
    agt_status may = AGT_OK;
    if (f->matches) may = agt_may(c->store, &plain, AGT_ACTION_WRITE, path, AGT_TYPE_DEFAULT, err);
    bool asked = may == AGT_NEEDS_CONFIRMATION; /* generated, mostly: not by the way */
    if (asked && !r->caller.confirm) r->asked++;
    if (!f->matches || (asked && !r->caller.confirm)) {
        free(f->new.data);
        agt_bytes_free(&b);
        return AGT_OK;
    }
    if (may != AGT_OK && may != AGT_DENIED && !asked) st = may;
    replace_put(&f->old, (const char *)b.data, b.len);
    f->path = out_alloc(strlen(path) + 1);
    memcpy(f->path, path, strlen(path) + 1);
    f->version = d.version + (d.modified_outside != 0); /* the edit is recorded first */
    if (may == AGT_DENIED)
        replace_deny(r, f);
    else {
        r->matches += f->matches;
        r->count++;
    }
    agt_bytes_free(&b);
    return st;
}

/* All documents of a type, in one folder or the whole store; or one document. */
static agt_status replace_collect(cli *c, replace *r, const char *under, uint32_t type,
                                  agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    bool one = under[0] && agt_document_get(c->store, under, &d, NULL) == AGT_OK && d.exists;
    if (one) return !type || d.type == type ? replace_look(c, r, under, err) : AGT_OK;
    o.under = under;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    bool any = !under[0];
    for (; (st = agt_list_next(cursor, &d, err)) == AGT_OK; any = true)
        if (!cli_is_index(d.path) && (!type || d.type == type) &&
            (st = replace_look(c, r, d.path, err)) != AGT_OK)
            break;
    agt_cursor_close(cursor);
    if (st != AGT_END || any) return st == AGT_END ? AGT_OK : st;
    (void)snprintf(err->message, sizeof err->message, "no document is, or is in, %.400s", under);
    return AGT_NOT_FOUND;
}

/* ---- telling and asking ---- */

static agt_status replace_show(cli *c, const replace *r, agt_error *err) {
    for (size_t i = 0; i < r->count; i++) {
        agt_bytes patch = {NULL, 0, NULL};
        const replace_file *f = &r->files[i];
        agt_status st = agt_diff_bytes(c->store, f->path, f->old.data, f->old.len, f->new.data,
                                       f->new.len, &patch, err);
        if (st != AGT_OK) return st;
        diff_print((const char *)patch.data, patch.len);
        agt_bytes_free(&patch);
    }
    return AGT_OK;
}

static void replace_notes(const replace *r) {
    if (r->binary)
        out_note("%zu document%s that %s no text left alone", r->binary, r->binary == 1 ? "" : "s",
                 r->binary == 1 ? "is" : "are");
    if (r->asked)
        out_note("%zu context or log document%s left alone; --yes takes them in", r->asked,
                 r->asked == 1 ? "" : "s");
}

static void replace_print(const cli *c, const replace *r, const char *done) {
    char shown[AGT_MAX_PATH * 4];
    if (c->json) {
        out_json j = {0};
        json_open(&j, NULL, '{');
        json_put(&j, "status", done);
        json_put_u64(&j, "matches", r->matches);
        json_put_u64(&j, "left_binary", r->binary);
        json_put_u64(&j, "left_denied", r->denied_count);
        json_put_u64(&j, "left_unconfirmed", r->asked);
        json_open(&j, "documents", '[');
        for (size_t i = 0; i < r->count; i++) {
            json_open(&j, NULL, '{');
            json_put(&j, "path", r->files[i].path);
            json_put_u64(&j, "matches", r->files[i].matches);
            json_close(&j, '}');
        }
        json_close(&j, ']');
        json_open(&j, "denied", '[');
        for (size_t i = 0; i < r->denied_count; i++)
            json_put(&j, NULL, r->denied[i].path);
        json_close(&j, ']');
        json_close(&j, '}');
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        const replace_file *f = &r->files[i];
        cli_shown(c, f->path, strlen(f->path), shown, sizeof shown);
        out_text(shown, strlen(shown));
        (void)printf(": %zu match%s\n", f->matches, f->matches == 1 ? "" : "es");
    }
    (void)printf("%zu match%s in %zu document%s, %s\n", r->matches, r->matches == 1 ? "" : "es",
                 r->count, r->count == 1 ? "" : "s", done);
}

static int replace_apply(cli *c, replace *r) {
    static const agt_write_options plain = AGT_WRITE_OPTIONS_INIT;
    static const agt_change blank = AGT_CHANGE_INIT;
    agt_error err;
    agt_change *changes = out_alloc(r->count * sizeof *changes);
    agt_write_options *options = out_alloc(r->count * sizeof *options);
    for (size_t i = 0; i < r->count; i++) {
        const replace_file *f = &r->files[i];
        options[i] = plain;
        options[i].check_version = 1; /* (2) */
        options[i].expected_version = f->version;
        options[i].summary = c->args.value[OPT_SUMMARY] ? c->args.value[OPT_SUMMARY] : r->summary;
        changes[i] = blank;
        changes[i].path = f->path;
        changes[i].bytes = f->new.data;
        changes[i].len = f->new.len;
        changes[i].options = &options[i];
    }
    agt_status st = agt_batch(c->store, &r->caller, changes, r->count, r->durability, NULL, &err);
    free(changes);
    free(options);
    return st == AGT_OK ? CLI_DONE : cli_failed(c, st, &err);
}

/* Tries what may not be written, so that it is recorded, and names it. */
static int replace_refuse(cli *c, const replace *r, bool dry) {
    char shown[AGT_MAX_PATH * 4];
    agt_error err;
    for (size_t i = 0; i < r->denied_count; i++) {
        const replace_file *f = &r->denied[i];
        agt_write_options o = AGT_WRITE_OPTIONS_INIT;
        agt_write_result result = AGT_WRITE_RESULT_INIT;
        o.check_version = 1; /* it is not written, whatever happens meanwhile, but as it was read */
        o.expected_version = f->version;
        o.durability = r->durability;
        cli_shown(c, f->path, strlen(f->path), shown, sizeof shown);
        agt_status st =
            dry ? agt_may(c->store, &r->caller, AGT_ACTION_WRITE, f->path, AGT_TYPE_DEFAULT, &err)
                : agt_write(c->store, &r->caller, f->path, f->new.data, f->new.len, &o, &result,
                            &err);
        if (st == AGT_OK) continue; /* somebody allowed it meanwhile */
        if (st != AGT_DENIED) return cli_failed(c, st, &err);
        if (!c->failure.path[0])
            (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", f->path);
        if (result.seq)
            (void)out_fail(CLI_DENIED, "denied: %s (recorded as event %llu)", err.message,
                           (unsigned long long)result.seq);
        else
            (void)out_fail(CLI_DENIED, "denied: %s", err.message);
    }
    return r->denied_count && !dry ? CLI_DENIED : CLI_DONE;
}

static int replace_decide(cli *c, replace *r) {
    agt_error err;
    char question[120];
    bool dry = c->args.value[OPT_DRY_RUN] != NULL, yes = r->caller.confirm != 0;
    replace_notes(r);
    if (!r->count) {
        int denied = replace_refuse(c, r, dry);
        if (r->denied_count && !c->json) return denied;
        if (c->json)
            replace_print(c, r, "no matches");
        else
            (void)puts("no matches");
        return denied;
    }
    if (r->count > AGT_MAX_BATCH) /* before anything is shown or asked that could not be done */
        return out_fail(CLI_USAGE,
                        "%zu documents have matches, and at most %d can be changed as one; name a "
                        "folder or a --type",
                        r->count, AGT_MAX_BATCH);
    bool asks = !dry && !yes && !c->json && out_is_terminal(0) && out_is_terminal(1);
    if ((dry && !c->json) || asks) {
        agt_status st = replace_show(c, r, &err);
        if (st != AGT_OK && st != AGT_UNSUPPORTED) return cli_failed(c, st, &err);
    }
    if (dry) {
        replace_print(c, r, "nothing was changed");
        return replace_refuse(c, r, dry);
    }
    (void)snprintf(question, sizeof question, "%zu match%s in %zu document%s", r->matches,
                   r->matches == 1 ? "" : "es", r->count, r->count == 1 ? "" : "s");
    (void)fflush(stdout);
    if (asks && !change_confirmed(question)) return out_fail(CLI_DENIED, "nothing was changed");
    int code = replace_apply(c, r);
    if (code != CLI_DONE) return code;
    replace_print(c, r, "changed");
    return replace_refuse(c, r, dry);
}

/* ---- the words ---- */

static int replace_pattern(cli *c, replace *r) {
    r->find = c->args.words[0];
    r->with = c->args.words[1];
    r->find_len = strlen(r->find);
    r->with_len = strlen(r->with);
    r->word = c->args.value[OPT_WORD] != NULL;
    bool regex = c->args.value[OPT_REGEX] != NULL;
    if (!r->find_len) return out_usage(c->command, "the text to find is empty");
    if (!text_is_utf8(r->find, r->find_len) || !text_is_utf8(r->with, r->with_len))
        return out_fail(CLI_USAGE, "FIND and WITH must be UTF-8");
    (void)snprintf(r->summary, sizeof r->summary, "replace '%.80s' with '%.80s'", r->find, r->with);
    for (char *p = r->summary; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = ' ';
    if (!text_is_utf8(r->summary, strlen(r->summary)))
        (void)snprintf(r->summary, sizeof r->summary, "replace in several documents");
    if (!regex) return CLI_DONE;
    char why[200];
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8) (void)uselocale(utf8); /* where there is none bytes are matched, and looked at (4) */
    int rc = regcomp(&r->pattern, r->find, REG_EXTENDED | REG_NEWLINE);
    if (rc != 0) {
        (void)regerror(rc, &r->pattern, why, sizeof why);
        return out_fail(CLI_USAGE, "'%s' is no regular expression: %s", r->find, why);
    }
    r->regex = true;
    if (regexec(&r->pattern, "", 0, NULL, 0) == 0)
        return out_fail(
            CLI_USAGE,
            "'%s' matches the empty text, which is everywhere; make it match a character, "
            "as '^(.)' does where '^' does not",
            r->find);
    return CLI_DONE;
}

static int replace_run(cli *c, replace *r) {
    agt_error err;
    uint32_t type;
    char under[AGT_MAX_PATH * 4] = "";
    int code = cli_type(c, &type);
    if (code == CLI_DONE) code = cli_durability(c, &r->durability);
    if (code == CLI_DONE) code = replace_pattern(c, r);
    if (code == CLI_DONE) code = cli_caller(c, "cli", &r->caller);
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE && c->args.count > 2)
        code = cli_folder_path(c, c->args.words[2], under, sizeof under);
    if (code == CLI_DONE) code = cli_open(c, !c->args.value[OPT_DRY_RUN]);
    if (code != CLI_DONE) return code;
    agt_status st = replace_collect(c, r, under, type, &err);
    return cli_close(c, st == AGT_OK ? replace_decide(c, r) : cli_failed(c, st, &err));
}

static int command_replace(cli *c) {
    replace r;
    memset(&r, 0, sizeof r);
    int code = replace_run(c, &r);
    replace_free(&r);
    return code;
}

const cli_command cli_replace = {
    .name = "replace",
    .run = command_replace,
    .group = "documents",
    .line = "one text for another in all documents",
    .usage = "FIND WITH [PATH] [options]",
    .text =
        "Replaces FIND by WITH in every document, or in those of one folder, or in one. All of it "
        "is one change: every document changes or none. On a terminal you see the patch and are "
        "asked. Documents that are no text are left alone. Those that you may not write are, too: "
        "each that has a match is named and recorded as refused, and the exit code is 3. With "
        "--regex FIND is an extended regular expression that matches within lines, and \\1 to \\9 "
        "in WITH "
        "are what its groups matched.",
    .takes = {{OPT_TYPE, "only documents of this type"},
              {OPT_WORD, NULL},
              {OPT_REGEX, NULL},
              {OPT_DRY_RUN, "show what would change, and change nothing"},
              TAKES_CALLER,
              {OPT_SUMMARY, NULL},
              {OPT_YES, NULL},
              {OPT_DURABILITY, NULL},
              {OPT_PUBLISH, NULL},
              {OPT_JSON, NULL}},
    .examples = "agent-trace replace --word colour color docs --dry-run\n"
                "agent-trace replace --regex 'v([0-9]+)' 'version \\1' --type plan --yes",
    .see = "write diff restore",
    .min = 2,
    .max = 3,
    .wants = "what to FIND and what to replace it WITH",
    .offers = {NULL, NULL, OFFER_PLACE},
};
