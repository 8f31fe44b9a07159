//! How likely a model finds tokens.

/// A token and the natural logarithm of its probability.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogProb {
    /// Its id.
    pub token: u32,
    /// The log-softmax of the logits at it.
    pub log_prob: f32,
}

/// The log-softmax of finite `logits` at `token`, summed in f64; and at the largest, into `top`: the likeliest first,
/// the lowest id first on a tie. `top` is no longer than `logits`.
pub(crate) fn log_probs(logits: &[f32], token: u32, top: &mut [LogProb]) -> LogProb {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let normal = f64::from(largest) + sum.ln();
    let mut count = 0;
    for (token, &logit) in (0..).zip(logits) {
        // Few get past this: a later one of the same size does not. (What is there are logits so far.)
        if count == top.len() && top.last().is_none_or(|last| last.log_prob >= logit) {
            continue;
        }
        let at = top[..count].partition_point(|other| other.log_prob >= logit);
        count = top.len().min(count + 1);
        top[at..count].rotate_right(1);
        top[at] = LogProb { token, log_prob: logit };
    }
    let log_prob = |logit: f32| (f64::from(logit) - normal) as f32;
    top.iter_mut().for_each(|likely| likely.log_prob = log_prob(likely.log_prob));
    LogProb { token, log_prob: log_prob(logits[token as usize]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_are_those_of_sorting_and_sum_to_one() {
        let logits: Vec<f32> = (0..997u32).map(|id| (id * 7919 % 101) as f32 / 7.0).collect();
        let mut sorted: Vec<u32> = (0..997).collect();
        sorted.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        for count in [0, 1, 2, 20, 997] {
            let mut top = vec![LogProb::default(); count];
            let one = log_probs(&logits, 5, &mut top);
            assert_eq!(top.iter().map(|likely| likely.token).collect::<Vec<_>>(), sorted[..count], "{count}");
            for LogProb { token, log_prob } in top.iter().copied().chain([one]) {
                let wanted = f64::from(logits[token as usize]) - sum.ln();
                assert!((f64::from(log_prob) - wanted).abs() < 1e-5, "{token}");
            }
            assert_eq!(one.token, 5);
        }
        let mut all = vec![LogProb::default(); 997];
        log_probs(&logits, 0, &mut all);
        let total: f64 = all.iter().map(|likely| f64::from(likely.log_prob).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
    }
}
