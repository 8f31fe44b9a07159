//! The list of tensors of a GGUF file, and where their bytes lie.

use std::collections::BTreeMap;

use rasp::Result;

use super::cursor::Cursor;
use crate::import::dequant::DType;
use crate::import::weights::Entry;
use crate::import::{bad, unsupported};

/// The fewest bytes a tensor's entry can have: an empty name, one dimension, a type, an offset.
pub(super) const LEAST_TENSOR: usize = 8 + 4 + 8 + 4 + 8;

/// Many times what any model of these families has.
pub(super) const MAX_TENSORS: u64 = 1 << 17;

/// The format's own limit.
const MAX_DIMS: u32 = 4;

/// Reads `count` entries; the tensors' data begins at the next multiple of `alignment` after them.
pub(super) fn read(c: &mut Cursor, count: usize, alignment: usize, file_len: usize) -> Result<BTreeMap<String, Entry>> {
    struct Info<'a> {
        name: &'a str,
        dtype: DType,
        shape: Vec<usize>,
        offset: usize,
    }
    let mut infos = Vec::with_capacity(count);
    for i in 0..count {
        let name = c.string(format_args!("name of tensor {i} of {count}"))?;
        let within = |e: rasp::Error| e.context(format_args!("tensor `{name}`"));
        let dims = c.u32("number of dimensions").map_err(within)?;
        if dims == 0 || dims > MAX_DIMS {
            return Err(bad(format!("tensor `{name}`: {dims} dimensions, expected 1 to {MAX_DIMS}")));
        }
        let mut shape = Vec::new();
        for _ in 0..dims {
            let dim = c.u64("dimension").map_err(within)?;
            shape.push(usize::try_from(dim).map_err(|_| bad(format!("dimension {dim}"))).map_err(within)?);
        }
        // The file has the fastest dimension first.
        shape.reverse();
        let dtype = dtype(c.u32("type").map_err(within)?).map_err(within)?;
        let offset = c.u64("offset").map_err(within)?;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(bad(format!(
                "tensor `{name}`: its offset {offset} is no multiple of the alignment {alignment}"
            )));
        }
        let offset = usize::try_from(offset).map_err(|_| bad(format!("offset {offset}"))).map_err(within)?;
        infos.push(Info { name, dtype, shape, offset });
    }
    // No overflow: a cursor is within the file, and the alignment below 2^32.
    let base = c.at().next_multiple_of(alignment);
    let mut entries = BTreeMap::new();
    for Info { name, dtype, shape, offset } in infos {
        let start = base.checked_add(offset).ok_or_else(|| bad(format!("tensor `{name}`: offset {offset}")))?;
        let entry = Entry::new(name, dtype, shape, 0, start, file_len)?;
        if entries.insert(name.to_string(), entry).is_some() {
            return Err(bad(format!("tensor `{name}` is there twice")));
        }
    }
    check_overlap(&entries)?;
    Ok(entries)
}

fn check_overlap(entries: &BTreeMap<String, Entry>) -> Result<()> {
    let mut ranges: Vec<_> = entries.iter().map(|(name, e)| (e.range(), name)).collect();
    ranges.sort_by_key(|(range, _)| range.start);
    for pair in ranges.windows(2) {
        let ((a, a_name), (b, b_name)) = (&pair[0], &pair[1]);
        if b.start < a.end {
            return Err(bad(format!(
                "tensors `{a_name}` (bytes {}..{}) and `{b_name}` (bytes {}..{}) overlap",
                a.start, a.end, b.start, b.end
            )));
        }
    }
    Ok(())
}

/// The element type of a number in the file.
fn dtype(number: u32) -> Result<DType> {
    Ok(match number {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        6 => DType::Q5_0,
        7 => DType::Q5_1,
        8 => DType::Q8_0,
        10 => DType::Q2K,
        11 => DType::Q3K,
        12 => DType::Q4K,
        13 => DType::Q5K,
        14 => DType::Q6K,
        20 => DType::IQ4NL,
        23 => DType::IQ4XS,
        30 => DType::BF16,
        34 => DType::TQ1_0,
        35 => DType::TQ2_0,
        39 => DType::MXFP4,
        _ => {
            let name = match number {
                9 => "Q8_1",
                15 => "Q8_K",
                16 => "IQ2_XXS",
                17 => "IQ2_XS",
                18 => "IQ3_XXS",
                19 => "IQ1_S",
                21 => "IQ3_S",
                22 => "IQ2_S",
                24 => "I8",
                25 => "I16",
                26 => "I32",
                27 => "I64",
                28 => "F64",
                29 => "IQ1_M",
                _ => "none this version of rasp has heard of",
            };
            return Err(unsupported(format!("its type is {number} ({name}), which rasp does not read")));
        }
    })
}
