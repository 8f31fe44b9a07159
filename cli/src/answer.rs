//! What `rasp run` and `rasp chat` share: how tokens are chosen, what a session has room for, and an answer's text as
//! it comes.

use crate::adapter::{self, AdapterArgs, ScaledAdapters};
use crate::constraint::Form;
use crate::parse_count;
use crate::sampling::SamplingOptions;
use rasp::session::{DraftOptions, KvType, MAX_DRAFTS, Stats};
use rasp::text::{Chat, EncodeOptions, Message, Reply, Shown, Utf8Stream};
use rasp::{Error, Model, Result, Session, SessionOptions, Status};
use std::sync::Arc;

/// Options of a session and of what it generates. The names are the field's; where engines differ, the others' are
/// understood.
#[derive(clap::Args)]
pub struct Options {
    /// Tokens to generate at most
    #[arg(short, long, default_value_t = 512, visible_aliases = ["max-tokens", "n-predict"])]
    pub n: usize,
    #[command(flatten)]
    pub session: SessionArgs,
    #[command(flatten)]
    sampling: SamplingOptions,
    #[command(flatten)]
    form: Form,
}

/// Options of a session, however its tokens are chosen.
#[derive(clap::Args)]
pub struct SessionArgs {
    /// Sparsity of generated tokens (default: the file's own, 0 unless it was packed with a quality)
    #[arg(long, value_parser = crate::parse_sparsity)]
    sparsity: Option<f32>,
    /// Threads that work on a token
    #[arg(short, long, default_value_t = 1, value_parser = parse_count, help_heading = "Session")]
    threads: usize,
    /// Keys and values in f16, f32 or i8
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = crate::parse_kv, help_heading = "Session")]
    kv: KvType,
    /// Hold only a window's keys and values in layers that attend to one: less memory, the same tokens
    #[arg(long, help_heading = "Session")]
    window_keys: bool,
    /// What tokens are guessed by and checked several in a pass: lookup, what stood after an earlier match in the
    /// context; forced, what a constraint leaves no choice of; all of it; self, all of it and what the model says at a
    /// sparser level, for dense sessions in 16 bits; or off. The tokens are the same, and come sooner where an
    /// answer quotes or repeats
    #[arg(long, value_name = "HOW", default_value = "all", help_heading = "Session")]
    drafts: DraftMode,
    /// Tokens there is room for; 0: what is needed, where that is known, or 4096
    #[arg(short = 'c', long, default_value_t = 0, visible_aliases = ["ctx-size", "context"], help_heading = "Session")]
    pub ctx: usize,
    #[command(flatten)]
    pub adapters: AdapterArgs,
}

/// What drafts are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DraftMode {
    Off,
    Lookup,
    Forced,
    All,
    #[value(name = "self")]
    Own,
}

impl DraftMode {
    pub fn name(self) -> &'static str {
        match self {
            DraftMode::Off => "off",
            DraftMode::Lookup => "lookup",
            DraftMode::Forced => "forced",
            DraftMode::All => "all",
            DraftMode::Own => "self",
        }
    }

    pub fn options(self) -> DraftOptions {
        match self {
            DraftMode::Off => DraftOptions::default(),
            DraftMode::Lookup => DraftOptions { forced: false, ..DraftOptions::all(MAX_DRAFTS) },
            DraftMode::Forced => DraftOptions { lookup: false, ..DraftOptions::all(MAX_DRAFTS) },
            DraftMode::All => DraftOptions::all(MAX_DRAFTS),
            DraftMode::Own => DraftOptions { own: true, ..DraftOptions::all(MAX_DRAFTS) },
        }
    }
}

impl Options {
    /// A session with room for so many tokens, as these options want it.
    pub fn open(&self, model: &Arc<Model>, context: usize) -> Result<Session> {
        let mut session = self.session.open(model, context, &self.session.adapters.load(model)?)?;
        session.set_sampling(self.sampling.settings()?)?;
        session.set_constraint(self.form.constraint(model)?)?;
        Ok(session)
    }
}

/// Tokens a session has room for that may grow, unless told: enough for some dozen turns of a chat.
const CONTEXT: usize = 4096;

