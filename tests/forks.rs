//! Forks: what they read in one place, what becomes their own, and that nobody notices.

#[path = "support/tiny.rs"]
mod tiny;

use rasp::session::KvType;
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions};
use std::path::Path;
use std::sync::Arc;

/// Tokens of a beginning, and how many of them lie in whole blocks before the last.
const PASSED: usize = 70;
const WHOLE: usize = 64;

fn model(name: &str) -> Arc<Model> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("forks-{name}.rasp"));
    tiny::Tiny::new().write(&path);
    Model::load(&path, &LoadOptions::default()).unwrap()
}

/// A session that has passed the beginning.
fn begun(model: &Arc<Model>, kv_type: KvType, threads: usize) -> Session {
    let options = SessionOptions { context: 200, kv_type, threads, ..Default::default() };
    let mut session = Session::open(model.clone(), &options).unwrap();
    session.set_sparsity(0.4).unwrap();
    session.set_sampling(Sampling { temperature: 1.0, top_k: 50, seed: 5, ..Default::default() }).unwrap();
    session.prefill(&(0..PASSED as u32).map(|n| n * 31 % 250).collect::<Vec<_>>()).unwrap();
    session
}

fn steps(session: &mut Session, count: usize) -> Vec<u32> {
    (0..count).map(|_| session.step().unwrap()).collect()
}

fn saved(session: &Session) -> Vec<u8> {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    bytes
}

/// Everything that can be seen of two sessions, and of what they say next.
#[track_caller]
fn assert_same(a: &mut Session, b: &mut Session) {
    assert_eq!(a.tokens(), b.tokens());
    assert!(saved(a) == saved(b));
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
    assert_eq!(steps(a, 20), steps(b, 20));
    assert_eq!(a.logits().unwrap(), b.logits().unwrap());
    assert!(saved(a) == saved(b));
}

#[test]
fn a_family_reads_its_beginning_in_one_place() {
    let model = model("family");
    for kv_type in KvType::ALL {
        for threads in [1, 2] {
            let mut parent = begun(&model, kv_type, threads);
            let plan = parent.stats().memory;
            assert_eq!(parent.stats().shared, 0);
            let mut children: Vec<Session> = (0..3).map(|_| parent.fork(None).unwrap()).collect();
            // A child's child, from further on.
            steps(&mut children[0], 3);
            let mut grandchild = children[0].fork(None).unwrap();
            let shared = parent.stats().shared;
            let as_long = SessionOptions { context: WHOLE, kv_type, ..Default::default() };
            let expected = Session::plan(&model, &as_long).unwrap().kv_cache;
            assert!((expected..expected + 256).contains(&shared), "{shared} for {expected}");
            for session in children.iter().chain([&grandchild]) {
                assert_eq!((session.stats().shared, session.stats().memory), (shared, plan));
            }
            drop(parent);
            for (n, child) in children.iter_mut().enumerate() {
                let mut alone = begun(&model, kv_type, threads);
                steps(&mut alone, if n == 0 { 3 } else { 0 });
                assert_same(child, &mut alone);
            }
            children.clear();
            let mut alone = begun(&model, kv_type, threads);
            steps(&mut alone, 3);
            assert_same(&mut grandchild, &mut alone);
        }
    }
}

