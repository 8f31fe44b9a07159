//! Quantiles of a stream of magnitudes, in bounded memory.

/// Bits of the mantissa that tell bins apart: 128 bins an octave, each 0.8% wide at most. Within a bin values are taken
/// as evenly spread, so a quantile is off by far less.
const MANTISSA_BITS: u32 = 7;
const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
const BINS: usize = (f32::INFINITY.to_bits() >> SHIFT) as usize;

/// Counts of non-negative numbers, binned by their leading bits: a quarter of a megabyte however many come.
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BINS].into_boxed_slice(), total: 0 }
    }

    /// Counts a magnitude. One that is no finite number counts as the largest.
    pub(crate) fn add(&mut self, magnitude: f32) {
        let bin = (magnitude.to_bits() >> SHIFT) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
        self.total += 1;
    }

    /// The same counts, ready for the question of how many lie above a threshold.
    pub(crate) fn tail(&self) -> Tail {
        let mut above = vec![0; BINS + 1].into_boxed_slice();
        for bin in (0..BINS).rev() {
            above[bin] = above[bin + 1] + self.counts[bin];
        }
        Tail { above }
    }

    /// The number below which the share `level` (0 to 1) of all magnitudes lies.
    pub(crate) fn quantile(&self, level: f64) -> f32 {
        let mut target = level.clamp(0.0, 1.0) * self.total as f64;
        let edge = |bin: usize| f64::from(f32::from_bits((bin as u32) << SHIFT));
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if target <= count as f64 {
                let low = edge(bin);
                // The last bin's upper edge would be infinity.
                let high = if bin + 1 < BINS { edge(bin + 1) } else { f64::from(f32::MAX) };
                return (low + (high - low) * target / count as f64) as f32;
            }
            target -= count as f64;
        }
        0.0
    }
}

/// How many magnitudes lie above a threshold, for many thresholds.
pub(crate) struct Tail {
    /// Magnitudes in each bin and above.
    above: Box<[u64]>,
}

impl Tail {
    /// The share (0 to 1) of all magnitudes that lie above `threshold`; a bin's are taken as evenly spread.
    pub(crate) fn share_above(&self, threshold: f32) -> f64 {
        let bin = ((threshold.max(0.0).to_bits() >> SHIFT) as usize).min(BINS - 1);
        let low = f64::from(f32::from_bits((bin as u32) << SHIFT));
        let high =
            if bin + 1 < BINS { f64::from(f32::from_bits((bin as u32 + 1) << SHIFT)) } else { f64::from(f32::MAX) };
        let inside = (high - f64::from(threshold)) / (high - low);
        let own = (self.above[bin] - self.above[bin + 1]) as f64;
        (self.above[bin + 1] as f64 + own * inside.clamp(0.0, 1.0)) / self.above[0].max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_a_sort() {
        let mut histogram = Histogram::new();
        let mut all = Vec::new();
        let mut state = 1u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = (state >> 8) as f32 / (1 << 24) as f32;
            let value = uniform * uniform * 3.0;
            histogram.add(value);
            all.push(value);
        }
        all.sort_by(f32::total_cmp);
        for level in [0.01, 0.3, 0.5, 0.7, 0.99] {
            let exact = all[(level * all.len() as f64) as usize];
            let found = histogram.quantile(level);
            assert!((found / exact - 1.0).abs() < 2e-3, "{level}: {found} for {exact}");
            // And back again.
            assert!((histogram.tail().share_above(found) - (1.0 - level)).abs() < 1e-6);
        }
    }

    #[test]
    fn the_ends_are_safe() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), 0.0);
        histogram.add(0.0);
        histogram.add(f32::INFINITY);
        histogram.add(f32::NAN);
        assert!(histogram.quantile(0.0) >= 0.0);
        assert!(histogram.quantile(1.0).is_finite());
        let tail = histogram.tail();
        assert_eq!(tail.share_above(-1.0), 1.0);
        assert!(tail.share_above(1.0) > 0.6 && tail.share_above(f32::MAX) <= 2.0 / 3.0);
        assert_eq!(Histogram::new().tail().share_above(1.0), 0.0);
    }
}
