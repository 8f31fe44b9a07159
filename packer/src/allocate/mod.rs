//! Where the sparsity goes: the thresholds of every linear at every rung.

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
pub(crate) use rho::search_rho;
pub(crate) use search::search;
pub(crate) use tune::{Course, Tuned, tune};

use crate::plan::Plan;
use crate::progress::Progress;
use rasp::Result;
use rasp::format::Allocation;
use rasp::model::Model;
use std::sync::Arc;

/// What was found for one rung.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Rung {
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

/// The thresholds of every rung of the plan's ladder. `known` are those of the first rungs, found before; `found` hears
/// all that are.
pub(crate) fn rungs(
    calibration: &Calibration<'_>,
    plan: &Plan,
    known: Vec<Rung>,
    found: impl FnMut(&[Rung]) -> Result<()>,
    progress: &mut dyn Progress,
) -> Result<Vec<Rung>> {
    if known.len() == plan.ladder.len() {
        return Ok(known);
    }
    match plan.allocation {
        Allocation::Uniform => uniform::rungs(calibration, plan, progress),
        Allocation::Global => global::rungs(calibration, plan, known, found, progress),
    }
}
