#!/bin/sh
# Kills one process at every system call of everything it does: at the n-th call of each kind, for
# every kind and every n. Then git must be whole, nothing acknowledged may be lost, doubled or
# invented, and the next write must work. What is killed works on a store that was made in place,
# so that the short way within one boot is taken; where the whole recovery is meant, the state that
# processes of one boot share is deleted.
#
#     tests/all_kill.sh              every third point of each scenario, another third each day
#     STEP=1 tests/all_kill.sh       all of it
#     tests/all_kill.sh SCENARIO     one of them; KEEP=1 keeps the stores of failed points
#     AGAIN=N tests/all_kill.sh      after each death N more, somewhere in the recovery; SEED=N repeats
#                                    the choice
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2

# ---- one point, in a process of its own ----

store() { # what the scenario starts with
    mkdir -p "$at/root"
    case $scenario in new) return ;; esac
    tool prepare "$at/root" || return
    # in front of: the journal's sync; the batch's second document; the header's
    # sync; a document's sync; the new ref
    case $scenario in
    publish_pack) tool write "$at/root" 15 ;; # more than are published loose
    recover_write | recover_write_all) left fdatasync 1 write 2 ;;
    recover_batch | recover_batch_all) left renameat2 2 batch ;;
    recover_checkpoint) left fdatasync 8 checkpoint ;;
    recover_checkpoint_all) left fdatasync 4 checkpoint ;;
    recover_publish | publish_again) left renameat 8 publish ;;
    esac || return
    age
    case $scenario in
    *_all) rm "$at/root/.agent-trace/state" ;;
    copied) cp -a "$at/root" "$at/copy" && rm -rf "$at/root" && mv "$at/copy" "$at/root" ;;
    esac
}
# A file that was changed within a moment is looked at harder: the same calls at every point, please.
age() { touch -c -d @1600000000 "$at"/root/*.md "$at"/root/*/*.md "$at"/root/*/*/*.md; }
tool() { "$TOOL" "$@" >>"$at/acks" 2>>"$at/log"; }
left() { # SYSCALL WHEN COMMAND [N]: leaves what a killed process leaves
    age
    killed "$@" && return
    echo "nothing was left: no death at $1 number $2 of $3" >>"$at/log"
    return 1
}
killed() { # SYSCALL WHEN COMMAND [N]: true if the signal did it
    call=$1 when=$2 command=$3
    shift 3
    strace -f -qq -o /dev/null -e trace="$call" -e inject="$call:signal=SIGKILL:when=$when" \
        "$TOOL" "$command" "$at/root" "$@" >>"$at/acks" 2>>"$at/log"
    [ $? = 137 ]
}
work() { # what the scenario does: command and argument
    case $scenario in
    write) echo write 2 ;;
    publish*) echo publish ;;
    checkpoint*) echo checkpoint ;;
    recover* | copied | new) echo recover ;;
    *) echo "$scenario" ;;
    esac
}
silent_fsck() { # OPTION...
    said=$(git --git-dir "$at/root/.agent-trace/git" fsck --full --strict --no-progress "$@" 2>&1) &&
        [ -z "$said" ] && return
    echo "git fsck $*: $said" >>"$at/log"
    return 1
}
again() { # dies in its recovery, over and over; every other time in the whole recovery
    key="$SEED $scenario $call $when" n=0
    while [ "$n" -lt "${AGAIN:-0}" ]; do
        n=$((n + 1))
        [ "$((n % 2))" = 0 ] || rm -f "$at/root/.agent-trace/state"
        seed=$(printf '%s' "$key $n" | cksum | cut -d' ' -f1)
        set -- $(awk -v seed="$seed" 'BEGIN { srand(seed) } { line[NR] = $0 }
            END { print line[1 + int(rand() * NR)] }' "$WORK/again.points")
        if killed "$1" "$2" recover; then echo again >>"$WORK/again.done"; fi
    done
}
no_litter() { # after one more recovery nothing of what came before is left
    rm "$at/root/.agent-trace/state"
    tool recover "$at/root" || return
    set -- "$at"/root/.agent-trace
    set -- "$1"/catalog.* "$1"/tmp/* "$1"/unpublished/* "$1"/aside/* "$1"/*.tmp "$1"/git/*.lock \
        "$1"/git/refs/heads/*.lock "$1"/git/objects/tmp_* "$1"/git/objects/*/tmp_*
    litter=
    shift # one catalog may be there
    for file; do
        [ ! -e "$file" ] || litter="$litter ${file#"$at"/root/}"
    done
    [ -z "$litter" ] && return
    echo "$litter" >>"$at/log"
    return 1
}
point() { # SCENARIO SYSCALL WHEN
    scenario=$1
    at=$WORK/$1.$2.$3
    mkdir "$at"
    if ! store; then
        why='the store could not be made'
    elif set -- "$@" $(work) && ! killed "$2" "$3" "$4" ${5+"$5"}; then
        # How many calls git's part makes depends on ids, which are random: a few of the last points
        # may lie behind the end.
        echo missed >>"$WORK/$scenario.missed"
        if [ "$(wc -l <"$WORK/$scenario.missed")" -le 8 ]; then
            rm -rf "$at"
            echo missed >>"$WORK/$scenario.done"
            return
        fi
        why='more than 8 points did not die by the signal'
    elif again; [ "$scenario" != new ] && ! silent_fsck --no-dangling; then
        why='git is not whole'
    elif ! "$TOOL" check "$at/root" "$at/acks" >>"$at/log" 2>&1; then
        why='a promise is broken'
    elif ! no_litter; then
        why='litter stays'
    elif ! silent_fsck; then
        why='git is not clean afterwards'
    else
        rm -rf "$at"
        echo ok >>"$WORK/$scenario.done"
        return
    fi
    echo "$scenario, killed at $2 number $3: $why: $(tail -n 1 "$at/log")" >>"$WORK/$scenario.bad"
    if [ -n "${KEEP-}" ]; then
        rm -rf "$BUILD/killed/$1.$2.$3"
        mkdir -p "$BUILD/killed"
        mv "$at" "$BUILD/killed/"
    fi
    rm -rf "$at"
}
if [ "${1-}" = --point ]; then
    shift
    point "$@" 2>/dev/null # the shell tells of every death
    exit 0
fi

# ---- all points of a scenario ----

. tests/kit.sh
if ! command -v strace >/dev/null 2>&1 || ! command -v git >/dev/null 2>&1; then
    skip 'a death at any system call' 'strace and git are needed'
    kit_end
fi
# in memory where that is possible: it is about deaths of processes, not of disks
if [ -d /dev/shm ] && [ -w /dev/shm ] && [ -z "${TMPDIR-}" ]; then
    rm -rf "$WORK"
    WORK=$(mktemp -d /dev/shm/agt-kill-XXXXXX) || exit 2
fi
TOOL=$WORK/crash_tool
export WORK TOOL
"$CC" -std=gnu11 -O1 -g tests/crash_tool.c "$BUILD/libagent_trace.a" \
    $(pkg-config --libs libgit2 zlib) -pthread -o "$TOOL" || exit 1

# Every system call after "begin", as "<name> <n>" where n counts from the process' start.
list_points() { # SCENARIO
    scenario=$1
    at=$WORK/$1.list
    mkdir "$at"
    store 2>/dev/null || return 1
    strace -f -o "$at/calls" "$TOOL" $(work | sed "s|^[a-z]*|& $at/root|") >>"$at/acks" 2>>"$at/log" || return 1
    awk '$2 ~ /^[a-z0-9_]+\(/ {
            name = $2
            sub(/\(.*/, "", name)
            if (begun && name != "exit_group") print name, count[name] + 1
            count[name]++
            if (index($0, "write(1, \"begin")) begun = 1
        }' "$at/calls" >"$WORK/$1.points"
    rm -rf "$at"
}
scenario() { # NAME
    list_points "$1" || {
        cat "$WORK/$1.list/log"
        return 1
    }
    : >"$WORK/$1.done"
    : >"$WORK/$1.bad"
    calls=$(wc -l <"$WORK/$1.points")
    [ "$calls" -ge 40 ] || echo "only $calls system calls were seen" >>"$WORK/$1.bad"
    sed -n "$((1 + FIRST % STEP))~${STEP}p" "$WORK/$1.points" >"$WORK/$1.some"
    mv "$WORK/$1.some" "$WORK/$1.points"
    want=$(wc -l <"$WORK/$1.points")
    sed "s/^/$1 /" "$WORK/$1.points" | xargs -P 2 -L 1 sh tests/all_kill.sh --point
    good=$(wc -l <"$WORK/$1.done")
    points=$((points + $(grep -c ok "$WORK/$1.done")))
    head -n 20 "$WORK/$1.bad"
    [ "$good" = "$want" ] && [ ! -s "$WORK/$1.bad" ]
}
run() { # NAME SENTENCE
    [ -z "${only-}" ] || [ "$only" = "$1" ] || return 0
    [ ! -t 1 ] || printf '%s ... %d points so far\r' "$1" "$points" >&2
    started=$(date +%s)
    # not case_: the count must live on
    if scenario "$1" >"$WORK/.case" 2>&1; then
        kit_passed=$((kit_passed + 1))
    else
        kit_failed=$((kit_failed + 1))
        printf 'FAILED  %s\n' "$2"
        sed 's/^/    /' "$WORK/.case"
    fi
    [ -z "${VERBOSE-}" ] || echo "$1: $(cat "$WORK/$1.done" 2>/dev/null | wc -l) points, $(($(date +%s) - started)) s"
}

points=0 only=${1-}
SEED=${SEED:-$(date +%s)}
STEP=${STEP:-3} FIRST=${FIRST:-$((SEED / 86400))}
export SEED
if [ -n "${AGAIN-}" ]; then
    list_points recover_write_all && mv "$WORK/recover_write_all.points" "$WORK/again.points" || exit 1
    : >"$WORK/again.done"
fi
run new 'killed while it makes a store'
run write 'killed while it writes'
run big 'killed while it writes what does not fit into a record'
run remove 'killed while it removes'
run batch 'killed in a batch'
run group 'killed in a group'
run publish 'killed while it publishes loose objects'
run publish_pack 'killed while it publishes a pack'
run publish_again 'killed while it publishes what a killed publisher left'
run checkpoint 'killed in a checkpoint'
run gc 'killed in a gc'
run recover_write 'killed while it finishes a dead writer'"'"'s record'
run recover_batch 'killed while it finishes a dead writer'"'"'s batch'
run recover_checkpoint 'killed while it goes on after a dead checkpoint'
run recover_publish 'killed while it opens after a dead publisher'
run recover_write_all 'killed in the whole recovery of a write'
run recover_batch_all 'killed in the whole recovery of a batch'
run recover_checkpoint_all 'killed in the whole recovery of a checkpoint'
run copied 'killed in the first opening of a copy'
echo "$points points at which a process was killed (STEP=$STEP FIRST=$FIRST)"
if [ -n "${AGAIN-}" ]; then
    n=$(wc -l <"$WORK/again.done")
    echo "$n more deaths in recoveries (seed $SEED)"
    case_ 'every third of them came' [ "$((n * 3))" -ge "$((points * AGAIN))" ]
fi
if [ -z "$only" ]; then
    case_ 'at least 350 points' [ "$points" -ge 350 ]
fi
kit_end
