//! NEON's whole numbers, with `sdot` and `smmla` where the CPU has them.

use std::arch::{aarch64::*, asm};

use super::Neon;
use crate::vector::{Integers, Quads};

/// Numbers of two groups, and their steps.
type Screen = ([[int8x16_t; 2]; 2], [i16; 2]);

impl<const DOT: bool, const MATRIX: bool> Neon<DOT, MATRIX> {
    /// `sdot`: four products of i8 added to each lane. The intrinsic is not stable yet.
    ///
    /// # Safety
    /// `DOT`: then self is the proof that the CPU has the instruction.
    #[inline(always)]
    unsafe fn dot(self, mut sums: int32x4_t, w: uint8x16_t, x: uint8x16_t) -> int32x4_t {
        debug_assert!(DOT);
        // SAFETY: by contract; the instruction touches registers alone.
        unsafe {
            asm!(".arch_extension dotprod", "sdot {sums:v}.4s, {w:v}.16b, {x:v}.16b", sums = inout(vreg) sums,
                 w = in(vreg) w, x = in(vreg) x, options(pure, nomem, nostack, preserves_flags));
        }
        sums
    }

    /// `smmla`: adds to lane `2i + j` the eight products of `w`'s half `i` with `x`'s half `j`, all i8. The intrinsic
    /// is not stable yet.
    ///
    /// # Safety
    /// `MATRIX`: then self is the proof that the CPU has the instruction.
    #[inline(always)]
    unsafe fn matrix(self, mut sums: int32x4_t, w: uint8x16_t, x: uint8x16_t) -> int32x4_t {
        debug_assert!(MATRIX);
        // SAFETY: by contract; the instruction touches registers alone.
        unsafe {
            asm!(".arch_extension i8mm", "smmla {sums:v}.4s, {w:v}.16b, {x:v}.16b", sums = inout(vreg) sums,
                 w = in(vreg) w, x = in(vreg) x, options(pure, nomem, nostack, preserves_flags));
        }
        sums
    }

    /// Sums of 32 bits where two vectors of 16 are spoken of.
    #[inline(always)]
    fn from_sums(self, sums: int32x4_t) -> [int16x8_t; 2] {
        // SAFETY: self is the proof; bits are taken as they are.
        unsafe { [vreinterpretq_s16_s32(sums), vdupq_n_s16(0)] }
    }

    #[inline(always)]
    fn to_sums(self, sums: [int16x8_t; 2]) -> int32x4_t {
        // SAFETY: self is the proof.
        unsafe { vreinterpretq_s32_s16(sums[0]) }
    }
}

// In every method `self` proves that the CPU has NEON, and the pointers are the caller's promise: that
// is all that the intrinsics ask. None of them wants more than an element's alignment.
impl<const DOT: bool, const MATRIX: bool> Integers for Neon<DOT, MATRIX> {
    type I16 = int16x8_t;
    type I32 = int32x4_t;
    type Steps = [i8; 16];
    type Screen = Screen;
    type Bytes = uint8x16_t;
    /// A row's products in each lane of 16 bits; with `sdot` the sums themselves in the first half.
    type Sums4 = [int16x8_t; 2];
    /// Two lanes a sum; with `sdot` one, in the first half.
    type Sums8 = [int32x4_t; 2];

    const TOKENS: [usize; 2] = [if DOT { 4 } else { 2 }; 2];

