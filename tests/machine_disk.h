/* machine_disk: the disk of tests/machine.c, included there and nowhere else.
 *
 * Two views of one tree: `live` is what processes see, `disk` is what a power cut leaves. Between
 * them stand the pending changes, each with a number from one sequence:
 *   names   one list, in order; each change touches one or two entries of folders
 *   files   a list in each node: writes, shrinks, and mere changes of size, mode or times
 *
 * (1) A node is in use while something refers to it: a live or disk entry (links, disk_links), an
 *     open file (opens), a pending change of names (pins).
 * (2) An entry remembers the number of its newest pending change, a change the number of the one
 *     before it on each of its entries: that chain is the order that a cut must keep.
 * (3) Bytes behind a file's live size are zero in `now`; holes are no page at all.
 * (4) Blobs, folders, names and pending lists are counted and shared between copies of a disk;
 *     whoever changes one makes it his own first (disk_own_...). */
#ifndef AGT_MACHINE_DISK_H
#define AGT_MACHINE_DISK_H

#include "machine_blob.h"

#define DISK_ROOT 1u /* the root folder's slot */
#define DISK_NONE UINT32_MAX
#define DISK_MANY 4096u        /* pending changes; then the oldest half is written back */
#define DISK_MAX  (1ull << 34) /* bytes in a file */

/* ---- nodes, folders, pending changes ---- */

struct attr { /* one moment of a node's own record on the disk */
    uint64_t size;
    int64_t mtime, ctime;
    uint32_t mode;
};

struct bytes {
    uint32_t refs;
    unsigned char b[];
};

enum { FILE_ATTR, FILE_WRITE, FILE_SHRINK };

struct file_change {
    uint64_t seq, off, n; /* FILE_SHRINK: the bytes that became zero */
    struct bytes *bytes;
    struct attr after;
    int kind;
};

struct pend {
    uint32_t refs, n, cap;
    struct file_change *c;
};

struct name {
    uint32_t refs, hash;
    char s[];
};

struct entry {
    struct name *name; /* NULL: free, `next` is the next free one */
    uint32_t live, disk, pending, next;
    uint64_t last; /* number of its newest pending change; 0: none */
};

struct dir {
    uint32_t refs, cap, used, free, live, disk, mask;
    struct entry *e;
    uint32_t *bucket; /* mask + 1 heads of chains through `next`, 0: none, else index + 1 */
};

struct node {
    bool used, diverged; /* diverged: a failed sync left `now` unlike disk plus pending */
    uint8_t kind;        /* an agt_file_kind */
    uint32_t dev, owner, next_free;
    uint32_t links, disk_links, opens, pins;
    uint32_t parent, disk_parent; /* of a folder */
    uint64_t ino, reserved, charged;
    struct attr live, disk;
    struct blob *now, *kept; /* of a file: the live bytes and those on the disk */
    struct pend *pend;
    struct dir *dir;
    struct name *target; /* of a symbolic link */
};

struct touch { /* one entry that a change of names touches */
    uint32_t dir, entry, after;
    uint64_t prev;
};

struct name_change {
    uint64_t seq;
    int64_t ctime;
    uint32_t n;        /* touches: 1 or 2 */
    uint32_t victim;   /* a folder that this removes: empty by then */
    bool moves;        /* needs its folders on the disk */
    bool doomed, lost; /* it never gets there; because a sync of it failed */
    struct touch t[2];
};

struct disk {
    struct node *node;
    uint32_t count, cap, free; /* slots; 0 is none */
    struct name_change *change;
    size_t changes, change_cap;
    uint64_t seq, next_ino, used, file_changes;
    int64_t stamp; /* the time that changes get */
    bool unsynced_kept, unique_inodes;
};

static struct name *disk_name(const char *s) {
    size_t n = strlen(s);
    struct name *x = disk_raw(sizeof *x + n + 1);
    x->refs = 1;
    x->hash = 2166136261u;
    for (size_t i = 0; i < n; i++)
        x->hash = (x->hash ^ (unsigned char)s[i]) * 16777619u;
    memcpy(x->s, s, n + 1);
    return x;
}

