//! The head's screen: a rough copy by which greedy decoding finds the rows that can win (`rasp::model`, `shortlist.rs`,
//! has the inequality, [`ScreenRows`] the layout).

use crate::stage::f32_bytes;
use rasp::Result;
use rasp::format::{Config, Dtype, TensorSpec, Writer};
use rasp::model::{Model, SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenRows};
use rasp::session::{MatRef, Observer, Scorer};
use std::sync::Arc;

/// So many columns are hot, or an eighth of a narrow model's at most.
const HOT: usize = 64;
/// Tokens that show which.
const TOKENS: usize = 512;
/// Rows in memory at once.
const ROWS: usize = 4096;

/// The screen of a model's head, about to be written.
pub(crate) struct HeadScreen {
    model: Arc<Model>,
    /// The hot columns, ascending, and the others.
    hot: Vec<u32>,
    cold: Vec<u32>,
}

impl HeadScreen {
    /// Finds out which columns are hot. They are so whatever passes: tokens from all over the vocabulary will do.
    pub(crate) fn new(model: Arc<Model>, threads: usize) -> Result<HeadScreen> {
        let config = model.config();
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let count = TOKENS.min(config.context_length);
        // Multiples of the golden section of 2^32 lie evenly (Knuth, The Art of Computer Programming 3, section 6.4).
        let token = |n: usize| ((u64::from((n as u32).wrapping_mul(0x9e37_79b9)) * vocab as u64) >> 32) as u32;
        let tokens: Vec<u32> = (0..count).map(token).collect();
        let mut energy = Energy { model: &model, sums: vec![0.0; hidden] };
        Scorer::exact(model.clone(), count, threads)?.observe(&tokens, count, &mut energy)?;
        let sums = energy.sums;
        let mut columns: Vec<u32> = (0..hidden as u32).collect();
        columns.sort_by(|&a, &b| sums[b as usize].total_cmp(&sums[a as usize]));
        let mut cold = columns.split_off(hot_columns(hidden));
        cold.sort_unstable();
        columns.sort_unstable();
        Ok(HeadScreen { model, hot: columns, cold })
    }

    /// What [`write`](HeadScreen::write) writes for a model of these sizes, in that order.
    pub(crate) fn tensors(config: &Config) -> Vec<TensorSpec> {
        let vocab = config.vocab_size;
        vec![
            TensorSpec::new("head_screen", Dtype::U8, &[vocab, row_bytes(config)]),
            TensorSpec::new("head_screen.hot", Dtype::U32, &[hot_columns(config.hidden_size)]),
            TensorSpec::new("head_screen.scale", Dtype::F32, &[vocab, 2]),
            TensorSpec::new("head_screen.error", Dtype::F32, &[vocab]),
            TensorSpec::new("head_screen.norm", Dtype::F32, &[vocab]),
        ]
    }

    /// Bytes that are read of it for a token.
    pub(crate) fn bytes(config: &Config) -> u64 {
        let row = row_bytes(config) + 4 * size_of::<f32>();
        (config.vocab_size * row) as u64
    }

    pub(crate) fn write(&self, writer: &mut Writer) -> Result<()> {
        let config = self.model.config();
        let mut values = vec![0.0; config.hidden_size];
        let (mut scale, mut error, mut norm) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = Vec::new();
        writer.begin("head_screen")?;
        for row in 0..config.vocab_size {
            self.model.head_row(row, &mut values);
            let of = |columns: &[u32]| columns.iter().map(|&c| values[c as usize]).collect::<Vec<f32>>();
            let row = RoundedRow::new(&of(&self.hot), &of(&self.cold));
            bytes.extend(row.bytes);
            scale.extend(row.scale);
            error.push(row.error);
            norm.push(row.norm);
            if bytes.len() >= ROWS * row_bytes(config) {
                writer.write(&bytes)?;
                bytes.clear();
            }
        }
        writer.write(&bytes)?;
        let hot: Vec<u8> = self.hot.iter().flat_map(|column| column.to_le_bytes()).collect();
        writer.tensor("head_screen.hot", &hot)?;
        writer.tensor("head_screen.scale", &f32_bytes(&scale))?;
        writer.tensor("head_screen.error", &f32_bytes(&error))?;
        writer.tensor("head_screen.norm", &f32_bytes(&norm))
    }
}

/// How many of so many columns are hot.
fn hot_columns(hidden: usize) -> usize {
    HOT.min(hidden / 8 / SCREEN_HOT * SCREEN_HOT)
}

/// Bytes of a row of the screen, its scales aside.
fn row_bytes(config: &Config) -> usize {
    let hot = hot_columns(config.hidden_size);
    ScreenRows::row_bytes(hot, (config.hidden_size - hot).next_multiple_of(SCREEN_BLOCK))
}

/// How large each column of the final hidden states is: sums of squares.
struct Energy<'a> {
    model: &'a Model,
    sums: Vec<f64>,
}

impl Observer for Energy<'_> {
    fn hidden(&mut self, layer: usize, x: MatRef<'_>) {
        if layer + 1 < self.model.layers().len() {
            return;
        }
        let mut normed = vec![0.0; self.sums.len()];
        for row in 0..x.rows() {
            self.model.final_normed(&x.row(row)[..normed.len()], &mut normed);
            self.sums.iter_mut().zip(&normed).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        }
    }
}

/// One row, rounded.
struct RoundedRow {
    bytes: Vec<u8>,
    /// Of the hot columns and of the cold ones.
    scale: [f32; 2],
    /// At least the norm of what rounding took from the cold columns.
    error: f32,
    /// At least the row's norm, before rounding and after.
    norm: f32,
}

