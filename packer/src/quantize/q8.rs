//! To the grid of q8: a scale.

use super::sum;
use crate::grid::{GROUP, QuantGroup};
use half::f16;

/// The largest numbers that a group's largest value may become. 127 gives the finest step; a little less loses little
/// and may suit the other values better. (Where they come from a grid of 4 bits, much better.)
const REACHES: std::ops::RangeInclusive<u8> = 111..=127;

/// Every value within half a step: of some steps the one with the smallest squared error.
pub(super) fn group(w: &[f32; GROUP]) -> Option<QuantGroup> {
    let largest = w.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
    let mut best: Option<(f32, f16)> = None;
    for reach in REACHES.rev() {
        let mut scale = f16::from_f32(largest / f32::from(reach));
        // Subnormal scales are coarse: where 127 of one do not reach, the next one's do.
        if largest / scale.to_f32() >= 127.5 {
            scale = f16::from_bits(scale.to_bits() + 1);
        }
        let step = scale.to_f32();
        let whole = bytes(w, step);
        let error = sum(|i| {
            let lost = w[i] - step * whole[i];
            lost * lost
        });
        // An error that is no number is not smaller: the finest step decides whether there is one at all.
        if best.is_none_or(|(least, _)| error < least) {
            best = Some((error, scale));
        }
    }
    let scale = best.map_or(f16::ZERO, |(_, scale)| scale);
    let whole = bytes(w, scale.to_f32());
    QuantGroup::new(whole.map(|q| (q as i8).cast_unsigned()), scale, f16::ZERO)
}

/// The numbers, -127 to 127, nearest to the values with that step.
fn bytes(w: &[f32; GROUP], step: f32) -> [f32; GROUP] {
    // As in `numbers`.
    const WHOLE: f32 = 12_582_912.0;
    let steps = if step > 0.0 { 1.0 / step } else { 0.0 };
    w.map(|w| (w * steps).clamp(-127.0, 127.0) + WHOLE - WHOLE)
}
