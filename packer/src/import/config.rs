//! What a model is, apart from its weights: its [`Config`], its tables of rotary frequencies, and what is folded into
//! its weights when they are read.

use rasp::Result;
use rasp::format::Config;
use rasp::model::{Attention, LinearKind, NormPlace};

use super::rope::Rope;
use super::{bad, unsupported};

/// A model as a source describes it, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The model's shape, as the packed file will state it.
    pub config: Config,
    /// Rotary frequencies `[head_dim / 2]` of each table with the model's scaling applied; `i` turns the pair
    /// `(i, i + head_dim / 2)`, and 0 turns nothing.
    pub ropes: Vec<Vec<f32>>,
    pub(crate) fold: Fold,
}

/// What is done to weights on their way in, so that the engine need not know of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fold {
    /// Added to the gains of all norms: 1 where a checkpoint stores them less 1.
    pub(crate) gain_offset: f32,
    /// The last norm's output is multiplied by it: a multiplier of the logits.
    pub(crate) logit_scale: f32,
    /// What attention and the MLP add is multiplied by it.
    pub(crate) residual_scale: f32,
    /// Channels of a head that turn, the first ones: even.
    pub(crate) rotary_dim: usize,
    /// Whether `2i` and `2i + 1` of them turn together, or else `i` and `i + rotary_dim / 2`.
    pub(crate) interleaved: bool,
}

impl Fold {
    /// Nothing is done to weights but that their rotation is put in order.
    pub(crate) fn none(config: &Config) -> Fold {
        Fold {
            gain_offset: 0.0,
            logit_scale: 1.0,
            residual_scale: 1.0,
            rotary_dim: config.head_dim,
            interleaved: false,
        }
    }

    /// Fails on a multiplier that leaves nothing, and on one that a norm would undo.
    fn check(&self, config: &Config) -> Result<()> {
        for (name, value) in [("residual", self.residual_scale), ("logits'", self.logit_scale)] {
            if !(value.is_finite() && value != 0.0) {
                return Err(bad(format!("config: the {name} multiplier comes out as {value}")));
            }
        }
        if config.block.norm_place != NormPlace::Before && self.residual_scale != 1.0 {
            return Err(unsupported("config: a residual multiplier behind a norm"));
        }
        Ok(())
    }

    /// Where the channels of a head stand in the source, in the order in which the engine has them: it turns `i` with
    /// `i + head_dim / 2`, and those that do not turn fill either half. `None`: as they are.
    pub(crate) fn head_order(&self, head_dim: usize) -> Option<Vec<usize>> {
        let (turned, half) = (self.rotary_dim, head_dim / 2);
        if turned == head_dim && !self.interleaved {
            return None;
        }
        let place = |at: usize| {
            let (second, pair) = (at / half, at % half);
            match (pair < turned / 2, self.interleaved) {
                (true, true) => 2 * pair + second,
                (true, false) => second * (turned / 2) + pair,
                // Those that pass follow in their order.
                (false, _) => turned + second * (half - turned / 2) + pair - turned / 2,
            }
        };
        Some((0..head_dim).map(place).collect())
    }

    /// What a linear's outputs are multiplied by.
    pub(crate) fn linear_scale(&self, kind: LinearKind) -> f32 {
        if matches!(kind, LinearKind::O | LinearKind::Down) { self.residual_scale } else { 1.0 }
    }
}

/// Far beyond every known model, and small enough that no product below can overflow or make an absurd buffer.
const LIMITS: [(&str, usize); 8] = [
    ("vocab_size", 1 << 24),
    ("hidden_size", 1 << 17),
    ("intermediate_size", 1 << 20),
    ("num_layers", 1 << 12),
    ("num_heads", 1 << 12),
    ("num_kv_heads", 1 << 12),
    ("head_dim", 1 << 12),
    ("context_length", 1 << 28),
];

impl Shape {
    /// Checks the numbers a source has read, then fills in the rotary frequencies they lead to. `ropes` are the tables'
    /// descriptions, `attention` each layer's.
    pub(crate) fn finish(mut config: Config, fold: Fold, ropes: &[Rope], attention: &[Attention]) -> Result<Shape> {
        check_sizes(&config)?;
        fold.check(&config)?;
        let head_dim = config.head_dim;
        if !fold.rotary_dim.is_multiple_of(2) || !(2..=head_dim).contains(&fold.rotary_dim) {
            return Err(bad(format!(
                "config: {} of the {head_dim} channels of a head turn, expected an even number of them",
                fold.rotary_dim
            )));
        }
        let mut tables = Vec::with_capacity(ropes.len());
        let mut gains = Vec::with_capacity(ropes.len());
        for rope in ropes {
            let (mut table, gain) = rope.table(fold.rotary_dim)?;
            table.resize(head_dim / 2, 0.0);
            tables.push(table);
            gains.push(gain as f32);
        }
        config.block.rope_gains = if gains.iter().all(|gain| *gain == 1.0) { Vec::new() } else { gains };
        set_attention(&mut config, attention);
        config.validate()?;
        Ok(Shape { config, ropes: tables, fold })
    }
}

