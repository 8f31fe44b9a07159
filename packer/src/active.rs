//! How many gates of a model are not exactly zero: what of an `up` by outputs is read.

use crate::calibrate;
use rasp::Result;
use rasp::model::{GroupKind, Model};
use rasp::session::{MatRef, Observer};
use std::sync::Arc;

/// Windows of text that are looked at: shares of thousands of gates.
const WINDOWS: usize = 4;

/// Counts inputs of `down`, and those that are not zero: what the activation has left of the gates.
struct ActiveGates(Vec<(u64, u64)>);

impl Observer for ActiveGates {
    fn group_input(&mut self, layer: usize, group: GroupKind, x: MatRef<'_>) {
        if group == GroupKind::Down {
            let (active, all) = &mut self.0[layer];
            for row in 0..x.rows() {
                *active += x.row(row).iter().filter(|&&x| x != 0.0).count() as u64;
                *all += x.cols() as u64;
            }
        }
    }
}

/// Of each layer the share of gates that dense tokens of these windows leave above zero, where `up` is by outputs; else
/// none.
pub(crate) fn shares(model: &Arc<Model>, windows: &[&[u32]], threads: usize) -> Result<Vec<f32>> {
    if !model.config().block.up_by_outputs {
        return Ok(Vec::new());
    }
    let windows = &windows[..WINDOWS.min(windows.len())];
    let mut gates = ActiveGates(vec![(0, 0); model.layers().len()]);
    let mut scorer = calibrate::scorer(model, windows, threads)?;
    windows.iter().try_for_each(|window| scorer.observe(window, window.len(), &mut gates))?;
    Ok(gates.0.into_iter().map(|(active, all)| (active as f64 / all.max(1) as f64) as f32).collect())
}
