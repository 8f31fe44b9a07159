//! SentencePiece's normalization (`precompiled_charsmap`), by tables of the file.
//!
//! It rewrites a cluster of characters (an extended grapheme cluster, UAX #29) as a whole where it is short and its
//! beginning is known, else character by character: what Hugging Face's `tokenizers` does. Of clusters only those of 2
//! to 5 bytes matter, which have a base, characters before it and marks after it; the table says which characters these
//! are. (What is longer is rewritten character by character, so it is all one where it ends.)

use super::layout::tensor;
use super::tables::{bad, vector};
use crate::format::{Dtype, File, View};
use crate::{Error, Result, Status};

/// Bytes of the longest cluster that is rewritten as a whole.
const LONGEST: usize = 5;

/// Characters of the longest such cluster.
const CHARS: usize = 3;

/// Classes of characters: those that belong to what is before them, or behind them, or to nothing.
const AFTER: u32 = 1;
const BEFORE: u32 = 2;
const CONTROL: u32 = 3;

pub(super) struct Charsmap {
    /// Up to three characters, 0 where there are fewer; where in `chars` what they become begins, and its length.
    /// Sorted.
    rows: View<u32>,
    chars: View<u32>,
    /// First and last of some code points, and their class. Sorted.
    classes: View<u32>,
}

/// A row of [`Charsmap::rows`].
type CharsmapRow = [u32; CHARS + 2];

impl Charsmap {
    pub fn open(file: &File) -> Result<Charsmap> {
        let table = |name: &str, columns: usize| {
            let rows = file.describe(name)?.1.first().copied().unwrap_or(0);
            file.view::<u32>(name, Dtype::U32, &[rows, columns])
        };
        let (rows, classes) = (table(tensor::CHARSMAP_ROWS, CHARS + 2)?, table(tensor::CHARSMAP_CLASSES, 3)?);
        let chars = vector(file, tensor::CHARSMAP_CHARS, Dtype::U32)?;
        if let Some(code) = chars.iter().copied().find(|&code| char::from_u32(code).is_none()) {
            return Err(bad(format!("the map of characters names a character {code:#x}")));
        }
        let within = |row: &CharsmapRow| u64::from(row[CHARS]) + u64::from(row[CHARS + 1]) <= chars.len() as u64;
        match rows.as_chunks().0.iter().all(within) {
            true => Ok(Charsmap { rows, chars, classes }),
            false => Err(bad("the map of characters goes beyond its own")),
        }
    }

    /// The text rewritten; `None` if nothing of it is. `limit`: the bytes that it may become.
    pub fn normalize(&self, text: &str, limit: usize) -> Result<Option<String>> {
        let mut out = String::new();
        let mut put = |c: char| {
            if out.len() + c.len_utf8() > limit {
                return Err(bad("the tokenizer's map of characters makes text many times longer"));
            }
            out.try_reserve(c.len_utf8()).map_err(|_| {
                Error::new(Status::OutOfMemory, format_args!("no memory to normalize {} bytes", text.len()))
            })?;
            out.push(c);
            Ok(())
        };
        let (mut rest, mut changed) = (text, false);
        while !rest.is_empty() {
            let (cluster, behind) = rest.split_at(self.cluster(rest));
            rest = behind;
            let whole = self.beginning(cluster).filter(|_| cluster.len() <= LONGEST);
            if let Some(row) = whole {
                changed = true;
                self.becomes(row).try_for_each(&mut put)?;
                continue;
            }
            for c in cluster.chars() {
                match self.find([c as u32, 0, 0]) {
                    Some(row) => {
                        changed = true;
                        self.becomes(row).try_for_each(&mut put)?;
                    }
                    None => put(c)?,
                }
            }
        }
        Ok(changed.then_some(out))
    }

    /// Bytes of the cluster that a text, not empty, begins with.
    fn cluster(&self, text: &str) -> usize {
        if text.starts_with("\r\n") {
            return 2;
        }
        let mut chars = text.chars();
        let Some(mut last) = chars.next() else { return 0 };
        let mut len = last.len_utf8();
        if self.class(last) == CONTROL {
            return len;
        }
        for c in chars {
            let joins = self.class(c) == AFTER || self.class(last) == BEFORE && self.class(c) != CONTROL;
            if !joins {
                break;
            }
            len += c.len_utf8();
            last = c;
        }
        len
    }

    fn class(&self, c: char) -> u32 {
        let (ranges, _) = self.classes.as_chunks::<3>();
        let at = ranges.partition_point(|[_, last, _]| *last < c as u32);
        ranges.get(at).filter(|[first, ..]| *first <= c as u32).map_or(0, |[_, _, class]| *class)
    }

    /// The row of the fewest characters that a cluster begins with and that have one.
    fn beginning(&self, cluster: &str) -> Option<&CharsmapRow> {
        let mut key = [0; CHARS];
        cluster.chars().take(CHARS).enumerate().find_map(|(n, c)| {
            key[n] = c as u32;
            self.find(key)
        })
    }

    fn find(&self, key: [u32; CHARS]) -> Option<&CharsmapRow> {
        let (rows, _) = self.rows.as_chunks::<{ CHARS + 2 }>();
        // 0 stands for no character, and so has no row itself.
        let at = rows.binary_search_by(|row| row[..CHARS].cmp(&key)).ok().filter(|_| key[0] != 0)?;
        rows.get(at)
    }

    /// What the characters of a row become.
    fn becomes(&self, row: &CharsmapRow) -> impl Iterator<Item = char> + '_ {
        let start = row[CHARS] as usize;
        let chars = self.chars.get(start..start + row[CHARS + 1] as usize).unwrap_or_default();
        chars.iter().filter_map(|&code| char::from_u32(code))
    }
}
