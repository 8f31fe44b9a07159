//! `y += x·W`, one token: bound by the bytes of `W`.
//!
//! A tile is a group of channels and some columns. It is gone through step by step, a step being a register's bytes of
//! each of its rows, whose sums never leave the registers. Meanwhile what comes next is sent for ([`ReadAhead`]), so
//! that reading goes on while a tile is computed.
//!
//! Where few rows are to be read side by side ([`Prefetch::Few`]) a tile is gone through several times, some quads of
//! its rows each time, and sums wait in L1 in between: they are whole numbers, so the bits are the same.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Columns, Q4, Q8, QUADS, SUMS, Whole, ahead::*, finish, group::*, scale_and_min};
use crate::{Active, QUANT_GROUP, Quantized, formats::Packing, prefetch::Prefetch, vector::Integers};

/// Bytes of each row that make up a tile at most: two tiles of 128 KiB fit a small L2.
const TILE: usize = 4096;
/// How far ahead a row is sent for where few are read side by side.
const FURTHER: usize = 512;
/// Quads of rows that are read side by side where that is to be few: of a whole group's eight three, else at most four.
const FEW: usize = 3;
/// Steps of a tile whose sums wait: 8 KiB of them, 16 where inputs are wide.
const STEPS: usize = 16;

/// Sums of a tile's steps that wait for further rows, of each limb.
type WaitingSums<S, W> = [[MaybeUninit<<W as Whole>::Sums<S>>; 2]; STEPS];

/// The number of groups that channels are read of: of the `active` ones, or of all.
///
/// # Safety
/// See [`crate::vector`]: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`, `active.bound() <= rows`.
#[inline(always)]
pub(crate) unsafe fn gemv_q<S: Integers>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    active: Option<Active<'_>>,
    w: Quantized<'_>,
    prefetch: Prefetch,
) -> usize {
    let active = active.map(|active| active.as_slice());
    if w.cols() == 0 {
        // Nothing is read, but the count is the channels' all the same.
        let group = |k: u32| k as usize / QUANT_GROUP;
        return active.map_or(w.groups(), |active| active.chunk_by(|&a, &b| group(a) == group(b)).count());
    }
    let list = KeptChannels { active, rows: w.rows() };
    let prefetch = prefetch.of_rows(w.quant().row_bytes(w.cols()), active.is_some());
    // SAFETY: the shapes are the caller's, as is that indices are below the number of rows.
    unsafe {
        match w.quant().format().packing {
            Packing::Bytes => tiles::<S, Q8>(s, y, x, x_scale, list, w, prefetch),
            Packing::Nibbles => tiles::<S, Q4>(s, y, x, x_scale, list, w, prefetch),
        }
    }
}

/// Some columns of a matrix, and their outputs.
struct ColumnPart {
    w: Columns,
    y: *mut f32,
}

/// The number of groups. Behind the last one of some columns the first one of the next columns comes at once, so that
/// reading never waits.
///
/// # Safety
/// As for [`gemv_q`].
#[inline(always)]
unsafe fn tiles<S: Integers, W: Whole>(
    s: S,
    y: &mut [f32],
    x: &[i16],
    x_scale: &[f32],
    list: KeptChannels<'_>,
    w: Quantized<'_>,
    prefetch: Prefetch,
) -> usize {
    let columns = W::COLUMNS * if prefetch == Prefetch::Few { STEPS * S::STEP } else { TILE };
    let (cols, x, y) = (w.cols(), x.as_ptr(), y.as_mut_ptr());
    let part = |c: usize| ColumnPart { w: Columns::new(&w.columns(c..cols.min(c + columns))), y: y.wrapping_add(c) };
    let (mut first, mut second) = (GroupRows::NONE, GroupRows::NONE);
    let (mut this, mut next) = (&mut first, &mut second);
    let mut waiting: WaitingSums<S, W> = [const { [const { MaybeUninit::uninit() }; 2] }; STEPS];
    let (mut of_this, mut column) = (part(0), 0);
    let (offsets, ordered) = (Offsets::new(&of_this.w), prefetch == Prefetch::Far);
    let mut groups = 0;
    // SAFETY: places are within the list, groups those of its channels.
    unsafe {
        let mut at = this.read(&of_this.w, &offsets, x, list, 0, ordered);
        // Nothing is computed yet while the first one comes.
        ahead::<W>([this, this], some(this, 0, prefetch), &of_this.w, of_this.w.cols / W::COLUMNS, 1, prefetch)
            .start(s);
        while !this.is_empty() {
            groups += usize::from(column == 0);
            at = next.read(&of_this.w, &offsets, x, list, at, ordered);
            let mut other = None;
            if next.is_empty() {
                column += columns;
                if column < cols {
                    let of_next = part(column);
                    at = next.read(&of_next.w, &offsets, x, list, 0, ordered);
                    other = Some(of_next);
                }
            }
            let of_next = other.as_ref().unwrap_or(&of_this);
            let x_scale = *x_scale.as_ptr().add(this.group);
            group::<S, W>(s, [this, next], [&of_this, of_next], x_scale, prefetch, &mut waiting);
            if let Some(of_next) = other {
                of_this = of_next;
            }
            std::mem::swap(&mut this, &mut next);
        }
    }
    groups
}

