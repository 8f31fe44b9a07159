//! Where a recipe comes from: a file, or those that are known, found by the model's identity.

use super::{ModelIdentity, TunedRecipe};
use crate::options::PackOptions;
use crate::plan::{Plan, RecipeRequest};
use crate::progress::Progress;
use rasp::format::{Allocation, Bytes, ScoreKind, read_header};
use rasp::model::{LoadOptions, Model};
use rasp::{Error, Result, Status};
use std::path::{Path, PathBuf};

/// Where scores and thresholds come from that nobody wants calibrated anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RecipeSource {
    /// A recipe that is known for the model, if nothing in the options asks for calibration; else calibration.
    #[default]
    Known,
    /// The same, but a dense file where none is known: either takes seconds.
    KnownOrDense,
    /// Calibration.
    Calibrate,
    /// A recipe's file, or a packed file of the same model.
    File(PathBuf),
}

/// Recipes that come with the packer: `recipes/` of its folder, made as `docs/recipes.md` says. They are a part of the
/// program, so that a command that was copied to another place has them too. With the name that people know the model
/// by: files of it have others.
const KNOWN: [(&str, &[u8]); 3] = [
    ("SmolLM2-135M-Instruct", include_bytes!("../../recipes/smollm2-135m-instruct.recipe")),
    ("Qwen2.5-Coder-1.5B-Instruct", include_bytes!("../../recipes/qwen2.5-coder-1.5b-instruct.recipe")),
    ("Gemma 3 270M", include_bytes!("../../recipes/gemma3-270m.recipe")),
];

/// What the recipes that come with the packer are of, and what they were found on.
pub fn known_recipes() -> Result<Vec<(String, String)>> {
    let found_on = |recipe: TunedRecipe| recipe.text.map_or(String::new(), |text| text.words());
    let told = |(name, bytes): &(&str, &[u8])| Ok((name.to_string(), found_on(TunedRecipe::from_bytes(bytes)?)));
    KNOWN.iter().map(told).collect()
}

/// The recipe to pack a checkpoint with, if there is one. `ours` is the checkpoint's identity.
pub(crate) fn chosen(
    options: &PackOptions,
    ours: &ModelIdentity,
    progress: &mut dyn Progress,
) -> Result<Option<TunedRecipe>> {
    let dense = options.sparsity.as_ref().is_some_and(Vec::is_empty);
    match &options.recipe_from {
        RecipeSource::Calibrate => Ok(None),
        RecipeSource::Known | RecipeSource::KnownOrDense if dense || asks(options).is_some() => Ok(None),
        RecipeSource::Known | RecipeSource::KnownOrDense => known(options, ours, progress),
        RecipeSource::File(path) => {
            let wrong = |message: String| Error::new(Status::InvalidArgument, message);
            if let Some(option) = asks(options) {
                let message =
                    format!("a recipe ({}) and {option}: a recipe leaves nothing to be found", path.display());
                return Err(wrong(message));
            }
            if dense {
                return Err(wrong(format!("a recipe ({}) and no sparsity levels", path.display())));
            }
            let recipe = read(path).map_err(|e| e.context(path.display()))?;
            if !ours.is_told_by_gains() {
                return Err(wrong(format!("{}: {UNTOLD}", ours.name)));
            }
            if let Some(difference) = ours.difference(&recipe.model) {
                let (path, theirs) = (path.display(), &recipe.model.name);
                return Err(wrong(format!("{path}: it is of {theirs:?}, and this is {:?}: {difference}", ours.name)));
            }
            if ours.up_by_outputs != recipe.model.up_by_outputs {
                let how = if recipe.model.up_by_outputs { "without" } else { "with" };
                let message = "it is of a file that stores up the other way round; pack";
                return Err(wrong(format!("{}: {message} {how} --up-by-inputs", path.display())));
            }
            let recipe = match &options.sparsity {
                Some(levels) => recipe.with_levels(levels).map_err(|e| e.context(path.display()))?,
                None => recipe,
            };
            told(&recipe, progress);
            Ok(Some(recipe))
        }
    }
}

