//! `rasp chat`: a conversation, of which each message passes once.

use crate::answer::{Options, Stop, chat_of, generate_shown};
use crate::{number, put, say};
use rasp::text::{Message, Part, Reply, Shown};
use rasp::{Error, Result, Session, Status};
use rustyline::error::ReadlineError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    #[command(flatten)]
    options: Options,
    /// A system message before all others
    #[arg(long, value_name = "TEXT", help_heading = "Prompt")]
    system: Option<String>,
    /// Say after each answer how fast it went
    #[arg(long, help_heading = "Output")]
    stats: bool,
}

/// Shows what is known of an answer; an empty line ends a thought.
fn tell(reply: &mut Reply, thought: &mut bool) -> Result<()> {
    while let Some(part) = reply.next_part() {
        match part {
            Part::Reasoning(text) => {
                put(text)?;
                *thought = true;
            }
            Part::Text(text) => {
                put(if std::mem::take(thought) { "\n\n" } else { "" })?;
                put(text)?;
            }
            // Nothing is told of tools.
            Part::Call(_) => {}
        }
    }
    Ok(())
}

const HELP: &str = "\
/sparsity S   the share of the linear weights left out from the next token on; without S: what it is
/system TEXT  another system message; without TEXT: none
/undo         forget the last question and its answer
/clear        forget all messages
/stats        say after each answer how fast it went, or no longer
/quit         leave, as Ctrl-D does; Ctrl-C stops an answer
";

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    let mut session = args.options.open(&model, args.options.session.context(&model))?;
    let cancel = Arc::new(AtomicBool::new(false));
    session.set_cancel_flag(cancel.clone());
    let mut chat = Conversation {
        session,
        cancel,
        n: args.options.n,
        system: args.system.clone(),
        turns: vec![],
        stats: args.stats,
    };
    // A model without a template, or with one that cannot be rendered, is found out before anything is typed.
    chat.prompt("x").map_err(|e| {
        let message = format!("{}; `rasp run --raw` continues a text without one", e.message());
        Error::new(e.status(), message)
    })?;
    let (name, sparsity) = (&model.config().name, number(chat.session.sparsity()));
    say(&format!("{name} at sparsity {sparsity}. /help lists the commands."));

    let failed = |e: ReadlineError| Error::new(Status::Io, format!("cannot read a line: {e}"));
    let mut lines = rustyline::DefaultEditor::new().map_err(failed)?;
    loop {
        let line = match lines.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(ReadlineError::Interrupted) => {
                say("/quit or Ctrl-D leaves");
                continue;
            }
            Err(error) => return Err(failed(error)),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // A history that has no room is not worth an end.
        let _ = lines.add_history_entry(line);
        let done = match line.strip_prefix('/') {
            Some("quit" | "exit") => return Ok(()),
            Some(command) => chat.command(command),
            None => chat.ask(line),
        };
        match done {
            Err(error) if error.message() == crate::BROKEN_PIPE => return Err(error),
            // The conversation is as it was.
            Err(error) => say(&format!("rasp: {error}")),
            Ok(()) => {}
        }
    }
}

struct Conversation {
    session: Session,
    cancel: Arc<AtomicBool>,
    /// Tokens of an answer at most.
    n: usize,
    system: Option<String>,
    /// Questions and their answers, which are messages in JSON.
    turns: Vec<(String, String)>,
    stats: bool,
}

