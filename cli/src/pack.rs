//! `rasp pack`: the command line of the packer.

use crate::number;
use crate::progress::Reporter;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rasp::Result;
use rasp::format;
use rasp::model::WeightType;
use rasp::{Error, Status};
use rasp_packer::{Compensation, Limit, PackOptions, RecipeRequest, RecipeSource, Search, Summary};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    /// A GGUF file or a Hugging Face directory
    input: PathBuf,
    /// The .rasp file to make; it appears, or is replaced, only once it is complete
    #[arg(short, long)]
    output: PathBuf,
    /// Replace whatever is there; without it only an earlier file of the same model is replaced
    #[arg(short, long)]
    force: bool,
    /// The context to pack for, in tokens: less than the model was trained for, or, where its rotary frequencies are
    /// made for a context (LongRoPE, dynamic NTK), another
    #[arg(long, value_name = "TOKENS", value_parser = crate::parse_count)]
    context: Option<usize>,
    /// How weights are stored: in 16 bits, or in whole numbers of 8 or 4 with a scale for every 32. q8 and q4 (8.5 and
    /// 5 bits a weight) are GGUF's Q8_0 and Q4_1, which are taken over as they are, as is Q4_0; q4s (4.5 bits) is
    /// smaller and faster. The embedding has 8 bits in all of them. auto: what is nearest to the checkpoint's own
    /// weights
    #[arg(long, default_value = "auto", value_parser = dtypes())]
    dtype: Dtype,
    /// A recipe to pack with, in seconds and without calibration: what --save-recipe wrote, or a .rasp file of the same
    /// model. Without it, and where nothing asks for calibration, a recipe that comes with rasp is used if there is one
    /// of this model; none: do not look for one
    #[arg(long, value_name = "FILE|none")]
    recipe_from: Option<PathBuf>,
    /// Write what calibration finds (scores, thresholds, what each level costs) to this file, for other files of the
    /// model in any --dtype: a recipe
    #[arg(long, value_name = "FILE")]
    save_recipe: Option<PathBuf>,
    /// A text to calibrate on, in windows from everywhere in it (with --allocation uniform its beginning); without it,
    /// and without a recipe, the model writes its own
    #[arg(long, value_name = "FILE")]
    calib: Option<PathBuf>,
    /// Tokens to calibrate on [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    calib_tokens: Option<u32>,
    /// The sparsity levels the file can be run at, ascending; "" for a dense file [default: the recipe's, or
    /// 0.3,0.4,0.5,0.6,0.7]
    #[arg(long, value_name = "S,…", value_parser = parse_levels)]
    sparsity: Option<Levels>,
    /// Share of each linear's budget that goes to input channels; the rest pays for a low rank
    #[arg(long, default_value_t = 1.0, conflicts_with = "search_rho")]
    rho: f32,
    /// How a level's sparsity is shared out: by one threshold for the whole model, or equally
    #[arg(long, value_name = "HOW", default_value = "global")]
    allocation: AllocationArg,
    /// A .rasp file of the same model to take the scores of channels from, in place of measuring and tuning them: what
    /// was found once serves every --dtype
    #[arg(long, value_name = "MODEL")]
    scores: Option<PathBuf>,
    /// Generations of an evolutionary search for a better allocation; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    search: usize,
    /// Steps of gradient descent, on a window of the text each, that fit which channels a linear keeps to the dense
    /// model's predictions; with one threshold for the whole model. More find more, up to some hundreds. 0: none, much
    /// faster, as with --scores unless given [default: 24]
    #[arg(long, value_name = "N")]
    tune: Option<usize>,
    /// Generations of an evolutionary search of rho, linear by linear, in place of --rho; 0: none
    #[arg(long, value_name = "N", default_value_t = 0)]
    search_rho: usize,
    /// Candidates of a generation
    #[arg(long, value_name = "N", default_value_t = Search::DEFAULT.population, value_parser = crate::parse_count)]
    population: usize,
    /// Where the search's random numbers start
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tokens at the beginning of a context that always pass densely, for the attention sink's sake (default: 1, or 0
    /// where sparsity is shared out equally)
    #[arg(long, value_name = "N")]
    dense_prefix: Option<u16>,
    /// Fit the weights to what this level drops (least squares on the calibration text): better there, worse elsewhere
    #[arg(long, value_name = "SPARSITY", value_parser = crate::parse_sparsity)]
    compensate: Option<f32>,
    /// How strongly fitted weights are held to the checkpoint's, relative to the mean square of a kept input
    #[arg(long, default_value_t = Compensation::RIDGE, requires = "compensate")]
    ridge: f32,
    /// A JSON file with exceptions from that, linear by linear
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Make the sparsest setting the file's default that is good enough on calibration text that is held back, every
    /// token sparse, beside the dense model: 2 or 2%: perplexity at most so many percent above; kl:0.02: a KL
    /// divergence of at most so many nats a token; same:90%: at least so many percent of greedy tokens the same. The
    /// last two are measured, not taken from a recipe [default: 2 where scores are tuned or come from a recipe; else
    /// sessions start dense]
    #[arg(long, value_name = "QUALITY", value_parser = parse_quality)]
    quality: Option<Limit>,
    /// Leave out the screen of the head, by which greedy tokens and small top k read a third to a half of it: a smaller
    /// file, by 6% in 16 bits, by 9 to 16% in 4
    #[arg(long)]
    no_screen: bool,
    /// Leave out rows of weights in whole numbers even where they are so short that it takes as long as reading them:
    /// for experiments; such linears are read whole otherwise, which drops nothing
    #[arg(long)]
    skip_short_rows: bool,
    /// Where the activation of the gate is exactly zero for some of it (ReLU), store up by inputs, as of other models,
    /// and not by outputs, of which only those are read whose gate is not zero: for gates that are seldom zero
    #[arg(long)]
    up_by_inputs: bool,
    /// A folder to keep what long steps have found in: an interrupted run goes on from there
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Threads (default: all)
    #[arg(long, value_parser = crate::parse_count)]
    threads: Option<usize>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// What `--sparsity` lists.
