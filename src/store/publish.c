/* publish: from records to commits.
 *
 * One commit a record, made only from the record and its parent, so that doing it again makes the
 * same ids. Few commits go out as loose objects, unsynced; many, and all at a checkpoint, as one
 * synced pack that begins at the last packed commit. Then the ref; then the shared state.
 *
 * (1) Records are immutable, so they are read without the store lock. A journal that begins a new
 *     generation meanwhile (only a recovery does that without the publish lock) is noticed by the
 *     checksum chain, and the answer is AGT_BUSY.
 * (2) After a recovery, or where git lies in another folder than before, it is mended: a power cut
 *     may have emptied loose objects, so bad ones go and what the header does not know to be
 *     packed is made again. That a pack can be read says nothing: it may be a copy's, or its sync
 *     may have failed. At the end the header is told, so that the next recovery does not make the
 *     same again.
 * (3) Only refs/heads/main is ours. It never goes back behind what was published: while commits are
 *     made again it keeps naming what it named, until that is made, too. What is not made is
 *     somebody else's and is kept as refs/heads/found-<seq> before main moves on; so is what main
 *     is found to name at the moment when it moves.
 * The message of a commit is commit.c's. */
#include "store.h"

#define PUBLISH_LOOSE_MAX 16u                 /* more commits than that go into a pack */
#define PUBLISH_BEHIND    512u                /* so many loose commits are packed */
#define PUBLISH_CHUNK     (32u * 1024 * 1024) /* bytes of content in one pack */
#define PUBLISH_COMMITS   2000u
#define PUBLISH_TRIES     10

AGT_PRIVATE agt_status agt__publish_enter(agt_store *s, int32_t timeout_ms, agt_error *err) {
    if (s->sys->pid(s->sys->ctx) != s->self.pid)
        return agt__fail(err, AGT_INVALID, "the store handle was opened before a fork");
    if (s->read_only) return agt__store_refuse(s, err);
    s->sys->mutex_lock(s->sys->ctx, s->publish_mutex);
    agt_status st = agt__flock_take(&s->publish_lock, timeout_ms, err);
    if (st != AGT_OK) s->sys->mutex_unlock(s->sys->ctx, s->publish_mutex);
    return st;
}

AGT_PRIVATE void agt__publish_leave(agt_store *s) {
    agt__flock_drop(&s->publish_lock);
    s->sys->mutex_unlock(s->sys->ctx, s->publish_mutex);
}

/* ---- commits ---- */

typedef struct publish_run {
    agt_store *s;
    uint64_t last_seq;             /* publish up to this event */
    uint64_t done_seq;             /* committed in git */
    agt_oid head;                  /* of done_seq */
    uint64_t packed_seq, open_seq; /* durably so; committed in the transaction */
    agt_oid packed_head, open_head;
    size_t commits;
    uint64_t bytes;
    bool pack;  /* all of it, durably */
    bool mend;  /* (2) */
    bool loose; /* what is packed may lie there as loose objects, too */
    bool begun;
    bool is_named; /* main names something that can be read: */
    agt_oid named;
    bool ahead; /* (3): and it is not `head`, nor was it made yet */
    agt_commit_text text;
    agt_buf side;
} publish_run;

static agt_status publish_tree(publish_run *run, const agt_event *e, const agt_entry *entry,
                               agt_error *err) {
    agt_store *s = run->s;
    agt_oid blob;
    const void *bytes;
    if (!e->version || !e->path.data) return AGT_OK;
    /* a version whose bytes are lost is in no tree */
    if (!e->blob.data || (entry->flags & AGT_ENTRY_LOST)) {
        agt_status st = agt__git_remove(s->git, e->path.data, e->path.len, err);
        if (st != AGT_OK || !e->from.data) return st;
        return agt__git_remove(s->git, e->from.data, e->from.len, err);
    }
    if (e->from.data) {
        agt_status st = agt__git_remove(s->git, e->from.data, e->from.len, err);
        if (st != AGT_OK) return st;
    }
    if (!agt__unhex(e->blob.data, e->blob.len, blob.id, 20))
        return agt__fail(err, AGT_CORRUPT, "event %llu names no blob", (unsigned long long)e->seq);
    agt_status st = agt__entry_bytes(s, e->seq, entry, &run->side, &bytes, err);
    if (st == AGT_NOT_FOUND)
        st = agt__fail(err, AGT_CORRUPT,
                       "the bytes of event %llu are missing in .agent-trace/unpublished; run "
                       "'agent-trace repair'",
                       (unsigned long long)e->seq);
    if (st != AGT_OK) return st;
    run->bytes += entry->content_len;
    return agt__git_put(s->git, e->path.data, e->path.len, &blob, bytes, (size_t)entry->content_len,
                        err);
}

