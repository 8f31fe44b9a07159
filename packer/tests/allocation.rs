//! Where the packer puts the sparsity, and what it says of it: on a tiny model.

#[path = "import/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
mod tiny;

use rasp::format::{Allocation, ScoreKind};
use rasp::model::{GroupKind, WeightType};
use rasp::session::Scorer;
use rasp::{LoadOptions, Model, Session, SessionOptions, Status};
use rasp_packer::{Compensation, Limit, PackOptions, Progress, RecipeRequest, Search, Silent, pack};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tiny::{checkpoint, options, output, packed};

fn load(path: &Path) -> Arc<Model> {
    Model::load(path, &LoadOptions { verify: true, ..Default::default() }).unwrap()
}

fn scores_of(model: &Model) -> Vec<Vec<f32>> {
    model.linears().map(|linear| linear.score().unwrap().to_vec()).collect()
}

/// The share of linear weights that sparse tokens of the calibration text read.
fn kept(model: &Arc<Model>, text: &str, sparsity: f32) -> f64 {
    let window = model.config().context_length.min(512);
    let mut scorer = Scorer::exact(model.clone(), window, 1).unwrap();
    scorer.set_sparsity(sparsity).unwrap();
    let mut tokens = Vec::new();
    model.tokenizer().encode(text, rasp::text::EncodeOptions::default(), &mut tokens).unwrap();
    for window in tokens[..256].chunks(window) {
        scorer.score(window, 0).unwrap();
    }
    let traffic = scorer.take_traffic();
    traffic.linear_bytes as f64 / (traffic.tokens * model.linear_bytes()) as f64
}

#[test]
fn one_threshold_keeps_the_share_asked_for_where_it_matters() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let summary = packed(&hf, |o| o.allocation = Allocation::Global).unwrap();
    let model = load(&output(&hf));
    let recipe = model.recipe();
    assert_eq!((recipe.score, recipe.allocation), (ScoreKind::Fisher, Allocation::Global));
    let text = fs::read_to_string(hf.path().join("calibration.txt")).unwrap();
    for (level, &sparsity) in summary.levels.iter().zip(&recipe.sparsity) {
        let found = kept(&model, &text, sparsity);
        assert!((found - f64::from(1.0 - sparsity)).abs() < 0.03, "{found} kept at {sparsity}");
        assert!((level.kept - found).abs() < 0.03, "{} promised, {found} found", level.kept);
    }
    // One threshold, many shares.
    let shares: Vec<f32> = recipe.linears.values().map(|l| l.kept[1]).collect();
    let thresholds: Vec<f32> = recipe.linears.values().map(|l| l.thresholds[1]).collect();
    assert!(thresholds.iter().all(|t| t == &thresholds[0]), "{thresholds:?}");
    let spread = shares.iter().fold(0.0f32, |a, &b| a.max(b)) - shares.iter().fold(1.0f32, |a, &b| a.min(b));
    assert!(spread > 0.05, "{shares:?}");
}

#[test]
fn a_rule_holds_beside_the_one_threshold() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let json = r#"{"rules": [{"linears": "layers.0.down", "sparsity": [0.0, 0.1]}]}"#;
    let recipe = RecipeRequest::parse(json).unwrap();
    packed(&hf, |o| (o.allocation, o.recipe) = (Allocation::Global, recipe)).unwrap();
    let model = load(&output(&hf));
    let down = &model.recipe().linears["layers.0.down"];
    assert!(down.kept[0] > 0.999 && (down.kept[1] - 0.9).abs() < 0.02, "{:?}", down.kept);
}

#[test]
fn low_ranks_go_with_one_threshold() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let summary = packed(&hf, |o| (o.allocation, o.rho) = (Allocation::Global, 0.6)).unwrap();
    assert!((summary.levels[1].kept - 0.5).abs() < 0.02, "{summary:?}");
    assert!(load(&output(&hf)).layers()[0].group(GroupKind::GateUp).linears()[0].rank() > 0);
}

