//! `rasp inspect`: what a file holds.

use crate::number;
use rasp::format::{Dtype, File, LinearRecipe, LinearShape};
use rasp::model::{ExpectedTraffic, Linear, LinearKind, LoadOptions, WeightType};
use rasp::{Model, Result};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file, or a packed adapter; a GGUF file or a Hugging Face directory is packed first, once,
    /// into a cache
    model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Read every weight and fail on one that is no finite number
    #[arg(long)]
    verify: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.model.is_file()
        && let Some(file) = crate::adapter::open_file(&args.model)?
    {
        return crate::adapter::inspect(&file, args.json);
    }
    let path = crate::cache::packed(&args.model)?;
    let model = Model::load(&path, &LoadOptions { verify: args.verify, ..Default::default() })?;
    let file = crate::open(&path)?;
    let sizes = Sizes::of(&file);
    if args.json { crate::put_json(&as_json(&model, &sizes)) } else { crate::put(&as_text(&model, &sizes)) }
}

/// Where a file's bytes go.
#[derive(Default)]
pub struct Sizes {
    /// Numbers of the model as it was trained: scores, scales and minima, low ranks and the tokenizer do not count.
    pub parameters: u64,
    pub file: u64,
    /// With its scales, as the next two.
    pub embedding: u64,
    /// A head of its own; 0 where the embedding serves.
    pub head: u64,
    pub linears: u64,
    pub low_rank: u64,
    pub scores: u64,
    pub tokenizer: u64,
    /// The screen of the head, with its scales and bounds.
    pub head_screen: u64,
    /// Norms, biases, positions, rotary frequencies, the header and padding.
    pub other: u64,
}

impl Sizes {
    pub fn of(file: &File) -> Sizes {
        let mut sizes = Sizes { file: file.bytes().len() as u64, ..Default::default() };
        let quant = WeightType::of(file).ok().and_then(WeightType::quant);
        for (name, dtype, shape) in file.tensors() {
            let elements: u64 = shape.iter().map(|&n| n as u64).product();
            let bytes = elements * dtype.bitsize() as u64 / 8;
            let last = name.rsplit('.').next().unwrap_or_default();
            // Scales and minima count as a part of the whole numbers they go with.
            let (of, shared) = match name.rsplit_once('.') {
                Some((matrix, part)) if quant.is_some_and(|q| q.format().shared.iter().any(|s| s.name == part)) => {
                    (matrix, true)
                }
                _ => (name, false),
            };
            let mut packed = None;
            let place = match of {
                _ if name.starts_with("tokenizer.") => &mut sizes.tokenizer,
                _ if name.starts_with("rope.") => continue,
                _ if name.contains(".low_rank.") => &mut sizes.low_rank,
                _ if last == "score" => &mut sizes.scores,
                "embed_tokens" => &mut sizes.embedding,
                "lm_head" => &mut sizes.head,
                _ if name.starts_with("head_screen") => &mut sizes.head_screen,
                // Norms, biases and positions are never cut to 16 bits or less.
                _ if dtype == Dtype::F32 => &mut sizes.other,
                _ => {
                    // Of the parameters these alone may lie several to a byte.
                    packed = quant.filter(|_| !shared && dtype == Dtype::U8);
                    &mut sizes.linears
                }
            };
            *place += bytes;
            let derived = shared || name.contains(".low_rank.") || last == "score" || name.starts_with("head_screen");
            if !derived && !name.starts_with("tokenizer.") {
                sizes.parameters += packed.map_or(elements, |quant| 8 * bytes / quant.bits() as u64);
            }
        }
        let weights = sizes.embedding + sizes.head + sizes.head_screen + sizes.linears + sizes.low_rank;
        sizes.other = sizes.file.saturating_sub(weights + sizes.scores + sizes.tokenizer);
        sizes
    }
}

/// All linears in order, with their names, input channels and recipes.
pub fn linears(model: &Model) -> impl Iterator<Item = (String, &Linear, usize, &LinearRecipe)> {
    model.layers().iter().enumerate().flat_map(move |(n, layer)| {
        layer.groups().iter().flat_map(move |group| {
            group.linears().iter().filter_map(move |linear| {
                let name = linear.kind().name_in(n);
                let recipe = model.recipe().linears.get(&name)?;
                Some((name, linear, group.input(), recipe))
            })
        })
    })
}

/// Of each layer whose `up` is by outputs, the share of it that the calibration text read; a dense file does not know.
fn up_shares(model: &Model) -> impl Iterator<Item = f32> {
    model.groups().filter_map(|group| group.up()?.kept().first().copied())
}

fn as_json(model: &Model, sizes: &Sizes) -> Value {
    let numbers = |list: &[f32]| list.iter().map(|&x| number(x)).collect::<Vec<_>>();
    let linears: Vec<_> = linears(model)
        .map(|(name, linear, input, recipe)| {
            json!({
                "name": name, "in": input, "out": linear.columns().len(), "rho": number(recipe.rho),
                "rank": recipe.rank, "thresholds": numbers(&recipe.thresholds), "kept": numbers(&recipe.kept),
            })
        })
        .collect();
    let mut config = json!(model.config());
    config["rms_norm_eps"] = json!(number(model.config().rms_norm_eps));
    json!({
        "name": model.config().name, "architecture": model.config().architecture, "config": config,
        "dtype": model.weight_type().name(), "bits_per_weight": model.weight_type().bits_per_weight(),
        "parameters": sizes.parameters, "isa": model.isa().name(), "chat_template": model.chat_template().is_some(),
        "score": model.recipe().score, "allocation": model.recipe().allocation,
        "default_sparsity": number(model.recipe().default_sparsity), "loss": numbers(&model.recipe().loss),
        "quality": model.recipe().quality.map(number),
        "dense_prefix": model.recipe().dense_prefix, "compensated": model.recipe().compensated.map(number),
        "sparsity": numbers(&model.recipe().sparsity), "linears": linears,
        "up_read": up_shares(model).map(number).collect::<Vec<_>>(),
        // `linears` and `head`: what a dense token reads, whether or not the head is the embedding; a greedy one reads
        // `greedy_head` of the head.
        "bytes": {
            "file": sizes.file, "linears": model.linear_bytes(), "head": model.head_bytes(),
            "greedy_head": model.greedy_head_bytes(),
            "embedding": sizes.embedding, "head_screen": sizes.head_screen, "low_rank": sizes.low_rank,
            "scores": sizes.scores, "tokenizer": sizes.tokenizer, "other": sizes.other,
        },
    })
}

