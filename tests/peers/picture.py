#!/usr/bin/env python3
"""Quality against speed: rasp's formats at every sparsity beside llama.cpp's, in it and in ik_llama.cpp, one picture.

    python3 tests/peers/picture.py GGUF --calib TEXT --text TEXT [--rounds N] [--threads 1] [--windows 16] [--write]

Every engine decodes the same weights, those of one GGUF file, in alternating rounds, each pinned to the same processors.
Our first format is calibrated on the text of --calib, the others take over its scores. Perplexity is measured by rasp on
TEXT, strict protocol (every token sparse); a format of llama.cpp's is measured as the weights it holds, packed dense as
bf16 (llama.cpp's own rounding of activations is not part of it). `--write` puts the picture and its table into docs/.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

from bench_peers import ALL_PEERS, PEERS, RASP, ROOT, our_decode, processor, quantized, run, write

OURS = ["bf16", "q8", "q4", "q4s"]
THEIRS = ["BF16", "Q8_0", "Q4_K_M", "Q4_0"]
SPARSITY = [0, 0.3, 0.4, 0.5]


def packed(source, name, *flags):
    """A .rasp file under target/peers, made if it is not there."""
    file = PEERS / f"{name}.rasp"
    if not file.exists():
        run([RASP, "pack", source, "-o", file, *flags])
    return file


def perplexity(file, sparsity, args):
    done = subprocess.run(
        [RASP, "eval", "ppl", file, "--text", args.text, "--windows", str(args.windows), "--sparsity", str(sparsity), "--json"],
        check=True, stdout=subprocess.PIPE)
    result = json.loads(done.stdout)
    return result["ppl"], result["kept"]


def measure(args):
    """Points: engine, format, sparsity, kept, perplexity, tokens per second a round."""
    for peer in ALL_PEERS:
        peer.build()
    stem = args.gguf.stem
    points, timed = [], []
    for dtype in args.ours:
        scores = ["--scores", timed[0][1]] if timed and "--scores" not in args.pack else []
        file = packed(args.gguf, f"{stem}.{dtype}", "--dtype", dtype, "--calib", args.calib, *scores, *args.pack)
        for sparsity in SPARSITY:
            ppl, kept = perplexity(file, sparsity, args)
            points.append({"engine": "rasp", "format": dtype, "sparsity": sparsity, "kept": kept, "ppl": ppl, "tok_s": []})
        timed.append((dtype, file))
    for name in args.theirs:
        dense = packed(quantized(args.gguf, name), f"{stem}.{name}.dense", "--dtype", "bf16", "--sparsity", "")
        ppl, _ = perplexity(dense, 0, args)
        points += [{"engine": peer.name, "format": name, "sparsity": 0, "kept": 1, "ppl": ppl, "tok_s": []}
                   for peer in ALL_PEERS]
    for done in range(args.rounds):
        print(f"round {done + 1} of {args.rounds}", file=sys.stderr)
        for dtype, file in timed:
            rows = our_decode(file, args.threads, args.n, SPARSITY)["results"]
            for row in rows:
                # The bench prints the sparsity as the f32 it is.
                point = next(p for p in points if p["format"] == dtype and abs(p["sparsity"] - row["sparsity"]) < 1e-6)
                point["tok_s"].append(row["decode_tok_s"])
        for point in points:
            for peer in ALL_PEERS:
                if point["engine"] == peer.name:
                    point["tok_s"].append(peer.decode(quantized(args.gguf, point["format"]), args.threads, args.n))
    return points


def table(points):
    lines = ["| engine | format | sparsity | kept | perplexity | tok/s |", "| --- | --- | --- | --- | --- | --- |"]
    for p in points:
        speed = f"{statistics.median(p['tok_s']):.1f} ({min(p['tok_s']):.1f} to {max(p['tok_s']):.1f})"
        sparsity = "dense" if p["sparsity"] == 0 else f"{round(100 * p['sparsity'])}%"
        lines.append(f"| {p['engine']} | {p['format']} | {sparsity} | {p['kept']:.3f} | {p['ppl']:.2f} | {speed} |")
    return "\n".join(lines)


PLOT = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "rasp"
import matplotlib.pyplot as plt
points, title, out = json.load(open(sys.argv[1])), sys.argv[2], sys.argv[3]
middle = lambda values: sorted(values)[len(values) // 2]
figure, axes = plt.subplots(figsize=(8, 5))
axes.set_prop_cycle(color=["#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2"])
for format in dict.fromkeys(p["format"] for p in points if p["engine"] == "rasp"):
    own = [p for p in points if p["engine"] == "rasp" and p["format"] == format]
    axes.plot([middle(p["tok_s"]) for p in own], [p["ppl"] for p in own], "o-", label=f"rasp {format}")
    for p in own:
        name = "dense" if p["sparsity"] == 0 else f"{round(100 * p['sparsity'])}%"
        axes.annotate(name, (middle(p["tok_s"]), p["ppl"]), textcoords="offset points", xytext=(5, 5), fontsize=8)
for engine, marker in zip(dict.fromkeys(p["engine"] for p in points if p["engine"] != "rasp"), "sD^v"):
    theirs = [p for p in points if p["engine"] == engine]
    axes.plot([middle(p["tok_s"]) for p in theirs], [p["ppl"] for p in theirs], marker, color="#555555", label=engine)
    for p in theirs:
        axes.annotate(p["format"], (middle(p["tok_s"]), p["ppl"]), textcoords="offset points", xytext=(-6, 7), fontsize=8,
                      ha="right")
axes.set_xlabel("tokens per second, one sequence (right is faster)")
axes.set_ylabel("perplexity (lower is better)")
axes.set_title(title, fontsize=10)
axes.grid(alpha=0.3)
axes.legend()
figure.tight_layout()
figure.savefig(out, metadata={"Date": None})
"""


