# What the commands share: messages, tools that are installed when missing, objects that are compiled
# when something changed, and steps whose tests are counted. Sourced from the project's root.

B=${AGENT_TRACE_BUILD:-build}
mkdir -p "$B/logs" "$B/obj"
JOBS=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
CC_GIVEN=${CC-}
choose_compiler() { # again after an installation: before it there may have been none
    CC=$CC_GIVEN
    if [ -z "$CC" ]; then
        if command -v gcc >/dev/null 2>&1; then CC=gcc; else CC=cc; fi
    fi
    export CC
}
choose_compiler

# -Werror stands in `check` only: a new compiler's warning must not stop a user.
LIBRARY_FLAGS="-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow"
# tests read folders, and on 32 bits readdir fails without large offsets
TEST_FLAGS="-std=gnu11 -D_FILE_OFFSET_BITS=64 -Wall -Wextra"

say() { printf '%s\n' "$*"; }
die() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}
usage_error() {
    printf 'build.sh: %s\n' "$*" >&2
    exit 2
}
# Runs a command where the command exists, else just runs what follows the seconds.
limit() { # SECONDS COMMAND...
    if command -v timeout >/dev/null 2>&1; then timeout -k 10 "$@"; else
        shift
        "$@"
    fi
}

# ---- tools ----

have() { # THING: is it installed?
    case $1 in
    compiler) command -v "$CC" >/dev/null 2>&1 ;;
    libc) printf '#include <stdio.h>\n' | "$CC" -E - >/dev/null 2>&1 ;;
    libgit2 | zlib | fuse3) pkg-config --exists "$1" 2>/dev/null ;;
    clang-rt) ls /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1 ;;
    libc-s390x) [ -e /usr/s390x-linux-gnu/include/stdio.h ] ;;
    libc-armhf) [ -e /usr/arm-linux-gnueabihf/include/stdio.h ] ;;
    zlib-mingw) [ -e /usr/x86_64-w64-mingw32/lib/libz.a ] ;;
    mkfs.ext4) [ -x /sbin/mkfs.ext4 ] || [ -x /usr/sbin/mkfs.ext4 ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}
package_of() { # THING: the Debian package it comes in
    case $1 in
    compiler) echo gcc ;;
    libc) echo libc6-dev ;;
    libgit2) echo libgit2-dev ;;
    zlib) echo zlib1g-dev ;;
    fuse3) echo libfuse3-dev ;;
    fusermount3) echo fuse3 ;;
    clang-rt) echo libclang-rt-14-dev ;;
    afl-clang-fast) echo afl++ ;;
    llvm-symbolizer-14) echo llvm-14 ;;
    mkfs.ext4) echo e2fsprogs ;;
    ninja) echo ninja-build ;;
    qemu-s390x-static | qemu-arm-static) echo qemu-user-static ;;
    s390x-linux-gnu-gcc) echo gcc-s390x-linux-gnu ;;
    arm-linux-gnueabihf-gcc) echo gcc-arm-linux-gnueabihf ;;
    dpkg-source) echo dpkg-dev ;;
    zlib-mingw) echo libz-mingw-w64-dev ;;
    x86_64-w64-mingw32-gcc) echo gcc-mingw-w64-x86-64 ;;
    libc-s390x) echo libc6-dev-s390x-cross ;;
    libc-armhf) echo libc6-dev-armhf-cross ;;
    *) echo "$1" ;;
    esac
}
missing_packages() { # THING...
    for thing_; do
        have "$thing_" || package_of "$thing_"
    done | sort -u | tr '\n' ' '
}
apt_install() { # PACKAGE...
    DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" </dev/null >>"$B/setup.log" 2>&1
}
# Installs what is missing of the things; says so in one line, or how to do it.
need() { # THING...
    if [ -n "$CC_GIVEN" ] && ! have compiler; then
        die "there is no compiler '$CC', which CC names; install it, or leave CC out"
    fi
    packages=$(missing_packages "$@")
    packages=${packages% }
    [ -n "$packages" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        die "missing: $packages (these are the names of Debian's packages; install what they are here)"
    elif [ "$(id -u)" != 0 ]; then
        die "missing: run  sudo apt-get install $packages"
    fi
    say "setup: installing $packages"
    # shellcheck disable=SC2086
    if ! apt_install $packages; then
        DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update \
            </dev/null >>"$B/setup.log" 2>&1 || true
        apt_install $packages || {
            tail -n 5 "$B/setup.log" >&2
            die "apt-get install $packages failed; the whole output is in $B/setup.log"
        }
    fi
    choose_compiler
    left=$(missing_packages "$@")
    [ -z "$left" ] || die "still missing after the installation: $left(see $B/setup.log)"
}

NEED_BUILD="compiler libc pkg-config libgit2 zlib"
NEED_DEMO="$NEED_BUILD git python3"
NEED_TEST="$NEED_DEMO make strace"
NEED_FUZZ="$NEED_BUILD clang-14 clang-rt llvm-symbolizer-14"
NEED_CHECK="$NEED_TEST g++ clang-14 clang-format-14 mandoc"
NEED_ALL="$NEED_CHECK clang-rt llvm-symbolizer-14 valgrind afl-clang-fast fusermount3 fuse3 mkfs.ext4
    s390x-linux-gnu-gcc libc-s390x qemu-s390x-static
    arm-linux-gnueabihf-gcc libc-armhf qemu-arm-static
    cmake meson ninja spin"

# What tests are compiled with. Where variables are at each instruction takes gcc a quarter of its time.
quick_flags() { # COMPILER
    case $("$1" --version | head -n 1) in
    *clang*) echo "-O1 -g" ;;
    *) echo "-O1 -g -fno-var-tracking" ;;
    esac
}
test_compiler() { echo "$CC $(quick_flags "$CC") ${CFLAGS-}"; }

