/* pending: changes that are recorded and not in place yet. Their writer is at it or died, something
 * stands in the way, or the handle may not write. The file then holds an older version, which is
 * nobody's edit: reads answer with the journal's bytes, and a change goes on from the newest
 * version. */
#include "store.h"

AGT_PRIVATE agt_waiting agt__waiting(agt_store *s, bool locked) {
    agt_shared now;
    const agt_shared *sh = &s->shared;
    agt_waiting w = {s->journal.header.next_seq, UINT64_MAX, false};
    if (!locked) {
        if (!agt__store_peek(s, &now)) return w;
        sh = &now;
    }
    w.known = true;
    w.from = sh->applied < sh->end ? sh->applied_seq : sh->next_seq;
    if (!s->read_only) w.to = sh->next_seq;
    return w;
}

typedef struct pending_look {
    agt_store *s;
    const agt_row *row;
    const agt_look *look;
    bool known;
} pending_look;

static agt_status pending_version(void *ctx, const agt_record *r, agt_error *err) {
    pending_look *p = ctx;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    agt_oid blob;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &entry) && seq < p->row->last_seq; seq++) {
        agt_status st = agt__store_event(&entry, seq, &p->s->scratch, &e, err);
        if (st != AGT_OK) return st;
        if (!e.version || e.path.len != p->row->path_len ||
            memcmp(e.path.data, p->row->path, e.path.len) != 0)
            continue;
        bool exists = e.blob.data && agt__unhex(e.blob.data, e.blob.len, blob.id, 20);
        if (agt__look_is(p->look, exists, &blob)) p->known = true;
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__look_pending(agt_store *s, const agt_waiting *waiting,
                                         const agt_row *row, const agt_look *look, bool *pending,
                                         agt_error *err) {
    agt_row base;
    pending_look p = {s, row, look, false};
    *pending = false;
    if (row->last_seq < s->journal.header.next_seq || row->last_seq < waiting->from) return AGT_OK;
    if (row->ino) return AGT_OK;       /* this handle saw it in place */
    if (row->untracked) return AGT_OK; /* nothing is to be put there */
    bool had = agt__catalog_base(&s->catalog, row->path, row->path_len, &base) && base.exists;
    p.known = agt__look_is(look, had, &base.blob);
    agt_status st = AGT_OK;
    if (!p.known)
        st = agt__each_record(s, &s->journal, s->journal.header.next_seq, pending_version, &p, err);
    *pending = p.known;
    return st;
}
