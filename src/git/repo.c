/* repo: the repository's few fixed files, the handle, the ref, and the broom.
 *
 *     HEAD                 ref: refs/heads/main
 *     config               repositoryformatversion 0, bare, no reflogs
 *     refs/heads/main      40 hexadecimal digits and a newline
 *     packed-refs          never written by us; read where somebody's git made one
 *     objects/ objects/pack/ objects/info/ refs/heads/ refs/tags/
 *
 * (1) The ref moves by a lock file and a rename, and only then; a lock file that lies there is a
 *     dead writer's, because publishers exclude one another, and is replaced.
 * (2) A loose ref beats a packed one. A ref that is no 40 digits is damage, not an absence.
 * (3) The broom removes temporaries and locks of our own names at once. Those of other names may
 *     belong to a git command that is at work right now: they are removed once they are
 *     REPO_STALE old. None of them is ever in our way. */
#include "parts.h"

#define REPO_STALE_NS 10000000000LL
#define REPO_REF_MAX  4096u
#define REPO_PACKED   (64u * 1024 * 1024)
#define REPO_NAME     256u
#define REPO_DEPTH    16u
#define REPO_HEAD     "ref: refs/heads/main\n"
#define REPO_CONFIG                                                                                \
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = false\n\tbare = true\n"                   \
    "\tlogallrefupdates = false\n"

/* ---- init, open, close ---- */

/* Writes a file unless it is there and begins as it should. */
static agt_status repo_make_file(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                 const char *name, const char *text, size_t same, agt_error *err) {
    agt_buf b = agt__buf(mem);
    agt_error mine;
    agt_status status = agt__read_file(sys, dir, name, REPO_PACKED, &b, &mine);
    bool good = status == AGT_OK && b.len >= same && memcmp(b.data, text, same) == 0;
    agt__buf_free(&b);
    if (good) return AGT_OK;
    if (status != AGT_OK && status != AGT_NOT_FOUND) {
        if (err) *err = mine;
        return status;
    }
    return agt__write_file(sys, dir, name, text, strlen(text), true, err);
}

/* Makes `parent` and two folders in it, and syncs their names. */
static agt_status repo_make_folders(const agt_sys *sys, agt_fd dir, const char *parent,
                                    const char *one, const char *two, agt_error *err) {
    agt_fd fd, sub;
    agt_status status = agt__open_folder(sys, dir, parent, true, &fd, err);
    if (status != AGT_OK) return status;
    const char *names[2] = {one, two};
    for (size_t i = 0; i < 2 && status == AGT_OK; i++) {
        status = agt__open_folder(sys, fd, names[i], true, &sub, err);
        if (status != AGT_OK) break;
        int rc = sys->sync(sys->ctx, sub);
        sys->close(sys->ctx, sub);
        if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    }
    int rc = status == AGT_OK ? sys->sync(sys->ctx, fd) : 0;
    if (rc < 0) status = agt__fail_io(err, rc, "cannot sync the git folder");
    sys->close(sys->ctx, fd);
    return status;
}

