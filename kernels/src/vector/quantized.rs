//! `y += x·W` in whole numbers, column form (`crate::quantized` has the order of sums).
//!
//! A group of input channels at a time: two rows meet as pairs, whose sums of products are one instruction on most CPUs,
//! and the sums of 32 columns stay in registers until the group's last pair. The rows of a group are as many streams;
//! what each goes on with is prefetched, and at its end the rows of the next group.

use std::mem::MaybeUninit;

use super::Simd;
use crate::{MatMut, QUANT_GROUP, Quantized, WholeRef, WholeType, scalar::quantized::factors};

/// Columns of a block: their whole numbers are half a cache line, or a quarter.
const COLS: usize = 32;
/// Pairs of channels in a group.
const PAIRS: usize = QUANT_GROUP / 2;
/// A cache line.
const LINE: usize = 64;
/// Bytes of each row between what is prefetched and what is used: a multiple of [`LINE`].
const AHEAD: usize = 128;

/// # Safety
/// See [`crate::vector`]: `whole`, `x`: `[n]`, `scale [n / 32]`.
#[inline(always)]
pub(crate) unsafe fn quantize<S: Simd>(_: S, whole: &mut [i16], scale: &mut [f32], x: &[f32]) {
    // Adding this rounds to whole numbers, to nearest even, and leaves them in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let groups = whole.chunks_exact_mut(QUANT_GROUP).zip(x.chunks_exact(QUANT_GROUP));
    for ((whole, x), scale) in groups.zip(scale) {
        // Loops that the compiler turns into vectors. Magnitudes compare as integers.
        let largest = x.iter().fold(0, |largest, x| x.abs().to_bits().max(largest));
        let factor;
        (factor, *scale) = factors(largest);
        if factor == 0.0 {
            whole.fill(0);
            continue;
        }
        for (whole, x) in whole.iter_mut().zip(x) {
            *whole = (x * factor + MAGIC).to_bits() as i16;
        }
    }
}

/// Which channels of a group take part: in pairs, the last with itself and a zero if their number is odd.
struct Batch {
    group: usize,
    /// Channels, one more if the number is odd.
    rows: usize,
    row: [*const u8; QUANT_GROUP],
    /// `x` of two channels, the first in the low half.
    pair: [i32; PAIRS],
    /// The sum of `x`.
    total: i32,
}

impl Batch {
    /// # Safety
    /// `w` has columns and the rows of its group `group`, of which `channels` are some.
    #[inline(always)]
    unsafe fn new(w: &Columns, x: *const i16, group: usize, channels: impl Channels) -> Batch {
        let mut batch =
            Batch { group, rows: channels.len(), row: [std::ptr::null(); QUANT_GROUP], pair: [0; PAIRS], total: 0 };
        for i in 0..channels.len() {
            // SAFETY: the channel is a row of w and an element of x.
            unsafe {
                let k = channels.at(i);
                let value = *x.add(k);
                batch.row[i] = w.row(k);
                batch.pair[i / 2] |= i32::from(value.cast_unsigned()) << (16 * (i % 2));
                batch.total += i32::from(value);
            }
        }
        if channels.len() % 2 == 1 {
            batch.row[channels.len()] = batch.row[channels.len() - 1];
            batch.rows += 1;
        }
        batch
    }
}

/// Channels of one group: up to 32, ascending.
trait Channels: Copy {
    fn len(self) -> usize;
    /// # Safety
    /// `i < len`.
    unsafe fn at(self, i: usize) -> usize;
}

/// All of a group: the first of them.
#[derive(Clone, Copy)]
struct All(usize);

impl Channels for All {
    #[inline(always)]
    fn len(self) -> usize {
        QUANT_GROUP
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        self.0 + i
    }
}

impl Channels for &[u32] {
    #[inline(always)]
    fn len(self) -> usize {
        self.len()
    }
    #[inline(always)]
    unsafe fn at(self, i: usize) -> usize {
        // SAFETY: by contract.
        unsafe { *self.get_unchecked(i) as usize }
    }
}

/// A [`Quantized`] as pointers.
#[derive(Clone, Copy)]
struct Columns {
    data: *const u8,
    row_bytes: usize,
    run: usize,
    scale: *const u16,
    min: *const u16,
    width: usize,
    cols: usize,
}

impl Columns {
    #[inline(always)]
    fn new(w: &Quantized<'_>) -> Columns {
        let (data, scale, min, width, run) = w.parts();
        let row_bytes = w.whole().row_bytes(width);
        Columns { data, row_bytes, run, scale, min, width, cols: w.cols() }
    }

