/* chain: the commits of a store of agent-trace 0.1.0, and what each changed.
 *
 * (1) The history is the chain of first parents behind HEAD. Where HEAD or its commit cannot be
 *     read (a power cut empties files that were not synced), the reflog names the one before. Where
 *     somebody checked an older commit out, the branch that went on from it is the history.
 * (2) A version is a commit whose tree has other bytes at a path than its parent's. The message's
 *     rows say what was meant by it, and in which order.
 * (3) Who did it is what the author's signature says: it is made of the actor, and no text that
 *     stands in the message can reach it. */
#include "old.h"

#define HISTORY_NEAR_MS (10 * 60 * 1000)

/* ---- the chain of commits ---- */

static agt_status chain_commit_add(agt_old *o, const agt_oid *id, agt_error *err) {
    agt_old_commit *c = agt__old_add(o, &o->commits, sizeof *c);
    if (!c) return agt__nomem(err);
    c->id = *id;
    return AGT_OK;
}

static void chain_turn(agt_old *o) {
    for (size_t i = 0, j = o->commits.count; i + 1 < j; i++) {
        agt_old_commit *a = AGT_OLD_ITEM(&o->commits, agt_old_commit, i);
        agt_old_commit *b = AGT_OLD_ITEM(&o->commits, agt_old_commit, --j), swap = *a;
        *a = *b;
        *b = swap;
    }
}

/* How many commits lead from `tip` back to `head`; 0: it does not lead there. */
static agt_status chain_distance(const agt_old *o, const agt_oid *tip, const agt_oid *head,
                                 uint64_t *out, agt_error *err) {
    agt_git_past past;
    agt_error mine;
    agt_oid id = *tip;
    agt_buf bytes = agt__buf(&o->mem);
    agt_status st = AGT_OK;
    *out = 0;
    for (uint64_t n = 0; st == AGT_OK; n++) {
        if (memcmp(&id, head, sizeof id) == 0) {
            *out = n;
            break;
        }
        st = agt__git_past_commit(o->git, &id, &bytes, &past, &mine);
        if (st == AGT_OK && !past.has_parent) break;
        if (st == AGT_OK) id = past.parent;
    }
    agt__buf_free(&bytes);
    return st == AGT_NOMEM || st == AGT_IO ? agt__answer(st, &mine, err) : AGT_OK;
}

/* Goes on to the branch that leads furthest from the head (1). */
static agt_status chain_forward(const agt_old *o, agt_oid *head, agt_error *err) {
    agt_oid from = *head, tip;
    uint64_t most = 0, n;
    agt_buf ids = agt__buf(&o->mem);
    agt_status st = agt__git_past_tips(o->git, &ids, err);
    for (size_t at = 0; st == AGT_OK && at < ids.len; at += 20) {
        memcpy(tip.id, ids.data + at, 20);
        st = chain_distance(o, &tip, &from, &n, err);
        if (st != AGT_OK || n <= most) continue;
        most = n;
        *head = tip;
    }
    agt__buf_free(&ids);
    return st;
}

/* Counts the branches that lead elsewhere. */
static agt_status chain_branches(agt_old *o, agt_error *err) {
    agt_buf ids = agt__buf(&o->mem);
    agt_status st = agt__git_past_tips(o->git, &ids, err);
    for (size_t at = 0; st == AGT_OK && at < ids.len; at += 20) {
        bool known = false;
        for (size_t i = 0; i < at && !known; i += 20)
            known = memcmp(ids.data + i, ids.data + at, 20) == 0;
        for (size_t i = 0; i < o->commits.count && !known; i++)
            known =
                memcmp(AGT_OLD_ITEM(&o->commits, agt_old_commit, i)->id.id, ids.data + at, 20) == 0;
        o->damage.branches += !known;
    }
    agt__buf_free(&ids);
    return st;
}

AGT_PRIVATE agt_status agt__old_head(const agt_old *o, agt_oid *head, uint64_t *skipped,
                                     agt_error *err) {
    agt_buf bytes = agt__buf(&o->mem), ids = agt__buf(&o->mem);
    agt_git_past past;
    agt_oid tried;
    agt_error mine;
    bool found = false;
    memset(&tried, 0, sizeof tried);
    agt_status st = agt__git_past_heads(o->git, &ids, err);
    for (size_t at = 0; st == AGT_OK && !found && at < ids.len; at += 20) {
        memcpy(head->id, ids.data + at, 20);
        if (memcmp(head, &tried, sizeof tried) == 0) continue; /* HEAD and its log name the same */
        tried = *head;
        agt_status got = agt__git_past_commit(o->git, head, &bytes, &past, &mine);
        found = got == AGT_OK;
        *skipped += !found;
        if (got == AGT_NOMEM || got == AGT_IO) st = agt__answer(got, &mine, err);
    }
    agt__buf_free(&ids);
    agt__buf_free(&bytes);
    if (st == AGT_OK && !found)
        st = agt__fail(err, AGT_CORRUPT,
                       "the store of agent-trace 0.1.0 has no commit that can be read in "
                       ".agent-trace/repo; put the folder back from a copy");
    return st == AGT_OK ? chain_forward(o, head, err) : st;
}