#[derive(Clone, Debug, PartialEq)]
struct Levels(Vec<f32>);

/// What `--dtype` says: none leaves the choice to the packer.
#[derive(Clone, Copy)]
struct Dtype(Option<WeightType>);

/// How sparsity is shared out.
#[derive(Clone, Copy, ValueEnum)]
enum AllocationArg {
    Global,
    Uniform,
}

fn dtypes() -> impl TypedValueParser<Value = Dtype> {
    let names = WeightType::all().map(WeightType::name);
    PossibleValuesParser::new(std::iter::once("auto").chain(names))
        .map(|name| Dtype(WeightType::all().find(|weight_type| weight_type.name() == name)))
}

pub fn run(args: &Args) -> Result<()> {
    let recipe = match &args.recipe {
        None => RecipeRequest::default(),
        Some(path) => RecipeRequest::parse(&crate::read_text(path)?).map_err(|e| e.context(path.display()))?,
    };
    let measured = args.quality.is_some_and(|limit| limit.loss().is_none());
    let recipe_from = match &args.recipe_from {
        Some(none) if none.as_os_str() == "none" => RecipeSource::Calibrate,
        Some(_) if args.tune.is_some() || args.calib_tokens.is_some() => {
            let message = "--recipe-from leaves nothing to be found: no --tune, no --calib-tokens";
            return Err(Error::new(Status::InvalidArgument, message));
        }
        Some(path) => RecipeSource::File(path.clone()),
        None if args.tune.is_some() || args.calib_tokens.is_some() || measured => RecipeSource::Calibrate,
        None => RecipeSource::Known,
    };
    if args.calib.is_some() && args.sparsity.as_ref().is_some_and(|levels| levels.0.is_empty()) {
        return Err(Error::new(Status::InvalidArgument, "--calib, and no sparsity levels to calibrate"));
    }
    let tune = if args.scores.is_some() { 0 } else { PackOptions::TUNE };
    let search = |generations| Search { generations, population: args.population, seed: args.seed };
    let options = PackOptions {
        input: args.input.clone(),
        output: args.output.clone(),
        replace: args.force,
        context: args.context,
        weight_type: args.dtype.0,
        calibration: args.calib.clone(),
        calibration_tokens: args.calib_tokens.map_or(PackOptions::CALIBRATION_TOKENS, |n| n as usize),
        sparsity: args.sparsity.as_ref().map(|levels| levels.0.clone()),
        recipe_from,
        save_recipe: args.save_recipe.clone(),
        rho: args.rho,
        allocation: match args.allocation {
            AllocationArg::Global => format::Allocation::Global,
            AllocationArg::Uniform => format::Allocation::Uniform,
        },
        scores: args.scores.clone(),
        search: search(args.search),
        tune: args.tune.unwrap_or(tune),
        search_rho: search(args.search_rho),
        dense_prefix: args.dense_prefix.map(usize::from),
        compensation: args.compensate.map(|sparsity| Compensation { sparsity, ridge: args.ridge }),
        recipe,
        quality: args.quality,
        screen: !args.no_screen,
        skip_short_rows: args.skip_short_rows,
        up_by_inputs: args.up_by_inputs,
        work: args.work.clone(),
        threads: args.threads.unwrap_or_else(crate::all_threads),
    };
    crate::memory::keep_what_is_freed();
    crate::signals::remove_temporary_files([&args.output].into_iter().chain(&args.save_recipe));
    let summary = rasp_packer::pack(&options, &mut Reporter::new())?;
    if args.json { crate::put_json(&as_json(&summary)) } else { crate::put(&as_text(&summary, args)) }
}

