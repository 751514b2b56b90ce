/* machine: see machine.h. Here are processes, calls, faults and what others do to the disk; the
 * disk itself is machine_disk.h.
 *
 * (1) Every call of a process goes through machine_enter and machine_leave: there it is counted,
 *     shown to the hook, made to fail, and there its process may die.
 * (2) A hook's own calls pass straight through: nothing is counted, fails or dies in them.
 * (3) Open file descriptions (struct open_file) are the machine's, descriptors the process';
 *     a lock belongs to the description, as with flock(2). */
#include "machine_disk.h"

#include <stdarg.h>

struct open_file {
    uint32_t refs, slot, flags;
    int lock;
};

struct machine_process {
    machine *m;
    machine_process *next;
    agt_sys sys;
    char program[64];
    int64_t pid, parent_pid; /* parent_pid: 0, or in a fork's child the pid to come back to */
    uint64_t start;
    uint32_t umask;
    bool dead;
    uint32_t *fd, *parent_fd; /* index + 1 of an open_file; 0: closed */
    size_t fds, parent_fds;
};

struct mutex {
    machine *m;
    struct mutex *next, **link;
    bool locked;
};

struct logged {
    machine_call call;
    char name[40], name2[40];
    int64_t pid, result;
};

struct listing { /* what a call of list goes through; the machine's, as the caller may die in it */
    struct listing *next;
    size_t n;
    struct listed {
        uint64_t order;
        char name[256];
    } l[];
};

struct machine {
    machine_settings set;
    struct disk disk;
    machine_process *processes;
    struct open_file *open;
    size_t opens;
    struct mutex *mutexes;
    struct listing *listings;
    int64_t unix_ns, mono_ns, next_pid;
    uint64_t boots, random, epoch;
    uint32_t devices;
    /* calls */
    machine_hook *hook;
    void *hook_ctx;
    int quiet;
    uint64_t calls[MACHINE_OPS], all_calls;
    machine_fault fault;
    uint64_t fault_seen, injected;
    uint64_t crash_at, crash_ops, crash_seen, crashes;
    machine_when crash_when;
    jmp_buf crash_point;
    bool crash_ready;
    struct logged *log;
    size_t log_size;
    uint64_t logged;
};

struct machine_edit {
    machine *m;
    uint32_t file;  /* index + 1 of an open_file */
    uint64_t epoch; /* another one of the machine: the editor has died meanwhile */
};

static const char *const machine_op_name[MACHINE_OPS] = {
#define MACHINE_OP_NAME(upper, lower) #lower,
    MACHINE_OP_MAP(MACHINE_OP_NAME)
#undef MACHINE_OP_NAME
};

#define ERR(cls, code) AGT_SYS_ERR(AGT_SYS_##cls, code)

