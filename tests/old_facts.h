/* The facts about a store of agent-trace 0.1.0, asked for through the public calls only: the same
 * before an upgrade and after it. Each check fails where one fact does not hold, and counts. */
#ifndef AGT_OLD_FACTS_H
#define AGT_OLD_FACTS_H

#include "old_kit.h"

#include <time.h>

typedef struct old_saw {
    uint64_t versions, deletions, documents, commits, events, violations, grants, granted;
} old_saw;

static inline void old_facts_versions(agt_store *s, const agt_json *facts, old_saw *saw) {
    agt_json all = old_get(facts, "versions"), path, list, k, v;
    agt_error err;
    for (size_t at = 0; agt__json_next(&all, &at, &path, &list);) {
        char name[AGT_MAX_PATH + 1];
        uint32_t n = 0;
        agt_document d = AGT_DOCUMENT_INIT;
        bool exists = false;
        snprintf(name, sizeof name, "%s", old_string(&path));
        for (size_t in = 0; agt__json_next(&list, &in, &k, &v);) {
            agt_bytes b;
            const char *sha = old_text(&v, "sha256");
            CHECK_INT(old_u64(&v, "version"), ++n);
            exists = sha != NULL;
            if (!sha) {
                CHECK_STATUS(agt_read_version(s, name, n, &b, &err), AGT_NOT_FOUND, err);
                saw->deletions++;
                continue;
            }
            CHECK_OK(agt_read_version(s, name, n, &b, &err), err);
            CHECK_STR(old_sha256(b.data, b.len), sha);
            agt_bytes_free(&b);
            saw->versions++;
        }
        CHECK_OK(agt_document_get(s, name, &d, &err), err);
        CHECK_INT(d.version, n);
        CHECK_INT(d.exists, exists);
    }
}

static inline bool old_has_text(const agt_json *array, const char *text) {
    agt_json k, v;
    for (size_t at = 0; agt__json_next(array, &at, &k, &v);)
        if (strcmp(old_string(&v), text) == 0) return true;
    return false;
}

/* The agent that made the first version of the path; NULL: it was no agent. */
static inline const char *old_first_agent(const agt_json *facts, const char *path) {
    agt_json versions = old_get(facts, "versions"), commits = old_get(facts, "commits"), list, k;
    agt_json version, commit;
    uint64_t n = 0, first;
    size_t at = 0;
    if (!agt__json_get(&versions, path, &list) || !agt__json_next(&list, &at, &k, &version))
        return NULL;
    first = old_u64(&version, "n");
    for (at = 0; agt__json_next(&commits, &at, &k, &commit); n++)
        if (n == first) return old_text(&commit, "agent");
    return NULL;
}

/* What the manifest lists, as it says it; and the files that HEAD has, no others. */
static inline void old_facts_documents(agt_store *s, const agt_json *facts, old_saw *saw) {
    agt_json all = old_get(facts, "documents"), head = old_get(facts, "head_files"), k, v;
    agt_json disk = old_get(facts, "work_tree"), file;
    agt_error err;
    agt_cursor *c;
    agt_status st;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    uint64_t listed = 0;
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); saw->documents++) {
        agt_document d = AGT_DOCUMENT_INIT;
        CHECK_OK(agt_document_get(s, old_text(&v, "path"), &d, &err), err);
        CHECK_STR(d.id, old_text(&v, "id"));
        CHECK_STR(agt_type_name((agt_type)d.type), old_text(&v, "doc_type"));
        /* a file that the poller found was an agent's before somebody else listed it */
        const char *agent = old_text(&v, "agent_name"), *first = old_first_agent(facts, d.path);
        CHECK_STR(d.agent, agent[0] || !first ? agent : first);
    }
    o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    for (agt_document d = AGT_DOCUMENT_INIT; (st = agt_list_next(c, &d, &err)) == AGT_OK;) {
        listed++;
        if (!old_has_text(&head, d.path)) test_fail(__FILE__, __LINE__, "%s in ls", d.path);
        bool there = agt__json_get(&disk, d.path, &file);
        if (d.modified_outside && there) { /* then the file is another one than HEAD's */
            agt_bytes b;
            CHECK_OK(agt_read_version(s, d.path, 0, &b, &err), err);
            CHECK(strcmp(old_sha256(b.data, b.len), old_text(&file, "sha256")) != 0);
            agt_bytes_free(&b);
        }
    }
    CHECK_STATUS(st, AGT_END, err);
    agt_cursor_close(c);
    CHECK_INT(listed, old_count(&head));
}

