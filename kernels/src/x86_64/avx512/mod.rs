//! AVX-512 F, BW, DQ and VL: 16 lanes, 32 registers, masks.

mod floats;
mod integers;

use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

/// Proof that the CPU has AVX-512 F, BW, DQ and VL, and what `Avx2` proves.
///
/// `VNNI`: and AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const VNNI: bool>(());

// Safe to call where the features are enabled, and nowhere else: hence the proof.
impl Avx512<false> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    fn here() -> Self {
        Avx512(())
    }
}

impl Avx512<true> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni")]
    pub(super) fn here() -> Self {
        Avx512(())
    }
}

/// This instruction set's operations, for a CPU that has it.
pub(crate) static TABLE: Table = OPERATIONS;
pub(super) const OPERATIONS: Table = operations! { table_of Isa::Avx512 };
operations! { entry_points Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c" }
