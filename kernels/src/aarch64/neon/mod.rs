//! NEON, as every ARMv8.0 core for applications has it: 4 lanes, 32 registers.
//!
//! With `sdot` and `smmla` (ARMv8.2 and ARMv8.6) where the CPU has them, for weights in whole numbers. Instructions for
//! bf16 (`bfdot`, `bfmmla`) are not used: they round sums otherwise than a chain of fused multiply-adds does, so that
//! the bits would differ from every other machine's.

mod floats;
mod integers;

use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

/// Proof that the CPU has NEON.
///
/// `DOT`: and `sdot` (ARMv8.2's `dotprod`). `MATRIX`: and `smmla` (ARMv8.6's `i8mm`).
#[derive(Clone, Copy)]
pub(crate) struct Neon<const DOT: bool, const MATRIX: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Neon<false, false> {
    #[inline]
    #[target_feature(enable = "neon")]
    fn here() -> Self {
        Neon(())
    }
}

impl Neon<true, false> {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn here() -> Self {
        Neon(())
    }
}

impl Neon<true, true> {
    #[inline]
    #[target_feature(enable = "neon,dotprod,i8mm")]
    pub(super) fn here() -> Self {
        Neon(())
    }
}

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Neon };
operations! { entry_points Neon<false, false>, "neon" }
