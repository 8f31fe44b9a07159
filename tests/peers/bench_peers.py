#!/usr/bin/env python3
"""rasp beside llama.cpp: the same weights, alternating runs, medians.

    python3 tests/peers/bench_peers.py GGUF RASP [--rounds N] [--threads 1,2] [--prompts 256,2048] [--write]

llama.cpp is built from the source distribution of `llama-cpp-python`, under target/peers; none of it enters this
repository. Both engines get the weights of one GGUF file: llama.cpp through its own `llama-quantize`, in the formats that
are nearest to RASP's, rasp as RASP, packed from it. A round runs every cell of the table once, first the one engine and then
the other, each pinned to the same processors. `--write` replaces the section of docs/performance.md that bears the model's
and the format's name.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "target" / "peers"
SDIST = "llama-cpp-python==0.3.36"
CMAKE_FLAGS = [
    "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF",
]
# With GCC 12 the compiler may drop the stores that fill an AMX tile configuration, and the build dies with SIGILL.
NO_AMX = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
RASP = ROOT / "target" / "release" / "rasp"


def run(command, **options):
    print("+", " ".join(map(str, command)), file=sys.stderr)
    return subprocess.run([str(part) for part in command], check=True, **options)


def llama_cpp():
    """The folder with llama.cpp's binaries, built if need be."""
    bin_dir = PEERS / "build" / "bin"
    if (bin_dir / "llama-bench").exists() and (bin_dir / "llama-quantize").exists():
        return bin_dir
    PEERS.mkdir(parents=True, exist_ok=True)
    cmake = shutil.which("cmake")
    if cmake is None:
        run([sys.executable, "-m", "venv", PEERS / "venv"])
        run([PEERS / "venv/bin/pip", "install", "--quiet", "cmake"])
        cmake = PEERS / "venv/bin/cmake"
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
         "llama-cpp-python", "--dest", PEERS, SDIST])
    archive = next(PEERS.glob("llama_cpp_python-*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(PEERS, filter="data")
    source = next(PEERS.glob("llama_cpp_python-*/vendor/llama.cpp"))
    amx = "amx_tile" in Path("/proc/cpuinfo").read_text()
    flags = [f"-DCMAKE_C_FLAGS={NO_AMX}", f"-DCMAKE_CXX_FLAGS={NO_AMX}"] if amx else []
    run([cmake, "-S", source, "-B", PEERS / "build", *CMAKE_FLAGS, *flags], stdout=subprocess.DEVNULL)
    run([cmake, "--build", PEERS / "build", "--target", "llama-bench", "llama-quantize", "-j", os.cpu_count() or 1],
        stdout=subprocess.DEVNULL)
    return bin_dir


# What a user would run instead of a file of each of our formats.
PEER_FORMATS = {"bf16": ["BF16"], "f16": ["F16"], "q8": ["Q8_0"], "q4": ["Q4_0", "Q4_1", "Q4_K_M"],
                "q4s": ["Q4_0", "Q4_K_M"]}


def quantized(gguf, wanted, bin_dir):
    """The same weights in another of llama.cpp's formats."""
    theirs = PEERS / f"{gguf.stem}.{wanted.lower()}.gguf"
    if not theirs.exists():
        partial = Path(f"{theirs}.part")
        run([bin_dir / "llama-quantize", "--allow-requantize", gguf, partial, wanted], stdout=subprocess.DEVNULL,
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
    return json.loads(done.stdout)


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


def peer_decode(file, bin_dir, threads, n):
    """llama.cpp's tokens per second after 16 tokens."""
    peer = read_json([bin_dir / "llama-bench", "-m", file, "-t", threads, "-p", 0, "-n", n, "-d", 16, "-r", 1, "-o",
                      "json"], threads)
    return peer[0]["avg_ts"]


def one_round(table, theirs, ours, bin_dir, threads, prompts, n, sparsities):
    """Decoding after 16 tokens, then prompts, each engine in turn."""
    decode = our_decode(ours, threads, n, sparsities)
    table.add("stream", decode["stream_gb_s"])
    for row in decode["results"]:
        table.add(f"decode {row['sparsity']}", row["decode_tok_s"])
        table.add(f"gb_s {row['sparsity']}", row["gb_s"])
        table.add(f"kept {row['sparsity']}", row["kept"])
        table.add(f"tail {row['sparsity']}", row["step_ms_p99"] / row["step_ms_p50"])
    for name, file in theirs.items():
        table.add(f"{name} decode", peer_decode(file, bin_dir, threads, n))
    for prompt in prompts:
        row = read_json([RASP, "bench", ours, "--threads", threads, "--prompt", prompt, "-n", 1, "--rounds", 1,
                         "--sparsity", 0, "--json"], threads)
        table.add(f"prefill {prompt}", row["results"][0]["prefill_tok_s"])
        for name, file in theirs.items():
            peer = read_json([bin_dir / "llama-bench", "-m", file, "-t", threads, "-p", prompt, "-n", 0, "-r", 1, "-o",
                              "json"], threads)
            table.add(f"{name} prefill {prompt}", peer[0]["avg_ts"])


def report(tables, peers, prompts, sparsities):
    columns = ["threads", "what", "rasp"] + [c for p in peers for c in (f"llama.cpp {p}", "ratio")] + ["GB/s, of stream", "p99/p50"]
    row = lambda cells: "| " + " | ".join(cells) + " |"
    lines = [row(columns), row(["---"] * len(columns))]
    for threads, table in tables.items():
        beside = lambda ours, theirs, digits: [
            c for p in peers
            for c in (table.cell(f"{p} {theirs}", digits), f"{table.ratio(ours, f'{p} {theirs}'):.2f}")]
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
    parser.add_argument("gguf", type=Path)
    parser.add_argument("rasp", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", type=int, default=64, help="tokens to decode")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--prompts", type=numbers, default=[256, 2048])
    parser.add_argument("--sparsity", type=lambda t: [float(x) for x in t.split(",")], default=[0.3, 0.5, 0.7])
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    available = len(os.sched_getaffinity(0))
    threads = [t for t in args.threads if t <= available]
    sparsities = [0.0] + [s for s in args.sparsity if s > 0]

    bin_dir, ours = llama_cpp(), args.rasp
    dtype = read_json([RASP, "inspect", ours, "--json"], available)["dtype"]
    theirs = {name: quantized(args.gguf, name, bin_dir) for name in PEER_FORMATS[dtype]}
    tables = {t: Table() for t in threads}
    for done in range(args.rounds):
        print(f"round {done + 1} of {args.rounds}", file=sys.stderr)
        for t, table in tables.items():
            one_round(table, theirs, ours, bin_dir, t, args.prompts, args.n, sparsities)
    digest = hashlib.sha256(args.gguf.read_bytes()).hexdigest()[:12]
    text = (f"{args.gguf.name} (sha256 {digest}…) as {dtype}; {processor()}; {SDIST}; {args.rounds} rounds, {args.n} tokens "
            f"decoded; medians (least to most), ratios are medians of the rounds' ratios; tok/s.\n\n"
            + report(tables, list(theirs), args.prompts, sparsities))
    print(text)
    if args.write:
        name = args.gguf.stem if dtype == "bf16" else f"{args.gguf.stem} {dtype}"
        write("performance.md", f"bench-peers {name}", text)


if __name__ == "__main__":
    main()
