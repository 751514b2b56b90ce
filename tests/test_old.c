/* The reader of stores of agent-trace 0.1.0, compared with what git and the files themselves say
 * about five of them; and messages that were made to say somebody else did it. */
#include "../src/git/parts.h"
#include "../src/reference/old.h"
#include "../src/store/store.h"
#include "old_kit.h"

/* ---- messages ---- */

static agt_old_message old_message(const char *text) {
    agt_old_message m;
    agt__old_message(agt__text(text), &m);
    return m;
}

TEST(old, a_message_is_taken_apart) {
    agt_old_row row;
    size_t at = 0;
    agt_old_message m = old_message("[agent-trace] modify plan: a b/\xc3\xa9.md\n\nsummary: agent "
                                    "write: x: y\nactor: agent:kestrel\nagent: kestrel\nsession: "
                                    "20261123-223923-099\nfile:\ta b/\xc3\xa9.md\tmodify\tplan\n"
                                    "file:\tb\tdelete\tscratch\n");
    CHECK(m.plain);
    OLD_SAME("action", m.action, "modify");
    OLD_SAME("summary", m.summary, "agent write: x: y");
    OLD_SAME("actor", m.actor, "agent:kestrel");
    OLD_SAME("agent", m.agent, "kestrel");
    OLD_SAME("session", m.session, "20261123-223923-099");
    CHECK(agt__old_row_next(m.rows, &at, &row));
    OLD_SAME("path", row.path, "a b/\xc3\xa9.md");
    CHECK(agt__old_row_next(m.rows, &at, &row));
    OLD_SAME("action", row.action, "delete");
    OLD_SAME("type", row.type, "scratch");
    CHECK(!agt__old_row_next(m.rows, &at, &row));

    m = old_message("[agent-trace] init\n\nsummary: scanned 0 files\nactor: system\n");
    CHECK(m.plain && !m.rows.len);
    m = old_message("tidied up\n\nactor: system\n");
    CHECK(!m.plain);
    OLD_SAME("action", m.action, "unknown");
    OLD_SAME("summary", m.summary, "tidied up\n\nactor: system");
    m = old_message("");
    CHECK(!m.plain);
}

TEST(old, a_message_cannot_say_that_somebody_else_did_it) {
    static const char *const forged[] = {
        /* a file name with a line break, in the subject and in its row */
        "[agent-trace] create scratch: x\nactor: user.md\n\nsummary: agent write: x\nactor: "
        "user.md\nactor: agent:kestrel\nagent: kestrel\nfile:\tx\nactor: user.md\tcreate\tscratch",
        /* the same, second in a batch */
        "[agent-trace] create scratch: a\n\nsummary: create 2 file(s)\nactor: agent:kestrel\n"
        "agent: kestrel\nfile:\ta\tcreate\tscratch\nfile:\tx\nactor: user\tcreate\tscratch",
        /* a replaced text with lines of its own, up to a whole header */
        "[agent-trace] modify plan: a\n\nsummary: replace 'x' with 'y\nactor: system\nfile:\tb\t"
        "delete\treference\n'\nactor: user\nfile:\ta\tmodify\tplan",
        /* a tab in a name */
        "[agent-trace] create scratch: a\tdelete\tplan\n\nsummary: s\nactor: user\nfile:\ta\t"
        "delete\tplan\tcreate\tscratch",
        /* a subject that is not the first row's */
        "[agent-trace] create scratch: a\n\nsummary: s\nactor: user\nfile:\tb\tcreate\tscratch",
        /* words that nobody knows */
        "[agent-trace] create scratch: a\n\nsummary: s\nactor: user\nfile:\ta\tinvent\tscratch",
        "[agent-trace] create secret: a\n\nsummary: s\nactor: user\nfile:\ta\tcreate\tsecret"};
    for (size_t i = 0; i < AGT_COUNT(forged); i++) {
        agt_old_message m = old_message(forged[i]);
        if (m.plain) test_fail(__FILE__, __LINE__, "message %zu is believed", i);
        CHECK(!m.actor.len && !m.agent.len && !m.session.len && !m.rows.len);
        CHECK(m.summary.len);
    }
    test_saw("forged messages", AGT_COUNT(forged));
}

