# install and uninstall --prefix P [--destdir D]: program, manual pages, completion of shells, header,
# libraries, pkg-config file, documents.
# What was put there, and the folders that were made for it, is written down in P's
# share/agent_trace/installed. uninstall goes by that list, so it knows an older version's files too.
INSTALL_LIST=share/agent_trace/installed

install_options() { # COMMAND OPTION...: sets prefix, dest and list
    what_=$1 prefix='' dest=''
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) prefix=${2-} ;;
        --destdir) dest=${2-} ;;
        *) usage_error "$what_ --prefix P [--destdir D]" ;;
        esac
        [ $# -ge 2 ] || usage_error "$what_: $1 needs a value"
        shift 2
    done
    case $prefix in /*) ;; *) usage_error "$what_: --prefix needs an absolute path" ;; esac
    case $dest in "" | /*) ;; *) usage_error "$what_: --destdir needs an absolute path" ;; esac
    # a name in the list is a line, and a piece of what sed puts into the pkg-config file
    case $prefix in
    *[\|\&\\]* | *'
'*) usage_error "$what_: --prefix may have no line feed and none of | & \\ in it" ;;
    esac
    while [ "$prefix" != "${prefix%/}" ]; do prefix=${prefix%/}; done
    list=$dest$prefix/$INSTALL_LIST
}

# ---- what is put there ----

# One line each: its mode (or "link"), where it goes below the prefix, and the file it is (or the name
# that the link holds).
install_what() {
    [ ! -e "$B/agent-trace" ] || echo "755 bin/agent-trace $B/agent-trace"
    [ ! -d "$B/share" ] || (cd "$B" && find share -type f) | while read -r f; do echo "644 $f $B/$f"; done
    echo "644 include/agent_trace.h agent_trace.h"
    echo "644 lib/libagent_trace.a $B/libagent_trace.a"
    if [ -e "$B/$soname" ]; then
        echo "755 lib/libagent_trace.so.$version $B/$soname"
        echo "link lib/$soname libagent_trace.so.$version"
        echo "link lib/libagent_trace.so $soname"
    fi
    echo "644 lib/pkgconfig/agent_trace.pc $B/agent_trace.pc"
    for f in config config-version git; do
        echo "644 lib/cmake/agent_trace/agent_trace-$f.cmake $B/agent_trace-$f.cmake"
    done
    echo "644 share/agent_trace/agent_trace.c agent_trace.c"
    for f in LICENSE *.md; do
        echo "644 share/doc/agent_trace/$f $f"
    done
}
cmake_files() {
    cp cmake/agent_trace-git.cmake "$B"
    for f in '' -version; do
        sed "s|@version@|$version|; s|@soname@|$soname|; s|@major@|${version%%.*}|" \
            "cmake/agent_trace-installed$f.cmake.in" >"$B/agent_trace-config$f.cmake"
    done
}
pkgconfig_file() {
    sed "s|@prefix@|$prefix|; s|@libdir@|\${prefix}/lib|; s|@includedir@|\${prefix}/include|
        s|@version@|$version|; s|@requires@|libgit2 zlib|" build.d/agent_trace.pc.in
}

# ---- putting it there ----

note_installed() { # LINE: before the thing is there, so that nothing is there without its line
    if ! grep -qxF -e "$1" "$list"; then echo "$1" >>"$list"; fi
}
install_folder() { # FOLDER, from the destdir on; what of it is missing is made, the outermost first
    case $1 in '' | /) return ;; esac
    [ ! -d "$dest$1" ] || return 0
    install_folder "${1%/*}"
    mkdir "$dest$1"
    if [ -e "$list" ]; then note_installed "$1/"; else made="$made$1/
"; fi
}
install_list() { # the list itself, and with it the folders it stands in
    made=
    install_folder "$prefix/${INSTALL_LIST%/*}"
    [ -e "$list" ] || printf '%s%s\n' "$made" "$prefix/$INSTALL_LIST" >"$list"
}
install_one() { # MODE TO FROM
    install_folder "${2%/*}"
    note_installed "$2"
    if [ "$1" = link ]; then
        ln -s "$3" "$dest$2.tmp$$"
    else
        cp "$3" "$dest$2.tmp$$"
        chmod "$1" "$dest$2.tmp$$"
    fi
    mv -f "$dest$2.tmp$$" "$dest$2" # a program that runs keeps the file it has
    say "$dest$2"
}
# Files of another version that this one does not have.
remove_left_over() {
    while IFS= read -r line; do
        case $line in */ | "$prefix/$INSTALL_LIST") continue ;; esac
        if ! grep -qxF -e "$line" "$B/installed"; then
            rm -f "$dest$line"
            echo "$line"
        fi
    done <"$list" >"$B/left_over"
    [ -s "$B/left_over" ] || return 0
    grep -vxF -f "$B/left_over" "$list" >"$list.tmp$$"
    mv "$list.tmp$$" "$list"
}
command_install() {
    install_options install "$@"
    . build.d/build.sh
    command_build
    umask 022
    pkgconfig_file >"$B/agent_trace.pc"
    cmake_files
    install_what >"$B/install"
    mkdir -p "$dest/"
    install_list
    while read -r mode to from; do
        install_one "$mode" "$prefix/$to" "$from"
        echo "$prefix/$to" >&3
    done <"$B/install" 3>"$B/installed"
    remove_left_over
}

# ---- and away again ----

command_uninstall() {
    install_options uninstall "$@"
    [ -e "$list" ] || die "nothing is installed there: there is no $list"
    LC_ALL=C sort -r "$list" >"$B/installed" # what is in a folder before the folder
    while IFS= read -r line; do
        case $line in */ | "$prefix/$INSTALL_LIST") continue ;; esac
        rm -f "$dest$line"
        say "$dest$line"
    done <"$B/installed"
    rm -f "$list" # the last of the files: what was interrupted before can be done again
    while IFS= read -r line; do
        # a folder goes only if it was made for us and nobody has put anything in it
        case $line in */) rmdir "$dest${line%/}" 2>/dev/null || true ;; esac
    done <"$B/installed"
}
