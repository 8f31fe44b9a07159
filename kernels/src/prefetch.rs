//! How products in whole numbers read ahead. What helps depends on where a processor's misses wait and on how many runs
//! of addresses its own prefetcher follows; the bits of a product do not depend on it.

/// What of a matrix is sent for before it is needed, and how many rows are read side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefetch {
    /// Of all rows of a group, a little ahead into L1: where software's prefetches wait among the loads' own misses,
    /// and the CPU's prefetcher does better alone (Intel: 13 GB/s for 9.5, `docs/lab/2026-11-28-integer-decode.md`).
    Near,
    /// The next group's rows into L2: where those misses wait there (Zen 4: 22 GB/s for 7 to 17, the same page).
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Far,
    /// Of half a group's rows, further ahead into L1: where the CPU's prefetcher follows some sixteen runs well, and 32
    /// badly (Zen 5: 25 GB/s for 19 dense, 24 for 15 at half the channels, in
    /// `docs/lab/2026-11-30-speed-zen5-reading.md`).
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Few,
}

impl Prefetch {
    /// What suits this CPU.
    pub(crate) fn of_this_cpu() -> Prefetch {
        #[cfg(target_arch = "x86_64")]
        return crate::x86_64::prefetch();
        #[cfg(not(target_arch = "x86_64"))]
        return Prefetch::Near;
    }
}
