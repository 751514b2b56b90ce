/* place: what lies around a folder that has no store: another store, the index of one that is gone,
 * a git work tree. */
#ifndef AGENT_TRACE_CLI_PLACE_H
#define AGENT_TRACE_CLI_PLACE_H

#include "cli.h"

/* The folder, or the first one above it, that has a file of that name. False if none has. */
bool place_above(const char *folder, const char *name, char *out, size_t size);
/* Is that a folder itself, and no link to one? */
bool place_is_folder(const char *folder, const char *name);
/* As place_above, for an AGENT-TRACE.md that begins as those do that agent-trace makes. */
bool place_left_index(const char *folder, char *out, size_t size);
/* A folder below the store's root, where `folder` lies, that has rules of its own: a linked work
 * tree of the repository around the root, whose files are other copies of the store's documents. */
bool place_own_tree(const char *folder, const char *root, char *out, size_t size);
/* The real path of the folder or, where that is missing, of the nearest one that is there; free it.
 * `rest` gets what is missing. NULL where no folder can be. */
char *place_real(const char *folder, const char **rest);
/* May this caller make a store there, and can the index be written? Nothing was made yet. An exit
 * code; failures were reported. */
int place_check(cli *c, const char *folder, const char *actor);

#endif /* AGENT_TRACE_CLI_PLACE_H */
