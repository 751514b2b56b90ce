/* sentinel: whoever makes locks/poll.lock.owner holds the lock; who finds it judges its owner.
 *
 *   poll.lock.owner         the holder's record (holder.c)
 *   poll.lock.tmp.<token>   a record before it is published
 *   poll.lock.reap.<token>  the claim: the right to remove the file whose record has that token
 *
 * S1 publish  A record is written whole to a name of its own and moved to its place where nothing
 *             is there: nobody ever reads half of one.
 * S2 own      It is ours as long as the file has our token.
 * S3 judge    Who finds a record judges the process that it names (liveness.c). Only DEAD leads on;
 *             what cannot be proved is answered AGT_BUSY, with what a person can do.
 * S4 claim    To remove a dead one's file, publish the claim that is named after its token, as S1.
 *             A claim that a dead process left is removed in the same way, three deep.
 * S5 reap     Holding the claim, read the file once more; remove it only if it still has the dead
 *             token. Remove the claim, and begin at S1 as everybody does.
 * S6 release  Remove the file only if it has our token.
 *
 * (1) Removing without a claim would let two in: both judge the same file, the quick one removes it
 *     and publishes its own, which the slow one then removes.
 * (2) Renaming it aside would, too: what is renamed may be another one than was judged.
 * (3) The claim's name has the token, so that a claim on a record of long ago does no harm: whoever
 *     gets it finds another token, or no file, at S5.
 * (4) A live process' claim is never removed, however long it is stopped: between S5's look and its
 *     removal nobody else may remove that file.
 * (5) Where nothing can be moved or linked without replacing, the file is made under its name and
 *     filled then; its maker looks whether it is still there before it counts as published.
 * (6) A file that is empty, or of NULs, is (5) under way, or what a power cut left. Who waits and
 *     sees the same one for ten seconds of its own clock takes it for dead. All other rubbish may
 *     be a record that this version does not understand: only a person removes that.
 * (7) Nothing is synced. After a restart every record is a dead one's, or (6).
 * (8) tests/model/sentinel.pml has the same steps under the same names, in every order.
 * (9) exec does not let go: for others the process is the same. Release before exec.
 * (10) Who dies while it publishes or claims leaves a temporary or a claim. Neither blocks anybody
 *     for long, but nobody comes across them again: whoever leads by the file, or takes over from
 *     one who did, sweeps, and so does the doctor. A temporary is removed if it names itself, and a
 *     process that is dead: its name is never used again. A claim is removed as at S4, by a claim
 *     on it. What names nobody may be somebody's who is just writing it, and stays. */
#include "sentinel.h"

#include "../base/base.h"
#include "../data/data.h"
#include "../sys/sys.h"

#include <stdio.h>

#define SENTINEL_OWNER "poll.lock.owner"
#define SENTINEL_TMP   "poll.lock.tmp."
#define SENTINEL_REAP  "poll.lock.reap."
#define SENTINEL_DEPTH 3
#define SENTINEL_TRIES 16
#define SENTINEL_NAME  64

/* Waiting, in ns. */
#define SENTINEL_DELAY_MIN 1000000
#define SENTINEL_DELAY_MAX 100000000
#define SENTINEL_EMPTY     10000000000

typedef enum sentinel_found {
    SENTINEL_ABSENT,
    SENTINEL_RECORD,
    SENTINEL_EMPTY_FILE, /* (6); its token is made of what tells it from another one */
    SENTINEL_RUBBISH
} sentinel_found;

static bool sentinel_token_valid(const char *token) {
    size_t n = 0;
    while ((token[n] >= '0' && token[n] <= '9') || (token[n] >= 'a' && token[n] <= 'f'))
        n++;
    return n == 32 && !token[n];
}

/* ---- reading ---- */

/* A record is what our own writing of it would be, byte for byte. */
static bool sentinel_parse(const char *text, size_t n, agt_holder *out) {
    char same[AGT_HOLDER_TEXT];
    const char *end = n > 4 && memcmp(text, "pid=", 4) == 0 ? memchr(text, '\n', n) : NULL;
    if (!end) return false;
    agt__holder_parse(out, text + 4, (size_t)(end - text) - 4, text, n);
    return sentinel_token_valid(out->token) && agt__holder_format(out, same) == n &&
           memcmp(text, same, n) == 0;
}

