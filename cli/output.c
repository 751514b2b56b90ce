/* output: the streams, problems and what people read. JSON is in output_json.c. */
#include "cli.h"

#include "output.h"
#include "pager.h"
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
    bool terminal[3], colour, utc, no_pager;
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
    if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    if (columns && text_number(columns, 10000, &given) && given > 0) return (int)given;
    return 80;
}

/* What a terminal is asked for when nobody says otherwise. */
static bool out_wants_colour(void) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return out.terminal[1] && !(no_color && no_color[0]) && term && strcmp(term, "dumb") != 0;
}

void out_init(void) {
    struct sigaction ignore;
    out_fill_streams();
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &ignore, NULL);
    for (int fd = 0; fd < 3; fd++)
        out.terminal[fd] = isatty(fd) != 0;
    out.colour = out_wants_colour();
    out.columns = out_window();
}

int out_options(const char *color, bool utc, bool no_pager) {
    out.utc = utc;
    out.no_pager = no_pager;
    if (!color || strcmp(color, "auto") == 0) return CLI_DONE;
    out.colour = strcmp(color, "always") == 0;
    if (out.colour || strcmp(color, "never") == 0) return CLI_DONE;
    return out_fail(CLI_USAGE, "--color '%s' is unknown; use auto, always or never", color);
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

void out_page(void) {
    if (out.terminal[1] && !out.no_pager) pager_start();
}

void out_page_end(void) {
    (void)fflush(stdout);
    pager_end();
    clearerr(stdout); /* a pager that was quit is no broken terminal */
}

int out_finish(int code) {
    errno = 0;
    bool broken = ferror(stdout) != 0;
    if (fflush(stdout) != 0) broken = true;
    if (errno == EPIPE || (broken && out_reader_gone(0))) broken = false;
    int why = errno;
    pager_end();
    if (!broken) return code;
    return out_fail(CLI_ERROR, "cannot print the result: %s",
                    why ? strerror(why) : "stdout failed");
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
    static const char *const codes[] = {"0", "1", "2", "31", "32", "33", "34", "35", "36"};
    if (out.colour) (void)printf("\033[%sm", codes[style]);
}

void out_text(const char *s, size_t n) {
    out_safe(stdout, s, n);
}

const char *out_word(const char *s, char *word, size_t size) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=+,@%-";
    const char *quote = s[strspn(s, plain)] || !*s ? "'" : "";
    size_t n = 0;
    (void)snprintf(word, size, "%s", quote);
    for (size_t part; *s && (n = strlen(word)) + 1 < size; s += part) {
        part = strcspn(s, "'");
        (void)snprintf(word + n, size - n, "%.*s%s", (int)part, s, s[part] ? "'\\''" : "");
        if (s[part]) part++;
    }
    n = strlen(word);
    (void)snprintf(word + n, size - n, "%s", quote);
    return word;
}

void out_document(const char *s, size_t n) {
    uint32_t code = 0;
    if (!out.terminal[1]) {
        (void)fwrite(s, 1, n, stdout);
        return;
    }
    for (size_t i = 0, len; i < n; i += len ? len : 1) {
        unsigned char c = (unsigned char)s[i];
        len = text_next(s + i, n - i, &code);
        bool line_end = c == '\r' && i + 1 < n && s[i + 1] == '\n';
        if (len == 0)
            (void)printf("<%02X>", c);
        else if (!text_unsafe(code) || c == '\n' || c == '\t' || line_end)
            (void)fwrite(s + i, 1, len, stdout);
        else if (c < 0x80)
            (void)printf("^%c", c ^ 0x40);
        else
            (void)printf("<U+%04X>", (unsigned)code);
    }
}

void out_styled(out_style style, const char *s) {
    if (style != OUT_PLAIN) out_set(style);
    out_text(s, strlen(s));
    if (style != OUT_PLAIN) out_set(OUT_PLAIN);
}

static bool out_is_word(const char *s, size_t n, const char *word) {
    return n == strlen(word) && memcmp(s, word, n) == 0;
}

out_style out_actor_style(const char *actor, size_t n) {
    if (out_is_word(actor, n, "user")) return OUT_CYAN;
    return out_is_word(actor, n, "system") ? OUT_BLUE : OUT_MAGENTA;
}

out_style out_type_style(const char *type, size_t n) {
    static const struct {
        const char *type;
        out_style style;
    } styles[] = {
        {"plan", OUT_GREEN}, {"context", OUT_CYAN}, {"log", OUT_BLUE}, {"reference", OUT_MAGENTA}};
    for (size_t i = 0; i < sizeof styles / sizeof styles[0]; i++)
        if (out_is_word(type, n, styles[i].type)) return styles[i].style;
    return OUT_PLAIN;
}

const char *out_time(int64_t unix_ms, char text[CLI_TIME_TEXT]) {
    if (!out.terminal[1] || out.utc) return time_exact(unix_ms, text);
    return time_relative(unix_ms, time_now(), text);
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
