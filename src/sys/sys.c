/* sys: what every floor above needs from an agt_sys and would otherwise write again.
 *
 * Nothing here knows which system stands behind the struct: no OS header, no errno. A call that
 * fails leaves the caller's buffers as they were and no descriptor open.
 *
 * (1) A file of ours is replaced, never rewritten: the new bytes stand complete in `name.tmp`
 *     before the name moves, so a reader sees the old file or the new one.
 * (2) `name.tmp` is always made new (O_EXCL): what somebody planted there, a hard link for
 *     example, is unlinked and never written through.
 * (3) A folder is entered one component at a time and never through a link. */
#include "sys.h"

#include "../base/base.h"

#define SYS_NAME_MAX 255u

AGT_PRIVATE const agt_sys *agt__sys_or_os(const agt_sys *sys) {
    return sys ? sys : agt_sys_os();
}

AGT_PRIVATE int agt__write_all(const agt_sys *sys, agt_fd fd, const void *data, size_t n,
                               uint64_t offset) {
    const unsigned char *p = data;
    while (n) {
        int64_t put = sys->pwrite(sys->ctx, fd, p, n, offset);
        if (put < 0) return (int)put;
        /* a system that writes nothing and does not say why would keep us here for ever */
        if (put == 0 || (uint64_t)put > n) return AGT_SYS_ERR(AGT_SYS_IO, 0);
        p += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

AGT_PRIVATE int64_t agt__read_all(const agt_sys *sys, agt_fd fd, void *data, size_t n,
                                  uint64_t offset) {
    unsigned char *p = data;
    size_t have = 0;
    while (have < n) {
        int64_t got = sys->pread(sys->ctx, fd, p + have, n - have, offset + have);
        if (got < 0) return got;
        if (got == 0) break;
        if ((uint64_t)got > n - have) return AGT_SYS_ERR(AGT_SYS_IO, 0);
        have += (size_t)got;
    }
    return (int64_t)have;
}

AGT_PRIVATE agt_status agt__say_owner(const agt_sys *sys, agt_fd dir, const char *name, int64_t rc,
                                      agt_status status, agt_error *err) {
    agt_stat folder, part;
    if (!err || AGT_SYS_CLASS(rc) != AGT_SYS_ACCESS) return status;
    /* neither .agent-trace itself, whoever owns it, nor .agent-trace-ignore beside it */
    if (strncmp(name, AGT_STORE_NAME, sizeof AGT_STORE_NAME - 1) == 0) return status;
    if (sys->stat(sys->ctx, dir, name, &part) < 0 || sys->fstat(sys->ctx, dir, &folder) < 0 ||
        part.owner == folder.owner)
        return status;
    size_t n = strlen(err->message);
    (void)snprintf(err->message + n, sizeof err->message - n,
                   "; it belongs to user %lu: run 'chown -R %lu " AGT_STORE_NAME "' as root",
                   (unsigned long)part.owner, (unsigned long)folder.owner);
    return status;
}

/* The bytes of an open file up to its end, which may move while we read. */
static agt_status sys_read_open(const agt_sys *sys, agt_fd fd, const char *name, size_t max,
                                agt_buf *out, agt_error *err) {
    agt_stat st;
    int rc = sys->fstat(sys->ctx, fd, &st);
    if (rc < 0) return agt__fail_io(err, rc, "cannot look at %s", name);
    if (st.kind != AGT_FILE_REGULAR)
        return agt__fail(err, AGT_INVALID, "%s is not a regular file; move it away", name);
    if (st.size > max)
        return agt__fail(err, AGT_LIMIT, "%s has %llu bytes, more than %llu", name,
                         (unsigned long long)st.size, (unsigned long long)max);
    size_t start = out->len, want = (size_t)st.size + 1; /* one more byte shows the end */
    for (;;) {
        if (!agt__buf_reserve(out, want)) return agt__nomem(err);
        int64_t got = agt__read_all(sys, fd, out->data + out->len, want, out->len - start);
        if (got < 0) return agt__fail_io(err, got, "cannot read %s", name);
        out->len += (size_t)got;
        if (out->len - start > max)
            return agt__fail(err, AGT_LIMIT, "%s grew past %llu bytes", name,
                             (unsigned long long)max);
        if ((size_t)got < want) return AGT_OK;
        want = 4096;
    }
}

AGT_PRIVATE agt_status agt__read_file(const agt_sys *sys, agt_fd dir, const char *name, size_t max,
                                      agt_buf *out, agt_error *err) {
    size_t start = out->len;
    agt_fd fd = sys->open(sys->ctx, dir, name, AGT_O_READ, 0);
    if (fd < 0) {
        agt_status status = agt__fail_sys(err, fd, "cannot open %s", name);
        return agt__say_owner(sys, dir, name, fd, status, err);
    }
    agt_status status = sys_read_open(sys, fd, name, max, out, err);
    sys->close(sys->ctx, fd);
    if (status != AGT_OK) out->len = start;
    return status;
}

/* A new empty file, mode 0600; what a crash or somebody else left at its name is unlinked. */
static agt_fd sys_open_new(const agt_sys *sys, agt_fd dir, const char *name) {
    uint32_t flags = AGT_O_WRITE | AGT_O_CREATE | AGT_O_EXCL;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0600);
    if (fd >= 0 || AGT_SYS_CLASS(fd) != AGT_SYS_EXIST) return fd;
    int rc = sys->remove(sys->ctx, dir, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT) return rc;
    return sys->open(sys->ctx, dir, name, flags, 0600);
}

AGT_PRIVATE agt_status agt__write_file(const agt_sys *sys, agt_fd dir, const char *name,
                                       const void *data, size_t n, bool durable, agt_error *err) {
    char tmp[SYS_NAME_MAX + 1];
    size_t len = strlen(name);
    if (len + sizeof ".tmp" > sizeof tmp)
        return agt__fail(err, AGT_INVALID, "the file name %.40s... is too long", name);
    memcpy(tmp, name, len);
    memcpy(tmp + len, ".tmp", sizeof ".tmp");

    agt_fd fd = sys_open_new(sys, dir, tmp);
    if (fd < 0) return agt__fail_sys(err, fd, "cannot make %s", tmp);
    int rc = agt__write_all(sys, fd, data, n, 0);
    if (rc == 0 && durable) rc = sys->sync(sys->ctx, fd);
    sys->close(sys->ctx, fd);
    if (rc == 0) rc = sys->rename(sys->ctx, dir, tmp, dir, name, AGT_RENAME_REPLACE);
    if (rc < 0) {
        (void)sys->remove(sys->ctx, dir, tmp);
        return agt__fail_io(err, rc, "cannot write %s", name);
    }
    if (!durable) return AGT_OK;
    rc = sys->sync(sys->ctx, dir);
    if (rc == 0) return AGT_OK;
    agt_status status = agt__fail_io(err, rc, "cannot sync the folder of %s", name);
    if (err) err->outcome_unknown = 1;
    return status;
}

/* Opens the folder `name`, making it first if it is missing and `make` is set. */
static agt_fd sys_enter(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                        uint32_t mode) {
    uint32_t flags = AGT_O_READ | AGT_O_FOLDER;
    agt_fd fd = sys->open(sys->ctx, dir, name, flags, 0);
    if (fd >= 0 || !make || AGT_SYS_CLASS(fd) != AGT_SYS_NOENT) return fd;
    int rc = sys->make_folder(sys->ctx, dir, name, mode);
    /* somebody else may have made it in between: opening it decides */
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_EXIST) return rc;
    return sys->open(sys->ctx, dir, name, flags, 0);
}

