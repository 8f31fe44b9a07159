//! Constraints made from tools: whatever a model of random weights says, its calls are well formed, in every form,
//! whether their marks are text or special tokens.
#![cfg(feature = "constrained")]

#[path = "support/tiny.rs"]
mod tiny;

use rasp::constraint::{Constraint, ConstraintKind};
use rasp::text::{Chat, Message, Reply, Shown};
use rasp::{LoadOptions, Model, Sampling, Session, SessionOptions, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What templates have that teach a form, by which it is known, and the special tokens of its models.
const FORMS: &[(&str, &str, &[&str])] = &[
    ("hermes", "<tool_call>", &[]),
    ("hermes", "<tool_call>", &["<tool_call>", "</tool_call>"]),
    ("tool_calls", "<tool_calls>", &[]),
    ("nemotron", "<TOOLCALL>", &[]),
    ("granite", "<|tool_call|>", &["<|tool_call|>"]),
    ("mistral-list", "[TOOL_CALLS]", &["[TOOL_CALLS]"]),
    ("mistral", "[TOOL_CALLS] [ARGS]", &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]),
    ("firefunction", "functools", &[]),
    ("gigachat", "<|function_call|>", &["<|function_call|>"]),
    ("gigachat-3", "function call <|role_sep|>", &["<|role_sep|>", "<|message_sep|>"]),
    ("llama3", "<|python_tag|>", &["<|python_tag|>"]),
    ("json", "\"name\" \"parameters\" tools", &[]),
    ("cohere", "<|START_ACTION|>", &["<|START_ACTION|>", "<|END_ACTION|>"]),
    ("command-r", "Action: ```json tool_name", &[]),
    ("apertus", "<|tools_prefix|>", &["<|tools_prefix|>", "<|tools_suffix|>"]),
    ("functionary", "<function= </function>", &[]),
    ("deepseek-v3.1", "<｜tool▁sep｜>", &["<｜tool▁sep｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"]),
    (
        "deepseek-r1",
        "<｜tool▁sep｜> ```json",
        &["<｜tool▁call▁end｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"],
    ),
    ("kimi", "<|tool_call_argument_begin|>", &["<|tool_call_begin|>", "<|tool_call_end|>"]),
    ("solar", "<|tool_call:args|>", &["<|tool_call:args|>", "<|tool_calls|>", "<|calls|>"]),
    ("harmony", "<|channel|> functions.", &["<|channel|>", "<|message|>", "<|start|>", "<|call|>"]),
    ("lfm2", "<|tool_call_start|>", &["<|tool_call_start|>", "<|tool_call_end|>"]),
    ("tool_code", "```tool_code", &[]),
    ("functiongemma", "<start_function_call>", &["<start_function_call>", "<end_function_call>", "<escape>"]),
    ("functiongemma", "<start_function_call>", &[]),
    ("gemma4", "<|tool_call>call:", &["<|tool_call>", "<tool_call|>", "<|\"|>"]),
    ("qwen3-coder", "<function= <parameter=", &[]),
    ("seed", "<seed:tool_call>", &["<seed:tool_call>", "</seed:tool_call>"]),
    ("minimax", "minimax:tool_call <invoke name=", &[]),
    ("dsml", "DSML", &["｜DSML｜"]),
    ("kimi-k3", "<|open|> <|sep|>", &["<|open|>", "<|close|>", "<|sep|>"]),
    ("minicpm", "<function name= <param name=", &[]),
    ("glm", "<arg_key>", &["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]),
    ("hunyuan", "arg_key{}", &[]),
];

fn load(name: &str, sign: &str, specials: &[&str]) -> Arc<Model> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let file = format!("tools_{name}_{}.rasp", COUNT.fetch_add(1, Relaxed));
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let mut tiny = tiny::Tiny::new();
    let escaped = serde_json::to_string(sign).unwrap();
    tiny.template = Some(format!(
        "{{# {sign} #}}{{% for m in messages %}}[{{{{ m.content }}}}]{{% endfor %}}{{% if think %}}<think>\n\
         {{% endif %}}{{% set end = '</think>' %}}{{% if false %}}{{{{ {escaped} }}}}{{% endif %}}"
    ));
    tiny.set_specials(specials);
    tiny.write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    std::fs::remove_file(path).unwrap();
    model
}

fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"unit": {"type": "string", "enum": ["C", "F"]},
        "n": {"type": "integer", "minimum": 0, "maximum": 99}, "sure": {"type": "boolean"}},
        "required": ["n"], "additionalProperties": false});
    json!([
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": schema}},
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {},
            "additionalProperties": false}}},
    ])
}

