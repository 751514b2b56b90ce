/* commands_upgrade: makes a store of agent-trace 0.1.0 one of ours. */
#include "cli.h"

#include "output.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static void upgrade_print_json(const agt_upgrade_result *r, bool dry_run) {
    out_json j = {0};
    const char *p = (const char *)r->report.data, *end;
    char line[8192];
    json_open(&j, NULL, '{');
    json_put_bool(&j, "upgraded", !r->already && !dry_run);
    json_put_bool(&j, "already", r->already != 0);
    json_put_bool(&j, "dry_run", dry_run);
    json_put_u64(&j, "commits", r->commits);
    json_put_u64(&j, "events", r->events);
    json_put_u64(&j, "versions", r->versions);
    json_put_u64(&j, "versions_lost", r->versions_lost);
    json_put_u64(&j, "documents", r->documents);
    json_open(&j, "findings", '[');
    for (; p && *p; p = end + (*end != 0)) {
        end = p + strcspn(p, "\n");
        (void)snprintf(line, sizeof line, "%.*s", (int)(end - p), p);
        json_put(&j, NULL, line);
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

static void upgrade_print(const agt_upgrade_result *r, bool dry_run) {
    const char *p = (const char *)r->report.data, *end;
    if (r->already) {
        (void)printf("this store has the format of agent-trace %s already\n", agt_version());
        return;
    }
    (void)printf("%s: %llu commits, %llu versions, %llu events, %llu documents\n",
                 dry_run ? "would upgrade" : "upgraded", (unsigned long long)r->commits,
                 (unsigned long long)r->versions, (unsigned long long)r->events,
                 (unsigned long long)r->documents);
    if (!dry_run) (void)printf("the old store is in .agent-trace/backup-0.1.0\n");
    for (; p && *p; p = end + (*end != 0)) {
        end = p + strcspn(p, "\n");
        out_styled(OUT_YELLOW, "note ");
        out_text(p, (size_t)(end - p));
        (void)putchar('\n');
    }
}

/* AGENT-TRACE.md as this version writes it, and what that publishes. */
static int upgrade_index(cli *c) {
    agt_error err;
    int code = cli_open(c, true);
    if (code != CLI_DONE) return code;
    if (agt_index_refresh(c->store, 1, NULL, &err) != AGT_OK)
        out_note("the store is upgraded, but AGENT-TRACE.md is not up to date: %s", err.message);
    return cli_close(c, CLI_DONE);
}

/* An upgrade that was stopped at its very end left the old program's AGENT-TRACE.md. */
static bool upgrade_left_index(const cli *c) {
    static const char old[] = "# AGENT-TRACE.md \xe2\x80\x94 Agent Discovery Index\n";
    char place[PATH_MAX], first[sizeof old];
    FILE *f = cli_place(c, "AGENT-TRACE.md", place) ? fopen(place, "rb") : NULL;
    if (!f) return false;
    bool left = fgets(first, sizeof first, f) && strcmp(first, old) == 0;
    (void)fclose(f);
    return left;
}

static int command_upgrade(cli *c) {
    agt_error err;
    agt_upgrade_options o = AGT_UPGRADE_OPTIONS_INIT;
    agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
    int code = cli_find(c);
    if (code != CLI_DONE) return code;
    /* who an agent's environment says is no user may not change the store as a whole */
    if (!c->args.value[OPT_DRY_RUN] && !cli_may_act_as("user"))
        return out_fail(CLI_DENIED,
                        "AGENT_TRACE_ACTOR is %s, so upgrading needs a terminal on "
                        "stdin; ask the user to run 'agent-trace upgrade'",
                        cli_env_actor());
    o.dry_run = c->args.value[OPT_DRY_RUN] != NULL;
    agt_status st = agt_upgrade(c->root, &o, &r, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    if (c->json)
        upgrade_print_json(&r, o.dry_run != 0);
    else
        upgrade_print(&r, o.dry_run != 0);
    agt_bytes_free(&r.report);
    if (o.dry_run || (r.already && !upgrade_left_index(c))) return CLI_DONE;
    return upgrade_index(c);
}

const cli_command cli_upgrade = {
    .name = "upgrade",
    .run = command_upgrade,
    .group = "upkeep",
    .line = "make a store of agent-trace 0.1.0 one of this version",
    .usage = "[--dry-run]",
    .text =
        "A store of agent-trace 0.1.0 can be read as it is, but not written. Upgrading takes over "
        "its whole history: every version under its number, who made it, every event, refusal and "
        "grant, which lasts as long as it was given for. No document is touched but "
        "AGENT-TRACE.md, which is written anew, and the old store is kept in "
        ".agent-trace/backup-0.1.0.\n\nIt happens as a whole: if it is stopped, run it again. "
        "While a process of agent-trace 0.1.0 is at work nothing is done (exit code 5).",
    .takes = {{OPT_DRY_RUN, "only say what would be done"}, {OPT_JSON, "the same as JSON"}},
    .examples = "agent-trace upgrade --dry-run\nagent-trace upgrade",
    .see = "init status",
};
