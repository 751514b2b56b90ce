#!/bin/sh
# What is damaged or stands in the way costs what it is about and nothing else: the repository's HEAD
# and config, a disk without room, a rejected/ that cannot be written.
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
kit_end
