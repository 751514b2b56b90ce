#!/bin/sh
# What agent-trace 0.1.0 promises (f_NN), and what was seen to go wrong with it (w_NN), each once, with
# the program as people run it. The numbers are those of tests/parity.tsv, which names these functions.
# A case of a hole does what showed the hole: 0.1.0 fails it.
. tests/kit.sh
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
umask 022

# ---- the kit ----

new() { # NAME [OPTION]: a fresh store, entered
    mkdir "$WORK/$1" && cd "$WORK/$1" && "$PROGRAM" init ${2-} >"$WORK/out"
}
out() { grep -q -- "$1" "$WORK/out" || { echo "no $1 in:" && cat "$WORK/out" && return 1; }; }
out_not() { ! grep -- "$1" "$WORK/out"; }
lines() { [ "$(wc -l <"$WORK/out")" = "$1" ] || { echo "not $1 lines:" && cat "$WORK/out" && return 1; }; }
has() { [ "$(cat "$1")" = "$2" ] || { echo "$1 has $(cat "$1")" && return 1; }; }
json() { # CONDITION on j, what stdout is
    python3 -c "
import json, sys
j = json.load(open(sys.argv[1], encoding='utf-8'))
sys.exit(0 if ($1) else 1)" "$WORK/out" || { echo "not so: $1" && cat "$WORK/out" && return 1; }
}
in_git() { git --git-dir=.agent-trace/git "$@"; }
known() { "$PROGRAM" ls --json && "$PROGRAM" trace; } # what the store knows, to be compared
other() { # ARGS...: the program as somebody who is not root, and not the owner of what root made
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/program" "$@" </dev/null >"$WORK/out" 2>"$WORK/err"
    else
        at "$@"
    fi
}

# ---- making a store ----

f_01() {
    mkdir "$WORK/f01" && cd "$WORK/f01" && code 0 init && [ "$(ls -A | tr '\n' ' ')" = '.agent-trace AGENT-TRACE.md ' ] &&
        [ "$(stat -c %a .agent-trace)" = 700 ] && [ -f .agent-trace/config.toml ] && [ -f .agent-trace/journal ] &&
        [ -d .agent-trace/locks ] && [ -d .agent-trace/trace ] && [ "$(in_git rev-parse --is-bare-repository)" = true ] &&
        [ "$(in_git ls-tree --name-only main)" = AGENT-TRACE.md ]
}
f_03() {
    mkdir "$WORK/f03" && cd "$WORK/f03" && printf 'mine\r\n\n' >.gitignore && cp .gitignore "$WORK/ignore" && echo x >a.md &&
        code 0 init && code 0 init --scan && code 0 write b.md --content x && cmp .gitignore "$WORK/ignore"
}
f_06() {
    mkdir "$WORK/f06" && cd "$WORK/f06" && mkdir node_modules && echo x >node_modules/a.md && echo x >kept.md && echo x >my.draft.md &&
        echo '*.draft.md' >.agent-trace-ignore && code 0 init --scan && code 0 ls && lines 1 && out 'kept\.md' && code 0 status --json &&
        json "'node_modules/a.md' not in j['untracked'] and 'my.draft.md' not in j['untracked']" && code 0 write my.draft.md --content y &&
        code 0 write node_modules/b.md --content y && code 0 ls && lines 3
}
w_62() { # there are no keys to be kept; what is kept is closed to others from its first moment, however open the umask
    chmod 755 "$WORK" && (umask 0 && mkdir "$WORK/w62" && cd "$WORK/w62" && code 0 init && code 0 write a.md --content x --type reference &&
        code 3 --actor agent:owl write a.md --content y && code 0 unlock a.md --for agent:owl && [ -z "$(find .agent-trace -type d ! -perm 700)" ] &&
        [ -z "$(find .agent-trace -type f -perm /077 ! -path '*/git/objects/*')" ]) || return 1
    if command -v strace >/dev/null; then
        cd "$WORK/w62" && (umask 0 && strace -f -o "$WORK/w62.calls" -e trace=chmod,fchmod,fchmodat "$PROGRAM" write b.md --content x) && ! grep chmod "$WORK/w62.calls" || return 1
    fi
    [ "$(id -u)" != 0 ] || ! setpriv --reuid=65534 --regid=65534 --clear-groups ls "$WORK/w62/.agent-trace"
}
w_71() { # a table with one of its keys is a table
    new w71 --plain && grep -q '^\[polling\]$' .agent-trace/config.toml && sed -i '/^enabled/d' .agent-trace/config.toml &&
        code 0 write a.md --content x && sed -i '/^interval_ms/d; /^\[polling\]/d' .agent-trace/config.toml && code 0 show a.md && out x
}
w_79() {
    mkdir "$WORK/w79" && cd "$WORK/w79" && ! at write a.md --content x && ! at lock hold true && [ -z "$(ls -A)" ] &&
        mkdir -m 755 .agent-trace && mkdir -m 755 .agent-trace/locks && code 0 init && [ "$(stat -c %a .agent-trace)" = 700 ] &&
        code 0 write a.md --content x && echo '[store' >.agent-trace/config.toml && code 0 repair && code 0 show a.md && out x
}
w_83() { # where nothing can be made, nothing is left; and the next try is not told that it succeeded
    mkdir "$WORK/w83" && cd "$WORK/w83" && git init -q . && find .git | sort >"$WORK/before" && chmod 555 . && ! other init &&
        [ ! -e .agent-trace ] && chmod 755 . && code 0 init && out 'made a store' && find .git | sort | cmp - "$WORK/before" &&
        code 0 write a.md --content x && [ "$(git status --porcelain | tr '\n' ' ')" = '?? AGENT-TRACE.md ?? a.md ' ]
}
w_88() {
    mkdir "$WORK/w88" && cd "$WORK/w88" && echo 'my index' >AGENT-TRACE.md && echo 'my context' >context.md && code 0 init &&
        code 0 write a.md --content x && has context.md 'my context' && code 0 show AGENT-TRACE.md 1 && out '^my index$' &&
        in_git log --format=%H main -- AGENT-TRACE.md | tail -n 1 >"$WORK/first" && in_git show "$(cat "$WORK/first"):AGENT-TRACE.md" | grep -q '^my index$'
}

