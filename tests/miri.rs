//! A walk through the library on models so small that Miri gets to the end of it (`tests/trust/miri.sh`): handles, and
//! what lies behind them, from a host's side of the C border. Without Miri it is a test like others.

use rasp::capi::*;
use rasp::format::Bytes;
use rasp::session::{KvType, Scorer};
use rasp::{LoadOptions, Model, SessionOptions};
use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// One layer, 32 wide, in floats.
const FILE: &[u8] = include_bytes!("goldens/version-2.rasp");
const PROMPT: [u32; 3] = [79, 108, 100];
const CONTEXT: u32 = 32;

/// What `tests/trust/tiny.sh` makes: two layers, as wide, in whole numbers. Named by whoever has made it.
fn made(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(std::env::var_os("RASP_TEST_TINY")?);
    Some(std::fs::read(folder.join(name)).unwrap())
}

/// The models' files, aligned as a host has to.
fn files() -> Vec<Vec<u64>> {
    let files = [Some(FILE.to_vec()), made("tiny.rasp"), made("ranked.rasp")];
    files.into_iter().flatten().map(|file| words(&file)).collect()
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let (words, []) = bytes.as_chunks() else { panic!("a file ends with a tensor of whole words") };
    words.iter().map(|&word| u64::from_ne_bytes(word)).collect()
}

/// The status of a call that may not fail.
fn ok(call: impl FnOnce(*mut rasp_error) -> rasp_status) -> rasp_status {
    let (status, message) = told(call);
    assert!(status >= 0, "{message}");
    status
}

/// The status of a call, and its words if it failed.
fn told(call: impl FnOnce(*mut rasp_error) -> rasp_status) -> (rasp_status, String) {
    let mut error = rasp_error { code: 0, message: [0; RASP_ERROR_MESSAGE_SIZE] };
    let status = call(&mut error);
    // SAFETY: the message ends with a NUL.
    let message = unsafe { CStr::from_ptr(error.message.as_ptr()) };
    (status, message.to_str().unwrap().to_owned())
}

fn load(file: &[u64]) -> *mut rasp_model {
    let mut model = null_mut();
    // SAFETY: the file outlives the model in every test.
    ok(|error| unsafe { rasp_load_bytes(file.as_ptr().cast(), 8 * file.len(), null(), &mut model, error) });
    model
}

/// The options of a session with so many threads, or parts of the host's.
fn options(threads: u32) -> rasp_session_options {
    // SAFETY: numbers, null pointers and no function.
    let mut options: rasp_session_options = unsafe { std::mem::zeroed() };
    // SAFETY: it is one.
    unsafe { rasp_session_options_init_2(&mut options) };
    (options.context, options.batch, options.threads) = (CONTEXT, 8, threads);
    options
}

fn open(model: *const rasp_model, options: &rasp_session_options) -> *mut rasp_session {
    let mut session = null_mut();
    // SAFETY: the model lives, and memory that the options name outlives the session in every test.
    ok(|error| unsafe { rasp_session_open(model, options, &mut session, error) });
    session
}

fn close(session: *mut rasp_session) {
    // SAFETY: open, and not used afterwards.
    ok(|_| unsafe { rasp_session_close(session) });
}

fn step(session: *mut rasp_session) -> u32 {
    let mut token = 0;
    // SAFETY: open.
    ok(|error| unsafe { rasp_step(session, &mut token, error) });
    token
}

fn logits(session: *mut rasp_session) -> Vec<u32> {
    let (mut logits, mut count) = (null(), 0);
    // SAFETY: open; what comes of it is read before the next call.
    unsafe {
        ok(|error| rasp_logits(session, &mut logits, &mut count, error));
        std::slice::from_raw_parts(logits, count).iter().map(|x| x.to_bits()).collect()
    }
}

fn prefill(session: *mut rasp_session) {
    // SAFETY: open.
    ok(|error| unsafe { rasp_prefill(session, PROMPT.as_ptr(), PROMPT.len(), error) });
}

/// A prompt, a token that is dense and one that is sparse, and the logits of the last.
fn say(session: *mut rasp_session) -> (Vec<u32>, Vec<u32>) {
    prefill(session);
    let mut said = vec![step(session)];
    // SAFETY: open.
    ok(|error| unsafe { rasp_session_set_sparsity(session, 0.5, error) });
    said.extend([step(session), step(session)]);
    (said, logits(session))
}

