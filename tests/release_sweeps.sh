#!/bin/sh
# The long sweeps: what the other runs of the tests do in short. Each says how much it saw, and fails
# if that was too little.
#
#     tests/release_sweeps.sh              all of them; SEED=N repeats a run
#     tests/release_sweeps.sh NAME...      some: cuts deaths persons faults kills hammer calls disk random
#     SCALE=10 tests/release_sweeps.sh     about a tenth of them
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
AGENT_TRACE_BUILD=${AGENT_TRACE_BUILD:-$(pwd)/build}
. build.d/common.sh
. build.d/test.sh
. tests/kit.sh
seed=${SEED:-$(date +%s)} scale=${SCALE:-100} only=" $* "
tests=$BUILD/obj/parts/tests log=$WORK/log
need $NEED_TEST git
(command_build && suite_build parts src/agent_trace.c "$(git_libs)" $(test_compiler) $(git_flags)) || exit 1

part() { # N: as much of it as the scale asks for, but something
    part_=$(($1 * scale / 100))
    echo $((part_ > 0 ? part_ : 1))
}
runs() { # N SETTINGS OPTION...: of the suite, each with a seed of its own
    left=$1 settings=$2 rc_=0
    shift 2
    while [ "$left" -gt 0 ]; do
        left=$((left - 1))
        env $settings "$tests" --all -v --seed $((seed + left)) "$@" || rc_=1
    done
    return "$rc_"
}
script_with() { # SETTINGS FILE
    env $1 SEED="$seed" sh "$2"
}
saw() { # WHAT: the sum of the numbers in front of it
    sed 's/^    saw //' "$log" | awk -v what="$1" '
        { n = $1; sub(/^[^ ]* /, ""); after = substr($0, length(what) + 1, 1) }
        n ~ /^[0-9]+$/ && index($0, what) == 1 && after !~ /[a-z]/ { sum += n }
        END { print sum + 0 }'
}
did() { # the case: the command's answer, and what it saw
    grep -v '^ok  \|^    saw ' "$log"
    echo "$n $what, wanted $least (seed $seed)"
    [ "$rc" = 0 ] && [ "$n" -ge "$least" ]
}
sweep() { # NAME LEAST WHAT COMMAND...
    name=$1 least=$(part "$2") what=$3
    shift 3
    case $only in '  ' | *" $name "*) ;; *) return 0 ;; esac
    started=$(date +%s)
    ("$@") >"$log" 2>&1 </dev/null
    rc=$? n=$(saw "$what")
    if [ "$rc" = 0 ] && grep -q '^0 passed, 0 failed, ' "$log"; then
        skip "$name" "$(sed -n 's/^SKIPPED //p' "$log" | tail -n 1)"
        return
    fi
    case_ "$name: at least $least $what" did
    printf '%-8s %8d %s (seed %s, %d s)\n' "$name" "$n" "$what" "$seed" "$(($(date +%s) - started))"
}

# The machine in memory: the power is cut at every change of its disk, and within recoveries.
sweep cuts 200000 'states' runs 2 "TEST_CUTS=$(part 100) TEST_RECOVERIES=$(part 1000)" --filter power_a_
sweep deaths 50000 'ways to die in a row' runs 1 TEST_DEATHS=3 --filter deaths_ --skip kill
sweep persons 40000 'interleavings' runs 2 "TEST_PERSONS=$(part 10000)" --filter person_no_
sweep faults 1500000 'faults injected' runs "$(part 10)" '' --filter faults_
# Processes of this system; in memory where it is only about them, not about disks.
memory=${TMPDIR:-/tmp}
if [ -d /dev/shm ] && [ -w /dev/shm ]; then memory=${TMPDIR:-/dev/shm}; fi
sweep kills 10000 'kills' runs 4 "TEST_KILLS=$(part 2500) TEST_WRITERS=8 TMPDIR=$memory" --filter kill_random
sweep rounds 5000 'deaths' runs 2 "TEST_ROUNDS=$(part 10000)" --filter rounds_
sweep hammer 64000 'writes' runs 2 "TEST_WRITES=$(part 1000)" --filter hammer_eight
sweep calls 1500 'more deaths in recoveries' script_with "AGAIN=$(part 3) STEP=1" tests/all_kill.sh
sweep disk 2000 'images of the disk' script_with "IMAGES=$(part 2000)" tests/all_block.sh
# All that compares with a model, or takes random input.
sweep random 3000 'passed' runs "$(part 10)" '' \
    --skip power --skip deaths --skip person --skip faults --skip kill --skip hammer
kit_end
