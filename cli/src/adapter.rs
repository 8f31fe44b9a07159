//! LoRA adapters: `rasp pack-adapter`, and the ones that tokens pass with.

use crate::number;
use rasp::format::{Bytes, File, key};
use rasp::model::{Adapter, AdapterConfig};
use rasp::{Error, Model, Result, Session, SessionOptions, Status};
use rasp_packer::{AdapterSummary, pack_adapter};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Args {
    /// The adapter: PEFT's folder (adapter_config.json, adapter_model.safetensors), or a GGUF file of llama.cpp's
    input: PathBuf,
    /// The model that it was trained on, or another of its shape: a folder of Hugging Face's, of which config.json is
    /// enough, or a GGUF file
    #[arg(long, value_name = "CHECKPOINT")]
    base: PathBuf,
    /// The file to make; it appears, or is replaced, only once it is complete
    #[arg(short, long)]
    output: PathBuf,
    /// Replace whatever is there; without it only an earlier adapter is replaced
    #[arg(short, long)]
    force: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    crate::signals::remove_temporary_files([&args.output]);
    let AdapterSummary { name, architecture, linears, rank, bytes } =
        pack_adapter(&args.input, &args.base, &args.output, args.force)?;
    if args.json {
        return crate::put_json(&json!({
            "name": name, "architecture": architecture, "linears": linears, "rank": rank, "bytes": bytes,
        }));
    }
    let (output, mb) = (args.output.display(), bytes as f64 / 1e6);
    crate::put(&format!(
        "{name} ({architecture}): rank {rank} on {linears} linears, {mb:.1} MB that every token reads beside the\
         \x20model's\n\nnext: rasp run MODEL.rasp --adapter {output} \"...\"\n"
    ))
}

/// The file of a packed adapter; `None` if it is anything else.
pub fn open_file(path: &Path) -> Result<Option<File>> {
    let bytes = Bytes::map(path)?;
    // How safetensors begin that say so of themselves: what is damaged beyond that is named as a model is.
    let start = &bytes[..bytes.len().min(4096)];
    let is_adapter = start.windows(FORMAT.len()).any(|window| window == FORMAT);
    if is_adapter { File::open_adapter(bytes).map(Some).map_err(|e| e.context(path.display())) } else { Ok(None) }
}

const FORMAT: &[u8] = b"rasp-adapter";

/// What `rasp inspect` says of one.
pub fn inspect(file: &File, as_json: bool) -> Result<()> {
    let config: AdapterConfig = file.json(key::ADAPTER)?;
    let AdapterConfig { name, architecture, sizes } = config;
    let (mut linears, mut rank, mut bytes) = (0, 0, 0);
    for (name, dtype, shape) in file.tensors() {
        linears += usize::from(name.ends_with(".b"));
        rank = rank.max(shape.first().copied().unwrap_or(0));
        bytes += shape.iter().product::<usize>() * dtype.bitsize() / 8;
    }
    if as_json {
        return crate::put_json(&json!({
            "adapter": name, "architecture": architecture, "linears": linears, "rank": rank, "bytes": bytes,
            "base": sizes,
        }));
    }
    crate::put(&format!(
        "{name}: a LoRA adapter for {architecture} models of {} layers, {} wide\n\
         rank {rank} on {linears} linears, {:.1} MB that every token reads beside the model's\n",
        sizes.num_layers,
        sizes.hidden_size,
        bytes as f64 / 1e6
    ))
}

/// The adapters of a session.
#[derive(Clone, clap::Args)]
pub struct AdapterArgs {
    /// A LoRA adapter that tokens pass with, as `rasp pack-adapter` made it, and what its outputs are multiplied by (1
    /// unless said); more than once for several at a time
    #[arg(long = "adapter", value_name = "FILE[=SCALE]", visible_alias = "lora", help_heading = "Session",
        value_parser = parse)]
    list: Vec<(PathBuf, f32)>,
}

fn parse(text: &str) -> std::result::Result<(PathBuf, f32), String> {
    let Some((file, scale)) = text.rsplit_once('=') else { return Ok((text.into(), 1.0)) };
    match scale.parse::<f32>() {
        Ok(scale) if scale.is_finite() => Ok((file.into(), scale)),
        Ok(_) => Err(format!("the scale {scale} is no finite number")),
        // A name with a sign of equality in it.
        Err(_) => Ok((text.into(), 1.0)),
    }
}

/// Adapters that are at hand, each with its scale.
pub type ScaledAdapters = Vec<(Arc<Adapter>, f32)>;

impl AdapterArgs {
    pub fn load(&self, model: &Model) -> Result<ScaledAdapters> {
        let load = |(path, scale): &(PathBuf, f32)| {
            if path.is_dir() {
                let message = format!(
                    "{} is a folder: `rasp pack-adapter {0} --base CHECKPOINT -o FILE` makes an adapter of it",
                    path.display()
                );
                return Err(Error::new(Status::InvalidArgument, message));
            }
            Ok((Adapter::load(model, path)?, *scale))
        };
        self.list.iter().map(load).collect()
    }
}

/// The ranks that a session needs room for.
pub fn rank(adapters: &ScaledAdapters) -> usize {
    adapters.iter().map(|(adapter, _)| adapter.rank()).sum()
}

/// A session whose tokens pass with these.
pub fn open(model: &Arc<Model>, options: SessionOptions, adapters: &ScaledAdapters) -> Result<Session> {
    let options = SessionOptions { adapter_rank: rank(adapters), ..options };
    let mut session = Session::open(model.clone(), &options)?;
    session.set_adapters(adapters.iter().cloned())?;
    Ok(session)
}

/// What JSON says of them.
pub fn described(adapters: &ScaledAdapters) -> serde_json::Value {
    adapters.iter().map(|(adapter, scale)| json!({"name": adapter.name(), "scale": number(*scale)})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_follows_the_last_sign_of_equality() {
        let parsed = |text: &str| parse(text).map(|(path, scale)| (path.display().to_string(), scale));
        assert_eq!(parsed("a.rasp-adapter"), Ok(("a.rasp-adapter".into(), 1.0)));
        assert_eq!(parsed("a=b/c=0.5"), Ok(("a=b/c".into(), 0.5)));
        assert_eq!(parsed("a=b"), Ok(("a=b".into(), 1.0)));
        assert_eq!(parsed("a=-2"), Ok(("a".into(), -2.0)));
        assert!(parsed("a=inf").is_err());
    }
}
