/* places: what stands where a part of a store belongs.
 *
 * A folder, a link or a fifo under a part's name is no damage that a disk does: somebody put it
 * there. Every command that needs the part stops. Opening says what it is, a doctor's look finds
 * all of them, and a repair moves them away and makes the parts anew.
 *
 * (1) A link is told and stays: it may lead to the part itself, which somebody moved to another
 *     disk, and a store follows no link. What it leads to would count as lost.
 * (2) What is not there is no matter of this file, and what cannot be looked at neither.
 * (3) What is moved away is looked at just before, under no lock: the locks may be among it.
 * (4) What stands in the place of the folder for all that is moved away first gets another name. */
#include "mend.h"

#include <stdio.h>

#define PLACES_MOST    100000u /* bytes of the names in one folder */
#define PLACES_DAMAGED "damaged"
#define PLACES_ASIDE   "damaged.was"

typedef struct places_part {
    const char *folder, *name; /* a name that ends with '*' is a pattern, for all that follow */
    bool is_folder;
} places_part;

static const places_part places_parts[] = {
    {"", "config.toml", false},
    {"", "journal", false},
    {"", "state", false},
    {"", "catalog.*", false},
    {"", "trace", true},
    {"trace", "0*", false},
    {"", "git", true},
    {"git", "objects", true},
    {"git/objects", "pack", true},
    {"git/objects/pack", "pack-*", false},
    {"git", "refs", true},
    {"git/refs", "heads", true},
    {"git/refs/heads", "main", false},
    {"", "unpublished", true},
    {"", "locks", true},
    {"locks", "store.lock", false},
    {"locks", "publish.lock", false},
    {"locks", "poll.lock", false},
    {"", "tmp", true},
    {"", "rejected", true},
    {"", "aside", true},
    {"", "index", true},
    {"", PLACES_DAMAGED, true},
};

/* Something that stands where a part belongs and is of another kind. */
typedef struct places_found {
    agt_fd folder;    /* where it stands, */
    const char *name; /* and its name there: in `path` */
    char path[300];   /* beneath .agent-trace */
    uint32_t kind;    /* an agt_file_kind */
    bool is_folder;   /* a folder belongs there, not a file */
} places_found;
/* False: no more. */
typedef bool (*places_fn)(void *ctx, const places_found *p);

typedef struct places_walk {
    const agt_sys *sys;
    places_fn each;
    void *ctx;
    places_found at;
} places_walk;

/* Looks at one name; false: the caller has seen enough. */
static bool places_look(places_walk *w, const places_part *p, const char *name) {
    agt_stat st;
    uint32_t wanted = p->is_folder ? AGT_FILE_FOLDER : AGT_FILE_REGULAR;
    if (w->sys->stat(w->sys->ctx, w->at.folder, name, &st) < 0 || st.kind == wanted) return true;
    int n =
        snprintf(w->at.path, sizeof w->at.path, "%s%s%s", p->folder, p->folder[0] ? "/" : "", name);
    if (n < 0 || (size_t)n >= sizeof w->at.path) return true; /* no part of ours */
    w->at.name = w->at.path + n - strlen(name);
    w->at.kind = st.kind;
    w->at.is_folder = p->is_folder;
    return w->each(w->ctx, &w->at);
}

static int places_name(void *ctx, const char *name) {
    return agt__take_name(ctx, name) || ((agt_buf *)ctx)->len > PLACES_MOST;
}

/* All names in the folder that the pattern means. */
static bool places_pattern(places_walk *w, const places_part *p, const agt_mem *mem) {
    agt_buf names = agt__buf(mem);
    size_t prefix = strlen(p->name) - 1;
    bool more = true;
    (void)w->sys->list(w->sys->ctx, w->at.folder, places_name, &names);
    for (size_t at = 0; more && at < names.len;) {
        const char *name = (const char *)names.data + at;
        at += strlen(name) + 1;
        if (strncmp(name, p->name, prefix) == 0) more = places_look(w, p, name);
    }
    agt__buf_free(&names);
    return more;
}

static void places_each(const agt_store *s, places_fn each, void *ctx) {
    const agt_sys *sys = s->sys;
    places_walk w;
    bool more = true;
    memset(&w, 0, sizeof w);
    w.sys = sys;
    w.each = each;
    w.ctx = ctx;
    for (size_t i = 0; more && i < AGT_COUNT(places_parts); i++) {
        const places_part *p = &places_parts[i];
        w.at.folder = p->folder[0] ? sys->walk(sys->ctx, s->at, p->folder) : s->at;
        if (w.at.folder < 0) continue;
        if (strchr(p->name, '*'))
            more = places_pattern(&w, p, &s->mem);
        else
            more = places_look(&w, p, p->name);
        if (w.at.folder != s->at) sys->close(sys->ctx, w.at.folder);
    }
}

