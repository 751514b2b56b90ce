/* veil: files from memory below .agent-trace, and the real system everywhere else. See veil.h. */
#include "veil.h"

#define VEIL_FILES      ((agt_fd)(INTPTR_MAX - 0xffffff)) /* open files and folders of ours */
#define VEIL_GENERATION 2
#define VEIL_NAME       72

enum { VEIL_AT = 0 }; /* the node that is .agent-trace */

typedef struct veil_node {
    char name[VEIL_NAME];
    uint32_t folder; /* the node it lies in */
    bool is_folder;
    const unsigned char *bytes; /* the first `len` of `size`; zeros behind them */
    uint64_t len, size;
} veil_node;

struct agt_veil {
    agt_sys sys;
    const agt_sys *under;
    agt_mem mem;
    agt_fd at; /* the real one */
    agt_old old;
    agt_image image;
    veil_node *nodes;
    uint32_t count, cap;
    agt_buf config, catalog;
    unsigned char slot[256];
};

/* ---- what it shows ---- */

static uint32_t veil_add(agt_veil *v, uint32_t folder, const char *name, const void *bytes,
                         uint64_t len, uint64_t size) {
    if (v->count == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 16;
        void *more =
            agt__realloc(&v->mem, v->nodes, v->cap * sizeof *v->nodes, cap * sizeof *v->nodes);
        if (!more) return 0;
        v->nodes = more;
        v->cap = cap;
    }
    veil_node *n = &v->nodes[v->count];
    memset(n, 0, sizeof *n);
    (void)agt__copy_text(n->name, sizeof n->name, name, strlen(name));
    n->folder = folder;
    n->is_folder = !bytes;
    n->bytes = bytes;
    n->len = len;
    n->size = size;
    return v->count++;
}

static bool veil_is(agt_fd fd) {
    return fd >= VEIL_FILES;
}

static agt_fd veil_fd(uint32_t node) {
    return VEIL_FILES + (agt_fd)node;
}

static const veil_node *veil_node_of(const agt_veil *v, agt_fd fd) {
    return &v->nodes[fd - VEIL_FILES];
}

static bool veil_find(const agt_veil *v, agt_fd dir, const char *name, uint32_t *out) {
    for (uint32_t i = 1; i < v->count; i++) {
        if (veil_fd(v->nodes[i].folder) != dir || strcmp(v->nodes[i].name, name) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

static bool veil_is_git(agt_fd dir, const char *name) {
    return dir == veil_fd(VEIL_AT) && strcmp(name, "git") == 0;
}

/* ---- the calls that differ ---- */

static agt_fd veil_open_root(void *ctx, const char *path) {
    const agt_veil *v = ctx;
    return v->under->open_root(v->under->ctx, path);
}

/* A folder .agent-trace: the one that the veil is over, or the one of a store below it. */
static agt_fd veil_enter(const agt_veil *v, agt_fd dir, uint32_t flags) {
    const agt_sys *u = v->under;
    agt_stat here, ours;
    agt_fd fd = u->open(u->ctx, dir, AGT_STORE_NAME, flags, 0);
    if (fd < 0 || u->fstat(u->ctx, fd, &here) < 0 || u->fstat(u->ctx, v->at, &ours) < 0 ||
        !agt__same_file(&here, &ours))
        return fd;
    u->close(u->ctx, fd);
    return veil_fd(VEIL_AT);
}

static agt_fd veil_open(void *ctx, agt_fd dir, const char *name, uint32_t flags, uint32_t mode) {
    const agt_veil *v = ctx;
    const agt_sys *u = v->under;
    uint32_t node;
    if (flags & ~(uint32_t)(AGT_O_READ | AGT_O_FOLDER)) return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
    if (!veil_is(dir) && strcmp(name, AGT_STORE_NAME) == 0) return veil_enter(v, dir, flags);
    if (!veil_is(dir)) return u->open(u->ctx, dir, name, flags, mode);
    if (strcmp(name, ".") == 0) return dir;
    if (veil_is_git(dir, name)) return u->open(u->ctx, v->old.git_dir, ".", flags, mode);
    if (!veil_find(v, dir, name, &node)) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    if (v->nodes[node].is_folder != ((flags & AGT_O_FOLDER) != 0))
        return v->nodes[node].is_folder ? AGT_SYS_ERR(AGT_SYS_ISDIR, 0)
                                        : AGT_SYS_ERR(AGT_SYS_NOTDIR, 0);
    return veil_fd(node);
}

static agt_fd veil_walk(void *ctx, agt_fd dir, const char *path) {
    const agt_veil *v = ctx;
    if (!veil_is(dir)) return v->under->walk(v->under->ctx, dir, path);
    if (strchr(path, '/')) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    return veil_open(ctx, dir, path, AGT_O_READ | AGT_O_FOLDER, 0);
}

static void veil_close(void *ctx, agt_fd fd) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) v->under->close(v->under->ctx, fd);
}

static int64_t veil_pread(void *ctx, agt_fd fd, void *buf, size_t n, uint64_t offset) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) return v->under->pread(v->under->ctx, fd, buf, n, offset);
    const veil_node *f = veil_node_of(v, fd);
    if (f->is_folder) return AGT_SYS_ERR(AGT_SYS_ISDIR, 0);
    if (offset >= f->size) return 0;
    if (n > f->size - offset) n = (size_t)(f->size - offset);
    size_t have = offset < f->len ? (size_t)(f->len - offset) : 0;
    if (have > n) have = n;
    if (have) memcpy(buf, f->bytes + offset, have);
    memset((char *)buf + have, 0, n - have);
    return (int64_t)n;
}

