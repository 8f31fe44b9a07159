//! NEON with `sdot`, which multiplies four pairs of i8 and adds the products up: for weights in whole numbers. All else is as
//! without it.

use super::neon::{self, Neon};
use crate::{
    Isa,
    operations::{Table, entry_points, operations, table_of, types::*},
};

/// NEON's operations, for a CPU that has `dotprod` too.
pub(crate) static TABLE: Table = operations! { table_of Isa::NeonDot, neon::OPERATIONS };
operations! { entry_points integer Neon<true>, "neon,dotprod" }
