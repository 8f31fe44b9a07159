//! An `up` by outputs: of a gate that is exactly zero the row of `up` is not read, since the product is zero whatever
//! stands there. (For ReLU gates: Mirzadeh et al., arXiv:2310.04564, section 3.)
//!
//! A gate's zeros hang on the token, so each token of a pass reads rows of its own; a unit of work is rows that stay in
//! the cache while all tokens take theirs.

use super::context::{Mode, Pass};
use super::low_rank::{Start, adapted};
use super::project::whole_ref;
use super::shared::{SharedSlice, share};
use super::tiles::{SHARED_BYTES, TILE, UNIT, UNIT_BYTES, UNIT_MACS, cut};
use crate::model::{Activation, Group, UpRows};
use crate::session::budget::Flow;
use rasp_kernels::{MatMut, MatRef};

impl Pass<'_, '_> {
    /// `act = activation(gate) · up(x)` of a group whose gate, `[T, intermediate]`, has been computed.
    pub(super) fn active_rows(
        &mut self,
        group: &Group,
        up: &UpRows,
        activation: Activation,
        x: MatRef<'_>,
        gate: &[f32],
        act: &mut [f32],
    ) -> Flow {
        let (kernels, rows, parts, width) = (self.kernels, self.rows, self.work.parts(), group.output());
        let whole = whole_ref(group, self.whole, self.whole_scale, rows);
        let (weights, bias) = (up.rows(), up.bias());
        let bytes = if rows == 1 { UNIT_BYTES } else { SHARED_BYTES };
        let most = (bytes / weights.row_bytes()).min(UNIT_MACS / rows / weights.cols()).min(TILE / 2);
        let start = Start { kernels, group, low_rank: &[], seqs: adapted(self.adapted, self.seqs) };
        let is_adapted = self.adapted;
        // Where what a token reads is counted: of a window only sparse ones, as the first; of a prompt none.
        let (alone, from) = match self.mode {
            Mode::Window { .. } if self.sparse_from() < rows => (false, self.sparse_from()),
            Mode::Prompt | Mode::Window { .. } if rows > 1 => (true, rows),
            Mode::Prompt | Mode::Window { .. } | Mode::Decode => (true, 0),
        };
        let (read, act) = (self.read, SharedSlice::new(act));
        let (active, sums) = (SharedSlice::new(&mut *self.active), SharedSlice::new(&mut *self.sums));
        self.work.large(&|part, pieces| {
            // SAFETY: each part has a piece of its own.
            let (scratch, sums) =
                unsafe { (active.slice(part * width..(part + 1) * width), sums.slice(part * TILE..(part + 1) * TILE)) };
            let (sums, added) = sums.split_at_mut(TILE / 2);
            pieces.each(cut(share(width, UNIT, parts, part), UNIT, most), |own| {
                let weights = weights.row_range(own.clone());
                for row in 0..rows {
                    let at = row * width + own.start..row * width + own.end;
                    // SAFETY: shares of different parts do not overlap.
                    let act = unsafe { act.slice(at.clone()) };
                    kernels.activate(activation, act, &gate[at], None);
                    let active = kernels.select(act, None, 0.0, &mut scratch[..own.len()]);
                    let sums = &mut sums[..active.len()];
                    let whole = if whole.cols() == 0 { (&[][..], &[][..]) } else { whole.row(row) };
                    weights.multiply_some(kernels, sums, (x.row(row), whole), active);
                    let added = &mut added[..if is_adapted { own.len() } else { 0 }];
                    if is_adapted {
                        added.fill(0.0);
                        let mut y = MatMut::new(added, 1, own.len(), own.len()).expect("a row");
                        start.adapt(&(width + own.start..width + own.end), row, &mut y);
                    }
                    for (&n, sum) in active.as_slice().iter().zip(sums) {
                        let n = n as usize;
                        let bias = bias.map_or(0.0, |bias| bias[own.start + n]);
                        act[n] *= *sum + bias + added.get(n).unwrap_or(&0.0);
                    }
                    if row >= from {
                        let at = if alone { row } else { 0 };
                        read.add(at..at + 1, (active.len() * weights.row_bytes()) as u64);
                    }
                }
            });
        })
    }
}