static void disk_name_unref(struct name *x) {
    if (x && --x->refs == 0) free(x);
}

static void disk_dir_unref(struct dir *d) {
    if (!d || --d->refs) return;
    for (uint32_t i = 0; i < d->used; i++)
        disk_name_unref(d->e[i].name);
    free(d->e);
    free(d->bucket);
    free(d);
}

static void disk_dir_index(struct dir *d, uint32_t i) {
    uint32_t *head = &d->bucket[d->e[i].name->hash & d->mask];
    d->e[i].next = *head;
    *head = i + 1;
}

/* The folder's entries as one's own. */
static struct dir *disk_own_dir(struct disk *k, uint32_t slot) {
    struct dir *d = k->node[slot].dir;
    if (d->refs == 1) return d;
    struct dir *mine = disk_raw(sizeof *mine);
    *mine = *d;
    mine->refs = 1;
    mine->e = disk_raw(mine->cap * sizeof *mine->e);
    mine->bucket = disk_raw((mine->mask + 1) * sizeof *mine->bucket);
    if (mine->used) memcpy(mine->e, d->e, mine->used * sizeof *mine->e);
    memcpy(mine->bucket, d->bucket, (mine->mask + 1) * sizeof *mine->bucket);
    for (uint32_t i = 0; i < mine->used; i++)
        if (mine->e[i].name) mine->e[i].name->refs++;
    d->refs--;
    return k->node[slot].dir = mine;
}

static uint32_t disk_find(const struct disk *k, uint32_t slot, const struct name *name) {
    const struct dir *d = k->node[slot].dir;
    uint32_t i = d->bucket[name->hash & d->mask];
    while (i && (d->e[i - 1].name->hash != name->hash || strcmp(d->e[i - 1].name->s, name->s)))
        i = d->e[i - 1].next;
    return i ? i - 1 : DISK_NONE;
}

/* The entry of that name, made if there is none. */
static uint32_t disk_entry(struct disk *k, uint32_t slot, struct name *name) {
    uint32_t i = disk_find(k, slot, name);
    if (i != DISK_NONE) return i;
    struct dir *d = disk_own_dir(k, slot);
    if (d->free) {
        i = d->free - 1;
        d->free = d->e[i].next;
    } else {
        if (d->used == d->cap) {
            d->cap = d->cap ? d->cap * 2 : 8;
            d->e = disk_grow(d->e, d->cap * sizeof *d->e);
        }
        i = d->used++;
    }
    memset(&d->e[i], 0, sizeof d->e[i]);
    d->e[i].name = name;
    name->refs++;
    if (d->used <= 2 * (d->mask + 1)) {
        disk_dir_index(d, i);
        return i;
    }
    d->mask = d->mask * 4 + 3;
    free(d->bucket);
    d->bucket = disk_alloc((d->mask + 1) * sizeof *d->bucket);
    for (uint32_t j = 0; j < d->used; j++)
        if (d->e[j].name) disk_dir_index(d, j);
    return i;
}

/* Forgets an entry that is nothing to anybody. */
static void disk_entry_drop(struct disk *k, uint32_t slot, uint32_t i) {
    struct dir *d = disk_own_dir(k, slot);
    struct entry *e = &d->e[i];
    if (e->live || e->disk || e->pending) return;
    uint32_t *at = &d->bucket[e->name->hash & d->mask];
    while (*at != i + 1)
        at = &d->e[*at - 1].next;
    *at = e->next;
    disk_name_unref(e->name);
    e->name = NULL;
    e->next = d->free;
    d->free = i + 1;
}

static struct dir *disk_new_dir(void) {
    struct dir *d = disk_alloc(sizeof *d);
    d->refs = 1;
    d->mask = 3;
    d->bucket = disk_alloc((d->mask + 1) * sizeof *d->bucket);
    return d;
}

