/* The picture of bench_lock's figures: one handle, the crowd, the goals, the hand-over. */
#ifndef AGT_BENCH_LOCK_SVG_H
#define AGT_BENCH_LOCK_SVG_H

#include "lock_crowd.h"
#include "lock_cycles.h"
#include "lock_handover.h"

#define WIDTH  900
#define HEIGHT 1220
#define LEFT   200.0 /* where bars begin */
#define BAR    520.0 /* the longest */
#define PANEL  330.0
#define DEEP   190.0

static const char *const colours[KINDS] = {"#2563eb", "#7c3aed", "#94a3b8", "#f59e0b",
                                           "#10b981", "#ec4899", "#a16207"};
#define PALE "#e2e8f0"

static double log_10(double v) { /* without libm; v > 0 */
    double r = 0, bit = 0.5;
    while (v >= 10)
        v /= 10, r++;
    while (v < 1)
        v *= 10, r--;
    for (int i = 0; i < 30; i++, bit /= 2) {
        v *= v;
        if (v >= 10) v /= 10, r += bit;
    }
    return r;
}
/* Where a value stands on a scale of tenfolds, 0 to 1. */
static double on_scale(double v, double low, int tenfolds) {
    double part = v > low ? log_10(v / low) / tenfolds : 0;
    return part < 1 ? part : 1;
}

static const char *amount(double v) { /* four at a time */
    static char text[4][24];
    static int turn;
    char *out = text[turn++ & 3];
    const char *unit = v >= 1e6 ? "M" : v >= 1e3 ? "k" : "";
    double x = v >= 1e6 ? v / 1e6 : v >= 1e3 ? v / 1e3 : v;
    snprintf(out, sizeof text[0], "%.3g%s", x, unit);
    return out;
}
static const char *span_of(double us) { /* four at a time */
    static char text[4][24];
    static int turn;
    char *out = text[turn++ & 3];
    int digits = us < 1e4 ? 1 : 0;
    if (us < 1000)
        snprintf(out, sizeof text[0], "%.0f &#181;s", us);
    else
        snprintf(out, sizeof text[0], "%.*f ms", digits, us / 1e3);
    return out;
}

static void svg_text(FILE *f, double x, double y, const char *style, const char *text) {
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, style, text);
}
static void svg_line(FILE *f, double x1, double y1, double x2, double y2, const char *colour,
                     double width) {
    fprintf(f,
            "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
            "stroke-width=\"%.1f\" stroke-linecap=\"round\"/>\n",
            x1, y1, x2, y2, colour, width);
}
static void svg_bar(FILE *f, double x, double y, double w, double h, const char *colour) {
    fprintf(f,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\" fill=\"%s\"/>\n",
            x, y, w < 2 ? 2 : w, h, colour);
}
static void svg_dot(FILE *f, double x, double y, const char *colour, bool hollow) {
    fprintf(f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\" stroke=\"%s\" "
            "stroke-width=\"1.5\"/>\n",
            x, y, hollow ? "#fff" : colour, hollow ? colour : "#fff");
}

/* Bars of one cycle beside its bare calls. */
static void svg_cycles(FILE *f, double top) {
    static const int shown[][2] = {{TAKE, TAKE_BARE}, {OPEN, OPEN_BARE}, {REFUSED, REFUSED_BARE}};
    double most = 0, y = top + 18;
    svg_text(f, 30, top, "head",
             "One open handle, nobody else: what the library adds to its calls");
    for (size_t i = 0; i < COUNT(shown); i++)
        for (int k = 0; k < 2; k++)
            if (cycles[shown[i][k]].median > most) most = cycles[shown[i][k]].median;
    for (size_t i = 0; i < COUNT(shown); i++, y += 52) {
        const cycle *c = &cycles[shown[i][0]];
        svg_text(f, LEFT - 14, y + 21, "name end", c->name);
        for (int k = 0; k < 2; k++) {
            double ns = cycles[shown[i][k]].median, w = BAR * ns / most, at = y + 18 * k;
            svg_bar(f, LEFT, at, w, 15, colours[k ? BARE : OURS]);
            svg_text(f, LEFT + w + 8, at + 12, "value",
                     ns < 1e4 ? format("%.0f ns", ns) : format("%.1f &#181;s", ns / 1e3));
        }
        svg_text(f, 870, y + 23, "ratio end",
                 format("%.2f&#215;", cycle_ratio(shown[i][0], shown[i][1])));
    }
}

typedef struct panel {
    const char *head;
    double left, top, low;
    int tenfolds; /* 0: linear, from 0 to 1 */
    double (*value)(const contention *);
} panel;

static double panel_x(const panel *p, size_t c) {
    return p->left + 12 + (PANEL - 24) * (double)c / AT_MOST;
}
static double panel_y(const panel *p, double v) {
    double part = p->tenfolds ? on_scale(v, p->low, p->tenfolds) : v;
    return p->top + 24 + DEEP - DEEP * part;
}

static void panel_grid(FILE *f, const panel *p) {
    int steps = p->tenfolds ? p->tenfolds : 4;
    double v = p->tenfolds ? p->low : 0;
    svg_text(f, p->left - 45, p->top, "head", p->head);
    for (int i = 0; i <= steps; i++) {
        double y = p->top + 24 + DEEP - DEEP * i / steps;
        svg_line(f, p->left, y, p->left + PANEL, y, PALE, 1);
        svg_text(f, p->left - 8, y + 4, "note end", amount(v));
        v = p->tenfolds ? v * 10 : v + 0.25;
    }
    for (size_t c = 0; c < CROWDS; c++)
        svg_text(f, panel_x(p, c), p->top + 42 + DEEP, "note middle", format("%d", crowd[c]));
    svg_text(f, p->left + PANEL / 2, p->top + 60 + DEEP, "note middle", "processes");
}

