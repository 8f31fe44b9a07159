//! Writing all tensors of a file: weights transposed, rounded and grouped; low-rank factors split off; scores.

use crate::decompose::{Factors, column_norms, subtract, truncated_svd};
use crate::head_look::HeadLook;
use crate::import::{Checkpoint, Norm};
use crate::plan::{LinearPlan, Plan};
use crate::progress::Progress;
use crate::tokenizer::Compiled;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rasp::format::{Config, Dtype, ScoreKind, TensorSpec, Writer, channel_rows};
use rasp::model::{GroupKind, LinearKind, WeightType};
use rasp::{Error, Result, Status};
use std::ops::Range;

/// Rows of the embedding in memory at once.
const EMBEDDING_ROWS: usize = 4096;

/// Everything that goes into a file besides the thresholds.
pub(crate) struct Stage<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) config: &'a Config,
    pub(crate) tokenizer: &'a Compiled,
    pub(crate) plan: &'a Plan,
    pub(crate) weight_type: WeightType,
}

impl Stage<'_> {
    /// The linears of one group of one block, in the order of their columns.
    fn group(&self, layer: usize, kind: GroupKind) -> impl Iterator<Item = &LinearPlan> {
        let first = layer * LinearKind::ALL.len() + kind.linears()[0] as usize;
        self.plan.linears[first..first + kind.linears().len()].iter()
    }

    fn group_width(&self, layer: usize, kind: GroupKind) -> usize {
        self.group(layer, kind).map(|l| l.outputs).sum()
    }

    /// All tensors, in the order in which [`write`](Stage::write) writes them.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let (c, dtype) = (self.config, self.weight_type.dtype());
        let mut specs: Vec<TensorSpec> = self.tokenizer.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut add = |name: String, dtype: Dtype, shape: &[usize]| specs.push(TensorSpec::new(name, dtype, shape));
        add("embed_tokens".into(), dtype, &[c.vocab_size, c.hidden_size]);
        if !c.tie_word_embeddings {
            add("lm_head".into(), dtype, &[c.vocab_size, c.hidden_size]);
        }
        add("head_look".into(), Dtype::I8, &[c.vocab_size, c.hidden_size]);
        for part in ["scale", "error", "norm"] {
            add(format!("head_look.{part}"), Dtype::F32, &[c.vocab_size]);
        }
        add("final_norm".into(), Dtype::F32, &[c.hidden_size]);
        add("rope.inv_freq".into(), Dtype::F32, &[c.head_dim / 2]);
        for layer in 0..c.num_layers {
            add(format!("layers.{layer}.attn_norm"), Dtype::F32, &[c.hidden_size]);
            add(format!("layers.{layer}.mlp_norm"), Dtype::F32, &[c.hidden_size]);
            for kind in GroupKind::ALL {
                for l in self.group(layer, kind) {
                    if self.plan.score != ScoreKind::Magnitude {
                        add(format!("{}.score", l.name()), Dtype::F32, &[l.inputs]);
                    }
                    if l.rank > 0 {
                        add(format!("{}.low_rank.b", l.name()), dtype, &[l.rank, l.inputs]);
                        add(format!("{}.low_rank.a", l.name()), dtype, &[l.rank, l.outputs]);
                    }
                }
                let name = format!("layers.{layer}.{}", kind.name());
                let width = self.group_width(layer, kind);
                if kind == GroupKind::Qkv && self.checkpoint.has_bias() {
                    add(format!("{name}.bias"), Dtype::F32, &[width]);
                }
                add(name, dtype, &[c.linear_shape(kind.linears()[0]).0, width]);
            }
        }
        specs
    }

    /// Writes them all.
    pub(crate) fn write(&self, writer: &mut Writer, progress: &mut dyn Progress) -> Result<()> {
        for (spec, bytes) in &self.tokenizer.tensors {
            writer.tensor(&spec.name, bytes)?;
        }
        progress.begin("writing weights", self.config.num_layers as u64 + 1);
        self.embeddings(writer)?;
        writer.tensor("final_norm", &f32_bytes(&self.checkpoint.norm(Norm::Final)?))?;
        writer.tensor("rope.inv_freq", &f32_bytes(&self.checkpoint.config.rope_inv_freq))?;
        progress.advance(1);
        for layer in 0..self.config.num_layers {
            let norm = |which| self.checkpoint.norm(which).map(|n| f32_bytes(&n));
            writer.tensor(&format!("layers.{layer}.attn_norm"), &norm(Norm::AttnNorm(layer))?)?;
            writer.tensor(&format!("layers.{layer}.mlp_norm"), &norm(Norm::MlpNorm(layer))?)?;
            for kind in GroupKind::ALL {
                self.write_group(writer, layer, kind)?;
            }
            progress.advance(1);
        }
        progress.end();
        Ok(())
    }

    fn embeddings(&self, writer: &mut Writer) -> Result<()> {
        let vocab = self.config.vocab_size;
        let blocks = || (0..vocab).step_by(EMBEDDING_ROWS).map(|start| start..vocab.min(start + EMBEDDING_ROWS));
        writer.begin("embed_tokens")?;
        for rows in blocks() {
            let bits = self.round("embed_tokens", &self.checkpoint.embedding_rows(rows)?)?;
            writer.write(&u16_bytes(&bits))?;
        }
        for (n, rows) in blocks().enumerate() {
            let Some(head) = self.checkpoint.lm_head_rows(rows)? else { break };
            if n == 0 {
                writer.begin("lm_head")?;
            }
            writer.write(&u16_bytes(&self.round("lm_head", &head)?))?;
        }
        self.head_look(writer, blocks())
    }

    /// The head once more, in 8 bits, with what greedy decoding has to know of each row.
    fn head_look(&self, writer: &mut Writer, blocks: impl Iterator<Item = Range<usize>>) -> Result<()> {
        let mut look = HeadLook::default();
        writer.begin("head_look")?;
        for rows in blocks {
            let head = match self.checkpoint.lm_head_rows(rows.clone())? {
                Some(head) => head,
                None => self.checkpoint.embedding_rows(rows)?,
            };
            let bytes: Vec<u8> = self
                .rounded("lm_head", &head)?
                .chunks_exact(self.config.hidden_size)
                .flat_map(|row| look.add(row))
                .map(i8::cast_unsigned)
                .collect();
            writer.write(&bytes)?;
        }
        writer.tensor("head_look.scale", &f32_bytes(&look.scale))?;
        writer.tensor("head_look.error", &f32_bytes(&look.error))?;
        writer.tensor("head_look.norm", &f32_bytes(&look.norm))
    }

    /// One group: scores and factors of its linears, then their weights side by side, input-channel-major.
    fn write_group(&self, writer: &mut Writer, layer: usize, kind: GroupKind) -> Result<()> {
        let width = self.group_width(layer, kind);
        let inputs = self.config.linear_shape(kind.linears()[0]).0;
        let mut columns = vec![0; inputs * width];
        let mut bias = Vec::with_capacity(width);
        for plan in self.group(layer, kind) {
            let name = plan.name();
            let Linear { weights, norms, factors } = self.linear(layer, plan)?;
            if self.plan.score != ScoreKind::Magnitude {
                writer.tensor(&format!("{name}.score"), &f32_bytes(&norms))?;
            }
            if let Some(Factors { a, b }) = &factors {
                writer.tensor(&format!("{name}.low_rank.b"), &u16_bytes(&self.round(&name, b)?))?;
                // `A` is [out, r]; its transpose is stored.
                let mut transposed = vec![0; a.len()];
                transpose_into(&self.round(&name, a)?, plan.rank, &mut transposed, plan.outputs, 0);
                writer.tensor(&format!("{name}.low_rank.a"), &u16_bytes(&transposed))?;
            }
            transpose_into(&weights, inputs, &mut columns, width, bias.len());
            match self.checkpoint.bias(layer, plan.kind)? {
                Some(own) => bias.extend(own),
                None => bias.resize(bias.len() + plan.outputs, 0.0),
            }
        }
        let name = format!("layers.{layer}.{}", kind.name());
        if kind == GroupKind::Qkv && self.checkpoint.has_bias() {
            writer.tensor(&format!("{name}.bias"), &f32_bytes(&bias))?;
        }
        let mut rows = vec![0; columns.len()];
        for (channel, row) in channel_rows(inputs).enumerate() {
            rows[row * width..][..width].copy_from_slice(&columns[channel * width..][..width]);
        }
        writer.tensor(&name, &u16_bytes(&rows))
    }

    /// One linear, taken apart: its factors, what remains, and what its channels weigh.
    fn linear(&self, layer: usize, plan: &LinearPlan) -> Result<Linear> {
        let name = plan.name();
        let mut w = self.checkpoint.linear(layer, plan.kind)?.data;
        // Norms are of the numbers the file holds.
        let whole = column_norms(&self.rounded(&name, &w)?, plan.inputs);
        let factors = match plan.rank {
            0 => None,
            rank => Some(self.factors(&name, &w, plan, rank)?),
        };
        if let Some(factors) = &factors {
            subtract(&mut w, plan.inputs, plan.rank, factors);
        }
        let weights = self.round(&name, &w)?;
        let norms = match self.plan.score {
            ScoreKind::ResidualNorm => column_norms(&widen(&weights, self.weight_type), plan.inputs),
            ScoreKind::WeightNorm | ScoreKind::Magnitude => whole,
        };
        Ok(Linear { weights, norms, factors })
    }

    /// The factors as the file will hold them, rounded, so that the residual makes up for their rounding.
    fn factors(&self, name: &str, w: &[f32], plan: &LinearPlan, rank: usize) -> Result<Factors> {
        let exact = truncated_svd(w, plan.outputs, plan.inputs, rank).map_err(|e| e.context(name))?;
        Ok(Factors { a: self.rounded(name, &exact.a)?, b: self.rounded(name, &exact.b)? })
    }

    /// The numbers as the file will hold them.
    fn rounded(&self, name: &str, x: &[f32]) -> Result<Vec<f32>> {
        Ok(widen(&self.round(name, x)?, self.weight_type))
    }

    /// Rounds to the nearest weight, ties to even. The checkpoint has vouched that every number is finite.
    fn round(&self, name: &str, x: &[f32]) -> Result<Vec<u16>> {
        let mut bits = vec![0; x.len()];
        match self.weight_type {
            WeightType::Bf16 => {
                bits.iter_mut().zip(x).for_each(|(bits, &x)| *bits = bf16::from_f32(x).to_bits());
            }
            WeightType::F16 => {
                half::slice::HalfBitsSliceExt::reinterpret_cast_mut::<f16>(&mut bits[..]).convert_from_f32_slice(x);
            }
        }
        let infinite = match self.weight_type {
            WeightType::Bf16 => 0x7f80,
            WeightType::F16 => 0x7c00,
        };
        match bits.iter().position(|bits| bits & infinite == infinite) {
            None => Ok(bits),
            Some(at) => Err(Error::new(
                Status::OutOfRange,
                format!("{name}: {} is beyond the range of {}", x[at], self.weight_type.name()),
            )),
        }
    }
}

