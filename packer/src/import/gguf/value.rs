//! The typed key-value pairs at the head of a GGUF file.
//!
//! Arrays are walked once, to find their end and to know that every element is there, and stay bytes of the mapped
//! file until someone asks for them: a file cannot make the importer hold more than a few times its own length.

use std::collections::HashMap;

use rasp::Result;

use super::cursor::Cursor;
use crate::import::{bad, unsupported};

/// The type of a value, by its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read(c: &mut Cursor, what: &str) -> Result<Kind> {
        use Kind::*;
        const KINDS: [Kind; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        let at = c.at();
        let number = c.u32(what)?;
        let kind = usize::try_from(number).ok().and_then(|n| KINDS.get(n));
        kind.copied().ok_or_else(|| bad(format!("{what} at byte {at}: unknown value type {number}")))
    }

    /// Bytes of one value; of a string, the fewest it can have.
    fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
            Kind::Array => 12,
        }
    }
}

/// A value, numbers widened.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Int(i128),
    Float(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

/// An array still in the file. Its elements have been walked, and are all there.
#[derive(Clone)]
pub(super) struct Array<'a> {
    kind: Kind,
    count: usize,
    elements: Cursor<'a>,
}

impl<'a> Value<'a> {
    fn read(kind: Kind, c: &mut Cursor<'a>, what: &str) -> Result<Self> {
        match kind {
            Kind::String => c.string(what).map(Value::Str),
            Kind::Array => {
                let kind = Kind::read(c, &format!("element type of {what}"))?;
                if kind == Kind::Array {
                    return Err(unsupported(format!("{what} at byte {}: an array of arrays", c.at())));
                }
                let count = c.count(kind.size(), MAX_ELEMENTS, format_args!("element count of {what}"))?;
                let elements = c.clone();
                if kind == Kind::String {
                    for i in 0..count {
                        c.string_bytes(what).map_err(|e| e.context(format_args!("element {i}")))?;
                    }
                } else {
                    // No overflow: `count` elements fit what is left of the file.
                    c.take(count * kind.size(), what)?;
                }
                Ok(Value::Array(Array { kind, count, elements }))
            }
            Kind::Bool => Ok(Value::Bool(c.take(1, what)?[0] != 0)),
            _ => {
                let bytes = c.take(kind.size(), what)?;
                let mut wide = [0; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                let bits = u64::from_le_bytes(wide);
                Ok(match kind {
                    Kind::I8 => Value::Int((bits as i8).into()),
                    Kind::I16 => Value::Int((bits as i16).into()),
                    Kind::I32 => Value::Int((bits as i32).into()),
                    Kind::I64 => Value::Int((bits as i64).into()),
                    Kind::F32 => Value::Float(f32::from_bits(bits as u32).into()),
                    Kind::F64 => Value::Float(f64::from_bits(bits)),
                    _ => Value::Int(bits.into()),
                })
            }
        }
    }

    /// For error messages.
    fn describe(&self) -> String {
        match self {
            Value::Int(v) => v.to_string(),
            Value::Float(v) => v.to_string(),
            Value::Bool(v) => v.to_string(),
            Value::Str(s) => format!("a string of {} bytes", s.len()),
            Value::Array(a) => format!("an array of {} {:?}", a.count, a.kind),
        }
    }
}

impl<'a> Array<'a> {
    /// The elements in order, each by `pick`, which says `None` to a value of another type.
    fn collect<T>(&self, key: &str, pick: impl Fn(Value<'a>) -> Option<T>) -> Result<Vec<T>> {
        let mut c = self.elements.clone();
        let mut out = Vec::with_capacity(self.count);
        for i in 0..self.count {
            let value =
                Value::read(self.kind, &mut c, key).map_err(|e| e.context(format_args!("`{key}`, element {i}")))?;
            out.push(
                pick(value)
                    .ok_or_else(|| bad(format!("`{key}`: an array of {:?} where another type belongs", self.kind)))?,
            );
        }
        Ok(out)
    }
}

/// All pairs of a file.
pub(super) struct Metadata<'a> {
    pairs: HashMap<&'a str, Value<'a>>,
}

/// The fewest bytes a pair can have: an empty key, a type, one byte.
pub(super) const LEAST_PAIR: usize = 8 + 4 + 1;

/// Many times what any file has.
pub(super) const MAX_PAIRS: u64 = 1 << 16;

/// As many elements as the largest vocabulary could need, with some to spare.
const MAX_ELEMENTS: u64 = 1 << 25;

impl<'a> Metadata<'a> {
    pub(super) fn read(c: &mut Cursor<'a>, count: usize) -> Result<Self> {
        let mut pairs = HashMap::with_capacity(count);
        for i in 0..count {
            let key = c.string(format_args!("key {i} of {count}"))?;
            let kind = Kind::read(c, &format!("type of `{key}`"))?;
            let value = Value::read(kind, c, &format!("value of `{key}`"))?;
            if pairs.insert(key, value).is_some() {
                return Err(bad(format!("key `{key}` is there twice")));
            }
        }
        Ok(Self { pairs })
    }

