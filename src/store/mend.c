/* mend: agt_repair. Looks at every part, makes anew what is damaged, and says what it found.
 *
 * (1) Under both locks, and nothing of the store is believed that is not checked.
 * (2) The least that helps: config.toml, a catalog or a segment of the trace is put back as it was.
 *     Where a part is damaged that the journal's header names by place, or something is lost for
 *     good, a new generation begins (agt__mend_rebuild).
 * (3) At the end the store is opened and published as by anybody: the recovery does what it does
 *     after a crash, and git gets what it lost. */
#include "mend.h"

/* ---- config.toml ---- */

/* A UUID behind `id = "`, so that a store keeps its own. */
static bool mend_find_id(const agt_buf *b, char out[40]) {
    static const char word[] = "id = \"";
    for (size_t at = 0; at + sizeof word - 1 + 37 <= b->len; at++) {
        const char *p = (const char *)b->data + at;
        if (memcmp(p, word, sizeof word - 1) != 0) continue;
        p += sizeof word - 1;
        bool good = p[36] == '"';
        for (int i = 0; good && i < 36; i++) {
            bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            good =
                dash ? p[i] == '-' : (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f');
        }
        if (good) return agt__copy_text(out, 40, p, 36);
    }
    return false;
}

static agt_status mend_config(agt_mend *m, agt_error *err) {
    agt_error mine;
    agt_buf text = agt__buf(&m->s->mem);
    agt_store *s = m->s;
    mine.status = AGT_OK;
    agt_status st = agt__config_read(s->sys, s->at, &s->mem, &s->config, &mine);
    /* the journal says which format it is; a file that names one that never was is damaged */
    bool damaged = st == AGT_NOT_FOUND || st == AGT_CORRUPT || st == AGT_LIMIT ||
                   (st == AGT_UNSUPPORTED && m->has_header);
    if (!damaged) return agt__answer(st, &mine, err);
    bool missing = st == AGT_NOT_FOUND;
    (void)agt__read_file(s->sys, s->at, "config.toml", 65536, &text, NULL);
    bool kept = mend_find_id(&text, s->config.id);
    agt__buf_free(&text);
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "config",
                      kept ? "repair makes it anew and keeps the store's id"
                           : "repair makes it anew; the store gets a new id",
                      missing ? ".agent-trace/config.toml is missing"
                              : ".agent-trace/config.toml is damaged")
        ->mendable = 1;
    if (m->dry) return AGT_OK;
    agt__store_default_config(s);
    st = kept ? AGT_OK : agt__uuid(s->sys, s->config.id, err);
    if (st == AGT_OK) st = agt__mend_keep(m, s->at, "config.toml", err);
    return st == AGT_OK ? agt__config_write(s->sys, s->at, &s->mem, &s->config, err) : st;
}

/* ---- git ---- */

static void mend_git_is_bad(agt_mend *m) {
    m->git_bad = true;
    m->packed_seq = 0;
    memset(&m->packed_head, 0, sizeof m->packed_head);
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "git",
                      "repair publishes all versions anew, as far as their bytes are left",
                      ".agent-trace/git is damaged or missing")
        ->mendable = 1;
}

