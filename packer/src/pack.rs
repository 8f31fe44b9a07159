//! From a checkpoint to a `.rasp` file.

use crate::allocate::{self, Calibration, Search};
use crate::calibrate;
use crate::fisher;
use crate::import;
use crate::plan::{Plan, RecipeRequest};
use crate::progress::Progress;
use crate::quality::{self, Quality};
use crate::stage::{self, Stage};
use crate::tokenizer;
use crate::work::Work;
use rasp::format::{Allocation, Bytes, Config, File, LinearRecipe, Recipe, ScoreKind, TensorSpec, Writer, key};
use rasp::model::{LoadOptions, Model, WeightType};
use rasp::{Error, Result, Status};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to pack, and how.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// A GGUF file or a Hugging Face directory.
    pub input: PathBuf,
    /// The `.rasp` file to make. It appears, or is replaced, only once it is complete.
    pub output: PathBuf,
    /// Element type of the weight matrices.
    pub weight_type: WeightType,
    /// A text file to calibrate on. `None`: the model writes its own text.
    pub calibration: Option<PathBuf>,
    /// Tokens to calibrate on.
    pub calibration_tokens: usize,
    /// The ladder of sparsities, ascending. Empty: a dense file, which needs no calibration.
    pub sparsity: Vec<f32>,
    /// Share of every linear's budget that goes to input channels; the rest pays for a low rank.
    pub rho: f32,
    /// How a rung's sparsity is shared out among the linears.
    pub allocation: Allocation,
    /// How long to look for a better allocation than the scores alone give; for [`Allocation::Global`].
    pub search: Search,
    /// Exceptions from that, linear by linear.
    pub recipe: RecipeRequest,
    /// The most that the perplexity may rise on held-back calibration text (0.02 is 2%): the sparsest such setting becomes
    /// the file's default.
    pub quality: Option<f64>,
    /// Where to keep what long steps have found, so that an interrupted run can go on.
    pub work: Option<PathBuf>,
    /// Threads for calibration.
    pub threads: usize,
}

/// What was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What the checkpoint calls itself.
    pub name: String,
    /// Its family.
    pub architecture: String,
    /// Size of the file in bytes.
    pub file_bytes: u64,
    /// Bytes of the blocks' linear weights, dense, with their scales and minima.
    pub linear_bytes: u64,
    /// Bytes of the head that a greedy token reads: its 8-bit copy, or the head itself where that is in 8 bits.
    pub head_bytes: u64,
    /// Tokens calibrated on.
    pub calibration_tokens: usize,
    /// The sparsity that a session starts with.
    pub default_sparsity: f32,
    /// The ladder, and the share of linear traffic each rung is expected to keep.
    pub rungs: Vec<Rung>,
}

/// One rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
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
/// will compare with them. Then the tensors are copied behind a header that has the thresholds.
pub fn pack(options: &PackOptions, progress: &mut dyn Progress) -> Result<Summary> {
    let checkpoint = import::open(&options.input)?;
    let config = config(&checkpoint.config);
    config.validate()?;
    stage::check_shapes(&config, options.weight_type)?;
    let mut plan = Plan::new(&config, &options.sparsity, options.rho, options.allocation, &options.recipe)?;
    if options.quality.is_some() && plan.ladder.is_empty() {
        return Err(Error::new(Status::InvalidArgument, "a quality to be met needs a ladder of sparsities"));
    }
    let compiled = tokenizer::compile(&checkpoint.tokenizer, config.vocab_size)?;
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
    let (weight_type, undecided) = (options.weight_type, Measured::undecided(&plan));
    let write = |to: &Path, plan: &Plan, progress: &mut dyn Progress| -> Result<Vec<TensorSpec>> {
        let stage = Stage { checkpoint: &checkpoint, config: &config, tokenizer: &compiled, plan, weight_type };
        let metadata = metadata(&recipe(plan, weight_type, &undecided))?;
        let mut writer = Writer::create(to, &metadata, stage.tensors())?;
        stage.write(&mut writer, progress)?;
        writer.finish()?;
        Ok(stage.tensors())
    };

    if plan.ladder.is_empty() {
        write(&options.output, &plan, progress)?;
        return summary(options, &config, &plan, &undecided);
    }
    let staging = Temporary(staging_path(&options.output));
    let tensors = write(&staging.0, &plan, progress)?;
    let measured = measure(options, &mut plan, &staging.0, progress)?;
    let metadata = metadata(&recipe(&plan, weight_type, &measured))?;
    copy(&staging.0, &options.output, &metadata, tensors, progress)?;
    summary(options, &config, &plan, &measured)
}

