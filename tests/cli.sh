#!/bin/sh
# The program, command by command: what it prints, what it leaves on disk, and every exit code.
# usage: tests/cli.sh [PROGRAM]. Ends with the line "N passed, N failed, N skipped".
set -u
program=${1:-${AGENT_TRACE_PROGRAM:-build/agent-trace}}
case $program in /*) ;; *) program=$(pwd)/$program ;; esac
root=${AGENT_TRACE_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
[ -x "$program" ] || {
    echo "tests/cli.sh: there is no $program; ./build.sh build makes it" >&2
    exit 2
}
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
TERM=xterm AGENT_TRACE_PAGER=
export TERM AGENT_TRACE_PAGER

T=$(mktemp -d "${TMPDIR:-/tmp}/agent-trace-cli.XXXXXX") || exit 2
T=$(cd "$T" && pwd -P)
trap 'chmod -R u+rwX "$T" 2>/dev/null; rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM

# ---- the kit ----

passed=0 failed=0 skipped=0 good=1 title=
finish() {
    [ -n "$title" ] || return 0
    if [ "$good" = 1 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    title=
}
it() { # the next test: a sentence
    finish
    title=$1 good=1
}
bad() {
    [ "$good" = 0 ] || echo "FAILED  cli: $title"
    good=0
    printf '    %s\n' "$@"
}
skip() {
    echo "SKIPPED cli: $title: $1"
    skipped=$((skipped + 1))
    title=
}
# Runs the program; $code, $T/out and $T/err are what came of it.
run() {
    "$program" "$@" >"$T/out" 2>"$T/err" </dev/null
    code=$?
    last="agent-trace $*"
}
run_in() { # TEXT ARGS...: with stdin
    input=$1
    shift
    printf '%s' "$input" | "$program" "$@" >"$T/out" 2>"$T/err"
    code=$?
    last="agent-trace $*"
}
# Runs it on a terminal, with what is typed there; both streams are in $T/out.
tty() { # TYPED ARGS... (a / is the return key)
    typed=$1
    shift
    typed=$(printf '%s' "$typed" | sed 's,/,\\n,g')
    python3 -S "$root/tests/kit_terminal.py" 0x0 "$typed" "$program" "$@" >"$T/out" 2>"$T/err"
    code=$?
    last="agent-trace $* (on a terminal)"
}
exits() { # N
    [ "$code" = "$1" ] || bad "$last: exit $code, wanted $1" "$(head -n 3 "$T/err")"
}
prints() { # TEXT: all of stdout
    [ "$(cat "$T/out")" = "$1" ] || bad "$last printed: $(head -n 5 "$T/out")" "wanted: $1"
}
prints_like() { # REGULAR-EXPRESSION that some line of stdout matches
    grep -Eq -- "$1" "$T/out" || bad "$last printed nothing like: $1" "$(head -n 5 "$T/out")"
}
prints_not() {
    ! grep -Eq -- "$1" "$T/out" || bad "$last printed: $1"
}
silent() { # nothing on either stream
    [ ! -s "$T/out" ] && [ ! -s "$T/err" ] || bad "$last was not silent" "$(cat "$T/out" "$T/err" | head -n 3)"
}
complains() { # TEXT: all of stderr, one line
    [ "$(cat "$T/err")" = "agent-trace: $1" ] || bad "$last complained: $(cat "$T/err")" "wanted: agent-trace: $1"
}
complains_like() { # REGULAR-EXPRESSION; and it is one line
    [ "$(wc -l <"$T/err")" -eq 1 ] || bad "$last: not one line: $(cat "$T/err")"
    grep -Eq -- "^agent-trace: .*($1)" "$T/err" || bad "$last complained: $(cat "$T/err")" "wanted something like: $1"
}
json() { # PYTHON-CONDITION on j, what stdout is
    python3 -c "
import json, sys
j = json.load(open(sys.argv[1], encoding='utf-8'))
sys.exit(0 if ($1) else 1)" "$T/out" || bad "$last: not so: $1" "$(head -c 400 "$T/out")"
}
# What is on disk: names, modes, contents. Bad input changes nothing of it.
snapshot() { # FOLDER
    (cd "$1" && find . -type f -exec cksum {} + | sort && find . -type d | sort) | cksum
}
store() { # a fresh store, entered
    stores=$((${stores:-0} + 1))
    S=$T/store$stores
    mkdir "$S" && cd "$S" && "$program" init --plain >/dev/null || bad "init failed"
}
w() { # PATH TEXT [ARGS]: a write that must succeed
    path=$1 text=$2
    shift 2
    "$program" write "$path" --content "$text" "$@" >/dev/null 2>"$T/w.err" ||
        bad "write $path failed: $(cat "$T/w.err")"
}

# ---- help ----

it 'without a command it explains itself and exits 2'
run
exits 2
[ ! -s "$T/out" ] && grep -q '^usage: agent-trace' "$T/err" || bad 'no usage on stderr'

it 'help and --help print one page that fits the width of a terminal'
run --help
exits 0
cp "$T/out" "$T/help"
run help
exits 0
cmp -s "$T/out" "$T/help" || bad 'help and --help differ'
[ "$(wc -l <"$T/out")" -le 70 ] || bad "$(wc -l <"$T/out") lines"
awk 'length > 80 { exit 1 }' "$T/out" || bad 'a line is longer than 80 columns'

it 'every command has a page with its usage and an example'
for name in init write rm show log diff restore ls status import trace lock git; do
    run help $name
    exits 0
    prints_like "^usage: agent-trace $name"
    prints_like '^examples?:'
    awk 'length > 90 { exit 1 }' "$T/out" || bad "$name: a line is longer than 90 columns"
    cp "$T/out" "$T/page"
    run $name --help
    exits 0
    cmp -s "$T/out" "$T/page" || bad "help $name and $name --help differ"
    grep -q "^  $name " "$T/help" || bad "$name is not on the first page"
done

it '--version names the version of the library'
run --version
exits 0
prints_like '^agent-trace [0-9]+\.[0-9]+\.[0-9]+$'

it 'a command that is none is refused, with the one that was meant'
run lgo
exits 2
complains "unknown command 'lgo', perhaps log; see 'agent-trace help'"
run hlep
exits 2
complains "unknown command 'hlep', perhaps help; see 'agent-trace help'"
run help sohw
exits 2
complains "unknown command 'sohw', perhaps show; see 'agent-trace help'"
run undo
exits 2
complains "unknown command 'undo'; it is called restore here; see 'agent-trace help'"
run frobnicate
exits 2
complains "unknown command 'frobnicate'; see 'agent-trace help'"

it 'wrong options and words are named'
store
before=$(snapshot .)
run write a.md --frob
exits 2 && complains "write takes no option --frob; see 'agent-trace help write'"
run ls -x
exits 2 && complains "ls takes no option -x; see 'agent-trace help ls'"
run --frob ls
exits 2 && complains "unknown option --frob; see 'agent-trace help'"
run write a.md --content
exits 2 && complains "--content needs a value; see 'agent-trace help write'"
run ls --json=yes
exits 2 && complains "--json takes no value; see 'agent-trace help ls'"
run write
exits 2 && complains "write needs a PATH; see 'agent-trace help write'"
run restore
exits 2 && complains "restore needs a PATH; see 'agent-trace help restore'"
run rm a.md b.md
exits 2 && complains "'b.md' is one word too many; see 'agent-trace help rm'"
run lock
exits 2 && complains "lock needs status, try or hold; see 'agent-trace help lock'"
run lock steal
exits 2 && complains "lock does not know 'steal'; say status, try or hold; see 'agent-trace help lock'"
run lock hold
exits 2 && complains "lock hold needs a COMMAND; see 'agent-trace help lock'"
run --json git log
exits 2 && complains "git has no --json; see 'agent-trace help git'"
run git
exits 2 && complains "git needs something to do; see 'agent-trace help git'"
[ "$before" = "$(snapshot .)" ] || bad 'something changed on disk'

it 'two dashes end the options in front of the command'
run -- status
exits 0 && prints_like "^store +$S\$"
run -C "$T" -- status
exits 4
run -C "$S" --json -- ls
exits 0 && json 'j == []'
run --
exits 2
run -- -C
exits 2 && complains "unknown command '-C'; see 'agent-trace help'"

# ---- init and finding the store ----

it 'init makes a private folder and the index, with --plain no index, and twice is once'
mkdir "$T/fresh" && cd "$T/fresh"
run init "$T/indexed"
exits 0
[ "$(ls -A "$T/indexed" | tr '\n' ' ')" = '.agent-trace AGENT-TRACE.md ' ] || bad "$(ls -A "$T/indexed")"
[ "$(git --git-dir "$T/indexed/.agent-trace/git" rev-list --count main)" = 1 ] || bad 'the index is not in git'
before=$(snapshot "$T/indexed")
run init "$T/indexed"
exits 0
[ "$before" = "$(snapshot "$T/indexed")" ] || bad 'something changed on disk'
run init --plain
exits 0
prints_like "^made a store in $T/fresh\$"
[ "$(ls -A)" = .agent-trace ] || bad "there is more: $(ls -A)"
[ "$(stat -c %a .agent-trace 2>/dev/null || stat -f %Lp .agent-trace)" = 700 ] || bad 'not mode 700'
run init
exits 0
prints "there is a store already in $T/fresh"
run init "$T/fresh/b" --json
exits 0
json "j['root'] == '$T/fresh/b' and j['created'] is True and len(j['id']) == 36"
run init .agent-trace
exits 2
before=$(snapshot .)
for folder in .agent-trace/x b/../.agent-trace/x/y "$T/fresh/.agent-trace/tmp/" .agent-trace/../b/../.agent-trace/z \
    missing/.agent-trace; do
    run init "$folder"
    exits 2 && complains "$folder belongs to a store; make one in a folder of your own"
done
[ "$before" = "$(snapshot .)" ] || bad 'something changed on disk'
run init .agent-trace
exits 2 && complains '.agent-trace belongs to a store; make one in a folder of your own'

it 'init makes the folders on the way, and says what to type there'
mkdir "$T/far" && cd "$T/far"
run init
exits 0 && prints_like "^write a document with: agent-trace write notes.md --content 'hello'\$"
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
cd "$T"
run init new/er/est/
exits 0 && prints "made a store in $T/new/er/est
write a document with: agent-trace -C new/er/est/ write notes.md --content 'hello'"
run init "it's new"
exits 0 && prints_like "agent-trace -C 'it'\\\\''s new' write"
eval "\"\$program\" $(sed -n 's/^write a document with: agent-trace //p' "$T/out")" >/dev/null || bad 'the hint does not work'
[ -e "$T/it's new/notes.md" ] || bad 'the hint writes elsewhere'
run init far/inner/one
exits 0 && complains "note: $T/far/inner/one lies in the folder of another store, $T/far"
run init far/inner/one
exits 0
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
printf x >"$T/file"
run init file/below/it
exits 2 && complains_like 'file/below/it: a file stands where a folder is needed; move it away, or use another path'

it 'init --scan takes in what is there, typed by the first glob, in one commit'
mkdir -p "$T/scan/a/b" "$T/scan/.h" "$T/scan/logs" "$T/scan/node_modules" && cd "$T/scan"
for f in 1.md a/2.md a/b/3.md a/b/4.md 5.md x.txt y.json .h/a.md node_modules/q.md context.md logs/a-b.md .env 'z?.md'; do
    printf '%s' "$f" >"$f"
done
printf 'mine' >AGENT-TRACE.md
ln -s .. a/up
run init --scan
exits 0
prints_like '^took in 5 documents: 5 scratch$' && prints_like '^  2 files that are no \*\.md$' &&
    prints_like '^  1 file in a hidden folder$' && prints_like '^  3 files whose names agent-trace uses itself$' &&
    prints_like '^  2 that patterns leave out \(\.env, \.\.\.\)$' && prints_like '^  1 link \(a/up\)$' &&
    prints_like '^  1 name that no document can have \(z\?\.md\)$'
[ "$(git --git-dir .agent-trace/git log --format=%H main -- 1.md a 5.md | wc -l)" = 1 ] || bad 'not one commit'
grep -q '(5 total)' AGENT-TRACE.md || bad "$(cat AGENT-TRACE.md)"
run show AGENT-TRACE.md 1
exits 0 && prints mine
run show a/b/3.md 1
exits 0 && prints a/b/3.md
run ls --json
json "[d['path'] for d in j] == ['1.md', '5.md', 'a/2.md', 'a/b/3.md', 'a/b/4.md'] and {d['type'] for d in j} == {'scratch'}"
run init --scan --json
exits 0 && json "j['created'] is False and j['taken'] == 0 and j['left_out']['no_markdown'] == 2 and j['left_out']['name'] == 1"
printf new >a/6.md
printf new >README.md
run init --scan --type 'README.md=reference' --type 'a/**=plan' --type '*.txt=scratch'
exits 0 && prints_like '^took in 3 documents: 1 plan, 1 reference, 1 scratch$'
run init --scan --type plan
exits 2 && complains_like 'each --type is GLOB=TYPE'
run init --type '*.md=plan'
exits 2

it 'AGENT-TRACE.md and ls agree after every command, and a write of a document that is there makes no event more'
mkdir "$T/agree" && cd "$T/agree" && "$program" init >/dev/null
agrees() {
    "$program" "$@" --yes >"$T/out" 2>"$T/err" </dev/null || bad "$*: $(cat "$T/err")"
    grep '^- `[^`]*`$' AGENT-TRACE.md | sed 's/^- `//; s/`$//' | sort >"$T/index"
    "$program" ls --json | python3 -c 'import json, sys; print("\n".join(d["path"] for d in json.load(sys.stdin)))' |
        sed '/^$/d' | sort >"$T/list"
    cmp -s "$T/index" "$T/list" || bad "after $*:" "$(diff "$T/index" "$T/list")"
}
printf x >f.md
printf '{"actor":"user","action":"create","path":"i%d.md","content":"3"}\n' 1 2 3 >"$T/three.jsonl"
agrees write a.md --content one
agrees write docs/b.md --content one --type plan
agrees add reference f.md
agrees mv a.md c.md
agrees reclassify c.md plan
agrees import "$T/three.jsonl" --strict
agrees rm docs/b.md
agrees restore docs/b.md 1
agrees untrack f.md
[ "$(wc -l <"$T/list")" = 5 ] || bad "$(cat "$T/list")"
run status --json
json "j['documents'] == 5 and 'f.md' in j['untracked']"
before=$(grep -c . .agent-trace/trace/*.jsonl)
agrees write c.md --content two
[ "$(grep -c . .agent-trace/trace/*.jsonl)" = $((before + 1)) ] || bad 'there is more than one event'

it 'without a store every command says so, exits 4 and makes nothing'
mkdir "$T/none" && cd "$T/none"
printf '{}\n' >"$T/empty.jsonl"
for words in 'write a.md --content x' 'rm a.md' 'show a.md' log 'diff a.md' 'restore a.md 1' ls status \
    "import $T/empty.jsonl" trace 'lock status' 'lock try' 'lock hold true' 'git log'; do
    # shellcheck disable=SC2086
    run $words
    exits 4
    complains_like "agent-trace init"
    [ ! -s "$T/out" ] || bad "$words printed something"
done
[ -z "$(ls -A)" ] || bad "something was made: $(ls -A)"

it 'a store that lost its config.toml is told as that, by init as well, and stays as it is'
store
w a.md one
w a.md two
mkdir inner && cd inner
"$program" init >/dev/null 2>&1
w b.md three
mv .agent-trace/config.toml "$T/config.lost"
before=$(snapshot "$S")
for words in init 'init ../inner' 'write b.md --content x' 'rm b.md' 'show b.md' log 'restore b.md 1' ls status \
    "import $T/empty.jsonl" trace 'lock status' 'git log'; do
    # shellcheck disable=SC2086
    run $words
    exits 1
    complains_like "has lost its .agent-trace/config.toml; run 'agent-trace repair', or move .agent-trace away"
    [ ! -s "$T/out" ] || bad "$words printed something"
done
run init --json
exits 1 && json "j['status'] == 'AGT_CORRUPT'"
[ "$before" = "$(snapshot "$S")" ] || bad 'something changed on disk'
mv "$T/config.lost" .agent-trace/config.toml
run show b.md
exits 0 && prints three
: >.agent-trace/config.toml
run init
exits 1 && complains ".agent-trace/config.toml is empty; run 'agent-trace repair'"

it 'the store is found from below, and paths are those of the current folder'
store
mkdir -p docs/deep && cd docs/deep
w plan.md one
run write ../top.md --content two --json
exits 0
json "j['path'] == 'docs/top.md' and j['version'] == 1"
run write "$S/abs.md" --content three
exits 0
prints '../../abs.md: version 1'
[ "$(cat "$S/docs/deep/plan.md" "$S/docs/top.md" "$S/abs.md")" = onetwothree ] || bad 'not where they belong'
run ls
exits 0
prints_like '	plan\.md$'
prints_like '	\.\./top\.md$'
prints_like '	\.\./\.\./abs\.md$'
run show ../../docs/./deep//plan.md
exits 0 && prints one
run show plan.md
exits 0 && prints one

it 'a path through a link to the folder of the store is understood'
ln -s "$S" "$T/link"
run show "$T/link/docs/top.md"
exits 0 && prints two

it 'paths outside and paths that cannot be are refused and change nothing'
cd "$S"
before=$(snapshot "$S")
run write ../out.md --content x
exits 2 && complains "../out.md is outside the store in $S; use a path in that folder"
run write /etc/out.md --content x
exits 2 && complains "/etc/out.md is outside the store in $S; use a path in that folder"
run write "${S}x/out.md" --content x
exits 2
run write '' --content x
exits 2 && complains "the path is empty; see 'agent-trace help write'"
run write . --content x
exits 2 && complains '. is the folder of the store; name a document in it'
for path in .agent-trace/config.toml .git/config docs/.git/x folder/ 'a
b' "$(printf 'a\tb')" 'a\b' CON 'x.' ; do
    run write "$path" --content x
    exits 2
    [ "$(wc -l <"$T/err")" -eq 1 ] || bad "not one line: $(cat "$T/err")"
done
run write "$(printf '%02000d' 0)" --content x
exits 2
run write "$(printf 'd/%.0s' $(seq 1 70))x" --content x
exits 2
[ "$before" = "$(snapshot "$S")" ] || bad 'something changed on disk'
[ ! -e "$T/out.md" ] || bad 'it wrote outside'

it '-C goes to a folder first, one after another'
cd "$T"
run -C "$S" -C docs -C '' -C deep show plan.md
exits 0 && prints one
run show -C "$S/docs" top.md
exits 0 && prints two
run -C "$T/nowhere" ls
exits 4 && complains_like "cannot go to the folder $T/nowhere: "
printf 'from a file' >"$S/docs/local.txt"
run -C "$S/docs" write copy.md --file local.txt
exits 0
[ "$(cat "$S/docs/copy.md")" = 'from a file' ] || bad '--file is not relative to -C'

# ---- write ----

it 'write takes its bytes from --content, --file or stdin, and counts versions'
store
run write a.md --content 'first'
exits 0 && prints 'a.md: version 1'
[ "$(cat a.md)" = first ] || bad 'the file is not there'
printf 'second\n' >"$T/second"
run write a.md --file "$T/second" --json
exits 0
json "j['path'] == 'a.md' and j['action'] == 'write' and j['version'] == 2 and j['seq'] == 2 and j['unchanged'] is False"
run_in third write a.md
exits 0 && prints 'a.md: version 3'
run_in fourth write --file - -- a.md
exits 0 && prints 'a.md: version 4'
run write a.md --content fourth --json
exits 0
json "j['unchanged'] is True and j['version'] == 4"
run write a.md --content fourth
exits 0 && prints 'a.md: unchanged, still version 4'
run write empty.md --content ''
exits 0
[ -e empty.md ] && [ ! -s empty.md ] || bad 'an empty document'
run write -- --strange.md --content
exits 2
run write --content=x -- -strange.md
exits 0
[ "$(cat ./-strange.md)" = x ] || bad 'a name with a dash'

it 'bytes are bytes: NUL, CR, no newline and what is no UTF-8 come back'
python3 -c "import sys; sys.stdout.buffer.write(bytes(range(256)) * 300 + b'\r\n\r')" >"$T/bytes"
run write bin.dat --file "$T/bytes"
exits 0
cmp -s bin.dat "$T/bytes" || bad 'the file differs'
run show bin.dat
cmp -s "$T/out" "$T/bytes" || bad 'show differs'
run show bin.dat --json
exits 0
json "j['encoding'] == 'base64' and __import__('base64').b64decode(j['content']) == open('$T/bytes', 'rb').read()"

it 'wrong values are refused before anything is read or made'
before=$(snapshot .)
run write b.md --content x --file y
exits 2 && complains "give --content or --file, not both; see 'agent-trace help write'"
run write b.md --file "$T/nosuch"
exits 4 && complains "cannot read $T/nosuch: No such file or directory"
run write b.md --file "$T"
exits 1 && complains_like "cannot read $T: "
run write b.md --content x --type essay
exits 2 && complains "--type 'essay' is unknown; use plan, context, log, reference or scratch"
run write b.md --content x --expect soon
exits 2 && complains "--expect 'soon' is no version; versions are numbers from 0 on"
run write b.md --content x --durability none
exits 2 && complains "--durability 'none' is unknown; use full or process"
run write b.md --content x --publish never
exits 2 && complains "--publish 'never' is unknown; use close, idle or manual"
run write b.md --content x --session 'a b'
exits 2 && complains_like session
run write b.md --content x --summary "$(printf 'two\nlines')"
exits 2 && complains_like summary
run write b.md --content x --summary "$(printf '%05000d' 0)"
exits 2 && complains_like summary
AGENT_TRACE_PUBLISH=sometimes run write b.md --content x
exits 2 && complains "AGENT_TRACE_PUBLISH 'sometimes' is unknown; use close, idle or manual"
unset AGENT_TRACE_PUBLISH
[ "$before" = "$(snapshot .)" ] || bad 'something changed on disk'

it '--expect answers a conflict with exit 5 and changes nothing'
run write a.md --content fifth --expect 3
exits 5 && complains_like 'version 4'
[ "$(cat a.md)" = fourth ] || bad 'it was written'
run write a.md --content fifth --expect v4
exits 0
run write a.md --content sixth --expect 0
exits 5
run write new.md --content x --expect 0
exits 0
run rm new.md --expect 7
exits 5

it 'a file that was no document is told from an edited one'
printf stray >stray.md
run write stray.md --content new
exits 0 && prints 'stray.md: version 2'
complains 'note: the file was not a document yet; it was recorded first, as version 1'
printf stray >gone.md
run rm gone.md
exits 4 && complains_like 'gone.md: no such document; the file is there' && [ "$(cat gone.md)" = stray ]
printf same >same.md
run write same.md --content same
exits 0 && complains_like 'note: the file was not a document yet'
printf edited >stray.md
run write stray.md --content newer
exits 0 && complains_like 'note: somebody had edited the file'

it 'type, session, summary and actor go into the event'
run --actor agent:claude write docs/p.md --content x --type plan --session s-1 --summary 'why it is so' --durability process
exits 0
run log docs/p.md --json
exits 0
json "len(j) == 1 and j[0]['actor'] == 'agent:claude' and j[0]['agent_name'] == 'claude' and j[0]['doc_type'] == 'plan' and j[0]['session_id'] == 's-1' and j[0]['summary'] == 'why it is so' and j[0]['source'] == 'cli'"
run write docs/p.md --content y --type log
exits 2 && complains_like 'plan'

it 'an edit that was found is recorded first and said'
printf 'edited by hand' >a.md
run write a.md --content seventh
exits 0 && prints 'a.md: version 7'
complains_like 'note: .*recorded first'
run show a.md 6
prints 'edited by hand'

# ---- permissions and confirmation ----

it 'a refused write exits 3, changes nothing and is recorded once'
store
w rules.md law --type reference
AGENT_TRACE_ACTOR=agent:claude run write rules.md --content anarchy
exits 3 && complains_like 'denied: agent:claude may not modify rules.md: .*\(recorded as event 2\)'
[ ! -s "$T/out" ] || bad 'it printed a result'
[ "$(cat rules.md)" = law ] || bad 'it was written'
AGENT_TRACE_ACTOR=agent:claude run rm rules.md
exits 3
unset AGENT_TRACE_ACTOR
run trace --action violation
[ "$(wc -l <"$T/out")" -eq 2 ] || bad 'not two violations'
run log
exits 0
prints_like '^20[0-9T:-]+Z	agent:claude	violation				rules\.md	modify: reference documents'

w rules.md 'another law'
run --actor agent:cursor restore rules.md 1
exits 3 && complains_like 'denied: agent:cursor may not restore rules.md: .*\(recorded as event [0-9]+\)'

it 'with --json an unsuccessful answer is an object too'
run --actor agent:claude write rules.md --content chaos --json
exits 3 && json "j['status'] == 'AGT_DENIED' and j['path'] == 'rules.md' and j['seq'] >= 2 and j['message'].startswith('denied: agent:claude may not') and 'version' not in j"
complains_like 'denied: agent:claude'
run --json write rules.md --content x --expect 1
exits 5 && json "j['status'] == 'AGT_CONFLICT' and j['version'] == 2 and j['path'] == 'rules.md' and 'seq' not in j"
run write context.md --content x --json
exits 3 && json "j['status'] == 'AGT_NEEDS_CONFIRMATION' and '--yes' in j['message']"
for words in 'show no.md' 'show rules.md 9' 'log no.md' 'ls no' 'diff no.md' 'restore no.md 1' 'rm no.md' '-C nowhere ls'; do
    # shellcheck disable=SC2086
    run --json $words
    exits 4 && json "j['status'] == 'AGT_NOT_FOUND' and j['message'] and 'path' in j"
done
run -C nowhere ls --json # the words behind what stops are looked at, too
exits 4 && json "j['status'] == 'AGT_NOT_FOUND' and 'nowhere' in j['message']"
for words in 'ls --nope --json' 'nosuch --json' '--json --nope ls'; do
    # shellcheck disable=SC2086
    run $words
    exits 2 && json "j['status'] == 'AGT_INVALID' and j['message']"
done
run ls -- --json x
exits 2 && complains_like 'one word too many'
[ ! -s "$T/out" ] || bad 'what is behind -- was taken for an option'
run --json write ../out.md --content x
exits 2 && json "j['status'] == 'AGT_INVALID' and j['path'] is None"
run --json show
exits 2 && json "j['status'] == 'AGT_INVALID' and j['message'] == 'show needs a PATH'"
run --json write rules.md --file "$T/nosuch"
exits 4 && json "j['status'] == 'AGT_NOT_FOUND' and j['path'] == 'rules.md'"
run lock hold --json -- false
exits 1 && silent

it 'what needs confirmation exits 3 without a terminal, and --yes is a yes'
run write context.md --content x
exits 3 && complains_like 'repeat with --yes'
[ ! -e context.md ] || bad 'it was written'
run write context.md --content x --yes
exits 0
run rm context.md
exits 3
run restore context.md 1 -y
exits 0

it 'on a terminal it asks, and only yes is a yes'
tty n/ write context.md --content y
exits 3
prints_like 'do it all the same\? \[y/N\]'
[ "$(cat context.md)" = x ] || bad 'no was taken for a yes'
tty / write context.md --content y
exits 3
tty yes/ write context.md --content y
exits 0
[ "$(cat context.md)" = y ] || bad 'it was not written'

# ---- who calls ----

it 'who acts is --actor, else AGENT_TRACE_ACTOR, else the user'
store
w a.md 1
AGENT_TRACE_ACTOR=agent:env run write a.md --content 2
exits 0
AGENT_TRACE_ACTOR=agent:env run write a.md --content 3 --actor agent:flag
exits 0
AGENT_TRACE_ACTOR=agent:env run --actor agent:front write a.md --content 4
exits 0
AGENT_TRACE_ACTOR=system run write a.md --content 5 --actor user
exits 0
AGENT_TRACE_ACTOR='' run write a.md --content 6
exits 0
unset AGENT_TRACE_ACTOR
run log a.md --json
json "[e['actor'] for e in j] == ['user', 'user', 'agent:front', 'agent:flag', 'agent:env', 'user']"

it 'in an agent'"'"'s environment nobody becomes the user without a terminal'
before=$(snapshot .)
AGENT_TRACE_ACTOR=agent:env run write a.md --content 7 --actor user
exits 3 && complains 'AGENT_TRACE_ACTOR is agent:env, so acting as the user needs a terminal on stdin; leave --actor out'
AGENT_TRACE_ACTOR=agent:env run rm a.md --actor system
exits 3 && complains_like 'acting as the system needs a terminal'
[ "$before" = "$(snapshot .)" ] || bad 'something changed on disk'
AGENT_TRACE_ACTOR=agent:env tty '' write a.md --content 7 --actor user
exits 0
unset AGENT_TRACE_ACTOR

it 'an actor that is none is refused, wherever it comes from'
before=$(snapshot .)
for actor in claude agent: 'agent:a/b' User ''; do
    run write a.md --content 8 --actor "$actor"
    case $actor in agent:*) more=', a NAME having 1 to 64 bytes, none of < > / \ : "' ;; *) more= ;; esac
    exits 2 && complains "--actor '$actor' is no actor; use user, system or agent:NAME$more"
done
AGENT_TRACE_ACTOR=claude run write a.md --content 8
exits 2 && complains "AGENT_TRACE_ACTOR 'claude' is no actor; use user, system or agent:NAME"
AGENT_TRACE_ACTOR=agent: run write a.md --content 8 --actor user
exits 2
unset AGENT_TRACE_ACTOR
[ "$before" = "$(snapshot .)" ] || bad 'something changed on disk'

# ---- rm, show, restore ----

it 'what was deleted comes back as it was without a version being named'
store
w b.md one
w b.md two
run rm b.md
run restore b.md
exits 0 && prints 'b.md: version 2 is back, as version 4'
[ "$(cat b.md)" = two ] || bad 'not restored'
rm b.md
run restore b.md
exits 0 && prints 'b.md: version 4 is back, as version 6'
[ "$(cat b.md)" = two ] || bad 'not restored'
run restore none.md
exits 4 && complains "none.md: no such document; 'agent-trace ls' names those there are"

it 'a deleted document keeps its versions, and one of them comes back'
store
w docs/a.md one
w docs/a.md two
run rm docs/a.md
exits 0 && prints 'docs/a.md: deleted, version 3'
[ ! -e docs/a.md ] || bad 'the file is there'
run show docs/a.md
exits 4 && complains "docs/a.md was deleted; 'agent-trace log docs/a.md' names its versions, and 'agent-trace show docs/a.md 2' shows the one before"
run show docs/a.md v2
exits 0 && prints two
run rm docs/a.md
exits 4
run restore docs/a.md 1 --json
exits 0
json "j['action'] == 'restore' and j['version'] == 4"
[ "$(cat docs/a.md)" = one ] || bad 'not restored'
run restore docs/a.md 2
exits 0 && prints 'docs/a.md: version 2 is back, as version 5'
run restore docs/a.md
exits 2 && complains "docs/a.md is at version 5; say which one to bring back ('agent-trace log PATH' has them); see 'agent-trace help restore'"
run log docs/a.md --json
json "[e['action'] for e in j] == ['restore', 'restore', 'delete', 'modify', 'create'] and [e['version'] for e in j] == [5, 4, 3, 2, 1]"

it 'versions and documents that are not there exit 4, what is no version exits 2'
run show docs/a.md 6
exits 4
run show nosuch.md
exits 4 && complains_like 'nosuch.md'
run show nosuch.md 1
exits 4
run restore docs/a.md 9
exits 4
run restore nosuch.md 1
exits 4
run rm nosuch.md
exits 4
run diff nosuch.md
exits 4
run log nosuch.md
exits 4 && complains_like 'nosuch.md'
run restore docs/a.md 0
exits 2 && complains "the version '0' is no version; versions are numbers from 1 on"
run show docs/a.md -- -1
exits 2
run show docs/a.md 4294967296
exits 2
run restore docs/a.md 3
exits 4 && complains_like 'delet'

it 'who names what is not there is told what may have been meant'
w docs/notes.md x
run show docs/ntoes.md
exits 4 && complains 'docs/ntoes.md: no such document; perhaps docs/notes.md'
run log notes.md
exits 4 && complains 'no document is, or is in, notes.md; perhaps docs/notes.md'
run -C docs rm note.md --json
exits 4 && json "j['message'] == 'docs/note.md: no such document; perhaps notes.md' and j['path'] == 'docs/note.md'"
printf x >file.md
run show file.md
exits 4 && complains "file.md: no such document; the file is there, and 'agent-trace add file.md' makes it one"
run restore quite-another.md 1
exits 4 && complains "quite-another.md: no such document; 'agent-trace ls' names those there are"
run show docs/notes.md 7
exits 4 && complains 'docs/notes.md has no version 7; the newest is 1'
rm file.md

it 'show --disk is the file as it is'
printf 'by hand' >docs/a.md
run show docs/a.md
exits 0 && prints two
run show docs/a.md --disk
exits 0 && prints 'by hand'
run show docs/a.md --disk --json
json "j['modified_outside'] is True and j['content'] == 'by hand' and j['encoding'] == 'utf-8' and j['version'] == 5"
run show docs/a.md 2 --json
json "j['version'] == 2 and j['newest_version'] == 5 and j['content'] == 'two' and j['size_bytes'] == 3"
run show docs/a.md 2 --disk
exits 2

# ---- diff ----

it 'diff compares with the file on disk, or two versions, and is silent where nothing differs'
store
w d.md "$(printf 'a\nb\nc\n')"
w d.md "$(printf 'a\nB\nc\n')"
run diff d.md
exits 0 && silent
printf 'a\nB\nC\n' >d.md
run diff d.md
exits 0
prints_like '^-c$' && prints_like '^\+C$'
run diff d.md 1 2
exits 0
prints_like '^-b$' && prints_like '^\+B$' && prints_not 'C'
run diff d.md 2 2
exits 0 && silent
run diff d.md 1
prints_like '^\+C$'
run diff d.md 1 7
exits 4
run diff d.md one
exits 2 && complains "FROM 'one' is no version; versions are numbers from 1 on"
printf 'a\nB\nc\n' >d.md

it 'a patch of diff can be applied'
w big.md "$(seq 1 200)"
w big.md "$(seq 1 200 | sed 's/^7$/seven/; s/^150$//')"
run diff big.md 1 2
cp "$T/out" "$T/patch"
if command -v patch >/dev/null 2>&1; then
    "$program" show big.md 1 >"$T/old" && patch -s "$T/old" "$T/patch" >/dev/null 2>&1
    run show big.md 2
    cmp -s "$T/old" "$T/out" || bad 'the patched file differs'
else
    git init -q "$T/apply" && "$program" show big.md 1 >"$T/apply/big.md" &&
        (cd "$T/apply" && git apply "$T/patch")
    run show big.md 2
    cmp -s "$T/apply/big.md" "$T/out" || bad 'the patched file differs'
fi

it 'there is colour on a terminal, and none with NO_COLOR, TERM=dumb or in a pipe'
printf 'a\nX\n' >d.md
esc=$(printf '\033')
tty '' diff d.md
prints_like "$esc\[32m\+X"
NO_COLOR=1 tty '' diff d.md
prints_not "$esc" && prints_like '^\+X'
NO_COLOR='' tty '' diff d.md
prints_like "$esc\[32m\+X"
unset NO_COLOR
TERM=dumb tty '' log
prints_not "$esc"
TERM=xterm
tty '' log
prints_like "$esc"
run log
prints_not "$esc"

it 'log fits a terminal of 80 columns, and a pipe has a row for each event'
w long.md x --summary "$(printf 'word %.0s' $(seq 1 60))"
NO_COLOR=1 tty '' log
unset NO_COLOR
sed 's/…/./' "$T/out" | awk 'length > 80 { exit 1 }' || bad "too wide: $(cat "$T/out")"
prints_like '^    word word .*…$'
run log
[ "$(wc -l <"$T/out")" -eq 5 ] || bad 'not a row for each event'
prints_like '	long\.md	(word ){59}word'

it 'diff --json has the patch and what it is between'
run --json diff d.md 1 2
exits 0 && json "sorted(j) == ['encoding', 'from', 'patch', 'path', 'to'] and j['path'] == 'd.md' and j['from'] == 1 and j['to'] == 2 and j['encoding'] == 'utf-8' and '-b\n+B\n' in j['patch']"
run diff --json ./d.md
exits 0 && json "j['from'] == 2 and j['to'] is None and '+X' in j['patch']"
run diff --json d.md 2 2
exits 0 && json "j['patch'] == '' and j['from'] == 2"

# ---- ls ----

it 'on a narrow terminal paths are cut in the middle, in a pipe never'
store
w d.md 1
long=a-folder-with-a-long-name/another-folder-with-a-long-name/a-document-with-a-long-name.md
AGENT_TRACE_ACTOR=agent:a-long-name run write "$long" --content x
unset AGENT_TRACE_ACTOR
printf edited >"$long"
NO_COLOR=1
export NO_COLOR
for words in log 'ls --deleted' status; do
    for COLUMNS in 80 72 100; do
        export COLUMNS
        # shellcheck disable=SC2086
        tty '' $words
        exits 0
        prints_like '…' && prints_like 'long-name\.md'
        sed '/^store  /d' "$T/out" | python3 -c "import sys; sys.exit(any(len(l) > $COLUMNS + 1 for l in sys.stdin))" ||
            bad "$words is wider than $COLUMNS: $(cat "$T/out")"
    done
done
COLUMNS=200
tty '' ls
prints_like "$long  \(modified outside\)\$"
tty '' log -n 1
prints_like "^(now|[0-9]+ (s|min) ago)  agent:a-long-name  create  v1  \+1  -0  $long\$"
run log -n 1
prints_like "^20[0-9T:-]+Z	agent:a-long-name	create	v1	\+1	-0	$long	\$"
unset NO_COLOR COLUMNS

it 'ls shows type, version, time, size and path, and what was edited or deleted'
store
w plan.md "$(seq 1 2000)" --type plan
w docs/a.md x
w docs/sub/b.md y
w gone.md z
run rm gone.md
printf edited >docs/a.md
run ls
exits 0
prints_like '^plan	v1	20[0-9T:-]+Z	8892		plan\.md$'
prints_like '^scratch	v1	20[0-9T:-]+Z	[16]	modified outside	docs/a\.md$'
[ "$(wc -l <"$T/out")" -eq 3 ] || bad 'not three rows'
rm docs/sub/b.md
run ls
prints_like '^scratch	v1	20[0-9T:-]+Z	1	deleted outside	docs/sub/b\.md$'
run info docs/sub/b.md
prints_like "^file	deleted outside; 'agent-trace restore' brings it back"
printf y >docs/sub/b.md
run ls --deleted
prints_like '^scratch	v2	20[0-9T:-]+Z	0	deleted	gone\.md$'
run ls docs
[ "$(wc -l <"$T/out")" -eq 2 ] || bad 'docs has two'
run ls docs/
[ "$(wc -l <"$T/out")" -eq 2 ] || bad 'docs/ has two'
run ls docs/a.md
exits 0 && prints_like '	docs/a\.md$'
run ls --type plan
[ "$(wc -l <"$T/out")" -eq 1 ] || bad 'one plan'
run ls nowhere
exits 4 && complains "no document is, or is in, nowhere; 'agent-trace ls' names those there are"
run ls gone.md
exits 4
run ls --type essay
exits 2

it 'ls --json is an array with everything'
run ls --json --deleted
exits 0
json "[d['path'] for d in j] == ['docs/a.md', 'docs/sub/b.md', 'gone.md', 'plan.md']"
json "j[0]['modified_outside'] is True and j[1]['modified_outside'] is False and j[2]['exists'] is False and j[2]['blob'] is None"
json "j[3]['type'] == 'plan' and j[3]['version'] == 1 and j[3]['size_bytes'] == 8892 and len(j[3]['id']) == 36 and len(j[3]['blob']) == 40 and j[3]['changed'].endswith('Z')"
store
run ls --json
exits 0 && json "j == []"
run ls
exits 0 && silent

# ---- log ----

it 'log is newest first, 50 at most, and filters'
store
for i in 1 2 3; do w a.md "$i"; done
AGENT_TRACE_ACTOR=agent:claude run write b.md --content x --session s1
AGENT_TRACE_ACTOR=agent:cursor run write c.md --content x --type plan
unset AGENT_TRACE_ACTOR
run rm c.md --summary 'no longer needed'
run log
exits 0
[ "$(wc -l <"$T/out")" -eq 6 ] || bad 'six events'
[ "$(head -n 1 "$T/out" | cut -f 2-)" = "$(printf 'user\tdelete\tv2\t+0\t-1\tc.md\tno longer needed')" ] || bad "first row: $(head -n 1 "$T/out")"
prints_like '^20[0-9T:-]+Z	agent:claude	create	v1	\+1	-0	b\.md	$'
run log --limit 2 --json
json "[e['path'] for e in j] == ['c.md', 'c.md']"
run log -n 1 --json
json "len(j) == 1"
run log a.md --json
json "[e['version'] for e in j] == [3, 2, 1]"
run log --actor agent --json
json "[e['actor'] for e in j] == ['agent:cursor', 'agent:claude']"
run log --actor agent:claude --json
json "len(j) == 1"
run log --actor user --action modify --json
json "[e['version'] for e in j] == [3, 2]"
run log --type plan --json
json "[e['action'] for e in j] == ['delete', 'create']"
run log --session s1 --json
json "[e['path'] for e in j] == ['b.md']"
run log --since 1h --json
json "len(j) == 6"
run log --since 2099-01-01 --json
exits 0 && json "j == []"
run log --since 2099-01-01
exits 0 && silent
run --actor agent:cursor log --json
json "len(j) == 1 and j[0]['actor'] == 'agent:cursor'"
run --actor agent:cursor log --actor user --json
json "len(j) == 4"
run --actor agent trace
[ "$(wc -l <"$T/out")" -eq 2 ] || bad 'two events of agents'
AGENT_TRACE_ACTOR=agent:cursor run log --json
json "len(j) == 6"
unset AGENT_TRACE_ACTOR

it 'wrong filters are refused'
run log --since yesterday
exits 2 && complains "--since 'yesterday' is no time; use 2h, 3d, 2026-11-24 or 2026-11-24T01:54:45Z"
run log --limit many
exits 2 && complains "--limit 'many' is no number; use digits alone"
run log --actor claude
exits 2 && complains "--actor 'claude' is no actor; use user, system, agent or agent:NAME"
run trace --seq -5
exits 2
run trace --type essay
exits 2

it 'the default limit of log is 50, and 0 is all'
seq 1 60 | sed 's/.*/{"actor":"user","action":"create","path":"n&.md","content":"&"}/' >"$T/sixty"
run import "$T/sixty"
exits 0
run log
[ "$(wc -l <"$T/out")" -eq 50 ] || bad 'not 50'
run log --limit 0
[ "$(wc -l <"$T/out")" -eq 66 ] || bad 'not all'