__attribute__((format(printf, 2, 3), noreturn)) static void machine_bug(const machine *m,
                                                                        const char *format, ...) {
    va_list args;
    fputs("machine: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    if (m) machine_print_calls(m, stderr);
    abort();
}

/* ---- the machine ---- */

static void machine_drop_file(machine *m, uint32_t index) {
    struct open_file *f = &m->open[index - 1];
    if (--f->refs) return;
    m->disk.node[f->slot].opens--;
    disk_check_node(&m->disk, f->slot);
    memset(f, 0, sizeof *f);
}

static int64_t machine_stamp(machine *m) {
    int64_t tick = m->set.tick_ns > 0 ? m->set.tick_ns : 4000000;
    return m->unix_ns - m->unix_ns % tick;
}

machine *machine_new(const machine_settings *settings) {
    machine *m = disk_alloc(sizeof *m);
    if (settings) m->set = *settings;
    if (!m->set.user) m->set.user = 1000;
    int64_t start = m->set.start_unix_ms ? m->set.start_unix_ms : 1735689600000;
    m->unix_ns = start * 1000000;
    m->mono_ns = 100 * 1000000000ll;
    m->next_pid = 1000;
    m->random = m->set.seed;
    m->devices = 1;
    disk_init(&m->disk, m->set.unsynced_kept, m->set.unique_inodes, machine_stamp(m));
    m->disk.node[DISK_ROOT].owner = m->set.user;
    return m;
}

static void machine_drop_listings(machine *m) {
    while (m->listings) {
        struct listing *l = m->listings;
        m->listings = l->next;
        free(l);
    }
}

/* Ends all processes and editors; what they had open is closed. */
static void machine_kill_all(machine *m) {
    for (machine_process *p = m->processes; p; p = p->next)
        machine_process_kill(p);
    for (size_t i = 0; i < m->opens; i++)
        if (m->open[i].refs) machine_drop_file(m, (uint32_t)i + 1);
    m->epoch++;
}

void machine_free(machine *m) {
    if (!m) return;
    machine_kill_all(m);
    while (m->processes)
        machine_process_free(m->processes);
    while (m->mutexes) {
        struct mutex *x = m->mutexes;
        m->mutexes = x->next;
        free(x);
    }
    machine_drop_listings(m);
    disk_free(&m->disk);
    free(m->open);
    free(m->log);
    free(m);
}

machine_settings *machine_set(machine *m) {
    return &m->set;
}

static void machine_copy(machine *to, const machine *from) {
    disk_copy(&to->disk, &from->disk);
    to->set = from->set;
    to->unix_ns = from->unix_ns;
    to->mono_ns = from->mono_ns;
    to->next_pid = from->next_pid;
    to->boots = from->boots;
    to->random = from->random;
    to->devices = from->devices;
}

machine *machine_clone(const machine *m) {
    machine *c = disk_alloc(sizeof *c);
    machine_copy(c, m);
    return c;
}

void machine_restore(machine *m, const machine *from) {
    machine_kill_all(m);
    disk_free(&m->disk);
    machine_copy(m, from);
}

int64_t machine_now_ns(const machine *m) {
    return m->unix_ns;
}
void machine_advance(machine *m, int64_t ns) {
    m->unix_ns += ns;
    m->mono_ns += ns;
}
void machine_set_clock(machine *m, int64_t unix_ms) {
    m->unix_ns = unix_ms * 1000000;
}

/* ---- power ---- */

static void machine_new_boot(machine *m) {
    m->boots++;
    m->mono_ns = 20 * 1000000000ll;
    m->unix_ns += 30 * 1000000000ll;
    m->next_pid = 300;
}

uint64_t machine_pending(const machine *m) {
    return m->disk.changes + m->disk.file_changes;
}

void machine_power_cut(machine *m, const machine_cut *cut) {
    static const machine_cut lose = {0};
    machine_kill_all(m);
    disk_cut(&m->disk, cut ? cut : &lose);
    machine_new_boot(m);
}

void machine_sync_all(machine *m) {
    disk_sync_all(&m->disk);
}

void machine_reboot(machine *m) {
    machine_sync_all(m);
    machine_power_cut(m, NULL);
}

void machine_drop_caches(machine *m) {
    for (uint32_t i = 1; i < m->disk.count; i++) {
        struct node *x = &m->disk.node[i];
        if (!x->used || !x->diverged || (x->pend && x->pend->n)) continue;
        disk_blob_unref(x->now);
        x->now = disk_blob_ref(x->kept);
        x->live = x->disk;
        x->diverged = false;
        disk_charge(&m->disk, x);
    }
}

static uint32_t machine_choices_choose(void *ctx, const machine_choice *choice) {
    machine_choices *c = ctx;
    if (c->at == c->n) {
        if (c->n == c->cap) {
            c->cap = c->cap ? c->cap * 2 : 64;
            c->digit = disk_grow(c->digit, c->cap * sizeof *c->digit);
            c->radix = disk_grow(c->radix, c->cap * sizeof *c->radix);
        }
        c->digit[c->n++] = 0;
    }
    c->radix[c->at] = choice->options;
    return c->digit[c->at++];
}

machine_cut machine_choices_cut(machine_choices *c) {
    c->at = 0;
    machine_cut cut = {.mode = MACHINE_CUT_CHOOSE, .choose = machine_choices_choose, .ctx = c};
    return cut;
}

bool machine_choices_next(machine_choices *c) {
    if (c->seen++ == 0) return true;
    c->n = c->at; /* what the last outcome asked for */
    while (c->n && c->digit[c->n - 1] + 1 >= c->radix[c->n - 1])
        c->n--;
    if (c->n) {
        c->digit[c->n - 1]++;
        return true;
    }
    c->seen--;
    machine_choices_free(c);
    return false;
}

void machine_choices_free(machine_choices *c) {
    uint64_t seen = c->seen;
    free(c->digit);
    free(c->radix);
    memset(c, 0, sizeof *c);
    c->seen = seen;
}

/* ---- calls ---- */

void machine_on_call(machine *m, machine_hook *hook, void *ctx) {
    m->hook = hook;
    m->hook_ctx = ctx;
}
uint64_t machine_calls(const machine *m, machine_op op) {
    return m->calls[op];
}
uint64_t machine_calls_all(const machine *m) {
    return m->all_calls;
}
void machine_calls_reset(machine *m) {
    memset(m->calls, 0, sizeof m->calls);
    m->all_calls = 0;
}

void machine_trace_calls(machine *m, size_t count) {
    free(m->log);
    m->log = count ? disk_alloc(count * sizeof *m->log) : NULL;
    m->log_size = count;
    m->logged = 0;
}

static void machine_log(machine *m, const machine_call *c, int64_t result) {
    if (!m->log_size) return;
    struct logged *l = &m->log[m->logged++ % m->log_size];
    l->call = *c;
    l->pid = c->process->pid;
    l->result = result;
    snprintf(l->name, sizeof l->name, "%s", c->name ? c->name : "");
    snprintf(l->name2, sizeof l->name2, "%s", c->name2 ? c->name2 : "");
}

void machine_print_calls(const machine *m, FILE *out) {
    uint64_t from = m->logged > m->log_size ? m->logged - m->log_size : 0;
    for (uint64_t i = from; i < m->logged; i++) {
        const struct logged *l = &m->log[i % m->log_size];
        fprintf(out, "  %6llu pid %lld %s", (unsigned long long)l->call.number, (long long)l->pid,
                machine_op_name[l->call.op]);
        if (l->call.fd) fprintf(out, " %lld", (long long)l->call.fd);
        if (l->name[0]) fprintf(out, " \"%s\"", l->name);
        if (l->call.fd2) fprintf(out, " -> %lld", (long long)l->call.fd2);
        if (l->name2[0]) fprintf(out, " \"%s\"", l->name2);
        if (l->call.n) fprintf(out, " n=%llu", (unsigned long long)l->call.n);
        if (l->call.offset) fprintf(out, " at %llu", (unsigned long long)l->call.offset);
        if (l->call.flags) fprintf(out, " flags=%#llx", (unsigned long long)l->call.flags);
        if (l->result < 0)
            fprintf(out, " = class %d code %d\n", AGT_SYS_CLASS(l->result),
                    AGT_SYS_CODE(l->result));
        else
            fprintf(out, " = %lld\n", (long long)l->result);
    }
}

void machine_fail(machine *m, const machine_fault *fault) {
    memset(&m->fault, 0, sizeof m->fault);
    if (fault) m->fault = *fault;
    if (!m->fault.ops) m->fault.ops = MACHINE_CAN_FAIL;
    m->fault.ops &= MACHINE_CAN_FAIL;
    m->fault_seen = m->injected = 0;
}

void machine_fail_at(machine *m, uint64_t n, uint64_t ops, int cls, int code, bool forever) {
    machine_fault f = {.at = n, .ops = ops, .cls = cls, .code = code, .forever = forever};
    machine_fail(m, &f);
}

void machine_fail_sync(machine *m, uint64_t n, bool forever) {
    machine_fail_at(m, n, MACHINE_BIT(MACHINE_SYNC), AGT_SYS_IO, EIO, forever);
}

uint64_t machine_fail_count(const machine *m) {
    return m->injected;
}

jmp_buf *machine_crash_point(machine *m) {
    m->crash_ready = true;
    return &m->crash_point;
}

void machine_crash_at(machine *m, uint64_t n, uint64_t ops, machine_when when) {
    m->crash_at = n;
    m->crash_ops = ops ? ops : MACHINE_ALL;
    m->crash_when = when;
    m->crash_seen = m->crashes = 0;
}

uint64_t machine_crash_count(const machine *m) {
    return m->crashes;
}

void machine_die(machine_process *p) {
    machine *m = p->m;
    machine_process_kill(p);
    machine_drop_listings(m);
    m->quiet = 0;
    m->crashes++;
    m->crash_at = 0;
    if (!m->crash_ready) machine_bug(m, "a process dies and nobody called machine_crash_point");
    longjmp(m->crash_point, 1);
}

/* What the call meets: nothing, a death in it or behind it, a failure behind it, a short move. */
struct fate {
    bool dies, middle, fails, shortened;
};

static bool machine_fault_hits(machine *m, const machine_call *c) {
    const machine_fault *f = &m->fault;
    if (!f->at || !(f->ops & MACHINE_BIT(c->op)) || (f->only && f->only != c->process))
        return false;
    if (f->cls == 0 && !((c->op == MACHINE_PREAD || c->op == MACHINE_PWRITE) && c->n > 1))
        return false;
    m->fault_seen++;
    if (m->fault_seen != f->at && !(f->forever && m->fault_seen > f->at)) return false;
    m->injected++;
    return true;
}

static uint32_t machine_slot_of(const machine_process *p, agt_fd fd) {
    size_t i = (size_t)fd - 3;
    if (fd < 3 || i >= p->fds || !p->fd[i]) return 0;
    return p->m->open[p->fd[i] - 1].slot;
}

/* True: go on, and end with machine_leave. False: answer *rc. */
static bool machine_enter(machine_call *c, struct fate *fate, int64_t *rc) {
    machine_process *p = c->process;
    machine *m = p->m;
    memset(fate, 0, sizeof *fate);
    m->disk.stamp = machine_stamp(m);
    *rc = ERR(IO, ESRCH);
    if (p->dead) return false;
    if (m->quiet) return true;
    c->number = ++m->all_calls;
    m->calls[c->op]++;
    if (m->set.call_ns) machine_advance(m, m->set.call_ns);
    if (m->hook) {
        m->quiet++;
        m->hook(m->hook_ctx, m, c);
        m->quiet--;
        if (p->dead) return false;
    }
    m->disk.stamp = machine_stamp(m);
    if (m->crash_at && (m->crash_ops & MACHINE_BIT(c->op)) && ++m->crash_seen == m->crash_at) {
        machine_log(m, c, ERR(IO, ESRCH));
        if (m->crash_when == MACHINE_BEFORE) machine_die(p);
        fate->dies = true;
        fate->middle = m->crash_when == MACHINE_MIDDLE;
    }
    if (!machine_fault_hits(m, c)) return true;
    fate->shortened = m->fault.cls == 0;
    fate->fails = !fate->shortened;
    if (fate->shortened || (m->fault.after && !fate->dies)) return true;
    *rc = AGT_SYS_ERR(m->fault.cls, m->fault.code);
    if (c->op == MACHINE_SYNC && machine_slot_of(p, c->fd))
        disk_lose(&m->disk, machine_slot_of(p, c->fd));
    if (fate->dies) machine_die(p);
    machine_log(m, c, *rc);
    return false;
}

static int64_t machine_leave(const machine_call *c, const struct fate *fate, int64_t rc) {
    machine *m = c->process->m;
    if (fate->dies) machine_die(c->process);
    if (fate->fails && rc >= 0) {
        if (c->op <= MACHINE_WALK) c->process->sys.close(c->process, (agt_fd)rc);
        rc = AGT_SYS_ERR(m->fault.cls, m->fault.code);
    }
    if (!m->quiet) machine_log(m, c, rc);
    return rc;
}

#define CALL(op_, ...)                                                                             \
    { .op = MACHINE_##op_, .process = ctx, __VA_ARGS__ }
/* Declares p, c, fate and rc; runs `expr` between enter and leave. */
#define RUN(type, expr, op_, ...)                                                                  \
    machine_process *p = ctx;                                                                      \
    machine_call c = CALL(op_, __VA_ARGS__);                                                       \
    struct fate fate;                                                                              \
    int64_t rc;                                                                                    \
    if (!machine_enter(&c, &fate, &rc)) return (type)rc;                                           \
    rc = (expr);                                                                                   \
    (void)p;                                                                                       \
    return (type)machine_leave(&c, &fate, rc)

/* ---- descriptors ---- */

static struct open_file *machine_file(machine_process *p, agt_fd fd, const char *what) {
    size_t i = (size_t)fd - 3;
    if (fd >= 3 && i < p->fds && p->fd[i]) return &p->m->open[p->fd[i] - 1];
    if (!p->m->set.lenient)
        machine_bug(p->m, "%s: pid %lld has no descriptor %lld", what, (long long)p->pid,
                    (long long)fd);
    return NULL;
}

/* The slot of an open folder, or a negative error. */
static int64_t machine_dir(machine_process *p, agt_fd fd, const char *what) {
    struct open_file *f = machine_file(p, fd, what);
    if (!f) return ERR(IO, EBADF);
    if (p->m->disk.node[f->slot].kind != AGT_FILE_FOLDER) return ERR(NOTDIR, ENOTDIR);
    return f->slot;
}

/* A new open file description: its index + 1. */
static uint32_t machine_new_file(machine *m, uint32_t slot, uint32_t flags) {
    size_t i = 0;
    while (i < m->opens && m->open[i].refs)
        i++;
    if (i == m->opens) {
        m->opens = m->opens ? m->opens * 2 : 16;
        m->open = disk_grow(m->open, m->opens * sizeof *m->open);
        memset(m->open + i, 0, (m->opens - i) * sizeof *m->open);
    }
    m->open[i] = (struct open_file){.refs = 1, .slot = slot, .flags = flags};
    m->disk.node[slot].opens++;
    return (uint32_t)i + 1;
}

static agt_fd machine_new_fd(machine_process *p, uint32_t slot, uint32_t flags) {
    size_t f = 0;
    while (f < p->fds && p->fd[f])
        f++;
    if (f == p->fds) {
        p->fds = p->fds ? p->fds * 2 : 16;
        p->fd = disk_grow(p->fd, p->fds * sizeof *p->fd);
        memset(p->fd + f, 0, (p->fds - f) * sizeof *p->fd);
    }
    p->fd[f] = machine_new_file(p->m, slot, flags);
    return (agt_fd)f + 3;
}

/* ---- names ---- */

static bool machine_may(const machine_process *p, const struct node *x, uint32_t bit) {
    const machine_settings *s = &p->m->set;
    if (s->privileged) return true;
    return (x->owner == s->user ? x->live.mode >> 6 : x->live.mode) & bit;
}

/* Looks up one component; 0, with *entry DISK_NONE and *slot 0 where there is none. */
static int machine_find(machine_process *p, uint32_t dir, const char *name, uint32_t *entry,
                        uint32_t *slot) {
    struct disk *k = &p->m->disk;
    *entry = DISK_NONE;
    *slot = 0;
    if (!p->m->set.lenient && (strchr(name, '/') || !strcmp(name, "..")))
        machine_bug(p->m, "\"%s\" is not one component", name);
    if (!name[0]) return ERR(NOENT, ENOENT);
    if (strchr(name, '/')) return ERR(NAME, EINVAL);
    if (strlen(name) > 255) return ERR(NAME, ENAMETOOLONG);
    if (!machine_may(p, &k->node[dir], 1)) return ERR(ACCESS, EACCES);
    if (!strcmp(name, "."))
        *slot = dir;
    else if (!strcmp(name, ".."))
        *slot = k->node[dir].parent;
    if (*slot) return 0;
    struct name *n = disk_name(name);
    *entry = disk_find(k, dir, n);
    if (*entry != DISK_NONE) *slot = k->node[dir].dir->e[*entry].live;
    disk_name_unref(n);
    return 0;
}

/* May names in this folder change now? */
static int machine_changeable(const machine_process *p, uint32_t dir) {
    const struct node *x = &p->m->disk.node[dir];
    if (!x->links) return ERR(NOENT, ENOENT);
    return machine_may(p, x, 2) && machine_may(p, x, 1) ? 0 : ERR(ACCESS, EACCES);
}

/* ---- opening ---- */

static int machine_openable(machine_process *p, uint32_t slot, uint32_t flags) {
    const struct node *x = &p->m->disk.node[slot];
    bool folder = x->kind == AGT_FILE_FOLDER;
    if (x->kind == AGT_FILE_LINK) return ERR(LOOP, ELOOP);
    if ((flags & AGT_O_FOLDER) && !folder) return ERR(NOTDIR, ENOTDIR);
    if (folder && !(flags & AGT_O_FOLDER) && (flags & (AGT_O_WRITE | AGT_O_CREATE)))
        return ERR(ISDIR, EISDIR);
    if (folder && (flags & (AGT_O_TRUNCATE | AGT_O_CREATE))) return ERR(ISDIR, EISDIR);
    bool reads = folder || !(flags & AGT_O_WRITE) || (flags & AGT_O_READ);
    if (reads && !machine_may(p, x, 4)) return ERR(ACCESS, EACCES);
    if ((flags & (AGT_O_WRITE | AGT_O_TRUNCATE)) && !folder && !machine_may(p, x, 2))
        return ERR(ACCESS, EACCES);
    if (x->kind == AGT_FILE_OTHER && (flags & AGT_O_WRITE) && !(flags & AGT_O_READ))
        return ERR(NAME, ENXIO);
    return 0;
}

static int64_t machine_do_open(machine_process *p, agt_fd dir_fd, const char *name, uint32_t flags,
                               uint32_t mode) {
    struct disk *k = &p->m->disk;
    uint32_t entry, slot;
    int64_t dir = machine_dir(p, dir_fd, "open");
    if (dir < 0) return dir;
    int rc = machine_find(p, (uint32_t)dir, name, &entry, &slot);
    if (rc < 0) return rc;
    if ((flags & AGT_O_CREATE) && (flags & AGT_O_FOLDER)) return ERR(IO, EINVAL);
    if (slot && (flags & AGT_O_CREATE) && (flags & AGT_O_EXCL)) return ERR(EXIST, EEXIST);
    if (!slot) {
        if (!(flags & AGT_O_CREATE)) return ERR(NOENT, ENOENT);
        if ((rc = machine_changeable(p, (uint32_t)dir)) < 0) return rc;
        slot =
            disk_create(k, (uint32_t)dir, name, AGT_FILE_REGULAR, mode & ~p->umask, p->m->set.user);
        return machine_new_fd(p, slot, flags);
    }
    if ((rc = machine_openable(p, slot, flags)) < 0) return rc;
    if ((flags & AGT_O_TRUNCATE) && k->node[slot].kind == AGT_FILE_REGULAR)
        disk_truncate(k, slot, 0);
    return machine_new_fd(p, slot, flags);
}

static agt_fd machine_call_open(void *ctx, agt_fd dir, const char *name, uint32_t flags,
                                uint32_t mode) {
    RUN(agt_fd, machine_do_open(p, dir, name, flags, mode), OPEN, .fd = dir, .name = name,
        .flags = flags);
}

/* Follows `path` from the root folder, through links. `follow`: through one at the end too.
 * 0 and the folder, the last component's entry and slot; slot 0: only that one is missing. */
struct place {
    uint32_t dir, entry, slot;
    char name[256];
};

static int machine_resolve(const machine *m, const char *path, bool follow, struct place *out) {
    const struct disk *k = &m->disk;
    char rest[4096], link[4096];
    int links = 0;
    *out = (struct place){.dir = DISK_ROOT, .entry = DISK_NONE, .slot = DISK_ROOT};
    if (strlen(path) >= sizeof rest) return ERR(NAME, ENAMETOOLONG);
    strcpy(rest, path);
    for (char *at = rest; *at;) {
        size_t n = strcspn(at, "/");
        char *next = at + n + strspn(at + n, "/");
        if (n == 0 || (n == 1 && at[0] == '.')) {
            at = next;
            continue;
        }
        if (!out->slot) return ERR(NOENT, ENOENT);
        if (k->node[out->slot].kind != AGT_FILE_FOLDER) return ERR(NOTDIR, ENOTDIR);
        if (n > 255) return ERR(NAME, ENAMETOOLONG);
        if (n == 2 && at[0] == '.' && at[1] == '.') {
            out->slot = out->dir = k->node[out->slot].parent;
            out->entry = DISK_NONE;
            at = next;
            continue;
        }
        out->dir = out->slot;
        memcpy(out->name, at, n);
        out->name[n] = 0;
        struct name *name = disk_name(out->name);
        out->entry = disk_find(k, out->dir, name);
        disk_name_unref(name);
        out->slot = out->entry == DISK_NONE ? 0 : k->node[out->dir].dir->e[out->entry].live;
        if (!out->slot || k->node[out->slot].kind != AGT_FILE_LINK || (!*next && !follow)) {
            at = next;
            continue;
        }
        if (++links > 40) return ERR(LOOP, ELOOP);
        const char *target = k->node[out->slot].target->s;
        if (strlen(target) + strlen(next) + 2 > sizeof link) return ERR(NAME, ENAMETOOLONG);
        snprintf(link, sizeof link, "%s/%s", target, next);
        strcpy(rest, link);
        at = rest;
        out->slot = target[0] == '/' ? DISK_ROOT : out->dir;
    }
    return 0;
}

static int64_t machine_do_open_root(machine_process *p, const char *path) {
    struct place at;
    if (!path[0]) return ERR(NOENT, ENOENT);
    int rc = machine_resolve(p->m, path, true, &at);
    if (rc < 0) return rc;
    if (!at.slot) return ERR(NOENT, ENOENT);
    rc = machine_openable(p, at.slot, AGT_O_READ | AGT_O_FOLDER);
    return rc < 0 ? rc : machine_new_fd(p, at.slot, AGT_O_READ | AGT_O_FOLDER);
}

static agt_fd machine_call_open_root(void *ctx, const char *path) {
    RUN(agt_fd, machine_do_open_root(p, path), OPEN_ROOT, .name = path);
}

static int64_t machine_do_walk(machine_process *p, agt_fd dir_fd, const char *path) {
    struct disk *k = &p->m->disk;
    int64_t dir = machine_dir(p, dir_fd, "walk");
    if (dir < 0) return dir;
    if (path[0] == '/') return ERR(NAME, EINVAL);
    for (const char *at = path; *at; at += at[strcspn(at, "/")] ? strcspn(at, "/") + 1 : strlen(at))
        if (strcspn(at, "/") == 2 && at[0] == '.' && at[1] == '.') return ERR(NAME, EINVAL);
    uint32_t slot = (uint32_t)dir, entry;
    for (const char *at = path; *at;) {
        char name[256];
        size_t n = strcspn(at, "/");
        if (n > 255) return ERR(NAME, ENAMETOOLONG);
        memcpy(name, at, n);
        name[n] = 0;
        at += n + (at[n] == '/');
        int rc = machine_find(p, slot, n ? name : ".", &entry, &slot);
        if (rc < 0) return rc;
        if (!slot) return ERR(NOENT, ENOENT);
        if (k->node[slot].kind == AGT_FILE_LINK) return ERR(LOOP, ELOOP);
        if (k->node[slot].kind != AGT_FILE_FOLDER) return ERR(NOTDIR, ENOTDIR);
    }
    int rc = machine_openable(p, slot, AGT_O_READ | AGT_O_FOLDER);
    return rc < 0 ? rc : machine_new_fd(p, slot, AGT_O_READ | AGT_O_FOLDER);
}

static agt_fd machine_call_walk(void *ctx, agt_fd dir, const char *path) {
    RUN(agt_fd, machine_do_walk(p, dir, path), WALK, .fd = dir, .name = path);
}

static void machine_call_close(void *ctx, agt_fd fd) {
    machine_process *p = ctx;
    machine_call c = CALL(CLOSE, .fd = fd);
    struct fate fate;
    int64_t rc;
    if (!machine_enter(&c, &fate, &rc)) return;
    if (machine_file(p, fd, "close")) {
        machine_drop_file(p->m, p->fd[fd - 3]);
        p->fd[fd - 3] = 0;
    }
    machine_leave(&c, &fate, 0);
}

/* ---- bytes ---- */

static size_t machine_short(const machine *m, const struct fate *fate, size_t n) {
    if (fate->shortened && n > 1) n /= 2;
    return m->set.short_bytes && n > m->set.short_bytes ? m->set.short_bytes : n;
}

static int64_t machine_do_pread(machine_process *p, const struct fate *fate, agt_fd fd, void *buf,
                                size_t n, uint64_t offset) {
    struct open_file *f = machine_file(p, fd, "pread");
    if (!f) return ERR(IO, EBADF);
    const struct node *x = &p->m->disk.node[f->slot];
    if (x->kind == AGT_FILE_FOLDER) return ERR(ISDIR, EISDIR);
    if (x->kind != AGT_FILE_REGULAR) return ERR(IO, ESPIPE);
    if ((f->flags & AGT_O_WRITE) && !(f->flags & AGT_O_READ)) return ERR(IO, EBADF);
    if (offset >= x->live.size) return 0;
    if (n > x->live.size - offset) n = (size_t)(x->live.size - offset);
    n = machine_short(p->m, fate, n);
    disk_blob_read(x->now, offset, buf, n);
    return (int64_t)n;
}

static int64_t machine_call_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    RUN(int64_t, machine_do_pread(p, &fate, fd, buf, n, offset), PREAD, .fd = fd, .n = n,
        .offset = offset);
}

/* How many bytes of a write get through before the process dies: often all up to a page's edge. */
static size_t machine_torn(machine *m, size_t n, uint64_t offset) {
    uint64_t edge = (offset + n - 1) / DISK_PAGE * DISK_PAGE;
    if (n < 2) return 0;
    if (edge > offset && disk_random(&m->random) % 2) return (size_t)(edge - offset);
    return (size_t)(disk_random(&m->random) % n);
}

/* How many bytes there is room for. */
static size_t machine_room(const machine *m, const struct node *x, uint64_t offset, size_t n) {
    uint64_t now = x->charged, limit = m->set.capacity;
    if (!limit || offset + n <= now) return n;
    uint64_t left = limit > m->disk.used ? (limit - m->disk.used) / DISK_PAGE * DISK_PAGE : 0;
    if (offset >= now + left) return 0;
    return n < now + left - offset ? n : (size_t)(now + left - offset);
}

static int64_t machine_do_pwrite(machine_process *p, const struct fate *fate, agt_fd fd,
                                 const void *buf, size_t n, uint64_t offset) {
    struct open_file *f = machine_file(p, fd, "pwrite");
    if (!f || !(f->flags & AGT_O_WRITE)) return ERR(IO, EBADF);
    const struct node *x = &p->m->disk.node[f->slot];
    if (x->kind != AGT_FILE_REGULAR) return ERR(IO, ESPIPE);
    if (!n) return 0;
    if (offset > DISK_MAX || n > DISK_MAX - offset) return ERR(NOSPC, EFBIG);
    n = machine_short(p->m, fate, n);
    size_t room = machine_room(p->m, x, offset, n);
    if (!room) return ERR(NOSPC, ENOSPC);
    n = fate->middle ? machine_torn(p->m, room, offset) : room;
    if (n) disk_write(&p->m->disk, f->slot, offset, buf, n);
    return (int64_t)n;
}

static int64_t machine_call_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n,
                                   uint64_t offset) {
    RUN(int64_t, machine_do_pwrite(p, &fate, fd, buf, n, offset), PWRITE, .fd = fd, .n = n,
        .offset = offset);
}