#[test]
fn a_quality_becomes_the_files_default() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let make = |most: f64| -> rasp::Result<f32> {
        let summary = packed(&hf, |o| {
            (o.allocation, o.quality, o.calibration_tokens) = (Allocation::Global, Some(Limit::Loss(most)), 128);
        });
        let summary = summary?;
        assert!(summary.levels.iter().all(|level| level.loss.is_some_and(f64::is_finite)), "{summary:?}");
        let session = Session::open(load(&output(&hf)), &SessionOptions::default()).unwrap();
        assert_eq!(session.sparsity(), summary.default_sparsity);
        assert_eq!(load(&output(&hf)).recipe().quality, Some(most as f32));
        // The last level within it, or between that and the next.
        let last = summary.levels.iter().rfind(|level| level.loss.is_some_and(|loss| loss <= most));
        let last = last.map_or(0.0, |level| level.sparsity);
        let next = summary.levels.iter().map(|level| level.sparsity).find(|&level| level > last).unwrap_or(1.0);
        assert!((last..next).contains(&summary.default_sparsity), "{summary:?}");
        Ok(summary.default_sparsity)
    };
    // Any loss is allowed: the sparsest level.
    assert_eq!(make(1e6).unwrap(), 0.5);
    make(0.0).unwrap();
    for wrong in [-0.01, f64::NAN, f64::INFINITY] {
        assert_eq!(make(wrong).unwrap_err().status(), Status::InvalidArgument);
    }
}

#[test]
fn a_quality_may_be_a_divergence_or_a_share_of_greedy_tokens() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let make = |limit: Limit| {
        packed(&hf, |o| (o.allocation, o.quality, o.calibration_tokens) = (Allocation::Global, Some(limit), 128))
    };
    let first = make(Limit::Kl(1e6)).unwrap();
    assert_eq!(first.default_sparsity, 0.5, "any divergence is allowed");
    // The file states a quality where it is one of perplexity.
    assert_eq!(load(&output(&hf)).recipe().quality, None);
    assert_eq!(load(&output(&hf)).recipe().default_sparsity, 0.5);
    let costs: Vec<_> = first.levels.iter().map(|level| level.cost.unwrap()).collect();
    for (level, cost) in first.levels.iter().zip(&costs) {
        assert_eq!(level.loss, Some(cost.loss));
        assert!(cost.kl > 0.0 && (0.0..=1.0).contains(&cost.same_greedy), "{cost:?}");
    }
    assert!(costs[0].kl < costs[1].kl, "{costs:?}");
    // What the first level costs allows that level and not the second.
    let least = make(Limit::Kl(costs[0].kl)).unwrap();
    assert!((first.levels[0].sparsity..0.5).contains(&least.default_sparsity), "{least:?}");
    assert_eq!(make(Limit::Kl(0.0)).unwrap().default_sparsity, 0.0);
    assert_eq!(make(Limit::SameGreedy(0.0)).unwrap().default_sparsity, 0.5);
    let within = make(Limit::SameGreedy(costs[1].same_greedy)).unwrap();
    assert_eq!(within.default_sparsity, 0.5, "{costs:?}");
    for wrong in [Limit::Kl(-1.0), Limit::Kl(f64::NAN), Limit::SameGreedy(1.1), Limit::SameGreedy(f64::NAN)] {
        assert_eq!(make(wrong).unwrap_err().status(), Status::InvalidArgument, "{wrong:?}");
    }
}

#[test]
fn a_text_too_short_to_measure_on_is_named() {
    let hf = checkpoint("LlamaForCausalLM", true);
    fs::write(hf.path().join("calibration.txt"), "abc hijab").unwrap();
    let error = packed(&hf, |o| (o.allocation, o.quality) = (Allocation::Global, Some(Limit::Loss(0.02)))).unwrap_err();
    assert!(
        error.status() == Status::InvalidArgument
            && error.message().contains("6 tokens in windows of 64, of which 5 are"),
        "{error}"
    );
    let error = packed(&hf, |o| (o.sparsity, o.quality) = (Some(vec![]), Some(Limit::Loss(0.02)))).unwrap_err();
    assert!(error.message().contains("levels"), "{error}");
}

/// How far sparse predictions are from the dense ones of another file: the mean of `|log p - log q|` over what `from`
/// on passes sparsely.
fn distance(sparse: &Arc<Model>, dense: &Arc<Model>, text: &str, sparsity: f32) -> f64 {
    let mut tokens = Vec::new();
    dense.tokenizer().encode(text, rasp::text::EncodeOptions::default(), &mut tokens).unwrap();
    let window = dense.config().context_length.min(512);
    let mut scorers = [sparse, dense].map(|model| Scorer::exact(model.clone(), window, 1).unwrap());
    scorers[0].set_sparsity(sparsity).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for window in tokens[..256].chunks(window) {
        let p = scorers[0].score(window, 0).unwrap();
        let q = scorers[1].score(window, usize::MAX).unwrap();
        sum += p.iter().zip(&q).map(|(p, q)| (p.log_prob - q.log_prob).abs()).sum::<f64>();
        count += p.len();
    }
    sum / count as f64
}

