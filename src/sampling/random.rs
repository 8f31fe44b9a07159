//! Random numbers whose state can be saved: xoshiro256++ (Blackman and Vigna, arXiv:1805.01407), started by SplitMix64.

/// A generator of 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Random([u64; 4]);

impl Random {
    /// The generator that starts at `seed`.
    pub(crate) fn new(mut seed: u64) -> Random {
        Random([(); 4].map(|()| {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (seed ^ seed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ z >> 31
        }))
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let number = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        number
    }

    /// A number from 0 to below 1, of 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> [u64; 4] {
        self.0
    }

    /// A generator that stands there. `None` for the one state that none is ever in.
    pub(crate) fn from_state(state: [u64; 4]) -> Option<Random> {
        (state != [0; 4]).then_some(Random(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_xoshiro() {
        // The authors' test vector, as crates that implement it have it.
        let mut random = Random::from_state([1, 2, 3, 4]).unwrap();
        let expected = [41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205];
        assert_eq!([(); 5].map(|()| random.next()), expected);
        assert_eq!(Random::from_state(random.state()), Some(random));
        assert_eq!(Random::from_state([0; 4]), None);
    }

    #[test]
    fn a_seed_gives_the_numbers_it_always_gave() {
        // SplitMix64 from 0.
        assert_eq!(Random::new(0).state()[..2], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }
}
