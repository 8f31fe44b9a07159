//! Unicode normalization forms C and KC, by tables of the file.
//!
//! The tables are those that the packer's judge, Hugging Face's `tokenizers`, normalizes with (of Unicode 9): newer
//! ones would give other ids for some texts, and tables inside the library would cost every host for the few tokenizers
//! that ask for this.

use super::layout::tensor;
use super::tables::{bad, vector};
use crate::format::{Dtype, File, View};
use crate::{Error, Result, Status};

/// Characters that a decomposition may have; shorter ones end in zeros.
const LONGEST: usize = 4;

/// Characters that a compatibility decomposition may have (U+FDFA has 18).
const LONGEST_COMPATIBLE: usize = 18;

/// Hangul syllables are composed by arithmetic, from these on.
const S: u32 = 0xAC00;
const L: u32 = 0x1100;
const V: u32 = 0x1161;
const T: u32 = 0x11A7;
const L_COUNT: u32 = 19;
const V_COUNT: u32 = 21;
const T_COUNT: u32 = 28;
const S_COUNT: u32 = L_COUNT * V_COUNT * T_COUNT;

pub(super) struct Nfc {
    /// Code point, combining class.
    classes: View<u32>,
    /// Code point, full canonical decomposition.
    decompositions: View<u32>,
    /// First, second, composite.
    compositions: View<u32>,
    /// The compatibility decompositions, which make form KC of form C.
    compatible: Option<Compatible>,
}

struct Compatible {
    /// Code point, start and length in `chars`.
    rows: View<u32>,
    chars: View<u32>,
}

/// A row of a table of `N` columns, sorted by its first one or two, with `key` there.
fn find<const N: usize>(table: &[u32], key: &[u32]) -> Option<[u32; N]> {
    let (rows, _) = table.as_chunks::<N>();
    let at = rows.binary_search_by(|row| row[..key.len()].cmp(key)).ok()?;
    rows.get(at).copied()
}

impl Nfc {
    /// The tables of form C, or, with `compatible`, of form KC.
    pub fn open(file: &File, compatible: bool) -> Result<Nfc> {
        let table = |name: &str, columns: usize| {
            let rows = file.describe(name)?.1.first().copied().unwrap_or(0);
            file.view::<u32>(name, Dtype::U32, &[rows, columns])
        };
        let classes = table(tensor::NFC_CLASSES, 2)?;
        let decompositions = table(tensor::NFC_DECOMPOSITIONS, 1 + LONGEST)?;
        let compositions = table(tensor::NFC_COMPOSITIONS, 3)?;
        let chars = decompositions.iter().chain(compositions.iter()).chain(classes.iter().step_by(2));
        if let Some(code) = chars.copied().find(|&code| char::from_u32(code).is_none()) {
            return Err(bad(format!("the normalization tables name a character {code:#x}")));
        }
        if classes.iter().skip(1).step_by(2).any(|&class| class > 254) {
            return Err(bad("the normalization tables have a combining class above 254"));
        }
        let compatible = match compatible {
            true => {
                Some(Compatible::open(table(tensor::NFKC_ROWS, 3)?, vector(file, tensor::NFKC_CHARS, Dtype::U32)?)?)
            }
            false => None,
        };
        Ok(Nfc { classes, decompositions, compositions, compatible })
    }

    /// The text in form C, or KC if these are its tables; `None` if it is seen to be so already.
    pub fn normalize(&self, text: &str) -> Result<Option<String>> {
        // Everything below U+0300 (which begins with the byte 0xCC) is in form C, whatever its neighbours; in form KC,
        // everything below U+00A0 (0xC2).
        let plain = if self.compatible.is_some() { 0xC2 } else { 0xCC };
        if text.bytes().all(|b| b < plain) {
            return Ok(None);
        }
        let longest = if self.compatible.is_some() { LONGEST_COMPATIBLE } else { LONGEST };
        let full = |_| Error::new(Status::OutOfMemory, format_args!("no memory to normalize {} bytes", text.len()));
        let mut chars: Vec<(char, u32)> = Vec::new();
        chars.try_reserve(text.len()).map_err(full)?;
        for c in text.chars() {
            chars.try_reserve(longest).map_err(full)?;
            self.decompose(c, &mut chars);
        }
        // Marks between two starters stand in the order of their classes.
        let mut order: Vec<(u32, usize, char)> = Vec::new();
        for run in chars.chunk_by_mut(|a, b| a.1 != 0 && b.1 != 0) {
            if run.is_sorted_by_key(|&(_, class)| class) {
                continue;
            }
            // Those of one class stay as they are; a stable sort would take memory that it cannot be refused.
            order.clear();
            order.try_reserve(run.len()).map_err(full)?;
            order.extend(run.iter().enumerate().map(|(at, &(c, class))| (class, at, c)));
            order.sort_unstable();
            run.iter_mut().zip(&order).for_each(|(to, &(class, _, c))| *to = (c, class));
        }
        self.compose(&mut chars);
        let mut composed = String::new();
        composed.try_reserve(chars.iter().map(|(c, _)| c.len_utf8()).sum()).map_err(full)?;
        composed.extend(chars.iter().map(|&(c, _)| c));
        Ok(Some(composed))
    }