/// The quads from `first` on that are read side by side: all, or of few nearly as many each time.
#[inline(always)]
fn some(places: &GroupRows, first: usize, prefetch: Prefetch) -> Range<usize> {
    let all = places.quads();
    let times = if prefetch == Prefetch::Few { ((all + 1) / FEW).max(1) } else { 1 };
    first..(first + all.div_ceil(times)).min(all)
}

/// What is sent for while `bytes` of each row of those quads of `this` are computed, in so many steps. `w` has the
/// columns of `next`.
#[inline(always)]
fn ahead<'a, W: Whole>(
    [this, next]: [&'a GroupRows; 2],
    quads: Range<usize>,
    w: &Columns,
    bytes: usize,
    steps: usize,
    prefetch: Prefetch,
) -> ReadAhead<'a> {
    if prefetch != Prefetch::Few {
        return ReadAhead::of_groups::<W>([this, next], w, bytes, steps, prefetch);
    }
    let (last, rows) = (quads.end == this.quads(), this.rows(quads.clone()));
    let later = if last { next.rows(some(next, 0, prefetch)) } else { this.rows(some(this, quads.end, prefetch)) };
    let near = Near::new([rows, later], bytes, FURTHER);
    ReadAhead::Near(if last { near.with_shared::<W>(next, w) } else { near })
}

/// A group's rows through all columns.
///
/// # Safety
/// `y` has `w.cols` elements; `this` holds rows of `w`. A tile of few rows at a time has at most [`STEPS`] steps.
#[inline(always)]
unsafe fn group<S: Integers, W: Whole>(
    s: S,
    places: [&GroupRows; 2],
    [of_this, of_next]: [&ColumnPart; 2],
    x_scale: f32,
    prefetch: Prefetch,
    waiting: &mut WaitingSums<S, W>,
) {
    let (this, w, y) = (places[0], &of_this.w, of_this.y);
    let inputs = this.inputs(s);
    let factors = [s.splat(x_scale), s.splat(x_scale * inputs.sum() as f32)];
    let bytes = w.cols / W::COLUMNS;
    let mut quads = some(this, 0, prefetch);
    loop {
        let last = quads.end == this.quads();
        let mut ahead = ahead::<W>(places, quads.clone(), &of_next.w, bytes, bytes.div_ceil(S::STEP), prefetch);
        for done in (0..bytes).step_by(S::STEP) {
            ahead.step(s, done);
            let part = S::STEP.min(bytes - done);
            let waiting = &mut waiting[done / S::STEP % STEPS];
            let mut totals = [s.zero_i32(); SUMS];
            // The high limb first, if there is one.
            for limb in (0..1 + usize::from(inputs.wide)).rev() {
                // SAFETY: the step's bytes lie within the rows; where quads came before, their sums were written.
                let sums = unsafe {
                    let sums = match quads.start {
                        0 => W::start(s, inputs.total[limb]),
                        _ => waiting[limb].assume_init(),
                    };
                    add::<S, W>(s, sums, this, quads.clone(), &inputs.limb[limb], done, part)
                };
                if last {
                    let now = W::totals(s, sums, inputs.total[limb]);
                    for v in 0..W::SUMS {
                        totals[v] = s.limbs(totals[v], now[v]);
                    }
                } else {
                    waiting[limb].write(sums);
                }
            }
            if !last {
                continue;
            }
            let column = done * W::COLUMNS;
            let at = w.group(this.group, column);
            for v in 0..W::SUMS {
                if v % 4 * S::LANES < part {
                    let c = W::column::<S>(v);
                    // SAFETY: the step's columns lie within y and the group's scales.
                    unsafe {
                        let shared = scale_and_min::<S, W>(s, at, c);
                        finish::<S, W>(s, y.add(column + c), totals[v], shared, factors);
                    }
                }
            }
        }
        if last {
            return;
        }
        quads = some(this, quads.end, prefetch);
    }
}

/// Adds the products of a limb's inputs with `part` bytes of those quads.
///
/// # Safety
/// Each of the rows is valid for `part` bytes, `done` bytes into it.
#[inline(always)]
unsafe fn add<S: Integers, W: Whole>(
    s: S,
    mut sums: W::Sums<S>,
    this: &GroupRows,
    quads: Range<usize>,
    x: &[i32; QUADS],
    done: usize,
    part: usize,
) -> W::Sums<S> {
    for q in quads {
        let row = |r: usize| this.row[4 * q + r].wrapping_add(done);
        // SAFETY: by contract.
        let quad = unsafe { s.quad([row(0), row(1), row(2), row(3)], part) };
        sums = W::add(s, sums, quad, s.splat_quad(x[q]));
    }
    sums
}
