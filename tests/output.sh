#!/bin/sh
# What people see: widths, colours, times, the pager, and what could fool a terminal. The terminals
# are real ones, made by kit_terminal.py.
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH AGENT_TRACE_PAGER PAGER LESS NO_COLOR COLUMNS
TERM=xterm TZ=UTC
export TERM TZ
P=$PROGRAM
S=$WORK/store

screen() { # SIZE ARGS...: what stands on a terminal of that size, without a pager
    size=$1
    shift
    AGENT_TRACE_PAGER='' python3 -S "$ROOT/tests/kit_terminal.py" "$size" '' "$P" "$@"
}
paged() { # PAGER TYPED ARGS...: as on a terminal of 80 columns; NONE: nobody names a pager
    pager=$1 typed=$2
    shift 2
    if [ "$pager" = NONE ]; then
        python3 -S "$ROOT/tests/kit_terminal.py" 80x24 "$typed" "$P" "$@"
    else
        AGENT_TRACE_PAGER=$pager python3 -S "$ROOT/tests/kit_terminal.py" 80x24 "$typed" "$P" "$@"
    fi
}
escape=$(printf '\033')
LONG=a-folder-with-a-long-name/another-folder-with-a-long-name/a-document-with-a-long-name.md
WIDE=$(printf 'docs/\346\227\245\346\234\254\350\252\236.md')    # three characters, six columns
COMBINED=$(printf 'docs/e\314\201te\314\201.md')                  # two accents of their own

# A store with some of everything.
mkdir "$S" && cd "$S" || exit 2
{
    "$P" init --plain
    "$P" write plan.md --content "$(seq 1 30)" --type plan
    "$P" --actor agent:claude write plan.md --content "$(seq 1 30 | sed 's/^7$/seven/')" --summary 'a word'
    "$P" --actor agent:a-long-name write "$LONG" --content x
    "$P" write "$WIDE" --content x --type context --yes --summary wide
    "$P" write "$COMBINED" --content x --type log --yes --summary combined
    "$P" write style.md --content law --type reference --summary plain
    "$P" --actor agent:codex write style.md --content anarchy
    "$P" --actor agent:codex write style.md --content "$(printf 'ruin\033]0;me\007')"
} >/dev/null 2>&1
printf 'by \033[31mhand\033[0m \302\233 \342\200\256 \377 end\rover\n' >style.md

# ---- widths ----

# The most columns that a line of stdin takes, wide and combining characters counted as terminals do.
columns() {
    python3 -c '
import re, sys, unicodedata
most = 0
for line in sys.stdin.buffer.read().decode("utf-8", "replace").splitlines():
    line = re.sub("\x1b\\[[0-9;]*m", "", line)
    most = max(most, sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF"
                         else 1 for c in line))
print(most)'
}
fits() {
    for width in 80 56 40; do
        for words in log 'ls --deleted' status violations 'info plan.md' help 'help log'; do
            # shellcheck disable=SC2086
            screen "${width}x24" $words >"$WORK/screen" || return 1
            [ -s "$WORK/screen" ] || return 1
            # what is to be typed or copied as it is, is whole: examples, and the store's folder
            grep -a -v -e '^  *agent-trace ' -e '^usage: ' -e '"' -e '^.\[2mstore' -e '^.\[2mid' -e '^.\[2mblob' "$WORK/screen" >"$WORK/cut"
            wide=$(columns <"$WORK/cut")
            [ "$wide" -le "$width" ] || {
                echo "$words at $width takes $wide:"
                cat "$WORK/screen"
                return 1
            }
        done
    done
}
case_ 'nothing is wider than the terminal, down to 40 columns' fits

whole() { # at 40 columns everything is still there
    screen 40x24 log >"$WORK/screen" &&
        for part in agent:claude violation v2 +30 -1 plan.md "style.md" "long-name.md" "a word"; do
            grep -aqF -e "$part" "$WORK/screen" || { echo "no $part" && return 1; }
        done
}
case_ 'a narrow terminal loses nothing but the middle of paths' whole

lined_up() { # the summaries of a wide terminal begin in one column
    screen 200x24 log | python3 -c '
import re, sys, unicodedata
at = set()
seen = 0
for line in sys.stdin.read().splitlines():
    line = re.sub("\x1b\\[[0-9;]*m", "", line)
    found = re.search("  (wide|combined|plain|a word)$", line)
    if found:
        seen += 1
        at.add(sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
                   for c in line[:found.start(1)]))
print(seen, at)
sys.exit(seen != 4 or len(at) != 1)'
}
case_ 'wide and combining characters do not move the columns' lined_up

