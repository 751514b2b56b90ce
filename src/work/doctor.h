/* doctor: the parts of a look at a store, each adding what it finds.
 *
 *   doctor         the whole, and what the open store tells
 *   doctor_files   what lies in .agent-trace: modes, owners, kept parts, refused bytes, .gitignore
 *   doctor_left    temporaries of processes that died
 *   doctor_around  the file system, the locks, stores above and below, what lies beside documents
 */
#ifndef AGT_DOCTOR_PART_H
#define AGT_DOCTOR_PART_H

#include "../store/findings.h"
#include "../store/store.h"

typedef struct agt_visit {
    agt_doctor_options o;
    agt_findings *found;
    agt_store *parts; /* the folders; nothing in them is believed */
    const char *root;
    char give_back[96]; /* how parts that belong to another user are mended; empty: none do */
    agt_buf nested;     /* folders beneath the root that are stores, each ended by a NUL */
} agt_visit;

/* How a finding begins to say its mend where --fix does it. */
#define AGT_DOCTOR_FIX "run 'agent-trace doctor --fix'"

/* How the doctor opens the store. */
AGT_PRIVATE agt_open_options agt__doctor_options(const agt_visit *v, bool read_only);

/* ---- doctor_files.c ---- */

/* Called for what is in a tree: the open folder, the path beneath the top, its last part. True goes
 * into it, if it is a folder. */
typedef bool (*agt_visit_fn)(void *ctx, agt_fd folder, const char *path, const char *name,
                             const agt_stat *st);
/* Walks all beneath an open folder, following no link; what cannot be listed is passed by. At most
 * *names names, which is counted down; 0: there are more. AGT_NOMEM. */
AGT_PRIVATE agt_status agt__doctor_tree(const agt_visit *v, agt_fd top, uint64_t *names,
                                        agt_visit_fn each, void *ctx, agt_error *err);
AGT_PRIVATE agt_status agt__doctor_rights(agt_visit *v, agt_error *err);
AGT_PRIVATE agt_status agt__doctor_files(agt_visit *v, agt_error *err);
/* Opens the store to mend what lies in it, under both its locks; give it back with
 * agt__doctor_unlock. */
AGT_PRIVATE agt_status agt__doctor_lock(const agt_visit *v, agt_store **out, agt_error *err);
AGT_PRIVATE void agt__doctor_unlock(agt_store *s);

/* ---- doctor_left.c ---- */

AGT_PRIVATE agt_status agt__doctor_left(agt_visit *v, agt_error *err);

/* ---- doctor_around.c ---- */

/* Calls `each` for every folder above the root, the nearest first, until it says true; says that it
 * did. */
typedef bool (*agt_above_fn)(void *ctx, agt_fd folder, const char *path);
AGT_PRIVATE bool agt__doctor_above(const agt_visit *v, agt_above_fn each, void *ctx);
AGT_PRIVATE void agt__doctor_volume(agt_visit *v);
AGT_PRIVATE void agt__doctor_locks(agt_visit *v);
/* Finds stores above and below, and temporaries beside documents; fills v->nested. */
AGT_PRIVATE agt_status agt__doctor_around(agt_visit *v, agt_error *err);
/* How many documents of the open store lie in those below. */
AGT_PRIVATE agt_status agt__doctor_nested(agt_visit *v, agt_store *s, agt_error *err);

#endif /* AGT_DOCTOR_PART_H */
