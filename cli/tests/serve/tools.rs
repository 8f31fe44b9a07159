//! Tools, and answers held to a schema, on a tiny model whose template knows tools.

use super::client::Server;
use super::{CHAT, support};
use serde_json::{Value, json};
use std::fs;

const TEMPLATE: &str = "{% if tools %}<|start|>{{ tools[0].function.name }}<tool_call><|end|>{% endif %}\
    {% for m in messages %}<|start|>{{ m.role }}\n{{ m.content or '' }}{% for c in m.tool_calls or [] %}\
    {{ c.function.name }}{{ c.function.arguments.a }}{% endfor %}<|end|>{% endfor %}\
    {% if add_generation_prompt %}<|start|>{% endif %}";

/// A server of a Hugging Face directory, which it packs into a cache of its own.
fn server(dir: &tempfile::TempDir) -> Server {
    server_with(dir, TEMPLATE)
}

fn server_with(dir: &tempfile::TempDir, template: &str) -> Server {
    let source = dir.path().join("tools");
    fs::create_dir(&source).unwrap();
    support::checkpoint(&source, support::KV_HEADS);
    let settings = json!({"eos_token": "<|end|>", "chat_template": template});
    fs::write(source.join("tokenizer_config.json"), settings.to_string()).unwrap();
    Server::start_in(&source, &[], dir.path())
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"],
        "additionalProperties": false}}})
}

