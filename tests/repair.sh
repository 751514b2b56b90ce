#!/bin/sh
# agent-trace repair on a real disk: damaged stores become whole, which git and the reader that was
# written from FORMAT.md alone confirm; nothing changes in a dry run; types are not lost.
. tests/kit.sh
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
S=$WORK/store A=$WORK/store/.agent-trace
at() { "$PROGRAM" -C "$S" "$@"; }
fill() {
    rm -rf "$S" && mkdir "$S" && at init &&
        at write plan.md --type plan --content 'the plan' && at write ref.txt --type reference --content 'ref' &&
        at write notes/a.md --content 'a' && at mv notes/a.md notes/b.md && at reclassify notes/b.md context --yes &&
        { ! at --actor agent:kestrel write ref.txt --content no 2>/dev/null; } &&
        at rm -y plan.md && at restore plan.md 1 && at ls >"$WORK/ls" && at log >"$WORK/log" &&
        cat "$A"/trace/*.jsonl >"$WORK/trace"
}
whole() {
    at repair && at repair | cmp - /dev/null && at ls | cmp - "$WORK/ls" && at log | cmp - "$WORK/log" &&
        cat "$A"/trace/*.jsonl | cmp - "$WORK/trace" && git --git-dir "$A/git" fsck --strict &&
        at write after.md --content after && read_it
}
read_it() { ! command -v python3 || python3 "$ROOT/tests/read_store.py" "$S"; } # as FORMAT.md says it
command -v git >/dev/null || {
    skip 'a damaged store becomes whole' 'no git'
    kit_end
}
config() { fill && echo junk >"$A/config.toml" && ! at ls && whole && [ "$(cat "$A/damaged/config.toml")" = junk ]; }
no_config() { fill && rm "$A/config.toml" && ! at ls && whole; }
trace() { fill && rm -r "$A/trace" && whole; }
torn() { fill && printf 'xx' | dd of="$A/trace/000000000001.jsonl" bs=1 seek=700 conv=notrunc && whole && ls "$A"/damaged/*.jsonl; }
journal() { fill && rm "$A/journal" && ! at ls && whole; }
catalog() { fill && rm "$A/state" && at status && at write x.md --content x && at rm -y x.md && rm "$A/state" && at status && rm "$A"/catalog.* &&
    ! at ls && at repair && at ls | cmp - "$WORK/ls"; }
git_gone() { fill && rm -rf "$A/git" && at repair && at ls | cmp - "$WORK/ls" && git --git-dir "$A/git" fsck --strict; }
git_told() { # by status and doctor, without a deep look; and by neither once it is mended
    fill && at gc >"$WORK/said" && rm -rf "$A/git" && at status >"$WORK/said" &&
        grep -q "^git .*is missing: run 'agent-trace repair'" "$WORK/said" &&
        at status --json | grep -q '"head_lost":true' &&
        { at doctor >"$WORK/said"; [ $? = 1 ]; } && grep -q "^error.git.*is not there.run 'agent-trace repair'" "$WORK/said" &&
        { at repair || true; } && at status >"$WORK/said" && ! grep missing "$WORK/said" && at doctor
}
faces() { # no face and no leftover of another program has an effect
    fill && echo junk >"$S/manifest.toml" && echo junk >"$A/.manifest.toml.tmp" && echo junk >"$A/overrides.toml" && at ls | cmp - "$WORK/ls" && whole
}
dry() {
    fill && echo junk >"$A/config.toml" && rm "$A/journal" && ls -lR "$A" >"$WORK/before" &&
        { at repair --dry-run >"$WORK/said"; [ $? = 1 ]; } && grep -q '^error.journal' "$WORK/said" && grep -q '^error.config' "$WORK/said" &&
        ls -lR "$A" | cmp - "$WORK/before" && whole
}
lost() { # what nothing has is told, and the exit code says so
    fill && at write plan.md --content 'the newest' && rm -rf "$A/git" "$A"/unpublished/* && rm "$A/journal" &&
        { at repair >"$WORK/said"; [ $? = 1 ]; } && grep -q 'plan.md, version 1, are lost' "$WORK/said" &&
        at ls | grep -q 'reference.*ref.txt' && at write plan.md --content 'goes on' && at git fsck
}
lost_bytes() { # of a version: the reader that knows FORMAT.md alone reads what stands in for them
    rm -rf "$S" && mkdir "$S" && at init --plain && at write plan.md --content p1 && at write r.md --content r && at write plan.md --content p2 &&
        rm -rf "$A/git" "$A"/unpublished/* "$A/journal" && { at repair >"$WORK/said"; [ $? = 1 ]; } && grep -q 'plan.md, version 1, are lost' "$WORK/said" &&
        ! at show plan.md 1 && read_it && at write plan.md --content p3 && at gc && read_it &&
        at repair | grep -q "^note.lost_version.the bytes of plan.md, version 1, are lost" && at doctor --deep | grep -q "^note.lost_version" &&
        at write plan.md --content p1 && [ "$(at show plan.md 1)" = p1 ] && ! at repair | grep "plan.md, version 1,"
}
lost_many() { # the first hundred are named, the others counted, each time
    rm -rf "$S" && mkdir "$S" && at init --plain && i=0 || return 1
    while [ $((i += 1)) -le 104 ]; do at write plan.md --content "p$i" --publish manual || return 1; done
    at gc && rm -rf "$A/git" && { at repair >"$WORK/said"; [ $? = 1 ]; } && [ "$(grep -c 'lost_version.the bytes of plan.md, version' "$WORK/said")" = 100 ] &&
        grep -q '^note.lost_version.the bytes of 3 more versions are lost' "$WORK/said" && at repair >"$WORK/said" && [ "$(grep -c '^note.lost_version' "$WORK/said")" = 101 ]
}
looked_at_only() { # doctor --deep and a dry run where the locks may not be opened
    fill && at gc && chmod -R a+rX "$S" "$WORK" && as="setpriv --reuid 12345 --regid 12345 --clear-groups $PROGRAM -C $S" && $as doctor --deep >"$WORK/said" 2>&1
    [ $? = 1 ] && grep -q '^note.locks' "$WORK/said" && grep -q '^warning.rights' "$WORK/said" && rm "$A/git/objects/pack"/*.pack && $as repair --dry-run >"$WORK/said" 2>&1
    [ $? = 1 ] && grep -q '^error.git' "$WORK/said" && [ ! -e "$A/damaged" ]
}
lost_event() { # a line that nothing has: another stands in, the chain breaks there, and no type gets weaker
    fill && AGENT_TRACE_PUBLISH=manual && export AGENT_TRACE_PUBLISH && at write gone.md --content g && at write behind.md --type plan --content b
    unset AGENT_TRACE_PUBLISH
    rm "$A/journal" "$A"/catalog.* 2>/dev/null
    sed -i 's/^.*"path":"gone.md".*$/gone/' "$A"/trace/*.jsonl && { at repair >"$WORK/said"; [ $? = 1 ]; } && cat "$WORK/said" &&
        grep -q '^error.lost_event.event [0-9]* is lost' "$WORK/said" && grep -q '^mended.type_lost.notes/b.md is .reference. now' "$WORK/said" &&
        at ls | grep -q 'reference.*notes/b.md' && at ls | grep -q 'plan.*behind.md' && ! at --actor agent:kestrel write notes/b.md --content no &&
        read_it && at write behind.md --content c && at gc && at git fsck && read_it && at repair >"$WORK/said" && ! grep -v "^note.lost_version" "$WORK/said"
}
json() {
    fill && rm "$A/journal" && at repair --json >"$WORK/json" &&
        { ! command -v python3 || python3 -c "import json,sys; r=json.load(open(sys.argv[1])); f=r['findings'][0]; assert (r['found'],r['left'],f['code'],f['mended'])==(1,0,'journal',True), r" "$WORK/json"; }
}
doctor() { # says what is wrong, mends what is safe, changes nothing unless it is told to
    fill && at doctor && chmod 755 "$A" && { at doctor >"$WORK/said"; [ $? = 1 ]; } && grep -q '^warning.rights' "$WORK/said" &&
        [ "$(stat -c %a "$A")" = 755 ] && at doctor --fix && [ "$(stat -c %a "$A")" = 700 ] && rm "$A/journal" &&
        { at doctor >"$WORK/said"; [ $? = 1 ]; } && grep -q '^error.damaged.*agent-trace repair' "$WORK/said" && at doctor --fix --json && at doctor --deep && whole
}
said() { # EXIT PATTERN...: doctor says these, in this order of lines or another
    want=$1
    shift
    at doctor $fix >"$WORK/said"
    [ $? = "$want" ] || { cat "$WORK/said"; return 1; }
    for pattern; do grep -q "$pattern" "$WORK/said" || { cat "$WORK/said"; echo "no $pattern"; return 1; }; done
}
doctor_inside() { # modes, leftovers, refused bytes, the index and its .gitignore: found, and mended
    fix='' && fill && at init >/dev/null && git init -q "$S" && at write new.md --content n && at doctor | cmp - /dev/null || return 1
    chmod 644 "$A/config.toml" && : >"$A/tmp/99.new" && : >"$A/config.toml.tmp" && rm "$A/.gitignore" &&
        echo 'agents may do all' >"$S/AGENT-TRACE.md" && for f in "$A"/rejected/*; do echo x >>"$f"; done
    said 1 '^warning.modes.*config.toml (644)' '^warning.temporary.2' '^warning.ignore.*the git around it sees' \
        '^warning.refused_bytes' '^warning.face.*AGENT-TRACE.md' || return 1
    [ "$(wc -l <"$WORK/said")" = 5 ] && [ -e "$A/tmp/99.new" ] && [ ! -e "$A/.gitignore" ] && [ "$(stat -c %a "$A/config.toml")" = 644 ] &&
        fix=--fix && said 0 '^mended.modes' '^mended.temporary' '^mended.ignore' '^mended.refused_bytes' '^mended.face' || return 1
    [ ! -e "$A/tmp/99.new" ] && [ ! -e "$A/config.toml.tmp" ] && [ "$(cat "$A/.gitignore")" = '*' ] && [ "$(stat -c %a "$A/config.toml")" = 600 ] &&
        ! grep -q 'may do all' "$S/AGENT-TRACE.md" && at log AGENT-TRACE.md | grep -q user && fix='' && said 0 '^note.kept' && rm -rf "$S/.git"
}
doctor_json() { # the same in JSON, with each finding's mend
    fill && chmod 644 "$A/journal" && rm "$A/.gitignore" && { at doctor --json >"$WORK/json"; [ $? = 1 ]; } || return 1
    ! command -v python3 || python3 -c "import json,sys; f=json.load(open(sys.argv[1])); assert [(x['code'],x['severity'],x['mendable'],x['mended']) for x in f]==[('modes','warning',True,False),('ignore','note',True,False)] and all(x['what'] and '--fix' in x['mend'] for x in f), f" "$WORK/json"
}
doctor_around() { # what stands around it is told and left
    fix='' && fill && mkdir "$S/inner" && "$PROGRAM" -C "$S/inner" init --plain && said 0 '^note.nested.inner is a store' &&
        "$PROGRAM" -C "$S/inner" doctor | grep -q "^note.nested.$S is a store, too" && echo mine >"$S/notes/.agent-trace-7.old" && fix=--fix &&
        said 1 '^warning.beside.*notes/.agent-trace-7.old' && [ "$(cat "$S/notes/.agent-trace-7.old")" = mine ] && rm -r "$S/inner"
}
doctor_leads() { # who leads, as long as it does
    fix='' && fill && at lock hold sh -c "\"$PROGRAM\" -C \"$S\" doctor" | grep -q '^note.leader.*is the poll leader' && at doctor | cmp - /dev/null &&
        rm "$A/locks/store.lock" && ln -s /nowhere "$A/locks/store.lock" && said 1 '^error.place.*store.lock is a symbolic link' && rm "$A/locks/store.lock"
}
# Something else stands in the place of a part: the program says what and how to mend it, a repair moves it away.
stands() { # PART KIND-OF-THE-PART
    fill >/dev/null && at gc >/dev/null && set -- "$(cd "$A" && ls -d $1)" "$2" && [ -e "$A/$1" ] || { echo "there is no $1"; return 1; }
    rm -rf "$WORK/part" && mv "$A/$1" "$WORK/part"
    if [ "$2" = file ]; then mkdir "$A/$1" && is='a folder and not a file'; else echo x >"$A/$1" && is='a file and not a folder'; fi
    said 1 "^error.place..agent-trace/$1 is $is.*agent-trace repair" && [ "$(wc -l <"$WORK/said")" = 1 ] || return 1
    if at log >/dev/null 2>"$WORK/err"; then :; else
        [ $? = 1 ] && grep -q "$1 is $is.*agent-trace repair\|move it away" "$WORK/err" || { cat "$WORK/err" && return 1; }
    fi
    at repair --dry-run | grep -q "^error.place" && [ -e "$A/$1" ] && at repair >"$WORK/said"
    grep -q "^mended.place..agent-trace/$1 is $is" "$WORK/said" && [ -e "$A/damaged/${1##*/}" ] || { cat "$WORK/said"; return 1; }
    case $1 in git*) ;; *) whole || return 1 ;; esac # its versions were nowhere else
    # a link is told, and stays
    rm -rf "$WORK/part" && fill >/dev/null && at gc >/dev/null && mv "$A/$1" "$WORK/part" && ln -s "$WORK/part" "$A/$1" &&
        said 1 "^error.place..agent-trace/$1 is a symbolic link" && { at repair >"$WORK/said"; [ $? = 1 ]; } &&
        grep -q "^error.place..agent-trace/$1 is a symbolic link" "$WORK/said" && [ -L "$A/$1" ] && rm "$A/$1" && mv "$WORK/part" "$A/$1" &&
        { at doctor | cmp - /dev/null; } && whole
}
misplaced() {
    fix=''
    for part in config.toml journal state 'catalog.*' trace/000000000001.jsonl locks/store.lock locks/publish.lock; do
        stands "$part" file || { echo "at $part"; return 1; }
    done
    for part in git/refs/heads/main; do
        stands "$part" file || { echo "at $part"; return 1; }
    done
    for part in trace git git/objects unpublished locks tmp rejected aside index; do
        stands "$part" folder || { echo "at $part"; return 1; }
    done
}
misplaced_damaged() { # where all goes that is moved away
    fill >/dev/null && rm -rf "$A/damaged" "$A/index" && echo x >"$A/damaged" && echo y >"$A/index" && fix='' &&
        said 1 '^error.place..agent-trace/damaged is a file and not a folder' && at ls >/dev/null && { at repair --dry-run >/dev/null; [ -f "$A/damaged" ]; } &&
        at repair >"$WORK/said" && grep -q '^mended.place..agent-trace/damaged' "$WORK/said" && grep -qx x "$A/damaged/damaged.was" && grep -qx y "$A/damaged/index" &&
        at doctor && rm -rf "$A/damaged" "$A/journal" && echo z >"$A/damaged.was" && mkdir "$A/journal" && at repair && grep -qx z "$A/damaged/damaged.was" &&
        [ -d "$A/damaged/journal" ] && whole
}
nothing() { mkdir "$WORK/empty" && ! "$PROGRAM" -C "$WORK/empty" repair && [ -z "$(ls -A "$WORK/empty")" ]; }

