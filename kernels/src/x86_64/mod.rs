//! x86-64: a folder an instruction set, and a file for what extensions add.

pub(crate) mod avx2;
pub(crate) mod avx512;
mod limbs;
mod vnni;

use std::arch::x86_64::__cpuid;

use crate::{Isa, operations::Table, prefetch::Prefetch};

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
        Isa::AvxVnni if avx2() && is_x86_feature_detected!("avxvnni") => Some(&vnni::avx::TABLE),
        Isa::Avx512 if avx2() && avx512() => Some(&avx512::TABLE),
        Isa::Avx512Vnni if avx2() && avx512() && is_x86_feature_detected!("avx512vnni") => {
            Some(&vnni::avx512_vnni::TABLE)
        }
        _ => None,
    }
}

/// How this CPU's products read ahead: AMD's processors are told by their family, of which 26 is Zen 5.
pub(crate) fn prefetch() -> Prefetch {
    // Which knows no inline assembly.
    if cfg!(miri) {
        return Prefetch::Near;
    }
    // The instruction traps in virtual machines, so this is asked once a menu. Every x86-64 has it.
    #[allow(unused_unsafe)] // safe since Rust 1.94
    // SAFETY: it reads and writes registers alone, and leaf 1 is everywhere.
    let (vendor, version) = unsafe { (__cpuid(0), __cpuid(1).eax) };
    let family = (version >> 8 & 15) + (version >> 20 & 255);
    match [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() {
        b"AuthenticAMD" if family < 26 => Prefetch::Far,
        b"AuthenticAMD" => Prefetch::Few,
        b"GenuineIntel" => Prefetch::FewIfShort,
        _ => Prefetch::Near,
    }
}
