/* Every public call on a store answers each status that its comment names: answers and damage.
 * What fails beneath it (memory, the disk) is in test_codes_faults.c. */
#include "codes_kit.h"

static void codes_close_held(codes *c) {
    codes_publishing(c);
    codes_publish_held(c);
}
static void codes_close_no_flock(codes *c) {
    codes_publishing(c);
    codes_no_flock(c);
}
static void codes_close_no_header(codes *c) {
    codes_publishing(c);
    codes_no_header(c);
}

TEST(codes, every_call_succeeds_on_a_healthy_store_and_leaves_the_error_alone) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_OK, NULL, NULL);
    EXPECT(agt_close, AGT_OK, NULL, NULL);
    EXPECT(agt_store_get_info, AGT_OK, NULL, NULL);
    EXPECT(agt_checkpoint, AGT_OK, NULL, NULL);
    EXPECT(agt_store_idle, AGT_OK, NULL, NULL);
    EXPECT(agt_write, AGT_OK, NULL, NULL);
    EXPECT(agt_remove, AGT_OK, NULL, NULL);
    EXPECT(agt_batch, AGT_OK, NULL, NULL);
    EXPECT(agt_group, AGT_OK, NULL, NULL);
    EXPECT(agt_read, AGT_OK, NULL, NULL);
    EXPECT(agt_document_get, AGT_OK, NULL, NULL);
    EXPECT(agt_list, AGT_OK, NULL, NULL);
    EXPECT(agt_list_next, AGT_OK, NULL, NULL);
    EXPECT(agt_trace, AGT_OK, NULL, NULL);
    EXPECT(agt_trace_next, AGT_OK, NULL, NULL);
    EXPECT(agt_trace_verify, AGT_OK, NULL, NULL);
    EXPECT(agt_event_append, AGT_OK, NULL, NULL);
    EXPECT(agt_index_refresh, AGT_OK, NULL, NULL);
    EXPECT(agt_restore, AGT_OK, NULL, NULL);
    EXPECT(agt_read_version, AGT_OK, NULL, NULL);
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_publish, AGT_OK, NULL, NULL);
    EXPECT(agt_diff, AGT_OK, NULL, NULL);
#endif
    machine_free(start);
}

TEST(codes, a_lock_that_another_process_holds_is_answered_busy) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_BUSY, codes_store_held, "store.lock");
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_close, AGT_BUSY, codes_close_held, "publish.lock");
#else
    EXPECT(agt_close, AGT_OK, codes_close_held, NULL);
#endif
    EXPECT(agt_publish, AGT_BUSY, codes_publish_held, "publish.lock");
    EXPECT(agt_checkpoint, AGT_BUSY, codes_publish_held, "publish.lock");
    EXPECT(agt_store_idle, AGT_BUSY, codes_publish_held, "publish.lock");
    EXPECT(agt_publish, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_checkpoint, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_write, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_remove, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_restore, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_batch, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_group, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_event_append, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_index_refresh, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_trace_verify, AGT_BUSY, codes_store_held, "store.lock");
    EXPECT(agt_read, AGT_BUSY, codes_edited_and_held, "store.lock");
    EXPECT(agt_document_get, AGT_BUSY, codes_edited_and_held, "store.lock");
    EXPECT(agt_diff, AGT_BUSY, codes_edited_and_held, "store.lock");
    machine_free(start);
}

TEST(codes, readers_of_a_store_that_never_rests_are_answered_busy) {
    machine *start = codes_machine();
    EXPECT(agt_store_get_info, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_read, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_read_version, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_document_get, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_diff, AGT_BUSY, codes_restless, "try again");
    EXPECT(agt_list, AGT_BUSY, codes_restless, "try again");
    machine_free(start);
}

