//! Answers of all forms, however they are cut.

use super::format::{FORMATS, Format, Thinking};
use super::reply::{Part, Reply};
use super::tools::ToolList;
use crate::text::{Chat, ChatTemplate, Message};
use std::cell::Cell;

thread_local!(pub(super) static LOOKED: Cell<usize> = const { Cell::new(0) });

const TOOLS: &str = r#"{"tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object",
    "properties": {"place": {"type": "string"}, "n": {"type": "integer"}, "days": {"type": "array"},
    "o": {"type": "object"}}}}}, {"name": "now"}]}"#;

fn reply(format: &str, thinking: &str) -> Reply {
    let found = FORMATS.iter().find(|known| known.name == format);
    assert!(found.is_some() || format.is_empty(), "{format}");
    let mut reply = Reply::of(found, Thinking::of(thinking));
    reply.set_tools(ToolList::of_variables(TOOLS).unwrap());
    reply
}

/// The text, the thoughts and the calls of an answer, which are the same however it is cut.
fn split(fresh: &Reply, answer: &str) -> (String, String, Vec<(String, String)>) {
    let mut found = vec![];
    for size in [1, 2, 3, 7, answer.len().max(1)] {
        let (mut reply, mut text, mut thoughts, mut calls) = (fresh.clone(), String::new(), String::new(), vec![]);
        let mut take = |reply: &mut Reply| {
            while let Some(part) = reply.next_part() {
                match part {
                    Part::Text(piece) => text += piece,
                    Part::Reasoning(piece) => thoughts += piece,
                    Part::Call(call) => calls.push((call.name.clone(), call.arguments.clone())),
                }
            }
        };
        let chars: Vec<char> = answer.chars().collect();
        for piece in chars.chunks(size) {
            reply.push(&piece.iter().collect::<String>()).unwrap();
            take(&mut reply);
        }
        reply.finish().unwrap();
        take(&mut reply);
        let message: serde_json::Value = serde_json::from_str(&reply.message().unwrap()).unwrap();
        assert_eq!(message["content"], text.as_str());
        assert_eq!(message["tool_calls"].as_array().map_or(0, Vec::len), calls.len());
        found.push((text, thoughts, calls));
    }
    assert!(found.iter().all(|one| *one == found[0]), "{answer}: {found:#?}");
    found.swap_remove(0)
}

const ALL: &str = r#"{"place":"Bern \"x\" é","days":[1,2.5,null],"n":3,"o":{"k":true,"v":"s"}}"#;
const JSON: &str = r#"{"place": "Bern \"x\" é", "days": [1, 2.5, null], "n": 3, "o": {"k": true, "v": "s"}}"#;

