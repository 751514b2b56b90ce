# check [NAME...]: what is compared rather than run. One function a check; it prints what is wrong and
# fails, or is silent. Each prints how to mend it where that is not plain.

. build.d/build.sh

STRICT="-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror"
PART_LINES=900    # no part is longer
FUNCTION_LINES=80 # functions above are listed, not refused
CODES_TESTED=99    # per cent of the documented (function, status) pairs that a test must name

CHECKS="scripts version layers calls amalgamation header warnings_gcc warnings_clang plain_compile symbols
    globals switches program help widths comments codes readme_code readme_tables readme_console format sizes
    words parity"

public_functions() {
    sed -n 's/^AGENT_TRACE_API .*[ *]\(agt_[a-z0-9_]*\)(.*/\1/p' agent_trace.h | sort
}

# ---- the tree ----

check_scripts() { # every script is plain sh, and the entry says what there is
    for f in build.sh amalgamate .ci/run build.d/*.sh tests/*.sh examples/*.sh; do
        [ -e "$f" ] || continue
        case $(head -n 1 "$f") in
        *bash*) bash -n "$f" || return 1 ;;
        *) sh -n "$f" || return 1 ;;
        esac
    done
}

check_version() { # written once: the text and the numbers agree, and what cannot read the header
    eval "$(sed -n 's/^#define AGENT_TRACE_VERSION\(_[A-Z]*\)\{0,1\}  *"\{0,1\}\([0-9.]*\)"\{0,1\}$/version\1=\2/p' agent_trace.h)"
    # shellcheck disable=SC2154
    if [ "$version" != "$version_MAJOR.$version_MINOR.$version_PATCH" ]; then
        say "agent_trace.h: AGENT_TRACE_VERSION is $version, the numbers say $version_MAJOR.$version_MINOR.$version_PATCH"
        return 1
    fi
    if [ -e CHANGELOG.md ] && ! grep -q "$version" CHANGELOG.md; then
        say "CHANGELOG.md does not name version $version"
        return 1
    fi
    # vcpkg reads no header; CMakeLists.txt, meson.build and conanfile.py do
    if [ "$(sed -n 's/^  "version": "\(.*\)",$/\1/p' vcpkg.json)" != "$version" ]; then
        say "vcpkg.json has another version than agent_trace.h, which has $version"
        return 1
    fi
    if grep -nF "$version" CMakeLists.txt cmake/* meson.build conanfile.py; then
        say "these read the version from agent_trace.h and need not name it"
        return 1
    fi
}

# A part includes headers of the floors below and of its own folder; what the floors are stands here.
# Headers of the system are for src/sys/posix* and win32*, git2.h and zlib.h for src/git.
check_layers() {
    awk '
    function complain(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; bad = 1 }
    BEGIN {
        floor["base"] = 1
        floor["data"] = floor["sys"] = 2
        floor["git"] = floor["lock"] = floor["log"] = 3
        floor["state"] = 4
        floor["store"] = 5
        floor["reference"] = floor["work"] = floor["mcp"] = floor["sync"] = floor["export"] = 6
        n = split("assert.h inttypes.h limits.h stdarg.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h", c, " ")
        for (i = 1; i <= n; i++) plain[c[i]] = 1
        # intrinsics, behind the compiler that has them
        n = split("immintrin.h nmmintrin.h wmmintrin.h emmintrin.h smmintrin.h cpuid.h arm_acle.h arm_neon.h", c, " ")
        for (i = 1; i <= n; i++) fast[c[i]] = 1
    }
    FNR == 1 { n = split(FILENAME, at, "/"); folder = at[1] == "cli" ? "cli" : at[2] }
    !/^[ \t]*#[ \t]*include/ { next }
    {
        name = $0
        sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", name)
        sub(/[>"].*/, "", name)
    }
    /include[ \t]*</ {
        if (folder == "cli") { if (name ~ /^(git2|zlib)/) complain("cli/ knows the public header only"); next }
        if (name in plain) next
        if (name in fast && (folder == "data" || folder == "sys" || folder == "git")) next
        if (name ~ /^(git2(\/.*)?|zlib)\.h$/) {
            if (folder != "git") complain("<" name "> is for src/git only")
        } else if (FILENAME !~ /^src\/sys\/(posix(_process)?|win32(_kernel)?)\.[ch]$/)
            complain("<" name "> is a header of the system: only src/sys/posix* and win32* have those")
        next
    }
    folder == "cli" {
        if (name ~ /\// && name != "../agent_trace.h") complain("cli/ includes agent_trace.h and its own headers, not " name)
        next
    }
    {
        if (name ~ /agent_trace\.h$/) next
        if (name !~ /\//) next                                 # its own folder
        if (name !~ /^\.\.\/[a-z]+\/[a-z0-9_]+\.[ch]$/) { complain("unusual include " name); next }
        split(name, to, "/")
        if (!(to[2] in floor)) complain("src/" to[2] " is on no floor; give it one in build.d/check.sh")
        else if (to[2] != folder && floor[to[2]] >= floor[folder])
            complain("src/" folder " (floor " floor[folder] ") may not include " name " (floor " floor[to[2]] ")")
        else if (name ~ /inner\.h$/) complain(name " is for its own folder")
    }
    END { exit bad }' src/*/*.[ch] $(ls cli/*.[ch] 2>/dev/null)
}

# Every part compiles alone, and calls only what its folder may call: memory from base/memory.c, the
# system from src/sys/posix*.c, libgit2 and zlib from src/git. Nobody prints, exits or reads the
# environment.
check_calls() {
    dir=$B/obj/alone
    rm -rf "$dir"
    mkdir -p "$dir"
    jobs_begin
    for f in src/*/*.c; do
        case $f in */win32*.c) continue ;; esac
        object "$dir/$(echo "$f" | tr / _).o" "$f" "$CC" -std=c11 -O0 -w -DAGT_PRIVATE=extern $(git_flags)
    done
    jobs_run || return 1
    bad=0
    for f in src/*/*.c; do
        case $f in */win32*.c) continue ;; esac
        nm -u "$dir/$(echo "$f" | tr / _).o" | awk -v file="$f" '
        {
            name = $NF
            if (name ~ /^agt_/ || name ~ /^_GLOBAL_OFFSET_TABLE_$/ || name ~ /^__stack_chk_fail/) next
            if (name ~ /^(mem(cpy|move|set|cmp|chr|rchr)|str(len|nlen|cmp|ncmp|chr|rchr)|v?snprintf|__assert_fail)$/) next
            if (name ~ /^(qsort|bsearch)$/) next
            if (name ~ /^__(builtin|popcount|clz|ctz|bswap|u?div|u?mod|aeabi|cpu_)/) next
            if (file == "src/base/memory.c" && name ~ /^(malloc|realloc|calloc|free)$/) next
            if (file ~ /^src\/git\// && name ~ /^(git_|deflate|inflate|adler32|crc32|compressBound|zlibVersion)/ &&
                name != "git_libgit2_opts") next
            if (file ~ /^src\/sys\/posix(_process)?\.c$/ &&
                name !~ /^(f?printf|puts|fputs|putc|perror|exit|_exit|abort|atexit|getenv|setenv|setlocale|signal|umask|chdir|fchdir|fork|exec.*|system|popen|pthread_create|malloc|free)$/) next
            printf "%s: calls %s, which is not for it\n", file, name
            bad = 1
        }
        END { exit bad }' || bad=1
    done
    return $bad
}