AGT_PRIVATE agt_status agt__git_init(const agt_sys *sys, agt_fd dir, const agt_mem *mem,
                                     agt_error *err) {
    agt_status status = repo_make_folders(sys, dir, "objects", "pack", "info", err);
    if (status == AGT_OK) status = repo_make_folders(sys, dir, "refs", "heads", "tags", err);
    /* what a person added to the configuration stays; an empty file is a power cut's */
    if (status == AGT_OK) status = repo_make_file(sys, dir, mem, "config", REPO_CONFIG, 1, err);
    if (status == AGT_OK)
        status = repo_make_file(sys, dir, mem, "HEAD", REPO_HEAD, strlen(REPO_HEAD), err);
    if (status != AGT_OK) return status;
    int rc = sys->sync(sys->ctx, dir);
    return rc < 0 ? agt__fail_io(err, rc, "cannot sync the git folder") : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_open(agt_git **out, const agt_sys *sys, agt_fd dir,
                                     const agt_mem *mem, agt_cpu cpu, agt_error *err) {
    agt_git *git = agt__zalloc(mem, sizeof *git);
    *out = git;
    if (!git) return agt__nomem(err);
    git->sys = sys;
    git->dir = dir;
    git->objects = AGT_FD_NONE;
    git->mem = *mem;
    git->cpu = cpu;
    git->io = agt__buf(&git->mem);
    git->in = agt__buf(&git->mem);
    git->scratch = agt__buf(&git->mem);
    for (size_t i = 0; i < AGT_COUNT(git->work); i++)
        git->work[i] = agt__buf(&git->mem);
    return AGT_OK;
}

AGT_PRIVATE void agt__git_close(agt_git *git) {
    if (!git) return;
    agt__git_abort(git);
    agt__git_foreign_free(git);
    agt__git_objects_free(git);
    agt__git_codec_free(git);
    agt__buf_free(&git->scratch);
    agt_mem mem = git->mem;
    agt__free(&mem, git, sizeof *git);
}

/* ---- the ref ---- */

static agt_status repo_bad_ref(const char *name, agt_error *err) {
    return agt__fail(err, AGT_CORRUPT,
                     "%s in the git folder is damaged; remove it and publish again", name);
}

/* Looks for refs/heads/main among the lines "<id> <name>" of packed-refs. */
static agt_status repo_packed_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    static const char name[] = " refs/heads/main";
    const size_t want = AGT_GIT_HEX + sizeof name - 1;
    agt_buf b = agt__buf(&git->mem);
    agt_error mine;
    agt_status status = agt__read_file(git->sys, git->dir, "packed-refs", REPO_PACKED, &b, &mine);
    if (status == AGT_NOT_FOUND) return AGT_OK;
    if (status != AGT_OK) {
        agt__buf_free(&b);
        if (err) *err = mine;
        return status;
    }
    const char *p = (const char *)b.data, *end = p ? p + b.len : p, *line_end;
    for (; p && status == AGT_OK && p < end && !*found; p = line_end + 1) {
        line_end = memchr(p, '\n', (size_t)(end - p));
        if (!line_end) line_end = end;
        size_t n = (size_t)(line_end - p);
        if (n && p[n - 1] == '\r') n--;
        if (n != want || memcmp(p + AGT_GIT_HEX, name, sizeof name - 1) != 0) continue;
        *found = agt__unhex(p, AGT_GIT_HEX, out->id, sizeof out->id);
        if (!*found) status = repo_bad_ref("packed-refs", err);
    }
    agt__buf_free(&b);
    return status;
}

AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    const agt_sys *sys = git->sys;
    agt_error mine;
    *found = false;
    agt_fd heads = sys->walk(sys->ctx, git->dir, "refs/heads");
    if (heads < 0 && AGT_SYS_CLASS(heads) == AGT_SYS_NOENT)
        return repo_packed_head(git, out, found, err);
    if (heads < 0) return agt__fail_io(err, heads, "cannot open refs/heads in the git folder");
    agt_buf b = agt__buf(&git->mem);
    agt_status status = agt__read_file(sys, heads, "main", REPO_REF_MAX, &b, &mine);
    sys->close(sys->ctx, heads);
    size_t n = b.len;
    while (status == AGT_OK && n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r'))
        n--;
    if (status == AGT_OK) *found = agt__unhex((const char *)b.data, n, out->id, sizeof out->id);
    agt__buf_free(&b);
    if (status == AGT_NOT_FOUND) return repo_packed_head(git, out, found, err);
    if (*found) return AGT_OK;
    if (status == AGT_OK || status == AGT_LIMIT || status == AGT_INVALID) /* (2) */
        return repo_bad_ref("refs/heads/main", err);
    if (err) *err = mine;
    return status;
}

/* Writes refs/heads/<name> by way of <name>.lock (1). */
static agt_status repo_put_ref(agt_git *git, agt_fd heads, const char *name, const agt_oid *id,
                               bool durable, agt_error *err) {
    char hex[AGT_GIT_HEX + 1], lock[REPO_NAME];
    agt_git_file f;
    size_t n = strlen(name);
    if (!n || n + sizeof ".lock" > sizeof lock || memchr(name, '/', n))
        return agt__fail(err, AGT_INVALID, "\"%.40s\" cannot be the name of a branch", name);
    memcpy(lock, name, n);
    memcpy(lock + n, ".lock", sizeof ".lock");
    agt__hex(id->id, sizeof id->id, hex);
    hex[AGT_GIT_HEX] = '\n';
    agt_status status = agt__git_file_open(&f, git, heads, lock, 0600, false, err);
    if (status == AGT_OK) agt__git_file_put(&f, hex, sizeof hex, err);
    if (status == AGT_OK) status = agt__git_file_end(&f, durable, err);
    if (status == AGT_OK) status = agt__git_file_name(&f, heads, name, err);
    if (status != AGT_OK || !durable) return status;
    int rc = git->sys->sync(git->sys->ctx, heads);
    if (rc == 0) return AGT_OK;
    status = agt__fail_io(err, rc, "cannot sync refs/heads in the git folder");
    if (err) err->outcome_unknown = 1;
    return status;
}

