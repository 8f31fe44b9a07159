//! The gradient against finite differences, and the recomputed block against the engine's.

use super::*;
use crate::block::{Linears, add_product, group_weights};
use crate::test_model::{TOKENS, model};
use rasp::model::{GroupKind, LinearKind};

/// The residual stream before each block and after the last.
fn streams_of_text(model: &Arc<Model>) -> Vec<Mat> {
    dense_streams(&mut Scorer::exact(model.clone(), TOKENS.len(), 1).unwrap(), &TOKENS).unwrap()
}

fn dense(block: &BlockPass<'_>, x: &Mat) -> Mat {
    let mut streams = [x.clone()];
    block.sparse(&mut streams, Masks::DENSE);
    let [x] = streams;
    x
}

#[test]
fn a_recomputed_block_is_the_engines() {
    let model = model();
    let streams = streams_of_text(&model);
    for layer in 0..model.layers().len() {
        let found = dense(&BlockPass::new(&model, layer), &streams[layer]);
        let largest = found.data().iter().fold(0.0f32, |a, x| a.max(x.abs()));
        for (found, engine) in found.data().iter().zip(streams[layer + 1].data()) {
            assert!((found - engine).abs() < 1e-4 * largest, "layer {layer}: {found} for {engine}");
        }
    }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let model = model();
    let x = streams_of_text(&model).swap_remove(0);
    let block = BlockPass::new(&model, 0);
    // A linear function of the block's output, with coefficients that are all different.
    let coefficients: Vec<f32> = (0..x.data().len()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let value = |x: &Mat| {
        let y = dense(&block, x);
        y.data().iter().zip(&coefficients).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum::<f64>()
    };
    let mut linears = 0;
    let dout = Mat::new(coefficients.clone(), x.rows(), x.cols());
    let gradient = block.backward(&x, dout, Masks::DENSE, &mut |_, _, _| linears += 1);
    assert_eq!(linears, LinearKind::ALL.len());
    let mut checked = 0;
    for at in (0..x.data().len()).step_by(29) {
        let step = 1e-2;
        let mut moved = x.clone();
        moved.data_mut()[at] += step;
        let above = value(&moved);
        moved.data_mut()[at] -= 2.0 * step;
        let slope = (above - value(&moved)) / f64::from(2.0 * step);
        let found = f64::from(gradient.data()[at]);
        assert!((found - slope).abs() < 2e-2 * slope.abs().max(1.0), "element {at}: {found} for {slope}");
        checked += 1;
    }
    assert!(checked > 20);
}

/// The block's output with the channels dropped that are dropped from `inputs`, the groups' in order; fills them in if
/// they are not there.
fn with_masks_of(block: &BlockPass<'_>, model: &Model, x: &Mat, masks: Masks<'_>, inputs: &mut Vec<Mat>) -> Mat {
    let mut streams = [x.clone()];
    let known = !inputs.is_empty();
    let mut group_number = 0;
    let forward = block.forward(&mut streams, &mut |group, x| {
        let x = &x[0];
        if !known {
            inputs.push(x.clone());
        }
        let base = &inputs[group_number];
        group_number += 1;
        let linears = Linears::new(model, group);
        let mut y = linears.start(x);
        for linear in group.linears() {
            let mut kept = x.clone();
            masks.drop_in(base, linear, &mut kept);
            let (start, len) = (linear.columns().start, linear.columns().len());
            add_product(y.columns_mut(start, len), kept.view(), linears.weights.columns(start, len));
        }
        Ok(vec![y])
    });
    forward.unwrap();
    let [y] = streams;
    y
}

#[test]
fn a_sparse_blocks_gradient_is_that_of_finite_differences() {
    let model = model();
    let x = streams_of_text(&model).swap_remove(0);
    let block = BlockPass::new(&model, 0);
    let scores: Vec<Vec<f32>> =
        model.linears().map(|linear| vec![1.0; linear.score().map_or(0, <[f32]>::len)]).collect();
    assert!(scores.iter().all(|score| !score.is_empty()), "the tiny model has scores");
    let thresholds = vec![0.4; scores.len()];
    let masks = Masks::new(&thresholds, 1).with_scores(&scores);
    let mut inputs = Vec::new();
    let y = with_masks_of(&block, &model, &x, masks, &mut inputs);
    let mut own = [x.clone()];
    block.sparse(&mut own, masks);
    assert_eq!(own[0], y);
    assert_ne!(dense(&block, &x), y);
    let coefficients: Vec<f32> = (0..x.data().len()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let dout = Mat::new(coefficients.clone(), x.rows(), x.cols());
    let gradient = block.backward(&x, dout, masks, &mut |_, _, _| ());
    for at in (0..x.data().len()).step_by(29) {
        let mut value = |by: f32| {
            let mut moved = x.clone();
            moved.data_mut()[at] += by;
            let y = with_masks_of(&block, &model, &moved, masks, &mut inputs);
            y.data().iter().zip(&coefficients).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum::<f64>()
        };
        let slope = (value(1e-2) - value(-1e-2)) / 2e-2;
        let found = f64::from(gradient.data()[at]);
        assert!((found - slope).abs() < 2e-2 * slope.abs().max(1.0), "element {at}: {found} for {slope}");
    }
}

#[test]
fn gradients_of_drawn_labels_cancel_on_average() {
    let model = model();
    let x = streams_of_text(&model).pop().unwrap();
    let gradient = labels::gradient(&model, &x, 7).unwrap();
    // The gradient of -log p(y) has mean zero over labels drawn from p: averaged over many draws little must be left.
    let mut mean = vec![0.0f64; gradient.data().len()];
    const SEEDS: u64 = 400;
    for seed in 0..SEEDS {
        let one = labels::gradient(&model, &x, seed).unwrap();
        mean.iter_mut().zip(one.data()).for_each(|(m, g)| *m += f64::from(*g) / SEEDS as f64);
    }
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>();
    let single = square(&mut gradient.data().iter().map(|x| f64::from(*x)));
    let averaged = square(&mut mean.into_iter());
    assert!(single > 0.0 && averaged < single * 0.05, "{averaged} of {single}");
}

#[test]
fn the_last_linears_information_is_that_made_by_hand() {
    let model = model();
    let window: Vec<u32> = (0..96).map(|i| (i * 31 % 251) as u32).collect();
    let mut fisher = Fisher::new(&model);
    let mut scorer = Scorer::exact(model.clone(), window.len(), 1).unwrap();
    for seed in 0..40 {
        add_window(&mut fisher, &mut scorer, &window, seed).unwrap();
    }
    assert_eq!(fisher.tokens, 40 * (window.len() - 1));
    let sums: Vec<f64> = fisher.sums.iter().map(|s| s.iter().sum::<f64>()).collect();
    assert!(sums.iter().all(|s| s.is_finite() && *s > 0.0), "{sums:?}");
    // The last linear's Fisher information can be had by hand: its output is added to the residual stream that the head
    // reads, so F_j = E[(∂L/∂stream · W[j, :])²].
    let last = model.layers().last().unwrap();
    let weights = group_weights(&model, last.group(GroupKind::Down));
    let hidden = model.config().hidden_size;
    let stream = dense_streams(&mut scorer, &window).unwrap().pop().unwrap();
    let mut by_hand = vec![0.0f64; last.group(GroupKind::Down).input()];
    for seed in 0..40 {
        let g = labels::gradient(&model, &stream, seed).unwrap();
        for row in 1..g.rows() {
            for (j, sum) in by_hand.iter_mut().enumerate() {
                let h: f32 = weights.row(j).iter().zip(g.row(row)).map(|(w, g)| w * g).sum();
                *sum += f64::from(h) * f64::from(h);
            }
        }
    }
    let own = &fisher.sums[last.group(GroupKind::Down).linears()[0].index()];
    for (found, expected) in own.iter().zip(&by_hand) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} for {expected}");
    }
    // Halfway shrunk to the mean: the scores keep the order of the channels.
    let score = fisher.score(last.group(GroupKind::Down).linears()[0].index(), hidden);
    let largest = (0..own.len()).max_by(|&a, &b| own[a].total_cmp(&own[b])).unwrap();
    assert!(score.iter().all(|&s| s > 0.0 && s <= score[largest]));
}