it 'what could fool a terminal is not printed as it is'
run --actor "agent:$(printf 'e\342\200\256vil')" write t.md --content x --summary "$(printf 'x \302\233 y')"
if [ "$code" = 0 ]; then
    run log t.md
    prints_not "$(printf '\342\200\256')" && prints_not "$(printf '\302\233')"
    prints_like 'agent:e\?vil'
else # the library may refuse such names itself
    exits 2
fi

it 'log of a folder is the history of what is in it'
store
w docs/a.md 1
w docs/sub/b.md 1
w docsy.md 1
w docs/a.md 2
w top.md 1
run log docs --json
exits 0 && json "[e['path'] for e in j] == ['docs/a.md', 'docs/sub/b.md', 'docs/a.md']"
run log docs/ -n 2 --json
exits 0 && json "[e['path'] for e in j] == ['docs/a.md', 'docs/sub/b.md']"
run log . --json
exits 0 && json "len(j) == 5"
run -C docs log . --json
exits 0 && json "len(j) == 3"
run -C docs/sub log .. -n 1
exits 0 && prints_like '	\.\./a\.md	$'
run log docs --actor system
exits 0 && silent
run log nowhere
exits 4 && complains "no document is, or is in, nowhere; 'agent-trace ls' names those there are"
run log docs/nowhere/
exits 4
run rm docsy.md
run log docsy.md --json
exits 0 && json "len(j) == 2"
w docsy.md/now-a-folder.md 1
run log docsy.md --json
exits 0 && json "[e['action'] for e in j] == ['create', 'delete', 'create']"
run --actor agent:x write AGENT-TRACE.md --content x
exits 3
run log AGENT-TRACE.md --json
exits 0 && json "[e['action'] for e in j] == ['violation']"
run log ../out
exits 2

