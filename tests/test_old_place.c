/* Stores of agent-trace 0.1.0, read where they lie: every fact, nothing written, and what a write
 * is answered. */
#include "../src/git/parts.h"
#include "old_facts.h"

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
