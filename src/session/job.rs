//! A call under way, and how it goes on: of one session, or of several whose tokens pass together.
//!
//! It is written once: a step of one session is a batch of one. The phases are those of every token: through the
//! blocks, then the largest logits by way of the shortlist or all of them. Each session remembers in its [`Job`] where
//! it stands, so a budget can stop a phase anywhere; what is left after the last one (to sample) is the session's own,
//! see `step.rs`.

use super::budget::{Budget, Cancelled, Flow};
use super::drafts::{Ahead, Guessing};
use super::engine::{Traffic, Unobserved};
use super::pass::buffers::{Deciding, HeadBuffers, HeadToken, SequenceBuffers};
use super::pass::{self, HeadOutcome, MAX_ROWS, Mode, Seq, Workspace, all_logits};
use crate::model::Model;
use std::array::from_fn;
use std::sync::atomic::AtomicBool;

/// A call under way: tokens pass through the blocks, then the last of them through the head, then the next is sampled.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) call: CallKind,
    pub(super) phase: Phase,
    /// Tokens from `start` to `until` pass, prompts densely, others at this sparsity.
    pub(super) start: usize,
    pub(super) until: usize,
    pub(super) sparsity: f32,
    /// Drafts that pass behind them, along with the last.
    pub(super) drafts: usize,
    /// The draft that the token has passed as: then nothing passes.
    pub(super) draft: Option<usize>,
    /// Drafts that the model makes first: the last token passes for each, and those before it.
    pub(super) guessing: Option<Guessing>,
    /// Tokens before the call.
    pub(super) length: usize,
    /// The tokens that pass have passed before: their keys and values stay as they are.
    pub(super) again: bool,
    /// The token that the call has replaced, if it has.
    pub(super) replaced: Option<u32>,
    /// Whether it passes and samples one token, no more and no less: what a deadline is for.
    pub(super) timed: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum CallKind {
    Prefill,
    Decode,
    Step,
    /// Logits of the last token that has passed.
    Logits,
}

#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// The tokens from `first` to `end` pass through the blocks together; after them those from `end` on.
    Blocks { first: usize, end: usize },
    /// The last of them is at the head, which says how far it is ([`HeadStage`](super::pass::buffers::HeadStage)).
    Head,
}

impl Job {
    /// A call on a session of `length` tokens that has those from `start` to `until` pass.
    pub(super) fn new(call: CallKind, length: usize, start: usize, until: usize, sparsity: f32) -> Job {
        let phase = Phase::Blocks { first: start, end: start };
        Job {
            call,
            phase,
            start,
            until,
            sparsity,
            drafts: 0,
            draft: None,
            guessing: None,
            length,
            again: false,
            replaced: None,
            timed: false,
        }
    }

    /// The sparsity of the pass under way.
    pub(super) fn sparsity(&self) -> f32 {
        self.guessing.map_or(self.sparsity, |guessing| guessing.level)
    }
}

/// A session whose tokens pass: what the phases touch of it.
pub(super) struct Member<'a> {
    pub(super) own: &'a mut SequenceBuffers,
    pub(super) head: &'a mut HeadBuffers,
    pub(super) cancel: &'a AtomicBool,
    pub(super) job: &'a mut Job,
    /// The session's, those that are to pass among them.
    pub(super) tokens: &'a [u32],
    pub(super) traffic: &'a mut Traffic,
    /// How many of the largest logits it wants, if not all.
    pub(super) deciding: Option<Deciding>,
    /// The drafts that pass, or have.
    pub(super) ahead: &'a mut Ahead,
}

/// The members of a pass, the first ones of the array. Several have one token each to pass, and their drafts.
pub(super) type Members<'a> = [Option<Member<'a>>; MAX_ROWS];

/// The flags of all members: the pass stops when nobody wants it any more.
struct Flags<'a>([Option<&'a AtomicBool>; MAX_ROWS]);

impl Cancelled for Flags<'_> {
    fn cancelled(&self) -> bool {
        self.0.iter().map_while(|flag| *flag).all(|flag| flag.cancelled())
    }
}

