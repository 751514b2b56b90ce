/* import: a stream of changes, one JSON object a line.
 *
 *     read a line -> check it -> collect up to N -> agt_group: N records, one sync -> report
 *
 * (1) Changes are made, and lines are reported, in the stream's order. What is wrong with a line is
 *     known either when it is collected or from its own result; neither stops another line, but
 *     with --strict. A group that is not full is made when the stream pauses: who waits for an
 * answer gets one. (2) --ack prints a line's number only after the group with its change in it was
 * answered, which is after the sync. Denied and failed lines are never acknowledged. (3) With
 * --strict a group is one line, so that nothing behind the first failure is made. (4) An agent's
 * environment may not act as the user or the system through the lines' actors either. */
#include "cli.h"

#include "import_line.h"
#include "lines.h"
#include "output.h"
#include "text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT_HELD_MAX ((size_t)64 * 1024 * 1024) /* bytes of lines that wait for their group */
#define IMPORT_STEP_MS  100                        /* between two looks at the progress */
#define IMPORT_IDLE_MS  50                         /* then a stream that pauses gets its answers */

typedef struct import_state {
    cli *c;
    line_reader lines;
    agt_caller fallback;
    uint32_t durability;
    bool ack, strict, progress;
    size_t batch;
    import_line *waiting;
    agt_change *changes;
    agt_write_result *results;
    size_t count, held;
    uint64_t read, applied, unchanged, denied, failed, edits;
    uint64_t first_seq, last_seq;
    int64_t started_ms, shown_ms;
    bool shown, stop;
    int code; /* of a failure of the store or the stream itself */
} import_state;

/* ---- telling ---- */

static void import_clear_progress(import_state *s) {
    if (s->shown) (void)fputs("\r\033[K", stderr);
    s->shown = false;
}

static void import_show_progress(import_state *s) {
    int64_t now = s->progress ? time_now() : 0;
    if (!s->progress || (now >= s->shown_ms && now - s->shown_ms < IMPORT_STEP_MS)) return;
    uint64_t ms = now > s->started_ms ? (uint64_t)(now - s->started_ms) : 1;
    s->shown_ms = now;
    s->shown = true;
    (void)fprintf(stderr, "\r\033[K%llu lines, %llu/s", (unsigned long long)s->read,
                  (unsigned long long)(s->read * 1000 / ms));
    if (s->lines.size)
        (void)fprintf(stderr, ", %u%%", (unsigned)(s->lines.bytes * 100 / s->lines.size));
    (void)fflush(stderr);
}

static void import_report(import_state *s, uint64_t number, bool denied, const char *why) {
    import_clear_progress(s);
    (void)out_fail(0, "%s line %llu: %s%s", s->lines.name, (unsigned long long)number,
                   denied ? "denied: " : "", why);
    if (denied)
        s->denied++;
    else
        s->failed++;
    if (s->strict) s->stop = true;
}

/* ---- making ---- */

static void import_result(import_state *s, const import_line *line, const agt_write_result *r) {
    agt_status st = (agt_status)r->status;
    if (r->edit_recorded || r->edit_kept_aside) s->edits++;
    if (r->seq) {
        if (!s->first_seq) s->first_seq = r->seq;
        s->last_seq = r->seq;
    }
    if (st == AGT_NEEDS_CONFIRMATION) {
        char why[400];
        (void)snprintf(why, sizeof why, "%s; repeat with --yes to do it", r->message);
        import_report(s, line->number, true, why);
    } else if (st != AGT_OK) {
        import_report(s, line->number, st == AGT_DENIED,
                      r->message[0] ? r->message : agt_status_text(st));
    } else {
        if (r->unchanged)
            s->unchanged++;
        else
            s->applied++;
        if (s->ack) (void)printf("%llu\n", (unsigned long long)line->number);
    }
}

/* The whole group was not made: nothing of it is counted as done, and nothing follows. */
static void import_group_failed(import_state *s, uint64_t first, size_t count, agt_status st,
                                const agt_error *err) {
    import_clear_progress(s);
    s->code = out_fail(cli_exit_code(st), "%s line %llu and on: %s%s", s->lines.name,
                       (unsigned long long)first, err->message,
                       err->outcome_unknown ? "; these changes may or may not appear later" : "");
    s->failed += count;
    s->stop = true;
}

