//! How products in whole numbers read ahead. What helps depends on where a processor's misses wait and on how many runs
//! of addresses its own prefetcher follows; the bits of a product do not depend on it.

/// Bytes of a row up to which few are read side by side where that depends on them: of all rows, and of some, each of
/// which begins anew.
const SHORT: usize = 2048;
const SHORT_OF_SOME: usize = 1024;

/// What of a matrix is sent for before it is needed, and how many rows are read side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefetch {
    /// Of all rows of a group, a little ahead into L1: where nothing is known.
    Near,
    /// The next group's rows into L2: where those misses wait there (Zen 4: 22 GB/s for 7 to 17,
    /// `docs/lab/2026-11-28-integer-decode.md`).
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Far,
    /// Of half a group's rows, further ahead into L1: where the CPU's prefetcher follows some sixteen runs well, and 32
    /// badly (Zen 5: 25 GB/s for 19 dense, 24 for 15 at half the channels, in
    /// `docs/lab/2026-11-30-speed-zen5-reading.md`).
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Few,
    /// As [`Few`](Prefetch::Few) where rows are short, else as [`Near`](Prefetch::Near): where the CPU's prefetcher
    /// does better alone once a run is long (Emerald Rapids, all rows: 14.8 GB/s for 11.3 where they are short, in
    /// `docs/lab/2026-11-30-speed-emerald-rapids.md`).
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    FewIfShort,
}

impl Prefetch {
    /// What suits a product that reads so many bytes of all rows, or of `some`.
    pub(crate) fn of_rows(self, bytes: usize, some: bool) -> Prefetch {
        let short = bytes <= if some { SHORT_OF_SOME } else { SHORT };
        if self == Prefetch::FewIfShort && short { Prefetch::Few } else { self }
    }

    /// What suits this CPU.
    pub(crate) fn of_this_cpu() -> Prefetch {
        #[cfg(target_arch = "x86_64")]
        return crate::x86_64::prefetch();
        #[cfg(not(target_arch = "x86_64"))]
        return Prefetch::Near;
    }
}
