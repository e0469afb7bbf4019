//! The hub's timers: armed only while something waits, so an idle controller sleeps.

use std::collections::{BTreeMap, BTreeSet};

use skerry_terms::{AppKey, NodeName};
use tokio::time::Instant;

/// What a timer is for. One per kind and object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The node counts as away unless it is back.
    Away(NodeName),
    /// The node's session asked to be woken.
    Session(NodeName),
    /// A change of the status has lasted.
    NodeStatus(NodeName),
    AppStatus(AppKey),
    /// There is room for what is to be said of a flood of what the node told.
    Summary(NodeName),
}

/// Armed timers by their time.
#[derive(Debug, Default)]
pub struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    armed: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Arms a timer, in place of one of the same name.
    pub fn arm(&mut self, timer: Timer, at: Instant) {
        self.disarm(&timer);
        self.queue.insert((at, timer.clone()));
        self.armed.insert(timer, at);
    }

    /// Arms a timer unless it is: what changes again while it waits does not wait longer.
    pub fn arm_once(&mut self, timer: Timer, at: Instant) {
        if !self.armed.contains_key(&timer) {
            self.arm(timer, at);
        }
    }

    pub fn disarm(&mut self, timer: &Timer) {
        if let Some(at) = self.armed.remove(timer) {
            self.queue.remove(&(at, timer.clone()));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = self.queue.first().is_some_and(|(at, _)| *at <= now);
        let (_, timer) = due.then(|| self.queue.pop_first())??;
        self.armed.remove(&timer);
        Some(timer)
    }
}
