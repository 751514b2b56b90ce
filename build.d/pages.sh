#!/bin/sh
# Writes the manual pages, and the completion of bash, zsh and fish, which the program makes from its
# own tables: pages.sh PROGRAM SHARE, where SHARE is what share/ is below the prefix. Meson tells the
# prefix by itself.
set -eu
program=$1 share=$2
case ${MESON_INSTALL_DESTDIR_PREFIX-} in ?*) share=$MESON_INSTALL_DESTDIR_PREFIX/$share ;; esac
man=$share/man/man1
mkdir -p "$man" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
"$program" help --man >"$man/agent-trace.1"
for name in $("$program" help --names); do
    "$program" help --man "$name" >"$man/agent-trace-$name.1"
done
"$program" completion bash >"$share/bash-completion/completions/agent-trace"
"$program" completion zsh >"$share/zsh/site-functions/_agent-trace"
"$program" completion fish >"$share/fish/vendor_completions.d/agent-trace.fish"
