/* A store from somebody else: its bytes check, but they ask for what no agent_trace writes. Opening
 * it does nothing outside its documents and says that the store is damaged. */
#include "../src/store/store.h"
#include "store_kit.h"

#include <sys/stat.h>

/* A store whose journal holds one more record, well-formed and chained, with this event, its line
 * at byte `offset` of the trace or where it belongs. */
static const char *hostile_store_at(agt_event *e, const char *content, uint64_t offset) {
    const char *root = test_folder();
    agt_error err;
    agt_store *s = kit_open(root);
    agt_record r = {0};
    agt_mem mem = agt__mem(NULL);
    agt_buf line = agt__buf(&mem), record = agt__buf(&mem);
    char prev[64];
    kit_write(s, &kit_user, "good.md", "good");
    agt__hex(s->shared.trace.prev, 32, prev);
    e->seq = s->shared.next_seq;
    e->at_unix_ms = e->recorded_unix_ms = 1000;
    e->prev = (agt_text){prev, 64};
    if (!e->actor.data) e->actor = agt__text("user");
    CHECK_OK(agt__event_format(&line, e, &err), err);
    r.generation = s->journal.header.generation;
    r.first_seq = e->seq;
    r.segment = s->shared.trace.segment;
    r.trace_offset = offset ? offset : s->shared.trace.offset;
    r.entries = 1;
    (void)agt__record_begin(&record);
    agt__record_put(&record, content ? AGT_ENTRY_CONTENT : 0, line.data, line.len, content,
                    content ? strlen(content) : 0);
    CHECK_OK(agt__record_end(&record, 0, s->cpu, s->shared.chain, &r, &err), err);
    CHECK_INT(agt__write_all(s->sys, s->journal.fd, record.data, record.len, s->shared.end), 0);
    agt__buf_free(&line);
    agt__buf_free(&record);
    CHECK_OK(agt_close(s, &err), err);
    return root;
}

static const char *hostile_store(agt_event *e, const char *content) {
    return hostile_store_at(e, content, 0);
}

static void hostile_refused(const char *root) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    for (int state = 0; state < 2; state++) {
        CHECK_STATUS(agt_open(&s, root, &o, &err), AGT_CORRUPT, err);
        CHECK(strstr(err.message, "damaged"));
        remove(kit_path(root, ".agent-trace/state")); /* and by the whole recovery */
    }
    o.read_only = 1;
    CHECK_STATUS(agt_open(&s, root, &o, &err), AGT_CORRUPT, err);
}

TEST(hostile, a_record_cannot_write_where_documents_may_not_be) {
    const char *bad[] = {"../out.md",        ".git/config",   ".agent-trace/config.toml",
                         "/tmp/agt-hostile", "a/../../up",    "./a.md",
                         "a//b.md",          "x/.GIT/hooks/y"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        agt_event e = AGT_EVENT_INIT;
        struct stat st;
        char blob[40];
        agt_oid id;
        agt__git_id(agt__cpu(), "blob", "evil", 4, id.id);
        agt__hex(id.id, 20, blob);
        e.version = 1;
        e.action = agt__text("create");
        e.path = agt__text(bad[i]);
        e.blob = (agt_text){blob, 40};
        e.doc = agt__text("656cd685-4792-4ce7-94ab-4987c61e4706");
        const char *root = hostile_store(&e, "evil");
        hostile_refused(root);
        CHECK(stat(kit_path(root, ".git"), &st) != 0);
        CHECK(stat(kit_path(root, "../out.md"), &st) != 0);
        CHECK(stat("/tmp/agt-hostile", &st) != 0);
        kit_disk_has(root, "good.md", "good");
    }
}

TEST(hostile, a_refusal_cannot_name_a_file_elsewhere) {
    agt_event e = AGT_EVENT_INIT;
    struct stat st;
    e.action = agt__text("violation");
    e.path = agt__text("good.md");
    e.rejected = agt__text("../../evil.txt");
    const char *root = hostile_store(&e, "evil");
    hostile_refused(root);
    CHECK(stat(kit_path(root, "evil.txt"), &st) != 0);
}

TEST(hostile, ids_and_actors_that_are_none_are_refused) {
    for (int i = 0; i < 4; i++) {
        agt_event e = AGT_EVENT_INIT;
        e.version = 1;
        e.action = agt__text("create");
        e.path = agt__text("a.md");
        e.doc = agt__text(i == 0 ? "short" : "656cd685-4792-4ce7-94ab-4987c61e4706");
        e.blob = agt__text(i == 1 ? "zz" : "0123456789012345678901234567890123456789");
        if (i == 2) e.actor = agt__text("agent:../x");
        hostile_refused(hostile_store(&e, i == 3 ? NULL : "evil"));
    }
}

TEST(hostile, a_line_beyond_any_segment_is_no_record) {
    static const uint64_t far[] = {AGT_SEGMENT_LONGEST, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < AGT_COUNT(far); i++) {
        agt_event e = AGT_EVENT_INIT;
        agt_error err;
        struct stat st;
        e.action = agt__text("note");
        const char *root = hostile_store_at(&e, NULL, far[i]);
        for (int state = 0; state < 2; state++) {
            agt_store *s = kit_open(root);
            kit_reads(s, "good.md", state ? "better" : "good");
            kit_write(s, &kit_user, "good.md", state ? "best" : "better");
            CHECK_OK(agt_close(s, &err), err);
            CHECK_INT(stat(kit_path(root, ".agent-trace/trace/000000000001.jsonl"), &st), 0);
            CHECK(st.st_size < 10000);
            remove(kit_path(root, ".agent-trace/state")); /* and by the whole recovery */
        }
    }
}
