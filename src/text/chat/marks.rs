//! Which bytes of a text are the host's: what messages and variables say, and what a template makes of it. Such bytes
//! are inert, they become no special token. Stretches in ascending order that neither touch nor overlap.

use super::memory::push;
use crate::Result;
use std::ops::Range;

#[derive(Default)]
pub(super) struct Marks(Vec<Range<u32>>);

impl Marks {
    /// Adds a stretch behind all others.
    pub fn add(&mut self, stretch: Range<u32>) -> Result<()> {
        match self.0.last_mut() {
            _ if stretch.is_empty() => Ok(()),
            Some(last) if last.end >= stretch.start => {
                last.end = last.end.max(stretch.end);
                Ok(())
            }
            _ => push(&mut self.0, stretch),
        }
    }

    /// Marks all of the stretch, of which parts at the end may be marked.
    pub fn cover(&mut self, stretch: Range<u32>) -> Result<()> {
        while let Some(last) = self.0.last().filter(|last| last.start >= stretch.start) {
            debug_assert!(last.end <= stretch.end);
            self.0.pop();
        }
        self.add(stretch)
    }

    /// The marked parts of a stretch.
    pub fn within(&self, stretch: Range<u32>) -> impl Iterator<Item = Range<u32>> {
        let from = self.0.partition_point(|mark| mark.end <= stretch.start);
        self.0[from..]
            .iter()
            .take_while(move |mark| mark.start < stretch.end)
            .map(move |mark| mark.start.max(stretch.start)..mark.end.min(stretch.end))
    }

    /// Drops what lies behind a place.
    pub fn truncate(&mut self, end: u32) {
        self.0.truncate(self.0.partition_point(|mark| mark.start < end));
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(end);
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn into_vec(self) -> Vec<Range<u32>> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_grow_together_and_are_found() {
        let mut marks = Marks::default();
        for stretch in [2..4, 4..6, 7..7, 9..12, 20..21] {
            marks.add(stretch).unwrap();
        }
        assert_eq!(marks.0, [2..6, 9..12, 20..21]);
        let within = |marks: &Marks, stretch| marks.within(stretch).collect::<Vec<_>>();
        assert_eq!(within(&marks, 0..2), []);
        assert_eq!(within(&marks, 3..10), [3..6, 9..10]);
        assert_eq!(within(&marks, 6..9), []);
        assert_eq!(within(&marks, 11..30), [11..12, 20..21]);
        marks.cover(8..25).unwrap();
        assert_eq!(marks.0, [2..6, 8..25]);
        marks.truncate(10);
        assert_eq!(marks.0, [2..6, 8..10]);
        marks.truncate(6);
        assert_eq!(within(&marks, 0..99), vec![2..6; 1]);
        marks.truncate(0);
        assert_eq!(marks.len(), 0);
    }
}
