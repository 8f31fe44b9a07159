//! `rasp serve` as its clients see it, on a tiny model: what is answered, and what is refused.

mod client;
mod limits;
mod refused;
#[path = "../tiny/support.rs"]
#[allow(dead_code)]
mod support;
mod tools;

use client::Server;
use serde_json::{Value, json};
use std::thread;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn start(args: &[&str]) -> Server {
    Server::start(support::model(), args)
}

fn question(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 20})
}

/// The texts of an answer's choices.
fn texts(answer: &Value) -> Vec<String> {
    let text = |choice: &Value| choice["text"].as_str().or(choice["message"]["content"].as_str()).unwrap().to_string();
    answer["choices"].as_array().unwrap().iter().map(text).collect()
}

/// The bytes that an answer's probabilities are of, as text.
fn bytes_of(answer: &Value) -> String {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let tokens = list(&answer["choices"][0]["logprobs"]["content"]);
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| list(&t["bytes"])).map(|b| b.as_u64().unwrap() as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the command itself says.
fn command(args: &[&str], prompt: &str) -> Value {
    let all = [&["-p", prompt, "--json"], args].concat();
    support::json_of(&support::run(&["run"], &all))
}

#[test]
fn an_answer_is_that_of_the_command() {
    for sparsity in ["0", "0.5"] {
        let server = start(&["--sparsity", sparsity]);
        let chat = command(&["-n", "20", "--sparsity", sparsity], "Who are you?");
        let answer = server.ask(CHAT, &question("Who are you?"));
        assert_eq!(texts(&answer), [chat["text"].as_str().unwrap()]);
        let reason = if chat["stop"] == "end" { "stop" } else { "length" };
        assert_eq!(answer["choices"][0]["finish_reason"], reason);
        assert_eq!(answer["usage"]["prompt_tokens"], chat["prompt_tokens"]);
        let args = ["--raw", "-n", "30", "--temp", "1.5", "--seed", "5", "--sparsity", sparsity];
        let text = command(&args, "An owl");
        let drawn = json!({"prompt": "An owl", "max_tokens": 30, "temperature": 1.5, "seed": 5});
        assert_eq!(texts(&server.ask(TEXT, &drawn)), [text["text"].as_str().unwrap()]);
        // A completion has 16 tokens, if nobody says how many.
        let usage = server.ask(TEXT, &json!({"prompt": "An owl", "logit_bias": {"257": -100}}))["usage"].clone();
        assert_eq!(
            (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
            (&json!(6), &json!(16), &json!(22))
        );
    }
}

#[test]
fn a_stream_adds_up_to_the_whole() {
    let server = start(&[]);
    let mut ask = question("Who are you?");
    ask["logprobs"] = json!(true);
    ask["top_logprobs"] = json!(3);
    ask["n"] = json!(2);
    ask["temperature"] = json!(1);
    ask["seed"] = json!(3);
    let whole = server.ask(CHAT, &ask);
    let told = |whole: &Value| -> Vec<Value> {
        whole["choices"].as_array().unwrap().iter().map(|c| c["logprobs"]["content"].clone()).collect()
    };
    ask["stream_options"] = json!({"include_usage": true});
    ask["stream"] = json!(true);
    let events = server.stream(CHAT, &ask);
    let (last, events) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
    assert!(last["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() > 0, "{last}");
    let (mut streamed, mut logprobs, mut ends) = (vec![String::new(); 2], vec![vec![]; 2], vec![Value::Null; 2]);
    for (n, event) in events.iter().enumerate() {
        assert_eq!(
            (&event["object"], &event["usage"], &event["id"]),
            (&json!("chat.completion.chunk"), &Value::Null, &events[0]["id"])
        );
        let choice = &event["choices"][0];
        let index = choice["index"].as_u64().unwrap() as usize;
        assert_eq!(choice["delta"]["role"] == "assistant", n < 2, "{event}");
        streamed[index] += choice["delta"]["content"].as_str().unwrap_or("");
        logprobs[index].extend(choice["logprobs"]["content"].as_array().unwrap_or(&vec![]).clone());
        if !choice["finish_reason"].is_null() {
            ends[index] = choice["finish_reason"].clone();
        }
    }
    assert_eq!(streamed, texts(&whole));
    assert_eq!(logprobs.into_iter().map(Value::from).collect::<Vec<_>>(), told(&whole));
    let reasons: Vec<_> = whole["choices"].as_array().unwrap().iter().map(|c| c["finish_reason"].clone()).collect();
    assert_eq!(ends, reasons);
    // Completions are told in other words.
    let ask = json!({"prompt": "An owl", "temperature": 0, "max_tokens": 12, "logprobs": 2});
    let (whole, events) = (server.ask(TEXT, &ask), server.stream(TEXT, &ask));
    let streamed: String = events.iter().map(|e| e["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!([streamed], texts(&whole)[..]);
    assert!(events.iter().all(|event| event["object"] == "text_completion" && event.get("usage").is_none()));
    let told: Vec<Value> = events
        .iter()
        .flat_map(|e| e["choices"][0]["logprobs"]["text_offset"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(Value::from(told), whole["choices"][0]["logprobs"]["text_offset"]);
}

#[test]
fn probabilities_are_the_models_own() {
    let server = start(&[]);
    let ask =
        json!({"prompt": "An owl", "max_tokens": 8, "temperature": 0, "logprobs": 20, "logit_bias": {"257": -100}});
    let told = server.ask(TEXT, &ask)["choices"][0]["logprobs"].clone();
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let own = numbers(&told["token_logprobs"]);
    assert_eq!(own.len(), told["tokens"].as_array().unwrap().len());
    for (top, own) in told["top_logprobs"].as_array().unwrap().iter().zip(&own) {
        let all: Vec<f64> = top.as_object().unwrap().values().map(|x| x.as_f64().unwrap()).collect();
        let largest = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert!(largest >= *own && *own < 0.0 && all.iter().map(|x| x.exp()).sum::<f64>() < 1.0 + 1e-9);
    }
    let chat =
        json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, "temperature": 0, "logprobs": true});
    let content = server.ask(CHAT, &chat)["choices"][0]["logprobs"]["content"].clone();
    assert_eq!(bytes_of(&server.ask(CHAT, &chat)), texts(&server.ask(CHAT, &chat))[0]);
    assert!(content.as_array().unwrap().iter().all(|t| t["top_logprobs"] == json!([])));
}

#[test]
fn what_a_session_holds_does_not_pass_again_and_changes_nothing() {
    for sparsity in ["0", "0.5"] {
        let args = ["--sessions", "1", "--sparsity", sparsity];
        let (fresh, used) = (|| start(&args), start(&args));
        let ask = |text: &str| json!({"prompt": text, "temperature": 1, "seed": 7, "max_tokens": 24, "logprobs": 5});
        let first = used.ask(TEXT, &ask("Owls sat on a fence"));
        assert_eq!(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
        let answer = texts(&first)[0].clone();
        let same = |found: &Value, prompt: &str, cached: u64| {
            assert_eq!(found["usage"]["prompt_tokens_details"]["cached_tokens"], cached, "{sparsity}: {found}");
            let expected = fresh().ask(TEXT, &ask(prompt));
            assert_eq!(found["choices"], expected["choices"], "{sparsity}: {prompt}");
        };
        // The same prompt, a part of it, one that parts from it, and one that goes on from the answer.
        same(&used.ask(TEXT, &ask("Owls sat on a fence")), "Owls sat on a fence", 18);
        let longer = format!("Owls sat on a fence{answer} and more");
        let found = used.ask(TEXT, &ask(&longer));
        let cached = found["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        // What passed sparsely is no part of a prompt. (An answer's bytes that are no text come back as others.)
        assert!(if sparsity == "0" { cached >= 19 } else { cached == 19 }, "{sparsity}: {cached}");
        same(&found, &longer, cached);
        same(&used.ask(TEXT, &ask("Owls sat on")), "Owls sat on", 10);
        same(&used.ask(TEXT, &ask("Owls flew")), "Owls flew", 5);
        same(&used.ask(TEXT, &ask("Nothing of this")), "Nothing of this", 0);
    }
}

#[test]
fn a_beginning_is_copied_from_another_session() {
    let server = start(&["--sessions", "2"]);
    let system = "You are an owl that sits on a fence and counts craters. ";
    let ask =
        |text: &str| json!({"prompt": format!("{system}{text}"), "temperature": 0, "max_tokens": 16, "logprobs": 1});
    let cached = |answer: &Value| answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    let expected = start(&[]).ask(TEXT, &ask("How many?"));
    server.ask(TEXT, &ask("Who are you?"));
    let copied = server.ask(TEXT, &ask("How many?"));
    assert_eq!((cached(&copied), &copied["choices"]), (system.len() as u64, &expected["choices"]));
    // The first one is where it was.
    assert!(cached(&server.ask(TEXT, &ask("Who are you?"))) as usize > system.len());
}

#[test]
fn several_answers_are_those_of_their_seeds() {
    for sessions in ["1", "3"] {
        let server = start(&["--sessions", sessions]);
        let ask =
            |n: usize, seed: u64| json!({"prompt": ["An owl", "A fence"], "max_tokens": 12, "n": n, "seed": seed});
        let all = server.ask(TEXT, &ask(3, 40));
        assert_eq!(all["choices"].as_array().unwrap().len(), 6);
        let indices: Vec<_> = all["choices"].as_array().unwrap().iter().map(|c| c["index"].clone()).collect();
        assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
        assert_eq!(all["usage"]["prompt_tokens"], 13);
        for i in 0..3 {
            let one = texts(&server.ask(TEXT, &ask(1, 40 + i)));
            let expected = [&texts(&all)[i as usize], &texts(&all)[3 + i as usize]];
            assert_eq!(one.iter().collect::<Vec<_>>(), expected, "{sessions}: {i}");
        }
    }
}

#[test]
fn clients_at_once_get_what_each_gets_alone() {
    let ask = |n: u64| {
        let prompt = "The moon has many craters. ".repeat(1 + n as usize % 4) + &n.to_string();
        json!({"prompt": prompt, "temperature": if n.is_multiple_of(3) { 0.0 } else { 1.0 }, "seed": n,
            "max_tokens": 16 + 5 * n % 23, "logprobs": 3,
            "sparsity": if n.is_multiple_of(2) { 0.0 } else { 0.3 }, "logit_bias": {"257": -100}})
    };
    let alone = start(&["--sessions", "1"]);
    let expected: Vec<Value> = (0..12).map(|n| alone.ask(TEXT, &ask(n))["choices"].clone()).collect();
    for args in [["--sessions", "4", "--threads", "1"], ["--sessions", "3", "--threads", "2"]] {
        let server = start(&args);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..12u64)
                .map(|n| {
                    scope.spawn({
                        let server = &server;
                        move || server.ask(TEXT, &ask(n))["choices"].clone()
                    })
                })
                .collect();
            for (client, expected) in clients.into_iter().zip(&expected) {
                assert_eq!(client.join().unwrap(), *expected);
            }
        });
    }
}

#[test]
fn stop_strings_are_never_shown() {
    let server = start(&[]);
    let ask = json!({"messages": [{"role": "user", "content": "An owl"}], "temperature": 1, "seed": 1, "max_tokens": 60,
        "logit_bias": {"257": -100}, "logprobs": true});
    let whole = server.ask(CHAT, &ask);
    let text = texts(&whole)[0].clone();
    // Two characters at their first place, with whole ones around: what is no character is told with the next token.
    let chars: Vec<char> = text.chars().collect();
    let at = (8..58).find(|&at| {
        let pair: String = chars[at..at + 2].iter().collect();
        chars[at - 1..at + 2].iter().all(char::is_ascii)
            && text.find(&pair) == Some(chars[..at].iter().map(|c| c.len_utf8()).sum())
    });
    let middle: String = chars[at.unwrap()..][..2].iter().collect();
    let before = text.split_once(&middle).unwrap().0;
    for stop in [json!(middle), json!(["never and never", middle])] {
        let mut ask = ask.clone();
        ask["stop"] = stop;
        let found = server.ask(CHAT, &ask);
        assert_eq!((texts(&found), &found["choices"][0]["finish_reason"]), (vec![before.to_string()], &json!("stop")));
        // Of the tokens of a stop string no probabilities are told.
        assert_eq!(bytes_of(&found), before);
        let streamed: String =
            server.stream(CHAT, &ask).iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(streamed, before);
    }
    // What was held back comes with the limit.
    let mut held = ask.clone();
    held["stop"] = json!(format!("{text}?"));
    assert_eq!(server.ask(CHAT, &held)["choices"], whole["choices"]);
    assert_eq!(bytes_of(&whole), text);
}

#[test]
fn embeddings_are_vectors_of_length_one() {
    let server = start(&[]);
    let path = "/v1/embeddings";
    let answer = server.ask(path, &json!({"input": ["An owl", "A fence"], "model": "tiny"}));
    let vector = |answer: &Value, n: usize| -> Vec<f64> {
        answer["data"][n]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    for n in 0..2 {
        let length: f64 = vector(&answer, n).iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-6 && answer["data"][n]["index"] == n, "{length}");
    }
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["total_tokens"]), (&json!(13), &json!(13)));
    assert_ne!(vector(&answer, 0), vector(&answer, 1));
    // The same text alone, as tokens, and in base64.
    let tokens: Vec<u32> = "An owl".bytes().map(u32::from).collect();
    for input in [json!("An owl"), json!(tokens), json!([tokens])] {
        assert_eq!(vector(&server.ask(path, &json!({"input": input, "dimensions": 32})), 0), vector(&answer, 0));
    }
    let coded = server.ask(path, &json!({"input": "An owl", "encoding_format": "base64"}));
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), (32usize * 4).div_ceil(3) * 4);
    let last = start(&["--pooling", "last"]).ask(path, &json!({"input": "An owl"}));
    assert_ne!(vector(&last, 0), vector(&answer, 0));
}

#[test]
fn messages_may_come_in_parts_and_with_nulls() {
    let server = start(&[]);
    let messages = json!([{"role": "system", "content": "Be an owl."}, {"role": "user", "content": "Hello you"}]);
    let plain = json!({"messages": messages, "temperature": 0, "max_tokens": 9});
    let expected = server.ask(CHAT, &plain)["choices"].clone();
    let same = json!({
        "model": "tiny", "temperature": 0.0, "max_completion_tokens": 9, "max_tokens": null, "stop": null, "n": null,
        "stream": null, "logprobs": false, "top_logprobs": null, "tools": null, "tool_choice": null, "seed": null,
        "response_format": {"type": "text"}, "logit_bias": null, "frequency_penalty": 0, "presence_penalty": 0.0,
        "user": "somebody", "metadata": {"a": "b"}, "store": false, "service_tier": "auto", "parallel_tool_calls": true,
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be an"}, {"type": "text", "text": " owl."}]},
            {"role": "user", "content": [{"type": "text", "text": "Hello you"}], "name": null},
        ],
    });
    assert_eq!(server.ask(CHAT, &same)["choices"], expected);
    // An answer can be sent back as it came.
    let mut longer = plain.clone();
    longer["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": texts(&json!({"choices": expected}))[0], "refusal": null,
            "annotations": [], "tool_calls": null, "audio": null}),
        json!({"role": "user", "content": "Again"}),
    ]);
    server.ask(CHAT, &longer);
}

#[test]
fn a_model_is_known_by_its_file_and_its_aliases() {
    let server = start(&["--alias", "owl", "--alias", "gpt-9"]);
    let names: Vec<_> =
        server.get("/v1/models").json()["data"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(names, ["tiny", "owl", "gpt-9"]);
    assert_eq!(server.get("/v1/models/owl").json()["object"], "model");
    assert_eq!(server.get("/v1/models/dog").error(), (404, Value::Null, json!("model_not_found")));
    let ask = |name: &str| server.post(TEXT, &json!({"prompt": "x", "model": name, "max_tokens": 1}));
    assert_eq!(ask("gpt-9").status, 200);
    assert_eq!(ask("gpt-4").error(), (404, json!("model"), json!("model_not_found")));
    assert_eq!((server.get("/health").status, server.get("/health").body.as_str()), (200, r#"{"status":"ok"}"#));
}
