//! `Y += X·W`, many tokens: a step of a group's rows is taken apart once for all of them.
//!
//! Inputs are packed ([`crate::packed`]): a few groups at a time here, or all of them by the caller, once for all of a
//! matrix. Then some columns at a time go through those groups, step by step: a step's rows, interleaved, wait in L1,
//! where a few tokens at a time meet four vectors of columns in registers. Few tokens are bound by the bytes of `W`, as
//! one is: they take long pieces of rows. Of more the outputs of some columns stay in cache while groups go by.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Columns, Q4, Q8, QUADS, Quads, SUMS, VECTORS, Whole, Widened, ahead::*, finish, group::*, widened};
use crate::{
    MatMut, PACKED_ROWS, PackedGroup, QUANT_GROUP, Quantized, QuantizedRef,
    formats::Packing,
    packed::{Activations, Inputs},
    prefetch::Prefetch,
    vector::Integers,
};

/// Groups that are packed at a time where activations come as rows: 11 KiB, on a stack that may have 64 in all. (With
/// twice as many it overflowed there.)
const GROUPS: usize = 2;
/// So many tokens ahead inputs are sent for.
const AHEAD: usize = 8;
/// So many tokens at most are few.
const FEW: usize = 8;
/// Bytes of each row that few tokens' tile has at most.
const TILE: usize = 4096;
/// Columns of many tokens' tile at most: 64 KiB of outputs, which stay in L2 while groups go by.
const COLUMNS: usize = 256;

/// # Safety
/// See [`crate::vector`]: `Y [M, cols]`, `X [M, rows]`.
#[inline(always)]
pub(crate) unsafe fn gemm_q<S: Integers>(
    s: S,
    mut y: MatMut<'_>,
    x: Activations<'_>,
    w: Quantized<'_>,
    prefetch: Prefetch,
) {
    let (rows, all) = (y.rows(), w.groups());
    if rows == 0 || w.cols() == 0 || all == 0 {
        return;
    }
    let stride = y.stride();
    let columns = if rows > FEW { COLUMNS } else { TILE * 8 / w.quant().bits() };
    let mut own = [PackedGroup::NONE; GROUPS];
    let most = if matches!(x, Activations::Packed(_)) { all } else { GROUPS };
    for start in (0..rows).step_by(PACKED_ROWS) {
        // SAFETY: those tokens have outputs.
        let y = unsafe { y.as_mut_ptr().add(start * stride) };
        for first in (0..all).step_by(most) {
            let count = most.min(all - first);
            let strip = match x {
                Activations::Packed(packed) => &packed[first..first + count],
                Activations::Rows(x) => {
                    let tokens = Tokens::new(x, start, PACKED_ROWS.min(rows - start));
                    for (n, group) in own[..count].iter_mut().enumerate() {
                        // SAFETY: those tokens are there, and that group of each.
                        unsafe { tokens.pack(s, group, first + n) };
                    }
                    &own[..count]
                }
            };
            // Behind the strip the next group's rows come at once, unless other columns do.
            let end = if w.cols() <= columns { all } else { first + count };
            for c in (0..w.cols()).step_by(columns) {
                let part = Columns::new(&w.columns(c..w.cols().min(c + columns)));
                // SAFETY: those columns are there; the rest is the caller's.
                unsafe {
                    let y = Outputs { y: y.add(c), stride };
                    match w.quant().format().packing {
                        Packing::Bytes => tile::<S, Q8>(s, y, strip, first..end, &part, prefetch),
                        Packing::Nibbles => tile::<S, Q4>(s, y, strip, first..end, &part, prefetch),
                    }
                }
            }
        }
    }
}

/// # Safety
/// See [`crate::vector`]: `packed [cols / 32]`, `X [M, cols]`.
#[inline(always)]
pub(crate) unsafe fn pack<S: Integers>(s: S, packed: &mut [PackedGroup], x: QuantizedRef<'_>) {
    let tokens = Tokens::new(x, 0, x.rows());
    for (g, group) in packed.iter_mut().enumerate() {
        // SAFETY: by contract.
        unsafe { tokens.pack(s, group, g) };
    }
}

/// Activations of some tokens and their scales.
struct Tokens {
    x: *const i16,
    scale: *const f32,
    /// From one token to the next.
    strides: (usize, usize),
    count: usize,
}

impl Tokens {
    /// `count` tokens from `start` on.
    #[inline(always)]
    fn new(x: QuantizedRef<'_>, start: usize, count: usize) -> Tokens {
        let (whole, scale, strides) = x.parts();
        let (x, scale) = (whole.wrapping_add(start * strides.0), scale.wrapping_add(start * strides.1));
        Tokens { x, scale, strides, count }
    }

