//! Requests: every field is understood, can have no effect, or is refused by its name.

use super::fields::Fields;
use super::ordered::Json;
use super::tools::{self, Tools};
use crate::serve::error::{ApiError, ApiResult};
use rasp::Sampling;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Fields that OpenAI's clients send and that cannot change an answer of ours.
const WITHOUT_EFFECT: [&str; 7] = [
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prediction",
    "parallel_tool_calls",
];

/// What a text has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseFormat {
    Text,
    /// A value of this JSON schema.
    Json(String),
}

/// What chats and completions have in common.
#[derive(Clone, Debug)]
pub struct Common {
    pub model: Option<String>,
    pub stream: bool,
    pub include_usage: bool,
    /// Answers to each prompt.
    pub n: usize,
    /// Seed 0 where none was given.
    pub sampling: Sampling,
    pub seed: Option<u64>,
    pub sparsity: Option<f32>,
    pub stops: Vec<String>,
    pub logit_bias: Vec<(u32, f32)>,
    pub max_tokens: Option<usize>,
    pub format: ResponseFormat,
}

/// One value or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A whole number, which may be written `1.0`.
fn whole(fields: &mut Fields, field: &str, most: u64) -> ApiResult<Option<u64>> {
    let Some(value) = fields.take::<Value>(field)? else { return Ok(None) };
    let number = value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
    match number {
        Some(number) if number <= most => Ok(Some(number)),
        _ => Err(ApiError::field(fields.name(field), format!("{value} is no whole number from 0 to {most}"))),
    }
}

fn within(fields: &mut Fields, field: &str, least: f32, most: f32) -> ApiResult<Option<f32>> {
    match fields.take::<f32>(field)? {
        Some(x) if !(least..=most).contains(&x) => {
            Err(ApiError::field(fields.name(field), format!("{x} lies outside {least} to {most}")))
        }
        x => Ok(x),
    }
}

impl Common {
    fn take(fields: &mut Fields) -> ApiResult<Common> {
        let model = fields.take("model")?;
        let stream = fields.take("stream")?.unwrap_or(false);
        let include_usage = stream_options(fields, stream)?;
        let n = match whole(fields, "n", 128)? {
            Some(0) => return Err(ApiError::field("n", "no answers to give")),
            n => n.unwrap_or(1) as usize,
        };
        let seed: Option<i64> = fields.take("seed")?;
        let mut sampling = Sampling {
            temperature: fields.take("temperature")?.unwrap_or(1.0),
            top_p: fields.take("top_p")?.unwrap_or(1.0),
            top_k: whole(fields, "top_k", u64::from(u32::MAX))?.unwrap_or(0) as u32,
            min_p: fields.take("min_p")?.unwrap_or(0.0),
            repetition_penalty: fields.take("repetition_penalty")?.unwrap_or(1.0),
            frequency_penalty: within(fields, "frequency_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            presence_penalty: within(fields, "presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
            ..Sampling::default()
        };
        for (name, setting) in [
            ("typical_p", &mut sampling.typical_p),
            ("top_n_sigma", &mut sampling.top_n_sigma),
            ("xtc_probability", &mut sampling.xtc_probability),
            ("xtc_threshold", &mut sampling.xtc_threshold),
            ("dry_multiplier", &mut sampling.dry_multiplier),
            ("dry_base", &mut sampling.dry_base),
            ("mirostat_tau", &mut sampling.mirostat_tau),
            ("mirostat_eta", &mut sampling.mirostat_eta),
        ] {
            *setting = fields.take(name)?.unwrap_or(*setting);
        }

        // Its words begin with the field's name, which is ours, too.
        sampling.validate().map_err(|e| {
            let message = e.message().to_string();
            let (name, rest) = message.split_once(' ').unwrap_or((&message, ""));
            ApiError::field(name, rest)
        })?;
        let stops = match fields.take::<OneOrMany<String>>("stop") {
            Ok(stops) => stops.map_or(vec![], |stops| match stops {
                OneOrMany::One(stop) => vec![stop],
                OneOrMany::Many(stops) => stops,
            }),
            Err(_) => return Err(ApiError::field("stop", "neither a string nor an array of strings")),
        };
        let logit_bias = match fields.take::<Map<String, Value>>("logit_bias")? {
            None => vec![],
            Some(map) => map.iter().map(|(token, bias)| token_bias(token, bias)).collect::<ApiResult<_>>()?,
        };
        let common = Common {
            model,
            stream,
            include_usage,
            n,
            sampling,
            // A negative one is as good a seed as any.
            seed: seed.map(|seed| seed as u64),
            sparsity: within(fields, "sparsity", 0.0, 1.0)?,
            stops,
            logit_bias,
            max_tokens: max_tokens(fields)?,
            format: format(fields)?,
        };
        fields.only("store", &[json!(false)], "this server stores nothing")?;
        fields.only("service_tier", &[json!("auto"), json!("default")], "there is one tier: auto")?;
        Ok(common)
    }
}

fn token_bias(token: &str, bias: &Value) -> ApiResult<(u32, f32)> {
    let name = format!("logit_bias.{token}");
    let id = token.parse().map_err(|_| ApiError::field(&name, "no token id"))?;
    match bias.as_f64() {
        Some(bias) if (-100.0..=100.0).contains(&bias) => Ok((id, bias as f32)),
        _ => Err(ApiError::field(name, format!("{bias} is no number from -100 to 100"))),
    }
}

/// Whether a stream ends with what it took.
fn stream_options(fields: &mut Fields, stream: bool) -> ApiResult<bool> {
    let Some(options) = fields.take::<Value>("stream_options")? else { return Ok(false) };
    if !stream {
        return Err(ApiError::field("stream_options", "only a stream has them: \"stream\": true"));
    }
    let mut options = Fields::of(options, "stream_options")?;
    let include_usage = options.take("include_usage")?.unwrap_or(false);
    options.only("include_obfuscation", &[json!(false)], "this server adds no obfuscation")?;
    options.finish(&[])?;
    Ok(include_usage)
}

fn max_tokens(fields: &mut Fields) -> ApiResult<Option<usize>> {
    let mut found = None;
    for name in ["max_completion_tokens", "max_tokens"] {
        match (whole(fields, name, u64::from(u32::MAX))?, found) {
            (Some(0), _) => return Err(ApiError::field(name, "no tokens to generate")),
            (Some(this), Some(other)) if this != other => {
                return Err(ApiError::field(name, format!("{this}, and max_completion_tokens is {other}")));
            }
            (this, _) => found = found.or(this),
        }
    }
    Ok(found.map(|n| n as usize))
}

fn format(fields: &mut Fields) -> ApiResult<ResponseFormat> {
    let Some(value) = fields.take::<Value>("response_format")? else { return Ok(ResponseFormat::Text) };
    let mut format = Fields::of(value, "response_format")?;
    let found = match format.need::<String>("type")?.as_str() {
        "text" => ResponseFormat::Text,
        "json_object" => ResponseFormat::Json(json!({"type": "object"}).to_string()),
        "json_schema" => {
            let mut schema = Fields::of(format.need("json_schema")?, "response_format.json_schema")?;
            // It is held to whatever "strict" says.
            let _: Option<bool> = schema.take("strict")?;
            let found = ResponseFormat::Json(schema.need::<Value>("schema")?.to_string());
            schema.finish(&["name", "description"])?;
            found
        }
        other => {
            let message = format!("{other:?} is none of text, json_object and json_schema");
            return Err(ApiError::field("response_format.type", message));
        }
    };
    format.finish(&[])?;
    Ok(found)
}

/// A message of a chat.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatMessage {
    pub role: String,
    /// None where calls stand for it.
    pub content: Option<String>,
    /// What else templates may know of it, a JSON object.
    pub fields: Option<String>,
    /// Whether it calls tools, or tells of a call.
    pub calls: bool,
}

