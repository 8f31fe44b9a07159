//! How the next token is chosen.

use super::handle::with_session;
use super::*;
use crate::sampling::{LogProb, LogitsCallback, MAX_LOGIT_BIASES, SAMPLE, SamplerOrder, Sampling};
use std::ffi::c_void;

/// Stages of sampling, for rasp_sampling.order.
pub const RASP_STAGE_TOP_N_SIGMA: u8 = 1;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_TOP_K: u8 = 2;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_TEMPERATURE: u8 = 3;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_TYPICAL: u8 = 4;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_TOP_P: u8 = 5;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_MIN_P: u8 = 6;
/// See RASP_STAGE_TOP_N_SIGMA.
pub const RASP_STAGE_XTC: u8 = 7;

/// How the next token is chosen. Initialise with rasp_sampling_init: greedy. Penalties come first (repetition,
/// presence, frequency, dry), then the stages in their order, then mirostat, and a draw.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_sampling {
    /// Size of this struct as the caller was compiled.
    pub struct_size: u32,
    /// Divides the logits, 0 to 100; 0 is greedy: the largest logit, the lowest id on a tie.
    pub temperature: f32,
    /// Only the top_k largest logits stay; 0: all. With up to 64, and neither penalties nor top_n_sigma, a token reads
    /// only a part of the head, as a greedy one does.
    pub top_k: u32,
    /// Only the fewest tokens whose probabilities sum to at least top_p stay, above 0 to 1; 1: all.
    pub top_p: f32,
    /// Only tokens at least min_p times as likely as the likeliest stay, 0 to 1; 0: all.
    pub min_p: f32,
    /// Logits of recent tokens are divided by this if positive, multiplied if negative, 0.01 to 100; 1: none.
    pub repetition_penalty: f32,
    /// How many of the latest tokens are recent.
    pub repetition_window: u32,
    /// Always 0.
    pub reserved: u32,
    /// Where the random numbers start: the same seed, model and prompt give the same tokens.
    pub seed: u64,
    /// Taken from the logit of every recent token, -100 to 100; 0: none.
    pub presence_penalty: f32,
    /// Taken from it as often as the token came among the recent ones, -100 to 100; 0: none.
    pub frequency_penalty: f32,
    /// Only tokens whose logits are within so many standard deviations of the largest stay, 0 to 100; 0: all
    /// (arXiv:2411.07641).
    pub top_n_sigma: f32,
    /// Only the tokens whose surprise is nearest to the expected one stay, the fewest whose probabilities sum to at
    /// least this, above 0 to 1; 1: all (locally typical sampling, arXiv:2202.00666).
    pub typical_p: f32,
    /// How likely the top choices are excluded, 0 to 1: of all tokens with a probability of at least xtc_threshold the
    /// least likely alone stays; 0: never.
    pub xtc_probability: f32,
    /// See xtc_probability, 0 to 1, at first 0.1. Above 0.5 no two tokens have so much.
    pub xtc_threshold: f32,
    /// Don't repeat yourself, 0 to 100: a token that would make a repetition of n tokens one longer loses
    /// dry_multiplier * dry_base ^ (n - dry_allowed_length), for n of at least dry_allowed_length; 0: none. Repetitions
    /// end at tokens with a line end, a colon, a quotation mark or an asterisk, and at special tokens.
    pub dry_multiplier: f32,
    /// See dry_multiplier, 1 to 100, at first 1.75.
    pub dry_base: f32,
    /// See dry_multiplier, at first 2.
    pub dry_allowed_length: u32,
    /// In how many of the latest tokens repetitions are looked for, at first all.
    pub dry_window: u32,
    /// The surprise a token should have, in bits, 0 to 100: tokens that surprise more than a bound are left out, and
    /// the bound follows what comes, from twice this on (Mirostat 2, arXiv:2007.14966); 0: off.
    pub mirostat_tau: f32,
    /// How fast the bound follows, 0 to 1, at first 0.1.
    pub mirostat_eta: f32,
    /// RASP_STAGE_ numbers in the order that is wanted, and zeros; stages that are not named follow in the order of
    /// their numbers. (llama.cpp has the temperature last.) A stage whose setting is off does nothing.
    pub order: [u8; 8],
}

