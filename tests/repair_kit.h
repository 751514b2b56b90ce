/* What tests of the repair share: a store in a machine with all that a store can have in it, and a
 * portrait: every event, document, version, grant and refusal as text, to compare. */
#ifndef AGT_REPAIR_KIT_H
#define AGT_REPAIR_KIT_H

#include "../src/store/store.h"
#include "machine.h"
#include "oracle.h"
#include "store_kit.h"

#define REPAIR_AT "/home/.agent-trace/"

static const char *const repair_root = "/home";

typedef struct repair_text {
    char *p;
    size_t n, cap;
} repair_text;

static inline void repair_put(repair_text *t, const void *data, size_t n) {
    if (t->n + n + 1 > t->cap) t->p = realloc(t->p, t->cap = (t->n + n + 1) * 2);
    memcpy(t->p + t->n, data, n);
    t->p[t->n += n] = 0;
}

static inline void repair_line(repair_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void repair_line(repair_text *t, const char *format, ...) {
    char line[4096];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    repair_put(t, line, (size_t)n);
}

/* ---- the store ---- */

static inline void repair_write(agt_store *s, const agt_caller *who, const char *path,
                                agt_type type, const char *text) {
    agt_error err;
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_caller yes = *who;
    yes.confirm = 1;
    o.type = type;
    CHECK_OK(agt_write(s, &yes, path, text, strlen(text), &o, NULL, &err), err);
}

static inline void repair_two(agt_store *s, const char *text) {
    agt_error err;
    agt_change c[2] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    c[0].path = "both/one.md";
    c[1].path = "both/two.md";
    c[0].bytes = c[1].bytes = text;
    c[0].len = c[1].len = strlen(text);
    CHECK_OK(agt_batch(s, &kit_agent, c, 2, 0, NULL, &err), err);
}

static inline void repair_refused(agt_store *s, const char *path, const char *text) {
    agt_error err;
    CHECK_STATUS(agt_write(s, &kit_agent, path, text, strlen(text), NULL, NULL, &err), AGT_DENIED,
                 err);
}

/* Types, grants, a batch, a refusal; all of it in git, durably. */
static inline void repair_first_part(agt_store *s) {
    agt_error err;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    repair_write(s, &kit_user, "plan.md", AGT_TYPE_PLAN, "the plan\n");
    repair_write(s, &kit_user, "ref.md", AGT_TYPE_REFERENCE, "do not touch\n");
    repair_write(s, &kit_agent, "notes/a.md", AGT_TYPE_SCRATCH, "one\n");
    repair_write(s, &kit_user, "ctx.md", AGT_TYPE_CONTEXT, "context\n");
    repair_refused(s, "ref.md", "touched\n");
    repair_two(s, "both, first\n");
    CHECK_OK(agt_unlock(s, &yes, "ref.md", "agent:kestrel", 3600000, NULL, NULL, &err), err);
    repair_write(s, &kit_agent, "ref.md", AGT_TYPE_DEFAULT, "touched under a grant\n");
    repair_write(s, &kit_agent, "notes/gone.md", AGT_TYPE_SCRATCH, "short life\n");
    CHECK_OK(agt_remove(s, &yes, "notes/gone.md", NULL, NULL, &err), err);
}

/* Renames, another type, a long document; git does not have it yet. */
static inline void repair_second_part(agt_store *s) {
    agt_error err;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    CHECK_OK(agt_rename(s, &yes, "notes/a.md", "notes/b.md", NULL, NULL, &err), err);
    repair_write(s, &kit_agent, "notes/b.md", AGT_TYPE_DEFAULT, "two\n");
    CHECK_OK(agt_reclassify(s, &yes, "notes/b.md", AGT_TYPE_PLAN, NULL, NULL, &err), err);
    kit_write_blanks(s, "long.txt", AGT_INLINE_MAX + 1000, 7);
    repair_two(s, "both, second\n");
    repair_refused(s, "ctx.md", "no\n");
}

/* In the journal. */
static inline void repair_third_part(agt_store *s) {
    agt_error err;
    agt_caller yes = kit_user;
    yes.confirm = 1;
    repair_write(s, &kit_user, "plan.md", AGT_TYPE_DEFAULT, "the plan, again\n");
    CHECK_OK(agt_restore(s, &yes, "notes/gone.md", 1, NULL, NULL, &err), err);
    repair_two(s, "both, third\n");
    CHECK_OK(agt_event_append(s, &kit_agent, "note.taken", "a thought", NULL, 0, NULL, &err), err);
    kit_write_blanks(s, "long.txt", AGT_INLINE_MAX + 2000, 8);
    repair_write(s, &kit_user, "last.md", AGT_TYPE_LOG, "the last\n");
}

/* A new store, open, in a machine of its own. */
static inline machine *repair_new(agt_store **out) {
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, repair_root);
    machine_sync_all(m);
    *out = oracle_open(machine_process_new(m, "maker"), repair_root, NULL, AGT_OK);
    return m;
}

/* packed: git gets the first part durably; unpublished: what is in the journal stays there. */
static inline machine *repair_machine(void) {
    agt_error err;
    agt_store *s;
    machine *m = repair_new(&s);
    repair_first_part(s);
    CHECK_OK(agt_checkpoint(s, &err), err);
    repair_second_part(s);
    CHECK_OK(agt__empty_journal(s, &err), err);
    repair_third_part(s);
    CHECK_OK(agt_close(s, &err), err);
    machine_sync_all(m);
    return m;
}

/* ---- the portrait ---- */

