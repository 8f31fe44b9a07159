//! What clients send and get, in OpenAI's words. No model is asked here.

mod fields;
mod request;
mod response;
mod tools;

pub use request::{ChatMessage, ChatRequest, Common, CompletionRequest, EmbeddingRequest, Format, Prompt};
pub use response::{
    CalledFunction, ChatLogprobs, Choice, Completion, Delta, Embedding, Embeddings, Logprobs, ModelEntry, TextLogprobs,
    TokenLogprob, ToolCall, TopLogprob, Usage, Vector,
};
pub use tools::Tools;
