//! The grammar of an answer in which every call is one of the tools', with arguments as their schemas have them, in
//! Lark's words: text is free until a call begins.
//!
//! Schemas are looked through as the JSON that they are. It is made within the reserve of a constraint.

use super::format::{Body, Field, Format, Tags, Thinking};
use super::json::{inside, items, member, members, quote, unescape};
use super::literal::{Dialect, whole};
use super::reply::Reply;
use super::tools::is_text;
use crate::text::{Chat, ChatTemplate, Message, Tokenizer};
use crate::{Error, Result, Status};
use std::fmt::Display;

/// Schemas inside of each other at most, where they are gone through here.
const DEPTH: usize = 16;
/// Any text.
const ANY: &str = "/(?s:.*)/";
/// Has JSON written without more white space than people put in a line.
const STYLE: &str = r#""x-guidance":{"whitespace_flexible":false,"item_separator":", ","key_separator":": "}"#;

#[inline(never)]
fn wrong(message: impl Display) -> Error {
    Error::new(Status::InvalidArgument, format_args!("tools: {message}"))
}

/// Texts, one after the other.
#[inline(never)]
fn cat(parts: &[&str]) -> String {
    parts.concat()
}

/// A text as Lark writes it, which is JSON's way; nothing for none.
#[inline(never)]
fn literal(text: &str) -> String {
    let mut out = String::new();
    if !text.is_empty() {
        // There is memory: the reserve.
        let _ = quote(&mut out, text);
    }
    out
}

/// What a text of JSON says, if it is one.
fn text_of(json: Option<&str>) -> Option<String> {
    let mut out = String::new();
    unescape(&mut out, inside(json?)?).ok()?;
    Some(out)
}

/// The texts that a schema allows, where it allows these alone.
fn choices(schema: &str) -> Option<Vec<String>> {
    let list = member(schema, "enum").filter(|list| list.starts_with('['))?;
    items(list).map(|item| text_of(Some(item))).collect()
}

