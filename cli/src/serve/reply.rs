//! Answers on their way out: as one body, or as the events of a stream.

use super::App;
use super::error::{ApiError, ApiResult};
use super::generation::{Event, Piece};
use super::prepare::Prepared;
use super::protocol::{
    CalledFunction, ChatLogprobs, Choice, Completion, Delta, Logprobs, TextLogprobs, TokenLogprob, ToolCall, Usage,
};
use hyper::StatusCode;
use rasp::text::{Part, Reply};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

/// Whose words an answer is told in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Api {
    Chat,
    Text,
}

/// The answers of one request.
pub struct ResponseWriter {
    app: Arc<App>,
    api: Api,
    id: String,
    created: u64,
    include_usage: bool,
    prompt_tokens: usize,
    n: usize,
    /// Characters of each answer so far.
    lengths: Vec<usize>,
    /// What tells calls and thoughts from text, for each answer; none where all is text.
    telling: Vec<Reply>,
    /// Answers that are not over.
    open: usize,
    completion_tokens: usize,
    cached_tokens: usize,
}

/// An event of a stream.
fn event(value: &impl Serialize) -> Vec<u8> {
    // Nothing of ours fails to be JSON.
    let json = serde_json::to_string(value).unwrap_or_default();
    format!("data: {json}\n\n").into_bytes()
}

/// What comes of answers that ended without their end.
fn broken() -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer was not finished")
}

/// A part of an answer, as it is told.
enum Told {
    Text(String),
    Reasoning(String),
    Call(ToolCall),
}

fn text_delta(text: String) -> Delta {
    Delta { content: Some(Some(text)), ..Delta::default() }
}

