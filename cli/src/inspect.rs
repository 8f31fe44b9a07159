//! `rasp inspect`: what a file holds.

use rasp::model::{LinearKind, LoadOptions};
use rasp::{Model, Result};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Read every weight and fail on one that is no finite number
    #[arg(long)]
    verify: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = Model::load(&args.model, &LoadOptions { verify: args.verify, isa: None })?;
    if args.json { crate::put_json(&as_json(&model)) } else { crate::put(&as_text(&model)) }
}

fn parameters(model: &Model) -> u64 {
    let element = model.weight_type().size() as u64;
    let heads = if model.config().tie_word_embeddings { 1 } else { 2 };
    (model.linear_bytes() + heads * model.head_bytes()) / element
}

fn linears(model: &Model) -> impl Iterator<Item = (String, &rasp::model::Linear, usize)> {
    model.layers().iter().enumerate().flat_map(|(n, layer)| {
        layer.groups().into_iter().flat_map(move |group| {
            let linears = group.linears().iter();
            linears.map(move |l| (format!("layers.{n}.{}", l.kind().name()), l, group.input()))
        })
    })
}

fn as_json(model: &Model) -> serde_json::Value {
    let recipe = model.recipe();
    let linears: Vec<_> = linears(model)
        .map(|(name, linear, input)| {
            let entry = &recipe.linears[&name];
            json!({
                "name": name, "in": input, "out": linear.columns().len(), "rho": entry.rho, "rank": entry.rank,
                "thresholds": entry.thresholds, "kept": entry.kept,
            })
        })
        .collect();
    json!({
        "config": model.config(), "dtype": model.weight_type().name(), "parameters": parameters(model),
        "bits_per_weight": 8 * model.weight_type().size(), "isa": model.isa().name(),
        "score": recipe.score, "sparsity": recipe.sparsity, "linears": linears,
        "chat_template": model.chat_template().is_some(),
        "bytes": {"file": model.file_size(), "linears": model.linear_bytes(), "head": model.head_bytes()},
    })
}

fn as_text(model: &Model) -> String {
    let (c, recipe) = (model.config(), model.recipe());
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let mut text = format!("{}\n\n", c.name);
    for (name, value) in [
        ("architecture", c.architecture.clone()),
        ("parameters", format!("{:.1} M, {}", parameters(model) as f64 / 1e6, model.weight_type().name())),
        ("layers", c.num_layers.to_string()),
        ("hidden, intermediate", format!("{}, {}", c.hidden_size, c.intermediate_size)),
        ("heads, kv heads, width", format!("{}, {}, {}", c.num_heads, c.num_kv_heads, c.head_dim)),
        ("vocabulary", format!("{}{}", c.vocab_size, if c.tie_word_embeddings { ", tied" } else { "" })),
        ("context", format!("{} tokens", c.context_length)),
        ("chat template", if model.chat_template().is_some() { "yes" } else { "no" }.into()),
        ("file", format!("{:.1} MB", mb(model.file_size() as u64))),
        ("linears, head", format!("{:.1} MB, {:.1} MB", mb(model.linear_bytes()), mb(model.head_bytes()))),
    ] {
        text += &format!("{name:<24}{value}\n");
    }
    if recipe.sparsity.is_empty() {
        return text + "\nDense: packed without a ladder of sparsities.\n";
    }
    text += "\nShare of linear traffic kept on the calibration text (rank where there is one), score by ";
    text += &format!("{}\n", serde_json::to_string(&recipe.score).unwrap_or_default().trim_matches('"'));
    for (rung, sparsity) in recipe.sparsity.iter().enumerate() {
        text += &format!("\nsparsity {sparsity}\nlayer");
        for kind in LinearKind::ALL {
            text += &format!("{:>12}", kind.name());
        }
        for (n, _) in model.layers().iter().enumerate() {
            text += &format!("\n{n:>5}");
            for kind in LinearKind::ALL {
                let entry = &recipe.linears[&format!("layers.{n}.{}", kind.name())];
                let rank = if entry.rank > 0 { format!(" r{}", entry.rank) } else { String::new() };
                text += &format!("{:>12}", format!("{:.3}{rank}", entry.kept[rung]));
            }
        }
        text.push('\n');
    }
    text
}
