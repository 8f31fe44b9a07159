//! One linear, taken apart.

use super::StagedModel;
use crate::decompose::{Factors, column_norms, subtract, truncated_svd};
use crate::grid::Grid;
use crate::plan::LinearPlan;
use crate::quantize::quantize;
use crate::round::{round, widen};
use rasp::Result;
use rasp::format::ScoreKind;
use rasp::model::{QuantType, WeightType};

/// A linear as it goes into the file.
pub(super) struct StoredLinear {
    /// `R`, or `W` where the rank is 0.
    pub(super) weights: StoredWeights,
    /// `[inputs]`: the norm of each channel's weights, of `W` or of `R` as the score asks.
    pub(super) norms: Vec<f32>,
    pub(super) factors: Option<StoredFactors>,
}

/// The factors of a low rank as they go into the file: in floating point, or in 8 bits beside weights in whole numbers.
pub(super) struct StoredFactors {
    /// `[rank, inputs]`
    pub(super) b: StoredWeights,
    /// `[outputs, a_cols]`
    pub(super) a: StoredWeights,
    /// The rank, in whole numbers rounded up to whole groups, with zeros.
    pub(super) a_cols: usize,
}

/// Its weights `[outputs, inputs]` as the file will hold them.
pub(crate) enum StoredWeights {
    Float(Vec<u16>),
    Quantized(Grid),
}

impl StoredWeights {
    /// Rounded, or put on a grid. `name` is the linear's, for errors.
    pub(crate) fn new(name: &str, values: &[f32], inputs: usize, weight_type: WeightType) -> Result<StoredWeights> {
        match weight_type.quant() {
            None => round(name, values, weight_type.float()).map(StoredWeights::Float),
            Some(quant) => quantize(name, values, inputs, quant).map(StoredWeights::Quantized),
        }
    }

    /// The numbers that the file then has.
    pub(crate) fn values(&self, weight_type: WeightType) -> Vec<f32> {
        match self {
            StoredWeights::Float(bits) => widen(bits, weight_type.float()),
            StoredWeights::Quantized(grid) => grid.values(),
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            StoredWeights::Float(bits) => bits.len(),
            StoredWeights::Quantized(grid) => grid.numbers.len(),
        }
    }
}

impl StagedModel<'_> {
    /// One linear: its factors, what remains, and what its channels weigh.
    pub(super) fn linear(&self, layer: usize, plan: &LinearPlan) -> Result<StoredLinear> {
        if let (Some(quant), 0) = (self.weight_type.quant(), plan.rank) {
            let weights = StoredWeights::Quantized(self.grid(layer, plan, quant)?);
            let norms = column_norms(&weights.values(self.weight_type), plan.inputs);
            return Ok(StoredLinear { weights, norms, factors: None });
        }
        let name = plan.name();
        let mut w = self.checkpoint.linear(layer, plan.kind)?.data;
        // Norms are of the numbers the file holds, or would hold in 16 bits if it had no low rank.
        let norms = column_norms(&self.rounded(&name, &w)?, plan.inputs);
        let factors = match plan.rank {
            0 => None,
            rank => {
                let (stored, factors) = self.factors(&name, &w, plan, rank)?;
                subtract(&mut w, plan.inputs, rank, &factors);
                Some(stored)
            }
        };
        // A residual lies on no grid of the checkpoint's.
        let weights = StoredWeights::new(&name, &w, plan.inputs, self.weight_type)?;
        let norms = match self.plan.score {
            ScoreKind::ResidualNorm => column_norms(&weights.values(self.weight_type), plan.inputs),
            // Fisher information takes a working model: until there is one, the norms stand in its place.
            ScoreKind::WeightNorm | ScoreKind::Magnitude | ScoreKind::Fisher => norms,
        };
        Ok(StoredLinear { weights, norms, factors })
    }

    /// All of a linear in whole numbers: the checkpoint's own where it has such.
    fn grid(&self, layer: usize, plan: &LinearPlan, quant: QuantType) -> Result<Grid> {
        match self.checkpoint.linear_grid(layer, plan.kind, quant)? {
            Some(grid) => Ok(grid),
            None => quantize(&plan.name(), &self.checkpoint.linear(layer, plan.kind)?.data, plan.inputs, quant),
        }
    }

    /// The factors as the file will hold them, and the numbers that it then has: the residual makes up for their
    /// rounding.
    fn factors(&self, name: &str, w: &[f32], plan: &LinearPlan, rank: usize) -> Result<(StoredFactors, Factors)> {
        let exact = truncated_svd(w, plan.outputs, plan.inputs, rank).map_err(|e| e.context(name))?;
        let (stored_as, a_cols) = (self.weight_type.low_rank(), self.weight_type.low_rank_rows(rank));
        let mut a = vec![0.0; plan.outputs * a_cols];
        for (padded, a) in a.chunks_exact_mut(a_cols).zip(exact.a.chunks_exact(rank)) {
            padded[..rank].copy_from_slice(a);
        }
        let b = StoredWeights::new(name, &exact.b, plan.inputs, stored_as)?;
        let a = StoredWeights::new(name, &a, a_cols, stored_as)?;
        let rows = a.values(stored_as);
        let values = rows.chunks_exact(a_cols).flat_map(|row| &row[..rank]).copied().collect();
        let values = Factors { a: values, b: b.values(stored_as) };
        Ok((StoredFactors { b, a, a_cols }, values))
    }
}