    /// # Safety
    /// The matrix has columns and row `k`.
    #[inline(always)]
    unsafe fn row(&self, k: usize) -> *const u8 {
        // SAFETY: the row's first byte lies within the data.
        unsafe { self.data.add(crate::matrix::dealt(k, self.run) * self.row_bytes) }
    }

    /// Group `g`'s from block `block` of columns on.
    #[inline(always)]
    fn group(&self, g: usize, block: usize) -> Scales {
        let column = block * COLS;
        let at = g * self.width + column;
        Scales { column, scale: self.scale.wrapping_add(at), min: self.min.wrapping_add(at) }
    }
}

/// Scales and minima of a group from some column on.
#[derive(Clone, Copy)]
struct Scales {
    column: usize,
    scale: *const u16,
    /// Means nothing where there are none.
    min: *const u16,
}

/// The whole numbers of a matrix, as a type.
trait Whole: Copy {
    /// Bytes of [`COLS`] columns.
    const BYTES: usize;
    const MIN: bool;
    /// # Safety
    /// `a` and `b` are valid for reading [`Whole::BYTES`].
    unsafe fn duos<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::Duos;
    /// Of two blocks, in the order that [`Whole::sums2_at`] takes back.
    ///
    /// # Safety
    /// `a` and `b` are valid for reading twice [`Whole::BYTES`].
    unsafe fn duos2<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::Duos; 2];
    /// Columns `v·LANES..(v + 1)·LANES` of two blocks.
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V;
}

#[derive(Clone, Copy)]
struct Q8;
#[derive(Clone, Copy)]
struct Q4;

impl Whole for Q8 {
    const BYTES: usize = 32;
    const MIN: bool = false;
    #[inline(always)]
    unsafe fn duos<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::Duos {
        // SAFETY: the same contract.
        unsafe { s.duos_i8(a.cast(), b.cast()) }
    }
    #[inline(always)]
    unsafe fn duos2<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::Duos; 2] {
        // SAFETY: the same contract.
        unsafe { [Self::duos(s, a, b), Self::duos(s, a.add(Self::BYTES), b.add(Self::BYTES))] }
    }
    #[inline(always)]
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V {
        s.sums_at(sums[v / (COLS / S::LANES)], v % (COLS / S::LANES))
    }
}

impl Whole for Q4 {
    const BYTES: usize = 16;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn duos<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::Duos {
        // SAFETY: the same contract.
        unsafe { s.duos_u4(a, b) }
    }
    #[inline(always)]
    unsafe fn duos2<S: Simd>(s: S, a: *const u8, b: *const u8) -> [S::Duos; 2] {
        // SAFETY: the same contract.
        unsafe { s.duos2_u4(a, b) }
    }
    #[inline(always)]
    fn sums2_at<S: Simd>(s: S, sums: [S::Sums; 2], v: usize) -> S::V {
        s.sums2_u4_at(sums, v)
    }
}

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`.
#[inline(always)]
pub(crate) unsafe fn gemv_q<S: Simd>(s: S, y: &mut [f32], x: &[i16], x_scale: &[f32], w: Quantized<'_>) {
    if y.is_empty() || x.is_empty() {
        return;
    }
    let (y, x, x_scale, columns) = (y.as_mut_ptr(), x.as_ptr(), x_scale.as_ptr(), Columns::new(&w));
    // SAFETY: the shapes are the caller's, and every group is below the number of groups.
    unsafe {
        let batch = |g: usize| Batch::new(&columns, x, g, All(g * QUANT_GROUP));
        let mut next = batch(0);
        for g in 0..w.groups() {
            let this = std::mem::replace(&mut next, batch((g + 1).min(w.groups() - 1)));
            match w.whole() {
                WholeType::Q8 => through::<S, Q8>(s, y, x_scale, &columns, &this, &next),
                WholeType::Q4 => through::<S, Q4>(s, y, x_scale, &columns, &this, &next),
            }
        }
    }
}

/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`, `active` below `rows`.
#[inline(always)]
pub(crate) unsafe fn gemv_sparse_q<S: Simd>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: &[u32],
    w: Quantized<'_>,
) -> usize {
    // The channels of the first group of a list, and the rest of it.
    let cut = |active: &[u32]| {
        let group = active.first().map_or(0, |&k| k as usize / QUANT_GROUP);
        active.iter().take_while(|&&k| k as usize / QUANT_GROUP == group).count()
    };
    if y.is_empty() {
        return active.chunk_by(|&a, &b| a as usize / QUANT_GROUP == b as usize / QUANT_GROUP).count();
    }
    let (y, x, x_scale, columns) = (y.as_mut_ptr(), x.as_ptr(), x_scale.as_ptr(), Columns::new(&w));
    let batch = |channels: &[u32]| {
        let group = channels.first().map_or(0, |&k| k as usize / QUANT_GROUP);
        // SAFETY: the indices are the caller's, below the number of rows.
        unsafe { Batch::new(&columns, x, group, channels) }
    };
    let (first, mut rest) = active.split_at(cut(active));
    let mut next = batch(first);
    let mut read = 0;
    while next.rows > 0 {
        let (channels, after) = rest.split_at(cut(rest));
        rest = after;
        let this = std::mem::replace(&mut next, batch(channels));
        // SAFETY: the shapes are the caller's.
        unsafe {
            match w.whole() {
                WholeType::Q8 => through::<S, Q8>(s, y, x_scale, &columns, &this, &next),
                WholeType::Q4 => through::<S, Q4>(s, y, x_scale, &columns, &this, &next),
            }
        }
        read += 1;
    }
    read
}