fn parse_levels(text: &str) -> Result<Levels, String> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let levels: Vec<f32> = parts.map(crate::parse_sparsity).collect::<Result<_, _>>()?;
    match levels.first().is_none_or(|&s| s > 0.0) && levels.is_sorted_by(|a, b| a < b) {
        true => Ok(Levels(levels)),
        false => Err("sparsities must ascend, all above 0 (dense is always there)".into()),
    }
}

fn parse_quality(text: &str) -> Result<Limit, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
    let percent = |text: &str| number(text.strip_suffix('%').unwrap_or(text));
    let limit = match text.split_once(':') {
        None => percent(text).map(|x| Limit::Loss(x / 100.0)),
        Some(("kl", most)) => number(most).map(Limit::Kl),
        Some(("same", least)) => percent(least).filter(|&x| x <= 100.0).map(|x| Limit::SameGreedy(x / 100.0)),
        Some(_) => None,
    };
    limit.ok_or_else(|| {
        "2 (percent of perplexity, from 0 up), kl:0.02 (nats a token) or same:90% (greedy tokens)".into()
    })
}

fn as_json(s: &Summary) -> serde_json::Value {
    let recipe = s
        .recipe
        .as_ref()
        .map(|recipe| json!({"model": recipe.model, "found_on": recipe.text.as_ref().map(|text| text.words())}));
    let levels: Vec<_> = s
        .levels
        .iter()
        .map(|r| {
            json!({
                "sparsity": number(r.sparsity), "kept": r.kept, "bytes_per_token": r.bytes_per_token, "loss": r.loss,
                "kl": r.cost.map(|cost| cost.kl), "same_greedy": r.cost.map(|cost| cost.same_greedy),
            })
        })
        .collect();
    json!({
        "name": s.name, "architecture": s.architecture, "dtype": s.weight_type.name(), "source": s.source,
        "file_bytes": s.file_bytes, "linear_bytes": s.linear_bytes,
        "head_bytes": s.head_bytes, "calibration_tokens": s.calibration_tokens, "recipe": recipe,
        "default_sparsity": number(s.default_sparsity), "quality": s.quality.and_then(Limit::loss), "levels": levels,
    })
}

