//! Which probe is due when. Kubelet's timing: the first try after the initial delay, the next a period after the last was due; one
//! that took longer is followed at once.

use std::collections::BTreeMap;
use std::time::Duration;

use skerry_agent_core::{ContainerId, Counter, Handler, ProbeKind, ProbeTask, ProbeVerdict, WallMillis};
use tokio::task::{AbortHandle, Id};
use tokio::time::Instant;

use super::Tasks;
use super::ask::Answer;

pub(super) type Key = (ContainerId, ProbeKind);

/// After a start of the agent, the first questions to containers that run already are spread over this time, or over a period of theirs if
/// that is shorter: they shall not all come in one moment, and what is unready shall be known soon.
const SPREAD: Duration = Duration::from_secs(1);

/// Every probe that is to run.
#[derive(Debug)]
pub(super) struct Table {
    rows: BTreeMap<Key, Row>,
    /// Containers that were started before this were started before the agent.
    since: WallMillis,
    /// The same moment, by a clock that nobody sets.
    began: Instant,
}

/// By more than this a clock does not go wrong by itself while an agent runs: somebody has set it.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Row {
    task: ProbeTask,
    counter: Counter,
    /// When it is to be asked next, or was to be asked by the question under way.
    due: Instant,
    question: Option<AbortHandle>,
}

impl Drop for Row {
    /// A probe that is not to run any more ends in the middle of its question. A command is waited for, because the engine kills what
    /// outlives its time; its answer is not heard.
    fn drop(&mut self) {
        match (&self.task.probe.handler, &self.question) {
            (Handler::Http(_) | Handler::Tcp { .. } | Handler::Grpc { .. }, Some(question)) => {
                question.abort()
            }
            (Handler::Exec { .. }, _) | (_, None) => {}
        }
    }
}

impl Row {
    fn waits(&self) -> bool {
        self.question.is_none() && !self.counter.is_over()
    }
}

impl Table {
    /// `since` is the box's time `now`.
    pub fn new(since: WallMillis, now: Instant) -> Self {
        Self { rows: BTreeMap::new(), since, began: now }
    }

    /// Ends what is not to run any more, or not like this, and begins what is new. `random` is any number.
    pub fn reconcile(&mut self, tasks: &Tasks, now: Instant, wall: WallMillis, random: fn() -> u32) {
        self.rows.retain(|key, row| tasks.get(key) == Some(&row.task));
        for (key, task) in tasks {
            if self.rows.contains_key(key) {
                continue;
            }
            let counter = Counter::new(key.1, &task.probe);
            let due = now + self.first_wait(key.1, task, now, wall, random);
            self.rows.insert(key.clone(), Row { task: task.clone(), counter, due, question: None });
        }
    }

    fn first_wait(
        &self,
        kind: ProbeKind,
        task: &ProbeTask,
        now: Instant,
        wall: WallMillis,
        random: fn() -> u32,
    ) -> Duration {
        // A clock that was set since says nothing of how long the container has run: then the delay is waited for in full, so that nothing
        // that starts slowly is killed for it.
        let ran = if self.was_set(now, wall) { Duration::ZERO } else { wall.since(task.started_at) };
        let initial = task.probe.initial_delay.saturating_sub(ran);
        if task.started_at >= self.since {
            return initial;
        }
        let spread = match kind {
            ProbeKind::Startup | ProbeKind::Readiness => task.probe.period.min(SPREAD),
            // As kubelet: nobody waits to hear that it is alive.
            ProbeKind::Liveness => task.probe.period,
        };
        initial + spread.mul_f64(f64::from(random()) / f64::from(u32::MAX))
    }

    /// True if the box's clock was set since the agent began.
    fn was_set(&self, now: Instant, wall: WallMillis) -> bool {
        let passed = now.saturating_duration_since(self.began);
        let by_clock = i128::from(wall.0) - i128::from(self.since.0);
        let off = by_clock - i128::try_from(passed.as_millis()).unwrap_or(i128::MAX);
        off.unsigned_abs() > STEP.as_millis()
    }

    /// When something is to be asked.
    pub fn next_due(&self) -> Option<Instant> {
        self.rows.values().filter(|row| row.waits()).map(|row| row.due).min()
    }

    /// What is to be asked now. For each, [`Table::asked`] follows.
    pub fn take_due(&self, now: Instant) -> Vec<(Key, ProbeTask)> {
        let due = self.rows.iter().filter(|(_, row)| row.waits() && row.due <= now);
        due.map(|(key, row)| (key.clone(), row.task.clone())).collect()
    }

    /// The question is under way.
    pub fn asked(&mut self, key: &Key, question: AbortHandle) {
        if let Some(row) = self.rows.get_mut(key) {
            row.question = Some(question);
        }
    }

    /// Takes in an answer. A verdict when it is new. The answer to a question of before is nothing.
    pub fn answered(
        &mut self,
        key: &Key,
        question: Id,
        answer: Answer,
        now: Instant,
    ) -> Option<ProbeVerdict> {
        let row = self.rows.get_mut(key)?;
        if row.question.as_ref().map(AbortHandle::id) != Some(question) {
            return None;
        }
        row.question = None;
        row.due = (row.due + row.task.probe.period).max(now);
        match answer {
            Answer::Success => row.counter.observe(true, String::new()),
            Answer::Failure(message) => row.counter.observe(false, message),
            Answer::None => None,
        }
    }
}

#[cfg(test)]
mod tests;