# ---- objects ----

hash() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else cksum; fi | cut -d' ' -f1
}
git_flags() { pkg-config --cflags libgit2 zlib; }
git_libs() { pkg-config --libs libgit2 zlib; }

# One key for all headers, one for all of src/: an object is compiled again when its command, its
# source, any header, or (the library) any part changed.
object_keys() {
    HEADERS_KEY=$({
        cat agent_trace.h src/*/*.h
        cat tests/*.h tests/windows/*.h tests/windows/sys/*.h cli/*.h fuzz/*.h bench/*.h 2>/dev/null
        pkg-config --modversion libgit2 zlib 2>/dev/null
    } | hash)
    PARTS_KEY=$(cat src/agent_trace.c src/*/*.c | hash)
    export HEADERS_KEY PARTS_KEY
}
# Between `gather` and `compile_gathered`, commands only queue what they would compile: then all of it
# is compiled side by side, and none waits for the longest of another's.
gathering=
gather() {
    jobs_begin
    gathering=1
}
compile_gathered() {
    gathering=
    # once each; the library first: it takes as long as many tests
    awk '!seen[$0]++ { if (/lib\.o /) print; else late = late $0 "\n" } END { printf "%s", late }' \
        "$jobs_file" >"$jobs_file.sorted"
    mv "$jobs_file.sorted" "$jobs_file"
    jobs_run
}
jobs_begin() {
    [ -z "$gathering" ] || return 0
    jobs_file=$B/logs/jobs.$$
    : >"$jobs_file"
    object_keys
    OBJECTS_ALIKE=$B/obj/alike
    export OBJECTS_ALIKE
    mkdir -p "$OBJECTS_ALIKE" && find "$OBJECTS_ALIKE" -links 1 -type f -exec rm -f {} +
}
object() { # OUT SOURCE COMPILER FLAG...: queued
    echo "$*" >>"$jobs_file"
}
jobs_run() { # compiles what is queued; fails if one fails
    [ -z "$gathering" ] || return 0
    rc_=0
    xargs -P "$JOBS" -L 1 sh build.d/object.sh <"$jobs_file" || rc_=1
    rm -f "$jobs_file"
    return "$rc_"
}
# Links when an object or the command changed.
link_program() { # OUT COMPILER-AND-FLAGS... (objects among them)
    [ -z "$gathering" ] || return 0
    out_=$1
    shift
    key_=$({
        echo "$*"
        for word_; do
            case $word_ in *.o) cat "$word_.key" ;; esac
        done
    } | hash)
    if [ -x "$out_" ] && [ "$(cat "$out_.key" 2>/dev/null)" = "$key_" ]; then return 0; fi
    rm -f "$out_.key"
    "$@" -o "$out_.$$" || return 1
    mv "$out_.$$" "$out_"
    echo "$key_" >"$out_.key"
}

# ---- steps: a command whose tests are counted ----

passed=0 failed=0 skipped=0
# Runs a command, shows what it prints, and adds the last "N passed, N failed, N skipped" it printed.
# One that fails without saying so counts as one failure, one that says nothing as one pass.
step() { # NAME COMMAND...
    step_name=$1
    shift
    step_log=$B/logs/$(printf '%s' "$step_name" | tr -c 'A-Za-z0-9.\n-' '_').log
    step_start=$(date +%s)
    say "== $step_name"
    {
        set +e
        ("$@") 2>&1
        echo $? >"$step_log.rc"
    } </dev/null | tee "$step_log"
    step_rc=$(cat "$step_log.rc")
    rm -f "$step_log.rc"
    step_sum=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed\(, \([0-9][0-9]*\) skipped\)\{0,1\}.*$/\1 \2 \4/p' \
        "$step_log" | tail -n 1)
    # shellcheck disable=SC2086
    set -- $step_sum
    step_failed=${2:-0}
    if [ "$step_rc" != 0 ] && [ "$step_failed" = 0 ]; then
        step_failed=1
        say "FAILED  $step_name (exit $step_rc)"
    fi
    passed=$((passed + ${1:-0}))
    if [ $# -eq 0 ] && [ "$step_rc" = 0 ]; then passed=$((passed + 1)); fi
    failed=$((failed + step_failed))
    skipped=$((skipped + ${3:-0}))
    step_seconds=$(($(date +%s) - step_start))
    if [ "$step_failed" != 0 ]; then failed_steps="${failed_steps-} '$step_name'"; fi
    [ "$step_seconds" -lt 10 ] || say "   ($step_seconds s)"
}
steps_end() {
    [ -z "${failed_steps-}" ] || say "failed in:$failed_steps (logs in $B/logs)"
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
}
