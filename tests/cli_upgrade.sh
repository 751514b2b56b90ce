# agent-trace upgrade, and the other commands on stores of agent-trace 0.1.0: read where they lie,
# told what to do when they are to be written, upgraded. The upgraded store is read by the
# independent reader of FORMAT.md.
. tests/kit.sh
ROOT=$(cd "$ROOT" && pwd)
stores=${AGENT_TRACE_TEST_DATA:-$ROOT/../shared/data}/reference-stores
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR
export LC_ALL=C TZ=UTC

if ! [ -r "$stores/agents.tar.gz" ]; then
    skip 'stores of agent-trace 0.1.0' 'reference-stores is not in the shared test data'
    kit_passed=1
    kit_end
fi

at() { (cd "$WORK/$1" && shift && "$PROGRAM" "$@"); }
unpack() { # STORE AS
    mkdir "$WORK/$2.d" && tar -xzf "$stores/$1.tar.gz" -C "$WORK/$2.d" && mv "$WORK/$2.d/$1" "$WORK/$2"
}
same() { # WANT COMMAND...: exactly this on stdout
    want=$1
    shift
    got=$("$@") || return 1
    [ "$got" = "$want" ] || {
        printf 'wanted: %s\ngot: %s\n' "$want" "$got"
        return 1
    }
}
answers() { # CODE TEXT COMMAND...: fails with this code and says this
    want=$1 text=$2
    shift 2
    said=$("$@" 2>&1 >/dev/null)
    code=$?
    [ "$code" = "$want" ] && case $said in *"$text"*) ;; *)
        printf 'exit %s: %s\n' "$code" "$said"
        false
        ;;
    esac
}
# The versions, by their bytes, that the old program's own list says are there.
reads_all() { # STORE FOLDER
    python3 - "$stores/expected.json" "$1" "$WORK/$2" "$PROGRAM" <<'END'
import hashlib, json, subprocess, sys
facts = json.load(open(sys.argv[1]))["stores"][sys.argv[2]]
seen = 0
for path, versions in list(facts["versions"].items())[::3]:
    for v in versions[-2:]:
        p = subprocess.run([sys.argv[4], "-C", sys.argv[3], "show", "./" + path, str(v["version"])],
                           capture_output=True)
        want = v["sha256"]
        if want is None:
            assert p.returncode == 4, (path, v, p.stderr)
        else:
            assert hashlib.sha256(p.stdout).hexdigest() == want, (path, v, p.stderr)
        seen += 1
assert seen >= 8, seen
END
}
lists_documents() { # STORE FOLDER
    at "$2" ls --json >"$WORK/ls.json" && python3 - "$stores/expected.json" "$1" "$WORK/ls.json" <<'END'
import json, sys
facts = json.load(open(sys.argv[1]))["stores"][sys.argv[2]]
ours = {d["path"]: d for d in json.load(open(sys.argv[3]))}
index = {"AGENT-TRACE.md"}  # made of the others, and not listed among them
assert set(ours) - index == set(facts["head_files"]) - index, set(ours) ^ set(facts["head_files"])
for d in facts["documents"]:
    if d["path"] in ours:
        assert ours[d["path"]]["type"] == d["doc_type"], d
        assert d["agent_name"] in ("", ours[d["path"]]["agent"] or ""), d
END
}
lists_violations() { # FOLDER
    at "$1" log --action violation --json >"$WORK/violations.json" &&
        python3 - "$WORK/violations.json" <<'END'
import json, sys
v = json.load(open(sys.argv[1]))
assert sorted((e["actor"], e["path"]) for e in v) == [("agent:kestrel", "api-contract.md"),
    ("agent:kestrel", "docs/limits.md"), ("agent:kestrel", "journal.md")], v
END
}
reader_agrees() { # FOLDER
    python3 "$ROOT/tests/read_store.py" "$WORK/$1" >"$WORK/reader.txt" &&
        ! grep -q WRONG "$WORK/reader.txt" && grep -q 'git: commit' "$WORK/reader.txt"
}

finds_nothing() { # FOLDER: the doctor has nothing to say
    said=$(at "$1" doctor 2>&1) && [ -z "$said" ] || {
        printf '%s\n' "$said"
        return 1
    }
}
print_of() { # every name, mode, size, time and byte
    (cd "$WORK/$1" && find . -printf '%p %y %m %s %T@\n' | LC_ALL=C sort &&
        find . -type f -exec sha256sum {} + | LC_ALL=C sort)
}
points_to_upgrade() { # FOLDER: one line that says so, and not a byte changed
    print_of "$1" >"$WORK/print.before"
    for command in doctor 'doctor --fix' 'doctor --deep' repair 'repair --dry-run' 'write a.md --content x' \
        'rm roadmap.md --yes' 'unlock roadmap.md --for agent:x' gc; do
        said=$(at "$1" $command 2>&1)
        code=$?
        case $code:$said in
            1:*'
'* | [!1]:*) printf '%s: exit %s: %s\n' "$command" $code "$said" && return 1 ;;
            *"run 'agent-trace upgrade'"*) ;;
            *) printf '%s: %s\n' "$command" "$said" && return 1 ;;
        esac
    done
    print_of "$1" >"$WORK/print.after"
    cmp "$WORK/print.before" "$WORK/print.after"
}
may_write() { # FOLDER: the grants that agent-trace 0.1.0 gave until 2036
    at "$1" info glossary.md | grep -q '^unlocked for.agent:kestrel until 2036-11-20' &&
        at "$1" info brief.md | grep -q '^unlocked for.agent until 2036-11-20' &&
        ! at "$1" info harbor-log.md | grep -q unlocked
}

