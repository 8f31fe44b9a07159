//! Filters of lists: order, groups, and what is there twice.

use crate::Result;
use crate::text::chat::code::Span;
use crate::text::chat::memory::{ItemList, Memory, Value, failed, push};
use crate::text::chat::methods::Given;

impl Memory<'_> {
    /// What an item is sorted by.
    pub(super) fn sort_key(&mut self, item: Value, attribute: Option<Value>, case: bool) -> Result<Value> {
        let key = match attribute {
            Some(Value::None) | None => item,
            Some(Value::Str(names)) if self.str(names).contains(',') => {
                let mut keys = Vec::new();
                let mut from = 0;
                for name in self.str(names).split(',') {
                    push(&mut keys, self.part(names, name, from))?;
                    from += name.len() + 1;
                }
                let mut all = Vec::new();
                for name in keys {
                    let key = self.path(item, Value::Str(name))?;
                    let key = self.sort_key(key, None, case)?;
                    push(&mut all, key)?;
                }
                return self.tuple(&all);
            }
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

    pub(super) fn list_filter(&mut self, name: Span, value: Value, given: Given<'_>) -> Result<Value> {
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

    fn copied(&mut self, list: ItemList) -> Result<Vec<Value>> {
        self.budget.work(list.len as usize)?;
        let mut items = Vec::new();
        (0..list.len as usize).try_for_each(|index| push(&mut items, self.item(list, index)))?;
        Ok(items)
    }

    /// Pairs of what items have in common and those that have it.
    pub(super) fn grouped(&mut self, value: Value, given: Given<'_>) -> Result<Value> {
        let Some(attribute) = given.get(self, 0, "attribute") else {
            return failed("the name of an attribute is missing");
        };
        let otherwise = given.get(self, 1, "default").filter(|value| !matches!(value, Value::None));
        let case = given.get(self, 2, "case_sensitive").is_some_and(|value| self.truth(value));
        let list = self.iterate(value)?;
        let mut keyed = Vec::new();
        for item in self.copied(list)? {
            let key = match (self.path(item, attribute)?, otherwise) {
                (Value::Undefined(_), Some(otherwise)) => otherwise,
                (key, _) => key,
            };
            let pair = self.tuple(&[key, item])?;
            push(&mut keyed, pair)?;
        }
        let sorted = self.sorted(&keyed, Some(Value::Int(0)), case, false)?;
        // The first key of a group, as it was and as it is compared.
        let (mut groups, mut part, mut key) = (Vec::new(), Vec::new(), None);
        for pair in sorted {
            let Value::List(pair) = pair else { continue };
            let (its, item) = (self.item(pair, 0), self.item(pair, 1));
            let compared = self.sort_key(its, None, case)?;
            if let Some((first, before)) = key
                && !self.equal(before, compared)?
            {
                let group = self.group(first, &part)?;
                push(&mut groups, group)?;
                part.clear();
                key = None;
            }
            key = key.or(Some((its, compared)));
            push(&mut part, item)?;
        }
        if let Some((first, _)) = key {
            let group = self.group(first, &part)?;
            push(&mut groups, group)?;
        }
        self.list(&groups)
    }

    /// A pair whose parts are called `grouper` and `list`.
    fn group(&mut self, key: Value, items: &[Value]) -> Result<Value> {
        let list = self.list(items)?;
        match self.tuple(&[key, list])? {
            Value::List(pair) => Ok(Value::List(ItemList { group: true, ..pair })),
            other => Ok(other),
        }
    }
}