/* The next event that is not of the manifest's last word. */
static inline bool old_next(agt_cursor *c, agt_event *e) {
    agt_error err;
    agt_status st = agt_trace_next(c, e, &err);
    if (st != AGT_OK) CHECK_STATUS(st, AGT_END, err);
    return st == AGT_OK;
}

static inline void old_facts_rows(agt_cursor *c, agt_event *e, const agt_json *commit,
                                  old_saw *saw) {
    agt_json files = old_get(commit, "files"), k, row, cell, ck;
    const char *action = old_text(commit, "action"), *agent = old_text(commit, "agent");
    bool violation = strcmp(action, "violation") == 0;
    uint64_t n = 0;
    for (size_t at = 0; agt__json_next(&files, &at, &k, &row); n++) {
        const char *want[3];
        size_t i = 0;
        for (size_t in = 0; agt__json_next(&row, &in, &ck, &cell);)
            want[i++] = old_string(&cell);
        if (n) CHECK(old_next(c, e));
        OLD_SAME("path", e->path, want[0]);
        OLD_SAME("type", e->doc_type, want[2]);
        bool kind = agt__text_is(e->change_kind, want[1]) ||
                    agt__text_is(e->action, "reclassify") || agt__text_is(e->action, "untrack");
        if (!kind) OLD_SAME("kind", e->change_kind, want[1]);
        if (violation || !strcmp(action, "restore") || !strcmp(action, "init"))
            OLD_SAME("action", e->action, action);
        saw->violations += violation;
    }
    if (!n) OLD_SAME("action", e->action, action);
    char who[AGT_MAX_NAME + 8];
    snprintf(who, sizeof who, "agent:%s", agent ? agent : "");
    OLD_SAME("actor", e->actor, violation && agent ? who : old_text(commit, "actor"));
}

/* Commit by commit: who, when, why, which files. */
static inline void old_facts_commits(agt_store *s, const agt_json *facts, old_saw *saw) {
    agt_json all = old_get(facts, "commits"), k, v;
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); saw->commits++) {
        do
            CHECK(old_next(c, &e));
        while (agt__text_is(e.action, "unlock"));
        CHECK_INT(e.recorded_unix_ms, (int64_t)old_u64(&v, "time") * 1000);
        OLD_SAME("agent", e.agent_name, old_text(&v, "agent"));
        OLD_SAME("session", e.session_id, old_text(&v, "session"));
        OLD_SAME("summary", e.summary, old_text(&v, "summary"));
        old_facts_rows(c, &e, &v, saw);
    }
    while (old_next(c, &e)) { /* a grant after the last commit, the manifest's last word */
        bool word = agt__text_is(e.action, "unlock") ||
                    (agt__text_is(e.action, "reclassify") && agt__text_is(e.actor, "system"));
        CHECK(word);
    }
    agt_cursor_close(c);
}

