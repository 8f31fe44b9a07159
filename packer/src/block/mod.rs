//! One decoder block, forward from its residual stream and back again, in f32: for what the engine cannot do.
//!
//! The engine runs the model; this is a second way through one block, for gradients (`fisher`, `tune`) and for linears that
//! are not the file's (`compensate`, `rho`). A test holds it to the engine's. It computes on the threads of the rayon pool it
//! is called from, which is [`pack`](crate::pack())'s own.

mod attention;
mod dense;
mod head;
mod matrix;
mod norm;
mod sparse;

use attention::Attention;
pub(crate) use dense::dense_streams;
pub(crate) use head::{head_gradient, logits};
pub(crate) use matrix::{Mat, add_product, product};
pub(crate) use norm::{rms_norm, rms_norm_backward};
use rasp::Result;
use rasp::model::{Group, GroupKind, Linear, Model};
use rasp_kernels::Kernels;
use rayon::prelude::*;
pub(crate) use sparse::{Masks, embedded};

/// Told of each linear its input `[tokens, in]` and the gradient by what it keeps of it, through its masked weights alone.
pub(crate) type Told<'a> = &'a mut dyn FnMut(&Linear, &Mat, &Mat);

/// Stands in for a group of linears: from its inputs, `[tokens, in]` a window, to its outputs, `[tokens, out]`.
pub(crate) type Apply<'a> = &'a mut dyn FnMut(&Group, &[Mat]) -> Result<Vec<Mat>>;

/// A group of linears in f32.
pub(crate) struct Linears<'a> {
    group: &'a Group,
    /// `[in, out]`: `R`, or `W` where there is no low rank.
    pub(crate) weights: Mat,
    /// `(B [rank, in], A [rank, out])` of each linear
    low_ranks: Vec<Option<(Mat, Mat)>>,
}

/// The weights of a group, `[in, out]`.
pub(crate) fn group_weights(model: &Model, group: &Group) -> Mat {
    let mut weights = Mat::zeros(group.input(), group.output());
    weights.par_rows_mut().enumerate().for_each(|(channel, y)| model.channel_values(group, channel, y));
    weights
}

impl<'a> Linears<'a> {
    pub(crate) fn new(model: &Model, group: &'a Group) -> Linears<'a> {
        let input = group.input();
        let low_ranks = group.linears().iter().map(|linear| {
            linear.low_rank().map(|low_rank| {
                let (b, a) = model.low_rank_values(low_rank);
                let rank = linear.rank();
                (Mat::new(b, rank, input), Mat::new(a, rank, linear.columns().len()))
            })
        });
        Linears { group, weights: group_weights(model, group), low_ranks: low_ranks.collect() }
    }

    /// `bias + A·(B·x) + R·(x∘m)`, `[tokens, out]`.
    fn forward(&self, x: &Mat, masks: Masks<'_>) -> Mat {
        let mut y = self.start(x);
        for linear in self.group.linears() {
            let (start, len) = (linear.columns().start, linear.columns().len());
            let kept = masks.kept(x, linear);
            let weights = self.weights.columns(start, len);
            add_product(y.columns_mut(start, len), kept.view(), weights);
        }
        y
    }

    /// `bias + A·(B·x)`, `[tokens, out]`: what the products with `R` are added to.
    pub(crate) fn start(&self, x: &Mat) -> Mat {
        let mut y = Mat::zeros(x.rows(), self.group.output());
        if let Some(bias) = self.group.bias_values() {
            (0..y.rows()).for_each(|row| y.row_mut(row).copy_from_slice(bias));
        }
        for (linear, low_rank) in self.group.linears().iter().zip(&self.low_ranks) {
            if let Some((b, a)) = low_rank {
                let t = product(x.view(), b.view().transpose());
                let columns = linear.columns();
                add_product(y.columns_mut(columns.start, columns.len()), t.view(), a.view());
            }
        }
        y
    }

    /// The gradient by `x`, masks staying as they are; `told` hears each linear's share of it that comes through `R`, of
    /// channels that were dropped as well.
    fn backward(&self, x: &Mat, dy: &Mat, masks: Masks<'_>, told: Told<'_>) -> Mat {
        let mut dx = Mat::zeros(dy.rows(), self.group.input());
        for (linear, low_rank) in self.group.linears().iter().zip(&self.low_ranks) {
            let (start, len) = (linear.columns().start, linear.columns().len());
            let dy = dy.columns(start, len);
            let mut h = product(dy, self.weights.columns(start, len).transpose());
            told(linear, x, &h);
            masks.drop_in(x, linear, &mut h);
            dx.add(&h);
            if let Some((b, a)) = low_rank {
                let dt = product(dy, a.view().transpose());
                add_product(dx.view_mut(), dt.view(), b.view());
            }
        }
        dx
    }
}

/// One block of a model.
pub(crate) struct Block<'a> {
    model: &'a Model,
    layer: usize,
}

/// `silu(x) = x·σ(x)` and its derivative.
fn silu_and_slope(x: f32) -> (f32, f32) {
    let s = 1.0 / (1.0 + (-x).exp());
    (x * s, s * (1.0 + x * (1.0 - s)))
}