/// One group through all columns.
///
/// # Safety
/// `y` has `w.cols > 0` elements, `x_scale` one for the group; both batches are of `w`.
#[inline(always)]
unsafe fn through<S: Simd, W: Whole>(s: S, y: *mut f32, x_scale: *const f32, w: &Columns, this: &Batch, next: &Batch) {
    let bytes = w.cols / COLS * W::BYTES;
    // SAFETY: the group has a scale.
    let scale = unsafe { *x_scale.add(this.group) };
    let total = scale * this.total as f32;
    let mut done = 0;
    while done < bytes {
        // A line of each row: what follows it, or what comes first of the next group.
        let ahead = done + AHEAD;
        if ahead < bytes {
            for row in &this.row[..this.rows] {
                s.prefetch(row.wrapping_add(ahead));
            }
        } else if ahead - bytes.next_multiple_of(LINE) < bytes {
            for row in &next.row[..next.rows] {
                s.prefetch(row.wrapping_add(ahead - bytes.next_multiple_of(LINE)));
            }
        }
        let end = bytes.min(done + LINE);
        // SAFETY: the columns from `done` to `end` lie within the rows.
        unsafe {
            while done + 2 * W::BYTES <= end {
                let mut sums = [s.zero_sums(); 2];
                for p in 0..this.rows / 2 {
                    let x = s.splat_pair(this.pair[p]);
                    let duos = W::duos2(s, this.row[2 * p].add(done), this.row[2 * p + 1].add(done));
                    sums = [s.add_duos(sums[0], duos[0], x), s.add_duos(sums[1], duos[1], x)];
                }
                let at = w.group(this.group, done / W::BYTES);
                finish::<S, W, 2>(s, y.add(at.column), |v| W::sums2_at(s, sums, v), at, scale, total);
                done += 2 * W::BYTES;
            }
            while done < end {
                let mut sums = s.zero_sums();
                for p in 0..this.rows / 2 {
                    let duos = W::duos(s, this.row[2 * p].add(done), this.row[2 * p + 1].add(done));
                    sums = s.add_duos(sums, duos, s.splat_pair(this.pair[p]));
                }
                let at = w.group(this.group, done / W::BYTES);
                finish::<S, W, 1>(s, y.add(at.column), |v| s.sums_at(sums, v), at, scale, total);
                done += W::BYTES;
            }
        }
    }
}

/// Adds a group's sums to `N` blocks of columns of `y`: `sums` gives those of a vector of columns.
///
/// # Safety
/// `y`, and scales and minima at `at`, are valid for that many columns.
#[inline(always)]
unsafe fn finish<S: Simd, W: Whole, const N: usize>(
    s: S,
    y: *mut f32,
    sums: impl Fn(usize) -> S::V,
    at: Scales,
    x_scale: f32,
    total: f32,
) {
    let (factor, total) = (s.splat(x_scale), s.splat(total));
    for v in 0..N * COLS / S::LANES {
        let c = v * S::LANES;
        // SAFETY: LANES elements from c on are below N·COLS.
        unsafe {
            let mut acc = s.fma(s.mul(factor, s.load_f16(at.scale.add(c))), sums(v), s.load(y.add(c)));
            if W::MIN {
                acc = s.fma(s.load_f16(at.min.add(c)), total, acc);
            }
            s.store(y.add(c), acc);
        }
    }
}