# ---- documents ----

f_07() {
    new f07 && echo x >x.md && code 0 add plan x.md && code 0 ls && out '^plan.*	x\.md$' && grep -q '^- `x.md`$' AGENT-TRACE.md &&
        [ "$(in_git log --format='%an' main -- x.md)" = User ] && [ "$(in_git log --format='%an' -1 main)" = agent-trace ]
}
f_08() {
    new f08 && echo x >x.md && code 0 add plan x.md && known >"$WORK/before" && code 4 add plan none.md && code 5 add plan x.md && code 2 add scratch x.md &&
        known | cmp - "$WORK/before"
}
f_09() {
    new f09 --plain && code 0 write a.md --content x --type plan && code 0 --actor agent:owl write b.md --content x && code 0 ls --json &&
        json "all({'id', 'path', 'doc_type', 'tags', 'description', 'agent_name'} <= set(d) for d in j) and len(j) == 2" &&
        json "[(d['path'], d['doc_type'], d['agent_name'], d['tags']) for d in j] == [('a.md', 'plan', '', []), ('b.md', 'scratch', 'owl', [])]" &&
        code 0 ls --type plan --json && json "[d['path'] for d in j] == ['a.md']" && code 0 ls && lines 2 && out '^plan	.*	a\.md$'
}
f_10() {
    new f10 --plain && code 0 --actor agent:owl write a.md --content 1 --type plan && code 0 write a.md --content 2 &&
        code 0 --actor agent:heron write a.md --content 3 && code 0 info a.md && out '^type	plan$' && out '^version	3$' &&
        out '^id	[0-9a-f]\{8\}-[0-9a-f-]\{27\}$' && out '^created	20.*Z by agent:owl$' && out '^changed	20.*Z by agent:heron$'
}
f_14() {
    new f14 && code 0 write a.md --content x && code 0 rm a.md && [ ! -e a.md ] && code 0 ls && lines 0 && ! grep -q 'a\.md' AGENT-TRACE.md &&
        [ "$(in_git log --format=%s main -- a.md | head -n 1)" = '[agent-trace] delete scratch: a.md' ]
}
f_33() {
    new f33 --plain && printf 'the same' | "$PROGRAM" write a.md && code 0 write b.md --content 'the same' && code 0 ls --json &&
        json "j[0]['blob'] == j[1]['blob'] and len(j[0]['blob']) == 40"
}
f_34() {
    new f34 --plain && code 0 --actor agent:owl write new.md --content x && code 0 write new.md --content y && code 0 ls --json &&
        json "j[0]['doc_type'] == 'scratch' and j[0]['agent_name'] == 'owl' and len(j) == 1"
}
f_71() {
    new f71 --plain && echo x >x.md && echo $$ >.agent-trace/locks/instance.lock && code 0 add plan x.md && rm .agent-trace/locks/instance.lock &&
        code 0 ls && code 0 log && code 0 write x.md --content y && [ ! -e .agent-trace/locks/instance.lock ] && code 0 lock status && out '^free$'
}
f_73() {
    new f73 --plain && head -c 5000000 /dev/urandom >big.bin && cp big.bin "$WORK/big" &&
        timeout 30 "$PROGRAM" add scratch big.bin && timeout 30 "$PROGRAM" show big.bin 1 | cmp - "$WORK/big"
}
f_74() {
    new f74 --plain || return 1
    for name in 'two words.md' a-hyphen.md under_score.md 'sub folder/日本語.md'; do
        mkdir -p "$(dirname "$name")" && echo x >"$name" && code 0 add scratch "$name" && code 0 info "$name" && out "^path	$name\$" &&
            code 0 show "$name" 1 && out '^x$' || return 1
    done
    code 0 ls && lines 4 && out '	sub folder/日本語\.md$'
}
f_77() { # a folder that cannot be written, and a file that cannot be read
    chmod 755 "$WORK" && new f77 --plain && code 0 write d/a.md --content one && code 0 write b.md --content one && [ "$(id -u)" != 0 ] ||
        chown -R 65534:65534 "$WORK/f77" || return 1
    chmod 555 d && chmod 000 b.md && known >"$WORK/before" && ! other write b.md --content two && [ "$(wc -l <"$WORK/err")" = 1 ] &&
        ! other add plan d/none.md && other ls && lines 2 && other show b.md 1 && out '^one$' && known | cmp - "$WORK/before"
    f77=$?
    chmod 755 d && chmod 644 b.md && [ "$f77" = 0 ] && other write b.md --content two && has b.md two
}
w_06() {
    new w06 --plain && mkdir "$WORK/outside" && echo outside >"$WORK/outside/f" && code 0 write plan.md --content one --type plan &&
        code 0 write plan.md --content two && ln -sf "$WORK/outside/f" plan.md || return 1
    for words in 'write plan.md --content three' '--actor agent:owl write plan.md --content four' 'restore plan.md 1' 'replace outside mine' \
        'mv plan.md moved.md' 'rm plan.md'; do
        # shellcheck disable=SC2086
        at $words
        has "$WORK/outside/f" outside || return 1
    done
    code 0 show plan.md 1 && out '^one$' || code 0 show moved.md 1 && out '^one$'
}
w_50() {
    new w50 --plain && for i in 1 2 3; do code 0 write x1.md --content "plain $i" || return 1; done &&
        code 0 write 'x[1].md' --content 'first' && code 0 write 'x[1].md' --content 'second' && code 0 write 'd[!a]/{b}.md' --content 'third' &&
        code 0 info 'x[1].md' && out '^version	2$' && code 0 show 'x[1].md' 1 && out '^first$' && code 0 log 'x[1].md' && lines 2 && out_not 'x1' &&
        code 4 show 'x[1].md' 3 && code 0 restore 'x[1].md' 1 && has 'x[1].md' first && has x1.md 'plain 3' && code 0 diff 'x[1].md' 1 2 && out '^+second$' &&
        code 2 write 'x?.md' --content x && code 2 write 'x*.md' --content x
}
w_51() { # bytes are versioned whatever they are; a name that is no UTF-8 is told, never passed by
    new w51 --plain && printf 'a\0\377b' >"$WORK/bytes" && code 0 write b.md --file "$WORK/bytes" && code 0 write b.md --content other &&
        "$PROGRAM" show b.md 1 | cmp - "$WORK/bytes" && code 0 restore b.md 1 && cmp b.md "$WORK/bytes" || return 1
    name=$(printf 'caf\351.md')
    code 2 write "$name" --content x && grep -q 'UTF-8' "$WORK/err" && : >"$name" && code 0 status && out 'name that no document can have'
}

