//! Filters that give numbers, or choose by them.

use crate::Result;
use crate::text::chat::code::{Binary, Span};
use crate::text::chat::memory::{Memory, Value, failed};
use crate::text::chat::methods::Given;
use crate::text::chat::operators::{float, kind, number};
use crate::text::chat::strings::is_space;
use std::cmp::Ordering;

/// A whole number without so many of its last digits, of halves the even one.
fn rounded(n: i64, digits: i32) -> i64 {
    let Some(unit) = 10i64.checked_pow(digits as u32) else { return 0 };
    let (down, rest) = (n.div_euclid(unit), n.rem_euclid(unit));
    let up = rest > unit / 2 || rest == unit / 2 && unit > 1 && down % 2 != 0;
    (down + i64::from(up)).saturating_mul(unit)
}

/// What Python's `int` reads.
fn integer(text: &str, base: i64) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let prefixed = [(16, "0x"), (8, "0o"), (2, "0b")].into_iter().find_map(|(radix, prefix)| {
        let rest = digits.get(..2).filter(|p| p.eq_ignore_ascii_case(prefix)).map(|_| &digits[2..])?;
        (base == radix || base == 0).then_some((radix, rest.strip_prefix('_').unwrap_or(rest)))
    });
    let (radix, digits) = prefixed.unwrap_or((if base == 0 { 10 } else { base }, digits));
    let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix))?;
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") || digits.is_empty() {
        return None;
    }
    let value = digits.chars().filter(|c| *c != '_').try_fold(0i64, |n, c| {
        let digit = i64::from(c.to_digit(radix)?);
        n.checked_mul(i64::from(radix))?.checked_add(digit)
    })?;
    Some(if negative { -value } else { value })
}

/// What Python's `float` reads.
fn real(text: &str) -> Option<f64> {
    // Rust's reads the same words for what is no number.
    text.parse().ok()
}

impl Memory<'_> {
    pub(super) fn number_filter(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
        match self.str(name) {
            "abs" => match number(value) {
                Some(Value::Int(n)) => Ok(Value::Int(n.saturating_abs())),
                Some(Value::Float(x)) => Ok(Value::Float(x.abs())),
                _ => failed(format_args!("{} is no number", kind(value))),
            },
            "round" => {
                let digits = given.int(self, 0, "precision")?.unwrap_or(0).clamp(-300, 300) as i32;
                let how = given.text(self, 1, "method")?.map_or("common", |how| self.str(how));
                let Some(x) = float(value) else { return failed(format_args!("{} is no number", kind(value))) };
                let factor = 10f64.powi(digits);
                match (how, number(value)) {
                    ("floor", _) => Ok(Value::Float((x * factor).floor() / factor)),
                    ("ceil", _) => Ok(Value::Float((x * factor).ceil() / factor)),
                    ("common", Some(Value::Int(n))) => Ok(Value::Int(if digits < 0 { rounded(n, -digits) } else { n })),
                    ("common", _) if digits < 0 => Ok(Value::Float((x * factor).round_ties_even() / factor)),
                    ("common", _) => {
                        // The decimal nearest to the number as it is, as Python rounds.
                        let mut text = self.writer();
                        let digits = digits as usize;
                        text.format(format_args!("{x:.digits$}"))?;
                        Ok(Value::Float(text.text.parse().unwrap_or(x)))
                    }
                    _ => failed(format_args!("a number cannot be rounded by {how:?}")),
                }
            }
            "int" => {
                let otherwise = given.get(self, 0, "default").unwrap_or(Value::Int(0));
                let base = given.int(self, 1, "base")?.unwrap_or(10);
                Ok(match value {
                    Value::Undefined(name) => return self.undefined(name),
                    Value::Str(text) => {
                        let text = self.str(text).trim_matches(is_space);
                        let whole = integer(text, base).or_else(|| real(text).map(|x| x as i64));
                        whole.map_or(otherwise, Value::Int)
                    }
                    other => match number(other) {
                        Some(Value::Float(x)) if x.is_finite() => Value::Int(x as i64),
                        Some(whole @ Value::Int(_)) => whole,
                        _ => otherwise,
                    },
                })
            }
            "float" => {
                let otherwise = given.get(self, 0, "default").unwrap_or(Value::Float(0.0));
                let found = match value {
                    Value::Undefined(name) => return self.undefined(name),
                    Value::Str(text) => real(self.str(text).trim_matches(is_space)),
                    other => float(other),
                };
                Ok(found.map_or(otherwise, Value::Float))
            }
            "sum" => {
                let attribute = given.get(self, 0, "attribute");
                let mut total = given.get(self, 1, "start").unwrap_or(Value::Int(0));
                let list = self.iterate(value)?;
                for index in 0..list.len as usize {
                    let mut item = self.item(list, index);
                    if let Some(attribute) = attribute {
                        item = self.path(item, attribute)?;
                    }
                    total = self.binary(Binary::Add, total, item)?;
                }
                Ok(total)
            }
            how => {
                let wanted = if how == "min" { Ordering::Less } else { Ordering::Greater };
                let case = given.get(self, 0, "case_sensitive").is_some_and(|value| self.truth(value));
                let attribute = given.get(self, 1, "attribute");
                let list = self.iterate(value)?;
                let mut best: Option<(Value, Value)> = None;
                for index in 0..list.len as usize {
                    let item = self.item(list, index);
                    let key = self.sort_key(item, attribute, case)?;
                    let better = match best {
                        Some((_, least)) => self.compare(key, least)? == wanted,
                        None => true,
                    };
                    if better {
                        best = Some((item, key));
                    }
                }
                Ok(best.map_or(Value::Undefined(name), |(item, _)| item))
            }
        }
    }
}
