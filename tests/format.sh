#!/bin/sh
# Stores made by the program, read by a reader that was written from FORMAT.md alone: it finds nothing
# wrong in any of them, and finds every byte that is turned where FORMAT.md has it checked.
. tests/kit.sh
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
reader="python3 $ROOT/tests/read_store.py"
command -v python3 >/dev/null && command -v git >/dev/null || {
    skip 'the reader agrees' 'no python3 or no git'
    kit_end
}

at() { # STORE ARGS...: the program in a store
    store=$1
    shift
    "$PROGRAM" -C "$WORK/$store" "$@" >/dev/null || return
}
put() { # STORE ACTOR PATH TEXT [OPTION...]
    put_store=$1 put_actor=$2 put_path=$3 put_text=$4
    shift 4
    printf '%s\n' "$put_text" | at "$put_store" --actor "$put_actor" write "$put_path" "$@"
}
fill() { # STORE
    mkdir -p "$WORK/$1" && at "$1" init --plain &&
        put "$1" user plan.md 'the plan' --type plan &&
        put "$1" agent:kestrel notes/deep/a.md "a 'first' \\ \"note\"" &&
        put "$1" agent:heron notes/b.md 'second note' &&
        put "$1" agent:kestrel notes/deep/a.md 'a note, changed' &&
        put "$1" system 'names/ä ü.md' 'not ascii' &&
        { ! put "$1" system plan.md 'refused bytes' 2>/dev/null || true; } &&
        at "$1" rm -y notes/b.md && at "$1" restore notes/b.md 1 && at "$1" rm -y notes/deep/a.md &&
        printf 'edited by hand\n' >"$WORK/$1/plan.md" &&
        put "$1" user plan.md 'the plan after the edit'
}
again() { # STORE: who comes next must recover, and begins a new generation
    rm "$WORK/$1/.agent-trace/state" && at "$1" status
}
agrees() { # STORE [WHAT it must have checked]...
    agrees_store=$WORK/$1
    shift
    $reader "$agrees_store" >"$WORK/seen" || {
        cat "$WORK/seen"
        return 1
    }
    for what; do
        grep -q "[0-9]  $what" "$WORK/seen" || {
            echo "it did not look at: $what"
            cat "$WORK/seen"
            return 1
        }
    done
}