static int64_t machine_do_sync(machine_process *p, const struct fate *fate, agt_fd fd) {
    struct open_file *f = machine_file(p, fd, "sync");
    if (!f) return ERR(IO, EBADF);
    (void)fate;
    disk_sync(&p->m->disk, f->slot);
    return 0;
}

static int machine_call_sync(void *ctx, agt_fd fd) {
    RUN(int, machine_do_sync(p, &fate, fd), SYNC, .fd = fd);
}

static int64_t machine_do_truncate(machine_process *p, agt_fd fd, uint64_t size) {
    struct open_file *f = machine_file(p, fd, "truncate");
    if (!f) return ERR(IO, EBADF);
    const struct node *x = &p->m->disk.node[f->slot];
    if (!(f->flags & AGT_O_WRITE) || x->kind != AGT_FILE_REGULAR) return ERR(IO, EINVAL);
    if (size > DISK_MAX) return ERR(NOSPC, EFBIG);
    disk_truncate(&p->m->disk, f->slot, size);
    return 0;
}

static int machine_call_truncate(void *ctx, agt_fd fd, uint64_t size) {
    RUN(int, machine_do_truncate(p, fd, size), TRUNCATE, .fd = fd, .n = size);
}

static int64_t machine_do_reserve(machine_process *p, agt_fd fd, uint64_t offset, uint64_t n) {
    struct open_file *f = machine_file(p, fd, "reserve");
    if (!f || !(f->flags & AGT_O_WRITE)) return ERR(IO, EBADF);
    struct node *x = &p->m->disk.node[f->slot];
    if (x->kind != AGT_FILE_REGULAR) return ERR(IO, ESPIPE);
    if (p->m->set.no_reserve) return ERR(NOSYS, EOPNOTSUPP);
    if (!n) return ERR(IO, EINVAL);
    if (offset > DISK_MAX || n > DISK_MAX - offset) return ERR(NOSPC, EFBIG);
    if (machine_room(p->m, x, offset, (size_t)n) < n) return ERR(NOSPC, ENOSPC);
    if (offset + n > x->reserved) x->reserved = offset + n;
    x->live.mtime = x->live.ctime = p->m->disk.stamp;
    disk_charge(&p->m->disk, x);
    return 0;
}

