//! Recipes: what tuning found, taken over by other files of the model without calibration.

#[path = "import/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
#[allow(dead_code)]
mod tiny;

use rasp::format::Allocation;
use rasp::model::WeightType;
use rasp::{Error, LoadOptions, Model, Status};
use rasp_packer::{
    Compensation, Limit, PackOptions, Progress, RecipeRequest, RecipeSource, Search, Silent, Summary, known_recipes,
    pack,
};
use safetensors::Dtype;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::*;
use tiny::{checkpoint, output};

fn load(path: &Path) -> Arc<Model> {
    Model::load(path, &LoadOptions { verify: true, ..Default::default() }).unwrap()
}

/// What stages a run had, and what it noted.
#[derive(Default)]
struct Heard(Vec<String>);

impl Progress for Heard {
    fn begin(&mut self, what: &str, _: u64) {
        self.0.push(what.into());
    }
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, line: &str) {
        self.0.push(line.into());
    }
}

/// Tunes a tiny model and saves its recipe: the path of that, in its folder, beside `tuned.rasp`.
fn tuned(hf: &HfDir) -> PathBuf {
    let (recipe, packed) = (hf.path().join("tiny.recipe"), hf.path().join("tuned.rasp"));
    let options = PackOptions {
        allocation: Allocation::Global,
        tune: 2,
        save_recipe: Some(recipe.clone()),
        quality: Some(Limit::Loss(0.02)),
        ..tiny::options(hf, &packed)
    };
    pack(&options, &mut Silent).unwrap();
    recipe
}

/// Packs with a recipe and what `change` adds.
fn with_recipe(
    input: &Path,
    output: &Path,
    recipe: &Path,
    change: impl FnOnce(&mut PackOptions),
) -> rasp::Result<Summary> {
    let mut options = PackOptions {
        recipe_from: RecipeSource::File(recipe.to_path_buf()),
        quality: Some(Limit::Loss(0.02)),
        ..PackOptions::new(input, output)
    };
    change(&mut options);
    pack(&options, &mut Silent)
}

/// Scores may differ by what 16 bits leave out.
fn assert_scores(found: &Model, expected: &Model) {
    for (found, expected) in found.linears().zip(expected.linears()) {
        let pairs = found.score().unwrap().iter().zip(expected.score().unwrap());
        pairs.for_each(|(a, b)| assert!((a - b).abs() <= 3.5e-4 * b, "{a} for {b}"));
    }
}

#[test]
fn a_recipe_tells_of_perplexity_alone() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let recipe = tuned(&hf);
    for limit in [Limit::Kl(0.1), Limit::SameGreedy(0.9)] {
        let error = with_recipe(hf.path(), &output(&hf), &recipe, |o| o.quality = Some(limit)).unwrap_err();
        assert!(error.status() == Status::InvalidArgument && error.message().contains("calibrate"), "{error}");
    }
    let summary = with_recipe(hf.path(), &output(&hf), &recipe, |_| {}).unwrap();
    assert!(summary.levels.iter().all(|level| level.loss.is_some() && level.cost.is_none()), "{summary:?}");
}

#[test]
fn a_recipe_stands_in_for_calibration() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let recipe = tuned(&hf);
    let first = load(&hf.path().join("tuned.rasp"));
    let mut heard = Heard::default();
    let options = PackOptions {
        recipe_from: RecipeSource::File(recipe.clone()),
        quality: Some(Limit::Loss(0.02)),
        ..PackOptions::new(hf.path(), output(&hf))
    };
    let summary = pack(&options, &mut heard).unwrap();
    assert!(heard.0.iter().any(|line| line.contains("recipe of") && line.contains("calibration.txt, 256 tokens")));
    let stages = ["gradients", "tuning", "calibrating", "measuring", "writing calibration text"];
    assert!(!heard.0.iter().any(|line| stages.iter().any(|stage| line.starts_with(stage))), "{:?}", heard.0);
    let second = load(&output(&hf));
    assert_scores(&second, &first);
    assert_eq!(second.recipe(), first.recipe());
    let used = summary.recipe.unwrap();
    assert_eq!(used.text.map(|text| (text.file, text.tuning_steps)), Some((Some("calibration.txt".into()), 2)));
    // What was asked of it: its levels, or some of them; its default, or another.
    with_recipe(hf.path(), &output(&hf), &recipe, |o| o.sparsity = Some(vec![0.5])).unwrap();
    let one = load(&output(&hf));
    assert_eq!(one.recipe().sparsity, [0.5]);
    assert_eq!(one.recipe().linears["layers.1.up"].thresholds, [first.recipe().linears["layers.1.up"].thresholds[1]]);
}