/* Can all be read that a commit leads to? What libgit2 alone could tell counts as no. */
static agt_status mend_sound(agt_mend *m, const agt_oid *id, bool *sound, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    *sound = false;
    agt_status st = agt__git_sound(m->s->git, id, sound, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    *sound = *sound && st == AGT_OK;
    return AGT_OK;
}

/* The commit that the header, or any, has for event `seq` and the line that is right. */
static const agt_mend_commit *mend_commit_of(const agt_mend *m, uint64_t seq) {
    const agt_mend_commit *c = (const agt_mend_commit *)(const void *)m->commits.data;
    for (size_t i = 0; i < m->commits.len / sizeof *c; i++) {
        if (!c[i].last || c[i].last >= m->first_journal || c[i].last > m->last) continue;
        if (seq && c[i].last != seq) continue;
        const agt_mend_line *l =
            (const agt_mend_line *)(const void *)m->lines.data + agt__mend_at(m, c[i].last)->line;
        if (memcmp(l->hash, c[i].hash, 32) == 0) return &c[i];
    }
    return NULL;
}

static agt_status mend_main_sound(agt_mend *m, bool *there, bool *sound, agt_error *err) {
    agt_oid head;
    bool found = false;
    *sound = true;
    *there = false;
    agt_error mine;
    agt_status st = agt__git_head(m->s->git, &head, &found, &mine);
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    if (st == AGT_CORRUPT) *sound = false;
    *there = st == AGT_CORRUPT || found;
    return st == AGT_OK && found ? mend_sound(m, &head, sound, err) : AGT_OK;
}

/* First of all of git, for everything else reads it: a pack without its index looks like one that
 * is gone. A publisher that died leaves such a pack, too: then main is whole without it. */
static agt_status mend_git_indexes(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    char first[64], harmed[64];
    uint32_t packs = 0, damaged = 0;
    bool there = false, sound = false;
    if (!s->git || s->git_dir == AGT_FD_NONE) return AGT_OK;
    agt_status st =
        agt__git_reindex(s->git, AGT_REINDEX_LOOK | AGT_REINDEX_LONE, &packs, first, err);
    if (st != AGT_OK || !packs) return st;
    st = agt__git_reindex(s->git, AGT_REINDEX_LOOK, &damaged, harmed, err);
    if (st == AGT_OK && !damaged) st = mend_main_sound(m, &there, &sound, err);
    if (st != AGT_OK || sound) return st;
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "git_index", "repair makes it from its pack",
                      ".agent-trace/git/objects/pack/%s is %s", damaged ? harmed : first,
                      damaged ? "damaged" : "missing")
        ->mendable = 1;
    m->stops = m->dry; /* what else is wrong is seen behind it */
    return m->dry ? AGT_OK : agt__git_reindex(s->git, AGT_REINDEX_LONE, &packs, first, err);
}

/* What git got since the checkpoint is recorded still, so it is only to be published again: after a
 * recovery, which is what a store without the file `state` gets. */