# ---- trace ----

it 'trace prints the lines of the trace as they are'
store
w a.md 1
w a.md 2
AGENT_TRACE_ACTOR=agent:x run write b.md --content 3
unset AGENT_TRACE_ACTOR
run trace
exits 0
cat .agent-trace/trace/*.jsonl | cmp -s - "$T/out" || bad 'not the bytes of the trace'
cp "$T/out" "$T/lines"
run trace --json
cmp -s "$T/out" "$T/lines" || bad '--json is another text'
run trace --seq 2
sed 1d "$T/lines" | cmp -s - "$T/out" || bad '--seq 2'
run trace --limit 2
tail -n 2 "$T/lines" | cmp -s - "$T/out" || bad '--limit 2 is not the newest two, in their order'
run trace --limit 1 --path a.md
sed -n 2p "$T/lines" | cmp -s - "$T/out" || bad '--limit counts behind the filters'
run trace --limit 9
cmp -s "$T/out" "$T/lines" || bad '--limit 9'
run trace --seq 2 --limit 1
sed -n 2p "$T/lines" | cmp -s - "$T/out" || bad '--seq and --limit'
run trace --path a.md --action modify
sed -n 2p "$T/lines" | cmp -s - "$T/out" || bad '--path and --action'
run trace --actor agent
sed -n 3p "$T/lines" | cmp -s - "$T/out" || bad '--actor agent'
run trace --path nosuch.md
exits 0 && silent

it 'trace --path with a folder is about what is in it'
w in/x.md 1
w in/deep/y.md 2
w inn.md 3
for folder in in in/ ./in/; do
    run trace --path $folder
    exits 0
    [ "$(sed 's/.*"path":"\([^"]*\)".*/\1/' "$T/out" | tr '\n' ' ')" = 'in/x.md in/deep/y.md ' ] || bad "trace --path $folder"
