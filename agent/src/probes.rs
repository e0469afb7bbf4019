//! Asks the probes when they are due, and tells the supervisor what they amount to. One task for all of them: a probe that waits is a row
//! in a table, and only a question under way is a task of its own. Which probes there are and what their answers mean is decided in the
//! core.
//!
//! Architecture Invariant: a try wakes nobody but this task; only a verdict that is new reaches the supervisor.

mod ask;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use skerry_agent_core::{ContainerId, ProbeKind, ProbeTask, ProbeVerdict};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::wall_now;
use crate::engine::Engine;
use ask::ask;
use table::Table;

/// Questions over the network that begin at once; each is a socket. The others wait for their turn, which is short.
const CALLS_AT_ONCE: usize = 64;
/// Commands that begin at once. Each costs Docker several processes, whose number is the box's limit rather than ours.
const EXECS_AT_ONCE: usize = 4;

/// The probes that are to run.
pub type Tasks = BTreeMap<(ContainerId, ProbeKind), ProbeTask>;

/// A new verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub id: ContainerId,
    pub kind: ProbeKind,
    pub verdict: ProbeVerdict,
}

/// Runs the probes of the latest `tasks` until nobody gives any, or nobody listens to the verdicts.
pub async fn run<E: Engine>(
    engine: Arc<E>,
    mut tasks: watch::Receiver<Tasks>,
    verdicts: mpsc::Sender<Probed>,
) {
    let mut table = Table::new(wall_now(), Instant::now());
    let turns =
        Arc::new(Turns { calls: Semaphore::new(CALLS_AT_ONCE), execs: Semaphore::new(EXECS_AT_ONCE) });
    // Dropped with this task: no question outlives it.
    let mut questions = JoinSet::new();
    loop {
        let due = async {
            match table.next_due() {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        // Every arm is cancel-safe: a change of a watch, a finished task and a timer are still there the next time.
        tokio::select! {
            changed = tasks.changed() => {
                if changed.is_err() {
                    return;
                }
                let tasks = tasks.borrow_and_update();
                table.reconcile(&tasks, Instant::now(), wall_now(), crate::uplink::random);
            }
            Some(joined) = questions.join_next_with_id() => {
                // One that was aborted has nothing to say.
                let Ok((question, (key, answer))) = joined else { continue };
                let Some(verdict) = table.answered(&key, question, answer, Instant::now()) else { continue };
                let (id, kind) = key;
                if verdicts.send(Probed { id, kind, verdict }).await.is_err() {
                    return;
                }
            }
            () = due => {
                for (key, task) in table.take_due(Instant::now()) {
                    let (engine, turns, asked) = (engine.clone(), turns.clone(), key.clone());
                    let question = questions.spawn(async move {
                        let answer = ask(&*engine, &turns, &asked.0, &task).await;
                        (asked, answer)
                    });
                    table.asked(&key, question);
                }
            }
        }
    }
}

/// What bounds how many questions are under way.
#[derive(Debug)]
struct Turns {
    calls: Semaphore,
    execs: Semaphore,
}
