//! Calls of tools in an answer's text, in the form that most models learn: `<tool_call>`, a JSON object with a name and
//! arguments, `</tool_call>` (Qwen 2.5 and 3, Hermes and others, whose templates say so).

use serde_json::Value;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A call that the model makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// JSON.
    pub arguments: String,
}

/// What of an answer is text, and what is calls.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Call(Call),
}

/// Whether a template tells the model of tools, and has it call them in this form.
pub fn known_to(template: &str) -> bool {
    template.contains("tools") && template.contains(OPEN)
}

/// The grammar of one call to one of these functions, in Lark's words.
pub fn grammar<'a>(functions: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let schemas = functions.map(|(name, parameters)| {
        serde_json::json!({"type": "object", "properties": {"name": {"const": name}, "arguments": parameters},
            "required": ["name", "arguments"], "additionalProperties": false})
    });
    let schema = serde_json::json!({"anyOf": schemas.collect::<Vec<_>>(),
        "x-guidance": {"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "}});
    format!("start: \"{OPEN}\\n\" call \"\\n{CLOSE}\"\ncall: %json {schema}\n")
}

/// Takes an answer's text as it comes. What may become a call is held back; so is white space, which belongs to none of
/// the two where a call is beside it.
#[derive(Debug, Default)]
pub struct Calls {
    held: String,
    /// Whether there was a call, and no text since.
    after_call: bool,
}

impl Calls {
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = vec![];
        while let Some(start) = self.held.find(OPEN) {
            let Some(length) = self.held[start..].find(CLOSE) else { break };
            let end = start + length + CLOSE.len();
            let rest = self.held.split_off(end);
            let whole = std::mem::replace(&mut self.held, rest);
            match call(&whole[start + OPEN.len()..end - CLOSE.len()]) {
                Some(call) => {
                    self.text(whole[..start].trim_end(), &mut parts);
                    parts.push(Part::Call(call));
                    self.after_call = true;
                }
                // None that anybody could make.
                None => self.text(&whole, &mut parts),
            }
        }
        let shown = self.held.find(OPEN).unwrap_or(self.held.len() - begun(&self.held));
        let shown = self.held[..shown].trim_end().len();
        let rest = self.held.split_off(shown);
        let text = std::mem::replace(&mut self.held, rest);
        self.text(&text, &mut parts);
        parts
    }

    /// Ends the answer: what was held back is text, or a call whose end the model left out.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = vec![];
        let held = std::mem::take(&mut self.held);
        match held.split_once(OPEN).and_then(|(before, rest)| Some((before, call(rest)?))) {
            Some((before, call)) => {
                self.text(before.trim_end(), &mut parts);
                parts.push(Part::Call(call));
            }
            None if self.after_call && held.trim().is_empty() => {}
            None => self.text(&held, &mut parts),
        }
        parts
    }

    fn text(&mut self, text: &str, parts: &mut Vec<Part>) {
        let text = if self.after_call { text.trim_start() } else { text };
        if !text.is_empty() {
            self.after_call = false;
            parts.push(Part::Text(text.to_string()));
        }
    }
}

/// Bytes at the end of a text with which a call may have begun.
fn begun(text: &str) -> usize {
    (1..OPEN.len()).rev().find(|&n| text.ends_with(&OPEN[..n])).unwrap_or(0)
}

fn call(text: &str) -> Option<Call> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    let name = value.get("name")?.as_str()?.to_string();
    let arguments = match value.get("arguments") {
        None => "{}".into(),
        Some(Value::String(text)) => text.clone(),
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        Some(_) => return None,
    };
    Some(Call { name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text and the calls, however the answer is cut.
    fn split(answer: &str) -> (String, Vec<Call>) {
        let mut found = vec![];
        for size in [1, 2, 3, 7, answer.len().max(1)] {
            let (mut calls, mut text, mut made) = (Calls::default(), String::new(), vec![]);
            let chars: Vec<char> = answer.chars().collect();
            let mut take = |parts: Vec<Part>| {
                parts.into_iter().for_each(|part| match part {
                    Part::Text(piece) => text += &piece,
                    Part::Call(call) => made.push(call),
                });
            };
            chars.chunks(size).for_each(|piece| take(calls.push(&piece.iter().collect::<String>())));
            take(calls.finish());
            found.push((text, made));
        }
        assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
        found.swap_remove(0)
    }

    #[test]
    fn calls_are_told_from_text() {
        let call = |name: &str, arguments: &str| Call { name: name.into(), arguments: arguments.into() };
        assert_eq!(split("Plain, with < and <tool in it.\n"), ("Plain, with < and <tool in it.\n".into(), vec![]));
        let one = "<tool_call>\n{\"name\": \"sum\", \"arguments\": {\"a\": 1, \"b\": [2]}}\n</tool_call>";
        assert_eq!(split(one), (String::new(), vec![call("sum", r#"{"a":1,"b":[2]}"#)]));
        let two = format!("Let me see.\n{one}\n{one}\n");
        assert_eq!(split(&two), ("Let me see.".into(), vec![call("sum", r#"{"a":1,"b":[2]}"#); 2]));
        assert_eq!(split(&format!("{one}\nDone.")), ("Done.".into(), vec![call("sum", r#"{"a":1,"b":[2]}"#)]));
        // The model ended with its call; or was cut; or wrote what is none.
        let open = one.strip_suffix(CLOSE).unwrap();
        assert_eq!(split(open).1.len(), 1);
        for none in ["<tool_call>\n{\"name\": \"su", "<tool_call>{\"nam\": 1}</tool_call> x", "<tool_call>", "a <tool_"]
        {
            assert_eq!(split(none), (none.into(), vec![]));
        }
        assert_eq!(split("<tool_call>{\"name\": \"now\"}</tool_call>").1, [call("now", "{}")]);
    }
}
