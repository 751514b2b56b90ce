/* machine_others: what persons, editors and attackers do to the machine's disk, and what tests look
 * at; included by tests/machine.c and nowhere else. */
#ifndef AGT_MACHINE_OTHERS_H
#define AGT_MACHINE_OTHERS_H

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
    char *data = disk_raw((size_t)x->live.size + 1);
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

#endif /* AGT_MACHINE_OTHERS_H */
