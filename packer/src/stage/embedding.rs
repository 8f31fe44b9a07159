//! Embedding and head, some rows in memory at once.

use super::{StagedModel, u16_bytes};
use crate::quantize::quantize;
use rasp::Result;
use rasp::format::{Dtype, TensorSpec, Writer};
use rasp::model::{QuantType, Role};
use std::ops::Range;

/// Rows in memory at once.
const ROWS: usize = 4096;

impl StagedModel<'_> {
    /// The tensors of the embedding or the head, in the order in which [`write_rows`](StagedModel::write_rows) writes
    /// them.
    pub(super) fn row_tensors(&self, role: Role) -> Vec<TensorSpec> {
        let (name, shape) = (role.name(self.config), role.shape(self.config));
        if self.weight_type.quant().is_none() {
            return vec![TensorSpec::new(name, self.weight_type.dtype(), &shape)];
        }
        let scale =
            TensorSpec::new(format!("{name}.scale"), Dtype::F16, &[shape[0], shape[1] / self.weight_type.block_unit()]);
        vec![TensorSpec::new(name, Dtype::I8, &shape), scale]
    }

    pub(super) fn write_rows(&self, writer: &mut Writer, role: Role) -> Result<()> {
        let (c, name) = (self.checkpoint, role.name(self.config));
        // `lm_head_rows` has them wherever the head is not tied.
        let values = |rows: Range<usize>| match role {
            Role::LmHead => Ok(c.lm_head_rows(rows)?.unwrap_or_default()),
            _ => c.embedding_rows(rows),
        };
        if self.weight_type.quant().is_none() {
            return self.write_float(writer, &name, values);
        }
        // 8 bits in a file of 4 as well: the embedding costs a token nothing, and the head is where it shows.
        let grid = |rows: Range<usize>| match role {
            Role::LmHead => c.lm_head_grid(rows, QuantType::Q8),
            _ => c.embedding_grid(rows, QuantType::Q8),
        };
        self.write_whole(writer, &name, grid, values)
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