static bool sentinel_all_nul(const char *text, size_t n) {
    while (n && !text[n - 1])
        n--;
    return n == 0;
}

static agt_status sentinel_read_open(const agt_sys *sys, agt_fd fd, const char *name,
                                     agt_holder *out, sentinel_found *found, agt_error *err) {
    char text[AGT_HOLDER_TEXT + 1];
    agt_stat st;
    int rc = sys->fstat(sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at .agent-trace/locks/%s", name);
    if (st.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID,
                         "something that is not a regular file stands in the place of "
                         ".agent-trace/locks/%s; remove it",
                         name);
    int64_t n = agt__read_all(sys, fd, text, sizeof text, 0);
    if (n < 0) return agt__fail_io(err, n, "cannot read .agent-trace/locks/%s", name);
    *found = SENTINEL_RUBBISH;
    if (sentinel_parse(text, (size_t)n, out)) {
        *found = SENTINEL_RECORD;
        return AGT_OK;
    }
    memset(out, 0, sizeof *out);
    if (st.size > (uint64_t)n || !sentinel_all_nul(text, (size_t)n)) return AGT_OK;
    *found = SENTINEL_EMPTY_FILE;
    (void)snprintf(out->token, sizeof out->token, "%016llx%016llx", (unsigned long long)st.ino,
                   (unsigned long long)st.ctime_ns);
    return AGT_OK;
}

static agt_status sentinel_read(const agt_sys *sys, agt_fd dir, const char *name, agt_holder *out,
                                sentinel_found *found, agt_error *err) {
    memset(out, 0, sizeof *out);
    *found = SENTINEL_ABSENT;
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    if (fd < 0) return agt__fail_sys(err, fd, "cannot open .agent-trace/locks/%s", name);
    agt_status st = sentinel_read_open(sys, fd, name, out, found, err);
    sys->close(sys->ctx, fd);
    return st;
}

/* Has the file at the name this token? */
static bool sentinel_has(const agt_sys *sys, agt_fd dir, const char *name, const char *token) {
    agt_holder h;
    sentinel_found found;
    return sentinel_read(sys, dir, name, &h, &found, NULL) == AGT_OK &&
           strcmp(h.token, token) == 0 && h.token[0];
}

/* ---- S1 ---- */

static void sentinel_name(char out[SENTINEL_NAME], const char *before, const char *token) {
    (void)snprintf(out, SENTINEL_NAME, "%s%s", before, token);
}

static int sentinel_fill(const agt_sys *sys, agt_fd dir, const char *name, const agt_holder *h) {
    char text[AGT_HOLDER_TEXT];
    size_t n = agt__holder_format(h, text);
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL, 0600);
    if (fd < 0) return (int)fd;
    int rc = agt__write_all(sys, fd, text, n, 0);
    sys->close(sys->ctx, fd);
    if (rc < 0) (void)sys->remove(sys->ctx, dir, name); /* ours: it was made just now */
    return rc;
}

/* Moves the temporary file to its place where nothing is there. */
static int sentinel_move(const agt_sys *sys, agt_fd dir, const char *tmp, const char *name) {
    int rc = sys->rename(sys->ctx, dir, tmp, dir, name, AGT_RENAME_NOREPLACE);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) rc = sys->link(sys->ctx, dir, tmp, dir, name);
    return rc;
}

/* AGT_OK: the record is at its name. AGT_CONFLICT: another file is. */
static agt_status sentinel_publish(const agt_sys *sys, agt_fd dir, const char *name,
                                   const agt_holder *h, agt_error *err) {
    char tmp[SENTINEL_NAME];
    sentinel_name(tmp, SENTINEL_TMP, h->token);
    int rc = sentinel_fill(sys, dir, tmp, h);
    if (rc < 0) return agt__fail_sys(err, rc, "cannot make .agent-trace/locks/%s", tmp);
    rc = sentinel_move(sys, dir, tmp, name);
    int cls = rc < 0 ? AGT_SYS_CLASS(rc) : 0;
    (void)sys->remove(sys->ctx, dir, tmp);
    if (rc >= 0) return AGT_OK;
    if (cls == AGT_SYS_EXIST) return AGT_CONFLICT;
    if (cls == AGT_SYS_NOSYS || cls == AGT_SYS_ACCESS) { /* (5) */
        rc = sentinel_fill(sys, dir, name, h);
        if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_EXIST) return AGT_CONFLICT;
        if (rc >= 0) return sentinel_has(sys, dir, name, h->token) ? AGT_OK : AGT_CONFLICT;
    } else if (sentinel_has(sys, dir, name, h->token))
        return AGT_OK; /* it was done all the same */
    return agt__fail_sys(err, rc, "cannot make .agent-trace/locks/%s", name);
}

