/* libgit2: what is left to it. It reads objects that our own reader does not find, and it makes
 * diffs for people.
 *
 * (1) It is started by the first call that needs it and stopped when the handle is closed; starts
 *     are counted, so a host that uses libgit2 itself is not disturbed. No global option is set.
 * (2) It never opens a repository: no configuration, no environment, no owner check. It is given
 *     the objects folder, or two byte strings.
 * (3) It never writes.
 * (4) Its own memory does not come from the handle's allocator. */
#include "parts.h"

#include <git2.h>

#define LIBGIT2_PATH 4096u

static agt_status libgit2_fail(int code, const char *what, agt_error *err) {
    const git_error *last = git_error_last();
    agt_status status = AGT_GIT;
    if (code == GIT_ENOTFOUND)
        status = AGT_NOT_FOUND;
    else if (last && last->klass == GIT_ERROR_NOMEMORY)
        status = AGT_NOMEM;
    status = agt__fail(err, status, "%s: %.300s", what, last ? last->message : "no reason given");
    if (err) err->sys = code;
    return status;
}

static agt_status libgit2_start(agt_git *git, agt_error *err) {
    if (git->started) return AGT_OK;
    int code = git_libgit2_init();
    if (code < 0) return agt__fail(err, AGT_GIT, "libgit2 does not start (%d)", code);
    git->started = true;
    return AGT_OK;
}

AGT_PRIVATE void agt__git_foreign_free(agt_git *git) {
    if (git->odb) git_odb_free(git->odb);
    git->odb = NULL;
    if (git->started) (void)git_libgit2_shutdown();
    git->started = false;
}

/* ---- objects ---- */

/* Opens the objects folder. AGT_NOT_FOUND in a machine that has no disk. */
static agt_status libgit2_open(agt_git *git, agt_error *err) {
    char path[LIBGIT2_PATH];
    git_odb *odb = NULL;
    agt_fd objects;
    if (git->odb) return AGT_OK;
    agt_status status = agt__git_objects(git, false, &objects, err);
    if (status != AGT_OK) return status;
    int rc = git->sys->path_of(git->sys->ctx, objects, path, sizeof path);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS)
        return agt__fail(err, AGT_NOT_FOUND, "the git folder has no path");
    if (rc < 0) return agt__fail_io(err, rc, "cannot tell the path of the git folder");
    status = libgit2_start(git, err);
    if (status != AGT_OK) return status;
    int code = git_odb_open(&odb, path);
    if (code < 0) return libgit2_fail(code, "cannot open the git objects", err);
    git->odb = odb;
    return AGT_OK;
}

AGT_PRIVATE agt_status agt__git_foreign_load(agt_git *git, const agt_oid *id, int *kind,
                                             agt_buf *out, agt_error *err) {
    git_odb_object *object = NULL;
    git_oid oid;
    unsigned char sum[20];
    agt_status status = libgit2_open(git, err);
    if (status != AGT_OK) return status;
    memcpy(oid.id, id->id, sizeof id->id);
    int code = git_odb_read(&object, git->odb, &oid);
    if (code == GIT_EMISMATCH) return agt__fail(err, AGT_CORRUPT, "a git object is damaged");
    if (code < 0) return libgit2_fail(code, "cannot read a git object", err);
    const void *data = git_odb_object_data(object);
    size_t len = git_odb_object_size(object);
    *kind = (int)git_odb_object_type(object);
    if (!agt__git_kind(*kind))
        status = agt__fail(err, AGT_CORRUPT, "a git object has no kind");
    else
        agt__git_id(git->cpu, agt__git_kind(*kind), data, len, sum);
    if (status == AGT_OK && memcmp(sum, id->id, sizeof sum) != 0)
        status = agt__fail(err, AGT_CORRUPT, "a git object is damaged");
    if (status == AGT_OK && !agt__buf_reserve(out, len)) status = agt__nomem(err);
    if (status == AGT_OK) agt__buf_put(out, data, len);
    git_odb_object_free(object);
    return status;
}

/* ---- diffs ---- */

AGT_PRIVATE agt_status agt__git_diff(agt_git *git, const char *path, const void *from,
                                     size_t from_len, const void *to, size_t to_len, agt_buf *out,
                                     agt_error *err) {
    git_diff_options opts;
    git_patch *patch = NULL;
    git_buf text = GIT_BUF_INIT;
    bool same = from && to && from_len == to_len && memcmp(from, to, to_len) == 0;
    if (same || (!from && !to)) return AGT_OK;
    agt_status status = libgit2_start(git, err);
    if (status != AGT_OK) return status;
    int code = git_diff_options_init(&opts, GIT_DIFF_OPTIONS_VERSION);
    if (code == 0)
        code = git_patch_from_buffers(&patch, from, from_len, path, to, to_len, path, &opts);
    if (code == 0) code = git_patch_to_buf(&text, patch);
    if (code < 0)
        status = libgit2_fail(code, "cannot make a diff", err);
    else if (!agt__buf_reserve(out, text.size))
        status = agt__nomem(err);
    else
        agt__buf_put(out, text.ptr, text.size);
    git_buf_dispose(&text);
    git_patch_free(patch);
    return status;
}
