//! Nothing is allocated between the entry and the exit of prefill and step, by any thread.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

static CALLS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is the system allocator's, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A program without a test harness, which would allocate meanwhile.
fn main() {
    let prompt: Vec<u32> = (0..150).map(|i| 504 + i % 40).collect();
    let model = real_model::load();
    generate(&model, &prompt);
    together(&model, &prompt);
    // The packed model may have no low rank; this one has.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_alloc_tiny.rasp");
    tiny::Tiny::new().write(&path);
    let prompt: Vec<u32> = (0..150).map(|i| i % tiny::VOCAB as u32).collect();
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    generate(&model, &prompt);
    together(&model, &prompt);
    println!("two hundred tokens allocate nothing");
}

/// The same of steps of several sessions at once.
fn together(model: &Arc<Model>, prompt: &[u32]) {
    let open = |threads| {
        let options = SessionOptions { context: 512, threads, batch: 16, ..Default::default() };
        Session::open(model.clone(), &options).unwrap()
    };
    let mut sessions = [open(2), open(1), open(1), open(1), open(1), open(1)];
    for (n, session) in sessions.iter_mut().enumerate() {
        session.set_sparsity(if n % 2 == 0 { 0.5 } else { 0.0 }).unwrap();
        let temperature = if n % 3 == 0 { 0.8 } else { 0.0 };
        session.set_sampling(Sampling { temperature, top_k: 50, ..Default::default() }).unwrap();
        session.prefill(&prompt[n..]).unwrap();
    }
    let mut all = sessions.each_mut();
    let before = CALLS.load(Ordering::Relaxed);
    for _ in 0..20 {
        Session::step_batch(&mut all, |_, token| _ = token.unwrap()).unwrap();
    }
    assert_eq!(CALLS.load(Ordering::Relaxed) - before, 0, "six sessions at once");
}

fn generate(model: &Arc<Model>, prompt: &[u32]) {
    for threads in [1, 2] {
        let mut session =
            Session::open(model.clone(), &SessionOptions { context: 512, threads, ..Default::default() }).unwrap();
        for (sparsity, temperature) in [(0.0, 0.0), (0.5, 0.8)] {
            let before = CALLS.load(Ordering::Relaxed);
            session.reset();
            session.set_sparsity(sparsity).unwrap();
            session.set_sampling(Sampling { temperature, top_k: 50, min_p: 0.05, ..Default::default() }).unwrap();
            session.prefill(prompt).unwrap();
            for _ in 0..200 {
                session.step().unwrap();
            }
            let after = CALLS.load(Ordering::Relaxed);
            assert_eq!(after - before, 0, "sparsity {sparsity}, {threads} threads");
        }
    }
}
