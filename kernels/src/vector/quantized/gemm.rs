//! `Y += X·W`, many tokens: a step of a group's rows is taken apart once for all of them.
//!
//! Few tokens are bound by the bytes of `W`, as one is: they go through all columns of a group before the next one. Of more
//! the outputs of some columns stay in cache while groups go by.

use std::mem::MaybeUninit;

use super::{Columns, Q4, Q8, QUADS, SUMS, Whole, Widened, finish, group::*, widened};
use crate::{MatMut, QUANT_GROUP, QuantType, Quantized, QuantizedRef, vector::Simd};

/// Tokens that meet a step's rows before the next one: their outputs fit L1.
const TOKENS: usize = 64;
/// So many at most are few.
const FEW: usize = 8;
/// Bytes of each row that few tokens' tile has at most, and many tokens'.
const TILE: [usize; 2] = [4096, 64];

/// # Safety
/// See [`crate::vector`]: `Y [M, cols]`, `X [M, rows]`.
#[inline(always)]
pub(crate) unsafe fn gemm_q<S: Simd>(s: S, mut y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>, far: bool) {
    if y.rows() == 0 || w.cols() == 0 || w.rows() == 0 {
        return;
    }
    let (stride, x_parts) = (y.stride(), x.parts());
    for start in (0..x.rows()).step_by(TOKENS) {
        let count = TOKENS.min(x.rows() - start);
        let columns = TILE[usize::from(count > FEW)] * 8 / w.quant().bits();
        for c in (0..w.cols()).step_by(columns) {
            let end = w.cols().min(c + columns);
            let part = Columns::new(&w.columns(c..end));
            // SAFETY: those tokens and columns are there; the rest is the caller's.
            unsafe {
                let tokens = Tokens {
                    x: x_parts.0.add(start * x_parts.2.0),
                    scale: x_parts.1.add(start * x_parts.2.1),
                    x_strides: x_parts.2,
                    y: y.as_mut_ptr().add(start * stride + c),
                    stride,
                    count,
                };
                match w.quant() {
                    QuantType::Q8 => tile::<S, Q8>(s, &tokens, &part, w.groups(), far),
                    QuantType::Q4 | QuantType::Q4s => tile::<S, Q4>(s, &tokens, &part, w.groups(), far),
                }
            }
        }
    }
}

/// Inputs of some tokens, their scales, and their outputs.
struct Tokens {
    x: *const i16,
    scale: *const f32,
    x_strides: (usize, usize),
    y: *mut f32,
    stride: usize,
    count: usize,
}

/// A group's inputs of all tokens, those of narrow groups first.
struct Group {
    inputs: [Inputs; TOKENS],
    /// Scale, and that times the sum of the inputs.
    factors: [[f32; 2]; TOKENS],
    order: [u8; TOKENS],
    narrow: usize,
}

impl Group {
    /// # Safety
    /// Group `g` of all tokens is there.
    #[inline(always)]
    unsafe fn read(&mut self, tokens: &Tokens, g: usize) {
        let (mut narrow, mut wide) = (0, tokens.count);
        for m in 0..tokens.count.min(TOKENS) {
            // SAFETY: by contract.
            let (x, scale) = unsafe {
                let x = tokens.x.add(m * tokens.x_strides.0 + g * QUANT_GROUP).cast::<[i16; QUANT_GROUP]>();
                (&*x, *tokens.scale.add(m * tokens.x_strides.1 + g))
            };
            let inputs = Inputs::new(x);
            if inputs.wide {
                wide -= 1;
                self.order[wide] = m as u8;
            } else {
                self.order[narrow] = m as u8;
                narrow += 1;
            }
            self.factors[m] = [scale, scale * inputs.sum() as f32];
            self.inputs[m] = inputs;
        }
        self.narrow = narrow;
    }
}

