//! Answers, whole or as the chunks of a stream.

use serde::Serialize;
use std::collections::BTreeMap;

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens: Option<usize>,
    pub total_tokens: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PromptDetails {
    /// Tokens that did not have to pass again.
    pub cached_tokens: usize,
}

impl Usage {
    pub fn of_answers(prompt_tokens: usize, cached_tokens: usize, completion_tokens: usize) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens: Some(completion_tokens),
            total_tokens: prompt_tokens + completion_tokens,
            prompt_tokens_details: Some(PromptDetails { cached_tokens }),
        }
    }

    pub fn of_embeddings(prompt_tokens: usize) -> Usage {
        Usage { prompt_tokens, total_tokens: prompt_tokens, ..Usage::default() }
    }
}

/// A token that could have come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopLogprob {
    pub token: String,
    pub logprob: f64,
    pub bytes: Vec<u8>,
}

/// A token that came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprob {
    #[serde(flatten)]
    pub itself: TopLogprob,
    pub top_logprobs: Vec<TopLogprob>,
}

/// In a chat.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChatLogprobs {
    pub content: Vec<TokenLogprob>,
    pub refusal: Option<String>,
}

/// In a completion, a list of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TextLogprobs {
    pub tokens: Vec<String>,
    pub token_logprobs: Vec<f64>,
    pub top_logprobs: Vec<BTreeMap<String, f64>>,
    /// Characters of the answer before each token.
    pub text_offset: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Logprobs {
    Chat(ChatLogprobs),
    Text(TextLogprobs),
}

/// A message, or what a stream adds to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// Outside: whether the field is there. Inside: null where a message is calls alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Option<String>>,
    /// What the model thinks before it says something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// A call of a client's function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolCall {
    /// Among the calls of an answer; in a stream alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: CalledFunction,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalledFunction {
    pub name: String,
    /// JSON, as a string.
    pub arguments: String,
}

/// One of the answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Delta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// A body, or an event of a stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'a str,
    pub choices: Vec<Choice>,
    /// Outside: whether the field is there. Inside: null in every event of a stream but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// Numbers, or their bytes (f32, the lowest first) in base64.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embedding {
    pub object: &'static str,
    pub index: usize,
    pub embedding: Vector,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embeddings<'a> {
    pub object: &'static str,
    pub data: Vec<Embedding>,
    pub model: &'a str,
    pub usage: Usage,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelEntry<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub owned_by: &'static str,
}
