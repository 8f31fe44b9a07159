#!/usr/bin/env python3
"""The layers of C# and Java that call C, from include/rasp.h: functions, constants, structs and callbacks under the
header's own names. What is for users stands over them and is written by hand.

    generate.py            write them
    generate.py --check    fail if they are not what the header says
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "abi"), str(ROOT / "bindings" / "generator")]

import csharp  # noqa: E402
import java  # noqa: E402
from header import HEADER, declarations  # noqa: E402

MADE = {
    ROOT / "bindings/csharp/Native.cs": csharp.layer,
    ROOT / "bindings/java/src/main/java/io/github/raspengine/rasp/Capi.java": java.layer,
}


def main():
    declared = declarations(HEADER.read_text())
    for path, layer in MADE.items():
        text = layer(declared)
        if long := [line for line in text.splitlines() if len(line) > 120]:
            sys.exit(f"generate.py: lines of more than 120 columns: {long}")
        if sys.argv[1:] == ["--check"]:
            if not path.exists() or path.read_text() != text:
                sys.exit(f"{path.relative_to(ROOT)} is not what the header says: run bindings/generate.py")
        elif sys.argv[1:]:
            sys.exit(__doc__)
        else:
            path.write_text(text)


main()