    /// # Safety
    /// Group `g` of all tokens is there.
    #[inline(always)]
    unsafe fn pack<S: Integers>(&self, s: S, group: &mut PackedGroup, g: usize) {
        group.begin(self.count);
        for m in 0..self.count {
            // SAFETY: by contract.
            let (x, scale) = unsafe {
                let x = self.x.add(m * self.strides.0 + g * QUANT_GROUP).cast::<[i16; QUANT_GROUP]>();
                (&*x, *self.scale.add(m * self.strides.1 + g))
            };
            // The next tokens' lie a row further each, where no prefetcher looks.
            s.prefetch(x.as_ptr().cast::<u8>().wrapping_add(2 * AHEAD * self.strides.0));
            group.put(m, s.split(x), scale);
        }
    }
}

/// Their outputs, from some column on.
#[derive(Clone, Copy)]
struct Outputs {
    y: *mut f32,
    stride: usize,
}

/// The groups of a strip, the first of those `groups`, for its tokens and some columns. Rows are sent for up to their
/// end.
///
/// # Safety
/// `w` has columns and those groups, `y` those tokens' outputs.
#[inline(always)]
unsafe fn tile<S: Integers, W: Whole>(
    s: S,
    y: Outputs,
    strip: &[PackedGroup],
    groups: Range<usize>,
    w: &Columns,
    prefetch: Prefetch,
) {
    let bytes = w.cols / W::COLUMNS;
    let (mut one, mut other) = (GroupRows::NONE, GroupRows::NONE);
    let (mut this, mut next) = (&mut one, &mut other);
    let Range { start: first, end } = groups;
    // SAFETY: groups are below their number; a step's bytes lie within the rows, its columns within the outputs.
    unsafe {
        this.read_group(w, first, end);
        ReadAhead::of_groups::<W>([this, this], w, bytes, 1, prefetch).start(s);
        for (n, group) in strip.iter().enumerate() {
            next.read_group(w, first + n + 1, end);
            let mut ahead = ReadAhead::of_groups::<W>([this, next], w, bytes, bytes.div_ceil(S::STEP), prefetch);
            for done in (0..bytes).step_by(S::STEP) {
                // Little by little: all at once they would fill the places where loads wait, and nothing be computed.
                let mut sending =
                    Sending { lines: ahead.begin(s, done), tokens: group.count as usize, ahead: &mut ahead };
                let bytes = S::STEP.min(bytes - done);
                let mut quads = [[MaybeUninit::uninit(); SUMS]; QUADS];
                for q in (0..QUADS).step_by(2) {
                    let row = |r: usize| this.row[4 * q + r].wrapping_add(done);
                    let even = W::apart(s, s.quad([row(0), row(1), row(2), row(3)], bytes));
                    let odd = W::apart(s, s.quad([row(4), row(5), row(6), row(7)], bytes));
                    for v in 0..W::SUMS {
                        let [even, odd] = s.paired(even[v], odd[v]);
                        quads[q][v].write(even);
                        quads[q + 1][v].write(odd);
                    }
                }
                let column = done * W::COLUMNS;
                let shared = widened::<S, W>(s, w.group(first + n, column), bytes);
                let step = UnpackedStep { bytes, quads: &quads, shared: &shared };
                let y = Outputs { y: y.y.add(column), ..y };
                let (narrow, wide) = group.tokens();
                for (tokens, wide) in [(narrow, false), (wide, true)] {
                    if bytes == S::STEP {
                        let most = S::TOKENS[W::KIND];
                        let mut rest = tokens;
                        if most == 4 {
                            rest = each::<S, W, 4, true>(s, step, group, rest, wide, y, &mut sending);
                        }
                        if most >= 2 {
                            rest = each::<S, W, 2, true>(s, step, group, rest, wide, y, &mut sending);
                        }
                        each::<S, W, 1, true>(s, step, group, rest, wide, y, &mut sending);
                    } else {
                        each::<S, W, 1, false>(s, step, group, tokens, wide, y, &mut sending);
                    }
                }
            }
            std::mem::swap(&mut this, &mut next);
        }
    }
}

/// A step of a group's rows, taken apart; so many bytes of each count.
struct UnpackedStep<'a, S: Integers> {
    bytes: usize,
    quads: &'a Quads<S>,
    shared: &'a Widened<S>,
}

impl<S: Integers> Clone for UnpackedStep<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Integers> Copy for UnpackedStep<'_, S> {}

/// What is sent for while a step meets its tokens.
struct Sending<'a, 'b> {
    ahead: &'a mut ReadAhead<'b>,
    /// Lines and tokens of the step.
    lines: usize,
    tokens: usize,
}

