//! With the feature `constrained`: llguidance compiles the constraint and computes the masks.
//!
//! What it brings into the host's process: it allocates while stepping; once a process it puts a panic hook before the one
//! there is, and in each thread that steps with a constraint it keeps a thread-local with a destructor (the backtrace of a
//! panic caught; the shared library stays loaded, so it never dangles). It starts no threads (its `rayon` is off), reads
//! no environment, and its logs are off.

use super::ConstraintKind;
use crate::model::Model;
use crate::text::Tokenizer;
use crate::{Error, Result, Status};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{SimpleVob, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory, TokenParser};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// The vocabulary as a tree of bytes: made once a model, when its first constraint is.
pub(crate) struct Vocabulary(TokTrie);

impl Vocabulary {
    /// `size` tokens, as many as there are logits; those beyond the tokenizer's are never allowed.
    pub(crate) fn new(tokenizer: &Tokenizer, size: usize) -> Result<Vocabulary> {
        let Some(&end) = tokenizer.end_tokens().first() else {
            return Err(Error::new(
                Status::Unsupported,
                "the model has no token that ends a text, so no constraint can end",
            ));
        };
        let words: Vec<Vec<u8>> = (0..size as u32)
            .map(|id| match tokenizer.token_bytes(id) {
                // Special tokens are marked, so that no text is ever made of them.
                Some(name) if tokenizer.is_special(id) => [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat(),
                Some(bytes) => bytes.to_vec(),
                None => Vec::new(),
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(size as u32, end), &words);
        Ok(Vocabulary(trie.with_eos_tokens(tokenizer.end_tokens())))
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    /// No tokens are forced: the model chooses how to write what must come.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// What a text may be, compiled for one model's vocabulary. It never changes, and any number of sessions of that model
/// may use it at once.
pub struct Constraint {
    /// A parser that has parsed nothing. Behind a lock, since it may only be copied by one thread at a time.
    parser: Mutex<TokenParser>,
    vocabulary: Arc<Vocabulary>,
}

impl Constraint {
    /// Makes what all constraints of a model share. It outlives the call that does, and so it is made on its own.
    pub(crate) fn prepare(model: &Model) -> Result<()> {
        // Its panic hook lasts as long as the process: it is made here, before memory is set aside for a constraint.
        let _ = llguidance::panic_utils::catch_unwind(|| Ok(()));
        model.constraint_vocabulary().map(|_| ())
    }

    /// Compiles a constraint. The first one of a model takes some milliseconds and megabytes more, for its vocabulary.
    pub fn new(model: &Model, kind: ConstraintKind, source: &str) -> Result<Constraint> {
        let refused =
            |e: &dyn std::fmt::Display| Error::new(Status::InvalidArgument, format_args!("constraint: {e:#}"));
        let grammar = match kind {
            ConstraintKind::JsonSchema => {
                let mut schema = serde_json::from_str(source).map_err(|e| refused(&e))?;
                compact(&mut schema);
                TopLevelGrammar::from_json_schema(schema)
            }
            ConstraintKind::Regex => TopLevelGrammar::from_regex(source),
            ConstraintKind::Grammar => TopLevelGrammar::from_lark(source.to_owned()),
        };
        let vocabulary = model.constraint_vocabulary()?;
        let tokens: Arc<dyn TokenizerEnv + Sync> = vocabulary.clone();
        let mut factory = ParserFactory::new(&tokens, Default::default(), &[]).map_err(|e| refused(&e))?;
        factory.quiet().limits_mut().verbose_errors = false;
        let parser = factory.create_parser(grammar).map_err(|e| refused(&e))?;
        // One that nothing satisfies is wrong now, and not only once somebody waits for its text.
        let mut first = Matcher::new(Ok(parser.deep_clone()));
        let mask = first.compute_mask_or_eos().map_err(|e| refused(&e))?;
        if mask.is_zero() && !first.is_stopped() {
            return Err(Error::new(Status::InvalidArgument, "constraint: no text fits it"));
        }
        Ok(Constraint { parser: Mutex::new(parser), vocabulary })
    }

    /// Fails unless it was compiled for this model.
    pub(crate) fn check(&self, model: &Model) -> Result<()> {
        if Arc::ptr_eq(&self.vocabulary, &model.constraint_vocabulary()?) {
            return Ok(());
        }
        Err(Error::new(Status::InvalidArgument, "the constraint was compiled for another model"))
    }

    fn matcher(&self) -> Matcher {
        // A parser that is only copied is whole whoever panicked meanwhile.
        let parser = self.parser.lock().unwrap_or_else(PoisonError::into_inner).deep_clone();
        Matcher::new(Ok(parser))
    }
}

/// Has JSON written without more white space than people put in a line.
fn compact(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut()
        && !schema.contains_key("x-guidance")
    {
        let style = json!({ "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": " });
        schema.insert("x-guidance".into(), style);
    }
}

/// A constraint at work in one session.
///
/// It follows the session's tokens by comparing them with those it has parsed, so that it need not be told of tokens that
/// were taken back or replaced.
pub(crate) struct Guide {
    constraint: Arc<Constraint>,
    matcher: Matcher,
    /// How many of the session's tokens came before the constrained text.
    from: usize,
    /// The tokens of that text that have been parsed.
    parsed: Vec<TokenId>,
    /// Some of the text is no longer among the session's tokens, so that it cannot be parsed again.
    shifted: bool,
    /// What may come next.
    mask: SimpleVob,
}

impl Guide {
    /// For the text after the first `from` tokens.
    pub(crate) fn new(constraint: Arc<Constraint>, from: usize) -> Result<Guide> {
        let matcher = constraint.matcher();
        Ok(Guide { constraint, matcher, from, parsed: Vec::new(), shifted: false, mask: SimpleVob::new() })
    }

    /// The same at the same place, for another session.
    pub(crate) fn fork(&self) -> Guide {
        Guide {
            constraint: self.constraint.clone(),
            matcher: self.matcher.deep_clone(),
            parsed: self.parsed.clone(),
            mask: SimpleVob::new(),
            ..*self
        }
    }

    /// The constrained text begins anew, after the first `from` tokens.
    pub(crate) fn begin(&mut self, from: usize) {
        self.from = from;
        self.shifted = false;
        self.restart();
    }

    fn restart(&mut self) {
        if !self.parsed.is_empty() || self.matcher.is_error() {
            self.matcher = self.constraint.matcher();
            self.parsed.clear();
        }
    }

    /// Of `history` the `discard` tokens after the first `keep` are about to go; that is no change of the text.
    pub(crate) fn shift(&mut self, history: &[u32], keep: usize, discard: usize) {
        // An error shows at the next step.
        let _ = self.parse(history);
        let (start, end) = (keep.max(self.from), (keep + discard).max(self.from));
        self.shifted |= start < end;
        let len = self.parsed.len();
        self.parsed.drain((start - self.from).min(len)..(end - self.from).min(len));
        self.from -= self.from.min(keep + discard).saturating_sub(keep);
    }

    /// Parses what is new in `history`.
    fn parse(&mut self, history: &[u32]) -> Result<()> {
        self.from = self.from.min(history.len());
        let text = &history[self.from..];
        if !text.starts_with(&self.parsed) || self.matcher.is_error() {
            if self.shifted {
                let message =
                    "part of the constrained text was shifted out of the context: no other can be begun from it";
                return Err(Error::new(Status::InvalidState, message));
            }
            self.restart();
        }
        for (index, &token) in text.iter().enumerate().skip(self.parsed.len()) {
            // After its end the text may only end again.
            if !self.matcher.is_stopped() && self.matcher.consume_token(token).is_err() {
                let message = format!("token {} of the text does not fit the constraint", index + 1);
                return Err(Error::new(Status::InvalidState, message));
            }
            self.parsed.push(token);
        }
        Ok(())
    }

    /// Computes what may come after `history`.
    pub(crate) fn follow(&mut self, history: &[u32]) -> Result<()> {
        self.parse(history)?;
        let mask = self.matcher.compute_mask_or_eos();
        self.mask =
            mask.map_err(|e| Error::new(Status::Unsupported, format_args!("the constraint is too much: {e:#}")))?;
        if self.mask.is_zero() && !self.matcher.is_stopped() {
            return Err(Error::new(Status::InvalidState, "the constraint: no text fits from here on"));
        }
        if self.matcher.is_stopped() {
            let trie = self.constraint.vocabulary.tok_trie();
            trie.eos_tokens().iter().for_each(|&token| self.mask.allow_token(token));
        }
        Ok(())
    }

    /// Forbids what may not come.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        for (logit, token) in logits.iter_mut().zip(0..) {
            if !self.allows(token) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    pub(crate) fn allows(&self, token: u32) -> bool {
        (token as usize) < self.mask.len() && self.mask.is_allowed(token)
    }
}