static agt_status publish_commit(publish_run *run, const agt_record *r, agt_error *err) {
    agt_store *s = run->s;
    agt_entry entry;
    agt_event e = AGT_EVENT_INIT;
    agt_buf texts = agt__buf(&s->mem);
    agt_status st = AGT_OK;
    uint64_t seq = r->first_seq;
    for (size_t at = 0; st == AGT_OK && agt__record_next(r, &at, &entry); seq++) {
        st = agt__store_event(&entry, seq, &texts, &e, err);
        if (st != AGT_OK) break;
        agt__commit_event(&run->text, seq == r->first_seq, &e, entry.line, entry.line_len);
        st = publish_tree(run, &e, &entry, err);
    }
    if (st == AGT_OK)
        st = agt__commit_make(&run->text, s->git, r->recorded_unix_ms, &run->open_head, err);
    if (st == AGT_OK) run->open_seq = r->first_seq + r->entries - 1;
    if (st == AGT_OK && memcmp(run->open_head.id, run->named.id, 20) == 0) run->ahead = false;
    agt__buf_free(&texts);
    return st;
}

/* ---- the ref (3) ---- */

/* Does main name `head`? */
static bool publish_is_there(const publish_run *run) {
    return run->is_named && memcmp(run->named.id, run->head.id, 20) == 0;
}

static agt_status publish_look(publish_run *run, agt_error *err) {
    agt_error mine;
    agt_status st = agt__git_head(run->s->git, &run->named, &run->is_named, &mine);
    run->ahead = run->is_named && !publish_is_there(run);
    if (st == AGT_OK || st == AGT_CORRUPT) return AGT_OK; /* damaged: a power cut emptied it */
    if (err) *err = mine;
    return st;
}

/* One of ours has the event that made it in its message. */
static bool publish_is_ours(const agt_buf *commit) {
    static const char first[] = "\n\n[agent-trace] ";
    const size_t n = sizeof first - 1;
    for (size_t i = 0; i + n <= commit->len; i++) { /* the header ends at the first empty line */
        if (commit->data[i] != '\n' || commit->data[i + 1] != '\n') continue;
        return memcmp(commit->data + i, first, n) == 0;
    }
    return false;
}

/* Somebody else's commit gets a name, whatever it leads to; one of ours only if it is whole: else a
 * power cut took its record with its objects, and it is nobody's. */
static agt_status publish_keep(publish_run *run, agt_error *err) {
    agt_git *git = run->s->git;
    agt_error mine;
    char name[48];
    bool whole = true;
    agt_buf commit = agt__buf(&run->s->mem);
    agt_status st = agt__git_read(git, &run->named, &commit, &mine);
    bool ours = st == AGT_OK && publish_is_ours(&commit);
    agt__buf_free(&commit);
    if (st == AGT_NOT_FOUND || st == AGT_CORRUPT) return AGT_OK; /* it names nothing */
    if (st != AGT_OK && err) *err = mine;
    if (st == AGT_OK && ours) st = agt__git_whole(git, &run->named, &whole, err);
    if (st != AGT_OK || !whole) return st;
    memcpy(name, "found-", 6);
    agt__seq_name(run->done_seq, "", name + 6);
    return agt__git_keep_ref(git, name, &run->named, err);
}

/* Makes main name `head`. */
static agt_status publish_name(publish_run *run, bool durable, agt_error *err) {
    agt_error mine;
    agt_status st = AGT_CONFLICT;
    for (int i = 0; i < PUBLISH_TRIES && st == AGT_CONFLICT; i++) {
        st = agt__git_set_head(run->s->git, &run->head, run->is_named ? &run->named : NULL, durable,
                               &mine);
        if (st != AGT_CONFLICT) break;
        agt_status looked = publish_look(run, err);
        if (looked == AGT_OK && run->ahead) looked = publish_keep(run, err);
        if (looked != AGT_OK) return looked;
    }
    if (st != AGT_OK) {
        if (err) *err = mine;
        if (st == AGT_CONFLICT) st = agt__fail(err, AGT_BUSY, "%s", mine.message);
        return st;
    }
    run->named = run->head;
    run->is_named = true;
    run->ahead = false;
    return AGT_OK;
}

/* AGT_NOT_FOUND or AGT_CORRUPT: the commit is gone that git is said to have. */
static agt_status publish_head_still(publish_run *run, agt_error *err) {
    agt_buf commit = agt__buf(&run->s->mem);
    agt_status st = run->done_seq ? agt__git_read(run->s->git, &run->head, &commit, err) : AGT_OK;
    agt__buf_free(&commit);
    return st;
}

