//! Element types of checkpoints, and their blocks turned into `f32`.
//!
//! A block type stores a run of values as small integers with shared scales. Each function below is one block: its
//! bytes as laid out in the file, its values in order. The order of the floating-point operations is part of the
//! format (products before the one sum), so that the result has the same bits as the format's reference tools give.

use half::{bf16, f16};

/// An element type this importer can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ4NL,
    IQ4XS,
    MXFP4,
    TQ1_0,
    TQ2_0,
    /// 4 bits of exponent, 3 of mantissa, no infinity. Meaningless without scales, which lie in a tensor of their own.
    F8E4M3,
}

/// Values in one block of the `K` types.
const SUPER: usize = 256;

impl DType {
    /// As llama.cpp and safetensors write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q5_0 => "Q5_0",
            DType::Q5_1 => "Q5_1",
            DType::Q8_0 => "Q8_0",
            DType::Q2K => "Q2_K",
            DType::Q3K => "Q3_K",
            DType::Q4K => "Q4_K",
            DType::Q5K => "Q5_K",
            DType::Q6K => "Q6_K",
            DType::IQ4NL => "IQ4_NL",
            DType::IQ4XS => "IQ4_XS",
            DType::MXFP4 => "MXFP4",
            DType::TQ1_0 => "TQ1_0",
            DType::TQ2_0 => "TQ2_0",
            DType::F8E4M3 => "F8_E4M3",
        }
    }

    /// `(values, bytes)` of one block.
    pub(crate) const fn block(self) -> (usize, usize) {
        match self {
            DType::F32 => (1, 4),
            DType::F16 | DType::BF16 => (1, 2),
            DType::F8E4M3 => (1, 1),
            DType::Q4_0 => (32, 18),
            DType::Q4_1 => (32, 20),
            DType::Q5_0 => (32, 22),
            DType::Q5_1 => (32, 24),
            DType::Q8_0 => (32, 34),
            DType::Q2K => (SUPER, 84),
            DType::Q3K => (SUPER, 110),
            DType::Q4K => (SUPER, 144),
            DType::Q5K => (SUPER, 176),
            DType::Q6K => (SUPER, 210),
            DType::IQ4NL => (32, 18),
            DType::IQ4XS => (SUPER, 136),
            DType::MXFP4 => (32, 17),
            DType::TQ1_0 => (SUPER, 54),
            DType::TQ2_0 => (SUPER, 66),
        }
    }

    /// Bytes of `values` values; `None` where they are no whole number of blocks, or too many to count.
    pub(crate) fn bytes_for(self, values: usize) -> Option<usize> {
        let (per_block, bytes) = self.block();
        if !values.is_multiple_of(per_block) {
            return None;
        }
        (values / per_block).checked_mul(bytes)
    }
}

/// Decodes whole blocks; `bytes` and `out` must be of the lengths that [`DType::bytes_for`] pairs.
pub(crate) fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    debug_assert_eq!(dtype.bytes_for(out.len()), Some(bytes.len()));
    match dtype {
        DType::F32 => blocks(bytes, out, |b: &[u8; 4], y: &mut [f32; 1]| y[0] = f32::from_le_bytes(*b)),
        DType::F16 => blocks(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| y[0] = half_at(b, 0)),
        DType::BF16 => blocks(bytes, out, |b: &[u8; 2], y: &mut [f32; 1]| {
            y[0] = bf16::from_le_bytes(*b).to_f32();
        }),
        DType::Q4_0 => blocks(bytes, out, q4_0),
        DType::Q4_1 => blocks(bytes, out, q4_1),
        DType::Q5_0 => blocks(bytes, out, q5_0),
        DType::Q5_1 => blocks(bytes, out, q5_1),
        DType::Q8_0 => blocks(bytes, out, q8_0),
        DType::Q2K => blocks(bytes, out, q2_k),
        DType::Q3K => blocks(bytes, out, q3_k),
        DType::Q4K => blocks(bytes, out, q4_k),
        DType::Q5K => blocks(bytes, out, q5_k),
        DType::Q6K => blocks(bytes, out, q6_k),
        DType::IQ4NL => blocks(bytes, out, iq4_nl),
        DType::IQ4XS => blocks(bytes, out, iq4_xs),
        DType::MXFP4 => blocks(bytes, out, mxfp4),
        DType::TQ1_0 => blocks(bytes, out, tq1_0),
        DType::TQ2_0 => blocks(bytes, out, tq2_0),
        DType::F8E4M3 => blocks(bytes, out, |b: &[u8; 1], y: &mut [f32; 1]| y[0] = f8_e4m3(b[0])),
    }
}