fn delta(part: Told, stream: bool) -> Delta {
    match part {
        Told::Text(text) => text_delta(text),
        Told::Reasoning(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
        Told::Call(call) => {
            let index = call.index.filter(|_| stream);
            Delta { tool_calls: vec![ToolCall { index, ..call }], ..Delta::default() }
        }
    }
}

/// A whole message.
fn message(parts: Vec<Told>) -> Delta {
    let (mut text, mut tool_calls, mut reasoning) = (String::new(), vec![], None::<String>);
    for part in parts.into_iter().map(|part| delta(part, false)) {
        text += &part.content.flatten().unwrap_or_default();
        tool_calls.extend(part.tool_calls);
        if let Some(thought) = part.reasoning_content {
            reasoning.get_or_insert_default().push_str(&thought);
        }
    }
    let content = Some(text).filter(|text| !text.is_empty() || tool_calls.is_empty());
    Delta { role: Some("assistant"), content: Some(content), reasoning_content: reasoning, tool_calls }
}

impl ResponseWriter {
    pub fn new(app: Arc<App>, api: Api, prepared: &Prepared) -> ResponseWriter {
        let &Prepared { prompt_tokens, choices, n, include_usage, .. } = prepared;
        let id = app.next_id(if api == Api::Chat { "chatcmpl" } else { "cmpl" });
        ResponseWriter {
            app,
            api,
            id,
            created: crate::now().unwrap_or(0),
            include_usage,
            prompt_tokens,
            n,
            lengths: vec![0; choices],
            telling: prepared.reply.iter().cycle().take(choices).cloned().collect(),
            open: choices,
            completion_tokens: 0,
            cached_tokens: 0,
        }
    }

    /// The body, once all answers are over.
    pub async fn whole(mut self, mut events: Receiver<Event>) -> ApiResult<Vec<u8>> {
        let mut parts: Vec<(String, Vec<TokenLogprob>, &'static str)> = vec![Default::default(); self.lengths.len()];
        while self.open > 0 {
            match events.recv().await.unwrap_or_else(|| Event::Failed(broken())) {
                Event::Failed(error) => return Err(error),
                Event::Piece(piece) => {
                    self.count(&piece);
                    let (text, logprobs, reason) = &mut parts[piece.index];
                    text.push_str(&piece.text);
                    logprobs.extend(piece.logprobs);
                    *reason = piece.end.map_or("", |end| end.reason);
                }
            }
        }
        let mut choices = vec![];
        for (index, (text, logprobs, reason)) in parts.into_iter().enumerate() {
            let logprobs = (!logprobs.is_empty()).then(|| self.logprobs(logprobs, 0));
            let mut choice =
                Choice { index, message: None, delta: None, text: None, logprobs, finish_reason: Some(reason) };
            if self.api == Api::Text {
                choice.text = Some(text);
            } else {
                let parts = self.parts(index, text, true)?;
                choice.finish_reason = Some(self.reason(index, reason));
                choice.message = Some(message(parts));
            }
            choices.push(choice);
        }
        let body = self.body(choices, Some(Some(self.usage())), false);
        Ok(serde_json::to_vec(&body).unwrap_or_default())
    }

    /// What a stream begins with.
    pub fn first_events(&self) -> Vec<u8> {
        if self.api == Api::Text {
            return vec![];
        }
        let delta = || Delta { role: Some("assistant"), ..text_delta(String::new()) };
        (0..self.lengths.len()).flat_map(|index| self.chunk(index, delta(), None, None)).collect()
    }

    /// The events of what has come; `None`: nothing more will. Whether the stream is over with them.
    pub fn events(&mut self, came: Option<Event>) -> (Vec<u8>, bool) {
        let piece = match came.unwrap_or_else(|| Event::Failed(broken())) {
            Event::Failed(error) => return (event(&error.body()), true),
            Event::Piece(piece) => piece,
        };
        let before = self.lengths[piece.index];
        self.count(&piece);
        let Piece { index, text, logprobs, end } = piece;
        let mut bytes = vec![];
        let mut logprobs = (!logprobs.is_empty()).then(|| self.logprobs(logprobs, before));
        let parts = match self.parts(index, text, end.is_some()) {
            Ok(parts) => parts,
            Err(error) => return (event(&error.body()), true),
        };
        for part in parts {
            bytes.extend(self.chunk(index, delta(part, true), logprobs.take(), None));
        }
        if logprobs.is_some() {
            bytes.extend(self.chunk(index, text_delta(String::new()), logprobs, None));
        }
        if let Some(end) = end {
            bytes.extend(self.chunk(index, Delta::default(), None, Some(self.reason(index, end.reason))));
        }
        if self.open > 0 {
            return (bytes, false);
        }
        if self.include_usage {
            bytes.extend(event(&self.body(vec![], Some(Some(self.usage())), true)));
        }
        bytes.extend(b"data: [DONE]\n\n");
        (bytes, true)
    }

    fn count(&mut self, piece: &Piece) {
        self.lengths[piece.index] += piece.text.chars().count();
        if let Some(end) = piece.end {
            self.open -= 1;
            self.completion_tokens += end.tokens;
            // A prompt is counted once, however many answers it has.
            self.cached_tokens += if piece.index.is_multiple_of(self.n) { end.cached } else { 0 };
        }
    }

    /// What of an answer's text is text, and what calls; with the `last` of it all that was held back.
    fn parts(&mut self, index: usize, text: String, last: bool) -> ApiResult<Vec<Told>> {
        let Some(telling) = self.telling.get_mut(index) else {
            return Ok(if text.is_empty() { vec![] } else { vec![Told::Text(text)] });
        };
        let mut made = telling.calls().len();
        telling.push(&text)?;
        if last {
            telling.finish()?;
        }
        let mut told = vec![];
        while let Some(part) = telling.next_part() {
            told.push(match part {
                Part::Text(text) => Told::Text(text.into()),
                Part::Reasoning(text) => Told::Reasoning(text.into()),
                Part::Call(call) => {
                    made += 1;
                    let function = CalledFunction { name: call.name.clone(), arguments: call.arguments.clone() };
                    // The library's, or the model's own: some templates want nine letters and digits.
                    let id = call.id.clone();
                    Told::Call(ToolCall { index: Some(made - 1), id, kind: "function", function })
                }
            });
        }
        Ok(told)
    }

    /// Why an answer ended that ended for this reason.
    fn reason(&self, index: usize, reason: &'static str) -> &'static str {
        let calls = self.telling.get(index).is_some_and(|telling| !telling.calls().is_empty());
        if calls && reason == "stop" { "tool_calls" } else { reason }
    }

    fn usage(&self) -> Usage {
        Usage::of_answers(self.prompt_tokens, self.cached_tokens, self.completion_tokens)
    }

    /// One event of a stream, of one answer.
    fn chunk(
        &self,
        index: usize,
        delta: Delta,
        logprobs: Option<Logprobs>,
        finish_reason: Option<&'static str>,
    ) -> Vec<u8> {
        let (delta, text) = match self.api {
            Api::Chat => (Some(delta), None),
            Api::Text => (None, Some(delta.content.flatten().unwrap_or_default())),
        };
        let choice = Choice { index, message: None, delta, text, logprobs, finish_reason };
        let usage = self.include_usage.then_some(None);
        event(&self.body(vec![choice], usage, true))
    }

    fn body(&self, choices: Vec<Choice>, usage: Option<Option<Usage>>, stream: bool) -> Completion<'_> {
        let object = match (self.api, stream) {
            (Api::Chat, false) => "chat.completion",
            (Api::Chat, true) => "chat.completion.chunk",
            (Api::Text, _) => "text_completion",
        };
        Completion {
            id: &self.id,
            object,
            created: self.created,
            model: self.app.name(),
            system_fingerprint: &self.app.fingerprint,
            choices,
            usage,
        }
    }

    /// Probabilities of tokens, the first of which begins after so many characters.
    fn logprobs(&self, content: Vec<TokenLogprob>, before: usize) -> Logprobs {
        if self.api == Api::Chat {
            return Logprobs::Chat(ChatLogprobs { content, refusal: None });
        }
        let mut all = TextLogprobs::default();
        let mut offset = before;
        for TokenLogprob { itself, top_logprobs } in content {
            all.text_offset.push(offset);
            offset += itself.token.chars().count();
            all.tokens.push(itself.token);
            all.token_logprobs.push(itself.logprob);
            all.top_logprobs.push(top_logprobs.into_iter().map(|top| (top.token, top.logprob)).collect());
        }
        Logprobs::Text(all)
    }
}
