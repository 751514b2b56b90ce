#!/bin/sh
# The library as a package: a small program is built and run with what each build system makes of it.
# What is installed stands in folders that go away; nothing is fetched.
. tests/kit.sh
cd "$ROOT" || exit 2
version=$(sed -n 's/^#define AGENT_TRACE_VERSION  *"\(.*\)".*/\1/p' agent_trace.h)
soname=libagent_trace.so.${version%%.*}
dest=$WORK/dest
prefix=/opt/agent_trace
tree=$dest$prefix
have() { command -v "$1" >/dev/null 2>&1; }

# ---- the program ----

# It writes and reads with the library it is linked with, which is the one of its header.
mkdir "$WORK/user"
cat >"$WORK/user/use.c" <<'C'
#include <agent_trace.h>
#include <string.h>
int main(void) {
    agt_open_options options = AGT_OPEN_OPTIONS_INIT;
    agt_caller caller = AGT_CALLER("user");
    agt_store *store;
    agt_bytes bytes;
    options.create = 1;
    if (strcmp(agt_version(), AGENT_TRACE_VERSION) || agt_open(&store, ".", &options, NULL)) return 1;
    if (agt_write(store, &caller, "a.md", "hello", 5, NULL, NULL, NULL)) return 2;
    if (agt_read(store, "a.md", &bytes, NULL, NULL) || strcmp((char *)bytes.data, "hello")) return 3;
    return agt_bytes_free(&bytes), agt_close(store, NULL) != AGT_OK;
}
C
runs() { # PROGRAM [LIBRARY]: in an empty folder, with that shared library, or with none of ours
    rm -rf "$WORK/store" && mkdir "$WORK/store" && (cd "$WORK/store" && "$1") || return
    ldd "$1" >"$WORK/ldd" || return
    cat "$WORK/ldd"
    if [ $# -gt 1 ]; then grep -qF "=> $2 " "$WORK/ldd"; else ! grep libagent_trace "$WORK/ldd"; fi
}
links_git() { grep -q libgit2 "$WORK/ldd"; }
# The functions that agent_trace.h declares, those a shared library exports, and what it is called.
declared() { sed -n 's/^AGENT_TRACE_API .*[ *]\(agt_[a-z0-9_]*\)(.*/\1/p' agent_trace.h | sort; }
exports_the_header() { # LIBRARY
    nm -D --defined-only "$1" | awk '{ print $NF }' | sort >"$WORK/exported"
    declared >"$WORK/declared"
    [ -s "$WORK/declared" ] && diff "$WORK/declared" "$WORK/exported"
}
has_soname() { # LIBRARY-WITHOUT-NUMBERS
    readelf -d "$1" | grep -F "soname: [$soname]" && [ -h "$1" ] &&
        [ "$(basename "$(readlink -f "$1")")" = "libagent_trace.so.$version" ] &&
        [ -h "$(dirname "$1")/$soname" ]
}

# ---- build.sh install, pkg-config ----

install_it() { ./build.sh install --prefix "$prefix" --destdir "$dest"; }
pc() { # FOLDER OPTION...: pkg-config, told of what stands in FOLDER
    folder_=$1
    shift
    PKG_CONFIG_PATH=$folder_/lib/pkgconfig pkg-config --define-variable=prefix="$folder_" "$@" agent_trace
}
installed_files() {
    for f in bin/agent-trace include/agent_trace.h lib/libagent_trace.a lib/pkgconfig/agent_trace.pc \
        share/agent_trace/agent_trace.c share/doc/agent_trace/LICENSE share/doc/agent_trace/README.md \
        share/man/man1/agent-trace.1 share/man/man1/agent-trace-log.1 share/zsh/site-functions/_agent-trace \
        share/bash-completion/completions/agent-trace share/fish/vendor_completions.d/agent-trace.fish; do
        [ -f "$tree/$f" ] || { echo "no $f" && return 1; }
    done
    "$tree/bin/agent-trace" --version | grep -F "$version" &&
        [ "$(pc "$tree" --modversion)" = "$version" ] && grep -xF "prefix=$prefix" "$tree/lib/pkgconfig/agent_trace.pc"
}
pkgconfig_shared() {
    # shellcheck disable=SC2046
    $CC -std=c11 "$WORK/user/use.c" $(pc "$tree" --cflags --libs) "-Wl,-rpath,$tree/lib" -o "$WORK/shared" &&
        runs "$WORK/shared" "$tree/lib/$soname"
}
pkgconfig_static() { # FOLDER: a copy of it, without the shared library; libgit2 stays a shared one
    rm -rf "$WORK/static" && cp -R "$1" "$WORK/static" && rm "$WORK/static"/lib/*.so* || return
    # shellcheck disable=SC2046
    $CC -std=c11 "$WORK/user/use.c" $(pc "$WORK/static" --static --cflags --libs) -o "$WORK/with_static" &&
        runs "$WORK/with_static" && links_git
}
# An older version's file is in the list; a person's own file is not.
installs_again() {
    mkdir -p "$tree/lib/mine" && : >"$tree/lib/libagent_trace.so.0.9" || return
    echo "$prefix/lib/libagent_trace.so.0.9" >>"$tree/share/agent_trace/installed"
    install_it && [ ! -e "$tree/lib/libagent_trace.so.0.9" ] && [ -d "$tree/lib/mine" ] &&
        [ -z "$(sort "$tree/share/agent_trace/installed" | uniq -d)" ]
}
keeps_what_is_not_ours() { # the folder lib was made for us, but somebody uses it
    ./build.sh uninstall --prefix "$prefix/" --destdir "$dest" || return
    (cd "$dest" && find . ! -type d) >"$WORK/left"
    cat "$WORK/left"
    [ ! -s "$WORK/left" ] && [ -d "$tree/lib/mine" ] && [ ! -e "$tree/share" ] || return
    rm -r "$dest"
}
uninstall_leaves_nothing() { # but the folders that were there before
    mkdir -p "$tree/include" && : >"$tree/include/other.h" || return
    (cd "$dest" && find . | sort) >"$WORK/before"
    install_it && [ -e "$tree/lib/$soname" ] && ./build.sh uninstall --prefix "$prefix" --destdir "$dest" || return
    (cd "$dest" && find . | sort) >"$WORK/after"
    diff "$WORK/before" "$WORK/after" || return
    ! ./build.sh uninstall --prefix "$prefix" --destdir "$dest"
}

# It stays, for CMake below.
blank_prefix() {
    ./build.sh install --prefix "$WORK/a prefix" || return
    export PKG_CONFIG_PATH="$WORK/a prefix/lib/pkgconfig"
    eval "$CC -std=c11 '$WORK/user/use.c' $(pkg-config --cflags --libs agent_trace) '-Wl,-rpath,$WORK/a prefix/lib' -o '$WORK/blank'" &&
        runs "$WORK/blank" "$WORK/a prefix/lib/$soname"
}

case_ 'install puts the program, the header, the libraries and the documents there' install_it
case_ 'what it put there is this version' installed_files
case_ 'its soname is the major version' has_soname "$tree/lib/libagent_trace.so"
case_ 'the shared library exports what the header declares and nothing else' \
    exports_the_header "$tree/lib/libagent_trace.so"
case_ 'pkg-config, shared' pkgconfig_shared
case_ 'pkg-config, static' pkgconfig_static "$tree"
case_ 'to install again replaces what was there' installs_again
case_ 'uninstall keeps what somebody else put there' keeps_what_is_not_ours
case_ 'uninstall leaves nothing behind' uninstall_leaves_nothing
case_ 'a prefix with a blank in it' blank_prefix

# ---- CMake ----

# Without optimisation: what is looked at is the linking.
cmake_user() { # NAME LINES: a project of somebody's, that gets the target by these lines
    mkdir -p "$WORK/$1" && cp "$WORK/user/use.c" "$WORK/$1" &&
        cat >"$WORK/$1/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.16)
project(user C)
$2
add_executable(use use.c)
target_link_libraries(use PRIVATE agent_trace::agent_trace)
CMAKE
}
cmake_build() { # SOURCE BUILD OPTION...
    cmake_source=$1 cmake_to=$2
    shift 2
    cmake -G Ninja -S "$cmake_source" -B "$cmake_to" -DCMAKE_BUILD_TYPE= -DCMAKE_C_COMPILER="$CC" "$@" &&
        cmake --build "$cmake_to" -j "${JOBS:-2}"
}
cmake_subdirectory() { # nothing of ours is installed with their program, and no program of ours is made
    cmake_user sub "add_subdirectory(\"$ROOT\" agent_trace)" && cmake_build "$WORK/sub" "$WORK/sub/build" &&
        runs "$WORK/sub/build/use" && links_git && [ ! -e "$WORK/sub/build/agent_trace/agent-trace" ]
}
cmake_fetched() { # shared as the project that fetches it is, and without git
    cmake_user fetched "include(FetchContent)
set(AGENT_TRACE_NO_GIT ON)
FetchContent_Declare(agent_trace URL nowhere.tar.gz)
FetchContent_MakeAvailable(agent_trace)" &&
        cmake_build "$WORK/fetched" "$WORK/fetched/build" -DBUILD_SHARED_LIBS=ON \
            -DFETCHCONTENT_SOURCE_DIR_AGENT_TRACE="$ROOT" &&
        runs "$WORK/fetched/build/use" "$WORK/fetched/build/_deps/agent_trace-build/$soname" && ! links_git
}
cmake_install() { # KIND OPTION...: to another prefix than it was configured with
    kind_=$1
    shift
    cmake_build "$ROOT" "$WORK/cmake-$kind_" -DCMAKE_INSTALL_LIBDIR=lib "$@" &&
        cmake --install "$WORK/cmake-$kind_" --prefix "$WORK/cmake_$kind_" || return
    tree_=$WORK/cmake_$kind_
    [ -f "$tree_/include/agent_trace.h" ] && [ -f "$tree_/share/doc/agent_trace/LICENSE" ]
}
has_pages() { # FOLDER: as many manual pages as there are commands, and one for all; completion
    [ "$(find "$1/share/man/man1" -name 'agent-trace*.1' | wc -l)" = $(($("$PROGRAM" help --names | wc -w) + 1)) ] &&
        for f in bash-completion/completions/agent-trace zsh/site-functions/_agent-trace \
            fish/vendor_completions.d/agent-trace.fish; do
            [ -s "$1/share/$f" ] || return
        done
}
cmake_program() {
    cmake_install static && "$WORK/cmake_static/bin/agent-trace" --version | grep -F "$version" &&
        has_pages "$WORK/cmake_static"
}
cmake_shared() {
    cmake_install shared -DAGENT_TRACE_SHARED=ON && "$WORK/cmake_shared/bin/agent-trace" --version | grep -F "$version"
}
cmake_found() { # KIND [LIBRARY [OPTION...]]
    cmake_user "found_$1" "find_package(agent_trace ${version%.*} CONFIG REQUIRED)
find_package(agent_trace 2 CONFIG QUIET)
if(agent_trace_FOUND)
    message(FATAL_ERROR \"another major version is none of ours\")
endif()" && cmake_build "$WORK/found_$1" "$WORK/found_$1/build" -DCMAKE_PREFIX_PATH="${CMAKE_TREE-$WORK/cmake_$1}" ${3+"$3"} &&
        runs "$WORK/found_$1/build/use" ${2:+"$2"}
}
# The same of what build.sh installed (blank_prefix).
installed_found() { # KIND [LIBRARY [OPTION]]
    CMAKE_TREE="$WORK/a prefix" cmake_found "$@"
}
cmake_pkgconfig() { # the file tells the prefix from its own place
    export PKG_CONFIG_PATH="$WORK/cmake_static/lib/pkgconfig"
    [ "$(pkg-config --modversion agent_trace)" = "$version" ] || return
    # shellcheck disable=SC2046
    $CC -std=c11 "$WORK/user/use.c" $(pkg-config --static --cflags --libs agent_trace) -o "$WORK/cmake_pc" &&
        runs "$WORK/cmake_pc" && links_git
}
if have cmake && have ninja; then
    case_ 'CMake: add_subdirectory' cmake_subdirectory
    case_ 'CMake: FetchContent, shared, without git' cmake_fetched
    case_ 'CMake: a static library and the program are installed' cmake_program
    case_ 'CMake: find_package, static' cmake_found static
    case_ 'CMake: find_package of what build.sh installed' installed_found installed "$WORK/a prefix/lib/$soname"
    case_ 'CMake: the same, static' installed_found installed_static '' -DAGENT_TRACE_USE_STATIC=ON
    case_ 'CMake: what is installed is found by pkg-config too' cmake_pkgconfig
    case_ 'CMake: a shared library is installed, and a program that finds it' cmake_shared
    case_ 'CMake: its soname is the major version' has_soname "$WORK/cmake_shared/lib/libagent_trace.so"
    case_ 'CMake: it exports what the header declares' \
        exports_the_header "$WORK/cmake_shared/lib/libagent_trace.so"
    case_ 'CMake: find_package, shared' cmake_found shared "$WORK/cmake_shared/lib/$soname"
else
    skip 'CMake' 'there is no cmake or no ninja'
fi

# ---- Meson ----

meson_user() { # NAME LINE: a project of somebody's
    mkdir -p "$WORK/$1" && cp "$WORK/user/use.c" "$WORK/$1" &&
        printf '%s\n' "project('user', 'c')" "$2" "executable('use', 'use.c', dependencies: agent_trace)" \
            >"$WORK/$1/meson.build"
}
meson_build() { # SOURCE BUILD OPTION...
    meson_source=$1 meson_to=$2
    shift 2
    meson setup "$meson_to" "$meson_source" --optimization=0 "$@" && ninja -C "$meson_to"
}
meson_subproject() { # Meson takes no subproject from outside, but a link to it
    meson_user meson "agent_trace = subproject('agent_trace').get_variable('agent_trace_dep')" &&
        mkdir "$WORK/meson/subprojects" && ln -s "$ROOT" "$WORK/meson/subprojects/agent_trace" &&
        meson_build "$WORK/meson" "$WORK/meson/build" --default-library=static &&
        runs "$WORK/meson/build/use" && links_git && [ ! -e "$WORK/meson/build/subprojects/agent_trace/agent-trace" ]
}
meson_install() { # both libraries
    meson_build "$ROOT" "$WORK/meson-both" --prefix="$WORK/meson_both" --libdir=lib --default-library=both &&
        meson install -C "$WORK/meson-both" --no-rebuild || return
    # a prefix that the dynamic linker does not know
    "$WORK/meson_both/bin/agent-trace" --version | grep -F "$version" &&
        [ -f "$WORK/meson_both/include/agent_trace.h" ] && [ -f "$WORK/meson_both/share/doc/agent_trace/LICENSE" ] &&
        has_pages "$WORK/meson_both"
}
meson_found() { # by Meson itself; static: true would ask for a static libgit2 as well
    meson_user meson_found "agent_trace = dependency('agent_trace', version: '$version')" &&
        PKG_CONFIG_PATH=$WORK/meson_both/lib/pkgconfig meson_build "$WORK/meson_found" "$WORK/meson_found/build" &&
        runs "$WORK/meson_found/build/use" "$WORK/meson_both/lib/$soname"
}
if have meson && have ninja; then
    case_ 'Meson: subproject' meson_subproject
    case_ 'Meson: both libraries are installed' meson_install
    case_ 'Meson: its soname is the major version' has_soname "$WORK/meson_both/lib/libagent_trace.so"
    case_ 'Meson: it exports what the header declares' exports_the_header "$WORK/meson_both/lib/libagent_trace.so"
    case_ 'Meson: the installed one, shared' meson_found
    case_ 'Meson: the installed one, static' pkgconfig_static "$WORK/meson_both"
else
    skip 'Meson' 'there is no meson or no ninja'
fi

# ---- Conan, vcpkg ----

# The recipe is read with a conan that only has the names; tests/release_conan.sh has a real one.
conan_recipe() {
    PYTHONDONTWRITEBYTECODE=1 python3 - "$version" <<'PYTHON'
import glob, os, sys, types

def module(name, **names):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(names)

def load(recipe, path):
    return open(path, encoding="utf-8").read()

module("conan", ConanFile=object)
module("conan.tools")
module("conan.tools.cmake", CMake=None, CMakeDeps=None, CMakeToolchain=None, cmake_layout=None)
module("conan.tools.files", copy=None, load=load, rmdir=None)
sys.path.insert(0, ".")
import conanfile

recipe = conanfile.AgentTrace()
recipe.recipe_folder = os.getcwd()
recipe.set_version()
assert recipe.version == sys.argv[1], recipe.version
for pattern in recipe.exports_sources:
    assert glob.glob(pattern), pattern
PYTHON
}
vcpkg_manifest() {
    python3 - "$version" <<'PYTHON'
import json, re, sys
manifest = json.load(open("vcpkg.json", encoding="utf-8"))
assert manifest["version"] == sys.argv[1], manifest["version"]
assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", manifest["name"]), manifest["name"]
assert manifest["dependencies"] == ["libgit2", "zlib"], manifest["dependencies"]
PYTHON
}
case_ 'Conan: the recipe can be read, and knows the version' conan_recipe
case_ 'vcpkg: the manifest is JSON, and has the version' vcpkg_manifest
kit_end
