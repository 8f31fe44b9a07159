//! A session's state as bytes, and back.
//!
//! All numbers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `RASPSESS` |
//! | 4, 4 | version, 2 or 3; flags |
//! | 8, 8 | bytes of the whole; [`Model::fingerprint`] |
//! | 4, 4 | type of the cache: 0 f16, 1 f32, 2 i8; tokens |
//! | 4 | sparsity |
//! | 6 · 4, 8 | [`Sampling`]: temperature, top_k, top_p, min_p, repetition_penalty, repetition_window; seed |
//! | 4 · 8 | random numbers |
//! | 4 a token | ids |
//! | 4 a token that has passed | sparsity at which it did |
//! | | keys, their scales, values, their scales, of tokens that have passed ([`KvCache::stretches`]) |
//! | 4 · hidden | what the head took of the last token that passed, if it is there |
//! | 60 | what later versions added to the settings (`src/sampling/bytes.rs`), if any of it is set |
//! | 8 | XXH64 of all before |
//!
//! Flags: 1, the last token was sampled and has not passed; 2, what the head took is there; 4, in version 3; 8, later
//! settings are there.
//!
//! The logits follow from what the head took; without it the last token passes once more before there are some. A shift
//! leaves the logits as they were, and a second pass among the tokens that are left would give others: so it is saved.
//! Version 1 had none of it, and is still read. In version 3 a layer that holds its window alone has the positions of
//! the last token's, from the beginning of a block of 32 on.
//!
//! [`Model::fingerprint`]: crate::Model::fingerprint
//! [`KvCache::stretches`]: super::kv_cache::KvCache::stretches

use super::{KvType, Ready, Session};
use crate::error::Message;
use crate::hash::xxh64;
use crate::sampling::{MORE, Random, SamplerState};
use crate::{Error, Result, Sampling, Status};

const MAGIC: &[u8; 8] = b"RASPSESS";
const VERSION: u32 = 2;
/// The version of states whose layers hold windows alone.
const OF_WINDOWS: u32 = 3;
/// The first version, in which no state had what the head took.
const WITHOUT_HEAD: u32 = 1;
/// Bits of the word after the version.
const PENDING: u32 = 1;
const HEAD: u32 = 2;
const WINDOWS: u32 = 4;
const SAMPLING: u32 = 8;
/// Bytes before the tokens.
pub(super) const HEADER: usize = 8 + 8 + 16 + 8 + 4 + 6 * 4 + 8 + 4 * 8;
const CHECKSUM: usize = 8;

/// What [`Session::save`] wrote, checked.
struct SavedState<'a> {
    pending: bool,
    sparsity: f32,
    sampling: (Sampling, SamplerState),
    tokens: &'a [[u8; 4]],
    sparsities: &'a [[u8; 4]],
    /// Keys and values.
    cache: &'a [u8],
    /// What the head took, or nothing.
    head: &'a [[u8; 4]],
}

fn bad(message: impl Into<Message>) -> Error {
    Error::new(Status::BadState, message)
}

impl KvType {
    fn code(self) -> u32 {
        match self {
            KvType::F16 => 0,
            KvType::F32 => 1,
            KvType::I8 => 2,
        }
    }
}

impl Session {
    /// Bytes that [`save`](Session::save) takes now.
    pub fn state_size(&self) -> usize {
        let (sampling, state) = self.sampler.state();
        let more = sampling.more(state.surprise).is_some();
        self.size_of_state(self.tokens.len(), self.passed(), self.has_head(), more)
    }

    /// Whether what the head took of the last token that passed is at hand.
    fn has_head(&self) -> bool {
        matches!(self.ready, Ready::Hidden | Ready::Logits)
    }

    fn size_of_state(&self, tokens: usize, passed: usize, head: bool, sampling: bool) -> usize {
        let head = if head { self.engine.head.last.len() } else { 0 };
        let sampling = if sampling { MORE } else { 0 };
        HEADER + 4 * (tokens + passed + head) + self.engine.own.kv.bytes_of(passed) + sampling + CHECKSUM
    }

