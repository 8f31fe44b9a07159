//! Weights that make up for the channels a sparsity drops: regularised least squares, linear by linear.
//!
//! With the mask `m` of one setting, `R (x∘m)` lacks what the dropped channels would have added. Much of it can be
//! predicted from the channels that are kept, so the weights `R'` nearest to `R` are sought whose sparse product is
//! nearest to the dense one on calibration text, channel-major (`X` and `X∘M` hold a row a token):
//!
//! ```text
//! min ‖(X∘M)·R' − X·R‖² + λ‖R' − R‖²     (C + λ)·R' = (B + λ)·R     C = (X∘M)ᵀ(X∘M),  B = (X∘M)ᵀX
//! ```
//!
//! which is METHOD's `W' = W·(C[x, x∘m]+λ)·(C[x∘m, x∘m]+λ)⁻¹`, `λ` relative to the mean of `C`'s diagonal. Inputs are
//! those of tokens that are sparse, with compensated weights, in everything before. It costs nothing at run time, but
//! the weights then suit one setting: `docs/lab/2026-11-29-quality-tried.md` has what that means for the others and for
//! dense prompts.

use crate::block::{BlockPass, Linears, Masks, Mat, add_product, embedded, product};
use crate::progress::Progress;
use crate::stage::{self, StoredWeights, matrix_bytes, matrix_tensors};
use crate::work::WorkFolder;
use faer::linalg::solvers::Solve;
use faer::{MatRef, Side};
use rasp::model::{GroupKind, Model, Role};
use rasp::{Error, Result, Status};
use std::path::Path;
use std::sync::Arc;

/// What to make up for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compensation {
    /// The sparsity level whose masks the weights are fitted to.
    pub sparsity: f32,
    /// λ, relative to the mean square of a kept input: above 0. The larger, the nearer the weights stay.
    pub ridge: f32,
}

impl Compensation {
    /// The ridge that loses least on text that it was not fitted to (`docs/lab/2026-11-29-quality-tried.md`).
    pub const RIDGE: f32 = 0.3;

    /// The place of its sparsity among the levels.
    pub(crate) fn level(&self, levels: &[f32]) -> Result<usize> {
        let wrong = |message| Err(Error::new(Status::InvalidArgument, message));
        if !(self.ridge > 0.0 && self.ridge.is_finite()) {
            return wrong(format!("ridge {}: it must be above 0", self.ridge));
        }
        match levels.iter().position(|&level| level == self.sparsity) {
            Some(level) => Ok(level),
            None => wrong(format!("weights fitted to {}: it is none of the sparsities {levels:?}", self.sparsity)),
        }
    }
}

/// What the fit is made with.
pub(crate) struct FitSetting<'a> {
    pub(crate) windows: &'a [&'a [u32]],
    /// One a linear.
    pub(crate) thresholds: &'a [f32],
    pub(crate) ridge: f32,
}

/// Fits all weights of the staged model, block by block, in place, and gives the model anew. Takes the model as it was:
/// its mapping must go before the file under it changes.
pub(crate) fn compensate(
    staging: &Path,
    mut model: Arc<Model>,
    setting: &FitSetting<'_>,
    work: &WorkFolder,
    progress: &mut dyn Progress,
) -> Result<Arc<Model>> {
    let layers = model.layers().len();
    let masks = Masks::new(setting.thresholds, model.recipe().dense_prefix);
    let mut streams = embedded(&model, setting.windows);
    progress.begin("compensating", layers as u64);
    for layer in 0..layers {
        let tensors: Vec<String> = GroupKind::ALL
            .iter()
            .flat_map(|kind| matrix_tensors(&Role::Matrix(layer, *kind).name(model.config()), model.weight_type()))
            .collect();
        let saved = format!("compensated.{layer}");
        let known = work.load_bytes(&saved)?;
        let fitted = known.is_some();
        if let Some(bytes) = known {
            model = stage::replaced(staging, model, tensors.iter().cloned().zip(bytes))?;
        }
        let mut bytes = Vec::new();
        let block = BlockPass::new(&model, layer);
        block.forward(&mut streams, &mut |group, inputs| {
            let mut linears = Linears::new(&model, group);
            let mut outputs: Vec<Mat> = inputs.iter().map(|x| linears.start(x)).collect();
            let mut matrices = Vec::new();
            for linear in group.linears() {
                let name = linear.kind().name_in(layer);
                let masked: Vec<Mat> = inputs.iter().map(|x| masks.kept(x, linear).into_owned()).collect();
                let (start, len) = (linear.columns().start, linear.columns().len());
                if !fitted {
                    let own = linears.weights.columns(start, len);
                    let new = fit(inputs, &masked, own, setting).map_err(|e| e.context(&name))?;
                    // Rounded as in the file, so that those behind make up for that as well.
                    let rounded =
                        StoredWeights::new(&name, &new.columns_as_rows(0, len), group.input(), model.weight_type())?;
                    let values = rounded.values(model.weight_type());
                    let values = MatRef::from_row_major_slice(&values, len, group.input());
                    linears.weights.columns_mut(start, len).copy_from(values.transpose());
                    matrices.push(rounded);
                }
                let weights = linears.weights.columns(start, len);
                for (y, masked) in outputs.iter_mut().zip(&masked) {
                    add_product(y.columns_mut(start, len), masked.view(), weights);
                }
            }
            if !fitted {
                bytes.extend(matrix_bytes(matrices, group.input(), model.weight_type()));
            }
            Ok(outputs)
        })?;
        if !fitted {
            work.save_bytes(&saved, &bytes)?;
            model = stage::replaced(staging, model, tensors.into_iter().zip(bytes))?;
        }
        progress.advance(1);
    }
    progress.end();
    Ok(model)
}

