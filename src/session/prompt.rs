//! A whole text as a session's: what it holds of its beginning need not pass again.
//!
//! A conversation is passed whole each turn, and its answers come back as text. The tokens of that text need not be
//! those that were sampled, for a text may be cut in several ways. So texts are compared, token boundary by token
//! boundary, and special tokens by their ids: where both have a boundary at the same place, and the same text before
//! it, what the session holds stands for what was given.

use super::Session;
use crate::text::Tokenizer;
use crate::{Error, Result, Status};

/// How much of two texts is the same: so many tokens of the first, and of the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CommonPrefix {
    held: usize,
    given: usize,
}

/// The longest common beginning of two texts that ends at a boundary of tokens in both.
fn common(tokenizer: &Tokenizer, held: &[u32], given: &[u32]) -> CommonPrefix {
    let (mut best, mut at) = (CommonPrefix::default(), CommonPrefix::default());
    // Bytes of the token in hand that the other text has not come by yet.
    let (mut of_held, mut of_given): (&[u8], &[u8]) = (&[], &[]);
    loop {
        if of_held.is_empty() && of_given.is_empty() {
            best = at;
            let (Some(&one), Some(&other)) = (held.get(at.held), given.get(at.given)) else { return best };
            if one == other {
                at = CommonPrefix { held: at.held + 1, given: at.given + 1 };
                continue;
            }
        }
        // A special token is no text: where it is not the same, nothing is.
        if of_held.is_empty() {
            match held.get(at.held).filter(|id| !tokenizer.is_special(**id)).and_then(|id| tokenizer.token_bytes(*id)) {
                Some(bytes) if !bytes.is_empty() => (of_held, at.held) = (bytes, at.held + 1),
                _ => return best,
            }
        }
        if of_given.is_empty() {
            match given.get(at.given).filter(|id| !tokenizer.is_special(**id)).and_then(|id| tokenizer.token_bytes(*id))
            {
                Some(bytes) if !bytes.is_empty() => (of_given, at.given) = (bytes, at.given + 1),
                _ => return best,
            }
        }
        let shared = of_held.len().min(of_given.len());
        if of_held[..shared] != of_given[..shared] {
            return best;
        }
        (of_held, of_given) = (&of_held[shared..], &of_given[shared..]);
    }
}

impl Session {
    /// Makes the session hold a whole text, of which `tokens` are the tokens: the longest beginning that it holds
    /// already stays, what it holds beyond that is forgotten, and the rest passes as a prompt does. How many tokens
    /// stayed.
    ///
    /// What stays are the session's own tokens, though the text might be cut into others, as they passed: prompts
    /// densely, answers at the sparsity that they were sampled at. Then the state is, to the bit, that of a session
    /// which came the same way to the end of what stayed, and was given the rest as a prompt.
    ///
    /// If there is no room for the text, nothing changes. On another error, or when it is cancelled, the session holds
    /// what stayed.
    pub fn prefill_whole(&mut self, tokens: &[u32]) -> Result<usize> {
        let kept = self.prefill_whole_begin(tokens)?;
        if self.is_pending() {
            self.whole()?;
        }
        Ok(kept)
    }

    /// The same without computing anything yet: that do [`prefill_within`](Session::prefill_within) and
    /// [`step_within`](Session::step_within), as after [`prefill_begin`](Session::prefill_begin). Where all stays, the
    /// session is not [pending](Session::is_pending).
    pub fn prefill_whole_begin(&mut self, tokens: &[u32]) -> Result<usize> {
        self.idle()?;
        if tokens.is_empty() {
            return Err(Error::new(Status::InvalidArgument, "a prompt of no tokens"));
        }
        self.check_ids(tokens)?;
        let model = self.engine.model.clone();
        let mut stays = common(model.tokenizer(), &self.tokens, tokens);
        // A session that holds windows alone may not reach back so far.
        if self.check_rewind(stays.held).is_err() {
            stays = CommonPrefix::default();
        }
        let rest = &tokens[stays.given..];
        self.room_behind(stays.held, rest.len())?;
        self.rewind(stays.held)?;
        if rest.is_empty() {
            self.begin_answer();
        } else {
            self.prefill_begin(rest)?;
        }
        Ok(stays.held)
    }
}
