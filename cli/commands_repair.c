/* commands_repair: repair, which makes a damaged store whole again as far as anything is left, and
 * doctor, which says what is not as it should be. */
#include "cli.h"

#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where ---- */

static bool repair_has_store(const char *folder) {
    char at[4200];
    struct stat st;
    (void)snprintf(at, sizeof at, "%s/.agent-trace", folder);
    return lstat(at, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The store around the current folder, also one that is too damaged to be found as a store. */
static int repair_find(cli *c) {
    agt_error err;
    agt_status st = agt_store_find(NULL, c->root, sizeof c->root, &err);
    c->root[0] = 0;
    if (st != AGT_CORRUPT) return cli_find(c);
    if (!getcwd(c->root, sizeof c->root))
        return out_fail(CLI_ERROR, "cannot tell the current folder: %s", strerror(errno));
    while (!repair_has_store(c->root)) {
        char *slash = strrchr(c->root, '/');
        if (!slash || !slash[1]) return cli_failed(c, st, &err);
        slash[slash == c->root] = 0;
    }
    return CLI_DONE;
}

/* ---- findings ---- */

static const char *repair_severity(uint32_t severity) {
    static const char *const names[] = {"ok", "note", "warning", "error"};
    return severity < 4 ? names[severity] : "error";
}

static out_style repair_style(const agt_finding *f) {
    if (f->mended || f->severity == AGT_SEVERITY_OK) return OUT_GREEN;
    if (f->severity == AGT_SEVERITY_NOTE) return OUT_DIM;
    return f->severity == AGT_SEVERITY_WARNING ? OUT_YELLOW : OUT_RED;
}

static void repair_put_json(out_json *j, const agt_finding *f) {
    json_open(j, NULL, '{');
    json_put(j, "severity", repair_severity(f->severity));
    json_put(j, "code", f->code);
    json_put(j, "what", f->what);
    json_put(j, "mend", f->mend[0] ? f->mend : NULL);
    json_put_bool(j, "mendable", f->mendable != 0);
    json_put_bool(j, "mended", f->mended != 0);
    json_close(j, '}');
}

/* "mended", or how bad it is; the code; what it is. On a terminal with what to do below. */
static void repair_put_row(out_table *t, const agt_finding *f) {
    out_cellf(t, repair_style(f), "%s", f->mended ? "mended" : repair_severity(f->severity));
    out_cellf(t, OUT_DIM, "%s", f->code);
    if (!out_columns()) {
        out_cellf(t, OUT_PLAIN, "%s", f->what);
        out_cellf(t, OUT_PLAIN, "%s", f->mended ? "" : f->mend);
    } else
        out_cellf(t, OUT_PLAIN, "%s%s%s", f->what, f->mended || !f->mend[0] ? "" : "; ",
                  f->mended ? "" : f->mend);
}

/* Returns how many of them are left to be looked at; *count: how many there are. */
static unsigned repair_print_findings(agt_findings *all, unsigned *count) {
    agt_finding f = AGT_FINDING_INIT;
    agt_error err;
    unsigned left = 0;
    *count = 0;
    out_table t = {.columns = out_columns() ? 3 : 4, .wrap = out_columns() != 0};
    for (; agt_findings_next(all, &f, &err) == AGT_OK; ++*count) {
        repair_put_row(&t, &f);
        left += f.severity >= AGT_SEVERITY_WARNING && !f.mended;
    }
    out_rows(&t);
    out_table_free(&t);
    return left;
}

static void repair_print_json(const agt_repair_result *r, agt_findings *all) {
    agt_finding f = AGT_FINDING_INIT;
    agt_error err;
    out_json j = {0};
    json_open(&j, NULL, '{');
    json_put_u64(&j, "found", r->found);
    json_put_u64(&j, "mended", r->mended);
    json_put_u64(&j, "left", r->left);
    json_put_u64(&j, "events", r->events);
    json_put_u64(&j, "lost_events", r->lost_events);
    json_put_u64(&j, "first_lost_seq", r->first_lost_seq);
    json_put_u64(&j, "lost_versions", r->lost_versions);
    json_put_u64(&j, "lost_types", r->lost_types);
    json_open(&j, "findings", '[');
    while (agt_findings_next(all, &f, &err) == AGT_OK)
        repair_put_json(&j, &f);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* One line that says how it ended. */
static void repair_print_end(const agt_repair_result *r, bool dry) {
    if (!out_columns()) return;
    if (!r->found)
        out_styled(OUT_GREEN, r->lost_versions ? "nothing else is damaged" : "nothing is damaged");
    else
        (void)printf("%u of %u %s", r->mended, r->found, dry ? "can be mended" : "mended");
    if (r->mended && !dry) (void)printf("; what was replaced is kept in .agent-trace/damaged");
    (void)putchar('\n');
}

static int command_repair(cli *c) {
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_repair_result r = AGT_REPAIR_RESULT_INIT;
    agt_findings *all;
    agt_error err;
    bool dry = c->args.value[OPT_DRY_RUN] != NULL;
    int code = repair_find(c);
    if (code != CLI_DONE) return code;
    o.dry_run = dry;
    agt_status st = agt_repair(c->root, &o, &r, &all, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    if (c->json)
        repair_print_json(&r, all);
    else {
        unsigned count;
        (void)repair_print_findings(all, &count);
        repair_print_end(&r, dry);
    }
    agt_findings_close(all);
    return (dry ? r.found : r.left) ? CLI_ERROR : CLI_DONE;
}

const cli_command cli_repair = {
    .name = "repair",
    .run = command_repair,
    .group = "upkeep",
    .line = "make a damaged store whole again",
    .usage = "[--dry-run]",
    .text =
        "Reads all of the store and makes anew what is damaged or missing: config.toml, the "
        "journal, the catalog, the trace, records and git, each from the others. An event or a "
        "version comes back only if its hash proves it; what nothing has any more is said. A "
        "document whose type was lost becomes reference, never anything that agents may write. "
        "Documents themselves are not touched.\n"
        "\n"
        "What is replaced is kept in .agent-trace/damaged. It may be interrupted and begun again; "
        "a store that is whole stays as it is.",
    .takes = {{OPT_DRY_RUN, "only say what is damaged"},
              {OPT_JSON, "what was found and mended as JSON"}},
    .exits = "0 nothing was damaged, or all of it is mended; 1 something is lost, or with "
             "--dry-run: something is damaged",
    .examples = "agent-trace repair --dry-run\n"
                "agent-trace repair",
    .see = "status trace",
};

static unsigned doctor_print_json(agt_findings *all) {
    agt_finding f = AGT_FINDING_INIT;
    agt_error err;
    out_json j = {0};
    unsigned left = 0;
    json_open(&j, NULL, '[');
    while (agt_findings_next(all, &f, &err) == AGT_OK) {
        repair_put_json(&j, &f);
        left += f.severity >= AGT_SEVERITY_WARNING && !f.mended;
    }
    json_close(&j, ']');
    return left;
}

static int command_doctor(cli *c) {
    agt_doctor_options o = AGT_DOCTOR_OPTIONS_INIT;
    agt_findings *all;
    agt_error err;
    unsigned left, count = 1;
    int code = repair_find(c);
    if (code != CLI_DONE) return code;
    o.fix = c->args.value[OPT_FIX] != NULL;
    o.deep = c->args.value[OPT_DEEP] != NULL;
    agt_status st = agt_doctor(c->root, &o, &all, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    left = c->json ? doctor_print_json(all) : repair_print_findings(all, &count);
    if (!count && out_columns()) {
        out_styled(OUT_GREEN, "nothing to report");
        (void)putchar('\n');
    }
    agt_findings_close(all);
    return left ? CLI_ERROR : CLI_DONE;
}

const cli_command cli_doctor = {
    .name = "doctor",
    .run = command_doctor,
    .group = "upkeep",
    .line = "say what is wrong with the store",
    .usage = "[--fix] [--deep]",
    .text =
        "Says what is not as it should be, or worth knowing, where it is, and what to do about it: "
        "damaged parts, modes that let others in, temporary files of processes that died, edits "
        "that were kept aside, refused bytes that are damaged or too many, an AGENT-TRACE.md that "
        "does not say what the store says, a git repository around the store that sees it, changes "
        "that wait or that git does not have yet, a clock that goes behind, a file system that is "
        "on a network, read-only, nearly full or without locks, and stores above and below. It "
        "changes nothing.\n"
        "\n"
        "With --fix it mends what needs no guess, and leaves the rest to you: edits, other stores, "
        "the disk.",
    .takes = {{OPT_FIX,
               "mend modes, leftovers and AGENT-TRACE.md, and damaged parts as repair does"},
              {OPT_DEEP, "read all of it, git's history too"},
              {OPT_JSON, "the findings as JSON"}},
    .exits = "0 nothing needs a look, or all of that is mended; 1 something does",
    .examples = "agent-trace doctor\n"
                "agent-trace doctor --deep",
    .see = "repair status",
};
