//! `y += x·W` in whole numbers, column form (`crate::quantized` has the order of sums).
//!
//! A group of input channels at a time: two rows meet as pairs, whose sums of products are one instruction on most CPUs,
//! and the sums of 32 columns stay in registers until the group's last pair. The rows of a group are as many streams;
//! what each goes on with is prefetched, and at its end the rows of the next group.

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
}

/// The whole numbers of a matrix, as a type.
trait Whole: Copy {
    /// Bytes of [`COLS`] columns.
    const BYTES: usize;
    const MIN: bool;
    /// # Safety
    /// `a` and `b` are valid for reading [`Whole::BYTES`].
    unsafe fn duos<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::Duos;
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
}

impl Whole for Q4 {
    const BYTES: usize = 16;
    const MIN: bool = true;
    #[inline(always)]
    unsafe fn duos<S: Simd>(s: S, a: *const u8, b: *const u8) -> S::Duos {
        // SAFETY: the same contract.
        unsafe { s.duos_u4(a, b) }
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
unsafe fn through<S: Simd, W: Whole>(
    s: S,
    y: *mut f32,
    x_scale: *const f32,
    w: &Columns,
    this: &Batch,
    next: &Batch,
) {
    let bytes = w.cols / COLS * W::BYTES;
    // SAFETY: the group has a scale.
    let scale = unsafe { *x_scale.add(this.group) };
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
                columns::<S, W, 2>(s, y, scale, w, this, done);
                done += 2 * W::BYTES;
            }
            while done < end {
                columns::<S, W, 1>(s, y, scale, w, this, done);
                done += W::BYTES;
            }
        }
    }
}

/// `N` blocks of columns, from byte `start` of each row.
///
/// # Safety
/// As for [`through`], and the blocks are there.
#[inline(always)]
unsafe fn columns<S: Simd, W: Whole, const N: usize>(
    s: S,
    y: *mut f32,
    scale: f32,
    w: &Columns,
    this: &Batch,
    start: usize,
) {
    let mut sums = [s.zero_sums(); N];
    for p in 0..this.rows / 2 {
        let x = s.splat_pair(this.pair[p]);
        for n in 0..N {
            // SAFETY: the rows have those bytes.
            unsafe {
                let at = start + n * W::BYTES;
                let duos = W::duos(s, this.row[2 * p].add(at), this.row[2 * p + 1].add(at));
                sums[n] = s.add_duos(sums[n], duos, x);
            }
        }
    }
    for n in 0..N {
        let c = (start / W::BYTES + n) * COLS;
        // SAFETY: the block's columns are there, in y and in the group's scales.
        unsafe {
            let from = this.group * w.width + c;
            let min = if W::MIN { w.min.add(from) } else { w.min };
            finish::<S, W>(s, y.add(c), sums[n], w.scale.add(from), min, scale, this.total);
        }
    }
}

/// Adds a group's sums to [`COLS`] columns of `y`.
///
/// # Safety
/// `y`, `scale` and, for a type that has one, `min` are valid for [`COLS`] elements.
#[inline(always)]
unsafe fn finish<S: Simd, W: Whole>(
    s: S,
    y: *mut f32,
    sums: S::Sums,
    scale: *const u16,
    min: *const u16,
    x_scale: f32,
    total: i32,
) {
    let factor = s.splat(x_scale);
    let total = s.splat(x_scale * total as f32);
    for v in 0..COLS / S::LANES {
        let c = v * S::LANES;
        // SAFETY: LANES elements from c on are below COLS.
        unsafe {
            let mut acc = s.fma(s.mul(factor, s.load_f16(scale.add(c))), s.sums_at(sums, v), s.load(y.add(c)));
            if W::MIN {
                acc = s.fma(s.load_f16(min.add(c)), total, acc);
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

/// A block of columns of one group is taken apart into pairs once for all tokens.
///
/// # Safety
/// As for [`gemm_q`], and nothing is empty.
#[inline(always)]
unsafe fn many<S: Simd, W: Whole>(s: S, y: &mut MatMut<'_>, x: WholeRef<'_>, w: Quantized<'_>) {
    let (tokens, groups, columns) = (x.rows(), w.groups(), Columns::new(&w));
    let (whole, x_scale, (stride, scale_stride)) = x.parts();
    let (y, y_stride) = (y.as_mut_ptr(), y.stride());
    // SAFETY: every row, group and block of columns is below its number.
    unsafe {
        for block in 0..columns.cols / COLS {
            for g in 0..groups {
                let row = |k: usize| columns.row(g * QUANT_GROUP + k).add(block * W::BYTES);
                let panel: [S::Duos; PAIRS] = std::array::from_fn(|p| W::duos(s, row(2 * p), row(2 * p + 1)));
                let from = g * columns.width + block * COLS;
                let (scale, min) = (columns.scale.add(from), columns.min.wrapping_add(if W::MIN { from } else { 0 }));
                let mut m = 0;
                let tile = |m: usize, n: usize| {
                    let x = |t: usize| whole.add((m + t) * stride + g * QUANT_GROUP);
                    let y = |t: usize| y.add((m + t) * y_stride + block * COLS);
                    let x_scale = |t: usize| *x_scale.add((m + t) * scale_stride + g);
                    match n {
                        4 => tokens_tile::<S, W, 4>(s, x, y, x_scale, &panel, scale, min),
                        2 => tokens_tile::<S, W, 2>(s, x, y, x_scale, &panel, scale, min),
                        _ => tokens_tile::<S, W, 1>(s, x, y, x_scale, &panel, scale, min),
                    }
                };
                let most = if S::MANY_REGISTERS { 4 } else { 2 };
                while m < tokens {
                    let n = match tokens - m {
                        left if left >= most => most,
                        left if left >= 2 => 2,
                        _ => 1,
                    };
                    tile(m, n);
                    m += n;
                }
            }
        }
    }
}

/// One block of columns of one group, for `T` tokens.
///
/// # Safety
/// `x` gives [`QUANT_GROUP`] elements of each token, `y` [`COLS`]; `scale` and `min` as for [`finish`].
#[inline(always)]
unsafe fn tokens_tile<S: Simd, W: Whole, const T: usize>(
    s: S,
    x: impl Fn(usize) -> *const i16,
    y: impl Fn(usize) -> *mut f32,
    x_scale: impl Fn(usize) -> f32,
    panel: &[S::Duos; PAIRS],
    scale: *const u16,
    min: *const u16,
) {
    let mut sums = [s.zero_sums(); T];
    for p in 0..PAIRS {
        for t in 0..T {
            // SAFETY: the pair lies within the token's group.
            let pair = unsafe { x(t).add(2 * p).cast::<i32>().read_unaligned() };
            sums[t] = s.add_duos(sums[t], panel[p], s.splat_pair(pair));
        }
    }
    for t in 0..T {
        // SAFETY: the token's group has QUANT_GROUP elements; the rest is the caller's.
        unsafe {
            let total = if W::MIN { (0..QUANT_GROUP).map(|k| i32::from(*x(t).add(k))).sum() } else { 0 };
            finish::<S, W>(s, y(t), sums[t], scale, min, x_scale(t), total);
        }
    }
}
