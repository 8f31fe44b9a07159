//! A recipe through its file, and files that are none.

use super::identity::tests::identity;
use super::*;
use rasp::model::WeightType;

/// A recipe of a tiny model, with numbers of its own everywhere.
fn recipe() -> TunedRecipe {
    let config = Config::example();
    let count = config.num_layers * config.linears().len();
    let linear = |n: usize| {
        let inputs = config.linear_shape(config.linears()[n % 7]).inputs;
        TunedLinear {
            name: linear_name(&config, n),
            scores: (0..inputs).map(|channel| 0.01 + ((n * 31 + channel * 7) % 97) as f32 / 100.0).collect(),
            thresholds: vec![0.125 + n as f32 / 64.0, 0.3],
            channels: vec![0.7, 0.49],
        }
    };
    TunedRecipe {
        model: identity(&config, |n| 0.5 + (n % 13) as f32),
        allocation: Allocation::Global,
        dense_prefix: 1,
        levels: vec![0.3, 0.5],
        ppl_increase: vec![0.01, 0.05],
        quality: Some((0.02, 0.36)),
        active: Vec::new(),
        text: Some(CalibrationText {
            file: Some("text.txt".into()),
            tokens: 4096,
            checksum: "0123456789abcdef".into(),
            tuning_steps: 24,
        }),
        linears: (0..count).map(linear).collect(),
    }
}

/// The same bytes with another header, which its text goes through.
fn with_header(bytes: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = change(String::from_utf8(bytes[8..8 + length].to_vec()).unwrap());
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat()
}

#[test]
fn a_recipe_goes_through_its_file() {
    let before = recipe();
    let bytes = before.to_bytes().unwrap();
    let mut after = TunedRecipe::from_bytes(&bytes).unwrap();
    for (before, after) in before.linears.iter().zip(&mut after.linears) {
        let scores = before.scores.iter().zip(&after.scores);
        assert!(scores.clone().all(|(a, b)| (b / a - 1.0).abs() < 3.5e-4) && before.scores.len() == after.scores.len());
        after.scores.clone_from(&before.scores);
    }
    assert_eq!(after, before);
    // What may be missing.
    let least = TunedRecipe { ppl_increase: vec![], quality: None, text: None, ..before };
    let back = TunedRecipe::from_bytes(&least.to_bytes().unwrap()).unwrap();
    assert_eq!((back.ppl_increase, back.quality, back.text), (vec![], None, None));
}

