/* mend_contents: a version's bytes by their id, from wherever they are left; and the catalog, which
 * is what the events say, one after another.
 *
 * (1) Where an event is lost, nobody knows what it did. A type that was given before it may have
 *     been taken back: such a document becomes `reference`, which agents cannot change, and a
 *     grant that was given before it is over. */
#include "mend.h"

#define MEND_TOLD 100u /* lost versions that are told one by one */

static bool mend_is(agt_mend *m, const agt_event *e, const void *bytes, size_t n) {
    unsigned char got[32], want[32];
    if (e->blob.data) {
        agt__git_id(m->s->cpu, "blob", bytes, n, got);
        return agt__unhex(e->blob.data, e->blob.len, want, 20) && memcmp(got, want, 20) == 0;
    }
    agt__sha256(m->s->cpu, bytes, n, got);
    return agt__unhex(e->rejected.data, e->rejected.len, want, 32) && memcmp(got, want, 32) == 0;
}

/* Statuses that say "not here": the search goes on. What could not be read is no loss. */
static agt_status mend_elsewhere(agt_status st, const agt_error *mine, agt_error *err) {
    bool failed = st == AGT_NOMEM || st == AGT_IO;
    if (failed && err) *err = *mine;
    return failed ? st : AGT_OK;
}

static agt_status mend_in_records(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                                  agt_error *err) {
    const agt_mend_content *c = (const agt_mend_content *)(const void *)m->contents.data;
    size_t count = m->contents.len / sizeof *c;
    for (size_t i = agt__mend_first(&m->contents, sizeof *c, e->seq);
         !*found && i < count && c[i].seq == e->seq; i++) {
        agt_fd fd = ((const agt_fd *)(const void *)m->sources.data)[c[i].source];
        out->len = 0;
        if (!agt__buf_reserve(out, (size_t)c[i].len + 1)) return agt__nomem(err);
        int64_t n = agt__read_all(m->s->sys, fd, out->data, (size_t)c[i].len, c[i].at);
        if (n < 0) return agt__fail_io(err, n, "cannot read a record");
        out->len = (size_t)n;
        *found = (uint64_t)n == c[i].len && mend_is(m, e, out->data, out->len);
    }
    return AGT_OK;
}

static agt_status mend_in_file(agt_mend *m, const agt_event *e, agt_fd dir, const char *name,
                               agt_buf *out, bool *found, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    out->len = 0;
    if (dir == AGT_FD_NONE) return AGT_OK;
    agt_status st = agt__read_file(m->s->sys, dir, name, (size_t)AGT_MAX_DOCUMENT, out, &mine);
    *found = st == AGT_OK && mend_is(m, e, out->data, out->len);
    return mend_elsewhere(st, &mine, err);
}

AGT_PRIVATE agt_status agt__mend_side(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                                      agt_error *err) {
    char name[40];
    agt__side_name(e->seq, name);
    *found = false;
    return mend_in_file(m, e, m->s->unpublished, name, out, found, err);
}

static agt_status mend_in_git(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                              agt_error *err) {
    agt_oid id;
    agt_error mine;
    mine.status = AGT_OK;
    out->len = 0;
    if (!m->s->git || m->s->git_dir == AGT_FD_NONE || !e->blob.data ||
        !agt__unhex(e->blob.data, e->blob.len, id.id, 20))
        return AGT_OK;
    agt_status st = agt__git_read(m->s->git, &id, out, &mine);
    *found = st == AGT_OK && mend_is(m, e, out->data, out->len);
    return mend_elsewhere(st, &mine, err);
}

/* Does a failure say nothing about what is there? */
static bool mend_says_nothing(int64_t rc) {
    return AGT_SYS_CLASS(rc) == AGT_SYS_IO || AGT_SYS_CLASS(rc) == AGT_SYS_FILES;
}

/* A document that may not be read, or is none, is not there for us. */
static bool mend_readable(agt_mend *m, const char *path, size_t len) {
    const char *leaf;
    const agt_sys *sys = m->s->sys;
    agt_fd folder = agt__open_parent(m->s, path, len, false, &leaf);
    if (folder < 0) return mend_says_nothing(folder);
    agt_fd fd = sys->open(sys->ctx, folder, leaf, AGT_O_READ, 0);
    sys->close(sys->ctx, folder);
    if (fd < 0) return mend_says_nothing(fd); /* let the look say what fails */
    sys->close(sys->ctx, fd);
    return true;
}

static agt_status mend_on_disk(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                               agt_error *err) {
    agt_look look;
    agt_error mine;
    char name[40], path[AGT_MAX_PATH + 1];
    mine.status = AGT_OK;
    (void)agt__copy_text(path, sizeof path, e->path.data, e->path.len);
    if (mend_readable(m, path, e->path.len)) {
        agt_status st = agt__look(m->s, path, e->path.len, out, &look, &mine);
        *found = st == AGT_OK && look.on_disk && mend_is(m, e, out->data, out->len);
        st = mend_elsewhere(st, &mine, err);
        if (*found || st != AGT_OK) return st;
    }
    agt__seq_name(e->seq, ".new", name);
    return mend_in_file(m, e, m->s->tmp, name, out, found, err);
}

