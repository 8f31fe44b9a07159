//! Nothing is allocated between the entry and the exit of prefill and step, by any thread.

mod real_model;
#[path = "support/tiny.rs"]
mod tiny;

use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The process's allocator, counted: what this program defines takes the place of the C library's, whose own go by
/// other names too. (The library brings Rust's allocator with it, so there can be none here.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod counted {
    use super::CALLS;
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::Ordering;

    unsafe extern "C" {
        fn __libc_malloc(size: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
        fn __libc_memalign(align: usize, size: usize) -> *mut c_void;
        fn __libc_free(memory: *mut c_void);
    }

    macro_rules! counted {
        ($name:ident($($argument:ident: $type:ty),*) -> $result:ty, $body:expr) => {
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),*) -> $result {
                CALLS.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the C library's own function of this name, with the caller's promises.
                unsafe { $body }
            }
        };
    }
    counted!(malloc(size: usize) -> *mut c_void, __libc_malloc(size));
    counted!(calloc(count: usize, size: usize) -> *mut c_void, __libc_calloc(count, size));
    counted!(realloc(memory: *mut c_void, size: usize) -> *mut c_void, __libc_realloc(memory, size));
    counted!(memalign(align: usize, size: usize) -> *mut c_void, __libc_memalign(align, size));
    counted!(aligned_alloc(align: usize, size: usize) -> *mut c_void, __libc_memalign(align, size));
    counted!(free(memory: *mut c_void) -> (), __libc_free(memory));
    counted!(posix_memalign(place: *mut *mut c_void, align: usize, size: usize) -> c_int, {
        let memory = __libc_memalign(align, size);
        if memory.is_null() {
            12
        } else {
            *place = memory;
            0
        }
    });
}

/// A program without a test harness, which would allocate meanwhile.
fn main() {
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) {
        println!("allocations are counted on Linux with glibc only");
        return;
    }
    let before = CALLS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(5)));
    assert_eq!(CALLS.load(Ordering::Relaxed) - before, 2, "allocations are counted");
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
