//! What the benches share: time, medians, random data.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    /// bf16 patterns of numbers in about [-1, 1].
    pub fn bf16(&mut self, n: usize) -> Vec<u16> {
        (0..n).map(|_| half::bf16::from_f32(self.unit() * 2.0 - 1.0).to_bits()).collect()
    }
}

/// Seconds that `run` takes this thread, not counting those it waited for a CPU: the machines that
/// measure are shared.
pub fn time(run: impl FnOnce()) -> f64 {
    let start = now();
    run();
    now() - start
}

#[cfg(unix)]
fn now() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(unix))]
fn now() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `n` values on a cache line of their own, as an engine's arena gives them; never freed.
#[allow(dead_code)] // not all benches need it
pub fn aligned<T: Clone>(n: usize, value: T) -> &'static mut [T] {
    let spare = 64 / size_of::<T>();
    let memory = vec![value; n + spare].leak();
    let start = memory.as_ptr().align_offset(64);
    &mut memory[start..start + n]
}
