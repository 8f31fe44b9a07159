//! Progress on stderr: bars on a terminal, plain lines otherwise; each stage with its number, its remaining time and
//! that of the whole.

use crate::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rasp_packer::{Progress, Stage};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A log gets a line this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A bar tells the remaining time anew this often.
const BAR_EVERY: Duration = Duration::from_secs(1);

pub struct Reporter {
    whole: RunProgress,
    /// The stage under way, with its number.
    what: String,
    total: u64,
    done: u64,
    start: Instant,
    last: Instant,
    /// On a terminal.
    bar: Option<ProgressBar>,
}

impl Reporter {
    pub fn new() -> Reporter {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(ProgressBar::hidden);
        Reporter { whole: RunProgress::new(vec![]), what: String::new(), total: 0, done: 0, start: now, last: now, bar }
    }

    /// `12 s left, 3 min in all`.
    fn left(&self) -> String {
        let share = self.done as f64 / self.total.max(1) as f64;
        let stage = self.start.elapsed().as_secs_f64() * (1.0 / share.max(1e-9) - 1.0);
        let whole =
            self.whole.left(share).map_or(String::new(), |left| format!(", {} in all", duration(left.max(stage))));
        match self.done {
            0 => whole.trim_start_matches(", ").into(),
            _ => format!("{} left{whole}", duration(stage)),
        }
    }
}

impl Progress for Reporter {
    fn expect(&mut self, stages: Vec<Stage>) {
        self.whole = RunProgress::new(stages);
    }

    fn begin(&mut self, what: &str, total: u64) {
        self.what = self.whole.enter(what);
        (self.total, self.done) = (total, 0);
        (self.start, self.last) = (Instant::now(), Instant::now());
        match &mut self.bar {
            None => say(&format!("{}: {total}", self.what)),
            Some(bar) => {
                *bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{prefix:32} {wide_bar} {pos}/{len}  {msg}") {
                    bar.set_style(style);
                }
                bar.set_prefix(self.what.clone());
            }
        }
    }

    fn advance(&mut self, by: u64) {
        self.done += by;
        let due = |every| self.last.elapsed() >= every && self.done < self.total;
        match &self.bar {
            Some(bar) => {
                if due(BAR_EVERY) {
                    bar.set_message(self.left());
                    self.last = Instant::now();
                }
                bar.inc(by);
            }
            None if due(LINE_EVERY) => {
                say(&format!("{}: {} of {}, {}", self.what, self.done, self.total, self.left()));
                self.last = Instant::now();
            }
            None => {}
        }
    }

    fn end(&mut self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => say(&format!("{}: done in {:.1} s", self.what, self.start.elapsed().as_secs_f64())),
        }
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            // A bar that is not drawn prints nothing.
            Some(bar) if !bar.is_hidden() && !bar.is_finished() => bar.println(line),
            _ => say(line),
        }
    }
}

/// How far a run has come through the stages it was said to have.
struct RunProgress {
    stages: Vec<Stage>,
    /// The one under way, and how many of its parts have begun.
    at: Option<(usize, f64)>,
    start: Instant,
}

impl RunProgress {
    fn new(stages: Vec<Stage>) -> RunProgress {
        RunProgress { stages, at: None, start: Instant::now() }
    }

    /// The words for what begins: its number and that of all, if it was expected.
    fn enter(&mut self, what: &str) -> String {
        let (from, parts) = self.at.unwrap_or((0, 0.0));
        match (from..self.stages.len()).find(|&n| what.starts_with(self.stages[n].name)) {
            None => what.to_string(),
            Some(n) => {
                self.at = Some((n, if n == from { parts + 1.0 } else { 1.0 }));
                format!("{}/{} {what}", n + 1, self.stages.len())
            }
        }
    }

    /// Seconds left of the whole, with so much of the part under way done; `None` while too little is to tell.
    fn left(&self, share: f64) -> Option<f64> {
        let (n, part) = self.at?;
        let stage = self.stages[n];
        let within = ((part - 1.0 + share) / stage.parts.max(part)).min(1.0);
        let cost = |stages: &[Stage]| stages.iter().map(|stage| stage.cost).sum::<f64>();
        let done = cost(&self.stages[..n]) + within * stage.cost;
        let all = cost(&self.stages);
        (done > 0.03 * all).then(|| self.start.elapsed().as_secs_f64() / done * (all - done))
    }
}

/// Seconds, for people.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_numbered_and_what_was_not_expected_is_not() {
        let stage = |name, cost, parts| Stage { name, cost, parts };
        let stages = vec![
            stage("writing", 10.0, 1.0),
            stage("calibrating", 30.0, 3.0),
            stage("tuning", 50.0, 1.0),
            stage("calibrating", 10.0, 2.0),
        ];
        let mut whole = RunProgress::new(stages);
        whole.start = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        assert!(whole.left(0.5).is_none(), "nothing has begun");
        let near = |left: Option<f64>, expected: f64| assert!((left.unwrap() - expected).abs() < 0.5, "{left:?}");
        assert_eq!(whole.enter("writing weights"), "1/4 writing weights");
        near(whole.left(1.0), 900.0);
        assert_eq!(whole.enter("searching"), "searching");
        assert_eq!(whole.enter("calibrating"), "2/4 calibrating");
        near(whole.left(0.0), 900.0);
        assert_eq!(whole.enter("calibrating 0.5, pass 1"), "2/4 calibrating 0.5, pass 1");
        near(whole.left(0.5), 100.0 / 25.0 * 75.0);
        // More parts than were expected, and a stage that was not needed.
        for _ in 0..5 {
            whole.enter("calibrating 0.5, pass 2");
        }
        near(whole.left(1.0), 100.0 / 40.0 * 60.0);
        let mut skipped = RunProgress::new(whole.stages.clone());
        assert_eq!(skipped.enter("tuning scores"), "3/4 tuning scores");
        assert_eq!(skipped.enter("calibrating"), "4/4 calibrating");
    }

    #[test]
    fn durations_are_in_units_that_people_read() {
        assert_eq!([1.4, 119.0, 150.0, 9000.0].map(duration), ["1 s", "119 s", "2 min", "2.5 h"]);
    }
}
