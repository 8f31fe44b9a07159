//! The stored formats, as types, so that an algorithm is compiled for each.

use std::marker::PhantomData;

use super::Simd;
use crate::{
    Elems, Matrix,
    formats::{bf16, f16},
    matrix,
};

/// A stored format.
pub(super) trait Elem: Copy {
    type Raw: Copy;
    fn widen(raw: Self::Raw) -> f32;
    /// # Safety
    /// `p` is valid for reading `S::LANES` elements.
    unsafe fn load<S: Simd>(s: S, p: *const Self::Raw) -> S::V;
}

#[derive(Clone, Copy)]
pub(super) struct F32;
#[derive(Clone, Copy)]
pub(super) struct F16;
#[derive(Clone, Copy)]
pub(super) struct Bf16;
#[derive(Clone, Copy)]
pub(super) struct I8;

impl Elem for F32 {
    type Raw = f32;
    #[inline(always)]
    fn widen(raw: f32) -> f32 {
        raw
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f32) -> S::V {
        // SAFETY: the same contract.
        unsafe { s.load(p) }
    }
}

impl Elem for F16 {
    type Raw = u16;
    #[inline(always)]
    fn widen(raw: u16) -> f32 {
        f16::to_f32(raw)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u16) -> S::V {
        // SAFETY: the same contract.
        unsafe { s.load_f16(p) }
    }
}

impl Elem for Bf16 {
    type Raw = u16;
    #[inline(always)]
    fn widen(raw: u16) -> f32 {
        bf16::to_f32(raw)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const u16) -> S::V {
        // SAFETY: the same contract.
        unsafe { s.load_bf16(p) }
    }
}

impl Elem for I8 {
    type Raw = i8;
    #[inline(always)]
    fn widen(raw: i8) -> f32 {
        f32::from(raw)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const i8) -> S::V {
        // SAFETY: the same contract.
        unsafe { s.load_i8(p) }
    }
}

/// A [`Matrix`] whose format is known.
#[derive(Clone, Copy)]
pub(super) struct MatrixView<'a, E: Elem> {
    pub data: *const E::Raw,
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
    pub run: usize,
    life: PhantomData<&'a [E::Raw]>,
}

impl<'a, E: Elem> MatrixView<'a, E> {
    #[inline(always)]
    pub fn new(_: E, data: &'a [E::Raw], of: Matrix<'a>) -> Self {
        let data = data.as_ptr();
        Self { data, rows: of.rows(), cols: of.cols(), stride: of.stride(), run: of.run(), life: PhantomData }
    }

    /// `len` columns from column `start` on.
    ///
    /// # Safety
    /// `start + len <= cols`.
    #[inline(always)]
    pub unsafe fn columns(self, start: usize, len: usize) -> Self {
        // SAFETY: the column lies within the first row, if there is one.
        Self { data: if self.rows == 0 { self.data } else { unsafe { self.data.add(start) } }, cols: len, ..self }
    }

    /// The start of row `k`.
    ///
    /// # Safety
    /// `k < rows` and `cols > 0`: the matrix then has the row, by its constructor.
    #[inline(always)]
    pub unsafe fn row(&self, k: usize) -> *const E::Raw {
        // SAFETY: the row's first element lies within the data.
        unsafe { self.data.add(matrix::dealt(k, self.run) * self.stride) }
    }
}

/// Runs the body with `$view` the matrix in its own format.
macro_rules! with_format {
    ($matrix:expr, |$view:ident| $body:expr) => {{
        let matrix: $crate::Matrix<'_> = $matrix;
        match matrix.elems() {
            $crate::Elems::F32(data) => {
                let $view = $crate::vector::elem::MatrixView::new($crate::vector::elem::F32, data, matrix);
                $body
            }
            $crate::Elems::F16(data) => {
                let $view = $crate::vector::elem::MatrixView::new($crate::vector::elem::F16, data, matrix);
                $body
            }
            $crate::Elems::Bf16(data) => {
                let $view = $crate::vector::elem::MatrixView::new($crate::vector::elem::Bf16, data, matrix);
                $body
            }
            $crate::Elems::I8(data) => {
                let $view = $crate::vector::elem::MatrixView::new($crate::vector::elem::I8, data, matrix);
                $body
            }
        }
    }};
}
pub(super) use with_format;

/// `y = x` as f32.
///
/// # Safety
/// `x` and `y` are of one length.
#[inline(always)]
pub(super) unsafe fn widen_all<S: Simd>(s: S, y: &mut [f32], x: Elems<'_>) {
    #[inline(always)]
    unsafe fn run<S: Simd, E: Elem>(s: S, _: E, y: &mut [f32], x: &[E::Raw]) {
        let vectors = y.len() / S::LANES * S::LANES;
        for i in (0..vectors).step_by(S::LANES) {
            // SAFETY: LANES elements from i on lie within both, which are of one length.
            unsafe { s.store(y.as_mut_ptr().add(i), E::load(s, x.as_ptr().add(i))) }
        }
        for (y, &x) in y[vectors..].iter_mut().zip(&x[vectors..]) {
            *y = E::widen(x);
        }
    }
    // SAFETY: the same contract.
    unsafe {
        match x {
            Elems::F32(x) => run(s, F32, y, x),
            Elems::F16(x) => run(s, F16, y, x),
            Elems::Bf16(x) => run(s, Bf16, y, x),
            Elems::I8(x) => run(s, I8, y, x),
        }
    }
}