done
run trace --path in -n 1
grep -q '"path":"in/deep/y.md"' "$T/out" && [ "$(wc -l <"$T/out")" -eq 1 ] || bad '--path with a folder and -n'
run trace --path in/x.md
[ "$(wc -l <"$T/out")" -eq 1 ] || bad '--path with a document'
for f in in/x.md in/deep/y.md inn.md; do run rm $f --yes; done

it 'trace --follow shows what comes, and ends with Ctrl-C or when the reader goes'
"$program" trace --follow >"$T/followed" 2>"$T/err" &
pid=$!
for i in 1 2 3; do w f.md "$i"; done
for i in $(seq 1 50); do [ "$(wc -l <"$T/followed")" -eq "$(cat .agent-trace/trace/*.jsonl | wc -l)" ] || sleep 0.1; done
kill -INT $pid 2>/dev/null || bad 'it had ended'
# a shell without job control starts it with SIGINT ignored, as nohup would
kill -TERM $pid 2>/dev/null
wait $pid
[ $? -eq 0 ] || bad "exit $? after the signal"
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
cat .agent-trace/trace/*.jsonl | cmp -s - "$T/followed" || bad 'not all events came'
(
    "$program" trace --follow
    echo $? >"$T/follow.code"
) | head -n 1 >"$T/out"
[ "$(cat "$T/follow.code")" = 0 ] || bad "exit $(cat "$T/follow.code") when the reader went"
[ "$(wc -l <"$T/out")" -eq 1 ] || bad 'head got no line'
run trace --follow --seq 1 --limit 2
exits 0
[ "$(wc -l <"$T/out")" -eq 2 ] || bad '--seq and --limit end --follow'
(
    "$program" trace --follow --limit 2
    echo $? >"$T/follow.code"
) | head -n 2 >"$T/out"
[ "$(cat "$T/follow.code")" = 0 ] || bad "exit $(cat "$T/follow.code") when the reader went"
tail -n 2 "$T/followed" | cmp -s - "$T/out" || bad '--follow --limit 2 begins with the newest two'

it 'log --follow shows the newest in their order, then what comes'
"$program" log --follow -n 2 >"$T/followed" 2>"$T/err" &
pid=$!
for i in $(seq 1 50); do [ "$(wc -l <"$T/followed")" -eq 2 ] || sleep 0.1; done
w docs/new.md 1
for i in $(seq 1 50); do [ "$(wc -l <"$T/followed")" -eq 3 ] || sleep 0.1; done
kill -TERM $pid 2>/dev/null || bad 'it had ended'
wait $pid
[ $? -eq 0 ] || bad "exit $? after the signal"
[ "$(sed 's/.*	v\([0-9]\)	.*	\([a-z/]*\.md\)	$/\2 \1/' "$T/followed" | tr '\n' ' ')" = 'f.md 2 f.md 3 docs/new.md 1 ' ] ||
    bad "$(cat "$T/followed")"
run log --follow --json
exits 2 && complains_like "'agent-trace trace --follow' prints JSON Lines"

# ---- status ----

it 'status names what there is and what is pending'
store
run status
exits 0
prints_like "^store +$S\$"
prints_like '^documents +0$'
prints_like '^last event +none yet$'
w a.md 1
w a.md 2
run status
prints_like '^documents +1$'
prints_like '^last event +2, 20[0-9T:-]+Z: user modify a\.md$'
prints_like '^git +up to date, at [0-9a-f]{10}$'
prints_not '^modified'
w a.md 3 --publish idle
run status
prints_like '^git +1 event not published yet$'
printf edited >a.md
run status
exits 0
prints_like '^modified +a\.md$'
mkdir sub
run -C sub status
prints_like '^last event .* modify \.\./a\.md$' && prints_like '^modified +\.\./a\.md$'
run status --json
exits 0
json "j['root'] == '$S' and j['documents'] == 1 and j['last_seq'] == 3 and j['published_seq'] == 2 and j['pending'] == 1 and j['modified_outside'] == ['a.md'] and j['leader'] is False and len(j['id']) == 36 and len(j['head']) == 40 and j['edits_kept_aside'] == 0 and j['failed'] is False"

it 'status shows files that are no documents with a ?, and what was left out'
store
w a.md 1
run status
prints_not untracked
mkdir -p sub/inner node_modules
"$program" init sub/inner >"$T/out" 2>&1 || bad "$(cat "$T/out")"
printf x >b.md
printf x >sub/c.txt
printf x >.env
printf x >node_modules/d.md
printf x >'what?.md'
run status
exits 0
prints_like '^untracked +2 files that are no documents$' && prints_like '^ +\? b\.md$' &&
    prints_like '^ +\? sub/c\.txt$' && prints_like '^left out +1 name that no document can have \(what\?\.md\)$' &&
    prints_like '^ +1 store of its own \(sub/inner/\)$'
prints_not '\.env' && prints_not node_modules && prints_not '\.agent-trace'
run status --json
json "j['untracked'] == ['b.md', 'sub/c.txt'] and j['left_out'] == {'ignored': 2, 'name': 1, 'link': 0, 'other': 0, 'store': 1, 'unreadable': 0}"
printf '*.txt\n!.env\n.agent-trace-ignore\n' >.agent-trace-ignore
run status --json
json "j['untracked'] == ['.env', 'b.md']"
head -c 70000 /dev/zero | tr '\0' '#' >.agent-trace-ignore
run status
exits 0 && complains_like 'files that are no documents are not shown: \.agent-trace-ignore has more than' && prints_not untracked

# ---- publishing and git ----

it 'by default git sees every finished command'
store
w a.md 1
w a.md 2
[ "$(git --git-dir .agent-trace/git rev-list --count main)" = 2 ] || bad 'not two commits'
git --git-dir .agent-trace/git fsck --strict >"$T/out" 2>&1 || bad "fsck: $(cat "$T/out")"

it 'git that is gone is made again from what is recorded'
rm -rf .agent-trace/git
run write a.md --content 3
exits 0
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
[ "$(git --git-dir .agent-trace/git rev-list --count main)" = 3 ] || bad 'not three commits'
git --git-dir .agent-trace/git fsck --strict >"$T/out" 2>&1 || bad "fsck: $(cat "$T/out")"

it 'git that is gone with what only it had is said, without a promise that it comes back'
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    printf '{"actor":"user","action":"create","path":"f%s.md","content":"%s"}\n' $i $i
done | "$program" import - >"$T/out" 2>&1 || bad "import: $(cat "$T/out")"
for i in 1 2 3 4 5 6 7; do # what is packed leaves the journal when that is half full
    head -c 1000000 /dev/zero | tr '\0' $i >"$T/long"
    "$program" write long.md <"$T/long" >"$T/out" 2>&1 || bad "write: $(cat "$T/out")"
done
mv .agent-trace/git "$T/git-gone"
run write other.md --content 2
exits 0 && prints 'other.md: version 1'
complains_like 'note: every change is safe, but git does not get them: '
! grep -q 'next command' "$T/err" || bad "$(cat "$T/err")"
rm -rf .agent-trace/git && mv "$T/git-gone" .agent-trace/git
run rm other.md
exits 0
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
store
w a.md 1
w a.md 2

it 'publish idle leaves it to others, and agent-trace git publishes first'
AGENT_TRACE_PUBLISH=idle run write a.md --content 3
exits 0
AGENT_TRACE_PUBLISH=close run write a.md --content 4 --publish manual
exits 0
unset AGENT_TRACE_PUBLISH
[ "$(git --git-dir .agent-trace/git rev-list --count main)" = 2 ] || bad 'it was published'
run show a.md 3
exits 0 && prints 3
run git rev-list --count main
exits 0 && prints 4
run status --json
json "j['pending'] == 0"

it 'git gets its arguments, its streams and its exit code as they are'
run git cat-file blob main:a.md
exits 0 && prints 4
run git --no-pager log -1 --format=%an --json
exits 128
run git --no-pager log -1 --format=%s
exits 0
[ -s "$T/out" ] || bad 'no subject'
run git no-such-command
exits 1
mkdir -p sub
run -C sub git rev-parse --git-dir
exits 0 && prints "$S/.agent-trace/git"

it 'the environment cannot send git elsewhere'
git init -q "$T/other"
GIT_DIR="$T/other/.git" GIT_WORK_TREE="$T/other" GIT_INDEX_FILE="$T/x" GIT_OBJECT_DIRECTORY="$T/y" \
    GIT_NAMESPACE=n GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.bare GIT_CONFIG_VALUE_0=false \
    run git rev-list --count main
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_NAMESPACE GIT_CONFIG_COUNT
exits 0 && prints 4
[ ! -e .git ] || bad 'a .git was made'

# ---- lock ----

it 'lock try and status: free'
store
run lock status
exits 0 && prints free
run lock try
exits 0 && prints free
run lock status --json
exits 0 && json "j['held'] is False and set(j) == {'held', 'epoch'}"
before=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["epoch"])' <"$T/out")
run lock --json try
exits 0 && json "j['held'] is False and j['epoch'] == $before + 1"

it 'lock hold runs the command, exits as it does, and keeps others out meanwhile'
run lock hold -- sh -c 'echo in; exit 7'
exits 7 && prints in
"$program" lock hold -- sleep 20 &
holder=$!
for i in $(seq 1 50); do # the lock comes first, its holder's name a moment later
    run lock try
    grep -q 'held by sleep' "$T/err" && break
    sleep 0.1
done
exits 5 && complains_like "the poll lock is held by sleep, process $holder on .*, since 20"
run lock try --json
exits 5 && json "j['status'] == 'AGT_BUSY' and j['held'] is True and j['pid'] == $holder and j['program'] == 'sleep' and j['since'].endswith('Z') and j['backend'] == 'flock' and j['epoch'] > 0"
run lock status
exits 0 && prints_like "^held by sleep, process $holder on .*, by flock, epoch [0-9]+$"
run status
prints_like "^leader +sleep, process $holder on .*, by flock, epoch [0-9]+$"
run status --json
json "j['leader_pid'] == $holder and j['leader_backend'] == 'flock' and j['leader_epoch'] > $before"
start=$(date +%s)
run lock hold --timeout 0 -- touch "$T/entered"
exits 5 && complains_like 'held by sleep'
run lock hold --timeout 0.3 touch "$T/entered"
exits 5
[ $(($(date +%s) - start)) -le 3 ] || bad 'it waited too long'
[ ! -e "$T/entered" ] || bad 'two were in'
w while.md x # a leader does not stop writers
kill -TERM $holder
wait $holder
[ $? -eq 143 ] || bad "the holder's exit code is $?"
run lock try
exits 0

it 'lock hold waits for its turn'
"$program" lock hold sh -c 'sleep 1; echo first' >"$T/turns" &
sleep 0.3
"$program" lock hold --timeout 10 -- sh -c 'echo second' >>"$T/turns" 2>/dev/null
wait
[ "$(tr '\n' ' ' <"$T/turns")" = 'first second ' ] || bad "$(cat "$T/turns")"

it 'what the command leaves behind keeps no lock, and it gets nothing else of the store'
run lock hold -- sh -c 'ls -l /proc/$$/fd 2>/dev/null | grep "\.agent-trace" | grep -v poll.lock; sleep 5 >/dev/null 2>&1 & exit 0'
exits 0 && prints ''
run lock try
exits 0

it 'a command whose agent-trace was killed keeps the lock until it ends'
"$program" lock hold -- sh -c "echo \$\$ >'$T/command'; exec sleep 20" &
holder=$!
for i in $(seq 1 50); do [ -s "$T/command" ] || sleep 0.1; done
kill -KILL $holder
wait $holder 2>/dev/null
kill -0 "$(cat "$T/command")" || bad 'the command does not run any more'
run lock try
exits 5
run lock hold --timeout 0.3 -- touch "$T/entered"
exits 5
[ ! -e "$T/entered" ] || bad 'two were in'
kill -KILL "$(cat "$T/command")"
run lock hold --timeout 5 true
exits 0

it 'lock by sentinel: held by the command itself, seen by both kinds, nothing is left'
rm -f "$T/command"
"$program" lock hold --backend sentinel -- sh -c "echo \$\$ >'$T/command'; exec sleep 20" &
holder=$!
for i in $(seq 1 50); do [ -s "$T/command" ] && break; sleep 0.1; done
command=$(cat "$T/command")
run lock try
exits 5 && complains_like "the poll lock is held by sh, process $command on .*, by sentinel, epoch"
run lock try --backend sentinel --json
exits 5 && json "j['status'] == 'AGT_BUSY' and j['pid'] == $command and j['backend'] == 'sentinel'"
epoch=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["epoch"])' <"$T/out")
run lock status
exits 0 && prints_like "^held by sh, process $command on .*, by sentinel, epoch $epoch$"
run lock status --json
json "j['held'] and j['backend'] == 'sentinel' and j['epoch'] == $epoch"
run status --json
json "j['leader'] and j['leader_backend'] == 'sentinel' and j['leader_epoch'] == $epoch"
run lock hold --backend sentinel --timeout 0.3 -- touch "$T/entered"
exits 5 && complains_like 'held by sh'
run lock hold --backend flock --timeout 0 -- touch "$T/entered"
exits 5
[ ! -e "$T/entered" ] || bad 'two were in'
kill -TERM $holder # is passed on
wait $holder
[ $? -eq 143 ] || bad "the holder's exit code is $?"
[ -z "$(ls .agent-trace/locks | grep -e owner -e reap -e tmp)" ] || bad 'something is left'
run lock hold --backend sentinel -- sh -c 'exit 7'
exits 7
[ ! -e .agent-trace/locks/poll.lock.owner ] || bad 'the file is left'
run lock hold --backend sentinel -- no-such-command-at-all
exits 127
[ ! -e .agent-trace/locks/poll.lock.owner ] || bad 'the file is left'
run lock try --backend sentinel
exits 0 && prints free

it 'by sentinel, too, a command whose agent-trace was killed keeps the lock until it ends'
rm -f "$T/command"
"$program" lock hold --backend sentinel -- sh -c "echo \$\$ >'$T/command'; exec sleep 20" &
holder=$!
for i in $(seq 1 50); do [ -s "$T/command" ] && break; sleep 0.1; done
kill -KILL $holder
wait $holder 2>/dev/null
run lock try --backend sentinel
exits 5
kill -KILL "$(cat "$T/command")"
run lock hold --backend sentinel --timeout 5 true
exits 0
echo junk >.agent-trace/locks/poll.lock.owner
run lock try
exits 5 && complains_like 'poll.lock.owner does not say whose it is; .* remove that file'
rm .agent-trace/locks/poll.lock.owner
run lock try --backend fcntl
exits 2 && complains "there is no --backend 'fcntl'; use flock or sentinel"
run lock status --backend flock
exits 2

it 'the command gets exactly its own arguments'
for words in '' '--' '--timeout 3 --' '--timeout=3'; do
    # shellcheck disable=SC2086
    run lock hold $words sh -c 'echo "$#:$*"' sh a '' b
    exits 0 && prints '3:a  b'
    # shellcheck disable=SC2086
    run -C . -- lock -- hold $words echo -- a
    exits 0 && prints '-- a'
done
run lock hold -- true
exits 0 && silent

it 'lock hold answers as shells do when there is no such command'
run lock hold -- no-such-command-at-all
exits 127 && complains_like 'cannot run no-such-command-at-all'
run lock hold -- "$S"
exits 126
run lock hold --timeout soon true
exits 2 && complains "--timeout 'soon' is no number of seconds; use 0 to 2147483"
run lock try now
exits 2
run lock status --timeout 1
exits 2

# ---- import ----

it 'import makes every change, in order, with its own commit, and sums up'
store
cat >"$T/stream" <<'EOF'
{"actor":"user","action":"create","path":"a.md","content":"one","ts":1700000000}
{"seq":1,"actor":"agent:claude","action":"modify","path":"a.md","content":"two\n\u20ac \ud83d\ude00","ts":1700000001.5,"session":"s1","extra":[{"x":null}]}

{"actor":"agent:claude","action":"modify","path":"a.md","content":"two\n\u20ac \ud83d\ude00"}
{"actor":"user","action":"create","path":"docs/b.md","content":"b","type":"plan","ts":"2023-11-14T23:13:22+01:00","session":null}
{"actor":"user","action":"delete","path":"docs/b.md","content":null,"ts":null}
EOF
run import "$T/stream"
exits 0 && prints '4 applied, 1 unchanged, 0 denied, 0 failed'
[ ! -s "$T/err" ] || bad "it said: $(cat "$T/err")"
[ "$(cat a.md)" = "$(printf 'two\n\342\202\254 \360\237\230\200')" ] || bad 'not the bytes'
[ ! -e docs/b.md ] || bad 'not deleted'
run trace
python3 - "$T/out" <<'EOF' || bad 'the events are not those of the stream'
import json, sys
e = [json.loads(l) for l in open(sys.argv[1], encoding="utf-8")]
assert [(x["actor"], x["action"], x["path"], x["version"]) for x in e] == [
    ("user", "create", "a.md", 1), ("agent:claude", "modify", "a.md", 2),
    ("user", "create", "docs/b.md", 1), ("user", "delete", "docs/b.md", 2)], e
assert [x["timestamp"] for x in e[:3]] == [
    "2023-11-14T22:13:20.000Z", "2023-11-14T22:13:21.500Z", "2023-11-14T22:13:22.000Z"], e
assert e[1]["session_id"] == "s1" and e[2]["session_id"] is None and e[2]["doc_type"] == "plan"
assert all(x["source"] == "import" for x in e)
EOF
git --git-dir .agent-trace/git log --format='%an %at' --reverse | head -n 3 >"$T/authors"
printf 'User 1700000000\nAgent: claude 1700000001\nUser 1700000002\n' | cmp -s - "$T/authors" || bad "authors: $(cat "$T/authors")"

it 'import reads stdin and .gz, and --json sums up as JSON'
gzip -c "$T/stream" >"$T/stream.jsonl.gz"
store
run import "$T/stream.jsonl.gz" --json
exits 0
json "j['lines'] == 5 and j['applied'] == 4 and j['unchanged'] == 1 and j['denied'] == 0 and j['failed'] == 0 and j['first_seq'] == 1 and j['last_seq'] == 4"
store
run_in "$(cat "$T/stream")" import -
exits 0 && prints '4 applied, 1 unchanged, 0 denied, 0 failed'
run import "$T/nosuch.jsonl"
exits 4
run import "$T/nosuch.jsonl.gz"
exits 4
run import "$T"
exits 1 && complains "$T is a folder; name a file of JSON Lines"

it 'a damaged .gz is an error, and what came before it is kept'
store
seq 1 20000 | sed 's/.*/{"actor":"user","action":"create","path":"a.md","content":"& & & & &"}/' | head -n 3000 | gzip -c >"$T/whole.gz"
head -c $(($(wc -c <"$T/whole.gz") / 2)) "$T/whole.gz" >"$T/cut.gz"
run import "$T/cut.gz" --durability process --publish idle
exits 1
grep -q "^agent-trace: $T/cut.gz is damaged: gzip could not unpack all of it\$" "$T/err" || bad "$(cat "$T/err")"
prints_like '^[1-9][0-9]* applied'
printf 'this is not packed' >"$T/not.gz"
run import "$T/not.gz"
exits 1

