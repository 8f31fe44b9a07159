//! How tokens are chosen: what a host sets.

use crate::{Error, Result, Status};

/// How the next token is chosen. The default is greedy.
///
/// Penalties come first, then the [stages](SamplerStage) in their [order](Sampling::order), then a draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 means greedy: the largest logit after penalties, the lowest id on a tie.
    pub temperature: f32,
    /// Only the `top_k` largest logits stay; 0 means all. With up to 64, and neither penalties nor `top_n_sigma`, a
    /// token reads only a part of the head, as a greedy one does.
    pub top_k: u32,
    /// Only the fewest tokens whose probabilities sum to at least `top_p` stay; 1 means all (arXiv:1904.09751).
    pub top_p: f32,
    /// Only tokens at least `min_p` times as likely as the likeliest stay; 0 means all (arXiv:2407.01082).
    pub min_p: f32,
    /// Logits of recent tokens are divided by this if positive, multiplied if negative; 1 means none
    /// (arXiv:1909.05858, section 4.1).
    pub repetition_penalty: f32,
    /// How many of the latest tokens count as recent.
    pub repetition_window: u32,
    /// Start of the random numbers: the same seed, model and prompt give the same tokens.
    pub seed: u64,
    /// Taken from the logit of every recent token; 0 means none.
    pub presence_penalty: f32,
    /// Taken from it as often as the token came; 0 means none.
    pub frequency_penalty: f32,
    /// Only tokens whose logits are within so many standard deviations of the largest stay; 0 means all
    /// (arXiv:2411.07641).
    pub top_n_sigma: f32,
    /// Only the tokens whose surprise is nearest to the expected one stay, the fewest whose probabilities sum to at
    /// least this; 1 means all (locally typical sampling, arXiv:2202.00666).
    pub typical_p: f32,
    /// How likely the top choices are excluded: of all tokens with a probability of at least `xtc_threshold` the least
    /// likely alone stays; 0 means never.
    pub xtc_probability: f32,
    /// See `xtc_probability`. Above 0.5 no two tokens have so much.
    pub xtc_threshold: f32,
    /// Don't repeat yourself: a token that would make a repetition of `n` tokens one longer loses
    /// `dry_multiplier · dry_base ^ (n - dry_allowed_length)`; 0 means none. Repetitions end at line ends, colons,
    /// quotation marks, asterisks and special tokens.
    pub dry_multiplier: f32,
    /// See `dry_multiplier`.
    pub dry_base: f32,
    /// The longest repetition that costs nothing is one shorter.
    pub dry_allowed_length: u32,
    /// In how many of the latest tokens repetitions are looked for.
    pub dry_window: u32,
    /// The surprise a token should have, in bits: those that surprise more than a bound are left out, and the bound
    /// follows what comes (Mirostat 2, arXiv:2007.14966); 0 means off. Last of all.
    pub mirostat_tau: f32,
    /// How fast the bound follows.
    pub mirostat_eta: f32,
    /// What comes after what.
    pub order: SamplerOrder,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            seed: 0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            top_n_sigma: 0.0,
            typical_p: 1.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_window: u32::MAX,
            mirostat_tau: 0.0,
            mirostat_eta: 0.1,
            order: SamplerOrder::default(),
        }
    }
}

impl Sampling {
    /// Fails on a number outside its range, naming it.
    pub fn validate(&self) -> Result<()> {
        let check = |name: &str, value: f32, least: f32, most: f32| {
            // A NaN is in no range.
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::new(Status::InvalidArgument, format_args!("{name} is {value}, outside {least} to {most}")))
        };
        check("temperature", self.temperature, 0.0, 100.0)?;
        check("top_p", self.top_p, f32::MIN_POSITIVE, 1.0)?;
        check("min_p", self.min_p, 0.0, 1.0)?;
        check("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        check("presence_penalty", self.presence_penalty, -100.0, 100.0)?;
        check("frequency_penalty", self.frequency_penalty, -100.0, 100.0)?;
        check("top_n_sigma", self.top_n_sigma, 0.0, 100.0)?;
        check("typical_p", self.typical_p, f32::MIN_POSITIVE, 1.0)?;
        check("xtc_probability", self.xtc_probability, 0.0, 1.0)?;
        check("xtc_threshold", self.xtc_threshold, 0.0, 1.0)?;
        check("dry_multiplier", self.dry_multiplier, 0.0, 100.0)?;
        check("dry_base", self.dry_base, 1.0, 100.0)?;
        check("mirostat_tau", self.mirostat_tau, 0.0, 100.0)?;
        check("mirostat_eta", self.mirostat_eta, 0.0, 1.0)
    }

