//! A library without the feature `reserve`: nothing is set aside, and a failed allocation ends the process, as
//! elsewhere in Rust.

use crate::Result;

/// Runs `body`.
///
/// # Safety
/// Nothing is asked for; where there is a reserve, something is.
pub(crate) unsafe fn within<T>(_bytes: usize, body: impl FnOnce() -> Result<T>) -> Result<T> {
    body()
}

/// Sets nothing aside.
pub(crate) fn more(_bytes: usize) -> Result<()> {
    Ok(())
}

/// Runs `foreign`.
pub(crate) fn outside<T>(foreign: impl FnOnce() -> T) -> T {
    foreign()
}

/// It is not known here.
#[cfg_attr(not(feature = "constrained"), allow(dead_code))]
pub(crate) fn held() -> usize {
    0
}
