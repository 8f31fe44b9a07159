//! From a checkpoint to a `.rasp` file.

use crate::calibrate;
use crate::disk;
use crate::forecast::Forecast;
use crate::head_screen::HeadScreen;
use crate::import::{self, Checkpoint};
use crate::litter;
use crate::measure::{Measured, given_tokens, measure, search_rho};
use crate::nearest::ChosenType;
use crate::options::PackOptions;
use crate::plan::{Plan, RecipeRequest};
use crate::progress::Progress;
use crate::quality::{Cost, Limit};
use crate::recipe::{self, CalibrationText, ModelIdentity, RecipeSource, TunedRecipe};
use crate::replace;
use crate::scoring;
use crate::stage::{self, StagedModel};
use crate::stages::stages;
use crate::tokenizer;
use rasp::format::{Allocation, Config, LinearRecipe, Recipe, TensorSpec, Writer, key};
use rasp::model::{LinearKind, LoadOptions, Model, WeightType};
use rasp::session::MAX_THREADS;
use rasp::text::ChatTemplate;
use rasp::{Error, Result, Status};
use rayon::ThreadPoolBuilder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the checkpoint calls itself.
    pub name: String,
    /// Its family.
    pub architecture: String,
    /// It has a chat template that can be used.
    pub chat: bool,
    /// How the file stores weights.
    pub weight_type: WeightType,
    /// What the checkpoint stores them as, in words: `Q4_1 weights`.
    pub source: String,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Bytes of the blocks' linear weights, dense, with their scales and minima.
    pub linear_bytes: u64,
    /// Bytes of the head that a greedy token reads: its screen, if it has one.
    pub head_bytes: u64,
    /// Tokens calibrated on.
    pub calibration_tokens: usize,
    /// The recipe that it was packed with, if it was.
    pub recipe: Option<RecipeUsed>,
    /// The sparsity that a session starts with.
    pub default_sparsity: f32,
    /// What that was chosen for, if it was.
    pub quality: Option<Limit>,
    /// The sparsity levels, and the share of linear traffic each level is expected to keep.
    pub levels: Vec<Level>,
}

/// One sparsity level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The model-level sparsity asked for.
    pub sparsity: f32,
    /// Share of the linear weight bytes that the calibration text would have read: the channels kept, all scales and
    /// minima, the low rank, and all of what is [read whole](Model::read_whole).
    pub kept: f64,
    /// Bytes of weights a token reads: the kept linear bytes and the head.
    pub bytes_per_token: u64,
    /// By how much the perplexity is above the dense model's on held-back calibration text, if that was measured.
    pub loss: Option<f64>,
    /// All that it costs there, if it was measured now: a recipe tells the loss alone.
    pub cost: Option<Cost>,
}

/// The recipe that a file was packed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeUsed {
    /// What the model was called that it was found on.
    pub model: String,
    /// The text it was found on, where that is known.
    pub text: Option<CalibrationText>,
}

