"""old_outputs.py PROGRAM DATA WORK: what agent-trace 0.1.0 printed of its stores, fact by fact,
against what PROGRAM says of them, where they lie and after `upgrade`, as text and as JSON.

DATA has NAME.tar.gz, expected.json and expected-output/NAME; WORK is a folder for the stores. The
screens are laid out differently, so no screen is compared: each line of the old one is taken apart
into facts (a line that is not understood is a failure), and each fact is the same in ours, or has
a row in DIFFERENCES that says why it is not. A row that nothing needs is a failure too. Then what
0.1.0 printed is falsified, line by line, and each falsehood must be found; SEED=N repeats them.
"""
import collections, concurrent.futures, datetime, fnmatch, functools, json, os, random, re
import subprocess, sys
from types import SimpleNamespace as Facts

TYPES = {"P": "plan", "R": "reference", "C": "context", "L": "log", "S": "scratch"}
INDEX = "AGENT-TRACE.md"
SYNTHESIS = "Synthesis: degraded (no backend) — run `agent-trace model ensure`"
NO_CONTEXT = "No context.md found. Run `agent-trace context refresh` to generate."
UNTRACKED = r"(\d+) untracked file\(s\)\. Use `agent-trace add <type> <file>` to register\."
NOT_LISTED = "manifest.toml of agent-trace 0.1.0 does not list this document"
LABELS = ["Path", "Type", "ID", "Tags", "Description", "Agent", "Versions", "Created",
          "Last modified", "Created by"]


def second(text):  # 2026-11-23T22:39:44.426Z as 0.1.0 writes it
    return text[:19].replace("T", " ")


