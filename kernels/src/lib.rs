//! The arithmetic of rasp: pure functions over slices, one menu per instruction set.
//!
//! [`Kernels`] is the menu. It is made once, [for the best set the CPU has](Kernels::best) or
//! [for a given one](Kernels::for_isa), and is two words: copy it freely, share it between threads.
//!
//! # One sum, one order
//!
//! Every instruction set gives the **same bits**, since the order of every sum is fixed:
//!
//! - column form ([`gemv`](Kernels::gemv), [`gemv_sparse`](Kernels::gemv_sparse),
//!   [`gemm`](Kernels::gemm)): each output is a chain of fused multiply-adds in ascending `k`, from
//!   the value that `y` held;
//! - row form ([`dot_rows`](Kernels::dot_rows), [`dot_rows_many`](Kernels::dot_rows_many), and the
//!   sums within [`rms_norm`](Kernels::rms_norm), [`layer_norm`](Kernels::layer_norm) and
//!   [`softmax`](Kernels::softmax)): lane `l` of 32 sums the elements `k mod 32 = l` in ascending
//!   `k`; then lanes are folded in halves, 16, 8, 4, 2, 1 (lane `l` plus lane `l + half`).
//! - products in whole numbers ([`gemv_q`](Kernels::gemv_q), [`gemm_q`](Kernels::gemm_q) and their kin): the sum over a
//!   group of 32 channels is a whole number, exact in any order; over groups it is one chain of fused multiply-adds in
//!   ascending order, in row form ([`dot_rows_q`](Kernels::dot_rows_q)) 16 of them.
//!
//! Two things are left open. Where a result is a NaN, its sign and payload are unspecified. And on
//! x86 a host may have set flush-to-zero or denormals-are-zero (games do): the kernels run under
//! what they find, and results may then differ in subnormal numbers between instruction sets, since
//! conversions from `f16` do not heed the flags.
//!
//! # An instruction set more
//!
//! Operations are listed once, in `operations.rs`; algorithms are written once, in `vector/`, over the traits `Simd`
//! (floating point) and `Integers`. A set is one folder: a type that proves that the CPU has it, an implementation of
//! each, and two lines that make its entry points and their table. Then: a name in [`Isa`], an arm in the processor's
//! `table`, and the tests run over it too. `scalar.rs` shares none of that code, and nothing else uses its: it is the
//! truth that all are tested against, and an instruction set like others for processors without vectors.
//!
//! # Manners
//!
//! No allocation, no locks, no globals, no output. The methods assert the shapes that they document
//! and panic for nothing else. Slices of different roles never alias: the borrow checker sees to it.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod activation;
mod activations;
mod active;
mod exp;
pub mod formats;
mod isa;
mod matrix;
mod operations;
mod packed;
mod prefetch;
mod quantized;
mod scalar;
mod screen;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use activation::Activation;
pub use activations::{MatMut, MatRef};
pub use active::Active;
pub use formats::{QUANT_GROUP, QuantType, scale_and_min, with_scale_and_offset};
pub use isa::Isa;
pub use matrix::{Elems, Matrix, STREAMS, interleaved_place};
pub use packed::{PACKED_ROWS, PackedGroup};
pub use quantized::{NARROW, Quantized, QuantizedRef, QuantizedRows, WIDE};
pub use screen::{SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenInput, ScreenRows};

use operations::{Table, methods, operations};
use packed::Activations;
use prefetch::Prefetch;

/// The operations of that set, or `None` if this CPU (or this build) lacks it.
fn table_of(isa: Isa) -> Option<&'static Table> {
    match isa {
        Isa::Scalar => Some(&scalar::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Vnni => x86_64::table(isa),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot | Isa::NeonI8mm => aarch64::table(isa),
        // Those of other processors.
        _ => None,
    }
}

/// The menu of operations, for one instruction set that this CPU has.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
    /// How products in whole numbers read ahead.
    prefetch: Prefetch,
}

impl Kernels {
    /// The fastest set that this CPU has.
    pub fn best() -> Kernels {
        Isa::ALL.into_iter().rev().find_map(table_of).map_or_else(|| Kernels::new(&scalar::TABLE), Kernels::new)
    }

    /// That set, or `None` if this CPU (or this build) lacks it.
    pub fn for_isa(isa: Isa) -> Option<Kernels> {
        table_of(isa).map(Kernels::new)
    }

