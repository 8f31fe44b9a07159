//! What clients send and get, in OpenAI's words. No model is asked here.

mod fields;
mod request;
mod response;

pub use request::{ChatMessage, ChatRequest, Common, CompletionRequest, EmbeddingRequest, Format, Prompt};
pub use response::{
    ChatLogprobs, Choice, Completion, Delta, Embedding, Embeddings, Logprobs, ModelEntry, TextLogprobs, TokenLogprob,
    TopLogprob, Usage, Vector,
};