static void disk_pend_free(struct disk *k, struct node *x) {
    struct pend *p = x->pend;
    x->pend = NULL;
    if (!p) return;
    k->file_changes -= p->n;
    if (--p->refs) return;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->c[i].bytes && --p->c[i].bytes->refs == 0) free(p->c[i].bytes);
    free(p->c);
    free(p);
}

static struct pend *disk_own_pend(struct node *x) {
    struct pend *p = x->pend;
    if (p && p->refs == 1) return p;
    struct pend *mine = disk_alloc(sizeof *mine);
    mine->refs = 1;
    if (p) {
        mine->n = mine->cap = p->n;
        mine->c = disk_raw(p->n * sizeof *p->c);
        memcpy(mine->c, p->c, p->n * sizeof *p->c);
        for (uint32_t i = 0; i < p->n; i++)
            if (p->c[i].bytes) p->c[i].bytes->refs++;
        p->refs--;
    }
    return x->pend = mine;
}

static uint32_t disk_new_node(struct disk *k, int kind, uint32_t mode, uint32_t dev) {
    uint32_t slot = k->free;
    if (slot) {
        k->free = k->node[slot].next_free;
    } else {
        if (k->count == k->cap) {
            k->cap = k->cap ? k->cap * 2 : 32;
            k->node = disk_grow(k->node, k->cap * sizeof *k->node);
        }
        if (k->count == 0) memset(&k->node[k->count++], 0, sizeof *k->node);
        slot = k->count++;
    }
    struct node *x = &k->node[slot];
    memset(x, 0, sizeof *x);
    x->used = true;
    x->kind = (uint8_t)kind;
    x->dev = dev;
    x->ino = k->unique_inodes ? ++k->next_ino + 1000000 : slot + 10;
    x->live.mode = mode;
    x->live.mtime = x->live.ctime = k->stamp;
    x->disk = x->live;
    if (kind == AGT_FILE_FOLDER) x->dir = disk_new_dir();
    return slot;
}

static void disk_free_node(struct disk *k, uint32_t slot) {
    struct node *x = &k->node[slot];
    /* a removed folder that is still open must not take the slot's next owner for its parent */
    for (uint32_t i = 1; x->dir && i < k->count; i++) {
        if (k->node[i].dir && k->node[i].parent == slot) k->node[i].parent = 0;
        if (k->node[i].dir && k->node[i].disk_parent == slot) k->node[i].disk_parent = 0;
    }
    disk_blob_unref(x->now);
    disk_blob_unref(x->kept);
    disk_pend_free(k, x);
    disk_dir_unref(x->dir);
    disk_name_unref(x->target);
    k->used -= x->charged;
    memset(x, 0, sizeof *x);
    x->next_free = k->free;
    k->free = slot;
}

static void disk_check_node(struct disk *k, uint32_t slot) {
    if (!slot || slot == DISK_ROOT) return;
    struct node *x = &k->node[slot];
    if (!x->used || x->links + x->disk_links + x->opens + x->pins) return;
    if (x->dir && x->dir->disk) { /* made, filled and synced, but itself never named on disk */
        for (uint32_t i = 0; i < x->dir->used; i++) {
            uint32_t inner = x->dir->e[i].name ? x->dir->e[i].disk : 0;
            if (!inner) continue;
            disk_own_dir(k, slot)->e[i].disk = 0;
            k->node[inner].disk_links--;
            disk_check_node(k, inner);
            x = &k->node[slot];
        }
    }
    disk_free_node(k, slot);
}

static void disk_charge(struct disk *k, struct node *x) {
    uint64_t size = x->live.size > x->reserved ? x->live.size : x->reserved;
    uint64_t now = (size + DISK_PAGE - 1) / DISK_PAGE * DISK_PAGE;
    k->used = k->used - x->charged + now;
    x->charged = now;
}

/* ---- changes of names ---- */

static void disk_set_live(struct disk *k, uint32_t slot, uint32_t i, uint32_t to) {
    struct dir *d = disk_own_dir(k, slot);
    uint32_t old = d->e[i].live;
    d->e[i].live = to;
    d->live += (to != 0);
    d->live -= (old != 0);
    if (to) k->node[to].links++;
    if (to && k->node[to].kind == AGT_FILE_FOLDER) k->node[to].parent = slot;
    if (old) k->node[old].links--;
}