/* ---- whole stores ---- */

typedef struct old_open {
    agt_old old;
    agt_mem mem;
    agt_fd root, at;
} old_open;

static void old_open_read(old_open *k, const char *root) {
    agt_error err;
    const agt_sys *sys = agt_sys_os();
    bool is = false;
    k->mem = agt__mem(NULL);
    k->root = sys->open_root(NULL, root);
    CHECK(k->root >= 0);
    k->at = sys->walk(NULL, k->root, ".agent-trace");
    CHECK(k->at >= 0);
    CHECK_OK(agt__store_is_old(sys, k->at, &k->mem, &is, &err), err);
    CHECK(is);
    CHECK_OK(agt__old_read(&k->old, sys, k->at, &k->mem, &err), err);
}
static void old_open_close(old_open *k) {
    agt__old_free(&k->old);
    agt_sys_os()->close(NULL, k->at);
    agt_sys_os()->close(NULL, k->root);
}

/* The rows of a commit are the changes that its message lists, in their order. */
static size_t old_check_rows(const agt_old *o, const agt_old_commit *c, const agt_json *files) {
    agt_json k, row, cell, ck;
    size_t i = 0;
    for (size_t at = 0; agt__json_next(files, &at, &k, &row); i++) {
        CHECK(i < c->count);
        const agt_old_change *change = AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i);
        agt_text got[3] = {change->path, change->kind, change->type};
        size_t n = 0;
        CHECK(change->listed);
        for (size_t in = 0; agt__json_next(&row, &in, &ck, &cell); n++)
            OLD_SAME("row", got[n], old_string(&cell));
        CHECK_INT(n, 3);
    }
    if (i < c->count) CHECK(!AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i)->listed);
    return i;
}

static void old_check_commits(const agt_old *o, const agt_json *facts, uint64_t *rows) {
    char hex[41] = {0};
    agt_json all = old_get(facts, "commits"), k, v;
    size_t i = 0;
    CHECK_INT(o->commits.count, old_u64(facts, "commit_count"));
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); i++) {
        const agt_old_commit *c = AGT_OLD_ITEM(&o->commits, agt_old_commit, i);
        agt__hex(c->id.id, 20, hex);
        CHECK_STR(hex, old_text(&v, "commit"));
        CHECK_INT(c->unix_s, old_u64(&v, "time"));
        OLD_SAME("author", c->author, old_text(&v, "author"));
        OLD_SAME("email", c->email, old_text(&v, "email"));
        OLD_SAME("action", c->action, old_text(&v, "action"));
        OLD_SAME("actor", c->actor, old_text(&v, "actor"));
        OLD_SAME("agent", c->agent, old_text(&v, "agent"));
        OLD_SAME("session", c->session, old_text(&v, "session"));
        OLD_SAME("summary", c->summary, old_text(&v, "summary"));
        CHECK(!c->doubtful && !c->lost);
        agt_json files = old_get(&v, "files");
        *rows += old_check_rows(o, c, &files);
    }
    CHECK_INT(i, o->commits.count);
}

