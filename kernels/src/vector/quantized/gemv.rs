//! `y += x·W`, one token: bound by the bytes of `W`.
//!
//! A tile is a group of channels and some columns. It is gone through step by step, a step being a register's bytes of
//! each of its rows, whose sums never leave the registers. Meanwhile what comes next is sent for ([`Ahead`]), so that
//! reading goes on while a tile is computed.

use super::{Columns, Q4, Q8, SUMS, Totals, Whole, finish, group::*, scale_and_min};
use crate::{Active, QUANT_GROUP, Quantized, formats::Packing, vector::Integers};

/// Bytes of each row that make up a tile at most: two tiles of 128 KiB fit a small L2.
const TILE: usize = 4096;

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
    far: bool,
) -> usize {
    let active = active.map(|active| active.as_slice());
    if w.cols() == 0 {
        // Nothing is read, but the count is the channels' all the same.
        let group = |k: u32| k as usize / QUANT_GROUP;
        return active.map_or(w.groups(), |active| active.chunk_by(|&a, &b| group(a) == group(b)).count());
    }
    let list = List { active, rows: w.rows() };
    let mut groups = 0;
    let columns = TILE * 8 / w.quant().bits();
    for c in (0..w.cols()).step_by(columns) {
        let end = w.cols().min(c + columns);
        let columns = Columns::new(&w.columns(c..end));
        let (y, x, x_scale) = (y[c..end].as_mut_ptr(), x.as_ptr(), x_scale.as_ptr());
        // SAFETY: those columns are there; the rest is the caller's, as is that indices are below the number of rows.
        unsafe {
            groups = match w.quant().format().packing {
                Packing::Bytes => tile::<S, Q8>(s, y, x, x_scale, list, &columns, far),
                Packing::Nibbles => tile::<S, Q4>(s, y, x, x_scale, list, &columns, far),
            };
        }
    }
    groups
}

/// The number of groups.
///
/// # Safety
/// As for [`gemv_q`].
#[inline(always)]
unsafe fn tile<S: Integers, W: Whole>(
    s: S,
    y: *mut f32,
    x: *const i16,
    x_scale: *const f32,
    list: List<'_>,
    w: &Columns,
    far: bool,
) -> usize {
    let bytes = w.cols / W::COLUMNS;
    let (mut first, mut second) = (Places::NONE, Places::NONE);
    let (mut this, mut next) = (&mut first, &mut second);
    let (offsets, mut groups) = (Offsets::new(w), 0);
    // SAFETY: places are within the list, groups those of its channels.
    unsafe {
        let mut at = this.read(w, &offsets, x, list, 0, far);
        // Nothing is computed yet while the first one comes.
        Ahead::new([this, this], w, bytes, 1, far).step(s, 0);
        while !this.is_empty() {
            at = next.read(w, &offsets, x, list, at, far);
            let ahead = Ahead::new([this, next], w, bytes, bytes.div_ceil(S::STEP), far);
            group::<S, W>(s, y, this, *x_scale.add(this.group), w, ahead);
            groups += 1;
            std::mem::swap(&mut this, &mut next);
        }
    }
    groups
}

/// A group's rows through all columns.
///
/// # Safety
/// `y` has `w.cols` elements; `this` holds rows of `w`.
#[inline(always)]
unsafe fn group<S: Integers, W: Whole>(
    s: S,
    y: *mut f32,
    this: &Places,
    x_scale: f32,
    w: &Columns,
    mut ahead: Ahead<'_>,
) {
    let inputs = this.inputs(s);
    let factors = [s.splat(x_scale), s.splat(x_scale * inputs.sum() as f32)];
    let bytes = w.cols / W::COLUMNS;
    let mut done = 0;
    while done < bytes {
        ahead.step(s, done);
        let part = S::STEP.min(bytes - done);
        let column = done * W::COLUMNS;
        let at = w.group(this.group, column);
        // SAFETY: the step's bytes lie within the rows, its columns within y and the group's scales.
        unsafe {
            let totals = totals::<S, W>(s, this, &inputs, done, part);
            for v in 0..W::SUMS {
                if v % 4 * S::LANES < part {
                    let c = W::column::<S>(v);
                    let shared = scale_and_min::<S, W>(s, at, c);
                    finish::<S, W>(s, y.add(column + c), totals[v], shared, factors);
                }
            }
        }
        done += part;
    }
}

/// A step's sums over a group.
///
/// # Safety
/// Each of the rows is valid for `part` bytes, `done` bytes into it.
#[inline(always)]
unsafe fn totals<S: Integers, W: Whole>(s: S, this: &Places, inputs: &Inputs, done: usize, part: usize) -> Totals<S> {
    let mut all = [s.zero_i32(); SUMS];
    // The high limb first, if there is one.
    let mut limb = usize::from(inputs.wide);
    loop {
        let mut sums = W::start(s, inputs.total[limb]);
        for q in 0..this.quads() {
            let row = |r: usize| this.row[4 * q + r].wrapping_add(done);
            // SAFETY: by contract.
            let quad = unsafe { s.quad([row(0), row(1), row(2), row(3)], part) };
            sums = W::add(s, sums, quad, s.splat_quad(inputs.limb[limb][q]));
        }
        let now = W::totals(s, sums, inputs.total[limb]);
        for v in 0..W::SUMS {
            all[v] = s.limbs(all[v], now[v]);
        }
        if limb == 0 {
            return all;
        }
        limb = 0;
    }
}
