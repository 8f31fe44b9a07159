//! Every operation against the engine's, and every gradient against finite differences: an operation without one cannot
//! land, since [`VARIANTS`] are held to contain all there are.

use super::{BlockPass, Linears, Masks, Mat, dense_streams, normed, normed_backward};
use crate::test_model;
use rasp::model::{
    self, Activation, Attention, BlockOrder, GroupKind, Linear, Model, NormKind, NormPlace, Op, QkNorm, QkNormOver,
};
use rasp::session::Scorer;
use std::sync::Arc;

const TOKENS: [u32; 12] = test_model::TOKENS;

const HEAD: QkNorm = QkNorm { kind: NormKind::Rms, over: QkNormOver::Head, after_rotation: false };
const TURNED: Attention = Attention { window: None, rope: Some(0), scale: None, soft_cap: None };

/// Blocks that have, between them, every operation in every way it can be done.
fn variants() -> Vec<(&'static str, model::Block)> {
    let block = model::Block::default;
    let local = Attention { window: Some(4), rope: Some(1), scale: Some(0.2), soft_cap: None };
    let mut variants = vec![
        ("llama", block()),
        (
            "both norms, a cap, windows, two tables",
            model::Block {
                norm_place: NormPlace::Both,
                qk_norm: Some(HEAD),
                activation: Activation::GeluTanh,
                attention: vec![Attention { soft_cap: Some(2.0), ..TURNED }, local],
                layers: vec![1, 0],
                embedding_scale: 8.0,
                rope_gains: vec![1.2, 0.9],
                logit_soft_cap: Some(5.0),
                ..block()
            },
        ),
        (
            "norms after, over all heads",
            model::Block {
                norm_place: NormPlace::After,
                qk_norm: Some(QkNorm { over: QkNormOver::Vector, ..HEAD }),
                ..block()
            },
        ),
        (
            "norm after rotation, no rotation in one layer",
            model::Block {
                qk_norm: Some(QkNorm { after_rotation: true, ..HEAD }),
                attention: vec![TURNED, Attention { rope: None, ..TURNED }],
                layers: vec![0, 1],
                ..block()
            },
        ),
        (
            "parallel, one layer norm, no gate",
            model::Block {
                norm: NormKind::Layer,
                order: BlockOrder::Parallel,
                qk_norm: Some(QkNorm { kind: NormKind::Layer, ..HEAD }),
                activation: Activation::GeluErf,
                gated: false,
                ..block()
            },
        ),
        (
            "parallel, two layer norms, positions",
            model::Block {
                norm: NormKind::Layer,
                order: BlockOrder::ParallelNorms,
                activation: Activation::Relu2,
                gated: false,
                attention: vec![Attention { rope: None, ..TURNED }],
                positions: true,
                ..block()
            },
        ),
    ];
    variants.push((
        "no gate, xIELU of each layer, a clip that is felt (kinks, as of relu)",
        model::Block {
            qkv_clip: Some(0.5),
            qk_norm: Some(HEAD),
            activation: Activation::XIELU,
            xielu: vec![[1.5, 0.6, 0.4], [0.3, 2.0, 0.7]],
            gated: false,
            ..block()
        },
    ));
    for (name, activation) in [("gated relu", Activation::Relu), ("gated relu2", Activation::Relu2)] {
        variants.push((name, model::Block { activation, ..block() }));
    }
    let relu = model::Block { activation: Activation::Relu, up_by_outputs: true, ..block() };
    variants.push(("gated relu, up by outputs", relu));
    variants
}

/// What kind of operation it is, and how it is done.
fn name(op: &Op) -> String {
    match op {
        Op::Norm(id) => format!("norm {id:?}"),
        Op::Project(kind, from) => format!("project {kind:?} from {from:?}"),
        Op::HeadNorm(norm) => format!("head norm {norm:?}"),
        Op::Rotate(table) => format!("rotate by {table}"),
        Op::Store => "store".into(),
        Op::Clip(_) => "clip".into(),
        Op::Attend(kind) => format!("attend, window {}, cap {}", kind.window.is_some(), kind.soft_cap.is_some()),
        Op::Activate(kind) => format!("activate {}", kind.name()),
        Op::PostNorm(id) => format!("post norm {id:?}"),
        Op::Add => "add".into(),
    }
}

