/* The lock against the bare system calls it is made of, and against other locks of the system.
 *
 *     bench_lock                  a table
 *     bench_lock --json [PATH]    the same as JSON (to standard output without PATH)
 *     bench_lock --svg PATH       the same as a picture
 *
 * (a) one handle: a cycle against the same system calls in the same order, blocks interleaved
 * (b) processes that contend for an empty critical section: rate and fairness
 * (c) how long after kill -9 of the holder a waiter has the lock
 * Absolute times are this machine's; what counts is the ratio within one run. About 30 s. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#define BENCH "bench_lock"
#include "../src/lock/lock.h"
#include "bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define BLOCKS    21 /* of each cycle, interleaved */
#define RUNS      5  /* of each contention */
#define RUN_MS    200
#define HANDOVERS 40
#define GOAL      1.15 /* most a cycle may cost over its bare calls */

static const agt_sys *sys;
static char folder[512];
static agt_fd dir;

/* ---- (a) one handle ---- */

static agt_flock ours, held_by_other;
static int bare_fd;

static void ours_take_drop(void) {
    must(agt__flock_take(&ours, AGT_TRY, NULL) == AGT_OK, "take");
    agt__flock_drop(&ours);
}
static void bare_take_drop(void) {
    struct stat st;
    must(flock(bare_fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
    must(flock(bare_fd, LOCK_UN) == 0, "flock");
}
static void only_flock(void) {
    must(flock(bare_fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(flock(bare_fd, LOCK_UN) == 0, "flock");
}
static void ours_open_take_close(void) {
    agt_flock l;
    agt__flock_init(&l, sys, dir, "ours");
    must(agt__flock_take(&l, AGT_TRY, NULL) == AGT_OK, "take");
    agt__flock_close(&l);
}
static void bare_open_take_close(void) {
    struct stat st;
    int fd = openat((int)dir, "bare",
                    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    must(fd >= 0, "openat");
    must(fstat(fd, &st) == 0 && fstat((int)dir, &st) == 0, "fstat");
    must(flock(fd, LOCK_EX | LOCK_NB) == 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
    close(fd);
}
static void ours_refused(void) {
    must(agt__flock_take(&ours, AGT_TRY, NULL) == AGT_BUSY, "take");
}
static void bare_refused(void) {
    struct stat st;
    must(flock(bare_fd, LOCK_EX | LOCK_NB) != 0, "flock");
    must(flock(bare_fd, LOCK_SH | LOCK_NB) != 0, "flock");
    must(fstatat((int)dir, "bare", &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
}
static void ours_lead(void) {
    agt_poll_lock *p;
    must(agt_poll_lock_try(&p, folder, NULL) == AGT_OK, "agt_poll_lock_try");
    agt_poll_lock_release(p);
}

typedef struct cycle {
    const char *name, *calls;
    void (*run)(void);
    int times;
    int bare; /* index of the cycle it is compared with, or -1 */
    int held; /* somebody else holds the lock meanwhile */
    double ns[BLOCKS];
    double median, ratio;
} cycle;

static cycle cycles[] = {
    {"take and drop", "flock fstatat flock", ours_take_drop, 10000, 1, 0, {0}, 0, 0},
    {"the same calls, bare", "", bare_take_drop, 10000, -1, 0, {0}, 0, 0},
    {"only flock twice, bare", "", only_flock, 10000, -1, 0, {0}, 0, 0},
    {"open, take, close",
     "openat fstat fstat flock fstatat close",
     ours_open_take_close,
     3000,
     4,
     0,
     {0},
     0,
     0},
    {"the same calls, bare", "", bare_open_take_close, 3000, -1, 0, {0}, 0, 0},
    {"a try that is refused", "flock flock fstatat", ours_refused, 10000, 6, 1, {0}, 0, 0},
    {"the same calls, bare", "", bare_refused, 10000, -1, 1, {0}, 0, 0},
    {"lead and release", "folders, both files written", ours_lead, 200, -1, 0, {0}, 0, 0},
};

static double time_block(const cycle *c) {
    int other = -1;
    if (c->held) {
        must(agt__flock_take(&held_by_other, AGT_TRY, NULL) == AGT_OK, "take");
        other = openat((int)dir, "bare", O_RDWR | O_CLOEXEC);
        must(other >= 0 && flock(other, LOCK_EX | LOCK_NB) == 0, "flock");
    }
    double start = now_ns();
    for (int i = 0; i < c->times; i++)
        c->run();
    double ns = (now_ns() - start) / c->times;
    if (c->held) {
        agt__flock_drop(&held_by_other);
        close(other);
    }
    return ns;
}

static void bench_cycles(void) {
    agt__flock_init(&ours, sys, dir, "ours");
    agt__flock_init(&held_by_other, sys, dir, "ours");
    bare_fd = openat((int)dir, "bare", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(bare_fd >= 0, "openat");
    for (int block = -1; block < BLOCKS; block++) /* the first one warms up */
        for (size_t i = 0; i < COUNT(cycles); i++) {
            /* forth and back, so that neither of a pair always comes first */
            cycle *c = &cycles[block & 1 ? COUNT(cycles) - 1 - i : i];
            double ns = time_block(c);
            if (block >= 0) c->ns[block] = ns;
        }
    for (size_t i = 0; i < COUNT(cycles); i++) {
        double ratio[BLOCKS];
        cycle *c = &cycles[i];
        for (int b = 0; b < BLOCKS && c->bare >= 0; b++)
            ratio[b] = c->ns[b] / cycles[c->bare].ns[b];
        if (c->bare >= 0) c->ratio = quantile(ratio, BLOCKS, 0.5);
    }
    for (size_t i = 0; i < COUNT(cycles); i++)
        cycles[i].median = quantile(cycles[i].ns, BLOCKS, 0.5);
    agt__flock_close(&ours);
    agt__flock_close(&held_by_other);
    close(bare_fd);
}

/* ---- (b) contention ---- */

enum { OURS, RAW_FLOCK, OFD, KINDS };
static const char *const kind_names[KINDS] = {"agent_trace", "blocking flock", "blocking OFD lock"};
static const int crowd[] = {1, 2, 4, 8, 16};

typedef struct shared {
    _Atomic int ready, go, stop;
    struct {
        _Atomic uint64_t n;
        char pad[120]; /* a line of its own */
    } done[16];
    uint64_t inside; /* what the lock protects */
    double got_at;
} shared;
static shared *mem;

typedef struct contention {
    double rate, fairness, rates[RUNS], fair[RUNS];
} contention;
static contention contentions[COUNT(crowd)][KINDS];

typedef struct holder {
    int kind, fd;
    agt_flock l;
} holder;

static void holder_open(holder *h, int kind) {
    memset(h, 0, sizeof *h);
    h->kind = kind;
    agt__flock_init(&h->l, sys, dir, "contended");
    h->fd = openat((int)dir, "contended", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(h->fd >= 0, "openat");
}
static void holder_take(holder *h) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int rc = 0;
    if (h->kind == OURS) rc = agt__flock_take(&h->l, AGT_FOREVER, NULL);
    if (h->kind == RAW_FLOCK) rc = flock(h->fd, LOCK_EX);
    if (h->kind == OFD) rc = fcntl(h->fd, F_OFD_SETLKW, &whole);
    must(rc == 0, "take");
}
static void holder_drop(holder *h) {
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    int rc = 0;
    if (h->kind == OURS) agt__flock_drop(&h->l);
    if (h->kind == RAW_FLOCK) rc = flock(h->fd, LOCK_UN);
    if (h->kind == OFD) rc = fcntl(h->fd, F_OFD_SETLK, &whole);
    must(rc == 0, "drop");
}

static void contend(int kind, int slot) {
    holder h;
    holder_open(&h, kind);
    atomic_fetch_add(&mem->ready, 1);
    while (!atomic_load(&mem->go))
        usleep(100);
    while (!atomic_load(&mem->stop)) {
        holder_take(&h);
        mem->inside++;
        atomic_fetch_add_explicit(&mem->done[slot].n, 1, memory_order_relaxed);
        holder_drop(&h);
    }
    _exit(0);
}

static void run_contention(int kind, int n, contention *out, int run) {
    pid_t pids[16];
    memset(mem, 0, sizeof *mem);
    fflush(NULL);
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        must(pids[i] >= 0, "fork");
        if (pids[i] == 0) contend(kind, i);
    }
    while (atomic_load(&mem->ready) < n)
        usleep(100);
    double start = now_ns();
    atomic_store(&mem->go, 1);
    usleep(RUN_MS * 1000);
    uint64_t total = 0, least = UINT64_MAX, most = 0;
    for (int i = 0; i < n; i++) {
        uint64_t v = atomic_load(&mem->done[i].n);
        total += v;
        least = v < least ? v : least;
        most = v > most ? v : most;
    }
    double seconds = (now_ns() - start) / 1e9;
    atomic_store(&mem->stop, 1);
    for (int i = 0; i < n; i++)
        waitpid(pids[i], NULL, 0);
    out->rates[run] = (double)total / seconds;
    out->fair[run] = most ? (double)least / (double)most : 0;
}

static void bench_contention(void) {
    for (int run = 0; run < RUNS; run++)
        for (size_t c = 0; c < COUNT(crowd); c++)
            for (int k = 0; k < KINDS; k++)
                run_contention(k, crowd[c], &contentions[c][k], run);
    for (size_t c = 0; c < COUNT(crowd); c++)
        for (int k = 0; k < KINDS; k++) {
            contention *x = &contentions[c][k];
            x->rate = quantile(x->rates, RUNS, 0.5);
            x->fairness = quantile(x->fair, RUNS, 0.5);
        }
}

/* ---- (c) hand-over ---- */

typedef struct handover {
    const char *name;
    int kind, waited_ms;
    double us[HANDOVERS], p50, p90;
} handover;
static handover handovers[] = {
    {"blocking flock", RAW_FLOCK, 10, {0}, 0, 0},
    {"agent_trace, waiting for 10 ms", OURS, 10, {0}, 0, 0},
    {"agent_trace, waiting for 100 ms", OURS, 100, {0}, 0, 0},
};

static pid_t start_holder(int kind, int wait_for_it) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0) return pid;
    holder h;
    holder_open(&h, kind);
    if (wait_for_it) atomic_fetch_add(&mem->ready, 1);
    holder_take(&h);
    mem->got_at = now_ns();
    if (wait_for_it) _exit(0);
    atomic_fetch_add(&mem->ready, 1);
    for (;;)
        pause();
}

static double one_handover(const handover *h) {
    memset(mem, 0, sizeof *mem);
    pid_t victim = start_holder(h->kind, 0);
    while (atomic_load(&mem->ready) < 1)
        usleep(50);
    pid_t waiter = start_holder(h->kind, 1);
    while (atomic_load(&mem->ready) < 2)
        usleep(50);
    usleep((useconds_t)h->waited_ms * 1000);
    double killed = now_ns();
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    int status = 1;
    waitpid(waiter, &status, 0);
    must(status == 0, "the waiter");
    return (mem->got_at - killed) / 1e3;
}

static void bench_handover(void) {
    fflush(NULL);
    for (int i = 0; i < HANDOVERS; i++)
        for (size_t k = 0; k < COUNT(handovers); k++)
            handovers[k].us[i] = one_handover(&handovers[k]);
    for (size_t k = 0; k < COUNT(handovers); k++) {
        handovers[k].p90 = quantile(handovers[k].us, HANDOVERS, 0.9);
        handovers[k].p50 = quantile(handovers[k].us, HANDOVERS, 0.5);
    }
}

/* ---- where it ran ---- */

static char cpu[128] = "unknown processor", machine[256], compiler[256];

static void find_place(void) {
    char line[512];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *name = strstr(line, ": ");
        if (strncmp(line, "model name", 10) != 0 || !name) continue;
        name[strcspn(name, "\n")] = 0;
        snprintf(cpu, sizeof cpu, "%.120s", name + 2);
        break;
    }
    if (f) fclose(f);
    struct utsname u;
    memset(&u, 0, sizeof u);
    uname(&u);
    snprintf(machine, sizeof machine, "%ld cores, %.60s %.60s", sysconf(_SC_NPROCESSORS_ONLN),
             u.sysname, u.release);
#if defined(__clang__)
    snprintf(compiler, sizeof compiler, "%.200s", __VERSION__);
#else
    snprintf(compiler, sizeof compiler, "gcc %.200s", __VERSION__);
#endif
#ifdef BENCH_FLAGS
    strncat(compiler, " " BENCH_FLAGS, 40);
#elif defined(__OPTIMIZE__)
    strcat(compiler, ", optimised");
#else
    strcat(compiler, ", not optimised");
#endif
}

/* ---- the table ---- */

static void print_table(FILE *f) {
    fprintf(f, "%s; %s; %s\n", compiler, cpu, machine);
    fprintf(f, "\none handle, ns a cycle (median of %d blocks)%26s\n", BLOCKS, "against bare");
    for (size_t i = 0; i < COUNT(cycles); i++) {
        const cycle *c = &cycles[i];
        fprintf(f, "  %-24s %-40s %8.0f", c->name, c->calls, c->median);
        if (c->bare >= 0) fprintf(f, "  %5.2fx%s", c->ratio, c->ratio <= GOAL ? "" : "  over 1.15");
        fputc('\n', f);
    }
    fprintf(f,
            "\nprocesses that contend, locks a second and the least over the most that one got "
            "(median of %d)\n  %-10s",
            RUNS, "processes");
    for (int k = 0; k < KINDS; k++)
        fprintf(f, "  %24s", kind_names[k]);
    fputc('\n', f);
    for (size_t c = 0; c < COUNT(crowd); c++) {
        fprintf(f, "  %-10d", crowd[c]);
        for (int k = 0; k < KINDS; k++)
            fprintf(f, "  %16.0f  %6.3f", contentions[c][k].rate, contentions[c][k].fairness);
        fputc('\n', f);
    }
    fprintf(f, "\nhand-over after kill -9 of the holder, us (%d each)%10s%10s\n", HANDOVERS, "p50",
            "p90");
    for (size_t k = 0; k < COUNT(handovers); k++)
        fprintf(f, "  %-50s%8.0f  %8.0f\n", handovers[k].name, handovers[k].p50, handovers[k].p90);
}

/* ---- JSON ---- */

static void print_json(FILE *f) {
    fprintf(f, "{\"bench\":\"lock\",\"compiler\":\"%s\",\"cpu\":\"%s\",\"machine\":\"%s\",\n",
            compiler, cpu, machine);
    fprintf(f, " \"cycles\":[");
    for (size_t i = 0; i < COUNT(cycles); i++) {
        const cycle *c = &cycles[i];
        fprintf(f, "%s\n  {\"name\":\"%s\",\"calls\":\"%s\",\"median_ns\":%.1f,\"blocks\":%d",
                i ? "," : "", c->name, c->calls, c->median, BLOCKS);
        if (c->bare >= 0) fprintf(f, ",\"ratio_to_bare\":%.3f,\"goal\":%.2f", c->ratio, GOAL);
        fprintf(f, "}");
    }
    fprintf(f, "],\n \"contention\":[");
    for (size_t c = 0; c < COUNT(crowd); c++)
        for (int k = 0; k < KINDS; k++)
            fprintf(f,
                    "%s\n  {\"processes\":%d,\"lock\":\"%s\",\"median_per_second\":%.0f,"
                    "\"median_fairness\":%.4f,\"runs\":%d}",
                    c || k ? "," : "", crowd[c], kind_names[k], contentions[c][k].rate,
                    contentions[c][k].fairness, RUNS);
    fprintf(f, "],\n \"handover\":[");
    for (size_t k = 0; k < COUNT(handovers); k++)
        fprintf(f,
                "%s\n  {\"name\":\"%s\",\"waited_ms\":%d,\"p50_us\":%.1f,\"p90_us\":%.1f,"
                "\"count\":%d}",
                k ? "," : "", handovers[k].name, handovers[k].waited_ms, handovers[k].p50,
                handovers[k].p90, HANDOVERS);
    fprintf(f, "]}\n");
}

/* ---- the picture ---- */

static const char *const colours[KINDS] = {"#2563eb", "#f59e0b", "#10b981"};
#define GREY "#94a3b8"
#define LEFT 250.0 /* where bars begin */

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

static const char *amount(double v) { /* four lines' worth of short numbers */
    static char text[4][24];
    static int turn;
    char *out = text[turn++ & 3];
    const char *unit = v >= 1e6 ? "M" : v >= 1e4 ? "k" : "";
    double x = v >= 1e6 ? v / 1e6 : v >= 1e4 ? v / 1e3 : v;
    snprintf(out, sizeof text[0], "%.3g%s", x, unit);
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
static void svg_dot(FILE *f, double x, double y, const char *colour) {
    fprintf(f,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\" stroke=\"#fff\" "
            "stroke-width=\"1.5\"/>\n",
            x, y, colour);
}

/* Bars of one cycle beside its bare calls. */
static void svg_cycles(FILE *f, double top) {
    double most = 0, y = top + 34;
    char text[128];
    svg_text(f, 30, top, "head", "One handle: a cycle and the same system calls bare, ns");
    for (size_t i = 0; i < COUNT(cycles); i++)
        if (cycles[i].bare >= 0 && cycles[i].median > most) most = cycles[i].median;
    for (size_t i = 0; i < COUNT(cycles); i++) {
        const cycle *c = &cycles[i];
        if (c->bare < 0) continue;
        const cycle *bare = &cycles[c->bare];
        svg_text(f, LEFT - 14, y + 14, "name end", c->name);
        svg_text(f, LEFT - 14, y + 29, "note end", c->calls);
        svg_bar(f, LEFT, y, 470 * c->median / most, 15, colours[OURS]);
        svg_bar(f, LEFT, y + 18, 470 * bare->median / most, 15, GREY);
        snprintf(text, sizeof text, "%.0f", c->median);
        svg_text(f, LEFT + 470 * c->median / most + 8, y + 12, "value", text);
        snprintf(text, sizeof text, "%.0f", bare->median);
        svg_text(f, LEFT + 470 * bare->median / most + 8, y + 30, "value", text);
        snprintf(text, sizeof text, "%.2f&#215;", c->ratio);
        svg_text(f, 870, y + 23, "ratio end", text);
        y += 52;
    }
}

/* Lines over the number of processes; logarithmic if `high` is over 10. */
static void svg_lines(FILE *f, double left, double top, const char *head, int fairness, double low,
                      double high) {
    const double width = 330, height = 190;
    int decades = fairness ? 4 : (int)(log_10(high / low) + 0.5);
    svg_text(f, left - 45, top, "head", head);
    for (int i = 0; i <= decades; i++) {
        double y = top + 24 + height - height * i / decades, v = low;
        for (int k = 0; k < i; k++)
            v *= 10;
        char text[24];
        snprintf(text, sizeof text, "%.2g", i / 4.0);
        svg_line(f, left, y, left + width, y, "#e2e8f0", 1);
        svg_text(f, left - 8, y + 4, "note end", fairness ? text : amount(v));
    }
    for (int k = KINDS - 1; k >= 0; k--) { /* ours on top */
        double px = 0, py = 0;
        for (int pass = 0; pass < 2; pass++)
            for (size_t c = 0; c < COUNT(crowd); c++) {
                const contention *at = &contentions[c][k];
                double part = fairness ? at->fairness
                                       : log_10((at->rate > low ? at->rate : low) / low) / decades;
                double x = left + 12 + (width - 24) * (double)c / (COUNT(crowd) - 1);
                double y = top + 24 + height - height * part;
                if (pass == 0 && c) svg_line(f, px, py, x, y, colours[k], 2.5);
                if (pass == 1) svg_dot(f, x, y, colours[k]);
                px = x;
                py = y;
            }
    }
    for (size_t c = 0; c < COUNT(crowd); c++) {
        char text[24];
        snprintf(text, sizeof text, "%d", crowd[c]);
        svg_text(f, left + 12 + (width - 24) * (double)c / (COUNT(crowd) - 1), top + 42 + height,
                 "note middle", text);
    }
    svg_text(f, left + width / 2, top + 60 + height, "note middle", "processes");
}

/* From the median to the 90th percentile, logarithmic from 10 us to 1 s. */
static void svg_handover(FILE *f, double top) {
    const double width = 470, decades = 5;
    char text[64];
    double y = top + 30;
    svg_text(f, 30, top, "head",
             "Hand-over after kill -9 of the holder: median and 90th percentile");
    for (int i = 0; i <= 5; i++) {
        static const char *const marks[] = {"10 &#181;s", "100 &#181;s", "1 ms",
                                            "10 ms",      "100 ms",      "1 s"};
        double x = LEFT + width * i / decades;
        svg_line(f, x, y - 8, x, y + 84, "#e2e8f0", 1);
        svg_text(f, x, y + 100, "note middle", marks[i]);
    }
    for (size_t k = 0; k < COUNT(handovers); k++) {
        const handover *h = &handovers[k];
        double a = LEFT + width * log_10(h->p50 / 10) / decades;
        double b = LEFT + width * log_10(h->p90 / 10) / decades;
        svg_text(f, LEFT - 14, y + 10, "name end", h->name);
        svg_line(f, a, y + 6, b, y + 6, colours[h->kind], 5);
        svg_dot(f, a, y + 6, colours[h->kind]);
        snprintf(text, sizeof text, "%.2f / %.2f ms", h->p50 / 1e3, h->p90 / 1e3);
        svg_text(f, 870, y + 11, "value end", text);
        y += 32;
    }
}

static void print_svg(FILE *f) {
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 850\" width=\"900\" "
               "height=\"850\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\">\n"
               "<style>.title{font-size:20px;font-weight:700;fill:#0f172a}"
               ".head{font-size:14px;font-weight:600;fill:#0f172a}"
               ".name{font-size:13px;fill:#1e293b}.note{font-size:11px;fill:#64748b}"
               ".value{font-size:12px;fill:#334155}"
               ".ratio{font-size:17px;font-weight:700;fill:#2563eb}"
               ".end{text-anchor:end}.middle{text-anchor:middle}</style>\n"
               "<rect width=\"900\" height=\"850\" rx=\"12\" fill=\"#fff\"/>\n");
    svg_text(f, 30, 40, "title", "agent_trace: the lock among processes");
    fprintf(f, "<text x=\"30\" y=\"60\" class=\"note\">%s &#183; %s &#183; %s</text>\n", cpu,
            machine, compiler);
    static const char *const legend[] = {"agent_trace", "blocking flock", "blocking OFD lock",
                                         "the same calls, bare"};
    static const double at[] = {30, 150, 285, 440};
    for (int i = 0; i < 4; i++) {
        svg_bar(f, at[i], 76, 12, 12, i < KINDS ? colours[i] : GREY);
        svg_text(f, at[i] + 18, 86, "name", legend[i]);
    }
    svg_cycles(f, 125);
    svg_lines(f, 75, 350, "Locks a second, all processes together", 0, 1e4, 1e7);
    svg_lines(f, 525, 350, "Fairness: the least over the most one got", 1, 0, 1);
    svg_handover(f, 670);
    svg_text(
        f, 30, 830, "note",
        "Waiters of agent_trace sleep between tries (1 ms, doubling to 100 ms), because a wait "
        "in flock has no deadline.");
    fprintf(f, "</svg>\n");
}

/* ---- */

static void clean(void) {
    static const char *const names[] = {"ours", "bare", "contended", ".agent-trace/locks/poll.lock",
                                        ".agent-trace/locks/poll.lock.info"};
    for (size_t i = 0; i < COUNT(names); i++)
        (void)unlinkat((int)dir, names[i], 0);
    (void)unlinkat((int)dir, ".agent-trace/locks", AT_REMOVEDIR);
    (void)unlinkat((int)dir, ".agent-trace", AT_REMOVEDIR);
    (void)rmdir(folder);
}

int main(int argc, char **argv) {
    const char *json = NULL, *svg = NULL;
    int to_stdout = 0;
    for (int i = 1; i < argc; i++) {
        int has_path = i + 1 < argc && argv[i + 1][0] != '-';
        if (!strcmp(argv[i], "--json") && has_path)
            json = argv[++i];
        else if (!strcmp(argv[i], "--json"))
            to_stdout = 1;
        else if (!strcmp(argv[i], "--svg") && has_path)
            svg = argv[++i];
        else
            return fprintf(stderr, "usage: bench_lock [--json [PATH]] [--svg PATH]\n"), 2;
    }
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/bench_lock.XXXXXX", base && *base ? base : "/tmp");
    must(mkdtemp(folder) != NULL, folder);
    sys = agt_sys_os();
    dir = sys->open_root(sys->ctx, folder);
    must(dir >= 0, folder);
    mem = mmap(NULL, sizeof *mem, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(mem != MAP_FAILED, "mmap");
    find_place();
    bench_cycles();
    bench_contention();
    bench_handover();
    clean();
    if (to_stdout)
        print_json(stdout);
    else
        print_table(stdout);
    if (json) write_to(json, print_json);
    if (svg) write_to(svg, print_svg);
    return 0;
}
