/* commands_run: lock and git, which run other programs.
 *
 * lock hold: the lock is never let go under a command that still runs.
 * (1) Signals that would end this process before the command are passed on to the command.
 * (2) This process may be killed all the same. Therefore the command inherits the descriptor that
 *     has the lock, as with flock(1): the kernel frees it when the last of the two is gone.
 * (3) A command that ends leaves nothing held, though a daemon of its may have the descriptor:
 *     letting go unlocks what all of them share.
 * (4) By sentinel there is nothing to inherit: the process that becomes the command takes the lock
 *     itself, and the record names the command. Its file outlives it, as a dead one's: this process
 *     takes it once more to remove it; if that is killed, the next holder does. */
#include "cli.h"

#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { RUN_CANNOT = 126, RUN_NO_SUCH = 127, RUN_SIGNAL = 128 }; /* as shells answer */

/* ---- lock ---- */

const char *lock_backend_name(uint32_t backend) {
    return backend == AGT_LOCK_SENTINEL ? "sentinel" : "flock";
}

static void lock_holder_text(const agt_lock_holder *h, char *out, size_t size) {
    char time[CLI_TIME_TEXT], since[64] = "", epoch[40] = "";
    if (h->since_unix_ms)
        (void)snprintf(since, sizeof since, ", since %s", time_exact(h->since_unix_ms, time));
    if (h->epoch) (void)snprintf(epoch, sizeof epoch, ", epoch %llu", (unsigned long long)h->epoch);
    (void)snprintf(out, size, "%s, process %lld on %s%s, by %s%s",
                   h->program[0] ? h->program : "a program without a name", (long long)h->pid,
                   h->host[0] ? h->host : "an unknown host", since, lock_backend_name(h->backend),
                   epoch);
}

/* `refused`: it is the answer to one who wanted the lock. The epoch is that of who holds it, or
 * held it last. */
static void lock_json(const agt_lock_holder *h, bool held, bool refused) {
    out_json j = {0};
    json_open(&j, NULL, '{');
    if (refused) {
        json_put(&j, "status", "AGT_BUSY");
        json_put(&j, "message", "the poll lock is held by another process");
    }
    json_put_bool(&j, "held", held);
    if (held) {
        json_put_i64(&j, "pid", h->pid);
        json_put(&j, "host", h->host[0] ? h->host : NULL);
        json_put(&j, "program", h->program[0] ? h->program : NULL);
        json_put_time(&j, "since", h->since_unix_ms);
        json_put(&j, "backend", lock_backend_name(h->backend));
    }
    if (h->epoch) json_put_u64(&j, "epoch", h->epoch);
    json_close(&j, '}');
}

/* Says on stderr (or as JSON) who has it. Where nobody is named, the library knows what to do. */
static int lock_busy(cli *c, const agt_error *err) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    char who[384];
    c->failure.status = AGT_BUSY;
    if (agt_poll_lock_holder(c->root, &h, NULL) != AGT_OK)
        return out_fail(CLI_BUSY, "the poll lock is held by another process");
    if (c->json) lock_json(&h, true, true);
    if (h.backend == AGT_LOCK_SENTINEL && !h.pid) return out_fail(CLI_BUSY, "%s", err->message);
    lock_holder_text(&h, who, sizeof who);
    return out_fail(CLI_BUSY, "the poll lock is held by %s", who);
}

static int lock_status(cli *c) {
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    char who[384];
    agt_status st = agt_poll_lock_holder(c->root, &h, &err);
    if (st != AGT_OK && st != AGT_NOT_FOUND) return cli_failed(c, st, &err);
    bool held = st == AGT_OK && h.held;
    if (c->json) {
        lock_json(&h, held, false);
        return CLI_DONE;
    }
    if (held) lock_holder_text(&h, who, sizeof who);
    (void)fputs(held ? "held by " : "free", stdout);
    if (held) out_text(who, strlen(who));
    (void)putchar('\n');
    return CLI_DONE;
}

static int lock_try(cli *c, uint32_t backend) {
    agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    agt_lock_holder h = AGT_LOCK_HOLDER_INIT;
    agt_poll_lock *lock;
    agt_error err;
    o.timeout_ms = AGT_TRY;
    o.backend = backend;
    agt_status st = agt_poll_lock_acquire(&lock, c->root, &o, &err);
    if (st == AGT_BUSY) return lock_busy(c, &err);
    if (st != AGT_OK) return cli_failed(c, st, &err);
    h.epoch = agt_poll_lock_epoch(lock);
    agt_poll_lock_release(lock);
    if (c->json)
        lock_json(&h, false, false);
    else
        (void)puts("free");
    return CLI_DONE;
}

