//! Rotary position embedding: the frequencies of a table.

use rasp::Result;

use super::bad;

/// A table of rotary frequencies as a source describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    /// The base of the frequencies, before any scaling.
    pub(crate) theta: f64,
    pub(crate) scaling: Scaling,
    /// Divide the frequencies, one a pair, where there are any.
    pub(crate) factors: Option<Vec<f32>>,
}

/// How a model's context was stretched beyond what its frequencies were first made for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    None,
    /// Every frequency divided by one factor (arXiv:2306.15595).
    Linear {
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    /// A larger base, for a context `stretch` times as long (NTK-aware; "dynamic" for the context that a file is packed
    /// for).
    Ntk {
        stretch: f64,
    },
    /// YaRN (arXiv:2309.00071, section 3): as Llama 3.1's, over a ramp of pairs, and queries and keys are multiplied by
    /// `gain`.
    Yarn {
        factor: f64,
        original_context: f64,
        beta_fast: f64,
        beta_slow: f64,
        truncate: bool,
        gain: f64,
    },
    /// LongRoPE (arXiv:2402.13753): a divisor for each pair, and queries and keys are multiplied by `gain`.
    Long {
        factors: Vec<f32>,
        gain: f64,
    },
}

impl Rope {
    /// Frequencies `[turned / 2]` of heads of which so many channels turn: `theta^(−2i/turned)`, scaled, then divided
    /// by `factors` where there are any; and what turning multiplies queries and keys by.
    ///
    /// Computed in `f64` and rounded once.
    pub(crate) fn table(&self, turned: usize) -> Result<(Vec<f32>, f64)> {
        let theta = self.theta;
        if !(theta.is_finite() && theta > 1.0) {
            return Err(bad(format!("config: rope theta is {theta}, expected above 1")));
        }
        self.scaling.check(turned)?;
        check_factors(self.factors.as_deref(), turned)?;
        let mut freqs = Vec::with_capacity(turned / 2);
        for i in 0..turned / 2 {
            let factor = self.factors.as_ref().map_or(1.0, |f| f64::from(f[i]));
            let freq = (self.scaling.frequency(theta, i, turned) / factor) as f32;
            if !(freq.is_finite() && freq > 0.0) {
                return Err(bad(format!("config: rotary frequency {i} comes out as {freq}")));
            }
            freqs.push(freq);
        }
        Ok((freqs, self.scaling.gain()))
    }
}

fn check_factors(factors: Option<&[f32]>, turned: usize) -> Result<()> {
    let Some(factors) = factors else { return Ok(()) };
    if factors.len() != turned / 2 {
        return Err(bad(format!("{} rope factors, expected one for each of {} pairs", factors.len(), turned / 2)));
    }
    match factors.iter().position(|f| !(f.is_finite() && *f > 0.0)) {
        Some(at) => Err(bad(format!("rope factor {at} is {}, expected above 0", factors[at]))),
        None => Ok(()),
    }
}

