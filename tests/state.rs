//! Rewinding, forking, saving, restoring and shifting: what a session goes on with, to the bit.

#[path = "support/tiny.rs"]
mod tiny;

use rasp::session::KvType;
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const PROMPT: [u32; 45] = {
    let mut prompt = [0; 45];
    let mut i = 0;
    while i < prompt.len() {
        prompt[i] = (i * 31 % 250) as u32;
        i += 1;
    }
    prompt
};

fn model(name: &str, change: impl Fn(&mut tiny::Tiny)) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("state-{name}.rasp"));
    let mut tiny = tiny::Tiny::new();
    change(&mut tiny);
    tiny.write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

fn options(kv_type: KvType) -> SessionOptions {
    SessionOptions { context: 100, kv_type, ..Default::default() }
}

fn open(model: &Arc<Model>, kv_type: KvType) -> Session {
    let mut session = Session::open(model.clone(), &options(kv_type)).unwrap();
    session.set_sparsity(0.4).unwrap();
    session.set_sampling(Sampling { temperature: 1.0, top_k: 50, seed: 5, ..Default::default() }).unwrap();
    session
}

fn steps(session: &mut Session, count: usize) -> Vec<u32> {
    (0..count).map(|_| session.step().unwrap()).collect()
}

/// Everything that can be seen of two sessions.
#[track_caller]
fn assert_same(a: &mut Session, b: &mut Session) {
    assert_eq!(a.tokens(), b.tokens());
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
    assert_eq!(steps(a, 20), steps(b, 20));
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
}

/// The plan is what the session takes, on any number of threads, and in the host's memory it says what it says in its
/// own.
#[test]
fn a_session_lives_in_the_memory_it_is_given() {
    let model = model("memory", |_| {});
    for threads in [1, 2] {
        let options = SessionOptions { threads, ..options(KvType::I8) };
        let mut own = Session::open(model.clone(), &options).unwrap();
        let plan = Session::plan(&model, &options).unwrap();
        assert_eq!(own.stats().memory, plan.size);
        assert_eq!(plan.size, plan.kv_cache + plan.activations + plan.sampling + plan.bookkeeping);
        let mut memory = vec![u64::MAX; plan.size.div_ceil(8)];
        let start = NonNull::from(&mut memory[..]).cast();
        // SAFETY: as much as the plan says, and the vector is not touched until the session is gone.
        let error = unsafe { Session::open_in(start, plan.size - 1, model.clone(), &options) }.err().unwrap();
        assert_eq!(error.status(), Status::BufferTooSmall);
        // SAFETY: as above.
        let mut lodger = unsafe { Session::open_in(start, plan.size, model.clone(), &options) }.unwrap();
        assert_eq!(lodger.stats().memory, plan.size);
        for session in [&mut own, &mut lodger] {
            session.set_sparsity(0.4).unwrap();
            session.prefill(&PROMPT).unwrap();
        }
        assert_same(&mut own, &mut lodger);
        drop(lodger);
        assert!(memory.iter().any(|&word| word != u64::MAX));
    }
}

#[test]
fn a_rewound_session_is_one_that_stopped_there() {
    let model = model("rewind", |_| {});
    for kv_type in KvType::ALL {
        // Inside the prompt, at its end, inside the answer; the logits asked for or not.
        for (keep, ask) in [(7, true), (45, true), (45, false), (50, true), (50, false)] {
            let mut long = open(&model, kv_type);
            long.prefill(&PROMPT).unwrap();
            let answer = steps(&mut long, 10);
            long.set_sparsity(0.5).unwrap();
            long.rewind(keep).unwrap();
            long.set_sampling(Sampling { temperature: 1.0, seed: 9, ..Default::default() }).unwrap();

            let mut short = open(&model, kv_type);
            short.prefill(&PROMPT[..keep.min(45)]).unwrap();
            answer.iter().take(keep.saturating_sub(45)).for_each(|&token| short.decode(token).unwrap());
            short.set_sparsity(0.5).unwrap();
            short.set_sampling(Sampling { temperature: 1.0, seed: 9, ..Default::default() }).unwrap();
            if ask {
                assert_same(&mut long, &mut short);
            } else {
                assert_eq!(steps(&mut long, 20), steps(&mut short, 20));
            }
        }
    }
}

