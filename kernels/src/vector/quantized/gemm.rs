//! `Y += X·W`, many tokens: some columns of a group are taken apart into pairs once for all of them.

use std::mem::MaybeUninit;

use super::{COLS, Columns, PAIRS, Q4, Q8, Whole, Widened, finish, widened};
use crate::{MatMut, QUANT_GROUP, QuantType, Quantized, QuantizedRef, vector::Simd};

/// # Safety
/// See [`crate::vector`]: `Y [M, cols]`, `X [M, rows]`.
#[inline(always)]
pub(crate) unsafe fn gemm_q<S: Simd>(s: S, mut y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>) {
    if y.rows() == 0 || w.cols() == 0 || w.rows() == 0 {
        return;
    }
    // SAFETY: the shapes are the caller's, none of them 0.
    unsafe {
        match w.quant() {
            QuantType::Q8 => many::<S, Q8>(s, &mut y, x, w),
            QuantType::Q4 | QuantType::Q4s => many::<S, Q4>(s, &mut y, x, w),
        }
    }
}

/// Tokens whose outputs of a strip stay in L2 while groups go by.
const TOKENS: usize = 128;
/// Blocks of columns of a strip: 64 KiB of outputs.
const STRIP: usize = 4;

/// Some columns of one group are taken apart into pairs once for many tokens.
///
/// # Safety
/// As for [`gemm_q`], and nothing is empty.
#[inline(always)]
unsafe fn many<S: Simd, W: Whole>(s: S, y: &mut MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>) {
    let (columns, blocks) = (Columns::new(&w), w.cols() / COLS);
    let (whole, x_scale, (stride, scale_stride)) = x.parts();
    let (y, y_stride) = (y.as_mut_ptr(), y.stride());
    let mut totals = [0.0f32; TOKENS];
    for start in (0..x.rows()).step_by(TOKENS) {
        let tokens = TOKENS.min(x.rows() - start);
        for strip in (0..blocks).step_by(STRIP) {
            for g in 0..w.groups() {
                // SAFETY: token, group and block are below their numbers, so that all that follows is there.
                unsafe {
                    let token = |m: usize| Token {
                        x: whole.add((start + m) * stride + g * QUANT_GROUP),
                        scale: *x_scale.add((start + m) * scale_stride + g),
                        y: y.add((start + m) * y_stride),
                    };
                    if W::MIN {
                        for m in 0..tokens {
                            let t = token(m);
                            let sum: i32 = (0..QUANT_GROUP).map(|k| i32::from(*t.x.add(k))).sum();
                            totals[m] = t.scale * sum as f32;
                        }
                    }
                    let row = |k: usize, block: usize| columns.row(g * QUANT_GROUP + k).add(block * W::BYTES);
                    let end = blocks.min(strip + STRIP);
                    let mut block = strip;
                    while block + 2 <= end {
                        let mut panel = [[MaybeUninit::<S::RowPair>::uninit(); 2]; PAIRS];
                        for p in 0..PAIRS {
                            let row_pair = W::row_pairs(s, row(2 * p, block), row(2 * p + 1, block));
                            panel[p] = row_pair.map(MaybeUninit::new);
                        }
                        let at = columns.group(g, block);
                        let shared = widened::<S, W, 2>(s, at);
                        let panel = Panel { column: at.column, pairs: &panel, shared: &shared };
                        if S::MANY_REGISTERS && S::LANES == 16 {
                            tiles::<S, W, 4>(s, token, tokens, panel, &totals);
                        } else {
                            tiles::<S, W, 1>(s, token, tokens, panel, &totals);
                        }
                        block += 2;
                    }
                    if block < end {
                        let mut panel = [MaybeUninit::<S::RowPair>::uninit(); PAIRS];
                        for p in 0..PAIRS {
                            panel[p].write(W::row_pair(s, row(2 * p, block), row(2 * p + 1, block)));
                        }
                        let at = columns.group(g, block);
                        let shared = widened::<S, W, 1>(s, at);
                        for m in 0..tokens {
                            let t = token(m);
                            let mut sums = s.zero_sums();
                            for p in 0..PAIRS {
                                sums = s.add_row_pair(sums, panel[p].assume_init(), s.splat_pair(t.pair(p)));
                            }
                            let y = t.y.add(at.column);
                            finish::<S, W, 1>(s, y, |v| s.sums_at(sums, v), &shared, t.scale, totals[m]);
                        }
                    }
                }
            }
        }
    }
}

/// A token's share of a group: its inputs, their scale, and its row of outputs.
#[derive(Clone, Copy)]
struct Token {
    x: *const i16,
    scale: f32,
    y: *mut f32,
}

impl Token {
    /// Inputs `2p` and `2p + 1`.
    ///
    /// # Safety
    /// `p` is below [`PAIRS`], and the inputs are there.
    #[inline(always)]
    unsafe fn pair(self, p: usize) -> i32 {
        // SAFETY: by contract. On a big-endian machine the halves would be exchanged: this crate does not compile there.
        unsafe { self.x.add(2 * p).cast::<i32>().read_unaligned() }
    }
}

/// Two blocks of columns of one group, taken apart: from `column` on, pairs of rows, and scales and minima, a vector of
/// columns each.
struct Panel<'a, S: Simd> {
    column: usize,
    pairs: &'a [[MaybeUninit<S::RowPair>; 2]; PAIRS],
    shared: &'a Widened<S>,
}

impl<S: Simd> Clone for Panel<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Simd> Copy for Panel<'_, S> {}

/// A panel for all tokens, `T` at a time.
///
/// # Safety
/// `token` gives each of `tokens` tokens, whose outputs have the columns; the panel is filled, with all that the set's vectors
/// need.
#[inline(always)]
unsafe fn tiles<S: Simd, W: Whole, const T: usize>(
    s: S,
    token: impl Fn(usize) -> Token,
    tokens: usize,
    panel: Panel<'_, S>,
    totals: &[f32; TOKENS],
) {
    let mut m = 0;
    // SAFETY: m stays below `tokens`; the rest is the caller's.
    unsafe {
        while m + T <= tokens {
            tile::<S, W, T>(s, std::array::from_fn(|t| token(m + t)), panel, &totals[m..]);
            m += T;
        }
        while m < tokens {
            tile::<S, W, 1>(s, [token(m)], panel, &totals[m..]);
            m += 1;
        }
    }
}

/// A panel for `T` tokens.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn tile<S: Simd, W: Whole, const T: usize>(s: S, token: [Token; T], panel: Panel<'_, S>, totals: &[f32]) {
    let mut sums = [[s.zero_sums(); 2]; T];
    for p in 0..PAIRS {
        // SAFETY: the panel is filled; each token has the group's inputs.
        unsafe {
            let row_pair = [panel.pairs[p][0].assume_init(), panel.pairs[p][1].assume_init()];
            for t in 0..T {
                let x = s.splat_pair(token[t].pair(p));
                sums[t] = [s.add_row_pair(sums[t][0], row_pair[0], x), s.add_row_pair(sums[t][1], row_pair[1], x)];
            }
        }
    }
    for t in 0..T {
        // SAFETY: each token's outputs have the columns.
        unsafe {
            let y = token[t].y.add(panel.column);
            finish::<S, W, 2>(s, y, |v| W::sums2_at(s, sums[t], v), panel.shared, token[t].scale, totals[t]);
        }
    }
}
