//! Where the sparsity goes: the thresholds of every linear at every level.

mod divergence;
mod evolution;
mod global;
mod observe;
mod rho;
mod search;
mod tune;
mod uniform;

pub use evolution::Search;
pub(crate) use evolution::{Found, normal};
pub(crate) use global::SPARSE_WINDOWS;
pub(crate) use rho::search_rho;
pub(crate) use search::search;
pub(crate) use tune::{Course, Tuned, tune};

use crate::plan::Plan;
use crate::progress::Progress;
use rasp::Result;
use rasp::format::Allocation;
use rasp::model::Model;
use std::sync::Arc;

/// What one sparsity level allocates: found, not asked for.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Allocated {
    /// One a linear, in the order of [`rasp::model::Linear::index`].
    pub(crate) thresholds: Vec<f32>,
    /// The share of each linear's input channels that they keep on the calibration text.
    pub(crate) channels: Vec<f64>,
}

/// What to calibrate on.
pub(crate) struct Calibration<'a> {
    pub(crate) model: &'a Arc<Model>,
    pub(crate) windows: &'a [&'a [u32]],
    pub(crate) threads: usize,
}

/// The thresholds of each of the plan's sparsity levels. `known` are those of the first, found before; `found` hears
/// all that are.
pub(crate) fn levels(
    calibration: &Calibration<'_>,
    plan: &Plan,
    known: Vec<Allocated>,
    found: impl FnMut(&[Allocated]) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Vec<Allocated>> {
    if known.len() == plan.levels.len() {
        return Ok(known);
    }
    match plan.allocation {
        Allocation::Uniform => uniform::levels(calibration, plan, progress),
        Allocation::Global => global::levels(calibration, plan, known, found, progress),
    }
}
