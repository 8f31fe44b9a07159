//! AVX-VNNI and AVX-512 VNNI: products of whole numbers and their sums in one instruction. All else is as in the sets
//! without them.

use super::{avx2, avx512};
use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

pub(super) mod avx {
    use super::*;

    /// AVX2's operations, for a CPU that has AVX-VNNI too.
    pub(crate) static TABLE: Table = operations! { table_of Isa::AvxVnni, avx2::OPERATIONS };
    operations! { entry_points integer avx2::Avx2<true>, "avx2,fma,f16c,avxvnni" }
}

pub(super) mod avx512_vnni {
    use super::*;

    /// AVX-512's operations, for a CPU that has AVX-512 VNNI too.
    pub(crate) static TABLE: Table = operations! { table_of Isa::Avx512Vnni, avx512::OPERATIONS };
    operations! {
        entry_points integer avx512::Avx512<true>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni"
    }
}