/// A job system that remembers what it was last given.
#[derive(Default)]
struct Jobs {
    job: AtomicPtr<c_void>,
    data: AtomicPtr<c_void>,
    count: AtomicU32,
}

type Job = extern "C" fn(*mut c_void, u32);

/// Runs the parts of some jobs on threads, and of the others backwards.
unsafe extern "C" fn run(context: *mut c_void, job: Job, data: *mut c_void, parts: u32) {
    // SAFETY: the test's.
    let jobs = unsafe { &*context.cast::<Jobs>() };
    jobs.job.store(job as *mut c_void, Ordering::Relaxed);
    jobs.data.store(data, Ordering::Relaxed);
    if !jobs.count.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) {
        return (0..parts).rev().for_each(|part| job(data, part));
    }
    std::thread::scope(|scope| {
        for part in 0..parts {
            scope.spawn(move || job(jobs.data.load(Ordering::Relaxed), part));
        }
    });
}

impl Jobs {
    /// Calls what it was last given, though that is over.
    fn late(&self) {
        // SAFETY: it was a `Job`.
        let job = unsafe { std::mem::transmute::<*mut c_void, Job>(self.job.load(Ordering::Relaxed)) };
        for part in [0, 1, u32::MAX] {
            job(self.data.load(Ordering::Relaxed), part);
        }
    }
}

#[test]
fn threads_job_systems_and_memory_of_the_hosts_give_the_same_bits() {
    for file in files() {
        let model = load(&file);
        let alone = open(model, &options(1));
        let expected = say(alone);
        close(alone);

        let own = open(model, &options(2));
        assert_eq!(say(own), expected);
        close(own);

        let jobs = Jobs::default();
        let mut hosts = options(3);
        hosts.run = Some(run);
        hosts.run_context = (&raw const jobs).cast_mut().cast();
        // SAFETY: numbers.
        let mut plan: rasp_memory_plan = unsafe { std::mem::zeroed() };
        // SAFETY: it is one, and the model lives.
        ok(|error| unsafe {
            rasp_memory_plan_init(&mut plan);
            rasp_session_plan(model, &hosts, &mut plan, error)
        });
        let mut memory = vec![u64::MAX; plan.size as usize / 8];
        (hosts.memory, hosts.memory_size) = (memory.as_mut_ptr().cast(), plan.size as usize);
        let session = open(model, &hosts);
        prefill(session);
        jobs.late();
        // SAFETY: open.
        ok(|error| unsafe { rasp_session_reset(session, error) });
        assert_eq!(say(session), expected);
        jobs.late();
        assert_eq!(logits(session), expected.1);
        close(session);
        // It is the host's again.
        memory.fill(0);
        // SAFETY: alive, and not used afterwards.
        ok(|_| unsafe { rasp_free(model) });
    }
}

#[test]
fn sessions_go_on_together_apart_and_from_what_was_saved() {
    for file in files() {
        let model = load(&file);
        let sessions = [1, 2].map(|threads| open(model, &options(threads)));
        let [first, second] = sessions;
        prefill(first);
        prefill(second);
        // SAFETY: all sessions are open until they are closed.
        unsafe {
            ok(|error| rasp_session_set_sparsity(second, 0.5, error));
            let (mut tokens, mut statuses) = ([0; 2], [0; 2]);
            for _ in 0..2 {
                ok(|error| rasp_step_batch(sessions.as_ptr(), 2, tokens.as_mut_ptr(), statuses.as_mut_ptr(), error));
            }
            let twice = [first, first];
            let (status, why) =
                told(|error| rasp_step_batch(twice.as_ptr(), 2, tokens.as_mut_ptr(), statuses.as_mut_ptr(), error));
            assert!(status == RASP_ERROR_INVALID_ARGUMENT && why.contains("once more"), "{why}");

            let mut fork = null_mut();
            ok(|error| rasp_session_fork(second, null(), &mut fork, error));
            let next = step(second);
            assert_eq!((step(fork), logits(fork)), (next, logits(second)));

            let mut size = 0;
            let save = |to: *mut c_void, room, size: &mut usize| told(|e| rasp_session_save(fork, to, room, size, e)).0;
            assert_eq!(save(null_mut(), 0, &mut size), RASP_ERROR_BUFFER_TOO_SMALL);
            let mut state = vec![0u8; size];
            assert_eq!(save(state.as_mut_ptr().cast(), size, &mut size), RASP_OK);
            ok(|error| rasp_session_restore(first, state.as_ptr().cast(), size, error));
            assert_eq!((step(first), logits(first)), (step(fork), logits(fork)));

            ok(|error| rasp_session_shift(first, 1, 2, error));
            ok(|error| rasp_session_rewind(first, 3, error));
            step(first);
            [first, second, fork].into_iter().for_each(close);
            ok(|_| rasp_free(model));
        }
    }
}