static void disk_set_disk(struct disk *k, uint32_t slot, uint32_t i, uint32_t to) {
    struct dir *d = disk_own_dir(k, slot);
    uint32_t old = d->e[i].disk;
    d->e[i].disk = to;
    d->disk += (to != 0);
    d->disk -= (old != 0);
    if (to) k->node[to].disk_links++;
    if (to && k->node[to].kind == AGT_FILE_FOLDER) k->node[to].disk_parent = slot;
    if (old) k->node[old].disk_links--;
}

static bool disk_reachable(const struct disk *k, uint32_t slot) {
    for (uint32_t hops = 0; slot != DISK_ROOT; slot = k->node[slot].disk_parent)
        if (!slot || !k->node[slot].disk_links || ++hops > k->count) return false;
    return true;
}

/* Could the disk be like this: the folder empty that goes, no folder inside itself, nothing moved
 * from where it is found to where nobody finds it? */
static bool disk_possible(const struct disk *k, const struct name_change *c) {
    if (c->victim && k->node[c->victim].dir->disk) return false;
    for (uint32_t i = 0; i < c->n && c->moves; i++) {
        uint32_t moved = c->t[i].after, up = c->t[i].dir, hops = 0;
        if (!moved) continue;
        if (disk_reachable(k, c->t[1 - i].dir) && !disk_reachable(k, up)) return false;
        while (up && up != DISK_ROOT && up != moved && hops++ < k->count)
            up = k->node[up].disk_parent;
        if (up == moved) return false;
    }
    return true;
}

static void disk_pin(struct disk *k, const struct name_change *c, int by) {
    for (uint32_t i = 0; i < c->n; i++) {
        k->node[c->t[i].dir].pins += (uint32_t)by;
        if (c->t[i].after) k->node[c->t[i].after].pins += (uint32_t)by;
    }
    if (c->victim) k->node[c->victim].pins += (uint32_t)by;
}

/* The change leaves the list; `keep`: it reaches the disk. The caller closes the gap. */
static void disk_settle(struct disk *k, const struct name_change *c, bool keep) {
    uint32_t gone[2] = {0, 0};
    for (uint32_t i = 0; i < c->n; i++) {
        const struct touch *t = &c->t[i];
        struct entry *e = &disk_own_dir(k, t->dir)->e[t->entry];
        gone[i] = e->disk;
        if (--e->pending == 0) e->last = 0;
        if (!keep) continue;
        disk_set_disk(k, t->dir, t->entry, t->after);
        if (t->after && k->node[t->after].disk.ctime < c->ctime)
            k->node[t->after].disk.ctime = c->ctime;
    }
    for (uint32_t i = 0; i < c->n; i++)
        disk_entry_drop(k, c->t[i].dir, c->t[i].entry);
    disk_pin(k, c, -1);
    for (uint32_t i = 0; i < c->n; i++) {
        disk_check_node(k, gone[i]);
        disk_check_node(k, c->t[i].after);
        disk_check_node(k, c->t[i].dir);
    }
    disk_check_node(k, c->victim);
}

static size_t disk_change_at(const struct disk *k, size_t end, uint64_t seq) {
    size_t lo = 0, hi = end;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (k->change[mid].seq < seq)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < end && k->change[lo].seq == seq ? lo : SIZE_MAX;
}

enum { MARK_NO, MARK_WANTED, MARK_DONE };

/* The change of the same name before touch j of change i, if it is still pending and needed. What
 * gets a name after a sync that failed does not need what that lost; what loses it does: it was
 * never there. */
static size_t disk_change_before(const struct disk *k, size_t i, uint32_t j) {
    uint64_t prev = k->change[i].t[j].prev;
    size_t before = prev ? disk_change_at(k, i, prev) : SIZE_MAX;
    bool needed = before != SIZE_MAX && !(k->change[before].lost && k->change[i].t[j].after);
    return needed ? before : SIZE_MAX;
}

