//! Adapters' files of given factors.

use half::f16;
use rasp::format::{Config, Dtype, TensorSpec, Writer, key};
use rasp::model::{AdapterConfig, LinearKind, ModelSizes, adapter_tensor};
use std::path::Path;

/// A linear's factors: its layer, its kind, their rank, `B` and `A`.
pub type Factors = (usize, LinearKind, usize, Vec<f32>, Vec<f32>);

/// Numbers in (-1, 1) that f16 holds exactly.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|n| ((n * 7919 + seed * 104_729) % 255) as f32 / 128.0 - 0.99609375).collect()
}

/// Factors of one rank for those linears of every layer, numbers up to `size`.
pub fn factors(config: &Config, rank: usize, kinds: &[LinearKind], size: f32) -> Vec<Factors> {
    let layers = (0..config.num_layers).flat_map(|layer| kinds.iter().map(move |&kind| (layer, kind)));
    let of = |(layer, kind): (usize, LinearKind)| {
        let (shape, seed) = (config.linear_shape(kind), layer * 7 + kind as usize + rank);
        let scaled = |count, seed| numbers(count, seed).iter().map(|x| x * size).collect();
        (layer, kind, rank, scaled(rank * shape.inputs, seed), scaled(rank * shape.outputs, seed + 1))
    };
    layers.map(of).collect()
}

/// Writes an adapter for models of this shape.
pub fn write(path: &Path, config: &Config, factors: &[Factors]) {
    let sizes = ModelSizes::of(config);
    let config = AdapterConfig { name: "test".into(), architecture: "llama".into(), sizes };
    let tensors = factors.iter().flat_map(|(layer, kind, rank, b, a)| {
        let tensor = |factor, values: &Vec<f32>| {
            let name = adapter_tensor(*layer, *kind, factor);
            let bytes: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
            (TensorSpec::new(name, Dtype::F16, &[*rank, values.len() / rank]), bytes)
        };
        [tensor('b', b), tensor('a', a)]
    });
    write_tensors(path, &config, tensors.collect());
}

/// Writes a file of any tensors.
pub fn write_tensors(path: &Path, config: &AdapterConfig, tensors: Vec<(TensorSpec, Vec<u8>)>) {
    let metadata = [(key::ADAPTER, serde_json::to_string(config).unwrap())];
    let specs = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let mut writer = Writer::create_adapter(path, &metadata, specs).unwrap();
    tensors.iter().for_each(|(spec, bytes)| writer.tensor(&spec.name, bytes).unwrap());
    writer.finish().unwrap();
}
