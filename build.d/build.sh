# build: the program and the library. The library is made from src/, so that errors carry the part's
# file and line; agent_trace.c, which is the same text, is what `bench` and `install` use.
#
# Whatever is not declared in the header is hidden, so that the shared library exports the header's
# functions and nothing else. The quotes are for xargs, which reads the object's line.
SHOW_API="'-DAGENT_TRACE_API=__attribute__((visibility(\"default\")))' -fvisibility=hidden"
build_objects() {
    flags="-O2 -g ${CFLAGS-} $LIBRARY_FLAGS"
    jobs_begin
    object "$B/obj/build/lib.o" src/agent_trace.c "$CC" $flags -fPIC $SHOW_API $(git_flags)
    program_objects=
    for f in cli/*.c; do
        [ -e "$f" ] || continue
        o=$B/obj/build/cli_$(basename "$f" .c).o
        object "$o" "$f" "$CC" $flags
        program_objects="$program_objects $o"
    done
    if [ "$(uname)" = Linux ]; then
        o=$B/obj/build/late_libgit2.o
        object "$o" build.d/late_libgit2.c "$CC" -std=gnu11 -O2 -g ${CFLAGS-} -Wall -Wextra $(git_flags)
        program_objects="$program_objects $o"
    fi
    jobs_run
}
# The manual pages and the completion of shells come from the program's own tables, by itself.
build_pages() {
    [ "$(cat "$B/pages.key" 2>/dev/null)" != "$(cat "$B/agent-trace.key")" ] || return 0
    rm -rf "$B/share" "$B/pages.key"
    sh build.d/pages.sh "$B/agent-trace" "$B/share" || return 1
    cp "$B/agent-trace.key" "$B/pages.key"
}
# What the program is linked with: not libgit2, where late_libgit2.c loads it, and zlib, which is
# small, inside it where there is a static one. A process that lives for a millisecond is mostly
# spent in loading its libraries.
program_libs() {
    [ "$(uname)" = Linux ] || {
        git_libs
        return
    }
    static=$("$CC" ${LDFLAGS-} -print-file-name=libz.a)
    case $static in /*) echo "$static -ldl" ;; *) echo "$(pkg-config --libs zlib) -ldl" ;; esac
}
command_build() {
    [ $# -eq 0 ] || usage_error "build takes no argument"
    need $NEED_BUILD
    build_objects || die "the build failed"
    [ -z "$gathering" ] || return 0
    version=$(sed -n 's/^#define AGENT_TRACE_VERSION  *"\(.*\)".*/\1/p' agent_trace.h)
    lib=$B/obj/build/lib.o
    rm -f "$B/libagent_trace.a.$$"
    ${AR:-ar} rcs "$B/libagent_trace.a.$$" "$lib"
    mv "$B/libagent_trace.a.$$" "$B/libagent_trace.a"
    soname=libagent_trace.so.${version%%.*}
    if [ "$(uname)" = Linux ]; then
        link_program "$B/$soname" "$CC" -shared "-Wl,-soname,$soname" ${LDFLAGS-} "$lib" $(git_libs) -pthread ||
            die "the shared library failed"
        ln -sf "$soname" "$B/libagent_trace.so"
    fi
    if [ -n "$program_objects" ]; then
        link_program "$B/agent-trace" "$CC" ${LDFLAGS-} $program_objects "$lib" $(program_libs) -pthread ||
            die "the program failed"
        build_pages || die "the manual pages failed"
    fi
}
