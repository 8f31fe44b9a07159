//! Calls of tools as the templates that models were published with print them: read back, they are what was printed.

use rasp::text::{Call, Chat, ChatTemplate, Message, Part, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What every call makes do with. Without optimisation it takes more.
const STACK: usize = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 10 };

/// Templates of which no call is read back, and why.
const NOT_READ: &[(&str, &str)] = &[
    ("HuggingFaceTB-SmolLM3-3B", "prints no calls"),
    ("LFM2-8B-A1B", "prints no calls"),
    ("LFM2.5-Instruct", "prints no calls"),
    ("MiniMax-M3", "a tag for each key, of any depth, is no form that is known here"),
    ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "prints no calls"),
    ("gemma3", "prints no calls"),
    ("google-gemma-2-2b-it", "prints no calls"),
    ("ibm-granite-granite-3.3-2B-Instruct", "prints no calls"),
    ("llama-cpp-deepseek-r1", "prints no calls"),
    ("llama-cpp-rwkv-world", "prints no calls"),
    ("meetkai-functionary-medium-v3.2", "names recipients, with no mark at the first, is no form that is known here"),
    ("muse-glimmer", "names recipients before tags, is no form that is known here"),
    ("microsoft-Phi-3.5-mini-instruct", "prints no calls"),
];

/// Templates that print the first call only.
const ONE: [&str; 3] = ["GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B", "openai-gpt-oss-120b"];

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::with_tokens(source, Some("<s>".into()), Some("</s>".into())).unwrap()
}

/// The calls of an answer, and its texts and thoughts as one text, when it comes in pieces of so many characters.
fn read(mut reply: Reply, answer: &str, size: usize) -> (Vec<Call>, String) {
    let (mut calls, mut text) = (vec![], String::new());
    let mut take = |reply: &mut Reply| {
        while let Some(part) = reply.next_part() {
            match part {
                Part::Call(call) => calls.push(call.clone()),
                Part::Text(piece) | Part::Reasoning(piece) => text += piece,
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
    (calls, text)
}

/// What is wrong with how these calls come back from a template; `None` where it refuses to print them.
fn wrong(source: &str, calls: &[Value], content: &str, as_text: bool) -> Option<Result<(), String>> {
    let template = template(source);
    let parameters = json!({"type": "object", "properties": {"place": {"type": "string", "description": "d"},
        "days": {"type": "array", "description": "d", "items": {"type": "number"}}, "n": {"type": "integer",
        "description": "d"}, "o": {"type": "object", "description": "d"}}, "required": ["place"]});
    let tool = json!({"type": "function", "function": {"name": "weather", "description": "d",
        "parameters": parameters}});
    let variables = json!({"tools": [tool], "functions": json!([tool["function"]]).to_string()}).to_string();
    let printed = calls.iter().enumerate().map(|(n, arguments)| {
        let arguments = if as_text { json!(arguments.to_string()) } else { arguments.clone() };
        json!({"type": "function", "id": format!("call1234{n}"), "function": {"name": "weather", "arguments": arguments}})
    });
    let fields = json!({"tool_calls": printed.collect::<Vec<_>>()}).to_string();
    let user = Message::new("user", "How?");
    let assistant = Message { role: "assistant", content: Some(content), fields: Some(&fields) };
    let messages = [user, assistant];
    let chat = |count: usize, prompt: bool| Chat {
        messages: &messages[..count],
        add_generation_prompt: prompt,
        variables: Some(&variables),
        time: Some(1_750_000_000),
    };
    let whole = template.format(&chat(2, false)).ok()?.into_text();
    // The answer is what follows the prompt; where the prompt has more than the template prints of an answer that was
    // given (a thought that is begun), what follows the user's turn.
    let mut fault = None;
    for prompt in [true, false] {
        let before = template.format(&chat(1, prompt)).ok()?.into_text();
        let Some(answer) = whole.strip_prefix(&before) else { continue };
        if answer.contains("<think>") && !answer.contains("</think>") {
            // It prints what was said as a thought that does not end.
            return None;
        }
        let reply = Reply::new(&template, &chat(1, prompt)).unwrap();
        let outcome = [1, 2, 3, 7, usize::MAX].into_iter().find_map(|size| {
            let (found, text) = read(reply.clone(), answer, size);
            let arguments = found.iter().map(|call| serde_json::from_str::<Value>(&call.arguments).unwrap());
            let named = found.iter().all(|call| call.name == "weather" && !call.id.is_empty());
            let said = text.contains(content) || !answer.contains(content);
            let right = arguments.collect::<Vec<_>>() == calls && named && said && !text.contains("Genf");
            (!right).then(|| format!("{:?}: {answer:?}\n  calls: {found:?}\n  text: {text:?}", reply.format()))
        });
        match outcome {
            None => return Some(Ok(())),
            outcome => fault = outcome,
        }
    }
    fault.map(Err)
}

/// Every published template that prints calls has them read back, on a stack of 64 KiB.
#[test]
#[ignore = "wants templates that are fetched"]
fn published_templates_have_their_calls_read_back() {
    let golden: Value = serde_json::from_str(include_str!("templates/published.json")).unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/templates");
    let all = json!({"place": "Bern \"x\" é", "days": [1, 2.5], "n": 3, "o": {"k": "a b", "v": [{"w": 1}]}});
    let conversations = [
        (vec![all.clone()], ""),
        (vec![json!({"place": "Genf"}), all.clone()], ""),
        (vec![all], "Let me see."),
        (vec![json!({"place": "12"}), json!({"place": "<b> & it's {d}\n  [e]"})], ""),
        (vec![json!({"place": "Genf", "n": -1})], ""),
    ];
    let (mut texts, mut faults) = (0, BTreeMap::<&str, Vec<String>>::new());
    for name in golden["templates"].as_object().unwrap().keys() {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).expect("make test-templates");
        for (calls, content) in &conversations {
            let calls = &calls[..if ONE.contains(&name.as_str()) { 1 } else { calls.len() }];
            let run = {
                let (source, calls, content) = (source.clone(), calls.to_vec(), *content);
                // Some take arguments as JSON, some as its text.
                move || {
                    let [object, text] = [false, true].map(|as_text| wrong(&source, &calls, content, as_text));
                    match (object, text) {
                        (Some(Ok(())), _) | (_, Some(Ok(()))) => Some(Ok(())),
                        (object, text) => object.or(text),
                    }
                }
            };
            match std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap() {
                None => {}
                Some(Ok(())) => texts += 1,
                Some(Err(fault)) => faults.entry(name).or_default().push(fault),
            }
        }
    }
    let known = |name: &str| NOT_READ.iter().any(|(known, _)| *known == name);
    let unexpected: Vec<_> = faults.iter().filter(|(name, _)| !known(name)).collect();
    assert!(unexpected.is_empty(), "{}, {texts} read: {unexpected:#?}", unexpected.len());
    for (name, why) in NOT_READ {
        assert!(faults.contains_key(name), "{name} is read, though it {why}");
    }
    assert!(texts > 200, "{texts}");
}
