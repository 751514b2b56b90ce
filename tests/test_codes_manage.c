/* The statuses of the calls that change no bytes, and of those that ask: as in test_codes.c. */
#include "codes_kit.h"

TEST(codes, what_changes_no_bytes_succeeds_on_a_healthy_store) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_OK, NULL, NULL);
    EXPECT(agt_rename, AGT_OK, NULL, NULL);
    EXPECT(agt_may_rename, AGT_OK, NULL, NULL);
    EXPECT(agt_untrack, AGT_OK, NULL, NULL);
    EXPECT(agt_reclassify, AGT_OK, NULL, NULL);
    EXPECT(agt_unlock, AGT_OK, NULL, NULL);
    EXPECT(agt_revoke, AGT_OK, NULL, NULL);
    EXPECT(agt_grants, AGT_OK, NULL, NULL);
    EXPECT(agt_may, AGT_OK, NULL, NULL);
    EXPECT(agt_read_refused, AGT_OK, NULL, NULL);
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_diff_bytes, AGT_OK, NULL, NULL);
#else
    EXPECT(agt_diff_bytes, AGT_UNSUPPORTED, NULL, "AGENT_TRACE_NO_GIT");
#endif
    machine_free(start);
}

TEST(codes, locks_and_a_store_that_never_rests_keep_managing_busy) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_rename, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_may_rename, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_untrack, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_reclassify, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_unlock, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_revoke, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_grants, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_may, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_read_refused, AGT_BUSY, codes_restless, "try again");
    machine_free(start);
}

static void codes_to_there(codes *c) {
    c->under = "ref.md";
}
static void codes_to_out(codes *c) {
    c->under = "../out.md";
}
static void codes_to_log(codes *c) {
    c->type = AGT_TYPE_LOG;
}
static void codes_seq_none(codes *c) {
    c->version = 99;
}
static void codes_confirmed_path(codes *c) {
    c->path = "none.md";
    c->confirm = true;
}

TEST(codes, what_managing_does_not_find_or_finds_taken) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_rename, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_may_rename, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_untrack, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_reclassify, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_unlock, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_revoke, AGT_NOT_FOUND, codes_confirmed_path, "none.md");
    EXPECT(agt_grants, AGT_NOT_FOUND, codes_path_none, "none.md");
    EXPECT(agt_read_refused, AGT_NOT_FOUND, codes_seq_none, "99");
    EXPECT(agt_rename, AGT_CONFLICT, codes_to_there, "another document");
    EXPECT(agt_may_rename, AGT_CONFLICT, codes_to_there, "another document");
    EXPECT(agt_add, AGT_CONFLICT, codes_stale, NULL);
    EXPECT(agt_rename, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_may_rename, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_untrack, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_reclassify, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_unlock, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_revoke, AGT_CONFLICT, codes_stale, "version 3, not 2");
    machine_free(start);
}

TEST(codes, what_managing_is_given_and_that_is_none) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_add, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_add, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_add, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_rename, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_may_rename, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_rename, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_may_rename, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_rename, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_may_rename, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_rename, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_may_rename, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_untrack, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_untrack, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_untrack, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_untrack, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_reclassify, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_reclassify, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_reclassify, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_reclassify, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_unlock, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_unlock, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_unlock, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_unlock, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_revoke, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_revoke, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_revoke, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_revoke, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_rename, AGT_INVALID, codes_to_out, "..");
    EXPECT(agt_may_rename, AGT_INVALID, codes_to_out, "..");
    EXPECT(agt_add, AGT_INVALID, codes_type_none, "type");
    EXPECT(agt_reclassify, AGT_INVALID, codes_type_none, "type");
    EXPECT(agt_may, AGT_INVALID, codes_type_none, "type");
    EXPECT(agt_grants, AGT_INVALID, codes_unknown, "agt_grant");
    EXPECT(agt_grants, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_grants, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_may, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_may, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_read_refused, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_diff_bytes, AGT_INVALID, codes_fork, "fork");
    machine_free(start);
}

TEST(codes, what_the_rules_say_of_managing) {
    machine *start = codes_machine();
    EXPECT(agt_rename, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_may_rename, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_rename, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_may_rename, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_untrack, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_untrack, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_reclassify, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_reclassify, AGT_NEEDS_CONFIRMATION, codes_to_log, "a.md");
    EXPECT(agt_unlock, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_unlock, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_revoke, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_revoke, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_may, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_may, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    machine_free(start);
}

static void codes_new_generated(codes *c) {
    CHECK_INT(machine_put_text(c->m, CODES_ROOT "/running_summary.md", "text\n"), 0);
    c->path = "running_summary.md";
}
static void codes_new_generated_by_agent(codes *c) {
    codes_new_generated(c);
    c->actor = "agent:kestrel";
}

TEST(codes, what_the_rules_say_of_adding) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_NEEDS_CONFIRMATION, codes_new_generated, "running_summary.md");
    EXPECT(agt_add, AGT_DENIED, codes_new_generated_by_agent, "running_summary.md");
    machine_free(start);
}

static void codes_full_of_grants(codes *c) {
    agt_error err;
    char who[40];
    agt_caller user = AGT_CALLER("user");
    for (int i = 0; i < AGT_MAX_GRANTS - 3; i++) {
        snprintf(who, sizeof who, "agent:a%d", i);
        CHECK_OK(agt_unlock(c->s, &user, "a.md", who, 3600000, NULL, NULL, &err), err);
    }
}
/* The bytes that event 7 refused. */
#ifndef AGENT_TRACE_NO_GIT
static void codes_rejected(char path[200], codes *c) {
    char *tree = machine_tree(c->m, CODES_AT "rejected");
    const char *at = tree + strlen(tree);
    for (size_t n = 0; n < 64; at = n < 64 ? at - 1 : at)
        for (n = 0; n < 64 && at[n] && strchr("0123456789abcdef", at[n]);)
            n++;
    snprintf(path, 200, CODES_AT "rejected/%.64s", at);
    free(tree);
}
static void codes_huge_refused(codes *c) {
    char path[200];
    codes_rejected(path, c);
    CHECK_INT(machine_truncate(c->m, path, 32u * 1024 * 1024 + 1), 0);
}
static void codes_bad_refused(codes *c) {
    char path[200];
    codes_rejected(path, c);
    CHECK_INT(machine_overwrite(c->m, path, 0, "R", 1), 0);
}
#endif

TEST(codes, the_limits_of_managing) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_rename, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_may_rename, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_untrack, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_reclassify, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_unlock, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_revoke, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_grants, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_may, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_unlock, AGT_LIMIT, codes_full_of_grants, "64 grants");
#ifndef AGENT_TRACE_NO_GIT /* else the record is there still, and has them */
    EXPECT(agt_read_refused, AGT_LIMIT, codes_huge_refused, "33554432");
#endif
    machine_free(start);
}

TEST(codes, other_formats_and_damage_keep_from_managing) {
    machine *start = codes_machine();
    EXPECT(agt_add, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_add, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_rename, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_may_rename, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_rename, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_may_rename, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_untrack, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_untrack, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_reclassify, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_reclassify, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_unlock, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_unlock, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_revoke, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_revoke, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_grants, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_grants, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_may, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_may, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_read_refused, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_read_refused, AGT_CORRUPT, codes_no_header, ".agent-trace/journal");
    EXPECT(agt_add, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_rename, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_may_rename, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_untrack, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_reclassify, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_unlock, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_revoke, AGT_UNSUPPORTED, codes_no_flock, "flock");
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_read_refused, AGT_CORRUPT, codes_bad_refused, "rejected");
#endif
    machine_free(start);
}