static agt_status repo_set_ref(agt_git *git, const char *name, const agt_oid *id, bool durable,
                               agt_error *err) {
    agt_fd refs, heads;
    agt_status status = agt__open_folder(git->sys, git->dir, "refs", true, &refs, err);
    if (status != AGT_OK) return status;
    status = agt__open_folder(git->sys, refs, "heads", true, &heads, err);
    if (status == AGT_OK) {
        status = repo_put_ref(git, heads, name, id, durable, err);
        git->sys->close(git->sys->ctx, heads);
    }
    git->sys->close(git->sys->ctx, refs);
    return status;
}

AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, bool durable,
                                         agt_error *err) {
    return repo_set_ref(git, "main", id, durable, err);
}

AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err) {
    return repo_set_ref(git, name, id, true, err);
}

/* ---- the broom ---- */

static int repo_name(void *ctx, const char *name) {
    agt__buf_put(ctx, name, strlen(name) + 1);
    return ((agt_buf *)ctx)->failed;
}

/* The names in a folder, one after another, each with its NUL. */
static agt_status repo_names(agt_git *git, agt_fd folder, agt_buf *out, agt_error *err) {
    int rc = git->sys->list(git->sys->ctx, folder, repo_name, out);
    if (out->failed) return agt__nomem(err);
    return rc < 0 ? agt__fail_io(err, rc, "cannot list the git folder") : AGT_OK;
}

static bool repo_ends(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n > m && memcmp(name + n - m, end, m) == 0;
}

/* Is it a temporary or a lock that nobody needs (3)? */
static bool repo_litter(agt_git *git, const char *folder, const char *name, const agt_stat *st) {
    bool in_objects = strncmp(folder, "objects", 7) == 0;
    bool tmp = in_objects && (!strncmp(name, "tmp_", 4) || !strncmp(name, ".tmp-", 5));
    bool ours = tmp && repo_ends(name, "_agt");
    if (!strcmp(folder, "refs/heads") && repo_ends(name, ".lock"))
        ours = !strcmp(name, "main.lock") || !strncmp(name, "found-", 6);
    if (!*folder && (!strcmp(name, "HEAD.tmp") || !strcmp(name, "config.tmp"))) ours = true;
    if (ours) return true;
    int64_t age = git->sys->now_unix_ms(git->sys->ctx) - st->mtime_ns / 1000000;
    bool stale = age > REPO_STALE_NS / 1000000 || age < -(REPO_STALE_NS / 1000000);
    return stale && (tmp || repo_ends(name, ".lock"));
}

/* One file of objects/ab: away with it if all shall go, or if it is bad. */
static agt_status repo_clean_object(agt_git *git, agt_fd folder, const char *prefix,
                                    const char *name, bool check, agt_error *err) {
    char hex[AGT_GIT_HEX];
    agt_oid id;
    int kind;
    if (strlen(name) != AGT_GIT_HEX - 2) return AGT_OK;
    memcpy(hex, prefix, 2);
    memcpy(hex + 2, name, AGT_GIT_HEX - 2);
    if (!agt__unhex(hex, sizeof hex, id.id, sizeof id.id)) return AGT_OK;
    if (check) {
        agt__git_reuse(&git->scratch);
        agt_error mine;
        agt_status status =
            agt__git_load_loose(git, folder, name, &id, &kind, &git->scratch, &mine);
        if (status != AGT_CORRUPT && err && status != AGT_OK) *err = mine;
        if (status != AGT_CORRUPT) return status == AGT_NOT_FOUND ? AGT_OK : status;
    }
    int rc = git->sys->remove(git->sys->ctx, folder, name);
    if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_NOENT)
        return agt__fail_io(err, rc, "cannot delete a git object");
    return AGT_OK;
}