/// The body of `/v1/chat/completions`.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    pub common: Common,
    pub messages: Vec<ChatMessage>,
    pub tools: Tools,
    /// How many alternatives to tell beside each token's own probability; `None`: no probabilities.
    pub logprobs: Option<usize>,
}

impl ChatRequest {
    pub fn read(body: &[u8]) -> ApiResult<ChatRequest> {
        let mut fields = Fields::of_body(body)?;
        let common = Common::take(&mut fields)?;
        let messages = fields.need::<Vec<Value>>("messages")?;
        if messages.is_empty() {
            return Err(ApiError::field("messages", "no messages"));
        }
        let messages =
            messages.into_iter().enumerate().map(|(n, value)| message(n, value)).collect::<ApiResult<_>>()?;
        let wanted = fields.take("logprobs")?.unwrap_or(false);
        let logprobs = match whole(&mut fields, "top_logprobs", 20)? {
            Some(_) if !wanted => return Err(ApiError::field("top_logprobs", "they want \"logprobs\": true")),
            top => wanted.then_some(top.unwrap_or(0) as usize),
        };
        let tools = Tools::take(&mut fields, body)?;
        if !tools.required.is_empty() && common.format != ResponseFormat::Text {
            return Err(ApiError::field("response_format", "an answer that has to be a call has no format"));
        }
        fields.only("functions", &[json!([])], "tools are what they are called now")?;
        fields.only("function_call", &[json!("none"), json!("auto")], "tool_choice is what it is called now")?;
        fields.only("modalities", &[json!(["text"])], "this server answers with text")?;
        fields.finish(&WITHOUT_EFFECT)?;
        Ok(ChatRequest { common, messages, tools, logprobs })
    }
}

