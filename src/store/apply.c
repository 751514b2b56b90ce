/* apply: what a committed record does to the files, and the look before and after it.
 *
 * (1) A document arrives by rename, never in place: readers see the old file or the new one.
 * (2) A person's edit is never silently overwritten. The file is looked at before the record is
 *     made, and what the rename replaced is looked at once more: where it is not what was seen, or
 *     somebody still has it open for writing, it is kept in .agent-trace/aside/.
 * (3) Where the system can exchange two names, nothing is ever lost between look and rename. Where
 *     it cannot, the old file gets a second name first; an editor that replaces the file by rename
 *     between that and ours (two system calls) is not seen.
 * (4) No link is followed anywhere on the way.
 * (5) The new file has the rights, the owner and the group of the one it replaces, as far as this
 *     process may give it away. The set-id bits come along only where owner and group did: they
 *     would be somebody else's. */
#include "store.h"

#define APPLY_RACY_NS     100000000LL /* a change within the clock's tick of a look may hide in it */
#define APPLY_TRIES       16
#define APPLY_ASIDE_TRIES 1000u
#define APPLY_BESIDE      ".agent-trace-" /* temporaries in a folder on another device */

AGT_PRIVATE void agt__seq_name(uint64_t seq, const char *suffix, char out[40]) {
    char digits[24];
    size_t n = 0, len = strlen(suffix);
    do
        digits[n++] = (char)('0' + seq % 10);
    while ((seq /= 10) != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    memcpy(out + n, suffix, len + 1);
}

AGT_PRIVATE agt_fd agt__open_parent(agt_store *s, const char *path, size_t len, bool make,
                                    const char **leaf) {
    char folder[AGT_MAX_PATH + 1];
    size_t cut = len;
    while (cut > 0 && path[cut - 1] != '/')
        cut--;
    *leaf = path + cut;
    memcpy(folder, path, cut);
    folder[cut ? cut - 1 : 0] = 0;
    return agt__walk_folder(s->sys, s->root, folder, make);
}

static agt_status apply_in_the_way(agt_error *err, int64_t rc, const char *path, size_t len) {
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    switch (AGT_SYS_CLASS(rc)) {
    case AGT_SYS_LOOP:
        return agt__fail(err, AGT_INVALID,
                         "%s: a symbolic link stands in the way; documents are never written "
                         "through links, use another path",
                         shown);
    case AGT_SYS_NOTDIR:
        return agt__fail(err, AGT_INVALID,
                         "%s: a file stands where a folder is needed; use another path", shown);
    case AGT_SYS_ISDIR:
        return agt__fail(err, AGT_INVALID, "%s is a folder; use another name", shown);
    default: return agt__fail_io(err, rc, "cannot reach %s", shown);
    }
}

AGT_PRIVATE agt_status agt__target(agt_store *s, const char *path, size_t len, agt_error *err) {
    char folder[AGT_MAX_PATH + 1];
    agt_fd fd = AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    memcpy(folder, path, len);
    for (size_t n = len; AGT_SYS_CLASS(fd) == AGT_SYS_NOENT && n > 0;) {
        while (n > 0 && folder[n - 1] != '/')
            n--;
        folder[n ? --n : 0] = 0; /* the folder, or the deepest one there is */
        fd = agt__walk_folder(s->sys, s->root, folder, false);
        if (fd >= 0) break;
    }
    if (fd < 0) return apply_in_the_way(err, fd, path, len);
    int rc = s->sys->may_change(s->sys->ctx, fd);
    s->sys->close(s->sys->ctx, fd);
    if (rc >= 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) return AGT_OK;
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    return agt__fail_io(err, rc, "cannot change %s: its folder may not be written", shown);
}

/* ---- looking ---- */

static agt_status apply_read_fd(agt_store *s, agt_fd fd, const agt_stat *st, const char *path,
                                size_t len, agt_buf *bytes, agt_error *err) {
    char shown[200];
    agt__show_path(shown, sizeof shown, path, len);
    if (st->kind == AGT_FILE_FOLDER)
        return agt__fail(err, AGT_INVALID, "%s is a folder; use another name", shown);
    if (st->kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file; use another name", shown);
    if (st->size > AGT_MAX_DOCUMENT)
        return agt__fail(err, AGT_LIMIT, "%s has more than %u bytes, the most a document may have",
                         shown, (unsigned)AGT_MAX_DOCUMENT);
    size_t want = (size_t)st->size;
    for (;;) { /* it may grow while it is read: one byte more is asked for */
        size_t room = want - bytes->len + 1;
        if (!agt__buf_reserve(bytes, room)) return agt__nomem(err);
        int64_t n = s->sys->pread(s->sys->ctx, fd, bytes->data + bytes->len, room, bytes->len);
        if (n < 0 || (uint64_t)n > room)
            return agt__fail_io(err, n < 0 ? n : AGT_SYS_ERR(AGT_SYS_IO, 0), "cannot read %s",
                                shown);
        bytes->len += (size_t)n;
        if (n == 0 || bytes->len == st->size) return AGT_OK;
        if (bytes->len > AGT_MAX_DOCUMENT)
            return agt__fail(err, AGT_LIMIT, "%s grows while it is read", shown);
        if (bytes->len > want) want = bytes->len * 2;
    }
}

AGT_PRIVATE agt_status agt__look(agt_store *s, const char *path, size_t len, agt_buf *bytes,
                                 agt_look *out, agt_error *err) {
    const char *leaf;
    memset(out, 0, sizeof *out);
    bytes->len = 0;
    agt_fd folder = agt__open_parent(s, path, len, false, &leaf);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return apply_in_the_way(err, folder, path, len);
    agt_fd fd = s->sys->open(s->sys->ctx, folder, leaf, AGT_O_READ, 0);
    s->sys->close(s->sys->ctx, folder);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return AGT_OK;
    if (fd < 0) return apply_in_the_way(err, fd, path, len);
    int rc = s->sys->fstat(s->sys->ctx, fd, &out->stat);
    agt_status st = rc < 0 ? apply_in_the_way(err, rc, path, len)
                           : apply_read_fd(s, fd, &out->stat, path, len, bytes, err);
    s->sys->close(s->sys->ctx, fd);
    if (st != AGT_OK) return st;
    out->on_disk = true;
    agt__git_id(s->cpu, "blob", bytes->data, bytes->len, out->blob.id);
    return AGT_OK;
}

AGT_PRIVATE bool agt__look_is(const agt_look *look, bool exists, const agt_oid *blob) {
    return look->on_disk == exists && (!exists || memcmp(look->blob.id, blob->id, 20) == 0);
}

AGT_PRIVATE void agt__row_stat(agt_row *row, const agt_stat *st) {
    row->dev = st->dev;
    row->ino = st->ino;
    row->mtime_ns = st->mtime_ns;
    row->ctime_ns = st->ctime_ns;
}

/* ---- staging ---- */

AGT_PRIVATE void agt__unstage(agt_store *s, uint64_t seq) {
    char name[40];
    agt__seq_name(seq, ".new", name);
    (void)s->sys->remove(s->sys->ctx, s->tmp, name);
}

/* The document's folder is on another device, so what is kept stays in it. */
static int apply_keep_beside(agt_store *s, agt_fd folder, const char *name, uint64_t seq) {
    char kept[96], suffix[64];
    agt_stat taken;
    int rc = 0;
    for (uint64_t k = 1; k < APPLY_ASIDE_TRIES; k++) {
        suffix[0] = '.';
        agt__seq_name(k, ".kept", suffix + 1);
        memcpy(kept, APPLY_BESIDE, sizeof APPLY_BESIDE - 1);
        agt__seq_name(seq, suffix, kept + sizeof APPLY_BESIDE - 1);
        if (s->sys->stat(s->sys->ctx, folder, kept, &taken) == 0) continue;
        rc = s->sys->rename(s->sys->ctx, folder, name, folder, kept, AGT_RENAME_REPLACE);
        return rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
    }
    return AGT_SYS_ERR(AGT_SYS_EXIST, 0);
}

/* A temporary of that name is left from a process that died. In tmp/ recovery has looked at it;
 * beside a document nobody has, and it may be an edit that an exchange took out. */
static int apply_clear_name(agt_store *s, agt_fd dir, const char *name, uint64_t seq) {
    return dir == s->tmp ? s->sys->remove(s->sys->ctx, dir, name)
                         : apply_keep_beside(s, dir, name, seq);
}

/* (5) for an open temporary that was just filled; p->staged tells of it. */
static int apply_rights(agt_store *s, agt_fd fd, const agt_place *p) {
    const agt_sys *sys = s->sys;
    const agt_stat *is = &p->staged, *like = p->before.on_disk ? &p->before.stat : &p->like;
    uint32_t mode = like->mode;
    bool known = like->kind == AGT_FILE_REGULAR; /* somebody looked: it is not only a mode */
    if (known && (like->owner != is->owner || like->group != is->group) &&
        (!sys->set_owner || sys->set_owner(sys->ctx, fd, like->owner, like->group) < 0))
        mode &= ~06000u;
    return mode && mode != is->mode ? sys->set_mode(sys->ctx, fd, mode) : 0;
}

static int apply_write_new(agt_store *s, agt_fd dir, const char *name, agt_place *p,
                           const void *bytes, size_t len) {
    const agt_sys *sys = s->sys;
    uint32_t flags = AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0666);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_EXIST) { /* left by a writer that died staging */
        int rc = apply_clear_name(s, dir, name, p->seq);
        if (rc < 0) return rc;
        fd = sys->open(sys->ctx, dir, name, flags, 0666);
    }
    if (fd < 0) return (int)fd;
    int rc = agt__write_all(sys, fd, bytes, len, 0);
    if (rc == 0) rc = sys->fstat(sys->ctx, fd, &p->staged);
    if (rc == 0) rc = apply_rights(s, fd, p);
    sys->close(sys->ctx, fd);
    if (rc < 0) (void)sys->remove(sys->ctx, dir, name);
    return rc;
}

