#!/bin/sh
# A git repository around the store: the user's own. No command changes a byte in its .git or a line
# of its `git status`, but for the documents themselves; and git leaves the store alone. With the
# real git, in every way that a folder can be a work tree.
. "$(dirname "$0")/kit.sh"
if ! git --version >/dev/null 2>&1; then
    skip 'a git repository around the store' 'git is not installed'
    kit_passed=1
    kit_end
fi
HOME=$WORK GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_OPTIONAL_LOCKS=0
export HOME GIT_CONFIG_NOSYSTEM GIT_CONFIG_GLOBAL GIT_OPTIONAL_LOCKS
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH
git config --global user.name n
git config --global user.email n@example.org
git config --global init.defaultBranch trunk
git config --global protocol.file.allow always
git config --global safe.directory '*'

# ---- what must not change ----

clean_git() { # git without what a case put into the environment
    env -u GIT_DIR -u GIT_WORK_TREE -u GIT_INDEX_FILE -u GIT_OBJECT_DIRECTORY -u GIT_COMMON_DIR \
        -u GIT_NAMESPACE git "$@"
}
# Every byte, name and mode of the repositories, and the status but for the documents.
snapshot() {
    for tree in $TREES; do
        clean_git -C "$tree" status --porcelain=v1 -uall |
            grep -v ' \(.*/\)*\(doc[0-9]*\.md\|AGENT-TRACE\.md\)$'
    done
    for folder in $GITS; do
        find "$folder" -printf '%p %M %s %T@ %l\n' | LC_ALL=C sort
        find "$folder" -type f -exec sha256sum {} + | LC_ALL=C sort
    done
}
commands=0
# Runs it in $STORE and compares.
unchanged() { # EXIT ARGS...
    want=$1
    shift
    (cd "$STORE" && "$PROGRAM" "$@") >"$WORK/out" 2>&1 </dev/null
    code=$?
    echo "$*" | tee -a "$WORK/run" >>"$WORK/commands"
    if [ "$code" != "$want" ]; then
        echo "agent-trace $*: exit $code, wanted $want"
        cat "$WORK/out"
        return 1
    fi
    snapshot >"$WORK/after"
    cmp -s "$WORK/before" "$WORK/after" && return 0
    echo "after agent-trace $*:"
    diff "$WORK/before" "$WORK/after"
    return 1
}
# Every command that there is, in the store $STORE of the work trees $TREES, whose git folders are
# $GITS.
every_command() {
    snapshot >"$WORK/before"
    [ "$(wc -l <"$WORK/before")" -gt 30 ] || return 1
    : >"$WORK/run"
    the_commands unchanged && [ -d "$STORE/.agent-trace" ] && every_name
}
# One after the other, by RUNNER EXIT ARGS...; whatever the program can do must be among them.
the_commands() { # RUNNER
    printf '{"actor":"user","action":"create","path":"doc3.md","content":"3"}\n' >"$WORK/stream"
    "$1" 0 init --plain && "$1" 0 init && "$1" 0 write doc1.md --content one && "$1" 0 write doc1.md --content two &&
        "$1" 0 write s/doc2.md --content two && "$1" 0 show doc1.md && "$1" 0 show doc1.md 1 && "$1" 0 log &&
        "$1" 0 diff doc1.md 1 2 && "$1" 0 restore doc1.md 1 && "$1" 0 ls && "$1" 0 status && "$1" 0 import "$WORK/stream" &&
        "$1" 0 trace && "$1" 0 lock try && "$1" 0 lock hold true && "$1" 0 lock status && "$1" 0 git log -1 &&
        "$1" 0 write doc4.md --content four --type reference && "$1" 3 write doc4.md --content x --actor agent:a &&
        "$1" 0 violations && "$1" 0 unlock doc4.md --for agent:a && "$1" 0 write doc4.md --content five --actor agent:a &&
        "$1" 0 info doc4.md && "$1" 0 reclassify doc4.md scratch --yes && "$1" 0 mv doc4.md s/doc5.md && "$1" 0 replace one uno --yes &&
        "$1" 0 untrack s/doc5.md --yes && "$1" 0 add scratch s/doc5.md && "$1" 0 rm doc3.md && "$1" 0 init --scan --type 'doc*=plan' &&
        "$1" 0 doctor && "$1" 0 doctor --fix --deep && "$1" 0 repair && "$1" 0 gc && "$1" 0 upgrade && "$1" 0 completion bash &&
        "$1" 0 --version && "$1" 0 help write
}
every_name() { # the names of the program itself: a new command fails until it is run here
    "$PROGRAM" help --names >"$WORK/names" && [ "$(wc -l <"$WORK/names")" -ge 26 ] || return 1
    while read -r name; do
        grep -q "^$name\( \|\$\)" "$WORK/run" || { echo "$name was not run around a repository"; return 1; }
    done <"$WORK/names"
}
# git leaves the store alone, however it is told to tidy up; then the store still works.
git_leaves_it() {
    cp -R "$STORE/.agent-trace" "$WORK/kept" && rm -rf "$WORK/kept/locks"
    [ -z "$(clean_git -C "$STORE" ls-files -o --exclude-standard | grep agent-trace)" ] &&
        clean_git -C "$STORE" clean -fdq -e 'doc*' && clean_git -C "$STORE" clean -ffdq -e 'doc*' &&
        clean_git -C "$STORE" add -A && clean_git -C "$STORE" stash -q -u &&
        clean_git -C "$STORE" stash pop -q && clean_git -C "$STORE" commit -qm docs || return 1
    [ -z "$(clean_git -C "$STORE" ls-files | grep agent-trace)" ] || return 1
    diff -r -x locks "$WORK/kept" "$STORE/.agent-trace" || return 1
    rm -rf "$WORK/kept"
    (cd "$STORE" && "$PROGRAM" write doc1.md --content again && "$PROGRAM" show doc1.md 1)
}

