//! The inventory of a checkpoint's tensors, and their values as `f32`.
//!
//! Both sources end up here: a tensor is a name, an element type, a shape (slowest dimension first) and a range of
//! bytes of one mapped file. An entry's arithmetic is checked when it is made; reading it can only fail on its values.

use std::collections::BTreeMap;
use std::ops::Range;

use rasp::model::QuantType;
use rasp::{Error, Result, Status};

use super::dequant::{DType, dequantize};
use super::mapped::Mapped;
use super::stored;
use super::{bad, unsupported};
use crate::grid::Grid;

/// One tensor: where it lies and how to read it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    file: usize,
    bytes: Range<usize>,
    /// What its values are multiplied by.
    scales: Option<BlockScales>,
}

/// Scales of a tensor's values, one for each block of so many rows and columns.
#[derive(Clone, Debug, PartialEq)]
struct BlockScales {
    /// Row-major, whole blocks first.
    values: Vec<f32>,
    /// Rows and columns of a block.
    block: [usize; 2],
}

impl Entry {
    /// A tensor that starts at byte `start` of a file of `file_len` bytes, `file` being its place in the list that
    /// [`Weights::new`] will be given.
    pub(crate) fn new(
        name: &str,
        dtype: DType,
        shape: Vec<usize>,
        file: usize,
        start: usize,
        file_len: usize,
    ) -> Result<Self> {
        let overflow = || bad(format!("tensor `{name}`: shape {shape:?} is too large to count"));
        if shape.is_empty() || shape.contains(&0) {
            return Err(bad(format!("tensor `{name}`: shape {shape:?} holds no values")));
        }
        // Rows are whole numbers of blocks, so that any range of rows is a range of bytes.
        let cols = shape[shape.len() - 1];
        let rows = shape[..shape.len() - 1].iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let rows = rows.ok_or_else(overflow)?;
        if !cols.is_multiple_of(dtype.block().0) {
            return Err(bad(format!(
                "tensor `{name}`: rows of {cols} values are no whole number of {} blocks of {}",
                dtype.name(),
                dtype.block().0
            )));
        }
        rows.checked_mul(cols).ok_or_else(overflow)?;
        let row_bytes = dtype.bytes_for(cols).ok_or_else(overflow)?;
        let len = rows.checked_mul(row_bytes).ok_or_else(overflow)?;
        let end = start.checked_add(len).ok_or_else(overflow)?;
        if end > file_len {
            return Err(bad(format!(
                "tensor `{name}`: its bytes {start}..{end} lie beyond the file's end at {file_len}; \
                 the file may be truncated"
            )));
        }
        Ok(Self { dtype, shape, file, bytes: start..end, scales: None })
    }

    /// Dimensions, slowest first.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The tensor's bytes within its file.
    pub(crate) fn range(&self) -> Range<usize> {
        self.bytes.clone()
    }

    /// The file's place in the list.
    pub(crate) fn file(&self) -> usize {
        self.file
    }

    /// Length of the fastest dimension.
    fn cols(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// Every other dimension's product: 1 for a vector.
    fn rows(&self) -> usize {
        self.shape[..self.shape.len() - 1].iter().product()
    }
}

/// All tensors of a checkpoint, over the files that hold them.
pub(crate) struct Weights {
    files: Vec<Mapped>,
    entries: BTreeMap<String, Entry>,
}

impl Weights {
    pub(crate) fn new(files: Vec<Mapped>, entries: BTreeMap<String, Entry>) -> Self {
        Self { files, entries }
    }

