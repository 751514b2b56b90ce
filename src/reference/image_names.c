/* image_names: names that a store of ours cannot hold as they are, ids for what had none, and the
 * refused bytes of agent-trace 0.1.0. */
#include "image.h"

#define NAMES_REFUSED   (64u * 1024 * 1024)
#define NAMES_SECONDS   2 /* between a refusal and the name of its file */
#define NAMES_EXTENSION ".rejected"

/* ---- paths ---- */

static void names_escape(agt_buf *b, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    agt__buf_byte(b, '%');
    agt__buf_byte(b, (unsigned char)digits[c >> 4]);
    agt__buf_byte(b, (unsigned char)digits[c & 15]);
}

/* A part of a path, each byte that no store holds as %xx; `first`: its first character, too. */
static void names_part(agt_buf *b, const char *s, size_t n, bool first) {
    size_t step, lead = first ? agt__utf8_char(s, n) : 0;
    if (n == 0) names_escape(b, '/');
    for (size_t i = 0; i < n; i += step) {
        unsigned char c = (unsigned char)s[i];
        step = agt__utf8_char(s + i, n - i);
        if (step && i >= lead && c >= 0x20 && c != 0x7f && c != '\\' &&
            !(c == 0xc2 && (unsigned char)s[i + 1] < 0xa0)) {
            agt__buf_put(b, s + i, step);
        } else {
            step = 1;
            names_escape(b, c);
        }
    }
}

/* Parts like .., .git and .agent-trace get their first character escaped, too. */
static void names_escaped(agt_buf *b, agt_text path) {
    for (size_t at = 0, end; at <= path.len; at = end + 1) {
        for (end = at; end < path.len && path.data[end] != '/'; end++) {
        }
        if (at) agt__buf_byte(b, '/');
        size_t start = b->len;
        names_part(b, path.data + at, end - at, false);
        if (b->failed || agt__path_held((const char *)b->data + start, b->len - start)) continue;
        b->len = start;
        names_part(b, path.data + at, end - at, true);
    }
}

static bool names_taken(const agt_image *m, agt_text path) {
    const agt_old *o = m->old;
    for (size_t i = 0; i < o->changes.count; i++)
        if (agt__text_eq(AGT_OLD_ITEM(&o->changes, agt_old_change, i)->path, path)) return true;
    for (size_t i = 0; i < m->names.count; i++)
        if (agt__text_eq(AGT_OLD_ITEM(&m->names, agt_image_name, i)->now, path)) return true;
    return false;
}

/* A name for what cannot even be escaped: too long, too deep. */
static void names_hashed(const agt_image *m, agt_text path, agt_buf *b) {
    unsigned char sum[32];
    char hex[16];
    agt__sha256(m->old->cpu, path.data, path.len, sum);
    agt__hex(sum, 8, hex);
    b->len = 0;
    agt__buf_text(b, "unnamed-");
    agt__buf_put(b, hex, sizeof hex);
}

AGT_PRIVATE agt_text agt__image_path(agt_image *m, agt_text path) {
    agt_text none = {NULL, 0};
    if (agt__path_held(path.data, path.len)) return path;
    for (size_t i = 0; i < m->names.count; i++) {
        const agt_image_name *known = AGT_OLD_ITEM(&m->names, agt_image_name, i);
        if (agt__text_eq(known->old, path)) return known->now;
    }
    agt_buf b = agt__buf(&m->old->mem);
    names_escaped(&b, path);
    if (!b.failed && !agt__path_held((const char *)b.data, b.len)) names_hashed(m, path, &b);
    while (!b.failed && names_taken(m, (agt_text){(const char *)b.data, b.len}))
        agt__buf_byte(&b, '~');
    agt_image_name *name = b.failed ? NULL : agt__old_add(m->old, &m->names, sizeof *name);
    if (name) {
        name->old = path;
        name->now = agt__old_keep(m->old, (agt_text){(const char *)b.data, b.len});
        none = name->now;
    }
    agt__buf_free(&b);
    return none;
}