asked() { # the terminal is asked, then COLUMNS, then it is 80
    COLUMNS=50 screen 100x24 log | columns >"$WORK/asked"
    COLUMNS=50 screen 0x0 log | columns >"$WORK/variable"
    screen 0x0 log | columns >"$WORK/neither"
    [ "$(cat "$WORK/asked")" -gt 80 ] && [ "$(cat "$WORK/asked")" -le 100 ] &&
        [ "$(cat "$WORK/variable")" -le 50 ] && [ "$(cat "$WORK/neither")" -gt 60 ] &&
        [ "$(cat "$WORK/neither")" -le 80 ]
}
case_ 'the width is the terminal'"'"'s, else COLUMNS, else 80' asked

piped() { # one event a line, eight cells, nothing cut
    "$P" log >"$WORK/log" && "$P" ls >"$WORK/ls" &&
        awk -F '\t' 'NF != 8 { bad = 1 } END { exit bad || NR < 7 }' "$WORK/log" &&
        awk -F '\t' 'NF != 6 { bad = 1 } END { exit bad || NR < 5 }' "$WORK/ls" &&
        cut -f 7 "$WORK/log" | grep -qxF "$LONG" && cut -f 6 "$WORK/ls" | grep -qxF "$LONG" &&
        head -n 1 "$WORK/log" | cut -f 3-8 | grep -q "^$(printf 'violation\t\t\t\tstyle.md\t[a-z]*: reference ')"
}
case_ 'in a pipe a row is a line, with tabs between whole cells' piped

# ---- colours ----

coloured() { grep -q "$escape\\[" "$1"; }
colours() {
    screen 80x24 log >"$WORK/1" && coloured "$WORK/1" && screen 80x24 --color never log >"$WORK/2" &&
        ! coloured "$WORK/2" && screen 80x24 log --color auto >"$WORK/3" && coloured "$WORK/3" &&
        "$P" log >"$WORK/4" && ! coloured "$WORK/4" && "$P" --color=always log >"$WORK/5" &&
        coloured "$WORK/5" && NO_COLOR=x screen 80x24 log >"$WORK/6" && ! coloured "$WORK/6" &&
        NO_COLOR='' screen 80x24 log >"$WORK/7" && coloured "$WORK/7" &&
        NO_COLOR=1 screen 80x24 log --color always >"$WORK/8" && coloured "$WORK/8" &&
        TERM=dumb screen 80x24 log >"$WORK/9" && ! coloured "$WORK/9" &&
        sed "s/$escape\\[[0-9]*m//g" "$WORK/5" | cmp - "$WORK/4"
}
case_ 'colour is for terminals, NO_COLOR and TERM=dumb are heard, --color decides' colours
no_colour() {
    "$P" log --color sometimes >"$WORK/out" 2>"$WORK/err"
    [ $? = 2 ] && [ ! -s "$WORK/out" ] &&
        [ "$(cat "$WORK/err")" = "agent-trace: --color 'sometimes' is unknown; use auto, always or never" ]
}
case_ 'a --color that is none is refused' no_colour
actors() { # the user, agents, and types are told apart
    screen 100x24 log >"$WORK/log" && screen 100x24 ls >"$WORK/ls" &&
        grep -aqF "$escape[36muser$escape[0m" "$WORK/log" &&
        grep -aqF "$escape[35magent:claude$escape[0m" "$WORK/log" &&
        grep -aqF "$escape[32mplan$escape[0m" "$WORK/ls" &&
        grep -aqF "$escape[35mreference$escape[0m" "$WORK/ls"
}
case_ 'actors and types have colours of their own' actors

# ---- times ----

said_times() {
    exact='20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z'
    screen 100x24 --color never log >"$WORK/terminal" && grep -aEq '^(now|[0-9]+ (s|min) ago)  ' "$WORK/terminal" &&
        ! grep -aEq "$exact" "$WORK/terminal" && screen 100x24 --color never log --utc >"$WORK/utc" &&
        grep -aEq "^$exact  " "$WORK/utc" && "$P" log >"$WORK/pipe" && grep -aEq "^$exact	" "$WORK/pipe" &&
        screen 100x24 --color never --utc status | grep -aEq "^last event +8, $exact: " &&
        "$P" ls | grep -aEq "	$exact	"
}
case_ 'times are relative on a terminal, exact with --utc and in a pipe' said_times

# ---- what could fool a terminal ----

