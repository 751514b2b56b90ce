#!/bin/sh
# The recipe with a real conan: the package is made and a program is built with it, as a consumer's
# project does it. Conan's own packages of libgit2 and zlib are on a server that is not asked: it is
# told that the system has them.
#
# pip brings conan into a folder under build/, where its cache is too. Without it nothing is counted.
. tests/kit.sh
cd "$ROOT" || exit 2
version=$(sed -n 's/^#define AGENT_TRACE_VERSION  *"\(.*\)".*/\1/p' agent_trace.h)
venv=$BUILD/conan
CONAN_HOME=$WORK/home
PYTHONDONTWRITEBYTECODE=1
export CONAN_HOME PYTHONDONTWRITEBYTECODE
conan() { "$venv/bin/conan" "$@"; }

bring() {
    if [ -x "$venv/bin/conan" ]; then return; fi
    python3 -m venv "$venv" && "$venv/bin/pip" install -q 'conan>=2,<3'
}
profile() {
    CC=$CC conan profile detect && conan remote disable '*' && cat >>"$CONAN_HOME/profiles/default" <<INI
[platform_requires]
libgit2/$(pkg-config --modversion libgit2)
zlib/$(pkg-config --modversion zlib)
INI
}
package() { # OPTION...
    conan create . --build=missing "$@"
}
user() { # KIND OPTION...: a project of somebody's, whose program is run
    user=$WORK/user_$1
    shift
    mkdir "$user" && cat >"$user/conanfile.txt" <<INI && cat >"$user/CMakeLists.txt" <<'CMAKE' && cat >"$user/use.c" <<'C'
[requires]
agent_trace/$version
[generators]
CMakeDeps
CMakeToolchain
INI
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(agent_trace CONFIG REQUIRED)
add_executable(use use.c)
target_link_libraries(use PRIVATE agent_trace::agent_trace)
set_property(TARGET agent_trace::agent_trace APPEND PROPERTY INTERFACE_LINK_LIBRARIES ${SYSTEM_LIBRARIES})
CMAKE
#include <agent_trace.h>
#include <string.h>
int main(void) {
    agt_poll_lock *lock;
    if (strcmp(agt_version(), AGENT_TRACE_VERSION) || agt_poll_lock_try(&lock, ".", NULL)) return 1;
    return agt_poll_lock_release(lock), 0;
}
C
    conan install "$user" --output-folder="$user/build" "$@" || return
    # what the system has is not in Conan's graph, so the program names it
    cmake -S "$user" -B "$user/build" -DCMAKE_TOOLCHAIN_FILE="$user/build/conan_toolchain.cmake" \
        -DCMAKE_BUILD_TYPE=Release -DSYSTEM_LIBRARIES="${libraries-}" && cmake --build "$user/build" &&
        (cd "$user" && build/use)
}
with_git() { libraries='git2;z' "$@"; }

if ! command -v cmake >/dev/null 2>&1 || ! bring >"$WORK/bring" 2>&1; then
    skip 'Conan' "no cmake, or no conan: $(tail -n 1 "$WORK/bring" 2>/dev/null)"
    (kit_end)
    exit 0
fi
case_ 'a profile, with libgit2 and zlib from the system' profile
case_ 'the package, without git' package -o 'agent_trace/*:git=False'
case_ 'a program with it' user nogit -o 'agent_trace/*:git=False'
case_ 'the package, static, and the program agent-trace' package -o 'agent_trace/*:program=True'
case_ 'a program with it, static' with_git user static -o 'agent_trace/*:program=True'
case_ 'the package, shared' package -o 'agent_trace/*:shared=True'
case_ 'a program with it, shared' user shared -o 'agent_trace/*:shared=True'
kit_end
