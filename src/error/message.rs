//! The words of an error, kept in place: an error must be able to say that memory is out.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Bytes that are kept in place: as many as a `rasp_error` shows, its NUL left out.
const IN_PLACE: usize = 251;

/// What a message ends with that had to be cut.
const CUT: &str = "...";

/// The words of an [`Error`](super::Error). Up to 251 bytes lie in place; longer ones take memory, and are cut where
/// there is none.
#[derive(Clone)]
pub struct Message(MessageText);

#[derive(Clone)]
enum MessageText {
    /// The first `len` bytes are UTF-8.
    Short {
        len: u8,
        bytes: [u8; IN_PLACE],
    },
    Long(String),
}

impl Message {
    /// Its words.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            MessageText::Short { len, bytes } => {
                let bytes = &bytes[..usize::from(*len)];
                // Only whole characters are ever written.
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            MessageText::Long(text) => text,
        }
    }

    const fn empty() -> Message {
        Message(MessageText::Short { len: 0, bytes: [0; IN_PLACE] })
    }

    /// The same with memory of its own for `more` bytes, if there is so much.
    fn grow(&mut self, more: usize) -> Option<&mut String> {
        if let MessageText::Short { .. } = self.0 {
            let mut text = String::new();
            text.try_reserve(self.as_str().len() + more).ok()?;
            text.push_str(self.as_str());
            self.0 = MessageText::Long(text);
        }
        let MessageText::Long(text) = &mut self.0 else { return None };
        text.try_reserve(more).ok()?;
        Some(text)
    }

    /// Ends the message at its last whole character that leaves room for [`CUT`].
    fn cut(&mut self, more: &str) {
        let MessageText::Short { len, bytes } = &mut self.0 else { return };
        let end = usize::from(*len);
        let room = (IN_PLACE - CUT.len()).saturating_sub(end);
        let taken = more.floor_char_boundary(room);
        bytes[end..end + taken].copy_from_slice(&more.as_bytes()[..taken]);
        let words = std::str::from_utf8(&bytes[..end + taken]).unwrap_or_default();
        let end = words.floor_char_boundary(IN_PLACE - CUT.len());
        bytes[end..end + CUT.len()].copy_from_slice(CUT.as_bytes());
        *len = (end + CUT.len()) as u8;
    }
}

impl Write for Message {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if let MessageText::Short { len, bytes } = &mut self.0
            && let Some(place) = bytes[usize::from(*len)..].get_mut(..more.len())
        {
            place.copy_from_slice(more.as_bytes());
            *len += more.len() as u8;
            return Ok(());
        }
        match self.grow(more.len()) {
            Some(text) => text.push_str(more),
            None => {
                self.cut(more);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

impl From<fmt::Arguments<'_>> for Message {
    fn from(words: fmt::Arguments<'_>) -> Message {
        let mut message = Message::empty();
        // What fails has been cut already.
        let _ = message.write_fmt(words);
        message
    }
}

impl From<&str> for Message {
    fn from(words: &str) -> Message {
        format_args!("{words}").into()
    }
}

impl From<&String> for Message {
    fn from(words: &String) -> Message {
        words.as_str().into()
    }
}

impl From<Cow<'_, str>> for Message {
    fn from(words: Cow<'_, str>) -> Message {
        (*words).into()
    }
}

impl From<String> for Message {
    fn from(words: String) -> Message {
        if words.len() > IN_PLACE { Message(MessageText::Long(words)) } else { words.as_str().into() }
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Message {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_in_place_as_long_as_they_fit() {
        for len in [0, 1, IN_PLACE - 1, IN_PLACE, IN_PLACE + 1, 1000] {
            let words = "x".repeat(len);
            let message = Message::from(format_args!("{words}"));
            assert_eq!(message.as_str(), words);
            assert_eq!(matches!(message.0, MessageText::Short { .. }), len <= IN_PLACE, "{len}");
            assert!(message == Message::from(words.as_str()) && message == Message::from(words));
        }
        let pieces = Message::from(format_args!("{}{}{}", "a".repeat(200), "b".repeat(51), "c".repeat(300)));
        assert_eq!(pieces.as_str().len(), 551);
    }

    #[test]
    fn what_has_no_memory_is_cut_at_a_character() {
        for before in [0, 100, 240, 247, 248, 249, 251] {
            for more in ["x".repeat(400), "\u{20ac}".repeat(200), "\u{e9}".repeat(200)] {
                let mut message = Message::from("y".repeat(before));
                message.cut(&more);
                let text = message.as_str();
                assert!(
                    text.ends_with(CUT) && text.len() <= IN_PLACE && text.len() > IN_PLACE - CUT.len() - 4,
                    "{text}"
                );
            }
        }
    }
}
