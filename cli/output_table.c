/* output_table: rows of cells. On a terminal the columns line up, long paths are cut in their
 * middle, and where even that does not fit a row takes several lines. In a pipe nothing is padded
 * or cut: tabs stand between the cells, for cut and awk. */
#include "cli.h"

#include "output.h"
#include "text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define OUT_INDENT 4
#define OUT_LEAST  8              /* columns: no path is made shorter */
#define OUT_FOLD   16             /* columns: with less for the paths, a row takes several lines */
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
    int columns = out_width(s + n - tail, tail);
    if (columns > t->tail) t->tail = columns;
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
    int room = out_columns() - OUT_INDENT;
    bool cut = cell->columns > room;
    (void)printf("\n%*s", OUT_INDENT, "");
    out_put_text(t, cell, cut ? out_fits(t->text + cell->at, cell->len, room - 1) : cell->len);
}

/* Columns that all but the one that shrinks take, and the gaps. */
static int out_fixed(const out_table *t) {
    int fixed = 0;
    for (int i = 0; i < t->columns; i++) {
        bool counts = i != t->shrink && !(t->below && i == t->columns - 1);
        if (counts && t->width[i]) fixed += t->width[i] + 2;
    }
    return fixed;
}

/* What is left for the column that shrinks, and what is behind it in its cell; 0: all it wants. */
static int out_limit(const out_table *t) {
    int left = out_columns() - out_fixed(t);
    if (!t->shrink || !out_columns()) return 0;
    return left > OUT_LEAST ? left : OUT_LEAST;
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

/* A long text, broken between words over lines that begin at `indent`. A word is never broken: it
 * may be something to be copied; one that is too long here, but not for a line, gets one. */
static void out_put_broken(const char *s, size_t len, out_style style, int columns, int indent) {
    bool first = true;
    while (len > 0) {
        size_t fits = out_fits(s, len, columns), n = fits;
        while (fits < len && n > 0 && s[n] != ' ')
            n--;
        if (n == 0)
            for (n = 1; n < len && s[n] != ' ';)
                n++;
        int wide = out_width(s, n);
        bool own = wide > columns && wide <= columns + indent - OUT_INDENT;
        if (own || !first) (void)printf("\n%*s", own ? OUT_INDENT : indent, "");
        if (style != OUT_PLAIN) out_set(style);
        out_text(s, n);
        if (style != OUT_PLAIN) out_set(OUT_PLAIN);
        while (n < len && s[n] == ' ')
            n++;
        s += n;
        len -= n;
        first = false;
    }
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
        bool below = t->below && out_columns() > 2 * OUT_INDENT && i == t->columns - 1 &&
                     at + gap + cells[i].columns > out_columns();
        if (below) {
            out_put_below(t, &cells[i]);
            break;
        }
        out_pad(gap + (right ? pad : 0));
        if (cut)
            out_put_shortened(t, &cells[i], limit);
        else if (t->wrap && i == last && out_columns() - at - gap >= OUT_LEAST)
            out_put_broken(t->text + cells[i].at, cells[i].len, cells[i].style,
                           out_columns() - at - gap, at + gap);
        else
            out_put_text(t, &cells[i], cells[i].len);
        at += gap + columns + (right ? pad : 0);
        gap = 2 + (right ? 0 : pad);
    }
    (void)fputc('\n', stdout);
}

/* On a terminal too narrow for columns: cell behind cell, on as many lines as it takes. */
static void out_row_folded(const out_table *t, const struct out_cell *cells) {
    int at = 0, room = out_columns() > 2 * OUT_INDENT ? out_columns() : 2 * OUT_INDENT;
    for (int i = 0; i < t->columns; i++) {
        const struct out_cell *cell = &cells[i];
        bool shrinks = t->shrink && i == t->shrink;
        int left = room - at - 2, wants = cell->columns;
        if (!cell->len) continue;
        int least = OUT_FOLD + out_width(t->text + cell->at + cell->len - cell->tail, cell->tail);
        if (shrinks && left >= least && wants > left) wants = left;
        bool fits = wants <= left;
        if (at && !fits) (void)printf("\n%*s", OUT_INDENT, "");
        if (at && fits) (void)fputs("  ", stdout);
        if (at) at = fits ? at + 2 : OUT_INDENT;
        if (shrinks && cell->columns > room - at)
            out_put_shortened(t, cell, room - at);
        else if (cell->columns > room - at)
            out_put_broken(t->text + cell->at, cell->len, cell->style, room - OUT_INDENT,
                           OUT_INDENT);
        else
            out_put_text(t, cell, cell->len);
        at += wants;
    }
    (void)fputc('\n', stdout);
}

/* For programs: every cell whole, one tab between two, the same number in each row. */
static void out_row_tabs(const out_table *t, const struct out_cell *cells) {
    for (int i = 0; i < t->columns; i++) {
        if (i > 0) (void)fputc('\t', stdout);
        out_put_text(t, &cells[i], cells[i].len);
    }
    (void)fputc('\n', stdout);
}

void out_rows(out_table *t) {
    int limit = out_limit(t), left = out_columns() - out_fixed(t);
    bool folded = left < 0;
    if (t->shrink) folded = left < OUT_FOLD + t->tail && t->width[t->shrink] > left;
    if (t->wrap) folded = false;
    for (size_t i = 0; i < t->count; i += (size_t)t->columns) {
        if (!out_columns())
            out_row_tabs(t, t->cells + i);
        else if (folded)
            out_row_folded(t, t->cells + i);
        else
            out_row(t, t->cells + i, limit);
    }
    t->count = t->len = 0;
}

void out_table_free(out_table *t) {
    free(t->cells);
    free(t->text);
    t->cells = NULL;
    t->text = NULL;
    t->count = t->len = t->cap = t->room = 0;
}

/* ---- facts ---- */

void out_label(const char *label) {
    out_set(OUT_DIM);
    (void)printf("%-*s ", OUT_LABEL - 1, label);
    out_set(OUT_PLAIN);
}

void out_fact(const char *label, out_style style, const char *value) {
    int room = out_columns() > OUT_LABEL + OUT_LEAST ? out_columns() - OUT_LABEL : INT_MAX;
    out_label(label);
    out_put_broken(value, strlen(value), style, room, OUT_LABEL);
    (void)putchar('\n');
}