/* Makes what waits and reports on every line, in the stream's order. */
static void import_flush(import_state *s) {
    agt_error err;
    agt_status st = AGT_OK;
    size_t count = 0, next = 0;
    for (size_t i = 0; i < s->count; i++) {
        const agt_write_result fresh = AGT_WRITE_RESULT_INIT;
        if (s->waiting[i].bad) continue;
        s->changes[count] = s->waiting[i].change;
        s->results[count++] = fresh;
    }
    if (count) st = agt_group(s->c->store, s->changes, count, s->durability, s->results, &err);
    for (size_t i = 0; i < s->count; i++) {
        const import_line *line = &s->waiting[i];
        if (line->bad)
            import_report(s, line->number, line->denied, line->text);
        else if (st == AGT_OK)
            import_result(s, line, &s->results[next++]);
        else if (next++ == 0)
            import_group_failed(s, line->number, count, st, &err);
        free(line->text);
    }
    if (s->count == 0) return;
    s->count = s->held = 0;
    if (!s->ack) return;
    (void)fflush(stdout);
    if (!out_is_broken()) return;
    s->code = CLI_ERROR; /* nobody listens any more: what was not acknowledged is not made */
    s->stop = true;
}

/* ---- reading ---- */

static bool import_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

/* A line that will not be made waits for its turn to be reported: after those before it. */
static void import_keep_bad(import_line *line, bool denied, const char *why) {
    size_t n = strlen(why) + 1;
    free(line->text);
    line->text = out_alloc(n);
    memcpy(line->text, why, n);
    line->bad = true;
    line->denied = denied;
}

/* Collects the line for the group, good or bad; `text` is NULL for one that could not be read. */
static void import_take(import_state *s, char *text, size_t len) {
    char why[400];
    import_line *line = &s->waiting[s->count++];
    line->number = s->lines.number;
    line->text = text;
    line->bad = line->denied = false;
    s->held += len;
    if (!text) {
        import_keep_bad(line, false, "the line is too long for the memory");
    } else if (!import_line_read(line, len, &s->fallback, why, sizeof why)) {
        import_keep_bad(line, false, why);
    } else if (!cli_may_act_as(line->caller.actor)) {
        (void)snprintf(why, sizeof why,
                       "AGENT_TRACE_ACTOR is %.80s, so acting as the %.80s needs a terminal on "
                       "stdin",
                       cli_env_actor(), line->caller.actor);
        import_keep_bad(line, true, why);
    }
    if (s->count == s->batch || s->held >= IMPORT_HELD_MAX) import_flush(s);
}

/* The first signal ends the import behind the group at hand, with a summary; the second one ends
 * it as usual. */
static volatile sig_atomic_t import_signal;

static void import_on_signal(int signal) {
    import_signal = signal;
}

static void import_catch(import_state *s) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = import_on_signal;
    action.sa_flags = (int)SA_RESETHAND;
    s->lines.stop = &import_signal;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(signals[i], &action, NULL);
}

static void import_stream(import_state *s) {
    char *text;
    size_t len = 0;
    uint64_t last = 0; /* line that was taken */
    while (!s->stop && !import_signal) {
        if (s->count && !lines_ready(&s->lines, IMPORT_IDLE_MS)) import_flush(s);
        if (s->stop) break;
        line_result got = lines_next(&s->lines, &text, &len);
        if (got == LINE_END) break;
        if (got == LINE_FAILED) {
            s->code = CLI_ERROR;
            break;
        }
        if (got == LINE_OK && import_blank(text, len)) {
            free(text);
            continue;
        }
        s->read++;
        last = s->lines.number;
        import_take(s, got == LINE_OK ? text : NULL, got == LINE_OK ? len : 0);
        import_show_progress(s);
    }
    import_flush(s); /* with --strict nothing waits here */
    if (!import_signal || s->code != CLI_DONE) return;
    import_clear_progress(s);
    s->code = out_fail(CLI_ERROR, "%s: stopped by a signal behind line %llu", s->lines.name,
                       (unsigned long long)last);
}

/* ---- the command ---- */

