#!/bin/sh
# The two files in other people's programs: every build switch, each in a program that runs.
. tests/kit.sh
CFLAGS="-Werror -I$ROOT" # what more a compiler can say, `check` asks it
GIT_FLAGS=$(pkg-config --cflags libgit2 zlib)
GIT_LIBS=$(pkg-config --libs libgit2 zlib)
cd "$WORK" || exit 2

# A store is made, written and read in a folder of its own, by a function that can be renamed.
cat >use.h <<'EOF'
#include <stdio.h>
#include <string.h>
static int use(const char *folder, const char *actor) {
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    agt_caller caller = AGT_CALLER(0);
    agt_store *store;
    agt_bytes bytes;
    agt_error err;
    int same;
    caller.actor = actor;
    options.create = 1;
    if (agt_open(&store, folder, &options, &err) ||
        agt_write(store, &caller, "note.md", folder, strlen(folder), NULL, NULL, &err) ||
        agt_read(store, "note.md", &bytes, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", agt_status_name(err.status), err.message);
        return 1;
    }
    same = bytes.len == strlen(folder) && memcmp(bytes.data, folder, bytes.len) == 0;
    agt_bytes_free(&bytes);
    if (agt_close(store, &err)) {
        fprintf(stderr, "close: %s\n", err.message);
        return 1;
    }
    return !same;
}
EOF
program() { # NAME: a main that uses the store in ./NAME
    printf '#include "agent_trace.h"\n#include "use.h"\nint main(void) { return use("%s", "user"); }\n' "$1"
}

# ---- as it comes ----

lib() { # the file as it comes, for what differs in the program alone
    [ -e lib.o ] || $CC $CFLAGS -std=c11 $GIT_FLAGS -c "$ROOT/agent_trace.c" -o lib.o
}

plain() { # FLAG...: agent_trace.c beside the program, both with these flags
    program store >plain.c
    rm -rf store
    $CC $CFLAGS "$@" $GIT_FLAGS plain.c "$ROOT/agent_trace.c" $GIT_LIBS -pthread -o plain && ./plain
}
as_c11() {
    program store >plain.c
    rm -rf store
    lib && $CC $CFLAGS -std=c11 $GIT_FLAGS plain.c lib.o $GIT_LIBS -pthread -o plain && ./plain
}
case_ 'the file compiles and runs beside a program, as C11' as_c11
case_ 'the file compiles and runs beside a program, as gnu17, where there are no DLLs to be built' plain -std=gnu17 -DAGENT_TRACE_DLL
case_ 'the file compiles and runs without assertions' plain -std=c11 -DNDEBUG
case_ 'AGENT_TRACE_PLAIN_POSIX builds a store that works' plain -std=c11 -DAGENT_TRACE_PLAIN_POSIX

no_git() { # no header and no library of git's is needed
    program nogit >nogit.c
    rm -rf nogit
    $CC $CFLAGS -std=c11 -DAGENT_TRACE_NO_GIT nogit.c "$ROOT/agent_trace.c" -pthread -o nogit.bin && ./nogit.bin &&
        ! ldd ./nogit.bin | grep -E 'libgit2|libz'
}
case_ 'AGENT_TRACE_NO_GIT links nothing but libc' no_git

static_library() {
    program static_store >lib.c
    $CC $CFLAGS -std=c11 lib.c "$BUILD/libagent_trace.a" $GIT_LIBS -pthread -o lib && ./lib
}
case_ 'the static library links' static_library

# ---- AGENT_TRACE_IMPLEMENTATION ----

implementation() { # FLAG...
    { printf '#define AGENT_TRACE_IMPLEMENTATION\n' && program implementation; } >implementation.c
    printf '#include "agent_trace.h"\nconst char *other(void);\nconst char *other(void) { return agt_version(); }\n' >other.c
    rm -rf implementation.run && mkdir implementation.run
    $CC $CFLAGS "$@" $GIT_FLAGS implementation.c other.c $GIT_LIBS -pthread -o implementation.bin &&
        (cd implementation.run && ../implementation.bin)
}
case_ 'AGENT_TRACE_IMPLEMENTATION in one C file, as C11' implementation -std=c11
case_ 'AGENT_TRACE_IMPLEMENTATION in one C file, as gnu11' implementation -std=gnu11

# ---- AGENT_TRACE_STATIC: two copies in one program ----

two_copies() {
    cat >main.c <<'EOF'
#include <stdio.h>
int first_leads(void), first_stops(void), second_is_busy(void), second_leads(void);
int first_uses(const char *folder), second_uses(const char *folder);
int main(void) {
    if (first_uses("shared") || second_uses("shared") || first_uses("other")) return 1;
    if (first_leads() || second_is_busy() || first_stops() || second_leads()) return 2;
    puts("two copies");
    return 0;
}
EOF
    cat >first.c <<'EOF'
#define AGENT_TRACE_STATIC
#include "agent_trace.c"
#include "use.h"
static agt_poll_lock *lock;
int first_uses(const char *folder);
int first_leads(void);
int first_stops(void);
int first_uses(const char *folder) { return use(folder, "agent:first"); }
int first_leads(void) { return agt_poll_lock_try(&lock, "shared", NULL) != AGT_OK; }
int first_stops(void) { return agt_poll_lock_release(lock), 0; }
EOF
    cat >second.c <<'EOF'
#define AGENT_TRACE_STATIC
#include "agent_trace.c"
#include "use.h"
int second_uses(const char *folder);
int second_is_busy(void);
int second_leads(void);
int second_uses(const char *folder) { return use(folder, "agent:second"); }
int second_is_busy(void) {
    agt_poll_lock *lock;
    return agt_poll_lock_try(&lock, "shared", NULL) != AGT_BUSY || lock != NULL;
}
int second_leads(void) {
    agt_poll_lock *lock;
    agt_status status = agt_poll_lock_try(&lock, "shared", NULL);
    agt_poll_lock_release(lock);
    return status != AGT_OK;
}
EOF
    rm -rf shared other
    for f in main first second; do
        $CC $CFLAGS -std=c11 $GIT_FLAGS -c $f.c || return 1
    done
    nm -g --defined-only first.o second.o | grep -E ' agt_' && return 1
    $CC main.o first.o second.o $GIT_LIBS -pthread -o two && ./two
}
case_ 'AGENT_TRACE_STATIC: two copies in one program share a store and exclude each other' two_copies

# ---- AGENT_TRACE_API: a plugin that shows only what it wants ----

plugin() {
    printf '#include "agent_trace.h"\n#include "use.h"\n__attribute__((visibility("default"))) int plugin_run(void);\nint plugin_run(void) { return use("plugin", "user"); }\n' >plugin.c
    hidden='-DAGENT_TRACE_API=extern __attribute__((visibility("hidden")))'
    $CC $CFLAGS -std=c11 "$hidden" -fPIC -fvisibility=hidden $GIT_FLAGS -shared plugin.c "$ROOT/agent_trace.c" $GIT_LIBS \
        -pthread -o plugin.so || return 1
    nm -D --defined-only plugin.so | grep agt_ && return 1
    cat >host.c <<'EOF'
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    void *handle = dlopen("./plugin.so", RTLD_NOW);
    int (*run)(void);
    if (!handle) return puts(dlerror()), 1;
    *(void **)&run = dlsym(handle, "plugin_run");
    if (!run || run() != 0) return 2;
    return dlclose(handle);
}
EOF
    $CC -std=gnu11 host.c -ldl -o host && rm -rf plugin && ./host
}
case_ 'AGENT_TRACE_API hides the functions of a copy in a plugin, which can be loaded and unloaded' plugin

