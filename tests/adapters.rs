//! LoRA adapters: what they compute, that no way of computing changes a bit of it, and what is refused.

mod real_model;
#[path = "support/adapter.rs"]
mod support;
#[path = "support/tiny.rs"]
mod tiny;

use half::{bf16, f16};
use rasp::format::{Config, Dtype, TensorSpec};
use rasp::model::{Activation, Adapter, AdapterConfig, Block, LinearKind, ModelSizes};
use rasp::{LoadOptions, Model, Session, SessionOptions, Status};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::Factors;
use tiny::Tiny;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn load(tiny: &Tiny, name: &str) -> Arc<Model> {
    tiny.write(&place(name));
    Model::load(&place(name), &LoadOptions::default()).unwrap()
}

fn write(name: &str, config: &Config, factors: &[Factors]) -> PathBuf {
    support::write(&place(name), config, factors);
    place(name)
}

fn write_tensors(name: &str, config: &AdapterConfig, tensors: Vec<(TensorSpec, Vec<u8>)>) -> PathBuf {
    support::write_tensors(&place(name), config, tensors);
    place(name)
}

/// An adapter of some rank for those linears.
fn adapter(model: &Model, name: &str, rank: usize, kinds: &[LinearKind], size: f32) -> Arc<Adapter> {
    let factors = support::factors(model.config(), rank, kinds, size);
    Adapter::load(model, &write(name, model.config(), &factors)).unwrap()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|x| x.to_bits()).collect()
}

/// Logits after a prompt and after each of some tokens, and the state at the end.
fn run(session: &mut Session, prompt: &[u32], steps: usize) -> Vec<Vec<u32>> {
    session.prefill(prompt).unwrap();
    let mut all = vec![bits(session.logits().unwrap())];
    for _ in 0..steps {
        session.step().unwrap();
        all.push(bits(session.logits().unwrap()));
    }
    all
}

fn prompt(length: usize) -> Vec<u32> {
    (0..length as u32).map(|n| (n * 37 + 5) % 256).collect()
}

fn options(adapter_rank: usize) -> SessionOptions {
    SessionOptions { context: 96, adapter_rank, ..Default::default() }
}

/// A model's own low rank taken out of its file and given back as an adapter: the same sums in the same order.
#[test]
fn an_adapter_is_the_low_rank_of_a_file() {
    let (mut own, mut bare) = (Tiny::new(), Tiny::new());
    let mut factors: Vec<Factors> = Vec::new();
    for layer in 0..own.config.num_layers {
        for &kind in own.config.linears() {
            let name = kind.name_in(layer);
            let rank = own.recipe.linears[&name].rank;
            if rank == 0 {
                continue;
            }
            let mut values = ["b", "a"].map(|factor| {
                let tensor = format!("{name}.low_rank.{factor}");
                let (_, bytes) = own.tensor(&tensor);
                let words = bytes.as_chunks_mut::<2>().0.iter_mut();
                let values = words.map(|x| {
                    let value = bf16::from_le_bytes(*x);
                    // What f16 would round is in neither.
                    let value = if value.to_f32().abs() < 2f32.powi(-10) { bf16::ZERO } else { value };
                    *x = value.to_le_bytes();
                    value.to_f32()
                });
                let values: Vec<f32> = values.collect();
                // What is left of it adds nothing.
                bare.tensor(&tensor).1.fill(0);
                values
            });
            // Half of it in the factors, and twice that by the scale.
            values[0].iter_mut().for_each(|x| *x /= 2.0);
            let [b, a] = values;
            factors.push((layer, kind, rank, b, a));
        }
    }
    let (whole, bare) = (load(&own, "adapters-whole.rasp"), load(&bare, "adapters-bare.rasp"));
    let adapter = Adapter::load(&bare, &write("adapters-own.rasp-adapter", bare.config(), &factors)).unwrap();
    for sparsity in [0.0, 0.5] {
        let mut expected = Session::open(whole.clone(), &options(0)).unwrap();
        let mut found = Session::open(bare.clone(), &options(adapter.rank())).unwrap();
        found.set_adapters([(adapter.clone(), 2.0)]).unwrap();
        expected.set_sparsity(sparsity).unwrap();
        found.set_sparsity(sparsity).unwrap();
        let expected = run(&mut expected, &prompt(20), 20);
        assert!(run(&mut found, &prompt(20), 20) == expected, "at {sparsity}");
        // Set to nothing it does nothing, and that is something else.
        let (mut none, mut base) = (found, Session::open(bare.clone(), &options(0)).unwrap());
        none.reset();
        none.set_adapters([]).unwrap();
        base.set_sparsity(sparsity).unwrap();
        let base = run(&mut base, &prompt(20), 20);
        assert!(run(&mut none, &prompt(20), 20) == base && base != expected, "at {sparsity}");
    }
}

/// A block whose `up` is by outputs.
fn by_outputs() -> Block {
    Block { activation: Activation::Relu, up_by_outputs: true, ..Block::default() }
}