raw() { # does it have control characters, other than colours, line ends and tabs, or turn the text?
    python3 -c '
import re, sys
text = re.sub(b"\x1b\\[[0-9;]*m", b"", sys.stdin.buffer.read()) if sys.argv[1] == "colours" else sys.stdin.buffer.read()
text = text.decode("utf-8", "surrogateescape")
sys.exit(0 if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\udc80-\udcff]", text) else 1)' "$1"
}
safe() {
    summary=$(printf 'a \302\233 b \342\200\256 c')
    "$P" write odd.md --content x --summary "$summary" >/dev/null || return 1
    seen=0
    for words in 'show style.md --disk' 'diff style.md' 'log odd.md' 'log odd.md --json' \
        'trace --path odd.md' 'show style.md --disk --json' ls status 'violations show 8' 'violations show 8 --diff'; do
        # shellcheck disable=SC2086
        screen 80x24 --color never $words >"$WORK/screen" || return 1
        [ -s "$WORK/screen" ] || { echo "$words printed nothing" && return 1; }
        ! raw plain <"$WORK/screen" || { echo "$words:" && cat -v "$WORK/screen" && return 1; }
        seen=$((seen + 1))
    done
    [ "$seen" = 10 ] && screen 80x24 show style.md --disk | grep -aqF 'by ^[[31mhand^[[0m <U+009B> <U+202E> <FF> end^Mover' &&
        screen 80x24 trace --path odd.md | python3 -c "
import json, sys
sys.exit(json.loads(sys.stdin.read())['summary'] != sys.argv[1])" "$summary"
}
case_ 'no control character of a document or a summary reaches a terminal' safe
exact() { # in a pipe bytes are bytes
    "$P" show style.md --disk | cmp - style.md && "$P" --color never diff style.md | raw plain
}
case_ 'in a pipe documents are the bytes they are' exact
binary() {
    printf 'a\0b' >"$WORK/bytes" && "$P" write bytes.dat --file "$WORK/bytes" >/dev/null &&
        [ "$(screen 80x24 show bytes.dat)" = "3 B that are no text; 'agent-trace show bytes.dat > FILE' has them" ] &&
        "$P" show bytes.dat | cmp - "$WORK/bytes"
}
case_ 'what is no text is not printed on a terminal' binary

# ---- the pager ----

