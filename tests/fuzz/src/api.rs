//! The C API as a host would use it, in any order, by what its words promise: after every call a mirror of what each
//! session must hold is compared with what it says that it holds.

use crate::Target;
use crate::base::{Aligned, Source, error, load, read, sound, words};
use rasp::capi::*;
use std::ptr::{null, null_mut};

const CONTEXT: u32 = 20;
const VOCABULARY: u32 = 288;
const SESSIONS: usize = 3;

const CONTEXT_FULL: i32 = -7;
const OUT_OF_RANGE: i32 = -6;
const CANCELLED: i32 = -10;
const INVALID_STATE: i32 = -12;
const INVALID_ARGUMENT: i32 = -1;

/// Input: calls, each a byte that says which, a byte that says on which session, and what it takes.
pub struct Api {
    model: *mut rasp_model,
    _file: Aligned,
}

/// A session, and what is known of it.
struct Held {
    session: *mut rasp_session,
    tokens: usize,
    /// A prompt or a token is under way.
    pending: bool,
    cancelled: bool,
    kv_type: u32,
}

impl Held {
    fn open(model: *mut rasp_model, source: &mut Source) -> Held {
        let kv_type = u32::from(source.byte() % 3);
        let (mut session, mut error) = (null_mut(), error());
        // SAFETY: places of our own.
        unsafe {
            let mut options: rasp_session_options = std::mem::zeroed();
            rasp_session_options_init(&mut options);
            (options.context, options.batch, options.kv_type) = (CONTEXT, u32::from(source.byte() % 6), kv_type);
            assert_eq!(rasp_session_open(model, &options, &mut session, &mut error), 0, "{}", words(&error));
        }
        Held { session, tokens: 0, pending: false, cancelled: false, kv_type }
    }

    fn stated_tokens(&self) -> usize {
        let mut error = error();
        // SAFETY: the session is open.
        unsafe {
            let mut stats: rasp_stats = std::mem::zeroed();
            rasp_stats_init(&mut stats);
            assert_eq!(rasp_session_get_stats(self.session, &mut stats, &mut error), 0);
            stats.tokens as usize
        }
    }

    /// Judges a call: `needs` must hold for it to succeed, else it gives one of the `errors`; `after` is how many
    /// tokens there are when it has.
    #[track_caller]
    fn judge(&mut self, status: i32, refusals: &[(bool, i32)], after: usize) -> bool {
        let due: Vec<i32> = refusals.iter().filter(|(met, _)| *met).map(|(_, status)| *status).collect();
        if status == CANCELLED {
            assert!(self.cancelled, "nobody cancelled it");
            (self.cancelled, self.pending) = (false, false);
            return false;
        }
        if status < 0 {
            assert!(due.contains(&status), "{status}, where {due:?} would do");
            return false;
        }
        assert!(due.is_empty(), "a success, where {due:?} is due");
        assert_eq!(self.stated_tokens(), after);
        self.tokens = after;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: it is open, and not used afterwards.
        assert_eq!(unsafe { rasp_session_close(self.session) }, 0);
    }
}

impl Api {
    pub fn new() -> Api {
        let file = Aligned::new(&[&read("bytes.rasp")]);
        let model = load(file.get(), true);
        assert!(!model.is_null());
        Api { model, _file: file }
    }

    fn tokens(source: &mut Source, most: u8) -> Vec<u32> {
        let count = source.byte() % most;
        // One in many is none.
        (0..count).map(|_| source.byte()).map(|byte| if byte == 255 { VOCABULARY } else { byte.into() }).collect()
    }

