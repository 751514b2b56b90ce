/* upgrade_build: the parts of the new store, in .agent-trace/upgrade, each synced. */
#include "upgrade.h"

#define BUILD_CHUNK   (32u * 1024 * 1024) /* bytes of content in one pack */
#define BUILD_COMMITS 2000u

/* ---- git ---- */

typedef struct build_run {
    agt_upgrading *u;
    agt_git *git;
    agt_commit_text text;
    agt_buf bytes, scratch;
    agt_oid head;
    bool has_head, begun;
    size_t commits;
    uint64_t put; /* bytes since the transaction began */
} build_run;

/* A version's bytes: from the old repository or, where that lost them, from the document, if it
 * still has them. */
static agt_status build_bytes(build_run *b, const agt_event *e, const agt_oid *blob, bool *found,
                              agt_error *err) {
    agt_upgrading *u = b->u;
    agt_error mine;
    agt_oid id;
    b->bytes.len = 0;
    *found = true;
    agt_status st = agt__git_read(u->old.git, blob, &b->bytes, &mine);
    if (st == AGT_OK) return st;
    if (st == AGT_NOMEM || st == AGT_IO) return agt__answer(st, &mine, err);
    char folder[AGT_MAX_PATH + 1];
    agt_text was = agt__image_was(&u->image, e->path);
    size_t cut = was.len;
    while (cut && was.data[cut - 1] != '/')
        cut--;
    *found = false;
    b->bytes.len = 0;
    if (!agt__copy_text(folder, sizeof folder, was.data, cut ? cut - 1 : 0)) return AGT_OK;
    agt_fd fd = agt__walk_folder(u->sys, u->root, folder, false);
    if (fd < 0) return AGT_OK;
    char leaf[AGT_MAX_PATH + 1];
    (void)agt__copy_text(leaf, sizeof leaf, was.data + cut, was.len - cut);
    st = agt__read_file(u->sys, fd, leaf, AGT_MAX_DOCUMENT, &b->bytes, &mine);
    u->sys->close(u->sys->ctx, fd);
    if (st == AGT_NOMEM) return agt__answer(st, &mine, err);
    if (st != AGT_OK) return AGT_OK;
    agt__git_id(u->old.cpu, "blob", b->bytes.data, b->bytes.len, id.id);
    *found = memcmp(&id, blob, sizeof id) == 0;
    return AGT_OK;
}

static agt_status build_version(build_run *b, const agt_event *e, agt_error *err) {
    agt_oid blob;
    bool found;
    if (!e->blob.data) return agt__git_remove(b->git, e->path.data, e->path.len, err);
    (void)agt__unhex(e->blob.data, e->blob.len, blob.id, 20);
    agt_status st = build_bytes(b, e, &blob, &found, err);
    if (st != AGT_OK) return st;
    b->put += b->bytes.len;
    const void *bytes = b->bytes.data ? (const void *)b->bytes.data : "";
    return agt__git_put(b->git, e->path.data, e->path.len, &blob, found ? bytes : NULL,
                        found ? b->bytes.len : 0, err);
}

static agt_status build_write(build_run *b, agt_error *err) {
    if (!b->begun) return AGT_OK;
    b->begun = false;
    b->commits = 0;
    b->put = 0;
    return agt__git_write(b->git, AGT_GIT_PACK, err);
}

/* One record, one commit. */
static agt_status build_commit(build_run *b, const agt_image_record *r, agt_error *err) {
    agt_event e = AGT_EVENT_INIT;
    const char *line = (const char *)b->u->image.lines.data + r->at, *end = line + r->len;
    agt_status st = AGT_OK;
    if (b->begun && (b->commits >= BUILD_COMMITS || b->put > BUILD_CHUNK)) st = build_write(b, err);
    if (st == AGT_OK && !b->begun) {
        st = agt__git_begin(b->git, b->has_head ? &b->head : NULL, err);
        b->begun = st == AGT_OK;
    }
    for (bool first = true; st == AGT_OK && line < end; first = false) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = newline ? (size_t)(newline - line) + 1 : (size_t)(end - line);
        st = agt__event_parse(line, n, &b->scratch, &e, err);
        if (st == AGT_OK) agt__commit_event(&b->text, first, &e, line, n);
        if (st == AGT_OK && e.version) st = build_version(b, &e, err);
        line += n;
    }
    if (st == AGT_OK) st = agt__commit_make(&b->text, b->git, r->recorded_ms, &b->head, err);
    b->has_head = b->has_head || st == AGT_OK;
    b->commits++;
    return st;
}

