#!/usr/bin/env python3
"""Reads a store and checks that every part of it agrees with the others. Made from FORMAT.md alone,
with the standard library and git. usage: read_store.py ROOT. Prints what was checked, with counts;
exits 1 if anything disagrees. Nobody may write to the store meanwhile."""
import collections, datetime, hashlib, json, os, re, struct, subprocess, sys

TYPES = ["plan", "context", "log", "reference", "scratch"]
FIELDS = ("timestamp session_id agent_name actor action change_kind path doc_type summary source detected_by "
          "lines_added lines_removed seq replica version blob doc doc_prev prev recorded_at rejected").split()
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)
counts, wrong = collections.Counter(), []
Record = collections.namedtuple("Record", "crc length entries generation first_seq segment offset recorded parts")


def check(good, what, *about):
    counts[what] += 1
    if not good:
        wrong.append(" ".join([what] + [str(a) for a in about]))
    return good


def crc32c(seed, data):
    c = seed ^ 0xFFFFFFFF
    for byte in data:
        c = c >> 8 ^ TABLE[(c ^ byte) & 255]
    return c ^ 0xFFFFFFFF


def git_id(data, kind="blob"):
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data).hexdigest()


def read(*names):
    try:
        with open(os.path.join(*names), "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def names(*folder):
    path = os.path.join(*folder)
    return sorted(n for n in os.listdir(path) if not n.endswith(".tmp")) if os.path.isdir(path) else []


def ms(text):
    t = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return (t - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(milliseconds=1)


class Store:
    def __init__(self, root):
        self.root, self.own = root, os.path.join(root, ".agent-trace")
        self.records, self.contents, self.events = [], {}, {}
        config = (read(self.own, "config.toml") or b"").decode()
        check(re.search(r"^\[store\][^[]*^format = 2$", config, re.M | re.S), "config.toml: format 2")
        check(re.search(r'^id = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"$', config, re.M),
              "config.toml: id")
        self.journal()
        self.unpublished()
        self.trace()
        self.walk()
        self.catalog()
        self.state()
        self.rejected()
        self.git()
        self.documents()

    # ---- journal and unpublished: headers and records (4, 8) ----
    def journal(self):
        data, slots = read(self.own, "journal"), []
        for at in (0, 4096):
            slot = data[at:at + 256]
            good = slot[:8] == b"AGTJRNL2" and crc32c(0, slot[:228]) == struct.unpack_from("<I", slot, 228)[0]
            check(good or not any(slot), "journal: header", "at", at)
            if good:
                slots.append(slot)
        if not check(slots, "journal: a valid header"):
            raise ValueError("no header")
        h = max(slots, key=lambda s: struct.unpack_from("<Q", s, 16)[0])
        check(struct.unpack_from("<II", h, 8) == (2, 0), "journal: format and flags")
        (self.generation, _, self.capacity, self.next_seq, segment, offset) = struct.unpack_from("<6Q", h, 16)
        self.header_end = (segment, offset, h[64:96].hex())
        (self.catalog_n, self.packed_seq) = struct.unpack_from("<2Q", h, 96)
        self.packed_head, self.oldest = h[112:132].hex(), struct.unpack_from("<Q", h, 136)[0]
        self.dev, self.ino, self.crc = struct.unpack_from("<QQ", h, 152) + struct.unpack_from("<I", h, 228)
        check(len(data) == self.capacity and self.catalog_n == (self.generation if self.generation > 1 else 0),
              "journal: capacity and catalog")
        self.end, self.seq, self.chain, self.journalled = self.walk_records(
            data, 8192, self.next_seq, self.crc, self.generation, "journal: record")

    def walk_records(self, data, at, seq, seed, generation, what):
        found = []
        while len(data) - at >= 80:
            magic, crc, length, entries, gen, first, segment, offset, recorded = struct.unpack_from("<4s3I4Qq", data, at)
            if (magic != b"AGTR" or gen != generation or first != seq or not entries or length < 80 or length % 8
                    or length > len(data) - at or crc32c(seed, data[at + 8:at + length]) != crc):
                break
            parts, p = [], at + 64
            while p + 16 <= at + length:
                line_len, flags, size = struct.unpack_from("<IIQ", data, p)
                line = data[p + 16:p + 16 + line_len]
                p += 16 + line_len
                content = data[p:p + size] if flags == 1 else None
                if flags == 3:
                    content = read(self.own, "unpublished", "side-%d" % (seq + len(parts)))
                check(flags in (0, 1, 3) and (not flags or content is not None and len(content) == size),
                      what + ": content", first)
                p = (p + (size if flags == 1 else 0) + 7) // 8 * 8
                parts.append((line, content))
            check(len(parts) == entries and p == at + length, what, first)
            found.append(Record(crc, length, entries, gen, first, segment, offset, recorded, parts))
            seq, seed, at = seq + entries, crc, at + length
        self.records += found
        return at, seq, seed, len(found)

    def unpublished(self):
        seqs = sorted(int(n[:-8]) for n in names(self.own, "unpublished") if re.fullmatch(r"[1-9]\d*\.records", n))
        expect = None
        for first in [s for s in seqs if self.oldest and s >= self.oldest]:
            data = read(self.own, "unpublished", "%d.records" % first)
            generation, first_seq, seed, _ = struct.unpack_from("<QQII", data, 8)
            check(data[:8] == b"AGTUNPB2" and first_seq == first and generation < self.generation
                  and expect in (None, first), "unpublished: file", first)
            end, expect, _, _ = self.walk_records(data, 32, first, seed, generation, "unpublished: record")
            check(end == len(data), "unpublished: whole to its end", first)
        check(expect == (self.next_seq if self.oldest else None), "unpublished: up to the journal")
        check((self.oldest or self.next_seq) <= self.packed_seq + 1 or not self.git_dir(), "unpublished or in git")

    def git_dir(self):
        return os.path.exists(os.path.join(self.own, "git", "HEAD"))

    # ---- trace (7) ----
    def trace(self):
        seq, prev, self.ends = 1, "0" * 64, {}
        files = names(self.own, "trace")
        check(files[:1] == ["000000000001.jsonl"], "trace: first segment")
        for name in [n for n in files if n.endswith(".jsonl")]:
            data, at = read(self.own, "trace", name), 0
            check(name == "%012d.jsonl" % seq, "trace: segment", name)
            check(not data or data.endswith(b"\n"), "trace: whole lines", name)
            for line in data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n", data):
                e = self.line(line, seq)
                check(e.get("seq") == seq and e.get("prev") == prev, "trace: seq and prev", seq)
                e["line_"], e["at_"] = line, (int(name[:12]), at)
                self.events[seq] = e
                prev, at, seq = hashlib.sha256(line).hexdigest(), at + len(line), seq + 1
                self.ends[seq] = (int(name[:12]), at, prev)
        check(seq == self.seq, "trace: as many events as the journal says", seq - 1, self.seq - 1)
        if self.next_seq > 1:
            check(self.ends.get(self.next_seq) == self.header_end, "trace: where the header says it ends")

    def line(self, line, seq):
        try:
            pairs = json.loads(line, object_pairs_hook=list)
            e = dict(pairs)
            text = "{%s}\n" % ",".join('"%s":%s' % (k, self.value(v)) for k, v in pairs)
            order = [f for f in FIELDS if f in e]
            good = text.encode() == line and [k for k, _ in pairs] == order and set(FIELDS[:20]) <= set(order)
            at, agent = ms(e["timestamp"]), e["actor"][6:] if e["actor"].startswith("agent:") else None
            good = good and len(e["timestamp"]) == 24 and at >= 0 and e["agent_name"] == agent
            good = good and (agent or e["actor"] in ("user", "system")) and e.get("recorded_at") != e["timestamp"]
            good = good and re.fullmatch(r"[a-z0-9_.]{1,64}", e["action"]) and e["doc_type"] in TYPES + [None]
            good = good and (e["action"] == "violation" or e["change_kind"] == e["action"]) and len(line) <= 65536
            good = good and re.fullmatch(r"[0-9a-f]{16}", e["replica"]) and e["source"] == e["detected_by"]
            good = good and re.fullmatch(r"[0-9a-f]{40}|", e["blob"] or "") and re.fullmatch(r"[0-9a-f]{64}", e["prev"])
        except (ValueError, KeyError, TypeError, AttributeError):
            e, good = {}, False
        check(good, "trace: canonical line", seq)
        return e

    def value(self, v):
        if not isinstance(v, str):
            return json.dumps(v)
        return '"%s"' % re.sub(r'["\\\x00-\x1f]', lambda m: json.dumps(m.group())[1:-1], v)

    # ---- documents from events (7.3), and the records' lines and contents ----
    def walk(self):
        self.docs, self.at_checkpoint, self.blobs = {}, {}, {}
        for seq, e in self.events.items():
            if seq == self.next_seq:
                self.at_checkpoint = {p: dict(d) for p, d in self.docs.items()}
            old = self.docs.get(e.get("path"))
            if e.get("version"):
                check(e["version"] == (old["version"] if old else 0) + 1 and e["doc_prev"] == (old["seq"] if old else 0)
                      and e["path"] and e["doc"] and (not old or old["doc"] == e["doc"])
                      and (e["blob"] is None) == (e["action"] == "delete"), "documents: version chain", seq)
                self.docs[e["path"]] = dict(e, agent=old["agent"] if old else e["agent_name"] or "")
                if e["blob"]:
                    self.blobs[e["blob"]] = seq
            elif e.get("action") == "violation":
                check(e["doc_prev"] == (old["seq"] if old else 0) and e["blob"] is None, "documents: violation", seq)
        if self.next_seq > max(self.events, default=0):
            self.at_checkpoint = self.docs
        for r in self.records:
            at = r.offset
            for i, (line, content) in enumerate(r.parts):
                e = self.events.get(r.first_seq + i, {})
                check(e.get("line_") == line and e.get("at_") == (r.segment, at), "records: line as in the trace", r.first_seq)
                at += len(line)
                if e.get("blob"):
                    check(content is not None and git_id(content) == e["blob"], "records: bytes of a version", e["seq"])
                    self.contents[e["blob"]] = content
                if e.get("rejected"):
                    check(content is not None and hashlib.sha256(content).hexdigest() == e["rejected"],
                          "records: refused bytes", e["seq"])
                check(e.get("recorded_at", e.get("timestamp")) is not None and r.recorded ==
                      ms(e.get("recorded_at", e["timestamp"])), "records: time", r.first_seq)

    # ---- catalog (6) and state (5) ----
    def catalog(self):
        if not self.catalog_n:
            return check(self.next_seq == 1, "catalog: none for a new store")
        data = read(self.own, "catalog.%d" % self.catalog_n) or bytes(576)
        crc, rows, next_seq, text, live, ring = struct.unpack_from("<IIQQQI", data, 8)
        check(data[:8] == b"AGTCAT02" and crc32c(0, data[12:]) == crc and len(data) == 576 + 144 * rows + text
              and next_seq == self.next_seq and ring < 64, "catalog: header")
        base, keys, rows = 576 + 144 * rows, [], min(rows, (len(data) - 576) // 144)
        for i in range(rows):
            row = struct.unpack_from("<8IQqQ2Q2q20s36s", data, 576 + 144 * i)
            path = data[base + row[0]:base + row[0] + row[1]].decode(errors="replace")
            agent, d = data[base + row[2]:base + row[2] + row[3]].decode(errors="replace"), self.at_checkpoint.get(path)
            keys.append((path.encode().lower(), path.encode()))
            check(d and agent == d["agent"] and TYPES[row[4] - 1] == d["doc_type"] and row[5] == (d["blob"] is not None)
                  and row[6] == d["version"] and row[8] == d["seq"] and row[9] == ms(d["timestamp"])
                  and row[15].hex() == (d["blob"] or "0" * 40) and row[16].decode() == d["doc"],
                  "catalog: row as the trace says", path)
            if d and d["blob"] in self.contents:
                check(row[10] == len(self.contents[d["blob"]]), "catalog: size", path)
        check(keys == sorted(keys) and {k[1].decode() for k in keys} == set(self.at_checkpoint)
              and live == sum(d["blob"] is not None for d in self.at_checkpoint.values()), "catalog: all rows, sorted")
        numbers = struct.unpack_from("<64Q", data, 64)
        for e in [e for e in self.events.values() if e["seq"] < self.next_seq and e.get("action") == "violation"][-64:]:
            n = 0xCBF29CE484222325
            for byte in b"".join((e[k] or "").encode() + b"\xff" if k in e else b"\xff" for k in ("actor", "path", "rejected")):
                n = (n ^ byte) * 0x100000001B3 % (1 << 64)
            check((n or 1) in numbers, "catalog: refusal in the ring", e["seq"])

    def state(self):
        data, best = read(self.own, "state") or b"", None
        for at in (0, 512):
            s = data[at:at + 320]
            if not any(s):
                continue
            if check(len(s) == 320 and s[:4] == b"TST2" and crc32c(0, s[:316]) == struct.unpack_from("<I", s, 316)[0]
                     and struct.unpack_from("<Q", s, 8)[0] % 2 == (at > 0), "state: copy", "at", at):
                best = max(best or s, s, key=lambda c: struct.unpack_from("<Q", c, 8)[0])
        now, st = read("/proc/sys/kernel/random/boot_id"), os.stat(os.path.join(self.own, "journal"))
        self.head = None
        if best is None or best[16:56].rstrip(b"\0") != (now or b"").strip() or \
                struct.unpack_from("<3Q", best, 56) != (self.generation, st.st_dev, st.st_ino):
            return
        seq, end, synced, applied, applied_seq = struct.unpack_from("<5Q", best, 80)
        chain, segment, offset = struct.unpack_from("<IQQ", best, 124)
        check((seq, end, chain) == (self.seq, self.end, self.chain) and synced <= end and applied <= end
              and applied_seq <= seq, "state: the journal's end")
        check((segment, offset, best[144:176].hex()) == self.ends.get(seq, (1, 0, "0" * 64)), "state: the trace's end")
        self.head = struct.unpack_from("<2Q", best, 176) + (best[192:212].hex(), best[212:232].hex())
        check(self.head[1] == self.packed_seq or self.head[1] > self.packed_seq, "state: packed")

    def rejected(self):
        known = {e["rejected"] for e in self.events.values() if e.get("rejected")}
        for name in names(self.own, "rejected"):
            data = read(self.own, "rejected", name)
            check(hashlib.sha256(data).hexdigest() == name and name in known, "rejected: bytes", name)

    # ---- git (11) ----
    def run_git(self, *args, stdin=None):
        return subprocess.run(["git", "--git-dir", os.path.join(self.own, "git")] + list(args), input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def cat(self, ids):
        out, found = self.run_git("cat-file", "--batch", stdin="".join(i + "\n" for i in ids).encode()).stdout, {}
        while out:
            head, _, rest = out.partition(b"\n")
            words = head.decode().split()
            if words[1] == "missing":
                out = rest
                continue
            found[words[0]] = (words[1], rest[:int(words[2])])
            out = rest[int(words[2]) + 1:]
        return found

    def tree(self, docs):
        folders, out = {}, []
        for path, blob in docs:
            top, _, rest = path.partition("/")
            if rest:
                folders.setdefault(top, []).append((rest, blob))
            else:
                out.append((top.encode(), b"100644 %s\0" % top.encode() + bytes.fromhex(blob)))
        for name, inside in folders.items():
            out.append((name.encode() + b"/", b"40000 %s\0" % name.encode() + bytes.fromhex(self.tree(inside))))
        return git_id(b"".join(entry for _, entry in sorted(out)), "tree")

    def git(self):
        published = 0
        if self.git_dir() and read(self.own, "git", "refs", "heads", "main"):
            fsck = self.run_git("fsck", "--full", "--strict", "--no-dangling")
            check(fsck.returncode == 0, "git: fsck", fsck.stderr.decode(errors="replace")[:300])
            ids = self.run_git("rev-list", "--reverse", "refs/heads/main").stdout.decode().split()
            check(ids, "git: main can be walked")
            commits, parent, committed, docs = self.cat(ids), None, 0, {}
            for i in ids:
                published, committed = self.commit(i, commits[i][1], parent, committed, published + 1, docs)
                parent = i
                if published == self.packed_seq:
                    check(i == self.packed_head, "git: packed_head")
                if self.head and published == self.head[0]:
                    check(i == self.head[2], "git: head of the state")
            objects = self.cat({b for b, seq in self.blobs.items()})
            for blob, (kind, data) in objects.items():
                check(kind == "blob" and git_id(data) == blob, "git: bytes of a version", blob)
                self.contents[blob] = data
        check(published >= self.packed_seq, "git: all that the header says is packed", published)
        check(not self.head or published >= self.head[0], "git: all that the state says is published", published)

    def commit(self, i, data, parent, before, seq, docs):
        head, _, message = data.partition(b"\n\n")
        lines = [l[7:] + b"\n" for l in message.split(b"\n") if l.startswith(b'event: {"')]
        es = [self.events.get(seq + n, {}) for n in range(len(lines))]
        if not check(lines and [e.get("line_") for e in es] == lines, "git: event lines as in the trace", i):
            return seq + max(len(lines), 1) - 1, before
        for e in es:
            if e["version"] and e["blob"]:
                docs[e["path"]] = e["blob"]
            elif e["version"]:
                docs.pop(e["path"], None)
        e, records = es[0], [r for r in self.records if r.first_seq == seq]
        check(not records or records[0].entries == len(lines), "git: one commit a record", seq)
        text = "[agent-trace] %s" % e["action"]
        text += " %s: %s\n\n" % (e["doc_type"] or "scratch", e["path"]) if e["path"] is not None else "\n\n"
        text += "".join("%s: %s\n" % (k, e[m]) for k, m in (("summary", "summary"), ("actor", "actor"),
                        ("agent", "agent_name"), ("session", "session_id")) if e[m] is not None)
        text += "".join("file:\t%s\t%s\t%s\n" % (x["path"], x["change_kind"], x["doc_type"] or "scratch")
                        for x in es if x["path"] is not None)
        check(message == text.encode() + b"\n" + b"".join(b"event: " + l for l in lines), "git: message", i)
        who = {"user": "User <user@agent-trace>", "system": "agent-trace <system@agent-trace>"}.get(
            e["actor"], "Agent: %s <agent@agent-trace>" % e["agent_name"])
        recorded = max(ms(e.get("recorded_at", e["timestamp"])) // 1000, before)
        want = ["tree " + self.tree(docs.items())] + (["parent " + parent] if parent else [])
        want += ["author %s %d +0000" % (who, ms(e["timestamp"]) // 1000), "committer %s %d +0000" % (who, recorded)]
        check(head.decode(errors="replace").split("\n") == want, "git: tree, parent, author, committer", i)
        return seq + len(lines) - 1, recorded

    def documents(self):
        for blob, seq in self.blobs.items():
            check(blob in self.contents, "bytes of each version are there", seq)
        for path, d in self.docs.items():
            data = read(self.root, path)
            same = data is None if d["blob"] is None else data is not None and git_id(data) == d["blob"]
            counts["documents: file is the newest version" if same else "documents: edited by somebody else"] += 1


def main():
    try:
        Store(sys.argv[1])
    except (ValueError, KeyError, IndexError, TypeError, OSError, struct.error) as e:
        wrong.append("cannot be read: %s: %s" % (type(e).__name__, e))
    for what, n in sorted(counts.items()):
        print("%6d  %s" % (n, what))
    for w in wrong:
        print("WRONG   " + w)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