/* Line by line: the events that the log of changes told, by its own words. */
static inline void old_facts_events(agt_store *s, const agt_json *facts, old_saw *saw) {
    static const char *const tables[] = {"by_action", "by_actor", "by_detected_by", "by_path"};
    agt_json events = old_get(facts, "events"), key, v;
    agt_error err;
    uint64_t told = 0, last_ms = 0, first_ms = UINT64_MAX;
    for (size_t t = 0; t < 4; t++) {
        agt_json by = old_get(&events, tables[t]);
        for (size_t at = 0; agt__json_next(&by, &at, &key, &v);) {
            char word[AGT_MAX_PATH + 1];
            uint64_t want = 0, got = 0;
            agt_cursor *c;
            agt_event e = AGT_EVENT_INIT;
            snprintf(word, sizeof word, "%s", old_string(&key));
            CHECK(agt__json_u64(&v, &want));
            CHECK_OK(agt_trace(s, NULL, &c, &err), err);
            while (old_next(c, &e)) {
                if (agt__text_is(e.source, "v0_1_0")) continue; /* only the history tells it */
                agt_text is = t == 0   ? e.change_kind
                              : t == 1 ? e.actor
                              : t == 2 ? e.detected_by
                                       : e.path;
                got += agt__text_is(is, word);
                if ((uint64_t)e.at_unix_ms > last_ms) last_ms = (uint64_t)e.at_unix_ms;
                if ((uint64_t)e.at_unix_ms < first_ms) first_ms = (uint64_t)e.at_unix_ms;
            }
            agt_cursor_close(c);
            CHECK_INT(got, want);
            if (t == 0) told += got;
        }
    }
    CHECK_INT(told, old_u64(&events, "count"));
    if (told) {
        agt_json first = old_get(&events, "first"), last = old_get(&events, "last");
        const char *from = old_text(&first, "timestamp"), *to = old_text(&last, "timestamp");
        int64_t from_ms, to_ms;
        CHECK(agt__time_parse(from, strlen(from), &from_ms));
        CHECK(agt__time_parse(to, strlen(to), &to_ms));
        CHECK_INT(first_ms, from_ms);
        CHECK_INT(last_ms, to_ms);
    }
    saw->events += told;
}

/* Is the grant in force as it says? One that has ended is not told any more. */
static inline bool old_grant_holds(agt_store *s, const char *path, const char *actor,
                                   int64_t until_ms) {
    agt_error err;
    size_t n = 0;
    bool told = false;
    agt_grant all[AGT_MAX_GRANTS] = {AGT_GRANT_INIT};
    CHECK_OK(agt_grants(s, path, all, &n, &err), err);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i].actor, actor) == 0) {
            CHECK_INT(all[i].until_unix_ms, until_ms);
            told = true;
        }
    return told;
}

static inline void old_facts_grants(agt_store *s, const agt_json *facts, old_saw *saw) {
    agt_json all = old_get(facts, "overrides"), k, v;
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    o.action = "unlock";
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); saw->grants++) {
        const char *from = old_text(&v, "granted_at"), *to = old_text(&v, "expires_at");
        int64_t from_ms, to_ms;
        CHECK(old_next(c, &e));
        CHECK(agt__time_parse(from, strlen(from), &from_ms));
        CHECK(agt__time_parse(to, strlen(to), &to_ms));
        CHECK_INT(e.at_unix_ms, from_ms);
        CHECK_INT(e.until_unix_ms, to_ms);
        OLD_SAME("doc", e.doc, old_text(&v, "doc_id"));
        OLD_SAME("path", e.path, old_text(&v, "path"));
        OLD_SAME("grant", e.grant, old_text(&v, "allow_actor"));
        OLD_SAME("actor", e.actor, old_text(&v, "granted_by"));
        bool holds = old_grant_holds(s, old_text(&v, "path"), old_text(&v, "allow_actor"), to_ms);
        CHECK_INT(holds, (int64_t)time(NULL) * 1000 < to_ms);
        saw->granted += holds;
    }
    CHECK(!old_next(c, &e));
    agt_cursor_close(c);
}

static inline void old_check_facts(agt_store *s, const agt_json *facts, old_saw *saw) {
    agt_error err;
    agt_trace_verdict verdict = AGT_TRACE_VERDICT_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_json store = old_get(facts, "store");
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_STR(info.id, old_text(&store, "id"));
    old_facts_versions(s, facts, saw);
    old_facts_documents(s, facts, saw);
    old_facts_commits(s, facts, saw);
    old_facts_events(s, facts, saw);
    old_facts_grants(s, facts, saw);
    CHECK_OK(agt_trace_verify(s, 0, &verdict, &err), err);
    CHECK_INT(verdict.damaged_lines, 0);
    CHECK_INT(verdict.torn_bytes, 0);
    CHECK_INT(verdict.last_seq, info.last_seq);
}

#endif /* AGT_OLD_FACTS_H */