check_amalgamation() { ./amalgamate --check; }

# ---- what a user compiles ----

check_header() {
    dir=$B/obj/header
    mkdir -p "$dir"
    strict="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fsyntax-only -I."
    printf '#include "agent_trace.h"\nint main(void) { return agt_version() == 0; }\n' >"$dir/plain.c"
    { echo '#define AGENT_TRACE_SYS' && cat "$dir/plain.c"; } >"$dir/sys.c"
    cp "$dir/plain.c" "$dir/plain.cc"
    cp "$dir/sys.c" "$dir/sys.cc"
    for unit in plain sys; do
        for cc in "$CC" clang-14; do
            "$cc" -std=c99 $strict -Wstrict-prototypes "$dir/$unit.c" || return 1
            "$cc" -std=c11 $strict "$dir/$unit.c" || return 1
        done
        g++ -std=c++11 $strict -Wold-style-cast "$dir/$unit.cc" || return 1
        clang-14 -x c++ -std=c++11 $strict "$dir/$unit.cc" || return 1
        g++ -std=c++17 $strict "$dir/$unit.cc" || return 1
    done
    # twice, and with the seam asked for the second time
    printf '#include "agent_trace.h"\n#define AGENT_TRACE_SYS\n#include "agent_trace.h"\nint main(void) { return agt_sys_os() == 0; }\n' \
        >"$dir/twice.c"
    "$CC" -std=c99 $strict "$dir/twice.c"
}

