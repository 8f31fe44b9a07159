//! From a checkpoint to a `.rasp` file.

use crate::head_screen::HeadScreen;
use crate::import;
use crate::litter;
use crate::measure::{Measured, measure, search_rho};
use crate::nearest::Choice;
use crate::options::PackOptions;
use crate::plan::{Plan, RecipeRequest};
use crate::progress::Progress;
use crate::scoring;
use crate::stage::{self, Stage};
use crate::tokenizer;
use rasp::format::{Allocation, Bytes, File, LinearRecipe, Recipe, TensorSpec, Writer, key};
use rasp::model::{LoadOptions, Model, WeightType};
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
    /// The sparsity that a session starts with.
    pub default_sparsity: f32,
    /// The sparsity levels, and the share of linear traffic each level is expected to keep.
    pub levels: Vec<Level>,
}

/// One sparsity level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The model-level sparsity asked for.
    pub sparsity: f32,
    /// Share of the linear weight bytes that the calibration text would have read: the channels kept, all scales and
    /// minima, and the low rank.
    pub kept: f64,
    /// Bytes of weights a token reads: the kept linear bytes and the head.
    pub bytes_per_token: u64,
    /// By how much the perplexity is above the dense model's on held-back calibration text, if that was measured.
    pub loss: Option<f64>,
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
/// will compare with them. Then the tensors are copied behind a header that has the thresholds, and the head's screen
/// goes with them.
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
    let read = [Some(&options.input), options.calibration.as_ref(), options.scores.as_ref()];
    litter::check_apart(&options.output, read.into_iter().flatten().map(PathBuf::as_path))?;
    let checkpoint = import::open_for(&options.input, options.context)?;
    if let Some(Err(error)) = checkpoint.chat_template.as_deref().map(check_template) {
        progress.note(&format!("the chat template cannot be used; the model can, without chats: {}", error.message()));
    }
    match litter::remove_old(&options.output) {
        0 => {}
        count => progress.note(&format!("removed {count} temporary files of runs that were killed")),
    }
    let config = checkpoint.config().clone();
    let choice = Choice::new(&checkpoint, options.weight_type)?;
    let weight_type = choice.weight_type;
    stage::check_shapes(&config, weight_type)?;
    if choice.automatic {
        let (file, source) = (file_name(&options.input), choice.source.words());
        progress.note(&format!("{file} holds {source}: packing as {}", weight_type.name()));
    }
    let planned =
        |rho: f32, recipe: &RecipeRequest| Plan::new(&config, &options.sparsity, rho, options.allocation, recipe);
    let mut plan = planned(options.rho, &options.recipe)?;
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
    let staging = Temporary(staging_path(&options.output));
    let write = |plan: &Plan, progress: &mut dyn Progress| -> Result<Vec<TensorSpec>> {
        let stage = Stage { checkpoint: &checkpoint, config: &config, tokenizer: &compiled, plan, weight_type };
        let metadata = metadata(&recipe(options, plan, weight_type, &undecided))?;
        let mut writer = Writer::create(&staging.0, &metadata, stage.tensors())?;
        stage.write(&mut writer, progress)?;
        writer.finish()?;
        Ok(stage.tensors())
    };

    let mut found = options.clone();
    if options.search_rho.generations > 0 {
        plan = planned(1.0, &options.recipe)?;
        write(&plan, progress)?;
        found.recipe = search_rho(options, &plan, &planned, &staging.0, taken.as_ref(), progress)?;
        plan = planned(1.0, &found.recipe)?;
    }
    let tensors = write(&plan, progress)?;
    let measured = match plan.levels.is_empty() {
        true => Measured::undecided(&plan),
        false => measure(&found, &mut plan, &staging.0, taken.as_ref(), progress)?,
    };
    let metadata = metadata(&recipe(options, &plan, weight_type, &measured))?;
    let model = Model::load(&staging.0, &LoadOptions::default())?;
    // A head with a bias has logits that no bound of its rows holds for.
    let wanted = options.screen && model.lm_head_bias().is_none();
    let screen = wanted.then(|| HeadScreen::new(model.clone(), options.threads)).transpose()?;
    // A head of few columns may be no larger than whole blocks of them.
    let screen = screen.filter(|screen| screen.bytes() < model.head_bytes());
    complete(&staging.0, &options.output, &metadata, tensors, screen.as_ref(), progress)?;
    let head_bytes = screen.map_or_else(|| model.head_bytes(), |screen| screen.bytes());
    summary(options, choice, &plan, &measured, &model, head_bytes)
}