// SAFETY: eight 32-bit numbers, a u64 at a multiple of 8, twelve 32-bit numbers and eight bytes: no padding.
unsafe impl Versioned for rasp_sampling {
    const NAME: &'static str = "rasp_sampling";
    const FIRST: usize = 40;
    fn initial() -> Self {
        let s = Sampling::default();
        rasp_sampling {
            struct_size: size_of::<Self>() as u32,
            temperature: s.temperature,
            top_k: s.top_k,
            top_p: s.top_p,
            min_p: s.min_p,
            repetition_penalty: s.repetition_penalty,
            repetition_window: s.repetition_window,
            reserved: 0,
            seed: s.seed,
            presence_penalty: s.presence_penalty,
            frequency_penalty: s.frequency_penalty,
            top_n_sigma: s.top_n_sigma,
            typical_p: s.typical_p,
            xtc_probability: s.xtc_probability,
            xtc_threshold: s.xtc_threshold,
            dry_multiplier: s.dry_multiplier,
            dry_base: s.dry_base,
            dry_allowed_length: s.dry_allowed_length,
            dry_window: s.dry_window,
            mirostat_tau: s.mirostat_tau,
            mirostat_eta: s.mirostat_eta,
            order: [0; 8],
        }
    }
}
const _: () = assert!(size_of::<rasp_sampling>() == 96);

impl rasp_sampling {
    fn settings(&self) -> Result<Sampling> {
        if self.reserved != 0 {
            return Err(Error::new(Status::InvalidArgument, "rasp_sampling.reserved is not 0"));
        }
        Ok(Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            repetition_window: self.repetition_window,
            seed: self.seed,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            top_n_sigma: self.top_n_sigma,
            typical_p: self.typical_p,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
            dry_window: self.dry_window,
            mirostat_tau: self.mirostat_tau,
            mirostat_eta: self.mirostat_eta,
            order: SamplerOrder::from_bytes(self.order)?,
        })
    }
}

/// Sets sampling to its defaults, but for what came after seed. NULL is allowed and does nothing.
///
/// Programs that were compiled with a header in which seed was the last field call this; those that are compiled with
/// this one call rasp_sampling_init_2, by a macro of this name.
///
/// # Safety
/// sampling is NULL or points to a rasp_sampling, or to as much of one as ends with seed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_sampling_init(sampling: *mut rasp_sampling) {
    // SAFETY: by the caller's promise there is room for as much.
    unsafe { init(sampling, std::mem::offset_of!(rasp_sampling, presence_penalty)) }
}

/// Sets sampling to its defaults, greedy; written rasp_sampling_init. NULL is allowed and does nothing.
///
/// # Safety
/// sampling is NULL or points to a rasp_sampling.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_sampling_init_2(sampling: *mut rasp_sampling) {
    // SAFETY: by the caller's promise.
    unsafe { init(sampling, size_of::<rasp_sampling>()) }
}

/// Sets how tokens are chosen from now on, and starts the random numbers of its seed. NULL: greedy. Does not allocate.
/// Errors: INVALID_ARGUMENT (naming the field), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; sampling is NULL or initialised; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_sampling(
    session: *mut rasp_session,
    sampling: *const rasp_sampling,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let settings = options(sampling)?.settings()?;
            with_session(session, |session| session.set_sampling(settings))?;
            Ok(Status::Ok)
        })
    }
}

/// The most biases that rasp_session_set_logit_bias takes.
pub const RASP_LOGIT_BIAS_MAX: usize = 256;
const _: () = assert!(RASP_LOGIT_BIAS_MAX == MAX_LOGIT_BIASES);

/// What is added to the logit of one token.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_logit_bias {
    /// The token's id.
    pub token: u32,
    /// -INFINITY forbids the token; else -1000000 to 1000000.
    pub bias: f32,
}

/// Sets what is added to the logits of count tokens from now on, before anything else is done with them; it replaces
/// what was set before, and a count of 0 clears it. A token that is named twice gets both. Forbidding special tokens,
/// such as those that end a text (rasp_token_is_end), is a use of it.
///
/// The biases are copied. Does not allocate. On an error the old ones stay. Errors: OUT_OF_RANGE (more than
/// RASP_LOGIT_BIAS_MAX, or an id that is none), INVALID_ARGUMENT (a NaN, an infinity that is not negative or a number
/// beyond the range above), INVALID_STATE.
///
/// # Safety
/// session is NULL or open; biases is NULL or valid for reads of count entries; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_logit_bias(
    session: *mut rasp_session,
    biases: *const rasp_logit_bias,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let biases = slice(biases, count, "biases")?;
            with_session(session, |session| session.set_logit_biases(biases.iter().map(|b| (b.token, b.bias))))?;
            Ok(Status::Ok)
        })
    }
}

