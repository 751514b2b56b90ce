/* sys: the operating system behind one struct (declared in agent_trace.h under AGENT_TRACE_SYS).
 * posix.c is the only file of the library with OS headers. What stands here are the helpers every
 * floor above uses with any agt_sys. */
#ifndef AGT_SYS_PART_H
#define AGT_SYS_PART_H

#include "../base/base.h"

/* The given one, or the operating system for NULL. */
AGT_PRIVATE const agt_sys *agt__sys_or_os(const agt_sys *sys);

/* Writes all n bytes; goes on after short writes. 0 or a negative AGT_SYS_ERR. */
AGT_PRIVATE int agt__write_all(const agt_sys *sys, agt_fd fd, const void *data, size_t n,
                               uint64_t offset);
/* Reads up to n bytes, fewer only at the end of the file. The count or a negative AGT_SYS_ERR. */
AGT_PRIVATE int64_t agt__read_all(const agt_sys *sys, agt_fd fd, void *data, size_t n,
                                  uint64_t offset);
/* Reads a whole regular file of at most `max` bytes behind what `out` holds. AGT_NOT_FOUND,
 * AGT_LIMIT, AGT_INVALID (no regular file), AGT_NOMEM, AGT_IO. */
AGT_PRIVATE agt_status agt__read_file(const agt_sys *sys, agt_fd dir, const char *name, size_t max,
                                      agt_buf *out, agt_error *err);
/* Passes on what an open of `name` in `dir` failed with, rc. Where that was denied because the part
 * belongs to another user than its folder, as one that root made, the message says so and names the
 * mend. For what is in .agent-trace; err may be NULL. */
AGT_PRIVATE agt_status agt__say_owner(const agt_sys *sys, agt_fd dir, const char *name, int64_t rc,
                                      agt_status status, agt_error *err);
/* Are they one file, under whatever names? */
AGT_PRIVATE bool agt__same_file(const agt_stat *a, const agt_stat *b);
/* Writes a file of ours atomically: `name.tmp` beside it, synced if `durable`, renamed, folder
 * synced if `durable`. Mode 0600. */
AGT_PRIVATE agt_status agt__write_file(const agt_sys *sys, agt_fd dir, const char *name,
                                       const void *data, size_t n, bool durable, agt_error *err);
/* Opens a sub-folder of ours, making it (mode 0700) if `make`. */
AGT_PRIVATE agt_status agt__open_folder(const agt_sys *sys, agt_fd dir, const char *name, bool make,
                                        agt_fd *out, agt_error *err);
/* For sys->list: appends each name with its NUL to the agt_buf that ctx is. */
AGT_PRIVATE int agt__take_name(void *ctx, const char *name);
#define AGT_STORE_NAME ".agent-trace"

/* Writes a .gitignore into the open folder .agent-trace that hides it, if there is none: a git
 * repository around it sees nothing of it, `git clean` leaves it alone, and nothing in that
 * repository is touched for it. */
AGT_PRIVATE agt_status agt__hide_folder(const agt_sys *sys, agt_fd at, agt_error *err);
/* As agt__open_folder for .agent-trace, hidden if it is made. */
AGT_PRIVATE agt_status agt__open_private(const agt_sys *sys, agt_fd root, bool make, agt_fd *out,
                                         agt_error *err);
/* Opens the folder `path` ("" is dir itself: a new descriptor), making what is missing (0777 less
 * umask) if `make`. Follows no link. Returns the fd or a negative AGT_SYS_ERR. */
AGT_PRIVATE agt_fd agt__walk_folder(const agt_sys *sys, agt_fd dir, const char *path, bool make);

#endif /* AGT_SYS_PART_H */
