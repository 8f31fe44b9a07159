//! Ctrl-C and SIGTERM while a file is packed: its temporary files go first.

use std::path::Path;

/// From here on, SIGINT, SIGTERM and SIGHUP take the temporary files beside `output` away before they end the process.
/// Called once, before other threads are started: those take over that the signals wait for the one that looks for
/// them.
#[cfg(unix)]
pub fn remove_temporary_files(output: &Path) {
    let output = output.to_path_buf();
    let mut signals = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised first, and is valid for each call; the old mask is not asked for.
    let signals = unsafe {
        libc::sigemptyset(signals.as_mut_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(signals.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, signals.as_ptr(), std::ptr::null_mut());
        signals.assume_init()
    };
    let wait = move || {
        let mut signal = 0;
        // SAFETY: both are valid; the signals of the set are blocked in every thread.
        if unsafe { libc::sigwait(&signals, &mut signal) } != 0 {
            return;
        }
        rasp_packer::remove_temporary_files(&output, |process| process == std::process::id());
        // The process ends as the signal would have ended it, so that a shell sees which it was.
        // SAFETY: the signal's own action, then the signal, which no thread but this one lets through.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut());
            libc::raise(signal);
        }
        std::process::exit(128 + signal);
    };
    // Without the thread the signals would wait for ever.
    if std::thread::Builder::new().spawn(wait).is_err() {
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &signals, std::ptr::null_mut()) };
    }
}

#[cfg(not(unix))]
pub fn remove_temporary_files(_: &Path) {}
