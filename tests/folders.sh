#!/bin/sh
# Folders as they are: settings of git that would change bytes, bytes of all kinds, and folders that
# are copied, moved and put back.
. "$(dirname "$0")/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH
new() { rm -rf "$WORK/s" && mkdir "$WORK/s" && cd "$WORK/s" && "$PROGRAM" init --plain >/dev/null; }
# Writes the file as a document, changes it, and has the first version back three ways.
comes_back() { # PATH FILE
    "$PROGRAM" write "$1" --file "$2" && "$PROGRAM" write "$1" --content other && "$PROGRAM" show "$1" 1 | cmp - "$2" &&
        "$PROGRAM" restore "$1" 1 && cmp "$1" "$2" && "$PROGRAM" show "$1" | cmp - "$2" &&
        git --git-dir .agent-trace/git cat-file blob "main:$1" | cmp - "$2"
}
kinds() {
    printf 'a\r\nb\r\n' >"$WORK/crlf" && : >"$WORK/empty" && printf 'a\0\377\r\nb' >"$WORK/binary" &&
        head -c 5000000 /dev/urandom >"$WORK/large" || return 1
}
hostile_settings() {
    kinds && new && mkdir "$WORK/home" && printf '*.md text eol=lf filter=shout ident\n' >.gitattributes || return 1
    HOME=$WORK/home
    export HOME
    git config --global core.autocrlf true && git config --global core.attributesFile "$WORK/s/.gitattributes" &&
        git config --global filter.shout.clean 'tr a-z A-Z' && git config --global filter.shout.smudge 'tr a-z A-Z' &&
        git config --global init.defaultBranch odd && git config --global core.excludesFile "$WORK/s/.gitattributes" || return 1
    GIT_DIR=$WORK/nowhere GIT_WORK_TREE=/ GIT_CONFIG_COUNT=0
    export GIT_DIR GIT_WORK_TREE GIT_CONFIG_COUNT
    "$PROGRAM" write a.md --file "$WORK/crlf" && "$PROGRAM" write a.md --content other && "$PROGRAM" restore a.md 1 &&
        cmp a.md "$WORK/crlf" && "$PROGRAM" show a.md 1 | cmp - "$WORK/crlf"
    code=$?
    unset GIT_DIR GIT_WORK_TREE GIT_CONFIG_COUNT
    [ "$code" = 0 ] && comes_back b.md "$WORK/crlf"
}
all_kinds() {
    kinds && new && comes_back crlf.md "$WORK/crlf" && comes_back empty.md "$WORK/empty" &&
        comes_back binary.md "$WORK/binary" && comes_back large.md "$WORK/large" &&
        comes_back 1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/deep.md "$WORK/crlf" && comes_back 'two words-日本_x.md' "$WORK/crlf"
}
moved_and_copied() {
    new && "$PROGRAM" write a.md --content one && cd "$WORK" && mv s moved && cp -R moved copy || return 1
    (cd moved && "$PROGRAM" write a.md --content moved && "$PROGRAM" show a.md 1) &&
        (cd copy && "$PROGRAM" write a.md --content copy && [ "$("$PROGRAM" show a.md 1)" = one ]) &&
        [ "$(cat moved/a.md)" = moved ] && [ "$(cat copy/a.md)" = copy ] || return 1
    mkdir restored && tar -C copy -cf - . | tar -C restored -xf - && cd restored &&
        [ "$("$PROGRAM" show a.md 2)" = copy ] && "$PROGRAM" write a.md --content again
}
clash() {
    new && "$PROGRAM" write Plan.md --content one && ! "$PROGRAM" write plan.md --content two && [ ! -e plan.md ]
}
read_only_medium() {
    new && "$PROGRAM" write a.md --content one && cp -a "$WORK/s" "$WORK/kept" || return 1
    mount -t tmpfs none "$WORK/s" && cp -a "$WORK/kept/." "$WORK/s" && mount -o remount,ro "$WORK/s" && cd "$WORK/s" &&
        [ "$("$PROGRAM" show a.md)" = one ] && "$PROGRAM" ls && "$PROGRAM" status && ! "$PROGRAM" write a.md --content two &&
        [ "$(cat a.md)" = one ]
    code=$?
    cd "$WORK" && umount "$WORK/s"
    return "$code"
}
case_ 'no setting of git changes a byte that is stored or comes back' hostile_settings
case_ 'CRLF, empty, binary, 5 MB, 15 folders deep and names of all kinds come back to the byte' all_kinds
case_ 'moved, copied and restored from an archive' moved_and_copied
case_ 'a name that differs in case alone is refused' clash
if mkdir "$WORK/probe" && mount -t tmpfs none "$WORK/probe" 2>/dev/null; then
    umount "$WORK/probe"
    case_ 'a read-only medium can be read, and is not written' read_only_medium
else
    skip 'a read-only medium can be read, and is not written' 'nothing can be mounted here'
fi
kit_end
