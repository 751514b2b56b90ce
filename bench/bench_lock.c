/* The lock against the bare system calls it is made of, and against other locks of the system.
 *
 *     bench_lock                  a table
 *     bench_lock --json [PATH]    the same as JSON (to standard output without PATH)
 *     bench_lock --svg PATH       the same as a picture
 *
 *   lock_cycles.h    one handle: a cycle against the same system calls in the same order
 *   lock_crowd.h     1 to 64 processes that contend: rate, fairness, longest wait
 *   lock_handover.h  how long after a release, and after kill -9, a waiter has the lock
 *
 * Everything that is compared takes turns in one run; a ratio is the median of the ratios within
 * the turns. Each goal is a row; one that is missed is no error. Absolute times are this machine's:
 * what counts is the ratio. Two to three minutes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#define BENCH "bench_lock"
#include "lock_svg.h"

#include <sys/utsname.h>

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
    char *const told_by_system[] = {cpu, machine, compiler};
    for (size_t i = 0; i < COUNT(told_by_system); i++) /* they go into JSON and SVG as they are */
        for (char *c = told_by_system[i]; *c; c++)
            if (strchr("\"\\<>&", *c) || (unsigned char)*c < ' ') *c = '?';
}

/* ---- JSON and the picture ---- */

static void print_json(FILE *f) {
    fprintf(f, "{\"bench\":\"lock\",\"compiler\":\"%s\",\"cpu\":\"%s\",\"machine\":\"%s\",\n",
            compiler, cpu, machine);
    fprintf(f, " \"runs\":%d,\"run_ms\":%d,\"blocks\":%d,\"handovers\":%d,\n \"contention\":[",
            RUNS, RUN_MS, BLOCKS, TOTAL);
    for (size_t c = 0; c < CROWDS; c++)
        for (int k = 0; k < KINDS; k++) {
            const contention *x = &contentions[c][k];
            fprintf(f,
                    "%s\n  {\"processes\":%d,\"lock\":\"%s\",\"per_second\":%.0f,"
                    "\"fairness\":%.4f,\"longest_ms\":%.3f}",
                    c || k ? "," : "", crowd[c], kind_names[k], x->rate, x->fairness,
                    x->longest_ms);
        }
    fprintf(f, "],\n \"rows\":");
    rows_json(f);
    fprintf(f, "}\n");
}

static void print_svg(FILE *f) {
    svg_picture(f, format("%s &#183; %s &#183; %s", cpu, machine, compiler));
}

/* ---- */

static void prepare(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/bench_lock.XXXXXX", base && *base ? base : "/tmp");
    must(mkdtemp(folder) != NULL, folder);
    sys = agt_sys_os();
    dir = sys->open_root(sys->ctx, folder);
    must(dir >= 0, folder);
    mem = mmap(NULL, sizeof *mem, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(mem != MAP_FAILED, "mmap");
    find_place();
}

int main(int argc, char **argv) {
    const char *json = NULL, *svg = NULL;
    for (int i = 1; i < argc; i++) {
        int has_path = i + 1 < argc && argv[i + 1][0] != '-';
        if (!strcmp(argv[i], "--json") && has_path)
            json = argv[++i];
        else if (!strcmp(argv[i], "--json"))
            table = false;
        else if (!strcmp(argv[i], "--svg") && has_path)
            svg = argv[++i];
        else
            return fprintf(stderr, "usage: bench_lock [--json [PATH]] [--svg PATH]\n"), 2;
    }
    prepare();
    if (table) printf("%s; %s; %s\n", compiler, cpu, machine);
    bench_cycles();
    bench_crowd();
    bench_handover();
    remove_tree(folder);
    if (!table) print_json(stdout);
    if (json) write_to(json, print_json);
    if (svg) write_to(svg, print_svg);
    return 0;
}
