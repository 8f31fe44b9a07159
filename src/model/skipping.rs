//! Which rows a token passes over at a sparsity, and which linears are read whole there.

use super::group::first_mask;
use super::{Linear, Model};
use crate::{Error, Result, Status};
use rasp_kernels::QUANT_GROUP;

/// The threshold of a linear that is read whole: below every score.
pub(crate) const WHOLE: f32 = -1.0;

/// What a row that is left out still costs its neighbour that is read, in bytes of a dense product: memory comes in
/// lines of 64 bytes, and what fetches ahead does not know of gaps. Measured on a Zen 5 from memory: rows of 288 bytes
/// pay where less than about 0.53 of them are read, rows of 768 below 0.8
/// (`docs/lab/2026-11-30-speed-rows-read-whole.md`).
const GAP: f64 = 256.0;

/// Whether reading this share of rows of so many bytes takes less time than reading all of them.
fn pays(row: u64, share: f64) -> bool {
    let row = row as f64;
    share * (row + GAP) < row
}

/// Where a sparsity lies among the levels.
#[derive(Clone, Copy)]
struct SparsityPoint {
    /// The level at it or above.
    level: usize,
    /// How far it lies from the level below (0; or dense, below the first) to that one (1).
    part: f32,
}

impl SparsityPoint {
    fn of(levels: &[f32], sparsity: f32) -> SparsityPoint {
        let level = levels.iter().position(|&s| s >= sparsity).unwrap_or(0);
        let below = if level == 0 { 0.0 } else { levels[level - 1] };
        SparsityPoint { level, part: (sparsity - below) / (levels[level] - below) }
    }

    /// What lies there between these values, one a level.
    fn between(self, dense: f32, values: &[f32]) -> f32 {
        let below = if self.level == 0 { dense } else { values[self.level - 1] };
        let above = values[self.level];
        if self.part == 1.0 { above } else { below + self.part * (above - below) }
    }
}

/// What a token reads of the linears, by the calibration text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedTraffic {
    /// The share of [`linear_bytes`](Model::linear_bytes): what masks keep, and all of what is read whole.
    pub kept: f64,
    /// How many linears are [read whole](Model::read_whole).
    pub whole: usize,
}

impl Model {
    /// The threshold of every linear at `sparsity`, in the order of [`Linear::index`].
    ///
    /// Between two sparsity levels thresholds are interpolated linearly; below the first level, between 0 and it.
    /// Where rows are [read whole](Model::read_whole) the threshold is [`WHOLE`].
    pub(crate) fn thresholds(&self, sparsity: f32, out: &mut [f32]) -> Result<()> {
        let point = self.point(sparsity)?;
        for (threshold, linear) in out.iter_mut().zip(self.linears()) {
            *threshold = point.between(0.0, linear.thresholds());
        }
        self.read_whole(out, |linear| self.channels(linear, point));
        Ok(())
    }

    /// Lowers the thresholds of linears whose rows are so short, and kept so often, that to leave some out takes as
    /// long as to read all: those pass densely, and drop nothing. `channels` is the share of a linear's input channels
    /// that its threshold is expected to keep.
    ///
    /// It hangs on the file alone, so that the bits are the same on every machine. Weights in 16 bits have rows of
    /// twice or four times the bytes, and linears with a low rank are a sum of two: both stay as they are.
    pub fn read_whole(&self, thresholds: &mut [f32], channels: impl Fn(&Linear) -> f64) {
        if self.weight_type.quant().is_none() || self.recipe.skip_short_rows {
            return;
        }
        for group in self.groups() {
            let mut linears = group.linears();
            while let Some((own, rest)) = first_mask(linears, thresholds) {
                let columns = own.iter().map(|linear| linear.columns().len()).sum();
                let row = group.bytes_of(1, 0, columns);
                if own.iter().all(|linear| linear.rank() == 0 && !pays(row, channels(linear))) {
                    own.iter().for_each(|linear| thresholds[linear.index()] = WHOLE);
                }
                linears = rest;
            }
        }
    }

    /// What a token at this sparsity is expected to read of the linears.
    pub fn expected_traffic(&self, sparsity: f32) -> Result<ExpectedTraffic> {
        if sparsity == 0.0 {
            return Ok(ExpectedTraffic { kept: 1.0, whole: self.linears().count() });
        }
        let point = self.point(sparsity)?;
        let mut thresholds = vec![0.0; self.linears().count()];
        self.thresholds(sparsity, &mut thresholds)?;
        let mut read = 0.0;
        for group in self.groups() {
            if let Some(up) = group.up() {
                read += f64::from(point.between(1.0, up.kept())) * up.bytes() as f64;
            }
            for linear in group.linears() {
                let whole = thresholds[linear.index()] == WHOLE;
                let share = if whole { 1.0 } else { point.between(1.0, linear.kept()).into() };
                let (input, columns) = (group.input(), linear.columns().len());
                read += share * group.bytes_of(input, input / QUANT_GROUP, columns) as f64;
            }
        }
        let whole = thresholds.iter().filter(|&&threshold| threshold == WHOLE).count();
        Ok(ExpectedTraffic { kept: read / self.linear_bytes() as f64, whole })
    }

    fn channels(&self, linear: &Linear, point: SparsityPoint) -> f64 {
        self.weight_type.kept_channels(point.between(1.0, linear.kept())).into()
    }

    /// Fails for a sparsity that the file does not go to.
    fn point(&self, sparsity: f32) -> Result<SparsityPoint> {
        let levels = &self.recipe.sparsity;
        // Not `>`: NaN must fail as well.
        if !levels.is_empty() && (0.0..=self.max_sparsity()).contains(&sparsity) {
            return Ok(SparsityPoint::of(levels, sparsity));
        }
        Err(match levels.last() {
            None => {
                let message = format_args!("sparsity {sparsity}; this file is dense: pack it with --sparsity");
                Error::new(Status::OutOfRange, message)
            }
            Some(max) => {
                let message = format_args!("sparsity {sparsity}; this file goes from 0 to {max}");
                Error::new(Status::OutOfRange, message)
            }
        })
    }
}
