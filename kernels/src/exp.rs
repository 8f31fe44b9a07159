//! The one polynomial of `exp`, shared by every instruction set.
//!
//! Range reduction and coefficients are those of Cephes' `expf` (S. Moshier), evaluated with fused
//! multiply-adds. With `x` clamped to `[LOWEST, HIGHEST]`:
//!
//! ```text
//! z = fma(x, LOG2E, MAGIC)          n = z - MAGIC, an integer: x/ln 2 to the nearest
//! r = fma(n, -LN2_HIGH, x)          r = fma(n, -LN2_LOW, r), |r| <= ln 2 / 2 (1 + ε)
//! q = Horner over POLYNOMIAL in r   p = fma(q, r·r, r) + 1
//! exp(x) = (p · 2^⌊n/2⌋) · 2^(n - ⌊n/2⌋)
//! ```
//!
//! Two factors, so that neither leaves the range of f32 while `n` runs from -150 to 128; only the
//! last product can round a subnormal result, or overflow. The error is at most 2 ulp (about 1 is
//! measured); `exp(0) = 1`, above 88.73 the result is infinite, below -104 it is zero, and a NaN
//! stays a NaN.
//!
//! Clamping takes the constant first, `min(HIGHEST, x)` meaning `if HIGHEST < x { HIGHEST } else { x }`,
//! which is what x86's `minps` does: a NaN `x` comes through.

/// exp of this and less is 0 in f32: below half of the least subnormal.
pub(crate) const LOWEST: f32 = -104.0;
/// exp of this and more overflows f32.
pub(crate) const HIGHEST: f32 = 89.0;
/// 1.5·2²³: added to a small float, it leaves the nearest integer in the low mantissa bits.
pub(crate) const MAGIC: f32 = 12_582_912.0;
/// ln 2, with trailing zero bits so that `n·LN2_HIGH` is exact.
pub(crate) const LN2_HIGH: f32 = 0.693_359_4;
/// ln 2 - LN2_HIGH.
pub(crate) const LN2_LOW: f32 = -2.121_944_4e-4;
/// exp(r) = 1 + r + r²·q(r): the coefficients of q, highest power first.
pub(crate) const POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
