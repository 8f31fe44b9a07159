//! `rasp verify`: whether a file is as it was packed.

use rasp::{LoadOptions, Model, Result};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The .rasp file, or a packed adapter
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let file = match crate::adapter::open_file(&args.model)? {
        Some(file) => {
            file.verify().map_err(|e| e.context(args.model.display()))?;
            file
        }
        None => {
            // That its checksums are right, and that it is a model, every weight of which is a number.
            Model::load(&args.model, &LoadOptions { verify: true, ..Default::default() })?;
            crate::open(&args.model)?
        }
    };
    let tensors = file.tensors().count();
    let checksums = file.has_checksums();
    if args.json {
        return crate::put_json(&json!({ "tensors": tensors, "checksums": checksums }));
    }
    crate::put(&match checksums {
        true => format!("{tensors} tensors and the header are as they were packed\n"),
        false => {
            format!("no checksums: the file was packed before there were any; its {tensors} tensors hold numbers\n")
        }
    })
}