def seconds(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def committed(event):  # when the commit of an event was made, which is the time that 0.1.0 prints
    return second(event.get("recorded_at") or event["timestamp"])


def once(pairs):  # an object of JSON, no name in it twice
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


# ---- what may be otherwise ----


def in_git(x, path):  # a document that 0.1.0 had in a commit and did not register
    return path in x.store["versions"] and path not in x.registered


def deleted(x, path):
    return x.store["versions"][path][-1]["sha256"] is None


def commits(x, path, summary):  # about this document, with this summary
    return [c for c in x.store["commits"]
            if c["summary"] == summary and (not path or path in [f[0] for f in c["files"]])]


def own_action(x, action):  # of this file, in the message of the commit that the line is about
    return any([x.path, action] == f[:2] for c in commits(x, x.path, x.summary) for f in c["files"])


def grant(x, event):
    return event["action"] == "unlock" and event["path"] in [g["path"] for g in x.store["overrides"]]


def as_a_pattern(x):  # versions of all documents that a path matches if it is taken for a pattern
    return sum(len(v) for p, v in x.store["versions"].items()
               if p == x.path or fnmatch.fnmatch(p, x.path))


def own_time(old, new, event):  # that of the change, not of its commit
    return (old, new) == (committed(event), second(event["timestamp"])) and abs(
        seconds(old) - seconds(new)) <= 1


# The fact; when: what 0.1.0 said, what we say, and all else that is known (x); and why.
DIFFERENCES = [
    ("ls order",
     lambda old, new, x: old == [d["path"] for d in x.store["documents"]] and new == sorted(new),
     "0.1.0 lists as its manifest does, which means nothing; ours by path"),
    ("ls more",
     lambda old, new, x: in_git(x, new) and new in x.store["head_files"],
     "what 0.1.0 kept in git without a row in its manifest is a document of ours"),
    ("ls more deleted",
     lambda old, new, x: in_git(x, new) and deleted(x, new),
     "a deleted or untracked document is listed by --deleted"),
    ("ls plain",
     lambda old, new, x: x.path == "notes/old.md" and deleted(x, x.path),
     "0.1.0 keeps the row of a document that was deleted on disk; ours is listed by --deleted"),
    ("agent",
     lambda old, new, x: (x.path, old, new) == ("notes/found.md", "", "kestrel"),
     "0.1.0 registered without an agent what its poller had taken in as an agent's; ours says whose"),
    ("log actor",
     lambda old, new, x: (old, x.action) == ("system", "violation")
     and x.summary.startswith(f"violation: {new} attempted "),
     "0.1.0 names itself, which recorded the refusal; ours who was refused"),
    ("log action",
     lambda old, new, x: x.path == INDEX and old in ("create", "init") and own_action(x, new),
     "0.1.0 prints a commit's action for all of its files; ours each file's own, from its message"),
    ("log action",
     lambda old, new, x: (old, new) in (("modify", "reclassify"), ("delete", "untrack"))
     and x.summary.startswith(f"{new} {x.path}"),
     "0.1.0 tells by the summary alone that a type was changed, or that the file stayed"),
    ("log time",
     lambda old, new, x: x.face == "text" and own_time(old, new, x.event),
     "0.1.0 prints when the commit was made; our text when the change was, and JSON both"),
    ("log summary",
     lambda old, new, x: (x.face, new, x.event["source"]) == ("text", "outside agent-trace", "poll")
     and x.event["summary"] == old and re.fullmatch(r"\w+ \d file\(s\)", old),
     "0.1.0 prints how many files the commit of an edit on disk has; our text that it was one"),
    ("log summary",
     lambda old, new, x: (x.face, x.action, new) == ("text", "violation", "modify: " + old),
     "our text begins with what was refused"),
    ("log rows",
     lambda old, new, x: new == min(x.limit, x.rows),
     "0.1.0 counts commits; ours rows, one for each file of a commit"),
    ("log more",
     lambda old, new, x: old == x.limit and new > old,
     "0.1.0 stops at the limit; ours is asked for all, so that everything can be compared"),
    ("log more",
     lambda old, new, x: x.actor and new > old == sum(
         c["actor"] == x.actor for c in x.store["commits"][-x.limit:]),
     "0.1.0 takes the newest and the actor's of those (W-47); ours the newest of the actor"),
    ("log extra",
     lambda old, new, x: [new[k] for k in ("action", "path", "summary")]
     == ["reclassify", ".gitignore", NOT_LISTED],
     "0.1.0 committed .gitignore as reference, without a row; that it is none is an event of ours"),
    ("log extra",
     lambda old, new, x: grant(x, new),
     "0.1.0 kept grants in overrides.toml only; each is an event of ours"),
    ("log of path extra",
     lambda old, new, x: commits(x, new["path"], new["summary"]),
     "0.1.0 looks for changed bytes; ours tells refusals, other types and the same bytes too"),
    ("log of path extra",
     lambda old, new, x: grant(x, new),
     "and grants"),
    ("status synthesis",
     lambda old, new, x: old == SYNTHESIS,
     "there is no model, and none is needed (F-81)"),
    ("status documents",
     lambda old, new, x: old == f"{len(x.registered)} registered"
     and new == len(set(x.store["head_files"]) - {INDEX}),
     "0.1.0 counts the rows of its manifest; ours the documents that are there, but the index"),
    ("info shown",
     lambda old, new, x: old == "" and new is None,
     "0.1.0 prints names without a value; ours nothing (ls --json has them all)"),
    ("info versions",
     lambda old, new, x: "[" in x.path and old == as_a_pattern(x)
     and new == len(x.store["versions"][x.path]),
     "0.1.0 takes the name for a pattern and counts other documents' versions too"),
    ("info time",
     lambda old, new, x: own_time(old, new, x.event),
     "0.1.0 tells when the commit was made; ours when the change was"),
    ("event time",
     lambda old, new, x: x.kept and new == old[:23] + "Z",
     "our times have milliseconds; the old line is kept as it is"),
    ("event summary",
     lambda old, new, x: old == f"{x.path}: +1 lines, -1 lines."
     and any(abs(c["time"] - x.at) < 2 for c in commits(x, x.path, new)),
     "0.1.0 says +1 -1 of every change (W-31); ours what its commit says, and counts the lines"),
    ("context exit",
     lambda old, new, x: (x.name, old, new) == ("empty", 0, 4) and NO_CONTEXT in x.old,
     "a document that is not there is answered NOT_FOUND"),
    ("updates",
     lambda old, new, x: old == x.queued,
     "there is no command yet; the queue is kept as it is"),
]
# Commands of 0.1.0 that ours does not have. Their facts are looked for elsewhere: the text in the
# document, the events in the trace, the queue in its file. One that is there must be compared.
ABSENT = ["context", "resume"]


LIST_COLUMNS = "type", "version", "time", "size", "state", "path"
LOG_COLUMNS = "time", "actor", "action", "version", "added", "removed", "path", "summary"
REFUSED_COLUMNS = "seq", "time", "actor", "kind", "type", "kept", "path", "summary"


class Side:
    """One store, before or after the upgrade; an answer is asked for once."""

    def __init__(self, program, folder, store, name):
        self.program, self.folder, self.store, self.name = program, folder, store, name
        self.registered = {d["path"]: d for d in store["documents"]}
        self.ask = functools.lru_cache(None)(self.ask)
        self.json = functools.lru_cache(None)(self.json)
        self.rows = functools.lru_cache(None)(self.rows)
        self.table = functools.lru_cache(None)(self.table)
        self.trace = [json.loads(line) for line in self.good("trace").splitlines()]
        assert self.good("trace", "--json") == self.good("trace")
        self.events = [e for kept in (".agent-trace/", ".agent-trace/backup-0.1.0/")
                       for e in self.lines(kept + "summary_events.jsonl")]
        self.queue = self.lines(".agent-trace/context_updates.jsonl")

    def lines(self, name):
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            return []
        return [json.loads(line) for line in open(path, encoding="utf-8") if line.strip()]

    def ask(self, *args):
        p = subprocess.run([self.program, "-C", self.folder, *args], stdin=subprocess.DEVNULL,
                           capture_output=True)
        return p.returncode, p.stdout.decode(), p.stderr.decode()

    def good(self, *args):
        code, out, err = self.ask(*args)
        assert (code, err) == (0, ""), (args, code, err)
        return out

    def json(self, *args):
        return json.loads(self.good(*args, "--json"))

    def table(self, columns, *args):
        rows = [line.split("\t") for line in self.good(*args).splitlines()]
        assert all(len(r) == len(columns) for r in rows), (args, rows)
        return [Facts(**dict(zip(columns, r))) for r in rows]

    def rows(self, *args):  # of the log, as [text, event]
        text = self.table(LOG_COLUMNS, "log", *args)
        events = self.json("log", *args)
        assert len(text) == len(events), args
        for t, e in zip(text, events):
            change = [f"v{e['version']}", f"+{e['lines_added']}", f"-{e['lines_removed']}"]
            assert [t.version, t.added, t.removed] == (change if e["version"] else [""] * 3), (t, e)
        return list(zip(text, events))

    def labels(self, separator, *args):  # "name   value", and what is indented below it
        found = {}
        for line in self.good(*args).splitlines():
            if line.startswith("  "):
                found[last].append(line.strip())
            else:
                last, value = re.fullmatch(f"(.+?){separator}(.*)", line).groups()
                assert last not in found, line
                found[last] = [value]
        return found


class Comparison:
    """One output of 0.1.0 and what ours says instead."""

    def __init__(self, side, command, old):
        self.side, self.command, self.old = side, command, old
        self.failures, self.facts, self.used = [], 0, collections.Counter()
        try:
            if old and not old.endswith("\n"):
                raise ValueError("the last line has no end")
            self.compare(old.split("\n")[:-1], *command["args"])
        except (AssertionError, AttributeError, LookupError, StopIteration, TypeError, ValueError) as e:
            self.fail(f"not understood: {e!r}")

    def fail(self, why):
        self.failures.append(f"{self.side.name} {' '.join(self.command['args'])}: {why}"[:600])

    def fact(self, what, old, new, **known):
        self.facts += 1
        if type(old) is type(new) and old == new:
            return
        x = Facts(store=self.side.store, registered=self.side.registered, name=self.side.name,
                  old=self.old, **known)
        for i, (fact, holds, _) in enumerate(DIFFERENCES):
            if fact == what and holds(old, new, x):
                self.used[i] += 1
                return
        self.fail(f"{what}: 0.1.0 {old!r}, ours {new!r} {known.get('face', '')}")

    def parse(self, pattern, line):
        m = re.fullmatch(pattern, line)
        if not m:
            raise ValueError(line)
        return m.groups()

    def compare(self, lines, command, *args):
        self.fact("exit", self.command["exit"], 0)
        self.fact("stderr", self.command["stderr"], "")
        if command in ABSENT:
            code, _, err = self.side.ask(command, *args)
            assert code == 2 and f"unknown command '{command}'" in err, "there is such a command now"
        if command == "ls" and args:
            command, args = "ls_json", args[1:]
        getattr(self, command)(lines, *args)

    # ---- documents ----

    def listed(self, old):  # [path, type]: in both lists of ours, with and without --deleted
        for face in ("text", "json"):
            if face == "text":
                every = {r.path: r for r in self.side.table(LIST_COLUMNS, "ls", "--deleted")}
                plain = [r.path for r in self.side.table(LIST_COLUMNS, "ls")]
            else:
                every = {r["path"]: Facts(**r) for r in self.side.json("ls", "--deleted")}
                plain = [r["path"] for r in self.side.json("ls")]
            names = [path for path, _ in old]
            self.fact("ls once", len(set(names)), len(names))
            for path, kind in old:
                self.fact("ls type", kind, every[path].type, face=face, path=path)
                self.fact("ls plain", True, path in plain, face=face, path=path)
            more = [p for p in every if p not in names]
            for path in more:
                self.fact("ls more" if path in plain else "ls more deleted", None, path, face=face)
            self.fact("ls order", names, [p for p in every if p not in more], face=face)

    def ls(self, lines):
        if lines == ["No documents tracked."]:
            return self.listed([])
        found = [self.parse(r"\[([PRCLS])\] (.+)", line) for line in lines]
        assert found
        self.listed([(path, TYPES[letter]) for letter, path in found])

    def ls_json(self, lines):
        old = json.loads("\n".join(lines), object_pairs_hook=once)
        keys = {"agent_name", "description", "doc_type", "id", "path", "tags"}
        assert all(set(d) == keys for d in old), old
        self.listed([(d["path"], d["doc_type"]) for d in old])
        ours = {d["path"]: d for d in self.side.json("ls", "--deleted")}
        for d in old:
            new = ours[d["path"]]
            for key in keys - {"agent_name"}:
                self.fact("ls " + key, d[key], new[key], path=d["path"])
            self.fact("agent", d["agent_name"], new["agent_name"], path=d["path"])
            self.fact("agent", d["agent_name"], new["agent"] or "", path=d["path"])

    def info(self, lines, path):
        assert len(lines) == len(LABELS)
        old = {}
        for label, line in zip(LABELS, lines):
            old[label], = self.parse(re.escape(label) + ": +(.*)", line)
            assert line == f"{label + ':':14} {old[label]}"
        versions, = self.parse(r"(\d+)", old["Versions"])
        new = self.side.json("info", path)
        text = {k: v[0] for k, v in self.side.labels("\t", "info", path).items()}
        created = self.parse(r"(\S+) by (\S+)(?:, outside agent-trace)?", text["created"])
        changed = self.parse(r"(\S+) by (\S+)(?:, outside agent-trace)?", text["changed"])
        version, = self.parse(r"(\d+)(?: \(deleted\))?", text["version"])
        changes = [e for e in self.side.trace if e["doc"] == new["id"] and e["version"]]
        listed = next(d for d in self.side.json("ls", "--deleted") if d["path"] == path)
        self.fact("info tags", old["Tags"], ", ".join(listed["tags"]))
        self.fact("info description", old["Description"], listed["description"])
        for name, label in (("Tags", "tags"), ("Description", "description")):
            self.fact("info shown", old[name], text.get(label))
        for face, ours in (("json", new), ("text", Facts(**text))):
            if face == "text":
                ours = {"path": text["path"], "type": text["type"], "id": text["id"],
                        "agent": text.get("made by agent"), "version": int(version),
                        "created": created[0], "changed": changed[0], "created_by": created[1]}
            self.fact("info path", old["Path"], ours["path"])
            self.fact("info type", old["Type"], ours["type"])
            self.fact("info id", old["ID"], ours["id"])
            self.fact("agent", old["Agent"], ours["agent"] or "", path=path)
            self.fact("info versions", int(versions), ours["version"], path=path)
            self.fact("info created by", old["Created by"], ours["created_by"])
            for name, key, event in (("Created", "created", changes[0]),
                                     ("Last modified", "changed", changes[-1])):
                time, = self.parse(r"(\S+ \S+) UTC", old[name])
                self.fact("info time", time, second(ours[key]), event=event)

    # ---- history ----

    def log_line(self, line):
        time, action, actor, files, summary = self.parse(
            r"(\S+ \S+) \[(\w+)\] (\S+) (.*?) — (.+)", line)
        return Facts(time=time, action=action, actor=actor, summary=summary,
                     files=files.split(", ") if files else [None])

    def row(self, old, path, text, event):  # one file of one line
        about = dict(path=path, action=old.action, summary=old.summary, event=event)
        self.fact("log path", path or "", text.path, face="text")
        self.fact("log path", path, event["path"], face="json")
        for face, time, new in (("text", second(text.time), vars(text)),
                                ("json", committed(event), event)):
            self.fact("log time", old.time, time, face=face, **about)
            self.fact("log actor", old.actor, new["actor"], face=face, **about)
            self.fact("log action", old.action, new["action"], face=face, **about)
            self.fact("log summary", old.summary, new["summary"], face=face, **about)

    def log(self, lines, *args):
        path = args[0] if args and not args[0].startswith("--") else None
        options = dict(zip(args[path is not None::2], args[1 + (path is not None)::2]))
        limit, actor = int(options.pop("--limit", 50)), options.pop("--actor", None)
        assert not options and len(lines) <= limit
        asked = ([path] if path else []) + (["--actor", actor] if actor else [])
        old, every = [self.log_line(line) for line in lines], self.side.rows(*asked, "-n", "0")
        some, whole = (self.side.good("log", *asked, "-n", str(n)).splitlines() for n in (limit, 0))
        assert some == whole[:limit], "the newest are not the first"
        self.fact("log rows", len(old), len(some), limit=limit, rows=len(every))
        (self.log_of_path if path else self.log_of_store)(old, every, path, limit, actor)

    def log_of_store(self, old, every, _, limit, actor):
        at = 0
        for line in old:
            while every[at][1]["action"] == "unlock" or every[at][1]["summary"] == NOT_LISTED:
                self.fact("log extra", None, every[at][1])
                at += 1
            for path in reversed(line.files):  # of one commit, the last is the newest
                self.row(line, path, *every[at])
                at += 1
        self.fact("log more", len(old), len(old) + len(every) - at, limit=limit, actor=actor)

    def log_of_path(self, old, every, path, limit, actor):
        for _, event in every:
            if not event["version"]:
                self.fact("log of path extra", None, event)
        changes, events = [r for r in every if r[1]["version"]], self.side.json("log", "-n", "0")
        for line, (text, event) in zip(old, changes):
            self.row(line, path, text, event)
            # The other files of the commit are in the log of the store, beside it.
            files = line.files[::-1]
            at = next(i for i, e in enumerate(events) if e["seq"] == event["seq"]) - files.index(path)
            beside = events[at:at + len(files)]
            self.fact("log files", files, [e["path"] for e in beside])
            for e in beside:
                self.fact("log commit", [line.time, line.actor, line.summary],
                          [committed(e), e["actor"], e["summary"]])
        self.fact("log more", len(old), len(changes), limit=limit, actor=actor)

    def violations(self, lines):
        every = self.side.json("violations")
        if lines == ["No violations recorded."]:
            self.fact("violations", [], every)
            return self.fact("violations text", "nothing was refused\n", self.side.good("violations"))
        count, = self.parse(r"(\d+) violation\(s\):", lines[0])
        text = self.side.table(REFUSED_COLUMNS, "violations")
        self.fact("violations", int(count), len(every))
        self.fact("violations", len(lines) - 1, len(text))
        for line, t, e in zip(lines[1:], text, every):
            time, actor, path, summary = self.parse(r"  (\S+ \S+) (\S+) (.+?) — (.+)", line)
            self.fact("violation number", str(e["seq"]), t.seq)
            for face, new in (("text", vars(t)), ("json", e)):
                self.fact("violation path", path, new["path"], face=face)
                ours = committed(e) if face == "json" else second(t.time)
                self.fact("log time", time, ours, face=face, event=e)
                self.fact("log actor", actor, new["actor"], action="violation", summary=summary)
                self.fact("violation summary", summary, new["summary"], face=face)

    def resume(self, lines, what):
        assert what == "events"
        sources = {k["source"] for k in self.side.events}
        ours = [e for e in self.side.trace if e["source"] in sources]
        if lines == ["No summary events recorded."]:
            return self.fact("events", [], ours)
        count, = self.parse(r"Last (\d+) event\(s\):", lines[0])
        ours = ours[-20:]
        self.fact("events", int(count), len(ours))
        self.fact("events", len(lines) - 1, len(ours))
        for line, e in zip(lines[1:], ours):
            time, kind, path, summary, source, by = self.parse(
                r"  \[(\S+)\] (\w+) (.+?) — (.+) \(source=(\w+), detected_by=(\w+)\)", line)
            kept = [k for k in self.side.events if (k["timestamp"], k["path"]) == (time, path)]
            self.fact("event time", time, e["timestamp"], kept=kept)
            self.fact("event kind", kind, e["change_kind"])
            self.fact("event path", path, e["path"])
            at = seconds(time[:23] + "+00:00")
            self.fact("event summary", summary, e["summary"], path=path, at=at)
            self.fact("event source", source, e["source"])
            self.fact("event detected_by", by, e["detected_by"])

    # ---- the rest ----

    def status(self, lines):
        new, text = self.side.json("status"), self.side.labels(" {2,}", "status")
        self.fact("status synthesis", lines[0], None)
        old = collections.defaultdict(list)
        if lines[1:2] != ["Changes detected:"]:
            line, = lines[1:]
            count, = self.parse(r"Store is clean\. (\d+) document\(s\) tracked\.", line)
            self.fact("status documents", count + " registered", new["documents"])
            self.fact("status documents", count + " registered", int(text["documents"][0]))
        else:
            rest, letters = iter(lines[2:]), ""
            for line in rest:
                if not line:
                    count, = self.parse(UNTRACKED, next(rest))
                    self.fact("status untracked", int(count), len(new["untracked"]))
                    self.fact("status untracked", int(count), int(text["untracked"][0].split()[0]))
                    assert next(rest, None) is None
                else:
                    letter, path = self.parse(r"  \[([~?])\] (.+)", line)
                    letters += letter
                    old[letter].append(path)
            assert letters == "~" * len(old["~"]) + "?" * len(old["?"])
            assert ("?" in old) == (lines[-2] == "")
        self.fact("status modified", old["~"], new["modified_outside"])
        self.fact("status modified", old["~"], text.get("modified", []))
        self.fact("status untracked", old["?"], new["untracked"])
        self.fact("status untracked", ["? " + p for p in old["?"]], text.get("untracked", [""])[1:])
        for label in ("deleted", "renamed"):
            self.fact("status " + label, [], new[label + "_outside"])
            self.fact("status " + label, [], text.get(label, []))

    def context(self, lines, what):
        assert what in ("show", "updates"), what
        if what == "show":
            show = "show", "context.md", "--disk"
            self.fact("context exit", self.command["exit"], self.side.ask(*show)[0])
            if lines == [NO_CONTEXT]:
                return
            shown, told = self.side.good(*show), self.side.json(*show)
            for new in (shown, told["content"]):
                self.fact("context", self.old, new)
            if not told["modified_outside"]:
                self.fact("context version", self.old, self.side.good("show", "context.md"))
            return
        pending = [u for u in self.side.queue if not u["incorporated"]]
        if lines == ["No pending context updates."]:
            return self.fact("updates none", [], pending)
        count, = self.parse(r"(\d+) pending update\(s\):", lines[0])
        self.fact("updates count", int(count), len(pending))
        self.fact("updates count", len(lines) - 1, len(pending))
        for line, u in zip(lines[1:], pending):
            time, update = self.parse(r"  \[(\S+)\] (.+)", line)
            old = {"incorporated": False, "timestamp": time, "update": update}
            self.fact("updates", old, None, queued=u)


# ---- falsehoods ----

# One change each, in what 0.1.0 printed; every one must be found.
FALSE = [
    ("agents", "log.txt", "agent:marlin roadmap.md", "agent:kestrel roadmap.md"),  # an author
    ("agents", "info-01.txt", "Versions:      5", "Versions:      6"),
    ("agents", "info-01.txt", "fa8bb7cf", "fa8bb7ce"),
    ("agents", "info-10.txt", "kestrel\n", "\n"),  # an agent that is not named
    ("typed", "ls.txt", "[R] glossary.md", "[P] glossary.md"),
    ("typed", "ls-json.txt", '"tags": []', '"tags": ["x"]'),
    ("scanned", "info-08.txt", "Versions:      4", "Versions:      3"),  # beside what may be otherwise
    ("agents", "violations.txt", "agent:kestrel attempted", "agent:marlin attempted"),
    ("agents", "violations.txt", "3 violation(s)", "2 violation(s)"),
    ("scanned", "status.txt", "  [?] UPPER.MD\n", ""),
    ("typed", "status.txt", "  [~] context.md\n", ""),
    ("agents", "status.txt", "14 document(s)", "15 document(s)"),
    ("long", "log.txt", "22:47:48 [modify] user set1", "22:47:49 [modify] user set1"),  # a second
    ("long", "resume-events.txt", "source=poll", "source=cli_write"),
    ("typed", "context-updates.txt", "Tuesday", "Monday"),
    ("typed", "context-show.txt", "winch", "crane"),
    ("empty", "violations.txt", "No violations recorded.",
     "1 violation(s):\n  2026-11-23 22:39:30 system a.md — x"),
    ("empty", "log.txt", "system  — agent-trace store", "user  — agent-trace store"),
]


def falsehoods(name, file, text, chance):
    """Each line with a character changed, left out, twice, and behind the next one."""
    lines = text.splitlines(True)
    for i, line in enumerate(lines):
        at = [k for k, c in enumerate(line) if c.isascii() and c.isalnum()]
        if at:
            k = chance.choice(at)
            others = "0123456789" if line[k].isdigit() else "abcxyz"
            c = chance.choice(others.replace(line[k], ""))
            yield lines[:i] + [line[:k] + c + line[k + 1:]] + lines[i + 1:]
        yield lines[:i] + lines[i + 1:]
        yield lines[:i + 1] + lines[i:]
        # The order of the keys of an object means nothing.
        if file != "ls-json.txt" and i + 1 < len(lines) and line != lines[i + 1]:
            yield lines[:i] + [lines[i + 1], line] + lines[i + 2:]


def main(program, data, work):
    stores = json.load(open(os.path.join(data, "expected.json"), encoding="utf-8"))["stores"]
    failures, sums, used, sides, outputs = [], collections.Counter(), collections.Counter(), {}, {}
    for name in stores:
        folder = os.path.join(data, "expected-output", name)
        for c in json.load(open(os.path.join(folder, "commands.json"), encoding="utf-8")):
            printed = open(os.path.join(folder, c["file"]), encoding="utf-8", newline="").read()
            outputs[name, c["file"]] = c, printed
        for phase in ("before", "after"):
            archive, folder = os.path.join(data, name + ".tar.gz"), os.path.join(work, phase)
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
            folder = os.path.join(folder, name)
            if phase == "after":
                subprocess.run([program, "-C", folder, "upgrade"], check=True,
                               stdout=subprocess.DEVNULL)
            sides[name, phase] = Side(program, folder, stores[name], name)
    for phase in ("before", "after"):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda o: Comparison(sides[o[0][0], phase], *o[1]), outputs.items()))
        for c in done:
            failures += [f"{phase}: {f}" for f in c.failures]
            used += c.used
            sums.update({"outputs": 1, "lines": c.old.count("\n"), "facts": c.facts})
    failures += [f"nothing needs the difference: {what}: {why}"
                 for i, (what, _, why) in enumerate(DIFFERENCES) if not used[i]]
    for what, n in list(sums.items()):
        print(f"{what} {n}")
    if failures:
        print(*failures[:40], f"{len(failures)} failures", sep="\n")
        return 1

    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    chance, tried, believed = random.Random(seed), 0, []
    print(f"seed {seed}")
    for name, file, old, new in FALSE:
        command, text = outputs[name, file]
        assert old in text, (name, file, old)
        for phase in ("before", "after"):
            if not Comparison(sides[name, phase], command, text.replace(old, new, 1)).failures:
                believed.append((phase, name, file, new))
    print(f"falsehoods {len(FALSE)}")
    for (name, file), (command, text) in outputs.items():
        for lines in falsehoods(name, file, text, chance):
            tried += 1
            side = sides[name, chance.choice(("before", "after"))]
            if not Comparison(side, command, "".join(lines)).failures:
                changed = [(a, b) for a, b in zip(text.splitlines(True), lines) if a != b]
                believed.append((name, file, changed[:1]))
    print(f"false lines {tried}")
    if believed:
        print(*believed[:40], f"{len(believed)} were believed", sep="\n")
    return bool(believed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
