//! The text of an answer as it may be shown: whole characters, no special tokens, nothing of a stop string.

use super::layout::MAX_TOKEN_BYTES;
use super::stop::{MAX_STOP_BYTES, Stops};
use super::{Tokenizer, Utf8Stream};
use crate::Result;

/// The most bytes that one token can bring to light: its own, three for each if they are no characters, and what was
/// held back before it.
pub const MAX_TEXT_BYTES: usize = 3 * MAX_TOKEN_BYTES + 9 + MAX_STOP_BYTES;

/// Which special tokens are text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// None.
    #[default]
    Text,
    /// Those in marks of calls and thoughts, which a [`Reply`](super::Reply) tells an answer apart by.
    Marks,
    /// All.
    Special,
}

/// All of them, or none.
impl From<bool> for Shown {
    fn from(special: bool) -> Shown {
        if special { Shown::Special } else { Shown::Text }
    }
}

/// Turns the tokens of an answer into text that will not have to be taken back.
#[derive(Clone)]
pub(crate) struct TextStream {
    chars: Utf8Stream,
    stops: Stops,
}

impl TextStream {
    pub(crate) fn new() -> TextStream {
        TextStream { chars: Utf8Stream::new(), stops: Stops::new() }
    }

    /// Replaces the stop strings, and forgets what is held back; see [`Stops::set`].
    pub(crate) fn set_stops<'a>(&mut self, stops: impl ExactSizeIterator<Item = &'a str> + Clone) -> Result<()> {
        self.stops.set(stops)?;
        self.clear();
        Ok(())
    }

    /// Forgets what is held back.
    pub(crate) fn clear(&mut self) {
        self.chars = Utf8Stream::new();
        self.stops.finish(|_| ());
    }

    /// Takes a token of the answer, which is text if it is `shown`. Hands what can be shown to `sink`,
    /// in pieces of together whole characters. True if a stop string is complete: nothing is held back then.
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, token: u32, shown: bool, mut sink: impl FnMut(&[u8])) -> bool {
        if !shown {
            return false;
        }
        let mut stopped = false;
        let stops = &mut self.stops;
        self.chars.push(tokenizer.token_bytes(token).unwrap_or(&[]), |piece| {
            stopped = stopped || stops.push(piece, &mut sink);
        });
        if stopped {
            self.clear();
        }
        stopped
    }

    /// Ends the answer: hands out what is held back. An unfinished character becomes U+FFFD, which may complete a stop
    /// string; then that is true.
    pub(crate) fn finish(&mut self, mut sink: impl FnMut(&[u8])) -> bool {
        let mut stopped = false;
        let stops = &mut self.stops;
        self.chars.finish(|piece| stopped = stops.push(piece, &mut sink));
        if !stopped {
            stops.finish(sink);
        }
        stopped
    }
}
