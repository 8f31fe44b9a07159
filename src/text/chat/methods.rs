//! What a template calls: methods of texts, dictionaries and lists as Python has them, and functions.

use super::clock::strftime;
use super::code::{Arguments, Span};
use super::memory::{ItemList, Memory, Value, failed, push};
use super::operators::{kind, position};
use crate::Result;

/// Numbers of `range` at most.
const RANGE: i64 = 100_000;

/// Characters that a text is padded to at most.
pub(super) const WIDTH: usize = 4096;

/// What a call was given.
#[derive(Clone, Copy)]
pub(super) struct Given<'s> {
    pub positional: &'s [Value],
    /// Names and values.
    pub named: &'s [Value],
}

impl<'s> Given<'s> {
    pub fn new(values: &'s [Value], arguments: Arguments) -> Given<'s> {
        let (positional, named) = values.split_at(usize::from(arguments.positional).min(values.len()));
        Given { positional, named }
    }

    /// The argument at a place, or of a name.
    pub fn get(self, memory: &Memory<'_>, at: usize, name: &str) -> Option<Value> {
        let named = || {
            let pairs = self.named.as_chunks::<2>().0;
            pairs.iter().find(|[its, _]| matches!(its, Value::Str(its) if memory.str(*its) == name)).map(|[_, v]| *v)
        };
        self.positional.get(at).copied().or_else(named)
    }

    pub fn text(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<Span>> {
        match self.get(memory, at, name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(other) => failed(format_args!("{name} is {}, not a text", kind(other))),
        }
    }

    pub fn int(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<i64>> {
        match self.get(memory, at, name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Int(n)) => Ok(Some(n)),
            Some(Value::Bool(truth)) => Ok(Some(i64::from(truth))),
            Some(other) => failed(format_args!("{name} is {}, not a whole number", kind(other))),
        }
    }

    /// A width, which is bounded.
    pub fn width(self, memory: &Memory<'_>, at: usize, name: &str) -> Result<Option<usize>> {
        let Some(width) = self.int(memory, at, name)? else { return Ok(None) };
        let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
        if width > WIDTH {
            return failed(format_args!("a width of {width}; {WIDTH} is the most"));
        }
        Ok(Some(width))
    }
}

impl Memory<'_> {
    pub fn function(&mut self, name: Span, given: Given<'_>) -> Result<Value> {
        match self.str(name) {
            "raise_exception" => match given.text(self, 0, "message")? {
                Some(text) => failed(self.str(text)),
                None => failed("the template refuses the conversation"),
            },
            "joiner" => {
                let between = match given.text(self, 0, "sep")? {
                    Some(between) => Value::Str(between),
                    None => self.text(", ")?,
                };
                self.stateful(between).map(Value::Joiner)
            }
            "cycler" if given.positional.is_empty() => failed("cycler takes what it is to give"),
            "cycler" => {
                let items = self.list(given.positional)?;
                self.stateful(items).map(Value::Cycler)
            }
            "strftime_now" => {
                let (Some(format), Some(time)) = (given.text(self, 0, "format")?, self.time) else {
                    return failed("strftime_now takes a format");
                };
                let mut out = self.writer();
                strftime(&mut out, self.str(format), time)?;
                if self.marked(format) {
                    out.mark(0)?;
                }
                self.finish(out)
            }
            "namespace" => {
                let namespace = self.namespace();
                let Value::Namespace(id) = namespace else { return Ok(namespace) };
                if let Some(Value::Dict(dict)) = given.positional.first() {
                    for pair in 0..dict.len as usize {
                        if let Value::Str(name) = self.item(*dict, 2 * pair) {
                            self.set_attribute(id, name, self.item(*dict, 2 * pair + 1))?;
                        }
                    }
                }
                for [name, value] in given.named.as_chunks::<2>().0 {
                    if let Value::Str(name) = name {
                        self.set_attribute(id, *name, *value)?;
                    }
                }
                Ok(namespace)
            }
            "dict" => match given.positional.first() {
                Some(Value::Dict(dict)) => {
                    let mut pairs = Vec::new();
                    let old = self.items(*dict, true);
                    old.iter().chain(given.named).try_for_each(|value| push(&mut pairs, *value))?;
                    self.dict(&pairs)
                }
                Some(Value::List(list)) => {
                    let mut pairs = Vec::new();
                    for index in 0..list.len as usize {
                        let pair = self.iterate(self.item(*list, index))?;
                        if pair.len != 2 {
                            return failed("dict of what are no pairs");
                        }
                        self.items(pair, false).iter().try_for_each(|value| push(&mut pairs, *value))?;
                    }
                    given.named.iter().try_for_each(|value| push(&mut pairs, *value))?;
                    self.dict(&pairs)
                }
                Some(other) => failed(format_args!("dict of {}", kind(*other))),
                None => self.dict(given.named),
            },
            "range" => {
                let number = |at| match given.positional.get(at) {
                    None => Ok(None),
                    Some(Value::Int(n)) => Ok(Some(*n)),
                    Some(other) => failed(format_args!("range of {}", kind(*other))),
                };
                let (start, stop, step) = match (number(0)?, number(1)?, number(2)?) {
                    (Some(stop), None, None) => (0, stop, 1),
                    (Some(start), Some(stop), step) => (start, stop, step.unwrap_or(1)),
                    _ => return failed("range takes one to three numbers"),
                };
                if step == 0 {
                    return failed("range with a step of zero");
                }
                let distance = if step > 0 { stop.saturating_sub(start) } else { start.saturating_sub(stop) };
                let count = distance.max(0) as u64;
                let count = count.div_ceil(step.unsigned_abs());
                if count > RANGE as u64 {
                    return failed(format_args!("range of {count} numbers; {RANGE} are the most"));
                }
                let mut all = Vec::new();
                self.budget.bytes(count as usize * size_of::<Value>())?;
                (0..count as i64).try_for_each(|n| push(&mut all, Value::Int(start + n * step)))?;
                self.list(&all)
            }
            other => failed(format_args!("there is no function {other}")),
        }
    }

    /// A namespace with `what`, and how often it was asked.
    fn stateful(&mut self, what: Value) -> Result<u32> {
        let Value::Namespace(state) = self.namespace() else { return failed("no namespace") };
        if let Value::Str(name) = self.text("what")? {
            self.set_attribute(state, name, what)?;
        }
        self.set_state(state, Value::Int(0))?;
        Ok(state)
    }

    fn set_state(&mut self, state: u32, times: Value) -> Result<()> {
        match self.text("times")? {
            Value::Str(name) => self.set_attribute(state, name, times),
            _ => failed("no text"),
        }
    }

    fn state(&self, state: u32) -> (Value, i64) {
        let times = match self.attribute(state, "times") {
            Some(Value::Int(times)) => times,
            _ => 0,
        };
        (self.attribute(state, "what").unwrap_or(Value::None), times)
    }

    /// What a joiner gives: nothing the first time.
    pub fn joint(&mut self, state: u32) -> Result<Value> {
        let (between, times) = self.state(state);
        self.set_state(state, Value::Int(1))?;
        if times == 0 { self.text("") } else { Ok(between) }
    }

    /// The item of a cycler whose turn it is, and on to the next.
    pub fn cycled(&mut self, state: u32, on: bool) -> Result<Value> {
        let (Value::List(items), times) = self.state(state) else { return failed("no items") };
        if on {
            self.set_state(state, Value::Int((times + 1) % i64::from(items.len.max(1))))?;
        }
        Ok(self.item(items, times as usize))
    }

    pub fn method(&mut self, name: Span, object: Value, given: Given<'_>) -> Result<Value> {
        match object {
            Value::Str(text) => self.text_method(name, text, given),
            Value::Dict(dict) => self.dict_method(name, dict, given),
            Value::List(list) => match self.str(name) {
                "count" | "index" => {
                    let wanted = given.positional.first().copied().unwrap_or(Value::None);
                    let counts = self.str(name) == "count";
                    let mut count = 0;
                    for at in 0..list.len as usize {
                        if self.equal(self.item(list, at), wanted)? {
                            if !counts {
                                return Ok(Value::Int(at as i64));
                            }
                            count += 1;
                        }
                    }
                    if counts { Ok(Value::Int(count)) } else { failed("the list has no such item") }
                }
                "copy" if !list.tuple => Ok(object),
                other => failed(format_args!("a list has no method {other} here")),
            },
            Value::Undefined(of) => self.undefined(of),
            Value::Cycler(state) => match self.str(name) {
                "next" => self.cycled(state, true),
                "reset" => {
                    self.set_state(state, Value::Int(0))?;
                    Ok(Value::None)
                }
                other => failed(format_args!("a cycler has no method {other}")),
            },
            Value::Int(n) if self.str(name) == "bit_length" => {
                Ok(Value::Int(i64::from(64 - n.unsigned_abs().leading_zeros())))
            }
            Value::Int(_) if self.str(name) == "is_integer" => Ok(Value::Bool(true)),
            Value::Float(x) if self.str(name) == "is_integer" => Ok(Value::Bool(x.fract() == 0.0)),
            other => failed(format_args!("{} has no method {}", kind(other), self.str(name))),
        }
    }

    fn dict_method(&mut self, name: Span, dict: ItemList, given: Given<'_>) -> Result<Value> {
        let mut all = Vec::new();
        match self.str(name) {
            "get" => {
                let key = given.positional.first().copied().unwrap_or(Value::None);
                let found = self.find(dict, key)?;
                let otherwise = given.get(self, 1, "default").unwrap_or(Value::None);
                return Ok(found.map_or(otherwise, |pair| self.item(dict, 2 * pair + 1)));
            }
            "items" => return self.pairs(dict),
            "keys" => (0..dict.len as usize).try_for_each(|pair| push(&mut all, self.item(dict, 2 * pair)))?,
            "values" => (0..dict.len as usize).try_for_each(|pair| push(&mut all, self.item(dict, 2 * pair + 1)))?,
            "copy" => return Ok(Value::Dict(dict)),
            other => return failed(format_args!("a dictionary has no method {other} here")),
        }
        self.list(&all)
    }

    /// Keys and values, a pair each.
    pub fn pairs(&mut self, dict: ItemList) -> Result<Value> {
        let mut all = Vec::new();
        for pair in 0..dict.len as usize {
            let both = [self.item(dict, 2 * pair), self.item(dict, 2 * pair + 1)];
            let both = self.tuple(&both)?;
            push(&mut all, both)?;
        }
        self.list(&all)
    }

    /// The items of a list with a text between them, or an attribute of each.
    pub fn joined(&mut self, list: Value, between: Span, attribute: Option<Value>) -> Result<Value> {
        let list = self.iterate(list)?;
        let mut out = self.writer();
        for index in 0..list.len as usize {
            self.budget.work(1 + out.text.len() / 1024)?;
            if index > 0 {
                self.copy(&mut out, between)?;
            }
            let mut item = self.item(list, index);
            if let Some(attribute) = attribute {
                item = self.path(item, attribute)?;
            }
            self.print(&mut out, item)?;
        }
        self.finish(out)
    }

    /// An attribute, or `a.b.0`.
    pub fn path(&mut self, mut value: Value, path: Value) -> Result<Value> {
        let Value::Str(path) = path else { return self.item_of(value, path) };
        let mut from = 0;
        for _ in 0..=path.len {
            let rest = &self.str(path)[from..];
            let (name, more) = rest.split_once('.').map_or((rest, false), |(name, _)| (name, true));
            let (len, index) = (name.len(), name.parse::<i64>());
            let name = self.part(path, name, from);
            value = match index {
                Ok(index) => self.item_of(value, Value::Int(index))?,
                Err(_) => self.item_of(value, Value::Str(name))?,
            };
            if !more {
                break;
            }
            from += len + 1;
        }
        Ok(value)
    }

    /// An item by its place from either end.
    pub fn at(&self, list: ItemList, index: i64) -> Option<Value> {
        position(index, list.len as usize).map(|at| self.item(list, at))
    }
}
