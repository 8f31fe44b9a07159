//! Matrices by outputs (embedding, head, an `up` of which few rows are read), some rows in memory at once.

use super::{StagedModel, u16_bytes};
use crate::quantize::quantize;
use rasp::Result;
use rasp::format::{Dtype, TensorSpec, Writer};
use rasp::model::{LinearKind, QuantType, Role};
use std::ops::Range;

/// Rows in memory at once.
const ROWS: usize = 4096;

impl StagedModel<'_> {
    /// The tensors of such a matrix, in the order in which [`write_rows`](StagedModel::write_rows) writes
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
        let (c, name, shape) = (self.checkpoint, &role.name(self.config), role.shape(self.config));
        // `lm_head_rows` has them wherever the head is not tied.
        let values = |rows: Range<usize>| match role {
            Role::LmHead => Ok(c.lm_head_rows(rows)?.unwrap_or_default()),
            Role::UpRows(layer) => c.linear_rows(layer, LinearKind::Up, rows),
            _ => c.embedding_rows(rows),
        };
        let blocks = (0..shape[0]).step_by(ROWS).map(|start| start..shape[0].min(start + ROWS));
        writer.begin(name)?;
        if self.weight_type.quant().is_none() {
            for rows in blocks {
                writer.write(&u16_bytes(&self.round(name, &values(rows)?)?))?;
            }
            return Ok(());
        }
        // 8 bits in a file of 4 as well: the embedding costs a token nothing, few rows of `up` are read, and the head
        // is where it shows.
        let grid = |rows: Range<usize>| match role {
            Role::LmHead => c.lm_head_grid(rows, QuantType::Q8),
            Role::UpRows(layer) => c.linear_grid_rows(layer, LinearKind::Up, rows, QuantType::Q8),
            _ => c.embedding_grid(rows, QuantType::Q8),
        };
        let mut scale = Vec::new();
        for rows in blocks {
            let grid = match grid(rows.clone())? {
                Some(grid) => grid,
                None => quantize(name, &values(rows)?, shape[1], QuantType::Q8)?,
            };
            writer.write(&grid.numbers)?;
            scale.extend(grid.scale);
        }
        writer.tensor(&format!("{name}.scale"), &u16_bytes(&scale))
    }
}