/// All groups for some tokens and columns.
///
/// # Safety
/// As for [`gemm_q`]; there are columns and tokens, at most [`TOKENS`].
#[inline(always)]
unsafe fn tile<S: Simd, W: Whole>(s: S, tokens: &Tokens, w: &Columns, groups: usize, far: bool) {
    let bytes = w.cols / W::COLUMNS;
    let mut group =
        Group { inputs: [Inputs::NONE; TOKENS], factors: [[0.0; 2]; TOKENS], order: [0; TOKENS], narrow: 0 };
    let (mut first, mut second) = (Places::NONE, Places::NONE);
    let (mut this, mut next) = (&mut first, &mut second);
    // SAFETY: groups are below their number; a step's bytes lie within the rows, its columns within the outputs.
    unsafe {
        this.read_group(w, 0, groups);
        Ahead::new([this, this], w, bytes, 1, far).step(s, 0);
        for g in 0..groups {
            next.read_group(w, g + 1, groups);
            let mut ahead = Ahead::new([this, next], w, bytes, bytes.div_ceil(S::STEP), far);
            group.read(tokens, g);
            for done in (0..bytes).step_by(S::STEP) {
                ahead.step(s, done);
                let part = S::STEP.min(bytes - done);
                let mut quads = [[MaybeUninit::<S::Bytes>::uninit(); SUMS]; QUADS];
                for q in 0..QUADS {
                    let row = |r: usize| this.row[4 * q + r].wrapping_add(done);
                    let apart = W::apart(s, s.quad([row(0), row(1), row(2), row(3)], part));
                    for v in 0..W::SUMS {
                        quads[q][v].write(apart[v]);
                    }
                }
                let column = done * W::COLUMNS;
                let shared = widened::<S, W>(s, w.group(g, column), part);
                let step = Step { part, quads: &quads, shared: &shared };
                let y = tokens.y.add(column);
                let (narrow, wide) = group.order[..tokens.count].split_at(group.narrow);
                for tokens_of in [(narrow, false), (wide, true)] {
                    match S::TOKENS[W::KIND] {
                        4 => all::<S, W, 4>(s, step, &group, tokens_of, y, tokens.stride),
                        2 => all::<S, W, 2>(s, step, &group, tokens_of, y, tokens.stride),
                        _ => all::<S, W, 1>(s, step, &group, tokens_of, y, tokens.stride),
                    }
                }
            }
            std::mem::swap(&mut this, &mut next);
        }
    }
}

/// A step of a group's rows, taken apart; `part` bytes of it count.
struct Step<'a, S: Simd> {
    part: usize,
    quads: &'a [[MaybeUninit<S::Bytes>; SUMS]; QUADS],
    shared: &'a Widened<S>,
}

impl<S: Simd> Clone for Step<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Simd> Copy for Step<'_, S> {}

/// A step for those tokens, `T` at a time: narrow ones, or wide ones.
///
/// # Safety
/// The step is filled, each token's outputs have its columns.
#[inline(always)]
unsafe fn all<S: Simd, W: Whole, const T: usize>(
    s: S,
    step: Step<'_, S>,
    group: &Group,
    (tokens, wide): (&[u8], bool),
    y: *mut f32,
    stride: usize,
) {
    for some in tokens.chunks(T) {
        // Those that are missing are others once more, whose sums nobody wants.
        let mut m = [0; T];
        for t in 0..T {
            m[t] = usize::from(some[t.min(some.len() - 1)]) % TOKENS;
        }
        let mut all = [[s.zero_i32(); SUMS]; T];
        for n in 0..1 + usize::from(wide) {
            let mut inputs = [(&group.inputs[0].limb[0], 0); T];
            for t in 0..T {
                inputs[t] = (&group.inputs[m[t]].limb[n], group.inputs[m[t]].total[n]);
            }
            // SAFETY: the step is filled by contract.
            let now = unsafe { limb::<S, W, T>(s, step.quads, inputs) };
            for t in 0..T {
                for v in 0..W::SUMS {
                    all[t][v] = s.limbs(all[t][v], now[t][v]);
                }
            }
        }
        for t in 0..T {
            if t >= some.len() {
                break;
            }
            let factors = [s.splat(group.factors[m[t]][0]), s.splat(group.factors[m[t]][1])];
            for v in 0..W::SUMS {
                if v % 4 * S::LANES < step.part {
                    // SAFETY: the vector's columns are there, and what they share is filled.
                    unsafe {
                        let y = y.add(m[t] * stride + W::column::<S>(v));
                        finish::<S, W>(s, y, all[t][v], step.shared[v].assume_init(), factors);
                    }
                }
            }
        }
    }
}

/// The sums of one limb of `T` tokens, from its inputs and their sum.
///
/// # Safety
/// The first [`Whole::SUMS`] registers of each quad are filled.
#[inline(always)]
unsafe fn limb<S: Simd, W: Whole, const T: usize>(
    s: S,
    quads: &[[MaybeUninit<S::Bytes>; SUMS]; QUADS],
    inputs: [(&[i32; QUADS], i32); T],
) -> [[S::I32; SUMS]; T] {
    let mut sums = [[W::zero_sum(s); SUMS]; T];
    for q in 0..QUADS {
        let mut x = [s.splat_quad(0); T];
        for t in 0..T {
            x[t] = s.splat_quad(inputs[t].0[q]);
        }
        for v in 0..W::SUMS {
            // SAFETY: by contract.
            let w = unsafe { quads[q][v].assume_init() };
            for t in 0..T {
                sums[t][v] = W::dot(s, sums[t][v], w, x[t]);
            }
        }
    }
    let mut totals = [[s.zero_i32(); SUMS]; T];
    for t in 0..T {
        for v in 0..W::SUMS {
            totals[t][v] = W::total(s, sums[t][v], inputs[t].1);
        }
    }
    totals
}