fn blocks<const B: usize, const V: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn(&[u8; B], &mut [f32; V])) {
    for (block, values) in bytes.as_chunks::<B>().0.iter().zip(out.as_chunks_mut::<V>().0) {
        decode(block, values);
    }
}

pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

pub(super) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// The `i`-th of 32 nibbles: the low halves of 16 bytes come first, then the high halves.
pub(super) fn nibble(qs: &[u8], i: usize) -> u8 {
    (qs[i % 16] >> (4 * (i / 16))) & 15
}

/// `d: f16, nibbles: [u8; 16]`; a value is `d·(q − 8)`.
fn q4_0(b: &[u8; 18], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * (f32::from(nibble(&b[2..], i)) - 8.0);
    }
}

/// `d: f16, m: f16, nibbles: [u8; 16]`; a value is `d·q + m`.
fn q4_1(b: &[u8; 20], y: &mut [f32; 32]) {
    let (d, m) = (half_at(b, 0), half_at(b, 2));
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(nibble(&b[4..], i)) + m;
    }
}

/// `d: f16, fifth bits: u32, nibbles: [u8; 16]`; a value is `d·(q − 16)`.
fn q5_0(b: &[u8; 22], y: &mut [f32; 32]) {
    let (d, high) = (half_at(b, 0), u32_at(b, 2));
    for (i, y) in y.iter_mut().enumerate() {
        let q = nibble(&b[6..], i) | (((high >> i) & 1) as u8) << 4;
        *y = d * (f32::from(q) - 16.0);
    }
}

/// `d: f16, m: f16, fifth bits: u32, nibbles: [u8; 16]`; a value is `d·q + m`.
fn q5_1(b: &[u8; 24], y: &mut [f32; 32]) {
    let (d, m, high) = (half_at(b, 0), half_at(b, 2), u32_at(b, 4));
    for (i, y) in y.iter_mut().enumerate() {
        let q = nibble(&b[8..], i) | (((high >> i) & 1) as u8) << 4;
        *y = d * f32::from(q) + m;
    }
}

/// `d: f16, q: [i8; 32]`; a value is `d·q`.
fn q8_0(b: &[u8; 34], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for (y, q) in y.iter_mut().zip(&b[2..]) {
        *y = d * f32::from(*q as i8);
    }
}

/// Two bits of value `i` of 256: each run of 128 values shares 32 bytes, 32 values to a pair of bits.
pub(super) fn two_bits(qs: &[u8], i: usize) -> u8 {
    (qs[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32))) & 3
}

/// `scales: [u8; 16] (low nibble: scale, high: minimum), q: [u8; 64], d: f16, dmin: f16`; a value is
/// `(d·scale)·q − dmin·min`, one scale to 16 values.
fn q2_k(b: &[u8; 84], y: &mut [f32; SUPER]) {
    let (d, dmin) = (half_at(b, 80), half_at(b, 82));
    for (i, y) in y.iter_mut().enumerate() {
        let scale = b[i / 16];
        let (d, m) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
        *y = d * f32::from(two_bits(&b[16..80], i)) - m;
    }
}

/// `third bits: [u8; 32], q: [u8; 64], scales: [u8; 12], d: f16`; a value is `(d·(scale − 32))·q`, where a third bit
/// that is **not** set takes 4 from `q`.
fn q3_k(b: &[u8; 110], y: &mut [f32; SUPER]) {
    let d = half_at(b, 108);
    let scales = &b[96..108];
    for (i, y) in y.iter_mut().enumerate() {
        // 16 scales of 6 bits: low nibbles in 8 bytes, then the upper pairs of bits in 4.
        let s = i / 16;
        let low = (scales[s % 8] >> (4 * (s / 8))) & 15;
        let scale = low | ((scales[8 + s % 4] >> (2 * (s / 4))) & 3) << 4;
        let borrow = if (b[i % 32] >> (i / 32)) & 1 == 1 { 0.0 } else { 4.0 };
        let q = f32::from(two_bits(&b[32..96], i)) - borrow;
        *y = d * (f32::from(scale) - 32.0) * q;
    }
}