    /// Keys that start with `prefix`, without it.
    pub(super) fn keys_under(&self, prefix: &str) -> impl Iterator<Item = &'a str> {
        self.pairs.keys().filter_map(move |k| k.strip_prefix(prefix))
    }

    fn get<T>(&self, key: &str, expected: &str, pick: impl Fn(&Value<'a>) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.pairs.get(key) else { return Ok(None) };
        match pick(value) {
            Some(v) => Ok(Some(v)),
            None => Err(bad(format!("`{key}` is {}, expected {expected}", value.describe()))),
        }
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", |v| if let Value::Str(s) = v { Some(*s) } else { None })
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", |v| match v {
            Value::Float(f) => Some(*f),
            Value::Int(i) => Some(*i as f64),
            _ => None,
        })
    }

    pub(super) fn int(&self, key: &str) -> Result<Option<i128>> {
        self.get(key, "an integer", |v| if let Value::Int(i) = v { Some(*i) } else { None })
    }

    /// A size: a non-negative integer, or an array, one for each layer, of equal ones.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(Value::Array(array)) = self.pairs.get(key) else {
            let size = self.get(key, "a size", |v| match v {
                Value::Int(i) => usize::try_from(*i).ok(),
                _ => None,
            });
            return size;
        };
        let sizes = array.collect(key, |v| match v {
            Value::Int(i) => usize::try_from(i).ok(),
            _ => None,
        })?;
        match sizes.split_first() {
            None => Err(bad(format!("`{key}` is an empty array, expected a size"))),
            Some((first, rest)) if rest.iter().all(|s| s == first) => Ok(Some(*first)),
            Some(_) => Err(unsupported(format!("`{key}` differs from layer to layer"))),
        }
    }

    /// Like [`Self::size`], where the file must have it.
    pub(super) fn need_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| bad(format!("key `{key}` is missing")))
    }

    fn array<T>(&self, key: &str, pick: impl Fn(Value<'a>) -> Option<T>) -> Result<Option<Vec<T>>> {
        let array = self.get(key, "an array", |v| if let Value::Array(a) = v { Some(a.clone()) } else { None })?;
        array.map(|a| a.collect(key, pick)).transpose()
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.array(key, |v| if let Value::Str(s) = v { Some(s.to_string()) } else { None })
    }

    pub(super) fn ints(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.array(key, |v| if let Value::Int(i) = v { i32::try_from(i).ok() } else { None })
    }

    /// An array of truth values; `None` also where the key is a number.
    pub(super) fn bools(&self, key: &str) -> Result<Option<Vec<bool>>> {
        if let Some(Value::Int(_)) = self.pairs.get(key) {
            return Ok(None);
        }
        self.array(key, |v| if let Value::Bool(b) = v { Some(b) } else { None })
    }

    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, |v| if let Value::Float(f) = v { Some(f as f32) } else { None })
    }
}
