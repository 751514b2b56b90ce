/* Changes that are recorded and cannot be put in place yet: something stands in the way, their
 * writer died, or the handle may not write. The journal's bytes are the document's. */
#include "fault.h"
#include "oracle.h"

static const char *const root = "/home";
static const agt_caller agent = AGT_CALLER("agent:kestrel");
static const agt_caller user = AGT_CALLER("user");

static machine *pending_machine(machine_process **p, agt_store **s) {
    agt_error err;
    machine_settings set = {.seed = test_random(), .call_ns = 1000};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    *p = machine_process_new(m, "writer");
    *s = oracle_open(*p, root, NULL, AGT_OK);
    CHECK_OK(agt_write(*s, &agent, "d/a.md", "one", 3, NULL, NULL, &err), err);
    return m;
}

static void pending_reads(agt_store *s, const char *text, uint32_t version) {
    agt_error err;
    agt_bytes b;
    agt_document d = AGT_DOCUMENT_INIT;
    CHECK_OK(agt_read(s, "d/a.md", &b, &d, &err), err);
    CHECK_STR((const char *)b.data, text);
    CHECK_INT(d.version, version);
    CHECK_INT(d.modified_outside, 0);
    agt_bytes_free(&b);
}

static void pending_listed(agt_store *s, uint32_t version) {
    agt_error err;
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    o.look = 1;
    CHECK_OK(agt_list(s, &o, &c, &err), err);
    CHECK_OK(agt_list_next(c, &d, &err), err);
    CHECK_INT(d.version, version);
    CHECK_INT(d.modified_outside, 0);
    agt_cursor_close(c);
}

static void pending_trace(agt_store *s, uint64_t events) {
    agt_error err;
    agt_cursor *c;
    agt_event e = AGT_EVENT_INIT;
    agt_trace_options o = AGT_TRACE_OPTIONS_INIT;
    CHECK_INT(oracle_check_trace(s), events);
    o.newest_first = 1;
    CHECK_OK(agt_trace(s, &o, &c, &err), err);
    for (uint64_t n = events; n; n--) {
        CHECK_OK(agt_trace_next(c, &e, &err), err);
        CHECK_INT(e.seq, n);
    }
    CHECK_STATUS(agt_trace_next(c, &e, &err), AGT_END, err);
    agt_cursor_close(c);
}

/* Renames are refused: what is staged cannot be put in place. */
static void pending_block(machine *m) {
    machine_fail(m, &(machine_fault){.at = 1,
                                     .ops = MACHINE_BIT(MACHINE_RENAME),
                                     .cls = AGT_SYS_ACCESS,
                                     .code = EPERM,
                                     .forever = true});
}