# ---- AGENT_TRACE_ASSERT ----

asserting() {
    cat >assert.h.in <<'EOF'
void host_assert(int fine);
#define AGENT_TRACE_ASSERT(c) host_assert((c) ? 1 : 0)
EOF
    cat >asserting.c <<'EOF'
#include "agent_trace.h"
#include <stdlib.h>
void host_assert(int fine);
void host_assert(int fine) { if (!fine) exit(42); }
int main(void) {
    agt_store *store;
    agt_error err;
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    options.create = 1;
    if (agt_open(&store, "asserting", &options, &err)) return 1;
    agt_read(store, NULL, NULL, NULL, &err); /* a bug: NULL where no comment allows it */
    return 2;
}
EOF
    $CC $CFLAGS -std=c11 -Wno-nonnull -include ./assert.h.in $GIT_FLAGS asserting.c "$ROOT/agent_trace.c" \
        $GIT_LIBS -pthread -o asserting.bin || return 1
    ./asserting.bin
    [ $? = 42 ]
}
case_ 'AGENT_TRACE_ASSERT is asked about a bug of the caller' asserting

# ---- AGENT_TRACE_SYS ----

seam() {
    cat >seam.c <<'EOF'
#define AGENT_TRACE_SYS
#include "agent_trace.h"
#include <stdio.h>
static unsigned syncs;
static int counted_sync(void *ctx, agt_fd fd) {
    syncs++;
    return agt_sys_os()->sync(ctx, fd);
}
int main(void) {
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    agt_caller user = AGT_CALLER("user");
    agt_sys sys = *agt_sys_os();
    agt_store *store;
    agt_error err;
    unsigned before;
    sys.sync = counted_sync;
    options.create = 1;
    options.sys = &sys;
    if (agt_open(&store, "seam", &options, &err)) return puts(err.message), 1;
    if (agt_write(store, &user, "a.md", "a", 1, NULL, NULL, &err)) return puts(err.message), 1;
    before = syncs;
    if (agt_write(store, &user, "a.md", "b", 1, NULL, NULL, &err)) return puts(err.message), 1;
    printf("%u syncs for a durable write\n", syncs - before);
    if (syncs - before != 1) return 2;
    return agt_close(store, &err) != AGT_OK;
}
EOF
    lib && $CC $CFLAGS -std=c11 $GIT_FLAGS seam.c lib.o $GIT_LIBS -pthread -o seam.bin && ./seam.bin
}
case_ 'AGENT_TRACE_SYS lets a program wrap the system; a durable write syncs once' seam

