/* upgrade_report: what a person should know about an upgrade: a finding a line, each with its
 * mend. */
#include "upgrade.h"

static void report_count(agt_buf *b, uint64_t n, const char *one, const char *many) {
    agt__buf_u64(b, n);
    agt__buf_byte(b, ' ');
    agt__buf_text(b, n == 1 ? one : many);
}

/* A path in quotes, as JSON has it: no control character gets through. */
static void report_path(agt_buf *b, agt_text path) {
    agt__json_put_string(b, path.data, path.len);
}

/* What the path is called now. */
static agt_text report_now(const agt_upgrading *u, agt_text path) {
    for (size_t i = 0; i < u->image.names.count; i++) {
        const agt_image_name *n = AGT_OLD_ITEM(&u->image.names, agt_image_name, i);
        if (agt__text_eq(n->old, path)) return n->now;
    }
    return path;
}

static void report_files(agt_buf *b, const agt_old_damage *d) {
    if (d->config)
        agt__buf_text(b, "config.toml is missing or damaged: the store's id was taken from "
                         "manifest.toml or made anew\n");
    if (d->manifest)
        agt__buf_text(b, "manifest.toml is missing or damaged: documents that it does not list "
                         "and their types come from the history; look at them with 'agent-trace "
                         "ls' and mend types with 'agent-trace reclassify'\n");
    if (d->overrides)
        agt__buf_text(b, "overrides.toml is damaged: grants behind the damage are gone; give them "
                         "again with 'agent-trace unlock'\n");
    if (d->event_lines) {
        report_count(b, d->event_lines, "line", "lines");
        agt__buf_text(b, " of summary_events.jsonl cannot be read; the file is kept as it is\n");
    }
    if (d->events_missing)
        agt__buf_text(b, "summary_events.jsonl is missing: times are known to the second only\n");
}

static void report_history(agt_buf *b, const agt_upgrading *u) {
    const agt_old_damage *d = &u->old.damage;
    if (d->heads_skipped)
        agt__buf_text(b, "the newest commits in .agent-trace/repo cannot be read: the history ends "
                         "with the last that can; files that are newer count as edits\n");
    if (d->branches) {
        report_count(b, d->branches, "branch", "branches");
        agt__buf_text(b, " of the old repository went another way; what was committed there stays "
                         "in .agent-trace/backup-0.1.0/repo\n");
    }
    if (d->cut)
        agt__buf_text(b, "the oldest commits in .agent-trace/repo cannot be read: the history "
                         "begins with the first that can\n");
    if (d->trees) {
        report_count(b, d->trees, "commit has", "commits have");
        agt__buf_text(b, " lost what it changed; what it says is kept\n");
    }
    if (u->image.blobs_lost) {
        report_count(b, u->image.blobs_lost, "version has", "versions have");
        agt__buf_text(b, " lost its bytes in .agent-trace/repo; a copy of the store may have "
                         "them\n");
    }
    if (d->doubtful) {
        report_count(b, d->doubtful, "commit says", "commits say");
        agt__buf_text(b, " something else than its author and its files; only those are "
                         "believed\n");
    }
}

/* A grant that holds longer than ours can, or that no store of ours can hold. */
static void report_grant(agt_buf *b, const agt_upgrading *u, const agt_old_grant *g, int64_t now) {
    agt_row row;
    char actor[AGT_MAX_NAME + 8], until[AGT_TIME_TEXT];
    const agt_grant_row *kept = NULL;
    agt_text path = report_now(u, g->path);
    if (agt__catalog_find(&u->image.catalog, path.data, path.len, &row) &&
        agt__copy_text(actor, sizeof actor, g->actor.data, g->actor.len))
        kept = agt__catalog_grant(&u->image.catalog, row.doc, actor, now);
    if (kept && (kept->until_unix_ms != g->expires_ms || g->expires_ms - now <= AGT_MAX_GRANT_MS))
        return; /* or another one outlasts it */
    if (kept) {
        agt__time_format(kept->until_unix_ms, until);
        agt__buf_text(b, strcmp(kept->actor, "agent") == 0 ? "any agent" : kept->actor);
        agt__buf_text(b, " may write ");
        report_path(b, path);
        agt__buf_text(b, " until ");
        agt__buf_text(b, until);
        agt__buf_text(b, ", which agent-trace 0.1.0 granted; end that with 'agent-trace unlock "
                         "PATH --revoke --for ");
        agt__buf_text(b, kept->actor);
        agt__buf_text(b, "'\n");
        return;
    }
    agt__buf_text(b, "the grant of ");
    report_path(b, g->path);
    agt__buf_text(b, " for ");
    report_path(b, g->actor);
    agt__buf_text(b, " is for nobody, or of no document, or one of more than 64, and ends here; "
                     "give it again with 'agent-trace unlock'\n");
}

