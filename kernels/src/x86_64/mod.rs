//! x86-64: a folder an instruction set, and a file for what extensions add.

pub(crate) mod avx2;
pub(crate) mod avx512;
mod limbs;
mod vnni;

use crate::{Isa, operations::Table};

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

/// Whether misses of prefetches into L2 wait there and not among the loads' own, of which a core has a dozen: AMD's do
/// (a Zen 4 reads 22 GB/s so and 7 to 17 without), Intel's do not (9.5 and 13 GB/s:
/// `docs/lab/2026-11-28-integer-decode.md`).
pub(crate) fn waits_in_l2() -> bool {
    // The instruction traps in virtual machines, so this is asked once a menu. Every x86-64 has it.
    #[allow(unused_unsafe)] // safe since Rust 1.94
    // SAFETY: it reads and writes registers alone.
    let vendor = unsafe { std::arch::x86_64::__cpuid(0) };
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}