static int machine_call_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    RUN(int, machine_do_reserve(p, fd, offset, n), RESERVE, .fd = fd, .n = n, .offset = offset);
}

/* ---- looking ---- */

static void machine_fill(const struct disk *k, uint32_t slot, agt_stat *out) {
    const struct node *x = &k->node[slot];
    memset(out, 0, sizeof *out);
    out->dev = x->dev;
    out->ino = x->ino;
    out->size = x->dir ? DISK_PAGE : x->target ? strlen(x->target->s) : x->live.size;
    out->mtime_ns = x->live.mtime;
    out->ctime_ns = x->live.ctime;
    out->mode = x->live.mode;
    out->owner = x->owner;
    out->links = x->links + (x->dir && x->links);
    out->kind = x->kind;
}

static int64_t machine_do_stat(machine_process *p, agt_fd fd, const char *name, agt_stat *out) {
    uint32_t entry, slot;
    int64_t dir = machine_dir(p, fd, "stat");
    if (dir < 0) return dir;
    int rc = machine_find(p, (uint32_t)dir, name, &entry, &slot);
    if (rc < 0) return rc;
    if (!slot) return ERR(NOENT, ENOENT);
    machine_fill(&p->m->disk, slot, out);
    return 0;
}

static int machine_call_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    RUN(int, machine_do_stat(p, dir, name, out), STAT, .fd = dir, .name = name);
}

static int64_t machine_do_fstat(machine_process *p, agt_fd fd, agt_stat *out) {
    struct open_file *f = machine_file(p, fd, "fstat");
    if (!f) return ERR(IO, EBADF);
    machine_fill(&p->m->disk, f->slot, out);
    return 0;
}

static int machine_call_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    RUN(int, machine_do_fstat(p, fd, out), FSTAT, .fd = fd);
}

static int64_t machine_do_set_mode(machine_process *p, agt_fd fd, uint32_t mode) {
    struct open_file *f = machine_file(p, fd, "set_mode");
    if (!f) return ERR(IO, EBADF);
    struct node *x = &p->m->disk.node[f->slot];
    if (x->owner != p->m->set.user && !p->m->set.privileged) return ERR(ACCESS, EPERM);
    x->live.mode = mode & 07777u;
    x->live.ctime = p->m->disk.stamp;
    disk_note(&p->m->disk, f->slot, FILE_ATTR, 0, 0);
    return 0;
}

static int machine_call_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    RUN(int, machine_do_set_mode(p, fd, mode), SET_MODE, .fd = fd, .flags = mode);
}

static int machine_compare_listed(const void *a, const void *b) {
    const struct listed *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The names in a folder. */
static struct listing *machine_new_listing(const struct dir *d) {
    struct listing *l = disk_raw(sizeof *l + d->live * sizeof *l->l);
    l->n = 0;
    for (uint32_t i = 0; i < d->used; i++) {
        if (!d->e[i].name || !d->e[i].live) continue;
        strcpy(l->l[l->n].name, d->e[i].name->s);
        l->l[l->n++].order = d->e[i].name->hash;
    }
    return l;
}

static int64_t machine_do_list(machine_process *p, agt_fd fd, int (*each)(void *, const char *),
                               void *each_ctx) {
    int64_t slot = machine_dir(p, fd, "list");
    if (slot < 0) return slot;
    const struct node *x = &p->m->disk.node[slot];
    if (!machine_may(p, x, 4) || !machine_may(p, x, 1)) return ERR(ACCESS, EACCES);
    struct listing *l = machine_new_listing(x->dir);
    for (size_t i = 0; i < l->n; i++) {
        uint64_t order = p->m->set.seed ^ l->l[i].order;
        l->l[i].order = disk_random(&order);
    }
    qsort(l->l, l->n, sizeof *l->l, machine_compare_listed);
    l->next = p->m->listings;
    p->m->listings = l;
    int rc = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++)
        rc = each(each_ctx, l->l[i].name);
    p->m->listings = l->next;
    free(l);
    return rc;
}

