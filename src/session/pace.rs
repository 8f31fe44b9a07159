//! A time for each token, and sparsity as the dial that keeps it.
//!
//! What a token costs is taken to be proportional to the bytes that it is expected to read: `(1 - sparsity)` of the
//! blocks' weights, and the head. The factor, nanoseconds a byte, is measured token by token and smoothed, so whatever
//! the proportion neglects (attention over a longer text, a low rank, masks that keep more than they should, a busy
//! machine) ends up in it.

use super::Session;
use crate::{Error, Result, Status};

/// Of the time, what is aimed at: half of all tokens would be late otherwise.
const AIM: f64 = 0.9;
/// Weight of the latest token in the average.
const LATEST: f64 = 0.25;
/// A token that took this many times as long as expected, or that much less, counts as this: a thread that was
/// descheduled says nothing about the next token.
const OUTLIER: f64 = 2.0;

/// Keeps tokens within a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Nanoseconds that a token may take; 0 for no deadline.
    deadline: u64,
    min: f32,
    max: f32,
    /// Nanoseconds a byte; `None` before the first token.
    cost: Option<f64>,
    /// Nanoseconds computed on the token in hand.
    pub(super) spent: u64,
    /// When it joined a batch.
    joined: u64,
    pub(super) late: u64,
}

impl Pace {
    pub(super) fn is_on(&self) -> bool {
        self.deadline > 0
    }

    /// The sparsity of the next token, for a model of so many bytes in linears and in the head. The first one is as
    /// sparse as allowed: nothing is known yet.
    fn choose(&self, linear: f64, head: f64) -> f32 {
        let Some(cost) = self.cost else { return self.max };
        let bytes = AIM * self.deadline as f64 / cost;
        let sparsity = 1.0 - (bytes - head) / linear;
        (sparsity as f32).clamp(self.min, self.max)
    }

    /// A token of that sparsity has taken [`spent`](Pace::spent).
    fn learn(&mut self, sparsity: f32, linear: f64, head: f64) {
        let spent = std::mem::take(&mut self.spent);
        self.late += u64::from(spent > self.deadline);
        let bytes = (1.0 - f64::from(sparsity)) * linear + head;
        // No clock is so coarse that a token takes no time; one that says so must not make all that follow free.
        let found = spent.max(1) as f64 / bytes;
        self.cost = Some(match self.cost {
            None => found,
            Some(cost) => cost + LATEST * (found.clamp(cost / OUTLIER, cost * OUTLIER) - cost),
        });
    }
}

impl Session {
    /// Has every token of [`step`](Session::step) choose its sparsity between `min` and `max` so that it takes no more
    /// than `ns` nanoseconds of computing, as dense as that allows; the time between the calls of a step that was cut
    /// does not count. 0 turns it off: the sparsity then stays what it was last.
    ///
    /// It is kept by measuring, so single tokens can be late, and where `max` is not enough all are. Unlike all else,
    /// the tokens then depend on time.
    pub fn set_deadline(&mut self, ns: u64, min: f32, max: f32) -> Result<()> {
        self.idle()?;
        let limit = self.engine.model.max_sparsity();
        // Not `>`: NaN must fail as well.
        if ns > 0 && !(0.0 <= min && min <= max && max <= limit) {
            let message = format_args!("sparsity from {min} to {max}; this file goes from 0 to {limit}");
            return Err(Error::new(Status::OutOfRange, message));
        }
        // The time of a token that has passed as a draft says nothing.
        self.engine.ahead.forget();
        self.pace = Pace { deadline: ns, min, max, late: self.pace.late, ..Pace::default() };
        Ok(())
    }

    /// Sets the sparsity of the token that is about to pass, if there is a deadline.
    pub(super) fn pace_begins(&mut self) {
        if self.pace.is_on() {
            let (linear, head) = self.bytes_of_token();
            self.sparsity = self.pace.choose(linear, head);
            self.pace.spent = 0;
        }
    }

    /// The token in hand passes with others', until [`pace_leaves`](Session::pace_leaves): all of that is its time.
    pub(super) fn pace_joins(&mut self) {
        if self.pace.is_on() {
            self.pace.joined = self.clock.now();
        }
    }

    pub(super) fn pace_leaves(&mut self) {
        if self.pace.is_on() {
            self.pace.spent += self.clock.now().saturating_sub(self.pace.joined);
        }
    }

    /// Learns from a token that has passed.
    pub(super) fn pace_ends(&mut self, sparsity: f32) {
        if self.pace.is_on() {
            let (linear, head) = self.bytes_of_token();
            self.pace.learn(sparsity, linear, head);
        }
    }

    fn bytes_of_token(&self) -> (f64, f64) {
        let model = &self.engine.model;
        (model.linear_bytes() as f64, model.greedy_head_bytes() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of so many nanoseconds a byte, whose masks keep a little more than they should.
    fn time(cost: f64, sparsity: f32) -> u64 {
        (cost * (200.0 * (1.05 - f64::from(sparsity)) + 40.0)) as u64
    }

    #[test]
    fn the_time_is_met_as_densely_as_it_can_be_and_again_when_the_machine_changes() {
        let mut pace = Pace { deadline: 100_000, min: 0.0, max: 0.7, ..Pace::default() };
        assert_eq!(pace.choose(200.0, 40.0), 0.7, "nothing is known yet");
        for (cost, expected) in [(300.0, 0.0..0.001), (600.0, 0.49..0.54), (500.0, 0.33..0.41), (2000.0, 0.699..0.701)]
        {
            for _ in 0..40 {
                let sparsity = pace.choose(200.0, 40.0);
                pace.spent = time(cost, sparsity);
                pace.learn(sparsity, 200.0, 40.0);
            }
            let sparsity = pace.choose(200.0, 40.0);
            assert!(expected.contains(&sparsity), "{sparsity} at {cost}");
            if cost < 1000.0 {
                assert!(time(cost, sparsity) <= pace.deadline);
            }
        }
    }

    #[test]
    fn one_token_that_was_interrupted_changes_little() {
        let mut pace = Pace { deadline: 100_000, min: 0.0, max: 0.7, ..Pace::default() };
        let pass = |pace: &mut Pace, factor: u64| {
            let sparsity = pace.choose(200.0, 40.0);
            pace.spent = factor * time(500.0, sparsity);
            pace.learn(sparsity, 200.0, 40.0);
            sparsity
        };
        (0..40).for_each(|_| {
            pass(&mut pace, 1);
        });
        let (before, late) = (pass(&mut pace, 1), pace.late);
        pass(&mut pace, 1000);
        assert_eq!(pace.late, late + 1);
        let after = pass(&mut pace, 1);
        assert!(after > before && after < before + 0.25, "{before} {after}");
        (0..20).for_each(|_| {
            pass(&mut pace, 1);
        });
        assert!((pass(&mut pace, 1) - before).abs() < 0.01);
    }
}
