#!/bin/sh
# Where a store may be made, by whom, and what is told where one was: a store that is gone, a store
# above, what lies in the place of AGENT-TRACE.md. Nothing is made before it is known that all can be.
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
HOME=$WORK GIT_CONFIG_NOSYSTEM=1
export HOME GIT_CONFIG_NOSYSTEM
err() { grep -q -- "$1" "$WORK/err" || { cat "$WORK/out" "$WORK/err"; return 1; }; }
quiet() { [ ! -s "$WORK/err" ] || { cat "$WORK/err"; return 1; }; }
folder() { mkdir -p "$WORK/$1" && cd "$WORK/$1"; }
untouched() { # ARGS... : exit 3, and the folder stays as it is
    find . | LC_ALL=C sort >"$WORK/before"
    code 3 "$@" || return
    find . | LC_ALL=C sort | cmp - "$WORK/before"
}

# ---- a store that is gone ----

gone_in_git() { # init makes AGENT-TRACE.md, which git does not know: it goes, too
    folder "$1" && git init -q . && code 0 init && code 0 write s.md --type reference --content s &&
        mkdir sub && git clean -fdxq && [ -z "$(ls)" ] && mkdir sub || return 1
    for at in . sub; do
        (cd $at && code 4 status && err "git clean -x.*backup.*agent-trace init") || return 1
    done
}
gone_in_a_worktree() {
    folder wt && git init -q a && git -C a -c user.name=n -c user.email=n@e commit -q --allow-empty -m x &&
        git -C a worktree add -q ../b && cd b && [ -f .git ] && code 0 init && git clean -fdxq && code 4 ls && err 'git clean -x'
}
no_git() {
    folder plain && code 4 status && err "no agent-trace store here or in any folder above; make one with 'agent-trace init'" &&
        ! err 'git clean' >/dev/null
}
if git --version >/dev/null 2>&1; then
    case_ 'in a git work tree it is said that git clean may have removed a store' gone_in_git git
    case_ 'in a linked work tree as well' gone_in_a_worktree
else
    skip 'in a git work tree it is said that git clean may have removed a store' 'git is not installed'
fi
case_ 'elsewhere git is not spoken of' no_git
a_link_is_no_store() {
    folder linked && code 0 -C "$WORK/plain" init && ln -s "$WORK/plain/.agent-trace" .agent-trace && mkdir sub &&
        code 4 status && err "$WORK/linked/.agent-trace is no folder but a link" && (cd sub && code 4 log && err linked/.agent-trace)
}
case_ 'a .agent-trace that is a link is told' a_link_is_no_store

left() { # its index was committed, or copied without hidden files
    folder "$1" && code 0 init && code 0 write style.md --type reference --content s && rm -rf .agent-trace
}
a_user_begins_anew() {
    left anew && code 0 init && err 'note: .*AGENT-TRACE.md.*store before.*backup' && code 0 init && quiet &&
        folder own && printf '# mine\n' >AGENT-TRACE.md && code 0 init && quiet
}
an_agent_does_not() {
    left agent && untouched --actor agent:x init && err 'agent:x may not make a store.*AGENT-TRACE.md.*backup' &&
        AGENT_TRACE_ACTOR=agent:x untouched init --plain && mkdir sub && untouched --actor agent:x init sub &&
        untouched --actor agent:x init new/er && cd sub && untouched --actor agent:x init && code 0 init && cd .. &&
        folder clean && code 0 --actor agent:x init && quiet && code 0 --actor agent:x write a.md --content x
}
case_ 'a user who begins anew beside an old AGENT-TRACE.md is told' a_user_begins_anew
case_ 'an agent is refused there' an_agent_does_not

# ---- a store above ----

beneath() {
    folder outer && code 0 init && mkdir docs other && code 0 write docs/api.md --type reference --content api &&
        ln -s outer/docs ../link || return 1
    for at in docs docs/new/er ../link ./other/; do
        untouched --actor agent:a init $at && err "may not make a store in $at.*lies in the store $WORK/outer" || return 1
    done
    AGENT_TRACE_ACTOR=agent:a && export AGENT_TRACE_ACTOR
    untouched init docs && (cd docs && untouched init --plain && code 3 write api.md --content hacked) && untouched init docs --scan &&
        [ "$(cat docs/api.md)" = api ] && code 0 init && unset AGENT_TRACE_ACTOR &&
        code 0 init docs && err "note: .*lies in the folder of another store, $WORK/outer" &&
        code 0 --actor agent:a init docs && code 0 --actor agent:a -C docs write b.md --content b
}
case_ 'an agent makes no store beneath another one; the user may' beneath
above_is_damaged() { # whether it is one cannot be told: no right is widened
    folder damaged && code 0 init && mkdir in && rm .agent-trace/config.toml && code 1 --actor agent:a init in && err 'config.toml' && [ ! -e in/.agent-trace ]
}
case_ 'nor where the one above is damaged' above_is_damaged

