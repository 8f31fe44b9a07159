//! `rasp run`: continue a text, streaming it as it comes.

use rasp::text::{EncodeOptions, Message, Utf8Stream};
use rasp::{Error, Model, Result, Sampling, Session, SessionOptions, Status};
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model
    model: PathBuf,
    /// The text to continue; "-" reads it from stdin
    #[arg(short, long, value_name = "TEXT")]
    prompt: String,
    /// Tokens to generate at most
    #[arg(short, long, default_value_t = 128)]
    n: usize,
    /// Sparsity of generated tokens
    #[arg(long, default_value_t = 0.0, value_parser = crate::parse_sparsity)]
    sparsity: f32,
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
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Tokens there is room for; 0: what the prompt and -n need
    #[arg(long, default_value_t = 0)]
    ctx: usize,
    /// Say on stderr how fast it went
    #[arg(long)]
    stats: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    let prompt = tokens(&model, args)?;
    let room = (prompt.len() + args.n).min(model.config().context_length).max(prompt.len());
    let context = if args.ctx == 0 { room } else { args.ctx };
    let options = SessionOptions { context, threads: args.threads, ..Default::default() };
    let mut session = Session::open(model.clone(), &options)?;
    session.set_sparsity(args.sparsity)?;
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
    let prefill = start.elapsed();
    let start = Instant::now();
    let mut stream = Utf8Stream::new();
    let mut piece = String::new();
    while session.tokens().len() < prompt.len() + args.n && session.tokens().len() < context {
        let token = session.step()?;
        if model.tokenizer().is_end(token) {
            break;
        }
        if let Some(bytes) = model.tokenizer().token_bytes(token) {
            stream.push(bytes, |text| piece.push_str(text));
        }
        crate::put(&piece)?;
        piece.clear();
    }
    stream.finish(|text| piece.push_str(text));
    piece.push('\n');
    crate::put(&piece)?;
    if args.stats {
        let stats = session.stats();
        eprintln!(
            "prompt {} tokens, {:.1} tokens/s; decoded {} tokens, {:.1} tokens/s, {:.1}% of linear weights read",
            prompt.len(),
            prompt.len() as f64 / prefill.as_secs_f64(),
            stats.traffic.tokens,
            stats.traffic.tokens as f64 / start.elapsed().as_secs_f64(),
            stats.kept * 100.0
        );
    }
    Ok(())
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
