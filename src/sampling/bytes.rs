//! What later versions added to the settings, and Mirostat's bound, as bytes of a saved state.
//!
//! Little-endian: presence_penalty, frequency_penalty, top_n_sigma, typical_p, xtc_probability, xtc_threshold,
//! dry_multiplier, dry_base, dry_allowed_length, dry_window, mirostat_tau, mirostat_eta and the bound, 4 bytes each;
//! the stages in their order, a byte each, and a 0.

use super::{STAGES, SamplerOrder, Sampling};

/// Bytes that are added.
pub(crate) const MORE: usize = 13 * 4 + STAGES + 1;

impl Sampling {
    /// Those bytes, unless all is as it was without them.
    pub(crate) fn more(&self, surprise: f32) -> Option<[u8; MORE]> {
        let &Sampling { temperature, top_k, top_p, min_p, repetition_penalty, repetition_window, seed, .. } = self;
        let first = Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            repetition_window,
            seed,
            ..Sampling::default()
        };
        if *self == first {
            return None;
        }
        let mut bytes = [0; MORE];
        let words = [
            self.presence_penalty.to_bits(),
            self.frequency_penalty.to_bits(),
            self.top_n_sigma.to_bits(),
            self.typical_p.to_bits(),
            self.xtc_probability.to_bits(),
            self.xtc_threshold.to_bits(),
            self.dry_multiplier.to_bits(),
            self.dry_base.to_bits(),
            self.dry_allowed_length,
            self.dry_window,
            self.mirostat_tau.to_bits(),
            self.mirostat_eta.to_bits(),
            surprise.to_bits(),
        ];
        let (to, stages) = bytes.as_chunks_mut::<4>().0.split_at_mut(words.len());
        to.iter_mut().zip(words).for_each(|(to, word)| *to = word.to_le_bytes());
        stages.as_flattened_mut().copy_from_slice(&self.order.to_bytes());
        Some(bytes)
    }

    /// Settings with what these bytes add, and the bound; `None` if the order is none.
    pub(crate) fn with_more(self, bytes: &[u8; MORE]) -> Option<(Sampling, f32)> {
        let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let mut word = || words.next().unwrap_or_default();
        let mut float = || f32::from_bits(word());
        let mut settings = Sampling {
            presence_penalty: float(),
            frequency_penalty: float(),
            top_n_sigma: float(),
            typical_p: float(),
            xtc_probability: float(),
            xtc_threshold: float(),
            dry_multiplier: float(),
            dry_base: float(),
            ..self
        };
        (settings.dry_allowed_length, settings.dry_window) = (word(), word());
        (settings.mirostat_tau, settings.mirostat_eta) = (f32::from_bits(word()), f32::from_bits(word()));
        let surprise = f32::from_bits(word());
        let order = *bytes.last_chunk()?;
        // Whole, as it was written.
        settings.order = SamplerOrder::from_bytes(order).ok().filter(|all| all.to_bytes() == order)?;
        Some((settings, surprise))
    }
}

#[cfg(test)]
mod tests {
    use super::super::SamplerStage;
    use super::*;

    #[test]
    fn what_is_added_comes_back() {
        let first = Sampling { temperature: 0.7, top_k: 9, seed: 4, ..Sampling::default() };
        assert_eq!(first.more(0.0), None);
        let settings = Sampling {
            presence_penalty: 0.25,
            frequency_penalty: -0.5,
            top_n_sigma: 1.5,
            typical_p: 0.9,
            xtc_probability: 0.5,
            xtc_threshold: 0.2,
            dry_multiplier: 0.8,
            dry_base: 2.0,
            dry_allowed_length: 3,
            dry_window: 77,
            mirostat_tau: 5.0,
            mirostat_eta: 0.2,
            order: SamplerOrder::new(&[SamplerStage::Xtc, SamplerStage::MinP]).unwrap(),
            ..first
        };
        let bytes = settings.more(3.5).unwrap();
        assert_eq!(first.with_more(&bytes), Some((settings, 3.5)));
        for (at, value) in [(MORE - 1, 1), (MORE - 2, 0), (MORE - 2, SamplerStage::Xtc as u8)] {
            let mut bytes = bytes;
            bytes[at] = value;
            assert_eq!(first.with_more(&bytes), None, "byte {at}");
        }
    }
}
