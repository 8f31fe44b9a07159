//! A text in the making, with the marks of what is inert in it.

use super::code::Span;
use super::marks::Marks;
use super::memory::{Memory, failed, out_of_memory};
use crate::{Error, Result};
use std::fmt::{self, Write};
use std::ops::Range;

/// It takes no more than was left when it began.
pub(super) struct TextWriter {
    pub text: String,
    pub marks: Marks,
    room: usize,
    error: Option<Error>,
}

impl TextWriter {
    pub fn new(room: usize) -> TextWriter {
        // Places are told with 32 bits.
        TextWriter { text: String::new(), marks: Marks::default(), room: room.min(u32::MAX as usize), error: None }
    }

    /// Where the next byte goes.
    pub fn place(&self) -> u32 {
        self.text.len() as u32
    }

    pub fn put(&mut self, more: &str) -> Result<()> {
        if self.text.len() + more.len() + self.marks.len() * size_of::<Range<u32>>() > self.room {
            return failed("the template makes more text than any conversation needs");
        }
        self.text.try_reserve(more.len()).map_err(|_| out_of_memory())?;
        self.text.push_str(more);
        Ok(())
    }

    /// What another has written, with its marks.
    pub fn put_all(&mut self, other: &TextWriter) -> Result<()> {
        self.put_part(other, 0..other.text.len())
    }

    /// A part of what another has written, with its marks.
    pub fn put_part(&mut self, other: &TextWriter, part: Range<usize>) -> Result<()> {
        let to = self.place();
        self.put(&other.text[part.clone()])?;
        let from = part.start as u32;
        other
            .marks
            .within(from..part.end as u32)
            .try_for_each(|m| self.marks.add(to + m.start - from..to + m.end - from))
    }

    pub fn put_char(&mut self, c: char) -> Result<()> {
        self.put(c.encode_utf8(&mut [0; 4]))
    }

    pub fn repeat(&mut self, c: char, times: usize) -> Result<()> {
        (0..times).try_for_each(|_| self.put_char(c))
    }

    pub fn format(&mut self, words: fmt::Arguments<'_>) -> Result<()> {
        if self.write_fmt(words).is_err() {
            return Err(self.error.take().unwrap_or_else(out_of_memory));
        }
        Ok(())
    }

    /// Marks all that was written from a place on.
    pub fn mark(&mut self, from: u32) -> Result<()> {
        self.marks.cover(from..self.place())
    }

    pub fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
        self.marks.truncate(len as u32);
    }
}

impl Write for TextWriter {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.put(more).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

impl Memory<'_> {
    pub fn writer(&self) -> TextWriter {
        TextWriter::new(self.budget.bytes)
    }

    /// A text as it is, with its marks.
    pub fn copy(&self, out: &mut TextWriter, text: Span) -> Result<()> {
        let to = out.place();
        out.put(self.str(text))?;
        self.marks(text).try_for_each(|m| out.marks.add(to + m.start..to + m.end))
    }

    /// A part of a text, by its bytes, with its marks.
    pub fn copy_part(&self, out: &mut TextWriter, text: Span, part: Range<usize>) -> Result<()> {
        self.copy(out, Span { start: text.start + part.start as u32, len: part.len() as u32 })
    }

    /// What `write` makes of each character: of inert ones it is inert.
    pub fn map_chars(
        &self,
        out: &mut TextWriter,
        text: Span,
        mut write: impl FnMut(&mut TextWriter, char) -> Result<()>,
    ) -> Result<()> {
        let whole = self.str(text);
        let mut done = 0;
        for mark in self.marks(text) {
            let (start, end) = (mark.start as usize, mark.end as usize);
            whole[done..start].chars().try_for_each(|c| write(out, c))?;
            let from = out.place();
            whole[start..end].chars().try_for_each(|c| write(out, c))?;
            out.mark(from)?;
            done = end;
        }
        whole[done..].chars().try_for_each(|c| write(out, c))
    }
}
