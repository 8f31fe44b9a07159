//! A GGUF file of one tiny layer, its matrices stored as one type.

use crate::support::*;
use half::f16;
use rasp::format::Allocation;
use rasp::model::WeightType;
use rasp::session::Scorer;
use rasp::{LoadOptions, Model};
use rasp_packer::import::{self, Checkpoint};
use rasp_packer::{PackOptions, Silent, Summary, pack};
use std::fs;
use std::path::{Path, PathBuf};

/// GGUF's numbers of block types, with the values and the bytes of a block and where its f16 scales end.
pub mod blocks {
    pub const Q4_0: (u32, usize, usize, usize) = (2, 32, 18, 2);
    pub const Q4_1: (u32, usize, usize, usize) = (3, 32, 20, 4);
    pub const Q5_0: (u32, usize, usize, usize) = (6, 32, 22, 2);
    pub const Q8_0: (u32, usize, usize, usize) = (8, 32, 34, 2);
    pub const Q4_K: (u32, usize, usize, usize) = (12, 256, 144, 4);
    pub const F32: (u32, usize, usize, usize) = (0, 1, 4, 0);
}

/// A checkpoint of one layer with matrices of random blocks, in a folder of its own.
pub struct Gguf {
    pub dir: tempfile::TempDir,
}

impl Gguf {
    pub fn new(kind: (u32, usize, usize, usize), hidden: usize) -> Gguf {
        Gguf::with(kind, hidden, |_| {})
    }

    /// `change` is the last to touch the file.
    pub fn with(kind: (u32, usize, usize, usize), hidden: usize, change: impl FnOnce(&mut GgufFile)) -> Gguf {
        let mut file = GgufFile::tiny("llama", types::F32);
        file.tensors.clear();
        for (key, value) in [("block_count", 1), ("embedding_length", hidden), ("feed_forward_length", 2 * hidden)] {
            file.set(&format!("llama.{key}"), Meta::U32(value as u32));
        }
        let tokens = "abcdefghijk".chars().map(String::from).chain(["ab".to_string()]);
        file.set("tokenizer.ggml.tokens", Meta::Strs(tokens.collect()));
        file.set("tokenizer.ggml.merges", Meta::Strs(vec!["a b".into()]));
        file.set("tokenizer.ggml.pre", "gpt-2".into());
        let mut random = Random::new();
        let mut matrix = |file: &mut GgufFile, name: &str, out: usize, inp: usize| {
            file.add(name, &[out, inp], types::F32, &vec![0.0; out * inp]);
            let tensor = file.tensor(name);
            tensor.kind = kind.0;
            tensor.data = random_blocks(&mut random, kind, out * inp);
        };
        let kv = hidden / HEADS * KV_HEADS;
        matrix(&mut file, "token_embd.weight", VOCAB, hidden);
        matrix(&mut file, "output.weight", VOCAB, hidden);
        for (part, out, inp) in [
            ("attn_q", hidden, hidden),
            ("attn_k", kv, hidden),
            ("attn_v", kv, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", 2 * hidden, hidden),
            ("ffn_up", 2 * hidden, hidden),
            ("ffn_down", hidden, 2 * hidden),
        ] {
            matrix(&mut file, &format!("blk.0.{part}.weight"), out, inp);
        }
        for norm in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
            file.add(&format!("{norm}.weight"), &[hidden], types::F32, &vec![1.0; hidden]);
        }
        change(&mut file);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("tiny.gguf"), file.bytes()).unwrap();
        fs::write(dir.path().join("calibration.txt"), "abcdefghijk hijab badge cab jig ".repeat(40).replace(' ', "a"))
            .unwrap();
        Gguf { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn checkpoint(&self) -> Checkpoint {
        import::open(&self.path("tiny.gguf")).unwrap()
    }

    /// Packs a dense file, unless `change` asks for more.
    pub fn pack(
        &self,
        weight_type: impl Into<Option<WeightType>>,
        change: impl FnOnce(&mut PackOptions),
    ) -> rasp::Result<Summary> {
        let mut options = options(&self.path("tiny.gguf"), &self.path("out.rasp"), weight_type.into());
        options.calibration = Some(self.path("calibration.txt"));
        change(&mut options);
        pack(&options, &mut Silent)
    }

    /// Log-probabilities of a few tokens from what was packed last.
    pub fn log_probs(&self) -> Vec<f64> {
        let model = Model::load(&self.path("out.rasp"), &LoadOptions { verify: true, ..Default::default() }).unwrap();
        let mut scorer = Scorer::exact(model, 16, 1).unwrap();
        let tokens = [3, 1, 4, 1, 5, 9, 2, 6, 5, 11];
        scorer.score(&tokens, usize::MAX).unwrap().iter().map(|s| s.log_prob).collect()
    }
}

/// How a dense file is packed.
pub fn options(input: &Path, output: &Path, weight_type: Option<WeightType>) -> PackOptions {
    PackOptions {
        weight_type,
        calibration_tokens: 256,
        sparsity: Some(vec![]),
        allocation: Allocation::Uniform,
        tune: 0,
        ..PackOptions::new(input, output)
    }
}

/// Random bits; scales are small numbers, or powers of two where values must fit 16 bits of floating point.
fn random_blocks(random: &mut Random, kind: (u32, usize, usize, usize), values: usize) -> Vec<u8> {
    let (_, per_block, bytes, scales) = kind;
    let mut data: Vec<u8> = (0..values / per_block * bytes).map(|_| random.below(256) as u8).collect();
    for block in data.chunks_exact_mut(bytes) {
        if kind == blocks::F32 {
            block.copy_from_slice(&(random.below(20001) as f32 / 40000.0 - 0.25).to_le_bytes());
        } else if kind == blocks::Q8_0 {
            block[..2].copy_from_slice(&f16::from_f32([0.5f32, 0.25, 0.125][random.below(3)] / 256.0).to_le_bytes());
        }
        for scale in block[..scales].chunks_exact_mut(2).filter(|_| kind != blocks::Q8_0) {
            let size = if kind == blocks::Q4_K { 0.001 } else { 0.02 };
            scale.copy_from_slice(&f16::from_f32(size * (random.below(1000) as f32 / 1000.0 + 0.1)).to_le_bytes());
        }
    }
    data
}
