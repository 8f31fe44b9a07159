//! What an answer must be: a JSON schema, a regular expression or a grammar.

use rasp::constraint::{Constraint, ConstraintKind};
use rasp::{Model, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Options that hold an answer to a form; one at most.
#[derive(clap::Args)]
#[group(multiple = false)]
pub struct Form {
    /// A file with a JSON schema: the answer is a value of it
    #[arg(long, value_name = "FILE", help_heading = "Form of the answer")]
    json_schema: Option<PathBuf>,
    /// A regular expression that the whole answer matches
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, help_heading = "Form of the answer")]
    regex: Option<String>,
    /// A file with a grammar in llguidance's variant of Lark, whose rule `start` is the answer
    #[arg(long, value_name = "FILE", help_heading = "Form of the answer")]
    grammar: Option<PathBuf>,
}

impl Form {
    /// Compiled for this model, if there is one.
    pub fn constraint(&self, model: &Model) -> Result<Option<Arc<Constraint>>> {
        let of_file = |path: &Option<PathBuf>| path.as_ref().map(|path| crate::read_text(path)).transpose();
        let (kind, source) = match (of_file(&self.json_schema)?, &self.regex, of_file(&self.grammar)?) {
            (Some(schema), ..) => (ConstraintKind::JsonSchema, schema),
            (_, Some(regex), _) => (ConstraintKind::Regex, regex.clone()),
            (.., Some(grammar)) => (ConstraintKind::Grammar, grammar),
            _ => return Ok(None),
        };
        Constraint::new(model, kind, &source).map(|constraint| Some(Arc::new(constraint)))
    }
}
