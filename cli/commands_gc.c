/* commands_gc: gc, which makes a store small and says what it takes on disk. */
#include "cli.h"

#include "output.h"

#include <stdio.h>

typedef struct gc_part {
    const char *name;
    const agt_disk_use *before, *after;
} gc_part;

#define GC_PARTS 8
static void gc_parts(const agt_gc_result *r, gc_part out[GC_PARTS]) {
    const agt_disk_parts *b = &r->before, *a = &r->after;
    const gc_part all[GC_PARTS] = {
        {"git", &b->git, &a->git},
        {"unpublished", &b->unpublished, &a->unpublished},
        {"trace", &b->trace, &a->trace},
        {"journal", &b->journal, &a->journal},
        {"rejected", &b->rejected, &a->rejected},
        {"aside", &b->aside, &a->aside},
        {"tmp", &b->tmp, &a->tmp},
        {"other", &b->other, &a->other},
    };
    for (int i = 0; i < GC_PARTS; i++)
        out[i] = all[i];
}

/* ---- for programs ---- */

static void gc_json_use(out_json *j, const char *key, const agt_disk_use *use) {
    json_open(j, key, '{');
    json_put_u64(j, "files", use->files);
    json_put_u64(j, "bytes", use->bytes);
    json_close(j, '}');
}

static void gc_print_json(const agt_gc_result *r) {
    gc_part parts[GC_PARTS];
    out_json j = {0};
    gc_parts(r, parts);
    json_open(&j, NULL, '{');
    json_put_u64(&j, "objects", r->objects);
    json_put_u64(&j, "packs", r->packs);
    json_put_u64(&j, "packs_removed", r->packs_removed);
    json_put_u64(&j, "loose", r->loose);
    json_put_u64(&j, "loose_removed", r->loose_removed);
    json_put_u64(&j, "missing", r->missing);
    json_put_u64(&j, "torn", r->torn);
    for (int after = 0; after < 2; after++) {
        json_open(&j, after ? "after" : "before", '{');
        for (int i = 0; i < GC_PARTS; i++)
            gc_json_use(&j, parts[i].name, after ? parts[i].after : parts[i].before);
        json_close(&j, '}');
    }
    json_close(&j, '}');
}

/* ---- for people ---- */

static void gc_size(out_table *t, uint64_t bytes) {
    char text[24];
    if (out_columns())
        out_cellf(t, OUT_PLAIN, "%s", out_bytes(bytes, text));
    else
        out_cellf(t, OUT_PLAIN, "%llu", (unsigned long long)bytes);
}

static void gc_row(out_table *t, const gc_part *p) {
    bool smaller = p->after->bytes < p->before->bytes;
    out_cellf(t, OUT_DIM, "%s", p->name);
    gc_size(t, p->before->bytes);
    gc_size(t, p->after->bytes);
    if (out_columns()) out_cellf(t, OUT_GREEN, "%s", smaller ? "smaller" : "");
}

/* In a pipe nothing but the rows; there every part is one. */
static void gc_print_table(const agt_gc_result *r) {
    gc_part parts[GC_PARTS], all;
    agt_disk_use before = {0, 0}, after = {0, 0};
    out_table t = {.columns = out_columns() ? 4 : 3, .right = 1u << 1 | 1u << 2};
    gc_parts(r, parts);
    if (out_columns()) {
        out_cellf(&t, OUT_DIM, "part");
        out_cellf(&t, OUT_DIM, "before");
        out_cellf(&t, OUT_DIM, "after");
        out_cellf(&t, OUT_DIM, "%s", "");
    }
    for (int i = 0; i < GC_PARTS; i++) {
        before.bytes += parts[i].before->bytes;
        after.bytes += parts[i].after->bytes;
        if (!out_columns() || parts[i].before->bytes || parts[i].after->bytes)
            gc_row(&t, &parts[i]);
    }
    all = (gc_part){"together", &before, &after};
    gc_row(&t, &all);
    out_rows(&t);
    out_table_free(&t);
}

static const char *gc_plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

/* What a person may want to do something about, on stderr. */
static void gc_print_notes(const agt_gc_result *r) {
    unsigned long long n;
    if (r->packs > 1)
        out_note("%llu packs stay beside the new one: they hold objects that no branch or tag of "
                 "the store's repository leads to, or somebody keeps them",
                 (unsigned long long)r->packs - 1);
    if ((n = r->loose))
        out_note("%llu loose object%s stay%s: nothing leads to %s", n, gc_plural(n),
                 n == 1 ? "s" : "", n == 1 ? "it" : "them");
    if ((n = r->missing))
        out_note("%llu object%s that a branch or tag of somebody's leads to %s not there; see "
                 "'agent-trace git fsck'",
                 n, gc_plural(n), n == 1 ? "is" : "are");
    if (r->torn)
        out_note("%u torn end%s of the trace %s kept in .agent-trace/trace; read and remove %s",
                 r->torn, gc_plural(r->torn), r->torn == 1 ? "is" : "are",
                 r->torn == 1 ? "it" : "them");
    if ((n = r->after.aside.files))
        out_note("%llu edit%s that met a write %s kept in .agent-trace/aside; read and remove %s",
                 n, gc_plural(n), n == 1 ? "is" : "are", n == 1 ? "it" : "them");
}

static int command_gc(cli *c) {
    agt_gc_result r = AGT_GC_RESULT_INIT;
    agt_error err;
    int code = cli_open(c, true);
    if (code != CLI_DONE) return code;
    agt_status st = agt_gc(c->store, NULL, &r, &err);
    if (st != AGT_OK)
        code = cli_failed(c, st, &err);
    else if (c->json)
        gc_print_json(&r);
    else
        gc_print_table(&r);
    if (st == AGT_OK && !c->json) gc_print_notes(&r);
    return cli_close(c, code);
}

const cli_command cli_gc = {
    .name = "gc",
    .run = command_gc,
    .group = "upkeep",
    .line = "make the store small",
    .usage = "",
    .text =
        "Publishes what is pending and packs the whole history into one pack; removes what that "
        "makes superfluous and what processes left that died. Then says what each part of the "
        "store takes on disk, before and after; in a pipe, in bytes. Agents can go on writing "
        "meanwhile. It may be interrupted, and nothing is lost.\n"
        "\n"
        "Edits that met a write, refused bytes and torn ends of the trace are only counted. "
        "Objects of the repository that no branch or tag leads to are left alone.",
    .takes = {{OPT_JSON, "files and bytes of each part, before and after, as JSON"}},
    .examples = "agent-trace gc",
    .see = "status git",
};