/// The tokens of a text, special ones by their names.
fn tokens(model: &Model, text: &str) -> Vec<u32> {
    let tokenizer = model.tokenizer();
    let specials: Vec<u32> = (0..tokenizer.vocab_size() as u32).filter(|&id| tokenizer.is_special(id)).collect();
    let (mut rest, mut found) = (text.as_bytes(), vec![]);
    while let Some(&byte) = rest.first() {
        let special = specials.iter().find(|&&id| rest.starts_with(tokenizer.token_bytes(id).unwrap()));
        let token = special.copied().unwrap_or(u32::from(byte));
        rest = &rest[tokenizer.token_bytes(token).unwrap().len()..];
        found.push(token);
    }
    found
}

struct Answers {
    session: Session,
    end: u32,
}

impl Answers {
    fn new(model: &Arc<Model>, source: &Value) -> Answers {
        let mut session = Session::open(model.clone(), &SessionOptions { context: 512, ..Default::default() }).unwrap();
        let constraint = Constraint::new(model, ConstraintKind::Tools, &source.to_string());
        session.set_constraint(Some(Arc::new(constraint.unwrap()))).unwrap();
        Answers { session, end: model.tokenizer().end_tokens()[0] }
    }

    /// What the model makes of an answer that begins so, ending it as soon as it may; `None` if that fits not.
    fn answer(&mut self, begun: &str, seed: u64) -> Option<String> {
        let session = &mut self.session;
        session.reset();
        session.set_sampling(Sampling { temperature: 2.0, seed, ..Default::default() }).unwrap();
        session.set_logit_bias(&[(self.end, 200.0)]).unwrap();
        session.prefill(&[u32::from(b'x')]).unwrap();
        let given = tokens(session.model(), begun);
        given.iter().for_each(|&token| session.decode(token).unwrap());
        let mut text = begun.as_bytes().to_vec();
        loop {
            match session.step_text(Shown::Marks, |bytes| text.extend_from_slice(bytes)) {
                Ok(None) => {}
                Ok(Some(_)) => return Some(String::from_utf8(text).unwrap()),
                Err(error) if error.status() == Status::InvalidState => return None,
                Err(error) => panic!("{begun}: {error}"),
            }
        }
    }
}

/// The text of an answer, and its calls.
fn read(model: &Model, source: &Value, answer: &str) -> (String, Vec<(String, Value)>) {
    let user = [Message::new("user", "x")];
    let variables = source.to_string();
    let chat = Chat { messages: &user, add_generation_prompt: true, variables: Some(&variables), time: None };
    let mut reply = Reply::new(model.chat_template().unwrap(), &chat).unwrap();
    reply.push(answer).unwrap();
    reply.finish().unwrap();
    let calls = reply.calls().iter();
    let calls = calls.map(|call| (call.name.clone(), serde_json::from_str(&call.arguments).unwrap())).collect();
    let message: Value = serde_json::from_str(&reply.message().unwrap()).unwrap();
    (message["content"].as_str().unwrap().into(), calls)
}

