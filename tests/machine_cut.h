/* machine_cut: what a power cut leaves of a disk, as machine.h promises; included by
 * machine_disk.h. First each pending change of names is kept or dropped, in order; then what no
 * name on the disk leads to is gone; then each file's record and sectors are chosen. */
#ifndef AGT_MACHINE_CUT_H
#define AGT_MACHINE_CUT_H

struct chooser {
    const machine_cut *cut;
    uint64_t last;        /* MACHINE_CUT_PREFIX: the number of the last change kept */
    uint64_t random, odd; /* MACHINE_CUT_RANDOM, and the one that is not as the others */
    unsigned style;
};

enum { STYLE_OLD, STYLE_NEW, STYLE_ANY, STYLE_ALL_BUT_ONE, STYLE_ONE, STYLE_FRONT, STYLES };

static uint32_t disk_style(struct chooser *h, unsigned style, const machine_choice *c) {
    uint32_t newest = c->options - 1;
    switch (style) {
    case STYLE_OLD: return 0;
    case STYLE_NEW: return newest;
    case STYLE_ALL_BUT_ONE:
        return c->index == h->odd ? (uint32_t)(disk_random(&h->random) % newest) : newest;
    case STYLE_ONE: return c->index == h->odd ? newest : 0;
    case STYLE_FRONT: return c->index < h->odd ? newest : 0;
    default: return (uint32_t)(disk_random(&h->random) % c->options);
    }
}

static uint32_t disk_random_choice(struct chooser *h, const machine_choice *c) {
    if (c->kind == MACHINE_CHOOSE_SIZE) {
        uint64_t r = disk_random(&h->random) % 8;
        if (r < 3) return c->options - 1;
        return r == 3 ? 0 : (uint32_t)(disk_random(&h->random) % c->options);
    }
    return disk_style(h, h->style, c);
}

/* Before the names, and before each file's sectors. */
static void disk_new_style(struct chooser *h, size_t total) {
    h->style = (unsigned)(disk_random(&h->random) % STYLES);
    h->odd = total ? disk_random(&h->random) % total : 0;
}

static uint32_t disk_choose(struct chooser *h, machine_choice_kind kind, uint64_t inode,
                            uint32_t index, uint32_t total, uint32_t options) {
    machine_choice c = {kind, inode, index, total, options};
    if (options < 2) return 0;
    uint32_t got = h->cut->mode == MACHINE_CUT_CHOOSE ? h->cut->choose(h->cut->ctx, &c)
                                                      : disk_random_choice(h, &c);
    return got < options ? got : options - 1;
}

static bool disk_asks(const struct chooser *h) {
    return h->cut->mode == MACHINE_CUT_RANDOM || h->cut->mode == MACHINE_CUT_CHOOSE;
}

static bool disk_keeps(const struct chooser *h, uint64_t seq) {
    return h->cut->mode == MACHINE_CUT_KEEP ||
           (h->cut->mode == MACHINE_CUT_PREFIX && seq <= h->last);
}

static void disk_cut_names(struct disk *k, struct chooser *h) {
    unsigned char *dropped = disk_alloc(k->changes + 1);
    disk_new_style(h, k->changes);
    for (size_t i = 0; i < k->changes; i++) {
        const struct name_change c = k->change[i];
        bool keep = !c.doomed;
        for (uint32_t j = 0; j < c.n && keep; j++) {
            size_t before = disk_change_before(k, i, j);
            keep = before == SIZE_MAX || !dropped[before];
            /* what happens where nobody finds it needs no choice */
            keep = keep && ((c.n == 2 && !c.t[j].after) || disk_reachable(k, c.t[j].dir));
        }
        keep = keep && disk_possible(k, &c);
        if (keep && disk_asks(h))
            keep = disk_choose(h, MACHINE_CHOOSE_NAME, k->node[c.t[0].dir].ino, (uint32_t)i,
                               (uint32_t)k->changes, 2) == 1;
        else if (keep)
            keep = disk_keeps(h, c.seq);
        dropped[i] = !keep;
        disk_settle(k, &c, keep);
    }
    k->changes = 0;
    free(dropped);
}

