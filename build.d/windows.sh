# test --windows: the unit tests as a Windows program, cross-compiled, run by Wine without a display.
# Sourced by all.sh.

. build.d/windows_git.sh

NEED_WINDOWS="x86_64-w64-mingw32-gcc wine"
WINDOWS_CC=x86_64-w64-mingw32-gcc

# What is left out: what begins processes by fork in nearly every test (hammer, kill, parity, rounds), what
# is about system calls of other systems (attack, liveness, posix), and the program, which is POSIX.
WINDOWS_WITHOUT='attack cli hammer kill liveness parity posix rounds'

# What does not hold there, one test each: a file's number or permission bits as the C library tells
# them; names that Windows cannot hold; under Wine, a removed file's name that stays until nobody has
# it open, and a lock that is asked for 15,000 times while it is held, which costs a descriptor each.
WINDOWS_NOT='walk_a_folder_that_cannot_be_listed_stops_nothing_and_is_told
    walk_what_is_left_out_is_told_with_the_reason
    manage_a_rename_keeps_id_type_and_versions
    moved_a_rename_made_outside_is_followed
    lock_the_lock_file_itself_is_never_removed_or_replaced
    lock_whoever_holds_a_removed_file_keeps_nobody_out
    lock_a_lock_file_that_goes_away_while_held_is_noticed_and_healed
    lock_waits_double_and_become_short_for_who_waited_long_and_end_at_the_deadline'

windows_sources() { # VARIANT: windows, or windows_git
    for f in tests/test_*.c; do
        name=$(basename "$f" .c)
        case " $WINDOWS_WITHOUT " in *" ${name#test_} "*) continue ;; esac
        if [ "$1" = windows ] && needs_git "$f"; then continue; fi
        echo "$f"
    done
}
# Wine with a configuration of our own below build/, silent, without a display, and nothing fetched.
windows_wine() { # SECONDS PROGRAM ARGUMENT...
    case $B in /*) wine_prefix=$B/wine ;; *) wine_prefix=$(pwd)/$B/wine ;; esac
    seconds_=$1
    shift
    env -u DISPLAY WINEPREFIX="$wine_prefix" WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=d;mshtml=d' \
        timeout -k 10 "$seconds_" wine "$@"
}
windows_boot() { # once: makes the configuration
    [ -e "$B/wine/system.reg" ] && return
    windows_wine 300 wineboot -i >"$B/logs/wineboot.log" 2>&1 || {
        tail -n 5 "$B/logs/wineboot.log"
        say "Wine does not start; its output is in $B/logs/wineboot.log"
        return 1
    }
}
# The suite, into build/obj/VARIANT/tests.exe. A warning of the library here would be seen by nobody
# else: it is an error.
windows_build() { # VARIANT LIBS FLAG...
    variant=$1 libs=$2
    shift 2
    dir=$B/obj/$variant
    mkdir -p "$dir"
    set -- "$WINDOWS_CC" $(quick_flags "$WINDOWS_CC") "$@"
    jobs_begin
    object "$dir/lib.o" agent_trace.c "$@" $LIBRARY_FLAGS -Werror -DAGT_PRIVATE=extern
    windows_objects=$dir/lib.o
    for f in $(windows_sources "$variant") tests/main.c tests/machine*.c; do
        o=$dir/$(basename "$f" .c).o
        object "$o" "$f" "$@" -std=gnu11 -Itests/windows -include tests/windows/host.h -Wall -Wextra \
            -Wno-format -DAGT_PRIVATE=extern
        windows_objects="$windows_objects $o"
    done
    jobs_run || return 1
    link_program "$dir/tests.exe" "$@" $windows_objects -static $libs -lntdll -lpthread
}
windows_run() { # VARIANT [ARGUMENTS]
    exe=$B/obj/$1/tests.exe
    shift
    windows_boot || return 1
    windows_wine "${SUITE_LIMIT:-1200}" "$exe" $(printf -- '--skip %s ' $WINDOWS_NOT) "$@"
}
suite_windows() { # [ARGUMENTS]
    windows_build windows '' -DAGENT_TRACE_NO_GIT && windows_run windows "$@"
}
suite_windows_git() { # [ARGUMENTS]
    windows_git && windows_build windows_git "$WINDOWS_GIT_LIBS" $WINDOWS_GIT_FLAGS &&
        windows_run windows_git "$@"
}
# For `test --all`: where there is no Wine and none can be installed, it says so and is no failure.
suite_windows_if_possible() {
    if (need $NEED_WINDOWS); then
        TEST_TAKES=1000 suite_windows $LONG_SWEEPS # 5,000 without --all: Wine waits for most of that time
    else
        say 'SKIPPED  the tests as a Windows program: mingw-w64 or Wine cannot be installed here'
        say '0 passed, 0 failed, 1 skipped'
    fi
}
command_test_windows() { # [--git] [FILTER]
    windows_suite=suite_windows
    need $NEED_TEST $NEED_WINDOWS
    if [ "${1-}" = --git ]; then
        need $NEED_WINDOWS_GIT
        windows_suite=suite_windows_git
        shift
    fi
    if [ $# -gt 0 ]; then set -- --filter "$1"; else set -- $LONG_SWEEPS; fi
    $windows_suite "$@"
}