/* All ids, the newest first. */
static agt_status chain_chain(agt_old *o, agt_buf *bytes, agt_error *err) {
    agt_oid id = {{0}};
    agt_git_past past;
    agt_error mine;
    agt_status st = agt__old_head(o, &id, &o->damage.heads_skipped, err);
    while (st == AGT_OK) {
        agt_status got = agt__git_past_commit(o->git, &id, bytes, &past, &mine);
        if (got == AGT_NOMEM || got == AGT_IO) return agt__answer(got, &mine, err);
        if (got != AGT_OK) {
            o->damage.cut = true;
            break;
        }
        st = chain_commit_add(o, &id, err);
        if (!past.has_parent) break;
        id = past.parent;
    }
    return st == AGT_OK ? chain_branches(o, err) : st;
}

/* ---- who, and why ---- */

/* (3) The actor that the signature is made of; data NULL: somebody else's commit. */
static agt_text chain_signer(agt_old *o, const agt_git_past *past) {
    char actor[512] = "agent:";
    if (agt__text_is(past->email, "user@agent-trace")) return agt__text("user");
    if (agt__text_is(past->email, "system@agent-trace")) return agt__text("system");
    if (!agt__text_is(past->email, "agent@agent-trace") || past->author.len < 7 ||
        memcmp(past->author.data, "Agent: ", 7) != 0)
        return (agt_text){NULL, 0};
    if (!agt__copy_text(actor + 6, sizeof actor - 6, past->author.data + 7, past->author.len - 7))
        return (agt_text){NULL, 0};
    return agt__old_keep(o, agt__text(actor));
}

static agt_text chain_keep(agt_old *o, agt_text text, bool *nomem) {
    if (!text.data) return text;
    agt_text kept = agt__old_keep(o, text);
    if (!kept.data) *nomem = true;
    return kept;
}

/* Fills what the message says, as far as it is believed; *rows is what is left to be looked at. */
static bool chain_told(agt_old *o, agt_old_commit *c, const agt_git_past *past, agt_text *rows) {
    agt_old_message m;
    bool nomem = false;
    agt__old_message(past->message, &m);
    agt_text signer = chain_signer(o, past);
    bool agrees = m.plain && (!signer.data || agt__text_eq(signer, m.actor));
    bool tagged = past->message.len > 13 && memcmp(past->message.data, "[agent-trace]", 13) == 0;
    *rows = agrees ? m.rows : agt__text("");
    c->doubtful = tagged && !agrees;
    o->damage.doubtful += c->doubtful;
    c->unix_s = past->unix_s;
    c->author = chain_keep(o, past->author, &nomem);
    c->email = chain_keep(o, past->email, &nomem);
    c->action = chain_keep(o, m.action, &nomem);
    c->summary = chain_keep(o, m.summary, &nomem);
    c->actor = signer.data ? signer : chain_keep(o, agrees ? m.actor : agt__text("user"), &nomem);
    if (agrees) c->agent = chain_keep(o, m.agent, &nomem);
    if (agrees) c->session = chain_keep(o, m.session, &nomem);
    bool named = c->actor.len > 6 && memcmp(c->actor.data, "agent:", 6) == 0;
    if (!agrees && named) c->agent = (agt_text){c->actor.data + 6, c->actor.len - 6};
    return !nomem;
}

/* ---- what it changed ---- */

static agt_old_change *chain_change(agt_old *o, agt_old_commit *c, agt_text path) {
    agt_old_change *change = agt__old_add(o, &o->changes, sizeof *change);
    if (!change) return NULL;
    c->count++;
    change->path = agt__old_keep(o, path);
    change->event = AGT_OLD_NONE;
    return change->path.data ? change : NULL;
}

typedef struct chain_tree {
    agt_old *o;
    agt_old_commit *c;
    size_t listed; /* changes that the rows gave */
    bool hostile;  /* a path has a line break or a tab in it */
} chain_tree;

static bool chain_breaks(agt_text path) {
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.data[i] < 0x20) return true;
    return false;
}

/* A file that differs (2): the row that names it, or one more. */
static agt_status chain_differs(void *ctx, agt_text path, const agt_oid *from, const agt_oid *to,
                                agt_error *err) {
    chain_tree *t = ctx;
    agt_old_change *change = NULL;
    if (chain_breaks(path)) t->hostile = true;
    for (size_t i = 0; i < t->listed && !change; i++) {
        agt_old_change *row = AGT_OLD_ITEM(&t->o->changes, agt_old_change, t->c->first + i);
        if (agt__text_eq(row->path, path)) change = row;
    }
    if (!change && !(change = chain_change(t->o, t->c, path))) return agt__nomem(err);
    if (!change->listed) change->kind = agt__text(!from ? "create" : to ? "modify" : "delete");
    change->changed = true;
    change->exists = to != NULL;
    change->made = !from;
    if (to) change->blob = *to;
    return AGT_OK;
}