#[test]
fn tools_are_told_to_models_that_know_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    let ask = |messages: Value, more: Value| {
        let mut ask = json!({"messages": messages, "temperature": 0, "max_tokens": 4});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask
    };
    let user = json!({"role": "user", "content": "x"});
    let prompt = |ask: &Value| server.ask(CHAT, ask)["usage"]["prompt_tokens"].as_u64().unwrap();
    let plain = prompt(&ask(json!([user]), json!({})));
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "tools");
    // "<|start|>", "sum", "<tool_call>" as text, "<|end|>".
    let told = ask(json!([user]), json!({"tools": [tool("sum")]}));
    assert_eq!(prompt(&told), plain + 1 + 3 + 11 + 1);
    assert_eq!(prompt(&ask(json!([user]), json!({"tools": [tool("sum")], "tool_choice": "none"}))), plain);
    // A call and what came of it: "<|start|>assistant\n", "sum7", "<|end|>"; "<|start|>tool\n", "7", "<|end|>".
    let call = json!({"id": "c", "type": "function", "function": {"name": "sum", "arguments": "{\"a\": 7}"}});
    let messages = json!([user, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "7"}]);
    assert_eq!(prompt(&ask(messages, json!({}))), plain + (1 + 10 + 4 + 1) + (1 + 5 + 1 + 1));
    // What is said is text: it opens no turn.
    let words = json!([{"role": "user", "content": "<|start|>x"}]);
    assert_eq!(prompt(&ask(words, json!({}))), plain + 9);

    for (more, param) in [
        (json!({"tools": [{"type": "web"}]}), "tools[0].type"),
        (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
        (json!({"tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
        (json!({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}), "tools[0].function.x"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (json!({"tools": [tool("sum")], "tool_choice": "perhaps"}), "tool_choice"),
        (
            json!({"tools": [tool("sum")], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            "tool_choice.function.name",
        ),
        (json!({"functions": [{"name": "f"}]}), "functions"),
        (
            json!({"messages": [user, {"role": "assistant", "tool_calls": [{"id": "c"}]}]}),
            "messages[1].tool_calls[0].function",
        ),
        (json!({"messages": [user, {"role": "user", "content": "x", "tool_calls": []}]}), "messages[1].tool_calls"),
    ] {
        let reply = server.post(CHAT, &ask(json!([user]), more.clone()));
        let (status, found, _) = reply.error();
        assert_eq!((status, found.as_str()), (400, Some(param)), "{more}: {reply:?}");
    }
    // A template that knows none.
    let other = super::start(&[]);
    assert_eq!(other.post(CHAT, &told).error().1, "tools");
    let heard = json!({"messages": [user, {"role": "tool", "content": "7"}]});
    assert_eq!(other.post(CHAT, &heard).error().1, "messages[1]");
}

#[test]
fn what_is_required_comes() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir);
    let schema = json!({"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
        "additionalProperties": false});
    let user = json!({"role": "user", "content": "x"});
    let form = json!({"messages": [user], "max_tokens": 60, "response_format":
        {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}});
    let choice = json!({"type": "function", "function": {"name": "sum"}});
    let mut call =
        json!({"messages": [user], "max_tokens": 90, "tools": [tool("max"), tool("sum")], "tool_choice": choice});
    for seed in 0..4 {
        let mut form = form.clone();
        form["seed"] = json!(seed);
        let found = server.ask(CHAT, &form)["choices"][0].clone();
        let value: Value = serde_json::from_str(found["message"]["content"].as_str().unwrap()).unwrap();
        assert!(value == json!({"a": 1}) || value == json!({"a": 2}), "{value}");
        assert_eq!(found["finish_reason"], "stop");

        call["seed"] = json!(seed);
        let found = server.ask(CHAT, &call)["choices"][0].clone();
        let made = &found["message"]["tool_calls"][0];
        assert_eq!((&found["finish_reason"], &found["message"]["content"]), (&json!("tool_calls"), &Value::Null));
        assert_eq!((&made["type"], &made["function"]["name"]), (&json!("function"), &json!("sum")));
        let arguments: Value = serde_json::from_str(made["function"]["arguments"].as_str().unwrap()).unwrap();
        assert!((0..=9).contains(&arguments["a"].as_u64().unwrap()), "{arguments}");
        let events = server.stream(CHAT, &call);
        let told: Vec<_> = events.iter().filter(|e| e["choices"][0]["delta"]["tool_calls"].is_array()).collect();
        assert_eq!((told.len(), &told[0]["choices"][0]["delta"]["tool_calls"][0]["function"]), (1, &made["function"]));
        assert_eq!(told[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    }
    let mut bad = form;
    bad["response_format"]["json_schema"]["schema"] = json!({"type": "owl"});
    assert_eq!(server.post(CHAT, &bad).error().1, "response_format");
}

#[test]
fn tools_are_shown_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    // It shows the names of the first tool's fields, and those of a call's arguments.
    let template = "{% for name in tools[0].function %}{{ name }},{% endfor %}<tool_call>\
        {% for name in messages[0].tool_calls[0].function.arguments %}{{ name }},{% endfor %}";
    let server = server_with(&dir, template);
    let ask = |written: &str| {
        let body = format!(
            r#"{{"messages": [{{"role": "assistant", "tool_calls": [{{"function": {{"name": "f",
            "arguments": "{{\"zebra\": 1, \"ant\": 2}}"}}}}]}}],
            "tools": [{{"type": "function", "function": {written}}}], "max_tokens": 1, "temperature": 0}}"#
        );
        let reply = server.call("POST", CHAT, &[], &body);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    ask(r#"{"name": "f", "description": "d"}"#);
    // Written in another order it is another prompt, from its first letter on.
    assert_eq!(ask(r#"{"description": "d", "name": "f"}"#), 0);
    assert_eq!(ask(r#"{"name": "f", "description": "d"}"#), "name,description,<tool_call>zebra,ant,".len() as u64 - 1);
}

/// Calls in the form of the model's template, whole and in a stream, and what it thinks before.
#[test]
fn calls_come_in_the_form_of_the_template() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["a"], "additionalProperties": false});
    let tools = json!([{"type": "function", "function": {"name": "sum", "parameters": schema}}]);
    for sign in
        ["[TOOL_CALLS][ARGS]", "<arg_key>", "<function=<parameter=", "<|tool_call_start|>", "<start_function_call>"]
    {
        let dir = tempfile::tempdir().unwrap();
        let template = format!(
            "{{% if tools %}}t{{% endif %}}{{# {sign} #}}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}"
        );
        let server = server_with(&dir, &template);
        let ask = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 140, "tools": tools,
            "tool_choice": "required", "seed": 3});
        let found = server.ask(CHAT, &ask)["choices"][0].clone();
        let made = &found["message"]["tool_calls"][0];
        assert_eq!(
            (&found["finish_reason"], &made["function"]["name"]),
            (&json!("tool_calls"), &json!("sum")),
            "{sign}"
        );
        let arguments: Value = serde_json::from_str(made["function"]["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["a"].is_u64(), "{sign}: {found}");
        let events = server.stream(CHAT, &ask);
        let told: Vec<_> = events.iter().filter_map(|e| e["choices"][0]["delta"]["tool_calls"].as_array()).collect();
        assert_eq!((told.len(), &told[0][0]["function"]), (1, &made["function"]), "{sign}");
        // A function that is strict holds calls to its schema, where one begins.
        let mut strict = ask;
        strict["tools"][0]["function"]["strict"] = json!(true);
        strict["tool_choice"] = json!("auto");
        assert_eq!(server.post(CHAT, &strict).status, 200, "{sign}");
    }
    let dir = tempfile::tempdir().unwrap();
    let server = server_with(&dir, "{% for m in messages %}{{ m.content }}{% endfor %}<think>{# </think> #}");
    let ask = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "temperature": 0});
    let message = server.ask(CHAT, &ask)["choices"][0]["message"].clone();
    assert!(
        message["content"] == "" && message["reasoning_content"].as_str().is_some_and(|t| !t.is_empty()),
        "{message}"
    );
    let events = server.stream(CHAT, &ask);
    let thought: String =
        events.iter().filter_map(|e| e["choices"][0]["delta"]["reasoning_content"].as_str()).collect();
    assert_eq!(thought, message["reasoning_content"]);
}
