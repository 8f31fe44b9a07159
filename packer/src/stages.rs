//! The stages of a run, known before it begins, so that a user hears how much of it is left.

use crate::allocate::SPARSE_WINDOWS;
use crate::calibrate::HELD_BACK;
use crate::options::PackOptions;
use crate::plan::Plan;
use crate::progress::Stage;
use rasp::format::{Allocation, ScoreKind};

/// What a token costs, in dense passes of a token. Measured on SmolLM2-135M and a model of Llama-2-7B's shapes
/// (`docs/lab/2026-11-30-speed-7b.md`), within a factor of two: gradients go there and back, tuning does so through the
/// sparse model, and predictions are compared over the whole vocabulary.
const OWN: f64 = 6.0;
const GRADIENT: f64 = 6.0;
const TUNING: f64 = 10.0;
const SPARSE: f64 = 1.0;
const COMPARED: f64 = 2.0;

/// Dense passes that rounding all weights takes as long as, and reading them once.
const WRITING: f64 = 4000.0;
const COMPLETING: f64 = 256.0;

/// Passes of a level's fixed point, mostly.
const PASSES: f64 = 2.0;

/// The stages of packing, in order: of calibration only if it `calibrates`, of writing its own text unless it is
/// `given`, of measuring scores unless they are `taken`. `window` is in tokens. A search has no stage of its own.
pub(crate) fn stages(
    options: &PackOptions,
    plan: &Plan,
    calibrates: bool,
    given: bool,
    taken: bool,
    window: usize,
) -> Vec<Stage> {
    let mut stages = vec![stage("writing weights", WRITING, 1.0)];
    if calibrates {
        let (tokens, window, levels) = (options.calibration_tokens as f64, window as f64, plan.levels.len() as f64);
        let (held_back, sparse) = (HELD_BACK as f64 * window, SPARSE_WINDOWS as f64 * window);
        // Of a pass on all tokens, and some sparse ones on the first windows.
        let thresholds = |levels: f64| match plan.allocation {
            Allocation::Uniform => stage("calibrating", tokens, 1.0),
            Allocation::Global => {
                stage("calibrating", tokens + SPARSE * PASSES * levels * sparse, 1.0 + PASSES * levels)
            }
        };
        let global = plan.allocation == Allocation::Global;
        if !given {
            stages.push(stage("writing calibration text", OWN * (tokens + held_back), 1.0));
        }
        if plan.score == ScoreKind::Fisher && !taken {
            stages.push(stage("gradients of the loss", GRADIENT * tokens, 1.0));
        }
        if global && options.tune > 0 {
            stages.push(thresholds(1.0));
            stages.push(stage("tuning scores", TUNING * options.tune as f64 * window, 1.0));
        }
        stages.push(thresholds(levels));
        stages.push(stage("measuring quality", COMPARED * levels * held_back, 1.0));
        if options.quality.is_some() || (global && options.tune > 0) {
            // Halves between two levels, until a hundredth is left.
            stages.push(stage("finding the sparsest setting", COMPARED * 4.0 * held_back, 1.0));
        }
    }
    stages.push(stage("completing the file", COMPLETING, 1.0));
    stages
}

fn stage(name: &'static str, cost: f64, parts: f64) -> Stage {
    Stage { name, cost, parts }
}
