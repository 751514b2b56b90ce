/* agent_trace: the manifest. It is C and compiles as it stands; ./amalgamate makes the shipped
 * agent_trace.c from it by inlining each part once. The order is the architecture, ground up. */
#ifndef AGENT_TRACE_C
#define AGENT_TRACE_C
#endif
#if defined(__linux__) && !defined(_GNU_SOURCE) && !defined(AGENT_TRACE_PLAIN_POSIX)
#define _GNU_SOURCE 1 /* renameat2, fallocate, openat2's syscall() */
#endif
#if defined(__APPLE__) && !defined(_DARWIN_C_SOURCE)
#define _DARWIN_C_SOURCE 1 /* flock, F_FULLFSYNC; the BSDs show all unless told otherwise */
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#if (defined(__linux__) || defined(__APPLE__)) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#if defined(__linux__) && !defined(_TIME_BITS)
#define _TIME_BITS 64
#endif
#if defined(__MINGW32__) && !defined(__USE_MINGW_ANSI_STDIO)
#define __USE_MINGW_ANSI_STDIO 1 /* printf as C says: %llu, %zu */
#endif
#ifndef AGENT_TRACE_SYS
#define AGENT_TRACE_SYS
#endif
#include "../agent_trace.h"

/* floor 1 */
#include "base/status.c"
#include "base/memory.c"
#include "base/buf.c"
/* floor 2 */
#include "data/utf8.c"
#include "data/hash.c"
#include "data/time.c"
#include "data/json.c"
#include "data/path.c"
#include "data/toml.c"
#include "data/lines.c"
#include "data/ignore.c"
#include "sys/sys.c"
#include "sys/posix_process.c"
#include "sys/posix.c"
#include "sys/win32_kernel.c"
#include "sys/win32.c"
#include "git/git.h" /* both branches need it */
#ifdef AGENT_TRACE_NO_GIT
#include "git/none.c"
#else
#include "git/codec.c"
#include "git/objects.c"
#include "git/libgit2.c"
#include "git/tree.c"
#include "git/packfile.c"
#include "git/pack.c"
#include "git/whole.c"
#include "git/reach.c"
#include "git/repack.c"
#include "git/reindex.c"
#include "git/fixed.c"
#include "git/repo.c"
#include "git/past.c"
#endif
/* floor 3 */
#include "lock/flock.c"
#include "lock/holder.c"
#include "lock/liveness.c"
#include "lock/epoch.c"
#include "lock/sentinel.c"
#include "lock/poll_lock.c"
#include "log/event.c"
#include "log/trace.c"
#include "log/trace_reader.c"
#include "log/trace_repair.c"
#include "log/paths.c"
#include "log/journal.c"
#include "state/perm.c"
#include "state/catalog.c"
#include "state/shared.c"
#include "state/config.c"
/* floor 4 */
#include "store/remains.c"
#include "store/places.c"
#include "store/store.c"
#include "store/recover.c"
#include "store/apply.c"
#include "store/rejected.c"
#include "store/pending.c"
#include "store/txn.c"
#include "store/plan.c"
#include "store/write.c"
#include "store/change.c"
#include "store/manage.c"
#include "store/records.c"
#include "store/commit.c"
#include "store/publish.c"
#include "store/checkpoint.c"
#include "store/gc.c"
#include "store/history.c"
#include "store/walk.c"
#include "store/cursor.c"
#include "store/findings.c"
#include "store/mend_evidence.c"
#include "store/mend_chain.c"
#include "store/mend_contents.c"
#include "store/mend_write.c"
#include "store/mend.c"
/* floor 5: what stands on the whole store */
#include "reference/old.c"
#include "reference/message.c"
#include "reference/files.c"
#include "reference/chain.c"
#include "reference/image.c"
#include "reference/image_names.c"
#include "reference/veil.c"
#include "reference/open.c"
#include "reference/upgrade_move.c"
#include "reference/upgrade_build.c"
#include "reference/upgrade_report.c"
#include "reference/upgrade.c"
#include "work/index.c"
#include "work/doctor_files.c"
#include "work/doctor_left.c"
#include "work/doctor_around.c"
#include "work/doctor.c"