# ---- C++ and an installed copy ----

cxx() {
    cat >cxx.cc <<'EOF'
#include "agent_trace.h"
#include "use.h"
int main() {
    static_assert(AGT_OK == 0, "zero is the only success");
    return use("cxx", "agent:cxx");
}
EOF
    lib && g++ $CFLAGS -std=c++11 cxx.cc lib.o $GIT_LIBS -pthread -o cxx.bin && ./cxx.bin
}
if command -v g++ >/dev/null 2>&1; then
    case_ 'a C++11 program uses the header' cxx
else
    skip 'a C++11 program uses the header' 'there is no g++'
fi

installed() {
    (cd "$ROOT" && AGENT_TRACE_BUILD=$BUILD ./build.sh install --prefix /opt/agt --destdir "$WORK/dest") || return 1
    pc() { PKG_CONFIG_PATH=$WORK/dest/opt/agt/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR='' \
        pkg-config --define-variable=prefix="$WORK/dest/opt/agt" "$@" agent_trace; }
    [ "$(pc --modversion)" = "$(sed -n 's/^#define AGENT_TRACE_VERSION  *"\(.*\)"/\1/p' "$ROOT/agent_trace.h")" ] ||
        return 1
    program installed >installed.c
    sed -i 's/"agent_trace.h"/<agent_trace.h>/' installed.c
    # with the shared library, and all static but libgit2
    $CC -std=c11 installed.c $(pc --cflags) $(pc --libs) "-Wl,-rpath,$WORK/dest/opt/agt/lib" -o installed.bin &&
        ./installed.bin || return 1
    $CC -std=c11 installed.c $(pc --cflags) "$WORK/dest/opt/agt/lib/libagent_trace.a" \
        $(pkg-config --libs libgit2 zlib) -pthread -o installed_static.bin && rm -rf installed && ./installed_static.bin || return 1
    [ -f "$WORK/dest/opt/agt/share/agent_trace/agent_trace.c" ] || return 1
    if [ -x "$PROGRAM" ]; then "$WORK/dest/opt/agt/bin/agent-trace" --version || return 1; fi
}
case_ 'an installed copy is found by pkg-config and links' installed

kit_end