/* Lines over the number of processes; ours are drawn last, so that they are on top. */
static void svg_panel(FILE *f, const panel *p) {
    panel_grid(f, p);
    for (int k = KINDS - 1; k >= 0; k--) {
        double width = k == OURS || k == OURS_FILE ? 3.2 : 1.8;
        for (size_t c = 1; c < CROWDS; c++)
            svg_line(f, panel_x(p, c - 1), panel_y(p, p->value(&contentions[c - 1][k])),
                     panel_x(p, c), panel_y(p, p->value(&contentions[c][k])), colours[k], width);
        for (size_t c = 0; c < CROWDS; c++)
            svg_dot(f, panel_x(p, c), panel_y(p, p->value(&contentions[c][k])), colours[k], false);
    }
}

static double rate_of(const contention *c) {
    return c->rate;
}
static double fairness_of(const contention *c) {
    return c->fairness;
}
static double longest_of(const contention *c) {
    return c->longest_ms;
}

/* Every row that has a goal. */
static void svg_goals(FILE *f, double left, double top) {
    double y = top + 32;
    svg_text(f, left, top, "head", "Goals: the library against what it is made of");
    for (size_t i = 0; i < row_count; i++) {
        const row *r = &rows[i];
        if (r->limit <= 0) continue;
        bool met = row_is_met(r);
        svg_bar(f, left, y - 11, 34, 15, met ? "#16a34a" : "#dc2626");
        svg_text(f, left + 17, y + 0.5, "badge middle", met ? "ok" : "over");
        svg_text(f, left + 42, y, "small", r->what);
        svg_text(f, left + 42, y + 14, "note",
                 format("%.3g %s, %s %g %s", r->value, r->unit, r->least ? "at least" : "at most",
                        r->limit, r->unit));
        y += 35;
    }
}

/* From the median to the 99th percentile, 10 us to 1 s. */
static void svg_handover(FILE *f, double top) {
    static const int colour_of[WAITERS] = {FLOCK, OURS, OURS_FILE, OURS};
    static const char *const marks[] = {"10 &#181;s", "100 &#181;s", "1 ms",
                                        "10 ms",      "100 ms",      "1 s"};
    double y = top + 40;
    svg_text(f, 30, top, "head", "Hand-over: from the lock being free to the waiter having it");
    svg_text(f, 30, top + 17, "note",
             "p50 (dot) to p99 (end of the line) of 100; hollow: after a release, filled: after "
             "kill -9 of the holder");
    for (int i = 0; i <= 5; i++) {
        double x = LEFT + 460.0 * i / 5;
        svg_line(f, x, y - 8, x, y + 4 * 42 - 8, PALE, 1);
        svg_text(f, x, y + 4 * 42 + 8, "note middle", marks[i]);
    }
    for (int w = 0; w < WAITERS; w++, y += 42) {
        svg_text(f, LEFT - 14, y + 14, "name end", waiter_names[w]);
        for (int death = 0; death < 2; death++) {
            const handover *h = &handovers[death][w];
            double a = LEFT + 460 * on_scale(h->p50, 10, 5);
            double b = LEFT + 460 * on_scale(h->p99, 10, 5), at = y + 2 + 16 * death;
            const char *colour = colours[colour_of[w]];
            svg_line(f, a, at, b, at, colour, 4);
            svg_dot(f, a, at, colour, !death);
            svg_text(f, 870, at + 4, "value end",
                     format("%s %s / %s", death ? "killed" : "released", span_of(h->p50),
                            span_of(h->p99)));
        }
    }
}

static void svg_head(FILE *f, const char *place) {
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n"
            "<style>.title{font-size:20px;font-weight:700;fill:#0f172a}"
            ".head{font-size:14px;font-weight:600;fill:#0f172a}"
            ".name{font-size:13px;fill:#1e293b}.note{font-size:11px;fill:#64748b}"
            ".small{font-size:11.5px;fill:#1e293b}.value{font-size:12px;fill:#334155}"
            ".badge{font-size:10.5px;font-weight:700;fill:#fff}"
            ".ratio{font-size:17px;font-weight:700;fill:#2563eb}"
            ".end{text-anchor:end}.middle{text-anchor:middle}</style>\n"
            "<rect width=\"%d\" height=\"%d\" rx=\"12\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
    svg_text(f, 30, 40, "title", "agent_trace: the lock among processes");
    svg_text(f, 30, 60, "note", place);
    for (int k = 0; k < KINDS; k++) {
        double x = 30 + 210 * (k % 4), y = 76 + 22 * (k / 4);
        svg_bar(f, x, y, 12, 12, colours[k]);
        svg_text(f, x + 18, y + 11, "name", kind_names[k]);
    }
}

static void svg_picture(FILE *f, const char *place) {
    static const panel rate = {"Locks a second, all processes together", 75, 365, 100, 6, rate_of};
    static const panel fair = {"Fairness: least over most", 525, 365, 0, 0, fairness_of};
    static const panel longest = {
        "Longest time that one went without, ms", 75, 665, 0.1, 4, longest_of};
    svg_head(f, place);
    svg_cycles(f, 150);
    svg_panel(f, &rate);
    svg_panel(f, &fair);
    svg_panel(f, &longest);
    svg_goals(f, 480, 665);
    svg_handover(f, 965);
    fprintf(f, "</svg>\n");
}

#endif /* AGT_BENCH_LOCK_SVG_H */