/// What a rasp_logits_callback returns to have the token sampled from the logits as it left them.
pub const RASP_LOGITS_SAMPLE: i32 = -1;
const _: () = assert!(RASP_LOGITS_SAMPLE == SAMPLE);

/// Looks at the logits of the next token before it is sampled: logits points to vocab_size numbers, one a token, logit
/// biases added, which the function may change; tokens to the token_count tokens so far. Both are valid until it
/// returns.
///
/// It returns RASP_LOGITS_SAMPLE to have a token sampled from the logits as they are then (the session's temperature
/// and so on apply; -INFINITY forbids a token), or the id of the token that it chose itself.
///
/// It is called once a sampled token, on the thread that called rasp_step, and must not call anything on that session
/// (which returns INVALID_STATE), unwind or jump out.
pub type rasp_logits_callback = Option<
    unsafe extern "C" fn(
        context: *mut c_void,
        logits: *mut f32,
        vocab_size: usize,
        tokens: *const u32,
        token_count: usize,
    ) -> i32,
>;

/// Has a function of the host's look at the logits before every sampled token; NULL ends that. context is handed to it.
/// While there is a callback or a logit bias, greedy decoding reads the whole head.
///
/// A step during which the function leaves a NaN or +INFINITY returns NON_FINITE, one at which every token is -INFINITY
/// INVALID_ARGUMENT, one for which it returns an id that is none OUT_OF_RANGE; nothing has been appended then, and the
/// next step asks again. rasp_logits keeps showing the model's own logits.
///
/// The context is the host's, and must live as long as the callback is set or the session open. Does not allocate.
/// Errors: INVALID_ARGUMENT, INVALID_STATE.
///
/// # Safety
/// session is NULL or open; callback is NULL or does what rasp_logits_callback says; error is NULL or valid for writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_session_set_logits_callback(
    session: *mut rasp_session,
    callback: rasp_logits_callback,
    context: *mut c_void,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers and of `set_logits_callback`.
    unsafe {
        guard(error, || {
            with_session(session, |session| {
                session.set_logits_callback(callback.map(|function| LogitsCallback { function, context }))?;
                Ok(Status::Ok)
            })
        })
    }
}

/// A token and the natural logarithm of its probability.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rasp_log_prob {
    /// The token's id.
    pub token: u32,
    /// At most 0.
    pub log_prob: f32,
}

// One is written as the other.
const _: () = assert!(
    size_of::<rasp_log_prob>() == size_of::<LogProb>()
        && std::mem::offset_of!(rasp_log_prob, token) == std::mem::offset_of!(LogProb, token)
        && std::mem::offset_of!(rasp_log_prob, log_prob) == std::mem::offset_of!(LogProb, log_prob)
);

/// How likely the model finds a token after the last one that passed through it, into *log_prob, and which count tokens
/// it finds likeliest, into top, the likeliest first. After a rasp_step that is the token that came, which has not
/// passed. By the model's own logits, as rasp_logits shows them: biases, constraints, penalties and temperature are not
/// in them.
///
/// top may be NULL if count is 0. Does not allocate. Errors: OUT_OF_RANGE (an id that is none, or count beyond the
/// vocabulary), INVALID_STATE (no prompt yet), INVALID_ARGUMENT, NON_FINITE.
///
/// # Safety
/// session is NULL or open; top is NULL or valid for writes of count structs; log_prob and error are NULL or valid for
/// writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rasp_log_probs(
    session: *mut rasp_session,
    token: u32,
    log_prob: *mut f32,
    top: *mut rasp_log_prob,
    count: usize,
    error: *mut rasp_error,
) -> rasp_status {
    // SAFETY: the caller's promises are those of the helpers.
    unsafe {
        guard(error, || {
            let log_prob = Out::new(log_prob, "log_prob")?;
            let top = Outs::new(top.cast::<LogProb>(), count, "top")?;
            with_session(session, |session| {
                // Found out before anything is written.
                session.check_log_probs(token, count)?;
                log_prob.set(session.log_probs(token, top.fill(LogProb::default()))?.log_prob);
                Ok(Status::Ok)
            })
        })
    }
}