static int machine_call_list(void *ctx, agt_fd dir, int (*each)(void *, const char *),
                             void *each_ctx) {
    RUN(int, machine_do_list(p, dir, each, each_ctx), LIST, .fd = dir);
}

/* ---- changing names ---- */

/* Both ends of a rename or link: folders that may be changed, and what stands there. */
struct ends {
    uint32_t from_dir, from_entry, from, to_dir, to_entry, to;
};

static int machine_ends(machine_process *p, agt_fd from_fd, const char *from, agt_fd to_fd,
                        const char *to, struct ends *e) {
    int64_t a = machine_dir(p, from_fd, "from"), b = machine_dir(p, to_fd, "to");
    if (a < 0) return (int)a;
    if (b < 0) return (int)b;
    e->from_dir = (uint32_t)a;
    e->to_dir = (uint32_t)b;
    if (p->m->disk.node[a].dev != p->m->disk.node[b].dev) return ERR(XDEV, EXDEV);
    int rc = machine_find(p, e->from_dir, from, &e->from_entry, &e->from);
    if (rc < 0) return rc;
    rc = machine_find(p, e->to_dir, to, &e->to_entry, &e->to);
    if (rc < 0) return rc;
    return e->from ? 0 : ERR(NOENT, ENOENT);
}

static bool machine_above(const struct disk *k, uint32_t upper, uint32_t slot) {
    while (slot && slot != upper && slot != DISK_ROOT)
        slot = k->node[slot].parent; /* 0: a folder that was removed while open */
    return slot == upper;
}

static int machine_rename_allowed(machine_process *p, const struct ends *e, int flag) {
    const struct disk *k = &p->m->disk;
    const struct node *from = &k->node[e->from], *to = &k->node[e->to];
    if (flag == AGT_RENAME_NOREPLACE && e->to) return ERR(EXIST, EEXIST);
    if (flag == AGT_RENAME_EXCHANGE && !e->to) return ERR(NOENT, ENOENT);
    if (e->from_entry == DISK_NONE || (e->to && e->to_entry == DISK_NONE)) return ERR(BUSY, EBUSY);
    if (from->dir && machine_above(k, e->from, e->to_dir)) return ERR(IO, EINVAL);
    if (e->to && to->dir && e->to != e->from && machine_above(k, e->to, e->from_dir))
        return flag == AGT_RENAME_EXCHANGE ? ERR(IO, EINVAL) : ERR(NOTEMPTY, ENOTEMPTY);
    int rc = machine_changeable(p, e->from_dir);
    if (rc == 0) rc = machine_changeable(p, e->to_dir);
    if (rc < 0 || !e->to || flag == AGT_RENAME_EXCHANGE || e->to == e->from) return rc;
    if (from->dir && !to->dir) return ERR(NOTDIR, ENOTDIR);
    if (!from->dir && to->dir) return ERR(ISDIR, EISDIR);
    return to->dir && to->dir->live ? ERR(NOTEMPTY, ENOTEMPTY) : 0;
}

static int64_t machine_move(struct disk *k, const struct ends *e, const char *to, int flag) {
    if (e->from == e->to) return 0; /* two names of one file: nothing happens */
    struct name_change c = {.n = 2, .moves = true};
    bool swap = flag == AGT_RENAME_EXCHANGE;
    c.t[0] = (struct touch){.dir = e->from_dir, .entry = e->from_entry, .after = swap ? e->to : 0};
    c.t[1] = (struct touch){
        .dir = e->to_dir, .entry = disk_entry_of(k, e->to_dir, to), .after = e->from};
    if (!swap && e->to && k->node[e->to].dir) c.victim = e->to;
    disk_change(k, &c);
    return 0;
}

static int64_t machine_do_rename(machine_process *p, agt_fd from_fd, const char *from, agt_fd to_fd,
                                 const char *to, int flag) {
    struct ends e;
    const machine_settings *s = &p->m->set;
    if (flag == AGT_RENAME_EXCHANGE && s->no_exchange) return ERR(NOSYS, ENOSYS);
    if (flag == AGT_RENAME_NOREPLACE && s->no_noreplace) return ERR(NOSYS, ENOSYS);
    int rc = machine_ends(p, from_fd, from, to_fd, to, &e);
    if (rc == 0) rc = machine_rename_allowed(p, &e, flag);
    /* EINVAL also means that a file system does not know the flag, and is read so */
    if (rc < 0 && flag != AGT_RENAME_REPLACE && AGT_SYS_CODE(rc) == EINVAL)
        return ERR(NOSYS, ENOSYS);
    return rc < 0 ? rc : machine_move(&p->m->disk, &e, to, flag);
}

static int machine_call_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir,
                               const char *to, int flag) {
    RUN(int, machine_do_rename(p, from_dir, from, to_dir, to, flag), RENAME, .fd = from_dir,
        .name = from, .fd2 = to_dir, .name2 = to, .flags = flag);
}

static int64_t machine_do_link(machine_process *p, agt_fd from_fd, const char *from, agt_fd to_fd,
                               const char *to) {
    struct ends e;
    if (p->m->set.no_link) return ERR(ACCESS, EPERM);
    int rc = machine_ends(p, from_fd, from, to_fd, to, &e);
    if (rc < 0) return rc;
    if (e.to) return ERR(EXIST, EEXIST);
    if ((rc = machine_changeable(p, e.to_dir)) < 0) return rc;
    if (p->m->disk.node[e.from].dir) return ERR(ACCESS, EPERM);
    disk_add(&p->m->disk, e.to_dir, to, e.from);
    return 0;
}

static int machine_call_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir,
                             const char *to) {
    RUN(int, machine_do_link(p, from_dir, from, to_dir, to), LINK, .fd = from_dir, .name = from,
        .fd2 = to_dir, .name2 = to);
}

static int64_t machine_do_remove(machine_process *p, agt_fd fd, const char *name, bool folder) {
    struct disk *k = &p->m->disk;
    uint32_t entry, slot;
    int64_t dir = machine_dir(p, fd, "remove");
    if (dir < 0) return dir;
    int rc = machine_find(p, (uint32_t)dir, name, &entry, &slot);
    if (rc < 0) return rc;
    if (!slot) return ERR(NOENT, ENOENT);
    if (entry == DISK_NONE) return folder ? ERR(IO, EINVAL) : ERR(ISDIR, EISDIR);
    if ((rc = machine_changeable(p, (uint32_t)dir)) < 0) return rc;
    if (folder && !k->node[slot].dir) return ERR(NOTDIR, ENOTDIR);
    if (!folder && k->node[slot].dir) return ERR(ISDIR, EISDIR);
    if (folder && k->node[slot].dir->live) return ERR(NOTEMPTY, ENOTEMPTY);
    disk_take_away(k, (uint32_t)dir, entry);
    return 0;
}

static int machine_call_remove(void *ctx, agt_fd dir, const char *name) {
    RUN(int, machine_do_remove(p, dir, name, false), REMOVE, .fd = dir, .name = name);
}

static int machine_call_remove_folder(void *ctx, agt_fd dir, const char *name) {
    RUN(int, machine_do_remove(p, dir, name, true), REMOVE_FOLDER, .fd = dir, .name = name);
}

static int64_t machine_do_make_folder(machine_process *p, agt_fd fd, const char *name,
                                      uint32_t mode) {
    uint32_t entry, slot;
    int64_t dir = machine_dir(p, fd, "make_folder");
    if (dir < 0) return dir;
    int rc = machine_find(p, (uint32_t)dir, name, &entry, &slot);
    if (rc < 0) return rc;
    if (slot) return ERR(EXIST, EEXIST);
    if ((rc = machine_changeable(p, (uint32_t)dir)) < 0) return rc;
    disk_create(&p->m->disk, (uint32_t)dir, name, AGT_FILE_FOLDER, mode & ~p->umask,
                p->m->set.user);
    return 0;
}

static int machine_call_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    RUN(int, machine_do_make_folder(p, dir, name, mode), MAKE_FOLDER, .fd = dir, .name = name,
        .flags = mode);
}

/* ---- writers and locks ---- */

static int64_t machine_do_has_writer(machine_process *p, agt_fd fd) {
    const machine *m = p->m;
    struct open_file *f = machine_file(p, fd, "has_writer");
    if (!f) return ERR(IO, EBADF);
    if (m->set.no_has_writer || m->disk.node[f->slot].kind != AGT_FILE_REGULAR)
        return ERR(NOSYS, ENOSYS);
    for (size_t i = 0; i < m->opens; i++)
        if (m->open[i].refs && m->open[i].slot == f->slot && (m->open[i].flags & AGT_O_WRITE))
            return 1;
    return 0;
}

static int machine_call_has_writer(void *ctx, agt_fd fd) {
    RUN(int, machine_do_has_writer(p, fd), HAS_WRITER, .fd = fd);
}

