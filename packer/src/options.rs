//! What to pack, and how.

use crate::allocate::Search;
use crate::compensate::Compensation;
use crate::plan::RecipeRequest;
use crate::quality::Limit;
use crate::recipe::RecipeSource;
use rasp::format::Allocation;
use rasp::model::WeightType;
use std::path::PathBuf;

/// What to pack, and how.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// A GGUF file or a Hugging Face directory.
    pub input: PathBuf,
    /// The `.rasp` file to make. It appears, or is replaced, only once it is complete.
    pub output: PathBuf,
    /// Whether whatever is at `output`, or where the recipe is saved, may be replaced. Else only an earlier file of the
    /// same model is.
    pub replace: bool,
    /// The context that the model is packed for, where its rotary frequencies hang on that (LongRoPE, dynamic NTK), or
    /// to promise less than it was trained for. `None`: what it was trained for, with LongRoPE the original context.
    pub context: Option<usize>,
    /// Element type of the weight matrices. `None`: the one nearest to what most of the checkpoint's weights are stored
    /// as. Q8_0, Q6_K, Q5_0, Q5_1, Q5_K and F8_E4M3 become [`WeightType::Q8`]; fewer bits become [`WeightType::Q4`] or
    /// [`WeightType::Q4S`], whichever loses less of these weights, but 4 of uneven steps (IQ4_NL, IQ4_XS, MXFP4) Q8;
    /// F16 and F32 become [`WeightType::F16`], or Bf16 if a weight overflows; BF16 stays that. What has channels that
    /// are no multiple of 32, as quantized weights need, is stored as if it were F16.
    pub weight_type: Option<WeightType>,
    /// A text file to calibrate on: windows of 512 tokens from everywhere in it, or with [`Allocation::Uniform`] its
    /// first. `None`: the model writes its own text.
    pub calibration: Option<PathBuf>,
    /// Tokens to calibrate on.
    pub calibration_tokens: usize,
    /// The sparsity levels, ascending. Empty: a dense file, which needs no calibration. `None`: those of the recipe, or
    /// 30 to 70% by tens.
    pub sparsity: Option<Vec<f32>>,
    /// Where scores and thresholds come from, if they are not to be found anew.
    pub recipe_from: RecipeSource,
    /// Where to write what was found, for other files of the model: a recipe.
    pub save_recipe: Option<PathBuf>,
    /// Share of every linear's budget that goes to input channels; the rest pays for a low rank.
    pub rho: f32,
    /// How a level's sparsity is shared out among the linears.
    pub allocation: Allocation,
    /// A packed file of the same model whose scores are taken over, in place of measuring them: scores that took long
    /// to tune serve every element type.
    pub scores: Option<PathBuf>,
    /// How long to look for a better allocation than the scores alone give; for [`Allocation::Global`].
    pub search: Search,
    /// Steps of gradient descent that fit the scores to what dropping channels does to the model's predictions; 0 for
    /// none; for [`Allocation::Global`]. A window of 512 tokens a step: those calibrated on, then others of the text
    /// as far as it lasts, then the first ones again.
    pub tune: usize,
    /// How long to search ρ of every linear, in place of [`rho`](PackOptions::rho).
    pub search_rho: Search,
    /// Positions at the beginning of a context whose tokens always pass densely. `None`: 1 with
    /// [`Allocation::Global`], which prices no attention sink, else 0.
    pub dense_prefix: Option<usize>,
    /// Weights that make up for what one level drops.
    pub compensation: Option<Compensation>,
    /// Exceptions from that, linear by linear.
    pub recipe: RecipeRequest,
    /// What a setting may cost on held-back calibration text: the sparsest such setting becomes the file's default.
    /// With a recipe, which tells of nothing else, a [`Limit::Loss`]. `None`: [`QUALITY`](PackOptions::QUALITY) where
    /// scores are tuned or a recipe tells of it, and there is text to hold back; else sessions start dense.
    pub quality: Option<Limit>,
    /// Whether the file gets a screen of its head, by which greedy tokens and small top k find the largest logits while
    /// they read a third to a half of the head. Without it the file is smaller: by 6% in 16 bits, by 9 to 16% in 4.
    pub screen: bool,
    /// Whether a row is left out even where it is so short that this takes as long as reading it: by default such
    /// linears are [read whole](rasp::model::Model::read_whole), which drops nothing.
    pub skip_short_rows: bool,
    /// Whether `up` is stored by inputs, as of other models, where the activation of the gate is exactly zero for some
    /// of it: by default it is stored by outputs, of which only those are read whose gate is not zero
    /// ([`Block::up_by_outputs`](rasp::model::Block::up_by_outputs)).
    pub up_by_inputs: bool,
    /// Where to keep what long steps have found, so that an interrupted run can go on.
    pub work: Option<PathBuf>,
    /// Threads, the engine's and the packer's own.
    pub threads: usize,
}

impl PackOptions {
    /// What `rasp pack INPUT -o OUTPUT` does, on one thread.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> PackOptions {
        PackOptions {
            input: input.into(),
            output: output.into(),
            replace: false,
            context: None,
            weight_type: None,
            calibration: None,
            calibration_tokens: PackOptions::CALIBRATION_TOKENS,
            sparsity: None,
            recipe_from: RecipeSource::Known,
            save_recipe: None,
            rho: 1.0,
            allocation: Allocation::Global,
            scores: None,
            search: Search::NONE,
            tune: PackOptions::TUNE,
            search_rho: Search::NONE,
            dense_prefix: None,
            compensation: None,
            recipe: RecipeRequest::default(),
            quality: None,
            screen: true,
            skip_short_rows: false,
            up_by_inputs: false,
            work: None,
            threads: 1,
        }
    }

    /// Sparsity levels if nobody says others.
    pub const SPARSITY: [f32; 5] = [0.3, 0.4, 0.5, 0.6, 0.7];

    /// What the default sparsity may cost if nobody says, as [`Limit::Loss`]: 2%.
    pub const QUALITY: f64 = 0.02;

    /// Tokens to calibrate on that give most of what there is to gain.
    pub const CALIBRATION_TOKENS: usize = 4096;

    /// Steps of [`tune`](PackOptions::tune) that give about half of what four times as many do
    /// (`docs/lab/2026-12-01-quality-noise-of-tuning.md`).
    pub const TUNE: usize = 24;
}
