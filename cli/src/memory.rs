//! What the C library does with memory that is given back.

/// Has it kept for what asks next. Packing widens the weights of block after block and passes them once; as mappings of
/// their own they would come as fresh pages each time, a seventh of the time of tuning
/// (`docs/lab/2026-12-01-quality-noise-of-tuning.md`). To be called before there are other threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_what_is_freed() {
    // One heap: the heaps of other threads hold no more than 64 MB, and map what is larger.
    let settings = [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_MAX, 0), (libc::M_TRIM_THRESHOLD, i32::MAX)];
    for (parameter, value) in settings {
        // SAFETY: it takes numbers alone, and any parameter it does not know it refuses.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other C libraries are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_what_is_freed() {}
