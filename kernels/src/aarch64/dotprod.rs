//! NEON with `sdot`, which multiplies four pairs of i8 and adds the products up: for weights in whole numbers. All else is as
//! without it.

use super::neon::{self, Neon};
use crate::{Isa, MatMut, Quantized, QuantizedRef, table::Table, vector};

/// NEON's operations, for a CPU that has `dotprod` too.
pub(crate) static TABLE: Table = Table { isa: Isa::NeonDot, gemv_q, gemm_q, ..neon::OPERATIONS };

vector::entries! { @whole Neon<true>, "neon,dotprod" }