# ---- a store above that is not meant ----

not_meant() { # TEXT ARGS... : the store of the folder above is not used, nor changed
    not_meant_text=$1
    shift
    "$PROGRAM" -C "$WORK/$TOP" trace >"$WORK/events"
    code 4 "$@" && err "$not_meant_text" && err "on purpose with '-C $WORK/$TOP'" || return 1
    [ ! -s "$WORK/out" ] && "$PROGRAM" -C "$WORK/$TOP" trace | cmp - "$WORK/events"
}
cleaned_below() { # its index came back with the commit, or was left
    TOP=around && folder around && code 0 init && mkdir -p proj/sub && cd proj && code 0 init &&
        code 0 write style.md --type reference --content r && rm -rf .agent-trace && seen=0 || return 1
    gone="no agent-trace store in $WORK/around/proj, but its AGENT-TRACE.md.*git clean -x.*backup.*agent-trace init"
    for at in . sub; do
        for command in status ls 'log style.md' 'write style.md --content evil' doctor repair 'lock try' 'git log' gc trace \
            'rm style.md' 'violations' 'replace r x' 'import /dev/null'; do
            # shellcheck disable=SC2086 # words
            (cd $at && not_meant "$gone" --actor agent:a $command) || { echo "$command"; return 1; }
            seen=$((seen + 1))
        done
    done
    [ $seen = 28 ] && [ "$(cat style.md)" = r ] && code 4 ls --json && grep -q '"status":"AGT_NOT_FOUND"' "$WORK/out" &&
        code 0 -C "$WORK/around" write proj/own.md --content x && not_meant "$gone" ls &&
        code 3 --actor agent:a init && code 0 init && code 0 ls
}
its_own_document() { # what begins like an index, but is the store's document or says something else
    folder copy && code 0 init && mkdir -p a/b c && cp AGENT-TRACE.md a/ && (cd a/b && code 4 ls) && code 0 add scratch a/AGENT-TRACE.md &&
        (cd a/b && code 0 ls && code 0 write x.md --content x) && echo '# Other' >c/AGENT-TRACE.md && (cd c && code 0 ls)
}
linked_below() { # its files are other copies of what are documents in the store
    TOP=linked_top && folder linked_top && git init -q . && code 0 init && code 0 write style.md --type reference --content s &&
        git add style.md && git -c user.name=n -c user.email=n@e commit -qm x && git worktree add -q .worktrees/feat 2>/dev/null &&
        mkdir .worktrees/feat/sub docs || return 1
    for at in .worktrees/feat .worktrees/feat/sub; do
        (cd $at && not_meant "$WORK/linked_top/.worktrees/feat is a work tree of its own" --actor agent:x write style.md --content evil &&
            not_meant 'agent-trace init' status) || return 1
    done
    printf 'gitdir: ../../.git/worktrees/feat\n' >.worktrees/feat/.git && (cd .worktrees/feat && code 4 ls) || return 1
    (cd docs && code 0 ls) && (cd .worktrees/feat && code 0 init && code 0 ls) || return 1
    # a work tree of another repository is an ordinary folder of the store, and so is a submodule
    folder other && code 0 init && git init -q r && git -C r -c user.name=n -c user.email=n@e commit -q --allow-empty -m x &&
        git -C r worktree add -q ../tree 2>/dev/null && [ -f tree/.git ] && (cd tree && code 0 ls) &&
        mkdir sub && git init -q . && git init -q .git/modules/sub && echo 'gitdir: ../.git/modules/sub' >sub/.git && (cd sub && code 0 ls)
}
case_ 'where a store was removed the one above is not taken for it' cleaned_below
case_ 'an AGENT-TRACE.md that is a document, or none of ours, says nothing' its_own_document
if git --version >/dev/null 2>&1; then
    case_ 'nor is it in a linked work tree of the repository around the store' linked_below
else
    skip 'nor is it in a linked work tree of the repository around the store' 'git is not installed'
fi

# ---- git's own folders ----