TEST(codes, what_names_no_document_or_version_is_answered_not_found) {
    machine *start = codes_machine();
    EXPECT(agt_remove, AGT_NOT_FOUND, codes_path_none, "none.md");
    EXPECT(agt_restore, AGT_NOT_FOUND, codes_path_none, "none.md");
    EXPECT(agt_restore, AGT_NOT_FOUND, codes_version_none, "the newest is 3");
    EXPECT(agt_restore, AGT_NOT_FOUND, codes_deletion, "deletion");
    EXPECT(agt_batch, AGT_NOT_FOUND, codes_remove_none, "none.md");
    EXPECT(agt_read, AGT_NOT_FOUND, codes_path_none, "none.md");
    EXPECT(agt_read, AGT_NOT_FOUND, codes_deletion, "can be restored");
    EXPECT(agt_read_version, AGT_NOT_FOUND, codes_version_none, "the newest is 3");
    EXPECT(agt_read_version, AGT_NOT_FOUND, codes_deletion, "choose another");
    EXPECT(agt_document_get, AGT_NOT_FOUND, codes_path_none, "none.md");
    EXPECT(agt_diff, AGT_NOT_FOUND, codes_path_none, "none.md");
    machine_free(start);
}

static void codes_no_store(codes *c) {
    CHECK_INT(machine_remove(c->m, CODES_ROOT "/.agent-trace"), 0);
}
static void codes_no_folder(codes *c) {
    CHECK_INT(machine_remove(c->m, CODES_ROOT), 0);
    machine_make_folder(c->m, CODES_ROOT "/elsewhere");
}
static void codes_create_read_only(codes *c) {
    c->o.create = c->o.read_only = 1;
}
static void codes_durability_none(codes *c) {
    c->o.durability = 9;
}
static void codes_link_in_place(codes *c) {
    CHECK_INT(machine_rename(c->m, CODES_ROOT "/.agent-trace", "/moved"), 0);
    CHECK_INT(machine_symlink(c->m, "/moved", CODES_ROOT "/.agent-trace"), 0);
}

TEST(codes, opening_answers_where_there_is_no_store_or_the_options_are_none) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_NOT_FOUND, codes_no_store, "agent-trace init");
    EXPECT(agt_open, AGT_NOT_FOUND, codes_no_folder, "agent-trace init");
    EXPECT(agt_open, AGT_INVALID, codes_unknown, "newer library");
    EXPECT(agt_open, AGT_INVALID, codes_create_read_only, "read-only");
    EXPECT(agt_open, AGT_INVALID, codes_durability_none, "durability");
    EXPECT(agt_open, AGT_INVALID, codes_link_in_place, "symbolic link");
    machine_free(start);
}

TEST(codes, an_option_of_a_later_version_is_refused) {
    machine *start = codes_machine();
    EXPECT(agt_store_get_info, AGT_INVALID, codes_unknown, "agt_store_info");
    EXPECT(agt_write, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_remove, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_restore, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_batch, AGT_INVALID, codes_unknown, "agt_write_options");
    EXPECT(agt_read, AGT_INVALID, codes_unknown, "agt_document");
    EXPECT(agt_document_get, AGT_INVALID, codes_unknown, "agt_document");
    EXPECT(agt_list, AGT_INVALID, codes_unknown, "agt_list_options");
    EXPECT(agt_list_next, AGT_INVALID, codes_unknown, "agt_document");
    EXPECT(agt_trace, AGT_INVALID, codes_unknown, "agt_trace_options");
    EXPECT(agt_trace_next, AGT_INVALID, codes_unknown, "agt_event");
    EXPECT(agt_trace_verify, AGT_INVALID, codes_unknown, "agt_trace_verdict");
    machine_free(start);
}

TEST(codes, a_fork_s_child_is_answered_invalid_by_every_call_on_a_handle) {
    machine *start = codes_machine();
    EXPECT(agt_store_get_info, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_publish, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_checkpoint, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_store_idle, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_write, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_remove, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_restore, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_batch, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_group, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_read, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_read_version, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_document_get, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_diff, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_list, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_list_next, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_trace, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_trace_next, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_trace_verify, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_event_append, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_index_refresh, AGT_INVALID, codes_fork, "fork");
    EXPECT(agt_close, AGT_OK, codes_fork, NULL);
    machine_free(start);
}