#[test]
fn what_follows_a_rewind_appends_and_needs_no_second_pass() {
    let model = model("rewind-on", |_| {});
    for prefill in [true, false] {
        let (mut a, mut b) = (open(&model, KvType::F16), open(&model, KvType::F16));
        a.prefill(&PROMPT).unwrap();
        steps(&mut a, 3);
        a.rewind(20).unwrap();
        a.clear_stats();
        b.prefill(&PROMPT[..20]).unwrap();
        b.set_sampling(Sampling::default()).unwrap();
        a.set_sampling(Sampling::default()).unwrap();
        for session in [&mut a, &mut b] {
            if prefill { session.prefill(&[3, 4]).unwrap() } else { session.decode(3).unwrap() }
        }
        assert_eq!(a.stats().traffic.tokens, u64::from(!prefill));
        assert_same(&mut a, &mut b);
    }
}

#[test]
fn rewinding_a_sampled_token_or_everything() {
    let model = model("rewind-ends", |_| {});
    let (mut a, mut b) = (open(&model, KvType::F16), open(&model, KvType::F16));
    for session in [&mut a, &mut b] {
        session.prefill(&PROMPT).unwrap();
    }
    // A token that was sampled and never passed: the logits it was drawn from are still there.
    a.step().unwrap();
    a.clear_stats();
    a.rewind(45).unwrap();
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
    assert_eq!(a.stats().traffic.tokens, 0);
    let error = a.rewind(46).unwrap_err();
    assert!(error.status() == Status::OutOfRange && error.message().contains("46 tokens of 45"), "{error}");
    assert_eq!(a.tokens(), PROMPT);
    a.rewind(0).unwrap();
    assert_eq!(a.step().unwrap_err().status(), Status::InvalidState);
    assert_eq!(a.logits().unwrap_err().status(), Status::InvalidState);
    a.prefill(&PROMPT).unwrap();
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
}

#[test]
fn a_cancelled_second_pass_can_be_had_again() {
    let model = model("rewind-cancel", |_| {});
    let (mut a, mut b) = (open(&model, KvType::F16), open(&model, KvType::F16));
    a.prefill(&PROMPT).unwrap();
    a.rewind(30).unwrap();
    b.prefill(&PROMPT[..30]).unwrap();
    let flag = Arc::new(AtomicBool::new(true));
    a.set_cancel_flag(flag.clone());
    assert_eq!(a.step().unwrap_err().status(), Status::Cancelled);
    assert!(!flag.load(Ordering::Relaxed));
    assert_same(&mut a, &mut b);
}

#[test]
fn a_fork_goes_on_as_its_parent_would_and_apart_from_it() {
    let model = model("fork", |_| {});
    for kv_type in KvType::ALL {
        for (count, other) in [
            (0, None),
            (1, None),
            (7, Some(SessionOptions { context: 0, threads: 2, batch: 3, kv_type, ..Default::default() })),
        ] {
            let mut parent = open(&model, kv_type);
            let mut alone = open(&model, kv_type);
            for session in [&mut parent, &mut alone] {
                session.prefill(&PROMPT).unwrap();
                steps(session, count);
            }
            let mut child = parent.fork(other.as_ref()).unwrap();
            assert_eq!(child.stats().context, if other.is_some() { 512 } else { 100 });
            // The parent forgets and says something else; the child does not notice.
            parent.rewind(3).unwrap();
            parent.prefill(&[9; 60]).unwrap();
            drop(parent);
            assert_same(&mut child, &mut alone);
        }
    }
}

#[test]
fn a_fork_of_nothing_and_forks_that_cannot_be() {
    let model = model("fork-refused", |_| {});
    let mut parent = open(&model, KvType::F16);
    let mut child = parent.fork(None).unwrap();
    assert_eq!(child.step().unwrap_err().status(), Status::InvalidState);
    parent.prefill(&PROMPT).unwrap();
    let mut refused = |options| parent.fork(Some(&options)).err().unwrap();
    assert_eq!(refused(SessionOptions { context: 44, ..options(KvType::F16) }).status(), Status::ContextFull);
    let error = refused(options(KvType::I8));
    assert!(error.status() == Status::InvalidArgument && error.message().contains("i8"), "{error}");
}

#[test]
fn a_restored_session_goes_on_as_the_saved_one_would() {
    let model = model("restore", |_| {});
    for kv_type in KvType::ALL {
        for count in [0, 1, 12] {
            let mut saved = open(&model, kv_type);
            saved.prefill(&PROMPT).unwrap();
            steps(&mut saved, count);
            let mut bytes = vec![0xff; saved.state_size() + 3];
            let size = saved.save(&mut bytes).unwrap();
            assert_eq!((size, &bytes[size..]), (bytes.len() - 3, &[0xff; 3][..]));
            bytes.truncate(size);
            // Into a larger context, on more threads, over another text.
            let larger = SessionOptions { context: 512, threads: 2, batch: 5, kv_type, ..Default::default() };
            let mut restored = Session::open(model.clone(), &larger).unwrap();
            restored.prefill(&[7; 80]).unwrap();
            restored.restore(&bytes).unwrap();
            // What is saved again is the same, whatever lies beyond the tokens in the cache.
            let mut again = vec![0; restored.state_size()];
            restored.save(&mut again).unwrap();
            assert!(again == bytes);
            assert_eq!(restored.sparsity(), 0.4);
            assert_same(&mut restored, &mut saved);
            // And can be rewound into tokens that passed before.
            saved.rewind(40).unwrap();
            restored.rewind(40).unwrap();
            assert_same(&mut restored, &mut saved);
        }
    }
}

