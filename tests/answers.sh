#!/bin/sh
# What the program answers who takes a wrong turn: a change of many that is refused for some, an edit
# outside agent-trace, a pipe that brought nothing, a word that is none. Each says what is and what helps.
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR COLUMNS
AGENT_TRACE_PAGER='' TERM=xterm TZ=UTC
export AGENT_TRACE_PAGER TERM TZ
out() { grep -q -- "$1" "$WORK/out" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
err() { grep -q -- "$1" "$WORK/err" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
quiet() { [ ! -s "$WORK/err" ] || { cat "$WORK/err"; return 1; }; }
has() { [ "$(cat "$1")" = "$2" ] || { echo "$1 is $(cat "$1")"; return 1; }; }
events() { grep -c . .agent-trace/trace/*.jsonl; }
store() { mkdir -p "$WORK/$1" && cd "$WORK/$1" && code 0 init --plain; }
w() { # NAME TYPE TEXT
    code 0 write "$1" --type "$2" --content "$3"
}
screen() { # COLUMNS ARGS...
    columns=$1
    shift
    python3 -S "$ROOT/tests/kit_terminal.py" "${columns}x24" '' "$PROGRAM" --color never "$@"
}

# ---- many at once, and not all may be changed ----

replaces_for_an_agent() {
    store replace && w st.md reference 'Tabs here' && w api.md reference 'Tabs there' && before=$(events) &&
        code 0 --actor agent:x replace Tabs spaces --dry-run && err 'denied: .*st.md' && [ "$(events)" = "$before" ] &&
        code 3 --actor agent:x replace Tabs spaces st.md --yes && err 'agent:x may not modify st.md.*recorded as event' &&
        ! err 'api.md' && ! out 'no matches' && code 0 violations && out 'agent:x.*kept.*st.md' && has st.md 'Tabs here' &&
        w mine.md scratch 'Tabs mine' && code 3 --actor agent:x replace Tabs spaces && err 'may not modify st.md' &&
        err 'may not modify api.md' && out '1 match in 1 document, changed' && has mine.md 'spaces mine' && has api.md 'Tabs there' &&
        w other.md scratch 'Tabs too' && code 3 --actor agent:x replace Tabs spaces --json &&
        out '"left_denied":2.*"denied":\["api.md","st.md"\]' && has other.md 'spaces too' &&
        code 0 --actor agent:x replace nowhere x && code 0 replace Tabs spaces && has st.md 'spaces here' &&
        mkdir index && cd index && code 0 init && code 0 --actor agent:x replace 'Agent Trace' x && out 'no matches' && quiet
}
moves_all_or_none() {
    store move && w mix/a.md scratch a && w mix/b.md reference b && w mix/c.md scratch c && before=$(events) &&
        code 3 --actor agent:x mv mix mix2 && err 'agent:x may not rename mix/b.md.*recorded' && [ ! -e mix2 ] &&
        has mix/a.md a && [ "$(events)" = $((before + 1)) ] && code 0 mv mix mix2 && has mix2/c.md c || return 1
    code 0 write asked/a.md --content a && code 0 write asked/z.md --content z --type context --yes &&
        code 3 mv asked new && err 'repeat with --yes' && [ ! -e new ] && code 0 mv asked new --yes && has new/z.md z &&
        w more/a-b.md scratch x && w more/0.md scratch x && code 3 --actor agent:x mv more logs && [ ! -e logs ]
}
scans_for_an_agent() {
    store scan && mkdir d && echo a >d/a.md && echo b >d/b.md &&
        code 3 --actor agent:x init --scan --type 'b.md=reference' && out 'took in 1 document' && out '1 file that was refused' &&
        err 'b.md' && code 0 --actor agent:x ls && out 'd/a.md' && ! out 'd/b.md' && code 3 --actor agent:x init --scan --type 'b.md=reference' --json &&
        out '"refused":1' && code 0 init --scan --type 'b.md=reference'
}
case_ 'replace names and records what an agent may not write, and exits 3' replaces_for_an_agent
case_ 'of a folder all documents move or none, if one may not' moves_all_or_none
case_ 'init --scan by an agent exits 3 if a file is refused' scans_for_an_agent

# ---- outside agent-trace ----

outside_is_marked() {
    store outside && code 0 --actor agent:a write p.md --type plan --content one && code 0 info p.md && ! out 'outside' &&
        printf 'two\n' >p.md && code 0 --actor agent:a write p.md --content three && code 0 log &&
        [ "$(grep -c 'outside agent-trace' "$WORK/out")" = 1 ] && out '	user	modify	v2	.*p.md	outside agent-trace$' &&
        screen 80 log >"$WORK/screen" && grep -q 'user .*outside agent-trace' "$WORK/screen" &&
        code 0 info p.md && ! out outside && printf four >p.md && code 0 write p.md --content four && code 0 info p.md &&
        out 'changed.* by user, outside agent-trace' && code 0 info p.md --json && out '"changed_outside":true' && out '"created_outside":false' &&
        printf x >new.md && code 0 write new.md --content y && code 0 info new.md && out 'created.* by user, outside agent-trace'
}
deleted_is_not_edited() {
    store deleted && w a.md plan one && rm a.md && code 0 restore a.md && err 'note: somebody had deleted the file' && ! err edited &&
        has a.md one && rm a.md && code 0 write a.md --content two && err 'deleted the file' &&
        printf three >a.md && code 0 restore a.md 1 && err 'edited the file'
}
case_ 'an edit made outside is marked in log and info' outside_is_marked
case_ 'a file that was deleted outside is told as deleted' deleted_is_not_edited

# ---- words ----

no_refusal() {
    store refusals && w a.md reference one && code 4 violations show 1 && err 'event 1 is no refusal: create of a.md' &&
        code 4 violations show 99 && err 'there is no event 99' && code 3 --actor agent:x rm a.md && n=$(events) &&
        code 4 violations show "$n" && err "event $n refused no bytes, but to delete a.md" &&
        code 3 --actor agent:x write a.md --content two && n=$(events) && code 0 violations show "$n" && out two &&
        code 0 gc && code 0 violations && out "^$n.*	kept	" && rm .agent-trace/rejected/* && code 4 violations show "$n" &&
        err "event $n refused are not kept: .*removed them" && code 0 violations && out "^$n.*	not kept	" && ! out '	kept	' >/dev/null || return 1
    # what is too long never was; what the journal has is there; and the oldest go
    head -c 34000000 /dev/zero >"$WORK/long" &&
        code 3 --actor agent:x write a.md --file "$WORK/long" && n=$(events) && code 0 violations && out "^$n.*	not kept	" &&
        code 4 violations show "$n" && err "event $n refused were never kept: .*32 MiB" && code 3 --actor agent:x write a.md --content three &&
        code 0 violations && out "^$((n + 1)).*	kept	" && rm .agent-trace/rejected/* &&
        code 0 violations && out "^$((n + 1)).*	kept	" && code 0 violations show $((n + 1)) && out three && code 0 gc &&
        (cd .agent-trace/rejected && seq 1 1024 | xargs touch) && code 4 violations show $((n + 1)) && err 'not kept any more: .*newest 1024'
}
a_renamed_one() { # a patch against the document, whatever it is called now
    store renamed && w s.md reference one && code 3 --actor agent:x write s.md --content two && n=$(events) && code 0 mv s.md t.md &&
        code 0 violations show "$n" --diff && out '^-one' && out '^+two' && out 't.md' && w s.md scratch other &&
        code 0 violations show "$n" --diff && out '^-one' && ! out other >/dev/null
}
a_log_of_refusals() { # says what was refused
    store attempts && w s.md reference one && code 3 --actor agent:x rm s.md && code 3 --actor agent:x mv s.md u.md &&
        code 3 --actor agent:x write s.md --content x && code 0 log && for what in delete rename modify; do
            out "violation.*s.md.*$what: .*reference" || return 1
        done && code 0 log --json && out '"change_kind":"delete"'
}
hints_lead_on() {
    store hints && w a.md plan one && code 0 write context.md --content c --yes && code 2 reclassify context.md scratch --yes && err 'by its path.*; rename it first' &&
        code 2 replace --regex '^' '> ' && err "everywhere; make it match a character, as '^(.)' does" && code 0 replace --regex '^(.)' '> \1' --yes && has a.md '> one' &&
        code 0 help && out 'violations it filters' && code 0 init x && sed -n '/^| type/,/^$/p' x/AGENT-TRACE.md | sed 's/`//g' >"$WORK/table" && sed -n '/^| type | user/,/^$/p' "$ROOT/README.md" | tr -d '`' | LC_ALL=C sort >"$WORK/wanted" &&
        LC_ALL=C sort "$WORK/table" | cmp - "$WORK/wanted" && [ "$(wc -l <"$WORK/table")" -ge 7 ]
}
screens_of_help() { # no line is longer than 80 columns
    "$PROGRAM" help --names >"$WORK/names" && [ "$(wc -l <"$WORK/names")" -ge 26 ] || return 1
    while read -r name; do
        code 0 help "$name" && ! awk 'length > 80' "$WORK/out" | grep . || { echo "help $name"; return 1; }
    done <"$WORK/names"
}
case_ 'a refusal is compared with its document after a rename' a_renamed_one
case_ 'log says what was refused' a_log_of_refusals
case_ 'hints lead on, and the table of rights is that of the README' hints_lead_on
case_ 'every page of help fits 80 columns' screens_of_help
an_empty_pipe() {
    store empty && w plan.md plan one && before=$(events) && code 2 write plan.md && err "stdin is empty, and plan.md has 3 B.*--content ''" &&
        code 2 write plan.md --file - && has plan.md one && [ "$(events)" = "$before" ] && code 0 write plan.md --content '' && [ ! -s plan.md ] &&
        code 0 write plan.md && out unchanged && code 0 write fresh.md && [ -e fresh.md ]
}
no_action() {
    store action && w a.md plan one && code 2 log --action bogus && err "'bogus': no event has it; use create" && code 2 log --action bogus --json &&
        for word in create modify delete restore rename untrack reclassify unlock revoke violation; do code 0 log --action $word || return 1; done
}
a_folder() {
    store folders && w docs/a.md plan one && w docs/deep/b.md plan two || return 1
    for words in 'show' 'info' 'diff' 'untrack' 'restore' 'unlock --for agent' 'show --disk'; do
        # shellcheck disable=SC2086
        code 4 $words docs && err "docs.*it is a folder, and 'agent-trace ls docs' names its documents" || return 1
    done
    code 4 show docs/deep && err 'ls docs/deep' && (cd docs && code 4 show deep && err "'agent-trace ls deep'")
}
advice_that_is_one() { # options and words that a finding names are there
    store advice && w a.md plan one && printf two >a.md && at doctor --fix; at repair && ! out 'diff --disk' && code 0 diff a.md && out '^+two' &&
        mkdir index && cd index && code 0 init && ! grep -q 'MCP' AGENT-TRACE.md
}
case_ 'violations show says why it has nothing to show' no_refusal
case_ 'a pipe that brought nothing empties no document' an_empty_pipe
case_ 'log --action with a word that is none' no_action
case_ 'a folder where a document is wanted' a_folder
case_ 'what is advised can be done' advice_that_is_one

# ---- long names on 80 columns: but for a path that no line has room for, and that info has whole ----

narrow() {
    name=agent:$(printf '%064d' 0 | tr 0 n)
    path=docs/$(printf '%090d' 0 | tr 0 p).md
    store narrow && code 0 --actor "$name" write "$path" --content one && code 0 unlock "$path" --for "$name" && seen=0 || return 1
    for last in none write; do
        [ $last = none ] || code 0 --actor "$name" write "$path" --content two || return 1
        for words in log status ls "info $path" violations "log --utc" "status --utc"; do
            # shellcheck disable=SC2086
            screen 80 $words >"$WORK/screen" || return 1
            python3 -c '
import sys
long = [l for l in sys.stdin.read().replace("\r", "").split("\n") if len(l) > 80 and not (sys.argv[1] in l and l.split() == ["path", sys.argv[1]])]
print("\n".join(long)); sys.exit(1 if long else 0)' "${words#info }" <"$WORK/screen" || { echo "is too wide: $words"; return 1; }
            seen=$((seen + 1))
        done
    done
    [ $seen = 14 ] && screen 80 info "$path" | tr -d '\r\n ' | grep -q "$name"
}
if python3 -c '' 2>/dev/null; then
    case_ 'long names fit 80 columns' narrow
else
    skip 'long names fit 80 columns' 'python3 is not installed'
fi
kit_end
