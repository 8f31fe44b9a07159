//! How far a text has been parsed, by llguidance's Earley parser.
//!
//! llguidance's `TokenParser` would do this too, and more that is not wanted here (prompts, rollback, logs). But what
//! makes one puts a panic hook before the host's and leaves a thread-local with a destructor in the
//! thread, for good. The parser that it is made of does neither.

use super::vocabulary::VocabularyTree;
use crate::{Error, Result, Status};
use llguidance::Logger;
use llguidance::api::{GrammarInit, ParserLimits, TopLevelGrammar};
use llguidance::earley::{self, perf::ParserPerfCounters};
use llguidance::toktrie::{SimpleVob, TokenId, TokenizerEnv};
use std::fmt::Display;
use std::sync::Arc;

/// A text of a constraint, as far as it has been parsed.
pub(super) struct Parser {
    text: earley::Parser,
    vocabulary: Arc<VocabularyTree>,
    /// Whether the text may end here.
    accepting: bool,
    /// Whether the last token was one that ends a text.
    ended: bool,
    /// The last token that was text.
    last: Option<TokenId>,
}

/// What may come next in a text.
#[derive(Clone)]
pub(super) struct Next {
    pub(super) allowed: SimpleVob,
    /// The tokens that must come, whatever the model says; the first of them is all that is allowed.
    pub(super) forced: Vec<TokenId>,
}

pub(super) fn too_much(error: impl Display) -> Error {
    Error::new(Status::Unsupported, format_args!("the constraint is too much: {error:#}"))
}

impl Parser {
    /// At the beginning of a text; or what is wrong with the grammar.
    pub(super) fn new(vocabulary: &Arc<VocabularyTree>, grammar: TopLevelGrammar) -> Result<Parser> {
        let refused = |error: &dyn Display| Error::new(Status::InvalidArgument, format_args!("constraint: {error:#}"));
        let tokens: Arc<dyn TokenizerEnv + Sync> = vocabulary.clone();
        let limits = ParserLimits { verbose_errors: false, ..Default::default() };
        let grammar = GrammarInit::Serialized(grammar)
            .to_cgrammar(Some(tokens.clone()), &mut Logger::new(0, 0), limits.clone(), Vec::new())
            .map_err(|e| refused(&e))?;
        let counters = Arc::new(ParserPerfCounters::default());
        let mut text = earley::Parser::new(tokens, grammar, limits, counters).map_err(|e| refused(&e))?;
        let accepting = text.is_accepting();
        Ok(Parser { text, vocabulary: vocabulary.clone(), accepting, ended: false, last: None })
    }

    /// The same text, parsed on its own.
    pub(super) fn copy(&self) -> Parser {
        let Parser { ref text, ref vocabulary, accepting, ended, last } = *self;
        Parser { text: text.deep_clone(), vocabulary: vocabulary.clone(), accepting, ended, last }
    }

    /// Whether nothing can come any more but an end.
    fn is_over(&self) -> bool {
        self.accepting && (self.ended || !self.text.can_advance())
    }

    /// Appends a token; `false` if it does not fit, and then this parser is of no use any more. After its end the text
    /// may only end again.
    pub(super) fn push(&mut self, token: TokenId) -> bool {
        if self.is_over() {
            return true;
        }
        let ends = self.vocabulary.tree().eos_tokens().contains(&token);
        // An end that a rule waits for is no end of the text.
        if !(ends && self.text.scan_eos()) {
            self.ended = ends;
            if !(ends && self.accepting) {
                let bytes = self.vocabulary.tree().decode_raw(&[token]);
                if self.text.get_error().is_some() || self.text.apply_token(&bytes, token).is_err() {
                    return false;
                }
                self.last = Some(token);
            }
        }
        self.accepting = self.text.currently_forced_bytes().is_empty() && self.text.is_accepting();
        true
    }

    /// What may come now: one token at least.
    pub(super) fn next(&mut self) -> Result<Next> {
        let vocabulary = self.vocabulary.clone();
        let tree = vocabulary.tree();
        let (mut allowed, forced) = match self.is_over() {
            true => (tree.alloc_token_set(), Vec::new()),
            false => {
                let forced = self.forced();
                let allowed = match forced.first() {
                    Some(&token) => tree.singleton_token_set(token),
                    None => {
                        let begun = self.text.currently_forced_bytes().to_vec();
                        self.text.compute_bias(&*vocabulary, &begun)
                    }
                };
                (allowed, forced)
            }
        };
        if let Some(error) = self.text.get_error() {
            return Err(too_much(error.message()));
        }
        if self.accepting {
            tree.eos_tokens().iter().for_each(|&token| allowed.allow_token(token));
        }
        if allowed.is_zero() {
            return Err(Error::new(Status::InvalidState, "the constraint: no text fits from here on"));
        }
        Ok(Next { allowed, forced })
    }

    /// The tokens that must come now: where all texts go on with the same bytes, these as the tokenizer cuts them. A
    /// model that chose how to write what it would not have said would often write it letter by letter. What can be cut
    /// otherwise, depending on what follows, is left to it.
    fn forced(&mut self) -> Vec<TokenId> {
        if !self.vocabulary.tokenize_is_canonical() || self.text.grammar().lexer_spec().no_forcing {
            return Vec::new();
        }
        self.text.force_bytes();
        let forced = self.text.currently_forced_bytes();
        if forced.is_empty() {
            return Vec::new();
        }
        let tree = self.vocabulary.tree();
        // Cut as one with the last token, if that stays what it is.
        let last: Vec<TokenId> = self.last.into_iter().collect();
        let whole = [&tree.decode_raw(&last), forced].concat();
        let (mut tokens, mut fixed) = self.vocabulary.tokenize_bytes_marker(&whole);
        if tokens.starts_with(&last) {
            tokens.drain(..last.len());
            fixed = fixed.saturating_sub(last.len());
        } else {
            (tokens, fixed) = self.vocabulary.tokenize_bytes_marker(forced);
        }
        let vocabulary = self.vocabulary.clone();
        let (open, _) = self.text.with_recognizer(|text| vocabulary.tree().chop_tokens(text, &tokens[fixed..]));
        tokens.truncate(tokens.len() - open);
        tokens
    }
}
