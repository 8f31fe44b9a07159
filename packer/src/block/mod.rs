//! One decoder block, forward from its residual stream and back again, in f32: for what the engine cannot do.
//!
//! Walks the block's operations (`rasp::model::Op`), each forward and backward. The engine runs the model; this is a
//! second way through one block, for gradients (`fisher`, `tune`) and for linears that
//! are not the file's (`compensate`, `rho`). A test holds it to the engine's. It computes on the threads of the rayon
//! pool it is called from, which is [`pack`](crate::pack())'s own.

mod activation;
mod attention;
mod dense;
#[cfg(test)]
mod families;
mod head;
mod matrix;
mod norm;
mod sparse;
#[cfg(test)]
mod tests;

use activation::{activated, activated_backward};
use attention::{Heads, rotate};
pub(crate) use dense::dense_streams;
pub(crate) use head::{HEAD_ROWS, HEAD_TOKENS, head_gradient, logits};
pub(crate) use matrix::{Mat, add_product, product};
use norm::{norm_row, norm_row_backward};
pub(crate) use norm::{normed, normed_backward};
use rasp::Result;
use rasp::format::Config;
use rasp::model::{Group, GroupKind, Layer, Linear, Model, Norm, NormId, Op, QkNorm, QkNormOver, Stream, UpRows};
use rasp_kernels::Kernels;
use rayon::prelude::*;
pub(crate) use sparse::{Masks, embedded};
use std::mem;
use std::ops::Range;

/// Told of each linear its input `[tokens, in]` and the gradient by what it keeps of it, through its masked weights
/// alone.
pub(crate) type GradientSink<'a> = &'a mut dyn FnMut(&Linear, &Mat, &Mat);

/// Stands in for a group of linears: from its inputs, `[tokens, in]` a window, to its outputs, `[tokens, out]`.
pub(crate) type Apply<'a> = &'a mut dyn FnMut(&Group, &[Mat]) -> Result<Vec<Mat>>;