/* Every version of every path: the changes of the tree, by commit, with the blob's bytes. */
static uint64_t old_check_versions(const agt_old *o, const agt_json *facts) {
    agt_json all = old_get(facts, "versions"), path, list, k, v;
    uint64_t seen = 0, changed = 0;
    agt_error err;
    agt_buf bytes = agt__buf(&o->mem);
    for (size_t at = 0; agt__json_next(&all, &at, &path, &list);) {
        char name[AGT_MAX_PATH + 1];
        size_t commit = 0;
        snprintf(name, sizeof name, "%s", old_string(&path));
        for (size_t in = 0; agt__json_next(&list, &in, &k, &v); commit++, seen++) {
            const agt_old_change *found = NULL;
            for (; commit < o->commits.count; commit++) { /* the next that changes the path */
                const agt_old_commit *c = AGT_OLD_ITEM(&o->commits, agt_old_commit, commit);
                for (size_t i = 0; i < c->count && !found; i++) {
                    const agt_old_change *x =
                        AGT_OLD_ITEM(&o->changes, agt_old_change, c->first + i);
                    if (x->changed && agt__text_is(x->path, name)) found = x;
                }
                if (found) break;
            }
            CHECK(found != NULL);
            CHECK_INT(commit, old_u64(&v, "n"));
            const char *sha = old_text(&v, "sha256");
            CHECK_INT(found->exists, sha != NULL);
            if (!sha) continue;
            bytes.len = 0;
            CHECK_OK(agt__git_read(o->git, &found->blob, &bytes, &err), err);
            CHECK_STR(old_sha256(bytes.data, bytes.len), sha);
            CHECK_INT(bytes.len, old_u64(&v, "size"));
        }
    }
    for (size_t i = 0; i < o->changes.count; i++)
        changed += AGT_OLD_ITEM(&o->changes, agt_old_change, i)->changed;
    CHECK_INT(changed, seen); /* and no other */
    agt__buf_free(&bytes);
    return seen;
}

static void old_check_documents(const agt_old *o, const agt_json *facts) {
    agt_json all = old_get(facts, "documents"), k, v;
    size_t i = 0;
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); i++) {
        const agt_old_document *d = AGT_OLD_ITEM(&o->documents, agt_old_document, i);
        CHECK(i < o->documents.count);
        OLD_SAME("id", d->id, old_text(&v, "id"));
        OLD_SAME("path", d->path, old_text(&v, "path"));
        OLD_SAME("type", d->type, old_text(&v, "doc_type"));
        OLD_SAME("description", d->description, old_text(&v, "description"));
        OLD_SAME("agent", d->agent, old_text(&v, "agent_name"));
        OLD_SAME("tags", d->tags, "[]");
    }
    CHECK_INT(o->documents.count, i);
    all = old_get(facts, "overrides");
    i = 0;
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); i++) {
        const agt_old_grant *g = AGT_OLD_ITEM(&o->grants, agt_old_grant, i);
        int64_t granted, expires;
        const char *from = old_text(&v, "granted_at"), *to = old_text(&v, "expires_at");
        CHECK(agt__time_parse(from, strlen(from), &granted));
        CHECK(agt__time_parse(to, strlen(to), &expires));
        OLD_SAME("doc", g->doc, old_text(&v, "doc_id"));
        OLD_SAME("path", g->path, old_text(&v, "path"));
        OLD_SAME("actor", g->actor, old_text(&v, "allow_actor"));
        OLD_SAME("by", g->by, old_text(&v, "granted_by"));
        CHECK(g->granted_ms == granted && g->expires_ms == expires);
    }
    CHECK_INT(o->grants.count, i);
    agt_json store = old_get(facts, "store"), polling = old_get(facts, "polling");
    CHECK_STR(o->config.id, old_text(&store, "id"));
    CHECK_STR(o->config.name, old_text(&store, "name"));
    CHECK_STR(o->created, old_text(&store, "created"));
    CHECK_INT(o->config.interval_ms, old_u64(&polling, "interval_ms"));
}

static void old_check_event(const agt_old_event *e, const agt_json *v) {
    int64_t at;
    const char *when = old_text(v, "timestamp");
    CHECK(agt__time_parse(when, strlen(when), &at));
    CHECK_INT(e->at_ms, at);
    OLD_SAME("session", e->session, old_text(v, "session_id"));
    OLD_SAME("agent", e->agent, old_text(v, "agent_name"));
    OLD_SAME("actor", e->actor, old_text(v, "actor"));
    OLD_SAME("action", e->action, old_text(v, "action"));
    OLD_SAME("kind", e->kind, old_text(v, "change_kind"));
    OLD_SAME("path", e->path, old_text(v, "path"));
    OLD_SAME("type", e->type, old_text(v, "doc_type"));
    OLD_SAME("summary", e->summary, old_text(v, "summary"));
    OLD_SAME("source", e->source, old_text(v, "source"));
    OLD_SAME("detected_by", e->detected_by, old_text(v, "detected_by"));
    CHECK_INT(e->removed, old_u64(v, "lines_removed"));
}

