#!/bin/sh
# What the program does with documents beside writing them: add, mv, untrack, reclassify, unlock,
# violations, info, replace.
. tests/kit.sh
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH
cd "$WORK" && mkdir store && cd store || exit 2
out() { grep -q -- "$1" "$WORK/out" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
err() { grep -q -- "$1" "$WORK/err" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
has() { [ "$(cat "$1")" = "$2" ]; }
seq_now() { "$PROGRAM" status --json | sed -n 's/.*"last_seq":\([0-9]*\).*/\1/p'; }
silent() { # ARGS... : fails, and changes nothing
    silent_before=$(find . -type f -not -name state | sort | xargs cksum)
    at "$@" && return 1
    [ "$(find . -type f -not -name state | sort | xargs cksum)" = "$silent_before" ]
}
at init --plain

adds() { echo text >api.md && code 0 add reference api.md && out 'api.md: version 1' && code 0 ls && out 'reference.*api.md'; }
adds_badly() {
    code 4 add plan none.md && code 5 add plan api.md && code 2 add nonsense api.md && err 'is no type' &&
        code 4 add plan && code 3 --actor agent:owl add reference api2.md; [ ! -e api2.md ]
}
moves() {
    code 0 write a.md --content one --type plan && code 0 mv a.md b.md && out 'a.md -> b.md: version 2' && has b.md one &&
        [ ! -e a.md ] && mkdir -p dir && code 0 mv b.md dir && has dir/b.md one && code 0 log dir/b.md && out 'rename' &&
        code 0 show dir/b.md 1 && out '^one$' && code 0 mv dir other/deep && has other/deep/b.md one &&
        code 0 mv other/deep/b.md new/ && has new/b.md one
}
moves_badly() {
    echo mine >there.md && silent mv new/b.md there.md && err 'no document' && silent mv new/b.md api.md && silent mv none.md x.md &&
        silent mv new/b.md ../x.md && silent mv new/b.md .agent-trace/x && has there.md mine
}
untracks() { echo y >y.md && at add y.md && code 0 ls && out 'scratch.*y.md' && echo x >u.md && at add scratch u.md && code 0 untrack u.md && has u.md x && code 0 ls && ! grep -q 'u\.md' "$WORK/out" && code 4 untrack u.md; }
reclassifies() {
    code 0 write r.md --content one --type plan && code 0 --actor agent:owl write r.md --content two && code 0 reclassify r.md reference &&
        code 3 --actor agent:owl write r.md --content three && code 3 --actor agent:owl reclassify r.md scratch &&
        code 3 reclassify r.md log && err 'repeat with --yes' && code 0 reclassify r.md log --yes && err "are the system's" &&
        code 0 reclassify r.md scratch --yes && code 0 reclassify r.md scratch && out 'already'
}
unlocks() {
    code 3 --actor agent:owl write api.md --content no && code 0 unlock api.md --for agent:owl --duration 1s &&
        code 0 --actor agent:owl write api.md --content yes && code 3 --actor agent:heron write api.md --content no &&
        code 3 --actor agent:owl unlock api.md --for agent:owl && sleep 1.1 &&
        code 3 --actor agent:owl write api.md --content late && code 0 unlock api.md --for agent && code 0 mv api.md api2.md &&
        code 0 --actor agent:heron write api2.md --content moved && code 0 unlock api2.md --for agent --revoke &&
        code 3 --actor agent:heron write api2.md --content again && code 4 unlock api2.md --for agent --revoke
}
unlocks_badly() {
    for bad in 'owl' 'agent:' 'agent:a/b' 'root' ''; do
        silent unlock api2.md --for "$bad" || return
    done
    for bad in 0 8d 1x x -1 99999999999999; do
        silent unlock api2.md --for agent --duration "$bad" || return
    done
    silent unlock api2.md && silent unlock none.md --for agent
}
reviews() {
    code 0 violations && out 'agent:heron.*modify.*reference.*kept.*api2.md' && n=$(head -n 1 "$WORK/out" | cut -f1) &&
        code 0 violations show "$n" && out '^again$' && code 0 violations show "$n" --diff && out '^-moved' && out '^+again' &&
        code 0 violations --json && out '"action":"violation"' && code 0 violations --actor agent:nobody && out 'nothing was refused' &&
        code 4 violations show 1 && code 4 violations show 99999 && code 2 violations show x && code 2 violations nonsense
}
informs() {
    code 0 unlock api2.md --for agent:owl && code 0 info api2.md && out 'reference' && out 'agent:owl until' && out 'agents no' &&
        code 0 info api2.md --json && out '"unlocked":\[{"actor":"agent:owl"' && out '"created_by":"user"' && code 4 info none.md
}
replaces() {
    code 0 write p1.md --content 'colour colours' --type plan && code 0 write p2.md --content 'the colour' --type plan &&
        code 0 write p3.md --content 'a colour' && code 0 write p4.md --content 'colour' --type plan && before=$(seq_now) &&
        code 0 replace colour color --type plan --dry-run && out '+color color' && out 'nothing was changed' && [ "$(seq_now)" = "$before" ] &&
        code 0 replace colour color --type plan --word && has p1.md 'color colours' && has p2.md 'the color' && has p3.md 'a colour' &&
        [ "$(seq_now)" = $((before + 3)) ] && code 0 git log -1 --format=%B && [ "$(grep -c '^file:' "$WORK/out")" = 3 ] &&
        code 0 replace --regex '^(the) (color)$' '\2, \1 \\' p2.md && has p2.md 'color, the \'
}
regex_is() { # BEFORE AFTER FIND WITH
    printf "$1" >rx.md && code 0 replace --regex "$3" "$4" rx.md --yes && printf "$2" | cmp - rx.md
}
replaces_by_lines() { # a pattern sees characters of one line, without what ends it
    printf 'x' >rx.md && code 0 add rx.md &&
        regex_is 'à propos: élève\n' 'à propos: Xlève\n' '[é]' X && regex_is 'café\n' 'X\n' 'caf.' X &&
        regex_is '# Title  \n\ntext \n\n\nend\n' '# Title\n\ntext\n\n\nend\n' '[[:space:]]+$' '' &&
        regex_is 'a b\nc  d\n' 'a_b\nc_d\n' '[[:space:]]+' _ && regex_is 'one\r\ntwo' 'X\r\ntwo' 'one$' X &&
        regex_is 'one\r\ntwo\r\nthree\r\n' 'one\r\nX\r\nX\r\n' 't.*' X && regex_is 'foooo oo\nfo' 'Xoooo Xo\nXo' '\<[fo]' X &&
        regex_is 'aa\naa' 'ba\nba' '^a' b && regex_is 'x1 x2\n\n' '1y 2y\n\n' 'x([0-9])' '\1y' &&
        code 0 replace --regex 'a[[:space:]]b' Z rx.md && out 'no matches' && code 2 replace X "$(printf '\377')" rx.md && err 'must be UTF-8' && code 0 rm rx.md
}
replaces_only_what_may_be() {
    code 0 write ref.md --content 'word here' --type reference && code 0 write mine.md --content 'word there' &&
        printf 'word\0' >bin.md && code 0 add scratch bin.md && code 0 write context.md --content 'word' --yes &&
        code 3 --actor agent:owl replace word text && err 'may not modify ref.md' && err 'no text' && has ref.md 'word here' &&
        has mine.md 'text there' && code 0 replace word text && err 'context or log' && has context.md word && has ref.md 'text here' &&
        code 0 replace word text --yes && has context.md text
}
replaces_badly() {
    silent replace '' x && silent replace --regex '(' x && silent replace --regex 'x*' y && code 2 replace only && code 2 replace a b c d
}
a_stale_replace() { # nothing of a batch is made if one document changed
    code 0 replace nowhere x && out 'no matches'
}
replaces_too_many() { # a dry run says what the real one would
    mkdir "$WORK/many" && cd "$WORK/many" && mkdir d && for i in $(seq 1025); do echo word >"d/$i.md"; done &&
        code 0 init --plain --scan && out 'took in 1025 documents' && before=$(seq_now) || return 1
    for how in --dry-run --yes '--dry-run --json' '--yes --json'; do
        # shellcheck disable=SC2086 # words
        code 2 replace word text $how && err '^agent-trace: 1025 documents have matches, and at most 1024 can be changed as one' || return 1
        grep -q 'nothing was changed' "$WORK/out" && return 1
    done
    [ "$(seq_now)" = "$before" ] && code 0 write d/1.md --content other && code 0 replace word text --dry-run && out '^1024 matches in 1024' &&
        code 0 replace word text --yes && [ "$(seq_now)" = $((before + 1025)) ] && has d/1024.md text
}
no_more_files() { # whichever open it is that fails, it is said in words, and what is refused changed nothing
    mkdir "$WORK/limit" && cd "$WORK/limit" && code 0 init --plain && code 0 write a.md --content 0 || return 1
    for n in $(seq 4 40); do
        rc=0
        (ulimit -n "$n" && exec "$PROGRAM" write a.md --content "$n") >"$WORK/out" 2>"$WORK/err" </dev/null || rc=$?
        ! grep -i 'system code\|no agent-trace store' "$WORK/err" || return 1
        if [ "$rc" = 0 ]; then has a.md "$n" && took=$n && break; fi
        [ "$rc" = 1 ] && err "too many files are open.*ulimit -n" && has a.md 0 && refused=$n || return 1
    done
    [ "${refused-0}" -gt 6 ] && [ "${took-0}" -gt "$refused" ]
}
case_ 'a file is added' adds
case_ 'what cannot be added' adds_badly
case_ 'documents and folders are moved' moves
case_ 'what cannot be moved' moves_badly
case_ 'a file is untracked and stays' untracks
case_ 'another type, another protection' reclassifies
case_ 'a grant, its end, and a move' unlocks
case_ 'what no grant can be' unlocks_badly
case_ 'what was refused can be looked at' reviews
case_ 'all that is known of a document' informs
case_ 'words are replaced in several documents at once' replaces
case_ 'a pattern of replace sees the characters of one line' replaces_by_lines
case_ 'what may not be replaced is left alone' replaces_only_what_may_be
case_ 'what cannot be replaced' replaces_badly
case_ 'nothing to replace' a_stale_replace
case_ 'more than can be replaced at once' replaces_too_many
case_ 'too many open files are told in words' no_more_files
kit_end
