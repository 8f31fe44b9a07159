//! AVX2, FMA and F16C: 8 lanes, 16 registers.

mod floats;
mod integers;

pub(super) use integers::sums_of_four;

use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

/// Proof that the CPU has AVX2, FMA and F16C.
///
/// `VNNI`: and AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx2<const VNNI: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Avx2<false> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn here() -> Self {
        Avx2(())
    }
}

impl Avx2<true> {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    pub(super) fn here() -> Self {
        Avx2(())
    }
}

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Avx2 };
operations! { entry_points Avx2<false>, "avx2,fma,f16c" }