/// One call of each form with these arguments, as its templates print it, and how two are put together.
fn printed(format: &str) -> Option<(String, String)> {
    let object = format!(r#"{{"name": "weather", "arguments": {JSON}}}"#);
    let tagged = |open: &str, parameter: [&str; 3], close: &str| {
        let values =
            [("place", "Bern \"x\" é"), ("days", "[1, 2.5, None]"), ("n", "3"), ("o", "{'k': True, 'v': 's'}")];
        let [key, middle, end] = parameter;
        let body: String = values.iter().map(|(k, v)| format!("{key}{k}{middle}{v}{end}\n")).collect();
        format!("{open}{body}{close}")
    };
    let python = r#"weather(place='Bern "x" é', days=[1, 2.5, None], n=3, o={"k": true, "v": "s"})"#;
    let gemma = |mark: &str| {
        let m = mark;
        format!("weather{{place:{m}Bern \"x\" é{m},days:[1,2.5,None],n:3,o:{{k:true,v:{m}s{m}}}}}")
    };
    let one_and_two = |open: &str, one: String, part: &str, close: &str| {
        Some((format!("{open}{one}{close}"), format!("{open}{one}{part}{one}{close}")))
    };
    match format {
        "hermes" => one_and_two("<tool_call>\n", object, "\n</tool_call>\n<tool_call>\n", "\n</tool_call>"),
        "tool_calls" => one_and_two("<tool_calls>\n", object, "\n", "\n</tool_calls>"),
        "nemotron" => one_and_two("<TOOLCALL>[", object, ", ", "]</TOOLCALL>"),
        "granite" => one_and_two("<|tool_call|>[", object, ", ", "]"),
        "mistral-list" => one_and_two("[TOOL_CALLS][", object, ", ", "]"),
        "firefunction" => one_and_two(" functools[", object, ", ", "]"),
        "gigachat" => one_and_two("<|function_call|>", object, "\n", ""),
        "gigachat-3" => one_and_two("<|message_sep|>\n\nfunction call<|role_sep|>\n", object, "\n", ""),
        "llama3" | "json" => one_and_two("", object.replace("arguments", "parameters"), "; ", ""),
        "cohere" => {
            let call = format!(r#"{{"tool_call_id": "0", "tool_name": "weather", "parameters": {JSON}}}"#);
            one_and_two("<|START_ACTION|>[\n    ", call, ",\n    ", "\n]<|END_ACTION|>")
        }
        "command-r" => {
            let call = format!("{{\n  \"tool_name\": \"weather\",\n  \"parameters\": {JSON}\n}}");
            one_and_two("Action:\n```json\n[\n", call, ",\n", "\n]```")
        }
        "apertus" => one_and_two("<|tools_prefix|>[", format!("{{\"weather\": {JSON}}}"), ", ", "]<|tools_suffix|>"),
        "mistral" => one_and_two("", format!("[TOOL_CALLS]weather[CALL_ID]abc123def[ARGS]{JSON}"), "", ""),
        "functionary" => one_and_two("", format!("<function=weather>{JSON}</function>"), "", ""),
        "deepseek-v3.1" => one_and_two(
            "<｜tool▁calls▁begin｜>",
            format!("<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜>"),
            "",
            "<｜tool▁calls▁end｜>",
        ),
        "deepseek-r1" => one_and_two(
            "<｜tool▁calls▁begin｜>",
            format!("<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{JSON}\n```<｜tool▁call▁end｜>"),
            "\n",
            "<｜tool▁calls▁end｜>",
        ),
        "kimi" => one_and_two(
            "<|tool_calls_section_begin|>",
            format!("<|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{JSON}<|tool_call_end|>"),
            "",
            "<|tool_calls_section_end|>",
        ),
        "solar" => one_and_two(
            "<|tool_calls|>",
            format!("<|tool_call:begin|>x1<|tool_call:name|>weather<|tool_call:args|>{JSON}<|tool_call:end|>"),
            "",
            "",
        ),
        "harmony" => one_and_two(
            "",
            format!("<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{JSON}<|call|>"),
            "<|start|>assistant",
            "",
        ),
        "lfm2" => one_and_two("<|tool_call_start|>[", python.into(), ", ", "]<|tool_call_end|>"),
        "tool_code" => one_and_two("```tool_code\n", python.into(), "\n", "\n```"),
        "functiongemma" => {
            one_and_two("", format!("<start_function_call>call:{}<end_function_call>", gemma("<escape>")), "", "")
        }
        "gemma4" => one_and_two("", format!("<|tool_call>call:{}<tool_call|>", gemma("<|\"|>")), "", ""),
        "qwen3-coder" => one_and_two(
            "<tool_call>\n",
            tagged("<function=weather>\n", ["<parameter=", ">\n", "\n</parameter>"], "</function>"),
            "\n</tool_call>\n<tool_call>\n",
            "\n</tool_call>",
        ),
        "seed" => one_and_two(
            "<seed:tool_call>\n",
            tagged("<function=weather>\n", ["<parameter=", ">", "</parameter>"], "</function>"),
            "\n</seed:tool_call>\n<seed:tool_call>\n",
            "\n</seed:tool_call>",
        ),
        "minimax" => one_and_two(
            "<minimax:tool_call>\n",
            tagged("<invoke name=\"weather\">\n", ["<parameter name=\"", "\">", "</parameter>"], "</invoke>"),
            "\n",
            "\n</minimax:tool_call>",
        ),
        "dsml" => one_and_two(
            "<｜DSML｜function_calls>\n",
            tagged(
                "<｜DSML｜invoke name=\"weather\">\n",
                ["<｜DSML｜parameter name=\"", "\">", "</｜DSML｜parameter>"],
                "</｜DSML｜invoke>",
            ),
            "\n",
            "\n</｜DSML｜function_calls>",
        ),
        "kimi-k3" => one_and_two(
            "<|open|>tools<|sep|>",
            tagged(
                "<|open|>call tool=\"weather\" index=\"1\"<|sep|>",
                ["<|open|>argument key=\"", "\"<|sep|>", "<|close|>argument<|sep|>"],
                "<|close|>call<|sep|>",
            ),
            "",
            "<|close|>tools<|sep|>",
        ),
        "minicpm" => one_and_two(
            "",
            tagged("<function name=\"weather\">", ["<param name=\"", "\">", "</param>"], "</function>"),
            "\n",
            "",
        ),
        "glm" => one_and_two(
            "",
            tagged("<tool_call>weather\n", ["<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>"], "</tool_call>"),
            "\n",
            "",
        ),
        "hunyuan" => one_and_two(
            "<tool_calls:opensource>\n",
            tagged(
                "<tool_call:opensource>weather<tool_sep:opensource>\n",
                ["<arg_key:opensource>", "</arg_key:opensource>\n<arg_value:opensource>", "</arg_value:opensource>"],
                "</tool_call:opensource>",
            ),
            "\n",
            "\n</tool_calls:opensource>",
        ),
        _ => None,
    }
}

#[test]
fn calls_of_every_form_are_read() {
    for format in FORMATS {
        let fresh = reply(format.name, "</think>");
        let call = ("weather".to_string(), ALL.to_string());
        let (one, two) = printed(format.name).unwrap_or_else(|| panic!("{} is not tested", format.name));
        assert_eq!(split(&fresh, &one), (String::new(), String::new(), vec![call.clone()]), "{}", format.name);
        let both = (String::new(), String::new(), vec![call.clone(), call.clone()]);
        assert_eq!(split(&fresh, &two), both, "{}", format.name);
        let thought = split(&fresh, &format!("<think>\nHm.\n</think>\n\n{two}"));
        assert_eq!(thought, ("".into(), "Hm.".into(), both.2.clone()), "{}", format.name);
        if !format.bare {
            let said = split(&fresh, &format!("Let me see:\n\n{two}\n"));
            assert_eq!(said, ("Let me see:".into(), "".into(), both.2), "{}", format.name);
        }
        let after = split(&fresh, &format!("{one}\nDone.\n"));
        assert_eq!(after, ("Done.\n".into(), "".into(), vec![call]), "{}", format.name);
        // Cut anywhere, nothing is lost but white space beside calls, and no call is made up.
        for end in (0..one.len()).filter(|&end| one.is_char_boundary(end)) {
            let (text, _, calls) = split(&fresh, &one[..end]);
            assert!(calls.is_empty() || calls[0].1 == ALL, "{}: {}", format.name, &one[..end]);
            let silent = calls.len() == 1 || one[..end].trim() == text.trim();
            assert!(silent || format.silent.iter().any(|mark| one[..end].contains(mark)), "{}: {text}", &one[..end]);
        }
    }
}

#[test]
fn what_is_no_call_is_text() {
    for (format, answers) in [
        (
            "hermes",
            &[
                "Plain, with < and <tool in it.\n",
                "  white\n\n space \n",
                "<tool_call>\n{\"name\": \"su",
                "<tool_call>{\"nam\": 1}</tool_call> x",
                "<tool_call>",
                "a <tool_",
                "write <tool_call> to call, then </tool_call>",
                "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
                "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": nul}}</tool_call>",
                "{\"name\": \"weather\", \"arguments\": {}}",
            ][..],
        ),
        (
            "llama3",
            &["{\"name\": \"Bob\", \"parameters\": {}}", "[1, 2]", "{\"a\": {}}\nx", "A {\"name\": \"weather\"}"],
        ),
        ("lfm2", &["<|tool_call_start|>[f(1)]<|tool_call_end|>", "<|tool_call_start|>[f(a=)]", "f(a=1)"]),
        ("mistral", &["[TOOL_CALLS]", "[TOOL_CALLS]f[ARGS]x", "[TOOL_CALLS] [{\"a\": 1}] [ARGS]!"]),
        (
            "glm",
            &["<tool_call>f<arg_key>a</arg_key>x<tool", "<tool_call></tool_call>", "<tool_call>f<arg_key>a</arg_key>"],
        ),
        (
            "qwen3-coder",
            &["<tool_call>x</tool_call>", "<function=f>\nx", "<function=f>\n<parameter=a>\n1\n</parameter>\n"],
        ),
        ("", &["<tool_call>{\"name\": \"f\"}</tool_call>"]),
    ] {
        for answer in answers {
            let found = split(&reply(format, ""), answer);
            assert_eq!(found, (answer.to_string(), String::new(), vec![]), "{format}");
        }
    }
    // A name alone is a call of a function without arguments; a call may end with the answer.
    let found = split(&reply("hermes", ""), "<tool_call>{\"name\": \"now\"}");
    assert_eq!(found.2, [("now".to_string(), "{}".to_string())]);
    let found = split(&reply("hermes", ""), r#"<tool_call>{"name": "f", "arguments": "{\"a\": \"\\n\"}"}</tool_call>"#);
    assert_eq!(found.2, [("f".to_string(), r#"{"a":"\n"}"#.to_string())]);
    // A malformed call hides none that follows.
    let found = split(&reply("hermes", ""), "<tool_call> <tool_call>{\"name\": \"now\"}</tool_call>");
    assert_eq!((found.0.as_str(), found.2.len()), ("<tool_call>", 1));
}

#[test]
fn marks_within_texts_end_nothing() {
    for (format, answer, expected) in [
        (
            "hermes",
            r#"<tool_call>{"name": "f", "arguments": {"a": "</tool_call><tool_call>{"}}</tool_call>"#,
            r#"{"a":"</tool_call><tool_call>{"}"#,
        ),
        (
            "qwen3-coder",
            "<function=f><parameter=a>x</parameter> </function</tool_call>\n\n</parameter></function>",
            r#"{"a":"x</parameter> </function</tool_call>\n"}"#,
        ),
        ("lfm2", "<|tool_call_start|>[f(a='it's \"<|tool_call_end|>\"')]", r#"{"a":"it's \"<|tool_call_end|>\""}"#),
        (
            "functiongemma",
            "<start_function_call>call:f{a:<escape>}<end_function_call><escape>}",
            r#"{"a":"}<end_function_call>"}"#,
        ),
        ("mistral", r#"[TOOL_CALLS]f[ARGS]{"a": "[TOOL_CALLS]g[ARGS]{}"}"#, r#"{"a":"[TOOL_CALLS]g[ARGS]{}"}"#),
    ] {
        let found = split(&reply(format, ""), answer);
        assert_eq!(found, (String::new(), String::new(), vec![("f".to_string(), expected.to_string())]), "{format}");
    }
}

#[test]
fn arguments_have_the_types_of_their_schema() {
    let call = "<tool_call>weather<arg_key>place</arg_key><arg_value>12</arg_value><arg_key>n</arg_key>\
        <arg_value>12</arg_value><arg_key>x</arg_key><arg_value>12</arg_value><arg_key>y</arg_key>\
        <arg_value>twelve</arg_value><arg_key>o</arg_key><arg_value>none</arg_value></tool_call>";
    let found = split(&reply("glm", ""), call);
    assert_eq!(found.2[0].1, r#"{"place":"12","n":12,"x":12,"y":"twelve","o":"none"}"#);
}

#[test]
fn thoughts_are_told_apart() {
    let fresh = reply("hermes", "</think>");
    let text = |text: &str, thoughts: &str| (text.to_string(), thoughts.to_string(), vec![]);
    assert_eq!(split(&fresh, "<think>\na\n\nb\n</think>\n\nYes. \n"), text("Yes. \n", "a\n\nb"));
    assert_eq!(split(&fresh, "<think>\n\n</think>\n\nYes"), text("Yes", ""));
    assert_eq!(
        split(&fresh, "<think>a <tool_call>{\"name\": \"f\"}</tool_call>"),
        text("", "a <tool_call>{\"name\": \"f\"}</tool_call>")
    );
    assert_eq!(split(&reply("hermes", ""), "<think>a</think>"), text("<think>a</think>", ""));

    let template = "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}A:\
        {% if enable_thinking %}<think>\n{% else %}<think></think>{% endif %}{% endif %}<tool_call>";
    let template = ChatTemplate::with_tokens(template, None, None).unwrap();
    for (variables, expected) in [(r#"{"enable_thinking": true}"#, text("b", "a")), ("{}", text("a</think>b", ""))] {
        let messages = [Message::new("user", "</think> <think>")];
        let chat = Chat { messages: &messages, add_generation_prompt: true, variables: Some(variables), time: None };
        let fresh = Reply::new(&template, &chat).unwrap();
        assert_eq!((split(&fresh, "a</think>b"), fresh.format()), (expected, Some("hermes")));
    }
}

#[test]
fn a_message_goes_back_into_the_chat() {
    let mut reply = reply("mistral", "[/THINK]");
    reply.push("[THINK]Hm.[/THINK]See:[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]now[CALL_ID]abc[ARGS]{\"a\": [1]}").unwrap();
    reply.finish().unwrap();
    assert!(reply.push("x").is_err());
    let expected = r#"{"content":"See:","reasoning_content":"Hm.","tool_calls":[{"type":"function","id":"call00000","function":{"name":"now","arguments":{}}},{"type":"function","id":"abc","function":{"name":"now","arguments":{"a":[1]}}}]}"#;
    assert_eq!(reply.message().unwrap(), expected);
}

/// Random numbers, the same every time.
struct Seed(u64);

impl Seed {
    fn below(&mut self, n: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n) as usize
    }
}

/// Any text at all is read in time that grows as it does, loses nothing, and makes no call of nothing.
#[test]
fn any_text_at_all() {
    let mut seed = Seed(1);
    for format in FORMATS {
        let fresh = reply(format.name, "</think>");
        let (one, _) = printed(format.name).unwrap();
        let mut words: Vec<&str> = format.marks().collect();
        words
            .extend(["{", "}", "[", "\"", "a", ":", "=", "(", ",", " ", "\n", "é", "weather", "\\", "name", "'", &one]);
        for _ in 0..60 {
            let answer: String = (0..seed.below(24)).map(|_| words[seed.below(words.len() as u64)]).collect();
            let (text, thoughts, calls) = split(&fresh, &answer);
            if calls.is_empty() && format.silent.is_empty() && !answer.contains("<think>") {
                assert_eq!(text, answer, "{}", format.name);
            }
            assert!(text.len() + thoughts.len() <= answer.len());
        }
    }
}

/// A method of nothing is a name of its own.
#[test]
fn no_call_is_of_nothing() {
    for format in FORMATS {
        let fresh = reply(format.name, "");
        let open = format.blocks.first().map_or("", |block| block[0]);
        for answer in [format!("{open}[.call(x=1)]"), format!("{open}.call(x=1)"), format!("{open}[.call.call()]")] {
            let (_, _, calls) = split(&fresh, &answer);
            assert!(calls.iter().all(|(name, _)| !name.is_empty()), "{}: {answer}", format.name);
        }
    }
}

/// What is too long for a name or an identifier is given up at one place, however the text is cut, and a call behind it
/// is found.
#[test]
fn a_field_without_end_is_given_up_at_one_place() {
    for format in FORMATS {
        let fresh = reply(format.name, "");
        let (one, _) = printed(format.name).unwrap();
        let open = format.blocks.first().map_or("", |block| block[0]);
        for filler in ["a", "é", " ", "[A"] {
            for length in [400, 500, 509, 510, 511, 512, 513, 514, 520, 700, 1100] {
                let long = filler.repeat(length / filler.len());
                for answer in [format!("{open}{long}{one}"), format!("{open}a{long}\n{one}{open}{long}")] {
                    split(&fresh, &answer);
                }
            }
        }
    }
}

/// Nothing is looked at again and again, however long it is held back.
#[test]
fn hostile_answers_take_work_in_proportion() {
    for format in FORMATS {
        let (one, _) = printed(format.name).unwrap();
        let open = format.blocks.first().map_or("", |block| block[0]);
        let openers: String = format.opens.first().copied().unwrap_or("").into();
        for unit in
            [one.as_str(), open, &openers, " ", "[", "{\"", "\\", &one[..one.floor_char_boundary(one.len() * 2 / 3)]]
        {
            if unit.is_empty() {
                continue;
            }
            for head in ["", open, &openers] {
                let mut reply = reply(format.name, "</think>");
                let answer = head.to_string() + &unit.repeat((1 << 14) / unit.len());
                LOOKED.set(0);
                for piece in answer.chars().collect::<Vec<_>>().chunks(5) {
                    reply.push(&piece.iter().collect::<String>()).unwrap();
                }
                reply.finish().unwrap();
                // A word of a few bytes is looked at again with each piece, and what follows a mark is moved.
                let looked = LOOKED.get();
                assert!(looked <= 8 * answer.len(), "{}: {looked} for {unit:?} after {head:?}", format.name);
            }
        }
    }
}

#[test]
fn forms_are_told_from_templates() {
    for (template, expected) in [
        ("{{ tools }} <tool_call>\n{\"name\"", Some("hermes")),
        ("{{ tools }} <tool_call><function=x><parameter=y>", Some("qwen3-coder")),
        ("[TOOL_CALLS] [ARGS]", Some("mistral")),
        ("[TOOL_CALLS]", Some("mistral-list")),
        ("{{ messages }}", None),
    ] {
        assert_eq!(Format::of(template).map(|format| format.name), expected, "{template}");
    }
}