AGT_PRIVATE agt_text agt__image_was(const agt_image *m, agt_text path) {
    for (size_t i = 0; i < m->names.count; i++) {
        const agt_image_name *known = AGT_OLD_ITEM(&m->names, agt_image_name, i);
        if (agt__text_eq(known->now, path)) return known->old;
    }
    return path;
}

/* ---- refused bytes ---- */

typedef struct names_search {
    agt_text stem;
    int64_t unix_s;
    char found[256];
} names_search;

/* "<stem>-<unix seconds>.rejected" */
static int names_candidate(void *ctx, const char *name) {
    names_search *s = ctx;
    size_t n = strlen(name), tail = sizeof NAMES_EXTENSION - 1;
    int64_t when = 0;
    if (n <= s->stem.len + 1 + tail || memcmp(name, s->stem.data, s->stem.len) != 0) return 0;
    if (name[s->stem.len] != '-' || strcmp(name + n - tail, NAMES_EXTENSION) != 0) return 0;
    for (size_t i = s->stem.len + 1; i < n - tail; i++) {
        if (name[i] < '0' || name[i] > '9' || when > AGT_TIME_MAX) return 0;
        when = when * 10 + (name[i] - '0');
    }
    int64_t apart = when > s->unix_s ? when - s->unix_s : s->unix_s - when;
    if (apart > NAMES_SECONDS || !agt__copy_text(s->found, sizeof s->found, name, n)) return 0;
    return apart == 0;
}

/* The file name without folders and its last extension. */
static agt_text names_stem(agt_text path) {
    size_t from = path.len, to = path.len;
    while (from && path.data[from - 1] != '/')
        from--;
    for (size_t i = path.len; i-- > from + 1;)
        if (path.data[i] == '.') {
            to = i;
            break;
        }
    return (agt_text){path.data + from, to - from};
}

static agt_status names_keep(agt_image *m, const agt_buf *bytes, char name[65], agt_error *err) {
    unsigned char sum[32];
    agt__sha256(m->old->cpu, bytes->data, bytes->len, sum);
    agt__hex(sum, 32, name);
    name[64] = 0;
    for (size_t i = 0; i < m->refused.count; i++)
        if (strcmp(AGT_OLD_ITEM(&m->refused, agt_image_refused, i)->name, name) == 0) return AGT_OK;
    agt_image_refused *kept = agt__old_add(m->old, &m->refused, sizeof *kept);
    if (!kept) return agt__nomem(err);
    memcpy(kept->name, name, 65);
    kept->bytes = agt__buf(&m->old->mem);
    agt__buf_put(&kept->bytes, bytes->data, bytes->len);
    return kept->bytes.failed ? agt__nomem(err) : AGT_OK;
}

AGT_PRIVATE agt_status agt__image_refused(agt_image *m, agt_text path, int64_t unix_s,
                                          const agt_oid *held, char name[65], agt_error *err) {
    const agt_old *o = m->old;
    names_search s = {names_stem(path), unix_s, {0}};
    agt_oid id;
    agt_error mine;
    name[0] = 0;
    agt_fd fd = o->sys->walk(o->sys->ctx, o->at, "rejected");
    if (fd < 0) return AGT_OK; /* no folder: nothing is left of it */
    (void)o->sys->list(o->sys->ctx, fd, names_candidate, &s);
    agt_buf bytes = agt__buf(&o->mem);
    agt_status st = AGT_NOT_FOUND;
    if (s.found[0]) st = agt__read_file(o->sys, fd, s.found, NAMES_REFUSED, &bytes, &mine);
    o->sys->close(o->sys->ctx, fd);
    if (st == AGT_OK) {
        agt__git_id(o->cpu, "blob", bytes.data, bytes.len, id.id);
        if (!held || memcmp(&id, held, sizeof id) != 0) st = names_keep(m, &bytes, name, err);
    } else if (st == AGT_NOMEM) {
        st = agt__nomem(err);
    } else {
        st = AGT_OK;
    }
    agt__buf_free(&bytes);
    return st;
}