impl Member<'_> {
    /// Takes up to `most` of the tokens that are to pass next, and behind the last one the drafts. Those and their
    /// positions.
    fn begin(&mut self, most: usize) -> impl Iterator<Item = (u32, usize)> + '_ {
        let Job { until, phase, guessing, .. } = *self.job;
        let first = if let Phase::Blocks { end, .. } = phase { end } else { until };
        let end = if guessing.is_some() { first + 1 } else { until.min(first + most) };
        self.job.phase = Phase::Blocks { first, end };
        let drafts = match guessing {
            // Each one takes the draft before.
            Some(guessing) => guessing.made.saturating_sub(1)..guessing.made,
            None => 0..self.drafts(),
        };
        self.tokens[first.min(until)..end.min(until)].iter().chain(&self.ahead.tokens()[drafts]).copied().zip(first..)
    }

    /// Drafts that pass with the tokens under way.
    fn drafts(&self) -> usize {
        match self.job.phase {
            Phase::Blocks { end, .. } if end < self.job.until || self.job.guessing.is_some() => 0,
            _ => self.job.drafts,
        }
    }

    /// Tokens under way.
    fn rows(&self) -> usize {
        match self.job.phase {
            Phase::Blocks { first, end } => end - first + self.drafts(),
            Phase::Head => 0,
        }
    }

    /// What a pass of the tokens under way touches.
    fn seq(&mut self) -> Option<Seq<'_>> {
        let Phase::Blocks { first, .. } = self.job.phase else { return None };
        let sparse_from = if self.job.sparsity() == 0.0 { usize::MAX } else { 0 };
        let seq = self.own.seq(first, self.rows(), sparse_from);
        Some(if self.job.again { seq.held() } else { seq })
    }

    /// The tokens under way have passed to these residual streams, `[rows, hidden_size]`, and have read so many bytes.
    fn passed(&mut self, model: &Model, hidden: &[f32], read: impl Fn(usize) -> u64) {
        let Phase::Blocks { end, .. } = self.job.phase else { return };
        if let Some(Guessing { made, .. }) = self.job.guessing {
            let token = &mut self.head.drafts[made];
            token.prepare(model, hidden);
            token.want(model, Some(Deciding { few: 1, masked: false }));
            self.job.phase = Phase::Head;
            return;
        }
        let drafts = self.drafts();
        // One that is cancelled will be as it was.
        if self.job.call != CallKind::Prefill && !self.cancel.cancelled() {
            self.traffic.tokens += 1;
            self.traffic.linear_bytes += read(0);
        }
        if end < self.job.until {
            self.job.phase = Phase::Blocks { first: end, end };
            return;
        }
        let deciding = self.deciding.filter(|_| self.job.call == CallKind::Step);
        let mut rows = hidden.chunks_exact(model.config().hidden_size).rev();
        for (token, hidden) in self.head.drafts[..drafts].iter_mut().rev().chain([&mut self.head.token]).zip(&mut rows)
        {
            token.prepare(model, hidden);
            token.want(model, deciding);
        }
        self.ahead.passed(end, drafts, self.job.sparsity, |draft| read(draft + 1));
        self.job.phase = Phase::Head;
    }

    /// The tokens that are at the head.
    fn at_head(&mut self) -> impl Iterator<Item = &mut HeadToken> {
        let (count, drafts) = match (self.job.phase, self.job.guessing) {
            (Phase::Blocks { .. }, _) => (0, 0..0),
            (Phase::Head, Some(Guessing { made, .. })) => (0, made..made + 1),
            (Phase::Head, None) => (1, 0..self.job.drafts),
        };
        let HeadBuffers { token, drafts: behind, .. } = &mut *self.head;
        std::iter::once(token).take(count).chain(&mut behind[drafts])
    }
}

