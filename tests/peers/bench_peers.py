#!/usr/bin/env python3
"""rasp beside llama.cpp and ik_llama.cpp: the same weights, alternating runs, medians.

    python3 tests/peers/bench_peers.py GGUF RASP [--rounds N] [--threads 1,2] [--prompts 256,2048] [--write]
    python3 tests/peers/bench_peers.py --build

The peers are built from the source distributions of `llama-cpp-python` and `ik-llama-cpp-python`, under target/peers; none
of them enters this repository. All engines get the weights of one GGUF file: the peers through llama.cpp's own
`llama-quantize`, in the formats that are nearest to RASP's, rasp as RASP, packed from it. A round runs every cell of the
table once, one engine after another, each pinned to the same processors. A cell's ratio is to the best of all peers and
formats in it, which is named. `--write` replaces the section of
docs/lab/2026-11-29-speed-beside-llama.md that bears the model's and the format's name.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "target" / "peers"
CMAKE_FLAGS = [
    "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_SERVER=OFF",
]
# With GCC 12 the compiler may drop the stores that fill an AMX tile configuration, and the build dies with SIGILL.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
RASP = ROOT / "target" / "release" / "rasp"


def run(command, **options):
    print("+", " ".join(map(str, command)), file=sys.stderr)
    return subprocess.run([str(part) for part in command], check=True, **options)


@dataclass(frozen=True)
class Peer:
    """An engine that others use, and how it is built and asked."""

    name: str
    sdist: str
    cmake_flags: tuple
    targets: tuple
    # How its llama-bench is told to time `{n}` tokens after 16, and what else it is told.
    decode_flags: tuple
    bench_flags: tuple

    @property
    def folder(self):
        return PEERS / self.name

    @property
    def bin_dir(self):
        return self.folder / "build" / "bin"

    def build(self):
        """Fetches and builds what is not there."""
        if all((self.bin_dir / target).exists() for target in self.targets):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        package = self.sdist.split("==")[0]
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package, "--dest",
             self.folder, self.sdist])
        archive = next(self.folder.glob("*.tar.gz"))
        with tarfile.open(archive) as tar:
            tar.extractall(self.folder, filter="data")
        source = next(self.folder.glob(f"*/vendor/{self.name}"))
        # A script that one sdist leaves out though its build runs it, in the top folder: it writes the build's number.
        script = source / "common" / "cmake" / "build-info-gen-cpp.cmake"
        if not script.exists() and (source / "common" / "build-info.cpp.in").exists():
            script.parent.mkdir(exist_ok=True)
            script.write_text("set(BUILD_NUMBER 0)\nset(BUILD_COMMIT unknown)\nset(BUILD_COMPILER unknown)\n"
                              "set(BUILD_TARGET unknown)\nconfigure_file(common/build-info.cpp.in common/build-info.cpp)\n")
        amx = "amx_tile" in Path("/proc/cpuinfo").read_text()
        flags = [f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"] if amx else []
        make = cmake()
        run([make, "-S", source, "-B", self.folder / "build", *CMAKE_FLAGS, *self.cmake_flags, *flags],
            stdout=subprocess.DEVNULL)
        run([make, "--build", self.folder / "build", "--target", *self.targets, "-j", os.cpu_count() or 1],
            stdout=subprocess.DEVNULL)

    def decode(self, file, threads, n):
        """Tokens per second, `n` of them after 16."""
        return self.bench(file, threads, [str(part).format(n=n) for part in self.decode_flags])

    def prefill(self, file, threads, prompt):
        """A prompt's tokens per second."""
        return self.bench(file, threads, ["-p", prompt, "-n", 0])

    def bench(self, file, threads, what):
        rows = read_json([self.bin_dir / "llama-bench", "-m", file, "-t", threads, *what, "-r", 1, "-o", "json",
                          *self.bench_flags], threads)
        (row,) = rows
        return row["avg_ts"]


LLAMA_CPP = Peer("llama.cpp", "llama-cpp-python==0.3.36", ("-DLLAMA_BUILD_EXAMPLES=OFF",),
                 ("llama-bench", "llama-quantize"), ("-p", 0, "-n", "{n}", "-d", 16), ())
