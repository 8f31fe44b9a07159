#!/usr/bin/env python3
"""What each crate weighs in the shared library: the sizes of its symbols.

    python3 tests/size/weigh.py

Builds the library once more, as it is shipped but with its symbols (target/weigh), and prints a table in Markdown. A
function belongs to the crate that defines it; a generic one of the standard library (a Vec's growth) to `alloc` or `core`,
whoever asked for it. Data that has no name (string literals, unwind tables) is a line of its own.
"""

import os
import re
import subprocess
from collections import Counter

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
STANDARD = {"std", "__rustc", "core", "alloc", "compiler_builtins", "hashbrown", "memchr", "gimli", "addr2line", "object",
            "miniz_oxide", "rustc_demangle", "unwind", "panic_unwind", "std_detect"}


def build() -> str:
    environment = dict(os.environ, CARGO_PROFILE_DIST_STRIP="false")
    subprocess.run(["cargo", "rustc", "--profile", "dist", "-p", "librasp", "--lib", "--crate-type", "cdylib",
                    "--target-dir", "target/weigh"], cwd=ROOT, env=environment, check=True)
    return os.path.join(ROOT, "target/weigh/dist/librasp.so")


def crate(mangled: str) -> str:
    """The crate that defines a symbol: the first crate root in its (v0 or legacy) name."""
    if mangled.startswith("_R"):
        # A crate root is C, an optional disambiguator (s, base 62, _), a length, perhaps a _ and a name.
        root = re.search(r"C(?:s[0-9A-Za-z]*_)(\d+)_?", mangled)
        if root:
            return mangled[root.end():root.end() + int(root.group(1))]
    legacy = re.match(r"_ZN(\d+)", mangled)
    if legacy:
        name = mangled[legacy.end():legacy.end() + int(legacy.group(1))]
        if "$" not in name:
            return name
        # An impl of a trait for a type: whichever of them is no crate of the standard library's.
        crates = re.findall(r"(?:^|[^.A-Za-z_0-9])([a-z_][a-z_0-9]*)\.\.", name)
        return next((c for c in crates if c not in STANDARD), "core")
    return "rasp" if mangled.startswith("rasp_") else "core"


def main() -> None:
    library = build()
    weights: Counter[str] = Counter()
    symbols = subprocess.run(["nm", "-S", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    seen = set()
    for line in symbols.splitlines():
        fields = line.split()
        if len(fields) == 4 and fields[2] in "tTrRdDwWvV" and fields[0] not in seen:
            seen.add(fields[0])  # Functions that are equal are one, with several names.
            name = crate(fields[3])
            weights["Rust's standard library" if name in STANDARD else name] += int(fields[1], 16)
    sections = subprocess.run(["size", "-A", "-d", library], capture_output=True, text=True, check=True).stdout
    sizes = {f[0]: int(f[1]) for f in map(str.split, sections.splitlines()) if len(f) == 3 and f[1].isdigit()}
    unwind = sum(sizes.get(s, 0) for s in (".eh_frame", ".eh_frame_hdr", ".gcc_except_table"))
    weights["unwind tables of all"] = unwind
    kept = [".text", ".rodata", ".data", ".data.rel.ro", ".rela.dyn", ".dynsym", ".dynstr", ".got", ".tdata"]
    whole = sum(sizes.get(s, 0) for s in kept) + unwind
    weights["constants without a name, relocations, padding"] = whole - sum(weights.values())
    print("| crate | bytes | share |\n| --- | ---: | ---: |")
    for name, size in weights.most_common():
        print(f"| {name} | {size:,} | {100 * size / whole:.1f}% |")
    print(f"| all | {whole:,} | |")


if __name__ == "__main__":
    main()
