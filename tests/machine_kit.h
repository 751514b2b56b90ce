/* What tests in a machine share: one process in it, few words for common calls. */
#ifndef AGT_MACHINE_KIT_H
#define AGT_MACHINE_KIT_H

#include "machine.h"
#include "test.h"

#define RW  (AGT_O_READ | AGT_O_WRITE)
#define RWC (RW | AGT_O_CREATE)

/* A machine with a process whose open folder is "/". */
struct box {
    machine *m;
    machine_process *p;
    const agt_sys *sys;
    agt_fd root;
};

static inline struct box new_box_of(machine *m) {
    struct box b = {.m = m};
    b.p = machine_process_new(m, "test");
    b.sys = machine_sys(b.p);
    b.root = b.sys->open_root(b.sys->ctx, "/");
    CHECK(b.root >= 0);
    return b;
}

static inline struct box new_box(const machine_settings *set) {
    return new_box_of(machine_new(set));
}

static inline agt_fd open_in(const struct box *b, agt_fd dir, const char *name, uint32_t flags) {
    return b->sys->open(b->sys->ctx, dir, name, flags, 0644);
}

static inline void put(const struct box *b, agt_fd fd, const char *text, uint64_t at) {
    CHECK_INT(b->sys->pwrite(b->sys->ctx, fd, text, strlen(text), at), strlen(text));
}

/* Makes or overwrites a file, without sync. */
static inline void save(const struct box *b, agt_fd dir, const char *name, const char *text,
                        bool sync) {
    agt_fd fd = open_in(b, dir, name, RWC | AGT_O_TRUNCATE);
    CHECK(fd >= 0);
    put(b, fd, text, 0);
    if (sync) CHECK_INT(b->sys->sync(b->sys->ctx, fd), 0);
    b->sys->close(b->sys->ctx, fd);
}

static inline int rename_in(const struct box *b, agt_fd d, const char *from, agt_fd e,
                            const char *to) {
    return b->sys->rename(b->sys->ctx, d, from, e, to, AGT_RENAME_REPLACE);
}

#define CHECK_CLASS(call, want)                                                                    \
    do {                                                                                           \
        int64_t rc_ = (int64_t)(call);                                                             \
        CHECK_INT(rc_ < 0 ? AGT_SYS_CLASS(rc_) : 0, want);                                         \
    } while (0)

static inline void check_books(const machine *m) {
    const char *wrong = machine_verify(m);
    if (wrong) test_fail(__FILE__, __LINE__, "the machine's books: %s", wrong);
}

static inline void check_text(const machine *m, const char *path, const char *want) {
    char *got = machine_get(m, path, NULL);
    if (want)
        CHECK_STR(got, want);
    else
        CHECK(!got);
    free(got);
}

/* ---- all that a power cut can leave ---- */

/* Every state that a cut can leave, as texts of the tree with the files' bytes. */
struct states {
    char *text[512];
    int n;
    uint64_t outcomes;
};

static inline void add_state(struct states *s, const machine *m, const char *const *paths) {
    char text[2048] = "";
    for (; *paths; paths++) {
        size_t n = 0, at = strlen(text);
        char *got = machine_get(m, *paths, &n);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s=", *paths + 1);
        if (!got) text[at++] = '-';
        for (size_t i = 0; got && i < n && at + 2 < sizeof text;) {
            size_t run = 1; /* of one byte: as "512x" */
            while (i + run < n && got[i + run] == got[i])
                run++;
            char c = got[i] ? got[i] : '0';
            if (run > 3)
                at += (size_t)snprintf(text + at, sizeof text - at, "%zu%c", run, c);
            else
                text[at++] = c;
            i += run > 3 ? run : 1;
        }
        text[at++] = ' ';
        text[at] = 0;
        free(got);
    }
    s->outcomes++;
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->text[i], text)) return;
    CHECK(s->n < 512);
    s->text[s->n++] = strdup(text);
}

static inline struct states all_states(const machine *m, const char *const *paths) {
    struct states s = {.n = 0};
    machine_choices all = {0};
    while (machine_choices_next(&all)) {
        machine *c = machine_clone(m);
        machine_cut cut = machine_choices_cut(&all);
        machine_power_cut(c, &cut);
        CHECK_INT(machine_pending(c), 0);
        check_books(c);
        add_state(&s, c, paths);
        machine_free(c);
    }
    CHECK_INT(all.seen, s.outcomes);
    return s;
}

static inline void free_states(struct states *s) {
    while (s->n)
        free(s->text[--s->n]);
}

/* The states are these and no others. `want` ends with NULL. */
static inline void check_states_at(const char *file, int line, const machine *m,
                                   const char *const *paths, const char *const *want) {
    struct states s = all_states(m, paths);
    int n = 0;
    for (; want[n]; n++) {
        bool found = false;
        for (int i = 0; i < s.n; i++)
            found = found || !strcmp(s.text[i], want[n]);
        if (!found) test_fail(file, line, "no cut leaves \"%s\"", want[n]);
    }
    for (int i = 0; i < s.n; i++) {
        bool known = false;
        for (int j = 0; j < n; j++)
            known = known || !strcmp(s.text[i], want[j]);
        if (!known) test_fail(file, line, "a cut leaves \"%s\"", s.text[i]);
    }
    free_states(&s);
}

#define check_states(m, paths, want) check_states_at(__FILE__, __LINE__, m, paths, want)
#define PATHS(...)                   ((const char *const[]){__VA_ARGS__, NULL})
#define STATES(...)                  ((const char *const[]){__VA_ARGS__, NULL})

#endif /* AGT_MACHINE_KIT_H */
