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
}

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
    pub fn new(since: WallMillis) -> Self {
        Self { rows: BTreeMap::new(), since }
    }

    /// Ends what is not to run any more, or not like this, and begins what is new. `random` is any number.
    pub fn reconcile(&mut self, tasks: &Tasks, now: Instant, wall: WallMillis, random: fn() -> u32) {
        self.rows.retain(|key, row| tasks.get(key) == Some(&row.task));
        for (key, task) in tasks {
            if self.rows.contains_key(key) {
                continue;
            }
            let counter = Counter::new(key.1, &task.probe);
            let due = now + self.first_wait(key.1, task, wall, random);
            self.rows.insert(key.clone(), Row { task: task.clone(), counter, due, question: None });
        }
    }

    fn first_wait(
        &self,
        kind: ProbeKind,
        task: &ProbeTask,
        wall: WallMillis,
        random: fn() -> u32,
    ) -> Duration {
        let initial = task.probe.initial_delay.saturating_sub(wall.since(task.started_at));
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
