"""Reads agent_trace.h as text: header.py comments | codes PERCENT REPORT."""
import glob
import re
import sys

HEADER = open("agent_trace.h", encoding="utf-8").read()
STATUSES = {"AGT_" + name for name in re.findall(r"^\s*X\((\w+), *-?\d+,", HEADER, re.M)}
CONSTANTS = set(re.findall(r"^(?:#define|enum \w+ \{)?\s*\b(AGT_[A-Z_]+)\b", HEADER, re.M))


def declarations():
    """Yields line number, function name and the comment right before it ("" if none)."""
    lines = HEADER.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith("AGENT_TRACE_API "):
            continue
        whole = " ".join(lines[i : i + 8])
        name = re.search(r"\b(agt_\w+)\(", whole)
        first = i - 1
        comment = []
        if lines[first].rstrip().endswith("*/"):
            while not lines[first].lstrip().startswith("/*"):
                first -= 1
            comment = lines[first:i]
        yield i + 1, name.group(1), whole, "\n".join(comment)


def returns(comment):
    """The text after Returns, up to the next field or the end; None if there is no such field."""
    found = re.search(r"^ \* Returns  +(.*?)(?=^ \* {0,3}[A-Z][a-z]+(?: for)?  |^ \*/|\Z)", comment, re.M | re.S)
    return found.group(1) if found else None


def codes():
    """Function -> its documented codes; "as agt_x" takes over the codes of agt_x."""
    out = {}
    for _, name, _, comment in declarations():
        text = returns(comment)
        if text is None:
            continue
        own = set(re.findall(r"\bAGT_[A-Z_]+\b", text)) & STATUSES
        for other in re.findall(r"\b(agt_\w+)\b", text):
            own |= out.get(other, set())
        out[name] = own
    return out


def check_comments():
    bad = []
    seen = 0
    for line, name, whole, comment in declarations():
        seen += 1
        where = f"agent_trace.h:{line}: {name}"
        if not comment:
            bad.append(f"{where} has no comment right before it")
            continue
        text = returns(comment)
        answers = re.match(r"AGENT_TRACE_API agt_status ", whole)
        if answers and text is None and not set(re.findall(r"\bAGT_[A-Z_]+\b", comment)) & STATUSES:
            bad.append(f"{where} answers an agt_status, but its comment does not say which")
        for code in re.findall(r"\bAGT_[A-Z_]+\b", text or ""):
            if code not in STATUSES | CONSTANTS:
                bad.append(f"{where} returns {code}, which is nothing")
        if text is not None and not codes()[name]:
            bad.append(f"{where} has a Returns without a known status")
    if seen < 20:
        bad.append(f"only {seen} declarations found: header.py no longer understands the header")
    print("\n".join(bad))
    return not bad


def check_codes(percent, report):
    files = {}
    for path in glob.glob("tests/**/*.c", recursive=True) + glob.glob("tests/*.sh"):
        text = open(path, encoding="utf-8", errors="replace").read()
        statements = re.split(r"[;{}]" if path.endswith(".c") else r"\n", text)
        files[path] = [set(re.findall(r"\w+", s)) for s in statements if "agt_" in s and "AGT_" in s]
    tested, missing = [], []
    for name, wanted in codes().items():
        for code in sorted(wanted):
            where = [p for p, all in files.items() if any(name in words and code in words for words in all)]
            (tested if where else missing).append((name, code))
    total = len(tested) + len(missing)
    share = 100 * len(tested) // total if total else 0
    with open(report, "w", encoding="utf-8") as out:
        out.write(f"{len(tested)} of {total} documented codes are named by a test of their function\n")
        for name, code in missing:
            out.write(f"no statement of a test has both {name} and {code}\n")
    print(f"note: {len(tested)} of {total} documented codes are tested ({share} %); the rest: {report}")
    if share < percent:
        print(f"less than {percent} %")
    return total > 0 and share >= percent


if __name__ == "__main__":
    if sys.argv[1] == "comments":
        ok = check_comments()
    else:
        ok = check_codes(int(sys.argv[2]), sys.argv[3])
    sys.exit(0 if ok else 1)