static volatile sig_atomic_t run_child;

/* The terminal sends its signals to the command as well; the others are passed on. */
static void run_pass_on(int signal) {
    if (signal != SIGINT && signal != SIGQUIT && run_child > 0)
        (void)kill((pid_t)run_child, signal);
}

static const int run_signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
#define RUN_SIGNALS (sizeof run_signals / sizeof run_signals[0])

#define LOCK_FD_END 64 /* it was opened early in the life of this process: its number is small */

/* The descriptor that has the lock is private to the library and closed on exec; it is known by
 * the file it is open on, whose name the header promises. In the child: keeps it open. */
static void lock_inherit(const cli *c) {
    struct stat want, st;
    char name[sizeof c->root + 32];
    (void)snprintf(name, sizeof name, "%s/.agent-trace/locks/poll.lock", c->root);
    if (stat(name, &want) != 0) return;
    for (int fd = 3; fd < LOCK_FD_END; fd++)
        if (fstat(fd, &st) == 0 && st.st_dev == want.st_dev && st.st_ino == want.st_ino)
            (void)fcntl(fd, F_SETFD, 0);
}

static void run_exec(char **argv) {
    execvp(argv[0], argv);
    int code = errno == ENOENT ? RUN_NO_SUCH : RUN_CANNOT;
    _exit(out_fail(code, "cannot run %s: %s", argv[0], strerror(errno)));
}

/* What a hold is about. */
typedef struct run_hold {
    cli *c;
    char **argv;
    agt_poll_lock_options options;
    agt_poll_lock *lock;
} run_hold;

static int hold_take(run_hold *h) {
    agt_error err;
    agt_status st = agt_poll_lock_acquire(&h->lock, h->c->root, &h->options, &err);
    if (st == AGT_BUSY) return lock_busy(h->c, &err);
    return st == AGT_OK ? CLI_DONE : cli_failed(h->c, st, &err);
}

/* In the child. */
static void hold_become(run_hold *h) {
    if (h->options.backend == AGT_LOCK_SENTINEL) { /* (4) */
        int code = hold_take(h);
        if (code != CLI_DONE) {
            (void)fflush(NULL);
            _exit(code);
        }
    } else
        lock_inherit(h->c); /* (2) */
    out_child();
    run_exec(h->argv);
}

/* Runs the command under the lock and waits for it. Returns its exit code, or 128 and the signal.
 */
