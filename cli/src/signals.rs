//! Ctrl-C and SIGTERM: temporary files go first, and an answer in a chat stops alone.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a signal finds.
struct SignalState {
    /// Beside which files the temporary ones lie.
    outputs: Vec<PathBuf>,
    /// What stops the answer under way.
    answer: Option<Arc<AtomicBool>>,
}

static HELD: Mutex<SignalState> = Mutex::new(SignalState { outputs: Vec::new(), answer: None });

fn held() -> MutexGuard<'static, SignalState> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on, SIGINT, SIGTERM and SIGHUP take the temporary files beside these away before they end the process.
pub fn remove_temporary_files<'a>(outputs: impl IntoIterator<Item = &'a PathBuf>) {
    held().outputs.extend(outputs.into_iter().cloned());
    listen();
}

/// While the guard lives, the first SIGINT sets `flag` and does nothing else.
pub fn interrupts(flag: &Arc<AtomicBool>) -> Interrupts {
    held().answer = Some(flag.clone());
    listen();
    Interrupts
}

pub struct Interrupts;

impl Drop for Interrupts {
    fn drop(&mut self) {
        held().answer = None;
    }
}

/// Starts the thread that the signals wake, once.
#[cfg(unix)]
fn listen() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        // Without them a signal ends the process as it does any other.
        let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
        let wait = move || {
            for signal in signals.forever() {
                let mut held = held();
                if let Some(flag) = held.answer.take_if(|_| signal == SIGINT) {
                    flag.store(true, std::sync::atomic::Ordering::Relaxed);
                    continue;
                }
                rasp_packer::remove_own_temporary_files(held.outputs.iter().map(PathBuf::as_path));
                // The process ends as the signal would have ended it, so that a shell sees which it was.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        };
        if std::thread::Builder::new().spawn(wait).is_err() {
            // Nobody hears the signals; as by default, they end the process.
            for signal in [SIGINT, SIGTERM, SIGHUP] {
                let _ = signal_hook::flag::register_conditional_default(signal, Arc::new(AtomicBool::new(true)));
            }
        }
    });
}

#[cfg(not(unix))]
fn listen() {}
