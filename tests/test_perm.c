/* Who may write what: the whole table of the README, and the names that have a type of their own.
 */
#include "../src/base/base.h"
#include "store_kit.h"

TEST(perm, the_table_is_the_readmes) {
    enum { YES = AGT_OK, NO = AGT_DENIED, ASK = AGT_NEEDS_CONFIRMATION };
    static const char *const actor[] = {"user", "agent:kestrel", "system"};
    static const struct {
        agt_type type;
        int may[3];
    } row[] = {
        {AGT_TYPE_PLAN, {YES, YES, NO}},     {AGT_TYPE_CONTEXT, {ASK, NO, YES}},
        {AGT_TYPE_LOG, {ASK, NO, YES}},      {AGT_TYPE_REFERENCE, {YES, NO, NO}},
        {AGT_TYPE_SCRATCH, {YES, YES, YES}}, {AGT_TYPE_DEFAULT, {YES, YES, YES}},
    };
    unsigned seen = 0;
    for (size_t i = 0; i < AGT_COUNT(row); i++)
        for (int k = 0; k < 3; k++, seen++)
            if (agt_permission(actor[k], AGT_ACTION_WRITE, row[i].type, "notes/a.md") !=
                row[i].may[k])
                test_fail(__FILE__, __LINE__, "%s on %s", actor[k], agt_type_name(row[i].type));
    CHECK_INT(seen, 18);
    CHECK_INT(agt_permission(actor[0], AGT_ACTION_WRITE, (agt_type)6, "a.md"), AGT_DENIED);
    CHECK_INT(agt_permission("agent:", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, "a.md"), AGT_INVALID);
    CHECK_INT(agt_permission("root", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, "a.md"), AGT_INVALID);
}

TEST(perm, generated_files_are_the_systems_in_any_case) {
    static const char *const theirs[] = {
        "AGENT-TRACE.md", "context.md",        "running_summary.md",
        "CONTEXT.md",     "Agent-Trace.MD",    "running_summary.Md",
        "logs/a-b.md",    "LOGS/kestrel-1.md", "logs/kestrel-1.MD"};
    static const char *const free_names[] = {"context.md.bak", "notes/context.md", "logs/a.md",
                                             "logs/x/a-b.md",  "logs-a-b.md",      "logs/-a.txt"};
    for (size_t i = 0; i < AGT_COUNT(theirs); i++) {
        CHECK_INT(agt_permission("agent:kestrel", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, theirs[i]),
                  AGT_DENIED);
        CHECK_INT(agt_permission("user", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, theirs[i]),
                  AGT_NEEDS_CONFIRMATION);
        CHECK_INT(agt_permission("system", AGT_ACTION_WRITE, AGT_TYPE_REFERENCE, theirs[i]),
                  AGT_OK);
    }
    for (size_t i = 0; i < AGT_COUNT(free_names); i++)
        CHECK_INT(
            agt_permission("agent:kestrel", AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, free_names[i]),
            AGT_OK);
}

TEST(perm, a_write_asks_the_same_table) {
    agt_error err;
    const char *root = test_folder();
    agt_store *s = kit_open(root);
    CHECK_STATUS(agt_write(s, &kit_agent, "CONTEXT.md", "x", 1, NULL, NULL, &err), AGT_DENIED, err);
    agt_caller user = kit_user;
    user.confirm = 1;
    CHECK_OK(agt_write(s, &user, "context.md", "x", 1, NULL, NULL, &err), err);
    kit_close(s);
}