it 'a bad line is reported by number and reason and stops nothing else'
store
w there.md x --type reference
python3 - "$T/bad" <<'EOF'
import sys
good = b'{"actor":"user","action":"create","path":"g%d.md","content":"x"}'
lines = [
    good % 1,
    b'{"actor":"user"',                                                       # 2
    b'[]',                                                                    # 3
    b'{"action":"create","path":"a.md","content":"x"}',                       # 4
    b'{"actor":"claude","action":"create","path":"a.md","content":"x"}',      # 5
    b'{"actor":"user","path":"a.md","content":"x"}',                          # 6
    b'{"actor":"user","action":"rename","path":"a.md","content":"x"}',        # 7
    b'{"actor":"user","action":"create","content":"x"}',                      # 8
    b'{"actor":"user","action":"create","path":"a.md"}',                      # 9
    b'{"actor":"user","action":"create","path":"a.md","content":7}',          # 10
    b'{"actor":"user","action":"create","path":"../a.md","content":"x"}',     # 11
    b'{"actor":"user","action":"create","path":"/etc/a.md","content":"x"}',   # 12
    b'{"actor":"user","action":"create","path":"a\\u0000.md","content":"x"}', # 13
    b'{"actor":"user","action":"create","path":"a.md","content":"\\ud800"}',  # 14
    b'{"actor":"user","action":"create","path":"a.md","content":"\xff"}',     # 15
    b'{"actor":"user","action":"create","path":"a.md","content":"x","type":"essay"}',  # 16
    b'{"actor":"user","action":"create","path":"a.md","content":"x","ts":-1}',         # 17
    b'{"actor":"user","action":"create","path":"a.md","content":"x","ts":"today"}',    # 18
    b'{"actor":"user","action":"create","path":"a.md","content":"x","session":"a b"}', # 19
    b'{"actor":"user","action":"create","path":"a.md","path":"b.md","content":"x"}',   # 20
    b'{"actor":"user","action":"delete","path":"nosuch.md"}',                          # 21
    b'{"actor":"agent:x","action":"modify","path":"there.md","content":"y"}',          # 22 denied
    b'{"actor":"user","action":"create","path":"context.md","content":"x"}',           # 23 denied
    b'{"actor":"user","action":"create","path":"a.md","content":"x"} x',               # 24
    b'{"actor":"user","action":"create","path":".git/config","content":"x"}',          # 25
    b'{"actor":"user","action":"create","path":"there.md","content":"x","type":"plan"}', # 26
    b'\xef\xbb\xbf' + good % 2,                                                        # 27
    b'[' * 100000,                                                                     # 28
    good % 3,
]
open(sys.argv[1], "wb").write(b"\n".join(lines))  # no newline at the end
EOF
run import "$T/bad"
exits 1 && prints '2 applied, 0 unchanged, 2 denied, 25 failed'
[ "$(sed -n 's/^agent-trace: .*bad line \([0-9]*\): .*/\1/p' "$T/err" | tr '\n' ' ')" = \
    "$(seq 2 28 | tr '\n' ' ')" ] || bad "not each bad line once, in order: $(cut -c 1-100 "$T/err" | head -n 40)"