    /// Whether tokens that came before have their logits changed.
    pub(super) fn penalizes(&self) -> bool {
        let recent = self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0;
        recent && self.repetition_window > 0 || self.dry_multiplier != 0.0
    }

    /// Whether a stage leaves tokens out.
    pub(super) fn cuts(&self, stage: SamplerStage) -> bool {
        match stage {
            SamplerStage::TopNSigma => self.top_n_sigma != 0.0,
            SamplerStage::TopK => self.top_k != 0,
            SamplerStage::Temperature => false,
            SamplerStage::Typical => self.typical_p != 1.0,
            SamplerStage::TopP => self.top_p != 1.0,
            SamplerStage::MinP => self.min_p != 0.0,
            SamplerStage::Xtc => self.xtc_probability != 0.0,
        }
    }
}

/// A step from the logits to the tokens that are drawn from. One whose setting is off does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplerStage {
    /// [`Sampling::top_n_sigma`]
    TopNSigma = 1,
    /// [`Sampling::top_k`]
    TopK,
    /// [`Sampling::temperature`]
    Temperature,
    /// [`Sampling::typical_p`]
    Typical,
    /// [`Sampling::top_p`]
    TopP,
    /// [`Sampling::min_p`]
    MinP,
    /// [`Sampling::xtc_probability`]
    Xtc,
}

/// How many stages there are.
pub const STAGES: usize = 7;

impl SamplerStage {
    /// All, in the default order: that of Hugging Face transformers, where probabilities are those after the
    /// temperature. (llama.cpp has the temperature last.)
    pub const ALL: [SamplerStage; STAGES] = [
        SamplerStage::TopNSigma,
        SamplerStage::TopK,
        SamplerStage::Temperature,
        SamplerStage::Typical,
        SamplerStage::TopP,
        SamplerStage::MinP,
        SamplerStage::Xtc,
    ];

    /// What it is called in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            SamplerStage::TopNSigma => "top_n_sigma",
            SamplerStage::TopK => "top_k",
            SamplerStage::Temperature => "temperature",
            SamplerStage::Typical => "typical_p",
            SamplerStage::TopP => "top_p",
            SamplerStage::MinP => "min_p",
            SamplerStage::Xtc => "xtc",
        }
    }

    /// The stage with this number.
    fn of_code(code: u8) -> Option<SamplerStage> {
        SamplerStage::ALL.into_iter().find(|stage| *stage as u8 == code)
    }
}

/// All stages, in some order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerOrder([SamplerStage; STAGES]);

impl Default for SamplerOrder {
    fn default() -> Self {
        SamplerOrder(SamplerStage::ALL)
    }
}

impl SamplerOrder {
    /// These first, and those that are not named behind them in the default order. Fails if one comes twice.
    pub fn new(first: &[SamplerStage]) -> Result<SamplerOrder> {
        let (mut order, mut count) = (SamplerStage::ALL, 0);
        let rest = SamplerStage::ALL.into_iter().filter(|stage| !first.contains(stage));
        for stage in first.iter().copied().chain(rest) {
            if order[..count].contains(&stage) {
                let message = format_args!("{} comes twice in the order of sampling", stage.name());
                return Err(Error::new(Status::InvalidArgument, message));
            }
            order[count] = stage;
            count += 1;
        }
        Ok(SamplerOrder(order))
    }