/// A file that is removed when done with.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Packs a checkpoint.
///
/// All tensors are first written to a staging file beside the output, one layer in memory at a time. That file is
/// already a working dense model: the engine itself runs it for calibration, so thresholds are of the very numbers it
/// will compare with them. Then its header gives way to one that has the thresholds, the head's screen goes behind its
/// tensors, and it becomes the output.
pub fn pack(options: &PackOptions, progress: &mut dyn Progress) -> Result<Summary> {
    if !(1..=MAX_THREADS).contains(&options.threads) {
        let message = format!("{} threads; packing takes 1 to {MAX_THREADS}", options.threads);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    // What the engine does not compute runs on threads of the pool it is called from.
    let pool = ThreadPoolBuilder::new().num_threads(options.threads).build();
    let pool = pool.map_err(|e| Error::new(Status::Internal, format!("{} threads: {e}", options.threads)))?;
    pool.install(|| pack_here(options, progress))
}

/// The same on the threads of this pool.
fn pack_here(options: &PackOptions, progress: &mut dyn Progress) -> Result<Summary> {
    let given = if let RecipeSource::File(path) = &options.recipe_from { Some(path) } else { None };
    let read = [Some(&options.input), options.calibration.as_ref(), options.scores.as_ref(), given];
    for output in [Some(&options.output), options.save_recipe.as_ref()].into_iter().flatten() {
        litter::check_apart(output, read.into_iter().flatten().map(PathBuf::as_path))?;
    }
    let mut checkpoint = import::open_for(&options.input, options.context)?;
    if !options.up_by_inputs && checkpoint.store_up_by_outputs() {
        let activation = checkpoint.config().block.activation.name();
        progress.note(&format!(
            "gates of {activation} are exactly zero in part: up is stored by outputs, and read where they are not \
             (--up-by-inputs stores it as of other models)"
        ));
    }
    if let Some(Err(error)) = checkpoint.chat_template.as_deref().map(check_template) {
        progress.note(&format!("the chat template cannot be used; the model can, without chats: {}", error.message()));
    }
    let outputs = [Some(&options.output), options.save_recipe.as_ref()].into_iter().flatten();
    match outputs.map(|output| litter::remove_old(output)).sum::<usize>() {
        0 => {}
        count => progress.note(&format!("removed {count} temporary files of runs that were killed")),
    }
    let config = checkpoint.config().clone();
    let identity = ModelIdentity::of_checkpoint(&checkpoint)?;
    if !options.replace {
        replace::check_packed(&options.output, &identity)?;
        options.save_recipe.as_ref().map_or(Ok(()), |path| replace::check_recipe(path, &identity))?;
    }
    let choice = ChosenType::new(&checkpoint, options.weight_type)?;
    let weight_type = choice.weight_type;
    stage::check_shapes(&config, weight_type)?;
    if choice.automatic {
        let (file, source) = (file_name(&options.input), choice.source.words());
        progress.note(&format!("{file} holds {source}: packing as {}", weight_type.name()));
    }
    let tuned = recipe::chosen(options, &identity, progress)?;
    let levels = match (&options.sparsity, &options.recipe_from) {
        (Some(levels), _) => levels.as_slice(),
        (None, RecipeSource::KnownOrDense) if tuned.is_none() => &[],
        (None, _) => &PackOptions::SPARSITY,
    };
    let planned = |rho: f32, recipe: &RecipeRequest| Plan::new(&config, levels, rho, options.allocation, recipe);
    let mut plan = match &tuned {
        Some(tuned) => tuned.plan(&config)?,
        None => planned(options.rho, &options.recipe)?,
    };
    options.save_recipe.as_ref().map_or(Ok(()), |_| recipe::check_saving(options, &identity, &plan))?;
    if let (Some(limit), Some(tuned)) = (options.quality, &tuned) {
        if limit.loss().is_none() {
            let message =
                "a recipe tells what its levels cost in perplexity alone: for a quality in another unit calibrate";
            return Err(Error::new(Status::InvalidArgument, message));
        }
        if tuned.ppl_increase.is_empty() {
            let message = "a quality to be met, and a recipe that does not tell what its levels cost";
            return Err(Error::new(Status::InvalidArgument, message));
        }
    }
    options.quality.map_or(Ok(()), Limit::check)?;
    if options.quality.is_some() && plan.levels.is_empty() {
        return Err(Error::new(Status::InvalidArgument, "a quality to be met needs sparsity levels"));
    }
    if let Some(compensation) = &options.compensation {
        compensation.level(&plan.levels)?;
    }
    let taken = options.scores.as_ref().map(|path| scoring::taken_over(path, &config, &plan)).transpose()?;
    let compiled = tokenizer::compile(&checkpoint.tokenizer, config.vocab_size)?;
    for token in &compiled.left_out {
        progress.note(&format!("added token {token} has no row in the embedding and is left out"));
    }
    let dense_prefix = match (options.dense_prefix, &tuned, plan.allocation) {
        (Some(asked), ..) => asked,
        (None, Some(tuned), _) => tuned.dense_prefix,
        (None, None, Allocation::Global) => 1,
        (None, None, Allocation::Uniform) => 0,
    };
    let metadata = |recipe: &Recipe| -> Result<Vec<(&str, String)>> {
        let json = |e: serde_json::Error| Error::new(Status::Internal, e.to_string());
        let mut metadata = vec![
            (key::CONFIG, serde_json::to_string(&config).map_err(json)?),
            (key::RECIPE, serde_json::to_string(recipe).map_err(json)?),
            (key::TOKENIZER, compiled.settings_json.clone()),
        ];
        if let Some(template) = &checkpoint.chat_template {
            metadata.push((key::CHAT_TEMPLATE, template.clone()));
        }
        Ok(metadata)
    };
    let undecided = Measured::undecided(&plan);
    let scores = tuned.as_ref().map(TunedRecipe::scores);
    let staging = Temporary(staging_path(&options.output));
    // What cannot be calibrated on should not cost the writing of weights.
    let calibrates = tuned.is_none() && !plan.levels.is_empty();
    let given = match calibrates {
        true => given_tokens(options, &compiled.open_at(&staging.0)?, &config)?,
        false => None,
    };
    let given = given.as_deref();
    let (checkpoint, scores) = (&checkpoint, scores.as_ref());
    let (config, tokenizer) = (&config, &compiled);
    let write = |plan: &Plan, progress: &mut dyn Progress| -> Result<Vec<TensorSpec>> {
        let stage = StagedModel { checkpoint, config, tokenizer, plan, scores, weight_type };
        let metadata = metadata(&stated(options, plan, weight_type, &undecided, dense_prefix))?;
        let tensors = stage.tensors();
        // One is there already when a search has found out how to write another.
        let _ = fs::remove_file(&staging.0);
        disk::check_room(&options.output, &[tensors.as_slice(), &HeadScreen::tensors(config)].concat())?;
        let mut writer = litter::create(&staging.0, &metadata, tensors.clone(), header_room(plan))?;
        stage.write(&mut writer, progress)?;
        litter::finish(writer)?;
        Ok(tensors)
    };

    let window = calibrate::window_len(config);
    let stages = stages(options, &plan, calibrates, given.is_some(), taken.is_some(), window);
    if calibrates {
        let stage = StagedModel { checkpoint, config, tokenizer, plan: &plan, scores, weight_type };
        let disk = disk::needed(&stage.tensors()) + disk::needed(&HeadScreen::tensors(config));
        progress.note(&Forecast::new(config, options, &stages, disk).words());
    }
    progress.expect(stages);
    let mut found = options.clone();
    if options.search_rho.generations > 0 {
        plan = planned(1.0, &options.recipe)?;
        write(&plan, progress)?;
        found.recipe = search_rho(options, &plan, &planned, &staging.0, given, taken.as_ref(), progress)?;
        plan = planned(1.0, &found.recipe)?;
    }
    let tensors = write(&plan, progress)?;
    let measured = match &tuned {
        _ if plan.levels.is_empty() => Measured::undecided(&plan),
        Some(tuned) => tuned.measured(Some(options.quality.and_then(Limit::loss).unwrap_or(PackOptions::QUALITY))),
        None => measure(&found, &mut plan, &staging.0, given, taken.as_ref(), progress)?,
    };
    let metadata = metadata(&stated(options, &plan, weight_type, &measured, dense_prefix))?;
    let model = Model::load(&staging.0, &LoadOptions::default())?;
    if let Some(path) = &options.save_recipe {
        match &tuned {
            Some(tuned) => tuned.save(path)?,
            None => TunedRecipe::found(identity, &plan, &measured, dense_prefix, &model).save(path)?,
        }
        progress.note(&format!("the recipe is in {}", path.display()));
    }
    // A head of few columns may be no larger than whole blocks of them.
    let smaller = HeadScreen::bytes(config) < model.head_bytes();
    // A head with a bias has logits that no bound of its rows holds for.
    let wanted = options.screen && model.lm_head_bias().is_none() && smaller;
    let head_bytes = if wanted { HeadScreen::bytes(config) } else { model.head_bytes() };
    let screen = wanted.then(|| HeadScreen::new(model, options.threads)).transpose()?;
    complete(&staging.0, &options.output, config, &metadata, &tensors, screen, progress)?;
    let recipe = tuned.map(|tuned| RecipeUsed { model: tuned.model.name, text: tuned.text });
    summary(options, checkpoint, choice, &plan, &measured, head_bytes, recipe)
}

/// Fails if the template cannot be compiled, as every chat would.
fn check_template(template: &str) -> Result<()> {
    ChatTemplate::with_tokens(template, None, None)?.check()
}

/// The recipe as the file states it.
fn stated(
    options: &PackOptions,
    plan: &Plan,
    weight_type: WeightType,
    measured: &Measured,
    dense_prefix: usize,
) -> Recipe {
    let linears = plan.linears.iter().enumerate().map(|(i, linear)| {
        let recipe = LinearRecipe {
            rho: linear.rho,
            rank: linear.rank,
            thresholds: measured.thresholds.get(i).cloned().unwrap_or_default(),
            kept: (0..plan.levels.len()).map(|level| linear.kept(level, weight_type) as f32).collect(),
        };
        (linear.name(), recipe)
    });
    // Of an `up` by outputs all there is to say is how much of it is read, at any level.
    let levels = plan.levels.len();
    let up = measured.active.iter().enumerate().map(|(layer, &share)| {
        let (thresholds, kept) = (vec![0.0; levels], vec![share; levels]);
        (LinearKind::Up.name_in(layer), LinearRecipe { rho: 1.0, rank: 0, thresholds, kept })
    });
    Recipe {
        score: plan.score,
        sparsity: plan.levels.clone(),
        allocation: plan.allocation,
        default_sparsity: measured.default_sparsity,
        quality: measured.quality.and_then(Limit::loss).map(|most| most as f32),
        loss: measured.losses.iter().map(|&loss| loss as f32).collect(),
        dense_prefix,
        skip_short_rows: options.skip_short_rows,
        compensated: measured.compensated,
        linears: linears.chain(up).collect::<BTreeMap<_, _>>(),
    }
}

/// The last part of a path, for people.
fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn staging_path(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.stage", std::process::id()));
    output.with_file_name(name)
}

/// What the header may grow by when all is measured: its numbers, and the tensors of a screen.
fn header_room(plan: &Plan) -> usize {
    // `-1.1754944e-38` and a comma.
    const NUMBER: usize = 16;
    const OTHER: usize = 4096;
    NUMBER * (2 * plan.linears.len() + 1) * plan.levels.len() + OTHER
}

/// Makes the staging file the output: with other metadata, and the head's screen if there is one.
fn complete(
    staging: &Path,
    output: &Path,
    config: &Config,
    metadata: &[(&str, String)],
    tensors: &[TensorSpec],
    screen: Option<HeadScreen>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let more = if screen.is_some() { HeadScreen::tensors(config) } else { Vec::new() };
    let mut writer = Writer::rewrite(staging, output, metadata, [tensors, &more].concat())?;
    progress.begin("completing the file", tensors.len() as u64 + 1);
    for tensor in tensors {
        writer.keep(&tensor.name)?;
        progress.advance(1);
    }
    screen.map_or(Ok(()), |screen| screen.write(&mut writer))?;
    progress.advance(1);
    progress.end();
    litter::finish(writer)
}

fn summary(
    options: &PackOptions,
    checkpoint: &Checkpoint,
    choice: ChosenType,
    plan: &Plan,
    measured: &Measured,
    head_bytes: u64,
    recipe: Option<RecipeUsed>,
) -> Result<Summary> {
    let file_bytes = fs::metadata(&options.output)
        .map_err(|e| Error::new(Status::Io, format!("cannot read the size of {}: {e}", options.output.display())))?
        .len();
    let model = Model::load(&options.output, &LoadOptions::default())?;
    let linear_bytes = model.linear_bytes();
    let level = |(n, &sparsity): (usize, &f32)| -> Result<Level> {
        let kept = model.expected_traffic(sparsity)?.kept;
        Ok(Level {
            sparsity,
            kept,
            bytes_per_token: (kept * linear_bytes as f64) as u64 + head_bytes,
            loss: measured.losses.get(n).copied(),
            cost: measured.costs.get(n).copied(),
        })
    };
    let levels = plan.levels.iter().enumerate().map(level).collect::<Result<_>>()?;
    Ok(Summary {
        name: checkpoint.config().name.clone(),
        architecture: checkpoint.config().architecture.clone(),
        weight_type: choice.weight_type,
        chat: checkpoint.chat_template.as_deref().is_some_and(|template| check_template(template).is_ok()),
        source: choice.source.words(),
        file_bytes,
        linear_bytes,
        head_bytes,
        calibration_tokens: measured.tokens,
        recipe,
        default_sparsity: measured.default_sparsity,
        quality: measured.quality,
        levels,
    })
}
