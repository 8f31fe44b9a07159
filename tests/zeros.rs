//! Models whose activation has zeros: their rows are not read, and nothing is lost, to the bit.

use rasp::model::{Activation, Block};
use rasp::{LoadOptions, Model, Session, SessionOptions};
use std::sync::Arc;

#[path = "support/tiny.rs"]
#[allow(dead_code)]
mod tiny;
use tiny::Tiny;

fn model(activation: Activation, gated: bool) -> Arc<Model> {
    let path = std::env::temp_dir().join(format!("rasp-zeros-{}-{}-{gated}", std::process::id(), activation.name()));
    Tiny::of(Block { activation, gated, ..Block::default() }).write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    model
}

fn open(model: &Arc<Model>, threads: usize) -> Session {
    Session::open(model.clone(), &SessionOptions { context: 32, threads, ..Default::default() }).unwrap()
}

fn bits(session: &mut Session) -> Vec<u32> {
    session.logits().unwrap().iter().map(|x| x.to_bits()).collect()
}

const TEXT: &[u8] = b"zeros cost nothing";

/// The logits after a text whose last token is decoded beside so many others', and the share of the linears that
/// tokens have read.
fn decoded(model: &Arc<Model>, sparsity: f32, threads: usize, others: usize) -> (Vec<u32>, f64) {
    let text: Vec<u32> = TEXT.iter().copied().map(u32::from).collect();
    let (last, before) = text.split_last().unwrap();
    let mut sessions: Vec<Session> = (0..=others).map(|_| open(model, threads)).collect();
    for session in &mut sessions {
        session.set_sparsity(sparsity).unwrap();
        session.prefill(before).unwrap();
        session.decode(*last).unwrap();
    }
    let mut some: Vec<&mut Session> = sessions.iter_mut().collect();
    for _ in 0..3 {
        Session::step_batch(&mut some, |_, token| assert!(token.is_ok())).unwrap();
    }
    (bits(some[0]), some[0].stats().kept)
}

#[test]
fn rows_of_zeros_are_not_read_and_the_bits_stay() {
    let dense = [false, true].map(|gated| decoded(&model(Activation::Silu, gated), 0.0, 1, 0).1);
    for (activation, gated) in [(Activation::Relu, false), (Activation::Relu, true), (Activation::Relu2, false)] {
        let model = model(activation, gated);
        let what = format!("{}, gated: {gated}", activation.name());
        for sparsity in [0.0, 0.5] {
            let (alone, kept) = decoded(&model, sparsity, 1, 0);
            let dense = dense[usize::from(gated)];
            assert!(kept < dense - 0.05, "{what}, {sparsity}: {kept} of {dense}");
            assert_eq!(decoded(&model, sparsity, 3, 0), (alone.clone(), kept), "{what}, {sparsity}, threads");
            assert_eq!(decoded(&model, sparsity, 1, 1), (alone.clone(), kept), "{what}, {sparsity}, two");
            assert_eq!(decoded(&model, sparsity, 2, 7), (alone, kept), "{what}, {sparsity}, eight");
        }
        // A prompt multiplies all of them.
        let text: Vec<u32> = TEXT.iter().copied().map(u32::from).collect();
        let [mut prompt, mut token] = [(); 2].map(|()| open(&model, 1));
        prompt.prefill(&text).unwrap();
        token.set_sparsity(0.0).unwrap();
        token.prefill(&text[..text.len() - 1]).unwrap();
        token.decode(text[text.len() - 1]).unwrap();
        assert_eq!(bits(&mut prompt), bits(&mut token), "{what}");
    }
}