fn obeys((name, arguments): &(String, Value)) -> bool {
    let Some(fields) = arguments.as_object() else { return false };
    match name.as_str() {
        "now" => fields.is_empty(),
        "weather" => {
            fields.get("n").is_some_and(|n| n.as_u64().is_some_and(|n| n < 100))
                && fields.get("unit").is_none_or(|unit| unit == "C" || unit == "F")
                && fields.get("sure").is_none_or(Value::is_boolean)
                && fields.keys().all(|key| ["n", "unit", "sure"].contains(&key.as_str()))
        }
        _ => false,
    }
}

#[test]
fn a_call_that_is_required_comes_in_every_form() {
    for &(name, sign, specials) in FORMS {
        let model = load(name, sign, specials);
        assert_eq!(model.chat_template().unwrap().call_format(), Some(name));
        let source = json!({"tools": tools(), "tool_choice": "required"});
        let mut answers = Answers::new(&model, &source);
        for seed in 0..6 {
            let answer = answers.answer("", seed).unwrap_or_else(|| panic!("{name}"));
            let (text, calls) = read(&model, &source, &answer);
            assert!(text.is_empty() && calls.len() == 1 && obeys(&calls[0]), "{name}: {answer:?}: {text:?} {calls:?}");
        }
        // A function by its name.
        let source = json!({"tools": tools(), "tool_choice": {"type": "function", "function": {"name": "now"}}});
        let answer = Answers::new(&model, &source).answer("", 1).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(read(&model, &source, &answer).1, [("now".to_string(), json!({}))], "{name}: {answer:?}");
        // After what it thinks, but for two that have marks of their own for that.
        if name == "harmony" || name == "kimi-k3" {
            continue;
        }
        let source = json!({"tools": tools(), "tool_choice": "required", "think": true});
        let answer = Answers::new(&model, &source).answer("Hm, </thin <x>\n</think>", 1);
        let answer = answer.unwrap_or_else(|| panic!("{name}"));
        let (text, calls) = read(&model, &source, &answer);
        assert!(text.is_empty() && calls.len() == 1 && obeys(&calls[0]), "{name}: {answer:?}: {text:?} {calls:?}");
    }
}

#[test]
fn a_call_that_begins_is_held_to_the_tools() {
    for &(name, sign, specials) in FORMS {
        let model = load(name, sign, specials);
        let source = json!({"tools": tools()});
        // Where a call begins is seen in one that is required.
        let required = json!({"tools": tools(), "tool_choice": "required"});
        let call = Answers::new(&model, &required).answer("", 3).unwrap_or_else(|| panic!("{name}"));
        let bare = call.starts_with('{');
        let mark = call.find("weather").or(call.find("now")).unwrap();
        let mut answers = Answers::new(&model, &source);
        for text in ["", "Plain text, with < { [ \n\n and more.", "<tool", "[TOOL"] {
            assert_eq!(answers.answer(text, 0).as_deref(), Some(text), "{name}");
            if bare && !text.is_empty() {
                continue;
            }
            for seed in 0..3 {
                let begun = format!("{text}{}", &call[..mark]);
                let answer = answers.answer(&begun, seed).unwrap_or_else(|| panic!("{name}: {begun:?}"));
                let (said, calls) = read(&model, &source, &answer);
                let right = said == text && !calls.is_empty() && calls.iter().all(obeys);
                assert!(right, "{name}: {answer:?}: {said:?} {calls:?}");
            }
            // No function that there is not.
            assert_eq!(answers.answer(&format!("{text}{}zzz", &call[..mark]), 0), None, "{name}");
        }
        if !bare {
            // Another call follows, or text.
            let answer = answers.answer(&format!("{call}\n\nDone."), 0).unwrap();
            let (said, calls) = read(&model, &source, &answer);
            assert!(said == "Done." && calls.len() == 1, "{name}: {answer:?} {said:?} {calls:?}");
        }
    }
}

