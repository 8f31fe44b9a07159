//! A server in a process of its own, and a client that writes HTTP byte by byte.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server, which ends with the test.
pub struct Server {
    process: Child,
    pub address: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Server {
    pub fn start(model: &Path, args: &[&str]) -> Server {
        Server::start_with(model, args, crate::support::rasp())
    }

    /// One that packs checkpoints below this folder.
    pub fn start_in(model: &Path, args: &[&str], cache: &Path) -> Server {
        let mut command = crate::support::rasp();
        command.env("XDG_CACHE_HOME", cache);
        Server::start_with(model, args, command)
    }

    fn start_with(model: &Path, args: &[&str], mut command: Command) -> Server {
        command.args(["serve", "--port", "0"]).arg(model).args(args).env_remove("RASP_API_KEY");
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("no address: {line:?}")).to_string();
        Server { process, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends these bytes and reads what comes until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // One that is refused early may not be read to its end.
        let _ = stream.write_all(bytes);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        String::from_utf8(reply).unwrap()
    }

    pub fn call(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        reply_of(&self.raw(request(method, path, headers, body).as_bytes()))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path, &[], &body.to_string())
    }

    /// The JSON of an answer that must be one.
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        let reply = self.post(path, body);
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        reply.json()
    }

    /// The events of a stream, which must end as it should.
    pub fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let mut body = body.clone();
        body["stream"] = json!(true);
        let reply = self.post(path, &body);
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        assert!(reply.headers.contains("content-type: text/event-stream"), "{reply:?}");
        let events = reply.body.strip_suffix("data: [DONE]\n\n").unwrap_or_else(|| panic!("no end: {reply:?}"));
        let event = |text: &str| serde_json::from_str(text.strip_prefix("data: ").unwrap()).unwrap();
        events.split_terminator("\n\n").map(event).collect()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for header in headers {
        head += &format!("{header}\r\n");
    }
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Takes a response apart, also one that comes in chunks.
pub fn reply_of(text: &str) -> Reply {
    let (headers, rest) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
    let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = headers.to_lowercase();
    let mut body = rest.to_string();
    if headers.contains("transfer-encoding: chunked") {
        let (mut rest, mut all) = (rest, String::new());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            all += &after[..size];
            rest = &after[size + 2..];
        }
        body = all;
    }
    Reply { status, headers, body }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The error's status, field and code.
    pub fn error(&self) -> (u16, Value, Value) {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty() && error["type"].is_string(), "{self:?}");
        (self.status, error["param"].clone(), error["code"].clone())
    }
}
