#!/bin/sh
# What is damaged or stands in the way costs what it is about and nothing else: the repository's HEAD
# and config, a disk without room, a rejected/ that cannot be written.
if [ -z "${ALONE-}" ] && unshare --mount true 2>/dev/null; then # what is mounted is our own affair
    exec env ALONE=1 unshare --mount --propagation private sh "$0" "$@"
fi
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
S=$WORK/store A=$WORK/store/.agent-trace
at() { "$PROGRAM" -C "$S" "$@" </dev/null; }
agent() { at --actor agent:kestrel "$@"; }
fill() {
    rm -rf "$S" && mkdir "$S" && at init --plain && at write ref.md --type reference --content ref &&
        at write plan.md --content one && at write plan.md --content two && at write old.md --content old
}
is() { # CODE PATTERN COMMAND...: exit code, and what is printed
    is_code=$1 is_pattern=$2 is_rc=0
    shift 2
    "$@" >"$WORK/said" 2>&1 || is_rc=$?
    [ "$is_rc" = "$is_code" ] && grep -q -- "$is_pattern" "$WORK/said" && return
    echo "$*: exit $is_rc, wanted $is_code and $is_pattern"
    cat "$WORK/said"
    return 1
}
quiet() { # nothing to say
    at doctor >"$WORK/said" && ! grep -q '^[ew]' "$WORK/said" || { cat "$WORK/said"; return 1; }
}

# ---- git ----