/// Arguments of any text, lists and objects.
#[test]
fn arguments_of_every_type() {
    let schema = json!({"type": "object", "properties": {"say": {"type": "string"}, "list": {"type": "array",
        "items": {"type": "integer"}}, "o": {"type": "object", "properties": {"k": {"type": "string"}}}}});
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let source = json!({"tools": tools, "tool_choice": "required"});
    let expected = json!({"say": "a <b> 'c' é", "list": [1, -2], "o": {"k": "v"}});
    for (name, answer) in [
        (
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"say\": \"a <b> 'c' é\", \"list\": [1, -2], \"o\": \
            {\"k\": \"v\"}}}\n</tool_call>",
        ),
        (
            "qwen3-coder",
            "<tool_call>\n<function=f>\n<parameter=say>\na <b> 'c' é\n</parameter>\n<parameter=list>\n[1, -2]\n\
            </parameter>\n<parameter=o>\n{\"k\": \"v\"}\n</parameter>\n</function>\n</tool_call>",
        ),
        (
            "glm",
            "<tool_call>f\n<arg_key>say</arg_key><arg_value>a <b> 'c' é</arg_value>\n<arg_key>list</arg_key>\
            <arg_value>[1, -2]</arg_value>\n<arg_key>o</arg_key><arg_value>{\"k\": \"v\"}</arg_value>\n</tool_call>",
        ),
        ("lfm2", "<|tool_call_start|>[f(say=\"a <b> 'c' é\", list=[1, -2], o={\"k\": \"v\"})]<|tool_call_end|>"),
        (
            "functiongemma",
            "<start_function_call>call:f{say:<escape>a <b> 'c' é<escape>,list:[1,-2],o:{k:<escape>v<escape>}}\
            <end_function_call>",
        ),
    ] {
        for &(_, sign, specials) in FORMS.iter().filter(|(form, ..)| *form == name) {
            let model = load(&format!("types_{name}"), sign, specials);
            let found = Answers::new(&model, &source).answer(answer, 0);
            assert_eq!(found.as_deref(), Some(answer), "{name}");
            assert_eq!(read(&model, &source, answer).1, [("f".to_string(), expected.clone())], "{name}");
        }
    }
}

#[test]
fn gemmas_arguments_without_a_schema() {
    let model = load("any", "<start_function_call>", &["<start_function_call>", "<end_function_call>", "<escape>"]);
    let schema = json!({"type": "object", "properties": {"o": {"type": "object"}, "a": {}}});
    let source = json!({"tools": [{"name": "f", "parameters": schema}], "tool_choice": "required"});
    let answer = "<start_function_call>call:f{o:{},a:{k:[1,-2.5,true,<escape>x<escape>],l:{}}}<end_function_call>";
    assert_eq!(Answers::new(&model, &source).answer(answer, 0).as_deref(), Some(answer));
    let expected = json!({"o": {}, "a": {"k": [1, -2.5, true, "x"], "l": {}}});
    assert_eq!(read(&model, &source, answer).1, [("f".to_string(), expected)]);
}

#[test]
fn what_is_wrong_with_tools_is_said() {
    let model = load("wrong", "<tool_call>", &[]);
    for (source, words) in [
        ("{", "no JSON"),
        ("{}", "a list of tools"),
        ("[]", "there is none"),
        ("[{}]", "tool 0 has no name"),
        (r#"{"tools": [{"name": "f"}], "tool_choice": "perhaps"}"#, "tool_choice"),
        (r#"{"tools": [{"name": "f"}], "tool_choice": {"function": {"name": "g"}}}"#, "\"g\""),
        (r#"[{"name": "f", "parameters": {"type": "strin"}}]"#, "strin"),
    ] {
        let error = Constraint::new(&model, ConstraintKind::Tools, source).err().unwrap();
        assert!(error.status() == Status::InvalidArgument && error.message().contains(words), "{source}: {error}");
    }
    let model = load("none", "", &[]);
    let error = Constraint::new(&model, ConstraintKind::Tools, &tools().to_string()).err().unwrap();
    assert!(error.status() == Status::Unsupported && error.message().contains("template"), "{error}");
}