# Its llama-bench is among its examples; the attention kernels for pairs of formats that nobody asks for take an hour to
# build. `-rtr 1`: weights are interleaved at load, as its users do for speed.
IK_LLAMA_CPP = Peer("ik_llama.cpp", "ik-llama-cpp-python==0.1.5",
                    ("-DLLAMA_BUILD_EXAMPLES=ON", "-DGGML_IQK_FA_ALL_QUANTS=OFF"), ("llama-bench",),
                    ("-p", 0, "-n", 0, "-gp", "16,{n}"), ("-rtr", 1))
ALL_PEERS = [LLAMA_CPP, IK_LLAMA_CPP]


def cmake():
    """The program of that name, installed under target/ where the machine has none."""
    found = shutil.which("cmake")
    if found is None:
        found = PEERS / "venv/bin/cmake"
        if not found.exists():
            run([sys.executable, "-m", "venv", PEERS / "venv"])
            run([PEERS / "venv/bin/pip", "install", "--quiet", "cmake"])
    return found


# What a user would run instead of a file of each of our formats.
PEER_FORMATS = {"bf16": ["BF16"], "f16": ["F16"], "q8": ["Q8_0"], "q4": ["Q4_0", "Q4_1", "Q4_K_M"],
                "q4s": ["Q4_0", "Q4_K_M"]}


def quantized(gguf, wanted):
    """The same weights in another of llama.cpp's formats."""
    theirs = PEERS / f"{gguf.stem}.{wanted.lower()}.gguf"
    if not theirs.exists():
        partial = Path(f"{theirs}.part")
        run([LLAMA_CPP.bin_dir / "llama-quantize", "--allow-requantize", gguf, partial, wanted], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        partial.rename(theirs)
    return theirs


def pinned(threads):
    """Keeps a child on the first processors that this process may use."""
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    return lambda: os.sched_setaffinity(0, cpus)


def read_json(command, threads):
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, preexec_fn=pinned(threads))
    # One of the peers prints what it repacks before its JSON.
    text = done.stdout.decode()
    return json.loads(text[min(at for at in map(text.find, "[{") if at >= 0):])