#[test]
fn a_packed_file_is_a_recipe_too_and_a_recipe_saved_again_is_the_same() {
    let hf = checkpoint("LlamaForCausalLM", false);
    let recipe = tuned(&hf);
    let packed = hf.path().join("tuned.rasp");
    let (again, taken) = (hf.path().join("again.recipe"), hf.path().join("taken.rasp"));
    for (from, exact) in [(&packed, true), (&recipe, false)] {
        with_recipe(hf.path(), &taken, from, |o| o.save_recipe = Some(again.clone())).unwrap();
        let (taken, packed) = (load(&taken), load(&packed));
        assert_scores(&taken, &packed);
        let scores = |model: &Model| model.linears().map(|l| l.score().unwrap().to_vec()).collect::<Vec<_>>();
        assert_eq!(scores(&taken) == scores(&packed), exact);
        let thresholds =
            |model: &Model| model.recipe().linears.values().map(|l| l.thresholds.clone()).collect::<Vec<_>>();
        assert_eq!(thresholds(&taken), thresholds(&packed));
    }
    assert!(fs::read(&again).unwrap() == fs::read(&recipe).unwrap());
    assert_eq!(
        fs::read_dir(hf.path()).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "tmp")).count(),
        0
    );
}

/// Sources of the same model: in Hugging Face's layout in three types, and as GGUF.
#[test]
fn a_recipe_belongs_to_the_model_whatever_its_weights_are_stored_as() {
    let tiny = |dtype: Dtype| {
        let hf = HfDir::tiny("LlamaForCausalLM", dtype, true);
        hf.file(
            "tokenizer.json",
            fs::read(checkpoint("LlamaForCausalLM", true).path().join("tokenizer.json")).unwrap(),
        );
        hf.file("calibration.txt", "abcdefghijk hijab badge cab jig ".repeat(40));
        hf.write();
        hf
    };
    let bf16 = tiny(Dtype::BF16);
    let recipe = tuned(&bf16);
    let out = bf16.path().join("other.rasp");
    for dtype in [Dtype::F32, Dtype::F16] {
        let other = tiny(dtype);
        with_recipe(other.path(), &out, &recipe, |_| ()).unwrap_or_else(|e| panic!("{dtype:?}: {e}"));
        assert_eq!(load(&out).recipe().sparsity, [0.3, 0.5]);
    }
    let mut gguf = GgufFile::tiny("llama", types::F16);
    let tokens = "abcdefghijk".chars().map(String::from).chain(["ab".to_string()]);
    gguf.set("tokenizer.ggml.tokens", Meta::Strs(tokens.collect()));
    gguf.set("tokenizer.ggml.merges", Meta::Strs(vec!["a b".into()]));
    gguf.set("tokenizer.ggml.pre", "gpt-2".into());
    let (_folder, path) = gguf.write();
    with_recipe(&path, &out, &recipe, |o| o.weight_type = Some(WeightType::F16)).unwrap();
    assert_scores(&load(&out), &load(&bf16.path().join("tuned.rasp")));
}

fn message(outcome: rasp::Result<Summary>, status: Status, words: &[&str]) {
    let error: Error = outcome.unwrap_err();
    assert_eq!(error.status(), status, "{error}");
    words.iter().for_each(|word| assert!(error.message().contains(word), "{error} lacks {word}"));
}

#[test]
fn recipes_of_other_models_are_refused_with_both_names() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let recipe = tuned(&hf);
    // The same shapes, other gains of one norm.
    let mut other = checkpoint("LlamaForCausalLM", true);
    let hidden = other.tensors["model.norm.weight"].shape[0];
    other.add("model.norm.weight", &[hidden], &vec![0.7; hidden]);
    other.write();
    let of = |recipe: &Path| with_recipe(other.path(), &output(&other), recipe, |_| ());
    let names = ["tiny.recipe", "it is of", "this is", "other gains"];
    message(of(&recipe), Status::InvalidArgument, &names);
    message(of(&hf.path().join("tuned.rasp")), Status::InvalidArgument, &["tuned.rasp", "it is of", "other gains"]);
    // Gains by which nothing can be told.
    let mut flat = checkpoint("LlamaForCausalLM", true);
    let norms: Vec<String> = flat.tensors.keys().filter(|name| name.contains("norm")).cloned().collect();
    norms.iter().for_each(|name| flat.add(name, &[hidden], &vec![1.0; hidden]));
    flat.write();
    message(
        with_recipe(flat.path(), &output(&flat), &recipe, |_| ()),
        Status::InvalidArgument,
        &["one gain throughout"],
    );
    let save = |o: &mut PackOptions| {
        (o.allocation, o.save_recipe) = (Allocation::Global, Some(flat.path().join("own.recipe")))
    };
    message(tiny::packed(&flat, save), Status::InvalidArgument, &["a recipe to save", "one gain throughout"]);
    assert!(!output(&flat).exists() && !output(&other).exists());
}

/// What is asked beside a recipe, and a word of why not.
type Refused<'a> = (&'a dyn Fn(&mut PackOptions), &'a str);

