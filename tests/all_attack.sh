#!/bin/sh
# Looks from outside at what the test of hostile names asks of the system: between its two marks no
# call may name a file that is not in the store's folder. Ends with "N passed, N failed, N skipped".
. tests/kit.sh
command -v strace >/dev/null && command -v python3 >/dev/null || {
    skip 'what hostile names open' 'no strace or no python3'
    kit_end
}
tests=$BUILD/obj/parts/tests
audit() {
    strace -f -y -qq -e trace=%file,openat2 -s 4096 -o "$WORK/calls" "$tests" --filter attack_no_name >"$WORK/said" 2>&1 || {
        cat "$WORK/said"
        return 1
    }
    python3 - "$WORK/calls" <<'END'
import os, re, sys
inside, seen, bad = False, 0, []
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    if '"/attack-begins"' in line: inside = True
    if '"/attack-ends"' in line: inside = False
    if not inside or "attack-" in line: continue
    call = re.match(r"\d+ +(\w+)\((.*)", line)
    if not call: continue
    # each path with the folder it is relative to, where the call has one
    for at, path in re.findall(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', call.group(2)):
        path = path.encode().decode("unicode_escape", "replace")
        whole = os.path.normpath(os.path.join(at or "/none", path))
        seen += 1
        if "/store/" not in whole + "/": bad.append(line.strip()[:300])
    opened = re.search(r"= \d+<([^>]*)>$", line.strip())  # where the system says it led
    if opened and "/store/" not in opened.group(1) + "/": bad.append(line.strip()[:300])
print(f"{seen} names in calls")
print("\n".join(bad[:10]))
sys.exit(bool(bad) or seen < 2000)
END
}
case_ 'what hostile names open lies in the store' audit
kit_end