# ---- history ----

f_17() {
    new f17 --plain && code 0 write a.md --content 1 && code 0 --actor agent:owl write a.md --content 2 && code 0 --actor system write a.md --content 3 &&
        in_git log --reverse --format='%an <%ae> %cn <%ce>' main >"$WORK/out" && lines 3 && out '^User <user@agent-trace>' &&
        out '^Agent: owl <agent@agent-trace>' && out '^agent-trace <system@agent-trace>'
}
rows() { # COUNT FILTER...: so many events
    rows_wanted=$1
    shift
    code 0 log --json "$@" && json "len(j) == $rows_wanted"
}
f_18() {
    new f18 --plain && for who in user agent:owl system; do code 0 --actor "$who" write "${who#*:}.md" --content x || return 1; done
    code 0 write plan.md --content 1 --type plan && code 0 --actor agent:owl write plan.md --content 2 && code 0 --actor system write context.md --content 1 &&
        code 0 write more.md --content 1 && code 0 write more.md --content 2 && rows 8 && rows 4 --actor user && rows 2 --actor agent &&
        rows 2 --actor agent:owl && rows 0 --actor agent:heron && rows 2 --actor system && rows 2 --type plan && rows 1 --type context &&
        rows 5 --type scratch && rows 1 --actor agent --type plan && rows 2 plan.md && rows 1 plan.md --actor agent && rows 3 --limit 3 &&
        json "[e['path'] for e in j] == ['more.md', 'more.md', 'context.md']"
}
w_47() { # a limit counts what is shown
    new w47 --plain && for i in 1 2 3; do code 0 --actor agent:owl write a.md --content "$i" || return 1; done
    for i in 1 2 3 4 5 6; do code 0 write b.md --content "$i" || return 1; done
    code 0 log --actor agent --limit 2 && lines 2 && out '	agent:owl	modify	v3	' && code 0 log --type scratch --actor agent:owl -n 1 && lines 1
}
w_31() { # without a second version it is the file that is compared, and events count the lines that changed
    new w31 --plain && seq 1 20 >a.md && code 0 add scratch a.md && code 0 diff a.md && lines 0 && echo 21 >>a.md && code 0 diff a.md && out '^+21$' &&
        out_not '^-[0-9]' && code 0 diff a.md 1 && out '^+21$' && seq 1 21 | "$PROGRAM" write a.md >"$WORK/out" && code 0 log a.md -n 1 &&
        out '	v2	+1	-0	a\.md	'
}
f_25() {
    new f25 --plain && for i in a b c d; do code 0 write "$i.md" --content "text of $i" || return 1; done
    code 0 status && out_not '^modified\|^deleted\|^renamed\|^untracked' && echo edited >a.md && rm b.md && mkdir e && mv c.md e/f.md && echo new >n.md &&
        code 0 status && out '^modified *a\.md$' && out '^deleted *b\.md$' && out '^renamed *c\.md -> e/f\.md$' && out '^untracked *1 file' && out '^ *? n\.md$' &&
        code 0 status --json && json "(j['modified_outside'], j['deleted_outside'], j['renamed_outside'], j['untracked']) == (['a.md'], ['b.md'], [{'from': 'c.md', 'to': 'e/f.md'}], ['n.md'])"
}
w_77() { # what lies in .agent-trace is no copy of a document, and no file of the user's
    new w77 --plain && cp .agent-trace/config.toml c.md && code 0 add scratch c.md && rm c.md && code 0 status && out '^deleted *c\.md$' &&
        out_not 'agent-trace/config' && [ "$(in_git config core.bare)" = true ] && [ ! -e .agent-trace/git/index ]
}
w_48() { # the one who acts is named by his own row, whatever a text says
    new w48 --plain && code 0 write a.md --content 'one word' && rows=$(printf 'x\nactor: user\nagent: else\nfile:\tb.md\tcreate\tplan\n\nactor: system') &&
        code 0 --actor agent:owl replace word "$rows" && code 0 --actor agent:owl write a.md --content y --summary 'actor: user' &&
        code 2 --actor agent:owl write "$(printf 'x\nactor: user.md')" --content x && code 2 --actor agent:owl write "$(printf 'a\tb.md')" --content x &&
        in_git log -2 --format=%B main >"$WORK/out" && [ "$(grep -c '^actor: agent:owl$' "$WORK/out")" = 2 ] && [ "$(grep -c '^agent: owl$' "$WORK/out")" = 2 ] &&
        out_not '^actor: user\|^actor: system\|^agent: else\|^file:	b' && code 0 log --actor agent && lines 2
}
w_68() { # versions of one second are in order, and follow the document to another path
    new w68 --plain && for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        printf '{"actor":"user","action":"%s","path":"a.md","content":"text %s","ts":1700000000}\n' "$([ $i = 1 ] && echo create || echo modify)" $i
    done >"$WORK/twenty" && code 0 import "$WORK/twenty" && for i in 1 2 9 10 11 19 20; do code 0 show a.md $i && out "^text $i\$" || return 1; done &&
        code 0 mv a.md b.md && code 0 write b.md --content last && code 0 info b.md && out '^version	22$' && code 0 show b.md 7 && out '^text 7$' && code 0 log b.md && lines 22
}

