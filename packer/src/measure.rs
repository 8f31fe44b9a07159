//! What calibration tells: scores, thresholds, weights that make up for what is dropped, and what each level costs.

use crate::active;
use crate::allocate::{self, Calibration};
use crate::calibrate::{self, HELD_BACK, Windows};
use crate::compensate::{FitSetting, compensate};
use crate::options::PackOptions;
use crate::plan::{Plan, RecipeRequest, Rule};
use crate::progress::Progress;
use crate::quality::{self, Cost, Limit, Quality};
use crate::recipe::CalibrationText;
use crate::scoring::{Scores, Scoring};
use crate::work::WorkFolder;
use rasp::format::{Allocation, Config, ScoreKind};
use rasp::model::{LoadOptions, Model};
use rasp::text::Tokenizer;
use rasp::{Error, Result, Status};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What calibration tells.
pub(crate) struct Measured {
    pub(crate) tokens: usize,
    /// One a linear, each one a level
    pub(crate) thresholds: Vec<Vec<f32>>,
    /// By how much a level's perplexity is above the dense model's; one a level, or none
    pub(crate) losses: Vec<f64>,
    /// All that was measured of its cost; one a level, or none: a recipe tells its losses alone
    pub(crate) costs: Vec<Cost>,
    pub(crate) default_sparsity: f32,
    /// The level that the weights were fitted to
    pub(crate) compensated: Option<f32>,
    /// What the default sparsity was chosen for
    pub(crate) quality: Option<Limit>,
    /// What it was told on; `None` if that is not known, or nothing was
    pub(crate) text: Option<CalibrationText>,
    /// Of each layer whose `up` is by outputs, the share that dense tokens read; of others none
    pub(crate) active: Vec<f32>,
}

impl Measured {
    /// Nothing yet.
    pub(crate) fn undecided(plan: &Plan) -> Measured {
        let thresholds = vec![vec![0.0; plan.levels.len()]; plan.linears.len()];
        Measured {
            tokens: 0,
            thresholds,
            losses: Vec::new(),
            costs: Vec::new(),
            default_sparsity: 0.0,
            compensated: None,
            quality: None,
            text: None,
            active: Vec::new(),
        }
    }
}