static int disk_compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The sectors below `size` that pending writes of the file touch, in order, each once. */
static size_t disk_dirty(const struct pend *p, uint64_t size, uint64_t **out) {
    size_t n = 0, cap = 0;
    uint64_t *s = NULL;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct file_change *c = &p->c[i];
        if (c->kind == FILE_ATTR || !c->n) continue;
        uint64_t from = c->off / DISK_SECTOR, to = (c->off + c->n - 1) / DISK_SECTOR;
        if (c->kind == FILE_SHRINK) to = from; /* of what was cut off, only where the cut is */
        for (uint64_t at = from; at <= to && at * DISK_SECTOR < size; at++) {
            if (n && s[n - 1] == at) continue;
            if (n == cap) s = disk_grow(s, (cap = cap ? cap * 2 : 64) * sizeof *s);
            s[n++] = at;
        }
    }
    if (n) qsort(s, n, sizeof *s, disk_compare_u64);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || s[kept - 1] != s[i]) s[kept++] = s[i];
    *out = s;
    return kept;
}

/* All that one sector may hold after the cut, given that the file's record is the one after k
 * changes. Returns how many; *v grows as needed. */
static uint32_t disk_versions(const struct node *x, uint64_t sector, uint32_t k, unsigned char **v,
                              size_t *cap) {
    uint64_t start = sector * DISK_SECTOR;
    uint32_t n = 1;
    if (!*v) *v = disk_raw(*cap = 8 * DISK_SECTOR);
    disk_blob_read(x->kept, start, *v, DISK_SECTOR);
    for (uint32_t i = 0; i < x->pend->n; i++) {
        const struct file_change *c = &x->pend->c[i];
        if (c->kind == FILE_ATTR || c->off >= start + DISK_SECTOR || c->off + c->n <= start)
            continue;
        if (c->kind == FILE_SHRINK && c->off <= start) {
            if (i >= k) break; /* the cut back is not on the disk, so nothing behind it is */
            memset(*v, 0, DISK_SECTOR);
            n = 1;
            continue;
        }
        if ((n + 1) * DISK_SECTOR > *cap) *v = disk_grow(*v, *cap *= 2);
        unsigned char *old = *v + (n - 1) * DISK_SECTOR, *now = old + DISK_SECTOR;
        memcpy(now, old, DISK_SECTOR);
        uint64_t from = c->off > start ? c->off : start;
        uint64_t to = c->off + c->n < start + DISK_SECTOR ? c->off + c->n : start + DISK_SECTOR;
        if (c->kind == FILE_WRITE)
            memcpy(now + (from - start), c->bytes->b + (from - c->off), (size_t)(to - from));
        else
            memset(now + (from - start), 0, (size_t)(to - from));
        if (memcmp(now, old, DISK_SECTOR) != 0) n++;
    }
    return n;
}

/* Which moment of the file's record survives: how many of its pending changes that includes. */
static uint32_t disk_cut_record(const struct node *x, struct chooser *h) {
    const struct pend *p = x->pend;
    uint32_t k = 0, options = 1;
    if (!disk_asks(h)) {
        while (k < p->n && disk_keeps(h, p->c[k].seq))
            k++;
        return k;
    }
    uint32_t *moment = disk_raw((p->n + 1) * sizeof *moment);
    struct attr last = x->disk;
    moment[0] = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        struct attr a = p->c[i].after;
        if (a.size == last.size && a.mode == last.mode && a.mtime == last.mtime &&
            a.ctime == last.ctime)
            continue;
        last = a;
        moment[options++] = i + 1;
    }
    k = moment[disk_choose(h, MACHINE_CHOOSE_SIZE, x->ino, 0, 1, options)];
    free(moment);
    return k;
}

static void disk_cut_sectors(struct node *x, struct chooser *h, uint32_t k, uint64_t size) {
    uint64_t *sector;
    unsigned char *versions = NULL;
    size_t cap = 0, n = disk_dirty(x->pend, size, &sector);
    struct blob *result = disk_blob_ref(x->kept);
    for (uint32_t i = 0; i < k; i++)
        if (x->pend->c[i].kind == FILE_SHRINK) disk_apply(&result, &x->pend->c[i]);
    for (size_t i = 0; i < n; i++) {
        uint32_t options = disk_versions(x, sector[i], k, &versions, &cap);
        uint32_t one =
            disk_choose(h, MACHINE_CHOOSE_SECTOR, x->ino, (uint32_t)i, (uint32_t)n, options);
        disk_blob_write(&result, sector[i] * DISK_SECTOR, versions + one * DISK_SECTOR,
                        DISK_SECTOR);
    }
    free(versions);
    free(sector);
    disk_blob_unref(x->kept);
    x->kept = result;
}