static int64_t machine_do_lock(machine_process *p, agt_fd fd, int kind) {
    const machine *m = p->m;
    struct open_file *f = machine_file(p, fd, "lock");
    if (!f) return ERR(IO, EBADF);
    if (m->set.no_lock) return ERR(NOSYS, ENOLCK);
    if (kind == f->lock) return 0;
    f->lock = AGT_LOCK_UNLOCK; /* a lock that changes its kind is let go first, as in Linux */
    for (size_t i = 0; i < m->opens && kind != AGT_LOCK_UNLOCK; i++) {
        const struct open_file *o = &m->open[i];
        if (!o->refs || o == f || o->slot != f->slot || o->lock == AGT_LOCK_UNLOCK) continue;
        if (kind == AGT_LOCK_EXCLUSIVE || o->lock == AGT_LOCK_EXCLUSIVE)
            return ERR(BUSY, EWOULDBLOCK);
    }
    f->lock = kind;
    return 0;
}

static int machine_call_lock(void *ctx, agt_fd fd, int kind) {
    RUN(int, machine_do_lock(p, fd, kind), LOCK, .fd = fd, .flags = kind);
}

/* ---- time, chance, identity, mutexes ---- */

static int64_t machine_call_now(void *ctx) {
    return ((machine_process *)ctx)->m->unix_ns / 1000000;
}

static int64_t machine_call_mono(void *ctx) {
    return ((machine_process *)ctx)->m->mono_ns;
}

static void machine_call_sleep(void *ctx, int64_t ns) {
    machine_call c = CALL(SLEEP, .n = ns > 0 ? (uint64_t)ns : 0);
    struct fate fate;
    int64_t rc;
    if (!machine_enter(&c, &fate, &rc)) return;
    if (ns > 0) machine_advance(c.process->m, ns);
    machine_leave(&c, &fate, 0);
}

static int64_t machine_do_random(machine *m, unsigned char *buf, size_t n) {
    for (size_t step; n; n -= step, buf += step) {
        uint64_t r = disk_random(&m->random);
        step = n < sizeof r ? n : sizeof r;
        memcpy(buf, &r, step);
    }
    return 0;
}

static int machine_call_random(void *ctx, void *buf, size_t n) {
    RUN(int, machine_do_random(p->m, buf, n), RANDOM, .n = n);
}

static int64_t machine_call_pid(void *ctx) {
    return ((machine_process *)ctx)->pid;
}

static int64_t machine_do_process(const machine_process *p, agt_process *out) {
    const machine *m = p->m;
    memset(out, 0, sizeof *out);
    out->pid = p->pid;
    out->start = p->start;
    strcpy(out->host, "machine");
    memcpy(out->program, p->program, sizeof out->program);
    if (m->set.no_boot) return 0;
    uint64_t id = m->set.seed ^ (m->boots + 1) << 32;
    uint64_t a = disk_random(&id), b = disk_random(&id);
    snprintf(out->boot, sizeof out->boot, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff, (unsigned)(b >> 52),
             (unsigned long long)b & 0xffffffffffffull);
    strcpy(out->pid_space, "pid:[4026531836]");
    strcpy(out->time_space, "time:[4026531834]");
    return 0;
}

static int machine_call_process(void *ctx, agt_process *out) {
    RUN(int, machine_do_process(p, out), PROCESS, .n = 0);
}

static int machine_call_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    (void)out;
    (void)size;
    RUN(int, ERR(NOSYS, ENOSYS), PATH_OF, .fd = dir);
}

static void machine_mutex_free(void *ctx, void *mutex) {
    struct mutex *x = mutex;
    if (!x) return;
    if (x->locked && !((machine_process *)ctx)->dead) machine_bug(x->m, "a locked mutex is freed");
    *x->link = x->next;
    if (x->next) x->next->link = x->link;
    free(x);
}

static void *machine_mutex_new(void *ctx) {
    machine *m = ((machine_process *)ctx)->m;
    machine_call c = CALL(MUTEX_NEW, .n = 0);
    struct fate fate;
    int64_t rc;
    if (!machine_enter(&c, &fate, &rc)) return NULL;
    struct mutex *x = disk_alloc(sizeof *x);
    x->m = m;
    x->next = m->mutexes;
    x->link = &m->mutexes;
    if (x->next) x->next->link = &x->next;
    m->mutexes = x;
    if (machine_leave(&c, &fate, 0) == 0) return x;
    machine_mutex_free(ctx, x);
    return NULL;
}

static void machine_mutex_lock(void *ctx, void *mutex) {
    struct mutex *x = mutex;
    if (((machine_process *)ctx)->dead) return;
    if (x->locked) machine_bug(x->m, "a mutex is locked twice: here a thread would wait for ever");
    x->locked = true;
}

static void machine_mutex_unlock(void *ctx, void *mutex) {
    struct mutex *x = mutex;
    if (((machine_process *)ctx)->dead) return;
    if (!x->locked) machine_bug(x->m, "a mutex is unlocked that nobody locked");
    x->locked = false;
}

/* ---- processes ---- */

static const agt_sys machine_sys_of_all = {
    .size = sizeof(agt_sys),
    .open_root = machine_call_open_root,
    .open = machine_call_open,
    .walk = machine_call_walk,
    .close = machine_call_close,
    .pread = machine_call_pread,
    .pwrite = machine_call_pwrite,
    .sync = machine_call_sync,
    .truncate = machine_call_truncate,
    .reserve = machine_call_reserve,
    .stat = machine_call_stat,
    .fstat = machine_call_fstat,
    .set_mode = machine_call_set_mode,
    .rename = machine_call_rename,
    .link = machine_call_link,
    .remove = machine_call_remove,
    .remove_folder = machine_call_remove_folder,
    .make_folder = machine_call_make_folder,
    .list = machine_call_list,
    .has_writer = machine_call_has_writer,
    .lock = machine_call_lock,
    .now_unix_ms = machine_call_now,
    .mono_ns = machine_call_mono,
    .sleep_ns = machine_call_sleep,
    .random = machine_call_random,
    .pid = machine_call_pid,
    .process = machine_call_process,
    .path_of = machine_call_path_of,
    .mutex_new = machine_mutex_new,
    .mutex_free = machine_mutex_free,
    .mutex_lock = machine_mutex_lock,
    .mutex_unlock = machine_mutex_unlock,
};

machine_process *machine_process_new(machine *m, const char *program) {
    machine_process *p = disk_alloc(sizeof *p);
    p->m = m;
    p->sys = machine_sys_of_all;
    p->sys.ctx = p;
    p->pid = m->next_pid++;
    p->start = (uint64_t)m->mono_ns / 10000000;
    p->umask = 022;
    snprintf(p->program, sizeof p->program, "%s", program ? program : "program");
    p->next = m->processes;
    m->processes = p;
    return p;
}

const agt_sys *machine_sys(machine_process *p) {
    return &p->sys;
}
int64_t machine_process_pid(const machine_process *p) {
    return p->pid;
}
bool machine_process_alive(const machine_process *p) {
    return !p->dead;
}
void machine_process_set_umask(machine_process *p, uint32_t mask) {
    p->umask = mask;
}

size_t machine_process_open_files(const machine_process *p) {
    size_t n = 0;
    for (size_t i = 0; i < p->fds; i++)
        n += p->fd[i] != 0;
    return n;
}

static void machine_close_all(machine *m, uint32_t **fd, size_t *fds) {
    for (size_t i = 0; i < *fds; i++)
        if ((*fd)[i]) machine_drop_file(m, (*fd)[i]);
    free(*fd);
    *fd = NULL;
    *fds = 0;
}

void machine_process_kill(machine_process *p) {
    machine_close_all(p->m, &p->fd, &p->fds);
    machine_close_all(p->m, &p->parent_fd, &p->parent_fds);
    if (p->parent_pid) p->pid = p->parent_pid;
    p->parent_pid = 0;
    p->dead = true;
}

void machine_process_free(machine_process *p) {
    machine_process **at = &p->m->processes;
    machine_process_kill(p);
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}

void machine_fork_enter(machine_process *p) {
    if (p->parent_pid || p->dead) machine_bug(p->m, "fork: already in a child, or dead");
    p->parent_pid = p->pid;
    p->parent_fd = p->fd;
    p->parent_fds = p->fds;
    p->fd = disk_raw(p->fds * sizeof *p->fd);
    if (p->fds) memcpy(p->fd, p->parent_fd, p->fds * sizeof *p->fd);
    for (size_t i = 0; i < p->fds; i++)
        if (p->fd[i]) p->m->open[p->fd[i] - 1].refs++;
    p->pid = p->m->next_pid++;
}

void machine_fork_leave(machine_process *p) {
    if (!p->parent_pid) {
        if (p->dead) return;
        machine_bug(p->m, "fork: not in a child");
    }
    machine_close_all(p->m, &p->fd, &p->fds);
    p->fd = p->parent_fd;
    p->fds = p->parent_fds;
    p->pid = p->parent_pid;
    p->parent_fd = NULL;
    p->parent_fds = 0;
    p->parent_pid = 0;
}

/* ---- what others do ---- */

/* The existing file at path; links are followed. */
static int machine_at(machine *m, const char *path, bool follow, struct place *at) {
    m->disk.stamp = machine_stamp(m);
    int rc = machine_resolve(m, path, follow, at);
    if (rc < 0) return rc;
    return at->slot ? 0 : ERR(NOENT, ENOENT);
}

