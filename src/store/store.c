/* store: opening, closing, and the way in and out of the store lock.
 *
 * (1) Nothing is decided on an old view: every lock compares the journal's header and the shared
 *     state with what the handle has seen, and reads what is new.
 * (2) The shared state is a shortcut. It counts only within one boot and for one journal file;
 *     where it does not count, recovery reads everything from the journal.
 * (3) A valid record behind the known end was written by somebody who died: it is synced, then
 *     applied, before anything else happens. */
#include "store.h"

#define STORE_RETRIES 100
#define STORE_READ    (64u * 1024) /* of journal, at once */

/* ---- the way in ---- */

AGT_PRIVATE agt_status agt__store_enter(agt_store *s, agt_error *err) {
    AGENT_TRACE_ASSERT(s != NULL);
    if (s->sys->pid(s->sys->ctx) != s->self.pid)
        return agt__fail(err, AGT_INVALID,
                         "the store handle was opened before a fork; open the store again in the "
                         "child");
    s->sys->mutex_lock(s->sys->ctx, s->mutex);
    return AGT_OK;
}

AGT_PRIVATE void agt__store_leave(agt_store *s) {
    s->sys->mutex_unlock(s->sys->ctx, s->mutex);
}

AGT_PRIVATE void agt__store_save(agt_store *s) {
    (void)agt__shared_write(s->sys, s->state_fd, s->cpu, &s->shared, NULL);
}

AGT_PRIVATE agt_status agt__store_reload(agt_store *s, agt_error *err) {
    agt_status st = agt__journal_reload(&s->journal, err);
    if (st == AGT_OK)
        st = agt__catalog_load(&s->catalog, s->sys, s->at, s->cpu, s->journal.header.catalog, err);
    if (st != AGT_OK) return st;
    s->seen.pos = AGT_JOURNAL_START;
    s->seen.next_seq = s->journal.header.next_seq;
    s->seen.chain = s->journal.header.crc;
    s->synced_docs_seq = s->seen.next_seq - 1;
    s->reload = false;
    return AGT_OK;
}

static bool store_hex(agt_text t, size_t len) {
    bool good = t.len == len;
    for (size_t i = 0; good && i < len; i++)
        good = (t.data[i] >= '0' && t.data[i] <= '9') || (t.data[i] >= 'a' && t.data[i] <= 'f');
    return good;
}

static bool store_rename(const agt_event *e) {
    return e->version && e->blob.data && agt__path_held(e->from.data, e->from.len) &&
           !agt__text_eq(e->from, e->path);
}

AGT_PRIVATE agt_status agt__store_event(const agt_entry *entry, uint64_t seq, agt_buf *scratch,
                                        agt_event *e, agt_error *err) {
    agt_status st = agt__event_parse(entry->line, entry->line_len, scratch, e, err);
    if (st != AGT_OK) return st;
    bool good = e->seq == seq && (!e->path.data || agt__path_held(e->path.data, e->path.len)) &&
                (!e->blob.data || store_hex(e->blob, 40)) &&
                (!e->rejected.data || store_hex(e->rejected, 64)) &&
                (!e->from.data || store_rename(e)) && agt__actor_valid(e->actor.data, e->actor.len);
    if (e->version) good = good && e->path.data && e->doc.len == 36;
    if (e->version && e->blob.data) good = good && (entry->flags & AGT_ENTRY_CONTENT);
    if (good) return AGT_OK;
    return agt__fail(err, AGT_CORRUPT,
                     "the record of event %llu says what no agent_trace writes; the store is "
                     "damaged, or was made to harm",
                     (unsigned long long)seq);
}

AGT_PRIVATE agt_status agt__store_record_rows(agt_store *s, const agt_record *r, agt_error *err) {
    agt_entry e;
    agt_event ev = AGT_EVENT_INIT;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; agt__record_next(r, &at, &e); seq++) {
        agt_status st = agt__store_event(&e, seq, &s->scratch, &ev, err);
        if (st != AGT_OK) return st;
        if (!agt__catalog_touch_event(&s->catalog, &ev)) return agt__nomem(err);
        agt__catalog_event(&s->catalog, &ev, e.content_len);
    }
    return AGT_OK;
}

static void store_saw(agt_store *s, const agt_record *r) {
    s->seen.pos += r->length;
    s->seen.next_seq += r->entries;
    s->seen.chain = r->crc;
}

/* Many records with one read. What is left, a record that is longer or does not check, is the
 * caller's. */