/// A shift leaves the logits as they were; what is restored has them too, and goes on with the same bits.
#[test]
fn a_shifted_session_is_saved_as_it_goes_on() {
    let model = model("shift-restore", |_| {});
    for kv_type in KvType::ALL {
        for (count, ask) in [(0, true), (0, false), (3, true), (3, false)] {
            let mut saved = open(&model, kv_type);
            saved.prefill(&PROMPT).unwrap();
            steps(&mut saved, count);
            saved.shift(1, 6).unwrap();
            let mut bytes = vec![0; saved.state_size()];
            saved.save(&mut bytes).unwrap();
            let mut restored = open(&model, kv_type);
            restored.restore(&bytes).unwrap();
            restored.clear_stats();
            if ask {
                assert_eq!(restored.logits().unwrap(), saved.logits().unwrap());
                assert_eq!(restored.stats().traffic.tokens, 0, "no token passes a second time");
            }
            assert_eq!(steps(&mut restored, 20), steps(&mut saved, 20));
            assert_same(&mut restored, &mut saved);
        }
    }
}

#[test]
fn the_state_of_an_empty_session_empties_another() {
    let model = model("restore-empty", |_| {});
    let empty = open(&model, KvType::F16);
    let mut bytes = vec![0; empty.state_size()];
    empty.save(&mut bytes).unwrap();
    let mut other = open(&model, KvType::F16);
    other.prefill(&PROMPT).unwrap();
    other.restore(&bytes).unwrap();
    assert!(other.tokens().is_empty());
    assert_eq!(other.logits().unwrap_err().status(), Status::InvalidState);
    let error = empty.save(&mut bytes[1..]).unwrap_err();
    assert_eq!(error.status(), Status::BufferTooSmall);
}

/// Every byte in turn, and every length.
#[test]
fn a_damaged_state_is_refused_and_changes_nothing() {
    let model = model("damaged", |_| {});
    let mut saved = open(&model, KvType::I8);
    saved.prefill(&PROMPT[..5]).unwrap();
    steps(&mut saved, 3);
    let mut bytes = vec![0; saved.state_size()];
    saved.save(&mut bytes).unwrap();
    let (mut session, mut untouched) = (open(&model, KvType::I8), open(&model, KvType::I8));
    session.prefill(&PROMPT).unwrap();
    untouched.prefill(&PROMPT).unwrap();
    let refusal = |session: &mut Session, bytes: &[u8]| {
        let error = session.restore(bytes).unwrap_err();
        assert!(matches!(error.status(), Status::BadState | Status::UnsupportedVersion), "{error}");
        error
    };
    for at in 0..bytes.len() {
        for bits in [1, 0x80, 0xff] {
            bytes[at] ^= bits;
            let error = refusal(&mut session, &bytes);
            if at >= 24 {
                assert!(error.message().contains("damaged"), "byte {at}: {error}");
            }
            bytes[at] ^= bits;
        }
    }
    for length in 0..bytes.len() {
        refusal(&mut session, &bytes[..length]);
    }
    bytes.push(0);
    refusal(&mut session, &bytes);
    assert_same(&mut session, &mut untouched);
}

#[test]
fn a_foreign_state_is_refused_by_name() {
    let own = model("own", |_| {});
    let mut saved = open(&own, KvType::F16);
    saved.prefill(&PROMPT).unwrap();
    let mut bytes = vec![0; saved.state_size()];
    saved.save(&mut bytes).unwrap();
    let refused = |model: &Arc<Model>, options: SessionOptions| {
        Session::open(model.clone(), &options).unwrap().restore(&bytes).unwrap_err()
    };
    // Another name in the header; and the same header over other weights.
    let named = model("named", |tiny| tiny.config.name = "yniT".into());
    let trained = model("trained", |tiny| tiny.tensor("layers.1.down").1.iter_mut().for_each(|byte| *byte ^= 1));
    for model in [&named, &trained] {
        let error = refused(model, options(KvType::F16));
        assert!(error.status() == Status::BadState && error.message().contains("another model"), "{error}");
    }
    let error = refused(&own, options(KvType::F32));
    assert!(error.status() == Status::BadState && error.message().contains("f16"), "{error}");
    let error = refused(&own, SessionOptions { context: 44, ..options(KvType::F16) });
    assert!(error.status() == Status::ContextFull && error.message().contains("45 tokens"), "{error}");
}

