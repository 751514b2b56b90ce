/* repo: the handle on the repository, the ref, and the broom.
 *
 *     refs/heads/main      40 hexadecimal digits and a newline
 *     refs/heads/found-*   what main named when somebody else had moved it
 *     packed-refs          never written by us; read where somebody's git made one
 *     objects/ objects/pack/ objects/info/ refs/heads/ refs/tags/
 *
 * (1) The ref moves by git's own lock file and a rename, and only if it names what was seen before:
 *     a git command may move it, too. What we make has a mode that git never gives, so that a lock
 *     which a dead publisher left is known and removed at once; publishers exclude one another.
 *     Somebody else's is waited for; one that is a minute old, or from the future, is dead.
 * (2) A loose ref beats a packed one. A ref that is no 40 digits is damage, not an absence.
 * (3) The broom removes temporaries of our own names and bad objects, nothing else: the rest may be
 *     a person's. */
#include "parts.h"

#include <stdio.h>

#define REPO_LOCK    "main.lock"     /* git's */
#define REPO_OWN     "main_agt.lock" /* before it has that name; git sees no ref in it */
#define REPO_MODE    0400
#define REPO_WAIT_MS 2000
#define REPO_DEAD_MS 60000
#define REPO_STEP_MS 10
#define REPO_KEPT    1000u
#define REPO_REF_MAX 4096u
#define REPO_PACKED  (64u * 1024 * 1024)
#define REPO_NAME    256u
#define REPO_DEPTH   16u

/* ---- open, close ---- */

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
    git->in_file = AGT_FD_NONE;
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

/* Is objects in `dir` the folder that is open? If none is open, nothing is known of it. */
static agt_status repo_objects_still(const agt_git *git, agt_fd dir, bool *still, agt_error *err) {
    agt_stat now, ours;
    *still = true;
    if (git->objects == AGT_FD_NONE) return AGT_OK;
    int rc = git->sys->fstat(git->sys->ctx, git->objects, &ours);
    if (rc == 0) rc = git->sys->stat(git->sys->ctx, dir, "objects", &now);
    *still = rc == 0 && agt__same_file(&now, &ours);
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
    return agt__fail_io(err, rc, "cannot look at objects in the git folder");
}

AGT_PRIVATE agt_status agt__git_follow(agt_git *git, agt_fd dir, bool *moved, agt_error *err) {
    bool still;
    agt_status status = repo_objects_still(git, dir, &still, err);
    *moved = status == AGT_OK && (dir != git->dir || !still);
    if (!*moved) return status;
    agt__git_abort(git);
    agt__git_foreign_free(git);
    agt__git_objects_free(git);
    git->dir = dir;
    return AGT_OK;
}

/* ---- the refs ---- */

static agt_status repo_bad_ref(const char *name, agt_error *err) {
    return agt__fail(err, AGT_CORRUPT,
                     "%s in the git folder is damaged; remove it and publish again", name);
}

/* Looks for refs/heads/<name> among the lines "<id> <ref>" of packed-refs. */
static agt_status repo_packed_ref(agt_git *git, const char *name, agt_oid *out, bool *found,
                                  agt_error *err) {
    char ref[REPO_NAME] = " refs/heads/";
    size_t prefix = strlen(ref), len = strlen(name), want = AGT_GIT_HEX + prefix + len;
    if (prefix + len >= sizeof ref) return AGT_OK;
    memcpy(ref + prefix, name, len);
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
        if (n != want || memcmp(p + AGT_GIT_HEX, ref, prefix + len) != 0) continue;
        *found = agt__unhex(p, AGT_GIT_HEX, out->id, sizeof out->id);
        if (!*found) status = repo_bad_ref("packed-refs", err);
    }
    agt__buf_free(&b);
    return status;
}

