//! The floating-point environment: how results are rounded, what becomes of subnormal numbers, and which exceptions
//! trap.
//!
//! It belongs to the thread, and a host may have set it to anything (rounding towards zero, flushing to zero, a trap on
//! underflow). Bits must not hang on that: each call of the C border, and each thread that works for one, computes in
//! the default environment of IEEE 754 and gives the host its own back.

/// The default environment while this lives; then the one that was there before.
pub(crate) struct FloatEnv(Option<Word>);

impl FloatEnv {
    /// Sets the default environment, unless it is set.
    pub(crate) fn standard() -> FloatEnv {
        let before = read();
        // Flags of exceptions that have happened are no setting: they are given back only where something else is.
        if before & !FLAGS == STANDARD {
            return FloatEnv(None);
        }
        write(STANDARD);
        FloatEnv(Some(before))
    }
}

impl Drop for FloatEnv {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            write(before);
        }
    }
}

/// MXCSR, as far as SSE computes; x87 is used for nothing but handing over results, which it does not change.
#[cfg(all(not(miri), any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse"))))]
mod control {
    use std::arch::asm;

    pub(super) type Word = u32;
    /// Exceptions masked, to nearest, no flushing.
    pub(super) const STANDARD: Word = 0x1f80;
    pub(super) const FLAGS: Word = 0x3f;

    pub(super) fn read() -> Word {
        let mut word: Word = 0;
        // SAFETY: writes the four bytes of `word` and touches nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: reads four bytes. The word is STANDARD or was read from the register, so no reserved bit is set; code
        // compiled by Rust expects STANDARD, and a host's own word is put back only on the way to the host.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags)) };
    }
}

/// FPCR; the flags are in another register.
#[cfg(all(not(miri), target_arch = "aarch64"))]
mod control {
    use std::arch::asm;

    pub(super) type Word = u64;
    /// No traps, to nearest, no flushing.
    pub(super) const STANDARD: Word = 0;
    pub(super) const FLAGS: Word = 0;

    pub(super) fn read() -> Word {
        let word: Word;
        // SAFETY: reads a register that any program may read.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: the word is STANDARD or was read from the register; code compiled by Rust expects STANDARD, and a
        // host's own word is put back only on the way to the host.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

/// Elsewhere it is the host's to keep the default; and under Miri, which knows no inline assembly.
#[cfg(any(
    miri,
    not(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse"), target_arch = "aarch64"))
))]
mod control {
    pub(super) type Word = u32;
    pub(super) const STANDARD: Word = 0;
    pub(super) const FLAGS: Word = 0;

    pub(super) fn read() -> Word {
        STANDARD
    }

    pub(super) fn write(_: Word) {}
}

use control::{FLAGS, STANDARD, Word, read, write};

#[cfg(all(test, not(miri), any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use super::*;

    /// Flushes to zero and rounds towards zero.
    #[cfg(target_arch = "x86_64")]
    const ODD: Word = STANDARD | 0x8000 | 0x6000;
    #[cfg(target_arch = "aarch64")]
    const ODD: Word = 1 << 24 | 3 << 22;

    /// A call, so that the division stays where it is written: the compiler knows nothing of the environment.
    #[inline(never)]
    fn third(one: f32) -> f32 {
        use std::hint::black_box;
        black_box(black_box(one) / black_box(3.0))
    }

    #[test]
    fn the_hosts_environment_is_set_aside_and_given_back() {
        let nearest = third(2.0);
        write(ODD);
        let odd = (third(2.0), read() & !FLAGS);
        let inside = {
            let _standard = FloatEnv::standard();
            (third(2.0), read() & !FLAGS)
        };
        let after = read() & !FLAGS;
        write(STANDARD);
        assert_eq!((inside, after), ((nearest, STANDARD), ODD));
        assert!(odd.1 == ODD && odd.0 < nearest);
    }
}
