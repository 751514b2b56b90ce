/* output: the streams, problems and what people read. JSON is in output_json.c. */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct {
    bool terminal[3], colour;
    int columns;
    char failure[1024];
} out;

/* ---- the streams ---- */

/* A closed stream's number must not become a file of the store: it gets a descriptor that cannot
 * be used, so that reading or printing fails as it should. */
static void out_fill_streams(void) {
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static int out_window(void) {
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    uint64_t given = 0;
    if (!out.terminal[1]) return 0;
    if (columns && text_number(columns, 10000, &given) && given > 0) return (int)given;
    if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

void out_init(void) {
    struct sigaction ignore;
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    out_fill_streams();
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &ignore, NULL);
    for (int fd = 0; fd < 3; fd++)
        out.terminal[fd] = isatty(fd) != 0;
    out.colour = out.terminal[1] && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
    out.columns = out_window();
}

void out_child(void) {
    struct sigaction normal;
    memset(&normal, 0, sizeof normal);
    normal.sa_handler = SIG_DFL;
    (void)sigaction(SIGPIPE, &normal, NULL);
}

bool out_is_terminal(int fd) {
    return out.terminal[fd];
}
int out_columns(void) {
    return out.columns;
}
bool out_is_broken(void) {
    return ferror(stdout) != 0;
}

bool out_reader_gone(int timeout_ms) {
    struct pollfd reader = {.fd = 1, .events = 0};
    return poll(&reader, 1, timeout_ms) > 0 && (reader.revents & (POLLERR | POLLHUP)) != 0;
}

int out_finish(int code) {
    errno = 0;
    bool broken = ferror(stdout) != 0;
    if (fflush(stdout) != 0) broken = true;
    if (!broken || errno == EPIPE || out_reader_gone(0)) return code;
    return out_fail(CLI_ERROR, "cannot print the result: %s",
                    errno ? strerror(errno) : "stdout failed");
}

/* ---- problems ---- */

static void out_safe(FILE *f, const char *s, size_t n) {
    uint32_t code;
    for (size_t i = 0, len; i < n; i += len) {
        len = text_next(s + i, n - i, &code);
        if (len == 0 || text_unsafe(code))
            (void)fputc('?', f);
        else
            (void)fwrite(s + i, 1, len, f);
        if (len == 0) len = 1;
    }
}

/* Formats, prints safely, ends the line. What is printed to stdout comes first. */
static void out_problem(const char *prefix, const char *format, va_list args, const char *suffix,
                        bool failure) {
    char line[8192];
    int n = vsnprintf(line, sizeof line, format, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    if (failure) (void)snprintf(out.failure, sizeof out.failure, "%.*s", (int)len, line);
    (void)fflush(stdout);
    flockfile(stderr);
    (void)fputs(prefix, stderr);
    out_safe(stderr, line, len);
    (void)fputs(suffix, stderr);
    (void)fputc('\n', stderr);
    funlockfile(stderr);
}

int out_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    out_problem("agent-trace: ", format, args, "", code != 0);
    va_end(args);
    return code;
}

const char *out_failure(void) {
    return out.failure;
}

int out_usage(const char *command, const char *format, ...) {
    char suffix[96];
    va_list args;
    (void)snprintf(suffix, sizeof suffix, "; see 'agent-trace help%s%s'", command ? " " : "",
                   command ? command : "");
    va_start(args, format);
    out_problem("agent-trace: ", format, args, suffix, true);
    va_end(args);
    return CLI_USAGE;
}

void out_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    out_problem("agent-trace: note: ", format, args, "", false);
    va_end(args);
}

void *out_grow(void *p, size_t n) {
    void *grown = realloc(p, n ? n : 1);
    if (!grown) exit(out_fail(CLI_ERROR, "out of memory"));
    return grown;
}

void *out_alloc(size_t n) {
    return out_grow(NULL, n);
}

/* ---- for people ---- */

void out_set(out_style style) {
    static const char *const codes[] = {"0", "1", "2", "31", "32", "33", "36"};
    if (out.colour) (void)printf("\033[%sm", codes[style]);
}

void out_text(const char *s, size_t n) {
    out_safe(stdout, s, n);
}

void out_styled(out_style style, const char *s) {
    if (style != OUT_PLAIN) out_set(style);
    out_text(s, strlen(s));
    if (style != OUT_PLAIN) out_set(OUT_PLAIN);
}

const char *out_bytes(uint64_t n, char text[24]) {
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    uint64_t whole = n, tenth = 0;
    size_t unit = 0;
    for (; whole >= 1024 && unit < 4; unit++) {
        tenth = whole % 1024 * 10 / 1024;
        whole /= 1024;
    }
    if (unit > 0 && whole < 10)
        (void)snprintf(text, 24, "%u.%u %s", (unsigned)whole, (unsigned)tenth, units[unit]);
    else
        (void)snprintf(text, 24, "%llu %s", (unsigned long long)whole, units[unit]);
    return text;
}

/* ---- tables ---- */

#define OUT_INDENT 4
#define OUT_LEAST  8              /* columns: no path is made shorter */
#define OUT_CUT    "\xe2\x80\xa6" /* what stands for what was left out: one column */

static int out_width(const char *s, size_t n) {
    uint32_t code;
    int columns = 0;
    for (size_t i = 0, len; i < n; i += len) {
        len = text_next(s + i, n - i, &code);
        columns += len && !text_unsafe(code) ? text_columns(code) : 1;
        if (len == 0) len = 1;
    }
    return columns;
}

