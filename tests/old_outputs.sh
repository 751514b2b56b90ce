# What agent-trace 0.1.0 printed of its stores, by 117 commands, and what ours says of them, where
# they lie and upgraded: every fact is the same, or not for a reason that old_outputs.py gives.
. tests/kit.sh
ROOT=$(cd "$ROOT" && pwd)
stores=${AGENT_TRACE_TEST_DATA:-$ROOT/../shared/data}/reference-stores
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR
# In a pipe all times are in UTC, wherever one is.
export LC_ALL=C TZ=XXX-9

if ! [ -r "$stores/expected-output/agents/commands.json" ]; then
    skip 'what agent-trace 0.1.0 printed' 'reference-stores is not in the shared test data'
    kit_passed=1
    kit_end
fi

compare() { python3 "$ROOT/tests/old_outputs.py" "$PROGRAM" "$stores" "$WORK" >"$WORK/compared" || {
    cat "$WORK/compared"
    return 1
}; }
# How much was seen: both before and after the upgrade 117 outputs of 1656 lines.
saw() {
    printf '%s\n' 'outputs 234' 'lines 3312' 'facts 13376' 'falsehoods 18' 'false lines 5832' >"$WORK/wanted"
    grep -v '^seed ' "$WORK/compared" | diff "$WORK/wanted" -
}

case_ 'every fact that agent-trace 0.1.0 printed is told, and every falsehood would be noticed' compare
case_ 'nothing was left out' saw
grep '^seed ' "$WORK/compared"
kit_end