/// A file fits either way round, but what was loaded for one does not fit the other.
#[test]
fn an_adapter_is_loaded_for_one_way_of_up() {
    let by_inputs = load(&Tiny::of(Block { up_by_outputs: false, ..by_outputs() }), "adapters-inputs.rasp");
    let by_outputs = load(&Tiny::of(by_outputs()), "adapters-outputs.rasp");
    let of = |model| adapter(model, "adapters-way", 4, &[LinearKind::Up], 0.1);
    for (model, other) in [(&by_inputs, &by_outputs), (&by_outputs, &by_inputs)] {
        let mut session = Session::open(model.clone(), &options(4)).unwrap();
        let error = session.set_adapters([(of(other), 1.0)]).unwrap_err();
        assert!(error.status() == Status::InvalidArgument && error.message().contains("other way round"), "{error}");
        let base = run(&mut session, &prompt(9), 2);
        session.reset();
        session.set_adapters([(of(model), 1.0)]).unwrap();
        assert!(run(&mut session, &prompt(9), 2) != base);
    }
}

/// Threads, batches, drafts, budgets and companions change no bit; nor do a fork and a state.
#[test]
fn no_way_of_computing_changes_a_bit() {
    let tiny = load(&Tiny::new(), "adapters-ways.rasp");
    let relu = load(&Tiny::of(by_outputs()), "adapters-relu.rasp");
    let real = |kind: &str| {
        let path = real_model::path().with_file_name(format!("smollm2-{kind}.rasp"));
        Model::load(&path, &LoadOptions::default()).unwrap()
    };
    for (model, size, name) in
        [(tiny, 0.1, "tiny"), (relu, 0.1, "relu"), (real("q4"), 0.02, "q4"), (real("q8"), 0.02, "q8")]
    {
        let kinds = [LinearKind::Q, LinearKind::V, LinearKind::O, LinearKind::Gate, LinearKind::Down];
        let one = adapter(&model, &format!("adapters-{name}-1"), 5, &kinds, size);
        let two = adapter(&model, &format!("adapters-{name}-2"), 16, &LinearKind::ALL[1..], size);
        let sets = [vec![(one.clone(), 1.0)], vec![(one.clone(), 0.5), (two.clone(), -1.0)], vec![]];
        for sparsity in [0.0, 0.5] {
            let open = |set: &[(Arc<Adapter>, f32)], options: SessionOptions| {
                let mut session = Session::open(model.clone(), &options).unwrap();
                session.set_adapters(set.iter().cloned()).unwrap();
                session.set_sparsity(sparsity).unwrap();
                session
            };
            let steps = 6;
            let expected = sets.each_ref().map(|set| run(&mut open(set, options(21)), &prompt(9), steps));
            assert!(expected[0] != expected[1] && expected[1] != expected[2]);
            for (set, expected) in sets.iter().zip(&expected) {
                for (threads, batch, drafts) in [(2, 0, 0), (3, 1, 0), (1, 4, 0), (2, 64, 4)] {
                    let options = SessionOptions { threads, batch, drafts, ..options(21) };
                    assert!(run(&mut open(set, options), &prompt(9), steps) == *expected, "{threads} {batch} {drafts}");
                }
            }
            // Each with its own, in one pass.
            let mut sessions = sets.each_ref().map(|set| open(set, options(21)));
            sessions.iter_mut().for_each(|session| session.prefill(&prompt(9)).unwrap());
            for step in 1..=steps {
                Session::step_batch(&mut sessions.each_mut(), |_, token| _ = token.unwrap()).unwrap();
                for (session, expected) in sessions.iter_mut().zip(&expected) {
                    assert!(bits(session.logits().unwrap()) == expected[step], "step {step}");
                }
            }
            // Set in the middle of a text: what passed before stays.
            let mut session = open(&sets[1], options(21));
            session.prefill(&prompt(9)).unwrap();
            assert_eq!(session.adapters().map(|(_, scale)| scale).collect::<Vec<_>>(), [0.5, -1.0]);
            let mut fork = session.fork(None).unwrap();
            let mut state = vec![0; session.state_size()];
            session.save(&mut state).unwrap();
            session.set_adapters([]).unwrap();
            let mut restored = open(&[], options(21));
            restored.restore(&state).unwrap();
            let end = |session: &mut Session| {
                (0..steps).for_each(|_| _ = session.step().unwrap());
                bits(session.logits().unwrap())
            };
            let (ended, forked) = (end(&mut session), end(&mut fork));
            assert!(ended == end(&mut restored) && ended != forked && forked == expected[1][steps]);
        }
    }
}

