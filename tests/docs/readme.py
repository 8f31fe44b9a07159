#!/usr/bin/env python3
"""The figures of README.md, from the notes that hold the measurements.

    readme.py            write the table
    readme.py --check    fail if it, or a figure in the text, is not what the notes and pages say
"""

import re
import sys
from pathlib import Path

from section import settle, with_section

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PICTURE = "docs/lab/2026-11-29-quality-against-speed.md"
PEERS = "docs/lab/2026-11-30-speed-emerald-rapids.md"


def rows(page, after, count):
    """The cells of a table's rows, of the first table with so many columns behind a text."""
    text = (ROOT / page).read_text()
    if after not in text:
        sys.exit(f"readme.py: {page} does not say {after!r}")
    found = []
    for line in text[text.index(after):].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == count:
            found.append(cells)
        elif found:
            break
    return found


def number(cell):
    return cell.split(" ")[0]


def table():
    out = ["| Qwen2.5-Coder-1.5B | perplexity | tokens a second |", "| --- | ---: | ---: |"]
    for engine, format_, sparsity, _, perplexity, speed in rows(PICTURE, "<!-- picture qwen2 -->", 6)[2:]:
        if format_ in ("q4s", "Q4_K_M", "Q4_0"):
            out.append(f"| {engine} {format_}, {sparsity} | {perplexity} | {number(speed)} |")
    return "\n".join(out)


def sentences():
    """What the text has to say, word for word but for line ends."""
    peers = {(cells[0], cells[1].split(",")[1].strip() if "," in cells[1] else cells[1]): cells
             for cells in rows(PEERS, "| threads | what |", 10)[2:] if len(cells) > 7}
    ratio = lambda what: number(peers["1", what][7])
    families = len(rows("docs/models.md", "| family |", 7)[2:])
    levels = next(cells for cells in rows("docs/quality.md", "| model, packed as bf16 |", 5) if "Qwen" in cells[0])
    at = [re.search(r"\+([\d.]+)%", cell)[1] for cell in levels[2:]]
    small = re.search(r"Load ([\d.]+) ms; first token of a one-token prompt after (\d+) ms.*?; ([\d.]+) MB of memory",
                      (ROOT / "docs/lab/2026-11-29-speed-in-use.md").read_text(), re.S)
    return [
        f"{families} families",
        f"{ratio('dense')} times the better of llama.cpp and ik_llama.cpp dense, {ratio('30%')} at 30%",
        f"{ratio('prefill of 256')} times for a prompt of 256 tokens",
        f"{at[0]}% of perplexity at 30%, {at[1]}% at 40% and {at[2]}% at 50%",
        f"load {small[1]} ms, first token after {small[2]} ms, {small[3]} MB beside the mapped file",
    ]


def main():
    wanted = with_section(README, "figures", table())
    flat = re.sub(r"\s+", " ", wanted)
    missing = [sentence for sentence in sentences() if sentence not in flat]
    if missing:
        sys.exit("README.md does not say:\n    " + "\n    ".join(missing))
    settle(README, wanted, sys.argv[1:], "README.md's table is not the notes': run tests/docs/readme.py", __doc__)


main()
