//! A call under way, and how it goes on: of one session, or of several whose tokens pass together.
//!
//! It is written once: a step of one session is a batch of one. The phases are those of every token: through the
//! blocks, then the largest logits by way of the shortlist or all of them. Each session remembers in its [`Job`] where
//! it stands, so a budget can stop a phase anywhere; what is left after the last one (to sample) is the session's own,
//! see `step.rs`.

use super::Ready;
use super::budget::{Budget, Cancelled, Flow};
use super::engine::{Traffic, Unobserved};
use super::pass::buffers::{HeadBuffers, SequenceBuffers};
use super::pass::{self, HeadRow, MAX_SEQS, Mode, Seq, Shortlisted, Workspace, all_logits};
use crate::model::Model;
use std::array::from_fn;
use std::sync::atomic::AtomicBool;

/// A call under way: tokens pass through the blocks, then the last of them through the head, then the next is sampled.
#[derive(Clone, Copy)]
pub(super) struct Job {
    pub(super) call: Call,
    pub(super) stage: Stage,
    /// Tokens from `start` to `until` pass, prompts densely, others at this sparsity.
    pub(super) start: usize,
    pub(super) until: usize,
    pub(super) sparsity: f32,
    /// Tokens before the call.
    pub(super) length: usize,
    /// The tokens that pass have passed before: their keys and values stay as they are.
    pub(super) again: bool,
    /// The token that the call has replaced, if it has.
    pub(super) replaced: Option<u32>,
    /// Whether it passes and samples one token, no more and no less: what a deadline is for.
    pub(super) timed: bool,
    /// Bytes of linear weights that the tokens under way have read.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Call {
    Prefill,
    Decode,
    Step,
    /// Logits of the last token that has passed.
    Logits,
}

#[derive(Clone, Copy)]
pub(super) enum Stage {
    /// The tokens from `first` to `end` pass through the blocks together; after them those from `end` on.
    Blocks { first: usize, end: usize },
    /// The largest logits, so many of them.
    Shortlist { few: usize },
    /// All logits.
    Logits,
    /// The logits are there, all or those that decide: a step samples from them. What is left of them afterwards.
    Done { ready: Ready },
    /// A logit is no number.
    NonFinite,
}

impl Job {
    /// A call on a session of `length` tokens that has those from `start` to `until` pass.
    pub(super) fn new(call: Call, length: usize, start: usize, until: usize, sparsity: f32) -> Job {
        let stage = Stage::Blocks { first: start, end: start };
        Job { call, stage, start, until, sparsity, length, again: false, replaced: None, timed: false, bytes: 0 }
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
    pub(super) head_bytes: &'a mut u64,
    /// How many of the largest logits it wants, if not all.
    pub(super) deciding: Option<usize>,
}

/// The members of a pass, the first ones of the array. Several have one token each to pass.
pub(super) type Members<'a> = [Option<Member<'a>>; MAX_SEQS];

/// The flags of all members: the pass stops when nobody wants it any more.
struct Flags<'a>([Option<&'a AtomicBool>; MAX_SEQS]);

impl Cancelled for Flags<'_> {
    fn cancelled(&self) -> bool {
        self.0.iter().map_while(|flag| *flag).all(|flag| flag.cancelled())
    }
}