fn as_text(model: &Model, sizes: &Sizes) -> String {
    let (c, recipe, dtype) = (model.config(), model.recipe(), model.weight_type());
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let mut text = format!("{}\n\n", c.name);
    let shapes: Vec<String> = c
        .linears()
        .iter()
        .map(|&kind| {
            let LinearShape { inputs, outputs } = c.linear_shape(kind);
            format!("{} {inputs}→{outputs}", kind.name())
        })
        .collect();
    let tied = if c.tie_word_embeddings { ", the head is the embedding" } else { "" };
    for (name, value) in [
        ("architecture", c.architecture.clone()),
        ("parameters", format!("{:.1} M", sizes.parameters as f64 / 1e6)),
        ("weights", format!("{}, {} bits each in the linears", dtype.name(), dtype.bits_per_weight())),
        ("layers", c.num_layers.to_string()),
        ("hidden, intermediate", format!("{}, {}", c.hidden_size, c.intermediate_size)),
        ("heads, kv heads, width", format!("{}, {}, {}", c.num_heads, c.num_kv_heads, c.head_dim)),
        ("linears", shapes.join(", ")),
        ("vocabulary", format!("{} tokens{tied}", c.vocab_size)),
        ("context", format!("{} tokens", c.context_length)),
        ("chat template", if model.chat_template().is_some() { "yes" } else { "no" }.into()),
    ] {
        text += &format!("{name:<24}{value}\n");
    }
    if c.block.up_by_outputs {
        let LinearShape { inputs, outputs } = c.linear_shape(LinearKind::Up);
        text += &format!("{:<24}up {inputs}→{outputs}, read where its gate is not zero", "by outputs");
        let shares: Vec<String> = up_shares(model).map(|share| format!("{:.1}", 100.0 * share)).collect();
        if !shares.is_empty() {
            text += &format!(": {}% of it, layer by layer", shares.join(", "));
        }
        text.push('\n');
    }
    text.push('\n');
    for (name, bytes) in [
        ("file", sizes.file),
        ("  linears", sizes.linears),
        ("  low rank", sizes.low_rank),
        ("  embedding", sizes.embedding),
        ("  head", sizes.head),
        ("  screen of the head", sizes.head_screen),
        ("  tokenizer", sizes.tokenizer),
        ("  scores", sizes.scores),
        ("  other", sizes.other),
    ] {
        if bytes > 0 {
            text += &format!("{name:<24}{:>10}\n", mb(bytes));
        }
    }
    text += &format!("a dense, greedy token reads {:>10}\n", mb(model.linear_bytes() + model.greedy_head_bytes()));
    if recipe.sparsity.is_empty() {
        return text + "\nDense: packed without sparsity levels.\n";
    }
    text +=
        "\nShare of linear traffic kept on the calibration text (rank and rho where there is a low rank), score by ";
    let word = |value: Value| value.as_str().unwrap_or_default().to_string();
    text += &format!("{}, allocation {}\n", word(json!(recipe.score)), word(json!(recipe.allocation)));
    if recipe.default_sparsity > 0.0 {
        text += &format!("{}\n", crate::session_start(recipe.default_sparsity, recipe.quality));
    }
    match recipe.dense_prefix {
        0 => {}
        1 => text += "the first token of a context always passes densely\n",
        n => text += &format!("the first {n} tokens of a context always pass densely\n"),
    }
    if let Some(level) = recipe.compensated {
        text += &format!("weights fitted to sparsity {level}\n");
    }
    // Room for `0.500 r1536 ρ0.950` where there are ranks.
    let width = if linears(model).any(|(_, _, _, linear)| linear.rank > 0) { 20 } else { 8 };
    for (level, sparsity) in recipe.sparsity.iter().enumerate() {
        text += &format!("\nsparsity {sparsity}");
        if let Some(loss) = recipe.loss.get(level) {
            text += &format!(", perplexity {:+.1}% on held-back text", loss * 100.0);
        }
        if let Ok(ExpectedTraffic { kept, whole }) = model.expected_traffic(*sparsity) {
            text += &format!(", {:.1}% of the linears' bytes read", kept * 100.0);
            if whole > 0 {
                text += &format!("\n{whole} of {} linears are read whole: ", linears(model).count());
                text += "to leave out rows as short as theirs would take as long";
            }
        }
        text += "\nlayer";
        for kind in c.linears() {
            text += &format!("{:>width$}", kind.name());
        }
        let kinds = c.linears().len();
        for (place, (_, _, _, linear)) in linears(model).enumerate() {
            let (layer, column) = (place / kinds, place % kinds);
            if column == 0 {
                text += &format!("\n{layer:>5}");
            }
            let rank = if linear.rank > 0 { format!(" r{} ρ{:.3}", linear.rank, linear.rho) } else { String::new() };
            text += &format!("{:>width$}", format!("{:.3}{rank}", linear.kept[level]));
        }
        text.push('\n');
    }
    text
}