[ "$(wc -l <"$T/err")" -eq 27 ] || bad 'not one line each'
says() { grep -Eq "bad line $1: $2" "$T/err" || bad "line $1: $(grep "bad line $1:" "$T/err")" "wanted: $2"; }
says 2 'no valid JSON: a .,. or .\}. is missing \(byte 15\)$'
says 3 'not a JSON object$'
says 4 '"actor" is missing$'
says 5 '"actor" must be user, system or agent:NAME, not "claude"$'
says 6 '"action" is missing$'
says 7 '"action" must be create, modify or delete, not "rename"$'
says 8 '"path" is missing$'
says 9 '"content" is missing; only a delete goes without$'
says 10 '"content" must be a string$'
says 13 '"path" has a NUL byte in it$'
says 14 'no valid JSON: half a surrogate pair'
says 15 'no valid JSON: not valid UTF-8'
says 16 '"type" must be plan, context, log, reference or scratch, not "essay"$'
says 17 '"ts" must be unix seconds or an RFC 3339 time, from 1970 to 9999$'
says 18 '"ts" must be'
says 20 '"path" stands twice$'
says 22 'denied: agent:x may not modify there.md'
says 23 'denied: .*repeat with --yes'
says 24 'no valid JSON: something follows the value'
says 11 '.*\(byte 0\)$' # counted from 0, as in the messages of the library
says 27 'a byte order mark stands in front; write UTF-8 without one$'
says 28 'no valid JSON: nested too deeply'
[ "$(ls)" = "$(printf 'g1.md\ng3.md\nthere.md')" ] || bad "there is: $(ls | tr '\n' ' ')"