fn message(index: usize, value: Value) -> ApiResult<ChatMessage> {
    let name = format!("messages[{index}]");
    let mut fields = Fields::of(value, &name)?;
    let role = match fields.need::<String>("role")?.as_str() {
        // OpenAI's new word for what templates call system.
        "developer" => "system".into(),
        role @ ("system" | "user" | "assistant" | "tool") => role.to_string(),
        other => {
            let message = format!("{other:?} is none of system, developer, user, assistant and tool");
            return Err(ApiError::field(fields.name("role"), message));
        }
    };
    let mut more = vec![];
    if role == "assistant"
        && let Some(calls) = fields.take::<Value>("tool_calls")?
    {
        let calls = tools::calls(calls, &fields.name("tool_calls"))?;
        if !calls.is_empty() {
            more.push(("tool_calls".to_string(), Json::List(calls)));
        }
    }
    if role == "tool"
        && let Some(id) = fields.take::<String>("tool_call_id")?
    {
        more.push(("tool_call_id".to_string(), Json::text(id)));
    }
    let calls = !more.is_empty();
    if role == "assistant"
        && let Some(thought) = fields.take::<String>("reasoning_content")?
    {
        more.push(("reasoning_content".to_string(), Json::text(thought)));
    }
    let content = match fields.take("content")? {
        None if role == "assistant" && !more.is_empty() => None,
        None => return Err(ApiError::field(fields.name("content"), "missing")),
        Some(content) => Some(text_of(content, &fields.name("content"))?),
    };
    // An answer of OpenAI's comes back with them.
    fields.only("annotations", &[json!([])], "this server has no use for annotations")?;
    fields.finish(&[])?;
    let fields = (!more.is_empty()).then(|| Json::Object(more).to_string());
    Ok(ChatMessage { role, content, fields, calls })
}

/// A content: a string, or parts that are all of text.
fn text_of(content: Value, name: &str) -> ApiResult<String> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts,
        _ => return Err(ApiError::field(name, "neither a string nor an array of parts")),
    };
    let part = |(n, part): (usize, Value)| {
        let mut part = Fields::of(part, &format!("{name}[{n}]"))?;
        match part.need::<String>("type")?.as_str() {
            "text" => {}
            other => {
                let message = format!("this server reads parts of type \"text\", and no {other:?}");
                return Err(ApiError::field(part.name("type"), message));
            }
        }
        let text: String = part.need("text")?;
        part.finish(&[])?;
        Ok(text)
    };
    parts.into_iter().enumerate().map(part).collect::<ApiResult<Vec<String>>>().map(|parts| parts.concat())
}

/// A text, or its tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

/// One or several texts, each as text or tokens.
fn prompts(fields: &mut Fields, field: &str, most: usize) -> ApiResult<Vec<Prompt>> {
    let value: Value = fields.need(field)?;
    let several = value.as_array().is_some_and(|list| !list.iter().all(Value::is_number));
    let wrong = |_| ApiError::field(field, "neither a string, nor tokens, nor an array of these");
    let prompts: Vec<Prompt> = match several {
        true => serde_json::from_value(value).map_err(wrong)?,
        false => vec![serde_json::from_value(value).map_err(wrong)?],
    };
    match prompts.len() {
        count if count > most => Err(ApiError::field(field, format!("{count} texts; {most} are the most"))),
        _ => Ok(prompts),
    }
}

/// The body of `/v1/completions`.
#[derive(Clone, Debug)]
pub struct CompletionRequest {
    pub common: Common,
    pub prompts: Vec<Prompt>,
    pub logprobs: Option<usize>,
}

impl CompletionRequest {
    pub fn read(body: &[u8]) -> ApiResult<CompletionRequest> {
        let mut fields = Fields::of_body(body)?;
        let common = Common::take(&mut fields)?;
        let prompts = prompts(&mut fields, "prompt", 128)?;
        let logprobs = whole(&mut fields, "logprobs", 20)?.map(|n| n as usize);
        fields.only("echo", &[json!(false)], "this server does not repeat the prompt")?;
        fields.only("suffix", &[json!("")], "this server writes nothing in between")?;
        fields.only("best_of", &[json!(common.n)], "this server gives all that it generates: best_of is n")?;
        fields.finish(&WITHOUT_EFFECT)?;
        Ok(CompletionRequest { common, prompts, logprobs })
    }
}

/// The body of `/v1/embeddings`.
#[derive(Clone, Debug)]
pub struct EmbeddingRequest {
    pub model: Option<String>,
    pub inputs: Vec<Prompt>,
    pub dimensions: Option<usize>,
    /// Numbers as the base64 of their bytes, which is what OpenAI's clients ask for.
    pub base64: bool,
}

impl EmbeddingRequest {
    pub fn read(body: &[u8]) -> ApiResult<EmbeddingRequest> {
        let mut fields = Fields::of_body(body)?;
        let base64 = match fields.take::<String>("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(other) => {
                return Err(ApiError::field("encoding_format", format!("{other:?} is neither float nor base64")));
            }
        };
        let request = EmbeddingRequest {
            model: fields.take("model")?,
            inputs: prompts(&mut fields, "input", 2048)?,
            dimensions: whole(&mut fields, "dimensions", u64::from(u32::MAX))?.map(|n| n as usize),
            base64,
        };
        fields.finish(&["user"])?;
        Ok(request)
    }
}
