//! How tokens are chosen, as options.

use rasp::sampling::{SamplerOrder, SamplerStage};
use rasp::{Result, Sampling};

/// Options of the sampler. Penalties come first, then the stages, then Mirostat.
#[derive(clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingOptions {
    /// Temperature; 0 is greedy
    #[arg(long, default_value_t = 0.0, visible_alias = "temperature")]
    temp: f32,
    /// Only the K likeliest tokens; 0: all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Only the likeliest tokens that hold this share of the probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Only tokens at least this many times as likely as the likeliest
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f32,
    /// Divides the logits of recent tokens
    #[arg(long, value_name = "X", default_value_t = 1.0, visible_alias = "repetition-penalty")]
    repeat_penalty: f32,
    /// Taken from the logits of recent tokens; 0: nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// Taken from them as often as each came; 0: nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// So many of the latest tokens are recent
    #[arg(long, value_name = "N", default_value_t = 64)]
    repeat_last_n: u32,
    /// Penalty for what would make a repetition longer (don't repeat yourself); 0: none
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    dry_multiplier: f32,
    /// How much more each further token of a repetition costs
    #[arg(long, value_name = "X", default_value_t = 1.75)]
    dry_base: f32,
    /// The shortest repetition that costs anything, in tokens
    #[arg(long, value_name = "N", default_value_t = 2)]
    dry_allowed_length: u32,
    /// Only tokens with logits within so many standard deviations of the largest; 0: all
    #[arg(long, value_name = "N", default_value_t = 0.0, visible_alias = "top-nsigma")]
    top_n_sigma: f32,
    /// Only the tokens nearest to the expected surprise that hold this share of the probability
    #[arg(long, value_name = "P", default_value_t = 1.0, visible_alias = "typical")]
    typical_p: f32,
    /// How likely all but the least likely of the top choices are excluded (XTC)
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    xtc_probability: f32,
    /// The probability that makes a top choice
    #[arg(long, value_name = "P", default_value_t = 0.1)]
    xtc_threshold: f32,
    /// The surprise that tokens should have, in bits (Mirostat 2); 0: off
    #[arg(long, value_name = "BITS", default_value_t = 0.0, visible_alias = "mirostat-ent")]
    mirostat_tau: f32,
    /// How fast Mirostat follows
    #[arg(long, value_name = "X", default_value_t = 0.1, visible_alias = "mirostat-lr")]
    mirostat_eta: f32,
    /// Stages that come first, of top_n_sigma, top_k, temperature, typical_p, top_p, min_p and xtc; the others follow
    /// in this order
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_stage)]
    samplers: Vec<SamplerStage>,
    /// Start of the random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn parse_stage(name: &str) -> std::result::Result<SamplerStage, String> {
    let names = || SamplerStage::ALL.map(SamplerStage::name).join(", ");
    SamplerStage::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| format!("there are {}", names()))
}

impl SamplingOptions {
    pub fn settings(&self) -> Result<Sampling> {
        Ok(Sampling {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repeat_penalty,
            repetition_window: self.repeat_last_n,
            seed: self.seed,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            top_n_sigma: self.top_n_sigma,
            typical_p: self.typical_p,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
            mirostat_tau: self.mirostat_tau,
            mirostat_eta: self.mirostat_eta,
            order: SamplerOrder::new(&self.samplers)?,
            ..Sampling::default()
        })
    }
}
