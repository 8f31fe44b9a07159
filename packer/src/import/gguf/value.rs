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
enum ValueKind {
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

impl ValueKind {
    fn read(c: &mut Cursor, what: &str) -> Result<ValueKind> {
        use ValueKind::*;
        const KINDS: [ValueKind; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        let at = c.at();
        let number = c.u32(what)?;
        let kind = usize::try_from(number).ok().and_then(|n| KINDS.get(n));
        kind.copied().ok_or_else(|| bad(format!("{what} at byte {at}: unknown value type {number}")))
    }

    /// Bytes of one value; of a string, the fewest it can have.
    fn size(self) -> usize {
        match self {
            ValueKind::U8 | ValueKind::I8 | ValueKind::Bool => 1,
            ValueKind::U16 | ValueKind::I16 => 2,
            ValueKind::U32 | ValueKind::I32 | ValueKind::F32 => 4,
            ValueKind::U64 | ValueKind::I64 | ValueKind::F64 | ValueKind::String => 8,
            ValueKind::Array => 12,
        }
    }
}

/// A value, numbers widened.
#[derive(Clone)]
pub(super) enum GgufValue<'a> {
    Int(i128),
    Float(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

/// An array still in the file. Its elements have been walked, and are all there.
#[derive(Clone)]
pub(super) struct Array<'a> {
    kind: ValueKind,
    count: usize,
    elements: Cursor<'a>,
}

impl<'a> GgufValue<'a> {
    fn read(kind: ValueKind, c: &mut Cursor<'a>, what: &str) -> Result<Self> {
        match kind {
            ValueKind::String => c.string(what).map(GgufValue::Str),
            ValueKind::Array => {
                let kind = ValueKind::read(c, &format!("element type of {what}"))?;
                if kind == ValueKind::Array {
                    return Err(unsupported(format!("{what} at byte {}: an array of arrays", c.at())));
                }
                let count = c.count(kind.size(), MAX_ELEMENTS, format_args!("element count of {what}"))?;
                let elements = c.clone();
                if kind == ValueKind::String {
                    for i in 0..count {
                        c.string_bytes(what).map_err(|e| e.context(format_args!("element {i}")))?;
                    }
                } else {
                    // No overflow: `count` elements fit what is left of the file.
                    c.take(count * kind.size(), what)?;
                }
                Ok(GgufValue::Array(Array { kind, count, elements }))
            }
            ValueKind::Bool => Ok(GgufValue::Bool(c.take(1, what)?[0] != 0)),
            _ => {
                let bytes = c.take(kind.size(), what)?;
                let mut wide = [0; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                let bits = u64::from_le_bytes(wide);
                Ok(match kind {
                    ValueKind::I8 => GgufValue::Int((bits as i8).into()),
                    ValueKind::I16 => GgufValue::Int((bits as i16).into()),
                    ValueKind::I32 => GgufValue::Int((bits as i32).into()),
                    ValueKind::I64 => GgufValue::Int((bits as i64).into()),
                    ValueKind::F32 => GgufValue::Float(f32::from_bits(bits as u32).into()),
                    ValueKind::F64 => GgufValue::Float(f64::from_bits(bits)),
                    _ => GgufValue::Int(bits.into()),
                })
            }
        }
    }

    /// For error messages.
    fn describe(&self) -> String {
        match self {
            GgufValue::Int(v) => v.to_string(),
            GgufValue::Float(v) => v.to_string(),
            GgufValue::Bool(v) => v.to_string(),
            GgufValue::Str(s) => format!("a string of {} bytes", s.len()),
            GgufValue::Array(a) => format!("an array of {} {:?}", a.count, a.kind),
        }
    }
}

impl<'a> Array<'a> {
    /// The elements in order, each by `pick`, which says `None` to a value of another type.
    fn collect<T>(&self, key: &str, pick: impl Fn(GgufValue<'a>) -> Option<T>) -> Result<Vec<T>> {
        let mut c = self.elements.clone();
        let mut out = Vec::with_capacity(self.count);
        for i in 0..self.count {
            let value =
                GgufValue::read(self.kind, &mut c, key).map_err(|e| e.context(format_args!("`{key}`, element {i}")))?;
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
    pairs: HashMap<&'a str, GgufValue<'a>>,
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
            let kind = ValueKind::read(c, &format!("type of `{key}`"))?;
            let value = GgufValue::read(kind, c, &format!("value of `{key}`"))?;
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

    fn get<T>(&self, key: &str, expected: &str, pick: impl Fn(&GgufValue<'a>) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.pairs.get(key) else { return Ok(None) };
        match pick(value) {
            Some(v) => Ok(Some(v)),
            None => Err(bad(format!("`{key}` is {}, expected {expected}", value.describe()))),
        }
    }

    pub(super) fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", |v| if let GgufValue::Str(s) = v { Some(*s) } else { None })
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", |v| if let GgufValue::Bool(b) = v { Some(*b) } else { None })
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", |v| match v {
            GgufValue::Float(f) => Some(*f),
            GgufValue::Int(i) => Some(*i as f64),
            _ => None,
        })
    }

    pub(super) fn int(&self, key: &str) -> Result<Option<i128>> {
        self.get(key, "an integer", |v| if let GgufValue::Int(i) = v { Some(*i) } else { None })
    }

    /// A size: a non-negative integer, or an array, one for each layer, of equal ones.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(GgufValue::Array(array)) = self.pairs.get(key) else {
            let size = self.get(key, "a size", |v| match v {
                GgufValue::Int(i) => usize::try_from(*i).ok(),
                _ => None,
            });
            return size;
        };
        let sizes = array.collect(key, |v| match v {
            GgufValue::Int(i) => usize::try_from(i).ok(),
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

    fn array<T>(&self, key: &str, pick: impl Fn(GgufValue<'a>) -> Option<T>) -> Result<Option<Vec<T>>> {
        let array = self.get(key, "an array", |v| if let GgufValue::Array(a) = v { Some(a.clone()) } else { None })?;
        array.map(|a| a.collect(key, pick)).transpose()
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.array(key, |v| if let GgufValue::Str(s) = v { Some(s.to_string()) } else { None })
    }

    pub(super) fn ints(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.array(key, |v| if let GgufValue::Int(i) = v { i32::try_from(i).ok() } else { None })
    }

    /// An array of truth values; `None` also where the key is a number.
    pub(super) fn bools(&self, key: &str) -> Result<Option<Vec<bool>>> {
        if let Some(GgufValue::Int(_)) = self.pairs.get(key) {
            return Ok(None);
        }
        self.array(key, |v| if let GgufValue::Bool(b) = v { Some(b) } else { None })
    }

    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.array(key, |v| if let GgufValue::Float(f) = v { Some(f as f32) } else { None })
    }
}