static void disk_settle_marked(struct disk *k, unsigned char *mark) {
    for (size_t i = 0; i < k->changes; i++) {
        if (mark[i] != MARK_WANTED) continue;
        struct name_change *c = &k->change[i];
        bool doomed = c->doomed;
        for (uint32_t j = 0; j < c->n && !doomed; j++) {
            size_t before = disk_change_before(k, i, j);
            doomed = before != SIZE_MAX && mark[before] != MARK_DONE;
        }
        c->doomed = doomed;
        if (doomed) continue;
        /* what cannot stand alone takes with it all that came before */
        for (size_t j = 0; j < i && !disk_possible(k, c); j++) {
            if (mark[j] == MARK_DONE || k->change[j].doomed) continue;
            bool free_ = true;
            for (uint32_t q = 0; q < k->change[j].n; q++) {
                size_t before = disk_change_before(k, j, q);
                free_ = free_ && (before == SIZE_MAX || mark[before] == MARK_DONE);
            }
            if (!free_ || !disk_possible(k, &k->change[j])) continue;
            mark[j] = MARK_DONE;
            disk_settle(k, &k->change[j], true);
        }
        if (!disk_possible(k, c)) {
            c->doomed = true;
            continue;
        }
        mark[i] = MARK_DONE;
        disk_settle(k, c, true);
    }
    size_t kept = 0;
    for (size_t i = 0; i < k->changes; i++)
        if (mark[i] != MARK_DONE) k->change[kept++] = k->change[i];
    k->changes = kept;
}

/* Brings the oldest `n` changes to the disk. */
static void disk_settle_oldest(struct disk *k, size_t n) {
    unsigned char *mark = disk_alloc(k->changes + 1);
    memset(mark, MARK_WANTED, n);
    disk_settle_marked(k, mark);
    free(mark);
}

static void disk_sync_names(struct disk *k, uint32_t slot) {
    if (!k->changes) return;
    unsigned char *mark = disk_alloc(k->changes);
    bool any = false;
    for (size_t i = k->changes; i-- > 0;) {
        const struct name_change *c = &k->change[i];
        for (uint32_t j = 0; j < c->n; j++)
            if (c->t[j].dir == slot) mark[i] = MARK_WANTED;
        for (uint32_t j = 0; j < c->n && mark[i]; j++) {
            size_t before = disk_change_before(k, i, j);
            if (before != SIZE_MAX) mark[before] = MARK_WANTED;
        }
        any = any || mark[i];
    }
    if (any) disk_settle_marked(k, mark);
    free(mark);
}

static void disk_doom_names(struct disk *k, uint32_t slot) {
    for (size_t i = 0; i < k->changes; i++)
        for (uint32_t j = 0; j < k->change[i].n; j++)
            if (k->change[i].t[j].dir == slot) k->change[i].doomed = k->change[i].lost = true;
}

/* Carries out a change of names: live at once, and pending. `c` has touches without `prev`. */
static void disk_change(struct disk *k, struct name_change *c) {
    uint32_t gone[2] = {0, 0};
    c->seq = ++k->seq;
    c->ctime = k->stamp;
    for (uint32_t i = 0; i < c->n; i++) {
        struct touch *t = &c->t[i];
        struct entry *e = &disk_own_dir(k, t->dir)->e[t->entry];
        gone[i] = e->live;
        t->prev = e->last;
        e->last = c->seq;
        e->pending++;
    }
    disk_pin(k, c, 1);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct touch *t = &c->t[i];
        disk_set_live(k, t->dir, t->entry, t->after);
        k->node[t->dir].live.mtime = k->node[t->dir].live.ctime = k->stamp;
        if (t->after) k->node[t->after].live.ctime = k->stamp;
    }
    for (uint32_t i = 0; i < c->n; i++)
        if (gone[i]) k->node[gone[i]].live.ctime = k->stamp;
    if (k->unsynced_kept) {
        disk_settle(k, c, true);
        return;
    }
    if (k->changes == k->change_cap) {
        k->change_cap = k->change_cap ? k->change_cap * 2 : 16;
        k->change = disk_grow(k->change, k->change_cap * sizeof *k->change);
    }
    k->change[k->changes++] = *c;
    if (k->changes == DISK_MANY) disk_settle_oldest(k, DISK_MANY / 2);
}