class Table:
    """Samples by name."""

    def __init__(self):
        self.samples = {}

    def add(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def ratio(self, a, b):
        """Median of the ratios of one round each."""
        return statistics.median(x / y for x, y in zip(self.samples[a], self.samples[b]))

    def cell(self, name, digits=1):
        values = self.samples[name]
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def our_decode(file, threads, n, sparsities):
    """What `rasp bench` finds in one round after 16 tokens."""
    return read_json([RASP, "bench", file, "--threads", threads, "--prompt", 16, "-n", n, "--rounds", 1, "--sparsity",
                      ",".join(map(str, sparsities)), "--json"], threads)


def one_round(table, theirs, ours, threads, prompts, n, sparsities):
    """Decoding after 16 tokens, then prompts, each engine in turn."""
    decode = our_decode(ours, threads, n, sparsities)
    table.add("stream", decode["stream_gb_s"])
    for row in decode["results"]:
        table.add(f"decode {row['sparsity']}", row["decode_tok_s"])
        table.add(f"gb_s {row['sparsity']}", row["gb_s"])
        table.add(f"kept {row['sparsity']}", row["kept"])
        table.add(f"tail {row['sparsity']}", row["step_ms_p99"] / row["step_ms_p50"])
    for dtype, file in theirs.items():
        for peer in ALL_PEERS:
            table.add(f"{peer.name} {dtype} decode", peer.decode(file, threads, n))
    for prompt in prompts:
        row = read_json([RASP, "bench", ours, "--threads", threads, "--prompt", prompt, "-n", 1, "--rounds", 1,
                         "--sparsity", 0, "--json"], threads)
        table.add(f"prefill {prompt}", row["results"][0]["prefill_tok_s"])
        for dtype, file in theirs.items():
            for peer in ALL_PEERS:
                table.add(f"{peer.name} {dtype} prefill {prompt}", peer.prefill(file, threads, prompt))


def report(tables, formats, prompts, sparsities):
    """A row for each cell: ours, the peers' in each format, and the ratio to the best of them."""
    peers = [(peer.name, dtype) for peer in ALL_PEERS for dtype in formats]
    columns = ["threads", "what", "rasp", *(" ".join(peer) for peer in peers), "rasp over the best", "GB/s, of stream",
               "p99/p50"]
    row = lambda cells: "| " + " | ".join(cells) + " |"
    lines = [row(columns), row(["---"] * len(columns))]
    for threads, table in tables.items():
        def beside(ours, theirs, digits):
            names = [f"{name} {dtype} {theirs}" for name, dtype in peers]
            best = max(names, key=lambda name: statistics.median(table.samples[name]))
            return [table.cell(name, digits) for name in names] + [
                f"{table.ratio(ours, best):.2f} ({best.removesuffix(' ' + theirs)})"]
        stream = statistics.median(table.samples["stream"])
        for sparsity in sparsities:
            name = "dense" if sparsity == 0 else f"{round(100 * sparsity)}%, kept {statistics.median(table.samples[f'kept {sparsity}']):.3f}"
            share = 100 * table.ratio(f"gb_s {sparsity}", "stream")
            lines.append(row(
                [str(threads), f"decode, {name}", table.cell(f"decode {sparsity}")]
                + beside(f"decode {sparsity}", "decode", 1)
                + [f"{statistics.median(table.samples[f'gb_s {sparsity}']):.1f}, {share:.0f}% of {stream:.1f}",
                   f"{statistics.median(table.samples[f'tail {sparsity}']):.2f}"]))
        for prompt in prompts:
            lines.append(row([str(threads), f"prefill of {prompt}", table.cell(f"prefill {prompt}", 0)]
                             + beside(f"prefill {prompt}", f"prefill {prompt}", 0) + ["", ""]))
        sparse = [s for s in sparsities if s > 0]
        ratios = ", ".join(f"{table.ratio(f'decode {s}', f'decode {sparsities[0]}'):.2f} at {round(100 * s)}%" for s in sparse)
        lines.append(row([str(threads), "sparse over our dense", ratios] + [""] * (len(columns) - 3)))
    return "\n".join(lines)


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def write(page, name, text):
    """Replaces what stands between `<!-- NAME -->` and the next `<!-- end -->` of a page in docs/."""
    file = ROOT / "docs" / page
    begin, end = f"<!-- {name} -->", "<!-- end -->"
    old = file.read_text()
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    section = f"{begin}\n{text}\n{end}"
    if not pattern.search(old):
        sys.exit(f"docs/{page} has no section {begin} … {end}")
    file.write_text(pattern.sub(lambda _: section, old))


def main():
    numbers = lambda text: [int(x) for x in text.split(",") if x]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path, nargs="?")
    parser.add_argument("rasp", type=Path, nargs="?")
    parser.add_argument("--build", action="store_true", help="build the peers and stop")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", type=int, default=64, help="tokens to decode")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--prompts", type=numbers, default=[256, 2048])
    parser.add_argument("--sparsity", type=lambda t: [float(x) for x in t.split(",")], default=[0.3, 0.5, 0.7])
    parser.add_argument("--write", action="store_true", help="put the table into docs/lab/")
    args = parser.parse_args()
    for peer in ALL_PEERS:
        peer.build()
    if args.build:
        return
    if args.gguf is None or args.rasp is None:
        parser.error("GGUF and RASP are needed: the checkpoint, and the file packed from it")
    available = len(os.sched_getaffinity(0))
    threads = [t for t in args.threads if t <= available]
    sparsities = [0.0] + [s for s in args.sparsity if s > 0]

    ours = args.rasp
    dtype = read_json([RASP, "inspect", ours, "--json"], available)["dtype"]
    theirs = {name: quantized(args.gguf, name) for name in PEER_FORMATS[dtype]}
    tables = {t: Table() for t in threads}
    for done in range(args.rounds):
        print(f"round {done + 1} of {args.rounds}", file=sys.stderr)
        for t, table in tables.items():
            one_round(table, theirs, ours, t, args.prompts, args.n, sparsities)
    digest = hashlib.sha256(args.gguf.read_bytes()).hexdigest()[:12]
    text = (f"{args.gguf.name} (sha256 {digest}…) as {dtype}; {processor()}; {', '.join(peer.sdist for peer in ALL_PEERS)}; {args.rounds} rounds, {args.n} tokens "
            f"decoded; medians (least to most), ratios are medians of the rounds' ratios; tok/s.\n\n"
            + report(tables, list(theirs), args.prompts, sparsities))
    print(text)
    if args.write:
        name = args.gguf.stem if dtype == "bf16" else f"{args.gguf.stem} {dtype}"
        write("lab/2026-11-29-speed-beside-llama.md", f"bench-peers {name}", text)


if __name__ == "__main__":
    main()