TEST(codes, a_read_only_handle_refuses_what_writes) {
    machine *start = codes_machine();
    EXPECT(agt_publish, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_checkpoint, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_store_idle, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_write, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_remove, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_restore, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_batch, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_group, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_event_append, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_index_refresh, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_trace_verify, AGT_INVALID, codes_read_only, "read-only");
    EXPECT(agt_read, AGT_OK, codes_read_only, NULL);
    EXPECT(agt_read_version, AGT_OK, codes_read_only, NULL);
    EXPECT(agt_document_get, AGT_OK, codes_read_only, NULL);
    EXPECT(agt_store_get_info, AGT_OK, codes_read_only, NULL);
    machine_free(start);
}

TEST(codes, values_and_paths_that_are_none_are_answered_invalid) {
    machine *start = codes_machine();
    EXPECT(agt_write, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_write, AGT_INVALID, codes_type_none, "write option");
    EXPECT(agt_restore, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_batch, AGT_INVALID, codes_count_none, "1 to 1024");
    EXPECT(agt_group, AGT_INVALID, codes_count_none, "1 to 1024");
    EXPECT(agt_read, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_read_version, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_read_version, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_document_get, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_diff, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_list, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_list, AGT_INVALID, codes_type_none, "type");
    EXPECT(agt_list_next, AGT_INVALID, codes_wrong_cursor, "agt_trace_next");
    EXPECT(agt_trace, AGT_INVALID, codes_type_none, "option");
    EXPECT(agt_trace_next, AGT_INVALID, codes_wrong_cursor, "agt_list_next");
    EXPECT(agt_event_append, AGT_INVALID, codes_path_out, "..");
    EXPECT(agt_event_append, AGT_INVALID, codes_type_none, "write option");
    machine_free(start);
}

TEST(codes, one_past_a_limit_is_answered_limit) {
    machine *start = codes_machine();
    EXPECT(agt_write, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_remove, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_restore, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_batch, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_batch, AGT_LIMIT, codes_count_past, "1 to 1024");
    EXPECT(agt_group, AGT_LIMIT, codes_count_past, "1 to 1024");
    EXPECT(agt_read, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_read_version, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_document_get, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_diff, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_list, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    EXPECT(agt_event_append, AGT_LIMIT, codes_path_long, "1,024 bytes; shorten it");
    machine_free(start);
}

static void codes_huge_config(codes *c) {
    CHECK_INT(machine_truncate(c->m, CODES_AT "config.toml", 65537), 0);
}
static void codes_huge_document(codes *c) {
    CHECK_INT(machine_truncate(c->m, CODES_ROOT "/a.md", AGT_MAX_DOCUMENT + 1ull), 0);
}

TEST(codes, a_file_that_grew_past_its_limit_is_answered_limit) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_LIMIT, codes_huge_config, "config.toml");
    EXPECT(agt_read, AGT_LIMIT, codes_huge_document, "1073741824");
    EXPECT(agt_document_get, AGT_LIMIT, codes_huge_document, "1073741824");
    EXPECT(agt_diff, AGT_LIMIT, codes_huge_document, "1073741824");
    EXPECT(agt_write, AGT_LIMIT, codes_huge_document, "1073741824");
    machine_free(start);
}

TEST(codes, the_rules_and_the_expected_version_are_answered_by_every_change) {
    machine *start = codes_machine();
    EXPECT(agt_write, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_remove, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_restore, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_batch, AGT_DENIED, codes_denied, "ref.md");
    EXPECT(agt_write, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_remove, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_restore, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_batch, AGT_NEEDS_CONFIRMATION, codes_unconfirmed, "context.md");
    EXPECT(agt_write, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_remove, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_restore, AGT_CONFLICT, codes_stale, "version 3, not 2");
    EXPECT(agt_batch, AGT_CONFLICT, codes_stale, "version 3, not 2");
    machine_free(start);
}