    fn new(table: &'static Table) -> Kernels {
        Kernels { table, prefetch: Prefetch::of_this_cpu() }
    }

    /// The sets that this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|&isa| table_of(isa).is_some())
    }

    /// Which set this is.
    pub fn isa(&self) -> Isa {
        self.table.isa
    }

    /// The channels `k` with `|x[k]|·score[k] > threshold` (`score` absent: 1), ascending.
    ///
    /// A NaN on either side of the comparison keeps the channel, so that it shows in the result.
    /// Shapes: `x [n]`, `score [n]`, `out` at least `[n]` and used as scratch beyond the result;
    /// `n` fits a `u32`.
    pub fn select<'a>(&self, x: &[f32], score: Option<&[f32]>, threshold: f32, out: &'a mut [u32]) -> Active<'a> {
        let count = self.select_into(x, score, threshold, out);
        Active::from_selection(&out[..count], x.len())
    }

    /// `y[c] += Σ_k x[k]·W[k, c]`: column form, `W` input-channel-major.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `W [rows, cols]`.
    pub fn gemv(&self, y: &mut [f32], x: &[f32], w: Matrix<'_>) {
        self.gemv_floats(y, x, None, w);
    }

    /// `y[c] += Σ x[k]·W[k, c]` over the active `k` alone; other rows' bytes are not read.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `W [rows, cols]`, `active.bound() <= rows`.
    pub fn gemv_sparse(&self, y: &mut [f32], x: &[f32], active: Active<'_>, w: Matrix<'_>) {
        self.gemv_floats(y, x, Some(active), w);
    }

    /// `Y[m, c] += Σ_k X[m, k]·W[k, c]`: each row has the bits of [`gemv`](Kernels::gemv).
    ///
    /// Shapes: `Y [M, cols]`, `X [M, rows]`, `W [rows, cols]`.
    pub fn gemm(&self, mut y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
        if y.rows() == 1 && x.rows() == 1 {
            return self.gemv(y.row_mut(0), x.row(0), w);
        }
        self.gemm_floats(y, x, w);
    }

    /// `y += x·W` in whole numbers (`quantized.rs` has the order of sums): column form. No element of `x` is beyond
    /// [`WIDE`], as [`quantize`](Kernels::quantize) makes them.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`, `W [rows, cols]`.
    pub fn gemv_q(&self, y: &mut [f32], x: &[i16], x_scale: &[f32], w: Quantized<'_>) {
        _ = self.gemv_quantized(y, x, x_scale, None, w, self.prefetch);
    }

    /// As [`gemv_q`](Kernels::gemv_q) over the active channels alone; other rows' bytes are not read, nor are the
    /// scales of groups without one. Returns how many groups have one.
    ///
    /// Shapes: as there, and `active.bound() <= rows`.
    pub fn gemv_sparse_q(
        &self,
        y: &mut [f32],
        x: &[i16],
        x_scale: &[f32],
        active: Active<'_>,
        w: Quantized<'_>,
    ) -> usize {
        self.gemv_quantized(y, x, x_scale, Some(active), w, self.prefetch)
    }

    /// `Y += X·W`: each row has the bits of [`gemv_q`](Kernels::gemv_q).
    ///
    /// Shapes: `Y [M, cols]`, `X [M, rows]`, `W [rows, cols]`.
    pub fn gemm_q(&self, mut y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>) {
        if y.rows() == 1 && x.rows() == 1 {
            let (whole, scale) = x.row(0);
            return self.gemv_q(y.row_mut(0), whole, scale, w);
        }
        self.gemm_quantized(y, Activations::Rows(x), w, self.prefetch);
    }

    /// `Y += X·W` of packed activations: each row has the bits of [`gemv_q`](Kernels::gemv_q).
    ///
    /// Shapes: `Y [M, cols]`, `X` of `M` tokens, `W [rows, cols]`.
    pub fn gemm_packed(&self, y: MatMut<'_>, x: &[PackedGroup], w: Quantized<'_>) {
        // Without channels there are no tokens to be counted, and nothing to be added.
        if !x.is_empty() || w.rows() != 0 {
            self.gemm_quantized(y, Activations::Packed(x), w, self.prefetch);
        }
    }
}

operations! { methods }

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa()).finish()
    }
}
