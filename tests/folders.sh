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
# ---- root in somebody else's store ----

theirs() { setpriv --reuid 65534 --regid 65534 --clear-groups "$WORK/program" "$@"; }
# A store of theirs, with a write that git does not have yet.
their_store() {
    chmod 755 "$WORK" && cp "$PROGRAM" "$WORK/program" && rm -rf "$WORK/s" && mkdir "$WORK/s" && chown 65534:65534 "$WORK/s" && cd "$WORK/s" &&
        theirs init --plain && theirs write a.md --content one && AGENT_TRACE_PUBLISH=manual theirs write d/b.md --content one
}
foreign() { find . \( ! -user "${1:-65534}" -o ! -group "${1:-65534}" \) -print; }
goes_on() { # the owner writes, publishes and packs as before
    theirs write a.md --content more && theirs git log -1 >"$WORK/log" && theirs gc && theirs write c/d.md --content new && theirs doctor >"$WORK/doctor" && ! grep -q owner "$WORK/doctor"
}
root_works() { # every command by root leaves all of it theirs
    for line in 'git log -1' 'log' 'write a.md --content root' 'write n/e/w.md --content root' 'gc' 'doctor --fix' 'repair' 'rm a.md' 'mv a.md n/m.md' 'lock hold true'; do
        their_store || return 1
        # shellcheck disable=SC2086
        "$PROGRAM" $line >"$WORK/did" 2>&1 || { echo "root's $line" && cat "$WORK/did" && return 1; }
        [ -z "$(foreign)" ] || { echo "after root's $line:" && foreign && return 1; }
        goes_on || { echo "after root's $line" && return 1; }
    done
    for file in .agent-trace/locks/store.lock .agent-trace/state; do # these are made in their place
        their_store && rm "$file" && "$PROGRAM" write a.md --content root && [ -z "$(foreign)" ] && goes_on || return 1
    done
    mkdir "$WORK/s/new" && chown 65534:65534 "$WORK/s/new" && cd "$WORK/s/new" && "$PROGRAM" init --plain && [ -z "$(foreign)" ] && theirs write a.md --content one || return 1
    rm -rf "$WORK/s" && mkdir "$WORK/s" && chown 65534:0 "$WORK/s" && chmod 700 "$WORK/s" && cd "$WORK/s" && umask 077 && "$PROGRAM" init --plain && "$PROGRAM" write n/a.md --content one &&
        [ -z "$(find . ! -user 65534)" ] && [ -z "$(find . ! -group 0)" ]
}
is() { [ "$(stat -c '%u:%g %a' "$1")" = "$2" ] || { stat -c "%n is %u:%g %a, not $2" "$1" && return 1; }; }
keeps_owner() { # what is replaced keeps owner and group, and set-id bits only with them
    their_store && chown 12345:54321 d/b.md && chmod 4750 d/b.md && "$PROGRAM" write d/b.md --content root && is d/b.md '12345:54321 4750' &&
        "$PROGRAM" restore d/b.md 1 && is d/b.md '12345:54321 4750' && "$PROGRAM" mv d/b.md d/c.md && is d/c.md '12345:54321 4750' || return 1
    chmod 6755 d/c.md && theirs write d/c.md --content theirs && is d/c.md '65534:65534 755' || return 1
    chown 65534:54321 d/c.md && chmod 2755 d/c.md && theirs write d/c.md --content again && is d/c.md '65534:65534 755' &&
        chmod 2755 d/c.md && theirs write d/c.md --content once && is d/c.md '65534:65534 2755' && [ -z "$(foreign)" ]
}
says() { grep -q -e "$1" "$WORK/out" || { echo "not said: $1" && cat "$WORK/out" && return 1; }; }
root_was_here() { # as an older program, or a copy by root, left it
    CHOWN="'chown -R 65534 .agent-trace'"
    their_store && theirs gc && CATALOG=$(ls .agent-trace/catalog.*) && AGENT_TRACE_PUBLISH=manual theirs write d/b.md --content two || return 1
    ln "$(ls .agent-trace/git/objects/pack/*.pack)" "$WORK/s/second.pack"
    chown 0:0 .agent-trace/git/refs/heads/main "$CATALOG" .agent-trace/git/objects/pack/*.pack && chmod 6600 "$CATALOG" || return 1
    for line in ls status 'write a.md --content x'; do
        # shellcheck disable=SC2086
        ! theirs $line >"$WORK/out" 2>&1 && says 'cannot open catalog.*permission denied.*user 0: run '"$CHOWN" || return 1
    done
    ! theirs doctor >"$WORK/out" 2>&1 && says '3 files or folders in .agent-trace belong to another user' && says "$CHOWN" && says 'cannot open catalog' || return 1
    chmod 644 "$CATALOG" && ! theirs git log -1 >"$WORK/out" 2>&1 && says 'cannot open main: permission denied.*'"$CHOWN" && chmod 6600 "$CATALOG" || return 1
    ! "$PROGRAM" doctor >"$WORK/out" 2>&1 && says '3 files or folders' && says "$CHOWN" || return 1
    "$PROGRAM" doctor --fix >"$WORK/out" 2>&1
    is "$CATALOG" '65534:65534 600' && is second.pack '0:0 444' && [ "$(foreign | wc -l)" = 2 ] || { foreign && return 1; } # one file, two names
    says '3 files or folders' && rm second.pack && "$PROGRAM" doctor --fix >"$WORK/out" 2>&1 && says '1 file or folder' && [ -z "$(foreign)" ] && goes_on
}
case_ 'no setting of git changes a byte that is stored or comes back' hostile_settings
case_ 'CRLF, empty, binary, 5 MB, 15 folders deep and names of all kinds come back to the byte' all_kinds
case_ 'moved, copied and restored from an archive' moved_and_copied
case_ 'a name that differs in case alone is refused' clash
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
    case_ "what root makes in somebody else's store is theirs, and they go on" root_works
    case_ 'a document that is replaced keeps its owner and group, and set-id bits only with them' keeps_owner
    case_ "parts that root made are named with their mend, by whatever meets them, and 'doctor --fix' gives them back" root_was_here
else
    skip "root in somebody else's store" 'only root can give files away'
fi
if mkdir "$WORK/probe" && mount -t tmpfs none "$WORK/probe" 2>/dev/null; then
    umount "$WORK/probe"
    case_ 'a read-only medium can be read, and is not written' read_only_medium
else
    skip 'a read-only medium can be read, and is not written' 'nothing can be mounted here'
fi
kit_end