it '--strict stops at the first bad line, and nothing behind it is made'
store
run import "$T/bad" --strict
exits 1 && prints '1 applied, 0 unchanged, 0 denied, 1 failed'
[ "$(ls)" = g1.md ] || bad "there is: $(ls)"
run_in '{"actor":"agent:x","action":"create","path":"AGENT-TRACE.md","content":"x"}
{"actor":"user","action":"create","path":"later.md","content":"x"}' import - --strict
exits 3 && prints '0 applied, 0 unchanged, 1 denied, 0 failed'
[ ! -e later.md ] || bad 'it went on'

run import "$T/bad" --strict --batch 2
exits 2 && complains "--strict makes one change at a time; leave --batch out; see 'agent-trace help import'"

it 'what is packed or no UTF-8 is named'
gzip -c "$T/stream" | "$program" import - >"$T/out" 2>"$T/err"
code=$? last='import - of a .gz'
exits 1 && complains 'stdin is packed by gzip; unpack it: gzip -dc FILE.gz | agent-trace import -'
prints '0 applied, 0 unchanged, 0 denied, 0 failed'
cp "$T/stream.jsonl.gz" "$T/stream.jsonl"
run import "$T/stream.jsonl"
exits 1 && complains_like "$T/stream.jsonl is packed by gzip"
run_in "$(printf '\377\376{')" import -
exits 1 && complains 'stdin line 1: this is UTF-16; write it as UTF-8'