/// What a callback of the host's may do, and what is refused.
unsafe extern "C" fn meddle(
    session: *mut c_void,
    logits: *mut f32,
    vocab: usize,
    tokens: *const u32,
    count: usize,
) -> i32 {
    let session = session.cast::<rasp_session>();
    // SAFETY: as rasp_logits_callback says; the context is the session.
    unsafe {
        let mut token = 0;
        let (status, why) = told(|error| rasp_step(session, &mut token, error));
        assert!(status == RASP_ERROR_INVALID_STATE && why.contains("in use"), "{why}");
        let logits = std::slice::from_raw_parts_mut(logits, vocab);
        std::slice::from_raw_parts(tokens, count).iter().for_each(|&token| logits[token as usize] = f32::NEG_INFINITY);
        rasp_cancel(session);
    }
    RASP_LOGITS_SAMPLE
}

#[test]
fn a_session_is_cancelled_budgeted_and_looked_into() {
    let file = words(FILE);
    let model = load(&file);
    let session = open(model, &options(2));
    // SAFETY: the session is open, and the model alive, until the end.
    unsafe {
        ok(|error| rasp_prefill_begin(session, PROMPT.as_ptr(), PROMPT.len(), error));
        while ok(|error| rasp_prefill_within(session, 0, error)) == RASP_PENDING {}
        let mut token = 0;
        while ok(|error| rasp_step_within(session, 0, &mut token, error)) == RASP_PENDING {}

        ok(|error| rasp_session_set_logits_callback(session, Some(meddle), session.cast(), error));
        // Sampled from what is there; the next call finds that it was cancelled.
        step(session);
        assert_eq!(told(|error| rasp_step(session, &mut token, error)).0, RASP_ERROR_CANCELLED);
        ok(|error| rasp_session_set_logits_callback(session, None, null_mut(), error));

        let shared = AtomicPtr::new(session);
        std::thread::scope(|scope| {
            let canceller = scope.spawn(|| {
                for _ in 0..3 {
                    rasp_cancel(shared.load(Ordering::Relaxed));
                    std::thread::yield_now();
                }
            });
            while !canceller.is_finished() {
                let status = rasp_step(session, &mut token, null_mut());
                assert!(status >= 0 || status == RASP_ERROR_CANCELLED, "{status}");
                ok(|error| rasp_session_rewind(session, PROMPT.len(), error));
            }
        });
        // A cancel may be left over.
        let _ = rasp_step(session, &mut token, null_mut());

        let mut sampling = std::mem::zeroed();
        rasp_sampling_init_2(&mut sampling);
        (sampling.temperature, sampling.top_k, sampling.repetition_penalty) = (0.8, 8, 1.1);
        ok(|error| rasp_session_set_sampling(session, &sampling, error));
        let (mut text, mut length, mut ended) = ([0u8; RASP_STEP_TEXT_SIZE], 0, 0);
        let place = text.as_mut_ptr().cast::<c_char>();
        ok(|error| rasp_step_text(session, 0, place, RASP_STEP_TEXT_SIZE, &mut length, &mut ended, error));
        let (mut top, mut log_prob) = ([rasp_log_prob { token: 0, log_prob: 0.0 }; 3], 0.0);
        ok(|error| rasp_log_probs(session, 65, &mut log_prob, top.as_mut_ptr(), 3, error));
        assert!(top[0].log_prob >= top[1].log_prob && log_prob <= top[0].log_prob);
        let mut stats = std::mem::zeroed();
        rasp_stats_init_2(&mut stats);
        ok(|error| rasp_session_get_stats(session, &mut stats, error));
        assert!(stats.units > 0 && stats.context == CONTEXT);
        close(session);
        ok(|_| rasp_free(model));
    }
}