repository() { # NAME: a fresh repository with a commit
    TREES=$WORK/$1 STORE=$WORK/$1 GITS=$WORK/$1/.git
    git init -q "$STORE" && echo a >"$STORE/a" && echo b >"$STORE/untracked" && git -C "$STORE" add a &&
        git -C "$STORE" commit -qm a && GIT_OPTIONAL_LOCKS=1 git -C "$STORE" status >/dev/null
}
around() { # a whole case: what stands around is made already
    every_command && git_leaves_it
}

# ---- the ways that a folder can be a work tree ----

at_the_top() { repository top && around; }
below_the_top() { repository below && mkdir -p "$STORE/x/y" && STORE=$STORE/x/y && around; }
linked_worktree() {
    repository main && git -C "$STORE" worktree add -q "$WORK/linked" 2>/dev/null &&
        GIT_OPTIONAL_LOCKS=1 git -C "$WORK/linked" status >/dev/null || return 1
    TREES="$WORK/main $WORK/linked" STORE=$WORK/linked GITS="$WORK/main/.git $WORK/linked/.git"
    around
}
submodule() {
    repository inner && repository outer &&
        git -C "$STORE" submodule --quiet add "$WORK/inner" sub 2>/dev/null && git -C "$STORE" commit -qm sub &&
        GIT_OPTIONAL_LOCKS=1 git -C "$STORE" status >/dev/null &&
        GIT_OPTIONAL_LOCKS=1 git -C "$STORE/sub" status >/dev/null || return 1
    [ -f "$STORE/sub/.git" ] || return 1
    TREES=$WORK/outer/sub STORE=$WORK/outer/sub GITS="$WORK/outer/.git $WORK/outer/sub/.git"
    around
}
around_a_submodule() {
    repository inner2 && repository outer2 &&
        git -C "$STORE" submodule --quiet add "$WORK/inner2" sub 2>/dev/null && git -C "$STORE" commit -qm sub &&
        GIT_OPTIONAL_LOCKS=1 git -C "$STORE" status >/dev/null || return 1
    TREES="$WORK/outer2 $WORK/outer2/sub" GITS="$WORK/outer2/.git $WORK/outer2/sub/.git"
    around
}
nested_repository() {
    repository upper && GITS="$GITS $WORK/upper/n/.git" && git init -q "$STORE/n" && echo n >"$STORE/n/n" &&
        git -C "$STORE/n" add n && git -C "$STORE/n" commit -qm n && around
}
# Its files are ordinary files to the store.
documents_in_a_nested_repository() {
    repository upper2 && git init -q "$STORE/n" && git -C "$STORE/n" commit -qm n --allow-empty || return 1
    TREES=$STORE/n GITS="$GITS $STORE/n/.git"
    snapshot >"$WORK/before"
    unchanged 0 init && unchanged 0 write n/doc1.md --content 1 && unchanged 0 show n/doc1.md 1 &&
        unchanged 2 write n/.git/config --content 1 && unchanged 2 write n/.git/hooks/doc1.md --content 1
}
bare_repository_beside() {
    repository beside && git init -q --bare "$STORE/b.git" && git -C "$STORE" push -q "$STORE/b.git" HEAD &&
        GITS="$GITS $STORE/b.git" && every_command
}
bare_repository_as_the_folder() { # the user's will: no agent makes a store there
    TREES='' STORE=$WORK/bare.git GITS=$WORK/bare.git/objects
    git init -q --bare "$STORE" && GITS="$GITS $STORE/hooks $STORE/info $STORE/refs" && every_command &&
        git -C "$STORE" fsck --strict >/dev/null 2>&1
}
made_before_the_repository() {
    TREES=$WORK/early STORE=$WORK/early GITS=$WORK/early/.git
    mkdir "$STORE" && (cd "$STORE" && "$PROGRAM" init && "$PROGRAM" write doc0.md --content 0) >/dev/null &&
        git init -q "$STORE" && echo a >"$STORE/a" && git -C "$STORE" add a && git -C "$STORE" commit -qm a &&
        GIT_OPTIONAL_LOCKS=1 git -C "$STORE" status >/dev/null && around
}
with_the_environment() { # NAME=VALUE...: which other commands of git listen to
    repository "$1" && repository other || return 1
    STORE=$WORK/$1 TREES="$WORK/$1 $WORK/other" GITS="$WORK/$1/.git $WORK/other/.git"
    shift
    for setting; do export "${setting?}"; done
    around
    code=$?
    for setting; do unset "${setting%%=*}"; done
    rm -rf "$WORK/other"
    return "$code"
}
another_owner() {
    repository owned && chown -R 65534 "$STORE/.git" && around
}
a_git_that_is_a_link() {
    repository linked_git && mv "$STORE/.git" "$WORK/elsewhere.git" && ln -s ../elsewhere.git "$STORE/.git" &&
        GITS="$WORK/elsewhere.git $STORE/.git" && around
}
hooks_and_settings() { # that would change what is stored, or say that they ran
    repository hooks || return 1
    for hook in pre-commit post-commit post-checkout post-index-change reference-transaction fsmonitor; do
        printf '#!/bin/sh\necho ran >>%s\n' "$WORK/ran" >"$STORE/.git/hooks/$hook"
        chmod +x "$STORE/.git/hooks/$hook"
    done
    printf '* text=auto eol=crlf\n' >"$STORE/.gitattributes"
    printf '*.md\n' >"$STORE/.gitignore"
    every_command && [ ! -e "$WORK/ran" ]
}

