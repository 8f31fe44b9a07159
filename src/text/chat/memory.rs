//! The values of a render and the memory they lie in: three lists that only grow, and are given back at once. What is
//! made is charged before it exists, so that no template can ask for more than its budget; and where the system has no
//! memory, that is an error.

use super::code::Span;
use super::marks::Marks;
use super::writer::TextWriter;
use crate::{Error, Result, Status};
use std::ops::Range;

/// How deep lists and dictionaries may lie inside of each other: printing and comparing them takes stack for each
/// level.
pub(super) const DEPTH: u8 = 24;

/// A value. Texts and lists are places in the [`Memory`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    /// With its name, for errors.
    Undefined(Span),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Span),
    List(ItemList),
    /// Keys and values, one after the other.
    Dict(ItemList),
    Namespace(u32),
    /// What `joiner` and `cycler` give: their state is a namespace's.
    Joiner(u32),
    Cycler(u32),
    /// A macro by its number.
    Macro(u32),
    /// The block of a `call` by its number.
    Caller(u32),
    /// A function of ours by its name.
    Function(Span),
    /// The loop of this number.
    Loop(u32),
}

/// Items in the memory; of a dictionary, keys and values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ItemList {
    pub start: u32,
    /// Items, or pairs.
    pub len: u32,
    pub depth: u8,
    pub tuple: bool,
    /// Whether it is a pair of `groupby`, whose parts have names.
    pub group: bool,
    /// Whether there is a namespace in it.
    pub mutable: bool,
}

/// An error of a template.
pub(super) fn failed<T>(message: impl Into<crate::error::Message>) -> Result<T> {
    Err(Error::new(Status::Template, message))
}

pub(super) fn out_of_memory() -> Error {
    Error::out_of_memory("a chat template's texts")
}

/// Appends to a list that may be refused the memory.
pub(super) fn push<T>(list: &mut Vec<T>, value: T) -> Result<()> {
    list.try_reserve(1).map_err(|_| out_of_memory())?;
    list.push(value);
    Ok(())
}

/// What is left of what a render may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct RenderBudget {
    /// Bytes of texts and lists.
    pub bytes: usize,
    /// Steps.
    pub work: u64,
}

impl RenderBudget {
    pub fn work(&mut self, steps: usize) -> Result<()> {
        match self.work.checked_sub(steps as u64) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => failed("the template does more work than any conversation needs"),
        }
    }

    pub fn bytes(&mut self, bytes: usize) -> Result<()> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                // Copying costs time as well.
                self.work(bytes / 32)
            }
            None => failed("the template makes more text than any conversation needs"),
        }
    }
}

/// Whether there is a namespace in a value: then a namespace cannot hold it, lest it hold itself.
fn holds_namespace(value: Value) -> bool {
    match value {
        Value::Namespace(_) | Value::Joiner(_) | Value::Cycler(_) => true,
        Value::List(list) | Value::Dict(list) => list.mutable,
        _ => false,
    }
}

pub(super) struct Memory<'p> {
    /// The texts of the program.
    pool: &'p str,
    text: String,
    /// Which of it is inert.
    marks: Marks,
    items: Vec<Value>,
    /// Whose, the name, and what it is.
    attributes: Vec<(u32, Span, Value)>,
    namespaces: u32,
    /// The host's, for `strftime_now`.
    pub time: Option<i64>,
    pub budget: RenderBudget,
}