AGT_PRIVATE agt_status agt__stage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                  agt_error *err) {
    char name[40], shown[200];
    agt__seq_name(p->seq, ".new", name);
    int rc = apply_write_new(s, s->tmp, name, p, bytes, len);
    if (rc == 0) return AGT_OK;
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    return agt__fail_io(err, rc, "cannot write a temporary file for %s", shown);
}

AGT_PRIVATE agt_status agt__restage(agt_store *s, agt_place *p, const void *bytes, size_t len,
                                    agt_error *err) {
    char part[40], name[40], shown[200];
    agt__seq_name(p->seq, ".part", part);
    agt__seq_name(p->seq, ".new", name);
    int rc = apply_write_new(s, s->tmp, part, p, bytes, len);
    if (rc == 0) rc = s->sys->rename(s->sys->ctx, s->tmp, part, s->tmp, name, AGT_RENAME_REPLACE);
    if (rc == 0) return AGT_OK;
    (void)s->sys->remove(s->sys->ctx, s->tmp, part);
    agt__show_path(shown, sizeof shown, p->path, p->path_len);
    return agt__fail_io(err, rc, "cannot write a temporary file for %s", shown);
}

/* ---- placing ---- */

static bool apply_is_seen(agt_store *s, agt_fd fd, const agt_place *p) {
    agt_stat now;
    const agt_stat *seen = &p->before.stat;
    if (s->sys->fstat(s->sys->ctx, fd, &now) < 0 || !p->before.on_disk) return false;
    if (s->sys->has_writer(s->sys->ctx, fd) == 1) return false; /* may still be written */
    if (now.size != seen->size) return false;
    int64_t age = s->sys->now_unix_ms(s->sys->ctx) * 1000000 - now.mtime_ns;
    if (now.ino == seen->ino && now.dev == seen->dev && now.mtime_ns == seen->mtime_ns &&
        age > APPLY_RACY_NS)
        return true;
    agt_oid id;
    s->scratch.len = 0;
    if (now.kind != AGT_FILE_REGULAR ||
        apply_read_fd(s, fd, &now, p->path, p->path_len, &s->scratch, NULL) != AGT_OK)
        return false;
    agt__git_id(s->cpu, "blob", s->scratch.data, s->scratch.len, id.id);
    return memcmp(id.id, p->before.blob.id, 20) == 0;
}