static uint32_t disk_entry_of(struct disk *k, uint32_t dir, const char *name) {
    struct name *n = disk_name(name);
    uint32_t i = disk_entry(k, dir, n);
    disk_name_unref(n);
    return i;
}

/* Gives a node a name: create, link, make_folder. */
static void disk_add(struct disk *k, uint32_t dir, const char *name, uint32_t slot) {
    struct name_change c = {.n = 1};
    c.t[0] = (struct touch){.dir = dir, .entry = disk_entry_of(k, dir, name), .after = slot};
    disk_change(k, &c);
}

static void disk_take_away(struct disk *k, uint32_t dir, uint32_t entry) {
    uint32_t slot = k->node[dir].dir->e[entry].live;
    struct name_change c = {.n = 1};
    c.t[0] = (struct touch){.dir = dir, .entry = entry};
    if (k->node[slot].kind == AGT_FILE_FOLDER) c.victim = slot;
    disk_change(k, &c);
}

static uint32_t disk_create(struct disk *k, uint32_t dir, const char *name, int kind, uint32_t mode,
                            uint32_t owner) {
    uint32_t slot = disk_new_node(k, kind, mode & 07777u, k->node[dir].dev);
    k->node[slot].owner = owner;
    disk_add(k, dir, name, slot);
    return slot;
}

/* ---- changes of files ---- */

static void disk_apply(struct blob **pb, const struct file_change *c) {
    if (c->kind == FILE_WRITE) disk_blob_write(pb, c->off, c->bytes->b, (size_t)c->n);
    if (c->kind == FILE_SHRINK) disk_blob_zero(pb, c->off, c->n);
}

static void disk_write_back(struct disk *k, struct node *x, uint32_t n) {
    struct pend *p = disk_own_pend(x);
    for (uint32_t i = 0; i < n; i++) {
        disk_apply(&x->kept, &p->c[i]);
        if (p->c[i].bytes && --p->c[i].bytes->refs == 0) free(p->c[i].bytes);
    }
    int64_t ctime = x->disk.ctime;
    x->disk = p->c[n - 1].after;
    if (x->disk.ctime < ctime) x->disk.ctime = ctime;
    memmove(p->c, p->c + n, (p->n - n) * sizeof *p->c);
    p->n -= n;
    k->file_changes -= n;
}

/* Notes what just happened to the live file. */
static void disk_note(struct disk *k, uint32_t slot, int kind, uint64_t off, uint64_t n) {
    struct node *x = &k->node[slot];
    if (k->unsynced_kept) return;
    struct pend *p = disk_own_pend(x);
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 4;
        p->c = disk_grow(p->c, p->cap * sizeof *p->c);
    }
    struct file_change *c = &p->c[p->n++];
    memset(c, 0, sizeof *c);
    c->seq = ++k->seq;
    c->kind = kind;
    c->after = x->live;
    if (kind == FILE_WRITE && x->diverged) { /* the cache writes whole sectors */
        n += off % DISK_SECTOR;
        off -= off % DISK_SECTOR;
        n = (n + DISK_SECTOR - 1) / DISK_SECTOR * DISK_SECTOR;
    }
    c->off = off;
    c->n = n;
    if (kind == FILE_WRITE) {
        c->bytes = disk_raw(sizeof *c->bytes + (size_t)n);
        c->bytes->refs = 1;
        disk_blob_read(x->now, off, c->bytes->b, (size_t)n);
    }
    k->file_changes++;
    if (p->n == DISK_MANY) disk_write_back(k, x, DISK_MANY / 2);
}