unpack agents agents
unpack scanned scanned
unpack agents busy
unpack typed typed
unpack scanned named_info

case_ 'versions are shown where the store lies' reads_all agents agents
case_ 'documents have their types and agents' lists_documents agents agents
case_ 'refusals are told' lists_violations agents
case_ 'two versions are compared' sh -c "cd '$WORK/agents' && '$PROGRAM' diff roadmap.md 1 2 | grep -q '^+'"
case_ 'no folder of documents is called a store' sh -c "! '$PROGRAM' -C '$WORK/agents' status | grep 'left out'"
case_ 'doctor, repair and what writes say how to go on, in one line, and change nothing' points_to_upgrade agents
case_ 'a refusal whose bytes are not kept says where to look' answers 4 'see .agent-trace/rejected' at agents violations show 118
case_ 'a write is told how to go on' answers 1 'agent-trace upgrade' at agents write new.md --content x
case_ 'nothing was written' sh -c "! [ -e '$WORK/agents/new.md' ] && ! [ -e '$WORK/agents/.agent-trace/journal' ]"
case_ 'a dry run says what would be done' same \
    'would upgrade: 136 commits, 140 versions, 149 events, 22 documents' at agents upgrade --dry-run
case_ 'a dry run writes nothing' sh -c "! [ -e '$WORK/agents/.agent-trace/journal' ] && ! [ -e '$WORK/agents/.agent-trace/upgrade' ]"
case_ 'an agent may not upgrade' answers 3 'agent-trace upgrade' \
    env AGENT_TRACE_ACTOR=agent:kestrel "$PROGRAM" -C "$WORK/agents" upgrade
case_ 'an upgrade says what it did' same \
    'upgraded: 136 commits, 140 versions, 149 events, 22 documents
the old store is in .agent-trace/backup-0.1.0' at agents upgrade
case_ 'the doctor finds nothing afterwards' finds_nothing agents
case_ 'AGENT-TRACE.md is written anew' grep -q 'Made by agent-trace' "$WORK/agents/AGENT-TRACE.md"
case_ 'a refusal still says where to look' answers 4 'see .agent-trace/backup-0.1.0/rejected' at agents violations show 118
case_ 'the independent reader finds all of it in order' reader_agrees agents
case_ 'versions are the same afterwards' reads_all agents agents
case_ 'documents are the same afterwards' lists_documents agents agents
case_ 'refusals are the same afterwards' lists_violations agents
case_ 'the old .git went with its repository' [ ! -e "$WORK/agents/.git" ]
case_ 'a write works afterwards' at agents write notes/new.md --content 'x'
case_ 'the independent reader still does' reader_agrees agents
case_ 'a second upgrade has nothing to do' sh -c "cd '$WORK/agents' && '$PROGRAM' upgrade | grep -q already"
elsewhere() { # somebody checked an older commit out
    unpack agents "$1" && git_of="git -c safe.directory=* --git-dir $WORK/$1/.agent-trace/repo/.git --work-tree $WORK/$1" &&
        $git_of update-ref --no-deref HEAD HEAD~20 && [ "$($git_of rev-list --count HEAD)" = 116 ]
}
elsewhere_whole() {
    elsewhere elsewhere && at elsewhere log -n 0 | wc -l >"$WORK/lines" && at elsewhere upgrade >"$WORK/said" && cat "$WORK/said" &&
        grep -q '^upgraded: 136 commits, 140 versions, 149 events' "$WORK/said" && ! grep branch "$WORK/said" && [ "$(at elsewhere log -n 0 | wc -l)" = "$(cat "$WORK/lines")" ] &&
        reader_agrees elsewhere
}
elsewhere_branch() {
    elsewhere branched && $git_of update-ref refs/heads/other "$($git_of -c user.name=n -c user.email=e commit-tree -p HEAD~5 -m other 'HEAD^{tree}')" &&
        $git_of pack-refs --all && at branched upgrade >"$WORK/said" && cat "$WORK/said" && grep -q '^upgraded: 136 commits' "$WORK/said" &&
        grep -q '^note 1 branch of the old repository went another way' "$WORK/said"
}
case_ 'an older commit that was checked out is not the end of the history' elsewhere_whole
case_ 'a branch that leads elsewhere is told' elsewhere_branch
case_ 'names that other systems refuse are told, with the mend' sh -c \
    "cd '$WORK/scanned' && '$PROGRAM' upgrade --json | python3 -c 'import json, sys; r = json.load(sys.stdin); assert r[\"upgraded\"] and len(r[\"findings\"]) == 2 and all(\"agent-trace mv\" in f for f in r[\"findings\"]), r'"
