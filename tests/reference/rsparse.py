"""R-Sparse, by definition: thresholds, masks, low rank, and what they cost in perplexity.

    python rsparse.py MODEL.gguf DATA_DIR [--sparsity 0.3,0.5] [--rho 1,0.95] [--score norm|plain|residual]
                      [--protocol strict|paper|decode] [--dtype f32|bf16|f16] [--windows 16] [--no-dense]

One line of output per setting: every sparsity with every rho, every score and every protocol named. The first
line is the dense model. Thresholds come from the same (rounded) dense model over the calibration windows.

For a linear y = W x + b of sparsity s and rank share rho:

    kept = floor((1-s) rho in)        r = floor(((1-s) in out - kept out) / (in + out))
    W ~ A B (thin SVD, rank r)        R = W - A B
    a_j = |x_j| c_j                   m_j = a_j > tau,  tau: the (1 - (1-s) rho) quantile of a over calibration
    y = A B x + R (x m) + b           the same as  W (x m) + A B (x (1-m)) + b
"""

import argparse
from dataclasses import dataclass
from math import floor
from pathlib import Path
from time import time

import numpy as np

import llama
import tokenizer

WINDOW, CALIBRATION_WINDOWS = 512, 8
CALIBRATION_FILE, TEST_FILE = "wikitext2_valid.txt", "wikitext2_test_a.txt"
SCORES = ("norm", "plain", "residual")
DENSE_TOKENS = {
    "strict": lambda n: 0,  # every token sparse
    "paper": lambda n: floor(0.9 * n),  # the first nine tenths dense
    "decode": lambda n: n // 2,  # the first half is the prompt, dense; the second half is generated, sparse
}


def windows(tok, path, count):
    """The first `count` windows of a text file tokenized whole, each alone: [count, WINDOW]."""
    ids = tok.encode(Path(path).read_bytes().decode("utf-8"), add_special_tokens=False).ids
    return np.array(ids[: count * WINDOW]).reshape(count, WINDOW)


def budget(s, rho, rows_out, cols_in):
    """The rank that the budget leaves after the kept channels."""
    kept = floor((1 - s) * rho * cols_in)
    return floor(((1 - s) * cols_in * rows_out - kept * rows_out) / (cols_in + rows_out))


def column_norms(w):
    return np.sqrt(np.square(w, dtype=np.float64).sum(axis=0)).astype(np.float32)


def quantiles(a, levels):
    """Exact quantiles of all values of `a`, linear between the two nearest order statistics."""
    at = [level * (a.size - 1) for level in levels]
    ranks = sorted({r for p in at for r in (floor(p), min(floor(p) + 1, a.size - 1))})
    a = np.partition(a.ravel(), ranks)
    below = lambda p: float(a[floor(p)])
    above = lambda p: float(a[min(floor(p) + 1, a.size - 1)])
    return [below(p) + (above(p) - below(p)) * (p - floor(p)) for p in at]


@dataclass
class Sparse:
    """One linear of one setting."""

    score: np.ndarray  # c, [in]
    threshold: float
    residual: np.ndarray  # R, [out, in]; W itself at rank 0
    a: np.ndarray = None  # [out, r]
    b: np.ndarray = None  # [r, in]


def svd_factors(model, rank):
    """(A, B) of the highest rank any setting needs, for every linear; a lower rank is a slice of them."""
    factors = {}
    for n, layer in enumerate(model.layers):
        for name, w in layer.weight.items():
            u, s, vt = np.linalg.svd(w, full_matrices=False)
            factors[n, name] = (u * s)[:, :rank], vt[:rank]
    return factors


def prepare(model, factors, settings, dtype):
    """Every linear of every setting (s, rho, score), thresholds still to come."""
    round_to = llama.ROUND[dtype]
    result = {}
    for s, rho, score in settings:
        for n, layer in enumerate(model.layers):
            for name, w in layer.weight.items():
                rank = budget(s, rho, *w.shape)
                residual, a, b = w, None, None
                if rank > 0:  # rounded as the packed file holds them
                    a, b = (round_to(f) for f in (factors[n, name][0][:, :rank], factors[n, name][1][:rank]))
                    residual = round_to(w - a @ b)
                c = {
                    "norm": lambda: column_norms(w),
                    "plain": lambda: np.ones(w.shape[1], np.float32),
                    "residual": lambda: column_norms(residual),
                }[score]()
                result[s, rho, score, n, name] = Sparse(c, None, residual, a, b)
    return result


