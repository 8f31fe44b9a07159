//! Windows of a text under one setting or several, and what sparse predictions lose beside the dense model's.

use super::{Setting, kept};
use crate::progress::Reporter;
use rasp::Result;
use rasp::session::{Compared, Scored, Scorer, Traffic};
use rasp_packer::Progress;
use serde::Serialize;

/// The predictions that were made from sparse tokens, and the dense model's at the same positions. What a dense token
/// predicts, of a prompt or of the model's dense prefix, is the dense model's own and would thin out the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sparse {
    /// How many they are.
    pub tokens: u64,
    /// Their perplexity.
    pub ppl: f64,
    /// The dense model's.
    pub dense_ppl: f64,
    /// By how much the one exceeds the other: 0.02 is 2%.
    pub loss: f64,
    /// The Kullback-Leibler divergence from the dense predictions, in nats a token.
    pub kl: f64,
    /// The share of positions where the likeliest token is the dense model's.
    pub same_greedy: f64,
}

/// What came of the windows under one setting.
pub struct WindowScores {
    /// The mean negative log-likelihood of all predictions that were scored, in nats.
    pub nll: f64,
    /// How many they are.
    pub tokens: u64,
    /// The share of linear weight bytes that sparse tokens read; 1 if there were none.
    pub kept: f64,
    /// `None` where none was made from a sparse token.
    pub sparse: Option<Sparse>,
}

#[derive(Clone, Default)]
struct WindowSums {
    nll: f64,
    tokens: u64,
    traffic: Traffic,
    sparse: SparseSums,
}

#[derive(Clone, Default)]
struct SparseSums {
    tokens: u64,
    nll: f64,
    dense_nll: f64,
    divergence: f64,
    same: u64,
}

impl WindowSums {
    fn add(&mut self, scored: Scored) {
        self.nll -= scored.log_prob;
        self.tokens += 1;
    }
}

impl SparseSums {
    fn add(&mut self, compared: &Compared) {
        self.tokens += 1;
        self.nll -= compared.scored.log_prob;
        self.dense_nll -= compared.reference.log_prob;
        self.divergence += compared.divergence;
        self.same += u64::from(compared.same_greedy);
    }

    fn means(&self) -> Option<Sparse> {
        let mean = |sum: f64| sum / self.tokens as f64;
        (self.tokens > 0).then(|| Sparse {
            tokens: self.tokens,
            ppl: mean(self.nll).exp(),
            dense_ppl: mean(self.dense_nll).exp(),
            loss: mean(self.nll - self.dense_nll).exp_m1(),
            kl: mean(self.divergence),
            same_greedy: mean(self.same as f64),
        })
    }
}

/// Scores what is predicted for positions from `from` on of these windows under every setting. The first half of a
/// window is its prompt. The dense model passes each window once, however many settings are held to it.
pub fn measure(
    scorer: &mut Scorer,
    windows: impl Iterator<Item = Vec<u32>>,
    settings: &[Setting],
    from: usize,
    progress: &mut Reporter,
) -> Result<Vec<WindowScores>> {
    let mut all = vec![WindowSums::default(); settings.len()];
    let sparse = settings.iter().any(|setting| !setting.is_dense());
    let dense_prefix = scorer.model().recipe().dense_prefix;
    scorer.take_traffic();
    for window in windows {
        let len = window.len();
        scorer.set_sparsity(0.0)?;
        let reference = sparse.then(|| scorer.reference(&window, len)).transpose()?;
        // Among sparse settings the dense one needs no pass of its own.
        let mut dense: Option<Vec<Scored>> = None;
        for (setting, sums) in settings.iter().zip(&mut all).filter(|(setting, _)| !setting.is_dense()) {
            let Some(reference) = &reference else { continue };
            scorer.set_sparsity(setting.sparsity)?;
            let sparse_from = setting.sparse_from(len, len / 2);
            let compared = scorer.compare(&window, sparse_from, reference)?;
            // Comparison `n` is of what token `n` predicts for position `n + 1`.
            for (position, compared) in compared.iter().enumerate().skip(from - 1) {
                sums.add(compared.scored);
                if position >= sparse_from.max(dense_prefix) {
                    sums.sparse.add(compared);
                }
            }
            let traffic = scorer.take_traffic();
            sums.traffic.tokens += traffic.tokens;
            sums.traffic.linear_bytes += traffic.linear_bytes;
            dense.get_or_insert_with(|| compared.iter().map(|compared| compared.reference).collect());
            progress.advance(1);
        }
        for (_, sums) in settings.iter().zip(&mut all).filter(|(setting, _)| setting.is_dense()) {
            let scores = match &dense {
                Some(scores) => scores,
                None => &*dense.insert(scorer.score(&window, len)?),
            };
            scores[from - 1..].iter().for_each(|&scored| sums.add(scored));
            progress.advance(1);
        }
    }
    let model = scorer.model();
    let measured = all.into_iter().map(|sums| WindowScores {
        nll: sums.nll / sums.tokens as f64,
        tokens: sums.tokens,
        kept: kept(sums.traffic, model),
        sparse: sums.sparse.means(),
    });
    Ok(measured.collect())
}
