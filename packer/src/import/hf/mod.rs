//! Checkpoints as Hugging Face's transformers saves them: a directory of JSON files and safetensors shards.

mod config;
pub(super) mod json;
mod rope;
pub(super) mod shards;
mod tokenizer;

use std::ffi::OsStr;
use std::path::Path;

use rasp::{Error, Result, Status};
use serde_json::Value;

use self::config::Described;
use self::json::Object;
use super::bad;
use super::checkpoint::{Checkpoint, Parts};
use super::config::{Shape, xielu as config_xielu};
use super::family::Family;
use super::names::Names;
use super::tokenizer::TokenizerSource;
use super::weights::Weights;
use rasp::model::{Activation, Role};

pub(super) fn open(dir: &Path, context: Option<usize>) -> Result<Checkpoint> {
    let config_json = config_json(dir)?;
    let described = config::read(&Object::new("config.json", &config_json)?, &folder_name(dir), context)?;
    let Described { family, names, mut shape } = described;

    let tokenizer_config = json::read(&dir.join("tokenizer_config.json"))?;
    let chat_template = chat_template(dir, tokenizer_config.as_ref())?;
    let tokenizer = TokenizerSource::HuggingFace {
        tokenizer_json: tokenizer::read(dir, tokenizer_config.as_ref())?,
        tokenizer_config,
        generation_config: json::read(&dir.join("generation_config.json"))?,
        config: config_json,
    };

    let mut weights = shards::open(dir)?;
    weights.rename(names.prefixes);
    let head = names.vector(Role::LmHead);
    let parameters = xielu(&weights, names, &mut shape)?;
    let mut also: Vec<&str> = parameters.iter().map(String::as_str).collect();
    if shape.config.tie_word_embeddings && weights.get(&head).is_some() {
        check_tied_head(&weights, names.embedding, &head)?;
        also.push(head.as_str());
    }
    let parts = Parts { shape, tokenizer, chat_template, weights, family, names };
    Checkpoint::new(parts, &also)
}

/// What `config.json` says of a model, whether its weights are there or not.
pub(super) fn shape(dir: &Path) -> Result<(&'static Family, &'static Names, Shape)> {
    let json = config_json(dir)?;
    let Described { family, names, shape } =
        config::read(&Object::new("config.json", &json)?, &folder_name(dir), None)?;
    Ok((family, names, shape))
}

fn config_json(dir: &Path) -> Result<Value> {
    json::read(&dir.join("config.json"))?.ok_or_else(|| no_config(dir))
}

/// Puts each layer's parameters of xIELU, where that is the activation, from their tensors into the shape; those
/// tensors' names.
fn xielu(weights: &Weights, names: &Names, shape: &mut Shape) -> Result<Vec<String>> {
    if !matches!(shape.config.block.activation, Activation::Xielu { .. }) {
        return Ok(Vec::new());
    }
    let mut seen = Vec::new();
    for layer in 0..shape.config.num_layers {
        let mut scalar = |parameter: &str| {
            let name = names.xielu(layer, parameter);
            let values = weights.read(&name)?;
            seen.push(name);
            match values[..] {
                [value] => Ok(value),
                _ => Err(bad(format!(
                    "tensor `{}`: {} values, expected one",
                    names.xielu(layer, parameter),
                    values.len()
                ))),
            }
        };
        let parameters = config_xielu(scalar("alpha_p")?, scalar("alpha_n")?, scalar("beta")?, scalar("eps")?)?;
        shape.config.block.xielu.push(parameters);
    }
    Ok(seen)
}

/// Some tied checkpoints save the head all the same. As long as it is the embedding, nothing is lost.
fn check_tied_head(weights: &Weights, embedding: &str, head: &str) -> Result<()> {
    match (weights.get(embedding), weights.get(head)) {
        (Some(a), Some(b)) if !weights.same(a, b) => {
            Err(bad(format!("config.json ties the head to the embedding, but `{head}` and `{embedding}` differ")))
        }
        _ => Ok(()),
    }
}

/// What the model is called: its directory, or, in the cache of Hugging Face's hub
/// (`models--org--name/snapshots/<commit>`), its repository.
pub(super) fn folder_name(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    let text = |name: Option<&OsStr>| name.map(|n| n.to_string_lossy().into_owned());
    if let Some(snapshots) = dir.parent().filter(|p| p.file_name() == Some(OsStr::new("snapshots"))) {
        let repository = text(snapshots.parent().and_then(Path::file_name)).unwrap_or_default();
        if let Some(name) = repository.strip_prefix("models--") {
            return name.rsplit("--").next().unwrap_or(name).to_string();
        }
    }
    text(dir.file_name()).unwrap_or_default()
}

fn no_config(dir: &Path) -> Error {
    let has_gguf = std::fs::read_dir(dir)
        .map(|files| files.flatten().any(|f| f.path().extension() == Some(OsStr::new("gguf"))))
        .unwrap_or(false);
    let hint = match () {
        () if has_gguf => "; to import a GGUF file, give the file itself",
        () if dir.join("adapter_config.json").is_file() => {
            "; it is an adapter's folder: `rasp pack-adapter` makes a file of it, beside that of its base model"
        }
        () => "",
    };
    Error::new(Status::Io, format!("config.json: there is no such file{hint}"))
}

/// A file of its own in newer checkpoints, a field of `tokenizer_config.json` in older ones: one template, or several
/// by name.
fn chat_template(dir: &Path, tokenizer_config: Option<&Value>) -> Result<Option<String>> {
    if let Some(template) = json::text(&dir.join("chat_template.jinja"))? {
        return Ok(Some(template));
    }
    let wrong = || bad("tokenizer_config.json: `chat_template` is no template and no list of them");
    match tokenizer_config.and_then(|c| c.get("chat_template")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(templates)) => {
            let mut default = None;
            for entry in templates {
                let name = entry.get("name").and_then(Value::as_str).ok_or_else(wrong)?;
                let template = entry.get("template").and_then(Value::as_str).ok_or_else(wrong)?;
                if name == "default" {
                    default = Some(template.to_string());
                }
            }
            Ok(default)
        }
        Some(_) => Err(wrong()),
    }
}