#[test]
fn the_variants_have_every_operation() {
    let mut seen: Vec<String> = Vec::new();
    for (_, block) in variants() {
        let model = test_model::of(block);
        seen.extend(model.layers().iter().flat_map(|layer| layer.ops()).map(name));
    }
    let missing = |wanted: &str| !seen.iter().any(|name| name.contains(wanted));
    let mut wanted: Vec<String> = Activation::ALL.iter().map(|kind| format!("activate {}", kind.name())).collect();
    wanted.extend(model::NormId::ALL.iter().map(|id| format!("norm {id:?}")));
    wanted.extend(
        ["window true", "cap true", "rotate by 1", "store", "clip", "add", "Residual", "Normed", "Vector"]
            .map(String::from),
    );
    wanted.extend(["after_rotation: true", "kind: Layer"].map(String::from));
    wanted.extend(GroupKind::ALL.iter().map(|kind| format!("project {kind:?}")));
    let missing: Vec<_> = wanted.iter().filter(|wanted| missing(wanted)).collect();
    assert!(missing.is_empty(), "no variant has {missing:?}");
}

fn streams(model: &Arc<Model>) -> Vec<Mat> {
    let mut scorer = Scorer::exact(model.clone(), TOKENS.len(), 1).unwrap();
    dense_streams(&mut scorer, &TOKENS).unwrap()
}

#[test]
fn every_block_is_the_engines() {
    for (name, block) in variants() {
        let model = test_model::of(block);
        let streams = streams(&model);
        for layer in 0..model.layers().len() {
            let mut own = [streams[layer].clone()];
            BlockPass::new(&model, layer).sparse(&mut own, Masks::DENSE);
            let largest = streams[layer + 1].data().iter().fold(0.0f32, |most, x| most.max(x.abs()));
            for (at, (own, engine)) in own[0].data().iter().zip(streams[layer + 1].data()).enumerate() {
                assert!((own - engine).abs() < 3e-5 * largest.max(1.0), "{name}, {layer}, {at}: {own} for {engine}");
            }
        }
    }
}

/// The logits behind the last block, caps and biases included, and masked passes: the engine's.
#[test]
fn sparse_logits_are_the_engines() {
    for (name, block) in variants() {
        let model = test_model::of(block);
        let mut scorer = Scorer::exact(model.clone(), TOKENS.len(), 1).unwrap();
        let thresholds: Vec<f32> = model.linears().map(|linear| linear.thresholds()[0]).collect();
        scorer.set_thresholds(&thresholds).unwrap();
        let mut engine = Vec::new();
        let keep = |_: usize, logits: &[f32]| {
            engine.extend_from_slice(logits);
            Ok(())
        };
        scorer.logits(&TOKENS, 1, keep).unwrap();
        let mut own = super::embedded(&model, &[&TOKENS]);
        for layer in 0..model.layers().len() {
            BlockPass::new(&model, layer).sparse(&mut own, Masks::new(&thresholds, 1));
        }
        let mut found = Vec::new();
        super::logits(&model, &normed(&own[0], model.final_norm()), |_, logits| {
            found.extend_from_slice(logits.data());
            Ok(())
        })
        .unwrap();
        let largest = engine.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (at, (own, engine)) in found.iter().zip(&engine).enumerate() {
            assert!((own - engine).abs() < 1e-4 * largest, "{name}, {at}: {own} for {engine}");
        }
    }
}

/// Some of what is clipped is, and not all of it.
#[test]
fn a_clip_is_felt() {
    let clipped = variants().into_iter().map(|(_, block)| block).find(|block| block.qkv_clip.is_some()).unwrap();
    let free = model::Block { qkv_clip: None, ..clipped.clone() };
    let last = |block: model::Block| streams(&test_model::of(block)).pop().unwrap();
    let shut = model::Block { qkv_clip: Some(1e-6), ..clipped.clone() };
    let [own, free, shut] = [clipped, free, shut].map(last);
    assert!(own != free && own != shut);
}

fn coefficients(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect()
}

/// A functional of what a block gives, in f64.
fn value(block: &BlockPass<'_>, x: &Mat, coefficients: &[f32]) -> f64 {
    let mut own = [x.clone()];
    block.sparse(&mut own, Masks::DENSE);
    own[0].data().iter().zip(coefficients).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum()
}