static void veil_fill(agt_fd fd, const veil_node *n, agt_stat *out) {
    memset(out, 0, sizeof *out);
    out->dev = 1;
    out->ino = (uint64_t)(fd - VEIL_FILES) + 1;
    out->size = n->size;
    out->mode = n->is_folder ? 0500 : 0400;
    out->links = 1;
    out->kind = n->is_folder ? AGT_FILE_FOLDER : AGT_FILE_REGULAR;
}

static int veil_fstat(void *ctx, agt_fd fd, agt_stat *out) {
    const agt_veil *v = ctx;
    if (!veil_is(fd)) return v->under->fstat(v->under->ctx, fd, out);
    veil_fill(fd, veil_node_of(v, fd), out);
    return 0;
}

static int veil_stat(void *ctx, agt_fd dir, const char *name, agt_stat *out) {
    const agt_veil *v = ctx;
    const agt_sys *u = v->under;
    uint32_t node;
    if (!veil_is(dir)) return u->stat(u->ctx, dir, name, out);
    if (veil_is_git(dir, name)) return u->fstat(u->ctx, v->old.git_dir, out);
    if (!veil_find(v, dir, name, &node)) return AGT_SYS_ERR(AGT_SYS_NOENT, 0);
    veil_fill(veil_fd(node), &v->nodes[node], out);
    return 0;
}

static int veil_list(void *ctx, agt_fd dir, int (*each)(void *each_ctx, const char *name),
                     void *each_ctx) {
    const agt_veil *v = ctx;
    int rc = 0;
    if (!veil_is(dir)) return v->under->list(v->under->ctx, dir, each, each_ctx);
    for (uint32_t i = 1; i < v->count && rc == 0; i++)
        if (veil_fd(v->nodes[i].folder) == dir) rc = each(each_ctx, v->nodes[i].name);
    return rc;
}

/* ---- the calls that write: (1) ---- */