#[test]
fn fitted_weights_are_nearer_to_the_dense_model_at_their_level() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let text = fs::read_to_string(hf.path().join("calibration.txt")).unwrap();
    packed(&hf, |o| o.allocation = Allocation::Global).unwrap();
    let original = load(&output(&hf));
    assert_eq!(original.recipe().compensated, None);
    let before = distance(&original, &original, &text, 0.5);
    for weight_type in [WeightType::BF16, WeightType::F16] {
        let compensation = Some(Compensation { sparsity: 0.5, ridge: 0.1 });
        packed(&hf, |o| {
            (o.allocation, o.compensation, o.weight_type) = (Allocation::Global, compensation, Some(weight_type));
        })
        .unwrap();
        let fitted = load(&output(&hf));
        assert_eq!(fitted.recipe().compensated, Some(0.5));
        let after = distance(&fitted, &original, &text, 0.5);
        assert!(after < 0.8 * before, "{after} for {before}, {}", weight_type.name());
    }
    let compensation = Some(Compensation { sparsity: 0.4, ridge: 0.1 });
    let error = packed(&hf, |o| o.compensation = compensation).unwrap_err();
    assert!(error.message().contains("none of the sparsities"), "{error}");
}

#[test]
fn tuned_scores_are_nearer_to_the_dense_model_for_the_same_traffic() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let text = fs::read_to_string(hf.path().join("calibration.txt")).unwrap();
    let mut options = options(&hf, &output(&hf));
    (options.allocation, options.sparsity) = (Allocation::Global, Some(vec![0.5]));
    pack(&options, &mut Silent).unwrap();
    let original = load(&output(&hf));
    let before = (distance(&original, &original, &text, 0.5), kept(&original, &text, 0.5));
    options.tune = 30;
    pack(&options, &mut Silent).unwrap();
    let whole = fs::read(output(&hf)).unwrap();
    let tuned = load(&output(&hf));
    let after = (distance(&tuned, &original, &text, 0.5), kept(&tuned, &text, 0.5));
    assert!(after.0 < 0.9 * before.0 && after.1 < before.1 + 0.01, "{after:?} for {before:?}");

    // Interrupted in the middle, and with all threads: the same file.
    let work = hf.path().join("work");
    (options.work, options.threads) = (Some(work.clone()), 2);
    let run = std::panic::AssertUnwindSafe(|| pack(&options, &mut Interrupted::new("tuning", 11)));
    assert!(std::panic::catch_unwind(run).is_err() && work.join("tune.json").exists());
    let mut stages = Stages(Vec::new());
    pack(&options, &mut stages).unwrap();
    assert!(fs::read(output(&hf)).unwrap() == whole);
    assert!(stages.0.iter().any(|note| note.starts_with("tuned: ")), "{:?}", stages.0);
}

#[test]
fn levels_go_on_as_if_they_had_never_stopped() {
    for architecture in ["Qwen2ForCausalLM", "LlamaForCausalLM"] {
        let hf = checkpoint(architecture, true);
        let mut options = options(&hf, &output(&hf));
        options.sparsity = Some(vec![0.3, 0.4, 0.5, 0.6]);
        (options.allocation, options.tune, options.calibration_tokens) = (Allocation::Global, 16, 1024);
        pack(&options, &mut Silent).unwrap();
        let whole = fs::read(output(&hf)).unwrap();
        let work = hf.path().join("work");
        options.work = Some(work.clone());
        pack(&options, &mut Silent).unwrap();
        // As a run leaves it that is stopped after so many levels: the next begins with what is known of the last.
        let path = work.join("levels.json");
        let all: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for known in 1..4 {
            let mut levels = all.clone();
            levels["found"].as_array_mut().unwrap().truncate(known);
            fs::write(&path, levels.to_string()).unwrap();
            pack(&options, &mut Silent).unwrap();
            assert!(fs::read(output(&hf)).unwrap() == whole, "{architecture}, {known} levels known");
        }
    }
}

