/* change: see change.h. */
#include "change.h"

#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static agt_status change_make(cli *c, change *ch, agt_error *err) {
    const agt_caller *who = &ch->caller;
    const agt_write_options *o = &ch->options;
    agt_write_result *r = &ch->result;
    switch (ch->kind) {
    case CHANGE_WRITE:
        return agt_write(c->store, who, ch->path, ch->bytes.data, ch->bytes.len, o, r, err);
    case CHANGE_DELETE: return agt_remove(c->store, who, ch->path, o, r, err);
    case CHANGE_RESTORE: return agt_restore(c->store, who, ch->path, ch->version, o, r, err);
    case CHANGE_ADD: return agt_add(c->store, who, ch->path, ch->type, o, r, err);
    case CHANGE_RENAME: return agt_rename(c->store, who, ch->path, ch->to, o, r, err);
    case CHANGE_UNTRACK: return agt_untrack(c->store, who, ch->path, o, r, err);
    case CHANGE_RECLASSIFY: return agt_reclassify(c->store, who, ch->path, ch->type, o, r, err);
    case CHANGE_UNLOCK:
        return agt_unlock(c->store, who, ch->path, ch->grant, ch->duration_ms, o, r, err);
    case CHANGE_REVOKE: break;
    }
    return agt_revoke(c->store, who, ch->path, ch->grant, o, r, err);
}

