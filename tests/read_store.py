"""read_store.py ROOT: checks a store by FORMAT.md alone (4: chapter); exits 1 if it is not so."""
import collections, datetime, hashlib, json, os, re, struct, subprocess, sys
from functools import reduce; from pathlib import Path; from types import SimpleNamespace as Event
HEADER, STATE = "<16s Q 8xQ Q 48s Q Q 20s 4xQ 84xI", "<4s 4xQ 64s Q Q 28xI 48s Q Q 40s 84xI"
TYPES, GRANTS = ["", "plan", "context", "log", "reference", "scratch"], ("unlock", "revoke")
CRC = [reduce(lambda c, _: c >> 1 ^ (c & 1) * 0x82F63B78, range(8), byte) for byte in range(256)]
NOTHING = Event(seq=0, version=0, lost=-1, doc=None, blob=None, end=b"\1" + bytes(47))
events, docs, sizes, heads = [NOTHING], {}, {None: 0}, {0: bytes(20)}  # by seq, path, id, seq
counts, trees = collections.Counter(), collections.defaultdict(dict)  # by what, folder
def check(what, good, about=""):
    counts[what if good else f"WRONG   {what} {about}"] += 1
def crc32c(seed, data):
    return reduce(lambda c, b: c >> 8 ^ CRC[c & 255 ^ b], data, seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
def ids(x, kind=b"blob"):  # git's, and the other one
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(x), x)).hexdigest(), hashlib.sha256(x).hexdigest()
def put(path, blob, mode="100644", end=""):  # a file into git's tree; the new id of the root (11)
    folder, slash, name = path.rpartition("/")
    trees[folder][name + end] = f"{mode} {name}\0".encode() + bytes.fromhex(blob) if blob else b""
    made = ids(b"".join(map(trees[folder].get, sorted(trees[folder]))), b"tree")[0]
    return put(folder, any(trees[folder].values()) and made, "40000", "/") if slash else made
def git(*args, text=""):
    return subprocess.run(("git", "--git-dir=git") + args, input=text.encode(), capture_output=True)
def ms(text):
    return round(datetime.datetime.fromisoformat(text[:-1] + "+00:00").timestamp() * 1000)
def happen(e, docs, kinds):  # what it makes of the documents and their types (7.3)
    if e.action == "lost": kinds.update({doc: known | {4} for doc, known in kinds.items()})
    if e.version or e.action == "reclassify": kinds[e.doc] = {TYPES.index(e.doc_type)}
    if e.version: docs.pop(e.came, None), docs.update({e.path: e})
def newer(name, layout, second):  # of the two copies that end with their checksum (4.1, 5)
    data, size = Path(name).read_bytes(), struct.calcsize(layout)
    copies = [data[at:at + size] for at in (0, second) if any(data[at:at + size])]
    good = [c for c in copies if crc32c(0, c[:-4]) == int.from_bytes(c[-4:], "little")]
    check(name + ": crc", good == copies)
    return max((struct.unpack(layout, c) for c in good), key=lambda fields: fields[1])