/* All is made. What is not there gets no name, nor does somebody lose one for it. */
static agt_status publish_settle(publish_run *run, agt_error *err) {
    agt_status st = publish_head_still(run, err);
    if (st == AGT_OK && run->ahead) st = publish_keep(run, err);
    if (st == AGT_OK && run->done_seq && !publish_is_there(run)) st = publish_name(run, true, err);
    return st;
}

/* ---- records to commits ---- */

/* Only the last commits of a run may be loose: a pack stands on packs. */
static agt_status publish_write(publish_run *run, bool last, agt_error *err) {
    agt_store *s = run->s;
    bool pack = run->pack || (run->mend && (!last || run->commits > PUBLISH_LOOSE_MAX));
    if (!run->begun) return AGT_OK;
    run->begun = false;
    agt_status st = agt__git_write(s->git,
                                   !pack        ? AGT_GIT_LOOSE
                                   : run->loose ? AGT_GIT_REPACK
                                                : AGT_GIT_PACK,
                                   err);
    if (st != AGT_OK) return st;
    run->head = run->open_head;
    run->done_seq = run->open_seq;
    run->commits = 0;
    run->bytes = 0;
    if (pack) {
        run->packed_head = run->head;
        run->packed_seq = run->done_seq;
    }
    return run->ahead ? AGT_OK : publish_name(run, pack, err);
}

/* AGT_END: enough. */
static agt_status publish_record(void *ctx, const agt_record *r, agt_error *err) {
    publish_run *run = ctx;
    agt_status st = AGT_OK;
    if (r->first_seq > run->last_seq) return AGT_END;
    if (r->first_seq != run->open_seq + 1)
        return agt__fail(err, AGT_CORRUPT,
                         "the record of event %llu is missing in .agent-trace/unpublished",
                         (unsigned long long)(run->open_seq + 1));
    if (run->begun && (run->commits >= PUBLISH_COMMITS || run->bytes > PUBLISH_CHUNK))
        st = publish_write(run, false, err);
    if (st == AGT_OK && !run->begun) {
        st = agt__git_begin(run->s->git, run->done_seq ? &run->head : NULL, err);
        run->begun = st == AGT_OK;
    }
    if (st == AGT_OK) st = publish_commit(run, r, err);
    run->commits++;
    return st;
}

static agt_status publish_all(publish_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_journal j; /* our own: another thread may renew the handle's */
    agt_status st = agt__journal_open(&j, s->sys, s->at, s->cpu, false, err);
    if (st != AGT_OK) return st;
    run->text = agt__commit_text(&s->mem);
    run->side = agt__buf(&s->mem);
    st = agt__each_record(s, &j, run->done_seq + 1, publish_record, run, err);
    agt__journal_close(&j);
    if (st == AGT_END) st = AGT_OK;
    if (st == AGT_OK && run->open_seq < run->last_seq)
        st = agt__fail(err, AGT_BUSY, "the journal was renewed while it was published; try again");
    if (st == AGT_OK) st = publish_write(run, true, err);
    if (run->begun) agt__git_abort(s->git);
    agt__commit_free(&run->text);
    agt__buf_free(&run->side);
    return st;
}

/* ---- a run ---- */

/* Before anything is made: the repository's fixed files, bad objects, a look at main. */
static agt_status publish_prepare(publish_run *run, agt_error *err) {
    agt_store *s = run->s;
    agt_stat head, config;
    bool fixed = s->sys->stat(s->sys->ctx, s->git_dir, "HEAD", &head) == 0 && head.size &&
                 s->sys->stat(s->sys->ctx, s->git_dir, "config", &config) == 0 && config.size &&
                 !agt__git_damaged_file(s->sys, s->git_dir, &s->mem);
    agt_status st = fixed ? AGT_OK : agt__git_init(s->sys, s->git_dir, &s->mem, err);
    if (st == AGT_OK && run->mend) st = agt__git_clean(s->git, err);
    return st == AGT_OK ? publish_look(run, err) : st;
}

static agt_status publish_done(agt_store *s, const publish_run *run, uint64_t generation,
                               agt_error *err) {
    bool moved;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (moved) { /* it was written to a folder that is not git's any more */
        s->shared.git_clean = 0;
        agt__store_save(s);
    } else if (s->journal.header.generation == generation) {
        s->shared.published_seq = run->done_seq;
        s->shared.head = run->head;
        s->shared.packed_seq = run->packed_seq;
        s->shared.packed_head = run->packed_head;
        s->shared.git_clean = 1;
        agt__store_save(s);
    } /* else a recovery came between: it counts from what is durable, and so does the next */
    agt__store_unlock(s);
    return AGT_OK;
}

