//! What packing will take, said before it begins: seconds are no matter, but a 7B's hours are.

use crate::block::{HEAD_ROWS, HEAD_TOKENS, Mat, product};
use crate::calibrate;
use crate::options::PackOptions;
use crate::progress::Stage;
use rasp::format::Config;
use rasp::model::{GroupKind, LinearKind};
use std::time::{Duration, Instant};

/// What a run needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast {
    /// Bytes of the file, which lies beside the one that it replaces until it is whole.
    pub(crate) disk: u64,
    /// Bytes of memory, without those of mapped files, which the system may take back.
    pub(crate) memory: u64,
    pub(crate) seconds: f64,
}

/// Multiplications a dense pass makes in the time in which [`product`] makes one: it widens weights, and attends.
const PASS: f64 = 0.58;

/// A program with tokenizer, tables and threads.
const BASE: u64 = 100 << 20;

/// The side of the matrices whose product tells how fast the machine is, and how long that may take.
const SIDE: usize = 512;
const TRIAL: Duration = Duration::from_millis(60);

impl Forecast {
    /// Of a run of these stages, which takes so many bytes of disk.
    pub(crate) fn new(config: &Config, options: &PackOptions, stages: &[Stage], disk: u64) -> Forecast {
        let passes: f64 = stages.iter().map(|stage| stage.cost).sum();
        Forecast { disk, memory: memory(config, options), seconds: passes * weights(config) as f64 * PASS / rate() }
    }

    /// `about 40 min, 1.2 GB of memory while it lasts; a file of 3.8 GB`
    pub(crate) fn words(&self) -> String {
        let gb = |bytes: u64| match bytes {
            b if b < 1_000_000_000 => format!("{} MB", b.div_ceil(1_000_000)),
            b => format!("{:.1} GB", b as f64 / 1e9),
        };
        let time = match self.seconds {
            s if s < 90.0 => "a minute or so".into(),
            s if s < 5400.0 => format!("about {:.0} min", s / 60.0),
            s => format!("about {:.1} h", s / 3600.0),
        };
        format!("{time}, {} of memory while it lasts; a file of {}", gb(self.memory), gb(self.disk))
    }
}

/// Weights that a token multiplies: linears and the head.
fn weights(config: &Config) -> u64 {
    let groups: usize = GroupKind::ALL.iter().map(|&kind| config.group_shape(kind).weights()).sum();
    let up = if config.block.up_by_outputs { config.linear_shape(LinearKind::Up).weights() } else { 0 };
    let block = groups + up;
    (config.num_layers * block + config.vocab_size * config.hidden_size) as u64
}

/// The most that is held at once: while scores are tuned.
fn memory(config: &Config, options: &PackOptions) -> u64 {
    let (window, hidden) = (calibrate::window_len(config), config.hidden_size);
    let widths = GroupKind::ALL.map(|kind| config.group_shape(kind));
    // The residual streams of a window, before each block and after the last, and the dense model's last ones.
    let streams = window * hidden * (config.num_layers + 1 + options.tune);
    // What goes through a block, there and back, and the weights of a group on either way.
    let through: usize = widths.iter().map(|shape| 2 * window * (shape.inputs + shape.outputs)).sum();
    let group = widths.iter().map(|shape| 2 * shape.weights()).max().unwrap_or(0);
    let logits = 3 * HEAD_TOKENS * config.vocab_size + HEAD_ROWS.min(config.vocab_size) * hidden;
    let scores: usize = widths.iter().map(|shape| 8 * config.num_layers * shape.inputs).sum();
    let kv = 2 * window * config.num_layers * config.kv_dim();
    BASE + 4 * (streams + through + group.max(logits) + scores + kv) as u64
}

/// Multiplications a second, in products of matrices on the threads of this pool.
fn rate() -> f64 {
    let side = |seed: usize| Mat::new((0..SIDE * SIDE).map(|n| ((n * seed) % 7) as f32).collect(), SIDE, SIDE);
    let (a, b) = (side(3), side(5));
    product(a.view(), b.view());
    let (start, mut products) = (Instant::now(), 0);
    while products == 0 || start.elapsed() < TRIAL {
        product(a.view(), b.view());
        products += 1;
    }
    (products * SIDE * SIDE * SIDE) as f64 / start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(layers: usize, hidden: usize, intermediate: usize, heads: usize, vocab: usize) -> Config {
        Config {
            num_layers: layers,
            hidden_size: hidden,
            intermediate_size: intermediate,
            num_heads: heads,
            num_kv_heads: heads,
            head_dim: hidden / heads,
            vocab_size: vocab,
            context_length: 4096,
            ..Config::example()
        }
    }

    #[test]
    fn a_forecast_is_in_units_that_people_read() {
        let words = |disk, memory, seconds| Forecast { disk, memory, seconds }.words();
        assert_eq!(
            words(199_000_000, 304_500_001, 85.0),
            "a minute or so, 305 MB of memory while it lasts; a file of 199 MB"
        );
        assert_eq!(
            words(3_800_000_000, 2_640_000_000, 4000.0),
            "about 67 min, 2.6 GB of memory while it lasts; a file of 3.8 GB"
        );
        assert!(words(1, 1, 7200.0).starts_with("about 2.0 h, 1 MB"), "{}", words(1, 1, 7200.0));
    }

    #[test]
    fn larger_models_and_longer_runs_take_more() {
        let llama = config(32, 4096, 11008, 32, 32000);
        assert_eq!(weights(&llama), 6_476_005_376 + 131_072_000);
        let options = PackOptions::new("model.gguf", "model.rasp");
        let small = memory(&config(30, 576, 1536, 9, 49152), &options);
        let large = memory(&llama, &options);
        // Of SmolLM2, whose keys and values are fewer, 246 MB were seen.
        assert!((246_000_000..400_000_000).contains(&small), "{small}");
        assert!((1_500_000_000..4_000_000_000).contains(&large), "{large}");
        let more = memory(&llama, &PackOptions { tune: 2 * options.tune, ..options });
        assert_eq!(more - large, (4 * 512 * 4096 * PackOptions::TUNE) as u64);
    }

    #[test]
    fn time_grows_with_what_is_to_be_done() {
        let stages = [Stage { name: "tuning scores", cost: 1000.0, parts: 1.0 }];
        let seconds = |stages: &[Stage]| {
            Forecast::new(&config(32, 4096, 11008, 32, 32000), &PackOptions::new("model.gguf", "model.rasp"), stages, 0)
                .seconds
        };
        assert_eq!(seconds(&[]), 0.0);
        assert!(seconds(&stages) > 0.0);
    }
}
