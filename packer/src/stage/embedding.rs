//! Embedding and head, some rows in memory at once.

use super::{Stage, u16_bytes};
use crate::quantize::quantize;
use rasp::Result;
use rasp::format::{Dtype, TensorSpec, Writer};
use rasp::model::QuantType;
use std::ops::Range;

/// Rows in memory at once.
const ROWS: usize = 4096;

impl Stage<'_> {
    /// In the order in which [`write_embeddings`](Stage::write_embeddings) writes them.
    pub(super) fn embedding_tensors(&self) -> Vec<TensorSpec> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let matrices: &[&str] =
            if self.config.tie_word_embeddings { &["embed_tokens"] } else { &["embed_tokens", "lm_head"] };
        let mut specs = Vec::new();
        let mut add = |name: String, dtype: Dtype, shape: &[usize]| specs.push(TensorSpec::new(name, dtype, shape));
        if self.weight_type.quant().is_some() {
            for name in matrices {
                add(name.to_string(), Dtype::I8, &[vocab, hidden]);
                add(format!("{name}.scale"), Dtype::F16, &[vocab, hidden / self.weight_type.block_unit()]);
            }
            return specs;
        }
        for name in matrices {
            add(name.to_string(), self.weight_type.dtype(), &[vocab, hidden]);
        }
        specs
    }

    pub(super) fn write_embeddings(&self, writer: &mut Writer) -> Result<()> {
        let c = self.checkpoint;
        let tied = self.config.tie_word_embeddings;
        // `lm_head_rows` has them wherever the head is not tied.
        let head = |rows: Range<usize>| Ok(c.lm_head_rows(rows)?.unwrap_or_default());
        if self.weight_type.quant().is_some() {
            // 8 bits in a file of 4 as well: the embedding costs a token nothing, and the head is where it shows.
            let embedding_grid = |rows| c.embedding_grid(rows, QuantType::Q8);
            self.write_whole(writer, "embed_tokens", embedding_grid, |rows| c.embedding_rows(rows))?;
            if !tied {
                self.write_whole(writer, "lm_head", |rows| c.lm_head_grid(rows, QuantType::Q8), head)?;
            }
            return Ok(());
        }
        self.write_float(writer, "embed_tokens", |rows| c.embedding_rows(rows))?;
        if !tied {
            self.write_float(writer, "lm_head", head)?;
        }
        Ok(())
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let vocab = self.config.vocab_size;
        (0..vocab).step_by(ROWS).map(move |start| start..vocab.min(start + ROWS))
    }

    fn write_float(
        &self,
        writer: &mut Writer,
        name: &str,
        values: impl Fn(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<()> {
        writer.begin(name)?;
        for rows in self.blocks() {
            writer.write(&u16_bytes(&self.round(name, &values(rows)?)?))?;
        }
        Ok(())
    }

    /// In 8 bits: `grid` where the checkpoint has it, or else made from `values`.
    fn write_whole(
        &self,
        writer: &mut Writer,
        name: &str,
        grid: impl Fn(Range<usize>) -> Result<Option<crate::Grid>>,
        values: impl Fn(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<()> {
        writer.begin(name)?;
        let mut scale = Vec::new();
        for rows in self.blocks() {
            let grid = match grid(rows.clone())? {
                Some(grid) => grid,
                None => quantize(name, &values(rows)?, self.config.hidden_size, QuantType::Q8)?,
            };
            writer.write(&grid.numbers)?;
            scale.extend(grid.scale);
        }
        writer.tensor(&format!("{name}.scale"), &u16_bytes(&scale))
    }
}