/// What calibration tells.
struct Measured {
    tokens: usize,
    /// One a linear, each one a rung
    thresholds: Vec<Vec<f32>>,
    /// One a rung, or none
    losses: Vec<f64>,
    default_sparsity: f32,
}

impl Measured {
    /// Nothing yet.
    fn undecided(plan: &Plan) -> Measured {
        let thresholds = vec![vec![0.0; plan.ladder.len()]; plan.linears.len()];
        Measured { tokens: 0, thresholds, losses: Vec::new(), default_sparsity: 0.0 }
    }
}

/// Calibrates the staged model: its scores where they take a model to know, its thresholds, and what each rung costs.
/// Scores go into the staging file, the shares kept into the plan.
fn measure(options: &PackOptions, plan: &mut Plan, staging: &Path, progress: &mut dyn Progress) -> Result<Measured> {
    let threads = options.threads;
    let mut model = Model::load(staging, &LoadOptions::default())?;
    let tokens = calibration_tokens(options, &model, progress)?;
    let window = calibrate::window_len(&model);
    let (windows, held_back) = calibrate::windows(&tokens, window, options.calibration_tokens);
    // The gradients are those of the weights and the text; what is found with them depends on what was asked for.
    let source = source(options, &tokens)?;
    let asked = format!("{source}, sparsity {:?}, {:?}, {:?}", plan.ladder, plan.allocation, options.search);
    let gradients = Work::open(options.work.as_deref(), source)?;
    let work = Work::open(options.work.as_deref(), asked)?;
    if plan.score == ScoreKind::Fisher {
        let fisher = gradients.load("fisher")?;
        let save = |fisher: &fisher::Fisher| gradients.save("fisher", fisher);
        let fisher = fisher::measure(&model, &windows, threads, fisher, save, progress)?;
        let mut scores: Vec<Vec<f32>> =
            plan.linears.iter().enumerate().map(|(i, l)| fisher.score(i, l.outputs)).collect();
        model = with_scores(staging, model, plan, &scores)?;
        if plan.allocation == Allocation::Global && options.search.generations > 0 {
            let calibration = Calibration { model: &model, windows: &windows, threads };
            let known = work.load("search")?;
            let save = |found: &allocate::Found| work.save("search", found);
            let factors = allocate::search(&calibration, plan, options.search, known, save, progress)?;
            for (score, factor) in scores.iter_mut().zip(factors) {
                score.iter_mut().for_each(|c| *c /= factor);
            }
            model = with_scores(staging, model, plan, &scores)?;
        }
    }

    let calibration = Calibration { model: &model, windows: &windows, threads };
    let known = work.load("rungs")?.unwrap_or_default();
    let save = |rungs: &[allocate::Rung]| work.save("rungs", &rungs);
    let mut rungs = allocate::rungs(&calibration, plan, known, save, progress)?;

    let (mut losses, mut default_sparsity) = (Vec::new(), 0.0);
    if !held_back.is_empty() {
        let mut quality = Quality::new(&model, &held_back, threads)?;
        losses = quality::losses(&mut quality, &rungs, progress)?;
        if let Some(most) = options.quality {
            default_sparsity = quality::sparsest(&mut quality, &plan.ladder, &rungs, &losses, most, progress)?;
        }
    } else if options.quality.is_some() {
        let message = format!(
            "the calibration text is too short to hold some of it back for measuring quality: it has {} tokens; with \
             {window} a window, five windows would do",
            tokens.len()
        );
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let mut thresholds = vec![Vec::new(); plan.linears.len()];
    for (n, rung) in rungs.drain(..).enumerate() {
        for (linear, (threshold, share)) in rung.thresholds.into_iter().zip(rung.channels).enumerate() {
            thresholds[linear].push(threshold);
            plan.linears[linear].channels[n] = share;
        }
    }
    Ok(Measured { tokens: windows.iter().map(|w| w.len()).sum(), thresholds, losses, default_sparsity })
}

/// The staged model with other scores, one vector a linear. Takes the model as it was: its mapping must go before the file
/// under it changes.
fn with_scores(staging: &Path, model: Arc<Model>, plan: &Plan, scores: &[Vec<f32>]) -> Result<Arc<Model>> {
    drop(model);
    let names = plan.linears.iter().map(|linear| format!("{}.score", linear.name()));
    stage::overwrite(staging, names.zip(scores))?;
    Model::load(staging, &LoadOptions::default())
}

/// The calibration text, with some more to hold back where there is as much.
fn calibration_tokens(options: &PackOptions, model: &Arc<Model>, progress: &mut dyn Progress) -> Result<Vec<u32>> {
    let limit = options.calibration_tokens + quality::HELD_BACK * calibrate::window_len(model);
    match &options.calibration {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|e| {
                Error::new(Status::Io, format!("cannot read the calibration text {}: {e}", path.display()))
            })?;
            calibrate::text_tokens(model, &text, limit).map_err(|e| e.context(path.display()))
        }
        None => {
            progress.note("no --calib text: the model writes its own");
            calibrate::own_tokens(model, limit, options.threads, progress)
        }
    }
}

