/* context: where the store is, what a path means there, who acts, and what a status is to a
 * script.
 *
 * (1) Paths are typed relative to the current folder and handed to the library relative to the
 *     root. ".." is resolved in the text, as git does; what is left outside the root is refused.
 * (2) Where the folder that is worked in had a store of its own, or is another work tree of the
 *     repository, the store around it is not the one that is meant: its rules know nothing of what
 *     lies there. It is used on purpose only, with -C.
 * (3) An agent's environment never acts as the user or the system unseen: see cli_may_act_as. */
#include "cli.h"

#include "output.h"
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the one table of exit codes ---- */

enum context_code {
    CODE_OK = CLI_DONE,
    CODE_BUSY = CLI_BUSY,
    CODE_DENIED = CLI_DENIED,
    CODE_NEEDS_CONFIRMATION = CLI_DENIED,
    CODE_NOT_FOUND = CLI_NOT_FOUND,
    CODE_CONFLICT = CLI_BUSY,
    CODE_END = CLI_ERROR, /* never handed to a user */
    CODE_INVALID = CLI_USAGE,
    CODE_NOMEM = CLI_ERROR,
    CODE_IO = CLI_ERROR,
    CODE_CORRUPT = CLI_ERROR,
    CODE_LIMIT = CLI_USAGE,
    CODE_UNSUPPORTED = CLI_ERROR,
    CODE_GIT = CLI_ERROR
};

int cli_exit_code(agt_status status) {
    switch (status) {
#define CONTEXT_CODE(name, value, kind, text)                                                      \
    case AGT_##name: return CODE_##name;
        AGT_STATUS_MAP(CONTEXT_CODE)
#undef CONTEXT_CODE
    case AGT_STATUS_LAST_: break;
    }
    return CLI_ERROR;
}

int cli_failed(cli *c, agt_status status, const agt_error *err) {
    c->failure.status = status;
    c->failure.outcome_unknown = err->outcome_unknown != 0;
    char hint[AGT_MAX_PATH * 5] = "";
    if (status == AGT_NOT_FOUND) (void)hint_missing(c, hint, sizeof hint);
    return out_fail(cli_exit_code(status), "%s%s", err->message, hint);
}

int cli_damaged_line(const agt_error *err) {
    return out_fail(CLI_ERROR, "a line of the trace is damaged: %s; what follows it is read on",
                    err->message);
}

/* What the program itself refuses has no status of the library's: the nearest one. */
static agt_status context_status(const cli *c, int code) {
    if (c->failure.status != AGT_OK) return c->failure.status;
    switch (code) {
    case CLI_USAGE: return AGT_INVALID;
    case CLI_DENIED: return AGT_DENIED;
    case CLI_NOT_FOUND: return AGT_NOT_FOUND;
    case CLI_BUSY: return AGT_BUSY;
    default: return AGT_IO;
    }
}

int cli_failure_json(const cli *c, int code) {
    char status[64];
    const char *message = out_failure();
    out_json j = {0};
    if (code == CLI_DONE || !message[0] || json_was_printed()) return code;
    (void)snprintf(status, sizeof status, "AGT_%s", agt_status_name(context_status(c, code)));
    json_open(&j, NULL, '{');
    json_put(&j, "status", status);
    json_put(&j, "message", message);
    json_put(&j, "path", c->failure.path[0] ? c->failure.path : NULL);
    if (c->failure.seq) json_put_u64(&j, "seq", c->failure.seq);
    if (c->failure.has_version) json_put_u64(&j, "version", c->failure.version);
    if (c->failure.outcome_unknown) json_put_bool(&j, "outcome_unknown", true);
    json_close(&j, '}');
    return code;
}

/* ---- paths ---- */

/* Makes an absolute path out of two, without ".", ".." and "//". A slash at the end is kept: it
 * says that a folder is meant. */