in_git() { # nobody, by whatever name, and nothing is made
    folder repo && mkdir -p .git/hooks sub && ln -s .git link && ln -s ../.git/hooks sub/hooks && seen=0 || return 1
    for at in .git .git/hooks .git/new/er link link/new sub/hooks .GIT/new "$WORK/repo/.git"; do
        find . | LC_ALL=C sort >"$WORK/before"
        code 2 init "$at" && err "no store is made in $at: .*a .git.*another folder" && code 2 --actor agent:x init "$at" --plain &&
            code 2 init "$at" --scan && find . | LC_ALL=C sort | cmp - "$WORK/before" || return 1
        seen=$((seen + 1))
    done
    [ $seen = 8 ] && (cd .git && code 2 init && cd hooks && code 2 init) && code 0 --actor agent:x init && folder .github && code 0 init
}
bare() { # config and hooks would be documents
    folder bare.git && mkdir -p objects refs hooks && echo 'ref: refs/heads/main' >HEAD || return 1
    for at in . hooks new/er ../bare.git; do
        untouched --actor agent:x init $at && err "may not make a store in $at: $WORK/bare.git is a git repository.*ask the user" || return 1
    done
    AGENT_TRACE_ACTOR=agent:x untouched init && rm HEAD && code 0 --actor agent:x init hooks && echo x >HEAD && code 0 init
}
case_ 'no store is made in a .git' in_git
case_ 'an agent makes none in a bare repository' bare

# ---- what --scan may not take ----

scans_what_it_may_not() { # N: each refusal is an event, and the same one a second time is not
    folder "scan$1" && mkdir h && for i in $(seq "$1"); do echo "$i" >"h/$i.md"; done && echo n >n.md && code 0 init --plain || return 1
    code 3 --actor agent:a init --scan --type 'h/*.md=reference' && grep -q "^  $1 files that were refused$" "$WORK/out" &&
        grep -q '^took in 1 document' "$WORK/out" && code 0 violations --json -n 100 &&
        [ "$(grep -o '"action":"violation"' "$WORK/out" | wc -l)" = "$1" ] && code 0 violations && grep -q "h/$1\.md" "$WORK/out" &&
        before=$(cat .agent-trace/trace/*.jsonl | wc -l) && code 3 --actor agent:a init --scan --type 'h/*.md=reference' &&
        [ "$(cat .agent-trace/trace/*.jsonl | wc -l)" = "$before" ]
}
case_ 'a file that init --scan may not take is a recorded refusal' scans_what_it_may_not 3
case_ 'so is each of many' scans_what_it_may_not 20

# ---- AGENT-TRACE.md ----

in_its_place() {
    folder place && printf secret >"$WORK/passwd" && seen=0
    for make in "ln -s $WORK/passwd" 'ln -s nowhere' 'mkdir' 'mkfifo'; do
        $make AGENT-TRACE.md && code 2 init && err 'AGENT-TRACE.md is .*--plain' && code 2 init --scan &&
            (cd .. && code 2 init place) && [ ! -e .agent-trace ] || return 1
        rm -rf AGENT-TRACE.md && seen=$((seen + 1))
    done
    [ $seen = 4 ] && mkdir AGENT-TRACE.md && code 0 init --plain && [ "$(cat "$WORK/passwd")" = secret ]
}
case_ 'init looks at what lies in the place of AGENT-TRACE.md before it makes anything' in_its_place
comes_back() {
    folder back && code 0 init && code 0 write a.md --content a && cp AGENT-TRACE.md "$WORK/old" && rm AGENT-TRACE.md &&
        code 0 write b.md --content b && [ ! -e AGENT-TRACE.md ] && code 1 doctor && cp "$WORK/old" AGENT-TRACE.md &&
        code 0 write c.md --content c && grep -q '(3 total)' AGENT-TRACE.md && code 0 doctor && quiet
}
made_anew() { # by init and by doctor --fix, where it was deleted in whatever way; not in a store that has none
    folder made && code 0 init && code 0 write a.md --content a || return 1
    rm AGENT-TRACE.md && code 0 init && err 'AGENT-TRACE.md was gone; it is made anew' && grep -q '(1 total)' AGENT-TRACE.md &&
        rm AGENT-TRACE.md && code 0 write b.md --content b && code 0 init && grep -q '(2 total)' AGENT-TRACE.md && code 0 init && quiet &&
        rm AGENT-TRACE.md && code 0 write d.md --content d && code 0 init --scan && grep -q '(3 total)' AGENT-TRACE.md &&
        rm AGENT-TRACE.md && code 0 write c.md --content c && at doctor --fix; grep -q '(4 total)' AGENT-TRACE.md && code 0 doctor &&
        code 0 rm AGENT-TRACE.md --yes && code 0 doctor && [ ! -e AGENT-TRACE.md ] && code 0 init && [ -e AGENT-TRACE.md ] &&
        folder none && code 0 init --plain && code 0 init && quiet && [ ! -e AGENT-TRACE.md ] && code 0 doctor
}
case_ 'AGENT-TRACE.md that went and came back with a switch of branches is refreshed again' comes_back
case_ 'init and doctor --fix make one anew that is gone' made_anew
kit_end
