//! Packing in whole numbers: what a checkpoint has on such a grid arrives as it was, anything else within its rounding.

#[path = "../import/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod gguf;
mod nearest;

use gguf::{Gguf, blocks};
use half::f16;
use rasp::format::{Bytes, Dtype, File, LinearShape, channel_rows};
use rasp::model::{GroupKind, LinearKind, QuantType, WeightType};
use rasp::session::Scorer;
use rasp::text::EncodeOptions;
use rasp::{LoadOptions, Model, Session, SessionOptions, Status};
use rasp_packer::import::{self, Checkpoint};
use rasp_packer::{PackOptions, Silent, pack};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::*;

/// A packed file, read by nothing but its description.
struct Packed {
    file: File,
}

impl Packed {
    /// What a checkpoint becomes.
    fn of(gguf: &Gguf, weight_type: WeightType) -> Packed {
        gguf.pack(weight_type, |_| {}).unwrap();
        Packed::open(&gguf.path("out.rasp"))
    }

    fn open(path: &Path) -> Packed {
        Packed { file: File::open(Bytes::map(path).unwrap()).unwrap() }
    }

    fn f16(&self, name: &str) -> Vec<f32> {
        assert_eq!(self.file.describe(name).unwrap().0, Dtype::F16, "{name}");
        let bits = self.file.raw(name).unwrap().chunks_exact(2);
        bits.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
    }

    /// Scales of 10 bits, minima in quarters of them of 6, as scales and minima.
    fn scales_and_minima(&self, name: &str) -> (Vec<f32>, Vec<f32>) {
        assert_eq!(self.file.describe(name).unwrap().0, Dtype::U16, "{name}");
        let bits = self.file.raw(name).unwrap().chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        bits.map(|bits| {
            let scale = f32::exp2(f32::from(bits >> 11) - 20.0) * (1.0 + f32::from(bits >> 6 & 31) / 32.0);
            (scale, -scale * f32::from(bits & 63) / 4.0)
        })
        .unzip()
    }

    /// The rows of an embedding or head.
    fn rows(&self, name: &str) -> Vec<f32> {
        assert_eq!(self.file.describe(name).unwrap().0, Dtype::I8, "{name}");
        let scale = self.f16(&format!("{name}.scale"));
        let numbers = self.file.raw(name).unwrap().iter().enumerate();
        numbers.map(|(i, q)| scale[i / 32] * f32::from(q.cast_signed())).collect()
    }