/// A group of linears in f32.
pub(crate) struct Linears<'a> {
    group: &'a Group,
    /// `[in, out]`: `R`, or `W` where there is no low rank.
    pub(crate) weights: Mat,
    /// `(B [rank, in], A [rank, out])` of each linear
    low_ranks: Vec<Option<(Mat, Mat)>>,
    /// An `up` by outputs, `[intermediate, in]`: its outputs, of which none is left out here, come after the linears'.
    up: Option<(Mat, &'a UpRows)>,
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
        let up = group.up().map(|up| {
            let mut rows = Mat::zeros(group.output(), group.input());
            rows.par_rows_mut().enumerate().for_each(|(output, y)| model.up_values(up, output, y));
            (rows, up)
        });
        Linears { group, weights: group_weights(model, group), low_ranks: low_ranks.collect(), up }
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

    /// `bias + A·(B·x)`, `[tokens, out]`: what the products with `R` are added to. Behind them what an `up` by outputs
    /// gives, which is all of it.
    pub(crate) fn start(&self, x: &Mat) -> Mat {
        let outputs = self.group.output();
        let mut y = Mat::zeros(x.rows(), outputs + self.up.as_ref().map_or(0, |(rows, _)| rows.rows()));
        if let Some(bias) = self.group.bias_values() {
            (0..y.rows()).for_each(|row| y.row_mut(row)[..outputs].copy_from_slice(bias));
        }
        if let Some((rows, up)) = &self.up {
            if let Some(bias) = up.bias() {
                (0..y.rows()).for_each(|row| y.row_mut(row)[outputs..].copy_from_slice(bias));
            }
            add_product(y.columns_mut(outputs, rows.rows()), x.view(), rows.view().transpose());
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

    /// The gradient by `x`, masks staying as they are; `told` hears each linear's share of it that comes through `R`,
    /// of channels that were dropped as well.
    fn backward(&self, x: &Mat, dy: &Mat, masks: Masks<'_>, told: GradientSink<'_>) -> Mat {
        let mut dx = Mat::zeros(dy.rows(), self.group.input());
        if let Some((rows, _)) = &self.up {
            add_product(dx.view_mut(), dy.columns(self.group.output(), rows.rows()), rows.view());
        }
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
pub(crate) struct BlockPass<'a> {
    model: &'a Model,
    layer: &'a Layer,
}

/// What a window's tokens are on their way through a block, `[tokens, width]` each; empty where nothing is there yet.
#[derive(Default)]
struct BlockState {
    residual: Mat,
    normed: Mat,
    qkv: Mat,
    attended: Mat,
    gate_up: Mat,
    activated: Mat,
    delta: Mat,
}

impl BlockState {
    fn new(residual: Mat) -> BlockState {
        BlockState { residual, ..BlockState::default() }
    }

    fn stream(&mut self, stream: Stream) -> &mut Mat {
        match stream {
            Stream::Residual => &mut self.residual,
            Stream::Normed => &mut self.normed,
            Stream::Attended => &mut self.attended,
            Stream::Activated => &mut self.activated,
        }
    }

    /// Where a group's outputs go.
    fn outputs(&mut self, kind: GroupKind) -> &mut Mat {
        match kind {
            GroupKind::Qkv => &mut self.qkv,
            GroupKind::GateUp => &mut self.gate_up,
            GroupKind::O | GroupKind::Down => &mut self.delta,
        }
    }
}

/// What an operation leaves for its way back.
enum Tape<'a> {
    /// Nothing.
    None,
    /// What it took.
    Input(Mat),
    /// What a group took, and its weights.
    Linears(Mat, Linears<'a>),
}

/// Adds to a gradient, which is empty where there is none yet.
fn add_gradient(gradient: &mut Mat, more: Mat) {
    if gradient.rows() == 0 { *gradient = more } else { gradient.add(&more) }
}

impl<'a> BlockPass<'a> {
    pub(crate) fn new(model: &'a Model, layer: usize) -> BlockPass<'a> {
        BlockPass { model, layer: &model.layers()[layer] }
    }

    fn config(&self) -> &'a Config {
        self.model.config()
    }

    fn norm(&self, id: NormId) -> &'a Norm {
        self.layer.norm(id)
    }

    fn rotate(&self, table: usize, qkv: &mut Mat, sign: f64) {
        rotate(self.config(), self.model.rope(table), self.config().block.rope_gain(table), qkv, sign);
    }

    /// What an operation other than a projection does to a window's tokens.
    fn apply(&self, op: Op, state: &mut BlockState) {
        match op {
            Op::Norm(id) => state.normed = normed(&state.residual, self.norm(id)),
            Op::Clip(most) => state.qkv.data_mut().iter_mut().for_each(|x| *x = x.clamp(-most, most)),
            Op::HeadNorm(norm) => {
                let (x, parts, kernels) = (state.qkv.clone(), self.normed_parts(norm), Kernels::best());
                for row in 0..x.rows() {
                    for (own, place, of) in &parts {
                        let y = &mut state.qkv.row_mut(row)[place.clone()];
                        norm_row(kernels, own, &x.row(row)[place.clone()], y, of.clone());
                    }
                }
            }
            Op::Rotate(table) => self.rotate(table, &mut state.qkv, 1.0),
            Op::Attend(kind) => state.attended = Heads { config: self.config(), kind }.forward(&state.qkv),
            Op::Activate(kind) => state.activated = activated(kind, &state.gate_up, self.config().intermediate_size),
            Op::PostNorm(id) => state.delta = normed(&state.delta, self.norm(id)),
            Op::Add => state.residual.add(&state.delta),
            // Keys and values stay where they are.
            Op::Store | Op::Project(..) => {}
        }
    }

    /// The parts of a row of queries, keys and values that are normed, each with its norm and its place there.
    fn normed_parts(&self, norm: QkNorm) -> Vec<(&'a Norm, Range<usize>, Range<usize>)> {
        let config = self.config();
        let mut parts = Vec::new();
        let mut start = 0;
        for (own, width) in self.layer.qk_norm().into_iter().flatten().zip([config.q_dim(), config.kv_dim()]) {
            let part = if norm.over == QkNormOver::Head { config.head_dim } else { width };
            parts.extend((0..width).step_by(part).map(|at| (own, start + at..start + at + part, at..at + part)));
            start += width;
        }
        parts
    }

    /// The residual streams after the block, from those before it, one a window, with `apply` for the linears.
    pub(crate) fn forward(&self, streams: &mut [Mat], apply: Apply<'_>) -> Result<()> {
        let mut states: Vec<BlockState> = streams.iter_mut().map(|x| BlockState::new(mem::take(x))).collect();
        let ops = self.layer.ops();
        for (n, &op) in ops.iter().enumerate() {
            if let Op::Project(kind, from) = op {
                // A stream that nothing reads any more need not stay.
                let read_again = ops[n + 1..].iter().any(|op| matches!(op, Op::Project(_, other) if *other == from));
                let keep = from == Stream::Residual || read_again;
                let inputs: Vec<Mat> = states
                    .iter_mut()
                    .map(|state| if keep { state.stream(from).clone() } else { mem::take(state.stream(from)) })
                    .collect();
                let outputs = apply(self.layer.group(kind), &inputs)?;
                states.iter_mut().zip(outputs).for_each(|(state, y)| *state.outputs(kind) = y);
            } else {
                states.iter_mut().for_each(|state| self.apply(op, state));
            }
        }
        streams.iter_mut().zip(states).for_each(|(x, state)| *x = state.residual);
        Ok(())
    }

    /// The same with the model's own linears: what [`backward`](BlockPass::backward) differentiates.
    pub(crate) fn sparse(&self, streams: &mut [Mat], masks: Masks<'_>) {
        let own = &mut |group: &Group, x: &[Mat]| {
            let linears = Linears::new(self.model, group);
            Ok(x.iter().map(|x| linears.forward(x, masks)).collect())
        };
        self.forward(streams, own).expect("nothing here fails");
    }

    /// The gradient by the residual stream `x` before the block, from `dout` by the stream after it.
    pub(crate) fn backward(&self, x: &Mat, dout: Mat, masks: Masks<'_>, told: GradientSink<'_>) -> Mat {
        let tapes = self.tapes(x, masks);
        // The gradients by the same activations, going back.
        let mut gradient = BlockState::new(dout);
        for (&op, tape) in self.layer.ops().iter().zip(tapes).rev() {
            self.back(op, tape, &mut gradient, masks, told);
        }
        gradient.residual
    }

    /// The way forward, with what the way back needs.
    fn tapes(&self, x: &Mat, masks: Masks<'_>) -> Vec<Tape<'a>> {
        let mut state = BlockState::new(x.clone());
        let ops = self.layer.ops();
        let tape = |(n, &op): (usize, &Op)| match op {
            Op::Project(kind, from) => {
                let linears = Linears::new(self.model, self.layer.group(kind));
                let x = state.stream(from).clone();
                // What comes of the last one is only added.
                if ops[n + 1..] != [Op::Add] {
                    *state.outputs(kind) = linears.forward(&x, masks);
                }
                Tape::Linears(x, linears)
            }
            Op::Add if n + 1 == ops.len() => Tape::None,
            op => {
                let tape = match op {
                    Op::Norm(_) => Tape::Input(state.residual.clone()),
                    Op::Clip(_) | Op::HeadNorm(_) | Op::Attend(_) => Tape::Input(state.qkv.clone()),
                    Op::Activate(_) => Tape::Input(state.gate_up.clone()),
                    Op::PostNorm(_) => Tape::Input(state.delta.clone()),
                    Op::Rotate(_) | Op::Store | Op::Add | Op::Project(..) => Tape::None,
                };
                self.apply(op, &mut state);
                tape
            }
        };
        ops.iter().enumerate().map(tape).collect()
    }

    /// An operation's way back: from the gradients by what it gives to those by what it takes.
    fn back(&self, op: Op, tape: Tape<'_>, gradient: &mut BlockState, masks: Masks<'_>, told: GradientSink<'_>) {
        let (x, linears) = match tape {
            Tape::None => (Mat::default(), None),
            Tape::Input(x) => (x, None),
            Tape::Linears(x, linears) => (x, Some(linears)),
        };
        match op {
            Op::Norm(id) => {
                let dy = mem::take(&mut gradient.normed);
                add_gradient(&mut gradient.residual, normed_backward(&x, self.norm(id), &dy));
            }
            Op::Project(kind, from) => {
                let dy = mem::take(gradient.outputs(kind));
                let linears = linears.expect("a projection leaves its weights");
                add_gradient(gradient.stream(from), linears.backward(&x, &dy, masks, told));
            }
            // What is held at the edge does not move.
            Op::Clip(most) => {
                let dx = gradient.qkv.data_mut().iter_mut().zip(x.data());
                dx.for_each(|(dx, x)| *dx = if x.abs() <= most { *dx } else { 0.0 });
            }
            Op::HeadNorm(norm) => {
                let (dy, parts) = (gradient.qkv.clone(), self.normed_parts(norm));
                for row in 0..dy.rows() {
                    for (own, place, of) in &parts {
                        let (x, dy) = (&x.row(row)[place.clone()], &dy.row(row)[place.clone()]);
                        norm_row_backward(own, x, dy, &mut gradient.qkv.row_mut(row)[place.clone()], of.clone());
                    }
                }
            }
            Op::Rotate(table) => self.rotate(table, &mut gradient.qkv, -1.0),
            Op::Attend(kind) => {
                let dy = mem::take(&mut gradient.attended);
                gradient.qkv = Heads { config: self.config(), kind }.backward(&x, &dy);
            }
            Op::Activate(kind) => {
                let dy = mem::take(&mut gradient.activated);
                gradient.gate_up = activated_backward(kind, &x, &dy);
            }
            Op::PostNorm(id) => gradient.delta = normed_backward(&x, self.norm(id), &gradient.delta),
            Op::Add => gradient.delta = gradient.residual.clone(),
            Op::Store => {}
        }
    }
}