AGT_PRIVATE bool agt__same_file(const agt_stat *a, const agt_stat *b) {
    return a->dev == b->dev && a->ino == b->ino;
}

AGT_PRIVATE agt_status agt__open_folder(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                                        agt_fd *out, agt_error *err) {
    *out = AGT_FD_NONE;
    agt_fd fd = sys_enter(sys, dir, name, make, 0700);
    const char *where = strcmp(name, AGT_STORE_NAME) == 0 ? "" : " in " AGT_STORE_NAME;
    if (fd < 0) {
        agt_status status = agt__fail_sys(err, fd, "cannot open the folder %s%s", name, where);
        return agt__say_owner(sys, dir, name, fd, status, err);
    }
    *out = fd;
    return AGT_OK;
}

AGT_PRIVATE int agt__take_name(void *ctx, const char *name) {
    agt_buf *names = ctx;
    agt__buf_put(names, name, strlen(name) + 1);
    return names->failed;
}

/* Copies the component of `path` at *at and moves *at to the next one. False if it is too long. */
static bool sys_component(const char *path, size_t *at, char *name, size_t size) {
    size_t start = *at, end = start;
    while (path[end] && path[end] != '/')
        end++;
    *at = path[end] ? end + 1 : end;
    return agt__copy_text(name, size, path + start, end - start);
}