/// A linear as it goes into the file.
struct Linear {
    /// `[outputs, inputs]`, rounded: `R`, or `W` where the rank is 0.
    weights: Vec<u16>,
    /// `[inputs]`: the norm of each channel's weights, of `W` or of `R` as the score asks.
    norms: Vec<f32>,
    factors: Option<Factors>,
}

fn widen(bits: &[u16], weight_type: WeightType) -> Vec<f32> {
    match weight_type {
        WeightType::Bf16 => bits.iter().map(|&b| bf16::from_bits(b).to_f32()).collect(),
        WeightType::F16 => bits.iter().map(|&b| f16::from_bits(b).to_f32()).collect(),
    }
}

/// Writes the transpose of a row-major `[rows, cols]` matrix into columns `start..start + rows` of a matrix with rows of
/// `width`, a tile at a time so that both stay in the cache.
fn transpose_into(from: &[u16], cols: usize, to: &mut [u16], width: usize, start: usize) {
    const TILE: usize = 32;
    let rows = from.len() / cols;
    for row0 in (0..rows).step_by(TILE) {
        for col0 in (0..cols).step_by(TILE) {
            for col in col0..cols.min(col0 + TILE) {
                let line = &mut to[col * width + start..][..rows];
                for row in row0..rows.min(row0 + TILE) {
                    line[row] = from[row * cols + col];
                }
            }
        }
    }
}

fn f32_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn u16_bytes(x: &[u16]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_lands_in_its_columns() {
        for (rows, cols) in [(1, 1), (3, 40), (70, 33)] {
            let from: Vec<u16> = (0..rows * cols).map(|i| i as u16).collect();
            let width = rows + 5;
            let mut to = vec![u16::MAX; cols * width];
            transpose_into(&from, cols, &mut to, width, 2);
            for row in 0..width {
                for col in 0..cols {
                    let expected = match row.checked_sub(2) {
                        Some(r) if r < rows => from[r * cols + col],
                        _ => u16::MAX,
                    };
                    assert_eq!(to[col * width + row], expected);
                }
            }
        }
    }
}
