//! How likely the model found a token, and which others it found likely.

use super::protocol::{TokenLogprob, TopLogprob};
use rasp::sampling::LogProb;
use rasp::{Result, Session};

/// Of the token that a session has just sampled, and of the likeliest `top`: by the model itself, without temperature,
/// biases and constraints.
pub fn logprobs(session: &mut Session, token: u32, top: usize) -> Result<TokenLogprob> {
    let mut likeliest = vec![LogProb::default(); top.min(session.model().config().vocab_size)];
    let itself = session.log_probs(token, &mut likeliest)?;
    let entry = |LogProb { token, log_prob }| {
        let bytes = session.model().tokenizer().token_bytes(token).unwrap_or_default();
        TopLogprob {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob: f64::from(log_prob),
            bytes: bytes.to_vec(),
        }
    };
    Ok(TokenLogprob { itself: entry(itself), top_logprobs: likeliest.into_iter().map(entry).collect() })
}