/* ---- S3 to S5 ---- */

static agt_status sentinel_busy(const char *name, const agt_holder *h, const char *why,
                                agt_error *err) {
    if (!h->pid)
        return agt__fail(err, AGT_BUSY,
                         ".agent-trace/locks/%s does not say whose it is; if no program leads, "
                         "remove that file",
                         name);
    return agt__fail(err, AGT_BUSY,
                     ".agent-trace/locks/%s is held by process %lld of %s, which %s; if that "
                     "cannot be, remove the file",
                     name, (long long)h->pid, h->host[0] ? h->host : "an unknown host", why);
}

/* May the file be removed? AGT_OK: its owner is dead. */
static agt_status sentinel_judge(agt_sentinel *s, const char *name, const agt_holder *h,
                                 sentinel_found found, agt_error *err) {
    const char *why = "";
    int64_t now = s->sys->mono_ns(s->sys->ctx);
    if (found == SENTINEL_RECORD && agt__liveness_ask(s->sys, s->dir, h, &why) == AGT_DEAD)
        return AGT_OK;
    if (found == SENTINEL_EMPTY_FILE) {
        bool same = strcmp(s->seen, h->token) == 0;
        if (same && now - s->seen_ns >= SENTINEL_EMPTY) return AGT_OK;
        if (!same) s->seen_ns = now;
        memcpy(s->seen, h->token, sizeof s->seen);
    }
    return sentinel_busy(name, h, why, err);
}

