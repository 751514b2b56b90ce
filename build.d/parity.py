"""Checks tests/parity.tsv: every promise (F-01 to F-82) and every hole (W-1 to W-91) of the program
this one takes the place of has a row. Columns, separated by tabs:

    number    F-07 or W-12
    proof     what shows it, separated by spaces: a test as topic_name, a file of the tree, a case of a
              script as tests/name.sh:function, or the word "deviation" or "later" where the third
              column says why there is none
    note      a few words; required for "deviation" and "later"

Lines that begin with # are comments.
"""
import glob
import os
import re
import sys

WANTED = [f"F-{n:02}" for n in range(1, 83)] + [f"W-{n}" for n in range(1, 92)]


def is_case(proof):
    """Does the script define the function, and use it?"""
    script, _, function = proof.partition(":")
    if not function or not os.path.exists(script):
        return False
    text = open(script, encoding="utf-8").read()
    defined = re.findall(rf"^{function}\(\)", text, re.M)
    return len(defined) == 1 and len(re.findall(rf"\b{function}\b", text)) > 1


def main():
    tests = set()
    for path in glob.glob("tests/*.c"):
        text = open(path, encoding="utf-8").read()
        tests |= {"_".join(t) for t in re.findall(r"^TEST\((\w+),\s*(\w+)\)", text, re.M)}
    bad, seen, later = [], {}, 0
    for number, line in enumerate(open("tests/parity.tsv", encoding="utf-8"), 1):
        if line.startswith("#") or not line.strip():
            continue
        columns = line.rstrip("\n").split("\t")
        where = f"tests/parity.tsv:{number}: {columns[0]}"
        if columns[0] in seen:
            bad.append(f"{where} stands in line {seen[columns[0]]} already")
        seen[columns[0]] = number
        proofs = columns[1].split() if len(columns) > 1 else []
        if not proofs:
            bad.append(f"{where} has no proof")
        for proof in proofs:
            if proof in ("deviation", "later"):
                later += proof == "later"
                if len(columns) < 3 or not columns[2].strip():
                    bad.append(f"{where}: {proof} needs a note")
            elif proof not in tests and not os.path.exists(proof) and not is_case(proof):
                bad.append(f"{where}: {proof} is neither a test, a file nor a script's case")
    bad += [f"tests/parity.tsv has no row for {n}" for n in WANTED if n not in seen]
    bad += [f"tests/parity.tsv: there is no {n}" for n in seen if n not in WANTED]
    print("\n".join(bad))
    print(f"note: {len(seen)} rows, {later} of them for later")
    return not bad


sys.exit(0 if main() else 1)