/// Takes the members' jobs to where their sessions go on by themselves, as far as the budget goes. Without a member
/// whose job is under way it does nothing.
pub(super) fn advance(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget) -> Flow {
    let flags = Flags(from_fn(|n| members[n].as_ref().map(|member| member.cancel)));
    blocks(model, work, members, budget, &flags)?;
    largest(model, work, members, budget, &flags)?;
    logits(model, work, members, budget, &flags)
}

/// All that is left of the tokens through the blocks.
fn blocks(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let h = model.config().hidden_size;
    while let Some(&Job { call, phase: Phase::Blocks { first, end }, .. }) = members[0].as_ref().map(|m| &*m.job) {
        if first == end {
            let batch = work.batch();
            work.begin(model, members.iter_mut().flatten().flat_map(|member| member.begin(batch)));
        }
        let mode = if call == CallKind::Prefill { Mode::Prompt } else { Mode::Decode };
        {
            let mut passing = members.iter_mut().flatten();
            let mut seqs: [Option<Seq<'_>>; MAX_ROWS] = from_fn(|_| passing.next()?.seq());
            work.advance(model, &mut seqs, budget, flags, mode, &mut Unobserved)?;
        }
        let mut first = 0;
        for member in members.iter_mut().flatten() {
            let rows = first..first + member.rows();
            first = rows.end;
            let (hidden, read) = (&work.buf.hidden[rows.start * h..rows.end * h], &work.read);
            member.passed(model, hidden, |n| read.of(rows.start + n));
        }
        work.restart();
    }
    Ok(())
}

/// The largest logits of those that want no more. Apart, as [`logits`], so that a pass through the blocks does not take
/// their stack: a host's thread may have 64 KiB of it.
#[inline(never)]
fn largest(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let Some(shortlist) = model.shortlist() else { return Ok(()) };
    let wanting = members.iter_mut().flatten().flat_map(Member::at_head);
    let (rows, outcomes) = split(wanting.filter_map(|token| token.wanting_largest(model)));
    if rows[0].is_none() {
        return Ok(());
    }
    let outcome = pass::largest(model, shortlist, &mut work.pool(budget, flags), &rows);
    settle(rows.iter().flatten().map(|row| row.check().is_ok()), outcome, outcomes, |n| {
        rows[n].as_ref().map_or(0, |row| row.bytes(model, shortlist))
    })?;
    work.restart();
    Ok(())
}

/// The logits of those that want them.
#[inline(never)]
fn logits(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let wanting = members.iter_mut().flatten().flat_map(Member::at_head);
    let (rows, outcomes) = split(wanting.filter_map(|token| token.wanting_all(model)));
    if rows[0].is_none() {
        return Ok(());
    }
    let outcome = all_logits(model, &mut work.pool(budget, flags), &rows);
    settle(rows.iter().flatten().map(|row| row.check().is_ok()), outcome, outcomes, |_| model.head_bytes())
}

/// A value for each token at the head, the first ones of the array.
type PerToken<T> = [Option<T>; MAX_ROWS];

/// What the head takes, apart from where its outcome goes.
fn split<'a, T>(mut tokens: impl Iterator<Item = (T, HeadOutcome<'a>)>) -> (PerToken<T>, PerToken<HeadOutcome<'a>>) {
    let mut outcomes: PerToken<HeadOutcome<'a>> = [const { None }; MAX_ROWS];
    let rows = from_fn(|n| {
        let (row, outcome) = tokens.next()?;
        outcomes[n] = Some(outcome);
        Some(row)
    });
    (rows, outcomes)
}

/// Notes what came of the head: whether each row's logits are numbers so far, and the bytes that it has read.
fn settle(
    finite: impl Iterator<Item = bool> + Clone,
    outcome: Flow,
    outcomes: PerToken<HeadOutcome<'_>>,
    bytes: impl Fn(usize) -> u64,
) -> Flow {
    // When no row is any good, nobody wants the rest.
    if finite.clone().any(|finite| finite) {
        outcome?;
    }
    for (n, (finite, outcome)) in finite.zip(outcomes.into_iter().flatten()).enumerate() {
        outcome.settle(finite, bytes(n));
    }
    Ok(())
}
