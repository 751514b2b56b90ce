#!/bin/sh
# Stores with git on other processors: s390x (big-endian, 64 bits) and armhf (32 bits), under qemu,
# with Debian's libgit2 for them. The suite runs there; then a store is worked on by processes of that
# processor and of this one, in turn and at once, and each must find all that was promised by both.
#
#     tests/release_architectures.sh          both; SEED=N repeats a run
#     tests/release_architectures.sh ARCH     s390x or armhf
#
# The foreign packages are unpacked under build/foreign by an apt with folders of its own: what this
# system knows of packages stays as it is. Without them (no network, no Debian) nothing is counted.
cd "${AGENT_TRACE_ROOT:-$(dirname "$0")/..}" || exit 2
AGENT_TRACE_BUILD=${AGENT_TRACE_BUILD:-$(pwd)/build}
# In memory where that is possible: Debian's libgit2 for armhf lists folders with 32 bits, and a disk of
# this 64-bit kernel numbers their entries with more.
if [ -d /dev/shm ] && [ -w /dev/shm ] && [ -z "${TMPDIR-}" ]; then export TMPDIR=/dev/shm; fi
. build.d/common.sh
. build.d/test.sh
. tests/kit.sh
SUITE_LIMIT=${SUITE_LIMIT:-10800}
seed=${SEED:-$(date +%s)} only=${1-}

# The long sweeps in a machine's memory say nothing about a processor; what they sweep over is here.
left_out='--skip power --skip person --skip faults --skip deaths --skip hammer'

# ---- libgit2 for another processor ----

foreign_apt() { # COMMAND...: as if nothing were installed, so that it brings all that is needed
    apt-get -q -y -o APT::Architecture="$arch" -o APT::Architectures::="$arch" \
        -o Dir::State="$home/state" -o Dir::State::status="$home/status" -o Dir::Cache="$home/cache" \
        -o APT::Update::Post-Invoke::= -o APT::Sandbox::User=root "$@" </dev/null
}
foreign_root() { # once
    [ ! -e "$root/.complete" ] || return 0
    rm -rf "$home"
    mkdir -p "$root" "$home/state/lists/partial" "$home/cache/archives/partial"
    : >"$home/status"
    foreign_apt update # one index of several may be missing: the rest may do
    foreign_apt install --download-only --no-install-recommends libgit2-dev zlib1g-dev || return
    for deb in "$home"/cache/archives/*.deb; do dpkg -x "$deb" "$root" || return; done
    rm -rf "$home/cache" "$home/state"
    [ -e "$root/usr/include/git2.h" ] && : >"$root/.complete"
}

# ---- the suite ----

suite_there() {
    suite "$arch-git" agent_trace.c '-lgit2 -lz' "$run" "-v --seed $seed $left_out" $compile \
        >"$WORK/suite" 2>&1
    rc_=$?
    grep -v '^ok  \|^    saw ' "$WORK/suite"
    return "$rc_"
}
ran() { # TOPIC...: at least five tests of each
    for topic; do
        n=$(grep -c "^ok      $topic: " "$WORK/suite")
        echo "$topic: $n"
        [ "$n" -ge 5 ] || return
    done
}
stands_on_libgit2() {
    LC_ALL=C readelf -h -d "$BUILD/obj/$arch-git/tests" >"$WORK/elf" 2>&1
    cat "$WORK/elf"
    grep -q "Machine: .*$machine" "$WORK/elf" && grep -q 'NEEDED.*libgit2' "$WORK/elf"
}

# ---- one store, two processors ----

tools() {
    $compile -std=gnu11 tests/crash_tool.c agent_trace.c -lgit2 -lz -pthread -o "$WORK/there" &&
        "$CC" -std=gnu11 -O1 -g $(git_flags) tests/crash_tool.c agent_trace.c $(git_libs) -pthread -o "$WORK/here"
}
store_is() { # NAME
    store=$WORK/$arch.$1
    mkdir "$store"
}
there() { $run "$WORK/there" "$1" "$store" ${2+"$2"} >>"$store.acks"; }
here() { "$WORK/here" "$1" "$store" ${2+"$2"} >>"$store.acks"; }
in_turn() {
    store_is turn
    there prepare && here write 5 && there batch && here publish && there big && here prepare &&
        there group && there write 17 && here publish && here remove && here checkpoint &&
        there prepare && here batch && there checkpoint && here big && there publish || return
    rm "$store/.agent-trace/state" # as after a restart of the machine
    there recover && here write 3 && rm "$store/.agent-trace/state" && here recover && there write 3 &&
        kept 50
}
at_once() {
    store_is once
    here prepare || return
    there write 100 &
    for what in group batch group batch group batch; do
        here $what && here big && here prepare && here publish || return
    done
    wait $! && kept 150
}
kept() { # N: at least so many promises, and each processor finds them
    n=$(grep -c '^ack ' "$store.acks")
    echo "$n" >>"$WORK/$arch.kept"
    echo "$n promises"
    [ "$n" -ge "$1" ] && $run "$WORK/there" check "$store" "$store.acks" &&
        "$WORK/here" check "$store" "$store.acks"
}

# ---- an architecture ----

architecture() { # ARCH QEMU TRIPLET MACHINE
    [ -z "$only" ] || [ "$only" = "$1" ] || return 0
    arch=$1 machine=$4 home=$BUILD/foreign/$1 root=$BUILD/foreign/$1/root started=$(date +%s)
    if ! foreign_root >"$WORK/foreign" 2>&1; then
        skip "stores with git on $arch" "no libgit2 for it: $(tail -n 1 "$WORK/foreign")"
        return
    fi
    run="$2 -L $root"
    compile="$3-gcc -O1 -g --sysroot=$root"
    : >"$WORK/suite"
    : >"$WORK/$arch.kept"
    case_ "$arch: the suite" suite_there
    case_ "$arch: the store, git, the trace, events and locks are in it" ran store git trace event lock
    case_ "$arch: it is of that processor and stands on libgit2" stands_on_libgit2
    case_ "$arch: the tools can be built" tools
    case_ "$arch: one store, worked on in turn with this processor" in_turn
    case_ "$arch: one store, worked on at once with this processor" at_once
    echo "$arch: $(tail -n 1 "$WORK/suite") in the suite;" \
        "$(awk '{ n += $1 } END { print n + 0 }' "$WORK/$arch.kept") promises between processors" \
        "(seed $seed, $(($(date +%s) - started)) s)"
}

if ! (need $NEED_TEST git readelf s390x-linux-gnu-gcc libc-s390x qemu-s390x-static \
    arm-linux-gnueabihf-gcc libc-armhf qemu-arm-static) >"$WORK/need" 2>&1; then
    skip 'stores with git on other processors' "$(tail -n 1 "$WORK/need")"
    (kit_end)
    exit 0
fi
architecture s390x qemu-s390x-static s390x-linux-gnu S/390
architecture armhf qemu-arm-static arm-linux-gnueabihf ARM
kit_end