/// Calibrates the staged model: its scores where they take a model to know, its thresholds, weights that make up for
/// what is dropped if they are asked for, and what each level costs. Scores and weights go into the staging file, the
/// shares kept into the plan. `given` is the user's text, `taken` are scores to begin with.
pub(crate) fn measure(
    options: &PackOptions,
    plan: &mut Plan,
    staging: &Path,
    given: Option<&[u32]>,
    taken: Option<&Scores>,
    progress: &mut dyn Progress,
) -> Result<Measured> {
    let threads = options.threads;
    let mut model = Model::load(staging, &LoadOptions::default())?;
    let tokens = calibration_tokens(options, given, &model, progress)?;
    let text = Windows::new(&tokens, calibrate::window_len(model.config()), options.calibration_tokens);
    let (windows, held_back) = (&text.calibration, &text.held_back);
    let tuned = plan.allocation == Allocation::Global && options.tune > 0;
    let quality =
        options.quality.or(tuned.then_some(Limit::Loss(PackOptions::QUALITY))).filter(|_| !held_back.is_empty());
    match (options.quality, held_back.is_empty()) {
        // A text of the user's is long enough; one that the model writes may be asked for too short.
        (Some(_), true) => {
            let message = "too few --calib-tokens to hold a part of them back, on which quality is measured";
            return Err(Error::new(Status::InvalidArgument, message));
        }
        (None, true) if tuned => {
            progress.note("the text is too short to measure quality on: sessions will start dense");
        }
        _ => {}
    }
    // The gradients are those of the weights and the text; what is found with them depends on what was asked for.
    let source = source(options, &model, windows, taken)?;
    let asked = format!(
        "{source}, sparsity {:?}, {:?}, {:?}, tune {} on {}",
        plan.levels,
        plan.allocation,
        options.search,
        options.tune,
        checksum(text.more.iter().copied().flatten().copied())
    );
    let gradients = WorkFolder::open(options.work.as_deref(), source)?;
    let work = WorkFolder::open(options.work.as_deref(), asked.clone())?;
    if plan.score == ScoreKind::Fisher {
        let scoring = Scoring { options, plan, staging, text: &text, taken };
        let mut scores;
        (model, scores) = scoring.score(model, &gradients, progress)?;
        if plan.allocation == Allocation::Global {
            if options.search.generations > 0 {
                (model, scores) = scoring.search(model, scores, &work, progress)?;
            }
            if options.tune > 0 {
                model = scoring.tune(model, &scores, &work, progress)?;
            }
        }
    }

    let levels = |model: &Arc<Model>, work: &WorkFolder, name: &str, progress: &mut dyn Progress| {
        let calibration = Calibration { model, windows, threads };
        let known = work.load(name)?.unwrap_or_default();
        allocate::levels(&calibration, plan, known, |levels| work.save(name, &levels), progress)
    };
    let mut found = levels(&model, &work, "levels", progress)?;
    let dense = quality::dense(&model, held_back, threads)?;
    if let Some(compensation) = options.compensation {
        let level = compensation.level(&plan.levels)?;
        let ridge = compensation.ridge;
        let setting = FitSetting { windows, thresholds: &found[level].thresholds, ridge };
        let work = WorkFolder::open(options.work.as_deref(), format!("{asked}, {compensation:?}"))?;
        model = compensate(staging, model, &setting, &work, progress)?;
        // Other weights leave other inputs to those behind them: what a level keeps is found anew.
        found = levels(&model, &work, "levels-compensated", progress)?;
    }

    let (mut costs, mut default_sparsity) = (Vec::new(), 0.0);
    if !held_back.is_empty() {
        let mut measure = Quality::new(&model, held_back, &dense, threads)?;
        costs = quality::costs(&mut measure, &found, progress)?;
        if let Some(limit) = quality {
            default_sparsity = quality::sparsest(&mut measure, &plan.levels, &found, &costs, limit, progress)?;
        }
    }
    let losses = costs.iter().map(|cost| cost.loss).collect();
    let mut thresholds = vec![Vec::new(); plan.linears.len()];
    for (n, level) in found.into_iter().enumerate() {
        for (linear, (threshold, share)) in level.thresholds.into_iter().zip(level.channels).enumerate() {
            thresholds[linear].push(threshold);
            plan.linears[linear].channels[n] = share;
        }
    }
    let tokens = windows.iter().map(|w| w.len()).sum();
    let file = options.calibration.as_ref().and_then(|path| path.file_name());
    let text = CalibrationText {
        file: file.map(|name| name.to_string_lossy().into_owned()),
        tokens,
        checksum: format!("{:016x}", checksum(windows.iter().copied().flatten().copied())),
        tuning_steps: if plan.allocation == Allocation::Global { options.tune } else { 0 },
    };
    let compensated = options.compensation.map(|compensation| compensation.sparsity);
    let active = active::shares(&model, windows, threads)?;
    let text = Some(text);
    Ok(Measured { tokens, thresholds, losses, costs, default_sparsity, compensated, quality, text, active })
}

/// The recipe with a ρ for every linear, found on the staged model, which is dense. The user's own rules come after.
/// `planned` gives the plan of a recipe, `given` is the user's text, `taken` are scores to begin with.
pub(crate) fn search_rho(
    options: &PackOptions,
    plan: &Plan,
    planned: &dyn Fn(f32, &RecipeRequest) -> Result<Plan>,
    staging: &Path,
    given: Option<&[u32]>,
    taken: Option<&Scores>,
    progress: &mut dyn Progress,
) -> Result<RecipeRequest> {
    let threads = options.threads;
    let mut model = Model::load(staging, &LoadOptions::default())?;
    let tokens = calibration_tokens(options, given, &model, progress)?;
    let text = Windows::new(&tokens, calibrate::window_len(model.config()), options.calibration_tokens);
    let windows = &text.calibration;
    // What is found on the way belongs to a model without low ranks.
    let folder = options.work.as_ref().map(|work| work.join("rho"));
    let source =
        format!("{}, sparsity {:?}, {:?}", source(options, &model, windows, taken)?, plan.levels, options.search_rho);
    let work = WorkFolder::open(folder.as_deref(), source)?;
    if plan.score == ScoreKind::Fisher {
        (model, _) = Scoring { options, plan, staging, text: &text, taken }.score(model, &work, progress)?;
    }
    let recipe = |rho: &[f32]| {
        let own = plan.linears.iter().zip(rho);
        let own = own.map(|(linear, &rho)| Rule { linears: linear.name(), rho: Some(rho), sparsity: None });
        let rules = own.chain(options.recipe.rules.iter().cloned()).collect();
        RecipeRequest { rules, ..options.recipe.clone() }
    };
    let calibration = Calibration { model: &model, windows, threads };
    let planned = |rho: &[f32]| planned(1.0, &recipe(rho));
    let rho = allocate::search_rho(&calibration, &planned, plan.rank_level, options.search_rho, &work, progress)?;
    Ok(recipe(&rho))
}

