//! The one thread that has the sessions: prompts in slices, and a step of all answers together between them.

use super::generation::Order;
use super::prefix::{Held, place};
use super::slot::{Slot, fail};
use rasp::{Result, Session};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// What a prompt gets before it is looked whether there is something else to do.
const SLICE: Duration = Duration::from_millis(50);

/// The least that a prompt gets between two steps of others; as much as the step took if that is more, so that they
/// have half of the time.
const LEAST_SLICE: Duration = Duration::from_millis(10);

/// How often clients that have no room are looked after, while there is nothing to do.
const PAUSE: Duration = Duration::from_millis(10);

pub struct Scheduler {
    slots: Vec<Slot>,
    waiting: VecDeque<Order>,
    orders: Receiver<Order>,
    /// Prompts begun.
    begun: u64,
    /// The slot whose prompt had the last slice.
    last: usize,
}

impl Scheduler {
    pub fn new(sessions: Vec<Session>, orders: Receiver<Order>) -> Scheduler {
        let slots = sessions.into_iter().map(Slot::new).collect();
        Scheduler { slots, waiting: VecDeque::new(), orders, begun: 0, last: 0 }
    }

    /// Works until nobody can order anything any more.
    pub fn run(mut self) -> Result<()> {
        while self.receive() {
            self.slots.iter_mut().for_each(Slot::look);
            self.admit();
            let took = self.step()?;
            let slice = took.map_or(SLICE, |took| took.max(LEAST_SLICE));
            self.pass_prompts(slice);
        }
        Ok(())
    }

    /// Takes new orders, and waits for one while there is nothing to do. False once there will be none.
    fn receive(&mut self) -> bool {
        let works = |slot: &Slot| slot.steps() || slot.passes_prompt();
        let begins = !self.waiting.is_empty() && self.slots.iter().any(Slot::is_idle);
        if !begins && !self.slots.iter().any(works) {
            // Answers whose clients have no room go on when they have.
            let order = match self.slots.iter().all(Slot::is_idle) {
                true => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.orders.recv_timeout(PAUSE),
            };
            match order {
                Ok(order) => self.waiting.push_back(order),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.waiting.push_back(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Gives idle slots what waits, in order.
    fn admit(&mut self) {
        self.waiting.retain(|order| !order.events.is_closed());
        while let Some(order) = self.waiting.front() {
            let held: Vec<Held<'_>> = self.slots.iter().map(Slot::held).collect();
            let Some(mut place) = place(&held, &order.prompt) else { return };
            let Some(order) = self.waiting.pop_front() else { return };
            if let Some(from) = place.from {
                // Without memory for a copy the prompt passes.
                let copied = match self.slots.get_disjoint_mut([place.session, from]) {
                    Ok([to, from]) => to.copy(from).is_ok(),
                    Err(_) => false,
                };
                if !copied {
                    place.kept = 0;
                }
            }
            self.begun += 1;
            let slot = &mut self.slots[place.session];
            slot.used = self.begun;
            slot.begin(order, place.kept);
        }
    }

    /// A step of all answers that go on. How long it took, if there were any.
    fn step(&mut self) -> Result<Option<Duration>> {
        let start = Instant::now();
        let (stepping, mut sessions): (Vec<usize>, Vec<&mut Session>) = self
            .slots
            .iter_mut()
            .enumerate()
            .filter(|(_, slot)| slot.steps())
            .map(|(n, slot)| (n, &mut slot.session))
            .unzip();
        if sessions.is_empty() {
            return Ok(None);
        }
        let mut outcomes = Vec::with_capacity(sessions.len());
        Session::step_batch(&mut sessions, |n, outcome| outcomes.push((stepping[n], outcome)))?;
        for (n, outcome) in outcomes {
            self.slots[n].take(outcome);
        }
        Ok(Some(start.elapsed()))
    }

    /// Gives one of the prompts that pass a slice of time: each in turn, so that a short one does not wait for a long
    /// one.
    fn pass_prompts(&mut self, slice: Duration) {
        let count = self.slots.len();
        let next = (1..=count).map(|n| (self.last + n) % count).find(|&n| self.slots[n].passes_prompt());
        let Some(n) = next else { return };
        self.last = n;
        // Other answers to the prompt come before what others wait for.
        for sibling in self.slots[n].pass_prompt(slice).into_iter().rev() {
            self.waiting.push_front(sibling);
        }
    }
}

/// What waits when the scheduler ends gets no answer.
impl Drop for Scheduler {
    fn drop(&mut self) {
        let ended = || super::error::ApiError::new(hyper::StatusCode::SERVICE_UNAVAILABLE, "the server ends");
        self.waiting.iter().for_each(|order| fail(order, ended()));
    }
}