/* Asks on the terminal. Only "y" and "yes" are a yes, in any case. */
bool change_confirmed(const char *why) {
    char answer[64];
    if (!out_is_terminal(0)) return false;
    out_page_end();
    out_note("%s", why);
    (void)fputs("do it all the same? [y/N] ", stderr);
    ssize_t n = read(0, answer, sizeof answer - 1);
    if (n < 0) n = 0;
    answer[n] = 0;
    answer[strcspn(answer, "\r\n")] = 0;
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

static int change_refused(cli *c, agt_status st, const change *ch, const agt_error *err) {
    c->failure.status = st;
    c->failure.seq = ch->result.seq;
    c->failure.version = ch->result.version;
    c->failure.has_version = st == AGT_CONFLICT;
    c->failure.outcome_unknown = err->outcome_unknown != 0;
    if (st == AGT_NEEDS_CONFIRMATION)
        return out_fail(CLI_DENIED, "%s; nothing was changed, repeat with --yes to do it",
                        err->message);
    if (err->outcome_unknown)
        return out_fail(CLI_ERROR, "%s; the change may or may not appear later", err->message);
    if (st != AGT_DENIED) return cli_failed(c, st, err);
    if (!ch->result.seq) return out_fail(CLI_DENIED, "denied: %s", err->message);
    return out_fail(CLI_DENIED, "denied: %s (recorded as event %llu)", err->message,
                    (unsigned long long)ch->result.seq);
}

static void change_print_json(const change *ch) {
    static const char *const done[] = {"write",   "delete",     "restore", "add",   "rename",
                                       "untrack", "reclassify", "unlock",  "revoke"};
    const agt_write_result *r = &ch->result;
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put(&j, "path", ch->kind == CHANGE_RENAME ? ch->to : ch->path);
    json_put(&j, "action", done[ch->kind]);
    if (ch->kind == CHANGE_RENAME) json_put(&j, "from", ch->path);
    if (ch->kind == CHANGE_RECLASSIFY) json_put(&j, "type", agt_type_name(ch->type));
    if (ch->grant) json_put(&j, "grant", ch->grant);
    json_put_u64(&j, "version", r->version);
    json_put_u64(&j, "seq", r->seq);
    json_put_bool(&j, "unchanged", r->unchanged != 0);
    json_put_bool(&j, "edit_recorded", r->edit_recorded != 0);
    json_put_bool(&j, "edit_kept_aside", r->edit_kept_aside != 0);
    json_put_bool(&j, "apply_pending", r->apply_pending != 0);
    json_close(&j, '}');
}

static void change_print_done(const cli *c, const change *ch) {
    char to[AGT_MAX_PATH * 4], until[CLI_TIME_TEXT];
    unsigned version = ch->result.version;
    switch (ch->kind) {
    case CHANGE_RESTORE:
        (void)printf(": version %u is back, as version %u\n", ch->version, version);
        return;
    case CHANGE_DELETE: (void)printf(": deleted, version %u\n", version); return;
    case CHANGE_UNTRACK: (void)printf(": untracked, version %u; the file stays\n", version); return;
    case CHANGE_RECLASSIFY: (void)printf(": is %s now\n", agt_type_name(ch->type)); return;
    case CHANGE_REVOKE:
        (void)fputs(": no grant any more for ", stdout);
        out_text(ch->grant, strlen(ch->grant));
        (void)putchar('\n');
        return;
    case CHANGE_UNLOCK:
        (void)fputs(": may be written by ", stdout);
        out_text(ch->grant, strlen(ch->grant));
        (void)printf(" until %s\n", out_time(time_now() + ch->duration_ms, until));
        return;
    case CHANGE_RENAME:
        cli_shown(c, ch->to, strlen(ch->to), to, sizeof to);
        (void)fputs(" -> ", stdout);
        out_text(to, strlen(to));
        break;
    case CHANGE_WRITE:
    case CHANGE_ADD: break;
    }
    (void)printf(": version %u\n", version);
}

static void change_print(const cli *c, const change *ch) {
    char shown[AGT_MAX_PATH * 4];
    cli_shown(c, ch->path, strlen(ch->path), shown, sizeof shown);
    out_text(shown, strlen(shown));
    if (!ch->result.unchanged)
        change_print_done(c, ch);
    else if (ch->kind == CHANGE_RECLASSIFY)
        (void)printf(": is %s already\n", agt_type_name(ch->type));
    else
        (void)printf(": unchanged, still version %u\n", ch->result.version);
}

static void change_notes(const change *ch) {
    const agt_write_result *r = &ch->result;
    /* the version that the edit made is the one before this change's own */
    if (r->edit_recorded && r->version == (r->unchanged ? 1 : 2))
        out_note("the file was not a document yet; it was recorded first, as version 1");
    else if (r->edit_recorded && ch->gone)
        out_note("somebody had deleted the file; that was recorded first, as a version of its own");
    else if (r->edit_recorded)
        out_note("somebody had edited the file; that edit was recorded first, as a version of its "
                 "own");
    if (r->edit_kept_aside) out_note("an edit met this write; it is kept in .agent-trace/aside");
    if (r->apply_pending)
        out_note("the change is recorded, but something stands in the file's way; the file follows "
                 "when that is gone");
}

void change_report(cli *c, const change *ch) {
    if (c->json)
        change_print_json(ch);
    else
        change_print(c, ch);
    change_notes(ch);
}

static int change_options(cli *c, change *ch) {
    const char *expect = c->args.value[OPT_EXPECT];
    ch->options.summary = c->args.value[OPT_SUMMARY];
    int code = ch->kind == CHANGE_WRITE ? cli_type(c, &ch->options.type) : CLI_DONE;
    if (code == CLI_DONE) code = cli_durability(c, &ch->options.durability);
    if (code == CLI_DONE && expect) {
        ch->options.check_version = 1;
        code = args_version(expect, "--expect", 0, &ch->options.expected_version);
    }
    return code;
}

int change_prepare(cli *c, change *ch) {
    int code = change_options(c, ch);
    if (code == CLI_DONE) code = cli_caller(c, "cli", &ch->caller);
    return code == CLI_DONE ? cli_find(c) : code;
}

int change_one(cli *c, change *ch) {
    agt_error err;
    agt_status st = change_make(c, ch, &err);
    if (st == AGT_NEEDS_CONFIRMATION && change_confirmed(err.message)) {
        ch->caller.confirm = 1;
        st = change_make(c, ch, &err);
    }
    return st == AGT_OK ? CLI_DONE : change_refused(c, st, ch, &err);
}

/* Nobody said which version: of a document that is gone it is the last one. */
static int change_choose_version(cli *c, change *ch) {
    agt_document d = AGT_DOCUMENT_INIT;
    agt_error err;
    char shown[AGT_MAX_PATH * 4];
    agt_status st = agt_document_get(c->store, ch->path, &d, &err);
    if (st != AGT_OK) return change_refused(c, st, ch, &err);
    ch->version = d.exists ? d.version : d.version - 1;
    if (!d.exists || ch->gone) return CLI_DONE;
    return out_usage(c->command,
                     "%s is at version %u; say which one to bring back ('agent-trace "
                     "log PATH' has them)",
                     cli_shown(c, ch->path, strlen(ch->path), shown, sizeof shown), d.version);
}

/* A command that failed before the pipe wrote nothing into it: that is hardly meant. */
static int change_empty(cli *c, const change *ch) {
    agt_document d = AGT_DOCUMENT_INIT;
    char shown[AGT_MAX_PATH * 4], size[24];
    if (!ch->bytes.piped || ch->bytes.len) return CLI_DONE;
    if (agt_document_get(c->store, ch->path, &d, NULL) != AGT_OK || !d.exists || !d.size_bytes)
        return CLI_DONE;
    return out_fail(CLI_USAGE, "stdin is empty, and %s has %s; to empty it say --content ''",
                    cli_shown(c, ch->path, strlen(ch->path), shown, sizeof shown),
                    out_bytes(d.size_bytes, size));
}

/* What was moved outside is no new document, unless somebody says by a type that it is. */
static int change_moved(cli *c, const change *ch) {
    char from[AGT_MAX_PATH + 8], shown[AGT_MAX_PATH * 4], old[AGT_MAX_PATH * 5],
        now[AGT_MAX_PATH * 5];
    agt_document d = AGT_DOCUMENT_INIT;
    agt_error err;
    bool adds = ch->kind == CHANGE_ADD, writes = ch->kind == CHANGE_WRITE && !ch->gone;
    if ((!adds || ch->type) && (!writes || ch->options.type)) return CLI_DONE;
    if (agt_document_get(c->store, ch->path, &d, NULL) != AGT_NOT_FOUND) return CLI_DONE;
    if (!hint_moved(c, ch->path, from, sizeof from)) return CLI_DONE;
    (void)out_word(cli_shown(c, from, strlen(from), shown, sizeof shown), old, sizeof old);
    (void)out_word(cli_shown(c, ch->path, strlen(ch->path), shown, sizeof shown), now, sizeof now);
    (void)snprintf(err.message, sizeof err.message,
                   "%.180s is %.180s, moved outside; 'agent-trace mv' with both paths keeps its "
                   "type and versions, %s makes it a new document",
                   now, old, adds ? "a type in front of the path" : "--type");
    err.outcome_unknown = 0;
    return cli_failed(c, AGT_CONFLICT, &err);
}

int change_run(cli *c, change *ch) {
    const char *given = ch->given ? ch->given : c->args.words[0];
    int code = change_prepare(c, ch);
    if (code == CLI_DONE) code = cli_document_path(c, given, ch->path, sizeof ch->path);
    if (code == CLI_DONE && ch->read_bytes) code = ch->read_bytes(c, &ch->bytes);
    if (code == CLI_DONE) code = cli_open(c, true);
    if (code != CLI_DONE) return code;
    ch->gone = cli_gone(c, ch->path);
    if (ch->kind == CHANGE_RESTORE && !ch->version) code = change_choose_version(c, ch);
    if (code == CLI_DONE) code = change_moved(c, ch);
    if (code == CLI_DONE) code = change_empty(c, ch);
    if (code == CLI_DONE) code = change_one(c, ch);
    if (code == CLI_DONE) change_report(c, ch);
    return cli_close(c, code);
}

change change_new(change_kind kind) {
    const agt_write_options options = AGT_WRITE_OPTIONS_INIT;
    const agt_write_result result = AGT_WRITE_RESULT_INIT;
    change ch = {.kind = kind, .options = options, .result = result};
    return ch;
}