/* aside/<seq>-<label>, or <seq>.<n>-<label> where that is taken: nothing kept is ever replaced. */
AGT_PRIVATE int agt__keep_aside(agt_store *s, const char *name, uint64_t seq, const char *label,
                                size_t len) {
    char to[40 + 40 + 64], suffix[48];
    const agt_sys *sys = s->sys;
    agt_stat taken;
    int rc = 0;
    for (uint64_t k = 0; k < APPLY_ASIDE_TRIES; k++) {
        suffix[0] = '.';
        agt__seq_name(k, "-", suffix + 1);
        agt__seq_name(seq, k ? suffix : "-", to);
        size_t at = strlen(to), n = len, room = sizeof to - at - 1;
        const char *from = label;
        if (n > room) { /* the end of a name says more; never begin inside a character */
            from += n - room;
            n = room;
            while (n && ((unsigned char)*from & 0xc0) == 0x80)
                from++, n--;
        }
        memcpy(to + at, from, n);
        to[at + n] = 0;
        rc = sys->rename(sys->ctx, s->tmp, name, s->aside, to, AGT_RENAME_NOREPLACE);
        if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS &&
            sys->stat(sys->ctx, s->aside, to, &taken) < 0)
            rc = sys->rename(sys->ctx, s->tmp, name, s->aside, to, AGT_RENAME_REPLACE);
        if (rc == 0) return sys->sync(sys->ctx, s->aside);
        if (AGT_SYS_CLASS(rc) != AGT_SYS_EXIST && AGT_SYS_CLASS(rc) != AGT_SYS_NOSYS) break;
    }
    return rc;
}

