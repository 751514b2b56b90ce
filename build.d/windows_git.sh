# libgit2 for Windows, from Debian's sources: there is no package of it. Sourced by windows.sh.
# What is fetched and made stays below build/windows-git; zlib comes from Debian's package.

NEED_WINDOWS_GIT="cmake dpkg-source patch zlib-mingw"

# The sources, by a list of apt's that is only ours.
windows_git_fetch() { # FOLDER
    code=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $code main" \
        >"$1/apt/sources.list"
    set -- "$1" -q -o "Dir::Etc::SourceList=$1/apt/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::Lists=$1/apt/lists" -o "Dir::Cache=$1/apt/cache" -o APT::Sandbox::User=root
    at=$1
    shift
    apt-get "$@" update && (cd "$at" && apt-get "$@" source libgit2 http-parser pcre2)
}
windows_git_cmake() { # SOURCE OUT OPTION...
    source_=$1 out_=$2
    shift 2
    cmake -S "$source_" -B "$out_" -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER="$WINDOWS_CC" \
        -DCMAKE_RC_COMPILER=x86_64-w64-mingw32-windres -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_FIND_ROOT_PATH="$WINDOWS_GIT;/usr/x86_64-w64-mingw32" \
        -DCMAKE_FIND_ROOT_PATH_MODE_PROGRAM=NEVER -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY \
        -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCMAKE_INSTALL_PREFIX="$WINDOWS_GIT" \
        -DBUILD_SHARED_LIBS=OFF "$@" &&
        cmake --build "$out_" -j "$JOBS" && cmake --install "$out_"
}
# One file of C, which has no rules for cmake.
windows_git_http_parser() { # SOURCE
    "$WINDOWS_CC" -O2 -c "$1/http_parser.c" -o "$WINDOWS_GIT/http_parser.o" &&
        x86_64-w64-mingw32-ar rcs "$WINDOWS_GIT/lib/libhttp_parser.a" "$WINDOWS_GIT/http_parser.o" &&
        cp "$1/http_parser.h" "$WINDOWS_GIT/include/"
}
windows_git_make() {
    mkdir -p "$WINDOWS_GIT/lib" "$WINDOWS_GIT/include"
    ls -d "$WINDOWS_GIT"/libgit2-*/ >/dev/null 2>&1 || windows_git_fetch "$WINDOWS_GIT" || return 1
    windows_git_http_parser "$(echo "$WINDOWS_GIT"/http-parser-*/)" &&
        windows_git_cmake "$(echo "$WINDOWS_GIT"/pcre2-*/)" "$WINDOWS_GIT/make-pcre2" \
            -DPCRE2_BUILD_PCRE2GREP=OFF -DPCRE2_BUILD_TESTS=OFF &&
        windows_git_cmake "$(echo "$WINDOWS_GIT"/libgit2-*/)" "$WINDOWS_GIT/make-libgit2" \
            -DUSE_HTTPS=OFF -DUSE_WINHTTP=OFF -DWINHTTP=OFF -DUSE_SSH=OFF -DUSE_NTLMCLIENT=OFF -DREGEX_BACKEND=pcre2 \
            -DUSE_HTTP_PARSER=system -DUSE_SHA1=CollisionDetection -DBUILD_TESTS=OFF -DBUILD_CLI=OFF \
            -DZLIB_LIBRARY=/usr/x86_64-w64-mingw32/lib/libz.a -DCMAKE_C_FLAGS=-DPCRE2_STATIC
}
# Once; the whole output is in the log.
windows_git() {
    case $B in /*) WINDOWS_GIT=$B/windows-git ;; *) WINDOWS_GIT=$(pwd)/$B/windows-git ;; esac
    WINDOWS_GIT_FLAGS="-I$WINDOWS_GIT/include"
    WINDOWS_GIT_LIBS="-L$WINDOWS_GIT/lib -lgit2 -lhttp_parser -lpcre2-8 -lz -lws2_32 -lsecur32 -lrpcrt4 -lcrypt32 -lole32"
    [ -e "$WINDOWS_GIT/done" ] && return
    say 'libgit2 for Windows is made from its sources; that takes some minutes, once'
    windows_git_make >"$B/logs/windows-git.log" 2>&1 || {
        tail -n 10 "$B/logs/windows-git.log"
        say "libgit2 cannot be made for Windows here; the whole output is in $B/logs/windows-git.log"
        return 1
    }
    touch "$WINDOWS_GIT/done"
}
