/* Stores of agent-trace 0.1.0, read where they lie: every fact, nothing written, and what a write
 * is answered. */
#include "../src/git/parts.h"
#include "old_facts.h"

#include <sys/stat.h>

/* Everything on the disk: names, kinds, sizes, times and bytes. */
static char *place_print(const char *root) {
    return kit_run("cd %s && find . -printf '%%p %%y %%m %%s %%T@\\n' | LC_ALL=C sort && find . "
                   "-type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum",
                   root);
}

TEST(old_place, every_fact_of_five_stores_is_read_where_they_lie_and_nothing_is_written) {
    old_facts f = old_read_json("expected.json");
    old_saw saw = {0};
    for (size_t i = 0; i < OLD_STORES; i++) {
        agt_error err;
        agt_store *s;
        agt_open_options o = AGT_OPEN_OPTIONS_INIT;
        const char *root = old_unpack(old_names[i]);
        agt_json facts = old_store_facts(&f, old_names[i]);
        char *before = place_print(root), *after;
        o.read_only = i & 1; /* asked for or not */
        CHECK_OK(agt_open(&s, root, &o, &err), err);
        old_check_facts(s, &facts, &saw);
        CHECK_STATUS(agt_write(s, &kit_user, "new.md", "x", 1, NULL, NULL, &err), AGT_UNSUPPORTED,
                     err);
        CHECK(strstr(err.message, "agent-trace upgrade"));
        CHECK_STATUS(agt_publish(s, &err), AGT_UNSUPPORTED, err);
        CHECK_STATUS(agt_index_refresh(s, 1, NULL, &err), AGT_UNSUPPORTED, err);
        kit_close(s);
        after = place_print(root);
        CHECK_STR(after, before);
        free(before);
        free(after);
    }
    free(f.bytes);
    test_saw("versions", saw.versions);
    test_saw("deletions", saw.deletions);
    test_saw("documents", saw.documents);
    test_saw("commits", saw.commits);
    test_saw("events", saw.events);
    test_saw("violations", saw.violations);
    test_saw("grants", saw.grants);
    CHECK_INT(saw.documents, 56);
    CHECK_INT(saw.commits, 754);
    CHECK_INT(saw.events, 551);
    CHECK_INT(saw.violations, 3);
    CHECK_INT(saw.grants, 3);
}

/* Doctor and repair say how to go on, and make nothing in it, however it is damaged. */
TEST(old_place, doctor_and_repair_leave_it_to_the_upgrade) {
    static const char *const damage[] = {"true", "rm %s/.agent-trace/config.toml",
                                         "echo junk >%s/.agent-trace/config.toml"};
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        const char *root = old_unpack("agents");
        free(kit_run(damage[i], root));
        char *before = place_print(root), *after;
        for (uint32_t how = 0; how < 6; how++) {
            agt_error err;
            agt_findings *found = NULL;
            agt_doctor_options d = AGT_DOCTOR_OPTIONS_INIT;
            agt_repair_options r = AGT_REPAIR_OPTIONS_INIT;
            d.deep = how & 1;
            d.fix = how >> 1 & 1;
            r.dry_run = how & 1;
            agt_status st = how < 4 ? agt_doctor(root, &d, &found, &err)
                                    : agt_repair(root, &r, NULL, &found, &err);
            CHECK_STATUS(st, AGT_UNSUPPORTED, err);
            CHECK(strstr(err.message, "run 'agent-trace upgrade'"));
            CHECK(!found);
        }
        after = place_print(root);
        CHECK_STR(after, before);
        free(before);
        free(after);
    }
}

/* A folder of documents is no store of its own, and one that is a store is. */
TEST(old_place, folders_below_are_what_they_are) {
    agt_error err;
    agt_store *s;
    agt_cursor *c;
    agt_status st;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    char stores[200] = "";
    const char *root = old_unpack("agents");
    CHECK_INT(mkdir(kit_path(root, "below"), 0700), 0);
    agt_open_options make = AGT_OPEN_OPTIONS_INIT;
    make.create = 1;
    CHECK_OK(agt_open(&s, kit_path(root, "below"), &make, &err), err);
    kit_close(s);
    CHECK_OK(agt_open(&s, root, NULL, &err), err);
    o.untracked = 2;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    while ((st = agt_list_next(c, &d, &err)) == AGT_OK)
        if (d.left_out == AGT_LEFT_OUT_STORE)
            strncat(stores, d.path, sizeof stores - strlen(stores) - 1);
    CHECK_STATUS(st, AGT_END, err);
    CHECK_STR(stores, "below/");
    agt_cursor_close(c);
    kit_close(s);
}

TEST(old_place, a_refusal_whose_bytes_are_others_says_where_they_lie) {
    agt_error err;
    agt_store *s;
    agt_bytes b;
    const char *root = old_unpack("agents");
    CHECK_OK(agt_open(&s, root, NULL, &err), err);
    CHECK_STATUS(agt_read_refused(s, 118, &b, &err), AGT_NOT_FOUND, err);
    CHECK(strstr(err.message, ".agent-trace/rejected"));
    CHECK_STATUS(agt_read_refused(s, 117, &b, &err), AGT_NOT_FOUND, err);
    CHECK_STATUS(agt_read_refused(s, 119, &b, &err), AGT_NOT_FOUND, err);
    CHECK(!strstr(err.message, "rejected"));
    kit_close(s);
    CHECK_OK(agt_upgrade(root, NULL, NULL, &err), err);
    s = kit_open(root);
    CHECK_STATUS(agt_read_refused(s, 118, &b, &err), AGT_NOT_FOUND, err);
    CHECK(strstr(err.message, ".agent-trace/backup-0.1.0/rejected"));
    kit_close(s);
    free(
        kit_run("test -s %s/.agent-trace/backup-0.1.0/rejected/journal-1795473570.rejected", root));
}