    /// Stages by their numbers, those that come first, and zeros: as [`new`](SamplerOrder::new) completes them. Fails
    /// if a number is no stage's, comes twice or stands behind a zero.
    pub fn from_bytes(bytes: [u8; STAGES + 1]) -> Result<SamplerOrder> {
        let refused = |what: std::fmt::Arguments<'_>| {
            Error::new(Status::InvalidArgument, format_args!("the order of sampling has {what}"))
        };
        let named = bytes.iter().position(|&code| code == 0).unwrap_or(bytes.len());
        let (codes, rest) = bytes.split_at(named);
        if rest.iter().any(|&code| code != 0) {
            return Err(refused(format_args!("a stage behind a 0")));
        }
        let mut stages = [SamplerStage::TopK; STAGES + 1];
        for (stage, &code) in stages.iter_mut().zip(codes) {
            *stage = SamplerStage::of_code(code).ok_or_else(|| refused(format_args!("{code}, which is no stage")))?;
        }
        SamplerOrder::new(&stages[..named])
    }

    /// All stages by their numbers, and a zero.
    pub fn to_bytes(&self) -> [u8; STAGES + 1] {
        let mut bytes = [0; STAGES + 1];
        bytes.iter_mut().zip(self.0).for_each(|(byte, stage)| *byte = stage as u8);
        bytes
    }

    /// The stages, the first one first.
    pub fn stages(&self) -> [SamplerStage; STAGES] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_named() {
        let base = Sampling::default();
        for (settings, name) in [
            (Sampling { temperature: -1.0, ..base }, "temperature"),
            (Sampling { temperature: f32::NAN, ..base }, "temperature"),
            (Sampling { top_p: 0.0, ..base }, "top_p"),
            (Sampling { min_p: 1.5, ..base }, "min_p"),
            (Sampling { repetition_penalty: 0.0, ..base }, "repetition_penalty"),
            (Sampling { presence_penalty: f32::INFINITY, ..base }, "presence_penalty"),
            (Sampling { frequency_penalty: 101.0, ..base }, "frequency_penalty"),
            (Sampling { top_n_sigma: -0.5, ..base }, "top_n_sigma"),
            (Sampling { typical_p: 0.0, ..base }, "typical_p"),
            (Sampling { xtc_probability: 1.5, ..base }, "xtc_probability"),
            (Sampling { xtc_threshold: f32::NAN, ..base }, "xtc_threshold"),
            (Sampling { dry_multiplier: -1.0, ..base }, "dry_multiplier"),
            (Sampling { dry_base: 0.5, ..base }, "dry_base"),
            (Sampling { mirostat_tau: -5.0, ..base }, "mirostat_tau"),
            (Sampling { mirostat_eta: 2.0, ..base }, "mirostat_eta"),
        ] {
            let error = settings.validate().unwrap_err();
            assert_eq!(error.status(), Status::InvalidArgument);
            assert!(error.message().starts_with(name), "{error}");
        }
    }

    #[test]
    fn an_order_has_every_stage_once() {
        let order = SamplerOrder::new(&[SamplerStage::Xtc, SamplerStage::TopP]).unwrap().stages();
        assert_eq!(order[..4], [SamplerStage::Xtc, SamplerStage::TopP, SamplerStage::TopNSigma, SamplerStage::TopK]);
        assert_eq!(SamplerOrder::new(&[]).unwrap(), SamplerOrder::default());
        assert_eq!(SamplerOrder::new(&SamplerStage::ALL).unwrap(), SamplerOrder::default());
        assert!(SamplerOrder::new(&[SamplerStage::TopK, SamplerStage::TopK]).is_err());
        assert!(SamplerOrder::new(&[SamplerStage::TopK; 9]).is_err());
        assert_eq!(SamplerStage::ALL.map(|stage| SamplerStage::of_code(stage as u8)), SamplerStage::ALL.map(Some));
        assert_eq!((SamplerStage::of_code(0), SamplerStage::of_code(8)), (None, None));
    }
}
