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

#include "machine_calls.h"

/* ---- processes ---- */

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

#include "machine_others.h"

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