#[test]
fn tuning_goes_on_where_calibration_ends() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let text = fs::read_to_string(hf.path().join("calibration.txt")).unwrap();
    let scores = |text: &str, tune: usize| {
        fs::write(hf.path().join("calibration.txt"), text).unwrap();
        packed(&hf, |o| (o.allocation, o.calibration_tokens, o.tune) = (Allocation::Global, 64, tune)).unwrap();
        scores_of(&load(&output(&hf)))
    };
    let (before, after) = text.split_at(text.len() / 2);
    let other = [before, &after.replace("cab", "bac")].concat();
    // The other text is neither calibrated on nor held back, and so few steps do not come that far.
    for steps in [0, 1] {
        assert_eq!(scores(&text, steps), scores(&other, steps));
    }
    assert_ne!(scores(&text, 12), scores(&other, 12));
}

#[test]
fn scores_found_once_serve_every_element_type() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let first = hf.path().join("first.rasp");
    packed(&hf, |o| (o.allocation, o.tune, o.output) = (Allocation::Global, 3, first.clone())).unwrap();
    let found = scores_of(&load(&first));
    // Other weights, and another text, which has scores of its own.
    let work = hf.path().join("work");
    let other = |options: &mut PackOptions| {
        options.allocation = Allocation::Global;
        (options.weight_type, options.calibration_tokens) = (Some(WeightType::F16), 128);
        options.work = Some(work.clone());
    };
    packed(&hf, other).unwrap();
    assert_ne!(scores_of(&load(&output(&hf))), found);
    fs::remove_dir_all(&work).unwrap();
    let taking = |options: &mut PackOptions| {
        other(options);
        options.scores = Some(first.clone());
    };
    packed(&hf, taking).unwrap();
    let model = load(&output(&hf));
    assert!(model.weight_type() == WeightType::F16 && scores_of(&model) == found);
    // Thresholds are found anew, and not by the scores of others: those say so in the work folder.
    assert!(work.join("levels.json").exists() && !work.join("fisher.json").exists());
    let error = packed(&hf, other).unwrap_err();
    assert!(error.message().contains("levels.json was made from"), "{error}");
    fs::remove_dir_all(&work).unwrap();
    // They can be tuned further.
    packed(&hf, |o| {
        taking(o);
        o.tune = 2;
    })
    .unwrap();
    assert_ne!(scores_of(&load(&output(&hf))), found);
}

#[test]
fn scores_of_others_are_refused() {
    let hf = checkpoint("Qwen2ForCausalLM", true);
    let refused = |change: &dyn Fn(&mut PackOptions), path: &Path| {
        let error = packed(&hf, |o| {
            (o.allocation, o.scores) = (Allocation::Global, Some(path.to_path_buf()));
            change(o);
        });
        let error = error.unwrap_err();
        assert!(error.message().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
        error
    };
    let own = hf.path().join("own.rasp");
    packed(&hf, |o| o.output = own.clone()).unwrap();
    let error = refused(&|_| (), &own);
    assert!(error.message().contains("not fisher's"), "{error}");
    let error = refused(&|o| o.allocation = Allocation::Uniform, &own);
    assert!(error.message().contains("only where sparsity is shared out by the score fisher"), "{error}");
    let error = refused(&|_| (), &hf.path().join("none.rasp"));
    assert_eq!(error.status(), rasp::Status::Io);
    let llama = checkpoint("LlamaForCausalLM", true);
    packed(&llama, |o| o.allocation = Allocation::Global).unwrap();
    let error = refused(&|_| (), &output(&llama));
    assert!(error.message().contains("another model: architecture is \"llama\", not \"qwen2\""), "{error}");
}

/// Ends a run in the middle: in a stage, after so many steps of it.
struct Interrupted {
    stage: &'static str,
    after: u64,
    on: bool,
}

impl Interrupted {
    fn new(stage: &'static str, after: u64) -> Interrupted {
        Interrupted { stage, after, on: false }
    }

    fn stop_when_due(&self) {
        if self.on && self.after == 0 {
            std::panic::resume_unwind(Box::new("interrupted"));
        }
    }
}

impl Progress for Interrupted {
    fn begin(&mut self, what: &str, _: u64) {
        self.on = what.contains(self.stage);
        self.stop_when_due();
    }
    fn advance(&mut self, by: u64) {
        if self.on {
            self.after = self.after.saturating_sub(by);
        }
        self.stop_when_due();
    }
    fn end(&mut self) {}
    fn note(&mut self, _: &str) {}
}

/// Hears which stages begin, and what is noted.
struct Stages(Vec<String>);

impl Progress for Stages {
    fn begin(&mut self, what: &str, _: u64) {
        self.0.push(what.to_string());
    }
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, line: &str) {
        self.0.push(line.to_string());
    }
}

