#!/usr/bin/env python3
"""Builds the book of docs/ to target/book with the mdBook that is named: book.py MDBOOK

What docs/ links to outside of itself (the header, examples, bindings) is not part of the book. Such links lead to the
repository; that their files exist is what check.py links holds.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
REPOSITORY = re.search(r'^repository = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
FENCED = re.compile(r"(^```.*?^```|`[^`\n]*`)", re.M | re.S)


def outside(page):
    def replace(match):
        path, hash_, anchor = match[1].partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        file = (page.parent / path).resolve()
        if file.is_relative_to(DOCS):
            return match[0]
        kind = "tree" if file.is_dir() else "blob"
        return f"]({REPOSITORY}/{kind}/main/{file.relative_to(ROOT)}{hash_}{anchor})"
    return replace


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    source, target = ROOT / "target" / "book-source", ROOT / "target" / "book"
    for folder in (source, target):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, source)
    for page in DOCS.rglob("*.md"):
        # Odd pieces are code.
        pieces = FENCED.split(page.read_text())
        for i in range(0, len(pieces), 2):
            pieces[i] = re.sub(r"\]\(([^)\s]+)\)", outside(page), pieces[i])
        # A link whose words are code is cut by that: its end stands in the next piece, and is found there.
        (source / page.relative_to(DOCS)).write_text("".join(pieces))
    subprocess.run([sys.argv[1], "build", ROOT], check=True)


main()