impl Scaling {
    fn check(&self, turned: usize) -> Result<()> {
        let positive = |name: &str, v: f64| {
            if v.is_finite() && v > 0.0 {
                return Ok(());
            }
            Err(bad(format!("config: rope scaling: {name} is {v}, expected above 0")))
        };
        match *self {
            Scaling::None => Ok(()),
            Scaling::Linear { factor } => positive("factor", factor),
            Scaling::Ntk { stretch } => positive("factor", stretch),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                positive("factor", factor)?;
                positive("low_freq_factor", low_freq_factor)?;
                positive("original_max_position_embeddings", original_context)?;
                if !(high_freq_factor.is_finite() && high_freq_factor > low_freq_factor) {
                    return Err(bad(format!(
                        "config: rope scaling: high_freq_factor is {high_freq_factor}, \
                         expected above low_freq_factor {low_freq_factor}"
                    )));
                }
                Ok(())
            }
            Scaling::Yarn { factor, original_context, beta_fast, beta_slow, gain, .. } => {
                positive("factor", factor)?;
                positive("original_max_position_embeddings", original_context)?;
                positive("beta_fast", beta_fast)?;
                positive("beta_slow", beta_slow)?;
                positive("attention_factor", gain)
            }
            Scaling::Long { ref factors, gain } => {
                check_factors(Some(factors), turned)?;
                positive("attention_factor", gain)
            }
        }
    }

    /// The frequency of pair `i` of `turned` channels.
    fn frequency(&self, theta: f64, i: usize, turned: usize) -> f64 {
        let dim = turned as f64;
        let plain = |theta: f64| theta.powf(-((2 * i) as f64) / dim);
        let freq = plain(theta);
        match *self {
            Scaling::None => freq,
            Scaling::Linear { factor } => freq / factor,
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                // How many whole turns fit the original context: many turns are kept, few are stretched.
                let turns = original_context * freq / std::f64::consts::TAU;
                let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let keep = keep.clamp(0.0, 1.0);
                keep * freq + (1.0 - keep) * freq / factor
            }
            Scaling::Ntk { stretch } => plain(theta * stretch.powf(dim / (dim - 2.0))),
            Scaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
                // The pair that turns so many times within the original context.
                let pair =
                    |turns: f64| dim * (original_context / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
                let (low, high) = (pair(beta_fast), pair(beta_slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dim - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                freq / factor * stretched + freq * (1.0 - stretched)
            }
            Scaling::Long { ref factors, .. } => freq / f64::from(factors[i]),
        }
    }

    /// What turning multiplies queries and keys by.
    fn gain(&self) -> f64 {
        match *self {
            Scaling::Yarn { gain, .. } | Scaling::Long { gain, .. } => gain,
            _ => 1.0,
        }
    }
}

/// The context that a file is packed for: the one `asked` for, if the model takes it, else the one that its frequencies
/// `reach`.
pub(crate) fn context(asked: Option<usize>, trained: usize, reach: usize) -> Result<usize> {
    let longest = reach.max(trained);
    match asked {
        Some(context) if context == 0 || context > longest => {
            Err(bad(format!("a context of {context} tokens; this model takes 1 to {longest}")))
        }
        asked => Ok(asked.unwrap_or(reach)),
    }
}

/// How many times as long as its original context a model's context is.
pub(crate) fn stretch(trained: usize, original: usize) -> f64 {
    trained as f64 / original.max(1) as f64
}