static const char *places_kind(uint32_t kind) {
    switch (kind) {
    case AGT_FILE_REGULAR: return "a file";
    case AGT_FILE_FOLDER: return "a folder";
    case AGT_FILE_LINK: return "a symbolic link";
    default: return "no file and no folder";
    }
}
static const char *places_wanted(const places_found *p) {
    return p->is_folder ? "a folder" : "a file";
}

/* ---- opening ---- */

static bool places_first(void *ctx, const places_found *p) {
    places_found *first = ctx;
    *first = *p;
    first->name = NULL; /* it stood in the other one's path */
    return false;
}

AGT_PRIVATE agt_status agt__store_blame(const agt_store *s, agt_status st, agt_error *err) {
    places_found p;
    if (s->at == AGT_FD_NONE || (st != AGT_INVALID && st != AGT_CORRUPT && st != AGT_IO)) return st;
    memset(&p, 0, sizeof p);
    places_each(s, places_first, &p);
    if (!p.kind) return st;
    if (p.kind == AGT_FILE_LINK)
        return agt__fail(err, AGT_CORRUPT,
                         ".agent-trace/%s is a symbolic link, and a store follows none; put %s "
                         "there, or remove it and run 'agent-trace repair'",
                         p.path, p.is_folder ? "the folder itself" : "the file itself");
    return agt__fail(err, AGT_CORRUPT,
                     ".agent-trace/%s is %s and not %s; run 'agent-trace repair', which moves it "
                     "away",
                     p.path, places_kind(p.kind), places_wanted(&p));
}

/* ---- finding and mending ---- */

typedef struct places_tell {
    agt_findings *found;
    uint32_t links, others;
} places_tell;

static bool places_find(void *ctx, const places_found *p) {
    places_tell *f = ctx;
    bool is_link = p->kind == AGT_FILE_LINK;
    f->links += is_link;
    f->others += !is_link;
    if (!f->found) return true;
    agt__findings_add(f->found, AGT_SEVERITY_ERROR, "place",
                      is_link ? "put what it leads to in its place, or remove it; then run "
                                "'agent-trace repair'"
                              : "run 'agent-trace repair': it moves it to .agent-trace/damaged",
                      is_link ? ".agent-trace/%s is %s, and a store follows none"
                              : ".agent-trace/%s is %s and not %s",
                      p->path, places_kind(p->kind), places_wanted(p))
        ->mendable = !is_link;
    return true;
}

AGT_PRIVATE bool agt__store_find_misplaced(const agt_store *s, agt_findings *found,
                                           uint32_t *links) {
    places_tell f = {found, 0, 0};
    places_each(s, places_find, &f);
    *links = f.links;
    return f.links + f.others > 0;
}

typedef struct places_move {
    agt_mend *mend;
    agt_status status;
    agt_error *err;
} places_move;

static bool places_move_one(void *ctx, const places_found *p) {
    places_move *m = ctx;
    if (p->kind != AGT_FILE_LINK)
        m->status = agt__mend_move_away(m->mend, p->folder, p->name, m->err);
    return m->status == AGT_OK;
}

/* (4); a repair that died between the two steps left the second. */
static agt_status places_free_damaged(agt_mend *m, agt_error *err) {
    agt_stat st;
    const agt_sys *sys = m->s->sys;
    if (sys->stat(sys->ctx, m->s->at, PLACES_DAMAGED, &st) == 0 && st.kind != AGT_FILE_FOLDER &&
        st.kind != AGT_FILE_LINK) {
        int rc = sys->rename(sys->ctx, m->s->at, PLACES_DAMAGED, m->s->at, PLACES_ASIDE,
                             AGT_RENAME_NOREPLACE);
        if (rc < 0) return agt__fail_io(err, rc, "cannot move .agent-trace/" PLACES_DAMAGED);
    }
    return agt__mend_move_away(m, m->s->at, PLACES_ASIDE, err);
}

AGT_PRIVATE agt_status agt__mend_places(agt_mend *m, agt_error *err) {
    places_move move = {m, AGT_OK, err};
    agt_status st = places_free_damaged(m, err);
    if (st != AGT_OK) return st;
    places_each(m->s, places_move_one, &move);
    return move.status;
}
