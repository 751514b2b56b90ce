# demo: what the program does, in a minute, on a store of real documents.
command_demo() {
    need $NEED_DEMO
    . build.d/build.sh
    command_build
    [ -x "$B/agent-trace" ] || die "there is no program yet: cli/ is empty"
    case $B in /*) out=$B ;; *) out=$(pwd)/$B ;; esac
    stream=$(cd .. && pwd)/shared/data/replay-basic-memory.jsonl.gz
    [ -e "$stream" ] || stream=
    AGENT_TRACE_DEMO_STREAM=$stream AGENT_TRACE_PROGRAM=$out/agent-trace sh examples/demo.sh
}
