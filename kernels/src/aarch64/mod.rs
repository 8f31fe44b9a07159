//! aarch64: a folder an instruction set, and a file for what extensions add.

mod dotprod;
pub(crate) mod neon;

use crate::{Isa, operations::Table};

/// The table of that set, if this CPU has it (NEON every one but a few embedded cores does). The answer is cached by
/// the standard library.
pub(crate) fn table(isa: Isa) -> Option<&'static Table> {
    let neon = || std::arch::is_aarch64_feature_detected!("neon");
    let dotprod = || std::arch::is_aarch64_feature_detected!("dotprod");
    match isa {
        Isa::Neon if neon() => Some(&neon::TABLE),
        Isa::NeonDot if neon() && dotprod() => Some(&dotprod::dot::TABLE),
        Isa::NeonI8mm if neon() && dotprod() && std::arch::is_aarch64_feature_detected!("i8mm") => {
            Some(&dotprod::i8mm::TABLE)
        }
        _ => None,
    }
}