/// YaRN's gain for a factor (arXiv:2309.00071, equation 22), its slope times `mscale`.
pub(crate) fn yarn_gain(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

/// LongRoPE's gain for a context `factor` times as long as the original one (arXiv:2404.14219, the model's own code).
pub(crate) fn long_gain(factor: f64, original_context: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original_context.ln()).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(theta: f64, scaling: Scaling, factors: Option<&[f32]>) -> Result<Vec<f32>> {
        Rope { theta, scaling, factors: factors.map(<[f32]>::to_vec) }.table(8).map(|(table, _)| table)
    }

    #[test]
    fn plain_frequencies() {
        assert_eq!(table(10000.0, Scaling::None, None).unwrap(), [1.0, 0.1, 0.01, 0.001]);
        let linear = Scaling::Linear { factor: 4.0 };
        assert_eq!(table(10000.0, linear, None).unwrap(), [0.25, 0.025, 0.0025, 0.00025]);
        let factors = [1.0, 2.0, 4.0, 8.0];
        let expected = [1.0, 0.05, 0.0025, 0.000125];
        assert_eq!(table(10000.0, Scaling::None, Some(&factors)).unwrap(), expected);
        let long =
            Rope { theta: 10000.0, scaling: Scaling::Long { factors: factors.to_vec(), gain: 1.5 }, factors: None };
        assert_eq!(long.table(8).unwrap(), (expected.to_vec(), 1.5));
        // A base 16^(8/6) times as large leaves the first frequency and divides the last by 16.
        let ntk = table(10000.0, Scaling::Ntk { stretch: 16.0 }, None).unwrap();
        assert!(ntk[0] == 1.0 && (ntk[3] / (0.001 / 16.0) - 1.0).abs() < 1e-6, "{ntk:?}");
    }

    /// Llama 3.1's own numbers, head_dim 128: against the formula as Hugging Face's transformers states it, through
    /// wavelengths.
    #[test]
    fn llama3_frequencies() {
        let (factor, low, high, context) = (8.0, 1.0, 4.0, 8192.0);
        let scaling =
            Scaling::Llama3 { factor, low_freq_factor: low, high_freq_factor: high, original_context: context };
        let (got, _) = Rope { theta: 500000.0, scaling, factors: None }.table(128).unwrap();
        let mut seen = [0; 3];
        for (i, got) in got.into_iter().enumerate() {
            let freq = 500000f64.powf(-(i as f64) / 64.0);
            let wave = std::f64::consts::TAU / freq;
            let want = if wave < context / high {
                seen[0] += 1;
                freq
            } else if wave > context / low {
                seen[1] += 1;
                freq / factor
            } else {
                seen[2] += 1;
                let smooth = (context / wave - low) / (high - low);
                (1.0 - smooth) * freq / factor + smooth * freq
            };
            assert!((f64::from(got) / want - 1.0).abs() < 1e-6, "{i}: {got} against {want}");
        }
        assert!(seen.iter().all(|n| *n > 3), "{seen:?}");
    }

    /// High frequencies stay, low ones are divided, and the gains are the papers'.
    #[test]
    fn yarn_frequencies() {
        let scaling = Scaling::Yarn {
            factor: 4.0,
            original_context: 32768.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            gain: yarn_gain(4.0, 1.0),
        };
        let (got, gain) = Rope { theta: 1e6, scaling, factors: None }.table(128).unwrap();
        assert!((gain - 1.138_629_436_111_989).abs() < 1e-12);
        let ratio = |i: usize| f64::from(got[i]) / 1e6f64.powf(-(i as f64) / 64.0);
        assert!((ratio(0) - 1.0).abs() < 1e-6 && (ratio(23) - 1.0).abs() < 1e-6);
        assert!((ratio(63) - 0.25).abs() < 1e-6 && (ratio(40) - 0.25).abs() < 1e-6);
        assert!((24..39).all(|i| ratio(i + 1) < ratio(i)));
        assert_eq!(yarn_gain(1.0, 1.0), 1.0);
        assert!((long_gain(32.0, 4096.0) - 1.190_238_071_423_809).abs() < 1e-6);
    }

    #[test]
    fn senseless_scalings_are_refused() {
        for scaling in [
            Scaling::Linear { factor: 0.0 },
            Scaling::Linear { factor: f64::NAN },
            Scaling::Linear { factor: 1e300 },
            Scaling::Ntk { stretch: -1.0 },
            Scaling::Long { factors: vec![1.0; 3], gain: 1.0 },
            Scaling::Long { factors: vec![1.0; 4], gain: f64::NAN },
            Scaling::Llama3 { factor: 8.0, low_freq_factor: 4.0, high_freq_factor: 4.0, original_context: 8192.0 },
        ] {
            assert!(table(10000.0, scaling.clone(), None).is_err(), "{scaling:?}");
        }
        for theta in [0.0, 1.0, -5.0, f64::INFINITY, f64::NAN] {
            assert!(table(theta, Scaling::None, None).is_err(), "{theta}");
        }
        for factors in [&[1.0f32; 3][..], &[1.0, 1.0, 0.0, 1.0], &[1.0, f32::NAN, 1.0, 1.0]] {
            assert!(table(10000.0, Scaling::None, Some(factors)).is_err(), "{factors:?}");
        }
    }
}