/// A layer's `alpha_p`, `alpha_n` and `beta` of xIELU, from what checkpoints have: `softplus(alpha_p)`,
/// `beta + softplus(alpha_n)` (arXiv:2411.13010, section 3.2). `eps`, by which the exponential is held below 0, must be
/// next to nothing, which rasp takes it for.
pub(crate) fn xielu(alpha_p: f32, alpha_n: f32, beta: f32, eps: f32) -> Result<[f32; 3]> {
    if !(-1e-4..=0.0).contains(&eps) {
        return Err(unsupported(format!("xIELU with an eps of {eps}; rasp knows -0.0001 to 0")));
    }
    let softplus = |x: f32| f64::from(x).max(0.0) + (-f64::from(x).abs()).exp().ln_1p();
    let parameters = [softplus(alpha_p) as f32, (f64::from(beta) + softplus(alpha_n)) as f32, beta];
    match parameters.iter().all(|x| x.is_finite()) {
        true => Ok(parameters),
        false => Err(bad(format!("xIELU's parameters come out as {parameters:?}"))),
    }
}

/// States what attention does layer by layer. A window that no text fills is none.
fn set_attention(config: &mut Config, layers: &[Attention]) {
    let context = config.context_length;
    let block = &mut config.block;
    block.attention.clear();
    block.layers.clear();
    for kind in layers {
        let kind = Attention { window: kind.window.filter(|window| *window < context), ..*kind };
        let known = block.attention.iter().position(|other| *other == kind);
        block.layers.push(known.unwrap_or(block.attention.len()));
        if known.is_none() {
            block.attention.push(kind);
        }
    }
    if block.attention.len() == 1 {
        block.layers.clear();
    }
}

/// Refuses numbers that no model has, before anything is sized by them.
pub(crate) fn check_sizes(config: &Config) -> Result<()> {
    let sizes = [
        config.vocab_size,
        config.hidden_size,
        config.intermediate_size,
        config.num_layers,
        config.num_heads,
        config.num_kv_heads,
        config.head_dim,
        config.context_length,
    ];
    for (value, (name, limit)) in sizes.into_iter().zip(LIMITS) {
        if value == 0 || value > limit {
            return Err(bad(format!("config: {name} is {value}, expected 1 to {limit}")));
        }
    }
    if !config.num_heads.is_multiple_of(config.num_kv_heads) {
        return Err(bad(format!(
            "config: {} heads do not divide among {} key-value heads",
            config.num_heads, config.num_kv_heads
        )));
    }
    if !config.head_dim.is_multiple_of(2) {
        return Err(bad(format!("config: head_dim is {}, expected an even number", config.head_dim)));
    }
    let eps = config.rms_norm_eps;
    if !(eps > 0.0 && eps < 1.0) {
        return Err(bad(format!("config: rms_norm_eps is {eps}, expected above 0 and below 1")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every channel stands once, those that turn together half a head apart.
    #[test]
    fn the_order_of_a_head_pairs_what_turns_together() {
        let base = Fold::none(&Config::example());
        assert_eq!(base.head_order(16), None);
        for (rotary_dim, interleaved) in [(16, true), (8, false), (8, true), (2, true), (12, false)] {
            let order = Fold { rotary_dim, interleaved, ..base.clone() }.head_order(16).unwrap();
            let mut sorted = order.clone();
            sorted.sort();
            assert_eq!(sorted, (0..16).collect::<Vec<_>>());
            for pair in 0..8 {
                let (a, b) = (order[pair], order[pair + 8]);
                match (pair < rotary_dim / 2, interleaved) {
                    (true, true) => assert_eq!((a, b), (2 * pair, 2 * pair + 1)),
                    (true, false) => assert_eq!((a, b), (pair, pair + rotary_dim / 2)),
                    (false, _) => assert!(a >= rotary_dim && b >= rotary_dim),
                }
            }
        }
    }
}
