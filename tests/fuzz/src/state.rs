//! Saved sessions: damaged, and forged with a right checksum.

use crate::Target;
use crate::base::{Aligned, Source, error, load, read, sound};
use crate::hash::xxh64;

use rasp::capi::*;
use std::ptr::{null, null_mut};

/// Input: which state, whether it gets a right checksum, its new length, and patches: a place and four bytes.
pub struct State {
    states: Vec<Vec<u8>>,
    /// One of each type of cache.
    sessions: Vec<*mut rasp_session>,
    _file: Aligned,
}

const CONTEXT: u32 = 24;

impl State {
    pub fn new() -> State {
        let file = Aligned::new(&[&read("bytes.rasp")]);
        let model = load(file.get(), true);
        assert!(!model.is_null());
        let (mut states, mut sessions) = (Vec::new(), Vec::new());
        let mut error = error();
        for kv_type in 0..3 {
            // SAFETY: places of our own.
            unsafe {
                let mut options: rasp_session_options = std::mem::zeroed();
                rasp_session_options_init(&mut options);
                (options.context, options.kv_type, options.batch) = (CONTEXT, kv_type, 4);
                let mut session = null_mut();
                assert_eq!(rasp_session_open(model, &options, &mut session, &mut error), 0);
                let mut save = || {
                    let mut size = 0;
                    rasp_session_save(session, null_mut(), 0, &mut size, null_mut());
                    let mut state = vec![0u8; size];
                    let start = state.as_mut_ptr().cast();
                    assert_eq!(rasp_session_save(session, start, size, &mut size, null_mut()), 0);
                    let (content, sum) = state.split_at(size - 8);
                    assert_eq!(xxh64(content, 0).to_le_bytes(), sum);
                    states.push(state);
                };
                save();
                assert_eq!(rasp_prefill(session, [5, 80, 104, 33, 258].as_ptr(), 5, &mut error), 0);
                save();
                (0..3).for_each(|_| assert!(rasp_step(session, &mut 0, &mut error) >= 0));
                save();
                sessions.push(session);
            }
        }
        State { states, sessions, _file: file }
    }
}

impl Target for State {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        for which in 0..self.states.len() as u8 {
            // Untouched; and each word of the header set to 1.
            seeds.push(vec![which, 1, 255, 255]);
            seeds.extend((0..28u8).map(|word| vec![which, 1, 255, 255, 4 * word, 0, 1, 0, 0, 0]));
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let mut source = Source(input);
        let which = usize::from(source.byte()) % self.states.len();
        let forged = source.byte() % 4 != 0;
        let mut state = self.states[which].clone();
        let untouched = state.len();
        state.resize(source.short().min(untouched + 64), 7);
        if source.0.is_empty() && input.get(2..4) == Some(&[255, 255]) {
            state.truncate(untouched);
        }
        while !source.is_empty() && state.len() >= 4 {
            let at = source.short() % (state.len() - 3);
            state[at..at + 4].copy_from_slice(&source.bytes::<4>());
        }
        if forged && state.len() > 32 {
            let length = state.len() as u64;
            // The length that it says, else little else would be looked at.
            if input.len() % 8 != 0 {
                state[16..24].copy_from_slice(&length.to_le_bytes());
            }
            let end = state.len() - 8;
            let sum = xxh64(&state[..end], 0);
            state[end..].copy_from_slice(&sum.to_le_bytes());
        }
        // In an allocation of just its size.
        let state = state.into_boxed_slice();
        let session = self.sessions[which / 3];
        let mut error = error();
        // SAFETY: the session is open; places of our own.
        unsafe {
            let restored = sound(rasp_session_restore(session, state.as_ptr().cast(), state.len(), &mut error), &error);
            if restored == 0 {
                let (mut token, mut logits, mut count) = (0, null(), 0);
                for _ in 0..2 {
                    if sound(rasp_step(session, &mut token, &mut error), &error) >= 0 {
                        assert!(token < 288, "a token that there is not");
                    }
                    if sound(rasp_logits(session, &mut logits, &mut count, &mut error), &error) == 0 {
                        let logits = std::slice::from_raw_parts(logits, count);
                        assert!(logits.iter().all(|logit| logit.is_finite()), "logits that are no numbers");
                    }
                }
                sound(rasp_session_shift(session, 1, 1, &mut error), &error);
                sound(rasp_session_rewind(session, 1, &mut error), &error);
                sound(rasp_step(session, &mut token, &mut error), &error);
            }
            // As good as new, whatever came.
            assert_eq!(rasp_session_reset(session, &mut error), 0);
            assert_eq!(rasp_session_set_sampling(session, null(), &mut error), 0);
            assert_eq!(rasp_session_set_sparsity(session, 0.0, &mut error), 0);
        }
    }
}