/* The regular file at path, made if it is missing. */
static int machine_regular(machine *m, const char *path, struct place *at) {
    int rc = machine_at(m, path, true, at);
    if (rc == 0) return m->disk.node[at->slot].kind == AGT_FILE_REGULAR ? 0 : ERR(ISDIR, EISDIR);
    if (AGT_SYS_CLASS(rc) != AGT_SYS_NOENT || machine_resolve(m, path, true, at) < 0) return rc;
    at->slot = disk_create(&m->disk, at->dir, at->name, AGT_FILE_REGULAR, 0644, m->set.user);
    return 0;
}

/* A new name at path for `slot`, or for a new node of that kind. */
static int machine_plant(machine *m, const char *path, int kind, uint32_t mode, uint32_t slot,
                         struct place *at) {
    m->disk.stamp = machine_stamp(m);
    int rc = machine_resolve(m, path, false, at);
    if (rc < 0) return rc;
    if (at->slot) return ERR(EXIST, EEXIST);
    if (slot)
        disk_add(&m->disk, at->dir, at->name, slot);
    else
        slot = disk_create(&m->disk, at->dir, at->name, kind, mode, m->set.user);
    at->slot = slot;
    return 0;
}

int machine_put(machine *m, const char *path, const void *data, size_t n) {
    machine_edit *e = machine_edit_open(m, path);
    if (!e) {
        struct place at;
        int rc = machine_regular(m, path, &at);
        return rc < 0 ? rc : ERR(IO, EIO);
    }
    machine_edit_write(e, data, n);
    machine_edit_close(e);
    return 0;
}

int machine_put_text(machine *m, const char *path, const char *text) {
    return machine_put(m, path, text, strlen(text));
}

char *machine_get(const machine *m, const char *path, size_t *n) {
    struct place at;
    if (machine_resolve(m, path, true, &at) < 0 || !at.slot) return NULL;
    const struct node *x = &m->disk.node[at.slot];
    if (x->kind != AGT_FILE_REGULAR) return NULL;
    char *data = disk_raw(x->live.size + 1);
    disk_blob_read(x->now, 0, data, (size_t)x->live.size);
    data[x->live.size] = 0;
    if (n) *n = (size_t)x->live.size;
    return data;
}

int machine_stat(const machine *m, const char *path, agt_stat *out) {
    struct place at;
    int rc = machine_resolve(m, path, false, &at);
    if (rc < 0) return rc;
    if (!at.slot) return ERR(NOENT, ENOENT);
    machine_fill(&m->disk, at.slot, out);
    return 0;
}

machine_edit *machine_edit_open(machine *m, const char *path) {
    struct place at;
    if (machine_regular(m, path, &at) < 0) return NULL;
    machine_edit *e = disk_alloc(sizeof *e);
    disk_truncate(&m->disk, at.slot, 0);
    e->m = m;
    e->epoch = m->epoch;
    e->file = machine_new_file(m, at.slot, AGT_O_WRITE);
    return e;
}

void machine_edit_write(machine_edit *e, const void *data, size_t n) {
    struct disk *k = &e->m->disk;
    if (e->epoch != e->m->epoch) return;
    uint32_t slot = e->m->open[e->file - 1].slot;
    k->stamp = machine_stamp(e->m);
    if (n) disk_write(k, slot, k->node[slot].live.size, data, n);
}

void machine_edit_close(machine_edit *e) {
    if (e->epoch == e->m->epoch) machine_drop_file(e->m, e->file);
    free(e);
}

int machine_replace(machine *m, const char *path, const void *data, size_t n) {
    char temp[4096];
    if (snprintf(temp, sizeof temp, "%s.new~", path) >= (int)sizeof temp)
        return ERR(NAME, ENAMETOOLONG);
    int rc = machine_put(m, temp, data, n);
    return rc < 0 ? rc : machine_rename(m, temp, path);
}

int machine_overwrite(machine *m, const char *path, uint64_t offset, const void *data, size_t n) {
    struct place at;
    int rc = machine_regular(m, path, &at);
    if (rc == 0 && n) disk_write(&m->disk, at.slot, offset, data, n);
    return rc;
}

int machine_rename(machine *m, const char *from, const char *to) {
    struct place a, b;
    int rc = machine_at(m, from, false, &a);
    if (rc == 0) rc = machine_resolve(m, to, false, &b);
    if (rc < 0) return rc;
    machine_process person = {.m = m};
    bool privileged = m->set.privileged;
    struct ends e = {a.dir, a.entry, a.slot, b.dir, b.entry, b.slot};
    m->set.privileged = true;
    rc = machine_rename_allowed(&person, &e, AGT_RENAME_REPLACE);
    m->set.privileged = privileged;
    return rc < 0 ? rc : (int)machine_move(&m->disk, &e, b.name, AGT_RENAME_REPLACE);
}

/* Removes a tree, from the leaves up, without recursion. */
int machine_remove(machine *m, const char *path) {
    struct place at;
    int rc = machine_at(m, path, false, &at);
    if (rc < 0) return rc;
    if (at.entry == DISK_NONE) return ERR(BUSY, EBUSY);
    struct disk *k = &m->disk;
    for (uint32_t dir = at.dir, entry = at.entry;;) {
        uint32_t slot = k->node[dir].dir->e[entry].live;
        const struct dir *d = k->node[slot].dir;
        if (d && d->live) { /* go down to the first one in it */
            dir = slot;
            for (entry = 0; !d->e[entry].name || !d->e[entry].live;)
                entry++;
            continue;
        }
        bool last = dir == at.dir && entry == at.entry;
        disk_take_away(k, dir, entry);
        if (last) return 0;
        dir = at.dir;
        entry = at.entry;
    }
}

int machine_truncate(machine *m, const char *path, uint64_t size) {
    struct place at;
    int rc = machine_regular(m, path, &at);
    if (rc == 0) disk_truncate(&m->disk, at.slot, size);
    return rc;
}

int machine_make_folder(machine *m, const char *path) {
    char part[4096];
    struct place at;
    size_t n = strlen(path);
    if (n >= sizeof part) return ERR(NAME, ENAMETOOLONG);
    for (size_t i = 1; i <= n; i++) {
        if (path[i] != '/' && path[i]) continue;
        memcpy(part, path, i);
        part[i] = 0;
        int rc = machine_plant(m, part, AGT_FILE_FOLDER, 0755, 0, &at);
        if (rc < 0 && AGT_SYS_CLASS(rc) != AGT_SYS_EXIST) return rc;
    }
    int rc = machine_at(m, path, true, &at);
    if (rc < 0) return rc;
    return m->disk.node[at.slot].dir ? 0 : ERR(NOTDIR, ENOTDIR);
}

int machine_symlink(machine *m, const char *target, const char *path) {
    struct place at;
    int rc = machine_plant(m, path, AGT_FILE_LINK, 0777, 0, &at);
    if (rc == 0) m->disk.node[at.slot].target = disk_name(target);
    return rc;
}

int machine_link(machine *m, const char *from, const char *to) {
    struct place a, b;
    int rc = machine_at(m, from, false, &a);
    if (rc == 0 && m->disk.node[a.slot].dir) rc = ERR(ACCESS, EPERM);
    return rc < 0 ? rc : machine_plant(m, to, 0, 0, a.slot, &b);
}

int machine_fifo(machine *m, const char *path) {
    struct place at;
    return machine_plant(m, path, AGT_FILE_OTHER, 0644, 0, &at);
}

int machine_mount(machine *m, const char *path) {
    struct place at;
    int rc = machine_plant(m, path, AGT_FILE_FOLDER, 0755, 0, &at);
    if (rc == 0) m->disk.node[at.slot].dev = ++m->devices;
    return rc;
}

int machine_set_mode(machine *m, const char *path, uint32_t mode) {
    struct place at;
    int rc = machine_at(m, path, true, &at);
    if (rc < 0) return rc;
    m->disk.node[at.slot].live.mode = mode & 07777u;
    m->disk.node[at.slot].live.ctime = m->disk.stamp;
    disk_note(&m->disk, at.slot, FILE_ATTR, 0, 0);
    return 0;
}

int machine_set_owner(machine *m, const char *path, uint32_t user) {
    struct place at;
    int rc = machine_at(m, path, false, &at);
    if (rc == 0) m->disk.node[at.slot].owner = user;
    return rc;
}

int machine_set_mtime(machine *m, const char *path, int64_t ns) {
    struct place at;
    int rc = machine_at(m, path, true, &at);
    if (rc < 0) return rc;
    m->disk.node[at.slot].live.mtime = ns;
    m->disk.node[at.slot].live.ctime = m->disk.stamp;
    disk_note(&m->disk, at.slot, FILE_ATTR, 0, 0);
    return 0;
}

int machine_rot(machine *m, const char *path, uint64_t byte, unsigned bit) {
    struct place at;
    int rc = machine_at(m, path, true, &at);
    if (rc < 0) return rc;
    struct node *x = &m->disk.node[at.slot];
    if (x->kind != AGT_FILE_REGULAR || byte >= x->live.size) return ERR(IO, EINVAL);
    unsigned char c;
    disk_blob_read(x->now, byte, &c, 1);
    c = (unsigned char)(c ^ 1u << bit % 8);
    disk_blob_write(&x->now, byte, &c, 1);
    disk_blob_write(&x->kept, byte, &c, 1);
    return 0;
}

