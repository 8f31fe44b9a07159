//! A step of several sessions over one model, in which the weights are read once for all of them.
//!
//! Their tokens pass as rows of one pass, in the workspace of the first session (its threads, its activations); each
//! has its own keys and values, thresholds, head, sampler and callbacks. By the fixed order of sums every one gets the
//! bits of a step of its own. Whatever a session has to do that is not a pass of one token (finish a prompt, sample
//! after one), it does by itself before.

use super::Session;
use super::budget::{Budget, Cancelled, Halt};
use super::job::{Job, Members, Phase, advance};
use super::pass::MAX_ROWS;
use crate::{Error, Result, Status};
use std::array::from_fn;
use std::sync::Arc;

/// Sessions that step together with the one that leads.
type Guests<'a> = [Option<&'a mut Session>; MAX_ROWS];

impl Session {
    /// [`step`](Session::step) of every one of these sessions, in which the weights are read once for all that have a
    /// token to pass. `each` hears of every session, by its index, the token or why there is none; one that fails is as
    /// it was before and changes nothing for the others. Every session ends with the tokens, logits and statistics, to
    /// the bit, that a step of its own would have left (but for units of work, which are counted at the first one).
    ///
    /// The first session's threads and memory are used: as many sessions pass together as a quarter of its
    /// [`batch`](super::SessionOptions::batch), 32 at most, and then those after them. A session that is cancelled gets
    /// [`Status::Cancelled`] once the others are done; when all of a pass are, it ends within a unit of work. A
    /// [deadline](Session::set_deadline) counts the time of the whole pass.
    ///
    /// Fails, and does nothing, if they are not of one model.
    pub fn step_batch(sessions: &mut [&mut Session], each: impl FnMut(usize, Result<u32>)) -> Result<()> {
        let Some((leader, others)) = sessions.split_first_mut() else { return Ok(()) };
        others.iter().enumerate().try_for_each(|(n, other)| leader.check_fellow(n + 1, other))?;
        leader.step_with(others.iter_mut().map(|other| &mut **other), each);
        Ok(())
    }

    /// Fails unless the session, that of this index, is of the same model.
    pub(crate) fn check_fellow(&self, index: usize, other: &Session) -> Result<()> {
        if Arc::ptr_eq(&self.engine.model, &other.engine.model) {
            return Ok(());
        }
        Err(Error::new(Status::InvalidArgument, format_args!("session {index} is of another model than session 0")))
    }

    /// [`step_batch`](Session::step_batch) of sessions that were checked.
    pub(crate) fn step_with<'s>(
        &mut self,
        others: impl Iterator<Item = &'s mut Session>,
        mut each: impl FnMut(usize, Result<u32>),
    ) {
        let (mut others, mut leads, mut first) = (others.fuse(), true, 0);
        loop {
            let most = self.engine.work.most_decoded() - usize::from(leads);
            let mut guests: Guests<'_> = from_fn(|n| if n < most { others.next() } else { None });
            let count = usize::from(leads) + guests.iter().flatten().count();
            if count == 0 {
                return;
            }
            self.step_some(leads, self.engine.work.most_decoded() / count - 1, &mut guests, &mut |n, outcome| {
                each(first + n, outcome)
            });
            first += count;
            leads = false;
        }
    }

    /// A step of as many as pass together, with up to so many drafts each; the leader itself is one of them, the first,
    /// if it `leads`.
    fn step_some(
        &mut self,
        leads: bool,
        drafts: usize,
        guests: &mut Guests<'_>,
        each: &mut dyn FnMut(usize, Result<u32>),
    ) {
        let mut passing = 0;
        for (n, session) in all(leads, self, guests) {
            match session.enter(drafts) {
                Some(outcome) => each(n, outcome),
                None => passing += 1,
            }
        }
        if passing == 0 {
            return;
        }
        let budget = Budget::unlimited();
        let outcome = {
            let model = self.engine.model.clone();
            let (work, own) = self.member();
            let mut members = own.into_iter().chain(guests.iter_mut().flatten().filter_map(|guest| guest.member().1));
            let mut members: Members<'_> = from_fn(|_| members.next());
            advance(&model, work, &mut members, &budget)
        };
        self.units += budget.units();
        let failed = outcome.err().map(|halt| match halt {
            Halt::Failed(error) => error,
            Halt::Pending => Error::new(Status::Internal, "a pass without a budget stopped"),
        });
        for (n, session) in all(leads, self, guests) {
            if session.is_pending() {
                each(n, session.leave(failed.as_ref()));
            }
        }
    }

    /// Begins a step of up to so many drafts. `None` if its token is to pass with others', and else its outcome.
    fn enter(&mut self, drafts: usize) -> Option<Result<u32>> {
        if self.is_pending() {
            return Some(self.step());
        }
        if let Err(error) = self.begin_step(drafts, false) {
            return Some(Err(error));
        }
        let passes = matches!(self.job, Some(Job { phase: Phase::Blocks { .. }, .. }));
        // By itself one that is cancelled fails as it should.
        if !passes || self.engine.cancel.cancelled() {
            return Some(self.step());
        }
        self.pace_joins();
        None
    }

    /// Ends a step whose token has passed, or failed to.
    fn leave(&mut self, failed: Option<&Error>) -> Result<u32> {
        self.pace_leaves();
        match failed {
            Some(error) => self.fail(error.clone()),
            // It samples by itself, or only says what came of it.
            None => self.step(),
        }
    }
}

/// The sessions of a step, counted as the caller counts them.
fn all<'a>(
    leads: bool,
    leader: &'a mut Session,
    guests: &'a mut Guests<'_>,
) -> impl Iterator<Item = (usize, &'a mut Session)> {
    let guests = guests.iter_mut().flatten().map(|guest| &mut **guest);
    leads.then_some(leader).into_iter().chain(guests).enumerate()
}
