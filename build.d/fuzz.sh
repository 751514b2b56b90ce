# fuzz NAME SECONDS [--afl]: one target, from the committed corpus and what earlier runs added to it
# in build/fuzz/corpus. A finding belongs into fuzz/corpora/NAME, in the commit that mends it.
fuzz_build() { # VARIANT COMPILER FLAG...: leaves the program's name in fuzz_program
    fuzz_dir=$B/obj/$1
    shift
    # Targets that forge checksums and have a dictionary are not guided by comparisons, nor by how
    # rare what an input reaches is: that costs them half of their speed.
    fuzz_options=
    if grep -q 'tests/machine.h\|"hostile.h"' "fuzz/${fuzz_name}_fuzzer.c"; then
        fuzz_dir=$fuzz_dir-machine fuzz_options=-entropic=0
        set -- "$@" -fno-sanitize-coverage=trace-cmp
    fi
    jobs_begin
    object "$fuzz_dir/lib.o" src/agent_trace.c "$@" $LIBRARY_FLAGS -DAGT_PRIVATE=extern
    object "$fuzz_dir/fuzz_$fuzz_name.o" "fuzz/${fuzz_name}_fuzzer.c" "$@" $TEST_FLAGS -DAGT_PRIVATE=extern
    fuzz_objects="$fuzz_dir/lib.o $fuzz_dir/fuzz_$fuzz_name.o"
    # the computer in memory is a tool and not what is looked at: it is not instrumented
    object "$fuzz_dir/machine.o" tests/machine.c clang-14 -O2 -g $TEST_FLAGS -DAGT_PRIVATE=extern
    fuzz_objects="$fuzz_objects $fuzz_dir/machine.o"
    jobs_run || die "the fuzzer does not compile"
    fuzz_program=$fuzz_dir/$fuzz_name
}
fuzz_findings() { # prints what lies in the folder of findings; fails if something does
    found=$(ls "$findings" 2>/dev/null | wc -l)
    [ "$found" -gt 0 ] || return 0
    say "$found findings in $findings:"
    ls "$findings"
    return 1
}
fuzz_build_libfuzzer() {
    fuzz_build fuzz clang-14 -O2 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
        -fno-sanitize-recover=all $(git_flags)
}
fuzz_libfuzzer() {
    need $NEED_FUZZ
    fuzz_build_libfuzzer
    link_program "$fuzz_program" clang-14 -fsanitize=fuzzer,address,undefined $fuzz_objects \
        $(git_libs) -pthread || die "the fuzzer does not link"
    rc=0
    ASAN_SYMBOLIZER_PATH=$(command -v llvm-symbolizer-14) ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=4 \
        "$fuzz_program" -max_total_time="$fuzz_seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$findings/" $fuzz_options ${FUZZ_SEED:+"-seed=$FUZZ_SEED"} ${fuzz_dict:+"-dict=$fuzz_dict"} \
        "$grown" "fuzz/corpora/$fuzz_name" >"$fuzz_log" 2>&1 </dev/null || rc=$?
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$fuzz_log")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$fuzz_log")
    say "$fuzz_name: ${runs:-0} runs, ${rate:-0} a second, $(ls "$grown" | wc -l) new inputs (libFuzzer, address, undefined)"
    if [ "$rc" != 0 ] || ! fuzz_findings; then
        tail -n 60 "$fuzz_log"
        return 1
    fi
    [ "${runs:-0}" -gt 0 ]
}
fuzz_afl() {
    need $NEED_BUILD clang-14 afl-clang-fast
    AFL_QUIET=1
    export AFL_QUIET
    fuzz_build afl afl-clang-fast -O2 -g -fsanitize=fuzzer-no-link $(git_flags)
    link_program "$fuzz_program" afl-clang-fast -fsanitize=fuzzer $fuzz_objects $(git_libs) -pthread ||
        die "the fuzzer does not link"
    out=$B/fuzz/afl-$fuzz_name
    rm -rf "$out"
    AFL_NO_UI=1 AFL_NO_AFFINITY=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_AUTORESUME=1 \
        afl-fuzz -V "$fuzz_seconds" -t 10000 -m none -i "fuzz/corpora/$fuzz_name" -o "$out" \
        ${fuzz_dict:+-x "$fuzz_dict"} -- "$fuzz_program" >"$fuzz_log" 2>&1 </dev/null || {
        tail -n 40 "$fuzz_log"
        return 1
    }
    stat_of() { sed -n "s/^$1 *: *//p" "$out/default/fuzzer_stats"; }
    say "$fuzz_name: $(stat_of execs_done) runs, $(stat_of execs_per_sec) a second, $(stat_of corpus_found) new inputs (afl++)"
    for f in "$out"/default/crashes/id* "$out"/default/hangs/id*; do
        [ ! -e "$f" ] || cp "$f" "$findings/$(basename "$(dirname "$f")")-$(basename "$f" | cut -c1-9 | tr ':' '-')"
    done
    fuzz_findings
}
command_fuzz() {
    fuzz_name=${1-} fuzz_seconds=${2-} engine=libfuzzer
    case $fuzz_seconds in '' | *[!0-9]*) usage_error "fuzz NAME SECONDS [--afl]" ;; esac
    case ${3-} in --afl) engine=afl ;; '') ;; *) usage_error "fuzz: unknown option $3" ;; esac
    [ -e "fuzz/${fuzz_name}_fuzzer.c" ] ||
        die "no fuzz/${fuzz_name}_fuzzer.c; there are: $(ls fuzz | sed -n 's/_fuzzer\.c$//p' | tr '\n' ' ')"
    [ -d "fuzz/corpora/$fuzz_name" ] || die "no fuzz/corpora/$fuzz_name: a target starts from a corpus"
    findings=$B/fuzz/findings/$fuzz_name grown=$B/fuzz/corpus/$fuzz_name
    fuzz_log=$B/logs/fuzz-$fuzz_name-$engine.log fuzz_dict=
    mkdir -p "$findings" "$grown"
    rm -f "$findings"/*
    for f in $(sed -n 's/^#include "\(.*\)\.h"$/\1/p' "fuzz/${fuzz_name}_fuzzer.c") "$fuzz_name"; do
        [ ! -e "fuzz/$f.dict" ] || fuzz_dict=fuzz/$f.dict
    done
    "fuzz_$engine"
}
