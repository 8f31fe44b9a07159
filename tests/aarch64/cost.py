#!/usr/bin/env python3
"""What the kernels that read weights cost on ARM cores, from their machine code: no ARM core is needed, and none is measured.

    tests/aarch64/cost.py LIBRASP.so [--tables]

LIBRASP.so is the aarch64 library, not stripped (target/aarch64/aarch64-unknown-linux-gnu/release/librasp.so after
`make test-aarch64`). Of each kernel the innermost loop is taken that reads the most weights, and llvm-mca says how many
cycles one turn of it takes if all that it reads lies in L1. Bytes of weights a turn over cycles, times the clock, is what
the core could eat; where memory gives less, memory is the bound. --tables prints the tables of docs/cross.md. Products of
several tokens with weights in whole numbers are bound by arithmetic: of those it says how many a cycle are done.

Wants llvm-objdump and llvm-mca with a model of the Neoverse N1 (LLVM 16 or newer; Debian 12: apt-get install llvm-19).
"""

import argparse
import re
import shutil
import subprocess

# What names a kernel in the symbol table, what marks one of its widenings of weights, and how many bytes of weights one
# of those takes. A kernel holds one loop for each format.
KERNELS = [
    ("gemv, bf16", "gemv", r"\bu?shll2?\b.*\.4s", 8),
    ("gemv, f16", "gemv", r"\bfcvtl2?\b", 8),
    ("gemv_sparse, bf16", "gemv_sparse", r"\bu?shll2?\b.*\.4s", 8),
    ("gemv_sparse, f16", "gemv_sparse", r"\bfcvtl2?\b", 8),
    ("dot_rows, bf16", "dot_rows", r"\bu?shll2?\b.*\.4s", 8),
    # Eight products of numbers of 4 bits.
    ("screen", "dot_rows_screen", r"\bsm(ull|lal)2?\s+v\d+\.8h", 4),
]

# Several tokens, weights in whole numbers: level of the instruction set, the entry point's module and name, what multiplies
# and how many products that is, and the models of cores that have it (the Neoverse N2 is the Cortex-A710's core).
TOKENS = [
    ("neon", "4neon", r"\bsm(ull|lal)2?\s+v\d+\.8h", 8, ["cortex-a72", "neoverse-n1"]),
    ("neon_dotprod", "3dot", r"\bsdot\b", 16, ["neoverse-n1", "neoverse-n2"]),
    ("neon_i8mm", "4i8mm", r"\bsmmla\b", 32, ["neoverse-n2"]),
]

# Processor: what llvm-mca is asked for. It has one model for Cortex-A57 and Cortex-A72, and uses that one for cortex-a76
# and cortex-a78ae as well, which are twice as wide; the Neoverse N1 is the Cortex-A76's core with other caches, and is
# taken for the Cortex-A78AE too, whose vector units are no fewer.
CORES = {"Cortex-A72": "cortex-a72", "Cortex-A76": "neoverse-n1", "Cortex-A78AE": "neoverse-n1"}

# Board: core, clock in GHz, cores, GB/s that one core reads, GB/s that all of them read. Sources: docs/cross.md.
BOARDS = {
    "Raspberry Pi 4": ("Cortex-A72", 1.5, 4, 5.1, 5.6),
    "Raspberry Pi 4, newer": ("Cortex-A72", 1.8, 4, 5.1, 5.6),
    "Raspberry Pi 5": ("Cortex-A76", 2.4, 4, 14.9, 14.9),
    "Jetson Orin Nano": ("Cortex-A78AE", 1.5, 6, 9.8, 54.4),
    "Jetson Orin Nano Super": ("Cortex-A78AE", 1.7, 6, 9.8, 58.8),
}

# Model: MB a token reads of the linears, dense and at 50%, and of the head's screen.
MODELS = {"SmolLM2-135M": (212.3, 0.428, 17.3), "Qwen2.5-Coder-1.5B": (2620.4, 0.486, 131.0)}


def tool(name):
    for version in ["-19", "-18", "-17", "-16", "-20", "-21", ""]:
        if path := shutil.which(name + version):
            return path
    raise SystemExit(f"{name} is not installed")


def run(*command, text=None):
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def function(library, kernel, module="4neon"):
    """The instructions of a kernel's entry: (address, text), in order."""
    symbols = run(tool("llvm-nm"), "--defined-only", library)
    # Mangled: the module's name, then the function's with its length before it.
    wanted = re.compile(rf"\b(\S*rasp_kernels\S*{module}{len(kernel)}{kernel}(?:17h|E|$)\S*)$", re.M)
    names = wanted.findall(symbols)
    if len(names) != 1:
        raise SystemExit(f"{kernel}: {len(names)} symbols; was the library stripped?")
    code = run(tool("llvm-objdump"), "-d", "--mattr=+all", "--no-show-raw-insn", f"--disassemble-symbols={names[0]}", library)
    lines = re.findall(r"^ *([0-9a-f]+):\s+(\S.*)$", code, re.M)
    return [(int(address, 16), re.sub(r"\s*//.*| <.*>", "", text)) for address, text in lines]