static agt_status mend_git_recent(agt_mend *m, agt_error *err) {
    bool sound = true, there = false;
    agt_store *s = m->s;
    agt_status st = AGT_OK;
    if (s->git_dir != AGT_FD_NONE) st = mend_main_sound(m, &there, &sound, err);
    bool gone = !there && m->has_state && m->state.published_seq > 0;
    if (st != AGT_OK || (sound && !gone)) return st;
    agt__findings_add(
        m->found, AGT_SEVERITY_ERROR, "git_recent", "repair publishes them again from the journal",
        "versions that git got since the last checkpoint are damaged or missing there")
        ->mendable = 1;
    int rc = m->dry ? 0 : s->sys->remove(s->sys->ctx, s->at, "state");
    if (rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot remove .agent-trace/state");
}

/* No journal tells how far git is durable: as far as it is packed. */
static agt_status mend_git_packed(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    const agt_mend_commit *c = (const agt_mend_commit *)(const void *)m->commits.data;
    const agt_mend_commit *newest = mend_commit_of(m, 0);
    bool packed = false, there, sound;
    agt_status st = mend_main_sound(m, &there, &sound, err);
    if (st != AGT_OK) return st;
    if (!sound) {
        mend_git_is_bad(m);
        return AGT_OK;
    }
    for (size_t i = newest ? (size_t)(newest - c) : 0;
         newest && !packed && i < m->commits.len / sizeof *c; i++) {
        if (mend_commit_of(m, c[i].last) != &c[i]) continue;
        agt_error mine;
        st = agt__git_packed(s->git, &c[i].id, &packed, &mine);
        if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
        if (packed) newest = &c[i];
    }
    if (!packed) return AGT_OK;
    m->packed_seq = newest->last;
    m->packed_head = newest->id;
    return AGT_OK;
}

static bool mend_has_git(const agt_mend *m) {
    agt_stat there;
    const agt_store *s = m->s;
    return s->git_dir != AGT_FD_NONE &&
           (s->sys->stat(s->sys->ctx, s->git_dir, "refs", &there) == 0 ||
            s->sys->stat(s->sys->ctx, s->git_dir, "packed-refs", &there) == 0);
}

/* HEAD and config are not history: without them git alone can do nothing. */
static agt_status mend_git_files(agt_mend *m, agt_error *err) {
    agt_store *s = m->s;
    const char *name;
    agt_status st = AGT_OK;
    bool any = false;
    if (m->git_bad || s->git_dir == AGT_FD_NONE) return AGT_OK;
    while (st == AGT_OK && (name = agt__git_damaged_file(s->sys, s->git_dir, &s->mem)) != NULL) {
        agt__findings_add(m->found, AGT_SEVERITY_ERROR, "git_file",
                          "repair makes it anew, and keeps it in .agent-trace/damaged",
                          ".agent-trace/git/%s is damaged: no git command can read the repository",
                          name)
            ->mendable = 1;
        if (m->dry) return AGT_OK;
        st = agt__mend_move_away(m, s->git_dir, name, err);
        any = true;
    }
    return st == AGT_OK && any ? agt__git_init(s->sys, s->git_dir, &s->mem, err) : st;
}

static agt_status mend_git_check(agt_mend *m, agt_error *err) {
    const agt_journal_header *h = &m->s->journal.header;
    bool current = m->has_header && m->first_journal == h->next_seq, sound = false;
    if (current && h->packed_seq) {
        m->packed_seq = h->packed_seq;
        m->packed_head = h->packed_head;
    }
    if (!m->s->git) return AGT_OK;
    if (!current) return m->s->git_dir == AGT_FD_NONE ? AGT_OK : mend_git_packed(m, err);
    if (!h->packed_seq) return mend_git_recent(m, err);
    const agt_mend_commit *c = mend_commit_of(m, h->packed_seq);
    agt_status st = AGT_OK;
    if (c && memcmp(c->id.id, h->packed_head.id, 20) == 0)
        st = mend_sound(m, &h->packed_head, &sound, err);
    if (st != AGT_OK) return st;
    if (sound) return mend_git_recent(m, err);
    mend_git_is_bad(m);
    m->rebuild = true;
    return AGT_OK;
}

/* ---- unpublished/ ---- */

typedef struct mend_records_check {
    agt_mend *m;
    uint64_t next;
    agt_buf bytes;
} mend_records_check;

/* AGT_CORRUPT: a content is not there. */
static agt_status mend_check_record(void *ctx, const agt_record *r, agt_error *err) {
    mend_records_check *c = ctx;
    agt_store *s = c->m->s;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    const void *bytes;
    agt_oid id, want;
    uint64_t seq = r->first_seq;
    if (seq > c->next) return agt__fail(err, AGT_CORRUPT, "a record is missing");
    for (size_t at = 0; agt__record_next(r, &at, &entry); seq++) {
        agt_status st = agt__store_event(&entry, seq, &s->scratch, &e, err);
        if (st == AGT_OK && (!e.blob.data || (entry.flags & AGT_ENTRY_LOST))) continue;
        if (st == AGT_OK) st = agt__entry_bytes(s, seq, &entry, &c->bytes, &bytes, err);
        if (st != AGT_OK) return st == AGT_NOMEM ? st : AGT_CORRUPT;
        agt__git_id(s->cpu, "blob", bytes, (size_t)entry.content_len, id.id);
        if (!agt__unhex(e.blob.data, e.blob.len, want.id, 20) || memcmp(id.id, want.id, 20) != 0)
            return agt__fail(err, AGT_CORRUPT, "a content is damaged");
    }
    c->next = r->first_seq + r->entries;
    return AGT_OK;
}

static agt_status mend_records_are_there(agt_mend *m, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    const agt_journal_header *h = &m->s->journal.header;
    mend_records_check c = {m, m->packed_seq + 1, agt__buf(&m->s->mem)};
    if (!m->has_header || m->rebuild) return AGT_OK;
    agt_status st =
        m->s->unpublished == AGT_FD_NONE && c.next < h->next_seq
            ? AGT_CORRUPT
            : agt__each_record(m->s, &m->s->journal, c.next, mend_check_record, &c, &mine);
    agt__buf_free(&c.bytes);
    if (st == AGT_NOMEM) return agt__nomem(err);
    if (st == AGT_OK && c.next > m->last) return AGT_OK;
    m->rebuild = true;
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "unpublished",
                      "repair makes the records anew, as far as their bytes are left",
                      "records that git does not hold yet are missing or damaged: event %llu",
                      (unsigned long long)c.next)
        ->mendable = 1;
    return AGT_OK;
}

