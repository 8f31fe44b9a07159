//! `rasp serve`: a model behind HTTP, for programs that speak OpenAI's protocol.
//!
//! Three threads. One talks with clients (`http`, `routes`) and never computes; requests become tokens beside it
//! (`prepare`). One has the sessions (`scheduler`): it gives prompts slices of time and steps all answers together, and
//! hands pieces over through a bounded channel to each client. One computes embeddings (`embedder`).

mod body;
mod connections;
mod embedder;
mod error;
mod generation;
mod http;
mod logprobs;
mod prefix;
mod prepare;
mod protocol;
mod reply;
mod routes;
mod scheduler;
mod slot;

use crate::answer::SessionArgs;
use crate::{number, parse_count, put, say};
use embedder::Embedder;
use generation::Order;
use hyper::header::HeaderValue;
use rasp::session::Pooling;
use rasp::{Error, Model, Result, Status};
use scheduler::Scheduler;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

/// The most sessions: as many as pass together.
pub const MAX_SESSIONS: usize = 32;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// The address to listen at; 0.0.0.0 is reached from other machines
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// The port; 0: any that is free, which is then printed
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Answers that are made at once, 32 at most; others wait. Each takes memory for its context
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_sessions)]
    sessions: usize,
    /// Tokens of an answer at most, whatever a client asks for (default: as many as the context has room for)
    #[arg(short, long, value_parser = parse_count, visible_aliases = ["max-tokens", "n-predict"])]
    n: Option<usize>,
    /// What clients have to send as their key; better in RASP_API_KEY, which other users of the machine do not see
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Pages of this origin may ask (https://example.org; *: all pages)
    #[arg(long, value_name = "ORIGIN")]
    cors: Option<String>,
    /// Another name that clients may call the model by, besides that of its file; more than once for several
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// What an embedding is made of: the mean of its tokens' vectors, or the last one
    #[arg(long, value_name = "HOW", default_value = "mean", value_parser = parse_pooling)]
    pooling: Pooling,
    #[command(flatten)]
    settings: SessionArgs,
}

fn parse_sessions(text: &str) -> std::result::Result<usize, String> {
    let message = || format!("must be a whole number from 1 to {MAX_SESSIONS}");
    parse_count(text).ok().filter(|&n| n <= MAX_SESSIONS).ok_or_else(message)
}

fn parse_pooling(text: &str) -> std::result::Result<Pooling, String> {
    match text {
        "mean" => Ok(Pooling::Mean),
        "last" => Ok(Pooling::Last),
        _ => Err("one of mean, last".into()),
    }
}

/// What all requests have in common.
pub struct App {
    pub model: Arc<Model>,
    /// What clients may call it; the first is its own.
    pub names: Vec<String>,
    /// Of the model and this version: the same one gives the same answers.
    pub fingerprint: String,
    pub created: u64,
    /// Tokens of a session.
    pub context: usize,
    pub sparsity: f32,
    pub most_tokens: Option<usize>,
    pub key: Option<String>,
    pub cors: Option<HeaderValue>,
    pub orders: Sender<Order>,
    pub embedder: Embedder,
    requests: AtomicU64,
}

impl App {
    pub fn name(&self) -> &str {
        &self.names[0]
    }

    /// Whether clients may call it so.
    pub fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|ours| ours == name)
    }

    /// What a client hears that means another.
    pub fn no_model(&self, name: &str) -> String {
        format!("there is no model {name:?} here, but {}", self.names.join(", "))
    }

    /// The name of an answer: no other of this server has it.
    pub fn next_id(&self, kind: &str) -> String {
        format!("{kind}-{:x}-{:x}", self.created, self.requests.fetch_add(1, Ordering::Relaxed))
    }
}

pub fn run(args: Args) -> Result<()> {
    let key = key(&args)?;
    let cors = args.cors.as_deref().map(origin).transpose()?;
    let listener = listen(&args.host, args.port)?;
    let address = listener.local_addr().map_err(|e| cannot_listen(&args.host, args.port, &e))?;
    let model = crate::load(&args.model)?;
    let context = args.settings.context(&model);
    let adapters = args.settings.adapters.load(&model)?;
    let open = |_| args.settings.open(&model, context, &adapters);
    let sessions: Vec<_> = (0..args.sessions).map(open).collect::<Result<_>>()?;
    let (sparsity, memory) = (args.settings.sparsity(&model), sessions.iter().map(|s| s.stats().memory).sum::<usize>());
    let (orders, received) = channel();
    let app = App {
        names: [name(&args.model)].into_iter().chain(args.alias).collect(),
        fingerprint: format!("rasp-{}-{:016x}", env!("CARGO_PKG_VERSION"), model.fingerprint()),
        created: crate::now().unwrap_or(0),
        context,
        sparsity,
        most_tokens: args.n,
        key,
        cors,
        orders,
        embedder: Embedder::start(model.clone(), args.settings.without_drafts(), adapters, context, args.pooling)?,
        requests: AtomicU64::new(0),
        model,
    };
    say(&format!(
        "{} at sparsity {}: {} sessions of {context} tokens, {:.0} MB when they are full",
        app.name(),
        number(sparsity),
        sessions.len(),
        memory as f64 / 1e6
    ));
    if app.key.is_none() && !address.ip().is_loopback() {
        say("anyone who reaches this address may ask: --api-key, or RASP_API_KEY, keeps others out");
    }
    put(&format!("http://{address}\n"))?;
    let talk = std::thread::Builder::new().name("http".into()).spawn(move || http::run(listener, Arc::new(app)));
    let talk = talk.map_err(|e| Error::new(Status::Io, format!("cannot start a thread for clients: {e}")))?;
    // It works as long as somebody may order.
    Scheduler::new(sessions, received).run()?;
    talk.join().unwrap_or_else(|_| Err(Error::new(Status::Internal, "the thread of the clients has panicked")))
}

/// The key, of the command line or the environment.
fn key(args: &Args) -> Result<Option<String>> {
    let key = args.api_key.clone().or_else(|| std::env::var("RASP_API_KEY").ok());
    match key {
        Some(key) if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let message = "the key (--api-key, RASP_API_KEY) is empty, or has spaces or characters beyond ASCII";
            Err(Error::new(Status::InvalidArgument, message))
        }
        key => Ok(key),
    }
}

/// An origin as browsers write it.
fn origin(text: &str) -> Result<HeaderValue> {
    let wrong = || {
        let message = format!("--cors {text}: an origin is like https://example.org, without a path; or *");
        Error::new(Status::InvalidArgument, message)
    };
    let host = text.split_once("://").map(|(_, host)| host);
    let well = text == "*" || text == "null" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
    HeaderValue::from_str(text).ok().filter(|_| well).ok_or_else(wrong)
}

fn cannot_listen(host: &str, port: u16, error: &std::io::Error) -> Error {
    Error::new(Status::Io, format!("cannot listen at {host}, port {port}: {error} (--host, --port)"))
}

fn listen(host: &str, port: u16) -> Result<TcpListener> {
    // An address of IPv6 may stand in brackets.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let listener = match bare.parse::<IpAddr>() {
        Ok(address) => TcpListener::bind((address, port)),
        Err(_) => TcpListener::bind((host, port)),
    };
    listener.map_err(|e| cannot_listen(host, port, &e))
}

/// What a model is called: its file's name, without the end.
fn name(path: &Path) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
    name.map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}