impl Member<'_> {
    /// Takes up to `most` of the tokens that are to pass next. Those and their positions.
    fn begin(&mut self, most: usize) -> impl Iterator<Item = (u32, usize)> + '_ {
        let Job { until, stage, bytes, .. } = &mut *self.job;
        let first = if let Stage::Blocks { end, .. } = *stage { end } else { *until };
        let end = (*until).min(first + most);
        (*stage, *bytes) = (Stage::Blocks { first, end }, 0);
        self.tokens[first..end].iter().copied().zip(first..)
    }

    /// What a pass of the tokens under way touches.
    fn seq(&mut self) -> Option<Seq<'_>> {
        let Stage::Blocks { first, .. } = self.job.stage else { return None };
        let sparse_from = if self.job.sparsity == 0.0 { usize::MAX } else { 0 };
        let seq = self.own.seq(first, sparse_from, self.job.bytes);
        Some(if self.job.again { seq.held() } else { seq })
    }

    /// The tokens under way have passed, the last of them to this residual stream.
    fn passed(&mut self, model: &Model, hidden: &[f32]) {
        let Stage::Blocks { end, .. } = self.job.stage else { return };
        // One that is cancelled will be as it was.
        if self.job.call != Call::Prefill && !self.cancel.cancelled() {
            self.traffic.tokens += 1;
            self.traffic.linear_bytes += self.job.bytes;
        }
        if end < self.job.until {
            self.job.stage = Stage::Blocks { first: end, end };
            return;
        }
        self.head.prepare(model, hidden);
        self.job.stage = match model.shortlist().zip(self.deciding) {
            Some((shortlist, few)) if self.job.call == Call::Step => match self.head.round(shortlist) {
                Ok(()) => Stage::Shortlist { few },
                Err(_) => Stage::NonFinite,
            },
            _ => Stage::Logits,
        };
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
    while let Some(&Job { call, stage: Stage::Blocks { first, end }, .. }) = members[0].as_ref().map(|m| &*m.job) {
        if first == end {
            let batch = work.batch();
            work.begin(model, members.iter_mut().flatten().flat_map(|member| member.begin(batch)));
        }
        let mode = if call == Call::Prefill { Mode::Prompt } else { Mode::Decode };
        let (outcome, bytes) = {
            let mut passing = members.iter_mut().flatten();
            let mut seqs: [Option<Seq<'_>>; MAX_SEQS] = from_fn(|_| passing.next()?.seq());
            let outcome = work.advance(model, &mut seqs, budget, flags, mode, &mut Unobserved);
            (outcome, seqs.map(|seq| seq.map_or(0, Seq::into_bytes)))
        };
        for (member, bytes) in members.iter_mut().flatten().zip(bytes) {
            member.job.bytes = bytes;
        }
        outcome?;
        let mut rows = 0;
        for member in members.iter_mut().flatten() {
            rows += match member.job.stage {
                Stage::Blocks { first, end } => end - first,
                _ => 0,
            };
            member.passed(model, &work.buf.hidden[(rows - 1) * h..rows * h]);
        }
        work.restart();
    }
    Ok(())
}

/// The largest logits of those that want no more.
fn largest(model: &Model, work: &mut Workspace, members: &mut Members<'_>, budget: &Budget, flags: &Flags<'_>) -> Flow {
    let Some(shortlist) = model.shortlist() else { return Ok(()) };
    let mut wanting = members.iter_mut().flatten().filter_map(|m| match m.job.stage {
        Stage::Shortlist { few } => Some((m.head.shortlisted(model, few)?, &mut *m.job, &mut *m.head_bytes)),
        _ => None,
    });
    let tokens: [Option<(Shortlisted<'_>, &mut Job, &mut u64)>; MAX_SEQS] = from_fn(|_| wanting.next());
    let (rows, ends) = split(tokens);
    if rows[0].is_none() {
        return Ok(());
    }
    let outcome = pass::largest(model, shortlist, &mut work.pool(budget, flags), &rows);
    settle(rows.iter().flatten().map(|row| row.check().is_ok()), outcome, ends, Ready::Hidden, |n| {
        rows[n].as_ref().map_or(0, |row| row.bytes(model, shortlist))
    })?;
    work.restart();
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
    let outcome = all_logits(model, &mut work.pool(budget, flags), &rows);
    let finite = rows.iter().flatten().map(|row| row.check().is_ok());
    settle(finite, outcome, ends, Ready::Logits, |_| model.head_bytes())
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

/// Notes what came of the head: whether each row's logits are numbers so far, and the bytes that it has read.
fn settle(
    finite: impl Iterator<Item = bool> + Clone,
    outcome: Flow,
    ends: Ends<'_>,
    ready: Ready,
    bytes: impl Fn(usize) -> u64,
) -> Flow {
    // When no row is any good, nobody wants the rest.
    if finite.clone().any(|finite| finite) {
        outcome?;
    }
    for (n, (finite, (job, head_bytes))) in finite.zip(ends.into_iter().flatten()).enumerate() {
        job.stage = if finite { Stage::Done { ready } } else { Stage::NonFinite };
        *head_bytes += if finite { bytes(n) } else { 0 };
    }
    Ok(())
}
