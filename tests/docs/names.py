#!/usr/bin/env python3
"""Fails where two types of the workspace have the same name: who meets one must know which thing it is.

A trait's associated types, and what its impls say they are, do not count: whoever names one names the trait too.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("src", "kernels/src", "packer/src", "cli/src")

# What may be there more than once: in which files, or folders, and why.
ALLOWED = {
    "Args": ("cli/src/", "clap's word for what a command is given; its module says which command's"),
    "Command": ("cli/src/", "clap's word for a list of commands: rasp's, and those of `rasp eval`"),
    "Constraint": ("src/constraint/", "one thing, with the feature `constrained` and without it"),
    "Guide": ("src/constraint/", "one thing, with the feature `constrained` and without it"),
    "Message": ("src/text/chat/mod.rs src/error/message.rs", "a chat's and an error's, both of the public interface"),
    "Word": ("src/float_env.rs", "one thing, of each kind of processor"),
}

# What is no code: comments, texts and characters (which lifetimes are not).
OTHER = re.compile(r"""//[^\n]*|/\*.*?\*/|\br(\#*)".*?"\1|"(?:\\.|[^"\\])*"|'(?:\\[^\n]*?|[^'\\])'""", re.DOTALL)
TOKEN = re.compile(r"\b(struct|enum|union|trait|type) +([A-Z]\w*)|[][(){};]")
ATTRIBUTE = re.compile(r"#!?\[[^]]*\]")
TRAIT = re.compile(r"(?:pub(?:\([^)]*\))? +)?(?:unsafe +)?(?:impl|trait)\b")


def definitions(text):
    """The types that a file defines, each with its line."""
    code = OTHER.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    found = []
    # Whether a block is a trait or an impl, and how deep in brackets it stands; where the item in hand begins.
    blocks, depth, start = [(False, 0)], 0, 0
    for token in TOKEN.finditer(code):
        sign = token.group()
        if sign == "{":
            head = ATTRIBUTE.sub(" ", code[start : token.start()]).strip()
            blocks.append((TRAIT.match(head) is not None, depth))
            depth = 0
        elif sign == "}":
            depth = blocks.pop()[1]
        elif sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
        elif sign != ";" and not (token.group(1) == "type" and blocks[-1][0]):
            found.append((token.group(2), code.count("\n", 0, token.start()) + 1))
        if sign in "{}" or sign == ";" and depth == 0:
            start = token.end()
    return found


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    places = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.rs")):
            file = path.relative_to(ROOT).as_posix()
            for name, line in definitions(path.read_text(encoding="utf-8")):
                places.setdefault(name, []).append((file, line))
    if len(places) < 100:
        sys.exit(f"names.py: {len(places)} types found, which cannot be all")
    wrong = []
    for name in sorted({*places, *ALLOWED}):
        at = places.get(name, [])
        where = tuple(ALLOWED.get(name, ("",))[0].split())
        allowed = sum(file.startswith(where) for file, _ in at)
        if where and allowed < 2:
            wrong.append(f"{name} is not there twice: ALLOWED need not have it")
        if len(at) - max(allowed - 1, 0) > 1:
            wrong.append(f"{name} is several things: " + ", ".join(f"{file}:{line}" for file, line in at))
    if wrong:
        sys.exit("\n".join(f"names.py: {line}" for line in wrong))
    print(f"names.py: {len(places)} names of types, each of one thing but for {', '.join(ALLOWED)}")


if __name__ == "__main__":
    main()