/* ---- all of it ---- */

static agt_status mend_catalog_check(agt_mend *m, agt_error *err) {
    agt_error mine;
    char name[32];
    agt_store *s = m->s;
    const agt_journal_header *h = &s->journal.header;
    agt_catalog c = agt__catalog(&s->mem);
    if (!m->has_header) return AGT_OK;
    mine.status = AGT_OK;
    agt_status st = agt__catalog_load(&c, s->sys, s->at, s->cpu, h->catalog, &mine);
    agt__catalog_free(&c);
    if (st != AGT_CORRUPT) return agt__answer(st, &mine, err);
    agt__catalog_name(h->catalog, name);
    agt__findings_add(m->found, AGT_SEVERITY_ERROR, "catalog",
                      "repair makes it anew from the events",
                      ".agent-trace/%s is missing or damaged", name)
        ->mendable = 1;
    return m->rebuild ? AGT_OK : agt__mend_write_catalog(m, h->catalog, h->next_seq, err);
}

static void mend_state(agt_mend *m) {
    agt_store *s = m->s;
    agt_shared *now = &m->state;
    agt_fd fd = s->sys->open(s->sys->ctx, s->at, "state", AGT_O_READ, 0);
    if (fd < 0) return;
    agt_status st = agt__shared_read(s->sys, fd, s->cpu, now, NULL);
    s->sys->close(s->sys->ctx, fd);
    /* A journal made anew may get the inode of the one that is gone: it is told from that by its
     * generation alone, so what the state knows of is never taken again. */
    if (st != AGT_OK) return;
    if (now->generation > m->generation && now->generation < INT64_MAX)
        m->generation = now->generation;
    m->state_generation = now->generation;
    bool ran = s->self.boot[0] && strcmp(now->boot, s->self.boot) == 0;
    if (!now->failed && (ran || now->end == now->synced)) m->state_next = now->next_seq;
    m->has_state = m->has_header && ran && now->generation == s->journal.header.generation &&
                   now->dev == s->journal.dev && now->ino == s->journal.ino;
}

/* The last event whose line must be in the trace: what is behind it the next to open the store
 * writes, because it finishes for a writer that died, or recovers. */
static uint64_t mend_traced(const agt_mend *m) {
    bool counts = m->has_state && m->state.applied_seq >= m->first_journal &&
                  m->state.applied_seq <= m->last + 1;
    return counts ? m->state.applied_seq - 1 : m->first_journal - 1;
}

static agt_status mend_all(agt_mend *m, agt_error *err) {
    agt_status st = mend_git_indexes(m, err);
    if (st != AGT_OK || m->stops) return st;
    st = agt__mend_evidence(m, err);
    if (st == AGT_OK) st = mend_config(m, err);
    mend_state(m);
    if (st == AGT_OK) st = agt__mend_chain(m, err);
    if (st == AGT_OK) st = mend_git_check(m, err);
    if (st == AGT_OK) st = mend_git_files(m, err);
    if (st == AGT_OK) st = mend_records_are_there(m, err);
    if (st == AGT_OK && !m->s->git && m->rebuild && mend_has_git(m))
        st = agt__fail(err, AGT_UNSUPPORTED,
                       "the store has versions in git, and this build has none; repair it with "
                       "one that has");
    if (st == AGT_OK) st = mend_catalog_check(m, err);
    if (st == AGT_OK && !m->rebuild) st = agt__mend_trace(m, mend_traced(m), err);
    if (st == AGT_OK && !m->rebuild && !m->git_bad) st = agt__mend_losses(m, err);
    if (st == AGT_OK) st = agt__mend_rebuild(m, err);
    if (st == AGT_OK) agt__mend_tell_more_lost(m);
    return st;
}