# The manifest with everything visible, and the shipped file. What gcc notices hangs on how hard it looks,
# what clang does not.
warnings() { # COMPILER HARDEST USUAL [LEVEL]...
    cc=$1 hardest=$2 dir=$B/obj/warnings-$1
    shift 2
    jobs_begin
    object "$dir/extern.o" src/agent_trace.c "$cc" $STRICT -Wmissing-prototypes -O$1 -DAGT_PRIVATE=extern $(git_flags)
    for level; do
        object "$dir/shipped-$level.o" agent_trace.c "$cc" $STRICT -O$level $(git_flags)
    done
    object "$dir/nodebug.o" agent_trace.c "$cc" $STRICT -O$hardest -DNDEBUG $(git_flags)
    jobs_run
}
check_warnings_gcc() { warnings gcc 3 2 0 1 s; }
check_warnings_clang() { warnings clang-14 0 0; }

check_plain_compile() { # the line of the README, with warnings; silence is the result
    out=$(cc -c -Wall -Wextra -Wpedantic agent_trace.c $(pkg-config --cflags libgit2 zlib) \
        -o "$B/obj/plain_compile.o" 2>&1) || {
        say "$out"
        return 1
    }
    [ -z "$out" ] || {
        say "$out"
        return 1
    }
}

check_symbols() { # exactly the functions of the header are exported
    dir=$B/obj/symbols
    jobs_begin
    object "$dir/shipped.o" agent_trace.c "$CC" -std=c11 -O0 -w $(git_flags)
    object "$dir/static.o" agent_trace.c "$CC" -std=c11 -O0 -w -DAGENT_TRACE_STATIC $(git_flags)
    jobs_run || return 1
    nm -g --defined-only "$dir/shipped.o" | awk '{ print $NF }' | sort >"$dir/exported"
    public_functions >"$dir/declared"
    if ! diff "$dir/declared" "$dir/exported"; then
        say "(< declared in agent_trace.h, > exported by agent_trace.c)"
        return 1
    fi
    if [ -n "$(nm -g --defined-only "$dir/static.o")" ]; then
        nm -g --defined-only "$dir/static.o"
        say "AGENT_TRACE_STATIC exports these"
        return 1
    fi
}

check_globals() { # no writable data
    dir=$B/obj/globals
    jobs_begin
    object "$dir/shipped.o" agent_trace.c "$CC" -std=c11 -O0 -w -fno-pic -fno-pie $(git_flags)
    jobs_run || return 1
    found=$(nm "$dir/shipped.o" | awk '$2 ~ /^[bBdDC]$/ { print $3 }')
    [ -z "$found" ] || {
        say "the library has variables: $found"
        return 1
    }
}

# Every switch of the header builds without a warning, and is named by something that runs.
check_switches() {
    dir=$B/obj/switches
    rm -rf "$dir" # its sources include others behind the back of the objects' keys
    mkdir -p "$dir"
    names=$(sed -n 's/^ \*   \(AGENT_TRACE_[A-Z_]*\).*/\1/p' agent_trace.h)
    [ "$(echo "$names" | wc -l)" -ge 8 ] || {
        say "the switches are no longer found in agent_trace.h"
        return 1
    }
    bad=0
    for name in $names; do
        grep -rq "$name" tests examples build.d/test.sh build.d/all.sh || {
            say "$name is named in no test"
            bad=1
        }
    done
    printf '#define AGENT_TRACE_IMPLEMENTATION\n#include "agent_trace.h"\n' >"$dir/implementation.c"
    printf '#define AGENT_TRACE_STATIC\n#include "agent_trace.c"\n' >"$dir/static.c"
    # -O0 where only the linkage differs: how hard a compiler looks is what `warnings` varies
    jobs_begin
    for cc in clang-14 gcc; do # clang looks equally hard at every level
        number=0 harder=-O0
        [ "$cc" != gcc ] || harder=-O1
        one() { # SOURCE FLAG...
            number=$((number + 1)) source=$1
            shift
            object "$dir/$cc-$number.o" "$source" "$cc" $STRICT -I. "$@"
        }
        one "$dir/implementation.c" -O0 $(git_flags)
        one "$dir/static.c" -O0 $(git_flags)
        one agent_trace.c -O0 $(git_flags) -DAGENT_TRACE_DLL
        one agent_trace.c -O0 $(git_flags) -DAGENT_TRACE_DLL -DAGENT_TRACE_BUILDING
        one agent_trace.c -O0 $(git_flags) -DAGENT_TRACE_SYS
        one agent_trace.c -O0 $(git_flags) "'-DAGENT_TRACE_ASSERT(c)=((void)(c))'"
        one agent_trace.c -O0 $(git_flags) "'-DAGENT_TRACE_API=__attribute__((visibility(\"default\")))'" -fvisibility=hidden
        one agent_trace.c $harder $(git_flags) -DAGENT_TRACE_PLAIN_POSIX
        one agent_trace.c $harder -DAGENT_TRACE_NO_GIT -DAGENT_TRACE_PLAIN_POSIX
        one agent_trace.c $harder -DAGENT_TRACE_NO_GIT
    done
    jobs_run || bad=1
    # without git nothing of it is left
    if nm -u "$dir/gcc-$number.o" | grep -E ' (git_|inflate|deflate)'; then
        say "AGENT_TRACE_NO_GIT still needs these"
        bad=1
    fi
    return $bad
}