static int run_wait(run_hold *h, pid_t *out) {
    struct sigaction pass, before[RUN_SIGNALS];
    sigset_t all, mask;
    int status = 0;
    (void)fflush(NULL);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    memset(&pass, 0, sizeof pass);
    pass.sa_handler = run_pass_on;
    pass.sa_flags = SA_RESTART;
    pid_t child = fork();
    if (child == 0) {
        (void)sigprocmask(SIG_SETMASK, &mask, NULL);
        hold_become(h);
    }
    *out = child;
    if (child > 0) run_child = (sig_atomic_t)child;
    for (size_t i = 0; child > 0 && i < RUN_SIGNALS; i++) {
        (void)sigaction(run_signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) (void)sigaction(run_signals[i], &pass, NULL);
    }
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    if (child < 0) return out_fail(CLI_ERROR, "cannot start a process: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    run_child = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : RUN_SIGNAL + WTERMSIG(status);
}

/* "5", "0.5", "0": seconds, as milliseconds; 0 becomes AGT_TRY. */
static int lock_timeout(const char *s, int32_t *out) {
    int64_t ms;
    *out = CLI_LOCK_WAIT_S * 1000;
    if (!s) return CLI_DONE;
    if (!time_parse_seconds(s, strlen(s), &ms) || ms > INT32_MAX)
        return out_fail(CLI_USAGE, "--timeout '%s' is no number of seconds; use 0 to %d", s,
                        INT32_MAX / 1000);
    *out = ms == 0 ? AGT_TRY : (int32_t)ms;
    return CLI_DONE;
}

/* Removes what the command's own time of holding left (4), unless somebody else did so and leads.
 * Where no death can be proved a person must: that is said. */
static void hold_clean(run_hold *h, pid_t command) {
    agt_lock_holder last = AGT_LOCK_HOLDER_INIT;
    agt_error err;
    h->options.timeout_ms = AGT_TRY;
    if (agt_poll_lock_holder(h->c->root, &last, NULL) != AGT_OK || last.pid != command) return;
    agt_status st = agt_poll_lock_acquire(&h->lock, h->c->root, &h->options, &err);
    if (st == AGT_BUSY && last.held) out_note("%s", err.message);
}

static int lock_hold(cli *c, uint32_t backend) {
    const agt_poll_lock_options o = AGT_POLL_LOCK_OPTIONS_INIT;
    run_hold h = {c, c->args.words, o, NULL};
    const char *name = h.argv[0], *slash = strrchr(name, '/');
    char program[64];
    pid_t command = -1;
    int code = lock_timeout(c->args.value[OPT_TIMEOUT], &h.options.timeout_ms);
    if (code != CLI_DONE) return code;
    (void)snprintf(program, sizeof program, "%.60s", slash && slash[1] ? slash + 1 : name);
    h.options.program = program;
    h.options.backend = backend;
    if (backend != AGT_LOCK_SENTINEL) code = hold_take(&h);
    if (code != CLI_DONE) return code;
    code = run_wait(&h, &command);
    if (backend == AGT_LOCK_SENTINEL) hold_clean(&h, command);
    agt_poll_lock_release(h.lock);
    return code;
}

static int lock_backend(const char *s, uint32_t *out) {
    *out = AGT_LOCK_DEFAULT;
    if (!s) return CLI_DONE;
    *out = strcmp(s, "flock") == 0 ? AGT_LOCK_FLOCK : AGT_LOCK_SENTINEL;
    if (*out == AGT_LOCK_FLOCK || strcmp(s, "sentinel") == 0) return CLI_DONE;
    return out_fail(CLI_USAGE, "there is no --backend '%s'; use flock or sentinel", s);
}

static int command_lock(cli *c) {
    const char *what = c->args.words[0];
    char **words = c->args.words;
    bool hold = strcmp(what, "hold") == 0;
    int at = 1;
    if (!hold && strcmp(what, "status") != 0 && strcmp(what, "try") != 0)
        return out_usage(c->command, "lock does not know '%s'; say status, try or hold", what);
    int code = args_read(&c->args, c->command, c->args.count, words, &at,
                         OPTS_ALWAYS | OPT(JSON) | (what[0] != 's' ? OPT(BACKEND) : 0) |
                             (hold ? OPT(TIMEOUT) : 0),
                         hold);
    if (code != CLI_DONE) return code;
    if (c->args.value[OPT_HELP]) {
        help_one(&cli_lock);
        return CLI_DONE;
    }
    c->json = c->args.value[OPT_JSON] != NULL;
    if (hold && c->args.count == 0) return out_usage(c->command, "lock hold needs a COMMAND");
    if (!hold && c->args.count > 0)
        return out_usage(c->command, "'lock %s' takes no '%s'", what, c->args.words[0]);
    uint32_t backend;
    code = lock_backend(c->args.value[OPT_BACKEND], &backend);
    if (code == CLI_DONE) code = cli_find(c);
    if (code != CLI_DONE) return code;
    if (hold) return lock_hold(c, backend);
    return what[0] == 's' ? lock_status(c) : lock_try(c, backend);
}

/* ---- git ---- */

/* What would make git look at another repository, or at this one with other eyes. */
static bool git_redirects(const char *variable) {
    static const char *const names[] = {"GIT_DIR",
                                        "GIT_WORK_TREE",
                                        "GIT_IMPLICIT_WORK_TREE",
                                        "GIT_COMMON_DIR",
                                        "GIT_INDEX_FILE",
                                        "GIT_OBJECT_DIRECTORY",
                                        "GIT_NAMESPACE",
                                        "GIT_PREFIX",
                                        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                                        "GIT_GRAFT_FILE",
                                        "GIT_SHALLOW_FILE",
                                        "GIT_INTERNAL_SUPER_PREFIX",
                                        "GIT_REPLACE_REF_BASE",
                                        "GIT_NO_REPLACE_OBJECTS",
                                        "GIT_CONFIG",
                                        "GIT_CONFIG_PARAMETERS",
                                        "GIT_CONFIG_COUNT"};
    size_t n = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == n && memcmp(names[i], variable, n) == 0) return true;
    return false;
}

static void git_clean_environment(void) {
    size_t kept = 0;
    for (size_t i = 0; environ[i]; i++)
        if (!git_redirects(environ[i])) environ[kept++] = environ[i];
    environ[kept] = NULL;
}

