"""Prints cli/width_table.h, from what Unicode says: width.py | width.py --check.

Python brings its own version of Unicode. With another one than the table's the comparison leaves out
what the two know differently: only characters that both assign count.
"""
import re
import sys
import unicodedata

TABLE = "cli/width_table.h"
VERSION = "14.0.0"
HEAD = """/* width_table: the characters that take no column of a terminal, and those that take two, as ranges
 * in order. They are what Unicode 14 says: marks that combine with the character before them and
 * formats (general categories Mn, Me, Cf, but for the soft hyphen), the vowels and finals that end
 * a syllable of Hangul; and what is wide or fullwidth (UAX 11), with the planes kept for
 * ideographs. build.d/width.py makes the table, and compares it. */
#ifndef AGENT_TRACE_CLI_WIDTH_TABLE_H
#define AGENT_TRACE_CLI_WIDTH_TABLE_H

#include <stdint.h>

typedef struct text_range {
    uint32_t from, to;
} text_range;
"""


def width(code):
    char = chr(code)
    if code == 0xAD:
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF:
        return 0
    if 0x20000 <= code <= 0x3FFFD:
        return 2
    assigned = unicodedata.category(char) != "Cn"
    return 2 if assigned and unicodedata.east_asian_width(char) in "WF" else 1


def codes():
    return (c for c in range(0x80, 0x110000) if not 0xD800 <= c <= 0xDFFF)


def ranges(wanted):
    """What has that width; a small gap of unassigned characters is bridged."""
    found, now = [], None
    for code in codes():
        if width(code) == wanted:
            now = [now[0] if now else code, code]
        elif now and not (unicodedata.category(chr(code)) == "Cn" and code - now[1] < 64):
            found.append(now)
            now = None
    return found + ([now] if now else [])


def make():
    print(HEAD)
    for wanted, name in ((0, "none"), (2, "wide")):
        items = "".join(f"{{0x{a:x}, 0x{b:x}}}, " for a, b in ranges(wanted))
        print(f"static const text_range text_{name}[] = {{{items}}};")
    print("\n#endif /* AGENT_TRACE_CLI_WIDTH_TABLE_H */")


def check():
    source = open(TABLE, encoding="utf-8").read()
    known = {}
    for wanted, name in ((0, "none"), (2, "wide")):
        part = source[source.index(f"text_{name}[]"):]
        last = -1
        for a, b in re.findall(r"\{0x([0-9a-f]+), 0x([0-9a-f]+)\}", part[:part.index("};")]):
            a, b = int(a, 16), int(b, 16)
            if a > b or a <= last:
                print(f"{TABLE}: {a:x} stands in the wrong place")
                return False
            last = b
            known.update(dict.fromkeys(range(a, b + 1), wanted))
    wrong = seen = 0
    for code in codes():
        if unicodedata.category(chr(code)) in ("Cn", "Co") or code < 0x300:
            continue
        seen += 1
        if known.get(code, 1) != width(code):
            wrong += 1
            print(f"{TABLE}: U+{code:04X} has {known.get(code, 1)} columns and should have {width(code)}")
    print(f"note: {seen} characters compared with Unicode {unicodedata.unidata_version}")
    # a newer Unicode assigns what the table cannot know
    return seen > 100000 and (wrong == 0 if unicodedata.unidata_version == VERSION else wrong < 500)


if sys.argv[1:] == ["--check"]:
    sys.exit(0 if check() else 1)
make()