/// The `s`-th of 8 `(scale, min)` pairs of 6 bits each, in the 12 bytes that `q4_k` and `q5_k` share: four bytes with
/// scales 0 to 3, four with minima 0 to 3, four with the nibbles of the rest, whose upper bits sit atop the first.
pub(super) fn scale_min(scales: &[u8], s: usize) -> (f32, f32) {
    let (scale, min) = if s < 4 {
        (scales[s] & 63, scales[s + 4] & 63)
    } else {
        let both = scales[s + 4];
        (both & 15 | (scales[s - 4] >> 6) << 4, both >> 4 | (scales[s] >> 6) << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// `d: f16, dmin: f16, scales: [u8; 12], q: [u8; 128]`; a value is `(d·scale)·q − dmin·min`, one pair to 32 values;
/// 64 values share 32 bytes, low nibbles first.
fn q4_k(b: &[u8; 144], y: &mut [f32; SUPER]) {
    let (d, dmin) = (half_at(b, 0), half_at(b, 2));
    for (s, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&b[4..16], s);
        let (d, m) = (d * scale, dmin * min);
        for (y, q) in y.iter_mut().zip(&b[16 + s / 2 * 32..]) {
            *y = d * f32::from((q >> (4 * (s % 2))) & 15) - m;
        }
    }
}

/// `q4_k` with `fifth bits: [u8; 32]` between the scales and the nibbles: byte `i mod 32`, bit `i / 32`.
fn q5_k(b: &[u8; 176], y: &mut [f32; SUPER]) {
    let (d, dmin) = (half_at(b, 0), half_at(b, 2));
    for (s, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&b[4..16], s);
        let (d, m) = (d * scale, dmin * min);
        for ((y, q), high) in y.iter_mut().zip(&b[48 + s / 2 * 32..]).zip(&b[16..48]) {
            let q = (q >> (4 * (s % 2))) & 15 | ((high >> s) & 1) << 4;
            *y = d * f32::from(q) - m;
        }
    }
}

/// `low nibbles: [u8; 128], upper pairs of bits: [u8; 64], scales: [i8; 16], d: f16`; a value is
/// `(d·scale)·(q − 32)`, one scale to 16 values; 128 values share 64 bytes of nibbles.
fn q6_k(b: &[u8; 210], y: &mut [f32; SUPER]) {
    let d = half_at(b, 208);
    for (i, y) in y.iter_mut().enumerate() {
        let low = (b[i / 128 * 64 + i % 64] >> (4 * (i % 128 / 64))) & 15;
        let q = low | two_bits(&b[128..192], i) << 4;
        *y = d * f32::from(b[192 + i / 16] as i8) * (f32::from(q) - 32.0);
    }
}

/// What the 16 nibbles of `IQ4_NL` and `IQ4_XS` stand for.
pub(super) const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// `d: f16, nibbles: [u8; 16]`; a value is `d·IQ4[q]`.
fn iq4_nl(b: &[u8; 18], y: &mut [f32; 32]) {
    let d = half_at(b, 0);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(IQ4[usize::from(nibble(&b[2..], i))]);
    }
}

/// `d: f16, upper pairs of scale bits: u16, low scale nibbles: [u8; 4], nibbles: [u8; 128]`; a value is
/// `(d·(scale − 32))·IQ4[q]`, one scale to 32 values, which have 16 bytes of nibbles.
fn iq4_xs(b: &[u8; 136], y: &mut [f32; SUPER]) {
    let d = half_at(b, 0);
    for (s, y) in y.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let low = (b[4 + s / 2] >> (4 * (s % 2))) & 15;
        let high = (b[2 + s / 4] >> (2 * (s % 4))) & 3;
        let d = d * (f32::from(low | high << 4) - 32.0);
        for (i, y) in y.iter_mut().enumerate() {
            *y = d * f32::from(IQ4[usize::from(nibble(&b[8 + 16 * s..], i))]);
        }
    }
}

/// What the 16 nibbles of `MXFP4` stand for, doubled: a sign, two bits of exponent, one of mantissa.
pub(super) const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Half of the power of two that a byte of exponent stands for, `2^(e − 128)`.
pub(super) fn half_power(exponent: u8) -> f32 {
    // The two smallest are subnormal.
    f32::from_bits(match exponent {
        0 | 1 => 0x0020_0000 << exponent,
        _ => u32::from(exponent - 1) << 23,
    })
}

