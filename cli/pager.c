/* pager: what is printed goes through the pager that people are used to, as with git.
 *
 * (1) The pager is a child that reads a pipe; stdout, and stderr where it is the terminal too, are
 *     that pipe until out_finish, which waits for it.
 * (2) A pager that cannot be started (a shell says 126 or 127) loses nothing: this process keeps a
 *     reading end, so that what nobody has read is still in the pipe. When the child ends, the
 *     signal's handler prints it and puts the terminal back in the pipe's place, also under a write
 *     that waits for room.
 * (3) A pager that was quit is a reader that went away: the next write says so, and that is no
 *     error. */
#include "cli.h"

#include "output.h"
#include "pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGER_CANNOT = 126, PAGER_NO_SUCH = 127 }; /* as shells answer */

static struct {
    volatile sig_atomic_t pid; /* 0: none runs */
    volatile sig_atomic_t failed;
    bool started;
    int reading;         /* our reading end of the pipe */
    int terminal, error; /* what stdout and stderr were; error -1: it stayed what it was */
    const char *command;
} pager = {.error = -1};

static struct sigaction pager_before[4]; /* what the signals did before */
static const int pager_signals[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
#define PAGER_SIGNALS (sizeof pager_signals / sizeof pager_signals[0])

/* ---- which one ---- */

/* Is there such a program? Nobody asked for less, so nobody is told that there is none. */
static bool pager_is_there(const char *program) {
    const char *path = getenv("PATH");
    char name[4096];
    for (size_t n; path && *path; path += n + (path[n] == ':')) {
        n = strcspn(path, ":");
        int len = snprintf(name, sizeof name, "%.*s/%s", (int)n, path, program);
        if (n && len > 0 && (size_t)len < sizeof name && access(name, X_OK) == 0) return true;
    }
    return false;
}

/* NULL: none. */
static const char *pager_choose(void) {
    const char *command = getenv("AGENT_TRACE_PAGER"), *term = getenv("TERM");
    if (!command) command = getenv("PAGER");
    if (!command) {
        if (!term || strcmp(term, "dumb") == 0) return NULL;
        command = pager_is_there("less") ? "less" : "";
    }
    return command[0] && strcmp(command, "cat") != 0 ? command : NULL;
}

/* ---- in handlers: nothing but calls that are safe there ---- */

static void pager_print(const char *s, size_t n) {
    while (n > 0) {
        ssize_t put = write(pager.terminal, s, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return;
        s += put;
        n -= (size_t)put;
    }
}

static void pager_put_back(void) {
    (void)dup2(pager.terminal, 1);
    if (pager.error >= 0) (void)dup2(pager.error, 2);
}

/* The child ended. If it had never begun, prints what it did not read. */
static void pager_ended(int status) {
    char text[4096];
    ssize_t n;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    pager.pid = 0;
    if (code == PAGER_CANNOT || code == PAGER_NO_SUCH) {
        (void)fcntl(pager.reading, F_SETFL, O_NONBLOCK);
        while ((n = read(pager.reading, text, sizeof text)) > 0)
            pager_print(text, (size_t)n);
        pager_put_back();
        pager.failed = 1;
    }
    (void)close(pager.reading);
}

static void pager_on_child(int signal) {
    int status, kept = errno;
    (void)signal;
    if (pager.pid && waitpid((pid_t)pager.pid, &status, WNOHANG) == (pid_t)pager.pid)
        pager_ended(status);
    errno = kept;
}

/* This process is to end: not before the pager, which would be left alone with the terminal. */
static void pager_on_signal(int signal) {
    struct sigaction normal;
    (void)close(1);
    if (pager.error >= 0) (void)close(2);
    while (pager.pid && waitpid((pid_t)pager.pid, NULL, 0) < 0 && errno == EINTR) {
    }
    memset(&normal, 0, sizeof normal);
    normal.sa_handler = SIG_DFL;
    (void)sigaction(signal, &normal, NULL);
    (void)raise(signal);
}

/* ---- from start to end ---- */

static void pager_run(const char *command, int reading, const sigset_t *mask) {
    out_child();
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    (void)setenv("LESS", "FRX", 0); /* ends by itself if all fits, takes colours, leaves the text */
    (void)setenv("LV", "-c", 0);
    if (dup2(reading, 0) == 0) execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(PAGER_NO_SUCH);
}

static void pager_catch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    (void)sigfillset(&action.sa_mask);
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    action.sa_handler = pager_on_child;
    (void)sigaction(SIGCHLD, &action, NULL);
    action.sa_flags = 0;
    action.sa_handler = pager_on_signal;
    for (size_t i = 0; i < PAGER_SIGNALS; i++)
        if (sigaction(pager_signals[i], NULL, &pager_before[i]) == 0 &&
            pager_before[i].sa_handler == SIG_DFL)
            (void)sigaction(pager_signals[i], &action, NULL);
}

static bool pager_pipe(int ends[2]) {
    if (pipe(ends) != 0) return false;
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    (void)fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    pager.terminal = fcntl(1, F_DUPFD_CLOEXEC, 3);
    pager.error = out_is_terminal(2) ? fcntl(2, F_DUPFD_CLOEXEC, 3) : -1;
    if (pager.terminal >= 0) return true;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return false;
}

void pager_start(void) {
    int ends[2];
    sigset_t all, mask;
    pager.command = pager.started ? NULL : pager_choose();
    if (!pager.command || fflush(stdout) != 0 || !pager_pipe(ends)) return;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    pid_t child = fork();
    if (child == 0) pager_run(pager.command, ends[0], &mask);
    if (child > 0) {
        pager.started = true;
        pager.pid = (sig_atomic_t)child;
        pager.reading = ends[0];
        (void)dup2(ends[1], 1);
        if (pager.error >= 0) (void)dup2(ends[1], 2);
        pager_catch();
    } else {
        (void)close(ends[0]);
        (void)close(pager.terminal);
    }
    (void)close(ends[1]);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
}

void pager_end(void) {
    sigset_t all, mask;
    int status;
    if (!pager.started) return;
    pager.started = false;
    (void)sigemptyset(&all);
    (void)sigaddset(&all, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &all, &mask);
    pager_put_back(); /* and with that the pipe has no writer any more */
    while (pager.pid) {
        if (waitpid((pid_t)pager.pid, &status, 0) >= 0)
            pager_ended(status);
        else if (errno != EINTR)
            pager.pid = 0;
    }
    for (size_t i = 0; i < PAGER_SIGNALS; i++)
        (void)sigaction(pager_signals[i], &pager_before[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    (void)close(pager.terminal);
    if (pager.error >= 0) (void)close(pager.error);
    if (pager.failed)
        out_note("cannot start the pager '%s'; AGENT_TRACE_PAGER or PAGER names it, empty: none",
                 pager.command);
    pager.failed = 0;
}
