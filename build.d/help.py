"""Compares what the program takes with what it says: help.py PROGRAM SHARE.

For every command: the options that the parser takes (each option of the table in cli/args.c is
tried, in front of --help, so that nothing runs), those of its help, of its manual page, and of the
completion of each shell are the same. Every manual page is rendered without a warning by mandoc, and
by groff where there is one. Every command that a page names in SEE ALSO is there.
"""
import os
import re
import shutil
import subprocess
import sys

program, share = os.path.abspath(sys.argv[1]), sys.argv[2]
man = os.path.join(share, "man/man1")
bad = 0


def complain(text):
    global bad
    bad += 1
    print(text)


def run(*args):
    return subprocess.run([program, *args], capture_output=True, text=True, cwd="/",
                          stdin=subprocess.DEVNULL)


def table():
    """(spelling, has a value) of every option in the table."""
    source = open("cli/args.c", encoding="utf-8").read()
    source = source[source.index("args_specs[] = {"):source.index("#define ARGS_SPECS")]
    found = {}
    for name, letter, value in re.findall(r'\{OPT_\w+,\s*(NULL|"[a-z-]+"),\s*(0|\'\w\'),\s*(NULL|"\w+")', source):
        if name != "NULL":
            found["--" + name.strip('"')] = value != "NULL"
        if letter != "0":
            found["-" + letter.strip("'")] = value != "NULL"
    return found


def spelled(lines):
    """The options at the beginning of lines."""
    found = set()
    for line in lines:
        head = re.match(r"(?:-\w(?:, --[a-z-]+)?|--[a-z-]+)(?= |$)", line)
        if head:
            found.update(head.group(0).split(", "))
    return found


def plain(roff):
    return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-")


def check_page(path, text):
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-T", "lint", path], capture_output=True, text=True)
        for line in (done.stdout + done.stderr).splitlines():
            if "missing date" not in line:  # a date would make each build another one
                complain(line)
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-T", "utf8", "-k", path], capture_output=True, text=True)
        if done.stderr or not done.stdout:
            complain(f"{path}: groff says: {done.stderr}")
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"):
        if f"\n.SH {section}\n" not in text:
            complain(f"{path} has no {section}")
    for name in re.findall(r"\\fBagent\\-trace\\-([a-z\\-]+)\\fR\(1\)", text):
        if name.replace("\\", "") not in names:
            complain(f"{path} names agent-trace-{name}, which is no command")


options = table()
names = run("help", "--names").stdout.split()
completion = {"bash": "bash-completion/completions/agent-trace", "zsh": "zsh/site-functions/_agent-trace",
              "fish": "fish/vendor_completions.d/agent-trace.fish"}
scripts = {shell: open(os.path.join(share, path), encoding="utf-8").read() for shell, path in completion.items()}
common = {"-C", "-h", "--help", "--color", "--utc", "--no-pager"}
tried = 0
front = run("help").stdout
for name in names:
    page = run("help", name).stdout
    helped = spelled(line[2:] for line in page.splitlines() if line.startswith("  -"))
    text = open(os.path.join(man, f"agent-trace-{name}.1"), encoding="utf-8").read()
    check_page(os.path.join(man, f"agent-trace-{name}.1"), text)
    if not re.search(rf"^  {name} ", front, re.M):
        complain(f"{name} is not on the first page of the help")
    in_man = spelled(plain(text.split(".SH OPTIONS")[1].split(".SH EXIT")[0]).splitlines())
    if not page.startswith(f"usage: agent-trace {name}") or "\nexample" not in page:
        complain(f"help {name} has no usage or no example")
    if name == "git":  # its words are git's
        continue
    taken = set()
    for option, value in options.items():
        done = run(name, option, *(["x"] if value else []), "--help")
        tried += 1
        if f"takes no option {option}" not in done.stderr:
            taken.add(option)
    if taken - common != helped:
        complain(f"{name} takes {sorted(taken - common - helped)} and the help says {sorted(helped - taken)}")
    if taken != in_man:
        complain(f"{name} takes {sorted(taken - in_man)} and its manual page says {sorted(in_man - taken)}")
    line = re.search(rf"^    {name}\) options='([^']*)'", scripts["bash"], re.M)
    if not line or set(line.group(1).split()) != taken:
        complain(f"{name}: the completion of bash has other options")
    here = re.findall(rf"-n '__fish_seen_subcommand_from {name}'((?: -[sl] \S+)+)", scripts["fish"])
    fish = {("--" if kind == "l" else "-") + word for part in here for kind, word in re.findall(r"-([sl]) (\S+)", part)}
    if fish != taken:
        complain(f"{name}: the completion of fish has other options: {sorted(fish ^ taken)}")
    zsh = scripts["zsh"].split(f"        {name})\n")[1].split(";;")[0]
    if {o for o in taken if not re.search(rf"[\s'{{,(]{re.escape(o)}[\s=+\[,)}}']", zsh)}:
        complain(f"{name}: the completion of zsh lacks options")
text = open(os.path.join(man, "agent-trace.1"), encoding="utf-8").read()
check_page(os.path.join(man, "agent-trace.1"), text)
pages = sorted(f for f in os.listdir(man) if f.endswith(".1"))
if pages != sorted(["agent-trace.1"] + [f"agent-trace-{name}.1" for name in names]):
    complain(f"{man} has other pages than there are commands")
if len(names) < 10 or tried < 300:
    complain(f"only {len(names)} commands and {tried} tries: something is not found any more")
print(f"note: {len(names)} commands, {tried} options tried, {len(pages)} manual pages")
sys.exit(bad != 0)