# ---- rights ----

f_29() {
    new f29 --plain && code 0 write ref.md --content law --type reference && for i in 1 2 3; do code 3 --actor "agent:a$i" write ref.md --content "try $i" || return 1; done
    code 0 violations && lines 3 && for i in 1 2 3; do out "	agent:a$i	.*	ref\.md	.*the user's" || return 1; done
}
w_04() {
    new w04 --plain && mkdir x && code 0 write ref.md --content law --type reference || return 1
    for name in ref.md ./ref.md .//ref.md x/../ref.md "$PWD/ref.md" REF.md Ref.md ref.MD; do
        at --actor agent:owl write "$name" --content crime && return 1
        has ref.md law || return 1
    done
    (cd x && code 3 --actor agent:owl write ../ref.md --content crime) && has ref.md law && [ ! -e REF.md ] && code 0 ls && lines 1
}
w_11() { # every command acts as the one who calls, and asks for his rights
    new w11 --plain && echo x >new.md && code 0 write ref.md --content 'the law' --type reference && code 0 write ref.md --content 'the law, again' || return 1
    AGENT_TRACE_ACTOR=agent:owl
    export AGENT_TRACE_ACTOR
    for words in 'unlock ref.md --for agent:owl' 'reclassify ref.md scratch' 'rm ref.md' 'untrack ref.md' 'mv ref.md mine.md' 'restore ref.md 1' 'add reference new.md' 'replace law crime'; do
        # shellcheck disable=SC2086
        code 3 $words || return 1
    done
    has ref.md 'the law, again' && unset AGENT_TRACE_ACTOR && code 0 ls --json &&
        json "[(d['path'], d['type'], d['version']) for d in j] == [('ref.md', 'reference', 2)]" && code 0 violations --json &&
        json "{e['change_kind'] for e in j} >= {'unlock', 'reclassify', 'delete', 'untrack', 'rename', 'restore', 'create'} and {e['actor'] for e in j} == {'agent:owl'}"
}
w_12() {
    new w12 --plain && echo x >a.md && code 3 --actor agent:owl add reference a.md && code 3 --actor agent:owl add context a.md && code 0 ls && lines 0 &&
        code 0 --actor agent:owl add plan a.md && code 0 git log -1 --format=%an && out '^Agent: owl$'
}
w_13() {
    new w13 --plain && code 0 write ref.md --content law --type reference && code 3 --actor agent:owl write ref.md --content 'the refused bytes' &&
        code 0 violations && lines 1 && out '	agent:owl	modify	reference	kept	ref\.md	' && code 0 violations show "$(cut -f1 "$WORK/out")" && out '^the refused bytes$'
}
w_17() { # the system is bound by the table where it acts for somebody, as in a restore
    new w17 && for type in plan reference; do
        code 0 write $type.md --content one --type $type && code 0 write $type.md --content two && code 3 --actor system write $type.md --content x &&
            code 3 --actor system restore $type.md 1 && code 3 --actor system rm $type.md && code 3 --actor system mv $type.md x.md && has $type.md two || return 1
    done
    grep -q '^- `plan.md`$' AGENT-TRACE.md && code 0 log AGENT-TRACE.md --actor system
}
w_18() { # refused bytes never get into git, also where git has no version of the document
    new w18 --plain && code 0 write ref.md --content law --type reference && code 3 --actor agent:owl write ref.md --content 'crime one' &&
        code 0 untrack ref.md && rm ref.md && code 3 --actor agent:owl write ref.md --content 'crime two' && [ ! -e ref.md ] && code 0 write b.md --content x &&
        code 0 gc && [ -z "$(in_git ls-tree -r --name-only main | grep ref)" ] || return 1
    for text in 'crime one' 'crime two'; do
        ! in_git cat-file -e "$(printf %s "$text" | git hash-object --stdin)" && grep -qrx "$text" .agent-trace/rejected || return 1
    done
    in_git cat-file -e "$(printf law | git hash-object --stdin)"
}
w_91() { # a refusal's commit has the tree of its parent, whatever else was edited
    new w91 --plain && code 0 write ref.md --content law --type reference && code 0 write b.md --content one && echo edited >b.md && echo new >c.md &&
        code 3 --actor agent:owl write ref.md --content crime && [ "$(in_git log -1 --format=%s main)" = '[agent-trace] violation reference: ref.md' ] &&
        [ "$(in_git rev-parse main^{tree})" = "$(in_git rev-parse main~1^{tree})" ]
}
w_56() { # where one document cannot be written none is; and an empty text is in none
    chmod 755 "$WORK" && new w56 --plain && for i in a d/b e; do code 0 write $i.md --content "a word in $i" || return 1; done
    [ "$(id -u)" != 0 ] || chown -R 65534:65534 . || return 1
    known >"$WORK/before" && code 2 replace '' x && chmod 555 d && ! other replace word text && chmod 755 d && known | cmp - "$WORK/before" &&
        has a.md 'a word in a' && has e.md 'a word in e' && other replace word text && has a.md 'a text in a' && has d/b.md 'a text in d/b' && has e.md 'a text in e'
}
w_76() { # a document is a document in whatever folder it lies, and whatever patterns say
    new w76 --plain && printf 'target/\n*.md\n' >.gitignore && printf 'target/\n' >.agent-trace-ignore && code 0 write target/ref.md --content law --type reference &&
        code 3 --actor agent:owl write target/ref.md --content crime && echo edited >target/ref.md && code 0 status && out '^modified *target/ref\.md$' &&
        code 0 diff target/ref.md && out '^+edited$' && code 0 write target/ref.md --content 'law again' && code 0 show target/ref.md 2 && out '^edited$'
}