it 'an import that is interrupted sums up what was made'
store
python3 - "$program" <<'EOF' || bad 'not so'
import signal, subprocess, sys
for ends in signal.SIGINT, signal.SIGTERM:
    p = subprocess.Popen([sys.argv[1], "import", "-", "--ack"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    p.stdin.write(b'{"actor":"user","action":"create","path":"%d.md","content":"x"}\n' % ends)
    p.stdin.write(b'{"actor":"user","action":"create","path":"half.md","content":"x"}')
    p.stdin.flush()
    assert p.stdout.readline() == b"1\n"
    p.send_signal(ends)
    out, err = p.stdout.read(), p.stderr.read()
    assert out == b"1 applied, 0 unchanged, 0 denied, 0 failed\n", out
    assert err == b"agent-trace: stdin: stopped by a signal behind line 1\n", err
    assert p.wait() == 1, p.wait()
EOF
[ ! -e half.md ] || bad 'half a line was made'

it 'only denials exit 3, and --yes confirms'
run_in '{"actor":"user","action":"create","path":"context.md","content":"x"}' import -
exits 3
run_in '{"actor":"user","action":"create","path":"context.md","content":"x"}' import - --yes
exits 0 && prints '1 applied, 0 unchanged, 0 denied, 0 failed'

it '--ack prints the numbers of the lines that were made, and only those'
store
w there.md x --type reference
run import "$T/bad" --ack
[ "$(sed '$d' "$T/out" | tr '\n' ' ')" = '1 29 ' ] || bad "acknowledged: $(cat "$T/out")"
run import "$T/stream" --ack --batch 2
[ "$(sed '$d' "$T/out" | tr '\n' ' ')" = '1 2 4 5 6 ' ] || bad "acknowledged: $(cat "$T/out")"

it 'who waits for each acknowledgement gets it before the stream goes on'
store
python3 - "$program" <<'EOF' || bad 'no answer came'
import json, select, subprocess, sys
p = subprocess.Popen([sys.argv[1], "import", "-", "--ack"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for i in range(1, 6):
    line = {"actor": "user", "action": "create", "path": "w%d.md" % i, "content": str(i)}
    p.stdin.write(json.dumps(line).encode() + b"\n")
    p.stdin.flush()
    assert select.select([p.stdout], [], [], 10)[0], "nothing within 10 s"
    assert p.stdout.readline() == b"%d\n" % i
p.stdin.close()
assert p.stdout.read() == b"5 applied, 0 unchanged, 0 denied, 0 failed\n"
assert p.wait() == 0
EOF

it 'what was acknowledged is there after kill -9'
store
seq 1 20000 | sed 's/.*/{"actor":"user","action":"create","path":"k\/&.md","content":"&"}/' >"$T/files"
for batch in 1 64; do
    : >"$T/acked"
    "$program" import "$T/files" --ack --batch $batch >"$T/acked" 2>/dev/null &
    pid=$!
    for i in $(seq 1 200); do [ "$(wc -l <"$T/acked")" -ge $((batch * 3)) ] || sleep 0.01; done
    kill -KILL $pid 2>/dev/null || bad 'it had ended'
    wait $pid 2>/dev/null
    acked=$(wc -l <"$T/acked")
    [ "$acked" -ge $((batch * 3)) ] || bad "only $acked acknowledged"
    run ls --json
    exits 0
    python3 - "$T/out" "$T/acked" <<'EOF' || bad 'something acknowledged is lost'
import json, sys
there = {d["path"] for d in json.load(open(sys.argv[1])) if not d["modified_outside"]}
acked = open(sys.argv[2]).read().split("\n")[:-1]
lost = [n for n in acked if "k/%s.md" % n not in there]
assert not lost, lost[:5]
EOF
done
run git fsck --strict
exits 0
[ ! -s "$T/out" ] || bad "fsck: $(cat "$T/out")"

it '--batch is from 1 to 1024'
for n in 0 1025 x ''; do
    run import "$T/stream" --batch "$n"
    exits 2 && complains "--batch '$n' is no number from 1 to 1024"
done
run import "$T/stream" --batch 1
exits 0
run import "$T/stream" --batch 1024
exits 0

it 'lines may name no actor where --actor says who'
store
run_in '{"action":"create","path":"a.md","content":"x"}
{"actor":"user","action":"create","path":"b.md","content":"x"}' import - --actor agent:robot
exits 0
run log --json
json "[e['actor'] for e in j] == ['user', 'agent:robot']"

it 'in an agent'"'"'s environment lines do not act as the user'
AGENT_TRACE_ACTOR=agent:env run_in '{"actor":"user","action":"create","path":"c.md","content":"x"}
{"actor":"agent:other","action":"create","path":"d.md","content":"x"}' import -
unset AGENT_TRACE_ACTOR
exits 3 && prints '1 applied, 0 unchanged, 1 denied, 0 failed'
complains_like 'line 1: denied: AGENT_TRACE_ACTOR is agent:env, so acting as the user needs a terminal on stdin'
[ ! -e c.md ] && [ -e d.md ] || bad 'not as it should be'

it 'lines of many megabytes are taken'
store
python3 -c "
import json
text = 'x\u00e9\n' * 4000000
print(json.dumps({'actor': 'user', 'action': 'create', 'path': 'big.md', 'content': text}))
print(json.dumps({'actor': 'user', 'action': 'create', 'path': 'small.md', 'content': 'y'}))
open('$T/big', 'w', encoding='utf-8', newline='').write(text)" >"$T/big.jsonl"
run import "$T/big.jsonl"
exits 0
cmp -s big.md "$T/big" || bad 'the bytes differ'

it 'progress is shown on a terminal only'
store
run import "$T/sixty"
[ ! -s "$T/err" ] || bad 'there is progress in a pipe'
seq 1 3000 | sed 's/.*/{"actor":"user","action":"create","path":"p.md","content":"&"}/' >"$T/many"
tty '' import "$T/many" --durability process --publish idle
exits 0
prints_like '[0-9]+ lines, [0-9]+/s'
prints_like '3000 applied, 0 unchanged'

# ---- streams ----

it 'a reader that goes away ends a command quietly'
for words in 'log --limit 0' 'ls' 'trace' 'log --json --limit 0'; do
    (
        # shellcheck disable=SC2086
        "$program" $words 2>"$T/err"
        echo $? >"$T/pipe.code"
    ) | head -c 1 >/dev/null
    [ "$(cat "$T/pipe.code")" = 0 ] || bad "$words: exit $(cat "$T/pipe.code")"
    [ ! -s "$T/err" ] || bad "$words said: $(cat "$T/err")"
done

it 'what cannot be printed is an error'
if [ -e /dev/full ]; then
    "$program" log >/dev/full 2>"$T/err"
    [ $? -eq 1 ] || bad 'a full device is no error'
    grep -q '^agent-trace: cannot print the result: ' "$T/err" || bad "it said: $(cat "$T/err")"
fi
"$program" log >&- 2>"$T/err"
[ $? -eq 1 ] || bad 'a closed stdout is no error'
"$program" write closed.md --content x <&- >/dev/null 2>&1 || bad 'a closed stdin disturbs --content'
"$program" write closed.md <&- >/dev/null 2>&1 && bad 'a closed stdin was read'
[ "$(cat closed.md)" = x ] || bad 'something was written'

# ---- beside others ----

it 'writers wait for one another, and none is lost'
store
for i in 1 2 3 4 5 6; do
    for j in 1 2 3 4 5; do
        "$program" write "f$i.md" --content "$i $j" --publish idle >/dev/null 2>>"$T/par.err" || echo "$i $j" >>"$T/par.fail"
    done &
done
wait
[ ! -e "$T/par.fail" ] || bad "failed: $(cat "$T/par.fail") $(head -n 3 "$T/par.err")"
run trace
[ "$(wc -l <"$T/out")" -eq 30 ] || bad "$(wc -l <"$T/out") events"
run git rev-list --count main
prints 30

it 'a writer that keeps the lock makes others exit 5, but nobody blind'
python3 - .agent-trace/locks/store.lock <<'EOF' &
import fcntl, sys, time
f = open(sys.argv[1], "r+")
fcntl.flock(f, fcntl.LOCK_EX)
open("locked", "w").close()
time.sleep(60)
EOF
holder=$!
for i in $(seq 1 50); do [ -e locked ] || sleep 0.1; done
for words in ls 'show f1.md' 'log --limit 1' status; do
    # shellcheck disable=SC2086
    run $words
    exits 0
    [ -s "$T/out" ] || bad "$words printed nothing"
done
run write f1.md --content never
exits 5
[ "$(wc -l <"$T/err")" -eq 1 ] || bad "$(cat "$T/err")"
kill $holder 2>/dev/null
wait $holder 2>/dev/null
rm -f locked
run write f1.md --content then
exits 0

it 'reading commands work for somebody who may not write'
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
    chmod 711 "$T"
    chmod -R a+rX "$S"
    cp "$program" "$T/program" && chmod 755 "$T/program"
    for words in ls log trace status 'show f1.md' 'show f1.md 1' 'diff f1.md 1 2'; do
        # shellcheck disable=SC2086
        (cd "$S" && setpriv --reuid=65534 --regid=65534 --clear-groups "$T/program" $words >"$T/ro.out" 2>"$T/ro.err") ||
            bad "$words: $(cat "$T/ro.err")"
        [ -s "$T/ro.out" ] || bad "$words printed nothing"
    done
    (cd "$S" && setpriv --reuid=65534 --regid=65534 --clear-groups "$T/program" write f1.md --content no >/dev/null 2>"$T/ro.err") &&
        bad 'a write succeeded'
    [ "$(wc -l <"$T/ro.err")" -eq 1 ] || bad "$(cat "$T/ro.err")"
else
    skip 'needs root and setpriv'
fi

it 'init and git work on a store that may only be read, and change nothing'
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
    reader() { # ARGS...: the program, as somebody else
        (cd "$S" && HOME=$T setpriv --reuid=65534 --regid=65534 --clear-groups "$T/program" "$@" \
            >"$T/out" 2>"$T/err")
        code=$?
        last="agent-trace $* (as somebody else)"
    }
    run git log --oneline # publishes
    chmod -R a+rX "$S"
    before=$(snapshot "$S")
    reader init
    exits 0
    prints "there is a store already in $S"
    reader git -c safe.directory='*' log --oneline
    exits 0
    [ -s "$T/out" ] && [ ! -s "$T/err" ] || bad "git said: $(cat "$T/err")"
    [ "$before" = "$(snapshot "$S")" ] || bad 'something changed on disk'
    w f1.md 'not in git yet' --publish manual
    chmod -R a+rX "$S"
    reader git -c safe.directory='*' log --oneline
    exits 0
    complains_like 'git may not have the newest changes'
    [ -s "$T/out" ] || bad 'git printed nothing'
else
    skip 'needs root and setpriv'
fi

finish
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