static agt_status chain_rows(agt_old *o, agt_old_commit *c, agt_text rows, agt_error *err) {
    agt_old_row row;
    bool nomem = false;
    c->first = o->changes.count;
    for (size_t at = 0; agt__old_row_next(rows, &at, &row);) {
        bool twice = false;
        for (size_t i = 0; i < c->count && !twice; i++)
            twice = agt__text_eq(AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i)->path,
                                 row.path);
        if (twice) continue;
        agt_old_change *change = chain_change(o, c, row.path);
        if (!change) return agt__nomem(err);
        change->listed = true;
        change->kind = chain_keep(o, row.action, &nomem);
        change->type = chain_keep(o, row.type, &nomem);
        if (nomem) return agt__nomem(err);
    }
    return AGT_OK;
}

/* Beside a name that can forge rows only those count that the tree bears out. */
static void chain_drop_forged(agt_old *o, agt_old_commit *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        agt_old_change *change = AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i);
        if (!change->changed) continue;
        if (change->listed) change->type = agt__text("");
        change->kind = agt__text(change->made ? "create" : change->exists ? "modify" : "delete");
        *AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + kept++) = *change;
    }
    o->changes.count = c->first + kept;
    c->count = kept;
    if (!c->doubtful) o->damage.doubtful++;
    c->doubtful = true;
}

/* A tree that cannot be read makes no version; the next one is compared with the last that can. */
static agt_status chain_one(agt_old *o, agt_old_commit *c, agt_buf *bytes, agt_oid *tree,
                            bool *has_tree, agt_error *err) {
    agt_git_past past;
    agt_text rows;
    agt_error mine;
    agt_status st = agt__git_past_commit(o->git, &c->id, bytes, &past, err);
    if (st != AGT_OK) return st;
    if (!chain_told(o, c, &past, &rows)) return agt__nomem(err);
    if ((st = chain_rows(o, c, rows, err)) != AGT_OK) return st;
    chain_tree t = {o, c, c->count, false};
    size_t before = o->changes.count;
    st = agt__git_past_changes(o->git, *has_tree ? tree : NULL, &past.tree, chain_differs, &t,
                               &mine);
    if (st == AGT_NOT_FOUND || st == AGT_CORRUPT || st == AGT_LIMIT) {
        o->changes.count = before;
        c->count = t.listed;
        for (size_t i = 0; i < c->count; i++)
            AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i)->changed = false;
        c->lost = true;
        o->damage.trees++;
        return AGT_OK;
    }
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    if (t.hostile && c->count) chain_drop_forged(o, c);
    *tree = past.tree;
    *has_tree = true;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__old_history(agt_old *o, agt_error *err) {
    agt_buf bytes = agt__buf(&o->mem);
    agt_oid tree;
    bool has_tree = false;
    agt_status st = chain_chain(o, &bytes, err);
    chain_turn(o);
    for (size_t i = 0; st == AGT_OK && i < o->commits.count; i++)
        st = chain_one(o, AGT_OLD_ITEM(&o->commits, agt_old_commit, i), &bytes, &tree, &has_tree,
                       err);
    agt__buf_free(&bytes);
    return st;
}

/* ---- events to commits ---- */

/* How a commit came to be, by the words of its summary; an event says the same as detected_by. */
static const char *chain_source(agt_text summary) {
    static const char poll[] = " file(s)", cli[] = "agent write: ", mcp[] = "mcp write: ";
    if (summary.len > sizeof cli && memcmp(summary.data, cli, sizeof cli - 1) == 0) return "cli";
    if (summary.len > sizeof mcp && memcmp(summary.data, mcp, sizeof mcp - 1) == 0) return "mcp";
    size_t n = sizeof poll - 1;
    if (summary.len > n && memcmp(summary.data + summary.len - n, poll, n) == 0) return "poll";
    return NULL;
}

static bool chain_tells(const agt_old_commit *c, const agt_old_change *change,
                        const agt_old_event *e) {
    const char *source = chain_source(c->summary);
    return change->event == AGT_OLD_NONE && agt__text_eq(change->path, e->path) &&
           agt__text_eq(change->kind, e->kind.len ? e->kind : e->action) &&
           agt__text_eq(c->actor, e->actor) && source && agt__text_is(e->detected_by, source);
}

/* The newest commit before the event that tells of it. Events are asked for from the newest back,
 * so that of two writes within one second each finds its own. */
AGT_PRIVATE void agt__old_match(agt_old *o) {
    for (size_t n = o->events.count; n-- > 0;) {
        agt_old_event *e = AGT_OLD_ITEM(&o->events, agt_old_event, n);
        for (size_t i = o->commits.count; i-- > 0 && !e->told;) {
            agt_old_commit *c = AGT_OLD_ITEM(&o->commits, agt_old_commit, i);
            if (c->unix_s * 1000 > e->at_ms) continue;
            if (e->at_ms - c->unix_s * 1000 > HISTORY_NEAR_MS) break;
            for (size_t k = 0; k < c->count && !e->told; k++) {
                agt_old_change *change = AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + k);
                if (!chain_tells(c, change, e)) continue;
                change->event = n;
                e->told = true;
            }
        }
    }
}
