# Sourced by the test scripts: cases that are counted, a temporary folder that goes away. A script is
# run by `./build.sh test`, or by hand from the project's root; it ends with kit_end.
#
#     . tests/kit.sh
#     case_ 'a sentence that was promised' command arguments...
#     skip 'another sentence' 'why'
#     kit_end
set -u
ROOT=${AGENT_TRACE_ROOT:-$(pwd)}
BUILD=${AGENT_TRACE_BUILD:-$ROOT/build}
PROGRAM=${AGENT_TRACE_PROGRAM:-$BUILD/agent-trace}
CC=${CC:-gcc}
export ROOT BUILD PROGRAM CC
WORK=$(mktemp -d "${TMPDIR:-/tmp}/agt-script-XXXXXX") || exit 2
trap 'rm -rf "$WORK"' EXIT
trap 'exit 1' HUP INT TERM
kit_passed=0 kit_failed=0 kit_skipped=0

# The case passes if the command succeeds. What it prints is shown only if it does not.
case_() { # NAME COMMAND...
    kit_name=$1
    shift
    if ("$@") >"$WORK/.case" 2>&1 </dev/null; then
        kit_passed=$((kit_passed + 1))
        [ -z "${VERBOSE-}" ] || printf 'ok      %s\n' "$kit_name"
    else
        kit_failed=$((kit_failed + 1))
        printf 'FAILED  %s\n' "$kit_name"
        tail -n 40 "$WORK/.case" | sed 's/^/    /'
    fi
}
skip() { # NAME WHY
    kit_skipped=$((kit_skipped + 1))
    printf 'SKIPPED %s: %s\n' "$1" "$2"
}
# The program, for scripts that ask it much: what it printed is in $WORK/out and $WORK/err.
at() { "$PROGRAM" "$@" </dev/null >"$WORK/out" 2>"$WORK/err"; }
code() { # WANTED ARGS...
    code_wanted=$1 code_is=0
    shift
    at "$@" || code_is=$?
    [ "$code_is" = "$code_wanted" ] && return
    echo "agent-trace $*: exit $code_is, wanted $code_wanted"
    cat "$WORK/out" "$WORK/err"
    return 1
}
kit_end() {
    printf '%d passed, %d failed, %d skipped\n' "$kit_passed" "$kit_failed" "$kit_skipped"
    [ "$kit_failed" = 0 ] && [ "$kit_passed" != 0 ]
    exit
}