case_ 'and mended' at scanned mv 'docs/star*and?mark.md' docs/star.md
case_ 'a store that a process leads is left alone' answers 5 'poll.lock' \
    flock "$WORK/busy/.agent-trace/locks/poll.lock" "$PROGRAM" -C "$WORK/busy" upgrade

case_ 'grants are shown where the store lies' may_write typed
case_ 'grants of years are told, with the mend' sh -c "cd '$WORK/typed' && '$PROGRAM' upgrade | grep -q '^note agent:kestrel may write \"glossary.md\" until 2036-11-20.* unlock PATH --revoke --for agent:kestrel'"
case_ 'and shown afterwards' may_write typed
case_ 'the doctor finds nothing there' finds_nothing typed
case_ 'the independent reader reads grants, types and removals' reader_agrees typed
case_ 'info of a name that only 0.1.0 could give' sh -c "'$PROGRAM' -C '$WORK/named_info' info 'docs/star*and?mark.md' | grep -q '^path.*star'"
case_ 'a grant is honoured' at typed write glossary.md --content hi --actor agent:kestrel
case_ 'for whom it was given' answers 3 'may not modify' at typed write glossary.md --content hi --actor agent:marlin
case_ 'and ends when it is revoked' at typed unlock glossary.md --for agent:kestrel --revoke
case_ 'at once' answers 3 'may not modify' at typed write glossary.md --content ho --actor agent:kestrel

# Killed at the very end: the old store is ours, and AGENT-TRACE.md still the old program's.
stopped_late() {
    for try in 1 2 3 4 5 6 7 8 9 10; do
        rm -rf "$WORK/late" && unpack agents late && old=$(cat "$WORK/late/AGENT-TRACE.md") && [ -e "$WORK/late/.git" ] &&
            python3 - "$PROGRAM" "$WORK/late" <<'END' || return 1
import os, subprocess, sys
program, folder = sys.argv[1:]
upgrade = subprocess.Popen([program, "-C", folder, "upgrade"], stdout=subprocess.DEVNULL)
while os.path.lexists(folder + "/.git") and upgrade.poll() is None: pass
upgrade.kill()
upgrade.wait()
END
        if [ "$(cat "$WORK/late/AGENT-TRACE.md")" != "$old" ] || ! at late status >/dev/null; then continue; fi
        at late upgrade && [ "$(cat "$WORK/late/AGENT-TRACE.md")" != "$old" ] && at late upgrade | grep -q already && finds_nothing late
        return
    done
    echo "ten upgrades were done before they were killed"
    return 1
}
case_ 'an upgrade that was killed at its end is finished by the next one' stopped_late

# Names that only agent-trace 0.1.0 took.
odd_names() { # FOLDER
    (
        cd "$WORK/$1" && rm .git &&
            G() { git --git-dir=.agent-trace/repo/.git --work-tree=. -c user.name=x -c user.email=x@x "$@"; } &&
            G config --unset core.worktree && printf a >Roadmap.md && printf b >"$(printf 'tab\there.md')" &&
            printf c >COM1 && G add -f Roadmap.md COM1 "$(printf 'tab\there.md')" && G commit -qm names
    )
}
if git --version >/dev/null 2>&1; then
    unpack typed named
    case_ 'names are committed by hand' odd_names named
    case_ 'they are told' sh -c "cd '$WORK/named' && '$PROGRAM' upgrade >'$WORK/named.txt' && grep -q '\"Roadmap.md\" and \"roadmap.md\" are two documents' '$WORK/named.txt' && grep -q '\"tab.there.md\" is no name .*\"tab%09here.md\"' '$WORK/named.txt'"
    case_ 'a document with such a name is not called a file that can be none' sh -c "! '$PROGRAM' -C '$WORK/named' status | grep COM1"
    case_ 'a file with another name is' sh -c "'$PROGRAM' -C '$WORK/named' status | grep -q 'left out *1 name '"
    case_ 'the mend works' sh -c "cd '$WORK/named' && mv \"\$(printf 'tab\\there.md')\" tab%09here.md && '$PROGRAM' mv tab%09here.md tab.md"
    case_ 'and keeps the history' sh -c "'$PROGRAM' -C '$WORK/named' show tab.md 1 | grep -q '^b'"
fi
kit_end
