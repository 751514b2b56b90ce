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
    if (u->image.grants_dropped) {
        report_count(b, u->image.grants_dropped, "grant is", "grants are");
        agt__buf_text(b, " longer than seven days, or for nobody, and end here; give them again "
                         "with 'agent-trace unlock'\n");
    }
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
        agt__buf_text(b, "; rename the file and add it with 'agent-trace add'\n");
    }
    agt_status st = agt__catalog_rows(&u->image.catalog, AGT_ROWS_ALL, &rows, err);
    if (st != AGT_OK) return st;
    for (size_t i = 0; i < rows.count; i++) {
        const agt_row *r = &rows.row[i];
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
        if (agt__catalog_find(&u->image.catalog, d->path.data, d->path.len, &row)) continue;
        bool renamed = false;
        for (size_t k = 0; k < u->image.names.count && !renamed; k++)
            renamed = agt__text_eq(AGT_OLD_ITEM(&u->image.names, agt_image_name, k)->old, d->path);
        if (renamed) continue;
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
    agt_status st = report_names(b, u, err);
    if (u->link_left)
        agt__buf_text(b, "the file .git leads to the repository of another store, or of this one "
                         "in another folder, and was left as it is; remove it if nobody uses "
                         "it\n");
    return st == AGT_OK && b->failed ? agt__nomem(err) : st;
}
