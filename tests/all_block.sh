#!/bin/sh
# Power cuts on a real file system: ext4, with its journal, on a disk that writes down every write
# and every flush (block_fuse.c). A store does all kinds of work there at full durability; each
# acknowledgement is written down between the writes that it came between. Then the disk is made
# again as a power cut at some point leaves it, the kernel mounts it, and nothing acknowledged may be
# missing, doubled or invented, git must be whole, and the next write must work.
#
#     tests/all_block.sh         all of it; SEED=N repeats a run's choice, IMAGES=N random images
#     KEEP=1 tests/all_block.sh  keeps the log and the disk in build/block
#
# It runs in namespaces of its own: processes and mounts end with it, even if it is killed, and loop
# devices are freed with their mounts.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2

# ---- one image, in a process of its own ----

check_image() { # KIND CUT SEED
    lost=$("$BLOCK_FUSE" image "$LOG" "$1" "$2" "$3" "$at/disk" "$at/marks") || return
    # Publication does not promise that the ref survives, only that it is made again, whole, by the
    # next one; the check publishes and compares all of history with the trace.
    sed -i '/^published /d' "$at/marks"
    mount -o loop,noatime "$at/disk" "$at/mnt" || return
    # The state that processes of one boot share is trusted within that boot. The machine of the
    # image has lost power since, this one has not: without the file it is another boot.
    rm -f "$at/mnt/root/.agent-trace/state"
    mkdir -p "$at/mnt/root" && "$TOOL" check "$at/mnt/root" "$at/marks"
    checked=$?
    umount "$at/mnt" || umount -l "$at/mnt"
    return "$checked"
}
image() { # KIND CUT SEED
    at=$WORK/$1.$2.$3
    mkdir -p "$at/mnt" && cp --sparse=always "$BASE" "$at/disk"
    if check_image "$@" >"$at/out" 2>&1 </dev/null; then
        echo "$lost $(grep -c '^ack ' "$at/marks")" >>"$WORK/$1.done"
    else
        echo "$1 $2 $3: $(tail -n 3 "$at/out" | tr '\n' ' ' | cut -c 1-300)" >>"$WORK/$1.bad"
    fi
    rm -rf --one-file-system "$at"
}
if [ "${1-}" = --image ]; then
    shift
    image "$@"
    exit 0
fi

# ---- all of them ----

alone='unshare --mount --propagation private --pid --fork --kill-child --mount-proc'
if [ "${1-}" != --inside ] && [ -c /dev/fuse ] && [ -c /dev/loop-control ] &&
    $alone true 2>/dev/null; then
    exec $alone sh tests/all_block.sh --inside
