/* old: opening a store of agent-trace 0.1.0, and its memory. */
#include "old.h"

#define OLD_CHUNK (64u * 1024)

/* ---- memory: everything lives as long as the store ---- */

struct agt_old_chunk {
    agt_old_chunk *next;
    size_t cap, len; /* of the bytes behind this header */
};

static agt_old_chunk *old_chunk(agt_old *o, size_t len) {
    size_t cap = len > OLD_CHUNK ? len : OLD_CHUNK;
    agt_old_chunk *c = agt__alloc(&o->mem, sizeof *c + cap);
    if (!c) return NULL;
    *c = (agt_old_chunk){o->chunks, cap, 0};
    o->chunks = c;
    return c;
}

AGT_PRIVATE agt_text agt__old_keep(agt_old *o, agt_text text) {
    agt_old_chunk *c = o->chunks;
    if (text.len >= SIZE_MAX / 2) return (agt_text){NULL, 0};
    if (!c || c->cap - c->len < text.len + 1) c = old_chunk(o, text.len + 1);
    if (!c) return (agt_text){NULL, 0};
    char *copy = (char *)(c + 1) + c->len;
    if (text.len) memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    c->len += text.len + 1;
    return (agt_text){copy, text.len};
}

AGT_PRIVATE void *agt__old_add(agt_old *o, agt_old_list *list, size_t size) {
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64, bytes;
        if (!agt__mul_size(cap, size, &bytes)) return NULL;
        void *data = agt__realloc(&o->mem, list->data, list->cap * size, bytes);
        if (!data) return NULL;
        list->data = data;
        list->cap = cap;
    }
    void *item = (char *)list->data + list->count++ * size;
    memset(item, 0, size);
    return item;
}

AGT_PRIVATE void *agt__old_item(const agt_old_list *list, size_t i, size_t size) {
    return (char *)list->data + i * size;
}

static void old_list_free(agt_old *o, agt_old_list *list, size_t size) {
    agt__free(&o->mem, list->data, list->cap * size);
    memset(list, 0, sizeof *list);
}

AGT_PRIVATE void agt__old_free(agt_old *o) {
    if (o->git) agt__git_close(o->git);
    if (o->git_dir != AGT_FD_NONE) o->sys->close(o->sys->ctx, o->git_dir);
    o->git = NULL;
    o->git_dir = AGT_FD_NONE;
    old_list_free(o, &o->documents, sizeof(agt_old_document));
    old_list_free(o, &o->grants, sizeof(agt_old_grant));
    old_list_free(o, &o->events, sizeof(agt_old_event));
    old_list_free(o, &o->commits, sizeof(agt_old_commit));
    old_list_free(o, &o->changes, sizeof(agt_old_change));
    while (o->chunks) {
        agt_old_chunk *next = o->chunks->next;
        agt__free(&o->mem, o->chunks, sizeof *o->chunks + o->chunks->cap);
        o->chunks = next;
    }
}

/* ---- reading ---- */

/* The git folder: .agent-trace/repo/.git, or, where somebody made it so, .agent-trace/repo. */
static agt_status old_git_dir(agt_old *o, agt_error *err) {
    static const char *const places[] = {"repo/.git", "repo"};
    agt_stat st;
    for (size_t i = 0; i < AGT_COUNT(places); i++) {
        agt_fd fd = o->sys->walk(o->sys->ctx, o->at, places[i]);
        if (fd < 0) {
            int cls = AGT_SYS_CLASS(fd);
            if (cls == AGT_SYS_NOENT || cls == AGT_SYS_NOTDIR || cls == AGT_SYS_LOOP) continue;
            return agt__fail_io(err, fd, "cannot open .agent-trace/%s", places[i]);
        }
        if (o->sys->stat(o->sys->ctx, fd, "objects", &st) == 0 && st.kind == AGT_FILE_FOLDER) {
            o->git_dir = fd;
            return AGT_OK;
        }
        o->sys->close(o->sys->ctx, fd);
    }
    return agt__fail(err, AGT_CORRUPT,
                     "the store of agent-trace 0.1.0 has no git repository in .agent-trace/repo; "
                     "put it back from a copy, or move .agent-trace away to begin anew");
}

/* A store that has lost who it is is known by its first commit. */
static void old_identity(agt_old *o) {
    const agt_old_commit *first = AGT_OLD_ITEM(&o->commits, agt_old_commit, 0);
    if (!o->config.id[0]) agt__old_uuid(o, first->id.id, sizeof first->id.id, o->config.id);
    if (!o->config.name[0]) memcpy(o->config.name, "agent-trace-store", 18);
    if (!o->created[0]) agt__time_format(first->unix_s * 1000, o->created);
}

AGT_PRIVATE void agt__old_uuid(const agt_old *o, const void *name, size_t len, char out[37]) {
    static const unsigned char cut[5] = {8, 4, 4, 4, 12};
    unsigned char sum[32];
    char hex[32];
    size_t at = 0, to = 0;
    agt__sha256(o->cpu, name, len, sum);
    sum[6] = (unsigned char)((sum[6] & 0x0f) | 0x80); /* version 8: made of a name */
    sum[8] = (unsigned char)((sum[8] & 0x3f) | 0x80);
    agt__hex(sum, 16, hex);
    for (int i = 0; i < 5; i++) {
        memcpy(out + to, hex + at, cut[i]);
        at += cut[i];
        to += cut[i];
        out[to++] = i < 4 ? '-' : 0;
    }
}

AGT_PRIVATE agt_status agt__old_read(agt_old *o, const agt_sys *sys, agt_fd at, const agt_mem *mem,
                                     agt_error *err) {
    memset(o, 0, sizeof *o);
    o->sys = sys;
    o->at = at;
    o->mem = *mem;
    o->cpu = agt__cpu();
    o->git_dir = AGT_FD_NONE;
    agt_status st = old_git_dir(o, err);
    if (st == AGT_OK) st = agt__git_open(&o->git, sys, o->git_dir, &o->mem, o->cpu, err);
    if (st == AGT_OK) st = agt__old_files(o, err);
    if (st == AGT_OK) st = agt__old_history(o, err);
    if (st != AGT_OK) return st;
    old_identity(o);
    agt__old_match(o);
    return st;
}
