//! How likely the model found a token, and which others it found likely.

use super::protocol::{TokenLogprob, TopLogprob};
use rasp::text::Tokenizer;

/// The logarithm of a token's probability by these logits, and the likeliest `top` tokens, the lowest id first on a
/// tie. The logits are the model's own: temperature, biases and constraints are not in them.
pub fn logprobs(tokenizer: &Tokenizer, logits: &[f32], token: u32, top: usize) -> TokenLogprob {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let normal = f64::from(largest) + sum.ln();
    let entry = |token: u32| {
        let bytes = tokenizer.token_bytes(token).unwrap_or_default();
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        TopLogprob {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob: f64::from(logit) - normal,
            bytes: bytes.to_vec(),
        }
    };
    TokenLogprob { itself: entry(token), top_logprobs: likeliest(logits, top).into_iter().map(entry).collect() }
}

/// The ids of the `top` largest, in descending order.
fn likeliest(logits: &[f32], top: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(top + 1);
    for (id, &logit) in (0..).zip(logits) {
        // Few get past this: a later one of the same size does not.
        if found.len() == top && found.last().is_none_or(|&last| logits[last as usize] >= logit) {
            continue;
        }
        let at = found.partition_point(|&other| logits[other as usize] >= logit);
        found.insert(at, id);
        found.truncate(top);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_those_of_sorting() {
        let logits: Vec<f32> = (0..997u32).map(|id| (id * 7919 % 101) as f32 / 7.0).collect();
        let mut sorted: Vec<u32> = (0..997).collect();
        sorted.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        for top in [0, 1, 2, 20, 997, 1000] {
            assert_eq!(likeliest(&logits, top), sorted[..top.min(997)], "{top}");
        }
    }
}