static void report_grants(agt_buf *b, const agt_upgrading *u) {
    int64_t now = u->sys->now_unix_ms(u->sys->ctx);
    for (size_t i = 0; i < u->old.grants.count; i++) {
        const agt_old_grant *g = AGT_OLD_ITEM(&u->old.grants, agt_old_grant, i);
        if (now < g->expires_ms) report_grant(b, u, g, now);
    }
}

/* Two documents whose paths differ in case only: no store of ours would have made the second. */
static void report_case(agt_buf *b, const agt_upgrading *u, const agt_row *r) {
    agt_row other;
    if (!agt__catalog_case_clash(&u->image.catalog, r->path, r->path_len, &other)) return;
    size_t n = r->path_len < other.path_len ? r->path_len : other.path_len;
    if (memcmp(r->path, other.path, n) > 0) return; /* told once */
    report_path(b, (agt_text){r->path, r->path_len});
    agt__buf_text(b, " and ");
    report_path(b, (agt_text){other.path, other.path_len});
    agt__buf_text(b, " are two documents, but one file on systems that do not tell the case of "
                     "letters; give one another name with 'agent-trace mv'\n");
}

/* Names that had to be changed, and those that only other systems refuse. */
static agt_status report_names(agt_buf *b, const agt_upgrading *u, agt_error *err) {
    agt_rows rows;
    char clean[AGT_MAX_PATH + 1];
    size_t len;
    for (size_t i = 0; i < u->image.names.count; i++) {
        const agt_image_name *n = AGT_OLD_ITEM(&u->image.names, agt_image_name, i);
        report_path(b, n->old);
        agt__buf_text(b, " is no name that a store can hold; its versions are those of ");
        report_path(b, n->now);
        agt__buf_text(b, "; rename the file to that, and give it "
                         "another name with 'agent-trace mv'\n");
    }
    agt_status st = agt__catalog_rows(&u->image.catalog, AGT_ROWS_ALL, &rows, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; i < rows.count; i++) {
        const agt_row *r = &rows.row[i];
        if (r->exists) report_case(b, u, r);
        if (!r->exists || agt__path_normalise(r->path, r->path_len, clean, &len, NULL) == AGT_OK)
            continue;
        report_path(b, (agt_text){r->path, r->path_len});
        agt__buf_text(b, " has a name that some systems cannot store; give it another one with "
                         "'agent-trace mv'\n");
    }
    agt__rows_free(&u->mem, &rows);
    return AGT_OK;
}

/* Documents of the manifest that no commit ever had. */
static void report_unrecorded(agt_buf *b, const agt_upgrading *u) {
    agt_row row;
    for (size_t i = 0; i < u->old.documents.count; i++) {
        const agt_old_document *d = AGT_OLD_ITEM(&u->old.documents, agt_old_document, i);
        agt_text path = report_now(u, d->path);
        if (agt__catalog_find(&u->image.catalog, path.data, path.len, &row)) continue;
        report_path(b, d->path);
        agt__buf_text(b, " is listed in manifest.toml, but was never recorded; add it with "
                         "'agent-trace add'\n");
    }
}

AGT_PRIVATE agt_status agt__upgrade_report(agt_upgrading *u, agt_error *err) {
    agt_buf *b = &u->report;
    report_files(b, &u->old.damage);
    report_history(b, u);
    report_unrecorded(b, u);
    report_grants(b, u);
    agt_status st = report_names(b, u, err);
    if (u->link_left)
        agt__buf_text(b, "the file .git leads to the repository of another store, or of this one "
                         "in another folder, and was left as it is; remove it if nobody uses "
                         "it\n");
    return st == AGT_OK && b->failed ? agt__nomem(err) : st;
}
