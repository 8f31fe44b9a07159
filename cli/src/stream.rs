//! How fast this machine's memory can be read: what the speed of decoding is compared with.

use rasp::{Error, Result, Status};

/// Memory far larger than any cache, to be read from end to end.
pub struct StreamBuffer {
    /// One piece a thread.
    pieces: Vec<Vec<u64>>,
}

/// Bytes of all pieces together, at least.
const SMALLEST: usize = 512 << 20;

/// And at most: no machine has a last-level cache near this.
const LARGEST: usize = 4 << 30;

/// Numbers added at once in each place: one cache line.
const LANES: usize = 8;

/// Places in its piece that a thread reads in turns, a line of each. One place leaves bandwidth unused, as a
/// processor's prefetcher stops at every page; and places a power of two apart share the same few sets of every cache.
/// Measured on an AMD EPYC (Zen) with 4 KiB pages, one thread, medians of 13 rounds: one place 14 to 15 GB/s, eight
/// places 64 MiB apart 14 to 16, eight places [an odd distance](ODD) apart 20 to 21, which is also what eight places in
/// a mapped file gave. Huge pages added nothing.
const PLACES: usize = 8;

/// How many lines a distance between places falls short of a multiple of [`SETS`].
const ODD: usize = 73;

/// A multiple of the sets of first and second level caches.
const SETS: usize = 1024;

/// Passes of one measurement, the fastest of which counts: it is the ceiling that is wanted, and whatever else the
/// machine does can only lower it.
const PASSES: usize = 5;

impl StreamBuffer {
    /// At least eight times the last-level cache, in pieces for so many threads.
    pub fn new(threads: usize) -> Result<StreamBuffer> {
        let bytes = last_level_cache().unwrap_or(0).saturating_mul(8).clamp(SMALLEST, LARGEST);
        let words = bytes / 8 / threads;
        // Each thread writes its own piece first, so that it lies in the memory next to that thread's processor. Not
        // zeros: the system may serve those from one page.
        let fill = |thread: usize| {
            let mut piece = Vec::new();
            piece.try_reserve_exact(words).ok()?;
            piece.extend((0..words as u64).map(|i| i ^ thread as u64));
            Some(piece)
        };
        let pieces: Option<Vec<_>> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || fill(thread))).collect();
            writers.into_iter().map(|writer| writer.join().ok().flatten()).collect()
        });
        let message = || format!("no memory for {bytes} bytes to measure its bandwidth with");
        Ok(StreamBuffer { pieces: pieces.ok_or_else(|| Error::new(Status::OutOfMemory, message()))? })
    }

    /// Gigabytes a second that the threads read side by side, each its own piece.
    pub fn gb_s(&self) -> f64 {
        (0..PASSES).map(|_| self.pass()).fold(0.0, f64::max)
    }

    fn pass(&self) -> f64 {
        let start = std::time::Instant::now();
        let total = std::thread::scope(|scope| {
            let (own, others) = self.pieces.split_first().map_or((&[][..], &[][..]), |(own, others)| (own, others));
            let readers: Vec<_> = others.iter().map(|piece| scope.spawn(|| sum(piece))).collect();
            // As in a session, the calling thread is one of them.
            readers.into_iter().fold(sum(own), |total, reader| total ^ reader.join().unwrap_or(0))
        });
        let elapsed = start.elapsed().as_secs_f64();
        std::hint::black_box(total);
        self.pieces.iter().map(|piece| piece.len() * 8).sum::<usize>() as f64 / elapsed / 1e9
    }
}

/// Bytes of the largest cache that the first processor has a part in; `None` where the system does not say.
fn last_level_cache() -> Option<usize> {
    let folder = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let sizes =
        folder.flatten().filter_map(|entry| cache_size(&std::fs::read_to_string(entry.path().join("size")).ok()?));
    sizes.max()
}

/// A size as Linux writes it: `32768K`.
fn cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// The sum of all words, as fast as they come.
fn sum(words: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { sum_avx2(words) };
    }
    sum_in_places(words)
}

/// The same code with loads of 32 bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(words: &[u64]) -> u64 {
    sum_in_places(words)
}

/// Adds up [`PLACES`] parts of `words` in turns, a cache line of each. The compiler makes vectors of the lanes as long
/// as it can see that all parts are equally long and every place has lanes of its own: with iterators over the lines,
/// or one set of lanes for all, the same sum read 9 GB/s where this reads 20.
#[inline(always)]
fn sum_in_places(words: &[u64]) -> u64 {
    let lines = match words.len() / LANES / PLACES {
        many if many >= SETS => many / SETS * SETS - ODD,
        few => few,
    };
    let (together, rest) = words.split_at(lines * LANES * PLACES);
    let parts: [&[u64]; PLACES] = std::array::from_fn(|place| &together[place * lines * LANES..][..lines * LANES]);
    let mut lanes = [[0u64; LANES]; PLACES];
    for line in 0..lines {
        for (lanes, part) in lanes.iter_mut().zip(parts) {
            for (lane, word) in lanes.iter_mut().zip(&part[line * LANES..][..LANES]) {
                *lane = lane.wrapping_add(*word);
            }
        }
    }
    lanes.iter().flatten().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once() {
        for len in [0, 1, 63, 64, 65, 1000, 4096, 1024 * 64, 200_003] {
            let words: Vec<u64> = (0..len).map(|i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
            let expected = words.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
            assert_eq!((sum(&words), sum_in_places(&words)), (expected, expected), "{len} words");
        }
    }

    #[test]
    fn cache_sizes_as_linux_writes_them() {
        assert_eq!(cache_size("32768K\n"), Some(32 << 20));
        assert_eq!(cache_size("1M"), Some(1 << 20));
        assert_eq!(cache_size(""), None);
        assert_eq!(cache_size("K"), None);
    }
}
