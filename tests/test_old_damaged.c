/* Damaged stores of agent-trace 0.1.0: the 31 cases that it was tried on itself. For each: what is
 * read in place, and what an upgrade says and saves. Nothing fails that need not, and nothing is
 * lost in silence. */
#include "../src/git/parts.h"
#include "old_facts.h"

typedef struct damaged_case {
    const char *name;
    const char *says; /* in the report; "": it has nothing to say; NULL: it cannot be upgraded */
    uint32_t roadmap; /* versions of roadmap.md that are there; 0: all five */
    bool documents;   /* the manifest's documents have their ids and types */
    bool other_types; /* types come from the history */
    uint64_t events;  /* how many fewer events than the intact store's have a source */
} damaged_case;

/* The answers; in their order. */
static const damaged_case damaged_cases[] = {
    {"intact", "", 0, true, false, 0},
    {"events-torn-last-line", "1 line of summary_events.jsonl cannot be read", 0, true, false, 1},
    {"events-garbage-line", "1 line of summary_events.jsonl cannot be read", 0, true, false, 1},
    {"events-missing", "times are known to the second only", 0, true, false, 30},
    {"updates-torn-last-line", "", 0, true, false, 0},
    {"manifest-garbage", "manifest.toml is missing or damaged", 0, false, true, 0},
    {"manifest-empty", "manifest.toml is missing or damaged", 0, false, true, 0},
    {"manifest-missing", "manifest.toml is missing or damaged", 0, false, true, 0},
    {"manifest-torn", "manifest.toml is missing or damaged", 0, false, true, 0},
    {"manifest-temp-left", "", 0, true, false, 0},
    {"manifest-behind-head", "", 0, true, false, 0},
    {"head-behind-manifest", "", 4, true, false, 1},
    {"manifest-row-without-file", "", 0, true, false, 0},
    {"agent-lock-stale", "", 0, true, false, 0},
    {"agent-lock-garbage", "", 0, true, false, 0},
    {"agent-lock-old-form", "", 0, true, false, 0},
    {"poll-lock-dead-pid", "", 0, true, false, 0},
    {"poll-lock-garbage", "", 0, true, false, 0},
    {"git-index-lock-left", "", 0, true, false, 0},
    {"git-index-missing", "", 0, true, false, 0},
    {"git-index-garbage", "", 0, true, false, 0},
    {"git-ref-empty", "", 0, true, false, 0}, /* the reflog knows */
    {"git-head-object-empty", "the newest commits in .agent-trace/repo cannot be read", 0, true,
     false, 0},
    {"git-blob-missing", "1 version has lost its bytes", 0, true, false, 0},
    {"overrides-garbage", "overrides.toml is damaged", 0, true, false, 0},
    {"state-garbage", "", 0, true, false, 0},
    {"config-missing", "config.toml is missing or damaged", 0, true, false, 0},
    {"config-garbage", "config.toml is missing or damaged", 0, true, false, 0},
    {"gitlink-missing", "", 0, true, false, 0},
    {"worktree-elsewhere", "the file .git leads to", 0, true, false, 0},
    {"rejected-missing", "", 0, true, false, 0},
};

/* An intact store, damaged in this way. */
static const char *damaged_make(const agt_json *one) {
    char script[8192];
    const char *root = old_unpack("agents");
    snprintf(script, sizeof script,
             "cd %s && G() { git --git-dir=.agent-trace/repo/.git --work-tree=. -c user.name=x "
             "-c user.email=x@x \"$@\"; }\n%s\n",
             root, old_text(one, "damage"));
    test_write_file(kit_path(root, "../damage.sh"), script, strlen(script));
    free(kit_run("sh -e %s/../damage.sh 2>&1", root));
    return root;
}