static int git_exec(cli *c) {
    char folder[sizeof c->root + 32];
    size_t count = (size_t)c->args.count;
    char **argv = out_alloc((count + 3) * sizeof argv[0]);
    char name[] = "git";
    (void)snprintf(folder, sizeof folder, "--git-dir=%s/.agent-trace/git",
                   strcmp(c->root, "/") == 0 ? "" : c->root);
    argv[0] = name;
    argv[1] = folder;
    memcpy(argv + 2, c->args.words, count * sizeof argv[0]);
    argv[count + 2] = NULL;
    git_clean_environment();
    out_child();
    execvp(argv[0], argv);
    int code =
        out_fail(errno == ENOENT ? RUN_NO_SUCH : RUN_CANNOT, "cannot run git: %s", strerror(errno));
    free(argv);
    return code;
}

/* Where nothing can be published, is there anything? */
static void git_note_pending(cli *c) {
    agt_store_info info = AGT_STORE_INFO_INIT;
    if (agt_store_get_info(c->store, &info, NULL) == AGT_OK && info.published_seq < info.last_seq)
        out_note("git may not have the newest changes: the store is busy or may only be read");
}

static int command_git(cli *c) {
    agt_error err;
    int code = cli_open_to_publish(c);
    if (code != CLI_DONE) return code;
    agt_status st = c->read_only ? AGT_OK : agt_publish(c->store, &err);
    if (c->read_only) git_note_pending(c);
    if (st == AGT_UNSUPPORTED)
        code = cli_failed(c, st, &err);
    else if (st != AGT_OK)
        out_note("git does not have the newest changes: %s", err.message);
    (void)agt_close(c->store, NULL);
    c->store = NULL;
    return code == CLI_DONE ? git_exec(c) : code;
}

/* ---- what they are ---- */

const cli_command cli_lock = {
    .name = "lock",
    .run = command_lock,
    .group = "more",
    .line = "the poll lock: one leader among all processes",
    .usage = "status\n"
             "try [--backend HOW]\n"
             "hold [--timeout SECONDS] [--backend HOW] COMMAND [ARGS]",
    .text =
        "The lock is that of the store around the current folder; the library's needs no store. "
        "status says who holds the lock, since when, by which backend, and the leader's epoch: a "
        "number that is larger for each holder than for the one before. try answers whether it can "
        "be had: exit code 0 or 5. "
        "hold waits for it, runs COMMAND while holding it and exits as COMMAND does; 5 if "
        "somebody else keeps it. The lock is free again when COMMAND ends, however it ends. If "
        "agent-trace is killed before that, the lock stays with COMMAND, and with what COMMAND "
        "has started, for as long as they live; status then still names the process of "
        "agent-trace.\n\n"
        "--backend sentinel is for file systems without flock: a file in .agent-trace/locks says "
        "who holds the lock, and what a dead process left is taken over. All who want the lock of "
        "one store should use the same backend; two that do not exclude each other all the same. "
        "Held so, the lock belongs to the process of COMMAND and not to what that has started, and "
        "status names it.",
    .takes = {{OPT_TIMEOUT, "how long hold waits (default " CLI_QUOTE(CLI_LOCK_WAIT_S) "; 0: one "
                                                                                       "try)"},
              {OPT_BACKEND, "flock (default), or sentinel where there is none"},
              {OPT_JSON, "print who holds it as JSON"}},
    .exits = "hold exits as COMMAND does, with 126 or 127 where it cannot be run, and with 128 and "
             "the signal's number where a signal ended it",
    .examples = "agent-trace lock hold --timeout 0 -- ./poll-changes",
    .see = "status",
    .min = 1,
    .max = -1,
    .wants = "status, try or hold",
    .offers = {"status try hold", OFFER_FILE},
    .stop = true,
};

const cli_command cli_git = {
    .name = "git",
    .run = command_git,
    .group = "history",
    .line = "run git on the store's repository",
    .usage = "ARGS",
    .text = "Publishes what is pending, then runs git on the repository in .agent-trace/git. On a "
            "store that may only be read nothing is published.",
    .exits = "as git exits; 126 or 127 where it cannot be run",
    .examples = "agent-trace git log --oneline -- docs/plan.md",
    .see = "log status",
    .min = 1,
    .max = -1,
    .wants = "something to do",
    .offers = {OFFER_FILE},
    .raw = true,
};