    #[inline(always)]
    fn zero_i32(self) -> int32x4_t {
        // SAFETY: self is the proof.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_i16(self, p: *const i16) -> int16x8_t {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { vld1q_s16(p) }
    }
    #[inline(always)]
    unsafe fn add_products_i8(self, sums: int32x4_t, x: int16x8_t, w: *const i8) -> int32x4_t {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = vmovl_s8(vld1_s8(w));
            vmlal_high_s16(vmlal_s16(sums, vget_low_s16(x), vget_low_s16(w)), x, w)
        }
    }
    #[inline(always)]
    unsafe fn screen_steps(self, steps: *const u8) -> [i8; 16] {
        // SAFETY: the caller's promise.
        unsafe { steps.cast::<[i8; 16]>().read() }
    }
    #[inline(always)]
    unsafe fn screen_block(self, w: *const u8, steps: [i8; 16], b: usize) -> Screen {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let (w, low) = ([vld1q_u8(w), vld1q_u8(w.add(16))], vdupq_n_u8(15));
            let q = [[vandq_u8(w[0], low), vandq_u8(w[1], low)], [vshrq_n_u8::<4>(w[0]), vshrq_n_u8::<4>(w[1])]];
            (q.map(|q| q.map(|q| vreinterpretq_s8_u8(q))), [steps[2 * b % 16], steps[(2 * b + 1) % 16]].map(i16::from))
        }
    }
    #[inline(always)]
    unsafe fn add_screen_block(self, sums: int32x4_t, x: *const i8, (q, steps): Screen) -> int32x4_t {
        // SAFETY: self is the proof, x the caller's promise.
        unsafe {
            let group = |sums, q: [int8x16_t; 2], x: *const i8, step: i16| {
                let x = [vld1q_s8(x), vld1q_s8(x.add(16))];
                // At most 15·128 four times.
                let sum = vmlal_high_s8(vmull_s8(vget_low_s8(q[0]), vget_low_s8(x[0])), q[0], x[0]);
                let sum = vmlal_high_s8(vmlal_s8(sum, vget_low_s8(q[1]), vget_low_s8(x[1])), q[1], x[1]);
                vmlal_high_n_s16(vmlal_n_s16(sums, vget_low_s16(sum), step), sum, step)
            };
            group(group(sums, q[0], x, steps[0]), q[1], x.add(32), steps[1])
        }
    }
    #[inline(always)]
    fn sums_i32(self, a: [int32x4_t; 4]) -> [i32; 4] {
        // SAFETY: self is the proof; the array has room for the vector.
        unsafe {
            let mut sums = [0; 4];
            vst1q_s32(sums.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a[0], a[1]), vpaddq_s32(a[2], a[3])));
            sums
        }
    }
    #[inline(always)]
    fn sum_i32(self, a: int32x4_t) -> i32 {
        // SAFETY: self is the proof.
        unsafe { vaddvq_s32(a) }
    }

    #[inline(always)]
    unsafe fn pairs_i8(self, x: int16x8_t, w: *const i8) -> float32x4_t {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let w = vmovl_s8(vld1_s8(w));
            let (low, high) = (vmull_s16(vget_low_s16(x), vget_low_s16(w)), vmull_high_s16(x, w));
            vcvtq_f32_s32(vpaddq_s32(low, high))
        }
    }

    #[inline(always)]
    unsafe fn quad(self, rows: [*const u8; 4], _: usize) -> [uint8x16_t; 4] {
        // SAFETY: self is the proof, the rows the caller's promise: 16 bytes of each, no fewer are ever asked for.
        unsafe {
            let [a, b, c, d] = [vld1q_u8(rows[0]), vld1q_u8(rows[1]), vld1q_u8(rows[2]), vld1q_u8(rows[3])];
            let pairs = |a, b| [vreinterpretq_u16_u8(vzip1q_u8(a, b)), vreinterpretq_u16_u8(vzip2q_u8(a, b))];
            let ([ab, ab_high], [cd, cd_high]) = (pairs(a, b), pairs(c, d));
            [
                vreinterpretq_u8_u16(vzip1q_u16(ab, cd)),
                vreinterpretq_u8_u16(vzip2q_u16(ab, cd)),
                vreinterpretq_u8_u16(vzip1q_u16(ab_high, cd_high)),
                vreinterpretq_u8_u16(vzip2q_u16(ab_high, cd_high)),
            ]
        }
    }
    // A step has 16 places: they ascend.
    #[inline(always)]
    fn quad_in_order(self, quad: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
        quad
    }
    #[inline(always)]
    fn sums_in_order(self, sums: [int32x4_t; 4]) -> [int32x4_t; 4] {
        sums
    }
    #[inline(always)]
    fn nibbles(self, bytes: uint8x16_t) -> [uint8x16_t; 2] {
        // SAFETY: self is the proof.
        unsafe { [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)] }
    }
    #[inline(always)]
    fn whole(self, bytes: uint8x16_t) -> uint8x16_t {
        bytes
    }
    #[inline(always)]
    fn splat_quad(self, x: i32) -> uint8x16_t {
        // SAFETY: self is the proof.
        unsafe { vreinterpretq_u8_s32(vdupq_n_s32(x)) }
    }
    #[inline(always)]
    fn zero4(self) -> [int16x8_t; 2] {
        // SAFETY: self is the proof.
        unsafe { [vdupq_n_s16(0); 2] }
    }
    #[inline(always)]
    fn dot_u4(self, sums: [int16x8_t; 2], w: uint8x16_t, x: uint8x16_t) -> [int16x8_t; 2] {
        if DOT {
            // SAFETY: DOT.
            return self.from_sums(unsafe { self.dot(self.to_sums(sums), w, x) });
        }
        // SAFETY: self is the proof. Each lane has a row's products, eight of 15·127 at most.
        unsafe {
            let (w, x) = (vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x));
            [vmlal_s8(sums[0], vget_low_s8(w), vget_low_s8(x)), vmlal_high_s8(sums[1], w, x)]
        }
    }
    #[inline(always)]
    fn sums4(self, sums: [int16x8_t; 2]) -> int32x4_t {
        if DOT {
            return self.to_sums(sums);
        }
        // SAFETY: self is the proof.
        unsafe { vpaddq_s32(vpaddlq_s16(sums[0]), vpaddlq_s16(sums[1])) }
    }
    #[inline(always)]
    fn start8(self, _: i32) -> [int32x4_t; 2] {
        [self.zero_i32(); 2]
    }
    #[inline(always)]
    fn dot_i8(self, sums: [int32x4_t; 2], w: uint8x16_t, x: uint8x16_t) -> [int32x4_t; 2] {
        if DOT {
            // SAFETY: DOT.
            return [unsafe { self.dot(sums[0], w, x) }, sums[1]];
        }
        // SAFETY: self is the proof.
        unsafe {
            let (w, x) = (vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x));
            let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
            [vpadalq_s16(sums[0], low), vpadalq_s16(sums[1], vmull_high_s8(w, x))]
        }
    }
    #[inline(always)]
    fn sums8(self, sums: [int32x4_t; 2], _: i32) -> int32x4_t {
        // SAFETY: self is the proof.
        if DOT { sums[0] } else { unsafe { vpaddq_s32(sums[0], sums[1]) } }
    }
    // Eight channels of two columns side by side.
    #[inline(always)]
    fn paired(self, even: uint8x16_t, odd: uint8x16_t) -> [uint8x16_t; 2] {
        if !MATRIX {
            return [even, odd];
        }
        // SAFETY: self is the proof.
        unsafe {
            let (even, odd) = (vreinterpretq_u32_u8(even), vreinterpretq_u32_u8(odd));
            [vreinterpretq_u8_u32(vzip1q_u32(even, odd)), vreinterpretq_u8_u32(vzip2q_u32(even, odd))]
        }
    }
    #[inline(always)]
    unsafe fn matrix_products<const T: usize>(
        self,
        quads: &Quads<Self>,
        first: usize,
        x: [&[i32; 8]; T],
    ) -> Option<[[int32x4_t; 4]; T]> {
        if !MATRIX {
            return None;
        }
        // Of each pair of tokens, and of each pair of columns: the sums of both columns with both tokens. An odd token
        // is paired with itself.
        let mut sums = [[[self.zero_i32(); 2]; 4]; T];
        let pairs = T.div_ceil(2);
        for q in [0, 2, 4, 6] {
            let mut both = [self.splat_quad(0); T];
            for p in 0..pairs {
                let eight = |x: &[i32; 8]| u64::from(x[q].cast_unsigned()) | u64::from(x[q + 1].cast_unsigned()) << 32;
                let (even, odd) = (eight(x[2 * p]), eight(x[(2 * p + 1).min(T - 1)]));
                // SAFETY: self is the proof.
                both[p] = unsafe { vcombine_u8(vcreate_u8(even), vcreate_u8(odd)) };
            }
            for v in 0..4 {
                for half in 0..2 {
                    // SAFETY: the register is filled by contract; MATRIX.
                    unsafe {
                        let w = quads[q + half][first + v].assume_init();
                        for p in 0..pairs {
                            sums[p][v][half] = self.matrix(sums[p][v][half], w, both[p]);
                        }
                    }
                }
            }
        }
        let mut each = [[self.zero_i32(); 4]; T];
        for t in 0..T {
            for v in 0..4 {
                let [a, b] = sums[t / 2][v];
                // SAFETY: self is the proof.
                each[t][v] = unsafe { if t % 2 == 0 { vuzp1q_s32(a, b) } else { vuzp2q_s32(a, b) } };
            }
        }
        Some(each)
    }
    #[inline(always)]
    fn limbs(self, high: int32x4_t, low: int32x4_t) -> int32x4_t {
        // SAFETY: self is the proof.
        unsafe { vaddq_s32(vshlq_n_s32::<7>(high), low) }
    }
    #[inline(always)]
    fn to_f32(self, a: int32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vcvtq_f32_s32(a) }
    }
}