/* roadmap.md's versions by their bytes. In one case one of them is lost, and said to be. */
static void damaged_versions(agt_store *s, const damaged_case *want, const agt_json *facts,
                             bool upgraded) {
    agt_json all = old_get(facts, "versions"), list = old_get(&all, "roadmap.md"), k, v;
    agt_error err;
    agt_bytes b;
    agt_document d = AGT_DOCUMENT_INIT;
    bool lost = strcmp(want->name, "git-blob-missing") == 0 && !upgraded;
    uint32_t n = 0, newest = want->roadmap ? want->roadmap : 5;
    for (size_t at = 0; n < newest && agt__json_next(&list, &at, &k, &v);) {
        agt_status st = agt_read_version(s, "roadmap.md", ++n, &b, &err);
        if (lost && n == newest) {
            CHECK_STATUS(st, AGT_CORRUPT, err);
            continue;
        }
        CHECK_STATUS(st, AGT_OK, err);
        CHECK_STR(old_sha256(b.data, b.len), old_text(&v, "sha256"));
        agt_bytes_free(&b);
    }
    CHECK_OK(agt_document_get(s, "roadmap.md", &d, &err), err);
    CHECK_INT(d.version, newest);
    CHECK_STR(agt_type_name((agt_type)d.type), "plan");
}

static void damaged_documents(agt_store *s, const damaged_case *want, const agt_json *facts) {
    agt_json all = old_get(facts, "documents"), head = old_get(facts, "head_files"), k, v;
    agt_error err;
    uint64_t seen = 0;
    for (size_t at = 0; agt__json_next(&all, &at, &k, &v); seen++) {
        agt_document d = AGT_DOCUMENT_INIT;
        const char *path = old_text(&v, "path");
        CHECK_OK(agt_document_get(s, path, &d, &err), err);
        if (want->documents) CHECK_STR(d.id, old_text(&v, "id"));
        /* what protects a document survives the manifest: each commit says the type */
        if (old_has_text(&head, path))
            CHECK_STR(agt_type_name((agt_type)d.type), old_text(&v, "doc_type"));
    }
    CHECK_INT(seen, 14);
}

static uint64_t damaged_told(agt_store *s) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    uint64_t n = 0;
    CHECK_OK(agt_trace(s, NULL, &c, &err), err);
    while (old_next(c, &e))
        n += !agt__text_is(e.source, "v0_1_0");
    agt_cursor_close(c);
    return n;
}

static void damaged_check(const char *root, const damaged_case *want, const agt_json *facts,
                          bool upgraded) {
    agt_error err;
    agt_store *s;
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_json store = old_get(facts, "store");
    CHECK_OK(agt_open(&s, root, NULL, &err), err);
    damaged_versions(s, want, facts, upgraded);
    damaged_documents(s, want, facts);
    CHECK_INT(damaged_told(s) + want->events, 30 + (want->roadmap == 4));
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_STR(info.id, old_text(&store, "id"));
    if (upgraded) { /* and it goes on: a write works, what protects still does */
        CHECK_STATUS(agt_write(s, &kit_agent, "api-contract.md", "x", 1, NULL, NULL, &err),
                     AGT_DENIED, err);
        kit_write(s, &kit_user, "extra.md", "new\n");
        kit_publish(s);
    }
    kit_close(s);
}

TEST(old_damaged, every_case_is_read_and_upgraded_or_says_why_not) {
    old_facts f = old_read_json("expected.json"), cases = old_read_json("damaged.json");
    agt_json facts = old_store_facts(&f, "agents"), k, one;
    size_t i = 0;
    for (size_t at = 0; agt__json_next(&cases.root, &at, &k, &one); i++) {
        agt_error err;
        agt_upgrade_result r = AGT_UPGRADE_RESULT_INIT;
        CHECK(i < sizeof damaged_cases / sizeof damaged_cases[0]);
        const damaged_case *want = &damaged_cases[i];
        CHECK_STR(old_text(&one, "case"), want->name);
        const char *root = damaged_make(&one);
        damaged_check(root, want, &facts, false);
        CHECK_OK(agt_upgrade(root, NULL, &r, &err), err);
        const char *report = r.report.data ? (const char *)r.report.data : "";
        if (want->says[0] ? !strstr(report, want->says) : report[0])
            test_fail(__FILE__, __LINE__, "%s: the report is \"%s\"", want->name, report);
        agt_bytes_free(&r.report);
        damaged_check(root, want, &facts, true);
    }
    free(f.bytes);
    free(cases.bytes);
    test_saw("cases", i);
    CHECK_INT(i, 31);
}
