# test: every suite, each built with its own flags in build/obj/VARIANT.

. build.d/build.sh

# ---- suites ----

# A build without git has none of its parts and needs none of its headers: what is inside of git, or
# compares with libgit2 or zlib themselves, is left out of it.
needs_git() { # FILE
    "$CC" -M -DAGENT_TRACE_NO_GIT -w "$1" 2>/dev/null | grep -Eq '(src/git/parts|/git2|/zlib)\.h'
}
suite_sources() { # VARIANT: the test files that go into it
    for f in tests/test_*.c; do
        [ -e "$f" ] || continue
        case $1 in
        nogit | s390x | armhf) if needs_git "$f"; then continue; fi ;;
        tsan) if ! grep -q pthread_create "$f"; then continue; fi ;; # one thread races with nobody
        esac
        echo "$f"
    done
}
# Builds tests/ with a library into build/obj/VARIANT/tests.
suite_build() { # VARIANT LIBRARY-SOURCE LIBS COMPILER FLAG...
    variant=$1 library=$2 libs=$3
    shift 3
    dir=$B/obj/$variant
    mkdir -p "$dir"
    jobs_begin
    library_flags=$LIBRARY_FLAGS # the parts alone are asked for warnings: that takes a third more time
    [ "$variant" = parts ] || library_flags="-std=c11 -w ${LIBRARY_LEVEL-}"
    object "$dir/lib.o" "$library" "$@" $library_flags -DAGT_PRIVATE=extern
    suite_objects=$dir/lib.o
    for f in $(suite_sources "$variant") tests/main.c $(ls tests/machine*.c 2>/dev/null); do
        o=$dir/$(basename "$f" .c).o
        object "$o" "$f" "$@" $TEST_FLAGS -DAGT_PRIVATE=extern
        suite_objects="$suite_objects $o"
    done
    jobs_run || return 1
    link_program "$dir/tests" "$@" $suite_objects $libs -pthread
}
# Builds and runs it. RUNNER may be empty, a qemu or valgrind; ARGUMENTS are the suite's, in one word.
suite() { # VARIANT LIBRARY-SOURCE LIBS RUNNER ARGUMENTS COMPILER FLAG...
    suite_variant=$1 suite_library=$2 suite_libs=$3 suite_runner=$4 suite_arguments=$5
    shift 5
    suite_build "$suite_variant" "$suite_library" "$suite_libs" "$@" || return 1
    [ -z "$gathering" ] || return 0
    case $suite_runner in valgrind*) ;; *) suite_arguments="--jobs $JOBS $suite_arguments" ;; esac
    limit "${SUITE_LIMIT:-600}" $suite_runner "$B/obj/$suite_variant/tests" $suite_arguments
}
suite_parts() { # [ARGUMENTS]
    suite parts src/agent_trace.c "$(git_libs)" '' "$*" $(test_compiler) $(git_flags)
}
suite_shipped() {
    [ -n "$gathering" ] || ./amalgamate --check >/dev/null 2>&1 || say 'note: agent_trace.c is not what src/ says; run ./amalgamate'
    LIBRARY_LEVEL=${SHIPPED_LEVEL-} suite shipped agent_trace.c "$(git_libs)" '' "$*" $(test_compiler) $(git_flags)
}
suite_nogit() {
    suite nogit agent_trace.c '' '' "$*" $(test_compiler) -DAGENT_TRACE_NO_GIT
}
suite_plain() {
    suite plain agent_trace.c "$(git_libs)" '' "$*" $(test_compiler) $(git_flags) \
        -DAGENT_TRACE_PLAIN_POSIX
}

# ---- corpora ----

