/* output: everything that is printed. Results go to stdout, one line per problem to stderr.
 *
 * (1) Text that comes from a store is printed for people with control characters and the like
 *     replaced; in JSON it is escaped. Only document bytes and trace lines are printed as they are,
 *     and only in a pipe: on a terminal they are made safe, too.
 * (2) Colour only on a terminal, without NO_COLOR and with a TERM that is not "dumb", unless
 * --color says otherwise. (3) A reader that goes away ends the program quietly; any other failure
 * to print is an error. */
#ifndef AGENT_TRACE_CLI_OUTPUT_H
#define AGENT_TRACE_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define OUT_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define OUT_PRINTF(a, b)
#endif

/* ---- the streams ---- */

/* Looks at the streams and the environment, makes sure that 0 to 2 are open, ignores SIGPIPE. */
void out_init(void);
/* What --color, --utc and --no-pager say; color may be NULL. An exit code; reported. */
int out_options(const char *color, bool utc, bool no_pager);
/* A terminal on stdin, stdout, stderr (0, 1, 2)? */
bool out_is_terminal(int fd);
/* Columns of the terminal on stdout; 0 if there is none. */
int out_columns(void);
/* Did printing to stdout fail? */
bool out_is_broken(void);
/* Has the reader of the pipe on stdout gone, or does it go within so many milliseconds? */
bool out_reader_gone(int timeout_ms);
/* What follows goes through a pager, if stdout is a terminal and nobody said otherwise. To be
 * called when there is something to print, so that nobody sees an empty page. */
void out_page(void);
/* Waits until the person has seen it, before something is asked. Nothing where there is no pager.
 */
void out_page_end(void);
/* Flushes stdout and waits for the pager. Returns `code`, or CLI_ERROR (reported) if something
 * could not be printed. */
int out_finish(int code);
/* Undoes what out_init changed that a child process would inherit. For use between fork and exec,
 * or before exec. */
void out_child(void);

/* ---- problems ---- */

/* One line "agent-trace: ..." on stderr. Returns code. */
int out_fail(int code, const char *format, ...) OUT_PRINTF(2, 3);
/* A wrong use: "agent-trace: ...; see 'agent-trace help COMMAND'". Returns CLI_USAGE. */
int out_usage(const char *command, const char *format, ...) OUT_PRINTF(2, 3);
/* What the last out_fail (but one with code 0) or out_usage said; empty if nothing failed. */
const char *out_failure(void);
/* One line "agent-trace: note: ..." on stderr. */
void out_note(const char *format, ...) OUT_PRINTF(1, 2);

/* Memory for the program's own small things; on failure reports and exits. */
void *out_alloc(size_t n);
void *out_grow(void *p, size_t n);

/* ---- for people ---- */

typedef enum out_style {
    OUT_PLAIN = 0,
    OUT_BOLD,
    OUT_DIM,
    OUT_RED,
    OUT_GREEN,
    OUT_YELLOW,
    OUT_BLUE,
    OUT_MAGENTA,
    OUT_CYAN
} out_style;

/* Begins a style on stdout, ends it with OUT_PLAIN. Nothing where there is no colour. */
void out_set(out_style style);
/* Prints text made safe (1). */
void out_text(const char *s, size_t n);
/* A word as one would type it to a shell, into `word`, cut where that is too short. Returns word.
 */
const char *out_word(const char *s, char *word, size_t size);
/* Prints bytes of a document: as they are in a pipe; on a terminal what could fool it as "^[",
 * "<U+202E>" or, where it is no UTF-8, "<9B>". */
void out_document(const char *s, size_t n);
void out_styled(out_style style, const char *s);
/* The text, shortened in its middle if it needs more columns. Returns its bytes in `text`. */
size_t out_shorten(const char *s, size_t n, int columns, char *text, size_t size);
/* Who acts (user, agent, system) and what a document is have colours of their own. */
out_style out_actor_style(const char *actor, size_t n);
out_style out_type_style(const char *type, size_t n);
/* On a terminal as people say it, in local time: "3 min ago", "yesterday 14:02"; in a pipe, or with
 * --utc, exactly. Returns out. */
const char *out_time(int64_t unix_ms, char out[CLI_TIME_TEXT]);
/* "1.2 MB". Returns out. */
const char *out_bytes(uint64_t n, char out[24]);

/* Rows of cells. On a terminal the columns line up and nothing is padded at the end of a line; with
 * `below` a last cell that does not fit the line gets one of its own, cut where even that is short.
 * In a pipe every cell is whole, with one tab between two. */
#define OUT_COLUMNS 8
typedef struct out_table {
    int columns;
    unsigned right; /* bit n: column n is aligned to the right */
    bool below;
    bool wrap;  /* the last cell is broken over lines between words */
    int shrink; /* 0, or a column that is shortened in the middle where a terminal is narrow */
    char *text;
    size_t len, cap;
    struct out_cell {
        size_t at, len;
        int columns;
        size_t tail; /* bytes at its end that are never left out */
        out_style style;
    } * cells;
    size_t count, room;
    int width[OUT_COLUMNS];
    int tail; /* columns of the widest one */
} out_table;

void out_cell(out_table *t, out_style style, const char *s, size_t n);
void out_cell_tail(out_table *t, out_style style, const char *s, size_t n, size_t tail);
void out_cellf(out_table *t, out_style style, const char *format, ...) OUT_PRINTF(3, 4);
/* Prints the rows and empties the table; widths never shrink. */
void out_rows(out_table *t);
void out_table_free(out_table *t);

/* "label       value", a line of a page of facts, as status has them. A value that is too long goes
 * on below its beginning; under an empty label one more value of the one above. */
#define OUT_LABEL 12 /* columns */
void out_label(const char *label);
void out_fact(const char *label, out_style style, const char *value);

/* ---- for programs: one JSON value on stdout ---- */

typedef struct out_json {
    int depth;
    bool more[8]; /* something stands before on this level */
    bool lines;   /* the items of the outermost array stand on lines of their own */
} out_json;

/* Was one begun? */
bool json_was_printed(void);
/* `key` is NULL in an array and at the top. */
void json_open(out_json *j, const char *key, char bracket);
void json_close(out_json *j, char bracket);
/* Ends an array that was begun at its first item; `empty`: there was none, and that is the answer.
 */
void json_end_array(out_json *j, bool empty);
/* A string; null where s is NULL. Bytes that are not UTF-8 become U+FFFD. */
void json_put_text(out_json *j, const char *key, const char *s, size_t n);
void json_put(out_json *j, const char *key, const char *s);
void json_put_u64(out_json *j, const char *key, uint64_t value);
void json_put_i64(out_json *j, const char *key, int64_t value);
void json_put_bool(out_json *j, const char *key, bool value);
/* RFC 3339 in UTC, or null for 0. */
void json_put_time(out_json *j, const char *key, int64_t unix_ms);
/* Text that is JSON already; on a terminal what could fool it is escaped. */
void json_raw(const char *s, size_t n);
void json_put_raw(out_json *j, const char *key, const char *s, size_t n);
/* Base64 of the bytes, as a string. */
void json_put_base64(out_json *j, const char *key, const unsigned char *s, size_t n);

#endif /* AGENT_TRACE_CLI_OUTPUT_H */