    /// Gives tensors whose names begin with the first of a pair the second in its place, unless that name is taken.
    pub(crate) fn rename(&mut self, prefixes: &[(&str, &str)]) {
        for (from, to) in prefixes {
            let old: Vec<String> = self.entries.keys().filter(|name| name.starts_with(from)).cloned().collect();
            for name in old {
                let new = format!("{to}{}", &name[from.len()..]);
                if !self.entries.contains_key(&new)
                    && let Some(entry) = self.entries.remove(&name)
                {
                    self.entries.insert(new, entry);
                }
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The type of a tensor, if there is such.
    pub(crate) fn dtype(&self, name: &str) -> Option<DType> {
        self.get(name).map(|entry| entry.dtype)
    }

    /// Makes the values of `by` the scales of the tensor `name`: one for all of it, one a row, or one for each `block`
    /// rows and columns. `by` is then no tensor any more.
    pub(crate) fn scale(&mut self, name: &str, by: &str, block: usize) -> Result<()> {
        let values = self.read(by)?;
        let entry = self.entry(name)?;
        let (rows, cols) = (entry.rows(), entry.cols());
        let shape = self.entry(by)?.shape();
        let fits = |block: [usize; 2]| [rows.div_ceil(block[0]), cols.div_ceil(block[1])] == *shape;
        let block = match shape {
            [1] | [1, 1] => [rows, cols],
            [n] | [n, 1] if *n == rows => [1, cols],
            _ if fits([block, block]) => [block, block],
            _ => {
                return Err(unsupported(format!(
                    "tensor `{by}`: {shape:?} scales for {rows} rows of {cols}; rasp knows one for all, one a row, and \
                     one for {block} rows and columns"
                )));
            }
        };
        self.entries.remove(by);
        if let Some(entry) = self.entries.get_mut(name) {
            entry.scales = Some(BlockScales { values, block });
        }
        Ok(())
    }

    /// Forgets the tensors whose names end so.
    pub(crate) fn drop_ending(&mut self, ends: &[&str]) {
        self.entries.retain(|name, _| !ends.iter().any(|end| name.ends_with(end)));
    }

    /// Whether two tensors have the same type, shape and bytes.
    pub(crate) fn same(&self, a: &Entry, b: &Entry) -> bool {
        a.dtype == b.dtype && a.shape == b.shape && a.scales == b.scales && self.bytes(a) == self.bytes(b)
    }

    /// The whole tensor, row-major.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        self.decode(name, entry, 0..entry.rows())
    }

    /// Some rows of a tensor, row-major.
    pub(crate) fn read_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        check_rows(name, entry, &rows)?;
        self.decode(name, entry, rows)
    }

    /// Some rows of a tensor as they are stored, where that is a grid of this kind: see [`stored::grid`].
    pub(crate) fn grid_rows(&self, name: &str, rows: Range<usize>, quant: QuantType) -> Result<Option<Grid>> {
        let entry = self.entry(name)?;
        check_rows(name, entry, &rows)?;
        Ok(stored::grid(entry.dtype, self.row_bytes(entry, &rows), entry.cols(), quant))
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.entries.get(name).ok_or_else(|| bad(format!("tensor `{name}` is missing")))
    }

    fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.files[entry.file].bytes()[entry.range()]
    }

    fn row_bytes(&self, entry: &Entry, rows: &Range<usize>) -> &[u8] {
        let all = self.bytes(entry);
        let row_bytes = all.len() / entry.rows();
        &all[rows.start * row_bytes..rows.end * row_bytes]
    }

    fn decode(&self, name: &str, entry: &Entry, rows: Range<usize>) -> Result<Vec<f32>> {
        let cols = entry.cols();
        let bytes = self.row_bytes(entry, &rows);
        let count = rows.len() * cols;
        // At most a few times the file's own length, but that may still be more than there is.
        let mut values = Vec::new();
        values
            .try_reserve_exact(count)
            .map_err(|_| Error::new(Status::OutOfMemory, format!("tensor `{name}`: {count} values as f32")))?;
        values.resize(count, 0.0);
        dequantize(entry.dtype, bytes, &mut values);
        if let Some(BlockScales { values: scales, block }) = &entry.scales {
            let across = cols.div_ceil(block[1]);
            for (row, values) in rows.clone().zip(values.chunks_exact_mut(cols)) {
                let scales = &scales[row / block[0] * across..];
                values.chunks_mut(block[1]).zip(scales).for_each(|(run, s)| run.iter_mut().for_each(|v| *v *= s));
            }
        }
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(at) => Err(Error::new(
                Status::NonFinite,
                format!(
                    "tensor `{name}` in {}: {} at [{}, {}]",
                    self.files[entry.file].path().display(),
                    values[at],
                    rows.start + at / cols,
                    at % cols
                ),
            )),
        }
    }
}

fn check_rows(name: &str, entry: &Entry, rows: &Range<usize>) -> Result<()> {
    if rows.start > rows.end || rows.end > entry.rows() {
        return Err(Error::new(Status::OutOfRange, format!("tensor `{name}`: rows {rows:?} of {}", entry.rows())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five rows of seven, in blocks of four by four: the last ones are of one row, or of three columns.
    #[test]
    fn blocks_share_scales() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w");
        let scales: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|s| s.to_le_bytes()).collect();
        std::fs::write(&path, [vec![0x38; 35], scales].concat()).unwrap();
        let files = vec![Mapped::open(&path).unwrap()];
        let len = files[0].bytes().len();
        let entries = [
            ("w", Entry::new("w", DType::F8E4M3, vec![5, 7], 0, 0, len).unwrap()),
            ("s", Entry::new("s", DType::F32, vec![2, 2], 0, 35, len).unwrap()),
        ];
        let mut weights = Weights::new(files, entries.map(|(name, entry)| (name.to_string(), entry)).into());
        weights.scale("w", "s", 4).unwrap();
        assert!(weights.get("s").is_none());
        let (upper, lower) = ([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
        assert_eq!(weights.read("w").unwrap(), [upper, upper, upper, upper, lower].concat());
        assert_eq!(weights.read_rows("w", 3..5).unwrap(), [upper, lower].concat());
    }
}