fuzz_names() {
    for f in fuzz/*_fuzzer.c; do
        [ -e "$f" ] || continue
        basename "$f" _fuzzer.c
    done
}
# Every input that ever mattered, through the function the fuzzers call.
corpora() {
    dir=$B/obj/parts
    names=$(fuzz_names)
    if [ -z "$names" ]; then
        say "no fuzz targets"
        return 0
    fi
    set -- $(test_compiler) $(git_flags)
    jobs_begin
    object "$dir/lib.o" src/agent_trace.c "$@" $LIBRARY_FLAGS -DAGT_PRIVATE=extern
    object "$dir/standalone.o" fuzz/standalone.c "$@" $TEST_FLAGS
    shared="$dir/lib.o $dir/standalone.o"
    for f in tests/machine*.c; do
        [ -e "$f" ] || continue
        o=$dir/$(basename "$f" .c).o
        object "$o" "$f" "$@" $TEST_FLAGS -DAGT_PRIVATE=extern
        shared="$shared $o"
    done
    for name in $names; do
        object "$dir/fuzz_$name.o" "fuzz/${name}_fuzzer.c" "$@" $TEST_FLAGS -DAGT_PRIVATE=extern
    done
    jobs_run || return 1
    [ -z "$gathering" ] || return 0
    good=0 bad=0
    for name in $names; do
        link_program "$dir/replay_$name" "$CC" $shared "$dir/fuzz_$name.o" $(git_libs) -pthread || return 1
        printf '%-16s ' "$name"
        if limit 300 "$dir/replay_$name" "fuzz/corpora/$name"; then
            good=$((good + 1))
        else
            bad=$((bad + 1))
            say "FAILED  corpus of $name"
        fi
    done
    say "$good passed, $bad failed, 0 skipped"
}

# ---- scripts ----

script() { # FILE
    CC=$CC sh build.d/script.sh "$(pwd)" "$B" "${SCRIPT_LIMIT:-600}" "$1"
}
script_files() { # KIND: all, release, or none for the others
    for f in tests/*.sh; do
        [ -e "$f" ] || continue
        case $(basename "$f") in
        kit*.sh | lib*.sh) continue ;;
        all_*.sh) kind=all ;;
        release_*.sh) kind=release ;;
        *) kind=none ;;
        esac
        if [ "$kind" = "$1" ]; then echo "$f"; fi
    done
}
scripts() { # KIND: one after the other
    for f in $(script_files "$1"); do
        step "$f" script "$f"
    done
}
# One more at a time than there are processors, for some wait; those that take longest first.
scripts_together() { # KIND
    log=$B/logs/scripts.log
    long='tests/test_embed.sh tests/examples.sh tests/cli.sh tests/git_around.sh'
    { printf '%s\n' $long && script_files "$1" | grep -vxF "$(printf '%s\n' $long)"; } |
        CC=$CC xargs -P $((JOBS + 1)) -I '{}' sh -c '
            start=$(date +%s)
            out=$(sh build.d/script.sh "$1" "$2" "$3" "$4" 2>&1)
            rc=$?
            printf "%s: %s (%s s)\n" "$4" "$out" $(($(date +%s) - start))
            case $rc.${out##*passed, } in
            0.*) ;;
            *.[1-9]*" failed, "*) ;;
            *) printf "FAILED  %s (exit %s)\n0 passed, 1 failed, 0 skipped\n" "$4" $rc ;;
            esac' - "$(pwd)" "$B" "${SCRIPT_LIMIT:-600}" '{}' | tee "$log"
    sed -n 's/^\(.*: \)\{0,1\}\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed, \([0-9][0-9]*\) skipped.*/\2 \3 \4/p' "$log" |
        awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }'
}

# ---- the commands ----

test_filter() { # FILTER
    need $NEED_BUILD
    suite_build parts src/agent_trace.c "$(git_libs)" $(test_compiler) $(git_flags) || exit 1
    exec "$B/obj/parts/tests" --filter "$1"
}
# The long sweeps of one thread in a machine's memory say nothing more about the same code built otherwise:
# they run on the parts, and under the sanitizers.
LONG_SWEEPS='--skip power --skip person --skip side --skip manage_power --skip git_machine --skip deaths
    --skip faults --skip repair --skip codes_repair --skip copies --skip old_upgrade --skip old_damaged
    --skip gc --skip repack --skip kill --skip machine --skip mend --skip old_kill --skip ignore'
# What a build without git, or for plain POSIX, has the same code for.
SAME_SWEEPS="$LONG_SWEEPS --skip rounds --skip hammer --skip walk
    --skip git --skip time --skip event --skip old_place --skip repair_lost"
compile_default() {
    gather
    suite_parts && suite_shipped && suite_nogit && suite_plain && corpora && command_build
    compile_gathered
}
test_default() { # [ARGUMENTS of the suite on the parts]
    step 'compiling' compile_default
    step 'unit tests on src/' suite_parts "${1-}"
    step 'unit tests on agent_trace.c' suite_shipped "--quick $LONG_SWEEPS"
    step 'unit tests, AGENT_TRACE_NO_GIT' suite_nogit "--quick $SAME_SWEEPS --skip wait"
    step 'unit tests, AGENT_TRACE_PLAIN_POSIX' suite_plain "--quick $SAME_SWEEPS"
    step 'fuzz corpora' corpora
    step 'build' command_build
    step 'scripts' scripts_together none
}
command_test() {
    case ${1-} in
    --all)
        need $NEED_ALL
        . build.d/all.sh
        SUITE_LIMIT=1200 SHIPPED_LEVEL=-O2 # the program, which the scripts test, always is
        test_default
        test_all
        ;;
    --shipped | --nogit | --plain | --asan | --tsan | --valgrind | --s390x | --armhf)
        need $NEED_ALL
        . build.d/all.sh
        "suite_${1#--}" ${2:+--filter "$2"}
        return
        ;;
    --windows)
        . build.d/all.sh
        shift
        command_test_windows "$@"
        return
        ;;
    --release)
        need $NEED_ALL
        step 'build' command_build
        SCRIPT_LIMIT=${SCRIPT_LIMIT:-86400}
        scripts release
        ;;
    -*) usage_error "test: unknown option $1" ;;
    '')
        need $NEED_TEST
        test_default --quick
        ;;
    *) test_filter "$1" ;;
    esac
    steps_end
}