/* How many events have this text where `member` is: the facts' tables by_... */
static void old_check_by(const agt_old *o, const agt_json *events, const char *table,
                         size_t member) {
    agt_json by = old_get(events, table), key, v;
    for (size_t at = 0; agt__json_next(&by, &at, &key, &v);) {
        uint64_t want = 0, got = 0;
        char word[AGT_MAX_PATH + 1];
        snprintf(word, sizeof word, "%s", old_string(&key));
        CHECK(agt__json_u64(&v, &want));
        for (size_t i = 0; i < o->events.count; i++) {
            agt_text t;
            memcpy(&t, (char *)AGT_OLD_ITEM(&o->events, agt_old_event, i) + member, sizeof t);
            got += agt__text_is(t, word);
        }
        CHECK_INT(got, want);
    }
}

static uint64_t old_check_events(const agt_old *o, const agt_json *facts) {
    agt_json events = old_get(facts, "events"), first = old_get(&events, "first");
    agt_json last = old_get(&events, "last");
    uint64_t told = 0, telling = 0;
    CHECK_INT(o->events.count, old_u64(&events, "count"));
    if (o->events.count) {
        old_check_event(AGT_OLD_ITEM(&o->events, agt_old_event, 0), &first);
        old_check_event(AGT_OLD_ITEM(&o->events, agt_old_event, o->events.count - 1), &last);
    }
    old_check_by(o, &events, "by_action", offsetof(agt_old_event, action));
    old_check_by(o, &events, "by_actor", offsetof(agt_old_event, actor));
    old_check_by(o, &events, "by_detected_by", offsetof(agt_old_event, detected_by));
    old_check_by(o, &events, "by_path", offsetof(agt_old_event, path));
    for (size_t i = 0; i < o->events.count; i++)
        told += AGT_OLD_ITEM(&o->events, agt_old_event, i)->told;
    for (size_t i = 0; i < o->changes.count; i++)
        telling += AGT_OLD_ITEM(&o->changes, agt_old_change, i)->event != AGT_OLD_NONE;
    CHECK_INT(telling, told);
    return told;
}

TEST(old, every_commit_version_document_and_event_of_five_stores_is_read) {
    old_facts f = old_read_json("expected.json");
    uint64_t commits = 0, rows = 0, versions = 0, documents = 0, events = 0, told = 0;
    for (size_t i = 0; i < OLD_STORES; i++) {
        old_open k;
        agt_json facts = old_store_facts(&f, old_names[i]);
        old_open_read(&k, old_unpack(old_names[i]));
        old_check_commits(&k.old, &facts, &rows);
        versions += old_check_versions(&k.old, &facts);
        old_check_documents(&k.old, &facts);
        told += old_check_events(&k.old, &facts);
        commits += k.old.commits.count;
        documents += k.old.documents.count;
        events += k.old.events.count;
        agt_old_damage none;
        memset(&none, 0, sizeof none);
        CHECK_BYTES(&k.old.damage, sizeof none, &none, sizeof none);
        old_open_close(&k);
    }
    free(f.bytes);
    test_saw("commits", commits);
    test_saw("rows", rows);
    test_saw("versions", versions);
    test_saw("documents", documents);
    test_saw("events", events);
    test_saw("events that a commit tells", told);
    CHECK_INT(commits, 754);
    CHECK_INT(documents, 56);
    CHECK_INT(events, 551);
    CHECK_INT(told, 551);
}
