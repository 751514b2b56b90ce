#!/bin/sh
# A store of real documents in a temporary folder, and what can be done with it. Run by
# `./build.sh demo`; by hand it needs AGENT_TRACE_PROGRAM, or agent-trace in the path. The documents
# come from AGENT_TRACE_DEMO_STREAM, a file for `agent-trace import`, else from this project's history.
set -u
here=$(cd "$(dirname "$0")" && pwd)
program=${AGENT_TRACE_PROGRAM:-agent-trace}
stream=${AGENT_TRACE_DEMO_STREAM-}
folder=$(mktemp -d "${TMPDIR:-/tmp}/agent-trace-demo-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
cd "$folder" || exit 1
unset AGENT_TRACE_ACTOR

bold= normal=
if [ -t 1 ]; then bold=$(printf '\033[1m') normal=$(printf '\033[0m'); fi
title() { printf '\n%s== %s%s\n' "$bold" "$*" "$normal"; }
run() { # shows the command as a person would type it, and runs it
    printf '%s$ agent-trace' "$bold"
    for word; do
        case $word in *[!A-Za-z0-9_./:=-]*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    printf '%s\n' "$normal"
    "$program" "$@"
}
wrong() {
    echo "demo: $*" >&2
    exit 1
}

title 'A store in an empty folder'
run init || wrong 'init failed'

if [ -e "$stream" ]; then
    title "The history of a project's notes"
    run import "$stream"
elif git -C "$here" rev-parse HEAD >/dev/null 2>&1 && command -v python3 >/dev/null 2>&1; then
    title "The history of this project's own files"
    echo '$ git_history.py | agent-trace import -'
    python3 "$here/git_history.py" "$here/.." 60 | "$program" import -
else
    title "This project's own files"
    for file in README.md agent_trace.h; do
        [ ! -e "$here/../$file" ] || run write "$file" --file "$here/../$file"
    done
fi
code=$? # 1: a history may hold names that a store refuses; it says which, and takes the rest
case $code in 0 | 1 | 3) ;; *) wrong "the import ended with $code" ;; esac

title 'What is in it'
run status || wrong 'status failed'
"$program" ls >ls.out || wrong 'ls failed'
echo "$ agent-trace ls | tail -n 5"
tail -n 5 ls.out
rm ls.out
run log -n 8 || wrong 'log failed'

title 'A person writes down the rules; an agent may read them, not change them'
run write RULES.md --type reference --content 'Never delete a migration.' || wrong 'the write failed'
run --actor agent:claude write RULES.md --content 'Delete what you like.'
code=$?
echo "exit code $code"
[ "$code" = 3 ] || wrong "an agent's write of a reference document ended with $code, not with 3"
[ "$(cat RULES.md)" = 'Never delete a migration.' ] || wrong 'the refused bytes are in the file'
run log --action violation || wrong 'log failed'

title 'An agent keeps a plan, loses half of it, and gets it back'
run --actor agent:claude write PLAN.md --type plan --content '1. read  2. test  3. mend' || wrong 'the write failed'
run --actor agent:claude write PLAN.md --content '1. read' || wrong 'the write failed'
run diff PLAN.md 1 2 || wrong 'diff failed'
run restore PLAN.md 1 --summary 'the whole plan again' || wrong 'restore failed'
run show PLAN.md || wrong 'show failed'
echo
[ "$(cat PLAN.md)" = '1. read  2. test  3. mend' ] || wrong 'the restored version is not the first one'
run log PLAN.md || wrong 'log failed'

title 'It is git underneath'
echo '$ agent-trace git log --oneline -n 5'
"$program" git log --oneline -n 5 || wrong 'git failed'
