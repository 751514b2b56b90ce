# What only `test --all` does. Sourced by test.sh.

. build.d/windows.sh
. build.d/fuzz.sh

sanitized() { # VARIANT ARGUMENTS LIBS FLAG...: with clang's runtimes
    v=$1 arguments=$2 l=$3
    shift 3
    suite "$v" src/agent_trace.c "$l" '' "$arguments" clang-14 -O1 -g -fno-omit-frame-pointer "$@"
}
suite_asan() { # [ARGUMENTS]
    [ $# -gt 0 ] || set -- --quick
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
        ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-14) \
        sanitized asan "$*" "$(git_libs)" -fsanitize=address,undefined,float-divide-by-zero \
        -fno-sanitize-recover=all $(git_flags)
}
suite_tsan() { # [ARGUMENTS]
    TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
        TSAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-14) \
        sanitized tsan "$*" "$(git_libs)" -fsanitize=thread $(git_flags)
}
suite_valgrind() { # the store, unless told otherwise
    [ $# -gt 0 ] || set -- --filter ^store_
    # what it says goes to a file: a warning for each call of openat2, which it does not know, is much
    valgrind_log=$B/logs/valgrind.log
    suite parts src/agent_trace.c "$(git_libs)" \
        "valgrind -q --log-file=$valgrind_log --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes" \
        "$*" $(test_compiler) $(git_flags) && return
    grep -v -e '^--' -e 'unhandled' "$valgrind_log" | tail -n 60
    return 1
}
# Data, lock and log: what hangs on the order of bytes and the width of words. Stores are worked on by
# other processors in tests/release_architectures.sh.
OTHER_PROCESSORS=$(ls tests/test_*.c | sed 's|tests/test_||; s|\.c$||' | grep -vxE \
    'base|epoch|event|hash|hostile|ignore|index|json|lines|liveness|lock|lock_odd|path|posix|sentinel|time|toml|trace|utf8|wait' |
    sed 's/^/--skip /')
suite_s390x() { # big-endian, 64 bits
    [ $# -gt 0 ] || set -- "--quick $OTHER_PROCESSORS"
    suite s390x agent_trace.c '' qemu-s390x-static "$*" \
        s390x-linux-gnu-gcc $(quick_flags s390x-linux-gnu-gcc) -static -DAGENT_TRACE_NO_GIT
}
suite_armhf() { # 32 bits
    [ $# -gt 0 ] || set -- "--quick $OTHER_PROCESSORS"
    suite armhf agent_trace.c '' qemu-arm-static "$*" \
        arm-linux-gnueabihf-gcc $(quick_flags arm-linux-gnueabihf-gcc) -static -DAGENT_TRACE_NO_GIT
}
fuzz_smoke() { # the same inputs every time: a failure tells of the change; to explore is for long runs
    sums=$B/logs/fuzz_smoke.sums
    fuzz_names | FUZZ_SEED=${FUZZ_SEED:-1} xargs -P "$JOBS" -I '{}' sh -c '
        if out=$(./build.sh fuzz "$1" "$2" 2>&1); then echo good >&3; else echo bad >&3 && out="FAILED  fuzz $1
$out"; fi
        printf "%s\n" "$out"' - '{}' "${FUZZ_SECONDS:-10}" 3>"$sums"
    say "$(grep -c good "$sums") passed, $(grep -c bad "$sums") failed, 0 skipped"
}
compile_all() {
    gather
    suite_asan && suite_tsan && suite_s390x && suite_armhf || return 1
    for fuzz_name in $(fuzz_names); do fuzz_build_libfuzzer; done
    compile_gathered
}
test_all() {
    step 'compiling for all' compile_all
    step 'unit tests, address and undefined behaviour sanitizers' suite_asan
    step 'unit tests, thread sanitizer' suite_tsan
    step 'unit tests, valgrind' suite_valgrind
    step 'unit tests, s390x' suite_s390x
    step 'unit tests, armhf' suite_armhf
    step 'unit tests, Windows by Wine' suite_windows_if_possible
    step 'fuzz smoke' fuzz_smoke
    SCRIPT_LIMIT=1800
    scripts all
}
