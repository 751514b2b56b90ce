#!/usr/bin/env python3
"""Prints a git repository's history as a stream for `agent-trace import`, oldest change first.

    git_history.py [FOLDER] [COMMITS] | agent-trace import -

Only text files of at most 64 KB, along the first parents of HEAD; commits by names that end in
"[bot]" or "(agent)" become an agent's.
"""
import json
import subprocess
import sys

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "."
COMMITS = sys.argv[2] if len(sys.argv) > 2 else "400"
LARGEST = 64 * 1024
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def git(*words):
    return subprocess.run(["git", "-C", FOLDER, *words], check=True, stdout=subprocess.PIPE).stdout


def text_of(blob):
    if int(git("cat-file", "-s", blob)) > LARGEST:
        return None
    data = git("cat-file", "blob", blob)
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def actor_of(name):
    for mark in ("[bot]", "(agent)"):
        if name.endswith(mark):
            plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in name[: -len(mark)])
            return "agent:" + (plain.strip("-").lower() or "bot")
    return "user"


def main():
    log = git("log", "--first-parent", "-n", COMMITS, "--reverse", "--format=%H%x00%at%x00%an")
    made = set()
    before = EMPTY_TREE
    for line in log.decode("utf-8", "replace").splitlines():
        commit, at, name = line.split("\0")
        changes = git("diff-tree", "-r", "-z", "--no-renames", before, commit).decode("utf-8", "replace")
        words = changes.split("\0")
        for change, path in zip(words[0::2], words[1::2]):
            mode, blob = change.split()[1], change.split()[3]
            event = {"actor": actor_of(name), "ts": int(at), "path": path}
            if mode not in ("000000", "100644", "100755"):  # links and submodules
                continue
            if mode == "000000":
                if path not in made:
                    continue
                made.discard(path)
                print(json.dumps({**event, "action": "delete"}))
                continue
            content = text_of(blob)
            if content is None:
                continue
            action = "modify" if path in made else "create"
            made.add(path)
            print(json.dumps({**event, "action": action, "content": content}))
        before = commit


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
