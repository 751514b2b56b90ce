# Runs test scripts: script.sh ROOT BUILD SECONDS FILE. A script is told where things are; it prints its own sum.
root=$1 out=$2 seconds=$3 file=$4
case $out in /*) ;; *) out=$root/$out ;; esac
if [ -x "$file" ]; then set -- "./$file"; else set -- sh "$file"; fi
# who started us may have told us to ignore SIGPIPE, and a shell cannot undo that
if env --default-signal=PIPE true 2>/dev/null; then set -- env --default-signal=PIPE "$@"; fi
if command -v timeout >/dev/null 2>&1; then set -- timeout -k 10 "$seconds" "$@"; fi
AGENT_TRACE_ROOT=$root AGENT_TRACE_BUILD=$out AGENT_TRACE_PROGRAM=$out/agent-trace exec "$@"