def read_trace():  # (7)
    for path in sorted(Path("trace").glob("*.jsonl")):
        segment, at = int(path.stem), 0
        check("trace: segment", segment == len(events), path)
        for line in path.read_bytes().splitlines(True):
            e, last = json.loads(line), events[-1]
            prev = e["prev"] if last.lost == last.seq else last.end[16:].hex()
            again = json.dumps(e, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            came, e["recorded_at"] = e.get("from", e["path"]), e.get("recorded_at", e["timestamp"])
            lost = e["seq"] if e["action"] == "lost" else last.lost
            e = Event(**{"rejected": None, "until": None, "came": came, "lost": lost, **e})
            check("trace: line", (e.seq, e.prev, line) == (len(events), prev, again), e.seq)
            e.line, e.id, e.place, at = line, e.blob or e.rejected, [segment, at], at + len(line)
            e.end = struct.pack("<QQ", segment, at) + hashlib.sha256(line).digest()
            old, e.file = docs.get(e.came, NOTHING), Path("..", e.path or ".")
            want = old.seq * bool(e.doc), (old.version + 1) * bool(e.version), e.doc and old.doc
            good = want == (e.doc_prev, e.version, old.doc and e.doc) or old.seq < lost
            check("documents: " + e.action, good, at)
            happen(e, docs, {}), events.append(e)
def walk(what, data, at, seq, gen, seed):  # the records: next seq, where they end, next seed (4.2)
    while at + 80 <= len(data):
        magic, crc, length, n, of, first, *place, time = struct.unpack_from("<4s 3I 4Q q", data, at)
        want = b"AGTR", crc32c(seed, data[at + 8:at + length]), gen, seq
        if (magic, crc, of, first) != want: break
        at, end, seed = at + 64, at + length, crc
        for e in events[seq:seq + n]:
            line_len, flags, size = struct.unpack_from("<IIQ", data, at)
            line, at = data[at + 16:at + 16 + line_len], at + 16 + line_len
            check("records: line", (line, time) == (e.line, ms(e.recorded_at)), e.seq)
            x = Path(f"unpublished/side-{e.seq}").read_bytes() if flags == 3 else data[at:at + size]
            sizes[flags < 4 and e.id or None], at = size, (at + size * (flags == 1) + 7) // 8 * 8
            same = flags == 7 or (e.id in ids(x) if flags else e.id == e.rejected)
            check(what + ": bytes", size == len(x) and same, seq)
        check(what, at == end and [e.place for e in events[seq:seq + n][:1]] == [place], seq)
        seq += n
    return seq, at, seed
def read_git():  # the commits; their ids, by the newest seq in each (11)
    there = git("cat-file", "--batch-check", text="\n".join(e.blob or "" for e in events)).stdout
    sizes.update((i, int(size)) for i, size in re.findall(r"(\w+) blob (\d+)", there.decode()))
    seq, time, parent, tree, left = 0, 0, [], put("", None), {i: i for i in sizes}.get
    log = git("log", "-z", "--reverse", "--format=%H%n%B", "refs/heads/main").stdout.decode()
    for text in log.split("\0")[:-1]:  # made again, a commit has the same id
        es = events[seq + 1:seq + 1 + text.count("\nevent: {")]
        e, seq, commit = es[0], es[-1].seq, text[:40]
        for v in es: tree = v.version and put(v.came, None) and put(v.path, left(v.blob)) or tree
        time = max(time, ms(e.recorded_at) // 1000)
        who = {"user": "User", "system": "agent-trace"}.get(e.actor, f"Agent: {e.agent_name}")
        who += f" <{e.actor.split(':')[0]}@agent-trace>"
        about = dict(summary=e.summary, actor=e.actor, agent=e.agent_name, session=e.session_id)
        lines = [f"tree {tree}", *parent, f"author {who} {ms(e.timestamp) // 1000} +0000",
            f"committer {who} {time} +0000", "",
            f"[agent-trace] {e.action}" + f" {e.doc_type or 'scratch'}: {e.path}" * bool(e.path),
            "", *(f"{name}: {value}" for name, value in about.items() if value is not None),
            *(f"file:\t{v.path}\t{v.change_kind}\t{v.doc_type or 'scratch'}" for v in es if v.path),
            "", *(f"event: {v.line.decode()[:-1]}" for v in es), ""]
        check("git: commit", commit == ids("\n".join(lines).encode(), b"commit")[0], commit)
        heads[seq], parent = bytes.fromhex(commit), [f"parent {commit}"]
def check_catalog(data, next_seq):  # (6)
    docs, kinds, grants = {}, {}, {}
    for e in events[1:next_seq]: happen(e, docs, kinds)
    agents = {e.doc: e.agent_name or "" for e in events[:next_seq] if e.version == 1}
    for e, who in [(e, e.grant.encode()) for e in events[1:next_seq] if e.action in GRANTS]:
        key, now, end = e.doc + e.grant, ms(e.recorded_at), ms(e.until or e.recorded_at)
        grants = {k: g for k, g in grants.items() if k != key and now < g[3]}
        most = 604800000 if e.source != "v0_1_0" else end
        if now < end <= now + most: grants[key] = e.doc.encode(), len(who), now, end, who
    given = b"".join(struct.pack("<36sI2q72s", *g) for g in grants.values())
    live, rest = sum(e.blob is not None for e in docs.values()), data[576 + 144 * len(docs):]
    texts, head = rest[len(given):], struct.unpack_from("<8s 2I 3Q 4xI", data)
    want = crc32c(0, data[12:]), len(docs), next_seq, len(texts), live, len(grants)
    check("catalog: header", head == (b"AGTCAT02", *want) and rest.startswith(given))
    for i, e in enumerate(sorted(docs.values(), key=lambda e: (e.path.encode().lower(), e.path))):
        at, n, by, m, *row = struct.unpack_from("<8I Q q Q 32x20s 36s", data, 576 + 144 * i)
        row += texts[at:at + n].decode(), texts[by:by + m].decode()
        want = [e.blob is not None, e.version, e.action == "untrack", e.seq, ms(e.timestamp)]
        want += [sizes.get(e.blob, 0), bytes.fromhex(e.blob or "0" * 40), e.doc.encode(), e.path]
        check("catalog: row", row[1:] == [*want, agents.get(e.doc, "")] and row[0] in kinds[e.doc])
    for e in [e for e in events[1:next_seq] if e.action == "violation"][-64:]:
        words = e.actor, e.change_kind, e.path, e.rejected or "", e.summary
        text = b"".join(word.encode() + b"\xff" for word in words)
        number = reduce(lambda n, b: (n ^ b) * 0x100000001B3 % 2**64, text, 0xCBF29CE484222325)
        check("catalog: refusal", number in struct.unpack_from("<64Q", data, 64), e.seq)
def read_store():
    config, data = Path("config.toml").read_text("utf-8"), Path("journal").read_bytes()
    check("config", re.search(r'(?m)^\[store]\nid = "[\da-f-]{36}"\n(.+\n)*format = 2$', config))
    kind, gen, room, start, end, catalog, packed, head, oldest, crc = newer("journal", HEADER, 4096)
    check("journal: header", kind == b"AGTJRNL2\2" + bytes(7) and 8192 <= len(data) <= room)
    first, seq = read_trace() or 0, oldest or start
    while first < seq < start:
        first, records = seq, Path(f"unpublished/{seq}.records").read_bytes()
        kind, of, was, seed, n = struct.unpack_from("<8sQQ2I", records)
        seq, at, _ = walk("unpublished: record", records, 32, seq, of, seed)
        good = kind == b"AGTUNPB2" and was == first and was + n == seq and at == len(records)
        check("unpublished: file", good, first)
    now = walk("journal: record", data, 8192, seq, gen, crc)
    check("trace: ends", (now[0], events[:start][-1].end) == (len(events), end))
    check("git: fsck", not Path("git/HEAD").exists() or not git("fsck", "--strict").returncode)
    read_git()
    check("git: packed_head", heads.get(packed) == head and (oldest or start) <= packed + 1)
    if catalog: check_catalog(Path(f"catalog.{catalog}").read_bytes(), start)
    if Path("state").exists():
        magic, _, of, *ends, top, packed, both, _ = newer("state", STATE, 512)
        boot, file = Path("/proc/sys/kernel/random/boot_id").read_bytes(), os.stat("journal")
        if of == struct.pack("<40s3Q", boot.strip(), gen, file.st_dev, file.st_ino):
            check("state: ends", (magic, *ends) == (b"TST2", *now, events[-1].end))
            check("git: head of the state", heads.get(top, b"") + heads.get(packed, b"") == both)
    for p in Path("rejected").glob("?" * 64): check("rejected", p.name in ids(p.read_bytes()), p)
    for e in docs.values():
        same = e.blob in ids(e.file.read_bytes()) if e.file.is_file() else not e.blob
        check("documents: " + ("newest version" if same else "edited by somebody else"), True)
try:
    os.chdir(Path(sys.argv[1], ".agent-trace")), read_store()
except Exception as e:
    check("the store can be read", False, f"{type(e).__name__}: {e}")
print("\n".join(f"{n:6}  {what}" for what, n in sorted(counts.items())))
sys.exit(any(what.startswith("WRONG") for what in counts))
