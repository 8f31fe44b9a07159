//! A step of several sessions over one model, in which the weights are read once for all of them.
//!
//! Their tokens pass as rows of one pass, in the workspace of the first session (its threads, its activations); each has
//! its own keys and values, thresholds, head, sampler and callbacks. By the fixed order of sums every one gets the bits of a
//! step of its own. Whatever a session has to do that is not a pass of one token (finish a prompt, sample after one), it
//! does by itself before.

use super::budget::{Budget, Cancelled, Flow, Halt};
use super::buffers::{HeadBuffers, Own};
use super::engine::{Engine, Traffic, Unobserved};
use super::head::{HeadRow, all_logits};
use super::pass::{MAX_SEQS, Mode, Seq, Workspace};
use super::screen::{Screened, screen};
use super::step::{Job, Stage};
use super::{Ready, Session};
use crate::model::Model;
use crate::{Error, Result, Status};
use std::array::from_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Sessions that step together with the one that leads.
type Guests<'a> = [Option<&'a mut Session>; MAX_SEQS];

/// A session whose token passes with others: what the phases of the step touch of it.
struct Member<'a> {
    own: &'a mut Own,
    head: &'a mut HeadBuffers,
    cancel: &'a AtomicBool,
    job: &'a mut Job,
    /// What passes.
    token: u32,
    traffic: &'a mut Traffic,
    head_bytes: &'a mut u64,
    /// How many of the largest logits it wants, if not all.
    deciding: Option<usize>,
}

/// The members of a pass, the first ones of the array.
type Members<'a> = [Option<Member<'a>>; MAX_SEQS];

/// The flags of all members: the pass stops when nobody wants it any more.
struct Flags<'a>([Option<&'a AtomicBool>; MAX_SEQS]);

impl Cancelled for Flags<'_> {
    fn cancelled(&self) -> bool {
        self.0.iter().flatten().all(|flag| flag.cancelled())
    }
}

