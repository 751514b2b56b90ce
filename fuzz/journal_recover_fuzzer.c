/* Recovery of a store whose files are damaged or hostile: it is opened once. The input is that of
 * hostile.h; bits 5 to 7 of its byte 0 choose the version that is read. What a whole program does
 * with such a store is hostile_store_fuzzer.c's.
 *
 * Always: no crash, no leak, no descriptor left; nothing beside the root is touched; beneath it
 * only what a document may be called; in .agent-trace only files of its own. Where only records
 * were damaged and the machine was restarted the store opens, or says that it is damaged and opens
 * after a repair; and all that stands in front of the damage is there: events, the version that is
 * asked for, and documents on the disk. */
#include "hostile.h"

/* On the disk is the newest version, or a later one whose record the damage took: an edit now. */
static void check_newest(const machine *m, const char *path, uint64_t last) {
    char full[64];
    size_t n;
    bool found = false;
    snprintf(full, sizeof full, ROOT "/%s", path);
    char *bytes = machine_get(m, full, &n);
    for (int i = KNOWN - 1; bytes && !found && i >= 0; i--) {
        if (strcmp(known[i].path, path) != 0) continue;
        found = n == strlen(known[i].text) && !memcmp(bytes, known[i].text, n);
        if (known[i].seq <= last) break;
    }
    must(found);
    free(bytes);
}

static void check(agt_store *s, machine *m, const hostile *h) {
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_bytes b;
    uint64_t last = events_kept(h);
    const struct known *k = &known[h->mode >> 5 & 7];
    agt_status st = agt_store_get_info(s, &info, NULL);
    if (!harmless(h)) return;
    must(st == AGT_OK && info.last_seq >= last && check_trace(s, 0) == info.last_seq);
    if (k->seq <= last) {
        must(agt_read_version(s, k->path, k->version, &b, NULL) == AGT_OK);
        must(b.len == strlen(k->text) && !memcmp(b.data, k->text, b.len));
        agt_bytes_free(&b);
    }
    if (h->changed[AREA_DOC]) return;
    check_newest(m, "plan.md", last);
    check_newest(m, "notes/deep.md", last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hostile h;
    machine *m = hostile_begin(&h, data, size);
    if (hostile_use(m, &h, false, check) == AGT_CORRUPT && harmless(&h)) {
        agt_error err;
        agt_repair_options o = AGT_REPAIR_OPTIONS_INIT;
        machine_process *p = machine_process_new(m, "repair");
        o.sys = machine_sys(p);
        must(agt_repair(ROOT, &o, NULL, NULL, &err) == AGT_OK);
        machine_process_free(p);
        must(hostile_use(m, &h, false, check) == AGT_OK);
    }
    hostile_end(m, &h);
    return 0;
}
