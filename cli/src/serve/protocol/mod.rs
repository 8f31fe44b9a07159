//! What clients send and get, in OpenAI's words. No model is asked here.

mod fields;
mod ordered;
mod request;
mod response;
mod tools;

pub use ordered::Json;
pub use request::{ChatMessage, ChatRequest, Common, CompletionRequest, EmbeddingRequest, Prompt, ResponseFormat};
pub use response::{
    CalledFunction, ChatLogprobs, Choice, Completion, Delta, Embedding, Embeddings, Logprobs, ModelEntry, TextLogprobs,
    TokenLogprob, ToolCall, TopLogprob, Usage, Vector,
};
pub use tools::Tools;
