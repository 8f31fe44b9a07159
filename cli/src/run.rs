//! `rasp run`: continue a text, streaming it as it comes.

use crate::{number, parse_count, say};
use rasp::session::{KvType, Stats};
use rasp::text::{EncodeOptions, Message, Utf8Stream};
use rasp::{Error, Model, Result, Sampling, Session, SessionOptions, Status};
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// The text to continue; "-" reads it from stdin
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// Tokens to generate at most
    #[arg(short, long, default_value_t = 128)]
    n: usize,
    /// Sparsity of generated tokens (default: the file's own, 0 unless it was packed with --quality)
    #[arg(long, value_parser = crate::parse_sparsity)]
    sparsity: Option<f32>,
    /// Take the text as a user's message in the model's chat format
    #[arg(long)]
    chat: bool,
    /// Temperature; 0 is greedy
    #[arg(long, default_value_t = 0.0)]
    temp: f32,
    /// Only the K likeliest tokens
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Only the likeliest tokens that hold this share of the probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Only tokens at least this many times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Divides the logits of recent tokens
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repeat_penalty: f32,
    /// Start of the random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads that work on a token
    #[arg(long, default_value_t = 1, value_parser = parse_count)]
    threads: usize,
    /// Keys and values in f16, f32 or i8
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = crate::parse_kv)]
    kv: KvType,
    /// Hold only a window's keys and values in layers that attend to one: less memory, the same tokens
    #[arg(long)]
    window_keys: bool,
    /// Tokens there is room for; 0: what the prompt and -n need
    #[arg(long, default_value_t = 0)]
    ctx: usize,
    /// Say on stderr how fast it went
    #[arg(long)]
    stats: bool,
    /// Print one JSON object with the text and how it came about, instead of the text alone
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    let prompt = tokens(&model, args)?;
    let limit = model.config().context_length;
    if prompt.len() > limit {
        let message = format!("the prompt has {} tokens; this model was trained for {limit}", prompt.len());
        return Err(Error::new(Status::ContextFull, message));
    }
    let context = if args.ctx == 0 { prompt.len().saturating_add(args.n).min(limit) } else { args.ctx };
    let options = SessionOptions {
        context,
        threads: args.threads,
        kv_type: args.kv,
        windows_alone: args.window_keys,
        ..Default::default()
    };
    let mut session = Session::open(model.clone(), &options)?;
    session.set_sparsity(args.sparsity.unwrap_or(model.default_sparsity()))?;
    session.set_sampling(Sampling {
        temperature: args.temp,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repeat_penalty,
        seed: args.seed,
        ..Default::default()
    })?;

    let start = Instant::now();
    session.prefill(&prompt)?;
    let prompt_tok_s = prompt.len() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let (text, stop) = generate(&mut session, args.n, |piece| if args.json { Ok(()) } else { crate::put(piece) })?;
    let stats = session.stats();
    // The first token comes from the prompt's logits: it costs no pass and is not counted.
    let decoded = stats.traffic.tokens;
    let decode_tok_s = decoded as f64 / start.elapsed().as_secs_f64();
    if args.stats {
        say(&format!(
            "prompt {} tokens, {prompt_tok_s:.1} tokens/s; decoded {decoded} tokens, {decode_tok_s:.1} tokens/s, {:.1}% \
             of linear weights read",
            prompt.len(),
            stats.kept * 100.0
        ));
    }
    if args.json {
        return crate::put_json(&json!({
            "text": text, "stop": stop.name(), "prompt_tokens": prompt.len(), "tokens": stats.tokens - prompt.len(),
            "sparsity": number(session.sparsity()), "kept": stats.kept, "prompt_tok_s": prompt_tok_s,
            "decode_tok_s": decode_tok_s,
        }));
    }
    Ok(())
}

/// Why a text ended.
pub enum Stop {
    /// The model ended it.
    End,
    /// All tokens asked for are there.
    Length,
    /// The context has no room for another.
    Context,
}

impl Stop {
    pub fn name(&self) -> &'static str {
        match self {
            Stop::End => "end",
            Stop::Length => "length",
            Stop::Context => "context",
        }
    }
}

/// At most `n` tokens after what the session holds. `put` gets whole characters as they come, and a line end at last;
/// the text returned is without it.
pub fn generate(session: &mut Session, n: usize, mut put: impl FnMut(&str) -> Result<()>) -> Result<(String, Stop)> {
    let model = session.model().clone();
    let tokenizer = model.tokenizer();
    let mut text = String::new();
    let mut stream = Utf8Stream::new();
    let mut stop = Stop::Length;
    for _ in 0..n {
        let Stats { tokens, context, .. } = session.stats();
        if tokens == context {
            stop = Stop::Context;
            break;
        }
        let token = session.step()?;
        if tokenizer.is_end(token) {
            stop = Stop::End;
            break;
        }
        // A special token steers the model and is no text.
        if let Some(bytes) = tokenizer.token_bytes(token).filter(|_| !tokenizer.is_special(token)) {
            let known = text.len();
            stream.push(bytes, |piece| text.push_str(piece));
            put(&text[known..])?;
        }
    }
    let known = text.len();
    stream.finish(|piece| text.push_str(piece));
    put(&format!("{}\n", &text[known..]))?;
    Ok((text, stop))
}

fn tokens(model: &Model, args: &Args) -> Result<Vec<u32>> {
    let mut text = args.prompt.clone();
    if text == "-" {
        text.clear();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|e| Error::new(Status::Io, format!("cannot read stdin: {e}")))?;
    }
    if args.chat {
        let template = model
            .chat_template()
            .ok_or_else(|| Error::new(Status::Template, "this model came without a chat template"))?;
        text = template.render(&[Message { role: "user", content: &text }], true)?;
    }
    let mut tokens = Vec::new();
    // A chat template writes the special tokens itself.
    let options = EncodeOptions { add_special: !args.chat, parse_special: args.chat };
    model.tokenizer().encode(&text, options, &mut tokens)?;
    if tokens.is_empty() {
        return Err(Error::new(Status::InvalidArgument, "the prompt is empty"));
    }
    Ok(tokens)
}