#[test]
fn rho_is_searched_within_the_budget_and_goes_on_where_it_was() {
    for (allocation, weight_type) in [(Allocation::Global, WeightType::BF16), (Allocation::Uniform, WeightType::F16)] {
        let hf = checkpoint("Qwen2ForCausalLM", true);
        let mut options = options(&hf, &output(&hf));
        (options.allocation, options.weight_type) = (allocation, Some(weight_type));
        options.search_rho = Search { generations: 2, population: 5, seed: 1 };
        let mut stages = Stages(Vec::new());
        let summary = pack(&options, &mut stages).unwrap();
        assert!((summary.levels[1].kept - 0.5).abs() < 0.02, "{summary:?}");
        let whole = fs::read(output(&hf)).unwrap();
        let linears = load(&output(&hf)).recipe().linears.clone();
        assert!(linears.values().all(|l| (0.7..=1.0).contains(&l.rho) && (l.rank > 0) <= (l.rho < 1.0)));
        // Candidates replace others only if they cost less; the first of all is rho = 1.
        let note = stages.0.iter().find(|note| note.starts_with("search of rho")).unwrap();
        let costs: Vec<f64> = note.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(costs[1] <= costs[0], "{note}");
        assert_eq!(costs[2] as usize, linears.values().filter(|l| l.rho < 1.0).count(), "{note}");

        let work = hf.path().join("work");
        options.work = Some(work.clone());
        let run = std::panic::AssertUnwindSafe(|| pack(&options, &mut Interrupted::new("measuring", 0)));
        assert!(std::panic::catch_unwind(run).is_err() && work.join("rho/rho.0.json").exists());
        pack(&options, &mut Silent).unwrap();
        assert!(fs::read(output(&hf)).unwrap() == whole);
    }
}

#[test]
fn an_interrupted_run_goes_on_and_ends_the_same() {
    let hf = checkpoint("LlamaForCausalLM", true);
    let work = hf.path().join("work");
    let mut options = options(&hf, &output(&hf));
    options.allocation = Allocation::Global;
    pack(&options, &mut Silent).unwrap();
    let whole = fs::read(output(&hf)).unwrap();
    fs::remove_file(output(&hf)).unwrap();

    options.work = Some(work.clone());
    // The second level is not reached.
    let run = std::panic::AssertUnwindSafe(|| pack(&options, &mut Interrupted::new("0.50", 0)));
    assert!(std::panic::catch_unwind(run).is_err());
    assert!(!output(&hf).exists() && work.join("fisher.json").exists() && work.join("levels.json").exists());
    let mut stages = Stages(Vec::new());
    pack(&options, &mut stages).unwrap();
    assert!(fs::read(output(&hf)).unwrap() == whole);
    assert!(!stages.0.iter().any(|stage| stage.contains("0.30")), "{:?}", stages.0);

    // Fitting goes on too: with the first block's weights, and with all but the last.
    options.work = None;
    options.compensation = Some(Compensation { sparsity: 0.5, ridge: 0.3 });
    pack(&options, &mut Silent).unwrap();
    let whole = fs::read(output(&hf)).unwrap();
    options.work = Some(work.clone());
    pack(&options, &mut Silent).unwrap();
    assert!(fs::read(output(&hf)).unwrap() == whole);
    fs::remove_file(work.join("compensated.1.bin")).unwrap();
    pack(&options, &mut Silent).unwrap();
    assert!(fs::read(output(&hf)).unwrap() == whole);

    // The same folder for another text is refused.
    fs::write(hf.path().join("calibration.txt"), "jig cab ".repeat(200)).unwrap();
    let error = pack(&options, &mut Silent).unwrap_err();
    assert!(error.message().contains("--work"), "{error}");
}
