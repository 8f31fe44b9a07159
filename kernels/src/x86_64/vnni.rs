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

/// The products in whole numbers, of one set.
macro_rules! products {
    ($module:ident, $token:ty, $features:literal) => {
        mod $module {
            use super::*;

            vector::entries! { @each $token, $features;
                gemv_q = vector::quantized::gemv::gemv_q(
                    y: &mut [f32], x: &[i16], x_scale: &[f32], active: Option<&[u32]>, w: Quantized<'_>, far: bool
                ) -> usize;
                gemm_q = vector::quantized::gemm::gemm_q(y: MatMut<'_>, x: QuantizedRef<'_>, w: Quantized<'_>, far: bool);
            }
        }
    };
}

products!(avx, avx2::Avx2<true>, "avx2,fma,f16c,avxvnni");
products!(avx512_vnni, avx512::Avx512<true>, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni");
