//! The algorithms, written once over a small vector trait.
//!
//! A function here is `#[inline(always)]` and generic over [`Simd`] or [`Integers`]; an instruction set's file
//! instantiates it within a function that enables the set's features, which is where the compiler
//! may use them ([`entry_points`](crate::operations)). Nothing here is called from anywhere else. A closure that calls
//! operations of [`Simd`] is not given to the standard library (`array::from_fn`, `map`) where it is more than a line
//! or two: one that is not inlined is compiled without the features, and each operation is a call (`tests/abi/check.py`
//! looks for that).
//!
//! The functions are unsafe since they go through pointers: their shapes are those that the list of operations states,
//! whose methods ([`Kernels`](crate::Kernels)) assert them before they call an entry point.

// Registers are arrays here, several indexed by one counter whose bound is a constant.
#![allow(clippy::needless_range_loop)]

pub(crate) mod activation;
pub(crate) mod dot;
mod elem;
pub(crate) mod elementwise;
mod exp;
pub(crate) mod gemm;
pub(crate) mod gemv;
mod integers;
pub(crate) mod quantized;
pub(crate) mod reduce;
pub(crate) mod screen;
pub(crate) mod select;
mod simd;
// Its entry points enable a feature that every x86-64 has; other processors have 4 lanes of their own.
#[cfg(all(test, target_arch = "x86_64"))]
mod soft;

pub(crate) use integers::{Integers, Quads};
pub(crate) use simd::Simd;

/// Lanes of every row-form sum, whatever the vectors of the machine.
const LANES: usize = 32;
