/* upgrade: a store of agent-trace 0.1.0 becomes one of ours.
 *
 * Everything is made beside, in .agent-trace/upgrade, and synced. Then what stands in nobody's way
 * moves up (git, trace, catalog, journal), and one rename puts our config.toml in the place of the
 * old one: THE commit point. Before it the store is the old one, untouched; after it, ours. Last,
 * the old parts move to .agent-trace/backup-0.1.0.
 *
 * (1) A rerun finishes what was committed, and else begins again. upgrade/moving says that parts
 *     moved up, so that only what we put there is taken away again.
 * (2) Nothing of the old store is deleted, and no document is touched. What is on disk and differs
 *     from the newest version is somebody's edit, as always. The store is closed to others, and
 *     hidden from a git around it before the root's .git goes, which hid it till then.
 * (3) While a process leads, agent-trace 0.1.0 or one of ours by either kind of poll lock, nothing
 *     is done: the locks are asked. */
#ifndef AGT_UPGRADE_H
#define AGT_UPGRADE_H

#include "veil.h"

#define AGT_UPGRADE_FOLDER "upgrade"
#define AGT_UPGRADE_BACKUP "backup-0.1.0"
#define AGT_UPGRADE_MOVING "moving"

typedef struct agt_upgrading {
    const agt_sys *sys;
    agt_mem mem;
    agt_fd root, at, locks, build; /* the folder, .agent-trace, its locks/ and upgrade/ */
    agt_flock poll, store;
    agt_old old;
    agt_image image;
    agt_oid head;   /* the newest commit of ours */
    bool link_left; /* the root's .git leads to some other repository of this kind */
    bool link_gone;
    agt_buf report;
} agt_upgrading;

/* upgrade_build.c: makes all parts in upgrade/, durably. */
AGT_PRIVATE agt_status agt__upgrade_build(agt_upgrading *u, agt_error *err);
/* upgrade_move.c: takes away what an earlier try left; moves up; commits; clears away. */
AGT_PRIVATE agt_status agt__upgrade_begin_anew(agt_upgrading *u, agt_error *err);
AGT_PRIVATE agt_status agt__upgrade_commit(agt_upgrading *u, agt_error *err);
AGT_PRIVATE agt_status agt__upgrade_finish(agt_upgrading *u, agt_error *err);
/* Removes a file or a folder with all that is in it; not there is AGT_OK. */
AGT_PRIVATE agt_status agt__upgrade_remove(agt_upgrading *u, agt_fd dir, const char *name,
                                           agt_error *err);
/* upgrade_report.c: what a person should know, a finding a line, each with its mend. */
AGT_PRIVATE agt_status agt__upgrade_report(agt_upgrading *u, agt_error *err);

#endif /* AGT_UPGRADE_H */