    /// A linear's weights `[out, in]`.
    fn linear(&self, checkpoint: &Checkpoint, layer: usize, kind: LinearKind, quant: QuantType) -> Vec<f32> {
        let config = checkpoint.config();
        let group = GroupKind::ALL.into_iter().find(|g| config.group_linears(*g).contains(&kind)).unwrap();
        let shape = |kind| config.linear_shape(kind);
        let width = config.group_shape(group).outputs;
        let before =
            config.group_linears(group).iter().take_while(|&&l| l != kind).map(|&l| shape(l).outputs).sum::<usize>();
        let LinearShape { inputs, outputs } = shape(kind);
        let name = format!("layers.{layer}.{}", group.name());
        let (dtype, packed) = if quant == QuantType::Q8 { (Dtype::I8, width) } else { (Dtype::U8, width / 2) };
        let described = self.file.describe(&name).unwrap();
        assert_eq!((described.0, described.1), (dtype, &[inputs, packed][..]), "{name}");
        let bytes = self.file.raw(&name).unwrap();
        let (scale, min) = match quant {
            QuantType::Q8 => (self.f16(&format!("{name}.scale")), vec![0.0; inputs / 32 * width]),
            QuantType::Q4 => (self.f16(&format!("{name}.scale")), self.f16(&format!("{name}.min"))),
            QuantType::Q4s => self.scales_and_minima(&format!("{name}.scale")),
        };
        let rows: Vec<usize> = channel_rows(inputs, 32).collect();
        let value = |output: usize, input: usize| {
            let (column, row) = (before + output, rows[input]);
            let number = match quant {
                QuantType::Q8 => f32::from(bytes[row * width + column].cast_signed()),
                QuantType::Q4 | QuantType::Q4s => {
                    let byte = bytes[row * width / 2 + column / 32 * 16 + column % 16];
                    f32::from(byte >> (column % 32 / 16 * 4) & 15)
                }
            };
            let shared = input / 32 * width + column;
            scale[shared] * number + min[shared]
        };
        (0..outputs)
            .flat_map(|output| (0..inputs).map(move |input| (output, input)))
            .map(|(o, i)| value(o, i))
            .collect()
    }
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn what_lies_on_the_grid_arrives_as_it_was() {
    for (kind, weight_type) in [
        (blocks::Q8_0, WeightType::Q8),
        (blocks::Q4_0, WeightType::Q8),
        (blocks::Q5_0, WeightType::Q8),
        (blocks::Q4_0, WeightType::Q4),
        (blocks::Q4_1, WeightType::Q4),
    ] {
        let gguf = Gguf::new(kind, 64);
        let (packed, checkpoint) = (Packed::of(&gguf, weight_type), gguf.checkpoint());
        for linear in LinearKind::ALL {
            let expected = checkpoint.linear(0, linear).unwrap().data;
            let found = packed.linear(&checkpoint, 0, linear, weight_type.quant().unwrap());
            assert!(found == expected, "{kind:?} as {weight_type:?}: {linear:?}");
        }
        let embedding = checkpoint.embedding_rows(0..VOCAB).unwrap();
        let head = checkpoint.lm_head_rows(0..VOCAB).unwrap().unwrap();
        for (name, expected) in [("embed_tokens", embedding), ("lm_head", head)] {
            let found = packed.rows(name);
            if kind == blocks::Q4_1 {
                // With a minimum it is no grid of 8 bits.
                let steps = packed.f16(&format!("{name}.scale"));
                let half = |i: usize| 0.501 * steps[i / 32];
                assert!(found.iter().zip(expected).enumerate().all(|(i, (a, b))| (a - b).abs() <= half(i)), "{name}");
            } else {
                assert!(found == expected, "{kind:?}: {name}");
            }
        }
        assert!(packed.file.contains("head_screen"));
    }
}

#[test]
fn q4_k_arrives_within_the_rounding_of_its_scales() {
    let gguf = Gguf::new(blocks::Q4_K, 256);
    let (packed, checkpoint) = (Packed::of(&gguf, WeightType::Q4), gguf.checkpoint());
    for linear in LinearKind::ALL {
        let expected = checkpoint.linear(0, linear).unwrap().data;
        let found = packed.linear(&checkpoint, 0, linear, QuantType::Q4);
        // 63 · 0.0011 · 15 and 63 · 0.0011 at most, each half an ulp of f16 off.
        assert!(worst(&found, &expected) < 63.0 * 0.0011 * 16.0 / 2048.0, "{linear:?}");
        assert!(found != expected);
    }
}

/// Scales keep five bits, offsets quarters of a step: most numbers of four bits stay as they are.
#[test]
fn grids_of_four_bits_nearly_fit_the_smaller_one() {
    for kind in [blocks::Q4_0, blocks::Q4_K] {
        let gguf = Gguf::new(kind, 256);
        let (packed, checkpoint) = (Packed::of(&gguf, WeightType::Q4S), gguf.checkpoint());
        let (mut lost, mut size) = (0.0, 0.0);
        for linear in LinearKind::ALL {
            let expected = checkpoint.linear(0, linear).unwrap().data;
            let found = packed.linear(&checkpoint, 0, linear, QuantType::Q4s);
            lost += found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            size += expected.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>();
        }
        // A grid of its own, half a step off at most, would lose (1/12) / 21 of even numbers from -8 to 7: 0.004.
        assert!(lost < 0.001 * size, "{kind:?}: {}", lost / size);
    }
}

#[test]
fn anything_else_arrives_within_half_a_step() {
    let gguf = Gguf::new(blocks::F32, 64);
    let checkpoint = gguf.checkpoint();
    // In 8 bits the step may be wider than 127 to the range asks for, if more of the values lie near its multiples.
    let q8_step = 0.25 / 111.0;
    for (weight_type, step) in [(WeightType::Q8, q8_step), (WeightType::Q4, 0.5 / 15.0), (WeightType::Q4S, 0.5 / 15.0)]
    {
        let packed = Packed::of(&gguf, weight_type);
        for linear in LinearKind::ALL {
            let expected = checkpoint.linear(0, linear).unwrap().data;
            let found = packed.linear(&checkpoint, 0, linear, weight_type.quant().unwrap());
            // In 4 bits the ends of the range may be left out for the sake of the rest.
            let allowed = if weight_type == WeightType::Q8 { 0.501 * step } else { 1.5 * step };
            assert!(worst(&found, &expected) <= allowed, "{weight_type:?} {linear:?} {}", worst(&found, &expected));
        }
        let embedding = checkpoint.embedding_rows(0..VOCAB).unwrap();
        assert!(worst(&packed.rows("embed_tokens"), &embedding) <= 0.501 * q8_step);
    }
}

#[test]
fn what_is_packed_computes_what_went_in() {
    let gguf = Gguf::new(blocks::Q8_0, 64);
    gguf.pack(WeightType::F16, |_| {}).unwrap(); // Powers of two times 8 bits: exact.
    let expected = gguf.log_probs();
    gguf.pack(WeightType::Q8, |_| {}).unwrap();
    let close = |allowed: f64, what: &str| {
        let worst = gguf.log_probs().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < allowed, "{what}: {worst}");
    };
    // Weights are as they were: what differs is that inputs have 8 bits, 15 where there is an outlier.
    close(0.05, "q8");
    // With a low rank the residual is rounded, to 8 bits.
    let summary = gguf.pack(WeightType::Q8, |o| (o.sparsity, o.rho) = (Some(vec![0.5]), 0.6)).unwrap();
    close(0.1, "q8 with a low rank");
    let packed = Packed::open(&gguf.path("out.rasp"));
    // Rank 8 of 64 by 128: what there is room for beside 0.3 of the channels. A has 32 rows, 24 of them zero.
    let described = |name: &str| packed.file.describe(&format!("layers.0.gate.low_rank.{name}")).unwrap();
    assert_eq!((described("b").0, described("b").1), (Dtype::I8, &[8, 64][..]));
    assert_eq!((described("b.scale").0, described("b.scale").1), (Dtype::F16, &[8, 2][..]));
    assert_eq!((described("a").0, described("a").1), (Dtype::I8, &[32, 128][..]));
    assert_eq!((described("a.scale").0, described("a.scale").1), (Dtype::F16, &[1, 128][..]));
    let a = packed.file.raw("layers.0.gate.low_rank.a").unwrap();
    assert!(a[..8 * 128].iter().any(|&q| q != 0) && a[8 * 128..].iter().all(|&q| q == 0));
    assert!((0.3 * 8.0 + 0.5..0.5 * 16.0).contains(&(summary.levels[0].kept * 8.5)), "{summary:?}");
}