static void disk_cut_file(struct disk *k, uint32_t slot, struct chooser *h) {
    struct node *x = &k->node[slot];
    struct pend *p = x->pend;
    if (p && p->n) {
        uint32_t moment = disk_cut_record(x, h);
        struct attr a = moment ? p->c[moment - 1].after : x->disk;
        if (a.ctime < x->disk.ctime) a.ctime = x->disk.ctime;
        if (disk_asks(h)) disk_cut_sectors(x, h, moment, a.size);
        for (uint32_t i = 0; i < moment && !disk_asks(h); i++)
            disk_apply(&x->kept, &p->c[i]);
        x->disk = a;
        disk_blob_zero(&x->kept, a.size, UINT64_MAX - a.size);
    }
    disk_pend_free(k, x);
    int64_t mtime = x->live.mtime, ctime = x->live.ctime;
    x->live = x->disk;
    if (x->dir) { /* a folder's times are not followed */
        x->live.mtime = mtime;
        x->live.ctime = ctime;
    }
    disk_blob_unref(x->now);
    x->now = disk_blob_ref(x->kept);
    x->diverged = false;
    x->reserved = 0;
    disk_charge(k, x);
}

/* Marks what the disk's names lead to; frees the rest; makes the live names those of the disk. */
static void disk_rebuild(struct disk *k) {
    unsigned char *found = disk_alloc(k->count);
    uint32_t *stack = disk_raw(k->count * sizeof *stack), top = 0;
    for (uint32_t i = 1; i < k->count; i++)
        k->node[i].links = k->node[i].disk_links = k->node[i].pins = k->node[i].opens = 0;
    found[DISK_ROOT] = 1;
    k->node[DISK_ROOT].links = k->node[DISK_ROOT].disk_links = 1;
    stack[top++] = DISK_ROOT;
    while (top) {
        uint32_t slot = stack[--top];
        struct dir *d = disk_own_dir(k, slot);
        d->live = d->disk = 0;
        for (uint32_t i = 0; i < d->used; i++) {
            struct entry *e = &d->e[i];
            if (!e->name) continue;
            e->live = e->disk;
            e->pending = 0;
            e->last = 0;
            if (!e->disk) {
                disk_entry_drop(k, slot, i);
                continue;
            }
            struct node *x = &k->node[e->disk];
            d->live = ++d->disk;
            x->links = ++x->disk_links;
            if (!found[e->disk] && x->dir) {
                x->parent = x->disk_parent = slot;
                stack[top++] = e->disk;
            }
            found[e->disk] = 1;
        }
    }
    for (uint32_t i = 1; i < k->count; i++)
        if (k->node[i].used && !found[i]) disk_free_node(k, i);
    free(found);
    free(stack);
}

/* The number of the n-th pending change, in the order they were made. */
static uint64_t disk_nth(const struct disk *k, uint64_t n) {
    size_t total = k->changes + (size_t)k->file_changes, at = 0;
    if (n == 0 || total == 0) return 0;
    if (n > total) n = total;
    uint64_t *all = disk_raw(total * sizeof *all);
    for (size_t i = 0; i < k->changes; i++)
        all[at++] = k->change[i].seq;
    for (uint32_t i = 1; i < k->count; i++)
        for (uint32_t j = 0; k->node[i].pend && j < k->node[i].pend->n; j++)
            all[at++] = k->node[i].pend->c[j].seq;
    qsort(all, at, sizeof *all, disk_compare_u64);
    uint64_t seq = all[n - 1];
    free(all);
    return seq;
}

static void disk_cut(struct disk *k, const machine_cut *cut) {
    struct chooser h = {.cut = cut, .random = cut->seed};
    if (k->unsynced_kept) return;
    if (cut->mode == MACHINE_CUT_PREFIX) h.last = disk_nth(k, cut->prefix);
    disk_cut_names(k, &h);
    disk_rebuild(k);
    for (uint32_t i = 1; i < k->count; i++)
        if (k->node[i].used) disk_cut_file(k, i, &h);
}

#endif /* AGT_MACHINE_CUT_H */
