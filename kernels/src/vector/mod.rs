//! The algorithms, written once over a small vector trait.
//!
//! A function here is `#[inline(always)]` and generic over [`Simd`]; an instruction set's file
//! instantiates it within a function that enables the set's features, which is where the compiler
//! may use them. Nothing here is called from anywhere else. A closure that calls operations of [`Simd`] is not
//! given to the standard library (`array::from_fn`, `map`) where it is more than a line or two: one that is not
//! inlined is compiled without the features, and each operation is a call (`tests/abi/check.py` looks for that).
//!
//! The functions are unsafe since they go through pointers: their shapes are those documented and
//! asserted by [`Kernels`](crate::Kernels), whose method of the same name is the only caller.

// Registers are arrays here, several indexed by one counter whose bound is a constant.
#![allow(clippy::needless_range_loop)]

pub(crate) mod activation;
pub(crate) mod dot;
mod elem;
pub(crate) mod elementwise;
mod exp;
pub(crate) mod gemm;
pub(crate) mod gemv;
mod list;
pub(crate) mod quantized;
pub(crate) mod reduce;
pub(crate) mod screen;
pub(crate) mod select;
mod simd;
// Its entry points enable a feature that every x86-64 has; other processors have 4 lanes of their own.
#[cfg(all(test, target_arch = "x86_64"))]
mod soft;

pub(crate) use simd::Simd;

/// The entry points of one instruction set and the table of them.
///
/// With `@whole`: those of the products in whole numbers alone.
///
/// `$token` must have an associated function `here`, enabling `$features`, that makes the token.
macro_rules! entries {
    ($isa:expr, $token:ty, $features:literal) => {
        use crate::{
            Activation, Elems, MatMut, MatRef, Matrix, Quantized, QuantizedRows, QuantizedRef, ScreenInput, ScreenRows, table::Table, vector
        };

        /// This instruction set's operations, for a CPU that has it.
        pub(crate) static TABLE: Table = OPERATIONS;

        pub(crate) const OPERATIONS: Table = Table {
            isa: $isa,
            gemv,
            gemv_sparse,
            gemm,
            dot_rows,
            dot_rows_many,
            dot_rows_screen,
            select,
            mask,
            rms_norm,
            layer_norm,
            softmax,
            activate,
            soft_cap,
            add,
            rope,
            widen,
            narrow_f16,
            quantize,
            gemv_q,
            gemm_q,
            dot_rows_q,
            dot_rows_many_q,
        };

        $crate::vector::entries! { @each $token, $features;
            gemv = vector::gemv::gemv(y: &mut [f32], x: &[f32], w: Matrix<'_>);
            gemv_sparse = vector::gemv::gemv_sparse(y: &mut [f32], x: &[f32], active: &[u32], w: Matrix<'_>);
            gemm = vector::gemm::gemm(y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>);
            dot_rows = vector::dot::dot_rows(y: &mut [f32], x: &[f32], w: Matrix<'_>);
            dot_rows_many = vector::dot::dot_rows_many(y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>);
            dot_rows_screen = vector::screen::dot_rows_screen(y: &mut [f32], x: ScreenInput<'_>, w: ScreenRows<'_>);
            select = vector::select::select(x: &[f32], score: Option<&[f32]>, threshold: f32, out: &mut [u32]) -> usize;
            mask = vector::select::mask(y: &mut [f32], x: &[f32], score: Option<&[f32]>, threshold: f32) -> usize;
            rms_norm = vector::reduce::rms_norm(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32);
            layer_norm = vector::reduce::layer_norm(y: &mut [f32], x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32);
            softmax = vector::reduce::softmax(x: &mut [f32], scale: f32);
            activate = vector::activation::activate(kind: Activation, y: &mut [f32], x: &[f32], up: Option<&[f32]>);
            soft_cap = vector::activation::soft_cap(x: &mut [f32], cap: f32);
            add = vector::elementwise::add(y: &mut [f32], x: &[f32]);
            rope = vector::elementwise::rope(x: &mut [f32], cos: &[f32], sin: &[f32]);
            widen = vector::elementwise::widen(y: &mut [f32], x: Elems<'_>);
            narrow_f16 = vector::elementwise::narrow_f16(y: &mut [u16], x: &[f32]);
            quantize = vector::quantized::quantize(whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32);
            dot_rows_q = vector::quantized::rows::dot_rows_q(y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>);
            dot_rows_many_q = vector::quantized::rows::dot_rows_many_q(y: MatMut<'_>, x: QuantizedRef<'_>, w: QuantizedRows<'_>);
        }
        $crate::vector::entries! { @whole $token, $features }
    };
    // Products in whole numbers, which some sets have others of.
    (@whole $token:ty, $features:literal) => {
        $crate::vector::entries! { @each $token, $features;
            gemv_q = vector::quantized::gemv::gemv_q(
                y: &mut [f32], x: &[i16], x_scale: &[f32], active: Option<&[u32]>, w: Quantized<'_>, far: bool
            ) -> usize;
            gemm_q = vector::quantized::gemm::gemm_q(y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>, far: bool);
        }
    };
    (@each $token:ty, $features:literal;
     $($name:ident = $($path:ident)::+($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name($($arg: $type),*) $(-> $result)? {
            // SAFETY: the caller answers for the shapes.
            unsafe { $($path)::+(<$token>::here(), $($arg),*) }
        }
    )*};
}
pub(crate) use entries;
