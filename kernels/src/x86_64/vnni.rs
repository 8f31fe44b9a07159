//! AVX-VNNI and AVX-512 VNNI: products of whole numbers and their sums in one instruction. All else is as in the sets
//! without them.

use super::{avx2, avx512};
use crate::{Isa, MatMut, Quantized, QuantizedRef, table::Table, vector};

/// AVX2's operations, for a CPU that has AVX-VNNI too.
pub(crate) static AVX: Table =
    Table { isa: Isa::AvxVnni, gemv_q: avx::gemv_q, gemm_q: avx::gemm_q, ..avx2::OPERATIONS };

/// AVX-512's operations, for a CPU that has AVX-512 VNNI too.
pub(crate) static AVX512: Table =
    Table { isa: Isa::Avx512Vnni, gemv_q: avx512_vnni::gemv_q, gemm_q: avx512_vnni::gemm_q, ..avx512::OPERATIONS };

mod avx {
    use super::*;
    vector::entries! { @whole avx2::Avx2<true>, "avx2,fma,f16c,avxvnni" }
}

mod avx512_vnni {
    use super::*;
    vector::entries! { @whole avx512::Avx512<true>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni" }
}
