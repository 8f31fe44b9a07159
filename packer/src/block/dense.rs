//! The dense model's way through its blocks, which is the engine's.

use super::{Mat, embedded};
use rasp::Result;
use rasp::session::{MatRef, Observer, Scorer};

/// Keeps the stream after each block.
struct Streams {
    hidden: usize,
    /// `[tokens, hidden]`
    after: Vec<Vec<f32>>,
}

impl Observer for Streams {
    fn hidden(&mut self, layer: usize, x: MatRef<'_>) {
        for row in 0..x.rows() {
            self.after[layer].extend_from_slice(&x.row(row)[..self.hidden]);
        }
    }
}

/// The residual stream `[tokens, hidden]` before each block and after the last, tokens being dense.
pub(crate) fn dense_streams(scorer: &mut Scorer, tokens: &[u32]) -> Result<Vec<Mat>> {
    let model = scorer.model().clone();
    let (hidden, layers) = (model.config().hidden_size, model.layers().len());
    let mut streams = Streams { hidden, after: vec![Vec::new(); layers] };
    scorer.observe(tokens, tokens.len(), &mut streams)?;
    let after = streams.after.into_iter().map(|stream| Mat::new(stream, tokens.len(), hidden));
    Ok(embedded(&model, &[tokens]).into_iter().chain(after).collect())
}
