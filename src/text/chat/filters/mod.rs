//! Filters, as in Jinja2; `tojson` as `transformers` has it.

mod lists;
mod numbers;
mod texts;

use super::code::Span;
use super::memory::{Memory, Value, failed, push};
use super::methods::Given;
use super::operators::kind;
use super::print::{Indent, JsonStyle};
use crate::Result;

/// The names of filters, for `is filter`.
pub(super) const FILTERS: [&str; 48] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
];

impl Memory<'_> {
    pub fn filter(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
        match self.str(name) {
            "safe" => Ok(value),
            "string" => match value {
                Value::Str(_) => Ok(value),
                _ => {
                    let mut out = self.writer();
                    self.print(&mut out, value)?;
                    self.finish(out)
                }
            },
            "default" | "d" => {
                let boolean = given.get(self, 1, "boolean").is_some_and(|value| self.truth(value));
                let lacks = matches!(value, Value::Undefined(_)) || boolean && !self.truth(value);
                let otherwise = match given.get(self, 0, "default_value") {
                    Some(value) => value,
                    None => self.text("")?,
                };
                Ok(if lacks { otherwise } else { value })
            }
            "length" | "count" => Ok(Value::Int(self.length(value)? as i64)),
            "abs" | "round" | "int" | "float" | "sum" | "min" | "max" => self.number_filter(name, value, given),
            "first" | "last" => {
                let list = self.iterate(value)?;
                let at = if self.str(name) == "first" { 0 } else { -1 };
                Ok(self.at(list, at).unwrap_or(Value::Undefined(name)))
            }
            "join" => {
                let between = match given.text(self, 0, "d")? {
                    Some(between) => between,
                    None => Span { start: 0, len: 0 },
                };
                let attribute = given.get(self, 1, "attribute");
                self.joined(value, between, attribute)
            }
            "tojson" => {
                let style = self.json_style(given)?;
                let mut out = self.writer();
                self.json(&mut out, value, &style, 0)?;
                self.finish(out)
            }
            "attr" => match given.text(self, 0, "name")? {
                Some(attribute) => self.attribute_of(value, attribute),
                None => failed("the name of an attribute is missing"),
            },
            "items" => match value {
                Value::Dict(dict) => self.pairs(dict),
                Value::Undefined(_) => self.list(&[]),
                other => failed(format_args!("{} has no items", kind(other))),
            },
            "list" | "reverse" | "unique" | "sort" | "dictsort" | "batch" | "slice" => {
                self.list_filter(name, value, given)
            }
            "map" | "select" | "reject" | "selectattr" | "rejectattr" => self.each(name, value, given),
            "groupby" => self.grouped(value, given),
            "trim" | "upper" | "lower" | "capitalize" | "title" | "replace" | "indent" | "center" | "format"
            | "wordcount" | "escape" | "e" | "forceescape" | "truncate" => {
                let text = match value {
                    Value::Str(text) => text,
                    other if self.str(name) == "indent" => {
                        return failed(format_args!("{} cannot be indented", kind(other)));
                    }
                    Value::Undefined(_) if self.str(name) == "format" => return failed("a format is undefined"),
                    other => {
                        let mut out = self.writer();
                        self.print(&mut out, other)?;
                        match self.finish(out)? {
                            Value::Str(text) => text,
                            _ => return failed("no text"),
                        }
                    }
                };
                self.text_filter(name, text, given)
            }
            "urlencode" => self.url_encoded(value),
            "filesizeformat" => self.file_size(value, given),
            other => failed(format_args!("there is no filter {other}")),
        }
    }

    /// How `tojson` is to write, from its arguments: those of Python's `json.dumps` that `transformers` hands on.
    fn json_style(&mut self, given: Given<'_>) -> Result<JsonStyle> {
        let flag = |memory: &Self, at, name| given.get(memory, at, name).is_some_and(|value| memory.truth(value));
        let (ascii, sorted) = (flag(self, 0, "ensure_ascii"), flag(self, 3, "sort_keys"));
        let indent = match given.get(self, 1, "indent") {
            Some(Value::Str(text)) => Some(Indent::Text(text)),
            _ => given.width(self, 1, "indent")?.map(Indent::Blanks),
        };
        let [comma, colon] = [if indent.is_some() { "," } else { ", " }, ": "];
        let separators = match given.get(self, 2, "separators") {
            None | Some(Value::None) => [self.text(comma)?, self.text(colon)?],
            Some(Value::List(list)) if list.len == 2 => [self.item(list, 0), self.item(list, 1)],
            Some(other) => return failed(format_args!("separators are two texts, not {}", kind(other))),
        };
        match separators {
            [Value::Str(item), Value::Str(key)] => Ok(JsonStyle { ascii, indent, separators: [item, key], sorted }),
            _ => failed("separators are two texts"),
        }
    }

    /// `map`, and the filters that keep what passes a test.
    fn each(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
        // Whatever is false has no items: Jinja2 asks for its truth before anything else, and templates give `none`.
        if !self.truth(value) {
            return self.list(&[]);
        }
        let list = self.iterate(value)?;
        let mut kept = Vec::new();
        let how = self.str(name);
        let (maps, wanted) = (how == "map", how.starts_with("select"));
        let by_attribute = how.ends_with("attr") || maps && given.positional.is_empty();
        let attribute = match (by_attribute, maps) {
            (true, true) => given.get(self, usize::MAX, "attribute"),
            (true, false) => given.positional.first().copied(),
            (false, _) => None,
        };
        if by_attribute && attribute.is_none() {
            return failed("the name of an attribute is missing");
        }
        let otherwise = given.get(self, usize::MAX, "default").filter(|_| maps);
        let what = given.positional.get(usize::from(by_attribute && !maps)).copied();
        let rest = given.positional.get(1 + usize::from(by_attribute && !maps)..).unwrap_or_default();
        let rest = Given { positional: rest, named: if by_attribute { &[] } else { given.named } };
        for index in 0..list.len as usize {
            let item = self.item(list, index);
            let mut part = item;
            if let Some(attribute) = attribute {
                part = self.path(item, attribute)?;
                if let (Value::Undefined(_), Some(otherwise)) = (part, otherwise) {
                    part = otherwise;
                }
            }
            match what {
                Some(Value::Str(what)) if maps => {
                    if matches!(self.str(what), "map" | "select" | "reject" | "selectattr" | "rejectattr") {
                        return failed("a map of a map");
                    }
                    let mapped = self.filter(what, part, rest)?;
                    push(&mut kept, mapped)?;
                }
                Some(Value::Str(what)) => {
                    if self.test(what, part, rest)? == wanted {
                        push(&mut kept, item)?;
                    }
                }
                None if maps => push(&mut kept, part)?,
                None => {
                    if self.truth(part) == wanted {
                        push(&mut kept, item)?;
                    }
                }
                Some(other) => return failed(format_args!("a filter or test is named by {}", kind(other))),
            }
        }
        self.list(&kept)
    }
}