    fn call(&self, sessions: &mut Vec<Held>, source: &mut Source) {
        let (what, which) = (source.byte() % 20, usize::from(source.byte()));
        if sessions.is_empty() || (what == 0 && sessions.len() < SESSIONS) {
            return sessions.push(Held::open(self.model, source));
        }
        let which = which % sessions.len();
        let mut error = error();
        let held = &mut sessions[which];
        let (session, before, pending) = (held.session, held.tokens, held.pending);
        let refusing = |status: i32, met: bool| (met, status);
        let prompt_refusals = |tokens: &[u32]| {
            let unknown = tokens.iter().any(|&token| token >= VOCABULARY);
            [
                refusing(INVALID_STATE, pending),
                refusing(INVALID_ARGUMENT, tokens.is_empty()),
                refusing(OUT_OF_RANGE, unknown),
                refusing(CONTEXT_FULL, before + tokens.len() > CONTEXT as usize),
            ]
        };
        // SAFETY: the session is open, and all else are places of our own.
        unsafe {
            match what {
                0 => drop(sessions.swap_remove(which)),
                1 | 2 => {
                    let tokens = Api::tokens(source, if what == 1 { 12 } else { 4 });
                    let refusals = prompt_refusals(&tokens);
                    let status = rasp_prefill(session, tokens.as_ptr(), tokens.len(), &mut error);
                    held.judge(sound(status, &error), &refusals, before + tokens.len());
                }
                3 | 4 => {
                    let mut token = u32::MAX;
                    // What is under way is finished first, and may have taken the last room.
                    if pending {
                        let status = sound(rasp_step(session, &mut token, &mut error), &error);
                        held.pending = false;
                        held.cancelled &= status != CANCELLED;
                        held.tokens = held.stated_tokens();
                        return;
                    }
                    let full = before == CONTEXT as usize;
                    let refusals = [refusing(INVALID_STATE, before == 0), refusing(CONTEXT_FULL, full)];
                    let status = rasp_step(session, &mut token, &mut error);
                    if held.judge(sound(status, &error), &refusals, before + 1) {
                        assert!(token < VOCABULARY);
                    }
                }
                5 => {
                    let token = u32::from(source.byte());
                    let status = sound(rasp_decode(session, token, &mut error), &error);
                    let after = held.stated_tokens();
                    // It may take the place of a sampled one.
                    assert!((after == before || after == before + 1) && after <= CONTEXT as usize);
                    let full = before == CONTEXT as usize && (status < 0 || after > before);
                    let refusals = [refusing(INVALID_STATE, pending), refusing(CONTEXT_FULL, full)];
                    held.judge(status, &refusals, after);
                }
                6 => {
                    let to = usize::from(source.byte() % 24);
                    let refusals = [refusing(INVALID_STATE, pending), refusing(OUT_OF_RANGE, to > before)];
                    let status = rasp_session_rewind(session, to, &mut error);
                    held.judge(sound(status, &error), &refusals, to);
                }
                7 => {
                    let (keep, discard) = (usize::from(source.byte() % 24), usize::from(source.byte() % 24));
                    let status = sound(rasp_session_shift(session, keep, discard, &mut error), &error);
                    let refusals = [
                        refusing(INVALID_STATE, pending),
                        // A token that was sampled last has not passed: one that has must be left.
                        refusing(OUT_OF_RANGE, keep + discard + 1 >= before),
                    ];
                    if status == 0 {
                        assert!(!pending && keep + discard < before.max(1), "{keep} and {discard} of {before}");
                        held.tokens = before - discard;
                        assert_eq!(held.stated_tokens(), held.tokens);
                    } else {
                        held.judge(status, &refusals, before - discard.min(before));
                    }
                }
                8 => self.fork(&mut sessions[which]),
                9 => self.save(&mut sessions[which]),
                10 => {
                    rasp_cancel(session);
                    held.cancelled = true;
                }
                11 => {
                    let sparsity = f32::from(source.byte()) / 200.0;
                    let status = sound(rasp_session_set_sparsity(session, sparsity, &mut error), &error);
                    held.judge(
                        status,
                        &[refusing(INVALID_STATE, pending), refusing(OUT_OF_RANGE, sparsity > 0.5)],
                        before,
                    );
                }
                12 => {
                    let mut sampling: rasp_sampling = std::mem::zeroed();
                    rasp_sampling_init_2(&mut sampling);
                    sampling.temperature = f32::from(source.byte()) / 100.0;
                    sampling.top_k = u32::from(source.byte() % 40);
                    sampling.top_p = (f32::from(source.byte()) + 1.0) / 256.0;
                    sampling.min_p = f32::from(source.byte()) / 255.0;
                    sampling.repetition_penalty = 0.5 + f32::from(source.byte()) / 128.0;
                    sampling.repetition_window = u32::from(source.byte() % 32);
                    sampling.frequency_penalty = f32::from(source.byte()) / 64.0 - 2.0;
                    sampling.top_n_sigma = f32::from(source.byte() % 4);
                    sampling.typical_p = (f32::from(source.byte()) + 1.0) / 256.0;
                    sampling.xtc_probability = f32::from(source.byte()) / 255.0;
                    sampling.dry_multiplier = f32::from(source.byte() % 2);
                    sampling.mirostat_tau = f32::from(source.byte() % 6);
                    let status = sound(rasp_session_set_sampling(session, &sampling, &mut error), &error);
                    held.judge(status, &[refusing(INVALID_STATE, pending)], before);
                }
                13 => {
                    let tokens = Api::tokens(source, 12);
                    let refusals = prompt_refusals(&tokens);
                    let status = rasp_prefill_begin(session, tokens.as_ptr(), tokens.len(), &mut error);
                    let after = held.stated_tokens();
                    if held.judge(sound(status, &error), &refusals, after) {
                        held.pending = true;
                    }
                }
                14 => {
                    let status = sound(rasp_prefill_within(session, 0, &mut error), &error);
                    assert!(status != 1 && (status >= 0 || [INVALID_STATE, CANCELLED].contains(&status)));
                    held.cancelled &= status != CANCELLED;
                    held.pending = status == 2 || (status == INVALID_STATE && pending);
                    held.tokens = held.stated_tokens();
                }
                15 => {
                    let mut token = u32::MAX;
                    let status = sound(rasp_step_within(session, 0, &mut token, &mut error), &error);
                    held.cancelled &= status != CANCELLED;
                    held.pending = status == 2;
                    held.tokens = held.stated_tokens();
                    assert!(!(0..2).contains(&status) || token < VOCABULARY);
                }
                16 => {
                    let (mut logits, mut count) = (null(), 0);
                    let status = sound(rasp_logits(session, &mut logits, &mut count, &mut error), &error);
                    let refusals = [refusing(INVALID_STATE, pending || before == 0)];
                    if held.judge(status, &refusals, before) {
                        let logits = std::slice::from_raw_parts(logits, count);
                        assert!(count == VOCABULARY as usize && logits.iter().all(|logit| logit.is_finite()));
                    }
                }
                17 => {
                    assert_eq!(sound(rasp_session_reset(session, &mut error), &error), 0);
                    (held.pending, held.tokens) = (false, 0);
                    assert_eq!(held.stated_tokens(), 0);
                }
                18 => self.batch(sessions),
                _ => self.text(held, source),
            }
        }
    }

