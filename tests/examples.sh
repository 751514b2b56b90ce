#!/bin/sh
# Each example is a program that a user could have written: it is linked with the library, run in an
# empty folder, and must succeed. The folders among them build themselves.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
. tests/kit.sh

one_file() { # FILE
    name=$(basename "$1" .c) library=$BUILD/libagent_trace.a
    if grep -q AGENT_TRACE_IMPLEMENTATION "$1"; then library=; fi
    mkdir "$WORK/$name.run"
    "$CC" -std=c11 -Wall -Wextra -I. $(pkg-config --cflags libgit2 zlib) "$1" $library \
        $(pkg-config --libs libgit2 zlib) -pthread -o "$WORK/$name" && (cd "$WORK/$name.run" && timeout 60 "../$name")
}
folder() { # FOLDER
    ${MAKE:-make} -s -C "$1" OUT="$WORK/$(basename "$1")" check
}
for f in examples/*.c; do case_ "$f runs" one_file "$f"; done
for f in examples/*/Makefile; do case_ "$f builds what runs" folder "$(dirname "$f")"; done
for f in examples/*.sh; do case_ "$f runs" env AGENT_TRACE_PROGRAM="$PROGRAM" sh "$f"; done
kit_end
