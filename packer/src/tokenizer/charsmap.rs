//! SentencePiece's `precompiled_charsmap` as tables: a trie of bytes (a double array as Darts-clone makes it), whose
//! values are places in a text of strings that end in 0.
//!
//! `tokenizers` rewrites extended grapheme clusters; rasp knows the short ones by three classes of characters. A map
//! for which these do not suffice is refused.

use super::rules::MARK;
use super::{bad, u32_bytes, unsupported};
use rasp::Result;
use rasp::format::{Dtype, TensorSpec};
use rasp::text::tensor;
use std::collections::BTreeMap;
use unicode_segmentation::UnicodeSegmentation;

/// Bytes of the longest cluster that is rewritten as a whole.
const LONGEST: usize = 5;

/// Far more ways than SentencePiece's own maps have.
const MAX_WAYS: usize = 1 << 18;

/// What becomes of some characters.
pub(super) type Replacements = BTreeMap<String, String>;

/// Reads a map in base64.
pub(super) fn read(base64: &str) -> Result<Replacements> {
    let wrong = |what: &str| bad(format!("precompiled_charsmap: {what}"));
    let bytes = base64::decode(base64).map_err(|e| wrong(&e.to_string()))?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("it is cut short"))?;
    let size = u32::from_le_bytes(*size) as usize;
    let (trie, strings) = rest.split_at_checked(size / 4 * 4).ok_or_else(|| wrong("it is cut short"))?;
    let units: Vec<u32> = trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let strings = std::str::from_utf8(strings).map_err(|_| wrong("its strings are not UTF-8"))?;
    let mut map = Replacements::new();
    let mut walk = Walk { units: &units, found: Vec::new(), ways: 0 };
    walk.from(0, &mut Vec::new()).ok_or_else(|| wrong("its trie is none"))?;
    for (key, place) in walk.found {
        let key = String::from_utf8(key).map_err(|_| wrong("a key is no whole characters"))?;
        let value = strings.get(place..).ok_or_else(|| wrong("a string is outside of it"))?;
        let value = value.split('\0').next().unwrap_or_default();
        // No cluster that is short enough has more characters.
        if key.chars().count() <= 3 {
            check(&key)?;
            map.insert(key, value.to_string());
        }
    }
    Ok(map)
}

/// Whether no mark for a space is left behind a map: it takes those of the text away and writes none.
pub(super) fn is_unmarking(map: &Replacements) -> bool {
    map.contains_key(MARK.encode_utf8(&mut [0; 4]) as &str) && !map.values().any(|text| text.contains(MARK))
}

/// A way through the trie.
struct Walk<'a> {
    units: &'a [u32],
    /// Keys no longer than a cluster can be, and their values.
    found: Vec<(Vec<u8>, usize)>,
    ways: usize,
}

impl Walk<'_> {
    /// Finds the keys below the unit at `at`, to which the bytes `key` lead; `None` if any leads out of the trie, or
    /// there is no end of them.
    fn from(&mut self, at: usize, key: &mut Vec<u8>) -> Option<()> {
        self.ways += 1;
        (self.ways <= MAX_WAYS).then_some(())?;
        let unit = *self.units.get(at)?;
        let offset = (unit as usize >> 10) << ((unit & (1 << 9)) >> 6);
        let base = at ^ offset;
        if !key.is_empty() && unit & (1 << 8) != 0 {
            let value = self.units.get(base)? & !(1 << 31);
            self.found.push((key.clone(), value as usize));
        }
        // Longer keys match no cluster.
        if key.len() == LONGEST {
            return Some(());
        }
        for byte in 1..=u8::MAX {
            let next = base ^ usize::from(byte);
            if self.units.get(next)? & (1 << 31 | 0xFF) == u32::from(byte) {
                key.push(byte);
                self.from(next, key)?;
                key.pop();
            }
        }
        Some(())
    }
}

/// Fails on a key whose clusters rasp does not tell as `tokenizers` does.
fn check(key: &str) -> Result<()> {
    let Some(first) = key.chars().next() else { return Ok(()) };
    let refuse = |what: &str| Err(unsupported(format!("precompiled_charsmap: it rewrites {key:?}, {what}")));
    let joined = |text: String| text.graphemes(true).count() == 1;
    if class(first) == Some(BEFORE) {
        return refuse("which belongs to what follows it");
    }
    if ["\u{1100}", "\u{1161}", "\u{11a8}"].iter().any(|jamo| joined(format!("{first}{jamo}"))) {
        return refuse("whose syllables are longer clusters");
    }
    match joined(format!("{first}\u{200d}\u{2764}")) && first.len_utf8() < 3 {
        true => refuse("which joins another picture"),
        false => Ok(()),
    }
}

const AFTER: u32 = 1;
const BEFORE: u32 = 2;
const CONTROL: u32 = 3;

/// How a character forms clusters: with what is before it, with what is behind it, or with nothing.
fn class(c: char) -> Option<u32> {
    let joined = |text: String| text.graphemes(true).count() == 1;
    if joined(format!("a{c}")) {
        Some(AFTER)
    } else if joined(format!("{c}a")) {
        Some(BEFORE)
    } else if !joined(format!("{c}\u{301}")) {
        Some(CONTROL)
    } else {
        None
    }
}

/// First and last of code points, and their class.
fn classes() -> Vec<[u32; 3]> {
    let mut ranges: Vec<[u32; 3]> = Vec::new();
    for c in '\0'..=char::MAX {
        let Some(class) = class(c) else { continue };
        match ranges.last_mut() {
            Some([_, last, other]) if *last + 1 == c as u32 && *other == class => *last = c as u32,
            _ => ranges.push([c as u32, c as u32, class]),
        }
    }
    ranges
}

pub(super) fn tensors(map: &Replacements) -> Vec<(TensorSpec, Vec<u8>)> {
    let (mut rows, mut chars) = (Vec::new(), Vec::new());
    for (key, value) in map {
        let mut row = [0; 5];
        row.iter_mut().zip(key.chars()).for_each(|(place, c)| *place = c as u32);
        row[3] = chars.len() as u32;
        chars.extend(value.chars().map(u32::from));
        row[4] = chars.len() as u32 - row[3];
        rows.push(row);
    }
    rows.sort();
    let table =
        |name: &str, shape: &[usize], values: &[u32]| (TensorSpec::new(name, Dtype::U32, shape), u32_bytes(values));
    let classes = classes();
    vec![
        table(tensor::CHARSMAP_ROWS, &[rows.len(), 5], rows.as_flattened()),
        table(tensor::CHARSMAP_CHARS, &[chars.len()], &chars),
        table(tensor::CHARSMAP_CLASSES, &[classes.len(), 3], classes.as_flattened()),
    ]
}