/* S5. Only with the claim. */
static agt_status sentinel_reap(const agt_sentinel *s, const char *name, const agt_holder *dead,
                                agt_error *err) {
    if (!sentinel_has(s->sys, s->dir, name, dead->token)) return AGT_OK; /* (3) */
    int rc = s->sys->remove(s->sys->ctx, s->dir, name);
    if (rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot remove .agent-trace/locks/%s", name);
}

static agt_status sentinel_new_token(const agt_sys *sys, char out[33], agt_error *err) {
    unsigned char bytes[16];
    int rc = sys->random(sys->ctx, bytes, sizeof bytes);
    if (rc < 0) return agt__fail_io(err, rc, "the system gives no random numbers");
    agt__hex(bytes, sizeof bytes, out);
    out[32] = 0;
    return AGT_OK;
}

/* Removes the file of a dead owner, as long as it is that one's: S4, S5. AGT_OK: it is gone. */
static agt_status sentinel_clear(agt_sentinel *s, const char *name, const agt_holder *dead,
                                 int depth, agt_error *err) {
    char claim[SENTINEL_NAME];
    agt_holder mine = s->self, theirs;
    sentinel_found found;
    sentinel_name(claim, SENTINEL_REAP, dead->token);
    if (depth > SENTINEL_DEPTH)
        return agt__fail(err, AGT_IO,
                         "process after process died while it removed .agent-trace/locks/%s; if no "
                         "program runs, remove that file",
                         name);
    for (int i = 0; i < SENTINEL_TRIES; i++) {
        agt_status st = sentinel_new_token(s->sys, mine.token, err);
        if (st == AGT_OK) st = sentinel_publish(s->sys, s->dir, claim, &mine, err);
        if (st == AGT_OK) {
            st = sentinel_reap(s, name, dead, err);
            (void)s->sys->remove(s->sys->ctx, s->dir, claim);
            return st;
        }
        if (st != AGT_CONFLICT) return st;
        st = sentinel_read(s->sys, s->dir, claim, &theirs, &found, err);
        if (st == AGT_OK && found == SENTINEL_ABSENT) continue;
        if (st == AGT_OK) st = sentinel_judge(s, claim, &theirs, found, err);
        if (st == AGT_OK) st = sentinel_clear(s, claim, &theirs, depth + 1, err);
        if (st != AGT_OK) return st;
    }
    return sentinel_busy(name, dead, "is being looked at by others", err);
}

/* ---- taking ---- */

static agt_status sentinel_try(agt_sentinel *s, agt_error *err) {
    for (int i = 0; i < SENTINEL_TRIES; i++) {
        agt_holder h;
        sentinel_found found;
        agt_status st = sentinel_read(s->sys, s->dir, SENTINEL_OWNER, &h, &found, err);
        if (st != AGT_OK) return st;
        if (found == SENTINEL_ABSENT) {
            st = sentinel_publish(s->sys, s->dir, SENTINEL_OWNER, &s->self, err);
            s->held = st == AGT_OK;
            if (st != AGT_CONFLICT) return st;
            continue;
        }
        st = sentinel_judge(s, SENTINEL_OWNER, &h, found, err);
        if (st == AGT_OK) st = sentinel_clear(s, SENTINEL_OWNER, &h, 1, err);
        if (st != AGT_OK) return st;
    }
    return agt__fail(err, AGT_BUSY, ".agent-trace/locks/%s changes hands again and again",
                     SENTINEL_OWNER);
}

AGT_PRIVATE void agt__sentinel_init(agt_sentinel *s, const agt_sys *sys, agt_fd dir,
                                    const char *program) {
    memset(s, 0, sizeof *s);
    s->sys = sys;
    s->dir = dir;
    agt__holder_self(&s->self, sys, program);
}

static int64_t sentinel_nap(const agt_sys *sys, int64_t delay, int64_t left) {
    uint32_t r;
    if (sys->random(sys->ctx, &r, sizeof r) >= 0) delay = delay / 2 + (int64_t)r % (delay / 2 + 1);
    return delay < left ? delay : left;
}

AGT_PRIVATE agt_status agt__sentinel_take(agt_sentinel *s, int32_t timeout_ms, agt_error *err) {
    const agt_sys *sys = s->sys;
    int64_t start = sys->mono_ns(sys->ctx), deadline = INT64_MAX, delay = SENTINEL_DELAY_MIN;
    if (timeout_ms < AGT_FOREVER)
        return agt__fail(err, AGT_INVALID, "a timeout of %ld ms is none", (long)timeout_ms);
    if (s->held) return sentinel_busy(SENTINEL_OWNER, &s->self, "is this one", err);
    agt_status st = sentinel_new_token(sys, s->self.token, err);
    if (st != AGT_OK) return st;
    if (timeout_ms == 0) timeout_ms = AGT_TIMEOUT_DEFAULT;
    if (timeout_ms == AGT_TRY) deadline = start;
    if (timeout_ms > 0) deadline = start + (int64_t)timeout_ms * 1000000;
    while ((st = sentinel_try(s, err)) == AGT_BUSY) {
        int64_t left = deadline - sys->mono_ns(sys->ctx);
        if (left <= 0) return st;
        sys->sleep_ns(sys->ctx, sentinel_nap(sys, delay, left));
        delay = delay < SENTINEL_DELAY_MAX / 2 ? delay * 2 : SENTINEL_DELAY_MAX;
    }
    return st;
}

AGT_PRIVATE bool agt__sentinel_still(const agt_sentinel *s) {
    return s->held && sentinel_has(s->sys, s->dir, SENTINEL_OWNER, s->self.token);
}

AGT_PRIVATE void agt__sentinel_drop(agt_sentinel *s) {
    if (agt__sentinel_still(s)) (void)s->sys->remove(s->sys->ctx, s->dir, SENTINEL_OWNER);
    s->held = false;
}

/* ---- looking ---- */

AGT_PRIVATE agt_status agt__sentinel_look(const agt_sys *sys, agt_fd dir, agt_holder *out,
                                          uint32_t *held, agt_error *err) {
    sentinel_found found;
    agt_status st = sentinel_read(sys, dir, SENTINEL_OWNER, out, &found, err);
    if (st != AGT_OK) return st;
    if (found == SENTINEL_ABSENT)
        return agt__fail(err, AGT_NOT_FOUND, "there is no .agent-trace/locks/%s", SENTINEL_OWNER);
    *held = found != SENTINEL_RECORD || agt__liveness_ask(sys, dir, out, NULL) != AGT_DEAD;
    return AGT_OK;
}

/* ---- sweeping (10) ---- */

#define SENTINEL_BATCH 32

/* Names in the folder, a batch of them. */
typedef struct sentinel_names {
    uint32_t skip, count;
    char name[SENTINEL_BATCH][SENTINEL_NAME];
} sentinel_names;

/* The token in a name of that kind, NULL if it is none. */
static const char *sentinel_name_token(const char *name, const char *before) {
    size_t n = strlen(before);
    return strncmp(name, before, n) == 0 && sentinel_token_valid(name + n) ? name + n : NULL;
}

static int sentinel_take_name(void *ctx, const char *name) {
    sentinel_names *l = ctx;
    if (!sentinel_name_token(name, SENTINEL_TMP) && !sentinel_name_token(name, SENTINEL_REAP))
        return 0;
    if (l->skip) {
        l->skip--;
        return 0;
    }
    (void)agt__copy_text(l->name[l->count], SENTINEL_NAME, name, strlen(name));
    return ++l->count == SENTINEL_BATCH;
}

/* Is it a dead process'? */
static bool sentinel_left(agt_sentinel *s, const char *name, agt_holder *h) {
    sentinel_found found;
    const char *tmp = sentinel_name_token(name, SENTINEL_TMP);
    if (sentinel_read(s->sys, s->dir, name, h, &found, NULL) != AGT_OK) return false;
    if (found != SENTINEL_RECORD || (tmp && strcmp(tmp, h->token) != 0)) return false;
    return agt__liveness_ask(s->sys, s->dir, h, NULL) == AGT_DEAD;
}

static bool sentinel_sweep_one(agt_sentinel *s, const char *name, const agt_holder *dead) {
    if (!sentinel_name_token(name, SENTINEL_TMP))
        return sentinel_clear(s, name, dead, 1, NULL) == AGT_OK;
    int rc = s->sys->remove(s->sys->ctx, s->dir, name);
    return rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT;
}

AGT_PRIVATE void agt__sentinel_sweep(agt_sentinel *s, bool clear, uint32_t most,
                                     agt_leftovers *out) {
    sentinel_names l;
    uint32_t stay = 0;
    memset(out, 0, sizeof *out);
    do {
        l.skip = stay;
        l.count = 0;
        (void)s->sys->list(s->sys->ctx, s->dir, sentinel_take_name, &l);
        for (uint32_t i = 0; i < l.count && !(most && out->found >= most); i++) {
            agt_holder h;
            bool left = sentinel_left(s, l.name[i], &h);
            bool gone = left && clear && sentinel_sweep_one(s, l.name[i], &h);
            out->found += left;
            out->removed += gone;
            stay += !gone;
            if (left && !gone && !out->first[0])
                (void)agt__copy_text(out->first, sizeof out->first, l.name[i], strlen(l.name[i]));
        }
    } while (l.count == SENTINEL_BATCH && !(most && out->found >= most));
}

AGT_PRIVATE agt_status agt__sentinel_none(agt_sentinel *s, agt_error *err) {
    agt_stat there;
    agt_holder h;
    sentinel_found found;
    int rc = s->sys->stat(s->sys->ctx, s->dir, SENTINEL_OWNER, &there);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    if (rc < 0)
        return agt__fail_io(err, rc, "cannot look at .agent-trace/locks/%s", SENTINEL_OWNER);
    agt_status st = sentinel_read(s->sys, s->dir, SENTINEL_OWNER, &h, &found, err);
    if (st != AGT_OK || found == SENTINEL_ABSENT) return st;
    st = sentinel_judge(s, SENTINEL_OWNER, &h, found, err);
    if (st == AGT_OK) st = sentinel_clear(s, SENTINEL_OWNER, &h, 1, err);
    if (st == AGT_OK) s->took_over = true;
    return st;
}