impl<'p> Memory<'p> {
    pub fn new(pool: &'p str, budget: RenderBudget) -> Memory<'p> {
        let (text, marks, items, attributes) = (String::new(), Marks::default(), Vec::new(), Vec::new());
        Memory { pool, text, marks, items, attributes, namespaces: 0, time: None, budget }
    }

    pub fn str(&self, span: Span) -> &str {
        let (start, len) = (span.start as usize, span.len as usize);
        let (text, start) =
            if start < self.pool.len() { (self.pool, start) } else { (&*self.text, start - self.pool.len()) };
        text.get(start..start + len).unwrap_or_default()
    }

    /// A part of a text, `from` bytes after its start.
    pub fn part(&self, whole: Span, part: &str, from: usize) -> Span {
        Span { start: whole.start + from as u32, len: part.len() as u32 }
    }

    /// Which parts of a text are inert: by its bytes, from its start on.
    pub fn marks(&self, text: Span) -> impl Iterator<Item = Range<u32>> {
        let pool = self.pool.len() as u32;
        // The program's texts are the template's own.
        let (own, start) = (text.start >= pool, text.start.wrapping_sub(pool));
        let stretch = if own { start..start + text.len } else { 0..0 };
        self.marks.within(stretch).map(move |mark| mark.start - start..mark.end - start)
    }

    /// Whether any of a text is inert.
    pub fn marked(&self, text: Span) -> bool {
        self.marks(text).next().is_some()
    }

    fn append(&mut self, text: &str) -> Result<Span> {
        self.budget.bytes(text.len())?;
        self.text.try_reserve(text.len()).map_err(|_| out_of_memory())?;
        let start = self.pool.len() + self.text.len();
        let Ok(start) = u32::try_from(start + text.len()).map(|end| end - text.len() as u32) else {
            return failed("the template makes more text than any conversation needs");
        };
        self.text.push_str(text);
        Ok(Span { start, len: text.len() as u32 })
    }

    /// A text of its own, copied: words of the template's or of ours.
    pub fn text(&mut self, text: &str) -> Result<Value> {
        self.append(text).map(Value::Str)
    }

    /// A text of the host's, which is inert.
    pub fn inert(&mut self, text: &str) -> Result<Value> {
        let from = self.text.len() as u32;
        let span = self.append(text)?;
        self.marks.add(from..from + span.len)?;
        Ok(Value::Str(span))
    }

    pub fn finish(&mut self, writer: TextWriter) -> Result<Value> {
        self.written(&writer, 0)
    }

    /// What a writer has from a place on, as a text.
    pub fn written(&mut self, writer: &TextWriter, from: usize) -> Result<Value> {
        let to = self.text.len() as u32;
        let span = self.append(&writer.text[from..])?;
        let place = from as u32;
        for mark in writer.marks.within(place..writer.place()) {
            self.budget.bytes(size_of::<Range<u32>>())?;
            self.marks.add(to + mark.start - place..to + mark.end - place)?;
        }
        Ok(Value::Str(span))
    }

    pub fn item(&self, list: ItemList, index: usize) -> Value {
        self.items.get(list.start as usize + index).copied().unwrap_or(Value::None)
    }

    /// The items of a list; of a dictionary, keys and values one after the other.
    pub fn items(&self, list: ItemList, pairs: bool) -> &[Value] {
        let len = list.len as usize * if pairs { 2 } else { 1 };
        self.items.get(list.start as usize..list.start as usize + len).unwrap_or_default()
    }

    fn depth_of(&self, values: &[Value]) -> Result<u8> {
        let depth = values.iter().map(|value| match value {
            Value::List(list) | Value::Dict(list) => list.depth,
            _ => 0,
        });
        let depth = 1 + depth.max().unwrap_or(0);
        if depth > DEPTH {
            return failed(format_args!("lists inside of lists, more than {DEPTH} deep"));
        }
        Ok(depth)
    }

    /// A list of values, of which there are `len` to begin with.
    fn store(&mut self, values: &[Value], len: usize, tuple: bool) -> Result<ItemList> {
        let depth = self.depth_of(values)?;
        let mutable = values.iter().any(|value| holds_namespace(*value));
        self.budget.bytes(size_of_val(values))?;
        self.budget.work(values.len())?;
        self.items.try_reserve(values.len()).map_err(|_| out_of_memory())?;
        let start = self.items.len() as u32;
        self.items.extend_from_slice(values);
        Ok(ItemList { start, len: len as u32, depth, tuple, group: false, mutable })
    }

    pub fn list(&mut self, values: &[Value]) -> Result<Value> {
        self.store(values, values.len(), false).map(Value::List)
    }

    pub fn tuple(&mut self, values: &[Value]) -> Result<Value> {
        self.store(values, values.len(), true).map(Value::List)
    }

    /// Keys and values, one after the other; of equal keys the last counts, in the place of the first.
    pub fn dict(&mut self, pairs: &[Value]) -> Result<Value> {
        for value in pairs.iter().step_by(2) {
            if !matches!(value, Value::Str(_) | Value::Int(_) | Value::Bool(_) | Value::None | Value::Float(_)) {
                return failed("a key of a dictionary is no text and no number");
            }
        }
        let mut list = self.store(pairs, 0, false)?;
        for pair in 0..pairs.len() / 2 {
            let (key, value) = (pairs[2 * pair], pairs[2 * pair + 1]);
            match self.find(list, key)? {
                Some(at) => self.items[list.start as usize + 2 * at + 1] = value,
                None => {
                    let end = (list.start + 2 * list.len) as usize;
                    (self.items[end], self.items[end + 1]) = (key, value);
                    list.len += 1;
                }
            }
        }
        Ok(Value::Dict(list))
    }

    /// A dictionary of pairs whose keys are texts, each once.
    pub fn known_dict(&mut self, pairs: &[Value]) -> Result<Value> {
        self.store(pairs, pairs.len() / 2, false).map(Value::Dict)
    }

    /// Leaves one pair of each key, which is a text: the last value, in the place of the first.
    pub fn without_repeats(&mut self, pairs: &mut Vec<Value>) -> Result<()> {
        let count = pairs.len() / 2;
        self.budget.work(count)?;
        let key = |pairs: &[Value], pair: u32| match pairs.get(2 * pair as usize) {
            Some(Value::Str(key)) => *key,
            _ => Span::default(),
        };
        let mut order = Vec::new();
        order.try_reserve_exact(count).map_err(|_| out_of_memory())?;
        order.extend(0..count as u32);
        // By key, and those that are equal in their order: it sorts in place.
        order.sort_unstable_by_key(|&pair| (self.str(key(pairs, pair)), pair));
        let mut first = 0;
        let mut repeats = false;
        for at in 1..order.len() {
            if self.str(key(pairs, order[first])) != self.str(key(pairs, order[at])) {
                first = at;
                continue;
            }
            pairs[2 * order[first] as usize + 1] = pairs[2 * order[at] as usize + 1];
            pairs[2 * order[at] as usize] = Value::None;
            repeats = true;
        }
        if repeats {
            let mut kept = 0;
            for pair in 0..count {
                if !matches!(pairs[2 * pair], Value::None) {
                    pairs.copy_within(2 * pair..2 * pair + 2, kept);
                    kept += 2;
                }
            }
            pairs.truncate(kept);
        }
        Ok(())
    }

    /// Which pair of a dictionary has this key.
    pub fn find(&mut self, dict: ItemList, key: Value) -> Result<Option<usize>> {
        for pair in 0..dict.len as usize {
            self.budget.work(1)?;
            if self.equal(self.item(dict, 2 * pair), key)? {
                return Ok(Some(pair));
            }
        }
        Ok(None)
    }

    /// What a dictionary has under a name.
    pub fn get(&self, dict: ItemList, name: &str) -> Option<Value> {
        let pairs = self.items(dict, true).as_chunks::<2>().0;
        pairs.iter().find(|[key, _]| matches!(key, Value::Str(key) if self.str(*key) == name)).map(|[_, value]| *value)
    }

    pub fn namespace(&mut self) -> Value {
        self.namespaces += 1;
        Value::Namespace(self.namespaces - 1)
    }

    pub fn attribute(&self, namespace: u32, name: &str) -> Option<Value> {
        let found = self.attributes.iter().find(|(of, its, _)| *of == namespace && self.str(*its) == name);
        found.map(|(_, _, value)| *value)
    }

    pub fn set_attribute(&mut self, namespace: u32, name: Span, value: Value) -> Result<()> {
        if holds_namespace(value) {
            return failed("a namespace cannot hold a namespace");
        }
        self.budget.work(1 + self.attributes.len())?;
        let text = self.str(name);
        let at = self.attributes.iter().position(|(of, its, _)| *of == namespace && self.str(*its) == text);
        match at {
            Some(at) => self.attributes[at].2 = value,
            None => {
                self.budget.bytes(size_of::<(u32, Span, Value)>())?;
                push(&mut self.attributes, (namespace, name, value))?;
            }
        }
        Ok(())
    }
}
