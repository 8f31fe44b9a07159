//! Answers told apart: text, thoughts, calls of tools.

use crate::Target;
use rasp::text::{Chat, ChatTemplate, Message, Part, Reply};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Input: words of a template, by which the form of calls is known; after a byte of 0 the answer, whose bytes of 0 are
/// where it is cut into pieces.
pub struct Answers;

/// Words by which forms are known, and how answers in them begin.
const FORMS: &[(&str, &str)] = &[
    ("<tool_call>", "Hm. <tool_call>\n{\"name\": \"a\", \"arguments\": {\"n\": [1, \"</tool_call>\"]}}\n</tool_call>"),
    ("<TOOLCALL>", "<TOOLCALL>[{\"name\": \"a\", \"arguments\": {}}]</TOOLCALL>"),
    ("<|tool_call|>", "<|tool_call|>[{\"name\": \"a\", \"arguments\": {}}]"),
    ("[TOOL_CALLS]", "[TOOL_CALLS][{\"name\": \"a\", \"arguments\": {\"x\": 1}, \"id\": \"abcdefghi\"}]"),
    ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]a[ARGS]{\"x\": 1}[TOOL_CALLS]b[ARGS]{}"),
    ("functools", "functools[{\"name\": \"a\", \"arguments\": {}}]"),
    ("<|python_tag|>", "<|python_tag|>{\"name\": \"a\", \"parameters\": {\"x\": 1.5e3}}"),
    (
        "<|START_ACTION|>",
        "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"a\", \"parameters\": {}}]<|END_ACTION|>",
    ),
    ("Action: ```json tool_name", "Action: ```json\n[{\"tool_name\": \"a\", \"parameters\": {}}]```"),
    ("<function= </function>", "<function=a>{\"x\": null}</function>"),
    (
        "<\u{ff5c}tool\u{2581}sep\u{ff5c}>",
        "<\u{ff5c}tool\u{2581}calls\u{2581}begin\u{ff5c}><\u{ff5c}tool\u{2581}call\u{2581}begin\u{ff5c}>a<\u{ff5c}tool\u{2581}sep\u{ff5c}>{}",
    ),
    ("<|tool_call_argument_begin|>", "<|tool_call_begin|>functions.a:0<|tool_call_argument_begin|>{}<|tool_call_end|>"),
    ("<|channel|> functions.", "<|channel|>commentary to=functions.a <|message|>{}<|call|>"),
    ("<|tool_call_start|>", "<|tool_call_start|>[a(x=1, y=\"z\", l=[True, None]), b()]<|tool_call_end|>"),
    ("```tool_code", "```tool_code\na(x={'k': 'v\\'', 2: -1.5})\n```"),
    ("<start_function_call>", "<start_function_call>call:a{x:<escape>v<escape>,n:{l:[1,true]}}<end_function_call>"),
    ("<function= <parameter=", "<tool_call>\n<function=a>\n<parameter=x>\n1\n</parameter>\n</function>\n</tool_call>"),
    ("<arg_key>", "<tool_call>a\n<arg_key>x</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"),
    (
        "minimax:tool_call <invoke name=",
        "<minimax:tool_call>\n<invoke name=\"a\">\n<parameter name=\"x\">1</parameter>\n</invoke>",
    ),
    ("<think> </think> <tool_call>", "<think>\nWell <tool_call></think>\nYes."),
];

/// What is looked at of a message.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    tool_calls: Vec<IgnoredAny>,
}

/// What a host hears of an answer that comes in these pieces, and the message that becomes of it.
fn told(template: &ChatTemplate, pieces: &[&str]) -> ([String; 2], String) {
    let messages = [Message::new("user", "Hi")];
    let tools = r#"{"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "object",
        "properties": {"x": {"type": "string"}}}}}]}"#;
    let chat = Chat { messages: &messages, add_generation_prompt: true, variables: Some(tools), time: None };
    let mut reply = match Reply::new(template, &chat) {
        Ok(reply) => reply,
        Err(error) => return (Default::default(), error.to_string()),
    };
    let (mut heard, mut calls) = ([String::new(), String::new()], 0);
    let mut take = |reply: &mut Reply, heard: &mut [String; 2]| {
        while let Some(part) = reply.next_part() {
            match part {
                Part::Text(text) => heard[0] += text,
                Part::Reasoning(text) => heard[1] += text,
                Part::Call(call) => {
                    // JSON by its grammar: a number may be beyond any type of the reader's.
                    let _: IgnoredAny = serde_json::from_str(&call.arguments).expect("JSON");
                    assert!(call.arguments.starts_with('{') && !call.name.is_empty() && !call.id.is_empty());
                    calls += 1;
                }
            }
        }
    };
    for piece in pieces {
        reply.push(piece).expect("there is memory");
        take(&mut reply, &mut heard);
    }
    reply.finish().expect("there is memory");
    take(&mut reply, &mut heard);
    assert_eq!(calls, reply.calls().len());
    let message = reply.message().expect("there is memory");
    let told: Told = serde_json::from_str(&message).expect("JSON");
    assert_eq!(told.tool_calls.len(), calls);
    (heard, message)
}

impl Target for Answers {
    fn seeds(&self) -> Vec<Vec<u8>> {
        FORMS.iter().map(|(words, answer)| [words.as_bytes(), &[0], answer.as_bytes()].concat()).collect()
    }

    fn run(&mut self, input: &[u8]) {
        let mut parts = input.splitn(2, |&byte| byte == 0);
        let words = String::from_utf8_lossy(parts.next().unwrap_or_default()).replace("{#", "").replace("#}", "");
        let answer = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let source = format!("{{# {words} #}}{{{{ messages[0].content }}}}");
        let template = ChatTemplate::with_tokens(&source, None, None).expect("there is memory");
        let pieces: Vec<&str> = answer.split('\0').collect();
        let whole = answer.replace('\0', "");
        let cut = told(&template, &pieces);
        // However it is cut it is the same.
        assert_eq!(cut, told(&template, &[&whole]));
    }
}
