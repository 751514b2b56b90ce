/* index: AGENT-TRACE.md, which tells people and agents who open the folder what it is, who may
 * write what, and which documents there are.
 *
 * (1) Its text depends on the documents' paths and types alone: no time, no version. So it changes
 *     only when a document comes, goes, moves or gets another type, and a write of one that is
 * there costs one comparison. (2) Agents trust it, so names are shown as code and can be nothing
 * else. (3) It is written like every document, as the system's: a file of that name that somebody
 * made is taken into history first. It is only replaced if it still is the version that was listed
 * with the documents, so of two processes the later view wins.
 */
#include "work.h"

#define INDEX_TRIES   8
#define INDEX_LARGEST (32u * 1024 * 1024) /* bytes; ours have fewer */

static const char index_head[] =
    "# Agent Trace\n"
    "\n"
    "> Made by agent-trace. Do not edit it: it is written anew when the list of documents "
    "changes.\n"
    "> Edits are kept in its history (`agent-trace log AGENT-TRACE.md`).\n"
    "\n"
    "## How to Use This Store\n"
    "\n"
    "- Read documents as ordinary files.\n"
    "- Write them with `agent-trace write PATH`, so that the change has an author and a version.\n"
    "  Say who you are: `--actor agent:NAME` or `AGENT_TRACE_ACTOR`.\n"
    "- A write that the rules below refuse changes nothing and is recorded. Do not try another "
    "way:\n"
    "  ask the user.\n"
    "- See what happened: `agent-trace log`, `agent-trace log PATH`, `agent-trace diff PATH 1 2`.\n"
    "- Get an earlier version back: `agent-trace restore PATH VERSION`.\n"
    "- Never touch the folder `.agent-trace`: it holds the history.\n"
    "\n"
    "## Write Permission Rules\n"
    "\n"
    "| type | user | agent | system |\n"
    "|---|---|---|---|\n";

static const char index_table_end[] =
    "\n"
    "Asked: a user is asked to confirm. This file, `context.md`, `running_summary.md` and\n"
    "`logs/<agent>-<session>.md` are the system's, whatever else is said.\n";

static const char index_tail[] =
    "\n"
    "## Resume on Reconnect\n"
    "\n"
    "1. Read the plans above, then the context.\n"
    "2. Run `agent-trace log --limit 20` to see what was done last, and by whom.\n"
    "3. Go on with the first open point of the plan, and write down what you finish.\n";

static const struct {
    agt_type type;
    const char *title, *name;
} index_parts[] = {{AGT_TYPE_PLAN, "Plans", "plan"},
                   {AGT_TYPE_CONTEXT, "Context", "context"},
                   {AGT_TYPE_REFERENCE, "Reference", "reference"},
                   {AGT_TYPE_LOG, "Logs", "log"},
                   {AGT_TYPE_SCRATCH, "Scratch", "scratch"}};

#define INDEX_PARTS AGT_COUNT(index_parts)

typedef struct index_list {
    agt_buf rows[INDEX_PARTS];
    uint64_t count[INDEX_PARTS], total;
    bool there;       /* the store has an index */
    bool had;         /* it has, or had one, of a type that stays */
    uint32_t version; /* of the one that is there */
    uint64_t seq;     /* of its last event, if it had one */
} index_list;

/* ---- names: (2) ---- */

/* Characters that are not seen, turn the line around, or carry hidden text. */
static bool index_hidden(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x7f, 0xa0},     {0xad, 0xad},       {0x34f, 0x34f},    {0x61c, 0x61c},   {0x115f, 0x1160},
        {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x2000, 0x200f},  {0x2028, 0x202f}, {0x205f, 0x206f},
        {0x3000, 0x3000}, {0x3164, 0x3164},   {0xfe00, 0xfe0e},  {0xfeff, 0xfeff}, {0xffa0, 0xffa0},
        {0xfff0, 0xfffb}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}};
    for (size_t i = 0; i < AGT_COUNT(ranges); i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return c < 0x20;
}

/* <U+202E>: no path has < or >. */
static void index_code(agt_buf *out, uint32_t c) {
    static const char digits[] = "0123456789ABCDEF";
    int n = c > 0xfffff ? 6 : c > 0xffff ? 5 : 4;
    agt__buf_text(out, "<U+");
    while (n--)
        agt__buf_byte(out, (unsigned char)digits[c >> (4 * n) & 15]);
    agt__buf_byte(out, '>');
}

AGT_PRIVATE void agt__index_path(agt_buf *out, const char *path, size_t len) {
    size_t most = 0, run = 0, n;
    for (size_t i = 0; i < len; i++) {
        run = path[i] == '`' ? run + 1 : 0;
        if (run > most) most = run;
    }
    for (size_t i = 0; i <= most; i++)
        agt__buf_byte(out, '`');
    if (most) agt__buf_byte(out, ' ');
    for (size_t i = 0; i < len; i += n) {
        n = agt__utf8_char(path + i, len - i);
        uint32_t c = n ? agt__utf8_code(path + i, n) : 0xfffd;
        if (n == 0) n = 1;
        if (c == 0xfffd || index_hidden(c))
            index_code(out, c);
        else
            agt__buf_put(out, path + i, n);
    }
    if (most) agt__buf_byte(out, ' ');
    for (size_t i = 0; i <= most; i++)
        agt__buf_byte(out, '`');
}

