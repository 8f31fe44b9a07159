//! `rasp run`: answer a question, or continue a text, streaming it as it comes.

use crate::answer::{Options, chat_of, generate, plain_tokens};
use crate::{number, say};
use rasp::text::Message;
use rasp::{Error, Model, Result, Status};
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// What to answer: the user's message where the model has a chat template, else the text to continue; "-" reads it
    /// from stdin
    #[arg(value_name = "PROMPT", required_unless_present = "prompt", conflicts_with = "prompt")]
    positional: Option<String>,
    /// The same as an option, for a text that begins with a dash
    #[arg(short, long, value_name = "PROMPT", allow_hyphen_values = true)]
    prompt: Option<String>,
    #[command(flatten)]
    options: Options,
    /// Continue the text as it is, without the model's chat template
    #[arg(long, help_heading = "Prompt")]
    raw: bool,
    /// A system message before the user's
    #[arg(long, value_name = "TEXT", conflicts_with = "raw", help_heading = "Prompt")]
    system: Option<String>,
    /// Say on stderr how fast it went
    #[arg(long, help_heading = "Output")]
    stats: bool,
    /// Print one JSON object with the text and how it came about, instead of the text alone
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    let chat = !args.raw && (args.system.is_some() || model.chat_template().is_some());
    let prompt = tokens(&model, args, chat)?;
    let limit = model.config().context_length;
    if prompt.len() > limit {
        let message = format!("the prompt has {} tokens; this model was trained for {limit}", prompt.len());
        return Err(Error::new(Status::ContextFull, message));
    }
    let (n, ctx) = (args.options.n, args.options.session.ctx);
    let context = if ctx == 0 { prompt.len().saturating_add(n).min(limit) } else { ctx };
    let mut session = args.options.open(&model, context)?;

    let start = Instant::now();
    session.prefill(&prompt)?;
    let prompt_tok_s = prompt.len() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let (text, stop) = generate(&mut session, n, |piece| if args.json { Ok(()) } else { crate::put(piece) })?;
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
            "text": text, "stop": stop.name(), "chat": chat, "prompt_tokens": prompt.len(),
            "tokens": stats.tokens - prompt.len(), "sparsity": number(session.sparsity()), "kept": stats.kept,
            "prompt_tok_s": prompt_tok_s, "decode_tok_s": decode_tok_s,
        }));
    }
    if text.is_empty() {
        let hint = if chat { "; with --raw it would continue the text" } else { "" };
        say(&format!("(the model ended its text at once{hint})"));
    }
    Ok(())
}

fn tokens(model: &Model, args: &Args, chat: bool) -> Result<Vec<u32>> {
    let mut text = args.prompt.clone().or_else(|| args.positional.clone()).unwrap_or_default();
    if text == "-" {
        text.clear();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|e| Error::new(Status::Io, format!("cannot read stdin: {e}")))?;
    }
    let empty = || Error::new(Status::InvalidArgument, "the prompt is empty");
    if text.is_empty() {
        return Err(empty());
    }
    if !chat {
        let tokens = plain_tokens(model, &text)?;
        return if tokens.is_empty() { Err(empty()) } else { Ok(tokens) };
    }
    let system = args.system.as_ref().map(|content| Message::new("system", content));
    let messages: Vec<Message<'_>> = system.into_iter().chain([Message::new("user", &text)]).collect();
    Ok(chat_of(model, &messages, None)?.0)
}
