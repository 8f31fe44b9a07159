//! The vocabulary and the merges, in place in the file, checked once.

use super::layout::{MAX_TOKEN_BYTES, NONE, PROBES, hash_bytes, hash_pair, kind, tensor};
use crate::Result;
pub(super) use crate::error::bad_file as bad;
use crate::format::{Dtype, File, Plain, View};

/// More tokens than any model has.
const MAX_VOCAB: usize = 1 << 24;

/// A tensor of one dimension and any length.
pub(super) fn vector<T: Plain>(file: &File, name: &str, dtype: Dtype) -> Result<View<T>> {
    let (_, shape) = file.describe(name)?;
    if shape.len() != 1 {
        return Err(bad(format!("tensor {name} has shape {shape:?}, expected one dimension")));
    }
    file.view(name, dtype, shape)
}

/// Fails unless every element is below `limit` or [`NONE`].
fn check_ids(name: &str, ids: &[u32], limit: usize, none_allowed: bool) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= limit && !(none_allowed && id == NONE)) {
        None => Ok(()),
        Some(id) => Err(bad(format!("tensor {name} refers to row {id} of {limit}"))),
    }
}

/// A hash table of row numbers.
struct Index(View<u32>);

impl Index {
    fn open(file: &File, name: &str, rows: usize) -> Result<Index> {
        let slots = vector::<u32>(file, name, Dtype::U32)?;
        if !slots.len().is_power_of_two() {
            return Err(bad(format!("tensor {name} has {} slots, which is no power of two", slots.len())));
        }
        check_ids(name, &slots, rows, true)?;
        Ok(Index(slots))
    }

    /// The row that `is_it` accepts.
    #[inline]
    fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let slots: &[u32] = &self.0;
        let mask = slots.len() - 1;
        for probe in 0..PROBES {
            let row = slots[(hash as usize).wrapping_add(probe) & mask];
            if row == NONE {
                return None;
            }
            if is_it(row) {
                return Some(row);
            }
        }
        None
    }
}

/// The tokens.
pub(super) struct Vocabulary {
    bytes: View<u8>,
    offsets: View<u32>,
    kinds: View<u8>,
    index: Index,
    byte_ids: View<u32>,
    /// The longest token that a piece can be whole.
    longest: usize,
}

impl Vocabulary {
    pub fn open(file: &File) -> Result<Vocabulary> {
        let bytes = vector::<u8>(file, tensor::BYTES, Dtype::U8)?;
        let offsets = vector::<u32>(file, tensor::OFFSETS, Dtype::U32)?;
        let vocab = offsets.len().wrapping_sub(1);
        if vocab == 0 || vocab > MAX_VOCAB {
            return Err(bad(format!("tensor {} has {} elements", tensor::OFFSETS, offsets.len())));
        }
        if offsets[0] != 0 || offsets[vocab] as usize != bytes.len() {
            return Err(bad(format!("tensor {} does not span {}", tensor::OFFSETS, tensor::BYTES)));
        }
        let mut longest = 0;
        for (id, pair) in offsets.windows(2).enumerate() {
            match pair[1].checked_sub(pair[0]) {
                Some(len) if len as usize <= MAX_TOKEN_BYTES => longest = longest.max(len as usize),
                _ => return Err(bad(format!("token {id} spans bytes {} to {}", pair[0], pair[1]))),
            }
        }
        let kinds = file.view::<u8>(tensor::KIND, Dtype::U8, &[vocab])?;
        if let Some(id) = kinds.iter().position(|k| k & kind::MASK > kind::UNUSED) {
            return Err(bad(format!("token {id} is of unknown kind {}", kinds[id])));
        }
        let index = Index::open(file, tensor::INDEX, vocab)?;
        let byte_ids = file.view::<u32>(tensor::BYTE_IDS, Dtype::U32, &[256])?;
        check_ids(tensor::BYTE_IDS, &byte_ids, vocab, true)?;
        Ok(Vocabulary { bytes, offsets, kinds, index, byte_ids, longest })
    }

    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Bytes of the longest token.
    pub fn longest(&self) -> usize {
        self.longest
    }

    pub fn bytes(&self, id: u32) -> Option<&[u8]> {
        let at = id as usize;
        if at >= self.kinds.len() {
            return None;
        }
        self.bytes.get(self.offsets[at] as usize..self.offsets[at + 1] as usize)
    }

    /// Kind and flags.
    pub fn kind(&self, id: u32) -> Option<u8> {
        self.kinds.get(id as usize).copied()
    }

    /// The token with these bytes, if they are not too many.
    #[inline]
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.longest || bytes.is_empty() {
            return None;
        }
        self.index.find(hash_bytes(bytes), |id| self.bytes(id) == Some(bytes))
    }

    /// The token with these bytes, if its flags include `flag`.
    #[inline]
    pub fn find_with(&self, bytes: &[u8], flag: u8) -> Option<u32> {
        self.find(bytes).filter(|&id| self.kinds[id as usize] & flag != 0)
    }

    #[inline]
    pub fn byte_id(&self, byte: u8) -> Option<u32> {
        Some(self.byte_ids[usize::from(byte)]).filter(|&id| id != NONE)
    }
}

/// The merges.
pub(super) struct Merges {
    /// Left, right, product; a row's number is its rank.
    rows: View<u32>,
    index: Index,
}

impl Merges {
    pub fn open(file: &File, vocab: usize) -> Result<Merges> {
        let (_, shape) = file.describe(tensor::MERGES)?;
        let count = shape.first().copied().unwrap_or(0);
        let rows = file.view::<u32>(tensor::MERGES, Dtype::U32, &[count, 3])?;
        if count >= NONE as usize {
            return Err(bad(format!("{count} merges")));
        }
        check_ids(tensor::MERGES, &rows, vocab, false)?;
        let index = Index::open(file, tensor::MERGE_INDEX, count)?;
        Ok(Merges { rows, index })
    }

    /// The rank of a pair's merge.
    #[inline]
    pub fn rank(&self, left: u32, right: u32) -> Option<u32> {
        let rows: &[u32] = &self.rows;
        self.index.find(hash_pair(left, right), |row| {
            let at = row as usize * 3;
            rows[at] == left && rows[at + 1] == right
        })
    }

    /// What a merge makes. `rank` comes from [`rank`](Merges::rank).
    #[inline]
    pub fn product(&self, rank: u32) -> u32 {
        self.rows[rank as usize * 3 + 2]
    }
}
