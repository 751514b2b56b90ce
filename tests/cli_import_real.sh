#!/bin/sh
# A real history, imported: documents, versions, commits, times and the trace are compared with the
# stream by a program that shares nothing with this one.
# usage: tests/cli_import_real.sh [PROGRAM]. Needs the data in AGENT_TRACE_TEST_DATA or ../shared/data.
set -u
program=${1:-${AGENT_TRACE_PROGRAM:-build/agent-trace}}
case $program in /*) ;; *) program=$(pwd)/$program ;; esac
[ -x "$program" ] || {
    echo "tests/cli_import_real.sh: there is no $program; ./build.sh build makes it" >&2
    exit 2
}
stream=${AGENT_TRACE_TEST_DATA:-../shared/data}/replay-basic-memory.jsonl.gz
case $stream in /*) ;; *) stream=$(pwd)/$stream ;; esac
if [ ! -r "$stream" ]; then
    echo "SKIPPED import of a real history: there is no $stream (set AGENT_TRACE_TEST_DATA)"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
fi
unset AGENT_TRACE_ACTOR AGENT_TRACE_PUBLISH
T=$(mktemp -d "${TMPDIR:-/tmp}/agent-trace-import.XXXXXX") || exit 2
trap 'rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$T/check.py" <<'EOF'
import gzip, json, os, random, subprocess, sys

program, stream, root = sys.argv[1:4]
passed = failed = 0


def case(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print("FAILED  import:", name)
        print("    " + str(detail)[:600])


def run(*words, stdin=None):
    p = subprocess.run([program, "-C", root, *words], input=stdin, capture_output=True)
    return p.returncode, p.stdout, p.stderr


def git(*words, stdin=None):
    p = subprocess.run(["git", "--git-dir", root + "/.agent-trace/git", *words],
                       input=stdin, capture_output=True)
    return p.returncode, p.stdout, p.stderr


# What the stream says, by the rules of the store and nothing of its code.
lines = [json.loads(l) for l in gzip.open(stream)]
now, versions, made, unchanged = {}, {}, [], 0
for line in lines:
    path = line["path"]
    data = None if line["action"] == "delete" else line["content"].encode()
    if data is not None and now.get(path) == data:
        unchanged += 1
        continue
    if data is None:
        action = "delete"
        del now[path]
    else:
        action = "modify" if path in now else "create"
        now[path] = data
    versions.setdefault(path, []).append(data)
    made.append((line["actor"], action, path, len(versions[path]), line["ts"], data))
case("the data is the one that was measured",
     (len(lines), unchanged, len(made), len(now)) == (1083, 23, 1060, 229),
     (len(lines), unchanged, len(made), len(now)))

code, out, err = run("init", "--plain")
case("init", code == 0, err)
code, out, err = run("import", stream, "--json")
summary = json.loads(out or b"{}")
case("import succeeds without a word", code == 0 and err == b"", (code, err))
case("the summary counts every line", summary == {
    "lines": 1083, "applied": 1060, "unchanged": 23, "denied": 0, "failed": 0, "edits_found": 0,
    "first_seq": 1, "last_seq": 1060}, summary)

# the files
disk = {}
for folder, folders, files in os.walk(root):
    if ".agent-trace" in folders:
        folders.remove(".agent-trace")
    for name in files:
        path = os.path.join(folder, name)
        disk[os.path.relpath(path, root)] = open(path, "rb").read()
case("229 files are left, byte for byte", disk == now,
     sorted(set(disk) ^ set(now))[:5] or [p for p in now if disk[p] != now[p]][:5])
code, out, err = run("ls", "--json")
listed = json.loads(out)
case("ls names them with their versions", code == 0 and
     {d["path"]: d["version"] for d in listed} == {p: len(versions[p]) for p in now} and
     not any(d["modified_outside"] for d in listed))

# the trace
code, out, err = run("trace")
events = [json.loads(l) for l in out.splitlines()]
case("1,060 events", code == 0 and len(events) == 1060, (code, len(events), err))
case("actor, action, path and version of each event are the stream's, in its order",
     [(e["actor"], e["action"], e["path"], e["version"], e["seq"]) for e in events] ==
     [(*m[:4], i + 1) for i, m in enumerate(made)])
case("the times are the stream's", [
    e["timestamp"] for e in events] == [
    __import__("datetime").datetime.fromtimestamp(
        m[4], __import__("datetime").timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    for m in made])
segments = sorted(os.listdir(root + "/.agent-trace/trace"))
case("trace prints what the segments hold", b"".join(
    open(root + "/.agent-trace/trace/" + s, "rb").read() for s in segments) == out)

# git
code, out2, err = git("fsck", "--strict", "--full")
case("git fsck --strict is silent", code == 0 and not out2 and not err, out2 + err)
code, ids, err = git("rev-list", "--reverse", "main")
ids = ids.decode().split()
case("a commit for every event", len(ids) == 1060, len(ids))
_, raw, _ = git("cat-file", "--batch", stdin="\n".join(ids).encode() + b"\n")
commits, at = [], 0
while at < len(raw):
    end = raw.index(b"\n", at)
    size = int(raw[at:end].split()[2])
    commits.append(raw[end + 1:end + 1 + size])
    at = end + 2 + size
people, messages, lines_of_commits = [], [], []
for body in commits:
    head, message = body.split(b"\n\n", 1)
    author = [l for l in head.split(b"\n") if l.startswith(b"author ")][0].decode()
    who, time, zone = author[len("author "):].rsplit(" ", 2)
    people.append((who, int(time), zone))
    messages.append(message)
    lines_of_commits += [l[len(b"event: "):] + b"\n" for l in message.split(b"\n")
                         if l.startswith(b"event: ")]
identity = {"user": "User <user@agent-trace>"}
case("author and author time are the stream's, +0000", [
    (w, t, z) for w, t, z in people] == [
    (identity.get(m[0], "Agent: %s <agent@agent-trace>" % m[0][6:]), m[4], "+0000")
    for m in made], people[:3])
case("the commits carry the lines of the trace byte for byte", b"".join(lines_of_commits) == out)


def message_is_right(message, event):
    text = message.decode().split("\n")
    want = ["summary: " + event["summary"], "actor: " + event["actor"]]
    if event["actor"].startswith("agent:"):
        want.append("agent: " + event["agent_name"])
    if event["session_id"]:
        want.append("session: " + event["session_id"])
    want.append("file:\t%s\t%s\t%s" % (event["path"], event["action"], event["doc_type"]))
    return text[1] == "" and text[2:2 + len(want)] == want and text[2 + len(want)] == ""


wrong = [m for m, e in zip(messages, events) if not message_is_right(m, e)]
case("every message has its parts in order", not wrong, wrong[:1])

# each commit's tree changes exactly its document, to exactly its bytes
_, changes, _ = git("log", "--reverse", "--root", "--no-renames", "--raw", "--no-abbrev", "-z",
                    "--format=%x01%H", "main")
blobs, good = [], 0
for i, part in enumerate(changes.split(b"\x01")[1:]):
    fields = part.strip(b"\n").split(b"\0")
    rest = [f for f in fields[1:] if f.strip(b"\n")]
    if len(rest) != 2:
        continue
    meta, path = rest[0].strip(b"\n").split(), rest[1].decode()
    letter = {"create": b"A", "modify": b"M", "delete": b"D"}[made[i][1]]
    if path == made[i][2] and meta[4] == letter:
        good += 1
        blobs.append((meta[3].decode(), made[i][5]))
case("each commit changes its document and nothing else", good == 1060, good)
wanted = [(b, data) for b, data in blobs if data is not None]
_, raw, _ = git("cat-file", "--batch", stdin="\n".join(b for b, _ in wanted).encode() + b"\n")
at, equal = 0, 0
for blob, data in wanted:
    end = raw.index(b"\n", at)
    size = int(raw[at:end].split()[2])
    equal += raw[end + 1:end + 1 + size] == data
    at = end + 2 + size
case("every version's bytes are in git", equal == len(wanted) == 1060 - sum(
    m[5] is None for m in made), (equal, len(wanted)))

# show, for a sample of every kind
seed = int.from_bytes(os.urandom(4), "big")
picks = [(p, n + 1) for p in versions for n in range(len(versions[p]))]
random.Random(seed).shuffle(picks)
shown = refused = 0
for path, n in picks[:120]:
    code, out, err = run("show", path, str(n))
    want = versions[path][n - 1]
    if want is None:
        refused += code == 4 and not out
    else:
        shown += code == 0 and out == want
kinds = sum(versions[p][n - 1] is None for p, n in picks[:120])
case("show prints each version's bytes (seed %d)" % seed, shown + refused == 120 and
     shown >= 100 - kinds and refused == kinds, (shown, refused, kinds))

# the same again changes nothing
code, out, err = run("import", stream)
again = out.decode().split(",")[0]
case("git and trace grow together when it is imported again", code in (0, 1) and
     len(run("trace")[1].splitlines()) == int(git("rev-list", "--count", "main")[1]), (code, again))
code, out, err = run("status", "--json")
status = json.loads(out)
case("status: nothing pending, nothing modified, nothing aside",
     status["pending"] == 0 and status["modified_outside"] == [] and
     status["edits_kept_aside"] == 0 and status["documents"] == 229, status)

print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(1 if failed or not passed else 0)
EOF
mkdir "$T/store" && python3 "$T/check.py" "$program" "$stream" "$T/store"