/// Whoever goes back into what is shared, or moves it, has that for itself from then on; nobody else sees it.
#[test]
fn what_a_session_writes_is_its_own() {
    let model = model("writes");
    type Change = Box<dyn Fn(&mut Session)>;
    let rewind = |tokens: usize| -> Change { Box::new(move |session| session.rewind(tokens).unwrap()) };
    let shift = |keep, discard| -> Change { Box::new(move |session| session.shift(keep, discard).unwrap()) };
    let mut changes: Vec<(Change, bool)> = vec![];
    for tokens in [1, 31, 32, 33, 63, WHOLE, WHOLE + 1, PASSED] {
        changes.push((rewind(tokens), tokens >= 32));
    }
    changes.extend([(shift(0, 1), false), (shift(31, 33), false), (shift(40, 20), true), (shift(65, 2), true)]);
    changes.push((
        Box::new(|session| {
            session.reset();
            session.prefill(&[7, 8, 9]).unwrap();
        }),
        false,
    ));
    for kv_type in KvType::ALL {
        for (change, still) in &changes {
            for of_parent in [false, true] {
                let mut parent = begun(&model, kv_type, 1);
                let mut sibling = parent.fork(None).unwrap();
                let mut child = parent.fork(None).unwrap();
                let changed = if of_parent { &mut parent } else { &mut child };
                let mut alone = begun(&model, kv_type, 1);
                for session in [&mut *changed, &mut alone] {
                    change(session);
                    session.prefill(&[3]).unwrap();
                }
                assert_same(changed, &mut alone);
                assert_eq!(changed.stats().shared > 0, *still);
                let unchanged = if of_parent { &mut child } else { &mut parent };
                for session in [unchanged, &mut sibling] {
                    assert!(session.stats().shared > 0);
                    assert_same(session, &mut begun(&model, kv_type, 1));
                }
            }
        }
    }
}

/// A session that went back and has not gone on: it reads less of what it shares.
#[test]
fn states_and_forks_of_one_that_went_back() {
    let model = model("back");
    for kv_type in KvType::ALL {
        for tokens in [1, 20, 32, 63, WHOLE, WHOLE + 1] {
            let mut parent = begun(&model, kv_type, 1);
            let _sibling = parent.fork(None).unwrap();
            let mut alone = begun(&model, kv_type, 1);
            for session in [&mut parent, &mut alone] {
                session.rewind(tokens).unwrap();
            }
            assert!(saved(&parent) == saved(&alone), "{tokens}");
            let mut child = parent.fork(None).unwrap();
            assert_eq!(child.stats().shared > 0, tokens > 32, "{tokens}");
            // A state goes in where something is shared.
            let mut restored = begun(&model, kv_type, 1).fork(None).unwrap();
            restored.restore(&saved(&alone)).unwrap();
            assert_eq!(restored.stats().shared, 0);
            for session in [&mut parent, &mut child, &mut restored] {
                let mut twin = begun(&model, kv_type, 1);
                twin.rewind(tokens).unwrap();
                assert_same(session, &mut twin);
            }
        }
    }
}

/// What is shared grows with the tokens that a family has passed, once they are twice as many.
#[test]
fn a_longer_beginning_is_shared_anew() {
    let model = model("longer");
    let mut parent = begun(&model, KvType::F16, 1);
    let first = parent.fork(None).unwrap();
    let shared = parent.stats().shared;
    parent.prefill(&[5; 40]).unwrap();
    assert_eq!(parent.fork(None).unwrap().stats().shared, shared);
    parent.prefill(&[6; 60]).unwrap();
    let mut later = parent.fork(None).unwrap();
    assert!(later.stats().shared > 3 * shared / 2 && first.stats().shared == shared);
    let mut alone = begun(&model, KvType::F16, 1);
    alone.prefill(&[5; 40]).unwrap();
    alone.prefill(&[6; 60]).unwrap();
    later.rewind(100).unwrap();
    alone.rewind(100).unwrap();
    assert_same(&mut later, &mut alone);
}

#[test]
fn forks_that_step_together_share() {
    let model = model("together");
    let mut parent = begun(&model, KvType::F16, 1);
    let mut children: Vec<Session> = (0..4).map(|_| parent.fork(None).unwrap()).collect();
    let mut alone = begun(&model, KvType::F16, 1);
    let expected = steps(&mut alone, 10);
    for token in expected {
        let mut all: Vec<&mut Session> = children.iter_mut().collect();
        Session::step_batch(&mut all, |_, outcome| assert_eq!(outcome.unwrap(), token)).unwrap();
    }
}
