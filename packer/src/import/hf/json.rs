//! JSON files, and typed access to an object's fields that names what is wrong.

use std::path::Path;

use rasp::{Error, Result, Status};
use serde_json::{Map, Value};

use crate::import::{bad, io};

/// The bytes of a file; `None` where there is none. What is no regular file (a pipe, which nobody may write to) is not
/// opened.
pub(super) fn bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => std::fs::read(path).map(Some).map_err(|e| io(path, &e)),
        Ok(_) => Err(bad(format!("{}: not a regular file", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(path, &e)),
    }
}

/// The same of a text.
pub(super) fn text(path: &Path) -> Result<Option<String>> {
    let not_text = |e| Error::new(Status::InvalidUtf8, format!("{} is not UTF-8: {e}", path.display()));
    bytes(path)?.map(|bytes| String::from_utf8(bytes).map_err(not_text)).transpose()
}

/// Parses a JSON file; `None` where there is none.
pub(in crate::import) fn read(path: &Path) -> Result<Option<Value>> {
    let parsed = bytes(path)?.map(|bytes| serde_json::from_slice(&bytes));
    parsed.transpose().map_err(|e| bad(format!("{}: not valid JSON: {e}", path.display())))
}

/// The text of a token: a string, or an object with its `content`.
pub(super) fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// An object of a JSON file. A field that is `null` counts as absent, as it does for transformers.
#[derive(Clone, Copy)]
pub(in crate::import) struct Object<'a> {
    at: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// `at` is what error messages call it.
    pub(in crate::import) fn new(at: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { at, fields }),
            _ => Err(bad(format!("{at}: not a JSON object"))),
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|v| !v.is_null())
    }

    /// Whether the key stands there, be it with `null`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    pub(in crate::import) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.fields.keys().map(String::as_str)
    }

    /// Whether another one has the same fields.
    pub(super) fn same(&self, other: &Option<Object<'_>>) -> bool {
        other.is_some_and(|other| self.fields == other.fields)
    }

    /// What the first of these keys that is there says.
    fn first<T>(&self, keys: &[&str], read: impl Fn(&str) -> Result<Option<T>>) -> Result<Option<T>> {
        keys.iter().find(|key| self.value(key).is_some()).map_or(Ok(None), |key| read(key))
    }

    pub(super) fn str_of(&self, keys: &[&str]) -> Result<Option<&'a str>> {
        self.first(keys, |key| self.str(key))
    }

    pub(super) fn bool_of(&self, keys: &[&str]) -> Result<Option<bool>> {
        self.first(keys, |key| self.bool(key))
    }

    pub(super) fn float_of(&self, keys: &[&str]) -> Result<Option<f64>> {
        self.first(keys, |key| self.float(key))
    }

    pub(super) fn size_of(&self, keys: &[&str]) -> Result<Option<usize>> {
        self.first(keys, |key| self.size(key))
    }

    /// The first key's name is what an error gives.
    pub(super) fn need_size_of(&self, keys: &[&str]) -> Result<usize> {
        self.size_of(keys)?.ok_or_else(|| self.missing(keys[0]))
    }

    /// An object inside this one; its errors name this one.
    pub(in crate::import) fn object(&self, key: &str) -> Result<Option<Object<'a>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Object { at: self.at, fields })),
            Some(other) => Err(self.wrong(key, other, "an object")),
        }
    }

    fn get<T>(&self, key: &str, expected: &str, pick: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        pick(value).map(Some).ok_or_else(|| self.wrong(key, value, expected))
    }

    /// Of `expected`, such as `names`, each by `pick`.
    pub(super) fn list<T>(
        &self,
        key: &str,
        expected: &str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let list = value.as_array().and_then(|list| list.iter().map(pick).collect::<Option<Vec<T>>>());
        list.map(Some).ok_or_else(|| bad(format!("{}: `{key}` is no list of {expected}", self.at)))
    }

    /// A list of one for each of so many layers.
    pub(super) fn list_of<T>(
        &self,
        key: &str,
        layers: usize,
        expected: &str,
        pick: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        match self.list(key, expected, pick)? {
            Some(list) if list.len() != layers => {
                Err(bad(format!("{}: `{key}` is no list of {layers} {expected}", self.at)))
            }
            list => Ok(list),
        }
    }

    pub(in crate::import) fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", Value::as_str)
    }

    pub(in crate::import) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    pub(in crate::import) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, "a size", |v| v.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    pub(super) fn need_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(in crate::import) fn need_float(&self, key: &str) -> Result<f64> {
        self.float(key)?.ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> rasp::Error {
        bad(format!("{}: `{key}` is missing", self.at))
    }

    fn wrong(&self, key: &str, value: &Value, expected: &str) -> rasp::Error {
        // A whole document could stand there: only its beginning is shown.
        let shown: String = value.to_string().chars().take(60).collect();
        bad(format!("{}: `{key}` is {shown}, expected {expected}", self.at))
    }
}
