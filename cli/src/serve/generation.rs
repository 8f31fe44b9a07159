//! One answer in the making: what was asked for, and what of its text may be shown.

use super::error::ApiError;
use super::logprobs::logprobs;
use super::protocol::TokenLogprob;
use rasp::constraint::Constraint;
use rasp::session::Ended;
use rasp::text::{Shown, Utf8Stream};
use rasp::{Result, Sampling, Session};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// How an answer is to be made.
pub struct Wanted {
    pub sparsity: f32,
    pub stops: Vec<String>,
    pub logit_bias: Vec<(u32, f32)>,
    pub max_tokens: usize,
    /// Alternatives beside each token's own probability; `None`: no probabilities.
    pub logprobs: Option<usize>,
    pub constraint: Option<Arc<Constraint>>,
    /// Which special tokens are text.
    pub shown: Shown,
}

/// One answer that is asked for.
pub struct Order {
    /// Among the answers of its request.
    pub index: usize,
    pub prompt: Arc<[u32]>,
    pub sampling: Sampling,
    pub wanted: Arc<Wanted>,
    /// Further answers to the same prompt, which begin once it has passed.
    pub siblings: Vec<Order>,
    pub events: Sender<Event>,
}

/// What a client hears of its answers.
#[derive(Debug)]
pub enum Event {
    Piece(Piece),
    /// Nothing comes after it.
    Failed(ApiError),
}

/// More of an answer.
#[derive(Debug, Default)]
pub struct Piece {
    pub index: usize,
    pub text: String,
    pub logprobs: Vec<TokenLogprob>,
    pub end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// `stop` or `length`.
    pub reason: &'static str,
    pub tokens: usize,
    /// Tokens of the prompt that did not have to pass.
    pub cached: usize,
}

/// An answer whose prompt has passed.
#[derive(Default)]
pub struct Answer {
    tokens: usize,
    /// Its characters as they become whole; their bytes, and those of them that no stop string holds back.
    chars: Utf8Stream,
    made: usize,
    shown: usize,
    /// Probabilities of tokens of which nothing was shown yet, and where their characters begin.
    held: Vec<(usize, TokenLogprob)>,
}

impl Answer {
    /// What a token adds; its `end` says whether the answer is over.
    pub fn take(&mut self, session: &mut Session, token: u32, order: &Order, cached: usize) -> Result<Piece> {
        self.tokens += 1;
        let model = session.model().clone();
        let tokenizer = model.tokenizer();
        let shown = order.wanted.shown;
        let is_text = model.shows(token, shown) && !tokenizer.is_end(token);
        if let Some(top) = order.wanted.logprobs.filter(|_| is_text) {
            self.held.push((self.made, logprobs(session, token, top)?));
        }
        if let Some(bytes) = tokenizer.token_bytes(token).filter(|_| is_text) {
            self.chars.push(bytes, |chars| self.made += chars.len());
        }
        let mut text = Vec::new();
        let mut ended = session.push_text(token, shown, |bytes| text.extend_from_slice(bytes));
        let full = self.tokens >= order.wanted.max_tokens || session.stats().tokens == session.stats().context;
        if ended.is_none() && full {
            session.finish_text(|bytes| text.extend_from_slice(bytes));
            ended = Some(Ended::Context);
        }
        Ok(self.piece(order.index, text, ended, cached))
    }

    fn piece(&mut self, index: usize, text: Vec<u8>, ended: Option<Ended>, cached: usize) -> Piece {
        self.shown += text.len();
        // Of what a stop string has cut off no probabilities are told; at any other end all is shown.
        let shown = match ended {
            Some(Ended::Token | Ended::Context) => usize::MAX,
            Some(Ended::Stop) | None => self.shown,
        };
        let count = self.held.iter().take_while(|(start, _)| *start < shown).count();
        let end = ended.map(|ended| End {
            reason: if ended == Ended::Context { "length" } else { "stop" },
            tokens: self.tokens,
            cached,
        });
        // What a session hands out is whole characters.
        let text = String::from_utf8_lossy(&text).into_owned();
        Piece { index, text, logprobs: self.held.drain(..count).map(|(_, entry)| entry).collect(), end }
    }
}