/* A store that a newer program may have made is nobody's to mend who does not know its format. */
static agt_status mend_not_newer(agt_store *s, agt_error *err) {
    agt_error mine;
    agt_status st = agt__config_read(s->sys, s->at, &s->mem, &s->config, &mine);
    if (st == AGT_IO || st == AGT_NOMEM) return agt__answer(st, &mine, err);
    if (st != AGT_UNSUPPORTED || s->config.format <= AGT_STORE_FORMAT) return AGT_OK;
    return agt__fail(err, st,
                     "the store has format %lld, this library knows %d; repair it with a newer "
                     "agent_trace, or write 'format = %d' into .agent-trace/config.toml if none "
                     "ever used it",
                     (long long)s->config.format, AGT_STORE_FORMAT, AGT_STORE_FORMAT);
}

/* First of all what stands in the place of a part. */
static agt_status mend_places(agt_mend *m, agt_store *s, agt_error *err) {
    uint32_t links;
    m->s = s;
    if (!agt__store_find_misplaced(s, m->found, &links)) return AGT_OK;
    m->stops = m->dry || links;
    return m->dry ? AGT_OK : agt__mend_places(m, err);
}

/* What is missing is made; in a dry run nothing is. */
static agt_status mend_open(agt_mend *m, const char *root, const agt_repair_options *o,
                            agt_store **out, agt_error *err) {
    agt_open_options open = AGT_OPEN_OPTIONS_INIT;
    agt_store *s;
    bool there = false;
    open.timeout_ms = o->timeout_ms;
    open.allocator = o->allocator;
    open.sys = o->sys;
    *out = NULL;
    /* first without making anything: it may be no store at all */
    open.read_only = 1;
    agt_status st = agt__store_open_parts(&s, root, &open, err);
    if (st != AGT_OK) return st;
    agt_error mine;
    mine.status = AGT_OK;
    st = agt__store_not_old(s, &mine);
    if (st == AGT_OK) st = agt__store_there(s->sys, s->at, s->root_path, &there, &mine);
    if (st == AGT_OK && !there)
        st = agt__fail(&mine, AGT_NOT_FOUND,
                       "no agent-trace store in %.200s; make one with 'agent-trace init'", root);
    if (st == AGT_CORRUPT) st = AGT_OK; /* that is what we are for */
    if (st == AGT_OK) st = mend_not_newer(s, &mine);
    if (st == AGT_OK) st = mend_places(m, s, &mine);
    if (st != AGT_OK || m->dry || m->stops) {
        if (st == AGT_OK)
            *out = s;
        else
            agt__store_close_parts(s);
        return agt__answer(st, &mine, err);
    }
    agt__store_close_parts(s);
    open.read_only = 0;
    return agt__store_open_parts(out, root, &open, err);
}