/// What a token reads of an adapter is told with the rest.
#[test]
fn traffic_counts_what_adapters_read() {
    let model = load(&Tiny::new(), "adapters-traffic.rasp");
    let one = adapter(&model, "adapters-traffic-1", 4, &[LinearKind::K, LinearKind::Down], 0.1);
    let c = model.config();
    let of = |kind| {
        let shape = c.linear_shape(kind);
        2 * 4 * (shape.inputs + shape.outputs) as u64
    };
    assert_eq!(one.bytes(), c.num_layers as u64 * (of(LinearKind::K) + of(LinearKind::Down)));
    assert_eq!((one.rank(), one.linears()), (4, 2 * c.num_layers));
    for sparsity in [0.0, 0.5] {
        let read = |adapters: &[(Arc<Adapter>, f32)]| {
            let mut session = Session::open(model.clone(), &options(4)).unwrap();
            session.set_adapters(adapters.iter().cloned()).unwrap();
            session.set_sparsity(sparsity).unwrap();
            session.prefill(&[1]).unwrap();
            [2, 3, 4].into_iter().for_each(|token| session.decode(token).unwrap());
            session.stats().traffic.linear_bytes
        };
        // A scale of 0 changes no channel's value.
        assert_eq!(read(&[(one.clone(), 0.0)]), read(&[]) + 3 * one.bytes());
    }
}

#[test]
fn room_and_shapes_are_checked() {
    let model = load(&Tiny::new(), "adapters-checked.rasp");
    let one = adapter(&model, "adapters-checked-1", 5, &[LinearKind::Q], 0.1);
    let plan = |rank| Session::plan(&model, &options(rank)).unwrap().size;
    assert_eq!(plan(5) - plan(0), (96 * 5 * 3 * 4usize).next_multiple_of(64));
    let mut session = Session::open(model.clone(), &options(9)).unwrap();
    let refused = |error: rasp::Error, status: Status, words: &str| {
        assert!(error.status() == status && error.message().contains(words), "{error}");
    };
    let twice = [(one.clone(), 1.0), (one.clone(), 1.0)];
    refused(session.set_adapters(twice.clone()).unwrap_err(), Status::OutOfRange, "open it with adapter_rank 10");
    refused(session.set_adapters([(one.clone(), f32::NAN)]).unwrap_err(), Status::InvalidArgument, "adapter 0");
    let many = (0..9).map(|_| (one.clone(), 1.0));
    refused(session.set_adapters(many).unwrap_err(), Status::OutOfRange, "at most 8");
    assert_eq!(session.adapters().count(), 0);
    session.set_adapters([(one.clone(), 1.0)]).unwrap();
    let error = session.fork(Some(&options(4))).err().unwrap();
    refused(error, Status::OutOfRange, "adapter_rank 5");

    // Files of other shapes, and such as are damaged.
    let config =
        AdapterConfig { name: "odd".into(), architecture: "llama".into(), sizes: ModelSizes::of(model.config()) };
    let half = |shape: &[usize], value: f32| -> Vec<u8> {
        (0..shape.iter().product()).flat_map(|_| f16::from_f32(value).to_le_bytes()).collect()
    };
    let tensor = |name: &str, shape: &[usize], value| (TensorSpec::new(name, Dtype::F16, shape), half(shape, value));
    let (q_b, q_a) = ("layers.0.q.low_rank.b", "layers.0.q.low_rank.a");
    for (tensors, status, words) in [
        (vec![], Status::BadFile, "no factors"),
        (vec![tensor(q_b, &[2, 64], 1.0)], Status::BadFile, "layers.0.q.low_rank.a is missing"),
        (vec![tensor(q_b, &[2, 64], 1.0), tensor(q_a, &[3, 64], 1.0)], Status::BadFile, "expected F16 [2, 64]"),
        (vec![tensor(q_b, &[0, 64], 1.0), tensor(q_a, &[0, 64], 1.0)], Status::BadFile, "rank of 0"),
        (vec![tensor(q_b, &[1, 64], f32::NAN), tensor(q_a, &[1, 64], 1.0)], Status::NonFinite, q_b),
        (
            vec![
                tensor(q_b, &[1, 64], 1.0),
                tensor(q_a, &[1, 64], 1.0),
                tensor("layers.2.q.low_rank.a", &[1, 64], 1.0),
            ],
            Status::BadFile,
            "layers.2.q.low_rank.a is no part",
        ),
    ] {
        let path = write_tensors("adapters-odd", &config, tensors);
        refused(Adapter::load(&model, &path).err().unwrap(), status, words);
    }
    let sizes = ModelSizes { head_dim: 32, ..config.sizes };
    let path = write_tensors("adapters-odd", &AdapterConfig { sizes, ..config.clone() }, vec![]);
    refused(Adapter::load(&model, &path).err().unwrap(), Status::InvalidArgument, "head_dim is 32; that of tiny is 16");
    let path = write("adapters-flipped", model.config(), &[(0, LinearKind::Q, 1, vec![1.0; 64], vec![1.0; 64])]);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(Adapter::load(&model, &path).err().unwrap(), Status::BadFile, "is damaged");
    let error = Adapter::load(&model, &place("adapters-checked.rasp")).err().unwrap();
    refused(error, Status::BadFile, "a packed model, not an adapter");
    let error = Model::load(&place("adapters-checked-1"), &LoadOptions::default()).err().unwrap();
    refused(error, Status::BadFile, "an adapter, not a model");
}