static int64_t veil_pwrite(void *ctx, agt_fd fd, const void *buf, size_t n, uint64_t offset) {
    (void)ctx, (void)fd, (void)buf, (void)n, (void)offset;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_sync(void *ctx, agt_fd fd) {
    (void)ctx, (void)fd;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_truncate(void *ctx, agt_fd fd, uint64_t size) {
    (void)ctx, (void)fd, (void)size;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_reserve(void *ctx, agt_fd fd, uint64_t offset, uint64_t n) {
    (void)ctx, (void)fd, (void)offset, (void)n;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_set_mode(void *ctx, agt_fd fd, uint32_t mode) {
    (void)ctx, (void)fd, (void)mode;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_rename(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to,
                       int flag) {
    (void)ctx, (void)from_dir, (void)from, (void)to_dir, (void)to, (void)flag;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_link(void *ctx, agt_fd from_dir, const char *from, agt_fd to_dir, const char *to) {
    (void)ctx, (void)from_dir, (void)from, (void)to_dir, (void)to;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_remove(void *ctx, agt_fd dir, const char *name) {
    (void)ctx, (void)dir, (void)name;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_make_folder(void *ctx, agt_fd dir, const char *name, uint32_t mode) {
    (void)ctx, (void)dir, (void)name, (void)mode;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_may_change(void *ctx, agt_fd dir) {
    (void)ctx, (void)dir;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}
static int veil_lock(void *ctx, agt_fd fd, int kind) {
    (void)ctx, (void)fd, (void)kind;
    return AGT_SYS_ERR(AGT_SYS_ACCESS, 0);
}

/* ---- the rest is the real system's ---- */

static int veil_has_writer(void *ctx, agt_fd fd) {
    const agt_veil *v = ctx;
    return veil_is(fd) ? AGT_SYS_ERR(AGT_SYS_NOSYS, 0) : v->under->has_writer(v->under->ctx, fd);
}
static int64_t veil_now(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->now_unix_ms(v->under->ctx);
}
static int64_t veil_mono(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->mono_ns(v->under->ctx);
}
static void veil_sleep(void *ctx, int64_t ns) {
    const agt_veil *v = ctx;
    v->under->sleep_ns(v->under->ctx, ns);
}
static int veil_random(void *ctx, void *buf, size_t n) {
    const agt_veil *v = ctx;
    return v->under->random(v->under->ctx, buf, n);
}
static int64_t veil_pid(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->pid(v->under->ctx);
}
static int veil_process(void *ctx, agt_process *out) {
    const agt_veil *v = ctx;
    return v->under->process(v->under->ctx, out);
}
static int veil_path_of(void *ctx, agt_fd dir, char *out, size_t size) {
    const agt_veil *v = ctx;
    if (veil_is(dir)) return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
    return v->under->path_of(v->under->ctx, dir, out, size);
}
static void *veil_mutex_new(void *ctx) {
    const agt_veil *v = ctx;
    return v->under->mutex_new(v->under->ctx);
}
static void veil_mutex_free(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_free(v->under->ctx, mutex);
}
static void veil_mutex_lock(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_lock(v->under->ctx, mutex);
}
static void veil_mutex_unlock(void *ctx, void *mutex) {
    const agt_veil *v = ctx;
    v->under->mutex_unlock(v->under->ctx, mutex);
}
static int veil_volume(void *ctx, agt_fd dir, agt_volume *out) {
    const agt_veil *v = ctx;
    if (veil_is(dir) || !v->under->volume) return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
    return v->under->volume(v->under->ctx, dir, out);
}

static int veil_peer(void *ctx, int64_t pid, agt_peer *out) {
    const agt_veil *v = ctx;
    if (!v->under->peer) return AGT_SYS_ERR(AGT_SYS_NOSYS, 0);
    return v->under->peer(v->under->ctx, pid, out);
}

static const agt_sys veil_calls = {sizeof(agt_sys),
                                   NULL,
                                   veil_open_root,
                                   veil_open,
                                   veil_walk,
                                   veil_close,
                                   veil_pread,
                                   veil_pwrite,
                                   veil_sync,
                                   veil_truncate,
                                   veil_reserve,
                                   veil_stat,
                                   veil_fstat,
                                   veil_set_mode,
                                   veil_rename,
                                   veil_link,
                                   veil_remove,
                                   veil_remove,
                                   veil_make_folder,
                                   veil_list,
                                   veil_has_writer,
                                   veil_may_change,
                                   veil_lock,
                                   veil_now,
                                   veil_mono,
                                   veil_sleep,
                                   veil_random,
                                   veil_pid,
                                   veil_process,
                                   veil_path_of,
                                   veil_mutex_new,
                                   veil_mutex_free,
                                   veil_mutex_lock,
                                   veil_mutex_unlock,
                                   veil_volume,
                                   veil_peer,
                                   NULL,
                                   NULL,
                                   NULL};

/* ---- making it ---- */

AGT_PRIVATE void agt__veil_config(const agt_old *o, agt_buf *out) {
    const agt_config *c = &o->config;
    agt__buf_text(out, "[store]\nid = ");
    agt__toml_put_string(out, c->id, strlen(c->id));
    agt__buf_text(out, "\nname = ");
    agt__toml_put_string(out, c->name, strlen(c->name));
    agt__buf_text(out, "\ncreated = ");
    agt__toml_put_string(out, o->created, strlen(o->created));
    agt__buf_text(out, "\nagent_trace_version = \"" AGENT_TRACE_VERSION "\"\nformat = 2\n\n"
                       "[polling]\ninterval_ms = ");
    agt__buf_u64(out, (uint64_t)c->interval_ms);
    agt__buf_text(out, c->polling ? "\nenabled = true\n" : "\nenabled = false\n");
}

AGT_PRIVATE void agt__veil_header(const agt_image *m, const agt_oid *head,
                                  agt_journal_header *out) {
    const agt_image_segment *last =
        m->segments.count ? AGT_OLD_ITEM(&m->segments, agt_image_segment, m->segments.count - 1)
                          : NULL;
    memset(out, 0, sizeof *out);
    out->generation = VEIL_GENERATION;
    out->capacity = AGT_JOURNAL_BYTES;
    out->next_seq = m->next_seq;
    out->trace.segment = last ? last->first_seq : 1;
    out->trace.offset = last ? m->lines.len - last->at : 0;
    memcpy(out->trace.prev, m->prev, 32);
    out->catalog = VEIL_GENERATION;
    out->packed_seq = m->next_seq - 1;
    out->packed_head = *head;
    (void)agt__unhex(m->replica, 16, out->replica, 8);
}

static void veil_segments(agt_veil *v, uint32_t folder, bool *good) {
    const agt_image *m = &v->image;
    for (size_t i = 0; i < m->segments.count; i++) {
        const agt_image_segment *s = AGT_OLD_ITEM(&m->segments, agt_image_segment, i);
        size_t end = i + 1 < m->segments.count ? s[1].at : m->lines.len;
        char name[AGT_SEGMENT_NAME];
        agt__segment_name(s->first_seq, name);
        *good = *good && veil_add(v, folder, name, m->lines.data + s->at, end - s->at, end - s->at);
    }
}

static agt_status veil_nodes(agt_veil *v, agt_error *err) {
    const agt_image *m = &v->image;
    agt_journal_header h;
    char name[32];
    size_t last = v->old.commits.count - 1;
    agt__veil_header(m, &AGT_OLD_ITEM(&v->old.commits, agt_old_commit, last)->id, &h);
    agt__catalog_name(h.catalog, name);
    agt__veil_config(&v->old, &v->config);
    agt_status st = agt__catalog_encode(&m->catalog, v->old.cpu, m->next_seq, &v->catalog, err);
    if (st != AGT_OK) return st;
    (void)veil_add(v, 0, AGT_STORE_NAME, NULL, 0, 0);
    uint32_t journal = veil_add(v, VEIL_AT, "journal", v->slot, sizeof v->slot, AGT_JOURNAL_BYTES);
    h.dev = 1;
    h.ino = journal + 1u;
    agt__journal_header_encode(&h, v->old.cpu, v->slot);
    uint32_t trace = veil_add(v, VEIL_AT, "trace", NULL, 0, 0);
    uint32_t rejected = veil_add(v, VEIL_AT, "rejected", NULL, 0, 0);
    bool good = journal && trace && rejected && !v->config.failed;
    good =
        good && veil_add(v, VEIL_AT, "config.toml", v->config.data, v->config.len, v->config.len);
    good = good && veil_add(v, VEIL_AT, name, v->catalog.data, v->catalog.len, v->catalog.len);
    veil_segments(v, trace, &good);
    for (size_t i = 0; i < m->refused.count; i++) {
        const agt_image_refused *r = AGT_OLD_ITEM(&m->refused, agt_image_refused, i);
        const void *bytes = r->bytes.data ? (const void *)r->bytes.data : "";
        good = good && veil_add(v, rejected, r->name, bytes, r->bytes.len, r->bytes.len);
    }
    return good ? AGT_OK : agt__nomem(err);
}

AGT_PRIVATE agt_status agt__veil_make(agt_veil **out, const agt_sys *sys, agt_fd at,
                                      const agt_mem *mem, agt_error *err) {
    agt_veil *v = agt__zalloc(mem, sizeof *v);
    *out = NULL;
    if (!v) {
        sys->close(sys->ctx, at);
        return agt__nomem(err);
    }
    v->mem = *mem;
    v->under = sys;
    v->at = at;
    v->sys = veil_calls;
    v->sys.ctx = v;
    v->config = v->catalog = agt__buf(&v->mem);
    agt_status st = agt__old_read(&v->old, sys, at, &v->mem, err);
    if (st == AGT_OK) st = agt__image_make(&v->image, &v->old, err);
    if (st == AGT_OK) st = veil_nodes(v, err);
    if (st != AGT_OK)
        agt__veil_free(v);
    else
        *out = v;
    return st;
}

AGT_PRIVATE const agt_sys *agt__veil_sys(const agt_veil *v) {
    return &v->sys;
}

AGT_PRIVATE void agt__veil_free(void *veil) {
    agt_veil *v = veil;
    agt_mem mem = v->mem;
    agt__image_free(&v->image);
    agt__old_free(&v->old);
    agt__buf_free(&v->config);
    agt__buf_free(&v->catalog);
    agt__free(&mem, v->nodes, v->cap * sizeof *v->nodes);
    v->under->close(v->under->ctx, v->at);
    agt__free(&mem, v, sizeof *v);
}