TEST(codes, cursors_end) {
    machine *start = codes_machine();
    codes c;
    agt_error err;
    agt_status st;
    uint32_t documents = 0, events = 0;
    codes_begin(&c, start);
    codes_open(&c);
    while ((st = call_agt_list_next(&c, &err)) == AGT_OK)
        documents++;
    CHECK_STATUS(st, AGT_END, err);
    codes_message(__LINE__, "agt_list_next", AGT_END, &err, "no more documents");
    while ((st = call_agt_trace_next(&c, &err)) == AGT_OK)
        events++;
    CHECK_STATUS(st, AGT_END, err);
    codes_message(__LINE__, "agt_trace_next", AGT_END, &err, "no more events");
    CHECK_INT(documents, 3);
    CHECK_INT(events, 11);
    codes_end(&c);
    machine_free(start);
}

/* ---- other formats, other systems ---- */

static void codes_config(codes *c, const char *text) {
    CHECK_INT(machine_put_text(c->m, CODES_AT "config.toml", text), 0);
}
static void codes_config_newer(codes *c) {
    codes_config(c, "[store]\nid = \"x\"\nformat = 3\n");
}
static void codes_config_older(codes *c) {
    codes_config(c, "[store]\nid = \"x\"\n");
}
static void codes_config_garbage(codes *c) {
    codes_config(c, "[store\n");
}
static void codes_config_no_id(codes *c) {
    codes_config(c, "[store]\nformat = 2\n");
}

TEST(codes, a_store_of_another_format_is_answered_unsupported) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_UNSUPPORTED, codes_config_newer, "newer");
    EXPECT(agt_open, AGT_UNSUPPORTED, codes_config_older, "0.1.0");
    EXPECT(agt_open, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_store_get_info, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_read, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_read_version, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_document_get, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_diff, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_list, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_write, AGT_UNSUPPORTED, codes_newer, "newer");
    EXPECT(agt_restore, AGT_UNSUPPORTED, codes_newer, "newer");
    machine_free(start);
}

TEST(codes, a_file_system_without_flock_is_answered_unsupported_never_unlocked) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_publish, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_checkpoint, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_store_idle, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_write, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_remove, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_restore, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_batch, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_group, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_event_append, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_index_refresh, AGT_UNSUPPORTED, codes_no_flock, "flock");
    EXPECT(agt_trace_verify, AGT_UNSUPPORTED, codes_no_flock, "flock");
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_close, AGT_UNSUPPORTED, codes_close_no_flock, "flock");
#else
    EXPECT(agt_close, AGT_OK, codes_close_no_flock, NULL);
#endif
    machine_free(start);
}

#ifdef AGENT_TRACE_NO_GIT
TEST(codes, what_only_git_can_do_is_answered_unsupported_in_a_build_without_it) {
    machine *start = codes_machine();
    EXPECT(agt_publish, AGT_UNSUPPORTED, NULL, "AGENT_TRACE_NO_GIT");
    EXPECT(agt_diff, AGT_UNSUPPORTED, NULL, "AGENT_TRACE_NO_GIT");
    machine_free(start);
}
#endif

/* ---- damage ---- */

static void codes_no_journal(codes *c) {
    CHECK_INT(machine_remove(c->m, CODES_AT "journal"), 0);
}
static void codes_bad_catalog(codes *c) {
    char *tree = machine_tree(c->m, CODES_ROOT "/.agent-trace"), path[80];
    const char *at = strstr(tree, "catalog.");
    CHECK(at);
    snprintf(path, sizeof path, CODES_AT "%.*s", (int)strcspn(at, "\n"), at);
    free(tree);
    CHECK_INT(machine_rot(c->m, path, 30, 2), 0);
}
/* A trace that lost acknowledged lines, where recovery must look. */
static void codes_short_trace(codes *c) {
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(c->other);
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    CHECK_INT(machine_truncate(c->m, CODES_AT "trace/000000000001.jsonl", 20), 0);
    CHECK_INT(machine_remove(c->m, CODES_AT "state"), 0);
    c->moves = true; /* an empty state is made */
}
static void codes_bad_line(codes *c) {
    CHECK_INT(machine_overwrite(c->m, CODES_AT "trace/000000000001.jsonl", 2, "\"", 1), 0);
}

