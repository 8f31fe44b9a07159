//! What the server refuses: by the name of the field, with the status of OpenAI.

use super::{CHAT, TEXT, start, support};
use serde_json::{Value, json};

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let server = start(&["--sessions", "1"]);
    let refused = |path: &str, base: &Value, more: Value, param: &str| {
        let mut body = base.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = server.post(path, &body);
        let (status, found, _) = reply.error();
        assert_eq!((status, found.as_str()), (400, Some(param)), "{body}: {reply:?}");
    };
    let text = json!({"prompt": "x", "max_tokens": 1});
    for (more, param) in [
        (json!({"temperatur": 1}), "temperatur"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"temperature": "hot"}), "temperature"),
        (json!({"top_p": 0}), "top_p"),
        (json!({"top_p": 1.5}), "top_p"),
        (json!({"min_p": 2}), "min_p"),
        (json!({"top_k": -1}), "top_k"),
        (json!({"n": 0}), "n"),
        (json!({"n": 1.5}), "n"),
        (json!({"seed": "a"}), "seed"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"max_tokens": -1}), "max_tokens"),
        (json!({"max_completion_tokens": 2}), "max_tokens"),
        (json!({"stop": ""}), "stop"),
        (json!({"stop": ["a", ""]}), "stop"),
        (json!({"stop": 5}), "stop"),
        (json!({"stop": vec!["a"; 17]}), "stop"),
        (json!({"stop": "a".repeat(1025)}), "stop"),
        (json!({"stream": 1}), "stream"),
        (json!({"stream_options": {"include_usage": true}}), "stream_options"),
        (json!({"stream": true, "stream_options": {"x": 1}}), "stream_options.x"),
        (json!({"frequency_penalty": -2.5}), "frequency_penalty"),
        (json!({"presence_penalty": 3}), "presence_penalty"),
        (json!({"logit_bias": {"a": 1}}), "logit_bias.a"),
        (json!({"logit_bias": {"9999": 1}}), "logit_bias.9999"),
        (json!({"logit_bias": {"1": 101}}), "logit_bias.1"),
        (json!({"logprobs": 21}), "logprobs"),
        (json!({"echo": true}), "echo"),
        (json!({"suffix": "a"}), "suffix"),
        (json!({"best_of": 2}), "best_of"),
        (json!({"store": true}), "store"),
        (json!({"service_tier": "flex"}), "service_tier"),
        (json!({"sparsity": 0.9}), "sparsity"),
        (json!({"sparsity": -0.1}), "sparsity"),
        (json!({"prompt": null}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": ["a", ""]}), "prompt[1]"),
        (json!({"prompt": 5}), "prompt"),
        (json!({"prompt": [1, 9999]}), "prompt"),
        (json!({"prompt": ["a", 5]}), "prompt"),
        (json!({"prompt": vec!["a"; 129]}), "prompt"),
        (json!({"prompt": vec!["a"; 100], "n": 2}), "n"),
        (json!({"response_format": {"type": "xml"}}), "response_format.type"),
        (json!({"response_format": {"type": "json_schema"}}), "response_format.json_schema"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format.json_schema.schema",
        ),
    ] {
        refused(TEXT, &text, more, param);
    }
    let chat = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 1});
    let message = |message: Value| json!({"messages": [{"role": "user", "content": "x"}, message]});
    for (more, param) in [
        (json!({"messages": null}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": ["x"]}), "messages[0]"),
        (message(json!({"role": "user"})), "messages[1].content"),
        (message(json!({"role": "owl", "content": "x"})), "messages[1].role"),
        (message(json!({"role": "user", "content": 5})), "messages[1].content"),
        (message(json!({"role": "assistant", "content": null})), "messages[1].content"),
        (message(json!({"role": "user", "content": "x", "name": "Bob"})), "messages[1].name"),
        (
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]})),
            "messages[1].content[0].type",
        ),
        (
            message(json!({"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]})),
            "messages[1].content[0].y",
        ),
        (json!({"logprobs": 5}), "logprobs"),
        (json!({"top_logprobs": 5}), "top_logprobs"),
        (json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs"),
        (json!({"modalities": ["audio"]}), "modalities"),
        (json!({"reasoning_effort": "low"}), "reasoning_effort"),
    ] {
        refused(CHAT, &chat, more, param);
    }
    let input = json!({"input": "x"});
    for (more, param) in [
        (json!({"input": null}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"dimensions": 7}), "dimensions"),
        (json!({"encoding_format": "int8"}), "encoding_format"),
        (json!({"pooling": "mean"}), "pooling"),
    ] {
        refused("/v1/embeddings", &input, more, param);
    }
    for body in ["", "[]", "{", "nothing", "{} x", r#"{"prompt": "\ud800"}"#] {
        assert_eq!(server.call("POST", TEXT, &[], body).error().0, 400, "{body}");
    }
    // Too long: for the context, which needs room for an answer.
    let long = |n: usize| server.post(TEXT, &json!({"prompt": "a".repeat(n)}));
    assert_eq!(long(support::CONTEXT).error(), (400, json!("prompt"), json!("context_length_exceeded")));
    let full = long(support::CONTEXT - 1).json();
    assert_eq!(
        (&full["usage"]["completion_tokens"], &full["choices"][0]["finish_reason"]),
        (&json!(1), &json!("length"))
    );
    let long = json!({"input": "a".repeat(support::CONTEXT + 1)});
    assert_eq!(server.post("/v1/embeddings", &long).error().2, "context_length_exceeded");
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = start(&["--sessions", "1"]);
    assert_eq!(server.get("/nowhere").error().0, 404);
    assert_eq!(server.get(CHAT).error().0, 405);
    assert_eq!(server.post("/health", &json!({})).error().0, 405);
    assert_eq!(server.call("DELETE", TEXT, &[], "").error().0, 405);
}

#[test]
fn a_key_keeps_others_out() {
    let ask = json!({"prompt": "x", "max_tokens": 1}).to_string();
    let server = start(&["--api-key", "sesame"]);
    let with = |headers: &[&str]| server.call("POST", TEXT, headers, &ask);
    for wrong in ["sesam", "sesames", "Sesame", ""] {
        assert_eq!(
            with(&[&format!("Authorization: Bearer {wrong}")]).error(),
            (401, Value::Null, json!("invalid_api_key"))
        );
    }
    assert_eq!(with(&[]).status, 401);
    assert_eq!(with(&["Authorization: Basic sesame"]).status, 401);
    assert_eq!(with(&["Authorization: Bearer sesame"]).status, 200);
    assert_eq!((server.get("/health").status, server.get("/v1/models").status), (200, 401));
}

#[test]
fn pages_may_ask_where_they_are_allowed_to() {
    let ask = json!({"prompt": "x", "max_tokens": 1}).to_string();
    let from = |args: &[&str], origin: &str| start(args).call("POST", TEXT, &[&format!("Origin: {origin}")], &ask);
    assert_eq!(from(&[], "https://a.example").error().0, 403);
    let args = ["--cors", "https://a.example"];
    assert_eq!(from(&args, "https://b.example").error().0, 403);
    let allowed = from(&args, "https://a.example");
    assert!(
        allowed.status == 200 && allowed.headers.contains("access-control-allow-origin: https://a.example"),
        "{allowed:?}"
    );
    let any = from(&["--cors", "*"], "https://b.example");
    assert!(any.status == 200 && any.headers.contains("access-control-allow-origin: *"), "{any:?}");
    // What a browser asks first has no key, and may name headers that only clients know.
    let server = start(&["--cors", "https://a.example", "--api-key", "sesame"]);
    let first = server.call(
        "OPTIONS",
        CHAT,
        &[
            "Origin: https://a.example",
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization,x-stainless-os",
        ],
        "",
    );
    assert_eq!(first.status, 204);
    for header in
        ["allow-origin: https://a.example", "allow-headers: authorization,x-stainless-os", "allow-methods: get, post"]
    {
        assert!(first.headers.contains(&format!("access-control-{header}")), "{first:?}");
    }
}

#[test]
fn a_wrong_command_line_is_named() {
    let run = |args: &[&str]| support::run(&["serve"], args);
    support::fails(&run(&["--sessions", "0"]), 2, &["--sessions", "32"]);
    support::fails(&run(&["--sessions", "33"]), 2, &["--sessions", "32"]);
    support::fails(&run(&["--port", "70000"]), 2, &["--port"]);
    support::fails(&run(&["--pooling", "max"]), 2, &["mean, last"]);
    support::fails(&run(&["--port", "0", "--api-key", ""]), 1, &["--api-key"]);
    support::fails(&run(&["--port", "0", "--cors", "example.org"]), 1, &["--cors", "https://"]);
    support::fails(&run(&["--port", "0", "--cors", "https://example.org/"]), 1, &["--cors"]);
    support::fails(&run(&["--host", "256.0.0.1"]), 1, &["256.0.0.1", "--host"]);
    support::fails(&run(&["--port", "0", "--ctx", "100000"]), 1, &["100000"]);
    support::fails(&run(&["--port", "0", "--sparsity", "0.9"]), 1, &["0.9"]);
    let taken = start(&[]);
    let port = taken.address.rsplit(':').next().unwrap();
    support::fails(&run(&["--port", port]), 1, &[port, "--port"]);
}