TEST(pending, reads_and_writes_go_on_from_the_journal_while_a_change_waits) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_store_info info = AGT_STORE_INFO_INIT;
    machine *m = pending_machine(&p, &s);
    pending_block(m);
    CHECK_OK(agt_write(s, &agent, "d/a.md", "two", 3, NULL, &r, &err), err);
    CHECK_INT(r.apply_pending, 1);
    pending_reads(s, "two", 2);
    pending_listed(s, 2);
    CHECK_OK(agt_write(s, &agent, "d/a.md", "three", 5, NULL, &r, &err), err);
    CHECK_INT(r.version, 3);
    CHECK_INT(r.edit_recorded, 0);
    CHECK_INT(r.seq, 3);
    pending_reads(s, "three", 3);
    pending_trace(s, 3);
    machine_fail(m, NULL);
    CHECK_INT(machine_set_mode(m, "/home/d", 0555), 0);
    CHECK_STATUS(agt_checkpoint(s, &err), AGT_BUSY, err);
    CHECK(strstr(err.message, "d/a.md"));
    CHECK_INT(machine_set_mode(m, "/home/d", 0755), 0);
    CHECK_OK(agt_write(s, &agent, "b.md", "b", 1, NULL, &r, &err), err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.apply_pending, 0);
    pending_reads(s, "three", 3);
    char *disk = machine_get(m, "/home/d/a.md", NULL);
    CHECK_STR(disk, "three");
    free(disk);
    CHECK_OK(agt_checkpoint(s, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

TEST(pending, a_new_document_and_a_deletion_that_wait_are_answered_too) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    agt_bytes b;
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    machine *m = pending_machine(&p, &s);
    pending_block(m);
    CHECK_OK(agt_write(s, &agent, "new.md", "new", 3, NULL, &r, &err), err);
    CHECK_INT(r.apply_pending, 1);
    CHECK_OK(agt_read(s, "new.md", &b, NULL, &err), err);
    CHECK_STR((const char *)b.data, "new");
    agt_bytes_free(&b);
    CHECK_OK(agt_remove(s, &user, "d/a.md", NULL, &r, &err), err);
    CHECK_INT(r.apply_pending, 1);
    CHECK_STATUS(agt_read(s, "d/a.md", &b, NULL, &err), AGT_NOT_FOUND, err);
    CHECK(strstr(err.message, "was deleted"));
    CHECK_STATUS(agt_remove(s, &user, "d/a.md", NULL, &r, &err), AGT_NOT_FOUND, err);
    CHECK_INT(r.edit_recorded, 0);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* Also for a folder that is not there yet. */
TEST(pending, a_folder_of_somebody_else_is_told_before_anything_is_recorded) {
    agt_error err;
    machine_process *p;
    agt_store *s;
    agt_store_info info = AGT_STORE_INFO_INIT;
    machine *m = pending_machine(&p, &s);
    static const char *const path[] = {"d/a.md", "d/b.md", "d/x/y/z.md"};
    CHECK_INT(machine_set_mode(m, "/home/d", 0555), 0);
    for (size_t i = 0; i < AGT_COUNT(path); i++) {
        CHECK_STATUS(agt_write(s, &agent, path[i], "two", 3, NULL, NULL, &err), AGT_IO, err);
        CHECK(strstr(err.message, "may not be written"));
    }
    CHECK_STATUS(agt_remove(s, &agent, "d/a.md", NULL, NULL, &err), AGT_IO, err);
    CHECK_OK(agt_store_get_info(s, &info, &err), err);
    CHECK_INT(info.last_seq, 1);
    pending_reads(s, "one", 1);
    CHECK_INT(machine_set_mode(m, "/home/d", 0755), 0);
    CHECK_OK(agt_write(s, &agent, "d/a.md", "two", 3, NULL, NULL, &err), err);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}

/* A writer dies at every change; a handle that may not write shows one whole state. */
TEST(pending, a_read_only_handle_shows_what_the_journal_holds) {
    agt_error err;
    volatile uint64_t deaths = 0, newer = 0, n = 1;
    machine_process *p;
    agt_store *s;
    machine *start = pending_machine(&p, &s);
    CHECK_OK(agt_close(s, &err), err);
    machine_process_free(p);
    for (;; n++) {
        machine_memory mem;
        machine *m = machine_clone(start);
        p = machine_process_new(m, "writer");
        s = oracle_open(p, root, &mem, AGT_OK);
        machine_crash_at(m, n, MACHINE_CHANGES, MACHINE_AFTER);
        bool ended = setjmp(*machine_crash_point(m)) == 0;
        if (ended) CHECK_OK(agt_write(s, &agent, "d/a.md", "two", 3, NULL, NULL, &err), err);
        machine_crash_at(m, 0, 0, MACHINE_AFTER);
        if (ended) agt_close(s, NULL);
        machine_memory_release(&mem);
        deaths += !ended;
        for (int reboot = 0; reboot < 2; reboot++) {
            agt_open_options o = AGT_OPEN_OPTIONS_INIT;
            machine *c = machine_clone(m);
            if (reboot) machine_reboot(c);
            machine_process *q = machine_process_new(c, "reader");
            agt_store_info info = AGT_STORE_INFO_INIT;
            o.sys = machine_sys(q);
            o.read_only = 1;
            CHECK_OK(agt_open(&s, root, &o, &err), err);
            CHECK_OK(agt_store_get_info(s, &info, &err), err);
            newer += info.last_seq == 2 && !ended;
            pending_reads(s, info.last_seq == 2 ? "two" : "one", (uint32_t)info.last_seq);
            pending_listed(s, (uint32_t)info.last_seq);
            pending_trace(s, info.last_seq);
            CHECK_OK(agt_close(s, &err), err);
            machine_free(c);
        }
        machine_free(m);
        if (ended) break;
    }
    machine_free(start);
    test_saw("deaths", deaths);
    CHECK(deaths > 4);
    CHECK(newer > 2);
}

static void pending_on_disk(machine *m, const char *path, const char *text) {
    char *is = machine_get(m, path, &(size_t){0});
    CHECK((is != NULL) == (text != NULL));
    if (text) CHECK_STR(is, text);
    free(is);
}

/* As some file systems in user space are, and those over a network. */
TEST(pending, nothing_waits_where_names_can_be_neither_exchanged_nor_linked) {
    agt_error err;
    agt_store *s;
    agt_bytes b;
    agt_write_result r[5];
    machine_settings set = {.seed = test_random(),
                            .call_ns = 1000,
                            .no_exchange = true,
                            .no_noreplace = true,
                            .no_link = true};
    machine *m = machine_new(&set);
    machine_make_folder(m, root);
    machine_put_text(m, "/home/there.md", "there");
    s = oracle_open(machine_process_new(m, "writer"), root, NULL, AGT_OK);
    for (size_t i = 0; i < AGT_COUNT(r); i++)
        r[i] = (agt_write_result)AGT_WRITE_RESULT_INIT;
    CHECK_OK(agt_write(s, &agent, "d/a.md", "one", 3, NULL, &r[0], &err), err);
    CHECK_OK(agt_write(s, &agent, "d/a.md", "two", 3, NULL, &r[1], &err), err);
    CHECK_OK(agt_rename(s, &agent, "d/a.md", "e/b.md", NULL, &r[2], &err), err);
    CHECK_OK(agt_remove(s, &agent, "e/b.md", NULL, NULL, &err), err);
    CHECK_OK(agt_restore(s, &agent, "e/b.md", 1, NULL, &r[3], &err), err);
    CHECK_OK(agt_write(s, &agent, "there.md", "new", 3, NULL, &r[4], &err), err);
    for (size_t i = 0; i < AGT_COUNT(r); i++)
        CHECK_INT(r[i].apply_pending, 0);
    CHECK_INT(r[4].edit_recorded, 1);
    pending_on_disk(m, "/home/e/b.md", "one");
    pending_on_disk(m, "/home/there.md", "new");
    pending_on_disk(m, "/home/d/a.md", NULL);
    CHECK_OK(agt_read_version(s, "there.md", 1, &b, &err), err);
    CHECK_STR((const char *)b.data, "there");
    agt_bytes_free(&b);
    CHECK_OK(agt_close(s, &err), err);
    machine_free(m);
}
