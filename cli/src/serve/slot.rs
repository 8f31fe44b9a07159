//! A session of the server, and the answer it is at.

use super::error::ApiError;
use super::generation::{Answer, Event, Order};
use super::prefix::Held;
use rasp::{Result, Session};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Room that a client's channel has before its answers go on: what one step can bring, to every session there can be.
pub const ROOM: usize = 2 * super::MAX_SESSIONS;

/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Slot {
    pub session: Session,
    cancel: Arc<AtomicBool>,
    /// Tokens, from the first on, that passed as a prompt's do.
    exact: usize,
    pub used: u64,
    work: Option<ActiveOrder>,
}

struct ActiveOrder {
    order: Order,
    cached: usize,
    /// `None` while the prompt passes.
    answer: Option<Answer>,
    /// Since when its client has had no room for more.
    stalled: Option<Instant>,
}

impl Slot {
    pub fn new(session: Session) -> Slot {
        let mut slot = Slot { session, cancel: Arc::new(AtomicBool::new(false)), exact: 0, used: 0, work: None };
        slot.session.set_cancel_flag(slot.cancel.clone());
        slot
    }

    pub fn is_idle(&self) -> bool {
        self.work.is_none()
    }

    pub fn held(&self) -> Held<'_> {
        let tokens = self.session.tokens();
        let whole = !self.session.is_pending();
        // While a prompt passes what it appended is there already.
        Held { tokens: &tokens[..self.exact.min(tokens.len())], idle: self.is_idle(), whole, used: self.used }
    }

    /// Goes on as this session would.
    pub fn copy(&mut self, from: &mut Slot) -> Result<()> {
        self.session = from.session.fork(None)?;
        self.session.set_cancel_flag(self.cancel.clone());
        self.exact = from.exact;
        Ok(())
    }

    /// Begins an answer, whose prompt has its first `kept` tokens here.
    pub fn begin(&mut self, order: Order, kept: usize) {
        let cached = match self.prepare(&order, kept) {
            Ok(cached) => cached,
            Err(error) => return fail(&order, error.into()),
        };
        self.work = Some(ActiveOrder { order, cached, answer: None, stalled: None });
    }

    fn prepare(&mut self, order: &Order, kept: usize) -> Result<usize> {
        let session = &mut self.session;
        session.set_constraint(None)?;
        // A session that holds windows alone may not reach back so far.
        let kept = if session.rewind(kept).is_ok() { kept } else { 0 };
        if kept == 0 {
            session.reset();
        }
        self.exact = kept;
        let wanted = &order.wanted;
        session.set_sparsity(wanted.sparsity)?;
        session.set_sampling(order.sampling)?;
        session.set_stops(wanted.stops.iter().map(String::as_str))?;
        session.set_logit_bias(&wanted.logit_bias)?;
        session.set_constraint(wanted.constraint.clone())?;
        session.prefill_begin(&order.prompt[kept..])?;
        Ok(kept)
    }

    /// Whether a prompt is passing.
    pub fn passes_prompt(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.answer.is_none())
    }

    /// Goes on with the prompt for about so long. Once it has passed: the other answers to it.
    pub fn pass_prompt(&mut self, time: Duration) -> Vec<Order> {
        let Some(work) = &mut self.work else { return vec![] };
        match self.session.prefill_within(time) {
            Ok(false) => vec![],
            Ok(true) => {
                self.exact = self.session.tokens().len();
                work.answer = Some(Answer::default());
                std::mem::take(&mut work.order.siblings)
            }
            Err(error) => {
                self.end(Some(error.into()));
                vec![]
            }
        }
    }

    /// Whether its answer goes on with the next step.
    pub fn steps(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.answer.is_some() && work.stalled.is_none())
    }

    /// Takes what a step has brought.
    pub fn take(&mut self, outcome: Result<u32>) {
        let Some(ActiveOrder { order, cached, answer: Some(answer), .. }) = &mut self.work else { return };
        let piece = outcome.and_then(|token| answer.take(&mut self.session, token, order, *cached));
        match piece {
            Ok(piece) => {
                let over = piece.end.is_some();
                if over || !piece.text.is_empty() || !piece.logprobs.is_empty() {
                    send(order, Event::Piece(piece));
                }
                if over {
                    self.end(None);
                }
            }
            Err(error) => self.end(Some(error.into())),
        }
    }

    /// Looks after the client: one that has gone, or has taken nothing for long, has no answers made for it.
    pub fn look(&mut self) {
        let Some(work) = &mut self.work else { return };
        if work.order.events.is_closed() {
            return self.end(None);
        }
        if work.order.events.capacity() >= ROOM {
            work.stalled = None;
            return;
        }
        if work.stalled.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            self.end(None);
        }
    }

    /// Ends the answer: with an error, or because it is over or not wanted any more.
    fn end(&mut self, error: Option<ApiError>) {
        let Some(work) = self.work.take() else { return };
        if self.session.is_pending() {
            // The prompt is taken back.
            self.cancel.store(true, Ordering::Relaxed);
            let outcome = self.session.prefill_within(Duration::ZERO);
            if outcome.is_ok_and(|done| !done) {
                self.session.reset();
            }
            self.cancel.store(false, Ordering::Relaxed);
        }
        let tokens = self.session.tokens().len();
        // Tokens of an answer that is not sparse passed as a prompt's do.
        self.exact = match work.order.wanted.sparsity {
            0.0 => tokens,
            _ => self.exact.min(tokens),
        };
        if let Some(error) = error {
            fail(&work.order, error);
        }
    }
}

/// Tells the client that its request has failed.
pub fn fail(order: &Order, error: ApiError) {
    send(order, Event::Failed(error));
}

/// There is room, or nobody listens.
fn send(order: &Order, event: Event) {
    let _ = order.events.try_send(event);
}
