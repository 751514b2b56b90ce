/* What the benchmarks share: failing, the clock, medians, and rows with their goals. BENCH is the
 * program's name. */
#ifndef AGT_BENCH_H
#define AGT_BENCH_H

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../agent_trace.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define UNUSED   __attribute__((unused))

/* ---- failing: a benchmark that did not do its work has no figures ---- */

UNUSED static void die(const char *what) {
    fprintf(stderr, BENCH ": %s: %s\n", what, strerror(errno));
    exit(1);
}
UNUSED static void must(bool c, const char *what) {
    if (!c) die(what);
}
UNUSED static void must_agt(agt_status st, const agt_error *err) {
    if (st == AGT_OK) return;
    fprintf(stderr, BENCH ": %s: %s\n", agt_status_name(st), err->message);
    exit(1);
}

/* ---- the clock, and what comes of many runs ---- */

UNUSED static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}
UNUSED static double now_us(void) {
    return now_ns() / 1e3;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
/* Sorts; q in 0..1. */
UNUSED static double quantile(double *v, size_t n, double q) {
    if (!n) return 0;
    qsort(v, n, sizeof *v, by_value);
    return v[(size_t)(q * (double)(n - 1) + 0.5)];
}

/* ---- names and folders ---- */

UNUSED static char *format(const char *f, ...) __attribute__((format(printf, 1, 2)));
UNUSED static char *format(const char *f, ...) { /* kept to the end: there are a few hundred */
    char *out;
    va_list ap;
    va_start(ap, f);
    must(vasprintf(&out, f, ap) >= 0, "vasprintf");
    va_end(ap);
    return out;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    return remove(path);
}
UNUSED static void remove_tree(const char *path) {
    (void)nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

/* Where this program lies; and the program agent-trace of the same build. */
UNUSED static void find_self(const char *exe, char *self, size_t size) {
    ssize_t n = readlink("/proc/self/exe", self, size - 1);
    if (n > 0)
        self[n] = 0;
    else
        snprintf(self, size, "%s", exe);
}
UNUSED static void find_program(const char *exe, char *program, size_t size) {
    if (program[0]) return;
    find_self(exe, program, size);
    for (int up = 0; up < 3 && strrchr(program, '/'); up++) /* build/obj/bench/bench_... */
        *strrchr(program, '/') = 0;
    strncat(program, "/agent-trace", size - strlen(program) - 1);
}

/* ---- rows ---- */

typedef struct row {
    const char *id, *what, *unit;
    double value, limit; /* limit 0: told, not judged */
    bool least;          /* the value must be at least the limit, not at most */
    const char *note;
} row;
static row rows[200];
static size_t row_count;
static bool table = true; /* rows are printed as they come */

static bool row_is_met(const row *r) {
    return r->least ? r->value >= r->limit : r->value <= r->limit;
}
UNUSED static void report(const char *id, const char *what, double value, const char *unit,
                          double limit, bool least, const char *note) {
    must(row_count < COUNT(rows), "too many rows");
    must(value - value == 0, what); /* no infinity, nothing that is no number */
    row *r = &rows[row_count++];
    *r = (row){id, what, unit, value, limit, least, note};
    if (!table) return;
    printf("  %-58s %9.*f %-4s", what, value < 10 ? 2 : value < 100 ? 1 : 0, value, unit);
    if (limit > 0) printf(" %s %-6g %s", least ? ">=" : "<=", limit, row_is_met(r) ? "ok" : "over");
    printf("%s%s\n", *note ? "  " : "", note);
    fflush(stdout);
}
UNUSED static void told(const char *id, const char *what, double value, const char *unit) {
    report(id, what, value, unit, 0, false, "");
}
UNUSED static void rows_json(FILE *f) {
    fprintf(f, "[");
    for (size_t i = 0; i < row_count; i++) {
        const row *r = &rows[i];
        fprintf(f, "%s\n  {\"id\":\"%s\",\"what\":\"%s\",\"value\":%.4g,\"unit\":\"%s\"",
                i ? "," : "", r->id, r->what, r->value, r->unit);
        if (r->limit > 0)
            fprintf(f, ",\"%s\":%g,\"ok\":%s", r->least ? "at_least" : "at_most", r->limit,
                    row_is_met(r) ? "true" : "false");
        if (*r->note) fprintf(f, ",\"note\":\"%s\"", r->note);
        fprintf(f, "}");
    }
    fprintf(f, "\n]\n");
}
UNUSED static void write_to(const char *path, void (*print)(FILE *)) {
    FILE *f = fopen(path, "w");
    must(f != NULL, path);
    print(f);
    must(fclose(f) == 0, path);
}

#endif /* AGT_BENCH_H */
