//! Packing a LoRA adapter: one file that sessions of its base model take.

use std::path::Path;

use half::f16;
use rasp::format::{Bytes, Dtype, File, TensorSpec, key};
use rasp::model::{AdapterConfig, ModelSizes, adapter_tensor};
use rasp::{Error, Result, Status};

use crate::import::{AdapterLinear, open_adapter};
use crate::{disk, litter};

/// What was packed.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// What the adapter is called.
    pub name: String,
    /// The family of the models that it is for.
    pub architecture: String,
    /// Linears that it adds to.
    pub linears: usize,
    /// Its largest rank.
    pub rank: usize,
    /// Bytes of its factors, which every token reads.
    pub bytes: u64,
}

/// Packs the adapter at `adapter` (PEFT's folder, or a GGUF file of llama.cpp's) into `output`. `base` is the
/// checkpoint that it was trained on, or another of its shape: a folder with a `config.json`, or a GGUF file. An
/// existing `output` is replaced only where it is an adapter, or with `force`.
pub fn pack_adapter(adapter: &Path, base: &Path, output: &Path, force: bool) -> Result<AdapterSummary> {
    litter::check_apart(output, [adapter, base].into_iter())?;
    if !force && output.exists() && Bytes::map(output).and_then(File::open_adapter).is_err() {
        let message = format!("{} is no packed adapter; --force replaces it, -o writes elsewhere", output.display());
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let found = open_adapter(adapter, base)?;
    let config = AdapterConfig {
        name: found.name,
        architecture: found.config.architecture.clone(),
        sizes: ModelSizes::of(&found.config),
    };
    let mut tensors = Vec::new();
    for linear in found.linears {
        tensors.extend(factors(linear)?);
    }
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let ranks = specs.iter().filter_map(|spec| spec.shape.first().copied());
    let summary = AdapterSummary {
        name: config.name.clone(),
        architecture: config.architecture.clone(),
        linears: tensors.len() / 2,
        rank: ranks.max().unwrap_or(0),
        bytes: tensors.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
    };
    litter::remove_old(output);
    disk::check_room(output, &specs)?;
    let json = serde_json::to_string(&config).map_err(|e| Error::new(Status::Internal, format!("an adapter: {e}")))?;
    let mut writer = litter::create_adapter(output, &[(key::ADAPTER, json)], specs)?;
    for (spec, bytes) in &tensors {
        writer.tensor(&spec.name, bytes)?;
    }
    litter::finish(writer)?;
    Ok(summary)
}

/// A linear's two tensors.
fn factors(mut linear: AdapterLinear) -> Result<[(TensorSpec, Vec<u8>); 2]> {
    let rank = linear.rank;
    balance(&mut linear.b, &mut linear.a, rank);
    let tensor = |factor: char, values: &[f32]| {
        let name = adapter_tensor(linear.layer, linear.kind, factor);
        let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
        if halves.iter().any(|x| !x.is_finite()) {
            let message = format!("tensor {name}: an adapter of numbers as large as these does not fit f16");
            return Err(Error::new(Status::NonFinite, message));
        }
        let spec = TensorSpec::new(name, Dtype::F16, &[rank, values.len() / rank]);
        Ok((spec, halves.into_iter().flat_map(f16::to_le_bytes).collect()))
    };
    Ok([tensor('b', &linear.b)?, tensor('a', &linear.a)?])
}

/// Makes each row of `b` as large as its fellow of `a`, by a power of two, which changes no product: small numbers, as
/// `A` often has, would lose bits in f16.
fn balance(b: &mut [f32], a: &mut [f32], rank: usize) {
    let largest = |row: &[f32]| row.iter().fold(0f32, |m, x| m.max(x.abs()));
    let (inputs, outputs) = (b.len() / rank, a.len() / rank);
    for (b, a) in b.chunks_exact_mut(inputs).zip(a.chunks_exact_mut(outputs)) {
        let (of_b, of_a) = (largest(b), largest(a));
        if of_b > 0.0 && of_a > 0.0 {
            let by = ((of_a.log2() - of_b.log2()) / 2.0).round() as i32;
            b.iter_mut().for_each(|x| *x = (f64::from(*x) * 2f64.powi(by)) as f32);
            a.iter_mut().for_each(|x| *x = (f64::from(*x) * 2f64.powi(-by)) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_factors_become_alike_and_their_products_stay() {
        let (b, a) = ([1e-4f32, -3e-6, 0.0, 2.0, 0.5, 0.1], [700.0f32, 3.0, 1e-9, 0.0]);
        let (mut b2, mut a2) = (b, a);
        balance(&mut b2, &mut a2, 2);
        for k in 0..2 {
            for (i, o) in [(0, 0), (1, 1), (2, 0)] {
                assert_eq!(b[3 * k + i] * a[2 * k + o], b2[3 * k + i] * a2[2 * k + o]);
            }
            let largest = |row: &[f32]| row.iter().fold(0f32, |m, x| m.max(x.abs()));
            let ratio = largest(&b2[3 * k..3 * k + 3]) / largest(&a2[2 * k..2 * k + 2]);
            assert!((0.5..=2.0).contains(&ratio), "{ratio}");
        }
        // A row that adds nothing.
        let (mut b, mut a) = ([1.0, 2.0], [0.0]);
        balance(&mut b, &mut a, 1);
        assert_eq!((b, a), ([1.0, 2.0], [0.0]));
    }
}