# ---- several at once, and what is left behind ----

w_20() { # 4 processes write 25 files each, others list meanwhile: nobody fails, nothing is missing anywhere
    new w20 || return 1
    for p in 1 2 3 4; do
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
            "$PROGRAM" --actor "agent:a$p" write "d$p/f$i.md" --content "$p $i" >/dev/null 2>>"$WORK/w20.err" || echo "write $p $i" >>"$WORK/w20.failed"
        done &
    done
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        "$PROGRAM" ls --json >"$WORK/w20.ls" 2>>"$WORK/w20.err" && python3 -m json.tool "$WORK/w20.ls" >/dev/null || echo "ls $i" >>"$WORK/w20.failed"
    done
    wait
    [ ! -e "$WORK/w20.failed" ] || { cat "$WORK/w20.failed" "$WORK/w20.err" && return 1; }
    code 0 ls && lines 100 && code 0 log --actor agent --limit 0 && lines 100 && [ "$(in_git ls-tree -r --name-only main | grep -c '^d./f')" = 100 ] &&
        [ "$(in_git show main:d3/f17.md)" = '3 17' ] && [ "$(grep -c '^- `d./f' AGENT-TRACE.md)" = 100 ]
}
w_85() { # what a dead process left locked is no reason to fail
    new w85 --plain && code 0 write a.md --content 1 && touch -d '1 hour ago' .agent-trace/git/refs/heads/main.lock .agent-trace/git/index.lock \
        .agent-trace/git/HEAD.lock .agent-trace/git/packed-refs.lock && for i in 2 3 4 5; do code 0 write a.md --content $i || return 1; done &&
        [ "$(in_git show main:a.md)" = 5 ] && [ "$(in_git rev-list --count main)" = 5 ]
}
w_86() {
    new w86 && for i in 1 2 3 4 5; do code 0 write "d/$i.md" --content "$i" || return 1; done
    for part in git state tmp git/refs/heads/main git/objects/pack unpublished; do
        rm -rf ".agent-trace/$part" && code 0 write "after-$(basename "$part").md" --content x && code 0 git log -1 &&
            [ "$(in_git ls-tree -r --name-only main | grep -c '^d/[1-5]\.md$')" = 5 ] || { echo "after the loss of $part" && return 1; }
    done
    code 0 ls && lines 11 && in_git fsck --strict
}

