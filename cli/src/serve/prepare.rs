//! From a request to the orders of its answers: tokens, room, constraints. It takes as long as its texts are long, so
//! it runs beside the thread that talks with clients.

use super::App;
use super::error::{ApiError, ApiResult};
use super::generation::{Event, Order, Wanted};
use super::protocol::{
    ChatMessage, ChatRequest, Common, CompletionRequest, EmbeddingRequest, Json, Prompt, ResponseFormat, Tools,
};
use super::slot::ROOM;
use crate::answer::{chat_of, plain_tokens};
use hyper::StatusCode;
use rasp::Sampling;
use rasp::constraint::{Constraint, ConstraintKind};
use rasp::sampling::MAX_LOGIT_BIASES;
use rasp::text::{ChatTemplate, MAX_STOP_BYTES, MAX_STOPS, Message, Reply, Shown};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::mpsc::{Receiver, channel};

/// Orders, and what is known of their answers before they are made.
pub struct Prepared {
    pub orders: Vec<Order>,
    pub events: Receiver<Event>,
    pub prompt_tokens: usize,
    pub choices: usize,
    /// Answers to each prompt: their indices follow each other.
    pub n: usize,
    /// What tells calls and thoughts in an answer from text, if there can be any.
    pub reply: Option<Reply>,
    /// Whether they are told as they come, and at the end what they took.
    pub stream: bool,
    pub include_usage: bool,
}

pub fn chat(app: &App, request: &ChatRequest) -> ApiResult<Prepared> {
    check_model(app, request.common.model.as_deref())?;
    let ChatRequest { common, messages, tools, logprobs } = request;
    let (prompt, reply) = chat_prompt(app, messages, tools)?;
    let constraint = match tools.held() {
        None => None,
        Some((field, source)) => constraint(app, &field, ConstraintKind::Tools, &source)?,
    };
    let shown = if reply.is_some() { Shown::Marks } else { Shown::Text };
    let defaults = RequestDefaults { tokens: None, constraint, shown };
    let mut prepared = prepare(app, common, *logprobs, "messages", vec![prompt], defaults)?;
    prepared.reply = reply;
    Ok(prepared)
}

/// The tokens of a chat, up to where the assistant speaks next, and what tells the answer apart.
fn chat_prompt(app: &App, messages: &[ChatMessage], tools: &Tools) -> ApiResult<(Vec<u32>, Option<Reply>)> {
    let knows = |template: &ChatTemplate| template.source().contains("tools") && template.call_format().is_some();
    if !app.model.chat_template().is_none_or(knows) {
        let speaks = |message: &ChatMessage| message.calls || message.role == "tool";
        let message =
            "this model's template tells it of no tools, or has it call them in a form that is not known here";
        if !tools.list.is_empty() {
            return Err(ApiError::field("tools", message));
        }
        if let Some(n) = messages.iter().position(speaks) {
            return Err(ApiError::field(format!("messages[{n}]"), message));
        }
    }
    let variables =
        (!tools.list.is_empty()).then(|| Json::object([("tools", Json::List(tools.list.clone()))]).to_string());
    let messages = messages.iter().map(|message| Message {
        role: &message.role,
        content: message.content.as_deref(),
        fields: message.fields.as_deref(),
    });
    let messages: Vec<Message<'_>> = messages.collect();
    let (tokens, reply) =
        chat_of(&app.model, &messages, variables.as_deref()).map_err(|e| ApiError::of_field("messages", &e))?;
    let reply = if tools.list.is_empty() { reply.without_calls() } else { reply };
    Ok((tokens, Some(reply).filter(|reply| !reply.is_plain())))
}

/// Answers to one request at most.
const MAX_ANSWERS: usize = 128;

/// Tokens of a completion, unless it asks for others: OpenAI's default.
const COMPLETION_TOKENS: usize = 16;

pub fn completion(app: &App, request: &CompletionRequest) -> ApiResult<Prepared> {
    check_model(app, request.common.model.as_deref())?;
    let prompts = tokens(app, "prompt", &request.prompts)?;
    let defaults = RequestDefaults { tokens: Some(COMPLETION_TOKENS), constraint: None, shown: Shown::Text };
    prepare(app, &request.common, request.logprobs, "prompt", prompts, defaults)
}

/// The texts to be embedded.
pub fn embedding(app: &App, request: &EmbeddingRequest) -> ApiResult<Vec<Vec<u32>>> {
    check_model(app, request.model.as_deref())?;
    let hidden = app.model.config().hidden_size;
    if let Some(other) = request.dimensions.filter(|&n| n != hidden) {
        return Err(ApiError::field("dimensions", format!("{other}; this model's vectors have {hidden}")));
    }
    let texts = tokens(app, "input", &request.inputs)?;
    texts.iter().try_for_each(|text| check_room(app, "input", text, 0))?;
    Ok(texts)
}

/// A client names the model that it means; none is ours.
fn check_model(app: &App, name: Option<&str>) -> ApiResult<()> {
    match name {
        Some(name) if !app.is_called(name) => {
            let mut missing = ApiError::field("model", app.no_model(name)).code("model_not_found");
            missing.status = StatusCode::NOT_FOUND;
            Err(missing)
        }
        _ => Ok(()),
    }
}