impl Session {
    /// [`step`](Session::step) of every one of these sessions, in which the weights are read once for all that have a token
    /// to pass. `each` hears of every session, by its index, the token or why there is none; one that fails is as it was
    /// before and changes nothing for the others. Every session ends with the tokens, logits and statistics, to the bit,
    /// that a step of its own would have left (but for units of work, which are counted at the first one).
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
            let most = self.engine.work.most_seqs() - usize::from(leads);
            let mut guests: Guests<'_> = from_fn(|n| if n < most { others.next() } else { None });
            let count = usize::from(leads) + guests.iter().flatten().count();
            if count == 0 {
                return;
            }
            self.step_some(leads, &mut guests, &mut |n, outcome| each(first + n, outcome));
            first += count;
            leads = false;
        }
    }

    /// A step of as many as pass together; the leader itself is one of them, the first, if it `leads`.
    fn step_some(&mut self, leads: bool, guests: &mut Guests<'_>, each: &mut dyn FnMut(usize, Result<u32>)) {
        let mut passing = 0;
        for (n, session) in all(leads, self, guests) {
            match session.enter() {
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
            pass(&model, work, &mut members, &budget)
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

    /// Begins a step. `None` if its token is to pass with others', and else its outcome.
    fn enter(&mut self) -> Option<Result<u32>> {
        if self.is_pending() {
            return Some(self.step());
        }
        if let Err(error) = self.begin_step() {
            return Some(Err(error));
        }
        let sparsity = match &self.job {
            Some(Job { stage: Stage::Blocks { .. }, sparsity, .. }) => *sparsity,
            _ => return Some(self.step()),
        };
        // By itself it fails as it should.
        if self.engine.cancel.cancelled() || self.load_thresholds(sparsity).is_err() {
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

    /// The workspace, and if its token is to pass with others', what that needs.
    fn member(&mut self) -> (&mut Workspace, Option<Member<'_>>) {
        let deciding = self.deciding();
        let Engine { own, head, work, traffic, head_bytes, cancel, .. } = &mut self.engine;
        let member = self.job.as_mut().map(|job| {
            let token = self.tokens[job.start];
            Member { own, head, cancel, job, token, traffic, head_bytes, deciding }
        });
        (work, member)
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

/// All members' tokens through the blocks and the head, which leaves each job where its session goes on by itself.
fn pass(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget) -> Flow {
    let flags = Flags(from_fn(|n| members[n].as_ref().map(|member| member.cancel)));
    work.begin(model, members.iter().flatten().map(|member| (member.token, member.job.start)));
    let mut seqs: [Option<Seq<'_>>; MAX_SEQS] = {
        let mut members = members.iter_mut().flatten();
        from_fn(|_| members.next().map(|member| member.own.seq(member.job.start, member.job.sparsity != 0.0)))
    };
    work.advance(model, &mut seqs, budget, &flags, Mode::Decode { sparse: false }, &mut Unobserved)?;
    let bytes = seqs.map(|seq| seq.map_or(0, |seq| seq.bytes.into_inner()));

    let h = model.config().hidden_size;
    for (row, (member, bytes)) in members.iter_mut().flatten().zip(bytes).enumerate() {
        // One that is cancelled will be as it was.
        if !member.cancel.cancelled() {
            member.traffic.tokens += 1;
            member.traffic.linear_bytes += bytes;
        }
        member.head.prepare(model, &work.buf.hidden[row * h..(row + 1) * h]);
        member.job.stage = match model.head_screen().zip(member.deciding) {
            None => Stage::Logits,
            Some((screen, few)) if member.head.round(screen).is_ok() => Stage::Screen { few },
            Some(_) => Stage::NonFinite,
        };
    }
    largest(model, work, members, budget, &flags)?;
    logits(model, work, members, budget, &flags)
}

/// The largest logits of those that want no more.
fn largest(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let Some(head_screen) = model.head_screen() else { return Ok(()) };
    let mut wanting = members.iter_mut().flatten().filter_map(|m| match m.job.stage {
        Stage::Screen { few } => Some((m.head.screened(model, few)?, &mut *m.job, &mut *m.head_bytes)),
        _ => None,
    });
    let tokens: [Option<(Screened<'_>, &mut Job, &mut u64)>; MAX_SEQS] = from_fn(|_| wanting.next());
    let (rows, ends) = split(tokens);
    if rows[0].is_none() {
        return Ok(());
    }
    work.restart();
    screen(model, head_screen, &mut work.team(budget, flags), &rows)?;
    for (row, (job, head_bytes)) in rows.iter().flatten().zip(ends.into_iter().flatten()) {
        job.stage = match row.check() {
            Ok(()) => {
                *head_bytes += row.bytes(model, head_screen);
                Stage::Sample { ready: Ready::Hidden }
            }
            Err(_) => Stage::NonFinite,
        };
    }
    Ok(())
}

/// The logits of those that want them.
fn logits(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let mut reading = members.iter_mut().flatten().filter(|member| matches!(member.job.stage, Stage::Logits));
    let tokens: [Option<(HeadRow<'_>, &mut Job, &mut u64)>; MAX_SEQS] =
        from_fn(|_| reading.next().map(|m| (m.head.row(model), &mut *m.job, &mut *m.head_bytes)));
    let (rows, ends) = split(tokens);
    if rows[0].is_none() {
        return Ok(());
    }
    work.restart();
    all_logits(model, &mut work.team(budget, flags), &rows)?;
    for (row, (job, head_bytes)) in rows.iter().flatten().zip(ends.into_iter().flatten()) {
        job.stage = match row.check() {
            Ok(()) => {
                *head_bytes += model.head_bytes();
                Stage::Sample { ready: Ready::Logits }
            }
            Err(_) => Stage::NonFinite,
        };
    }
    Ok(())
}

/// What the head takes, apart from where its outcome goes.
type Ends<'a> = [Option<(&'a mut Job, &'a mut u64)>; MAX_SEQS];

fn split<'a, T>(mut tokens: [Option<(T, &'a mut Job, &'a mut u64)>; MAX_SEQS]) -> ([Option<T>; MAX_SEQS], Ends<'a>) {
    let mut ends: Ends<'a> = [const { None }; MAX_SEQS];
    let rows = from_fn(|n| {
        let (row, job, head_bytes) = tokens[n].take()?;
        ends[n] = Some((job, head_bytes));
        Some(row)
    });
    (rows, ends)
}
