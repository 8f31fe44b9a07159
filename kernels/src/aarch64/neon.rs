//! NEON, as every ARMv8.0 core for applications has it: 4 lanes, 32 registers.
//!
//! With `sdot` and `smmla` (ARMv8.2 and ARMv8.6) where the CPU has them, for weights in whole numbers. Instructions for
//! bf16 (`bfdot`, `bfmmla`) are not used: they round sums otherwise than a chain of fused multiply-adds does, so that
//! the bits would differ from every other machine's.

use std::arch::{aarch64::*, asm};

use crate::{
    Isa,
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    operations::{Table, entry_points, operations, table_of, types::*},
    vector::{Quads, Simd},
};

/// Proof that the CPU has NEON.
///
/// `DOT`: and `sdot` (ARMv8.2's `dotprod`). `MATRIX`: and `smmla` (ARMv8.6's `i8mm`).
#[derive(Clone, Copy)]
pub(crate) struct Neon<const DOT: bool, const MATRIX: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Neon<false, false> {
    #[inline]
    #[target_feature(enable = "neon")]
    fn here() -> Self {
        Neon(())
    }
}

impl Neon<true, false> {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn here() -> Self {
        Neon(())
    }
}

impl Neon<true, true> {
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    pub(super) fn here() -> Self {
        Neon(())
    }
}

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

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Neon };
operations! { entry_points Neon<false, false>, "neon" }