static agt_status store_replay_many(agt_store *s, uint64_t end, agt_error *err) {
    agt_record r;
    uint64_t capacity = s->journal.header.capacity;
    if (end > capacity) end = capacity;
    if (s->seen.pos >= end) return AGT_OK;
    uint64_t left = end - s->seen.pos;
    size_t n = left < STORE_READ ? (size_t)left : STORE_READ, at = 0;
    s->record.len = 0;
    if (!agt__buf_reserve(&s->record, n)) return agt__nomem(err);
    int64_t got = agt__read_all(s->sys, s->journal.fd, s->record.data, n, s->seen.pos);
    if (got < 0) return agt__fail_io(err, got, "cannot read a journal record");
    for (; agt__record_parse(s->record.data + at, (size_t)got - at, s->cpu,
                             s->journal.header.generation, s->seen.next_seq, s->seen.chain,
                             &r) == AGT_OK;
         at += r.length) {
        agt_status st = agt__store_record_rows(s, &r, err);
        if (st != AGT_OK) return st;
        store_saw(s, &r);
    }
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_replay(agt_store *s, uint64_t end, agt_error *err) {
    agt_record r;
    while (s->seen.pos < end) {
        /* a reader who does not know the end mostly finds nothing: a small read says so */
        agt_status st = end == UINT64_MAX ? AGT_OK : store_replay_many(s, end, err);
        if (st != AGT_OK || s->seen.pos >= end) return st;
        st = agt__record_read(s->sys, s->journal.fd, s->seen.pos, s->journal.header.capacity,
                              s->cpu, s->journal.header.generation, s->seen.next_seq, s->seen.chain,
                              &s->record, &r, err);
        if (st == AGT_OK) st = agt__store_record_rows(s, &r, err);
        if (st != AGT_OK) return st;
        store_saw(s, &r);
        if (end == UINT64_MAX && (st = store_replay_many(s, end, err)) != AGT_OK) return st;
    }
    return AGT_OK;
}

static void store_trace_end(agt_store *s, const agt_record *r, agt_trace_end *end) {
    agt_entry e;
    end->segment = r->segment;
    end->offset = r->trace_offset;
    for (size_t at = 0; agt__record_next(r, &at, &e);) {
        end->offset += e.line_len;
        agt__sha256(s->cpu, e.line, e.line_len, end->prev);
    }
}

/* (3): takes in valid records behind the known end. `more` says that there were any. */
static agt_status store_adopt(agt_store *s, bool *more, agt_error *err) {
    agt_record r;
    agt_shared *sh = &s->shared;
    *more = false;
    for (;;) {
        agt_status st = agt__record_read(s->sys, s->journal.fd, sh->end, s->journal.header.capacity,
                                         s->cpu, s->journal.header.generation, sh->next_seq,
                                         sh->chain, &s->record, &r, err);
        if (st == AGT_END) break;
        if (st != AGT_OK) return st;
        if (!*more) {
            int rc = s->sys->sync(s->sys->ctx, s->journal.fd);
            if (rc < 0) {
                sh->failed = 1;
                agt__store_save(s);
                return agt__fail_io(err, rc, "cannot sync .agent-trace/journal");
            }
            *more = true;
        }
        sh->end += r.length;
        sh->next_seq += r.entries;
        sh->chain = r.crc;
        store_trace_end(s, &r, &sh->trace);
    }
    if (*more) sh->synced = sh->end;
    return agt__store_replay(s, sh->end, err);
}

static agt_status store_finish_others(agt_store *s, agt_error *err) {
    bool more, pending = false;
    agt_shared *sh = &s->shared;
    agt_status st = store_adopt(s, &more, err);
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    if (s->opening && sh->refused_waits) {
        agt__keep_rejected_again(s);
        agt__store_save(s);
    }
    if (sh->applied >= sh->end) return AGT_OK;
    st = agt__replay_records(s, sh->applied, AGT_REPLAY_LEFT, &pending, err);
    if (st == AGT_OK && !pending) {
        sh->applied = sh->end;
        sh->applied_seq = sh->next_seq;
        sh->applied_chain = sh->chain;
    }
    if (st == AGT_OK) agt__store_save(s);
    return st;
}

static bool store_state_counts(const agt_store *s, const agt_shared *now) {
    if (!s->self.boot[0] && !s->trusts_state) return false;
    return strcmp(now->boot, s->self.boot) == 0;
}

AGT_PRIVATE bool agt__store_peek(const agt_store *s, agt_shared *out) {
    return s->state_fd != AGT_FD_NONE &&
           agt__shared_read(s->sys, s->state_fd, s->cpu, out, NULL) == AGT_OK &&
           out->generation == s->journal.header.generation && store_state_counts(s, out);
}

static agt_status store_reopen_journal(agt_store *s, agt_error *err) {
    agt_journal fresh;
    agt_status st = agt__journal_open(&fresh, s->sys, s->at, s->cpu, !s->read_only, err);
    if (st == AGT_NOT_FOUND)
        return agt__fail(err, AGT_CORRUPT,
                         ".agent-trace/journal is missing; run 'agent-trace repair'");
    if (st != AGT_OK) return st;
    agt__journal_close(&s->journal);
    s->journal = fresh;
    s->reload = true;
    return AGT_OK;
}

/* (1) */
static agt_status store_refresh(agt_store *s, agt_error *err) {
    agt_shared now;
    agt_stat st_at;
    agt_status st = agt__shared_read(s->sys, s->state_fd, s->cpu, &now, err);
    if (st == AGT_END || (st == AGT_OK && !store_state_counts(s, &now)))
        return agt__recover(s, err);
    if (st != AGT_OK) return st;
    int rc = s->sys->stat(s->sys->ctx, s->at, "journal", &st_at);
    if (rc < 0 || st_at.ino != s->journal.ino || st_at.dev != s->journal.dev) {
        if ((st = store_reopen_journal(s, err)) != AGT_OK) return st;
    }
    if (now.dev != s->journal.dev || now.ino != s->journal.ino) return agt__recover(s, err);
    if (now.failed && s->opening) return agt__recover(s, err);
    if (now.failed)
        return agt__fail(err, AGT_IO,
                         "an earlier sync to disk failed, so the store is read-only; close and "
                         "open it again to recover");
    if (!agt__journal_current(&s->journal) || now.generation != s->journal.header.generation) {
        if ((st = agt__journal_reload(&s->journal, err)) != AGT_OK) return st;
        if (now.generation != s->journal.header.generation) return agt__recover(s, err);
        s->reload = true;
    }
    if (s->reload || s->seen.pos > now.end)
        if ((st = agt__store_reload(s, err)) != AGT_OK) return st;
    st = agt__store_replay(s, now.end, err);
    if (st == AGT_OK && (s->seen.pos != now.end || s->seen.chain != now.chain)) st = AGT_END;
    if (st == AGT_END) return agt__recover(s, err); /* the state lies */
    if (st != AGT_OK) {
        s->reload = true;
        return st;
    }
    s->shared = now;
    st = store_finish_others(s, err);
    if (st != AGT_OK || !s->opening) return st;
    /* lines that are gone are written again, as far as the journal has them */
    return agt__trace_reaches(s, &s->shared.trace, NULL) == AGT_CORRUPT ? agt__recover(s, err) : st;
}

AGT_PRIVATE agt_status agt__store_refuse(const agt_store *s, agt_error *err) {
    if (!s->stands_on) return agt__fail(err, AGT_INVALID, "the store was opened read-only");
    return agt__fail(err, AGT_UNSUPPORTED,
                     "this store was made by agent-trace 0.1.0 and can only be read; run "
                     "'agent-trace upgrade' to write to it");
}

AGT_PRIVATE agt_status agt__store_lock(agt_store *s, agt_error *err) {
    agt_status st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    if (s->read_only) {
        agt__store_leave(s);
        return agt__store_refuse(s, err);
    }
    agt_error mine;
    mine.status = AGT_OK;
    st = agt__flock_take(&s->lock, s->timeout_ms, &mine);
    if (st == AGT_OK) {
        st = store_refresh(s, &mine);
        if (st != AGT_OK) agt__flock_drop(&s->lock);
    }
    if (st != AGT_OK) agt__store_leave(s);
    return agt__answer(st, &mine, err);
}

AGT_PRIVATE void agt__store_unlock(agt_store *s) {
    agt__flock_drop(&s->lock);
    agt__store_leave(s);
}

/* A reader's refresh: no lock. Header, records, header again. */
static agt_status store_look_again(agt_store *s, agt_error *err) {
    agt_status st = AGT_OK;
    for (int i = 0; i < STORE_RETRIES; i++) {
        agt_shared before; /* what there must be at least, if all of it is read anew */
        bool known = false;
        if (s->reload || !agt__journal_current(&s->journal)) {
            st = store_reopen_journal(s, err);
            if (st == AGT_OK) st = agt__store_reload(s, err);
            if (st == AGT_CORRUPT && !agt__journal_current(&s->journal)) continue; /* torn? */
            if (st != AGT_OK) return st;
            known = s->state_fd != AGT_FD_NONE &&
                    agt__shared_read(s->sys, s->state_fd, s->cpu, &before, NULL) == AGT_OK;
        }
        st = agt__store_replay(s, UINT64_MAX, err);
        if (st == AGT_NOMEM || st == AGT_IO) {
            s->reload = true;
            return st;
        }
        if (agt__journal_current(&s->journal)) {
            if (st == AGT_END) st = known ? agt__journal_whole(s, &before, err) : AGT_OK;
            if (st != AGT_OK) s->reload = true;
            return st;
        }
        s->reload = true;
    }
    if (st == AGT_CORRUPT) return st; /* every time: damage, not haste */
    return agt__fail(err, AGT_BUSY, "the store changes faster than it can be read; try again");
}

AGT_PRIVATE agt_status agt__store_look_again(agt_store *s, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    return agt__answer(store_look_again(s, &mine), &mine, err);
}

/* Is `dir` what stands at .agent-trace/git? */
static agt_status store_git_still(const agt_store *s, agt_fd dir, bool *still, agt_error *err) {
    agt_stat now, ours;
    *still = false;
    if (dir == AGT_FD_NONE) return AGT_OK;
    int rc = s->sys->stat(s->sys->ctx, s->at, "git", &now);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    if (rc == 0) rc = s->sys->fstat(s->sys->ctx, dir, &ours);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/git");
    *still = agt__same_file(&now, &ours);
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_follow_git(agt_store *s, agt_git *git, agt_fd *dir, bool make,
                                             bool *moved, agt_error *err) {
    agt_fd fd = *dir;
    bool still;
    *moved = false;
    agt_status st = store_git_still(s, fd, &still, err);
    if (st == AGT_OK && !still) st = agt__open_folder(s->sys, s->at, "git", make, &fd, err);
    if (st != AGT_OK) return st;
    st = agt__git_follow(git, fd, moved, err);
    agt_fd old = st == AGT_OK ? *dir : fd;
    if (st == AGT_OK) *dir = fd;
    if (!still && old != AGT_FD_NONE) s->sys->close(s->sys->ctx, old);
    return st;
}

/* ---- opening ---- */

/* `parts`: something else may stand in a folder's place. */
static agt_status store_folders(agt_store *s, bool make, bool parts, agt_error *err) {
    static const char *const names[] = {"locks", "tmp",      "trace", "unpublished",
                                        "aside", "rejected", "git"};
    agt_fd *const fds[] = {&s->locks, &s->tmp,      &s->trace_dir, &s->unpublished,
                           &s->aside, &s->rejected, &s->git_dir};
    for (size_t i = 0; i < AGT_COUNT(names); i++) {
        if (*fds[i] != AGT_FD_NONE) continue;
        agt_error mine;
        mine.status = AGT_OK;
        agt_status st = agt__open_folder(s->sys, s->at, names[i], make, fds[i], &mine);
        if ((st == AGT_NOT_FOUND && s->read_only) || (st == AGT_INVALID && parts)) continue;
        if (st != AGT_OK) return agt__answer(st, &mine, err);
    }
    return AGT_OK;
}

static agt_status store_journal_make(agt_store *s, agt_error *err) {
    agt_journal_header h;
    memset(&h, 0, sizeof h);
    h.generation = 1;
    h.next_seq = 1;
    h.trace.segment = 1;
    int rc = s->sys->random(s->sys->ctx, h.replica, sizeof h.replica);
    if (rc < 0) return agt__fail_io(err, rc, "cannot get random bytes");
    return agt__journal_create(s->sys, s->at, s->cpu, &s->mem, &h, err);
}

AGT_PRIVATE void agt__store_default_config(agt_store *s) {
    const char *base = s->root_path, *p;
    for (p = base; *p; p++)
        if (p[0] == '/' && p[1] && p[1] != '/') base = p + 1;
    (void)agt__copy_text(s->config.name, sizeof s->config.name, base, strlen(base));
    size_t n = agt__utf8_valid(s->config.name, strlen(s->config.name));
    s->config.name[n] = 0;
    if (!s->config.name[0] || s->config.name[0] == '.')
        memcpy(s->config.name, "agent-trace-store", 18);
    s->config.interval_ms = 1000;
    s->config.polling = true;
}

/* The folder may be older than the store, and open to others. Where the system has no such rights
 * there is nothing to close. */
static void store_close_to_others(agt_store *s) {
    agt_stat at;
    if (s->sys->fstat(s->sys->ctx, s->at, &at) == 0 && (at.mode & 077u))
        (void)s->sys->set_mode(s->sys->ctx, s->at, at.mode & 0700u);
}

/* Makes what is missing; config.toml comes last and makes it a store. Under the store lock, so
 * that two processes may do it at once. What was a store is left as it is. */
static agt_status store_create(agt_store *s, agt_error *err) {
    bool there;
    agt_status st = agt__flock_take(&s->lock, s->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__store_there(s->sys, s->at, s->root_path, &there, err);
    if (st != AGT_OK || there) {
        agt__flock_drop(&s->lock);
        return st;
    }
    (void)s->sys->remove(s->sys->ctx, s->at, "state");
    store_close_to_others(s);
    st = agt__hide_folder(s->sys, s->at, err);
    if (st == AGT_OK) st = store_journal_make(s, err);
    if (st == AGT_OK) st = agt__git_init(s->sys, s->git_dir, &s->mem, err);
    if (st == AGT_OK) st = agt__uuid(s->sys, s->config.id, err);
    if (st == AGT_OK) {
        agt__store_default_config(s);
        st = agt__config_write(s->sys, s->at, &s->mem, &s->config, err);
    }
    if (st == AGT_OK) {
        int rc = s->sys->sync(s->sys->ctx, s->root);
        if (rc < 0) st = agt__fail_io(err, rc, "cannot sync the store's folder");
    }
    agt__flock_drop(&s->lock);
    return st;
}

/* Makes the store's folder in the one above, if that is there. */
static agt_status store_make_root(agt_store *s, const char *root, agt_error *err) {
    char parent[4096], leaf[256];
    const agt_sys *sys = s->sys;
    size_t n = strlen(root);
    while (n > 1 && root[n - 1] == '/')
        n--;
    size_t cut = n;
    while (cut > 0 && root[cut - 1] != '/')
        cut--;
    (void)agt__copy_text(parent, sizeof parent, root, cut ? cut : 1);
    if (!cut) memcpy(parent, ".", 2);
    if (!agt__copy_text(leaf, sizeof leaf, root + cut, n - cut))
        return agt__fail(err, AGT_INVALID, "the store's folder has an overlong name");
    agt_fd up = sys->open_root(sys->ctx, parent);
    if (up < 0) return AGT_OK;
    agt_status st = agt__store_may_be_made(sys, up, root, leaf, err);
    int made = st == AGT_OK ? sys->make_folder(sys->ctx, up, leaf, 0777) : 0;
    sys->close(sys->ctx, up);
    if (made < 0 && AGT_SYS_CLASS(made) != AGT_SYS_EXIST)
        return agt__fail_sys(err, made, "cannot make the folder %.200s", root);
    if (st == AGT_OK) s->root = sys->open_root(sys->ctx, root);
    return st;
}

static agt_status store_open_root(agt_store *s, const char *root, bool create, agt_error *err) {
    const agt_sys *sys = s->sys;
    if (!agt__copy_text(s->root_path, sizeof s->root_path, root, strlen(root)) || !root[0])
        return agt__fail(err, AGT_INVALID, "the store's folder has an empty or overlong path");
    s->root = sys->open_root(sys->ctx, root);
    agt_status st = AGT_OK;
    if (s->root < 0 && create && AGT_SYS_CLASS(s->root) == AGT_SYS_NOENT)
        st = store_make_root(s, root, err);
    if (s->root >= 0) return AGT_OK;
    if (st != AGT_OK) {
        s->root = AGT_FD_NONE;
        return st;
    }
    int rc = (int)s->root;
    s->root = AGT_FD_NONE;
    return agt__fail_sys(err, rc, "cannot open the folder %.200s", root);
}

static agt_status store_no_store(agt_store *s, agt_error *err) {
    return agt__fail(err, AGT_NOT_FOUND,
                     "no agent-trace store in %.200s; make one with 'agent-trace init'",
                     s->root_path);
}

static agt_status store_open_at(agt_store *s, bool create, agt_error *err) {
    bool there;
    agt_error mine;
    mine.status = AGT_OK;
    agt_status st = agt__open_private(s->sys, s->root, false, &s->at, &mine);
    if (st == AGT_NOT_FOUND && !create) return store_no_store(s, err);
    bool none = st == AGT_NOT_FOUND;
    if (none) {
        st = agt__store_may_be_made(s->sys, s->root, s->root_path, "", err);
        if (st == AGT_OK) st = agt__open_private(s->sys, s->root, true, &s->at, err);
        if (st != AGT_OK) return st;
    }
    if (st != AGT_OK) return agt__answer(st, &mine, err);
    /* an old format, or a store without its config.toml, must be refused before anything is made
     * in its folder */
    st = agt__store_there(s->sys, s->at, s->root_path, &there, err);
    if (st != AGT_OK) return st;
    if (!there && !create) return store_no_store(s, err);
    if (!there && !none) st = agt__store_may_be_made(s->sys, s->root, s->root_path, "", err);
    if (st != AGT_OK) return st;
    if (there) {
        st = agt__config_read(s->sys, s->at, &s->mem, &s->config, err);
        if (st != AGT_OK) return st;
    }
    st = store_folders(s, !s->read_only, false, err);
    if (st != AGT_OK) return st;
    agt__flock_init(&s->lock, s->sys, s->locks, "store.lock");
    agt__flock_init(&s->publish_lock, s->sys, s->locks, "publish.lock");
    if (!there) {
        st = store_create(s, err);
        if (st == AGT_OK) st = agt__config_read(s->sys, s->at, &s->mem, &s->config, err);
    }
    return st;
}

static agt_status store_open_files(agt_store *s, agt_error *err) {
    uint32_t flags = s->read_only ? AGT_O_READ : AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE;
    agt_status st = store_reopen_journal(s, err);
    if (st != AGT_OK) return st;
    agt__trace_writer_init(&s->trace, s->sys, s->trace_dir);
    s->state_fd = s->sys->open(s->sys->ctx, s->at, "state", flags, 0600);
    if (s->state_fd < 0 && !s->read_only) {
        int rc = (int)s->state_fd;
        s->state_fd = AGT_FD_NONE;
        st = agt__fail_io(err, rc, "cannot open .agent-trace/state");
        return agt__say_owner(s->sys, s->at, "state", rc, st, err);
    }
    if (s->state_fd < 0) s->state_fd = AGT_FD_NONE;
    st = agt__git_open(&s->git, s->sys, s->git_dir, &s->mem, s->cpu, err);
    if (st == AGT_OK) st = agt__git_open(&s->reader, s->sys, AGT_FD_NONE, &s->mem, s->cpu, err);
    if (st != AGT_OK) return st;
    if (s->read_only) return agt__store_look_again(s, err);
    s->opening = true;
    st = agt__store_lock(s, err);
    s->opening = false;
    if (st == AGT_OK) agt__store_unlock(s);
    return st;
}

/* A reader cannot write lines again; where a writer is at work some may be on their way. */
static agt_status store_trace_whole(agt_store *s, agt_error *err) {
    agt_shared now;
    agt_status st = agt__trace_reaches(s, &s->journal.header.trace, err);
    bool at_rest = st == AGT_OK && s->read_only && agt__store_peek(s, &now) &&
                   now.applied == now.end && !now.failed;
    return at_rest ? agt__trace_reaches(s, &now.trace, err) : st;
}

static void store_free(agt_store *s) {
    agt_mem mem = s->mem;
    void *stands_on = s->stands_on;
    void (*stands_on_free)(void *) = s->stands_on_free;
    agt_fd fds[] = {s->root,  s->at,       s->locks,   s->tmp,        s->trace_dir, s->unpublished,
                    s->aside, s->rejected, s->git_dir, s->reader_dir, s->state_fd};
    if (s->git) agt__git_close(s->git);
    if (s->reader) agt__git_close(s->reader);
    if (s->trace.sys) agt__trace_writer_close(&s->trace);
    agt__journal_close(&s->journal);
    if (s->lock.sys) agt__flock_close(&s->lock);
    if (s->publish_lock.sys) agt__flock_close(&s->publish_lock);
    for (size_t i = 0; i < AGT_COUNT(fds); i++)
        if (fds[i] != AGT_FD_NONE) s->sys->close(s->sys->ctx, fds[i]);
    agt__catalog_free(&s->catalog);
    agt__buf_free(&s->old);
    agt__buf_free(&s->record);
    agt__buf_free(&s->lines);
    agt__buf_free(&s->scratch);
    if (s->mutex) s->sys->mutex_free(s->sys->ctx, s->mutex);
    if (s->publish_mutex) s->sys->mutex_free(s->sys->ctx, s->publish_mutex);
    if (s->reader_mutex) s->sys->mutex_free(s->sys->ctx, s->reader_mutex);
    agt__free(&mem, s, sizeof *s);
    if (stands_on) stands_on_free(stands_on);
}

static agt_store *store_new(const agt_open_options *o) {
    agt_mem mem = agt__mem(o->allocator);
    agt_store *s = agt__zalloc(&mem, sizeof *s);
    if (!s) return NULL;
    s->mem = mem;
    s->sys = agt__sys_or_os(o->sys);
    s->cpu = agt__cpu();
    s->read_only = o->read_only != 0;
    s->durability = o->durability ? o->durability : AGT_DURABLE_FULL;
    s->publish = o->publish ? o->publish : AGT_PUBLISH_IDLE;
    s->timeout_ms = o->timeout_ms;
    s->root = s->at = s->locks = s->tmp = s->trace_dir = s->unpublished = s->aside = s->rejected =
        s->git_dir = s->reader_dir = s->state_fd = AGT_FD_NONE;
    s->journal.fd = AGT_FD_NONE;
    s->journal.sys = s->sys;
    s->catalog = agt__catalog(&s->mem);
    s->old = s->record = s->lines = s->scratch = agt__buf(&s->mem);
    s->reload = true;
    s->mutex = s->sys->mutex_new(s->sys->ctx);
    s->publish_mutex = s->sys->mutex_new(s->sys->ctx);
    s->reader_mutex = s->sys->mutex_new(s->sys->ctx);
    if (s->mutex && s->publish_mutex && s->reader_mutex) return s;
    store_free(s);
    return NULL;
}

AGT_PRIVATE agt_status agt__store_open(agt_store **out, const char *root,
                                       const agt_open_options *opts, agt_error *err) {
    agt_open_options o;
    AGENT_TRACE_ASSERT(out && root);
    *out = NULL;
    agt_status st = agt__options(&o, sizeof o, opts, "agt_open_options", err);
    if (st != AGT_OK) return st;
    if (o.durability > AGT_DURABLE_PROCESS || o.publish > AGT_PUBLISH_MANUAL)
        return agt__fail(err, AGT_INVALID, "unknown durability or publish mode");
    if (o.create > 1 || o.read_only > 1)
        return agt__fail(err, AGT_INVALID, "create and read_only are 0 or 1");
    if (o.create && o.read_only)
        return agt__fail(err, AGT_INVALID, "a store cannot be made through a read-only handle");
    agt_store *s = store_new(&o);
    if (!s) return agt__nomem(err);
    int rc = s->sys->process(s->sys->ctx, &s->self);
    st = rc < 0 ? agt__fail_io(err, rc, "cannot tell who this process is") : AGT_OK;
    if (st == AGT_OK) st = store_open_root(s, root, o.create != 0, err);
    if (st == AGT_OK) st = store_open_at(s, o.create != 0, err);
    if (st == AGT_OK) st = store_open_files(s, err);
    if (st == AGT_OK) st = store_trace_whole(s, err);
    if (st != AGT_OK) {
        st = agt__store_blame(s, st, err);
        store_free(s);
        return st;
    }
    s->index_shape = s->catalog.shape;
    *out = s;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__store_open_parts(agt_store **out, const char *root,
                                             const agt_open_options *o, agt_error *err) {
    agt_store *s = store_new(o);
    if (!s) return agt__nomem(err);
    int rc = s->sys->process(s->sys->ctx, &s->self);
    agt_status st = rc < 0 ? agt__fail_io(err, rc, "cannot tell who this process is") : AGT_OK;
    if (st == AGT_OK) st = store_open_root(s, root, false, err);
    if (st == AGT_OK) {
        st = agt__open_folder(s->sys, s->root, AGT_STORE_NAME, false, &s->at, err);
        if (st == AGT_NOT_FOUND) st = store_no_store(s, err);
    }
    if (st == AGT_OK) st = store_folders(s, !s->read_only, s->read_only, err);
    if (st == AGT_OK) {
        agt__flock_init(&s->lock, s->sys, s->locks, "store.lock");
        agt__flock_init(&s->publish_lock, s->sys, s->locks, "publish.lock");
        st = agt__git_open(&s->git, s->sys, s->git_dir, &s->mem, s->cpu, err);
    }
    if (st == AGT_OK)
        *out = s;
    else
        store_free(s);
    return st;
}

AGT_PRIVATE void agt__store_close_parts(agt_store *s) {
    store_free(s);
}

/* ---- closing ---- */

static bool store_leader_lives(const agt_store *s) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    return agt__lock_holder(s->sys, s->locks, &h, NULL) == AGT_OK && h.held;
}

AGENT_TRACE_API agt_status agt_close(agt_store *store, agt_error *err) {
    agt_status st = AGT_OK;
    if (!store) return AGT_OK;
    bool ours = store->sys->pid(store->sys->ctx) == store->self.pid;
    if (ours && store->publish == AGT_PUBLISH_CLOSE && !store->read_only && store->git &&
        !store_leader_lives(store))
        st = agt_publish(store, err);
    store_free(store);
    return st;
}

/* ---- describing ---- */

static int store_count_name(void *ctx, const char *name) {
    (void)name;
    ++*(uint32_t *)ctx;
    return 0;
}

typedef struct store_bytes {
    agt_store *s;
    uint64_t bytes;
} store_bytes;

static int store_add_bytes(void *ctx, const char *name) {
    store_bytes *b = ctx;
    uint64_t first;
    agt_stat st;
    if (agt__segment_parse(name, &first) &&
        b->s->sys->stat(b->s->sys->ctx, b->s->trace_dir, name, &st) >= 0)
        b->bytes += st.size;
    return 0;
}

/* Can the commit that git got last not be read there? */
static bool store_head_lost(agt_store *s, const agt_oid *head) {
    agt_buf commit = agt__buf(&s->mem);
    agt_status st = agt__git_content(s, head, &commit, NULL);
    agt__buf_free(&commit);
    return st == AGT_NOT_FOUND || st == AGT_CORRUPT;
}

AGENT_TRACE_API agt_status agt_store_get_info(agt_store *s, agt_store_info *out, agt_error *err) {
    agt_shared now;
    char hex[40];
    agt_store_info info = AGT_STORE_INFO_INIT;
    agt_status st = agt__options(&info, sizeof info, out, "agt_store_info", err);
    if (st == AGT_OK) st = agt__store_enter(s, err);
    if (st != AGT_OK) return st;
    memset(&info, 0, sizeof info);
    st = agt__store_look_again(s, err);
    bool counted = st == AGT_OK && agt__store_peek(s, &now);
    if (st == AGT_OK) {
        info.size = out->size;
        info.documents = (uint32_t)s->catalog.live;
        info.last_seq = s->seen.next_seq - 1;
        info.generation = s->journal.header.generation;
        info.journal_bytes = s->seen.pos - AGT_JOURNAL_START;
        info.published_seq = counted ? now.published_seq : s->journal.header.packed_seq;
        info.failed = counted && now.failed;
        info.apply_pending = counted && now.applied < now.end;
        info.recovered = s->recovered;
        store_bytes bytes = {s, 0};
        if (s->trace_dir != AGT_FD_NONE)
            (void)s->sys->list(s->sys->ctx, s->trace_dir, store_add_bytes, &bytes);
        info.trace_bytes = bytes.bytes;
        if (s->aside != AGT_FD_NONE)
            (void)s->sys->list(s->sys->ctx, s->aside, store_count_name, &info.edits_kept_aside);
        memcpy(info.id, s->config.id, sizeof info.id);
        agt__hex(s->journal.header.replica, 8, info.replica);
        const agt_oid *head = counted ? &now.head : &s->journal.header.packed_head;
        agt__hex(head->id, 20, hex);
        if (info.published_seq) memcpy(info.head, hex, 40);
        info.head_lost = info.published_seq && store_head_lost(s, head);
        memcpy((char *)out + sizeof out->size, (char *)&info + sizeof info.size,
               (out->size < sizeof info ? out->size : sizeof info) - sizeof info.size);
    }
    agt__store_leave(s);
    return st;
}

/* Is there a store in this folder? Only a clear no lets the search go on: what is there for
 * somebody else, or is damaged, must not make it find the store of a folder above. */
static agt_status store_find_in(const agt_sys *sys, const char *folder, bool *found,
                                agt_error *err) {
    *found = false;
    agt_fd dir = sys->open_root(sys->ctx, folder);
    if (dir < 0 && AGT_SYS_CLASS(dir) == AGT_SYS_FILES)
        return agt__fail_sys(err, dir, "cannot look for a store in %.200s", folder);
    if (dir < 0) return AGT_OK;
    agt_fd at = sys->open(sys->ctx, dir, AGT_STORE_NAME, AGT_O_READ | AGT_O_FOLDER, 0);
    sys->close(sys->ctx, dir);
    if (at < 0 && (AGT_SYS_CLASS(at) == AGT_SYS_ACCESS || AGT_SYS_CLASS(at) == AGT_SYS_FILES))
        return agt__fail_sys(err, at, "cannot open the store in %.200s", folder);
    if (at < 0) return AGT_OK;
    agt_status st = agt__store_there(sys, at, folder, found, err);
    sys->close(sys->ctx, at);
    return st;
}

AGENT_TRACE_API agt_status agt_store_find(const char *start, char *out, size_t size,
                                          agt_error *err) {
    const agt_sys *sys = agt_sys_os();
    char where[4096];
    agt_fd fd = sys->open_root(sys->ctx, start && start[0] ? start : ".");
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open the folder %.200s", start ? start : ".");
    int rc = sys->path_of(sys->ctx, fd, where, sizeof where);
    sys->close(sys->ctx, fd);
    if (rc < 0) return agt__fail_io(err, rc, "cannot tell the absolute path of the folder");
    for (size_t n = strlen(where);;) {
        bool found;
        agt_status st = store_find_in(sys, n ? where : "/", &found, err);
        if (st != AGT_OK) return st;
        if (found && !agt__copy_text(out, size, n ? where : "/", n ? n : 1))
            return agt__fail(err, AGT_LIMIT, "the store's path needs more than %zu bytes", size);
        if (found) return AGT_OK;
        if (n <= 1) break;
        while (n > 0 && where[n - 1] != '/')
            n--;
        if (n > 0) n--;
        where[n] = 0;
    }
    return agt__fail(err, AGT_NOT_FOUND,
                     "no agent-trace store here or in any folder above; make one with "
                     "'agent-trace init'");
}