/* Made under its own name: several processes may do this at once, and all write the same. */
AGT_PRIVATE agt_status agt__hide_folder(const agt_sys *sys, agt_fd at, agt_error *err) {
    static const char name[] = ".gitignore", all[] = "*\n";
    agt_stat st;
    int rc = sys->stat(sys->ctx, at, name, &st);
    if (rc >= 0 && st.size) return AGT_OK;
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot look at " AGT_STORE_NAME "/%s", name);
    agt_fd fd = sys->open(sys->ctx, at, name, AGT_O_READ | AGT_O_WRITE | AGT_O_CREATE, 0600);
    if (fd < 0) return agt__fail_io(err, (int)fd, "cannot make " AGT_STORE_NAME "/%s", name);
    rc = agt__write_all(sys, fd, all, sizeof all - 1, 0);
    if (rc == 0) rc = sys->sync(sys->ctx, fd);
    sys->close(sys->ctx, fd);
    if (rc == 0) rc = sys->sync(sys->ctx, at);
    return rc < 0 ? agt__fail_io(err, rc, "cannot write " AGT_STORE_NAME "/%s", name) : AGT_OK;
}

/* Takes back a private folder that could not be hidden; not one that somebody else has filled. */
static void sys_take_back(const agt_sys *sys, agt_fd root, agt_fd at) {
    agt_stat st;
    if (sys->stat(sys->ctx, at, ".gitignore", &st) >= 0 && !st.size)
        (void)sys->remove(sys->ctx, at, ".gitignore");
    (void)sys->remove_folder(sys->ctx, root, AGT_STORE_NAME);
}

AGT_PRIVATE agt_status agt__open_private(const agt_sys *sys, agt_fd root, bool make, agt_fd *out,
                                         agt_error *err) {
    agt_error mine;
    mine.status = AGT_OK;
    agt_status status = agt__open_folder(sys, root, AGT_STORE_NAME, false, out, &mine);
    if (status != AGT_NOT_FOUND || !make) return agt__answer(status, &mine, err);
    status = agt__open_folder(sys, root, AGT_STORE_NAME, true, out, err);
    if (status == AGT_OK) status = agt__hide_folder(sys, *out, err);
    if (status == AGT_OK || *out == AGT_FD_NONE) return status;
    sys_take_back(sys, root, *out);
    sys->close(sys->ctx, *out);
    *out = AGT_FD_NONE;
    return status;
}

AGT_PRIVATE agt_fd agt__walk_folder(const agt_sys *sys, agt_fd dir, const char *path, bool make) {
    if (!path[0]) return sys->open(sys->ctx, dir, ".", AGT_O_READ | AGT_O_FOLDER, 0);
    agt_fd at = sys->walk(sys->ctx, dir, path);
    if (at >= 0 || !make || AGT_SYS_CLASS(at) != AGT_SYS_NOENT) return at;

    char name[SYS_NAME_MAX + 1];
    size_t pos = 0;
    at = dir;
    while (path[pos]) {
        agt_fd next = AGT_SYS_ERR(AGT_SYS_NAME, 0);
        if (sys_component(path, &pos, name, sizeof name))
            next = sys_enter(sys, at, name, true, 0777);
        if (at != dir) sys->close(sys->ctx, at);
        if (next < 0) return next;
        at = next;
    }
    return at;
}
