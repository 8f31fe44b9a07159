//! What may be written over: nothing but an earlier file of the same model, unless it is asked for.

use crate::recipe::{ModelIdentity, read};
use rasp::{Error, Result, Status};
use std::path::Path;

/// Fails if there is something at `output` that packing this model should not replace unasked.
pub(crate) fn check_packed(output: &Path, model: &ModelIdentity) -> Result<()> {
    check(output, model, "packed file", ModelIdentity::of_packed)
}

/// The same where a recipe is to be.
pub(crate) fn check_recipe(output: &Path, model: &ModelIdentity) -> Result<()> {
    check(output, model, "recipe", |path| Ok(read(path)?.model))
}

fn check(
    output: &Path,
    model: &ModelIdentity,
    what: &str,
    identity: impl Fn(&Path) -> Result<ModelIdentity>,
) -> Result<()> {
    if !output.exists() {
        return Ok(());
    }
    let why = match identity(output) {
        Err(_) => format!("is no {what} of this version's"),
        Ok(there) => match model.difference(&there) {
            Some(difference) => format!("is the {what} of another model, {}: {difference}", there.name),
            // Gains that are all 1 say nothing; then the name does.
            None if !model.is_told_by_gains() && there.name != model.name => {
                format!("is the {what} of another model, {}", there.name)
            }
            None => return Ok(()),
        },
    };
    let message = format!("{} {why}; --force replaces it, -o writes elsewhere", output.display());
    Err(Error::new(Status::InvalidArgument, message))
}
