//! x86-64: one file an instruction set.

pub(crate) mod avx2;
pub(crate) mod avx512;
mod vnni;

use crate::{Isa, table::Table};

/// The table of that set, if this CPU has it. The answer is cached by the standard library.
pub(crate) fn table(isa: Isa) -> Option<&'static Table> {
    let avx2 =
        || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    };
    match isa {
        Isa::Avx2 if avx2() => Some(&avx2::TABLE),
        Isa::AvxVnni if avx2() && is_x86_feature_detected!("avxvnni") => Some(&vnni::AVX),
        Isa::Avx512 if avx2() && avx512() => Some(&avx512::TABLE),
        Isa::Avx512Vnni if avx2() && avx512() && is_x86_feature_detected!("avx512vnni") => Some(&vnni::AVX512),
        _ => None,
    }
}
