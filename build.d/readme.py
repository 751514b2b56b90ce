"""Keeps README.md true: readme.py code BUILD CC CFLAGS LIBS | tables PROGRAM | console PROGRAM.

code    every ```c block is a program that compiles, runs in an empty folder and succeeds. One that
        begins with the comment /* fragment */ only compiles: as it is if it holds declarations (a
        line that begins with # or }), else as statements of a function that knows `store`
        (agt_store *), `caller` (const agt_caller *) and `err` (agt_error). The first one is
        examples/minimal.c, letter for letter.
tables  what stands between <!-- status-table --> and <!-- /status-table --> is AGT_STATUS_MAP, and
        between <!-- commands --> and <!-- /commands --> are the commands of the program's help.
console every ```console block is a session on a terminal: its commands, run in an empty folder,
        print what stands there, but for times ("3 min ago"), blanks between columns, and the folder.
"""
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile

README = open("README.md", encoding="utf-8").read()
HEADER = open("agent_trace.h", encoding="utf-8").read()


def table(marker):
    found = re.search(f"<!-- {marker} -->(.*?)<!-- /{marker} -->", README, re.S)
    return found.group(1).strip() if found else None


def check_code(build, compiler, cflags, libs):
    folder = os.path.abspath(os.path.join(build, "readme"))
    os.makedirs(folder, exist_ok=True)
    bad = 0
    blocks = list(re.finditer(r"^```c\n(.*?)^```", README, re.M | re.S))
    if blocks and blocks[0].group(1) != open("examples/minimal.c", encoding="utf-8").read():
        bad += 1
        print("README.md: the first block of C is not examples/minimal.c")
    for number, block in enumerate(blocks, 1):
        code = block.group(1)
        line = README.count("\n", 0, block.start()) + 2
        fragment = code.lstrip().startswith("/* fragment */")
        if fragment and not re.search(r"^[#}]", code, re.M):
            code = (
                '#include "agent_trace.h"\n#include <stdio.h>\n#include <string.h>\n'
                "void fragment(agt_store *store, const agt_caller *caller, agt_error err);\n"
                "void fragment(agt_store *store, const agt_caller *caller, agt_error err) {\n"
                "(void)store; (void)caller; (void)err;\n" + code + "}\n"
            )
        source = os.path.join(folder, f"block{number}.c")
        program = os.path.join(folder, f"block{number}")
        with open(source, "w", encoding="utf-8") as out:
            out.write(code)
        command = [compiler, "-std=c11", "-Wall", "-Wextra", "-I."] + shlex.split(cflags)
        if fragment:
            command += ["-fsyntax-only", source]
        else:
            whole = "AGENT_TRACE_IMPLEMENTATION" in code
            library = [] if whole else [os.path.join(build, "libagent_trace.a")]
            command += [source] + library + shlex.split(libs) + ["-pthread", "-o", program]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0 and not fragment:
            with tempfile.TemporaryDirectory() as empty:
                done = subprocess.run([program], cwd=empty, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            bad += 1
            print(f"README.md:{line}: this block does not {'compile' if fragment else 'compile and run'}")
            print(done.stdout + done.stderr)
    print(f"note: {len(blocks)} blocks of C in the README")
    return bad == 0 and bool(blocks)


def check_tables(program):
    ok = True
    got = table("status-table")
    if got is not None:
        rows = re.findall(r'X\((\w+), *(-?\d+), *(\w+), *"([^"]*)"\)', HEADER)
        want = "| status | value | class | meaning |\n|---|---|---|---|\n" + "\n".join(
            f"| `AGT_{name}` | {value} | {kind.lower()} | {text} |" for name, value, kind, text in rows
        )
        if got != want:
            ok = False
            print("README.md: the table of statuses is not AGT_STATUS_MAP; it should be\n\n" + want + "\n")
    got = table("commands")
    if got is not None and os.path.exists(program):
        done = subprocess.run([program, "help"], capture_output=True, text=True)
        helped = set(re.findall(r"^  ([a-z][a-z-]*)\b", done.stdout, re.M)) - {"agent-trace"}
        written = set(re.findall(r"^\| *`(?:agent-trace )?([a-z][a-z-]*)", got, re.M))
        if helped != written or not helped:
            ok = False
            print(f"README.md: commands missing: {sorted(helped - written)}; not in the help: {sorted(written - helped)}")
    return ok


def told(text, folder):
    text = text.replace(folder, "/home/me/project")
    text = re.sub(r"^(now|\d+ (s|min) ago) ", "TIME ", text, flags=re.M)
    return [re.sub(r"(?<=\S) {2,}", "  ", line) for line in text.splitlines()]


def check_console(program):
    bad = 0
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.M | re.S)
    terminal = os.path.abspath("tests/kit_terminal.py")
    for block in blocks:
        commands = re.findall(r"^\$ (.*)$", block, re.M)
        script = "\n".join(f"echo {shlex.quote('$ ' + c)}\n{c}" for c in commands)
        with tempfile.TemporaryDirectory() as folder:
            folder = os.path.realpath(folder)
            env = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_TRACE_", "GIT_"))}
            env.update(PATH=os.path.dirname(os.path.abspath(program)) + ":" + env["PATH"], NO_COLOR="1",
                       TERM="xterm", AGENT_TRACE_PAGER="")
            done = subprocess.run([sys.executable, terminal, "80x50", "", "sh", "-c", script], cwd=folder,
                                  env=env, capture_output=True, text=True)
            got, want = told(done.stdout, folder), told(block, folder)
        if got != want:
            bad += 1
            print("README.md: a session prints something else:")
            print("\n".join(difflib.unified_diff(want, got, "README.md", "the program", lineterm="")))
    print(f"note: {len(blocks)} sessions")
    return bad == 0 and bool(blocks)


if __name__ == "__main__":
    run = {"code": check_code, "tables": check_tables, "console": check_console}[sys.argv[1]]
    sys.exit(0 if run(*sys.argv[2:]) else 1)