/* May the lock's file not be opened? Then the store is mounted read-only, or somebody else's. */
static bool mend_is_locked_out(const agt_store *s) {
    agt_fd fd = s->sys->open(s->sys->ctx, s->locks, s->publish_lock.name,
                             AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    return fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_ACCESS;
}

static agt_status mend_locked(agt_mend *m, int32_t timeout_ms, agt_error *err) {
    agt_store *s = m->s;
    if (s->locks == AGT_FD_NONE) return mend_all(m, err); /* a dry run */
    if (m->dry && mend_is_locked_out(s)) {
        (void)agt__findings_add(m->found, AGT_SEVERITY_NOTE, "locks",
                                "if anything is found, look again while nobody writes",
                                "the locks may not be opened here: what is just being written may "
                                "look like damage");
        return mend_all(m, err);
    }
    agt_status st = agt__flock_take(&s->publish_lock, timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__flock_take(&s->lock, timeout_ms, err);
    if (st == AGT_OK) {
        st = mend_all(m, err);
        agt__flock_drop(&s->lock);
    }
    agt__flock_drop(&s->publish_lock);
    return st;
}

/* Documents that are not their newest version: told, and left. */
static agt_status mend_documents(agt_findings *found, agt_store *s, agt_error *err) {
    agt_list_options o = AGT_LIST_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_cursor *c;
    char shown[200];
    o.look = 1;
    agt_status st = agt_list(s, &o, &c, err);
    if (st != AGT_OK) return st;
    while ((st = agt_list_next(c, &d, err)) == AGT_OK)
        if (d.modified_outside)
            (void)agt__findings_add(
                found, AGT_SEVERITY_NOTE, "document",
                "'agent-trace diff PATH' shows what is different, 'agent-trace restore PATH' puts "
                "a version back",
                "%s is not version %u: somebody edited or removed it",
                agt__show_path(shown, sizeof shown, d.path, strlen(d.path)), (unsigned)d.version);
    agt_cursor_close(c);
    return st == AGT_END ? AGT_OK : st;
}

/* (3) */
static agt_status mend_finish(agt_mend *m, const char *root, const agt_repair_options *o,
                              bool publish, agt_error *err) {
    agt_open_options open = AGT_OPEN_OPTIONS_INIT;
    agt_error mine;
    agt_store *s;
    open.timeout_ms = o->timeout_ms;
    open.allocator = o->allocator;
    open.sys = o->sys;
    agt_status st = agt_open(&s, root, &open, err);
    if (st != AGT_OK) return st;
    mine.message[0] = 0;
    agt_status published = publish && s->git ? agt_publish(s, &mine) : AGT_OK;
    if (published != AGT_OK)
        (void)agt__findings_add(m->found, AGT_SEVERITY_WARNING, "publish",
                                "run 'agent-trace git log' to try again",
                                "git could not be brought up to date: %.300s", mine.message);
    st = mend_documents(m->found, s, err);
    (void)agt_close(s, NULL);
    return st;
}

static void mend_count(const agt_mend *m) {
    uint32_t mendable, mended;
    agt__findings_count(m->found, &m->out->found, &mendable, &mended);
    m->out->mended = mendable;
    m->out->left = m->out->found - mendable;
}

static agt_status mend_run(agt_mend *m, const char *root, const agt_repair_options *o,
                           agt_error *err) {
    agt_store *s;
    m->dry = o->dry_run != 0;
    agt_status st = mend_open(m, root, o, &s, err);
    if (st != AGT_OK) return st;
    m->s = s;
    if (!m->stops) st = mend_locked(m, o->timeout_ms, err);
    agt__mend_free(m);
    agt__store_close_parts(s);
    mend_count(m);
    bool anything = m->out->mended > 0 || m->rebuild;
    if (st == AGT_OK && !m->dry) {
        agt__findings_mended(m->found);
        if (!m->stops) st = mend_finish(m, root, o, anything, err);
        mend_count(m);
    }
    if (st == AGT_OK && agt__findings_failed(m->found)) st = agt__nomem(err);
    return st;
}

AGENT_TRACE_API agt_status agt_repair(const char *root, const agt_repair_options *opts,
                                      agt_repair_result *out, agt_findings **findings,
                                      agt_error *err) {
    agt_repair_options o;
    agt_repair_result result;
    agt_mend m;
    agt_error mine;
    AGENT_TRACE_ASSERT(root);
    mine.status = AGT_OK;
    if (findings) *findings = NULL;
    memset(&result, 0, sizeof result);
    agt_status st = agt__options(&o, sizeof o, opts, "agt_repair_options", err);
    if (st == AGT_OK) st = agt__options(&result, sizeof result, out, "agt_repair_result", err);
    if (st != AGT_OK) return st;
    if (o.dry_run > 1 || o.reserved)
        return agt__fail(err, AGT_INVALID, "a repair option has a value that is none");
    memset(&result, 0, sizeof result);
    memset(&m, 0, sizeof m);
    agt_mem mem = agt__mem(o.allocator);
    m.out = &result;
    st = agt__findings_new(&m.found, &mem, &mine);
    if (st == AGT_OK) st = mend_run(&m, root, &o, &mine);
    if (st == AGT_OK && out)
        memcpy((char *)out + sizeof out->size, (char *)&result + sizeof result.size,
               (out->size < sizeof result ? out->size : sizeof result) - sizeof result.size);
    if (st == AGT_OK && findings)
        *findings = m.found;
    else
        agt_findings_close(m.found);
    return agt__answer(st, &mine, err);
}
