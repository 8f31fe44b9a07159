//! NEON with more for weights in whole numbers. All else is as without it.

use super::neon::{self, Neon};
use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

/// With `sdot`, which multiplies four pairs of i8 and adds the products up.
pub(super) mod dot {
    use super::*;

    /// NEON's operations, for a CPU that has `dotprod` too.
    pub(crate) static TABLE: Table = operations! { table_of Isa::NeonDot, neon::OPERATIONS };
    operations! { entry_points integer Neon<true, false>, "neon,dotprod" }
}

/// With `smmla`, which does that for two rows and two columns of eight at once.
pub(super) mod i8mm {
    use super::*;

    /// NEON's operations, for a CPU that has `dotprod` and `i8mm` too.
    pub(crate) static TABLE: Table = operations! { table_of Isa::NeonI8mm, neon::OPERATIONS };
    operations! { entry_points integer Neon<true, true>, "neon,dotprod,i8mm" }
}