fn tokens(app: &App, field: &str, prompts: &[Prompt]) -> ApiResult<Vec<Vec<u32>>> {
    let vocab = app.model.config().vocab_size;
    let one = |(n, prompt): (usize, &Prompt)| {
        let name = || if prompts.len() == 1 { field.to_string() } else { format!("{field}[{n}]") };
        let tokens = match prompt {
            Prompt::Text(text) => plain_tokens(&app.model, text).map_err(|e| ApiError::of_field(&name(), &e))?,
            Prompt::Tokens(tokens) => tokens.clone(),
        };
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(token) => Err(ApiError::field(name(), format!("token {token}; the vocabulary has {vocab}"))),
            None if tokens.is_empty() => Err(ApiError::field(name(), "no text")),
            None => Ok(tokens),
        }
    };
    if prompts.is_empty() {
        return Err(ApiError::field(field, "no text"));
    }
    prompts.iter().enumerate().map(one).collect()
}

/// Fails unless the text fits, with so many tokens after it.
fn check_room(app: &App, field: &str, text: &[u32], more: usize) -> ApiResult<()> {
    let (count, context) = (text.len(), app.context);
    if count + more <= context {
        return Ok(());
    }
    let message = format!("{count} tokens; there is room for {} (rasp serve --ctx)", context - more);
    Err(ApiError::field(field, message).code("context_length_exceeded"))
}

/// What holds where a request does not say otherwise.
struct RequestDefaults {
    tokens: Option<usize>,
    constraint: Option<Arc<Constraint>>,
    shown: Shown,
}

fn prepare(
    app: &App,
    common: &Common,
    logprobs: Option<usize>,
    field: &str,
    prompts: Vec<Vec<u32>>,
    defaults: RequestDefaults,
) -> ApiResult<Prepared> {
    if common.n * prompts.len() > MAX_ANSWERS {
        let message = format!("{} answers to {} prompts; {MAX_ANSWERS} are the most", common.n, prompts.len());
        return Err(ApiError::field("n", message));
    }
    // An answer has one token at least.
    prompts.iter().try_for_each(|prompt| check_room(app, field, prompt, 1))?;
    let max_tokens = common.max_tokens.or(defaults.tokens).unwrap_or(usize::MAX);
    let wanted = Arc::new(Wanted {
        sparsity: sparsity(app, common.sparsity)?,
        stops: stops(common)?,
        logit_bias: biases(app, common)?,
        max_tokens: app.most_tokens.map_or(max_tokens, |most| max_tokens.min(most)),
        logprobs,
        shown: defaults.shown,
        constraint: match &common.format {
            ResponseFormat::Text => defaults.constraint,
            ResponseFormat::Json(schema) => constraint(app, "response_format", ConstraintKind::JsonSchema, schema)?,
        },
    });
    let (sender, events) = channel(4 * ROOM);
    let seed = common.seed.unwrap_or_else(|| RandomState::new().hash_one(app.created));
    let (n, choices) = (common.n, common.n * prompts.len());
    let prompt_tokens = prompts.iter().map(Vec::len).sum();
    let order = |prompt: &Arc<[u32]>, index: usize| Order {
        index,
        prompt: prompt.clone(),
        // Answers to one prompt differ.
        sampling: Sampling { seed: seed.wrapping_add((index % n) as u64), ..common.sampling },
        wanted: wanted.clone(),
        siblings: vec![],
        events: sender.clone(),
    };
    let orders = prompts.into_iter().enumerate().map(|(p, prompt)| {
        let prompt: Arc<[u32]> = prompt.into();
        Order { siblings: (1..n).map(|i| order(&prompt, p * n + i)).collect(), ..order(&prompt, p * n) }
    });
    let orders = orders.collect();
    let &Common { stream, include_usage, .. } = common;
    Ok(Prepared { orders, events, prompt_tokens, choices, n, reply: None, stream, include_usage })
}

fn sparsity(app: &App, wanted: Option<f32>) -> ApiResult<f32> {
    let (most, wanted) = (app.model.max_sparsity(), wanted.unwrap_or(app.sparsity));
    match wanted <= most {
        true => Ok(wanted),
        false => Err(ApiError::field("sparsity", format!("{wanted}; this file goes up to {most}"))),
    }
}

/// The stop strings, of which a session takes so many.
fn stops(common: &Common) -> ApiResult<Vec<String>> {
    let stops = &common.stops;
    let bytes: usize = stops.iter().map(String::len).sum();
    if stops.iter().any(String::is_empty) {
        return Err(ApiError::field("stop", "an empty string"));
    }
    if stops.len() > MAX_STOPS || bytes > MAX_STOP_BYTES {
        let message =
            format!("{} strings of {bytes} bytes; {MAX_STOPS} of together {MAX_STOP_BYTES} are the most", stops.len());
        return Err(ApiError::field("stop", message));
    }
    Ok(stops.clone())
}

fn biases(app: &App, common: &Common) -> ApiResult<Vec<(u32, f32)>> {
    let (biases, vocab) = (&common.logit_bias, app.model.config().vocab_size);
    if biases.len() > MAX_LOGIT_BIASES {
        let message = format!("{} tokens; {MAX_LOGIT_BIASES} are the most", biases.len());
        return Err(ApiError::field("logit_bias", message));
    }
    match biases.iter().find(|(token, _)| *token as usize >= vocab) {
        Some((token, _)) => Err(ApiError::field(format!("logit_bias.{token}"), format!("the vocabulary has {vocab}"))),
        None => Ok(biases.clone()),
    }
}

fn constraint(app: &App, field: &str, kind: ConstraintKind, source: &str) -> ApiResult<Option<Arc<Constraint>>> {
    match Constraint::new(&app.model, kind, source) {
        Ok(constraint) => Ok(Some(Arc::new(constraint))),
        Err(error) => Err(ApiError::of_field(field, &error)),
    }
}