/// In a model of one layer keys and values depend on their own token alone, so a shifted session is one that never held
/// the discarded tokens; up to rounding, since keys are rotated twice.
#[test]
fn a_shifted_session_of_one_layer_never_held_the_discarded_tokens() {
    let model = model("shift", |tiny| {
        tiny.config.num_layers = 1;
        tiny.tensors.retain(|(spec, _)| !spec.name.starts_with("layers.1."));
        tiny.recipe.linears.retain(|name, _| !name.starts_with("layers.1."));
    });
    for (kv_type, tolerance) in [(KvType::F32, 1e-5), (KvType::F16, 0.003), (KvType::I8, 0.06)] {
        for (keep, discard) in [(0, 1), (0, 32), (4, 13), (40, 4)] {
            let mut shifted = Session::open(model.clone(), &options(kv_type)).unwrap();
            shifted.prefill(&PROMPT).unwrap();
            let before = shifted.logits().unwrap().to_vec();
            shifted.shift(keep, discard).unwrap();
            assert_eq!(shifted.logits().unwrap(), before, "the logits stay");
            let mut fresh = Session::open(model.clone(), &options(kv_type)).unwrap();
            fresh.prefill(&[&PROMPT[..keep], &PROMPT[keep + discard..]].concat()).unwrap();
            assert_eq!(shifted.tokens(), fresh.tokens());
            for session in [&mut shifted, &mut fresh] {
                session.prefill(&[77, 78]).unwrap();
            }
            let pairs = shifted.logits().unwrap().iter().zip(fresh.logits().unwrap());
            let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < tolerance, "{kv_type:?}, keep {keep}, discard {discard}: off by {off}");
        }
    }
}

#[test]
fn a_shift_after_a_rewind_keeps_the_logits() {
    let model = model("shift-rewound", |_| {});
    let logits = |asked: bool| {
        let mut session = open(&model, KvType::F32);
        session.prefill(&PROMPT).unwrap();
        session.rewind(PROMPT.len() - 2).unwrap();
        let before = if asked { session.logits().unwrap().to_vec() } else { Vec::new() };
        session.shift(1, 2).unwrap();
        let after = session.logits().unwrap().to_vec();
        assert!(!asked || before == after);
        after
    };
    assert!(logits(true) == logits(false), "whether somebody looked at the logits changes them");
}

/// A token that passes again after a shift would leave other keys than those it had, since it sees fewer tokens.
/// Whether it has, because somebody asked for its logits or for a step that was cancelled, must not show in what
/// follows.
#[test]
fn a_second_pass_leaves_keys_and_values_as_they_are() {
    for kv_type in [KvType::F32, KvType::F16, KvType::I8] {
        let model = model("second-pass", |_| {});
        let logits = |asked: bool| {
            let mut session = open(&model, kv_type);
            session.prefill(&PROMPT).unwrap();
            session.shift(1, 20).unwrap();
            session.rewind(15).unwrap();
            if asked {
                session.logits().unwrap();
            }
            session.decode(7).unwrap();
            session.logits().unwrap().to_vec()
        };
        assert!(logits(true) == logits(false), "{kv_type:?}");
    }
}

#[test]
fn a_shift_makes_room_and_keeps_a_sampled_token() {
    let model = model("shift-room", |_| {});
    let mut session = open(&model, KvType::F16);
    session.prefill(&PROMPT).unwrap();
    steps(&mut session, 55);
    assert_eq!(session.step().unwrap_err().status(), Status::ContextFull);
    let before = session.tokens().to_vec();
    session.shift(4, 50).unwrap();
    assert_eq!(session.tokens(), [&before[..4], &before[54..]].concat());
    let mut twin = session.fork(None).unwrap();
    assert_same(&mut session, &mut twin);
    // Discarding nothing changes nothing.
    session.shift(7, 0).unwrap();
    assert_eq!(session.tokens(), twin.tokens());
    let passed = session.tokens().len() - 1;
    for (keep, discard) in [(0, passed), (passed, 1), (passed - 1, 1), (usize::MAX, 2)] {
        let error = session.shift(keep, discard).unwrap_err();
        assert!(error.status() == Status::OutOfRange && error.message().contains("one must be left"), "{error}");
    }
}
