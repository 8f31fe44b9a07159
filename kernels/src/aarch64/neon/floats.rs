//! NEON's floating point.

use std::arch::{aarch64::*, asm};

use super::Neon;
use crate::{
    exp::MAGIC,
    formats::q4s::{OFFSET_BITS, OFFSET_UNIT, SCALE_BIAS, SCALE_BITS, SCALE_SHIFT},
    vector::Simd,
};

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

    const LANES: usize = 4;
    const ROWS: usize = 8;
    const MANY_REGISTERS: bool = true;

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