def draw(data, title, out):
    venv = PEERS / "plot"
    if not (venv / "bin" / "python").exists():
        run([sys.executable, "-m", "venv", venv])
        run([venv / "bin" / "pip", "install", "--quiet", "matplotlib"])
    run([venv / "bin" / "python", "-c", PLOT, data, title, out])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--calib", type=Path, required=True, help="text to calibrate on")
    parser.add_argument("--text", type=Path, required=True, help="text to measure perplexity on")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-n", type=int, default=64, help="tokens to decode")
    formats = lambda text: text.split(",")
    parser.add_argument("--ours", type=formats, default=OURS, help="rasp's formats, with commas between them")
    parser.add_argument("--theirs", type=formats, default=THEIRS, help="llama.cpp's")
    parser.add_argument("--pack", type=str.split, default=[], help="more flags for rasp pack, in one argument")
    parser.add_argument("--write", action="store_true", help="put picture and table into docs/")
    args = parser.parse_args()
    points = measure(args)
    stem = args.gguf.stem
    data = PEERS / f"{stem}.quality-speed.json"
    data.write_text(json.dumps(points, indent=1))
    threads = "1 thread" if args.threads == 1 else f"{args.threads} threads"
    title = f"{stem}, {args.text.stem}, {args.windows} windows, strict; {processor()}, {threads}"
    picture = PEERS / f"{stem}.quality-speed.svg"
    draw(data, title, picture)
    text = f"{title}; {args.rounds} rounds, medians (least to most).\n\n{table(points)}"
    print(text)
    if args.write:
        short = re.split(r"[-.]", stem)[0].lower()
        target = ROOT / "docs" / f"quality-speed-{short}.svg"
        target.write_text(picture.read_text())
        write("lab/2026-11-29-quality-against-speed.md", f"picture {short}", f"![Quality against speed](../{target.name})\n\n{text}")


if __name__ == "__main__":
    main()