impl SessionArgs {
    /// A session with room for so many tokens, as these options want it, with their adapters.
    pub fn open(&self, model: &Arc<Model>, context: usize, adapters: &ScaledAdapters) -> Result<Session> {
        let options = SessionOptions {
            context,
            threads: self.threads,
            kv_type: self.kv,
            windows_alone: self.window_keys,
            drafts: self.drafts.options().most,
            ..Default::default()
        };
        let mut session = adapter::open(model, options, adapters)?;
        session.set_drafts(self.drafts.options(), &[])?;
        session.set_sparsity(self.sparsity(model))?;
        Ok(session)
    }

    /// The same for sessions that generate nothing: they need no room for drafts.
    pub fn without_drafts(self) -> SessionArgs {
        SessionArgs { drafts: DraftMode::Off, ..self }
    }

    /// The sparsity of generated tokens.
    pub fn sparsity(&self, model: &Model) -> f32 {
        self.sparsity.unwrap_or(model.default_sparsity())
    }

    /// The context of a session that may grow.
    pub fn context(&self, model: &Model) -> usize {
        if self.ctx == 0 { CONTEXT.min(model.config().context_length) } else { self.ctx }
    }
}

/// The tokens of a conversation in the model's chat format, up to where the assistant speaks next, and what tells the
/// answer apart. What is said is text, whatever it looks like. `variables` are the template's own, a JSON object.
pub fn chat_of(model: &Model, messages: &[Message<'_>], variables: Option<&str>) -> Result<(Vec<u32>, Reply)> {
    let template =
        model.chat_template().ok_or_else(|| Error::new(Status::Template, "this model came without a chat template"))?;
    // The clock on the wall: what day it is where the user is.
    let now = jiff::Zoned::now();
    let time = Some(now.timestamp().as_second() + i64::from(now.offset().seconds()));
    let chat = Chat { messages, add_generation_prompt: true, variables, time };
    let mut tokens = Vec::new();
    let prompt = template.format(&chat)?;
    model.tokenizer().encode_chat(&prompt, &mut tokens)?;
    Ok((tokens, Reply::of_prompt(template, &chat, &prompt)?))
}

/// The tokens of a text to be continued.
pub fn plain_tokens(model: &Model, text: &str) -> Result<Vec<u32>> {
    let options = EncodeOptions { add_special: true, parse_special: false };
    let mut tokens = Vec::new();
    model.tokenizer().encode(text, options, &mut tokens)?;
    Ok(tokens)
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended it.
    End,
    /// All tokens asked for are there.
    Length,
    /// The context has no room for another.
    Context,
    /// The user stopped it.
    Interrupt,
}

impl Stop {
    pub fn name(self) -> &'static str {
        match self {
            Stop::End => "end",
            Stop::Length => "length",
            Stop::Context => "context",
            Stop::Interrupt => "interrupt",
        }
    }
}

/// At most `n` tokens after what the session holds. `put` gets whole characters as they come, and a line end at last;
/// the text returned is without it.
pub fn generate(session: &mut Session, n: usize, mut put: impl FnMut(&str) -> Result<()>) -> Result<(String, Stop)> {
    let outcome = generate_shown(session, n, Shown::Text, &mut put)?;
    put("\n")?;
    Ok(outcome)
}

/// The same with these special tokens as text, and without the line end.
pub fn generate_shown(
    session: &mut Session,
    n: usize,
    shown: Shown,
    mut put: impl FnMut(&str) -> Result<()>,
) -> Result<(String, Stop)> {
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
        let token = match session.step() {
            Err(error) if error.status() == Status::Cancelled => {
                stop = Stop::Interrupt;
                break;
            }
            step => step?,
        };
        if tokenizer.is_end(token) {
            stop = Stop::End;
            break;
        }
        // A special token steers the model and is no text.
        if let Some(bytes) = tokenizer.token_bytes(token).filter(|_| model.shows(token, shown)) {
            let known = text.len();
            stream.push(bytes, |piece| text.push_str(piece));
            put(&text[known..])?;
        }
    }
    let known = text.len();
    stream.finish(|piece| text.push_str(piece));
    put(&text[known..])?;
    Ok((text, stop))
}