fn as_text(s: &Summary, args: &Args) -> String {
    let (input, output): (&Path, _) = (&args.input, args.output.display());
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let dense = s.linear_bytes + s.head_bytes;
    let file =
        input.file_name().map_or_else(|| input.display().to_string(), |name| name.to_string_lossy().into_owned());
    let mut text =
        format!("{file} holds {}: packed as {}, {:.0} MB\n", s.source, s.weight_type.name(), mb(s.file_bytes));
    text += &format!(
        "{} ({}): {:.1} MB in the file, {:.1} MB of linears, {:.1} MB of head\n",
        s.name,
        s.architecture,
        mb(s.file_bytes),
        mb(s.linear_bytes),
        mb(s.head_bytes)
    );
    text += &match &s.recipe {
        Some(recipe) => {
            let found = recipe.text.as_ref().map_or(String::new(), |text| format!(", found on {}", text.words()));
            format!("the recipe of {}{found}\n\n", recipe.model)
        }
        None if s.levels.is_empty() => "dense: no sparsity levels\n\n".into(),
        None => format!("calibrated on {} tokens\n\n", s.calibration_tokens),
    };
    let costs = if s.levels.iter().any(|r| r.cost.is_some()) { "   KL, nats   same greedy" } else { "" };
    text += &format!("sparsity   linears read   MB a token   of dense   perplexity{costs}\n");
    text += &format!("{:>8}   {:>11.1}%   {:>10.1}   {:>7.0}%\n", "dense", 100.0, mb(dense), 100.0);
    for r in &s.levels {
        let share = r.bytes_per_token as f64 / dense as f64;
        let row = (r.sparsity, r.kept * 100.0, mb(r.bytes_per_token), share * 100.0);
        let loss = r.loss.map_or(String::new(), |loss| format!("   {:>+9.1}%", loss * 100.0));
        let cost = r.cost.map_or(String::new(), |c| format!("   {:>8.4}   {:>10.1}%", c.kl, 100.0 * c.same_greedy));
        text += &format!("{:>8}   {:>11.1}%   {:>10.1}   {:>7.0}%{loss}{cost}\n", row.0, row.1, row.2, row.3);
    }
    if s.levels.iter().any(|r| r.loss.is_some()) {
        let of = if s.recipe.is_some() { " that the recipe was found on" } else { "" };
        text += &format!("\nperplexity on held-back calibration text{of}, every token sparse\n");
    }
    if s.default_sparsity > 0.0 || s.quality.is_some() {
        text += &match s.quality {
            Some(Limit::Kl(most)) => {
                session_start(s.default_sparsity, &format!("a KL divergence of {most} nats a token"))
            }
            Some(Limit::SameGreedy(least)) => {
                session_start(s.default_sparsity, &format!("{:.1}% of greedy tokens the same", 100.0 * least))
            }
            loss => crate::session_start(s.default_sparsity, loss.and_then(Limit::loss).map(|most| most as f32)) + "\n",
        };
    }
    let first = if s.chat { format!("rasp chat {output}") } else { format!("rasp run {output} \"Once upon a time\"") };
    text + &format!("\nnext: {first}\n      rasp doctor {output}\n")
}

/// Where sessions start, by a limit that the file does not state.
fn session_start(sparsity: f32, limit: &str) -> String {
    match sparsity {
        0.0 => format!("sessions start dense: no setting has {limit}\n"),
        _ => format!("sessions start at sparsity {sparsity}, the sparsest with {limit}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_ascend_from_above_zero() {
        assert_eq!(parse_levels("0.3, 0.5,0.7"), Ok(Levels(vec![0.3, 0.5, 0.7])));
        assert_eq!(parse_levels(""), Ok(Levels(vec![])));
        for wrong in ["0,0.5", "0.5,0.3", "0.5,0.5", "1", "half", "0.3;0.5", "-0.1", "NaN"] {
            assert!(parse_levels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_quality_has_a_unit() {
        assert_eq!(parse_quality("2"), Ok(Limit::Loss(0.02)));
        assert_eq!(parse_quality("0.5%"), Ok(Limit::Loss(0.005)));
        assert_eq!(parse_quality("kl:0.05"), Ok(Limit::Kl(0.05)));
        assert_eq!(parse_quality("same:90%"), Ok(Limit::SameGreedy(0.9)));
        assert_eq!(parse_quality("same:100"), Ok(Limit::SameGreedy(1.0)));
        for wrong in ["", "-1", "NaN", "inf", "kl:", "kl:-1", "kl:5%", "same:101", "nats:1", "2:3", "%"] {
            assert!(parse_quality(wrong).is_err(), "{wrong}");
        }
    }
}
