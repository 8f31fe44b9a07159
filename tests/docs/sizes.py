#!/usr/bin/env python3
"""What the pages say the stripped library weighs, held to what it does.

    sizes.py LIBRARY LEAN            fails where a page says another tenth of a megabyte
    sizes.py LIBRARY LEAN --write    has them say this one
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"\d+\.\d"
# A page, and how it says the whole library's megabytes (W) and the lean one's (L).
SAID = [
    ("docs/abi.md", r"code stays mapped \(W MB of the file"),
    ("docs/cross.md", r"\(three sets of kernels\): W MB, L without constraints"),
    ("docs/design.md", r"W MB, a lean one \(`make dist-lean`\) L\."),
    ("docs/embedding.md", r"`librasp\.so\.1` \(W MB;"),
    ("docs/embedding.md", r"A smaller library \(L MB\)"),
    ("docs/install.md", r"a lean library, L MB instead of W"),
]


def main():
    arguments = [word for word in sys.argv[1:] if word != "--write"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    weighs = {letter: f"{Path(file).stat().st_size / 1e6:.1f}" for letter, file in zip("WL", arguments)}
    wrong = []
    for page, words in SAID:
        path = ROOT / page
        text = path.read_text()
        letters = re.findall(r"\b[WL]\b", words)
        pattern = re.sub(r"\b[WL]\b", lambda _: f"({NUMBER})", words).replace(" ", r"\s+")
        found = re.search(pattern, text)
        if found is None:
            wrong.append(f"{page} has no words like {words!r}")
            continue
        right = found.group(0)
        for place in reversed(range(len(letters))):
            start, end = (at - found.start() for at in found.span(place + 1))
            right = right[:start] + weighs[letters[place]] + right[end:]
        if right == found.group(0):
            continue
        if "--write" in sys.argv:
            path.write_text(text[:found.start()] + right + text[found.end():])
        else:
            wrong.append(f"{page} says {found.group(0)!r}, which is {right!r}")
    if wrong:
        sys.exit("\n".join([*wrong, "sizes.py LIBRARY LEAN --write mends that"]))


main()
