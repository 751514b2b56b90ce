#!/bin/sh
# The newest libgit2, from the sources that the crate libgit2-sys holds: the library, its suite and
# the program are built with it, and run. Debian's is years older, and is what all else is run with.
#
#     tests/release_libgit2.sh      SEED=N repeats a run
#
# Nothing is installed: cargo brings the sources, cmake builds them, all under build/newest. Without
# them (no network, no cargo) nothing is counted.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
AGENT_TRACE_BUILD=${AGENT_TRACE_BUILD:-$(pwd)/build}
. build.d/common.sh
. build.d/test.sh
. tests/kit.sh
SUITE_LIMIT=${SUITE_LIMIT:-7200}
seed=${SEED:-$(date +%s)}
newest=$BUILD/newest
source=$newest/vendor/libgit2-sys/libgit2
prefix=$newest/prefix

# ---- libgit2 ----

bring() { # the newest that the registry has, each time
    mkdir -p "$newest/src" && : >"$newest/src/lib.rs" && rm -rf "$newest/vendor" "$newest/Cargo.lock" || return
    printf '%s\n' '[package]' 'name = "newest"' 'version = "0.0.0"' '[dependencies]' \
        'libgit2-sys = { version = "*", default-features = false }' '[workspace]' >"$newest/Cargo.toml"
    (cd "$newest" && limit 600 cargo vendor --quiet vendor) && [ -e "$source/CMakeLists.txt" ]
}
number() { # MAJOR | MINOR: of the header that was brought
    sed -n "s/^#define LIBGIT2_VERSION_$1[[:space:]]*//p" "$source/include/git2/version.h"
}
# Static, without network and without anything of this system's but zlib; and the same objects as a
# shared library, which the program loads when it needs it.
build() {
    if [ "$(cat "$newest/built" 2>/dev/null)" = "$version" ]; then return; fi
    rm -rf "$newest/objects" "$prefix" "$newest/built"
    cmake -S "$source" -B "$newest/objects" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" \
        -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF \
        -DBUILD_TESTS=OFF -DBUILD_CLI=OFF -DUSE_HTTPS=OFF -DUSE_SSH=OFF -DUSE_NTLMCLIENT=OFF \
        -DUSE_GSSAPI=OFF -DUSE_SHA256=Builtin -DREGEX_BACKEND=builtin -DUSE_HTTP_PARSER=builtin &&
        cmake --build "$newest/objects" --parallel "$JOBS" && cmake --install "$newest/objects" &&
        mkdir "$prefix/shared" &&
        "$CC" -shared -Wl,-soname,"$soname" -Wl,--whole-archive "$prefix/lib/libgit2.a" \
            -Wl,--no-whole-archive -lz -pthread -o "$prefix/shared/$soname" &&
        echo "$version" >"$newest/built"
}
# What the library says of itself when it runs, not what a header says.
runs() {
    cat >"$WORK/version.c" <<'C'
#include <git2.h>
#include <stdio.h>
int main(void) {
    int major, minor, rev;
    git_libgit2_init();
    git_libgit2_version(&major, &minor, &rev);
    printf("%d.%d.%d\n", major, minor, rev);
    return major < 1 || (major == 1 && minor < 9);
}
C
    "$CC" $(git_flags) "$WORK/version.c" $(git_libs) -pthread -o "$WORK/version" &&
        "$WORK/version" >"$WORK/runs" && cat "$WORK/runs" && [ "$(cat "$WORK/runs")" = "$version" ]
}

# ---- what is ours ----

suite_with_it() {
    suite newest src/agent_trace.c "$(git_libs)" '' "-v --seed $seed" $(test_compiler) $(git_flags) \
        >"$WORK/suite" 2>&1
    rc_=$?
    grep -v '^ok  \|^    saw ' "$WORK/suite"
    return "$rc_"
}
has_git() { # the tests that look into git were among them, and libgit2 is inside
    n=$(grep -c '^ok      git' "$WORK/suite")
    echo "$n tests of git"
    [ "$n" -ge 40 ] && nm "$BUILD/obj/newest/tests" | grep -q ' [Tt] git_odb_open'
}
program() {
    AGENT_TRACE_BUILD=$newest/build ./build.sh build
}
command_line() {
    LD_LIBRARY_PATH=$prefix/shared ./tests/cli.sh "$newest/build/agent-trace" >"$WORK/cli" 2>&1
    rc_=$?
    cat "$WORK/cli"
    return "$rc_"
}
loads_it() { # the dynamic linker tells which libgit2 a patch was made with
    mkdir "$WORK/store" && cd "$WORK/store" || return
    set -- "$newest/build/agent-trace"
    "$1" init . && "$1" write a.md --content old && "$1" write a.md --content new &&
        LD_LIBRARY_PATH=$prefix/shared LD_DEBUG=files LD_DEBUG_OUTPUT=$WORK/linker \
            "$1" diff a.md 1 2 >"$WORK/patch" && cat "$WORK/patch" || return
    cat "$WORK"/linker.* | sed -n 's/.*calling init: \(.*libgit2.*\)/\1/p' | sort -u >"$WORK/linked"
    cat "$WORK/linked"
    grep -q '^+new' "$WORK/patch" && [ "$(cat "$WORK/linked")" = "$prefix/shared/$soname" ]
}

not_here() { # WHY
    skip 'the newest libgit2' "$1"
    (kit_end)
    exit 0
}
if ! (need $NEED_TEST git cargo cmake) >"$WORK/need" 2>&1; then not_here "$(tail -n 1 "$WORK/need")"; fi
if ! bring >"$WORK/bring" 2>&1; then not_here "no sources: $(tail -n 1 "$WORK/bring")"; fi
soname=libgit2.so.$(number MAJOR).$(number MINOR)
version=$(sed -n 's/^#define LIBGIT2_VERSION[[:space:]]*"\(.*\)"/\1/p' "$source/include/git2/version.h")
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
export PKG_CONFIG_PATH
: >"$WORK/suite"
: >"$WORK/cli"
case_ "libgit2 $version can be built" build
case_ "it is that version, and at least 1.9" runs
case_ "the suite with it" suite_with_it
case_ "git is in the suite, and libgit2 is in the program of it" has_git
case_ "the program can be built with it" program
case_ "the program loads it and no other" loads_it
case_ "the program with it" command_line
echo "libgit2 $(cat "$WORK/runs" 2>/dev/null): $(tail -n 1 "$WORK/suite") in the suite (seed $seed);" \
    "$(tail -n 1 "$WORK/cli") with the program"
kit_end
