/* lines: reading a stream line by line.
 *
 * One growing buffer holds what was read and not handed out. A newline is looked for in new bytes
 * only, so a line of any length is read once. A .gz file is unpacked by gzip, which reads the file
 * from its stdin: no name of a file ever becomes an option. */
#include "cli.h"

#include "lines.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINES_CHUNK   ((size_t)256 * 1024)
#define LINES_LOOK_MS 200 /* between two looks at whether to stop */

static bool lines_is_packed(const char *file) {
    size_t n = strlen(file);
    return n > 3 && strcmp(file + n - 3, ".gz") == 0;
}

/* Puts gzip between the file and the reader. */
static int lines_unpack(line_reader *r) {
    int ends[2];
    char name[] = "gzip", option[] = "-dc";
    char *argv[] = {name, option, NULL};
    if (pipe(ends) != 0) return out_fail(CLI_ERROR, "cannot make a pipe: %s", strerror(errno));
    (void)fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    r->child = fork();
    if (r->child == 0) {
        out_child();
        if (dup2(r->fd, 0) < 0 || dup2(ends[1], 1) < 0) _exit(126);
        (void)close(ends[1]);
        execvp(argv[0], argv);
        _exit(127);
    }
    (void)close(ends[1]);
    (void)close(r->fd);
    r->fd = ends[0];
    r->size = 0;
    if (r->child > 0) return CLI_DONE;
    r->child = 0;
    return out_fail(CLI_ERROR, "cannot start gzip: %s", strerror(errno));
}

int lines_open(line_reader *r, const char *file) {
    struct stat st;
    bool standard = strcmp(file, "-") == 0;
    memset(r, 0, sizeof *r);
    r->name = standard ? "stdin" : file;
    r->fd = -1;
    if (!file[0])
        return out_fail(CLI_USAGE, "the file's name is empty; name a file, or - for stdin");
    r->fd = standard ? 0 : open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (r->fd < 0)
        return out_fail(errno == ENOENT ? CLI_NOT_FOUND : CLI_ERROR, "cannot read %s: %s", file,
                        strerror(errno));
    if (fstat(r->fd, &st) == 0) {
        if (S_ISDIR(st.st_mode)) {
            if (!standard) (void)close(r->fd);
            return out_fail(CLI_ERROR, "%s is a folder; name a file of JSON Lines", r->name);
        }
        if (S_ISREG(st.st_mode) && st.st_size > 0) r->size = (uint64_t)st.st_size;
    }
    return !standard && lines_is_packed(file) ? lines_unpack(r) : CLI_DONE;
}

bool lines_ready(const line_reader *r, int timeout_ms) {
    struct pollfd stream = {.fd = r->fd, .events = POLLIN};
    size_t n = r->end - r->start;
    if (r->at_end || (n && memchr(r->buffer + r->start, '\n', n))) return true;
    return poll(&stream, 1, timeout_ms) != 0;
}

/* Room for one more chunk. false: the line does not fit. */
static bool lines_room(line_reader *r) {
    if (r->start > 0 && r->end + LINES_CHUNK > r->cap) {
        memmove(r->buffer, r->buffer + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    if (r->end + LINES_CHUNK <= r->cap) return true;
    if (r->end > LINES_MAX) return false;
    size_t cap = r->cap * 2 + LINES_CHUNK;
    char *grown = realloc(r->buffer, cap);
    if (!grown) return false;
    r->buffer = grown;
    r->cap = cap;
    return true;
}

static bool lines_stopped(const line_reader *r) {
    return r->stop && *r->stop;
}

/* Waits for something to read; false if it was stopped, which a read that waits would miss if the
 * signal came just before it. */
static bool lines_wait(const line_reader *r) {
    struct pollfd stream = {.fd = r->fd, .events = POLLIN};
    while (!lines_stopped(r) && poll(&stream, 1, LINES_LOOK_MS) == 0) {
    }
    return !lines_stopped(r);
}

/* Is the beginning of the stream that of a packed file? Reported. */
static bool lines_refuse_packed(const line_reader *r, size_t n) {
    if (r->bytes || r->child || n < 2 || memcmp(r->buffer, "\x1f\x8b", 2) != 0) return false;
    (void)out_fail(CLI_ERROR,
                   "%s is packed by gzip; unpack it: gzip -dc FILE.gz | agent-trace import -",
                   r->name);
    return true;
}

/* Reads what there is. false at the end and on a failure (*failed). */
static bool lines_fill(line_reader *r, bool *failed) {
    *failed = false;
    for (;;) {
        if (!lines_wait(r)) return false;
        ssize_t n = read(r->fd, r->buffer + r->end, r->cap - r->end);
        if (n < 0 && errno == EINTR) continue;
        *failed = n < 0;
        if (n < 0) (void)out_fail(CLI_ERROR, "cannot read %s: %s", r->name, strerror(errno));
        if (n <= 0) return false;
        *failed = lines_refuse_packed(r, (size_t)n);
        if (*failed) return false;
        r->end += (size_t)n;
        r->bytes += (uint64_t)n;
        return true;
    }
}

/* Passes over the rest of a line that does not fit. */
static line_result lines_skip(line_reader *r) {
    bool failed = false;
    for (;;) {
        r->start = r->end = 0;
        if (!lines_fill(r, &failed)) {
            r->at_end = true;
            return failed ? LINE_FAILED : LINE_TOO_LONG;
        }
        char *newline = memchr(r->buffer, '\n', r->end);
        if (!newline) continue;
        r->start = (size_t)(newline - r->buffer) + 1;
        return LINE_TOO_LONG;
    }
}

static line_result lines_copy(line_reader *r, size_t n, bool newline, char **line, size_t *len) {
    *line = malloc(n + 1);
    if (*line) {
        memcpy(*line, r->buffer + r->start, n);
        (*line)[n] = 0;
        *len = n;
    }
    r->start += n + newline;
    return *line ? LINE_OK : LINE_TOO_LONG;
}

line_result lines_next(line_reader *r, char **line, size_t *len) {
    size_t seen = 0; /* bytes behind start without a newline */
    bool failed = false;
    *line = NULL;
    r->number++;
    for (;;) {
        size_t n = r->end - r->start;
        char *newline = n > seen ? memchr(r->buffer + r->start + seen, '\n', n - seen) : NULL;
        if (newline)
            return lines_copy(r, (size_t)(newline - r->buffer) - r->start, true, line, len);
        seen = n;
        if (r->at_end)
            return n && !lines_stopped(r) ? lines_copy(r, n, false, line, len) : LINE_END;
        if (!lines_room(r)) return r->buffer ? lines_skip(r) : LINE_FAILED;
        if (lines_fill(r, &failed)) continue;
        r->at_end = true;
        if (failed) return LINE_FAILED;
    }
}

bool lines_close(line_reader *r) {
    int status = 0;
    if (r->fd > 0) (void)close(r->fd);
    free(r->buffer);
    r->buffer = NULL;
    if (!r->child) return true;
    while (waitpid(r->child, &status, 0) < 0 && errno == EINTR) {
    }
    r->child = 0;
    if (!r->at_end || lines_stopped(r) || status == 0) return true; /* or it was stopped */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        (void)out_fail(CLI_ERROR, "gzip is needed to read %s; install it or unpack the file",
                       r->name);
    else
        (void)out_fail(CLI_ERROR, "%s is damaged: gzip could not unpack all of it", r->name);
    return false;
}