/// What the findings of a work directory depend on, in words and a checksum.
fn source(options: &PackOptions, tokens: &[u32]) -> Result<String> {
    let input = fs::metadata(&options.input)
        .map_err(|e| Error::new(Status::Io, format!("cannot read {}: {e}", options.input.display())))?;
    // FNV-1a, over the tokens.
    let hash = tokens
        .iter()
        .flat_map(|t| t.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Ok(format!(
        "{} ({} bytes) as {}, rho {}, recipe {:?}, {} tokens {hash:016x}",
        options.input.display(),
        input.len(),
        options.weight_type.name(),
        options.rho,
        options.recipe,
        tokens.len(),
    ))
}

fn config(from: &import::ModelConfig) -> Config {
    Config {
        architecture: from.architecture.clone(),
        name: from.name.clone(),
        vocab_size: from.vocab_size,
        hidden_size: from.hidden_size,
        intermediate_size: from.intermediate_size,
        num_layers: from.num_layers,
        num_heads: from.num_heads,
        num_kv_heads: from.num_kv_heads,
        head_dim: from.head_dim,
        context_length: from.context_length,
        rms_norm_eps: from.rms_norm_eps,
        tie_word_embeddings: from.tie_word_embeddings,
    }
}

/// The recipe as the file states it.
fn recipe(plan: &Plan, weight_type: WeightType, measured: &Measured) -> Recipe {
    let linears = plan.linears.iter().enumerate().map(|(i, linear)| {
        let recipe = LinearRecipe {
            rho: linear.rho,
            rank: linear.rank,
            thresholds: measured.thresholds.get(i).cloned().unwrap_or_default(),
            kept: (0..plan.ladder.len()).map(|rung| linear.kept(rung, weight_type) as f32).collect(),
        };
        (linear.name(), recipe)
    });
    Recipe {
        score: plan.score,
        sparsity: plan.ladder.clone(),
        allocation: plan.allocation,
        default_sparsity: measured.default_sparsity,
        loss: measured.losses.iter().map(|&loss| loss as f32).collect(),
        linears: linears.collect::<BTreeMap<_, _>>(),
    }
}

fn staging_path(output: &Path) -> PathBuf {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.stage", std::process::id()));
    output.with_file_name(name)
}

/// Copies the tensors of one file into another with other metadata.
fn copy(
    from: &Path,
    to: &Path,
    metadata: &[(&str, String)],
    tensors: Vec<TensorSpec>,
    progress: &mut dyn Progress,
) -> Result<()> {
    let file = File::open(Bytes::map(from)?)?;
    let mut writer = Writer::create(to, metadata, tensors.clone())?;
    progress.begin("completing the file", tensors.len() as u64);
    for tensor in &tensors {
        writer.tensor(&tensor.name, file.raw(&tensor.name)?)?;
        progress.advance(1);
    }
    progress.end();
    writer.finish()
}

fn summary(options: &PackOptions, config: &Config, plan: &Plan, measured: &Measured) -> Result<Summary> {
    let file_bytes = fs::metadata(&options.output)
        .map_err(|e| Error::new(Status::Io, format!("cannot read the size of {}: {e}", options.output.display())))?
        .len();
    let weights = plan.linears.iter().map(|l| l.weights() as u64).sum::<u64>();
    let linear_bytes = (weights as f64 * options.weight_type.bits_per_weight() / 8.0) as u64;
    // A row in 8 bits, with a scale, error and norm; in a quantized file the head itself, with a scale a group.
    let head_row = match options.weight_type.quant() {
        None => config.hidden_size + 3 * size_of::<f32>(),
        Some(_) => config.hidden_size + config.hidden_size / options.weight_type.block_unit() * size_of::<u16>(),
    };
    let head_bytes = (config.vocab_size * head_row) as u64;
    let rungs = plan.ladder.iter().zip(plan.kept(options.weight_type)).enumerate().map(|(n, (&sparsity, kept))| Rung {
        sparsity,
        kept,
        bytes_per_token: (kept * linear_bytes as f64) as u64 + head_bytes,
        loss: measured.losses.get(n).copied(),
    });
    Ok(Summary {
        name: config.name.clone(),
        architecture: config.architecture.clone(),
        file_bytes,
        linear_bytes,
        head_bytes,
        calibration_tokens: measured.tokens,
        default_sparsity: measured.default_sparsity,
        rungs: rungs.collect(),
    })
}