static int apply_keep_aside(agt_store *s, const char *name, agt_place *p) {
    const char *leaf = p->path + p->path_len;
    while (leaf > p->path && leaf[-1] != '/')
        leaf--;
    int rc = agt__keep_aside(s, name, p->seq, leaf, (size_t)(p->path + p->path_len - leaf));
    if (rc == 0) p->kept_aside = true;
    return rc;
}

/* (2): `name` in `dir` is what was replaced. */
static int apply_check_replaced(agt_store *s, agt_fd dir, const char *name, agt_place *p) {
    agt_fd fd = s->sys->open(s->sys->ctx, dir, name, AGT_O_READ, 0);
    if (fd < 0 && AGT_SYS_CLASS(fd) == AGT_SYS_NOENT) return 0;
    bool seen = fd >= 0 && apply_is_seen(s, fd, p);
    if (fd >= 0) s->sys->close(s->sys->ctx, fd);
    if (seen) return s->sys->remove(s->sys->ctx, dir, name);
    if (dir == s->tmp) return apply_keep_aside(s, name, p);
    p->kept_aside = true;
    return apply_keep_beside(s, dir, name, p->seq);
}

/* The name of a temporary in tmp/, or beside the document. */
static void apply_name(const agt_store *s, agt_fd dir, uint64_t seq, const char *suffix,
                       char out[64]) {
    size_t n = dir == s->tmp ? 0 : sizeof APPLY_BESIDE - 1;
    memcpy(out, APPLY_BESIDE, n);
    agt__seq_name(seq, suffix, out + n);
}

/* (3), where names cannot be exchanged. */
static int apply_replace_plain(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir,
                               const char *name, agt_place *p) {
    char old[64];
    const agt_sys *sys = s->sys;
    apply_name(s, dir, p->seq, ".old", old);
    (void)apply_clear_name(s, dir, old, p->seq);
    int rc = sys->link(sys->ctx, folder, leaf, dir, old);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return rc;
    bool linked = rc == 0;
    rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_REPLACE);
    if (rc < 0) {
        if (linked) (void)sys->remove(sys->ctx, dir, old);
        return rc;
    }
    return linked ? apply_check_replaced(s, dir, old, p) : 0;
}

static bool apply_is_folder(agt_store *s, agt_fd dir, const char *name) {
    agt_stat st;
    return s->sys->stat(s->sys->ctx, dir, name, &st) == 0 && st.kind == AGT_FILE_FOLDER;
}

/* A name for what has none, where neither a rename nor a link takes care not to replace. */
static int apply_new_plain(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir,
                           const char *name) {
    agt_stat st;
    int rc = s->sys->stat(s->sys->ctx, folder, leaf, &st);
    if (rc == 0) return AGT_SYS_ERR(AGT_SYS_EXIST, 0);
    if (AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return rc;
    return s->sys->rename(s->sys->ctx, dir, name, folder, leaf, AGT_RENAME_REPLACE);
}

/* `name` in `dir` becomes the document. */
static int apply_put(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir, const char *name,
                     agt_place *p) {
    const agt_sys *sys = s->sys;
    bool there = p->before.on_disk;
    int rc = 0;
    for (int i = 0; i < APPLY_TRIES; i++) {
        if (there) {
            rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_EXCHANGE);
            if (rc == 0 && apply_is_folder(s, dir, name)) { /* somebody's, and what is in it */
                rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_EXCHANGE);
                return rc < 0 ? rc : AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
            }
            if (rc == 0) return apply_check_replaced(s, dir, name, p);
            if (AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS || AGT_SYS_CLASS(rc) == AGT_SYS_NAME)
                rc = apply_replace_plain(s, folder, leaf, dir, name, p);
            if (rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return rc;
            there = false; /* somebody deleted it meanwhile */
        } else {
            rc = sys->rename(sys->ctx, dir, name, folder, leaf, AGT_RENAME_NOREPLACE);
            if (AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS)
                rc = apply_new_plain(s, folder, leaf, dir, name);
            if (rc == 0 || AGT_SYS_CLASS(rc) != AGT_SYS_EXIST) return rc;
            there = true; /* somebody made it meanwhile */
        }
    }
    return rc;
}