#[test]
fn every_truncation_and_every_changed_byte_is_refused_or_another_recipe() {
    let bytes = recipe().to_bytes().unwrap();
    for len in (0..bytes.len()).step_by(7).chain(bytes.len() - 9..bytes.len()) {
        assert!(TunedRecipe::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    for at in (0..bytes.len()).step_by(3) {
        for flip in [1, 0x10, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            if let Ok(recipe) = TunedRecipe::from_bytes(&changed) {
                assert!(recipe.validate().is_ok(), "byte {at}");
            }
        }
    }
}

#[test]
fn what_is_no_recipe_is_named() {
    let bytes = recipe().to_bytes().unwrap();
    let refused = |from: &str, to: &str| {
        let changed = with_header(&bytes, |header| {
            assert!(header.contains(from), "{header} lacks {from}");
            header.replace(from, to)
        });
        TunedRecipe::from_bytes(&changed).unwrap_err()
    };
    let version = refused(r#""rasp-recipe.version":"1""#, r#""rasp-recipe.version":"2""#);
    assert_eq!(version.status(), Status::UnsupportedVersion);
    assert!(version.message().contains("version 2") && version.message().contains("reads 1"), "{version}");
    for (from, to, words) in [
        (r#""format":"rasp-recipe""#, r#""format":"pt""#, "not a recipe"),
        (r#""rasp-recipe":"#, r#""another":"#, "missing"),
        (r#"\"score\":\"fisher\""#, r#"\"score\":\"magnitude\""#, "magnitude"),
        (r#"\"num_layers\":2"#, r#"\"num_layers\":16777216"#, "linears"),
        (r#"\"num_layers\":2"#, r#"\"num_layers\":99999999999"#, "num_layers"),
        (r#"\"num_heads\":4"#, r#"\"num_heads\":0"#, "num_heads"),
        (r#"\"hidden_size\":64"#, r#"\"hidden_size\":65"#, "scores"),
        (r#"\"hidden_size\":64"#, r#"\"hidden_size\":-1"#, "invalid value"),
        (r#"\"layers.1.v\""#, r#"\"layers.2.v\""#, "layers.1.v"),
        (r#""layers.1.v.score""#, r#""layers.2.v.score""#, "layers.1.v.score"),
        (r#"\"sparsity\":[0.3,0.5]"#, r#"\"sparsity\":[0.5,0.3]"#, "ascend"),
        (r#"\"sparsity\":[0.3,0.5]"#, r#"\"sparsity\":[0.3,1.5]"#, "ascend"),
        (r#"\"sparsity\":[0.3,0.5]"#, r#"\"sparsity\":[]"#, "no sparsity"),
        (r#"\"sparsity\":[0.3,0.5]"#, r#"\"sparsity\":[0.3,0.4,0.5]"#, "losses"),
        (r#"\"ppl_increase\":[0.01,0.05]"#, r#"\"ppl_increase\":[0.01]"#, "loss"),
        (r#"\"sparsity\":0.36"#, r#"\"sparsity\":0.9"#, "default_sparsity"),
        (r#"\"most\":0.02"#, r#"\"most\":-1.0"#, "quality"),
        (r#"\"dense_prefix\":1"#, r#"\"dense_prefix\":65536"#, "prefix"),
        (r#"\"thresholds\":[0.125,"#, r#"\"thresholds\":[-0.125,"#, "layers.0.q"),
        (r#"\"thresholds\":[0.125,"#, r#"\"thresholds\":[1e39,"#, "layers.0.q"),
        (r#"\"channels\":[0.7,0.49]"#, r#"\"channels\":[1.7,0.49]"#, "share"),
        (r#"\"name\":\"example\""#, r#"\"name\":\"\\u001b[2J\""#, "cannot be shown"),
    ] {
        let error = refused(from, to);
        assert_eq!(error.status(), Status::BadFile, "{error}");
        assert!(error.message().contains(words), "{to}: {error} lacks {words}");
    }
    for bytes in [&b"GGUF and so on, but no recipe"[..], b"", b"{}"] {
        assert_eq!(TunedRecipe::from_bytes(bytes).unwrap_err().status(), Status::BadFile);
    }
}

#[test]
fn levels_are_picked_and_others_are_refused() {
    let one = recipe().with_levels(&[0.5]).unwrap();
    assert_eq!((one.levels.as_slice(), one.ppl_increase.as_slice(), one.quality), (&[0.5][..], &[0.05][..], None));
    assert!(one.linears.iter().all(|linear| linear.thresholds == [0.3] && linear.channels == [0.49]));
    assert_eq!(recipe().with_levels(&[0.3, 0.5]).unwrap(), recipe());
    let error = recipe().with_levels(&[0.3, 0.4]).unwrap_err();
    assert!(error.message().contains("0.4") && error.message().contains("0.3, 0.5"), "{error}");
}

#[test]
fn the_default_sparsity_is_the_measured_one_or_lies_below_the_line() {
    let recipe = recipe();
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    // As it was measured; on the line from 1% at 0.3 to 5% at 0.5; from dense to 0.3; beyond the last level.
    for (most, sparsity) in [(0.02, 0.36), (0.03, 0.4), (0.005, 0.15), (0.01, 0.3), (0.5, 0.5), (0.0, 0.0)] {
        let found = recipe.measured(Some(most)).default_sparsity;
        assert!(close(found, sparsity), "{most}: {found} for {sparsity}");
    }
    assert_eq!(recipe.measured(None).default_sparsity, 0.0);
    let unmeasured = TunedRecipe { ppl_increase: vec![], quality: None, ..recipe };
    assert_eq!(unmeasured.measured(Some(0.02)).default_sparsity, 0.0);
}

#[test]
fn the_share_of_channels_is_that_of_bytes_without_scales() {
    let config = Config::example();
    let mut plan = recipe().plan(&config).unwrap();
    let linear = plan.linears.swap_remove(3);
    for weight_type in WeightType::all() {
        let back = weight_type.kept_channels(linear.kept(1, weight_type) as f32);
        assert!((back - 0.49).abs() < 1e-5, "{}: {back}", weight_type.name());
    }
}