static int import_options(import_state *s) {
    cli *c = s->c;
    uint64_t batch = CLI_BATCH;
    const char *number = c->args.value[OPT_BATCH];
    if (number && (!text_number(number, AGT_MAX_BATCH, &batch) || batch == 0))
        return out_fail(CLI_USAGE, "--batch '%s' is no number from 1 to %d", number, AGT_MAX_BATCH);
    s->ack = c->args.value[OPT_ACK] != NULL;
    s->strict = c->args.value[OPT_STRICT] != NULL;
    if (s->strict && number && batch != 1)
        return out_usage(c->command, "--strict makes one change at a time; leave --batch out");
    s->batch = s->strict ? 1 : (size_t)batch;
    s->progress = out_is_terminal(2);
    int code = cli_caller(c, "import", &s->fallback);
    if (code == CLI_DONE) code = cli_durability(c, &s->durability);
    if (!c->args.value[OPT_ACTOR]) s->fallback.actor = NULL; /* then each line must say */
    return code;
}

static void import_summary(const import_state *s) {
    if (s->c->json) {
        out_json j = {0};
        json_open(&j, NULL, '{');
        json_put_u64(&j, "lines", s->read);
        json_put_u64(&j, "applied", s->applied);
        json_put_u64(&j, "unchanged", s->unchanged);
        json_put_u64(&j, "denied", s->denied);
        json_put_u64(&j, "failed", s->failed);
        json_put_u64(&j, "edits_found", s->edits);
        json_put_u64(&j, "first_seq", s->first_seq);
        json_put_u64(&j, "last_seq", s->last_seq);
        json_close(&j, '}');
        return;
    }
    (void)printf("%llu applied, %llu unchanged, %llu denied, %llu failed\n",
                 (unsigned long long)s->applied, (unsigned long long)s->unchanged,
                 (unsigned long long)s->denied, (unsigned long long)s->failed);
}

static int import_code(const import_state *s, bool whole) {
    if (s->code != CLI_DONE) return s->code;
    if (s->failed || !whole) return CLI_ERROR;
    return s->denied ? CLI_DENIED : CLI_DONE;
}

static int command_import(cli *c) {
    import_state s = {.c = c};
    int code = import_options(&s);
    if (code == CLI_DONE) code = cli_find(c);
    if (code == CLI_DONE) code = lines_open(&s.lines, c->args.words[0]);
    if (code != CLI_DONE) return code;
    code = cli_open(c, true);
    if (code == CLI_DONE) {
        s.waiting = out_alloc(s.batch * sizeof s.waiting[0]);
        s.changes = out_alloc(s.batch * sizeof s.changes[0]);
        s.results = out_alloc(s.batch * sizeof s.results[0]);
        s.started_ms = s.shown_ms = time_now();
        import_catch(&s);
        import_stream(&s);
        import_clear_progress(&s);
    }
    bool whole = lines_close(&s.lines);
    if (code == CLI_DONE) {
        import_summary(&s);
        code = import_code(&s, whole);
    }
    free(s.waiting);
    free(s.changes);
    free(s.results);
    return cli_close(c, code);
}

const cli_command cli_import = {
    .name = "import",
    .run = command_import,
    .group = "more",
    .line = "take in a stream of changes",
    .usage = "FILE [options]",
    .text =
        "Makes every change of FILE (-: stdin; a name that ends in .gz is unpacked), one JSON "
        "object a line, in their order, each with its own permission check, record and commit:\n"
        "\n"
        "  {\"actor\": \"agent:claude\", \"action\": \"modify\", \"path\": \"docs/plan.md\",\n"
        "   \"content\": \"...\", \"type\": \"plan\", \"ts\": 1733179244, \"session\": \"s1\"}\n"
        "\n"
        "action is create, modify or delete; type, ts (unix seconds or RFC 3339) and session may "
        "be missing; other members are ignored. A line that fails stops nothing else. Lines are "
        "counted from 1, bytes in them from 0. Ctrl-C ends it behind the changes at hand, with "
        "the summary; the exit code is 1 then.",
    .takes = {{OPT_ACTOR, "who acts where a line does not say"},
              {OPT_BATCH, "N changes share one sync (default " CLI_QUOTE(CLI_BATCH) ")"},
              {OPT_ACK, NULL},
              {OPT_STRICT, NULL},
              {OPT_YES, NULL},
              {OPT_DURABILITY, "full (default) or process"},
              {OPT_PUBLISH, NULL},
              {OPT_JSON, "the summary as JSON"}},
    .exits = "0 everything was made, 3 some changes were denied, 1 some failed",
    .examples = "agent-trace import history.jsonl.gz",
    .see = "write trace",
    .min = 1,
    .max = 1,
    .wants = "a FILE, or - for stdin",
    .offers = {OFFER_FILE},
};