/* From where to where, and how. */
static void publish_plan(publish_run *run, const agt_shared *sh, bool pack) {
    run->last_seq = sh->next_seq - 1;
    run->pack = pack;
    if (!run->mend && (run->last_seq - sh->published_seq > PUBLISH_LOOSE_MAX ||
                       run->last_seq - sh->packed_seq > PUBLISH_BEHIND))
        run->pack = true;
    bool again = run->pack || run->mend;
    run->loose = run->mend || sh->published_seq > sh->packed_seq;
    run->packed_seq = sh->packed_seq;
    run->packed_head = sh->packed_head;
    run->done_seq = run->open_seq = again ? sh->packed_seq : sh->published_seq;
    run->head = again ? sh->packed_head : sh->head;
}

AGT_PRIVATE agt_status agt__packed_still(agt_store *s, const agt_journal_header *h, agt_shared *sh,
                                         agt_error *err) {
    bool packed = true, moved = false;
    agt_error mine;
    agt_status st = AGT_OK;
    mine.status = AGT_OK;
    if (sh->packed_seq <= h->packed_seq) return AGT_OK;
    st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, &mine);
    if (st == AGT_OK) st = agt__git_packed(s->git, &sh->packed_head, &packed, &mine);
    if (st != AGT_OK && st != AGT_UNSUPPORTED) return agt__answer(st, &mine, err);
    if (moved) sh->git_clean = 0;
    if (packed) return AGT_OK;
    sh->packed_seq = h->packed_seq;
    sh->packed_head = h->packed_head;
    sh->git_clean = 0;
    return AGT_OK;
}

/* `*mend`: from what is durable on; set where a recovery asks for it, or another folder. */
static agt_status publish_run_once(agt_store *s, bool pack, bool *mend, agt_error *err) {
    publish_run run;
    bool moved;
    agt_status st = agt__store_follow_git(s, s->git, &s->git_dir, true, &moved, err);
    if (st == AGT_OK) st = agt__store_lock(s, err);
    if (st != AGT_OK) return st;
    if (moved && s->shared.git_clean) { /* also for whoever comes next, should this run fail */
        s->shared.git_clean = 0;
        agt__store_save(s);
    }
    agt_shared sh = s->shared;
    agt_journal_header h = s->journal.header;
    agt__store_unlock(s);
    memset(&run, 0, sizeof run);
    run.s = s;
    run.mend = *mend = *mend || !sh.git_clean;
    if (run.mend && (st = agt__packed_still(s, &h, &sh, err)) != AGT_OK) return st;
    publish_plan(&run, &sh, pack);
    if ((st = publish_prepare(&run, err)) != AGT_OK) return st;
    uint64_t from = run.done_seq;
    bool nothing = from == run.last_seq;
    if (nothing && !run.mend && !run.ahead && (run.is_named || !from))
        return publish_head_still(&run, err);
    if (!nothing) st = publish_all(&run, err);
    if (st == AGT_OK) st = publish_settle(&run, err);
    if (st == AGT_OK || (run.done_seq > from && publish_is_there(&run))) { /* also a part of it */
        agt_status saved = publish_done(s, &run, h.generation, st == AGT_OK ? err : NULL);
        if (st == AGT_OK) st = saved;
    }
    return st;
}

/* What publication needs and does not find is damage: a commit, a side file, a folder. */
static agt_status publish_lost(agt_status st, agt_error *err) {
    char what[300];
    if (st != AGT_NOT_FOUND) return st;
    (void)agt__copy_text(what, sizeof what, err ? err->message : "",
                         err ? strlen(err->message) : 0);
    return agt__fail(err, AGT_CORRUPT,
                     "a part of .agent-trace is missing (%s); run 'agent-trace repair'", what);
}

AGT_PRIVATE agt_status agt__publish_locked(agt_store *s, bool pack, agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    mine.message[0] = 0;
    bool mend = false;
    agt_status st = publish_run_once(s, pack, &mend, &mine);
    if (!mend && (st == AGT_NOT_FOUND || st == AGT_CORRUPT)) { /* git lost something loose? */
        mend = true;
        st = publish_run_once(s, pack, &mend, &mine);
    }
    st = publish_lost(st, &mine);
    /* recovery counts from the header: without this it would keep records that packs hold */
    if (st == AGT_OK && mend && !pack) agt__checkpoint_packed(s);
    return agt__answer(st, &mine, err);
}

AGENT_TRACE_API agt_status agt_publish(agt_store *store, agt_error *err) {
    agt_status st = agt__publish_enter(store, store->timeout_ms, err);
    if (st != AGT_OK) return st;
    st = agt__publish_locked(store, false, err);
    agt__publish_leave(store);
    return st;
}