bool machine_locked(const machine *m, const char *path) {
    struct place at;
    if (machine_resolve(m, path, true, &at) < 0 || !at.slot) return false;
    for (size_t i = 0; i < m->opens; i++)
        if (m->open[i].refs && m->open[i].slot == at.slot && m->open[i].lock) return true;
    return false;
}

/* ---- trees as text ---- */

struct text {
    char *s;
    size_t n, cap;
};

static void text_put(struct text *t, const char *s) {
    size_t n = strlen(s);
    if (t->n + n + 1 > t->cap) t->s = disk_grow(t->s, t->cap = (t->n + n + 1) * 2);
    memcpy(t->s + t->n, s, n + 1);
    t->n += n;
}

static uint64_t machine_hash(const struct node *x) {
    unsigned char b[DISK_PAGE];
    uint64_t h = 1469598103934665603ull;
    for (uint64_t at = 0; at < x->live.size; at += DISK_PAGE) {
        if (!disk_page(x->now, at / DISK_PAGE)) continue;
        uint64_t left = x->live.size - at;
        size_t n = left < DISK_PAGE ? (size_t)left : DISK_PAGE;
        disk_blob_read(x->now, at, b, n);
        if (disk_all_zero(b, n)) continue;
        h = (h ^ at) * 1099511628211ull;
        for (size_t i = 0; i < n; i++)
            h = (h ^ b[i]) * 1099511628211ull;
    }
    return h;
}

static int machine_compare_names(const void *a, const void *b) {
    return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

static void machine_tree_in(const struct disk *k, uint32_t slot, const char *under,
                            struct text *out) {
    static const char kinds[] = "?fdlo";
    const struct dir *d = k->node[slot].dir;
    struct listing *l = machine_new_listing(d);
    qsort(l->l, l->n, sizeof *l->l, machine_compare_names);
    for (size_t i = 0; i < l->n; i++) {
        struct name *name = disk_name(l->l[i].name);
        uint32_t inner = d->e[disk_find(k, slot, name)].live;
        const struct node *x = &k->node[inner];
        size_t size = strlen(under) + strlen(name->s) + 2;
        char line[128], *path = disk_raw(size);
        snprintf(path, size, "%s%s%s", under, *under ? "/" : "", name->s);
        disk_name_unref(name);
        snprintf(line, sizeof line, "%c %04o ", kinds[x->kind], (unsigned)x->live.mode);
        text_put(out, line);
        if (x->kind == AGT_FILE_REGULAR) {
            snprintf(line, sizeof line, "%llu %016llx ", (unsigned long long)x->live.size,
                     (unsigned long long)machine_hash(x));
            text_put(out, line);
        }
        text_put(out, path);
        if (x->target) {
            text_put(out, " -> ");
            text_put(out, x->target->s);
        }
        text_put(out, "\n");
        if (x->dir) machine_tree_in(k, inner, path, out);
        free(path);
    }
    free(l);
}

char *machine_tree(const machine *m, const char *path) {
    struct place at;
    struct text out = {0};
    if (machine_resolve(m, path, true, &at) < 0 || !at.slot || !m->disk.node[at.slot].dir)
        return NULL;
    text_put(&out, "");
    machine_tree_in(&m->disk, at.slot, "", &out);
    return out.s;
}

/* ---- the books ---- */

uint64_t machine_pages(const machine *m) {
    uint64_t n = 0;
    for (uint32_t i = 1; i < m->disk.count; i++) {
        const struct blob *b = m->disk.node[i].now;
        for (uint64_t j = 0; b && j < (uint64_t)b->n * DISK_CHUNK; j++)
            n += disk_page(b, j) != NULL;
    }
    return n;
}

const char *machine_verify(const machine *m) {
    const struct disk *k = &m->disk;
    struct counts {
        uint32_t live, disk, opens, pins;
    } *c = disk_alloc(k->count * sizeof *c);
    const char *wrong = NULL;
    uint64_t file_changes = 0, used = 0;
    for (uint32_t i = 1; i < k->count; i++) {
        const struct node *x = &k->node[i];
        if (!x->used) continue;
        used += x->charged;
        file_changes += x->pend ? x->pend->n : 0;
        uint32_t live = 0, disk = 0;
        for (uint32_t j = 0; x->dir && j < x->dir->used; j++) {
            const struct entry *e = &x->dir->e[j];
            if (!e->name) continue;
            if (!e->live && !e->disk && !e->pending) wrong = "an entry is nothing to anybody";
            if (disk_find(k, i, e->name) != j) wrong = "an entry is not found by its name";
            if ((e->pending != 0) != (e->last != 0)) wrong = "an entry's last change";
            if (e->live && k->node[e->live].dir && k->node[e->live].parent != i)
                wrong = "a folder's parent";
            if (e->disk && k->node[e->disk].dir && k->node[e->disk].disk_parent != i)
                wrong = "a folder's parent on the disk";
            live += e->live != 0;
            disk += e->disk != 0;
            c[e->live].live++;
            c[e->disk].disk++;
        }
        if (x->dir && (live != x->dir->live || disk != x->dir->disk)) wrong = "a folder's counts";
    }
    for (size_t i = 0; i < m->opens; i++)
        if (m->open[i].refs) c[m->open[i].slot].opens++;
    for (size_t i = 0; i < k->changes; i++) {
        for (uint32_t j = 0; j < k->change[i].n; j++) {
            c[k->change[i].t[j].dir].pins++;
            c[k->change[i].t[j].after].pins++;
        }
        c[k->change[i].victim].pins++;
    }
    c[DISK_ROOT].live++;
    c[DISK_ROOT].disk++;
    for (uint32_t i = 1; i < k->count; i++) {
        const struct node *x = &k->node[i];
        if (!x->used && (c[i].live || c[i].disk || c[i].opens || c[i].pins))
            wrong = "a freed node is in use";
        if (!x->used) continue;
        if (x->links != c[i].live) wrong = "links";
        if (x->disk_links != c[i].disk) wrong = "links on the disk";
        if (x->opens != c[i].opens) wrong = "open files";
        if (x->pins != c[i].pins) wrong = "pins";
        if (!(x->links + x->disk_links + x->opens + x->pins)) wrong = "a node nobody needs";
    }
    if (file_changes != k->file_changes) wrong = "the number of pending changes of files";
    if (used != k->used) wrong = "bytes in use";
    free(c);
    return wrong;
}

/* ---- memory ---- */

#define MEMORY_GUARD 0x5afe5afe5afe5afeull

struct block {
    struct block *next, **link;
    size_t size;
    uint64_t guard;
};

static void memory_check(const struct block *b, size_t old_size) {
    uint64_t behind;
    memcpy(&behind, (const unsigned char *)(b + 1) + b->size, sizeof behind);
    if (b->guard != MEMORY_GUARD) machine_bug(NULL, "memory: bytes before a block were written");
    if (behind != MEMORY_GUARD) machine_bug(NULL, "memory: bytes behind a block were written");
    if (b->size != old_size)
        machine_bug(NULL, "memory: a block of %zu bytes is given back as one of %zu", b->size,
                    old_size);
}

static void memory_drop(machine_memory *mem, struct block *b) {
    *b->link = b->next;
    if (b->next) b->next->link = b->link;
    mem->live_bytes -= b->size;
    mem->live_blocks--;
    free(b);
}

static void *memory_resize(void *ctx, void *ptr, size_t old_size, size_t new_size) {
    machine_memory *mem = ctx;
    struct block *old = ptr ? (struct block *)ptr - 1 : NULL;
    const uint64_t guard = MEMORY_GUARD;
    if (old) memory_check(old, old_size);
    if (!new_size) {
        if (old) memory_drop(mem, old);
        return NULL;
    }
    mem->calls++;
    if (mem->fail_at &&
        (mem->calls == mem->fail_at || (mem->forever && mem->calls > mem->fail_at))) {
        mem->failed++;
        return NULL;
    }
    if (new_size > SIZE_MAX / 2) return NULL;
    struct block *b = malloc(sizeof *b + new_size + sizeof guard);
    if (!b) return NULL;
    unsigned char *data = (unsigned char *)(b + 1);
    size_t keep = old ? old_size < new_size ? old_size : new_size : 0;
    if (keep) memcpy(data, ptr, keep);
    memset(data + keep, 0xa5, new_size - keep); /* nobody may count on zeros */
    memcpy(data + new_size, &guard, sizeof guard);
    b->size = new_size;
    b->guard = guard;
    b->next = mem->blocks_;
    b->link = (struct block **)&mem->blocks_;
    if (b->next) b->next->link = &b->next;
    mem->blocks_ = b;
    mem->live_bytes += new_size;
    mem->live_blocks++;
    if (mem->live_bytes > mem->peak_bytes) mem->peak_bytes = mem->live_bytes;
    if (old) memory_drop(mem, old);
    return data;
}

const agt_allocator *machine_memory_init(machine_memory *mem) {
    memset(mem, 0, sizeof *mem);
    mem->allocator.ctx = mem;
    mem->allocator.resize = memory_resize;
    return &mem->allocator;
}

void machine_memory_fail_at(machine_memory *mem, uint64_t n, bool forever) {
    mem->fail_at = n ? mem->calls + n : 0;
    mem->forever = forever;
    mem->failed = 0;
}

void machine_memory_release(machine_memory *mem) {
    while (mem->blocks_)
        memory_drop(mem, mem->blocks_);
}
