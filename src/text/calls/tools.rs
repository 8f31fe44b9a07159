//! The tools of a chat: which functions there are, and which of their arguments are texts.

use super::json::{Made, add, escape, items, member, members};
use super::literal::{Dialect, whole};
use crate::{Error, Result, Status};
use std::ops::Range;

/// What a schema says of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentKind {
    /// Nothing that is known here.
    Unknown,
    Text,
    Other,
}

/// The functions of a list of tools.
#[derive(Clone, Debug, Default)]
pub(super) struct ToolList {
    json: String,
    /// Where their names stand.
    functions: Vec<Range<usize>>,
    /// Of which function, the argument's name, and what is said of it.
    arguments: Vec<(usize, Range<usize>, ArgumentKind)>,
}

/// Where a part of a text stands in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// What a schema says of its value.
fn kind(schema: &str) -> ArgumentKind {
    let is_text = |name: &str| name.eq_ignore_ascii_case("\"string\"");
    match member(schema, "type") {
        Some(types) if types.starts_with('[') => match items(types).all(|name| is_text(name) || name == "\"null\"") {
            true => ArgumentKind::Text,
            false if items(types).any(is_text) => ArgumentKind::Unknown,
            false => ArgumentKind::Other,
        },
        Some(name) if is_text(name) => ArgumentKind::Text,
        Some(_) => ArgumentKind::Other,
        None => match member(schema, "enum") {
            Some(values) if items(values).all(|value| value.starts_with('"')) => ArgumentKind::Text,
            _ => ArgumentKind::Unknown,
        },
    }
}

/// Whether a schema's value is a text and nothing else.
#[cfg(feature = "constrained")]
pub(super) fn is_text(schema: &str) -> bool {
    kind(schema) == ArgumentKind::Text
}

impl ToolList {
    /// Those of a template's variables, a JSON object: its `tools`.
    pub(super) fn of_variables(variables: &str) -> Result<ToolList> {
        let mut json = String::new();
        if !whole(Dialect::Json, variables, &mut json)? || !json.starts_with('{') {
            return Err(Error::new(Status::InvalidArgument, "variables are no JSON object"));
        }
        let list = member(&json, "tools").map(|list| place(&json, list));
        let list = list.unwrap_or_default();
        let (mut functions, mut arguments) = (Vec::new(), Vec::new());
        for tool in items(&json[list]) {
            let function = member(tool, "function").filter(|function| function.starts_with('{')).unwrap_or(tool);
            let Some(name) = member(function, "name").and_then(super::json::inside) else { continue };
            let schema = member(function, "parameters").unwrap_or("");
            for (name, schema) in members(member(schema, "properties").unwrap_or("")) {
                add(&mut arguments, (functions.len(), place(&json, name), kind(schema)))?;
            }
            add(&mut functions, place(&json, name))?;
        }
        Ok(ToolList { json, functions, arguments })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Which function has this name.
    pub(super) fn find(&self, name: &str) -> Made<Option<usize>> {
        let mut escaped = String::new();
        escape(&mut escaped, name)?;
        Ok(self.functions.iter().position(|found| self.json[found.clone()] == escaped))
    }

    /// What is known of a function's argument.
    pub(super) fn kind(&self, function: Option<usize>, name: &str) -> Made<ArgumentKind> {
        let mut escaped = String::new();
        escape(&mut escaped, name)?;
        let found = self.arguments.iter().find(|(of, found, _)| {
            Some(*of) == function && found.len() == escaped.len() && self.json[found.clone()] == escaped
        });
        Ok(found.map_or(ArgumentKind::Unknown, |(.., kind)| *kind))
    }
}