impl<'a> Block<'a> {
    pub(crate) fn new(model: &'a Model, layer: usize) -> Block<'a> {
        Block { model, layer }
    }

    fn linears(&self, kind: GroupKind) -> Linears<'a> {
        Linears::new(self.model, self.model.layers()[self.layer].groups()[kind as usize])
    }

    fn attention(&self) -> Attention<'a> {
        Attention { config: self.model.config(), inv_freq: self.model.rope_inv_freq() }
    }

    /// The residual streams after the block, from those before it, one a window, with `apply` for the linears.
    pub(crate) fn forward(&self, streams: &mut [Mat], apply: Apply<'_>) -> Result<()> {
        let (layer, eps) = (&self.model.layers()[self.layer], self.model.config().rms_norm_eps);
        let attention = self.attention();
        let normed = |streams: &[Mat], gain: &[f32]| streams.iter().map(|x| rms_norm(x, gain, eps)).collect::<Vec<_>>();
        let add = |streams: &mut [Mat], y: Vec<Mat>| streams.iter_mut().zip(&y).for_each(|(x, y)| x.add(y));

        let mut attended = apply(&layer.qkv, &normed(streams, &layer.attn_norm))?;
        for qkv in &mut attended {
            attention.rope(qkv, 1.0);
            *qkv = attention.forward(qkv);
        }
        add(streams, apply(&layer.o, &attended)?);
        drop(attended);
        let mut act = apply(&layer.gate_up, &normed(streams, &layer.mlp_norm))?;
        act.iter_mut().for_each(|gate_up| *gate_up = gated(gate_up));
        add(streams, apply(&layer.down, &act)?);
        Ok(())
    }

    /// The same with the model's own linears: what [`backward`](Block::backward) differentiates.
    pub(crate) fn sparse(&self, streams: &mut [Mat], masks: Masks<'_>) {
        let own = &mut |group: &Group, x: &[Mat]| {
            let linears = Linears::new(self.model, group);
            Ok(x.iter().map(|x| linears.forward(x, masks)).collect())
        };
        self.forward(streams, own).expect("nothing here fails");
    }

    /// The gradient by the residual stream `x` before the block, from `dout` by the stream after it.
    pub(crate) fn backward(&self, x: &Mat, dout: Mat, masks: Masks<'_>, told: Told<'_>) -> Mat {
        let (layer, eps) = (&self.model.layers()[self.layer], self.model.config().rms_norm_eps);
        let attention = self.attention();
        let linears_qkv = self.linears(GroupKind::Qkv);
        let attn_normed = rms_norm(x, &layer.attn_norm, eps);
        let mut qkv = linears_qkv.forward(&attn_normed, masks);
        attention.rope(&mut qkv, 1.0);
        let linears_o = self.linears(GroupKind::O);
        let attended = attention.forward(&qkv);
        let mut middle = x.clone();
        middle.add(&linears_o.forward(&attended, masks));
        let linears_gate_up = self.linears(GroupKind::GateUp);
        let mlp_normed = rms_norm(&middle, &layer.mlp_norm, eps);
        let gate_up = linears_gate_up.forward(&mlp_normed, masks);

        let dact = self.linears(GroupKind::Down).backward(&gated(&gate_up), &dout, masks, told);
        let dgate_up = gated_backward(&gate_up, &dact);
        let dnormed = linears_gate_up.backward(&mlp_normed, &dgate_up, masks, told);
        let mut dmiddle = dout;
        dmiddle.add(&rms_norm_backward(&middle, &layer.mlp_norm, eps, &dnormed));

        let dattn = linears_o.backward(&attended, &dmiddle, masks, told);
        let mut dqkv = attention.backward(&qkv, &dattn);
        attention.rope(&mut dqkv, -1.0);
        let dnormed = linears_qkv.backward(&attn_normed, &dqkv, masks, told);
        let mut dx = dmiddle;
        dx.add(&rms_norm_backward(x, &layer.attn_norm, eps, &dnormed));
        dx
    }
}

/// `silu(gate)·up`, from both side by side.
fn gated(gate_up: &Mat) -> Mat {
    let width = gate_up.cols() / 2;
    let kernels = Kernels::best();
    let mut y = Mat::zeros(gate_up.rows(), width);
    y.par_rows_mut().enumerate().for_each(|(row, y)| {
        let (gate, up) = gate_up.row(row).split_at(width);
        kernels.silu_mul(y, gate, up);
    });
    y
}

/// The gradient by gate and up, side by side, from `dact` by their gated product.
fn gated_backward(gate_up: &Mat, dact: &Mat) -> Mat {
    let width = dact.cols();
    let mut d = Mat::zeros(gate_up.rows(), gate_up.cols());
    d.par_rows_mut().enumerate().for_each(|(row, d)| {
        let (gate, up) = gate_up.row(row).split_at(width);
        let (dgate, dup) = d.split_at_mut(width);
        for (i, &dact) in dact.row(row).iter().enumerate() {
            let (silu, slope) = silu_and_slope(gate[i]);
            dgate[i] = dact * up[i] * slope;
            dup[i] = dact * silu;
        }
    });
    d
}