def innermost_loops(code):
    """Runs of instructions from a backward branch's target to the branch, that hold no other such run."""
    index = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (address, text) in enumerate(code):
        if branch := re.match(r"(?:b\.?\w*|cbn?z|tbn?z)\s.*?0x([0-9a-f]+)$", text):
            target = int(branch[1], 16)
            if target <= address and target in index:
                loops.append((index[target], i))
    inside = lambda a, b: a != b and a[0] <= b[0] and b[1] <= a[1]
    return [[text for _, text in code[a : b + 1]] for a, b in loops if not any(inside((a, b), other) for other in loops)]


def products(library):
    """Level: (instructions, products, {cpu: cycles}) of the loop with most products."""
    found = {}
    for level, module, multiplies, size, cpus in TOKENS:
        count = lambda loop: size * sum(bool(re.search(multiplies, text)) for text in loop)
        loop = max(innermost_loops(function(library, "gemm_quantized", module)), key=count)
        found[level] = (len(loop), count(loop), {cpu: mca(loop, cpu)[0] for cpu in cpus})
    return found


def mca(loop, cpu):
    """Cycles of one turn, and the name of the model."""
    # A branch out of the loop or back is an instruction like others; where it goes does not matter.
    text = "\n".join(re.sub(r"0x[0-9a-f]+$", "0", line) if re.match(r"(b|cbn?z|tbn?z)", line) else line for line in loop)
    turns = 200
    out = run(tool("llvm-mca"), "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={turns}", text=text)
    cycles = int(re.search(r"Total Cycles: +(\d+)", out)[1]) / turns
    model = re.search(r"- ([A-Z][A-Za-z0-9]*?)Unit", out)[1]
    return cycles, model


def costs(library):
    """Kernel: (instructions, bytes, {cpu: (cycles, model)})."""
    found = {}
    for name, kernel, widening, size in KERNELS:
        weights = lambda loop: size * sum(bool(re.search(widening, text)) for text in loop)
        loop = max(innermost_loops(function(library, kernel)), key=weights)
        if weights(loop) == 0:
            raise SystemExit(f"{name}: no loop widens weights")
        found[name] = (len(loop), weights(loop), {cpu: mca(loop, cpu) for cpu in sorted(set(CORES.values()))})
    return found


def bounds(board, used, costs, kernel):
    """GB/s of weights that so many cores of a board eat with a kernel, and that memory gives them."""
    core, clock, count, one, every = BOARDS[board]
    _, weights, cycles = costs[kernel]
    return used * clock * weights / cycles[CORES[core]][0], one if used == 1 else every


def tokens(board, used, costs, work):
    """Tokens a second, work being pairs of a kernel and the MB that it reads."""
    return 1e3 / sum(megabytes / min(bounds(board, used, costs, kernel)) for kernel, megabytes in work)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("library")
    parser.add_argument("--tables", action="store_true", help="the tables of docs/cross.md")
    args = parser.parse_args()
    found = costs(args.library)

    print("| kernel | instructions a turn | weight bytes a turn | instructions a byte |", end="")
    cpus = sorted(set(CORES.values()))
    models = {cpu: next(iter(found.values()))[2][cpu][1] for cpu in cpus}
    print("".join(f" cycles a byte, {cpu} (model {models[cpu]}) |" for cpu in cpus))
    print("| --- | --- | --- | --- |" + " --- |" * len(cpus))
    for name, (count, weights, cycles) in found.items():
        print(f"| {name} | {count} | {weights} | {count / weights:.2f} |", end="")
        print("".join(f" {cycles[cpu][0] / weights:.3f} |" for cpu in cpus))

    print("\n| several tokens, whole numbers | instructions a turn | products a turn | products a cycle |")
    print("| --- | --- | --- | --- |")
    for level, (count, total, cycles) in products(args.library).items():
        each = ", ".join(f"{total / turn:.1f} (model {cpu})" for cpu, turn in cycles.items())
        print(f"| {level} | {count} | {total} | {each} |")

    if not args.tables:
        return
    kernels = ["gemv, bf16", "gemv, f16", "gemv_sparse, bf16", "dot_rows, bf16", "screen"]
    print("\n| board | cores | GHz |" + "".join(f" {kernel} |" for kernel in kernels) + " memory |")
    print("| --- | --- | --- |" + " --- |" * (len(kernels) + 1))
    for board, (_, clock, count, *_) in BOARDS.items():
        for used in (1, count):
            print(f"| {board} | {used} | {clock} |", end="")
            for kernel in kernels:
                eaten, memory = bounds(board, used, found, kernel)
                print(f" **{eaten:.1f}** |" if eaten < memory else f" {eaten:.1f} |", end="")
            print(f" {memory:.1f} |")

    print("\n| board | cores |" + "".join(f" {model}, dense | 50% |" for model in MODELS))
    print("| --- | --- |" + " --- |" * (2 * len(MODELS)))
    for board, (_, _, count, *_) in BOARDS.items():
        for used in (1, count):
            print(f"| {board} | {used} |", end="")
            for linears, kept, head in MODELS.values():
                for kernel, share in (("gemv, bf16", 1), ("gemv_sparse, bf16", kept)):
                    work = [(kernel, share * linears), ("screen", head)]
                    print(f" {tokens(board, used, found, work):.3g} |", end="")
            print()


if __name__ == "__main__":
    main()