    /// Writes the state to the beginning of `buffer`: tokens, cache, sparsity, sampling and random numbers. Gives the
    /// bytes written. The logits are not among them, but what they are computed from is. What the host adds to them
    /// (biases, callback, constraint) or watches for (stop strings) is not: that is the session's own, whatever it
    /// holds.
    pub fn save(&self, buffer: &mut [u8]) -> Result<usize> {
        self.idle()?;
        self.check_windows()?;
        let (size, given) = (self.state_size(), buffer.len());
        let Some(buffer) = buffer.get_mut(..size) else {
            let message = format_args!("the state has {size} bytes, the buffer {given}");
            return Err(Error::new(Status::BufferTooSmall, message));
        };
        let (content, checksum) = buffer.split_at_mut(size - CHECKSUM);
        let mut rest = &mut *content;
        let mut put = |bytes: &[u8]| {
            let (to, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            to.copy_from_slice(bytes);
            rest = after;
        };
        put(MAGIC);
        let windows = self.engine.own.kv.has_windows();
        put(&if windows { OF_WINDOWS } else { VERSION }.to_le_bytes());
        let flags = if self.pending { PENDING } else { 0 } | if self.has_head() { HEAD } else { 0 };
        let flags = flags | if windows { WINDOWS } else { 0 };
        let (s, state) = self.sampler.state();
        let more = s.more(state.surprise);
        let flags = flags | if more.is_some() { SAMPLING } else { 0 };
        put(&flags.to_le_bytes());
        put(&(size as u64).to_le_bytes());
        put(&self.engine.model.fingerprint().to_le_bytes());
        put(&self.options.kv_type.code().to_le_bytes());
        // A context is at most the model's, below 2^24.
        put(&(self.tokens.len() as u32).to_le_bytes());
        put(&self.sparsity.to_le_bytes());
        put(&s.temperature.to_le_bytes());
        put(&s.top_k.to_le_bytes());
        put(&s.top_p.to_le_bytes());
        put(&s.min_p.to_le_bytes());
        put(&s.repetition_penalty.to_le_bytes());
        put(&s.repetition_window.to_le_bytes());
        put(&s.seed.to_le_bytes());
        state.random.state().iter().for_each(|word| put(&word.to_le_bytes()));
        self.tokens.iter().for_each(|token| put(&token.to_le_bytes()));
        self.sparsities[..self.passed()].iter().for_each(|sparsity| put(&sparsity.to_le_bytes()));
        self.engine.own.kv.each_stretch(self.passed(), &mut put);
        if self.has_head() {
            put(self.engine.head.last.bytes());
        }
        more.iter().for_each(|more| put(more));
        debug_assert!(rest.is_empty());
        checksum.copy_from_slice(&xxh64(content, 0).to_le_bytes());
        Ok(size)
    }

    /// Goes on as the session that was saved would have: same tokens, settings and random numbers, to the bit. What
    /// this one held is forgotten. Its context may be larger, its threads and batch others; model and type of cache
    /// must be the same.
    ///
    /// For stop strings and a constraint a new answer begins.
    ///
    /// A state that is damaged, or of another model, is refused with [`Status::BadState`], and nothing changes.
    pub fn restore(&mut self, data: &[u8]) -> Result<()> {
        self.idle()?;
        let state = self.read(data)?;
        self.sampler.set_state(state.sampling).map_err(|e| bad(e.message()))?;
        let passed = state.sparsities.len();
        self.engine.ahead.forget();
        self.tokens.clear();
        self.tokens.extend(state.tokens.iter().map(|id| u32::from_le_bytes(*id)));
        for (to, sparsity) in self.sparsities.iter_mut().zip(state.sparsities) {
            *to = f32::from_le_bytes(*sparsity);
        }
        let mut rest = state.cache;
        self.engine.own.kv.fill_stretches(passed, |to| {
            let (from, after) = rest.split_at(to.len());
            to.copy_from_slice(from);
            rest = after;
        });
        for (to, from) in self.engine.head.last.iter_mut().zip(state.head) {
            *to = f32::from_le_bytes(*from);
        }
        self.pending = state.pending;
        self.ready = match passed {
            0 => Ready::Nothing,
            _ if state.head.is_empty() => Ready::Cached,
            _ => Ready::Hidden,
        };
        self.begin_answer();
        self.set_sparsity(state.sparsity)
    }

    /// Checks everything that [`restore`](Session::restore) relies on.
    fn read<'a>(&self, data: &'a [u8]) -> Result<SavedState<'a>> {
        let given = data.len();
        let header = data.get(..HEADER).filter(|header| header.starts_with(MAGIC));
        let header =
            header.ok_or_else(|| bad(format_args!("these {given} bytes are no saved session, or truncated")))?;
        let mut words = header[MAGIC.len()..].as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let mut word = || words.next().expect("the header has as many");
        let version = word();
        if !(WITHOUT_HEAD..=OF_WINDOWS).contains(&version) {
            let message =
                format_args!("a state of version {version}; this library reads {WITHOUT_HEAD} to {OF_WINDOWS}");
            return Err(Error::new(Status::UnsupportedVersion, message));
        }
        let flags = word();
        let windows = version == OF_WINDOWS;
        let (pending, head, more) = (flags & PENDING, flags & HEAD != 0, flags & SAMPLING != 0);
        let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let size = long(word(), word());
        if size != given as u64 {
            return Err(bad(format_args!("the state has {size} bytes, {given} were given")));
        }
        let (content, checksum) = data.split_last_chunk::<CHECKSUM>().expect("longer than its header");
        if xxh64(content, 0) != u64::from_le_bytes(*checksum) {
            return Err(bad("the state is damaged: its checksum is not that of its bytes"));
        }
        let model = &self.engine.model;
        let fingerprint = long(word(), word());
        if fingerprint != model.fingerprint() {
            let message =
                format_args!("the state is of another model: {fingerprint:016x}, not {:016x}", model.fingerprint());
            return Err(bad(message));
        }
        let kv_type = word();
        if kv_type != self.options.kv_type.code() {
            let found = KvType::ALL.into_iter().find(|t| t.code() == kv_type).map_or("unknown", KvType::name);
            let message = format_args!("the state's cache is {found}, the session's {}", self.options.kv_type.name());
            return Err(bad(message));
        }
        if windows != self.engine.own.kv.has_windows() {
            let (its, ours) = if windows { ("windows alone", "all") } else { ("all", "windows alone") };
            let message = format_args!(
                "the state has keys and values of {its}, the session holds {ours}: open one with windows_alone as it was"
            );
            return Err(bad(message));
        }
        let count = word() as usize;
        if count > self.tokens.capacity() {
            let message = format_args!("the state has {count} tokens, the session room for {}", self.tokens.capacity());
            return Err(Error::new(Status::ContextFull, message));
        }
        // From here on a misfit is no damage, for the checksum is right, but a forgery.
        let known = if version == WITHOUT_HEAD { PENDING } else { PENDING | HEAD | SAMPLING };
        let (known, needed) = if windows { (known | WINDOWS, WINDOWS) } else { (known, 0) };
        if flags & !known != 0 || flags & needed != needed {
            return Err(bad(format_args!("the state has flags {flags:#x}, which version {version} has not")));
        }
        if pending as usize > count || head && pending as usize == count {
            return Err(bad("the state has a sampled token, or what the head took, and no tokens"));
        }
        let passed = count - pending as usize;
        if given != self.size_of_state(count, passed, head, more) {
            return Err(bad(format_args!("{given} bytes are not what {count} tokens take")));
        }
        let sparsity = f32::from_bits(word());
        let sampling = Sampling {
            temperature: f32::from_bits(word()),
            top_k: word(),
            top_p: f32::from_bits(word()),
            min_p: f32::from_bits(word()),
            repetition_penalty: f32::from_bits(word()),
            repetition_window: word(),
            seed: long(word(), word()),
            ..Default::default()
        };
        let random = Random::from_state([(); 4].map(|()| long(word(), word())));
        let random = random.ok_or_else(|| bad("the random numbers stand nowhere"))?;
        let (tokens, rest) = content[HEADER..].split_at(4 * count);
        let (sparsities, cache) = rest.split_at(4 * passed);
        let (cache, head) = cache.split_at(self.engine.own.kv.bytes_of(passed));
        let (head, more) = head.split_at(head.len() - if more { MORE } else { 0 });
        let (sampling, surprise) = match more.first_chunk() {
            None => (sampling, 0.0),
            Some(more) => sampling.with_more(more).ok_or_else(|| bad("the order of sampling is none"))?,
        };
        let (tokens, sparsities, head) =
            (tokens.as_chunks::<4>().0, sparsities.as_chunks::<4>().0, head.as_chunks::<4>().0);
        let vocab = model.config().vocab_size;
        if let Some(at) = tokens.iter().position(|id| u32::from_le_bytes(*id) as usize >= vocab) {
            return Err(bad(format_args!("token {at} of the state is beyond the vocabulary")));
        }
        let allowed = |sparsity: f32| (0.0..=model.max_sparsity()).contains(&sparsity);
        if !allowed(sparsity) || !sparsities.iter().all(|s| allowed(f32::from_le_bytes(*s))) {
            return Err(bad("a sparsity of the state is none this model has"));
        }
        if !head.iter().all(|x| f32::from_le_bytes(*x).is_finite()) {
            return Err(bad("what the head took is no finite number"));
        }
        Ok(SavedState {
            pending: pending == 1,
            sparsity,
            sampling: (sampling, SamplerState { random, surprise }),
            tokens,
            sparsities,
            cache,
            head,
        })
    }
}