    /// A fork goes on as its parent does.
    fn fork(&self, held: &mut Held) {
        let (mut child, mut error) = (null_mut(), error());
        // SAFETY: the session is open, and all else are places of our own.
        unsafe {
            let status = sound(rasp_session_fork(held.session, null(), &mut child, &mut error), &error);
            if !held.judge(status, &[(held.pending, INVALID_STATE)], held.tokens) {
                return assert!(child.is_null());
            }
            if held.cancelled {
                assert_eq!(rasp_session_close(child), 0);
                return;
            }
            let (mut left, mut right) = (0, 0);
            let one = sound(rasp_step(held.session, &mut left, &mut error), &error);
            let other = sound(rasp_step(child, &mut right, &mut error), &error);
            assert_eq!((one, left), (other, right), "a fork is another");
            held.tokens += usize::from(one >= 0);
            assert_eq!(rasp_session_close(child), 0);
        }
    }

    /// What is restored goes on as it did.
    fn save(&self, held: &mut Held) {
        let (mut size, mut error) = (0, error());
        // SAFETY: the session is open, and all else are places of our own.
        unsafe {
            rasp_session_save(held.session, null_mut(), 0, &mut size, null_mut());
            let mut state = vec![0u8; size];
            let start = state.as_mut_ptr().cast();
            let status = sound(rasp_session_save(held.session, start, size, &mut size, &mut error), &error);
            if !held.judge(status, &[(held.pending, INVALID_STATE)], held.tokens) || held.cancelled {
                return;
            }
            let (mut left, mut right) = (0, 0);
            let one = sound(rasp_step(held.session, &mut left, &mut error), &error);
            assert_eq!(rasp_session_restore(held.session, state.as_ptr().cast(), size, &mut error), 0);
            assert_eq!(held.stated_tokens(), held.tokens);
            let other = sound(rasp_step(held.session, &mut right, &mut error), &error);
            assert_eq!((one, left), (other, right), "what was restored is another, cache {}", held.kv_type);
            held.tokens += usize::from(one >= 0);
        }
    }