case_ 'a damaged config.toml' config
case_ 'a missing config.toml' no_config
case_ 'a missing trace' trace
case_ 'a torn trace' torn
case_ 'a missing journal' journal
case_ 'a missing catalog' catalog
case_ 'a missing repository' git_gone
case_ 'a missing repository is told by status and doctor' git_told
case_ 'faces and leftovers have no effect' faces
case_ 'a dry run changes nothing' dry
case_ 'what is lost is told' lost
case_ 'lost bytes, as FORMAT.md says them' lost_bytes
case_ 'many lost versions are counted' lost_many
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null 2>&1; then
    case_ 'a store of somebody else is looked at without its locks' looked_at_only
else
    skip 'a store of somebody else is looked at without its locks' 'not root, or there is no setpriv'
fi
case_ 'a lost event is told, and types are kept or closed' lost_event
case_ 'JSON' json
case_ 'doctor finds and mends' doctor
case_ 'doctor: what lies inside is found and mended' doctor_inside
case_ 'doctor: JSON' doctor_json
case_ 'doctor: what is around is told and left' doctor_around
case_ 'doctor: locks and leader' doctor_leads
case_ 'something else in the place of a part' misplaced
case_ 'something else in the place of what was put away' misplaced_damaged
case_ 'a folder without a store stays one' nothing
kit_end
