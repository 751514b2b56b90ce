#!/bin/sh
# What the program does where somebody moved documents already, by hand or with git, and with a folder
# whose move was cut short: it is judged as a whole, followed, and finished by the same command.
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR COLUMNS
out() { grep -q -- "$1" "$WORK/out" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
out_not() { ! out "$1" >"$WORK/not"; }
err() { grep -q -- "$1" "$WORK/err" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
has() { [ "$(cat "$1")" = "$2" ] || { echo "$1 is $(cat "$1")"; return 1; }; }
events() { grep -c . .agent-trace/trace/*.jsonl; }
names() { code 0 ls "$@" && tr '\n' ' ' <"$WORK/out" | grep -o '[a-z/]*[a-z]\.md' | tr '\n' ' '; }
store() { mkdir -p "$WORK/$1" && cd "$WORK/$1" && code 0 init --plain; }
w() { # NAME TYPE TEXT [OPTION]
    code 0 write "$1" --type "$2" --content "$3" ${4-}
}
stops() { # CODE MESSAGE ARGS... : and nothing is recorded or moved
    stops_code=$1 stops_text=$2 stops_before="$(events) $(find . -name '*.md' | sort | xargs cksum)"
    shift 2
    code "$stops_code" "$@" && err "$stops_text" && [ "$(events) $(find . -name '*.md' | sort | xargs cksum)" = "$stops_before" ]
}

one_document() {
    store one && w docs/b.md reference b && mv docs papers && code 0 status && out '^renamed *docs/b\.md -> papers/b\.md$' &&
        code 4 info papers/b.md && err 'it is docs/b.md, moved outside, and .agent-trace mv. with both paths' && code 0 status &&
        out '^ *agent-trace mv docs/b\.md papers/b\.md$' && stops 4 'the file of docs/b.md is gone; restore it first, or say where' mv docs/b.md x.md &&
        code 0 mv docs/b.md papers/b.md && out 'docs/b.md -> papers/b.md: version 2' && has papers/b.md b && [ ! -e docs ] &&
        code 3 --actor agent:x write papers/b.md --content hack && has papers/b.md b && code 0 status && out_not '^renamed' &&
        mv papers/b.md "papers/it's b.md" && code 0 status &&
        out "agent-trace mv papers/b.md 'papers/it'.''s b.md'" && code 0 mv papers/b.md "papers/it's b.md"
}
a_folder() {
    store folder && w docs/a.md plan a && w docs/b.md reference b && w docs/in/c.md scratch c && mv docs papers && code 0 status &&
        out '^ *agent-trace mv docs papers$' && [ "$(grep -c 'agent-trace mv' "$WORK/out")" = 1 ] && before=$(events) &&
        code 0 mv docs papers && [ "$(events)" = $((before + 3)) ] && [ ! -e docs ] && [ "$(names)" = 'papers/a.md papers/b.md papers/in/c.md ' ] &&
        code 3 --actor agent:x write papers/b.md --content hack && code 0 show papers/b.md 1 && out '^b$' &&
        mkdir there && mv papers there/papers && code 0 mv papers there && [ "$(names)" = 'there/papers/a.md there/papers/b.md there/papers/in/c.md ' ] &&
        code 0 status && out_not '^renamed\|^deleted'
}
some_of_a_folder() { # not the folder: one command for each
    store some && w d/a.md scratch a && w d/b.md scratch b && w d/c.md scratch c && mkdir e && mv d/a.md d/b.md e && code 0 status &&
        out '^ *agent-trace mv d/a.md e/a.md$' && out '^ *agent-trace mv d/b.md e/b.md$' && out_not 'mv d e$' &&
        code 0 mv d/a.md e && code 0 mv d/b.md e/ && [ "$(names)" = 'd/c.md e/a.md e/b.md ' ]
}
is_judged_first() {
    store judged && w d/a.md scratch a && w d/b.md scratch b && w d/c.md scratch c && rm d/b.md &&
        stops 4 'the file of d/b.md is gone, and not at e/b.md; restore or delete it first; nothing was moved' mv d e && [ ! -e e ] &&
        mkdir e && echo other >e/b.md && stops 4 'not at e/d/b.md' mv d e &&
        rm -rf e && code 0 restore d/b.md && echo x >f && mkdir -p g/d && echo other >g/d/c.md &&
        stops 5 'a file g/d/c.md is there, and is no document; move it away first; nothing was moved' mv d g &&
        w h/c.md scratch h && rm d/c.md && stops 4 'the file of d/c.md is gone' mv d h && code 0 restore d/c.md &&
        stops 2 'cannot be moved into itself' mv d d/in && stops 2 'cannot be moved into itself' mv d d &&
        mv d z && echo more >>z/c.md && stops 4 'the file of d/a.md is gone, and not at z/d' mv d z/ &&
        stops 5 'the file of d/c.md is gone, and the one at z/c.md has other bytes' mv d z &&
        mkdir d && mv z/c.md d/c.md && code 0 mv d z && err 'had edited the file' && [ "$(names)" = 'h/c.md z/a.md z/b.md z/c.md ' ]
}
says_what_stays() {
    store stays && w d/a.md scratch a && echo x >d/more.txt && echo KEY >d/.env && code 0 mv d e && err '2 files that are no documents stay in d' &&
        [ -e d/more.txt ] && w d/b.md scratch b && rm d/.env && code 0 mv d f && err '1 file that is no document stays in d' &&
        code 0 help mv && out 'no documents stay' && w c/a.md scratch a && code 0 mv c k && ! err 'stay' >"$WORK/not"
}
# What a kill leaves between two documents, made by hand: the very event that the command records.
is_finished() {
    store half && w d/a.md scratch a && w d/b.md scratch b && w d/c.md scratch c && code 0 mv d/a.md e/a.md --summary 'd/ -> e/: a.md' &&
        code 0 write d/b.md --content later && code 0 mv d e && [ "$(names)" = 'e/a.md e/b.md e/c.md ' ] && has e/b.md later &&
        code 0 log e/c.md && w d/n.md scratch n && code 0 mv d e && [ "$(names)" = 'e/a.md e/b.md e/c.md e/d/n.md ' ] &&
        w p/a.md scratch a && w p/b.md scratch b && code 0 mv p/a.md q/a.md && code 0 mv p q && [ -e q/p/b.md ] # moved alone: no half folder
}
is_finished_after_a_kill() {
    store killed && partial=0 round=0 && mkdir from || return 1
    while [ "$partial" = 0 ] && [ "$round" -lt 10 ]; do
        round=$((round + 1))
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo "$round $i" >"from/$i.md"; done
        code 0 init --scan || return 1
        "$PROGRAM" mv from "to$round" >"$WORK/mv" 2>&1 &
        pid=$!
        while [ ! -e "to$round" ] && kill -0 "$pid" 2>"$WORK/not"; do :; done
        kill -9 "$pid" 2>"$WORK/not"
        wait "$pid"
        left=$(find from -name '*.md' | wc -l)
        [ "$left" -gt 0 ] && [ "$left" -lt 20 ] && partial=1
        [ "$left" = 0 ] || code 0 mv from "to$round" || return 1
        [ "$(find "to$round" -name '*.md' | wc -l)" = 20 ] && [ "$(find from -name '*.md' | wc -l)" = 0 ] && has "to$round/7.md" "$round 7" &&
            code 0 status && out_not '^deleted\|^renamed\|^modified' && code 0 log "to$round/20.md" && out rename || return 1
    done
    [ "$partial" = 1 ] || { echo "no kill in $round came in the middle"; return 1; }
}
# A shell's completion puts a slash behind a folder's name: it says what it says to mv(1).
slashes() {
    store slashes && w docs/plan.md plan p && w docs/in/a.md scratch a && code 0 mv docs/ papers && [ "$(names)" = 'papers/in/a.md papers/plan.md ' ] &&
        rmdir docs/in docs && code 0 mv papers// ./docs && [ "$(names)" = 'docs/in/a.md docs/plan.md ' ] && mkdir r && code 0 mv docs/ r && [ "$(names)" = 'r/docs/in/a.md r/docs/plan.md ' ] &&
        code 0 mv r/docs/ ./ && code 0 mv docs new/ && [ "$(names)" = 'new/in/a.md new/plan.md ' ] && code 0 mv new/in/ r/ && [ "$(names)" = 'new/plan.md r/in/a.md ' ] &&
        code 0 mv r/in q/ && code 0 mv new/ q/ && [ "$(names)" = 'q/a.md q/new/plan.md ' ] && code 0 mv q/a.md q/new/ && code 0 mv q/new/a.md s/ &&
        [ "$(names)" = 'q/new/plan.md s/a.md ' ] && mkdir empty && stops 4 '^agent-trace: empty: no such document' mv empty/ r && [ -z "$(find r -type f)" ] &&
        stops 2 's cannot be moved into itself' mv s/ s/ && stops 2 's cannot be moved into itself' mv s// s && stops 2 'is the folder of the store' mv ./ r &&
        stops 2 's/a.md is a document and no folder; leave out the slash' mv s/a.md/ r && (cd q && code 0 mv new/ ../s/) && [ "$(names)" = 's/a.md s/new/plan.md ' ]
}
slashes_elsewhere() { # a folder where one is meant, no document where one is
    store elsewhere && w d/a.md scratch word && for command in ls log; do code 0 $command d/ && out 'd/a\.md' || return 1; done
    for command in rm untrack add show info restore diff; do stops 2 'the path "d/" names a folder; name a file in it' $command d/ || return 1; done
    code 0 replace word text d/ --yes && has d/a.md text
}
# Whatever one document is refused for, no other has moved; and a refusal is recorded.
all_or_none() {
    store places && for n in a b c; do code 0 --actor agent:a write docs/$n.md --content $n || return 1; done
    w papers/b.md reference r && code 0 rm papers/b.md && rm -rf papers && before=$(events) && code 3 --actor agent:a mv docs papers &&
        err 'denied: .*docs/b.md.*place of a deleted.*recorded as event' && ! err 'had moved' >"$WORK/not" && [ "$(names)" = 'docs/a.md docs/b.md docs/c.md ' ] &&
        [ "$(events)" = $((before + 1)) ] && [ ! -e papers ] && code 0 mv docs papers && [ "$(names)" = 'papers/a.md papers/b.md papers/c.md ' ] || return 1
    store confirmed && w x/m.md context m --yes && code 0 rm x/m.md --yes && rm -rf x && w y/a.md plan a && w y/m.md plan m || return 1
    stops 3 'y/m.md: it is the place of a deleted.*; nothing was moved, repeat with --yes' mv y x && code 0 mv y x --yes && [ "$(names)" = 'x/a.md x/m.md ' ]
}
is_no_version() {
    store version && w e/a.md scratch a && w e/b.md scratch b && code 0 write e/b.md --content more &&
        stops 2 'e is a folder, and --expect is about one document' mv --expect 1 e f && code 0 mv --expect 2 e/b.md f/b.md
}
clashes_first() {
    store clash && w k/b/c.md scratch c && rm -r k/b && w j/a.md scratch a && w j/b scratch b && rm -rf k &&
        stops 2 'k/b is a folder of documents.*; nothing was moved' mv j k && w l/b.md scratch l && w m/b.md/x.md scratch x && w m/a.md scratch a && mkdir -p n &&
        w n/m/b.md scratch n && stops 2 'n/m/b.md stands where a folder is needed.*; nothing was moved' mv m n && w o/a.md scratch a &&
        w o/in/b.md scratch b && mkdir p && mkdir p/o && echo file >p/o/in && stops 2 'p/o/in/b.md: .*; nothing was moved' mv o/ p/ &&
        w u/a.md scratch a && w u/B.md scratch b && w v/u/b.md scratch b && stops 2 'v/u/B.md differs only in upper and lower case.*; nothing was moved' mv u v
}
added() { # what was moved is no new document, unless a type is said
    store added && w docs/b.md reference b && w gone.md plan other && w docs/empty.md plan '' && mv docs/b.md c.md && mv docs/empty.md e.md &&
        stops 5 "c.md is docs/b.md, moved outside; 'agent-trace mv' with both paths keeps its type and versions, a type in front of the path makes" add c.md &&
        stops 5 "c.md is docs/b.md, moved outside.*--type makes" --actor agent:x write c.md --content hack && cp c.md bad:name.md && stops 2 'bad:name.md' add bad:name.md && rm bad:name.md &&
        cp c.md "it's.md" && stops 5 "'it'.''s.md' is docs/b.md" add "it's.md" && rm "it's.md" && ! at add c.md --json && grep -q AGT_CONFLICT "$WORK/out" &&
        mv gone.md f.md && echo new >n.md && code 0 init --scan && out '2 files that are documents, moved outside' && out 'took in 2 documents' &&
        code 0 ls && out 'n\.md' && out 'e\.md' && code 0 status && out '^renamed *docs/b\.md -> c\.md' && out '^ *gone\.md -> f\.md' &&
        code 0 mv docs/b.md c.md && code 3 --actor agent:x write c.md --content hack && code 0 add scratch f.md && has f.md other &&
        echo more >g.md && rm f.md && code 0 restore f.md && code 0 add g.md
}
case_ 'what was moved by hand is not taken for a new document' added
case_ 'a document that was moved by hand is followed, and status says how' one_document
case_ 'a slash behind a name says that a folder is meant, and no more' slashes
case_ 'so it does to the other commands' slashes_elsewhere
case_ 'a place that is not free for one document keeps the whole folder' all_or_none
case_ 'a folder has no version to expect' is_no_version
case_ 'what stands in the way of one document keeps the whole folder' clashes_first
case_ 'a folder that was moved by hand is followed by one command' a_folder
case_ 'documents that left a folder are followed one by one' some_of_a_folder
case_ 'a folder is judged as a whole before its first document moves' is_judged_first
case_ 'what is no document stays, and that is said' says_what_stays
case_ 'a move that was cut short is finished by the same command' is_finished
case_ 'the same after a real kill' is_finished_after_a_kill
kit_end
