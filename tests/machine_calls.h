/* machine_calls: every call of struct agt_sys, carried out on the disk in memory; included by
 * tests/machine.c and nowhere else. machine_do_... does the work and answers as posix.c would;
 * machine_call_... puts it between machine_enter and machine_leave. */
#ifndef AGT_MACHINE_CALLS_H
#define AGT_MACHINE_CALLS_H

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
    if (!k->node[dir].links) return ERR(NOENT, ENOENT); /* removed while open */
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
    char rest[4096];
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
        size_t target_len = strlen(target), next_len = strlen(next);
        if (target_len + next_len + 2 > sizeof rest) return ERR(NAME, ENAMETOOLONG);
        memmove(rest + target_len + 1, next, next_len + 1); /* next points into rest */
        memcpy(rest, target, target_len);
        rest[target_len] = '/';
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
static uint64_t machine_room(const machine *m, const struct node *x, uint64_t offset, uint64_t n) {
    uint64_t now = x->charged, limit = m->set.capacity;
    if (!limit || offset + n <= now) return n;
    uint64_t left = limit > m->disk.used ? (limit - m->disk.used) / DISK_PAGE * DISK_PAGE : 0;
    if (offset >= now + left) return 0;
    return n < now + left - offset ? n : now + left - offset;
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
    size_t room = (size_t)machine_room(p->m, x, offset, n);
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
    if (machine_room(p->m, x, offset, n) < n) return ERR(NOSPC, ENOSPC);
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

static int64_t machine_do_may_change(machine_process *p, agt_fd fd) {
    int64_t dir = machine_dir(p, fd, "may_change");
    if (dir < 0) return dir;
    return machine_changeable(p, (uint32_t)dir);
}

static int machine_call_may_change(void *ctx, agt_fd fd) {
    RUN(int, machine_do_may_change(p, fd), MAY_CHANGE, .fd = fd);
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

static int64_t machine_do_volume(machine_process *p, agt_fd dir, agt_volume *out) {
    static const char *const kinds[] = {"", "disk", "program", "network"};
    const machine_settings *set = &p->m->set;
    int64_t found = machine_dir(p, dir, "volume");
    if (found < 0) return found;
    memset(out, 0, sizeof *out);
    out->place = set->volume ? set->volume : AGT_VOLUME_LOCAL;
    strcpy(out->kind, kinds[out->place]);
    out->read_only = set->volume_read_only;
    out->free_bytes = set->volume_free ? set->volume_free : UINT64_MAX;
    return 0;
}

static int machine_call_volume(void *ctx, agt_fd dir, agt_volume *out) {
    RUN(int, machine_do_volume(p, dir, out), VOLUME, .fd = dir);
}

/* A process that was killed is gone at once: nobody's zombie. */
static int64_t machine_do_peer(const machine_process *p, int64_t pid, agt_peer *out) {
    memset(out, 0, sizeof *out);
    out->state = AGT_PEER_ENDED;
    for (const machine_process *x = p->m->processes; x; x = x->next) {
        if (x->dead || (x->pid != pid && x->parent_pid != pid)) continue;
        out->state = AGT_PEER_RUNS;
        out->start = x->start;
        out->per_second = 100;
        if (!p->m->set.no_boot) strcpy(out->pid_space, "pid:[4026531836]");
    }
    return 0;
}

static int machine_call_peer(void *ctx, int64_t pid, agt_peer *out) {
    RUN(int, machine_do_peer(p, pid, out), PEER, .n = (uint64_t)pid);
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

/* ---- all of them ---- */

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
    .may_change = machine_call_may_change,
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
    .volume = machine_call_volume,
    .peer = machine_call_peer,
};

#endif /* AGT_MACHINE_CALLS_H */