/// The tokens of the user's calibration text, with some more to hold back where there is as much, and to tune on. Known
/// before anything is written, as is that they are enough.
pub(crate) fn given_tokens(options: &PackOptions, tokenizer: &Tokenizer, config: &Config) -> Result<Option<Vec<u32>>> {
    let Some(path) = &options.calibration else { return Ok(None) };
    let text = fs::read_to_string(path)
        .map_err(|e| Error::new(Status::Io, format!("cannot read the calibration text {}: {e}", path.display())))?;
    let window = calibrate::window_len(config);
    let tuning = (options.tune * window).saturating_sub(options.calibration_tokens);
    let limit = options.calibration_tokens + HELD_BACK * window + tuning;
    // The figures of METHOD, which sharing out uniformly reproduces, are of a text's beginning.
    let from_everywhere = options.allocation == Allocation::Global;
    let tokens = calibrate::text_tokens(tokenizer, window, &text, limit, from_everywhere);
    let tokens = tokens.map_err(|e| e.context(path.display()))?;
    // A fifth of them is held back for quality.
    let (windows, why) = match options.quality {
        Some(_) => (5, ", as a part is held back, on which quality is measured"),
        None => (1, ""),
    };
    if tokens.len() < windows * window {
        let message = format!(
            "{}: the calibration text is too short: it gives {} tokens in windows of {window}, of which {windows} are \
             needed{why}",
            path.display(),
            tokens.len(),
        );
        return Err(Error::new(Status::InvalidArgument, message));
    }
    Ok(Some(tokens))
}

/// The calibration text: the user's, or what the model writes.
fn calibration_tokens(
    options: &PackOptions,
    given: Option<&[u32]>,
    model: &Arc<Model>,
    progress: &mut dyn Progress,
) -> Result<Vec<u32>> {
    if let Some(tokens) = given {
        return Ok(tokens.to_vec());
    }
    // No more of it for tuning, which passes over it again.
    let limit = options.calibration_tokens + HELD_BACK * calibrate::window_len(model.config());
    progress.note("no --calib text: the model writes its own");
    calibrate::own_tokens(model, limit, options.threads, progress)
}

/// What the findings of a work directory depend on, in words and checksums.
fn source(options: &PackOptions, model: &Model, windows: &[&[u32]], taken: Option<&Scores>) -> Result<String> {
    let input = fs::metadata(&options.input)
        .map_err(|e| Error::new(Status::Io, format!("cannot read {}: {e}", options.input.display())))?;
    let tokens = windows.iter().copied().flatten().copied();
    let scores = taken.map_or(String::new(), |scores| {
        format!(", scores {:016x}", checksum(scores.iter().flatten().map(|score| score.to_bits())))
    });
    let up = if model.config().block.up_by_outputs { ", up by outputs" } else { "" };
    Ok(format!(
        "{} ({} bytes) as {}, rho {}, recipe {:?}, {} tokens {:016x}{scores}{up}",
        options.input.display(),
        input.len(),
        model.weight_type().name(),
        options.rho,
        options.recipe,
        tokens.clone().count(),
        checksum(tokens),
    ))
}

/// FNV-1a.
fn checksum(numbers: impl Iterator<Item = u32>) -> u64 {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    numbers.flat_map(u32::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, hash)
}
