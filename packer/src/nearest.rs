//! The weight type nearest to what a checkpoint holds.

use crate::import::{Checkpoint, DType};
use crate::quantize::quantize;
use crate::stage::check_shapes;
use half::f16;
use rasp::Result;
use rasp::model::{LinearKind, QuantType, WeightType};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a file's weights become, and what they were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChosenType {
    pub(crate) weight_type: WeightType,
    /// Whether it was left to the packer.
    pub(crate) automatic: bool,
    pub(crate) source: StoredType,
}

/// What most weights of a checkpoint's linears are stored as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StoredType {
    pub(crate) dtype: DType,
    /// Whether some are stored otherwise.
    pub(crate) mixed: bool,
}

impl StoredType {
    /// `Q4_K weights`, or `mostly` them.
    pub(crate) fn words(self) -> String {
        let mostly = if self.mixed { "mostly " } else { "" };
        format!("{mostly}{} weights", self.dtype.name())
    }
}

/// Rows of each linear by which weight types are compared, evenly apart.
const SAMPLED_ROWS: usize = 8;

/// Rows of the embedding that are checked at once.
const ROWS: usize = 4096;

/// The most that 4 bits may take from weights that have 4 already, as a share of their root mean square, before they
/// get 8. IQ4_NL and MXFP4, whose steps are uneven, would lose 6 and 7% of a normal distribution, after 7 and 9% that
/// they took themselves. Fewer bits took so much more (Q3_K 14%, Q2_K 26%) that what 4 bits then take does not show.
const MOST_LOST: f64 = 0.03;

impl ChosenType {
    /// What was `asked` for, or what is nearest to what most of the linears' weights are.
    pub(crate) fn new(checkpoint: &Checkpoint, asked: Option<WeightType>) -> Result<ChosenType> {
        let source = source(checkpoint);
        let weight_type = asked.map_or_else(|| nearest(checkpoint, source.dtype), Ok)?;
        Ok(ChosenType { weight_type, automatic: asked.is_none(), source })
    }
}

fn source(checkpoint: &Checkpoint) -> StoredType {
    let mut weights: BTreeMap<&str, (usize, DType)> = BTreeMap::new();
    for (layer, linear) in linears(checkpoint) {
        let dtype = checkpoint.linear_type(layer, linear);
        weights.entry(dtype.name()).or_insert((0, dtype)).0 += checkpoint.config().linear_shape(linear).weights();
    }
    let (_, dtype) = weights.values().copied().max_by_key(|(count, _)| *count).unwrap_or((0, DType::F32));
    StoredType { dtype, mixed: weights.len() > 1 }
}

fn linears(checkpoint: &Checkpoint) -> impl Iterator<Item = (usize, LinearKind)> + '_ {
    let config = checkpoint.config();
    (0..config.num_layers).flat_map(|layer| config.linears().iter().map(move |&linear| (layer, linear)))
}

/// What [`PackOptions::weight_type`](crate::PackOptions::weight_type) is if it is left to the packer: the weight type
/// nearest to what most weights of a checkpoint's linears are stored as.
pub fn nearest_weight_type(checkpoint: &Checkpoint) -> Result<WeightType> {
    Ok(ChosenType::new(checkpoint, None)?.weight_type)
}

/// The nearest weight type to one of a checkpoint's: of those with as many bits or the next more, the one that loses
/// least.
fn nearest(checkpoint: &Checkpoint, dtype: DType) -> Result<WeightType> {
    let quantized = match dtype {
        DType::BF16 => return Ok(WeightType::BF16),
        DType::F32 | DType::F16 => None,
        DType::F8E4M3 | DType::Q8_0 | DType::Q6K | DType::Q5K | DType::Q5_0 | DType::Q5_1 => Some(WeightType::Q8),
        DType::Q4_0 | DType::Q4_1 | DType::Q4K | DType::IQ4NL | DType::IQ4XS | DType::MXFP4 => {
            Some(of_four_bits(checkpoint, dtype, MOST_LOST)?)
        }
        DType::Q3K | DType::Q2K | DType::TQ1_0 | DType::TQ2_0 => Some(of_four_bits(checkpoint, dtype, f64::INFINITY)?),
    };
    match quantized {
        // Channels that are no whole groups take floating point.
        Some(weight_type) if check_shapes(checkpoint.config(), weight_type).is_ok() => Ok(weight_type),
        _ if fits_f16(checkpoint)? => Ok(WeightType::F16),
        _ => Ok(WeightType::BF16),
    }
}

/// The one of 4 bits that loses less, the smaller one where both lose as much; 8 bits where even that one loses more
/// than `most`.
fn of_four_bits(checkpoint: &Checkpoint, dtype: DType, most: f64) -> Result<WeightType> {
    let small = lost(checkpoint, dtype, QuantType::Q4s)?;
    let large = lost(checkpoint, dtype, QuantType::Q4)?;
    Ok(match (small.min(large) > most, small <= large) {
        (true, _) => WeightType::Q8,
        (false, true) => WeightType::Q4S,
        (false, false) => WeightType::Q4,
    })
}

/// What storing the weights of one type as `quant` takes from them: the root mean square of the difference, as a share
/// of their own, over some rows of each linear.
fn lost(checkpoint: &Checkpoint, dtype: DType, quant: QuantType) -> Result<f64> {
    let (mut error, mut size) = (0.0, 0.0);
    for (layer, linear) in linears(checkpoint) {
        if checkpoint.linear_type(layer, linear) != dtype {
            continue;
        }
        let shape = checkpoint.config().linear_shape(linear);
        let step = shape.outputs.div_ceil(SAMPLED_ROWS).max(1);
        for row in (0..shape.outputs).step_by(step) {
            let weights = checkpoint.linear_rows(layer, linear, row..row + 1)?;
            let stored = checkpoint.linear_grid_rows(layer, linear, row..row + 1, quant)?;
            let grid = match stored {
                Some(grid) => grid,
                // A grid that does not reach them is none.
                None => match quantize("", &weights, shape.inputs, quant) {
                    Ok(grid) => grid,
                    Err(_) => return Ok(f64::INFINITY),
                },
            };
            let square = |x: f32| f64::from(x) * f64::from(x);
            error += weights.iter().zip(grid.values()).map(|(w, v)| square(w - v)).sum::<f64>();
            size += weights.iter().map(|&w| square(w)).sum::<f64>();
        }
    }
    Ok(if size > 0.0 { (error / size).sqrt() } else { 0.0 })
}

/// Whether every weight is finite in f16.
fn fits_f16(checkpoint: &Checkpoint) -> Result<bool> {
    let fits = |values: &[f32]| values.iter().all(|&x| f16::from_f32(x).is_finite());
    for (layer, linear) in linears(checkpoint) {
        if !checkpoint.is_f16(layer, linear) && !fits(&checkpoint.linear(layer, linear)?.data) {
            return Ok(false);
        }
    }
    let vocab = checkpoint.config().vocab_size;
    let spans = (0..vocab).step_by(ROWS).map(|start| start..(start + ROWS).min(vocab));
    for rows in spans {
        let head = |rows: Range<usize>| checkpoint.lm_head_rows(rows).map(Option::unwrap_or_default);
        if !fits(&checkpoint.embedding_rows(rows.clone())?) || !fits(&head(rows)?) {
            return Ok(false);
        }
    }
    Ok(true)
}