published() { fill published && at published git log && agrees published 'git: commit' 'git: head of the state' rejected 'documents: violation'; }
unpublished() {
    AGENT_TRACE_PUBLISH=manual
    export AGENT_TRACE_PUBLISH
    fill unpublished && agrees unpublished 'journal: record: bytes' && again unpublished &&
        put unpublished user later.md later &&
        agrees unpublished 'unpublished: record' 'catalog: row' 'catalog: refusal' 'journal: record' &&
        again unpublished && put unpublished user later.md 'later still' &&
        [ "$(ls "$WORK/unpublished/.agent-trace/unpublished" | grep -c records)" = 2 ] && agrees unpublished 'unpublished: file'
}
batch() {
    cat >"$WORK/batch.c" <<'END' &&
#include "agent_trace.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char big[1100000];
int main(int argc, char **argv) {
    agt_store *s;
    agt_error err;
    agt_open_options o = AGT_OPEN_OPTIONS_INIT;
    agt_caller me = AGT_CALLER("agent:kestrel");
    agt_change c[4] = {AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT, AGT_CHANGE_INIT};
    const char *path[4] = {"b/one.md", "b/two.md", "b/c/three.md", "b/big.md"};
    uint64_t seq;
    o.create = 1;
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 4; i++) {
        c[i].path = path[i];
        c[i].bytes = i == 3 ? big : path[i];
        c[i].len = i == 3 ? sizeof big : strlen(path[i]);
    }
    me.session = "s-1:x";
    if (argc != 3 || agt_open(&s, argv[1], &o, &err) || agt_batch(s, &me, c, 4, 0, 0, &err) ||
        agt_event_append(s, &me, "run.done", "a \"run\" was done", 0, 0, &seq, &err) ||
        (argv[2][0] == 'c' && agt_checkpoint(s, &err)) || agt_close(s, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    return 0;
}
END
    $CC -I"$ROOT" "$WORK/batch.c" "$BUILD/libagent_trace.a" $(pkg-config --libs libgit2 zlib) -ldl -pthread -o "$WORK/batch" &&
        "$WORK/batch" "$WORK/batch-left" left && agrees batch-left 'journal: record: bytes' &&
        "$WORK/batch" "$WORK/batch-packed" checkpoint && agrees batch-packed 'git: packed_head' 'catalog: row' &&
        put batch-packed user b/one.md changed && agrees batch-packed 'journal: record: bytes'
}
imported() {
    mkdir "$WORK/imported" && at imported init --plain && n=0 &&
        while [ $n -lt 60 ]; do
            n=$((n + 1))
            printf '{"actor":"agent:a%d","action":"%s","path":"d%d/f.md","content":"text %d\\n","ts":%d,"session":"s%d"}\n' \
                $((n % 3)) "$([ $n -gt 7 ] && echo modify || echo create)" $((n % 7)) $n $((1733179244 + n)) $((n % 4))
        done >"$WORK/import.jsonl" && at imported import "$WORK/import.jsonl" --batch 16 && at imported git log &&
        agrees imported 'git: commit' 'documents: create' && again imported && agrees imported 'catalog: row'
}
# Nothing is left in the end, and a folder's name becomes a document's.
emptied() {
    mkdir "$WORK/emptied" && at emptied init --plain && put emptied user a/b/c.md one && put emptied user a/d.md two &&
        at emptied rm -y a/b/c.md && at emptied rm -y a/d.md && rm -r "$WORK/emptied/a" && put emptied system a three && at emptied rm -y a &&
        at emptied git log && agrees emptied 'git: commit'
}
# Thousands of commits are read in seconds.
long() {
    mkdir "$WORK/long" && at long init --plain && n=0 &&
        while [ $n -lt 5000 ]; do
            [ $n -lt 2000 ] && action=create || action=modify
            printf '{"actor":"user","action":"%s","path":"d%d/%d.md","content":"%d"}\n' $action $((n % 2000 % 3)) $((n % 2000)) $n
            n=$((n + 1))
        done >"$WORK/long.jsonl" && at long import "$WORK/long.jsonl" --batch 500 --durability process && at long git log &&
        timeout 60 $reader "$WORK/long" | grep '^  5000  git: commit$'
}
# What changes no bytes.
managed() {
    mkdir "$WORK/managed" && at managed init --plain && put managed user a.md one --type plan && put managed agent:heron b.md two &&
        echo three >"$WORK/managed/c.md" && at managed add reference c.md && at managed mv a.md d/a.md && at managed mv b.md a.md &&
        put managed agent:owl b.md another && at managed reclassify d/a.md scratch && at managed untrack b.md &&
        at managed unlock c.md --for agent:heron && at managed unlock c.md --for agent && at managed unlock a.md --for system --duration 2h &&
        { ! at managed --actor agent:owl mv c.md x.md || true; } 2>/dev/null && at managed unlock c.md --for agent --revoke &&
        put managed agent:heron c.md unlocked && at managed mv c.md e.md && { ! put managed agent:owl e.md refused 2>/dev/null || true; } &&
        at managed git log && agrees managed 'documents: rename' 'documents: reclassify' 'documents: untrack' 'documents: unlock' \
        'documents: revoke' 'documents: violation' 'git: commit' && again managed && put managed user d/a.md later &&
        agrees managed 'catalog: header' 'catalog: row' 'git: packed_head' && at managed mv d/a.md f.md && again managed && agrees managed 'catalog: row'
}
copied() {
    cp -a "$WORK/published" "$WORK/copied" && put copied user plan.md 'in the copy' && at copied git log &&
        agrees copied 'catalog: row' 'git: commit' && agrees published
}
edited() {
    cp -a "$WORK/published" "$WORK/edited" && rm -f "$WORK/edited/plan.md" && agrees edited 'documents: edited by somebody else'
}

# A copy whose commits are made again with headers that sed changed: a history that somebody turned.
turn_history() { # STORE SED
    rm -rf "$WORK/forged" && cp -a "$WORK/$1" "$WORK/forged" && parent='' &&
        in_git hash-object -w /dev/null && in_git hash-object -w -t tree /dev/null || return # what is planted is there
    for commit in $(in_git rev-list --reverse main); do
        parent=$(in_git cat-file commit "$commit" | sed -E "1,/^\$/{s/^parent .*/parent $parent/;$2;}" |
            in_git hash-object -t commit -w --stdin) || return
    done
    in_git update-ref refs/heads/main "$parent"
}
in_git() { git --git-dir="$WORK/forged/.agent-trace/git" "$@"; }
same() { # STORE: a change that is none, so that it is not the making that is found
    turn_history "$1" '' && [ "$(in_git rev-parse main)" = "$(git --git-dir="$WORK/$1/.agent-trace/git" rev-parse main)" ] &&
        agrees forged 'git: commit'
}
forged() { # STORE SED: the reader says so, and finds nothing else
    turn_history "$1" "$2" || return
    if $reader "$WORK/forged" >"$WORK/seen"; then return 1; fi
    cat "$WORK/seen"
    grep -q 'WRONG   git: commit' "$WORK/seen" && ! grep WRONG "$WORK/seen" | grep -v 'git: commit'
}
forged_tree() { # SED: as that, with the lines of git ls-tree changed in a commit in the middle
    turn_history published '' && old=$(in_git rev-parse 'main~3^{tree}') &&
        new=$(in_git ls-tree "$old" | sed -E "$1" | in_git mktree --missing) && [ "$new" != "$old" ] &&
        rm -rf "$WORK/planted" && mv "$WORK/forged" "$WORK/planted" && forged planted "s/^tree $old/tree $new/"
}

# Turns a byte; the reader must say so. Then it is turned back.
turned() { # STORE FILE OFFSET (negative: from its end)
    python3 - "$ROOT/tests/read_store.py" "$WORK/$1" "$2" "$3" <<'END'
import glob, os, subprocess, sys
reader, root, name, at = sys.argv[1:]
path = sorted(glob.glob(os.path.join(root, ".agent-trace", name)))[0]
os.chmod(path, 0o600)


def turn():
    with open(path, "r+b") as f:
        where = f.seek(int(at), 2 if at.startswith("-") else 0)
        byte = f.read(1)
        f.seek(where)
        f.write(bytes([byte[0] ^ 0x10]))


turn()
seen = subprocess.run([sys.executable, reader, root], stdout=subprocess.PIPE)
turn()
print(seen.stdout.decode())
sys.exit(0 if seen.returncode == 1 and b"WRONG" in seen.stdout else 1)
END
}

case_ 'the reader has at most 150 lines' [ "$(wc -l <"$ROOT/tests/read_store.py")" -le 150 ]
case_ 'a published store' published
case_ 'a store left unpublished, after two recoveries' unpublished
case_ 'a batch, content in a side file, a checkpoint' batch
case_ 'an import with times of long ago' imported
case_ 'documents that were renamed, untracked, given another type, unlocked' managed
case_ 'nothing is left' emptied
case_ 'five thousand commits' long
case_ 'a copy that was written to' copied
case_ 'a document removed behind its back' edited
case_ 'an untouched copy is fine' agrees copied
while read -r store file offset; do
    case_ "a byte of $file is turned at $offset, in $store" turned "$store" "$file" "$offset"
done <<END
published config.toml 8
published journal 17
published journal 100
published journal 230
published journal 8196
published journal 8300
published journal 9000
published journal 10500
published state 100
published state 600
published trace/000000000001.jsonl 5
published trace/000000000001.jsonl 700
published trace/000000000001.jsonl -1
published trace/000000000001.jsonl -90
published rejected/* 3
published git/refs/heads/main 3
published git/objects/[0-9a-f]*/* 12
unpublished unpublished/1.records 9
unpublished unpublished/1.records 25
unpublished unpublished/1.records 28
unpublished unpublished/1.records 500
unpublished unpublished/1.records -20
unpublished catalog.3 12
unpublished catalog.3 600
unpublished catalog.3 -1
unpublished journal 4200
batch-left unpublished/side-4 1000000
batch-packed git/objects/pack/*.pack 300
batch-packed git/objects/pack/*.pack -3
batch-packed catalog.2 630
imported trace/000000000001.jsonl 9999
END
case_ 'commits that were made again unchanged' same published
while read -r change what; do
    case_ "every commit has $what" forged published "$(printf %s "$change" | tr @ ' ')"
done <<'END'
s/^tree.*/tree@4b825dc642cb6eb9a060e54bf8d69288fbee4904/;s/^(author|committer).*/\1@Evil@<e>@1@+0000/ no files, another name and time
s/^tree.*/tree@4b825dc642cb6eb9a060e54bf8d69288fbee4904/ no files
s/^author.*>/author@Evil@<e>/ a forged author
s/^committer.*>/committer@Evil@<e>/ a forged committer
s/^(author.*>).*/\1@1@+0000/ a forged author's time
s/^(committer.*>).*/\1@1@+0000/ a forged committer's time
s/^(committer.*)[+]0000/\1+0100/ another zone
s/^(parent.*)/\1\n\1/ its parent twice
s/^(committer.*)/\1\nencoding@UTF-8/ one more header
/^parent/d no parent
END
while read -r change what; do
    case_ "one commit has $what" forged_tree "$change"
done <<'END'
/plan.md/s/^100644/100755/ another mode for a file
/plan.md/s/^100644/120000/ a link
/plan.md/s/[0-9a-f]{40}/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391/ another blob for a file
/plan.md/d a file too few
/plan.md/{p;s/plan/another/;} a file too many
/names/s/names/others/ another name for a folder
END
for store in published unpublished batch-left batch-packed imported; do
    case_ "every byte is turned back in $store" agrees "$store"
done
kit_end