fi
. tests/kit.sh
not_here() { # WHY
    skip 'a power cut under a real file system' "$1"
    (kit_end)
    exit 0
}
missing() {
    [ "${1-}" = --inside ] || echo 'it needs root, /dev/fuse and loop devices'
    pkg-config --exists fuse3 2>/dev/null || echo 'libfuse3-dev is needed'
    for tool in git pkg-config mkfs.ext4 losetup fusermount3; do
        command -v "$tool" >/dev/null 2>&1 || echo "$tool is needed"
    done
}
PATH=$PATH:/usr/sbin:/sbin
if [ -n "$(missing "$@")" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get -y -q install --no-install-recommends \
        libfuse3-dev fuse3 pkg-config e2fsprogs git </dev/null >"$WORK/apt.log" 2>&1
fi
if [ -n "$(missing "$@")" ]; then
    not_here "$(missing "$@" | head -n 1)"
fi
# in memory where that is possible: the disk's order is what matters, not its platters
if [ -d /dev/shm ] && [ -w /dev/shm ] && [ -z "${TMPDIR-}" ]; then
    rm -rf "$WORK"
    WORK=$(mktemp -d /dev/shm/agt-block-XXXXXX) || exit 2
fi
clean_up() {
    for point in "$WORK"/*/mnt "$WORK/mnt" "$WORK/fuse"; do
        if mountpoint -q "$point"; then umount "$point" 2>/dev/null || umount -l "$point"; fi
    done
    rm -rf --one-file-system "$WORK"
}
trap clean_up EXIT

TOOL=$WORK/crash_tool BLOCK_FUSE=$WORK/block_fuse BASE=$WORK/base LOG=$WORK/log
export WORK TOOL BLOCK_FUSE BASE LOG
"$CC" -std=gnu11 -O1 -g tests/crash_tool.c "$BUILD/libagent_trace.a" \
    $(pkg-config --libs libgit2 zlib) -pthread -o "$TOOL" || exit 1
"$CC" -std=gnu11 -O1 -g -Wall -Wextra $(pkg-config --cflags fuse3) tests/block_fuse.c \
    $(pkg-config --libs fuse3) -o "$BLOCK_FUSE" || exit 1

begin() { # the disk, mounted through its server
    mkdir -p "$WORK/mnt" "$WORK/fuse"
    truncate -s 96M "$WORK/disk"
    mkfs.ext4 -q -F -b 4096 -J size=4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 \
        "$WORK/disk" || return
    cp --sparse=always "$WORK/disk" "$BASE"
    "$BLOCK_FUSE" serve "$WORK/fuse" "$WORK/disk" "$LOG" >"$WORK/served" 2>&1 &
    server=$!
    tries=0
    until mountpoint -q "$WORK/fuse"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 50 ]; then
            cat "$WORK/served"
            return 1
        fi
        sleep 0.1
    done
    # the file system commits every second, and does no favours to a rename without a sync
    mount -o loop,noatime,commit=1,noauto_da_alloc "$WORK/fuse/disk" "$WORK/mnt"
}
if ! begin >"$WORK/begun" 2>&1; then
    not_here "no loop device with ext4 on FUSE: $(tail -n 1 "$WORK/begun")"
fi

# Memory is written out by the file system when it likes; it is made to like it often, without any
# flush, which is what `dd` does to a file whose pages it asks to drop.
drift() {
    while [ -e "$WORK/drifting" ]; do
        find "$WORK/mnt/root" -type f -exec dd if={} iflag=nocache count=0 status=none \; 2>/dev/null
    done
}
# Every step is a process of its own.
work() {
    root=$WORK/mnt/root
    mkdir "$root"
    : >"$WORK/drifting"
    drift &
    for step in prepare 'write 5' batch sleep big 'write 3' publish remove 'write 17' sleep \
        publish prepare group 'write 4' checkpoint again 'write 6' remove big sleep 'write 3' \
        prepare batch checkpoint 'write 5'; do
        case $step in
        sleep) sleep 1.2 ;; # the file system commits
        again) rm "$root/.agent-trace/state" && "$TOOL" recover "$root" >>"$WORK/fuse/mark" ;;
        *) "$TOOL" ${step%% *} "$root" $(expr "$step" : '[a-z]* \(.*\)') >>"$WORK/fuse/mark" ;;
        esac || {
            echo "$step failed"
            break
        }
        step=
    done
    rm "$WORK/drifting"
    wait
    [ -z "$step" ]
}
end() { # unmounted; what that writes is part of the log
    umount "$WORK/mnt" || return
    for try in 1 2 3 4 5 6 7 8 9; do # the loop device lets go of it a little later
        umount "$WORK/fuse" && return
        sleep 0.2
    done
    return 1
}
case_ 'a store works on the disk' work
case_ 'the disk can be unmounted' end
wait "$server"
[ "$kit_failed" = 0 ] || kit_end

seed=${SEED:-$(date +%s)}
"$BLOCK_FUSE" plan "$LOG" "${IMAGES:-200}" "$seed" >"$WORK/plan" || exit 1
cut() { # KIND: true if every image of the kind passed
    : >"$WORK/$1.done"
    : >"$WORK/$1.bad"
    want=$(grep -c "^$1 " "$WORK/plan")
    grep "^$1 " "$WORK/plan" | xargs -r -P 2 -L 1 sh tests/all_block.sh --image
    head -n 20 "$WORK/$1.bad"
    [ "$want" -gt 0 ] && [ "$(wc -l <"$WORK/$1.done")" = "$want" ] && [ ! -s "$WORK/$1.bad" ]
}
sum() { cat "$WORK"/*.done | awk -v column="$1" '{ n += $column } END { print n + 0 }'; }
enough() {
    cat "$WORK/counts"
    losing=$(awk '$1 > 0' "$WORK/any.done" | wc -l)
    [ "$images" -ge 200 ] && [ "$((losing * 3))" -ge "$(grep -c ^any "$WORK/plan")" ] &&
        [ "$(sum 2)" -ge 2000 ]
}
case_ 'the power is cut, and all that was not flushed is lost' cut none
case_ 'the power is cut, and any part of what was not flushed is lost' cut any
images=$(cat "$WORK"/*.done "$WORK"/*.bad | wc -l)
echo "$images images of the disk: $(grep -c ^none "$WORK/plan") at a flush, $(grep -c ^any "$WORK/plan")" \
    "between flushes (seed $seed); $(sum 1) blocks lost, $(sum 2) promises kept" | tee "$WORK/counts"
case_ 'at least 200 images, and much was lost and promised in them' enough
if [ -n "${KEEP-}" ]; then
    rm -rf "$BUILD/block"
    mkdir -p "$BUILD/block"
    cp "$LOG" "$BASE" "$WORK/plan" "$TOOL" "$BLOCK_FUSE" "$BUILD/block/"
fi
kit_end
