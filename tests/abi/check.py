#!/usr/bin/env python3
"""The binary interface against its golden file, tests/abi/x86_64-linux-gnu.txt: every exported function and its type, the
value of every constant, the size of every struct and the offset of every field, as a C compiler sees them.

    python3 tests/abi/check.py LIBRARY            fails on any difference
    python3 tests/abi/check.py LIBRARY --bless    writes the file anew; once the interface is frozen, only for additions

And that no instruction of the kernels has become a function of its own: a closure that the standard library calls (in
`array::from_fn`, `map`) may be compiled without its caller's instruction set, and then each intrinsic in it is a call.

For 64-bit systems with the C ABI of x86-64 Linux; aarch64 Linux has the same sizes and offsets.
"""

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from header import HEADER, declarations

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("x86_64-linux-gnu.txt")


def describe(library: str) -> list[str]:
    constants, structs, callbacks, functions, _ = declarations(HEADER.read_text())
    exported = set(re.findall(r" [TW] (\w+)$", run("nm", "-D", "--defined-only", library), flags=re.M))
    if exported != set(functions):
        sys.exit(f"exported or in the header, but not both: {sorted(exported ^ set(functions))}")

    program = ["#include <rasp.h>", "#include <stdio.h>", "int main(void) {"]
    for name in constants:
        program.append(f'    printf("constant {name} %lld\\n", (long long)({name}));')
    for name, fields in structs.items():
        program.append(f'    printf("struct {name} size %zu\\n", sizeof({name}));')
        for _, field, _ in fields:
            place = f"offsetof({name}, {field}), sizeof((({name} *)0)->{field})"
            program.append(f'    printf("struct {name} . {field} at %zu size %zu\\n", {place});')
    program += ["    return 0;", "}"]
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "abi.c"), os.path.join(folder, "abi")
        Path(source).write_text("\n".join(program))
        run(os.environ.get("CC", "cc"), "-std=c11", "-I", str(HEADER.parent), source, "-o", binary)
        layout = run(binary).splitlines()

    loaded = ctypes.CDLL(library)
    loaded.rasp_abi_version.restype = ctypes.c_uint32
    version = loaded.rasp_abi_version()
    soname = run(str(ROOT / "packaging/version.sh"), "abi").strip()
    if str(version) != soname:
        sys.exit(f"rasp_abi_version is {version}, but the soname is that of version {soname}: see Cargo.toml")
    lines = [f"version {version}"]
    lines += layout
    lines += [f"callback {name} {kind}" for name, kind in sorted(callbacks.items())]
    lines += [f"function {name} {kind}" for name, kind in sorted(functions.items())]
    return lines


def run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def out_of_line(library: str) -> list[str]:
    """Intrinsics that are functions. (std asks the CPU for its features with one that is meant to be.)"""
    symbols = re.findall(r" [tT] (\S*core_arch\S*)$", run("nm", library), flags=re.M)
    return [name for name in symbols if "_xgetbv" not in name]


def breaks(old: list[str], new: list[str]) -> list[str]:
    """Lines of old that a program compiled against it relies on and that no longer hold."""
    versioned = {line.split()[1] for line in old if ". struct_size at 0 " in line}
    sizes = {line.split()[1]: int(line.split()[3]) for line in new if re.match(r"struct \w+ size", line)}
    broken = []
    fields = [line.split() for line in new if re.match(r"struct \w+ \. ", line)]
    for line in set(old) - set(new):
        words = line.split()
        if words[0] == "struct" and words[2:4] == [".", "reserved"]:
            # It may come to mean something, where it is; 0 then means what it did (docs/abi.md).
            if any(other[1] == words[1] and other[4:] == words[4:] for other in fields):
                continue
        if words[0] == "struct" and words[2] == "size" and words[1] in versioned:
            # These may grow at their end.
            if sizes.get(words[1], 0) > int(words[3]):
                continue
        broken.append(line)
    return sorted(broken)


def main() -> None:
    library = os.path.abspath(sys.argv[1])
    if called := out_of_line(library):
        sys.exit("intrinsics that are called instead of inlined:\n" + "\n".join(called))
    new = describe(library)
    old = GOLDEN.read_text().splitlines() if GOLDEN.exists() else ["version 0"]
    broken = breaks(old, new)
    if sys.argv[2:] == ["--bless"]:
        if broken and old[0] != "version 0":
            sys.exit("the interface is frozen (docs/abi.md), and programs in use rely on:\n" + "\n".join(broken))
        GOLDEN.write_text("\n".join(new) + "\n")
    elif new != old:
        added = "\n".join(f"+ {line}" for line in new if line not in old)
        removed = "\n".join(f"- {line}" for line in old if line not in new)
        what = "BREAKS programs in use" if broken and old[0] != "version 0" else "`make bless-abi` if it is meant"
        sys.exit(f"the binary interface differs from {GOLDEN.name}: {what}\n{removed}\n{added}")
    print(f"{len(new)} lines of binary interface, version {new[0].split()[1]}")


if __name__ == "__main__":
    main()