check_program() { # the program, under both compilers
    ls cli/*.c >/dev/null 2>&1 || return 0
    for f in cli/*.c; do # who builds with Meson lists them
        grep -qF "'$f'" meson.build || {
            say "meson.build does not name $f"
            return 1
        }
    done
    for cc in gcc clang-14; do
        jobs_begin
        for f in cli/*.c; do
            object "$B/obj/warnings-$cc/cli_$(basename "$f").o" "$f" "$cc" $STRICT -O2
        done
        jobs_run || return 1
    done
}

# ---- what is written twice ----

check_help() { # the parser, the help, the manual pages and the completion of shells
    ls cli/*.c >/dev/null 2>&1 || return 0
    command_build || return 1
    python3 build.d/help.py "$B/agent-trace" "$B/share"
}

check_widths() { python3 build.d/width.py --check; }
check_comments() { python3 build.d/header.py comments; }
check_codes() { python3 build.d/header.py codes "$CODES_TESTED" "$B/codes.txt"; }
check_readme_code() {
    [ -e README.md ] || return 0
    command_build || return 1
    python3 build.d/readme.py code "$B" "$CC" "$(git_flags)" "$(git_libs)"
}
check_readme_tables() {
    [ -e README.md ] || return 0
    python3 build.d/readme.py tables "$B/agent-trace"
}
check_readme_console() {
    [ -e README.md ] || return 0
    command_build || return 1
    python3 build.d/readme.py console "$B/agent-trace"
}

check_format() {
    files=$(ls agent_trace.h src/*.c src/*/*.[ch] cli/*.[ch] tests/*.[ch] fuzz/*.[ch] bench/*.[ch] \
        examples/*.[ch] examples/*/*.[ch] 2>/dev/null)
    # shellcheck disable=SC2086
    clang-format-14 --dry-run -Werror $files 2>"$B/logs/format.log" && return 0
    sed -n 's/^\([^:]*\):[0-9]*:.*code should be clang-formatted.*/\1/p' "$B/logs/format.log" | sort | uniq -c
    say "mend: clang-format-14 -i FILE"
    return 1
}

check_sizes() {
    awk -v part="$PART_LINES" -v most="$FUNCTION_LINES" '
    FNR == 1 { start = 0 }
    { lines[FILENAME] = FNR }
    /^[a-zA-Z].*\{$/ && !/^(typedef|struct|enum|union|static const|extern)/ { start = FNR; name = $0 }
    /^\}/ {
        if (start && FNR - start + 1 > most) printf "note: %s:%d: %d lines: %s\n", FILENAME, start, FNR - start + 1, name
        start = 0
    }
    END {
        for (f in lines) if (lines[f] > part) { printf "%s has %d lines, more than %d\n", f, lines[f], part; bad = 1 }
        exit bad
    }' src/*/*.[ch] $(ls cli/*.[ch] 2>/dev/null)
}

check_words() { # no file of the product knows where it was written
    files=$(git ls-files 2>/dev/null | grep -v -e '^tests/' -e '^build\.sh$' -e '^build\.d/' -e '^LICENSE$' || true)
    # shellcheck disable=SC2086
    if [ -n "$files" ] && grep -nE '(^|[^c])/work/|\.\./shared' $files /dev/null; then # src/work is ours
        say "these name a folder of one machine"
        return 1
    fi
}

check_parity() { # every promise and hole of the reference has a test or a row
    [ -e tests/parity.tsv ] || return 0
    python3 build.d/parity.py
}

command_check() {
    need $NEED_CHECK
    [ $# -gt 0 ] || set -- $CHECKS
    for name; do
        command -v "check_$name" >/dev/null || usage_error "check: there is no $name; there are:" $CHECKS
    done
    mkdir -p "$B/logs/check"
    good=0 bad=0
    for name; do
        if ("check_$name") >"$B/logs/check/$name" 2>&1 </dev/null; then
            good=$((good + 1))
            say "ok   $name"
            grep '^note: ' "$B/logs/check/$name" | sed 's/^/     /' || true
        else
            bad=$((bad + 1))
            say "FAIL $name"
            head -n 25 "$B/logs/check/$name" | sed 's/^/     /'
            [ "$(wc -l <"$B/logs/check/$name")" -le 25 ] || say "     ... the rest is in $B/logs/check/$name"
        fi
    done
    say "$good passed, $bad failed"
    [ "$bad" = 0 ]
}
