/* A store that somebody else made, or that a disk damaged, used by a whole program: opened, read,
 * written to, published and closed. The input is that of hostile.h; of its byte 0
 *
 *     8   opens the store read-only first
 *     16  then writes, publishes and makes a checkpoint (most of the time goes there)
 *
 * Always: no crash, no leak, no descriptor left; nothing beside the root is touched; beneath it
 * only what a document may be called; in .agent-trace only files of its own; bytes that are read
 * have the id that was promised. Where only records were damaged and the machine was restarted the
 * store opens, and all that stands in front of the damage is there. */
#include "hostile.h"

enum { BIT_READ = 8, BIT_WORK = 16 };

static bool has_id(const agt_bytes *b, const char *hex) {
    unsigned char id[20];
    char now[41] = "";
    agt__git_id(cpu, "blob", b->data, b->len, id);
    agt__hex(id, 20, now);
    return !strcmp(now, hex);
}

static void check_document(agt_store *s, const agt_document *d) {
    agt_bytes b;
    agt_document again = AGT_DOCUMENT_INIT;
    if (d->exists) {
        agt_status st = agt_read(s, d->path, &b, &again, NULL);
        if (st == AGT_OK) {
            must(again.modified_outside || has_id(&b, again.blob));
            agt_bytes_free(&b);
        }
    }
    if (agt_read_version(s, d->path, d->version, &b, NULL) == AGT_OK) {
        must(has_id(&b, d->blob));
        agt_bytes_free(&b);
    }
    if (d->version > 1 && agt_read_version(s, d->path, 1, &b, NULL) == AGT_OK) agt_bytes_free(&b);
}

static void check_documents(agt_store *s) {
    agt_cursor *c;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    o.deleted = o.look = 1;
    if (agt_list(s, &o, &c, NULL) != AGT_OK) return;
    while (agt_list_next(c, &d, NULL) == AGT_OK)
        check_document(s, &d);
    agt_cursor_close(c);
}

/* The events of whole records are there, with their bytes. */
static void check_kept(agt_store *s, const hostile *h) {
    uint64_t last = events_kept(h);
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_bytes b;
    must(agt_store_get_info(s, &info, NULL) == AGT_OK && info.last_seq >= last);
    for (int i = 0; i < KNOWN; i++) {
        if (known[i].seq > last) continue;
        must(agt_read_version(s, known[i].path, known[i].version, &b, NULL) == AGT_OK);
        must(b.len == strlen(known[i].text) && !memcmp(b.data, known[i].text, b.len));
        agt_bytes_free(&b);
    }
    must(check_trace(s, 0) >= last);
}

static void work(agt_store *s) {
    agt_caller me = AGT_CALLER("user");
    agt_write_result r = AGT_WRITE_RESULT_INIT;
    agt_bytes b;
    static const char text[] = "written afterwards\n";
    agt_status st = agt_write(s, &me, "after/it.md", text, sizeof text - 1, NULL, &r, NULL);
    if (st == AGT_OK && !r.apply_pending) {
        must(agt_read(s, "after/it.md", &b, NULL, NULL) == AGT_OK);
        must(b.len == sizeof text - 1 && !memcmp(b.data, text, b.len));
        agt_bytes_free(&b);
    }
    (void)agt_write(s, &me, "plan.md", text, sizeof text - 1, NULL, NULL, NULL);
    st = agt_publish(s, NULL);
    if (agt_checkpoint(s, NULL) == AGT_OK) must(st == AGT_OK || st == AGT_BUSY);
    check_documents(s);
}

static void read_all(agt_store *s, machine *m, const hostile *h) {
    (void)m;
    if (harmless(h)) check_kept(s, h);
    check_documents(s);
    (void)check_trace(s, 0);
    (void)check_trace(s, 1);
}

static void use_all(agt_store *s, machine *m, const hostile *h) {
    read_all(s, m, h);
    if (h->mode & BIT_WORK) work(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hostile h;
    machine *m = hostile_begin(&h, data, size);
    if (h.mode & BIT_READ) hostile_use(m, &h, true, read_all);
    hostile_use(m, &h, false, use_all);
    hostile_end(m, &h);
    return 0;
}