    /// A character's combining class.
    fn class(&self, c: char) -> u32 {
        if c < '\u{300}' { 0 } else { find::<2>(&self.classes, &[c as u32]).map_or(0, |[_, class]| class) }
    }

    /// Appends the full decomposition of a character.
    fn decompose(&self, c: char, out: &mut Vec<(char, u32)>) {
        let code = c as u32;
        if let Some(parts) = self.compatible.as_ref().and_then(|tables| tables.find(code)) {
            return out.extend(parts.iter().filter_map(|&code| char::from_u32(code)).map(|c| (c, self.class(c))));
        }
        let mut parts = [0; LONGEST];
        if code < 0xC0 {
            return out.push((c, 0));
        } else if let Some(s) = code.checked_sub(S).filter(|&s| s < S_COUNT) {
            let t = s % T_COUNT;
            parts =
                [L + s / (V_COUNT * T_COUNT), V + s % (V_COUNT * T_COUNT) / T_COUNT, if t == 0 { 0 } else { T + t }, 0];
        } else if let Some([_, rest @ ..]) = find::<{ 1 + LONGEST }>(&self.decompositions, &[code]) {
            parts = rest;
        }
        if parts[0] == 0 {
            return out.push((c, self.class(c)));
        }
        let parts = parts.into_iter().take_while(|&code| code != 0).filter_map(char::from_u32);
        out.extend(parts.map(|c| (c, self.class(c))));
    }

    /// Joins each starter with what it can, in place.
    fn compose(&self, chars: &mut Vec<(char, u32)>) {
        let mut starter = None;
        // The class of the last character kept since the starter: it blocks all that are not above it.
        let mut last = 0;
        let mut kept = 0;
        for at in 0..chars.len() {
            let (c, class) = chars[at];
            if let Some(starter) = starter
                && (last == 0 || last < class)
                && let Some(composite) = self.pair(chars[starter as usize].0, c)
            {
                chars[starter as usize].0 = composite;
                continue;
            }
            if class == 0 {
                starter = Some(kept as u32);
            }
            last = class;
            chars[kept] = (c, class);
            kept += 1;
        }
        chars.truncate(kept);
    }

    fn pair(&self, a: char, b: char) -> Option<char> {
        let (a, b) = (a as u32, b as u32);
        if let (l, v) = (a.wrapping_sub(L), b.wrapping_sub(V))
            && l < L_COUNT
            && v < V_COUNT
        {
            return char::from_u32(S + (l * V_COUNT + v) * T_COUNT);
        }
        if let (s, t) = (a.wrapping_sub(S), b.wrapping_sub(T))
            && s < S_COUNT
            && s.is_multiple_of(T_COUNT)
            && (1..T_COUNT).contains(&t)
        {
            return char::from_u32(a + t);
        }
        find::<3>(&self.compositions, &[a, b]).and_then(|[_, _, composite]| char::from_u32(composite))
    }
}

impl Compatible {
    fn open(rows: View<u32>, chars: View<u32>) -> Result<Compatible> {
        for row in rows.as_chunks::<3>().0 {
            let end = row[1].checked_add(row[2]).map(|end| end as usize);
            if end.is_none_or(|end| end > chars.len()) || !(1..=LONGEST_COMPATIBLE).contains(&(row[2] as usize)) {
                return Err(bad(format!("the compatibility decomposition of {:#x} lies outside the table", row[0])));
            }
        }
        let mut codes = rows.iter().step_by(3).chain(chars.iter()).copied();
        match codes.find(|&code| char::from_u32(code).is_none()) {
            None => Ok(Compatible { rows, chars }),
            Some(code) => Err(bad(format!("the normalization tables name a character {code:#x}"))),
        }
    }

    /// The full compatibility decomposition of a character, where it has one of its own.
    fn find(&self, code: u32) -> Option<&[u32]> {
        let [_, start, len] = find::<3>(&self.rows, &[code])?;
        self.chars.get(start as usize..start as usize + len as usize)
    }
}
