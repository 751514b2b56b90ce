# install --prefix P [--destdir D]: header, shipped file, libraries, program, pkg-config file.
install_file() { # MODE FROM TO
    mkdir -p "$dest$(dirname "$3")"
    cp "$2" "$dest$3.tmp$$"
    chmod "$1" "$dest$3.tmp$$"
    mv "$dest$3.tmp$$" "$dest$3"
    say "$dest$3"
}
command_install() {
    prefix='' dest=''
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) prefix=${2-} ;;
        --destdir) dest=${2-} ;;
        *) usage_error "install --prefix P [--destdir D]" ;;
        esac
        [ $# -ge 2 ] || usage_error "install: $1 needs a value"
        shift 2
    done
    case $prefix in /*) ;; *) usage_error "install: --prefix needs an absolute path" ;; esac
    . build.d/build.sh
    command_build
    install_file 644 agent_trace.h "$prefix/include/agent_trace.h"
    install_file 644 agent_trace.c "$prefix/share/agent_trace/agent_trace.c"
    install_file 644 "$B/libagent_trace.a" "$prefix/lib/libagent_trace.a"
    if [ -e "$B/$soname" ]; then
        install_file 755 "$B/$soname" "$prefix/lib/libagent_trace.so.$version"
        ln -sf "libagent_trace.so.$version" "$dest$prefix/lib/$soname"
        ln -sf "$soname" "$dest$prefix/lib/libagent_trace.so"
    fi
    [ ! -e "$B/agent-trace" ] || install_file 755 "$B/agent-trace" "$prefix/bin/agent-trace"
    sed "s|@prefix@|$prefix|; s|@version@|$version|" build.d/agent_trace.pc.in >"$B/agent_trace.pc"
    install_file 644 "$B/agent_trace.pc" "$prefix/lib/pkgconfig/agent_trace.pc"
}