if [ "$(id -u)" = 0 ]; then
    chmod 755 "$WORK" && cp "$PROGRAM" "$WORK/program" && chmod 755 "$WORK/program"
    can_be_other=$(command -v setpriv || true)
else
    can_be_other=yes
fi
as_other() { # NAME COMMAND: a case that needs a user who may not do everything
    if [ -n "$can_be_other" ]; then case_ "$@"; else skip "$1" 'root may do everything, and there is no setpriv'; fi
}

case_ 'init makes the store, closed to others, and nothing else' f_01
case_ 'init leaves .gitignore as it is' f_03
case_ 'what patterns leave out is taken by nobody but who asks for it by name' f_06
case_ 'nobody else can read what the store keeps' w_62
case_ 'a config.toml that leaves keys out is read' w_71
case_ 'init after a command without a store, and in a folder that was open' w_79
as_other 'an init that fails leaves nothing, and the next one makes a store beside .git' w_83
case_ 'files of the names that are generated are kept' w_88
case_ 'add names its author and is in the index' f_07
case_ 'what cannot be added changes nothing' f_08
case_ 'ls has the names of 0.1.0, and filters by type' f_09
case_ 'info tells type, id, versions, times and authors' f_10
case_ 'rm is in list, index and git' f_14
case_ 'stdin and --content make the same blob' f_33
case_ 'an agent that writes a new document is named as its maker' f_34
case_ 'no command leaves an instance.lock or minds one' f_71
case_ 'five megabytes are added and shown' f_73
case_ 'names with blanks, hyphens and of other scripts' f_74
as_other 'what cannot be read or written is an error, and stays listed' f_77
case_ 'a link in the place of a document leads nothing out' w_06
case_ 'no name is a pattern' w_50
case_ 'bytes and names that are no text' w_51
case_ 'user, agent and system are three authors to git' f_17
case_ 'each filter of log has exactly its rows' f_18
case_ 'the limit of log counts what the filters leave' w_47
case_ 'diff compares with the file, and events count lines' w_31
case_ 'status tells edited, deleted, renamed and new files apart' f_25
case_ 'nothing in .agent-trace is taken for a copy of a document' w_77
case_ 'no text can say that somebody else acted' w_48
case_ 'version n is the n-th, also within a second and after a rename' w_68
case_ 'three refusals are three rows' f_29
case_ 'other spellings of a protected document are protected' w_04
case_ 'an agent is refused by every command what it may not do' w_11
case_ 'an agent adds what it may write, as itself' w_12
case_ 'a refusal is listed, and its bytes can be read' w_13
case_ 'the system is refused plans and references by every command' w_17
case_ 'refused bytes are in rejected/ and never in git' w_18
case_ 'the commit of a refusal changes no file' w_91
as_other 'replace is all or nothing' w_56
case_ 'documents in ignored folders are documents' w_76
case_ 'a hundred files by four processes are all there' w_20
case_ 'locks of git that the dead left' w_85
case_ 'what can be made again is made again, and no document is lost to git' w_86
kit_end
