//! The fields of a JSON object, taken one by one: what is left at the end was not understood, and is refused by name.

use crate::serve::error::{ApiError, ApiResult};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What is left of an object.
pub struct Fields {
    map: Map<String, Value>,
    /// What stands before its names: empty, or `messages[2].`.
    at: String,
}

impl Fields {
    /// The object of a body.
    pub fn of_body(body: &[u8]) -> ApiResult<Fields> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Fields { map, at: String::new() }),
            Ok(_) => Err(ApiError::bad("the body is no JSON object")),
            Err(e) => Err(ApiError::bad(format!("the body is no JSON: {e}"))),
        }
    }

    /// The object that a field holds.
    pub fn of(value: Value, name: &str) -> ApiResult<Fields> {
        match value {
            Value::Object(map) => Ok(Fields { map, at: format!("{name}.") }),
            _ => Err(ApiError::field(name, "no object")),
        }
    }

    /// A field's name as the client knows it.
    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.at)
    }

    /// Takes a field. `null` is absent.
    pub fn take<T: DeserializeOwned>(&mut self, field: &str) -> ApiResult<Option<T>> {
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value).map(Some).map_err(|e| ApiError::field(self.name(field), e)),
        }
    }

    /// Takes a field that has to be there.
    pub fn need<T: DeserializeOwned>(&mut self, field: &str) -> ApiResult<T> {
        self.take(field)?.ok_or_else(|| ApiError::field(self.name(field), "missing"))
    }

    /// Takes a field whose one meaning we have is this value, or one of them.
    pub fn only(&mut self, field: &str, allowed: &[Value], why: &str) -> ApiResult<()> {
        match self.take::<Value>(field)? {
            Some(value) if !allowed.contains(&value) => Err(ApiError::field(self.name(field), why)),
            _ => Ok(()),
        }
    }

    /// Fails if a field is left that is not among those that can have no effect.
    pub fn finish(self, without_effect: &[&str]) -> ApiResult<()> {
        let left = self.map.iter().find(|(name, value)| !value.is_null() && !without_effect.contains(&name.as_str()));
        match left {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::field(self.name(name), "this server does not know the field")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_refused_by_name() {
        let mut fields = Fields::of_body(br#"{"a": 1, "b": null, "c": null, "user": "x"}"#).unwrap();
        assert_eq!((fields.take::<u32>("a").unwrap(), fields.take::<u32>("b").unwrap()), (Some(1), None));
        assert!(fields.need::<u32>("d").unwrap_err().body()["error"]["message"].as_str().unwrap().contains("missing"));
        fields.finish(&["user"]).unwrap();
        let fields = Fields::of_body(br#"{"logit_biass": {}}"#).unwrap();
        assert_eq!(fields.finish(&["user"]).unwrap_err().body()["error"]["param"], "logit_biass");
        let mut inner = Fields::of(serde_json::json!({"x": "five"}), "stream_options").unwrap();
        assert_eq!(inner.take::<u32>("x").unwrap_err().body()["error"]["param"], "stream_options.x");
        for body in [&b"[]"[..], b"{", b"", b"{\"a\": \xff}", b"{} x"] {
            assert!(Fields::of_body(body).is_err(), "{body:?}");
        }
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(Fields::of_body(&deep).is_err());
    }
}