#[test]
fn every_gradient_is_that_of_finite_differences() {
    for (name, block) in variants() {
        let model = test_model::of(block);
        let streams = streams(&model);
        for (layer, x) in streams[..model.layers().len()].iter().enumerate() {
            let block = BlockPass::new(&model, layer);
            let coefficients = coefficients(x.data().len());
            let dout = Mat::new(coefficients.clone(), x.rows(), x.cols());
            let mut told = Vec::new();
            let gradient = block.backward(x, dout, Masks::DENSE, &mut |linear: &Linear, x: &Mat, h: &Mat| {
                assert_eq!((x.rows(), x.cols()), (h.rows(), h.cols()));
                told.push(linear.index());
            });
            told.sort();
            let own = layer * model.config().linears().len()..(layer + 1) * model.config().linears().len();
            assert_eq!(told, own.collect::<Vec<_>>(), "{name}: each linear once");
            // Along directions in each of which all elements move; in small steps where a ReLU has its kinks.
            for direction in 0..6 {
                let along = |at: usize| (((at * (2 * direction + 3)) % 17) as f32 - 8.0) / 8.0;
                let by = if name.contains("relu") { 3e-4 } else { 2e-3 };
                let moved = |sign: f32| {
                    let mut moved = x.clone();
                    moved.data_mut().iter_mut().enumerate().for_each(|(at, x)| *x += sign * by * along(at));
                    value(&block, &moved, &coefficients)
                };
                let slope = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(by));
                let found: f64 =
                    gradient.data().iter().enumerate().map(|(at, g)| f64::from(*g) * f64::from(along(at))).sum();
                let size: f64 = gradient.data().iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                assert!(
                    (found - slope).abs() < 2e-2 * slope.abs() + 4e-3 * size,
                    "{name}, layer {layer}, direction {direction}: {found} for {slope}"
                );
            }
        }
    }
}

/// The same through the last norm, biases and caps of the logits.
#[test]
fn the_heads_gradient_is_that_of_finite_differences() {
    for (name, block) in variants() {
        let model = test_model::of(block);
        let x = streams(&model).pop().unwrap();
        let weights = coefficients(x.rows() * model.config().vocab_size);
        let value = |x: &Mat| {
            let mut sum = 0.0;
            super::logits(&model, &normed(x, model.final_norm()), |first, logits| {
                let weights = &weights[first * logits.cols()..];
                sum += logits.data().iter().zip(weights).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum::<f64>();
                Ok(())
            })
            .unwrap();
            sum
        };
        let gradient = super::head_gradient(&model, &x, |first, logits| {
            let from = first * logits.cols();
            let len = logits.data().len();
            logits.data_mut().copy_from_slice(&weights[from..from + len]);
            Ok(())
        })
        .unwrap();
        for at in (0..x.data().len()).step_by(37) {
            let moved = |by: f32| {
                let mut moved = x.clone();
                moved.data_mut()[at] += by;
                value(&moved)
            };
            let (slope, found) = ((moved(1e-2) - moved(-1e-2)) / 2e-2, f64::from(gradient.data()[at]));
            assert!((found - slope).abs() < 2e-2 * slope.abs().max(1.0), "{name}, {at}: {found} for {slope}");
        }
    }
}

/// A norm's own gradient, element by element.
#[test]
fn a_norms_gradient_is_that_of_finite_differences() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        let model =
            test_model::of(model::Block { norm: kind, activation: Activation::Relu, ..model::Block::default() });
        let norm = model.final_norm();
        let x = Mat::new(coefficients(64).iter().map(|x| x + 0.3).collect(), 1, 64);
        let weights = coefficients(64);
        let of = |x: &Mat| -> f64 {
            normed(x, norm).data().iter().zip(&weights).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum()
        };
        let gradient = normed_backward(&x, norm, &Mat::new(weights.clone(), 1, 64));
        for at in 0..64 {
            let moved = |by: f32| {
                let mut moved = x.clone();
                moved.data_mut()[at] += by;
                of(&moved)
            };
            let (slope, found) = ((moved(1e-2) - moved(-1e-2)) / 2e-2, f64::from(gradient.data()[at]));
            assert!((found - slope).abs() < 1e-3 + 1e-2 * slope.abs(), "{kind:?}, {at}: {found} for {slope}");
        }
    }
}

/// A block's linears are the group's, whatever their number.
#[test]
fn a_group_without_a_gate_has_one_linear() {
    let model = test_model::of(variants().swap_remove(4).1);
    let group = model.layers()[0].group(GroupKind::GateUp);
    assert_eq!((group.linears().len(), group.output()), (1, model.config().intermediate_size));
    let linears = Linears::new(&model, group);
    assert_eq!((linears.weights.rows(), linears.weights.cols()), (group.input(), group.output()));
}
