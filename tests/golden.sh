#!/bin/sh
# Screens of 80 columns (some of 40) and what a pipe gets, against tests/golden/*.txt. Times of events
# are the author's, from an import; what differs from run to run (ids, the time of now, the folder)
# has a name in <>, and an escape is shown as ^[.
#
# usage: AGENT_TRACE_GOLDEN=update sh tests/golden.sh   writes them anew, to be looked at
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR COLUMNS
AGENT_TRACE_PAGER='' TERM=xterm TZ=UTC
export AGENT_TRACE_PAGER TERM TZ
GOLDEN=$ROOT/tests/golden
seen=0

# A day of two agents and a person.
mkdir "$WORK/store" && cd "$WORK/store" || exit 2
"$PROGRAM" init --plain >/dev/null || exit 2
python3 - >"$WORK/day.jsonl" <<'END'
import json
day = 1740823200  # 2025-03-01T10:00:00Z
plan = ["# Plan", "", "1. Read the reports.", "2. Write a summary.", "3. Ask for a review.", "", "Owner: nobody yet"]
def put(minute, actor, action, path, lines=None, **more):
    event = {"ts": day + 60 * minute, "actor": actor, "action": action, "path": path, **more}
    if lines is not None:
        event["content"] = "\n".join(lines) + "\n"
    print(json.dumps(event, ensure_ascii=False))
put(0, "user", "create", "docs/plan.md", plan, type="plan")
put(1, "user", "create", "docs/style.md", ["Two spaces.", "No tabs."], type="reference")
put(5, "agent:claude", "modify", "docs/plan.md", plan[:3] + ["2. Write a summary, one page."] + plan[4:] + ["Since: March"])
put(7, "agent:cursor", "create", "notes/meetings/2025/march/a-first-meeting-about-the-reports.md", ["Three people."])
put(9, "agent:cursor", "modify", "docs/style.md", ["Tabs."])
put(12, "user", "create", "notes/日本語.md", ["wide"])
put(13, "agent:claude", "create", "draft.md", ["x"] * 120)
put(15, "user", "delete", "draft.md")
END
"$PROGRAM" import "$WORK/day.jsonl" >/dev/null 2>&1
[ $? = 3 ] || exit 2 # one was denied
printf 'Two spaces.\nNo tabs.\nedited \033[31mby hand\n' >docs/style.md

named() { # stdin with a name for what differs
    sed -E "s/$(printf '\033')/^[/g; s|$WORK/store|<STORE>|g
        s/(202[6-9]|20[3-9][0-9])-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z/<NOW>/g
        s/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/<UUID>/g
        s/up to date, at [0-9a-f]{10}/up to date, at <COMMIT>/
        s/[0-9.]+ KB, generation/<SIZE>, generation/; s/^(.*trace.*) [0-9.]+ KB\$/\1 <SIZE>/
        s/(\[0m)[0-9.]+ KB\$/\1<SIZE>/"
}
compared() { # NAME: stdin is that file
    named >"$WORK/$1.txt"
    if [ "${AGENT_TRACE_GOLDEN-}" = update ]; then cp "$WORK/$1.txt" "$GOLDEN/$1.txt"; fi
    [ -s "$WORK/$1.txt" ] && diff "$GOLDEN/$1.txt" "$WORK/$1.txt"
}
screen() { # NAME COLUMNS ARGS...
    name=$1 columns=$2
    shift 2
    python3 -S "$ROOT/tests/kit_terminal.py" "${columns}x24" '' "$PROGRAM" --utc "$@" | compared "$name"
}
piped() { # NAME ARGS...
    name=$1
    shift
    "$PROGRAM" "$@" | compared "$name"
}
golden() { # SENTENCE COMMAND...
    seen=$((seen + 1))
    case_ "$@"
}
golden 'log' screen log 80 log
golden 'log of a folder' screen log_folder 80 log docs
golden 'log at 40 columns' screen log_narrow 40 log
golden 'log in a pipe' piped log_pipe log
golden 'ls' screen ls 80 ls --deleted
golden 'ls at 40 columns' screen ls_narrow 40 ls --deleted
golden 'ls in a pipe' piped ls_pipe ls --deleted
golden 'status' screen status 80 status
golden 'show' screen show 80 show docs/style.md --disk
golden 'diff with the file' screen diff_file 80 diff docs/style.md
golden 'diff of two versions' screen diff_versions 80 diff docs/plan.md 1 2
golden 'diff in a pipe' piped diff_pipe diff docs/plan.md 1 2
golden 'violations' screen violations 80 violations
golden 'violations show --diff' screen violations_diff 80 violations show 5 --diff
golden 'info' screen info 80 info docs/style.md
golden 'info at 56 columns' screen info_narrow 56 info docs/style.md
golden 'help of a command' screen help_log 80 help log
golden 'help at 40 columns' screen help_show_narrow 40 help show
# The doctor: a store that is well, one with a bit of everything, what --fix does, what it leaves.
golden 'doctor' screen doctor 80 doctor
spoil() {
    at=.agent-trace
    chmod 755 $at && chmod 644 $at/config.toml && rm $at/journal $at/.gitignore &&
        : >$at/manifest.toml.tmp && printf 'typed\n' >$at/aside/7-draft.md && chmod 600 $at/manifest.toml.tmp &&
        for refused in $at/rejected/*; do printf 'X' | dd of="$refused" bs=1 conv=notrunc; done &&
        mkdir drafts && "$PROGRAM" -C drafts init --plain
}
spoil >/dev/null 2>&1 || exit 2
golden 'doctor with many findings' screen doctor_many 80 doctor
golden 'doctor with many findings in a pipe' piped doctor_pipe doctor
golden 'doctor --fix' screen doctor_fix 80 doctor --fix
golden 'doctor behind --fix' screen doctor_after 80 doctor
all_seen() { # no file is there that nothing is compared with
    [ "$(ls "$GOLDEN"/*.txt | wc -l)" -eq "$seen" ]
}
case_ 'every golden file is compared' all_seen

kit_end
