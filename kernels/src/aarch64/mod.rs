//! aarch64: one file an instruction set.

pub(crate) mod neon;

use crate::table::Table;

/// NEON's table, if this CPU has it (every one but a few embedded cores does). The answer is cached by the standard
/// library.
pub(crate) fn neon() -> Option<&'static Table> {
    std::arch::is_aarch64_feature_detected!("neon").then_some(&neon::TABLE)
}
