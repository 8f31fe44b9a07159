//! Clients that do nothing, send slowly, send too much, or go.

use super::client::{Server, reply_of, request};
use super::{CHAT, TEXT, start};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

fn ask() -> serde_json::Value {
    json!({"prompt": "x", "max_tokens": 4, "temperature": 0})
}

#[test]
fn idle_clients_are_in_nobodys_way() {
    let mut server = start(&[]);
    // More than there may be connections: the ones that have been idle longest go.
    let mut idle: Vec<TcpStream> = vec![];
    for n in 0..700 {
        let mut stream = server.connect();
        // Some say nothing, some a part of a head, some a part of a body.
        let part: &[u8] = match n % 3 {
            0 => b"",
            1 => b"POST /v1/completions HTTP/1.1\r\nHost",
            _ => b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"prompt\"",
        };
        stream.write_all(part).unwrap();
        idle.push(stream);
        if n % 100 == 99 {
            server.ask(TEXT, &ask());
        }
    }
    // The first ones were closed for the last ones.
    let mut first = &idle[0];
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(first.read(&mut [0; 10]).unwrap_or(0), 0);
    let mut last = &idle[699];
    last.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(last.read(&mut [0; 10]).is_err(), "one that came late is still there");
    assert!(server.is_running());
}

#[test]
fn a_connection_is_used_again() {
    let server = start(&[]);
    let mut stream = server.connect();
    let body = ask().to_string();
    let request = format!("POST {TEXT} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut replies = vec![];
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        while !reply.ends_with("}}}") {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "{reply}");
            reply += std::str::from_utf8(&piece[..n]).unwrap();
        }
        let reply = reply_of(&reply);
        assert_eq!(reply.status, 200);
        replies.push(reply.json()["choices"].clone());
    }
    assert!(replies[0] == replies[1] && replies[1] == replies[2]);
}

#[test]
fn what_is_too_large_or_no_http_is_refused() {
    let mut server = start(&["--sessions", "1"]);
    let post = format!("POST {TEXT} HTTP/1.1\r\nHost: x\r\n");
    let many = "A: b\r\n".repeat(200);
    for (bytes, status) in [
        (format!("{post}Content-Length: 9000000\r\n\r\n"), "413"),
        (format!("{post}Content-Length: 99999999999999999999999\r\n\r\n"), "400"),
        (format!("{post}Content-Length: -5\r\n\r\n"), "400"),
        (format!("{post}Content-Length: x\r\n\r\n"), "400"),
        (format!("{post}A: {}\r\n\r\n", "x".repeat(40_000)), "431"),
        (format!("{post}{many}\r\n"), "431"),
        ("hello\r\n\r\n".into(), "400"),
        ("GET /health SPDY/9\r\n\r\n".into(), "400"),
        ("GET /health HTTP/1.1\r\nA: \0\r\n\r\n".into(), "400"),
    ] {
        let reply = server.raw(bytes.as_bytes());
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{:?}: {reply:?}", &bytes[..bytes.len().min(90)]);
    }
    // A body of no stated length, in chunks.
    let chunked = |size: usize, count: usize| {
        let mut stream = server.connect();
        stream.write_all(format!("{post}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
        let chunk = format!("{size:x}\r\n{}\r\n", " ".repeat(size));
        for _ in 0..count {
            // It may be refused before all is sent.
            if stream.write_all(chunk.as_bytes()).is_err() {
                break;
            }
        }
        let end = ask().to_string();
        let _ = stream.write_all(format!("{:x}\r\n{end}\r\n0\r\n\r\n", end.len()).as_bytes());
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    };
    assert!(chunked(1000, 10).starts_with("HTTP/1.1 200"));
    let reply = chunked(1 << 20, 12);
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 413"), "{reply}");
    // One that ends before it should.
    let mut stream = server.connect();
    stream.write_all(format!("{post}Content-Length: 50\r\n\r\n{{}}").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400"), "{reply}");
    assert_eq!(server.get("/health").status, 200);
    assert!(server.is_running());
}

/// The real model, of which an answer takes a while.
fn real(args: &[&str]) -> Server {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = std::env::var_os("RASP_TEST_MODEL").map_or_else(|| root.join("target/models/smollm2.rasp"), Into::into);
    assert!(path.exists(), "{} is not there: run `make model` first", path.display());
    Server::start(&path, args)
}

/// A long answer that is begun: its stream, from which a first piece was read.
fn long(server: &Server) -> TcpStream {
    let body = json!({"prompt": "Once upon a time", "temperature": 0, "max_tokens": 3000, "stream": true,
        "logit_bias": {"2": -100, "0": -100}});
    let mut stream = server.connect();
    stream.write_all(request("POST", TEXT, &[], &body.to_string()).as_bytes()).unwrap();
    assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
    stream
}

#[test]
fn a_client_that_goes_is_not_worked_for() {
    let server = real(&["--sessions", "1"]);
    for n in 0..12 {
        let stream = match n % 2 {
            0 => long(&server),
            // One that waits for all of it.
            _ => {
                let body = json!({"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 3000,
                    "logit_bias": {"2": -100, "0": -100}});
                let mut stream = server.connect();
                stream.write_all(request("POST", CHAT, &[], &body.to_string()).as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(500));
                stream
            }
        };
        drop(stream);
    }
    // There is one session: this waits until it is free. All those tokens would take longer than the client waits.
    server.ask(TEXT, &ask());
}

#[test]
fn a_reader_that_is_slow_stalls_nobody() {
    let server = real(&["--sessions", "2"]);
    // It reads nothing more; what the system holds for it fills up.
    let slow = long(&server);
    for _ in 0..3 {
        server.ask(TEXT, &ask());
    }
    drop(slow);
    let long_prompt = "The moon has many craters. ".repeat(400);
    let prompt = json!({"prompt": long_prompt, "max_tokens": 1});
    // A short request is answered while a long prompt passes.
    thread::scope(|scope| {
        let long = scope.spawn(|| {
            server.ask(TEXT, &prompt);
            Instant::now()
        });
        thread::sleep(Duration::from_millis(100));
        server.ask(TEXT, &ask());
        let short = Instant::now();
        assert!(short < long.join().unwrap(), "the short one waited for the long one");
    });
}
