//! The tables of Unicode normalization forms C and KC, taken from the crate that `tokenizers` normalizes with.

use super::u32_bytes;
use rasp::format::{Dtype, TensorSpec};
use rasp::text::tensor;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use unicode_normalization_alignments::char::{
    canonical_combining_class, compose, decompose_canonical, decompose_compatible,
};

/// Composed and decomposed by arithmetic, and so in no table.
fn is_hangul(c: char) -> bool {
    ('\u{AC00}'..='\u{D7A3}').contains(&c)
}

/// What there is to be written: tables and their bytes.
type Tensors = Vec<(TensorSpec, Vec<u8>)>;

/// Every character is asked for them: once a process.
static CANONICAL: LazyLock<Tensors> = LazyLock::new(find_canonical);
static COMPATIBLE: LazyLock<Tensors> = LazyLock::new(find_compatible);

/// The tables of form C.
pub(super) fn tensors() -> Tensors {
    CANONICAL.clone()
}

/// What form KC needs beside them: compatibility decompositions that are not the canonical ones.
pub(super) fn compatible_tensors() -> Tensors {
    COMPATIBLE.clone()
}

fn find_canonical() -> Tensors {
    let (mut classes, mut decompositions, mut compositions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut firsts, mut seconds) = (BTreeSet::new(), BTreeSet::new());
    for c in ('\0'..=char::MAX).filter(|&c| !is_hangul(c)) {
        let class = canonical_combining_class(c);
        if class != 0 {
            classes.extend([c as u32, u32::from(class)]);
        }
        let mut parts = Vec::new();
        decompose_canonical(c, |part| parts.push(part));
        if parts != [c] {
            decompositions.push(c as u32);
            decompositions.extend((0..4).map(|i| parts.get(i).map_or(0, |&part| part as u32)));
            // A composite may itself be the first of a longer one.
            firsts.extend([c, parts[0]]);
            seconds.extend(&parts[1..]);
        }
    }
    for &first in &firsts {
        for &second in &seconds {
            if let Some(composite) = compose(first, second).filter(|&c| !is_hangul(c)) {
                compositions.extend([first as u32, second as u32, composite as u32]);
            }
        }
    }
    let table = |name: &str, columns: usize, values: &[u32]| {
        (TensorSpec::new(name, Dtype::U32, &[values.len() / columns, columns]), u32_bytes(values))
    };
    vec![
        table(tensor::NFC_CLASSES, 2, &classes),
        table(tensor::NFC_DECOMPOSITIONS, 5, &decompositions),
        table(tensor::NFC_COMPOSITIONS, 3, &compositions),
    ]
}

fn find_compatible() -> Tensors {
    let (mut rows, mut chars) = (Vec::new(), Vec::new());
    for c in ('\0'..=char::MAX).filter(|&c| !is_hangul(c)) {
        let (mut canonical, mut compatible) = (Vec::new(), Vec::new());
        decompose_canonical(c, |part| canonical.push(part as u32));
        decompose_compatible(c, |part| compatible.push(part as u32));
        if compatible != canonical {
            rows.extend([c as u32, chars.len() as u32, compatible.len() as u32]);
            chars.extend(compatible);
        }
    }
    vec![
        (TensorSpec::new(tensor::NFKC_ROWS, Dtype::U32, &[rows.len() / 3, 3]), u32_bytes(&rows)),
        (TensorSpec::new(tensor::NFKC_CHARS, Dtype::U32, &[chars.len()]), u32_bytes(&chars)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_decomposition_is_longer_than_a_row() {
        for c in '\0'..=char::MAX {
            let mut parts = 0;
            decompose_canonical(c, |_| parts += 1);
            assert!(parts <= 4, "{c:?}");
        }
        let sizes: Vec<usize> = tensors().iter().map(|(spec, _)| spec.shape[0]).collect();
        assert!(sizes[0] > 700 && sizes[1] > 2000 && sizes[2] > 900, "{sizes:?}");
    }
}
