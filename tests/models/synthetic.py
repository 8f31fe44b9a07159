#!/usr/bin/env python3
"""Writes a model with the shapes of Llama-2-7B and random weights in Q4_0: for time, memory and speed at that scale.

    pip install gguf numpy
    python3 tests/models/synthetic.py OUTPUT.gguf [--layers 32]

3.8 GB. Weights are uniform over the 16 values of a block, of one size a matrix such that its outputs are about as large
as its inputs; a trained model's are not, so its quality says nothing, and what a level keeps is what it was asked to.
The tokenizer is of Llama-2's kind and size: bytes, and words of no meaning.
"""

import argparse
import zlib

import gguf
import numpy as np

HIDDEN, INTERMEDIATE, LAYERS, HEADS, VOCAB, CONTEXT = 4096, 11008, 32, 32, 32000, 4096
BLOCK, BLOCK_BYTES = 32, 18
# The standard deviation of the whole numbers of a block, -8 to 7, each as likely as any other.
DEVIATION = (255 / 12) ** 0.5


def random(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def q4_0(name, rows, cols):
    """A matrix `[rows, cols]`: blocks of a scale in f16 and 32 numbers of 4 bits."""
    generator = random(name)
    blocks = np.empty((rows, cols // BLOCK, BLOCK_BYTES), np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(1 / (DEVIATION * cols**0.5)).tobytes(), np.uint8)
    blocks[..., 2:] = generator.integers(0, 256, (rows, cols // BLOCK, BLOCK_BYTES - 2), np.uint8)
    return blocks.reshape(rows, -1)


def gains(name):
    return random(name).uniform(0.5, 1.5, HIDDEN).astype(np.float32)


def tokenizer(writer):
    words = [f"▁w{n}" for n in range(VOCAB - 259)]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + words
    kind = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(words))])
    writer.add_token_types([kind.UNKNOWN, kind.CONTROL, kind.CONTROL] + [kind.BYTE] * 256 + [kind.NORMAL] * len(words))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--layers", type=int, default=LAYERS)
    options = parser.parse_args()
    writer = gguf.GGUFWriter(options.output, "llama", use_temp_file=True)
    writer.add_name("Synthetic Llama-2-7B")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(options.layers)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    tokenizer(writer)

    def matrix(name, rows, cols):
        writer.add_tensor(name, q4_0(name, rows, cols), raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    matrix("token_embd.weight", VOCAB, HIDDEN)
    for layer in range(options.layers):
        at = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{at}{norm}.weight", gains(f"{at}{norm}"))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{at}{name}.weight", HIDDEN, HIDDEN)
        for name in ("ffn_gate", "ffn_up"):
            matrix(f"{at}{name}.weight", INTERMEDIATE, HIDDEN)
        matrix(f"{at}ffn_down.weight", HIDDEN, INTERMEDIATE)
    writer.add_tensor("output_norm.weight", gains("output_norm"))
    matrix("output.weight", VOCAB, HIDDEN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file(progress=True)
    writer.close()


if __name__ == "__main__":
    main()