/// Why a model has no recipes.
pub(crate) const UNTOLD: &str =
    "its norms have one gain throughout, by which no recipe can be told to be of this model";

/// Fails if no recipe of this model can be saved: known before anything is measured.
pub(crate) fn check_saving(options: &PackOptions, ours: &ModelIdentity, plan: &Plan) -> Result<()> {
    let wrong = |message: &str| Err(Error::new(Status::InvalidArgument, format!("a recipe to save, but {message}")));
    if plan.levels.is_empty() {
        return wrong("no sparsity levels, of which it would tell");
    }
    if plan.score != ScoreKind::Fisher {
        return wrong("scores that other formats would have others of: it takes the score fisher");
    }
    if plan.linears.iter().any(|linear| linear.rank > 0) || options.search_rho.generations > 0 {
        return wrong("low ranks: thresholds are of what these leave, in one format");
    }
    if options.compensation.is_some() {
        return wrong("weights fitted to a level: their thresholds are of no others");
    }
    if !ours.is_told_by_gains() {
        return wrong(UNTOLD);
    }
    Ok(())
}

/// The known one that is of this model.
fn known(options: &PackOptions, ours: &ModelIdentity, progress: &mut dyn Progress) -> Result<Option<TunedRecipe>> {
    for (name, bytes) in KNOWN {
        let mut recipe = TunedRecipe::from_bytes(bytes)?;
        recipe.model.name = name.into();
        if ours.difference(&recipe.model).is_some() || ours.up_by_outputs != recipe.model.up_by_outputs {
            continue;
        }
        let recipe = match &options.sparsity {
            Some(levels) => match recipe.with_levels(levels) {
                Ok(recipe) => recipe,
                Err(error) => {
                    progress.note(&format!("a recipe is known for this model, but not of {}", error.message()));
                    return Ok(None);
                }
            },
            None => recipe,
        };
        told(&recipe, progress);
        return Ok(Some(recipe));
    }
    Ok(None)
}

fn told(recipe: &TunedRecipe, progress: &mut dyn Progress) {
    let text = recipe.text.as_ref().map_or(String::new(), |text| format!(" ({})", text.words()));
    let name = &recipe.model.name;
    progress.note(&format!("the recipe of {name} is used{text}: no calibration; --recipe-from none calibrates"));
}

/// What in the options asks for something to be found or measured, in words.
fn asks(options: &PackOptions) -> Option<&'static str> {
    [
        (options.calibration.is_some(), "a calibration text"),
        (options.scores.is_some(), "scores of another file"),
        (options.search.generations > 0, "a search"),
        (options.search_rho.generations > 0, "a search of rho"),
        (options.compensation.is_some(), "weights fitted to a level"),
        (options.rho != 1.0, "a low rank"),
        (options.recipe != RecipeRequest::default(), "rules for linears"),
        (options.allocation != Allocation::Global, "another allocation"),
        (options.calibration_tokens != PackOptions::CALIBRATION_TOKENS, "a number of tokens to calibrate on"),
        (options.tune != PackOptions::TUNE, "a number of steps to tune"),
        (options.work.is_some(), "a work folder"),
    ]
    .into_iter()
    .find_map(|(asked, what)| asked.then_some(what))
}

/// The recipe in a file: one of its own, or a packed file's.
pub(crate) fn read(path: &Path) -> Result<TunedRecipe> {
    let bytes = Bytes::map(path)?;
    let (_, header) = read_header(&bytes)?;
    let packed = header
        .metadata()
        .as_ref()
        .is_some_and(|metadata| metadata.get(rasp::format::key::FORMAT).is_some_and(|format| format == "rasp"));
    if !packed {
        return TunedRecipe::from_bytes(&bytes);
    }
    let model = Model::from_bytes(bytes, &LoadOptions::default())?;
    TunedRecipe::packed(ModelIdentity::of_packed(path)?, &model)
}