/* What refs/heads/<name> names; `heads` is that folder. */
static agt_status repo_read_ref(agt_git *git, agt_fd heads, const char *name, agt_oid *out,
                                bool *found, agt_error *err) {
    agt_buf b = agt__buf(&git->mem);
    agt_error mine;
    *found = false;
    agt_status status = agt__read_file(git->sys, heads, name, REPO_REF_MAX, &b, &mine);
    size_t n = b.len;
    while (status == AGT_OK && n && (b.data[n - 1] == '\n' || b.data[n - 1] == '\r'))
        n--;
    if (status == AGT_OK) *found = agt__unhex((const char *)b.data, n, out->id, sizeof out->id);
    agt__buf_free(&b);
    if (status == AGT_NOT_FOUND) return repo_packed_ref(git, name, out, found, err);
    if (*found) return AGT_OK;
    if (status == AGT_OK || status == AGT_LIMIT || status == AGT_INVALID) { /* (2) */
        char whole[REPO_NAME + 16] = "refs/heads/";
        (void)agt__copy_text(whole + 11, sizeof whole - 11, name, strlen(name));
        return repo_bad_ref(whole, err);
    }
    if (err) *err = mine;
    return status;
}

AGT_PRIVATE agt_status agt__git_head(agt_git *git, agt_oid *out, bool *found, agt_error *err) {
    const agt_sys *sys = git->sys;
    *found = false;
    agt_fd heads = sys->walk(sys->ctx, git->dir, "refs/heads");
    if (heads < 0 && AGT_SYS_CLASS(heads) == AGT_SYS_NOENT)
        return repo_packed_ref(git, "main", out, found, err);
    if (heads < 0) return agt__fail_io(err, heads, "cannot open refs/heads in the git folder");
    agt_status status = repo_read_ref(git, heads, "main", out, found, err);
    sys->close(sys->ctx, heads);
    return status;
}

/* refs/heads, made if it is not there. */
static agt_status repo_heads(agt_git *git, agt_fd *heads, agt_error *err) {
    agt_fd refs;
    agt_status status = agt__open_folder(git->sys, git->dir, "refs", true, &refs, err);
    if (status != AGT_OK) return status;
    status = agt__open_folder(git->sys, refs, "heads", true, heads, err);
    git->sys->close(git->sys->ctx, refs);
    return status;
}

/* Writes a file that a ref will be. */
static agt_status repo_write_ref(agt_git *git, agt_git_file *f, agt_fd heads, const char *name,
                                 const agt_oid *id, bool durable, agt_error *err) {
    char hex[AGT_GIT_HEX + 1];
    agt__hex(id->id, sizeof id->id, hex);
    hex[AGT_GIT_HEX] = '\n';
    agt_status status = agt__git_file_open(f, git, heads, name, REPO_MODE, false, err);
    if (status == AGT_OK) agt__git_file_put(f, hex, sizeof hex, err);
    return status == AGT_OK ? agt__git_file_end(f, durable, err) : status;
}

static agt_status repo_sync_heads(agt_git *git, agt_fd heads, agt_error *err) {
    int rc = git->sys->sync(git->sys->ctx, heads);
    if (rc == 0) return AGT_OK;
    agt_status status = agt__fail_io(err, rc, "cannot sync refs/heads in the git folder");
    if (err) err->outcome_unknown = 1;
    return status;
}

/* Is the lock what a publisher of ours left that died? */
static bool repo_lock_is_ours(agt_git *git, agt_fd heads) {
    agt_stat st;
    return git->sys->stat(git->sys->ctx, heads, REPO_LOCK, &st) == 0 &&
           st.kind == AGT_FILE_REGULAR && (st.mode & 0777) == REPO_MODE;
}

static bool repo_lock_is_old(agt_git *git, agt_fd heads) {
    agt_stat st;
    if (git->sys->stat(git->sys->ctx, heads, REPO_LOCK, &st) != 0) return false;
    int64_t age = git->sys->now_unix_ms(git->sys->ctx) - st.mtime_ns / 1000000;
    return age > REPO_DEAD_MS || age < -REPO_DEAD_MS; /* the clock was set back */
}

