//! Progress on stderr: bars with the remaining time on a terminal, plain lines otherwise.

use crate::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rasp_packer::Progress;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A log gets a line this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub enum Reporter {
    Bars(ProgressBar),
    Lines { what: String, total: u64, done: u64, start: Instant, last: Instant },
}

impl Reporter {
    pub fn new() -> Reporter {
        if std::io::stderr().is_terminal() {
            return Reporter::Bars(ProgressBar::hidden());
        }
        let now = Instant::now();
        Reporter::Lines { what: String::new(), total: 0, done: 0, start: now, last: now }
    }
}

impl Progress for Reporter {
    fn begin(&mut self, what: &str, total: u64) {
        match self {
            Reporter::Bars(bar) => {
                *bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{msg:26} {wide_bar} {pos}/{len}  {eta} left");
                if let Ok(style) = style {
                    bar.set_style(style);
                }
                bar.set_message(what.to_string());
            }
            Reporter::Lines { what: stage, total: all, done, start, last } => {
                say(&format!("{what}: {total}"));
                (*stage, *all, *done) = (what.to_string(), total, 0);
                (*start, *last) = (Instant::now(), Instant::now());
            }
        }
    }

    fn advance(&mut self, by: u64) {
        match self {
            Reporter::Bars(bar) => bar.inc(by),
            Reporter::Lines { what, total, done, start, last } => {
                *done += by;
                if last.elapsed() >= LINE_EVERY && *done < *total {
                    let left = start.elapsed().as_secs_f64() / *done as f64 * (*total - *done) as f64;
                    say(&format!("{what}: {done} of {total}, {left:.0} s left"));
                    *last = Instant::now();
                }
            }
        }
    }

    fn end(&mut self) {
        match self {
            Reporter::Bars(bar) => bar.finish_and_clear(),
            Reporter::Lines { what, start, .. } => {
                say(&format!("{what}: done in {:.1} s", start.elapsed().as_secs_f64()))
            }
        }
    }

    fn note(&mut self, line: &str) {
        match self {
            // A bar that is not drawn prints nothing.
            Reporter::Bars(bar) if !bar.is_hidden() && !bar.is_finished() => bar.println(line),
            Reporter::Bars(_) | Reporter::Lines { .. } => say(line),
        }
    }
}
