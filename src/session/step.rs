//! The calls that compute: prompts in, tokens out, as far as a budget goes.
//!
//! What a call does is a [`Job`]. Until it is finished nothing of it counts but the tokens it has appended, and these
//! are taken back if it fails: an error, or a cancel, leaves the session as it was.

use super::budget::{Budget, Clock, Flow, Halt, Time};
use super::engine::Engine;
use super::job::{CallKind, Job, Member, Members, Phase, advance};
use super::pass::buffers::{Deciding, HeadStage};
use super::pass::{MAX_ROWS, MOST_DECIDING, Workspace, non_finite};
use super::{Ready, Session};
use crate::sampling::{LogProb, log_probs};
use crate::{Error, Result, Status};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Session {
    /// Appends prompt tokens, densely, many at a time. Afterwards the logits are those after the last one.
    ///
    /// On an error no token has been appended.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<()> {
        self.prefill_begin(tokens)?;
        self.whole().map(|_| ())
    }

    /// Appends prompt tokens without computing anything yet: that do [`prefill_within`](Session::prefill_within) and
    /// [`step_within`](Session::step_within). Until they have passed the session is [pending](Session::is_pending).
    pub fn prefill_begin(&mut self, tokens: &[u32]) -> Result<()> {
        self.idle()?;
        if tokens.is_empty() {
            return Err(Error::new(Status::InvalidArgument, "a prompt of no tokens"));
        }
        self.check(tokens)?;
        // A sampled token that has not passed yet goes first.
        let first = self.tokens.len() - usize::from(self.pending);
        let length = self.tokens.len();
        self.begin(Job::new(CallKind::Prefill, length, first, length + tokens.len(), 0.0))?;
        self.tokens.extend_from_slice(tokens);
        Ok(())
    }

    /// Goes on with the prompt that was begun, for about `time`. True once it has passed.
    ///
    /// One unit of work is done in any case, so that zero is just one; no other begins after `time` has passed. (A unit
    /// is some 1 MiB of weights, or 8 million multiply-adds: `docs/design.md`, "How a pass is cut".) On an error the
    /// whole prompt is taken back.
    pub fn prefill_within(&mut self, time: Duration) -> Result<bool> {
        match self.job {
            Some(Job { call: CallKind::Prefill, .. }) => {
                let budget = self.budget(time);
                self.go_on(&budget).map(|outcome| outcome.is_some())
            }
            _ => Err(Error::new(Status::InvalidState, "no prompt is under way: begin one with prefill_begin")),
        }
    }

    /// Samples the next token and appends it. The token before it, if it was sampled too, passes through the model
    /// first, at the session's sparsity; before both, what is left of a prompt that was begun. A step that was
    /// interrupted is finished.
    ///
    /// The first step after a prompt needs no pass: it samples from the prompt's logits.
    pub fn step(&mut self) -> Result<u32> {
        let token = self.step_for(&Budget::unlimited())?;
        token.ok_or_else(|| Error::new(Status::Internal, "a step without a budget stopped"))
    }

    /// As much of a [`step`](Session::step) as `time` allows, as for [`prefill_within`](Session::prefill_within).
    /// `None` if it is not finished: the next call goes on. The tokens are the same however they are cut.
    pub fn step_within(&mut self, time: Duration) -> Result<Option<u32>> {
        let budget = self.budget(time);
        self.step_for(&budget)
    }

    /// A budget that begins now.
    pub(super) fn budget(&self, time: Duration) -> Budget {
        Budget::within(&self.clock, time)
    }

    /// Whether no prompt is under way any more.
    pub(super) fn prompt_passes(&mut self, budget: &Budget) -> Result<bool> {
        match self.job {
            Some(Job { call: CallKind::Prefill, .. }) => Ok(self.go_on(budget)?.is_some()),
            _ => Ok(true),
        }
    }

    pub(super) fn step_for(&mut self, budget: &Budget) -> Result<Option<u32>> {
        if !self.prompt_passes(budget)? {
            return Ok(None);
        }
        if self.job.is_none() {
            self.begin_step(self.engine.work.most_decoded() - 1, true)?;
        }
        // A token, or none if the budget is spent.
        self.go_on(budget).map(Option::flatten)
    }

    /// Begins a step whose pass has room for so many drafts, and which is `alone` or to pass with others'.
    pub(super) fn begin_step(&mut self, room: usize, alone: bool) -> Result<()> {
        if self.ready == Ready::Nothing && !self.pending {
            return Err(Error::new(Status::InvalidState, "a step before any token: prefill a prompt first"));
        }
        self.room(1)?;
        if self.pending {
            self.pace_begins();
        }
        let length = self.tokens.len();
        let job = match self.pending {
            true => {
                let sparsity = self.engine.model.sparsity_at(length - 1, self.sparsity);
                let job = Job { timed: true, ..Job::new(CallKind::Step, length, length - 1, length, sparsity) };
                match self.take_draft(length - 1, sparsity) {
                    Some(n) => Job { phase: Phase::Head, draft: Some(n), ..job },
                    None => self.with_drafts(job, length - 1, room, alone),
                }
            }
            false => self.look(CallKind::Step),
        };
        self.begin(job)
    }

    /// Begins a job, with the thresholds of its sparsity at hand.
    fn begin(&mut self, job: Job) -> Result<()> {
        if let Phase::Blocks { first, .. } = job.phase {
            match first {
                0 if !job.again => self.engine.own.kv.forget(),
                first => self.check_reach(first)?,
            }
            self.engine.ahead.forget();
        }
        self.load_thresholds(job.sparsity())?;
        self.job = Some(job);
        Ok(())
    }

    /// A call that begins from the last token that has passed, with what there is of it. If nothing but its keys and
    /// values is left, it passes once more, as it did then, and looks at these.
    fn look(&mut self, call: CallKind) -> Job {
        let passed = self.passed();
        let sparsity = self.sparsities[passed - 1];
        let mut job = Job { again: true, ..Job::new(call, self.tokens.len(), passed - 1, passed, sparsity) };
        if self.ready != Ready::Cached {
            self.engine.head.prepare_kept();
            self.engine.work.restart();
            job.phase = Phase::Head;
            if self.ready == Ready::Logits {
                self.engine.head.token.stage = HeadStage::Done { few: None };
            }
        }
        job
    }

    /// Appends a token of the host's choice, at the session's sparsity. It takes the place of a sampled token that has
    /// not passed through the model yet. Afterwards the logits are those after it.
    pub fn decode(&mut self, token: u32) -> Result<()> {
        self.idle()?;
        let length = self.tokens.len();
        let first = length - usize::from(self.pending);
        self.check_ids(&[token])?;
        if !self.pending {
            self.room(1)?;
        }
        let replaced = self.tokens.get(first).copied();
        let sparsity = self.engine.model.sparsity_at(first, self.sparsity);
        self.begin(Job { replaced, ..Job::new(CallKind::Decode, first, first, first + 1, sparsity) })?;
        self.tokens.truncate(first);
        self.tokens.push(token);
        self.whole().map(|_| ())
    }

    /// The logits after the last token that passed through the model: `[vocab]`, finite. After a greedy step they may
    /// have to be computed first.
    pub fn logits(&mut self) -> Result<&[f32]> {
        self.idle()?;
        match self.ready {
            Ready::Nothing => {
                return Err(Error::new(Status::InvalidState, "no logits before any token: prefill a prompt first"));
            }
            Ready::Logits => {}
            Ready::Hidden | Ready::Cached => {
                let job = self.look(CallKind::Logits);
                self.begin(job)?;
                self.whole()?;
            }
        }
        Ok(&self.engine.head.token.logits)
    }

    /// How likely the model finds a token after the last one that passed, and which it finds likeliest: as many as
    /// `top` has room for, the likeliest first. After a step that is the token sampled, which has not passed. By the
    /// model's own [logits](Session::logits): biases, constraints, penalties and temperature are not in them.
    pub fn log_probs(&mut self, token: u32, top: &mut [LogProb]) -> Result<LogProb> {
        self.check_log_probs(token, top.len())?;
        Ok(log_probs(self.logits()?, token, top))
    }

    /// Fails for a token that there is not, or more of the likeliest than there are.
    pub(crate) fn check_log_probs(&self, token: u32, count: usize) -> Result<()> {
        self.check_ids(&[token])?;
        let vocab = self.engine.model.config().vocab_size;
        if count > vocab {
            let message = format_args!("the {count} likeliest tokens of a vocabulary of {vocab}");
            return Err(Error::new(Status::OutOfRange, message));
        }
        Ok(())
    }

    /// Whether a call was interrupted by its budget. Until it has been finished (or cancelled, or the session reset),
    /// the session takes no others than those that go on with it.
    pub fn is_pending(&self) -> bool {
        self.job.is_some()
    }

    /// Takes time from `clock` from now on.
    pub fn set_clock(&mut self, clock: Arc<dyn Clock>) {
        self.clock = Time::Given(clock);
    }

    /// Fails if a call is under way.
    pub(crate) fn idle(&self) -> Result<()> {
        match self.job {
            None => Ok(()),
            Some(Job { call: CallKind::Prefill, .. }) => {
                Err(Error::new(Status::InvalidState, "a prompt is under way: finish it with prefill_within or step"))
            }
            Some(_) => Err(Error::new(Status::InvalidState, "a step is under way: finish it with step_within or step")),
        }
    }

    /// All that is left of the job.
    pub(super) fn whole(&mut self) -> Result<Option<u32>> {
        let outcome = self.go_on(&Budget::unlimited())?;
        outcome.ok_or_else(|| Error::new(Status::Internal, "a call without a budget stopped"))
    }

    /// Goes on with the job as far as the budget goes. Once it is done, the token that it has sampled, if it has;
    /// `None` before. On an error the session is as it was before the job.
    fn go_on(&mut self, budget: &Budget) -> Result<Option<Option<u32>>> {
        let Some(Job { call, timed, sparsity, .. }) = self.job else { return Ok(Some(None)) };
        let before = budget.units();
        let start = self.pace.is_on().then(|| self.clock.now());
        let outcome = self.advance(budget);
        self.units += budget.units() - before;
        if let Some(start) = start {
            self.pace.spent += self.clock.now().saturating_sub(start);
            // A step that passed a token, rather than one that samples after a prompt.
            if outcome.is_ok() && call == CallKind::Step && timed {
                self.pace_ends(sparsity);
            }
        }
        match outcome {
            Ok(token) => Ok(Some(token)),
            Err(Halt::Pending) => Ok(None),
            Err(Halt::Failed(error)) => self.fail(error),
        }
    }

    /// Ends the job with an error: the session is as it was before.
    pub(super) fn fail<T>(&mut self, error: Error) -> Result<T> {
        if let Some(job) = self.job.take() {
            self.take_back(&job);
        }
        let outcome = Err(error);
        self.settle_cancelled(&outcome);
        outcome
    }

    /// A batch of one, and then what is the session's own: the token that it samples, if it does.
    fn advance(&mut self, budget: &Budget) -> Flow<Option<u32>> {
        loop {
            self.advance_alone(budget)?;
            // What the model has drafted goes on to be checked.
            if !self.take_guess()? {
                break;
            }
        }
        let Some(job) = self.job else { return Ok(None) };
        let ready = match self.engine.head.token.stage {
            HeadStage::Done { few: None } => Ready::Logits,
            HeadStage::Done { .. } | HeadStage::Rough { .. } => Ready::Hidden,
            _ => return Err(Halt::Failed(non_finite())),
        };
        if job.call == CallKind::Step {
            budget.unit(&self.engine.cancel)?;
            let token = self.choose()?;
            self.finish(&job, ready);
            return Ok(Some(self.append(token)));
        }
        self.finish(&job, ready);
        if job.call == CallKind::Prefill {
            self.begin_answer();
        }
        Ok(None)
    }

    /// A batch of one.
    fn advance_alone(&mut self, budget: &Budget) -> Flow {
        let model = self.engine.model.clone();
        let (work, member) = self.member();
        let mut members: Members<'_> = [const { None }; MAX_ROWS];
        members[0] = member;
        advance(&model, work, &mut members, budget)
    }

    /// The workspace, and if a call is under way, what its phases touch.
    pub(super) fn member(&mut self) -> (&mut Workspace, Option<Member<'_>>) {
        let deciding = self.deciding();
        let Engine { own, head, work, traffic, cancel, ahead, .. } = &mut self.engine;
        let member = self.job.as_mut().map(|job| Member {
            own,
            head,
            cancel,
            job,
            tokens: &self.tokens,
            traffic,
            deciding,
            ahead,
        });
        (work, member)
    }

    /// The logits that decide on a step's token, if the lm_head has a shortlist that finds so few.
    pub(super) fn deciding(&self) -> Option<Deciding> {
        self.engine.model.shortlist()?;
        let few = self.sampler.deciding().filter(|&few| few <= MOST_DECIDING)?;
        let masked = self.logits_processor.guide.is_some();
        self.logits_processor.keeps_values().then_some(Deciding { few, masked })
    }

    /// What the job was to pass has passed, and counts.
    fn finish(&mut self, job: &Job, ready: Ready) {
        self.engine.head.keep();
        self.engine.head_bytes += std::mem::take(&mut self.engine.head.token.read);
        self.drafts.stats.drafted += job.drafts as u64;
        if let Some(n) = job.draft {
            self.use_draft(n);
        }
        self.sparsities[job.start..job.until].fill(job.sparsity);
        self.pending = job.until < self.tokens.len();
        self.ready = ready;
        self.job = None;
    }

    /// Appends a sampled token.
    fn append(&mut self, token: u32) -> u32 {
        self.tokens.push(token);
        self.pending = true;
        token
    }

    /// Undoes what a job has changed.
    fn take_back(&mut self, job: &Job) {
        self.tokens.truncate(job.length);
        self.tokens.extend_from_slice(job.replaced.as_slice());
        if let Some(n) = job.draft {
            return self.give_back_draft(n);
        }
        // The head may have written over the logits. What they are computed from is kept.
        if self.ready == Ready::Logits && !matches!(job.phase, Phase::Blocks { .. }) {
            self.ready = Ready::Hidden;
        }
    }

    /// A call that was cancelled takes the flag back.
    pub(super) fn settle_cancelled<T>(&self, outcome: &Result<T>) {
        if outcome.as_ref().is_err_and(|error| error.status() == Status::Cancelled) {
            self.engine.cancel.store(false, Ordering::Relaxed);
        }
    }
}