void out_cell(out_table *t, out_style style, const char *s, size_t n) {
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->cells = out_grow(t->cells, t->room * sizeof t->cells[0]);
    }
    if (t->cap - t->len < n) {
        t->cap = (t->len + n) * 2 + 256;
        t->text = out_grow(t->text, t->cap);
    }
    if (n) memcpy(t->text + t->len, s, n);
    struct out_cell *cell = &t->cells[t->count];
    *cell = (struct out_cell){t->len, n, out_width(s, n), 0, style};
    int *width = &t->width[t->count % (size_t)t->columns];
    if (cell->columns > *width) *width = cell->columns;
    t->len += n;
    t->count++;
}

void out_cell_tail(out_table *t, out_style style, const char *s, size_t n, size_t tail) {
    out_cell(t, style, s, n);
    t->cells[t->count - 1].tail = tail;
}

void out_cellf(out_table *t, out_style style, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    out_cell(t, style, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* How many bytes of the cell fit into so many columns. */
static size_t out_fits(const char *s, size_t n, int columns) {
    uint32_t code;
    size_t i = 0;
    while (i < n) {
        size_t len = text_next(s + i, n - i, &code);
        columns -= len && !text_unsafe(code) ? text_columns(code) : 1;
        if (columns < 0) break;
        i += len ? len : 1;
    }
    return i;
}

/* How many bytes at the end take no more than so many columns. */
static size_t out_end(const char *s, size_t n, int columns) {
    uint32_t code;
    size_t at = 0;
    for (int left = out_width(s, n); left > columns && at < n;) {
        size_t len = text_next(s + at, n - at, &code);
        left -= len && !text_unsafe(code) ? text_columns(code) : 1;
        at += len ? len : 1;
    }
    return n - at;
}

size_t out_shorten(const char *s, size_t n, int columns, char *text, size_t size) {
    bool cut = out_width(s, n) > columns;
    int room = columns > OUT_LEAST ? columns - 1 : OUT_LEAST - 1;
    size_t head = cut ? out_fits(s, n, room / 3) : n;
    size_t tail = cut ? out_end(s, n, room - room / 3) : 0; /* the file's name is there */
    int got = snprintf(text, size, "%.*s%s%.*s", (int)head, s, cut ? OUT_CUT : "", (int)tail,
                       s + n - tail);
    return got < 0 ? 0 : (size_t)got < size ? (size_t)got : size - 1;
}

static void out_pad(int columns) {
    if (columns > 0) (void)printf("%*s", columns, "");
}

static void out_put_text(const out_table *t, const struct out_cell *cell, size_t n) {
    if (cell->style != OUT_PLAIN && n) out_set(cell->style);
    out_text(t->text + cell->at, n);
    if (n < cell->len) (void)fputs(OUT_CUT, stdout);
    if (cell->style != OUT_PLAIN && n) out_set(OUT_PLAIN);
}

/* A last cell that does not fit the terminal's line. */
static void out_put_below(const out_table *t, const struct out_cell *cell) {
    int room = out.columns - OUT_INDENT;
    bool cut = cell->columns > room;
    (void)printf("\n%*s", OUT_INDENT, "");
    out_put_text(t, cell, cut ? out_fits(t->text + cell->at, cell->len, room - 1) : cell->len);
}

/* What is left for the column that shrinks, and what is behind it in its cell; 0: all it wants. */
static int out_limit(const out_table *t) {
    int before = 0;
    if (!t->shrink || !out.columns) return 0;
    for (int i = 0; i < t->shrink; i++)
        before += t->width[i] ? t->width[i] + 2 : 0;
    return out.columns - before > OUT_LEAST ? out.columns - before : OUT_LEAST;
}

static void out_put_shortened(const out_table *t, const struct out_cell *cell, int columns) {
    char text[AGT_MAX_PATH * 4 + 64];
    const char *s = t->text + cell->at;
    size_t n = cell->len - cell->tail;
    int room = columns - out_width(s + n, cell->tail);
    n = out_shorten(s, n, room > OUT_LEAST ? room : OUT_LEAST, text, sizeof text);
    if (cell->style != OUT_PLAIN) out_set(cell->style);
    out_text(text, n);
    out_text(s + cell->len - cell->tail, cell->tail);
    if (cell->style != OUT_PLAIN) out_set(OUT_PLAIN);
}

static void out_row(const out_table *t, const struct out_cell *cells, int limit) {
    int last = t->columns - 1, at = 0, gap = 0;
    while (last > 0 && !cells[last].len) /* nothing is padded for what does not come */
        last--;
    for (int i = 0; i <= last; i++) {
        bool cut = limit && i == t->shrink && cells[i].columns > limit;
        int columns = cut ? limit : cells[i].columns;
        int width = limit && i == t->shrink && t->width[i] > limit ? limit : t->width[i];
        int pad = width - columns;
        bool right = t->right >> i & 1;
        if (!t->width[i]) continue; /* a column that is empty everywhere takes no room */
        bool below = t->below && out.columns > 2 * OUT_INDENT && i == t->columns - 1 &&
                     at + gap + cells[i].columns > out.columns;
        if (below) {
            out_put_below(t, &cells[i]);
            break;
        }
        out_pad(gap + (right ? pad : 0));
        if (cut)
            out_put_shortened(t, &cells[i], limit);
        else
            out_put_text(t, &cells[i], cells[i].len);
        at += gap + columns + (right ? pad : 0);
        gap = 2 + (right ? 0 : pad);
    }
    (void)fputc('\n', stdout);
}

void out_rows(out_table *t) {
    int limit = out_limit(t);
    for (size_t i = 0; i < t->count; i += (size_t)t->columns)
        out_row(t, t->cells + i, limit);
    t->count = t->len = 0;
}

void out_table_free(out_table *t) {
    free(t->cells);
    free(t->text);
    t->cells = NULL;
    t->text = NULL;
    t->count = t->len = t->cap = t->room = 0;
}
