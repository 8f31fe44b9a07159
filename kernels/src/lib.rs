//! The arithmetic of rasp: pure functions over slices, one menu per instruction set.
//!
//! [`Kernels`] is the menu. It is made once, [for the best set the CPU has](Kernels::best) or
//! [for a given one](Kernels::for_isa), and is a pointer: copy it freely, share it between threads.
//!
//! # One sum, one order
//!
//! Every instruction set gives the **same bits**, since the order of every sum is fixed:
//!
//! - column form ([`gemv`](Kernels::gemv), [`gemv_sparse`](Kernels::gemv_sparse),
//!   [`gemm`](Kernels::gemm)): each output is a chain of fused multiply-adds in ascending `k`, from
//!   the value that `y` held;
//! - row form ([`dot_rows`](Kernels::dot_rows), [`dot_rows_many`](Kernels::dot_rows_many), and the
//!   sums within [`rms_norm`](Kernels::rms_norm) and [`softmax`](Kernels::softmax)): lane `l` of 32
//!   sums the elements `k mod 32 = l` in ascending `k`; then lanes are folded in halves, 16, 8, 4,
//!   2, 1 (lane `l` plus lane `l + half`).
//!
//! Two things are left open. Where a result is a NaN, its sign and payload are unspecified. And on
//! x86 a host may have set flush-to-zero or denormals-are-zero (games do): the kernels run under
//! what they find, and results may then differ in subnormal numbers between instruction sets, since
//! conversions from `f16` do not heed the flags.
//!
//! # An instruction set more
//!
//! Algorithms are written once, in `vector/`, over the trait `Simd`; a set is one file with one `Simd`
//! implementation, whose type proves that the CPU has it, and one line that makes its entry points and
//! their table. Then: a name in [`Isa`], an arm in [`Kernels::for_isa`], and the tests run over it too.
//! `scalar.rs` shares none of that code: it is the truth that all are tested against.
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
mod isa;
mod matrix;
mod quantized;
mod scalar;
mod screen;
mod table;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use activation::Activation;
pub use activations::{MatMut, MatRef};
pub use active::Active;
pub use isa::Isa;
pub use matrix::{Elems, Matrix, STREAMS, interleaved_place};
pub use quantized::{
    NARROW, QUANT_GROUP, QuantType, Quantized, QuantizedRef, QuantizedRows, WIDE, scale_and_min, with_scale_and_offset,
};
pub use screen::{SCREEN_BLOCK, SCREEN_GROUP, SCREEN_HOT, ScreenInput, ScreenRows};

use table::Table;

/// The operations of that set, or `None` if this CPU (or this build) lacks it.
fn table_of(isa: Isa) -> Option<&'static Table> {
    match isa {
        Isa::Scalar => Some(&scalar::TABLE),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Vnni => x86_64::table(isa),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon | Isa::NeonDot => aarch64::table(isa),
        // Those of other processors.
        _ => None,
    }
}