/* What a walk over the git folder carries along. */
typedef struct repo_broom {
    agt_git *git;
    agt_buf todo;  /* paths of folders still to be visited, each with its NUL */
    agt_buf names; /* of the folder being visited */
    bool only_bad;
} repo_broom;

static bool repo_is_fan_out(const char *folder) {
    unsigned char byte;
    return strlen(folder) == 10 && !memcmp(folder, "objects/", 8) &&
           agt__unhex(folder + 8, 2, &byte, 1);
}

static agt_status repo_sweep_one(repo_broom *b, const char *path, agt_fd folder, const char *name,
                                 agt_error *err) {
    agt_git *git = b->git;
    agt_stat st;
    size_t depth = 0;
    int rc = git->sys->stat(git->sys->ctx, folder, name, &st);
    if (rc < 0) return AGT_OK; /* gone meanwhile, or not ours to judge */
    if (st.kind == AGT_FILE_FOLDER) {
        for (const char *p = path; *p; p++)
            depth += *p == '/';
        if (depth >= REPO_DEPTH) return AGT_OK;
        agt__buf_text(&b->todo, path);
        if (*path) agt__buf_byte(&b->todo, '/');
        agt__buf_put(&b->todo, name, strlen(name) + 1);
        return b->todo.failed ? agt__nomem(err) : AGT_OK;
    }
    if (st.kind == AGT_FILE_REGULAR && repo_litter(git, path, name, &st)) {
        rc = git->sys->remove(git->sys->ctx, folder, name);
        if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
        return agt__fail_io(err, rc, "cannot delete %.100s in the git folder", name);
    }
    if (!repo_is_fan_out(path)) return AGT_OK;
    bool check = b->only_bad && st.kind == AGT_FILE_REGULAR;
    return repo_clean_object(git, folder, path + 8, name, check, err);
}

/* Visits one folder; `path` is a copy that does not move. */
static agt_status repo_sweep(repo_broom *b, const char *path, agt_error *err) {
    agt_git *git = b->git;
    agt_fd folder = agt__walk_folder(git->sys, git->dir, path, false);
    if (folder < 0 && AGT_SYS_CLASS(folder) == AGT_SYS_NOENT) return AGT_OK;
    if (folder < 0) return agt__fail_io(err, folder, "cannot open %.100s in the git folder", path);
    b->names.len = 0;
    agt_status status = repo_names(git, folder, &b->names, err);
    for (size_t at = 0; status == AGT_OK && at < b->names.len;) {
        const char *name = (const char *)b->names.data + at;
        at += strlen(name) + 1;
        status = repo_sweep_one(b, path, folder, name, err);
    }
    git->sys->close(git->sys->ctx, folder);
    return status;
}

/* An empty objects/ab goes too; git makes it again. */
static void repo_drop_fan_out(agt_git *git, const char *path) {
    agt_fd objects;
    if (!repo_is_fan_out(path) || agt__git_objects(git, false, &objects, NULL) != AGT_OK) return;
    (void)git->sys->remove_folder(git->sys->ctx, objects, path + 8);
}

AGT_PRIVATE agt_status agt__git_clean_loose(agt_git *git, bool only_bad, agt_error *err) {
    repo_broom b = {git, agt__buf(&git->mem), agt__buf(&git->mem), only_bad};
    agt_status status = AGT_OK;
    agt__git_abort(git);
    agt__buf_byte(&b.todo, 0); /* "": the git folder itself */
    while (status == AGT_OK && b.todo.len) {
        char path[REPO_DEPTH * REPO_NAME];
        size_t start = b.todo.len - 1;
        while (start && b.todo.data[start - 1])
            start--;
        const char *last = (const char *)b.todo.data + start;
        bool fits = agt__copy_text(path, sizeof path, last, strlen(last));
        b.todo.len = start;
        if (!fits) continue;
        status = repo_sweep(&b, path, err);
        if (status == AGT_OK) repo_drop_fan_out(git, path);
    }
    if (status == AGT_OK && b.todo.failed) status = agt__nomem(err);
    agt__buf_free(&b.todo);
    agt__buf_free(&b.names);
    agt__git_reuse(&git->scratch);
    return status;
}