/// Fails if the template cannot be compiled, as every chat would.
fn check_template(template: &str) -> Result<()> {
    ChatTemplate::with_tokens(template, None, None)?.check()
}

/// The recipe as the file states it.
fn recipe(options: &PackOptions, plan: &Plan, weight_type: WeightType, measured: &Measured) -> Recipe {
    let linears = plan.linears.iter().enumerate().map(|(i, linear)| {
        let recipe = LinearRecipe {
            rho: linear.rho,
            rank: linear.rank,
            thresholds: measured.thresholds.get(i).cloned().unwrap_or_default(),
            kept: (0..plan.levels.len()).map(|level| linear.kept(level, weight_type) as f32).collect(),
        };
        (linear.name(), recipe)
    });
    Recipe {
        score: plan.score,
        sparsity: plan.levels.clone(),
        allocation: plan.allocation,
        default_sparsity: measured.default_sparsity,
        loss: measured.losses.iter().map(|&loss| loss as f32).collect(),
        dense_prefix: options.dense_prefix.unwrap_or(match plan.allocation {
            Allocation::Global => 1,
            Allocation::Uniform => 0,
        }),
        compensated: measured.compensated,
        linears: linears.collect::<BTreeMap<_, _>>(),
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

/// Copies the tensors of one file into another with other metadata, and adds the head's screen if there is one.
fn complete(
    from: &Path,
    to: &Path,
    metadata: &[(&str, String)],
    tensors: Vec<TensorSpec>,
    screen: Option<&HeadScreen>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let file = File::open(Bytes::map(from)?)?;
    let more = screen.map(HeadScreen::tensors).unwrap_or_default();
    let mut writer = Writer::create(to, metadata, [tensors.as_slice(), &more].concat())?;
    progress.begin("completing the file", tensors.len() as u64 + 1);
    for tensor in &tensors {
        writer.tensor(&tensor.name, file.raw(&tensor.name)?)?;
        progress.advance(1);
    }
    screen.map_or(Ok(()), |screen| screen.write(&mut writer))?;
    progress.advance(1);
    progress.end();
    writer.finish()
}

fn summary(
    options: &PackOptions,
    choice: Choice,
    plan: &Plan,
    measured: &Measured,
    model: &Model,
    head_bytes: u64,
) -> Result<Summary> {
    let file_bytes = fs::metadata(&options.output)
        .map_err(|e| Error::new(Status::Io, format!("cannot read the size of {}: {e}", options.output.display())))?
        .len();
    let weights = plan.linears.iter().map(|l| l.weights() as u64).sum::<u64>();
    let linear_bytes = (weights as f64 * choice.weight_type.bits_per_weight() / 8.0) as u64;
    let levels =
        plan.levels.iter().zip(plan.kept(choice.weight_type)).enumerate().map(|(n, (&sparsity, kept))| Level {
            sparsity,
            kept,
            bytes_per_token: (kept * linear_bytes as f64) as u64 + head_bytes,
            loss: measured.losses.get(n).copied(),
        });
    Ok(Summary {
        name: model.config().name.clone(),
        architecture: model.config().architecture.clone(),
        weight_type: choice.weight_type,
        source: choice.source.words(),
        file_bytes,
        linear_bytes,
        head_bytes,
        calibration_tokens: measured.tokens,
        default_sparsity: measured.default_sparsity,
        levels: levels.collect(),
    })
}