static int apply_take_away(agt_store *s, agt_fd folder, const char *leaf, agt_fd dir,
                           agt_place *p) {
    char old[64];
    agt_stat st;
    apply_name(s, dir, p->seq, ".old", old);
    int rc = s->sys->stat(s->sys->ctx, folder, leaf, &st);
    if (rc < 0) return AGT_SYS_CLASS(rc) == AGT_SYS_NOENT ? 0 : rc;
    if (st.kind == AGT_FILE_FOLDER) return AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
    if (dir != s->tmp && (rc = apply_clear_name(s, dir, old, p->seq)) < 0) return rc;
    rc = s->sys->rename(s->sys->ctx, folder, leaf, dir, old, AGT_RENAME_REPLACE);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return 0;
    return rc < 0 ? rc : apply_check_replaced(s, dir, old, p);
}

/* The folder is on another device: the bytes are copied beside the document first, and everything
 * else happens there. */
static int apply_across(agt_store *s, agt_fd folder, const char *leaf, const char *name,
                        agt_place *p) {
    char beside[64];
    if (p->remove) return apply_take_away(s, folder, leaf, folder, p);
    agt_fd fd = s->sys->open(s->sys->ctx, s->tmp, name, AGT_O_READ, 0);
    if (fd < 0) return (int)fd;
    s->scratch.len = 0;
    agt_status st = apply_read_fd(s, fd, &p->staged, p->path, p->path_len, &s->scratch, NULL);
    s->sys->close(s->sys->ctx, fd);
    if (st != AGT_OK) return AGT_SYS_ERR(st == AGT_NOMEM ? AGT_SYS_NOMEM : AGT_SYS_IO, 0);
    apply_name(s, folder, p->seq, ".tmp", beside);
    int rc = apply_write_new(s, folder, beside, p, s->scratch.data, s->scratch.len);
    if (rc < 0) return rc;
    rc = apply_put(s, folder, leaf, folder, beside, p);
    if (rc < 0)
        (void)s->sys->remove(s->sys->ctx, folder, beside);
    else
        agt__unstage(s, p->seq);
    return rc;
}

AGT_PRIVATE agt_status agt__place(agt_store *s, agt_place *p, agt_error *err) {
    char name[40];
    const char *leaf;
    memset(&p->after, 0, sizeof p->after);
    agt_fd folder = agt__open_parent(s, p->path, p->path_len, !p->remove, &leaf);
    if (folder < 0 && p->remove && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return apply_in_the_way(err, folder, p->path, p->path_len);
    agt__seq_name(p->seq, ".new", name);
    int rc = p->remove ? apply_take_away(s, folder, leaf, s->tmp, p)
                       : apply_put(s, folder, leaf, s->tmp, name, p);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_XDEV) rc = apply_across(s, folder, leaf, name, p);
    if (rc == 0 && !p->remove && s->sys->stat(s->sys->ctx, folder, leaf, &p->after) == 0 &&
        (p->after.ino != p->staged.ino || p->after.mtime_ns != p->staged.mtime_ns ||
         p->after.size != p->staged.size))
        memset(&p->after, 0, sizeof p->after); /* already somebody else's: look again later */
    s->sys->close(s->sys->ctx, folder);
    return rc < 0 ? apply_in_the_way(err, rc, p->path, p->path_len) : AGT_OK;
}

AGT_PRIVATE agt_status agt__sync_document(agt_store *s, const char *path, size_t len,
                                          agt_error *err) {
    const agt_sys *sys = s->sys;
    const char *leaf;
    char shown[200];
    agt_fd folder = agt__open_parent(s, path, len, false, &leaf);
    agt_fd fd = folder < 0 ? folder : sys->open(sys->ctx, folder, leaf, AGT_O_READ, 0);
    int rc = fd < 0 ? (int)fd : sys->sync(sys->ctx, fd);
    if (rc == 0) rc = sys->sync(sys->ctx, folder);
    if (fd >= 0 && folder >= 0) sys->close(sys->ctx, fd);
    if (folder >= 0) sys->close(sys->ctx, folder);
    if (rc >= 0) return AGT_OK;
    return agt__fail_io(err, rc, "cannot sync %s", agt__show_path(shown, sizeof shown, path, len));
}