/* ---- the text ---- */

static void index_row(index_list *l, const agt_document *d) {
    if (strcmp(d->path, AGT_WORK_INDEX) == 0) {
        l->had = true;
        l->there = d->exists != 0;
        l->version = d->exists ? d->version : 0;
        l->seq = d->last_seq;
        return;
    }
    if (!d->exists) return;
    for (size_t i = 0; i < INDEX_PARTS; i++) {
        if (d->type != (uint32_t)index_parts[i].type) continue;
        l->total++;
        if (l->count[i]++ >= AGT_WORK_ROWS) continue;
        agt__buf_text(&l->rows[i], "- ");
        agt__index_path(&l->rows[i], d->path, strlen(d->path));
        agt__buf_byte(&l->rows[i], '\n');
    }
}

static agt_status index_collect(agt_store *s, index_list *l, agt_error *err) {
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_cursor *c;
    o.deleted = 1;
    agt_status st = agt_list(s, &o, &c, err);
    if (st != AGT_OK) return st;
    agt_error mine;
    while ((st = agt_list_next(c, &d, &mine)) == AGT_OK)
        index_row(l, &d);
    agt_cursor_close(c);
    return st == AGT_END ? AGT_OK : agt__answer(st, &mine, err);
}

static void index_number(agt_buf *out, const char *before, uint64_t n, const char *behind) {
    agt__buf_text(out, before);
    agt__buf_u64(out, n);
    agt__buf_text(out, behind);
}

static void index_table(agt_buf *out) {
    static const char *const actors[] = {"user", "agent:a", "system"};
    for (size_t i = 0; i < INDEX_PARTS; i++) {
        agt__buf_text(out, "| ");
        agt__buf_text(out, index_parts[i].name);
        for (size_t k = 0; k < AGT_COUNT(actors); k++) {
            agt_status st = agt_permission(actors[k], AGT_ACTION_WRITE, index_parts[i].type, NULL);
            agt__buf_text(out, st == AGT_OK                   ? " | yes"
                               : st == AGT_NEEDS_CONFIRMATION ? " | asked"
                                                              : " | no");
        }
        agt__buf_text(out, " |\n");
    }
}

static void index_render(const index_list *l, agt_buf *out) {
    agt__buf_text(out, index_head);
    index_table(out);
    agt__buf_text(out, index_table_end);
    index_number(out, "\n## Documents (", l->total, " total)\n");
    for (size_t i = 0; i < INDEX_PARTS; i++) {
        if (!l->count[i]) continue;
        agt__buf_text(out, "\n### ");
        agt__buf_text(out, index_parts[i].title);
        agt__buf_text(out, "\n\n");
        agt__buf_put(out, l->rows[i].data, l->rows[i].len);
        if (l->count[i] <= AGT_WORK_ROWS) continue;
        index_number(out, "- and ", l->count[i] - AGT_WORK_ROWS, " more: `agent-trace ls --type ");
        agt__buf_text(out, index_parts[i].name);
        agt__buf_text(out, "`\n");
    }
    index_number(out, "\n## Numbers\n\n- total: ", l->total, "\n");
    for (size_t i = 0; i < INDEX_PARTS; i++) {
        agt__buf_text(out, "- ");
        agt__buf_text(out, index_parts[i].name);
        index_number(out, ": ", l->count[i], "\n");
    }
    agt__buf_text(out, index_tail);
    for (size_t i = 0; i < INDEX_PARTS; i++)
        out->failed |= l->rows[i].failed;
}

/* ---- one that was gone: (4) ---- */

static bool index_is_back(agt_store *s) {
    static const char mark[] = "# Agent Trace\n\n> Made by agent-trace.";
    agt_buf text = agt__buf(&s->mem);
    bool ours =
        agt__read_file(s->sys, s->root, AGT_WORK_INDEX, INDEX_LARGEST, &text, NULL) == AGT_OK &&
        text.len >= sizeof mark - 1 && memcmp(text.data, mark, sizeof mark - 1) == 0;
    agt__buf_free(&text);
    return ours;
}

/* Was its deletion found, and not asked for? */
static agt_status index_went(agt_store *s, uint64_t seq, bool *went, agt_error *err) {
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    agt_event e = AGT_EVENT_INIT;
    agt_cursor *c;
    agt_error mine;
    o.from_seq = o.to_seq = seq;
    agt_status st = agt_trace(s, &o, &c, err);
    if (st != AGT_OK) return st;
    st = agt_trace_next(c, &e, &mine);
    *went = st == AGT_OK && agt__text_is(e.source, "poll");
    agt_cursor_close(c);
    return st == AGT_END || st == AGT_CORRUPT ? AGT_OK : agt__answer(st, &mine, err);
}