/// The functions of a list of tools, names and schemas, and whether one of them has to be called.
fn functions<'a>(list: &'a str, choice: &str) -> Result<(Vec<(String, &'a str)>, bool)> {
    let chosen = text_of(member(member(choice, "function").unwrap_or(""), "name"));
    let required = match choice {
        "" | "null" | "\"auto\"" => false,
        "\"required\"" => true,
        _ if chosen.is_some() => true,
        _ => return Err(wrong("tool_choice is none of \"auto\", \"required\" and a function by its name")),
    };
    let mut functions = Vec::new();
    for (n, tool) in items(list).enumerate() {
        let function = member(tool, "function").filter(|function| function.starts_with('{')).unwrap_or(tool);
        let name = text_of(member(function, "name")).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong(format_args!("tool {n} has no name")))?;
        let schema = member(function, "parameters").filter(|schema| *schema != "null");
        if chosen.as_ref().is_none_or(|chosen| *chosen == name) {
            functions.push((name, schema.unwrap_or(r#"{"type":"object","properties":{}}"#)));
        }
    }
    match (functions.is_empty(), chosen) {
        (false, _) => Ok((functions, required)),
        (true, None) => Err(wrong("there is none")),
        (true, Some(name)) => Err(wrong(format_args!("there is none called {name:?}"))),
    }
}

/// The grammar for a model with this template and tokenizer.
pub(crate) fn grammar(template: Option<&ChatTemplate>, tokenizer: &Tokenizer, text: &str) -> Result<String> {
    let mut variables = String::new();
    if !whole(Dialect::Json, text, &mut variables)? {
        return Err(wrong("no JSON"));
    }
    if variables.starts_with('[') {
        variables = cat(&["{\"tools\":", &variables, "}"]);
    }
    let list = member(&variables, "tools").filter(|list| list.starts_with('['));
    let list = list.ok_or_else(|| wrong("a list of tools, or an object with one, is expected"))?;
    let (functions, required) = functions(list, member(&variables, "tool_choice").unwrap_or(""))?;
    let forms = template.map(|template| (template, template.forms()));
    let Some((template, forms, format)) = forms.and_then(|(t, forms)| Some((t, forms, forms.format?))) else {
        let message = "this model's chat template teaches no format of calls that is known here";
        return Err(Error::new(Status::Unsupported, message));
    };
    let user = [Message::new("user", "x")];
    let chat = Chat { messages: &user, add_generation_prompt: true, variables: Some(&variables), time: None };
    // One that cannot be rendered so is taken to begin with no thought.
    let thinks = Reply::new(template, &chat).is_ok_and(|reply| reply.thinks());
    let mut specials = Vec::new();
    for id in (0..tokenizer.vocab_size() as u32).filter(|&id| tokenizer.is_special(id)) {
        let name = tokenizer.token_bytes(id).and_then(|name| std::str::from_utf8(name).ok());
        specials.extend(name.filter(|name| forms.has_mark(name.as_bytes())).map(|name| (id, name)));
    }
    let mut writer = GrammarWriter { format, specials, rules: String::new(), count: 0 };
    writer.answer(&functions, forms.thinking, thinks, required);
    Ok(writer.rules)
}

struct GrammarWriter<'a> {
    format: &'static Format,
    /// The special tokens that its marks are made of.
    specials: Vec<(u32, &'a str)>,
    rules: String,
    count: usize,
}

/// How an argument is written: its name, its schema, how deep it lies.
type Argument<'a> = fn(&mut GrammarWriter<'a>, &str, &str, usize) -> String;

impl<'a> GrammarWriter<'a> {
    /// A rule of a new name, which it gives.
    #[inline(never)]
    fn rule(&mut self, kind: &str, attributes: &str, body: &[&str]) -> String {
        self.count += 1;
        let name = cat(&[kind, &self.count.to_string()]);
        self.named(&cat(&[&name, attributes]), body);
        name
    }

    #[inline(never)]
    fn named(&mut self, name: &str, body: &[&str]) {
        self.rules += &cat(&[name, ": ", &body.concat(), "\n"]);
    }

    /// The special token that a text begins with.
    fn special(&self, text: &str) -> Option<(u32, usize)> {
        let found = self.specials.iter().filter(|(_, name)| text.starts_with(name));
        found.max_by_key(|(_, name)| name.len()).map(|(id, name)| (*id, name.len()))
    }

    /// A mark, of text and special tokens.
    #[inline(never)]
    fn mark(&self, text: &str) -> String {
        let (mut out, mut plain, mut rest) = (String::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            match self.special(rest) {
                Some((id, length)) => {
                    out += &cat(&[" ", &literal(&plain), " <[", &id.to_string(), "]>"]);
                    plain.clear();
                    rest = &rest[length..];
                }
                None => {
                    plain.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        cat(&[&out, " ", &literal(&plain), " "])
    }

    /// Any text up to the first of a mark, and the mark.
    #[inline(never)]
    fn until(&mut self, mark: &str) -> String {
        match mark.char_indices().find(|&(at, _)| self.special(&mark[at..]).is_some()) {
            None => self.rule("until", "[lazy]", &[ANY, " ", &literal(mark)]),
            Some((0, _)) => self.rule("until", "", &[ANY, &self.mark(mark)]),
            // What stands before the token is text as any other, and one with it.
            Some((at, _)) => {
                let text = self.rule("UNTIL", "", &[ANY, " ", &literal(&mark[..at])]);
                self.rule("until", "", &[&text, &self.mark(&mark[at..])])
            }
        }
    }

    /// The rule `start`; whether the answer begins within a thought, and has to be a call.
    fn answer(
        &mut self,
        functions: &[(String, &str)],
        thinking: Option<&'static Thinking>,
        thinks: bool,
        required: bool,
    ) {
        let format = self.format;
        let call = self.call(functions, required);
        let [open, close] = format.blocks.first().copied().unwrap_or_default();
        let own = format.opens.first().copied().unwrap_or_default();
        // The mark that begins a call is the block's, or the call's own; the rest of it follows.
        let before = if open.is_empty() { own } else { open };
        let inside = match open.is_empty() {
            true => call,
            false => {
                let pad = match format.body {
                    Body::Tagged(_) => "\n",
                    Body::Value => format.print.pad,
                    Body::Named { .. } => "",
                };
                let pad = literal(pad);
                cat(&[&pad, " ", &self.mark(own), &call, " ", &pad, &self.mark(close)])
            }
        };
        let inside = self.rule("call", "", &[&inside]);
        let calls = cat(&[&self.mark(before), &inside, " "]);
        let thought = match thinking.filter(|_| thinks) {
            Some(thinking) => cat(&[&self.until(thinking.close), " "]),
            None => String::new(),
        };
        if required {
            let space = if thinks { "/[ \\n]{0,2}/ " } else { "" };
            return self.named("start", &[&thought, space, &calls]);
        }
        // Marks of thoughts may be special tokens, which no text has.
        let marks = thinking.into_iter().flat_map(|t| [t.open, t.close]).chain(format.silent.iter().copied());
        let marks: Vec<String> =
            marks.filter(|mark| self.special(mark).is_some()).map(|mark| self.mark(mark)).collect();
        let parts = match marks.is_empty() {
            true => String::new(),
            false => cat(&["(", ANY, " (", &marks.join("|"), "))* "]),
        };
        let text = self.rule("text", "", &[&parts, ANY]);
        let answer = match (format.bare || before.is_empty(), self.special(before)) {
            (true, _) => {
                let marked = if before.is_empty() { String::new() } else { cat(&["(", &calls, ")?"]) };
                cat(&["/[ \\n]*/ ", &inside, " | /([ \\n]*[^ \\n\\x7b](?s:.*))?/ ", &marked])
            }
            (_, Some(_)) => cat(&[&text, " (", &calls, &text, ")*"]),
            (_, None) => cat(&["(", &parts, &self.until(before), " ", &inside, ")* ", &text]),
        };
        self.named("start", &[&thought, "(", &answer, ")"]);
    }

    /// What follows a call's mark, to its end; whether no other may follow it in a list.
    fn call(&mut self, functions: &[(String, &str)], alone: bool) -> String {
        let format = self.format;
        let mut all = Vec::new();
        for (name, schema) in functions {
            all.push(match &format.body {
                Body::Value if format.print.is_python() => {
                    let arguments = self.sequence(schema, ", ", 0, GrammarWriter::python);
                    cat(&[&literal(&cat(&[name, "("])), " ", &arguments, " \")\""])
                }
                Body::Value => self.json(name, schema),
                Body::Named { first, marks } => self.fields(name, schema, *first, marks),
                Body::Tagged(tags) => self.tags(name, schema, tags),
            });
        }
        let one = self.rule("one", "", &[&all.join(" | ")]);
        match (format.print.list && matches!(format.body, Body::Value), alone) {
            (false, _) => one,
            (true, true) => cat(&["\"[\" ", &one, " \"]\""]),
            (true, false) => cat(&["\"[\" ", &one, " (\", \" ", &one, ")* \"]\""]),
        }
    }

    /// A value of a schema.
    #[inline(never)]
    fn value(&mut self, schema: &str) -> String {
        match schema.strip_prefix('{').filter(|_| member(schema, "x-guidance").is_none()) {
            Some(rest) => {
                let comma = if rest == "}" { "" } else { "," };
                self.rule("value", "", &["%json {", STYLE, comma, rest])
            }
            None => self.rule("value", "", &["%json ", schema]),
        }
    }

    fn json(&mut self, name: &str, schema: &str) -> String {
        let (print, name) = (self.format.print, literal(name));
        let head = match print.name {
            "" => cat(&["{", &name, ": "]),
            key => cat(&["{\"", key, "\": ", &name, ", \"", print.arguments, "\": "]),
        };
        cat(&[&literal(&head), " ", &self.value(schema), " \"}\""])
    }

    fn fields(&mut self, name: &str, schema: &str, first: Field, marks: &[(&str, Field)]) -> String {
        let name = literal(name);
        let mut out = match first {
            Field::Skip => "\"function\"".into(),
            Field::Id => "/[a-zA-Z0-9]{1,16}/".into(),
            Field::Handle => cat(&["\"functions.\" ", &name, " \":\" /[0-9]{1,3}/"]),
            Field::Name | Field::Arguments(_) => name.clone(),
        };
        for (mark, field) in marks {
            out += &match field {
                Field::Name => cat(&[&self.mark(mark), &name]),
                Field::Arguments(Dialect::Gemma) => cat(&[" ", &self.gemma(schema, 0)]),
                Field::Arguments(_) => cat(&[&self.mark(mark), &self.value(schema)]),
                Field::Skip | Field::Id | Field::Handle => String::new(),
            };
        }
        // A fence begins a line.
        let line = if self.format.close.starts_with('`') { " \"\\n\"" } else { "" };
        cat(&[&out, line, &self.mark(self.format.close)])
    }

    /// Arguments one after the other, in the schema's order, those that need not be there or not, parted by a text.
    fn sequence(&mut self, schema: &str, part: &str, depth: usize, one: Argument<'a>) -> String {
        let properties: Vec<(&str, &str)> = members(member(schema, "properties").unwrap_or("")).collect();
        let needed: Vec<&str> = items(member(schema, "required").unwrap_or("")).filter_map(inside).collect();
        let part = literal(part);
        // From the last to the first: what follows with nothing before it, and with something.
        let [mut first, mut later] = [String::new(), String::new()];
        for &(key, schema) in properties.iter().rev() {
            let mut name = String::new();
            let _ = unescape(&mut name, key);
            let this = one(self, &name, schema, depth);
            let optional = !needed.contains(&key);
            let or = |rest: &str| match (optional, rest) {
                (false, _) => String::new(),
                (true, "") => " | \"\"".into(),
                (true, rest) => cat(&[" | ", rest]),
            };
            let alone = self.rule("more", "", &[&this, " ", &later, &or(&first)]);
            later = self.rule("more", "", &[&part, " ", &this, " ", &later, &or(&later)]);
            first = alone;
        }
        first
    }

    fn tags(&mut self, name: &str, schema: &str, tags: &'static Tags) -> String {
        let arguments = self.sequence(schema, "", 0, GrammarWriter::tag);
        let head = self.mark(&cat(&[tags.name_end, tags.printed[0], tags.head_end]));
        let line = if tags.name_end == "\n" { " " } else { "\"\\n\" " };
        cat(&[&literal(name), &head, line, &arguments, &self.mark(self.format.close)])
    }

    /// An argument between tags.
    fn tag(&mut self, name: &str, schema: &str, _: usize) -> String {
        let Body::Tagged(tags) = &self.format.body else { return String::new() };
        let said = tags.printed[if is_text(schema) { 1 } else { 2 }];
        let (line, quoted) = if tags.lines { ("\n", " \"\\n\"") } else { ("", "") };
        let end = self.mark(tags.value_end);
        let value = match (is_text(schema), choices(schema)) {
            (true, None) => self.until(tags.value_end),
            (true, Some(texts)) => {
                let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
                cat(&["(", &texts.join("|"), ")", quoted, &end])
            }
            (false, _) => cat(&[&self.value(schema), quoted, &end]),
        };
        let middle = self.mark(&cat(&[tags.key_end, said, tags.value, line]));
        cat(&[&self.mark(tags.key), &literal(name), &middle, &value, " \"\\n\""])
    }

    /// An argument of a call in Python.
    fn python(&mut self, name: &str, schema: &str, _: usize) -> String {
        let value = match member(schema, "type") {
            Some("\"boolean\"") => "(\"True\" | \"False\")".into(),
            _ => self.value(schema),
        };
        cat(&[&literal(name), " \"=\" ", &value])
    }

    /// A member of an object in Gemma's words.
    fn member(&mut self, name: &str, schema: &str, depth: usize) -> String {
        cat(&[&literal(name), " \":\" ", &self.gemma(schema, depth + 1)])
    }

    /// A value as Gemma writes it.
    fn gemma(&mut self, schema: &str, depth: usize) -> String {
        let escape = self.format.print.quote;
        let mark = self.mark(escape);
        if let Some(texts) = choices(schema) {
            let texts: Vec<String> = texts.iter().map(|text| cat(&[&mark, &literal(text), &mark])).collect();
            return self.rule("gemma", "", &[&texts.join("|")]);
        }
        let kind = member(schema, "type").unwrap_or_default().to_ascii_lowercase();
        match kind.as_str() {
            "\"string\"" => cat(&[&mark, &self.until(escape)]),
            "\"number\"" | "\"integer\"" | "\"boolean\"" | "\"null\"" => self.value(schema),
            "\"array\"" if member(schema, "items").is_some() && depth < DEPTH => {
                let item = self.gemma(member(schema, "items").unwrap_or_default(), depth + 1);
                let item = self.rule("gemma", "", &[&item]);
                self.rule("gemma", "", &["\"[\" (", &item, " (\",\" ", &item, ")*)? \"]\""])
            }
            "\"object\"" if member(schema, "properties").is_some() && depth < DEPTH => {
                let members = self.sequence(schema, ",", depth, GrammarWriter::member);
                cat(&["\"{\" ", &members, " \"}\""])
            }
            // Anything.
            _ => {
                if !self.rules.contains("\nany: ") {
                    let text = self.until(escape);
                    self.rules.push('\n');
                    let simple = " | /-?(0|[1-9][0-9]{0,15})(\\.[0-9]{1,15})?/ | \"true\" | \"false\" | \"null\" | ";
                    let list = "\"[\" (any (\",\" any)*)? \"]\" | ";
                    let object = "\"{\" (anykey any (\",\" anykey any)*)? \"}\"";
                    self.named("any", &[&mark, &text, simple, list, object]);
                    self.named("anykey", &["/[a-zA-Z0-9_]{1,64}:/"]);
                }
                "any".into()
            }
        }
    }
}