    /// One token of each, in one pass.
    fn batch(&self, sessions: &mut [Held]) {
        let handles: Vec<_> = sessions.iter().map(|held| held.session).collect();
        let (mut tokens, mut statuses, mut error) = ([0; SESSIONS], [0; SESSIONS], error());
        // SAFETY: the sessions are open, each there once; all else are places of our own.
        let status = unsafe {
            let (tokens, statuses) = (tokens.as_mut_ptr(), statuses.as_mut_ptr());
            rasp_step_batch(handles.as_ptr(), handles.len(), tokens, statuses, &mut error)
        };
        sound(status, &error);
        for (held, status) in sessions.iter_mut().zip(statuses) {
            assert_ne!(status, -15, "INTERNAL in a batch");
            let after = held.stated_tokens();
            if status >= 0 && !held.pending {
                assert_eq!(after, held.tokens + 1);
            } else if !held.pending {
                assert_eq!(after, held.tokens, "a session that failed has changed");
            }
            held.cancelled &= status != CANCELLED;
            // What is under way is finished first, and may have taken the last room.
            held.pending &= status < 0 && status != CANCELLED && status != CONTEXT_FULL;
            held.tokens = after;
        }
    }

    /// Text in pieces, with a stop string.
    fn text(&self, held: &mut Held, source: &mut Source) {
        let mut error = error();
        let stops = [c"the".as_ptr(), c"\xc3\xa9".as_ptr()];
        let (mut text, mut length, mut ended) = ([0; RASP_STEP_TEXT_SIZE], 0, 0);
        // SAFETY: the session is open, and all else are places of our own.
        unsafe {
            let status =
                rasp_session_set_stop(held.session, stops.as_ptr(), usize::from(source.byte() % 3), &mut error);
            held.judge(sound(status, &error), &[(held.pending, INVALID_STATE)], held.tokens);
            let flags = u32::from(source.byte() % 2);
            let start = text.as_mut_ptr();
            let status = rasp_step_text(held.session, flags, start, text.len(), &mut length, &mut ended, &mut error);
            let status = sound(status, &error);
            assert!(status < 0 || std::str::from_utf8(bytes_of(&text[..length])).is_ok(), "whole characters only");
            held.cancelled &= status != CANCELLED;
            held.pending = false;
            held.tokens = held.stated_tokens();
            sound(rasp_finish_text(held.session, start, text.len(), &mut length, &mut error), &error);
            assert!(std::str::from_utf8(bytes_of(&text[..length])).is_ok(), "whole characters only");
        }
    }
}

fn bytes_of(text: &[std::ffi::c_char]) -> &[u8] {
    // SAFETY: a byte as much as a character.
    unsafe { std::slice::from_raw_parts(text.as_ptr().cast(), text.len()) }
}

impl Target for Api {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = Vec::new();
        // A prompt, then each call; and the same after a token, after a shift, under way.
        for call in 0..20u8 {
            let prompt = [0, 0, 0, 4, 1, 0, 7, 104, 101, 108, 108, 111, 32, 116];
            let arguments = [call, 0, 3, 2, 40, 50, 60, 70, 80];
            seeds.push([&prompt[..], &arguments].concat());
            seeds.push([&prompt[..], &[3, 0, 3, 0], &arguments, &[9, 0, 8, 0]].concat());
            seeds.push([&prompt[..], &[7, 0, 1, 2, 9, 0], &arguments, &[16, 0, 9, 0]].concat());
            seeds.push([&prompt[..], &[13, 0, 5, 1, 2, 3, 4, 5, 14, 0], &arguments, &[14, 0, 14, 0, 3, 0]].concat());
            seeds.push([&prompt[..], &[0, 0, 1, 3, 1, 1, 2, 1, 2, 18, 0], &arguments, &[18, 0]].concat());
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let mut source = Source(&input[..input.len().min(256)]);
        let mut sessions = Vec::new();
        while !source.is_empty() {
            self.call(&mut sessions, &mut source);
        }
    }
}
