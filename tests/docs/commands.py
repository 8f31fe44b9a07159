#!/usr/bin/env python3
"""The table of docs/command.md: every command, with the first line of its help, as `rasp help` has it.

    commands.py RASP            write it
    commands.py RASP --check    fail if it is not what that command says
"""

import re
import subprocess
import sys
from pathlib import Path

from section import settle, with_section

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "command.md"


def commands(rasp, above=()):
    """The words of each command and its line; in place of one that has commands, these."""
    text = subprocess.run([rasp, *above, "--help"], check=True, capture_output=True, text=True).stdout
    section = re.search(r"^Commands:\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    if section is None:
        return []
    found = []
    for line in section[1].splitlines():
        entry = re.fullmatch(r"  ([a-z-]+) +(\S.*)", line)
        if entry is None:
            sys.exit(f"commands.py: the help of {rasp} has a line that is not understood: {line!r}")
        if entry[1] != "help":
            words = (*above, entry[1])
            found += commands(rasp, words) or [(words, entry[2])]
    return found


def table(rasp):
    rows = commands(rasp)
    if not rows:
        sys.exit(f"commands.py: {rasp} --help lists no commands")
    lines = (f"| `rasp {' '.join(words)}` | {line.replace('|', chr(92) + '|')} |\n" for words, line in rows)
    return "| command | what |\n| --- | --- |\n" + "".join(lines)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    stale = "docs/command.md's table is not what `rasp help` says: run tests/docs/commands.py target/release/rasp"
    settle(PAGE, with_section(PAGE, "rasp help", table(sys.argv[1])), sys.argv[2:], stale, __doc__)


main()