/// # Safety
/// See [`crate::vector`]: `Y [M, cols]`, `X [M, rows]`.
#[inline(always)]
pub(crate) unsafe fn gemm_q<S: Simd>(s: S, mut y: MatMut<'_>, x: WholeRef<'_>, w: Quantized<'_>) {
    if y.rows() == 0 || w.cols() == 0 || w.rows() == 0 {
        return;
    }
    if y.rows() == 1 {
        let (whole, scale) = x.row(0);
        // SAFETY: the same contract, with one row.
        return unsafe { gemv_q(s, y.row_mut(0), whole, scale, w) };
    }
    // SAFETY: the shapes are the caller's, none of them 0.
    unsafe {
        match w.whole() {
            WholeType::Q8 => many::<S, Q8>(s, &mut y, x, w),
            WholeType::Q4 => many::<S, Q4>(s, &mut y, x, w),
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
unsafe fn many<S: Simd, W: Whole>(s: S, y: &mut MatMut<'_>, x: WholeRef<'_>, w: Quantized<'_>) {
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
                        let mut panel = [[MaybeUninit::<S::Duos>::uninit(); 2]; PAIRS];
                        for p in 0..PAIRS {
                            let duos = W::duos2(s, row(2 * p, block), row(2 * p + 1, block));
                            panel[p] = duos.map(MaybeUninit::new);
                        }
                        let at = columns.group(g, block);
                        if S::MANY_REGISTERS && S::LANES == 16 {
                            tiles::<S, W, 4>(s, token, tokens, &panel, at, &totals);
                        } else {
                            tiles::<S, W, 1>(s, token, tokens, &panel, at, &totals);
                        }
                        block += 2;
                    }
                    if block < end {
                        let mut panel = [MaybeUninit::<S::Duos>::uninit(); PAIRS];
                        for p in 0..PAIRS {
                            panel[p].write(W::duos(s, row(2 * p, block), row(2 * p + 1, block)));
                        }
                        let at = columns.group(g, block);
                        for m in 0..tokens {
                            let t = token(m);
                            let mut sums = s.zero_sums();
                            for p in 0..PAIRS {
                                sums = s.add_duos(sums, panel[p].assume_init(), s.splat_pair(t.pair(p)));
                            }
                            finish::<S, W, 1>(s, t.y.add(at.column), |v| s.sums_at(sums, v), at, t.scale, totals[m]);
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

/// Two blocks of columns of one group, for all tokens, `T` at a time.
///
/// # Safety
/// `token` gives each of `tokens` tokens, whose outputs have the columns; the panel is filled.
#[inline(always)]
unsafe fn tiles<S: Simd, W: Whole, const T: usize>(
    s: S,
    token: impl Fn(usize) -> Token,
    tokens: usize,
    panel: &[[MaybeUninit<S::Duos>; 2]; PAIRS],
    at: Scales,
    totals: &[f32; TOKENS],
) {
    let mut m = 0;
    // SAFETY: m stays below `tokens`; the rest is the caller's.
    unsafe {
        while m + T <= tokens {
            tile::<S, W, T>(s, std::array::from_fn(|t| token(m + t)), panel, at, &totals[m..]);
            m += T;
        }
        while m < tokens {
            tile::<S, W, 1>(s, [token(m)], panel, at, &totals[m..]);
            m += 1;
        }
    }
}

/// Two blocks of columns of one group, for `T` tokens.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn tile<S: Simd, W: Whole, const T: usize>(
    s: S,
    token: [Token; T],
    panel: &[[MaybeUninit<S::Duos>; 2]; PAIRS],
    at: Scales,
    totals: &[f32],
) {
    let mut sums = [[s.zero_sums(); 2]; T];
    for p in 0..PAIRS {
        // SAFETY: the panel is filled; each token has the group's inputs.
        unsafe {
            let duos = [panel[p][0].assume_init(), panel[p][1].assume_init()];
            for t in 0..T {
                let x = s.splat_pair(token[t].pair(p));
                sums[t] = [s.add_duos(sums[t][0], duos[0], x), s.add_duos(sums[t][1], duos[1], x)];
            }
        }
    }
    for t in 0..T {
        // SAFETY: each token's outputs have the columns.
        unsafe {
            let y = token[t].y.add(at.column);
            finish::<S, W, 2>(s, y, |v| W::sums2_at(s, sums[t], v), at, token[t].scale, totals[t]);
        }
    }
}
