//! JSON files, and typed access to an object's fields that names what is wrong.

use std::path::Path;

use rasp::Result;
use serde_json::{Map, Value};

use crate::import::{bad, io};

/// Parses a JSON file; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Value>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(bad(format!("{}: not a regular file", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(path, &e)),
    }
    let bytes = std::fs::read(path).map_err(|e| io(path, &e))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| bad(format!("{}: not valid JSON: {e}", path.display())))
}

/// An object of a JSON file. A field that is `null` counts as absent, as it does for transformers.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    at: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// `at` is what error messages call it.
    pub(super) fn new(at: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { at, fields }),
            _ => Err(bad(format!("{at}: not a JSON object"))),
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|v| !v.is_null())
    }

    /// The names of its fields.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.fields.keys().map(String::as_str)
    }

    /// An object inside this one; its errors name this one.
    pub(super) fn object(&self, key: &str) -> Result<Option<Object<'a>>> {
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

    pub(super) fn str(&self, key: &str) -> Result<Option<&'a str>> {
        self.get(key, "a string", Value::as_str)
    }

    pub(super) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "true or false", Value::as_bool)
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.get(key, "a number", Value::as_f64)
    }

    pub(super) fn size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key, "a size", |v| v.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    pub(super) fn need_size(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn need_float(&self, key: &str) -> Result<f64> {
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