through() { # log, diff and trace go through it, with what stdout would have had
    for words in log 'diff plan.md 1 2' 'trace' 'violations'; do
        # shellcheck disable=SC2086
        screen 80x24 --color never --utc $words >"$WORK/plain" &&
            paged 'sed s/^/:/' '' --color never --utc $words | sed 's/^://' >"$WORK/paged" &&
            [ -s "$WORK/plain" ] && cmp "$WORK/plain" "$WORK/paged" || return 1
    done
}
case_ 'log, diff, trace and violations go through the pager' through
not_through() {
    for words in ls status 'show plan.md' 'log --json' 'log nosuch.md' '--no-pager log' 'log --no-pager'; do
        # shellcheck disable=SC2086
        paged "touch $WORK/was-paged; cat" '' $words >"$WORK/out"
        [ ! -e "$WORK/was-paged" ] && [ -s "$WORK/out" ] || { echo "$words" && return 1; }
    done
    AGENT_TRACE_PAGER="touch $WORK/was-paged; cat" "$P" log >"$WORK/out" && [ -s "$WORK/out" ] &&
        [ ! -e "$WORK/was-paged" ]
}
case_ 'no pager for what is short, for --json, --no-pager, a pipe, or where nothing is printed' not_through
which_one() {
    PAGER="sed s/^/P:/" paged NONE '' --utc log | grep -aq '^P:' &&
        PAGER="sed s/^/P:/" paged "sed s/^/A:/" '' --utc log | grep -aq '^A:' &&
        PAGER="sed s/^/P:/" paged '' '' --utc log >"$WORK/none" && ! grep -aq '^P:' "$WORK/none" &&
        PAGER=cat paged NONE '' --utc log >"$WORK/cat" && cmp "$WORK/cat" "$WORK/none"
}
case_ 'AGENT_TRACE_PAGER, else PAGER; empty and cat are none' which_one
default() { # less with FRX, unless LESS says otherwise
    mkdir -p "$WORK/bin" && printf '#!/bin/sh\necho "LESS=$LESS"\ncat\n' >"$WORK/bin/less" &&
        chmod +x "$WORK/bin/less" &&
        PATH=$WORK/bin:$PATH paged NONE '' log | grep -aq '^LESS=FRX' &&
        LESS=S PATH=$WORK/bin:$PATH paged NONE '' log | grep -aq '^LESS=S.*' &&
        TERM=dumb PATH=$WORK/bin:$PATH paged NONE '' log >"$WORK/dumb" && ! grep -aq '^LESS' "$WORK/dumb"
}
case_ 'the default is less, which ends by itself and takes colours' default
no_less() { # where there is none nobody is told of it
    mkdir -p "$WORK/empty" && python=$(python3 -c 'import sys; print(sys.executable)') &&
        PATH=$WORK/empty "$python" "$ROOT/tests/kit_terminal.py" 80x24 '' "$P" --color never --utc log >"$WORK/out" &&
        screen 80x24 --color never --utc log | cmp - "$WORK/out"
}
case_ 'without less there is no pager' no_less
cannot() { # nothing is lost: more than a pipe holds, and in order
    i=0
    while [ $i -lt 400 ]; do
        i=$((i + 1))
        printf '{"actor":"agent:a","action":"create","path":"many/%d.md","content":"%d"}\n' $i $i
    done | "$P" import - --durability process >/dev/null || return 1
    screen 80x24 trace >"$WORK/plain" && [ "$(wc -c <"$WORK/plain")" -gt 150000 ] || return 1
    for pager in no-such-pager 'exit 127' '/dev/null' 'sleep 0.4; exit 126'; do
        paged "$pager" '' trace >"$WORK/out" || { echo "$pager: exit $?" && return 1; }
        grep -a '^{' "$WORK/out" | cmp - "$WORK/plain" || { echo "$pager lost something" && return 1; }
        grep -aqF "agent-trace: note: cannot start the pager '$pager'" "$WORK/out" || { echo "$pager: no note" && return 1; }
    done
}
case_ 'a pager that cannot be started loses nothing' cannot
quit() { # a reader that goes away is no error, and nobody waits for what nobody reads
    paged 'head -n 2' '' trace >"$WORK/out" && [ "$(grep -ac '^{' "$WORK/out")" = 2 ] &&
        [ "$(wc -l <"$WORK/out")" = 2 ]
}
case_ 'a pager that is quit ends the command quietly' quit
codes() { # and a pager's own exit code is its own
    paged 'cat; exit 3' '' log >"$WORK/out" && paged 'cat >/dev/null' '' log nosuch.md >"$WORK/out"
    [ $? = 4 ] || return 1
    cp -r "$S" "$WORK/damaged" && "$P" -C "$WORK/damaged" log >/dev/null || return 1
    for segment in "$WORK"/damaged/.agent-trace/trace/*.jsonl; do
        sed 's/"modify"/"mod!fy!/' "$segment" >"$WORK/segment" && cat "$WORK/segment" >"$segment" || return 1
    done
    paged 'sed s/^/:/' '' -C "$WORK/damaged" log -n 0 >"$WORK/out"
    [ $? = 1 ] && grep -aq '^:agent-trace: a line of the trace is damaged: ' "$WORK/out" && grep -aq '^:.*plan\.md' "$WORK/out"
}
case_ 'the exit code is the command'"'"'s, and problems are in the pager, too' codes
interrupted() { # Ctrl-C: the pager is not left alone with the terminal
    if ! command -v less >/dev/null 2>&1; then
        echo 'there is no less'
        return 1
    fi
    paged less '^C|q' trace >"$WORK/out"
    code=$?
    { [ $code = 130 ] || [ $code = 0 ]; } && grep -aq '^{' "$WORK/out"
}
if command -v less >/dev/null 2>&1; then
    case_ 'Ctrl-C waits for the pager' interrupted
else
    skip 'Ctrl-C waits for the pager' 'there is no less'
fi
follow() { # what waits for more is not paged
    timeout 5 env AGENT_TRACE_PAGER="touch $WORK/was-paged; cat" \
        python3 -S "$ROOT/tests/kit_terminal.py" 80x24 '^C' "$P" log -f -n 2 >"$WORK/out"
    [ ! -e "$WORK/was-paged" ] && [ "$(grep -ac many "$WORK/out")" = 2 ]
}
case_ 'log --follow is not paged' follow
asked_behind() { # what is to be confirmed is seen first, in the pager, and asked behind it
    "$P" write word.md --content 'one two' >/dev/null &&
        paged 'sed s/^/:/' 'y\n' replace one three word.md >"$WORK/out" && [ "$(cat word.md)" = 'three two' ] &&
        grep -aq '^:.*three two' "$WORK/out" && grep -aq '^do it all the same?' "$WORK/out" &&
        paged 'cat >/dev/null' 'n\n' replace two four word.md >"$WORK/out"
    [ $? = 3 ] && [ "$(cat word.md)" = 'three two' ]
}
case_ 'what is to be confirmed is seen in the pager and asked behind it' asked_behind
shell() { # it is a command line, run by sh; paths are no part of it
    paged 'sed "s/^/a b:/" | cat' '' log | grep -aq '^a b:' && [ ! -e "$S/a" ]
}
case_ 'the pager is a command line' shell

kit_end
