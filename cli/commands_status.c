/* commands_status: status, the one page that says how a store is. */
#include "cli.h"

#include "files.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STATUS_BESIDE 24 /* with fewer columns left, a path stands on the next line */
#define STATUS_SHOWN  20 /* documents named before the rest is only counted */

/* A document whose file is not its newest version. */
typedef struct status_change {
    char *path;
    char *to;            /* NULL, or where the file lies now: it was renamed */
    bool gone;           /* there is no file */
    uint64_t size_bytes; /* of the newest version */
} status_change;

typedef struct status {
    agt_store_info info;
    agt_lock_holder leader;
    bool has_last;
    uint64_t last_seq;
    int64_t last_ms;
    char last[256];                   /* who did what */
    char last_path[AGT_MAX_PATH + 8]; /* to what */
    status_change *changed;           /* in the order of their paths */
    size_t changed_count;
    uint64_t documents; /* without the index */
    files files;        /* that are no documents */
    bool knows_files;
} status;

/* The newest event that is more than an index made anew. */
static agt_status status_last(cli *c, status *s, agt_error *err) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *cursor;
    o.newest_first = 1;
    agt_status st = agt_trace(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    do
        st = agt_trace_next(cursor, &e, err);
    while (st == AGT_OK && event_is_index(&e));
    if (st == AGT_OK) {
        s->has_last = true;
        s->last_seq = e.seq;
        s->last_ms = e.recorded_unix_ms;
        (void)snprintf(s->last, sizeof s->last, "%.*s %.*s", (int)e.actor.len, e.actor.data,
                       (int)e.action.len, e.action.data);
        (void)snprintf(s->last_path, sizeof s->last_path, "%.*s", (int)e.path.len,
                       e.path.data ? e.path.data : "");
    }
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

static char *status_copy(const char *text) {
    size_t n = strlen(text) + 1;
    return memcpy(out_alloc(n), text, n);
}

static void status_add(const cli *c, status *s, size_t *room, const agt_document *d) {
    if (s->changed_count == *room) {
        *room = *room ? *room * 2 : 16;
        s->changed = out_grow(s->changed, *room * sizeof s->changed[0]);
    }
    s->changed[s->changed_count++] =
        (status_change){status_copy(d->path), NULL, cli_gone(c, d->path), d->size_bytes};
}

static agt_status status_changed(cli *c, status *s, agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    size_t room = 0;
    o.look = 1;
    agt_status st = agt_list(c->store, &o, &cursor, err);
    if (st != AGT_OK) return st;
    while ((st = agt_list_next(cursor, &d, err)) == AGT_OK) {
        s->documents += !cli_is_index(d.path);
        if (d.modified_outside) status_add(c, s, &room, &d);
    }
    agt_cursor_close(cursor);
    return st == AGT_END ? AGT_OK : st;
}

static agt_status status_read(cli *c, status *s, agt_error *err) {
    agt_status st = agt_store_get_info(c->store, &s->info, err);
    if (st == AGT_OK) st = status_last(c, s, err);
    if (st == AGT_OK) st = status_changed(c, s, err);
    if (st != AGT_OK) return st;
    st = agt_poll_lock_holder(c->root, &s->leader, err);
    return st == AGT_NOT_FOUND ? AGT_OK : st;
}

/* ---- renames ---- */

/* A file that was moved is one change, not a deletion and a file that is no document. */
static void status_renames(cli *c, status *s) {
    char to[AGT_MAX_PATH + 8];
    for (size_t i = 0; i < s->changed_count; i++) {
        status_change *gone = &s->changed[i];
        if (gone->gone && files_take_moved(c, &s->files, gone->path, gone->size_bytes, to))
            gone->to = status_copy(to);
    }
}

/* A list of files that cannot be made, perhaps because nobody knows what it should leave out, does
 * not keep anybody from the rest. */
static void status_files(cli *c, status *s) {
    agt_error err;
    s->knows_files = files_read(c, &s->files, &err) == AGT_OK;
    if (s->knows_files)
        status_renames(c, s);
    else
        out_note("files that are no documents are not shown: %s", err.message);
}

static uint64_t status_pending(const status *s) {
    return s->info.last_seq > s->info.published_seq ? s->info.last_seq - s->info.published_seq : 0;
}

static void status_json_files(out_json *j, const files *f) {
    json_open(j, "untracked", '[');
    for (size_t i = 0; i < f->count; i++)
        json_put(j, NULL, f->file[i].path);
    json_close(j, ']');
    json_open(j, "left_out", '{');
    for (uint32_t i = AGT_LEFT_OUT_NOT + 1; i < AGT_LEFT_OUT_LAST_; i++)
        json_put_u64(j, files_reason(i), f->left_out[i]);
    json_close(j, '}');
}

static void status_json_changed(out_json *j, const status *s) {
    for (int gone = 0; gone < 2; gone++) {
        json_open(j, gone ? "deleted_outside" : "modified_outside", '[');
        for (size_t i = 0; i < s->changed_count; i++)
            if (s->changed[i].gone == gone && !s->changed[i].to)
                json_put(j, NULL, s->changed[i].path);
        json_close(j, ']');
    }
    json_open(j, "renamed_outside", '[');
    for (size_t i = 0; i < s->changed_count; i++) {
        if (!s->changed[i].to) continue;
        json_open(j, NULL, '{');
        json_put(j, "from", s->changed[i].path);
        json_put(j, "to", s->changed[i].to);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void status_print_json(const cli *c, const status *s) {
    const agt_store_info *i = &s->info;
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put(&j, "root", c->root);
    json_put(&j, "id", i->id);
    json_put(&j, "replica", i->replica);
    json_put_u64(&j, "documents", s->documents);
    json_put_u64(&j, "last_seq", i->last_seq);
    json_put_u64(&j, "published_seq", i->published_seq);
    json_put_bool(&j, "head_lost", i->head_lost);
    json_put_u64(&j, "pending", status_pending(s));
    json_put(&j, "head", i->head[0] ? i->head : NULL);
    json_put_u64(&j, "generation", i->generation);
    json_put_u64(&j, "journal_bytes", i->journal_bytes);
    json_put_u64(&j, "trace_bytes", i->trace_bytes);
    json_put_u64(&j, "edits_kept_aside", i->edits_kept_aside);
    json_put_bool(&j, "failed", i->failed != 0);
    json_put_bool(&j, "apply_pending", i->apply_pending != 0);
    json_put_bool(&j, "recovered", i->recovered != 0);
    json_put_bool(&j, "leader", s->leader.held != 0);
    if (s->leader.held) {
        json_put_i64(&j, "leader_pid", s->leader.pid);
        json_put(&j, "leader_backend", lock_backend_name(s->leader.backend));
        json_put_u64(&j, "leader_epoch", s->leader.epoch);
    }
    status_json_changed(&j, s);
    if (s->knows_files) status_json_files(&j, &s->files);
    json_close(&j, '}');
}

/* A document's path as one would type it here, cut to the line behind `before` columns. */
static const char *status_path(const cli *c, const char *path, size_t before, char *out,
                               size_t size) {
    char shown[AGT_MAX_PATH * 4];
    int room = out_columns() ? out_columns() - OUT_LABEL - (int)before : INT_MAX;
    cli_shown(c, path, strlen(path), shown, sizeof shown);
    (void)out_shorten(shown, strlen(shown), room, out, size);
    return out;
}

/* "7, 3 min ago: agent:claude modify docs/plan.md", on two or three lines where one is too short.
 */
static void status_print_last(const cli *c, const status *s) {
    char text[512], time[CLI_TIME_TEXT], path[AGT_MAX_PATH * 4], last[sizeof s->last + 8];
    if (!s->has_last) {
        out_fact("last event", OUT_PLAIN, "none yet");
        return;
    }
    int when = snprintf(text, sizeof text, "%llu, %s", (unsigned long long)s->last_seq,
                        out_time(s->last_ms, time));
    int room = out_columns() ? out_columns() - OUT_LABEL : INT_MAX;
    (void)out_shorten(s->last, strlen(s->last), room, last, sizeof last);
    int left = room - when - 2 - (int)strlen(s->last);
    out_label("last event");
    (void)printf("%s%s", text, left < 0 ? "\n" : ": ");
    if (left < 0) out_label("");
    out_text(last, strlen(last));
    left = left < 0 ? room - (int)strlen(s->last) - 1 : left - 1;
    bool below = left < STATUS_BESIDE && (int)strlen(s->last_path) > left;
    if (s->last_path[0] && below) (void)putchar('\n');
    if (s->last_path[0] && below) out_label("");
    status_path(c, s->last_path, (size_t)(below ? 0 : room - left), path, sizeof path);
    if (s->last_path[0] && !below) (void)putchar(' ');
    out_text(path, strlen(path));
    (void)putchar('\n');
}

static void status_print_git(const status *s) {
    char text[160];
    unsigned long long pending = status_pending(s);
    if (s->info.head_lost)
        (void)snprintf(text, sizeof text, "commit %.10s is missing: run 'agent-trace repair'",
                       s->info.head);
    else if (!pending && !s->info.head[0])
        (void)snprintf(text, sizeof text, "nothing to publish yet");
    else if (!pending)
        (void)snprintf(text, sizeof text, "up to date, at %.10s", s->info.head);
    else
        (void)snprintf(text, sizeof text, "%llu event%s not published yet", pending,
                       pending == 1 ? "" : "s");
    out_fact("git", s->info.head_lost ? OUT_RED : pending ? OUT_YELLOW : OUT_PLAIN, text);
}

/* "a.md -> b.md", on two lines where a terminal has no room for both on one. */
static void status_print_renamed(const cli *c, const char *label, const status_change *d) {
    char shown[AGT_MAX_PATH * 8 + 8], to[AGT_MAX_PATH * 4];
    status_path(c, d->path, 0, shown, sizeof shown);
    status_path(c, d->to, 3, to, sizeof to);
    size_t n = strlen(shown);
    bool one = !out_columns() || OUT_LABEL + n + 4 + strlen(to) <= (size_t)out_columns();
    if (one) (void)snprintf(shown + n, sizeof shown - n, " -> %s", to);
    out_fact(label, OUT_YELLOW, shown);
    if (one) return;
    (void)snprintf(shown, sizeof shown, "-> %s", to);
    out_fact("", OUT_YELLOW, shown);
}

/* The command that records a rename. */
static void status_print_follow(const cli *c, const char *from, const char *to) {
    char shown[AGT_MAX_PATH * 4], word[2][AGT_MAX_PATH * 5], text[AGT_MAX_PATH * 10 + 32];
    (void)out_word(cli_shown(c, from, strlen(from), shown, sizeof shown), word[0], sizeof word[0]);
    (void)out_word(cli_shown(c, to, strlen(to), shown, sizeof shown), word[1], sizeof word[1]);
    (void)snprintf(text, sizeof text, "agent-trace mv %s %s", word[0], word[1]);
    out_fact("", OUT_PLAIN, text);
}

/* Cuts what the ends of both paths have in common, whole names only; false if nothing is left. */
static bool status_cut_same(char *a, char *b) {
    size_t n = strlen(a), m = strlen(b), cut = 0;
    for (size_t i = 1; i < n && i < m && a[n - i] == b[m - i]; i++)
        if (a[n - i] == '/') cut = i;
    a[n - cut] = b[m - cut] = 0;
    return cut > 0;
}

static bool status_is_under(const char *path, const char *folder) {
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static uint64_t status_count_under(cli *c, const char *folder) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *cursor;
    uint64_t n = 0;
    o.under = folder;
    if (agt_list(c->store, &o, &cursor, NULL) != AGT_OK) return 0;
    while (agt_list_next(cursor, &d, NULL) == AGT_OK)
        n++;
    agt_cursor_close(cursor);
    return n;
}

/* Were all the renames the move of one whole folder? */
static bool status_moved_folder(cli *c, const status *s, char from[AGT_MAX_PATH + 8],
                                char to[AGT_MAX_PATH + 8]) {
    uint64_t count = 0;
    for (size_t i = 0; i < s->changed_count; i++) {
        const status_change *d = &s->changed[i];
        if (!d->to) continue;
        if (!count++) {
            (void)snprintf(from, AGT_MAX_PATH + 8, "%s", d->path);
            (void)snprintf(to, AGT_MAX_PATH + 8, "%s", d->to);
            if (!status_cut_same(from, to)) return false;
        } else if (!status_is_under(d->path, from) || !status_is_under(d->to, to) ||
                   strcmp(d->path + strlen(from), d->to + strlen(to)) != 0)
            return false;
    }
    return count > 1 && count == status_count_under(c, from);
}

/* One kind of the three. */
static void status_print_kind(cli *c, const status *s, const char *label, bool gone, bool renamed) {
    char shown[AGT_MAX_PATH * 4], from[AGT_MAX_PATH + 8], to[AGT_MAX_PATH + 8];
    size_t count = 0;
    bool folder = renamed && status_moved_folder(c, s, from, to);
    for (size_t i = 0; i < s->changed_count; i++) {
        const status_change *d = &s->changed[i];
        if (d->gone != gone || (d->to != NULL) != renamed || ++count > STATUS_SHOWN) continue;
        const char *first = count == 1 ? label : "";
        status_path(c, d->path, 0, shown, sizeof shown);
        if (renamed) status_print_renamed(c, first, d);
        if (renamed && !folder) status_print_follow(c, d->path, d->to);
        if (!renamed) out_fact(first, OUT_YELLOW, shown);
    }
    if (count > STATUS_SHOWN) {
        (void)snprintf(shown, sizeof shown, "and %zu more", count - STATUS_SHOWN);
        out_fact("", OUT_YELLOW, shown);
    }
    if (folder) status_print_follow(c, from, to);
}

static void status_print_changed(cli *c, const status *s) {
    status_print_kind(c, s, "modified", false, false);
    status_print_kind(c, s, "deleted", true, false);
    status_print_kind(c, s, "renamed", true, true);
}

/* Rows with a `?`; on a terminal not so many that the rest scrolls away. */
static void status_print_files(const cli *c, const status *s) {
    static const uint32_t told[] = {AGT_LEFT_OUT_NAME, AGT_LEFT_OUT_STORE, AGT_LEFT_OUT_UNREADABLE};
    char shown[AGT_MAX_PATH * 4 + 8], text[AGT_MAX_PATH + 80];
    size_t most = out_columns() ? STATUS_SHOWN : s->files.count, count = s->files.count;
    if (count) {
        (void)snprintf(shown, sizeof shown, "%zu file%s that %s no document%s", count,
                       count == 1 ? "" : "s", count == 1 ? "is" : "are", count == 1 ? "" : "s");
        out_fact("untracked", OUT_PLAIN, shown);
    }
    for (size_t i = 0; i < count && i < most; i++) {
        memcpy(shown, "? ", 2);
        status_path(c, s->files.file[i].path, 2, shown + 2, sizeof shown - 2);
        out_fact("", OUT_CYAN, shown);
    }
    if (count > most) {
        (void)snprintf(shown, sizeof shown, "and %zu more", count - most);
        out_fact("", OUT_CYAN, shown);
    }
    for (size_t i = 0, n = 0; i < sizeof told / sizeof told[0]; i++)
        if (files_left_out(&s->files, told[i], text, sizeof text))
            out_fact(n++ ? "" : "left out", OUT_PLAIN, text);
}

static void status_print_troubles(const status *s) {
    char text[160];
    if (s->info.edits_kept_aside) {
        (void)snprintf(text, sizeof text, "%u edit%s that met a write, in .agent-trace/aside",
                       s->info.edits_kept_aside, s->info.edits_kept_aside == 1 ? "" : "s");
        out_fact("kept aside", OUT_YELLOW, text);
    }
    if (s->info.apply_pending)
        out_fact("pending", OUT_YELLOW,
                 "a change is recorded, but something stands in its file's way");
    if (s->info.failed)
        out_fact("failed", OUT_RED, "a sync failed; the next command that writes recovers");
    if (s->info.recovered) out_fact("recovered", OUT_GREEN, "what a crash had left was mended");
}

static void status_print(cli *c, const status *s) {
    char text[320], size[24];
    out_fact("store", OUT_BOLD, c->root);
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)s->documents);
    out_fact("documents", OUT_PLAIN, text);
    status_print_last(c, s);
    status_print_git(s);
    (void)snprintf(text, sizeof text, "%s, generation %llu", out_bytes(s->info.journal_bytes, size),
                   (unsigned long long)s->info.generation);
    out_fact("journal", OUT_PLAIN, text);
    out_fact("trace", OUT_PLAIN, out_bytes(s->info.trace_bytes, size));
    if (s->leader.held) {
        (void)snprintf(text, sizeof text, "%s, process %lld on %s, by %s, epoch %llu",
                       s->leader.program, (long long)s->leader.pid, s->leader.host,
                       lock_backend_name(s->leader.backend), (unsigned long long)s->leader.epoch);
        out_fact("leader", OUT_PLAIN, text);
    }
    status_print_troubles(s);
    status_print_changed(c, s);
    if (s->knows_files) status_print_files(c, s);
}

static int command_status(cli *c) {
    const agt_store_info info = AGT_STORE_INFO_INIT;
    const agt_lock_holder leader = AGT_LOCK_HOLDER_INIT;
    status s = {.info = info, .leader = leader};
    agt_error err;
    int code = cli_open(c, false);
    if (code != CLI_DONE) return code;
    agt_status st = status_read(c, &s, &err);
    if (st == AGT_OK) status_files(c, &s);
    if (st != AGT_OK)
        code = cli_failed(c, st, &err);
    else if (c->json)
        status_print_json(c, &s);
    else
        status_print(c, &s);
    for (size_t i = 0; i < s.changed_count; i++) {
        free(s.changed[i].path);
        free(s.changed[i].to);
    }
    free(s.changed);
    files_free(&s.files);
    return cli_close(c, code);
}

const cli_command cli_status = {
    .name = "status",
    .run = command_status,
    .group = "store",
    .line = "how the store is",
    .usage = "",
    .text =
        "Says where the store is, how much is in it, what git does not have yet, who leads, and "
        "which files were edited, deleted or renamed outside agent-trace.\n\n"
        "Files that are no documents are shown with a ?, but for what .agent-trace-ignore (in the "
        "language of .gitignore) or the usual patterns for secrets and leavings leave out.",
    .takes = {{OPT_JSON, "the same as JSON"}},
    .examples = "agent-trace -C ~/project status",
    .see = "ls log",
};