TEST(codes, opening_a_damaged_store_is_answered_corrupt_and_says_how_to_mend_it) {
    machine *start = codes_machine();
    EXPECT(agt_open, AGT_CORRUPT, codes_config_garbage, "mend the file by hand");
    EXPECT(agt_open, AGT_CORRUPT, codes_config_no_id, "store.id");
    EXPECT(agt_open, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_open, AGT_CORRUPT, codes_no_journal, "agent-trace repair");
    EXPECT(agt_open, AGT_CORRUPT, codes_bad_catalog, "agent-trace repair");
    EXPECT(agt_open, AGT_CORRUPT, codes_short_trace, "agent-trace repair");
    machine_free(start);
}

TEST(codes, a_journal_that_lost_its_headers_is_answered_corrupt_by_every_call_that_reads_it) {
    machine *start = codes_machine();
#ifndef AGENT_TRACE_NO_GIT
    EXPECT(agt_close, AGT_CORRUPT, codes_close_no_header, "agent-trace repair");
    EXPECT(agt_store_idle, AGT_CORRUPT, codes_no_header, "agent-trace repair");
#else
    EXPECT(agt_close, AGT_OK, codes_close_no_header, NULL);
#endif
    EXPECT(agt_store_get_info, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_publish, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_checkpoint, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_write, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_remove, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_restore, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_batch, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_group, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_read, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_read_version, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_document_get, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_diff, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_list, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_event_append, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_trace_verify, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    EXPECT(agt_index_refresh, AGT_CORRUPT, codes_no_header, "agent-trace repair");
    machine_free(start);
}

TEST(codes, a_damaged_line_is_answered_corrupt_and_the_next_call_goes_on_behind_it) {
    machine *start = codes_machine();
    EXPECT(agt_trace, AGT_OK, codes_bad_line, NULL);
    EXPECT(agt_trace_next, AGT_CORRUPT, codes_bad_line, NULL);
    codes c;
    agt_error err;
    codes_begin(&c, start);
    codes_open(&c);
    codes_bad_line(&c);
    CHECK_STATUS(call_agt_trace_next(&c, &err), AGT_CORRUPT, err);
    CHECK_INT(err.offset, 0);
    CHECK_OK(call_agt_trace_next(&c, &err), err);
    codes_end(&c);
    machine_free(start);
}

#ifndef AGENT_TRACE_NO_GIT
/* A long document of another process, whose bytes are lost before git had them. */
static void codes_lost_side(codes *c) {
    size_t n = 2u << 20;
    char *tree, *text = malloc(n + 1), path[80];
    agt_error err;
    agt_store *s;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.sys = machine_sys(c->other);
    memset(text, 'x', n);
    text[n] = 0;
    CHECK_OK(agt_open(&s, CODES_ROOT, &o, &err), err);
    codes_put(s, "user", "long.md", text, 0);
    CHECK_OK(agt_close(s, &err), err);
    free(text);
    tree = machine_tree(c->m, CODES_AT "unpublished");
    const char *at = strstr(tree, "side-");
    CHECK(at);
    snprintf(path, sizeof path, CODES_AT "unpublished/%.*s", (int)strcspn(at, "\n"), at);
    free(tree);
    CHECK_INT(machine_remove(c->m, path), 0);
}

TEST(codes, git_objects_that_are_gone_are_answered_corrupt) {
    machine *start = codes_machine();
    EXPECT(agt_read_version, AGT_CORRUPT, codes_lost_git, "git lost the bytes of event 1");
    EXPECT(agt_restore, AGT_CORRUPT, codes_lost_git, "git lost the bytes of event 1");
    EXPECT(agt_diff, AGT_CORRUPT, codes_lost_git, "git lost the bytes of event 1");
    EXPECT(agt_publish, AGT_CORRUPT, codes_lost_git, "agent-trace repair");
    EXPECT(agt_checkpoint, AGT_CORRUPT, codes_lost_git, "agent-trace repair");
    EXPECT(agt_store_idle, AGT_CORRUPT, codes_lost_git, "agent-trace repair");
    EXPECT(agt_publish, AGT_CORRUPT, codes_lost_side, "agent-trace repair");
    machine_free(start);
}
#endif