impl Conversation {
    fn command(&mut self, command: &str) -> Result<()> {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let (rest, words) = (rest.trim(), |text: String| Err(Error::new(Status::InvalidArgument, text)));
        match name {
            "help" | "?" => put(HELP),
            "sparsity" if rest.is_empty() => put(&format!(
                "{}; this file goes up to {}\n",
                number(self.session.sparsity()),
                number(self.session.model().max_sparsity())
            )),
            "sparsity" => match crate::parse_sparsity(rest) {
                Ok(sparsity) => self.session.set_sparsity(sparsity),
                Err(why) => words(why),
            },
            "system" => {
                self.system = Some(rest.to_string()).filter(|text| !text.is_empty());
                Ok(())
            }
            _ if !rest.is_empty() => {
                words(format!("/{name} takes nothing after it, or is no command: /help lists them"))
            }
            "undo" => match self.turns.pop() {
                Some((question, _)) => put(&format!("forgotten: {question}\n")),
                None => words("there is nothing to undo".into()),
            },
            "clear" => {
                self.turns.clear();
                Ok(())
            }
            "stats" => {
                self.stats = !self.stats;
                Ok(())
            }
            _ => words(format!("/{name} is no command: /help lists them")),
        }
    }

    /// The tokens of the conversation with this question at its end, and what tells the answer apart.
    fn prompt(&self, question: &str) -> Result<(Vec<u32>, Reply)> {
        let system = self.system.as_ref().map(|content| Message::new("system", content));
        let turns = self.turns.iter().flat_map(|(question, answer)| {
            [Message::new("user", question), Message { role: "assistant", content: None, fields: Some(answer) }]
        });
        let question = Message::new("user", question);
        let messages: Vec<Message<'_>> = system.into_iter().chain(turns).chain([question]).collect();
        let (prompt, reply) = chat_of(self.session.model(), &messages, None)?;
        Ok((prompt, reply.without_calls()))
    }

    /// Answers a question. Where the context has no room for it, the oldest turns are forgotten.
    fn ask(&mut self, question: &str) -> Result<()> {
        let context = self.session.stats().context;
        let mut forgotten = 0;
        let (prompt, mut reply) = loop {
            let (prompt, reply) = self.prompt(question)?;
            // An answer of a quarter of the context should fit, too.
            if prompt.len() + self.n.min(context / 4) <= context || (self.turns.is_empty() && prompt.len() < context) {
                break (prompt, reply);
            }
            if self.turns.is_empty() {
                let message = format!("the message makes {} tokens; there is room for {context} (--ctx)", prompt.len());
                return Err(Error::new(Status::ContextFull, message));
            }
            self.turns.remove(0);
            forgotten += 1;
        };
        if forgotten > 0 {
            say(&format!("(the context is full: the first {forgotten} questions with their answers are forgotten)"));
        }
        let _interrupts = crate::signals::interrupts(&self.cancel);
        // One may have come after the last answer.
        self.cancel.store(false, Ordering::Relaxed);
        let started = Instant::now();
        let kept = match self.session.prefill_whole(&prompt) {
            Err(error) if error.status() == Status::Cancelled => return Ok(()),
            kept => kept?,
        };
        let held = self.session.stats().tokens;
        let prompt_s = started.elapsed().as_secs_f64();
        self.session.clear_stats();
        let started = Instant::now();
        let shown = if reply.is_plain() { Shown::Text } else { Shown::Marks };
        let mut thought = false;
        let (_, stop) = generate_shown(&mut self.session, self.n, shown, |piece| {
            reply.push(piece)?;
            tell(&mut reply, &mut thought)
        })?;
        reply.finish()?;
        tell(&mut reply, &mut thought)?;
        put("\n")?;
        if self.stats {
            let stats = self.session.stats();
            say(&format!(
                "({} tokens in {prompt_s:.1} s; {} out, {:.1} a second, {:.0}% of linear weights read; {} of \
                 {context} held)",
                held - kept,
                stats.tokens - held,
                stats.traffic.tokens as f64 / started.elapsed().as_secs_f64(),
                stats.kept * 100.0,
                stats.tokens,
            ));
        }
        match stop {
            Stop::End => {}
            Stop::Interrupt => say("(stopped)"),
            Stop::Length => say(&format!("(stopped after {} tokens: -n)", self.n)),
            Stop::Context => say("(the context is full: --ctx)"),
        }
        self.turns.push((question.to_string(), reply.message()?));
        Ok(())
    }
}