static bool context_join(const char *cwd, const char *given, char *out, size_t size) {
    const char *parts[2] = {given[0] == '/' ? "" : cwd, given};
    size_t n = 0, len = 1;
    for (int i = 0; i < 2; i++)
        for (const char *p = parts[i]; *p; p += len) {
            len = strcspn(p, "/");
            if (len == 0) len = 1;
            if (p[0] == '/' || (len == 1 && p[0] == '.')) continue;
            if (len == 2 && p[0] == '.' && p[1] == '.') {
                while (n > 0 && out[--n] != '/') {
                }
                continue;
            }
            if (n + len + 2 >= size) return false;
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
    size_t end = strlen(given);
    if (n == 0 || (end > 0 && given[end - 1] == '/')) out[n++] = '/';
    out[n] = 0;
    return true;
}

/* Where the part of an absolute path behind the root begins; NULL if it lies outside. */
static const char *context_behind(const char *root, const char *path) {
    size_t n = strlen(root);
    if (n == 1) return path + 1; /* "/" */
    if (strncmp(root, path, n) != 0) return NULL;
    return path[n] == '/' ? path + n + 1 : path[n] ? NULL : path + n;
}

/* The same for a path that reaches the root through links: the shortest beginning that is the
 * root's folder. */
static const char *context_behind_links(const char *root, char *path) {
    struct stat want, st;
    if (stat(root, &want) != 0) return NULL;
    for (char *p = path + 1; *p; p++) {
        p += strcspn(p, "/");
        char kept = *p;
        *p = 0;
        bool found = stat(path, &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino;
        *p = kept;
        if (found) return kept ? p + 1 : p;
        if (!kept) break;
    }
    return NULL;
}

static int context_path(const cli *c, const char *given, char *out, size_t size) {
    char whole[sizeof c->cwd * 2];
    if (!given[0]) return out_usage(c->command, "the path is empty");
    if (!context_join(c->cwd, given, whole, sizeof whole))
        return out_fail(CLI_USAGE, "%.64s...: the path is too long", given);
    const char *behind = context_behind(c->root, whole);
    if (!behind) behind = context_behind_links(c->root, whole);
    if (!behind)
        return out_fail(CLI_USAGE, "%s is outside the store in %s; use a path in that folder",
                        given, c->root);
    if (strlen(behind) >= size)
        return out_fail(CLI_USAGE, "%.64s...: the path has more than %d bytes", given,
                        AGT_MAX_PATH);
    memcpy(out, behind, strlen(behind) + 1);
    return CLI_DONE;
}

int cli_document_path(cli *c, const char *given, char *out, size_t size) {
    int code = context_path(c, given, out, size);
    if (code == CLI_DONE) (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", out);
    if (code != CLI_DONE || out[0]) return code;
    return out_fail(CLI_USAGE, "%s is the folder of the store; name a document in it", given);
}

bool cli_place(const cli *c, const char *path, char out[PATH_MAX]) {
    int n = snprintf(out, PATH_MAX, "%s/%s", c->root, path);
    return n > 0 && n < PATH_MAX;
}

bool cli_gone(const cli *c, const char *path) {
    char place[PATH_MAX];
    struct stat st;
    return cli_place(c, path, place) && lstat(place, &st) != 0 && errno == ENOENT;
}

int cli_folder_path(cli *c, const char *given, char *out, size_t size) {
    int code = context_path(c, given, out, size);
    size_t n = code == CLI_DONE ? strlen(out) : 0;
    if (n > 0 && out[n - 1] == '/') out[n - 1] = 0;
    if (n > 0) (void)snprintf(c->failure.path, sizeof c->failure.path, "%s", out);
    return code;
}

bool cli_is_index(const char *path) {
    return strcmp(path, "AGENT-TRACE.md") == 0;
}

const char *cli_shown(const cli *c, const char *path, size_t len, char *out, size_t size) {
    const char *at = context_behind(c->root, c->cwd);
    size_t common = 0, n = 0;
    if (!at) at = "";
    for (size_t i = 0; at[i]; i++) { /* whole folders that both have */
        if (i >= len || path[i] != at[i]) break;
        bool whole = !at[i + 1] || at[i + 1] == '/';
        if (whole && i + 1 < len && path[i + 1] == '/') common = i + 2;
    }
    const char *rest = common <= strlen(at) ? at + common : "";
    while (*rest && n + 3 < size) {
        memcpy(out + n, "../", 3);
        n += 3;
        rest += strcspn(rest, "/");
        if (*rest) rest++;
    }
    (void)snprintf(out + n, size - n, "%.*s", (int)(len - common), path + common);
    return out;
}

/* ---- the store ---- */

#define CONTEXT_GONE                                                                               \
    "AGENT-TRACE.md says that there was one; 'git clean -x' and copies without hidden files "      \
    "leave .agent-trace out, and only a backup of it has the history: put that back, or begin "    \
    "anew with 'agent-trace init'"

/* Nothing is there any more to be opened; who knows why is told what can be done. */
static int context_no_store(cli *c, const agt_error *err) {
    char folder[sizeof c->cwd];
    if (place_above(c->cwd, ".agent-trace", folder, sizeof folder) &&
        !place_is_folder(folder, ".agent-trace")) {
        c->failure.status = AGT_NOT_FOUND;
        return out_fail(CLI_NOT_FOUND,
                        "%s/.agent-trace is no folder but a link or a file, and so no store; put "
                        "the folder itself there",
                        folder);
    }
    bool left = place_above(c->cwd, "AGENT-TRACE.md", folder, sizeof folder);
    if (!left && !place_above(c->cwd, ".git", folder, sizeof folder))
        return cli_failed(c, AGT_NOT_FOUND, err);
    c->failure.status = AGT_NOT_FOUND;
    if (!left)
        return out_fail(CLI_NOT_FOUND,
                        "no agent-trace store here or in any folder above; if 'git clean -x' "
                        "removed it, only a backup of .agent-trace has the history: put that back, "
                        "or make one with 'agent-trace init'");
    return out_fail(CLI_NOT_FOUND,
                    "no agent-trace store here or in any folder above, but %s/" CONTEXT_GONE,
                    folder);
}

/* Is this file one of the store's documents? What cannot be told is a no: no right is widened. */
static bool context_has(const cli *c, const char *path) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_document d = AGT_DOCUMENT_INIT;
    agt_store *s = NULL;
    o.read_only = 1;
    bool has = agt_open(&s, c->root, &o, NULL) == AGT_OK &&
               agt_document_get(s, path, &d, NULL) == AGT_OK && d.exists;
    (void)agt_close(s, NULL);
    return has;
}

/* (2), for the store that was found. */
static int context_check_root(cli *c) {
    char folder[sizeof c->cwd], at[sizeof c->cwd], path[sizeof c->cwd + 32];
    if (strcmp(c->cwd, c->root) == 0) return CLI_DONE; /* nothing lies between */
    if (place_own_tree(c->cwd, c->root, folder, sizeof folder)) {
        c->failure.status = AGT_NOT_FOUND;
        return out_fail(CLI_NOT_FOUND,
                        "%s is a work tree of its own, made by 'git worktree', and has no store; "
                        "make one there with 'agent-trace init', put .agent-trace back from a "
                        "backup if 'git clean -x' removed it, or use the store around it on "
                        "purpose with '-C %s'",
                        folder, c->root);
    }
    memcpy(at, c->cwd, sizeof at);
    while (place_left_index(at, folder, sizeof folder) && strlen(folder) > strlen(c->root)) {
        (void)snprintf(path, sizeof path, "%s/AGENT-TRACE.md", folder);
        const char *behind = context_behind(c->root, path);
        if (!behind || !context_has(c, behind)) {
            c->failure.status = AGT_NOT_FOUND;
            return out_fail(CLI_NOT_FOUND,
                            "no agent-trace store in %s, but its " CONTEXT_GONE
                            ", or use the store around it on purpose with '-C %s'",
                            folder, c->root);
        }
        memcpy(at, folder, sizeof at);
        *strrchr(at, '/') = 0;
    }
    return CLI_DONE;
}

int cli_find(cli *c) {
    agt_error err;
    if (c->root[0]) return CLI_DONE;
    if (!getcwd(c->cwd, sizeof c->cwd))
        return out_fail(CLI_ERROR, "cannot tell the current folder: %s", strerror(errno));
    agt_status st = agt_store_find(NULL, c->root, sizeof c->root, &err);
    int code = st == AGT_OK ? context_check_root(c) : CLI_DONE;
    if (st == AGT_OK && code == CLI_DONE) return CLI_DONE;
    c->root[0] = 0;
    if (code != CLI_DONE) return code;
    return st == AGT_NOT_FOUND ? context_no_store(c, &err) : cli_failed(c, st, &err);
}

static int context_publish(const cli *c, uint32_t *out) {
    const char *env = getenv("AGENT_TRACE_PUBLISH"), *mode = c->args.value[OPT_PUBLISH];
    const char *where = mode ? "--publish" : "AGENT_TRACE_PUBLISH";
    if (!mode) mode = env && env[0] ? env : "close";
    if (strcmp(mode, "close") == 0)
        *out = AGT_PUBLISH_CLOSE;
    else if (strcmp(mode, "idle") == 0)
        *out = AGT_PUBLISH_IDLE;
    else if (strcmp(mode, "manual") == 0)
        *out = AGT_PUBLISH_MANUAL;
    else
        return out_fail(CLI_USAGE, "%s '%s' is unknown; use close, idle or manual", where, mode);
    return CLI_DONE;
}

/* Long enough for any healthy writer, short enough for who only wants to look. */
#define CONTEXT_READER_WAIT_MS 1000

/* A reader without the right or the room to write, or beside a writer that keeps the lock, can
 * still read. */
static bool context_read_anyway(agt_status st, const agt_error *err) {
    if (st == AGT_BUSY) return true;
    return st == AGT_IO &&
           (err->sys == EROFS || err->sys == EACCES || err->sys == EPERM || err->sys == ENOSPC);
}

static int context_open(cli *c, const agt_open_options *o, bool read_anyway) {
    agt_error err;
    int code = cli_find(c);
    if (code != CLI_DONE) return code;
    agt_status st = agt_open(&c->store, c->root, o, &err);
    if (read_anyway && context_read_anyway(st, &err)) {
        agt_open_options reading = AGT_OPEN_OPTIONS_INIT;
        reading.read_only = 1;
        c->read_only = true;
        st = agt_open(&c->store, c->root, &reading, &err);
    }
    return st == AGT_OK ? CLI_DONE : cli_failed(c, st, &err);
}

int cli_open(cli *c, bool writes) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    int code = context_publish(c, &o.publish);
    if (code != CLI_DONE) return code;
    if (!writes) {
        o.publish = AGT_PUBLISH_MANUAL;
        o.timeout_ms = CONTEXT_READER_WAIT_MS;
    }
    c->writes = writes;
    return context_open(c, &o, !writes);
}

int cli_open_to_publish(cli *c) {
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    o.publish = AGT_PUBLISH_MANUAL;
    return context_open(c, &o, true);
}

int cli_close(cli *c, int code) {
    agt_error err;
    if (!c->store) return code;
    (void)fflush(stdout); /* what is done is told before what may take a while */
    agt_status st = c->writes ? agt_index_refresh(c->store, 0, NULL, &err) : AGT_OK;
    if (st != AGT_OK && st != AGT_UNSUPPORTED) /* of an older format, where nothing has changed */
        out_note("every change is safe, but AGENT-TRACE.md is not up to date: %s", err.message);
    st = agt_close(c->store, &err);
    c->store = NULL;
    if (st != AGT_OK && code != CLI_DONE && c->failure.status == st) /* told already */
        return code;
    if (st == AGT_BUSY || st == AGT_IO || st == AGT_NOMEM)
        out_note("every change is safe, but git does not have all of them yet (%s); the next "
                 "command that writes tries again",
                 err.message);
    else if (st != AGT_OK) /* what is damaged does not mend itself */
        out_note("every change is safe, but git does not get them: %s", err.message);
    return code;
}

/* ---- who acts ---- */

const char *cli_env_actor(void) {
    const char *actor = getenv("AGENT_TRACE_ACTOR");
    return actor && actor[0] ? actor : NULL;
}

static bool context_is_agent(const char *actor) {
    return strncmp(actor, "agent:", 6) == 0;
}

bool cli_may_act_as(const char *actor) {
    const char *env = cli_env_actor();
    return !env || !context_is_agent(env) || context_is_agent(actor) || out_is_terminal(0);
}

static int context_check_actor(const char *where, const char *actor) {
    if (agt_permission(actor, AGT_ACTION_WRITE, AGT_TYPE_SCRATCH, NULL) != AGT_INVALID)
        return CLI_DONE;
    return out_fail(
        CLI_USAGE, "%s '%s' is no actor; use user, system or agent:NAME%s", where, actor,
        context_is_agent(actor) ? ", a NAME having 1 to 64 bytes, none of < > / \\ : \"" : "");
}

int cli_session(const cli *c, const char **out) {
    const char *s = c->args.value[OPT_SESSION];
    size_t n =
        s ? strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._:-") : 0;
    *out = s;
    if (!s || (n >= 1 && n <= AGT_MAX_NAME && !s[n])) return CLI_DONE;
    return out_fail(CLI_USAGE, "--session '%s' is not valid; use 1 to %d of A-Z a-z 0-9 . _ : -", s,
                    AGT_MAX_NAME);
}

int cli_caller(cli *c, const char *source, agt_caller *out) {
    const char *env = cli_env_actor(), *given = c->args.value[OPT_ACTOR];
    const agt_caller caller = AGT_CALLER(given ? given : env ? env : "user");
    int code = env ? context_check_actor("AGENT_TRACE_ACTOR", env) : CLI_DONE;
    if (code == CLI_DONE && given) code = context_check_actor("--actor", given);
    *out = caller;
    if (code == CLI_DONE) code = cli_session(c, &out->session);
    if (code != CLI_DONE) return code;
    out->source = source;
    out->confirm = c->args.value[OPT_YES] != NULL;
    if (cli_may_act_as(out->actor)) return CLI_DONE;
    return out_fail(CLI_DENIED,
                    "AGENT_TRACE_ACTOR is %s, so acting as the %s needs a terminal on stdin; leave "
                    "--actor out",
                    env, out->actor);
}

/* ---- options that several commands take ---- */

int cli_type(const cli *c, uint32_t *out) {
    const char *name = c->args.value[OPT_TYPE];
    *out = name ? agt_type_from_name(name) : AGT_TYPE_DEFAULT;
    if (!name || *out) return CLI_DONE;
    return out_fail(CLI_USAGE,
                    "--type '%s' is unknown; use plan, context, log, reference or scratch", name);
}

int cli_type_word(const cli *c, const char *word, agt_type *out) {
    *out = agt_type_from_name(word);
    if (*out) return CLI_DONE;
    return out_usage(c->command, "'%s' is no type; use plan, context, log, reference or scratch",
                     word);
}

int cli_durability(const cli *c, uint32_t *out) {
    const char *name = c->args.value[OPT_DURABILITY];
    *out = AGT_DURABLE_DEFAULT;
    if (!name) return CLI_DONE;
    if (strcmp(name, "full") == 0)
        *out = AGT_DURABLE_FULL;
    else if (strcmp(name, "process") == 0)
        *out = AGT_DURABLE_PROCESS;
    else
        return out_fail(CLI_USAGE, "--durability '%s' is unknown; use full or process", name);
    return CLI_DONE;
}
