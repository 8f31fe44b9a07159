//! Models whose activation has zeros: their rows are not read, and nothing is lost, to the bit.

use rasp::format::{Dtype, TensorSpec, channel_rows};
use rasp::model::{Activation, Block};
use rasp::session::Scorer;
use rasp::{LoadOptions, Model, Session, SessionOptions};
use std::sync::Arc;

#[path = "support/tiny.rs"]
#[allow(dead_code)]
mod tiny;
use tiny::Tiny;

/// How the MLP is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mlp {
    Ungated,
    Gated,
    /// Gated, `up` by outputs.
    ByOutputs,
}

fn tiny(activation: Activation, mlp: Mlp) -> Tiny {
    let (gated, up_by_outputs) = (mlp != Mlp::Ungated, mlp == Mlp::ByOutputs);
    Tiny::of(Block { activation, gated, up_by_outputs, ..Block::default() })
}

fn load(tiny: &Tiny) -> Arc<Model> {
    let path = std::env::temp_dir().join(format!("rasp-zeros-{}-{:p}", std::process::id(), tiny));
    tiny.write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    model
}

fn model(activation: Activation, mlp: Mlp) -> Arc<Model> {
    load(&tiny(activation, mlp))
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
    let dense = |mlp| decoded(&model(Activation::Silu, mlp), 0.0, 1, 0).1;
    let [ungated, gated] = [Mlp::Ungated, Mlp::Gated].map(dense);
    for (activation, mlp) in [
        (Activation::Relu, Mlp::Ungated),
        (Activation::Relu, Mlp::Gated),
        (Activation::Relu2, Mlp::Ungated),
        (Activation::Relu, Mlp::ByOutputs),
        (Activation::Relu2, Mlp::ByOutputs),
    ] {
        let model = model(activation, mlp);
        let what = format!("{}, {mlp:?}", activation.name());
        for sparsity in [0.0, 0.5] {
            let (alone, kept) = decoded(&model, sparsity, 1, 0);
            let dense = if mlp == Mlp::Ungated { ungated } else { gated };
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
        // So does a window to be scored, whose sparse tokens count what they would read.
        let mut session = open(&model, 1);
        session.set_sparsity(0.5).unwrap();
        session.prefill(&text[..1]).unwrap();
        text[1..].iter().for_each(|&token| session.decode(token).unwrap());
        let options = SessionOptions { context: 32, threads: 2, ..Default::default() };
        let mut scorer = Scorer::open(model.clone(), &options).unwrap();
        scorer.set_sparsity(0.5).unwrap();
        let mut last = Vec::new();
        scorer
            .logits(&text, 1, |_, logits| {
                last = logits.iter().map(|x| x.to_bits()).collect();
                Ok(())
            })
            .unwrap();
        assert_eq!(last, bits(&mut session), "{what}, scored");
        let traffic = scorer.take_traffic();
        let kept = traffic.linear_bytes as f64 / (traffic.tokens * model.linear_bytes()) as f64;
        assert!((kept - session.stats().kept).abs() < 1e-12, "{what}: {kept} for {}", session.stats().kept);
    }
}

/// The same model with its `up` by outputs. It has no mask of its own there.
fn by_outputs(mut tiny: Tiny) -> Tiny {
    let (hidden, inner) = (tiny.config.hidden_size, tiny.config.intermediate_size);
    tiny.config.block.up_by_outputs = true;
    for layer in 0..tiny.config.num_layers {
        let name = |of: &str| format!("layers.{layer}.{of}");
        tiny.recipe.linears.remove(&name("up"));
        tiny.tensors.retain(|(spec, _)| spec.name != name("up.score"));
        let (spec, both) = tiny.tensor(&name("gate_up"));
        // Elements of 2 bytes.
        let mut up = vec![0; 2 * hidden * inner];
        for (channel, place) in channel_rows(hidden, 8).enumerate() {
            let row = &both[2 * 2 * inner * place..][..2 * 2 * inner];
            for (output, weight) in row[2 * inner..].chunks_exact(2).enumerate() {
                up[2 * (output * hidden + channel)..][..2].copy_from_slice(weight);
            }
        }
        *both = both.chunks_exact(2 * 2 * inner).flat_map(|row| row[..2 * inner].to_vec()).collect();
        *spec = TensorSpec::new(name("gate"), Dtype::BF16, &[hidden, inner]);
        tiny.tensors.push((TensorSpec::new(name("up"), Dtype::BF16, &[inner, hidden]), up));
        let (spec, both) = tiny.tensor(&name("gate_up.bias"));
        let up = both.split_off(4 * inner);
        *spec = TensorSpec::new(name("gate.bias"), Dtype::F32, &[inner]);
        tiny.tensors.push((TensorSpec::new(name("up.bias"), Dtype::F32, &[inner]), up));
    }
    tiny
}

#[test]
fn up_by_outputs_is_the_same_model() {
    let mut by_inputs = tiny(Activation::Relu, Mlp::Gated);
    let kept = |name: &String| name.ends_with(".up");
    by_inputs.recipe.linears.iter_mut().filter(|(name, _)| kept(name)).for_each(|(_, up)| up.thresholds.fill(0.0));
    let one = load(&by_inputs);
    let other = load(&by_outputs(by_inputs));
    assert_eq!(one.linear_bytes(), other.linear_bytes());
    for sparsity in [0.0, 0.5] {
        let [one, other] = [&one, &other].map(|model| decoded(model, sparsity, 1, 0));
        let values = |bits: &[u32]| bits.iter().map(|&x| f32::from_bits(x)).collect::<Vec<_>>();
        let [found, expected] = [values(&other.0), values(&one.0)];
        let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4 * largest, "{sparsity}: {found} for {expected}");
        }
        assert!(other.1 < one.1 - 0.05, "{sparsity}: {} for {}", other.1, one.1);
    }
}
