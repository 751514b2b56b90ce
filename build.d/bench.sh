# bench [TOPIC [OPTION...]] [--json]: on the shipped file, as a user would compile it. What it ran on
# comes first. Options behind a topic go to its program.
bench_place() { # JSON?
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
    commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
    git diff --quiet HEAD 2>/dev/null || commit="$commit+"
    compiler=$("$CC" --version | head -n 1)
    disk=$(df -T "${TMPDIR:-/tmp}" 2>/dev/null | awk 'NR == 2 { print $2 }')
    if [ "$1" = 1 ]; then
        printf '{"compiler":"%s","flags":"%s","cpu":"%s","cores":%s,"system":"%s","file_system":"%s","commit":"%s"}\n' \
            "$compiler" "$bench_flags" "${cpu:-unknown}" "$JOBS" "$(uname -sr)" "${disk:-unknown}" "$commit"
    else
        say "# $compiler $bench_flags"
        say "# ${cpu:-unknown}, $JOBS cores, $(uname -sr), ${disk:-unknown} at ${TMPDIR:-/tmp}, commit $commit"
    fi
}
command_bench() {
    topic='' json=0 passed_on=''
    for word; do
        case $word in
        --json) json=1 ;;
        -*)
            [ -n "$topic" ] || usage_error "bench: unknown option $word"
            passed_on="$passed_on $word"
            ;;
        *) if [ -z "$topic" ]; then topic=$word; else passed_on="$passed_on $word"; fi ;;
        esac
    done
    if [ -n "$topic" ]; then
        [ -e "bench/bench_$topic.c" ] ||
            die "no bench/bench_$topic.c; there are: $(ls bench | sed -n 's/^bench_\(.*\)\.c$/\1/p' | tr '\n' ' ')"
    fi
    need $NEED_BUILD git
    case ${topic:-store} in store | history)
        . build.d/build.sh
        command_build # the program is measured too
        ;;
    esac
    bench_flags="-O2 ${CFLAGS-}"
    set -- "$CC" $bench_flags -g -DAGT_PRIVATE=extern $(git_flags)
    dir=$B/obj/bench
    jobs_begin
    object "$dir/lib.o" agent_trace.c "$@" $LIBRARY_FLAGS
    shared=$dir/lib.o
    for f in tests/machine*.c; do
        [ -e "$f" ] || continue
        object "$dir/$(basename "$f" .c).o" "$f" "$@" $TEST_FLAGS
        shared="$shared $dir/$(basename "$f" .c).o"
    done
    benches=
    for f in bench/bench_${topic:-*}.c; do
        [ -e "$f" ] || die "there is no bench/bench_*.c"
        object "$dir/$(basename "$f" .c).o" "$f" "$@" $TEST_FLAGS
        benches="$benches $(basename "$f" .c)"
    done
    jobs_run || die "the benchmarks do not compile"
    bench_place "$json"
    for name in $benches; do
        link_program "$dir/$name" "$CC" $shared "$dir/$name.o" $(git_libs) -pthread || die "$name does not link"
        # shellcheck disable=SC2086
        if [ "$json" = 1 ]; then "$dir/$name" $passed_on --json; else
            say "== $name"
            "$dir/$name" $passed_on
        fi
    done
}