/// `e: u8, nibbles: [u8; 16]`; a value is `2^(e − 128)·E2M1[q]` (OCP Microscaling Formats 1.0, section 5.2).
fn mxfp4(b: &[u8; 17], y: &mut [f32; 32]) {
    let d = half_power(b[0]);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * f32::from(E2M1[usize::from(nibble(&b[1..], i))]);
    }
}

/// The `i`-th of 256 digits of 0 to 2 in `TQ1_0`: five to a byte in 32 bytes, then in 16, four in the last 4, each byte
/// being the digits as a fraction of base 3, rounded up to 256ths.
pub(super) fn tq1_digit(b: &[u8; 54], i: usize) -> u8 {
    let (byte, digit) = match i {
        0..160 => (b[i % 32], i / 32),
        160..240 => (b[32 + (i - 160) % 16], (i - 160) / 16),
        _ => (b[48 + (i - 240) % 4], (i - 240) / 4),
    };
    let shifted = byte.wrapping_mul([1, 3, 9, 27, 81][digit]);
    ((u16::from(shifted) * 3) >> 8) as u8
}

/// `digits: [u8; 52], d: f16`; a value is `d·(digit − 1)`.
fn tq1_0(b: &[u8; 54], y: &mut [f32; SUPER]) {
    let d = half_at(b, 52);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * (f32::from(tq1_digit(b, i)) - 1.0);
    }
}

/// `q: [u8; 64], d: f16`; a value is `d·(q − 1)`, two bits a value as in [`two_bits`].
fn tq2_0(b: &[u8; 66], y: &mut [f32; SUPER]) {
    let d = half_at(b, 64);
    for (i, y) in y.iter_mut().enumerate() {
        *y = d * (f32::from(two_bits(&b[..64], i)) - 1.0);
    }
}

/// A sign, 4 bits of exponent with a bias of 7, 3 of mantissa; all ones is no number (OCP 8-bit Floating Point 1.0).
fn f8_e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match exponent {
        15 if byte & 7 == 7 => f32::NAN,
        0 => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * f32::powi(2.0, exponent - 7),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each golden file is what `tests/make_goldens.py` wrote: blocks of random bits, then the values that the
    /// reference implementation reads from them. They must agree bit for bit.
    fn golden(dtype: DType, file: &[u8]) {
        let raw = u32_at(file, 0) as usize;
        let (bytes, values) = file[4..].split_at(raw);
        let want: Vec<u32> = values.as_chunks::<4>().0.iter().map(|v| u32::from_le_bytes(*v)).collect();
        assert!(want.len() >= 64 && dtype.bytes_for(want.len()) == Some(raw));
        let mut got = vec![f32::NAN; want.len()];
        dequantize(dtype, bytes, &mut got);
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert_eq!(got.to_bits(), want, "{dtype:?}, value {i}: {got} against {}", f32::from_bits(want));
        }
    }

    macro_rules! goldens {
        ($($name:ident: $dtype:ident,)*) => {
            $(#[test]
            fn $name() {
                golden(DType::$dtype, include_bytes!(concat!("../../tests/data/", stringify!($name), ".bin")));
            })*
        };
    }

    goldens! {
        f32: F32,
        f16: F16,
        bf16: BF16,
        q4_0: Q4_0,
        q4_1: Q4_1,
        q5_0: Q5_0,
        q5_1: Q5_1,
        q8_0: Q8_0,
        q2_k: Q2K,
        q3_k: Q3K,
        q4_k: Q4K,
        q5_k: Q5K,
        q6_k: Q6K,
        iq4_nl: IQ4NL,
        iq4_xs: IQ4XS,
        mxfp4: MXFP4,
        tq1_0: TQ1_0,
        tq2_0: TQ2_0,
        f8_e4m3: F8E4M3,
    }

    #[test]
    fn only_whole_blocks_have_a_size() {
        assert_eq!(DType::Q4_1.bytes_for(64), Some(40));
        assert_eq!(DType::Q4_1.bytes_for(33), None);
        assert_eq!(DType::Q6K.bytes_for(128), None);
        assert_eq!(DType::F32.bytes_for(usize::MAX), None);
    }
}
