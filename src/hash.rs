//! XXH64 (Collet, <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>): finds damage, not malice.

const PRIME: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

fn round(sum: u64, lane: u64) -> u64 {
    sum.wrapping_add(lane.wrapping_mul(PRIME[1])).rotate_left(31).wrapping_mul(PRIME[0])
}

/// The 64-bit hash of `bytes`.
pub(crate) fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = Xxh64::new(seed);
    hash.update(bytes);
    hash.finish()
}

/// A hash in the making, of bytes that come piece by piece.
pub(crate) struct Xxh64 {
    seed: u64,
    sums: [u64; 4],
    /// What does not fill a stripe yet.
    waiting: [u8; 32],
    len: u64,
}

impl Xxh64 {
    pub(crate) fn new(seed: u64) -> Xxh64 {
        let first = seed.wrapping_add(PRIME[0]).wrapping_add(PRIME[1]);
        let sums = [first, seed.wrapping_add(PRIME[1]), seed, seed.wrapping_sub(PRIME[0])];
        Xxh64 { seed, sums, waiting: [0; 32], len: 0 }
    }

    fn stripe(sums: &mut [u64; 4], stripe: &[u8; 32]) {
        for (sum, lane) in sums.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *sum = round(*sum, u64::from_le_bytes(*lane));
        }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let waiting = (self.len % 32) as usize;
        self.len += bytes.len() as u64;
        if waiting > 0 {
            let taken = bytes.len().min(32 - waiting);
            self.waiting[waiting..waiting + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if waiting + taken < 32 {
                return;
            }
            Self::stripe(&mut self.sums, &self.waiting);
        }
        let (stripes, rest) = bytes.as_chunks::<32>();
        // A copy, which stays in registers.
        let mut sums = self.sums;
        stripes.iter().for_each(|stripe| Self::stripe(&mut sums, stripe));
        self.sums = sums;
        self.waiting[..rest.len()].copy_from_slice(rest);
    }

    pub(crate) fn finish(&self) -> u64 {
        let sums = &self.sums;
        let mut hash = if self.len < 32 {
            self.seed.wrapping_add(PRIME[4])
        } else {
            let rotated =
                sums.iter().zip([1, 7, 12, 18]).fold(0u64, |h, (sum, by)| h.wrapping_add(sum.rotate_left(by)));
            sums.iter().fold(rotated, |h, &sum| (h ^ round(0, sum)).wrapping_mul(PRIME[0]).wrapping_add(PRIME[3]))
        };
        hash = hash.wrapping_add(self.len);
        let mut rest = &self.waiting[..(self.len % 32) as usize];
        while let Some((word, more)) = rest.split_first_chunk::<8>() {
            hash ^= round(0, u64::from_le_bytes(*word));
            hash = hash.rotate_left(27).wrapping_mul(PRIME[0]).wrapping_add(PRIME[3]);
            rest = more;
        }
        if let Some((word, more)) = rest.split_first_chunk::<4>() {
            hash ^= u64::from(u32::from_le_bytes(*word)).wrapping_mul(PRIME[0]);
            hash = hash.rotate_left(23).wrapping_mul(PRIME[1]).wrapping_add(PRIME[2]);
            rest = more;
        }
        for &byte in rest {
            hash = (hash ^ u64::from(byte).wrapping_mul(PRIME[4])).rotate_left(11).wrapping_mul(PRIME[0]);
        }
        hash = (hash ^ hash >> 33).wrapping_mul(PRIME[1]);
        hash = (hash ^ hash >> 29).wrapping_mul(PRIME[2]);
        hash ^ hash >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes 0, 1, 2, …: how many, seed, and the hash that the reference implementation gives.
    const VALUES: [(usize, u64, u64); 9] = [
        (0, 0, 0xef46db3751d8e999),
        (1, 0, 0xe934a84adb052768),
        (3, 7, 0x5ab1230478ca6310),
        (12, 0, 0x424af23f1f08dca5),
        (31, 1, 0xf031031d65977dfc),
        (32, 0, 0xcbf59c5116ff32b4),
        (47, 9, 0x8a3eb0ac7b8dbe6c),
        (255, 0, 0x0f7d97507caad693),
        (256, u64::MAX, 0x9fd2bfcee8985e7f),
    ];

    #[test]
    fn known_values() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (length, seed, expected) in VALUES {
            assert_eq!(xxh64(&bytes[..length], seed), expected, "{length} bytes, seed {seed}");
        }
    }
}