/// Factors in whole numbers: the same bits for a prompt in one batch or token by token, for one thread or three.
#[test]
fn a_low_rank_has_the_same_bits_however_it_is_computed() {
    let gguf = Gguf::new(blocks::Q8_0, 64);
    for weight_type in QuantType::ALL.map(WeightType::Quant) {
        gguf.pack(weight_type, |o| (o.sparsity, o.rho) = (Some(vec![0.5]), 0.6)).unwrap();
        let model = Model::load(&gguf.path("out.rasp"), &LoadOptions { verify: true, ..Default::default() }).unwrap();
        assert!(model.layers()[0].groups().iter().all(|group| group.linears().iter().all(|l| l.rank() > 0)));
        for sparsity in [0.0, 0.5] {
            let logits = |threads: usize, batch: usize| {
                let options = SessionOptions { context: 64, threads, ..Default::default() };
                let mut session = Session::open(model.clone(), &options).unwrap();
                session.set_sparsity(sparsity).unwrap();
                for prompt in [3u32, 1, 4, 1, 5, 9, 2, 6, 5].chunks(batch) {
                    session.prefill(prompt).unwrap();
                }
                // What is generated is sparse whatever a prompt is.
                let next = session.step().unwrap();
                (next, session.logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            };
            let one = logits(1, 1);
            assert!(one == logits(1, 9) && one == logits(3, 9) && one == logits(2, 4), "{weight_type:?} at {sparsity}");
        }
    }
}

#[test]
fn the_summary_counts_what_the_engine_counts() {
    let gguf = Gguf::new(blocks::Q4_1, 64);
    for (weight_type, bits) in [(WeightType::Q8, 8.5), (WeightType::Q4, 5.0), (WeightType::Q4S, 4.5)] {
        let summary =
            gguf.pack(weight_type, |o| (o.sparsity, o.skip_short_rows) = (Some(vec![0.3, 0.5]), true)).unwrap();
        let model = Model::load(&gguf.path("out.rasp"), &LoadOptions { verify: true, ..Default::default() }).unwrap();
        let weights = 64 * (64 + 32 + 32 + 64 + 3 * 128);
        assert_eq!(summary.linear_bytes as f64, f64::from(weights) * bits / 8.0);
        assert_eq!((summary.linear_bytes, summary.head_bytes), (model.linear_bytes(), model.greedy_head_bytes()));
        // 64 columns of 4 bits, two steps, four numbers in f32.
        assert_eq!(summary.head_bytes, (VOCAB * (32 + 2 + 16)) as u64);
        let kept = (0.5 * f64::from(weight_type.quant().unwrap().bits() as u32)
            + (bits - weight_type.quant().unwrap().bits() as f64))
            / bits;
        assert!((summary.levels[1].kept - kept).abs() < 1e-6, "{summary:?}");
        assert!((f64::from(model.recipe().linears["layers.0.q"].kept[1]) - kept).abs() < 1e-6);
        assert!(gguf.log_probs().iter().all(|p| p.is_finite()));
    }
}

/// Of 256 inputs gate and up have rows of 512 bytes, of which half are worth leaving out; the others' are shorter.
#[test]
fn linears_whose_rows_are_short_are_read_whole() {
    let gguf = Gguf::new(blocks::Q8_0, 256);
    let load = || Model::load(&gguf.path("out.rasp"), &LoadOptions { verify: true, ..Default::default() }).unwrap();
    let tokens = [3u32, 1, 4, 1, 5, 9, 2, 6, 5];
    let scored = |model: &Arc<Model>, set: &dyn Fn(&mut Scorer)| {
        let mut scorer = Scorer::exact(model.clone(), 16, 1).unwrap();
        set(&mut scorer);
        scorer.score(&tokens, 0).unwrap().iter().map(|s| s.log_prob.to_bits()).collect::<Vec<_>>()
    };
    gguf.pack(WeightType::Q8, |o| (o.sparsity, o.skip_short_rows) = (Some(vec![0.5]), true)).unwrap();
    let model = load();
    assert_eq!(model.expected_traffic(0.5).unwrap().whole, 0);
    let masked = scored(&model, &|scorer| scorer.set_sparsity(0.5).unwrap());
    let mut thresholds: Vec<f32> = model.linears().map(|linear| linear.thresholds()[0]).collect();
    let long = |kind: LinearKind| matches!(kind, LinearKind::Gate | LinearKind::Up);
    model.linears().filter(|linear| !long(linear.kind())).for_each(|linear| thresholds[linear.index()] = -1.0);
    let expected = scored(&model, &|scorer| scorer.set_thresholds(&thresholds).unwrap());
    drop(model);

    let summary = gguf.pack(WeightType::Q8, |o| o.sparsity = Some(vec![0.5])).unwrap();
    let model = load();
    let traffic = model.expected_traffic(0.5).unwrap();
    assert_eq!((traffic.whole, traffic.kept), (5, summary.levels[0].kept));
    // Of 9·256·256 weights half of gate's and up's 4, in 8 bits of 8.5.
    assert!((traffic.kept - (1.0 - 2.0 / 9.0 * 8.0 / 8.5)).abs() < 1e-3, "{traffic:?}");
    assert_eq!(model.expected_traffic(0.0).unwrap().kept, 1.0);
    assert!(model.expected_traffic(0.6).is_err());
    let found = scored(&model, &|scorer| scorer.set_sparsity(0.5).unwrap());
    assert!(found == expected && found != masked);

    // Alone, with several threads and beside others: the same bits.
    let logits = |threads: usize, others: usize| {
        let options = SessionOptions { context: 64, threads, ..Default::default() };
        let mut sessions: Vec<Session> =
            (0..=others).map(|_| Session::open(model.clone(), &options).unwrap()).collect();
        for session in &mut sessions {
            session.set_sparsity(0.5).unwrap();
            session.prefill(&tokens).unwrap();
        }
        let mut some: Vec<&mut Session> = sessions.iter_mut().collect();
        for _ in 0..4 {
            Session::step_batch(&mut some, |_, token| assert!(token.is_ok())).unwrap();
        }
        let kept = some[0].stats().kept;
        assert!((traffic.kept - 0.05..traffic.kept + 0.05).contains(&kept), "{kept} for {traffic:?}");
        some[0].logits().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let alone = logits(1, 0);
    assert!(alone == logits(3, 0) && alone == logits(1, 1) && alone == logits(2, 4));
}

/// A file without a screen is smaller, and says the same.
#[test]
fn greedy_tokens_do_not_depend_on_the_screen() {
    let gguf = Gguf::new(blocks::F32, 256);
    for weight_type in [WeightType::BF16, WeightType::Q8, WeightType::Q4, WeightType::Q4S] {
        let [with, without] = [true, false].map(|screen| {
            let change = |o: &mut PackOptions| {
                (o.sparsity, o.screen, o.skip_short_rows) = (Some(vec![0.5]), screen, true);
            };
            let summary = gguf.pack(weight_type, change).unwrap();
            let model =
                Model::load(&gguf.path("out.rasp"), &LoadOptions { verify: true, ..Default::default() }).unwrap();
            assert_eq!(summary.head_bytes, model.greedy_head_bytes());
            assert_eq!(summary.head_bytes == model.head_bytes(), !screen);
            let options = SessionOptions { context: 64, ..Default::default() };
            let mut session = Session::open(model, &options).unwrap();
            session.set_sparsity(0.5).unwrap();
            session.prefill(&[1, 2, 3]).unwrap();
            let tokens: Vec<u32> = (0..60).map(|_| session.step().unwrap()).collect();
            (tokens, summary.file_bytes)
        });
        assert_eq!(with.0, without.0, "{weight_type:?}");
        assert!(with.1 > without.1);
    }
}

#[test]
fn the_same_input_gives_the_same_file() {
    let gguf = Gguf::new(blocks::F32, 64);
    for weight_type in QuantType::ALL.map(WeightType::Quant) {
        let make = || {
            gguf.pack(weight_type, |o| o.sparsity = Some(vec![0.5])).unwrap();
            fs::read(gguf.path("out.rasp")).unwrap()
        };
        assert!(make() == make());
    }
}

#[test]
fn what_must_not_come_out_is_refused_and_leaves_nothing_behind() {
    let refused = |gguf: &Gguf, weight_type, status, words: &[&str]| {
        let files = || fs::read_dir(gguf.dir.path()).unwrap().count();
        let before = files();
        let error = gguf.pack(weight_type, |o| o.sparsity = Some(vec![0.5])).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        words.iter().for_each(|word| assert!(error.message().contains(word), "{error} lacks {word}"));
        assert_eq!(files(), before, "something was left behind");
    };
    // Two kv heads of 8 channels.
    let narrow = Gguf::new(blocks::Q8_0, 32);
    for weight_type in QuantType::ALL.map(WeightType::Quant) {
        let words = ["k: 16 channels out", weight_type.name(), "--dtype bf16"];
        refused(&narrow, weight_type, Status::Unsupported, &words);
    }
    // A damaged scale is found though the blocks are not decoded.
    for (kind, weight_type) in [(blocks::Q8_0, WeightType::Q8), (blocks::Q4_1, WeightType::Q4)] {
        for name in ["blk.0.ffn_up.weight", "output.weight", "token_embd.weight"] {
            for scale in [f16::NAN, f16::NEG_INFINITY] {
                let damaged = Gguf::with(kind, 64, |file| {
                    // The second block of row 1.
                    let at = 3 * kind.2;
                    file.tensor(name).data[at..at + 2].copy_from_slice(&scale.to_le_bytes());
                });
                refused(&damaged, weight_type, Status::NonFinite, &[name, "[1, 32]"]);
            }
        }
    }
    // Finite, but no scale in f16.
    let large = Gguf::with(blocks::F32, 64, |file| {
        file.tensor("blk.0.ffn_down.weight").data[..4].copy_from_slice(&1e9f32.to_le_bytes());
    });
    refused(&large, WeightType::Q8, Status::OutOfRange, &["layers.0.down", "1000000000", "q8"]);
    refused(&large, WeightType::Q4, Status::OutOfRange, &["layers.0.down", "1000000000", "q4"]);
    refused(&large, WeightType::Q4S, Status::OutOfRange, &["layers.0.down", "1000000000", "q4s", "4032"]);
}

fn real_gguf() -> PathBuf {
    let path = std::env::var_os("RASP_TEST_GGUF").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models/SmolLM2-135M-Instruct.Q4_1.gguf"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    path
}

/// SmolLM2's linears are Q4_1 and its embedding is Q8_0: packed as q4 it is the same model to the bit.
#[test]
fn a_real_model_arrives_as_it_was() {
    let path = real_gguf();
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("smollm2.rasp");
    pack(&gguf::options(&path, &output, Some(WeightType::Q4)), &mut Silent).unwrap();
    let (packed, checkpoint) = (Packed::open(&output), import::open(&path).unwrap());
    for (layer, linear) in [
        (0, LinearKind::Q),
        (29, LinearKind::Q),
        (7, LinearKind::K),
        (7, LinearKind::V),
        (12, LinearKind::O),
        (3, LinearKind::Up),
        (29, LinearKind::Down),
    ] {
        let expected = checkpoint.linear(layer, linear).unwrap().data;
        assert!(packed.linear(&checkpoint, layer, linear, QuantType::Q4) == expected, "{layer} {linear:?}");
    }
    let found = packed.rows("embed_tokens");
    let hidden = checkpoint.config().hidden_size;
    for start in [0, 4000, 49000] {
        let rows = start..start + 152;
        let expected = checkpoint.embedding_rows(rows.clone()).unwrap();
        assert!(found[rows.start * hidden..rows.end * hidden] == expected, "rows from {start}");
    }
}

/// The same model in half a bit less: a text is as likely within a twentieth of a nat a token.
#[test]
fn a_real_model_in_four_and_a_half_bits_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let mean = |weight_type: WeightType| {
        let output = dir.path().join(format!("{}.rasp", weight_type.name()));
        pack(&gguf::options(&real_gguf(), &output, Some(weight_type)), &mut Silent).unwrap();
        let model = Model::load(&output, &LoadOptions::default()).unwrap();
        let (mut tokens, text) = (Vec::new(), include_str!("../../../README.md"));
        let encode = EncodeOptions { add_special: false, parse_special: false };
        model.tokenizer().encode(text, encode, &mut tokens).unwrap();
        tokens.truncate(512);
        let scores = Scorer::exact(model, 512, 2).unwrap().score(&tokens, usize::MAX).unwrap();
        scores.iter().map(|s| s.log_prob).sum::<f64>() / scores.len() as f64
    };
    let (whole, small) = (mean(WeightType::Q4), mean(WeightType::Q4S));
    assert!((whole - small).abs() < 0.05 && whole != small, "{small}, of the source {whole}");
}