#[test]
fn what_a_recipe_cannot_do_is_said_before_anything_is_written() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let recipe = tuned(&hf);
    let out = output(&hf);
    let with = |change: &dyn Fn(&mut PackOptions)| with_recipe(hf.path(), &out, &recipe, change);
    let compensation = Some(Compensation { sparsity: 0.5, ridge: 0.1 });
    let text = hf.path().join("calibration.txt");
    let refused: [Refused; 14] = [
        (&|o| o.calibration = Some(text.clone()), "calibration text"),
        (&|o| o.scores = Some(hf.path().join("tuned.rasp")), "scores"),
        (&|o| o.search = Search { generations: 1, ..Search::DEFAULT }, "search"),
        (&|o| o.search_rho = Search { generations: 1, ..Search::DEFAULT }, "rho"),
        (&|o| o.compensation = compensation, "fitted"),
        (&|o| o.rho = 0.9, "low rank"),
        (&|o| o.recipe = RecipeRequest { rank_sparsity: Some(0.5), ..Default::default() }, "rules"),
        (&|o| o.allocation = Allocation::Uniform, "allocation"),
        (&|o| o.tune = 1, "tune"),
        (&|o| o.calibration_tokens = 1, "tokens"),
        (&|o| o.sparsity = Some(vec![]), "no sparsity levels"),
        (&|o| o.sparsity = Some(vec![0.4]), "0.3, 0.5"),
        (&|o| o.save_recipe = Some(hf.path().join("config.json")), "written over"),
        (&|o| o.output = recipe.clone(), "written over"),
    ];
    for (change, word) in refused {
        message(with(change), Status::InvalidArgument, &[word]);
    }
    for (name, content, status) in
        [("none", None, Status::Io), ("empty", Some(""), Status::BadFile), ("text", Some("no recipe"), Status::BadFile)]
    {
        let path = hf.path().join(name);
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        message(with_recipe(hf.path(), &out, &path, |_| ()), status, &[name]);
    }
    message(with_recipe(hf.path(), &out, hf.path(), |_| ()), Status::Io, &["not a file"]);
    let saved = |change: &dyn Fn(&mut PackOptions)| {
        tiny::packed(&hf, |o| {
            (o.allocation, o.save_recipe) = (Allocation::Global, Some(hf.path().join("new.recipe")));
            change(o);
        })
    };
    let refused: [Refused; 4] = [
        (&|o| o.allocation = Allocation::Uniform, "fisher"),
        (&|o| o.rho = 0.6, "low ranks"),
        (&|o| o.compensation = compensation, "fitted"),
        (&|o| o.sparsity = Some(vec![]), "no sparsity levels"),
    ];
    for (change, word) in refused {
        message(saved(change), Status::InvalidArgument, &["a recipe to save", word]);
    }
    assert!(!out.exists() && !hf.path().join("new.recipe").exists());
}

#[test]
fn the_recipes_that_come_along_are_whole_and_small() {
    let known = known_recipes().unwrap();
    assert!(known.iter().any(|(model, found)| model.contains("SmolLM2") && found.contains("384 steps")), "{known:?}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let sizes: Vec<u64> = fs::read_dir(folder).unwrap().flatten().map(|file| file.metadata().unwrap().len()).collect();
    assert!(sizes.len() == known.len() && sizes.iter().all(|size| *size < 1_000_000), "{sizes:?}");
}

/// The real model, from the checkpoint that `make` fetches: its recipe is found and used.
#[test]
fn a_known_model_is_packed_with_its_recipe_and_none_is_looked_for_where_calibration_is_asked_for() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.rasp");
    let mut heard = Heard::default();
    let options = PackOptions {
        recipe_from: RecipeSource::KnownOrDense,
        sparsity: Some(vec![0.3, 0.5]),
        screen: false,
        threads: 2,
        ..PackOptions::new(source, &out)
    };
    let summary = pack(&options, &mut heard).unwrap();
    assert!(summary.recipe.unwrap().model.contains("SmolLM2"));
    assert!(heard.0.iter().any(|line| line.contains("no calibration")), "{:?}", heard.0);
    assert!(!heard.0.iter().any(|line| line.contains("gradients") || line.contains("calibrating")), "{:?}", heard.0);
    let model = load(&out);
    assert!(model.default_sparsity() > 0.2 && model.recipe().loss[0] < 0.02, "{:?}", model.recipe());
    // A text to calibrate on, and a dense file: no recipe is looked for.
    let with = |change: &dyn Fn(&mut PackOptions)| {
        let mut options = options.clone();
        change(&mut options);
        options
    };
    let mut heard = Heard::default();
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let other = with(&|o| (o.sparsity, o.tune, o.calibration) = (Some(vec![0.45]), 0, Some(text.clone())));
    let other = PackOptions { calibration_tokens: 64, allocation: Allocation::Uniform, ..other };
    let summary = pack(&other, &mut heard).unwrap();
    assert!(summary.recipe.is_none() && !heard.0.iter().any(|line| line.contains("recipe")), "{:?}", heard.0);
    let dense = with(&|o| o.sparsity = Some(vec![]));
    assert!(pack(&dense, &mut Silent).unwrap().recipe.is_none());
}