git_works() { git --git-dir "$A/git" fsck --strict && [ "$(git --git-dir "$A/git" log -1 --format=%s main -- plan.md)" ]; }
git_file() { # NAME: damaged in each way that there is, found, and made anew by repair and by publication
    n=0
    for junk in 'junk junk' '\0\0\0junk[[' 'ref: nowhere\n' '[core\n\tbare = true\n' '[core]\n\tbare = "true\n' '[co_re]\n\tx = y\n'; do
        n=$((n + 1))
        fill >"$WORK/log" && printf "$junk" >"$A/git/$1" && ! git --git-dir "$A/git" log >"$WORK/log" 2>&1 || return 1
        is 1 "^error.git_file..agent-trace/git/$1 is damaged.*run 'agent-trace repair'" at doctor || return 1
        is 1 "^error.git_file..agent-trace/git/$1 is damaged" at doctor --deep || return 1
        is 0 "^mended.git_file..agent-trace/git/$1 is damaged" at repair && git_works && quiet || return 1
        [ -s "$A/damaged/$1" ] && printf "$junk" >"$A/git/$1" && at git log -1 >"$WORK/log" && git_works && quiet || return 1
    done
    [ "$n" = 6 ]
}
git_config_kept() { # a person's own entries stay, and a text that only its owner can mend is kept
    fill && git --git-dir "$A/git" config alias.last 'log -1 HEAD' && git --git-dir "$A/git" config remote.origin.url 'a "b" \ #c' &&
        git --git-dir "$A/git" symbolic-ref HEAD refs/heads/mine && cp -r "$A/git" "$WORK/was" && quiet && at repair &&
        at write plan.md --content three && at doctor --fix && cmp "$A/git/config" "$WORK/was/config" && cmp "$A/git/HEAD" "$WORK/was/HEAD" &&
        rm -r "$WORK/was" && git --git-dir "$A/git" symbolic-ref HEAD refs/heads/main &&
        printf '[alias]\n\tmine = "log\n' >>"$A/git/config" && at git log -1 &&
        grep -q 'mine = "log' "$A/git/config.damaged" && git_works
}
# What git can read is no finding, and what it cannot is one.
git_grammar() {
    fill && n=0 || return 1
    while IFS= read -r text; do
        printf "$text" >"$A/git/config"
        wanted=0
        git config --file "$A/git/config" --list >"$WORK/log" 2>&1 || wanted=1
        at doctor >"$WORK/said"
        grep -q git_file "$WORK/said"
        [ $((1 - $?)) = "$wanted" ] || { echo "'$text': git says $wanted"; cat "$WORK/log" "$WORK/said"; return 1; }
        n=$((n + 1))
    done <<'END'
[core]\n\tbare = true\n
[core]bare = true
[core]\n\tbare\n
[core]\n\tbare\r\n
[core.x]\nb = 1
[core  "x"]\nb = 1
[core "x" ]\nb = 1
[co_re]\nb = 1
[core] bare # yes
[core]\n\tbare = true ; "odd
; only this\n
[a "b c"]\n\tx-1 = y\n
[a "b\\"c"]\n\tx = "y \\" z" tail\n
[a.b]\n\tx = one \\\\\n two\n
\xef\xbb\xbf[core]\n\tbare = true\n
[core]\r\n\tbare = true\r\n
[core]\n\tbare = "true\n
[core\n\tbare = true\n
[core]\n\tba_re = true\n
[core]\n\t1bare = true\n
[core]\n\tbare true\n
[core]\n\tbare = \\q\n
bare = true\n
[]\n\tbare = true\n
[a "b\n"]\n\tx = y\n
junk
END
    echo "$n texts"
    [ "$n" = 26 ]
}
if command -v git >/dev/null; then
    case_ 'a damaged HEAD is found and made anew' git_file HEAD
    case_ 'a damaged config is found and made anew' git_file config
    case_ "a person's own entries in config and HEAD stay" git_config_kept
    case_ 'what git can read is no finding, and what it cannot is one' git_grammar
else
    skip 'a damaged HEAD or config is found and made anew' 'no git'
fi

# ---- no room ----

# Runs full_NAME in a file system of a few megabytes of its own, or says that it cannot.
small() { # SENTENCE COMMAND
    if [ -n "${ALONE-}" ]; then
        case_ "$1" small_disk "$2"
    else
        skip "$1" 'needs mounts of its own'
    fi
}
small_disk() { # COMMAND
    mkdir -p "$S" && mount -t tmpfs -o size=4m none "$S" || return 1
    small_rc=0
    (A=$S/in/.agent-trace S=$S/in && "$1") || small_rc=1
    umount "$S"
    return $small_rc
}
fill_disk() { ! cat /dev/zero 2>/dev/null >"$S/../filler"; }
reads() { # every reader answers as on any day
    is 0 'ref.md' at ls && is 0 'violation' at log && is 0 '^two$' at show plan.md && is 0 'documents   3' at status &&
        is 0 'kept' at violations && is 0 'violation' at trace -n 1 && is 0 'reference' at info ref.md && is 0 '^evil$' at violations show 5
}
full_refused() { # a refusal stops nobody; what needs no room is done; with room all is as ever
    fill && fill_disk && is 3 'denied.*recorded as event 5' agent write ref.md --content 'evil
' || return 1
    ! ls "$A/rejected" | grep . && reads && reads && is 3 'denied' agent write ref.md --content 'evil
' && is 1 '^warning.refused_waits.*make room' at doctor && reads || return 1
    is 1 'plan.md: no space left; make room' at write plan.md --content three && is 0 'ref.md' at unlock ref.md --for agent:kestrel &&
        is 0 'old.md' at reclassify old.md plan --yes && is 0 'old.md' at rm --yes old.md && is 1 'no space left; make room' at gc && ! is 1 rejected at repair || return 1
    rm "$S/../filler" && at write plan.md --content four && [ "$(cat "$A"/rejected/*)" = evil ] && at show plan.md | grep -q four &&
        is 0 '^evil$' at violations show 5 && at repair || return 1
    at doctor >"$WORK/said"
    ! grep refused_waits "$WORK/said"
}
full_restart() { # also after a restart, which would want to write
    fill && fill_disk && is 3 'denied' agent write ref.md --content 'evil
' && rm "$A/state" && reads && rm "$S/../filler" && at write plan.md --content three && [ "$(cat "$A"/rejected/*)" = evil ]
}
closed_rejected() { # rights, a folder of the bytes' name: the same
    fill && hash=$(echo evil | sha256sum | cut -d' ' -f1) && mkdir "$A/rejected/$hash" && is 3 'denied' agent write ref.md --content 'evil
' && reads && at write plan.md --content three && at gc && at write plan.md --content four && at ls && at rm --yes plan.md &&
        is 1 '^warning.refused_bytes' at doctor && is 1 '^mended.refused_bytes' at doctor --fix && [ -d "$A/damaged/$hash" ] &&
        at ls && [ "$(cat "$A/rejected/$hash")" = evil ] && is 0 '^evil$' at violations show 5
}
small 'a refused write on a full disk stops neither reads nor other writes' full_refused
small 'a restart on a full disk leaves the store readable' full_restart
case_ 'what stands in the place of refused bytes stops nobody' closed_rejected
kit_end