static void disk_write(struct disk *k, uint32_t slot, uint64_t off, const void *data, size_t n) {
    struct node *x = &k->node[slot];
    /* the same bytes once more are written once more where the disk may not have them */
    bool same = !x->diverged && disk_blob_same(x->now, off, data, n);
    if (!same) disk_blob_write(&x->now, off, data, n);
    if (off + n > x->live.size) x->live.size = off + n;
    x->live.mtime = x->live.ctime = k->stamp;
    disk_charge(k, x);
    disk_note(k, slot, same ? FILE_ATTR : FILE_WRITE, off, n);
}

static void disk_truncate(struct disk *k, uint32_t slot, uint64_t size) {
    struct node *x = &k->node[slot];
    uint64_t old = x->live.size;
    if (size < old) {
        disk_blob_zero(&x->now, size, old - size);
        x->reserved = 0;
    }
    x->live.size = size;
    x->live.mtime = x->live.ctime = k->stamp;
    disk_charge(k, x);
    if (size < old)
        disk_note(k, slot, FILE_SHRINK, size, old - size);
    else
        disk_note(k, slot, FILE_ATTR, 0, 0);
}

static void disk_sync_file(struct disk *k, struct node *x) {
    if (!x->pend || !x->pend->n) return;
    if (x->diverged) {
        disk_write_back(k, x, x->pend->n);
    } else {
        disk_blob_unref(x->kept);
        x->kept = disk_blob_ref(x->now);
        x->disk = x->live;
    }
    disk_pend_free(k, x);
}

static void disk_sync(struct disk *k, uint32_t slot) {
    disk_sync_file(k, &k->node[slot]);
    if (k->node[slot].dir) disk_sync_names(k, slot);
}

/* A sync that failed: what it should have written is gone for good. */
static void disk_lose(struct disk *k, uint32_t slot) {
    struct node *x = &k->node[slot];
    if (x->pend && x->pend->n) x->diverged = true;
    disk_pend_free(k, x);
    if (x->dir) disk_doom_names(k, slot);
}

static void disk_sync_all(struct disk *k) {
    disk_settle_oldest(k, k->changes);
    for (uint32_t i = 1; i < k->count; i++)
        if (k->node[i].used) disk_sync_file(k, &k->node[i]);
}

#include "machine_cut.h"

/* ---- whole disks ---- */

static void disk_init(struct disk *k, bool unsynced_kept, bool unique_inodes, int64_t stamp) {
    memset(k, 0, sizeof *k);
    k->unsynced_kept = unsynced_kept;
    k->unique_inodes = unique_inodes;
    k->stamp = stamp;
    uint32_t root = disk_new_node(k, AGT_FILE_FOLDER, 0755, 1);
    k->node[root].parent = k->node[root].disk_parent = root;
    k->node[root].links = k->node[root].disk_links = 1;
}

static void disk_free(struct disk *k) {
    for (uint32_t i = 1; i < k->count; i++)
        if (k->node[i].used) disk_free_node(k, i);
    free(k->node);
    free(k->change);
    memset(k, 0, sizeof *k);
}

static void disk_copy(struct disk *to, const struct disk *from) {
    *to = *from;
    to->node = disk_raw(from->cap * sizeof *to->node);
    memcpy(to->node, from->node, from->count * sizeof *to->node);
    to->change_cap = from->changes;
    to->change = disk_raw(from->changes * sizeof *to->change);
    if (from->changes) memcpy(to->change, from->change, from->changes * sizeof *to->change);
    for (uint32_t i = 1; i < to->count; i++) {
        struct node *x = &to->node[i];
        if (!x->used) continue;
        disk_blob_ref(x->now);
        disk_blob_ref(x->kept);
        if (x->pend) x->pend->refs++;
        if (x->dir) x->dir->refs++;
        if (x->target) x->target->refs++;
    }
    for (uint32_t i = 1; i < to->count; i++) {
        if (!to->node[i].used || !to->node[i].opens) continue;
        to->node[i].opens = 0;
        disk_check_node(to, i);
    }
}

#endif /* AGT_MACHINE_DISK_H */