/// For each set of lanes, their numbers, ascending, then zeros.
static COMPRESS: [[u32; 4]; 16] = {
    let mut table = [[0; 4]; 16];
    let mut bits = 0;
    while bits < 16 {
        let (mut lane, mut count) = (0, 0);
        while lane < 4 {
            if bits >> lane & 1 == 1 {
                table[bits][count] = lane as u32;
                count += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
};

static LANE_BITS: [u32; 4] = [1, 2, 4, 8];

// In every method `self` proves that the CPU has NEON, and the pointers are the caller's promise: that
// is all that the intrinsics ask. None of them wants more than an element's alignment.
impl<const DOT: bool, const MATRIX: bool> Simd for Neon<DOT, MATRIX> {
    type V = float32x4_t;
    type M = uint32x4_t;
    type I16 = int16x8_t;
    type I32 = int32x4_t;
    type Screen = Screen;
    type Bytes = uint8x16_t;
    /// A row's products in each lane of 16 bits; with `sdot` the sums themselves in the first half.
    type Sums4 = [int16x8_t; 2];
    /// Two lanes a sum; with `sdot` one, in the first half.
    type Sums8 = [int32x4_t; 2];

    const LANES: usize = 4;
    const ROWS: usize = 8;
    const MANY_REGISTERS: bool = true;
    const TOKENS: [usize; 2] = [if DOT { 4 } else { 2 }; 2];

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> float32x4_t {
        // SAFETY: self is the proof, p the caller's promise. Rust has no stable type for the intrinsic's operand;
        // the instruction is part of ARMv8.0 and touches registers alone.
        unsafe {
            let half = vld1_u16(p);
            let wide: float32x4_t;
            asm!("fcvtl {wide:v}.4s, {half:v}.4h", wide = lateout(vreg) wide, half = in(vreg) half,
                 options(pure, nomem, nostack, preserves_flags));
            wide
        }
    }
    #[inline(always)]
    unsafe fn load_scale_and_min(self, p: *const u16) -> [float32x4_t; 2] {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe {
            let both = vmovl_u16(vld1_u16(p));
            let scale =
                vshlq_n_u32::<{ SCALE_SHIFT.cast_signed() }>(vandq_u32(both, vdupq_n_u32(u32::from(SCALE_BITS))));
            let scale = vaddq_u32(scale, vdupq_n_u32(SCALE_BIAS));
            let offset = vandq_u32(both, vdupq_n_u32(u32::from(OFFSET_BITS)));
            let scale = vreinterpretq_f32_u32(scale);
            [scale, vmulq_f32(vmulq_n_f32(scale, OFFSET_UNIT), vcvtq_f32_u32(offset))]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> float32x4_t {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> float32x4_t {
        // SAFETY: self is the proof, p the caller's promise: 4 bytes.
        unsafe {
            let bytes = vcreate_s8(u64::from(p.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: self is the proof, p the caller's promise.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u16, v: float32x4_t) {
        // SAFETY: self is the proof, p the caller's promise. The instruction rounds to nearest even, as Rust requires
        // the floating-point environment to be left; as above, it touches registers alone.
        unsafe {
            let half: uint16x4_t;
            asm!("fcvtn {half:v}.4h, {wide:v}.4s", half = lateout(vreg) half, wide = in(vreg) v,
                 options(pure, nomem, nostack, preserves_flags));
            vst1_u16(p, half);
        }
    }

    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof. (`fmax` would give a NaN where one is.)
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vabsq_f32(a) }
    }
    #[inline(always)]
    fn neg(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vnegq_f32(a) }
    }

    #[inline(always)]
    fn fold(self, a: float32x4_t) -> f32 {
        // SAFETY: self is the proof.
        unsafe { vpadds_f32(vadd_f32(vget_low_f32(a), vget_high_f32(a))) }
    }

    #[inline(always)]
    fn scale_by_power(self, p: float32x4_t, z: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe {
            let n = vsubq_s32(vreinterpretq_s32_f32(z), vdupq_n_s32(MAGIC.to_bits().cast_signed()));
            let half = vshrq_n_s32::<1>(n);
            let bias = vdupq_n_s32(127);
            let first = vshlq_n_s32::<23>(vaddq_s32(half, bias));
            let second = vshlq_n_s32::<23>(vaddq_s32(vsubq_s32(n, half), bias));
            vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second))
        }
    }

    #[inline(always)]
    fn not_le(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        // SAFETY: self is the proof.
        unsafe { vmvnq_u32(vcleq_f32(a, b)) }
    }
    #[inline(always)]
    fn count(self, m: uint32x4_t) -> usize {
        // SAFETY: self is the proof.
        unsafe { vaddvq_u32(vshrq_n_u32::<31>(m)) as usize }
    }
    #[inline(always)]
    fn keep(self, m: uint32x4_t, v: float32x4_t) -> float32x4_t {
        // SAFETY: self is the proof.
        unsafe { vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(v))) }
    }
    #[inline(always)]
    unsafe fn compress(self, m: uint32x4_t, base: u32, p: *mut u32) -> usize {
        // SAFETY: self is the proof, p the caller's promise. The bits of 4 lanes are below 16.
        unsafe {
            let bits = vaddvq_u32(vandq_u32(m, vld1q_u32(LANE_BITS.as_ptr()))) as usize;
            let lanes = vld1q_u32(COMPRESS.get_unchecked(bits).as_ptr());
            vst1q_u32(p, vaddq_u32(lanes, vdupq_n_u32(base)));
            bits.count_ones() as usize
        }
    }

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
    unsafe fn screen_block(self, w: *const u8, steps: [i32; 2]) -> Screen {
        // SAFETY: self is the proof, w the caller's promise.
        unsafe {
            let (w, low) = ([vld1q_u8(w), vld1q_u8(w.add(16))], vdupq_n_u8(15));
            let q = [[vandq_u8(w[0], low), vandq_u8(w[1], low)], [vshrq_n_u8::<4>(w[0]), vshrq_n_u8::<4>(w[1])]];
            (q.map(|q| q.map(|q| vreinterpretq_s8_u8(q))), steps.map(|step| step as i16))
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

    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        // SAFETY: a prefetch never faults.
        unsafe { asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(readonly, nostack, preserves_flags)) }
    }
    #[inline(always)]
    fn prefetch_l2(self, p: *const u8) {
        // SAFETY: a prefetch never faults.
        unsafe { asm!("prfm pldl2keep, [{p}]", p = in(reg) p, options(readonly, nostack, preserves_flags)) }
    }
}