AGT_PRIVATE agt_status agt__mend_content(agt_mend *m, const agt_event *e, agt_buf *out, bool *found,
                                         agt_error *err) {
    char name[65];
    *found = false;
    agt_status st = mend_in_records(m, e, out, found, err);
    if (st == AGT_OK && !*found) st = agt__mend_side(m, e, out, found, err);
    if (st == AGT_OK && !*found && e->blob.data) st = mend_in_git(m, e, out, found, err);
    if (st == AGT_OK && !*found && e->blob.data) st = mend_on_disk(m, e, out, found, err);
    if (st != AGT_OK || *found || !e->rejected.data) return st;
    if (!agt__copy_text(name, sizeof name, e->rejected.data, e->rejected.len)) return AGT_OK;
    return mend_in_file(m, e, m->s->rejected, name, out, found, err);
}

/* ---- what nothing has ---- */

AGT_PRIVATE void agt__mend_tell_lost(agt_mend *m, const agt_event *e, bool known) {
    char shown[200];
    if (m->out->lost_versions++ >= MEND_TOLD) return;
    (void)agt__findings_add(
        m->found, known ? AGT_SEVERITY_NOTE : AGT_SEVERITY_ERROR, "lost_version",
        "write them again if there is a copy: once git has them this version reads again, too",
        "the bytes of %s, version %u, are lost%s",
        agt__show_path(shown, sizeof shown, e->path.data, e->path.len), (unsigned)e->version,
        known ? ", as an earlier repair told" : "");
}

AGT_PRIVATE void agt__mend_tell_more_lost(agt_mend *m) {
    uint64_t more = m->out->lost_versions > MEND_TOLD ? m->out->lost_versions - MEND_TOLD : 0;
    if (more)
        (void)agt__findings_add(m->found, AGT_SEVERITY_NOTE, "lost_version", NULL,
                                "the bytes of %llu more versions are lost",
                                (unsigned long long)more);
}

AGT_PRIVATE agt_status agt__mend_losses(agt_mend *m, agt_error *err) {
    agt_oid id;
    agt_buf bytes = agt__buf(&m->s->mem);
    agt_status st = AGT_OK;
    bool git = m->s->git && m->s->git_dir != AGT_FD_NONE;
    for (uint64_t seq = 1; st == AGT_OK && seq <= m->last; seq++) {
        agt_event e = AGT_EVENT_INIT;
        bool found = false;
        st = agt__mend_event(m, seq, &e, err);
        if (st != AGT_OK || !e.version || !e.blob.data) continue;
        if (!agt__unhex(e.blob.data, e.blob.len, id.id, 20)) continue;
        if (git) st = agt__git_has(m->s->git, &id, &found, err);
        bool recorded = seq > m->packed_seq;
        if (st == AGT_OK && !found && recorded) st = agt__mend_content(m, &e, &bytes, &found, err);
        if (st == AGT_OK && !found && (git || recorded)) agt__mend_tell_lost(m, &e, true);
    }
    agt__buf_free(&bytes);
    return st;
}

/* ---- the catalog ---- */

/* (1) for what was known when an event was lost. */
static void mend_doubt(agt_mend *m, agt_catalog *c, bool tell) {
    char shown[200];
    for (size_t i = 0; i < c->slot_count; i++) {
        agt_row *row = c->slots[i];
        if (!row || !row->version || row->moved) continue;
        if (!tell && row->type != AGT_TYPE_REFERENCE) row->pending = 1;
        if (!tell || !row->pending) continue;
        row->pending = 0;
        row->type = AGT_TYPE_REFERENCE;
        m->out->lost_types++;
        agt__findings_add(m->found, AGT_SEVERITY_WARNING, "type_lost",
                          "give it its type again with 'agent-trace reclassify'",
                          "%s is `reference` now: its type may have been changed by a lost event",
                          agt__show_path(shown, sizeof shown, row->path, row->path_len))
            ->mendable = 1;
    }
    if (!tell) c->grant_count = 0;
}

static agt_status mend_sizes(agt_mend *m, agt_catalog *c, agt_error *err) {
    agt_buf bytes = agt__buf(&m->s->mem);
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < c->slot_count; i++) {
        agt_row *row = c->slots[i];
        agt_event e = AGT_EVENT_INIT;
        bool found = false;
        if (!row || !row->exists) continue;
        st = agt__mend_event(m, row->last_seq, &e, err);
        if (st == AGT_OK) st = agt__mend_content(m, &e, &bytes, &found, err);
        row->size = found ? bytes.len : 0;
    }
    agt__buf_free(&bytes);
    return st;
}

AGT_PRIVATE agt_status agt__mend_catalog(agt_mend *m, uint64_t seq, agt_catalog *out,
                                         agt_error *err) {
    agt_status st = AGT_OK;
    *out = agt__catalog(&m->s->mem);
    for (uint64_t i = 1; st == AGT_OK && i <= seq; i++) {
        agt_event e = AGT_EVENT_INIT;
        st = agt__mend_event(m, i, &e, err);
        if (st != AGT_OK) break;
        if (agt__mend_at(m, i)->lost) mend_doubt(m, out, false);
        if (!agt__catalog_touch_event(out, &e)) st = agt__nomem(err);
        if (st != AGT_OK) break;
        agt__catalog_event(out, &e, 0);
        agt_row *row = e.path.data ? agt__catalog_touched(out, e.path.data, e.path.len) : NULL;
        if (row && (e.version || agt__text_is(e.action, "reclassify"))) row->pending = 0;
    }
    if (st == AGT_OK) mend_doubt(m, out, true);
    if (st == AGT_OK) st = mend_sizes(m, out, err);
    if (st != AGT_OK) agt__catalog_free(out);
    return st;
}