fn message(role: &str, content: &str) -> rasp_chat_message {
    rasp_chat_message {
        role: role.as_ptr().cast(),
        role_length: role.len(),
        content: content.as_ptr().cast(),
        content_length: content.len(),
        fields: null(),
        fields_length: 0,
    }
}

#[test]
fn handles_come_and_go_and_a_dead_one_is_refused() {
    let file = words(FILE);
    let model = load(&file);
    let messages = [message("user", "Hi")];
    // SAFETY: the handles live but where it is said.
    unsafe {
        let mut reply = null_mut();
        ok(|error| rasp_reply_new(model, messages.as_ptr(), 1, null(), &mut reply, error));
        ok(|error| rasp_reply_push(reply, c"Hello".as_ptr(), 5, error));
        // The first and the last byte of a character, each a token.
        [0xc3, 0xa4].into_iter().for_each(|token| _ = ok(|error| rasp_reply_push_token(reply, token, error)));
        ok(|error| rasp_reply_finish(reply, error));
        let mut said = String::new();
        let mut part = std::mem::zeroed::<rasp_reply_part>();
        while ok(|error| rasp_reply_next(reply, &mut part, error)) == RASP_OK {
            let text = std::slice::from_raw_parts(part.text.cast::<u8>(), part.text_length);
            said.push_str(std::str::from_utf8(text).unwrap());
        }
        assert_eq!(said, "Helloä");
        ok(|_| rasp_reply_free(reply));

        let session = open(model, &options(1));
        ok(|_| rasp_model_retain(model));
        ok(|_| rasp_free(model));
        let (mut tokens, mut found) = ([0; 64], 0);
        ok(|e| rasp_chat_tokenize(model, messages.as_ptr(), 1, null(), tokens.as_mut_ptr(), 64, &mut found, e));
        assert!(found > 2 && tokens[..found].ends_with(&[u32::from(b'>')]));
        ok(|_| rasp_free(model));
        // The session keeps what it needs of the model.
        prefill(session);
        step(session);
        close(session);
        // Refused unread, in builds that keep a list of the living.
        if cfg!(any(debug_assertions, feature = "handle-checks")) {
            for dead in [rasp_session_close(session), rasp_free(model), rasp_reply_free(reply)] {
                assert_eq!(dead, RASP_ERROR_INVALID_ARGUMENT);
            }
        }
    }
}

#[test]
fn adapters_are_set_and_given_back() {
    let (Some(file), Some(adapter_file)) = (made("tiny.rasp"), made("tiny.rasp-adapter")) else { return };
    let (file, adapter_file) = (words(&file), words(&adapter_file));
    let model = load(&file);
    let mut with_room = options(2);
    with_room.adapter_rank = 8;
    let session = open(model, &with_room);
    // SAFETY: the session is open, and the model and the adapter alive, until they are given back.
    unsafe {
        let mut adapter = null_mut();
        let (data, size) = (adapter_file.as_ptr().cast(), 8 * adapter_file.len());
        ok(|error| rasp_adapter_load_bytes(model, data, size, &mut adapter, error));
        let list = [adapter.cast_const()];
        ok(|error| rasp_session_set_adapters(session, list.as_ptr(), [0.5].as_ptr(), 1, error));
        ok(|_| rasp_adapter_free(adapter));
        say(session);
        ok(|error| rasp_session_set_adapters(session, null(), null(), 0, error));
        step(session);
        close(session);
        ok(|_| rasp_free(model));
    }
}

#[test]
fn texts_are_scored() {
    for file in [Some(FILE.to_vec()), made("tiny.rasp")].into_iter().flatten() {
        let model = Model::from_bytes(Bytes::copy(&file).unwrap(), &LoadOptions::default()).unwrap();
        let options =
            SessionOptions { context: 16, threads: 2, batch: 16, kv_type: KvType::I8, ..SessionOptions::default() };
        let mut scorer = Scorer::open(model, &options).unwrap();
        scorer.set_sparsity(0.5).unwrap();
        assert_eq!(scorer.score(&PROMPT, 2).unwrap().len(), PROMPT.len() - 1);
    }
}
