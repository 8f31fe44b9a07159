//! With the feature `constrained`: llguidance compiles the constraint and computes the masks.
//!
//! What it brings into the host's process: it allocates while stepping, and asks the system for random bytes once a
//! thread, which its hash tables begin with. Of all that could outlive a call it makes nothing (see `parser`): no panic
//! hook, no thread-local with a destructor, no threads (its `rayon` is off), no logs. Of the environment the errors
//! that it makes read `RUST_BACKTRACE` and `RUST_LIB_BACKTRACE`, once a process.
//!
//! It cannot be told that there is no memory, so whatever it does runs [`within`](crate::reserve::within) a reserve.

use super::ConstraintKind;
use super::parser::{Next, Parser};
use super::vocabulary::VocabularyTree;
use crate::model::Model;
use crate::text::calls_grammar;
use crate::{Error, Result, Status, quiet, reserve};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{SimpleVob, TokenId};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// What a text may be, compiled for one model's vocabulary. It never changes, and any number of sessions of that model
/// may use it at once.
pub struct Constraint {
    /// A parser that has parsed nothing. Behind a lock, since it may only be copied by one thread at a time.
    parser: Mutex<Parser>,
    vocabulary: Arc<VocabularyTree>,
    /// Bytes that the parser took.
    size: usize,
}

/// What compiling a constraint may ask for, and what each byte of its source adds.
const COMPILING: usize = 16 << 20;
const COMPILING_A_BYTE: usize = 4 << 10;

/// What parsing a token and finding those that may follow can ask for, besides what hangs on the parser's size: its
/// limits allow 50,000 items (a few dozen bytes each) and as many states of its lexer as 200,000 units of work make.
const STEPPING: usize = 24 << 20;

/// What llguidance calls a panic of its own is an error of the constraint; the parser is not used any more.
fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    quiet::quietly(body).unwrap_or_else(|payload| {
        let words = quiet::message(&*payload);
        Err(Error::new(Status::Unsupported, format_args!("the constraint is too much: llguidance panicked: {words}")))
    })
}

impl Constraint {
    /// Compiles a constraint. The first one of a model takes some milliseconds and megabytes more, for its vocabulary.
    pub fn new(model: &Model, kind: ConstraintKind, source: &str) -> Result<Constraint> {
        // It outlives this call, and so it is made on its own.
        model.constraint_vocabulary()?;
        let bytes = COMPILING.saturating_add(source.len().saturating_mul(COMPILING_A_BYTE));
        // SAFETY: what llguidance makes is in what it gives; the vocabulary was made before.
        unsafe { reserve::within(bytes, || Constraint::compile(model, kind, source)) }
    }

    fn compile(model: &Model, kind: ConstraintKind, source: &str) -> Result<Constraint> {
        let vocabulary = model.constraint_vocabulary()?;
        let before = reserve::held();
        let grammar = match kind {
            ConstraintKind::JsonSchema => {
                let mut schema = serde_json::from_str(source)
                    .map_err(|e| Error::new(Status::InvalidArgument, format_args!("constraint: {e:#}")))?;
                compact(&mut schema);
                TopLevelGrammar::from_json_schema(schema)
            }
            ConstraintKind::Regex => TopLevelGrammar::from_regex(source),
            ConstraintKind::Grammar => TopLevelGrammar::from_lark(source.to_owned()),
            ConstraintKind::Tools => {
                let grammar = calls_grammar(model.chat_template(), model.tokenizer(), source)?;
                TopLevelGrammar::from_lark(grammar)
            }
        };
        let parser = caught(|| Parser::new(&vocabulary, grammar))?;
        // One that nothing satisfies is wrong now, and not only once somebody waits for its text.
        caught(|| parser.copy().next()).map_err(|e| match e.status() {
            Status::InvalidState => Error::new(Status::InvalidArgument, "constraint: no text fits it"),
            _ => e,
        })?;
        let size = reserve::held().saturating_sub(before);
        Ok(Constraint { parser: Mutex::new(parser), vocabulary, size })
    }

    /// Fails unless it was compiled for this model.
    pub(crate) fn check(&self, model: &Model) -> Result<()> {
        if Arc::ptr_eq(&self.vocabulary, &model.constraint_vocabulary()?) {
            return Ok(());
        }
        Err(Error::new(Status::InvalidArgument, "the constraint was compiled for another model"))
    }

