//! What operators do: truth, order, arithmetic, and getting at the parts of a value, as in Python.

use super::code::{Binary, Span};
use super::memory::{ItemList, Memory, Value, failed, push};
use crate::Result;
use std::cmp::Ordering;

/// What a value is, for errors.
pub(super) fn kind(value: Value) -> &'static str {
    match value {
        Value::Undefined(_) => "undefined",
        Value::None => "none",
        Value::Bool(_) => "a truth value",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Str(_) => "a text",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
        Value::Namespace(_) => "a namespace",
        Value::Joiner(_) | Value::Cycler(_) => "a joiner or cycler",
        Value::Macro(_) | Value::Caller(_) | Value::Function(_) => "a function",
        Value::Loop(_) => "a loop",
    }
}

/// A number as Python counts: truth values are 0 and 1.
pub(super) fn number(value: Value) -> Option<Value> {
    match value {
        Value::Bool(truth) => Some(Value::Int(i64::from(truth))),
        Value::Int(_) | Value::Float(_) => Some(value),
        _ => None,
    }
}

pub(super) fn float(value: Value) -> Option<f64> {
    match number(value)? {
        Value::Int(n) => Some(n as f64),
        Value::Float(x) => Some(x),
        _ => None,
    }
}

/// A position as Python counts: from the end if it is negative.
pub(super) fn position(index: i64, len: usize) -> Option<usize> {
    let at = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < len)
}