case_ 'a store at the top of a work tree' at_the_top
case_ 'a store below the top' below_the_top
case_ 'a store in a linked worktree' linked_worktree
case_ 'a store in a submodule' submodule
case_ 'a store around a submodule' around_a_submodule
case_ 'a store around a nested repository' nested_repository
case_ 'documents in a nested repository, but not in its .git' documents_in_a_nested_repository
case_ 'a bare repository beside it' bare_repository_beside
case_ 'a bare repository as its folder' bare_repository_as_the_folder
case_ 'a store that was there before the repository' made_before_the_repository
case_ 'GIT_DIR and GIT_WORK_TREE that name another repository' \
    with_the_environment dir "GIT_DIR=$WORK/other/.git" "GIT_WORK_TREE=$WORK/other"
case_ 'GIT_INDEX_FILE, GIT_OBJECT_DIRECTORY and GIT_NAMESPACE' \
    with_the_environment index "GIT_INDEX_FILE=$WORK/other/.git/index" \
    "GIT_OBJECT_DIRECTORY=$WORK/other/.git/objects" GIT_NAMESPACE=n
if [ "$(id -u)" = 0 ]; then
    case_ 'a .git that belongs to somebody else' another_owner
else
    skip 'a .git that belongs to somebody else' 'only root can give it away'
fi
case_ 'a .git that is a link' a_git_that_is_a_link
case_ 'hooks, attributes and ignored documents' hooks_and_settings

# ---- would it be noticed? ----

caught() { # EXIT ARGS...: the planted change is seen, and taken back for the next one
    unchanged "$@" >"$WORK/seen" && { echo "not noticed after agent-trace $*"; return 1; }
    grep -q "^after agent-trace" "$WORK/seen" || { cat "$WORK/seen"; return 1; }
    echo x >>"$WORK/plants"
    rm -f "$STORE/JUNK.txt" && cp "$WORK/exclude_as_it_was" "$STORE/.git/info/exclude" && chmod 644 "$STORE/.git/info/exclude" && snapshot >"$WORK/before"
}
planted() { # NAME COMMAND: what the program would leave behind after each of its commands
    repository "$1" && cp "$STORE/.git/info/exclude" "$WORK/exclude_as_it_was" && snapshot >"$WORK/before" && : >"$WORK/plants" || return 1
    printf '#!/bin/sh\n"%s" "$@"\ncode=$?\n%s\nexit $code\n' "$PROGRAM" "$2" >"$WORK/wrapped" && chmod +x "$WORK/wrapped" || return 1
    : >"$WORK/run"
    (PROGRAM=$WORK/wrapped && the_commands caught) && every_name && [ "$(wc -l <"$WORK/plants")" -ge 37 ]
}
not_run() { # a command that is not among those that are run
    printf '#!/bin/sh\n"%s" "$@"\ncode=$?\n[ "$2" != --names ] || echo newcomer\nexit $code\n' "$PROGRAM" >"$WORK/wrapped" && chmod +x "$WORK/wrapped" &&
        repository newcomer && PROGRAM=$WORK/wrapped && ! every_command >"$WORK/seen" && grep -q '^newcomer was not run' "$WORK/seen"
}
case_ 'a file that a command leaves in the work tree is noticed' planted plant_file 'echo junk >JUNK.txt'
case_ 'a line in the info/exclude of the repository is noticed' planted plant_line 'echo junk >>.git/info/exclude'
case_ 'a command that is not run here is noticed' not_run

