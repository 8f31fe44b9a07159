//! Filters, as in Jinja2; `tojson` as `transformers` has it.

use super::code::{Arguments, Span};
use super::memory::{List, Memory, Value, failed, push};
use super::methods::Given;
use super::operators::{float, kind, number};
use crate::Result;
use std::cmp::Ordering;

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
                let indent = given.width(self, 0, "indent")?;
                let mut out = self.writer();
                self.json(&mut out, value, indent, 0)?;
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
            | "wordcount" | "escape" | "e" | "truncate" => {
                let text = match value {
                    Value::Str(text) => text,
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
            other => failed(format_args!("there is no filter {other}")),
        }
    }

    fn number_filter(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
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
                let whole = match how {
                    "floor" => (x * factor).floor(),
                    "ceil" => (x * factor).ceil(),
                    _ => (x * factor).round_ties_even(),
                };
                Ok(Value::Float(whole / factor))
            }
            "int" => {
                let otherwise = given.get(self, 0, "default").unwrap_or(Value::Int(0));
                Ok(match value {
                    Value::Str(text) => {
                        let text = self.str(text).trim();
                        let whole = text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|x| x as i64));
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
                    Value::Str(text) => self.str(text).trim().parse().ok(),
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
                    total = self.binary(super::code::Binary::Add, total, item)?;
                }
                Ok(total)
            }
            how => {
                let wanted = if how == "min" { Ordering::Less } else { Ordering::Greater };
                let attribute = given.get(self, 1, "attribute");
                let list = self.iterate(value)?;
                let mut best: Option<(Value, Value)> = None;
                for index in 0..list.len as usize {
                    let item = self.item(list, index);
                    let key = self.sort_key(item, attribute, false)?;
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

    /// What an item is sorted by.
    fn sort_key(&mut self, item: Value, attribute: Option<Value>, case: bool) -> Result<Value> {
        let key = match attribute {
            Some(Value::None) | None => item,
            Some(attribute) => self.path(item, attribute)?,
        };
        match key {
            Value::Str(text) if !case && self.str(text).chars().any(char::is_uppercase) => {
                let mut out = self.writer();
                self.map_chars(&mut out, text, |out, c| c.to_lowercase().try_for_each(|c| out.put_char(c)))?;
                self.finish(out)
            }
            key => Ok(key),
        }
    }

    /// Sorted as Python sorts: those that are equal stay in their order.
    fn sorted(&mut self, items: &[Value], attribute: Option<Value>, case: bool, reverse: bool) -> Result<Vec<Value>> {
        let mut keyed = Vec::new();
        for item in items {
            let key = self.sort_key(*item, attribute, case)?;
            push(&mut keyed, (key, *item))?;
        }
        // Runs of a power of two are merged, from one list to another and back.
        let mut other = Vec::new();
        keyed.iter().try_for_each(|pair| push(&mut other, *pair))?;
        let mut run = 1;
        while run < keyed.len() {
            for start in (0..keyed.len()).step_by(2 * run) {
                let (middle, end) = ((start + run).min(keyed.len()), (start + 2 * run).min(keyed.len()));
                let (mut a, mut b) = (start, middle);
                for place in &mut other[start..end] {
                    let first = if a == middle {
                        false
                    } else if b == end {
                        true
                    } else {
                        let order = self.compare(keyed[a].0, keyed[b].0)?;
                        if reverse { order.is_ge() } else { order.is_le() }
                    };
                    let from = if first { &mut a } else { &mut b };
                    *place = keyed[*from];
                    *from += 1;
                }
            }
            std::mem::swap(&mut keyed, &mut other);
            run *= 2;
        }
        let mut all = Vec::new();
        keyed.iter().try_for_each(|(_, item)| push(&mut all, *item))?;
        Ok(all)
    }

    fn list_filter(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
        let flag = |memory: &Self, at, name| given.get(memory, at, name).is_some_and(|value| memory.truth(value));
        if let (Value::Dict(dict), "dictsort") = (value, self.str(name)) {
            let (case, reverse) = (flag(self, 0, "case_sensitive"), flag(self, 2, "reverse"));
            let by_value = given.text(self, 1, "by")?.is_some_and(|by| self.str(by) == "value");
            let pairs = self.pairs(dict)?;
            let list = self.iterate(pairs)?;
            let items = self.copied(list)?;
            let sorted = self.sorted(&items, Some(Value::Int(i64::from(by_value))), case, reverse)?;
            return self.list(&sorted);
        }
        if let (Value::Str(text), "reverse") = (value, self.str(name)) {
            let mut out = self.writer();
            self.str(text).chars().rev().try_for_each(|c| out.put_char(c))?;
            if self.marked(text) {
                out.mark(0)?;
            }
            return self.finish(out);
        }
        let list = self.iterate(value)?;
        let mut items = self.copied(list)?;
        match self.str(name) {
            "list" => {}
            "reverse" => items.reverse(),
            "sort" => {
                let (reverse, case) = (flag(self, 0, "reverse"), flag(self, 1, "case_sensitive"));
                let attribute = given.get(self, 2, "attribute");
                items = self.sorted(&items, attribute, case, reverse)?;
            }
            "unique" => {
                let (case, attribute) = (flag(self, 0, "case_sensitive"), given.get(self, 1, "attribute"));
                let (mut keys, mut kept) = (Vec::new(), Vec::new());
                for item in items {
                    let key = self.sort_key(item, attribute, case)?;
                    let mut seen = false;
                    for &other in &keys {
                        seen = seen || self.equal(key, other)?;
                    }
                    if !seen {
                        push(&mut keys, key)?;
                        push(&mut kept, item)?;
                    }
                }
                items = kept;
            }
            how => {
                let Some(count) = given.width(self, 0, "linecount")?.filter(|count| *count > 0) else {
                    return failed(format_args!("{how} of no items"));
                };
                let fill = given.get(self, 1, "fill_with");
                let batch = how == "batch";
                let (len, mut from, mut groups) = (items.len(), 0, Vec::new());
                for group in 0..if batch { len.div_ceil(count) } else { count } {
                    let size = if batch { count } else { len / count + usize::from(group < len % count) };
                    let mut part = Vec::new();
                    items[from..(from + size).min(len)].iter().try_for_each(|item| push(&mut part, *item))?;
                    from += size;
                    let full = if batch { count } else { len.div_ceil(count) };
                    while let Some(fill) = fill.filter(|_| part.len() < full) {
                        push(&mut part, fill)?;
                    }
                    let part = self.list(&part)?;
                    push(&mut groups, part)?;
                }
                items = groups;
            }
        }
        self.list(&items)
    }

    fn copied(&mut self, list: List) -> Result<Vec<Value>> {
        self.budget.work(list.len as usize)?;
        let mut items = Vec::new();
        (0..list.len as usize).try_for_each(|index| push(&mut items, self.item(list, index)))?;
        Ok(items)
    }

    /// `map`, and the filters that keep what passes a test.
    fn each(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
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

    /// Pairs of what items have in common and those that have it.
    fn grouped(&mut self, value: Value, given: Given<'_>) -> Result<Value> {
        let Some(attribute) = given.get(self, 0, "attribute") else {
            return failed("the name of an attribute is missing");
        };
        let list = self.iterate(value)?;
        let items = self.copied(list)?;
        let sorted = self.sorted(&items, Some(attribute), false, false)?;
        let (mut groups, mut part, mut key) = (Vec::new(), Vec::new(), None);
        let names = [self.text("grouper")?, self.text("list")?];
        for item in sorted {
            let its = self.path(item, attribute)?;
            if let Some(before) = key
                && !self.equal(before, its)?
            {
                let list = self.list(&part)?;
                let group = self.dict(&[names[0], before, names[1], list])?;
                push(&mut groups, group)?;
                part.clear();
            }
            key = Some(its);
            push(&mut part, item)?;
        }
        if let Some(key) = key {
            let list = self.list(&part)?;
            let group = self.dict(&[names[0], key, names[1], list])?;
            push(&mut groups, group)?;
        }
        self.list(&groups)
    }

    fn text_filter(&mut self, name: Span, span: Span, given: Given<'_>) -> Result<Value> {
        self.budget.work(span.len as usize / 16)?;
        let how = self.str(name);
        match how {
            "trim" => {
                let strip = self.text("strip")?;
                let Value::Str(strip) = strip else { return Ok(strip) };
                self.method(strip, Value::Str(span), given)
            }
            "upper" | "lower" | "capitalize" => self.cased(span, name),
            "title" => self.cased(span, name),
            "replace" => match (given.text(self, 0, "old")?, given.text(self, 1, "new")?) {
                (Some(old), Some(new)) => {
                    let most = given.int(self, 2, "count")?;
                    self.replaced(span, old, new, most)
                }
                _ => failed("what is to be replaced is missing"),
            },
            "format" => {
                let values = match given.named {
                    [] => self.tuple(given.positional)?,
                    named => self.dict(named)?,
                };
                self.percent(span, values)
            }
            "wordcount" => Ok(Value::Int(self.str(span).split_whitespace().count() as i64)),
            "center" => {
                let arguments = Arguments { positional: 1, named: 0 };
                let width = [Value::Int(given.int(self, 0, "width")?.unwrap_or(80))];
                let center = self.text("center")?;
                let Value::Str(center) = center else { return Ok(center) };
                self.method(center, Value::Str(span), Given::new(&width, arguments))
            }
            "indent" => {
                let mut out = self.writer();
                let with = match given.get(self, 0, "width") {
                    Some(Value::Str(_)) => None,
                    _ => Some(given.width(self, 0, "width")?.unwrap_or(4)),
                };
                let first = given.get(self, 1, "first").is_some_and(|value| self.truth(value));
                let blank = given.get(self, 2, "blank").is_some_and(|value| self.truth(value));
                let own = match with {
                    None => given.text(self, 0, "width")?,
                    Some(_) => None,
                };
                let mut from = 0;
                for (number, line) in self.str(span).split('\n').enumerate() {
                    if number > 0 {
                        self.copy_part(&mut out, span, from - 1..from)?;
                    }
                    if (number > 0 || first) && (blank || !line.trim().is_empty()) {
                        match own {
                            Some(own) => self.copy(&mut out, own)?,
                            None => out.repeat(' ', with.unwrap_or(4))?,
                        }
                    }
                    self.copy_part(&mut out, span, from..from + line.len())?;
                    from += line.len() + 1;
                }
                self.finish(out)
            }
            "truncate" => {
                let length = given.width(self, 0, "length")?.unwrap_or(255);
                let kill = given.get(self, 1, "killwords").is_some_and(|value| self.truth(value));
                let end = given.text(self, 2, "end")?;
                let leeway = given.width(self, 3, "leeway")?.unwrap_or(5);
                let dots = self.text("...")?;
                let end = match (end, dots) {
                    (Some(end), _) | (None, Value::Str(end)) => end,
                    _ => return failed("no text"),
                };
                let text = self.str(span);
                if text.chars().count() <= length + leeway {
                    return Ok(Value::Str(span));
                }
                let most = length.saturating_sub(self.str(end).chars().count());
                let cut = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
                let mut kept = &text[..cut];
                if !kill {
                    kept = kept.rsplit_once(' ').map_or(kept, |(words, _)| words);
                }
                let mut out = self.writer();
                self.copy_part(&mut out, span, 0..kept.len())?;
                self.copy(&mut out, end)?;
                self.finish(out)
            }
            _ => {
                let mut out = self.writer();
                self.map_chars(&mut out, span, |out, c| match c {
                    '&' => out.put("&amp;"),
                    '<' => out.put("&lt;"),
                    '>' => out.put("&gt;"),
                    '\'' => out.put("&#39;"),
                    '"' => out.put("&#34;"),
                    c => out.put_char(c),
                })?;
                self.finish(out)
            }
        }
    }
}