impl Memory<'_> {
    pub fn truth(&self, value: Value) -> bool {
        match value {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(truth) => truth,
            Value::Int(n) => n != 0,
            Value::Float(x) => x != 0.0,
            Value::Str(span) => span.len > 0,
            Value::List(list) | Value::Dict(list) => list.len > 0,
            _ => true,
        }
    }

    /// The name of something undefined, as an error.
    pub fn undefined<T>(&self, name: Span) -> Result<T> {
        match self.str(name) {
            "" => failed("an item that is not there is used"),
            name => failed(format_args!("{name:?} is undefined")),
        }
    }

    pub fn equal(&mut self, a: Value, b: Value) -> Result<bool> {
        self.budget.work(1)?;
        if let (Some(a), Some(b)) = (number(a), number(b)) {
            return Ok(match (a, b) {
                (Value::Int(a), Value::Int(b)) => a == b,
                (a, b) => float(a) == float(b),
            });
        }
        Ok(match (a, b) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => {
                self.budget.work(a.len.min(b.len) as usize / 32)?;
                self.str(a) == self.str(b)
            }
            (Value::List(a), Value::List(b)) => {
                if a.len != b.len || a.tuple != b.tuple {
                    return Ok(false);
                }
                for index in 0..a.len as usize {
                    if !self.equal(self.item(a, index), self.item(b, index))? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Dict(a), Value::Dict(b)) => {
                if a.len != b.len {
                    return Ok(false);
                }
                for pair in 0..a.len as usize {
                    let Some(other) = self.find(b, self.item(a, 2 * pair))? else { return Ok(false) };
                    if !self.equal(self.item(a, 2 * pair + 1), self.item(b, 2 * other + 1))? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Namespace(a), Value::Namespace(b)) | (Value::Macro(a), Value::Macro(b)) => a == b,
            (Value::Function(a), Value::Function(b)) => self.str(a) == self.str(b),
            _ => false,
        })
    }

    pub fn compare(&mut self, a: Value, b: Value) -> Result<Ordering> {
        self.budget.work(1)?;
        if let (Some(a), Some(b)) = (number(a), number(b)) {
            let order = match (a, b) {
                (Value::Int(a), Value::Int(b)) => Some(a.cmp(&b)),
                (a, b) => float(a).partial_cmp(&float(b)),
            };
            return Ok(order.unwrap_or(Ordering::Equal));
        }
        match (a, b) {
            (Value::Str(a), Value::Str(b)) => {
                self.budget.work(a.len.min(b.len) as usize / 32)?;
                Ok(self.str(a).cmp(self.str(b)))
            }
            (Value::List(a), Value::List(b)) => {
                if a.tuple != b.tuple {
                    return failed("a list and a tuple have no order");
                }
                for index in 0..a.len.min(b.len) as usize {
                    let order = self.compare(self.item(a, index), self.item(b, index))?;
                    if order.is_ne() {
                        return Ok(order);
                    }
                }
                Ok(a.len.cmp(&b.len))
            }
            (Value::Undefined(name), _) | (_, Value::Undefined(name)) => self.undefined(name),
            _ => failed(format_args!("{} and {} have no order", kind(a), kind(b))),
        }
    }

    pub fn contains(&mut self, item: Value, whole: Value) -> Result<bool> {
        match whole {
            Value::Str(whole) => {
                let Value::Str(part) = item else {
                    return failed(format_args!("{} is looked for in a text", kind(item)));
                };
                self.budget.work(whole.len as usize / 16)?;
                Ok(self.str(whole).contains(self.str(part)))
            }
            Value::List(list) => {
                for index in 0..list.len as usize {
                    if self.equal(self.item(list, index), item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Dict(dict) => Ok(self.find(dict, item)?.is_some()),
            Value::Undefined(_) => Ok(false),
            _ => failed(format_args!("nothing is in {}", kind(whole))),
        }
    }

    pub fn binary(&mut self, op: Binary, a: Value, b: Value) -> Result<Value> {
        Ok(Value::Bool(match op {
            Binary::Equal => self.equal(a, b)?,
            Binary::NotEqual => !self.equal(a, b)?,
            Binary::Less => self.compare(a, b)?.is_lt(),
            Binary::LessEqual => self.compare(a, b)?.is_le(),
            Binary::Greater => self.compare(a, b)?.is_gt(),
            Binary::GreaterEqual => self.compare(a, b)?.is_ge(),
            Binary::In => self.contains(a, b)?,
            Binary::NotIn => !self.contains(a, b)?,
            Binary::Concat => {
                let mut text = self.writer();
                self.print(&mut text, a)?;
                self.print(&mut text, b)?;
                return self.finish(text);
            }
            _ => return self.arithmetic(op, a, b),
        }))
    }

    fn arithmetic(&mut self, op: Binary, a: Value, b: Value) -> Result<Value> {
        if let (Value::Undefined(name), _) | (_, Value::Undefined(name)) = (a, b) {
            return self.undefined(name);
        }
        if let (Some(a), Some(b)) = (number(a), number(b)) {
            return match (a, b) {
                (Value::Int(a), Value::Int(b)) if op != Binary::Divide => whole(op, a, b),
                (a, b) => real(op, float(a).unwrap_or(0.0), float(b).unwrap_or(0.0)).map(Value::Float),
            };
        }
        // Truth values count.
        let count = |value: Value| number(value).unwrap_or(value);
        let (a, b) = if op == Binary::Multiply { (count(a), count(b)) } else { (a, b) };
        match (op, a, b) {
            (Binary::Add, Value::Str(a), Value::Str(b)) => {
                let mut text = self.writer();
                self.copy(&mut text, a)?;
                self.copy(&mut text, b)?;
                self.finish(text)
            }
            (Binary::Add, Value::List(a), Value::List(b)) if a.tuple == b.tuple => {
                self.budget.bytes((a.len as usize + b.len as usize) * size_of::<Value>())?;
                let mut all = Vec::new();
                for list in [a, b] {
                    for index in 0..list.len as usize {
                        push(&mut all, self.item(list, index))?;
                    }
                }
                if a.tuple { self.tuple(&all) } else { self.list(&all) }
            }
            (Binary::Multiply, Value::Str(text), Value::Int(times))
            | (Binary::Multiply, Value::Int(times), Value::Str(text)) => {
                let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
                self.budget.work(times)?;
                let mut all = self.writer();
                for _ in 0..if text.len == 0 { 0 } else { times } {
                    self.copy(&mut all, text)?;
                }
                self.finish(all)
            }
            (Binary::Multiply, Value::List(list), Value::Int(times))
            | (Binary::Multiply, Value::Int(times), Value::List(list)) => {
                let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
                self.budget.bytes(times.saturating_mul(list.len as usize * size_of::<Value>()))?;
                let mut all = Vec::new();
                for _ in 0..if list.len == 0 { 0 } else { times } {
                    for index in 0..list.len as usize {
                        push(&mut all, self.item(list, index))?;
                    }
                }
                if list.tuple { self.tuple(&all) } else { self.list(&all) }
            }
            (Binary::Modulo, Value::Str(format), values) => self.percent(format, values),
            _ => failed(format_args!("{} and {} cannot be computed with", kind(a), kind(b))),
        }
    }

    /// An attribute of a value; undefined if it has none.
    pub fn attribute_of(&mut self, object: Value, name: Span) -> Result<Value> {
        match object {
            Value::Undefined(of) => self.undefined(of),
            Value::Dict(dict) => {
                self.budget.work(dict.len as usize)?;
                Ok(self.get(dict, self.str(name)).unwrap_or(Value::Undefined(name)))
            }
            Value::List(pair) if pair.group => Ok(match self.str(name) {
                "grouper" => self.item(pair, 0),
                "list" => self.item(pair, 1),
                _ => Value::Undefined(name),
            }),
            Value::Cycler(state) if self.str(name) == "current" => self.cycled(state, false),
            Value::Namespace(namespace) => {
                Ok(self.attribute(namespace, self.str(name)).unwrap_or(Value::Undefined(name)))
            }
            _ => Ok(Value::Undefined(name)),
        }
    }

    pub fn item_of(&mut self, object: Value, key: Value) -> Result<Value> {
        let nothing = match key {
            Value::Str(name) => Value::Undefined(name),
            _ => Value::Undefined(Span { start: 0, len: 0 }),
        };
        match (object, key) {
            (Value::Undefined(of), _) => self.undefined(of),
            (Value::Dict(dict), key) => {
                let found = self.find(dict, key)?;
                Ok(found.map_or(nothing, |pair| self.item(dict, 2 * pair + 1)))
            }
            (Value::List(list), Value::Int(index)) => {
                let found = position(index, list.len as usize);
                Ok(found.map_or(nothing, |at| self.item(list, at)))
            }
            (Value::Str(text), Value::Int(index)) => {
                self.budget.work(text.len as usize / 16)?;
                let whole = self.str(text);
                let count = whole.chars().count();
                let Some(at) = position(index, count) else { return Ok(nothing) };
                let found = whole.char_indices().nth(at).map(|(from, c)| (from, c.len_utf8()));
                let (from, len) = found.unwrap_or((0, 0));
                Ok(Value::Str(Span { start: text.start + from as u32, len: len as u32 }))
            }
            (object, Value::Str(name)) => self.attribute_of(object, name),
            _ => Ok(nothing),
        }
    }

    pub fn slice(&mut self, object: Value, start: Value, stop: Value, step: Value) -> Result<Value> {
        // What cannot be sliced, or not so, has no such part.
        let nothing = Value::Undefined(Span::default());
        let bound = |value: Value| match number(value) {
            None if matches!(value, Value::None) => Some(None),
            Some(Value::Int(n)) => Some(Some(n)),
            _ => None,
        };
        let (start, stop, step) = match (object, bound(start), bound(stop), bound(step)) {
            (Value::Undefined(name), ..) => return self.undefined(name),
            (_, Some(start), Some(stop), Some(step)) => (start, stop, step.unwrap_or(1)),
            _ => return Ok(nothing),
        };
        if step == 0 {
            return failed("a slice with a step of zero");
        }
        let indexes = |len: usize| {
            let len = len as i64;
            let (least, most) = if step > 0 { (0, len) } else { (-1, len - 1) };
            let place = |at: Option<i64>, missing: i64| match at {
                None => missing,
                Some(at) if at < 0 => at.saturating_add(len).max(least),
                Some(at) => at.min(most),
            };
            let (start, stop) =
                if step > 0 { (place(start, 0), place(stop, len)) } else { (place(start, len - 1), place(stop, -1)) };
            (start, stop)
        };
        let next = |at: i64, stop: i64| if step > 0 { at < stop } else { at > stop };
        match object {
            Value::List(list) => {
                let (mut at, stop) = indexes(list.len as usize);
                let mut found = Vec::new();
                while next(at, stop) {
                    self.budget.work(1)?;
                    push(&mut found, self.item(list, at as usize))?;
                    at = at.saturating_add(step);
                }
                if list.tuple { self.tuple(&found) } else { self.list(&found) }
            }
            Value::Str(text) => {
                self.budget.work(text.len as usize / 4)?;
                let whole = self.str(text);
                let (mut at, stop) = indexes(whole.chars().count());
                if step == 1 {
                    let byte =
                        |char: i64| whole.char_indices().nth(char as usize).map_or(whole.len(), |(byte, _)| byte);
                    let (from, to) = (byte(at), byte(stop.max(at)));
                    return Ok(Value::Str(self.part(text, &whole[from..to], from)));
                }
                let mut chars = Vec::new();
                for c in whole.chars() {
                    push(&mut chars, c)?;
                }
                let mut found = self.writer();
                while next(at, stop) {
                    found.put_char(chars[at as usize])?;
                    at = at.saturating_add(step);
                }
                if self.marked(text) {
                    found.mark(0)?;
                }
                self.finish(found)
            }
            _ => Ok(nothing),
        }
    }

    /// Items, pairs or characters.
    pub fn length(&mut self, value: Value) -> Result<usize> {
        match value {
            Value::Str(text) => {
                self.budget.work(text.len as usize / 16)?;
                Ok(self.str(text).chars().count())
            }
            Value::List(list) | Value::Dict(list) => Ok(list.len as usize),
            Value::Undefined(_) => Ok(0),
            _ => failed(format_args!("{} has no length", kind(value))),
        }
    }

    /// What a loop over a value goes through, as a list: items, keys, characters; nothing of what is undefined.
    pub fn iterate(&mut self, value: Value) -> Result<ItemList> {
        let list = match value {
            Value::List(list) => return Ok(list),
            Value::Undefined(_) => self.list(&[])?,
            Value::Dict(dict) => {
                let mut keys = Vec::new();
                for pair in 0..dict.len as usize {
                    push(&mut keys, self.item(dict, 2 * pair))?;
                }
                self.list(&keys)?
            }
            Value::Str(text) => {
                self.budget.bytes(text.len as usize * size_of::<Value>())?;
                let mut chars = Vec::new();
                for (from, c) in self.str(text).char_indices() {
                    let span = Span { start: text.start + from as u32, len: c.len_utf8() as u32 };
                    push(&mut chars, Value::Str(span))?;
                }
                self.list(&chars)?
            }
            _ => return failed(format_args!("{} is no list", kind(value))),
        };
        match list {
            Value::List(list) => Ok(list),
            _ => failed("no list"),
        }
    }
}

fn whole(op: Binary, a: i64, b: i64) -> Result<Value> {
    let value = match op {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Power if b < 0 && a == 0 => return failed("a division by zero"),
        Binary::Power if b < 0 => return Ok(Value::Float((a as f64).powf(b as f64))),
        Binary::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        Binary::FloorDivide | Binary::Modulo if b == 0 => return failed("a division by zero"),
        Binary::FloorDivide => a.checked_div(b).map(|q| if a % b != 0 && (a < 0) != (b < 0) { q - 1 } else { q }),
        Binary::Modulo => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        _ => None,
    };
    value.map_or_else(|| failed("a number beyond 64 bits"), |n| Ok(Value::Int(n)))
}

fn real(op: Binary, a: f64, b: f64) -> Result<f64> {
    let divides = matches!(op, Binary::Divide | Binary::FloorDivide | Binary::Modulo);
    if divides && b == 0.0 {
        return failed("a division by zero");
    }
    Ok(match op {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::FloorDivide => (a / b).floor(),
        Binary::Modulo => a - (a / b).floor() * b,
        Binary::Power => a.powf(b),
        _ => return failed("numbers that cannot be computed with"),
    })
}
