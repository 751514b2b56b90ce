#!/bin/sh
# Branches of src/lock: gcov counts them while the tests of the locks run. One that is never taken
# must stand in tests/branches_lock.tsv with its reason, and what stands there must not be taken.
# Ends with the line "N passed, N failed, N skipped". With --list: prints what is not taken as rows
# for that table.
set -eu
root=${AGENT_TRACE_ROOT:-$(cd "$(dirname "$0")/.." && pwd)}
out=${AGENT_TRACE_BUILD:-$root/build}/branches_lock
TEST_ROUNDS=${TEST_ROUNDS:-50}
export TEST_ROUNDS

# branches have numbers that are gcc's own
for tool in gcc gcov python3; do
    if ! command -v $tool >/dev/null; then
        echo "$tool is not installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done

rm -rf "$out"
mkdir -p "$out/parts" "$out/counted"
cd "$root"
flags="-std=gnu11 -w -D_GNU_SOURCE -DAGT_PRIVATE=extern $(pkg-config --cflags libgit2 zlib)"
libs="$(pkg-config --libs libgit2 zlib) -pthread"
for f in src/*/*.c tests/main.c tests/machine.c tests/test_lock.c tests/test_lock_odd.c \
    tests/test_liveness.c tests/test_epoch.c tests/test_wait.c tests/test_sentinel.c \
    tests/test_rounds.c tests/test_codes_poll.c; do
    case $f in
    */win32*.c | */none.c) ;;
    src/lock/*)
        # threads count, too: an increment that is lost makes gcov reckon wrongly elsewhere
        # shellcheck disable=SC2086
        gcc $flags -O0 --coverage -fprofile-update=atomic -c "$root/$f" \
            -o "$out/counted/$(basename "$f" .c).o"
        ;;
    # shellcheck disable=SC2086
    *) gcc $flags -O1 -c "$f" -o "$out/parts/$(echo "$f" | tr / _).o" ;;
    esac
done
# shellcheck disable=SC2086
gcc --coverage "$out"/counted/*.o "$out"/parts/*.o $libs -o "$out/tests"
for topic in sentinel_ liveness_ epoch_ lock_ wait_ codes_; do
    if ! timeout 600 "$out/tests" --seed 1 --filter $topic >"$out/log" 2>&1; then
        tail -n 5 "$out/log"
        echo "the tests of $topic fail"
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    fi
done

python3 - "$out" "$root" "${1:-}" <<'PY'
import collections, glob, json, os, subprocess, sys

out, root, what = sys.argv[1:]
taken, lines = 0, {}  # (part, function, text, which of such lines) -> (branches, those not taken)
for notes in sorted(glob.glob(out + "/counted/*.gcno")):
    told = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", notes],
                          capture_output=True, text=True, cwd=out, check=True)
    part = os.path.basename(notes)[:-len(".gcno")] + ".c"
    text = open(os.path.join(root, "src/lock", part), encoding="utf-8").read().split("\n")
    for f in json.loads(told.stdout)["files"]:
        if os.path.basename(f["file"]) != part:
            continue
        seen = collections.Counter()
        for line in sorted(f["lines"], key=lambda l: l["line_number"]):
            if not line["branches"]:
                continue
            name = (part, line["function_name"], text[line["line_number"] - 1].strip())
            seen[name] += 1
            missing = [str(i) for i, b in enumerate(line["branches"]) if not b["count"]]
            taken += len(line["branches"]) - len(missing)
            lines[name + (str(seen[name]),)] = (len(line["branches"]), missing)

if what == "--list":
    for name, (_, missing) in lines.items():
        if missing:
            print("\t".join(name[:2] + (name[3], ",".join(missing), "?", name[2])))
    sys.exit(0)

marked, failed, passed = {}, 0, 0
for row in open(os.path.join(root, "tests/branches_lock.tsv"), encoding="utf-8"):
    if row.startswith("#") or not row.strip():
        continue
    part, function, nth, numbers, reason, text = row.rstrip("\n").split("\t")
    marked[(part, function, text, nth)] = (set(numbers.split(",")), reason)
for name in sorted(set(lines) | set(marked)):
    missing = set(lines.get(name, (0, []))[1])
    numbers, reason = marked.get(name, (set(), ""))
    where = "src/lock/%s, %s: %s" % name[:3]
    if name not in lines:
        print("FAILED  marked, and there is no such line: " + where)
    elif missing - numbers:
        print("FAILED  not taken: %s: %s" % (",".join(sorted(missing - numbers)), where))
    elif numbers - missing:
        print("FAILED  marked, and taken: %s: %s" % (",".join(sorted(numbers - missing)), where))
    elif numbers and len(reason) < 10:
        print("FAILED  marked without a reason: " + where)
    else:
        passed += 1
        continue
    failed += 1
whole = taken + sum(len(m) for _, m in lines.values())
print("%d of %d branches taken, %d marked" % (taken, whole, sum(len(n) for n, _ in marked.values())))
if whole < 500:
    print("FAILED  there are hardly any branches: nothing was counted")
    failed += 1
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(failed != 0)
PY
