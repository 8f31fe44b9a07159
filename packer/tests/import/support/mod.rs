//! A tiny model, written as a GGUF file or a Hugging Face directory.

mod gguf_file;
mod hf_dir;

use std::fs;
use std::io::Write;
use std::path::Path;

use rasp::model::LinearKind;
use rasp::model::{Affine, NormId, Role, tensors};
use rasp::{Error, Status};
use rasp_packer::import::{self, Checkpoint};

pub use gguf_file::{GgufFile, Meta, types};
pub use hf_dir::{HfDir, Tensor as HfTensor};

pub const VOCAB: usize = 12;
pub const HIDDEN: usize = 32;
pub const INNER: usize = 64;
pub const LAYERS: usize = 2;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD_DIM: usize = 8;
pub const CONTEXT: usize = 64;

/// `(out, in)` of a linear of the tiny model.
pub fn shape(linear: LinearKind) -> (usize, usize) {
    match linear {
        LinearKind::Q => (HEADS * HEAD_DIM, HIDDEN),
        LinearKind::K | LinearKind::V => (KV_HEADS * HEAD_DIM, HIDDEN),
        LinearKind::O => (HIDDEN, HEADS * HEAD_DIM),
        LinearKind::Gate | LinearKind::Up => (INNER, HIDDEN),
        LinearKind::Down => (HIDDEN, INNER),
    }
}

/// The values of a part of the tiny model: eighths, which every element type holds exactly.
pub fn values(part: &str, count: usize) -> Vec<f32> {
    let mut state = part.bytes().fold(0x9E37_79B9u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state % 129) as f32 / 8.0 - 8.0
    };
    (0..count).map(|_| next()).collect()
}

pub fn linear_values(layer: usize, linear: LinearKind) -> Vec<f32> {
    let (out, inp) = shape(linear);
    values(&format!("{layer}.{}", linear.name()), out * inp)
}

pub fn bias_values(layer: usize, linear: LinearKind) -> Vec<f32> {
    values(&format!("{layer}.{}.bias", linear.name()), shape(linear).0)
}

/// Checks every value of a checkpoint that was written from the functions above.
pub fn check_values(c: &Checkpoint, has_bias: bool) {
    for layer in 0..LAYERS {
        for linear in LinearKind::ALL {
            let dense = c.linear(layer, linear).unwrap();
            assert_eq!((dense.out, dense.inp), shape(linear));
            assert_eq!(dense.data, linear_values(layer, linear), "{layer} {linear:?}");
            let want = (has_bias && matches!(linear, LinearKind::Q | LinearKind::K | LinearKind::V))
                .then(|| bias_values(layer, linear));
            assert_eq!(c.bias(layer, linear).unwrap(), want, "{layer} {linear:?}");
        }
        for (norm, part) in [(NormId::Attn, "attn_norm"), (NormId::Mlp, "mlp_norm")] {
            let gain = c.vector(Role::Norm(layer, norm, Affine::Gain)).unwrap();
            assert_eq!(gain, Some(values(&format!("{layer}.{part}"), HIDDEN)));
        }
    }
    assert_eq!(c.vector(Role::FinalNorm(Affine::Gain)).unwrap(), Some(values("final_norm", HIDDEN)));
    let embed = values("embed", VOCAB * HIDDEN);
    assert_eq!(c.embedding_rows(0..VOCAB).unwrap(), embed);
    assert_eq!(c.embedding_rows(3..5).unwrap(), embed[3 * HIDDEN..5 * HIDDEN]);
    assert!(c.embedding_rows(VOCAB..VOCAB).unwrap().is_empty());
    let head = (!c.config().tie_word_embeddings).then(|| values("lm_head", VOCAB * HIDDEN));
    assert_eq!(c.lm_head_rows(0..VOCAB).unwrap(), head);
    let some = head.map(|h| h[HIDDEN..2 * HIDDEN].to_vec());
    assert_eq!(c.lm_head_rows(1..2).unwrap(), some);
}

/// What is asked for beyond the model is refused.
pub fn check_ranges(c: &Checkpoint) {
    let out_of_range = |e: Error| assert_eq!(e.status(), Status::OutOfRange, "{e}");
    out_of_range(c.linear(LAYERS, LinearKind::Q).unwrap_err());
    out_of_range(c.bias(usize::MAX, LinearKind::Q).unwrap_err());
    out_of_range(c.vector(Role::Norm(LAYERS, NormId::Mlp, Affine::Gain)).unwrap_err());
    out_of_range(c.embedding_rows(0..VOCAB + 1).unwrap_err());
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 5..4;
    out_of_range(c.embedding_rows(backwards).unwrap_err());
}

/// Reads everything a checkpoint has; only that it comes back matters.
pub fn read_all(c: &Checkpoint) -> Result<(), Error> {
    for layer in 0..c.config().num_layers {
        for linear in LinearKind::ALL {
            c.linear(layer, linear)?;
            c.bias(layer, linear)?;
        }
    }
    tensors(c.config()).try_for_each(|role| c.vector(role).map(|_| ()))?;
    c.embedding_rows(0..c.config().vocab_size)?;
    c.lm_head_rows(0..c.config().vocab_size)?;
    Ok(())
}

/// Opening must fail with this status, in words that contain all of these.
#[track_caller]
pub fn refuses(path: &Path, status: Status, words: &[&str]) {
    let error = import::open(path).expect_err("the checkpoint should be refused");
    assert_eq!(error.status(), status, "{error}");
    for word in words {
        assert!(error.message().contains(word), "`{word}` is not in: {error}");
    }
    let path = path.display().to_string();
    assert!(error.message().contains(&path), "`{path}` is not in: {error}");
}

/// A fixed sequence of numbers with no pattern to speak of.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Changes one to three of the bytes: to the extremes, by a bit, or to anything.
    pub fn damage(&mut self, bytes: &mut [u8]) {
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len());
            bytes[at] = match self.below(4) {
                0 => 0xFF,
                1 => 0,
                2 => bytes[at] ^ (1 << self.below(8)),
                _ => self.below(256) as u8,
            };
        }
    }
}

/// Writes over a file of the same length. (Some file systems wait for the disk where one is truncated and written
/// anew.)
pub fn overwrite(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all(bytes).unwrap();
}