/// `R'` `[in, out]` for `R`, from inputs and the same with channels dropped, `[tokens, in]` a window.
fn fit(inputs: &[Mat], masked: &[Mat], weights: MatRef<'_, f32>, setting: &FitSetting<'_>) -> Result<Mat> {
    let n = weights.nrows();
    let (mut c, mut b) = (Mat::zeros(n, n), Mat::zeros(n, n));
    for (x, masked) in inputs.iter().zip(masked) {
        add_product(c.view_mut(), masked.view().transpose(), masked.view());
        add_product(b.view_mut(), masked.view().transpose(), x.view());
    }
    let ridge = setting.ridge * (0..n).map(|j| c.row(j)[j]).sum::<f32>() / n as f32;
    for j in 0..n {
        c.row_mut(j)[j] += ridge;
        b.row_mut(j)[j] += ridge;
    }
    let mut fitted = product(b.view(), weights);
    drop(b);
    if ridge == 0.0 {
        // Nothing is ever kept: there is nothing to make up with.
        fitted.view_mut().copy_from(weights);
        return Ok(fitted);
    }
    let failed = |what: &str| Error::new(Status::NonFinite, format!("{what}; a larger ridge or more text may help"));
    // Symmetric: the lower triangle says it all.
    let factors = c.view().llt(Side::Lower).map_err(|e| failed(&format!("its inputs give no fit ({e:?})")))?;
    factors.solve_in_place(fitted.view_mut());
    match fitted.data().iter().all(|w| w.is_finite()) {
        true => Ok(fitted),
        false => Err(failed("its fitted weights are not finite")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[tokens, 3]`: channel 2 is twice channel 0, channel 1 is something of its own.
    fn inputs() -> Mat {
        let tokens = (0..64).map(|t| ((t * 37 % 64) as f32 / 32.0 - 1.0, (t * 23 % 64) as f32 / 32.0 - 1.0));
        Mat::new(tokens.flat_map(|(a, b)| [a, b, 2.0 * a]).collect(), 64, 3)
    }

    fn without(x: &Mat, channel: usize) -> Mat {
        let mut masked = x.clone();
        (0..x.rows()).for_each(|row| masked.row_mut(row)[channel] = 0.0);
        masked
    }

    fn fitted(ridge: f32, masked: &Mat) -> Vec<f32> {
        let weights = Mat::new(vec![1.0, -1.0, 0.5, 3.0, 4.0, 5.0], 3, 2);
        let setting = FitSetting { windows: &[], thresholds: &[], ridge };
        fit(&[inputs()], std::slice::from_ref(masked), weights.view(), &setting).unwrap().data().to_vec()
    }

    #[test]
    fn what_kept_channels_predict_is_made_up_for() {
        let close = |found: &[f32], expected: &[f32]| {
            found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 0.02, "{found:?} for {expected:?}"));
        };
        // Channel 2 is dropped: channel 0 takes over twice its weights, and what is never kept stays.
        close(&fitted(1e-4, &without(&inputs(), 2)), &[9.0, 9.0, 0.5, 3.0, 4.0, 5.0]);
        // Channel 1 is dropped, and the others know little of it.
        let alone = fitted(1e-4, &without(&inputs(), 1));
        assert!((alone[2] - 0.5).abs() < 0.02 && (alone[3] - 3.0).abs() < 0.02, "{alone:?}");
        // Nothing is dropped, a strong ridge, or nothing is kept: nothing changes.
        let own = [1.0, -1.0, 0.5, 3.0, 4.0, 5.0];
        close(&fitted(0.3, &inputs()), &own);
        close(&fitted(1e6, &without(&inputs(), 2)), &own);
        assert_eq!(fitted(0.3, &Mat::zeros(64, 3)), own);
    }

    #[test]
    fn a_level_and_a_ridge_are_checked() {
        let level = |sparsity, ridge| Compensation { sparsity, ridge }.level(&[0.3, 0.5]);
        assert_eq!(level(0.5, 0.3).unwrap(), 1);
        for (sparsity, ridge, words) in
            [(0.4, 0.3, "none of the sparsities"), (0.5, 0.0, "ridge"), (0.5, f32::NAN, "ridge")]
        {
            let error = level(sparsity, ridge).unwrap_err();
            assert!(error.status() == Status::InvalidArgument && error.message().contains(words), "{error}");
        }
    }
}
