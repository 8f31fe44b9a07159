//! The list of operations, from which all else of them is made.
//!
//! An entry is a signature, the algorithm in `vector/` that computes it, and the shapes that it asks for. From the list
//! come the [`Table`] of an instruction set, the set's entry points, and the checked methods of
//! [`Kernels`](crate::Kernels). So a new operation is an entry here, an algorithm, and a plain loop of the same name in
//! `scalar.rs`.
//!
//! `operations! { MAKE HOW.. }` gives the list to the macro `MAKE`, after what else that is told:
//!
//! ```text
//! MAKE! { (HOW..) general { ENTRY; .. } integer { ENTRY; .. } }
//! ENTRY: #[doc] VIS fn NAME(ARGUMENT: TYPE, ..) -> RESULT = ALGORITHM where CONDITION, ..
//! ```
//!
//! An instruction set that adds something for weights in whole numbers alone has `integer` entries of its own and
//! another set's `general` ones.

macro_rules! operations {
    ($make:ident $($how:tt)*) => { $make! { ($($how)*)
general {
    /// [`Kernels::gemv`], or of the active channels alone [`Kernels::gemv_sparse`].
    fn gemv_floats(y: &mut [f32], x: &[f32], active: Option<Active<'_>>, w: Matrix<'_>) = gemv::gemv
        where y.len() == w.cols(), x.len() == w.rows(), active.is_none_or(|active| active.bound() <= w.rows());

    /// [`Kernels::gemm`].
    fn gemm_floats(y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) = gemm::gemm
        where y.rows() == x.rows(), y.cols() == w.cols(), x.cols() == w.rows();

    /// `y[n] = Σ_k x[k]·W[n, k]`: row form, `W` output-major; overwrites `y`.
    ///
    /// Shapes: `y [rows]`, `x [cols]`, `W [rows, cols]`.
    pub fn dot_rows(y: &mut [f32], x: &[f32], w: Matrix<'_>) = dot::dot_rows
        where y.len() == w.rows(), x.len() == w.cols();

    /// `Y[m, n] = Σ_k X[m, k]·W[n, k]`: each row has the bits of [`Kernels::dot_rows`].
    ///
    /// Shapes: `Y [M, rows]`, `X [M, cols]`, `W [rows, cols]`.
    pub fn dot_rows_many(y: MatMut<'_>, x: MatRef<'_>, w: Matrix<'_>) = dot::dot_rows_many
        where y.rows() == x.rows(), y.cols() == w.rows(), x.cols() == w.cols();

    /// `y[i] = Σ_k x[k]·W[active[i], k]`: the active rows alone, each with the bits of [`Kernels::dot_rows`]; other
    /// rows' bytes are not read. Overwrites `y`.
    ///
    /// Shapes: `y [active.len()]`, `x [cols]`, `W [rows, cols]`, `active.bound() <= rows`.
    pub fn dot_rows_sparse(y: &mut [f32], x: &[f32], active: Active<'_>, w: Matrix<'_>) = dot::dot_rows_sparse
        where y.len() == active.len(), x.len() == w.cols(), active.bound() <= w.rows();

    /// Rough products of all rows ([`ScreenRows`] has the formula) with each of some tokens: the same bits everywhere
    /// and with any others, as the sums are of integers. A sum beyond i32 wraps.
    ///
    /// Shapes: `y` and `x`: as many of each, every `y [rows]`, every `x` and `w` of as many hot and cold columns.
    pub fn dot_rows_screen(y: &mut [&mut [f32]], x: &[ScreenInput<'_>], w: ScreenRows<'_>) = screen::dot_rows_screen
        where y.len() == x.len(), y.iter().all(|y| y.len() == w.rows()), x.iter().all(|x| w.takes(x));

    /// Writes what [`Kernels::select`] gives, and returns how many.
    fn select_into(x: &[f32], score: Option<&[f32]>, threshold: f32, out: &mut [u32]) -> usize = select::select
        where score.is_none_or(|score| score.len() == x.len()), out.len() >= x.len(), u32::try_from(x.len()).is_ok();

    /// `y[k] = x[k]` where [`Kernels::select`] would keep `k`, else `+0`. Returns how many it kept.
    ///
    /// Shapes: `y`, `x`, `score`: `[n]`.
    pub fn mask(y: &mut [f32], x: &[f32], score: Option<&[f32]>, threshold: f32) -> usize = select::mask
        where score.is_none_or(|score| score.len() == x.len()), y.len() == x.len();

    /// `y[k] = x[k]·r·weight[k]` with `r = 1 / sqrt(mean(x²) + eps)` (Zhang and Sennrich 2019, arXiv:1910.07467).
    /// Shapes: `y`, `x`, `weight`: `[n]`.
    pub fn rms_norm(y: &mut [f32], x: &[f32], weight: &[f32], eps: f32) = reduce::rms_norm
        where y.len() == x.len(), weight.len() == x.len();

    /// `y[k] = (x[k] - mean)·r·weight[k] + bias[k]` with `r = 1 / sqrt(variance + eps)` (Ba et al. 2016,
    /// arXiv:1607.06450). Shapes: `y`, `x`, `weight`, `bias`: `[n]`.
    pub fn layer_norm(y: &mut [f32], x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) = reduce::layer_norm
        where y.len() == x.len(), weight.len() == x.len(), bias.is_none_or(|bias| bias.len() == x.len());

    /// `x = softmax(scale·x)` in place: `e = exp(scale·x - max)`, times `1 / Σ e`.
    ///
    /// A NaN, a `+inf`, or nothing but `-inf` among the scaled values makes every result a NaN.
    pub fn softmax(x: &mut [f32], scale: f32) = reduce::softmax;

    /// `y = f(x)·up`, or `f(x)` where there is no `up` ([`Activation`] has the formulas). Shapes: `y`, `x`, `up`:
    /// `[n]`.
    pub fn activate(kind: Activation, y: &mut [f32], x: &[f32], up: Option<&[f32]>) = activation::activate
        where y.len() == x.len(), up.is_none_or(|up| up.len() == x.len());

    /// `x = cap·tanh(x / cap)` in place, within 2e-7 of `cap`.
    pub fn soft_cap(x: &mut [f32], cap: f32) = activation::soft_cap;

    /// `y += x`. Shapes: `y`, `x`: `[n]`.
    pub fn add(y: &mut [f32], x: &[f32]) = elementwise::add
        where y.len() == x.len();

    /// Rotary position embedding of one head (Su et al. 2021, arXiv:2104.09864), pairing element `i` with `i + h`:
    /// `x[i]·cos[i] - x[i+h]·sin[i]` and `x[i+h]·cos[i] + x[i]·sin[i]`, the first product fused into the sum.
    /// Shapes: `x [2h]`, `cos`, `sin`: `[h]`.
    pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) = elementwise::rope
        where cos.len() == sin.len(), x.len().is_multiple_of(2), x.len() / 2 == cos.len();

    /// `y = x`, exactly, as f32. (A signalling NaN may come out quiet.) Shapes: `y`, `x`: `[n]`.
    pub fn widen(y: &mut [f32], x: Elems<'_>) = elementwise::widen
        where y.len() == x.len();

    /// `y = x` as `f16` bit patterns, to the nearest, ties to even. Shapes: `y`, `x`: `[n]`.
    pub fn narrow_f16(y: &mut [u16], x: &[f32]) = elementwise::narrow_f16
        where y.len() == x.len();

    /// Activations in whole numbers: for each 32 of `x`, `scale = max|x| / largest` and `whole = x / scale`, to the
    /// nearest, ties to even. `largest` is [`WIDE`] where `max|x|` exceeds `wide_from` times the root mean square of
    /// all of `x`, and else [`NARROW`]; with a `wide_from` of 0 every group is wide. A NaN or an infinity makes its
    /// group's scale a NaN.
    ///
    /// Shapes: `whole`, `x`: `[n]`, `scale [n / 32]`, `n` a multiple of 32.
    pub fn quantize(whole: &mut [i16], scale: &mut [f32], x: &[f32], wide_from: f32) = quantized::quantize
        where whole.len() == x.len(), QUANT_GROUP * scale.len() == x.len();

    /// Packs activations for [`Kernels::gemm_packed`].
    ///
    /// Shapes: `packed [cols / 32]`, `X [M, cols]` with `M` at most [`PACKED_ROWS`].
    pub fn pack(packed: &mut [PackedGroup], x: QuantizedRef<'_>) = quantized::gemm::pack
        where QUANT_GROUP * packed.len() == x.cols(), x.rows() <= PACKED_ROWS;

    /// `y[n] = Σ_g x_scale[g]·scale[n, g]·Σ_k x[k]·q[n, k]`: row form; overwrites `y`.
    ///
    /// Lane `l` of 16 sums elements `2l` and `2l + 1` of each group, whole and exact, and is a chain of fused
    /// multiply-adds over ascending `g`; then lanes are folded in halves. Shapes: `y [rows]`, `x [cols]`,
    /// `x_scale [cols / 32]`, `W [rows, cols]`.
    pub fn dot_rows_q(y: &mut [f32], x: &[i16], x_scale: &[f32], w: QuantizedRows<'_>) = quantized::rows::dot_rows_q
        where y.len() == w.rows(), x.len() == w.cols(), QUANT_GROUP * x_scale.len() == x.len();

    /// Each row of `Y` has the bits of [`dot_rows_q`](Kernels::dot_rows_q).
    ///
    /// Shapes: `Y [M, rows]`, `X [M, cols]`, `W [rows, cols]`.
    pub fn dot_rows_many_q(y: MatMut<'_>, x: QuantizedRef<'_>, w: QuantizedRows<'_>) = quantized::rows::dot_rows_many_q
        where y.rows() == x.rows(), y.cols() == w.rows(), x.cols() == w.cols();

    /// `y[i]` of the active rows alone, each with the bits of [`dot_rows_q`](Kernels::dot_rows_q); other rows' bytes
    /// are not read. Overwrites `y`.
    ///
    /// Shapes: `y [active.len()]`, `x [cols]`, `x_scale [cols / 32]`, `W [rows, cols]`, `active.bound() <= rows`.
    pub fn dot_rows_sparse_q(
        y: &mut [f32], x: &[i16], x_scale: &[f32], active: Active<'_>, w: QuantizedRows<'_>
    ) = quantized::rows::dot_rows_sparse_q
        where y.len() == active.len(), x.len() == w.cols(), QUANT_GROUP * x_scale.len() == x.len(),
            active.bound() <= w.rows();
}
integer {
    /// [`Kernels::gemv_q`], or of the active channels alone [`Kernels::gemv_sparse_q`]. Returns how many groups it
    /// read.
    fn gemv_quantized(
        y: &mut [f32], x: &[i16], x_scale: &[f32], active: Option<Active<'_>>, w: Quantized<'_>,
        prefetch: Prefetch
    ) -> usize = quantized::gemv::gemv_q
        where y.len() == w.cols(), x.len() == w.rows(), x_scale.len() == w.groups(),
            active.is_none_or(|active| active.bound() <= w.rows());

    /// [`Kernels::gemm_q`] and [`Kernels::gemm_packed`].
    fn gemm_quantized(
        y: MatMut<'_>, x: Activations<'_>, w: Quantized<'_>, prefetch: Prefetch
    ) = quantized::gemm::gemm_q
        where y.rows() == x.rows(), y.cols() == w.cols(), x.cols() == w.rows();
}
    } };
}
pub(crate) use operations;

/// What signatures in the list speak of.
pub(crate) mod types {
    pub(crate) use crate::{
        Activation, Active, Elems, MatMut, MatRef, Matrix, PackedGroup, Quantized, QuantizedRef, QuantizedRows,
        ScreenInput, ScreenRows, packed::Activations, prefetch::Prefetch,
    };
}
use types::*;

macro_rules! table {
    (() $($group:ident {$(
        $(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $($path:ident)::+
            $(where $($check:expr),+)?;
    )*})*) => {
        /// One instruction set's operations.
        ///
        /// To call an entry is unsafe for two reasons: the CPU must have the instruction set, and the shapes must fit
        /// each other. [`Kernels`](crate::Kernels) shows both: it is made only after the CPU was asked, and its methods
        /// assert the shapes.
        pub(crate) struct Table {
            pub isa: crate::Isa,
            $($(pub $name: unsafe fn($($type),*) $(-> $result)?,)*)*
        }
    };
}
operations! { table }

/// The table of functions that stand where this does, under the operations' names: all of them, or, with the table of
/// another set, those for weights in whole numbers and the other set's.
macro_rules! table_of {
    (($isa:expr) $($group:ident {$(
        $(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $($path:ident)::+
            $(where $($check:expr),+)?;
    )*})*) => {
        $crate::operations::Table { isa: $isa, $($($name,)*)* }
    };
    (($isa:expr, $others:expr) general { $($general:tt)* } integer {$(
        $(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $($path:ident)::+
            $(where $($check:expr),+)?;
    )*}) => {
        $crate::operations::Table { isa: $isa, $($name,)* ..$others }
    };
}
pub(crate) use table_of;

/// Entry points of an instruction set: all of them, or, with `integer` before, those for weights in whole numbers. Each
/// enables the set's features and makes the token that proves them, by its `here`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! entry_points {
    ((integer $($how:tt)*) general { $($general:tt)* } integer { $($entries:tt)* }) => {
        $crate::operations::entry_points! { ($($how)*) integer { $($entries)* } }
    };
    (($token:ty, $features:literal) $($group:ident {$(
        $(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $($path:ident)::+
            $(where $($check:expr),+)?;
    )*})*) => {$($(
        #[target_feature(enable = $features)]
        unsafe fn $name($($arg: $type),*) $(-> $result)? {
            // SAFETY: the caller answers for the shapes.
            unsafe { $crate::vector::$($path)::+(<$token>::here(), $($arg),*) }
        }
    )*)*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use entry_points;

/// The methods of [`Kernels`](crate::Kernels).
macro_rules! methods {
    (() $($group:ident {$(
        $(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $($path:ident)::+
            $(where $($check:expr),+)?;
    )*})*) => {
        impl Kernels {$($(
            $(#[$doc])*
            $vis fn $name(&self, $($arg: $type),*) $(-> $result)? {
                $($(assert!($check, concat!(stringify!($name), ": ", stringify!($check)));)+)?
                // SAFETY: `self` exists, so the CPU has the instruction set; the shapes were just checked.
                unsafe { (self.table.$name)($($arg),*) }
            }
        )*)*}
    };
}
pub(crate) use methods;