static inline void repair_versions(repair_text *t, agt_store *s, const agt_document *d) {
    agt_error err;
    for (uint32_t v = 1; v <= d->version; v++) {
        agt_bytes b;
        unsigned char id[20];
        char hex[41] = "";
        agt_status st = agt_read_version(s, d->path, v, &b, &err);
        if (st == AGT_OK) {
            agt__git_id(agt__cpu(), "blob", b.data, b.len, id);
            agt__hex(id, 20, hex);
        }
        if (st == AGT_OK) agt_bytes_free(&b);
        repair_line(t, "  %u %s %.40s\n", v, agt_status_name(st), hex);
    }
}

static inline void repair_documents(repair_text *t, agt_store *s) {
    agt_error err;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    agt_status st;
    o.deleted = o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while ((st = agt_list_next(c, &d, &err)) == AGT_OK) {
        repair_line(t, "%s v%u %s %s %llu bytes seq %llu at %lld %s %s by %s%s\n", d.path,
                    d.version, d.exists ? "is" : "was", agt_type_name((agt_type)d.type),
                    (unsigned long long)d.size_bytes, (unsigned long long)d.last_seq,
                    (long long)d.changed_unix_ms, d.id, d.blob, d.agent,
                    d.modified_outside ? " MODIFIED" : "");
        repair_versions(t, s, &d);
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
}

static inline void repair_rights(repair_text *t, const agt_store *s) {
    const agt_catalog *c = &s->catalog;
    for (size_t i = 0; i < c->grant_count; i++)
        repair_line(t, "grant %s %s %lld %lld\n", c->grants[i].doc, c->grants[i].actor,
                    (long long)c->grants[i].from_unix_ms, (long long)c->grants[i].until_unix_ms);
    repair_line(t, "refusals, next %u:", c->refusal_at);
    for (int i = 0; i < AGT_REFUSALS; i++)
        if (c->refusals[i]) repair_line(t, " %d=%llx", i, (unsigned long long)c->refusals[i]);
    repair_line(t, "\n");
}

static inline void repair_events(repair_text *t, agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_status st;
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    while ((st = agt_trace_next(c, &e, &err)) == AGT_OK)
        repair_put(t, e.line.data, e.line.len);
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
}

/* Opens the store in a copy of the machine, publishes, and looks at everything; to free(). The
 * chain must hold, unless `gaps`. `head` (may be NULL) gets the commit. */
static inline char *repair_portrait(const machine *from, int gaps, char head[44]) {
    agt_error err;
    repair_text t = {NULL, 0, 0};
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_trace_verdict v = AGT_TRACE_VERDICT_INIT;
    machine *m = machine_clone(from);
    agt_store *s = oracle_open(machine_process_new(m, "painter"), repair_root, NULL, AGT_OK);
    kit_publish(s);
    CHECK_OK(agt_trace_verify(s, 0, &v, &err), err);
    if (!gaps) CHECK_INT(v.damaged_lines, 0);
    CHECK_INT(v.torn_bytes, 0);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    if (head) memcpy(head, info.head, sizeof info.head);
    repair_events(&t, s);
    repair_documents(&t, s);
    repair_rights(&t, s);
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
    return t.p;
}

/* ---- its files ---- */

/* Every file of the store but locks and state, and how long it is. */
typedef struct repair_files {
    char path[96][220];
    uint64_t size[96];
    size_t count;
} repair_files;

static inline void repair_list_files(const machine *m, repair_files *all) {
    char *tree = machine_tree(m, "/home/.agent-trace");
    all->count = 0;
    for (char *line = tree; *line;) {
        size_t n = strcspn(line, "\n");
        char name[400] = "", kind[16], mode[16], hash[80], rest[256];
        unsigned long long size;
        snprintf(name, sizeof name, "%.*s", (int)(n % sizeof name), line);
        if (sscanf(name, "%15s %15s %llu %79s %255s", kind, mode, &size, hash, rest) == 5 &&
            kind[0] == 'f' && size && strncmp(rest, "locks/", 6) != 0 && all->count < 96) {
            snprintf(all->path[all->count], 220, REPAIR_AT "%.200s", rest);
            all->size[all->count++] = size;
        }
        line += n + (line[n] != 0);
    }
    free(tree);
}

/* ---- repairing ---- */

/* Repairs; returns the findings' codes, each with a blank before it, to free(). */
static inline char *repair_run(machine *m, int dry, agt_repair_result *out) {
    agt_error err;
    agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
    agt_repair_result r = AGT_REPAIR_RESULT_INIT;
    agt_finding f = AGT_FINDING_INIT;
    agt_findings *all;
    repair_text t = {NULL, 0, 0};
    machine_process *p = machine_process_new(m, "repair");
    o.sys = machine_sys(p);
    o.dry_run = dry != 0;
    CHECK_OK(agt_repair(repair_root, &o, &r, &all, &err), err);
    repair_put(&t, "", 0);
    while (agt_findings_next(all, &f, &err) == AGT_OK) {
        CHECK(f.what[0] && f.code[0]);
        repair_line(&t, " %s", f.code);
    }
    agt_findings_close(all);
    CHECK_INT(machine_process_open_files(p), 0);
    machine_process_free(p);
    if (out) *out = r;
    return t.p;
}

/* What is behind the versions that the codes of a repair tell as lost, of which there are at most
 * so many, and none only if none was. */
static inline const char *repair_behind_lost(const char *codes, const agt_repair_result *r,
                                             uint64_t most) {
    static const char code[] = " lost_version";
    CHECK(r->lost_versions <= most && !r->lost_versions == !most);
    for (uint64_t i = 0; i < r->lost_versions; i++, codes += strlen(code))
        CHECK(strncmp(codes, code, strlen(code)) == 0);
    return codes;
}

#endif /* AGT_REPAIR_KIT_H */