/* Gives the file REPO_OWN the name of git's lock if nobody has it. */
static int repo_take_lock(agt_git *git, agt_fd heads) {
    const agt_sys *sys = git->sys;
    int rc = sys->link(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK);
    if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_EXIST) return rc;
    /* no such links here */
    rc = sys->rename(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK, AGT_RENAME_NOREPLACE);
    if (rc < 0 && AGT_SYS_CLASS(rc) == AGT_SYS_NOSYS) {
        agt_stat st;
        if (sys->stat(sys->ctx, heads, REPO_LOCK, &st) == 0) return AGT_SYS_ERR(AGT_SYS_EXIST, 0);
        rc = sys->rename(sys->ctx, heads, REPO_OWN, heads, REPO_LOCK, AGT_RENAME_REPLACE);
    }
    return rc;
}

static agt_status repo_lock(agt_git *git, agt_fd heads, agt_error *err) {
    for (int64_t waited = 0;; waited += REPO_STEP_MS) {
        int rc = repo_take_lock(git, heads);
        if (rc == 0) return AGT_OK;
        if (AGT_SYS_CLASS(rc) != AGT_SYS_EXIST)
            return agt__fail_io(err, rc, "cannot lock refs/heads/main in the git folder");
        if (waited >= REPO_WAIT_MS)
            return agt__fail(err, AGT_BUSY,
                             "a git command holds refs/heads/" REPO_LOCK " in the git folder; "
                             "if none is at work, remove that file");
        if (repo_lock_is_old(git, heads))
            (void)git->sys->remove(git->sys->ctx, heads, REPO_LOCK);
        else
            git->sys->sleep_ns(git->sys->ctx, REPO_STEP_MS * 1000000);
    }
}

/* Under the lock: the ref moves if it still names `was`. */
static agt_status repo_move_head(agt_git *git, agt_fd heads, const agt_oid *was, agt_error *err) {
    agt_oid now;
    agt_error mine;
    bool found;
    agt_status status = repo_read_ref(git, heads, "main", &now, &found, &mine);
    if (status != AGT_OK && status != AGT_CORRUPT) { /* damage is what `was` NULL says */
        if (err) *err = mine;
        return status;
    }
    if (found != (was != NULL) || (found && memcmp(now.id, was->id, sizeof now.id) != 0))
        return agt__fail(err, AGT_CONFLICT, "somebody moved refs/heads/main meanwhile; try again");
    int rc = git->sys->rename(git->sys->ctx, heads, REPO_LOCK, heads, "main", AGT_RENAME_REPLACE);
    return rc < 0 ? agt__fail_io(err, rc, "cannot write refs/heads/main in the git folder")
                  : AGT_OK;
}

AGT_PRIVATE agt_status agt__git_set_head(agt_git *git, const agt_oid *id, const agt_oid *was,
                                         bool durable, agt_error *err) {
    const agt_sys *sys = git->sys;
    agt_git_file f;
    agt_fd heads;
    agt_status status = repo_heads(git, &heads, err);
    if (status != AGT_OK) return status;
    if (repo_lock_is_ours(git, heads)) (void)sys->remove(sys->ctx, heads, REPO_LOCK);
    status = repo_write_ref(git, &f, heads, REPO_OWN, id, durable, err);
    if (status == AGT_OK) {
        status = repo_lock(git, heads, err);
        if (status == AGT_OK) {
            status = repo_move_head(git, heads, was, err);
            if (status != AGT_OK) (void)sys->remove(sys->ctx, heads, REPO_LOCK);
        }
        (void)sys->remove(sys->ctx, heads, REPO_OWN);
    }
    if (status == AGT_OK && durable) status = repo_sync_heads(git, heads, err);
    sys->close(sys->ctx, heads);
    return status;
}