impl RoundedRow {
    fn new(hot: &[f32], cold: &[f32]) -> RoundedRow {
        let hot_scale = largest(hot).abs() / 127.0;
        let whole = |w: f32| nearest(w, hot_scale, -127.0, 127.0);
        // A group's largest number is -8 steps; so steps have either sign.
        let ideal: Vec<f32> = cold.chunks(SCREEN_GROUP).map(|group| largest(group) / -8.0).collect();
        let cold_scale = largest(&ideal).abs() / 127.0;
        let mut steps: Vec<f32> = ideal.iter().map(|&step| nearest(step, cold_scale, -127.0, 127.0)).collect();
        // Zeros fill the last block; the steps of a group of nothing else are zeros too.
        let blocks = cold.len().div_ceil(SCREEN_BLOCK);
        steps.resize(blocks * SCREEN_BLOCK / SCREEN_GROUP, 0.0);
        let number = |k: usize| nearest(cold[k], steps[k / SCREEN_GROUP] * cold_scale, -8.0, 7.0);
        let rounded = |k: usize| f64::from(cold_scale) * f64::from(steps[k / SCREEN_GROUP]) * f64::from(number(k));

        let hot_lost = norm(hot.iter().map(|&w| f64::from(w) - f64::from(hot_scale) * f64::from(whole(w))));
        let cold_lost = norm((0..cold.len()).map(|k| f64::from(cold[k]) - rounded(k)));
        let size = norm(hot.iter().chain(cold).map(|&w| f64::from(w)));

        let bytes = steps.iter().map(|&step| step as i8).chain(hot.iter().map(|&w| whole(w) as i8));
        let mut bytes: Vec<u8> = bytes.map(i8::cast_unsigned).collect();
        let nibble = |k: usize| if k < cold.len() { (number(k) + 8.0) as u8 } else { 8 };
        for block in 0..blocks {
            let first = block * SCREEN_BLOCK;
            bytes.extend((first..first + SCREEN_GROUP).map(|k| nibble(k) | nibble(k + SCREEN_GROUP) << 4));
        }
        RoundedRow {
            bytes,
            scale: [hot_scale, cold_scale],
            error: at_least(cold_lost),
            norm: at_least(size + hot_lost.hypot(cold_lost)),
        }
    }
}

/// The value of the largest magnitude, 0 where there is none.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest: f32, &v| if v.abs() > largest.abs() { v } else { largest })
}

/// The whole number nearest to `w / step`, within bounds.
fn nearest(w: f32, step: f32, least: f32, most: f32) -> f32 {
    if step == 0.0 { 0.0 } else { (w / step).round().clamp(least, most) }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// An f32 that is no smaller, rounding of the norm included.
fn at_least(x: f64) -> f32 {
    ((x * (1.0 + 1e-9)) as f32).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row's bytes, read by the layout's rules.
    fn read(row: &RoundedRow, hot: usize, cold: usize) -> (Vec<f64>, Vec<f64>) {
        let padded = cold.next_multiple_of(SCREEN_BLOCK);
        assert_eq!(row.bytes.len(), ScreenRows::row_bytes(hot, padded));
        let (steps, rest) = row.bytes.split_at(padded / SCREEN_GROUP);
        let (whole, nibbles) = rest.split_at(hot);
        let signed = |byte: u8| f64::from(byte.cast_signed());
        let number = |k: usize| {
            let byte = nibbles[k / SCREEN_BLOCK * SCREEN_GROUP + k % SCREEN_GROUP];
            let q = if k % SCREEN_BLOCK < SCREEN_GROUP { byte & 15 } else { byte >> 4 };
            (f64::from(q) - 8.0) * signed(steps[k / SCREEN_GROUP]) * f64::from(row.scale[1])
        };
        for k in cold..padded {
            assert_eq!(number(k), 0.0);
        }
        (whole.iter().map(|&q| signed(q) * f64::from(row.scale[0])).collect(), (0..cold).map(number).collect())
    }

    #[test]
    fn what_is_stored_of_a_row_is_true_of_it() {
        let mut state = 5u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as f32 / (1u32 << 30) as f32 - 1.0
        };
        for (hot, cold) in [(0, 8), (32, 64), (0, 56), (64, 512), (64, 100), (32, 0)] {
            for size in [0.0, 1.0, 1e4, 1e-30, f32::MIN_POSITIVE / 64.0] {
                let hot: Vec<f32> = (0..hot).map(|_| random() * size).collect();
                let cold: Vec<f32> = (0..cold).map(|_| random() * random() * size).collect();
                let row = RoundedRow::new(&hot, &cold);
                let (rough_hot, rough_cold) = read(&row, hot.len(), cold.len());
                let lost =
                    |values: &[f32], rough: &[f64]| norm(values.iter().zip(rough).map(|(&w, r)| f64::from(w) - r));
                let (of_hot, of_cold) = (lost(&hot, &rough_hot), lost(&cold, &rough_cold));
                let size = norm(hot.iter().chain(&cold).map(|&w| f64::from(w)));
                assert!(of_cold <= f64::from(row.error));
                assert!(of_hot <= f64::from(row.scale[0]) / 2.0 * (hot.len() as f64).sqrt() * 1.00001 + 1e-36);
                assert!(size.max(norm(rough_hot.iter().chain(&rough_cold).copied())) <= f64::from(row.norm));
                if size > 1e-20 {
                    assert!(of_cold < 0.12 * size && of_hot <= 0.01 * size, "{of_hot} and {of_cold} of {size}");
                }
            }
        }
    }
}
