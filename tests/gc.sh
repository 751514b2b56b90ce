#!/bin/sh
# agent-trace gc: what it prints, its exit codes, and how small it makes a real history, compared
# with `git repack -adf` of the same commits.
# usage: tests/gc.sh [PROGRAM]. The history is in AGENT_TRACE_TEST_DATA or ../shared/data.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
. tests/kit.sh
PROGRAM=${1:-$PROGRAM}
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR
R=$WORK/root

at() { "$PROGRAM" -C "$R" "$@"; }
silent_fsck() {
    said=$(git --git-dir "$R/.agent-trace/git" fsck --full --strict --no-progress 2>&1)
    [ -z "$said" ] || {
        echo "$said"
        return 1
    }
}
exits() { # CODE COMMAND...
    want=$1
    shift
    "$@"
    got=$?
    [ "$got" = "$want" ] || {
        echo "exit code $got, wanted $want"
        return 1
    }
}

mkdir "$R"
at init --plain >/dev/null || exit 2
for i in 1 2 3 4 5 6; do
    at write notes.md --content "version $i" >/dev/null || exit 2
done

# ---- what it prints ----

rows() {
    at gc >"$WORK/rows" || return
    cut -f 1 "$WORK/rows" | tr '\n' ' ' >"$WORK/names"
    [ "$(cat "$WORK/names")" = 'git unpublished trace journal rejected aside tmp other together ' ] &&
        ! grep -vqE '^[a-z]+	[0-9]+	[0-9]+$' "$WORK/rows"
}
sums() { # the last row is the sum, and the trace stays as it is
    awk -F '\t' '$1 == "together" { exit !($2 == b && $3 == a) }
        { b += $2; a += $3 } $1 == "trace" && $2 != $3 { exit 1 }' "$WORK/rows"
}
smaller() { awk -F '\t' '$1 == "git" { exit !($3 < $2 && $3 > 0) }' "$WORK/rows"; }
one_pack() {
    git --git-dir "$R/.agent-trace/git" count-objects -v >"$WORK/count"
    grep -q '^count: 0$' "$WORK/count" && grep -q '^packs: 1$' "$WORK/count" &&
        grep -q '^garbage: 0$' "$WORK/count"
}
json() {
    at gc --json >"$WORK/json" && python3 - "$WORK/json" <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["packs"] == 1 and r["loose"] == 0 and r["missing"] == 0 and r["objects"] == 18, r
for when in "before", "after":
    assert list(r[when]) == ["git", "unpublished", "trace", "journal", "rejected", "aside", "tmp",
                             "other"], r
    assert all(set(v) == {"files", "bytes"} for v in r[when].values())
assert r["after"]["journal"] == {"files": 1, "bytes": 8192}
END
}
versions() {
    for i in 1 2 3 4 5 6; do
        [ "$(at show notes.md "$i")" = "version $i" ] || return
    done
}
case_ 'a row for each part, with bytes before and after' rows
case_ 'the last row is their sum' sums
case_ 'git is smaller than before' smaller
case_ 'one pack is left, and nothing loose' one_pack
case_ 'git finds nothing wrong' silent_fsck
case_ 'every version is there' versions
case_ '--json says the same, in members that stay' json
case_ 'it can be done again' at gc

# ---- what it tells, and its exit codes ----

notes() {
    mkdir -p "$R/.agent-trace/aside"
    echo edit >"$R/.agent-trace/aside/1-notes.md"
    blob=$(echo loose | git --git-dir "$R/.agent-trace/git" hash-object -w --stdin) || return
    at gc >/dev/null 2>"$WORK/err" || return
    grep -q '^agent-trace: note: 1 edit that met a write is kept in .agent-trace/aside' "$WORK/err" &&
        grep -q '^agent-trace: note: 1 loose object stays' "$WORK/err" &&
        git --git-dir "$R/.agent-trace/git" cat-file -e "$blob"
}
busy() {
    exec 9>>"$R/.agent-trace/locks/publish.lock" && flock 9 || return
    exits 5 at gc 2>"$WORK/err"
    code=$?
    exec 9>&-
    [ "$code" = 0 ] && grep -q 'publish.lock' "$WORK/err"
}
damaged() { # nothing is changed, and the message says what to do
    cp -r "$R" "$WORK/damaged" && rm -rf "$WORK/damaged/.agent-trace/git/objects" || return
    exits 1 "$PROGRAM" -C "$WORK/damaged" gc 2>"$WORK/err" && grep -q 'agent-trace repair' "$WORK/err"
}
case_ 'what a person decides about is noted, and stays' notes
case_ 'busy, exit code 5, while somebody publishes' busy
case_ 'damaged, exit code 1' damaged
case_ 'no store, exit code 4' exits 4 "$PROGRAM" -C "$WORK" gc
case_ 'a word that it does not take, exit code 2' exits 2 at gc everything

# ---- a real history ----

stream=${AGENT_TRACE_TEST_DATA:-$ROOT/../shared/data}/replay-basic-memory.jsonl.gz
bytes() { find "$@" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'; }
replay() {
    R=$WORK/replay
    mkdir "$R" && at init --plain >/dev/null && at import "$stream" >/dev/null && at gc >/dev/null || return
    silent_fsck || return
    n=$(git --git-dir "$R/.agent-trace/git" rev-list --count main)
    [ "$n" = 1060 ] || { echo "$n commits"; return 1; }
    git clone -q --bare --no-local "$R/.agent-trace/git" "$WORK/repacked" &&
        git --git-dir "$WORK/repacked" -c pack.threads=1 repack -adfq || return
    theirs=$(bytes "$WORK/repacked/objects")
    ours=$(bytes "$R/.agent-trace")
    echo "the whole store: $ours bytes; git repack -adf: $theirs" >"$WORK/measured"
    [ "$theirs" -gt 1000000 ] && [ "$ours" -gt 1000000 ] && [ $((ours * 10)) -le $((theirs * 13)) ]
}
if [ -r "$stream" ]; then
    case_ 'a real history takes at most 1.3 of what git makes of the same commits' replay
    cat "$WORK/measured"
else
    skip 'a real history compared with git repack -adf' "there is no $stream (set AGENT_TRACE_TEST_DATA)"
fi
kit_end