/* Only we make names like these, and publishers exclude one another: no lock is needed. */
static agt_status repo_keep(agt_git *git, agt_fd heads, const char *name, const agt_oid *id,
                            agt_error *err) {
    agt_oid other;
    agt_git_file f;
    agt_error mine;
    bool found;
    char own[REPO_NAME];
    size_t n = strlen(name);
    agt_status status = repo_read_ref(git, heads, name, &other, &found, &mine);
    if (status != AGT_OK && status != AGT_CORRUPT) {
        if (err) *err = mine;
        return status;
    }
    if (found && memcmp(&other, id, sizeof other) == 0) return AGT_OK;
    if (found) return AGT_CONFLICT;
    memcpy(own, name, n);
    memcpy(own + n, ".lock", sizeof ".lock");
    status = repo_write_ref(git, &f, heads, own, id, true, err);
    if (status == AGT_OK) status = agt__git_file_name(&f, heads, name, err);
    return status == AGT_OK ? repo_sync_heads(git, heads, err) : status;
}

AGT_PRIVATE agt_status agt__git_keep_ref(agt_git *git, const char *name, const agt_oid *id,
                                         agt_error *err) {
    agt_fd heads;
    char numbered[REPO_NAME];
    size_t n = strlen(name);
    if (!n || n > 64 || memchr(name, '/', n))
        return agt__fail(err, AGT_INVALID, "\"%.40s\" cannot be the name of a branch", name);
    agt_status status = repo_heads(git, &heads, err);
    if (status != AGT_OK) return status;
    status = repo_keep(git, heads, name, id, err);
    for (uint32_t k = 2; status == AGT_CONFLICT && k < REPO_KEPT; k++) {
        memcpy(numbered, name, n);
        (void)snprintf(numbered + n, sizeof numbered - n, "-%u", (unsigned)k);
        status = repo_keep(git, heads, numbered, id, err);
    }
    git->sys->close(git->sys->ctx, heads);
    if (status != AGT_CONFLICT) return status;
    return agt__fail(err, AGT_LIMIT, "there are %u branches %.40s already; delete some",
                     (unsigned)REPO_KEPT, name);
}

/* ---- the broom ---- */

/* The names in a folder, one after another, each with its NUL. */
static agt_status repo_names(agt_git *git, agt_fd folder, agt_buf *out, agt_error *err) {
    int rc = git->sys->list(git->sys->ctx, folder, agt__take_name, out);
    if (out->failed) return agt__nomem(err);
    return rc < 0 ? agt__fail_io(err, rc, "cannot list the git folder") : AGT_OK;
}

/* Is it a temporary that a process of ours left (3)? */
static bool repo_litter(const char *folder, const char *name) {
    if (strncmp(folder, "objects", 7) == 0)
        return !strncmp(name, "tmp_", 4) && agt__ends_in(name, "_agt");
    if (strcmp(folder, "refs/heads") == 0)
        return !strcmp(name, REPO_OWN) ||
               (!strncmp(name, "found-", 6) && agt__ends_in(name, ".lock"));
    return !*folder && (!strcmp(name, "HEAD.tmp") || !strcmp(name, "config.tmp"));
}

/* One file of objects/ab: away with it if it is bad. */
static agt_status repo_clean_object(agt_git *git, agt_fd folder, const char *prefix,
                                    const char *name, bool regular, agt_error *err) {
    char hex[AGT_GIT_HEX];
    agt_oid id;
    int kind;
    if (strlen(name) != AGT_GIT_HEX - 2) return AGT_OK;
    memcpy(hex, prefix, 2);
    memcpy(hex + 2, name, AGT_GIT_HEX - 2);
    if (!agt__unhex(hex, sizeof hex, id.id, sizeof id.id)) return AGT_OK;
    if (regular) {
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
    if (st.kind == AGT_FILE_REGULAR && repo_litter(path, name)) {
        rc = git->sys->remove(git->sys->ctx, folder, name);
        if (rc == 0 || AGT_SYS_CLASS(rc) == AGT_SYS_NOENT) return AGT_OK;
        return agt__fail_io(err, rc, "cannot delete %.100s in the git folder", name);
    }
    if (!repo_is_fan_out(path)) return AGT_OK;
    bool regular = st.kind == AGT_FILE_REGULAR;
    return repo_clean_object(git, folder, path + 8, name, regular, err);
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

AGT_PRIVATE agt_status agt__git_clean(agt_git *git, agt_error *err) {
    repo_broom b = {git, agt__buf(&git->mem), agt__buf(&git->mem)};
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
