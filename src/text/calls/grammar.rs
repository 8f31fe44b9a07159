//! The grammar of an answer in which every call is one of the tools', with arguments as their schemas have them, in
//! Lark's words: text is free until a call begins.

use super::format::{Body, Field, Format, Tags, Thinking};
use super::literal::{Dialect, ESCAPES};
use super::reply::Reply;
use crate::text::{Chat, ChatTemplate, Message, Tokenizer};
use crate::{Error, Result, Status};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Schemas inside of each other at most, where they are gone through here.
const DEPTH: usize = 16;

fn wrong(message: impl std::fmt::Display) -> Error {
    Error::new(Status::InvalidArgument, format_args!("tools: {message}"))
}

/// What a list of tools asks for, and how.
struct Source {
    /// Names and schemas.
    functions: Vec<(String, Value)>,
    /// Whether the answer is a call.
    required: bool,
    /// The variables that the template is given.
    variables: Value,
}

fn source(text: &str) -> Result<Source> {
    let given: Value = serde_json::from_str(text).map_err(|e| wrong(format_args!("{e:#}")))?;
    let variables = if given.is_array() { json!({"tools": given}) } else { given };
    let list =
        variables["tools"].as_array().ok_or_else(|| wrong("a list of tools, or an object with one, is expected"))?;
    let mut functions = Vec::new();
    for (n, tool) in list.iter().enumerate() {
        let function = if tool["function"].is_object() { &tool["function"] } else { tool };
        let name = function["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong(format_args!("tool {n} has no name")))?;
        let schema = match &function["parameters"] {
            Value::Null => json!({"type": "object", "properties": {}}),
            schema => schema.clone(),
        };
        functions.push((name.to_owned(), schema));
    }
    let choice = &variables["tool_choice"];
    let chosen = choice["function"]["name"].as_str();
    if let Some(name) = chosen {
        functions.retain(|(found, _)| found == name);
    }
    let required = match choice.as_str() {
        Some("required") => true,
        Some("auto") => false,
        None if choice.is_null() => false,
        None if chosen.is_some() => true,
        _ => return Err(wrong("tool_choice is none of \"auto\", \"required\" and a function by its name")),
    };
    if functions.is_empty() {
        return Err(wrong(chosen.map_or("there is none".into(), |name| format!("there is none called {name:?}"))));
    }
    Ok(Source { functions, required, variables })
}

/// The grammar for a model with this template and tokenizer.
pub(crate) fn grammar(template: Option<&ChatTemplate>, tokenizer: &Tokenizer, text: &str) -> Result<String> {
    let Source { functions, required, variables } = source(text)?;
    let forms = template.map(|template| (template, template.forms()));
    let Some((template, forms, format)) = forms.and_then(|(t, forms)| Some((t, forms, forms.format?))) else {
        let message = "this model's chat template teaches no format of calls that is known here";
        return Err(Error::new(Status::Unsupported, message));
    };
    let user = [Message::new("user", "x")];
    let variables = variables.to_string();
    let chat = Chat { messages: &user, add_generation_prompt: true, variables: Some(&variables), time: None };
    // One that cannot be rendered so is taken to begin with no thought.
    let thinks = Reply::new(template, &chat).is_ok_and(|reply| reply.thinks());
    let specials = (0..tokenizer.vocab_size() as u32).filter(|&id| tokenizer.is_special(id));
    let specials = specials.filter_map(|id| Some((id, std::str::from_utf8(tokenizer.token_bytes(id)?).ok()?)));
    let specials: Vec<(u32, &str)> = specials.filter(|(_, name)| forms.has_mark(name.as_bytes())).collect();
    let mut writer = Writer { format, specials, rules: String::new(), count: 0 };
    writer.answer(&functions, forms.thinking.filter(|_| thinks), forms.thinking, required);
    Ok(writer.rules)
}

struct Writer<'a> {
    format: &'static Format,
    /// The special tokens that its marks are made of.
    specials: Vec<(u32, &'a str)>,
    rules: String,
    count: usize,
}

/// A text as Lark writes it.
fn literal(text: &str) -> String {
    if text.is_empty() { String::new() } else { Value::from(text).to_string() }
}

/// Any text.
const ANY: &str = "/(?s:.*)/";

impl Writer<'_> {
    /// A rule of a new name, which it gives.
    fn rule(&mut self, kind: &str, body: &str) -> String {
        self.count += 1;
        let name = format!("{kind}{}", self.count);
        self.named(&name, "", body);
        name
    }

    fn named(&mut self, name: &str, attributes: &str, body: &str) {
        let _ = writeln!(self.rules, "{name}{attributes}: {body}");
    }

    /// The special token that a text begins with.
    fn special(&self, text: &str) -> Option<(u32, usize)> {
        let found = self.specials.iter().filter(|(_, name)| text.starts_with(name));
        found.max_by_key(|(_, name)| name.len()).map(|(id, name)| (*id, name.len()))
    }

    /// A mark, of text and special tokens.
    fn mark(&self, text: &str) -> String {
        let (mut out, mut plain, mut rest) = (String::new(), String::new(), text);
        while !rest.is_empty() {
            let c = rest.chars().next().unwrap_or(' ');
            match self.special(rest) {
                Some((id, length)) => {
                    let _ = write!(out, " {} <[{id}]>", literal(&plain));
                    plain.clear();
                    rest = &rest[length..];
                }
                None => {
                    plain.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        format!("{out} {}", literal(&plain)).trim().to_owned()
    }

    /// Any text up to the first of a mark, and the mark.
    fn until(&mut self, mark: &str) -> String {
        let special = mark.char_indices().find_map(|(at, _)| self.special(&mark[at..]).map(|_| at));
        if let Some(at) = special {
            // What stands before the token is text as any other, and one with it.
            let text = match at {
                0 => ANY.to_owned(),
                _ => self.rule("UNTIL", &format!("{ANY} {}", literal(&mark[..at]))),
            };
            let body = format!("{text} {}", self.mark(&mark[at..]));
            return self.rule("until", &body);
        }
        self.count += 1;
        let name = format!("until{}", self.count);
        self.named(&name, "[lazy]", &format!("{ANY} {}", literal(mark)));
        name
    }

    fn answer(
        &mut self,
        functions: &[(String, Value)],
        begun: Option<&'static Thinking>,
        thinking: Option<&'static Thinking>,
        required: bool,
    ) {
        let format = self.format;
        let call = self.call(functions, required);
        let open = format.blocks.first().map_or("", |block| block[0]);
        let close = format.blocks.first().map_or("", |block| block[1]);
        let before = if open.is_empty() { format.opens.first().copied().unwrap_or("") } else { open };
        let marked = !before.is_empty();
        // What of a call follows the mark that begins it: the mark is the block's, or the call's own.
        let inside = match open.is_empty() {
            true => call,
            false => {
                let opened = self.mark(format.opens.first().copied().unwrap_or(""));
                let (pad, close) = (literal(self.pad()), self.mark(close));
                format!("{pad} {opened} {call} {pad} {close}")
            }
        };
        let inside = self.rule("call", &inside);
        let calls = format!("{} {inside}", self.mark(before));
        let thought = begun.map(|thinking| self.until(thinking.close));
        if required {
            let start = match (thought, thinking) {
                (Some(thought), _) => format!("{thought} /[ \\n]{{0,2}}/ {calls}"),
                (None, _) => calls,
            };
            return self.named("start", "", &start);
        }
        // Marks of thoughts may be special tokens, which no text has.
        let marks = thinking.into_iter().flat_map(|t| [t.open, t.close]).chain(format.silent.iter().copied());
        let marks: Vec<String> =
            marks.filter(|mark| self.special(mark).is_some()).map(|mark| self.mark(mark)).collect();
        let text = match marks.is_empty() {
            true => ANY.to_owned(),
            false => format!("({ANY} ({}))* {ANY}", marks.join(" | ")),
        };
        let text = self.rule("text", &text);
        let answer = match marked {
            _ if !marked || format.bare => {
                let tagged = if marked { format!("({calls})?") } else { String::new() };
                format!("/[ \\n]*/ {inside} | /([ \\n]*[^ \\n\\x7b](?s:.*))?/ {tagged}")
            }
            _ if self.special(before).is_some() => format!("{text} ({calls} {text})*"),
            _ => {
                let until = match marks.is_empty() {
                    true => self.until(before),
                    false => format!("({ANY} ({}))* {}", marks.join(" | "), self.until(before)),
                };
                format!("({until} {inside})* {text}")
            }
        };
        let start = thought.map_or(answer.clone(), |thought| format!("{thought} ({answer})"));
        self.named("start", "", &start);
    }

    fn pad(&self) -> &'static str {
        match self.format.body {
            Body::Tagged(_) => "\n",
            Body::Value => self.format.print.pad,
            Body::Named { .. } => "",
        }
    }

    /// What follows a call's mark, to its end.
    fn call(&mut self, functions: &[(String, Value)], alone: bool) -> String {
        let format = self.format;
        let all: Vec<String> = functions
            .iter()
            .map(|(name, schema)| match &format.body {
                Body::Value if format.print.is_python() => self.python(name, schema),
                Body::Value => self.json(name, schema),
                Body::Named { first, marks } => self.fields(name, schema, *first, marks),
                Body::Tagged(tags) => self.tagged(name, schema, tags),
            })
            .collect();
        let one = self.rule("one", &all.join(" | "));
        match format.print.list && matches!(format.body, Body::Value) {
            true if alone => format!("\"[\" {one} \"]\""),
            true => format!("\"[\" {one} (\", \" {one})* \"]\""),
            false => one,
        }
    }

    /// A value of a schema, in JSON without more white space than people put in a line.
    fn value(&mut self, schema: &Value) -> String {
        let mut schema = schema.clone();
        if let Some(object) = schema.as_object_mut() {
            let style = json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
            object.entry("x-guidance").or_insert(style);
        }
        self.rule("value", &format!("%json {schema}"))
    }

    fn json(&mut self, name: &str, schema: &Value) -> String {
        let print = self.format.print;
        let key = if print.name.is_empty() { literal(&format!("{{{}: ", Value::from(name))) } else { String::new() };
        if !key.is_empty() {
            return format!("{key} {} \"}}\"", self.value(schema));
        }
        let head = format!("{{\"{}\": {}, \"{}\": ", print.name, Value::from(name), print.arguments);
        format!("{} {} \"}}\"", literal(&head), self.value(schema))
    }

    fn fields(&mut self, name: &str, schema: &Value, first: Field, marks: &[(&str, Field)]) -> String {
        let mut out = match first {
            Field::Skip => literal("function"),
            Field::Id => "/[a-zA-Z0-9]{1,16}/".into(),
            Field::Handle => format!("{} /[0-9]{{1,3}}/", literal(&format!("functions.{name}:"))),
            Field::Name | Field::Arguments(_) => literal(name),
        };
        for (mark, field) in marks {
            let mark = self.mark(mark);
            match field {
                Field::Name => out += &format!(" {mark} {}", literal(name)),
                Field::Arguments(Dialect::Gemma) => out += &format!(" {}", self.gemma(schema, 0)),
                Field::Arguments(_) => out += &format!(" {mark} {}", self.value(schema)),
                Field::Skip | Field::Id | Field::Handle => {}
            }
        }
        // A fence begins a line.
        let line = if self.format.close.starts_with('`') { "\"\\n\"" } else { "" };
        format!("{out} {line} {}", self.mark(self.format.close))
    }

    /// Arguments one after the other, in the schema's order, those that need not be there or not, parted by a text.
    fn sequence(&mut self, schema: &Value, part: &str, one: impl Fn(&mut Self, &str, &Value) -> String) -> String {
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        let needs = |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|n| n == name));
        // From the last to the first: what follows with nothing before it, and with something.
        let [mut first, mut later] = [String::new(), String::new()];
        for (name, schema) in properties.iter().rev() {
            let this = one(self, name, schema);
            let (part, optional) = (literal(part), !needs(name));
            let or = |rest: &str| {
                if optional { format!(" | {}", if rest.is_empty() { "\"\"" } else { rest }) } else { String::new() }
            };
            let bodies = [format!("{this} {later}{}", or(&first)), format!("{part} {this} {later}{}", or(&later))];
            [first, later] = bodies.map(|body| self.rule("more", &body));
        }
        first
    }

    fn tagged(&mut self, name: &str, schema: &Value, tags: &'static Tags) -> String {
        let lines = |text: &'static str| if tags.lines || tags.name_end == "\n" { text } else { "" };
        let arguments = self.sequence(schema, "", |writer, name, schema| {
            let key = writer.mark(tags.key);
            let is_text = super::tools::is_text(&schema.to_string());
            let said = if tags.text.is_empty() { String::new() } else { attribute(tags, is_text) };
            let middle = writer.mark(&format!(
                "{}{said}{}{}",
                tags.key_end,
                tags.value,
                lines("\n").repeat(usize::from(tags.lines))
            ));
            let line = if tags.lines { "\"\\n\"" } else { "" };
            let end = match (is_text, choices(schema)) {
                (true, None) => writer.until(tags.value_end),
                (true, Some(texts)) => {
                    let texts: Vec<_> = texts.into_iter().map(literal).collect();
                    format!("({}) {line} {}", texts.join(" | "), writer.mark(tags.value_end))
                }
                (false, _) => format!("{} {line} {}", writer.value(schema), writer.mark(tags.value_end)),
            };
            format!("{key} {} {middle} {end} \"\\n\"", literal(name))
        });
        let head = match tags.head_end {
            // Attributes of the name are none that mean something.
            "<|sep|>" => self.mark(&format!("{} index=\"1\"{}", tags.name_end, tags.head_end)),
            _ => self.mark(&format!("{}{}", tags.name_end, tags.head_end)),
        };
        let line = if tags.name_end == "\n" { "" } else { "\"\\n\"" };
        format!("{} {head} {line} {arguments} {}", literal(name), self.mark(self.format.close))
    }

    fn python(&mut self, name: &str, schema: &Value) -> String {
        let arguments = self.sequence(schema, ", ", |writer, name, schema| {
            let value = match schema["type"].as_str() {
                Some("boolean") => "(\"True\" | \"False\")".to_owned(),
                _ => writer.value(schema),
            };
            format!("{} {value}", literal(&format!("{name}=")))
        });
        let call = format!("{} {arguments} \")\"", literal(&format!("{name}(")));
        // A list of one is what models are taught where there is a list.
        call
    }

    /// A value as Gemma writes it.
    fn gemma(&mut self, schema: &Value, depth: usize) -> String {
        let known = self.special(ESCAPES[0]).is_some() || self.format.name == "functiongemma";
        let escape = ESCAPES[usize::from(!known)];
        let kind = schema["type"].as_str().unwrap_or_default().to_ascii_lowercase();
        if let Some(texts) = choices(schema) {
            let mark = self.mark(escape);
            let texts: Vec<_> = texts.into_iter().map(|text| format!("{mark} {} {mark}", literal(text))).collect();
            return self.rule("gemma", &texts.join(" | "));
        }
        match kind.as_str() {
            "string" => format!("{} {}", self.mark(escape), self.until(escape)),
            "number" | "integer" | "boolean" | "null" => self.value(schema),
            "array" if schema["items"].is_object() && depth < DEPTH => {
                let item = self.gemma(&schema["items"], depth + 1);
                let item = self.rule("gemma", &item);
                self.rule("gemma", &format!("\"[\" ({item} (\",\" {item})*)? \"]\""))
            }
            "object" if schema["properties"].is_object() && depth < DEPTH => {
                let members = self.sequence(schema, ",", |writer, name, schema| {
                    format!("{} {}", literal(&format!("{name}:")), writer.gemma(schema, depth + 1))
                });
                format!("\"{{\" {members} \"}}\"")
            }
            // Anything.
            _ => {
                if !self.rules.contains("\nany: ") {
                    let text = format!("{} {}", self.mark(escape), self.until(escape));
                    let number = "/-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,15})?/";
                    let list = "\"[\" (any (\",\" any)*)? \"]\"";
                    let object = "\"{\" (anykey any (\",\" anykey any)*)? \"}\"";
                    let body = format!("{text} | {number} | \"true\" | \"false\" | \"null\" | {list} | {object}");
                    self.rules.push('\n');
                    self.named("any", "", &body);
                    self.named("anykey", "", "/[a-zA-Z0-9_]{1,64}:/");
                }
                "any".into()
            }
        }
    }
}

/// The texts that a schema allows, where it allows these alone.
fn choices(schema: &Value) -> Option<Vec<&str>> {
    schema["enum"].as_array()?.iter().map(Value::as_str).collect()
}

/// The attribute that says whether a value is a text.
fn attribute(tags: &Tags, is_text: bool) -> String {
    match (tags.text, is_text) {
        ("string=\"true\"", _) if !tags.key.contains("DSML") => String::new(),
        (text, true) => format!(" {text}"),
        ("string=\"true\"", false) => " string=\"false\"".into(),
        (..) => " type=\"object\"".into(),
    }
}