/// The menu of operations, for one instruction set that this CPU has.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
    /// Whether misses of prefetches into L2 wait there, so that whole tiles are sent for ahead.
    far: bool,
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
        #[cfg(target_arch = "x86_64")]
        let far = x86_64::waits_in_l2();
        #[cfg(not(target_arch = "x86_64"))]
        let far = false;
        Kernels { table, far }
    }

    /// The sets that this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|&isa| table_of(isa).is_some())
    }

    /// Which set this is.
    pub fn isa(&self) -> Isa {
        self.table.isa
    }

    /// `y[c] += Σ_k x[k]·W[k, c]`: column form, `W` input-channel-major.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `W [rows, cols]`.
    pub fn gemv(&self, y: &mut [f32], x: &[f32], w: Matrix<'_>) {
        assert!(y.len() == w.cols() && x.len() == w.rows(), "gemv: shapes");
        // SAFETY: `self` exists, so the CPU has the instruction set; the shapes were just checked.
        unsafe { (self.table.gemv)(y, x, w) }
    }

    /// `y[c] += Σ x[k]·W[k, c]` over the active `k` alone; other rows' bytes are not read.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `W [rows, cols]`, `active.bound() <= rows`.
    pub fn gemv_sparse(&self, y: &mut [f32], x: &[f32], active: Active<'_>, w: Matrix<'_>) {
        assert!(y.len() == w.cols() && x.len() == w.rows(), "gemv_sparse: shapes");
        assert!(active.bound() <= w.rows(), "gemv_sparse: active channels beyond the rows");
        // SAFETY: as in `gemv`; the indices are below active.bound(), hence below the rows.
        unsafe { (self.table.gemv_sparse)(y, x, active.as_slice(), w) }
    }

    /// `Y[m, c] += Σ_k X[m, k]·W[k, c]`: each row has the bits of [`Kernels::gemv`].
    ///
    /// Shapes: `Y [M, cols]`, `X [M, rows]`, `W [rows, cols]`.
    pub fn gemm(&self, y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
        assert!(y.rows() == x.rows(), "gemm: rows of Y and X");
        assert!(y.cols() == w.cols() && x.cols() == w.rows(), "gemm: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.gemm)(y, x, w) }
    }

    /// `y[n] = Σ_k x[k]·W[n, k]`: row form, `W` output-major; overwrites `y`.
    ///
    /// Shapes: `y [rows]`, `x [cols]`, `W [rows, cols]`.
    pub fn dot_rows(&self, y: &mut [f32], x: &[f32], w: Matrix<'_>) {
        assert!(y.len() == w.rows() && x.len() == w.cols(), "dot_rows: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.dot_rows)(y, x, w) }
    }

    /// `Y[m, n] = Σ_k X[m, k]·W[n, k]`: each row has the bits of [`Kernels::dot_rows`].
    ///
    /// Shapes: `Y [M, rows]`, `X [M, cols]`, `W [rows, cols]`.
    pub fn dot_rows_many(&self, y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) {
        assert!(y.rows() == x.rows(), "dot_rows_many: rows of Y and X");
        assert!(y.cols() == w.rows() && x.cols() == w.cols(), "dot_rows_many: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.dot_rows_many)(y, x, w) }
    }

    /// Rough products of all rows ([`ScreenRows`] has the formula): the same bits everywhere, as the sums are of integers. A
    /// sum beyond i32 wraps.
    ///
    /// Shapes: `y [rows]`, `x` and `w` of as many hot and cold columns.
    pub fn dot_rows_screen(&self, y: &mut [f32], x: ScreenInput<'_>, w: ScreenRows<'_>) {
        assert!(y.len() == w.rows() && w.takes(&x), "dot_rows_screen: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.dot_rows_screen)(y, x, w) }
    }

    /// The channels `k` with `|x[k]|·score[k] > threshold` (`score` absent: 1), ascending.
    ///
    /// A NaN on either side of the comparison keeps the channel, so that it shows in the result.
    /// Shapes: `x [n]`, `score [n]`, `out` at least `[n]` and used as scratch beyond the result;
    /// `n` fits a `u32`.
    pub fn select<'a>(&self, x: &[f32], score: Option<&[f32]>, threshold: f32, out: &'a mut [u32]) -> Active<'a> {
        assert!(score.is_none_or(|score| score.len() == x.len()), "select: scores");
        assert!(out.len() >= x.len() && u32::try_from(x.len()).is_ok(), "select: output");
        // SAFETY: as in `gemv`.
        let count = unsafe { (self.table.select)(x, score, threshold, out) };
        Active::from_selection(&out[..count], x.len())
    }

    /// `y[k] = x[k]` where [`Kernels::select`] would keep `k`, else `+0`. Returns how many it kept.
    ///
    /// Shapes: `y`, `x`, `score`: `[n]`.
    pub fn mask(&self, y: &mut [f32], x: &[f32], score: Option<&[f32]>, threshold: f32) -> usize {
        assert!(score.is_none_or(|score| score.len() == x.len()), "mask: scores");
        assert!(y.len() == x.len(), "mask: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.mask)(y, x, score, threshold) }
    }

    /// `y[k] = x[k]·r·weight[k]` with `r = 1 / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019,
    /// arXiv:1910.07467). Shapes: `y`, `x`, `weight`: `[n]`.
    pub fn rms_norm(&self, y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) {
        assert!(y.len() == x.len() && weight.len() == x.len(), "rms_norm: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.rms_norm)(y, x, weight, eps) }
    }

    /// `y[k] = (x[k] - mean)·r·weight[k] + bias[k]` with `r = 1 / sqrt(variance + eps)` (Ba et al. 2016,
    /// arXiv:1607.06450). Shapes: `y`, `x`, `weight`, `bias`: `[n]`.
    pub fn layer_norm(&self, y: &mut [f32], x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) {
        assert!(y.len() == x.len() && weight.len() == x.len(), "layer_norm: shapes");
        assert!(bias.is_none_or(|bias| bias.len() == x.len()), "layer_norm: bias");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.layer_norm)(y, x, weight, bias, eps) }
    }

    /// `x = softmax(scale·x)` in place: `e = exp(scale·x - max)`, times `1 / Σ e`.
    ///
    /// A NaN, a `+inf`, or nothing but `-inf` among the scaled values makes every result a NaN.
    pub fn softmax(&self, x: &mut [f32], scale: f32) {
        // SAFETY: as in `gemv`; every shape will do.
        unsafe { (self.table.softmax)(x, scale) }
    }

    /// `y = f(x)·up`, or `f(x)` where there is no `up` ([`Activation`] has the formulas). Shapes: `y`, `x`, `up`: `[n]`.
    pub fn activate(&self, kind: Activation, y: &mut [f32], x: &[f32], up: Option<&[f32]>) {
        assert!(y.len() == x.len() && up.is_none_or(|up| up.len() == x.len()), "activate: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.activate)(kind, y, x, up) }
    }

    /// `x = cap·tanh(x / cap)` in place, within 2e-7 of `cap`.
    pub fn soft_cap(&self, x: &mut [f32], cap: f32) {
        // SAFETY: as in `gemv`; every shape will do.
        unsafe { (self.table.soft_cap)(x, cap) }
    }

    /// `y += x`. Shapes: `y`, `x`: `[n]`.
    pub fn add(&self, y: &mut [f32], x: &[f32]) {
        assert!(y.len() == x.len(), "add: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.add)(y, x) }
    }

    /// Rotary position embedding of one head (Su et al. 2021, arXiv:2104.09864), pairing element
    /// `i` with `i + h`: `x[i]·cos[i] - x[i+h]·sin[i]` and `x[i+h]·cos[i] + x[i]·sin[i]`, the first
    /// product fused into the sum. Shapes: `x [2h]`, `cos`, `sin`: `[h]`.
    pub fn rope(&self, x: &mut [f32], cos: &[f32], sin: &[f32]) {
        assert!(cos.len() == sin.len(), "rope: cos and sin");
        assert!(x.len().is_multiple_of(2) && x.len() / 2 == cos.len(), "rope: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.rope)(x, cos, sin) }
    }

    /// `y = x`, exactly, as f32. (A signalling NaN may come out quiet.) Shapes: `y`, `x`: `[n]`.
    pub fn widen(&self, y: &mut [f32], x: Elems<'_>) {
        assert!(y.len() == x.len(), "widen: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.widen)(y, x) }
    }

    /// `y = x` as `f16` bit patterns, to the nearest, ties to even. Shapes: `y`, `x`: `[n]`.
    pub fn narrow_f16(&self, y: &mut [u16], x: &[f32]) {
        assert!(y.len() == x.len(), "narrow_f16: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.narrow_f16)(y, x) }
    }

    /// Activations in whole numbers: for each 32 of `x`, `scale = max|x| / largest` and `whole = x / scale`, to the nearest,
    /// ties to even. `largest` is [`WIDE`] where `max|x|` exceeds `wide_from` times the root mean square of all of `x`, and
    /// else [`NARROW`]; with a `wide_from` of 0 every group is wide. A NaN or an infinity makes its group's scale a NaN.
    ///
    /// Shapes: `whole`, `x`: `[n]`, `scale [n / 32]`, `n` a multiple of 32.
    pub fn quantize(&self, whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32) {
        assert!(whole.len() == x.len() && QUANT_GROUP * scale.len() == x.len(), "quantize: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.quantize)(whole, scale, x, wide_from) }
    }

    /// `y += x·W` in whole numbers (`quantized.rs` has the order of sums): column form. No element of `x` is beyond
    /// [`WIDE`], as [`quantize`](Kernels::quantize) makes them.
    ///
    /// Shapes: `y [cols]`, `x [rows]`, `x_scale [rows / 32]`, `W [rows, cols]`.
    pub fn gemv_q(&self, y: &mut [f32], x: &[i16], x_scale: &[f32], w: Quantized<'_>) {
        assert!(y.len() == w.cols() && x.len() == w.rows() && x_scale.len() == w.groups(), "gemv_q: shapes");
        // SAFETY: as in `gemv`.
        _ = unsafe { (self.table.gemv_q)(y, x, x_scale, None, w, self.far) };
    }

    /// As [`gemv_q`](Kernels::gemv_q) over the active channels alone; other rows' bytes are not read, nor are the scales
    /// of groups without one. Returns how many groups have one.
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
        assert!(y.len() == w.cols() && x.len() == w.rows() && x_scale.len() == w.groups(), "gemv_sparse_q: shapes");
        assert!(active.bound() <= w.rows(), "gemv_sparse_q: active channels beyond the rows");
        // SAFETY: as in `gemv_sparse`.
        unsafe { (self.table.gemv_q)(y, x, x_scale, Some(active.as_slice()), w, self.far) }
    }

    /// `Y += X·W`: each row has the bits of [`gemv_q`](Kernels::gemv_q).
    ///
    /// Shapes: `Y [M, cols]`, `X [M, rows]`, `W [rows, cols]`.
    pub fn gemm_q(&self, mut y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>) {
        assert!(y.rows() == x.rows(), "gemm_q: rows of Y and X");
        assert!(y.cols() == w.cols() && x.cols() == w.rows(), "gemm_q: shapes");
        if y.rows() == 1 {
            let (whole, scale) = x.row(0);
            return self.gemv_q(y.row_mut(0), whole, scale, w);
        }
        // SAFETY: as in `gemv`.
        unsafe { (self.table.gemm_q)(y, x, w, self.far) }
    }

    /// `y[n] = Σ_g x_scale[g]·scale[n, g]·Σ_k x[k]·q[n, k]`: row form; overwrites `y`.
    ///
    /// Lane `l` of 16 sums elements `2l` and `2l + 1` of each group, whole and exact, and is a chain of fused
    /// multiply-adds over ascending `g`; then lanes are folded in halves. Shapes: `y [rows]`, `x [cols]`,
    /// `x_scale [cols / 32]`, `W [rows, cols]`.
    pub fn dot_rows_q(&self, y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>) {
        assert!(y.len() == w.rows() && x.len() == w.cols(), "dot_rows_q: shapes");
        assert!(QUANT_GROUP * x_scale.len() == x.len(), "dot_rows_q: scales");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.dot_rows_q)(y, x, x_scale, w) }
    }

    /// Each row of `Y` has the bits of [`dot_rows_q`](Kernels::dot_rows_q).
    ///
    /// Shapes: `Y [M, rows]`, `X [M, cols]`, `W [rows, cols]`.
    pub fn dot_rows_many_q(&self, y: MatMut<'_>, x: QuantizedRef<'_>, w: QuantizedRows<'_>) {
        assert!(y.rows() == x.rows(), "dot_rows_many_q: rows of Y and X");
        assert!(y.cols() == w.rows() && x.cols() == w.cols(), "dot_rows_many_q: shapes");
        // SAFETY: as in `gemv`.
        unsafe { (self.table.dot_rows_many_q)(y, x, w) }
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.isa()).finish()
    }
}