/* ---- writing it: (3) ---- */

static agt_status index_write(agt_store *s, const index_list *l, agt_write_result *r,
                              agt_error *err) {
    agt_write_options o = AGT_WRITE_OPTIONS_INIT;
    agt_caller system = AGT_CALLER("system");
    agt_buf text = agt__buf(&s->mem);
    system.source = "index";
    o.check_version = 1;
    o.expected_version = l->version;
    if (!l->had) o.type = AGT_TYPE_CONTEXT;
    index_render(l, &text);
    *r = (agt_write_result)AGT_WRITE_RESULT_INIT;
    agt_status st = text.failed
                        ? agt__nomem(err)
                        : agt_write(s, &system, AGT_WORK_INDEX, text.data, text.len, &o, r, err);
    agt__buf_free(&text);
    return st;
}

static agt_status index_once(agt_store *s, bool make, agt_write_result *r, agt_error *err) {
    index_list l;
    memset(&l, 0, sizeof l);
    for (size_t i = 0; i < INDEX_PARTS; i++)
        l.rows[i] = agt__buf(&s->mem);
    agt_status st = index_collect(s, &l, err);
    if (st == AGT_OK && (l.there || make || (l.had && index_is_back(s))))
        st = index_write(s, &l, r, err);
    else
        r->unchanged = 1;
    for (size_t i = 0; i < INDEX_PARTS; i++)
        agt__buf_free(&l.rows[i]);
    return st;
}

AGT_PRIVATE agt_status agt__index_differs(agt_store *s, bool *differs, agt_error *err) {
    index_list l;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_buf text = agt__buf(&s->mem);
    unsigned char id[20];
    char hex[41] = "";
    *differs = false;
    memset(&l, 0, sizeof l);
    for (size_t i = 0; i < INDEX_PARTS; i++)
        l.rows[i] = agt__buf(&s->mem);
    agt_status st = index_collect(s, &l, err);
    if (st == AGT_OK && l.there) {
        index_render(&l, &text);
        st = text.failed ? agt__nomem(err) : agt_document_get(s, AGT_WORK_INDEX, &d, err);
    }
    if (st == AGT_OK && l.there) {
        agt__git_id(s->cpu, "blob", text.data, text.len, id);
        agt__hex(id, sizeof id, hex);
        *differs = d.modified_outside || strncmp(d.blob, hex, 40) != 0;
    }
    if (st == AGT_OK && l.had && !l.there) {
        *differs = index_is_back(s);
        if (!*differs) st = index_went(s, l.seq, differs, err);
    }
    agt__buf_free(&text);
    for (size_t i = 0; i < INDEX_PARTS; i++)
        agt__buf_free(&l.rows[i]);
    return st;
}

/* How often the list of documents has changed, as far as this handle knows. */
static agt_status index_shape(agt_store *s, uint64_t *shape, bool *changed, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    *shape = s->catalog.shape;
    *changed = s->catalog.shape != s->index_shape;
    agt__store_leave(s);
    return AGT_OK;
}

static void index_shown(agt_store *s, uint64_t shape) {
    if (agt__store_enter(s, NULL) != AGT_OK) return;
    s->index_shape = shape;
    agt__store_leave(s);
}

AGENT_TRACE_API agt_status agt_index_refresh(agt_store *store, int make, agt_write_result *result,
                                             agt_error *err) {
    agt_write_result fresh = AGT_WRITE_RESULT_INIT, r = fresh;
    agt_error mine;
    uint64_t shape;
    bool changed;
    AGENT_TRACE_ASSERT(store);
    agt_status st = result ? agt__options(&r, sizeof r, result, "agt_write_result", err) : AGT_OK;
    if (st == AGT_OK) st = index_shape(store, &shape, &changed, err);
    if (st != AGT_OK) return st;
    if (store->stands_on) return agt__store_refuse(store, err);
    if (store->read_only)
        return agt__fail(err, AGT_INVALID, "a read-only handle cannot write the index");
    r = fresh;
    r.unchanged = 1;
    mine.status = AGT_OK;
    for (int i = 0; i < INDEX_TRIES && (make || changed); i++) {
        st = index_once(store, make != 0, &r, &mine);
        if (st != AGT_CONFLICT) break;
    }
    if (st == AGT_OK) index_shown(store, shape);
    if (st == AGT_CONFLICT)
        st = agt__fail(&mine, AGT_BUSY, "others change " AGT_WORK_INDEX " all the time; try again");
    if (result) {
        r.size = result->size;
        memcpy(result, &r, r.size < sizeof r ? r.size : sizeof r);
    }
    return agt__answer(st, &mine, err);
}