static agt_status build_git(agt_upgrading *u, agt_fd dir, agt_error *err) {
    build_run b = {.u = u, .text = agt__commit_text(&u->mem)};
    const agt_old_list *records = &u->image.records;
    b.bytes = b.scratch = agt__buf(&u->mem);
    agt_status st = agt__git_init(u->sys, dir, &u->mem, err);
    if (st == AGT_OK) st = agt__git_open(&b.git, u->sys, dir, &u->mem, u->old.cpu, err);
    for (size_t i = 0; st == AGT_OK && i < records->count; i++)
        st = build_commit(&b, AGT_OLD_ITEM(records, agt_image_record, i), err);
    if (st == AGT_OK) st = build_write(&b, err);
    if (st == AGT_OK && b.has_head) st = agt__git_set_head(b.git, &b.head, NULL, true, err);
    if (b.git) agt__git_close(b.git);
    agt__commit_free(&b.text);
    agt__buf_free(&b.bytes);
    agt__buf_free(&b.scratch);
    u->head = b.head;
    return st;
}

/* ---- the other parts ---- */

/* Makes a folder in upgrade/ and calls what fills it. */
static agt_status build_folder(agt_upgrading *u, const char *name,
                               agt_status (*fill)(agt_upgrading *u, agt_fd dir, agt_error *err),
                               agt_error *err) {
    agt_fd fd;
    agt_status st = agt__open_folder(u->sys, u->build, name, true, &fd, err);
    if (st != AGT_OK) return st;
    st = fill(u, fd, err);
    int rc = st == AGT_OK ? u->sys->sync(u->sys->ctx, fd) : 0;
    if (rc < 0) st = agt__fail_io(err, rc, "cannot sync .agent-trace/upgrade/%s", name);
    u->sys->close(u->sys->ctx, fd);
    return st;
}

static agt_status build_trace(agt_upgrading *u, agt_fd dir, agt_error *err) {
    const agt_image *m = &u->image;
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < m->segments.count; i++) {
        const agt_image_segment *s = AGT_OLD_ITEM(&m->segments, agt_image_segment, i);
        size_t end = i + 1 < m->segments.count ? s[1].at : m->lines.len;
        char name[AGT_SEGMENT_NAME];
        agt__segment_name(s->first_seq, name);
        st = agt__write_file(u->sys, dir, name, m->lines.data + s->at, end - s->at, true, err);
    }
    return st;
}

static agt_status build_rejected(agt_upgrading *u, agt_fd dir, agt_error *err) {
    agt_status st = AGT_OK;
    for (size_t i = 0; st == AGT_OK && i < u->image.refused.count; i++) {
        const agt_image_refused *r = AGT_OLD_ITEM(&u->image.refused, agt_image_refused, i);
        const void *bytes = r->bytes.data ? (const void *)r->bytes.data : "";
        st = agt__write_file(u->sys, dir, r->name, bytes, r->bytes.len, true, err);
    }
    return st;
}

static agt_status build_files(agt_upgrading *u, agt_error *err) {
    char name[32];
    agt_journal_header h;
    agt_buf b = agt__buf(&u->mem);
    agt__veil_header(&u->image, &u->head, &h);
    agt__catalog_name(h.catalog, name);
    int rc = u->sys->random(u->sys->ctx, h.replica, sizeof h.replica);
    agt_status st = rc < 0 ? agt__fail_io(err, rc, "cannot get random bytes") : AGT_OK;
    if (st == AGT_OK) st = agt__catalog_encode(&u->image.catalog, u->old.cpu, h.next_seq, &b, err);
    if (st == AGT_OK) st = agt__write_file(u->sys, u->build, name, b.data, b.len, true, err);
    if (st == AGT_OK) st = agt__journal_create(u->sys, u->build, u->old.cpu, &u->mem, &h, err);
    b.len = 0;
    agt__veil_config(&u->old, &b);
    if (st == AGT_OK && b.failed) st = agt__nomem(err);
    if (st == AGT_OK)
        st = agt__write_file(u->sys, u->build, "config.toml", b.data, b.len, true, err);
    agt__buf_free(&b);
    return st;
}

AGT_PRIVATE agt_status agt__upgrade_build(agt_upgrading *u, agt_error *err) {
    agt_status st = agt__open_folder(u->sys, u->at, AGT_UPGRADE_FOLDER, true, &u->build, err);
    if (st == AGT_OK) st = build_folder(u, "git", build_git, err);
    if (st == AGT_OK) st = build_folder(u, "trace", build_trace, err);
    if (st == AGT_OK) st = build_folder(u, "rejected", build_rejected, err);
    return st == AGT_OK ? build_files(u, err) : st;
}