/// A step for those tokens, narrow ones or wide ones, `T` at a time; returns those that are left. `FULL`: all bytes of
/// the step count.
///
/// # Safety
/// The step is filled, each token's outputs have its columns.
#[inline(always)]
unsafe fn each<'a, S: Integers, W: Whole, const T: usize, const FULL: bool>(
    s: S,
    step: UnpackedStep<'_, S>,
    group: &PackedGroup,
    tokens: &'a [u8],
    wide: bool,
    y: Outputs,
    sending: &mut Sending<'_, '_>,
) -> &'a [u8] {
    let mut rest = tokens;
    let lines = (sending.lines * T).div_ceil(sending.tokens);
    while let Some((some, left)) = rest.split_first_chunk::<T>() {
        rest = left;
        sending.ahead.send(s, lines);
        let mut inputs = [&group.inputs[0]; T];
        for t in 0..T {
            inputs[t] = &group.inputs[usize::from(some[t]) % PACKED_ROWS];
        }
        for first in (0..W::SUMS).step_by(VECTORS) {
            // SAFETY: the step is filled by contract.
            let sums = unsafe { sums::<S, W, T>(s, step.quads, first, inputs, wide) };
            let (mut factors, mut out) = ([[s.splat(0.0); 2]; T], [y.y; T]);
            for t in 0..T {
                let m = usize::from(some[t]) % PACKED_ROWS;
                factors[t] = [s.splat(group.factors[m][0]), s.splat(group.factors[m][1])];
                out[t] = out[t].wrapping_add(m * y.stride);
            }
            for v in 0..VECTORS {
                if FULL || v * S::LANES < step.bytes {
                    // SAFETY: what the vector's columns share is filled.
                    let shared = unsafe { step.shared[first + v].assume_init() };
                    for t in 0..T {
                        let y = out[t].wrapping_add(W::column::<S>(first + v));
                        // SAFETY: the vector's columns are there.
                        unsafe { finish::<S, W>(s, y, sums[t][v], shared, factors[t]) };
                    }
                }
            }
        }
    }
    rest
}

/// A group's sums of `T` tokens for the vectors from `first` on.
///
/// # Safety
/// The first [`Whole::SUMS`] registers of each quad are filled.
#[inline(always)]
unsafe fn sums<S: Integers, W: Whole, const T: usize>(
    s: S,
    quads: &Quads<S>,
    first: usize,
    inputs: [&Inputs; T],
    wide: bool,
) -> [[S::I32; VECTORS]; T] {
    let (mut x, mut total) = ([[&inputs[0].limb[0]; T]; 2], [[0; T]; 2]);
    for limb in 0..2 {
        for t in 0..T {
            (x[limb][t], total[limb][t]) = (&inputs[t].limb[limb], inputs[t].total[limb]);
        }
    }
    // Twice in the code, not a loop: the compiler would keep what both turns read, 32 registers, in memory beside it.
    // SAFETY: by contract.
    let mut sums = unsafe { products::<S, W, T>(s, quads, first, x[0], total[0]) };
    if wide {
        // SAFETY: by contract.
        let high = unsafe { products::<S, W, T>(s, quads, first, x[1], total[1]) };
        for t in 0..T {
            for v in 0..VECTORS {
                sums[t][v] = s.limbs(high[t][v], sums[t][v]);
            }
        }
    }
    sums
}

/// The same of one limb, from its inputs and their sum.
///
/// # Safety
/// As for [`sums`].
#[inline(always)]
unsafe fn products<S: Integers, W: Whole, const T: usize>(
    s: S,
    quads: &Quads<S>,
    first: usize,
    x: [&[i32; QUADS]; T],
    total: [i32; T],
) -> [[S::I32; VECTORS]; T] {
    // SAFETY: by contract.
    if let Some(sums) = unsafe { s.matrix_products(quads, first, x) } {
        return sums;
    }
    let mut sums = [[W::start_sum(s, 0); VECTORS]; T];
    for t in 0..T {
        sums[t] = [W::start_sum(s, total[t]); VECTORS];
    }
    for q in 0..QUADS {
        let mut quad = [s.splat_quad(0); T];
        for t in 0..T {
            quad[t] = s.splat_quad(x[t][q]);
        }
        for v in 0..VECTORS {
            // SAFETY: by contract.
            let w = unsafe { quads[q][first + v].assume_init() };
            for t in 0..T {
                sums[t][v] = W::dot(s, sums[t][v], w, quad[t]);
            }
        }
    }
    let mut totals = [[s.zero_i32(); VECTORS]; T];
    for t in 0..T {
        for v in 0..VECTORS {
            totals[t][v] = W::total(s, sums[t][v], total[t]);
        }
    }
    totals
}
