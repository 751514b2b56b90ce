#!/bin/sh
# Every command with bad input, and on stores that are damaged, full or closed to it, as
# tests/bad_input.tsv says: exit code, exact message, and not a byte of the folder changed. The table
# says how it is read. A row that fails is shown as the table's row (-) and as what was seen (+).
#
# usage: AGENT_TRACE_GOLDEN=update sh tests/bad_input.sh   writes codes and messages anew, to be looked at
. "${AGENT_TRACE_ROOT:-.}/tests/kit.sh"
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH NO_COLOR COLUMNS
unset $(env | sed -n 's/^\(GIT_[A-Z_]*\)=.*/\1/p')
umask 022
AGENT_TRACE_PAGER='' LC_ALL=C.UTF-8 TZ=UTC
export AGENT_TRACE_PAGER LC_ALL TZ
TABLE=$ROOT/tests/bad_input.tsv

# What the rows run: the program under its own name, and words that are too long for it.
# "alone" succeeds where mounts are our own affair; "as_nobody" runs a command as another user.
mkdir "$WORK/bin" "$WORK/seen" "$WORK/rows"
chmod 755 "$WORK" "$WORK/bin" && cp "$PROGRAM" "$WORK/bin/agent-trace"
printf '#!/bin/sh\n[ -n "${ALONE-}" ] || { echo "needs mounts of its own"; exit 1; } >&2\n' >"$WORK/bin/alone"
printf '#!/bin/sh\nexec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"\n' >"$WORK/bin/as_nobody"
chmod 755 "$WORK"/bin/*
PATH=$WORK/bin:$PATH
of() { # N TEXT: N times
    awk -v n="$1" -v s="$2" 'BEGIN { while (n-- > 0) printf "%s", s }'
}
NAME_256=$(of 256 n) DEEP_65=$(of 65 d/)x PATH_1025=$(of 205 abcd/) SUMMARY_4097=$(of 4097 s)
AGENT_65=agent:$(of 65 a) SESSION_65=$(of 65 s)
export PATH NAME_256 DEEP_65 PATH_1025 SUMMARY_4097 AGENT_65 SESSION_65

# The store that every situation begins with: one document of each type, one with five versions, a
# deleted and an untracked one, one that is no text, a refusal with its bytes, a file that is none.
base_store() {
    mkdir -p "$WORK/base/store" "$WORK/base/outside" && cd "$WORK/base/store" || return 1
    printf 'not ours\n' >../outside/secret.md
    agent-trace init --plain || return 1
    for n in 1 2 3 4 5; do agent-trace write plan.md --type plan --content "plan $n" || return 1; done
    agent-trace write notes/a.md --content 'a note' || return 1
    agent-trace write ref.md --type reference --content 'the rules' || return 1
    agent-trace --actor system write ctx.md --type context --content context || return 1
    agent-trace --actor system write log.md --type log --content log || return 1
    printf 'a\0b\377' | agent-trace write bytes.bin || return 1
    agent-trace write gone.md --content soon || return 1
    agent-trace rm gone.md || return 1
    agent-trace write left.md --content left || return 1
    agent-trace untrack left.md || return 1
    agent-trace --actor agent:a write ref.md --content 'my rules' && return 1
    mkdir -p empty .git/x && printf 'no document\n' >file.md && ln -s ../outside link &&
        ln -s plan.md link.md && mkfifo pipe.md && printf '{"action"' >bad.jsonl &&
        echo '{"actor":"user","action":"modify","path":"plan.md","content":"z"}' >in.jsonl
}

cat >"$WORK/run.py" <<'END'
"""run.py TABLE SITUATION: runs its rows; in $WORK/seen is what was seen. Exit 77: cannot be made."""
import errno, hashlib, os, re, shutil, stat, subprocess, sys

table, wanted = sys.argv[1:3]
update = os.environ.get("AGENT_TRACE_GOLDEN") == "update"
work = os.environ["WORK"]
at = work + "/at" + re.sub("[^a-z]", "", wanted)
store = at + "/store"

def content(path):
    """A hash of the bytes that are not zero and of where they are: the journal is nearly all holes."""
    found, at, fd = hashlib.sha1(), 0, os.open(path, os.O_RDONLY)
    try:
        while True:
            at = os.lseek(fd, at, os.SEEK_DATA)
            chunk = os.pread(fd, 65536 - at % 65536, at)
            if chunk.count(0) != len(chunk): found.update(b"%d " % at + chunk)
            if not chunk: break
            at += len(chunk)
    except OSError as e:
        if e.errno != errno.ENXIO: raise  # no data behind that
    os.close(fd)
    return found.hexdigest()

def tree(top):
    """Names, kinds, rights, sizes and bytes of all below it; of lock files neither size nor bytes."""
    seen = {}
    def look(path):
        st = os.lstat(path)
        what = oct(st.st_mode)
        if stat.S_ISLNK(st.st_mode):
            what += os.readlink(path)
        elif stat.S_ISREG(st.st_mode) and "/.agent-trace/locks/" not in path:
            what += " %d %s" % (st.st_size, content(path))
        seen[path] = what
        if stat.S_ISDIR(st.st_mode):
            for name in os.listdir(path):
                look(path + "/" + name)
    look(top)
    return seen

def differ(before, after):
    return sorted(p[len(at) + 1:] for p in before.keys() | after.keys() if before.get(p) != after.get(p))

def shell(command, **more):
    return subprocess.run(["sh", "-c", command], cwd=store, stdin=subprocess.DEVNULL, capture_output=True, **more)

def clear():
    subprocess.run("umount -l '%s' 2>/dev/null; chmod -R u+rwx '%s' 2>/dev/null; rm -rf '%s'" % (store, at, at),
                   shell=True, stderr=subprocess.DEVNULL)

def make(commands):
    """A fresh copy of the base store, known as a copy already, and then what the situation says."""
    clear()
    subprocess.run(["cp", "-a", work + "/base", at], check=True)
    shell("agent-trace trace -n 1 && agent-trace gc", check=True)
    for command in commands:
        done = shell(command)
        if done.returncode:
            sys.stdout.write(done.stderr.decode())
            return False
    return True

def cell(raw):
    s = raw.decode("utf-8", "backslashreplace").rstrip("\n")
    s = s.replace(store, "<STORE>").replace(at, "<AT>").replace(work, "<WORK>")
    s = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<UUID>", s)
    s = re.sub(r"\b[0-9a-f]{40}\b", "<OBJECT>", s)
    s = re.sub(r"\b[0-9a-f]{64}\b", "<HASH>", s)
    s = re.sub(r"tmp_pack_[0-9a-f]+_agt", "<FILE>", s)
    return s.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")

def times(s):
    return re.sub(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}Z", "<TIME>", s)

def bad_message(line, command):
    """What is wrong with a line that a person gets."""
    longest = 320 if re.search(r"[$]([A-Z]+_[0-9]+)", command) else 200
    if not line.startswith("agent-trace: "): return "does not begin with the program's name"
    if len(line) > longest: return "has %d columns" % len(line)
    for word in ("(null)", "errno", "libgit2", "AGT_", "0x", "system code"):
        if word in line: return "has " + word
    return None

def events(action):
    n = subprocess.run(["agent-trace", "-C", store, "trace", "--action", action], capture_output=True)
    return n.stdout.count(b"\n")

def run(row, before):
    """Runs one row: what was seen of it, what is wrong with it, and whether all is as before."""
    mark, command = row[0].partition(" ")[2], row[1]
    refusals = events("violation") if mark == "event" else 0
    done = shell(command)
    got = [(str(done.returncode) + " " + mark).strip(), command, cell(done.stderr), times(cell(done.stdout))]
    if not got[3]: got.pop()
    problems = []
    changed = differ(before, tree(at))
    may = "store/.agent-trace/" + {"lock": "locks/poll.lock", "git": "git"}.get(mark, "")
    unlike = [p for p in changed if not mark or not p.startswith(may)]
    if mark == "event" and events("violation") != refusals + 1: problems.append("did not record the refusal")
    if mark and not changed: problems.append("changed nothing, against its mark")
    if unlike: problems.append("changed " + " ".join(unlike[:9]))
    if done.returncode == 0: problems.append("succeeded")
    for line in got[2].split("\\n") if got[2] else []:
        why = bad_message(line, command)
        if why: problems.append("a message " + why)
    return got, problems, changed

def main():
    mine, situation, out, rows, failed, before = False, [], [], 0, 0, None
    for line in open(table, encoding="utf-8").read().splitlines():
        if line.startswith("@ "):
            mine = line[2:] == wanted
        elif not mine or line.startswith("#"):
            pass
        elif line.startswith("$ "):
            situation.append(line[2:])
        else:
            if before is None:
                if not make(situation): return 77
                before = tree(at)
            row = line.split("\t")
            row[0] = row[0].replace("?", "").strip() if row[0] != "?" else ""
            got, problems, changed = run(row, before)
            rows += 1
            new = "\t".join(got)
            if problems: print("%s: %s" % (got[1], "; ".join(problems)))
            if new != line and not update:
                print("- %s\n+ %s" % (line, new))
                problems.append("differs")
            failed += bool(problems)
            if changed: before = None  # made anew for the next row
            line = new
        if mine: out.append(line)
    clear()
    name = re.sub("[^a-z]", "_", wanted)
    open(work + "/seen/" + name, "w", encoding="utf-8").write("\n".join(out) + "\n")
    open(work + "/rows/" + name, "w").write("%d\n" % rows)
    print("%d of %d rows failed" % (failed, rows))
    return failed > 0 or rows == 0

sys.exit(main())
END
export WORK
base_store >"$WORK/base.log" 2>&1 || { cat "$WORK/base.log"; exit 2; }
cd "$WORK" || exit 2
alone=
if unshare --mount true 2>/dev/null; then alone='env ALONE=1 unshare --mount --propagation private'; fi
python=$(python3 -c 'import sys; print(sys.executable)')
sed -n "s/^@ //p" "$TABLE" | grep -- "${BAD_INPUT_ONLY:-}" >"$WORK/situations"

situation() { # SITUATION: what was found, and the code behind it in the last line
    $alone "$python" -S "$WORK/run.py" "$TABLE" "$1" 2>&1 </dev/null
    echo $?
}
told() { # FILE: what situation printed, as a case's
    sed '$d' "$1"
    [ "$(tail -n 1 "$1")" = 0 ]
}
# Two at a time: each mostly waits for processes.
i=0 waits=
while read -r name; do
    i=$((i + 1))
    situation "$name" >"$WORK/out.$i" &
    waits="$waits $!"
    [ $((i % 2)) = 1 ] || { wait $waits; waits=; }
done <"$WORK/situations"
wait
i=0
while read -r name; do
    i=$((i + 1))
    if [ "$(tail -n 1 "$WORK/out.$i")" = 77 ]; then
        skip "$name" "$(head -n 1 "$WORK/out.$i")"
    else
        case_ "$name: each row answers as the table says and changes nothing" told "$WORK/out.$i"
    fi
done <"$WORK/situations"

if [ "${AGENT_TRACE_GOLDEN-}" = update ]; then
    sed '/^@ /,$d' "$TABLE" >"$WORK/table"
    sed -n 's/^@ //p' "$TABLE" | while read -r name; do
        seen=$WORK/seen/$(printf %s "$name" | tr -c a-z _)
        if [ -e "$seen" ]; then cat "$seen"; else awk -v n="@ $name" '/^@ / { on = $0 == n } on' "$TABLE"; fi
    done >>"$WORK/table"
    cp "$WORK/table" "$TABLE"
fi

# Every command has rows, and so has a command that comes later.
every_command() {
    few=
    for name in $(agent-trace help --names); do
        n=$(grep -c "^[0-9][^	]*	[^	]*agent-trace\( --*[a-zA-Z]* [a-z:]*\)*\( --json\)* $name\( \|	\|\$\)" "$TABLE")
        [ "$n" -ge 4 ] || few="$few $name:$n"
    done
    [ -z "$few" ] || { echo "few rows for:$few"; false; }
}
case_ 'every command has rows with bad input' every_command
rows_seen() { # MIN: in all; a situation that cannot be made is not counted
    seen=$(cat "$WORK"/rows/* | awk '{ n += $1 } END { print n }')
    echo "$seen rows of $(grep -c "^[0-9]" "$TABLE")"
    [ "$seen" -ge "$1" ]
}
[ -n "${BAD_INPUT_ONLY-}" ] || case_ 'the table has at least 700 rows that were run' rows_seen 700

kit_end
