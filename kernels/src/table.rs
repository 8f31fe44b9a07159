//! The table behind [`Kernels`](crate::Kernels): one pointer for each operation.

use crate::{
    Activation, Elems, Isa, MatMut, MatRef, Matrix, Quantized, QuantizedRef, QuantizedRows, ScreenInput, ScreenRows,
};

/// `x`, `score`, `threshold`, indices out; returns how many it wrote.
type Select = unsafe fn(&[f32], Option<&[f32]>, f32, &mut [u32]) -> usize;
/// `y`, `x`, `score`, `threshold`; returns how many it kept.
type Mask = unsafe fn(&mut [f32], &[f32], Option<&[f32]>, f32) -> usize;

/// `y`, `x`, `weight`, `bias`, `eps`.
type LayerNorm = unsafe fn(&mut [f32], &[f32], &[f32], Option<&[f32]>, f32);
/// `y`, `x`, `up`.
type Activate = unsafe fn(Activation, &mut [f32], &[f32], Option<&[f32]>);

/// `y`, `x` in whole numbers, its scales, indices (`None`: all), `w`, whether to prefetch far ahead; returns how many groups it read.
type GemvQ = unsafe fn(&mut [f32], &[i16], &[f32], Option<&[u32]>, Quantized<'_>, bool) -> usize;

/// One instruction set's operations.
///
/// To call an entry is unsafe for two reasons: the CPU must have the instruction set, and the
/// shapes must fit each other. [`Kernels`](crate::Kernels) shows both: it is made only after the
/// CPU was asked, and its methods assert the shapes. What fits is written there.
pub(crate) struct Table {
    pub isa: Isa,
    pub gemv: unsafe fn(&mut [f32], &[f32], Matrix<'_>),
    /// The indices are below the number of rows.
    pub gemv_sparse: unsafe fn(&mut [f32], &[f32], &[u32], Matrix<'_>),
    pub gemm: unsafe fn(MatMut<'_>, MatRef<'_>, Matrix<'_>),
    pub dot_rows: unsafe fn(&mut [f32], &[f32], Matrix<'_>),
    pub dot_rows_many: unsafe fn(MatMut<'_>, MatRef<'_>, Matrix<'_>),
    pub dot_rows_screen: unsafe fn(&mut [f32], ScreenInput<'_>, ScreenRows<'_>),
    pub select: Select,
    pub mask: Mask,
    pub rms_norm: unsafe fn(&mut [f32], &[f32], &[f32], f32),
    pub layer_norm: LayerNorm,
    pub softmax: unsafe fn(&mut [f32], f32),
    pub activate: Activate,
    pub soft_cap: unsafe fn(&mut [f32], f32),
    pub add: unsafe fn(&mut [f32], &[f32]),
    pub rope: unsafe fn(&mut [f32], &[f32], &[f32]),
    pub widen: unsafe fn(&mut [f32], Elems<'_>),
    pub narrow_f16: unsafe fn(&mut [u16], &[f32]),
    pub quantize: unsafe fn(&mut [i16], &mut [f32], &[f32], f32),
    /// The indices are below the number of rows.
    pub gemv_q: GemvQ,
    pub gemm_q: unsafe fn(MatMut<'_>, QuantizedRef<'_>, Quantized<'_>, bool),
    pub dot_rows_q: unsafe fn(&mut [f32], &[i16], &[f32], QuantizedRows<'_>),
    pub dot_rows_many_q: unsafe fn(MatMut<'_>, QuantizedRef<'_>, QuantizedRows<'_>),
}