# ---- what only `git clean -x` takes away ----

the_loss_is_said() {
    repository lost && (cd "$STORE" && "$PROGRAM" init && "$PROGRAM" write doc1.md --content 1) >/dev/null &&
        printf '# x\n' >"$STORE/AGENT-TRACE.md" && git -C "$STORE" add AGENT-TRACE.md &&
        git -C "$STORE" commit -qm x && git -C "$STORE" clean -fdxq && [ ! -e "$STORE/.agent-trace" ] || return 1
    (cd "$STORE" && "$PROGRAM" ls) 2>"$WORK/err" && return 1
    cat "$WORK/err"
    grep -q 'no agent-trace store here' "$WORK/err" && grep -q 'git clean -x' "$WORK/err" &&
        grep -q 'backup' "$WORK/err" || return 1
    for command in 'log doc1.md' status doctor repair 'doctor --fix' 'write doc1.md --content 2'; do # whatever comes next
        # shellcheck disable=SC2086 # words
        (cd "$STORE" && "$PROGRAM" $command) >"$WORK/out" 2>"$WORK/err" && return 1
        grep -q 'git clean -x.*backup.*agent-trace init' "$WORK/err" && [ ! -e "$STORE/.agent-trace" ] || { echo "$command"; cat "$WORK/err"; return 1; }
    done
}
# What is said helps: with the folder back from a copy all is there, without one a store begins anew.
the_loss_is_mended() {
    repository lost2 && (cd "$STORE" && "$PROGRAM" init && "$PROGRAM" write doc1.md --content 1 && "$PROGRAM" write doc1.md --content 2) >/dev/null &&
        git -C "$STORE" add -f doc1.md AGENT-TRACE.md && git -C "$STORE" commit -qm docs && cp -Rp "$STORE/.agent-trace" "$WORK/backup" &&
        git -C "$STORE" clean -fdxq && [ ! -e "$STORE/.agent-trace" ] && [ "$(cat "$STORE/doc1.md")" = 2 ] || return 1
    cp -Rp "$WORK/backup" "$STORE/.agent-trace" &&
        (cd "$STORE" && [ "$("$PROGRAM" show doc1.md 1)" = 1 ] && "$PROGRAM" write doc1.md --content 3 && "$PROGRAM" doctor) || return 1
    git -C "$STORE" clean -fdxq && (cd "$STORE" && "$PROGRAM" init && "$PROGRAM" add scratch doc1.md && "$PROGRAM" show doc1.md) | grep -q 3
}
case_ 'after git clean -x it is said what is gone, and that only a backup has it' the_loss_is_said
case_ 'and both ways that are named lead on' the_loss_is_mended

# A store of agent-trace 0.1.0 hid itself by the root's .git; when that goes, it is hidden otherwise.
stores=${AGENT_TRACE_TEST_DATA:-$ROOT/../shared/data}/reference-stores
upgraded_inside() {
    repository upgraded && tar -xzf "$stores/typed.tar.gz" -C "$STORE" &&
        (cd "$STORE/typed" && "$PROGRAM" upgrade && [ ! -e .git ]) >/dev/null && git -C "$STORE" add typed/*.md && git -C "$STORE" commit -qm x || return 1
    git -C "$STORE" status --porcelain -uall | grep -F .agent-trace && return 1
    git -C "$STORE" clean -fdq && (cd "$STORE/typed" && "$PROGRAM" show roadmap.md 1 >/dev/null && "$PROGRAM" doctor)
}
if [ -r "$stores/typed.tar.gz" ]; then
    case_ 'a store of agent-trace 0.1.0 that was upgraded' upgraded_inside
else
    skip 'a store of agent-trace 0.1.0 that was upgraded' 'reference-stores is not in the shared test data'
fi

saw_them() { n=$(wc -l <"$WORK/commands") && echo "$n commands" && [ "$n" -gt 250 ]; }
case_ 'hundreds of commands were compared' saw_them
kit_end
