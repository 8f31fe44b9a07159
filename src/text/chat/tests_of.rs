//! Tests, as in `x is defined`.

use super::code::{Binary, Span};
use super::filters::FILTERS;
use super::memory::{Memory, Value, failed};
use super::methods::Given;
use super::operators::kind;
use crate::Result;

/// Their names, for `is test`.
const TESTS: [&str; 39] = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

impl Memory<'_> {
    pub fn test(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<bool> {
        let other = given.positional.first().copied().unwrap_or(Value::None);
        let compared = match self.str(name) {
            "eq" | "equalto" | "==" => Binary::Equal,
            "ne" | "!=" => Binary::NotEqual,
            "lt" | "lessthan" | "<" => Binary::Less,
            "le" | "<=" => Binary::LessEqual,
            "gt" | "greaterthan" | ">" => Binary::Greater,
            "ge" | ">=" => Binary::GreaterEqual,
            "in" => Binary::In,
            _ => return self.quality(name, value, other),
        };
        let outcome = self.binary(compared, value, other)?;
        Ok(self.truth(outcome))
    }

    fn quality(&mut self, name: Span, value: Value, other: Value) -> Result<bool> {
        let whole = || match value {
            Value::Int(n) => Ok(n),
            Value::Bool(truth) => Ok(i64::from(truth)),
            other => failed(format_args!("{} is no whole number", kind(other))),
        };
        let cased = |of: fn(char) -> bool, not: fn(char) -> bool| match value {
            Value::Str(text) => self.str(text).chars().any(of) && !self.str(text).chars().any(not),
            _ => false,
        };
        Ok(match self.str(name) {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Int(_)),
            "float" => matches!(value, Value::Float(_)),
            "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
            "string" => matches!(value, Value::Str(_)),
            "mapping" => matches!(value, Value::Dict(_)),
            "sequence" => matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_)),
            "iterable" => matches!(value, Value::Str(_) | Value::List(_) | Value::Dict(_) | Value::Undefined(_)),
            "callable" => matches!(
                value,
                Value::Joiner(_) | Value::Function(_) | Value::Macro(_) | Value::Caller(_) | Value::Loop(_)
            ),
            "escaped" => false,
            "even" => whole()? % 2 == 0,
            "odd" => whole()? % 2 != 0,
            "divisibleby" => match other {
                Value::Int(0) => return failed("a division by zero"),
                Value::Int(by) => whole()?.checked_rem(by).is_none_or(|rest| rest == 0),
                _ => return failed("divisibleby takes a whole number"),
            },
            "upper" => cased(char::is_uppercase, char::is_lowercase),
            "lower" => cased(char::is_lowercase, char::is_uppercase),
            "sameas" => match (value, other) {
                (Value::Bool(a), Value::Bool(b)) => a == b,
                (Value::None, Value::None) => true,
                (Value::Str(a), Value::Str(b)) => self.str(a) == self.str(b),
                (Value::Int(a), Value::Int(b)) => a == b,
                (Value::List(a), Value::List(b)) | (Value::Dict(a), Value::Dict(b)) => a == b,
                (Value::Namespace(a), Value::Namespace(b)) => a == b,
                _ => false,
            },
            "filter" | "test" => match value {
                Value::Str(text) => {
                    let names: &[&str] = if self.str(name) == "filter" { &FILTERS } else { &TESTS };
                    names.contains(&self.str(text))
                }
                other => return failed(format_args!("{} is no name", kind(other))),
            },
            other => return failed(format_args!("there is no test {other}")),
        })
    }
}