def calibrate(model, ids, prepared, settings):
    """Sets every threshold, from one dense pass."""

    def observe(model, n, name, x):
        size = np.abs(x)
        groups = {}  # settings that share the score vector share one sort
        for s, rho, score in settings:
            one = prepared[s, rho, score, n, name]
            groups.setdefault(one.score.tobytes(), []).append((1 - (1 - s) * rho, one))
        for group in groups.values():
            found = quantiles(size * group[0][1].score, [level for level, _ in group])
            for (_, one), threshold in zip(group, found):
                one.threshold = threshold
        return llama.dense(model, n, name, x)

    llama.forward(model, ids, observe)


class SparseLinears:
    """Stands in for llama.dense: the first `dense_tokens` of each window dense, the others sparse; counts traffic."""

    def __init__(self, linears, dense_tokens):
        self.linears, self.dense_tokens = linears, dense_tokens  # (layer, name) -> Sparse
        self.read = self.whole = 0.0

    def __call__(self, model, n, name, x):
        one, w, d = self.linears[n, name], model.layers[n].weight[name], self.dense_tokens
        mask = np.abs(x) * one.score > np.float32(one.threshold)
        mask[:, :d] = True
        y = (x * mask) @ one.residual.T
        if one.a is not None:
            y += (x @ one.b.T) @ one.a.T
        if name in model.layers[n].bias:
            y += model.layers[n].bias[name]
        share = float(mask[:, d:].mean())
        self.read += share * w.size + (0 if one.a is None else one.a.size + one.b.size)
        self.whole += w.size
        return y

    @property
    def traffic(self):
        return self.read / self.whole


def main():
    parser = argparse.ArgumentParser(description="perplexity of R-Sparse settings")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    listed = lambda kind: lambda text: [kind(item) for item in text.split(",")]
    parser.add_argument("--sparsity", type=listed(float), default=[])
    parser.add_argument("--rho", type=listed(float), default=[1.0])
    parser.add_argument("--score", type=listed(str), default=["norm"], help=", ".join(SCORES))
    parser.add_argument("--protocol", type=listed(str), default=["strict"], help=", ".join(DENSE_TOKENS))
    parser.add_argument("--dtype", choices=llama.ROUND, default="f32")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--test", default=TEST_FILE, help="another text file of DATA_DIR to measure on")
    parser.add_argument("--no-dense", action="store_true", help="leave the dense line out")
    args = parser.parse_args()

    model, tok = llama.load(args.model, args.dtype), tokenizer.from_gguf(args.model)
    test = windows(tok, args.data / args.test, args.windows)
    print(f"{args.test}: {args.windows} windows of {WINDOW}, weights {args.dtype}")
    print("setting                              protocol      ppl  kept by design  traffic kept   seconds")

    def line(setting, protocol, ppl, design, kept, start):
        print(f"{setting:36} {protocol:8} {ppl:8.3f} {design:15.4f} {kept:13.4f} {time() - start:9.0f}", flush=True)

    if not args.no_dense:
        start = time()
        line("dense", "", llama.perplexity(llama.next_token_logprobs(model, test)), 1, 1, start)

    settings = [(s, rho, score) for s in args.sparsity for rho in args.rho for score in args.score]
    if not settings:
        return
    shapes = [w.shape for layer in model.layers for w in layer.weight.values()]
    rank = max(budget(s, rho, *shape) for s, rho, _ in settings for shape in shapes)
    prepared = prepare(model, svd_factors(model, rank) if rank > 0 else None, settings, args.dtype)
    calibrate(model, windows(tok, args.data / CALIBRATION_FILE, CALIBRATION_WINDOWS), prepared, settings)

    for s, rho, score in settings:
        linears = {(n, name): prepared[s, rho, score, n, name] for n in range(len(model.layers)) for name in llama.LINEARS}
        for protocol in args.protocol:
            start = time()
            sparse = SparseLinears(linears, DENSE_TOKENS[protocol](WINDOW))
            ppl = llama.perplexity(llama.next_token_logprobs(model, test, sparse))
            line(f"s={s:g} rho={rho:g} score={score}", protocol, ppl, 1 - s, sparse.traffic, start)


if __name__ == "__main__":
    main()