    /// A parser at the beginning. It is made within a reserve.
    fn fresh(&self) -> Parser {
        // A parser that is only copied is whole whoever panicked meanwhile.
        self.parser.lock().unwrap_or_else(PoisonError::into_inner).copy()
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
/// It follows the session's tokens by comparing them with those it has seen, so that it need not be told of tokens that
/// were taken back or replaced.
pub(crate) struct Guide {
    constraint: Arc<Constraint>,
    /// Where the text is parsed to; `None` at its beginning, and where memory or a parse failed: then the text is
    /// parsed again.
    parser: Option<Parser>,
    /// How many of `text` the parser has parsed.
    parsed: usize,
    /// The most bytes that the parser took.
    size: usize,
    /// How many of the session's tokens came before the constrained text.
    from: usize,
    /// All tokens of that text, also those that were shifted out of the session.
    text: Vec<TokenId>,
    /// Those that are among the session's.
    seen: Vec<TokenId>,
    /// Some of the text is no longer among the session's tokens, so that it is not known what another one would be.
    shifted: bool,
    next: Next,
}

/// Appends to a list, if there is memory.
fn extend(list: &mut Vec<TokenId>, tokens: &[TokenId]) -> Result<()> {
    list.try_reserve(tokens.len()).map_err(|_| Error::out_of_memory("the tokens of a constraint"))?;
    list.extend_from_slice(tokens);
    Ok(())
}

impl Guide {
    /// For the text after the first `from` tokens.
    pub(crate) fn new(constraint: Arc<Constraint>, from: usize) -> Result<Box<Guide>> {
        let size = constraint.size;
        let guide = Guide {
            constraint,
            parser: None,
            parsed: 0,
            size,
            from,
            text: Vec::new(),
            seen: Vec::new(),
            shifted: false,
            next: Next { allowed: SimpleVob::new(), forced: Vec::new() },
        };
        // Sizes are rounded up to powers of two there.
        // SAFETY: the box is given.
        unsafe { reserve::within(4 * size_of::<Guide>() + (1 << 10), || Ok(Box::new(guide))) }
    }

    /// What a copy of the parser, or a step with it, can ask for.
    fn reserve(&self) -> usize {
        STEPPING.saturating_add(self.size.saturating_mul(8))
    }

    /// The same at the same place, for another session.
    pub(crate) fn fork(&self) -> Result<Box<Guide>> {
        let mut fork = Guide::new(self.constraint.clone(), self.from)?;
        extend(&mut fork.text, &self.text)?;
        extend(&mut fork.seen, &self.seen)?;
        if let Some(parser) = &self.parser {
            let copy = || caught(|| Ok((parser.copy(), self.next.clone())));
            // SAFETY: as in `Constraint::new`; the copy shares nothing that grows with what it was copied from.
            let (parser, next) = unsafe { reserve::within(self.reserve(), copy) }?;
            (fork.parser, fork.next) = (Some(parser), next);
        }
        (fork.parsed, fork.size, fork.shifted) = (self.parsed, self.size, self.shifted);
        Ok(fork)
    }

    /// The constrained text begins anew, after the first `from` tokens.
    pub(crate) fn begin(&mut self, from: usize) {
        self.from = from;
        self.shifted = false;
        self.restart();
    }

    fn restart(&mut self) {
        if self.parsed > 0 {
            self.forget_parser();
        }
        self.text.clear();
        self.seen.clear();
    }

    fn forget_parser(&mut self) {
        (self.parser, self.parsed) = (None, 0);
    }

    /// Of `history` the `discard` tokens after the first `keep` are about to go; that is no change of the text. On an
    /// error nothing has changed but what has been seen.
    pub(crate) fn shift(&mut self, history: &[u32], keep: usize, discard: usize) -> Result<()> {
        match self.see(history) {
            // It shows at the next step.
            Err(error) if error.status() != Status::OutOfMemory => {}
            outcome => outcome?,
        }
        let (start, end) = (keep.max(self.from), (keep + discard).max(self.from));
        self.shifted |= start < end;
        let len = self.seen.len();
        self.seen.drain((start - self.from).min(len)..(end - self.from).min(len));
        self.from -= self.from.min(keep + discard).saturating_sub(keep);
        Ok(())
    }

    /// Takes note of what is new in `history`.
    fn see(&mut self, history: &[u32]) -> Result<()> {
        self.from = self.from.min(history.len());
        let text = &history[self.from..];
        if !text.starts_with(&self.seen) {
            if self.shifted {
                let message =
                    "part of the constrained text was shifted out of the context: no other can be begun from it";
                return Err(Error::new(Status::InvalidState, message));
            }
            self.restart();
        }
        let new = &text[self.seen.len()..];
        let before = self.text.len();
        extend(&mut self.text, new)?;
        extend(&mut self.seen, new).inspect_err(|_| self.text.truncate(before))
    }

    /// Computes what may come after `history`, unless it is known.
    pub(crate) fn follow(&mut self, history: &[u32]) -> Result<()> {
        self.see(history)?;
        if self.parser.is_some() && self.parsed == self.text.len() {
            return Ok(());
        }
        let (parser, parsed) = (self.parser.take(), std::mem::take(&mut self.parsed));
        let (text, constraint) = (&self.text, &self.constraint);
        let known = parser.is_some();
        let step = || {
            caught(|| {
                let before = reserve::held();
                let mut parser = parser.unwrap_or_else(|| constraint.fresh());
                for (index, &token) in text.iter().enumerate().skip(parsed) {
                    if !parser.push(token) {
                        let message = format_args!("token {} of the text does not fit the constraint", index + 1);
                        return Err(Error::new(Status::InvalidState, message));
                    }
                }
                let next = parser.next()?;
                Ok((parser, next, reserve::held().saturating_sub(before)))
            })
        };
        // SAFETY: as in `Constraint::new`; the parser goes in and comes out, or ends in there.
        let (parser, next, grown) = unsafe { reserve::within(self.reserve(), step) }?;
        self.size = if known { self.size.saturating_add(grown) } else { self.size.max(grown) };
        (self.parser, self.parsed, self.next) = (Some(parser), self.text.len(), next);
        Ok(())
    }

    /// The tokens that must come after the history that was [followed](Guide::follow); none if there is a choice at
    /// once.
    pub(crate) fn forced(&self) -> &[TokenId] {
        &self.next.forced
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
        (token as usize) < self.next.allowed.len() && self.next.allowed.is_allowed(token)
    }
}
